/* What bytes of names, ids and secrets are, in ASCII. Private to lib/compare. */
#ifndef OFFSHOOT_COMPARE_LETTERS_H
#define OFFSHOOT_COMPARE_LETTERS_H

#include "lib/base/str.h"

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool is_letter(char c)
{
    c = ascii_lower(c);
    return c >= 'a' && c <= 'z';
}

static inline bool is_alnum(char c)
{
    return is_digit(c) || is_letter(c);
}

static inline bool is_hex(char c)
{
    return hex_value(c) >= 0;
}

/* RFC 9562: 8-4-4-4-12 hex digits. */
static inline bool is_uuid(struct str s)
{
    if (s.n != 36)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s.p[i] != '-' : !is_hex(s.p[i]))
            return false;
    }
    return true;
}

#endif
