/* Between mirror.c (what is on its way), mirror_request.c (what goes) and mirror_reply.c (what came
 * of it). The latter two do no I/O. */
#ifndef OFFSHOOT_AGENT_MIRROR_IMPL_H
#define OFFSHOOT_AGENT_MIRROR_IMPL_H

#include "agent/mirror.h"
#include "lib/net/h2client.h"

struct dark_part {
    const struct mirror_roles *roles;
    bool candidate; /* else the secondary */
    unsigned char trace_id[TRACE_BYTES], span_id[8];
    struct str token; /* empty: no carriers, for what is sent without a context */
};

/* The fields of one dark request. Views into the exchange, the roles, the token and `memory`. */
struct dark_request {
    struct reply_field_view *fields;
    size_t nfields;
    bool has_body;
    void *memory;
};
/* docs/internals/mirror.md has the rules. 0 or -ENOMEM; dark_request_release is due in any case. */
int dark_request_build(
    struct dark_request *ret, const struct exchange *x, const struct dark_part *part);
void dark_request_release(struct dark_request *r);

/* NULL: the reply counts as *ret. Else the word why the sample is of no use. */
const char *mirrored_outcome(const struct h2reply *r, enum reply_outcome *ret);
/* Memory that mirrored_copy needs. */
size_t mirrored_size(const struct h2reply *r);
/* Copies a reply that counts as `outcome` into memory of mirrored_size bytes. */
void mirrored_copy(
    struct mirrored *to, const struct h2reply *r, enum reply_outcome outcome, void *memory);

#endif
