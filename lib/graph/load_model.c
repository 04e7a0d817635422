#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/hint.h"
#include "lib/graph/loader.h"
#include <errno.h>

void loader_drop_model(struct loader *l)
{
    model_index_free(l->model.index);
    mem_free(l->model.services);
    mem_free(l->model.envs);
    mem_free(l->model.gateways);
    l->model = (struct model){0};
}

/* ---- room ---------------------------------------------------------------------------------- */

static uint32_t *positions(uint32_t n)
{
    uint32_t *of = mem_array(n, sizeof(*of));
    if (of)
        memset(of, 0xff, n * sizeof(*of));
    return of;
}

static int reserve(struct loader *l)
{
    size_t count[4] = {0};
    for (size_t i = 0; i < l->nsources; i++)
        for (uint32_t j = 0; j < l->sources[i].n; j++)
            if (l->sources[i].pieces[j].doc)
                count[l->sources[i].pieces[j].doc->kind]++;

    struct model *m = &l->model;
    struct model_index *ix = mem_zalloc(sizeof(*ix));
    if (!ix)
        return -ENOMEM;
    m->index = ix;
    ix->names = l->names;
    ix->nnames = names_count(l->names);
    ix->service_of = positions(ix->nnames);
    ix->env_of = positions(ix->nnames);
    ix->gateway_of = positions(ix->nnames);
    ix->vague = mem_zalloc(ix->nnames);
    ix->twice = mem_zalloc(ix->nnames);
    m->services = mem_array(count[DOCUMENT_SERVICE], sizeof(struct model_service *));
    m->envs = mem_array(count[DOCUMENT_ENVIRONMENT], sizeof(struct model_env *));
    m->gateways = mem_array(count[DOCUMENT_GATEWAY], sizeof(struct model_gateway *));
    bool ok = ix->service_of && ix->env_of && ix->gateway_of && ix->vague && ix->twice &&
              m->services && m->envs && m->gateways;
    return ok ? 0 : -ENOMEM;
}

/* ---- documents ----------------------------------------------------------------------------- */

static void duplicate(const struct document *doc, const struct mtext *first, const char *kind,
    struct findings *findings)
{
    findings_add(findings, F_DUPLICATE, doc->name.at, &first->at,
        "a second %s named '%.*s'; rename or remove one", kind, STR_ARG(shown(doc->name.s)));
}

static void add_service(struct model *m, struct document *doc, struct findings *findings)
{
    struct model_index *ix = m->index;
    uint32_t *at = &ix->service_of[doc->name.id];
    ix->nameless_service |= !name_valid(doc->name.s);
    if (*at != POSITION_NONE) {
        ix->twice[doc->name.id] |= TWICE_SERVICE;
        duplicate(doc, &m->services[*at]->name, "Service", findings);
        return;
    }
    *at = m->nservices;
    m->services[m->nservices++] = &doc->service;
}

static void add_env(struct model *m, struct document *doc, struct findings *findings)
{
    struct model_index *ix = m->index;
    uint32_t *at = &ix->env_of[doc->name.id];
    ix->nameless_env |= !name_valid(doc->name.s);
    if (*at != POSITION_NONE) {
        ix->twice[doc->name.id] |= TWICE_ENV;
        duplicate(doc, &m->envs[*at]->name, "Environment", findings);
        return;
    }
    *at = m->nenvs;
    m->envs[m->nenvs++] = &doc->env;
}

static void add_gateway(struct model *m, struct document *doc, struct findings *findings)
{
    uint32_t *at = &((struct model_index *)m->index)->gateway_of[doc->name.id];
    if (*at != POSITION_NONE) {
        duplicate(doc, &m->gateways[*at]->name, "Gateway", findings);
        return;
    }
    *at = m->ngateways;
    m->gateways[m->ngateways++] = &doc->gateway;
}

/* A document that cannot be told by kind or name: what refers to it is not judged. */
static void add_vague(struct model_index *ix, const struct document *doc)
{
    ix->misread = true;
    if (doc->name.s.p) {
        ix->vague[doc->name.id] = true;
        return;
    }
    ix->nameless_service |= doc->kind == DOCUMENT_SERVICE || doc->kind == DOCUMENT_UNKNOWN;
    ix->nameless_env |= doc->kind == DOCUMENT_ENVIRONMENT || doc->kind == DOCUMENT_UNKNOWN;
}

static void add_document(struct model *m, struct document *doc, struct findings *findings)
{
    if (doc->kind == DOCUMENT_UNKNOWN || !doc->name.s.p)
        add_vague(m->index, doc);
    else if (doc->kind == DOCUMENT_SERVICE)
        add_service(m, doc, findings);
    else if (doc->kind == DOCUMENT_ENVIRONMENT)
        add_env(m, doc, findings);
    else
        add_gateway(m, doc, findings);
}

int loader_assemble(struct loader *l, struct findings *findings)
{
    struct model *m = &l->model;

    m->files = l->files;
    m->nfiles = (uint32_t)l->nsources;
    if (reserve(l) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < l->nsources; i++)
        for (uint32_t j = 0; j < l->sources[i].n; j++)
            if (l->sources[i].pieces[j].doc)
                add_document(m, l->sources[i].pieces[j].doc, findings);
    bool misread = ((struct model_index *)m->index)->misread;
    if (!m->nenvs && !misread && !findings->by_code[F_SYNTAX])
        findings_add(findings, F_EMPTY, (struct place){0, 1, 1}, NULL,
            "no Environment in the whole graph; a graph needs at least one baseline");
    return model_link_lineages(m);
}
