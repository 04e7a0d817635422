/* Peers that make work without getting anywhere: -EPROTO with a reason, a GOAWAY that says
 * ENHANCE_YOUR_CALM, and memory that stays within bounds. What a busy honest peer does passes. */
#include "tests/unit/wire/grpc_seen.h"

struct flooded {
    struct end x;
    struct raw in;
    struct seen out;
};

static void open_flooded(struct flooded *v)
{
    v->x = end_new(true, NULL, &v->x);
    v->in.n = 0;
    seen_init(&v->out, false);
    raw_hello(&v->in);
}

static int run_flooded(struct flooded *v, bool read, struct err *e)
{
    int rc = grpc_session_feed(v->x.s, str_of(v->in.bytes, v->in.n), e);
    v->in.n = 0;
    if (read) {
        seen_all(&v->out, &v->x);
        v->out.fields_n = 0;
        rc = rc ? rc : grpc_session_feed(v->x.s, STR(""), e);
    }
    return rc;
}

typedef void one_fn(struct raw *r, unsigned i);

static void one_ping(struct raw *r, unsigned i)
{
    (void)i;
    raw_frame(r, T_PING, 0, 0, STR("12345678"));
}

static void one_settings(struct raw *r, unsigned i)
{
    (void)i;
    raw_frame(r, T_SETTINGS, 0, 0, STR(""));
}

static void one_acknowledgement(struct raw *r, unsigned i)
{
    (void)i;
    raw_frame(r, T_PING, F_ACK, 0, STR("12345678"));
}

static void one_rapid_reset(struct raw *r, unsigned i)
{
    raw_headers(r, 0, 2 * i + 1, RAW_REQUEST);
    raw_frame(r, T_RST, 0, 2 * i + 1, str_of("\0\0\0\10", 4));
}

/* A request, then what makes the server reset the stream: a window that overflows. */
static void one_made_reset(struct raw *r, unsigned i)
{
    raw_headers(r, 0, 2 * i + 1, RAW_REQUEST);
    raw_frame(r, T_WINDOW, 0, 2 * i + 1, str_of("\x7f\xff\xff\xff", 4));
}

static void one_malformed_request(struct raw *r, unsigned i)
{
    raw_headers(r, 0, 2 * i + 1, RAW_REQUEST "connection: close\n");
}

static void one_empty_data(struct raw *r, unsigned i)
{
    if (i == 0)
        raw_headers(r, 0, 1, RAW_REQUEST);
    raw_frame(r, T_DATA, 0, 1, STR(""));
}

static void one_padding(struct raw *r, unsigned i)
{
    if (i == 0)
        raw_headers(r, 0, 1, RAW_REQUEST);
    raw_frame(r, T_DATA, F_PADDED, 1, str_of("\3\0\0\0", 4));
}

static void one_priority(struct raw *r, unsigned i)
{
    char payload[5] = {0, 0, 0, 0, 1};
    raw_frame(r, T_PRIORITY, 0, 2 * (i % 1000) + 101, str_of(payload, 5));
}

static void one_window_update(struct raw *r, unsigned i)
{
    (void)i;
    raw_frame(r, T_WINDOW, 0, 0, str_of("\0\0\0\1", 4));
}

static void one_more_call(struct raw *r, unsigned i)
{
    raw_headers(r, 0, 2 * i + 1, RAW_REQUEST);
}

static void one_refused_call(struct raw *r, unsigned i)
{
    raw_headers(r, F_END_STREAM, 2 * i + 1, ":method: GET\n:scheme: http\n:path: /\n");
}

/* How many it takes until the session has enough; 0: n were not enough. */
static unsigned flood(one_fn *one, unsigned n, bool read, const char *why)
{
    static struct flooded v;
    struct err e = {0};
    size_t most = 0;
    unsigned i;
    int rc = 0;
    open_flooded(&v);
    for (i = 0; i < n && rc == 0; i++) {
        one(&v.in, i);
        if (i % 50 == 49)
            rc = run_flooded(&v, read, &e);
        if (mem_live() > most)
            most = mem_live();
    }
    if (rc) {
        assert_int_equal(rc, -EPROTO);
        if (!strstr(e.text, why))
            fail_msg("have \"%s\", want \"%s\"", e.text, why);
        seen_all(&v.out, &v.x);
        assert_int_equal(v.out.frames[T_GOAWAY], 1);
        assert_true(grpc_session_done(v.x.s));
    }
    assert_true(most < 8000);
    seen_release(&v.out);
    end_free(&v.x);
    return rc ? i : 0;
}

static void floods_end_the_connection(void **state)
{
    (void)state;
    for (int read = 0; read < 2; read++) {
        assert_in_range(flood(one_ping, 100000, read, ""), 100, 5000);
        assert_in_range(flood(one_settings, 100000, read, ""), 100, 5000);
        assert_in_range(flood(one_rapid_reset, 100000, read, "RST_STREAM"), 150, 2000);
        assert_in_range(flood(one_acknowledgement, 200000, read, "without content"), 9000, 80000);
        assert_in_range(flood(one_empty_data, 200000, read, "without content"), 9000, 80000);
        assert_in_range(flood(one_padding, 200000, read, "without content"), 9000, 80000);
        assert_in_range(flood(one_priority, 200000, read, "without content"), 9000, 80000);
        assert_in_range(flood(one_window_update, 200000, read, "without content"), 9000, 80000);
    }
    assert_in_range(flood(one_ping, 100000, true, "PING or SETTINGS"), 900, 5000);
    assert_in_range(flood(one_settings, 100000, true, "PING or SETTINGS"), 900, 5000);
    assert_in_range(flood(one_made_reset, 100000, true, "RST_STREAM"), 150, 2000);
    assert_in_range(flood(one_malformed_request, 100000, true, "RST_STREAM"), 150, 2000);
    assert_in_range(flood(one_more_call, 100000, true, ""), 16, 2000);
    /* who reads no answers is stopped by how many wait */
    assert_in_range(flood(one_refused_call, 100000, false, ""), 16, 5000);
}

static void continuations_without_end_stop_the_connection(void **state)
{
    static struct flooded v;
    static struct raw block;
    struct err e = {0};
    (void)state;
    for (unsigned n = 7; n <= 9; n++) {
        open_flooded(&v);
        block.n = 0;
        raw_fields(&block, RAW_REQUEST);
        raw_frame(&v.in, T_HEADERS, 0, 1, str_of(block.bytes, block.n));
        for (unsigned i = 0; i < n; i++) {
            block.n = 0;
            raw_field(&block, STR("x"), STR("y"));
            raw_frame(&v.in, T_CONTINUATION, 0, 1, str_of(block.bytes, block.n));
        }
        int rc = run_flooded(&v, false, &e);
        assert_int_equal(rc, n > 8 ? -EPROTO : 0);
        assert_int_equal(v.x.owed, 0);
        seen_all(&v.out, &v.x);
        assert_int_equal(v.out.frames[T_GOAWAY], n > 8);
        seen_release(&v.out);
        end_free(&v.x);
    }
    assert_non_null(strstr(e.text, "CONTINUATION"));
}

static void many_settings_in_one_frame_are_broken(void **state)
{
    static struct flooded v;
    static struct raw entries;
    struct err e = {0};
    (void)state;
    open_flooded(&v);
    entries.n = 0;
    for (int i = 0; i < 1000; i++)
        raw_add(&entries, "\0\4\0\0\377\377", 6);
    raw_frame(&v.in, T_SETTINGS, 0, 0, str_of(entries.bytes, entries.n));
    assert_int_equal(run_flooded(&v, true, &e), -EPROTO);
    assert_int_equal(v.out.frames[T_GOAWAY], 1);
    seen_release(&v.out);
    end_free(&v.x);
}

/* Fields that expand to megabytes out of the table of HPACK are counted, not kept. */
static void a_bomb_of_indexed_fields_is_refused(void **state)
{
    static struct flooded v;
    static struct raw block;
    char value[3000];
    (void)state;
    memset(value, 'v', sizeof(value));
    open_flooded(&v);
    block.n = 0;
    raw_fields(&block, RAW_REQUEST);
    raw_u(&block, 0x40, 1); /* literal, to be indexed */
    raw_number(&block, 1);
    raw_add(&block, "x", 1);
    raw_number(&block, sizeof(value));
    raw_add(&block, value, sizeof(value));
    while (block.n < 16000)
        raw_u(&block, 0x80 | 62, 1); /* that field again */
    raw_frame(&v.in, T_HEADERS, F_END_HEADERS, 1, str_of(block.bytes, block.n));
    assert_int_equal(run_flooded(&v, false, NULL), 0);
    assert_int_equal(v.x.owed, 0);
    seen_all(&v.out, &v.x);
    assert_str(seen_field(&v.out, "grpc-status"), "8");
    seen_release(&v.out);
    end_free(&v.x);
}

/* A message of 4 MiB that is only announced takes no memory for it. */
static void announced_messages_cost_nothing(void **state)
{
    static struct flooded v;
    (void)state;
    open_flooded(&v);
    for (uint32_t id = 1; id < 32; id += 2)
        raw_headers(&v.in, 0, id, RAW_REQUEST);
    assert_int_equal(run_flooded(&v, true, NULL), 0);
    size_t live = mem_live();
    for (uint32_t id = 1; id < 32; id += 2)
        raw_frame(&v.in, T_DATA, 0, id, str_of("\0\0\100\0\0", 5));
    assert_int_equal(run_flooded(&v, true, NULL), 0);
    assert_int_equal(mem_live(), live);
    assert_int_equal(v.x.owed, 16);
    assert_int_equal(v.x.messages, 0);
    seen_release(&v.out);
    end_free(&v.x);
}

static void interim_replies_without_end_are_a_flood(void **state)
{
    static struct raw in;
    struct end x = end_new(false, NULL, &x);
    const uint8_t *p;
    struct err e = {0};
    unsigned n = 0;
    (void)state;
    end_call(&x);
    while (grpc_session_produce(x.s, &p) > 0)
        ;
    in.n = 0;
    raw_frame(&in, T_SETTINGS, 0, 0, STR(""));
    do {
        raw_headers(&in, 0, 1, ":status: 103\ngrpc-message: early\n");
        assert_true(n < 100000);
        int rc = grpc_session_feed(x.s, str_of(in.bytes, in.n), &e);
        assert_true(rc == 0 || rc == -EPROTO);
        in.n = 0;
    } while (e.code == 0 && ++n);
    assert_in_range(n, 9000, 80000);
    end_free(&x);
    assert_log(&x, "end UNAVAILABLE 'the connection is closed'; ");
}

static void a_busy_honest_client_is_no_flood(void **state)
{
    static struct flooded v;
    (void)state;
    open_flooded(&v);
    v.x.echo = true;
    raw_headers(&v.in, 0, 1, RAW_REQUEST);
    for (unsigned i = 0; i < 20000; i++) {
        raw_message(&v.in, 0, 1, STR("m"));
        one_ping(&v.in, i);
        raw_frame(&v.in, T_WINDOW, 0, 0, str_of("\0\0\0\6", 4));
        raw_frame(&v.in, T_WINDOW, 0, 1, str_of("\0\0\0\6", 4));
        if (i % 20 == 19)
            assert_int_equal(run_flooded(&v, true, NULL), 0);
        v.x.log_n = 0;
    }
    assert_int_equal(v.x.messages, 20000);
    seen_release(&v.out);
    end_free(&v.x);
}

static void many_short_calls_are_no_flood(void **state)
{
    static struct flooded v;
    (void)state;
    open_flooded(&v);
    v.x.finish_half = true;
    for (uint32_t i = 0; i < 20000; i++) {
        raw_headers(&v.in, 0, 2 * i + 1, RAW_REQUEST);
        raw_message(&v.in, F_END_STREAM, 2 * i + 1, STR("m"));
        if (i % 10 == 9)
            assert_int_equal(run_flooded(&v, true, NULL), 0);
        v.x.log_n = 0;
    }
    assert_int_equal(v.x.ended, 20000);
    seen_release(&v.out);
    end_free(&v.x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floods_end_the_connection),
        cmocka_unit_test(continuations_without_end_stop_the_connection),
        cmocka_unit_test(many_settings_in_one_frame_are_broken),
        cmocka_unit_test(a_bomb_of_indexed_fields_is_refused),
        cmocka_unit_test(announced_messages_cost_nothing),
        cmocka_unit_test(interim_replies_without_end_are_a_flood),
        cmocka_unit_test(a_busy_honest_client_is_no_flood),
        cmocka_unit_test(many_short_calls_are_no_flood),
    };
    return unit_run(tests);
}
