/* The table of endpoints: entries come and go with their users, the operator's orders stay. */
#include "proxy/endpoints.h"
#include "tests/unit/unit.h"
#include <errno.h>

static struct addr address(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(str_c(text), false, &a, NULL), 0);
    return a;
}

static int attach(struct endpoint_table *t, struct endpoint_use *u, const char *text)
{
    struct addr a = address(text);
    memset(u, 0, sizeof *u);
    return endpoint_attach(t, u, &a, addr_hash(&a), 100);
}

static int order(struct endpoint_table *t, const char *text, enum endpoint_order o, const char *why)
{
    struct addr a = address(text);
    return endpoint_order(t, &a, o, why, 500, 1700000000, NULL);
}

struct seen {
    unsigned n;
    struct endpoint_view last;
    char addr[ADDR_TEXT_MAX], word[16], reason[ENDPOINT_TEXT_MAX];
};

static void see(const struct endpoint_view *v, void *arg)
{
    struct seen *s = arg;
    s->n++;
    s->last = *v;
    addr_format(&v->entry->addr, s->addr);
    snprintf(s->word, sizeof s->word, "%s", endpoint_view_word(v));
    snprintf(s->reason, sizeof s->reason, "%s", v->entry->reason);
}

static struct seen look(struct endpoint_table *t)
{
    struct seen s = {0};
    endpoint_table_each(t, 1000, see, &s);
    return s;
}

static void workers_share_an_entry_that_goes_with_the_last(void **state)
{
    (void)state;
    struct endpoint_table *t = endpoint_table_new();
    struct endpoint_use a, b, other;
    assert_int_equal(attach(t, &a, "10.0.0.1:80"), 0);
    assert_int_equal(attach(t, &b, "10.0.0.1:80"), 0);
    assert_int_equal(attach(t, &other, "10.0.0.1:81"), 0);
    assert_ptr_equal(a.entry, b.entry);
    assert_ptr_not_equal(a.entry, other.entry);
    assert_int_equal(look(t).n, 2);
    endpoint_detach(t, &other);
    atomic_store(&a.connections, 3);
    atomic_store(&b.connections, 4);
    atomic_store(&a.inflight, 1);
    atomic_store(&b.waiting, 2);
    struct seen s = look(t);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.addr, "10.0.0.1:80");
    assert_string_equal(s.word, "open");
    assert_int_equal(s.last.connections, 7);
    assert_int_equal(s.last.inflight, 1);
    assert_int_equal(s.last.waiting, 2);
    assert_int_equal(s.last.workers, 2);
    endpoint_detach(t, &a);
    assert_int_equal(look(t).n, 1);
    endpoint_detach(t, &b);
    assert_int_equal(look(t).n, 0);
    endpoint_table_free(t);
}

static void an_order_stands_without_users(void **state)
{
    (void)state;
    struct endpoint_table *t = endpoint_table_new();
    struct endpoint_use u;
    assert_int_equal(order(t, "shop.main.svc:80", ENDPOINT_DRAIN, "new disk"), 0);
    assert_int_equal(order(t, "Shop.main.SVC:80", ENDPOINT_DRAIN, "again"), -EALREADY);
    struct seen s = look(t);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.word, "drained");
    assert_string_equal(s.reason, "new disk");
    assert_int_equal(attach(t, &u, "shop.main.svc:80"), 0);
    assert_int_equal(endpoint_state(&u), ENDPOINT_DRAINED);
    atomic_store(&u.inflight, 1);
    assert_string_equal(look(t).word, "draining");
    endpoint_detach(t, &u);
    assert_int_equal(look(t).n, 1);
    assert_int_equal(order(t, "shop.main.svc:80", ENDPOINT_DISABLE, "gone"), 0);
    assert_string_equal(look(t).word, "disabled");
    assert_int_equal(order(t, "shop.main.svc:80", ENDPOINT_ENABLE, ""), 0);
    assert_int_equal(look(t).n, 0);
    assert_int_equal(order(t, "shop.main.svc:80", ENDPOINT_ENABLE, ""), -EALREADY);
    assert_int_equal(look(t).n, 0);
    endpoint_table_free(t);
}

static void orders_are_bounded(void **state)
{
    (void)state;
    struct endpoint_table *t = endpoint_table_new();
    char text[32];
    for (unsigned i = 0; i < ENDPOINT_ORDERS_MAX; i++) {
        snprintf(text, sizeof text, "10.0.%u.%u:80", i / 250, i % 250 + 1);
        assert_int_equal(order(t, text, ENDPOINT_DRAIN, ""), 0);
    }
    assert_int_equal(order(t, "10.9.9.9:80", ENDPOINT_DISABLE, ""), -ENOBUFS);
    assert_int_equal(order(t, "10.0.0.1:80", ENDPOINT_DISABLE, ""), 0); /* one it has */
    assert_int_equal(order(t, "10.0.0.1:80", ENDPOINT_ENABLE, ""), 0);
    assert_int_equal(order(t, "10.9.9.9:80", ENDPOINT_DISABLE, ""), 0);
    assert_int_equal(look(t).n, ENDPOINT_ORDERS_MAX);
    endpoint_table_free(t);
}

static void what_closes_it_adds_up(void **state)
{
    (void)state;
    struct endpoint_table *t = endpoint_table_new();
    struct endpoint_use u;
    assert_int_equal(attach(t, &u, "10.0.0.1:80"), 0);
    struct endpoint_entry *e = endpoint_hold(t, &u);
    assert_int_equal(atomic_load(&e->open_ms), 100);
    assert_false(endpoint_judge(e, true, "", 200, 1));
    assert_string_equal(look(t).word, "healthy");
    assert_true(endpoint_judge(e, false, "answered 500", 300, 2));
    assert_string_equal(e->error, "answered 500");
    assert_string_equal(look(t).word, "unhealthy");
    assert_int_equal(order(t, "10.0.0.1:80", ENDPOINT_DRAIN, ""), 0);
    endpoint_judge(e, true, "", 400, 3);
    assert_int_equal(endpoint_state(&u) & ENDPOINT_CLOSED, ENDPOINT_DRAINED);
    assert_int_equal(atomic_load(&e->open_ms), 100); /* still closed */
    assert_int_equal(order(t, "10.0.0.1:80", ENDPOINT_ENABLE, ""), 0);
    assert_int_equal(atomic_load(&e->open_ms), 500); /* slow start counts from here */
    endpoint_judge(e, false, "x", 600, 4);
    endpoint_unchecked(e, 700);
    assert_int_equal(endpoint_state(&u), 0);
    atomic_store(&u.ejected_until_ms, 1001);
    struct seen s = look(t);
    assert_string_equal(s.word, "ejected");
    assert_int_equal(s.last.ejected, 1);
    assert_int_equal(s.last.ejected_until_ms, 1001);
    endpoint_detach(t, &u);
    assert_false(endpoint_used(t, e));
    assert_int_equal(look(t).n, 1);
    endpoint_release(t, e);
    assert_int_equal(look(t).n, 0);
    endpoint_table_free(t);
}

static void budgets_hold_at_their_bound(void **state)
{
    (void)state;
    _Atomic uint32_t n = 0;
    assert_true(budget_take(&n, 2));
    assert_true(budget_take(&n, 2));
    assert_false(budget_take(&n, 2));
    assert_int_equal(n, 2);
    budget_give(&n);
    assert_true(budget_take(&n, 2));
    assert_true(budget_take(&n, 0)); /* no bound, but it counts */
    assert_int_equal(n, 3);
}

static void orders_pass_as_text(void **state)
{
    (void)state;
    struct endpoint_table *t = endpoint_table_new(), *next = endpoint_table_new();
    char text[64];
    enum endpoint_order o;
    assert_int_equal(order(t, "10.0.0.1:80", ENDPOINT_DRAIN, "new\ndisk"), 0);
    assert_int_equal(order(t, "unix:/run/a.sock", ENDPOINT_DISABLE, ""), 0);
    assert_int_equal(endpoint_orders(t), 2);
    for (size_t n = 0; endpoint_ordered_at(t, n, &o, text, sizeof text); n++)
        assert_int_equal(endpoint_order_again(next, str_c(text), o, 1, 2), 0);
    assert_int_equal(endpoint_orders(next), 2);
    assert_int_equal(order(next, "10.0.0.1:80", ENDPOINT_DRAIN, ""), -EALREADY);
    assert_int_equal(order(next, "unix:/run/a.sock", ENDPOINT_ENABLE, ""), 0);
    assert_string_equal(look(next).reason, "new?disk");
    assert_string_equal(look(next).word, "drained");
    assert_int_equal(endpoint_order_again(next, STR("nonsense"), ENDPOINT_DRAIN, 1, 2), -EINVAL);
    assert_int_equal(
        endpoint_order_again(next, STR("10.0.0.2:80"), ENDPOINT_ENABLE, 1, 2), -EINVAL);
    endpoint_table_free(t);
    endpoint_table_free(next);
}

static void orders_have_words(void **state)
{
    (void)state;
    enum endpoint_order o = ENDPOINT_ORDER_COUNT;
    for (unsigned i = 0; i < ENDPOINT_ORDER_COUNT; i++) {
        assert_true(endpoint_order_parse(endpoint_order_word(i), &o));
        assert_int_equal(o, i);
    }
    assert_false(endpoint_order_parse("kill", &o));
}

static void without_memory_nothing_is_left_behind(void **state)
{
    (void)state;
    struct endpoint_use u;
    for (unsigned long nth = 1; nth < 10; nth++) {
        mem_fail_nth(nth);
        struct endpoint_table *t = endpoint_table_new();
        if (!t)
            continue;
        int rc = attach(t, &u, "unix:/tmp/x");
        int drained = order(t, "name:80", ENDPOINT_DRAIN, "");
        mem_fail_nth(0);
        assert_true(rc == 0 || rc == -ENOMEM);
        assert_true(drained == 0 || drained == -ENOMEM);
        if (rc == 0)
            endpoint_detach(t, &u);
        assert_int_equal(look(t).n, drained == 0);
        endpoint_table_free(t);
    }
    mem_fail_nth(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_share_an_entry_that_goes_with_the_last),
        cmocka_unit_test(an_order_stands_without_users),
        cmocka_unit_test(orders_are_bounded),
        cmocka_unit_test(what_closes_it_adds_up),
        cmocka_unit_test(budgets_hold_at_their_bound),
        cmocka_unit_test(orders_pass_as_text),
        cmocka_unit_test(orders_have_words),
        cmocka_unit_test(without_memory_nothing_is_left_behind),
    };
    return unit_run(tests);
}
