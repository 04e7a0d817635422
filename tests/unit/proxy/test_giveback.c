/* When freed memory goes back to the system: after a fall, of enough, and not often. */
#include "proxy/giveback.h"
#include "tests/unit/unit.h"

static void test_a_fall_is_waited_out(void **state)
{
    struct giveback g = {0};
    (void)state;
    assert_false(giveback_due(&g, 10000, 1000));
    assert_false(giveback_due(&g, 10000, 2000));
    assert_false(giveback_due(&g, 6000, 3000));
    assert_false(giveback_due(&g, 6000, 4000)); /* more than half are there */
    assert_false(giveback_due(&g, 20, 5000));
    assert_false(giveback_due(&g, 0, 6000));
    assert_true(giveback_due(&g, 0, 7000));
    assert_false(giveback_due(&g, 0, 8000));
}

static void test_few_are_not_worth_it(void **state)
{
    struct giveback g = {0};
    (void)state;
    assert_false(giveback_due(&g, GIVEBACK_LEAST - 1, 1000));
    assert_false(giveback_due(&g, 0, 2000));
    assert_false(giveback_due(&g, 0, 3000));
    assert_false(giveback_due(&g, GIVEBACK_LEAST, 4000));
    assert_false(giveback_due(&g, 0, 5000));
    assert_true(giveback_due(&g, 0, 6000));
}

static void test_not_often(void **state)
{
    struct giveback g = {0};
    unsigned times = 0;
    (void)state;
    for (uint64_t t = 0; t < 60; t++) /* a load that comes and goes */
        times += giveback_due(&g, t % 4 < 2 ? 5000 : 100, t * 1000);
    assert_in_range(times, 5, 60000 / GIVEBACK_PAUSE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fall_is_waited_out),
        cmocka_unit_test(test_few_are_not_worth_it),
        cmocka_unit_test(test_not_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
