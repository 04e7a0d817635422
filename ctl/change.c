#include "ctl/change.h"
#include "ctl/output.h"
#include "lib/base/parse.h"
#include "lib/graph/hint.h"
#include <errno.h>

#define WAIT_DEFAULT "30s"
#define WAIT_MAX_MS  300000u
#define NAMES_SHOWN  20

/* ---- options ---- */

static int check_duration(const struct args *a, enum option o, uint64_t min_ms, uint64_t max_ms,
    const char *example, struct err *e)
{
    uint64_t ms;
    if (!args_have(a, o))
        return 0;
    struct str value = str_c(a->value[o]);
    if (parse_duration_ms(value, &ms))
        return err_set(e, -EINVAL, "--%s wants a duration as %s, not '%.*s'", options[o].flag,
            example, STR_ARG(shown(value)));
    if (ms < min_ms)
        return err_set(e, -EINVAL, "--%s '%.*s' is too short", options[o].flag, STR_ARG(value));
    if (ms > max_ms)
        return err_set(e, -EINVAL, "--%s '%.*s' is too long", options[o].flag, STR_ARG(value));
    return 0;
}

/* Every value is NAME=SOMETHING. */
static int check_pairs(const struct values *v, enum option o, struct err *e)
{
    for (size_t i = 0; i < v->n; i++) {
        struct str value = str_c(v->item[i]);
        size_t eq = str_find(value, '=');
        if (eq == 0 || eq + 1 >= value.n)
            return err_set(e, -EINVAL, "--%s wants %s, not '%.*s'", options[o].flag, options[o].arg,
                STR_ARG(shown(value)));
    }
    return 0;
}

/* Every value is a name: no pair, not nothing. */
static int check_names(const struct values *v, enum option o, struct err *e)
{
    for (size_t i = 0; i < v->n; i++) {
        struct str value = str_c(v->item[i]);
        if (!name_valid(value))
            return err_set(e, -EINVAL, "--%s wants %s, not '%.*s'", options[o].flag, options[o].arg,
                STR_ARG(shown(value)));
    }
    return 0;
}

int change_check(const struct call *c, struct err *e)
{
    const struct args *a = c->args;
    int rc = check_pairs(&a->set, OPT_SET, e);
    if (rc == 0)
        rc = check_pairs(&a->use, OPT_USE, e);
    if (rc == 0)
        rc = check_names(&a->parent, OPT_PARENT, e);
    if (rc == 0)
        rc = check_names(&a->remove, OPT_REMOVE, e);
    if (rc == 0)
        rc = check_names(&a->drop, OPT_DROP, e);
    if (rc == 0)
        rc = check_duration(a, OPT_FOR, 1000, UINT64_MAX, "30m, 4h or 7d", e);
    if (rc == 0)
        rc = check_duration(a, OPT_TIMEOUT, 0, WAIT_MAX_MS, "30s or 5m", e);
    if (rc == 0 && args_have(a, OPT_PUBLIC) && args_have(a, OPT_TOKEN))
        rc = err_set(e, -EINVAL, "--public and --token together: who may enter it?");
    if (rc == 0 && args_have(a, OPT_TIMEOUT) && !args_have(a, OPT_WAIT))
        rc = err_set(e, -EINVAL, "--timeout is for --wait, which is not said");
    return rc;
}

/* ---- the request ---- */

static void add_list(struct target *t, const char *name, const struct values *v)
{
    for (size_t i = 0; i < v->n; i++)
        target_param(t, name, v->item[i]);
}

static void add_value(struct target *t, const char *name, const struct args *a, enum option o)
{
    if (args_have(a, o))
        target_param(t, name, a->value[o]);
}

void change_target(const struct call *c, const char *path, const char *word, struct target *t)
{
    const struct args *a = c->args;
    target_start(t, path, NULL);
    if (word)
        target_param(t, word, c->words[0]);
    add_list(t, "parent", &a->parent);
    add_list(t, "set", &a->set);
    add_list(t, "use", &a->use);
    add_list(t, "remove", &a->remove);
    add_list(t, "drop", &a->drop);
    add_value(t, "for", a, OPT_FOR);
    if (args_have(a, OPT_PUBLIC) || args_have(a, OPT_TOKEN))
        target_param(t, "access", args_have(a, OPT_PUBLIC) ? "public" : "token");
    if (args_have(a, OPT_STRICT))
        target_param(t, "strict", "1");
    if (args_have(a, OPT_WHILE_HELD))
        target_param(t, "while-held", "1");
    add_value(t, "owner", a, OPT_OWNER);
    add_value(t, "reason", a, OPT_REASON);
}

/* ---- waiting ---- */

struct waited {
    struct object answer;
    bool done; /* every proxy is on it; else the time was over */
};

/* STATUS_YES or STATUS_NO, or STATUS_ERROR with e. Release ret->answer in any case. */
static enum status wait_for(const struct call *c, uint64_t epoch, struct waited *ret, struct err *e)
{
    const char *timeout =
        args_have(c->args, OPT_TIMEOUT) ? c->args->value[OPT_TIMEOUT] : WAIT_DEFAULT;
    struct target t;
    struct err why = {0};
    char digits[24];
    uint64_t ms = 0;
    parse_duration_ms(str_c(timeout), &ms); /* change_check has seen it */
    snprintf(digits, sizeof(digits), "%llu", (unsigned long long)epoch);
    target_start(&t, "/wait", NULL);
    target_param(&t, "epoch", digits);
    target_param(&t, "timeout", timeout);
    t.seconds = (long)(ms / 1000) + 15;
    enum status s = object_ask(c, LIVE_GET, &t, &ret->answer, &why);
    ret->done = s == STATUS_YES;
    if (!ret->done && ret->answer.reply.status == 504 && ret->answer.json)
        return STATUS_NO;
    if (!ret->done)
        err_set(
            e, why.code, "the change is made, but waiting for the proxies failed: %s", why.text);
    return ret->done ? STATUS_YES : STATUS_ERROR;
}

/* A new reference on what stands under the key; without it, on the other one. Takes that. */
static json_t *value_or(const json_t *o, const char *key, json_t *other)
{
    json_t *value = json_object_get(o, key);
    if (!value)
        return other;
    json_decref(other);
    return json_incref(value);
}

/* The keys of --wait in the object of the change. */
static int merge(const struct waited *w, json_t *change, struct err *e)
{
    const json_t *o = w->answer.json;
    int rc = json_object_set_new(change, "proxies", value_or(o, "proxies", json_null()));
    rc |= json_object_set_new(change, "waited_ms", value_or(o, "waited_ms", json_null()));
    rc |= json_object_set_new(change, "behind", value_or(o, "behind", json_array()));
    return rc ? err_set(e, -ENOMEM, "out of memory") : 0;
}

static void tell_behind(const json_t *behind, struct text *t)
{
    size_t n = json_array_size(behind);
    text_add(t, STR("  behind: "));
    for (size_t i = 0; i < n && i < NAMES_SHOWN; i++) {
        const char *name = json_string_value(json_array_get(behind, i));
        text_add(t, i ? STR(", ") : STR(""));
        text_clean(t, str_c(name));
    }
    if (n > NAMES_SHOWN)
        text_fmt(t, " and %zu more", n - NAMES_SHOWN);
    text_add(t, n ? STR("\n") : STR("not told\n"));
}

static void tell_waited(const struct waited *w, struct text *t)
{
    unsigned long long n = object_number(w->answer.json, "proxies");
    unsigned long long ms = object_number(w->answer.json, "waited_ms");
    if (!w->done)
        tell_behind(json_object_get(w->answer.json, "behind"), t);
    else if (n == 0)
        text_add(t, STR("  proxies: none is connected\n"));
    else
        text_fmt(t, "  proxies: %llu, every one on it after %llu ms\n", n, ms);
}

/* ---- the answer ---- */

/* What the first line does not say already. */
static void tell_details(const json_t *o, struct text *t)
{
    const char *expires = object_text(o, "expires");
    if (*expires && t->n && !strstr(t->p, expires)) {
        text_add(t, STR("  expires: "));
        text_clean(t, str_c(expires));
        text_add(t, STR("\n"));
    }
    if (object_true(o, "held"))
        text_add(t, STR("  held: the files and other changes wait for `graph resume`\n"));
}

static void tell_hints(
    const struct call *c, const json_t *change, const struct waited *w, struct text *t)
{
    if (!args_have(c->args, OPT_WAIT) && object_true(change, "changed"))
        text_add(t, STR("  hint: --wait returns when every proxy is on it\n"));
    else if (w->answer.reply.status == 504)
        text_add(t, STR("  hint: `proxies --behind` says more of them\n"));
}

static enum status tell(const struct call *c, struct object *change, const struct waited *w,
    change_fn *first_line, enum status s, struct err *e)
{
    struct text t = {0};
    bool waited = w->answer.json && s != STATUS_ERROR;
    if (c->json && !waited)
        return object_print(change, s, e);
    if (c->json)
        return merge(w, change->json, e) ? STATUS_ERROR : object_print_changed(change, s, e);
    first_line(c, change->json, &t);
    if (s == STATUS_NO)
        text_add(&t, STR(", but not on every proxy"));
    text_add(&t, STR("\n"));
    tell_details(change->json, &t);
    if (waited)
        tell_waited(w, &t);
    tell_hints(c, change->json, w, &t);
    return out_answer(&t, s, e);
}

enum status change_run(const struct call *c, struct target *t, change_fn *first_line, struct err *e)
{
    struct object change;
    struct waited w = {0};
    enum status s = object_ask(c, LIVE_POST, t, &change, e);
    if (s == STATUS_YES) {
        if (args_have(c->args, OPT_WAIT))
            s = wait_for(c, object_number(change.json, "epoch"), &w, e);
        s = tell(c, &change, &w, first_line, s, e);
    }
    object_release(&w.answer);
    object_release(&change);
    return s;
}
