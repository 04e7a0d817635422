/* Macs of tokens, made once and remembered.
 *
 * Both caches are tables of 256 sets with four places each. A set's four tags lie side by side; a
 * tag is the upper half of a hash with a seed of this signer's own, so that nobody outside can aim
 * at one set. A tag only says where to look: all bytes are compared. The place that is written
 * next in a set goes round.
 *
 *   verified: the bytes of a token that verified, and its exp. What stands there was compared with
 *             a mac made by this keyring; whether it is past its exp is asked each time.
 *   minted:   the parts of a token, exp among them, and its text.
 *
 * A mac that cannot be made (libcrypto fails) matches nothing, and in a minted token is one that
 * nobody will accept. */
#define XXH_INLINE_ALL
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/keyring.h"
#include "lib/graph/keyring_int.h"
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <xxhash.h>

#define SETS     256u
#define WAYS     4u
#define MAC_SIZE 16
#define MAC_TEXT 22 /* base64url without padding */
/* v1m. name . pin . flags . exp . kid . mac, with numbers as format_base36 writes them */
#define TEXT_MAX (4 + 63 + 1 + 13 + 1 + 2 + 1 + 13 + 1 + KID_MAX + 1 + MAC_TEXT)

struct tags {
    uint32_t tag[WAYS]; /* 0: free */
};

struct verified {
    uint64_t exp;
    uint8_t len;
    char text[TEXT_MAX];
};

struct minted {
    uint64_t pin, exp;
    char use;
    uint8_t flags, env_len, len;
    char text[TEXT_MAX]; /* the environment stands behind "v1m." */
};

struct caches {
    struct tags verified_tags[SETS], minted_tags[SETS];
    uint8_t next[SETS]; /* counts writes to both kinds of a set */
    struct verified verified[SETS][WAYS];
    struct minted minted[SETS][WAYS];
};

struct signer {
    struct keyring *keys;
    EVP_MAC *hmac;
    EVP_MAC_CTX *macs[KEYS_MAX]; /* keyed */
    struct caches *caches;
    uint64_t seed;
};

/* ---- life ---- */

static bool add_mac(struct signer *s, unsigned i)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    const struct key *k = &s->keys->keys[i];
    s->macs[i] = EVP_MAC_CTX_new(s->hmac);
    return s->macs[i] && EVP_MAC_init(s->macs[i], k->secret, k->secret_len, params);
}

struct signer *signer_new(struct keyring *k)
{
    struct signer *s = mem_zalloc(sizeof *s);
    if (!s || !k)
        return s;
    s->keys = keyring_ref(k);
    s->hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    s->caches = mem_zalloc(sizeof *s->caches);
    bool good = s->hmac && s->caches && RAND_bytes((unsigned char *)&s->seed, sizeof s->seed) == 1;
    for (unsigned i = 0; good && i < k->count; i++)
        good = add_mac(s, i);
    if (good)
        return s;
    signer_free(s);
    return NULL;
}

void signer_free(struct signer *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < KEYS_MAX; i++)
        EVP_MAC_CTX_free(s->macs[i]); /* libcrypto wipes its copy of the secret */
    EVP_MAC_free(s->hmac);
    if (s->caches)
        OPENSSL_cleanse(s->caches, sizeof *s->caches);
    mem_free(s->caches);
    keyring_unref(s->keys);
    mem_free(s);
}

bool signer_signs(const struct signer *s)
{
    return s && s->keys;
}

static unsigned find_key(const struct signer *s, struct str kid)
{
    unsigned n = signer_signs(s) ? s->keys->count : 0;
    for (unsigned i = 0; i < n; i++)
        if (str_eq(keyring_kid(s->keys, i), kid))
            return i;
    return KEYS_MAX;
}

bool signer_knows(const struct signer *s, struct str kid)
{
    return find_key(s, kid) < KEYS_MAX;
}

/* ---- macs ---- */

static bool make_mac(struct signer *s, unsigned key, struct str signed_part, char text[MAC_TEXT])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char mac[32];
    size_t n = 0;
    EVP_MAC_CTX *c = s->macs[key];
    if (!EVP_MAC_init(c, NULL, 0, NULL) || /* the key stays */
        !EVP_MAC_update(c, (const unsigned char *)s->keys->prefix, s->keys->prefix_len) ||
        !EVP_MAC_update(c, (const unsigned char *)signed_part.p, signed_part.n) ||
        !EVP_MAC_final(c, mac, &n, sizeof mac) || n != sizeof mac)
        return false;
    for (unsigned i = 0; i < MAC_TEXT; i++) {
        unsigned bit = 6 * i, at = bit / 8;
        unsigned pair = (unsigned)mac[at] << 8 | (at + 1 < MAC_SIZE ? mac[at + 1] : 0);
        text[i] = digits[pair >> (10 - bit % 8) & 63];
    }
    return true;
}

/* ---- the caches ---- */

static inline uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32) | 1;
}

static inline uint32_t set_of(uint64_t hash)
{
    return (uint32_t)hash % SETS;
}

/* Where to write: a free place, or the one whose turn it is. */
static unsigned claim(struct caches *c, struct tags *tags, uint64_t hash)
{
    uint32_t set = set_of(hash);
    unsigned at = 0;
    while (at < WAYS && tags->tag[at])
        at++;
    if (at == WAYS)
        at = c->next[set]++ % WAYS;
    tags->tag[at] = tag_of(hash);
    return at;
}

/* ---- verifying ---- */

static bool past_exp(uint64_t exp, int64_t now)
{
    return now > 0 && (uint64_t)now > TOKEN_SKEW_S && (uint64_t)now - TOKEN_SKEW_S > exp;
}

static enum context_fault judge_exp(uint64_t exp, int64_t now)
{
    return past_exp(exp, now) ? FAULT_PAST_EXP : FAULT_NONE;
}

static bool mac_matches(struct signer *s, unsigned key, struct str text, struct str mac)
{
    char right[MAC_TEXT];
    struct str signed_part = {text.p, (size_t)(mac.p - text.p) - 1};
    return mac.n == MAC_TEXT && make_mac(s, key, signed_part, right) &&
           CRYPTO_memcmp(right, mac.p, MAC_TEXT) == 0;
}

enum context_fault signer_verify(
    struct signer *s, struct str text, const struct token *t, int64_t now)
{
    if (!signer_signs(s))
        return FAULT_UNKNOWN_KEY;
    struct caches *c = s->caches;
    uint64_t hash = XXH3_64bits_withSeed(text.p, text.n, s->seed);
    struct tags *tags = &c->verified_tags[set_of(hash)];
    for (unsigned i = 0; i < WAYS; i++) {
        const struct verified *v = &c->verified[set_of(hash)][i];
        if (tags->tag[i] == tag_of(hash) && v->len == text.n && bytes_eq(v->text, text.p, text.n))
            return judge_exp(v->exp, now);
    }
    unsigned key = find_key(s, t->kid);
    if (key == KEYS_MAX)
        return FAULT_UNKNOWN_KEY;
    if (!mac_matches(s, key, text, t->mac))
        return FAULT_BAD_MAC;
    if (text.n <= TEXT_MAX && !past_exp(t->exp, now)) {
        struct verified *v = &c->verified[set_of(hash)][claim(c, tags, hash)];
        v->exp = t->exp;
        v->len = (uint8_t)text.n;
        memcpy(v->text, text.p, text.n);
    }
    return judge_exp(t->exp, now);
}

/* ---- minting ---- */

static size_t put_part(char *out, size_t n, const char *p, size_t len)
{
    out[n++] = '.';
    memcpy(out + n, p, len);
    return n + len;
}

/* False: without a mac that anybody accepts. */
static bool write_signed(struct signer *s, char use, struct str env, uint64_t pin, uint8_t flags,
    uint64_t exp, char *out, size_t *ret_n)
{
    char digits[16], mac[MAC_TEXT];
    struct str kid = keyring_kid(s->keys, 0);
    size_t n = token_write(env, pin, flags, out);
    out[2] = use;
    size_t ndigits = format_base36(exp, digits);
    n = put_part(out, n, digits, ndigits);
    n = put_part(out, n, kid.p, kid.n);
    bool made = make_mac(s, 0, str_of(out, n), mac);
    if (!made)
        memset(mac, 'A', sizeof mac);
    *ret_n = put_part(out, n, mac, sizeof mac);
    return made;
}

/* Forward by the clock: the end of the minute in which the life ends. */
static uint64_t mesh_exp(int64_t now)
{
    uint64_t end = (now > 0 ? (uint64_t)now : 0) + MESH_LIFE_S;
    return (end + 59) / 60 * 60;
}

size_t signer_mint(struct signer *s, char use, struct str env, uint64_t pin, uint8_t flags,
    uint64_t exp, int64_t now, char *out)
{
    if (!signer_signs(s)) {
        size_t n = token_write(env, pin, flags, out);
        out[2] = use;
        return n;
    }
    struct caches *c = s->caches;
    if (exp == 0)
        exp = mesh_exp(now);
    uint64_t parts =
        (pin * 0x9e3779b97f4a7c15u ^ exp) + ((uint64_t)flags << 56 | (uint64_t)use << 48);
    uint64_t hash = XXH3_64bits_withSeed(env.p, env.n, s->seed ^ parts);
    struct tags *tags = &c->minted_tags[set_of(hash)];
    for (unsigned i = 0; i < WAYS; i++) {
        const struct minted *m = &c->minted[set_of(hash)][i];
        if (tags->tag[i] == tag_of(hash) && m->exp == exp && m->pin == pin && m->flags == flags &&
            m->use == use && m->env_len == env.n && bytes_eq(m->text + 4, env.p, env.n)) {
            memcpy(out, m->text, m->len);
            return m->len;
        }
    }
    size_t n;
    if (!write_signed(s, use, env, pin, flags, exp, out, &n))
        return n;
    struct minted *m = &c->minted[set_of(hash)][claim(c, tags, hash)];
    *m = (struct minted){.pin = pin,
        .exp = exp,
        .use = use,
        .flags = flags,
        .env_len = (uint8_t)env.n,
        .len = (uint8_t)n};
    memcpy(m->text, out, n);
    return n;
}
