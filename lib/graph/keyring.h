/* Keys that sign contexts, and one thread's means to sign and verify with them.
 *
 * A key file has one key a line: `KID SECRET`, KID 1 to 8 of [A-Za-z0-9_-], SECRET base64 of 32 to
 * 64 bytes; empty lines and lines that start with '#' mean nothing; 1 to 8 keys. The first one
 * signs, all of them verify: so a key is added below, moved up, and the old one taken away later.
 *
 * mac = base64url of the first 16 bytes of HMAC-SHA-256(secret, "offshoot1|" trust-domain "|" and
 * every byte of the token before the dot that precedes the mac). docs/context.md shows an example.
 *
 * A keyring is immutable and may be read by any thread; a signer belongs to one. */
#ifndef OFFSHOOT_GRAPH_KEYRING_H
#define OFFSHOOT_GRAPH_KEYRING_H

#include "lib/base/err.h"
#include "lib/graph/context.h"

#define KEYS_MAX         8
#define TRUST_DOMAIN_MAX 63
#define TOKEN_SKEW_S     30        /* a token counts that long past its exp */
#define MESH_LIFE_S      (15 * 60) /* of tokens that a proxy makes, rounded up to the minute */

struct keyring;
/* name: of the file, for messages ("keys.txt:3: ..."; a secret is never in one). Counted: starts
 * with one reference, any thread may take and drop. NULL with e. */
struct keyring *keyring_parse(
    struct str text, const char *name, const char *trust_domain, struct err *e);
/* Reads a file that only its owner (or root) may read or write, at most 64 KiB; else NULL with e.
 */
struct keyring *keyring_read(const char *path, const char *trust_domain, struct err *e);
struct keyring *keyring_ref(struct keyring *k);
void keyring_unref(struct keyring *k); /* wipes the secrets with the last one; NULL is allowed */
unsigned keyring_count(const struct keyring *k);
struct str keyring_kid(const struct keyring *k, unsigned i); /* 0 signs */

/* One thread's: HMAC contexts that are initialised once, and two caches: tokens that verified, and
 * tokens that were made. */
struct signer;
/* Takes a reference on k, which may be NULL: then nothing is known and tokens are unsigned. */
struct signer *signer_new(struct keyring *k);
void signer_free(struct signer *s);
bool signer_signs(const struct signer *s); /* has keys; s may be NULL, here and below: no keys */
bool signer_knows(const struct signer *s, struct str kid);

/* Judges a signed token: text is all of it, t what token_parse made of it. FAULT_NONE,
 * FAULT_UNKNOWN_KEY, FAULT_BAD_MAC or FAULT_PAST_EXP. Tokens that verified are remembered (1,024
 * of them, exp judged each time). */
enum context_fault signer_verify(
    struct signer *s, struct str text, const struct token *t, int64_t now);

/* Writes a token into out (TOKEN_MAX bytes) and returns its length: signed when there are keys.
 * exp: Unix seconds; 0: MESH_LIFE_S from now, rounded up to the minute, so that one env, pin and
 * flags gives one text a minute (these are remembered, 1,024 of them). use: 'm' or 'e'; an edge
 * token has pin 0. Never fails: the parts were judged before. */
size_t signer_mint(struct signer *s, char use, struct str env, uint64_t pin, uint8_t flags,
    uint64_t exp, int64_t now, char *out);

#endif
