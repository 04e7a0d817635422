/* Any bytes as a difference of graphs, whole and on a base. Whatever is let in must resolve every
 * question without a stray read, and survive being sent on: encoded and applied again it has the
 * same digest. */
#include "lib/graph/codec.h"
#include "lib/graph/codec_int.h"
#include "lib/graph/route.h"
#include "lib/graph/snapshot.h"
#include "tests/fuzz/fuzz.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define QUESTIONS 64u /* environments and services asked for, at the most */

static struct model_endpoint endpoint = {.weight = 1};
static struct model_statement statements[2];
static struct mtext parent;
static struct model_env main_env, feat_env, *envs[] = {&main_env, &feat_env};
static struct model_service cart, pay, *services[] = {&cart, &pay};

/* main and feat, cart and pay: what a difference in the corpus builds on. */
static struct snapshot *base_new(void)
{
    struct snapshot *s = NULL;
    struct model m = {.envs = envs, .nenvs = 2, .services = services, .nservices = 2};
    endpoint.addr = (struct addr){.kind = ADDR_IP4, .ip = {10, 0, 0, 1}, .port = 80};
    cart.name.s = STR("cart");
    pay.name.s = STR("pay");
    statements[0] = (struct model_statement){.service.s = STR("cart"),
        .kind = STATEMENT_PROVIDES,
        .endpoints = &endpoint,
        .nendpoints = 1};
    statements[1] = (struct model_statement){.service.s = STR("pay"), .kind = STATEMENT_REMOVE};
    main_env = (struct model_env){
        .name.s = STR("main"), .mode = MODE_BASELINE, .statements = statements, .nstatements = 2};
    parent.s = STR("main");
    feat_env = (struct model_env){
        .name.s = STR("feat"), .mode = MODE_OVERLAY, .parents = &parent, .nparents = 1};
    if (snapshot_compile(&s, NULL, &m, 1, NULL, NULL) < 0)
        abort();
    return s;
}

static void ask_everything(const struct snapshot *s)
{
    uint32_t nenvs = snapshot_env_limit(s), nservices = snapshot_service_limit(s);
    for (uint32_t i = 0; i <= nenvs && i < QUESTIONS; i++) {
        struct env_info info;
        snapshot_env(s, i, &info);
        snapshot_revision(s, i);
        if (snapshot_find_env(s, snapshot_env_name(s, i)) !=
            (snapshot_env(s, i, &info) ? i : NUMBER_NONE))
            abort();
        for (uint32_t j = 0; j <= nservices && j < QUESTIONS; j++) {
            struct decision d;
            struct origin o;
            snapshot_resolve(s, i, j, 1000, &d);
            snapshot_origin(s, &d, &o);
            if ((d.cls == CLASS_NONE) != (d.refusal != REFUSAL_NONE) ||
                (d.endpoints != NULL) != (d.cls != CLASS_NONE) ||
                (d.endpoints && endpoint_set_weight(d.endpoints) == 0))
                abort();
        }
    }
}

static void check_edits(const struct header_edits *e)
{
    const char *why;
    if (e->nset > ACTION_HEADERS_MAX || e->nremove > ACTION_HEADERS_MAX)
        abort();
    for (uint32_t i = 0; i < e->nset; i++)
        if (!token_valid(field_name(&e->set[i])) || !header_value_valid(field_value(&e->set[i])) ||
            !actions_may_edit(field_name(&e->set[i]), &why))
            abort();
    for (uint32_t i = 0; i < e->nremove; i++)
        if (!actions_may_edit(field_name(&e->remove[i]), &why))
            abort();
}

/* Whatever the actions of a route are, they can be applied. */
static void ask_routes(const struct snapshot *s)
{
    static const struct str paths[] = {STR("/"), STR("/api/x?y"), STR("/old"), STR("/up")};
    const struct gateway *g = snapshot_only_gateway(s);
    char out[8192];
    for (unsigned i = 0; g && i < sizeof paths / sizeof *paths; i++) {
        struct route r;
        struct str location;
        if (route_pick(g, NULL, STR("shop.example.com"), paths[i], &r) != 0 || !r.actions)
            continue;
        check_edits(&r.actions->request);
        check_edits(&r.actions->reply);
        struct str path = actions_path(r.actions, paths[i], out, sizeof out);
        if (!path.p || path.p[0] != '/')
            abort();
        if (!r.actions->redirect.status)
            continue;
        actions_moved(r.actions, false, false, STR("a"), paths[i], &location, out, sizeof out);
        if (!redirect_status_valid(r.actions->redirect.status) || !location.n)
            abort();
    }
}

static void send_on(const struct snapshot *s)
{
    struct pb_out o = {0};
    struct snapshot *t = NULL;
    struct err e;
    if (codec_encode(NULL, s, &o, &e) < 0 || codec_apply(NULL, pb_str(&o), &t, NULL, &e) < 0)
        abort();
    if (memcmp(snapshot_digest(s), snapshot_digest(t), 32) != 0 ||
        memcmp(snapshot_root(s), snapshot_root(t), 32) != 0)
        abort();
    snapshot_unref(t);
    pb_release(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snapshot *base = base_new(), *s = NULL;
    struct err e = {0};
    if (codec_apply_any(base, str_of((const char *)data, size), false, &s, NULL, &e) < 0) {
        if (!e.text[0] || s)
            abort();
    } else {
        ask_everything(s);
        ask_routes(s);
        send_on(s);
        snapshot_unref(s);
    }
    snapshot_unref(base);
    return 0;
}
