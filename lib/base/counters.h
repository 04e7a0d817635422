/* Described counters: one table says name, labels, help and kind; everything else follows from it
 * (the Prometheus text, /counters, docs/counters.md).
 *
 * A set of counters has a single writer (its thread); readers add sets up with relaxed loads. */
#ifndef OFFSHOOT_BASE_COUNTERS_H
#define OFFSHOOT_BASE_COUNTERS_H

#include "lib/base/str.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum counter_kind {
    COUNTER_TOTAL,
    COUNTER_GAUGE,
    COUNTER_HISTOGRAM, /* the first of HISTOGRAM_CELLS cells (histogram.h) */
    COUNTER_PART       /* the others of them */
};

/* One row. Rows of one family stand together and share family, kind and help. */
struct counter_desc {
    const char *family; /* "offshoot_refusals_total": prefix offshoot_, base unit, _total;
                           "offshoot_request_seconds" for a histogram */
    const char *labels; /* "reason=\"removed\"" or "" */
    const char *help;   /* one sentence */
    enum counter_kind kind;
};

/* Parts of a table: cells that differ by one label, whose values word(0) .. word(n - 1) gives; and
 * cells on their own. */
struct counter_family {
    unsigned first, n;
    const char *name, *label;
    const char *(*word)(unsigned i);
    const char *help;
};
struct counter_single {
    unsigned cell;
    struct counter_desc desc;
};
/* Makes the table of ncells from its parts, which must describe every cell. A family of histograms
 * has n times HISTOGRAM_CELLS cells. NULL when memory is out. */
struct counter_parts {
    const struct counter_family *families;
    size_t nfamilies;
    const struct counter_single *singles;
    size_t nsingles;
    const struct counter_family *histograms;
    size_t nhistograms;
};
const struct counter_desc *counters_table(const struct counter_parts *parts, size_t ncells);
void counters_table_free(const struct counter_desc *table);

typedef _Atomic uint64_t counter_cell; /* an element of an array indexed by the caller's enum */

static inline void counter_add(counter_cell *c, uint64_t n)
{
    atomic_store_explicit(
        c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline void counter_inc(counter_cell *c)
{
    counter_add(c, 1);
}
static inline void counter_sub(counter_cell *c, uint64_t n)
{
    counter_add(c, (uint64_t)0 - n);
}
/* Of a gauge. */
static inline void counter_set(counter_cell *c, uint64_t v)
{
    atomic_store_explicit(c, v, memory_order_relaxed);
}
static inline uint64_t counter_get(const counter_cell *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* A growing text in memory (NUL-terminated), used for metrics, admin answers and docs. */
struct text {
    char *p;
    size_t n, size;
    int failed; /* -ENOMEM once an append failed; further appends do nothing */
};
void text_add(struct text *t, struct str s);
void text_fmt(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends s as the inside of a JSON string (quotes not written); invalid UTF-8 becomes U+FFFD. */
void text_json(struct text *t, struct str s);
/* Appends s as part of a line for people: control characters, C1 included, become '?'. */
void text_plain(struct text *t, struct str s);
void text_release(struct text *t);

/* One sample of a reading, as Prometheus has them: a histogram gives one for each `le`, one for its
 * sum in seconds, and one for its count. */
struct counter_sample {
    const struct counter_desc *desc;
    const char *name;  /* "offshoot_request_seconds_bucket{code=\"2xx\",le=\"0.000064\"}" */
    const char *value; /* a number as text */
    bool is_zero;
    bool is_bucket;
};
/* Adds up `sets` arrays of n cells by the table and tells every sample, in order. */
void counters_samples(const struct counter_desc *table, size_t n, const counter_cell *const *sets,
    size_t nsets, void (*fn)(void *arg, const struct counter_sample *s), void *arg);
/* The same as Prometheus text format. */
void counters_prometheus(struct text *out, const struct counter_desc *table, size_t n,
    const counter_cell *const *sets, size_t nsets);
/* The reference page: one Markdown table row a counter. */
void counters_markdown(struct text *out, const struct counter_desc *table, size_t n);

#endif
