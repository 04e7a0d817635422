/* `shadow compare`: two saved replies by the rules of a session, without one. */
#include "ctl/output.h"
#include "ctl/saved_reply.h"
#include "lib/compare/compare.h"
#include "lib/compare/descriptors.h"
#include "lib/compare/redact.h"
#include "lib/graph/hint.h"
#include <errno.h>
#include <sys/random.h>

#define DIFFERENCES_MAX 10000

/* What the rules borrow. */
struct prepared {
    struct compare_rules rules;
    struct ignore *ignore;
    struct redact *redact;
    struct descriptors *descriptors;
};

static int prepare_redact(struct prepared *p, struct err *e)
{
    struct redact_options o = {.off = false};
    if (getrandom(o.key, sizeof(o.key), 0) != (ssize_t)sizeof(o.key))
        return err_set(e, -errno, "cannot make a random key: %s", strerror(errno));
    p->redact = redact_new(&o, e);
    p->rules.redact = p->redact;
    return p->redact ? 0 : e->code;
}

static int prepare_descriptors(struct prepared *p, const struct args *a, struct err *e)
{
    const char *path = a->value[OPT_DESCRIPTORS], *method = a->value[OPT_GRPC_METHOD];
    if (!path && !method)
        return 0;
    if (!path || !method)
        return err_set(e, -EINVAL, "names of gRPC want both, --descriptors and --grpc-method");
    p->descriptors = saved_descriptors(path, e);
    if (!p->descriptors)
        return e->code;
    if (!descriptors_reply(p->descriptors, str_c(method)))
        return err_set(e, -EINVAL, "no method '%.*s' in '%.*s': want /package.Service/Method",
            STR_ARG(shown(str_c(method))), STR_ARG(shown(str_c(path))));
    p->rules.descriptors = p->descriptors;
    p->rules.grpc_method = str_c(method);
    return 0;
}

static int prepare(struct prepared *p, const struct args *a, struct err *e)
{
    *p = (struct prepared){.rules = {.limits = COMPARE_LIMITS_DEFAULT}};
    p->rules.limits.differences = DIFFERENCES_MAX;
    p->ignore = ignore_new(a->ignore.item, a->ignore.n, e);
    if (!p->ignore)
        return e->code;
    p->rules.ignore = p->ignore;
    if (!args_have(a, OPT_NO_REDACT) && prepare_redact(p, e))
        return e->code;
    return prepare_descriptors(p, a, e);
}

static void unprepare(struct prepared *p)
{
    ignore_free(p->ignore);
    redact_free(p->redact);
    descriptors_free(p->descriptors);
}

/* ---- the answer ---- */

/* null where there is none. */
static void json_text(struct text *t, const char *name, bool there, struct str s)
{
    text_fmt(t, ",\"%s\":%s", name, there ? "\"" : "null");
    if (!there)
        return;
    text_json(t, s);
    text_add(t, STR("\""));
}

static void answer_json(struct text *t, const struct differences *d)
{
    text_fmt(t, "{\"equal\":%s,\"cut\":%s,\"fields\":[", d->n ? "false" : "true",
        d->cut ? "true" : "false");
    for (size_t i = 0; i < d->n; i++) {
        const struct difference *x = &d->item[i];
        text_fmt(t, "%s{\"path\":\"", i ? "," : "");
        text_json(t, x->path);
        text_fmt(t, "\",\"kind\":\"%s\"", diff_kind_word(x->kind));
        json_text(t, "a", x->kind != DIFF_EXTRA, x->a);
        json_text(t, "b", x->kind != DIFF_MISSING, x->b);
        text_add(t, STR("}"));
    }
    text_add(t, STR("]}\n"));
}

static void answer_line(struct text *t, const char *name, struct str s)
{
    text_fmt(t, "    %s  ", name);
    text_plain(t, s);
    text_add(t, STR("\n"));
}

static void answer_text(struct text *t, const struct differences *d)
{
    if (d->n == 0)
        text_add(t, STR("equal\n"));
    else
        text_fmt(t, "%zu field%s%s\n", d->n, d->n == 1 ? " differs" : "s differ",
            d->cut ? ", and more" : "");
    for (size_t i = 0; i < d->n; i++) {
        const struct difference *x = &d->item[i];
        text_add(t, STR("  "));
        text_plain(t, x->path);
        text_fmt(t, "  %s\n", diff_kind_word(x->kind));
        if (x->kind != DIFF_EXTRA)
            answer_line(t, "a", x->a);
        if (x->kind != DIFF_MISSING)
            answer_line(t, "b", x->b);
    }
}

static enum status compare(const struct call *c, const struct compare_rules *rules,
    const struct saved_reply *a, const struct saved_reply *b, struct err *e)
{
    struct differences d;
    struct text t = {0};
    if (replies_compare(&a->reply, &b->reply, rules, &d)) {
        err_set(e, -ENOMEM, "out of memory");
        return STATUS_ERROR;
    }
    enum status s = d.n ? STATUS_NO : STATUS_YES;
    (c->json ? answer_json : answer_text)(&t, &d);
    differences_release(&d);
    return c->json ? out_plain(&t, s, e) : out_answer(&t, s, e);
}

enum status shadow_compare_command(const struct call *c, struct err *e)
{
    const char *type = c->args->value[OPT_TYPE];
    struct saved_reply a = {.field = NULL}, b = {.field = NULL};
    struct prepared p;
    enum status s = STATUS_ERROR;
    if (prepare(&p, c->args, e) == 0 && saved_reply_read(&a, c->words[0], type, e) == 0 &&
        saved_reply_read(&b, c->words[1], type, e) == 0)
        s = compare(c, &p.rules, &a, &b, e);
    saved_reply_release(&a);
    saved_reply_release(&b);
    unprepare(&p);
    return s;
}
