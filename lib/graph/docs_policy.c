/* The policy of a Service as canonical bytes, and the fields that all records are made of. */
#include "lib/base/parse.h"
#include "lib/graph/docs_int.h"

enum {
    P_BALANCE = 1,
    P_TIMEOUT,
    P_CONNECT_TIMEOUT,
    P_RETRIES_MAX,
    P_RETRIES_BUDGET,
    P_HEALTH_INTERVAL,
    P_HEALTH_PATH,
    P_HASH,
    P_IDLE_TIMEOUT,
    P_TRY_TIMEOUT,
    P_MAX_CONNECTIONS,
    P_MAX_PENDING,
    P_MAX_REQUESTS,
    P_SLOW_START,
    P_EJECTION,
    P_HEALTH
};
enum { AFF_KIND = 1, AFF_COOKIE };
enum { EJ_FAILURES = 1, EJ_TIME, EJ_PERCENT };
enum {
    H_KIND = 1,
    H_SERVICE,
    H_TIMEOUT,
    H_HEALTHY_AFTER,
    H_UNHEALTHY_AFTER,
    H_STATUS_MIN,
    H_STATUS_MAX
};
enum { TLS_NAME = 1, TLS_CA, TLS_INSECURE };

/* ---- fields ---- */

void put_unless(struct pb_out *o, uint32_t field, uint64_t v, uint64_t usual)
{
    if (v != usual)
        pb_uint(o, field, v);
}

bool get_uint(const struct pb_field *f, uint64_t max, uint64_t *ret)
{
    if (f->wire != PB_VARINT || f->value > max)
        return false;
    *ret = f->value;
    return true;
}

bool get_u32(const struct pb_field *f, uint32_t *ret)
{
    uint64_t v;
    if (!get_uint(f, UINT32_MAX, &v))
        return false;
    *ret = (uint32_t)v;
    return true;
}

bool get_u16(const struct pb_field *f, uint16_t *ret)
{
    uint64_t v;
    if (!get_uint(f, UINT16_MAX, &v))
        return false;
    *ret = (uint16_t)v;
    return true;
}

bool get_u8(const struct pb_field *f, uint8_t max, uint8_t *ret)
{
    uint64_t v;
    if (!get_uint(f, max, &v))
        return false;
    *ret = (uint8_t)v;
    return true;
}

bool get_bool(const struct pb_field *f, bool *ret)
{
    uint64_t v;
    if (!get_uint(f, 1, &v))
        return false;
    *ret = v;
    return true;
}

bool get_str(const struct pb_field *f, struct str *ret)
{
    if (f->wire != PB_BYTES || utf8_check(f->bytes) != f->bytes.n ||
        str_find(f->bytes, '\0') != f->bytes.n)
        return false;
    *ret = f->bytes;
    return true;
}

bool get_name(const struct pb_field *f, struct str *ret)
{
    return f->wire == PB_BYTES && name_valid(f->bytes) && get_str(f, ret);
}

uint32_t count_field(struct str bytes, uint32_t field)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    uint32_t n = 0;
    while (pb_next(&in, &f) > 0)
        n += f.number == field;
    return n;
}

/* ---- affinity ---- */

void affinity_write(struct pb_out *o, uint32_t field, const struct affinity *a)
{
    if (a->kind == AFFINITY_NONE)
        return;
    size_t at = pb_begin(o, field);
    pb_uint(o, AFF_KIND, a->kind);
    pb_opt_bytes(o, AFF_COOKIE, a->cookie);
    pb_end(o, at);
}

bool affinity_read(struct str bytes, struct affinity *a)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        bool ok = f.number == AFF_KIND     ? get_u8(&f, AFFINITY_COOKIE, &a->kind)
                  : f.number == AFF_COOKIE ? get_str(&f, &a->cookie)
                                           : false;
        if (!ok)
            return false;
    }
    return r == 0 && a->kind != AFFINITY_NONE &&
           (a->kind == AFFINITY_COOKIE ? token_valid(a->cookie) : a->cookie.n == 0);
}

/* ---- health and ejection ---- */

static void health_write(struct pb_out *o, const struct health_policy *h)
{
    struct health_policy usual = health_default();
    size_t before = o->n, at = pb_begin(o, P_HEALTH);
    pb_opt_uint(o, H_KIND, h->kind);
    pb_opt_bytes(o, H_SERVICE, h->service);
    put_unless(o, H_TIMEOUT, h->timeout_ms, usual.timeout_ms);
    put_unless(o, H_HEALTHY_AFTER, h->healthy_after, usual.healthy_after);
    put_unless(o, H_UNHEALTHY_AFTER, h->unhealthy_after, usual.unhealthy_after);
    put_unless(o, H_STATUS_MIN, h->status_min, usual.status_min);
    put_unless(o, H_STATUS_MAX, h->status_max, usual.status_max);
    if (o->n == at)
        o->n = before; /* nothing but defaults */
    else
        pb_end(o, at);
}

static bool health_read(struct str bytes, struct health_policy *h)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        bool ok = f.number == H_KIND              ? get_u8(&f, HEALTH_GRPC, &h->kind)
                  : f.number == H_SERVICE         ? get_str(&f, &h->service)
                  : f.number == H_TIMEOUT         ? get_u32(&f, &h->timeout_ms)
                  : f.number == H_HEALTHY_AFTER   ? get_u32(&f, &h->healthy_after)
                  : f.number == H_UNHEALTHY_AFTER ? get_u32(&f, &h->unhealthy_after)
                  : f.number == H_STATUS_MIN      ? get_u16(&f, &h->status_min)
                  : f.number == H_STATUS_MAX      ? get_u16(&f, &h->status_max)
                                                  : false;
        if (!ok)
            return false;
    }
    return r == 0 && h->timeout_ms && h->healthy_after && h->unhealthy_after &&
           h->status_min <= h->status_max;
}

static void ejection_write(struct pb_out *o, const struct ejection_policy *e)
{
    struct ejection_policy usual = ejection_default();
    if (!e->failures)
        return;
    size_t at = pb_begin(o, P_EJECTION);
    put_unless(o, EJ_FAILURES, e->failures, usual.failures);
    put_unless(o, EJ_TIME, e->time_ms, usual.time_ms);
    put_unless(o, EJ_PERCENT, e->percent, usual.percent);
    pb_end(o, at);
}

static bool ejection_read(struct str bytes, struct ejection_policy *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    *e = ejection_default();
    while ((r = pb_next(&in, &f)) > 0) {
        bool ok = f.number == EJ_FAILURES  ? get_u32(&f, &e->failures)
                  : f.number == EJ_TIME    ? get_u32(&f, &e->time_ms)
                  : f.number == EJ_PERCENT ? get_u32(&f, &e->percent)
                                           : false;
        if (!ok)
            return false;
    }
    return r == 0 && e->failures && e->percent <= 100;
}

/* ---- policy ---- */

void policy_write(struct pb_out *o, uint32_t field, const struct policy *p)
{
    size_t at = pb_begin(o, field);
    pb_opt_uint(o, P_BALANCE, p->balance);
    pb_opt_uint(o, P_TIMEOUT, p->timeout_ms);
    pb_opt_uint(o, P_CONNECT_TIMEOUT, p->connect_timeout_ms);
    put_unless(o, P_RETRIES_MAX, p->retries_max, POLICY_DEFAULT);
    put_unless(o, P_RETRIES_BUDGET, p->retries_budget_percent, POLICY_DEFAULT);
    pb_opt_uint(o, P_HEALTH_INTERVAL, p->health.interval_ms);
    pb_opt_bytes(o, P_HEALTH_PATH, p->health.path);
    affinity_write(o, P_HASH, &p->hash);
    pb_opt_uint(o, P_IDLE_TIMEOUT, p->idle_timeout_ms);
    pb_opt_uint(o, P_TRY_TIMEOUT, p->try_timeout_ms);
    pb_opt_uint(o, P_MAX_CONNECTIONS, p->max_connections);
    pb_opt_uint(o, P_MAX_PENDING, p->max_pending);
    pb_opt_uint(o, P_MAX_REQUESTS, p->max_requests);
    pb_opt_uint(o, P_SLOW_START, p->slow_start_ms);
    ejection_write(o, &p->ejection);
    if (p->health.interval_ms)
        health_write(o, &p->health);
    pb_end(o, at);
}

static bool policy_field(struct policy *p, const struct pb_field *f)
{
    switch (f->number) {
    case P_BALANCE:
        return get_u8(f, BALANCE_CONSISTENT_HASH, &p->balance);
    case P_TIMEOUT:
        return get_u32(f, &p->timeout_ms);
    case P_CONNECT_TIMEOUT:
        return get_u32(f, &p->connect_timeout_ms);
    case P_RETRIES_MAX:
        return get_u32(f, &p->retries_max);
    case P_RETRIES_BUDGET:
        return get_u32(f, &p->retries_budget_percent);
    case P_HEALTH_INTERVAL:
        return get_u32(f, &p->health.interval_ms);
    case P_HEALTH_PATH:
        return get_str(f, &p->health.path);
    case P_HASH:
        return f->wire == PB_BYTES && affinity_read(f->bytes, &p->hash);
    case P_IDLE_TIMEOUT:
        return get_u32(f, &p->idle_timeout_ms);
    case P_TRY_TIMEOUT:
        return get_u32(f, &p->try_timeout_ms);
    case P_MAX_CONNECTIONS:
        return get_u32(f, &p->max_connections);
    case P_MAX_PENDING:
        return get_u32(f, &p->max_pending);
    case P_MAX_REQUESTS:
        return get_u32(f, &p->max_requests);
    case P_SLOW_START:
        return get_u32(f, &p->slow_start_ms);
    case P_EJECTION:
        return f->wire == PB_BYTES && ejection_read(f->bytes, &p->ejection);
    case P_HEALTH:
        return f->wire == PB_BYTES && health_read(f->bytes, &p->health);
    default:
        return false;
    }
}

bool policy_read(struct str bytes, struct policy *p)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0)
        if (!policy_field(p, &f))
            return false;
    bool hashes = p->balance == BALANCE_CONSISTENT_HASH;
    return r == 0 && hashes == (p->hash.kind != AFFINITY_NONE);
}

bool policy_is_new(struct str bytes)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    while (pb_next(&in, &f) > 0)
        if (f.number > P_HEALTH_PATH)
            return true; /* consistent hashing has P_HASH beside it */
    return false;
}

/* ---- TLS ---- */

void tls_write(struct pb_out *o, uint32_t field, const struct service_tls *t)
{
    if (!t->on)
        return;
    size_t at = pb_begin(o, field);
    pb_opt_bytes(o, TLS_NAME, t->name);
    pb_opt_bytes(o, TLS_CA, t->ca);
    pb_opt_uint(o, TLS_INSECURE, t->insecure);
    pb_end(o, at);
}

bool tls_read(struct str bytes, struct service_tls *t)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    t->on = true;
    while ((r = pb_next(&in, &f)) > 0) {
        bool ok = f.number == TLS_NAME       ? get_str(&f, &t->name)
                  : f.number == TLS_CA       ? get_str(&f, &t->ca)
                  : f.number == TLS_INSECURE ? get_bool(&f, &t->insecure)
                                             : false;
        if (!ok)
            return false;
    }
    return r == 0 && (t->ca.n == 0 || t->ca.p[0] == '/');
}
