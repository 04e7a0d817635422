/* A listener's side of TLS: one context a worker, a certificate chosen for each connection. */
#include "lib/base/mem.h"
#include "lib/net/tls_impl.h"
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

#define SERVER_MAGIC 0x544c5353u
#define NAMES_MAX    1000 /* of one certificate */

struct tls_server {
    uint32_t magic;
    uint32_t refs;
    SSL_CTX *ctx;
    const struct tls_tickets *tickets;
    struct tls_identity *identity;
    size_t n;
    struct tls_names names;
    uint32_t fallback[TLS_KINDS]; /* for a name that nothing serves, or none */
    bool strict;
    struct str alpn;
};

/* ---- callbacks of the handshake ---- */

static struct tls_server *server_of(const SSL *ssl)
{
    struct tls_server *s = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    assert(s->magic == SERVER_MAGIC);
    return s;
}

const struct tls_tickets *tls_server_tickets(const SSL *ssl)
{
    return server_of(ssl)->tickets;
}

/* Called for every ClientHello, with a name in it or without. */
static int on_name(SSL *ssl, int *alert, void *arg)
{
    const struct tls_server *s = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    uint32_t found[TLS_KINDS];
    bool known = name && tls_names_find(&s->names, str_c(name), found);
    if (!known && s->strict) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    const uint32_t *use = known ? found : s->fallback;
    SSL_certs_clear(ssl);
    for (unsigned k = 0; k < TLS_KINDS; k++) {
        const struct tls_identity *i = use[k] == TLS_NO_CERT ? NULL : &s->identity[use[k]];
        if (i && SSL_use_cert_and_key(ssl, i->leaf, i->key, i->chain, 1) != 1) {
            *alert = SSL_AD_INTERNAL_ERROR;
            return SSL_TLSEXT_ERR_ALERT_FATAL;
        }
    }
    return known ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* Ours decide the order. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
    const unsigned char *in, unsigned in_n, void *arg)
{
    const struct tls_server *s = arg;
    unsigned char *found;
    (void)ssl;
    if (SSL_select_next_proto(&found, out_n, (const unsigned char *)s->alpn.p, (unsigned)s->alpn.n,
            in, in_n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = found;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- set-up ---- */

bool tls_common_rules(SSL_CTX *ctx, const struct tls_rules *rules)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* Without AUTO_RETRY each handshake message on an open connection is seen, and can be counted.
     */
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return SSL_CTX_set_min_proto_version(ctx, rules->min_version) == 1 &&
           SSL_CTX_set_cipher_list(ctx, rules->ciphers) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                         "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
           SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1;
}

/* A ticket opens only a listener that asks the same of its clients as the one that gave it. */
static bool bind_sessions(struct tls_server *s, const struct tls_files *f, uint32_t ticket_s)
{
    unsigned char id[SHA256_DIGEST_LENGTH], mode = (unsigned char)f->client_cert;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(md, &mode, 1) == 1 && EVP_DigestUpdate(md, f->ca, f->ca_n) == 1 &&
              EVP_DigestFinal_ex(md, id, NULL) == 1 &&
              SSL_CTX_set_session_id_context(s->ctx, id, sizeof id) == 1;
    EVP_MD_CTX_free(md);
    SSL_CTX_set_timeout(s->ctx, ticket_s);
    SSL_CTX_set_session_cache_mode(s->ctx, SSL_SESS_CACHE_OFF);
    return ok && SSL_CTX_set_tlsext_ticket_key_evp_cb(s->ctx, tls_ticket_callback) == 1;
}

/* One certificate of those who may sign the client's: trusted, and its name told to clients. */
static int add_ca(struct tls_server *s, X509 *x, const struct tls_files *f, struct err *e)
{
    X509_STORE *store = SSL_CTX_get_cert_store(s->ctx);
    if (X509_STORE_add_cert(store, x) != 1 || SSL_CTX_add_client_CA(s->ctx, x) != 1)
        return err_set(e, -EINVAL, "cannot use CA certificate '%s': %s", f->ca_path, tls_reason());
    return 0;
}

static int load_ca(struct tls_server *s, const struct tls_files *f, struct err *e)
{
    BIO *b = BIO_new_mem_buf(f->ca, (int)f->ca_n);
    unsigned n = 0;
    int rc = b ? 0 : err_set(e, -ENOMEM, "out of memory for CA certificate '%s'", f->ca_path);
    while (rc == 0) {
        X509 *x = PEM_read_bio_X509(b, NULL, tls_no_password, NULL);
        if (!x)
            break;
        rc = add_ca(s, x, f, e);
        X509_free(x);
        n++;
    }
    if (rc == 0 && (n == 0 || !tls_pem_ended()))
        rc = err_set(e, -EINVAL, "cannot use CA certificate '%s': %s", f->ca_path, tls_reason());
    ERR_clear_error();
    BIO_free(b);
    return rc;
}

struct naming {
    struct tls_server *s;
    uint32_t cert;
    unsigned n;
};

static int add_name(void *arg, struct str name)
{
    struct naming *n = arg;
    if (++n->n > NAMES_MAX)
        return 0;
    int rc = tls_names_add(&n->s->names, name, n->s->identity[n->cert].kind, n->cert);
    return rc == -ENOMEM ? rc : 0; /* others are none that a client could ask for */
}

/* OpenSSL's own rules (short keys, weak digests) count too. */
static bool acceptable(SSL_CTX *ctx, const struct tls_identity *i)
{
    SSL *probe = SSL_new(ctx);
    bool ok = probe && SSL_use_cert_and_key(probe, i->leaf, i->key, i->chain, 1) == 1;
    SSL_free(probe);
    return ok;
}

static int add_identities(struct tls_server *s, const struct tls_files *f, struct err *e)
{
    s->identity = mem_array(f->n + 1, sizeof *s->identity);
    if (!s->identity)
        return err_set(e, -ENOMEM, "out of memory for certificates");
    for (; s->n < f->n; s->n++) {
        const struct tls_pair *p = &f->pair[s->n];
        struct naming naming = {s, (uint32_t)s->n, 0};
        int rc = tls_identity_parse(p, &s->identity[s->n], e);
        if (rc)
            return rc;
        if (!acceptable(s->ctx, &s->identity[s->n]))
            rc = err_set(e, -EINVAL, "cannot use certificate '%s': %s", p->cert_path, tls_reason());
        else if (tls_each_host(s->identity[s->n].leaf, add_name, &naming) != 0)
            rc = err_set(e, -ENOMEM, "out of memory for certificates");
        if (rc) {
            tls_identity_release(&s->identity[s->n]);
            return rc;
        }
    }
    tls_names_sort(&s->names);
    return 0;
}

/* What serves one of the first certificate's names, as far as that is the first certificate. */
static int beside_first(void *arg, struct str name)
{
    struct tls_server *s = arg;
    uint32_t found[TLS_KINDS];
    if (!tls_names_find(&s->names, name, found) || found[s->identity[0].kind] != 0)
        return 0;
    memcpy(s->fallback, found, sizeof found);
    return 1;
}

/* The first certificate, and with it those of other kinds under its first name. */
static void choose_fallback(struct tls_server *s)
{
    for (unsigned k = 0; k < TLS_KINDS; k++)
        s->fallback[k] = TLS_NO_CERT;
    s->fallback[s->identity[0].kind] = 0;
    tls_each_host(s->identity[0].leaf, beside_first, s);
}

static int set_up(
    struct tls_server *s, const struct tls_files *f, const struct tls_rules *rules, struct err *e)
{
    static const int modes[] = {[TLS_CLIENT_NONE] = SSL_VERIFY_NONE,
        [TLS_CLIENT_OPTIONAL] = SSL_VERIFY_PEER,
        [TLS_CLIENT_REQUIRED] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};
    ERR_clear_error();
    s->ctx = SSL_CTX_new(TLS_server_method());
    if (!s->ctx || !tls_common_rules(s->ctx, rules) || !bind_sessions(s, f, rules->ticket_s))
        return err_set(
            e, -EINVAL, "cannot set up TLS with ciphers '%s': %s", rules->ciphers, tls_reason());
    SSL_CTX_set_app_data(s->ctx, s);
    SSL_CTX_set_verify(s->ctx, modes[f->client_cert], NULL);
    SSL_CTX_set_tlsext_servername_callback(s->ctx, on_name);
    SSL_CTX_set_tlsext_servername_arg(s->ctx, s);
    if (s->alpn.n)
        SSL_CTX_set_alpn_select_cb(s->ctx, on_alpn, s);
    int rc = f->ca ? load_ca(s, f, e) : 0;
    rc = rc ? rc : add_identities(s, f, e);
    if (rc == 0)
        choose_fallback(s);
    return rc;
}

struct tls_server *tls_server_new(const struct tls_files *f, const struct tls_rules *rules,
    const struct tls_tickets *tickets, struct err *e)
{
    struct tls_server *s = mem_zalloc(sizeof *s);
    if (!s) {
        err_set(e, -ENOMEM, "out of memory for TLS");
        return NULL;
    }
    s->magic = SERVER_MAGIC;
    s->refs = 1;
    s->tickets = tickets;
    s->strict = f->strict;
    s->alpn = f->alpn;
    if (set_up(s, f, rules, e) == 0)
        return s;
    tls_server_unref(s);
    return NULL;
}

struct tls_server *tls_server_ref(struct tls_server *s)
{
    assert(s->magic == SERVER_MAGIC);
    s->refs++;
    return s;
}

void tls_server_unref(struct tls_server *s)
{
    if (!s)
        return;
    assert(s->magic == SERVER_MAGIC);
    if (--s->refs)
        return;
    SSL_CTX_free(s->ctx);
    for (size_t i = 0; i < s->n; i++)
        tls_identity_release(&s->identity[i]);
    mem_free(s->identity);
    tls_names_release(&s->names);
    s->magic = 0;
    mem_free(s);
}

/* ---- connections ---- */

SSL *tls_server_open(struct tls_server *s)
{
    SSL *ssl = SSL_new(s->ctx);
    if (!ssl) {
        ERR_clear_error();
        return NULL;
    }
    SSL_set_accept_state(ssl);
    return ssl;
}

void tls_server_opened(SSL *ssl)
{
    SSL_certs_clear(ssl);
}

bool tls_speaks_h2(const SSL *ssl)
{
    const unsigned char *p;
    unsigned n;
    SSL_get0_alpn_selected(ssl, &p, &n);
    return n == 2 && memcmp(p, "h2", 2) == 0;
}
