/* Memory that runs out: the Nth allocation fails, for every N of a whole exchange. Nothing leaks,
 * every call ends once, and a session that could not go on says so. */
#include "tests/unit/wire/grpc_pair.h"

/* Messages above a DATA frame, a half-close on both sides, a refusal, a cancel, an error. */
static void exchange(struct pair *p)
{
    static char large[40000];
    struct grpc_stream *st = end_call(&p->client);
    p->server.echo = true;
    if (st) {
        grpc_send(st, STR("hello"));
        grpc_send(st, str_of(large, sizeof(large)));
        grpc_half_close(st);
    }
    pair_run_by(p, 1000);
    if (p->server.last)
        grpc_finish(p->server.last, GRPC_ABORTED, STR("50%"));
    pair_run(p);
    p->server.refuse = GRPC_NOT_FOUND;
    p->server.refuse_text = "none";
    end_call(&p->client);
    pair_run(p);
    p->server.refuse = GRPC_OK;
    st = end_call(&p->client);
    if (st)
        grpc_cancel(st);
    st = end_call(&p->client);
    pair_run(p);
    if (st && p->client.last == st)
        grpc_cancel(st);
    grpc_session_ping(p->client.s);
    grpc_session_shutdown(p->server.s);
    end_call(&p->client); /* NULL, or refused by GOAWAY */
    pair_run(p);
    end_call(&p->client);
}

static void any_allocation_may_fail(void **state)
{
    unsigned long n = 0, told = 0, calm = 0;
    struct pair p;
    (void)state;
    do {
        mem_fail_nth(++n);
        pair_open(&p, NULL);
        if (p.client.s && p.server.s) {
            exchange(&p);
            told += grpc_session_feed(p.client.s, STR(""), NULL) == -ENOMEM ||
                    grpc_session_feed(p.server.s, STR(""), NULL) == -ENOMEM;
        }
        calm = mem_count() < n;
        mem_fail_nth(0);
        pair_close(&p);
        if (mem_live() != 0)
            fail_msg("%zu blocks are left after allocation %lu failed", mem_live(), n);
    } while (!calm);
    assert_true(n > 100);
    assert_true(told > 50);
}

static void a_session_without_memory_stays_quiet(void **state)
{
    struct pair p;
    struct err e = {0};
    const uint8_t *out;
    (void)state;
    pair_open(&p, NULL);
    pair_run(&p);
    struct grpc_stream *st = end_call(&p.client);
    grpc_send(st, STR("hello"));
    assert_true(grpc_session_produce(p.client.s, &out) > 0);
    mem_fail_nth(1);
    assert_int_equal(grpc_send(st, STR("more")), 0);          /* shares a block */
    assert_int_equal(grpc_session_ping(p.client.s), -ENOMEM); /* alone: the session lives */
    mem_fail_nth(0);
    assert_int_equal(grpc_session_feed(p.client.s, STR(""), NULL), 0);
    mem_fail_nth(1);
    grpc_cancel(st);
    mem_fail_nth(0);
    assert_int_equal(grpc_session_produce(p.client.s, &out), -ENOMEM);
    assert_int_equal(grpc_session_feed(p.client.s, STR("x"), &e), -ENOMEM);
    assert_string_equal(e.text, "out of memory in an HTTP/2 session");
    assert_true(grpc_session_done(p.client.s));
    assert_null(grpc_call(p.client.s, STR("a"), STR("/a/b")));
    assert_int_equal(grpc_session_ping(p.client.s), -EPIPE);
    grpc_session_shutdown(p.client.s);
    assert_log(&p.client, "end CANCELLED 'cancelled'; ");
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(a_session_without_memory_stays_quiet),
    };
    return unit_run(tests);
}
