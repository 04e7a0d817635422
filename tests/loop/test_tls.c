/* TLS clients of a real worker: each allocation failing, what is held while idle and while a client
 * reads slowly, time-outs. */
#include "proxy/tls.h"
#include "proxy/tls_conn.h"
#include "tests/loop/loop.h"
#include "tests/unit/net/grpc_certs.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define GET "GET /shop HTTP/1.1\r\nhost: shop.test\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"

static struct loop l;
static char dir[64];
static struct cert cert;
static SSL_CTX *client_ctx;

static int make_certificate(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s", "/tmp/offshoot-tls-XXXXXX");
    assert_non_null(mkdtemp(dir));
    make_cert(&cert, dir, "site", NULL, "DNS:shop.test", 86400);
    client_ctx = SSL_CTX_new(TLS_client_method());
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

static int remove_certificate(void **state)
{
    (void)state;
    SSL_CTX_free(client_ctx);
    unlink(cert.cert_path);
    unlink(cert.key_path);
    rmdir(dir);
    cert_free(&cert);
    return 0;
}

static void start(const char *const *sets)
{
    char source[400];
    struct err e = {0};
    struct tls_rules rules;
    struct str sources[1];
    loop_start(&l, NULL, sets);
    snprintf(source, sizeof source, "%s+%s", cert.cert_path, cert.key_path);
    sources[0] = str_c(source);
    tls_settings(&l.set, &rules);
    struct tls_files *f =
        tls_files_read(&(struct tls_want){.sources = sources, .nsources = 1}, &rules, &e);
    assert_non_null(f);
    l.w.tls = tls_worker_new();
    assert_non_null(l.w.tls);
    assert_int_equal(tls_tickets_init(tls_worker_tickets(l.w.tls)), 0);
    l.trusted->tls = tls_server_new(f, &rules, tls_worker_tickets(l.w.tls), &e);
    assert_non_null(l.trusted->tls);
    tls_files_free(f);
}

static SSL *client_on(int fd)
{
    SSL *ssl = SSL_new(client_ctx);
    assert_non_null(ssl);
    SSL_set_fd(ssl, fd);
    SSL_set_connect_state(ssl);
    return ssl;
}

static bool shake_hands(SSL *ssl)
{
    for (unsigned i = 0; i < 10; i++) {
        ERR_clear_error();
        int rc = SSL_do_handshake(ssl);
        loop_turns(&l);
        if (rc == 1)
            return true;
        if (SSL_get_error(ssl, rc) != SSL_ERROR_WANT_READ)
            return false;
    }
    return false;
}

static bool say(SSL *ssl, const char *text)
{
    ERR_clear_error();
    int rc = SSL_write(ssl, text, (int)strlen(text));
    loop_turns(&l);
    return rc == (int)strlen(text);
}

static void answer(unsigned i, const char *text)
{
    if (i >= l.nproviders || l.provider[i] < 0)
        return;
    (void)!write(l.provider[i], text, strlen(text)); /* it may be gone by now */
    loop_turns(&l);
}

/* What is there; *ret_end: the connection is over. */
static size_t hear(SSL *ssl, char *to, size_t size, bool *ret_end)
{
    size_t n = 0;
    *ret_end = false;
    while (n < size) {
        ERR_clear_error();
        int rc = SSL_read(ssl, to + n, (int)(size - n));
        if (rc > 0) {
            n += (size_t)rc;
            continue;
        }
        *ret_end = SSL_get_error(ssl, rc) != SSL_ERROR_WANT_READ;
        break;
    }
    return n;
}

static void leave(SSL *ssl, int fd)
{
    SSL_free(ssl);
    close(fd);
    ERR_clear_error();
    loop_turns(&l);
}

static void an_idle_connection_holds_no_buffer(void **state)
{
    char text[512];
    bool over;
    (void)state;
    start(NULL);
    int fd = loop_client(&l, l.trusted);
    SSL *ssl = client_on(fd);
    assert_true(shake_hands(ssl));
    assert_int_equal(l.w.bufs.nused, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(say(ssl, GET));
        answer(0, OK);
        size_t n = hear(ssl, text, sizeof text, &over);
        assert_true(n > 2 && !over && memcmp(text + n - 2, "hi", 2) == 0);
        assert_int_equal(l.w.bufs.nused, 0);
    }
    assert_int_equal(loop_count(&l, STAT_TLS_HANDSHAKES), 1);
    leave(ssl, fd);
    loop_stop(&l);
}

static bool exchange_with_failure(unsigned long n)
{
    char text[1024];
    bool over;
    start(NULL);
    l.w.bufs.keep = 0; /* each buffer is an allocation */
    mem_fail_nth(n);
    int fd = loop_client(&l, l.trusted);
    SSL *ssl = client_on(fd);
    if (shake_hands(ssl))
        say(ssl, GET);
    for (unsigned i = 0; i < l.nproviders; i++) /* a second one when the first try failed */
        answer(i, OK);
    loop_turns(&l);
    bool asked = mem_count() >= n;
    mem_fail_nth(0);
    size_t got = hear(ssl, text, sizeof text - 1, &over);
    text[got] = '\0';
    bool told = strstr(text, "hi") || strstr(text, "503 Service Unavailable");
    if (!told && !over)
        fail_msg("allocation %lu: %zu bytes and no end: %s", n, got, text);
    leave(ssl, fd);
    loop_advance(&l, 2000);
    loop_stop(&l);
    return asked;
}

static void each_allocation_may_fail(void **state)
{
    unsigned long n = 1;
    (void)state;
    while (exchange_with_failure(n))
        n++;
    assert_true(n > 4);
}

static void a_handshake_has_its_time(void **state)
{
    static const char *const sets[] = {"timeouts.handshake", "5s", NULL};
    (void)state;
    start(sets);
    int fd = loop_client(&l, l.trusted);
    loop_advance(&l, 4900);
    assert_false(loop_closed(&l, fd));
    loop_advance(&l, 200);
    assert_true(loop_closed(&l, fd));
    assert_int_equal(loop_count(&l, STAT_TLS_FAILURES + TLS_FAIL_TIMEOUT), 1);
    assert_int_equal(loop_count(&l, STAT_CLIENT_CLOSES + CLIENT_CLOSE_TLS), 1);
    close(fd);
    loop_stop(&l);
}

/* The reply waits in the sockets and in two buffers a side, not in the proxy. */
static void a_slow_reader_holds_few_buffers(void **state)
{
    static char block[65536], text[65536];
    bool over = false;
    size_t sent = 0, got = 0, size = 4 << 20;
    (void)state;
    start(NULL);
    int fd = loop_client(&l, l.trusted);
    SSL *ssl = client_on(fd);
    assert_true(shake_hands(ssl));
    assert_true(say(ssl, GET));
    answer(0, "HTTP/1.1 200 OK\r\ncontent-length: 4194304\r\n\r\n");
    for (unsigned i = 0; i < 10000 && (got < size || !over); i++) {
        size_t left = size - sent < sizeof block ? size - sent : sizeof block;
        ssize_t n = left ? send(l.provider[0], block, left, MSG_DONTWAIT) : 0;
        sent += n > 0 ? (size_t)n : 0;
        loop_turns(&l);
        assert_true(l.w.bufs.nused <= 4);
        if (i % 3 == 0)
            got += hear(ssl, text, 20000, &over);
        if (got > size)
            break;
    }
    assert_true(got > size && !over);
    leave(ssl, fd);
    loop_stop(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_connection_holds_no_buffer),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(a_handshake_has_its_time),
        cmocka_unit_test(a_slow_reader_holds_few_buffers),
    };
    return unit_end(cmocka_run_group_tests(tests, make_certificate, remove_certificate));
}
