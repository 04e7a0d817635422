/* The steps back from the provider: the reply's head and its body. */
#include "lib/base/mem.h"
#include "proxy/capture.h"
#include "proxy/grpc_call.h"
#include "proxy/h2link.h"
#include "proxy/heads.h"
#include "proxy/minrate.h"
#include "proxy/request.h"
#include "proxy/tunnel.h"
#include "proxy/worker.h"

/* ---- a connection that was stale ---- */

/* What was sent of the body is put back before what the client sent since. */
static bool restore_body(struct request *r)
{
    struct buf *in = &r->client->conn.in;
    uint32_t kept = buf_len(&r->replay), rest = buf_len(in);
    if (kept == 0)
        return true;
    if (kept + rest > BLOCK_BYTES || buf_hold(in, &r->w->bufs) != 0)
        return false;
    if (rest)
        memmove(in->data + kept, buf_head(in), rest);
    memcpy(in->data, buf_head(&r->replay), kept);
    in->start = 0;
    in->end = kept + rest;
    r->replay.start = r->replay.end = 0;
    return true;
}

/* P5: no byte of a reply came on a connection that was used before: most likely the provider had
 * closed it already. RFC 9110 section 9.2.2 lets us say an idempotent request again. */
static enum step stale_retry(struct request *r)
{
    bool body_kept = r->up.taken == 0 || (r->up.tap && !r->up.tap_lost);
    struct conn *p = &r->pconn->conn;
    bool unprocessed = conn_is_stream(p) && h2strm_unprocessed(p);
    bool lost = !conn_is_stream(p) || h2strm_lost(p); /* a reset stream was looked at */
    bool stale = lost && r->pconn->used && !r->fresh && h1_method_idempotent(r->head.method_id);
    if (!(stale || unprocessed) || !r->holding || !body_kept)
        return STEP_COUNT;
    enum step next = unprocessed ? request_say_again(r) : request_stale(r);
    if (next == STEP_COUNT || !restore_body(r))
        return STEP_COUNT;
    pconn_close(r->pconn, PROVIDER_CLOSE_ABORT);
    r->fresh = true;
    r->send_failed = false;
    r->keep = r->head.keep_alive && !r->client->refuse;
    request_init_up(r);
    if (r->captured)
        capture_again(r);
    return next;
}

static enum step reply_ended(struct request *r)
{
    /* The provider looks at the deadline too, and may be the first to act on it. */
    if (grpc_call_late(r))
        return request_try_failed(r, PROVIDER_REPLY_TIMEOUT, REFUSAL_TIMEOUT);
    if (buf_len(&r->pconn->conn.in) > 0)
        return request_try_failed(r, PROVIDER_CLOSED_IN_HEAD, REFUSAL_BAD_REPLY);
    enum step again = r->interim == 0 ? stale_retry(r) : STEP_COUNT;
    return again != STEP_COUNT ? again : request_try_failed(r, PROVIDER_CLOSED, REFUSAL_BAD_REPLY);
}

static enum step malformed(struct request *r, enum h1_error e)
{
    counter_inc(&r->w->stats[STAT_BAD_REPLIES + e]);
    return request_try_failed(r, PROVIDER_MALFORMED, REFUSAL_BAD_REPLY);
}

/* ---- head ---- */

/* A 1xx: passed on to clients that know them. STEP_COUNT: the next head follows. */
static enum step interim_reply(struct request *r)
{
    struct conn *c = &r->client->conn;
    if (r->reply.status == 101 && r->tunnel == TUNNEL_UPGRADE)
        return tunnel_switched(r);
    if (r->reply.status == 101 || r->interim >= r->w->set->limit_interim)
        return malformed(r, H1_E_STATUS_LINE);
    r->interim++;
    if (r->head.minor >= 1) {
        if (buf_hold(&c->out, &r->w->bufs) != 0)
            return request_refuse(r, REFUSAL_OVERLOAD);
        if (heads_interim(r, &c->out) != 0)
            return malformed(r, H1_E_HEAD_TOO_LARGE);
        if (conn_write(c, NULL) == IO_ERROR) {
            client_close(r->client, CLIENT_CLOSE_RESET, false);
            return STEP_GONE;
        }
    }
    buf_consume(&r->pconn->conn.in, r->reply.size);
    h1_parser_reset(&r->reply_parser, &r->w->set->h1, r->reply_fields);
    return STEP_COUNT;
}

static enum step final_reply(struct request *r)
{
    struct worker *w = r->w;
    struct conn *p = &r->pconn->conn, *c = &r->client->conn;
    uint8_t framing;
    bool extra = buf_len(&p->in) > r->reply.size;
    bool empty = h1_body_empty(&r->reply); /* broken: by what came with the head */
    bool broken = conn_is_stream(p) && (empty ? h2strm_failed(p) : h2strm_malformed(p));
    if ((extra && empty) || broken) {
        enum provider_error why = extra && empty ? PROVIDER_EXTRA_BYTES : PROVIDER_CLOSED_IN_BODY;
        request_provider_fault(r, why);
        return request_refuse(r, REFUSAL_BAD_REPLY);
    }
    request_spare_keep_alive(r);
    if (!r->up.decoded || r->half_closed || w->draining || r->tunnel)
        r->keep = false; /* C13: whoever answers early cannot know what becomes of the request */
    if (buf_hold(&c->out, &w->bufs) != 0)
        return request_refuse(r, REFUSAL_OVERLOAD);
    if (heads_reply(r, &c->out, &framing) != 0)
        return malformed(r, H1_E_HEAD_TOO_LARGE);
    r->replied = true;
    r->status = r->reply.status;
    if (r->status >= 502 && r->status <= 504)
        balance_failed(r);
    r->t_reply = w->now_us;
    flow_init(&r->down, &r->reply, &w->set->h1, framing, true);
    r->down.pass_trailers = r->head.te_trailers || conn_is_stream(c);
    r->down.stamp_us = w->now_us;
    if (r->captured)
        capture_reply(r);
    buf_consume(&p->in, r->reply.size);
    request_drop_snapshot(r);
    request_deadline(r, w->now_ms + minrate_wait(w, r->stream_timeout_ms));
    return STEP_RELAY;
}

enum step request_step_reply(struct request *r)
{
    enum step up = request_pump_up(r);
    if (up != STEP_COUNT)
        return up;
    struct conn *p = &r->pconn->conn, *c = &r->client->conn;
    if (buf_len(&c->out) && conn_write(c, NULL) == IO_ERROR) { /* of an interim reply */
        client_close(r->client, CLIENT_CLOSE_RESET, false);
        return STEP_GONE;
    }
    for (;;) {
        if (buf_len(&p->in)) {
            enum h1_status st = h1_reply(
                &r->reply_parser, buf_head(&p->in), buf_len(&p->in), r->head.method_id, &r->reply);
            if (st == H1_ERROR)
                return malformed(r, r->reply_parser.error);
            if (st == H1_DONE) {
                if (conn_is_stream(p))
                    h2strm_framing(p, &r->reply);
                if (r->tunnel == TUNNEL_UPGRADE && conn_is_stream(p) && r->reply.status / 100 == 2)
                    return tunnel_switched(r);
                if (r->reply.status >= 200)
                    return final_reply(r);
                enum step next = interim_reply(r);
                if (next != STEP_COUNT)
                    return next;
                continue;
            }
        }
        if (p->in.data && buf_space(&p->in) == 0) {
            buf_compact(&p->in);
            h1_parser_reset(&r->reply_parser, &r->w->set->h1, r->reply_fields);
        }
        switch (conn_read(p)) {
        case IO_OK:
            continue;
        case IO_AGAIN:
            return STEP_WAIT;
        case IO_FULL:
            return malformed(r, H1_E_HEAD_TOO_LARGE);
        case IO_NO_MEMORY:
            return request_refuse(r, REFUSAL_OVERLOAD);
        case IO_EOF:
        case IO_ERROR:
            return reply_ended(r);
        }
    }
}

/* ---- body ---- */

/* Nothing of the reply has left yet: a refusal can still take its place. */
static bool unsent(const struct request *r)
{
    return r->interim == 0 && !r->down.begun;
}

static enum step reply_broken(struct request *r, enum provider_error why)
{
    balance_failed(r);
    request_provider_fault(r, why);
    if (!unsent(r))
        return request_abort(r, CLIENT_CLOSE_PROVIDER);
    r->client->conn.out.start = r->client->conn.out.end = 0;
    r->replied = false;
    r->status = 0;
    return request_refuse(r, REFUSAL_BAD_REPLY);
}

enum step request_step_relay(struct request *r)
{
    enum step up = request_pump_up(r);
    if (up != STEP_COUNT)
        return up;
    switch (flow_pump(&r->down, &r->pconn->conn, &r->client->conn, r->reply_fields)) {
    case FLOW_WAIT:
        return STEP_WAIT;
    case FLOW_DONE:
        return STEP_DONE;
    case FLOW_TRUNCATED:
    case FLOW_FROM_ERROR:
        return reply_broken(r, PROVIDER_CLOSED_IN_BODY);
    case FLOW_MALFORMED:
        counter_inc(&r->w->stats[STAT_BAD_REPLIES + r->down.body.error]);
        return reply_broken(r, PROVIDER_MALFORMED);
    case FLOW_EXTRA:
        return reply_broken(r, PROVIDER_EXTRA_BYTES);
    case FLOW_TO_ERROR:
        client_close(r->client, CLIENT_CLOSE_RESET, false);
        return STEP_GONE;
    case FLOW_TOO_LARGE: /* replies have no cap */
    case FLOW_NO_MEMORY:
        return request_abort(r, CLIENT_CLOSE_NO_MEMORY);
    }
    return STEP_WAIT;
}
