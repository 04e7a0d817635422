/* Active health checks against listeners of the test's own, on one event base. */
#include "lib/net/grpc.h"
#include "lib/net/sock.h"
#include "lib/wire/h2.h"
#include "proxy/health.h"
#include "proxy/stats.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEERS 64

/* A server that says `reply` to whoever connects, whatever is asked. */
struct server {
    int fd;
    struct addr addr;
    struct event *accepting;
    const char *reply; /* NULL: nothing */
    bool close;        /* after it, or at once */
    unsigned accepted;
    int peer[PEERS];
    char asked[4096];
};

struct fixture {
    struct event_base *base;
    struct endpoint_table *table;
    struct endpoint_use use;
    struct health *health;
    counter_cell stats[STAT_COUNT];
    struct health_policy policy;
    struct service_tls tls;
    struct server s;
};

void health_order_run(struct message *m, void *control)
{
    struct health_order *o = list_entry(m, struct health_order, message);
    struct fixture *f = control;
    health_take(f->health, o);
    mem_free(o);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    struct addr peer;
    (void)what;
    int c = sock_accept(fd, &peer);
    if (c < 0)
        return;
    assert_true(s->accepted < PEERS);
    s->peer[s->accepted++] = c;
    if (s->reply)
        assert_true(send(c, s->reply, strlen(s->reply), MSG_NOSIGNAL) >= 0);
    if (s->close)
        shutdown(c, SHUT_WR);
}

static void server_start(struct fixture *f, struct server *s)
{
    struct err e = {0};
    struct addr a;
    memset(s, 0, sizeof *s);
    assert_int_equal(addr_parse(STR("127.0.0.1:0"), true, &a, &e), 0);
    s->fd = sock_listen(&a, false, 64, 0, &e);
    assert_true(s->fd >= 0);
    assert_int_equal(sock_name(s->fd, &s->addr), 0);
    s->accepting = event_new(f->base, s->fd, EV_READ | EV_PERSIST, on_accept, s);
    event_add(s->accepting, NULL);
}

static void server_stop(struct server *s)
{
    if (s->fd < 0)
        return;
    event_free(s->accepting);
    close(s->fd);
    s->fd = -1;
    for (unsigned i = 0; i < s->accepted; i++)
        close(s->peer[i]);
}

static void start(struct fixture *f, const struct endpoint_rules *rules, uint32_t targets)
{
    memset(f, 0, sizeof *f);
    f->base = event_base_new();
    f->table = endpoint_table_new();
    struct health_options o = {.base = f->base,
        .table = f->table,
        .rules = rules,
        .targets = targets,
        .checks = 4,
        .stats = f->stats};
    f->health = health_new(&o);
    assert_non_null(f->health);
    f->policy = health_default();
    f->policy.interval_ms = 5;
    f->policy.timeout_ms = 5000;
    server_start(f, &f->s);
    assert_int_equal(endpoint_attach(f->table, &f->use, &f->s.addr, addr_hash(&f->s.addr), 1), 0);
}

static void take(struct fixture *f, struct endpoint_use *u, struct health_spec *spec)
{
    struct health_order o = {.table = f->table, .entry = endpoint_hold(f->table, u), .spec = spec};
    health_take(f->health, &o);
}

static void check(struct fixture *f)
{
    take(f, &f->use, health_spec_new(&f->policy, &f->tls, false, &f->s.addr));
}

static void stop(struct fixture *f)
{
    health_free(f->health);
    if (f->use.entry)
        endpoint_detach(f->table, &f->use);
    endpoint_table_free(f->table);
    server_stop(&f->s);
    event_base_free(f->base);
}

static uint64_t count(const struct fixture *f, enum proxy_stat which)
{
    return counter_get(&f->stats[which]);
}

/* Turns the loop until a count is reached. */
static void until(struct fixture *f, enum proxy_stat which, uint64_t n)
{
    for (unsigned i = 0; i < 100000 && count(f, which) < n; i++)
        event_base_loop(f->base, EVLOOP_ONCE);
    assert_true(count(f, which) >= n);
}

static void judged_as(const char *reply, bool closes, bool well, const char *error)
{
    struct fixture f;
    start(&f, NULL, 10);
    f.policy.path = STR("/healthz");
    f.s.reply = reply;
    f.s.close = closes;
    check(&f);
    until(&f, well ? STAT_HEALTH_WELL : STAT_HEALTH_FAILED, 3);
    assert_string_equal(f.use.entry->error, error);
    assert_int_equal(
        endpoint_state(&f.use), well ? ENDPOINT_CHECKED : ENDPOINT_CHECKED | ENDPOINT_UNHEALTHY);
    assert_int_equal(count(&f, STAT_HEALTH_LOST), !well);
    assert_int_equal(count(&f, STAT_HEALTH_UNHEALTHY), !well);
    assert_int_equal(count(&f, STAT_HEALTH_TARGETS), 1);
    stop(&f);
}

static void http_replies_are_judged_by_their_status(void **state)
{
    (void)state;
    judged_as("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false, true, "");
    judged_as("HTTP/1.1 302 Found\r\nlocation: /x\r\n\r\n", true, true, "");
    judged_as("HTTP/1.0 204 No Content\r\n\r\n", true, true, "");
    judged_as("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nall is well", true, true, "");
    judged_as("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", false, false, "answered 500");
    judged_as("HTTP/1.1 404 No\r\n\r\n", true, false, "answered 404");
}

static void what_is_no_http_reply_is_not_well(void **state)
{
    (void)state;
    judged_as("SSH-2.0-OpenSSH_9.2\r\n", false, false, "not an HTTP reply: status-line");
    judged_as(
        "HTTP/1.1 200 OK\r\nbad field\r\n\r\n", false, false, "not an HTTP reply: field-name");
    judged_as("HTTP/1.1 200 OK\r\n", true, false, "closed before it answered");
    judged_as(NULL, true, false, "closed before it answered");
}

static void heads_without_end_are_cut(void **state)
{
    (void)state;
    static char large[40000];
    size_t n = (size_t)snprintf(large, sizeof large, "HTTP/1.1 200 OK\r\nx: ");
    memset(large + n, 'a', sizeof large - n - 1);
    judged_as(large, false, false, "not an HTTP reply: the head is too large");
    /* interim replies without end, too */
    n = 0;
    while (n + 40 < sizeof large)
        n += (size_t)snprintf(large + n, sizeof large - n, "HTTP/1.1 102 Wait\r\n\r\n");
    judged_as(large, false, false, "not an HTTP reply: the head is too large");
}

static void silence_is_not_well(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, NULL, 10);
    f.policy.timeout_ms = 20;
    check(&f);
    until(&f, STAT_HEALTH_LOST, 1);
    assert_string_equal(f.use.entry->error, "no answer in time");
    stop(&f);
}

static void nobody_there_is_not_well_and_recovers(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, NULL, 10);
    f.policy.kind = HEALTH_TCP;
    server_stop(&f.s);
    check(&f);
    until(&f, STAT_HEALTH_LOST, 1);
    assert_int_equal(count(&f, STAT_HEALTH_FAILED), 3); /* unhealthyAfter */
    assert_string_equal(f.use.entry->error, "connect: Connection refused");
    struct err e = {0};
    f.s.fd = sock_listen(&f.s.addr, false, 64, 0, &e);
    if (f.s.fd < 0)
        fail_msg("%s", e.text);
    f.s.accepting = event_new(f.base, f.s.fd, EV_READ | EV_PERSIST, on_accept, &f.s);
    event_add(f.s.accepting, NULL);
    until(&f, STAT_HEALTH_RECOVERED, 1);
    assert_int_equal(count(&f, STAT_HEALTH_WELL), 2); /* healthyAfter */
    assert_int_equal(endpoint_state(&f.use), ENDPOINT_CHECKED);
    assert_int_equal(count(&f, STAT_HEALTH_UNHEALTHY), 0);
    stop(&f);
}

static void the_rules_of_endpoints_hold_for_checks(void **state)
{
    (void)state;
    struct fixture f;
    struct addr own;
    struct endpoint_rules rules = {.own = &own, .n_own = 1};
    start(&f, &rules, 10);
    own = f.s.addr;
    check(&f);
    until(&f, STAT_HEALTH_LOST, 1);
    assert_int_equal(strncmp(f.use.entry->error, "the endpoint rules forbid it", 28), 0);
    assert_int_equal(f.s.accepted, 0);
    stop(&f);
}

static void another_spec_replaces_the_first_and_none_ends_it(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, NULL, 10);
    f.s.reply = "HTTP/1.1 503 Busy\r\n\r\n";
    check(&f);
    until(&f, STAT_HEALTH_LOST, 1);
    check(&f); /* the same again changes nothing */
    f.policy.status_max = 503;
    check(&f);
    until(&f, STAT_HEALTH_RECOVERED, 1);
    f.policy.status_max = 299;
    check(&f);
    until(&f, STAT_HEALTH_LOST, 2);
    take(&f, &f.use, NULL);
    assert_int_equal(endpoint_state(&f.use), 0); /* unchecked counts as healthy */
    assert_int_equal(count(&f, STAT_HEALTH_TARGETS), 0);
    assert_int_equal(count(&f, STAT_HEALTH_UNHEALTHY), 0);
    stop(&f);
}

static void a_check_ends_when_nobody_uses_the_address(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, NULL, 10);
    f.policy.kind = HEALTH_TCP;
    check(&f);
    until(&f, STAT_HEALTH_WELL, 1);
    endpoint_detach(f.table, &f.use);
    while (count(&f, STAT_HEALTH_TARGETS) > 0)
        event_base_loop(f.base, EVLOOP_ONCE);
    stop(&f);
}

static void targets_are_bounded(void **state)
{
    (void)state;
    struct fixture f;
    struct endpoint_use more;
    struct addr a = {.kind = ADDR_IP4, .ip = {127, 0, 0, 1}, .port = 9};
    memset(&more, 0, sizeof more);
    start(&f, NULL, 1);
    f.policy.kind = HEALTH_TCP;
    check(&f);
    assert_int_equal(endpoint_attach(f.table, &more, &a, addr_hash(&a), 1), 0);
    take(&f, &more, health_spec_new(&f.policy, &f.tls, false, &a));
    assert_int_equal(count(&f, STAT_HEALTH_LEFT_OUT), 1);
    assert_int_equal(count(&f, STAT_HEALTH_TARGETS), 1);
    endpoint_detach(f.table, &more);
    stop(&f);
}

static void checks_at_a_time_are_bounded(void **state)
{
    (void)state;
    struct fixture f;
    struct endpoint_use use[12];
    struct server s[12];
    memset(use, 0, sizeof use);
    start(&f, NULL, 100);
    f.policy.timeout_ms = 100;
    for (unsigned i = 0; i < 12; i++) {
        server_start(&f, &s[i]); /* silent: each holds its check for 100 ms */
        assert_int_equal(
            endpoint_attach(f.table, &use[i], &s[i].addr, addr_hash(&s[i].addr), 1), 0);
        take(&f, &use[i], health_spec_new(&f.policy, &f.tls, false, &s[i].addr));
    }
    until(&f, STAT_HEALTH_LATE, 8); /* four run */
    until(&f, STAT_HEALTH_FAILED, 12);
    for (unsigned i = 0; i < 12; i++) {
        endpoint_detach(f.table, &use[i]);
        server_stop(&s[i]);
    }
    stop(&f);
}

/* ---- gRPC ---- */

static void grpc_health_is_asked(void **state)
{
    (void)state;
    static const char *const services[] = {"shop.Cart", NULL};
    struct fixture f;
    struct err e = {0};
    struct addr a, bound;
    start(&f, NULL, 10);
    server_stop(&f.s);
    struct grpc_server_options o = {.services = services};
    struct grpc_server *s = grpc_server_new(f.base, &o, NULL, 0, NULL, &e);
    assert_int_equal(addr_parse(STR("127.0.0.1:0"), true, &a, &e), 0);
    assert_int_equal(grpc_server_listen(s, &a, NULL, false, &bound, &e), 0);
    endpoint_detach(f.table, &f.use);
    f.s.addr = bound;
    assert_int_equal(endpoint_attach(f.table, &f.use, &bound, addr_hash(&bound), 1), 0);
    f.policy.kind = HEALTH_GRPC;
    check(&f);
    until(&f, STAT_HEALTH_LOST, 1);
    assert_string_equal(f.use.entry->error, "says NOT_SERVING");
    grpc_server_set_serving(s, true);
    until(&f, STAT_HEALTH_RECOVERED, 1);
    assert_string_equal(f.use.entry->error, "");
    f.policy.service = STR("shop.Cart");
    check(&f);
    uint64_t well = count(&f, STAT_HEALTH_WELL);
    until(&f, STAT_HEALTH_WELL, well + 2);
    f.policy.service = STR("shop.Other");
    check(&f);
    until(&f, STAT_HEALTH_LOST, 2);
    assert_string_equal(f.use.entry->error, "NOT_FOUND: unknown service");
    health_free(f.health);
    f.health = NULL;
    grpc_server_free(s);
    stop(&f);
}

static void grpc_is_told_from_other_bytes(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, NULL, 10);
    f.policy.kind = HEALTH_GRPC;
    f.s.reply = "HTTP/1.1 400 Bad Request\r\n\r\n";
    f.s.close = true;
    check(&f);
    until(&f, STAT_HEALTH_LOST, 1);
    assert_int_not_equal(f.use.entry->error[0], '\0');
    stop(&f);
}

/* ---- HTTP/2 ---- */

static struct {
    const char *head;
    struct h2 *h2;
    struct h2_stream st;
    struct bufpool bufs;
    struct buf in, out;
    bool asked;
    char text[256];
} peer;

static struct h2_stream *peer_open(struct h2 *h, void *owner)
{
    (void)h;
    (void)owner;
    memset(&peer.st, 0, sizeof peer.st);
    return &peer.st;
}

static struct buf *peer_block(struct h2_stream *st, enum h2_kind kind)
{
    (void)st;
    (void)kind;
    return buf_hold(&peer.in, &peer.bufs) == 0 ? &peer.in : NULL;
}

static void peer_head(struct h2_stream *st, enum h2_kind kind, bool end)
{
    (void)st;
    (void)kind;
    assert_true(end);
    peer.asked = true;
    snprintf(peer.text, sizeof peer.text, "%.*s", (int)buf_len(&peer.in), buf_head(&peer.in));
}

static bool peer_bad(struct h2_stream *st, enum h2_kind kind, enum h2_error error)
{
    (void)st;
    (void)kind;
    (void)error;
    return false;
}

static void peer_end(struct h2_stream *st)
{
    (void)st;
}

static void peer_data(struct h2_stream *st, const char *bytes, size_t n)
{
    (void)st;
    (void)bytes;
    (void)n;
}

static void peer_close(struct h2_stream *st, uint32_t code, bool unprocessed)
{
    (void)st;
    (void)code;
    (void)unprocessed;
}

static void peer_wake(struct h2 *h, struct h2_stream *st)
{
    (void)h;
    (void)st;
}

static void peer_odd(struct h2 *h, enum h2_odd kind)
{
    (void)h;
    (void)kind;
}

static void peer_goaway(struct h2 *h, int32_t last, uint32_t code)
{
    (void)h;
    (void)last;
    (void)code;
}

/* Answers the one request of a connection. */
static void peer_readable(evutil_socket_t fd, short what, void *arg)
{
    char bytes[4096];
    struct event *self = arg;
    (void)what;
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    if (n <= 0) {
        event_del(self);
        return;
    }
    h2_input(peer.h2, bytes, (size_t)n, 1);
    assert_int_equal(buf_hold(&peer.out, &peer.bufs), 0);
    if (peer.asked) {
        struct buf head = {0};
        peer.asked = false;
        assert_int_equal(buf_hold(&head, &peer.bufs), 0);
        head.end = (uint32_t)snprintf(head.data, head.size, "%s", peer.head);
        assert_int_equal(h2_reply(&peer.st, &head, true), 0);
        buf_drop(&head, &peer.bufs);
    }
    assert_int_equal(h2_output(peer.h2, &peer.out), 0);
    if (buf_len(&peer.out))
        send(fd, buf_head(&peer.out), buf_len(&peer.out), MSG_NOSIGNAL);
    peer.out.start = peer.out.end = 0;
}

static void speaks_http2(const char *head, const char *error)
{
    static const struct h2_limits limits = {.streams = 4,
        .window = 65535,
        .connection_hold = 65535,
        .head_bytes = 8192,
        .fields = 50,
        .odd = 100,
        .odd_refill = 10};
    static const struct h2_events events = {peer_open, peer_block, peer_head, peer_bad, peer_data,
        peer_end, peer_close, peer_wake, peer_odd, peer_goaway};
    struct fixture f;
    struct event *reading[3] = {0};
    unsigned served = 0;
    start(&f, NULL, 10);
    f.policy.path = STR("/h2");
    f.policy.interval_ms = 20;
    f.policy.unhealthy_after = 1;
    memset(&peer, 0, sizeof peer);
    bufpool_init(&peer.bufs, 65536, 4, 64);
    peer.head = head;
    take(&f, &f.use, health_spec_new(&f.policy, &f.tls, true, &f.s.addr));
    while (count(&f, STAT_HEALTH_WELL) + count(&f, STAT_HEALTH_FAILED) < 1) {
        event_base_loop(f.base, EVLOOP_ONCE);
        if (f.s.accepted == served)
            continue;
        assert_true(served < 1);
        peer.h2 = h2_new(true, &limits, &events, NULL);
        reading[served] = event_new(
            f.base, f.s.peer[served], EV_READ | EV_PERSIST, peer_readable, event_self_cbarg());
        event_add(reading[served++], NULL);
    }
    assert_string_equal(f.use.entry->error, error);
    assert_non_null(strstr(peer.text, "GET /h2 "));
    assert_non_null(strstr(peer.text, "\r\nuser-agent: offshoot-health\r\n"));
    event_free(reading[0]);
    h2_free(peer.h2);
    buf_drop(&peer.in, &peer.bufs);
    buf_drop(&peer.out, &peer.bufs);
    bufpool_release(&peer.bufs);
    stop(&f);
}

static void providers_of_http2_are_asked_in_http2(void **state)
{
    (void)state;
    speaks_http2("HTTP/1.1 204 No Content\r\n\r\n", "");
    speaks_http2("HTTP/1.1 500 Oh\r\n\r\n", "answered 500");
}

static void http2_is_told_from_http1(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, NULL, 10);
    f.s.reply = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    take(&f, &f.use, health_spec_new(&f.policy, &f.tls, true, &f.s.addr));
    until(&f, STAT_HEALTH_LOST, 1);
    assert_int_equal(strncmp(f.use.entry->error, "not HTTP/2: ", 12), 0);
    stop(&f);
}

/* ---- memory ---- */

static void without_memory_it_is_tried_again(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth < 12; nth++) {
        struct fixture f;
        start(&f, NULL, 10);
        f.s.reply = "HTTP/1.1 200 OK\r\n\r\n";
        mem_fail_nth(nth);
        struct health_spec *spec = health_spec_new(&f.policy, &f.tls, false, &f.s.addr);
        if (spec)
            take(&f, &f.use, spec);
        for (unsigned i = 0; i < 20 && count(&f, STAT_HEALTH_TARGETS); i++)
            event_base_loop(f.base, EVLOOP_ONCE);
        mem_fail_nth(0);
        if (count(&f, STAT_HEALTH_TARGETS))
            until(&f, STAT_HEALTH_WELL, 1);
        stop(&f);
    }
}

static void specs_are_told_apart(void **state)
{
    (void)state;
    struct health_policy p = health_default(), q = p;
    struct service_tls plain = {0}, tls = {.on = true};
    struct addr a = {.kind = ADDR_IP4, .ip = {10, 0, 0, 1}, .port = 80};
    uint64_t id = health_spec_id(&p, &plain, false, &a);
    assert_int_not_equal(id, 0);
    assert_int_equal(id, health_spec_id(&q, &plain, false, &a));
    assert_int_not_equal(id, health_spec_id(&p, &tls, false, &a));
    assert_int_not_equal(id, health_spec_id(&p, &plain, true, &a));
    q.path = STR("/x");
    assert_int_not_equal(id, health_spec_id(&q, &plain, false, &a));
    q.path = STR("");
    q.service = STR("/x");
    assert_int_not_equal(health_spec_id(&q, &plain, false, &a), id);
    q.interval_ms = 0;
    assert_int_equal(health_spec_id(&q, &plain, false, &a), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_replies_are_judged_by_their_status),
        cmocka_unit_test(what_is_no_http_reply_is_not_well),
        cmocka_unit_test(heads_without_end_are_cut),
        cmocka_unit_test(silence_is_not_well),
        cmocka_unit_test(nobody_there_is_not_well_and_recovers),
        cmocka_unit_test(the_rules_of_endpoints_hold_for_checks),
        cmocka_unit_test(another_spec_replaces_the_first_and_none_ends_it),
        cmocka_unit_test(a_check_ends_when_nobody_uses_the_address),
        cmocka_unit_test(targets_are_bounded),
        cmocka_unit_test(checks_at_a_time_are_bounded),
        cmocka_unit_test(grpc_health_is_asked),
        cmocka_unit_test(grpc_is_told_from_other_bytes),
        cmocka_unit_test(providers_of_http2_are_asked_in_http2),
        cmocka_unit_test(http2_is_told_from_http1),
        cmocka_unit_test(without_memory_it_is_tried_again),
        cmocka_unit_test(specs_are_told_apart),
    };
    return unit_run(tests);
}
