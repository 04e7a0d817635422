/* Dark requests: what of a user's request goes once more, to a role of a session, and what a reply
 * to it counts as. Pure; docs/internals/mirror.md has the rules. */
#ifndef OFFSHOOT_NET_DARK_H
#define OFFSHOOT_NET_DARK_H

#include "lib/compare/reply.h"
#include "lib/net/h2client.h"

#define DARK_TRACE_BYTES 16

/* The request as it came. */
struct dark_source {
    struct str authority, client; /* client: its address where it came to a gateway; else empty */
    const struct reply_field *fields;
    size_t nfields, body_bytes;
    bool https, grpc;
};
/* What is different about this one. */
struct dark_part {
    bool candidate; /* else the secondary */
    bool forward_credentials;
    const struct reply_field *set; /* in place of what the user sent */
    size_t nset;
    unsigned char trace_id[DARK_TRACE_BYTES], span_id[8];
    struct str token; /* empty: no carriers, for what is sent without a context */
};
/* Its fields: views into the source, the part and `memory`. */
struct dark_request {
    struct reply_field_view *fields;
    size_t nfields;
    bool has_body;
    void *memory;
};
/* 0 or -ENOMEM; dark_request_release is due in any case. */
int dark_request_build(
    struct dark_request *ret, const struct dark_source *x, const struct dark_part *part);
void dark_request_release(struct dark_request *r);

/* A field, by its name in lower case, that a candidate gets only by forward_credentials. */
bool dark_is_credential(struct str name);

/* A dark trace-id out of 8 random bytes. The proxy has its own, by the rule in control.proto. */
void dark_trace_id(const unsigned char key[16], const unsigned char random[8],
    unsigned char ret[DARK_TRACE_BYTES]);

/* NULL: the reply counts as *ret. Else the static word why it tells nothing of the role. */
const char *dark_outcome(const struct h2reply *r, enum reply_outcome *ret);

#endif
