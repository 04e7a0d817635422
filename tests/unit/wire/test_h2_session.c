/* Two sessions back to back: requests, replies, bodies, trailers, resets, goodbyes. */
#include "tests/unit/wire/h2_pair.h"

static const struct h2_limits limits = H2_LIMITS_TEST;

struct pair {
    struct side client, server;
};

static int setup(void **state)
{
    struct pair *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    assert_int_equal(side_init(&p->client, false, &limits), 0);
    assert_int_equal(side_init(&p->server, true, &limits), 0);
    assert_int_equal(pair_run(&p->client, &p->server), 0);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;
    side_release(&p->client);
    side_release(&p->server);
    free(p);
    assert_int_equal(mem_live(), 0);
    return 0;
}

static void run(struct pair *p)
{
    assert_int_equal(pair_run(&p->client, &p->server), 0);
}

static void request_and_reply_without_bodies(void **state)
{
    struct pair *p = *state;
    struct seen *c = side_take(&p->client), *s = &p->server.seen[0];
    assert_int_equal(side_request(&p->client, c,
                         "GET /a?b=c HTTP/1.1\r\nhost: shop.example\r\naccept: */*\r\n"
                         "connection: keep-alive\r\ncookie: a=1\r\n\r\n",
                         true),
        0);
    run(p);
    assert_int_equal(s->heads, 1);
    assert_true(s->end_with_head);
    assert_int_equal(s->ends, 0);
    assert_text(s, "GET /a?b=c HTTP/1.1\r\nhost: shop.example\r\naccept: */*\r\n"
                   "cookie: a=1\r\n\r\n");
    assert_int_equal(
        side_reply(&p->server, s, "HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n", true), 0);
    run(p);
    assert_text(c, "HTTP/1.1 204 \r\nx-a: b\r\n\r\n");
    assert_true(c->end_with_head);
    assert_int_equal(c->closes, 1);
    assert_int_equal(c->code, H2_NO_ERROR);
    assert_int_equal(s->closes, 1);
    assert_int_equal(h2_streams(p->client.h), 0);
    assert_int_equal(h2_streams(p->server.h), 0);
}

static void bodies_both_ways_and_trailers(void **state)
{
    struct pair *p = *state;
    struct seen *c = side_take(&p->client), *s = &p->server.seen[0];
    struct str body = STR("hello"), reply = STR("world, all of it");
    assert_int_equal(side_request(&p->client, c,
                         "POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n", false),
        0);
    assert_int_equal(side_send(&p->client, c, &body, true), 0);
    assert_int_equal(body.n, 0);
    run(p);
    assert_int_equal(s->body_n, 5);
    assert_memory_equal(s->body, "hello", 5);
    assert_int_equal(s->ends, 1);
    assert_int_equal(side_reply(&p->server, s, "HTTP/1.1 103 Early\r\nlink: x\r\n\r\n", false), 0);
    assert_int_equal(
        side_reply(&p->server, s, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", false),
        0);
    assert_int_equal(h2_trailers(&s->st, STR("grpc-status: 0\r\n")), 0);
    assert_int_equal(side_send(&p->server, s, &reply, true), 0);
    run(p);
    assert_int_equal(c->interims, 1);
    assert_int_equal(c->heads, 1);
    assert_int_equal(c->trailers, 1);
    assert_int_equal(c->ends, 1);
    assert_memory_equal(c->body, "world, all of it", 16);
    assert_text(c, "HTTP/1.1 103 \r\nlink: x\r\n\r\nHTTP/1.1 200 \r\n\r\ngrpc-status: 0\r\n\r\n");
    assert_int_equal(c->closes, 1);
    assert_int_equal(s->closes, 1);
}

/* A body larger than every window; the reader drains late. */
static void windows_hold_the_sender_back(void **state)
{
    struct pair *p = *state;
    struct seen *c = side_take(&p->client), *s = &p->server.seen[0];
    char *big = malloc(200000);
    for (size_t i = 0; i < 200000; i++)
        big[i] = (char)(i * 7);
    struct str body = str_of(big, 200000);
    assert_int_equal(side_request(&p->client, c, "PUT /up HTTP/1.1\r\nhost: a\r\n\r\n", false), 0);
    p->server.hold = true;
    unsigned wakes = 0;
    int rc = 0;
    for (int i = 0; i < 50; i++) {
        rc = side_send(&p->client, c, &body, true);
        run(p);
    }
    assert_int_equal(rc, 1);
    assert_int_equal(s->body_n, 65535);
    assert_int_equal(s->st.unread, 65535);
    p->server.hold = false;
    for (int i = 0; i < 50 && rc == 1; i++) {
        side_credit(&p->server);
        run(p);
        wakes += c->wakes;
        c->wakes = 0;
        rc = side_send(&p->client, c, &body, true);
    }
    run(p);
    assert_int_equal(rc, 0);
    assert_true(wakes > 1);
    assert_int_equal(s->body_n, 200000);
    assert_memory_equal(s->body, big, 200000);
    assert_int_equal(s->ends, 1);
    assert_int_equal(p->server.odd[H2_ODD_WINDOW], 0);
    free(big);
}

static void reset_by_either_side(void **state)
{
    struct pair *p = *state;
    struct seen *c = side_take(&p->client), *s = &p->server.seen[0];
    assert_int_equal(side_request(&p->client, c, "GET / HTTP/1.1\r\nhost: a\r\n\r\n", false), 0);
    run(p);
    h2_reset(&c->st, H2_CANCEL);
    assert_null(c->st.h);
    run(p);
    assert_int_equal(s->closes, 1);
    assert_int_equal(s->code, H2_CANCEL);
    assert_int_equal(c->closes, 0);
    assert_int_equal(p->server.odd[H2_ODD_RESET], 1);

    c->used = false;
    c = side_take(&p->client);
    assert_int_equal(side_request(&p->client, c, "GET / HTTP/1.1\r\nhost: a\r\n\r\n", true), 0);
    s = &p->server.seen[1];
    run(p);
    h2_reset(&s->st, H2_REFUSED_STREAM);
    run(p);
    assert_int_equal(c->closes, 1);
    assert_true(c->unprocessed);
}

/* The reply was ended before the request's body: the rest of that is not wanted. */
static void reply_before_the_end_of_the_request(void **state)
{
    struct pair *p = *state;
    struct seen *c = side_take(&p->client), *s = &p->server.seen[0];
    struct str body = STR("part");
    assert_int_equal(side_request(&p->client, c, "POST / HTTP/1.1\r\nhost: a\r\n\r\n", false), 0);
    assert_int_equal(side_send(&p->client, c, &body, false), 0);
    run(p);
    assert_int_equal(side_reply(&p->server, s, "HTTP/1.1 413 No\r\n\r\n", true), 0);
    h2_done(&s->st);
    run(p);
    assert_int_equal(c->heads, 1);
    assert_true(c->end_with_head);
    assert_int_equal(c->closes, 1);
    assert_int_equal(c->code, H2_NO_ERROR);
    assert_int_equal(s->closes, 0);
    assert_int_equal(h2_streams(p->server.h), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(request_and_reply_without_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(bodies_both_ways_and_trailers, setup, teardown),
        cmocka_unit_test_setup_teardown(windows_hold_the_sender_back, setup, teardown),
        cmocka_unit_test_setup_teardown(reset_by_either_side, setup, teardown),
        cmocka_unit_test_setup_teardown(reply_before_the_end_of_the_request, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
