/* Replies of the admin server whose end is open. */
#include "lib/net/adminhttp.h"

#include "tests/unit/net/admin_client.h"

/* A request that is held, and streams from then on. */
static struct admin_request *begin(struct fixture *f, int fd, const char *request)
{
    send_bytes(f, fd, str_c(request));
    for (int i = 0; f->nheld == 0; i++) {
        assert_true(i < 1000);
        turn(f, 1);
    }
    struct admin_request *r = f->held[--f->nheld];
    return admin_stream_begin(r, "text/x-lines") ? r : NULL;
}

/* What has come by now. */
static const char *received(struct fixture *f, int fd)
{
    static char text[65536];
    size_t n = 0;
    for (int i = 0; i < 50; i++) {
        turn(f, 1);
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, MSG_DONTWAIT);
        n += got > 0 ? (size_t)got : 0;
    }
    text[n] = '\0';
    return text;
}

static void pieces_arrive_as_they_are_told(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    struct admin_request *r = begin(f, fd, REQUEST("GET /later"));
    assert_non_null(r);
    const char *head = received(f, fd);
    assert_non_null(strstr(head, " 200 "));
    assert_non_null(strstr(head, "Content-Type: text/x-lines\r\n"));
    assert_non_null(strstr(head, "Transfer-Encoding: chunked\r\n"));
    admin_stream_add(r, STR("one\n"));
    admin_stream_add(r, STR(""));
    assert_string_equal(received(f, fd), "4\r\none\n\r\n");
    admin_stream_add(r, STR("three\n"));
    assert_string_equal(received(f, fd), "6\r\nthree\n\r\n");
    assert_false(admin_stream_gone(r));
    answers(f, REQUEST("GET /status"), 200, NULL);
    admin_stream_end(r);
    assert_string_equal(received(f, fd), "0\r\n\r\n");
    char byte;
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0); /* and the connection ends */
    close(fd);
    stop(f);
}

static void a_client_that_goes_is_noticed(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    struct admin_request *r = begin(f, fd, REQUEST("GET /later"));
    received(f, fd);
    close(fd);
    for (int i = 0; !admin_stream_gone(r); i++) {
        assert_true(i < 1000);
        turn(f, 1);
    }
    admin_stream_add(r, STR("nobody hears it\n"));
    assert_int_equal(admin_stream_waiting(r), 0);
    admin_stream_end(r);
    stop(f);
}

static void what_is_not_taken_can_be_seen(void **state)
{
    struct fixture *f = start();
    static char much[100000];
    (void)state;
    memset(much, 'x', sizeof much);
    int fd = client(&f->unix_addr);
    struct admin_request *r = begin(f, fd, REQUEST("GET /later"));
    received(f, fd);
    assert_int_equal(admin_stream_waiting(r), 0);
    for (int i = 0; i < 20; i++) {
        admin_stream_add(r, str_of(much, sizeof much));
        turn(f, 2);
    }
    assert_true(admin_stream_waiting(r) > 1000000);
    while (admin_stream_waiting(r))
        received(f, fd);
    close(fd);
    turn(f, 10);
    admin_stream_end(r);
    stop(f);
}

static void a_head_has_no_stream(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    assert_null(begin(f, fd, REQUEST("HEAD /later")));
    assert_non_null(strstr(received(f, fd), " 200 "));
    close(fd);
    stop(f);
}

static void who_has_gone_before_is_noticed(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    send_bytes(f, fd, STR(REQUEST("GET /later")));
    turn(f, 10);
    assert_int_equal(f->nheld, 1);
    close(fd);
    turn(f, 10);
    if (admin_stream_begin(f->held[0], "text/plain")) { /* it is seen when something is told */
        for (int i = 0; !admin_stream_gone(f->held[0]); i++) {
            assert_true(i < 1000);
            admin_stream_add(f->held[0], STR("anybody?\n"));
            turn(f, 1);
        }
        admin_stream_end(f->held[0]);
    }
    stop(f);
}

static void a_stream_may_end_after_the_server(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    struct admin_request *r = begin(f, fd, REQUEST("GET /later"));
    received(f, fd);
    admin_free(f->s);
    f->s = NULL;
    assert_true(admin_stream_gone(r));
    admin_stream_add(r, STR("late\n"));
    admin_stream_end(r);
    close(fd);
    stop(f);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        IN_DIR(pieces_arrive_as_they_are_told),
        IN_DIR(a_client_that_goes_is_noticed),
        IN_DIR(what_is_not_taken_can_be_seen),
        IN_DIR(a_head_has_no_stream),
        IN_DIR(who_has_gone_before_is_noticed),
        IN_DIR(a_stream_may_end_after_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
