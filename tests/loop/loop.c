#include "tests/loop/loop.h"
#include "lib/graph/check.h"
#include "lib/graph/load.h"
#include "proxy/ratelimit.h"
#include "proxy/trace.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

const char loop_graph[] = LOOP_SERVICE("cart", "") LOOP_CART("\"127.0.0.1:9001\"") LOOP_GATEWAY("");

static int connect_pair(struct worker *w, const struct addr *a, bool *ret_pending)
{
    struct loop *l = w->test;
    int sv[2];
    if (l->connect_error)
        return l->connect_error;
    assert_true(l->nproviders < LOOP_PROVIDERS);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv), 0);
    l->port[l->nproviders] = a->port;
    l->provider[l->nproviders++] = sv[1];
    *ret_pending = l->connect_pending;
    if (l->connect_pending) {
        /* full in our direction, so that it never becomes writable */
        char junk[4096] = {0};
        while (send(sv[0], junk, sizeof junk, MSG_NOSIGNAL) > 0)
            ;
    }
    return sv[0];
}

struct snapshot *loop_compile(const char *graph, const struct snapshot *base, uint64_t epoch)
{
    struct loader *loader = loader_new(NULL);
    struct findings f;
    const struct model *m = NULL;
    struct snapshot *s = NULL;
    struct err e = {0};
    struct load_source src = {.name = "graph.yaml", .bytes = str_c(graph), .generation = 1};
    findings_init(&f);
    assert_non_null(loader);
    assert_int_equal(loader_load(loader, &src, 1, &f, &m), 0);
    assert_int_equal(model_check(m, NULL, &f), 0);
    assert_int_equal(snapshot_compile(&s, base, m, epoch, NULL, &e), 0);
    findings_release(&f);
    loader_free(loader);
    return s;
}

void loop_stage(struct loop *l, const char *graph, uint64_t epoch)
{
    const struct slot_table *t = &l->slots.table;
    struct snapshot *s = loop_compile(graph, t->n ? t->held[0].snapshot : NULL, epoch);
    int slot = slots_reserve(&l->slots, l->reader, 1);
    assert_true(slot >= 0);
    slots_stage(&l->slots, slot, s, snapshot_only_gateway(s));
    loop_publish(l);
}

void loop_publish(struct loop *l)
{
    slot_take(&l->w.slots, &l->slots.table, slots_commit(&l->slots));
}

void loop_start(struct loop *l, const char *graph, const char *const *sets)
{
    struct err e = {0};
    memset(l, 0, sizeof *l);
    l->mem_before = mem_live();
    l->conf = conf_new(settings_keys, settings_keys_count, &l->set, &e);
    if (!l->conf)
        fail_msg("%s", e.text);
    for (size_t i = 0; sets && sets[i]; i += 2)
        if (conf_set(l->conf, sets[i], sets[i + 1], &e) != 0)
            fail_msg("%s", e.text);
    if (settings_finish(&l->set, l->conf, &e) != 0)
        fail_msg("%s", e.text);
    l->shared.set = &l->set;
    l->shared.traces = traces_new(l->set.limit_traces);
    l->shared.limits = ratelimit_new(l->set.limit_rate_entries);
    assert_non_null(l->shared.limits);
    l->shared.endpoints = endpoint_table_new();
    assert_non_null(l->shared.endpoints);
    assert_int_equal(worker_init(&l->w, 0, &l->shared, &e), 0);
    l->reader[0] = &l->w.slots;
    l->w.virtual_clock = true;
    l->w.connect = connect_pair;
    l->w.test = l;
    loop_stage(l, graph ? graph : loop_graph, 1);
    struct listen_spec spec = {.addr = {.kind = ADDR_IP4, .ip = {127, 0, 0, 1}, .port = 80}};
    l->edge = listener_new(&l->w, -1, &spec);
    spec.trusted = true;
    l->trusted = listener_new(&l->w, -1, &spec);
    l->peer = (struct addr){.kind = ADDR_IP4, .ip = {192, 0, 2, 7}, .port = 4711};
}

void loop_stop(struct loop *l)
{
    loop_turns(l);
    for (unsigned i = 0; i < l->nproviders; i++)
        if (l->provider[i] >= 0)
            close(l->provider[i]);
    worker_release(&l->w);
    assert_int_equal(loop_count(l, STAT_CLIENTS), 0);
    assert_int_equal(loop_count(l, STAT_REQUESTS_NOW), 0);
    assert_int_equal(loop_count(l, STAT_PROVIDER_CONNECTIONS), 0);
    assert_int_equal(loop_count(l, STAT_PROVIDER_IDLE), 0);
    assert_int_equal(l->shared.connections, 0);
    assert_int_equal(l->w.bufs.nused, 0);
    for (unsigned i = 0; i < SLOTS; i++)
        assert_int_equal(l->w.slots.count[i], 0);
    slots_release(&l->slots);
    endpoint_table_free(l->shared.endpoints);
    traces_free(l->shared.traces);
    ratelimit_free(l->shared.limits);
    settings_release(&l->set);
    conf_free(l->conf);
    assert_int_equal(mem_live(), l->mem_before);
}

int loop_client(struct loop *l, struct listener *on)
{
    int sv[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv), 0);
    worker_clock(&l->w);
    listener_take(on, sv[0], &l->peer);
    loop_turns(l);
    return sv[1];
}

void loop_turns(struct loop *l)
{
    for (int i = 0; i < 8 || !list_empty(&l->w.ready); i++)
        worker_turn(&l->w, false);
}

void loop_advance(struct loop *l, uint64_t ms)
{
    l->w.now_us += ms * 1000;
    l->w.now_ms += ms;
    l->w.now_s = (int64_t)(l->w.now_ms / 1000);
    loop_turns(l);
}

void loop_send(struct loop *l, int fd, const char *text)
{
    for (size_t n = strlen(text); n > 0;) {
        ssize_t put = send(fd, text, n, MSG_NOSIGNAL);
        if (put < 0 && errno != EAGAIN)
            return; /* the other side has closed: the test looks at what it said */
        if (put > 0) {
            text += put;
            n -= (size_t)put;
        }
        loop_turns(l);
    }
}

const char *loop_recv(struct loop *l, int fd)
{
    size_t n = 0;
    for (;;) {
        loop_turns(l);
        ssize_t got = recv(fd, l->in + n, sizeof l->in - 1 - n, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    l->in[n] = '\0';
    return l->in;
}

bool loop_closed(struct loop *l, int fd)
{
    char byte;
    loop_turns(l);
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

void loop_close(struct loop *l, int *fd)
{
    close(*fd);
    *fd = -1;
    loop_turns(l);
}

void loop_shutdown(struct loop *l, int fd)
{
    shutdown(fd, SHUT_WR);
    loop_turns(l);
}

uint64_t loop_count(const struct loop *l, enum proxy_stat which)
{
    return counter_get(&l->w.stats[which]);
}

int loop_begin(struct loop *l, const char *text)
{
    loop_start(l, NULL, NULL);
    int fd = loop_client(l, l->trusted);
    if (*text)
        loop_send(l, fd, text);
    return fd;
}

void loop_end(struct loop *l, int fd)
{
    if (fd >= 0)
        close(fd);
    loop_stop(l);
}

void loop_assert_refused(struct loop *l, int fd, const char *status, const char *word)
{
    const char *got = loop_recv(l, fd);
    char want[64];
    snprintf(want, sizeof want, "HTTP/1.1 %s ", status);
    if (strncmp(got, want, strlen(want)) != 0)
        fail_msg("want status %s, have \"%.80s\"", status, got);
    snprintf(want, sizeof want, "\r\nx-offshoot-error: %s\r\n", word);
    if (!strstr(got, want))
        fail_msg("want the word %s, have \"%.400s\"", word, got);
}
