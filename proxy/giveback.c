#include "proxy/giveback.h"

bool giveback_due(struct giveback *g, uint64_t objects, uint64_t now_ms)
{
    uint64_t last = g->last;
    g->last = objects;
    if (objects > g->peak)
        g->peak = objects;
    uint64_t gone = g->peak - objects;
    if (gone < GIVEBACK_LEAST || gone < objects || objects < last || now_ms < g->next_ms)
        return false;
    g->peak = objects;
    g->next_ms = now_ms + GIVEBACK_PAUSE_MS;
    return true;
}
