/* How a dark trace-id is told from a user's: by the rule of CaptureRules.dark_key in control.proto.
 * The agent makes such ids (lib/net/dark.h), proxies know them (proxy/capture.c). */
#ifndef OFFSHOOT_GRAPH_DARK_MARK_H
#define OFFSHOOT_GRAPH_DARK_MARK_H

#include <stdint.h>
#include <xxhash.h>

/* What the second half of a dark trace-id is, read least significant byte first, behind this first
 * half. seed, xored: the two halves of the key, read so too. */
static inline uint64_t dark_mark(const unsigned char first[8], uint64_t seed, uint64_t xored)
{
    return XXH3_64bits_withSeed(first, 8, seed) ^ xored;
}

#endif
