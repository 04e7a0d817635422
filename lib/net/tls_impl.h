/* Between the files of lib/net that speak TLS. */
#ifndef OFFSHOOT_NET_TLS_IMPL_H
#define OFFSHOOT_NET_TLS_IMPL_H

#include "lib/net/tls.h"
#include "lib/net/tls_names.h"
#include <openssl/ssl.h>

/* A certificate and its key as they lie on disk. */
struct tls_pair {
    char *cert_path, *key_path; /* the same when one file has both; owned */
    char *cert, *key;           /* bytes; owned, the key's wiped at the end; key NULL: in cert */
    size_t cert_n, key_n;
    char *names;
    int64_t not_after;
    uint8_t kind; /* enum tls_kind */
};

struct tls_files {
    struct tls_pair *pair;
    size_t n, room, max;
    char **paths; /* for the watch; owned, and each too */
    size_t npaths, paths_room;
    unsigned skipped;
    char *ca_path, *ca; /* owned */
    size_t ca_n;
    enum tls_client_cert client_cert;
    bool strict;
    struct str alpn;
};

/* Reads both files whole; key_path NULL: the key is in cert_path too. 0, or negative errno with e:
 * then there is nothing to release. */
int tls_pair_read(struct tls_pair *ret, const char *cert_path, const char *key_path, struct err *e);
void tls_pair_release(struct tls_pair *p);

/* What OpenSSL said first, without its numbers; the queue is empty afterwards. */
const char *tls_reason(void);
/* After a failed reading of PEM: because there was nothing more, not for what there was. */
bool tls_pem_ended(void);
/* Instead of asking at the terminal. */
int tls_no_password(char *buf, int size, int writing, void *arg);

struct tls_identity {
    X509 *leaf;
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
    uint8_t kind; /* enum tls_kind */
};
/* Parses and judges: the key belongs to the certificate, and is of a kind we serve. */
int tls_identity_parse(const struct tls_pair *p, struct tls_identity *ret, struct err *e);
void tls_identity_release(struct tls_identity *i);
/* Calls fn for each host name of the certificate, its common name if it has none else. 0 or fn's
 * first result that is not. */
int tls_each_host(const X509 *leaf, int (*fn)(void *arg, struct str name), void *arg);

/* The peer must show a certificate for that host name, which SNI says too, or for that address.
 * The names of the certificate count, never its common name. */
bool tls_expect_name(SSL *ssl, const char *name);
/* What holds for both ends: versions, ciphers, no renegotiation and the like. */
bool tls_common_rules(SSL_CTX *ctx, const struct tls_rules *rules);
int tls_ticket_callback(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int making);
/* Of the worker that a connection's context belongs to. */
const struct tls_tickets *tls_server_tickets(const SSL *ssl);

#endif
