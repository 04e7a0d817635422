/* States of a session, its runs, its drops, and that its journal makes it go on. */
#include "tests/unit/agent/session_fixture.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static void canary_sends_secondaries_of_safe_methods_one_at_a_time(void **state)
{
    struct session *s = START("until=limit");
    (void)state;
    shows(s, "\"state\":\"canary\",\"verdict\":\"inconclusive\",\"why\":\"waiting for traffic\"");
    asked(s, "POST", "{}");
    assert_int_equal(play.nsent, 0);
    asked(s, "GET", "{}");
    asked(s, "GET", "{}");
    assert_int_equal(play.nsent, 1);
    assert_true(play.sent[0].only_secondary);
    assert_string_equal(play.sent[0].secondary, "main");
    replied("{}", "", NULL);
    shows(s, "\"dropped\":{\"method\":1,\"canary\":1}");
    shows(s, "\"samples\":0,");
    session_free(s);
}

static void sample_is_sent_to_both_compared_and_counted(void **state)
{
    struct session *s = START("until=limit");
    (void)state;
    prove(s);
    asked(s, "GET", "{\"a\":1}");
    assert_false(play.sent[0].only_secondary);
    assert_string_equal(play.sent[0].candidate, "team");
    replied("{\"a\":1}", "{\"a\":2}", NULL);
    shows(s, "\"samples\":1,");
    shows(s, "\"endpoint\":\"cart GET /items/{}\",\"path\":\"body.a\",\"kind\":\"value\"");
    shows(s, "\"primary\":\"1\",\"secondary\":\"1\",\"candidate\":\"2\"");
    shows(s, "\"state\":\"running\"");
    session_free(s);
}

static void what_is_lost_is_dropped_with_its_reason(void **state)
{
    struct session *s = START("until=limit");
    (void)state;
    prove(s);
    asked(s, "GET", "{}");
    replied("{}", "{}", "connection");
    play.refuse = "in-flight";
    asked(s, "GET", "{}");
    play.refuse = NULL;
    asked(s, "DELETE", "{}");
    session_dropped(s, "body", 3);
    session_dropped(s, "a word of a later version", 2);
    shows(s, "\"dropped\":{\"connection\":1,\"in-flight\":1,\"method\":1,\"body\":3,\"other\":2}");
    shows(s, "\"samples\":0,");
    shows(s, "\"in_flight\":0,");
    session_free(s);
}

static void session_that_waits_tells_what_its_traffic_was_dropped_for(void **state)
{
    struct session *s = START("until=limit");
    (void)state;
    shows(s, "\"why\":\"waiting for traffic\"");
    play.refuse = "connection";
    asked(s, "GET", "{}");
    session_dropped(s, "canary", 5);
    shows(s, "\"why\":\"waiting for traffic that is of use; dropped so far: connection 1\"");
    session_free(s);
}

static void exchange_of_another_session_or_environment_is_not_sent(void **state)
{
    struct session *s = START("until=limit");
    (void)state;
    asked(s, "GET", "{}");
    replied("{}", "", NULL);
    play_exchange.sessions[0]++;
    session_exchange(s, &play_exchange);
    play_exchange.sessions[0]--;
    play_exchange.environment = STR("team");
    session_exchange(s, &play_exchange);
    assert_int_equal(play.nsent, 0);
    shows(s, "\"dropped\":{\"context\":1}");
    session_free(s);
}

static void secondary_of_its_own_gets_unsafe_methods_too(void **state)
{
    static const char *const params[] = {
        "name=s", "baseline=main", "candidate=main", "until=limit", "secondary=team"};
    struct session *s = play_start(params, sizeof params / sizeof *params);
    (void)state;
    prove(s);
    asked(s, "POST", "{}");
    assert_int_equal(play.nsent, 1);
    assert_string_equal(play.sent[0].secondary, "team");
    replied("{}", "{}", NULL);
    session_free(s);
}

static void difference_often_enough_ends_it_with_fail(void **state)
{
    struct session *s = START("epsilon=0.5");
    unsigned n = 0;
    (void)state;
    prove(s);
    for (; session_state(s) == SESSION_RUNNING && n < 100; n++) {
        asked(s, "GET", "{\"a\":1}");
        replied("{\"a\":1}", "{\"a\":\"1\"}", NULL);
    }
    assert_true(n >= 9 && n < 20);
    assert_int_equal(session_verdict(s), VERDICT_FAIL);
    shows(s, "\"ended_why\":\"decision\"");
    shows(s, "\"why\":\"headline field: only the candidate differs in ");
    session_free(s);
}

static void it_ends_by_samples_by_time_and_by_command_once(void **state)
{
    struct err e = {0};
    (void)state;
    struct session *s = START("samples=2", "until=limit");
    prove(s);
    for (unsigned i = 0; i < 2; i++) {
        asked(s, "GET", "{}");
        replied("{}", "{}", NULL);
    }
    assert_int_equal(session_state(s), SESSION_ENDED);
    shows(s, "\"ended_why\":\"samples\"");
    shows(s, "\"why\":\"samples; 2 samples, some ");
    asked(s, "GET", "{}");
    assert_int_equal(play.nsent, 0);
    assert_int_equal(session_stop(s, "again", &e), -EALREADY);
    assert_int_equal(session_restart(s, "", &e), 0);
    shows(s, "\"run\":2,");
    shows(s, "\"samples\":0,");
    the_time += 24 * 3600 - 1;
    session_tick(s);
    assert_int_equal(session_state(s), SESSION_CANARY);
    the_time++;
    session_tick(s);
    shows(s, "\"ended_why\":\"time\"");
    assert_int_equal(session_restart(s, "", &e), 0);
    assert_int_equal(session_stop(s, "enough", &e), 0);
    shows(s, "\"ended_why\":\"stopped: enough\"");
    session_free(s);
}

/* They may stall together. */
static void of_samples_on_their_way_together_one_latency_counts(void **state)
{
    struct session *s = START("until=limit");
    (void)state;
    prove(s);
    for (unsigned i = 0; i < 3; i++)
        asked(s, "GET", "{}");
    for (unsigned i = 0; i < 3; i++)
        replied("{}", "{}", NULL);
    shows(s, "\"samples\":3,");
    shows(s, "{\"name\":\"field\",\"pairs\":3,");
    shows(s, "{\"name\":\"latency\",\"pairs\":1,");
    asked(s, "GET", "{}");
    replied("{}", "{}", NULL);
    shows(s, "{\"name\":\"latency\",\"pairs\":2,");
    session_free(s);
}

static void word_of_a_refusal_is_the_reason_of_its_drop(void **state)
{
    struct session *s = START("until=limit");
    (void)state;
    prove(s);
    asked(s, "GET", "{}");
    replied("{}", "{}", "rate-limited");
    shows(s, "\"dropped\":{\"rate-limited\":1}");
    session_free(s);
}

static void samples_on_their_way_at_the_end_are_dropped_as_stopped(void **state)
{
    struct err e = {0};
    struct session *s = START("until=limit");
    (void)state;
    prove(s);
    asked(s, "GET", "{}");
    assert_int_equal(session_stop(s, "", &e), 0);
    replied("{}", "{}", NULL);
    shows(s, "\"samples\":0,");
    shows(s, "\"dropped\":{\"stopped\":1}");
    session_free(s);
}

static void lost_context_ends_it_inconclusive(void **state)
{
    struct err e = {0};
    struct session *s = START("until=limit");
    (void)state;
    prove(s);
    asked(s, "GET", "{}");
    struct hop h = {.node = STR("gw-1"), .service = STR("pricing"), .kind = HOP_OF_LOST};
    memset(h.trace_id, play.traces + 100, TRACE_BYTES);
    session_hop(s, &h); /* before anybody knows whose it is */
    assert_int_equal(session_state(s), SESSION_RUNNING);
    replied("{}", "{}", NULL);
    assert_int_equal(session_state(s), SESSION_ENDED);
    assert_int_equal(session_verdict(s), VERDICT_INCONCLUSIVE);
    shows(s, "\"ended_why\":\"context-lost: a dark request without its context came to service "
             "'pricing'");
    shows(s, "\"why\":\"context-lost: a dark request without its context came to service "
             "'pricing' at proxy 'gw-1' (environment ''): whoever called it does not pass the "
             "context on\",");
    shows(s, "\"context\":{\"state\":\"lost\"");
    assert_int_equal(counter_get(&play.stats[STAT_SHADOW_CONTEXT_LOST]), 1);
    /* The sample that told it is none, and the journal knows. */
    shows(s, "\"samples\":0,");
    shows(s, "\"dropped\":{\"stopped\":1}");
    session_free(s);
    s = session_resume(&play.host, "s", &e);
    assert_non_null(s);
    shows(s, "\"dropped\":{\"stopped\":1}");
    session_free(s);
}

static void changed_decisions_begin_a_new_run_and_others_do_not(void **state)
{
    struct err e = {0};
    struct session *s = START("until=limit");
    (void)state;
    prove(s);
    asked(s, "GET", "{\"a\":1}");
    replied("{\"a\":1}", "{\"a\":2}", NULL);
    write_text("graph.yaml", SHOP TEAM "---\napiVersion: offshoot.dev/v1\nkind: Environment\n"
                                       "metadata: {name: other}\nspec: {mode: overlay, parent: "
                                       "main}\n");
    assert_int_equal(core_reload(play.core, "test", &e), 0);
    session_commit(s);
    shows(s, "\"run\":1,");
    asked(s, "GET", "{}"); /* on its way while the graph changes */
    write_text("graph.yaml", SHOP);
    FILE *f = fopen(path_of("graph.yaml"), "a");
    assert_non_null(f);
    fputs("---\napiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: team}\nspec:\n"
          "  mode: overlay\n  parent: main\n"
          "  providers: {cart: {endpoints: [\"10.1.7.9:80\"]}}\n",
        f);
    fclose(f);
    assert_int_equal(core_reload(play.core, "test", &e), 0);
    session_commit(s);
    shows(s, "\"state\":\"canary\"");
    shows(s, "\"run\":2,");
    shows(s, "\"samples\":0,");
    shows(s, "\"fields\":[],");
    replied("{}", "{}", NULL);
    shows(s, "\"samples\":0,");
    shows(s, "\"dropped\":{}");
    write_text("graph.yaml", SHOP);
    assert_int_equal(core_reload(play.core, "test", &e), 0);
    session_commit(s);
    shows(s, "\"ended_why\":\"environment-gone: candidate: there is no environment 'team'\"");
    session_free(s);
}

static void session_goes_on_from_its_journal(void **state)
{
    struct err e = {0};
    struct session *s = START("until=limit", "ignore=body.b", "rate=12.5", "for=2h");
    uint64_t id = session_id(s), seed = session_seed(s);
    (void)state;
    prove(s);
    for (unsigned i = 0; i < 3; i++) {
        asked(s, "GET", "{\"a\":1,\"b\":1}");
        replied("{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":3}", NULL);
    }
    session_dropped(s, "head", 4);
    session_free(s);
    s = session_resume(&play.host, "s", &e);
    if (!s)
        fail_msg("%s", e.text);
    assert_true(session_id(s) == id && session_seed(s) == seed);
    assert_int_equal(session_state(s), SESSION_CANARY);
    shows(s, "\"samples\":3,");
    shows(s, "\"candidate_only\":3,\"secondary_only\":0");
    shows(s, "\"primary\":\"1\",\"secondary\":\"1\",\"candidate\":\"2\"");
    shows(s, "\"dropped\":{\"head\":4}");
    shows(s, "\"rate\":12.5,\"samples\":null,\"for\":\"2h\"");
    prove(s);
    asked(s, "GET", "{\"a\":1,\"b\":1}");
    replied("{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":3}", NULL);
    shows(s, "\"samples\":4,");
    assert_int_equal(session_stop(s, "done", &e), 0);
    session_free(s);
    s = session_resume(&play.host, "s", &e);
    assert_non_null(s);
    assert_int_equal(session_state(s), SESSION_ENDED);
    shows(s, "\"ended_why\":\"stopped: done\"");
    shows(s, "\"samples\":4,");
    session_free(s);
    assert_null(session_resume(&play.host, "none", &e));
}

static uint64_t needed(const struct session *s)
{
    struct text t = {0};
    session_show(s, true, 0, &t);
    const char *at = strstr(t.p, "\"samples_needed\":");
    assert_non_null(at);
    uint64_t n = strtoull(at + 17, NULL, 10);
    text_release(&t);
    return n;
}

static void it_waits_for_as_many_samples_as_before(void **state)
{
    struct err e = {0};
    struct session *s = START("until=limit", "epsilon=0.25");
    (void)state;
    prove(s);
    asked(s, "GET", "{}");
    replied("{}", "{}", NULL);
    uint64_t before = needed(s);
    session_free(s);
    s = session_resume(&play.host, "s", &e);
    assert_non_null(s);
    assert_true(before > 0 && needed(s) == before);
    session_free(s);
}

static void name_with_a_journal_is_not_taken_again(void **state)
{
    const char *const item[] = {BASE};
    struct session_spec spec;
    struct err e = {0};
    (void)state;
    session_free(START("until=limit"));
    assert_int_equal(parse(&spec, &e, item, 3), 0);
    assert_null(session_start(&play.host, &spec, "start", &e));
    assert_int_equal(e.code, -EEXIST);
}

static void values_of_headers_do_not_survive_and_end_it(void **state)
{
    struct err e = {0};
    struct session *s = START("header=Authorization: Bearer secret");
    (void)state;
    shows(s, "\"headers\":[\"authorization\"]");
    session_free(s);
    s = session_resume(&play.host, "s", &e);
    assert_non_null(s);
    assert_int_equal(session_state(s), SESSION_ENDED);
    shows(s, "\"ended_why\":\"headers: ");
    assert_int_equal(session_restart(s, "", &e), -EINVAL);
    session_free(s);
}

/* Lines of the log since the last call. */
static unsigned lines_said(int fd, char *room, size_t size)
{
    ssize_t n = read(fd, room, size - 1);
    unsigned lines = 0;
    room[n > 0 ? n : 0] = '\0';
    for (const char *p = room; (p = strchr(p, '\n')); p++)
        lines++;
    return lines;
}

static void limit_files(rlim_t bytes)
{
    struct rlimit l;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = bytes < l.rlim_max ? bytes : l.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void full_disk_is_said_once_a_second_and_counted_each_time(void **state)
{
    char said[4096];
    int fd[2];
    (void)state;
    assert_int_equal(pipe2(fd, O_NONBLOCK | O_CLOEXEC), 0);
    struct session *s = START("until=limit");
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    log_set_level(LOG_LEVEL_WARN);
    log_to(fd[1], false);
    limit_files(1);
    for (unsigned i = 0; i < 300; i++)
        session_dropped(s, "in-flight", 1);
    assert_int_equal(lines_said(fd[0], said, sizeof said), 1);
    play.ms += 999;
    session_dropped(s, "in-flight", 1);
    assert_int_equal(lines_said(fd[0], said, sizeof said), 0);
    play.ms += 1;
    session_dropped(s, "in-flight", 1);
    assert_int_equal(lines_said(fd[0], said, sizeof said), 1);
    assert_non_null(strstr(said, "(left unsaid before it: 300)"));
    session_dropped(s, "in-flight", 1);
    limit_files(RLIM_INFINITY);
    session_tick(s);
    assert_int_equal(lines_said(fd[0], said, sizeof said), 0);
    play.ms += 1000;
    session_tick(s);
    session_tick(s);
    assert_int_equal(lines_said(fd[0], said, sizeof said), 1);
    assert_non_null(strstr(said, "session 's': faults of its journal left unsaid: 1"));
    assert_int_equal(counter_get(&play.stats[STAT_SHADOW_JOURNAL_ERRORS]), 303);
    log_to(STDERR_FILENO, false);
    signal(SIGXFSZ, before);
    session_free(s);
    close(fd[0]);
    close(fd[1]);
}

/* No session, or a whole one; nothing stays behind. */
static void each_allocation_of_a_start_may_fail(void **state)
{
    unsigned long nth = 1, failed = 0;
    bool all = false;
    (void)state;
    for (; !all; nth++) {
        char name[32];
        snprintf(name, sizeof name, "name=s%lu", nth);
        const char *const item[] = {name, "baseline=main", "candidate=team"};
        struct session_spec spec;
        struct err e = {0};
        assert_int_equal(parse(&spec, &e, item, 3), 0);
        mem_fail_nth(nth);
        struct session *s = session_start(&play.host, &spec, "start", &e);
        all = mem_count() < nth;
        mem_fail_nth(0);
        assert_true(s || e.code != 0);
        assert_true(!all || s);
        failed += !s;
        session_free(s);
    }
    assert_true(failed > 5);
}

#define SESSION_TEST(t) cmocka_unit_test_setup_teardown(t, play_begin, play_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SESSION_TEST(canary_sends_secondaries_of_safe_methods_one_at_a_time),
        SESSION_TEST(sample_is_sent_to_both_compared_and_counted),
        SESSION_TEST(what_is_lost_is_dropped_with_its_reason),
        SESSION_TEST(session_that_waits_tells_what_its_traffic_was_dropped_for),
        SESSION_TEST(exchange_of_another_session_or_environment_is_not_sent),
        SESSION_TEST(secondary_of_its_own_gets_unsafe_methods_too),
        SESSION_TEST(difference_often_enough_ends_it_with_fail),
        SESSION_TEST(it_ends_by_samples_by_time_and_by_command_once),
        SESSION_TEST(of_samples_on_their_way_together_one_latency_counts),
        SESSION_TEST(word_of_a_refusal_is_the_reason_of_its_drop),
        SESSION_TEST(samples_on_their_way_at_the_end_are_dropped_as_stopped),
        SESSION_TEST(lost_context_ends_it_inconclusive),
        SESSION_TEST(changed_decisions_begin_a_new_run_and_others_do_not),
        SESSION_TEST(session_goes_on_from_its_journal),
        SESSION_TEST(it_waits_for_as_many_samples_as_before),
        SESSION_TEST(name_with_a_journal_is_not_taken_again),
        SESSION_TEST(full_disk_is_said_once_a_second_and_counted_each_time),
        SESSION_TEST(each_allocation_of_a_start_may_fail),
        SESSION_TEST(values_of_headers_do_not_survive_and_end_it),
    };
    return unit_run(tests);
}
