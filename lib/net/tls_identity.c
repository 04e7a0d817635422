/* A certificate with its key: parsed from PEM, judged, its names. */
#include "lib/base/mem.h"
#include "lib/net/tls_impl.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define SUBJECT_BYTES_MAX 2048 /* of one name; longer ones are left out */

const char *tls_reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_error());
    ERR_clear_error();
    return text ? text : "not in PEM form";
}

bool tls_pem_ended(void)
{
    unsigned long code = ERR_peek_last_error();
    return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

int tls_no_password(char *buf, int size, int writing, void *arg)
{
    (void)writing;
    (void)arg;
    if (size > 0)
        buf[0] = '\0';
    return -1;
}

static int key_kind(const struct tls_pair *p, const EVP_PKEY *key, uint8_t *ret, struct err *e)
{
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        *ret = TLS_RSA;
        return 0;
    case EVP_PKEY_EC:
        *ret = TLS_ECDSA;
        return 0;
    case EVP_PKEY_ED25519:
        *ret = TLS_ED25519;
        return 0;
    default:
        return err_set(e, -EINVAL, "key '%s' is neither RSA nor ECDSA nor Ed25519", p->key_path);
    }
}

/* The certificates behind the first one. */
static int read_chain(BIO *b, const struct tls_pair *p, struct tls_identity *ret, struct err *e)
{
    ret->chain = sk_X509_new_null();
    if (!ret->chain)
        return err_set(e, -ENOMEM, "out of memory for certificate '%s'", p->cert_path);
    for (;;) {
        X509 *x = PEM_read_bio_X509(b, NULL, tls_no_password, NULL);
        if (x && sk_X509_push(ret->chain, x) > 0)
            continue;
        bool pushed = !x;
        X509_free(x);
        if (!pushed)
            return err_set(e, -ENOMEM, "out of memory for certificate '%s'", p->cert_path);
        if (tls_pem_ended()) {
            ERR_clear_error();
            return 0;
        }
        return err_set(e, -EINVAL, "cannot use the chain in '%s': %s", p->cert_path, tls_reason());
    }
}

static int read_cert(const struct tls_pair *p, struct tls_identity *ret, struct err *e)
{
    BIO *b = BIO_new_mem_buf(p->cert, (int)p->cert_n);
    if (!b)
        return err_set(e, -ENOMEM, "out of memory for certificate '%s'", p->cert_path);
    ret->leaf = PEM_read_bio_X509(b, NULL, tls_no_password, NULL);
    int rc = ret->leaf ? read_chain(b, p, ret, e)
                       : err_set(e, -EINVAL, "cannot use certificate '%s': %s", p->cert_path,
                             tls_reason());
    BIO_free(b);
    return rc;
}

static int read_key(const struct tls_pair *p, struct tls_identity *ret, struct err *e)
{
    BIO *b =
        p->key ? BIO_new_mem_buf(p->key, (int)p->key_n) : BIO_new_mem_buf(p->cert, (int)p->cert_n);
    if (!b)
        return err_set(e, -ENOMEM, "out of memory for key '%s'", p->key_path);
    ret->key = PEM_read_bio_PrivateKey(b, NULL, tls_no_password, NULL);
    BIO_free(b);
    ERR_clear_error();
    if (!ret->key)
        return err_set(
            e, -EINVAL, "cannot use key '%s': it is not a PEM key without a password", p->key_path);
    if (X509_check_private_key(ret->leaf, ret->key) != 1) {
        ERR_clear_error();
        return err_set(
            e, -EINVAL, "key '%s' does not belong to certificate '%s'", p->key_path, p->cert_path);
    }
    return key_kind(p, ret->key, &ret->kind, e);
}

int tls_identity_parse(const struct tls_pair *p, struct tls_identity *ret, struct err *e)
{
    *ret = (struct tls_identity){0};
    ERR_clear_error();
    int rc = read_cert(p, ret, e);
    rc = rc ? rc : read_key(p, ret, e);
    if (rc)
        tls_identity_release(ret);
    return rc;
}

void tls_identity_release(struct tls_identity *i)
{
    X509_free(i->leaf);
    EVP_PKEY_free(i->key);
    sk_X509_pop_free(i->chain, X509_free);
    *i = (struct tls_identity){0};
}

/* ---- names ---- */

/* Text with NUL bytes in it is no name. */
static struct str text_of(const ASN1_STRING *s)
{
    const char *p = s ? (const char *)ASN1_STRING_get0_data(s) : NULL;
    int n = s ? ASN1_STRING_length(s) : 0;
    if (n <= 0 || memchr(p, '\0', (size_t)n))
        return (struct str){0};
    return str_of(p, (size_t)n);
}

static struct str common_name(const X509 *x)
{
    const X509_NAME *subject = X509_get_subject_name(x);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    const X509_NAME_ENTRY *entry = at < 0 ? NULL : X509_NAME_get_entry(subject, at);
    return entry ? text_of(X509_NAME_ENTRY_get_data(entry)) : (struct str){0};
}

int tls_each_host(const X509 *leaf, int (*fn)(void *arg, struct str name), void *arg)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    int rc = 0;
    if (!names) {
        struct str cn = common_name(leaf);
        return cn.n ? fn(arg, cn) : 0;
    }
    for (int i = 0; rc == 0 && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        struct str s = name->type == GEN_DNS ? text_of(name->d.dNSName) : (struct str){0};
        if (s.n)
            rc = fn(arg, s);
    }
    GENERAL_NAMES_free(names);
    return rc;
}

/* Counted first, then copied: one block for all. */
struct gathered {
    struct str name[TLS_SUBJECTS_MAX];
    unsigned n;
    size_t bytes;
};

static void gather(struct gathered *g, struct str s)
{
    if (s.n == 0 || s.n > SUBJECT_BYTES_MAX || g->n == TLS_SUBJECTS_MAX)
        return;
    g->name[g->n++] = s;
    g->bytes += s.n;
}

static void gather_alternative(struct gathered *g, GENERAL_NAMES *names, int type)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == type)
            gather(g, text_of(name->d.ia5)); /* all three types have it at this place */
    }
}

static int copy_subjects(const struct gathered *g, struct tls_subjects **ret)
{
    struct tls_subjects *s = mem_alloc(sizeof *s + g->bytes);
    if (!s)
        return -ENOMEM;
    char *to = (char *)(s + 1);
    s->n = g->n;
    for (unsigned i = 0; i < g->n; i++) {
        memcpy(to, g->name[i].p, g->name[i].n);
        s->name[i] = str_of(to, g->name[i].n);
        to += g->name[i].n;
    }
    *ret = s;
    return 0;
}

int tls_subjects_of(const SSL *ssl, struct tls_subjects **ret)
{
    X509 *x = SSL_get0_peer_certificate(ssl);
    struct gathered g = {0};
    *ret = NULL;
    if (!x || SSL_get_verify_result(ssl) != X509_V_OK)
        return 0;
    if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
        return -EACCES;
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    gather_alternative(&g, names, GEN_URI);
    gather_alternative(&g, names, GEN_EMAIL);
    gather_alternative(&g, names, GEN_DNS);
    if (g.n == 0)
        gather(&g, common_name(x));
    int rc = copy_subjects(&g, ret);
    GENERAL_NAMES_free(names);
    return rc;
}
