/* Endpoints that are names: each address of one counts by itself. */
#include "tests/loop/balance.h"
#include <errno.h>

static struct loop l;

/* What the control thread would answer: 127.0.1.1 and so on. */
static void name_is(const char *name, unsigned n)
{
    struct name_answer *a = mem_zalloc(sizeof *a + n * sizeof(struct addr));
    assert_non_null(a);
    a->len = strlen(name);
    memcpy(a->text, name, a->len);
    a->ttl_s = 1000;
    a->naddrs = n;
    for (unsigned i = 0; i < n; i++)
        a->addrs[i] = (struct addr){.kind = ADDR_IP4, .ip = {127, 0, 1, (uint8_t)(i + 1)}};
    name_answer_run(&a->message, &l.w);
}

/* The address, not the port, tells them apart here. */
static int connect_noting_address(struct worker *w, const struct addr *a, bool *ret_pending)
{
    balance.port_of[l.nproviders] = a->ip[3];
    return a->ip[3] == balance.dead ? -ECONNREFUSED : balance.pair(w, a, ret_pending);
}

static int begin_name(const char *policy)
{
    balance_start(&l, policy, "\"shop.main.svc:80\"", NULL);
    l.w.connect = connect_noting_address;
    int c = loop_client(&l, l.edge);
    loop_send(
        &l, c, balance_get); /* without a control thread nobody answers: but it is known now */
    loop_assert_refused(&l, c, "502", "connect");
    name_is("shop.main.svc", 3);
    loop_advance(&l, 2000);
    return c;
}

static void all_addresses_of_a_name_are_used(void **state)
{
    (void)state;
    unsigned got[4] = {0};
    int c = begin_name("retries: {max: 0}");
    for (unsigned i = 0; i < 9; i++)
        got[balance_ask(c, balance_ok)]++;
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(got[i], 3);
    balance_order("127.0.1.2:80", ENDPOINT_DRAIN);
    for (unsigned i = 0; i < 9; i++)
        assert_int_not_equal(balance_ask(c, balance_ok), 2);
    balance_order("shop.main.svc:80", ENDPOINT_DRAIN); /* the name, and so all of them */
    loop_send(&l, c, balance_get);
    loop_assert_refused(&l, c, "503", "unhealthy");
    loop_end(&l, c);
}

static void addresses_of_a_name_are_ejected_one_by_one(void **state)
{
    (void)state;
    int c = begin_name("ejection: {consecutiveFailures: 2, time: 60s}, retries: {max: 1}");
    balance.dead = 3;
    for (unsigned i = 0; i < 12; i++)
        assert_int_not_equal(balance_ask(c, balance_ok), 0);
    assert_int_equal(loop_count(&l, STAT_EJECTIONS), 1);
    assert_int_equal(loop_count(&l, STAT_RETRIES), 3); /* one for the look-up */
    loop_end(&l, c);
}

static void keys_stay_on_an_address_of_a_name(void **state)
{
    (void)state;
    int c = begin_name("hash: context, retries: {max: 0}");
    uint16_t at = balance_ask_env(c, "main");
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(balance_ask_env(c, "main"), at);
    loop_end(&l, c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_addresses_of_a_name_are_used),
        cmocka_unit_test(addresses_of_a_name_are_ejected_one_by_one),
        cmocka_unit_test(keys_stay_on_an_address_of_a_name),
    };
    return unit_run(tests);
}
