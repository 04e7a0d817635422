#include "proxy/graphsrc.h"
#include "lib/base/files.h"
#include "lib/base/mem.h"
#include "lib/graph/check.h"
#include "lib/graph/load.h"
#include <errno.h>

struct graphsrc {
    struct files *files;
    struct loader *loader;
    struct load_source *sources;
    const char **names;
    size_t nsources;
    const char *first_path; /* of the settings */
    struct findings findings;
};

struct graphsrc *graphsrc_new(const struct settings *set, struct err *e)
{
    struct graphsrc *g = mem_zalloc(sizeof *g);
    struct file_limits fl = FILE_LIMITS_DEFAULT;
    struct load_limits ll = {set->limit_graph_nesting, set->limit_graph_documents};
    fl.file_bytes = set->limit_graph_file;
    fl.total_bytes = set->limit_graph_total;
    if (g) {
        findings_init(&g->findings);
        g->first_path = set->graph.n ? set->graph.item[0] : "";
        g->files = files_new(set->graph.item, set->graph.n, &fl);
        g->loader = loader_new(&ll);
    }
    if (!g || !g->files || !g->loader) {
        graphsrc_free(g);
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    return g;
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
    size_t n = files_count(g->files);
    struct load_source *s = mem_array(n + 1, sizeof *s);
    const char **names = mem_array(n + 1, sizeof *names);
    if (!s || !names) {
        mem_free(s);
        mem_free(names);
        return -ENOMEM;
    }
    names[n] = g->first_path; /* where `empty` is told when there is no file at all */
    for (size_t i = 0; i < n; i++) {
        const struct file *f = files_at(g->files, i);
        names[i] = f->name;
        s[i] = (struct load_source){.name = f->name,
            .bytes = f->bytes,
            .generation = f->generation,
            .error_text = f->error.code ? f->error.text : NULL};
    }
    mem_free(g->sources);
    mem_free(g->names);
    g->sources = s;
    g->names = names;
    g->nsources = n;
    return 0;
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
    *ret = s;
    return 0;
}

const struct gateway *graphsrc_gateway(
    const struct settings *set, const struct snapshot *s, struct err *e)
{
    const struct gateway *g =
        set->gateway ? snapshot_gateway(s, str_c(set->gateway)) : snapshot_only_gateway(s);
    if (!g && set->gateway)
        err_set(e, -EINVAL, "the graph has no Gateway named '%s'", set->gateway);
    else if (!g)
        err_set(e, -EINVAL,
            "the graph has no Gateway, or several: name the one that rules here with --gateway");
    return g;
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
