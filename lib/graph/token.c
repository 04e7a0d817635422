/* Tokens and trace parents: fixed forms, read in one go. */
#include "lib/base/parse.h"
#include "lib/graph/context.h"
#include <errno.h>

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

static bool is_base64url(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static bool all_base64url(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_base64url(s.p[i]))
            return false;
    }
    return true;
}

/* exp, kid and mac. The last character of 22 carries two bits; the four below them are zero, so
 * that one mac has one spelling. */
static int parse_signature(struct str rest, struct token *t)
{
    struct str exp;
    if (!next_part(&rest, &exp) || parse_base36(exp, &t->exp) || !next_part(&rest, &t->kid) ||
        t->kid.n == 0 || t->kid.n > KID_MAX || !all_base64url(t->kid))
        return -EINVAL;
    if (!next_part(&rest, &t->mac) || rest.p || t->mac.n != MAC_LEN || !all_base64url(t->mac) ||
        !memchr("AQgw", t->mac.p[MAC_LEN - 1], 4))
        return -EINVAL;
    t->is_signed = true;
    return 0;
}

static inline bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

/* Takes the environment and the dot behind it off *rest. The rules are those of name_valid, in the
 * same pass that looks for the dot: this runs for every request. */
static bool next_name(struct str *rest, struct str *ret)
{
    const char *p = rest->p;
    size_t n = 0;
    while (n < rest->n && is_name_byte(p[n]))
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
    if (!str_eq(pin, STR("0")) && parse_base36(pin, &t->pin))
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
    memcpy(out + n, env.p, env.n);
    n += env.n;
    out[n++] = '.';
    n += format_base36(pin, out + n);
    out[n++] = '.';
    out[n++] = digits[flags >> 4];
    out[n++] = digits[flags & 15];
    return n;
}

/* p[0..n) as lower-case hex digits. *ret_any: a bit of some digit that is not zero. */
static inline bool hex_run(const char *p, unsigned n, unsigned *ret_any)
{
    static const uint8_t lower_hex[256] = {['0'] = 0x80,
        ['1'] = 0x81,
        ['2'] = 0x81,
        ['3'] = 0x81,
        ['4'] = 0x81,
        ['5'] = 0x81,
        ['6'] = 0x81,
        ['7'] = 0x81,
        ['8'] = 0x81,
        ['9'] = 0x81,
        ['a'] = 0x81,
        ['b'] = 0x81,
        ['c'] = 0x81,
        ['d'] = 0x81,
        ['e'] = 0x81,
        ['f'] = 0x81};
    unsigned all = 0x80, any = 0;
    for (unsigned i = 0; i < n; i++) {
        uint8_t c = lower_hex[(uint8_t)p[i]];
        all &= c;
        any |= c;
    }
    *ret_any = any & 1;
    return all != 0;
}

bool traceparent_valid(struct str value, struct str *ret_trace_id)
{
    enum { VERSION = 0, TRACE = 3, PARENT = 36, FLAGS = 53, LENGTH = 55 };
    const char *p = value.p;
    unsigned version, trace, parent, flags;
    if (value.n < LENGTH || p[TRACE - 1] != '-' || p[PARENT - 1] != '-' || p[FLAGS - 1] != '-')
        return false;
    if (!hex_run(p + VERSION, 2, &version) || !hex_run(p + TRACE, 32, &trace) ||
        !hex_run(p + PARENT, 16, &parent) || !hex_run(p + FLAGS, 2, &flags))
        return false;
    if (!trace || !parent || memcmp(p, "ff", 2) == 0)
        return false;
    if (value.n > LENGTH && (!version || p[LENGTH] != '-'))
        return false;
    *ret_trace_id = str_of(p + TRACE, 32);
    return true;
}
