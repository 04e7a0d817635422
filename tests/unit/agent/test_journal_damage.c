/* The journal when the agent is killed at any byte, when the disk is full at any write, and when a
 * sync fails: what is on the disk is sound, and gets the sums of the memory as soon as it can. */
#include "tests/unit/agent/disk.h"
#include "tests/unit/agent/journal_sums.h"

#define SAMPLES 8

/* What the whole records in the first n bytes say, told by frames alone. */
struct counted_prefix {
    uint64_t begun, done;
    bool session;
};

static struct counted_prefix count_prefix(const char *p, size_t n)
{
    struct counted_prefix c = {0};
    size_t at = 16;
    for (uint32_t len; at + 12 <= n; at += 12 + len) {
        memcpy(&len, p + at, 4);
        if (at + 12 + len > n)
            break;
        unsigned tag = (unsigned char)p[at + 12];
        c.session |= tag == (JOURNAL_SESSION << 3 | 2);
        c.begun += tag == (JOURNAL_BEGUN << 3 | 2);
        c.done += tag == (JOURNAL_SAMPLE << 3 | 2);
    }
    return c;
}

static void torn_at_any_byte_counts_what_is_whole_and_the_rest_as_lost(void **state)
{
    struct opened o;
    size_t n;
    (void)state;
    open_journal(&o);
    begin_session(&o, 1);
    add_samples(&o, 1, SAMPLES);
    close_journal(&o);
    char *p = read_bytes(journal_path(""), &n);
    for (size_t cut = 0; cut <= n; cut++) {
        struct counted_prefix want = count_prefix(p, cut);
        write_bytes(journal_path(""), p, cut);
        for (int again = 0; again < 2; again++) {
            open_journal(&o);
            assert_int_equal(journal_state(o.j)->found, want.session);
            assert_sums(o.tally, 1, want.done);
            assert_int_equal(journal_state(o.j)->lost, again ? 0 : want.begun - want.done);
            assert_int_equal(dropped(&o.drops, "restart"), want.begun - want.done);
            assert_int_equal(journal_state(o.j)->next_sample, want.begun + 1);
            close_journal(&o);
        }
    }
    free(p);
}

static void damage_before_the_end_is_told_and_the_file_stays(void **state)
{
    struct opened o;
    struct err e = {0};
    size_t n, m;
    (void)state;
    open_journal(&o);
    begin_session(&o, 1);
    add_samples(&o, 1, SAMPLES);
    close_journal(&o);
    char *p = read_bytes(journal_path(""), &n);
    for (size_t at = 16; at < n; at += 13) {
        p[at] ^= 4;
        write_bytes(journal_path(""), p, n);
        assert_int_equal(open_it(&o, &e), -1);
        assert_int_equal(e.code, -EBADMSG);
        assert_non_null(strstr(e.text, "damaged record "));
        tally_free(o.tally);
        char *now = read_bytes(journal_path(""), &m);
        assert_int_equal(m, n);
        assert_memory_equal(now, p, n);
        free(now);
        p[at] ^= 4;
    }
    free(p);
}

/* ---- disk full ---- */

/* Counted in memory, whatever becomes of it on the disk: what a session does. */
static unsigned count_sample(struct opened *o, uint64_t n)
{
    struct err e = {0};
    unsigned failed = journal_begun(o->j, n, &e) != 0;
    int rc = add_sample(o, n, &e);
    CHECK(rc == 0 || rc == -EFBIG || rc == -ENOSPC);
    if (rc) {
        shadow_drops_add(&o->drops, "journal", 1);
        (void)journal_dropped(o->j, "journal", 1, 0, &e); /* perhaps for that there is room */
    }
    return failed + (rc != 0);
}

/* The disk ends at every byte of what two samples and their totals need. */
static void fill_disk(void)
{
    struct opened o;
    struct err e = {0};
    unsigned failures = 0;
    for (uint64_t room = 0; room < 1500; room += 7) {
        open_journal(&o);
        if (!journal_state(o.j)->found)
            begin_session(&o, 1);
        uint64_t next = journal_state(o.j)->next_sample, bytes = reclog_newest_bytes(o.j->log);
        limit_file(bytes + room);
        failures += count_sample(&o, next);
        failures += count_sample(&o, next + 1);
        (void)journal_tick(o.j, &e);
        struct stat st;
        CHECK(stat(path_of(journal_path("")), &st) == 0);
        CHECK((uint64_t)st.st_size == reclog_newest_bytes(o.j->log));
        limit_file(RLIM_INFINITY);
        CHECK(journal_tick(o.j, &e) == 0); /* there is room again */
        CHECK(!o.j->behind);
        struct text before = {0}, after = {0};
        sums_text(o.tally, &before);
        uint64_t lost = dropped(&o.drops, "journal");
        close_journal(&o);
        open_journal(&o);
        sums_text(o.tally, &after);
        CHECK(strcmp(before.p, after.p) == 0);
        CHECK(dropped(&o.drops, "journal") == lost && dropped(&o.drops, "restart") == 0);
        text_release(&before);
        text_release(&after);
        close_journal(&o);
    }
    CHECK(failures > 100);
}

static void a_full_disk_at_any_write_leaves_it_sound_and_the_sums_catch_up(void **state)
{
    (void)state;
    in_child(fill_disk);
}

/* Killed while the disk was still full: less than the memory had, nothing wrong. */
static void killed_on_a_full_disk(void)
{
    struct opened o;
    open_journal(&o);
    begin_session(&o, 1);
    add_samples(&o, 1, 4);
    struct err e = {0};
    CHECK(journal_begun(o.j, 5, &e) == 0);
    limit_file(reclog_newest_bytes(o.j->log) + 3);
    CHECK(add_sample(&o, 5, &e) != 0);
    CHECK(count_sample(&o, 6) == 2);
    CHECK(journal_tick(o.j, &e) != 0);
    limit_file(RLIM_INFINITY);
    o.j->behind = false; /* as if killed: nothing more is written */
    close_journal(&o);
    open_journal(&o);
    CHECK(tally_samples(o.tally) == 4 && dropped(&o.drops, "restart") == 1);
    close_journal(&o);
}

static void killed_while_the_disk_was_full_leaves_what_was_written(void **state)
{
    (void)state;
    in_child(killed_on_a_full_disk);
}

/* ---- syncing ---- */

/* The thread has its turn within the limit of the test. */
static void wait_for_sync(struct journal *j)
{
    while (journal_sync_busy(j->sync))
        usleep(100);
}

static void a_sync_that_fails_is_told_and_a_new_segment_has_all_sums(void **state)
{
    struct opened o;
    struct err e = {0};
    (void)state;
    open_journal(&o);
    begin_session(&o, 1);
    add_samples(&o, 1, 10);
    syncs_to_fail = 1;
    assert_int_equal(journal_tick(o.j, &e), 0);
    wait_for_sync(o.j);
    assert_int_equal(syncs_to_fail, 0);
    assert_int_equal(journal_tick(o.j, &e), -EIO);
    assert_non_null(strstr(e.text, NAME));
    assert_int_equal(access(path_of(journal_path(".000001")), F_OK), 0);
    assert_int_equal(journal_tick(o.j, &e), 0);
    wait_for_sync(o.j);
    close_journal(&o);
    assert_int_equal(unlink(path_of(journal_path(".000001"))), 0); /* who knows what is in it */
    open_journal(&o);
    assert_sums(o.tally, 1, 10);
    close_journal(&o);
}

/* ---- memory ---- */

static void every_allocation_that_fails_leaves_the_journal_sound(void **state)
{
    (void)state;
    bool done = false;
    for (unsigned long n = 1; !done; n++) {
        struct opened o;
        struct made m;
        struct err e = {0};
        open_journal(&o);
        if (!journal_state(o.j)->found)
            begin_session(&o, 1);
        uint64_t next = journal_state(o.j)->next_sample;
        make_sample(&m, next);
        assert_int_equal(tally_add(o.tally, &m.sample, &m.added), 0);
        mem_fail_nth(n);
        int rc = journal_begun(o.j, next, &e);
        rc = rc ? rc : write_made(o.j, &m, next, NULL, &e);
        done = mem_count() < n;
        mem_fail_nth(0);
        assert_true(rc == 0 || rc == -ENOMEM);
        assert_true(rc == 0 || !done);
        mem_free(m.added.differences);
        close_journal(&o);
        mem_fail_nth(n);
        struct tally *t = tally_new(0.01);
        struct shadow_drops d = {0};
        struct journal *j = t ? journal_open(&journal_options, NAME, t, &d, &e) : NULL;
        done &= mem_count() < n;
        mem_fail_nth(0);
        assert_true(j || !t || e.code == -ENOMEM);
        journal_close(j);
        tally_free(t);
    }
}

static int plain_options(void **state)
{
    journal_options = (struct journal_options){.messages = true};
    syncs_to_fail = 0;
    return make_dir(state);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, plain_options, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(torn_at_any_byte_counts_what_is_whole_and_the_rest_as_lost),
        TEST(damage_before_the_end_is_told_and_the_file_stays),
        TEST(a_full_disk_at_any_write_leaves_it_sound_and_the_sums_catch_up),
        TEST(killed_while_the_disk_was_full_leaves_what_was_written),
        TEST(a_sync_that_fails_is_told_and_a_new_segment_has_all_sums),
        TEST(every_allocation_that_fails_leaves_the_journal_sound)};
    return unit_run(tests);
}
