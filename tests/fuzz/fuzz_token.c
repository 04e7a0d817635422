/* Tokens and trace parents: what is accepted is well formed and has one spelling; what verifies has
 * the mac that libcrypto makes in one go. */
#include "lib/base/parse.h"
#include "lib/graph/keyring.h"
#include "tests/fuzz/fuzz.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#define NOW INT64_C(1800000000)

static bool inside(struct str part, struct str whole)
{
    return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

static struct signer *signer;

static void free_signer(void)
{
    signer_free(signer);
}

/* Key k1 is the bytes 0 to 31. */
static struct signer *get_signer(void)
{
    if (signer)
        return signer;
    struct keyring *k = keyring_parse(
        STR("k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), "keys", "offshoot", NULL);
    signer = signer_new(k);
    demand(signer);
    keyring_unref(k);
    atexit(free_signer);
    return signer;
}

/* The first 22 characters of the mac in base64url, another way. */
static bool mac_is_right(struct str s, struct str mac)
{
    unsigned char key[32], digest[32], text[64], message[TOKEN_MAX + 32];
    unsigned n = 0;
    size_t signed_n = (size_t)(mac.p - s.p) - 1;
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (unsigned char)i;
    memcpy(message, "offshoot1|offshoot|", 19);
    memcpy(message + 19, s.p, signed_n);
    demand(HMAC(EVP_sha256(), key, sizeof(key), message, 19 + signed_n, digest, &n));
    EVP_EncodeBlock(text, digest, 16);
    for (unsigned i = 0; i < 22; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    return memcmp(text, mac.p, 22) == 0;
}

static void try_signed(struct str s, const struct token *t)
{
    struct token made;
    char out[TOKEN_MAX];
    enum context_fault f = signer_verify(get_signer(), s, t, NOW);
    demand(f == signer_verify(signer, s, t, NOW)); /* remembered or not */
    if (!str_eq(t->kid, STR("k1")))
        demand(f == FAULT_UNKNOWN_KEY);
    else if (mac_is_right(s, t->mac))
        demand(f == (t->exp + TOKEN_SKEW_S < NOW ? FAULT_PAST_EXP : FAULT_NONE));
    else
        demand(f == FAULT_BAD_MAC);
    /* The same parts, signed by us, verify; with one bit changed they do not. */
    uint64_t exp = t->exp < NOW ? NOW : t->exp;
    size_t n = signer_mint(signer, t->use, t->env, t->pin, t->flags, exp, NOW, out);
    demand(token_parse(str_of(out, n), &made) == 0 && made.exp == exp && str_eq(made.env, t->env));
    demand(signer_verify(signer, str_of(out, n), &made, NOW) == FAULT_NONE);
    size_t bit = (s.n * 131 + (unsigned char)s.p[s.n / 2]) % (8 * n);
    out[bit / 8] ^= (char)(1 << bit % 8);
    if (token_parse(str_of(out, n), &made) == 0 && made.is_signed)
        demand(signer_verify(signer, str_of(out, n), &made, NOW) != FAULT_NONE);
}

static void try_token(struct str s)
{
    struct token t = {.use = '?'};
    char out[TOKEN_MAX];
    if (token_parse(s, &t)) {
        demand(t.use == '?');
        return;
    }
    demand(s.n + sizeof("offshoot=") - 1 <= TOKEN_MAX);
    demand(t.use == 'e' || t.use == 'm');
    demand(name_valid(t.env) && inside(t.env, s));
    demand(t.use == 'm' || (t.pin == 0 && (t.flags & ~CONTEXT_EXPLAIN) == 0));
    if (t.is_signed) {
        demand(inside(t.kid, s) && inside(t.mac, s) && t.mac.n == 22);
        try_signed(s, &t);
        return;
    }
    /* Written again it is the same text, but for the letter of the edge form. */
    size_t n = token_write(t.env, t.pin, t.flags, out);
    out[2] = t.use;
    demand(str_eq(str_of(out, n), s));
}

static void try_traceparent(struct str s)
{
    struct str id = {NULL, 0};
    if (!traceparent_valid(s, &id)) {
        demand(id.p == NULL);
        return;
    }
    demand(s.n >= 55 && id.p == s.p + 3 && id.n == 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = {(const char *)data, size};
    try_token(s);
    try_traceparent(s);
    return 0;
}
