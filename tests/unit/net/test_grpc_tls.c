#include "lib/net/grpc.h"

#include "tests/unit/net/grpc_certs.h"
#include "tests/unit/net/grpc_fixture.h"
#include <openssl/ssl.h>
#include <sys/socket.h>

#define DAY 86400

struct secure {
    struct fixture f;
    struct cert ca, server, client;
    struct grpc_tls *server_tls, *client_tls;
};

/* Certificates of these lives and names. */
static void make_all(struct secure *s, const char *server_names, long server_s,
    const char *client_names, long client_s)
{
    set_up(&s->f);
    make_cert(&s->ca, s->f.dir, "ca", NULL, NULL, DAY);
    make_cert(&s->server, s->f.dir, "server", &s->ca, server_names, server_s);
    make_cert(&s->client, s->f.dir, "client", &s->ca, client_names, client_s);
}

static struct grpc_tls *tls_of(const struct secure *s, const struct cert *c, bool server)
{
    struct err e = {0};
    struct grpc_tls *t = grpc_tls_new(c->cert_path, c->key_path, s->ca.cert_path, server, &e);
    if (!t)
        fail_msg("%s", e.text);
    return t;
}

static void start_both(struct secure *s, const char *tls_name)
{
    s->server_tls = tls_of(s, &s->server, true);
    s->client_tls = tls_of(s, &s->client, false);
    s->f.client_options.tls = s->client_tls;
    s->f.client_options.tls_name = tls_name;
    start_server(&s->f, "127.0.0.1:0", s->server_tls);
    start_client(&s->f);
}

static void end_all(struct secure *s)
{
    tear_down(&s->f);
    grpc_tls_free(s->server_tls);
    grpc_tls_free(s->client_tls);
    cert_free(&s->ca);
    cert_free(&s->server);
    cert_free(&s->client);
}

/* ---- who is let in ---- */

static void both_sides_know_each_other(void **state)
{
    static const struct {
        const char *server_names, *tls_name, *client_names, *peer;
    } cases[] = {
        {"IP:127.0.0.1", NULL, "DNS:a.example,URI:spiffe://x/y", "a.example spiffe://x/y "},
        {"DNS:agent.example", "agent.example", NULL, "client "},
        {"DNS:*.agents.example", "a.agents.example", "IP:192.0.2.1,email:a@b.example", "client "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct secure s = {0};
        make_all(&s, cases[i].server_names, DAY, cases[i].client_names, DAY);
        start_both(&s, cases[i].tls_name);
        until(&s.f, s.f.messages == 1);
        assert_true(s.f.peer_tls);
        assert_string_equal(s.f.peer, cases[i].peer);
        end_all(&s);
    }
}

static void a_server_must_have_the_name_and_a_valid_certificate(void **state)
{
    static const struct {
        const char *names, *tls_name;
        long seconds;
        const char *why;
    } cases[] = {
        {"DNS:agent.example", NULL, DAY, "does not have the name '127.0.0.1'"},
        {"IP:127.0.0.2", NULL, DAY, "does not have the name '127.0.0.1'"},
        {"DNS:agent.example", "other.example", DAY, "does not have the name 'other.example'"},
        {"DNS:a*.agents.example", "ab.agents.example", DAY,
            "does not have the name 'ab.agents.example'"},
        {NULL, "server", DAY, "does not have the name 'server'"}, /* the common name is none */
        {"IP:127.0.0.1", NULL, -60, "the server's certificate is refused: certificate has expired"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct secure s = {0};
        make_all(&s, cases[i].names, cases[i].seconds, NULL, DAY);
        start_both(&s, cases[i].tls_name);
        until(&s.f, s.f.downs == 1);
        assert_non_null(strstr(s.f.why, cases[i].why));
        until(&s.f, grpc_server_counts(s.f.server).handshake_failed > 0);
        assert_non_null(strstr(log_text(&s.f), "failed: the client refuses us: TLS alert '"));
        assert_int_equal(s.f.ups, 0);
        end_all(&s);
    }
}

static void a_client_must_have_a_valid_certificate_of_the_ca(void **state)
{
    struct secure s = {0};
    (void)state;
    make_all(&s, "IP:127.0.0.1", DAY, NULL, -60);
    start_both(&s, NULL);
    until(&s.f, s.f.downs == 1);
    assert_string_equal(s.f.why, "the server refuses us: TLS alert 'certificate expired'");
    assert_int_equal(s.f.ups, 0); /* although TLS 1.3 took the handshake for done */
    until(&s.f, grpc_server_counts(s.f.server).handshake_failed > 0);
    const char *log = log_text(&s.f);
    assert_non_null(strstr(log, "the client's certificate is refused: certificate has expired"));
    end_all(&s);
}

static void another_ca_is_refused_by_both(void **state)
{
    struct secure s = {0};
    struct cert ca, other;
    (void)state;
    make_all(&s, "IP:127.0.0.1", DAY, NULL, DAY);
    make_cert(&ca, s.f.dir, "other-ca", NULL, NULL, DAY);
    make_cert(&other, s.f.dir, "other", &ca, NULL, DAY);
    start_both(&s, NULL);
    until(&s.f, s.f.messages == 1);
    grpc_client_free(s.f.client);
    /* theirs is not of our CA */
    struct grpc_tls *tls =
        grpc_tls_new(other.cert_path, other.key_path, s.ca.cert_path, false, NULL);
    s.f.client_options.tls = tls;
    start_client(&s.f);
    until(&s.f, s.f.downs == 1);
    assert_string_equal(s.f.why, "the server refuses us: TLS alert 'unknown CA'");
    grpc_client_free(s.f.client);
    grpc_tls_free(tls);
    /* ours is not of their CA */
    tls = grpc_tls_new(s.client.cert_path, s.client.key_path, ca.cert_path, false, NULL);
    s.f.client_options.tls = tls;
    start_client(&s.f);
    until(&s.f, s.f.downs == 2);
    assert_non_null(strstr(s.f.why, "the server's certificate is refused: "));
    grpc_client_free(s.f.client);
    s.f.client = NULL;
    grpc_tls_free(tls);
    end_all(&s);
    cert_free(&ca);
    cert_free(&other);
}

/* ---- what else is refused ---- */

/* Connects, and lets TLS run on both sides: true when it came up. */
static bool try_handshake(struct secure *s, SSL_CTX *ctx)
{
    struct addr a = addr_of(s->f.target);
    bool pending, over = false;
    int fd = sock_connect(&a, &pending);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    char byte;
    while (!over) {
        int rc = SSL_connect(ssl);
        if (rc == 1)
            rc = SSL_read(ssl, &byte, 1); /* SETTINGS, or an alert */
        int error = SSL_get_error(ssl, rc);
        over = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
        turn(&s->f);
    }
    bool up = SSL_is_init_finished(ssl) && SSL_pending(ssl) > 0;
    SSL_free(ssl);
    close(fd);
    return up;
}

static void old_versions_and_other_protocols_are_refused(void **state)
{
    static const struct {
        int version;
        const char *alpn;
        bool up;
    } cases[] = {
        {TLS1_3_VERSION, "\x02h2", true},
        {TLS1_2_VERSION, "\x02h2", true},
        {TLS1_1_VERSION, "\x02h2", false},
        {TLS1_3_VERSION, "\x08http/1.1", false},
        {TLS1_3_VERSION, NULL, false},
    };
    struct secure s = {0};
    (void)state;
    make_all(&s, "IP:127.0.0.1", DAY, NULL, DAY);
    s.server_tls = tls_of(&s, &s.server, true);
    start_server(&s.f, "127.0.0.1:0", s.server_tls);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_security_level(ctx, 0);
        SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(ctx, cases[i].version);
        SSL_CTX_use_certificate_file(ctx, s.client.cert_path, SSL_FILETYPE_PEM);
        SSL_CTX_use_PrivateKey_file(ctx, s.client.key_path, SSL_FILETYPE_PEM);
        if (cases[i].alpn)
            SSL_CTX_set_alpn_protos(
                ctx, (const unsigned char *)cases[i].alpn, (unsigned)strlen(cases[i].alpn));
        assert_int_equal(try_handshake(&s, ctx), cases[i].up);
        SSL_CTX_free(ctx);
    }
    end_all(&s);
}

static void a_handshake_that_does_not_go_on_is_ended(void **state)
{
    struct secure s = {0};
    (void)state;
    make_all(&s, "IP:127.0.0.1", DAY, NULL, DAY);
    s.server_tls = tls_of(&s, &s.server, true);
    s.f.server_options.handshake_ms = 30;
    start_server(&s.f, "127.0.0.1:0", s.server_tls);
    struct addr a = addr_of(s.f.target);
    bool pending;
    int fd = sock_connect(&a, &pending);
    until(&s.f, grpc_server_counts(s.f.server).timed_out == 1);
    assert_int_equal(grpc_server_counts(s.f.server).connections_now, 0);
    close(fd);
    end_all(&s);
}

/* ---- files ---- */

static void expect_refused(const struct secure *s, const char *cert, const char *key,
    const char *ca, const char *text, const char *file)
{
    struct err e = {0};
    (void)s;
    assert_null(grpc_tls_new(cert, key, ca, true, &e));
    if (!strstr(e.text, text) || !strstr(e.text, file))
        fail_msg("have \"%s\", want \"%s\" and \"%s\"", e.text, text, file);
}

static void files_that_will_not_do_are_named(void **state)
{
    struct secure s = {0};
    const char *cert = s.server.cert_path, *key = s.server.key_path, *ca = s.ca.cert_path;
    char missing[160], junk[160];
    (void)state;
    make_all(&s, NULL, DAY, NULL, DAY);
    snprintf(missing, sizeof(missing), "%s/missing", s.f.dir);
    snprintf(junk, sizeof(junk), "%s/junk", s.f.dir);
    FILE *f = fopen(junk, "w");
    fputs("junk\n", f);
    fclose(f);
    assert_int_equal(chmod(junk, 0600), 0);
    expect_refused(&s, missing, key, ca, "cannot read certificate", missing);
    expect_refused(&s, cert, missing, ca, "cannot read key", missing);
    expect_refused(&s, cert, key, missing, "cannot read CA certificate", missing);
    expect_refused(&s, junk, key, ca, "cannot use certificate", junk);
    expect_refused(&s, cert, junk, ca, "cannot use key", junk);
    expect_refused(&s, cert, key, junk, "cannot use CA certificate", junk);
    expect_refused(&s, cert, s.client.key_path, ca, "does not belong", s.client.key_path);
    assert_int_equal(chmod(key, 0640), 0);
    expect_refused(&s, cert, key, ca, "open to group or others (mode 0640)", key);
    assert_int_equal(chmod(key, 0604), 0);
    expect_refused(&s, cert, key, ca, "(mode 0604)", key);
    end_all(&s);
}

static void a_reload_holds_for_new_connections(void **state)
{
    struct secure s = {0};
    struct cert fresh;
    struct err e = {0};
    (void)state;
    make_all(&s, "IP:127.0.0.1", DAY, "DNS:before.example", DAY);
    start_both(&s, NULL);
    until(&s.f, s.f.messages == 1);
    assert_string_equal(s.f.peer, "before.example ");
    assert_int_equal(chmod(s.client.key_path, 0644), 0);
    assert_int_equal(grpc_tls_reload(s.client_tls, &e), -EPERM); /* as it was */
    make_cert(&fresh, s.f.dir, "client", &s.ca, "DNS:after.example", DAY);
    assert_int_equal(grpc_tls_reload(s.client_tls, &e), 0);
    assert_int_equal(grpc_tls_reload(s.server_tls, &e), 0);
    assert_int_equal(grpc_send(s.f.st, STR("still here")), 0);
    grpc_client_flush(s.f.client);
    until(&s.f, s.f.messages == 2);
    assert_int_equal(s.f.downs, 0);
    grpc_client_again(s.f.client);
    until(&s.f, s.f.messages == 3);
    assert_string_equal(s.f.peer, "after.example ");
    end_all(&s);
    cert_free(&fresh);
}

static void any_allocation_may_fail(void **state)
{
    struct secure s = {0};
    (void)state;
    make_all(&s, "IP:127.0.0.1", DAY, "DNS:a,DNS:b,URI:c:d", DAY);
    s.server_tls = tls_of(&s, &s.server, true);
    for (unsigned long n = 1;; n++) {
        mem_fail_nth(n);
        struct grpc_tls *t =
            grpc_tls_new(s.client.cert_path, s.client.key_path, s.ca.cert_path, false, NULL);
        bool reached = mem_count() >= n;
        mem_fail_nth(0);
        grpc_tls_free(t);
        assert_true((t == NULL) == reached);
        if (!reached)
            break;
    }
    s.client_tls = tls_of(&s, &s.client, false);
    s.f.client_options.tls = s.client_tls;
    start_server(&s.f, "127.0.0.1:0", s.server_tls);
    for (unsigned long n = 1;; n++) {
        unsigned ups = s.f.ups;
        s.f.call = NULL;
        mem_fail_nth(n);
        s.f.client = grpc_client_new(
            s.f.base, NULL, s.f.target, &s.f.client_options, &client_events, &s.f, NULL);
        if (s.f.client)
            until(&s.f, s.f.ups > ups);
        bool reached = mem_count() >= n;
        mem_fail_nth(0);
        grpc_client_free(s.f.client);
        s.f.client = NULL;
        until(&s.f, grpc_server_counts(s.f.server).connections_now == 0);
        if (!reached)
            break;
    }
    end_all(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_know_each_other),
        cmocka_unit_test(a_server_must_have_the_name_and_a_valid_certificate),
        cmocka_unit_test(a_client_must_have_a_valid_certificate_of_the_ca),
        cmocka_unit_test(another_ca_is_refused_by_both),
        cmocka_unit_test(old_versions_and_other_protocols_are_refused),
        cmocka_unit_test(a_handshake_that_does_not_go_on_is_ended),
        cmocka_unit_test(files_that_will_not_do_are_named),
        cmocka_unit_test(a_reload_holds_for_new_connections),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return unit_run(tests);
}
