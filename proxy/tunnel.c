#include "proxy/tunnel.h"
#include "lib/base/mem.h"
#include "lib/wire/upgrade.h"
#include "proxy/h2link.h"
#include "proxy/heads.h"
#include "proxy/worker.h"

#define PATH_KEPT 2048u /* bytes of a path that the access log shows */

const char *tunnel_word(enum tunnel t)
{
    static const char *const words[] = {"", "upgrade", "connect", "tcp"};
    return words[t];
}

/* ---- the request ---- */

static enum step bad_request(struct request *r)
{
    r->client_fault = CLIENT_CLOSE_BAD_REQUEST + 1;
    return request_refuse(r, REFUSAL_BAD_REQUEST);
}

static enum step judge_connect(struct request *r)
{
    r->keep = false;
    if (!r->client->listener->spec.connect)
        return request_refuse(r, REFUSAL_UNSUPPORTED);
    r->tunnel = TUNNEL_CONNECT;
    r->fresh = true;
    return STEP_COUNT;
}

/* What follows the head belongs to the next protocol, if the provider takes it: a body that comes
 * before would have two readings. */
enum step tunnel_judge(struct request *r)
{
    if (r->head.method_id == H1_CONNECT)
        return judge_connect(r);
    int n = upgrade_offer(r->fields, r->head.nfields, r->offer);
    if (n == 0 && r->client->phase == CLIENT_STREAM)
        return request_refuse(r, REFUSAL_UNSUPPORTED); /* an extended CONNECT cannot be ignored */
    if (n == 0)
        return STEP_COUNT; /* nothing but what a server may ignore */
    r->keep = false;
    if (n < 0 || !h1_body_empty(&r->head))
        return bad_request(r);
    r->offer_len = (uint8_t)n;
    r->tunnel = TUNNEL_UPGRADE;
    return STEP_COUNT;
}

struct str tunnel_offer(const struct request *r)
{
    struct str offer = str_of(r->offer, r->offer_len);
    if (r->pconn && conn_is_stream(&r->pconn->conn))
        offer.n = str_find(offer, ',');
    return offer;
}

bool tunnel_may_ask(struct request *r, enum step *ret_next)
{
    struct conn *p = &r->pconn->conn;
    if (h2strm_failed(p)) {
        *ret_next = request_try_failed(r, PROVIDER_CLOSED, REFUSAL_BAD_REPLY);
    } else if (!h2strm_settled(p)) {
        request_deadline(r, r->w->now_ms + r->connect_timeout_ms);
        *ret_next = STEP_WAIT;
    } else if (!h2strm_extended(p)) {
        *ret_next = request_refuse(r, REFUSAL_UNSUPPORTED);
    } else {
        return true;
    }
    return false;
}

/* ---- the beginning ---- */

/* What the access log says of the head, copied out of its block, which is given back with the room
 * for fields: a tunnel may stay for hours. */
static bool keep_words(struct request *r)
{
    bool routed = r->answer.path.p && r->tunnel != TUNNEL_CONNECT; /* that has none */
    struct str path = routed ? r->answer.path : r->head.path;
    struct str method = r->head.method, authority = r->head.authority;
    if (path.n > PATH_KEPT)
        path.n = PATH_KEPT;
    struct str id = {0};
    if (r->request_id.p != r->made_id)
        id = r->request_id;
    r->kept = mem_alloc(path.n + method.n + authority.n + id.n + 1);
    if (!r->kept)
        return false;
    char *at = r->kept;
    r->head.method = str_put(&at, method);
    r->head.authority = str_put(&at, authority);
    r->head.path = r->answer.path = str_put(&at, path);
    r->head.target = r->head.path;
    if (id.n)
        r->request_id = str_put(&at, id);
    r->head.nfields = r->reply.nfields = 0;
    mem_free(r->fields);
    r->fields = r->reply_fields = r->trailer_fields = NULL;
    r->answer.context.said = r->answer.context.token = (struct str){0};
    r->vary = r->allow_headers = (struct str){0};
    r->scratch = (struct scratch){0};
    request_drop_head(r);
    return true;
}

static enum step begin(struct request *r)
{
    struct worker *w = r->w;
    const struct h1_head raw = {.framing = H1_UNTIL_CLOSE};
    request_drop_snapshot(r);
    if (!keep_words(r))
        return r->replied ? request_abort(r, CLIENT_CLOSE_NO_MEMORY)
                          : request_refuse(r, REFUSAL_OVERLOAD);
    if (conn_is_stream(&r->pconn->conn))
        h2strm_tunnel(&r->pconn->conn);
    flow_init(&r->up, &raw, &w->set->h1, H1_UNTIL_CLOSE, false);
    flow_init(&r->down, &raw, &w->set->h1, H1_UNTIL_CLOSE, false);
    r->up.stamp_us = r->down.stamp_us = w->now_us;
    r->send_failed = false;
    r->in_tunnel = true;
    counter_inc(&w->stats[STAT_TUNNELS + r->tunnel - 1]);
    counter_inc(&w->stats[STAT_TUNNELS_NOW]);
    request_deadline(r, w->now_ms + r->tunnel_timeout_ms);
    return STEP_TUNNEL;
}

enum step tunnel_connected(struct request *r)
{
    struct conn *c = &r->client->conn;
    r->t_connected = r->t_reply = r->w->now_us;
    if (r->tunnel == TUNNEL_TCP)
        return begin(r);
    if (buf_hold(&c->out, &r->w->bufs) != 0)
        return request_refuse(r, REFUSAL_OVERLOAD);
    buf_put(&c->out, "HTTP/1.1 200 OK\r\n\r\n", 19);
    r->replied = true;
    r->status = 200;
    return begin(r);
}

static enum step bad_reply(struct request *r)
{
    counter_inc(&r->w->stats[STAT_BAD_REPLIES + H1_E_STATUS_LINE]);
    return request_try_failed(r, PROVIDER_MALFORMED, REFUSAL_BAD_REPLY);
}

static struct str named(const struct field *fields, unsigned n, struct str name)
{
    for (unsigned i = 0; i < n; i++)
        if (fields[i].id == FIELD_OTHER && str_eq(field_name(&fields[i]), name))
            return field_value(&fields[i]);
    return (struct str){0};
}

/* The answer to a handshake whose key we made ourselves: nobody else will look at it. */
static bool proof_is_right(const struct request *r, struct str taken)
{
    char want[WEBSOCKET_ACCEPT_LEN];
    if (r->client->phase != CLIENT_STREAM || !str_ieq(taken, STR("websocket")))
        return true;
    struct str key = named(r->fields, r->head.nfields, STR("sec-websocket-key"));
    struct str have = named(r->reply_fields, r->reply.nfields, STR("sec-websocket-accept"));
    return websocket_accept(key, want) && str_eq(have, str_of(want, sizeof want));
}

/* On a stream the status says it all. */
static struct str taken_protocol(const struct request *r)
{
    struct str offer = tunnel_offer(r);
    if (conn_is_stream(&r->pconn->conn))
        return offer;
    struct str taken = upgrade_taken(offer, r->reply_fields, r->reply.nfields);
    return proof_is_right(r, taken) ? taken : (struct str){0};
}

/* What the client's handshake needs and a provider on HTTP/2 does not say. */
static struct str missing_proof(
    const struct request *r, struct str taken, char proof[WEBSOCKET_ACCEPT_LEN])
{
    struct str key = named(r->fields, r->head.nfields, STR("sec-websocket-key"));
    bool missing = conn_is_stream(&r->pconn->conn) && r->client->phase != CLIENT_STREAM &&
                   str_ieq(taken, STR("websocket"));
    return missing && websocket_accept(key, proof) ? str_of(proof, WEBSOCKET_ACCEPT_LEN)
                                                   : (struct str){0};
}

enum step tunnel_switched(struct request *r)
{
    struct conn *c = &r->client->conn;
    char proof[WEBSOCKET_ACCEPT_LEN];
    struct str taken = taken_protocol(r);
    if (taken.n == 0)
        return bad_reply(r);
    if (buf_hold(&c->out, &r->w->bufs) != 0)
        return request_refuse(r, REFUSAL_OVERLOAD);
    if (heads_switching(r, taken, missing_proof(r, taken, proof), &c->out) != 0)
        return bad_reply(r);
    r->replied = true;
    r->status = 101;
    r->is_websocket = str_ieq(taken, STR("websocket"));
    r->t_reply = r->w->now_us;
    buf_consume(&r->pconn->conn.in, r->reply.size);
    return begin(r);
}

/* ---- the flows ---- */

static enum step broken(struct request *r, enum tunnel_end why, enum client_close reason)
{
    r->tunnel_end = (uint8_t)why;
    r->client_fault = (uint8_t)(reason + 1);
    client_close(r->client, reason, true);
    return STEP_GONE;
}

/* A side broke. WebSocket says by itself whether it has ended, and many close it without the
 * close_notify of TLS: there what was said before counts more than that the end was none. */
static enum step from_broken(struct request *r, bool up)
{
    enum tunnel_end why = up ? TUNNEL_END_CLIENT_RESET : TUNNEL_END_PROVIDER_RESET;
    enum client_close reason = up ? CLIENT_CLOSE_RESET : CLIENT_CLOSE_PROVIDER;
    if (!r->is_websocket)
        return broken(r, why, reason);
    conn_write(up ? &r->pconn->conn : &r->client->conn, NULL);
    r->clean = true;
    if (up)
        return broken(r, why, reason);
    r->tunnel_end = (uint8_t)why;
    r->client_fault = (uint8_t)(reason + 1);
    return STEP_DONE;
}

/* One pump of one direction. False: *ret_next says how the tunnel ended. */
static bool pass(struct request *r, struct flow *f, bool *lost, enum step *ret_next)
{
    bool up = f == &r->up;
    struct conn *client = &r->client->conn, *provider = &r->pconn->conn;
    struct conn *from = up ? client : provider, *to = up ? provider : client;
    if (f->done || *lost)
        return true;
    switch (flow_pump(f, from, to, NULL)) {
    case FLOW_WAIT:
        return true;
    case FLOW_DONE:
        conn_end_sending(to);
        return true;
    case FLOW_TO_ERROR: /* what comes the other way may still be whole: read it to its end */
        *lost = to->readable = true;
        return true;
    case FLOW_FROM_ERROR:
        *ret_next = from_broken(r, up);
        return false;
    default:
        *ret_next = broken(r, TUNNEL_END_NO_MEMORY, CLIENT_CLOSE_NO_MEMORY);
        return false;
    }
}

enum step request_step_tunnel(struct request *r)
{
    enum step next = STEP_WAIT;
    bool up_lost, down_lost;
    do {
        up_lost = r->send_failed;
        down_lost = r->down_lost;
        if (!pass(r, &r->down, &r->down_lost, &next) || !pass(r, &r->up, &r->send_failed, &next))
            return next;
    } while (up_lost != r->send_failed || down_lost != r->down_lost);
    if (!(r->up.done || up_lost) || !(r->down.done || down_lost))
        return STEP_WAIT;
    if (down_lost) { /* the provider has all that the client said, its end included */
        r->clean = r->up.done;
        return broken(r, TUNNEL_END_CLIENT_RESET, CLIENT_CLOSE_RESET);
    }
    r->tunnel_end = up_lost ? TUNNEL_END_PROVIDER_RESET : TUNNEL_END_CLOSED;
    if (up_lost)
        r->client_fault = CLIENT_CLOSE_PROVIDER + 1;
    return STEP_DONE;
}

static bool pending(const struct flow *f, const struct conn *to)
{
    return f->span.n > 0 || buf_len(&to->out) > 0;
}

enum step tunnel_idle(struct request *r)
{
    bool stalled = pending(&r->up, &r->pconn->conn) || pending(&r->down, &r->client->conn);
    r->tunnel_end = TUNNEL_END_IDLE;
    r->clean = !stalled;
    r->client_fault = (uint8_t)((stalled ? CLIENT_CLOSE_STALLED : CLIENT_CLOSE_IDLE) + 1);
    client_close(r->client, stalled ? CLIENT_CLOSE_STALLED : CLIENT_CLOSE_IDLE, stalled);
    return STEP_GONE;
}

/* ---- the end ---- */

void tunnel_abandon(struct request *r)
{
    if (!r->in_tunnel || !r->pconn || r->clean)
        return;
    conn_close_by_reset(&r->pconn->conn);
}

void tunnel_release(struct request *r)
{
    struct worker *w = r->w;
    if (r->in_tunnel) {
        counter_sub(&w->stats[STAT_TUNNELS_NOW], 1);
        counter_inc(&w->stats[STAT_TUNNEL_ENDS + r->tunnel_end]);
        counter_add(&w->stats[STAT_TUNNEL_BYTES_UP], r->up.sent);
        counter_add(&w->stats[STAT_TUNNEL_BYTES_DOWN], r->down.sent);
        r->in_tunnel = false;
    }
    mem_free(r->kept);
    r->kept = NULL;
}
