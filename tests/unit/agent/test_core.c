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

static struct change create_of(const char *name)
{
    static const char *const cart[] = {"cart=10.0.0.1:80"};
    return (struct change){.kind = CHANGE_CREATE, .name = name, .provides = cart, .nprovides = 1};
}

static void must(struct core *c, struct change ch)
{
    struct err e;
    if (change(c, ch, &e))
        fail_msg("%s", e.text);
}

/* Refused with this code and a text that holds this, and nothing is other than before. */
static void refused(struct core *c, struct change ch, int code, const char *text)
{
    struct err e;
    uint64_t epoch = history_epoch(core_history(c));
    size_t own = core_own_count(c), errors = core_errors(c);
    bool valid = core_valid(c);
    struct text before = {0}, after = {0};
    core_findings(c, false, &before);
    int r = change(c, ch, &e);
    if (r != code || !strstr(e.text, text))
        fail_msg("%d: '%s' lacks '%s'", r, e.text, text);
    core_findings(c, false, &after);
    assert_int_equal(history_epoch(core_history(c)), epoch);
    assert_int_equal(core_own_count(c), own);
    assert_int_equal(core_errors(c), errors);
    assert_int_equal(core_valid(c), valid);
    assert_string_equal(before.p ? before.p : "", after.p ? after.p : "");
    text_release(&before);
    text_release(&after);
}

static struct core *core_of(const char *graph)
{
    struct err e = {0};
    write_text("graph.yaml", graph);
    struct core *c = core_open();
    if (core_reload(c, "start", &e))
        fail_msg("%s", e.text);
    return c;
}

static void create_is_idempotent_and_names_what_is_in_the_way(void **state)
{
    (void)state;
    struct core *c = core_of(SHOP TEAM);
    struct change ch = create_of("feat");
    ch.life_s = 3600;
    must(c, ch);
    the_time += 100;
    refused(c, ch, -EALREADY, "exists as asked for");
    ch.strict = true;
    refused(c, ch, -EEXIST, "another content");
    refused(c, create_of("team"), -EEXIST, "graph.yaml:22");
    ch = create_of("other");
    ch.parents = (const char *const[]){"nobody"};
    ch.nparents = 1;
    refused(c, ch, -EINVAL, "command:other:");
    refused(c, ch, -EINVAL, "unknown-parent");
    ch = create_of("other");
    ch.removes = (const char *const[]){"nothing"};
    ch.nremoves = 1;
    refused(c, ch, -EINVAL, "unknown-service");
    ch.why = (char[]){'\xff', 0};
    refused(c, ch, -EINVAL, "bad reason");
    /* What expired counts as gone. */
    the_time += 3600;
    must(c, create_of("feat"));
    assert_string_equal(where(core_active(c), "feat", "cart"), "10.0.0.1:80");
    core_free(c);
}

static void set_extend_and_delete_change_what_a_command_made(void **state)
{
    (void)state;
    struct core *c = core_of(SHOP TEAM);
    struct change ch = create_of("feat"), set = {.kind = CHANGE_SET, .name = "feat"};
    struct change extend = {.kind = CHANGE_EXTEND, .name = "feat", .life_s = 100};
    struct change delete = {.kind = CHANGE_DELETE, .name = "feat"};
    refused(c, delete, -ENOENT, "no environment 'feat'");
    ch.life_s = 50;
    must(c, ch);
    set.drops = (const char *const[]){"cart"};
    set.ndrops = 1;
    set.removes = (const char *const[]){"pricing"};
    set.nremoves = 1;
    must(c, set);
    assert_string_equal(where(core_active(c), "feat", "cart"), "10.1.0.5:80");
    assert_string_equal(where(core_active(c), "feat", "pricing"), "removed");
    the_time += 60;
    assert_string_equal(where(core_active(c), "feat", "cart"), "expired");
    must(c, extend); /* expired, but still kept */
    assert_string_equal(where(core_active(c), "feat", "cart"), "10.1.0.5:80");
    refused(c, extend, -EALREADY, "nothing differs");
    extend.name = "feet";
    refused(c, extend, -ENOENT, "did you mean 'feat'?");
    delete.name = "team";
    refused(c, delete, -EPERM, "graph.yaml:22");
    delete.name = "feat";
    must(c, delete);
    assert_int_equal(core_own_count(c), 0);
    const struct epoch_info *i = history_find(core_history(c), history_epoch(core_history(c)));
    assert_int_equal(i->kind, CHANGE_DELETE);
    assert_string_equal(i->who, "uid 1000");
    assert_string_equal(i->what, "feat");
    assert_int_equal(i->changes.envs_removed, 1);
    core_free(c);
}

static void an_environment_that_others_stand_on_stays(void **state)
{
    (void)state;
    struct core *c = core_of(SHOP);
    must(c, create_of("below"));
    struct change ch = create_of("above");
    ch.parents = (const char *const[]){"below"};
    ch.nparents = 1;
    must(c, ch);
    struct change delete = {.kind = CHANGE_DELETE, .name = "below"};
    refused(c, delete, -EINVAL, "command:above:");
    delete.name = "above";
    must(c, delete);
    delete.name = "below";
    must(c, delete);
    core_free(c);
}

static void invalid_files_refuse_commands_and_are_named(void **state)
{
    struct err e;
    (void)state;
    struct core *c = core_of(SHOP);
    write_text("graph.yaml", SHOP "---\nkind: Nonsense\n");
    assert_int_equal(core_reload(c, "files", &e), -EINVAL);
    assert_false(core_valid(c));
    refused(c, create_of("feat"), -EINVAL, "the graph files are not valid");
    refused(c, create_of("feat"), -EINVAL, "graph.yaml:");
    assert_int_equal(snapshot_epoch(core_active(c)), 1);
    /* Back to what it was: commands work, and compile the files as they are now. */
    write_text("graph.yaml", SHOP TEAM);
    must(c, create_of("feat"));
    assert_string_equal(where(core_active(c), "team", "cart"), "10.1.7.5:80");
    assert_true(core_valid(c));
    assert_int_equal(core_reload(c, "files", &e), -EALREADY);
    /* The name comes into the files later: the files are told, the active graph stays. */
    write_text("graph.yaml",
        SHOP "---\nkind: Environment\nmetadata: {name: feat}\nspec: {mode: overlay, parent: "
             "main}\n");
    assert_int_equal(core_reload(c, "files", &e), -EINVAL);
    assert_non_null(strstr(e.text, "duplicate"));
    assert_int_equal(snapshot_epoch(core_active(c)), 2);
    core_free(c);
}

static void limits_are_held(void **state)
{
    const char *paths[1];
    struct err e;
    (void)state;
    write_text("graph.yaml", SHOP);
    struct core_options o = core_options_of(paths);
    o.own_max = 2;
    o.own_life_s = 100;
    struct core *c = core_new(&o, &e);
    assert_non_null(c);
    assert_int_equal(core_reload(c, "start", &e), 0);
    must(c, create_of("a"));
    must(c, create_of("b"));
    refused(c, create_of("c"), -ENOSPC, "the limit is 2");
    struct change ch = {.kind = CHANGE_EXTEND, .name = "a", .life_s = 101};
    refused(c, ch, -EINVAL, "over the limit");
    core_free(c);
}

static void what_expired_is_kept_a_while_and_then_taken_away(void **state)
{
    (void)state;
    struct core *c = core_of(SHOP);
    struct change ch = create_of("a");
    ch.life_s = 100;
    must(c, ch);
    ch.name = "b";
    must(c, ch);
    ch.name = "stays";
    ch.life_s = 0;
    must(c, ch);
    uint32_t next = core_tick(c);
    assert_true(next > 1 && next <= 3600);
    the_time += 100 + 3599;
    assert_int_equal(core_tick(c), 1);
    assert_int_equal(core_own_count(c), 3);
    assert_string_equal(where(core_active(c), "a", "cart"), "expired");
    the_time += 1;
    core_tick(c);
    assert_int_equal(core_own_count(c), 1);
    assert_true(core_is_own(c, "stays"));
    assert_int_equal(told.kind, CHANGE_EXPIRY);
    core_free(c);
}

static void what_expired_below_others_waits_for_them(void **state)
{
    (void)state;
    struct core *c = core_of(SHOP);
    struct change ch = create_of("below");
    ch.life_s = 100;
    must(c, ch);
    ch.name = "alone";
    must(c, ch);
    ch = create_of("above");
    ch.parents = (const char *const[]){"below"};
    ch.nparents = 1;
    must(c, ch);
    the_time += 100 + 3600;
    core_tick(c);
    assert_false(core_is_own(c, "alone"));
    assert_true(core_is_own(c, "below"));
    assert_int_equal(core_own_stuck(c), 1);
    uint64_t epoch = history_epoch(core_history(c));
    assert_true(core_tick(c) > 1);
    assert_int_equal(history_epoch(core_history(c)), epoch);
    ch = (struct change){.kind = CHANGE_DELETE, .name = "above"};
    must(c, ch);
    the_time += 60;
    core_tick(c);
    assert_int_equal(core_own_count(c), 0);
    assert_int_equal(core_own_stuck(c), 0);
    core_free(c);
}

static void a_rollback_holds_across_a_restart_until_resume(void **state)
{
    struct err e;
    (void)state;
    struct core *c = core_of(SHOP);
    must(c, create_of("feat"));
    struct change back = {.kind = CHANGE_ROLLBACK, .epoch = 1}, resume = {.kind = CHANGE_RESUME};
    refused(c, resume, -EALREADY, "nothing is held");
    must(c, back);
    assert_true(told.held);
    refused(c, create_of("b"), -EBUSY, "graph resume");
    refused(c, back, -EALREADY, "active and held");
    struct change later = create_of("later");
    later.while_held = true;
    must(c, later);
    assert_true(told.held);
    assert_string_equal(where(core_active(c), "later", "cart"), "unknown-environment");
    assert_int_equal(core_own_count(c), 2);
    write_text("graph.yaml", SHOP TEAM);
    assert_int_equal(core_reload(c, "files", &e), -EBUSY);
    assert_non_null(strstr(e.text, "graph resume"));
    assert_true(core_valid(c));
    core_free(c);
    c = core_open();
    assert_true(core_held(c));
    assert_int_equal(core_own_count(c), 2);
    assert_int_equal(core_reload(c, "start", &e), -EBUSY);
    assert_string_equal(where(core_active(c), "feat", "cart"), "unknown-environment");
    back.epoch = 2; /* another one, still held */
    must(c, back);
    assert_string_equal(where(core_active(c), "feat", "cart"), "10.0.0.1:80");
    back.epoch = 77;
    refused(c, back, -ENOENT, "epoch 77 is not kept");
    write_text("graph.yaml", "nonsense");
    struct err first;
    assert_int_equal(change(c, resume, &first), -EINVAL);
    assert_non_null(strstr(first.text, "still held"));
    write_text("graph.yaml", SHOP TEAM);
    must(c, resume);
    assert_false(core_held(c));
    assert_string_equal(where(core_active(c), "team", "cart"), "10.1.7.5:80");
    assert_string_equal(where(core_active(c), "later", "cart"), "10.0.0.1:80");
    core_free(c);
    c = core_open();
    assert_false(core_held(c));
    assert_int_equal(core_reload(c, "start", &e), -EALREADY);
    core_free(c);
}

static void a_rollback_to_what_is_active_holds_and_resume_ends_it(void **state)
{
    struct err e;
    (void)state;
    struct core *c = core_of(SHOP);
    struct change back = {.kind = CHANGE_ROLLBACK, .epoch = 1}, resume = {.kind = CHANGE_RESUME};
    must(c, back);
    assert_true(core_held(c));
    assert_int_equal(history_epoch(core_history(c)), 2);
    must(c, resume);
    assert_int_equal(history_epoch(core_history(c)), 3);
    core_free(c);
    c = core_open();
    assert_false(core_held(c));
    assert_int_equal(core_reload(c, "start", &e), -EALREADY);
    core_free(c);
}

static void the_logs_graph_is_active_without_files(void **state)
{
    struct err e;
    (void)state;
    struct core *c = core_of(SHOP);
    core_free(c);
    unlink(path_of("graph.yaml"));
    c = core_open();
    assert_string_equal(where(core_active(c), "main", "cart"), "10.1.0.5:80");
    assert_int_equal(core_reload(c, "start", &e), -EINVAL);
    assert_non_null(core_active(c));
    core_free(c);
    unlink(path_of("graph.log"));
    c = core_open();
    assert_null(core_active(c));
    assert_int_equal(core_reload(c, "start", &e), -EINVAL);
    assert_null(core_active(c));
    refused(c, create_of("a"), -EINVAL, "there is no baseline");
    core_free(c);
}

static void time_never_goes_back_in_the_log(void **state)
{
    (void)state;
    struct core *c = core_of(SHOP);
    the_time -= 1000;
    must(c, create_of("a"));
    the_time += 5000;
    must(c, create_of("b"));
    assert_int_equal(history_at(core_history(c), 0)->time, history_at(core_history(c), 1)->time);
    assert_int_equal(history_at(core_history(c), 2)->time, the_time);
    core_free(c);
}

/* A command with the nth allocation failing, again and again until it works. */
static void until_it_works(struct core *c, struct change ch)
{
    int r = -ENOMEM;
    for (unsigned long nth = 1; r; nth++) {
        struct err e;
        uint64_t epoch = history_epoch(core_history(c));
        size_t own = core_own_count(c);
        mem_fail_nth(nth);
        r = change(c, ch, &e);
        mem_fail_nth(0);
        if (r != 0 && r != -ENOMEM && r != -EINVAL)
            fail_msg("%d: %s", r, e.text);
        if (r == 0)
            break;
        assert_int_equal(history_epoch(core_history(c)), epoch);
        assert_int_equal(core_own_count(c), own);
        assert_true(nth < 5000);
    }
}

static void every_failed_allocation_changes_nothing(void **state)
{
    (void)state;
    struct core *c = core_of(SHOP TEAM);
    struct change ch = create_of("feat");
    until_it_works(c, ch);
    ch = (struct change){.kind = CHANGE_SET,
        .name = "feat",
        .uses = (const char *const[]){"pricing=main"},
        .nuses = 1};
    until_it_works(c, ch);
    until_it_works(c, (struct change){.kind = CHANGE_EXTEND, .name = "feat", .life_s = 9});
    until_it_works(c, (struct change){.kind = CHANGE_ROLLBACK, .epoch = 1});
    until_it_works(c, (struct change){.kind = CHANGE_RESUME});
    until_it_works(c, (struct change){.kind = CHANGE_DELETE, .name = "feat"});
    assert_int_equal(history_epoch(core_history(c)), 7);
    core_free(c);
    const char *paths[1];
    struct core_options o = core_options_of(paths);
    c = NULL;
    for (unsigned long nth = 1; !c; nth++) {
        struct err e = {0};
        mem_fail_nth(nth);
        c = core_new(&o, &e);
        mem_fail_nth(0);
        assert_true(c || e.code == -ENOMEM);
    }
    assert_int_equal(snapshot_epoch(core_active(c)), 7);
    core_free(c);
}

int main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(files_and_commands_become_epochs_that_outlive_a_restart),
        IN_FOLDER(create_is_idempotent_and_names_what_is_in_the_way),
        IN_FOLDER(set_extend_and_delete_change_what_a_command_made),
        IN_FOLDER(an_environment_that_others_stand_on_stays),
        IN_FOLDER(invalid_files_refuse_commands_and_are_named),
        IN_FOLDER(limits_are_held),
        IN_FOLDER(what_expired_is_kept_a_while_and_then_taken_away),
        IN_FOLDER(what_expired_below_others_waits_for_them),
        IN_FOLDER(a_rollback_holds_across_a_restart_until_resume),
        IN_FOLDER(a_rollback_to_what_is_active_holds_and_resume_ends_it),
        IN_FOLDER(the_logs_graph_is_active_without_files),
        IN_FOLDER(time_never_goes_back_in_the_log),
        IN_FOLDER(every_failed_allocation_changes_nothing),
    };
    return unit_run(tests);
}
