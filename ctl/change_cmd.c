/* Commands that change the graph of an agent: env create|set|extend|delete, graph rollback|resume.
 */
#include "ctl/change.h"
#include <errno.h>

static enum status run(
    const struct call *c, const char *path, const char *word, change_fn *first_line, struct err *e)
{
    struct target t;
    if (change_check(c, e))
        return STATUS_ERROR;
    change_target(c, path, word, &t);
    return change_run(c, &t, first_line, e);
}

static unsigned long long epoch_of(const json_t *answer)
{
    return object_number(answer, "epoch");
}

static void add_word(const struct call *c, struct text *t)
{
    text_clean(t, str_c(c->words[0]));
}

/* ---- environments ---- */

/* A change under a rollback: written down, not in force. */
static bool is_noted(const struct call *c, const json_t *answer, struct text *t)
{
    if (!object_true(answer, "held"))
        return false;
    add_word(c, t);
    text_fmt(t, ": noted in epoch %llu, published by `graph resume`", epoch_of(answer));
    return true;
}

static void is_in(const struct call *c, const json_t *answer, struct text *t)
{
    if (is_noted(c, answer, t))
        return;
    add_word(c, t);
    text_fmt(t, " is in epoch %llu", epoch_of(answer));
    if (!object_true(answer, "changed"))
        text_add(t, STR(" already: nothing changed"));
}

static void lives_until(const struct call *c, const json_t *answer, struct text *t)
{
    const char *expires = object_text(answer, "expires");
    if (is_noted(c, answer, t))
        return;
    add_word(c, t);
    text_add(t, STR(" lives until "));
    text_clean(t, str_c(*expires ? expires : "it is deleted"));
    text_fmt(t, ", in epoch %llu", epoch_of(answer));
}

static void is_gone(const struct call *c, const json_t *answer, struct text *t)
{
    if (is_noted(c, answer, t))
        return;
    add_word(c, t);
    text_fmt(t, " is gone in epoch %llu", epoch_of(answer));
}

enum status live_env_create(const struct call *c, struct err *e)
{
    return run(c, "/env/create", "name", is_in, e);
}

enum status live_env_set(const struct call *c, struct err *e)
{
    const uint64_t says = OPTION_BIT(OPT_SET) | OPTION_BIT(OPT_USE) | OPTION_BIT(OPT_REMOVE) |
                          OPTION_BIT(OPT_DROP) | OPTION_BIT(OPT_PUBLIC) | OPTION_BIT(OPT_TOKEN);
    if (c->args->given & says)
        return run(c, "/env/set", "name", is_in, e);
    err_set(e, -EINVAL,
        "set what? say --set, --use, --remove or --drop with a service, --public or --token");
    return STATUS_ERROR;
}

enum status live_env_extend(const struct call *c, struct err *e)
{
    if (args_have(c->args, OPT_FOR))
        return run(c, "/env/extend", "name", lives_until, e);
    err_set(e, -EINVAL, "for how long from now? say --for DURATION, as --for 4h");
    return STATUS_ERROR;
}

enum status live_env_delete(const struct call *c, struct err *e)
{
    return run(c, "/env/delete", "name", is_gone, e);
}

/* ---- the graph as a whole ---- */

static void is_back(const struct call *c, const json_t *answer, struct text *t)
{
    text_add(t, STR("the graph of epoch "));
    add_word(c, t);
    if (object_true(answer, "changed"))
        text_fmt(t, " is back as epoch %llu", epoch_of(answer));
    else
        text_fmt(t, " is that of epoch %llu: nothing changed", epoch_of(answer));
}

static void goes_on(const struct call *c, const json_t *answer, struct text *t)
{
    (void)c;
    if (object_true(answer, "changed"))
        text_fmt(t, "no longer held: files and changes are in epoch %llu", epoch_of(answer));
    else
        text_fmt(t, "not held: epoch %llu stays", epoch_of(answer));
}

enum status live_graph_rollback(const struct call *c, struct err *e)
{
    if (live_epoch("the word after rollback", c->words[0], e))
        return STATUS_ERROR;
    return run(c, "/rollback", "epoch", is_back, e);
}

enum status live_graph_resume(const struct call *c, struct err *e)
{
    return run(c, "/resume", NULL, goes_on, e);
}
