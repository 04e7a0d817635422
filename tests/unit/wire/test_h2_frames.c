/* A server under frames that break RFC 9113 sections 3 to 7, case by case, as h2spec has them. */
#include "tests/unit/wire/h2_cases.h"

/* HEADERS of a GET in two halves. */
static void halves(struct raw *r, uint32_t id, uint32_t second_id, unsigned between)
{
    scratch.n = 0;
    raw_fields(&scratch, RAW_GET);
    raw_frame(r, T_HEADERS, F_END_STREAM, id, str_of(scratch.bytes, 10));
    if (between)
        raw_frame(r, between, 0, id, zeros(between == T_PRIORITY ? 5 : 8));
    raw_frame(
        r, T_CONTINUATION, F_END_HEADERS, second_id, str_of(scratch.bytes + 10, scratch.n - 10));
}

/* 4.1 */
CASE(unknown_frame_type)
{
    raw_frame(r, 0x16, 0, 0, zeros(8));
    raw_frame(r, 0xff, 0xff, 77, zeros(8));
}
CASE(undefined_flags)
{
    raw_frame(r, T_PING, 0x16, 0, zeros(8));
}
CASE(reserved_bit)
{
    raw_frame(r, T_PING, 0, 0x80000000u, zeros(8));
}
/* 4.2 */
CASE(data_of_16384_bytes)
{
    GET_OPEN;
    raw_frame(r, T_DATA, F_END_STREAM, 1, zeros(16384));
}
CASE(data_over_the_frame_size)
{
    GET_OPEN;
    raw_frame(r, T_DATA, F_END_STREAM, 1, zeros(16385));
}
CASE(headers_over_the_frame_size)
{
    raw_frame(r, T_HEADERS, F_END_HEADERS, 1, zeros(16385));
}
CASE(settings_over_the_frame_size)
{
    raw_frame(r, T_SETTINGS, 0, 0, zeros(16386));
}
/* 4.3 */
CASE(block_that_does_not_decode)
{
    raw_frame(
        r, T_HEADERS, F_END_HEADERS | F_END_STREAM, 1, STR("\x40\x7f\xff\xff\xff\xff\xff\xff"));
}
CASE(index_beyond_the_table)
{
    raw_frame(r, T_HEADERS, F_END_HEADERS | F_END_STREAM, 1, STR("\xff\xff\x03"));
}
CASE(table_size_over_the_limit)
{
    raw_frame(r, T_HEADERS, F_END_HEADERS | F_END_STREAM, 1, STR("\x3f\xe2\x1f\x82"));
}
CASE(block_cut_short)
{
    raw_frame(r, T_HEADERS, F_END_HEADERS | F_END_STREAM, 1, STR("\x00\x05:pa"));
}
CASE(priority_inside_a_block)
{
    halves(r, 1, 1, T_PRIORITY);
}
CASE(ping_inside_a_block)
{
    halves(r, 1, 1, T_PING);
}
CASE(headers_of_another_stream_inside_a_block)
{
    raw_headers(r, F_END_STREAM, 1, RAW_GET);
    raw_get(r, 3);
}
/* 5.1 */
CASE(idle_data)
{
    raw_frame(r, T_DATA, F_END_STREAM, 1, zeros(4));
}
CASE(idle_rst_stream)
{
    raw_frame(r, T_RST, 0, 1, zeros(4));
}
CASE(idle_window_update)
{
    raw_window(r, 1, 100);
}
CASE(idle_continuation)
{
    raw_frame(r, T_CONTINUATION, F_END_HEADERS, 1, zeros(0));
}
CASE(idle_priority)
{
    raw_frame(r, T_PRIORITY, 0, 51, zeros(5));
}
CASE(half_closed_data)
{
    raw_get(r, 1);
    raw_frame(r, T_DATA, F_END_STREAM, 1, zeros(4));
}
CASE(half_closed_headers)
{
    raw_get(r, 1);
    raw_get(r, 1);
}
CASE(half_closed_continuation)
{
    raw_get(r, 1);
    raw_frame(r, T_CONTINUATION, F_END_HEADERS, 1, zeros(0));
}
CASE(data_after_rst_stream)
{
    GET_OPEN;
    raw_frame(r, T_RST, 0, 1, STR("\0\0\0\x8"));
    raw_frame(r, T_DATA, F_END_STREAM, 1, zeros(4));
}
CASE(headers_after_rst_stream)
{
    GET_OPEN;
    raw_frame(r, T_RST, 0, 1, STR("\0\0\0\x8"));
    raw_get(r, 1);
}
CASE(continuation_after_rst_stream)
{
    GET_OPEN;
    raw_frame(r, T_RST, 0, 1, STR("\0\0\0\x8"));
    raw_frame(r, T_CONTINUATION, F_END_HEADERS, 1, zeros(0));
}
CASE(window_update_and_priority_after_the_end)
{
    raw_get(r, 1);
    raw_window(r, 1, 1);
    raw_frame(r, T_PRIORITY, 0, 1, STR("\0\0\0\x3\x1"));
}
/* 5.1.1 */
CASE(even_stream)
{
    raw_get(r, 2);
}
CASE(smaller_stream)
{
    raw_get(r, 5);
    raw_get(r, 3);
}
CASE(headers_on_stream_0)
{
    raw_get(r, 0);
}
/* 5.3.1 */
CASE(headers_that_depend_on_themselves)
{
    scratch.n = 0;
    raw_add(&scratch, "\0\0\0\1\x10", 5);
    raw_fields(&scratch, RAW_GET);
    raw_frame(r, T_HEADERS, F_END_HEADERS | F_END_STREAM | F_PRIORITY, 1,
        str_of(scratch.bytes, scratch.n));
}
CASE(priority_that_depends_on_itself)
{
    raw_frame(r, T_PRIORITY, 0, 3, STR("\0\0\0\3\x10"));
}
/* 5.5 */
CASE(unknown_frame_inside_a_block)
{
    halves(r, 1, 1, 0x16);
}
/* 6.1 */
CASE(data_on_stream_0)
{
    raw_frame(r, T_DATA, F_END_STREAM, 0, zeros(4));
}
CASE(data_padded_beyond_its_end)
{
    GET_OPEN;
    raw_frame(r, T_DATA, F_PADDED | F_END_STREAM, 1, STR("\x6test"));
}
CASE(data_padded_without_a_length)
{
    GET_OPEN;
    raw_frame(r, T_DATA, F_PADDED | F_END_STREAM, 1, zeros(0));
}
CASE(data_padded)
{
    GET_OPEN;
    raw_frame(r, T_DATA, F_PADDED | F_END_STREAM, 1, STR("\x2test\0\0"));
}
/* 6.2 */
CASE(headers_padded_beyond_their_end)
{
    raw_frame(r, T_HEADERS, F_PADDED | F_END_HEADERS, 1, STR("\x40\x82\x86\x84"));
}
CASE(headers_padded)
{
    scratch.n = 0;
    raw_u(&scratch, 3, 1);
    raw_fields(&scratch, RAW_GET);
    raw_add(&scratch, "\0\0\0", 3);
    raw_frame(
        r, T_HEADERS, F_PADDED | F_END_HEADERS | F_END_STREAM, 1, str_of(scratch.bytes, scratch.n));
}
CASE(headers_too_short_for_their_priority)
{
    raw_frame(r, T_HEADERS, F_PRIORITY | F_END_HEADERS, 1, zeros(4));
}
/* 6.3 */
CASE(priority_on_stream_0)
{
    raw_frame(r, T_PRIORITY, 0, 0, STR("\0\0\0\3\x10"));
}
CASE(priority_of_4_bytes)
{
    raw_frame(r, T_PRIORITY, 0, 3, zeros(4));
}
/* 6.4 */
CASE(rst_stream_on_stream_0)
{
    raw_frame(r, T_RST, 0, 0, zeros(4));
}
CASE(rst_stream_of_3_bytes)
{
    GET_OPEN;
    raw_frame(r, T_RST, 0, 1, zeros(3));
}
CASE(rst_stream_with_an_unknown_code)
{
    GET_OPEN;
    raw_frame(r, T_RST, 0, 1, zeros(4));
    raw_headers(r, F_END_HEADERS, 3, RAW_POST);
    raw_frame(r, T_RST, 0, 3, STR("\x7f\0\0\xff"));
}
/* 6.5 */
CASE(settings_ack_with_payload)
{
    raw_frame(r, T_SETTINGS, F_ACK, 0, zeros(6));
}
CASE(settings_on_a_stream)
{
    raw_frame(r, T_SETTINGS, 0, 1, zeros(6));
}
CASE(settings_of_3_bytes)
{
    raw_frame(r, T_SETTINGS, 0, 0, zeros(3));
}
CASE(settings_ack_that_nobody_waits_for)
{
    raw_frame(r, T_SETTINGS, F_ACK, 0, zeros(0));
    raw_frame(r, T_SETTINGS, F_ACK, 0, zeros(0));
}
/* 6.5.2 */
CASE(enable_push_of_2)
{
    raw_setting(r, 2, 2);
}
CASE(initial_window_too_large)
{
    raw_setting(r, 4, 0x80000000u);
}
CASE(max_frame_size_too_small)
{
    raw_setting(r, 5, 16383);
}
CASE(max_frame_size_too_large)
{
    raw_setting(r, 5, 1 << 24);
}
CASE(unknown_setting)
{
    raw_setting(r, 0xff, 1);
}
CASE(settings_of_33_entries)
{
    raw_frame(r, T_SETTINGS, 0, 0, zeros(33 * 6));
}
/* 6.6 */
CASE(push_promise_from_a_client)
{
    raw_get(r, 1);
    raw_frame(r, T_PUSH, F_END_HEADERS, 1, STR("\0\0\0\2\x82"));
}
/* 6.7 */
CASE(ping)
{
    raw_frame(r, T_PING, 0, 0, STR("12345678"));
}
CASE(ping_with_ack)
{
    raw_frame(r, T_PING, F_ACK, 0, STR("12345678"));
}
CASE(ping_on_a_stream)
{
    raw_frame(r, T_PING, 0, 1, zeros(8));
}
CASE(ping_of_6_bytes)
{
    raw_frame(r, T_PING, 0, 0, zeros(6));
}
/* 6.8 */
CASE(goaway_on_a_stream)
{
    raw_frame(r, T_GOAWAY, 0, 1, zeros(8));
}
CASE(goaway_of_7_bytes)
{
    raw_frame(r, T_GOAWAY, 0, 0, zeros(7));
}
/* 6.9 */
CASE(window_update_of_0)
{
    raw_window(r, 0, 0);
}
CASE(window_update_of_0_on_a_stream)
{
    GET_OPEN;
    raw_window(r, 1, 0);
}
CASE(window_update_of_3_bytes)
{
    raw_frame(r, T_WINDOW, 0, 0, zeros(3));
}
CASE(window_overflow)
{
    raw_window(r, 0, 0x7fffffff);
    raw_window(r, 0, 0x7fffffff);
}
CASE(window_overflow_on_a_stream)
{
    GET_OPEN;
    raw_window(r, 1, 0x7fffffff);
    raw_window(r, 1, 0x7fffffff);
}
CASE(window_overflow_by_settings)
{
    GET_OPEN;
    raw_window(r, 1, 0x7fff0000);
    raw_setting(r, 4, 0x7fffffff);
}
/* 6.10 */
CASE(continuations)
{
    scratch.n = 0;
    raw_fields(&scratch, RAW_GET);
    raw_frame(r, T_HEADERS, F_END_STREAM, 1, str_of(scratch.bytes, 5));
    raw_frame(r, T_CONTINUATION, 0, 1, str_of(scratch.bytes + 5, 5));
    raw_frame(r, T_CONTINUATION, F_END_HEADERS, 1, str_of(scratch.bytes + 10, scratch.n - 10));
}
CASE(continuation_on_stream_0)
{
    halves(r, 1, 0, 0);
}
CASE(continuation_of_another_stream)
{
    halves(r, 1, 3, 0);
}
CASE(continuation_after_a_whole_block)
{
    halves(r, 1, 1, 0);
    raw_frame(r, T_CONTINUATION, F_END_HEADERS, 1, zeros(0));
}
CASE(continuation_after_data)
{
    GET_OPEN;
    raw_frame(r, T_DATA, 0, 1, zeros(4));
    raw_frame(r, T_CONTINUATION, F_END_HEADERS, 1, zeros(0));
}
CASE(continuation_instead_of_headers)
{
    raw_frame(r, T_CONTINUATION, 0, 1, zeros(0));
}
CASE(nine_continuations)
{
    raw_frame(r, T_HEADERS, F_END_STREAM, 1, zeros(0));
    for (int i = 0; i < 9; i++)
        raw_frame(r, T_CONTINUATION, 0, 1, zeros(0));
}
/* 7 */
CASE(goaway_with_an_unknown_code)
{
    raw_frame(r, T_GOAWAY, 0, 0, STR("\0\0\0\0\0\0\0\xff"));
}
/* 3.4 */
CASE(preface_wrong)
{
    r->n = 0;
    raw_add(r, "INVALID CONNECTION PREFACE\r\n\r\n", 30);
}
CASE(preface_without_settings)
{
    r->n = 24;
    raw_frame(r, T_PING, 0, 0, zeros(8));
}

static const struct conformance_case cases[] = {
    C(unknown_frame_type, FINE, 0),
    C(undefined_flags, FINE, 0),
    C(reserved_bit, FINE, 0),
    C(data_of_16384_bytes, FINE, 0),
    C(data_over_the_frame_size, CONNECTION, FRAME_SIZE),
    C(headers_over_the_frame_size, CONNECTION, FRAME_SIZE),
    C(settings_over_the_frame_size, CONNECTION, FRAME_SIZE),
    C(block_that_does_not_decode, CONNECTION, COMPRESSION),
    C(index_beyond_the_table, CONNECTION, COMPRESSION),
    C(table_size_over_the_limit, CONNECTION, COMPRESSION),
    C(block_cut_short, CONNECTION, COMPRESSION),
    C(priority_inside_a_block, CONNECTION, PROTOCOL),
    C(ping_inside_a_block, CONNECTION, PROTOCOL),
    C(headers_of_another_stream_inside_a_block, CONNECTION, PROTOCOL),
    C(idle_data, CONNECTION, PROTOCOL),
    C(idle_rst_stream, CONNECTION, PROTOCOL),
    C(idle_window_update, CONNECTION, PROTOCOL),
    C(idle_continuation, CONNECTION, PROTOCOL),
    C(idle_priority, FINE, 0),
    C(half_closed_data, CONNECTION, CLOSED),
    C(half_closed_headers, CONNECTION, CLOSED),
    C(half_closed_continuation, CONNECTION, PROTOCOL),
    C(data_after_rst_stream, CONNECTION, CLOSED),
    C(headers_after_rst_stream, CONNECTION, CLOSED),
    C(continuation_after_rst_stream, CONNECTION, PROTOCOL),
    C(window_update_and_priority_after_the_end, FINE, 0),
    C(even_stream, CONNECTION, PROTOCOL),
    C(smaller_stream, CONNECTION, PROTOCOL),
    C(headers_on_stream_0, CONNECTION, PROTOCOL),
    C(headers_that_depend_on_themselves, CONNECTION, PROTOCOL),
    C(priority_that_depends_on_itself, CONNECTION, PROTOCOL),
    C(unknown_frame_inside_a_block, CONNECTION, PROTOCOL),
    C(data_on_stream_0, CONNECTION, PROTOCOL),
    C(data_padded_beyond_its_end, CONNECTION, PROTOCOL),
    C(data_padded_without_a_length, CONNECTION, PROTOCOL),
    C(data_padded, FINE, 0),
    C(headers_padded_beyond_their_end, CONNECTION, PROTOCOL),
    C(headers_padded, FINE, 0),
    C(headers_too_short_for_their_priority, CONNECTION, FRAME_SIZE),
    C(priority_on_stream_0, CONNECTION, PROTOCOL),
    C(priority_of_4_bytes, CONNECTION, FRAME_SIZE),
    C(rst_stream_on_stream_0, CONNECTION, PROTOCOL),
    C(rst_stream_of_3_bytes, CONNECTION, FRAME_SIZE),
    C(rst_stream_with_an_unknown_code, FINE, 0),
    C(settings_ack_with_payload, CONNECTION, FRAME_SIZE),
    C(settings_on_a_stream, CONNECTION, PROTOCOL),
    C(settings_of_3_bytes, CONNECTION, FRAME_SIZE),
    C(settings_ack_that_nobody_waits_for, CONNECTION, PROTOCOL),
    C(enable_push_of_2, CONNECTION, PROTOCOL),
    C(initial_window_too_large, CONNECTION, FLOW_CONTROL),
    C(max_frame_size_too_small, CONNECTION, PROTOCOL),
    C(max_frame_size_too_large, CONNECTION, PROTOCOL),
    C(unknown_setting, FINE, 0),
    C(settings_of_33_entries, CONNECTION, CALM),
    C(push_promise_from_a_client, CONNECTION, PROTOCOL),
    C(ping, FINE, 0),
    C(ping_with_ack, FINE, 0),
    C(ping_on_a_stream, CONNECTION, PROTOCOL),
    C(ping_of_6_bytes, CONNECTION, FRAME_SIZE),
    C(goaway_on_a_stream, CONNECTION, PROTOCOL),
    C(goaway_of_7_bytes, CONNECTION, FRAME_SIZE),
    C(window_update_of_0, CONNECTION, PROTOCOL),
    C(window_update_of_0_on_a_stream, CONNECTION, PROTOCOL),
    C(window_update_of_3_bytes, CONNECTION, FRAME_SIZE),
    C(window_overflow, CONNECTION, FLOW_CONTROL),
    C(window_overflow_on_a_stream, STREAM, FLOW_CONTROL),
    C(window_overflow_by_settings, STREAM, FLOW_CONTROL),
    C(continuations, FINE, 0),
    C(continuation_on_stream_0, CONNECTION, PROTOCOL),
    C(continuation_of_another_stream, CONNECTION, PROTOCOL),
    C(continuation_after_a_whole_block, CONNECTION, PROTOCOL),
    C(continuation_after_data, CONNECTION, PROTOCOL),
    C(continuation_instead_of_headers, CONNECTION, PROTOCOL),
    C(nine_continuations, CONNECTION, CALM),
    C(goaway_with_an_unknown_code, LEFT, 0),
    C(preface_wrong, CONNECTION, PROTOCOL),
    C(preface_without_settings, CONNECTION, PROTOCOL),
};

static void cases_of_the_sections(void **state)
{
    (void)state;
    run_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

/* Section 5.1.2: after our SETTINGS were acknowledged, too. */
static void a_stream_above_the_number_is_refused(void **state)
{
    struct raw_peer *v = peer_new(true, &limits);
    (void)state;
    peer_feed(v);
    assert_int_equal(v->said.setting[3], 32 + 1);
    raw_frame(&v->in, T_SETTINGS, F_ACK, 0, STR(""));
    for (uint32_t i = 0; i < 33; i++)
        raw_headers(&v->in, F_END_HEADERS, 2 * i + 1, RAW_POST);
    assert_int_equal(peer_feed(v), 0);
    assert_false(v->said.goaway);
    assert_int_equal(v->said.frames[T_RST], 1);
    assert_int_equal(v->said.rst_id, 65);
    assert_int_equal(v->said.rst_code, REFUSED);
    assert_int_equal(v->s.odd[H2_ODD_REFUSED], 1);
    assert_int_equal(v->s.opened, 32);
    raw_frame(&v->in, T_DATA, F_END_STREAM, 1, zeros(1));
    peer_feed(v);
    raw_get(&v->in, 99);
    peer_feed(v);
    assert_int_equal(v->said.ended[1], 1);
    assert_int_equal(v->said.ended[99], 1);
    peer_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases_of_the_sections),
        cmocka_unit_test(a_stream_above_the_number_is_refused),
    };
    return unit_run(tests);
}
