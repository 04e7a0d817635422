#include "proxy/capture_event.h"
#include "lib/base/clock.h"
#include "proxy/grpc_call.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include <arpa/inet.h>

#define METHOD_TOLD 32u /* bytes of a method in a hop */

/* Numbers of CaptureChunk and CaptureEvent. */
enum { EVENTS = 3 };
enum { EVENT_BEGIN = 1, EVENT_BODY, EVENT_REPLY, EVENT_END, EVENT_HOP, EVENT_DROPS };

struct nest {
    size_t outer, inner;
};

static struct nest begin_event(struct pb_out *o, uint32_t kind)
{
    struct nest n;
    o->n = 0;
    n.outer = pb_begin(o, EVENTS);
    n.inner = pb_begin(o, kind);
    return n;
}

static void end_event(struct pb_out *o, struct nest n)
{
    pb_end(o, n.inner);
    pb_end(o, n.outer);
}

/* ---- written straight ---- */

static uint32_t varint_len(uint64_t v)
{
    uint32_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

static unsigned char *put_varint(unsigned char *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (unsigned char)(v | 0x80);
    *p++ = (unsigned char)v;
    return p;
}

static unsigned char *put_tag(unsigned char *p, uint32_t field, enum pb_wire wire)
{
    return put_varint(p, field << 3 | wire);
}

static uint64_t bytes_len(struct str s)
{
    return 1 + varint_len(s.n) + s.n;
}

static unsigned char *put_bytes(unsigned char *p, uint32_t field, struct str s)
{
    p = put_varint(put_tag(p, field, PB_BYTES), s.n);
    memcpy(p, s.p, s.n);
    return p + s.n;
}

/* Most of what an event consists of. */
static void put_field(struct pb_out *o, uint32_t at, struct str name, struct str value)
{
    uint64_t inner = bytes_len(name) + (value.n ? bytes_len(value) : 0);
    unsigned char *from = pb_room(o, 1 + varint_len(inner) + inner), *p = from;
    if (!from)
        return;
    p = put_varint(put_tag(p, at, PB_BYTES), inner);
    p = put_bytes(p, 1, name);
    if (value.n)
        p = put_bytes(p, 2, value);
    o->n += (size_t)(p - from);
}

void capture_put_fields(
    struct pb_out *o, uint32_t at, const struct field *fields, unsigned n, uint64_t back)
{
    for (const struct field *f = fields, *last = f + n; f < last; f++)
        if (!(f->flags & (FIELD_HOP | FIELD_DROP)) && !(back >> f->id & 1))
            put_field(o, at, field_name(f), field_value(f));
}

static bool is_grpc(const struct request *r)
{
    for (unsigned i = 0; r->head.method_id == H1_POST && i < r->head.nfields; i++)
        if (r->fields[i].id == FIELD_CONTENT_TYPE)
            return grpc_call_type(field_value(&r->fields[i]));
    return false;
}

static void put_client(struct pb_out *o, uint32_t field, const struct client *c)
{
    char text[INET6_ADDRSTRLEN];
    if (c->listener->spec.trusted || (c->peer_kind != ADDR_IP4 && c->peer_kind != ADDR_IP6))
        return;
    if (inet_ntop(c->peer_kind == ADDR_IP4 ? AF_INET : AF_INET6, c->peer_ip, text, sizeof text))
        pb_bytes(o, field, str_c(text));
}

void capture_event_begin(struct pb_out *o, const struct request *r, uint64_t id,
    struct str trace_id, const uint64_t *sessions, unsigned n)
{
    struct nest event = begin_event(o, EVENT_BEGIN);
    pb_uint(o, 1, id);
    size_t packed = pb_begin(o, 2);
    for (unsigned i = 0; i < n; i++)
        pb_varint(o, sessions[i]);
    pb_end(o, packed);
    pb_opt_bytes(o, 3, r->head.method);
    pb_opt_bytes(o, 4, r->head.authority);
    pb_opt_bytes(o, 5, r->answer.path);
    capture_put_fields(o, 6, r->fields, r->head.nfields,
        FIELD_BIT(FIELD_HOST) | FIELD_BIT(FIELD_CONTENT_LENGTH) |
            FIELD_BIT(FIELD_TRANSFER_ENCODING) | FIELD_BIT(FIELD_EXPECT));
    pb_bytes(o, 7, trace_id);
    pb_opt_bytes(o, 8, snapshot_env_name(r->snapshot, r->answer.decision.env));
    pb_opt_bytes(o, 9, r->service);
    pb_opt_uint(o, 10, r->epoch);
    pb_uint(o, 11, (uint64_t)clock_wall_us());
    pb_opt_uint(o, 12, ask_https(&r->ask));
    put_client(o, 13, r->client);
    pb_opt_uint(o, 14, is_grpc(r));
    end_event(o, event);
}

void capture_event_reply(struct pb_out *o, const struct request *r, uint64_t id)
{
    struct nest event = begin_event(o, EVENT_REPLY);
    pb_uint(o, 1, id);
    pb_uint(o, 2, r->reply.status);
    capture_put_fields(o, 3, r->reply_fields, r->reply.nfields, FIELD_BIT(FIELD_TRANSFER_ENCODING));
    end_event(o, event);
}

void capture_event_own_reply(struct pb_out *o, const struct request *r, uint64_t id)
{
    struct nest event = begin_event(o, EVENT_REPLY);
    pb_uint(o, 1, id);
    pb_uint(o, 2, r->status);
    pb_opt_bytes(o, 4, str_c(refusal_word(r->refusal)));
    end_event(o, event);
}

static uint64_t since(const struct request *r, uint64_t t)
{
    return t > r->t_head ? t - r->t_head : 0;
}

void capture_event_end(struct pb_out *o, const struct request *r, uint64_t id,
    enum capture_drop dropped, struct str trailers)
{
    struct nest event = begin_event(o, EVENT_END);
    pb_uint(o, 1, id);
    pb_opt_uint(o, 2, dropped);
    pb_raw(o, trailers.p, trailers.n);
    pb_opt_uint(o, 4, since(r, r->t_reply ? r->t_reply : r->t_own));
    pb_opt_uint(o, 5, since(r, r->w->now_us));
    end_event(o, event);
}

void capture_event_hop(struct pb_out *o, const struct request *r, struct str trace_id,
    enum capture_hop kind, enum refusal why)
{
    struct nest event = begin_event(o, EVENT_HOP);
    uint32_t env = r->answer.decision.env;
    struct str method = r->head.method;
    method.n = method.n < METHOD_TOLD ? method.n : METHOD_TOLD;
    pb_bytes(o, 1, trace_id);
    pb_opt_bytes(o, 2, r->service);
    if (env != NUMBER_NONE)
        pb_opt_bytes(o, 3, snapshot_env_name(r->snapshot, env));
    if (!why)
        pb_opt_bytes(o, 4, r->provider_env);
    pb_opt_uint(o, 5, r->answer.context.flags);
    pb_opt_uint(o, 6, kind);
    pb_opt_bytes(o, 7, method);
    if (why)
        pb_opt_bytes(o, 8, str_c(refusal_word(why)));
    end_event(o, event);
}

void capture_event_drops(struct pb_out *o, const counter_cell *stats)
{
    struct nest event = begin_event(o, EVENT_DROPS);
    size_t packed = pb_begin(o, 1);
    pb_varint(o, counter_get(&stats[STAT_CAPTURE_EXCHANGES]));
    for (unsigned i = 0; i < CAPTURE_DROP_COUNT - 1; i++)
        pb_varint(o, counter_get(&stats[STAT_CAPTURE_DROPPED + i]));
    pb_end(o, packed);
    end_event(o, event);
}

/* ---- bodies ---- */

uint32_t capture_event_body(unsigned char *to, uint64_t id, bool reply, struct str data)
{
    uint64_t inner = 1 + varint_len(id) + (reply ? 2 : 0) + 1 + varint_len(data.n) + data.n;
    unsigned char *p = put_tag(to, EVENTS, PB_BYTES);
    p = put_varint(p, 1 + varint_len(inner) + inner);
    p = put_varint(put_tag(p, EVENT_BODY, PB_BYTES), inner);
    p = put_varint(put_tag(p, 1, PB_VARINT), id);
    if (reply)
        p = put_varint(put_tag(p, 2, PB_VARINT), 1);
    p = put_varint(put_tag(p, 3, PB_BYTES), data.n);
    memcpy(p, data.p, data.n);
    return (uint32_t)(p - to + (ptrdiff_t)data.n);
}
