#include "lib/graph/policy.h"

struct health_policy health_default(void)
{
    return (struct health_policy){.interval_ms = 5000,
        .timeout_ms = 1000,
        .healthy_after = 2,
        .unhealthy_after = 3,
        .status_min = 200,
        .status_max = 399};
}

struct ejection_policy ejection_default(void)
{
    return (struct ejection_policy){.failures = 5, .time_ms = 10000, .percent = 50};
}

struct policy policy_default(void)
{
    struct policy p = {.retries_max = POLICY_DEFAULT,
        .retries_budget_percent = POLICY_DEFAULT,
        .health = health_default(),
        .ejection = ejection_default()};
    p.health.interval_ms = 0;
    p.ejection.failures = 0;
    return p;
}
