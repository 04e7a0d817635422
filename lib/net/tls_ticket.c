/* Session tickets (RFC 5077 section 4, RFC 8446 section 4.6.1): AES-256-CBC, then HMAC-SHA-256. */
#include "lib/net/tls_impl.h"
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

static int key_new(struct tls_ticket_key *k)
{
    struct tls_ticket_key fresh;
    if (RAND_bytes(fresh.name, sizeof fresh.name) != 1 ||
        RAND_priv_bytes(fresh.aes, sizeof fresh.aes) != 1 ||
        RAND_priv_bytes(fresh.mac, sizeof fresh.mac) != 1)
        return -EIO;
    *k = fresh;
    OPENSSL_cleanse(&fresh, sizeof fresh);
    return 0;
}

int tls_tickets_init(struct tls_tickets *t)
{
    return key_new(&t->current) || key_new(&t->previous) || key_new(&t->next) ? -EIO : 0;
}

int tls_tickets_rotate(struct tls_tickets *t)
{
    struct tls_ticket_key next;
    if (key_new(&next) != 0)
        return -EIO;
    t->previous = t->current;
    t->current = t->next;
    t->next = next;
    OPENSSL_cleanse(&next, sizeof next);
    return 0;
}

static bool set_mac(EVP_MAC_CTX *mac, const struct tls_ticket_key *k)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(
            OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)k->mac, sizeof k->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int make(const struct tls_ticket_key *k, unsigned char *name, unsigned char *iv,
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    memcpy(name, k->name, sizeof k->name);
    bool ok = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
              EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->aes, iv) == 1 &&
              set_mac(mac, k);
    return ok ? 1 : -1;
}

/* OpenSSL's answers: 0 not ours (a full handshake follows), 1 take it, 2 take it and make a new
 * one, -1 fault. */
int tls_ticket_callback(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int making)
{
    const struct tls_tickets *t = tls_server_tickets(ssl);
    if (making)
        return make(&t->current, name, iv, cipher, mac);
    const struct tls_ticket_key *all[] = {&t->current, &t->next, &t->previous};
    for (unsigned i = 0; i < 3; i++) {
        const struct tls_ticket_key *k = all[i];
        if (memcmp(name, k->name, sizeof k->name) != 0)
            continue;
        if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->aes, iv) != 1 ||
            !set_mac(mac, k))
            return -1;
        /* TLS 1.3 clients use a ticket once (RFC 8446 section C.4): they need the next one. */
        return k == &t->previous || SSL_version(ssl) >= TLS1_3_VERSION ? 2 : 1;
    }
    return 0;
}
