#include "proxy/affinity.h"
#include "lib/base/parse.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include <stdio.h>
#include <xxhash.h>

static uint64_t hash_str(struct str s)
{
    return XXH3_64bits(s.n ? s.p : "", s.n);
}

struct str affinity_find(const struct field *fields, unsigned n, struct str name)
{
    for (unsigned i = 0; i < n; i++) {
        struct str rest = field_value(&fields[i]);
        if (fields[i].id != FIELD_COOKIE)
            continue;
        while (rest.n) {
            size_t end = str_find(rest, ';');
            struct str pair = str_trim(str_of(rest.p, end));
            size_t eq = str_find(pair, '=');
            if (eq < pair.n && str_eq(str_trim(str_of(pair.p, eq)), name))
                return str_trim(str_from(pair, eq + 1));
            rest = str_from(rest, end < rest.n ? end + 1 : end);
        }
    }
    return (struct str){0};
}

static void by_cookie(struct request *r, struct str name)
{
    struct affinity_pick *a = &r->affinity;
    struct str value = affinity_find(r->fields, r->head.nfields, name);
    if (value.n == 0) {
        format_hex64(worker_random(r->w), a->value);
        a->cookie = name;
        r->is_private = true; /* a cache would hand the cookie to others */
        value = str_of(a->value, AFFINITY_VALUE);
        counter_inc(&r->w->stats[STAT_AFFINITY_COOKIES]);
    }
    a->key = hash_str(value);
}

void affinity_take(
    struct request *r, const struct policy *policy, const struct route_actions *actions)
{
    bool routed = actions && actions->affinity.kind != AFFINITY_NONE;
    const struct affinity *by = routed ? &actions->affinity : &policy->hash;
    r->balance = routed ? BALANCE_CONSISTENT_HASH : policy->balance;
    r->affinity.cookie = (struct str){0};
    if (r->balance != BALANCE_CONSISTENT_HASH)
        return;
    bool http = r->tunnel != TUNNEL_TCP && r->tunnel != TUNNEL_CONNECT;
    if (by->kind == AFFINITY_COOKIE && http)
        by_cookie(r, by->cookie);
    else if (by->kind != AFFINITY_CONTEXT)
        r->affinity.key = hash_str(str_of((const char *)r->client->peer_ip, 16));
    else
        r->affinity.key = hash_str(r->answer.context.env);
}

struct str affinity_cookie(const struct request *r, char *out, size_t size)
{
    const struct affinity_pick *a = &r->affinity;
    if (a->cookie.n == 0)
        return (struct str){0};
    int n = snprintf(out, size, "%.*s=%.*s; Path=/; HttpOnly; SameSite=Lax%s", STR_ARG(a->cookie),
        AFFINITY_VALUE, a->value, r->ask.https ? "; Secure" : "");
    if (n < 0 || (size_t)n >= size)
        return (struct str){0};
    return str_of(out, (size_t)n);
}
