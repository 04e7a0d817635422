#include "agent/core.h"

#include "agent/core_int.h"
#include "lib/base/mem.h"
#include <errno.h>
#include <stdio.h>

#define OWN_MAX    10000u
#define OWN_LIFE_S (90u * 86400u)
#define OWN_KEEP_S 3600u
#define TICK_MAX_S 3600 /* core_tick asks to be called at least this often */
#define RETRY_S    60   /* an expired environment that others stand on */
#define ONE_BY_ONE 16   /* of them tried in one tick when all together cannot go */

int core_no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "out of memory");
}

int64_t core_now(const struct core *c)
{
    return c->o.now(c->o.arg);
}

uint64_t core_next(const struct core *c)
{
    return history_epoch(c->h) + 1;
}

/* ---- environments made by command ---- */

struct own_entry *own_entry_new(struct core *c, const char *name, struct str yaml)
{
    static const char prefix[] = "command:";
    size_t n = strlen(name) + 1, at = sizeof(struct own_entry);
    struct own_entry *en = mem_alloc(at + sizeof(prefix) - 1 + n + yaml.n + 1);
    if (!en)
        return NULL;
    char *source = (char *)en + at, *text = source + sizeof(prefix) - 1 + n;
    memcpy(source, prefix, sizeof(prefix) - 1);
    memcpy(source + sizeof(prefix) - 1, name, n);
    if (yaml.n)
        memcpy(text, yaml.p, yaml.n);
    text[yaml.n] = '\0';
    *en = (struct own_entry){.yaml = str_of(text, yaml.n),
        .name = source + sizeof(prefix) - 1,
        .source = source,
        .generation = ++c->generation};
    return en;
}

size_t own_find(const struct own_table *t, const char *name)
{
    size_t i = 0;
    while (i < t->n && strcmp(t->list[i]->name, name) != 0)
        i++;
    return i;
}

static void table_release(struct own_table *t)
{
    for (size_t i = 0; i < t->n; i++)
        mem_free(t->list[i]);
    mem_free(t->list);
    *t = (struct own_table){0};
}

void plan_release(struct plan *p)
{
    mem_free(p->made);
    mem_free(p->table.list);
    mem_free(p->docs);
    mem_free(p->gone);
    *p = (struct plan){0};
}

int plan_room(struct plan *p, size_t n, size_t m)
{
    p->table.list = mem_array(n + 1, sizeof(struct own_entry *));
    p->docs = mem_array(m + 1, sizeof(*p->docs));
    p->gone = mem_array(m + 1, sizeof(struct own_entry *));
    return p->table.list && p->docs && p->gone ? 0 : -ENOMEM;
}

void plan_carry_out(struct core *c, struct plan *p)
{
    struct own_table old = c->own;
    c->own = p->table;
    for (size_t i = 0; i < p->ngone; i++)
        mem_free(p->gone[i]);
    mem_free(old.list);
    p->table = (struct own_table){0};
    p->made = NULL;
}

static int revive_own(struct core *c)
{
    const struct own_document *docs;
    size_t n = history_documents(c->h, &docs);
    c->own.list = mem_array(n + 1, sizeof(struct own_entry *));
    if (!c->own.list)
        return -ENOMEM;
    for (; c->own.n < n; c->own.n++) {
        const struct own_document *d = &docs[c->own.n];
        c->own.list[c->own.n] = own_entry_new(c, d->name, d->yaml);
        if (!c->own.list[c->own.n])
            return -ENOMEM;
    }
    return 0;
}

/* ---- loading ---- */

/* Every load sets the documents first, so that the loader never sees the text of one that went. */
int core_load(struct core *c, const struct own_table *t, struct draft_epoch *d)
{
    struct load_source *extras = mem_array(t->n + 1, sizeof(*extras));
    if (!extras)
        return -ENOMEM;
    for (size_t i = 0; i < t->n; i++)
        extras[i] = (struct load_source){.name = t->list[i]->source,
            .bytes = t->list[i]->yaml,
            .generation = t->list[i]->generation};
    int r = graphsrc_extras(c->src, extras, t->n);
    mem_free(extras);
    if (r < 0)
        return r;
    return graphsrc_load(
        c->src, c->o.rules, history_newest(c->h), core_next(c), &d->s, &d->info.changes);
}

void core_note(struct core *c, bool valid)
{
    struct text text = {0}, json = {0};
    c->valid = valid;
    c->tried = core_now(c);
    if (valid)
        c->loaded = c->tried;
    c->errors = graphsrc_errors(c->src);
    c->warnings = graphsrc_warnings(c->src);
    c->files = graphsrc_files(c->src);
    graphsrc_findings(c->src, false, &text);
    graphsrc_findings(c->src, true, &json);
    if (text.failed || json.failed) { /* the counts say what is so; the texts are made good later */
        text_release(&text);
        text_release(&json);
    }
    text_release(&c->text);
    text_release(&c->json);
    c->text = text;
    c->json = json;
}

/* The next line of a text. */
static bool next_line(struct str *rest, struct str *ret)
{
    if (!rest->n)
        return false;
    size_t at = str_find(*rest, '\n');
    *ret = str_of(rest->p, at);
    *rest = str_from(*rest, at < rest->n ? at + 1 : at);
    return true;
}

static bool is_error(struct str line)
{
    static const char mark[] = ": error: ";
    return memmem(line.p, line.n, mark, sizeof(mark) - 1) != NULL && line.p[0] != ' ';
}

void core_first_error(const struct core *c, const char *source, char *out, size_t size)
{
    struct text all = {0};
    struct str line, rest, best = {0};
    size_t n = source ? strlen(source) : 0;
    graphsrc_findings(c->src, false, &all);
    rest = str_of(all.p, all.n);
    while (next_line(&rest, &line)) {
        bool here = source && n && line.n > n && memcmp(line.p, source, n) == 0 && line.p[n] == ':';
        if (is_error(line) && (here || !best.n))
            best = line;
        if (here && is_error(line))
            break;
    }
    if (best.n)
        snprintf(out, size, "%.*s", STR_ARG(best));
    else
        snprintf(out, size, "the graph is not valid");
    text_release(&all);
}

/* ---- committing ---- */

/* The log's errors in the words of core.h. */
static int disk_code(int r)
{
    switch (r) {
    case -ENOSPC:
    case -EDQUOT:
    case -EFBIG:
    case -EMSGSIZE:
        return -ENOSPC;
    case -ENOMEM:
        return r;
    default:
        return -EIO;
    }
}

int core_commit(struct core *c, struct draft_epoch *d, const struct own_document *docs,
    size_t ndocs, struct err *e)
{
    struct epoch_info *info = &d->info;
    size_t n = history_count(c->h);
    info->epoch = snapshot_epoch(d->s);
    info->time = core_now(c);
    if (n && info->time < history_at(c->h, n - 1)->time)
        info->time = history_at(c->h, n - 1)->time; /* the clock went back */
    int r = history_append(c->h, d->s, info, docs, ndocs, e);
    snapshot_unref(d->s);
    d->s = NULL;
    if (r < 0) {
        r = disk_code(r);
        if (e)
            e->code = r;
        return r;
    }
    if (c->o.on_commit)
        c->o.on_commit(c->o.arg, history_newest(c->h), history_at(c->h, history_count(c->h) - 1));
    return 0;
}

static const char *ending(uint32_t n)
{
    return n == 1 ? "" : "s";
}

static void say_changes(const struct snapshot_changes *c, bool first, char *out, size_t size)
{
    struct text t = {0};
    const struct {
        uint32_t n;
        const char *what, *did;
    } parts[] = {{c->envs_added, "environment", " added"},
        {c->envs_changed, "environment", " changed"}, {c->envs_removed, "environment", " removed"},
        {c->services_changed, "service", first ? " added" : " changed"},
        {c->gateways_changed, "gateway", first ? " added" : " changed"}};
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        if (parts[i].n)
            text_fmt(&t, "%s%u %s%s%s", t.n ? ", " : "", parts[i].n, parts[i].what,
                ending(parts[i].n), parts[i].did);
    snprintf(out, size, "%s", t.n && !t.failed ? t.p : "places in files");
    text_release(&t);
}

static int held_error(const struct core *c, struct err *e)
{
    return err_set(e, -EBUSY,
        "epoch %llu is held since a rollback: the files are valid but not published until "
        "'graph resume'",
        (unsigned long long)history_epoch(c->h));
}

int core_reload(struct core *c, const char *who, struct err *e)
{
    struct draft_epoch d = {.info = {.kind = CHANGE_FILES, .who = who, .why = ""}};
    char what[HISTORY_WHAT_MAX + 1], first[400];
    int r = core_load(c, &c->own, &d);
    if (r == 0 || r == -EALREADY || r == -EINVAL)
        core_note(c, r != -EINVAL);
    if (r == -EINVAL) {
        core_first_error(c, NULL, first, sizeof(first));
        return err_set(e, r, "the graph is not valid: %s", first);
    }
    if (r == -ENOMEM)
        return core_no_memory(e);
    if (r < 0)
        return err_set(e, r, r == -EALREADY ? "nothing changed" : "cannot compile the graph");
    if (history_held(c->h)) {
        snapshot_unref(d.s);
        return held_error(c, e);
    }
    say_changes(&d.info.changes, history_epoch(c->h) == 0, what, sizeof(what));
    d.info.what = what;
    return core_commit(c, &d, NULL, 0, e);
}

/* ---- expiry ---- */

struct due {
    const char **names;
    size_t n;
    int64_t next; /* when the one after these is due */
};

static int find_due(struct core *c, struct due *d)
{
    const struct snapshot *s = history_newest(c->h);
    int64_t now = core_now(c);
    struct env_info info;
    d->names = mem_array(c->own.n + 1, sizeof(*d->names));
    d->next = now + TICK_MAX_S;
    if (!d->names)
        return -ENOMEM;
    for (size_t i = 0; s && i < c->own.n; i++) {
        struct own_entry *en = c->own.list[i];
        uint32_t env = snapshot_find_env(s, str_c(en->name));
        if (env == NUMBER_NONE || !snapshot_env(s, env, &info) || !info.has_expires)
            continue;
        int64_t at = info.expires + (int64_t)c->o.own_keep_s;
        if (at < en->retry)
            at = en->retry;
        if (at <= now)
            d->names[d->n++] = en->name;
        else if (at < d->next)
            d->next = at;
    }
    return 0;
}

/* All of them together could not go: others stand on some. A few at a time, the rest later. */
static void expire_singly(struct core *c, const struct due *d)
{
    for (size_t i = 0; i < d->n; i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s", d->names[i]);
        const char *one = name;
        if (i < ONE_BY_ONE && core_expire(c, &one, 1, NULL) != -EINVAL)
            continue;
        size_t at = own_find(&c->own, name);
        if (at < c->own.n && i < ONE_BY_ONE)
            c->own.list[at]->retry = core_now(c) + RETRY_S;
    }
}

static void count_stuck(struct core *c)
{
    int64_t now = core_now(c);
    c->stuck = 0;
    for (size_t i = 0; i < c->own.n; i++)
        c->stuck += c->own.list[i]->retry > now;
}

uint32_t core_tick(struct core *c)
{
    struct due d = {0};
    int64_t now = core_now(c);
    if (history_held(c->h) || find_due(c, &d) < 0) {
        mem_free(d.names);
        return RETRY_S;
    }
    int r = d.n ? core_expire(c, d.names, d.n, NULL) : 0;
    if (r == -EINVAL)
        expire_singly(c, &d);
    mem_free(d.names);
    count_stuck(c);
    if (r < 0)
        return r == -EINVAL ? 1 : RETRY_S;
    return d.next - now < 1 ? 1 : (uint32_t)(d.next - now);
}

/* ---- the rest ---- */

static void defaults(struct core_options *o)
{
    if (!o->own_max)
        o->own_max = OWN_MAX;
    if (!o->own_life_s)
        o->own_life_s = OWN_LIFE_S;
    if (!o->own_keep_s)
        o->own_keep_s = OWN_KEEP_S;
}

struct core *core_new(const struct core_options *o, struct err *e)
{
    struct core *c = mem_zalloc(sizeof(*c));
    if (!c) {
        core_no_memory(e);
        return NULL;
    }
    c->o = *o;
    defaults(&c->o);
    c->src = graphsrc_new(&o->graph, e);
    if (c->src)
        c->h = history_open(&o->history, &c->recovery, e);
    if (c->h && revive_own(c) == 0)
        return c;
    if (c->h)
        core_no_memory(e);
    core_free(c);
    return NULL;
}

void core_free(struct core *c)
{
    if (!c)
        return;
    table_release(&c->own);
    history_close(c->h);
    graphsrc_free(c->src);
    text_release(&c->text);
    text_release(&c->json);
    mem_free(c);
}

const struct history_recovery *core_recovery(const struct core *c)
{
    return &c->recovery;
}

struct snapshot *core_active(const struct core *c)
{
    return history_newest(c->h);
}

struct history *core_history(struct core *c)
{
    return c->h;
}

bool core_held(const struct core *c)
{
    return history_held(c->h);
}

bool core_valid(const struct core *c)
{
    return c->valid;
}

int64_t core_loaded(const struct core *c)
{
    return c->loaded;
}

int64_t core_tried(const struct core *c)
{
    return c->tried;
}

void core_findings(const struct core *c, bool json, struct text *out)
{
    const struct text *t = json ? &c->json : &c->text;
    text_add(out, str_of(t->p, t->n));
}

size_t core_errors(const struct core *c)
{
    return c->errors;
}

size_t core_warnings(const struct core *c)
{
    return c->warnings;
}

size_t core_files(const struct core *c)
{
    return c->files;
}

size_t core_own_count(const struct core *c)
{
    return c->own.n;
}

bool core_is_own(const struct core *c, const char *name)
{
    return own_find(&c->own, name) < c->own.n;
}

size_t core_own_stuck(const struct core *c)
{
    return c->stuck;
}
