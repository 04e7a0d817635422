/* Who a proxy is: Hello judged against the contract, its certificate and proxies.allow. */
#include "agent/settings.h"
#include "agent/sync_int.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include <errno.h>
#include <stdio.h>

#define NODE_MAX    253
#define REFUSAL_MAX 400

static bool node_valid(const char *s)
{
    size_t n = strlen(s);
    for (const char *c = s; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                strchr("._:/-", *c)))
            return false;
    return n >= 1 && n <= NODE_MAX;
}

/* Printable, so that it may stand in a list. */
static bool text_valid(const char *s, size_t max)
{
    size_t n = strlen(s);
    for (const char *c = s; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            return false;
    return n <= max;
}

static bool held_valid(const Offshoot__V1__Hello *h)
{
    bool active_held = h->active_epoch == 0;
    if (h->n_held > PUSH_HELD_MAX)
        return false;
    for (size_t i = 0; i < h->n_held; i++) {
        const Offshoot__V1__Held *held = h->held[i];
        if (held->epoch == 0 || held->digest.len != 32 ||
            (i > 0 && held->epoch <= h->held[i - 1]->epoch))
            return false;
        active_held = active_held || held->epoch == h->active_epoch;
    }
    return active_held;
}

/* What breaks the contract, or NULL. */
static const char *fault_of(const Offshoot__V1__Hello *h)
{
    const Offshoot__V1__Workload *w = h->workload;
    if (!node_valid(h->node))
        return "node: want 1 to 253 of [A-Za-z0-9._:/-]";
    if (h->role != OFFSHOOT__V1__ROLE__GATEWAY && h->role != OFFSHOOT__V1__ROLE__SIDECAR)
        return "role: not one that this agent knows";
    if (h->history.len != 0 && h->history.len != HISTORY_ID)
        return "history: want 16 bytes, or none";
    if (h->history.len == 0 && h->n_held)
        return "held: epochs without a history";
    if (!held_valid(h))
        return "held: want at most 8, ascending, each with 32 bytes of digest, the active one "
               "among them";
    if (!text_valid(h->version, 64))
        return "version: want at most 64 printable bytes";
    if (!text_valid(h->region, 63))
        return "region: want at most 63 printable bytes";
    if (!text_valid(h->gateway, 63))
        return "gateway: want at most 63 printable bytes";
    if (h->n_features > 64)
        return "features: want at most 64";
    if (w && (!text_valid(w->service, 63) || !text_valid(w->environment, 63)))
        return "workload: want names of at most 63 printable bytes";
    return NULL;
}

static bool in_certificate(const struct grpc_peer *peer, const char *node)
{
    for (unsigned i = 0; i < peer->nnames; i++)
        if (strcmp(peer->names[i], node) == 0)
            return true;
    return false;
}

static bool allowed(const struct conf_list *allow, const char *node)
{
    for (size_t i = 0; i < allow->n; i++)
        if (name_matches(allow->item[i], node))
            return true;
    return allow->n == 0;
}

/* Its names, for the refusal. */
static void say_names(const struct grpc_peer *peer, char *out, size_t size)
{
    size_t n = 0;
    for (unsigned i = 0; i < peer->nnames && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? ", " : "", peer->names[i]);
}

/* Whether whoever is on the other side may be that node: 0, or a refusal with text. */
static int judge_node(const struct sync *s, const struct grpc_peer *peer, const char *node,
    enum sync_refusal *ret, char text[REFUSAL_MAX])
{
    char names[200] = "";
    if (peer->tls && !in_certificate(peer, node)) {
        say_names(peer, names, sizeof names);
        snprintf(text, REFUSAL_MAX, "node '%s' is none of the names of the certificate (%s)", node,
            names);
        *ret = SYNC_CERTIFICATE;
        return -EPERM;
    }
    if (!allowed(s->o.allow, node)) {
        snprintf(text, REFUSAL_MAX, "node '%s' is not in proxies.allow of the agent", node);
        *ret = SYNC_NOT_ALLOWED;
        return -EPERM;
    }
    return 0;
}

int sync_known(const struct sync *s, const struct grpc_stream *call, struct str node, struct err *e)
{
    char name[NODE_MAX + 1], text[REFUSAL_MAX];
    enum sync_refusal reason;
    if (node.n == 0 || node.n > NODE_MAX || memchr(node.p, 0, node.n))
        return err_set(e, -EPERM, "node: want 1 to %d bytes", NODE_MAX);
    memcpy(name, node.p, node.n);
    name[node.n] = 0;
    if (judge_node(s, grpc_peer(call), name, &reason, text) != 0)
        return err_set(e, -EPERM, "%s", text);
    list_for_each (it, &s->streams) {
        const struct sync_stream *t = list_entry(it, struct sync_stream, link);
        if (t->proxy && str_eq(str_c(push_node(t->proxy)), node))
            return 0;
    }
    return err_set(e, -ENOENT, "node '%s' did not say Hello on a Sync stream", name);
}

/* 0, or refused. */
static int judge(struct sync_stream *t, const Offshoot__V1__Hello *h)
{
    const struct grpc_peer *peer = grpc_peer(t->call);
    const char *fault = fault_of(h);
    enum sync_refusal reason;
    char text[REFUSAL_MAX];
    if (fault) {
        snprintf(text, sizeof text, "Hello: %s", fault);
        sync_refuse(t, SYNC_BAD_HELLO, GRPC_INVALID_ARGUMENT, text);
        return -1;
    }
    if (judge_node(t->sync, peer, h->node, &reason, text) != 0) {
        sync_refuse(t, reason, GRPC_PERMISSION_DENIED, text);
        return -1;
    }
    return 0;
}

void sync_hello(struct sync_stream *t, const Offshoot__V1__Hello *h)
{
    struct sync *s = t->sync;
    char peer[ADDR_TEXT_MAX];
    if (t->proxy) {
        sync_refuse(t, SYNC_HELLO_TWICE, GRPC_INVALID_ARGUMENT, "a second Hello on one stream");
        return;
    }
    if (judge(t, h) != 0)
        return;
    addr_format(&grpc_peer(t->call)->addr, peer);
    struct push_hello hello = {.node = h->node,
        .version = h->version,
        .region = h->region,
        .service = h->workload ? h->workload->service : "",
        .environment = h->workload ? h->workload->environment : "",
        .gateway = h->gateway,
        .peer = peer,
        .sidecar = h->role == OFFSHOOT__V1__ROLE__SIDECAR,
        .history = h->history.len ? h->history.data : NULL,
        .nheld = (unsigned)h->n_held,
        .active = h->active_epoch};
    for (size_t i = 0; i < h->n_held; i++) {
        hello.held[i].epoch = h->held[i]->epoch;
        memcpy(hello.held[i].digest, h->held[i]->digest.data, 32);
    }
    t->proxy = push_join(s->push, &hello, t, clock_mono_ms());
    if (!t->proxy) {
        sync_refuse(t, SYNC_LIMIT, GRPC_RESOURCE_EXHAUSTED,
            "the agent serves as many proxies as limits.proxies allows");
        return;
    }
    for (size_t i = 0; i < h->n_features; i++)
        t->captures = t->captures || strcmp(h->features[i], SYNC_FEATURE_CAPTURE) == 0;
    sync_send_rules(t);
    counter_inc(&s->o.stats[STAT_HELLOS]);
    log_info("proxy '%s' connected from %s, active on epoch %llu", h->node, peer,
        (unsigned long long)h->active_epoch);
}
