#include "lib/graph/model.h"
#include "lib/base/mem.h"
#include "lib/graph/hint.h"
#include "lib/graph/model_index.h"

static uint32_t position(const struct model *m, const uint32_t *of, struct str name)
{
    uint32_t id = names_find(model_index(m)->names, name);
    return id < model_index(m)->nnames ? of[id] : POSITION_NONE;
}

uint32_t model_find_service(const struct model *m, struct str name)
{
    return position(m, model_index(m)->service_of, name);
}

uint32_t model_find_env(const struct model *m, struct str name)
{
    return position(m, model_index(m)->env_of, name);
}

uint32_t model_find_gateway(const struct model *m, struct str name)
{
    return position(m, model_index(m)->gateway_of, name);
}

struct str model_nearest_service(const struct model *m, struct str name)
{
    struct hint h = hint_for(name);
    for (uint32_t i = 0; i < m->nservices && h.cap; i++)
        hint_offer(&h, m->services[i]->name.s);
    return h.best;
}

struct str model_nearest_env(const struct model *m, struct str name)
{
    struct hint h = hint_for(name);
    for (uint32_t i = 0; i < m->nenvs && h.cap; i++)
        hint_offer(&h, m->envs[i]->name.s);
    return h.best;
}

void model_index_free(struct model_index *ix)
{
    if (!ix)
        return;
    mem_free(ix->service_of);
    mem_free(ix->env_of);
    mem_free(ix->gateway_of);
    mem_free(ix->vague);
    mem_free(ix->twice);
    mem_free(ix->state);
    mem_free(ix->length);
    mem_free(ix->at);
    mem_free(ix->ring);
    mem_free(ix->chain);
    mem_free(ix);
}
