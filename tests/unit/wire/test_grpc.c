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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_goes_and_comes_back),
        cmocka_unit_test(the_server_may_finish_first),
    };
    return unit_run(tests);
}
