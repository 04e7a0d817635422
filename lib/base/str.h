/* Borrowed byte strings: a pointer and a length, never NUL-terminated by contract.
 *
 * A struct str owns nothing. Whoever hands one out says how long the bytes live. An empty
 * string may have p == NULL; n == 0 is what counts. */
#ifndef OFFSHOOT_BASE_STR_H
#define OFFSHOOT_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

/* A struct str over a string literal; its length is known at compile time. */
#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
/* For printf: printf("%.*s", STR_ARG(s)). Strings over INT_MAX bytes never reach printf. */
#define STR_ARG(s) (int)(s).n, (s).n ? (s).p : ""

static inline struct str str_of(const char *p, size_t n)
{
    return (struct str){p, n};
}

/* Borrows a NUL-terminated string. NULL gives the empty string. */
static inline struct str str_c(const char *cstr)
{
    return (struct str){cstr, cstr ? strlen(cstr) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Byte order, a shorter string before a longer one it starts. <0, 0, >0 as memcmp. */
static inline int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static inline bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n &&
           (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

/* The bytes [from, s.n); from may not exceed s.n. */
static inline struct str str_from(struct str s, size_t from)
{
    return (struct str){s.p + from, s.n - from};
}

/* Position of c, or s.n when it does not occur. */
static inline size_t str_find(struct str s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

/* Copies s to *at, which moves on behind it. Returns the copy. */
static inline struct str str_put(char **at, struct str s)
{
    struct str copy = {*at, s.n};
    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* The value of a hexadecimal digit of either case, or -1. */
static inline int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Equality without regard to ASCII case. */
bool str_ieq(struct str a, struct str b);
/* Takes spaces and tabs (RFC 9110 section 5.6.3 OWS) off both ends. */
struct str str_trim(struct str s);
/* Edit distance (Levenshtein, adjacent swap counts one), capped: returns cap + 1 when it is more
 * than cap. Strings longer than 64 bytes are never near (returns cap + 1). Used for "did you
 * mean". */
unsigned str_distance(struct str a, struct str b, unsigned cap);

#endif
