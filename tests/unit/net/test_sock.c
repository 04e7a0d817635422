#include "lib/net/sock.h"

#include "lib/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[100], text[128];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/offshoot-sock-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/s", dir);
    snprintf(text, sizeof(text), "unix:%s", path);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static struct addr addr_of(const char *s)
{
    struct addr a;
    struct err e = {0};
    if (addr_parse(str_c(s), true, &a, &e))
        fail_msg("%s", e.text);
    return a;
}

static int listen_on(const struct addr *a, bool reuseport)
{
    struct err e = {0};
    int fd = sock_listen(a, reuseport, 16, 0600, &e);
    if (fd < 0)
        fail_msg("%s", e.text);
    return fd;
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {fd, events, 0};
    assert_int_equal(poll(&p, 1, 5000), 1);
}

static void listen_fails(const struct addr *a, int code, const char *expected)
{
    struct err e = {0};
    assert_int_equal(sock_listen(a, false, 16, 0600, &e), code);
    assert_string_equal(e.text, expected);
}

static void check_flags(int fd)
{
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void meet(const char *listen_text)
{
    struct addr a = addr_of(listen_text), bound, peer, own;
    int listener = listen_on(&a, false), on = 0;
    socklen_t len = sizeof(on);
    bool pending = false;
    assert_int_equal(sock_name(listener, &bound), 0);
    assert_int_equal(bound.kind, a.kind);
    assert_int_not_equal(bound.port, 0);
    assert_int_equal(sock_accept(listener, &peer), -EAGAIN);
    int client = sock_connect(&bound, &pending);
    assert_true(client >= 0);
    wait_for(listener, POLLIN);
    int server = sock_accept(listener, &peer);
    assert_true(server >= 0);
    wait_for(client, POLLOUT);
    assert_int_equal(sock_error(client), 0);
    assert_int_equal(sock_name(client, &own), 0);
    assert_true(addr_eq(&own, &peer));
    check_flags(listener);
    check_flags(client);
    check_flags(server);
    assert_int_equal(getsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_true(on);
    assert_int_equal(getsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_true(on);
    unsigned uid, gid;
    assert_true(sock_peer_ids(server, &uid, &gid) < 0);
    close(client);
    close(server);
    close(listener);
}

static void tcp_ends_meet(void **state)
{
    (void)state;
    meet("127.0.0.1:0");
    meet("[::1]:0");
}

static void unix_ends_meet_and_know_each_other(void **state)
{
    (void)state;
    struct addr a = addr_of(text), peer;
    struct stat st;
    bool pending = true;
    mode_t old = umask(0);
    int listener = sock_listen(&a, false, 16, 0660, NULL);
    umask(old);
    assert_true(listener >= 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    int client = sock_connect(&a, &pending);
    assert_true(client >= 0);
    assert_false(pending);
    int server = sock_accept(listener, &peer);
    assert_true(server >= 0);
    assert_int_equal(peer.kind, ADDR_UNIX);
    unsigned uid = 12345, gid = 12345;
    assert_int_equal(sock_peer_ids(server, &uid, &gid), 0);
    assert_int_equal(uid, geteuid());
    assert_int_equal(gid, getegid());
    close(client);
    close(server);
    close(listener);
}

static void the_mode_does_not_depend_on_the_umask(void **state)
{
    (void)state;
    struct addr a = addr_of(text);
    struct stat st;
    mode_t old = umask(0777);
    int fd = sock_listen(&a, false, 16, 0660, NULL);
    umask(old);
    assert_true(fd >= 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    close(fd);
}

static void a_stale_unix_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    (void)state;
    struct addr a = addr_of(text);
    char expected[200];
    struct err e = {0};
    int first = listen_on(&a, false);
    snprintf(expected, sizeof(expected), "cannot listen on '%s': Address already in use", text);
    listen_fails(&a, -EADDRINUSE, expected);
    assert_int_equal(sock_probe(&a, &e), -EADDRINUSE);
    assert_string_equal(e.text, expected);
    close(first);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(sock_probe(&a, &e), 0);
    close(listen_on(&a, false));
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
    (void)state;
    struct addr a = addr_of(text);
    struct stat st;
    char expected[200];
    close(open(path, O_CREAT | O_WRONLY, 0600));
    snprintf(expected, sizeof(expected), "cannot listen on '%s': Address already in use", text);
    listen_fails(&a, -EADDRINUSE, expected);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
}

static void tcp_addresses_in_use_are_named(void **state)
{
    (void)state;
    struct addr a = addr_of("127.0.0.1:0"), bound;
    char expected[100];
    struct err e = {0};
    int fd = listen_on(&a, false);
    assert_int_equal(sock_name(fd, &bound), 0);
    snprintf(expected, sizeof(expected), "cannot listen on '127.0.0.1:%u': Address already in use",
        bound.port);
    listen_fails(&bound, -EADDRINUSE, expected);
    assert_int_equal(sock_probe(&bound, &e), -EADDRINUSE);
    assert_string_equal(e.text, expected);
    close(fd);
    assert_int_equal(sock_probe(&bound, &e), 0);
}

static void reuseport_shares_an_address_and_probe_still_sees_it(void **state)
{
    (void)state;
    struct addr a = addr_of("127.0.0.1:0"), bound;
    struct err e;
    int first = listen_on(&a, true);
    assert_int_equal(sock_name(first, &bound), 0);
    int second = listen_on(&bound, true);
    assert_int_equal(sock_probe(&bound, &e), -EADDRINUSE);
    close(first);
    close(second);
}

static void both_wildcards_can_have_one_port(void **state)
{
    (void)state;
    struct addr a = addr_of("0.0.0.0:0"), b = addr_of("[::]:1"), bound;
    int first = listen_on(&a, false);
    assert_int_equal(sock_name(first, &bound), 0);
    b.port = bound.port;
    close(listen_on(&b, false));
    close(first);
}

static void names_cannot_be_listened_on(void **state)
{
    (void)state;
    struct addr a = addr_of("host.example:80");
    bool pending = true;
    listen_fails(&a, -EAFNOSUPPORT,
        "cannot listen on 'host.example:80': Address family not supported by protocol");
    assert_int_equal(sock_connect(&a, &pending), -EAFNOSUPPORT);
    assert_true(pending);
    assert_int_equal(sock_probe(&a, NULL), -EAFNOSUPPORT);
}

static void a_refused_connect_says_so(void **state)
{
    (void)state;
    struct addr a = addr_of("127.0.0.1:0"), bound;
    bool pending = false;
    int fd = listen_on(&a, false);
    assert_int_equal(sock_name(fd, &bound), 0);
    close(fd);
    fd = sock_connect(&bound, &pending);
    if (fd >= 0) {
        wait_for(fd, POLLOUT);
        assert_int_equal(sock_error(fd), -ECONNREFUSED);
        assert_int_equal(sock_error(fd), 0); /* asked and cleared */
        close(fd);
    } else {
        assert_int_equal(fd, -ECONNREFUSED);
    }
    a = addr_of(text);
    assert_int_equal(sock_connect(&a, &pending), -ENOENT);
}

static void bad_descriptors_are_errors(void **state)
{
    (void)state;
    struct addr a;
    unsigned uid, gid;
    assert_int_equal(sock_accept(-1, &a), -EBADF);
    assert_int_equal(sock_name(-1, &a), -EBADF);
    assert_int_equal(sock_error(-1), -EBADF);
    assert_int_equal(sock_peer_ids(-1, &uid, &gid), -EBADF);
}

static void the_limit_of_descriptors_is_raised(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(sock_raise_fd_limit(), limit.rlim_max);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(limit.rlim_cur, limit.rlim_max);
}

static int nothing_lives(void **state)
{
    (void)state;
    return mem_live() == 0 ? 0 : -1;
}

#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_ends_meet),
        IN_DIR(unix_ends_meet_and_know_each_other),
        IN_DIR(the_mode_does_not_depend_on_the_umask),
        IN_DIR(a_stale_unix_socket_is_replaced_and_a_live_one_is_not),
        IN_DIR(a_file_that_is_no_socket_is_left_alone),
        cmocka_unit_test(tcp_addresses_in_use_are_named),
        cmocka_unit_test(reuseport_shares_an_address_and_probe_still_sees_it),
        cmocka_unit_test(both_wildcards_can_have_one_port),
        cmocka_unit_test(names_cannot_be_listened_on),
        IN_DIR(a_refused_connect_says_so),
        cmocka_unit_test(bad_descriptors_are_errors),
        cmocka_unit_test(the_limit_of_descriptors_is_raised),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
