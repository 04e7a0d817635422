#include "lib/base/err.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A text that was cut may end inside a UTF-8 sequence: takes the broken part off. */
static void drop_torn_end(char *text, size_t n)
{
    size_t start = n;
    while (start > 0 && n - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t need = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    if (n - start < need)
        text[start - 1] = '\0';
}

static void replace_controls(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
        else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* U+0080 to U+009F */
            c[0] = c[1] = '?';
    }
}

/* Formats into a text of its own first: the arguments may point into e->text. */
static void __attribute__((format(printf, 2, 0)))
format_text(struct err *e, const char *fmt, va_list ap, const char *rest)
{
    char text[sizeof(e->text)];
    int n = vsnprintf(text, sizeof(text), fmt, ap);

    if (n < 0) {
        text[0] = '\0';
        n = 0;
    }
    size_t at = (size_t)n;
    if (rest && at < sizeof(text))
        at += (size_t)snprintf(text + at, sizeof(text) - at, ": %s", rest);
    if (at >= sizeof(text))
        drop_torn_end(text, sizeof(text) - 1);
    replace_controls(text);
    memcpy(e->text, text, sizeof(text));
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    va_list ap;
    va_start(ap, fmt);
    format_text(e, fmt, ap, NULL);
    va_end(ap);
    e->code = code;
    return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e)
        return -EINVAL;
    va_list ap;
    va_start(ap, fmt);
    format_text(e, fmt, ap, e->text);
    va_end(ap);
    return e->code;
}
