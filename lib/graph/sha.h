/* SHA-256 without a look-up or an allocation a hash: one context, used again and again. */
#ifndef OFFSHOOT_GRAPH_SHA_H
#define OFFSHOOT_GRAPH_SHA_H

#include "lib/base/str.h"
#include <stdint.h>

#define SHA_SIZE 32

struct sha;

struct sha *sha_new(void); /* NULL when memory is out */
void sha_free(struct sha *s);
/* Start, any number of updates, finish. A failure inside shows at the finish: 0 or -ENOMEM. */
void sha_start(struct sha *s);
void sha_update(struct sha *s, const void *p, size_t n);
void sha_u64(struct sha *s, uint64_t v);   /* eight bytes, lowest first */
void sha_str(struct sha *s, struct str v); /* its length as sha_u64, then its bytes */
int sha_finish(struct sha *s, unsigned char out[SHA_SIZE]);
/* All at once. */
int sha_of(struct sha *s, const void *p, size_t n, unsigned char out[SHA_SIZE]);

#endif
