/* Classes of values that change from reply to reply and still stay the same thing. A text may look
 * like several at once (deadbeef is hex, and 12345678 is that and a number): two are of one shape
 * when they have a class in common. */
#include "lib/base/parse.h"
#include "lib/compare/compare_int.h"
#include "lib/compare/json.h"
#include "lib/compare/letters.h"

#define HEX_MIN      8
#define BASE64_MIN   16
#define EPOCH_FIRST  1000000000u /* September 2001 */
#define EPOCH_DIGITS 10

enum shape_class {
    CLASS_UUID = 1,
    CLASS_TIME = 2, /* RFC 3339, or the date of HTTP */
    CLASS_EPOCH_S = 4,
    CLASS_EPOCH_MS = 8,
    CLASS_EPOCH_US = 16,
    CLASS_WHOLE = 32,
    CLASS_REAL = 64,
    CLASS_EMAIL = 128,
    CLASS_HEX = 256, /* and base64: only of lengths with the same power of two */
    CLASS_BASE64 = 512
};

/* The position of the highest bit: 0 for 0, 1 for 1, 2 for 2 and 3, 3 for 4 to 7 ... */
static unsigned bucket(size_t n)
{
    unsigned b = 0;
    for (; n; n >>= 1)
        b++;
    return b;
}

static bool all(struct str s, bool (*is)(char c))
{
    for (size_t i = 0; i < s.n; i++)
        if (!is(s.p[i]))
            return false;
    return s.n > 0;
}

static bool is_base64(char c)
{
    return is_alnum(c) || (c && strchr("+/=_-", c));
}

/* Also in braces or behind urn:uuid: */
static bool is_any_uuid(struct str s)
{
    if (str_starts(s, STR("urn:uuid:")))
        s = str_from(s, 9);
    if (s.n == 38 && s.p[0] == '{' && s.p[37] == '}')
        s = str_of(s.p + 1, 36);
    return is_uuid(s);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", RFC 9110 section 5.6.7 */
static bool is_http_date(struct str s)
{
    return s.n == 29 && str_ends(s, STR(" GMT")) && s.p[3] == ',' && s.p[19] == ':' &&
           s.p[22] == ':' && is_digit(s.p[5]) && is_digit(s.p[12]);
}

/* With a zone, as RFC 3339 wants it, or without one, as many write it. */
static bool is_time(struct str s)
{
    char room[40];
    int64_t t;
    if (s.n < 16 || s.n + 1 >= sizeof(room) || !is_digit(s.p[0]) || s.p[4] != '-')
        return is_http_date(s);
    memcpy(room, s.p, s.n);
    room[10] = 'T';
    room[s.n] = 'Z';
    return parse_rfc3339(str_of(room, s.n), &t) == 0 ||
           parse_rfc3339(str_of(room, s.n + 1), &t) == 0;
}

static bool is_email(struct str s)
{
    size_t at = str_find(s, '@');
    return at > 0 && at + 3 < s.n && memchr(s.p + at, '.', s.n - at) && !memchr(s.p, ' ', s.n);
}

/* "-12", "0.5", "1e9" */
static bool is_number(struct str s)
{
    bool digit = false;
    for (size_t i = 0; i < s.n; i++) {
        if (is_digit(s.p[i]))
            digit = true;
        else if (!(s.p[i] == '.' || (s.p[i] == '-' && i == 0) ||
                     (digit && (s.p[i] == 'e' || s.p[i] == 'E')) ||
                     (i > 0 && (s.p[i] == '-' || s.p[i] == '+') && ascii_lower(s.p[i - 1]) == 'e')))
            return false;
    }
    return digit && s.n <= 40;
}

static unsigned classes_of_number(struct str s)
{
    uint64_t v;
    unsigned c = json_number_is_whole(s) ? CLASS_WHOLE : CLASS_REAL;
    if (parse_u64(s, &v) != 0 || v < EPOCH_FIRST)
        return c;
    if (s.n == EPOCH_DIGITS)
        return CLASS_EPOCH_S;
    if (s.n == EPOCH_DIGITS + 3)
        return CLASS_EPOCH_MS;
    return s.n == EPOCH_DIGITS + 6 ? CLASS_EPOCH_US : c;
}

static unsigned classes_of_text(struct str s)
{
    if (is_any_uuid(s))
        return CLASS_UUID;
    if (is_time(s))
        return CLASS_TIME;
    if (is_email(s))
        return CLASS_EMAIL;
    unsigned c = is_number(s) ? classes_of_number(s) : 0;
    if (s.n >= HEX_MIN && all(s, is_hex))
        c |= CLASS_HEX;
    if (s.n >= BASE64_MIN && all(s, is_base64))
        c |= CLASS_BASE64;
    return c;
}

bool shape_same_length(size_t a, size_t b)
{
    return bucket(a) == bucket(b);
}

bool shape_same_text(struct str a, struct str b)
{
    unsigned x = classes_of_text(a), y = classes_of_text(b);
    bool same_length = shape_same_length(a.n, b.n);
    if (!same_length)
        return (x & y & ~(unsigned)(CLASS_HEX | CLASS_BASE64)) != 0;
    return (x & y) != 0 || (x == 0 && y == 0);
}

bool shape_same_number(struct str a, struct str b)
{
    return (classes_of_number(a) & classes_of_number(b)) != 0;
}
