/* Bodies packed as a server would, for tests. */
#ifndef OFFSHOOT_TESTS_UNIT_COMPARE_DEFLATED_H
#define OFFSHOOT_TESTS_UNIT_COMPARE_DEFLATED_H

#include "lib/base/str.h"
#include <assert.h>
#include <zlib.h>

/* window: of deflateInit2 (31: gzip, 15: zlib, -15: raw). Returns the packed bytes inside out. */
static inline struct str deflated(int window, struct str plain, char *out, size_t size)
{
    z_stream z = {.next_in = (z_const Bytef *)plain.p,
        .avail_in = (uInt)plain.n,
        .next_out = (Bytef *)out,
        .avail_out = (uInt)size};
    int r = deflateInit2(&z, 9, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY);
    assert(r == Z_OK);
    r = deflate(&z, Z_FINISH);
    assert(r == Z_STREAM_END);
    (void)r;
    size_t n = size - z.avail_out;
    deflateEnd(&z);
    return str_of(out, n);
}

#endif
