/* The epochs that a proxy holds, as the control thread sees them: one worker, without a thread. */
#include "lib/base/mem.h"
#include "proxy/control.h"
#include "proxy/epochs.h"
#include "tests/loop/loop.h"
#include <errno.h>

static struct loop l;
static struct control c;
static struct snapshot *base; /* newest made; a reference */
static uint64_t done_epoch;

static void start(void)
{
    loop_start(&l, NULL, NULL);
    memset(&c, 0, sizeof c);
    c.magic = CONTROL_MAGIC;
    c.set = &l.set;
    c.workers = &l.w;
    c.readers = l.reader;
    c.nworkers = 1;
    base = (struct snapshot *)(uintptr_t)l.slots.table.held[0].snapshot;
    snapshot_ref(base);
    done_epoch = 0;
}

static void stop(void)
{
    snapshot_unref(base);
    slots_release(&c.epochs.slots);
    loop_stop(&l);
}

/* A new snapshot that differs from the one before in one endpoint. */
static struct snapshot *make(uint64_t epoch)
{
    char text[1024];
    snprintf(text, sizeof text,
        LOOP_SERVICE("cart", "") LOOP_CART("\"127.0.0.1:%u\"") LOOP_GATEWAY(""),
        (unsigned)(10000 + epoch));
    struct snapshot *s = loop_compile(text, base, epoch);
    snapshot_unref(base);
    base = s;
    snapshot_ref(s);
    return s;
}

static int stage(uint64_t epoch)
{
    struct err e = {0};
    struct snapshot *s = make(epoch);
    int rc = epochs_stage(&c, s, &e);
    if (rc != 0)
        snapshot_unref(s);
    return rc;
}

static void on_done(void *arg, uint64_t epoch)
{
    assert_ptr_equal(arg, &c);
    done_epoch = epoch;
}

static int activate(uint64_t epoch)
{
    return epochs_activate(&c, epoch, on_done, &c);
}

static void assert_held(unsigned n, const uint64_t *epochs)
{
    struct snapshot *got[EPOCHS_HELD];
    assert_int_equal(epochs_held(&c, got), n);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(snapshot_epoch(got[i]), epochs[i]);
}

static void staged_then_active_then_retired(void **state)
{
    (void)state;
    start();
    assert_int_equal(stage(2), 0);
    assert_null(c.active);
    assert_int_equal(activate(2), 0);
    assert_int_equal(done_epoch, 2);
    assert_int_equal(stage(3), 0);
    assert_int_equal(snapshot_epoch(c.active), 2);
    assert_int_equal(snapshot_epoch(l.w.slots.current), 2);
    assert_int_equal(activate(3), 0);
    assert_int_equal(snapshot_epoch(l.w.slots.current), 3);
    assert_held(2, (const uint64_t[]){2, 3});
    assert_int_equal(epochs_retire(&c, 2), 0);
    assert_held(1, (const uint64_t[]){3});
    assert_true(epochs_collect(&c));
    assert_int_equal(slots_used(&c.epochs.slots), 1);
    stop();
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    start();
    assert_int_equal(stage(2), 0);
    assert_int_equal(activate(7), -ENOENT);
    assert_int_equal(activate(2), 0);
    assert_int_equal(activate(2), -ESTALE);
    assert_int_equal(stage(3), 0);
    assert_int_equal(stage(4), 0);
    assert_int_equal(activate(4), 0);
    assert_int_equal(activate(3), -ESTALE);
    assert_int_equal(epochs_retire(&c, 4), -EBUSY);
    assert_int_equal(epochs_retire(&c, 9), -ENOENT);
    stop();
}

static void a_ninth_epoch_retires_the_oldest_that_is_not_active(void **state)
{
    (void)state;
    start();
    assert_int_equal(stage(2), 0);
    assert_int_equal(activate(2), 0);
    for (uint64_t e = 3; e <= 9; e++)
        assert_int_equal(stage(e), 0);
    assert_int_equal(counter_get(&c.stats[STAT_EPOCHS_RETIRED_EARLY]), 0);
    assert_int_equal(stage(10), 0);
    assert_held(8, (const uint64_t[]){2, 4, 5, 6, 7, 8, 9, 10});
    assert_int_equal(counter_get(&c.stats[STAT_EPOCHS_RETIRED_EARLY]), 1);
    assert_int_equal(activate(10), 0);
    assert_int_equal(stage(11), 0);
    assert_held(8, (const uint64_t[]){4, 5, 6, 7, 8, 9, 10, 11});
    stop();
}

static void with_every_slot_in_use_a_stage_is_told_to_wait(void **state)
{
    (void)state;
    start();
    uint64_t e = 2;
    for (; e < 2 + SLOTS; e++) { /* a request holds each */
        assert_int_equal(stage(e), 0);
        assert_int_equal(activate(e), 0);
        slot_hold(&l.w.slots, l.w.slots.slot);
    }
    assert_int_equal(stage(e), -EBUSY);
    assert_int_equal(snapshot_epoch(c.active), e - 1);
    for (unsigned i = 0; i < SLOTS; i++)
        slot_drop(&l.w.slots, i);
    assert_true(epochs_collect(&c));
    assert_int_equal(stage(e + 1), 0);
    stop();
}

static void more_activations_than_may_wait_for_a_busy_worker_are_done_with_the_newest(void **state)
{
    (void)state;
    start();
    assert_int_equal(stage(2), 0);
    assert_int_equal(activate(2), 0);
    struct slot_reader busy = {0}; /* has taken nothing since */
    struct slot_reader *readers[] = {&busy};
    atomic_store(&busy.acked, c.epochs.slots.serial);
    c.readers = readers;
    done_epoch = 0;
    for (uint64_t e = 3; e < 3 + EPOCHS_HELD + 4; e++) {
        assert_int_equal(epochs_joins(&c), e >= 3 + EPOCHS_HELD);
        assert_int_equal(stage(e), 0);
        assert_int_equal(activate(e), 0);
        assert_int_equal(snapshot_epoch(c.active), e);
    }
    assert_int_equal(activate(7), -ESTALE);
    assert_int_equal(done_epoch, 0);
    atomic_store(&busy.acked, c.epochs.slots.serial);
    epochs_collect(&c);
    assert_int_equal(done_epoch, 3 + EPOCHS_HELD + 3);
    assert_false(epochs_joins(&c));
    c.readers = l.reader;
    stop();
}

static void a_new_history_replaces_the_old_one_whatever_its_numbers(void **state)
{
    (void)state;
    start();
    assert_int_equal(stage(50), 0);
    assert_int_equal(activate(50), 0);
    epochs_new_history(&c);
    assert_held(0, NULL);
    assert_int_equal(stage(3), 0);
    assert_null(epochs_find(&c, 50));
    assert_int_equal(snapshot_epoch(l.w.slots.current), 50);
    assert_int_equal(activate(3), 0);
    assert_int_equal(snapshot_epoch(l.w.slots.current), 3);
    assert_int_equal(l.w.slots.table.n, 1);
    assert_held(1, (const uint64_t[]){3});
    stop();
}

static void a_graph_without_a_gateway_is_not_staged(void **state)
{
    (void)state;
    struct err e = {0};
    start();
    struct snapshot *s =
        loop_compile(LOOP_SERVICE("cart", "") LOOP_CART("\"127.0.0.1:9\""), NULL, 2);
    assert_int_equal(epochs_stage(&c, s, &e), -EINVAL);
    assert_non_null(strstr(e.text, "no Gateway"));
    snapshot_unref(s);
    stop();
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    start();
    assert_int_equal(stage(2), 0);
    assert_int_equal(activate(2), 0);
    struct err e = {0};
    struct snapshot *s = make(3);
    for (unsigned long n = 1;; n++) {
        mem_fail_nth(n);
        int rc = epochs_stage(&c, s, &e);
        mem_fail_nth(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, -ENOMEM);
        assert_held(1, (const uint64_t[]){2});
    }
    for (unsigned long n = 1;; n++) {
        mem_fail_nth(n);
        int rc = activate(3);
        mem_fail_nth(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, -ENOMEM);
        assert_int_equal(snapshot_epoch(c.active), 2);
        assert_int_equal(snapshot_epoch(l.w.slots.current), 2);
    }
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(staged_then_active_then_retired),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(a_ninth_epoch_retires_the_oldest_that_is_not_active),
        cmocka_unit_test(with_every_slot_in_use_a_stage_is_told_to_wait),
        cmocka_unit_test(more_activations_than_may_wait_for_a_busy_worker_are_done_with_the_newest),
        cmocka_unit_test(a_new_history_replaces_the_old_one_whatever_its_numbers),
        cmocka_unit_test(a_graph_without_a_gateway_is_not_staged),
        cmocka_unit_test(without_memory_nothing_changes),
    };
    return unit_run(tests);
}
