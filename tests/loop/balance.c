#include "tests/loop/balance.h"
#include <errno.h>

struct balance_test balance;

const char balance_get[] = "GET / HTTP/1.1\r\nHost: shop\r\n\r\n";
const char balance_ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

static int connect_noting(struct worker *w, const struct addr *a, bool *ret_pending)
{
    if (balance.dead == 1 || a->port == balance.dead) {
        balance.refused++;
        return -ECONNREFUSED;
    }
    balance.port_of[balance.l->nproviders] = a->port;
    return balance.pair(w, a, ret_pending);
}

static const char *graph_with(const char *policy, const char *endpoints)
{
    static char graph[4096];
    snprintf(graph, sizeof graph,
        LOOP_SERVICE("cart", "policy: {%s}") LOOP_CART("%s")
            LOOP_OVERLAY("feat", ", access: public") LOOP_GATEWAY(", select: [{header: x-env}]"),
        policy, endpoints);
    return graph;
}

void balance_start(
    struct loop *l, const char *policy, const char *endpoints, const char *const *sets)
{
    loop_start(l, graph_with(policy, endpoints), sets);
    balance.l = l;
    balance.dead = 0;
    balance.refused = 0;
    balance.pair = l->w.connect;
    l->w.connect = connect_noting;
}

int balance_asked(void)
{
    for (unsigned i = 0; i < balance.l->nproviders; i++)
        if (balance.l->provider[i] >= 0 && *loop_recv(balance.l, balance.l->provider[i]))
            return (int)i;
    return -1;
}

uint16_t balance_exchange(int c, const char *request, const char *reply)
{
    loop_send(balance.l, c, request);
    int i = balance_asked();
    if (i < 0)
        return 0;
    loop_send(balance.l, balance.l->provider[i], reply);
    return balance.port_of[i];
}

uint16_t balance_ask(int c, const char *reply)
{
    uint16_t port = balance_exchange(c, balance_get, reply);
    loop_recv(balance.l, c);
    return port;
}

uint16_t balance_ask_env(int c, const char *env)
{
    char request[128];
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: shop\r\nx-env: %s\r\n\r\n", env);
    uint16_t port = balance_exchange(c, request, balance_ok);
    loop_recv(balance.l, c);
    return port;
}

void balance_order(const char *address, enum endpoint_order o)
{
    struct addr a;
    assert_int_equal(addr_parse(str_c(address), false, &a, NULL), 0);
    assert_int_equal(
        endpoint_order(balance.l->shared.endpoints, &a, o, "", balance.l->w.now_ms, 0, NULL), 0);
}
