/* What a request and its reply look like on the other side. */
#include "tests/loop/loop.h"
#include <unistd.h>

static struct loop l;

static void forwards_a_request_and_its_reply(void **state)
{
    (void)state;
    loop_start(&l, NULL, NULL);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET /cart?x=1 HTTP/1.1\r\nHost: shop\r\nUser-Agent: t\r\n\r\n");
    assert_int_equal(l.nproviders, 1);
    const char *got = loop_recv(&l, l.provider[0]);
    assert_non_null(strstr(got, "GET /cart?x=1 HTTP/1.1\r\nhost: shop\r\nuser-agent: t\r\n"));
    assert_non_null(strstr(got, "\r\nvia: 1.1 offshoot\r\n"));
    assert_non_null(strstr(got, "\r\nbaggage: offshoot=v1m.main.0.00\r\n"));
    assert_non_null(strstr(got, "\r\nx-offshoot-context: v1m.main.0.00\r\n"));
    assert_non_null(strstr(got, "\r\ntraceparent: 00-"));
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi");
    assert_string_equal(
        loop_recv(&l, c), "HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 2\r\n\r\nhi");
    loop_send(&l, c, "GET /2 HTTP/1.1\r\nHost: shop\r\n\r\n");
    assert_int_equal(l.nproviders, 1);
    assert_int_equal(loop_count(&l, STAT_PROVIDER_REUSES), 1);
    assert_non_null(strstr(loop_recv(&l, l.provider[0]), "GET /2 "));
    loop_send(&l, l.provider[0], "HTTP/1.1 204 No Content\r\n\r\n");
    assert_string_equal(loop_recv(&l, c), "HTTP/1.1 204 No Content\r\n\r\n");
    close(c);
    loop_stop(&l);
}

static void frames_chunked_bodies_anew(void **state)
{
    (void)state;
    loop_start(&l, NULL, NULL);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c,
        "POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n");
    const char *got = loop_recv(&l, l.provider[0]);
    assert_non_null(strstr(got, "\r\ntransfer-encoding: chunked\r\n"));
    assert_non_null(strstr(got, "\r\n\r\n3\r\nabc\r\n"));
    loop_send(&l, c, "2\r\nde\r\n0\r\n\r\n");
    assert_string_equal(loop_recv(&l, l.provider[0]), "2\r\nde\r\n0\r\n\r\n");
    loop_send(&l, l.provider[0],
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_string_equal(loop_recv(&l, c),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    close(c);
    loop_stop(&l);
}

static void serves_a_pipeline_in_order(void **state)
{
    (void)state;
    loop_start(&l, NULL, NULL);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c,
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: "
        "1\r\n\r\nx"
        "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = '1'; i <= '3'; i++) {
        char want[] = "ET /1 ", reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";
        want[4] = (char)i;
        memcpy(want, i == '2' ? "ST" : "ET", 2);
        reply[sizeof reply - 2] = (char)i;
        assert_non_null(strstr(loop_recv(&l, l.provider[0]), want));
        loop_send(&l, l.provider[0], reply);
    }
    const char *got = loop_recv(&l, c);
    const char *one = strstr(got, "\r\n\r\n1HTTP"), *two = strstr(got, "\r\n\r\n2HTTP");
    assert_non_null(one);
    assert_non_null(two);
    assert_true(one < two);
    assert_non_null(strstr(two, "\r\n\r\n3"));
    close(c);
    loop_stop(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwards_a_request_and_its_reply),
        cmocka_unit_test(frames_chunked_bodies_anew),
        cmocka_unit_test(serves_a_pipeline_in_order),
    };
    return unit_run(tests);
}
