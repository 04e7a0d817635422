#include "proxy/ejection.h"

void ejection_failed(struct ejection *e, uint64_t now_ms)
{
    if (!ejection_now(e, now_ms) && e->failures < UINT32_MAX)
        e->failures++;
}

void ejection_well(struct ejection *e, uint64_t now_ms)
{
    e->failures = 0;
    if (e->until_ms == 0 || now_ms < e->until_ms + e->last_ms)
        return;
    e->until_ms = 0;
    e->times = 0;
}

uint32_t ejection_begin(struct ejection *e, const struct ejection_policy *p, uint64_t now_ms)
{
    uint64_t longest = p->time_ms > EJECTION_MAX_MS ? p->time_ms : EJECTION_MAX_MS;
    uint64_t time = (uint64_t)p->time_ms << (e->times < 20 ? e->times : 20);
    e->last_ms = (uint32_t)(time < longest ? time : longest);
    e->until_ms = now_ms + e->last_ms;
    e->times++;
    e->failures = p->failures - 1;
    return e->last_ms;
}

uint32_t ejection_allowed(const struct ejection_policy *p, uint32_t n)
{
    uint64_t allowed = (uint64_t)n * p->percent / 100;
    if (n < 2)
        return 0;
    if (allowed < 1)
        return 1;
    return allowed < n ? (uint32_t)allowed : n - 1;
}
