#include "lib/net/dark.h"
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "lib/graph/context.h"
#include "lib/graph/dark_mark.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>

enum {
    OWN_FIELDS = 10,        /* that are added, at the most */
    OWN_BYTES = 256,        /* of their values that are written here, but for baggage */
    SUFFIX_BYTES = 10,      /* -candidate */
    TRACEPARENT_BYTES = 55, /* 00-32-16-01 */
};

/* ---- trace-ids ---- */

void dark_trace_id(
    const unsigned char key[16], const unsigned char random[8], unsigned char ret[DARK_TRACE_BYTES])
{
    uint64_t mark = dark_mark(random, bytes_get_le64(key), bytes_get_le64(key + 8));
    memmove(ret, random, 8);
    bytes_put_le64(ret + 8, mark);
}

/* ---- what is left out ---- */

/* About the connection, of this request's way, or said anew by us. */
#define LEFT_OUT                                                                                   \
    (FIELD_BIT(FIELD_HOST) | FIELD_BIT(FIELD_CONNECTION) | FIELD_BIT(FIELD_CONTENT_LENGTH) |       \
        FIELD_BIT(FIELD_TRANSFER_ENCODING) | FIELD_BIT(FIELD_TE) | FIELD_BIT(FIELD_TRAILER) |      \
        FIELD_BIT(FIELD_UPGRADE) | FIELD_BIT(FIELD_KEEP_ALIVE) |                                   \
        FIELD_BIT(FIELD_PROXY_CONNECTION) | FIELD_BIT(FIELD_EXPECT) |                              \
        FIELD_BIT(FIELD_HTTP2_SETTINGS) | FIELD_BIT(FIELD_X_REQUEST_ID) |                          \
        FIELD_BIT(FIELD_BAGGAGE) | FIELD_BIT(FIELD_TRACEPARENT) | FIELD_BIT(FIELD_TRACESTATE))
/* Of who asked: hearsay where the client came to a gateway. */
#define HEARSAY                                                                                    \
    (FIELD_BIT(FIELD_X_FORWARDED_FOR) | FIELD_BIT(FIELD_X_FORWARDED_PROTO) |                       \
        FIELD_BIT(FIELD_X_FORWARDED_HOST) | FIELD_BIT(FIELD_X_FORWARDED_PORT) |                    \
        FIELD_BIT(FIELD_FORWARDED))

/* Names that `connection` lists; those that the product knows pass, as in a proxy. */
static bool is_listed(const struct dark_source *x, struct str name)
{
    for (size_t i = 0; i < x->nfields; i++) {
        struct str rest = x->fields[i].value, element;
        if (!str_eq(x->fields[i].name, STR("connection")))
            continue;
        while (field_next_element(&rest, &element))
            if (str_ieq(element, name))
                return true;
    }
    return false;
}

bool dark_is_credential(struct str name)
{
    return str_eq(name, STR("authorization")) || str_eq(name, STR("proxy-authorization")) ||
           str_eq(name, STR("cookie"));
}

static bool is_set(const struct dark_part *part, struct str name)
{
    for (size_t i = 0; i < part->nset; i++)
        if (str_ieq(part->set[i].name, name))
            return true;
    return false;
}

static bool goes(const struct dark_source *x, const struct dark_part *part, struct str name)
{
    enum field_id id = field_id(name.p, name.n);
    if (id >= FIELD_X_OFFSHOOT_CONTEXT || LEFT_OUT >> id & 1)
        return false;
    if (x->client.n && HEARSAY >> id & 1)
        return false;
    if (is_set(part, name))
        return false;
    if (part->candidate && dark_is_credential(name) && !part->forward_credentials)
        return false;
    return id != FIELD_OTHER || !is_listed(x, name);
}

/* ---- what goes ---- */

/* The request being put together; text for what is written anew. */
struct making {
    struct dark_request *to;
    const struct dark_source *x;
    const struct dark_part *part;
    char *at, *end;
    size_t room;
};

static void add(struct making *m, struct str name, struct str value)
{
    assert(m->to->nfields < m->room);
    m->to->fields[m->to->nfields++] = (struct reply_field_view){name, value};
}

/* A value of parts that are copied. */
static void add_joined(struct making *m, struct str name, struct str a, struct str b)
{
    char *from = m->at;
    assert(a.n + b.n <= (size_t)(m->end - m->at));
    str_put(&m->at, a);
    str_put(&m->at, b);
    add(m, name, str_of(from, a.n + b.n));
}

static struct str put_hex(struct making *m, const unsigned char *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    struct str ret = {m->at, 2 * n};
    assert(2 * n <= (size_t)(m->end - m->at));
    for (size_t i = 0; i < n; i++) {
        *m->at++ = digits[p[i] >> 4];
        *m->at++ = digits[p[i] & 15];
    }
    return ret;
}

static void add_users(struct making *m)
{
    struct str suffix = m->part->candidate ? STR("-candidate") : STR("-secondary");
    for (size_t i = 0; i < m->x->nfields; i++) {
        struct str name = m->x->fields[i].name, value = m->x->fields[i].value;
        if (!goes(m->x, m->part, name))
            continue;
        if (str_eq(name, STR("idempotency-key")))
            add_joined(m, name, value, suffix);
        else
            add(m, name, value);
    }
    for (size_t i = 0; i < m->part->nset; i++)
        add(m, m->part->set[i].name, m->part->set[i].value);
}

/* What a gateway says of whom it saw. At trusted listeners all of it came from before. */
static void add_forwarded(struct making *m)
{
    if (m->x->client.n == 0)
        return;
    add(m, STR("x-forwarded-for"), m->x->client);
    add(m, STR("x-forwarded-proto"), m->x->https ? STR("https") : STR("http"));
    if (m->x->authority.n)
        add(m, STR("x-forwarded-host"), m->x->authority);
}

static void add_trace(struct making *m)
{
    char *from = m->at;
    str_put(&m->at, STR("00-"));
    struct str id = put_hex(m, m->part->trace_id, DARK_TRACE_BYTES);
    str_put(&m->at, STR("-"));
    put_hex(m, m->part->span_id, sizeof(m->part->span_id));
    str_put(&m->at, STR("-01"));
    assert(m->at - from == TRACEPARENT_BYTES);
    add(m, STR("traceparent"), str_of(from, TRACEPARENT_BYTES));
    add(m, STR("x-request-id"), id);
}

/* Members of others stay in their order, ours comes last. fields: the exchange's baggage, as
 * context_pick left it. */
static void add_context(struct making *m, const struct field *fields, unsigned n)
{
    bool ours;
    char *from = m->at;
    size_t bytes =
        context_write_baggage(fields, n, m->part->token, from, (size_t)(m->end - from), &ours);
    m->at += bytes;
    if (bytes)
        add(m, STR("baggage"), str_of(from, bytes));
    if (m->part->token.n)
        add(m, STR("x-offshoot-context"), m->part->token);
}

/* Only where one came: a body without a declared length stays without. */
static void add_framing(struct making *m)
{
    char digits[24];
    if (m->x->grpc)
        add(m, STR("te"), STR("trailers"));
    for (size_t i = 0; i < m->x->nfields; i++) {
        if (!str_eq(m->x->fields[i].name, STR("content-length")))
            continue;
        int n = snprintf(digits, sizeof(digits), "%zu", m->x->body_bytes);
        add_joined(m, STR("content-length"), str_of(digits, (size_t)n), STR(""));
        return;
    }
}

/* ---- building ---- */

static void as_field(struct field *to, const struct reply_field *f)
{
    *to = (struct field){.name = f->name.p,
        .value = f->value.p,
        .name_len = (uint16_t)f->name.n,
        .value_len = (uint32_t)f->value.n,
        .id = (uint8_t)field_id(f->name.p, f->name.n)};
}

/* Takes our member out of baggage, in any spelling, and what is beyond its limits. scratch: as
 * large as all values. */
static unsigned clean_baggage(
    const struct dark_source *x, struct field *fields, struct scratch *scratch)
{
    unsigned n = 0;
    struct context picked;
    struct str path = {0};
    for (size_t i = 0; i < x->nfields; i++)
        if (str_eq(x->fields[i].name, STR("baggage")))
            as_field(&fields[n++], &x->fields[i]);
    const struct carried from = {
        .fields = fields, .nfields = n, .trusted = true, .path = &path, .scratch = scratch};
    context_pick(&picked, &from);
    return n;
}

int dark_request_build(
    struct dark_request *ret, const struct dark_source *x, const struct dark_part *part)
{
    size_t room = x->nfields + part->nset + OWN_FIELDS, values = 0;
    for (size_t i = 0; i < x->nfields; i++)
        values += x->fields[i].value.n;
    size_t text = values + x->nfields * SUFFIX_BYTES + BAGGAGE_BYTES_MAX + OWN_BYTES;
    size_t table = room * sizeof(*ret->fields), work = (x->nfields + 1) * sizeof(struct field);
    *ret = (struct dark_request){.has_body = x->body_bytes > 0};
    ret->memory = mem_alloc(table + work + values + text);
    if (!ret->memory)
        return -ENOMEM;
    char *at = ret->memory;
    ret->fields = (struct reply_field_view *)(void *)at;
    struct field *baggage = (struct field *)(void *)(at + table);
    struct scratch scratch = {.p = at + table + work, .size = values};
    at += table + work + values;
    struct making m = {.to = ret, .x = x, .part = part, .at = at, .end = at + text, .room = room};
    unsigned n = clean_baggage(x, baggage, &scratch);
    add_users(&m);
    add_forwarded(&m);
    add_trace(&m);
    add_framing(&m);
    add_context(&m, baggage, n);
    return 0;
}

void dark_request_release(struct dark_request *r)
{
    mem_free(r->memory);
    *r = (struct dark_request){0};
}
