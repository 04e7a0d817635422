/* Frames by hand for a session of ours. */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_H2_BYTES_H
#define OFFSHOOT_TESTS_UNIT_WIRE_H2_BYTES_H

#include "tests/unit/wire/h2_pair.h"
#include "tests/unit/wire/raw.h"

#define RAW_GET  ":method: GET\n:scheme: http\n:path: /\n:authority: a\n"
#define RAW_POST ":method: POST\n:scheme: http\n:path: /\n:authority: a\n"

static inline void raw_headers(struct raw *r, unsigned flags, uint32_t id, const char *lines)
{
    static struct raw block;
    block.n = 0;
    raw_fields(&block, lines);
    raw_frame(r, T_HEADERS, flags, id, str_of(block.bytes, block.n));
}

static inline void raw_get(struct raw *r, uint32_t id)
{
    raw_headers(r, F_END_HEADERS | F_END_STREAM, id, RAW_GET);
}

static inline void raw_setting(struct raw *r, unsigned id, uint32_t value)
{
    static struct raw entry;
    entry.n = 0;
    raw_u(&entry, id, 2);
    raw_u(&entry, value, 4);
    raw_frame(r, T_SETTINGS, 0, 0, str_of(entry.bytes, entry.n));
}

static inline void raw_window(struct raw *r, uint32_t id, uint32_t by)
{
    char p[4] = {(char)(by >> 24), (char)(by >> 16), (char)(by >> 8), (char)by};
    raw_frame(r, T_WINDOW, 0, id, str_of(p, 4));
}

#endif
