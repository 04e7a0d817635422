/* What secrets look like wherever they stand.
 *
 *   JWT                 eyJ... . ... . ...
 *   credentials         Bearer ..., Basic BASE64 of "user:password"
 *   PEM                 -----BEGIN ... KEY----- to its END, or to the end of the text
 *   card numbers        13 to 19 digits, perhaps in groups, that begin with 2 to 6 and pass Luhn
 *   addresses           local@domain.tld
 *   keys of vendors     AKIA..., ghp_..., xoxb-..., sk_live_..., AIza..., glpat-... */
#include "lib/compare/letters.h"
#include "lib/compare/redact_int.h"

/* RFC 6750 b64token, which is RFC 9110 token68. */
static bool is_token68(char c)
{
    return is_alnum(c) || (c && strchr("-._~+/=", c));
}

static bool is_base64url(char c)
{
    return is_alnum(c) || c == '-' || c == '_';
}

static bool is_base64(char c)
{
    return is_alnum(c) || c == '+' || c == '/' || c == '=';
}

static size_t run_of(struct str s, size_t at, bool (*is)(char c))
{
    size_t n = 0;
    while (at + n < s.n && is(s.p[at + n]))
        n++;
    return n;
}

static bool starts_at(struct str s, size_t at, struct str word)
{
    return str_starts(str_from(s, at), word);
}

static bool istarts_at(struct str s, size_t at, struct str word)
{
    return s.n - at >= word.n && str_ieq(str_of(s.p + at, word.n), word);
}

#define JWT_HEAD_MIN 10 /* base64url characters of {"x":1} and more */

/* *ret_end: where the letters of its first part end. */
static size_t jwt_at(struct str s, size_t at, size_t *ret_end)
{
    size_t n = run_of(s, at, is_base64url);
    *ret_end = at + n;
    if (n < JWT_HEAD_MIN || at + n >= s.n || s.p[at + n] != '.')
        return 0;
    size_t second = run_of(s, at + n + 1, is_base64url);
    if (second < 2)
        return 0;
    n += 1 + second;
    while (at + n + 1 < s.n && s.p[at + n] == '.' && is_base64url(s.p[at + n + 1]))
        n += 1 + run_of(s, at + n + 1, is_base64url);
    return n;
}

static int base64_value(char c)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(letters, c) : NULL;
    return at ? (int)(at - letters) : -1;
}

/* Whether the decoded bytes have a colon. */
static bool is_user_and_password(struct str s)
{
    unsigned bits = 0, n = 0;
    for (size_t i = 0; i < s.n && base64_value(s.p[i]) >= 0; i++) {
        bits = bits << 6 | (unsigned)base64_value(s.p[i]);
        n += 6;
        if (n < 8)
            continue;
        n -= 8;
        if ((bits >> n & 0xff) == ':')
            return true;
    }
    return false;
}

#define BEARER_MIN 8  /* with a digit among them */
#define BEARER_ANY 20 /* without */

/* Behind "bearer " and "basic ": the credentials. */
static bool credentials_at(struct str s, size_t at, struct secret *ret)
{
    bool is_bearer = istarts_at(s, at, STR("bearer ")), digit = false;
    if (!is_bearer && !istarts_at(s, at, STR("basic ")))
        return false;
    size_t start = at + (is_bearer ? sizeof("bearer ") : sizeof("basic ")) - 1;
    while (start < s.n && s.p[start] == ' ')
        start++;
    size_t n = run_of(s, start, is_bearer ? is_token68 : is_base64);
    for (size_t i = 0; i < n; i++)
        digit |= is_digit(s.p[start + i]);
    *ret = (struct secret){start, n};
    if (is_bearer)
        return n >= BEARER_ANY || (n >= BEARER_MIN && digit);
    return n >= 4 && is_user_and_password(str_of(s.p + start, n));
}

static size_t find(struct str s, size_t from, struct str word)
{
    const char *at = memmem(s.p + from, s.n - from, word.p, word.n);
    return at ? (size_t)(at - s.p) : s.n;
}

/* A key in PEM, from its first line on. */
static size_t pem_at(struct str s, size_t at)
{
    struct str dashes = STR("-----");
    size_t head = at + sizeof("-----BEGIN ") - 1;
    if (!starts_at(s, at, STR("-----BEGIN ")))
        return 0;
    size_t head_end = find(s, head, dashes);
    if (head_end - head > 64)
        return 0;
    struct str label = str_of(s.p + head, head_end - head);
    if (!memmem(label.p, label.n, "KEY", 3))
        return 0;
    size_t end = find(s, head, STR("-----END "));
    if (end == s.n)
        return s.n - at;
    end = find(s, end + dashes.n, dashes);
    return (end < s.n ? end + dashes.n : s.n) - at;
}

#define CARD_MIN 13
#define CARD_MAX 19

static bool luhn(const char *digits, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned d = (unsigned)(digits[n - 1 - i] - '0');
        d = i % 2 ? 2 * d : d;
        sum += d > 9 ? d - 9 : d;
    }
    return sum % 10 == 0;
}

/* Digits, each group behind one space or dash; no digit stands before or behind them. */
static size_t card_at(struct str s, size_t at)
{
    char digits[CARD_MAX];
    size_t n = 0, i = at, end = at;
    if (s.p[at] < '2' || s.p[at] > '6')
        return 0;
    for (; i < s.n; i++) {
        bool gap = (s.p[i] == ' ' || s.p[i] == '-') && i + 1 < s.n && is_digit(s.p[i + 1]);
        if (gap)
            continue;
        if (!is_digit(s.p[i]))
            break;
        if (n == CARD_MAX)
            return 0;
        digits[n++] = s.p[i];
        end = i + 1;
    }
    return n >= CARD_MIN && luhn(digits, n) ? end - at : 0;
}

static bool is_local(char c)
{
    return is_alnum(c) || (c && strchr("._%+-", c));
}

static bool is_domain(char c)
{
    return is_alnum(c) || c == '.' || c == '-';
}

/* An address around its '@'. */
static bool address_at(struct str s, size_t from, size_t at, struct secret *ret)
{
    size_t start = at, n = run_of(s, at + 1, is_domain), letters = 0;
    while (start > from && at - start < 64 && is_local(s.p[start - 1]))
        start--;
    while (n && !is_alnum(s.p[at + n]))
        n--; /* the full stop of a sentence */
    while (letters < n && is_alnum(s.p[at + n - letters]) && !is_digit(s.p[at + n - letters]))
        letters++;
    if (start == at || letters < 2 || letters + 1 >= n || s.p[at + n - letters] != '.')
        return false;
    *ret = (struct secret){start, at + 1 + n - start};
    return true;
}

static size_t vendor_key_at(struct str s, size_t at)
{
    static const struct {
        const char *prefix;
        size_t min; /* characters behind it */
    } keys[] = {{"AKIA", 16}, {"ASIA", 16}, {"ghp_", 20}, {"gho_", 20}, {"ghu_", 20}, {"ghs_", 20},
        {"ghr_", 20}, {"github_pat_", 20}, {"glpat-", 16}, {"xoxb-", 10}, {"xoxp-", 10},
        {"xoxa-", 10}, {"sk_live_", 10}, {"sk_test_", 10}, {"rk_live_", 10}, {"AIza", 30},
        {"npm_", 30}, {"SG.", 30}};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (s.p[at] != keys[i].prefix[0])
            continue;
        struct str prefix = str_c(keys[i].prefix);
        if (!starts_at(s, at, prefix))
            continue;
        size_t n = run_of(s, at + prefix.n, is_base64url);
        if (n >= keys[i].min)
            return prefix.n + n;
    }
    return 0;
}

/* What it looks at, redact_text.c has to stop at. */
bool pattern_at(struct str s, size_t from, size_t at, struct secret *ret)
{
    char c = s.p[at];
    bool is_first = at == 0 || !is_alnum(s.p[at - 1]);
    size_t n = 0, end = at;
    if (c == '@')
        return address_at(s, from, at, ret);
    if (c == '-')
        n = pem_at(s, at);
    else if (is_digit(c))
        n = at == 0 || !is_digit(s.p[at - 1]) ? card_at(s, at) : 0;
    else if (!is_first)
        return false;
    else if ((c == 'b' || c == 'B') && credentials_at(s, at, ret))
        return true;
    else if (starts_at(s, at, STR("eyJ")))
        n = jwt_at(s, at, &end);
    else if (c && strchr("AghxsrnS", c))
        n = vendor_key_at(s, at);
    *ret = (struct secret){n ? at : end, n};
    return n > 0;
}
