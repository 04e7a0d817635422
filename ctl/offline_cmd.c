/* The questions that graph files answer without a proxy: resolve, explain, env. */
#include "ctl/batch.h"
#include "ctl/offline.h"
#include "ctl/output.h"
#include "lib/graph/described.h"
#include "lib/graph/explain.h"
#include "lib/graph/hint.h"
#include <errno.h>
#include <unistd.h>

static enum status status_of(unsigned refusal)
{
    if (refusal == REFUSAL_NONE)
        return STATUS_YES;
    return refusal == REFUSAL_UNKNOWN_ENVIRONMENT || refusal == REFUSAL_NO_SERVICE
               ? STATUS_NOT_FOUND
               : STATUS_NO;
}

static enum status resolve_one(
    const struct call *c, const struct snapshot *s, int64_t now, struct err *e)
{
    struct str env = str_c(c->words[0]), service = str_c(c->words[1]);
    struct decision d;
    struct text t = {0};
    snapshot_resolve(s, snapshot_find_env(s, env), snapshot_find_service(s, service), now, &d);
    if (!c->json) {
        decision_text(&t, s, &d, env, service, 0, now);
        return out_answer(&t, status_of(d.refusal), e);
    }
    decision_json(&t, s, &d, env, service, 0);
    text_add(&t, STR("\n"));
    return out_plain(&t, status_of(d.refusal), e);
}

static enum status resolve_batch(
    const struct call *c, const struct snapshot *s, int64_t now, struct err *e)
{
    struct batch b = {.snapshot = s,
        .now = now,
        .json = c->json,
        .in = STDIN_FILENO,
        .out = STDOUT_FILENO,
        .complaints = STDERR_FILENO};
    int rc = batch_run(&b, e);
    if (rc > 0)
        err_set(e, -EINVAL, "some lines were not answered");
    return rc == 0 ? STATUS_YES : STATUS_ERROR;
}

enum status offline_resolve(const struct call *c, struct err *e)
{
    bool batch = args_have(c->args, OPT_BATCH);
    struct offline o;
    int64_t now;
    if (batch && c->nwords) {
        err_set(
            e, -EINVAL, "--batch reads names from standard input: do not know '%s'", c->words[0]);
        return STATUS_ERROR;
    }
    if (!batch && c->nwords < 2) {
        err_set(e, -EINVAL, "want resolve ENVIRONMENT SERVICE, or resolve --batch");
        return STATUS_ERROR;
    }
    if (offline_now(c->args, &now, e))
        return STATUS_ERROR;
    enum status s = offline_open(&o, &c->graph, c->json, e);
    if (s == STATUS_YES)
        s = (batch ? resolve_batch : resolve_one)(c, o.snapshot, now, e);
    offline_release(&o);
    return s;
}

/* ---- explain ---- */

/* The gateway that rules: the one named, else the only one. A trusted request needs none. */
static int find_gateway(
    const struct offline *o, const struct args *a, const struct gateway **ret, struct err *e)
{
    if (!args_have(a, OPT_GATEWAY)) {
        *ret = snapshot_only_gateway(o->snapshot);
        if (*ret || (args_have(a, OPT_TRUSTED) && o->model->ngateways == 0))
            return 0;
        return err_set(e, -EINVAL, "%s",
            o->model->ngateways ? "the graph has several Gateways: name one with --gateway"
                                : "the graph has no Gateway, which an untrusted request needs");
    }
    struct str name = str_c(a->value[OPT_GATEWAY]);
    *ret = snapshot_gateway(o->snapshot, name);
    if (*ret)
        return 0;
    struct hint h = hint_for(name);
    for (uint32_t i = 0; i < o->model->ngateways; i++)
        hint_offer(&h, o->model->gateways[i]->name.s);
    if (h.best.n)
        return err_set(e, -EINVAL, "there is no gateway '%.*s', did you mean '%.*s'?",
            STR_ARG(shown(name)), STR_ARG(h.best));
    return err_set(e, -EINVAL, "there is no gateway '%.*s'", STR_ARG(shown(name)));
}

static enum status explain_request(
    const struct call *c, const struct offline *o, int64_t now, struct err *e)
{
    const struct args *a = c->args;
    struct described d;
    struct answer answer;
    struct text t = {0};
    const struct gateway *gateway;
    if (find_gateway(o, a, &gateway, e) ||
        described_init(&d, str_c(a->value[OPT_HOST]), str_c(a->value[OPT_PATH]),
            args_have(a, OPT_TRUSTED), a->header.item, a->header.n, e))
        return STATUS_ERROR;
    d.ask.gateway = gateway;
    d.ask.now = now;
    struct str subject = str_c(a->value[OPT_SUBJECT]);
    d.ask.subjects = (struct subjects){&subject, subject.n ? 1 : 0};
    decide(o->snapshot, &d.ask, &answer);
    enum status s = status_of(answer.refusal);
    if (c->json) {
        explain_json(&t, o->snapshot, &d.ask, &answer, 0);
        text_add(&t, STR("\n"));
        s = out_plain(&t, s, e);
    } else {
        explain_text(&t, o->snapshot, &d.ask, &answer, 0);
        s = out_answer(&t, s, e);
    }
    described_release(&d);
    return s;
}

enum status offline_explain(const struct call *c, struct err *e)
{
    struct offline o;
    int64_t now;
    if (offline_now(c->args, &now, e))
        return STATUS_ERROR;
    enum status s = offline_open(&o, &c->graph, c->json, e);
    if (s == STATUS_YES)
        s = explain_request(c, &o, now, e);
    offline_release(&o);
    return s;
}

/* ---- env ---- */

typedef enum status env_fn(
    const struct call *c, const struct snapshot *s, int64_t now, struct err *e);

static enum status with_graph(const struct call *c, env_fn *fn, struct err *e)
{
    struct offline o;
    int64_t now;
    if (offline_now(c->args, &now, e))
        return STATUS_ERROR;
    enum status s = offline_open(&o, &c->graph, c->json, e);
    if (s == STATUS_YES)
        s = fn(c, o.snapshot, now, e);
    offline_release(&o);
    return s;
}

/* Objects of env_* come without a line end; what is told as text ends its lines itself. */
static enum status print_env(const struct call *c, struct text *t, struct err *e)
{
    if (c->json && t->n && t->p[t->n - 1] != '\n')
        text_add(t, STR("\n"));
    return out_plain(t, STATUS_YES, e);
}

static enum status list(const struct call *c, const struct snapshot *s, int64_t now, struct err *e)
{
    struct text t = {0};
    env_list(&t, s, c->json, now);
    return print_env(c, &t, e);
}

static enum status tree(const struct call *c, const struct snapshot *s, int64_t now, struct err *e)
{
    struct text t = {0};
    env_tree(&t, s, c->json, now);
    return print_env(c, &t, e);
}

static enum status show(const struct call *c, const struct snapshot *s, int64_t now, struct err *e)
{
    struct str name = str_c(c->words[0]);
    struct text t = {0};
    int rc = env_show(&t, s, name, c->json, now);
    if (rc == 0)
        return print_env(c, &t, e);
    text_release(&t);
    if (rc == -ENOMEM) {
        err_set(e, rc, "out of memory");
        return STATUS_ERROR;
    }
    struct str near = snapshot_nearest_env(s, name);
    if (near.n)
        err_set(e, -ENOENT, "there is no environment '%.*s'; did you mean '%.*s'?",
            STR_ARG(shown(name)), STR_ARG(near));
    else
        err_set(e, -ENOENT, "there is no environment '%.*s'", STR_ARG(shown(name)));
    return STATUS_NOT_FOUND;
}

enum status offline_env_list(const struct call *c, struct err *e)
{
    return with_graph(c, list, e);
}

enum status offline_env_tree(const struct call *c, struct err *e)
{
    return with_graph(c, tree, e);
}

enum status offline_env_show(const struct call *c, struct err *e)
{
    return with_graph(c, show, e);
}
