/* Calls from one end to the other: order, ends, refusals, limits, queues. Foreign bytes are in
 * test_grpc_bytes.c, floods in test_grpc_flood.c. */
#include "tests/unit/wire/grpc_pair.h"

static void a_message_goes_and_comes_back(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    p.server.echo = p.server.finish_half = true;
    struct grpc_stream *st = end_call(&p.client);
    assert_non_null(st);
    assert_int_equal(grpc_send(st, STR("hello")), 0);
    assert_int_equal(grpc_send(st, STR("")), 0);
    grpc_half_close(st);
    assert_int_equal(grpc_send(st, STR("more")), -EPIPE);
    pair_run(&p);
    assert_log(&p.server, "call /test.Echo/Say; message hello; message ; half; end OK ''; ");
    assert_log(&p.client, "message hello; message ; end OK ''; ");
    pair_close(&p);
}

static void the_server_may_finish_first(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    struct grpc_stream *st = end_call(&p.client);
    grpc_send(st, STR("hello"));
    pair_run(&p);
    assert_log(&p.server, "call /test.Echo/Say; message hello; ");
    grpc_send(p.server.last, STR("one"));
    grpc_finish(p.server.last, GRPC_ABORTED, STR("50% \xc3\xa9\n"));
    grpc_finish(p.server.last, GRPC_OK, STR("ignored"));
    assert_int_equal(grpc_send(p.server.last, STR("two")), -EPIPE);
    pair_run(&p);
    assert_log(&p.server, "end OK ''; ");
    assert_log(&p.client, "message one; end ABORTED '50% \xc3\xa9\n'; ");
    pair_close(&p);
}

static void two_calls_that_take_turns_at_ending(struct pair *p)
{
    struct grpc_stream *one = end_call(&p->client);
    grpc_send(one, STR("1"));
    pair_run(p);
    grpc_half_close(one); /* the client first, the server later */
    pair_run(p);
    assert_log(&p->server, "call /test.Echo/Say; message 1; half; ");
    grpc_send(p->server.last, STR("reply"));
    pair_run(p);
    grpc_finish(p->server.last, GRPC_OK, STR("fine"));
    pair_run(p);
    assert_log(&p->client, "message reply; end OK 'fine'; ");
    assert_log(&p->server, "end OK ''; ");
}

static void both_orders_of_half_closing_work(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    two_calls_that_take_turns_at_ending(&p);
    struct grpc_stream *st = end_call(&p.client);
    grpc_send(st, STR("1"));
    pair_run(&p);
    grpc_finish(p.server.last, GRPC_OK, STR("")); /* the server first; the client never */
    pair_run(&p);
    assert_log(&p.server, "call /test.Echo/Say; message 1; end OK ''; ");
    assert_log(&p.client, "end OK ''; ");
    two_calls_that_take_turns_at_ending(&p);
    pair_close(&p);
}

static void what_crosses_a_finish_is_dropped(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    struct grpc_stream *st = end_call(&p.client);
    pair_run(&p);
    grpc_finish(p.server.last, GRPC_UNAVAILABLE, STR("draining"));
    grpc_send(st, STR("crossing"));
    grpc_half_close(st);
    pair_run(&p);
    assert_log(&p.server, "call /test.Echo/Say; end OK ''; ");
    assert_log(&p.client, "end UNAVAILABLE 'draining'; ");
    pair_close(&p);
}

static void a_refused_call_ends_with_the_status(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    p.server.refuse = GRPC_UNAUTHENTICATED;
    p.server.refuse_text = "who are you?";
    grpc_send(end_call(&p.client), STR("hello"));
    pair_run(&p);
    assert_log(&p.client, "end UNAUTHENTICATED 'who are you?'; ");
    p.server.refuse_text = NULL;
    end_call(&p.client);
    pair_run(&p);
    assert_log(&p.client, "end UNAUTHENTICATED ''; ");
    assert_log(&p.server, "call /test.Echo/Say; call /test.Echo/Say; ");
    pair_close(&p);
}

static void either_side_may_cancel(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    struct grpc_stream *st = end_call(&p.client);
    pair_run(&p);
    grpc_cancel(st);
    grpc_cancel(st);
    assert_int_equal(grpc_send(st, STR("x")), -EPIPE);
    assert_int_equal(p.client.ended, 0); /* never from within grpc_cancel */
    pair_run(&p);
    assert_log(&p.client, "end CANCELLED 'cancelled'; ");
    assert_log(&p.server, "call /test.Echo/Say; end CANCELLED 'the stream was reset'; ");
    end_call(&p.client);
    pair_run(&p);
    grpc_cancel(p.server.last);
    pair_run(&p);
    assert_log(&p.server, "call /test.Echo/Say; end CANCELLED 'cancelled'; ");
    assert_log(&p.client, "end CANCELLED 'CANCEL'; ");
    pair_close(&p);
}

static void a_call_cancelled_before_it_went_out_is_never_seen(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    grpc_cancel(end_call(&p.client));
    pair_run(&p);
    assert_log(&p.client, "end CANCELLED 'cancelled'; ");
    assert_log(&p.server, "");
    pair_close(&p);
}

static void a_call_that_waits_for_room_can_be_cancelled(void **state)
{
    struct grpc_limits limits = GRPC_LIMITS_DEFAULT;
    struct pair p;
    (void)state;
    limits.streams = 1;
    pair_open(&p, &limits);
    pair_run(&p); /* the client knows the limit now */
    struct grpc_stream *first = end_call(&p.client);
    struct grpc_stream *second = end_call(&p.client);
    struct grpc_stream *third = end_call(&p.client);
    pair_run(&p);
    assert_log(&p.server, "call /test.Echo/Say; ");
    grpc_cancel(second);
    pair_run(&p);
    assert_log(&p.client, "end CANCELLED 'cancelled'; ");
    grpc_half_close(first);
    grpc_half_close(third);
    pair_run(&p);
    grpc_finish(p.server.last, GRPC_OK, STR(""));
    pair_run(&p);
    assert_log(&p.server, "half; end OK ''; call /test.Echo/Say; half; ");
    pair_close(&p);
    assert_log(&p.client, "end OK ''; end UNAVAILABLE 'the connection is closed'; ");
    assert_log(&p.server, "end CANCELLED 'the connection is closed'; ");
}

static void a_message_may_cancel_its_call(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    p.server.cancel_next = true;
    struct grpc_stream *st = end_call(&p.client);
    grpc_send(st, STR("one"));
    grpc_send(st, STR("two")); /* in the same bytes */
    pair_run(&p);
    assert_log(&p.server, "call /test.Echo/Say; message one; end CANCELLED 'cancelled'; ");
    assert_log(&p.client, "end CANCELLED 'CANCEL'; ");
    pair_close(&p);
}

static void a_message_may_be_as_large_as_the_limit(void **state)
{
    struct grpc_limits limits = GRPC_LIMITS_DEFAULT;
    static char bytes[300001];
    struct pair p;
    (void)state;
    limits.message_bytes = 300000;
    for (int server = 0; server < 2; server++) {
        pair_open(&p, &limits);
        struct end *from = server ? &p.server : &p.client, *to = server ? &p.client : &p.server;
        end_call(&p.client);
        pair_run(&p);
        p.server.log_n = 0;
        assert_int_equal(grpc_send(from->last, str_of(bytes, 300000)), 0);
        pair_run(&p);
        assert_log(to, "message of 300000; ");
        assert_int_equal(grpc_send(from->last, str_of(bytes, 300001)), 0);
        pair_run(&p);
        assert_log(&p.client, "end RESOURCE_EXHAUSTED 'the message is larger than the limit'; ");
        assert_log(&p.server, server ? "end CANCELLED 'the stream was reset'; "
                                     : "end CANCELLED 'the message is larger than the limit'; ");
        pair_close(&p);
    }
}

static void a_message_above_the_windows_flows(void **state)
{
    static char bytes[3 << 20];
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    p.server.echo = p.server.finish_half = true;
    struct grpc_stream *st = end_call(&p.client);
    assert_int_equal(grpc_send(st, str_of(bytes, sizeof(bytes))), 0);
    grpc_half_close(st);
    pair_run(&p);
    assert_log(&p.client, "message of 3145728; end OK ''; ");
    pair_close(&p);
}

static void the_queue_is_bounded_and_says_when_it_drained(void **state)
{
    struct grpc_limits limits = GRPC_LIMITS_DEFAULT;
    static char bytes[100];
    struct pair p;
    (void)state;
    limits.queue_bytes = 1050;
    pair_open(&p, &limits);
    struct grpc_stream *st = end_call(&p.client);
    for (int i = 0; i < 10; i++)
        assert_int_equal(grpc_send(st, str_of(bytes, sizeof(bytes))), 0);
    assert_int_equal(grpc_queued(st), 1050);
    assert_int_equal(grpc_send(st, STR("")), -ENOBUFS);
    assert_int_equal(p.client.drained, 0);
    pair_run(&p);
    assert_int_equal(p.client.drained, 1);
    assert_int_equal(grpc_queued(st), 0);
    assert_int_equal(p.server.messages, 10);
    for (int i = 0; i < 5; i++) /* never above half */
        assert_int_equal(grpc_send(st, str_of(bytes, sizeof(bytes))), 0);
    pair_run(&p);
    assert_int_equal(p.client.drained, 1);
    static char large[5000];
    assert_int_equal(grpc_send(st, str_of(large, sizeof(large))), 0); /* alone */
    assert_int_equal(grpc_send(st, STR("")), -ENOBUFS);
    pair_run(&p);
    assert_int_equal(p.client.drained, 2);
    pair_close(&p);
}

/* Sends until the queue takes no more; what of it left by produce goes nowhere. */
static void a_peer_that_never_reads_costs_the_queue_alone(void **state)
{
    static char bytes[10000];
    struct pair p;
    const uint8_t *out;
    ssize_t n;
    size_t moved = 0, taken = 0;
    (void)state;
    pair_open(&p, NULL);
    pair_run(&p);
    struct grpc_stream *st = end_call(&p.client);
    for (int i = 0; i < 1000; i++) {
        if (grpc_send(st, str_of(bytes, sizeof(bytes))) == 0)
            taken += sizeof(bytes);
        while ((n = grpc_session_produce(p.client.s, &out)) > 0)
            moved += (size_t)n;
    }
    assert_true(moved <= (1 << 20) + 10000); /* the window */
    assert_true(taken <= moved + (1 << 20));
    assert_true(grpc_queued(st) <= 1 << 20);
    pair_close(&p);
}

static void shutdown_lets_running_calls_end(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    p.server.finish_half = true;
    struct grpc_stream *st = end_call(&p.client);
    pair_run(&p);
    grpc_session_shutdown(p.server.s);
    grpc_session_shutdown(p.server.s);
    pair_run(&p);
    assert_null(grpc_call(p.client.s, STR("a"), STR("/a/b")));
    assert_false(grpc_session_done(p.server.s));
    grpc_send(st, STR("still"));
    grpc_half_close(st);
    pair_run(&p);
    assert_log(&p.server, "call /test.Echo/Say; message still; half; end OK ''; ");
    assert_log(&p.client, "end OK ''; ");
    assert_true(grpc_session_done(p.server.s));
    assert_true(grpc_session_done(p.client.s));
    pair_close(&p);
}

static void a_call_that_crosses_a_shutdown_is_unavailable(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    pair_run(&p);
    end_call(&p.client);
    move(&p.client, &p.server, 0);
    end_call(&p.client);
    grpc_session_shutdown(p.server.s);
    pair_run(&p);
    assert_log(&p.server, "call /test.Echo/Say; ");
    assert_log(&p.client, "end UNAVAILABLE 'REFUSED_STREAM'; ");
    pair_close(&p);
}

/* A client may have more calls waiting than a peer may have answers. */
static void many_calls_may_wait(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    p.server.finish_half = true;
    pair_run(&p);
    for (int i = 0; i < 3000; i++)
        grpc_half_close(end_call(&p.client));
    pair_run(&p);
    assert_int_equal(p.client.ended, 3000);
    assert_int_equal(p.server.ended, 3000);
    assert_int_equal(grpc_session_feed(p.client.s, STR(""), NULL), 0);
    pair_close(&p);
}

static void a_client_that_shuts_down_makes_no_calls(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    p.server.finish_half = true;
    struct grpc_stream *st = end_call(&p.client);
    grpc_session_shutdown(p.client.s);
    assert_null(grpc_call(p.client.s, STR("a"), STR("/a/b")));
    assert_null(grpc_call(p.server.s, STR("a"), STR("/a/b")));
    grpc_half_close(st);
    pair_run(&p);
    assert_log(&p.client, "end OK ''; ");
    assert_true(grpc_session_done(p.client.s));
    pair_close(&p);
}

static void pings_are_answered_and_counted(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    assert_int_equal(grpc_session_ping(p.client.s), 0);
    assert_int_equal(grpc_session_ping(p.server.s), 0);
    assert_int_equal(grpc_session_ping(p.server.s), 0);
    assert_int_equal(grpc_session_pongs(p.client.s), 0);
    pair_run(&p);
    assert_int_equal(grpc_session_pongs(p.client.s), 1);
    assert_int_equal(grpc_session_pongs(p.server.s), 2);
    pair_close(&p);
}

static void a_stream_carries_its_owners_data(void **state)
{
    struct pair p;
    int mine;
    (void)state;
    pair_open(&p, NULL);
    struct grpc_stream *st = end_call(&p.client);
    assert_null(grpc_stream_get(st));
    grpc_stream_set(st, &mine);
    assert_ptr_equal(grpc_stream_get(st), &mine);
    assert_ptr_equal(grpc_stream_session(st), p.client.s);
    assert_ptr_equal(grpc_session_arg(p.client.s), &p.client);
    grpc_finish(st, GRPC_OK, STR("")); /* the server's; nothing for a client */
    pair_run(&p);
    grpc_half_close(p.server.last);
    assert_int_equal(p.client.ended + p.server.ended, 0);
    pair_close(&p);
}

static void long_texts_are_cut(void **state)
{
    static char text[5000];
    struct pair p;
    (void)state;
    memset(text, '%', sizeof(text));
    pair_open(&p, NULL);
    end_call(&p.client);
    pair_run(&p);
    grpc_finish(p.server.last, 77, str_of(text, sizeof(text)));
    pair_run(&p);
    char want[1100];
    snprintf(want, sizeof(want), "end UNKNOWN '%.1024s'; ", text);
    assert_log(&p.client, want);
    pair_close(&p);
}

/* ---- every split point ---- */

struct tape {
    char bytes[4096];
    size_t n;
};

static void record(struct grpc_session *s, struct tape *t)
{
    const uint8_t *p;
    ssize_t n;
    while ((n = grpc_session_produce(s, &p)) > 0) {
        assert_true((size_t)n <= sizeof(t->bytes) - t->n);
        memcpy(t->bytes + t->n, p, (size_t)n);
        t->n += (size_t)n;
    }
}

/* All that a client says in a small exchange, to a new server in two pieces; the server's log must
 * not change. Then the same with its reply to a new client. */
static void every_split_point_gives_the_same(void **state)
{
    static struct tape up, down;
    struct pair p;
    (void)state;
    for (size_t cut = 0; cut == 0 || cut < up.n; cut++) {
        pair_open(&p, NULL);
        p.server.echo = p.server.finish_half = true;
        struct grpc_stream *st = end_call(&p.client);
        grpc_send(st, STR("hello"));
        grpc_send(st, STR(""));
        grpc_half_close(st);
        up.n = 0;
        record(p.client.s, &up);
        assert_int_equal(grpc_session_feed(p.server.s, str_of(up.bytes, cut), NULL), 0);
        assert_int_equal(
            grpc_session_feed(p.server.s, str_of(up.bytes + cut, up.n - cut), NULL), 0);
        pair_run(&p);
        assert_log(&p.server, "call /test.Echo/Say; message hello; message ; half; end OK ''; ");
        assert_log(&p.client, "message hello; message ; end OK ''; ");
        pair_close(&p);
    }
    for (size_t cut = 0; cut == 0 || cut < down.n; cut++) {
        pair_open(&p, NULL);
        p.server.echo = true;
        grpc_send(end_call(&p.client), STR("hello"));
        move(&p.client, &p.server, 0);
        grpc_finish(p.server.last, GRPC_ABORTED, STR("\n"));
        down.n = 0;
        record(p.server.s, &down);
        assert_int_equal(grpc_session_feed(p.client.s, str_of(down.bytes, cut), NULL), 0);
        assert_int_equal(
            grpc_session_feed(p.client.s, str_of(down.bytes + cut, down.n - cut), NULL), 0);
        assert_log(&p.client, "message hello; end ABORTED '\n'; ");
        pair_close(&p);
    }
}

static void byte_by_byte_gives_the_same(void **state)
{
    struct pair p;
    (void)state;
    pair_open(&p, NULL);
    p.server.echo = p.server.finish_half = true;
    struct grpc_stream *st = end_call(&p.client);
    grpc_send(st, STR("hello"));
    grpc_send(st, STR(""));
    grpc_half_close(st);
    pair_run_by(&p, 1);
    assert_log(&p.server, "call /test.Echo/Say; message hello; message ; half; end OK ''; ");
    assert_log(&p.client, "message hello; message ; end OK ''; ");
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_goes_and_comes_back),
        cmocka_unit_test(the_server_may_finish_first),
        cmocka_unit_test(both_orders_of_half_closing_work),
        cmocka_unit_test(what_crosses_a_finish_is_dropped),
        cmocka_unit_test(a_refused_call_ends_with_the_status),
        cmocka_unit_test(either_side_may_cancel),
        cmocka_unit_test(a_call_cancelled_before_it_went_out_is_never_seen),
        cmocka_unit_test(a_call_that_waits_for_room_can_be_cancelled),
        cmocka_unit_test(a_message_may_cancel_its_call),
        cmocka_unit_test(a_message_may_be_as_large_as_the_limit),
        cmocka_unit_test(a_message_above_the_windows_flows),
        cmocka_unit_test(the_queue_is_bounded_and_says_when_it_drained),
        cmocka_unit_test(a_peer_that_never_reads_costs_the_queue_alone),
        cmocka_unit_test(shutdown_lets_running_calls_end),
        cmocka_unit_test(a_call_that_crosses_a_shutdown_is_unavailable),
        cmocka_unit_test(many_calls_may_wait),
        cmocka_unit_test(a_client_that_shuts_down_makes_no_calls),
        cmocka_unit_test(pings_are_answered_and_counted),
        cmocka_unit_test(a_stream_carries_its_owners_data),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(every_split_point_gives_the_same),
        cmocka_unit_test(byte_by_byte_gives_the_same),
    };
    return unit_run(tests);
}
