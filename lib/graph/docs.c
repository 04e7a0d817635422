#include "lib/graph/docs.h"

#include "lib/base/mem.h"
#include "lib/base/parse.h"
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
    S_POLICY
};
enum {
    P_BALANCE = 1,
    P_TIMEOUT,
    P_CONNECT_TIMEOUT,
    P_RETRIES_MAX,
    P_RETRIES_BUDGET,
    P_HEALTH_INTERVAL,
    P_HEALTH_PATH
};
enum {
    G_NAME = 1,
    G_DEFAULT_ENVIRONMENT,
    G_PIN_HOSTS,
    G_SELECTORS,
    G_ROUTES,
    G_OVERLAY_ACCESS_PUBLIC
};
enum { SEL_KIND = 1, SEL_FORWARD, SEL_KEY };
enum { R_HOST = 1, R_PATH, R_SERVICE };

/* ---- writing ---- */

static void put_uint(struct pb_out *o, uint32_t field, uint64_t v)
{
    if (v)
        pb_uint(o, field, v);
}
static void put_str(struct pb_out *o, uint32_t field, struct str s)
{
    if (s.n)
        pb_bytes(o, field, s);
}

static void write_policy(struct pb_out *o, const struct policy *p)
{
    size_t at = pb_begin(o, S_POLICY);
    put_uint(o, P_BALANCE, p->balance);
    put_uint(o, P_TIMEOUT, p->timeout_ms);
    put_uint(o, P_CONNECT_TIMEOUT, p->connect_timeout_ms);
    if (p->retries_max != UINT32_MAX)
        pb_uint(o, P_RETRIES_MAX, p->retries_max);
    if (p->retries_budget_percent != UINT32_MAX)
        pb_uint(o, P_RETRIES_BUDGET, p->retries_budget_percent);
    put_uint(o, P_HEALTH_INTERVAL, p->health.interval_ms);
    put_str(o, P_HEALTH_PATH, p->health.path);
    pb_end(o, at);
}

void service_write(struct pb_out *o, const struct model_service *m)
{
    pb_bytes(o, S_NAME, m->name.s);
    put_uint(o, S_PORT, m->port);
    put_uint(o, S_PROTOCOL, m->protocol);
    put_uint(o, S_PROPAGATES, m->propagates);
    put_uint(o, S_STATE, m->state);
    put_uint(o, S_SHADOW, m->shadow);
    put_uint(o, S_PINNED, m->pinned);
    for (uint32_t i = 0; i < m->nhosts; i++)
        pb_bytes(o, S_HOSTS, m->hosts[i].s);
    for (uint32_t i = 0; i < m->ndepends_on; i++)
        pb_bytes(o, S_DEPENDS_ON, m->depends_on[i].s);
    write_policy(o, &m->policy);
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
        put_uint(o, SEL_KIND, m->selectors[i].kind);
        put_uint(o, SEL_FORWARD, m->selectors[i].forward);
        put_str(o, SEL_KEY, m->selectors[i].key.s);
        pb_end(o, at);
    }
    for (uint32_t i = 0; i < m->nroutes; i++) {
        size_t at = pb_begin(o, G_ROUTES);
        put_str(o, R_HOST, m->routes[i].host.s);
        put_str(o, R_PATH, m->routes[i].path.s);
        put_str(o, R_SERVICE, m->routes[i].service.s);
        pb_end(o, at);
    }
    put_uint(o, G_OVERLAY_ACCESS_PUBLIC, m->overlay_access_public);
}

/* ---- reading ---- */

static int bad(struct err *e, const char *kind, uint32_t field)
{
    return err_set(e, -EBADMSG, "malformed field %u of a %s record", field, kind);
}

/* A number of at most max; false when it is none. */
static bool get_uint(const struct pb_field *f, uint64_t max, uint64_t *ret)
{
    if (f->wire != PB_VARINT || f->value > max)
        return false;
    *ret = f->value;
    return true;
}

static bool get_u32(const struct pb_field *f, uint32_t *ret)
{
    uint64_t v;
    if (!get_uint(f, UINT32_MAX, &v))
        return false;
    *ret = (uint32_t)v;
    return true;
}

static bool get_u8(const struct pb_field *f, uint8_t max, uint8_t *ret)
{
    uint64_t v;
    if (!get_uint(f, max, &v))
        return false;
    *ret = (uint8_t)v;
    return true;
}

static bool get_bool(const struct pb_field *f, bool *ret)
{
    uint64_t v;
    if (!get_uint(f, 1, &v))
        return false;
    *ret = v;
    return true;
}

static bool get_str(const struct pb_field *f, struct str *ret)
{
    if (f->wire != PB_BYTES || utf8_check(f->bytes) != f->bytes.n ||
        str_find(f->bytes, '\0') != f->bytes.n)
        return false;
    *ret = f->bytes;
    return true;
}

static bool get_name(const struct pb_field *f, struct str *ret)
{
    return f->wire == PB_BYTES && name_valid(f->bytes) && get_str(f, ret);
}

/* How often a field stands in a message. */
static uint32_t count_field(struct str bytes, uint32_t field)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    uint32_t n = 0;
    while (pb_next(&in, &f) > 0)
        n += f.number == field;
    return n;
}

int record_name(struct str bytes, struct str *ret, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    if (pb_next(&in, &f) <= 0 || f.number != 1 || !get_name(&f, ret))
        return err_set(e, -EBADMSG, "record without a valid name");
    return 0;
}

static int read_policy(struct str bytes, struct policy *p)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        bool ok = false;
        switch (f.number) {
        case P_BALANCE:
            ok = get_u8(&f, BALANCE_LEAST_REQUEST, &p->balance);
            break;
        case P_TIMEOUT:
            ok = get_u32(&f, &p->timeout_ms);
            break;
        case P_CONNECT_TIMEOUT:
            ok = get_u32(&f, &p->connect_timeout_ms);
            break;
        case P_RETRIES_MAX:
            ok = get_u32(&f, &p->retries_max);
            break;
        case P_RETRIES_BUDGET:
            ok = get_u32(&f, &p->retries_budget_percent);
            break;
        case P_HEALTH_INTERVAL:
            ok = get_u32(&f, &p->health.interval_ms);
            break;
        case P_HEALTH_PATH:
            ok = get_str(&f, &p->health.path);
            break;
        }
        if (!ok)
            return -EBADMSG;
    }
    return r;
}

static bool read_service_field(struct model_service *m, const struct pb_field *f)
{
    uint64_t port;
    switch (f->number) {
    case S_NAME:
        return get_name(f, &m->name.s);
    case S_PORT:
        if (!get_uint(f, UINT16_MAX, &port))
            return false;
        m->port = (uint16_t)port;
        return true;
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
        return f->wire == PB_BYTES && read_policy(f->bytes, &m->policy) == 0;
    default:
        return false;
    }
}

static int read_service(struct str bytes, struct model_service *m, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    m->policy.retries_max = m->policy.retries_budget_percent = UINT32_MAX;
    while ((r = pb_next(&in, &f)) > 0)
        if (!read_service_field(m, &f))
            return bad(e, "service", f.number);
    if (r < 0)
        return err_set(e, -EBADMSG, "service record is cut short or garbled");
    if (!m->name.s.p)
        return err_set(e, -EBADMSG, "service record without a name");
    return 0;
}

int service_doc_new(struct str bytes, uint32_t number, uint64_t changed, struct sha *sha,
    struct service_doc **ret, struct err *e)
{
    uint32_t nhosts = count_field(bytes, S_HOSTS), ndepends = count_field(bytes, S_DEPENDS_ON);
    struct service_doc *d = mem_zalloc(sizeof(*d));
    struct mtext *texts = mem_zalloc((nhosts + (size_t)ndepends + 1) * sizeof(*texts));
    char *copy = mem_dup(bytes.p, bytes.n);
    if (!d || !texts || !copy) {
        mem_free(d);
        mem_free(texts);
        mem_free(copy);
        return err_set(e, -ENOMEM, "out of memory");
    }
    *d = (struct service_doc){.refs = 1,
        .number = number,
        .changed = changed,
        .bytes = str_of(copy, bytes.n),
        .model = {.hosts = texts, .depends_on = texts + nhosts}};
    int r = sha_of(sha, bytes.p, bytes.n, d->hash);
    r = r < 0 ? err_set(e, r, "out of memory") : read_service(d->bytes, &d->model, e);
    if (r < 0) {
        service_doc_unref(d);
        return r;
    }
    const struct model_service *m = &d->model;
    d->info = (struct service_info){.name = m->name.s,
        .port = m->port,
        .protocol = m->protocol,
        .propagates = m->propagates,
        .state = m->state,
        .shadow = m->shadow,
        .pinned = m->pinned,
        .policy = m->policy};
    *ret = d;
    return 0;
}

void service_doc_unref(struct service_doc *d)
{
    if (!d || --d->refs > 0)
        return;
    mem_free((char *)(uintptr_t)d->bytes.p);
    mem_free(d->model.hosts);
    mem_free(d);
}

size_t service_doc_bytes(const struct service_doc *d)
{
    return sizeof(*d) + d->bytes.n + 1 +
           (d->model.nhosts + d->model.ndepends_on + 1u) * sizeof(struct mtext);
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

static int read_route(struct str bytes, struct model_route *route)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        bool ok = f.number == R_HOST      ? get_str(&f, &route->host.s)
                  : f.number == R_PATH    ? get_str(&f, &route->path.s)
                  : f.number == R_SERVICE ? get_name(&f, &route->service.s)
                                          : false;
        if (!ok)
            return -EBADMSG;
    }
    if (r == 0 && (!route->service.s.n || !route->path.s.n || route->path.s.p[0] != '/'))
        return -EBADMSG;
    return r;
}

static bool read_gateway_field(struct model_gateway *m, const struct pb_field *f)
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
        return f->wire == PB_BYTES && read_route(f->bytes, &m->routes[m->nroutes++]) == 0;
    case G_OVERLAY_ACCESS_PUBLIC:
        return get_bool(f, &m->overlay_access_public);
    default:
        return false;
    }
}

static int read_gateway(struct str bytes, struct model_gateway *m, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0)
        if (!read_gateway_field(m, &f))
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
        if (number(arg, m->routes[i].service.s) == NUMBER_NONE)
            return err_set(e, -EBADMSG, "gateway '%.*s' routes to unknown service '%.*s'",
                STR_ARG(m->name.s), STR_ARG(m->routes[i].service.s));
    d->name = m->name.s;
    d->gateway = gateway_new(m, number, arg);
    return d->gateway ? 0 : err_set(e, -ENOMEM, "out of memory");
}

int gateway_doc_new(struct str bytes, uint64_t changed, struct sha *sha, service_number_fn *number,
    void *arg, struct gateway_doc **ret, struct err *e)
{
    uint32_t npin = count_field(bytes, G_PIN_HOSTS), nsel = count_field(bytes, G_SELECTORS);
    uint32_t nroutes = count_field(bytes, G_ROUTES);
    struct gateway_doc *d = mem_zalloc(sizeof(*d));
    char *copy = mem_dup(bytes.p, bytes.n);
    struct model_gateway m = {.pin_hosts = mem_zalloc((npin + (size_t)1) * sizeof(struct mtext)),
        .selectors = mem_zalloc((nsel + (size_t)1) * sizeof(struct model_selector)),
        .routes = mem_zalloc((nroutes + (size_t)1) * sizeof(struct model_route))};
    int r = -ENOMEM;
    if (d && copy && m.pin_hosts && m.selectors && m.routes) {
        *d = (struct gateway_doc){.refs = 1, .changed = changed, .bytes = str_of(copy, bytes.n)};
        copy = NULL;
        r = sha_of(sha, bytes.p, bytes.n, d->hash);
        r = r < 0 ? r : read_gateway(d->bytes, &m, e);
        r = r < 0 ? r : compile_gateway(d, &m, number, arg, e);
    }
    mem_free(m.pin_hosts);
    mem_free(m.selectors);
    mem_free(m.routes);
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
