/* Which names are secret; values, cookies, queries. Texts are in redact_text.c. */
#include "lib/compare/redact.h"
#include "lib/base/mem.h"
#include "lib/compare/letters.h"
#include "lib/compare/redact_int.h"
#include "lib/graph/hint.h"
#include "lib/graph/path.h"
#include "lib/graph/sha.h"
#include <errno.h>

#define WORDS_MAX    1000 /* further words */
#define WORD_MAX     128  /* bytes of one */
#define NAME_MAX_LEN 256  /* longer names are secret: nobody reads them */

#define WORD(s)                                                                                    \
    {                                                                                              \
        (s), sizeof(s) - 1                                                                         \
    }
#define WORDS(...)                                                                                 \
    (const struct str[])                                                                           \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* A name with only its letters and digits, in lower case, that contains one of these is secret. By
 * their first letter, so that few are looked for at each place of a name. */
static const struct str *const inside[26] = {
    ['a' - 'a'] =
        WORDS(WORD("authorization"), WORD("apikey"), WORD("accesskey"), WORD("accountnumber")),
    ['b' - 'a'] = WORDS(WORD("bankaccount"), WORD("bearer")),
    ['c' - 'a'] = WORDS(WORD("cookie"), WORD("credential"), WORD("cardnumber"), WORD("cardno"),
        WORD("creditcard"), WORD("connectionstring"), WORD("csrf")),
    ['e' - 'a'] = WORDS(WORD("encryptionkey")),
    ['p' - 'a'] = WORDS(
        WORD("password"), WORD("passwd"), WORD("passphrase"), WORD("passcode"), WORD("privatekey")),
    ['s' - 'a'] = WORDS(WORD("secret"), WORD("session"), WORD("sessid"), WORD("signingkey"),
        WORD("securitycode"), WORD("socialsecurity")),
    ['t' - 'a'] = WORDS(WORD("token")),
    ['x' - 'a'] = WORDS(WORD("xsrf")),
};
/* These only as whole words of it: "pin", "user_pin", "userPin", but not "shipping". */
static const struct str *const whole[26] = {
    ['a' - 'a'] = WORDS(WORD("auth")),
    ['c' - 'a'] = WORDS(WORD("cvv"), WORD("cvc"), WORD("cvv2"), WORD("csc")),
    ['i' - 'a'] = WORDS(WORD("iban")),
    ['j' - 'a'] = WORDS(WORD("jwt")),
    ['m' - 'a'] = WORDS(WORD("mfa")),
    ['o' - 'a'] = WORDS(WORD("otp")),
    ['p' - 'a'] = WORDS(WORD("pwd"), WORD("pass"), WORD("pin"), WORD("pan")),
    ['s' - 'a'] = WORDS(WORD("ssn"), WORD("sid"), WORD("signature")),
    ['t' - 'a'] = WORDS(WORD("totp")),
};

struct redact {
    bool off;
    unsigned char key[16];
    struct sha *sha;
    size_t nwords;
    struct str *word; /* of the session; letters and digits in lower case */
    char *bytes;
};

/* Letters and digits of s in lower case; bytes of other alphabets as they are. */
static size_t normalise(struct str s, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        if (is_alnum(s.p[i]) || (unsigned char)s.p[i] >= 0x80)
            out[n++] = ascii_lower(s.p[i]);
    return n;
}

static int check_words(const struct redact_options *o, size_t *ret_bytes, struct err *e)
{
    char room[WORD_MAX];
    if (o->nnames > WORDS_MAX)
        return err_set(e, -EINVAL, "more than %d names to redact", WORDS_MAX);
    *ret_bytes = 0;
    for (size_t i = 0; i < o->nnames; i++) {
        struct str word = str_c(o->names[i]);
        if (word.n > WORD_MAX)
            return err_set(e, -EINVAL, "more than %d bytes in the name to redact '%.*s'", WORD_MAX,
                STR_ARG(shown(word)));
        if (normalise(word, room) == 0)
            return err_set(e, -EINVAL, "no letter or digit in the name to redact '%.*s'",
                STR_ARG(shown(word)));
        *ret_bytes += word.n;
    }
    return 0;
}

struct redact *redact_new(const struct redact_options *o, struct err *e)
{
    size_t bytes = 0;
    if (check_words(o, &bytes, e))
        return NULL;
    struct redact *r = mem_zalloc(sizeof(*r));
    if (r) {
        r->sha = sha_new();
        r->word = mem_array(o->nnames ? o->nnames : 1, sizeof(*r->word));
        r->bytes = mem_alloc(bytes ? bytes : 1);
    }
    if (!r || !r->sha || !r->word || !r->bytes) {
        redact_free(r);
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    r->off = o->off;
    memcpy(r->key, o->key, sizeof(r->key));
    char *at = r->bytes;
    for (; r->nwords < o->nnames; r->nwords++) {
        size_t n = normalise(str_c(o->names[r->nwords]), at);
        r->word[r->nwords] = str_of(at, n);
        at += n;
    }
    return r;
}

void redact_free(struct redact *r)
{
    if (!r)
        return;
    sha_free(r->sha);
    mem_free(r->word);
    mem_free(r->bytes);
    mem_free(r);
}

bool redact_is_off(const struct redact *r)
{
    return !r || r->off;
}

/* SHA-256 of the key and the secret, the first four bytes: short enough to tell nothing of a secret
 * that can be guessed to whoever has not the key. */
void redact_mark(const struct redact *r, struct str secret, struct text *out)
{
    unsigned char digest[SHA_SIZE];
    if (redact_is_off(r)) {
        text_add(out, secret);
        return;
    }
    sha_start(r->sha);
    sha_update(r->sha, r->key, sizeof(r->key));
    sha_update(r->sha, secret.p, secret.n);
    if (sha_finish(r->sha, digest))
        out->failed = -ENOMEM;
    text_fmt(out, "[redacted:%02x%02x%02x%02x]", (unsigned)digest[0], (unsigned)digest[1],
        (unsigned)digest[2], (unsigned)digest[3]);
}

/* ---- names ---- */

/* Those of the words that begin as s does; NULL: none. */
static const struct str *words_of(const struct str *const words[26], struct str s)
{
    unsigned letter = (unsigned)(unsigned char)ascii_lower(s.p[0]) - 'a';
    return letter < 26 ? words[letter] : NULL;
}

static bool begins_secret(struct str s)
{
    const struct str *w = words_of(inside, s);
    while (w && w->n && !str_starts(s, *w))
        w++;
    return w && w->n;
}

static bool has(struct str name, struct str word)
{
    return word.n <= name.n && memmem(name.p, name.n, word.p, word.n);
}

static bool has_inside(const struct redact *r, struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (begins_secret(str_from(name, i)))
            return true;
    for (size_t i = 0; i < r->nwords; i++)
        if (has(name, r->word[i]))
            return true;
    return false;
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* The next word of a name: "userPin_2" has "user", "Pin", "2". */
static bool next_word(struct str *rest, struct str *ret)
{
    while (rest->n && !is_alnum(rest->p[0]))
        *rest = str_from(*rest, 1);
    size_t n = 0;
    while (n < rest->n && is_alnum(rest->p[n]) &&
           !(n && is_upper(rest->p[n]) && !is_upper(rest->p[n - 1])))
        n++;
    *ret = str_of(rest->p, n);
    *rest = str_from(*rest, n);
    return n > 0;
}

static bool is_whole(struct str word)
{
    const struct str *w = words_of(whole, word);
    while (w && w->n && !str_ieq(word, *w))
        w++;
    return w && w->n;
}

bool redact_name(const struct redact *r, struct str name)
{
    char room[NAME_MAX_LEN];
    struct str rest = name, word;
    if (name.n == 0 || redact_is_off(r))
        return false;
    if (name.n > sizeof(room))
        return true;
    if (has_inside(r, str_of(room, normalise(name, room))))
        return true;
    while (next_word(&rest, &word))
        if (is_whole(word))
            return true;
    return false;
}

/* ---- values ---- */

bool redact_value(const struct redact *r, struct str name, struct str value, struct text *out)
{
    if (value.n == 0 || !redact_name(r, name))
        return redact_text(r, value, out);
    redact_mark(r, value, out);
    return true;
}

/* "NAME=VALUE" with the value taken out; false for one without value. */
static bool take_value(const struct redact *r, struct str pair, struct text *out)
{
    size_t eq = str_find(pair, '=');
    if (eq + 1 >= pair.n) {
        text_add(out, pair);
        return false;
    }
    text_add(out, str_of(pair.p, eq + 1));
    redact_mark(r, str_from(pair, eq + 1), out);
    return true;
}

static struct str take_part(struct str *rest, char separator)
{
    struct str part = str_of(rest->p, str_find(*rest, separator));
    *rest = str_from(*rest, part.n < rest->n ? part.n + 1 : part.n);
    return part;
}

static bool redact_cookie(const struct redact *r, struct str value, struct text *out)
{
    bool any = false, first = true;
    while (value.n) {
        struct str pair = str_trim(take_part(&value, ';'));
        if (!first)
            text_add(out, STR("; "));
        /* one without a name is all value */
        if (pair.n && str_find(pair, '=') == pair.n) {
            redact_mark(r, pair, out);
            any = true;
        } else {
            any |= take_value(r, pair, out);
        }
        first = false;
    }
    return any;
}

static bool redact_set_cookie(const struct redact *r, struct str value, struct text *out)
{
    size_t end = str_find(value, ';');
    bool any = redact_cookie(r, str_of(value.p, end), out);
    return redact_text(r, str_from(value, end), out) || any;
}

/* "SCHEME CREDENTIALS": a value without a space is all credentials. */
static bool redact_authorization(const struct redact *r, struct str value, struct text *out)
{
    size_t space = str_find(value, ' ');
    size_t from = space < value.n ? space + 1 : 0;
    text_add(out, str_of(value.p, from));
    if (from < value.n)
        redact_mark(r, str_from(value, from), out);
    return from < value.n;
}

bool redact_field(const struct redact *r, struct str name, struct str value, struct text *out)
{
    if (value.n == 0 || redact_is_off(r)) {
        text_add(out, value);
        return false;
    }
    if (str_ieq(name, STR("cookie")))
        return redact_cookie(r, value, out);
    if (str_ieq(name, STR("set-cookie")))
        return redact_set_cookie(r, value, out);
    if (str_ieq(name, STR("authorization")) || str_ieq(name, STR("proxy-authorization")))
        return redact_authorization(r, value, out);
    return redact_value(r, name, value, out);
}

bool redact_path(const struct redact *r, struct str path, struct text *out)
{
    if (path.n == 0)
        return false;
    size_t query = path_bare(path).n;
    size_t end = str_find(path, '#');
    bool any = redact_text(r, str_of(path.p, query), out), in_query = false;
    if (query < end) {
        text_add(out, STR("?"));
        (void)redact_form(r, str_of(path.p + query + 1, end - query - 1), out, &in_query);
    }
    return redact_text(r, str_from(path, end), out) || any || in_query;
}
