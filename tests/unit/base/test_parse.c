#include "lib/base/parse.h"
#include "tests/unit/unit.h"
#include <errno.h>

static void u64_takes_plain_decimals(void **state)
{
    (void)state;
    uint64_t v = 7;
    assert_int_equal(parse_u64(STR("0"), &v), 0);
    assert_true(v == 0);
    assert_int_equal(parse_u64(STR("9223372036854775807"), &v), 0);
    assert_true(v == INT64_MAX);
    v = 7;
    assert_int_equal(parse_u64(STR("9223372036854775808"), &v), -ERANGE);
    assert_int_equal(parse_u64(STR("99999999999999999999999999"), &v), -ERANGE);
    static const char *const bad[] = {"", "00", "01", "+1", "-1", " 1", "1 ", "1x", "0x1", "1_0",
        "1.0", "a", "99999999999999999999999999x", "\xd9\xa1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(parse_u64(str_c(bad[i]), &v), -EINVAL);
    assert_int_equal(parse_u64(STR("1\0"), &v), -EINVAL);
    assert_true(v == 7); /* untouched by all failures */
}

static void u32_keeps_its_bounds(void **state)
{
    (void)state;
    uint32_t v = 7;
    assert_int_equal(parse_u32(STR("9"), 10, 20, &v), -ERANGE);
    assert_int_equal(parse_u32(STR("21"), 10, 20, &v), -ERANGE);
    assert_int_equal(v, 7);
    assert_int_equal(parse_u32(STR("10"), 10, 20, &v), 0);
    assert_int_equal(v, 10);
    assert_int_equal(parse_u32(STR("20"), 10, 20, &v), 0);
    assert_int_equal(v, 20);
    assert_int_equal(parse_u32(STR("4294967295"), 0, UINT32_MAX, &v), 0);
    assert_int_equal(v, UINT32_MAX);
    assert_int_equal(parse_u32(STR("4294967296"), 0, UINT32_MAX, &v), -ERANGE);
    assert_int_equal(parse_u32(STR("x"), 0, 1, &v), -EINVAL);
}

static void i64_takes_both_ends(void **state)
{
    (void)state;
    int64_t v = 7;
    assert_int_equal(parse_i64(STR("9223372036854775808"), &v), -ERANGE);
    assert_int_equal(parse_i64(STR("-9223372036854775809"), &v), -ERANGE);
    assert_int_equal(parse_i64(STR("-"), &v), -EINVAL);
    assert_int_equal(parse_i64(STR("--1"), &v), -EINVAL);
    assert_int_equal(parse_i64(STR("-0"), &v), -EINVAL);
    assert_int_equal(parse_i64(STR("-01"), &v), -EINVAL);
    assert_int_equal(parse_i64(STR("+1"), &v), -EINVAL);
    assert_int_equal(parse_i64(STR(""), &v), -EINVAL);
    assert_true(v == 7);
    assert_int_equal(parse_i64(STR("-9223372036854775808"), &v), 0);
    assert_true(v == INT64_MIN);
    assert_int_equal(parse_i64(STR("9223372036854775807"), &v), 0);
    assert_true(v == INT64_MAX);
    assert_int_equal(parse_i64(STR("-1"), &v), 0);
    assert_true(v == -1);
    assert_int_equal(parse_i64(STR("0"), &v), 0);
    assert_true(v == 0);
}

static void base36_round_trips(void **state)
{
    (void)state;
    static const uint64_t values[] = {
        0, 1, 9, 10, 35, 36, 1295, 1296, 1700000000, INT64_MAX - 1, INT64_MAX};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char out[13];
        uint64_t v = ~values[i];
        size_t n = format_base36(values[i], out);
        assert_int_equal(parse_base36(str_of(out, n), &v), 0);
        assert_true(v == values[i]);
    }
    char out[13];
    assert_str(str_of(out, format_base36(UINT64_MAX, out)), "3w5e11264sgsf");
    assert_str(str_of(out, format_base36(0, out)), "0");
    assert_str(str_of(out, format_base36(35, out)), "z");
}

static void base36_is_lower_case_and_63_bits(void **state)
{
    (void)state;
    uint64_t v = 7;
    assert_int_equal(parse_base36(STR("1y2p0ij32e8e7"), &v), 0);
    assert_true(v == INT64_MAX);
    v = 7;
    assert_int_equal(parse_base36(STR("1y2p0ij32e8e8"), &v), -ERANGE);
    assert_int_equal(parse_base36(STR("zzzzzzzzzzzzz"), &v), -ERANGE);
    assert_int_equal(parse_base36(STR("1A"), &v), -EINVAL);
    assert_int_equal(parse_base36(STR("01"), &v), -EINVAL);
    assert_int_equal(parse_base36(STR(""), &v), -EINVAL);
    assert_int_equal(parse_base36(STR("-1"), &v), -EINVAL);
    assert_int_equal(parse_base36(STR("a{"), &v), -EINVAL);
    assert_true(v == 7);
}

static void durations_have_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"0", 0}, {"0s", 0}, {"250ms", 250}, {"15s", 15000}, {"5m", 300000},
        {"4h", 14400000}, {"7d", 604800000}, {"3650d", UINT64_C(315360000000)},
        {"315360000000ms", UINT64_C(315360000000)}, {"87600h", UINT64_C(315360000000)}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t v = 7;
        assert_int_equal(parse_duration_ms(str_c(good[i].text), &v), 0);
        assert_true(v == good[i].ms);
    }
    uint64_t v = 7;
    static const char *const far[] = {"3651d", "315360000001ms", "87601h", "99999999999999999d"};
    for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++)
        assert_int_equal(parse_duration_ms(str_c(far[i]), &v), -ERANGE);
    static const char *const bad[] = {
        "", "s", "5", "00", "05s", "5 s", "5S", "5min", "1.5s", "-1s", "1h30m", "5sx", "5w"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(parse_duration_ms(str_c(bad[i]), &v), -EINVAL);
    assert_true(v == 7);
}

static void durations_are_written_shortest(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0", "1ms", "999ms", "1s", "1500ms", "90s", "5m", "4h", "25h", "7d", "3650d"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint64_t v;
        char out[24];
        assert_int_equal(parse_duration_ms(str_c(texts[i]), &v), 0);
        assert_str(str_of(out, format_duration_ms(v, out)), texts[i]);
        assert_int_equal(out[strlen(texts[i])], 0);
    }
    char out[24];
    assert_str(str_of(out, format_duration_ms(UINT64_MAX, out)), "18446744073709551615ms");
}

static void sizes_have_powers_of_1024(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0}, {"4096", 4096}, {"64k", 65536}, {"64KiB", 65536}, {"1M", 1 << 20},
        {"16MiB", 16 << 20}, {"1G", 1 << 30}, {"1GiB", 1 << 30}, {"9223372036854775807", INT64_MAX},
        {"8589934591G", UINT64_C(8589934591) << 30}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t v = 7;
        assert_int_equal(parse_size(str_c(good[i].text), &v), 0);
        assert_true(v == good[i].bytes);
    }
    uint64_t v = 7;
    assert_int_equal(parse_size(STR("8589934592G"), &v), -ERANGE);
    assert_int_equal(parse_size(STR("9223372036854775808"), &v), -ERANGE);
    static const char *const bad[] = {
        "", "k", "K", "1K", "1kb", "1KB", "1B", "1 k", "1m", "01k", "1.5k", "-1", "1kk"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(parse_size(str_c(bad[i]), &v), -EINVAL);
    assert_true(v == 7);
}

static void times_know_the_calendar(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t unix_s;
    } good[] = {{"1970-01-01T00:00:00Z", 0}, {"2026-12-01T00:00:00Z", 1796083200},
        {"2026-12-01T01:00:00+01:00", 1796083200}, {"2026-11-30T18:30:00-05:30", 1796083200},
        {"2026-12-01t00:00:00.999999999z", 1796083200}, {"2000-02-29T23:59:59Z", 951868799},
        {"1969-12-31T23:59:59Z", -1}, {"0000-01-01T00:00:00Z", -62167219200},
        {"9999-12-31T23:59:59Z", 253402300799}, {"2024-02-29T12:00:00-00:00", 1709208000},
        {"2038-01-19T03:14:08Z", INT64_C(1) << 31}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t v = 7;
        assert_int_equal(parse_rfc3339(str_c(good[i].text), &v), 0);
        assert_true(v == good[i].unix_s);
    }
}

static void times_that_do_not_exist_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "2026-12-01", "2026-12-01T00:00:00",
        "2026-12-01 00:00:00Z", "2026-12-01T00:00:00X", "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z", "2026-02-30T00:00:00Z", "2026-04-31T00:00:00Z",
        "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z",
        "2026-01-32T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
        "2016-12-31T23:59:60Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+01:60", "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+01", "2026-01-01T00:00:00ZZ", "2026-01-01T00:00:00Z ",
        "26-01-01T00:00:00Z", "2026-1-01T00:00:00Z", "+2026-01-01T00:00:00Z", "2026-01-01T00:00Z",
        "2026-01-01T00:00:0"};
    int64_t v = 7;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse_rfc3339(str_c(bad[i]), &v) != -EINVAL)
            fail_msg("took '%s'", bad[i]);
    }
    assert_true(v == 7);
}

static void times_round_trip(void **state)
{
    (void)state;
    char out[21];
    int64_t v;
    /* A step that meets all months, leap days and times of day over ten thousand years. */
    for (int64_t t = -62167219200; t <= 253402300799; t += 7919 * 1013) {
        format_rfc3339(t, out);
        assert_int_equal(strlen(out), 20);
        assert_int_equal(parse_rfc3339(str_c(out), &v), 0);
        assert_true(v == t);
    }
    format_rfc3339(253402300799, out);
    assert_string_equal(out, "9999-12-31T23:59:59Z");
    format_rfc3339(-62167219200, out);
    assert_string_equal(out, "0000-01-01T00:00:00Z");
    format_rfc3339(INT64_MAX, out);
    assert_string_equal(out, "9999-12-31T23:59:59Z");
    format_rfc3339(INT64_MIN, out);
    assert_string_equal(out, "0000-01-01T00:00:00Z");
    format_rfc3339(-1, out);
    assert_string_equal(out, "1969-12-31T23:59:59Z");
    format_rfc3339(1709251199, out);
    assert_string_equal(out, "2024-02-29T23:59:59Z");
}

static void names_are_dns_labels_in_lower_case(void **state)
{
    (void)state;
    char big[64];
    memset(big, 'a', sizeof(big));
    assert_true(name_valid(str_of(big, 63)));
    assert_false(name_valid(str_of(big, 64)));
    assert_true(name_valid(STR("a")));
    assert_true(name_valid(STR("0")));
    assert_true(name_valid(STR("feat-42")));
    assert_true(name_valid(STR("a--b")));
    static const char *const bad[] = {
        "", "-", "-a", "a-", "A", "a_b", "a.b", "a b", "a/b", "\xc3\xa4", "a{", "a`", "a:"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(name_valid(str_c(bad[i])));
    assert_false(name_valid(STR("a\0b")));
}

/* What utf8_check says about s, with it at each place among ASCII, so that both the fast and the
 * slow way see it. */
static void check_utf8(struct str s, bool good)
{
    char text[40];
    for (size_t before = 0; before < 18; before++) {
        memset(text, 'a', sizeof(text));
        memcpy(text + before, s.p, s.n);
        size_t n = before + s.n + 12;
        size_t bad_at = before + (s.n > 3 && s.p[0] == 'b' ? 1 : 0);
        assert_int_equal(utf8_check(str_of(text, n)), good ? n : bad_at);
        assert_int_equal(utf8_check(str_of(text, before + s.n)), good ? before + s.n : bad_at);
    }
}

static void utf8_takes_the_well_formed(void **state)
{
    (void)state;
    check_utf8(STR("\x7f"), true);
    check_utf8(STR("\xc2\x80"), true);
    check_utf8(STR("\xdf\xbf"), true);
    check_utf8(STR("\xe0\xa0\x80"), true);
    check_utf8(STR("\xed\x9f\xbf"), true);
    check_utf8(STR("\xee\x80\x80"), true);
    check_utf8(STR("\xef\xbf\xbf"), true);
    check_utf8(STR("\xf0\x90\x80\x80"), true);
    check_utf8(STR("\xf4\x8f\xbf\xbf"), true);
    check_utf8(STR("\0"), true);
    assert_int_equal(utf8_check(str_of(NULL, 0)), 0);
}

static void utf8_says_where_it_breaks(void **state)
{
    (void)state;
    check_utf8(STR("\x80"), false);
    check_utf8(STR("\xbf"), false);
    check_utf8(STR("\xc0\xaf"), false); /* overlong */
    check_utf8(STR("\xc1\xbf"), false);
    check_utf8(STR("\xe0\x9f\xbf"), false);
    check_utf8(STR("\xed\xa0\x80"), false); /* surrogate */
    check_utf8(STR("\xed\xbf\xbf"), false);
    check_utf8(STR("\xf0\x8f\xbf\xbf"), false);
    check_utf8(STR("\xf4\x90\x80\x80"), false); /* U+110000 */
    check_utf8(STR("\xf5\x80\x80\x80"), false);
    check_utf8(STR("\xff"), false);
    check_utf8(STR("\xc3"), false); /* cut, or followed by ASCII */
    check_utf8(STR("\xe2\x82"), false);
    check_utf8(STR("\xf0\x9f\x8c"), false);
    check_utf8(STR("\xe2\x82\xc3"), false);
    check_utf8(STR("b\xf0\x9f\x8c"), false);
}

static void hex_digits_are_sixteen(void **state)
{
    char out[16];
    (void)state;
    format_hex64(0, out);
    assert_str(str_of(out, 16), "0000000000000000");
    format_hex64(0x0123456789abcdefu, out);
    assert_str(str_of(out, 16), "0123456789abcdef");
    format_hex64(UINT64_MAX, out);
    assert_str(str_of(out, 16), "ffffffffffffffff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(u64_takes_plain_decimals),
        cmocka_unit_test(hex_digits_are_sixteen),
        cmocka_unit_test(u32_keeps_its_bounds),
        cmocka_unit_test(i64_takes_both_ends),
        cmocka_unit_test(base36_round_trips),
        cmocka_unit_test(base36_is_lower_case_and_63_bits),
        cmocka_unit_test(durations_have_units),
        cmocka_unit_test(durations_are_written_shortest),
        cmocka_unit_test(sizes_have_powers_of_1024),
        cmocka_unit_test(times_know_the_calendar),
        cmocka_unit_test(times_that_do_not_exist_are_refused),
        cmocka_unit_test(times_round_trip),
        cmocka_unit_test(names_are_dns_labels_in_lower_case),
        cmocka_unit_test(utf8_takes_the_well_formed),
        cmocka_unit_test(utf8_says_where_it_breaks),
    };
    return unit_run(tests);
}
