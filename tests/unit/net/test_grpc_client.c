#include "lib/net/dns.h"
#include "lib/net/grpc.h"
#include "tests/unit/net/grpc_fixture.h"
#include <sys/socket.h>

static void stop_server(struct fixture *f)
{
    grpc_server_free(f->server);
    f->server = NULL;
}

static void it_connects_again_when_the_server_comes_back(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    start_client(&f);
    until(&f, f.downs == 3);
    assert_int_equal(f.ups, 0);
    assert_non_null(strstr(f.why, "cannot connect to 'unix:"));
    for (unsigned i = 1; i <= 3; i++) {
        start_server(&f, NULL, NULL);
        until(&f, f.messages == i);
        assert_int_equal(f.ups, i);
        unsigned downs = f.downs;
        stop_server(&f);
        until(&f, f.downs > downs);
        assert_int_equal(f.ends, i); /* before on_down */
        assert_int_equal(f.status, GRPC_UNAVAILABLE);
    }
    tear_down(&f);
}

static void waits_grow_to_the_longest_and_are_jittered(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    f.client_options.backoff_ms = 4;
    f.client_options.backoff_max_ms = 20;
    start_client(&f);
    for (unsigned i = 1, all = 4; i < 12; i++, all = all < 10 ? all * 2 : 20) {
        until(&f, f.downs == i);
        assert_in_range(f.retry_ms, all / 2, all);
    }
    tear_down(&f);
}

static void asked_to_try_again_it_does_not_wait(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    f.client_options.backoff_ms = f.client_options.backoff_max_ms = 3600000;
    start_client(&f);
    until(&f, f.downs == 1);
    start_server(&f, NULL, NULL);
    grpc_client_again(f.client);
    until(&f, f.messages == 1);
    grpc_client_again(f.client); /* up: closes */
    assert_null(grpc_client_session(f.client));
    until(&f, f.downs == 2);
    assert_string_equal(f.why, "closed to connect anew");
    assert_int_equal(f.ends, 1);
    grpc_client_again(f.client);
    until(&f, f.messages == 2);
    tear_down(&f);
}

/* Takes connections and says nothing. */
static int mute_listener(struct fixture *f)
{
    struct addr any = addr_of("127.0.0.1:0"), bound;
    int fd = sock_listen(&any, false, 8, 0, NULL);
    assert_true(fd >= 0 && sock_name(fd, &bound) == 0);
    addr_format(&bound, f->target);
    return fd;
}

static void a_server_that_says_nothing_is_given_up(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    int fd = mute_listener(&f);
    f.client_options.connect_ms = 30;
    start_client(&f);
    until(&f, f.downs == 2);
    assert_int_equal(f.ups, 0);
    assert_non_null(strstr(f.why, "waited 30 ms for the server's first bytes"));
    close(fd);
    tear_down(&f);
}

static void targets_that_cannot_be_reached(void **state)
{
    static const struct {
        const char *target;
        int error;
    } cases[] = {
        {"192.0.2.1:1", -EPERM},
        {"[2001:db8::1]:1", -EPERM},
        {"name:1", -EINVAL}, /* no resolver */
        {"tunnel:x", -EINVAL},
        {"127.0.0.1", -EINVAL},
        {"", -EINVAL},
    };
    struct fixture f;
    (void)state;
    set_up(&f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = {0};
        assert_null(grpc_client_new(
            f.base, NULL, cases[i].target, &f.client_options, &client_events, &f, &e));
        assert_int_equal(e.code, cases[i].error);
        assert_non_null(strstr(e.text, cases[i].target));
    }
    tear_down(&f);
}

/* ---- the end of a client, wherever it is ---- */

static void freeing_up(struct grpc_client *c, void *arg)
{
    struct fixture *f = arg;
    f->ups++;
    grpc_client_free(c);
    f->client = NULL;
}

static void freeing_down(struct grpc_client *c, const char *why, uint32_t retry_ms, void *arg)
{
    struct fixture *f = arg;
    (void)why;
    (void)retry_ms;
    f->downs++;
    grpc_client_free(c);
    f->client = NULL;
}

static const struct grpc_client_events freeing = {
    .call = {.on_message = client_message, .on_end = client_end},
    .on_up = freeing_up,
    .on_down = freeing_down};

static void it_may_be_freed_by_its_own_events(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    f.client = grpc_client_new(f.base, NULL, f.target, &f.client_options, &freeing, &f, NULL);
    until(&f, f.downs == 1);
    start_server(&f, NULL, NULL);
    f.client = grpc_client_new(f.base, NULL, f.target, &f.client_options, &freeing, &f, NULL);
    until(&f, f.ups == 1);
    for (int i = 0; i < 3; i++)
        turn(&f);
    tear_down(&f);
}

static void it_may_be_freed_after_any_turn_of_the_loop(void **state)
{
    (void)state;
    for (int turns = 0; turns < 30; turns++) {
        struct fixture f;
        set_up(&f);
        start_server(&f, NULL, NULL);
        start_client(&f);
        for (int i = 0; i < turns; i++)
            event_base_loop(f.base, EVLOOP_NONBLOCK);
        grpc_client_free(f.client);
        f.client = NULL;
        assert_null(f.st);
        until(&f, grpc_server_counts(f.server).connections_now == 0);
        tear_down(&f);
    }
}

static void it_may_be_freed_while_a_name_is_looked_up(void **state)
{
    struct fixture f;
    struct addr any = addr_of("127.0.0.1:0"), bound;
    char server[ADDR_TEXT_MAX];
    (void)state;
    set_up(&f);
    int mute = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&any, &ss);
    assert_int_equal(bind(mute, (struct sockaddr *)&ss, len), 0);
    assert_int_equal(sock_name(mute, &bound), 0);
    addr_format(&bound, server);
    struct dns *dns = dns_new(f.base, server, 60000, NULL);
    assert_non_null(dns);
    for (int turns = 0; turns < 4; turns++) {
        f.client = grpc_client_new(
            f.base, dns, "name.example:1", &f.client_options, &client_events, &f, NULL);
        assert_non_null(f.client);
        for (int i = 0; i < turns; i++)
            turn(&f);
        grpc_client_free(f.client);
        f.client = NULL;
    }
    dns_free(dns);
    close(mute);
    assert_int_equal(f.downs, 0);
    tear_down(&f);
}

static void a_name_is_looked_up(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    struct dns *dns = dns_new(f.base, NULL, 5000, NULL);
    start_server(&f, "127.0.0.1:0", NULL);
    snprintf(f.target, sizeof(f.target), "localhost:%u", f.bound.port);
    f.client = grpc_client_new(f.base, dns, f.target, &f.client_options, &client_events, &f, NULL);
    until(&f, f.messages == 1);
    grpc_client_free(f.client);
    f.client = NULL;
    dns_free(dns);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_connects_again_when_the_server_comes_back),
        cmocka_unit_test(waits_grow_to_the_longest_and_are_jittered),
        cmocka_unit_test(asked_to_try_again_it_does_not_wait),
        cmocka_unit_test(a_server_that_says_nothing_is_given_up),
        cmocka_unit_test(targets_that_cannot_be_reached),
        cmocka_unit_test(it_may_be_freed_by_its_own_events),
        cmocka_unit_test(it_may_be_freed_after_any_turn_of_the_loop),
        cmocka_unit_test(it_may_be_freed_while_a_name_is_looked_up),
        cmocka_unit_test(a_name_is_looked_up),
    };
    return unit_run(tests);
}
