/* Lineages of all environments in one pass.
 *
 * Tarjan's algorithm over the edges "overlay to parent", without recursion, gives the strongly
 * connected components with parents before children. A component of several environments, or one
 * that is its own parent, is a ring. Every other environment is merged from the finished lineages
 * of its parents by C3, as Python orders base classes, so that each is computed once. */
#include "lib/base/mem.h"
#include "lib/graph/check.h"
#include "lib/graph/model_index.h"
#include <errno.h>

struct frame {
    uint32_t env;
    uint32_t next; /* parent to look at next */
};

struct walk {
    struct model *m;
    struct model_index *ix;
    uint32_t *number; /* order of discovery, from 1; 0: not seen */
    uint32_t *low;    /* smallest number reachable */
    bool *open;       /* on the stack of unfinished components */
    uint32_t *stack;
    struct frame *frames;
    uint32_t nstack, nframes, last;
};

/* ---- C3 ------------------------------------------------------------------------------------ */

struct merge_list {
    const uint32_t *item;
    uint32_t n;
};

static bool in_tail(const struct merge_list *l, uint32_t env)
{
    for (uint32_t i = 1; i < l->n; i++)
        if (l->item[i] == env)
            return true;
    return false;
}

/* The first head that is in no tail; false when there is none. */
static bool next_head(const struct merge_list *lists, uint32_t n, uint32_t *ret)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!lists[i].n)
            continue;
        uint32_t head = lists[i].item[0];
        bool good = true;
        for (uint32_t j = 0; j < n && good; j++)
            good = !in_tail(&lists[j], head);
        if (good) {
            *ret = head;
            return true;
        }
    }
    return false;
}

static bool all_empty(const struct merge_list *lists, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (lists[i].n)
            return false;
    return true;
}

/* Merges into out[LINEAGE_MAX], which holds *n already. */
static enum lineage_state merge(
    struct merge_list *lists, uint32_t nlists, uint32_t *out, uint32_t *n)
{
    while (!all_empty(lists, nlists)) {
        uint32_t head;
        if (!next_head(lists, nlists, &head))
            return LINEAGE_NO_ORDER;
        if (*n == LINEAGE_MAX)
            return LINEAGE_TOO_DEEP;
        out[(*n)++] = head;
        for (uint32_t i = 0; i < nlists; i++) {
            if (lists[i].n && lists[i].item[0] == head) {
                lists[i].item++;
                lists[i].n--;
            }
        }
    }
    return LINEAGE_OK;
}

static uint32_t parent_of(const struct walk *w, const struct model_env *e, uint32_t i)
{
    return w->ix->env_of[e->parents[i].id];
}

static enum lineage_state linearise(struct walk *w, uint32_t env, uint32_t *out, uint32_t *n)
{
    const struct model_env *e = w->m->envs[env];
    out[0] = env;
    *n = 1;
    if (e->nparents >= LINEAGE_MAX)
        return LINEAGE_TOO_DEEP;
    struct merge_list lists[LINEAGE_MAX];
    uint32_t parents[LINEAGE_MAX];
    for (uint32_t i = 0; i < e->nparents; i++) {
        uint32_t p = parents[i] = parent_of(w, e, i);
        lists[i] = (struct merge_list){w->ix->chain + w->ix->at[p], w->ix->length[p]};
    }
    lists[e->nparents] = (struct merge_list){parents, e->nparents};
    return merge(lists, e->nparents + 1, out, n);
}

/* ---- one environment ----------------------------------------------------------------------- */

static bool follows_parents(const struct model_env *e)
{
    return e->mode == MODE_OVERLAY && !(e->faults & ENV_FAULT_LINEAGE);
}

static enum lineage_state own_fault(const struct model_env *e)
{
    if (e->faults & ENV_FAULT_LINEAGE)
        return LINEAGE_BROKEN;
    if (e->mode == MODE_OVERLAY)
        return e->nparents ? LINEAGE_OK : LINEAGE_NO_PARENT;
    if (!e->nparents)
        return LINEAGE_OK;
    return e->mode == MODE_BASELINE ? LINEAGE_BASELINE_WITH_PARENT : LINEAGE_POOL_WITH_PARENT;
}

static enum lineage_state parents_fault(const struct walk *w, const struct model_env *e)
{
    enum lineage_state state = LINEAGE_OK;
    for (uint32_t i = 0; i < e->nparents; i++) {
        uint32_t p = parent_of(w, e, i);
        if (p == POSITION_NONE) {
            bool vague = w->ix->vague[e->parents[i].id] || w->ix->nameless_env;
            if (!vague)
                return LINEAGE_BAD_PARENTS;
            state = LINEAGE_BROKEN;
        } else if (w->ix->state[p] != LINEAGE_OK || env_twice(w->ix, w->m->envs[p])) {
            state = LINEAGE_BROKEN;
        } else if (w->m->envs[p]->mode == MODE_SHARED) {
            return LINEAGE_BAD_PARENTS;
        }
    }
    return state;
}

static bool two_baselines(const struct walk *w, const uint32_t *chain, uint32_t n)
{
    uint32_t baselines = 0;
    for (uint32_t i = 0; i < n; i++)
        baselines += w->m->envs[chain[i]]->mode == MODE_BASELINE;
    return baselines > 1;
}

static int keep_chain(struct model_index *ix, uint32_t env, const uint32_t *chain, uint32_t n)
{
    if (ix->size_chain - ix->nchain < n) {
        size_t size = ix->size_chain + ix->size_chain / 2 + 1024;
        uint32_t *grown = mem_realloc(ix->chain, size * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        ix->chain = grown;
        ix->size_chain = size;
    }
    memcpy(ix->chain + ix->nchain, chain, n * sizeof(*chain));
    ix->at[env] = (uint32_t)ix->nchain;
    ix->length[env] = (uint8_t)n;
    ix->nchain += n;
    return 0;
}

/* All parents are finished. */
static int finish(struct walk *w, uint32_t env)
{
    const struct model_env *e = w->m->envs[env];
    uint32_t chain[LINEAGE_MAX] = {env}, n = 1;
    enum lineage_state state = own_fault(e);

    if (state == LINEAGE_OK && e->nparents)
        state = parents_fault(w, e);
    if (state == LINEAGE_OK && e->nparents)
        state = linearise(w, env, chain, &n);
    if (state == LINEAGE_OK && e->nparents > 1 && two_baselines(w, chain, n))
        state = LINEAGE_TWO_BASELINES;
    w->ix->state[env] = (uint8_t)state;
    return state == LINEAGE_OK ? keep_chain(w->ix, env, chain, n) : 0;
}

/* ---- the walk ------------------------------------------------------------------------------ */

static void discover(struct walk *w, uint32_t env)
{
    w->number[env] = w->low[env] = ++w->last;
    w->stack[w->nstack++] = env;
    w->open[env] = true;
    w->frames[w->nframes++] = (struct frame){env, 0};
}

static bool own_parent(const struct walk *w, uint32_t env)
{
    const struct model_env *e = w->m->envs[env];
    for (uint32_t i = 0; follows_parents(e) && i < e->nparents; i++)
        if (parent_of(w, e, i) == env)
            return true;
    return false;
}

/* Marks the component that lies on the stack from `bottom` up as a ring. Its number is that of its
 * first environment in the model, and 1. */
static void mark_ring(struct walk *w, uint32_t bottom)
{
    uint32_t first = w->stack[bottom];
    for (uint32_t i = bottom; i < w->nstack; i++)
        first = w->stack[i] < first ? w->stack[i] : first;
    for (uint32_t i = bottom; i < w->nstack; i++) {
        w->ix->state[w->stack[i]] = LINEAGE_CYCLE;
        w->ix->ring[w->stack[i]] = first + 1;
    }
}

/* The component that was entered at env is complete: it is the top of the stack. */
static int close_component(struct walk *w, uint32_t env)
{
    uint32_t bottom = w->nstack;
    do
        w->open[w->stack[--bottom]] = false;
    while (w->stack[bottom] != env);
    bool ring = bottom + 1 < w->nstack || own_parent(w, env);
    if (ring)
        mark_ring(w, bottom);
    w->nstack = bottom;
    return ring ? 0 : finish(w, env);
}

static void lower(struct walk *w, uint32_t env, uint32_t number)
{
    if (number < w->low[env])
        w->low[env] = number;
}

/* Goes to the next unseen parent of the innermost environment; false when it has none left. */
static bool descend(struct walk *w, struct frame *f)
{
    const struct model_env *e = w->m->envs[f->env];
    while (follows_parents(e) && f->next < e->nparents) {
        uint32_t p = parent_of(w, e, f->next++);
        if (p == POSITION_NONE || env_twice(w->ix, w->m->envs[p]))
            continue;
        if (!w->number[p]) {
            discover(w, p);
            return true;
        }
        if (w->open[p])
            lower(w, f->env, w->number[p]);
    }
    return false;
}

static int walk_from(struct walk *w, uint32_t start)
{
    discover(w, start);
    while (w->nframes) {
        struct frame *f = &w->frames[w->nframes - 1];
        if (descend(w, f))
            continue;
        uint32_t env = f->env;
        w->nframes--;
        if (w->nframes)
            lower(w, w->frames[w->nframes - 1].env, w->low[env]);
        if (w->low[env] == w->number[env] && close_component(w, env) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int walk_init(struct walk *w, struct model *m)
{
    size_t n = m->nenvs;
    struct model_index *ix = m->index;
    *w = (struct walk){.m = m, .ix = ix};
    ix->state = mem_zalloc(n);
    ix->length = mem_zalloc(n);
    ix->at = mem_array(n, sizeof(*ix->at));
    ix->ring = mem_zalloc(n * sizeof(*ix->ring));
    w->number = mem_zalloc(n * sizeof(*w->number));
    w->low = mem_array(n, sizeof(*w->low));
    w->open = mem_zalloc(n);
    w->stack = mem_array(n, sizeof(*w->stack));
    w->frames = mem_array(n, sizeof(*w->frames));
    bool ok = ix->state && ix->length && ix->at && ix->ring && w->number && w->low && w->open &&
              w->stack && w->frames;
    return ok ? 0 : -ENOMEM;
}

static void walk_release(struct walk *w)
{
    mem_free(w->number);
    mem_free(w->low);
    mem_free(w->open);
    mem_free(w->stack);
    mem_free(w->frames);
}

int model_link_lineages(struct model *m)
{
    struct walk w;
    int r = walk_init(&w, m);
    for (uint32_t env = 0; r == 0 && env < m->nenvs; env++)
        if (!w.number[env])
            r = walk_from(&w, env);
    walk_release(&w);
    return r;
}

uint32_t model_lineage(const struct model *m, uint32_t env, uint32_t *out, uint32_t max)
{
    const struct model_index *ix = model_index(m);
    if (env >= m->nenvs || ix->state[env] != LINEAGE_OK || ix->length[env] > max)
        return 0;
    memcpy(out, ix->chain + ix->at[env], ix->length[env] * sizeof(*out));
    return ix->length[env];
}
