/* Certificates of both ends, on OpenSSL. Both sides always verify the other one. */
#include "lib/base/mem.h"
#include "lib/net/grpc_impl.h"
#include "lib/net/tls_impl.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#define TLS_MAGIC      0x67546c01u
#define NAME_BYTES_MAX 2048 /* of a certificate's name; longer ones are left out */
#define ALPN           "\x02h2"

struct grpc_tls {
    uint32_t magic;
    bool server;
    char *cert, *key, *ca; /* paths; owned */
    SSL_CTX *ctx;
};

/* ---- reading the files ----------------------------------------------------------------------- */

/* What OpenSSL says last, without its numbers. */
static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : "not in PEM form";
}

static int readable(const char *what, const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, -errno, "cannot read %s '%s': %s", what, path, strerror(errno));
    close(fd);
    return 0;
}

static int load_cert(SSL_CTX *ctx, const char *path, struct err *e)
{
    int rc = readable("certificate", path, e);
    if (!rc && SSL_CTX_use_certificate_chain_file(ctx, path) != 1)
        rc = err_set(e, -EINVAL, "cannot use certificate '%s': %s", path, reason());
    return rc;
}

static int load_ca(SSL_CTX *ctx, const char *path, bool server, struct err *e)
{
    int rc = readable("CA certificate", path, e);
    if (rc)
        return rc;
    if (SSL_CTX_load_verify_file(ctx, path) != 1)
        return err_set(e, -EINVAL, "cannot use CA certificate '%s': %s", path, reason());
    STACK_OF(X509_NAME) *names = server ? SSL_load_client_CA_file(path) : NULL;
    if (names)
        SSL_CTX_set_client_CA_list(ctx, names); /* takes it */
    else if (server)
        return err_set(e, -EINVAL, "cannot use CA certificate '%s': %s", path, reason());
    return 0;
}

/* Of the file that is read, not of a path that may change in between. */
static int check_mode(int fd, const char *path, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_set(e, -errno, "cannot read key '%s': %s", path, strerror(errno));
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return err_set(e, -EPERM, "key '%s' is open to group or others (mode %04o): chmod 600",
            path, (unsigned)(st.st_mode & 07777));
    return 0;
}

static EVP_PKEY *read_key(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        err_set(e, -errno, "cannot read key '%s': %s", path, strerror(errno));
        return NULL;
    }
    if (check_mode(fd, path, e)) {
        close(fd);
        return NULL;
    }
    FILE *f = fdopen(fd, "r");
    if (!f) {
        close(fd);
        err_set(e, -ENOMEM, "cannot read key '%s': out of memory", path);
        return NULL;
    }
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, tls_no_password, NULL);
    fclose(f);
    if (!key)
        err_set(e, -EINVAL, "cannot use key '%s': it is not a PEM key without a password", path);
    return key;
}

static int load_key(SSL_CTX *ctx, const char *path, struct err *e)
{
    EVP_PKEY *key = read_key(path, e);
    if (!key)
        return e ? e->code : -EINVAL;
    bool taken = SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    if (!taken || SSL_CTX_check_private_key(ctx) != 1)
        return err_set(e, -EINVAL, "key '%s' does not belong to the certificate", path);
    return 0;
}

/* ---- the context ---- */

static int choose_h2(SSL *ssl, const unsigned char **out, unsigned char *out_n,
    const unsigned char *in, unsigned in_n, void *arg)
{
    (void)ssl;
    (void)arg;
    unsigned char *found;
    if (SSL_select_next_proto(&found, out_n, (const unsigned char *)ALPN, sizeof(ALPN) - 1, in,
            in_n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = found;
    return SSL_TLSEXT_ERR_OK;
}

/* No resumption: each connection shows its certificate, so that what a reload brought holds. */
static bool set_rules(SSL_CTX *ctx, bool server)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    if (server)
        SSL_CTX_set_alpn_select_cb(ctx, choose_h2, NULL);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
           SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
           (server ||
               SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)ALPN, sizeof(ALPN) - 1) == 0);
}

static SSL_CTX *make_ctx(const struct grpc_tls *t, struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(t->server ? TLS_server_method() : TLS_client_method());
    if (!ctx || !set_rules(ctx, t->server)) {
        err_set(e, -ENOMEM, "cannot set up TLS: %s", reason());
        SSL_CTX_free(ctx);
        return NULL;
    }
    ERR_clear_error();
    if (load_cert(ctx, t->cert, e) || load_key(ctx, t->key, e) ||
        load_ca(ctx, t->ca, t->server, e)) {
        ERR_clear_error();
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

struct grpc_tls *grpc_tls_new(
    const char *cert, const char *key, const char *ca, bool server, struct err *e)
{
    struct grpc_tls *t = mem_zalloc(sizeof(*t));
    if (!t) {
        err_set(e, -ENOMEM, "out of memory for TLS");
        return NULL;
    }
    t->magic = TLS_MAGIC;
    t->server = server;
    t->cert = mem_dup(cert, strlen(cert));
    t->key = mem_dup(key, strlen(key));
    t->ca = mem_dup(ca, strlen(ca));
    if (!t->cert || !t->key || !t->ca)
        err_set(e, -ENOMEM, "out of memory for TLS");
    else
        t->ctx = make_ctx(t, e);
    if (t->ctx)
        return t;
    grpc_tls_free(t);
    return NULL;
}

int grpc_tls_reload(struct grpc_tls *t, struct err *e)
{
    struct err own = {0};
    assert(t->magic == TLS_MAGIC);
    SSL_CTX *ctx = make_ctx(t, &own);
    if (!ctx)
        return err_set(e, own.code, "%s", own.text);
    SSL_CTX_free(t->ctx); /* connections that are up hold it */
    t->ctx = ctx;
    return 0;
}

void grpc_tls_free(struct grpc_tls *t)
{
    if (!t)
        return;
    assert(t->magic == TLS_MAGIC);
    SSL_CTX_free(t->ctx);
    mem_free(t->cert);
    mem_free(t->key);
    mem_free(t->ca);
    t->magic = 0;
    mem_free(t);
}

bool grpc_tls_is_server(const struct grpc_tls *t)
{
    return t->server;
}

/* ---- one connection ---- */

SSL *grpc_tls_open(const struct grpc_tls *t, const char *name, struct err *e)
{
    assert(t->magic == TLS_MAGIC);
    SSL *ssl = SSL_new(t->ctx);
    if (!ssl || (name && !tls_expect_name(ssl, name))) {
        err_set(e, -ENOMEM, "cannot set up a TLS connection: %s", reason());
        ERR_clear_error();
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

/* A certificate of the other side that did not please. */
static void bad_certificate(const SSL *ssl, long result, const char *side, struct err *e)
{
    /* OpenSSL has no reading access to it through a const pointer. */
    X509_VERIFY_PARAM *param = SSL_get0_param((SSL *)(uintptr_t)ssl);
    const char *wanted = X509_VERIFY_PARAM_get0_host(param, 0);
    char *ip = wanted ? NULL : X509_VERIFY_PARAM_get1_ip_asc(param);
    const char *text = X509_verify_cert_error_string(result);
    if (result == X509_V_ERR_HOSTNAME_MISMATCH || result == X509_V_ERR_IP_ADDRESS_MISMATCH)
        err_set(e, -EACCES, "the %s's certificate does not have the name '%s'", side,
            wanted ? wanted
            : ip   ? ip
                   : "");
    else
        err_set(e, -EACCES, "the %s's certificate is refused: %s", side, text);
    OPENSSL_free(ip);
}

void grpc_tls_why(const SSL *ssl, unsigned long code, struct err *e)
{
    const char *side = SSL_is_server(ssl) ? "client" : "server";
    long result = SSL_get_verify_result(ssl);
    int number = ERR_GET_REASON(code);
    if (result != X509_V_OK)
        bad_certificate(ssl, result, side, e);
    else if (code && ERR_GET_LIB(code) == ERR_LIB_SSL && number >= SSL_AD_REASON_OFFSET)
        err_set(e, -EACCES, "the %s refuses us: TLS alert '%s'", side,
            SSL_alert_desc_string_long(number - SSL_AD_REASON_OFFSET));
    else if (code && ERR_GET_LIB(code) == ERR_LIB_SSL &&
             number == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        err_set(e, -EACCES, "the %s has no certificate", side);
    else if (code && ERR_reason_error_string(code))
        err_set(e, -EPROTO, "TLS failed: %s", ERR_reason_error_string(code));
    else
        err_set(e, -ECONNRESET, "the %s closed the connection during the TLS handshake", side);
}

/* ---- names ---- */

/* 0 also when it is left out: text with NUL bytes in it is no name. */
static int add_name(struct grpc_peer *p, const ASN1_STRING *s)
{
    const char *text = (const char *)ASN1_STRING_get0_data(s);
    int n = ASN1_STRING_length(s);
    if (n <= 0 || n > NAME_BYTES_MAX || memchr(text, '\0', (size_t)n) ||
        p->nnames == GRPC_PEER_NAMES)
        return 0;
    char *copy = mem_dup(text, (size_t)n);
    if (!copy)
        return -ENOMEM;
    p->names[p->nnames++] = copy;
    return 0;
}

static int add_alternative_names(struct grpc_peer *p, const X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int rc = 0;
    for (int i = 0; !rc && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_URI)
            rc = add_name(p, name->d.uniformResourceIdentifier);
        else if (name->type == GEN_DNS)
            rc = add_name(p, name->d.dNSName);
    }
    GENERAL_NAMES_free(names);
    return rc;
}

static int add_common_name(struct grpc_peer *p, const X509 *cert)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    const X509_NAME_ENTRY *entry = at < 0 ? NULL : X509_NAME_get_entry(subject, at);
    return entry ? add_name(p, X509_NAME_ENTRY_get_data(entry)) : 0;
}

int grpc_peer_learn(struct grpc_peer *p, const SSL *ssl)
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    p->tls = true;
    if (!cert)
        return 0;
    int rc = add_alternative_names(p, cert);
    if (!rc && p->nnames == 0)
        rc = add_common_name(p, cert);
    return rc;
}

void grpc_peer_release(struct grpc_peer *p)
{
    for (unsigned i = 0; i < p->nnames; i++)
        mem_free(p->names[i]);
    p->nnames = 0;
}
