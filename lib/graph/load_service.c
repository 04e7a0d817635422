#include "lib/base/parse.h"
#include "lib/graph/load_internal.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

#define DEFAULT UINT32_MAX /* the proxy's default */

/* ---- policy -------------------------------------------------------------------------------- */

static void read_balance(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"round-robin", "least-request", NULL};
    decode_choice(d, value, words, into);
}

static void read_duration(struct decode *d, uint32_t value, void *into)
{
    decode_duration(d, value, into);
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

static void read_health(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"path", read_health_path, offsetof(struct policy, health.path), true},
        {"interval", read_duration, offsetof(struct policy, health.interval_ms), false},
    };
    struct policy *p = into;
    p->health = health_default();
    decode_map(d, value, "health", fields, COUNT(fields), into);
}

static void read_retries_max(struct decode *d, uint32_t value, void *into)
{
    int64_t n;
    if (decode_number(d, value, 0, 10, &n))
        *(uint32_t *)into = (uint32_t)n;
}

static void read_percent(struct decode *d, uint32_t value, void *into)
{
    if (!decode_is(d, value, NODE_TEXT))
        return;
    struct str s = node_text(d->tree, value);
    uint32_t percent;
    if (str_ends(s, STR("%")) && parse_u32(str_of(s.p, s.n - 1), 0, 100, &percent) == 0)
        *(uint32_t *)into = percent;
    else
        decode_wrong(d, value, "a percentage from 0% to 100%");
}

static void read_retries(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"max", read_retries_max, offsetof(struct policy, retries_max), false},
        {"budget", read_percent, offsetof(struct policy, retries_budget_percent), false},
    };
    decode_map(d, value, "retries", fields, COUNT(fields), into);
}

static void read_policy(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"balance", read_balance, offsetof(struct policy, balance), false},
        {"timeout", read_duration, offsetof(struct policy, timeout_ms), false},
        {"connectTimeout", read_duration, offsetof(struct policy, connect_timeout_ms), false},
        {"health", read_health, 0, false},
        {"retries", read_retries, 0, false},
    };
    decode_map(d, value, "policy", fields, COUNT(fields), into);
}

/* ---- service ------------------------------------------------------------------------------- */

static void read_protocol(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"http", "grpc", "tcp", NULL};
    decode_choice(d, value, words, into);
}

static void read_port(struct decode *d, uint32_t value, void *into)
{
    int64_t n;
    if (decode_number(d, value, 1, 65535, &n))
        *(uint16_t *)into = (uint16_t)n;
}

static void read_hosts(struct decode *d, uint32_t value, void *into)
{
    struct model_service *s = into;
    if (!decode_is(d, value, NODE_LIST))
        return;
    s->hosts = decode_alloc(d, d->tree->nodes[value].n, sizeof(*s->hosts));
    for (uint32_t at = 0, item; s->hosts && decode_item(d, value, &at, &item);) {
        struct mtext compared, *host = &s->hosts[s->nhosts];
        if (decode_host(d, item, HOST_EXACT, &compared) && decode_text(d, item, host))
            s->nhosts++;
    }
}

static void read_depends_on(struct decode *d, uint32_t value, void *into)
{
    struct model_service *s = into;
    decode_texts(d, value, &s->depends_on, &s->ndepends_on);
}

/* Quoted, "true" and "false" are text and no answer to a question of yes or no. */
static void read_propagates(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"unknown", "true", "false", NULL};
    const struct node *n = &d->tree->nodes[value];
    bool quoted = n->type == NODE_TEXT && !n->plain;
    if (quoted && !str_eq(node_text(d->tree, value), STR("unknown")))
        decode_wrong(d, value, "true or false without quotes, or unknown");
    else
        decode_choice(d, value, words, into);
}

static void read_state(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"shared", "isolated", "none", NULL};
    decode_choice(d, value, words, into);
}

static void read_shadow(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"deny", "safe", NULL};
    decode_choice(d, value, words, into);
}

void decode_service(struct decode *d, uint32_t spec, struct document *doc)
{
    static const struct known_field fields[] = {
        {"protocol", read_protocol, offsetof(struct model_service, protocol), false},
        {"port", read_port, offsetof(struct model_service, port), false},
        {"hosts", read_hosts, 0, false},
        {"propagates", read_propagates, offsetof(struct model_service, propagates), false},
        {"dependsOn", read_depends_on, 0, false},
        {"pinned", read_bool, offsetof(struct model_service, pinned), false},
        {"state", read_state, offsetof(struct model_service, state), false},
        {"shadow", read_shadow, offsetof(struct model_service, shadow), false},
        {"policy", read_policy, offsetof(struct model_service, policy), false},
    };
    doc->service.policy.retries_max = DEFAULT;
    doc->service.policy.retries_budget_percent = DEFAULT;
    if (spec != UINT32_MAX)
        decode_map(d, spec, "spec of a Service", fields, COUNT(fields), &doc->service);
}
