/* Names by c-ares on a libevent base.
 *
 *   dns_resolve → ares_getaddrinfo → on_answer (from c-ares, perhaps at once) → the query's timer
 *   at zero → on_query_timer → fn
 *
 * fn always runs from the query's own timer: never inside dns_resolve, and never inside c-ares, so
 * that it may call anything, dns_free included. The same timer is the deadline of the whole look-up
 * (c-ares only times single tries). c-ares cannot give up one query: after the deadline the query
 * waits, answered, for its on_answer. */
#include "lib/net/dns.h"

#include "lib/base/list.h"
#include "lib/base/mem.h"
#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DNS_MAGIC   0x444e5301u
#define QUERY_MAGIC 0x444e5302u
#define SOCK_MAGIC  0x444e5303u

#define TRIES          3
#define TRIES_COVER    7     /* c-ares doubles: three tries take 1 + 2 + 4 times the first */
#define LITERAL_TTL    86400 /* s; an address stays what it is */
#define NAME_MAX_BYTES 1024  /* longer ones are no names, and not sent to anybody */

struct dns {
    uint32_t magic;
    struct event_base *base;
    ares_channel channel;
    struct event timer;      /* when c-ares wants to be called next */
    struct timeval deadline; /* of a whole look-up */
    struct list queries;
    struct list socks;
    bool ending; /* inside dns_free */
};

struct query {
    uint32_t magic;
    struct list link;
    struct dns *d;
    dns_fn *fn;
    void *arg;
    struct event timer;
    bool done;     /* c-ares has answered: result is in here */
    bool answered; /* fn has run */
    int error;
    struct addr *addrs; /* owned */
    size_t naddrs;
    uint32_t ttl_s;
    struct err why;
    char name[]; /* NUL-terminated */
};

/* A socket of c-ares that it wants to be watched. */
struct sock {
    uint32_t magic;
    struct list link;
    struct dns *d;
    int fd;
    struct event event;
};

static void query_free(struct query *q)
{
    event_del(&q->timer);
    list_remove(&q->link);
    q->magic = 0;
    mem_free(q->addrs);
    mem_free(q);
}

/* ---- c-ares and the event loop -------------------------------------------------------------- */

static void arm(struct dns *d)
{
    struct timeval tv;
    if (ares_timeout(d->channel, NULL, &tv))
        event_add(&d->timer, &tv);
    else
        event_del(&d->timer);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct dns *d = arg;
    (void)fd;
    (void)what;
    if (d->magic != DNS_MAGIC)
        return;
    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(d);
}

static void on_sock(evutil_socket_t fd, short what, void *arg)
{
    struct sock *s = arg;
    if (s->magic != SOCK_MAGIC)
        return;
    struct dns *d = s->d; /* s may be gone after the next call */
    ares_process_fd(
        d->channel, what & EV_READ ? fd : ARES_SOCKET_BAD, what & EV_WRITE ? fd : ARES_SOCKET_BAD);
    arm(d);
}

static struct sock *find_sock(struct dns *d, int fd)
{
    list_for_each (it, &d->socks) {
        struct sock *s = list_entry(it, struct sock, link);
        if (s->fd == fd)
            return s;
    }
    return NULL;
}

static void sock_free(struct sock *s)
{
    event_del(&s->event);
    list_remove(&s->link);
    s->magic = 0;
    mem_free(s);
}

/* A socket that cannot be watched (no memory) makes its query run into the deadline. */
static void on_sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct dns *d = arg;
    struct sock *s = find_sock(d, fd);
    if (!readable && !writable) {
        if (s)
            sock_free(s);
        return;
    }
    if (s) {
        event_del(&s->event);
    } else {
        s = mem_zalloc(sizeof(*s));
        if (!s)
            return;
        *s = (struct sock){.magic = SOCK_MAGIC, .d = d, .fd = fd};
        list_append(&d->socks, &s->link);
    }
    short events = (short)((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0) | EV_PERSIST);
    if (event_assign(&s->event, d->base, fd, events, on_sock, s) || event_add(&s->event, NULL))
        sock_free(s);
}

/* ---- answers -------------------------------------------------------------------------------- */

static int errno_of(int status)
{
    switch (status) {
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
    case ARES_ENONAME:
    case ARES_EBADNAME:
        return -ENOENT;
    case ARES_ETIMEOUT:
        return -ETIMEDOUT;
    case ARES_ENOMEM:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

static int by_bytes(const void *a, const void *b)
{
    const struct addr *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return memcmp(x->ip, y->ip, sizeof(x->ip));
}

/* Sorted, each once. */
static size_t tidy(struct addr *a, size_t n)
{
    size_t kept = 0;
    qsort(a, n, sizeof(*a), by_bytes);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || by_bytes(&a[kept - 1], &a[i]) != 0)
            a[kept++] = a[i];
    }
    return kept;
}

static void lower_ttl(struct query *q, int ttl)
{
    uint32_t t = ttl > 0 ? (uint32_t)ttl : 1;
    if (q->ttl_s == 0 || t < q->ttl_s)
        q->ttl_s = t;
}

static int take_addresses(struct query *q, const struct ares_addrinfo *info)
{
    size_t n = 0;
    for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next)
        n++;
    if (n == 0)
        return ARES_ENODATA;
    q->addrs = mem_array(n, sizeof(*q->addrs));
    if (!q->addrs)
        return ARES_ENOMEM;
    n = 0;
    for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next) {
        struct addr *a = &q->addrs[n];
        addr_from_sockaddr(node->ai_addr, node->ai_addrlen, a);
        a->port = 0;
        n += a->kind == ADDR_IP4 || a->kind == ADDR_IP6;
        lower_ttl(q, node->ai_ttl);
    }
    /* The way to them holds no longer than its shortest part. */
    for (const struct ares_addrinfo_cname *c = info->cnames; c; c = c->next)
        lower_ttl(q, c->ttl);
    q->naddrs = tidy(q->addrs, n);
    return q->naddrs ? ARES_SUCCESS : ARES_ENODATA;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct query *q = arg;
    (void)timeouts;
    if (q->magic != QUERY_MAGIC) {
        ares_freeaddrinfo(info);
        return;
    }
    if (q->d->ending || q->answered) {
        query_free(q);
    } else {
        if (status == ARES_SUCCESS)
            status = info ? take_addresses(q, info) : ARES_ENODATA;
        if (status != ARES_SUCCESS)
            q->error = err_set(&q->why, errno_of(status), "cannot resolve '%s': %s", q->name,
                ares_strerror(status));
        q->done = true;
        event_active(&q->timer, EV_TIMEOUT, 1);
    }
    if (info)
        ares_freeaddrinfo(info);
}

static void on_query_timer(evutil_socket_t fd, short what, void *arg)
{
    struct query *q = arg;
    struct dns_answer a = {0};
    (void)fd;
    (void)what;
    if (q->magic != QUERY_MAGIC || q->answered)
        return;
    q->answered = true;
    if (!q->done) {
        a.error = err_set(&q->why, -ETIMEDOUT, "cannot resolve '%s': no answer in time", q->name);
        a.text = q->why.text;
        q->fn(q->arg, &a); /* may end everything: q is not ours to touch after it */
        return;
    }
    event_del(&q->timer);
    list_remove(&q->link); /* now it is ours alone, whatever fn does */
    a.error = q->error;
    a.text = q->error ? q->why.text : NULL;
    if (!q->error) {
        bool many = q->naddrs > DNS_ADDRS_MAX;
        a.addrs = q->addrs;
        a.naddrs = many ? DNS_ADDRS_MAX : (uint32_t)q->naddrs;
        a.left_out = (uint32_t)q->naddrs - a.naddrs;
        a.ttl_s = q->ttl_s;
    }
    q->fn(q->arg, &a);
    query_free(q);
}

/* ---- the resolver --------------------------------------------------------------------------- */

static int set_up(struct dns *d, const char *servers, uint32_t timeout_ms, struct err *e)
{
    struct ares_options o = {.timeout = (int)(timeout_ms / TRIES_COVER),
        .tries = TRIES,
        .sock_state_cb = on_sock_state,
        .sock_state_cb_data = d};
    if (o.timeout < 1)
        o.timeout = 1;
    int rc = ares_init_options(
        &d->channel, &o, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (rc != ARES_SUCCESS)
        return err_set(e, rc == ARES_ENOMEM ? -ENOMEM : -EIO,
            "cannot set up the name resolver from resolv.conf: %s", ares_strerror(rc));
    rc = servers ? ares_set_servers_ports_csv(d->channel, servers) : ARES_SUCCESS;
    if (rc != ARES_SUCCESS) {
        ares_destroy(d->channel);
        return err_set(e, rc == ARES_ENOMEM ? -ENOMEM : -EINVAL, "invalid name servers '%s': %s",
            servers, ares_strerror(rc));
    }
    return 0;
}

struct dns *dns_new(
    struct event_base *base, const char *servers, uint32_t timeout_ms, struct err *e)
{
    struct dns *d = mem_zalloc(sizeof(*d));
    if (!d) {
        err_set(e, -ENOMEM, "out of memory for the name resolver");
        return NULL;
    }
    d->magic = DNS_MAGIC;
    d->base = base;
    d->deadline.tv_sec = timeout_ms / 1000;
    d->deadline.tv_usec = timeout_ms % 1000 * 1000;
    list_init(&d->queries);
    list_init(&d->socks);
    evtimer_assign(&d->timer, base, on_timer, d);
    if (set_up(d, servers, timeout_ms, e)) {
        mem_free(d);
        return NULL;
    }
    return d;
}

void dns_free(struct dns *d)
{
    if (!d)
        return;
    d->ending = true;
    list_for_each (it, &d->queries) {
        struct query *q = list_entry(it, struct query, link);
        if (q->done) /* c-ares does not know it any more */
            query_free(q);
    }
    ares_destroy(d->channel); /* answers the others, which frees them */
    list_for_each (it, &d->socks)
        sock_free(list_entry(it, struct sock, link));
    event_del(&d->timer);
    d->magic = 0;
    mem_free(d);
}

/* An address is its own answer: c-ares would ask the servers for some. */
static bool take_literal(struct query *q)
{
    unsigned char ip[16];
    bool v4 = inet_pton(AF_INET, q->name, ip) == 1;
    if (!v4 && inet_pton(AF_INET6, q->name, ip) != 1)
        return false;
    q->done = true;
    q->addrs = mem_zalloc(sizeof(*q->addrs));
    if (q->addrs) {
        q->addrs->kind = v4 ? ADDR_IP4 : ADDR_IP6;
        memcpy(q->addrs->ip, ip, v4 ? 4 : 16);
        q->naddrs = 1;
        q->ttl_s = LITERAL_TTL;
    } else {
        q->error = err_set(&q->why, -ENOMEM, "cannot resolve '%s': out of memory", q->name);
    }
    event_active(&q->timer, EV_TIMEOUT, 1);
    return true;
}

static struct query *query_new(struct dns *d, struct str name, dns_fn *fn, void *arg)
{
    struct query *q = mem_zalloc(sizeof(*q) + name.n + 1);
    if (!q)
        return NULL;
    q->magic = QUERY_MAGIC;
    q->d = d;
    q->fn = fn;
    q->arg = arg;
    if (name.n)
        memcpy(q->name, name.p, name.n);
    list_append(&d->queries, &q->link);
    evtimer_assign(&q->timer, d->base, on_query_timer, q);
    if (event_add(&q->timer, &d->deadline) == 0)
        return q;
    query_free(q);
    return NULL;
}

int dns_resolve(struct dns *d, struct str name, dns_fn *fn, void *arg)
{
    static const struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NOSORT};
    bool wrong = name.n == 0 || name.n > NAME_MAX_BYTES || memchr(name.p, '\0', name.n);
    struct query *q = query_new(d, wrong ? STR("") : name, fn, arg);
    if (!q)
        return -ENOMEM;
    if (wrong) {
        on_answer(q, ARES_EBADNAME, 0, NULL);
    } else if (!take_literal(q)) {
        ares_getaddrinfo(d->channel, q->name, NULL, &hints, on_answer, q);
        arm(d);
    }
    return 0;
}

void dns_forget(struct dns *d, dns_fn *fn, void *arg)
{
    list_for_each (it, &d->queries) {
        struct query *q = list_entry(it, struct query, link);
        if (q->fn != fn || q->arg != arg)
            continue;
        if (q->done) { /* c-ares does not know it any more */
            query_free(q);
        } else {
            q->answered = true; /* freed when c-ares is done with it */
            event_del(&q->timer);
        }
    }
}
