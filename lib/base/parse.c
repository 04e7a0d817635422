#include "lib/base/parse.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define DAY_S           86400
#define DURATION_MAX_MS (UINT64_C(3650) * DAY_S * 1000)

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Value of a base-36 digit, 36 for anything else. */
static unsigned digit36(char c)
{
    if (is_digit(c))
        return (unsigned)(c - '0');
    return c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 10 : 36;
}

/* Digits of a base, at most `max`, no leading zero unless alone. */
static int parse_digits(struct str s, unsigned base, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;
    bool over = false;

    if (s.n == 0 || (s.n > 1 && s.p[0] == '0'))
        return -EINVAL;
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = digit36(s.p[i]);
        if (d >= base)
            return -EINVAL; /* wins over the range, wherever it stands */
        over = over || v > (max - d) / base;
        v = over ? 0 : v * base + d;
    }
    if (over)
        return -ERANGE;
    *ret = v;
    return 0;
}

int parse_u64(struct str s, uint64_t *ret)
{
    return parse_digits(s, 10, INT64_MAX, ret);
}

int parse_u32(struct str s, uint32_t min, uint32_t max, uint32_t *ret)
{
    uint64_t v;
    int rc = parse_digits(s, 10, INT64_MAX, &v);

    if (rc)
        return rc;
    if (v < min || v > max)
        return -ERANGE;
    *ret = (uint32_t)v;
    return 0;
}

int parse_i64(struct str s, int64_t *ret)
{
    bool negative = s.n && s.p[0] == '-';
    uint64_t v;
    int rc = parse_digits(negative ? str_from(s, 1) : s, 10, (uint64_t)INT64_MAX + negative, &v);

    if (rc)
        return rc;
    if (negative && v == 0)
        return -EINVAL;
    *ret = negative ? -(int64_t)(v - 1) - 1 : (int64_t)v;
    return 0;
}

int parse_base36(struct str s, uint64_t *ret)
{
    return parse_digits(s, 36, INT64_MAX, ret);
}

size_t format_base36(uint64_t v, char *out)
{
    char rev[13];
    size_t n = 0;

    do {
        rev[n++] = "0123456789abcdefghijklmnopqrstuvwxyz"[v % 36];
        v /= 36;
    } while (v);
    for (size_t i = 0; i < n; i++)
        out[i] = rev[n - 1 - i];
    return n;
}

struct unit {
    struct str name;
    uint64_t factor;
};

/* Largest first, so that format_duration_ms takes the first that divides. */
static const struct unit durations[] = {
    {STR("d"), (uint64_t)DAY_S * 1000},
    {STR("h"), 3600000},
    {STR("m"), 60000},
    {STR("s"), 1000},
    {STR("ms"), 1},
};

static const struct unit sizes[] = {
    {STR(""), 1},
    {STR("k"), 1 << 10},
    {STR("KiB"), 1 << 10},
    {STR("M"), 1 << 20},
    {STR("MiB"), 1 << 20},
    {STR("G"), 1 << 30},
    {STR("GiB"), 1 << 30},
};

static int parse_units(
    struct str s, const struct unit *units, size_t n, uint64_t max, uint64_t *ret)
{
    size_t digits = 0;

    while (digits < s.n && is_digit(s.p[digits]))
        digits++;
    for (size_t i = 0; i < n; i++) {
        if (!str_eq(str_from(s, digits), units[i].name))
            continue;
        uint64_t v;
        int rc = parse_digits(str_of(s.p, digits), 10, max / units[i].factor, &v);
        if (rc == 0)
            *ret = v * units[i].factor;
        return rc;
    }
    return -EINVAL;
}

int parse_duration_ms(struct str s, uint64_t *ret_ms)
{
    if (str_eq(s, STR("0"))) {
        *ret_ms = 0;
        return 0;
    }
    return parse_units(
        s, durations, sizeof(durations) / sizeof(durations[0]), DURATION_MAX_MS, ret_ms);
}

void format_hex64(uint64_t v, char out[16])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 15; i >= 0; i--, v >>= 4)
        out[i] = digits[v & 15];
}

size_t format_duration_ms(uint64_t ms, char *out)
{
    const struct unit *u = durations;

    if (ms == 0)
        return (size_t)snprintf(out, 24, "0");
    while (ms % u->factor)
        u++;
    return (size_t)snprintf(out, 24, "%" PRIu64 "%s", ms / u->factor, u->name.p);
}

int parse_size(struct str s, uint64_t *ret_bytes)
{
    return parse_units(s, sizes, sizeof(sizes) / sizeof(sizes[0]), INT64_MAX, ret_bytes);
}

/* Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that
 * the leap day is the last of its year. */
static int64_t days_from_date(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Takes `width` digits and, unless it is NUL, the byte `after` off the front of *s. */
static bool take_number(
    struct str *s, size_t width, char after, unsigned min, unsigned max, unsigned *ret)
{
    unsigned v = 0;

    if (s->n < width + (after != '\0'))
        return false;
    for (size_t i = 0; i < width; i++) {
        if (!is_digit(s->p[i]))
            return false;
        v = v * 10 + (unsigned)(s->p[i] - '0');
    }
    /* Letters of a time may be lower case (RFC 3339 section 5.6). */
    if (v < min || v > max || (after && ascii_lower(s->p[width]) != ascii_lower(after)))
        return false;
    *s = str_from(*s, width + (after != '\0'));
    *ret = v;
    return true;
}

static bool skip_fraction(struct str *s)
{
    size_t n = 1;

    if (s->n == 0 || s->p[0] != '.')
        return true;
    while (n < s->n && is_digit(s->p[n]))
        n++;
    if (n == 1)
        return false;
    *s = str_from(*s, n);
    return true;
}

/* The rest of the text: "Z" or "+hh:mm"; seconds east of Greenwich. */
static bool take_zone(struct str s, int64_t *ret)
{
    unsigned hour, minute;

    if (str_ieq(s, STR("Z"))) {
        *ret = 0;
        return true;
    }
    if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-'))
        return false;
    bool west = s.p[0] == '-';
    s = str_from(s, 1);
    if (!take_number(&s, 2, ':', 0, 23, &hour) || !take_number(&s, 2, '\0', 0, 59, &minute))
        return false;
    *ret = ((int64_t)hour * 3600 + (int64_t)minute * 60) * (west ? -1 : 1);
    return true;
}

int parse_rfc3339(struct str s, int64_t *ret_unix)
{
    unsigned year, month, day, hour, minute, second;
    int64_t east;

    if (!take_number(&s, 4, '-', 0, 9999, &year) || !take_number(&s, 2, '-', 1, 12, &month) ||
        !take_number(&s, 2, 'T', 1, days_in_month(year, month), &day) ||
        !take_number(&s, 2, ':', 0, 23, &hour) || !take_number(&s, 2, ':', 0, 59, &minute) ||
        !take_number(&s, 2, '\0', 0, 59, &second) || !skip_fraction(&s) || !take_zone(s, &east))
        return -EINVAL;
    *ret_unix = days_from_date(year, month, day) * DAY_S + (int64_t)hour * 3600 +
                (int64_t)minute * 60 + second - east;
    return 0;
}

void format_rfc3339(int64_t unix_s, char *out)
{
    const int64_t first = days_from_date(0, 1, 1) * DAY_S;
    const int64_t last = days_from_date(10000, 1, 1) * DAY_S - 1;

    unix_s = unix_s < first ? first : unix_s > last ? last : unix_s;
    int64_t since = unix_s - first;
    unsigned of_day = (unsigned)(since % DAY_S);
    int64_t days = since / DAY_S;
    unsigned year = (unsigned)(days * 400 / 146097); /* at most one too many */
    while (days_from_date(year, 1, 1) * DAY_S > unix_s)
        year--;
    while (days_from_date((int64_t)year + 1, 1, 1) * DAY_S <= unix_s)
        year++;
    unsigned day = (unsigned)(unix_s / DAY_S - (unix_s % DAY_S < 0) - days_from_date(year, 1, 1));
    unsigned month = 1;
    while (day >= days_in_month(year, month))
        day -= days_in_month(year, month++);
    snprintf(out, 21, "%04u-%02u-%02uT%02u:%02u:%02uZ", year % 10000, month, (day + 1) % 100,
        of_day / 3600 % 24, of_day / 60 % 60, of_day % 60);
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-';
}

bool name_valid(struct str s)
{
    if (s.n == 0 || s.n > 63 || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_name_char(s.p[i]))
            return false;
    }
    return true;
}

/* Length of the well-formed sequence at p that starts with a byte of 0x80 or above, 0 when it is
 * not one (Unicode 15, table 3-7). */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte */
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;

    if (p[0] < 0xc2 || p[0] > 0xf4 || n < len)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0; /* overlong */
    else if (p[0] == 0xed)
        high = 0x9f; /* surrogates */
    else if (p[0] == 0xf0)
        low = 0x90; /* overlong */
    else if (p[0] == 0xf4)
        high = 0x8f; /* above U+10FFFF */
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

size_t utf8_check(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t i = 0;

    while (i < s.n) {
        uint64_t word;
        if (s.n - i >= sizeof(word)) {
            memcpy(&word, p + i, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof(word);
                continue;
            }
        }
        size_t len = p[i] < 0x80 ? 1 : utf8_sequence(p + i, s.n - i);
        if (len == 0)
            return i;
        i += len;
    }
    return s.n;
}
