/* A server under messages that break RFC 9113 section 8, case by case, as h2spec has them. */
#include "tests/unit/wire/h2_cases.h"

/* 8.1 */
CASE(second_headers_without_end_stream)
{
    GET_OPEN;
    raw_headers(r, F_END_HEADERS, 1, "x: y\n");
}
CASE(request_with_trailers)
{
    GET_OPEN;
    raw_frame(r, T_DATA, 0, 1, zeros(4));
    raw_headers(r, F_END_HEADERS | F_END_STREAM, 1, "x: y\n");
}
CASE(pseudo_field_in_trailers)
{
    GET_OPEN;
    raw_headers(r, F_END_HEADERS | F_END_STREAM, 1, ":method: GET\n");
}
/* 8.2 */
CASE(upper_case_name)
{
    BAD(RAW_GET "X-Test: y\n");
}
CASE(name_with_a_space)
{
    BAD(RAW_GET "x y: y\n");
}
CASE(name_with_a_colon_at_its_end)
{
    BAD(RAW_GET "x:: y\n");
}
CASE(value_with_a_line_feed)
{
    scratch.n = 0;
    raw_fields(&scratch, RAW_GET);
    raw_add(&scratch, "\x10\x01x\x05\x61\r\nb:", 9);
    raw_frame(r, T_HEADERS, F_END_HEADERS | F_END_STREAM, 1, str_of(scratch.bytes, scratch.n));
}
CASE(value_with_a_nul)
{
    scratch.n = 0;
    raw_fields(&scratch, RAW_GET);
    raw_add(&scratch, "\x10\x01x\x03\x61\0b", 7);
    raw_frame(r, T_HEADERS, F_END_HEADERS | F_END_STREAM, 1, str_of(scratch.bytes, scratch.n));
}
CASE(value_that_begins_with_a_space)
{
    BAD(RAW_GET "x:  y\n");
}
CASE(empty_name)
{
    scratch.n = 0;
    raw_fields(&scratch, RAW_GET);
    raw_add(&scratch, "\x10\0\x01y", 4);
    raw_frame(r, T_HEADERS, F_END_HEADERS | F_END_STREAM, 1, str_of(scratch.bytes, scratch.n));
}
/* 8.2.2 */
CASE(field_connection)
{
    BAD(RAW_GET "connection: keep-alive\n");
}
CASE(field_transfer_encoding)
{
    BAD(RAW_GET "transfer-encoding: chunked\n");
}
CASE(field_upgrade)
{
    BAD(RAW_GET "upgrade: h2c\n");
}
CASE(field_keep_alive)
{
    BAD(RAW_GET "keep-alive: 3\n");
}
CASE(field_proxy_connection)
{
    BAD(RAW_GET "proxy-connection: x\n");
}
CASE(field_te_not_trailers)
{
    BAD(RAW_GET "te: trailers, deflate\n");
}
CASE(field_te_trailers)
{
    BAD(RAW_GET "te: trailers\n");
}
/* 8.3 */
CASE(pseudo_field_unknown)
{
    BAD(RAW_GET ":test: x\n");
}
CASE(pseudo_field_of_replies)
{
    BAD(RAW_GET ":status: 200\n");
}
CASE(pseudo_field_behind_a_field)
{
    BAD(":method: GET\n:scheme: http\n:authority: a\nx: y\n:path: /\n");
}
CASE(path_empty)
{
    BAD(":method: GET\n:scheme: http\n:path: \n:authority: a\n");
}
CASE(path_with_a_space)
{
    BAD(":method: GET\n:scheme: http\n:path: / HTTP/1.1\n:authority: a\n");
}
CASE(path_absolute)
{
    BAD(":method: GET\n:scheme: http\n:path: http://a/\n:authority: a\n");
}
CASE(method_missing)
{
    BAD(":scheme: http\n:path: /\n:authority: a\n");
}
CASE(scheme_missing)
{
    BAD(":method: GET\n:path: /\n:authority: a\n");
}
CASE(path_missing)
{
    BAD(":method: GET\n:scheme: http\n:authority: a\n");
}
CASE(authority_missing)
{
    BAD(":method: GET\n:scheme: http\n:path: /\n");
}
CASE(authority_against_host)
{
    BAD(RAW_GET "host: b\n");
}
CASE(method_twice)
{
    BAD(RAW_GET ":method: GET\n");
}
CASE(scheme_twice)
{
    BAD(RAW_GET ":scheme: http\n");
}
CASE(path_twice)
{
    BAD(RAW_GET ":path: /\n");
}
CASE(scheme_unknown)
{
    BAD(":method: GET\n:scheme: ftp\n:path: /\n:authority: a\n");
}
CASE(method_with_a_space)
{
    BAD(":method: GET /x\n:scheme: http\n:path: /\n:authority: a\n");
}
/* 8.1.1 */
CASE(length_above_the_data)
{
    raw_headers(r, F_END_HEADERS, 1, RAW_POST "content-length: 5\n");
    raw_frame(r, T_DATA, F_END_STREAM, 1, zeros(4));
}
CASE(length_below_the_data)
{
    raw_headers(r, F_END_HEADERS, 1, RAW_POST "content-length: 1\n");
    raw_frame(r, T_DATA, F_END_STREAM, 1, zeros(4));
}
CASE(length_below_the_data_in_two_frames)
{
    raw_headers(r, F_END_HEADERS, 1, RAW_POST "content-length: 4\n");
    raw_frame(r, T_DATA, 0, 1, zeros(4));
    raw_frame(r, T_DATA, F_END_STREAM, 1, zeros(1));
}
CASE(length_without_data)
{
    BAD(RAW_POST "content-length: 1\n");
}
CASE(length_twice)
{
    BAD(RAW_POST "content-length: 0\ncontent-length: 0\n");
}
CASE(length_with_a_sign)
{
    BAD(RAW_POST "content-length: +0\n");
}

static const struct conformance_case cases[] = {
    C(second_headers_without_end_stream, STREAM, PROTOCOL),
    C(request_with_trailers, FINE, 0),
    C(pseudo_field_in_trailers, STREAM, PROTOCOL),
    C(upper_case_name, STREAM, PROTOCOL),
    C(name_with_a_space, STREAM, PROTOCOL),
    C(name_with_a_colon_at_its_end, STREAM, PROTOCOL),
    C(value_with_a_line_feed, STREAM, PROTOCOL),
    C(value_with_a_nul, STREAM, PROTOCOL),
    C(value_that_begins_with_a_space, STREAM, PROTOCOL),
    C(empty_name, STREAM, PROTOCOL),
    C(field_connection, STREAM, PROTOCOL),
    C(field_transfer_encoding, STREAM, PROTOCOL),
    C(field_upgrade, STREAM, PROTOCOL),
    C(field_keep_alive, STREAM, PROTOCOL),
    C(field_proxy_connection, STREAM, PROTOCOL),
    C(field_te_not_trailers, STREAM, PROTOCOL),
    C(field_te_trailers, FINE, 0),
    C(pseudo_field_unknown, STREAM, PROTOCOL),
    C(pseudo_field_of_replies, STREAM, PROTOCOL),
    C(pseudo_field_behind_a_field, STREAM, PROTOCOL),
    C(path_empty, STREAM, PROTOCOL),
    C(path_with_a_space, STREAM, PROTOCOL),
    C(path_absolute, STREAM, PROTOCOL),
    C(method_missing, STREAM, PROTOCOL),
    C(scheme_missing, STREAM, PROTOCOL),
    C(path_missing, STREAM, PROTOCOL),
    C(authority_missing, STREAM, PROTOCOL),
    C(authority_against_host, STREAM, PROTOCOL),
    C(method_twice, STREAM, PROTOCOL),
    C(scheme_twice, STREAM, PROTOCOL),
    C(path_twice, STREAM, PROTOCOL),
    C(scheme_unknown, STREAM, PROTOCOL),
    C(method_with_a_space, STREAM, PROTOCOL),
    C(length_above_the_data, STREAM, PROTOCOL),
    C(length_below_the_data, STREAM, PROTOCOL),
    C(length_below_the_data_in_two_frames, STREAM, PROTOCOL),
    C(length_without_data, STREAM, PROTOCOL),
    C(length_twice, STREAM, PROTOCOL),
    C(length_with_a_sign, STREAM, PROTOCOL),
};

static void cases_of_the_sections(void **state)
{
    (void)state;
    run_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases_of_the_sections),
    };
    return unit_run(tests);
}
