/* The tables of limits: exact also among threads, bounded, with nobody forgotten who is held. */
#include "proxy/ratelimit.h"
#include "proxy/stats.h"
#include "tests/unit/unit.h"
#include <pthread.h>

static counter_cell stats[STAT_COUNT];

static uint64_t count(enum proxy_stat which)
{
    return atomic_load(&stats[which]);
}

static int unit_setup(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STAT_COUNT; i++)
        atomic_store(&stats[i], 0);
    return 0;
}

static bool take(struct ratelimit *t, uint64_t key, uint32_t rate, uint32_t burst, uint64_t now_us)
{
    const struct limit l = {.per_second = rate, .burst = burst};
    uint64_t wait = 0;
    return ratelimit_take(t, LIMIT_SOURCE, key, &l, now_us, stats, &wait);
}

static void a_rate_is_kept_over_time(void **state)
{
    (void)state;
    struct ratelimit *t = ratelimit_new(64);
    unsigned taken = 0;
    for (uint64_t now = 5000000; now < 15000000; now += 1000)
        taken += take(t, 7, 30, 4, now);
    assert_int_equal(taken, 30 * 10 + 3);
    ratelimit_free(t);
}

static void the_wait_is_exact(void **state)
{
    (void)state;
    struct ratelimit *t = ratelimit_new(64);
    const struct limit l = {.per_second = 2, .burst = 2};
    uint64_t wait = 0;
    assert_true(ratelimit_take(t, LIMIT_SOURCE, 1, &l, 1000000, stats, &wait));
    assert_true(ratelimit_take(t, LIMIT_SOURCE, 1, &l, 1000000, stats, &wait));
    assert_false(ratelimit_take(t, LIMIT_SOURCE, 1, &l, 1000000, stats, &wait));
    assert_int_equal(wait, 500000);
    assert_false(ratelimit_take(t, LIMIT_SOURCE, 1, &l, 1499999, stats, &wait));
    assert_int_equal(wait, 1);
    assert_true(ratelimit_take(t, LIMIT_SOURCE, 1, &l, 1500000, stats, &wait));
    assert_true(ratelimit_take(t, LIMIT_ENVIRONMENT, 1, &l, 1500000, stats, &wait));
    ratelimit_free(t);
}

/* Bounds of the keys: the highest rate and burst overflow nothing. */
static void the_extremes_work(void **state)
{
    (void)state;
    struct ratelimit *t = ratelimit_new(1);
    unsigned taken = 0;
    for (unsigned i = 0; i < 1000002; i++)
        taken += take(t, 1, 1, 1000000, UINT64_C(1) << 50);
    assert_int_equal(taken, 1000000);
    assert_true(take(t, 2, 1000000, 1, 1));
    assert_false(take(t, 2, 1000000, 1, 1));
    assert_true(take(t, 2, 1000000, 1, 2));
    ratelimit_free(t);
}

/* Eight places in all: the ninth takes that of the one not seen for longest. */
static void the_oldest_is_forgotten(void **state)
{
    (void)state;
    struct ratelimit *t = ratelimit_new(8);
    for (uint64_t key = 1; key <= 8; key++)
        assert_true(take(t, key, 1, 1, key * 1000000));
    assert_int_equal(count(STAT_LIMITS_FORGOTTEN), 0);
    assert_true(take(t, 9, 1, 1, 8000001)); /* in place of 1, whose bucket is full long since */
    assert_int_equal(count(STAT_LIMITS_FORGOTTEN), 0);
    for (uint64_t key = 2; key <= 9; key++)
        take(t, key, 1, 1000, 9000000);
    assert_true(take(t, 10, 1, 1, 9000001)); /* in place of one that is near its rate */
    assert_int_equal(count(STAT_LIMITS_FORGOTTEN), 1);
    ratelimit_free(t);
}

static void who_is_held_is_not_forgotten(void **state)
{
    (void)state;
    struct ratelimit *t = ratelimit_new(8);
    uint32_t place[8], n;
    for (uint64_t key = 0; key < 8; key++) {
        place[key] = ratelimit_enter(t, LIMIT_SOURCE, key, 1000000, stats, &n);
        assert_int_not_equal(place[key], 0);
        assert_int_equal(n, 1);
    }
    assert_int_equal(count(STAT_LIMITS_UNCOUNTED), 0);
    assert_int_equal(ratelimit_enter(t, LIMIT_SOURCE, 99, 1000000, stats, &n), 0);
    assert_int_equal(count(STAT_LIMITS_UNCOUNTED), 1);
    assert_true(take(t, 99, 1, 1, 1000000)); /* not limited, counted */
    assert_true(take(t, 99, 1, 1, 1000000));
    assert_int_equal(count(STAT_LIMITS_UNCOUNTED), 3);
    assert_int_equal(ratelimit_enter(t, LIMIT_SOURCE, 3, 1000000, stats, &n), place[3]);
    assert_int_equal(n, 2);
    ratelimit_leave(t, LIMIT_SOURCE, place[3]);
    ratelimit_leave(t, LIMIT_SOURCE, place[5]);
    assert_int_equal(ratelimit_enter(t, LIMIT_SOURCE, 99, 1000000, stats, &n), place[5]);
    assert_int_equal(n, 1);
    ratelimit_leave(t, LIMIT_SOURCE, 0); /* nobody's */
    ratelimit_free(t);
}

#define THREADS 4
#define ASKED   200000

static struct ratelimit *shared;
static _Atomic unsigned taken_by_all;

static void *ask_a_lot(void *arg)
{
    const struct limit l = {.per_second = 1, .burst = 100000};
    unsigned taken = 0;
    (void)arg;
    counter_cell *own = mem_zalloc(STAT_COUNT * sizeof *own);
    for (unsigned i = 0; i < ASKED; i++) {
        uint64_t wait;
        uint32_t n;
        taken += ratelimit_take(shared, LIMIT_SOURCE, 5, &l, 1000000, own, &wait);
        ratelimit_leave(shared, LIMIT_SOURCE,
            ratelimit_enter(shared, LIMIT_SOURCE, 5 + i % 3, 1000000, own, &n));
    }
    atomic_fetch_add(&taken_by_all, taken);
    mem_free(own);
    return NULL;
}

static void workers_share_one_rate(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    uint32_t n;
    shared = ratelimit_new(64);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_a_lot, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(taken_by_all, 100000);
    for (uint64_t key = 5; key < 8; key++) {
        ratelimit_enter(shared, LIMIT_SOURCE, key, 1000000, stats, &n);
        assert_int_equal(n, 1);
    }
    ratelimit_free(shared);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    struct ratelimit *t = NULL;
    for (unsigned long nth = 1; !t; nth++) {
        mem_fail_nth(nth);
        t = ratelimit_new(64);
        mem_fail_nth(0);
        assert_in_range(nth, 1, 5);
    }
    ratelimit_free(t);
    ratelimit_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_rate_is_kept_over_time, unit_setup),
        cmocka_unit_test_setup(the_wait_is_exact, unit_setup),
        cmocka_unit_test_setup(the_extremes_work, unit_setup),
        cmocka_unit_test_setup(the_oldest_is_forgotten, unit_setup),
        cmocka_unit_test_setup(who_is_held_is_not_forgotten, unit_setup),
        cmocka_unit_test_setup(workers_share_one_rate, unit_setup),
        cmocka_unit_test_setup(survives_every_failed_allocation, unit_setup),
    };
    return unit_run(tests);
}
