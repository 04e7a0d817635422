#include "lib/net/dns.h"

#include "lib/base/mem.h"
#include "lib/net/sock.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a name server on the same loop; the first label of the question says what it answers -----
 */

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28 };
enum { RCODE_SERVFAIL = 2, RCODE_NXDOMAIN = 3 };

#define MAX_CONNECTIONS 16

struct server {
    struct event_base *base;
    int udp, tcp;
    struct event *on_udp, *on_tcp;
    char text[32]; /* "127.0.0.1:port" */
    unsigned questions, over_tcp;
    struct bufferevent *connections[MAX_CONNECTIONS];
};

struct message {
    unsigned char p[16384];
    size_t n;
    bool tcp;
};

static void put16(struct message *m, unsigned v)
{
    m->p[m->n++] = (unsigned char)(v >> 8);
    m->p[m->n++] = (unsigned char)v;
}

/* A record of the name at `pointer` (0xc00c: the question's). */
static void put_record(
    struct message *m, unsigned pointer, unsigned type, unsigned ttl, const void *data, size_t n)
{
    put16(m, pointer);
    put16(m, type);
    put16(m, 1);
    put16(m, ttl >> 16);
    put16(m, ttl & 0xffff);
    put16(m, (unsigned)n);
    memcpy(m->p + m->n, data, n);
    m->n += n;
    m->p[7] = (unsigned char)(m->p[7] + 1); /* answers */
    if (m->p[7] == 0)
        m->p[6]++;
}

static void put_a(struct message *m, unsigned i, unsigned ttl)
{
    unsigned char ip[4] = {10, 0, (unsigned char)(i >> 8), (unsigned char)i};
    put_record(m, 0xc00c, TYPE_A, ttl, ip, 4);
}

static void put_aaaa(struct message *m, unsigned i, unsigned ttl)
{
    unsigned char ip[16] = {0xfd};
    ip[15] = (unsigned char)i;
    put_record(m, 0xc00c, TYPE_AAAA, ttl, ip, 16);
}

static void put_many(struct message *m, unsigned type, unsigned n)
{
    if (type != TYPE_A)
        return;
    if (!m->tcp) {
        m->p[2] |= 2; /* truncated */
        return;
    }
    for (unsigned i = n; i > 0; i--)
        put_a(m, i, 60);
}

static void put_alias(struct message *m, unsigned type)
{
    static const char target[] = "\4goal\4test"; /* with its NUL */
    size_t at = m->n + 12;
    put_record(m, 0xc00c, TYPE_CNAME, 5, target, sizeof(target));
    if (type == TYPE_A)
        put_record(m, 0xc000 | (unsigned)at, TYPE_A, 100, "\1\2\3\4", 4);
}

/* Turns the question in m into the answer; false: says nothing. */
static bool answer(struct message *m)
{
    size_t at = 12;
    char label[64] = "";
    if (m->n < 17 || m->p[12] > 63)
        return false;
    memcpy(label, m->p + 13, m->p[12]);
    while (at < m->n && m->p[at])
        at += 1u + m->p[at];
    unsigned type = m->p[at + 2];
    m->n = at + 5; /* drops EDNS */
    m->p[2] = 0x81;
    m->p[3] = 0x80;
    memset(m->p + 6, 0, 6);
    if (strcmp(label, "silent") == 0)
        return false;
    if (strcmp(label, "both") == 0)
        type == TYPE_A ? put_a(m, 4, 60) : put_aaaa(m, 6, 30);
    else if (strcmp(label, "onlya") == 0 && type == TYPE_A)
        put_a(m, 4, 70);
    else if (strcmp(label, "zero") == 0 && type == TYPE_A)
        put_a(m, 4, 0);
    else if (strcmp(label, "twice") == 0 && type == TYPE_A)
        put_a(m, 9, 7), put_a(m, 2, 7), put_a(m, 9, 7);
    else if (strcmp(label, "many") == 0)
        put_many(m, type, 50);
    else if (strcmp(label, "most") == 0)
        put_many(m, type, DNS_ADDRS_MAX);
    else if (strcmp(label, "toomany") == 0)
        put_many(m, type, DNS_ADDRS_MAX + 1);
    else if (strcmp(label, "alias") == 0)
        put_alias(m, type);
    else if (strcmp(label, "broken") == 0)
        m->p[3] |= RCODE_SERVFAIL;
    else if (strcmp(label, "onlya") != 0 && strcmp(label, "zero") != 0 &&
             strcmp(label, "twice") != 0 && strcmp(label, "empty") != 0)
        m->p[3] |= RCODE_NXDOMAIN;
    return true;
}

static void on_udp(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    struct message m = {0};
    struct sockaddr_storage from;
    socklen_t len = sizeof(from);
    (void)what;
    ssize_t n = recvfrom(fd, m.p, 512, 0, (struct sockaddr *)&from, &len);
    if (n <= 0)
        return;
    m.n = (size_t)n;
    s->questions++;
    if (answer(&m))
        assert_int_equal(sendto(fd, m.p, m.n, 0, (struct sockaddr *)&from, len), (ssize_t)m.n);
}

static void on_question(struct bufferevent *bev, void *arg)
{
    struct evbuffer *in = bufferevent_get_input(bev);
    unsigned char head[2];
    (void)arg;
    while (evbuffer_copyout(in, head, 2) == 2) {
        struct message m = {.tcp = true};
        m.n = (size_t)head[0] << 8 | head[1];
        if (evbuffer_get_length(in) < 2 + m.n)
            return;
        evbuffer_drain(in, 2);
        evbuffer_remove(in, m.p, m.n);
        if (!answer(&m))
            continue;
        head[0] = (unsigned char)(m.n >> 8);
        head[1] = (unsigned char)m.n;
        bufferevent_write(bev, head, 2);
        bufferevent_write(bev, m.p, m.n);
    }
}

static void on_end(struct bufferevent *bev, short what, void *arg)
{
    struct server *s = arg;
    (void)what;
    for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
        if (s->connections[i] == bev)
            s->connections[i] = NULL;
    }
    bufferevent_free(bev);
}

static void on_tcp(evutil_socket_t listener, short what, void *arg)
{
    struct server *s = arg;
    struct addr peer;
    (void)what;
    int fd = sock_accept(listener, &peer);
    assert_true(fd >= 0 && s->over_tcp < MAX_CONNECTIONS);
    struct bufferevent *bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
    assert_non_null(bev);
    s->connections[s->over_tcp++] = bev;
    bufferevent_setcb(bev, on_question, NULL, on_end, s);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static void server_start(struct server *s, struct event_base *base)
{
    *s = (struct server){.base = base, .udp = -1};
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 50; i++) { /* a port that both have free */
        struct addr a, bound;
        assert_int_equal(addr_parse(STR("127.0.0.1:0"), true, &a, NULL), 0);
        s->tcp = sock_listen(&a, false, 16, 0, NULL);
        assert_true(s->tcp >= 0 && sock_name(s->tcp, &bound) == 0);
        sin.sin_port = htons(bound.port);
        s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (bind(s->udp, (struct sockaddr *)&sin, sizeof(sin)) == 0)
            break;
        close(s->udp);
        close(s->tcp);
        s->udp = -1;
    }
    assert_true(s->udp >= 0);
    snprintf(s->text, sizeof(s->text), "127.0.0.1:%u", ntohs(sin.sin_port));
    s->on_udp = event_new(base, s->udp, EV_READ | EV_PERSIST, on_udp, s);
    s->on_tcp = event_new(base, s->tcp, EV_READ | EV_PERSIST, on_tcp, s);
    event_add(s->on_udp, NULL);
    event_add(s->on_tcp, NULL);
}

static void server_stop(struct server *s)
{
    for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
        if (s->connections[i])
            bufferevent_free(s->connections[i]);
    }
    event_free(s->on_udp);
    event_free(s->on_tcp);
    close(s->udp);
    close(s->tcp);
}

/* ---- the client ----------------------------------------------------------------------------- */

struct fixture {
    struct event_base *base;
    struct server server;
    struct dns *dns;
    unsigned calls;
    struct dns_answer last;
    struct addr addrs[DNS_ADDRS_MAX];
    char text[480];
    bool free_in_fn;
};

static struct fixture *start(uint32_t timeout_ms)
{
    static struct fixture f;
    struct err e = {0};
    memset(&f, 0, sizeof(f));
    f.base = event_base_new();
    assert_non_null(f.base);
    server_start(&f.server, f.base);
    f.dns = dns_new(f.base, f.server.text, timeout_ms, &e);
    if (!f.dns)
        fail_msg("%s", e.text);
    return &f;
}

static void stop(struct fixture *f)
{
    dns_free(f->dns);
    server_stop(&f->server);
    event_base_free(f->base);
}

static void on_result(void *arg, const struct dns_answer *a)
{
    struct fixture *f = arg;
    f->calls++;
    f->last = *a;
    if (a->naddrs)
        memcpy(f->addrs, a->addrs, a->naddrs * sizeof(*a->addrs));
    snprintf(f->text, sizeof(f->text), "%s", a->text ? a->text : "");
    if (f->free_in_fn) {
        dns_free(f->dns);
        f->dns = NULL;
    }
    event_base_loopbreak(f->base);
}

static void resolve(struct fixture *f, struct str name)
{
    unsigned before = f->calls;
    assert_int_equal(dns_resolve(f->dns, name, on_result, f), 0);
    assert_int_equal(f->calls, before); /* never inside the call */
    event_base_dispatch(f->base);
    assert_int_equal(f->calls, before + 1);
}

static const char *nth(struct fixture *f, size_t i)
{
    static char text[ADDR_TEXT_MAX];
    addr_format(&f->addrs[i], text);
    return text;
}

static void gives_all_addresses_sorted_with_the_smallest_ttl(void **state)
{
    (void)state;
    struct fixture *f = start(5000);
    resolve(f, STR("both.test"));
    assert_int_equal(f->last.error, 0);
    assert_null(f->last.text);
    assert_int_equal(f->last.naddrs, 2);
    assert_string_equal(nth(f, 0), "10.0.0.4:0");
    assert_string_equal(nth(f, 1), "[fd00::6]:0");
    assert_int_equal(f->last.ttl_s, 30);
    resolve(f, STR("twice.test"));
    assert_int_equal(f->last.naddrs, 2);
    assert_string_equal(nth(f, 0), "10.0.0.2:0");
    assert_string_equal(nth(f, 1), "10.0.0.9:0");
    stop(f);
}

static void one_family_is_enough(void **state)
{
    (void)state;
    struct fixture *f = start(5000);
    resolve(f, STR("onlya.test"));
    assert_int_equal(f->last.error, 0);
    assert_int_equal(f->last.naddrs, 1);
    assert_int_equal(f->last.ttl_s, 70);
    stop(f);
}

static void a_ttl_of_zero_counts_as_one(void **state)
{
    (void)state;
    struct fixture *f = start(5000);
    resolve(f, STR("zero.test"));
    assert_int_equal(f->last.naddrs, 1);
    assert_int_equal(f->last.ttl_s, 1);
    stop(f);
}

static void the_ttl_of_an_alias_counts(void **state)
{
    (void)state;
    struct fixture *f = start(5000);
    resolve(f, STR("alias.test"));
    assert_int_equal(f->last.naddrs, 1);
    assert_string_equal(nth(f, 0), "1.2.3.4:0");
    assert_int_equal(f->last.ttl_s, 5);
    stop(f);
}

static void a_truncated_answer_is_asked_for_over_tcp(void **state)
{
    (void)state;
    struct fixture *f = start(5000);
    resolve(f, STR("many.test"));
    assert_int_equal(f->last.error, 0);
    assert_int_equal(f->last.naddrs, 50);
    assert_true(f->server.over_tcp >= 1);
    assert_string_equal(nth(f, 0), "10.0.0.1:0");
    assert_string_equal(nth(f, 49), "10.0.0.50:0");
    stop(f);
}

static void addresses_beyond_the_limit_are_counted(void **state)
{
    (void)state;
    struct fixture *f = start(5000);
    resolve(f, STR("most.test"));
    assert_int_equal(f->last.naddrs, DNS_ADDRS_MAX);
    assert_int_equal(f->last.left_out, 0);
    resolve(f, STR("toomany.test"));
    assert_int_equal(f->last.naddrs, DNS_ADDRS_MAX);
    assert_int_equal(f->last.left_out, 1);
    assert_string_equal(nth(f, 255), "10.0.1.0:0"); /* the last in order is left out */
    stop(f);
}

static void failures_have_a_code_and_name_the_name(void **state)
{
    (void)state;
    struct fixture *f = start(5000);
    resolve(f, STR("missing.test"));
    assert_int_equal(f->last.error, -ENOENT);
    assert_int_equal(f->last.naddrs, 0);
    assert_non_null(strstr(f->text, "cannot resolve 'missing.test': "));
    resolve(f, STR("empty.test"));
    assert_int_equal(f->last.error, -ENOENT);
    resolve(f, STR("broken.test"));
    assert_int_equal(f->last.error, -EIO);
    assert_non_null(strstr(f->text, "cannot resolve 'broken.test': "));
    stop(f);
}

static void a_silent_server_is_waited_for_only_so_long(void **state)
{
    (void)state;
    struct fixture *f = start(140);
    resolve(f, STR("silent.test"));
    assert_int_equal(f->last.error, -ETIMEDOUT);
    assert_non_null(strstr(f->text, "cannot resolve 'silent.test': "));
    assert_true(f->server.questions >= 2);
    resolve(f, STR("both.test")); /* what is left of the other does not disturb */
    assert_int_equal(f->last.error, 0);
    stop(f);
}

static void a_server_that_is_not_there_is_a_failure(void **state)
{
    (void)state;
    struct fixture *f = start(2000);
    struct err e;
    dns_free(f->dns);
    f->dns = dns_new(f->base, f->server.text, 2000, &e);
    server_stop(&f->server);
    resolve(f, STR("both.test"));
    assert_true(f->last.error == -EIO || f->last.error == -ETIMEDOUT);
    dns_free(f->dns);
    event_base_free(f->base);
}

static void literals_and_hosts_are_answered_later_too(void **state)
{
    (void)state;
    struct fixture *f = start(5000);
    resolve(f, STR("127.0.0.9"));
    assert_int_equal(f->last.naddrs, 1);
    assert_string_equal(nth(f, 0), "127.0.0.9:0");
    assert_true(f->last.ttl_s > 1);
    resolve(f, STR("::1"));
    assert_string_equal(nth(f, 0), "[::1]:0");
    resolve(f, STR("localhost"));
    assert_int_equal(f->last.error, 0);
    assert_true(f->last.naddrs >= 1);
    assert_true(addr_is_loopback(&f->addrs[0]));
    assert_int_equal(f->server.questions, 0);
    stop(f);
}

static void what_is_no_name_is_not_sent(void **state)
{
    (void)state;
    struct fixture *f = start(5000);
    char longest[1200];
    memset(longest, 'a', sizeof(longest));
    resolve(f, STR(""));
    assert_int_equal(f->last.error, -ENOENT);
    resolve(f, STR("both\0.test"));
    assert_int_equal(f->last.error, -ENOENT);
    resolve(f, str_of(longest, sizeof(longest)));
    assert_int_equal(f->last.error, -ENOENT);
    resolve(f, str_of(longest, 300));
    assert_true(f->last.error < 0);
    assert_int_equal(f->server.questions, 0);
    stop(f);
}

static void many_names_at_once_are_each_answered_once(void **state)
{
    (void)state;
    struct fixture *f = start(5000);
    for (int i = 0; i < 50; i++)
        assert_int_equal(
            dns_resolve(f->dns, i % 2 ? STR("both.test") : STR("gone.test"), on_result, f), 0);
    while (f->calls < 50)
        event_base_dispatch(f->base);
    assert_int_equal(event_base_loop(f->base, EVLOOP_NONBLOCK), 0);
    assert_int_equal(f->calls, 50);
    stop(f);
}

static void outstanding_queries_get_no_callback_at_the_end(void **state)
{
    (void)state;
    struct fixture *f = start(5000);
    assert_int_equal(dns_resolve(f->dns, STR("silent.test"), on_result, f), 0);
    assert_int_equal(dns_resolve(f->dns, STR("127.0.0.1"), on_result, f), 0); /* answered */
    event_base_loop(f->base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
    unsigned calls = f->calls;
    assert_int_equal(dns_resolve(f->dns, STR("127.0.0.1"), on_result, f), 0);
    dns_free(f->dns);
    f->dns = NULL;
    event_base_loop(f->base, EVLOOP_NONBLOCK);
    assert_int_equal(f->calls, calls);
    stop(f);
}

static void the_callback_may_end_the_resolver(void **state)
{
    (void)state;
    static const char *const names[] = {"both.test", "127.0.0.1", "missing.test", "silent.test"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct fixture *f = start(200);
        f->free_in_fn = true;
        assert_int_equal(dns_resolve(f->dns, STR("silent.test"), on_result, f), 0);
        assert_int_equal(dns_resolve(f->dns, str_c(names[i]), on_result, f), 0);
        event_base_dispatch(f->base);
        assert_int_equal(f->calls, 1);
        event_base_loop(f->base, EVLOOP_NONBLOCK);
        assert_int_equal(f->calls, 1);
        stop(f);
    }
}

static void wrong_servers_are_named(void **state)
{
    (void)state;
    struct err e = {0};
    struct event_base *base = event_base_new();
    assert_null(dns_new(base, "not-an-address", 1000, &e));
    assert_int_equal(e.code, -EINVAL);
    assert_non_null(strstr(e.text, "invalid name servers 'not-an-address'"));
    event_base_free(base);
}

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (unsigned long i = 1;; i++) {
        struct fixture *f = start(100);
        mem_fail_nth(i);
        int rc = dns_resolve(f->dns, STR("both.test"), on_result, f);
        if (!rc)
            event_base_dispatch(f->base);
        mem_fail_nth(0);
        int error = rc ? rc : f->last.error;
        stop(f);
        if (!error)
            break;
        assert_true(error == -ENOMEM || error == -ETIMEDOUT);
        failures++;
    }
    assert_true(failures >= 3);
}

static int nothing_lives(void **state)
{
    (void)state;
    return mem_live() == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_all_addresses_sorted_with_the_smallest_ttl),
        cmocka_unit_test(one_family_is_enough),
        cmocka_unit_test(a_ttl_of_zero_counts_as_one),
        cmocka_unit_test(the_ttl_of_an_alias_counts),
        cmocka_unit_test(a_truncated_answer_is_asked_for_over_tcp),
        cmocka_unit_test(addresses_beyond_the_limit_are_counted),
        cmocka_unit_test(failures_have_a_code_and_name_the_name),
        cmocka_unit_test(a_silent_server_is_waited_for_only_so_long),
        cmocka_unit_test(a_server_that_is_not_there_is_a_failure),
        cmocka_unit_test(literals_and_hosts_are_answered_later_too),
        cmocka_unit_test(what_is_no_name_is_not_sent),
        cmocka_unit_test(many_names_at_once_are_each_answered_once),
        cmocka_unit_test(outstanding_queries_get_no_callback_at_the_end),
        cmocka_unit_test(the_callback_may_end_the_resolver),
        cmocka_unit_test(wrong_servers_are_named),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
