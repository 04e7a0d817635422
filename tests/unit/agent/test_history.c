/* The history: what was acknowledged is there after a restart, and reads as protobuf. */
#include "tests/unit/agent/log.h"

#include "lib/graph/codec.h"
#include "lib/graph/snapshot_int.h"
#include "proto/offshoot/v1/log.pb-c.h"

static void epochs_come_back_as_they_were_written(void **state)
{
    struct history_recovery r;
    struct err e = {0};
    (void)state;
    struct history *h = open_with(options(), &r);
    assert_true(r.created);
    assert_is(h, 0);
    assert_null(history_at(h, 0));
    unsigned char id[HISTORY_ID], digest[32];
    memcpy(id, history_id(h), HISTORY_ID);
    append_many(h, 7);
    memcpy(digest, snapshot_digest(history_newest(h)), 32);
    uint64_t bytes = history_bytes(h);
    history_close(h);
    h = open_with(options(), &r);
    assert_false(r.created);
    assert_int_equal(r.records, 8);
    assert_int_equal(r.cut_bytes, 0);
    assert_memory_equal(history_id(h), id, HISTORY_ID);
    assert_memory_equal(snapshot_digest(history_newest(h)), digest, 32);
    assert_is(h, 7);
    assert_int_equal(history_count(h), 7);
    assert_int_equal(history_bytes(h), bytes);
    const struct epoch_info *i = history_find(h, 5);
    assert_ptr_equal(i, history_at(h, 4));
    assert_null(history_find(h, 8));
    assert_int_equal(i->time, the_time + 5);
    assert_int_equal(i->kind, 5 % CHANGE_KINDS);
    assert_string_equal(i->who, "uid 7");
    assert_string_equal(i->why, "because");
    assert_string_equal(i->what, "doc-5");
    assert_int_equal(i->changes.envs_added, 5);
    assert_false(i->whole);
    assert_true(history_at(h, 0)->whole);
    append_many(h, 1);
    history_close(h);
    h = open_history();
    assert_is(h, 8);
    struct snapshot *s = history_snapshot(h, 8, &e), *n = history_newest(h);
    assert_ptr_equal(s, n);
    snapshot_unref(s);
    history_close(h);
}

/* The file as anybody can read it: frames, and messages by generated code. */
static void records_are_log_entries_of_the_proto_file(void **state)
{
    (void)state;
    size_t n, at = 16;
    struct history *h = open_history();
    append_many(h, 3);
    unsigned char id[HISTORY_ID];
    memcpy(id, history_id(h), HISTORY_ID);
    history_close(h);
    char *p = read_bytes("graph.log", &n);
    uint64_t epoch = 0;
    while (at < n) {
        uint32_t len;
        memcpy(&len, p + at, 4);
        Offshoot__V1__LogEntry *m =
            offshoot__v1__log_entry__unpack(NULL, len, (uint8_t *)p + at + 12);
        assert_non_null(m);
        if (m->entry_case == OFFSHOOT__V1__LOG_ENTRY__ENTRY_BEGIN) {
            assert_int_equal(at, 16);
            assert_int_equal(m->begin->version, 1);
            assert_int_equal(m->begin->history.len, HISTORY_ID);
            assert_memory_equal(m->begin->history.data, id, HISTORY_ID);
        } else {
            Offshoot__V1__LogEpoch *ep = m->epoch;
            assert_int_equal(m->entry_case, OFFSHOOT__V1__LOG_ENTRY__ENTRY_EPOCH);
            assert_int_equal(ep->epoch, ++epoch);
            assert_int_equal(ep->time_unix, the_time + (int64_t)epoch);
            assert_string_equal(ep->kind, change_kind_word((enum change_kind)epoch));
            assert_string_equal(ep->who, "uid 7");
            assert_int_equal(ep->held, epoch == 3);
            assert_int_equal(ep->whole, epoch == 1);
            assert_int_equal(ep->n_documents, 2 - (epoch == 1));
            assert_int_equal(ep->environments_added, epoch);
            struct snapshot *s = NULL;
            struct str d = str_of((char *)ep->difference.data, ep->difference.len);
            if (epoch == 1) {
                assert_int_equal(codec_apply(NULL, d, &s, NULL, NULL), 0);
                snapshot_unref(s);
            } else {
                assert_int_equal(codec_apply(NULL, d, &s, NULL, NULL), -ESTALE);
            }
        }
        offshoot__v1__log_entry__free_unpacked(m, NULL);
        at += 12 + len;
    }
    assert_int_equal(at, n);
    assert_int_equal(epoch, 3);
    free(p);
}

static void numbers_stay_after_a_restart(void **state)
{
    (void)state;
    struct history *h = open_history();
    append_many(h, 4);
    uint32_t e3 = env_number(history_newest(h), "e3");
    uint32_t only = env_number(history_newest(h), "only-4");
    append_many(h, 2); /* e2 ... e4 are gone, their numbers stay theirs */
    history_close(h);
    h = open_history();
    append_many(h, 2);
    assert_int_equal(env_number(history_newest(h), "e3"), e3);
    assert_int_not_equal(env_number(history_newest(h), "only-8"), only);
    history_close(h);
}

static void older_epochs_are_read_from_the_log(void **state)
{
    struct err e = {0};
    (void)state;
    struct history *h = open_history();
    append_many(h, HISTORY_WHOLE + 40);
    for (int pass = 0; pass < 2; pass++) {
        static const uint64_t asked[] = {
            1, 2, 200, HISTORY_WHOLE, HISTORY_WHOLE + 1, HISTORY_WHOLE + 20, HISTORY_WHOLE + 40};
        for (size_t i = 0; i < sizeof(asked) / sizeof(*asked); i++) {
            struct snapshot *s = history_snapshot(h, asked[i], &e);
            if (!s)
                fail_msg("%s", e.text);
            struct snapshot *want = graph_for(NULL, asked[i]);
            assert_int_equal(snapshot_epoch(s), asked[i]);
            assert_memory_equal(snapshot_root(s), snapshot_root(want), 32);
            snapshot_unref(want);
            snapshot_unref(s);
        }
        assert_null(history_snapshot(h, HISTORY_WHOLE + 41, &e));
        assert_int_equal(e.code, -ENOENT);
        assert_null(history_snapshot(h, 0, &e));
        history_close(h);
        h = open_history();
        assert_is(h, HISTORY_WHOLE + 40);
    }
    size_t wholes = 0;
    for (size_t i = 0; i < history_count(h); i++)
        wholes += history_at(h, i)->whole;
    assert_int_equal(wholes, 2);
    history_close(h);
}

static void the_newest_epochs_share_a_chain(void **state)
{
    struct err e = {0};
    struct pb_out o = {0};
    (void)state;
    struct history *h = open_history();
    append_many(h, 30);
    for (uint64_t epoch = 15; epoch < 30; epoch++) {
        struct snapshot *s = history_snapshot(h, epoch, &e);
        assert_int_equal(codec_encode(s, history_newest(h), &o, &e), 0);
        snapshot_unref(s);
    }
    pb_release(&o);
    history_close(h);
}

static void another_chain_is_written_whole(void **state)
{
    struct err e = {0};
    (void)state;
    struct history *h = open_history();
    append_many(h, 3);
    struct snapshot *s = graph_for(NULL, 4);
    struct epoch_info info = {.epoch = 4, .kind = CHANGE_FILES, .who = "x", .why = "", .what = ""};
    assert_int_equal(history_append(h, s, &info, NULL, 0, &e), 0);
    snapshot_unref(s);
    assert_true(history_at(h, 3)->whole);
    append_many(h, 2);
    assert_false(history_at(h, 4)->whole);
    history_close(h);
    h = open_history();
    assert_is(h, 6);
    history_close(h);
}

static void old_epochs_go_from_a_whole_on(void **state)
{
    struct history_options o = options();
    struct err e = {0};
    (void)state;
    o.retain_epochs = 300;
    struct history *h = open_with(o, NULL);
    append_many(h, 5 * HISTORY_WHOLE);
    assert_true(history_count(h) >= 300 && history_count(h) <= 300 + HISTORY_WHOLE + 75);
    assert_true(history_at(h, 0)->whole);
    uint64_t first = history_at(h, 0)->epoch;
    struct snapshot *s = history_snapshot(h, first + 1, &e);
    assert_non_null(s);
    snapshot_unref(s);
    assert_null(history_snapshot(h, first - 1, &e));
    assert_int_equal(e.code, -ENOENT);
    unsigned char id[HISTORY_ID];
    memcpy(id, history_id(h), HISTORY_ID);
    history_close(h);
    h = open_with(o, NULL);
    assert_is(h, 5 * HISTORY_WHOLE);
    assert_int_equal(history_at(h, 0)->epoch, first);
    assert_memory_equal(history_id(h), id, HISTORY_ID);
    history_close(h);
}

static void bytes_are_bounded_even_when_few_epochs_are_large(void **state)
{
    struct history_options o = options();
    (void)state;
    o.retain_bytes = 40000;
    struct history *h = open_with(o, NULL);
    for (unsigned i = 0; i < 600; i++) {
        append_many(h, 1);
        assert_true(history_bytes(h) < 60000);
    }
    assert_true(history_count(h) < 600);
    history_close(h);
    h = open_with(o, NULL);
    assert_is(h, 600);
    history_close(h);
}

static void long_entries_are_cut_into_parts(void **state)
{
    struct history_options o = options();
    struct err e = {0};
    (void)state;
    o.part_bytes = 100;
    struct history *h = open_with(o, NULL);
    append_many(h, 6);
    struct snapshot *s = history_snapshot(h, 2, &e);
    assert_non_null(s);
    snapshot_unref(s);
    history_close(h);
    h = open_with(o, NULL);
    assert_is(h, 6);
    assert_int_equal(history_count(h), 6);
    history_close(h);
}

static void a_new_history_begins_with_the_content_of_the_old_one_and_follows_it(void **state)
{
    struct history_options o = options();
    uint64_t epoch;
    char old[64] = "graph.log.old-";
    (void)state;
    struct history *h = open_history();
    append_many(h, 4);
    unsigned char id[HISTORY_ID];
    memcpy(id, history_id(h), HISTORY_ID);
    assert_null(history_follows(h, &epoch));
    history_close(h);
    o.start_new = true;
    h = open_with(o, NULL);
    for (int pass = 0; pass < 2; pass++) {
        const struct own_document *docs;
        struct snapshot *want = graph_for(NULL, 4);
        assert_memory_not_equal(history_id(h), id, HISTORY_ID);
        assert_memory_equal(history_follows(h, &epoch), id, HISTORY_ID);
        assert_int_equal(epoch, 4);
        assert_int_equal(history_epoch(h), 5);
        assert_int_equal(history_count(h), 1);
        assert_memory_equal(snapshot_root(history_newest(h)), snapshot_root(want), 32);
        assert_int_equal(history_documents(h, &docs), 3);
        assert_string_equal(docs[0].name, "doc-2");
        snapshot_unref(want);
        history_close(h);
        h = open_history();
    }
    history_close(h);
    for (size_t i = 0; i < HISTORY_ID; i++)
        sprintf(old + strlen(old), "%02x", id[i]);
    assert_int_equal(access(path_of(old), F_OK), 0);
}

static void a_created_history_follows_what_it_is_told(void **state)
{
    struct history_options o = options();
    unsigned char other[HISTORY_ID] = "0123456789abcde";
    uint64_t epoch;
    (void)state;
    o.follows_history = other;
    o.follows_epoch = 99;
    struct history *h = open_with(o, NULL);
    history_close(h);
    h = open_history();
    assert_memory_equal(history_follows(h, &epoch), other, HISTORY_ID);
    assert_int_equal(epoch, 99);
    history_close(h);
}

static void a_new_history_leaves_damage_behind_and_keeps_the_file(void **state)
{
    struct history_options o = options();
    size_t n, m;
    (void)state;
    struct history *h = open_history();
    append_many(h, 4);
    history_close(h);
    char *p = read_bytes("graph.log", &n);
    p[n - 5] ^= 1; /* in the newest epoch */
    write_bytes("graph.log", p, n);
    assert_int_equal(not_opened(o).code, -EBADMSG);
    o.start_new = true;
    h = open_with(o, NULL);
    uint64_t epoch;
    assert_non_null(history_follows(h, &epoch));
    assert_int_equal(epoch, 3);
    assert_int_equal(history_epoch(h), 4);
    struct snapshot *want = graph_for(NULL, 3);
    assert_memory_equal(snapshot_root(history_newest(h)), snapshot_root(want), 32);
    snapshot_unref(want);
    char command[200];
    snprintf(command, sizeof(command), "mv %s/graph.log.old-* %s/old", dir, dir);
    assert_int_equal(system(command), 0);
    history_close(h);
    char *q = read_bytes("old", &m);
    assert_int_equal(n, m);
    assert_memory_equal(p, q, n);
    free(p);
    free(q);
}

static void one_agent_at_a_time(void **state)
{
    struct history_options o = options();
    (void)state;
    struct history *h = open_history();
    append_many(h, 1);
    assert_int_equal(not_opened(o).code, -EBUSY);
    o.start_new = true;
    assert_int_equal(not_opened(o).code, -EBUSY);
    append_many(h, 1);
    history_close(h);
}

static void texts_are_cut_to_size_and_made_sound(void **state)
{
    struct err e = {0};
    char why[HISTORY_WHY_MAX + 9];
    (void)state;
    memset(why, 'x', sizeof(why));
    memcpy(why + HISTORY_WHY_MAX - 1, "\xc3\xa4", 3);
    struct history *h = open_history();
    struct snapshot *s = graph_for(NULL, 1);
    struct epoch_info info = {.epoch = 1,
        .kind = CHANGE_FILES,
        .who = "a\xff"
               "b",
        .why = why};
    assert_int_equal(history_append(h, s, &info, NULL, 0, &e), 0);
    info.epoch = 3;
    assert_int_equal(history_append(h, s, &info, NULL, 0, &e), -EINVAL);
    snapshot_unref(s);
    history_close(h);
    h = open_history();
    assert_string_equal(history_at(h, 0)->who, "a?b");
    assert_int_equal(strlen(history_at(h, 0)->why), HISTORY_WHY_MAX - 1);
    assert_string_equal(history_at(h, 0)->what, "");
    history_close(h);
}

int main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(epochs_come_back_as_they_were_written),
        IN_FOLDER(records_are_log_entries_of_the_proto_file),
        IN_FOLDER(numbers_stay_after_a_restart),
        IN_FOLDER(older_epochs_are_read_from_the_log),
        IN_FOLDER(the_newest_epochs_share_a_chain),
        IN_FOLDER(another_chain_is_written_whole),
        IN_FOLDER(old_epochs_go_from_a_whole_on),
        IN_FOLDER(bytes_are_bounded_even_when_few_epochs_are_large),
        IN_FOLDER(long_entries_are_cut_into_parts),
        IN_FOLDER(a_new_history_begins_with_the_content_of_the_old_one_and_follows_it),
        IN_FOLDER(a_created_history_follows_what_it_is_told),
        IN_FOLDER(a_new_history_leaves_damage_behind_and_keeps_the_file),
        IN_FOLDER(one_agent_at_a_time),
        IN_FOLDER(texts_are_cut_to_size_and_made_sound),
    };
    return unit_run(tests);
}
