#include "proxy/stages.h"
#include "lib/base/histogram.h"
#include "proxy/request.h"
#include "proxy/worker.h"

static int64_t between(uint64_t from, uint64_t to)
{
    return from && to ? (int64_t)(to - from) : -1;
}

static const struct client *of_connection(const struct request *r)
{
    const struct client *c = r->client;
    return c->phase == CLIENT_STREAM && c->parent ? c->parent : c;
}

void stages_of(const struct request *r, struct stages *ret)
{
    uint32_t tls_us = r->t_accept ? of_connection(r)->tls_us : 0;
    *ret = (struct stages){.accept = between(r->t_accept, r->t_start),
        .tls = tls_us ? (int64_t)tls_us : -1,
        .head = between(r->t_start, r->t_head),
        .decide = between(r->t_head, r->t_decided),
        .connect = between(r->t_decided, r->t_connected),
        .first_byte = between(r->t_connected, r->t_reply),
        .total = between(r->t_start, r->w->now_us)};
}

static void observe(counter_cell *stats, enum stage s, uint64_t from, uint64_t to)
{
    histogram_observe(&stats[STAT_STAGE_SECONDS + s * HISTOGRAM_CELLS], to - from);
}

/* Each stage is reached only after the one before it. */
void stages_count(struct worker *w, const struct request *r)
{
    counter_cell *stats = w->stats;
    unsigned code = r->status < 600 ? r->status / 100 : 0;
    if (r->in_tunnel || r->is_dark) /* says nothing about how fast we are to users */
        return;
    histogram_observe(
        &stats[STAT_REQUEST_SECONDS + code * HISTOGRAM_CELLS], w->now_us - r->t_start);
    if (r->t_accept)
        observe(stats, STAGE_ACCEPT, r->t_accept, r->t_start);
    if (!r->t_head)
        return;
    observe(stats, STAGE_HEAD, r->t_start, r->t_head);
    if (!r->t_connected)
        return;
    observe(stats, STAGE_CONNECT, r->t_decided, r->t_connected);
    if (r->t_reply)
        observe(stats, STAGE_FIRST_BYTE, r->t_connected, r->t_reply);
}

void stages_count_tls(struct worker *w, uint64_t us)
{
    if (w->set->histograms)
        histogram_observe(&w->stats[STAT_STAGE_SECONDS + STAGE_TLS * HISTOGRAM_CELLS], us);
}
