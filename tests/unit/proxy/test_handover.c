/* Messages between an old proxy process and its successor: text, and packets with descriptors. */
#include "proxy/handover.h"
#include "proxy/inherit.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const good[] = {"hello 1 0 4711", "hello 1 4294967295 0",
    "listen 0 127.0.0.1:80", "endpoint 1 10.0.0.1:80 new disk", "listen 17 unix:/tmp/a b",
    "admin /run/x.sock", "metrics [::1]:9", "lock", "tickets", "errors", "end", "state", "ready 0",
    "ready 1", "go", "serving"};

static const char *const bad[] = {"", " ", "hello", "hello 1", "hello 1 0", "hello 1 0 ",
    "hello 1 0 5 6", "hello 01 0 5", "hello -1 0 5", "hello 1  0 5", "hello 4294967296 0 5",
    "hello 99999999999 0 5", "hello x 0 5", "listen", "listen 0", "listen 0 ", "listen x a",
    "endpoint", "endpoint 0", "endpoint x 10.0.0.1:80", "admin", "admin ", "lock 1", "end ",
    "ready", "ready x", "ready 1 1", "go go", "Go", "nonsense", "admin a\nb", "admin a\x7f"};

static void what_is_read_is_written_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct handover m;
        struct err e = {0};
        char out[HANDOVER_MESSAGE_MAX];
        assert_int_equal(handover_parse(str_c(good[i]), &m, &e), 0);
        size_t n = handover_format(&m, out);
        assert_str(str_of(out, n), good[i]);
    }
}

static void what_is_no_message_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct handover m;
        struct err e = {0};
        if (handover_parse(str_c(bad[i]), &m, &e) != -EPROTO)
            fail_msg("taken: '%s'", bad[i]);
        assert_int_equal(e.code, -EPROTO);
        assert_int_equal(strncmp(e.text, "hand-over: ", 11), 0);
    }
}

static void keys_have_a_bound(void **state)
{
    (void)state;
    char text[HANDOVER_MESSAGE_MAX + 2] = "admin ", out[HANDOVER_MESSAGE_MAX];
    struct handover m;
    memset(text + 6, 'x', sizeof text - 6);
    assert_int_equal(handover_parse(str_of(text, 6 + HANDOVER_KEY_MAX), &m, NULL), 0);
    assert_int_equal(handover_format(&m, out), 6 + HANDOVER_KEY_MAX);
    assert_int_equal(handover_parse(str_of(text, 7 + HANDOVER_KEY_MAX), &m, NULL), -EPROTO);
    assert_int_equal(handover_parse(str_of(text, sizeof text), &m, NULL), -EPROTO);
    m = (struct handover){.kind = HANDOVER_ADMIN, .key = str_of(text, 1 + HANDOVER_KEY_MAX)};
    assert_int_equal(handover_format(&m, out), 0);
    m.key = STR("a\nb");
    assert_int_equal(handover_format(&m, out), 0);
}

static int pair[2];

static int setup(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
    return 0;
}

static int receive(struct handover *m, int *fd, struct err *e)
{
    static char room[HANDOVER_MESSAGE_MAX + 1];
    return handover_receive(pair[1], room, m, fd, e);
}

static void descriptors_come_along(void **state)
{
    (void)state;
    struct handover m = {.kind = HANDOVER_LISTEN, .number = 3, .key = STR("127.0.0.1:80")};
    struct err e = {0};
    int fd = -1;
    assert_int_equal(receive(&m, &fd, &e), -EAGAIN);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(handover_send(pair[0], &m, null), 0);
    close(null);
    m = (struct handover){0};
    assert_int_equal(receive(&m, &fd, &e), 0);
    assert_int_equal(m.kind, HANDOVER_LISTEN);
    assert_int_equal(m.number, 3);
    assert_str(m.key, "127.0.0.1:80");
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    close(pair[0]);
    pair[0] = -1;
    assert_int_equal(receive(&m, &fd, &e), -ENOTCONN);
}

/* One where there must be none, none where there must be one, two. */
static void the_wrong_number_of_descriptors(void **state)
{
    (void)state;
    struct handover lock = {.kind = HANDOVER_LOCK}, go = {.kind = HANDOVER_GO}, m;
    struct err e = {0};
    int fd = -1, before = dup(0);
    close(before);
    assert_int_equal(handover_send(pair[0], &lock, -1), 0);
    assert_int_equal(receive(&m, &fd, &e), -EPROTO);
    assert_string_equal(e.text, "hand-over: 'lock' with 0 descriptors");
    assert_int_equal(handover_send(pair[0], &go, 0), 0);
    assert_int_equal(receive(&m, &fd, &e), -EPROTO);
    assert_string_equal(e.text, "hand-over: 'go' with 1 descriptors");
    int after = dup(0); /* nothing was kept */
    assert_int_equal(after, before);
    close(after);
    assert_int_equal(fd, -1);
}

static void packets_that_are_too_large(void **state)
{
    (void)state;
    struct handover m;
    struct err e = {0};
    char text[HANDOVER_MESSAGE_MAX + 10];
    int fd = -1;
    memset(text, 'x', sizeof text);
    assert_int_equal(send(pair[0], text, sizeof text, 0), sizeof text);
    assert_int_equal(receive(&m, &fd, &e), -EPROTO);
    assert_string_equal(e.text, "hand-over: a message that is too large");
}

/* ---- the new process's side ---- */

static int listening(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void say(const char *text, int fd)
{
    struct handover m;
    assert_int_equal(handover_parse(str_c(text), &m, NULL), 0);
    assert_int_equal(handover_send(pair[0], &m, fd), 0);
}

/* What inherit_take makes of what was said; the error's text. */
static int take(struct inherit **ret, struct err *e)
{
    char number[16];
    int fd = dup(pair[1]); /* it becomes the callee's */
    snprintf(number, sizeof number, "%d", fd);
    setenv(HANDOVER_ENV, number, 1);
    *e = (struct err){0};
    return inherit_take(ret, 100, e);
}

static void a_process_that_was_not_started_by_an_upgrade(void **state)
{
    (void)state;
    struct inherit *i = NULL;
    struct err e = {0};
    unsetenv(HANDOVER_ENV);
    assert_int_equal(inherit_take(&i, 100, &e), 0);
    assert_null(i);
    assert_int_equal(inherit_count(NULL, HANDOVER_LISTEN, 0, STR("x")), 0);
    assert_int_equal(inherit_socket(NULL, HANDOVER_LISTEN, 0, STR("x")), -1);
    assert_int_equal(inherit_lock(NULL, 0), -1);
    static const char *const not_sockets[] = {"", "x", "0", "-1", "99999", "3x"};
    for (size_t n = 0; n < sizeof not_sockets / sizeof not_sockets[0]; n++) {
        setenv(HANDOVER_ENV, not_sockets[n], 1);
        assert_int_equal(inherit_take(&i, 100, &e), -EINVAL);
        assert_null(getenv(HANDOVER_ENV));
    }
}

static void what_is_handed_over_is_taken_once(void **state)
{
    (void)state;
    struct inherit *i = NULL;
    struct err e = {0};
    int a = listening(), b = listening(), lock = open("/dev/null", O_RDONLY | O_CLOEXEC);
    say("hello 1 7 4711", -1);
    say("listen 0 127.0.0.1:0", a);
    say("listen 0 127.0.0.1:0", b);
    say("listen 1 127.0.0.1:0", b);
    say("lock", lock);
    say("end", -1);
    assert_int_equal(take(&i, &e), 0);
    assert_int_equal(inherit_generation(i), 7);
    assert_int_equal(inherit_from(i), 4711);
    assert_int_equal(inherit_count(i, HANDOVER_LISTEN, 0, STR("127.0.0.1:0")), 2);
    assert_int_equal(inherit_count(i, HANDOVER_LISTEN, 1, STR("127.0.0.1:0")), 1);
    assert_int_equal(inherit_count(i, HANDOVER_METRICS, 0, STR("127.0.0.1:0")), 0);
    int first = inherit_socket(i, HANDOVER_LISTEN, 0, STR("127.0.0.1:0"));
    int second = inherit_socket(i, HANDOVER_LISTEN, 0, STR("127.0.0.1:0"));
    assert_true(first >= 0 && second >= 0 && first != second);
    assert_int_equal(inherit_socket(i, HANDOVER_LISTEN, 0, STR("127.0.0.1:0")), -1);
    assert_int_equal(inherit_lock(i, a), -1); /* of another file */
    int own = inherit_lock(i, lock);
    assert_true(own >= 0);
    assert_int_equal(inherit_lock(i, lock), -1);
    assert_int_equal(inherit_state(i, &e), -ETIMEDOUT);
    const int all[] = {a, b, lock, first, second, own};
    for (size_t n = 0; n < sizeof all / sizeof all[0]; n++)
        close(all[n]);
    inherit_free(i);
}

/* Each thing that may not be said, and what is told of it. */
static void what_is_not_sound_is_refused(void **state)
{
    (void)state;
    int tcp = listening(), other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct {
        const char *text;
        int fd;
        const char *why;
    } cases[] = {
        {"listen 0 127.0.0.1:1", tcp, "hand-over: 'listen' is not at '127.0.0.1:1'"},
        {"listen 0 [::1]:0", tcp, "hand-over: 'listen' is not of '[::1]:0'"},
        {"listen 0 nonsense", tcp, "hand-over: 'listen' is not of 'nonsense'"},
        {"listen 0 127.0.0.1:0", other, "hand-over: 'listen' is not a listening socket"},
        {"listen 0 127.0.0.1:0", pair[0], "hand-over: 'listen' is not a listening socket"},
        {"listen 1024 127.0.0.1:0", tcp, "hand-over: too many sockets"},
        {"ready 1", -1, "hand-over: 'ready' among the sockets"},
        {"hello 1 0 5", -1, "hand-over: 'hello' among the sockets"},
    };
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        struct inherit *i = NULL;
        struct err e;
        say("hello 1 1 1", -1);
        say(cases[n].text, cases[n].fd);
        assert_true(take(&i, &e) < 0);
        assert_null(i);
        assert_string_equal(e.text, cases[n].why);
    }
    struct inherit *i = NULL;
    struct err e;
    say("hello 1 1 1", -1);
    say("lock", tcp);
    say("lock", tcp);
    assert_int_equal(take(&i, &e), -EPROTO);
    assert_string_equal(e.text, "hand-over: 'lock' twice");
    say("hello 2 1 1", -1);
    assert_int_equal(take(&i, &e), -EPROTO);
    assert_string_equal(e.text, "hand-over: the old process speaks version 2, this one 1");
    assert_int_equal(take(&i, &e), -ETIMEDOUT);
    close(pair[0]);
    pair[0] = -1;
    assert_true(take(&i, &e) < 0);
    close(tcp);
    close(other);
}

/* Memory that is out at any moment is told, and nothing is left behind. */
static void every_allocation_fails_once(void **state)
{
    (void)state;
    int tcp = listening();
    bool whole = false;
    for (unsigned long n = 1; !whole; n++) {
        struct inherit *i = NULL;
        struct err e;
        assert_true(n < 100);
        say("hello 1 1 1", -1);
        for (unsigned k = 0; k < 20; k++)
            say("listen 0 127.0.0.1:0", tcp);
        say("end", -1);
        mem_fail_nth(n);
        int rc = take(&i, &e);
        mem_fail_nth(0);
        whole = rc == 0;
        if (!whole)
            assert_int_equal(rc, -ENOMEM);
        inherit_free(i);
        char rest[HANDOVER_MESSAGE_MAX];
        while (recv(pair[0], rest, sizeof rest, MSG_DONTWAIT) > 0)
            ;
        while (recv(pair[1], rest, sizeof rest, MSG_DONTWAIT) > 0)
            ;
    }
    close(tcp);
}

int main(void)
{
#define PAIRED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_written_again),
        cmocka_unit_test(what_is_no_message_is_named),
        cmocka_unit_test(keys_have_a_bound),
        PAIRED(descriptors_come_along),
        PAIRED(the_wrong_number_of_descriptors),
        PAIRED(packets_that_are_too_large),
        cmocka_unit_test(a_process_that_was_not_started_by_an_upgrade),
        PAIRED(what_is_handed_over_is_taken_once),
        PAIRED(what_is_not_sound_is_refused),
        PAIRED(every_allocation_fails_once),
    };
    return unit_run(tests);
}
