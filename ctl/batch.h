/* Many questions, one line each: "ENVIRONMENT SERVICE" in, one line of answer out. */
#ifndef OFFSHOOT_CTL_BATCH_H
#define OFFSHOOT_CTL_BATCH_H

#include "lib/base/err.h"
#include "lib/graph/snapshot.h"
#include <stdbool.h>
#include <stdint.h>

#define BATCH_LINE_MAX 65536u /* bytes of a line, its end included */

struct batch {
    const struct snapshot *snapshot;
    int64_t now;
    bool json;
    int in, out, complaints; /* descriptors */
};

/* Answers in the order of the lines; what was answered is written before more is waited for. Two
 * words a line, spaces and tabs between them; CR before the end is no part of it. Other lines are
 * told on `complaints` with their number and not answered. Memory does not grow with the lines.
 * Returns 0, 1 when there were such lines, or a negative errno with e. */
int batch_run(const struct batch *b, struct err *e);

/* The line for people: "ENV SERVICE provider PROVIDER CLASS DISTANCE ENDPOINT[,ENDPOINT...]" or
 * "ENV SERVICE refused REFUSAL STATUS", ended by '\n'. */
struct text;
void batch_line(struct text *out, const struct snapshot *s, const struct decision *d,
    struct str env, struct str service);

#endif
