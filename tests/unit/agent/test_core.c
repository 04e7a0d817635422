#include "tests/unit/agent/agent.h"

static int change(struct core *c, struct change ch, struct err *e)
{
    uint64_t epoch = 0;
    if (!ch.who)
        ch.who = "uid 1000";
    if (!ch.why)
        ch.why = "";
    *e = (struct err){0};
    int r = core_change(c, &ch, &epoch, e);
    if (r == 0)
        assert_int_equal(epoch, history_epoch(core_history(c)));
    return r;
}

static void files_and_commands_become_epochs_that_outlive_a_restart(void **state)
{
    struct err e;
    (void)state;
    write_text("graph.yaml", SHOP);
    struct core *c = core_open();
    assert_null(core_active(c));
    assert_int_equal(core_reload(c, "start", &e), 0);
    assert_int_equal(core_reload(c, "start", &e), -EALREADY);
    const char *cart[] = {"cart=10.0.0.1:80"};
    struct change create = {
        .kind = CHANGE_CREATE, .name = "feat-42", .provides = cart, .nprovides = 1};
    if (change(c, create, &e))
        fail_msg("%s", e.text);
    assert_string_equal(where(core_active(c), "feat-42", "cart"), "10.0.0.1:80");
    assert_string_equal(where(core_active(c), "feat-42", "pricing"), "10.1.0.6:80");
    assert_int_equal(change(c, create, &e), -EALREADY);
    assert_int_equal(told.epoch, 2);
    core_free(c);
    c = core_open();
    assert_int_equal(snapshot_epoch(core_active(c)), 2);
    assert_string_equal(where(core_active(c), "feat-42", "cart"), "10.0.0.1:80");
    if (core_reload(c, "start", &e) != -EALREADY)
        fail_msg("%s", e.text);
    assert_int_equal(core_own_count(c), 1);
    struct change delete = {.kind = CHANGE_DELETE, .name = "feat-42"};
    assert_int_equal(change(c, delete, &e), 0);
    assert_string_equal(where(core_active(c), "feat-42", "cart"), "unknown-environment");
    struct change back = {.kind = CHANGE_ROLLBACK, .epoch = 2};
    if (change(c, back, &e))
        fail_msg("%s", e.text);
    assert_true(core_held(c));
    assert_string_equal(where(core_active(c), "feat-42", "cart"), "10.0.0.1:80");
    assert_int_equal(change(c, delete, &e), -EBUSY);
    assert_int_equal(core_reload(c, "files", &e), -EBUSY);
    struct change resume = {.kind = CHANGE_RESUME};
    if (change(c, resume, &e))
        fail_msg("%s", e.text);
    assert_false(core_held(c));
    assert_string_equal(where(core_active(c), "feat-42", "cart"), "unknown-environment");
    core_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            files_and_commands_become_epochs_that_outlive_a_restart, make_dir, remove_dir),
    };
    return unit_run(tests);
}
