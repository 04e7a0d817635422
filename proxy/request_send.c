/* The steps towards the provider: endpoint, connection, request. */
#include "lib/base/mem.h"
#include "proxy/budget.h"
#include "proxy/grpc_call.h"
#include "proxy/heads.h"
#include "proxy/minrate.h"
#include "proxy/request.h"
#include "proxy/tunnel.h"
#include "proxy/worker.h"
#include <assert.h>
#include <errno.h>

/* A gRPC call ends with its own deadline, whatever else would be waited for. */
static uint64_t within_call(const struct request *r, uint64_t deadline_ms)
{
    uint64_t call_ms = r->call_deadline_us / 1000 + 1;
    return r->call_deadline_us && call_ms < deadline_ms ? call_ms : deadline_ms;
}

void request_deadline(struct request *r, uint64_t deadline_ms)
{
    deadline_ms = within_call(r, deadline_ms);
    r->deadline_ms = deadline_ms;
    /* A timer that is set for earlier finds the new deadline when it fires. */
    if (r->timer.deadline == 0 || r->timer.deadline > deadline_ms)
        worker_timer(r->w, &r->timer, deadline_ms);
}

/* What is left of `all` for this try, at least a millisecond. */
static uint32_t of_try(const struct request *r, uint32_t all)
{
    uint64_t used = r->w->now_ms - r->try_ms;
    if (r->try_timeout_ms == 0)
        return all;
    uint32_t left = used < r->try_timeout_ms ? (uint32_t)(r->try_timeout_ms - used) : 1;
    return left < all ? left : all;
}

static uint32_t connect_wait(const struct request *r)
{
    return of_try(r, r->connect_timeout_ms);
}

/* The time of the try begins anew when a body was sent: that may have taken long. */
static uint32_t reply_wait(const struct request *r)
{
    if (r->up.taken == 0 || r->try_timeout_ms == 0)
        return of_try(r, r->reply_timeout_ms);
    return r->try_timeout_ms < r->reply_timeout_ms ? r->try_timeout_ms : r->reply_timeout_ms;
}

/* ---- endpoint ---- */

enum step request_step_name(struct request *r)
{
    struct worker *w = r->w;
    if (r->waiting_name)
        return STEP_WAIT;
    if (r->endpoint.kind == ADDR_NONE)
        r->try_ms = w->now_ms;
    switch (balance_choose(r, &r->provider)) {
    case BALANCE_READY:
        if (r->tries == 0)
            provider_earn_retry(r->provider, r->retry_percent);
        return STEP_CONNECT;
    case BALANCE_WAIT:
        request_deadline(r, w->now_ms + connect_wait(r) + w->set->dns_timeout);
        return STEP_WAIT;
    case BALANCE_NO_NAME:
        return request_try_failed(r, PROVIDER_NAME, REFUSAL_CONNECT);
    case BALANCE_UNUSABLE:
        r->retry_after_s = balance_retry_after(r);
        return request_refuse(r, REFUSAL_UNHEALTHY);
    case BALANCE_FORM:
        return request_refuse(r, REFUSAL_UNSUPPORTED);
    case BALANCE_NO_MEMORY:
        break;
    }
    return request_refuse(r, REFUSAL_OVERLOAD);
}

/* ---- connection ---- */

static bool may_retry(const struct request *r)
{
    return r->tries < r->retries_max && !r->up.sent && !r->replied && r->holding;
}

/* The next try goes to another endpoint, if there is one. */
static enum step elsewhere(struct request *r)
{
    counter_inc(&r->w->stats[STAT_RETRIES]);
    names_unwait(r);
    provider_unwait(r);
    balance_tried(r);
    budget_request_done(r);
    r->endpoint.kind = ADDR_NONE;
    r->provider = NULL;
    return STEP_NAME;
}

static enum step try_again(struct request *r)
{
    r->tries++;
    return elsewhere(r);
}

enum step request_stale(struct request *r)
{
    if (r->balance != BALANCE_CONSISTENT_HASH)
        return elsewhere(r);
    counter_inc(&r->w->stats[STAT_RETRIES]);
    return STEP_CONNECT;
}

/* A fault of the endpoint, and not of its name or of our own limits. */
static bool is_endpoints(enum provider_error why)
{
    return why != PROVIDER_NAME && why != PROVIDER_PENDING_TIMEOUT && why != PROVIDER_PENDING_FULL;
}

enum step request_try_failed(struct request *r, enum provider_error why, enum refusal word)
{
    request_provider_fault(r, why);
    if (is_endpoints(why))
        balance_failed(r);
    if (r->pconn)
        pconn_close(r->pconn, PROVIDER_CLOSE_ABORT);
    bool connecting = r->step == STEP_CONNECT || r->step == STEP_NAME;
    if (!connecting || word != REFUSAL_CONNECT || !may_retry(r))
        return request_refuse(r, word);
    if (r->provider && !provider_spend_retry(r->provider)) {
        counter_inc(&r->w->stats[STAT_RETRIES_DENIED]);
        return request_refuse(r, word);
    }
    return try_again(r);
}

enum step request_say_again(struct request *r)
{
    if (r->tries >= (r->retries_max ? r->retries_max : 1))
        return STEP_COUNT;
    if (r->tries > 0 && !provider_spend_retry(r->provider)) {
        counter_inc(&r->w->stats[STAT_RETRIES_DENIED]);
        return STEP_COUNT;
    }
    return try_again(r);
}

/* The connection stands. */
static enum step connected(struct request *r)
{
    return r->tunnel >= TUNNEL_CONNECT ? tunnel_connected(r) : STEP_SEND;
}

static enum step connect_begin(struct request *r)
{
    struct worker *w = r->w;
    int error = 0;
    switch (provider_acquire(w, r->provider, r, r->fresh, &r->pconn, &error)) {
    case ACQUIRE_READY:
        return connected(r);
    case ACQUIRE_PENDING:
    case ACQUIRE_WAIT:
        request_deadline(r, w->now_ms + connect_wait(r));
        return STEP_WAIT;
    case ACQUIRE_FULL:
        return request_try_failed(r, PROVIDER_PENDING_FULL, REFUSAL_OVERLOAD);
    case ACQUIRE_FAILED:
        break;
    }
    return request_try_failed(
        r, error == -EACCES ? PROVIDER_TLS : PROVIDER_REFUSED, REFUSAL_CONNECT);
}

enum step request_step_connect(struct request *r)
{
    if (r->waiting_conn)
        return STEP_WAIT;
    if (r->connect_failed) {
        r->connect_failed = false;
        return request_try_failed(r, PROVIDER_REFUSED, REFUSAL_CONNECT);
    }
    if (!r->pconn)
        return connect_begin(r);
    if (!r->pconn->pending) /* one that another request had */
        return connected(r);
    struct conn *c = &r->pconn->conn;
    if (!c->writable && !c->readable && !c->hup)
        return STEP_WAIT;
    int rc = pconn_connected(r->pconn);
    if (rc == -EINPROGRESS)
        return STEP_WAIT;
    if (rc != 0)
        return request_try_failed(
            r, rc == -EACCES ? PROVIDER_TLS : PROVIDER_REFUSED, REFUSAL_CONNECT);
    return connected(r);
}

/* ---- request ---- */

/* How the body is written to the provider. A stream needs neither chunks nor a length. */
static uint8_t framing_to_provider(const struct request *r)
{
    const struct h1_head *h = &r->head;
    if (conn_is_stream(&r->pconn->conn))
        return H1_UNTIL_CLOSE;
    return h->framing != H1_UNTIL_CLOSE ? h->framing : h->has_length ? H1_LENGTH : H1_CHUNKED;
}

/* Body bytes are kept while a stale connection may force us to say them again. */
static void start_tap(struct request *r)
{
    r->up.tap = NULL;
    bool stream = conn_is_stream(&r->pconn->conn); /* may say that nothing was processed */
    bool stale = r->pconn->used && h1_method_idempotent(r->head.method_id);
    if (r->up.decoded || !(stream || stale) || r->w->set->limit_retry == 0)
        return;
    if (buf_hold(&r->replay, &r->w->bufs) != 0)
        return;
    r->replay.size = (uint32_t)r->w->set->limit_retry;
    r->up.tap = &r->replay;
}

enum step request_step_send(struct request *r)
{
    struct worker *w = r->w;
    struct conn *c = &r->pconn->conn;
    if (r->tunnel && conn_is_stream(c)) {
        enum step next;
        if (!tunnel_may_ask(r, &next))
            return next;
    }
    r->t_connected = w->now_us;
    r->up.framing = framing_to_provider(r);
    if (buf_hold(&c->out, &w->bufs) != 0)
        return request_refuse(r, REFUSAL_OVERLOAD);
    if (heads_request(r, &c->out) != 0)
        return request_refuse(r, REFUSAL_TOO_LARGE);
    start_tap(r);
    r->up.stamp_us = w->now_us;
    h1_parser_reset(&r->reply_parser, &w->set->h1, r->reply_fields);
    if (!r->up.decoded)
        minrate_begin(r);
    request_deadline(
        r, w->now_ms + (r->up.decoded ? reply_wait(r) : minrate_wait(w, r->stream_timeout_ms)));
    return STEP_REPLY;
}

enum step request_pump_up(struct request *r)
{
    struct worker *w = r->w;
    if (r->up.done || r->send_failed)
        return STEP_COUNT;
    switch (flow_pump(&r->up, &r->client->conn, &r->pconn->conn, r->trailer_fields)) {
    case FLOW_WAIT:
        return STEP_COUNT;
    case FLOW_DONE:
        if (r->step == STEP_REPLY)
            request_deadline(r, w->now_ms + reply_wait(r));
        return STEP_COUNT;
    case FLOW_TO_ERROR: /* P14: it may have answered before it closed */
        r->send_failed = true;
        r->keep = false;
        request_deadline(r, w->now_ms + r->reply_timeout_ms);
        return STEP_COUNT;
    case FLOW_FROM_ERROR:
        client_close(r->client, CLIENT_CLOSE_RESET, false);
        return STEP_GONE;
    case FLOW_NO_MEMORY:
        return r->replied ? request_abort(r, CLIENT_CLOSE_NO_MEMORY)
                          : request_refuse(r, REFUSAL_OVERLOAD);
    case FLOW_TOO_LARGE:
        r->client_fault = CLIENT_CLOSE_TOO_LARGE + 1;
        return r->replied ? request_abort(r, CLIENT_CLOSE_TOO_LARGE)
                          : request_refuse(r, REFUSAL_TOO_LARGE);
    case FLOW_MALFORMED:
        counter_inc(&w->stats[STAT_BAD_REQUESTS + r->up.body.error]);
        r->client_fault = CLIENT_CLOSE_BAD_REQUEST + 1;
        break;
    case FLOW_TRUNCATED:
    case FLOW_EXTRA:
        r->client_fault = CLIENT_CLOSE_IN_BODY + 1;
        break;
    }
    return r->replied ? request_abort(r, r->client_fault - 1)
                      : request_refuse(r, REFUSAL_BAD_REQUEST);
}

/* ---- time-outs ---- */

static enum step stalled(struct request *r)
{
    struct worker *w = r->w;
    /* A client that waits for 100 (Continue) owes nothing yet. */
    bool asked = !r->head.expect_continue || r->interim > 0 || r->up.taken > 0;
    bool client_slow = r->step == STEP_REPLY
                           ? asked && r->up.span.n == 0 && buf_len(&r->pconn->conn.out) == 0
                           : r->down.span.n > 0 || buf_len(&r->client->conn.out) > 0;
    if (r->step == STEP_RELAY) {
        if (!client_slow) {
            counter_inc(&w->stats[STAT_PROVIDER_ERRORS + PROVIDER_STALLED]);
            balance_failed(r);
        }
        return request_abort(r, client_slow ? CLIENT_CLOSE_STALLED : CLIENT_CLOSE_PROVIDER);
    }
    if (!client_slow)
        return request_try_failed(r, PROVIDER_STALLED, REFUSAL_TIMEOUT);
    r->client_fault = CLIENT_CLOSE_BODY_TIMEOUT + 1;
    return request_refuse(r, REFUSAL_REQUEST_TIMEOUT);
}

static enum step too_slow(struct request *r)
{
    if (r->step == STEP_RELAY)
        return request_abort(r, CLIENT_CLOSE_TOO_SLOW);
    r->client_fault = CLIENT_CLOSE_TOO_SLOW + 1;
    return request_refuse(r, REFUSAL_REQUEST_TIMEOUT);
}

static enum step timed_out(struct request *r)
{
    switch ((enum step)r->step) {
    case STEP_NAME:
        return request_try_failed(r, PROVIDER_NAME, REFUSAL_CONNECT);
    case STEP_CONNECT:
        return r->waiting_conn && !provider_h2_connecting(r->provider)
                   ? request_try_failed(r, PROVIDER_PENDING_TIMEOUT, REFUSAL_OVERLOAD)
                   : request_try_failed(r, PROVIDER_CONNECT_TIMEOUT, REFUSAL_CONNECT);
    case STEP_SEND: /* waits for the SETTINGS of a provider */
        return request_try_failed(r, PROVIDER_CONNECT_TIMEOUT, REFUSAL_CONNECT);
    case STEP_REPLY:
        return r->up.done || r->send_failed
                   ? request_try_failed(r, PROVIDER_REPLY_TIMEOUT, REFUSAL_TIMEOUT)
                   : stalled(r);
    case STEP_RELAY:
        return stalled(r);
    case STEP_TUNNEL:
        return tunnel_idle(r);
    case STEP_OWN:
        client_close(r->client, CLIENT_CLOSE_STALLED, true);
        return STEP_GONE;
    default:
        return STEP_WAIT;
    }
}

/* The call's own deadline has passed, in whatever step. */
static enum step call_timed_out(struct request *r)
{
    if (r->step == STEP_OWN)
        return timed_out(r);
    if (r->replied)
        return request_abort(r, CLIENT_CLOSE_DEADLINE);
    if (r->step > STEP_CONNECT)
        counter_inc(&r->w->stats[STAT_PROVIDER_ERRORS + PROVIDER_REPLY_TIMEOUT]);
    return request_refuse(r, REFUSAL_TIMEOUT);
}

/* While bytes flow, each one moves it; nobody tells the wheel. */
static uint64_t due(const struct request *r, bool streaming)
{
    uint64_t last = r->up.stamp_us > r->down.stamp_us ? r->up.stamp_us : r->down.stamp_us;
    if (r->step == STEP_TUNNEL)
        return last / 1000 + r->tunnel_timeout_ms;
    return within_call(r, streaming ? last / 1000 + r->stream_timeout_ms : r->deadline_ms);
}

void request_on_timer(struct timer *t)
{
    struct request *r = list_entry(t, struct request, timer);
    assert(r->magic == REQUEST_MAGIC);
    struct worker *w = r->w;
    bool streaming = r->step == STEP_RELAY ||
                     (r->step == STEP_REPLY && !r->up.done && !r->send_failed && !r->is_call);
    uint64_t look_ms = UINT64_MAX;
    bool slow = streaming && minrate_look(r, &look_ms);
    uint64_t deadline = due(r, streaming);
    if (deadline > w->now_ms && !slow) {
        worker_timer(w, t, deadline < look_ms ? deadline : look_ms);
        return;
    }
    enum step next = grpc_call_late(r) ? call_timed_out(r) : slow ? too_slow(r) : timed_out(r);
    if (next >= STEP_COUNT)
        return;
    r->step = (uint8_t)next;
    request_run(r);
}
