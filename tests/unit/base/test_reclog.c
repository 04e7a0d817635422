#include "lib/base/reclog.h"

#include "lib/base/counters.h"
#include "lib/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KIND 7

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/offshoot-reclog-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static bool exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static off_t size_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(path_of(name), &st), 0);
    return st.st_size;
}

static struct reclog *open_with(struct reclog_options o, struct reclog_recovery *r)
{
    struct err e = {0};
    struct reclog *l = reclog_open(dir, "log", &o, r, &e);
    if (!l)
        fail_msg("%s", e.text);
    return l;
}

static struct reclog *open_log(struct reclog_recovery *r)
{
    return open_with((struct reclog_options){.kind = KIND}, r);
}

static void put(struct reclog *l, uint32_t type, const char *payload)
{
    struct err e = {0};
    if (reclog_append(l, type, str_c(payload), &e))
        fail_msg("%s", e.text);
}

/* Everything in the log as "1:one,2:two,". */
static int add_to_text(void *arg, uint32_t type, struct str payload)
{
    text_fmt(arg, "%u:", type);
    text_add(arg, payload);
    text_add(arg, STR(","));
    return 0;
}

static void holds(struct reclog *l, const char *expected)
{
    struct text t = {0};
    struct err e = {0};
    text_add(&t, STR(""));
    if (reclog_read(l, add_to_text, &t, &e))
        fail_msg("%s", e.text);
    assert_string_equal(t.p, expected);
    text_release(&t);
}

static void write_file(const char *name, struct str bytes)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.p, bytes.n), (ssize_t)bytes.n);
    close(fd);
}

static size_t read_file(const char *name, char *buf, size_t size)
{
    int fd = open(path_of(name), O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, buf, size);
    assert_true(n >= 0 && (size_t)n < size);
    close(fd);
    return (size_t)n;
}

/* ---- the format ----------------------------------------------------------------------------- */

static void crc_gives_the_values_of_the_rfc(void **state)
{
    (void)state;
    unsigned char b[32];
    memset(b, 0, sizeof(b));
    assert_int_equal(crc32c(0, b, 32), 0x8a9136aa);
    memset(b, 0xff, sizeof(b));
    assert_int_equal(crc32c(0, b, 32), 0x62a8ab43);
    for (unsigned i = 0; i < 32; i++)
        b[i] = (unsigned char)i;
    assert_int_equal(crc32c(0, b, 32), 0x46dd794e);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    for (size_t i = 0; i <= 9; i++)
        assert_int_equal(crc32c(crc32c(0, "123456789", i), &"123456789"[i], 9 - i), 0xe3069283);
}

static void the_bytes_of_a_file_are_as_described(void **state)
{
    (void)state;
    static const char expected[] = "OFFSHOOT\1\0\0\0\7\0\0\0\3\0\0\0";
    char got[64];
    struct reclog *l = open_log(NULL);
    put(l, 0x01020304, "abc");
    assert_int_equal(reclog_bytes(l), 16 + 12 + 3);
    reclog_close(l);
    assert_int_equal(read_file("log", got, sizeof(got)), 31);
    assert_memory_equal(got, expected, 20);
    assert_memory_equal(got + 24, "\4\3\2\1abc", 7);
    uint32_t crc = crc32c(0, "\3\0\0\0\4\3\2\1abc", 11);
    unsigned char le[4] = {(unsigned char)crc, (unsigned char)(crc >> 8),
        (unsigned char)(crc >> 16), (unsigned char)(crc >> 24)};
    assert_memory_equal(got + 20, le, 4);
}

static void records_come_back_in_order(void **state)
{
    (void)state;
    struct reclog_recovery r = {99, 99};
    struct err e;
    struct reclog *l = open_log(&r);
    assert_int_equal(r.records, 0);
    assert_int_equal(r.cut_bytes, 0);
    put(l, 1, "one");
    put(l, 2, "");
    put(l, 3, "three");
    holds(l, "1:one,2:,3:three,");
    assert_int_equal(reclog_sync(l, &e), 0);
    reclog_close(l);
    l = open_log(&r);
    assert_int_equal(r.records, 3);
    assert_int_equal(r.cut_bytes, 0);
    put(l, 4, "four");
    holds(l, "1:one,2:,3:three,4:four,");
    reclog_close(l);
}

static int stop_at_2(void *arg, uint32_t type, struct str payload)
{
    (void)payload;
    ++*(int *)arg;
    return type == 2 ? 42 : 0;
}

static void reading_stops_when_told_to(void **state)
{
    (void)state;
    int seen = 0;
    struct err e = {0};
    struct reclog *l = open_log(NULL);
    put(l, 1, "a");
    put(l, 2, "b");
    put(l, 3, "c");
    assert_int_equal(reclog_read(l, stop_at_2, &seen, &e), 42);
    assert_int_equal(seen, 2);
    assert_int_equal(e.code, 0);
    reclog_close(l);
}

static void scan_says_where_whole_records_end(void **state)
{
    (void)state;
    char bytes[128];
    int seen = 0;
    struct reclog *l = open_log(NULL);
    put(l, 1, "a");
    put(l, 2, "bb");
    put(l, 3, "ccc");
    reclog_close(l);
    size_t n = read_file("log", bytes, sizeof(bytes)) - 16;
    assert_int_equal(n, 13 + 14 + 15);
    assert_int_equal(reclog_scan(str_of(bytes + 16, n), NULL, NULL), n);
    assert_int_equal(reclog_scan(str_of(bytes + 16, n - 1), NULL, NULL), 27);
    assert_int_equal(reclog_scan(str_of(bytes + 16, n), stop_at_2, &seen), 27);
    assert_int_equal(seen, 2);
    assert_int_equal(reclog_scan((struct str){0}, NULL, NULL), 0);
}

/* ---- recovery ------------------------------------------------------------------------------- */

static void a_log_cut_anywhere_recovers_to_its_last_whole_record(void **state)
{
    (void)state;
    static const size_t ends[] = {16, 16 + 15, 16 + 15 + 12, 16 + 15 + 12 + 17};
    static const char *const content[] = {"", "1:one,", "1:one,2:,", "1:one,2:,3:three,"};
    char whole[128];
    struct reclog *l = open_log(NULL);
    put(l, 1, "one");
    put(l, 2, "");
    put(l, 3, "three");
    reclog_close(l);
    size_t n = read_file("log", whole, sizeof(whole));
    assert_int_equal(n, ends[3]);
    for (size_t cut = 0; cut <= n; cut++) {
        struct reclog_recovery r;
        size_t records = 0;
        while (records < 3 && cut >= ends[records + 1])
            records++;
        write_file("log", str_of(whole, cut));
        l = open_log(&r);
        assert_int_equal(r.records, records);
        assert_int_equal(r.cut_bytes, cut < 16 ? cut : cut - ends[records]);
        assert_int_equal(size_of("log"), ends[records]);
        holds(l, content[records]);
        put(l, 9, "x");
        reclog_close(l);
        l = open_log(&r);
        assert_int_equal(r.records, records + 1);
        assert_int_equal(r.cut_bytes, 0);
        reclog_close(l);
    }
}

static void a_flipped_bit_ends_the_log_before_its_record(void **state)
{
    (void)state;
    char whole[128];
    struct reclog *l = open_log(NULL);
    put(l, 1, "one");
    put(l, 2, "two");
    reclog_close(l);
    size_t n = read_file("log", whole, sizeof(whole));
    for (size_t bit = 16 * 8; bit < n * 8; bit++) {
        struct reclog_recovery r;
        whole[bit / 8] = (char)(whole[bit / 8] ^ 1 << bit % 8);
        write_file("log", str_of(whole, n));
        whole[bit / 8] = (char)(whole[bit / 8] ^ 1 << bit % 8);
        l = open_log(&r);
        bool first = bit / 8 < 16 + 15;
        assert_int_equal(r.records, first ? 0 : 1);
        assert_int_equal(r.cut_bytes, first ? 30 : 15);
        reclog_close(l);
    }
}

static void zeros_after_power_loss_are_no_records(void **state)
{
    (void)state;
    char zeros[4096] = {0};
    struct reclog_recovery r;
    struct reclog *l = open_log(NULL);
    put(l, 1, "one");
    reclog_close(l);
    int fd = open(path_of("log"), O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, zeros, sizeof(zeros)), sizeof(zeros));
    close(fd);
    l = open_log(&r);
    assert_int_equal(r.records, 1);
    assert_int_equal(r.cut_bytes, sizeof(zeros));
    reclog_close(l);
}

static void open_fails(struct reclog_options o, const char *name, int code, const char *fmt)
{
    struct err e = {0};
    char text[256];
    snprintf(text, sizeof(text), "%s'%s'", fmt, path_of(name));
    assert_null(reclog_open(dir, name, &o, NULL, &e));
    assert_int_equal(e.code, code);
    assert_string_equal(e.text, text);
}

static void foreign_files_are_refused_and_left_alone(void **state)
{
    (void)state;
    struct reclog_options o = {.kind = KIND};
    reclog_close(open_log(NULL));
    open_fails(
        (struct reclog_options){.kind = 8}, "log", -EINVAL, "record log is of kind 7, not 8: ");
    write_file("log", STR("OFFSHOOT\2\0\0\0\7\0\0\0"));
    open_fails(o, "log", -EINVAL, "record log version 2 is not known, only 1: ");
    write_file("log", STR("some text that is no log"));
    open_fails(o, "log", -EINVAL, "not a record log: ");
    write_file("log", STR("short"));
    open_fails(o, "log", -EINVAL, "not a record log: ");
    assert_int_equal(size_of("log"), 5);
    unlink(path_of("log"));
    assert_int_equal(mkfifo(path_of("log"), 0600), 0);
    open_fails(o, "log", -EINVAL, "not a regular file: ");
}

static void names_and_folders_are_checked(void **state)
{
    (void)state;
    struct reclog_options o = {.kind = KIND};
    struct err e = {0};
    char expected[200], longest[256];
    assert_null(reclog_open("/nonexistent", "log", &o, NULL, &e));
    assert_string_equal(
        e.text, "cannot open the folder of '/nonexistent/log': No such file or directory");
    assert_null(reclog_open(dir, "a/b", &o, NULL, &e));
    assert_string_equal(e.text, "record log cannot have the name 'a/b'");
    assert_null(reclog_open(dir, "", &o, NULL, &e));
    memset(longest, 'x', sizeof(longest));
    longest[241] = '\0';
    assert_null(reclog_open(dir, longest, &o, NULL, &e));
    assert_int_equal(e.code, -EINVAL);
    longest[240] = '\0';
    struct reclog *l = reclog_open(dir, longest, &o, NULL, &e);
    assert_non_null(l);
    reclog_close(l);
    assert_int_equal(symlink("elsewhere", path_of("log")), 0);
    assert_null(reclog_open(dir, "log", &o, NULL, &e));
    snprintf(expected, sizeof(expected), "cannot open '%s': Too many levels of symbolic links",
        path_of("log"));
    assert_string_equal(e.text, expected);
}

static void a_log_has_one_owner(void **state)
{
    (void)state;
    struct reclog *l = open_log(NULL);
    open_fails((struct reclog_options){.kind = KIND}, "log", -EBUSY,
        "record log is in use by another process: ");
    reclog_close(l);
    reclog_close(open_log(NULL));
}

/* ---- appends that fail ---------------------------------------------------------------------- */

/* The disk is full at `bytes`; RLIM_INFINITY: no more. */
static void disk_ends_at(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_failed_append_leaves_the_log_sound(void **state)
{
    (void)state;
    struct err e = {0};
    struct reclog_recovery r;
    char expected[200];
    struct reclog *l = open_log(NULL);
    put(l, 1, "one");
    for (rlim_t room = 0; room < 12 + 8; room++) {
        disk_ends_at(31 + room);
        assert_int_equal(reclog_append(l, 2, STR("too long"), &e), -EFBIG);
        disk_ends_at(RLIM_INFINITY);
        assert_int_equal(size_of("log"), 31);
        holds(l, "1:one,");
    }
    snprintf(expected, sizeof(expected), "cannot append to '%s': File too large", path_of("log"));
    assert_string_equal(e.text, expected);
    disk_ends_at(31 + 12 + 8);
    put(l, 2, "too long");
    disk_ends_at(RLIM_INFINITY);
    put(l, 3, "three");
    reclog_close(l);
    l = open_log(&r);
    assert_int_equal(r.records, 3);
    assert_int_equal(r.cut_bytes, 0);
    holds(l, "1:one,2:too long,3:three,");
    reclog_close(l);
}

static void records_have_a_largest_size_and_a_reserved_type(void **state)
{
    (void)state;
    struct err e = {0};
    char *big = calloc(1, RECLOG_RECORD_MAX + 1);
    assert_non_null(big);
    struct reclog *l = open_log(NULL);
    assert_int_equal(reclog_append(l, 1, str_of(big, RECLOG_RECORD_MAX + 1), &e), -EMSGSIZE);
    assert_non_null(strstr(e.text, path_of("log")));
    assert_int_equal(reclog_append(l, 1, str_of(big, RECLOG_RECORD_MAX), &e), 0);
    assert_int_equal(reclog_append(l, RECLOG_REPLACES, STR("x"), &e), -EINVAL);
    assert_non_null(strstr(e.text, path_of("log")));
    reclog_close(l);
    struct reclog_recovery r;
    l = open_log(&r);
    assert_int_equal(r.records, 1);
    assert_int_equal(reclog_bytes(l), 16 + 12 + RECLOG_RECORD_MAX);
    reclog_close(l);
    free(big);
}

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

/* ---- memory --------------------------------------------------------------------------------- */

static int whole_run(void)
{
    struct reclog_options o = {KIND, 46, 0};
    struct err e = {0};
    struct text t = {0};
    struct reclog *l = reclog_open(dir, "log", &o, NULL, &e);
    if (!l)
        return e.code;
    int rc = 0;
    for (uint32_t i = 1; i <= 3 && !rc; i++)
        rc = reclog_append(l, i, STR("abc"), &e);
    if (!rc)
        rc = reclog_read(l, add_to_text, &t, &e);
    if (!rc)
        rc = t.failed;
    text_release(&t);
    reclog_close(l);
    return rc;
}

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    unsigned long failures = 0;
    for (unsigned long nth = 1;; nth++) {
        mem_fail_nth(nth);
        int rc = whole_run();
        mem_fail_nth(0);
        assert_int_equal(mem_live(), 0);
        unlink(path_of("log"));
        unlink(path_of("log.000001"));
        if (rc == 0)
            break;
        assert_int_equal(rc, -ENOMEM);
        failures++;
    }
    assert_true(failures > 4);
}

static int nothing_lives(void **state)
{
    (void)state;
    return mem_live() == 0 ? 0 : -1;
}

#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    signal(SIGXFSZ, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_gives_the_values_of_the_rfc),
        IN_DIR(the_bytes_of_a_file_are_as_described),
        IN_DIR(records_come_back_in_order),
        IN_DIR(reading_stops_when_told_to),
        IN_DIR(scan_says_where_whole_records_end),
        IN_DIR(a_log_cut_anywhere_recovers_to_its_last_whole_record),
        IN_DIR(a_flipped_bit_ends_the_log_before_its_record),
        IN_DIR(zeros_after_power_loss_are_no_records),
        IN_DIR(foreign_files_are_refused_and_left_alone),
        IN_DIR(names_and_folders_are_checked),
        IN_DIR(a_log_has_one_owner),
        IN_DIR(a_failed_append_leaves_the_log_sound),
        IN_DIR(records_have_a_largest_size_and_a_reserved_type),
        IN_DIR(a_full_segment_is_put_aside),
        IN_DIR(the_oldest_segments_are_dropped),
        IN_DIR(a_crash_between_the_renames_loses_nothing),
        IN_DIR(other_files_are_no_segments),
        IN_DIR(damage_in_a_full_segment_is_told),
        IN_DIR(a_rotation_that_fails_leaves_the_log_sound),
        IN_DIR(compaction_replaces_everything),
        IN_DIR(a_crash_after_compaction_brings_nothing_back),
        IN_DIR(a_compaction_given_up_changes_nothing),
        IN_DIR(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
