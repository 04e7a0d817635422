/* A worker's part of capture: which requests, and their events in the worker's chunk.
 *
 * Events are written as fields `events` of a CaptureChunk (proto/offshoot/v1/capture.proto), heads
 * by way of a scratch buffer, bodies straight from where they are. */
#include "proxy/capture.h"
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "lib/graph/dark_mark.h"
#include "lib/graph/model.h"
#include "lib/graph/pb.h"
#include "proxy/capture_event.h"
#include "proxy/grpc_call.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include <event2/event.h>
#include <xxhash.h>

#define FLUSH_US    5000
#define SMALL_EVENT 64u /* room for what is around the bytes of a body */
#define TRACE_BYTES (TRACE_ID_LEN / 2)

struct captured {
    uint64_t id;
    uint32_t stream;        /* of capture.stream, when it began */
    uint64_t bytes[2];      /* of the request's body, of the reply's */
    bool replied;           /* its reply's head was told */
    uint8_t dropped;        /* enum capture_drop: nothing more is told but that */
    struct pb_out trailers; /* encoded, for its end */
};

/* ---- chunks ---- */

/* Of the bound of what waits for the agent, by the memory that it takes. */
static bool is_full(const struct worker *w)
{
    return atomic_load_explicit(&w->capture.queued, memory_order_relaxed) > w->set->capture_bytes;
}

/* A chunk that time ended, not its size, waits in no more memory than it needs. */
static struct capture_chunk *cut(struct capture_chunk *k)
{
    struct capture_chunk *less = k->n < k->size / 2 ? mem_realloc(k, sizeof *k + k->n) : NULL;
    if (!less)
        return k;
    less->size = less->n;
    list_init(&less->link);
    return less;
}

static void flush(struct worker *w)
{
    struct capture *c = &w->capture;
    struct capture_chunk *k = c->chunk;
    if (!k)
        return;
    if (c->drops_changed) {
        c->drops_changed = false;
        capture_event_drops(&c->sums, w->stats); /* an event waits in scratch */
        struct str s = pb_str(&c->sums);
        if (!c->sums.failed && s.n <= k->size - k->n) {
            memcpy(k->data + k->n, s.p, s.n);
            k->n += (uint32_t)s.n;
        } else { /* memory was out: with the next one */
            c->drops_changed = true;
        }
    }
    c->chunk = NULL;
    k = cut(k);
    counter_inc(&w->stats[STAT_CAPTURE_CHUNKS]);
    atomic_fetch_add_explicit(&c->queued, capture_chunk_bytes(k), memory_order_relaxed);
    k->message.run = capture_chunk_run;
    k->message.drop = message_free;
    mailbox_post(w->shared->control, &k->message);
}

static void on_flush(evutil_socket_t fd, short what, void *worker)
{
    (void)fd;
    (void)what;
    flush(worker);
}

/* A place for n bytes in the chunk, where sums of drops still fit behind them. NULL: memory is out.
 */
static unsigned char *room(struct worker *w, size_t n)
{
    struct capture *c = &w->capture;
    n += CAPTURE_DROPS_MAX;
    if (c->chunk && c->chunk->size - c->chunk->n < n)
        flush(w);
    if (!c->chunk) {
        size_t size = n > CHUNK_BYTES ? n : CHUNK_BYTES;
        struct capture_chunk *k = mem_alloc(sizeof *k + size);
        if (!k)
            return NULL;
        *k = (struct capture_chunk){.worker = w, .size = (uint32_t)size};
        list_init(&k->link);
        c->chunk = k;
        const struct timeval soon = {0, FLUSH_US};
        event_add(c->flush, &soon);
    }
    return c->chunk->data + c->chunk->n;
}

/* What the scratch buffer holds. */
static bool put_event(struct worker *w)
{
    struct str s = pb_str(&w->capture.scratch);
    if (w->capture.scratch.failed || s.n > CAPTURE_EVENT_MAX)
        return false;
    unsigned char *p = room(w, s.n);
    if (!p)
        return false;
    memcpy(p, s.p, s.n);
    w->capture.chunk->n += (uint32_t)s.n;
    return true;
}

static void count_drop(struct worker *w, enum capture_drop why)
{
    counter_inc(&w->stats[STAT_CAPTURE_DROPPED + why - 1]);
    w->capture.drops_changed = true;
    if (w->capture.up && !is_full(w))
        room(w, 1); /* so that the agent hears of it */
}

/* ---- one exchange ---- */

static void forget(struct request *r)
{
    struct captured *x = r->captured;
    r->w->capture.in_flight--;
    r->captured = NULL;
    r->up.tee = r->down.tee = NULL;
    pb_release(&x->trailers);
    mem_free(x);
}

/* Nothing more is told of it but its end. */
static void give_up(struct worker *w, struct captured *x, enum capture_drop why)
{
    if (x->dropped)
        return;
    x->dropped = (uint8_t)why;
    count_drop(w, why);
}

/* Nobody knows it any more on the stream that there is now. */
static bool is_stale(struct worker *w, struct captured *x)
{
    if (x->stream == w->capture.stream)
        return false;
    give_up(w, x, CAPTURE_DROP_DISCONNECTED);
    return true;
}

static void end(struct request *r)
{
    struct worker *w = r->w;
    struct captured *x = r->captured;
    if (is_stale(w, x)) {
        forget(r);
        return;
    }
    if (!x->dropped && x->trailers.failed)
        give_up(w, x, CAPTURE_DROP_MEMORY);
    capture_event_end(&w->capture.scratch, r, x->id, x->dropped, pb_str(&x->trailers));
    if (!put_event(w) && !x->dropped)
        count_drop(w, CAPTURE_DROP_MEMORY); /* it stays open there until its stream ends */
    else if (!x->dropped)
        counter_inc(&w->stats[STAT_CAPTURE_EXCHANGES]);
    forget(r);
}

void capture_dropped(struct request *r, enum capture_drop why)
{
    if (!r->captured)
        return;
    give_up(r->w, r->captured, why);
    end(r);
}

void capture_end(struct request *r)
{
    struct captured *x = r->captured;
    if (!r->up.decoded || (r->refusal && x->replied))
        give_up(r->w, x, CAPTURE_DROP_ABORTED); /* an early reply, or half of one */
    else if (r->refusal) {
        capture_event_own_reply(&r->w->capture.scratch, r, x->id);
        if (!put_event(r->w))
            give_up(r->w, x, CAPTURE_DROP_MEMORY);
    }
    end(r);
}

void capture_reply(struct request *r)
{
    struct captured *x = r->captured;
    r->down.tee = x;
    x->replied = true;
    if (x->dropped || is_stale(r->w, x))
        return;
    capture_event_reply(&r->w->capture.scratch, r, x->id);
    if (!put_event(r->w))
        give_up(r->w, x, CAPTURE_DROP_HEAD);
}

void capture_again(struct request *r)
{
    if (r->captured->bytes[0])
        give_up(r->w, r->captured, CAPTURE_DROP_RETRIED);
    r->up.tee = r->captured;
}

void capture_piece(struct captured *x, struct worker *w, bool reply, struct str piece)
{
    struct capture *c = &w->capture;
    if (x->dropped || is_stale(w, x))
        return;
    x->bytes[reply] += piece.n;
    if (x->bytes[reply] > w->set->capture_body_bytes) {
        give_up(w, x, CAPTURE_DROP_BODY);
        return;
    }
    if (is_full(w)) {
        give_up(w, x, CAPTURE_DROP_MEMORY);
        return;
    }
    while (piece.n) {
        size_t n = piece.n < CHUNK_BYTES / 2 ? piece.n : CHUNK_BYTES / 2;
        unsigned char *p = room(w, n + SMALL_EVENT);
        if (!p) {
            give_up(w, x, CAPTURE_DROP_MEMORY);
            return;
        }
        c->chunk->n += capture_event_body(p, x->id, reply, str_of(piece.p, n));
        piece = str_from(piece, n);
    }
}

void capture_trailers(struct captured *x, const struct field *fields, unsigned n)
{
    if (!x->dropped)
        capture_put_fields(&x->trailers, 3, fields, n, 0);
}

/* ---- which requests ---- */

static bool has_word(const struct str *word, unsigned n, struct str s)
{
    for (unsigned i = 0; i < n; i++)
        if (str_eq(word[i], s))
            return true;
    return n == 0;
}

static bool below(const struct str *prefix, unsigned n, struct str path)
{
    for (unsigned i = 0; i < n; i++)
        if (str_starts(path, prefix[i]))
            return true;
    return n == 0;
}

static bool is_dark_trace(const struct capture_rules *rules, const unsigned char id[TRACE_BYTES])
{
    return bytes_get_le64(id + 8) == dark_mark(id, rules->dark_seed, rules->dark_xor);
}

/* RFC 9110 section 9.2.1, without TRACE, which providers answer with what they got. */
static bool is_safe(const struct request *r)
{
    uint8_t m = r->head.method_id;
    return m == H1_GET || m == H1_HEAD || m == H1_OPTIONS;
}

static const struct service_info *service_of(const struct request *r)
{
    uint32_t service = r->answer.decision.service;
    return service == NUMBER_NONE ? NULL : snapshot_service(r->snapshot, service);
}

static bool may_change(const struct request *r)
{
    const struct service_info *info = service_of(r);
    return !is_safe(r) && !(info && info->shadow == SHADOW_SAFE);
}

/* What it resolves to is the users': of a baseline, or of an overlay that a session compares with.
 */
static bool is_users(const struct request *r)
{
    const struct capture_rules *rules = r->w->capture.rules;
    struct env_info env;
    if (!snapshot_env(r->snapshot, r->answer.decision.env, &env) || env.mode != MODE_OVERLAY)
        return true;
    for (unsigned i = 0; rules && i < rules->nrules; i++)
        if (str_eq(env.name, rules->rule[i].baseline))
            return true;
    return false;
}

static void tell_hop(
    struct request *r, struct str trace_id, enum capture_hop kind, enum refusal why)
{
    struct worker *w = r->w;
    counter_inc(&w->stats[STAT_CAPTURE_HOPS + kind]);
    bool fits = w->capture.up && !is_full(w);
    if (fits)
        capture_event_hop(&w->capture.scratch, r, trace_id, kind, why);
    if (!fits || !put_event(w))
        counter_inc(&w->stats[STAT_CAPTURE_HOPS_DROPPED]);
}

/* Ids of the sessions that sample it, into ids; *ret_hop: its trace is one of theirs. */
static unsigned sampled(struct request *r, const unsigned char id[TRACE_BYTES],
    uint64_t ids[CAPTURE_SESSIONS], bool *ret_hop)
{
    const struct capture_rules *rules = r->w->capture.rules;
    unsigned n = 0;
    for (unsigned i = 0; i < rules->nrules; i++) {
        const struct capture_rule *u = &rules->rule[i];
        if (!str_eq(snapshot_env_name(r->snapshot, r->answer.decision.env), u->baseline) ||
            XXH3_64bits_withSeed(id, TRACE_BYTES, u->sample_seed) % 1000000 >= u->rate_ppm)
            continue;
        *ret_hop = true;
        if (!u->hops_only && has_word(u->services, u->nservices, r->service) &&
            below(u->paths, u->npaths, r->answer.path) && (u->unsafe_methods || !may_change(r)))
            ids[n++] = u->id;
    }
    return n;
}

static enum capture_drop no_room(const struct worker *w)
{
    const struct capture *c = &w->capture;
    if (!c->up)
        return CAPTURE_DROP_DISCONNECTED;
    if (c->in_flight >= w->set->capture_in_flight)
        return CAPTURE_DROP_IN_FLIGHT;
    return is_full(w) ? CAPTURE_DROP_MEMORY : CAPTURE_KEPT;
}

static void begin(struct request *r, struct str trace_id, const uint64_t *ids, unsigned n)
{
    struct worker *w = r->w;
    struct capture *c = &w->capture;
    enum capture_drop why = r->tunnel ? CAPTURE_DROP_TUNNEL : no_room(w);
    struct captured *x = why ? NULL : mem_alloc(sizeof *x);
    if (!x) {
        count_drop(w, why ? why : CAPTURE_DROP_MEMORY);
        return;
    }
    *x = (struct captured){.id = ++c->next_id, .stream = c->stream};
    capture_event_begin(&c->scratch, r, x->id, trace_id, ids, n);
    if (!put_event(w)) {
        mem_free(x);
        count_drop(w, CAPTURE_DROP_HEAD);
        return;
    }
    c->in_flight++;
    r->captured = r->up.tee = x;
}

bool capture_decide(struct request *r)
{
    const struct capture_rules *rules = r->w->capture.rules;
    const struct decision *d = &r->answer.decision;
    unsigned char id[TRACE_BYTES];
    struct str trace_id = str_of((const char *)id, TRACE_BYTES);
    uint64_t ids[CAPTURE_SESSIONS];
    bool dark = r->is_dark, hop = false;
    for (unsigned i = 0; i < TRACE_BYTES; i++)
        id[i] =
            (unsigned char)(hex_value(r->trace_id[2 * i]) << 4 | hex_value(r->trace_id[2 * i + 1]));
    bool lost = !dark && rules && !r->trace_made && is_dark_trace(rules, id);
    if (!dark && !lost) {
        unsigned n = r->answer.refusal || !rules ? 0 : sampled(r, id, ids, &hop);
        if (hop)
            tell_hop(r, trace_id, CAPTURE_HOP_SAMPLED, REFUSAL_NONE);
        if (n)
            begin(r, trace_id, ids, n);
        return true;
    }
    counter_inc(&r->w->stats[dark ? STAT_DARK_REQUESTS : STAT_CONTEXT_LOST]);
    bool outside = lost || d->provider == NUMBER_NONE || d->provider != d->env || is_users(r);
    bool blocked = !r->answer.refusal && outside && may_change(r);
    enum capture_hop kind = lost      ? CAPTURE_HOP_LOST
                            : blocked ? CAPTURE_HOP_BLOCKED
                                      : CAPTURE_HOP_DARK;
    tell_hop(r, trace_id, kind, blocked ? REFUSAL_DARK_BLOCKED : r->answer.refusal);
    return !blocked;
}

/* ---- begin and end of a worker ---- */

int capture_init(struct worker *w)
{
    w->capture.flush = evtimer_new(w->base, on_flush, w);
    return w->capture.flush ? 0 : -ENOMEM;
}

void capture_release(struct worker *w)
{
    struct capture *c = &w->capture;
    if (c->flush)
        event_free(c->flush);
    mem_free(c->chunk);
    pb_release(&c->scratch);
    pb_release(&c->sums);
    capture_rules_unref(c->rules);
    c->flush = NULL;
    c->chunk = NULL;
    c->rules = NULL;
}

void capture_set_rules(struct worker *w, struct capture_rules *rules)
{
    capture_rules_unref(w->capture.rules);
    w->capture.rules = rules;
    w->refuse_missing = w->set->on_missing == ON_MISSING_REFUSE || (rules && rules->refuse_missing);
}

void capture_set_up(struct worker *w, bool up)
{
    struct capture *c = &w->capture;
    c->up = up;
    c->drops_changed = up; /* a new stream knows no sums */
    if (up)
        return;
    c->stream++;
    mem_free(c->chunk); /* belongs to what was begun on the stream that is gone */
    c->chunk = NULL;
}
