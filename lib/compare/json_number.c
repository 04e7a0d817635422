/* Numbers of any size, taken apart into sign, digits without zeros at either end, and a power of
 * ten; nothing is rounded. */
#include "lib/compare/json.h"
#include <math.h>
#include <stdlib.h>

#define RELATIVE     1e-9
#define EXPONENT_MAX INT64_C(1000000000000)
#define STEP         UINT64_C(0x9e3779b97f4a7c15) /* odd; spreads each digit over all bits above */
#define DOUBLE_TEXT  400 /* longer spellings of numbers that are not whole are cut there */

/* value = 0.d1d2d3... times 10^exponent; no digits: zero. The point may stand among the digits. */
struct decimal {
    bool negative;
    struct str digits; /* from the first to the last that is not zero; perhaps with a point */
    size_t n;          /* digits in it */
    int64_t exponent;
};

static int64_t read_exponent(struct str s)
{
    bool negative = s.n && s.p[0] == '-';
    int64_t v = 0;
    for (size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+'); i < s.n && v < EXPONENT_MAX; i++)
        v = 10 * v + (s.p[i] - '0');
    return negative ? -v : v;
}

static struct decimal take_apart(struct str s)
{
    struct decimal d = {.negative = s.n && s.p[0] == '-'};
    if (d.negative)
        s = str_from(s, 1);
    size_t e = 0;
    while (e < s.n && s.p[e] != 'e' && s.p[e] != 'E')
        e++;
    if (e < s.n)
        d.exponent = read_exponent(str_from(s, e + 1));
    s.n = e;
    size_t point = str_find(s, '.');
    size_t first = 0, end = s.n;
    while (first < s.n && (s.p[first] == '0' || s.p[first] == '.'))
        first++;
    while (end > first && (s.p[end - 1] == '0' || s.p[end - 1] == '.'))
        end--;
    if (first == end)
        return (struct decimal){0}; /* also -0 and 0e5 */
    d.digits = str_of(s.p + first, end - first);
    d.n = d.digits.n - (point > first && point < end);
    /* digits before the point, or zeros behind it */
    d.exponent += first < point ? (int64_t)(point - first) : -(int64_t)(first - point - 1);
    return d;
}

static bool is_whole(const struct decimal *d)
{
    return d->exponent >= (int64_t)d->n;
}

static bool same_digits(struct str a, struct str b)
{
    size_t i = 0, k = 0;
    for (; i < a.n && k < b.n; i++, k++) {
        i += a.p[i] == '.';
        k += b.p[k] == '.';
        if (a.p[i] != b.p[k])
            return false;
    }
    return i == a.n && k == b.n;
}

static bool same(const struct decimal *a, const struct decimal *b)
{
    return a->negative == b->negative && a->exponent == b->exponent && a->n == b->n &&
           same_digits(a->digits, b->digits);
}

static double to_double(struct str s)
{
    char room[DOUBLE_TEXT];
    size_t n = s.n < sizeof(room) ? s.n : sizeof(room) - 1;
    memcpy(room, s.p, n);
    room[n] = '\0';
    return strtod(room, NULL);
}

bool json_number_is_whole(struct str a)
{
    struct decimal d = take_apart(a);
    return is_whole(&d);
}

bool json_number_equal(struct str a, struct str b)
{
    struct decimal x = take_apart(a), y = take_apart(b);
    if (same(&x, &y))
        return true;
    if ((is_whole(&x) && is_whole(&y)) || a.n >= DOUBLE_TEXT || b.n >= DOUBLE_TEXT)
        return false;
    double v = to_double(a), w = to_double(b);
    double larger = fmax(fabs(v), fabs(w));
    return isfinite(larger) && fabs(v - w) <= RELATIVE * larger;
}

uint64_t json_number_hash(struct str a)
{
    struct decimal d = take_apart(a);
    uint64_t h = ((uint64_t)d.exponent * 2 + d.negative + 1) * STEP;
    for (size_t i = 0; i < d.digits.n; i++)
        if (d.digits.p[i] != '.')
            h = (h ^ (unsigned char)d.digits.p[i]) * STEP;
    return h;
}
