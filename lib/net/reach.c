#include "lib/net/reach.h"
#include "lib/base/mem.h"
#include "lib/net/dns.h"
#include "lib/net/sock.h"
#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static void cannot_connect(struct reach *r, const struct addr *a, int error)
{
    char text[ADDR_TEXT_MAX];
    addr_format(a, text);
    err_set(&r->why, error, "cannot connect to '%s': %s", text, strerror(-error));
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
    struct reach *r = arg;
    (void)what;
    int error = sock_error(fd);
    r->fd = -1;
    r->state = REACH_IDLE;
    if (error) {
        close(fd);
        cannot_connect(r, &r->addrs[r->next - 1], error);
        reach_next(r);
    } else if (r->events->reached(r->arg, fd, &r->why)) {
        reach_next(r);
    }
}

static int start_connect(struct reach *r, const struct addr *a)
{
    bool pending;
    if (r->events->may && r->events->may(r->arg, a, &r->why))
        return -EPERM;
    int fd = sock_connect(a, &pending);
    if (fd < 0) {
        cannot_connect(r, a, fd);
        return fd;
    }
    /* A socket that is connected already is writable at once. */
    event_assign(&r->connected, r->base, fd, EV_WRITE, on_connected, r);
    if (event_add(&r->connected, NULL)) {
        close(fd);
        return err_set(&r->why, -ENOMEM, "out of memory");
    }
    r->fd = fd;
    r->state = REACH_CONNECTING;
    return 0;
}

void reach_next(struct reach *r)
{
    while (r->next < r->naddrs) {
        if (start_connect(r, &r->addrs[r->next++]) == 0)
            return;
    }
    r->events->failed(r->arg);
}

static void on_names(void *arg, const struct dns_answer *a)
{
    struct reach *r = arg;
    r->state = REACH_IDLE;
    if (a->error)
        err_set(&r->why, a->error, "%s", a->text);
    for (r->naddrs = 0; r->naddrs < a->naddrs && r->naddrs < REACH_ADDRS_MAX; r->naddrs++) {
        r->addrs[r->naddrs] = a->addrs[r->naddrs];
        r->addrs[r->naddrs].port = r->at.port;
    }
    reach_next(r);
}

void reach_start(struct reach *r)
{
    r->next = r->naddrs = 0;
    if (r->at.kind != ADDR_DNS) {
        r->addrs[r->naddrs++] = r->at;
        reach_next(r);
    } else if (dns_resolve(r->dns, r->at.name, on_names, r)) {
        err_set(&r->why, -ENOMEM, "out of memory");
        r->events->failed(r->arg);
    } else {
        r->state = REACH_RESOLVING;
    }
}

void reach_stop(struct reach *r)
{
    if (r->state == REACH_RESOLVING)
        dns_forget(r->dns, on_names, r);
    if (r->state == REACH_CONNECTING) {
        event_del(&r->connected);
        close(r->fd);
        r->fd = -1;
    }
    r->state = REACH_IDLE;
}

const char *reach_waits_for(const struct reach *r)
{
    static const char *const words[] = {[REACH_IDLE] = "",
        [REACH_RESOLVING] = "the name's address",
        [REACH_CONNECTING] = "the connection"};
    return words[r->state];
}

static int no_memory(const char *what, struct err *e)
{
    return err_set(e, -ENOMEM, "out of memory for a connection to %s", what);
}

int reach_init(struct reach *r, struct event_base *base, struct dns *dns, const char *target,
    const char *what, const struct reach_events *events, void *arg, struct err *e)
{
    *r = (struct reach){.base = base, .dns = dns, .events = events, .arg = arg, .fd = -1};
    r->target = mem_dup(target, strlen(target));
    if (!r->target)
        return no_memory(what, e);
    int rc = addr_parse(str_c(r->target), false, &r->at, e);
    if (rc)
        return rc;
    if (r->at.kind == ADDR_TUNNEL)
        return err_set(e, -EINVAL, "%s cannot be reached by '%s'", what, target);
    if (r->at.kind == ADDR_DNS && !dns)
        return err_set(e, -EINVAL, "the name of %s needs a resolver: '%s'", what, target);
    return 0;
}

void reach_release(struct reach *r)
{
    reach_stop(r);
    mem_free(r->target);
    r->target = NULL;
}

/* ---- waits ---- */

void backoff_init(struct backoff *b, uint32_t first_ms, uint32_t max_ms)
{
    *b = (struct backoff){first_ms, max_ms < first_ms ? first_ms : max_ms, first_ms};
}

uint32_t backoff_next(struct backoff *b)
{
    uint32_t random = 0, all = b->now_ms, half = all / 2;
    b->now_ms = all < b->max_ms / 2 ? all * 2 : b->max_ms;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
        return all;
    return all - random % (half + 1);
}

void backoff_reset(struct backoff *b)
{
    b->now_ms = b->first_ms;
}
