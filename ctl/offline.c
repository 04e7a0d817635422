#include "ctl/offline.h"
#include "ctl/output.h"
#include "lib/base/files.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/check.h"
#include "lib/graph/load.h"
#include <errno.h>
#include <time.h>

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "out of memory");
}

/* The files as the loader takes them, and their names for findings. */
static struct load_source *gather(struct offline *o, const char *first_path, struct err *e)
{
    if (files_read(o->files) < 0) {
        no_memory(e);
        return NULL;
    }
    size_t n = files_count(o->files);
    struct load_source *sources = mem_array(n + 1, sizeof(*sources));
    o->names = mem_array(n + 1, sizeof(*o->names));
    if (!sources || !o->names) {
        mem_free(sources);
        no_memory(e);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        const struct file *f = files_at(o->files, i);
        o->names[i] = f->name;
        sources[i] = (struct load_source){.name = f->name,
            .bytes = f->bytes,
            .generation = f->generation,
            .error_text = f->error.code ? f->error.text : NULL};
    }
    /* A folder without graph files: what is missing is told at the folder. */
    o->names[n] = first_path;
    return sources;
}

int offline_check(struct offline *o, const struct values *paths, struct err *e)
{
    *o = (struct offline){0};
    findings_init(&o->findings);
    struct file_limits limits = FILE_LIMITS_DEFAULT;
    o->files = files_new(paths->item, paths->n, &limits);
    o->loader = loader_new(NULL);
    if (!o->files || !o->loader)
        return no_memory(e);
    struct load_source *sources = gather(o, paths->item[0], e);
    if (!sources)
        return -ENOMEM;
    int rc = loader_load(o->loader, sources, files_count(o->files), &o->findings, &o->model);
    mem_free(sources);
    if (rc == 0)
        rc = model_check(o->model, NULL, &o->findings);
    return rc == 0 || rc == -EINVAL ? rc : no_memory(e);
}

int offline_compile(struct offline *o, struct err *e)
{
    return snapshot_compile(&o->snapshot, NULL, o->model, 0, NULL, e);
}

void offline_release(struct offline *o)
{
    if (o->snapshot)
        snapshot_unref(o->snapshot);
    findings_release(&o->findings);
    if (o->loader)
        loader_free(o->loader);
    if (o->files)
        files_free(o->files);
    mem_free(o->names);
    *o = (struct offline){0};
}

void offline_findings(const struct offline *o, bool json, struct text *out)
{
    if (json) {
        findings_json(&o->findings, o->names, out);
        text_add(out, STR("\n"));
    } else {
        findings_text(&o->findings, o->names, out);
    }
}

static void tell_findings(const struct offline *o, bool json)
{
    struct text t = {0};
    offline_findings(o, json, &t);
    out_findings(&t, json ? stdout : stderr);
    text_release(&t);
}

enum status offline_open(struct offline *o, const struct values *paths, bool json, struct err *e)
{
    int rc = offline_check(o, paths, e);
    if (rc == -EINVAL) {
        tell_findings(o, json);
        err_set(e, -EINVAL, "the graph is not valid: %zu error%s", o->findings.errors,
            o->findings.errors == 1 ? "" : "s");
    }
    if (rc == 0)
        rc = offline_compile(o, e);
    return rc == 0 ? STATUS_YES : STATUS_ERROR;
}

int offline_now(const struct args *a, int64_t *ret, struct err *e)
{
    struct timespec t;
    if (args_have(a, OPT_NOW)) {
        if (parse_rfc3339(str_c(a->value[OPT_NOW]), ret) == 0)
            return 0;
        return err_set(e, -EINVAL,
            "not a time (RFC 3339 with a zone, as 2026-12-01T00:00:00Z) '%s'", a->value[OPT_NOW]);
    }
    clock_gettime(CLOCK_REALTIME, &t);
    *ret = t.tv_sec;
    return 0;
}
