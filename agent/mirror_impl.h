/* Between mirror.c (what is on its way) and mirror_reply.c (what came of it). lib/net/dark.h has
 * what goes, and what a reply counts as. */
#ifndef OFFSHOOT_AGENT_MIRROR_IMPL_H
#define OFFSHOOT_AGENT_MIRROR_IMPL_H

#include "agent/mirror.h"
#include "lib/net/dark.h"

_Static_assert(TRACE_BYTES == DARK_TRACE_BYTES, "one size of trace-ids");

static inline struct dark_source dark_source_of(const struct exchange *x)
{
    return (struct dark_source){.authority = x->authority,
        .client = x->client,
        .fields = x->fields,
        .nfields = x->nfields,
        .body_bytes = x->body.n,
        .https = x->https,
        .grpc = x->grpc};
}

/* Memory that mirrored_copy needs. */
size_t mirrored_size(const struct h2reply *r);
/* Copies a reply that counts as `outcome` into memory of mirrored_size bytes. */
void mirrored_copy(
    struct mirrored *to, const struct h2reply *r, enum reply_outcome outcome, void *memory);

#endif
