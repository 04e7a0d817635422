/* The endpoints on the control thread: their checks, and the operator's orders. */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "proxy/control.h"
#include "proxy/health.h"
#include "proxy/inherit.h"
#include <errno.h>
#include <time.h>

void health_order_run(struct message *m, void *control)
{
    struct health_order *o = list_entry(m, struct health_order, message);
    struct control *c = control_of(control);
    health_take(c->health, o);
    mem_free(o);
}

/* The operator's orders outlive a binary upgrade. */
static int inherit_orders(struct control *c, struct err *e)
{
    uint32_t number;
    struct str text;
    for (size_t n = 0; inherit_order(c->inherit, n, &number, &text); n++) {
        int rc =
            endpoint_order_again(c->shared.endpoints, text, number, clock_mono_ms(), time(NULL));
        if (rc == -EINVAL)
            return err_set(e, rc, "hand-over: no order about an endpoint: '%.*s'", STR_ARG(text));
        if (rc == -ENOMEM)
            return err_set(e, rc, "out of memory");
    }
    return 0;
}

int control_endpoints(struct control *c, struct err *e)
{
    c->shared.endpoints = endpoint_table_new();
    struct health_options o = {.base = c->base,
        .table = c->shared.endpoints,
        .rules = &c->rules,
        .targets = c->set->limit_health_targets,
        .checks = c->set->limit_health_checks,
        .stats = c->stats,
        .set = c->set};
    c->health = c->shared.endpoints ? health_new(&o) : NULL;
    return c->health ? inherit_orders(c, e) : err_set(e, -ENOMEM, "out of memory");
}

void control_endpoints_release(struct control *c)
{
    health_free(c->health);
    endpoint_table_free(c->shared.endpoints);
}
