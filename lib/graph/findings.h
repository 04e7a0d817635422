/* What is wrong with a graph: every finding at once, each with its place and a way to repair it.
 *
 * Codes are stable words (docs/graph-reference.md). The first `limit` findings are kept, all are
 * counted. Errors make the graph invalid; warnings never do. Not thread-safe. */
#ifndef OFFSHOOT_GRAPH_FINDINGS_H
#define OFFSHOOT_GRAPH_FINDINGS_H

#include "lib/base/counters.h"
#include "lib/base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum finding_code {
    F_SYNTAX,
    F_UNKNOWN_FIELD,
    F_MISSING_FIELD,
    F_TYPE,
    F_NAME,
    F_ADDRESS,
    F_DATE,
    F_DUPLICATE,
    F_EMPTY,
    F_UNKNOWN_PARENT,
    F_UNKNOWN_SERVICE,
    F_UNKNOWN_ENVIRONMENT,
    F_CYCLE,
    F_DEPTH,
    F_TWO_BASELINES,
    F_NO_LINEARISATION,
    F_OVERLAY_WITHOUT_PARENT,
    F_BASELINE_WITH_PARENT,
    F_SHARED_PARENT,
    F_CONTRADICTION,
    F_DANGLING_USE,
    F_USE_CHAIN,
    F_CONFLICT,
    F_AMBIGUOUS_SHARED,
    F_PINNED_OVERRIDE,
    F_HOST_CLAIMED_TWICE,
    F_ROUTE_CLAIMED_TWICE,
    F_ENDPOINT_FORBIDDEN,
    /* warnings from here on */
    F_OUTLIVES_PARENT,
    F_UNPROVIDED_SERVICE,
    F_BASELINE_EXPIRES,
    FINDING_CODE_COUNT
};
const char *finding_word(enum finding_code c); /* "unknown-field" */
static inline bool finding_is_warning(enum finding_code c)
{
    return c >= F_OUTLIVES_PARENT;
}

/* A place in a source file. Line and column count from 1, columns in bytes; line 0: no place. */
struct place {
    uint32_t file; /* index into the file names of the model or snapshot */
    uint32_t line;
    uint32_t column;
};

struct finding {
    enum finding_code code;
    struct place at;
    struct place related;  /* line 0: none */
    struct place related2; /* line 0: none; two origins clash in a third place */
    char *message;         /* what is wrong and what would repair it; owned by the set */
};

struct findings {
    struct finding *list;
    size_t n, size;
    size_t limit;                       /* kept at the most; 1,000 by default */
    size_t errors, warnings;            /* all that were added, kept or not */
    size_t by_code[FINDING_CODE_COUNT]; /* the same by code */
    bool no_memory;                     /* a finding was lost: treat the graph as invalid */
};

void findings_init(struct findings *f);
void findings_release(struct findings *f);
/* related may be NULL. */
void findings_add(struct findings *f, enum finding_code code, struct place at,
    const struct place *related, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The same with two related places. */
void findings_add_clash(struct findings *f, enum finding_code code, struct place at,
    const struct place related[2], const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Adds what `from` holds to `to` and leaves `from` empty. */
void findings_move(struct findings *to, struct findings *from);
/* Groups by file in the order of files, then by place, then by code. */
void findings_sort(struct findings *f);
/* {"valid":bool,"findings":[{"code","severity","file","line","column","message",
 * "related":[{"file","line"}]}]} on one line; adds "omitted":N when some were not kept. */
void findings_json(const struct findings *f, const char *const *files, struct text *out);
/* One line each: "FILE:LINE:COLUMN: error: CODE: message" and an indented line for the related. */
void findings_text(const struct findings *f, const char *const *files, struct text *out);

#endif
