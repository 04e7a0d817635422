/* Every pointer, place and name of a document, once. A new field of the model that is one of these
 * must be added here. */
#include "lib/graph/load_internal.h"

/* ---- moving -------------------------------------------------------------------------------- */

static void *moved(const void *p, const struct move *mv)
{
    return p ? (void *)(mv->to + ((uintptr_t)p - mv->from)) : NULL;
}

static void move_str(struct str *s, const struct move *mv)
{
    s->p = moved(s->p, mv);
}

static void move_place(struct place *at, const struct move *mv)
{
    if (!at->line)
        return;
    at->line += mv->lines;
    at->file = mv->file;
}

static void move_text(struct mtext *t, const struct move *mv)
{
    move_str(&t->s, mv);
    move_place(&t->at, mv);
}

static void move_texts(struct mtext **texts, uint32_t n, const struct move *mv)
{
    *texts = moved(*texts, mv);
    for (uint32_t i = 0; i < n; i++)
        move_text(&(*texts)[i], mv);
}

static void move_service(struct model_service *s, const struct move *mv)
{
    move_text(&s->name, mv);
    move_texts(&s->hosts, s->nhosts, mv);
    move_texts(&s->depends_on, s->ndepends_on, mv);
    move_str(&s->policy.health.path, mv);
    move_str(&s->policy.health.service, mv);
    move_str(&s->policy.hash.cookie, mv);
    move_str(&s->tls.name, mv);
    move_str(&s->tls.ca, mv);
}

static void move_statement(struct model_statement *s, const struct move *mv)
{
    move_text(&s->service, mv);
    move_text(&s->use, mv);
    move_str(&s->artifact, mv);
    move_str(&s->region, mv);
    s->endpoints = moved(s->endpoints, mv);
    for (uint32_t i = 0; i < s->nendpoints; i++) {
        move_str(&s->endpoints[i].addr.name, mv);
        move_place(&s->endpoints[i].at, mv);
    }
}

static void move_env(struct model_env *e, const struct move *mv)
{
    move_text(&e->name, mv);
    move_place(&e->spec_at, mv);
    move_texts(&e->parents, e->nparents, mv);
    move_place(&e->parents_at, mv);
    move_place(&e->parents_value_at, mv);
    e->statements = moved(e->statements, mv);
    for (uint32_t i = 0; i < e->nstatements; i++)
        move_statement(&e->statements[i], mv);
    move_texts(&e->subjects, e->nsubjects, mv);
    move_texts(&e->labels, 2 * e->nlabels, mv);
    move_str(&e->owner, mv);
    move_place(&e->expires_at, mv);
    move_place(&e->priority_at, mv);
}

static void move_fields(struct field **fields, uint32_t n, const struct move *mv)
{
    *fields = moved(*fields, mv);
    for (uint32_t i = 0; i < n; i++) {
        (*fields)[i].name = moved((*fields)[i].name, mv);
        (*fields)[i].value = moved((*fields)[i].value, mv);
    }
}

static void move_edits(struct header_edits *e, const struct move *mv)
{
    move_fields(&e->set, e->nset, mv);
    move_fields(&e->remove, e->nremove, mv);
}

static void move_actions(struct route_actions **actions, const struct move *mv)
{
    struct route_actions *a = *actions = moved(*actions, mv);
    if (!a)
        return;
    move_edits(&a->request, mv);
    move_edits(&a->reply, mv);
    move_str(&a->replace_prefix, mv);
    move_str(&a->host, mv);
    move_str(&a->affinity.cookie, mv);
    move_str(&a->redirect.location, mv);
    move_str(&a->redirect.host, mv);
    move_str(&a->redirect.path, mv);
}

static void move_gateway(struct model_gateway *g, const struct move *mv)
{
    move_text(&g->name, mv);
    move_text(&g->default_environment, mv);
    move_texts(&g->pin_hosts, g->npin_hosts, mv);
    g->selectors = moved(g->selectors, mv);
    for (uint32_t i = 0; i < g->nselectors; i++)
        move_text(&g->selectors[i].key, mv);
    g->routes = moved(g->routes, mv);
    for (uint32_t i = 0; i < g->nroutes; i++) {
        move_text(&g->routes[i].host, mv);
        move_text(&g->routes[i].path, mv);
        move_text(&g->routes[i].service, mv);
        move_actions(&g->routes[i].actions, mv);
    }
}

void document_move(struct document *doc, const struct move *mv)
{
    move_text(&doc->name, mv);
    switch (doc->kind) {
    case DOCUMENT_SERVICE:
        move_service(&doc->service, mv);
        break;
    case DOCUMENT_ENVIRONMENT:
        move_env(&doc->env, mv);
        break;
    case DOCUMENT_GATEWAY:
        move_gateway(&doc->gateway, mv);
        break;
    default:
        break;
    }
}

/* ---- names --------------------------------------------------------------------------------- */

typedef int name_fn(void *arg, struct mtext *name);

static int each_text(struct mtext *texts, uint32_t n, name_fn *fn, void *arg)
{
    int r = 0;
    for (uint32_t i = 0; i < n && !r; i++)
        r = texts[i].s.p ? fn(arg, &texts[i]) : 0;
    return r;
}

static int each_name_of_env(struct model_env *e, name_fn *fn, void *arg)
{
    int r = each_text(e->parents, e->nparents, fn, arg);
    for (uint32_t i = 0; i < e->nstatements && !r; i++) {
        r = fn(arg, &e->statements[i].service);
        if (!r)
            r = each_text(&e->statements[i].use, 1, fn, arg);
    }
    return r;
}

static int each_name_of_gateway(struct model_gateway *g, name_fn *fn, void *arg)
{
    int r = each_text(&g->default_environment, 1, fn, arg);
    for (uint32_t i = 0; i < g->nroutes && !r; i++)
        r = each_text(&g->routes[i].service, 1, fn, arg);
    return r;
}

int document_each_name(struct document *doc, name_fn *fn, void *arg)
{
    int r = each_text(&doc->name, 1, fn, arg);
    if (r)
        return r;
    switch (doc->kind) {
    case DOCUMENT_SERVICE:
        doc->service.name.id = doc->name.id;
        return each_text(doc->service.depends_on, doc->service.ndepends_on, fn, arg);
    case DOCUMENT_ENVIRONMENT:
        doc->env.name.id = doc->name.id;
        return each_name_of_env(&doc->env, fn, arg);
    case DOCUMENT_GATEWAY:
        doc->gateway.name.id = doc->name.id;
        return each_name_of_gateway(&doc->gateway, fn, arg);
    default:
        return 0;
    }
}
