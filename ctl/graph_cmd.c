/* graph check|diff|root: graph files as a whole. Paths are words of the command, or --graph. */
#include "ctl/offline.h"
#include "ctl/output.h"
#include "lib/graph/diff.h"
#include <errno.h>

static void count(struct text *t, const char *before, uint64_t n, const char *what)
{
    text_fmt(t, "%s%llu %s%s", before, (unsigned long long)n, what, n == 1 ? "" : "s");
}

/* The first line: the answer, and what was read. */
static void verdict(const struct offline *o, bool valid, struct text *t)
{
    const struct model *m = o->model;
    if (!valid) {
        count(t, "not valid: ", o->findings.errors, "error");
        count(t, ", ", o->findings.warnings, "warning");
        text_add(t, STR("\n"));
        return;
    }
    count(t, "valid: ", m->nenvs, "environment");
    count(t, ", ", m->nservices, "service");
    count(t, ", ", m->ngateways, "gateway");
    count(t, " in ", m->nfiles, "file");
    count(t, "; ", o->findings.warnings, "warning");
    text_add(t, STR("\n"));
}

static enum status tell_check(const struct call *c, const struct offline *o, struct err *e)
{
    bool valid = o->findings.errors == 0;
    enum status s = valid ? STATUS_YES : STATUS_NO;
    struct text t = {0}, findings = {0};
    if (!c->json)
        verdict(o, valid, &t);
    s = out_answer(&t, s, e);
    offline_findings(o, c->json, &findings);
    if (findings.failed)
        return out_plain(&findings, s, e);
    out_findings(&findings, stdout);
    text_release(&findings);
    return s;
}

enum status graph_check_command(const struct call *c, struct err *e)
{
    struct offline o;
    int rc = offline_check(&o, &c->graph, e);
    enum status s = STATUS_ERROR;
    if (rc == 0 || rc == -EINVAL)
        s = tell_check(c, &o, e);
    offline_release(&o);
    return s;
}

static enum status tell_root(const struct call *c, const struct offline *o, struct err *e)
{
    const unsigned char *root = snapshot_root(o->snapshot);
    struct text t = {0};
    if (!root) {
        err_set(e, -ENOMEM, "out of memory");
        return STATUS_ERROR;
    }
    text_add(&t, c->json ? STR("{\"root\":\"") : str_of("", 0));
    for (size_t i = 0; i < 32; i++)
        text_fmt(&t, "%02x", root[i]);
    text_add(&t, c->json ? STR("\"}\n") : STR("\n"));
    return out_plain(&t, STATUS_YES, e);
}

enum status graph_root_command(const struct call *c, struct err *e)
{
    struct offline o;
    enum status s = offline_open(&o, &c->graph, c->json, e);
    if (s == STATUS_YES)
        s = tell_root(c, &o, e);
    offline_release(&o);
    return s;
}

/* ---- diff ---- */

static enum status tell_diff(
    const struct call *c, const struct offline *a, const struct offline *b, struct err *e)
{
    struct text t = {0};
    int rc = graph_diff(a->snapshot, b->snapshot, c->json, &t);
    if (rc < 0) {
        text_release(&t);
        err_set(e, rc, "out of memory");
        return STATUS_ERROR;
    }
    if (t.n && t.p[t.n - 1] != '\n')
        text_add(&t, STR("\n"));
    enum status s = rc ? STATUS_NO : STATUS_YES;
    return c->json ? out_plain(&t, s, e) : out_answer(&t, s, e);
}

enum status graph_diff_command(const struct call *c, struct err *e)
{
    struct offline a, b;
    if (c->nwords + c->args->graph.n != 2) {
        err_set(e, -EINVAL, "want graph diff BEFORE AFTER: each a file or a folder");
        return STATUS_ERROR;
    }
    struct values before = {c->graph.item, 1}, after = {c->graph.item + 1, 1};
    enum status s = offline_open(&a, &before, c->json, e);
    if (s == STATUS_YES) {
        s = offline_open(&b, &after, c->json, e);
        if (s == STATUS_YES)
            s = tell_diff(c, &a, &b, e);
        offline_release(&b);
    }
    offline_release(&a);
    return s;
}
