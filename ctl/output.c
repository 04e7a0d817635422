#include "ctl/output.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define RED    "\033[31m"
#define GREEN  "\033[32m"
#define YELLOW "\033[33m"
#define BOLD   "\033[1m"
#define RESET  "\033[0m"

static bool colours(FILE *f)
{
    const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");
    if ((no && *no) || !terminal || strcmp(terminal, "dumb") == 0)
        return false;
    return isatty(fileno(f)) == 1;
}

/* Bytes without a line's end may hold anything: fwrite takes them as they are. */
static void put(struct str s, FILE *f)
{
    if (s.n)
        fwrite(s.p, 1, s.n, f); /* failures are found by out_flush */
}

enum status out_plain(struct text *t, enum status s, struct err *e)
{
    if (t->failed) {
        err_set(e, -ENOMEM, "out of memory");
        s = STATUS_ERROR;
    } else {
        put(str_of(t->p, t->n), stdout);
    }
    text_release(t);
    return s;
}

enum status out_answer(struct text *t, enum status s, struct err *e)
{
    if (t->failed || !t->n || !colours(stdout))
        return out_plain(t, s, e);
    struct str all = {t->p, t->n};
    size_t line = str_find(all, '\n');
    put(str_c(s == STATUS_YES ? BOLD GREEN : BOLD RED), stdout);
    put(str_of(all.p, line), stdout);
    put(STR(RESET), stdout);
    put(str_from(all, line), stdout);
    text_release(t);
    return s;
}

/* "FILE:LINE:COLUMN: error: CODE: message": the word after the place. */
static void put_finding(struct str line, FILE *to)
{
    static const struct {
        struct str word, colour;
    } words[] = {
        {{": error: ", 9}, {BOLD RED, sizeof(BOLD RED) - 1}},
        {{": warning: ", 11}, {BOLD YELLOW, sizeof(BOLD YELLOW) - 1}},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        struct str word = words[i].word;
        const char *at = line.n ? memmem(line.p, line.n, word.p, word.n) : NULL;
        if (!at)
            continue;
        put(str_of(line.p, (size_t)(at - line.p) + 2), to);
        put(words[i].colour, to);
        put(str_of(at + 2, word.n - 4), to);
        put(STR(RESET), to);
        put(str_from(line, (size_t)(at - line.p) + word.n - 2), to);
        return;
    }
    put(line, to);
}

void out_findings(const struct text *t, FILE *to)
{
    struct str rest = {t->p, t->n};
    if (!colours(to)) {
        put(rest, to);
        return;
    }
    while (rest.n) {
        size_t line = str_find(rest, '\n');
        line += line < rest.n;
        put_finding(str_of(rest.p, line), to);
        rest = str_from(rest, line);
    }
}

int out_flush(void)
{
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        return errno ? -errno : -EIO;
    return 0;
}

void out_error(const struct err *e)
{
    fflush(stdout);
    if (colours(stderr))
        fprintf(stderr, "offshootctl: " BOLD RED "%s" RESET "\n", e->text);
    else
        fprintf(stderr, "offshootctl: %s\n", e->text);
}
