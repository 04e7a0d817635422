/* Sessions that were given a FileDescriptorSet: names of gRPC, in differences and in the journal.
 */
#include "tests/unit/agent/session_fixture.h"
#include "tests/unit/compare/shop.h"

#define METHOD "/shop.Shop/List"
#define SECRET "hunter2 and more"

static struct pb_out set;

static int begin(void **state)
{
    shop_write(&set, "proto3");
    return play_begin(state);
}

static int end(void **state)
{
    pb_release(&set);
    return play_end(state);
}

/* NULL with e. */
static struct session *start_with(struct str descriptors, struct err *e)
{
    const char *const item[] = {BASE, "until=limit", "redact=currency", "epsilon=0.5"};
    struct session_spec spec;
    if (parse(&spec, e, item, sizeof item / sizeof *item) != 0)
        fail_msg("%s", e->text);
    spec.descriptors = descriptors;
    return session_start(&play.host, &spec, "start: test", e);
}

static struct session *start(struct str descriptors)
{
    struct err e = {0};
    struct session *s = start_with(descriptors, &e);
    if (!s)
        fail_msg("%s", e.text);
    return s;
}

static struct session *resumed(void)
{
    struct err e = {0};
    struct session *s = session_resume(&play.host, "s", &e);
    if (!s)
        fail_msg("%s", e.text);
    return s;
}

/* ---- calls ---- */

static struct reply_field grpc_type = {{"content-type", 12}, {"application/grpc", 16}};

static struct str framed(struct pb_out *message, struct pb_out *ret)
{
    const char head[5] = {0, 0, 0, 0, (char)message->n};
    pb_raw(ret, head, sizeof head);
    pb_raw(ret, message->p, message->n);
    pb_release(message);
    return pb_str(ret);
}

/* Reply { password, count } */
static struct str reply_of(uint64_t count, struct pb_out *ret)
{
    struct pb_out m = {0};
    pb_bytes(&m, 5, STR(SECRET));
    pb_uint(&m, 6, count);
    return framed(&m, ret);
}

static struct mirrored answered(struct str body, unsigned char trace)
{
    struct mirrored m = {.reply = play_exchange.primary};
    m.reply.body = body;
    memset(m.trace_id, trace, TRACE_BYTES);
    return m;
}

/* Safe, as the graph says of no service; the candidate counts one more. The request, Money, has the
 * currency for a secret. */
static void call(struct session *s, const char *path)
{
    struct exchange *x = &play_exchange;
    struct pb_out money = {0}, request = {0}, same = {0}, other = {0};
    pb_bytes(&money, 1, STR(SECRET));
    *x = (struct exchange){.refs = 1,
        .sessions = {session_id(s)},
        .nsessions = 1,
        .method = STR("GET"),
        .authority = STR("shop"),
        .path = str_c(path),
        .environment = STR("main"),
        .service = STR("cart"),
        .client = STR("10.0.0.1"),
        .grpc = true,
        .fields = &grpc_type,
        .nfields = 1,
        .body = framed(&money, &request),
        .primary = {.status = 200,
            .fields = &grpc_type,
            .nfields = 1,
            .body = reply_of(3, &same),
            .latency_us = 1000}};
    memset(x->trace_id, ++play.traces, TRACE_BYTES);
    session_exchange(s, x);
    assert_int_equal(play.nsent, 1);
    struct sent sent = play.sent[--play.nsent];
    struct mirror_result r = {
        .secondary = answered(pb_str(&same), 101), .candidate = answered(reply_of(4, &other), 201)};
    sent.fn(sent.arg, sent.x, &r);
    pb_release(&request);
    pb_release(&same);
    pb_release(&other);
}

static bool journal_holds(const char *text)
{
    size_t n;
    char *p = read_bytes("shadow/s/journal", &n);
    bool found = memmem(p, n, text, strlen(text)) != NULL;
    free(p);
    return found;
}

/* ---- tests ---- */

static void fields_are_told_by_name_and_secrets_by_name_are_not_kept(void **state)
{
    struct session *s = start(pb_str(&set));
    char want[80];
    (void)state;
    prove(s);
    call(s, METHOD "?a=1");
    shows(s, "\"path\":\"body.message[].count\",\"kind\":\"value\"");
    shows(s, "\"primary\":\"3\",\"secondary\":\"3\",\"candidate\":\"4\"");
    snprintf(want, sizeof want, "\"descriptors\":{\"bytes\":%zu,\"untyped_samples\":0", set.n);
    shows(s, want);
    session_free(s);
    assert_true(journal_holds("[redacted:"));
    assert_false(journal_holds(SECRET));
}

/* The same without names: what the test above would see if nothing were redacted by them. */
static void without_descriptors_fields_go_by_number(void **state)
{
    struct session *s = start((struct str){0});
    (void)state;
    prove(s);
    call(s, METHOD);
    shows(s, "\"path\":\"body.message[].6\",\"kind\":\"value\"");
    shows(s, "\"descriptors\":null,");
    assert_int_equal(play.stats[STAT_SHADOW_UNTYPED], 0);
    session_free(s);
    assert_true(journal_holds(SECRET));
    assert_int_not_equal(access(path_of("shadow/s/descriptors"), F_OK), 0);
}

static void they_are_known_after_a_restart_of_the_agent_and_of_the_session(void **state)
{
    struct session *s = start(pb_str(&set));
    struct stat st;
    struct err e = {0};
    size_t n;
    (void)state;
    session_free(s);
    assert_int_equal(stat(path_of("shadow/s/descriptors"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    char *kept = read_bytes("shadow/s/descriptors", &n);
    assert_true(str_eq(str_of(kept, n), pb_str(&set)));
    free(kept);
    s = resumed();
    prove(s);
    call(s, METHOD);
    shows(s, "\"path\":\"body.message[].count\"");
    assert_int_equal(session_stop(s, "", &e), 0);
    session_free(s);
    s = resumed();
    assert_int_equal(session_restart(s, "", &e), 0);
    prove(s);
    call(s, METHOD);
    shows(s, "\"path\":\"body.message[].count\"");
    session_free(s);
    assert_false(journal_holds(SECRET));
}

static void a_session_whose_descriptors_are_gone_ends(void **state)
{
    struct err e = {0};
    (void)state;
    session_free(start(pb_str(&set)));
    write_bytes("shadow/s/descriptors", set.p, set.n - 1);
    struct session *s = resumed();
    assert_int_equal(session_state(s), SESSION_ENDED);
    shows(s, "\"ended_why\":\"descriptors: cannot read '");
    assert_true(session_restart(s, "", &e) < 0);
    assert_non_null(strstr(e.text, "descriptors: cannot read '"));
    assert_int_equal(session_state(s), SESSION_ENDED);
    session_free(s);
}

static void sets_that_are_of_no_use_are_refused_and_leave_nothing(void **state)
{
    struct pb_out twice = {0}, empty = {0};
    (void)state;
    shop_write(&twice, "proto3");
    shop_write(&twice, "proto3");
    pb_bytes(&empty, 1, STR("\x0a\x01x")); /* a file named x */
    static char large[SPEC_DESCRIPTORS_MAX + 1];
    const struct {
        struct str bytes;
        const char *want;
    } bad[] = {{str_of(pb_str(&set).p, set.n - 1), "descriptors: no FileDescriptorSet, or not all"},
        {pb_str(&twice), "descriptors: descriptors have 'shop.Item' twice"},
        {pb_str(&empty), "descriptors: no method of a service"},
        {str_of(large, sizeof large), "descriptors: more than 4194304 bytes"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        assert_null(start_with(bad[i].bytes, &e));
        assert_int_equal(e.code, -EINVAL);
        if (strncmp(e.text, bad[i].want, strlen(bad[i].want)) != 0)
            fail_msg("'%s', not '%s'", e.text, bad[i].want);
        assert_int_not_equal(access(path_of("shadow/s"), F_OK), 0);
    }
    pb_release(&twice);
    pb_release(&empty);
}

static void methods_that_they_lack_are_told_and_counted(void **state)
{
    struct session *s = start(pb_str(&set));
    struct text t = {0};
    char path[40];
    (void)state;
    prove(s);
    call(s, "/shop.Shop/Find");
    call(s, METHOD);
    shows(s, "\"untyped_samples\":1,\"untyped\":[{\"method\":\"/shop.Shop/Find\",\"samples\":1}]");
    shows(s, "\"path\":\"body.message[].6\"");
    session_free(s);
    s = resumed();
    prove(s);
    call(s, "/shop.Shop/Find");
    shows(s, "\"untyped_samples\":2,\"untyped\":[{\"method\":\"/shop.Shop/Find\",\"samples\":2}]");
    session_show(s, false, 50, &t);
    assert_non_null(
        strstr(t.p, "  no message type for /shop.Shop/Find: fields by number, 2 samples\n"));
    text_release(&t);
    for (unsigned i = 0; i < 20; i++) { /* they have an end */
        snprintf(path, sizeof path, "/shop.Shop/Find%u", i);
        call(s, path);
    }
    shows(s, "\"untyped_samples\":22,");
    shows(s, "{\"method\":\"/shop.Shop/Find14\",\"samples\":1}]");
    assert_int_equal(play.stats[STAT_SHADOW_UNTYPED], 22);
    session_free(s);
}

/* A start that failed behind them is no descriptors of a session that has none. */
static void descriptors_of_another_start_are_not_taken(void **state)
{
    (void)state;
    session_free(start((struct str){0}));
    write_bytes("shadow/s/descriptors", set.p, set.n);
    struct session *s = resumed();
    shows(s, "\"descriptors\":null,");
    prove(s);
    call(s, METHOD);
    shows(s, "\"path\":\"body.message[].6\"");
    session_free(s);
}

static void each_allocation_of_a_start_may_fail(void **state)
{
    struct session *s = NULL;
    unsigned long nth = 1;
    (void)state;
    for (bool all = false; !all; nth++) {
        char name[32];
        snprintf(name, sizeof name, "name=s%lu", nth);
        const char *const item[] = {name, "baseline=main", "candidate=team"};
        struct session_spec spec;
        struct err e = {0};
        assert_int_equal(parse(&spec, &e, item, 3), 0);
        spec.descriptors = pb_str(&set);
        mem_fail_nth(nth);
        s = session_start(&play.host, &spec, "start", &e);
        all = mem_count() < nth;
        mem_fail_nth(0);
        assert_true(all ? s != NULL : s || e.code != 0);
        session_free(s);
    }
    assert_true(nth > 20);
}

#define GRPC_TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GRPC_TEST(fields_are_told_by_name_and_secrets_by_name_are_not_kept),
        GRPC_TEST(without_descriptors_fields_go_by_number),
        GRPC_TEST(they_are_known_after_a_restart_of_the_agent_and_of_the_session),
        GRPC_TEST(a_session_whose_descriptors_are_gone_ends),
        GRPC_TEST(sets_that_are_of_no_use_are_refused_and_leave_nothing),
        GRPC_TEST(methods_that_they_lack_are_told_and_counted),
        GRPC_TEST(descriptors_of_another_start_are_not_taken),
        GRPC_TEST(each_allocation_of_a_start_may_fail),
    };
    return unit_run(tests);
}
