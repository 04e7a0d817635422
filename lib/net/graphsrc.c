#include "lib/net/graphsrc.h"
#include "lib/base/mem.h"
#include "lib/graph/check.h"
#include <errno.h>
#include <string.h>

struct graphsrc {
    struct files *files;
    struct loader *loader;
    struct load_source *extras; /* names owned */
    size_t nextras;
    struct load_source *named; /* those that `names` speaks of; differ from extras until a load */
    size_t nnamed;
    struct load_source *sources;
    const char **names;
    size_t nsources;
    const char *first_path; /* where `empty` is told */
    struct findings findings;
};

struct graphsrc *graphsrc_new(const struct graphsrc_options *o, struct err *e)
{
    struct graphsrc *g = mem_zalloc(sizeof *g);
    if (g) {
        findings_init(&g->findings);
        g->first_path = o->npaths ? o->paths[0] : "";
        g->files = files_new(o->paths, o->npaths, &o->files);
        g->loader = loader_new(&o->load);
    }
    if (!g || !g->files || !g->loader) {
        graphsrc_free(g);
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    return g;
}

static void drop_extras(struct load_source *extras, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free((void *)(uintptr_t)extras[i].name);
    mem_free(extras);
}

int graphsrc_extras(struct graphsrc *g, const struct load_source *extras, size_t n)
{
    struct load_source *copy = mem_array(n + 1, sizeof *copy);
    size_t made = 0;
    if (!copy)
        return -ENOMEM;
    for (; made < n; made++) {
        copy[made] = extras[made];
        copy[made].name = mem_dup(extras[made].name, strlen(extras[made].name));
        if (!copy[made].name) {
            drop_extras(copy, made);
            return -ENOMEM;
        }
    }
    if (g->extras != g->named)
        drop_extras(g->extras, g->nextras);
    g->extras = copy;
    g->nextras = n;
    return 0;
}

void graphsrc_free(struct graphsrc *g)
{
    if (!g)
        return;
    findings_release(&g->findings);
    if (g->loader)
        loader_free(g->loader);
    if (g->files)
        files_free(g->files);
    if (g->extras != g->named)
        drop_extras(g->named, g->nnamed);
    drop_extras(g->extras, g->nextras);
    mem_free(g->sources);
    mem_free(g->names);
    mem_free(g);
}

/* The files as the loader takes them. */
static int gather(struct graphsrc *g)
{
    int rc = files_read(g->files);
    if (rc < 0)
        return rc;
    size_t nfiles = files_count(g->files), n = nfiles + g->nextras;
    struct load_source *s = mem_array(n + 1, sizeof *s);
    const char **names = mem_array(n + 1, sizeof *names);
    if (!s || !names) {
        mem_free(s);
        mem_free(names);
        return -ENOMEM;
    }
    names[n] = g->first_path; /* where `empty` is told when there is no file at all */
    for (size_t i = 0; i < nfiles; i++) {
        const struct file *f = files_at(g->files, i);
        names[i] = f->name;
        s[i] = (struct load_source){.name = f->name,
            .bytes = f->bytes,
            .generation = f->generation,
            .error_text = f->error.code ? f->error.text : NULL};
    }
    for (size_t i = 0; i < g->nextras; i++) {
        s[nfiles + i] = g->extras[i];
        names[nfiles + i] = g->extras[i].name;
    }
    mem_free(g->sources);
    mem_free(g->names);
    if (g->extras != g->named)
        drop_extras(g->named, g->nnamed);
    g->named = g->extras;
    g->nnamed = g->nextras;
    g->sources = s;
    g->names = names;
    g->nsources = n;
    return 0;
}

/* Numbers and names are never given twice within a chain of snapshots, so environments that come
 * and go leave both behind. Once most are dead the graph begins a chain of its own: the same
 * content, numbered anew. Takes s; returns it when there is nothing to gain, or no memory for it.
 */
static struct snapshot *without_dead_names(
    struct snapshot *s, const struct model *model, uint64_t epoch)
{
    struct snapshot *fresh = NULL;
    struct err e = {0};
    if (snapshot_env_limit(s) <= 2 * (uint64_t)snapshot_env_count(s) + GRAPHSRC_DEAD_NAMES ||
        snapshot_compile(&fresh, NULL, model, epoch, NULL, &e) != 0)
        return s;
    snapshot_unref(s);
    return fresh;
}

int graphsrc_load(struct graphsrc *g, const struct endpoint_rules *rules,
    const struct snapshot *base, uint64_t epoch, struct snapshot **ret,
    struct snapshot_changes *ret_changes)
{
    const struct model *model = NULL;
    struct snapshot_changes changes = {0};
    struct snapshot *s = NULL;
    struct err e = {0};
    findings_release(&g->findings);
    findings_init(&g->findings);
    int rc = gather(g);
    if (rc == 0)
        rc = loader_load(g->loader, g->sources, g->nsources, &g->findings, &model);
    if (rc == 0)
        rc = model_check(model, rules, &g->findings);
    if (rc != 0)
        return rc;
    rc = snapshot_compile(&s, base, model, epoch, &changes, &e);
    if (rc != 0) {
        if (rc == -EINVAL) /* a graph that check passes compiles: this would be our fault */
            findings_add(&g->findings, F_SYNTAX, (struct place){0, 1, 1}, NULL,
                "cannot compile the graph: %s", e.text);
        return rc;
    }
    bool changed = changes.envs_added || changes.envs_removed || changes.envs_changed ||
                   changes.services_changed || changes.gateways_changed || changes.origins_only;
    if (base && !changed) {
        snapshot_unref(s);
        return -EALREADY;
    }
    if (ret_changes)
        *ret_changes = changes;
    *ret = base ? without_dead_names(s, model, epoch) : s;
    return 0;
}

void graphsrc_findings(const struct graphsrc *g, bool json, struct text *out)
{
    if (json)
        findings_json(&g->findings, g->names, out);
    else
        findings_text(&g->findings, g->names, out);
}

size_t graphsrc_errors(const struct graphsrc *g)
{
    return g->findings.errors;
}

size_t graphsrc_warnings(const struct graphsrc *g)
{
    return g->findings.warnings;
}

size_t graphsrc_files(const struct graphsrc *g)
{
    return g->nsources;
}
