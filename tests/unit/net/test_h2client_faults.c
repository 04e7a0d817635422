/* How calls of an HTTP/2 client end otherwise: deadlines, resets, lost connections, bad servers. */
#include "tests/unit/net/h2client_fixture.h"

static void answer_none(struct server *s, struct asked *a)
{
    (void)s;
    (void)a;
}

static void a_deadline_ends_one_call_and_resets_its_stream(void **state)
{
    struct server *s = server_new();
    struct got g[2] = {{0}};
    (void)state;
    s->on_request = answer_none;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    uint64_t from = clock_mono_ms();
    ask_for(c, "/slow", STR(""), 31, &g[0]);
    ask_for(c, "/quick", STR(""), 60000, &g[1]);
    until(s, g[0].told && s->asked[0].reset);
    assert_int_equal(g[0].end, H2CALL_TIMEOUT);
    assert_true(clock_mono_ms() - from >= 30);
    assert_int_equal(s->asked[0].reset_code, 8);
    server_answer(s, &s->asked[1], "late");
    server_flush(s);
    until(s, g[1].told);
    assert_int_equal(g[1].end, H2CALL_WHOLE);
    assert_int_equal(s->nconns, 1);
    h2client_free(c);
    got_release(g, 2);
    server_free(s);
}

static void a_cancelled_call_is_told_nothing(void **state)
{
    struct server *s = server_new();
    struct got g[3] = {{0}};
    (void)state;
    s->on_request = answer_none;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    h2call_cancel(ask(c, "/never-sent", &g[0]));
    struct h2call *call = ask(c, "/sent", &g[1]);
    ask(c, "/stays", &g[2]);
    until(s, s->nended == 2);
    h2call_cancel(call);
    until(s, s->asked[0].reset);
    assert_non_null(strstr(s->asked[0].fields, ":path: /sent"));
    server_answer(s, &s->asked[1], "x");
    server_flush(s);
    until(s, g[2].told);
    assert_int_equal(g[0].told + g[1].told, 0);
    assert_int_equal(h2client_calls(c), 0);
    h2client_free(c);
    got_release(g, 3);
    server_free(s);
}

static void reset_by_path(struct server *s, struct asked *a)
{
    const char *path = strstr(a->fields, ":path: /") + 8;
    if (*path == 'h')
        server_head(s, a->id, ":status: 200\n", false);
    server_numbers(s, T_RST, a->id, 1, (uint32_t)strtoul(path + 1, NULL, 10), 0);
}

static void a_reset_is_told_with_its_code(void **state)
{
    struct server *s = server_new();
    struct got g[3] = {{0}};
    (void)state;
    s->on_request = reset_by_path;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    ask(c, "/x2", &g[0]);
    ask(c, "/x7", &g[1]);
    ask(c, "/h11", &g[2]);
    until(s, g[0].told && g[1].told && g[2].told);
    assert_int_equal(g[0].end, H2CALL_RESET);
    assert_int_equal(g[0].reset, 2);
    assert_int_equal(g[1].end, H2CALL_RESET);
    assert_int_equal(g[1].reset, 7);
    assert_int_equal(g[2].end, H2CALL_RESET);
    assert_int_equal(g[2].reset, 11);
    assert_true(h2client_up(c));
    h2client_free(c);
    got_release(g, 3);
    server_free(s);
}

static void break_by_path(struct server *s, struct asked *a)
{
    if (strstr(a->fields, ":path: /name"))
        server_head(s, a->id, ":status: 200\nUpper: 1\n", true);
    else if (strstr(a->fields, ":path: /status"))
        server_head(s, a->id, ":status: 99\n", true);
    else if (strstr(a->fields, ":path: /trailer")) {
        server_head(s, a->id, ":status: 200\n", false);
        server_head(s, a->id, "content-length: 3\n", true);
    } else {
        server_head(s, a->id, ":status: 200\ncontent-length: 9\n", false);
        server_frame(s, T_DATA, F_END_STREAM, a->id, STR("short"));
    }
}

static void what_is_no_reply_is_broken(void **state)
{
    static const char *const paths[] = {"/name", "/status", "/trailer", "/length"};
    struct server *s = server_new();
    struct got g[5] = {{0}};
    (void)state;
    s->on_request = break_by_path;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    for (int i = 0; i < 4; i++)
        ask(c, paths[i], &g[i]);
    until(s, g[0].told && g[1].told && g[2].told && g[3].told);
    for (int i = 0; i < 4; i++)
        assert_int_equal(g[i].end, H2CALL_BROKEN);
    assert_int_equal(s->nconns, 1);
    h2client_free(c);
    got_release(g, 5);
    server_free(s);
}

static void a_request_that_would_be_two_is_never_sent(void **state)
{
    struct server *s = server_new();
    struct got g[3] = {{0}};
    struct reply_field_view bad[] = {{STR("x"), STR("1\r\ny: 2")}, {STR("upgrade"), STR("h2c")}};
    struct h2request r = {.method = STR("GET"),
        .scheme = STR("http"),
        .authority = STR("a"),
        .path = STR("/"),
        .fields = bad,
        .nfields = 1};
    (void)state;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    h2client_request(c, &r, on_told, &g[0]);
    r.fields = bad + 1;
    h2client_request(c, &r, on_told, &g[1]);
    ask(c, "/a b", &g[2]);
    until(s, g[0].told && g[1].told && g[2].told);
    for (int i = 0; i < 3; i++)
        assert_int_equal(g[i].end, H2CALL_LOST);
    assert_true(h2client_up(c));
    assert_int_equal(s->nasked, 0);
    h2client_free(c);
    got_release(g, 3);
    server_free(s);
}

/* ---- connections ---- */

static void goaway_loses_calls_above_it_and_later_ones_go_elsewhere(void **state)
{
    struct server *s = server_new();
    struct got g[4] = {{0}};
    (void)state;
    s->on_request = answer_none;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    ask(c, "/answered", &g[0]);
    ask(c, "/above", &g[1]);
    until(s, s->nended == 2);
    server_numbers(s, T_GOAWAY, 0, 2, s->asked[0].id, 0);
    server_flush(s);
    until(s, g[1].told);
    assert_int_equal(g[1].end, H2CALL_LOST);
    assert_int_equal(g[0].told, 0);
    ask(c, "/elsewhere", &g[2]);
    until(s, s->nended == 3);
    assert_int_equal(s->nconns, 2);
    server_answer(s, &s->asked[2], "new");
    server_flush(s);
    until(s, g[2].told);
    assert_int_equal(g[2].end, H2CALL_WHOLE);
    server_answer(s, &s->asked[0], "old");
    bufferevent_write(s->old, s->out.bytes, s->out.n);
    s->out.n = 0;
    until(s, g[0].told && !s->old); /* and the old connection is closed */
    assert_int_equal(g[0].end, H2CALL_WHOLE);
    assert_string_equal(g[0].body, "old");
    ask(c, "/again", &g[3]);
    until(s, s->nended == 4);
    assert_int_equal(s->nconns, 2);
    h2client_free(c);
    got_release(g, 4);
    server_free(s);
}

static void a_server_that_goes_away_at_once_is_down(void **state)
{
    struct server *s = server_new();
    struct got g = {0};
    (void)state;
    s->silent = true;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    ask(c, "/", &g);
    until(s, s->nconns == 1);
    server_frame(s, T_SETTINGS, 0, 0, STR(""));
    server_numbers(s, T_GOAWAY, 0, 2, 0, 0);
    server_flush(s);
    until(s, g.told);
    assert_int_equal(g.end, H2CALL_LOST);
    assert_non_null(strstr(h2client_why(c), "GOAWAY"));
    h2client_free(c);
    got_release(&g, 1);
    server_free(s);
}

static void a_lost_connection_loses_its_calls_and_the_next_one_is_made_anew(void **state)
{
    struct server *s = server_new();
    struct got g[3] = {{0}};
    (void)state;
    s->on_request = answer_none;
    s->streams = 1;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    ask(c, "/lost", &g[0]);
    ask(c, "/waits", &g[1]);
    until(s, s->nended == 1);
    server_hang_up(s);
    until(s, g[0].told && g[1].told);
    assert_int_equal(g[0].end, H2CALL_LOST);
    assert_int_equal(g[1].end, H2CALL_LOST);
    assert_false(h2client_up(c));
    assert_non_null(strstr(h2client_why(c), "closed"));
    s->on_request = NULL;
    until(s, !h2client_down(c));
    ask(c, "/anew", &g[2]);
    until(s, g[2].told);
    assert_int_equal(g[2].end, H2CALL_WHOLE);
    assert_int_equal(s->nconns, 2);
    h2client_free(c);
    got_release(g, 3);
    server_free(s);
}

static void an_idle_connection_that_closes_is_no_failure(void **state)
{
    struct server *s = server_new();
    struct got g[2] = {{0}};
    (void)state;
    server_listen(s);
    struct h2client *c =
        client_new(s, &(struct h2client_options){.backoff_ms = 60000, .backoff_max_ms = 60000});
    ask(c, "/", &g[0]);
    until(s, g[0].told);
    server_hang_up(s);
    until(s, !h2client_up(c));
    assert_false(h2client_down(c));
    assert_string_equal(h2client_why(c), "");
    ask(c, "/", &g[1]);
    until(s, g[1].told);
    assert_int_equal(g[1].end, H2CALL_WHOLE);
    h2client_free(c);
    got_release(g, 2);
    server_free(s);
}

static void nobody_there_loses_calls_until_the_wait_is_over(void **state)
{
    struct server *s = server_new();
    struct got g[3] = {{0}};
    (void)state;
    struct h2client *c =
        client_new(s, &(struct h2client_options){.backoff_ms = 50, .backoff_max_ms = 50});
    ask(c, "/", &g[0]);
    assert_int_equal(g[0].told, 0);
    until(s, g[0].told);
    assert_int_equal(g[0].end, H2CALL_LOST);
    assert_int_equal(g[0].total_us, 0);
    assert_true(h2client_down(c));
    assert_non_null(strstr(h2client_why(c), "cannot connect"));
    server_listen(s);
    ask(c, "/", &g[1]);
    assert_int_equal(g[1].told, 0);
    server_turn(s);
    assert_int_equal(g[1].end, H2CALL_LOST);
    assert_int_equal(s->nconns, 0);
    until(s, !h2client_down(c));
    ask(c, "/", &g[2]);
    until(s, g[2].told);
    assert_int_equal(g[2].end, H2CALL_WHOLE);
    h2client_free(c);
    got_release(g, 3);
    server_free(s);
}

static void settings_that_never_come_and_other_protocols_are_lost(void **state)
{
    struct server *s = server_new();
    struct got g[2] = {{0}};
    (void)state;
    s->silent = true;
    server_listen(s);
    struct h2client *c = client_new(
        s, &(struct h2client_options){.connect_ms = 30, .backoff_ms = 1, .backoff_max_ms = 1});
    ask(c, "/", &g[0]);
    until(s, g[0].told);
    assert_int_equal(g[0].end, H2CALL_LOST);
    assert_non_null(strstr(h2client_why(c), "waited 30 ms for the server's SETTINGS"));
    until(s, !h2client_down(c));
    s->hello = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    ask(c, "/", &g[1]);
    until(s, g[1].told);
    assert_int_equal(g[1].end, H2CALL_LOST);
    assert_non_null(strstr(h2client_why(c), "SETTINGS"));
    h2client_free(c);
    got_release(g, 2);
    server_free(s);
}

static void a_connection_that_answers_no_ping_is_given_up(void **state)
{
    struct server *s = server_new();
    struct got g[2] = {{0}};
    (void)state;
    s->on_request = answer_none;
    server_listen(s);
    struct h2client *c = client_new(
        s, &(struct h2client_options){.connect_ms = 40, .backoff_ms = 1, .backoff_max_ms = 1});
    ask(c, "/warm", &g[0]);
    until(s, s->nended == 1);
    server_answer(s, &s->asked[0], "");
    server_flush(s);
    until(s, g[0].told);
    s->silent = true; /* the host is gone */
    ask_for(c, "/", STR(""), 20, &g[1]);
    until(s, g[1].told);
    assert_int_equal(g[1].end, H2CALL_TIMEOUT);
    until(s, !h2client_up(c));
    assert_int_equal(s->frames[T_PING], 1);
    s->silent = false;
    until(s, !h2client_down(c));
    ask(c, "/", &g[1]);
    until(s, s->nconns == 2 && s->nended == 3);
    /* One that answers stays, though its calls end by their deadline. */
    ask_for(c, "/", STR(""), 20, &g[0]);
    until(s, g[0].told == 2);
    until(s, s->frames[T_PING] == 2);
    uint64_t from = clock_mono_ms();
    until(s, clock_mono_ms() > from + 100);
    assert_true(h2client_up(c));
    h2client_free(c);
    got_release(g, 2);
    server_free(s);
}

/* ---- use ---- */

struct again {
    struct h2client *c;
    struct got g;
    struct h2call *other;
};
static void ask_again(void *arg)
{
    struct again *a = arg;
    if (a->other)
        h2call_cancel(a->other);
    a->other = NULL;
    if (a->g.told < 3)
        ask(a->c, "/again", &a->g);
}

static void within_a_callback_calls_may_begin_and_be_cancelled(void **state)
{
    struct server *s = server_new();
    struct again a = {0};
    struct got other = {0};
    (void)state;
    server_listen(s);
    a.c = client_new(s, NULL);
    a.g.then = ask_again;
    a.g.arg = &a;
    ask(a.c, "/", &a.g);
    a.other = ask(a.c, "/other", &other);
    until(s, a.g.told == 3);
    assert_int_equal(other.told, 0);
    assert_int_equal(h2client_calls(a.c), 0);
    h2client_free(a.c);
    got_release(&a.g, 1);
    server_free(s);
}

static void freeing_forgets_calls_in_every_state(void **state)
{
    struct server *s = server_new();
    struct got g[3] = {{0}};
    (void)state;
    s->on_request = answer_none;
    s->streams = 1;
    struct h2client *c = client_new(s, NULL);
    ask(c, "/connecting", &g[0]);
    h2client_free(c);
    server_listen(s);
    c = client_new(s, NULL);
    ask_for(c, "/sent", STR("body"), 1000, &g[1]);
    ask(c, "/waiting", &g[2]);
    until(s, s->nended == 1);
    h2client_free(c);
    assert_int_equal(g[0].told + g[1].told + g[2].told, 0);
    server_free(s);
}

static void bad_targets_are_refused(void **state)
{
    struct server *s = server_new();
    const struct h2client_options o = {0};
    struct err e = {0};
    (void)state;
    assert_null(h2client_new(s->base, NULL, "tunnel:x", &o, &e));
    assert_non_null(strstr(e.text, "tunnel:x"));
    assert_null(h2client_new(s->base, NULL, "shop.test:80", &o, &e));
    assert_non_null(strstr(e.text, "resolver"));
    assert_null(h2client_new(s->base, NULL, "nonsense", &o, &e));
    server_free(s);
}

/* A whole life with the nth allocation refused: every call is told once, whatever fails. */
static bool life(unsigned long nth)
{
    struct server *s = server_new();
    struct got g[2] = {{0}};
    struct err e = {0};
    static char body[40000];
    server_listen(s);
    mem_fail_nth(nth);
    struct h2client_options o = {.backoff_ms = 1, .backoff_max_ms = 1};
    struct h2client *c = h2client_new(s->base, NULL, s->target, &o, &e);
    unsigned due = 0;
    if (c) {
        due += ask_for(c, "/", str_of(body, sizeof(body)), 0, &g[0]) != NULL;
        due += ask(c, "/", &g[1]) != NULL;
        until(s, g[0].told + g[1].told == due);
    }
    bool failed = mem_count() >= nth;
    mem_fail_nth(0);
    if (!failed)
        assert_true(due == 2 && g[0].end == H2CALL_WHOLE && g[1].end == H2CALL_WHOLE);
    h2client_free(c);
    got_release(g, 2);
    server_free(s);
    return failed;
}

static void any_allocation_may_fail(void **state)
{
    unsigned long nth = 1;
    (void)state;
    while (life(nth))
        nth++;
    assert_true(nth > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_ends_one_call_and_resets_its_stream),
        cmocka_unit_test(a_cancelled_call_is_told_nothing),
        cmocka_unit_test(a_reset_is_told_with_its_code),
        cmocka_unit_test(what_is_no_reply_is_broken),
        cmocka_unit_test(a_request_that_would_be_two_is_never_sent),
        cmocka_unit_test(goaway_loses_calls_above_it_and_later_ones_go_elsewhere),
        cmocka_unit_test(a_server_that_goes_away_at_once_is_down),
        cmocka_unit_test(a_lost_connection_loses_its_calls_and_the_next_one_is_made_anew),
        cmocka_unit_test(an_idle_connection_that_closes_is_no_failure),
        cmocka_unit_test(nobody_there_loses_calls_until_the_wait_is_over),
        cmocka_unit_test(settings_that_never_come_and_other_protocols_are_lost),
        cmocka_unit_test(a_connection_that_answers_no_ping_is_given_up),
        cmocka_unit_test(within_a_callback_calls_may_begin_and_be_cancelled),
        cmocka_unit_test(freeing_forgets_calls_in_every_state),
        cmocka_unit_test(bad_targets_are_refused),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return unit_run(tests);
}
