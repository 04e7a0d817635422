/* Services and gateways as records: canonical bytes (proto/offshoot/v1/graph.proto), their hash,
 * and what is read from them. The bytes are the content; everything else points into them.
 *
 * Counted; the thread that builds counts. */
#ifndef OFFSHOOT_GRAPH_DOCS_H
#define OFFSHOOT_GRAPH_DOCS_H

#include "lib/graph/pb.h"
#include "lib/graph/route.h"
#include "lib/graph/sha.h"
#include "lib/graph/snapshot.h"

struct service_doc {
    uint32_t refs;
    bool routes; /* uses what snapshot_needs_routes (snapshot.h) is about */
    uint32_t number;
    uint64_t changed; /* epoch */
    unsigned char hash[SHA_SIZE];
    struct str bytes;
    struct service_info info;
    struct mtext *hosts; /* without places; as written, for hosts_new */
    uint32_t nhosts;
};

struct gateway_doc {
    uint32_t refs;
    bool routes;
    uint64_t changed;
    unsigned char hash[SHA_SIZE];
    struct str bytes;
    struct str name;
    struct gateway *gateway;
};

/* Appends the canonical form. */
void service_write(struct pb_out *o, const struct model_service *m);
void gateway_write(struct pb_out *o, const struct model_gateway *m);

/* Reads and copies a canonical form; returns new with one reference. 0, -ENOMEM, or -EBADMSG with
 * what is wrong. number: gives NUMBER_NONE for an unknown service, which is an error. */
int service_doc_new(struct str bytes, uint32_t number, uint64_t changed, struct sha *sha,
    struct service_doc **ret, struct err *e);
int gateway_doc_new(struct str bytes, uint64_t changed, struct sha *sha, service_number_fn *number,
    void *arg, struct gateway_doc **ret, struct err *e);
void service_doc_unref(struct service_doc *d);
void gateway_doc_unref(struct gateway_doc *d);
size_t service_doc_bytes(const struct service_doc *d);
/* The name in a service's canonical form. 0 or -EBADMSG. */
int record_name(struct str bytes, struct str *ret, struct err *e);

#endif
