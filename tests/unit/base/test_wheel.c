#include "lib/base/wheel.h"
#include "tests/unit/unit.h"

#define ROTATION_MS ((uint64_t)WHEEL_SLOTS * WHEEL_TICK_MS)

/* A timer that writes its number down, and may do something to others. */
struct probe {
    struct timer timer;
    int number;
    struct probe *cancels, *sets;
    uint64_t sets_to;
};

static struct wheel wheel;
static int fired[256];
static int nfired;

static void on_probe(struct timer *t)
{
    struct probe *p = list_entry(t, struct probe, timer);
    assert_int_equal(t->deadline, 0);
    if (nfired < 256)
        fired[nfired] = p->number;
    nfired++;
    if (p->cancels)
        wheel_cancel(&wheel, &p->cancels->timer);
    if (p->sets)
        wheel_set(&wheel, &p->sets->timer, p->sets_to);
}

static int start(void **state)
{
    (void)state;
    wheel_init(&wheel, 1000);
    nfired = 0;
    return 0;
}

static void probes_init(struct probe *p, int n)
{
    for (int i = 0; i < n; i++) {
        p[i] = (struct probe){.number = i};
        timer_init(&p[i].timer, on_probe);
    }
}

static void fires_at_the_tick_after_the_deadline_never_early(void **state)
{
    (void)state;
    struct probe p;
    for (uint64_t deadline = 1024; deadline <= 1024 + 2 * WHEEL_TICK_MS + 1; deadline++) {
        wheel_init(&wheel, 1000);
        nfired = 0;
        probes_init(&p, 1);
        wheel_set(&wheel, &p.timer, deadline);
        assert_int_equal(wheel.count, 1);
        uint64_t due = (deadline + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS * WHEEL_TICK_MS;
        wheel_advance(&wheel, due - 1);
        assert_int_equal(nfired, 0);
        wheel_advance(&wheel, due);
        assert_int_equal(nfired, 1);
        assert_int_equal(wheel.count, 0);
    }
}

static void a_past_deadline_fires_at_the_next_advance(void **state)
{
    (void)state;
    struct probe p[4];
    probes_init(p, 4);
    wheel_set(&wheel, &p[0].timer, 992); /* the wheel's own time */
    wheel_set(&wheel, &p[1].timer, 5);
    wheel_set(&wheel, &p[2].timer, 0);
    wheel_set(&wheel, &p[3].timer, 993); /* the next tick: not yet */
    assert_true(p[2].timer.deadline != 0);
    wheel_advance(&wheel, 1000); /* no tick has passed */
    assert_int_equal(nfired, 3);
    assert_int_equal(wheel.count, 1);
    wheel_cancel(&wheel, &p[3].timer);
}

static void order_is_by_ticks(void **state)
{
    (void)state;
    struct probe p[5];
    probes_init(p, 5);
    wheel_set(&wheel, &p[4].timer, 1500);
    wheel_set(&wheel, &p[2].timer, 1300);
    wheel_set(&wheel, &p[3].timer, 1400);
    wheel_set(&wheel, &p[0].timer, 1100);
    wheel_set(&wheel, &p[1].timer, 1200);
    wheel_advance(&wheel, 5000);
    assert_int_equal(nfired, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fired[i], i);
}

static void deadlines_beyond_a_rotation_wait_in_their_slot(void **state)
{
    (void)state;
    struct probe p[3];
    probes_init(p, 3);
    const uint64_t base = 1024;
    wheel_set(&wheel, &p[2].timer, base + 2 * ROTATION_MS);
    wheel_set(&wheel, &p[1].timer, base + ROTATION_MS);
    wheel_set(&wheel, &p[0].timer, base);
    wheel_advance(&wheel, base);
    assert_int_equal(nfired, 1);
    wheel_advance(&wheel, base + ROTATION_MS - 1);
    assert_int_equal(nfired, 1);
    wheel_advance(&wheel, base + ROTATION_MS);
    assert_int_equal(nfired, 2);
    wheel_advance(&wheel, base + 2 * ROTATION_MS - 1);
    assert_int_equal(nfired, 2);
    wheel_advance(&wheel, base + 2 * ROTATION_MS);
    assert_int_equal(nfired, 3);
}

static void a_long_sleep_keeps_the_order_and_ends_quickly(void **state)
{
    (void)state;
    struct probe p[6];
    probes_init(p, 6);
    const uint64_t year = UINT64_C(365) * 86400 * 1000;
    wheel_set(&wheel, &p[5].timer, 1000 * year);
    wheel_set(&wheel, &p[4].timer, 900 * year);
    wheel_set(&wheel, &p[3].timer, 2 * ROTATION_MS + 1000);
    wheel_set(&wheel, &p[2].timer, ROTATION_MS + 3000);
    wheel_set(&wheel, &p[1].timer, ROTATION_MS + 2000);
    wheel_set(&wheel, &p[0].timer, 2000);
    wheel_advance(&wheel, 950 * year);
    assert_int_equal(nfired, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fired[i], i);
    assert_int_equal(wheel.now, 950 * year);
    wheel_advance(&wheel, 2000 * year);
    assert_int_equal(nfired, 6);
    wheel_advance(&wheel, UINT64_MAX);
    wheel_set(&wheel, &p[0].timer, UINT64_MAX);
    wheel_cancel(&wheel, &p[0].timer);
    assert_int_equal(wheel.count, 0);
}

static void setting_again_moves(void **state)
{
    (void)state;
    struct probe p[1];
    probes_init(p, 1);
    wheel_set(&wheel, &p->timer, 1100);
    wheel_set(&wheel, &p->timer, 2000);
    assert_int_equal(wheel.count, 1);
    wheel_advance(&wheel, 1999);
    assert_int_equal(nfired, 0);
    wheel_advance(&wheel, 2100);
    assert_int_equal(nfired, 1);
    wheel_set(&wheel, &p->timer, 9000);
    wheel_set(&wheel, &p->timer, 2200);
    wheel_advance(&wheel, 2300);
    assert_int_equal(nfired, 2);
    wheel_advance(&wheel, 10000);
    assert_int_equal(nfired, 2);
}

static void cancelled_timers_stay_silent(void **state)
{
    (void)state;
    struct probe p[2];
    probes_init(p, 2);
    wheel_cancel(&wheel, &p[0].timer); /* was never set */
    assert_int_equal(wheel.count, 0);
    wheel_set(&wheel, &p[0].timer, 1100);
    wheel_set(&wheel, &p[1].timer, 900); /* past, on the list of its own */
    wheel_cancel(&wheel, &p[0].timer);
    wheel_cancel(&wheel, &p[0].timer);
    wheel_cancel(&wheel, &p[1].timer);
    assert_int_equal(wheel.count, 0);
    assert_int_equal(p[0].timer.deadline, 0);
    wheel_advance(&wheel, 5000);
    assert_int_equal(nfired, 0);
}

static void a_callback_may_cancel_one_due_in_the_same_slot(void **state)
{
    (void)state;
    struct probe p[3];
    probes_init(p, 3);
    p[0].cancels = &p[1];
    for (int i = 0; i < 3; i++)
        wheel_set(&wheel, &p[i].timer, 1100);
    wheel_advance(&wheel, 1200);
    assert_int_equal(nfired, 2);
    assert_int_equal(fired[0], 0);
    assert_int_equal(fired[1], 2);
    assert_int_equal(wheel.count, 0);
}

static void a_callback_may_move_one_due_in_the_same_slot(void **state)
{
    (void)state;
    struct probe p[3];
    probes_init(p, 3);
    p[0].sets = &p[1];
    p[0].sets_to = 1300;
    for (int i = 0; i < 3; i++)
        wheel_set(&wheel, &p[i].timer, 1100);
    wheel_advance(&wheel, 1200);
    assert_int_equal(nfired, 2);
    assert_int_equal(fired[1], 2);
    wheel_advance(&wheel, 1400);
    assert_int_equal(nfired, 3);
    assert_int_equal(fired[2], 1);
}

static void a_callback_may_set_itself_a_rotation_later(void **state)
{
    (void)state;
    struct probe p[1];
    probes_init(p, 1);
    p->sets = p;
    p->sets_to = 1120 + ROTATION_MS; /* the same slot */
    wheel_set(&wheel, &p->timer, 1120);
    wheel_advance(&wheel, 1120);
    assert_int_equal(nfired, 1);
    assert_int_equal(wheel.count, 1);
    p->sets = NULL;
    wheel_advance(&wheel, 1120 + ROTATION_MS - 1);
    assert_int_equal(nfired, 1);
    wheel_advance(&wheel, 1120 + ROTATION_MS);
    assert_int_equal(nfired, 2);
}

static void a_callback_that_sets_the_past_does_not_hang_the_advance(void **state)
{
    (void)state;
    struct probe p[1];
    probes_init(p, 1);
    p->sets = p;
    p->sets_to = 1;
    wheel_set(&wheel, &p->timer, 1120);
    wheel_advance(&wheel, 2000);
    assert_int_equal(nfired, 1);
    wheel_advance(&wheel, 2000);
    assert_int_equal(nfired, 2);
    wheel_advance(&wheel, 2000);
    assert_int_equal(nfired, 3);
    p->sets = NULL;
    wheel_advance(&wheel, 2000);
    assert_int_equal(nfired, 4);
    assert_int_equal(wheel.count, 0);
}

static void a_callback_may_set_one_that_is_due_within_the_advance(void **state)
{
    (void)state;
    struct probe p[3];
    probes_init(p, 3);
    p[0].sets = &p[1];
    p[0].sets_to = 1200;
    wheel_set(&wheel, &p[0].timer, 1100);
    wheel_set(&wheel, &p[2].timer, 1300);
    wheel_advance(&wheel, 1400);
    assert_int_equal(nfired, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fired[i], i);
}

static void time_that_goes_back_fires_nothing(void **state)
{
    (void)state;
    struct probe p[1];
    probes_init(p, 1);
    wheel_set(&wheel, &p->timer, 1100);
    wheel_advance(&wheel, 10);
    assert_int_equal(nfired, 0);
    assert_int_equal(wheel.now, 992);
    wheel_advance(&wheel, 1200);
    assert_int_equal(nfired, 1);
}

/* Against a plain table of deadlines, with a small generator (fixed seed). */
static void behaves_as_a_plain_table_does(void **state)
{
    (void)state;
    enum { N = 64 };
    struct probe p[N];
    uint64_t model[N] = {0};
    uint32_t seed = 7;
    uint64_t now = 1000;

    probes_init(p, N);
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1664525 + 1013904223;
        int i = (int)(seed >> 8) % N;
        unsigned what = (seed >> 20) % 8;
        if (what < 4) {
            model[i] = now + 1 + (seed >> 4) % (3 * ROTATION_MS);
            wheel_set(&wheel, &p[i].timer, model[i]);
        } else if (what < 6) {
            model[i] = 0;
            wheel_cancel(&wheel, &p[i].timer);
        } else {
            now += (seed >> 6) % 2000;
            nfired = 0;
            int due = 0;
            wheel_advance(&wheel, now);
            for (int j = 0; j < N; j++) {
                if (model[j] && wheel_tick(model[j]) <= now / WHEEL_TICK_MS) {
                    due++;
                    model[j] = 0;
                }
                assert_int_equal(p[j].timer.deadline, model[j]);
            }
            assert_int_equal(nfired, due);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fires_at_the_tick_after_the_deadline_never_early, start),
        cmocka_unit_test_setup(a_past_deadline_fires_at_the_next_advance, start),
        cmocka_unit_test_setup(order_is_by_ticks, start),
        cmocka_unit_test_setup(deadlines_beyond_a_rotation_wait_in_their_slot, start),
        cmocka_unit_test_setup(a_long_sleep_keeps_the_order_and_ends_quickly, start),
        cmocka_unit_test_setup(setting_again_moves, start),
        cmocka_unit_test_setup(cancelled_timers_stay_silent, start),
        cmocka_unit_test_setup(a_callback_may_cancel_one_due_in_the_same_slot, start),
        cmocka_unit_test_setup(a_callback_may_move_one_due_in_the_same_slot, start),
        cmocka_unit_test_setup(a_callback_may_set_itself_a_rotation_later, start),
        cmocka_unit_test_setup(a_callback_that_sets_the_past_does_not_hang_the_advance, start),
        cmocka_unit_test_setup(a_callback_may_set_one_that_is_due_within_the_advance, start),
        cmocka_unit_test_setup(time_that_goes_back_fires_nothing, start),
        cmocka_unit_test_setup(behaves_as_a_plain_table_does, start),
    };
    return unit_run(tests);
}
