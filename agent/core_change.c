/* Commands. Each makes a plan of what the documents will be, loads the graph with it on top of the
 * files as they are now, and carries the plan out once the epoch is on disk. When the graph is not
 * valid the files are loaded again without the command, which says whose fault it was. */
#include "agent/core_int.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/codec.h"
#include "lib/graph/hint.h"
#include <errno.h>
#include <stdio.h>

/* ---- plans ---- */

/* The table with one entry made or replaced; `made` belongs to the plan. */
static int plan_put(struct core *c, struct plan *p, const char *name, struct str yaml)
{
    size_t at = own_find(&c->own, name);
    if (plan_room(p, c->own.n + 1, 1) < 0)
        return -ENOMEM;
    p->made = own_entry_new(c, name, yaml);
    if (!p->made)
        return -ENOMEM;
    memcpy(p->table.list, c->own.list, c->own.n * sizeof(struct own_entry *));
    p->table.n = c->own.n + (at == c->own.n);
    if (at < c->own.n)
        p->gone[p->ngone++] = c->own.list[at];
    p->table.list[at] = p->made;
    p->docs[p->ndocs++] = (struct own_document){p->made->name, p->made->yaml};
    return 0;
}

/* The table without the entries of these names, which come in its order. */
static int plan_remove(struct core *c, struct plan *p, const char *const *names, size_t n)
{
    if (plan_room(p, c->own.n, n) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < c->own.n; i++) {
        struct own_entry *en = c->own.list[i];
        if (p->ndocs == n || strcmp(en->name, names[p->ndocs]) != 0) {
            p->table.list[p->table.n++] = en;
            continue;
        }
        p->docs[p->ndocs++] = (struct own_document){en->name, {NULL, 0}};
        p->gone[p->ngone++] = en;
    }
    return 0;
}

/* ---- carrying out ---- */

/* After a load that failed: the files without the command. Their fault, or the command's? */
static int blame(struct core *c, const char *source, struct err *e)
{
    struct draft_epoch d = {0};
    char own[400], files[400];
    core_first_error(c, source, own, sizeof(own));
    int r = core_load(c, &c->own, &d);
    if (r == 0)
        snapshot_unref(d.s);
    if (r == -ENOMEM)
        return core_no_memory(e);
    core_note(c, r != -EINVAL);
    if (r != -EINVAL)
        return err_set(e, -EINVAL, "the graph would not be valid: %s", own);
    core_first_error(c, NULL, files, sizeof(files));
    return err_set(e, -EINVAL, "the graph files are not valid, nothing can be changed: %s", files);
}

/* Sets the loader back to the documents that hold; what it finds is not of interest. */
static void set_back(struct core *c)
{
    struct draft_epoch d = {0};
    if (core_load(c, &c->own, &d) == 0)
        snapshot_unref(d.s);
}

/* While held an epoch notes the documents that a command changed; its graph is the held one. */
static int note_while_held(struct core *c, struct draft_epoch *d, struct err *e)
{
    if (d->s)
        snapshot_unref(d->s);
    d->s = NULL;
    d->info.held = true;
    d->info.changes = (struct snapshot_changes){0};
    return codec_renumber(core_active(c), core_next(c), &d->s, e);
}

static int carry_out(
    struct core *c, struct plan *p, struct draft_epoch *d, const char *source, struct err *e)
{
    int r = core_load(c, &p->table, d);
    if (r == -EINVAL)
        return blame(c, source, e);
    if (core_held(c) && (r == 0 || r == -EALREADY))
        r = note_while_held(c, d, e);
    if (r == -EALREADY)
        err_set(e, r, "nothing differs");
    else if (r < 0)
        err_set(e, r, r == -ENOMEM ? "out of memory" : "cannot compile the graph");
    else
        r = core_commit(c, d, p->docs, p->ndocs, e);
    if (r < 0) {
        set_back(c);
        return r;
    }
    plan_carry_out(c, p);
    core_note(c, true);
    return 0;
}

/* ---- whose is an environment ---- */

static int in_files(const struct core *c, const struct change *ch, int code, struct err *e)
{
    const struct snapshot *s = core_active(c);
    struct origin at;
    uint32_t env = s ? snapshot_find_env(s, str_c(ch->name)) : NUMBER_NONE;
    if (env == NUMBER_NONE)
        return 0;
    snapshot_place(s, env, NUMBER_NONE, &at);
    return err_set(e, code,
        code == -EEXIST ? "environment '%s' exists: it stands in %.*s:%u"
                        : "environment '%s' was not made by command: it stands in %.*s:%u",
        ch->name, STR_ARG(at.file), at.line);
}

static int unknown(const struct core *c, const char *name, struct err *e)
{
    struct hint h = hint_for(str_c(name));
    for (size_t i = 0; i < c->own.n; i++)
        hint_offer(&h, str_c(c->own.list[i]->name));
    if (h.best.n)
        return err_set(
            e, -ENOENT, "no environment '%s'; did you mean '%.*s'?", name, STR_ARG(h.best));
    return err_set(e, -ENOENT, "no environment '%s'", name);
}

/* The entry of an environment that a command may change. 0 or why not. */
static int find_own(
    const struct core *c, const struct change *ch, struct own_entry **ret, struct err *e)
{
    size_t at = own_find(&c->own, ch->name);
    if (at == c->own.n) {
        int r = in_files(c, ch, -EPERM, e);
        return r < 0 ? r : unknown(c, ch->name, e);
    }
    *ret = c->own.list[at];
    return 0;
}

/* ---- create ---- */

static int only_baseline(const struct core *c, struct str *ret, struct err *e)
{
    const struct snapshot *s = core_active(c);
    struct env_info info;
    size_t n = 0;
    for (uint32_t i = 0; s && i < snapshot_env_limit(s); i++)
        if (snapshot_env(s, i, &info) && info.mode == MODE_BASELINE) {
            *ret = info.name;
            n++;
        }
    if (n == 1)
        return 0;
    return err_set(e, -EINVAL, "%s: say which parent",
        n ? "there are several baselines" : "there is no baseline");
}

static bool is_expired(const struct core *c, const char *name, int64_t now)
{
    const struct snapshot *s = core_active(c);
    uint32_t env = s ? snapshot_find_env(s, str_c(name)) : NUMBER_NONE;
    struct env_info info;
    return env != NUMBER_NONE && snapshot_env(s, env, &info) && info.has_expires &&
           info.expires <= now;
}

/* The text of the environment to make. -EALREADY: it is there. */
static int create_text(struct core *c, const struct change *ch, const struct own_rules *rules,
    struct text *yaml, struct err *e)
{
    size_t at = own_find(&c->own, ch->name);
    struct str parent = {0}, old = {0};
    int r = at == c->own.n ? in_files(c, ch, -EEXIST, e) : 0;
    if (r == 0 && !ch->nparents)
        r = only_baseline(c, &parent, e);
    if (r < 0)
        return r;
    if (at == c->own.n && c->own.n >= c->o.own_max)
        return err_set(e, -ENOSPC, "there are %zu environments made by command, the limit is %u",
            c->own.n, c->o.own_max);
    /* One that has expired counts as gone: it is made anew. */
    if (at < c->own.n && !is_expired(c, ch->name, rules->now))
        old = c->own.list[at]->yaml;
    r = own_create(ch, rules, parent, old, yaml, e);
    if (r < 0 || !old.n)
        return r;
    if (str_eq(str_of(yaml->p, yaml->n), old))
        return err_set(e, -EALREADY, "environment '%s' exists as asked for", ch->name);
    return err_set(
        e, -EEXIST, "environment '%s' exists with another content: use 'env set'", ch->name);
}

/* ---- one environment ---- */

static int edit_text(struct core *c, const struct change *ch, const struct own_rules *rules,
    struct text *yaml, struct err *e)
{
    struct own_entry *en = NULL;
    int r = find_own(c, ch, &en, e);
    r = r < 0 ? r : own_edit(ch, rules, en->yaml, yaml, e);
    if (r == 0 && str_eq(str_of(yaml->p, yaml->n), en->yaml))
        r = err_set(e, -EALREADY, "nothing differs");
    return r;
}

static int plan_command(struct core *c, const struct change *ch, const struct own_rules *rules,
    struct plan *p, struct err *e)
{
    struct text yaml = {0};
    struct own_entry *en = NULL;
    int r;
    if (ch->kind == CHANGE_DELETE) {
        r = find_own(c, ch, &en, e);
        if (r == 0 && plan_remove(c, p, &ch->name, 1) < 0)
            r = core_no_memory(e);
        return r;
    }
    r = ch->kind == CHANGE_CREATE ? create_text(c, ch, rules, &yaml, e)
                                  : edit_text(c, ch, rules, &yaml, e);
    if (r == 0 && plan_put(c, p, ch->name, str_of(yaml.p, yaml.n)) < 0)
        r = core_no_memory(e);
    text_release(&yaml);
    return r;
}

static int held(const struct core *c, struct err *e)
{
    return err_set(e, -EBUSY,
        "epoch %llu is held since a rollback: nothing can be changed until 'graph resume', or "
        "with --while-held for then",
        (unsigned long long)history_epoch(c->h));
}

static int change_env(struct core *c, const struct change *ch, struct err *e)
{
    struct own_rules rules = {core_now(c), c->o.own_life_s, c->o.own_default_s};
    struct draft_epoch d = {.info = {.kind = (uint8_t)ch->kind, .who = ch->who, .why = ch->why}};
    struct plan p = {0};
    char what[HISTORY_WHAT_MAX + 1], source[80];
    int r = own_judge(ch, &rules, e);
    if (r == 0 && core_held(c) && !ch->while_held)
        r = held(c, e);
    r = r < 0 ? r : plan_command(c, ch, &rules, &p, e);
    if (r == 0) {
        own_what(ch, &rules, what, sizeof(what));
        d.info.what = what;
        snprintf(source, sizeof(source), "command:%s", ch->name);
        r = carry_out(c, &p, &d, source, e);
    }
    plan_release(&p);
    return r;
}

int core_expire(struct core *c, const char *const *names, size_t n, struct err *e)
{
    struct draft_epoch d = {.info = {.kind = CHANGE_EXPIRY, .who = "agent", .why = "expired"}};
    struct plan p = {0};
    char what[HISTORY_WHAT_MAX + 1];
    if (n == 1)
        snprintf(what, sizeof(what), "%s", names[0]);
    else
        snprintf(what, sizeof(what), "%zu environments: %s and others", n, names[0]);
    d.info.what = what;
    int r = plan_remove(c, &p, names, n) < 0 ? core_no_memory(e) : 0;
    r = r < 0 ? r : carry_out(c, &p, &d, NULL, e);
    plan_release(&p);
    return r;
}

/* ---- rollback and resume ---- */

/* The content of an older epoch on top of what is active. */
static int put_back(struct core *c, struct snapshot *old, struct draft_epoch *d, struct err *e)
{
    struct pb_out whole = {0};
    int r = codec_encode(NULL, old, &whole, e);
    if (r == 0)
        r = codec_rebase(core_active(c), pb_str(&whole), core_next(c), &d->s, &d->info.changes, e);
    pb_release(&whole);
    return r;
}

static int rollback(struct core *c, const struct change *ch, struct err *e)
{
    struct draft_epoch d = {
        .info = {.kind = CHANGE_ROLLBACK, .held = true, .who = ch->who, .why = ch->why}};
    char what[64];
    struct snapshot *old = history_snapshot(c->h, ch->epoch, e);
    if (!old)
        return e->code ? e->code : -EIO;
    int r = put_back(c, old, &d, e);
    snapshot_unref(old);
    if (r == -EALREADY && core_held(c))
        return err_set(
            e, r, "the content of epoch %llu is active and held", (unsigned long long)ch->epoch);
    if (r == -EALREADY) /* still, nothing is published from now on */
        r = codec_renumber(core_active(c), core_next(c), &d.s, e);
    if (r < 0)
        return r;
    snprintf(what, sizeof(what), "content of epoch %llu", (unsigned long long)ch->epoch);
    d.info.what = what;
    return core_commit(c, &d, NULL, 0, e);
}

/* The epoch that says "no longer held" is made also when nothing differs: a restart reads it. */
static int resume(struct core *c, const struct change *ch, struct err *e)
{
    struct draft_epoch d = {.info = {.kind = CHANGE_RESUME,
                                .who = ch->who,
                                .why = ch->why,
                                .what = "files and commands as they are"}};
    char first[400];
    if (!core_held(c))
        return err_set(e, -EALREADY, "nothing is held");
    int r = core_load(c, &c->own, &d);
    if (r == 0 || r == -EALREADY || r == -EINVAL)
        core_note(c, r != -EINVAL);
    if (r == -EINVAL) {
        core_first_error(c, NULL, first, sizeof(first));
        return err_set(e, r, "still held, the graph is not valid: %s", first);
    }
    if (r == -EALREADY)
        r = codec_renumber(core_active(c), core_next(c), &d.s, e);
    if (r < 0)
        return r == -ENOMEM ? core_no_memory(e) : r;
    return core_commit(c, &d, NULL, 0, e);
}

/* ---- all ---- */

static int judge_texts(const struct change *ch, struct err *e)
{
    const char *why = ch->why ? ch->why : "";
    if (strlen(why) > HISTORY_WHY_MAX || utf8_check(str_c(why)) != strlen(why))
        return err_set(e, -EINVAL, "bad reason: at most %d bytes of UTF-8", HISTORY_WHY_MAX);
    return 0;
}

static int run(struct core *c, const struct change *ch, struct err *e)
{
    int r = judge_texts(ch, e);
    if (r < 0)
        return r;
    switch (ch->kind) {
    case CHANGE_CREATE:
    case CHANGE_SET:
    case CHANGE_EXTEND:
    case CHANGE_DELETE:
        return change_env(c, ch, e);
    case CHANGE_ROLLBACK:
        return rollback(c, ch, e);
    case CHANGE_RESUME:
        return resume(c, ch, e);
    case CHANGE_FILES:
    case CHANGE_EXPIRY:
    case CHANGE_KINDS:
    default:
        return err_set(e, -EINVAL, "not a command");
    }
}

int core_change(struct core *c, const struct change *ch, uint64_t *ret_epoch, struct err *e)
{
    struct err local = {0};
    int r = run(c, ch, &local);
    if (r < 0) {
        local.code = r;
        if (e)
            *e = local;
    }
    if (ret_epoch && (r == 0 || r == -EALREADY))
        *ret_epoch = history_epoch(c->h);
    return r;
}
