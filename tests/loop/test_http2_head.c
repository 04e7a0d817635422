/* A head on HTTP/2 that comes in pieces. */
#include "tests/loop/loop.h"
#include "tests/unit/wire/h2_bytes.h"

static struct loop l;
static struct raw out;
static struct raw behind; /* comes right behind the bytes that are read next */
static int behind_at;

/* Stands before the C library's. */
ssize_t fake_recv(int fd, void *p, size_t n, int flags) __asm__("recv");
ssize_t fake_recv(int fd, void *p, size_t n, int flags)
{
    ssize_t got = recvfrom(fd, p, n, flags, NULL, NULL);
    if (got > 0 && behind.n)
        raw_send(&behind, behind_at);
    return got;
}

static uint64_t timeouts(void)
{
    return loop_count(&l, STAT_CLIENT_CLOSES + CLIENT_CLOSE_HEAD_TIMEOUT);
}

/* A client whose SETTINGS were read and answered. */
static int greeted(void)
{
    loop_start(&l, NULL, NULL);
    int c = loop_client(&l, l.edge);
    raw_hello(&out);
    raw_frame(&out, T_SETTINGS, F_ACK, 0, STR(""));
    raw_send(&out, c);
    loop_recv(&l, c);
    return c;
}

static void assert_times_out(int c)
{
    loop_advance(&l, 9900);
    assert_int_equal(timeouts(), 0);
    loop_advance(&l, 300);
    assert_int_equal(timeouts(), 1);
    assert_true(loop_closed(&l, c));
    loop_end(&l, c);
}

static void c4_a_head_without_its_end_is_given_up(void **state)
{
    (void)state;
    int c = greeted();
    raw_headers(&out, F_END_STREAM, 1, RAW_GET);
    raw_send(&out, c);
    loop_turns(&l);
    assert_times_out(c);
}

/* They are read in the same turn, by another look at the socket. */
static void c4_also_when_its_start_comes_right_behind_other_bytes(void **state)
{
    (void)state;
    int c = greeted();
    raw_headers(&behind, F_END_STREAM, 1, RAW_GET);
    behind_at = c;
    raw_window(&out, 0, 1);
    raw_send(&out, c);
    loop_turns(&l);
    assert_int_equal(behind.n, 0);
    assert_times_out(c);
}

static void a_head_whose_end_comes_in_time_is_served(void **state)
{
    (void)state;
    int c = greeted();
    raw_headers(&out, F_END_STREAM, 1, RAW_GET);
    raw_send(&out, c);
    loop_advance(&l, 9900);
    raw_frame(&out, T_CONTINUATION, F_END_HEADERS, 1, STR(""));
    raw_send(&out, c);
    loop_advance(&l, 300);
    assert_int_equal(timeouts(), 0);
    assert_int_equal(l.nproviders, 1);
    loop_end(&l, c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c4_a_head_without_its_end_is_given_up),
        cmocka_unit_test(c4_also_when_its_start_comes_right_behind_other_bytes),
        cmocka_unit_test(a_head_whose_end_comes_in_time_is_served),
    };
    return unit_run(tests);
}
