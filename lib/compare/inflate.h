/* gzip and deflate undone, within bounds (RFC 1950 to 1952; content codings of RFC 9110 8.4.1). */
#ifndef OFFSHOOT_COMPARE_INFLATE_H
#define OFFSHOOT_COMPARE_INFLATE_H

#include "lib/base/str.h"
#include <stdint.h>

/* coding: value of Content-Encoding, one or several in the order in which they were applied
 * ("gzip", "x-gzip", "deflate", "identity"; at most 4). "deflate" may be with or without the head
 * of zlib, gzip may be several members in a row. An empty body (of a reply to HEAD, of a 304) stays
 * empty. 0: *ret is the plain body, *ret_owned (may be NULL: ret borrows body) is to be freed with
 * mem_free. -ENOTSUP: another coding; -EBADMSG: broken, cut, or followed by something; -E2BIG: more
 * than max bytes, after any of the codings: no more than max is ever held for it; -ENOMEM. */
int body_inflate(
    struct str coding, struct str body, uint32_t max, struct str *ret, char **ret_owned);

#endif
