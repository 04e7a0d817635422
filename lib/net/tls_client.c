/* TLS towards providers. */
#include "lib/base/mem.h"
#include "lib/net/tls_impl.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

struct tls_client {
    SSL_CTX *ctx;
};

static int load_ca(SSL_CTX *ctx, const char *ca, struct err *e)
{
    struct stat st;
    if (!ca)
        return SSL_CTX_set_default_verify_paths(ctx) == 1
                   ? 0
                   : err_set(
                         e, -EINVAL, "cannot use the system's CA certificates: %s", tls_reason());
    if (stat(ca, &st) != 0)
        return err_set(e, -errno, "cannot read CA certificate '%s': %s", ca, strerror(errno));
    int ok =
        S_ISDIR(st.st_mode) ? SSL_CTX_load_verify_dir(ctx, ca) : SSL_CTX_load_verify_file(ctx, ca);
    return ok == 1 ? 0
                   : err_set(e, -EINVAL, "cannot use CA certificate '%s': %s", ca, tls_reason());
}

/* What we show to providers that ask. */
static int load_own(SSL_CTX *ctx, const char *cert, const char *key, struct err *e)
{
    struct tls_pair p;
    struct tls_identity i = {0};
    int rc = tls_pair_read(&p, cert, key, e);
    if (rc)
        return rc;
    rc = tls_identity_parse(&p, &i, e);
    if (rc == 0 && SSL_CTX_use_cert_and_key(ctx, i.leaf, i.key, i.chain, 1) != 1)
        rc = err_set(e, -EINVAL, "cannot use certificate '%s': %s", cert, tls_reason());
    tls_identity_release(&i);
    tls_pair_release(&p);
    return rc;
}

static int set_up(SSL_CTX *ctx, const char *ca, const char *cert, const char *key,
    const struct tls_rules *rules, struct err *e)
{
    if (!ctx || !tls_common_rules(ctx, rules))
        return err_set(
            e, -EINVAL, "cannot set up TLS with ciphers '%s': %s", rules->ciphers, tls_reason());
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    int rc = load_ca(ctx, ca, e);
    return rc || !cert ? rc : load_own(ctx, cert, key, e);
}

struct tls_client *tls_client_new(
    const char *ca, const char *cert, const char *key, const struct tls_rules *rules, struct err *e)
{
    struct tls_client *c = mem_zalloc(sizeof *c);
    if (!c) {
        err_set(e, -ENOMEM, "out of memory for TLS");
        return NULL;
    }
    ERR_clear_error();
    c->ctx = SSL_CTX_new(TLS_client_method());
    if (set_up(c->ctx, ca, cert, key, rules, e) == 0)
        return c;
    ERR_clear_error();
    tls_client_free(c);
    return NULL;
}

void tls_client_free(struct tls_client *c)
{
    if (!c)
        return;
    SSL_CTX_free(c->ctx); /* connections that are up hold it */
    mem_free(c);
}

bool tls_expect_name(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(
        param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
        return true;
    ERR_clear_error();
    return X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, name) == 1;
}

SSL *tls_client_open(struct tls_client *c, const char *name, bool insecure, bool h2)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    const unsigned char *alpn = h2 ? both : both + 3;
    unsigned n = (unsigned)(sizeof both - 1) - (h2 ? 0 : 3);
    SSL *ssl = SSL_new(c->ctx);
    if (!ssl || (name && !tls_expect_name(ssl, name)) || SSL_set_alpn_protos(ssl, alpn, n) != 0) {
        ERR_clear_error();
        SSL_free(ssl);
        return NULL;
    }
    if (insecure)
        SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    SSL_set_connect_state(ssl);
    return ssl;
}
