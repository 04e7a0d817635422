#include "lib/base/reclog.h"

#include "tests/unit/base/reclog_fixture.h"

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
        IN_DIR(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
