/* Loader and check on any bytes: findings have places inside the text, a loader that has seen
 * other texts finds the same as a new one, and a valid graph has a lineage for every environment.
 *
 * Input: one text, or two files with a byte 0x1e between them. */
#include "lib/base/mem.h"
#include "lib/graph/check.h"
#include "lib/graph/load.h"
#include "tests/fuzz/fuzz.h"
#include <errno.h>

/* Ends of lines as every reader of the findings counts them, and as libyaml does. */
static uint32_t count_lines(struct str s)
{
    uint32_t n = 1;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '\n' || (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n'));
    return n;
}

static void demand_place(const struct place *at, const struct load_source *s, size_t n)
{
    if (at->line == 0)
        return;
    demand(at->file < n);
    demand(at->line <= count_lines(s[at->file].bytes));
    demand(at->column >= 1 && at->column <= s[at->file].bytes.n + 1);
}

static void demand_sound(const struct findings *f, const struct load_source *s, size_t n)
{
    size_t by_code = 0;
    for (size_t i = 0; i < f->n; i++) {
        demand(f->list[i].at.line > 0 && f->list[i].message[0]);
        demand_place(&f->list[i].at, s, n);
        demand_place(&f->list[i].related, s, n);
        demand_place(&f->list[i].related2, s, n);
    }
    for (int c = 0; c < FINDING_CODE_COUNT; c++)
        by_code += f->by_code[c];
    demand(by_code == f->errors + f->warnings);
}

static void demand_lineages(const struct model *m)
{
    uint32_t chain[LINEAGE_MAX];
    for (uint32_t i = 0; i < m->nenvs; i++) {
        demand(model_lineage(m, i, chain, LINEAGE_MAX) > 0 && chain[0] == i);
        demand(model_find_env(m, m->envs[i]->name.s) == i);
    }
}

static void judge(
    struct loader *l, const struct load_source *s, size_t n, struct findings *f, struct text *out)
{
    const struct model *m;
    findings_init(f);
    demand(loader_load(l, s, n, f, &m) == 0);
    int r = model_check(m, NULL, f);
    demand(r == (f->errors ? -EINVAL : 0));
    demand_sound(f, s, n);
    if (r == 0)
        demand_lineages(m);
    findings_json(f, m->files, out);
    findings_release(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = {(const char *)data, size};
    size_t cut = str_find(all, 0x1e);
    struct load_source s[2] = {{.name = "a", .bytes = {all.p, cut}}, {.name = "b"}};
    size_t n = cut < size ? 2 : 1;
    if (n == 2)
        s[1].bytes = str_from(all, cut + 1);
    struct findings f;
    struct text first = {0}, again = {0}, other = {0};
    struct loader *l = loader_new(NULL);
    demand(l != NULL);
    judge(l, s, n, &f, &first);
    judge(l, s, 1, &f, &other);
    judge(l, s, n, &f, &again);
    demand(strcmp(first.p, again.p) == 0);
    text_release(&first);
    text_release(&again);
    text_release(&other);
    loader_free(l);
    demand(mem_live() == 0);
    return 0;
}
