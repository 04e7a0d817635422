/* Passive ejection of one address: when it is due, for how long, how it comes back. */
#include "proxy/ejection.h"
#include "tests/unit/unit.h"

static const struct ejection_policy policy = {.failures = 3, .time_ms = 1000, .percent = 50};

static void fail_times(struct ejection *e, unsigned n, uint64_t now)
{
    while (n--)
        ejection_failed(e, now);
}

static void failures_in_a_row_make_it_due(void **state)
{
    (void)state;
    struct ejection e = {0};
    assert_false(ejection_any(&e));
    fail_times(&e, 2, 10);
    assert_true(ejection_any(&e));
    assert_false(ejection_due(&e, &policy));
    ejection_well(&e, 11); /* one reply that is well, and counting begins anew */
    assert_false(ejection_any(&e));
    fail_times(&e, 3, 12);
    assert_true(ejection_due(&e, &policy));
    const struct ejection_policy off = {.failures = 0, .time_ms = 1000, .percent = 50};
    assert_false(ejection_due(&e, &off));
}

static void it_is_out_for_its_time_and_longer_each_time(void **state)
{
    (void)state;
    struct ejection e = {0};
    uint64_t now = 5000;
    uint32_t want = 1000;
    for (unsigned i = 0; i < 12; i++) {
        fail_times(&e, i ? 1 : 3, now); /* once back, a single failure is enough */
        assert_true(ejection_due(&e, &policy));
        assert_int_equal(ejection_begin(&e, &policy, now), want);
        assert_true(ejection_now(&e, now + want - 1));
        assert_false(ejection_now(&e, now + want));
        fail_times(&e, 7, now + 1); /* of requests that were on their way */
        now += want;
        assert_false(ejection_due(&e, &policy));
        want = 2 * want < EJECTION_MAX_MS ? 2 * want : EJECTION_MAX_MS;
    }
}

static void well_for_as_long_as_it_was_out_it_begins_anew(void **state)
{
    (void)state;
    struct ejection e = {0};
    fail_times(&e, 3, 0);
    ejection_begin(&e, &policy, 0);
    fail_times(&e, 1, 1000);
    assert_int_equal(ejection_begin(&e, &policy, 1000), 2000);
    ejection_well(&e, 3000);
    ejection_well(&e, 4999);
    assert_int_equal(e.times, 2);
    ejection_well(&e, 5000);
    assert_false(ejection_any(&e));
    fail_times(&e, 3, 6000);
    assert_int_equal(ejection_begin(&e, &policy, 6000), 1000);
}

static void a_time_above_the_maximum_is_its_own(void **state)
{
    (void)state;
    const struct ejection_policy slow = {.failures = 1, .time_ms = 3600000, .percent = 50};
    struct ejection e = {0};
    fail_times(&e, 1, 0);
    assert_int_equal(ejection_begin(&e, &slow, 0), 3600000);
    fail_times(&e, 1, 3600000);
    assert_int_equal(ejection_begin(&e, &slow, 3600000), 3600000);
}

static void some_of_a_set_always_stay(void **state)
{
    (void)state;
    const struct ejection_policy all = {.failures = 1, .percent = 100}, few = {1, 1, 10};
    assert_int_equal(ejection_allowed(&all, 1), 0);
    assert_int_equal(ejection_allowed(&all, 2), 1);
    assert_int_equal(ejection_allowed(&all, 9), 8);
    assert_int_equal(ejection_allowed(&few, 3), 1);
    assert_int_equal(ejection_allowed(&few, 40), 4);
    assert_int_equal(ejection_allowed(&policy, 4), 2);
    assert_int_equal(ejection_allowed(&policy, 5), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row_make_it_due),
        cmocka_unit_test(it_is_out_for_its_time_and_longer_each_time),
        cmocka_unit_test(well_for_as_long_as_it_was_out_it_begins_anew),
        cmocka_unit_test(a_time_above_the_maximum_is_its_own),
        cmocka_unit_test(some_of_a_set_always_stay),
    };
    return unit_run(tests);
}
