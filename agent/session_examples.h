/* What differed, shown: up to 5 examples of each of some hundred fields of one session, redacted
 * texts. The fields with the least evidence go when there are too many. */
#ifndef OFFSHOOT_AGENT_SESSION_EXAMPLES_H
#define OFFSHOOT_AGENT_SESSION_EXAMPLES_H

#include "agent/exchange.h"
#include "lib/compare/tally.h"

#define EXAMPLES_EACH   5u
#define EXAMPLES_WORST  200u /* fields that are kept for good */
#define EXAMPLES_FIELDS 400u /* until examples_prune */

struct examples;
struct example {
    uint64_t sample;
    unsigned char trace[TRACE_BYTES]; /* of the primary */
    bool candidate_only;              /* the secondary does not differ */
    struct str primary, secondary, candidate;
};
struct example_field {
    struct str endpoint, path;
    enum diff_kind kind;
};

struct examples *examples_new(void); /* NULL when memory is out */
void examples_free(struct examples *e);
void examples_clear(struct examples *e);
/* Copies it. The newest ones stay; one in which the secondary differs too never takes the place of
 * one in which it does not. Memory that is out loses it. */
void examples_add(struct examples *e, const struct example_field *f, const struct example *x);
/* Up to EXAMPLES_EACH, which stay valid until the next change; returns how many. */
size_t examples_of(
    const struct examples *e, const struct example_field *f, struct example ret[EXAMPLES_EACH]);
/* Only the fields that the tally counts among the worst stay, when there are more. */
void examples_prune(struct examples *e, const struct tally *t);

#endif
