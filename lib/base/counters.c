/* The text builder, and what follows from a table of counters. */
#include "lib/base/counters.h"

#include "lib/base/histogram.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- text ---------------------------------------------------------------------------------- */

/* Makes room for n more bytes and the NUL. */
static bool text_reserve(struct text *t, size_t n)
{
    if (t->failed)
        return false;
    if (n < t->size - t->n)
        return true;
    size_t size = t->size ? t->size : 256;
    while (size - t->n <= n) {
        if (size > SIZE_MAX / 2)
            goto fail;
        size *= 2;
    }
    char *p = mem_realloc(t->p, size);
    if (!p)
        goto fail;
    t->p = p;
    t->size = size;
    return true;
fail:
    t->failed = -ENOMEM;
    return false;
}

void text_add(struct text *t, struct str s)
{
    if (!text_reserve(t, s.n))
        return;
    if (s.n)
        memcpy(t->p + t->n, s.p, s.n);
    t->n += s.n;
    t->p[t->n] = '\0';
}

void text_fmt(struct text *t, const char *fmt, ...)
{
    if (!text_reserve(t, 0))
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->p + t->n, t->size - t->n, fmt, ap);
    va_end(ap);
    if (n < 0) {
        t->p[t->n] = '\0';
        t->failed = -ENOMEM; /* only a text of more than INT_MAX bytes gets here */
        return;
    }
    if ((size_t)n >= t->size - t->n) {
        t->p[t->n] = '\0';
        if (!text_reserve(t, (size_t)n))
            return;
        va_start(ap, fmt);
        vsnprintf(t->p + t->n, t->size - t->n, fmt, ap);
        va_end(ap);
    }
    t->n += (size_t)n;
}

/* The escape of an ASCII byte that may not stand in a JSON string as it is, else NULL. */
static const char *json_escape(unsigned char c, char buf[static 8])
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    }
    if (c >= 0x20 && c != 0x7f)
        return NULL;
    snprintf(buf, 8, "\\u%04x", c);
    return buf;
}

/* Characters that JSON allows in the raw but terminals, JavaScript or YAML take amiss: C1
 * controls, line and paragraph separator, byte-order mark, U+FFFE and U+FFFF. Returns the length
 * of the sequence at s and writes its escape, or 0 when it may stand as it is. s is valid UTF-8. */
static size_t json_escape_wide(struct str s, char buf[static 8])
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t len = 0;
    unsigned v = 0;
    if (s.n >= 2 && p[0] == 0xc2 && p[1] < 0xa0) {
        v = p[1];
        len = 2;
    } else if (s.n >= 3 && (p[0] & 0xf0) == 0xe0) {
        unsigned u = (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
        if (u == 0x2028 || u == 0x2029 || u == 0xfeff || u >= 0xfffe) {
            v = u;
            len = 3;
        }
    }
    if (len)
        snprintf(buf, 8, "\\u%04x", v & 0xffffu);
    return len;
}

/* s is valid UTF-8. Runs that need no escape are added in one piece. */
static void text_json_valid(struct text *t, struct str s)
{
    size_t from = 0;
    for (size_t i = 0; i < s.n;) {
        char buf[8];
        unsigned char c = (unsigned char)s.p[i];
        size_t len = 1;
        const char *esc = NULL;
        if (c < 0x80) {
            esc = json_escape(c, buf);
        } else {
            size_t wide = json_escape_wide(str_from(s, i), buf);
            if (wide) {
                esc = buf;
                len = wide;
            }
        }
        if (esc) {
            text_add(t, str_of(s.p + from, i - from));
            text_add(t, str_c(esc));
            from = i + len;
        }
        i += len;
    }
    text_add(t, str_of(s.p + from, s.n - from));
}

void text_json(struct text *t, struct str s)
{
    while (s.n) {
        size_t good = utf8_check(s);
        text_json_valid(t, str_of(s.p, good));
        if (good == s.n)
            return;
        text_add(t, STR("\xef\xbf\xbd"));
        s = str_from(s, good + 1);
    }
}

void text_plain(struct text *t, struct str s)
{
    while (s.n) {
        unsigned char c = (unsigned char)s.p[0], next = s.n > 1 ? (unsigned char)s.p[1] : 0;
        bool wide = c == 0xc2 && next >= 0x80 && next < 0xa0;
        text_add(t, wide || c < ' ' || c == 0x7f ? STR("?") : str_of(s.p, 1));
        s = str_from(s, wide ? 2 : 1);
    }
}

void text_release(struct text *t)
{
    mem_free(t->p);
    *t = (struct text){0};
}

/* ---- tables of counters -------------------------------------------------------------------- */

/* Sets wrap independently (one worker may count down what another counted up): their sum modulo
 * 2^64 is right. A reader that catches a gauge between the two sees -1 for a moment. */
static uint64_t sum_of(
    const counter_cell *const *sets, size_t nsets, size_t row, enum counter_kind kind)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < nsets; i++)
        sum += counter_get(&sets[i][row]);
    if (kind == COUNTER_GAUGE && sum > INT64_MAX)
        return 0;
    return sum;
}

static bool starts_family(const struct counter_desc *table, size_t i)
{
    return i == 0 || strcmp(table[i].family, table[i - 1].family) != 0;
}

/* HELP text: backslash and line feed are escaped, nothing else. */
static void add_help(struct text *out, const char *help)
{
    for (const char *p = help; *p; p++) {
        if (*p == '\\')
            text_add(out, STR("\\\\"));
        else if (*p == '\n')
            text_add(out, STR("\\n"));
        else
            text_add(out, str_of(p, 1));
    }
}

/* Who is told, and of what: passed through the functions below. */
struct teller {
    void (*fn)(void *arg, const struct counter_sample *s);
    void *arg;
    const struct counter_desc *desc;
};

static void tell(const struct teller *t, const char *suffix, const char *le, const char *value)
{
    char name[256];
    const char *labels = t->desc->labels ? t->desc->labels : "";
    bool some = *labels || le;
    snprintf(name, sizeof name, "%s%s%s%s%s%s%s%s%s", t->desc->family, suffix, some ? "{" : "",
        labels, *labels && le ? "," : "", le ? "le=\"" : "", le ? le : "", le ? "\"" : "",
        some ? "}" : "");
    bool zero = value[strspn(value, "0.")] == '\0';
    t->fn(t->arg, &(struct counter_sample){t->desc, name, value, zero, le != NULL});
}

/* Microseconds as seconds, without zeros at the end. */
static void format_seconds(uint64_t us, char out[static 32])
{
    int n = snprintf(out, 32, "%" PRIu64 ".%06u", us / 1000000, (unsigned)(us % 1000000));
    while (out[n - 1] == '0')
        out[--n] = '\0';
    if (out[n - 1] == '.')
        out[n - 1] = '\0';
}

static void tell_histogram(
    const struct teller *t, const counter_cell *const *sets, size_t nsets, size_t row)
{
    uint64_t count = 0;
    char value[32], le[32];
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        count += sum_of(sets, nsets, row + i, COUNTER_TOTAL);
        snprintf(value, sizeof value, "%" PRIu64, count);
        format_seconds(histogram_edge(i), le);
        tell(t, "_bucket", le, value);
    }
    count += sum_of(sets, nsets, row + HISTOGRAM_BUCKETS, COUNTER_TOTAL);
    snprintf(value, sizeof value, "%" PRIu64, count);
    tell(t, "_bucket", "+Inf", value);
    format_seconds(sum_of(sets, nsets, row + HISTOGRAM_SUM, COUNTER_TOTAL), le);
    tell(t, "_sum", NULL, le);
    tell(t, "_count", NULL, value);
}

void counters_samples(const struct counter_desc *table, size_t n, const counter_cell *const *sets,
    size_t nsets, void (*fn)(void *arg, const struct counter_sample *s), void *arg)
{
    for (size_t i = 0; i < n; i++) {
        struct teller t = {fn, arg, &table[i]};
        char value[32];
        if (table[i].kind == COUNTER_HISTOGRAM) {
            tell_histogram(&t, sets, nsets, i);
        } else if (table[i].kind != COUNTER_PART) {
            snprintf(value, sizeof value, "%" PRIu64, sum_of(sets, nsets, i, table[i].kind));
            tell(&t, "", NULL, value);
        }
    }
}

static const char *type_word(enum counter_kind kind)
{
    return kind == COUNTER_GAUGE ? "gauge" : kind == COUNTER_HISTOGRAM ? "histogram" : "counter";
}

struct prometheus {
    struct text *out;
    const struct counter_desc *table, *last;
};

static void prometheus_line(void *arg, const struct counter_sample *s)
{
    struct prometheus *p = arg;
    if (s->desc != p->last && starts_family(p->table, (size_t)(s->desc - p->table))) {
        text_fmt(p->out, "# HELP %s ", s->desc->family);
        add_help(p->out, s->desc->help);
        text_fmt(p->out, "\n# TYPE %s %s\n", s->desc->family, type_word(s->desc->kind));
    }
    p->last = s->desc;
    text_fmt(p->out, "%s %s\n", s->name, s->value);
}

void counters_prometheus(struct text *out, const struct counter_desc *table, size_t n,
    const counter_cell *const *sets, size_t nsets)
{
    struct prometheus p = {out, table, NULL};
    counters_samples(table, n, sets, nsets, prometheus_line, &p);
}

/* The inside of a table cell: a bar would end it, a line feed the table. */
static void add_cell(struct text *out, const char *s)
{
    for (const char *p = s; *p; p++) {
        if (*p == '|')
            text_add(out, STR("\\|"));
        else
            text_add(out, *p == '\n' ? STR(" ") : str_of(p, 1));
    }
}

void counters_markdown(struct text *out, const struct counter_desc *table, size_t n)
{
    text_add(out, STR("| Counter | Labels | Kind | Meaning |\n|---|---|---|---|\n"));
    for (size_t i = 0; i < n; i++) {
        const struct counter_desc *d = &table[i];
        if (d->kind == COUNTER_PART)
            continue;
        text_fmt(out, "| `%s` | ", d->family);
        if (d->labels && *d->labels) {
            text_add(out, STR("`"));
            add_cell(out, d->labels);
            text_add(out, STR("` "));
        }
        text_fmt(out, "| %s | ", d->kind == COUNTER_TOTAL ? "total" : type_word(d->kind));
        add_cell(out, d->help);
        text_add(out, STR(" |\n"));
    }
}

/* The cells of a family, `step` for each of its members. */
static void describe_family(
    struct counter_desc *table, char (*labels)[48], const struct counter_family *f, unsigned step)
{
    for (unsigned i = 0; i < f->n * step; i++) {
        unsigned at = f->first + i;
        enum counter_kind kind = step == 1       ? COUNTER_TOTAL
                                 : i % step == 0 ? COUNTER_HISTOGRAM
                                                 : COUNTER_PART;
        snprintf(labels[at], sizeof labels[at], "%s=\"%s\"", f->label, f->word(i / step));
        table[at] = (struct counter_desc){f->name, labels[at], f->help, kind};
    }
}

const struct counter_desc *counters_table(const struct counter_parts *parts, size_t ncells)
{
    struct counter_desc *table = mem_array(ncells, sizeof *table);
    char(*labels)[48] = mem_array(ncells, sizeof *labels);
    if (!table || !labels) {
        mem_free(table);
        mem_free(labels);
        return NULL;
    }
    memset(table, 0, ncells * sizeof *table);
    table[0].labels = labels[0];
    for (size_t i = 0; i < parts->nfamilies; i++)
        describe_family(table, labels, &parts->families[i], 1);
    for (size_t i = 0; i < parts->nhistograms; i++)
        describe_family(table, labels, &parts->histograms[i], HISTOGRAM_CELLS);
    for (size_t i = 0; i < parts->nsingles; i++)
        table[parts->singles[i].cell] = parts->singles[i].desc;
    for (size_t i = 0; i < ncells; i++)
        assert(table[i].family);
    return table;
}

void counters_table_free(const struct counter_desc *table)
{
    if (!table)
        return;
    mem_free((void *)(uintptr_t)table[0].labels); /* the block of all labels starts there */
    mem_free((void *)(uintptr_t)table);
}
