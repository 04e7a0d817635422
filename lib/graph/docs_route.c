/* The actions of a route and the limits of a gateway as canonical bytes. */
#include "lib/graph/docs_int.h"

enum {
    A_STRIP_PREFIX = 1,
    A_REPLACE_PREFIX,
    A_HOST,
    A_REQUEST,
    A_REPLY,
    A_MAX_BODY,
    A_TIMEOUT,
    A_IDLE_TIMEOUT,
    A_AFFINITY,
    A_REDIRECT,
    A_NO_UPGRADE,
    A_REQUIRE_HTTPS
};
enum { E_SET = 1, E_REMOVE };
enum { HDR_NAME = 1, HDR_VALUE };
enum { RED_STATUS = 1, RED_LOCATION, RED_SCHEME, RED_HOST, RED_PORT, RED_PATH };
enum { L_SOURCE = 1, L_ENVIRONMENT };
enum { LIM_PER_SECOND = 1, LIM_BURST, LIM_TOGETHER };

/* ---- writing ---- */

static void write_edits(struct pb_out *o, uint32_t field, const struct header_edits *e)
{
    if (!e->nset && !e->nremove)
        return;
    size_t at = pb_begin(o, field);
    for (uint32_t i = 0; i < e->nset; i++) {
        size_t set = pb_begin(o, E_SET);
        pb_opt_bytes(o, HDR_NAME, field_name(&e->set[i]));
        pb_opt_bytes(o, HDR_VALUE, field_value(&e->set[i]));
        pb_end(o, set);
    }
    for (uint32_t i = 0; i < e->nremove; i++)
        pb_bytes(o, E_REMOVE, field_name(&e->remove[i]));
    pb_end(o, at);
}

static void write_redirect(struct pb_out *o, const struct redirect *r)
{
    if (!r->status)
        return;
    size_t at = pb_begin(o, A_REDIRECT);
    pb_opt_uint(o, RED_STATUS, r->status);
    pb_opt_bytes(o, RED_LOCATION, r->location);
    pb_opt_uint(o, RED_SCHEME, r->scheme);
    pb_opt_bytes(o, RED_HOST, r->host);
    pb_opt_uint(o, RED_PORT, r->port);
    pb_opt_bytes(o, RED_PATH, r->path);
    pb_end(o, at);
}

void actions_write(struct pb_out *o, uint32_t field, const struct route_actions *a)
{
    if (!a)
        return;
    size_t at = pb_begin(o, field);
    pb_opt_uint(o, A_STRIP_PREFIX, a->strip_prefix);
    pb_opt_bytes(o, A_REPLACE_PREFIX, a->replace_prefix);
    pb_opt_bytes(o, A_HOST, a->host);
    write_edits(o, A_REQUEST, &a->request);
    write_edits(o, A_REPLY, &a->reply);
    if (a->max_body != BODY_ANY)
        pb_uint(o, A_MAX_BODY, a->max_body);
    pb_opt_uint(o, A_TIMEOUT, a->timeout_ms);
    pb_opt_uint(o, A_IDLE_TIMEOUT, a->idle_timeout_ms);
    affinity_write(o, A_AFFINITY, &a->affinity);
    write_redirect(o, &a->redirect);
    pb_opt_uint(o, A_NO_UPGRADE, a->no_upgrade);
    pb_opt_uint(o, A_REQUIRE_HTTPS, a->require_https);
    pb_end(o, at);
}

static void write_limit(struct pb_out *o, uint32_t field, const struct limit *l)
{
    if (!limit_any(l))
        return;
    size_t at = pb_begin(o, field);
    pb_opt_uint(o, LIM_PER_SECOND, l->per_second);
    pb_opt_uint(o, LIM_BURST, l->burst);
    pb_opt_uint(o, LIM_TOGETHER, l->together);
    pb_end(o, at);
}

void limits_write(struct pb_out *o, uint32_t field, const struct gateway_limits *l)
{
    if (!limits_any(l))
        return;
    size_t at = pb_begin(o, field);
    write_limit(o, L_SOURCE, &l->source);
    write_limit(o, L_ENVIRONMENT, &l->environment);
    pb_end(o, at);
}

/* ---- reading ---- */

/* The message of a field in a message, or an empty one. */
static struct str find_message(struct str bytes, uint32_t field)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    while (pb_next(&in, &f) > 0)
        if (f.number == field && f.wire == PB_BYTES)
            return f.bytes;
    return (struct str){NULL, 0};
}

static uint32_t count_edits(struct str edits)
{
    return count_field(edits, E_SET) + count_field(edits, E_REMOVE);
}

uint32_t actions_count_fields(struct str route, uint32_t field)
{
    struct str actions = find_message(route, field);
    return count_edits(find_message(actions, A_REQUEST)) +
           count_edits(find_message(actions, A_REPLY));
}

/* Names are lower case, editable, and ascend. */
static bool name_field(struct str name, const struct field *before, struct field *ret)
{
    const char *why;
    if (!token_valid(name) || !actions_may_edit(name, &why))
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (ascii_lower(name.p[i]) != name.p[i])
            return false;
    if (before && str_cmp(field_name(before), name) >= 0)
        return false;
    *ret = actions_field(name);
    return true;
}

static bool read_set(struct str bytes, const struct field *before, struct field *ret)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    struct str name = {NULL, 0}, value = {NULL, 0};
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        bool ok = f.number == HDR_NAME    ? get_str(&f, &name)
                  : f.number == HDR_VALUE ? get_str(&f, &value)
                                          : false;
        if (!ok)
            return false;
    }
    if (r < 0 || !header_value_valid(value) || !name_field(name, before, ret))
        return false;
    if (value.n) {
        ret->value = value.p;
        ret->value_len = (uint32_t)value.n;
    }
    return true;
}

static bool read_edits(struct str bytes, struct header_edits *e, struct field **fields)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    if (e->set || count_field(bytes, E_SET) > ACTION_HEADERS_MAX ||
        count_field(bytes, E_REMOVE) > ACTION_HEADERS_MAX)
        return false;
    e->set = *fields;
    e->remove = e->set + count_field(bytes, E_SET);
    *fields = e->remove + count_field(bytes, E_REMOVE);
    while ((r = pb_next(&in, &f)) > 0) {
        if (f.wire != PB_BYTES)
            return false;
        const struct field *last = e->nset ? &e->set[e->nset - 1] : NULL;
        if (f.number == E_SET && read_set(f.bytes, last, &e->set[e->nset])) {
            e->nset++;
            continue;
        }
        last = e->nremove ? &e->remove[e->nremove - 1] : NULL;
        if (f.number != E_REMOVE || !name_field(f.bytes, last, &e->remove[e->nremove]))
            return false;
        e->nremove++;
    }
    return r == 0;
}

static bool read_redirect(struct str bytes, struct redirect *red)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        bool ok = f.number == RED_STATUS     ? get_u16(&f, &red->status)
                  : f.number == RED_LOCATION ? get_str(&f, &red->location)
                  : f.number == RED_SCHEME   ? get_u8(&f, REDIRECT_HTTPS, &red->scheme)
                  : f.number == RED_HOST     ? get_str(&f, &red->host)
                  : f.number == RED_PORT     ? get_u16(&f, &red->port)
                  : f.number == RED_PATH     ? get_str(&f, &red->path)
                                             : false;
        if (!ok)
            return false;
    }
    return r == 0 && redirect_status_valid(red->status) &&
           (red->location.n == 0 || location_valid(red->location)) &&
           (red->host.n == 0 || host_text_valid(red->host)) &&
           (red->path.n == 0 || sent_path_valid(red->path));
}

static bool action_field(struct route_actions *a, const struct pb_field *f, struct field **fields)
{
    switch (f->number) {
    case A_STRIP_PREFIX:
        return get_bool(f, &a->strip_prefix);
    case A_REPLACE_PREFIX:
        return get_str(f, &a->replace_prefix) && sent_path_valid(a->replace_prefix);
    case A_HOST:
        return get_str(f, &a->host) && host_text_valid(a->host);
    case A_REQUEST:
        return f->wire == PB_BYTES && read_edits(f->bytes, &a->request, fields);
    case A_REPLY:
        return f->wire == PB_BYTES && read_edits(f->bytes, &a->reply, fields);
    case A_MAX_BODY:
        return get_uint(f, INT64_MAX, &a->max_body);
    case A_TIMEOUT:
        return get_u32(f, &a->timeout_ms);
    case A_IDLE_TIMEOUT:
        return get_u32(f, &a->idle_timeout_ms);
    case A_AFFINITY:
        return f->wire == PB_BYTES && affinity_read(f->bytes, &a->affinity);
    case A_REDIRECT:
        return f->wire == PB_BYTES && read_redirect(f->bytes, &a->redirect);
    case A_NO_UPGRADE:
        return get_bool(f, &a->no_upgrade);
    case A_REQUIRE_HTTPS:
        return get_bool(f, &a->require_https);
    default:
        return false;
    }
}

bool actions_read(struct str bytes, struct route_actions *a, struct field **fields)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    *a = actions_none();
    while ((r = pb_next(&in, &f)) > 0)
        if (!action_field(a, &f, fields))
            return false;
    return r == 0 && !actions_are_none(a) && !(a->strip_prefix && a->replace_prefix.p);
}

static bool read_limit(struct str bytes, struct limit *l)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        bool ok = f.number == LIM_PER_SECOND ? get_u32(&f, &l->per_second)
                  : f.number == LIM_BURST    ? get_u32(&f, &l->burst)
                  : f.number == LIM_TOGETHER ? get_u32(&f, &l->together)
                                             : false;
        if (!ok)
            return false;
    }
    return r == 0 && (l->per_second > 0) == (l->burst > 0);
}

bool limits_read(struct str bytes, struct gateway_limits *l)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        struct limit *to = f.number == L_SOURCE        ? &l->source
                           : f.number == L_ENVIRONMENT ? &l->environment
                                                       : NULL;
        if (!to || f.wire != PB_BYTES || !read_limit(f.bytes, to))
            return false;
    }
    return r == 0;
}
