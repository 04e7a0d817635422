/* Both ends in one thread, over memory: what a listener shows, whom it lets in, what is resumed. */
#include "lib/net/tls.h"

#include "tests/unit/net/grpc_certs.h"
#include <errno.h>
#include <ftw.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <unistd.h>

#define DAY  86400
#define BOTH ((struct str){"\x02h2\x08http/1.1", 12})

static const struct tls_rules rules = {
    0x0303, "ECDHE+AESGCM:ECDHE+CHACHA20", .certs_max = 8, .ticket_s = 3600};

struct setup {
    char dir[64];
    struct cert ca, other_ca, rsa, ecdsa, wild, client, stale, foreign;
    struct tls_tickets tickets;
};

static EVP_PKEY *rsa_key(void)
{
    static EVP_PKEY *key; /* takes a while to make: one for all */
    if (!key)
        key = EVP_RSA_gen(2048);
    assert_non_null(key);
    EVP_PKEY_up_ref(key);
    return key;
}

static void start(struct setup *s)
{
    memset(s, 0, sizeof(*s));
    snprintf(s->dir, sizeof(s->dir), "%s", "/tmp/offshoot-tls-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    make_cert(&s->ca, s->dir, "ca", NULL, NULL, DAY);
    make_cert(&s->other_ca, s->dir, "other-ca", NULL, NULL, DAY);
    make_cert_of(&s->rsa, rsa_key(), s->dir, "rsa", &s->ca, "DNS:a.example,DNS:b.example", DAY);
    make_cert(&s->ecdsa, s->dir, "ecdsa", &s->ca, "DNS:a.example", DAY);
    make_cert(&s->wild, s->dir, "wild", &s->ca, "DNS:*.wild.example", DAY);
    make_cert(&s->client, s->dir, "client", &s->ca, "URI:spiffe://shop/tester,DNS:c.example", DAY);
    make_cert(&s->stale, s->dir, "stale", &s->ca, "URI:spiffe://shop/stale", -60);
    make_cert(&s->foreign, s->dir, "foreign", &s->other_ca, "URI:spiffe://shop/tester", DAY);
    assert_int_equal(tls_tickets_init(&s->tickets), 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void end(struct setup *s)
{
    struct cert *all[] = {
        &s->ca, &s->other_ca, &s->rsa, &s->ecdsa, &s->wild, &s->client, &s->stale, &s->foreign};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        cert_free(all[i]);
    assert_int_equal(nftw(s->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- the listener ---- */

struct options {
    const char *sources[4];
    const char *client_ca;
    enum tls_client_cert client_cert;
    bool strict;
    struct str alpn;
};

static struct tls_files *read_files(const struct options *o, struct err *e)
{
    struct str sources[4];
    struct tls_want want = {.sources = sources,
        .client_ca = str_c(o->client_ca),
        .client_cert = o->client_cert,
        .strict = o->strict,
        .alpn = o->alpn};
    while (want.nsources < 4 && o->sources[want.nsources]) {
        sources[want.nsources] = str_c(o->sources[want.nsources]);
        want.nsources++;
    }
    return tls_files_read(&want, &rules, e);
}

static struct tls_server *serve(const struct options *o, const struct tls_tickets *t)
{
    struct err e = {0};
    struct tls_files *f = read_files(o, &e);
    struct tls_server *s = f ? tls_server_new(f, &rules, t, &e) : NULL;
    if (!s)
        fail_msg("%s", e.text);
    tls_files_free(f);
    return s;
}

static char *pair_of(const struct cert *c)
{
    static char text[4][400];
    static unsigned next;
    char *t = text[next++ % 4];
    snprintf(t, sizeof(text[0]), "%s+%s", c->cert_path, c->key_path);
    return t;
}

/* ---- the client ---- */

struct visit {
    const char *name; /* SNI */
    const char *sigalgs;
    const char *alpn; /* wire form */
    const struct cert *own;
    SSL_SESSION *session; /* to resume; replaced by the last one that came */
    int max_version;
    /* what came of it */
    bool up, reused;
    char shown[64]; /* common name of the certificate */
    char proto[16];
    enum tls_failure why;
    struct err text;
    struct tls_subjects *subjects;
    int subjects_rc;
};

static SSL_SESSION **session_slot;

static int keep_session(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl;
    SSL_SESSION_free(*session_slot);
    *session_slot = s;
    return 1;
}

static SSL *client_of(struct visit *v, SSL_CTX *ctx)
{
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    session_slot = &v->session;
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    if (v->max_version)
        SSL_CTX_set_max_proto_version(ctx, v->max_version);
    if (v->sigalgs)
        assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, v->sigalgs), 1);
    if (v->own) {
        SSL_CTX_use_certificate(ctx, v->own->x509);
        SSL_CTX_use_PrivateKey(ctx, v->own->key);
    }
    if (v->alpn)
        SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)v->alpn, (unsigned)strlen(v->alpn));
    SSL *ssl = SSL_new(ctx);
    if (v->name)
        SSL_set_tlsext_host_name(ssl, v->name);
    if (v->session)
        SSL_set_session(ssl, v->session);
    SSL_set_connect_state(ssl);
    return ssl;
}

static void note_shown(struct visit *v, SSL *client)
{
    X509 *x = SSL_get0_peer_certificate(client);
    const unsigned char *p = NULL;
    unsigned n = 0;
    if (x)
        X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, v->shown, 64);
    SSL_get0_alpn_selected(client, &p, &n);
    snprintf(v->proto, sizeof(v->proto), "%.*s", (int)n, p ? (const char *)p : "");
}

/* One step of an end; false: it failed. */
static bool step(SSL *ssl, bool server, struct visit *v)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(ssl);
    if (rc == 1)
        return true;
    int error = SSL_get_error(ssl, rc);
    if (error == SSL_ERROR_WANT_READ)
        return true;
    if (server)
        v->why = tls_why(ssl, ERR_peek_error(), &v->text);
    return false;
}

static void visit(struct tls_server *server, struct visit *v)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *client = client_of(v, ctx), *ssl = tls_server_open(server);
    BIO *a = BIO_new(BIO_s_mem()), *b = BIO_new(BIO_s_mem());
    char byte;
    BIO_up_ref(a);
    BIO_up_ref(b);
    SSL_set_bio(client, a, b);
    SSL_set_bio(ssl, b, a);
    bool ok = true;
    for (unsigned i = 0; ok && i < 6; i++)
        ok = step(client, false, v) && step(ssl, true, v);
    if (!ok && v->why == TLS_FAIL_CLOSED && v->text.code == 0)
        step(ssl, true, v); /* the client's alert */
    v->up = ok && SSL_is_init_finished(ssl) && SSL_is_init_finished(client);
    if (v->up) {
        tls_server_opened(ssl);
        v->reused = SSL_session_reused(ssl);
        assert_int_equal(SSL_write(ssl, "x", 1), 1);
        assert_int_equal(SSL_read(client, &byte, 1), 1); /* and the tickets before it */
        note_shown(v, client);
        if (SSL_version(client) == TLS1_2_VERSION) { /* a renewed ticket is not told of */
            SSL_SESSION_free(v->session);
            v->session = SSL_get1_session(client);
        }
        mem_free(v->subjects);
        v->subjects_rc = tls_subjects_of(ssl, &v->subjects);
    }
    SSL_free(ssl);
    SSL_shutdown(client); /* else its session counts as broken */
    SSL_free(client);
    SSL_CTX_free(ctx);
}

static void forget(struct visit *v)
{
    SSL_SESSION_free(v->session);
    mem_free(v->subjects);
}

/* ---- what is shown ---- */

static void the_name_and_the_clients_signatures_choose_the_certificate(void **state)
{
    static const struct {
        const char *name, *sigalgs, *shown;
    } cases[] = {
        {"a.example", "ECDSA+SHA256:rsa_pss_rsae_sha256", "ecdsa"},
        {"A.example", "rsa_pss_rsae_sha256", "rsa"},
        {"b.example", "ECDSA+SHA256:rsa_pss_rsae_sha256", "rsa"},
        {"x.wild.example", NULL, "wild"},
        {"wild.example", NULL, "ecdsa"}, /* nothing serves it: the first, and what is beside it */
        {"unknown.example", "rsa_pss_rsae_sha256", "rsa"},
        {NULL, NULL, "ecdsa"},
    };
    struct setup s;
    (void)state;
    start(&s);
    struct options o = {.sources = {pair_of(&s.rsa), pair_of(&s.ecdsa), pair_of(&s.wild)}};
    struct tls_server *server = serve(&o, &s.tickets);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct visit v = {.name = cases[i].name, .sigalgs = cases[i].sigalgs};
        visit(server, &v);
        if (!v.up || strcmp(v.shown, cases[i].shown) != 0)
            fail_msg("case %zu: %s %s", i, v.shown, v.text.text);
        forget(&v);
    }
    tls_server_unref(server);
    end(&s);
}

static void strict_refuses_names_that_nothing_serves(void **state)
{
    static const char *const refused[] = {"unknown.example", "wild.example", NULL};
    struct setup s;
    (void)state;
    start(&s);
    struct options o = {.sources = {pair_of(&s.wild)}, .strict = true};
    struct tls_server *server = serve(&o, &s.tickets);
    for (unsigned i = 0; i < 3; i++) {
        struct visit v = {.name = refused[i]};
        visit(server, &v);
        assert_false(v.up);
        assert_int_equal(v.why, TLS_FAIL_NAME);
    }
    struct visit v = {.name = "y.wild.example"};
    visit(server, &v);
    assert_true(v.up);
    forget(&v);
    tls_server_unref(server);
    end(&s);
}

static void alpn_takes_what_we_like_best_or_nothing(void **state)
{
    static const struct {
        const char *offered, *chosen;
        bool up;
    } cases[] = {{"\x08http/1.1\x02h2", "h2", true}, {"\x08http/1.1", "http/1.1", true},
        {NULL, "", true},
        {"\x03"
         "foo",
            "", false}};
    struct setup s;
    (void)state;
    start(&s);
    struct options o = {.sources = {pair_of(&s.ecdsa)}, .alpn = BOTH};
    struct tls_server *server = serve(&o, &s.tickets);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct visit v = {.alpn = cases[i].offered};
        visit(server, &v);
        assert_int_equal(v.up, cases[i].up);
        assert_string_equal(v.proto, cases[i].chosen);
        if (!cases[i].up)
            assert_int_equal(v.why, TLS_FAIL_ALPN);
        forget(&v);
    }
    tls_server_unref(server);
    end(&s);
}

static void old_versions_and_foreign_ciphers_are_told_apart(void **state)
{
    struct setup s;
    (void)state;
    start(&s);
    struct options o = {.sources = {pair_of(&s.ecdsa)}};
    struct tls_server *server = serve(&o, &s.tickets);
    struct visit v = {.sigalgs = "rsa_pss_rsae_sha256"};
    visit(server, &v);
    assert_false(v.up);
    assert_int_equal(v.why, TLS_FAIL_CIPHER);
    tls_server_unref(server);

    struct tls_rules modern = rules;
    struct err e = {0};
    modern.min_version = 0x0304;
    struct tls_files *f = read_files(&o, &e);
    server = tls_server_new(f, &modern, &s.tickets, &e);
    tls_files_free(f);
    struct visit old = {.max_version = TLS1_2_VERSION};
    visit(server, &old);
    assert_false(old.up);
    assert_int_equal(old.why, TLS_FAIL_VERSION);
    tls_server_unref(server);
    end(&s);
}

/* ---- client certificates ---- */

static void client_certificates_decide_who_is_let_in(void **state)
{
    struct setup s;
    (void)state;
    start(&s);
    const struct {
        const struct cert *own;
        bool optional, required; /* let in */
        enum tls_failure why;
    } cases[] = {{NULL, true, false, TLS_FAIL_NO_CERT}, {&s.client, true, true, 0},
        {&s.stale, false, false, TLS_FAIL_EXPIRED},
        {&s.foreign, false, false, TLS_FAIL_UNKNOWN_CA}};
    for (unsigned version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        for (unsigned i = 0; i < 8; i++) {
            bool required = i & 1, in = required ? cases[i / 2].required : cases[i / 2].optional;
            struct options o = {.sources = {pair_of(&s.ecdsa)},
                .client_ca = s.ca.cert_path,
                .client_cert = required ? TLS_CLIENT_REQUIRED : TLS_CLIENT_OPTIONAL};
            struct tls_server *server = serve(&o, &s.tickets);
            struct visit v = {.own = cases[i / 2].own, .max_version = (int)version};
            visit(server, &v);
            if (v.up != in || (!in && v.why != cases[i / 2].why))
                fail_msg("case %u: %d %s: %s", i, v.up, tls_failure_word(v.why), v.text.text);
            assert_int_equal(v.subjects != NULL, v.up && v.own);
            if (v.subjects) {
                assert_int_equal(v.subjects->n, 2);
                assert_str(v.subjects->name[0], "spiffe://shop/tester");
                assert_str(v.subjects->name[1], "c.example");
            }
            forget(&v);
            tls_server_unref(server);
        }
    }
    end(&s);
}

/* ---- tickets ---- */

static void tickets_are_good_at_every_worker_and_over_one_rotation(void **state)
{
    struct setup s;
    (void)state;
    start(&s);
    for (unsigned version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct tls_tickets a = s.tickets, b = s.tickets;
        struct options o = {.sources = {pair_of(&s.ecdsa)}};
        struct tls_server *one = serve(&o, &a), *two = serve(&o, &b);
        struct visit v = {.name = "a.example", .max_version = (int)version};
        visit(one, &v);
        assert_true(v.up && !v.reused && v.session);
        visit(two, &v);
        assert_true(v.up && v.reused);
        /* the first worker has the new keys already, the second has not */
        assert_int_equal(tls_tickets_rotate(&a), 0);
        visit(one, &v);
        assert_true(v.reused);
        visit(two, &v);
        assert_true(v.reused);
        b = a;
        SSL_SESSION *kept = v.session;
        SSL_SESSION_up_ref(kept);
        assert_int_equal(tls_tickets_rotate(&a), 0);
        assert_int_equal(tls_tickets_rotate(&a), 0);
        SSL_SESSION_free(v.session);
        v.session = kept;
        visit(one, &v); /* two rotations later it is of no use */
        assert_true(v.up && !v.reused);
        forget(&v);
        tls_server_unref(one);
        tls_server_unref(two);
    }
    end(&s);
}

/* Else a ticket of a listener that asks nobody would open one that asks everybody. */
static void a_ticket_is_no_client_certificate(void **state)
{
    struct setup s;
    (void)state;
    start(&s);
    for (unsigned version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct options open = {.sources = {pair_of(&s.ecdsa)}},
                       asks = {.sources = {pair_of(&s.ecdsa)},
                           .client_ca = s.ca.cert_path,
                           .client_cert = TLS_CLIENT_REQUIRED},
                       other = asks;
        other.client_ca = s.other_ca.cert_path;
        struct tls_server *a = serve(&open, &s.tickets), *b = serve(&asks, &s.tickets),
                          *c = serve(&other, &s.tickets);
        struct visit v = {.max_version = (int)version};
        visit(a, &v);
        assert_true(v.up && v.session);
        visit(b, &v);
        assert_false(v.up);
        forget(&v);
        v = (struct visit){.max_version = (int)version, .own = &s.client};
        visit(b, &v);
        assert_true(v.up && v.subjects);
        visit(b, &v);
        assert_true(v.reused && v.subjects); /* the name is in the ticket */
        visit(c, &v);
        assert_false(v.up); /* trusted by another authority, that one */
        forget(&v);
        tls_server_unref(a);
        tls_server_unref(b);
        tls_server_unref(c);
    }
    end(&s);
}

static void a_server_lives_as_long_as_its_connections(void **state)
{
    struct setup s;
    (void)state;
    start(&s);
    struct options o = {.sources = {pair_of(&s.ecdsa)}};
    struct tls_server *server = serve(&o, &s.tickets);
    SSL *ssl = tls_server_open(tls_server_ref(server));
    tls_server_unref(server); /* as a reload does */
    struct visit v = {0};
    visit(server, &v);
    assert_true(v.up);
    forget(&v);
    SSL_free(ssl);
    tls_server_unref(server);
    end(&s);
}

/* ---- files ---- */

static void put_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static void refused(const struct options *o, const char *text)
{
    struct err e = {0};
    struct tls_files *f = read_files(o, &e);
    if (f || !strstr(e.text, text))
        fail_msg("want '%s', have '%s'", text, e.text);
}

static void bad_files_are_named(void **state)
{
    struct setup s;
    char path[200], both[400], dir[200];
    (void)state;
    start(&s);
    snprintf(both, sizeof(both), "%s+%s", s.rsa.cert_path, s.ecdsa.key_path);
    refused(&(struct options){.sources = {both}}, "does not belong to certificate");
    snprintf(both, sizeof(both), "%s+%s/none.key", s.rsa.cert_path, s.dir);
    refused(&(struct options){.sources = {both}}, "/none.key': No such file");
    refused(&(struct options){.sources = {s.rsa.cert_path}}, "is not a PEM key");
    snprintf(path, sizeof(path), "%s/junk", s.dir);
    put_file(path, "junk\n", 0600);
    refused(&(struct options){.sources = {path}}, "junk': ");
    snprintf(both, sizeof(both), "%s+%s", s.rsa.cert_path, path);
    refused(&(struct options){.sources = {both}}, "junk': it is not a PEM key");
    refused(&(struct options){.sources = {"/dev/null"}}, "not a regular file");
    assert_int_equal(chmod(s.rsa.key_path, 0640), 0);
    refused(&(struct options){.sources = {pair_of(&s.rsa)}}, "may be used by others (mode 640");
    assert_int_equal(chmod(s.rsa.key_path, 0600), 0);
    snprintf(dir, sizeof(dir), "%s/empty", s.dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    refused(&(struct options){.sources = {dir}}, "no certificate with its key in the folder");
    char *pair = pair_of(&s.ecdsa);
    struct tls_rules one = rules;
    struct err e = {0};
    struct str sources[2] = {str_c(pair), str_c(pair)};
    one.certs_max = 1;
    assert_null(tls_files_read(&(struct tls_want){.sources = sources, .nsources = 2}, &one, &e));
    assert_non_null(strstr(e.text, "one more than limits.certificates (1)"));
    end(&s);
}

static void bad_authorities_are_named(void **state)
{
    struct setup s;
    struct err e = {0};
    char path[200];
    (void)state;
    start(&s);
    snprintf(path, sizeof(path), "%s/junk", s.dir);
    put_file(path, "junk\n", 0600);
    struct options o = {.sources = {pair_of(&s.ecdsa)}, .client_ca = path};
    struct tls_files *f = read_files(&o, &e);
    assert_non_null(f);
    assert_null(tls_server_new(f, &rules, &s.tickets, &e));
    assert_non_null(strstr(e.text, "cannot use CA certificate"));
    tls_files_free(f);
    end(&s);
}

static void append(const char *to, const char *from)
{
    char line[256];
    FILE *in = fopen(from, "r"), *out = fopen(to, "a");
    assert_true(in && out);
    while (fgets(line, sizeof(line), in))
        fputs(line, out);
    fclose(in);
    fclose(out);
}

static void a_folder_gives_pairs_and_whole_files_by_name(void **state)
{
    struct setup s;
    struct tls_cert_info info;
    struct err e = {0};
    char dir[100], path[200];
    size_t n;
    (void)state;
    start(&s);
    snprintf(dir, sizeof(dir), "%s/certs", s.dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    snprintf(path, sizeof(path), "%s/b.pem", dir);
    put_file(path, "", 0600);
    append(path, s.ecdsa.cert_path);
    append(path, s.ecdsa.key_path);
    snprintf(path, sizeof(path), "%s/a.crt", dir);
    append(path, s.rsa.cert_path);
    snprintf(path, sizeof(path), "%s/a.key", dir);
    put_file(path, "", 0600);
    append(path, s.rsa.key_path);
    snprintf(path, sizeof(path), "%s/ca.crt", dir);
    append(path, s.ca.cert_path);
    snprintf(path, sizeof(path), "%s/.hidden.pem", dir);
    put_file(path, "junk", 0644);
    snprintf(path, sizeof(path), "%s/readme.txt", dir);
    put_file(path, "junk", 0644);
    struct tls_files *f = read_files(&(struct options){.sources = {dir}}, &e);
    if (!f)
        fail_msg("%s", e.text);
    assert_true(tls_files_at(f, 0, &info));
    assert_non_null(strstr(info.path, "certs/a.crt"));
    assert_string_equal(info.kind, "rsa");
    assert_string_equal(info.names, "a.example b.example");
    assert_true(tls_files_at(f, 1, &info));
    assert_non_null(strstr(info.path, "certs/b.pem"));
    assert_false(tls_files_at(f, 2, &info));
    assert_int_equal(tls_files_skipped(f), 1);
    assert_string_equal(tls_files_paths(f, &n)[0], dir);
    assert_int_equal(n, 1);
    tls_files_free(f);
    end(&s);
}

static void without_memory_it_says_so_and_leaves_nothing(void **state)
{
    struct setup s;
    (void)state;
    start(&s);
    struct options o = {.sources = {pair_of(&s.rsa), pair_of(&s.wild)},
        .client_ca = s.ca.cert_path,
        .client_cert = TLS_CLIENT_OPTIONAL};
    for (unsigned long n = 1;; n++) {
        struct err e = {0};
        mem_fail_nth(n);
        struct tls_files *f = read_files(&o, &e);
        struct tls_server *server = f ? tls_server_new(f, &rules, &s.tickets, &e) : NULL;
        mem_fail_nth(0);
        bool done = server != NULL;
        if (!done)
            assert_int_equal(e.code, -ENOMEM);
        tls_server_unref(server);
        tls_files_free(f);
        if (done)
            break;
    }
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_name_and_the_clients_signatures_choose_the_certificate),
        cmocka_unit_test(strict_refuses_names_that_nothing_serves),
        cmocka_unit_test(alpn_takes_what_we_like_best_or_nothing),
        cmocka_unit_test(old_versions_and_foreign_ciphers_are_told_apart),
        cmocka_unit_test(client_certificates_decide_who_is_let_in),
        cmocka_unit_test(tickets_are_good_at_every_worker_and_over_one_rotation),
        cmocka_unit_test(a_ticket_is_no_client_certificate),
        cmocka_unit_test(a_server_lives_as_long_as_its_connections),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(bad_authorities_are_named),
        cmocka_unit_test(a_folder_gives_pairs_and_whole_files_by_name),
        cmocka_unit_test(without_memory_it_says_so_and_leaves_nothing),
    };
    return unit_run(tests);
}
