/* Calls, and the way to the server.
 *
 *   h2client_request → waiting ─┐          reach → GREETING → UP
 *                               └ client_turn → h2conn_pump → calls → h2call_end → ended → fn
 *
 * client_turn is the one place where connections go, calls are sent and told. */
#include "lib/net/h2client.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/net/h2client_impl.h"
#include <assert.h>
#include <errno.h>
#include <event2/event.h>

#define CLIENT_MAGIC 0x68326c01u
#define LIVED_MS     10000 /* a connection that was up so long resets the wait */

static struct h2client *client_of(void *arg)
{
    struct h2client *c = arg;
    assert(c->magic == CLIENT_MAGIC);
    return c;
}

const char *h2call_end_word(enum h2call_end e)
{
    static const char *const words[] = {[H2CALL_WHOLE] = "whole",
        [H2CALL_TIMEOUT] = "timeout",
        [H2CALL_RESET] = "reset",
        [H2CALL_TOO_LARGE] = "too-large",
        [H2CALL_LOST] = "lost",
        [H2CALL_BROKEN] = "broken",
        [H2CALL_MEMORY] = "memory"};
    return words[e];
}

void h2client_later(struct h2client *c)
{
    event_active(&c->turn, EV_TIMEOUT, 1);
}

/* ---- calls ---- */

bool h2call_hold(struct h2call *call, uint64_t n)
{
    const struct h2client_options *o = &call->c->o;
    if (*o->held > o->bytes || n > o->bytes - *o->held)
        return false;
    *o->held += n;
    call->held += n;
    return true;
}

void h2call_end(struct h2call *call, enum h2call_end end)
{
    if (call->ended)
        return;
    call->ended = true;
    call->reply.end = end;
    call->reply.total_us = call->sent_us ? clock_mono_us() - call->sent_us : 0;
    event_del(&call->timer);
    list_remove(&call->link);
    list_append(&call->c->ended, &call->link);
    h2client_later(call->c);
}

static void free_call(struct h2call *call)
{
    event_del(&call->timer);
    list_remove(&call->link);
    h2conn_let_go(call);
    call->c->ncalls--;
    *call->c->o.held -= call->held;
    mem_free(call->memory);
    mem_free(call->fields);
    mem_free(call->trailers);
    mem_free(call->in);
    mem_free(call);
}

static void tell(struct h2client *c)
{
    c->telling = true;
    while (!list_empty(&c->ended)) {
        struct h2call *call = list_entry(c->ended.next, struct h2call, link);
        list_remove(&call->link);
        call->reply.body = str_of(call->in, call->in_n);
        call->fn(call->arg, &call->reply);
        free_call(call);
    }
    c->telling = false;
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct h2call *call = arg;
    (void)fd;
    (void)what;
    h2call_end(call, H2CALL_TIMEOUT);
    if (call->conn && call->st.h)
        h2conn_doubt(call->conn, call->sent_us / 1000);
}

/* ---- connections ---- */

static void set_timer(struct h2client *c, uint32_t ms)
{
    struct timeval tv = clock_timeval(ms);
    event_add(&c->timer, &tv);
}

static void drop_current(struct h2client *c)
{
    event_del(&c->timer);
    reach_stop(&c->reach);
    if (c->conn)
        h2conn_free(c->conn);
    c->conn = NULL;
    c->state = H2CLIENT_IDLE;
}

/* reach.why says why. */
static void go_down(struct h2client *c)
{
    drop_current(c);
    list_for_each (it, &c->waiting)
        h2call_end(list_entry(it, struct h2call, link), H2CALL_LOST);
    c->state = H2CLIENT_DOWN;
    set_timer(c, backoff_next(&c->backoff));
}

static int on_reached(void *arg, int fd, struct err *e)
{
    struct h2client *c = client_of(arg);
    c->conn = h2conn_new(c, fd, e);
    if (!c->conn)
        return -ENOMEM;
    c->state = H2CLIENT_GREETING;
    h2client_later(c);
    return 0;
}

static void on_failed(void *arg)
{
    go_down(client_of(arg));
}

static const struct reach_events reach_events = {.reached = on_reached, .failed = on_failed};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct h2client *c = client_of(arg);
    (void)fd;
    (void)what;
    if (c->state == H2CLIENT_DOWN) {
        c->state = H2CLIENT_IDLE;
        return;
    }
    err_set(&c->reach.why, -ETIMEDOUT, "waited %u ms for %s of '%s'", c->o.connect_ms,
        c->state == H2CLIENT_GREETING ? "the server's SETTINGS" : reach_waits_for(&c->reach),
        c->reach.target);
    go_down(c);
}

/* It broke. Without anything on it that is no fault: servers close what is idle. */
static void current_gone(struct h2client *c)
{
    bool idle = c->state == H2CLIENT_UP && list_empty(&c->conn->calls);
    c->reach.why = c->conn->why;
    if (c->state == H2CLIENT_GREETING) {
        h2conn_free(c->conn);
        c->conn = NULL;
        c->state = H2CLIENT_REACHING;
        reach_next(&c->reach);
        return;
    }
    if (clock_mono_ms() - c->up_ms >= LIVED_MS)
        backoff_reset(&c->backoff);
    if (idle && c->conn->taken) {
        drop_current(c);
        c->reach.why = (struct err){0};
    } else {
        go_down(c);
    }
}

/* The server wants no more requests on it: those that follow take another one. One that never took
 * any is a server that is not up. */
static void said_goaway(struct h2client *c)
{
    if (!c->conn->taken) {
        err_set(&c->reach.why, -ECONNREFUSED, "'%s' takes no requests (GOAWAY)", c->reach.target);
        go_down(c);
        return;
    }
    list_append(&c->old, &c->conn->link);
    c->conn = NULL;
    c->state = H2CLIENT_IDLE;
}

static void greeted(struct h2client *c)
{
    event_del(&c->timer);
    c->state = H2CLIENT_UP;
    c->up_ms = clock_mono_ms();
    c->reach.why = (struct err){0};
}

/* Connections move on: up, old, gone, new. */
static void look_after(struct h2client *c)
{
    list_for_each (it, &c->old) {
        struct h2conn *h = list_entry(it, struct h2conn, link);
        if (h->gone || list_empty(&h->calls))
            h2conn_free(h);
    }
    if (c->state == H2CLIENT_GREETING && !c->conn->gone && h2conn_greeted(c->conn))
        greeted(c);
    if (c->conn && c->conn->gone)
        current_gone(c);
    else if (c->conn && c->state == H2CLIENT_UP && c->conn->goaway)
        said_goaway(c);
    if (c->state == H2CLIENT_IDLE && !list_empty(&c->waiting)) {
        set_timer(c, c->o.connect_ms);
        c->state = H2CLIENT_REACHING;
        reach_start(&c->reach);
    }
}

void h2client_turn(struct h2client *c)
{
    if (c->telling)
        return;
    look_after(c);
    list_for_each (it, &c->ended)
        h2conn_let_go(list_entry(it, struct h2call, link));
    list_for_each (it, &c->old)
        h2conn_pump(list_entry(it, struct h2conn, link), false);
    if (c->conn)
        h2conn_pump(c->conn, c->state == H2CLIENT_UP && !c->conn->goaway);
    tell(c);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    h2client_turn(client_of(arg));
}

/* ---- requests ---- */

/* Control bytes would end a line of the head. */
static bool plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

static bool sound(const struct h2request *r)
{
    if (!plain(r->method) || !plain(r->path) || !plain(r->authority))
        return false;
    for (size_t i = 0; i < r->nfields; i++) {
        const struct reply_field_view *f = &r->fields[i];
        enum field_id id = field_id(f->name.p, f->name.n);
        if (!plain(f->name) || !plain(f->value) || id == FIELD_HOST || id == FIELD_UPGRADE)
            return false;
    }
    return true;
}

static size_t head_bytes(const struct h2request *r)
{
    size_t n = r->method.n + r->path.n + r->authority.n + sizeof("  HTTP/1.1\r\nhost: \r\n\r\n");
    for (size_t i = 0; i < r->nfields; i++)
        n += r->fields[i].name.n + r->fields[i].value.n + 4;
    return n;
}

static void put_field(char **at, struct str name, struct str value)
{
    str_put(at, name);
    str_put(at, STR(": "));
    str_put(at, value);
    str_put(at, STR("\r\n"));
}

static int put_request(struct h2call *call, const struct h2request *r)
{
    size_t n = head_bytes(r);
    if (n > UINT32_MAX || !h2call_hold(call, n + r->body.n))
        return -ENOMEM;
    call->memory = mem_alloc(n + r->body.n);
    if (!call->memory)
        return -ENOMEM;
    char *at = call->memory;
    str_put(&at, r->method);
    str_put(&at, STR(" "));
    str_put(&at, r->path);
    str_put(&at, STR(" HTTP/1.1\r\n"));
    put_field(&at, STR("host"), r->authority);
    for (size_t i = 0; i < r->nfields; i++)
        put_field(&at, r->fields[i].name, r->fields[i].value);
    str_put(&at, STR("\r\n"));
    call->head_n = (uint32_t)(at - call->memory);
    call->left = str_put(&at, r->body);
    call->has_body = r->has_body || r->body.n;
    call->https = str_eq(r->scheme, STR("https"));
    call->head_method = str_eq(r->method, STR("HEAD"));
    call->refused = !sound(r);
    return 0;
}

static int set_deadline(struct h2call *call, uint32_t ms)
{
    struct timeval tv = clock_timeval(ms);
    return ms ? event_add(&call->timer, &tv) : 0;
}

struct h2call *h2client_request(
    struct h2client *c, const struct h2request *r, h2call_fn *fn, void *arg)
{
    struct h2call *call = c->ncalls < c->o.calls ? mem_zalloc(sizeof(*call)) : NULL;
    if (!call)
        return NULL;
    call->c = c;
    call->fn = fn;
    call->arg = arg;
    list_init(&call->link);
    list_init(&call->sending);
    list_init(&call->fed);
    evtimer_assign(&call->timer, c->base, on_deadline, call);
    c->ncalls++;
    if (put_request(call, r) || set_deadline(call, r->timeout_ms)) {
        free_call(call);
        return NULL;
    }
    list_append(&c->waiting, &call->link);
    if (c->state == H2CLIENT_DOWN)
        h2call_end(call, H2CALL_LOST);
    h2client_later(c);
    return call;
}

void h2call_cancel(struct h2call *call)
{
    h2client_later(call->c); /* RST_STREAM leaves */
    free_call(call);
}

/* ---- the client ---- */

static void set_defaults(struct h2client *c)
{
    struct h2client_options *o = &c->o;
    o->connect_ms = o->connect_ms ? o->connect_ms : 2000;
    o->backoff_ms = o->backoff_ms ? o->backoff_ms : 100;
    o->backoff_max_ms = o->backoff_max_ms ? o->backoff_max_ms : 5000;
    o->calls = o->calls ? o->calls : 128;
    o->body_bytes = o->body_bytes ? o->body_bytes : 1u << 20;
    o->head_bytes = o->head_bytes ? o->head_bytes : 64u << 10;
    o->bytes = o->bytes ? o->bytes : 64u << 20;
    o->held = o->held ? o->held : &c->own_held;
}

struct h2client *h2client_new(struct event_base *base, struct dns *dns, const char *target,
    const struct h2client_options *o, struct err *e)
{
    struct h2client *c = mem_zalloc(sizeof(*c));
    if (!c) {
        err_set(e, -ENOMEM, "out of memory for an HTTP/2 client");
        return NULL;
    }
    c->magic = CLIENT_MAGIC;
    c->base = base;
    c->o = *o;
    set_defaults(c);
    backoff_init(&c->backoff, c->o.backoff_ms, c->o.backoff_max_ms);
    list_init(&c->old);
    list_init(&c->waiting);
    list_init(&c->ended);
    evtimer_assign(&c->timer, base, on_timer, c);
    event_assign(&c->turn, base, -1, 0, on_turn, c);
    if (reach_init(&c->reach, base, dns, target, "an HTTP/2 server", &reach_events, c, e)) {
        h2client_free(c);
        return NULL;
    }
    return c;
}

bool h2client_up(const struct h2client *c)
{
    return c->state == H2CLIENT_UP;
}

bool h2client_down(const struct h2client *c)
{
    return c->state == H2CLIENT_DOWN;
}

const char *h2client_why(const struct h2client *c)
{
    return c->state == H2CLIENT_UP ? "" : c->reach.why.text;
}

uint32_t h2client_calls(const struct h2client *c)
{
    return c->ncalls;
}

static void free_calls(struct list *calls)
{
    list_for_each (it, calls)
        free_call(list_entry(it, struct h2call, link));
}

void h2client_free(struct h2client *c)
{
    if (!c)
        return;
    assert(c->magic == CLIENT_MAGIC && !c->telling);
    drop_current(c); /* calls on it: to `ended` */
    list_for_each (it, &c->old)
        h2conn_free(list_entry(it, struct h2conn, link));
    free_calls(&c->waiting);
    free_calls(&c->ended);
    event_del(&c->turn);
    reach_release(&c->reach);
    c->magic = 0;
    mem_free(c);
}
