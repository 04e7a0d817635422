/* The history when the disk is full, fails, lies, or the agent is killed in the middle of a write:
 * what was acknowledged is there or its loss is an error; nothing older is taken for it. */
#include "tests/unit/agent/log.h"

#include "lib/base/reclog.h"

#define EPOCHS 3

static char *sound_log(size_t *ret_n)
{
    struct history *h = open_history();
    append_many(h, EPOCHS);
    history_close(h);
    return read_bytes("graph.log", ret_n);
}

/* How many epochs a reader of frames finds in the first n bytes. */
static uint64_t whole_epochs(const char *p, size_t n)
{
    size_t at = 16, records = 0;
    for (uint32_t len; at + 12 <= n; at += 12 + len) {
        memcpy(&len, p + at, 4);
        if (at + 12 + len > n)
            break;
        records++;
    }
    return records ? records - 1 : 0;
}

static void every_prefix_of_a_log_recovers_to_a_prefix_of_its_epochs(void **state)
{
    size_t n;
    (void)state;
    char *p = sound_log(&n);
    for (size_t cut = 0; cut <= n; cut++) {
        struct history_recovery r;
        struct err e = {0};
        write_bytes("graph.log", p, cut);
        struct history *h = open_with(options(), &r);
        assert_is(h, whole_epochs(p, cut));
        if (cut % 7 == 0) { /* and goes on */
            assert_int_equal(append_next(h, &e), 0);
            history_close(h);
            h = open_history();
            assert_is(h, whole_epochs(p, cut) + 1);
        }
        history_close(h);
    }
    free(p);
}

static void every_wrong_bit_is_an_error_and_the_file_stays(void **state)
{
    size_t n, m;
    (void)state;
    char *p = sound_log(&n);
    for (size_t i = 0; i < 8 * n; i++) {
        p[i / 8] ^= (char)(1 << i % 8);
        write_bytes("graph.log", p, n);
        struct err e = not_opened(options());
        assert_int_equal(e.code, i < 8 * 16 ? -EINVAL : -EBADMSG);
        assert_non_null(strstr(e.text, "graph.log"));
        if (i >= 8 * 16)
            assert_non_null(strstr(e.text, "damaged record "));
        char *now = read_bytes("graph.log", &m);
        assert_int_equal(m, n);
        assert_memory_equal(now, p, n);
        free(now);
        p[i / 8] ^= (char)(1 << i % 8);
    }
    free(p);
}

/* After a power loss the file may have its new size while pages of it were never written. */
static void a_last_record_with_pages_of_zeros_is_torn(void **state)
{
    size_t n;
    (void)state;
    char *p = sound_log(&n);
    char *q = calloc(1, 3 * 4096);
    assert_non_null(q);
    size_t start = 16;
    for (uint32_t len; whole_epochs(p, start) + 1 < EPOCHS || start == 16; start += 12 + len)
        memcpy(&len, p + start, 4);
    memcpy(q, p, start);
    write_bytes("graph.log", q, n);
    struct history_recovery r;
    struct history *h = open_with(options(), &r);
    assert_is(h, EPOCHS - 1);
    assert_int_equal(r.cut_bytes, n - start);
    history_close(h);
    /* More zeros than the record had, and none of it. */
    write_bytes("graph.log", q, 3 * 4096);
    h = open_history();
    assert_is(h, EPOCHS - 1);
    history_close(h);
    free(q);
    free(p);
}

static void damage_in_the_middle_names_record_and_offset(void **state)
{
    size_t n;
    (void)state;
    char *p = sound_log(&n);
    uint32_t len;
    memcpy(&len, p + 16, 4);
    size_t second = 16 + 12 + len;
    char want[64];
    memset(p + second, 0, 40);
    write_bytes("graph.log", p, n);
    struct err e = not_opened(options());
    snprintf(want, sizeof(want), "damaged record 2 at byte %zu of", second);
    assert_int_equal(e.code, -EBADMSG);
    if (!strstr(e.text, want))
        fail_msg("'%s' lacks '%s'", e.text, want);
    free(p);
}

/* Sound frames with the wrong things in them. */
static void a_record_that_does_not_fit_is_named(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        int code;
    } bad[] = {{"\x12\x02\x08\x09", 4, -EBADMSG}, {"", 0, -EBADMSG}, {"\x1a\x00", 2, -ENOTSUP},
        {"\x0a\x02\x08\x02", 4, -ENOTSUP}, {"\xff\xff", 2, -EBADMSG}};
    size_t n;
    (void)state;
    char *p = sound_log(&n);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char copy[8192];
        unsigned char *f = (unsigned char *)copy + n;
        uint32_t len = (uint32_t)bad[i].n, type = 1;
        assert_true(n + 12 + len < sizeof(copy));
        memcpy(copy, p, n);
        memcpy(f, &len, 4);
        memcpy(f + 8, &type, 4);
        memcpy(f + 12, bad[i].bytes, len);
        uint32_t crc = crc32c(crc32c(crc32c(0, f, 4), f + 8, 4), f + 12, len);
        memcpy(f + 4, &crc, 4);
        write_bytes("graph.log", copy, n + 12 + len);
        struct err e = not_opened(options());
        assert_int_equal(e.code, bad[i].code);
        assert_non_null(strstr(e.text, "record 5 of"));
    }
    free(p);
}

/* ---- disk full ---- */

static void fill_disk(uint32_t part_bytes)
{
    struct history_options o = options();
    struct err e = {0};
    o.part_bytes = part_bytes;
    struct history *h = history_open(&o, NULL, &e);
    CHECK(h && append_next(h, &e) == 0);
    uint64_t size = history_bytes(h), epoch = 1;
    unsigned failures = 0;
    for (uint64_t limit = size; epoch < 4; limit++) {
        limit_file(limit);
        int r = append_next(h, &e);
        limit_file(RLIM_INFINITY);
        if (r == 0) {
            epoch++;
            limit = history_bytes(h) - 1;
        } else {
            failures++;
            CHECK(r == -EFBIG || r == -ENOSPC);
        }
        CHECK(history_epoch(h) == epoch && history_count(h) == epoch);
        CHECK(snapshot_epoch(history_newest(h)) == epoch);
        struct stat st;
        CHECK(stat(path_of("graph.log"), &st) == 0 && (uint64_t)st.st_size == history_bytes(h));
        if (failures % 50 == 1) { /* what a restart would see */
            history_close(h);
            h = history_open(&o, NULL, &e);
            CHECK(h && history_epoch(h) == epoch);
        }
    }
    CHECK(failures > 100);
    history_close(h);
}

static void fill_disk_in_one_record(void)
{
    fill_disk(0);
}

static void fill_disk_in_parts(void)
{
    fill_disk(64);
}

static void a_full_disk_at_any_byte_changes_nothing(void **state)
{
    (void)state;
    in_child(fill_disk_in_one_record);
}

static void a_full_disk_between_the_parts_of_an_entry_changes_nothing(void **state)
{
    (void)state;
    in_child(fill_disk_in_parts);
}

static void compact_to_ten(void)
{
    struct history_options o = options();
    struct err e = {0};
    o.retain_epochs = 10;
    struct history *h = history_open(&o, NULL, &e);
    CHECK(h);
    for (unsigned i = 0; i < HISTORY_WHOLE + 5; i++)
        CHECK(append_next(h, &e) == 0);
    CHECK(history_count(h) == HISTORY_WHOLE + 5); /* the second whole is too young */
    for (unsigned i = 0; i < 5; i++)
        CHECK(append_next(h, &e) == 0);
    CHECK(history_count(h) == 10);
    CHECK(history_epoch(h) == HISTORY_WHOLE + 10);
    history_close(h);
    h = history_open(&o, NULL, &e);
    CHECK(h && history_epoch(h) == HISTORY_WHOLE + 10 && history_count(h) == 10);
    history_close(h);
}

static void compaction_keeps_what_is_asked_for(void **state)
{
    (void)state;
    in_child(compact_to_ten);
}

/* ---- a failed sync ---- */

static void a_failed_sync_changes_nothing_and_later_appends_work(void **state)
{
    (void)state;
    for (unsigned fail = 1; fail <= 3; fail++) {
        struct err e = {0};
        size_t n;
        struct history *h = open_history();
        uint64_t epoch = history_epoch(h), bytes = history_bytes(h);
        syncs_to_fail = fail;
        for (unsigned i = 0; i < fail; i++) {
            assert_int_equal(append_next(h, &e), -EIO);
            assert_int_equal(history_epoch(h), epoch);
            assert_int_equal(history_bytes(h), bytes);
            free(read_bytes("graph.log", &n));
            assert_int_equal(n, bytes);
        }
        assert_int_equal(append_next(h, &e), 0);
        assert_is(h, epoch + 1);
        history_close(h);
        h = open_history();
        assert_is(h, epoch + 1);
        history_close(h);
    }
}

static void a_failed_sync_of_a_part_takes_all_parts_back(void **state)
{
    struct history_options o = options();
    struct err e = {0};
    (void)state;
    o.part_bytes = 50;
    struct history *h = open_with(o, NULL);
    append_many(h, 2);
    syncs_to_fail = 1;
    assert_int_equal(append_next(h, &e), -EIO);
    assert_is(h, 2);
    append_many(h, 1);
    history_close(h);
    h = open_with(o, NULL);
    assert_is(h, 3);
    history_close(h);
}

/* Parts whose end never came: the agent was killed between two. */
static void parts_without_their_end_mean_nothing(void **state)
{
    struct history_options o = options();
    size_t n;
    (void)state;
    o.part_bytes = 50;
    struct history *h = open_with(o, NULL);
    append_many(h, 2);
    uint64_t two = history_bytes(h);
    append_many(h, 1);
    history_close(h);
    char *p = read_bytes("graph.log", &n);
    for (size_t cut = two; cut <= n; cut += 13) {
        write_bytes("graph.log", p, cut);
        for (int again = 0; again < 2; again++) {
            h = open_with(o, NULL);
            assert_is(h, again || cut == n ? 3 : 2);
            if (!again && cut < n)
                append_many(h, 1);
            history_close(h);
        }
    }
    free(p);
}

/* ---- memory ---- */

/* Appends fail alone: making the graphs of the test is not what is tested. */
static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    struct err e = {0};
    struct history_options o = options();
    struct history *h = open_history();
    append_many(h, 4);
    history_close(h);
    h = NULL;
    unsigned long nth = 0;
    while (!h) { /* recovery */
        mem_fail_nth(++nth);
        h = history_open(&o, NULL, &e);
        mem_fail_nth(0);
        assert_true(h || e.code == -ENOMEM);
    }
    assert_is(h, 4);
    assert_true(nth > 50);
    int r = -ENOMEM;
    struct snapshot *s = graph_for(history_newest(h), 5);
    const struct own_document docs[] = {{"new", STR("text")}, {"doc-4", {NULL, 0}}};
    struct epoch_info info = {.epoch = 5, .kind = CHANGE_SET, .who = "", .why = "", .what = ""};
    for (nth = 1; r; nth++) {
        uint64_t bytes = history_bytes(h);
        mem_fail_nth(nth);
        r = history_append(h, s, &info, docs, 2, &e);
        mem_fail_nth(0);
        assert_true(r == 0 || (r == -ENOMEM && history_bytes(h) == bytes));
        assert_int_equal(history_epoch(h), r ? 4 : 5);
    }
    snapshot_unref(s);
    s = NULL;
    history_close(h);
    h = open_history();
    assert_int_equal(history_epoch(h), 5);
    append_many(h, 20);
    for (nth = 1; !s; nth++) { /* reading an old one */
        mem_fail_nth(nth);
        s = history_snapshot(h, 3, &e);
        mem_fail_nth(0);
        assert_true(s || e.code == -ENOMEM);
    }
    snapshot_unref(s);
    history_close(h);
}

int main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(every_prefix_of_a_log_recovers_to_a_prefix_of_its_epochs),
        IN_FOLDER(every_wrong_bit_is_an_error_and_the_file_stays),
        IN_FOLDER(a_last_record_with_pages_of_zeros_is_torn),
        IN_FOLDER(damage_in_the_middle_names_record_and_offset),
        IN_FOLDER(a_record_that_does_not_fit_is_named),
        IN_FOLDER(a_full_disk_at_any_byte_changes_nothing),
        IN_FOLDER(a_full_disk_between_the_parts_of_an_entry_changes_nothing),
        IN_FOLDER(compaction_keeps_what_is_asked_for),
        IN_FOLDER(a_failed_sync_changes_nothing_and_later_appends_work),
        IN_FOLDER(a_failed_sync_of_a_part_takes_all_parts_back),
        IN_FOLDER(parts_without_their_end_mean_nothing),
        IN_FOLDER(every_failed_allocation_is_survived),
    };
    return unit_run(tests);
}
