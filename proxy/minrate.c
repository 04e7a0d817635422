#include "proxy/minrate.h"
#include "proxy/request.h"
#include "proxy/worker.h"

/* Whom a request waits for: pace_side. */
enum side { NOBODY, REQUEST, REPLY };

static bool is_off(const struct worker *w)
{
    return w->set->limit_min_rate == 0;
}

uint64_t minrate_wait(const struct worker *w, uint64_t timeout_ms)
{
    uint64_t window = w->set->timeout_min_rate;
    return is_off(w) || timeout_ms < window ? timeout_ms : window;
}

static bool too_few(const struct worker *w, uint64_t bytes, uint64_t ms)
{
    return bytes < w->set->limit_min_rate * ms / 1000;
}

bool minrate_head(struct client *c)
{
    struct worker *w = c->conn.w;
    uint64_t ms = w->now_ms - c->since_ms;
    if (is_off(w) || ms < w->set->timeout_min_rate ||
        !too_few(w, c->conn.received - c->head_received, ms))
        return false;
    counter_inc(&w->stats[STAT_DRIBBLED_HEADS]);
    return true;
}

bool minrate_lingers(struct client *c)
{
    const struct worker *w = c->conn.w;
    uint64_t before = c->untaken, now = conn_in_kernel(&c->conn);
    c->untaken = now;
    return now > 0 && now < before && !too_few(w, before - now, w->set->timeout_linger);
}

static enum side side_of(const struct request *r)
{
    const struct conn *c = &r->client->conn;
    if (r->step == STEP_RELAY)
        return r->down.span.n || buf_len(&c->out) ? REPLY : NOBODY;
    bool asked = !r->head.expect_continue || r->interim > 0 || r->up.taken > 0;
    bool held = r->up.span.n || (r->pconn && buf_len(&r->pconn->conn.out));
    return asked && !held && !r->up.decoded ? REQUEST : NOBODY;
}

/* Bytes that have gone the way of the side so far. */
static uint64_t moved(const struct request *r, enum side side)
{
    const struct conn *c = &r->client->conn;
    if (side == REQUEST)
        return conn_is_stream(c) ? r->up.taken + buf_len(&c->in) : c->received;
    if (conn_is_stream(c))
        return r->down.sent - r->down.span.n - buf_len(&c->out);
    return c->sent - conn_in_kernel(c);
}

/* Bytes that the client could take now. */
static uint64_t offered(const struct request *r)
{
    const struct conn *c = &r->client->conn;
    return r->down.span.n + buf_len(&c->out) + (conn_is_stream(c) ? 0 : conn_in_kernel(c));
}

static void begin(struct request *r, enum side side)
{
    r->pace_side = (uint8_t)side;
    r->pace_ms = r->w->now_ms;
    r->pace_moved = side ? moved(r, side) : 0;
    r->pace_offered = side == REPLY ? offered(r) : UINT64_MAX;
    r->up.held = false;
}

void minrate_begin(struct request *r)
{
    begin(r, REQUEST);
}

bool minrate_look(struct request *r, uint64_t *ret_look_ms)
{
    struct worker *w = r->w;
    uint64_t window = w->set->timeout_min_rate;
    *ret_look_ms = UINT64_MAX;
    if (is_off(w))
        return false;
    enum side side = side_of(r);
    uint64_t ms = w->now_ms - r->pace_ms;
    if (side == NOBODY || side != r->pace_side || r->up.held) {
        begin(r, side);
    } else if (ms >= window) {
        uint64_t bytes = moved(r, side) - r->pace_moved;
        if (bytes && bytes < r->pace_offered && too_few(w, bytes, ms)) {
            counter_inc(&w->stats[STAT_DRIBBLED_HEADS + side]);
            return true;
        }
        if (bytes && side == REPLY)
            r->down.stamp_us = w->now_us;
        if (bytes)
            begin(r, side);
    }
    *ret_look_ms = r->pace_ms + window > w->now_ms ? r->pace_ms + window : w->now_ms + window;
    return false;
}
