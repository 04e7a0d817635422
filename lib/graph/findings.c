#include "lib/graph/findings.h"
#include "lib/base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FINDINGS_LIMIT 1000
#define MESSAGE_MAX    512

static const char *const words[FINDING_CODE_COUNT] = {
    [F_SYNTAX] = "syntax",
    [F_UNKNOWN_FIELD] = "unknown-field",
    [F_MISSING_FIELD] = "missing-field",
    [F_TYPE] = "type",
    [F_NAME] = "name",
    [F_ADDRESS] = "address",
    [F_DATE] = "date",
    [F_DUPLICATE] = "duplicate",
    [F_EMPTY] = "empty",
    [F_UNKNOWN_PARENT] = "unknown-parent",
    [F_UNKNOWN_SERVICE] = "unknown-service",
    [F_UNKNOWN_ENVIRONMENT] = "unknown-environment",
    [F_CYCLE] = "cycle",
    [F_DEPTH] = "depth",
    [F_TWO_BASELINES] = "two-baselines",
    [F_NO_LINEARISATION] = "no-linearisation",
    [F_OVERLAY_WITHOUT_PARENT] = "overlay-without-parent",
    [F_BASELINE_WITH_PARENT] = "baseline-with-parent",
    [F_SHARED_PARENT] = "shared-parent",
    [F_CONTRADICTION] = "contradiction",
    [F_DANGLING_USE] = "dangling-use",
    [F_USE_CHAIN] = "use-chain",
    [F_CONFLICT] = "conflict",
    [F_AMBIGUOUS_SHARED] = "ambiguous-shared",
    [F_PINNED_OVERRIDE] = "pinned-override",
    [F_HOST_CLAIMED_TWICE] = "host-claimed-twice",
    [F_ROUTE_CLAIMED_TWICE] = "route-claimed-twice",
    [F_ENDPOINT_FORBIDDEN] = "endpoint-forbidden",
    [F_OUTLIVES_PARENT] = "outlives-parent",
    [F_UNPROVIDED_SERVICE] = "unprovided-service",
    [F_BASELINE_EXPIRES] = "baseline-expires",
};

const char *finding_word(enum finding_code c)
{
    return (unsigned)c < FINDING_CODE_COUNT ? words[c] : "";
}

void findings_init(struct findings *f)
{
    *f = (struct findings){.limit = FINDINGS_LIMIT};
}

void findings_release(struct findings *f)
{
    for (size_t i = 0; i < f->n; i++)
        mem_free(f->list[i].message);
    mem_free(f->list);
    findings_init(f);
}

/* ---- adding -------------------------------------------------------------------------------- */

/* A new slot at the end; NULL when the set is full or memory is out. */
static struct finding *new_slot(struct findings *f)
{
    if (f->n >= f->limit)
        return NULL;
    if (f->n == f->size) {
        size_t size = f->size ? 2 * f->size : 16;
        struct finding *list = mem_realloc(f->list, size * sizeof(*list));
        if (!list) {
            f->no_memory = true;
            return NULL;
        }
        f->list = list;
        f->size = size;
    }
    return &f->list[f->n];
}

static void count(struct findings *f, enum finding_code code)
{
    f->by_code[code]++;
    if (finding_is_warning(code))
        f->warnings++;
    else
        f->errors++;
}

/* Makes a message fit for a terminal and a log: no control bytes, no character cut in half. */
static size_t clean(char *message, size_t n)
{
    if (n == MESSAGE_MAX - 1)
        while (n && ((unsigned char)message[n - 1] & 0xc0) == 0x80)
            n--;
    if (n && (unsigned char)message[n - 1] >= 0xc0)
        n--;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)message[i] < 0x20 || message[i] == 0x7f)
            message[i] = '?';
    return n;
}

__attribute__((format(printf, 6, 0))) static void add(struct findings *f, enum finding_code code,
    struct place at, struct place related, struct place related2, const char *fmt, va_list ap)
{
    count(f, code);
    struct finding *slot = new_slot(f);
    if (!slot)
        return;
    char message[MESSAGE_MAX];
    int n = vsnprintf(message, sizeof(message), fmt, ap);
    size_t len = n < 0 ? 0 : (size_t)n;
    len = clean(message, len < sizeof(message) ? len : sizeof(message) - 1);
    char *copy = mem_dup(message, len);
    if (!copy) {
        f->no_memory = true;
        return;
    }
    *slot = (struct finding){code, at, related, related2, copy};
    f->n++;
}

void findings_add(struct findings *f, enum finding_code code, struct place at,
    const struct place *related, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(f, code, at, related ? *related : (struct place){0}, (struct place){0}, fmt, ap);
    va_end(ap);
}

void findings_add_clash(struct findings *f, enum finding_code code, struct place at,
    const struct place related[2], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(f, code, at, related[0], related[1], fmt, ap);
    va_end(ap);
}

void findings_move(struct findings *to, struct findings *from)
{
    for (size_t i = 0; i < from->n; i++) {
        struct finding *slot = new_slot(to);
        if (!slot)
            break;
        *slot = from->list[i];
        from->list[i].message = NULL;
        to->n++;
    }
    for (size_t c = 0; c < FINDING_CODE_COUNT; c++)
        to->by_code[c] += from->by_code[c];
    to->errors += from->errors;
    to->warnings += from->warnings;
    to->no_memory = to->no_memory || from->no_memory;
    size_t limit = from->limit;
    findings_release(from);
    from->limit = limit;
}

/* ---- order and output ---------------------------------------------------------------------- */

static int by_number(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int by_place(const void *pa, const void *pb)
{
    const struct finding *a = pa, *b = pb;
    int c = by_number(a->at.file, b->at.file);
    if (!c)
        c = by_number(a->at.line, b->at.line);
    if (!c)
        c = by_number(a->at.column, b->at.column);
    if (!c)
        c = by_number(a->code, b->code);
    return c ? c : strcmp(a->message, b->message);
}

void findings_sort(struct findings *f)
{
    if (f->n > 1)
        qsort(f->list, f->n, sizeof(*f->list), by_place);
}

static size_t omitted(const struct findings *f)
{
    return f->errors + f->warnings - f->n;
}

static void related_json(
    struct text *out, struct place at, const char *const *files, const char *before)
{
    text_fmt(out, "%s{\"file\":\"", before);
    text_json(out, str_c(files[at.file]));
    text_fmt(out, "\",\"line\":%u}", at.line);
}

static void finding_json(struct text *out, const struct finding *f, const char *const *files)
{
    text_fmt(out, "{\"code\":\"%s\",\"severity\":\"%s\",\"file\":\"", finding_word(f->code),
        finding_is_warning(f->code) ? "warning" : "error");
    text_json(out, str_c(files[f->at.file]));
    text_fmt(out, "\",\"line\":%u,\"column\":%u,\"message\":\"", f->at.line, f->at.column);
    text_json(out, str_c(f->message));
    text_add(out, STR("\",\"related\":["));
    if (f->related.line)
        related_json(out, f->related, files, "");
    if (f->related2.line)
        related_json(out, f->related2, files, f->related.line ? "," : "");
    text_add(out, STR("]}"));
}

void findings_json(const struct findings *f, const char *const *files, struct text *out)
{
    bool valid = f->errors == 0 && !f->no_memory;
    text_fmt(out, "{\"valid\":%s,\"findings\":[", valid ? "true" : "false");
    for (size_t i = 0; i < f->n; i++) {
        if (i)
            text_add(out, STR(","));
        finding_json(out, &f->list[i], files);
    }
    text_add(out, STR("]"));
    if (omitted(f))
        text_fmt(out, ",\"omitted\":%zu", omitted(f));
    text_add(out, STR("}"));
}

/* A file name may hold anything; it must not look like another line. */
static void name_text(struct text *out, const char *name)
{
    for (; *name; name++) {
        bool control = (unsigned char)*name < 0x20 || *name == 0x7f;
        text_add(out, control ? STR("?") : str_of(name, 1));
    }
}

static void place_text(struct text *out, struct place at, const char *const *files)
{
    name_text(out, files[at.file]);
    text_fmt(out, ":%u:%u", at.line, at.column);
}

static void related_text(struct text *out, struct place at, const char *const *files)
{
    if (!at.line)
        return;
    text_add(out, STR("    see "));
    place_text(out, at, files);
    text_add(out, STR("\n"));
}

void findings_text(const struct findings *f, const char *const *files, struct text *out)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct finding *x = &f->list[i];
        place_text(out, x->at, files);
        text_fmt(out, ": %s: %s: %s\n", finding_is_warning(x->code) ? "warning" : "error",
            finding_word(x->code), x->message);
        related_text(out, x->related, files);
        related_text(out, x->related2, files);
    }
    if (omitted(f))
        text_fmt(out, "%zu more findings are not shown\n", omitted(f));
}
