/* A session's journal: what is written comes back, sums after a restart equal a recount, segments
 * come and go, what was lost is counted once. */
#include "tests/unit/agent/journal_sums.h"

#include "lib/base/pballoc.h"

/* The one sample record of a journal, unpacked by generated code. */
struct found {
    Offshoot__V1__JournalRecord *record;
};

static int find_sample(void *arg, struct str bytes)
{
    struct found *f = arg;
    ProtobufCMessage *m =
        pb_unpack(&offshoot__v1__journal_record__descriptor, bytes, pb_budget(bytes.n));
    assert_non_null(m);
    f->record = (Offshoot__V1__JournalRecord *)(void *)m;
    if (f->record->record_case == OFFSHOOT__V1__JOURNAL_RECORD__RECORD_SAMPLE)
        return 1;
    pb_free(m);
    f->record = NULL;
    return 0;
}

static Offshoot__V1__JournalSample *sample_of(struct found *f)
{
    struct err e = {0};
    *f = (struct found){0};
    assert_int_equal(journal_read(dir, NAME, find_sample, f, &e), 1);
    return f->record->sample;
}

static void assert_field(const Offshoot__V1__JournalField *f, const char *name, const char *value)
{
    assert_string_equal(f->name, name);
    assert_str(str_of((const char *)f->value.data, f->value.len), value);
}

static struct str body_of(ProtobufCBinaryData d)
{
    return str_of((const char *)d.data, d.len);
}

static void every_field_of_a_sample_comes_back(void **state)
{
    struct opened o;
    struct made m;
    struct err e = {0};
    struct found f;
    (void)state;
    open_journal(&o);
    begin_session(&o, 1);
    make_sample(&m, 12);
    struct exchange x = {.method = STR("POST"),
        .authority = STR("cart.local:80"),
        .path = STR("/items?q=1"),
        FIELDS(FIELD("content-type", "text/plain"), FIELD("x-a", "")),
        .body = STR("hello"),
        .trace_id = "primary--trace!!",
        .environment = STR("main"),
        .service = STR("cart"),
        .https = true,
        .grpc = true,
        .primary = {
            .status = 201, FIELDS(FIELD("x-b", "1")), .body = STR("one"), .latency_us = 900}};
    static const struct reply_field trailer = FIELD("grpc-status", "0");
    m.x = x;
    m.secondary = (struct reply){.outcome = REPLY_TIMEOUT, .latency_us = 7};
    m.candidate = (struct reply){
        .status = 503, .trailers = &trailer, .ntrailers = 1, .body = STR("two"), .latency_us = 8};
    assert_int_equal(tally_add(o.tally, &m.sample, &m.added), 0);
    assert_int_equal(journal_begun(o.j, 12, &e), 0);
    assert_int_equal(write_made(o.j, &m, 12, NULL, &e), 0);
    Offshoot__V1__JournalSample *s = sample_of(&f);
    assert_int_equal(s->sample, 12);
    assert_int_equal(s->time_unix_us, 1790000000000012);
    assert_string_equal(s->endpoint, "cart GET /items");
    assert_false(s->candidate_first);
    assert_str(body_of(s->primary_trace), "primary--trace!!");
    assert_str(body_of(s->secondary_trace), "secondary-trace!");
    assert_str(body_of(s->candidate_trace), "candidate-trace!");
    assert_string_equal(s->request->method, "POST");
    assert_string_equal(s->request->authority, "cart.local:80");
    assert_string_equal(s->request->path, "/items?q=1");
    assert_string_equal(s->request->environment, "main");
    assert_string_equal(s->request->service, "cart");
    assert_true(s->request->https && s->request->grpc);
    assert_false(s->request->redacted || s->request->needs_credentials || s->request->cut);
    assert_str(body_of(s->request->body), "hello");
    assert_int_equal(s->request->body_bytes, 5);
    assert_int_equal(s->request->n_fields, 2);
    assert_field(s->request->fields[0], "content-type", "text/plain");
    assert_field(s->request->fields[1], "x-a", "");
    assert_int_equal(s->primary->status, 201);
    assert_int_equal(s->primary->latency_us, 900);
    assert_field(s->primary->fields[0], "x-b", "1");
    assert_str(body_of(s->primary->body), "one");
    assert_int_equal(s->secondary->outcome, REPLY_TIMEOUT);
    assert_int_equal(s->secondary->latency_us, 7);
    assert_field(s->candidate->trailers[0], "grpc-status", "0");
    assert_int_equal(s->candidate->status, 503);
    assert_int_equal(s->headline_pairs, m.added.headline_pairs);
    assert_int_equal(s->headline_candidate, m.added.headline_candidate);
    assert_int_equal(s->headline_secondary, m.added.headline_secondary);
    assert_int_equal(s->n_differences, m.added.ndifferences);
    mem_free(m.added.differences);
    pb_free(&f.record->base);
    close_journal(&o);
}

static void a_difference_has_the_texts_of_those_who_differ(void **state)
{
    struct opened o;
    struct err e = {0};
    struct found f;
    (void)state;
    open_journal(&o);
    begin_session(&o, 1);
    assert_int_equal(whole_sample(&o, 9, &e), 0); /* the candidate alone, a value */
    Offshoot__V1__JournalSample *s = sample_of(&f);
    assert_int_equal(s->n_differences, 1);
    assert_string_equal(s->differences[0]->path, "body.price");
    assert_int_equal(s->differences[0]->kind, DIFF_VALUE);
    assert_true(s->differences[0]->candidate);
    assert_false(s->differences[0]->secondary);
    assert_string_equal(s->differences[0]->primary_text, "1");
    assert_string_equal(s->differences[0]->secondary_text, "");
    assert_string_equal(s->differences[0]->candidate_text, "2");
    pb_free(&f.record->base);
    close_journal(&o);
}

/* ---- what is kept of messages ---- */

/* One sample of that exchange, with these rules. */
static Offshoot__V1__JournalSample *written(
    struct found *f, const struct exchange *x, const struct redact *r)
{
    struct opened o;
    struct made m;
    struct err e = {0};
    open_journal(&o);
    begin_session(&o, 1);
    make_sample(&m, 1);
    m.x = *x;
    assert_int_equal(tally_add(o.tally, &m.sample, &m.added), 0);
    assert_int_equal(write_made(o.j, &m, 1, r, &e), 0);
    mem_free(m.added.differences);
    close_journal(&o);
    return sample_of(f);
}

static void a_body_above_the_limit_is_left_out_with_its_hash(void **state)
{
    struct found f;
    char big[101];
    (void)state;
    memset(big, 'x', sizeof(big));
    struct exchange x = plain_exchange();
    x.body = str_of(big, 100);
    x.primary.body = str_of(big, 101);
    journal_options.message_bytes = 100;
    Offshoot__V1__JournalSample *s = written(&f, &x, NULL);
    assert_int_equal(s->request->body.len, 100);
    assert_false(s->request->cut);
    assert_true(s->primary->cut);
    assert_int_equal(s->primary->body.len, 0);
    assert_int_equal(s->primary->body_bytes, 101);
    assert_int_not_equal(s->primary->body_hash, 0);
    assert_int_not_equal(s->primary->body_hash, s->request->body_hash);
    pb_free(&f.record->base);
}

static void a_gzip_body_is_kept_plain_and_one_that_cannot_be_unpacked_is_left_out(void **state)
{
    static const char hello[] = /* printf hello | gzip -n */
        "\x1f\x8b\x08\0\0\0\0\0\0\3\xcb\x48\xcd\xc9\xc9\7\0\x86\xa6\x10\x36\5\0\0\0";
    struct found f;
    (void)state;
    struct exchange x = {.method = STR("POST"),
        .path = STR("/"),
        FIELDS(FIELD("content-encoding", "gzip")),
        .body = {hello, sizeof(hello) - 1},
        .primary = {.status = 200, FIELDS(FIELD("content-encoding", "br")), .body = STR("hello")}};
    Offshoot__V1__JournalSample *s = written(&f, &x, NULL);
    assert_str(body_of(s->request->body), "hello");
    assert_int_equal(s->request->body_bytes, sizeof(hello) - 1);
    assert_true(s->primary->cut);
    assert_int_equal(s->primary->body.len, 0);
    pb_free(&f.record->base);
}

static void text_that_is_no_utf8_is_escaped(void **state)
{
    struct found f;
    (void)state;
    struct exchange x = plain_exchange();
    x.path = STR("/caf\xe9/\xc3\xa9");
    Offshoot__V1__JournalSample *s = written(&f, &x, NULL);
    assert_string_equal(s->request->path, "/caf%E9/\xc3\xa9");
    pb_free(&f.record->base);
}

static void without_messages_only_differences_and_latencies_are_kept(void **state)
{
    struct opened o;
    struct found f;
    (void)state;
    journal_options.messages = false;
    open_journal(&o);
    begin_session(&o, 1);
    add_samples(&o, 1, 250);
    close_journal(&o);
    Offshoot__V1__JournalSample *s = sample_of(&f);
    assert_null(s->request);
    assert_int_equal(s->secondary->latency_us, 1001);
    assert_int_equal(s->secondary->status, 0);
    pb_free(&f.record->base);
    open_journal(&o);
    assert_sums(o.tally, 1, 250);
    close_journal(&o);
}

/* The secret stands wherever a message has a place for one. */
static void no_secret_reaches_the_disk(void **state)
{
    static const char zipped[] = /* printf '{"password":"hunter2secret"}' | gzip -n */
        "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\x2a\x48\x2c\x2e\x2e\xcf\x2f\x4a\x51\xb2"
        "\x52\xca\x28\xcd\x2b\x49\x2d\x32\x2a\x4e\x4d\x2e\x4a\x2d\x51\xaa\x05\x00\x33\x15\x7a\x48"
        "\x1c\x00\x00\x00";
    struct redact_options ro = {.key = {7}};
    struct found f;
    struct err e = {0};
    size_t n;
    (void)state;
    struct redact *r = redact_new(&ro, &e);
    assert_non_null(r);
    struct exchange x = {.method = STR("POST"),
        .authority = STR("cart.local"),
        .path = STR("/?token=hunter2secret&q=1"),
        FIELDS(FIELD("content-type", "application/json"), FIELD("content-encoding", "gzip"),
            FIELD("authorization", "Bearer hunter2secret"),
            FIELD("cookie", "session=hunter2secret"), FIELD("x-api-key", "hunter2secret")),
        .body = {zipped, sizeof(zipped) - 1},
        .primary = {.status = 200,
            FIELDS(FIELD("set-cookie", "session=hunter2secret; Path=/"),
                FIELD("content-type", "application/x-www-form-urlencoded")),
            .body = STR("password=hunter2secret&a=1")}};
    Offshoot__V1__JournalSample *s = written(&f, &x, r);
    assert_true(s->request->redacted && s->request->needs_credentials && s->primary->redacted);
    assert_non_null(strstr(s->request->path, "q=1"));
    assert_false(s->request->cut);
    assert_int_not_equal(s->request->body.len, 0);
    char *p = read_bytes(journal_path(""), &n);
    assert_null(memmem(p, n, "hunter2secret", 13));
    assert_null(memmem(p, n, zipped + 10, 20));
    free(p);
    pb_free(&f.record->base);
    redact_free(r);
}

/* ---- restart ---- */

static void sums_after_a_restart_equal_a_recount(void **state)
{
    struct opened o;
    struct err e = {0};
    (void)state;
    open_journal(&o);
    assert_false(journal_state(o.j)->found);
    begin_session(&o, 1);
    add_samples(&o, 1, 400);
    shadow_drops_add(&o.drops, "in-flight", 3);
    assert_int_equal(journal_dropped(o.j, "in-flight", 3, 0, &e), 0);
    close_journal(&o);
    open_journal(&o);
    const struct journal_state *s = journal_state(o.j);
    assert_true(s->found);
    assert_string_equal(s->spec_json, "{\"rate\": 100}");
    assert_int_equal(s->id, 77);
    assert_int_equal(s->run, 1);
    assert_int_equal(s->started_unix, 1790000000);
    assert_int_equal(s->decisions[2], 3);
    assert_int_equal(s->next_sample, 401);
    assert_int_equal(s->lost, 0);
    assert_false(s->ended);
    assert_sums(o.tally, 1, 400);
    assert_int_equal(dropped(&o.drops, "in-flight"), 3);
    add_samples(&o, 401, 500);
    assert_sums(o.tally, 1, 500);
    close_journal(&o);
    open_journal(&o);
    assert_sums(o.tally, 1, 500);
    close_journal(&o);
}

static void what_was_lost_counts_once_over_two_restarts(void **state)
{
    struct opened o;
    struct err e = {0};
    (void)state;
    open_journal(&o);
    begin_session(&o, 1);
    add_samples(&o, 1, 5);
    for (uint64_t n = 6; n <= 9; n++)
        assert_int_equal(journal_begun(o.j, n, &e), 0);
    shadow_drops_add(&o.drops, "memory", 1);
    assert_int_equal(journal_dropped(o.j, "memory", 1, 7, &e), 0);
    assert_int_equal(add_sample(&o, 8, &e), 0);
    close_journal(&o);
    open_journal(&o);
    assert_int_equal(journal_state(o.j)->lost, 2);
    assert_int_equal(journal_state(o.j)->next_sample, 10);
    assert_int_equal(dropped(&o.drops, "restart"), 2);
    assert_int_equal(dropped(&o.drops, "memory"), 1);
    close_journal(&o);
    open_journal(&o);
    assert_int_equal(journal_state(o.j)->lost, 0);
    assert_int_equal(dropped(&o.drops, "restart"), 2);
    assert_int_equal(tally_samples(o.tally), 6);
    close_journal(&o);
}

static void a_new_run_begins_with_no_sums(void **state)
{
    struct opened o;
    (void)state;
    open_journal(&o);
    begin_session(&o, 1);
    add_samples(&o, 1, 20);
    begin_session(&o, 2);
    add_samples(&o, 21, 30);
    close_journal(&o);
    open_journal(&o);
    assert_int_equal(journal_state(o.j)->run, 2);
    assert_int_equal(journal_state(o.j)->next_sample, 31);
    assert_sums(o.tally, 21, 30);
    close_journal(&o);
}

static void the_end_is_remembered(void **state)
{
    struct opened o;
    struct err e = {0};
    (void)state;
    open_journal(&o);
    begin_session(&o, 1);
    assert_int_equal(journal_end(o.j, "fail", "decision", 1790000009, &e), 0);
    close_journal(&o);
    open_journal(&o);
    const struct journal_state *s = journal_state(o.j);
    assert_true(s->ended);
    assert_string_equal(s->end_verdict, "fail");
    assert_string_equal(s->end_why, "decision");
    assert_int_equal(s->ended_unix, 1790000009);
    begin_session(&o, 2);
    assert_false(journal_state(o.j)->ended);
    close_journal(&o);
}

static void another_agent_is_kept_out_and_a_bad_name_is_refused(void **state)
{
    struct opened o;
    struct err e = {0};
    (void)state;
    open_journal(&o);
    struct tally *t = tally_new(0.01);
    struct shadow_drops d = {0};
    assert_null(journal_open(&journal_options, NAME, t, &d, &e));
    assert_int_equal(e.code, -EBUSY);
    assert_null(journal_open(&journal_options, "../x", t, &d, &e));
    assert_int_equal(e.code, -EINVAL);
    tally_free(t);
    close_journal(&o);
}

/* ---- segments ---- */

static int count_kinds(void *arg, struct str bytes)
{
    unsigned *counts = arg;
    struct journal_record r;
    struct err e;
    assert_int_equal(journal_parse(bytes, &r, &e), 0);
    counts[r.kind]++;
    return 0;
}

static void dropped_segments_keep_the_sums(void **state)
{
    struct opened o;
    struct err e = {0};
    unsigned counts[8] = {0};
    (void)state;
    journal_options.segment_bytes = 4096;
    journal_options.segments = 2;
    open_journal(&o);
    begin_session(&o, 1);
    assert_int_equal(journal_begun(o.j, 1000000, &e), 0); /* in a segment that will be gone */
    add_samples(&o, 1, 600);
    assert_true(journal_bytes(o.j) < 40000);
    close_journal(&o);
    assert_int_equal(access(path_of(journal_path(".000001")), F_OK), -1);
    open_journal(&o);
    const struct journal_state *s = journal_state(o.j);
    assert_true(s->found);
    assert_string_equal(s->spec_json, "{\"rate\": 100}");
    assert_int_equal(s->lost, 1);
    assert_sums(o.tally, 1, 600);
    close_journal(&o);
    assert_int_equal(journal_read(dir, NAME, count_kinds, counts, &e), 0);
    assert_int_equal(counts[JOURNAL_TOTALS], 3);
    assert_int_equal(counts[JOURNAL_SESSION], 3);
    assert_in_range(counts[JOURNAL_SAMPLE], 1, 599);
}

static int first_kind(void *arg, struct str bytes)
{
    struct journal_record r;
    struct err e;
    assert_int_equal(journal_parse(bytes, &r, &e), 0);
    *(enum journal_kind *)arg = r.kind;
    return 1;
}

/* Killed between the two renames: the newest segment is missing, or is empty. */
static void a_rotation_that_was_cut_short_loses_no_sums(void **state)
{
    struct opened o;
    enum journal_kind kind;
    struct err e = {0};
    (void)state;
    open_journal(&o);
    begin_session(&o, 1);
    add_samples(&o, 1, 50);
    close_journal(&o);
    char from[128];
    snprintf(from, sizeof(from), "%s", path_of(journal_path("")));
    assert_int_equal(rename(from, path_of(journal_path(".000001"))), 0);
    open_journal(&o);
    assert_int_equal(journal_state(o.j)->run, 1);
    assert_sums(o.tally, 1, 50);
    close_journal(&o);
    assert_int_equal(unlink(path_of(journal_path(".000001"))), 0);
    assert_int_equal(journal_read(dir, NAME, first_kind, &kind, &e), 1);
    assert_int_equal(kind, JOURNAL_TOTALS);
    open_journal(&o);
    assert_sums(o.tally, 1, 50);
    close_journal(&o);
}

static void a_reader_beside_the_writer_sees_what_is_whole(void **state)
{
    struct opened o;
    struct err e = {0};
    unsigned counts[8] = {0};
    (void)state;
    journal_options.segment_bytes = 4096;
    open_journal(&o);
    begin_session(&o, 1);
    assert_int_equal(journal_read(dir, "none", count_kinds, counts, &e), -ENOENT);
    for (uint64_t n = 1; n <= 100; n++) {
        memset(counts, 0, sizeof(counts));
        add_samples(&o, n, n);
        assert_int_equal(journal_read(dir, NAME, count_kinds, counts, &e), 0);
        assert_int_equal(counts[JOURNAL_SAMPLE], n);
    }
    close_journal(&o);
}

static void count_names(void *arg, const char *name)
{
    assert_string_equal(name, NAME);
    ++*(unsigned *)arg;
}

static void sessions_are_found_by_their_journals(void **state)
{
    struct opened o;
    struct err e = {0};
    unsigned n = 0;
    (void)state;
    assert_int_equal(mkdir(path_of("empty"), 0700), 0);
    assert_int_equal(journal_sessions(dir, count_names, &n, &e), 0);
    assert_int_equal(n, 0);
    open_journal(&o);
    close_journal(&o);
    assert_int_equal(journal_sessions(dir, count_names, &n, &e), 0);
    assert_int_equal(n, 1);
}

/* ---- a reader that shares no code ---- */

static void count_text(const struct opened *o, struct text *out)
{
    struct text whole = {0};
    sums_text(o->tally, &whole);
    for (char *line = whole.p, *end; (end = strchr(line, '\n')); line = end + 1) {
        struct str s = str_of(line, (size_t)(end - line));
        if (str_starts(s, STR("latencies ")))
            continue;
        if (str_find(s, '|') < s.n) /* without the shape */
            s.n -= 2;
        text_add(out, s);
        text_add(out, STR("\n"));
    }
    for (unsigned i = 0; i < o->drops.n; i++)
        text_fmt(
            out, "dropped %s %llu\n", o->drops.reason[i], (unsigned long long)o->drops.count[i]);
    text_release(&whole);
}

static void read_outside(const char *more, struct text *out)
{
    char command[256], buffer[4096];
    size_t n;
    snprintf(command, sizeof(command),
        "/usr/bin/python3 -B tests/blackbox/journal_reader.py %s/" NAME " %s", dir, more);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    while ((n = fread(buffer, 1, sizeof(buffer), p)) > 0)
        text_add(out, str_of(buffer, n));
    assert_int_equal(pclose(p), 0);
}

static void a_reader_that_shares_no_code_counts_the_same(void **state)
{
    struct opened o;
    struct err e = {0};
    struct text want = {0}, have = {0}, from_start = {0};
    (void)state;
    journal_options.segment_bytes = 16384;
    open_journal(&o);
    begin_session(&o, 1);
    add_samples(&o, 1, 10);
    begin_session(&o, 2);
    add_samples(&o, 11, 300);
    assert_int_equal(journal_begun(o.j, 301, &e), 0);
    close_journal(&o);
    open_journal(&o);
    count_text(&o, &want);
    close_journal(&o);
    assert_non_null(strstr(want.p, "dropped restart 1\n"));
    assert_int_equal(access(path_of(journal_path(".000002")), F_OK), 0);
    read_outside("", &have);
    read_outside("--from-start", &from_start);
    assert_string_equal(have.p, want.p);
    assert_string_equal(from_start.p, want.p);
    text_release(&want);
    text_release(&have);
    text_release(&from_start);
}

static int plain_options(void **state)
{
    journal_options = (struct journal_options){.messages = true};
    return make_dir(state);
}

/* Whoever is refused keeps the sums, and the journal goes on with the run before. */
static void new_run_that_memory_refuses_changes_nothing(void **state)
{
    bool all = false;
    unsigned failed = 0;
    (void)state;
    for (unsigned long nth = 1; !all; nth++) {
        struct opened o;
        struct err e = {0};
        open_journal(&o);
        begin_session(&o, 1);
        struct tally *tally = tally_new(0.01);
        struct shadow_drops drops = {0};
        struct journal_session s = {.name = NAME,
            .spec_json = "{}",
            .why = "restart",
            .id = 77,
            .run = 2,
            .tally = tally,
            .drops = &drops};
        mem_fail_nth(nth);
        int rc = journal_session(o.j, &s, &e);
        all = mem_count() < nth;
        mem_fail_nth(0);
        if (rc != 0) {
            failed++;
            assert_int_equal(rc, -ENOMEM);
            assert_int_equal(journal_state(o.j)->run, 1);
            journal_close(o.j);
            tally_free(o.tally);
            open_journal(&o);
            assert_int_equal(journal_state(o.j)->run, 1);
            assert_string_equal(journal_state(o.j)->spec_json, "{\"rate\": 100}");
        }
        assert_true(rc == 0 || !all);
        close_journal(&o);
        tally_free(tally);
    }
    assert_true(failed > 1);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, plain_options, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(new_run_that_memory_refuses_changes_nothing),
        TEST(every_field_of_a_sample_comes_back),
        TEST(a_difference_has_the_texts_of_those_who_differ),
        TEST(a_body_above_the_limit_is_left_out_with_its_hash),
        TEST(a_gzip_body_is_kept_plain_and_one_that_cannot_be_unpacked_is_left_out),
        TEST(text_that_is_no_utf8_is_escaped),
        TEST(without_messages_only_differences_and_latencies_are_kept),
        TEST(no_secret_reaches_the_disk), TEST(sums_after_a_restart_equal_a_recount),
        TEST(what_was_lost_counts_once_over_two_restarts), TEST(a_new_run_begins_with_no_sums),
        TEST(the_end_is_remembered), TEST(another_agent_is_kept_out_and_a_bad_name_is_refused),
        TEST(dropped_segments_keep_the_sums), TEST(a_rotation_that_was_cut_short_loses_no_sums),
        TEST(a_reader_beside_the_writer_sees_what_is_whole),
        TEST(sessions_are_found_by_their_journals),
        TEST(a_reader_that_shares_no_code_counts_the_same)};
    return unit_run(tests);
}
