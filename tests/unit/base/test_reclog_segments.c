#include "lib/base/reclog.h"

#include "tests/unit/base/reclog_fixture.h"

/* ---- rotation ------------------------------------------------------------------------------- */

static struct reclog *open_rotating(uint32_t keep)
{
    return open_with((struct reclog_options){KIND, 16 + 2 * 15, keep}, NULL);
}

static void a_full_segment_is_put_aside(void **state)
{
    (void)state;
    struct reclog *l = open_rotating(0);
    put(l, 1, "one");
    put(l, 2, "two");
    assert_false(exists("log.000001"));
    put(l, 3, "tri");
    assert_true(exists("log.000001"));
    assert_int_equal(size_of("log"), 31);
    put(l, 4, "a record larger than the segment is a segment of its own");
    put(l, 5, "fiv");
    assert_true(exists("log.000003"));
    assert_false(exists("log.000004"));
    assert_false(exists("log.new"));
    holds(l, "1:one,2:two,3:tri,4:a record larger than the segment is a segment of its own,5:fiv,");
    assert_int_equal(reclog_bytes(l),
        size_of("log") + size_of("log.000001") + size_of("log.000002") + size_of("log.000003"));
    reclog_close(l);
    l = open_rotating(0);
    put(l, 6, "six");
    put(l, 7, "sev");
    assert_true(exists("log.000004"));
    holds(l, "1:one,2:two,3:tri,4:a record larger than the segment is a segment of its own,5:fiv,"
             "6:six,7:sev,");
    reclog_close(l);
}

static void the_oldest_segments_are_dropped(void **state)
{
    (void)state;
    struct reclog *l = open_rotating(2);
    for (uint32_t i = 1; i <= 9; i++)
        put(l, i, "abc");
    assert_false(exists("log.000002"));
    assert_true(exists("log.000003"));
    assert_true(exists("log.000004"));
    holds(l, "5:abc,6:abc,7:abc,8:abc,9:abc,");
    reclog_close(l);
}

static void a_crash_between_the_renames_loses_nothing(void **state)
{
    (void)state;
    struct reclog *l = open_rotating(0);
    for (uint32_t i = 1; i <= 3; i++)
        put(l, i, "abc");
    reclog_close(l);
    char from[128], to[128];
    strcpy(from, path_of("log"));
    strcpy(to, path_of("log.000002"));
    assert_int_equal(rename(from, to), 0);
    write_file("log.new", STR("OFFSHOOT"));
    l = open_rotating(0);
    assert_false(exists("log.new"));
    holds(l, "1:abc,2:abc,3:abc,");
    put(l, 4, "abc");
    reclog_close(l);
}

static void other_files_are_no_segments(void **state)
{
    (void)state;
    write_file("log.1", STR("x"));
    write_file("log.00001x", STR("x"));
    write_file("log.0000012", STR("x"));
    write_file("log.000000", STR("x"));
    write_file("logs.000001", STR("x"));
    assert_int_equal(mkdir(path_of("log.000007"), 0700), 0);
    struct reclog *l = open_log(NULL);
    assert_int_equal(reclog_bytes(l), 16);
    holds(l, "");
    reclog_close(l);
}

static void damage_in_a_full_segment_is_told(void **state)
{
    (void)state;
    struct text t = {0};
    struct err e = {0};
    char bytes[64], expected[200];
    struct reclog *l = open_rotating(0);
    for (uint32_t i = 1; i <= 3; i++)
        put(l, i, "abc");
    size_t n = read_file("log.000001", bytes, sizeof(bytes));
    bytes[n - 1] ^= 1;
    write_file("log.000001", str_of(bytes, n));
    assert_int_equal(reclog_read(l, add_to_text, &t, &e), -EBADMSG);
    assert_string_equal(t.p, "1:abc,");
    snprintf(
        expected, sizeof(expected), "damaged record at byte 31 of '%s'", path_of("log.000001"));
    assert_string_equal(e.text, expected);
    unlink(path_of("log.000001"));
    assert_int_equal(reclog_read(l, add_to_text, &t, &e), -ENOENT);
    snprintf(expected, sizeof(expected), "cannot open '%s': No such file or directory",
        path_of("log.000001"));
    assert_string_equal(e.text, expected);
    text_release(&t);
    reclog_close(l);
}

static void a_rotation_that_fails_leaves_the_log_sound(void **state)
{
    (void)state;
    struct err e = {0};
    struct reclog *l = open_rotating(0);
    put(l, 1, "one");
    put(l, 2, "two");
    disk_ends_at(8); /* not even a header */
    assert_int_equal(reclog_append(l, 3, STR("tri"), &e), -EFBIG);
    disk_ends_at(RLIM_INFINITY);
    assert_non_null(strstr(e.text, "cannot rotate"));
    assert_non_null(strstr(e.text, path_of("log")));
    assert_false(exists("log.new"));
    assert_false(exists("log.000001"));
    holds(l, "1:one,2:two,");
    put(l, 3, "tri");
    holds(l, "1:one,2:two,3:tri,");
    reclog_close(l);
}

/* ---- compaction ----------------------------------------------------------------------------- */

struct compacting {
    struct reclog *old;
    int rc;      /* to return */
    rlim_t disk; /* 0: no limit */
};

static int keep_even(void *arg, uint32_t type, struct str payload)
{
    struct err e;
    return type % 2 ? 0 : reclog_append(arg, type, payload, &e);
}

static int write_even(void *arg, struct reclog *fresh)
{
    struct compacting *c = arg;
    struct err e;
    if (c->disk)
        disk_ends_at(c->disk);
    int rc = reclog_read(c->old, keep_even, fresh, &e);
    disk_ends_at(RLIM_INFINITY);
    return c->disk ? 0 : rc ? rc : c->rc;
}

static void compaction_replaces_everything(void **state)
{
    (void)state;
    struct err e = {0};
    struct reclog_recovery r;
    struct reclog *l = open_rotating(0);
    for (uint32_t i = 1; i <= 5; i++)
        put(l, i, "abc");
    struct compacting c = {.old = l};
    assert_int_equal(reclog_compact(l, write_even, &c, &e), 0);
    assert_false(exists("log.000001"));
    assert_false(exists("log.000002"));
    assert_false(exists("log.new"));
    holds(l, "2:abc,4:abc,");
    put(l, 6, "abc");
    reclog_close(l);
    l = open_with((struct reclog_options){KIND, 46, 0}, &r);
    assert_int_equal(r.records, 1); /* 6: the compacted log was full at once */
    holds(l, "2:abc,4:abc,6:abc,");
    assert_true(exists("log.000003")); /* numbers are not used again */
    reclog_close(l);
}

static void a_crash_after_compaction_brings_nothing_back(void **state)
{
    (void)state;
    struct err e = {0};
    char first[64];
    struct reclog *l = open_rotating(0);
    for (uint32_t i = 1; i <= 3; i++)
        put(l, i, "abc");
    size_t n = read_file("log.000001", first, sizeof(first));
    struct compacting c = {.old = l};
    assert_int_equal(reclog_compact(l, write_even, &c, &e), 0);
    reclog_close(l);
    write_file("log.000001", str_of(first, n)); /* as if it had not been removed yet */
    l = open_rotating(0);
    assert_false(exists("log.000001"));
    holds(l, "2:abc,");
    reclog_close(l);
}

static void a_compaction_given_up_changes_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct reclog *l = open_rotating(0);
    for (uint32_t i = 1; i <= 5; i++)
        put(l, i, "abc");
    struct compacting c = {.old = l, .rc = 17};
    assert_int_equal(reclog_compact(l, write_even, &c, &e), 17);
    c.disk = 40; /* the writer does not look at the result of its appends */
    assert_int_equal(reclog_compact(l, write_even, &c, &e), -EIO);
    assert_non_null(strstr(e.text, path_of("log")));
    assert_false(exists("log.new"));
    holds(l, "1:abc,2:abc,3:abc,4:abc,5:abc,");
    put(l, 6, "abc");
    reclog_close(l);
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN);
    const struct CMUnitTest tests[] = {
        IN_DIR(a_full_segment_is_put_aside),
        IN_DIR(the_oldest_segments_are_dropped),
        IN_DIR(a_crash_between_the_renames_loses_nothing),
        IN_DIR(other_files_are_no_segments),
        IN_DIR(damage_in_a_full_segment_is_told),
        IN_DIR(a_rotation_that_fails_leaves_the_log_sound),
        IN_DIR(compaction_replaces_everything),
        IN_DIR(a_crash_after_compaction_brings_nothing_back),
        IN_DIR(a_compaction_given_up_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
