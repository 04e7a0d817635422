/* The way of a request.
 *
 *   client.c on_ready ─→ request_run
 *       STEP_HEAD     collect the head                         step_head
 *       STEP_DECIDE   context, route, resolve (lib/graph)      step_decide ──┐ refused
 *       STEP_NAME     choose an endpoint, look its name up     request_step_name     │
 *       STEP_CONNECT  a connection from the pool, or a new one request_step_connect  │
 *       STEP_SEND     head and body to the provider            request_step_send     │
 *       STEP_REPLY    the reply's head                         request_step_reply    │
 *       STEP_RELAY    the reply's body                         request_step_relay    │
 *       STEP_TUNNEL   two raw flows, in place of a reply       request_step_tunnel   │
 *       STEP_OWN      a reply of our own  ←────────────────────step_own ←────┘
 *       STEP_DONE     log, counters; the connections go on     step_done
 *
 * Each step is a function that says which comes next, STEP_WAIT when an event must come first
 * (client or provider socket, timer, name, free connection: all of them call request_run again),
 * or STEP_GONE when the request is no more. docs/internals/close-table.md lists what happens when
 * a side ends or breaks in each step. */
#include "proxy/request.h"
#include "lib/base/mem.h"
#include "lib/graph/pinned.h"
#include "proxy/actions.h"
#include "proxy/budget.h"
#include "proxy/capture.h"
#include "proxy/edge.h"
#include "proxy/forwarded.h"
#include "proxy/grpc_call.h"
#include "proxy/h2link.h"
#include "proxy/ratelimit.h"
#include "proxy/share.h"
#include "proxy/stages.h"
#include "proxy/tunnel.h"
#include "proxy/worker.h"
#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#define FREE_REQUESTS_KEPT 256
#define HEAD_SMALL         2048u /* bytes of a head for which a small block leaves scratch enough */
#define RETRY_PERCENT      20    /* retries among all requests, unless the policy says otherwise */

static enum step step_head(struct request *r);
static enum step step_decide(struct request *r);
static enum step step_own(struct request *r);
static enum step step_done(struct request *r);

static enum step (*const steps[STEP_COUNT])(struct request *r) = {
    [STEP_HEAD] = step_head,
    [STEP_DECIDE] = step_decide,
    [STEP_NAME] = request_step_name,
    [STEP_CONNECT] = request_step_connect,
    [STEP_SEND] = request_step_send,
    [STEP_REPLY] = request_step_reply,
    [STEP_RELAY] = request_step_relay,
    [STEP_TUNNEL] = request_step_tunnel,
    [STEP_OWN] = step_own,
    [STEP_DONE] = step_done,
};

static const char *const step_words[STEP_COUNT] = {
    "head", "decide", "name", "connect", "send", "reply", "relay", "tunnel", "own", "done"};

const char *step_word(enum step s)
{
    return step_words[s];
}

void request_run(struct request *r)
{
    assert(r->magic == REQUEST_MAGIC);
    for (;;) {
        enum step next = steps[r->step](r);
        if (next >= STEP_COUNT)
            return;
        r->step = (uint8_t)next;
    }
}

/* ---- life ---- */

static struct request *request_alloc(struct worker *w)
{
    struct request *r = w->free_requests;
    if (r) {
        w->free_requests = r->next_free;
        w->nfree_requests--;
        return r;
    }
    uint32_t n = w->set->h1.fields;
    struct field *fields = mem_array(3 * n + ACTION_HEADERS_MAX, sizeof *fields);
    r = fields ? mem_alloc(sizeof *r) : NULL;
    if (!r) {
        mem_free(fields);
        return NULL;
    }
    r->fields = fields;
    r->reply_fields = r->fields + n;
    r->trailer_fields = r->reply_fields + n + ACTION_HEADERS_MAX;
    return r;
}

/* The first one of a connection also tells how long that took to come. */
static void begin_count(struct request *r)
{
    struct client *c = r->client;
    struct worker *w = r->w;
    bool stream = c->phase == CLIENT_STREAM;
    enum spoken spoken = stream ? SPOKEN_HTTP2 : c->phase == CLIENT_TCP ? SPOKEN_TCP : SPOKEN_HTTP1;
    struct conn *on = stream && c->parent ? &c->parent->conn : &c->conn;
    r->t_start = w->now_us;
    if (on->requests++ == 0)
        r->t_accept = on->opened_us;
    counter_inc(&w->stats[STAT_PROTOCOL_REQUESTS + 2 * spoken + c->listener->spec.trusted]);
}

struct request *request_new(struct client *c)
{
    struct worker *w = c->conn.w;
    struct request *r = request_alloc(w);
    if (!r)
        return NULL;
    memset(r, 0, offsetof(struct request, w));
    r->up.decoded = r->up.done = r->up.too_large = false;
    r->up.body.error = 0;
    r->up.sent = r->up.stamp_us = 0;
    r->head.size = r->head.nfields = 0;
    r->head.minor = 1;
    r->head.method_id = H1_METHOD_OTHER;
    r->magic = REQUEST_MAGIC;
    r->w = w;
    r->client = c;
    begin_count(r);
    list_init(&r->wait);
    timer_init(&r->timer, request_on_timer);
    h1_parser_reset(&r->parser, &w->set->h1, r->fields);
    counter_inc(&w->stats[STAT_REQUESTS_NOW]);
    return r;
}

static void request_free(struct request *r)
{
    struct worker *w = r->w;
    counter_sub(&w->stats[STAT_REQUESTS_NOW], 1);
    r->magic = 0;
    if (w->nfree_requests >= FREE_REQUESTS_KEPT || !r->fields) {
        mem_free(r->fields);
        mem_free(r);
        return;
    }
    r->next_free = w->free_requests;
    w->free_requests = r;
    w->nfree_requests++;
}

struct request *request_new_tcp(struct client *c, struct str name)
{
    struct worker *w = c->conn.w;
    struct request *r = request_new(c);
    if (!r)
        return NULL;
    if (buf_hold(&r->head_block, &w->bufs) != 0) {
        request_free(r);
        return NULL;
    }
    buf_put(&r->head_block, name.p, name.n);
    r->scratch = (struct scratch){buf_tail(&r->head_block), 0, buf_space(&r->head_block)};
    r->head = (struct h1_head){.fields = r->fields,
        .minor = 1,
        .method = STR("TCP"),
        .path = STR("-"),
        .authority = str_of(buf_head(&r->head_block), name.n),
        .size = 1};
    request_init_up(r);
    r->tunnel = TUNNEL_TCP;
    r->fresh = true;
    r->step = STEP_DECIDE;
    return r;
}

void requests_release(struct worker *w)
{
    while (w->free_requests) {
        struct request *r = w->free_requests;
        w->free_requests = r->next_free;
        mem_free(r->fields);
        mem_free(r);
    }
    w->nfree_requests = 0;
}

/* A longer one is no name of the graph: it stands in the request's head and stays there. */
static struct str copy_name(char to[64], struct str name)
{
    if (name.n == 0 || name.n > 64)
        return name;
    memcpy(to, name.p, name.n);
    return (struct str){to, name.n};
}

void request_drop_snapshot(struct request *r)
{
    if (!r->holding)
        return;
    r->holding = false;
    r->answer.route.actions = NULL;
    r->service = copy_name(r->names, r->service);
    r->answer.context.env = copy_name(r->names + 64, r->answer.context.env);
    r->provider_env = copy_name(r->names + 128, r->provider_env);
    slot_drop(&r->w->slots, r->slot);
}

/* Everything but the client connection and the object itself. */
static void request_release(struct request *r)
{
    struct worker *w = r->w;
    wheel_cancel(&w->wheel, &r->timer);
    names_unwait(r);
    provider_unwait(r);
    budget_request_done(r);
    request_drop_snapshot(r);
    ratelimit_done(r);
    tunnel_release(r);
    request_drop_head(r);
    buf_drop(&r->replay, &w->bufs);
}

void request_abandon(struct request *r)
{
    if (r->w->set->histograms)
        stages_count(r->w, r);
    if (r->w->log.wanted && r->head.size)
        accesslog_add(r->w, r);
    tunnel_abandon(r);
    if (r->pconn)
        pconn_close(r->pconn, PROVIDER_CLOSE_ABORT);
    capture_dropped(r, CAPTURE_DROP_ABORTED);
    request_release(r);
    request_free(r);
}

/* ---- faults ---- */

void request_provider_fault(struct request *r, enum provider_error why)
{
    counter_inc(&r->w->stats[STAT_PROVIDER_ERRORS + why]);
    r->provider_fault = (uint8_t)(why + 1);
}

void request_spare_keep_alive(struct request *r)
{
    struct worker *w = r->w;
    if (!w->overload.step || !r->keep || conn_is_stream(&r->client->conn))
        return;
    r->keep = false;
    counter_inc(&w->stats[STAT_OVERLOAD_REFUSED + OVERLOAD_KEEP_ALIVE - 1]);
}

enum step request_refuse(struct request *r, enum refusal why)
{
    counter_inc(&r->w->stats[STAT_REFUSALS + why]);
    if (r->pconn)
        pconn_close(r->pconn, PROVIDER_CLOSE_ABORT);
    names_unwait(r);
    provider_unwait(r);
    r->refusal = (uint8_t)why;
    return STEP_OWN;
}

enum step request_abort(struct request *r, enum client_close why)
{
    struct client *c = r->client;
    bool until_close = r->down.framing == H1_UNTIL_CLOSE || c->phase == CLIENT_STREAM;
    client_close(c, why, until_close);
    return STEP_GONE;
}

bool request_client_alive(struct request *r)
{
    struct client *c = r->client;
    char byte;
    if (c->phase == CLIENT_STREAM) { /* it cannot have ended: only have been reset */
        bool gone = h2strm_failed(&c->conn);
        if (gone) {
            r->tunnel_end = TUNNEL_END_CLIENT_RESET;
            client_close(c, CLIENT_CLOSE_RESET, false);
        }
        return !gone;
    }
    if (r->step <= STEP_DECIDE || !r->up.decoded || r->half_closed)
        return true;
    if (!c->conn.hup && !c->conn.readable)
        return true;
    ssize_t n = recv(c->conn.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        r->tunnel_end = TUNNEL_END_CLIENT_RESET;
        client_close(c, CLIENT_CLOSE_RESET, false);
        return false;
    }
    r->half_closed = n == 0 && buf_len(&c->conn.in) == 0; /* else more requests are here */
    return true;
}

/* ---- head ---- */

static enum step refuse_head(struct request *r, bool large)
{
    r->client_fault = CLIENT_CLOSE_BAD_REQUEST + 1;
    return request_refuse(r, large ? REFUSAL_TOO_LARGE : REFUSAL_BAD_REQUEST);
}

static enum step bad_request(struct request *r, enum h1_error e)
{
    counter_inc(&r->w->stats[STAT_BAD_REQUESTS + e]);
    return refuse_head(r, e == H1_E_HEAD_TOO_LARGE || e == H1_E_TOO_MANY_FIELDS);
}

/* Some views are of static text. */
static void move_str(struct str *s, struct str from, const char *to)
{
    if (s->p >= from.p && s->p < from.p + from.n)
        s->p = to + (s->p - from.p);
}

/* Many streams of one connection may wait at a time: a small head moves to a small block. False:
 * it is not small, or there is no block. */
static bool take_small_head(struct request *r, struct conn *c)
{
    struct h1_head *h = &r->head;
    if (h->size > HEAD_SMALL || buf_hold(&r->head_block, &r->w->small) != 0)
        return false;
    const char *from = buf_head(&c->in), *to = r->head_block.data;
    buf_put(&r->head_block, from, h->size);
    for (struct field *f = r->fields, *end = f + h->nfields; f < end; f++) {
        f->name = to + (f->name - from);
        f->value = to + (f->value - from);
    }
    struct str head = str_of(from, h->size);
    move_str(&h->method, head, to);
    move_str(&h->target, head, to);
    move_str(&h->path, head, to);
    move_str(&h->authority, head, to);
    buf_consume(&c->in, h->size);
    if (buf_len(&c->in) == 0)
        buf_drop(&c->in, &r->w->bufs);
    r->scratch = (struct scratch){buf_tail(&r->head_block), 0, buf_space(&r->head_block)};
    return true;
}

void request_drop_head(struct request *r)
{
    buf_drop(&r->head_block, r->head_block.size == SMALL_BYTES ? &r->w->small : &r->w->bufs);
}

/* The block with the head becomes the request's; what came behind it stays the connection's. */
static bool take_head(struct request *r)
{
    struct conn *c = &r->client->conn;
    if (r->client->phase == CLIENT_STREAM && take_small_head(r, c))
        return true;
    uint32_t end = c->in.start + r->head.size, rest = c->in.end - end;
    r->head_block = c->in;
    r->head_block.end = end;
    c->in = (struct buf){0};
    if (rest) {
        if (buf_hold(&c->in, &r->w->bufs) != 0)
            return false;
        buf_put(&c->in, r->head_block.data + end, rest);
    }
    r->scratch = (struct scratch){r->head_block.data + end, 0, r->head_block.size - end};
    return true;
}

void request_init_up(struct request *r)
{
    flow_init(&r->up, &r->head, &r->w->set->h1, r->head.framing, false);
    for (unsigned i = 0; r->head.te_trailers && i < r->head.nfields; i++)
        r->up.pass_trailers |= r->fields[i].id == FIELD_TRAILER;
    if (r->answer.route.actions) /* the body is said again */
        r->up.cap = r->answer.route.actions->max_body;
    r->up.declaring = r->fields;
    r->up.ndeclaring = r->head.nfields;
}

void request_run_bad(struct request *r, enum h2_error why)
{
    r->bad_head = (uint8_t)why;
    r->step = (uint8_t)refuse_head(r, why == H2_E_TOO_LARGE || why == H2_E_TOO_MANY);
    request_run(r);
}

static enum step head_done(struct request *r)
{
    struct client *c = r->client;
    r->t_head = r->w->now_us;
    if (c->phase == CLIENT_STREAM)
        h2strm_framing(&c->conn, &r->head);
    request_init_up(r);
    if (!take_head(r))
        return request_refuse(r, REFUSAL_OVERLOAD);
    r->keep = r->head.keep_alive && !c->refuse;
    if (r->w->bufs.nused > r->w->set->limit_buffers) {
        counter_inc(&r->w->stats[STAT_BUFFERS_REFUSED]);
        return request_refuse(r, REFUSAL_OVERLOAD);
    }
    if (r->w->overload.step >= OVERLOAD_STREAMS) {
        counter_inc(&r->w->stats[STAT_OVERLOAD_REFUSED + OVERLOAD_STREAMS - 1]);
        return request_refuse(r, REFUSAL_OVERLOAD);
    }
    if (c->refuse)
        return request_refuse(r, c->plain     ? REFUSAL_BAD_REQUEST
                                 : c->limited ? REFUSAL_RATE_LIMITED
                                              : REFUSAL_OVERLOAD);
    if (r->head.upgrade || r->head.method_id == H1_CONNECT) {
        enum step next = tunnel_judge(r);
        if (next != STEP_COUNT)
            return next;
    }
    if (r->head.expect_other)
        return request_refuse(r, REFUSAL_EXPECTATION);
    return STEP_DECIDE;
}

static enum step step_head(struct request *r)
{
    struct client *c = r->client;
    struct buf *in = &c->conn.in;
    for (;;) {
        if (buf_len(in)) {
            enum h1_status st = h1_request(&r->parser, buf_head(in), buf_len(in), &r->head);
            if (st == H1_DONE)
                return head_done(r);
            if (st == H1_ERROR)
                return bad_request(r, r->parser.error);
        }
        if (in->data && buf_space(in) == 0) {
            buf_compact(in);
            h1_parser_reset(&r->parser, &r->w->set->h1, r->fields);
        }
        switch (conn_read(&c->conn)) {
        case IO_OK:
            continue;
        case IO_AGAIN:
            if (r->deadline_ms == 0) {
                r->deadline_ms = 1; /* the client's timer rules the head: set it once */
                client_head_started(c);
            }
            return STEP_WAIT;
        case IO_FULL:
            return bad_request(r, H1_E_HEAD_TOO_LARGE);
        case IO_NO_MEMORY:
            client_close(c, CLIENT_CLOSE_NO_MEMORY, false);
            return STEP_GONE;
        case IO_EOF:
        case IO_ERROR:
            client_close(c, CLIENT_CLOSE_IN_HEAD, false);
            return STEP_GONE;
        }
    }
}

/* ---- decision ---- */

/* A call within an explained trace that came without the token: its application dropped the
 * context. Its record is what shows the leak. */
static bool lost_explained_context(const struct request *r)
{
    struct traces *t = r->w->shared->traces;
    return r->ask.trusted && !r->trace_made && traces_any(t) &&
           traces_known(t, str_of(r->trace_id, TRACE_ID_LEN), r->w->now_ms);
}

static void count_decision(struct request *r)
{
    counter_cell *stats = r->w->stats;
    const struct context *c = &r->answer.context;
    r->is_dark = (c->flags & CONTEXT_DARK) && r->ask.trusted;
    if (r->is_dark) /* STAT_DARK_REQUESTS */
        return;
    counter_inc(&stats[STAT_RULES + c->rule]);
    if (r->answer.moved)
        counter_inc(&stats[STAT_MOVED + r->answer.moved - 1]);
    else
        counter_inc(
            &stats[STAT_REQUESTS + (r->answer.refusal ? CLASS_NONE : r->answer.decision.cls)]);
    if (c->fault)
        counter_inc(&stats[STAT_FAULTS + c->fault]);
    if (c->foreign)
        counter_add(&stats[STAT_CONTEXT_FOREIGN], c->foreign);
    if (c->baggage_cut)
        counter_inc(&stats[STAT_BAGGAGE_CUT]);
}

/* The service's policy, where it says something, else the settings. */
static void take_policy(struct request *r, const struct snapshot *s)
{
    const struct settings *set = r->w->set;
    const struct service_info *info = snapshot_service(s, r->answer.decision.service);
    const struct policy *p = &info->policy;
    r->http2 = info->http2;
    r->reply_timeout_ms = p->timeout_ms ? p->timeout_ms : (uint32_t)set->timeout_reply;
    r->connect_timeout_ms =
        p->connect_timeout_ms ? p->connect_timeout_ms : (uint32_t)set->timeout_connect;
    r->retries_max = p->retries_max == UINT32_MAX ? 1 : p->retries_max;
    r->retry_percent =
        p->retries_budget_percent == UINT32_MAX ? RETRY_PERCENT : p->retries_budget_percent;
    r->try_timeout_ms = p->try_timeout_ms;
    affinity_take(r, p, r->answer.route.actions);
    r->stream_timeout_ms = p->idle_timeout_ms ? p->idle_timeout_ms : (uint32_t)set->timeout_stream;
    r->tunnel_timeout_ms = p->idle_timeout_ms ? p->idle_timeout_ms : (uint32_t)set->timeout_tunnel;
}

static struct subjects subjects_of(const struct client *c)
{
    const struct tls_subjects *s = c->subjects;
    return s ? (struct subjects){s->name, s->n} : (struct subjects){NULL, 0};
}

static enum step step_decide(struct request *r)
{
    struct worker *w = r->w;
    const struct snapshot *s = w->slots.current;
    if (!s)
        return request_refuse(r, REFUSAL_OVERLOAD);
    if (w->slots.limits && !ratelimit_source(r))
        return request_refuse(r, REFUSAL_RATE_LIMITED);
    r->slot = (uint8_t)slot_hold(&w->slots, w->slots.slot);
    r->holding = true;
    r->snapshot = s;
    r->epoch = snapshot_epoch(s);
    r->ask = (struct ask){.fields = r->fields,
        .nfields = r->head.nfields,
        .authority = r->head.authority,
        .path = r->head.path,
        .trusted = r->client->listener->spec.trusted,
        .https = r->client->tls,
        .subjects = subjects_of(r->client),
        .refuse_missing = w->refuse_missing,
        .connect = r->tunnel == TUNNEL_CONNECT,
        .gateway = w->slots.gateway,
        .now = w->now_s,
        .scratch = &r->scratch,
        .signer = w->signer};
    if (r->tunnel == TUNNEL_TCP) {
        r->ask.service = r->client->listener->spec.tcp;
        r->ask.env = r->client->listener->spec.env;
    } else if (r->tunnel == TUNNEL_CONNECT) {
        r->ask.path = STR("/"); /* routed by its authority alone */
    }
    decide(s, &r->ask, &r->answer);
    pins_decide(r);
    s = r->snapshot;
    const struct answer *a = &r->answer;
    r->t_decided = w->now_us;
    if (a->decision.service != NUMBER_NONE)
        r->service = snapshot_service_name(s, a->decision.service);
    if (a->decision.provider != NUMBER_NONE)
        r->provider_env = snapshot_env_name(s, a->decision.provider);
    r->is_explain = a->context.explain;
    count_decision(r);
    heads_trace(r);
    forwarded_decide(r);
    if (r->is_explain || lost_explained_context(r))
        trace_hop(r);
    if (a->moved)
        return STEP_OWN;
    if (!r->ask.trusted && r->tunnel != TUNNEL_TCP && edge_decided(r))
        return STEP_OWN;
    if ((w->capture.rules || r->is_dark) && !capture_decide(r))
        return request_refuse(r, REFUSAL_DARK_BLOCKED);
    if (a->refusal)
        return request_refuse(r, a->refusal);
    if (w->slots.limits && !ratelimit_environment(r))
        return request_refuse(r, REFUSAL_RATE_LIMITED);
    if (!r->is_dark) {
        usage_add(&w->by_env, a->decision.env);
        usage_add(&w->by_service, a->decision.service);
    }
    take_policy(r, s);
    if (a->route.actions) {
        enum step next = actions_begin(r);
        if (next != STEP_COUNT)
            return next;
    }
    return grpc_call_begin(r) ? STEP_NAME : request_refuse(r, REFUSAL_BAD_REQUEST);
}

/* ---- a reply of our own ---- */

/* The rest of a request that is not forwarded: what is here already is read and dropped. */
static void discard_request(struct request *r)
{
    struct client *c = r->client;
    if (r->up.decoded || r->client_fault || !r->head.size)
        return;
    flow_discard(&r->up, &c->conn);
    flow_pump(&r->up, &c->conn, &c->conn, r->trailer_fields);
}

static int own_reply(struct request *r, struct buf *b)
{
    if (r->answer.moved && !r->refusal)
        return actions_moved_reply(r, b);
    return r->share ? share_reply(r, b) : heads_refusal(r, b);
}

static enum step step_own(struct request *r)
{
    struct conn *c = &r->client->conn;
    if (r->tunnel == TUNNEL_TCP) { /* who speaks no HTTP is not answered */
        client_close(r->client, CLIENT_CLOSE_REFUSED, false);
        return STEP_GONE;
    }
    if (!r->replied) {
        r->replied = true;
        discard_request(r);
        request_spare_keep_alive(r);
        if (!r->up.decoded || r->client_fault || r->half_closed || r->w->draining)
            r->keep = false;
        c->last = true;
        r->t_own = r->w->now_us;
        if (buf_hold(&c->out, &r->w->bufs) != 0 || own_reply(r, &c->out) != 0) {
            client_close(r->client, CLIENT_CLOSE_NO_MEMORY, false);
            return STEP_GONE;
        }
        request_drop_snapshot(r);
        request_deadline(r, r->w->now_ms + r->w->set->timeout_stream);
    }
    switch (conn_write(c, NULL)) {
    case IO_OK:
        return STEP_DONE;
    case IO_ERROR:
        client_close(r->client, CLIENT_CLOSE_RESET, false);
        return STEP_GONE;
    default:
        return STEP_WAIT;
    }
}

/* ---- the end ---- */

static bool provider_reusable(const struct request *r)
{
    return !r->in_tunnel && r->reply.keep_alive && r->reply.framing != H1_UNTIL_CLOSE &&
           r->up.done && !r->send_failed && buf_len(&r->pconn->conn.in) == 0;
}

static enum client_close close_reason(const struct request *r)
{
    if (r->client_fault)
        return r->client_fault - 1;
    if (r->in_tunnel)
        return r->tunnel_end == TUNNEL_END_CLOSED ? CLIENT_CLOSE_DONE : CLIENT_CLOSE_PROVIDER;
    if (r->client->refuse)
        return CLIENT_CLOSE_REFUSED;
    if (!r->up.decoded)
        return CLIENT_CLOSE_EARLY_REPLY;
    if (r->half_closed)
        return CLIENT_CLOSE_HALF_CLOSE;
    return r->w->draining ? CLIENT_CLOSE_DRAIN : CLIENT_CLOSE_DONE;
}

static enum step step_done(struct request *r)
{
    struct worker *w = r->w;
    struct client *c = r->client;
    if (r->status >= 100 && r->status < 600 && !r->is_dark)
        counter_inc(&w->stats[STAT_REPLIES + r->status / 100 - 1]);
    if (w->set->histograms)
        stages_count(w, r);
    if (w->log.wanted)
        accesslog_add(w, r);
    if (r->captured)
        capture_end(r);
    if (r->pconn) {
        balance_done(r);
        if (provider_reusable(r))
            pconn_keep(r->pconn);
        else
            pconn_close(r->pconn, PROVIDER_CLOSE_DONE);
    }
    enum client_close why = close_reason(r);
    bool keep = r->keep && !r->half_closed; /* what its head said; draining is in that */
    /* More may come, or is here unread: closing now could destroy the reply on its way. */
    bool linger = !keep;
    request_release(r);
    request_free(r);
    c->req = NULL;
    if (linger)
        client_linger(c, why);
    else
        client_next(c, keep, why);
    return STEP_GONE;
}
