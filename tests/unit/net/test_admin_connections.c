#include "lib/net/adminhttp.h"

#include "tests/unit/net/admin_client.h"

/* ---- connections ------------------------------------------------------------------------------
 */

static void one_connection_takes_many_requests(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    for (int i = 0; i < 200; i++) {
        struct reply r = ask(f, fd, REQUEST("GET /status"));
        assert_int_equal(r.status, 200);
        free(r.p);
    }
    send_bytes(f, fd, STR(REQUEST("GET /status") REQUEST("GET /env/two")));
    struct reply r = receive(f, fd, false);
    while (!memmem(r.p, r.n, "two", 3)) {
        struct reply more = receive(f, fd, false);
        assert_true(more.n > 0);
        free(r.p);
        r = more;
    }
    free(r.p);
    close(fd);
    stop(f);
}

static void requests_may_come_byte_by_byte_and_hold_up_nobody(void **state)
{
    struct fixture *f = start();
    static const char request[] = REQUEST("GET /status");
    (void)state;
    int slow = client(&f->unix_addr);
    for (size_t i = 0; i + 1 < sizeof(request); i++) {
        send_bytes(f, slow, str_of(request + i, 1));
        if (i % 8 == 0)
            answers(f, REQUEST("GET /status"), 200, NULL);
    }
    struct reply r = receive(f, slow, false);
    assert_int_equal(r.status, 200);
    free(r.p);
    close(slow);
    stop(f);
}

static void a_client_that_does_not_read_holds_up_nobody(void **state)
{
    struct fixture *f = start();
    (void)state;
    int slow = client(&f->unix_addr);
    send_bytes(f, slow, STR(REQUEST("GET /large")));
    turn(f, 10);
    answers(f, REQUEST("GET /status"), 200, NULL);
    struct reply r = receive(f, slow, false);
    assert_int_equal(r.nbody, 2000000);
    free(r.p);
    send_bytes(f, slow, STR(REQUEST("GET /large")));
    turn(f, 10);
    close(slow); /* with most of it unsent */
    turn(f, 10);
    answers(f, REQUEST("GET /status"), 200, NULL);
    stop(f);
}

static void the_idlest_connection_makes_room_for_the_65th(void **state)
{
    struct fixture *f = start();
    int fd[64];
    (void)state;
    for (int i = 0; i < 64; i++) {
        fd[i] = client(&f->tcp_addr);
        turn(f, 2);
    }
    for (int i = 0; i < 3; i++) {
        struct reply r = ask(f, fd[0], REQUEST("GET /status")); /* no longer the idlest */
        assert_int_equal(r.status, 200);
        free(r.p);
    }
    send_bytes(f, fd[1], STR(REQUEST("GET /later"))); /* being answered */
    turn(f, 3);
    assert_int_equal(f->nheld, 1);
    assert_int_equal(admin_shed(f->s), 0);
    answers(f, REQUEST("GET /status"), 200, NULL); /* the other listener has its own 64 */
    assert_int_equal(admin_shed(f->s), 0);
    int last = client(&f->tcp_addr);
    turn(f, 3);
    assert_int_equal(admin_shed(f->s), 1);
    struct reply r = receive(f, fd[2], false);
    assert_true(r.closed);
    free(r.p);
    r = ask(f, last, REQUEST("GET /status"));
    assert_int_equal(r.status, 200);
    free(r.p);
    r = ask(f, fd[0], REQUEST("GET /status"));
    assert_int_equal(r.status, 200);
    free(r.p);
    reply_text(f->held[0], "at last");
    r = receive(f, fd[1], false);
    assert_int_equal(r.status, 200);
    free(r.p);
    close(fd[2]);
    turn(f, 3);
    fd[2] = client(&f->tcp_addr); /* 65 again: 64 are live */
    turn(f, 3);
    assert_int_equal(admin_shed(f->s), 2);
    for (int i = 0; i < 64; i++)
        close(fd[i]);
    close(last);
    stop(f);
}

static void closed_connections_give_their_room_back(void **state)
{
    struct fixture *f = start();
    (void)state;
    for (int i = 0; i < 200; i++)
        answers(f, REQUEST("GET /status"), 200, NULL);
    assert_int_equal(admin_shed(f->s), 0);
    stop(f);
}

/* ---- replies that come later -------------------------------------------------------------------
 */

static void a_reply_may_come_later(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    send_bytes(f, fd, STR(REQUEST("GET /later?a=x")));
    turn(f, 5);
    assert_int_equal(f->nheld, 1);
    answers(f, REQUEST("GET /status"), 200, NULL);
    assert_string_equal(admin_param(f->held[0], "a"), "x");
    reply_text(f->held[0], "at last");
    struct reply r = receive(f, fd, false);
    assert_int_equal(r.status, 200);
    assert_memory_equal(r.body, "at last", 7);
    free(r.p);
    r = ask(f, fd, REQUEST("GET /status"));
    assert_int_equal(r.status, 200);
    free(r.p);
    close(fd);
    stop(f);
}

static void a_client_may_go_before_its_reply(void **state)
{
    struct fixture *f = start();
    (void)state;
    for (int how = 0; how < 4; how++) {
        const struct addr *a = how % 2 ? &f->tcp_addr : &f->unix_addr;
        int fd = client(a);
        f->nheld = 0;
        send_bytes(f, fd, STR(REQUEST("GET /later?a=x")));
        turn(f, 5);
        assert_int_equal(f->nheld, 1);
        if (how >= 2) { /* with bytes behind: a reset */
            struct linger hard = {1, 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
            send_bytes(f, fd, STR("GET /sta"));
        }
        close(fd);
        turn(f, 5);
        assert_string_equal(admin_param(f->held[0], "a"), "x"); /* its parts are still there */
        reply_text(f->held[0], "to nobody");
        turn(f, 5);
        answers(f, REQUEST("GET /status"), 200, NULL);
    }
    stop(f);
}

static void a_reply_that_is_not_read_goes_with_its_client(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    send_bytes(f, fd, STR(REQUEST("GET /later")));
    turn(f, 5);
    reply_text(f->held[0], "never read");
    close(fd);
    turn(f, 5);
    answers(f, REQUEST("GET /status"), 200, NULL);
    stop(f);
}

static void a_reply_may_come_after_the_server(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd[3];
    for (int i = 0; i < 3; i++) {
        fd[i] = client(i ? &f->unix_addr : &f->tcp_addr);
        send_bytes(f, fd[i], STR(REQUEST("GET /later?a=x")));
        turn(f, 5);
    }
    assert_int_equal(f->nheld, 3);
    close(fd[2]);
    turn(f, 5);
    admin_free(f->s);
    f->s = NULL;
    for (int i = 0; i < 3; i++) {
        assert_string_equal(admin_param(f->held[i], "a"), "x");
        if (i == 1)
            admin_error(f->held[i], 500, "nobody hears %d", i);
        else
            reply_text(f->held[i], "nobody hears");
    }
    turn(f, 5);
    close(fd[0]);
    close(fd[1]);
    stop(f);
}

static void a_waiting_request_may_be_shed(void **state)
{
    struct fixture *f = start();
    int fd[65];
    (void)state;
    for (int i = 0; i < 65; i++) {
        fd[i] = client(&f->tcp_addr);
        send_bytes(f, fd[i], STR(REQUEST("GET /later")));
        turn(f, 3);
    }
    assert_int_equal(admin_shed(f->s), 1);
    for (size_t i = 0; i < f->nheld; i++)
        reply_text(f->held[i], "at last");
    struct reply r = receive(f, fd[64], false);
    assert_int_equal(r.status, 200);
    free(r.p);
    for (int i = 0; i < 65; i++)
        close(fd[i]);
    stop(f);
}

static void requests_that_wait_are_bounded(void **state)
{
    struct fixture *f = start();
    int fd[140];
    (void)state;
    for (int i = 0; i < 140; i++) {
        fd[i] = client(&f->tcp_addr);
        send_bytes(f, fd[i], STR(REQUEST("GET /later")));
    }
    turn(f, 20);
    assert_int_equal(f->nheld, 128);
    for (size_t i = 0; i < 128; i++)
        reply_text(f->held[i], "at last");
    double end = seconds() + 10; /* room is looked for once a second */
    while (f->nheld < 140) {
        turn(f, 1);
        assert_true(seconds() < end);
    }
    for (size_t i = 128; i < 140; i++)
        reply_text(f->held[i], "at last");
    struct reply r = receive(f, fd[139], false);
    assert_int_equal(r.status, 200);
    free(r.p);
    for (int i = 0; i < 140; i++)
        close(fd[i]);
    stop(f);
}

/* ---- memory ------------------------------------------------------------------------------------
 */

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (unsigned long i = 1;; i++) {
        struct fixture *f = start();
        int fd = client(&f->unix_addr);
        mem_fail_nth(i);
        struct reply r = ask(f, fd, REQUEST("GET /echo?a=1"));
        unsigned long n = mem_count();
        mem_fail_nth(0);
        if (n >= i)
            failures++;
        assert_true(r.status == 200 || r.status == 503);
        free(r.p);
        answers(f, REQUEST("GET /status"), 200, NULL);
        close(fd);
        stop(f);
        assert_int_equal(mem_live(), 0);
        if (n < i)
            break;
    }
    assert_true(failures >= 4);
}

static void a_server_that_cannot_start_leaves_nothing(void **state)
{
    struct event_base *base = event_base_new();
    struct err e = {0};
    (void)state;
    for (unsigned long i = 1;; i++) {
        mem_fail_nth(i);
        struct admin_server *s = admin_new(base, routes, NROUTES, NULL, &e);
        int rc = s ? admin_listen_unix(s, path, NULL, &e) : e.code;
        mem_fail_nth(0);
        admin_free(s);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(mem_live(), 0);
        if (!rc)
            break;
        assert_int_equal(rc, -ENOMEM);
    }
    event_base_free(base);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        IN_DIR(one_connection_takes_many_requests),
        IN_DIR(requests_may_come_byte_by_byte_and_hold_up_nobody),
        IN_DIR(a_client_that_does_not_read_holds_up_nobody),
        IN_DIR(the_idlest_connection_makes_room_for_the_65th),
        IN_DIR(closed_connections_give_their_room_back),
        IN_DIR(a_reply_may_come_later),
        IN_DIR(a_client_may_go_before_its_reply),
        IN_DIR(a_reply_that_is_not_read_goes_with_its_client),
        IN_DIR(a_reply_may_come_after_the_server),
        IN_DIR(a_waiting_request_may_be_shed),
        IN_DIR(requests_that_wait_are_bounded),
        IN_DIR(every_failed_allocation_is_survived),
        IN_DIR(a_server_that_cannot_start_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
