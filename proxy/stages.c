#include "proxy/stages.h"
#include "lib/base/histogram.h"
#include "proxy/request.h"
#include "proxy/worker.h"

static int64_t between(uint64_t from, uint64_t to)
{
    return from && to ? (int64_t)(to - from) : -1;
}

void stages_of(const struct request *r, struct stages *ret)
{
    *ret = (struct stages){.accept = -1,
        .tls = -1,
        .head = -1,
        .decide = -1,
        .connect = between(r->t_decided, r->t_connected),
        .first_byte = between(r->t_connected, r->t_reply),
        .total = between(r->t_start, r->w->now_us)};
}
