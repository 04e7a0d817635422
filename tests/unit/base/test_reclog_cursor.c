/* A record log rotated by its owner, and followed by another. */
#include "lib/base/reclog.h"

#include "tests/unit/base/reclog_fixture.h"

/* ---- rotation by the owner ---- */

static struct err err;

static int begin_with_sums(void *arg, struct reclog *fresh)
{
    return reclog_append(fresh, 9, str_c(arg), &err);
}

static int begin_and_fail(void *arg, struct reclog *fresh)
{
    (void)begin_with_sums(arg, fresh);
    return err_set(&err, -ENOSPC, "no sums");
}

static void a_new_segment_begins_with_what_its_owner_writes(void **state)
{
    (void)state;
    struct reclog *l = open_with((struct reclog_options){.kind = KIND, .keep_segments = 1}, NULL);
    put(l, 1, "one");
    assert_int_equal(reclog_rotate(l, begin_with_sums, (char[]){"first"}, &err), 0);
    put(l, 2, "two");
    assert_int_equal(size_of("log.000001"), 16 + 15);
    assert_int_equal(reclog_newest_bytes(l), size_of("log"));
    holds(l, "1:one,9:first,2:two,");
    assert_int_equal(reclog_rotate(l, begin_with_sums, (char[]){"second"}, &err), 0);
    assert_false(exists("log.000001"));
    holds(l, "9:first,2:two,9:second,");
    reclog_close(l);
    l = open_log(NULL);
    holds(l, "9:first,2:two,9:second,");
    reclog_close(l);
}

static void a_rotation_without_its_beginning_does_not_happen(void **state)
{
    (void)state;
    struct reclog *l = open_log(NULL);
    put(l, 1, "one");
    assert_int_equal(reclog_rotate(l, begin_and_fail, (char[]){"sums"}, &err), -ENOSPC);
    assert_string_equal(err.text, "no sums");
    assert_false(exists("log.000001"));
    assert_false(exists("log.new"));
    put(l, 2, "two");
    holds(l, "1:one,2:two,");
    reclog_close(l);
}

static void a_full_disk_while_the_beginning_is_written_leaves_the_old_segment(void **state)
{
    (void)state;
    struct reclog *l = open_log(NULL);
    put(l, 1, "one");
    signal(SIGXFSZ, SIG_IGN);
    disk_ends_at(20);
    assert_true(reclog_rotate(l, begin_with_sums, (char[]){"sums"}, &err) < 0);
    disk_ends_at(RLIM_INFINITY);
    assert_false(exists("log.000001"));
    put(l, 2, "two");
    holds(l, "1:one,2:two,");
    reclog_close(l);
}

static void a_descriptor_to_sync_is_of_the_newest_segment(void **state)
{
    struct stat a, b;
    (void)state;
    struct reclog *l = open_log(NULL);
    int fd = reclog_sync_fd(l);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &a), 0);
    assert_int_equal(stat(path_of("log"), &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    close(fd);
    reclog_close(l);
}

/* ---- following ---- */

static struct reclog_cursor *follow(void)
{
    struct reclog_cursor *c = reclog_cursor_new(dir, "log", KIND, &err);
    assert_non_null(c);
    return c;
}

/* Reads on, and the records were these; returns what the last call did. */
static int reads(struct reclog_cursor *c, uint64_t bytes, const char *expected)
{
    struct text t = {0};
    text_add(&t, STR(""));
    int rc = reclog_cursor_read(c, bytes, add_to_text, &t, &err);
    assert_string_equal(t.p, expected);
    text_release(&t);
    return rc;
}

static void what_comes_is_read_once(void **state)
{
    (void)state;
    struct reclog_cursor *c = follow();
    assert_int_equal(reads(c, 1000, ""), 0); /* there is none yet */
    struct reclog *l = open_log(NULL);
    assert_int_equal(reads(c, 1000, ""), 0);
    put(l, 1, "one");
    put(l, 2, "two");
    assert_int_equal(reads(c, 1000, "1:one,2:two,"), 0);
    assert_int_equal(reads(c, 1000, ""), 0);
    put(l, 3, "tri");
    assert_int_equal(reads(c, 1000, "3:tri,"), 0);
    reclog_close(l);
    reclog_cursor_free(c);
}

static void a_bound_stops_between_two_records(void **state)
{
    (void)state;
    struct reclog_cursor *c = follow();
    struct reclog *l = open_log(NULL);
    for (uint32_t i = 1; i <= 4; i++)
        put(l, i, "abc");
    assert_int_equal(reads(c, 16, "1:abc,2:abc,"), 1);
    assert_int_equal(reads(c, 15, "3:abc,"), 1);
    assert_int_equal(reads(c, 1000, "4:abc,"), 0);
    reclog_close(l);
    reclog_cursor_free(c);
}

static int stop_at_two(void *arg, uint32_t type, struct str payload)
{
    (void)arg;
    (void)payload;
    return type == 2 ? 77 : 0;
}

static void it_goes_on_behind_the_record_that_stopped_it(void **state)
{
    (void)state;
    struct reclog_cursor *c = follow();
    struct reclog *l = open_log(NULL);
    for (uint32_t i = 1; i <= 3; i++)
        put(l, i, "abc");
    assert_int_equal(reclog_cursor_read(c, 1000, stop_at_two, NULL, &err), 77);
    assert_int_equal(reads(c, 1000, "3:abc,"), 0);
    reclog_close(l);
    reclog_cursor_free(c);
}

static void rotation_is_survived_at_any_point(void **state)
{
    (void)state;
    struct reclog_cursor *c = follow();
    struct reclog *l = open_log(NULL);
    put(l, 1, "one");
    assert_int_equal(reads(c, 1000, "1:one,"), 0);
    put(l, 2, "two"); /* not read before the rotation */
    assert_int_equal(reclog_rotate(l, NULL, NULL, &err), 0);
    put(l, 3, "tri");
    assert_int_equal(reclog_rotate(l, NULL, NULL, &err), 0);
    assert_int_equal(reclog_rotate(l, NULL, NULL, &err), 0);
    put(l, 4, "fou");
    assert_int_equal(reads(c, 15, "2:two,"), 1);
    assert_int_equal(reads(c, 1000, "3:tri,4:fou,"), 0);
    struct reclog_cursor *late = follow();
    assert_int_equal(reads(late, 1000, "1:one,2:two,3:tri,4:fou,"), 0);
    reclog_cursor_free(late);
    reclog_close(l);
    reclog_cursor_free(c);
}

static void segments_that_are_gone_are_passed_over(void **state)
{
    (void)state;
    struct reclog_cursor *c = follow();
    struct reclog *l = open_with((struct reclog_options){KIND, 16 + 15, 1}, NULL);
    put(l, 1, "one");
    assert_int_equal(reads(c, 1000, "1:one,"), 0);
    for (uint32_t i = 2; i <= 6; i++)
        put(l, i, "abc");
    assert_int_equal(reads(c, 1000, "5:abc,6:abc,"), 0);
    reclog_close(l);
    reclog_cursor_free(c);
}

static void a_torn_end_waits_and_a_damaged_full_segment_is_told_once(void **state)
{
    char bytes[256];
    (void)state;
    struct reclog *l = open_log(NULL);
    put(l, 1, "one");
    put(l, 2, "two");
    assert_int_equal(reclog_rotate(l, NULL, NULL, &err), 0);
    put(l, 3, "tri");
    size_t n = read_file("log.000001", bytes, sizeof(bytes));
    bytes[n - 1] ^= 1;
    write_file("log.000001", str_of(bytes, n));
    struct reclog_cursor *c = follow();
    assert_int_equal(reads(c, 1000, "1:one,"), -EBADMSG);
    assert_non_null(strstr(err.text, "log.000001"));
    assert_int_equal(reads(c, 1000, "3:tri,"), 0);
    n = read_file("log", bytes, sizeof(bytes));
    write_file("log", str_of(bytes, n - 1)); /* as a write in the middle of it */
    struct reclog_cursor *d = follow();
    assert_int_equal(reads(d, 15, "1:one,"), 1);
    assert_int_equal(reads(d, 1000, ""), -EBADMSG);
    assert_int_equal(reads(d, 1000, ""), 0);
    write_file("log", str_of(bytes, n));
    assert_int_equal(reads(d, 1000, "3:tri,"), 0);
    reclog_cursor_free(d);
    reclog_cursor_free(c);
    reclog_close(l);
}

static void a_file_of_another_kind_is_an_error(void **state)
{
    (void)state;
    struct reclog *l = open_log(NULL);
    struct reclog_cursor *c = reclog_cursor_new(dir, "log", KIND + 1, &err);
    assert_int_equal(reclog_cursor_read(c, 10, add_to_text, NULL, &err), -EINVAL);
    reclog_cursor_free(c);
    reclog_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {IN_DIR(a_new_segment_begins_with_what_its_owner_writes),
        IN_DIR(a_rotation_without_its_beginning_does_not_happen),
        IN_DIR(a_full_disk_while_the_beginning_is_written_leaves_the_old_segment),
        IN_DIR(a_descriptor_to_sync_is_of_the_newest_segment), IN_DIR(what_comes_is_read_once),
        IN_DIR(a_bound_stops_between_two_records),
        IN_DIR(it_goes_on_behind_the_record_that_stopped_it),
        IN_DIR(rotation_is_survived_at_any_point), IN_DIR(segments_that_are_gone_are_passed_over),
        IN_DIR(a_torn_end_waits_and_a_damaged_full_segment_is_told_once),
        IN_DIR(a_file_of_another_kind_is_an_error)};
    int failed = cmocka_run_group_tests(tests, NULL, nothing_lives);
    return mem_live() ? failed + 1 : failed;
}
