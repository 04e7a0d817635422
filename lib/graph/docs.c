#include "lib/graph/docs.h"

#include "lib/base/mem.h"
#include "lib/graph/docs_int.h"
#include <errno.h>

/* Field numbers of proto/offshoot/v1/graph.proto. */
enum {
    S_NAME = 1,
    S_PORT,
    S_PROTOCOL,
    S_PROPAGATES,
    S_STATE,
    S_SHADOW,
    S_PINNED,
    S_HOSTS,
    S_DEPENDS_ON,
    S_POLICY,
    S_PROVIDER_PROTOCOL,
    S_TLS
};
enum {
    G_NAME = 1,
    G_DEFAULT_ENVIRONMENT,
    G_PIN_HOSTS,
    G_SELECTORS,
    G_ROUTES,
    G_OVERLAY_ACCESS_PUBLIC,
    G_LIMITS
};
enum { SEL_KIND = 1, SEL_FORWARD, SEL_KEY };
enum { R_HOST = 1, R_PATH, R_SERVICE, R_ACTIONS };

/* ---- writing ---- */

void service_write(struct pb_out *o, const struct model_service *m)
{
    pb_bytes(o, S_NAME, m->name.s);
    pb_opt_uint(o, S_PORT, m->port);
    pb_opt_uint(o, S_PROTOCOL, m->protocol);
    pb_opt_uint(o, S_PROPAGATES, m->propagates);
    pb_opt_uint(o, S_STATE, m->state);
    pb_opt_uint(o, S_SHADOW, m->shadow);
    pb_opt_uint(o, S_PINNED, m->pinned);
    for (uint32_t i = 0; i < m->nhosts; i++)
        pb_bytes(o, S_HOSTS, m->hosts[i].s);
    for (uint32_t i = 0; i < m->ndepends_on; i++)
        pb_bytes(o, S_DEPENDS_ON, m->depends_on[i].s);
    policy_write(o, S_POLICY, &m->policy);
    pb_opt_uint(o, S_PROVIDER_PROTOCOL, m->provider_protocol);
    tls_write(o, S_TLS, &m->tls);
}

void gateway_write(struct pb_out *o, const struct model_gateway *m)
{
    pb_bytes(o, G_NAME, m->name.s);
    if (m->default_environment.s.p)
        pb_bytes(o, G_DEFAULT_ENVIRONMENT, m->default_environment.s);
    for (uint32_t i = 0; i < m->npin_hosts; i++)
        pb_bytes(o, G_PIN_HOSTS, m->pin_hosts[i].s);
    for (uint32_t i = 0; i < m->nselectors; i++) {
        size_t at = pb_begin(o, G_SELECTORS);
        pb_opt_uint(o, SEL_KIND, m->selectors[i].kind);
        pb_opt_uint(o, SEL_FORWARD, m->selectors[i].forward);
        pb_opt_bytes(o, SEL_KEY, m->selectors[i].key.s);
        pb_end(o, at);
    }
    for (uint32_t i = 0; i < m->nroutes; i++) {
        size_t at = pb_begin(o, G_ROUTES);
        pb_opt_bytes(o, R_HOST, m->routes[i].host.s);
        pb_opt_bytes(o, R_PATH, m->routes[i].path.s);
        pb_opt_bytes(o, R_SERVICE, m->routes[i].service.s);
        actions_write(o, R_ACTIONS, m->routes[i].actions);
        pb_end(o, at);
    }
    pb_opt_uint(o, G_OVERLAY_ACCESS_PUBLIC, m->overlay_access_public);
    limits_write(o, G_LIMITS, &m->limits);
}

/* ---- reading ---- */

static int bad(struct err *e, const char *kind, uint32_t field)
{
    return err_set(e, -EBADMSG, "malformed field %u of a %s record", field, kind);
}

int record_name(struct str bytes, struct str *ret, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    if (pb_next(&in, &f) <= 0 || f.number != 1 || !get_name(&f, ret))
        return err_set(e, -EBADMSG, "record without a valid name");
    return 0;
}

static bool read_service_field(struct model_service *m, const struct pb_field *f)
{
    switch (f->number) {
    case S_NAME:
        return get_name(f, &m->name.s);
    case S_PORT:
        return get_u16(f, &m->port);
    case S_PROTOCOL:
        return get_u8(f, PROTOCOL_TCP, &m->protocol);
    case S_PROPAGATES:
        return get_u8(f, PROPAGATES_FALSE, &m->propagates);
    case S_STATE:
        return get_u8(f, STATE_NONE, &m->state);
    case S_SHADOW:
        return get_u8(f, SHADOW_SAFE, &m->shadow);
    case S_PINNED:
        return get_bool(f, &m->pinned);
    case S_HOSTS:
        return get_str(f, &m->hosts[m->nhosts++].s);
    case S_DEPENDS_ON:
        return get_name(f, &m->depends_on[m->ndepends_on++].s);
    case S_POLICY:
        return f->wire == PB_BYTES && policy_read(f->bytes, &m->policy);
    case S_PROVIDER_PROTOCOL:
        return get_u8(f, PROVIDER_HTTP2, &m->provider_protocol);
    case S_TLS:
        return f->wire == PB_BYTES && tls_read(f->bytes, &m->tls);
    default:
        return false;
    }
}

static bool service_is_new(struct str bytes)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    while (pb_next(&in, &f) > 0)
        if (f.number > S_POLICY || (f.number == S_POLICY && policy_is_new(f.bytes)))
            return true;
    return false;
}

static int read_service(struct str bytes, struct model_service *m, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    m->policy = policy_default();
    while ((r = pb_next(&in, &f)) > 0)
        if (!read_service_field(m, &f))
            return bad(e, "service", f.number);
    if (r < 0)
        return err_set(e, -EBADMSG, "service record is cut short or garbled");
    if (!m->name.s.p)
        return err_set(e, -EBADMSG, "service record without a name");
    return 0;
}

static struct service_info info_of(const struct model_service *m)
{
    bool http2 = m->provider_protocol == PROVIDER_DEFAULT ? m->protocol == PROTOCOL_GRPC
                                                          : m->provider_protocol == PROVIDER_HTTP2;
    return (struct service_info){.name = m->name.s,
        .port = m->port,
        .protocol = m->protocol,
        .propagates = m->propagates,
        .state = m->state,
        .shadow = m->shadow,
        .pinned = m->pinned,
        .http2 = http2,
        .policy = m->policy,
        .tls = m->tls};
}

int service_doc_new(struct str bytes, uint32_t number, uint64_t changed, struct sha *sha,
    struct service_doc **ret, struct err *e)
{
    uint32_t nhosts = count_field(bytes, S_HOSTS), ndepends = count_field(bytes, S_DEPENDS_ON);
    struct service_doc *d = mem_zalloc(sizeof(*d));
    struct model_service m = {.hosts = nhosts ? mem_zalloc(nhosts * sizeof(*m.hosts)) : NULL,
        .depends_on = mem_zalloc((ndepends + (size_t)1) * sizeof(*m.depends_on))};
    char *copy = mem_dup(bytes.p, bytes.n);
    if (!d || !m.depends_on || !copy || (nhosts && !m.hosts)) {
        mem_free(d);
        mem_free(m.hosts);
        mem_free(m.depends_on);
        mem_free(copy);
        return err_set(e, -ENOMEM, "out of memory");
    }
    *d = (struct service_doc){.refs = 1,
        .number = number,
        .changed = changed,
        .bytes = str_of(copy, bytes.n),
        .hosts = m.hosts};
    int r = sha_of(sha, bytes.p, bytes.n, d->hash);
    r = r < 0 ? err_set(e, r, "out of memory") : read_service(d->bytes, &m, e);
    mem_free(m.depends_on);
    if (r < 0) {
        service_doc_unref(d);
        return r;
    }
    d->routes = service_is_new(d->bytes);
    d->nhosts = m.nhosts;
    d->info = info_of(&m);
    *ret = d;
    return 0;
}

void service_doc_unref(struct service_doc *d)
{
    if (!d || --d->refs > 0)
        return;
    mem_free((char *)(uintptr_t)d->bytes.p);
    mem_free(d->hosts);
    mem_free(d);
}

size_t service_doc_bytes(const struct service_doc *d)
{
    return sizeof(*d) + d->bytes.n + 1 + d->nhosts * sizeof(struct mtext);
}

static int read_selector(struct str bytes, struct model_selector *s)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        bool ok = f.number == SEL_KIND      ? get_u8(&f, SELECT_QUERY, &s->kind)
                  : f.number == SEL_FORWARD ? get_bool(&f, &s->forward)
                  : f.number == SEL_KEY     ? get_str(&f, &s->key.s)
                                            : false;
        if (!ok)
            return -EBADMSG;
    }
    return r;
}

/* Where the parts of a gateway's model are put while it is read. */
struct gateway_room {
    struct route_actions *actions;
    struct field *fields;
};

static bool read_actions(struct str bytes, struct model_route *route, struct gateway_room *at)
{
    if (route->actions)
        return false;
    route->actions = at->actions++;
    return actions_read(bytes, route->actions, &at->fields);
}

static int read_route(struct str bytes, struct model_route *route, struct gateway_room *at)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        bool ok = f.number == R_HOST      ? get_str(&f, &route->host.s)
                  : f.number == R_PATH    ? get_str(&f, &route->path.s)
                  : f.number == R_SERVICE ? get_name(&f, &route->service.s)
                  : f.number == R_ACTIONS ? f.wire == PB_BYTES && read_actions(f.bytes, route, at)
                                          : false;
        if (!ok)
            return -EBADMSG;
    }
    bool redirects = route->actions && route->actions->redirect.status;
    bool target = redirects ? route->service.s.n == 0 : route->service.s.n > 0;
    if (r == 0 && (!target || !route->path.s.n || route->path.s.p[0] != '/'))
        return -EBADMSG;
    return r;
}

static bool read_gateway_field(
    struct model_gateway *m, const struct pb_field *f, struct gateway_room *at)
{
    switch (f->number) {
    case G_NAME:
        return get_name(f, &m->name.s);
    case G_DEFAULT_ENVIRONMENT:
        return get_name(f, &m->default_environment.s);
    case G_PIN_HOSTS:
        return get_str(f, &m->pin_hosts[m->npin_hosts++].s);
    case G_SELECTORS:
        return f->wire == PB_BYTES && read_selector(f->bytes, &m->selectors[m->nselectors++]) == 0;
    case G_ROUTES:
        return f->wire == PB_BYTES && read_route(f->bytes, &m->routes[m->nroutes++], at) == 0;
    case G_OVERLAY_ACCESS_PUBLIC:
        return get_bool(f, &m->overlay_access_public);
    case G_LIMITS:
        return f->wire == PB_BYTES && limits_read(f->bytes, &m->limits);
    default:
        return false;
    }
}

static int read_gateway(
    struct str bytes, struct model_gateway *m, struct gateway_room *at, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0)
        if (!read_gateway_field(m, &f, at))
            return bad(e, "gateway", f.number);
    if (r < 0)
        return err_set(e, -EBADMSG, "gateway record is cut short or garbled");
    if (!m->name.s.p)
        return err_set(e, -EBADMSG, "gateway record without a name");
    return 0;
}

static int compile_gateway(struct gateway_doc *d, const struct model_gateway *m,
    service_number_fn *number, void *arg, struct err *e)
{
    for (uint32_t i = 0; i < m->nroutes; i++)
        if (m->routes[i].service.s.n && number(arg, m->routes[i].service.s) == NUMBER_NONE)
            return err_set(e, -EBADMSG, "gateway '%.*s' routes to unknown service '%.*s'",
                STR_ARG(m->name.s), STR_ARG(m->routes[i].service.s));
    d->name = m->name.s;
    d->routes = limits_any(&m->limits);
    for (uint32_t i = 0; i < m->nroutes; i++)
        d->routes |= m->routes[i].actions != NULL;
    d->gateway = gateway_new(m, number, arg);
    return d->gateway ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int gateway_model_new(struct str bytes, struct model_gateway *m, struct gateway_room *room)
{
    uint32_t npin = count_field(bytes, G_PIN_HOSTS), nsel = count_field(bytes, G_SELECTORS);
    uint32_t nroutes = count_field(bytes, G_ROUTES);
    uint32_t nfields = 0;
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    while (pb_next(&in, &f) > 0)
        if (f.number == G_ROUTES && f.wire == PB_BYTES)
            nfields += actions_count_fields(f.bytes, R_ACTIONS);
    *m = (struct model_gateway){.pin_hosts = mem_zalloc((npin + (size_t)1) * sizeof(struct mtext)),
        .selectors = mem_zalloc((nsel + (size_t)1) * sizeof(struct model_selector)),
        .routes = mem_zalloc((nroutes + (size_t)1) * sizeof(struct model_route))};
    *room = (struct gateway_room){mem_zalloc((nroutes + (size_t)1) * sizeof(struct route_actions)),
        mem_zalloc((nfields + (size_t)1) * sizeof(struct field))};
    bool ok = m->pin_hosts && m->selectors && m->routes && room->actions && room->fields;
    return ok ? 0 : -ENOMEM;
}

int gateway_doc_new(struct str bytes, uint64_t changed, struct sha *sha, service_number_fn *number,
    void *arg, struct gateway_doc **ret, struct err *e)
{
    struct gateway_doc *d = mem_zalloc(sizeof(*d));
    char *copy = mem_dup(bytes.p, bytes.n);
    struct model_gateway m;
    struct gateway_room room;
    int r = gateway_model_new(bytes, &m, &room);
    struct gateway_room at = room;
    if (r == 0 && d && copy) {
        *d = (struct gateway_doc){.refs = 1, .changed = changed, .bytes = str_of(copy, bytes.n)};
        copy = NULL;
        r = sha_of(sha, bytes.p, bytes.n, d->hash);
        r = r < 0 ? r : read_gateway(d->bytes, &m, &at, e);
        r = r < 0 ? r : compile_gateway(d, &m, number, arg, e);
    } else {
        r = -ENOMEM;
    }
    mem_free(m.pin_hosts);
    mem_free(m.selectors);
    mem_free(m.routes);
    mem_free(room.actions);
    mem_free(room.fields);
    mem_free(copy);
    if (r == 0)
        *ret = d;
    else if (d)
        gateway_doc_unref(d);
    return r == -ENOMEM ? err_set(e, r, "out of memory") : r;
}

void gateway_doc_unref(struct gateway_doc *d)
{
    if (!d || (d->refs > 0 && --d->refs > 0))
        return;
    if (d->gateway)
        gateway_unref(d->gateway);
    mem_free((char *)(uintptr_t)d->bytes.p);
    mem_free(d);
}
