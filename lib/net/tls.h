/* TLS at listeners and towards providers, on OpenSSL: certificates read from files, one set of
 * contexts a worker, tickets that all workers can open, who the other side is, why it failed.
 *
 * Nothing here is thread-safe, and nothing is shared by threads: files are read once (tls_files),
 * and each worker gets a tls_server made of their bytes. No renegotiation, no compression, no early
 * data, no session cache. Sources: RFC 8446, RFC 5246, RFC 5077 (tickets), RFC 7301 (ALPN), RFC
 * 6066 (SNI). */
#ifndef OFFSHOOT_NET_TLS_H
#define OFFSHOOT_NET_TLS_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tls_client_cert { TLS_CLIENT_NONE, TLS_CLIENT_OPTIONAL, TLS_CLIENT_REQUIRED };

/* Of the process. Texts are borrowed while a function runs. */
struct tls_rules {
    uint16_t min_version; /* 0x0303 (TLS 1.2) or 0x0304 (TLS 1.3) */
    const char *ciphers;  /* of TLS 1.2, as `openssl ciphers` takes them */
    uint32_t certs_max;   /* of one listener */
    uint32_t ticket_s;    /* how long a ticket is good for */
};

/* ---- what a listener shows and asks for ---- */

/* Borrowed. A source is CERT+KEY (files), FILE (certificate, chain and key in one) or DIR (each
 * NAME.pem or NAME.crt in it, the key inside or in NAME.key; one without a key is left out). */
struct tls_want {
    const struct str *sources;
    unsigned nsources;
    struct str client_ca; /* file; empty: none */
    enum tls_client_cert client_cert;
    bool strict;     /* a client that names no host we have a certificate for is refused */
    struct str alpn; /* in wire form, the one we like best first; borrowed by the tls_server too */
};

struct tls_files;

/* Reads and judges every file: certificates that belong to their keys, keys that nobody else may
 * read. NULL with e, which names the file. */
struct tls_files *tls_files_read(
    const struct tls_want *want, const struct tls_rules *rules, struct err *e);
void tls_files_free(struct tls_files *f);
/* What the folders and files are whose change means a new reading: for watch_new. */
const char *const *tls_files_paths(const struct tls_files *f, size_t *ret_n);

struct tls_cert_info {
    const char *path;
    const char *kind;  /* "rsa" "ecdsa" "ed25519" */
    const char *names; /* separated by spaces; "" for none */
    int64_t not_after; /* Unix seconds */
};
/* False past the end. Certificates in the order in which they are chosen. */
bool tls_files_at(const struct tls_files *f, size_t i, struct tls_cert_info *ret);
/* Files in folders that were left out: they hold no key, and none lies beside them. */
unsigned tls_files_skipped(const struct tls_files *f);

/* ---- tickets ---- */

struct tls_ticket_key {
    unsigned char name[16], aes[32], mac[32];
};
/* A ticket made under `current` or `previous` is taken; under `next` too, because another worker
 * may have changed keys a moment earlier. Plain data: a copy for each worker. */
struct tls_tickets {
    struct tls_ticket_key current, previous, next;
};
/* 0, or -EIO when there is no randomness. */
int tls_tickets_init(struct tls_tickets *t);
int tls_tickets_rotate(struct tls_tickets *t);

/* ---- a listener's contexts ---- */

struct tls_server;

/* Returns new, with one reference. tickets: borrowed for the life of the thread; may change. */
struct tls_server *tls_server_new(const struct tls_files *f, const struct tls_rules *rules,
    const struct tls_tickets *tickets, struct err *e);
struct tls_server *tls_server_ref(struct tls_server *s);
void tls_server_unref(struct tls_server *s); /* NULL is allowed */
/* A connection, before its handshake. Whoever has it keeps a reference on s until it is freed
 * (SSL_free). NULL when memory is out. */
SSL *tls_server_open(struct tls_server *s);
/* After the handshake: gives back what only that needs. */
void tls_server_opened(SSL *ssl);

/* ---- towards providers ---- */

struct tls_client;

/* ca: a file or a folder of certificates as c_rehash leaves it; NULL: those of the system. cert
 * and key: files, or both NULL. Returns new. */
struct tls_client *tls_client_new(const char *ca, const char *cert, const char *key,
    const struct tls_rules *rules, struct err *e);
void tls_client_free(struct tls_client *c);
/* name: what the certificate must have (a host name, also sent as SNI, or an IP address); NULL with
 * insecure only. insecure: any certificate does. h2: ALPN offers h2 before http/1.1. NULL when
 * memory is out. Freed by SSL_free. */
SSL *tls_client_open(struct tls_client *c, const char *name, bool insecure, bool h2);

/* ---- the other side ---- */

/* ALPN agreed on h2. */
bool tls_speaks_h2(const SSL *ssl);

#define TLS_SUBJECTS_MAX 16
/* The names in a verified certificate of the other side: URI (SPIFFE), e-mail and DNS names, else
 * the common name. One block: mem_free gives it back. */
struct tls_subjects {
    unsigned n;
    struct str name[TLS_SUBJECTS_MAX];
};
/* *ret is NULL when there is no certificate, or none that was verified. 0, -ENOMEM, or -EACCES: it
 * is past its time by now (a resumed session is not verified again). */
int tls_subjects_of(const SSL *ssl, struct tls_subjects **ret);

enum tls_failure {
    TLS_FAIL_CLOSED,     /* the other side went away */
    TLS_FAIL_TIMEOUT,    /* timeouts.handshake, timeouts.connect */
    TLS_FAIL_BUSY,       /* limits.handshakes */
    TLS_FAIL_NOT_TLS,    /* the first bytes are no TLS record */
    TLS_FAIL_HTTP,       /* they are a plain HTTP request */
    TLS_FAIL_VERSION,    /* no TLS version in common */
    TLS_FAIL_CIPHER,     /* no cipher, group or signature in common */
    TLS_FAIL_ALPN,       /* no protocol in common */
    TLS_FAIL_NAME,       /* no certificate for the name asked for */
    TLS_FAIL_NO_CERT,    /* a client certificate is required and there is none */
    TLS_FAIL_UNKNOWN_CA, /* the other side's certificate is signed by nobody we know */
    TLS_FAIL_EXPIRED,    /* it is past its time, or before it */
    TLS_FAIL_WRONG_NAME, /* it is not for the name we wanted */
    TLS_FAIL_BAD_CERT,   /* it is wrong in another way */
    TLS_FAIL_ALERT,      /* the other side refuses us; the text says why */
    TLS_FAIL_FLOOD,      /* more handshake messages on an open connection than sense makes */
    TLS_FAIL_PROTOCOL,   /* bytes against the protocol */
    TLS_FAIL_NO_MEMORY,
    TLS_FAIL_COUNT
};
const char *tls_failure_word(enum tls_failure f);
/* Why the last call on ssl failed: code is the first in OpenSSL's queue, 0 for none (the other side
 * closed). text, if not NULL, gets a sentence for the log. */
enum tls_failure tls_why(const SSL *ssl, unsigned long code, struct err *text);

#endif
