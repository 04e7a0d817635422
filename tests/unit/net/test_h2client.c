/* Requests and replies of an HTTP/2 client, its windows and limits. */
#include "tests/unit/net/h2client_fixture.h"
#include <sys/syscall.h>
#include <sys/uio.h>

/* Writes of the whole program: libevent's too, which call this one. */
static unsigned writes;
ssize_t writev(int fd, const struct iovec *iovec, int count)
{
    writes++;
    return syscall(SYS_writev, fd, iovec, count);
}

static void a_request_comes_as_it_was_given(void **state)
{
    struct server *s = server_new();
    struct got g = {0};
    (void)state;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    assert_false(h2client_up(c));
    assert_non_null(ask(c, "/items?q=1", &g));
    assert_int_equal(g.told, 0); /* never inside the function */
    assert_int_equal(h2client_calls(c), 1);
    until(s, g.told);
    assert_true(h2client_up(c));
    assert_string_equal(h2client_why(c), "");
    assert_string_equal(s->asked[0].fields,
        ":method: GET\n:scheme: http\n:authority: shop.test\n:path: /items?q=1\naccept: */*\n");
    assert_int_equal(s->asked[0].body_n, 0);
    assert_int_equal(s->frames[T_DATA], 0);
    assert_int_equal(g.end, H2CALL_WHOLE);
    assert_int_equal(g.status, 200);
    assert_string_equal(g.fields, "content-type: text/plain\n");
    assert_string_equal(g.body, "hello");
    assert_true(g.total_us >= g.first_us);
    assert_int_equal(h2client_calls(c), 0);
    h2client_free(c);
    got_release(&g, 1);
    server_free(s);
}

static void requests_of_one_turn_leave_in_one_write(void **state)
{
    enum { N = 40 };
    struct server *s = server_new();
    struct got g[N + 1] = {{0}};
    (void)state;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    ask(c, "/first", &g[N]);
    until(s, g[N].told);
    server_turn(s); /* what is still said of the first one */
    s->greedy = true;
    s->on_request = NULL;
    unsigned before = writes;
    for (int i = 0; i < N; i++)
        ask_for(c, "/more", i % 2 ? STR("body") : STR(""), 0, &g[i]);
    while (s->nended < N + 1)
        event_base_loop(s->base, EVLOOP_ONCE);
    assert_true(writes - before <= 2); /* theirs, and perhaps the server's answer to it */
    until(s, g[N - 1].told);
    for (int i = 0; i < N; i++)
        assert_int_equal(g[i].end, H2CALL_WHOLE);
    /* Timed from one moment: those alike are answered in their order. */
    for (int i = 2; i < N; i++)
        assert_true(g[i].total_us >= g[i - 2].total_us);
    assert_int_equal(s->nconns, 1);
    h2client_free(c);
    got_release(g, N + 1);
    server_free(s);
}

static void reply_with_all(struct server *s, struct asked *a)
{
    server_head(s, a->id, ":status: 103\nlink: </a>\n", false);
    server_head(s, a->id, ":status: 100\n", false);
    server_head(s, a->id, ":status: 200\nx-one: 1\nset-cookie: a=b\nset-cookie: c=d\n", false);
    server_frame(s, T_DATA, 0, a->id, STR("ab"));
    server_frame(s, T_DATA, 0, a->id, STR("c"));
    server_head(s, a->id, "grpc-status: 0\ngrpc-message: fine\n", true);
}

static void interim_heads_pass_by_and_trailers_are_told(void **state)
{
    struct server *s = server_new();
    struct got g = {0};
    (void)state;
    s->on_request = reply_with_all;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    ask(c, "/", &g);
    until(s, g.told);
    assert_int_equal(g.end, H2CALL_WHOLE);
    assert_int_equal(g.status, 200);
    assert_string_equal(g.fields, "x-one: 1\nset-cookie: a=b\nset-cookie: c=d\n");
    assert_string_equal(g.body, "abc");
    assert_string_equal(g.trailers, "grpc-status: 0\ngrpc-message: fine\n");
    h2client_free(c);
    got_release(&g, 1);
    server_free(s);
}

static void reply_without_body(struct server *s, struct asked *a)
{
    bool head = strstr(a->fields, ":method: HEAD");
    server_head(s, a->id, head ? ":status: 200\ncontent-length: 7\n" : ":status: 204\n", true);
}

static void replies_without_a_body_are_whole(void **state)
{
    struct server *s = server_new();
    struct got g[2] = {{0}};
    (void)state;
    s->on_request = reply_without_body;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    struct h2request r = {
        .method = STR("HEAD"), .scheme = STR("http"), .authority = STR("a"), .path = STR("/")};
    assert_non_null(h2client_request(c, &r, on_told, &g[0]));
    ask(c, "/", &g[1]);
    until(s, g[0].told && g[1].told);
    assert_int_equal(g[0].end, H2CALL_WHOLE);
    assert_string_equal(g[0].fields, "content-length: 7\n");
    assert_int_equal(g[1].end, H2CALL_WHOLE);
    assert_int_equal(g[1].status, 204);
    h2client_free(c);
    got_release(g, 2);
    server_free(s);
}

/* ---- windows ---- */

enum { LARGE = 1 << 20 };
static char *large_body(void)
{
    char *p = malloc(LARGE);
    for (int i = 0; i < LARGE; i++)
        p[i] = (char)(i * 31 + (i >> 9));
    return p;
}

/* As much of the body as the client's windows take. */
static void send_more(struct server *s, struct asked *a, const char *body, size_t *at)
{
    while (*at < LARGE) {
        int64_t n = a->window < s->window ? a->window : s->window;
        n = n > 16384 ? 16384 : n;
        n = n > (int64_t)(LARGE - *at) ? (int64_t)(LARGE - *at) : n;
        if (n <= 0)
            return;
        server_frame(s, T_DATA, *at + (size_t)n == LARGE ? F_END_STREAM : 0, a->id,
            str_of(body + *at, (size_t)n));
        server_flush(s);
        *at += (size_t)n;
        a->window -= n;
        s->window -= n;
    }
}
static void only_head(struct server *s, struct asked *a)
{
    server_head(s, a->id, ":status: 200\n", false);
}

static void bodies_of_a_mebibyte_pass_both_ways_within_the_windows(void **state)
{
    struct server *s = server_new();
    struct got g = {0};
    char *body = large_body();
    size_t at = 0;
    (void)state;
    s->on_request = only_head;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    ask_for(c, "/", str_of(body, LARGE), 0, &g);
    until(s, s->nended);
    assert_int_equal(s->asked[0].body_n, LARGE);
    assert_memory_equal(s->asked[0].body, body, LARGE);
    until(s, (send_more(s, &s->asked[0], body, &at), g.told));
    assert_int_equal(g.end, H2CALL_WHOLE);
    assert_int_equal(g.body_n, LARGE);
    assert_memory_equal(g.body, body, LARGE);
    h2client_free(c);
    free(body);
    got_release(&g, 1);
    server_free(s);
}

static void a_closed_window_holds_only_its_own_stream(void **state)
{
    struct server *s = server_new();
    struct got g[2] = {{0}};
    char *body = large_body();
    (void)state;
    s->greedy = true;
    server_listen(s);
    struct h2client *c = client_new(s, NULL);
    ask_for(c, "/large", str_of(body, 100000), 0, &g[0]);
    ask(c, "/small", &g[1]);
    until(s, g[1].told && s->asked[0].body_n == 65535);
    assert_int_equal(g[1].end, H2CALL_WHOLE);
    assert_int_equal(g[0].told, 0);
    s->greedy = false;
    server_numbers(s, T_WINDOW, 0, 1, 200000, 0);
    server_numbers(s, T_WINDOW, s->asked[0].id, 1, 200000, 0);
    s->left += 200000;
    s->asked[0].left += 200000;
    server_flush(s);
    until(s, g[0].told);
    assert_int_equal(g[0].end, H2CALL_WHOLE);
    assert_int_equal(s->asked[0].body_n, 100000);
    h2client_free(c);
    free(body);
    got_release(g, 2);
    server_free(s);
}

/* ---- limits ---- */

static void answer_none(struct server *s, struct asked *a)
{
    (void)s;
    (void)a;
}

static void calls_above_the_servers_number_wait_in_order(void **state)
{
    struct server *s = server_new();
    struct got g[5] = {{0}};
    (void)state;
    s->streams = 2;
    s->on_request = answer_none;
    server_listen(s);
    struct h2client *c = client_new(s, &(struct h2client_options){.calls = 5});
    for (int i = 0; i < 5; i++)
        assert_non_null(ask(c, i < 3 ? "/early" : "/late", &g[i]));
    assert_null(ask(c, "/too-many", &g[0]));
    until(s, s->nended == 2);
    server_turn(s);
    assert_int_equal(s->nasked, 2);
    server_answer(s, &s->asked[0], "one");
    server_flush(s);
    until(s, s->nended == 3);
    assert_string_equal(g[0].body, "one");
    assert_non_null(strstr(s->asked[2].fields, "/early"));
    for (unsigned i = 1; i < 5; i++) {
        until(s, s->nended > i);
        server_answer(s, &s->asked[i], "more");
        server_flush(s);
    }
    until(s, g[4].told && g[3].told);
    assert_int_equal(g[4].end, H2CALL_WHOLE);
    h2client_free(c);
    got_release(g, 5);
    server_free(s);
}

static void reply_by_path(struct server *s, struct asked *a)
{
    static char lines[3000];
    if (strstr(a->fields, ":path: /head")) {
        snprintf(lines, sizeof(lines), ":status: 200\nx-long: %02500d\n", 7);
        server_head(s, a->id, lines, true);
    } else {
        server_answer(s, a, strstr(a->fields, ":path: /fits") ? "12345678" : "123456789");
    }
}

static void replies_above_the_limits_are_too_large(void **state)
{
    struct server *s = server_new();
    struct got g[3] = {{0}};
    (void)state;
    s->on_request = reply_by_path;
    server_listen(s);
    struct h2client *c =
        client_new(s, &(struct h2client_options){.body_bytes = 8, .head_bytes = 2048});
    ask(c, "/fits", &g[0]);
    ask(c, "/over", &g[1]);
    ask(c, "/head", &g[2]);
    until(s, g[0].told && g[1].told && g[2].told);
    assert_int_equal(g[0].end, H2CALL_WHOLE);
    assert_int_equal(g[0].body_n, 8);
    assert_int_equal(g[1].end, H2CALL_TOO_LARGE);
    assert_int_equal(g[2].end, H2CALL_TOO_LARGE);
    assert_true(h2client_up(c)); /* the connection goes on */
    assert_int_equal(s->nconns, 1);
    h2client_free(c);
    got_release(g, 3);
    server_free(s);
}

static void the_sum_of_bytes_is_a_limit_that_others_share(void **state)
{
    struct server *s = server_new();
    struct got g[2] = {{0}};
    uint64_t held = 0;
    (void)state;
    server_listen(s);
    struct h2client *c = client_new(s, &(struct h2client_options){.bytes = 10000, .held = &held});
    ask(c, "/", &g[0]);
    assert_true(held > 0 && held < 1000);
    until(s, g[0].told);
    assert_int_equal(g[0].end, H2CALL_WHOLE);
    assert_int_equal(held, 0);
    held = 9800; /* others' */
    ask(c, "/", &g[1]);
    until(s, g[1].told);
    assert_int_equal(g[1].end, H2CALL_MEMORY);
    held += 200;
    assert_null(ask(c, "/", &g[1]));
    assert_int_equal(held, 10000);
    h2client_free(c);
    got_release(g, 2);
    server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_comes_as_it_was_given),
        cmocka_unit_test(requests_of_one_turn_leave_in_one_write),
        cmocka_unit_test(interim_heads_pass_by_and_trailers_are_told),
        cmocka_unit_test(replies_without_a_body_are_whole),
        cmocka_unit_test(bodies_of_a_mebibyte_pass_both_ways_within_the_windows),
        cmocka_unit_test(a_closed_window_holds_only_its_own_stream),
        cmocka_unit_test(calls_above_the_servers_number_wait_in_order),
        cmocka_unit_test(replies_above_the_limits_are_too_large),
        cmocka_unit_test(the_sum_of_bytes_is_a_limit_that_others_share),
    };
    return unit_run(tests);
}
