#include "lib/net/grpc.h"

#include "tests/unit/net/grpc_fixture.h"
#include <sys/socket.h>

/* ---- calls ---- */

static void a_call_goes_there_and_back(void **state)
{
    struct fixture f;
    struct stat st;
    (void)state;
    set_up(&f);
    start_server(&f, NULL, NULL);
    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    start_client(&f);
    until(&f, f.messages == 1);
    assert_int_equal(f.ups, 1);
    assert_string_equal(f.last, "hello");
    assert_false(f.peer_tls);
    grpc_half_close(f.st);
    grpc_client_flush(f.client);
    until(&f, f.ends == 1 && f.server_ends == 1);
    assert_int_equal(f.status, GRPC_OK);
    assert_string_equal(f.text, "100 % \"done\"");
    assert_int_equal(f.server_status, GRPC_OK);
    assert_int_equal(grpc_server_counts(f.server).calls, 1);
    assert_int_equal(grpc_server_counts(f.server).connections_now, 1);
    tear_down(&f);
}

static void a_method_may_refuse_and_an_unknown_one_is_unimplemented(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    f.call = "/test.Echo/Refuse";
    start_server(&f, "127.0.0.1:0", NULL);
    start_client(&f);
    until(&f, f.ends == 1);
    assert_int_equal(f.status, GRPC_PERMISSION_DENIED);
    assert_string_equal(f.text, "not for you");
    call(&f, "/test.Echo/Nothing", NULL);
    grpc_client_flush(f.client);
    until(&f, f.ends == 2);
    assert_int_equal(f.status, GRPC_UNIMPLEMENTED);
    assert_int_equal(f.server_ends, 0);
    tear_down(&f);
}

static void a_server_sends_from_outside_of_callbacks(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    start_server(&f, NULL, NULL);
    start_client(&f);
    until(&f, f.messages == 1);
    assert_int_equal(grpc_send(f.server_st, STR("news")), 0);
    grpc_flush(f.server_st);
    until(&f, f.messages == 2);
    assert_string_equal(f.last, "news");
    grpc_finish(f.server_st, GRPC_ABORTED, STR("enough"));
    grpc_flush(f.server_st);
    until(&f, f.ends == 1);
    assert_int_equal(f.status, GRPC_ABORTED);
    assert_string_equal(f.text, "enough");
    tear_down(&f);
}

static void what_flows_is_all_that_was_sent(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    f.flood = 2000; /* 32 MiB */
    f.call = "/test.Echo/Flood";
    start_server(&f, NULL, NULL);
    start_client(&f);
    until(&f, f.ends == 1);
    assert_int_equal(f.messages, 2000);
    assert_int_equal(f.status, GRPC_OK);
    tear_down(&f);
}

/* ---- connections of a server ---- */

static int raw_client(const struct fixture *f)
{
    struct addr a = addr_of(f->target);
    bool pending;
    int fd = sock_connect(&a, &pending);
    assert_true(fd >= 0);
    return fd;
}

static bool is_closed(int fd)
{
    char buf[4096];
    ssize_t n = 1;
    while (n > 0)
        n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
    return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static void connections_above_the_limit_are_closed_and_counted(void **state)
{
    struct fixture f;
    int fd[8];
    (void)state;
    set_up(&f);
    f.server_options.connections = 4;
    start_server(&f, "127.0.0.1:0", NULL);
    for (int i = 0; i < 8; i++)
        fd[i] = raw_client(&f);
    until(&f, grpc_server_counts(f.server).accepted == 8);
    assert_int_equal(grpc_server_counts(f.server).refused, 4);
    assert_int_equal(grpc_server_counts(f.server).connections_now, 4);
    unsigned closed = 0;
    for (int i = 0; i < 8; i++) {
        closed += is_closed(fd[i]);
        close(fd[i]);
    }
    assert_int_equal(closed, 4);
    assert_non_null(strstr(log_text(&f), "there are as many as may be"));
    until(&f, grpc_server_counts(f.server).connections_now == 0);
    start_client(&f);
    until(&f, f.messages == 1);
    tear_down(&f);
}

static void who_makes_no_call_in_time_is_closed(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    f.server_options.handshake_ms = 30;
    start_server(&f, NULL, NULL);
    int fd = raw_client(&f);
    until(&f, is_closed(fd));
    close(fd);
    assert_int_equal(grpc_server_counts(f.server).timed_out, 1);
    start_client(&f); /* with a call it may stay */
    until(&f, f.messages == 1);
    for (int i = 0; i < 5; i++)
        turn(&f);
    assert_int_equal(f.downs, 0);
    tear_down(&f);
}

static void what_is_no_http2_is_closed(void **state)
{
    struct fixture f;
    static const char request[] = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";
    (void)state;
    set_up(&f);
    start_server(&f, NULL, NULL);
    int fd = raw_client(&f);
    assert_int_equal(send(fd, request, sizeof(request) - 1, 0), sizeof(request) - 1);
    until(&f, is_closed(fd));
    close(fd);
    tear_down(&f);
}

/* A client by the codec alone, which does nothing that the test does not ask for. */
static void raw_message(struct grpc_stream *st, struct str message, void *arg)
{
    unsigned *n = arg;
    (void)st;
    (void)message;
    (*n)++;
}

static void raw_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    (void)st;
    (void)status;
    (void)text;
    (void)arg;
}

static const struct grpc_events raw_events = {.on_message = raw_message, .on_end = raw_end};

static void write_all(struct grpc_session *session, int fd)
{
    const uint8_t *p;
    ssize_t n;
    while ((n = grpc_session_produce(session, &p)) > 0)
        assert_int_equal(send(fd, p, (size_t)n, 0), n);
}

static struct grpc_session *raw_session(unsigned *messages, int fd, const char *path)
{
    static const struct grpc_limits limits = GRPC_LIMITS_DEFAULT;
    struct grpc_session *session = grpc_session_new(false, &limits, &raw_events, messages);
    assert_non_null(session);
    struct grpc_stream *st = grpc_call(session, STR("test"), str_c(path));
    assert_non_null(st);
    assert_int_equal(grpc_send(st, STR("go")), 0);
    write_all(session, fd);
    return session;
}

static void a_dead_peer_is_closed_and_a_live_one_is_not(void **state)
{
    struct fixture f;
    unsigned messages = 0;
    (void)state;
    set_up(&f);
    f.server_options.ping_ms = 100;
    start_server(&f, NULL, NULL);
    start_client(&f); /* answers pings */
    until(&f, f.messages == 1);
    int fd = raw_client(&f);
    struct grpc_session *session = raw_session(&messages, fd, "/test.Echo/Each");
    until(&f, f.server_ends == 1); /* it is silent */
    assert_int_equal(f.server_status, GRPC_CANCELLED);
    assert_true(is_closed(fd));
    assert_int_equal(grpc_server_counts(f.server).timed_out, 1);
    assert_non_null(strstr(log_text(&f), "no answer to a ping"));
    assert_int_equal(f.downs, 0);
    grpc_session_free(session);
    close(fd);
    tear_down(&f);
}

static void a_client_that_never_reads_is_bounded(void **state)
{
    struct fixture f;
    unsigned messages = 0, still = 0;
    (void)state;
    set_up(&f);
    f.flood = 4096; /* 64 MiB */
    start_server(&f, NULL, NULL);
    int fd = raw_client(&f);
    struct grpc_session *session = raw_session(&messages, fd, "/test.Echo/Flood");
    until(&f, f.flood < 4096);
    for (unsigned was = 0; still < 10; still = was == f.flood ? still + 1 : 0) {
        was = f.flood;
        turn(&f);
    }
    /* The window of HTTP/2, the queue of the stream, output and kernel hold 4 MiB at most. */
    assert_true(4096 - f.flood < 256);
    uint8_t buf[65536];
    while (messages < 4096) { /* now it reads */
        ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
        assert_true(n > 0 || errno == EAGAIN);
        if (n > 0)
            assert_int_equal(grpc_session_feed(session, str_of((char *)buf, (size_t)n), NULL), 0);
        write_all(session, fd);
        turn(&f);
    }
    grpc_session_free(session);
    close(fd);
    tear_down(&f);
}

static void a_shutdown_lets_calls_finish_and_takes_no_more(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    start_server(&f, "127.0.0.1:0", NULL);
    int idle = raw_client(&f);
    start_client(&f);
    until(&f, f.messages == 1 && grpc_server_counts(f.server).connections_now == 2);
    grpc_server_shutdown(f.server);
    grpc_server_shutdown(f.server);
    until(&f, is_closed(idle));
    close(idle);
    grpc_send(f.st, STR("more"));
    grpc_half_close(f.st);
    grpc_client_flush(f.client);
    until(&f, f.ends == 1);
    assert_int_equal(f.status, GRPC_OK);
    assert_string_equal(f.last, "more");
    until(&f, f.downs > 1);
    assert_non_null(strstr(f.why, "Connection refused"));
    assert_int_equal(f.ups, 1);
    tear_down(&f);
}

static void addresses_that_cannot_be_listened_on(void **state)
{
    static const struct {
        const char *text;
        int error;
    } cases[] = {
        {"0.0.0.0:0", -EPERM},
        {"[::]:0", -EPERM},
        {"192.0.2.1:0", -EPERM},
        {"unix:/nonexistent/socket", -ENOENT},
        {"localhost:1", -EINVAL},
        {"tunnel:x", -EINVAL},
    };
    struct fixture f;
    (void)state;
    set_up(&f);
    f.server = grpc_server_new(f.base, &f.server_options, methods, NMETHODS, &f, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = {0};
        struct addr a = addr_of(cases[i].text);
        assert_int_equal(grpc_server_listen(f.server, &a, NULL, false, NULL, &e), cases[i].error);
        assert_non_null(strstr(e.text, cases[i].text));
    }
    struct addr any = addr_of("0.0.0.0:0");
    assert_int_equal(grpc_server_listen(f.server, &any, NULL, true, &any, NULL), 0);
    assert_int_not_equal(any.port, 0);
    tear_down(&f);
}

/* Whatever runs out once: no crash, nothing lost, and in the end the call gets through. */
static void any_allocation_may_fail(void **state)
{
    (void)state;
    for (unsigned long n = 1;; n++) {
        struct fixture f;
        struct err e = {0};
        set_up(&f);
        f.server_options.ping_ms = 1000;
        mem_fail_nth(n);
        if (try_server(&f, NULL, NULL, &e) == 0)
            f.client =
                grpc_client_new(f.base, NULL, f.target, &f.client_options, &client_events, &f, &e);
        /* A call that ended without an answer is made again. */
        while (f.client && !f.messages) {
            turn(&f);
            if (!f.st && !f.messages && call(&f, f.call, "hello"))
                grpc_client_flush(f.client);
        }
        bool reached = mem_count() >= n;
        mem_fail_nth(0);
        assert_true(f.client || e.code == -ENOMEM);
        tear_down(&f);
        assert_int_equal(mem_live(), 0);
        if (!reached)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_goes_there_and_back),
        cmocka_unit_test(a_method_may_refuse_and_an_unknown_one_is_unimplemented),
        cmocka_unit_test(a_server_sends_from_outside_of_callbacks),
        cmocka_unit_test(what_flows_is_all_that_was_sent),
        cmocka_unit_test(connections_above_the_limit_are_closed_and_counted),
        cmocka_unit_test(who_makes_no_call_in_time_is_closed),
        cmocka_unit_test(what_is_no_http2_is_closed),
        cmocka_unit_test(a_dead_peer_is_closed_and_a_live_one_is_not),
        cmocka_unit_test(a_client_that_never_reads_is_bounded),
        cmocka_unit_test(a_shutdown_lets_calls_finish_and_takes_no_more),
        cmocka_unit_test(addresses_that_cannot_be_listened_on),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return unit_run(tests);
}
