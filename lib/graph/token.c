/* Tokens and trace parents: fixed forms, read in one go. */
#include "lib/base/bytes.h"
#include "lib/base/parse.h"
#include "lib/graph/context.h"
#include <errno.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define TOKEN_VALUE_MAX (TOKEN_MAX - (sizeof("offshoot=") - 1))
#define FLAGS_KNOWN     0x1f
#define NAME_LEN_MAX    63
#define KID_MAX         8
#define MAC_LEN         22 /* 16 bytes in base64url without padding */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes the part before the next dot off *rest. False when there is no further part. */
static inline bool next_part(struct str *rest, struct str *ret)
{
    if (!rest->p)
        return false;
    size_t n = 0;
    while (n < rest->n && rest->p[n] != '.')
        n++;
    *ret = (struct str){rest->p, n};
    *rest = n < rest->n ? str_from(*rest, n + 1) : (struct str){NULL, 0};
    return true;
}

static const bool base64url_byte[256] = {
    ['a' ... 'z'] = true,
    ['A' ... 'Z'] = true,
    ['0' ... '9'] = true,
    ['-'] = true,
    ['_'] = true,
};

static bool all_base64url(struct str s)
{
    bool all = true;
    for (size_t i = 0; i < s.n; i++)
        all &= base64url_byte[(uint8_t)s.p[i]];
    return all;
}

#if defined(__SSE2__)
static inline __m128i in_range(__m128i v, char first, char last)
{
    return _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8((char)(first - 1))),
        _mm_cmplt_epi8(v, _mm_set1_epi8((char)(last + 1))));
}

static inline __m128i base64url_16(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i letter = in_range(_mm_or_si128(v, _mm_set1_epi8(0x20)), 'a', 'z');
    __m128i sign =
        _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('-')), _mm_cmpeq_epi8(v, _mm_set1_epi8('_')));
    return _mm_or_si128(_mm_or_si128(letter, in_range(v, '0', '9')), sign);
}

/* MAC_LEN bytes: two halves that overlap. */
static inline bool mac_base64url(const char *p)
{
    __m128i all = _mm_and_si128(base64url_16(p), base64url_16(p + MAC_LEN - 16));
    return _mm_movemask_epi8(all) == 0xffff;
}
#else
static inline bool mac_base64url(const char *p)
{
    return all_base64url(str_of(p, MAC_LEN));
}
#endif

/* exp, kid and mac. The last character of 22 carries two bits; the four below them are zero, so
 * that one mac has one spelling. */
static int parse_signature(struct str rest, struct token *t)
{
    struct str exp;
    if (!next_part(&rest, &exp) || parse_base36(exp, &t->exp) || !next_part(&rest, &t->kid) ||
        t->kid.n == 0 || t->kid.n > KID_MAX || !all_base64url(t->kid))
        return -EINVAL;
    t->mac = rest; /* a further dot would be no byte of base64url */
    if (!rest.p || t->mac.n != MAC_LEN || !mac_base64url(t->mac.p))
        return -EINVAL;
    char last = t->mac.p[MAC_LEN - 1];
    if (last != 'A' && last != 'Q' && last != 'g' && last != 'w')
        return -EINVAL;
    t->is_signed = true;
    return 0;
}

static const bool name_byte[256] = {
    ['a' ... 'z'] = true,
    ['0' ... '9'] = true,
    ['-'] = true,
};

/* Takes the environment and the dot behind it off *rest. The rules are those of name_valid, in the
 * same pass that looks for the dot: this runs for every request. */
static bool next_name(struct str *rest, struct str *ret)
{
    const char *p = rest->p;
    size_t n = 0;
    while (n < rest->n && name_byte[(uint8_t)p[n]])
        n++;
    if (n == 0 || n > NAME_LEN_MAX || n == rest->n || p[n] != '.' || p[0] == '-' || p[n - 1] == '-')
        return false;
    *ret = str_of(p, n);
    *rest = str_from(*rest, n + 1);
    return true;
}

/* Takes env, pin and flags off *rest; what follows the flags, with its dot, is left. */
static int parse_parts(struct str *rest, struct token *t)
{
    struct str pin;
    if (!next_name(rest, &t->env) || !next_part(rest, &pin) || !rest->p)
        return -EINVAL;
    bool zero = pin.n == 1 && pin.p[0] == '0'; /* the usual one */
    if (!zero && parse_base36(pin, &t->pin))
        return -EINVAL;
    if (rest->n < 2 || (rest->n > 2 && rest->p[2] != '.'))
        return -EINVAL;
    int high = hex_digit(rest->p[0]);
    int low = hex_digit(rest->p[1]);
    /* A flag that is not known may forbid something: it is never ignored. */
    if (high < 0 || low < 0 || ((high << 4 | low) & ~FLAGS_KNOWN))
        return -EINVAL;
    t->flags = (uint8_t)(high << 4 | low);
    *rest = str_from(*rest, 2);
    return 0;
}

int token_parse(struct str s, struct token *ret)
{
    struct token t = {0};
    if (s.n < 5 || s.n > TOKEN_VALUE_MAX || s.p[0] != 'v' || s.p[1] != '1' || s.p[3] != '.')
        return -EINVAL;
    t.use = s.p[2];
    if (t.use != 'e' && t.use != 'm')
        return -EINVAL;
    struct str rest = str_from(s, 4);
    if (parse_parts(&rest, &t))
        return -EINVAL;
    if (t.use == 'e' && (t.pin || (t.flags & ~CONTEXT_EXPLAIN)))
        return -EINVAL;
    if (rest.n && parse_signature(str_from(rest, 1), &t))
        return -EINVAL;
    *ret = t;
    return 0;
}

size_t token_write(struct str env, uint64_t pin, uint8_t flags, char *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;
    memcpy(out, "v1m.", 4);
    n += 4;
    bytes_copy(out + n, env.p, env.n);
    n += env.n;
    out[n++] = '.';
    if (pin == 0)
        out[n++] = '0';
    else
        n += format_base36(pin, out + n);
    out[n++] = '.';
    out[n++] = digits[flags >> 4];
    out[n++] = digits[flags & 15];
    return n;
}

#if defined(__SSE2__)
/* p[0..16) are lower-case hex digits. Clears the bits of *zeros whose digits are not '0'; all bits
 * are left of zeros alone. A byte is at most x, unsigned, when it is the smaller one of both. */
static inline bool hex_sixteen(const char *p, unsigned *zeros)
{
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    __m128i digit = _mm_sub_epi8(x, _mm_set1_epi8('0'));
    __m128i letter = _mm_sub_epi8(x, _mm_set1_epi8('a'));
    __m128i good = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit),
        _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter));
    *zeros &= (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(digit, _mm_setzero_si128()));
    return _mm_movemask_epi8(good) == 0xffff;
}
#else
static bool hex_sixteen(const char *p, unsigned *zeros)
{
    for (unsigned i = 0; i < 16; i++) {
        if (hex_digit(p[i]) < 0)
            return false;
        if (p[i] != '0')
            *zeros &= ~(1u << i);
    }
    return true;
}
#endif

static inline bool hex_two(const char *p)
{
    return hex_digit(p[0]) >= 0 && hex_digit(p[1]) >= 0;
}

bool traceparent_valid(struct str value, struct str *ret_trace_id)
{
    enum { VERSION = 0, TRACE = 3, PARENT = 36, FLAGS = 53, LENGTH = 55 };
    const char *p = value.p;
    unsigned trace_zeros = 0xffff, parent_zeros = 0xffff;
    if (value.n < LENGTH || p[TRACE - 1] != '-' || p[PARENT - 1] != '-' || p[FLAGS - 1] != '-')
        return false;
    if (!hex_two(p + VERSION) || !hex_two(p + FLAGS) || memcmp(p, "ff", 2) == 0)
        return false;
    if (!hex_sixteen(p + TRACE, &trace_zeros) || !hex_sixteen(p + TRACE + 16, &trace_zeros) ||
        !hex_sixteen(p + PARENT, &parent_zeros))
        return false;
    if (trace_zeros == 0xffff || parent_zeros == 0xffff)
        return false;
    if (value.n > LENGTH && (memcmp(p, "00", 2) == 0 || p[LENGTH] != '-'))
        return false;
    *ret_trace_id = str_of(p + TRACE, 32);
    return true;
}
