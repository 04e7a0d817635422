/* What an agent knows of its epochs and of its proxies: graph log, proxies. */
#include "ctl/object.h"
#include "ctl/output.h"
#include "ctl/table.h"
#include "lib/base/parse.h"
#include "lib/graph/hint.h"
#include <errno.h>

static void head_row(struct table *t, const char *const *names)
{
    for (unsigned i = 0; i < t->columns; i++)
        table_add(t, str_c(names[i]));
}

/* ---- graph log ---- */

static void add_count(
    struct text *t, const json_t *epoch, const char *key, const char *sign, const char *what)
{
    uint64_t n = object_number(epoch, key);
    if (n)
        text_fmt(t, "%s%s%llu%s%s", t->n ? " " : "", sign, (unsigned long long)n, *what ? " " : "",
            what);
}

/* "+1 -0 ~2 environments 1 service"; what is zero is left out. */
static void changes_cell(struct table *t, const json_t *epoch)
{
    struct text cell = {0};
    add_count(&cell, epoch, "environments_added", "+", "");
    add_count(&cell, epoch, "environments_removed", "-", "");
    add_count(&cell, epoch, "environments_changed", "~", "");
    add_count(&cell, epoch, "services_changed", "~", "services");
    add_count(&cell, epoch, "gateways_changed", "~", "gateways");
    if (!cell.n && object_true(epoch, "origins_only"))
        text_add(&cell, STR("places only"));
    table_add(t, str_of(cell.p, cell.n));
    t->cells.failed |= cell.failed;
    text_release(&cell);
}

static void epoch_row(struct table *t, const json_t *epoch)
{
    struct text kind = {0};
    text_fmt(
        &kind, "%s%s", object_text(epoch, "kind"), object_true(epoch, "held") ? " (held)" : "");
    table_number(t, object_number(epoch, "epoch"));
    table_add(t, str_c(object_text(epoch, "time")));
    table_add(t, str_c(object_text(epoch, "who")));
    table_add(t, str_of(kind.p, kind.n));
    changes_cell(t, epoch);
    table_add(t, str_c(object_text(epoch, "what")));
    table_add(t, str_c(object_text(epoch, "why")));
    t->cells.failed |= kind.failed;
    text_release(&kind);
}

static enum status tell_log(const json_t *answer, struct err *e)
{
    static const char *const names[] = {"EPOCH", "TIME", "WHO", "KIND", "CHANGES", "WHAT", "WHY"};
    const json_t *epochs = json_object_get(answer, "epochs");
    struct table table = {.columns = 7};
    struct text t = {0};
    size_t n = json_array_size(epochs);
    text_fmt(&t, n ? "epoch %llu is the newest" : "no epoch yet",
        (unsigned long long)object_number(json_array_get(epochs, 0), "epoch"));
    text_add(&t, STR(" of history "));
    text_clean(&t, str_c(object_text(answer, "history")));
    if (object_true(json_array_get(epochs, 0), "held"))
        text_add(&t, STR(", held: files and changes wait for graph resume"));
    text_add(&t, STR("\n"));
    if (n)
        head_row(&table, names);
    for (size_t i = 0; i < n; i++)
        epoch_row(&table, json_array_get(epochs, i));
    table_write(&table, &t);
    return out_answer(&t, STATUS_YES, e);
}

enum status live_graph_log(const struct call *c, struct err *e)
{
    const char *limit = c->args->value[OPT_LIMIT];
    struct target t;
    struct object o;
    uint64_t n;
    if (args_number(c->args, OPT_LIMIT, &n, e))
        return STATUS_ERROR;
    target_start(&t, "/epochs", NULL);
    if (limit)
        target_param(&t, "limit", limit);
    enum status s = object_ask(c, LIVE_GET, &t, &o, e);
    if (s == STATUS_YES)
        s = c->json ? object_print(&o, s, e) : tell_log(o.json, e);
    object_release(&o);
    return s;
}

/* ---- proxies ---- */

static const char *state_of(const json_t *proxy, uint64_t newest)
{
    const json_t *nack = json_object_get(proxy, "last_nack");
    if (!object_true(proxy, "connected"))
        return "gone";
    if (object_true(proxy, "stale"))
        return "STALE";
    if (!object_true(proxy, "behind"))
        return "current";
    if (newest && object_number(nack, "epoch") == newest)
        return "REFUSED";
    return object_true(proxy, "late") ? "late" : "behind";
}

/* "bad-digest in epoch 16 at 2026-11-26T19:00:00Z: what the proxy said" */
static void nack_cell(struct table *t, const json_t *nack)
{
    struct text cell = {0};
    if (json_is_object(nack)) {
        const char *text = object_text(nack, "text");
        text_fmt(&cell, "%s in epoch %llu at %s%s%s", object_text(nack, "reason"),
            (unsigned long long)object_number(nack, "epoch"), object_text(nack, "time"),
            *text ? ": " : "", text);
    }
    table_add(t, str_of(cell.p, cell.n));
    t->cells.failed |= cell.failed;
    text_release(&cell);
}

static void proxy_row(struct table *t, const json_t *proxy, uint64_t newest)
{
    table_add(t, str_c(object_text(proxy, "node")));
    table_number(t, object_number(proxy, "active"));
    table_number(t, object_number(proxy, "lag"));
    table_add(t, str_c(state_of(proxy, newest)));
    nack_cell(t, json_object_get(proxy, "last_nack"));
}

static bool is_behind(const json_t *proxy)
{
    return object_true(proxy, "connected") && object_true(proxy, "behind");
}

static void count_proxies(const json_t *proxies, size_t *ret_live, size_t *ret_behind)
{
    *ret_live = *ret_behind = 0;
    for (size_t i = 0; i < json_array_size(proxies); i++) {
        *ret_live += object_true(json_array_get(proxies, i), "connected");
        *ret_behind += is_behind(json_array_get(proxies, i));
    }
}

/* The first line. All proxies are known, or only those that are behind. */
static void proxies_head(const json_t *answer, bool only_behind, struct text *t)
{
    unsigned long long epoch = object_number(answer, "epoch");
    size_t live, behind;
    count_proxies(json_object_get(answer, "proxies"), &live, &behind);
    if (behind)
        text_fmt(t, "%zu %s behind epoch %llu\n", behind, behind == 1 ? "proxy is" : "proxies are",
            epoch);
    else if (only_behind || live > 1)
        text_fmt(t, "every proxy is on epoch %llu\n", epoch);
    else
        text_fmt(
            t, "%s epoch %llu\n", live ? "the only proxy is on" : "no proxy is connected;", epoch);
}

static void proxies_table(const json_t *answer, bool only_behind, struct text *out)
{
    static const char *const names[] = {"NODE", "EPOCH", "LAG", "STATE", "LAST NACK"};
    const json_t *proxies = json_object_get(answer, "proxies");
    struct table table = {.columns = 5};
    for (size_t i = 0; i < json_array_size(proxies); i++) {
        const json_t *proxy = json_array_get(proxies, i);
        if (only_behind && !is_behind(proxy))
            continue;
        if (!table.count)
            head_row(&table, names);
        proxy_row(&table, proxy, object_number(answer, "epoch"));
    }
    table_write(&table, out);
}

static enum status tell_proxies(const struct call *c, struct object *o, struct err *e)
{
    bool only_behind = args_have(c->args, OPT_BEHIND);
    struct text t = {0};
    size_t live, behind;
    count_proxies(json_object_get(o->json, "proxies"), &live, &behind);
    enum status s = only_behind && behind ? STATUS_NO : STATUS_YES;
    if (c->json)
        return object_print(o, s, e);
    proxies_head(o->json, only_behind, &t);
    proxies_table(o->json, only_behind, &t);
    return out_answer(&t, s, e);
}

enum status live_proxies(const struct call *c, struct err *e)
{
    struct target t;
    struct object o;
    target_start(&t, "/proxies", NULL);
    if (args_have(c->args, OPT_BEHIND))
        target_param(&t, "behind", "1");
    enum status s = object_ask(c, LIVE_GET, &t, &o, e);
    if (s == STATUS_YES)
        s = tell_proxies(c, &o, e);
    object_release(&o);
    return s;
}
