/* What a client on HTTP/2 is told at the start. */
#include "tests/loop/loop.h"
#include "tests/unit/wire/h2_bytes.h"
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_STREAMS = 3, INITIAL_WINDOW = 4, MAX_HEADERS = 6, CONNECT_PROTOCOL = 8 };

static struct loop l;

static uint32_t number(const char *p, int bytes)
{
    uint32_t v = 0;
    while (bytes-- > 0)
        v = v << 8 | (uint8_t)*p++;
    return v;
}

/* The values of the first SETTINGS that a client of this listener gets. */
static void hello(struct listener *on, uint32_t values[16])
{
    static struct raw out;
    out.n = 0;
    raw_hello(&out);
    int c = loop_client(&l, on);
    raw_send(&out, c);
    loop_turns(&l);
    char got[4096];
    ssize_t n = recv(c, got, sizeof got, 0);
    assert_true(n > 9);
    assert_int_equal(got[3], T_SETTINGS);
    uint32_t length = number(got, 3);
    assert_true(length % 6 == 0 && length + 9 <= (uint32_t)n);
    for (const char *p = got + 9; p < got + 9 + length; p += 6)
        values[number(p, 2) & 15] = number(p + 2, 4);
    close(c);
}

static void an_edge_takes_256_streams_and_the_mesh_1024(void **state)
{
    (void)state;
    uint32_t edge[16] = {0}, mesh[16] = {0};
    loop_start(&l, NULL, NULL);
    hello(l.edge, edge);
    hello(l.trusted, mesh);
    assert_int_equal(edge[MAX_STREAMS], 256);
    assert_int_equal(mesh[MAX_STREAMS], 1024);
    assert_int_equal(edge[INITIAL_WINDOW] ? edge[INITIAL_WINDOW] : 65535, 65535);
    assert_int_equal(edge[CONNECT_PROTOCOL], 1);
    assert_true(edge[MAX_HEADERS] >= 32768);
    loop_stop(&l);
}

static void settings_change_what_is_told(void **state)
{
    (void)state;
    static const char *const sets[] = {
        "http2.streams", "7", "http2.trustedStreams", "9", "http2.window", "4096", NULL};
    uint32_t edge[16] = {0}, mesh[16] = {0};
    loop_start(&l, NULL, sets);
    hello(l.edge, edge);
    hello(l.trusted, mesh);
    assert_int_equal(edge[MAX_STREAMS], 7);
    assert_int_equal(mesh[MAX_STREAMS], 9);
    assert_int_equal(edge[INITIAL_WINDOW], 4096);
    loop_stop(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_edge_takes_256_streams_and_the_mesh_1024),
        cmocka_unit_test(settings_change_what_is_told),
    };
    return unit_run(tests);
}
