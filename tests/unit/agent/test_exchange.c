/* Chunks of proxies become exchanges; whatever breaks the order ends the stream, whatever is above
 * a limit is dropped and counted. */
#include "tests/unit/agent/exchange_fixture.h"

static struct chunk chunk;
static struct told told;
static const struct assembly_limits defaults;
static char gateway[] = "gw-1";

static struct assembly *begin(const struct assembly_limits *l)
{
    memset(&told, 0, sizeof told);
    chunk_init(&chunk, gateway);
    return open_assembly(&told, l ? l : &defaults);
}

static void end(struct assembly *a, const char *want)
{
    assert_str(str_of(told.text.p, told.text.n), want);
    assert_int_equal(assembly_open(a), 0);
    assert_int_equal(assembly_bytes(a), 0);
    assembly_free(a);
    exchange_unref(told.kept);
    text_release(&told.text);
}

/* Feeds the chunk; ends with the error that is wanted. */
static void refused(struct assembly *a, const char *want)
{
    struct err e = {0};
    assert_int_equal(feed(a, &chunk, &e), -EBADMSG);
    if (!strstr(e.text, want))
        fail_msg("'%s' is not in '%s'", want, e.text);
    assembly_free(a);
    exchange_unref(told.kept);
    text_release(&told.text);
}

static void whole_exchange_is_told_with_all_its_parts(void **state)
{
    struct assembly *a = begin(NULL);
    (void)state;
    add_begin(&chunk, 1);
    add_body(&chunk, 1, false, STR("ask"));
    add_reply(&chunk, 1, 201);
    add_body(&chunk, 1, true, STR("ans"));
    add_body(&chunk, 1, true, STR("wer"));
    add_end(&chunk, 1);
    chunk.end[5].trailers = chunk.fields;
    chunk.end[5].n_trailers = 1;
    assert_int_equal(feed(a, &chunk, NULL), 0);
    const struct exchange *x = told.kept;
    assert_non_null(x);
    assert_str(x->method, "GET");
    assert_str(x->authority, "shop.test");
    assert_str(x->path, "/items?n=1");
    assert_str(x->environment, "main");
    assert_str(x->service, "cart");
    assert_str(x->client, "10.0.0.9");
    assert_str(x->body, "ask");
    assert_str(x->primary.body, "answer");
    assert_str(x->refusal, "");
    assert_int_equal(x->nsessions, 1);
    assert_int_equal(x->sessions[0], 77);
    assert_int_equal(x->epoch, 5);
    assert_int_equal(x->time_unix_us, 1790000000000000);
    assert_memory_equal(x->trace_id, the_trace, TRACE_BYTES);
    assert_int_equal(x->primary.outcome, REPLY_WHOLE);
    assert_int_equal(x->primary.status, 201);
    assert_int_equal(x->primary.latency_us, 1000);
    assert_int_equal(x->first_us, 900);
    assert_int_equal(x->nfields, 1);
    assert_int_equal(x->primary.nfields, 1);
    assert_int_equal(x->primary.ntrailers, 1);
    assert_str(x->primary.trailers[0].name, "x-one");
    assert_str(x->fields[0].value, "1");
    assert_true(x->bytes > 1024);
    assert_int_equal(assembly_worker(a), 3);
    assert_str(assembly_node(a), "gw-1");
    end(a, "node:gw-1 exchange:3/6 ");
}

/* The body may come after the reply's head, and exchanges may be open side by side. */
static void exchanges_interleave(void **state)
{
    struct assembly *a = begin(NULL);
    (void)state;
    add_begin(&chunk, 1);
    add_begin(&chunk, 65); /* the same bucket */
    add_reply(&chunk, 65, 200);
    add_reply(&chunk, 1, 200);
    add_body(&chunk, 65, false, STR("late"));
    add_body(&chunk, 1, true, STR("x"));
    add_end(&chunk, 65);
    add_end(&chunk, 1);
    assert_int_equal(feed(a, &chunk, NULL), 0);
    end(a, "node:gw-1 exchange:4/0 exchange:0/1 ");
}

static void every_event_may_come_in_a_chunk_of_its_own(void **state)
{
    struct assembly *a = begin(NULL);
    (void)state;
    for (unsigned step = 0; step < 5; step++) {
        chunk_init(&chunk, step ? empty : gateway);
        switch (step) {
        case 0:
            add_begin(&chunk, 9);
            break;
        case 1:
            add_body(&chunk, 9, false, STR("12"));
            break;
        case 2:
            add_reply(&chunk, 9, 503);
            break;
        case 3:
            add_body(&chunk, 9, true, STR("345"));
            break;
        default:
            add_end(&chunk, 9);
        }
        assert_int_equal(feed(a, &chunk, NULL), 0);
    }
    end(a, "node:gw-1 exchange:2/3 ");
}

static void what_a_proxy_dropped_is_forgotten(void **state)
{
    struct assembly *a = begin(NULL);
    (void)state;
    add_begin(&chunk, 1);
    add_end(&chunk, 1)->dropped = OFFSHOOT__V1__CAPTURE_DROP__ABORTED;
    assert_int_equal(feed(a, &chunk, NULL), 0);
    end(a, "node:gw-1 ");
}

static void hops_are_told_with_their_node(void **state)
{
    struct assembly *a = begin(NULL);
    (void)state;
    add_hop(&chunk, OFFSHOOT__V1__HOP_KIND__HOP_LOST);
    add_hop(&chunk, (Offshoot__V1__HopKind)9); /* of a later version */
    assert_int_equal(feed(a, &chunk, NULL), 0);
    end(a, "node:gw-1 hop:2:gw-1:stock:main:base:PUT:dark-blocked:3 ");
}

static void sums_of_drops_count_from_the_first_report_on(void **state)
{
    struct assembly *a = begin(NULL);
    (void)state;
    chunk.sums[0] = 1000;
    chunk.sums[3] = 5;
    add_drops(&chunk, 4);
    assert_int_equal(feed(a, &chunk, NULL), 0);
    chunk_init(&chunk, empty);
    chunk.sums[0] = 2000;
    chunk.sums[3] = 7;
    chunk.sums[9] = 1;
    add_drops(&chunk, 10);
    assert_int_equal(feed(a, &chunk, NULL), 0);
    struct assembly_sums sums = assembly_sums(a);
    end(a, "node:gw-1 drop:gw-1:body:2 drop:gw-1:unknown:1 ");
    a = begin(NULL); /* the worker's next stream, after a restart of the proxy */
    assembly_set_sums(a, &sums);
    chunk.sums[3] = 4;
    chunk.sums[9] = 3;
    add_drops(&chunk, 10);
    assert_int_equal(feed(a, &chunk, NULL), 0);
    end(a, "node:gw-1 drop:gw-1:body:4 drop:gw-1:unknown:2 ");
}

static void one_exchange_above_the_limit_is_dropped(void **state)
{
    struct assembly_limits l = {.open = 2};
    struct assembly *a = begin(&l);
    (void)state;
    for (uint64_t id = 1; id <= 3; id++)
        add_begin(&chunk, id);
    for (uint64_t id = 1; id <= 3; id++) {
        add_reply(&chunk, id, 200);
        add_end(&chunk, id);
    }
    assert_int_equal(feed(a, &chunk, NULL), 0);
    end(a, "node:gw-1 drop:gw-1:in-flight:1 exchange:0/0 exchange:0/0 ");
}

static void body_at_the_limit_is_kept_and_one_byte_more_is_not(void **state)
{
    struct assembly_limits l = {.body_bytes = 4};
    struct assembly *a = begin(&l);
    (void)state;
    add_begin(&chunk, 1);
    add_begin(&chunk, 2);
    add_begin(&chunk, 3);
    add_body(&chunk, 1, false, STR("1234"));
    add_body(&chunk, 2, false, STR("123"));
    add_body(&chunk, 2, false, STR("45"));
    add_reply(&chunk, 1, 200);
    add_reply(&chunk, 2, 200); /* of one that is dropped already */
    add_reply(&chunk, 3, 200);
    add_body(&chunk, 1, true, STR("1234"));
    add_body(&chunk, 3, true, STR("12345"));
    add_end(&chunk, 1);
    add_end(&chunk, 2);
    add_end(&chunk, 3);
    assert_int_equal(feed(a, &chunk, NULL), 0);
    end(a, "node:gw-1 drop:gw-1:body:1 drop:gw-1:body:1 exchange:4/4 ");
}

static void memory_of_all_that_is_open_is_bounded(void **state)
{
    static char big[40000];
    struct assembly_limits l = {.bytes = 80000};
    struct assembly *a = begin(&l);
    (void)state;
    add_begin(&chunk, 1);
    add_begin(&chunk, 2);
    add_body(&chunk, 1, false, str_of(big, sizeof big)); /* doubles to 65,536 */
    add_body(&chunk, 2, false, str_of(big, 30000));
    add_reply(&chunk, 1, 200);
    add_reply(&chunk, 2, 200);
    add_end(&chunk, 1);
    add_end(&chunk, 2);
    add_begin(&chunk, 3);
    add_reply(&chunk, 3, 200);
    add_end(&chunk, 3);
    assert_int_equal(feed(a, &chunk, NULL), 0);
    end(a, "node:gw-1 drop:gw-1:memory:1 exchange:40000/0 exchange:0/0 ");
}

static void lower_bound_given_later_counts(void **state)
{
    struct assembly *a = begin(NULL);
    (void)state;
    add_begin(&chunk, 1);
    assert_int_equal(feed(a, &chunk, NULL), 0);
    assembly_limit(a, 100);
    chunk_init(&chunk, empty);
    add_body(&chunk, 1, false, STR("x"));
    add_begin(&chunk, 2);
    assert_int_equal(feed(a, &chunk, NULL), 0);
    end(a, "node:gw-1 drop:gw-1:memory:1 drop:gw-1:memory:1 ");
}

static void stream_that_breaks_the_contract_is_refused_by_event(void **state)
{
    (void)state;
    struct assembly *a = begin(NULL);
    add_begin(&chunk, 2);
    add_begin(&chunk, 2);
    refused(a, "event 1: exchange 2 begins after exchange 2");
    a = begin(NULL);
    add_body(&chunk, 1, false, STR("x"));
    refused(a, "event 0: a body of exchange 1, which was not begun");
    a = begin(NULL);
    add_begin(&chunk, 1);
    add_reply(&chunk, 5, 200);
    refused(a, "event 1: a reply of exchange 5");
    a = begin(NULL);
    add_end(&chunk, 0);
    refused(a, "the end of exchange 0");
    a = begin(NULL);
    add_begin(&chunk, 1);
    add_body(&chunk, 1, true, STR("x"));
    refused(a, "before its head");
    a = begin(NULL);
    add_begin(&chunk, 1);
    add_reply(&chunk, 1, 200);
    add_reply(&chunk, 1, 200);
    refused(a, "a second reply");
    a = begin(NULL);
    add_begin(&chunk, 1);
    add_reply(&chunk, 1, 103);
    refused(a, "not 200 to 599");
    a = begin(NULL);
    add_begin(&chunk, 1);
    add_reply(&chunk, 1, 600);
    refused(a, "not 200 to 599");
    a = begin(NULL);
    add_begin(&chunk, 1);
    add_end(&chunk, 1);
    refused(a, "has no reply");
    a = begin(NULL);
    add_hop(&chunk, 0)->trace_id.len = 15;
    refused(a, "16 bytes of trace-id");
    a = begin(NULL);
    add_drops(&chunk, ASSEMBLY_DROPS + 1);
    refused(a, "more than 16 kinds");
}

static void begin_is_judged(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct assembly *a = begin(NULL);
        Offshoot__V1__ExchangeBegin *b = add_begin(&chunk, 1);
        switch (i) {
        case 0:
            b->trace_id.len = 8;
            break;
        case 1:
            b->n_sessions = 0;
            break;
        case 2:
            b->n_sessions = EXCHANGE_SESSIONS + 1;
            break;
        case 3:
            chunk.session[0] = 0;
            break;
        case 4:
            b->method = empty;
            break;
        default:
            b->path = empty;
        }
        refused(a, "event 0: exchange 1: want");
    }
}

static void first_chunk_alone_names_the_node(void **state)
{
    static char too_long[300];
    struct err e = {0};
    (void)state;
    struct assembly *a = begin(NULL);
    chunk_init(&chunk, empty);
    refused(a, "does not name the node");
    a = begin(NULL);
    memset(too_long, 'n', 254);
    chunk_init(&chunk, too_long);
    refused(a, "does not name the node");
    a = begin(NULL);
    assert_int_equal(feed(a, &chunk, NULL), 0);
    refused(a, "a second chunk that names the node");
    a = begin(NULL);
    told.node_rc = -EPERM;
    add_hop(&chunk, 0); /* not told any more */
    assert_int_equal(feed(a, &chunk, &e), -EPERM);
    end(a, "node:gw-1 ");
}

static void message_cut_anywhere_is_harmless(void **state)
{
    (void)state;
    chunk_init(&chunk, gateway);
    add_begin(&chunk, 1);
    add_reply(&chunk, 1, 200);
    add_end(&chunk, 1);
    size_t n = offshoot__v1__capture_chunk__get_packed_size(&chunk.c);
    uint8_t *p = malloc(n);
    assert_non_null(p);
    offshoot__v1__capture_chunk__pack(&chunk.c, p);
    unsigned bad = 0;
    for (size_t cut = 0; cut < n; cut++) {
        memset(&told, 0, sizeof told);
        struct assembly *a = open_assembly(&told, &defaults);
        bad += assembly_feed(a, str_of((const char *)p, cut), NULL) == -EBADMSG;
        assert_null(told.kept);
        assembly_free(a);
        text_release(&told.text);
    }
    free(p);
    assert_true(bad > n / 2);
}

/* Memory that runs out at any point costs the exchange, never the stream's bookkeeping. */
static void each_allocation_may_fail(void **state)
{
    unsigned long nth = 1, lost = 0;
    bool all = false;
    (void)state;
    for (; !all; nth++) {
        struct assembly *a = begin(NULL);
        add_begin(&chunk, 1);
        add_body(&chunk, 1, false, STR("ask"));
        add_reply(&chunk, 1, 200);
        add_end(&chunk, 1);
        mem_fail_nth(nth);
        int rc = feed(a, &chunk, NULL);
        all = mem_count() < nth;
        mem_fail_nth(0);
        assert_true(rc == 0 || rc == -EBADMSG);
        lost += told.kept == NULL;
        assert_true(!all || told.kept);
        assembly_free(a);
        exchange_unref(told.kept);
        text_release(&told.text);
    }
    assert_true(lost > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_exchange_is_told_with_all_its_parts),
        cmocka_unit_test(exchanges_interleave),
        cmocka_unit_test(every_event_may_come_in_a_chunk_of_its_own),
        cmocka_unit_test(what_a_proxy_dropped_is_forgotten),
        cmocka_unit_test(hops_are_told_with_their_node),
        cmocka_unit_test(sums_of_drops_count_from_the_first_report_on),
        cmocka_unit_test(one_exchange_above_the_limit_is_dropped),
        cmocka_unit_test(body_at_the_limit_is_kept_and_one_byte_more_is_not),
        cmocka_unit_test(memory_of_all_that_is_open_is_bounded),
        cmocka_unit_test(lower_bound_given_later_counts),
        cmocka_unit_test(stream_that_breaks_the_contract_is_refused_by_event),
        cmocka_unit_test(begin_is_judged),
        cmocka_unit_test(first_chunk_alone_names_the_node),
        cmocka_unit_test(message_cut_anywhere_is_harmless),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return unit_run(tests);
}
