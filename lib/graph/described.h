/* A request described in words (a host, a path, headers) made into what decide() takes.
 *
 * For `explain`, live and offline: the same rules as the codec's parsed form (names lower case,
 * values trimmed), so that a described request is decided as a received one. */
#ifndef OFFSHOOT_GRAPH_DESCRIBED_H
#define OFFSHOOT_GRAPH_DESCRIBED_H

#include "lib/base/err.h"
#include "lib/graph/decide.h"

#define DESCRIBED_HEADERS_MAX 1000
#define DESCRIBED_BYTES_MAX   65536u

struct described {
    struct field *fields;
    struct scratch scratch;
    struct ask ask; /* complete but for `gateway`, `now` and `refuse_missing` */
    void *memory;
};

/* headers: "Name: value" each. host and path as in a request (path with query; empty: "/"). A host
 * that begins with "https://" says that the client came by TLS.
 * Everything is copied. -EINVAL with e names the header that is no header. */
int described_init(struct described *d, struct str host, struct str path, bool trusted,
    const char *const *headers, size_t nheaders, struct err *e);
void described_release(struct described *d);

#endif
