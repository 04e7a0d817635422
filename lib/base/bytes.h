/* Copying and comparing few bytes of a length known only at run time, without a call; and numbers
 * in the byte order of files and messages.
 *
 * Names, values and tokens are mostly 2 to 32 bytes long; for those, memcpy and memcmp cost more
 * for getting there than for the bytes. Here two wide steps, which overlap, cover any length up to
 * twice their width. Nothing outside [0, n) is touched. */
#ifndef OFFSHOOT_BASE_BYTES_H
#define OFFSHOOT_BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t bytes_load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t bytes_load4(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Calls nothing, so that small callers save no registers; for long bytes memcmp is faster. */
static inline bool bytes_eq(const char *a, const char *b, size_t n)
{
    if (n >= 8) {
        uint64_t diff = bytes_load8(a + (n - 8)) ^ bytes_load8(b + (n - 8));
        for (size_t i = 0; i + 8 < n; i += 8)
            diff |= bytes_load8(a + i) ^ bytes_load8(b + i);
        return diff == 0;
    }
    if (n >= 4)
        return ((bytes_load4(a) ^ bytes_load4(b)) |
                   (bytes_load4(a + (n - 4)) ^ bytes_load4(b + (n - 4)))) == 0;
    /* up to three: the first, the middle and the last are all there are */
    return n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

/* The least significant byte first, whatever the machine's order is. */
static inline uint64_t bytes_get_le64(const void *from)
{
    uint64_t v;
    memcpy(&v, from, sizeof v);
    return le64toh(v);
}

static inline void bytes_put_le64(void *to, uint64_t v)
{
    v = htole64(v);
    memcpy(to, &v, sizeof v);
}

/* from and to may not overlap. */
static inline void bytes_copy(char *to, const char *from, size_t n)
{
    if (n > 32) {
        memcpy(to, from, n);
    } else if (n >= 16) {
        memcpy(to, from, 16);
        memcpy(to + (n - 16), from + (n - 16), 16);
    } else if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + (n - 8), from + (n - 8), 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + (n - 4), from + (n - 4), 4);
    } else if (n > 0) {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
}

#endif
