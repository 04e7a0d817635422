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

/* A notice first: the client may still have asked; then the last stream that is served. */
static void a_server_says_goodbye(void **state)
{
    struct pair *p = *state;
    const char *get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    struct seen *a = side_take(&p->client), *b = side_take(&p->client), *c = side_take(&p->client);
    assert_int_equal(side_request(&p->client, a, get, true), 0);
    run(p);
    assert_int_equal(side_request(&p->client, b, get, true), 0); /* crosses the notice */
    assert_int_equal(h2_shutdown(p->server.h), 0);
    run(p);
    assert_int_equal(p->client.goaways, 1);
    assert_int_equal(p->client.goaway_last, INT32_MAX);
    assert_int_equal(p->client.goaway_code, H2_NO_ERROR);
    assert_int_equal(h2_room(p->client.h), 0);
    assert_int_equal(side_request(&p->client, c, get, true), -EAGAIN);
    assert_int_equal(p->server.opened, 2);
    assert_int_equal(h2_goaway(p->server.h, H2_NO_ERROR), 0);
    run(p);
    assert_int_equal(p->client.goaways, 2);
    assert_int_equal(p->client.goaway_last, 3);
    assert_false(h2_over(p->server.h));
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            side_reply(&p->server, &p->server.seen[i], "HTTP/1.1 200 OK\r\n\r\n", true), 0);
    run(p);
    assert_int_equal(a->heads + b->heads, 2);
    assert_true(h2_over(p->server.h));
    assert_true(h2_over(p->client.h));
}

static void a_client_says_goodbye(void **state)
{
    struct pair *p = *state;
    struct seen *a = side_take(&p->client);
    assert_int_equal(side_request(&p->client, a, "GET / HTTP/1.1\r\nhost: a\r\n\r\n", true), 0);
    assert_int_equal(h2_goaway(p->client.h, H2_NO_ERROR), 0);
    assert_int_equal(h2_room(p->client.h), 0);
    run(p);
    assert_int_equal(
        side_reply(&p->server, &p->server.seen[0], "HTTP/1.1 200 OK\r\n\r\n", true), 0);
    run(p);
    assert_int_equal(a->heads, 1);
    assert_true(h2_over(p->client.h));
}

static void goodbye_with_an_error(void **state)
{
    struct pair *p = *state;
    assert_int_equal(h2_goaway(p->server.h, H2_ENHANCE_YOUR_CALM), 0);
    run(p);
    assert_int_equal(p->client.goaway_code, H2_ENHANCE_YOUR_CALM);
    assert_true(h2_over(p->server.h));
}

static void an_owner_that_refuses(void **state)
{
    struct pair *p = *state;
    struct seen *a = side_take(&p->client), *b = side_take(&p->client);
    const char *get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    p->server.refuse = true;
    assert_int_equal(side_request(&p->client, a, get, true), 0);
    run(p);
    assert_int_equal(a->closes, 1);
    assert_int_equal(a->code, H2_REFUSED_STREAM);
    assert_true(a->unprocessed);
    p->server.refuse = false;
    p->server.no_block = true;
    assert_int_equal(side_request(&p->client, b, get, true), 0);
    run(p);
    assert_int_equal(b->closes, 1);
    assert_int_equal(b->code, H2_INTERNAL_ERROR);
    assert_false(b->unprocessed);
    assert_int_equal(p->server.seen[0].closes, 1);
    for (unsigned k = 0; k < H2_ODD_COUNT; k++)
        assert_int_equal(p->server.odd[k], 0);
}

static void pings(void **state)
{
    struct pair *p = *state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(h2_ping(p->server.h), 0);
        run(p);
    }
    assert_int_equal(p->server.odd[H2_ODD_PING], 0); /* their answers */
}

/* What a stream has when it is over says -EPIPE. */
static void nothing_goes_on_a_stream_that_is_over(void **state)
{
    struct pair *p = *state;
    struct seen *c = side_take(&p->client), *s = &p->server.seen[0];
    struct str body = STR("x");
    assert_int_equal(side_request(&p->client, c, "PUT / HTTP/1.1\r\nhost: a\r\n\r\n", false), 0);
    run(p);
    h2_reset(&s->st, H2_INTERNAL_ERROR);
    run(p);
    assert_int_equal(c->closes, 1);
    assert_int_equal(side_send(&p->client, c, &body, true), -EPIPE);
    assert_int_equal(side_reply(&p->server, s, "HTTP/1.1 200 OK\r\n\r\n", true), -EPIPE);
    h2_credit(&s->st, 5);
    h2_done(&s->st);
    h2_reset(&c->st, H2_CANCEL);
    assert_int_equal(h2_trailers(&c->st, STR("x: y\r\n")), 0);
    assert_null(c->st.trailers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(request_and_reply_without_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(bodies_both_ways_and_trailers, setup, teardown),
        cmocka_unit_test_setup_teardown(windows_hold_the_sender_back, setup, teardown),
        cmocka_unit_test_setup_teardown(reset_by_either_side, setup, teardown),
        cmocka_unit_test_setup_teardown(reply_before_the_end_of_the_request, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_says_goodbye, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_says_goodbye, setup, teardown),
        cmocka_unit_test_setup_teardown(goodbye_with_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(an_owner_that_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(pings, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_goes_on_a_stream_that_is_over, setup, teardown),
    };
    return unit_run(tests);
}
