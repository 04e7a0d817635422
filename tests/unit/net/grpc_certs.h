/* Certificates made for one test, by libcrypto, as files in its folder. */
#ifndef OFFSHOOT_TESTS_GRPC_CERTS_H
#define OFFSHOOT_TESTS_GRPC_CERTS_H

#include "tests/unit/unit.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

/* A certificate with its key, and where both lie. */
struct cert {
    EVP_PKEY *key;
    X509 *x509;
    char cert_path[160], key_path[160];
};

static inline void add_extension(X509 *x509, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(ext);
    assert_int_equal(X509_add_ext(x509, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static inline void write_cert(struct cert *c)
{
    FILE *f = fopen(c->cert_path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, c->x509), 1);
    fclose(f);
    f = fopen(c->key_path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
    assert_int_equal(chmod(c->key_path, 0600), 0);
}

/* ca NULL: signed by itself, a CA. names: as in "DNS:a,IP:127.0.0.1", NULL for none. Valid from
 * an hour ago for `seconds` from now. */
static inline void make_cert_of(struct cert *c, EVP_PKEY *key, const char *dir, const char *name,
    const struct cert *ca, const char *names, long seconds)
{
    static long serial = 1;
    snprintf(c->cert_path, sizeof(c->cert_path), "%s/%s.pem", dir, name);
    snprintf(c->key_path, sizeof(c->key_path), "%s/%s.key", dir, name);
    c->key = key; /* taken */
    c->x509 = X509_new();
    assert_true(c->key && c->x509);
    X509 *issuer = ca ? ca->x509 : c->x509;
    X509_set_version(c->x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c->x509), serial++);
    X509_gmtime_adj(X509_getm_notBefore(c->x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(c->x509), seconds);
    X509_set_pubkey(c->x509, c->key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c->x509), "CN", MBSTRING_UTF8,
        (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(c->x509, X509_get_subject_name(issuer));
    add_extension(c->x509, issuer, NID_basic_constraints, ca ? "CA:FALSE" : "critical,CA:TRUE");
    if (names)
        add_extension(c->x509, issuer, NID_subject_alt_name, names);
    assert_true(X509_sign(c->x509, ca ? ca->key : c->key, EVP_sha256()) > 0);
    write_cert(c);
}

static inline void make_cert(struct cert *c, const char *dir, const char *name,
    const struct cert *ca, const char *names, long seconds)
{
    make_cert_of(c, EVP_EC_gen("P-256"), dir, name, ca, names, seconds);
}

static inline void cert_free(struct cert *c)
{
    EVP_PKEY_free(c->key);
    X509_free(c->x509);
}

#endif
