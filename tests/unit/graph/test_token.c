#include "tests/unit/graph/request.h"

#define MAC "AAAAAAAAAAAAAAAAAAAAAA"

static bool parses(const char *text)
{
    struct token t;
    return token_parse(str_c(text), &t) == 0;
}

static void reads_an_unsigned_mesh_token(void **state)
{
    (void)state;
    struct token t;
    assert_int_equal(token_parse(STR("v1m.feat-42.z9.1f"), &t), 0);
    assert_int_equal(t.use, 'm');
    assert_str(t.env, "feat-42");
    assert_int_equal(t.pin, 35 * 36 + 9);
    assert_int_equal(t.flags, 0x1f);
    assert_false(t.is_signed);
}

static void reads_a_signed_token(void **state)
{
    (void)state;
    struct token t;
    assert_int_equal(token_parse(STR("v1e.main.0.10.10.k-1_Z." MAC), &t), 0);
    assert_int_equal(t.use, 'e');
    assert_true(t.is_signed);
    assert_int_equal(t.exp, 36);
    assert_str(t.kid, "k-1_Z");
    assert_str(t.mac, MAC);
}

static void refuses_every_malformed_token(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "v", "v1m", "v1m.", "v1m.a", "v1m.a.0", "v1m.a.0.",
        "v2m.a.0.00", "V1m.a.0.00", "v1x.a.0.00", "v1M.a.0.00", "v1m-a.0.00", "v1mx.a.0.00",
        "v1m..0.00", "v1m.A.0.00", "v1m.-a.0.00", "v1m.a-.0.00", "v1m.a_b.0.00", "v1m.a..00",
        "v1m.a.Z.00", "v1m.a.-1.00", "v1m.a.0.0", "v1m.a.0.000", "v1m.a.0.0A", "v1m.a.0.g0",
        "v1m.a.0.20", "v1m.a.0.ff", "v1m.a.0.00.", "v1m.a.0.00.1", "v1m.a.0.00.1.k",
        "v1m.a.0.00.1.k.", " v1m.a.0.00", "v1m.a.0.00 ", "v1m.a.0.00,v1m.a.0.00", "v1m%2Ea.0.00",
        "v1m.a.0.00;x", "v1m.a.zzzzzzzzzzzzzz.00"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parses(bad[i]))
            fail_msg("accepted '%s'", bad[i]);
    }
    assert_true(parses("v1m.a.0.00"));
}

static void an_edge_token_has_no_pin_and_only_the_explain_flag(void **state)
{
    (void)state;
    assert_true(parses("v1e.a.0.00"));
    assert_true(parses("v1e.a.0.10"));
    assert_false(parses("v1e.a.1.00"));
    assert_false(parses("v1e.a.0.01"));
    assert_false(parses("v1e.a.0.18"));
}

static void judges_every_part_of_a_signature(void **state)
{
    (void)state;
    assert_true(parses("v1m.a.0.00.1.k." MAC));
    assert_true(parses("v1m.a.0.00.1.12345678." MAC));
    assert_false(parses("v1m.a.0.00.1.123456789." MAC));
    assert_false(parses("v1m.a.0.00.1.." MAC));
    assert_false(parses("v1m.a.0.00.1.k+." MAC));
    assert_false(parses("v1m.a.0.00.X.k." MAC));
    assert_false(parses("v1m.a.0.00.1.k." MAC "A"));
    assert_false(parses("v1m.a.0.00.1.k." MAC ".x"));
    assert_false(parses("v1m.a.0.00.1.k.AAAAAAAAAAAAAAAAAAAAA"));
    assert_false(parses("v1m.a.0.00.1.k.AAAAAAAAAAA+AAAAAAAAAA"));
    /* one mac, one spelling: the last four bits are padding */
    assert_false(parses("v1m.a.0.00.1.k.AAAAAAAAAAAAAAAAAAAAAB"));
}

static void the_environment_may_have_63_bytes_and_no_more(void **state)
{
    (void)state;
    char text[128];
    snprintf(text, sizeof(text), "v1m.%063d.0.00", 0);
    assert_true(parses(text));
    snprintf(text, sizeof(text), "v1m.%064d.0.00", 0);
    assert_false(parses(text));
}

static void leaves_the_result_alone_when_it_refuses(void **state)
{
    (void)state;
    struct token t = {.use = 'q', .pin = 7};
    assert_int_equal(token_parse(STR("v1m.a.0.20"), &t), -22);
    assert_int_equal(t.use, 'q');
    assert_int_equal(t.pin, 7);
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    static const uint64_t pins[] = {0, 1, 35, 36, INT64_MAX};
    char env[64], out[TOKEN_MAX];
    snprintf(env, sizeof(env), "%063d", 0);
    for (size_t i = 0; i < sizeof(pins) / sizeof(pins[0]); i++) {
        for (unsigned flags = 0; flags < 0x20; flags++) {
            size_t n = token_write(str_c(env), pins[i], (uint8_t)flags, out);
            struct token t;
            assert_in_range(n, 1, TOKEN_MAX);
            assert_int_equal(token_parse(str_of(out, n), &t), 0);
            assert_int_equal(t.use, 'm');
            assert_int_equal(t.pin, pins[i]);
            assert_int_equal(t.flags, flags);
            assert_str(t.env, env);
        }
    }
    size_t n = token_write(STR("feat-42"), 1296, 0x0a, out);
    assert_str(str_of(out, n), "v1m.feat-42.100.0a");
}

/* ---- traceparent ---- */

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static bool valid(const char *text)
{
    struct str id;
    return traceparent_valid(str_c(text), &id);
}

static void reads_the_trace_id_of_a_valid_traceparent(void **state)
{
    (void)state;
    struct str id = {NULL, 0};
    assert_true(traceparent_valid(STR("00-" TRACE "-" PARENT "-01"), &id));
    assert_str(id, TRACE);
}

static void refuses_a_traceparent_that_is_not_well_formed(void **state)
{
    (void)state;
    assert_false(valid(""));
    assert_false(valid("00-" TRACE "-" PARENT "-0"));
    assert_false(valid("00-" TRACE "-" PARENT "-010"));
    assert_false(valid("00-" TRACE "-" PARENT "-01-x"));
    assert_false(valid("00_" TRACE "-" PARENT "-01"));
    assert_false(valid("00-" TRACE "_" PARENT "-01"));
    assert_false(valid("00-" TRACE "-" PARENT "_01"));
    assert_false(valid("0g-" TRACE "-" PARENT "-01"));
    assert_false(valid("00-" TRACE "-" PARENT "-0A"));
    assert_false(valid("00-4BF92f3577b34da6a3ce929d0e0e4736-" PARENT "-01"));
    assert_false(valid("00-" TRACE "-00F067aa0ba902b7-01"));
    assert_false(valid("00-00000000000000000000000000000000-" PARENT "-01"));
    assert_false(valid("00-" TRACE "-0000000000000000-01"));
}

static void a_higher_version_may_be_longer_but_ff_is_none(void **state)
{
    (void)state;
    assert_true(valid("01-" TRACE "-" PARENT "-01"));
    assert_true(valid("fe-" TRACE "-" PARENT "-01-more"));
    assert_false(valid("01-" TRACE "-" PARENT "-01more"));
    assert_false(valid("ff-" TRACE "-" PARENT "-01"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_an_unsigned_mesh_token),
        cmocka_unit_test(reads_a_signed_token),
        cmocka_unit_test(refuses_every_malformed_token),
        cmocka_unit_test(an_edge_token_has_no_pin_and_only_the_explain_flag),
        cmocka_unit_test(judges_every_part_of_a_signature),
        cmocka_unit_test(the_environment_may_have_63_bytes_and_no_more),
        cmocka_unit_test(leaves_the_result_alone_when_it_refuses),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(reads_the_trace_id_of_a_valid_traceparent),
        cmocka_unit_test(refuses_a_traceparent_that_is_not_well_formed),
        cmocka_unit_test(a_higher_version_may_be_longer_but_ff_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
