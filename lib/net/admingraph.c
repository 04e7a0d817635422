#include "lib/net/admingraph.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/parse.h"
#include "lib/graph/described.h"
#include "lib/graph/explain.h"
#include <errno.h>

void admin_reply_text(struct admin_request *r, struct text *t)
{
    if (t->failed) {
        text_release(t);
        admin_error(r, 503, "out of memory");
        return;
    }
    admin_reply(r, 200, NULL, t);
}

int admin_number(struct admin_request *r, const char *name, uint64_t fallback, uint64_t *ret)
{
    const char *text = admin_param(r, name);
    *ret = fallback;
    if (!text || parse_u64(str_c(text), ret) == 0)
        return 0;
    admin_error(r, 400, "%s: not a number '%s'", name, text);
    return -EINVAL;
}

bool admin_is_true(struct admin_request *r, const char *name)
{
    const char *s = admin_param(r, name);
    return s && (strcmp(s, "1") == 0 || strcmp(s, "true") == 0);
}

void text_hex(struct text *t, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        text_fmt(t, "%02x", p[i]);
}

/* ---- the graph ---- */

/* A new reference, or NULL: answered. */
static struct snapshot *asked_snapshot(
    struct admin_request *r, const struct admin_graph *g, struct err *e)
{
    uint64_t epoch;
    if (admin_number(r, "epoch", 0, &epoch) != 0)
        return NULL;
    if (epoch == 0 && admin_param(r, "epoch")) {
        admin_error(r, 404, "there is no epoch 0: they count from 1");
        return NULL;
    }
    struct snapshot *s = g->snapshot_of(g->arg, epoch, e);
    if (!s)
        admin_error(r, e->code == -ENOMEM || e->code == -EIO ? 503 : 404, "%s", e->text);
    return s;
}

static bool parse_now(struct admin_request *r, int64_t *ret)
{
    const char *text = admin_param(r, "now");
    *ret = clock_wall_s();
    if (!text || parse_rfc3339(str_c(text), ret) == 0)
        return true;
    admin_error(r, 400, "not a time (RFC 3339 with a zone) '%s'", text);
    return false;
}

void admin_resolve(struct admin_request *r, const struct admin_graph *g)
{
    struct err e = {0};
    const char *env = admin_param(r, "env"), *service = admin_param(r, "service");
    int64_t now;
    if (!env || !service) {
        admin_error(r, 400, "want /resolve?env=ENVIRONMENT&service=SERVICE");
        return;
    }
    if (!parse_now(r, &now))
        return;
    struct snapshot *s = asked_snapshot(r, g, &e);
    if (!s)
        return;
    struct decision d;
    snapshot_resolve(
        s, snapshot_find_env(s, str_c(env)), snapshot_find_service(s, str_c(service)), now, &d);
    struct text t = {0};
    if (admin_wants_json(r)) {
        decision_json(&t, s, &d, str_c(env), str_c(service), snapshot_epoch(s));
        text_add(&t, STR("\n"));
    } else {
        decision_text(&t, s, &d, str_c(env), str_c(service), snapshot_epoch(s), now);
    }
    snapshot_unref(s);
    admin_reply_text(r, &t);
}

static void explain(
    struct admin_request *r, const struct admin_graph *g, const struct snapshot *s, struct ask *ask)
{
    struct err e = {0};
    struct answer a;
    struct text t = {0};
    if (g->ask(g->arg, s, admin_param(r, "gateway"), ask, &e) != 0) {
        admin_error(r, 400, "%s", e.text);
        return;
    }
    decide(s, ask, &a);
    struct epoch_view v;
    if (a.context.pin && g->held && !admin_param(r, "epoch") && g->held(g->arg, &v))
        s = v.snapshot(v.arg, decide_pinned(&v, ask, &a));
    if (admin_wants_json(r)) {
        explain_json(&t, s, ask, &a, snapshot_epoch(s));
        text_add(&t, STR("\n"));
    } else {
        explain_text(&t, s, ask, &a, snapshot_epoch(s));
    }
    admin_reply_text(r, &t);
}

void admin_explain(struct admin_request *r, const struct admin_graph *g)
{
    const char *headers[DESCRIBED_HEADERS_MAX + 1];
    size_t n = 0;
    struct err e = {0};
    struct described d;
    int64_t now;
    while (n <= DESCRIBED_HEADERS_MAX && (headers[n] = admin_param_at(r, "header", n)))
        n++;
    if (!parse_now(r, &now))
        return;
    if (described_init(&d, str_c(admin_param(r, "host")), str_c(admin_param(r, "path")),
            admin_is_true(r, "trusted"), headers, n, &e) != 0) {
        admin_error(r, 400, "%s", e.text);
        return;
    }
    d.ask.now = now;
    struct str subject = str_c(admin_param(r, "subject"));
    d.ask.subjects = (struct subjects){&subject, subject.n ? 1 : 0};
    struct snapshot *s = asked_snapshot(r, g, &e);
    if (s) {
        explain(r, g, s, &d.ask);
        snapshot_unref(s);
    }
    described_release(&d);
}

void admin_environments(struct admin_request *r, const struct admin_graph *g)
{
    struct err e = {0};
    struct text t = {0};
    struct snapshot *s = asked_snapshot(r, g, &e);
    if (!s)
        return;
    if (admin_is_true(r, "tree"))
        env_tree(&t, s, admin_wants_json(r), clock_wall_s());
    else
        env_list(&t, s, admin_wants_json(r), clock_wall_s());
    if (t.n && t.p[t.n - 1] != '\n')
        text_add(&t, STR("\n"));
    snapshot_unref(s);
    admin_reply_text(r, &t);
}

static void no_environment(struct admin_request *r, const struct snapshot *s, struct str name)
{
    struct str near = snapshot_nearest_env(s, name);
    struct str shown = name_valid(name) ? name : STR("?");
    if (near.n)
        admin_error(r, 404, "there is no environment '%.*s'; did you mean '%.*s'?", STR_ARG(shown),
            STR_ARG(near));
    else
        admin_error(r, 404, "there is no environment '%.*s'", STR_ARG(shown));
}

void admin_environment(struct admin_request *r, const struct admin_graph *g)
{
    struct err e = {0};
    struct str name = str_c(admin_rest(r));
    struct text t = {0};
    struct snapshot *s = asked_snapshot(r, g, &e);
    if (!s)
        return;
    if (env_show(&t, s, name, admin_wants_json(r), clock_wall_s()) == 0) {
        admin_reply_text(r, &t);
    } else {
        text_release(&t);
        no_environment(r, s, name);
    }
    snapshot_unref(s);
}

/* ---- the program ---- */

struct counter_lines {
    struct text text;
    bool json;
};

/* As text without what is zero, and without the buckets of histograms. */
static void counter_line(void *arg, const struct counter_sample *s)
{
    struct counter_lines *l = arg;
    if (l->json) {
        text_add(&l->text, l->text.n > 1 ? STR(",\"") : STR("\""));
        text_json(&l->text, str_c(s->name));
        text_fmt(&l->text, "\":%s", s->value);
    } else if (!s->is_zero && !s->is_bucket) {
        text_fmt(&l->text, "%12s  %s\n", s->value, s->name);
    }
}

void admin_counters(struct admin_request *r, const struct counter_desc *table, size_t n,
    const counter_cell *const *sets, size_t nsets)
{
    struct counter_lines l = {.json = admin_wants_json(r)};
    text_add(&l.text, l.json ? STR("{") : STR(""));
    counters_samples(table, n, sets, nsets, counter_line, &l);
    text_add(&l.text, l.json ? STR("}\n") : STR(""));
    admin_reply_text(r, &l.text);
}

void admin_config(struct admin_request *r, const struct conf *c)
{
    struct text t = {0};
    conf_print(c, true, &t);
    if (t.failed)
        admin_reply_text(r, &t);
    else
        admin_reply(r, 200, "text/plain; charset=utf-8", &t);
}

void admin_log_level(struct admin_request *r)
{
    const char *word = admin_param(r, "level");
    enum log_level level;
    if (!word || log_level_parse(word, &level) != 0) {
        admin_error(r, 400, "want /log-level?level=error|warn|info|debug");
        return;
    }
    log_set_level(level);
    struct text t = {0};
    text_fmt(&t, admin_wants_json(r) ? "{\"level\":\"%s\"}\n" : "log level %s\n", word);
    admin_reply_text(r, &t);
}

void admin_live(struct admin_request *r)
{
    struct text t = {0};
    text_add(&t, STR("live\n"));
    admin_reply(r, 200, "text/plain", &t);
}
