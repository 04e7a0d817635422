#include "lib/graph/access.h"
#include "lib/graph/gateway.h"
#include "lib/graph/pb.h"
#include "lib/graph/snapshot_int.h"

static enum access_kind own_access(const struct env_head *h, enum access_kind overlay)
{
    if (h->access != ACCESS_UNSET)
        return h->access;
    return h->mode == MODE_BASELINE ? ACCESS_PUBLIC : overlay;
}

static enum access_kind stricter(
    const struct snapshot *s, uint32_t env, enum access_kind overlay, enum access_kind so_far)
{
    const struct env_head *h = snapshot_head(s, env);
    enum access_kind own = h ? own_access(h, overlay) : ACCESS_PUBLIC;
    return own > so_far ? own : so_far;
}

enum access_kind access_of(const struct snapshot *s, uint32_t env, enum access_kind overlay)
{
    const struct env_head *h = snapshot_head(s, env);
    if (!h)
        return ACCESS_PUBLIC;
    enum access_kind strictest = own_access(h, overlay);
    if (h->flags & HEAD_LONG) {
        const uint32_t *lineage = record_lineage(record_at(&s->chain->records, h->record));
        for (uint32_t i = 1; i < h->nlineage; i++)
            strictest = stricter(s, lineage[i], overlay, strictest);
        return strictest;
    }
    /* What resolve has just read. */
    for (uint32_t i = 0; i + 1 < h->nlineage; i++)
        strictest = stricter(s, h->ancestors[i], overlay, strictest);
    return strictest;
}

#define E_SUBJECTS 10 /* of Environment in proto/offshoot/v1/graph.proto */

static bool is_one_of(struct str name, const struct subjects *who)
{
    for (uint32_t i = 0; i < who->n; i++)
        if (str_eq(name, who->name[i]))
            return true;
    return false;
}

/* An environment by itself: it lists no subjects, or one of these. */
static bool lists(const struct snapshot *s, uint32_t env, const struct subjects *who)
{
    const struct env_head *h = snapshot_head(s, env);
    if (!h || h->access != ACCESS_SUBJECTS)
        return true;
    struct pb_in in = pb_in_of(record_extras(record_at(&s->chain->records, h->record)));
    struct pb_field f;
    while (pb_next(&in, &f) == 1)
        if (f.number == E_SUBJECTS && f.wire == PB_BYTES && is_one_of(f.bytes, who))
            return true;
    return false;
}

static bool all_list(const struct snapshot *s, uint32_t env, const struct subjects *who)
{
    struct env_info i;
    if (who->n == 0 || !snapshot_env(s, env, &i))
        return false;
    for (uint32_t k = 0; k < i.nlineage; k++)
        if (!lists(s, i.lineage[k], who))
            return false;
    return true;
}

static bool allows(const struct snapshot *s, uint32_t env, enum access_kind overlay,
    const struct subjects *who, struct context *c)
{
    enum access_kind access = access_of(s, env, overlay);
    if (access == ACCESS_PUBLIC || (access == ACCESS_TOKEN && c->by_token))
        return true;
    if (access != ACCESS_SUBJECTS || !all_list(s, env, who))
        return false;
    c->by_subject = true;
    return true;
}

/* The target of the `use` statement that decided, for or against; or NUMBER_NONE. */
static uint32_t used(const struct snapshot *s, const struct decision *d)
{
    struct statement_info i;
    bool by_statement = d->cause_env != NUMBER_NONE && !d->cause_is_expires;
    if (!by_statement || (d->cls != CLASS_EXPLICIT && d->refusal == REFUSAL_NONE) ||
        !snapshot_find_statement(s, d->cause_env, d->service, &i) || i.kind != STATEMENT_USE)
        return NUMBER_NONE;
    return i.use;
}

bool access_judge(const struct snapshot *s, const struct gateway *g, const struct subjects *who,
    struct context *c, struct decision *d)
{
    enum access_kind overlay = g ? g->overlay_access : ACCESS_TOKEN;
    uint32_t by_use = used(s, d);
    if (allows(s, d->env, overlay, who, c) &&
        (by_use == NUMBER_NONE || allows(s, by_use, overlay, who, c)))
        return true;
    *d = (struct decision){.env = d->env,
        .service = d->service,
        .provider = NUMBER_NONE,
        .distance = -1,
        .cause_env = NUMBER_NONE};
    return false;
}
