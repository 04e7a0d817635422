/* The policy of a service, and what routes share with it. */
#include "lib/base/parse.h"
#include "lib/graph/load_internal.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* ---- affinity ------------------------------------------------------------------------------ */

static void read_cookie(struct decode *d, uint32_t value, void *into)
{
    struct mtext name;
    if (decode_token(d, value, "the name of a cookie", &name))
        *(struct str *)into = name.s;
}

void read_affinity(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"context", "source", NULL};
    static const struct known_field fields[] = {
        {"cookie", read_cookie, offsetof(struct affinity, cookie), true},
    };
    struct affinity *a = into;
    uint8_t word;
    if (d->tree->nodes[value].type == NODE_LIST) {
        decode_wrong(d, value, "context, source or {cookie: NAME}");
    } else if (d->tree->nodes[value].type == NODE_MAP) {
        decode_map(d, value, "an affinity", fields, COUNT(fields), a);
        a->kind = AFFINITY_COOKIE;
    } else if (decode_choice(d, value, words, &word)) {
        a->kind = word ? AFFINITY_SOURCE : AFFINITY_CONTEXT;
    }
}

/* ---- health -------------------------------------------------------------------------------- */

static void read_health_kind(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"http", "tcp", "grpc", NULL};
    decode_choice(d, value, words, into);
}

static void read_health_path(struct decode *d, uint32_t value, void *into)
{
    struct mtext text;
    if (!decode_text(d, value, &text))
        return;
    if (text.s.n && text.s.p[0] == '/')
        *(struct str *)into = text.s;
    else
        decode_wrong(d, value, "a path that starts with '/'");
}

static void read_checks(struct decode *d, uint32_t value, void *into)
{
    decode_u32(d, value, 1, 100, into);
}

static bool parse_status(struct str s, uint16_t *ret)
{
    uint32_t n;
    if (parse_u32(s, 200, 599, &n) < 0)
        return false;
    *ret = (uint16_t)n;
    return true;
}

static void read_status(struct decode *d, uint32_t value, void *into)
{
    struct health_policy *h = into;
    uint16_t min, max;
    if (!decode_is(d, value, NODE_TEXT))
        return;
    struct str s = node_text(d->tree, value);
    size_t dash = str_find(s, '-');
    struct str last = dash < s.n ? str_from(s, dash + 1) : s;
    if (!parse_status(str_of(s.p, dash), &min) || !parse_status(last, &max) || min > max) {
        decode_wrong(d, value, "a status from 200 to 599, or two of them such as 200-299");
        return;
    }
    h->status_min = min;
    h->status_max = max;
}

/* The kind that is meant when none is written, and what belongs to another one. */
static void judge_health(struct decode *d, uint32_t map, struct health_policy *h)
{
    static const char advice[] = "a check is of one kind; remove what is of another";
    bool has_kind = decode_find(d, map, "kind") != UINT32_MAX;
    if (!has_kind && h->service.n)
        h->kind = HEALTH_GRPC;
    const char *kind = has_kind ? "kind" : h->kind == HEALTH_GRPC ? "service" : "path";
    if (h->kind != HEALTH_HTTP) {
        decode_exclude(d, map, kind, "path", advice);
        decode_exclude(d, map, kind, "status", advice);
    }
    if (h->kind != HEALTH_GRPC)
        decode_exclude(d, map, kind, "service", advice);
    if (h->kind == HEALTH_HTTP && decode_find(d, map, "path") == UINT32_MAX)
        findings_add(d->found, F_MISSING_FIELD, node_place(d, map), NULL,
            "'path' is missing in health; add it, or write 'kind: tcp' or 'kind: grpc'");
}

static void read_health(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"kind", read_health_kind, offsetof(struct health_policy, kind), false},
        {"path", read_health_path, offsetof(struct health_policy, path), false},
        {"service", read_str, offsetof(struct health_policy, service), false},
        {"interval", read_duration, offsetof(struct health_policy, interval_ms), false},
        {"timeout", read_duration, offsetof(struct health_policy, timeout_ms), false},
        {"healthyAfter", read_checks, offsetof(struct health_policy, healthy_after), false},
        {"unhealthyAfter", read_checks, offsetof(struct health_policy, unhealthy_after), false},
        {"status", read_status, 0, false},
    };
    struct health_policy *h = into;
    *h = health_default();
    size_t before = d->found->errors;
    unsigned fault = decode_map(d, value, "health", fields, COUNT(fields), into);
    if (!(fault & (MAP_NOT_ONE | MAP_UNKNOWN_FIELD)) && d->found->errors == before)
        judge_health(d, value, h);
}

/* ---- retries, ejection, budgets -------------------------------------------------------------- */

static void read_retries_max(struct decode *d, uint32_t value, void *into)
{
    decode_u32(d, value, 0, 10, into);
}

static void read_percent(struct decode *d, uint32_t value, void *into)
{
    bool text = d->tree->nodes[value].type == NODE_TEXT;
    struct str s = text ? node_text(d->tree, value) : (struct str){0};
    if (!str_ends(s, STR("%")) || parse_u32(str_of(s.p, s.n - 1), 0, 100, into) < 0)
        decode_wrong(d, value, "a percentage from 0% to 100%");
}

static void read_retries(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"max", read_retries_max, offsetof(struct policy, retries_max), false},
        {"budget", read_percent, offsetof(struct policy, retries_budget_percent), false},
        {"perTryTimeout", read_duration, offsetof(struct policy, try_timeout_ms), false},
    };
    decode_map(d, value, "retries", fields, COUNT(fields), into);
}

static void read_failures(struct decode *d, uint32_t value, void *into)
{
    decode_u32(d, value, 1, 1000, into);
}

static void read_ejection(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"consecutiveFailures", read_failures, offsetof(struct ejection_policy, failures), false},
        {"time", read_duration, offsetof(struct ejection_policy, time_ms), false},
        {"maxEjected", read_percent, offsetof(struct ejection_policy, percent), false},
    };
    *(struct ejection_policy *)into = ejection_default();
    decode_map(d, value, "ejection", fields, COUNT(fields), into);
}

static void read_budget(struct decode *d, uint32_t value, void *into)
{
    decode_u32(d, value, 1, 1000000, into);
}

/* ---- policy -------------------------------------------------------------------------------- */

static void read_balance(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"round-robin", "least-request", "consistent-hash", NULL};
    decode_choice(d, value, words, into);
}

/* `hash` is how consistent hashing is told what to hash; either implies the other. */
static void settle_hash(struct decode *d, uint32_t map, struct policy *p)
{
    bool has_balance = decode_find(d, map, "balance") != UINT32_MAX;
    if (p->hash.kind != AFFINITY_NONE && has_balance && p->balance != BALANCE_CONSISTENT_HASH)
        decode_exclude(d, map, "balance", "hash",
            "only consistent-hash hashes; remove one, or write 'balance: consistent-hash'");
    if (p->hash.kind != AFFINITY_NONE)
        p->balance = BALANCE_CONSISTENT_HASH;
    else if (p->balance == BALANCE_CONSISTENT_HASH)
        p->hash.kind = AFFINITY_CONTEXT;
}

void read_policy(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"balance", read_balance, offsetof(struct policy, balance), false},
        {"hash", read_affinity, offsetof(struct policy, hash), false},
        {"timeout", read_duration, offsetof(struct policy, timeout_ms), false},
        {"connectTimeout", read_duration, offsetof(struct policy, connect_timeout_ms), false},
        {"idleTimeout", read_duration, offsetof(struct policy, idle_timeout_ms), false},
        {"retries", read_retries, 0, false},
        {"maxConnections", read_budget, offsetof(struct policy, max_connections), false},
        {"maxPending", read_budget, offsetof(struct policy, max_pending), false},
        {"maxRequests", read_budget, offsetof(struct policy, max_requests), false},
        {"ejection", read_ejection, offsetof(struct policy, ejection), false},
        {"health", read_health, offsetof(struct policy, health), false},
        {"slowStart", read_duration, offsetof(struct policy, slow_start_ms), false},
    };
    size_t before = d->found->errors;
    decode_map(d, value, "policy", fields, COUNT(fields), into);
    if (d->found->errors == before)
        settle_hash(d, value, into);
}
