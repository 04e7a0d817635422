/* The deadline of a gRPC call: what of it is passed on, and who acts on it first. */
#include "tests/loop/loop.h"
#include "tests/unit/wire/h2_bytes.h"
#include <sys/socket.h>
#include <unistd.h>

#define RAW_CALL                                                                                   \
    ":method: POST\n:scheme: http\n:path: /t.Echo/Unary\n:authority: a\n"                          \
    "content-type: application/grpc\nte: trailers\ngrpc-timeout: 100m\n"

/* RST_STREAM of stream 1, without its code. */
#define RESET "\0\0\4\3\0\0\0\0\1"

static struct loop l;
static struct raw out;

static const char graph[] =
    LOOP_SERVICE("cart", "protocol: grpc") LOOP_CART("\"127.0.0.1:9001\"") LOOP_GATEWAY("");

static bool has(const char *bytes, size_t n, struct str what)
{
    return memmem(bytes, n, what.p, what.n) != NULL;
}

/* A client on HTTP/2 whose call has 100 ms stands at a provider on HTTP/2. */
static int call(void)
{
    loop_start(&l, graph, NULL);
    int c = loop_client(&l, l.trusted);
    out.n = 0;
    raw_hello(&out);
    raw_headers(&out, F_END_HEADERS | F_END_STREAM, 1, RAW_CALL);
    raw_send(&out, c);
    loop_turns(&l);
    assert_int_equal(l.nproviders, 1);
    raw_frame(&out, T_SETTINGS, 0, 0, STR(""));
    raw_send(&out, l.provider[0]);
    loop_turns(&l);
    char got[4096];
    ssize_t n = recv(l.provider[0], got, sizeof got, 0);
    assert_true(n > 0 && has(got, (size_t)n, STR("/t.Echo/Unary")));
    return c;
}

/* The provider resets the stream with code at that time. What came is looked at before the timers
 * are, and those are late by up to a tick of the wheel. */
static void reset_after(uint64_t ms, uint32_t code)
{
    raw_u(&out, 4, 3);
    raw_u(&out, T_RST, 1);
    raw_u(&out, 0, 1);
    raw_u(&out, 1, 4);
    raw_u(&out, code, 4);
    raw_send(&out, l.provider[0]);
    loop_advance(&l, ms);
}

static void expect(int c, struct str status, struct str word)
{
    char got[4096];
    ssize_t n = recv(c, got, sizeof got, 0);
    assert_true(n > 0 && has(got, (size_t)n, status) && has(got, (size_t)n, word));
    assert_int_equal(l.nproviders, 1);
    loop_end(&l, c);
}

static void expect_timeout(int c)
{
    expect(c,
        STR("grpc-status\x01"
            "4"),
        STR("x-offshoot-error\x07timeout"));
}

static void a_reset_behind_the_deadline_is_the_deadline(void **state)
{
    (void)state;
    static const uint32_t codes[] = {0, 2, 7, 8}; /* 7: REFUSED_STREAM; 8: CANCEL */
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        int c = call();
        reset_after(101, codes[i]);
        assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_TIMEOUT), 1);
        assert_int_equal(loop_count(&l, STAT_PROVIDER_ERRORS + PROVIDER_REPLY_TIMEOUT), 1);
        expect_timeout(c);
    }
}

static void an_end_behind_the_deadline_is_the_deadline(void **state)
{
    (void)state;
    int c = call();
    close(l.provider[0]);
    l.provider[0] = -1;
    loop_advance(&l, 101);
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_TIMEOUT), 1);
    expect_timeout(c);
}

static void a_reset_before_the_deadline_is_a_bad_reply(void **state)
{
    (void)state;
    int c = call();
    reset_after(90, 8);
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_BAD_REPLY), 1);
    expect(c,
        STR("grpc-status\x02"
            "13"),
        STR("x-offshoot-error\x09"
            "bad-reply"));
}

static void without_a_word_our_own_timer_ends_it(void **state)
{
    (void)state;
    int c = call();
    loop_advance(&l, 150);
    char got[4096];
    ssize_t n = recv(l.provider[0], got, sizeof got, 0);
    assert_true(n > 0 && has(got, (size_t)n, str_of("\0\0\4\3\0\0\0\0\1\0\0\0\10", 13)));
    expect_timeout(c);
}

static void a_reply_that_goes_on_ends_at_the_deadline(void **state)
{
    (void)state;
    int c = call();
    raw_headers(
        &out, F_END_HEADERS, 1, ":status: 200\ncontent-type: application/grpc\nx-own: here\n");
    raw_frame(&out, T_DATA, 0, 1, str_of("\0\0\0\0\3one", 8));
    raw_send(&out, l.provider[0]);
    loop_advance(&l, 90);
    char got[4096];
    ssize_t n = recv(c, got, sizeof got, 0);
    assert_true(n > 0 && has(got, (size_t)n, STR("x-own\x04here")));
    assert_true(has(got, (size_t)n, STR("one")));
    assert_false(has(got, (size_t)n, str_of(RESET, sizeof RESET - 1)));
    loop_advance(&l, 60);
    n = recv(c, got, sizeof got, 0);
    assert_true(n > 0 && has(got, (size_t)n, str_of(RESET, sizeof RESET - 1)));
    n = recv(l.provider[0], got, sizeof got, 0);
    assert_true(n > 0 && has(got, (size_t)n, str_of(RESET, sizeof RESET - 1)));
    loop_end(&l, c);
}

/* Forty milliseconds go by until the connection to the provider stands. */
static void the_time_that_was_used_is_not_passed_on(void **state)
{
    (void)state;
    loop_start(&l, graph, NULL);
    l.connect_pending = true;
    int c = loop_client(&l, l.trusted);
    out.n = 0;
    raw_hello(&out);
    raw_headers(&out, F_END_HEADERS | F_END_STREAM, 1, RAW_CALL);
    raw_send(&out, c);
    loop_turns(&l);
    assert_int_equal(l.nproviders, 1);
    loop_advance(&l, 40);
    memset(l.in, 0, sizeof l.in);
    loop_recv(&l, l.provider[0]); /* what stood in the way of the connect, and then the request */
    assert_true(has(l.in, sizeof l.in, STR("/t.Echo/Unary")));
    assert_true(has(l.in, sizeof l.in,
        STR("grpc-timeout\x06"
            "60000u")));
    loop_end(&l, c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reset_behind_the_deadline_is_the_deadline),
        cmocka_unit_test(an_end_behind_the_deadline_is_the_deadline),
        cmocka_unit_test(a_reset_before_the_deadline_is_a_bad_reply),
        cmocka_unit_test(without_a_word_our_own_timer_ends_it),
        cmocka_unit_test(a_reply_that_goes_on_ends_at_the_deadline),
        cmocka_unit_test(the_time_that_was_used_is_not_passed_on),
    };
    return unit_run(tests);
}
