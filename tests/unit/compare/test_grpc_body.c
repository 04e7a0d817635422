#include "tests/unit/compare/deflated.h"
#include "tests/unit/compare/grpc_bodies.h"

/* ---- without descriptors ---- */

static void equal_bodies_have_no_difference(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    pb_uint(&a, 1, 5);
    pb_bytes(&a, 2, STR("text"));
    pb_bytes(&b, 2, STR("text")); /* the order of fields says nothing */
    pb_uint(&b, 1, 5);
    assert_differs(&a, &b, "");
    struct outcome o;
    compare_under(&plain_rules, STR(""), STR(""), &o);
    assert_int_equal(o.r, 0);
    assert_string_equal(o.text, "");
}

static void values_are_told_by_number(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    size_t at = pb_begin(&a, 2);
    pb_uint(&a, 1, 5);
    pb_bytes(&a, 3, STR("same"));
    pb_end(&a, at);
    at = pb_begin(&b, 2);
    pb_uint(&b, 1, 6);
    pb_bytes(&b, 3, STR("same"));
    pb_end(&b, at);
    assert_differs(&a, &b, "body.message[].2.1 value \"5\" \"6\"");
}

static void what_only_one_has_is_missing_or_extra(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    pb_uint(&a, 1, 5);
    pb_uint(&a, 4, 0); /* a zero that is written is there: nobody says that it means nothing */
    pb_uint(&b, 1, 5);
    pb_bytes(&b, 7, STR("\x08\x01"));
    assert_differs(&a, &b,
        "body.message[].4 missing shape \"0\" \"\"\n"
        "body.message[].7 extra shape \"\" \"{1 fields}\"");
}

static void another_wire_type_is_another_type(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    pb_uint(&a, 1, 5);
    pb_bytes(&b, 1, STR("five"));
    assert_differs(&a, &b, "body.message[].1 type shape \"5\" \"five\"");
}

static void text_that_parses_as_a_message_stays_text(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"error", "unity"}, {"hi", "ho"}, {"no", "on"},
        {"\"!123456789012345678901234567890123", "z"}};
    for (size_t i = 0; i < 3; i++) {
        struct pb_out a = {0}, b = {0};
        char want[128];
        pb_bytes(&a, 1, str_c(pairs[i][0]));
        pb_bytes(&b, 1, str_c(pairs[i][1]));
        snprintf(
            want, sizeof(want), "body.message[].1 value \"%s\" \"%s\"", pairs[i][0], pairs[i][1]);
        assert_differs(&a, &b, want);
    }
}

/* A message of one string begins with a line feed and a length: all bytes of it are printable. */
static void a_message_of_one_string_is_a_message(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    size_t at = pb_begin(&a, 1);
    pb_bytes(&a, 1, STR("2f0c2d1e-31a9-4a5c-8f51-0d9c6f1f0d3c"));
    pb_end(&a, at);
    at = pb_begin(&b, 1);
    pb_bytes(&b, 1, STR("7d1b9a80-11d4-4e35-9b7e-5a2f00c1d2e4"));
    pb_end(&b, at);
    assert_differs(&a, &b,
        "body.message[].1.1 value \"2f0c2d1e-31a9-4a5c-8f51-0d9c6f1f0d3c\" "
        "\"7d1b9a80-11d4-4e35-9b7e-5a2f00c1d2e4\"");
}

static void a_message_and_bytes_are_compared_as_bytes(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    pb_bytes(&a, 1, STR("\x08\x01"));
    pb_bytes(&b, 1, STR("\xff\xff\xff"));
    assert_differs(&a, &b, "body.message[].1 value \"\x08\x01\" \"\\xff\\xff\\xff\"");
    /* an empty value goes with both */
    pb_bytes(&a, 1, STR("\x08\x01"));
    pb_bytes(&b, 1, STR(""));
    assert_differs(&a, &b, "body.message[].1.1 missing shape \"1\" \"\"");
    pb_bytes(&a, 1, STR(""));
    pb_bytes(&b, 1, STR("word"));
    assert_differs(&a, &b, "body.message[].1 value shape \"\" \"word\"");
}

static void numbers_without_a_schema_are_guessed(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    pb_uint(&a, 1, (uint64_t)-7);
    pb_uint(&b, 1, (uint64_t)-8);
    fixed64(&a, 2, bits_of(19.99));
    fixed64(&b, 2, bits_of(20.5));
    fixed64(&a, 3, 1700000000000000000);
    fixed64(&b, 3, 1700000000000000001);
    pb_fixed32(&a, 4, bits_of_float(0.1f));
    pb_fixed32(&b, 4, 12);
    fixed64(&a, 5, bits_of(0.1 + 0.2)); /* within 1e-9 */
    fixed64(&b, 5, bits_of(0.3));
    assert_differs(&a, &b,
        "body.message[].1 value \"-7\" \"-8\"\n"
        "body.message[].2 value \"19.99\" \"20.5\"\n"
        "body.message[].3 value \"1700000000000000000\" \"1700000000000000001\"\n"
        "body.message[].4 value shape \"0.1\" \"12\"");
}

/* ---- lists ---- */

static void put_strings(struct pb_out *o, uint32_t field, const char *const *s)
{
    for (; *s; s++)
        pb_bytes(o, field, str_c(*s));
}

static void lists_differ_by_length_order_and_values(void **state)
{
    (void)state;
    static const struct {
        const char *a[6], *b[6], *want;
    } cases[] = {
        {{"x", "y", "z"}, {"x", "y", "z"}, ""},
        {{"x", "y", "z"}, {"x", "z", "y"}, "body.message[].3 order shape \"\" \"\""},
        {{"x", "x", "y"}, {"y", "x", "x"}, "body.message[].3 order shape \"\" \"\""},
        {{"x", "y", "z"}, {"x", "q", "z"}, "body.message[].3 value \"y\" \"q\""},
        {{"x", "y", "z"}, {"x", "z"}, "body.message[].3 length shape \"3\" \"2\""},
        {{"x", "y"}, {"w", "x", "y"}, "body.message[].3 length shape \"2\" \"3\""},
        {{"x"}, {"x", "x"}, "body.message[].3 length shape \"1\" \"2\""},
        {{"x", "y", "y"}, {"y", "x", "x"}, "body.message[].3 value \"y\" \"x\""},
        {{"x", "y", "z"}, {"z", "y", "q"}, "body.message[].3 value \"x\" \"q\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pb_out a = {0}, b = {0};
        put_strings(&a, 3, cases[i].a);
        put_strings(&b, 3, cases[i].b);
        assert_differs(&a, &b, cases[i].want);
    }
}

/* Groups of the same hash must not be walked value by value: a second would be far too long. */
static void many_equal_values_are_cheap(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    pb_uint(&a, 1, 1);
    pb_uint(&b, 1, 2);
    for (int i = 0; i < 9000; i++) {
        pb_uint(&a, 1, 7);
        pb_uint(&b, 1, 7);
    }
    pb_uint(&a, 1, 2);
    pb_uint(&b, 1, 1);
    assert_differs(&a, &b, "body.message[].1 order shape \"\" \"\"");
}

/* ---- frames ---- */

static void messages_are_compared_in_turn(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    struct outcome o;
    frame(&a, 0, STR("\x08\x01"));
    frame(&a, 0, STR("\x08\x02"));
    frame(&b, 0, STR("\x08\x01"));
    frame(&b, 0, STR("\x08\x03"));
    frame(&b, 0, STR("\x08\x04"));
    compare_under(&plain_rules, pb_str(&a), pb_str(&b), &o);
    assert_string_equal(o.text, "body.message[] length shape \"2\" \"3\"\n"
                                "body.message[].1 value \"2\" \"3\"");
    compare_under(&plain_rules, pb_str(&a), STR(""), &o);
    assert_string_equal(o.text, "body.message[] length shape \"2\" \"0\"");
    pb_release(&a);
    pb_release(&b);
}

static void packed_messages_are_unpacked(void **state)
{
    (void)state;
    static const int windows[] = {31, 15, -15};
    char packed[128];
    struct pb_out plain = {0}, other = {0};
    frame(&plain, 0, STR("\x08\x05\x12\x04text"));
    frame(&other, 0, STR("\x08\x06\x12\x04text"));
    for (size_t i = 0; i < 3; i++) {
        struct pb_out b = {0};
        struct outcome o;
        frame(&b, 1, deflated(windows[i], STR("\x08\x05\x12\x04text"), packed, sizeof(packed)));
        compare_under(&plain_rules, pb_str(&plain), pb_str(&b), &o);
        assert_string_equal(o.text, "");
        compare_under(&plain_rules, pb_str(&other), pb_str(&b), &o);
        assert_string_equal(o.text, "body.message[].1 value \"6\" \"5\"");
        pb_release(&b);
    }
    pb_release(&plain);
    pb_release(&other);
}

static void messages_of_an_unknown_coding_are_bytes(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    struct outcome o;
    frame(&a, 1, STR("\x08\xff\x01snappy"));
    frame(&b, 1, STR("\x08\xff\x01zstand"));
    compare_under(&plain_rules, pb_str(&a), pb_str(&a), &o);
    assert_string_equal(o.text, "");
    compare_under(&plain_rules, pb_str(&a), pb_str(&b), &o);
    assert_string_equal(
        o.text, "body.message[] value \"\x08\\xff\x01snappy\" \"\x08\\xff\x01zstand\"");
    pb_release(&a);
    pb_release(&b);
}

static void assert_not_compared(const struct compare_limits *limits, struct str a)
{
    struct pb_out good = {0};
    struct outcome o;
    const struct compare_rules rules = {.limits = *limits};
    frame(&good, 0, STR("\x08\x09"));
    compare_under(&rules, a, pb_str(&good), &o);
    assert_int_equal(o.r, -EBADMSG);
    assert_string_equal(o.text, "");
    compare_under(&rules, pb_str(&good), a, &o);
    assert_int_equal(o.r, -EBADMSG);
    assert_string_equal(o.text, "");
    pb_release(&good);
}

static void what_is_not_framed_is_refused(void **state)
{
    (void)state;
    static const struct compare_limits limits = COMPARE_LIMITS_DEFAULT;
    struct pb_out a = {0};
    frame(&a, 0, STR("\x08\x01\x12\x02hi"));
    for (size_t n = 1; n < a.n; n++) {
        char *exact = mem_dup((const char *)a.p, n);
        assert_not_compared(&limits, str_of(exact, n));
        mem_free(exact);
    }
    pb_raw(&a, "", 1); /* something follows */
    assert_not_compared(&limits, pb_str(&a));
    pb_release(&a);
    frame(&a, 2, STR("\x08\x01")); /* no flag of gRPC */
    assert_not_compared(&limits, pb_str(&a));
    pb_release(&a);
    frame(&a, 0x80, STR("grpc-status:0\r\n")); /* trailers of gRPC-Web */
    assert_not_compared(&limits, pb_str(&a));
    pb_release(&a);
}

static void nest(struct pb_out *o, unsigned depth)
{
    if (depth == 1) {
        pb_uint(o, 1, 300);
        return;
    }
    size_t at = pb_begin(o, 1);
    nest(o, depth - 1);
    pb_end(o, at);
}

static void limits_are_exact(void **state)
{
    (void)state;
    struct compare_limits limits = COMPARE_LIMITS_DEFAULT;
    struct pb_out m = {0}, a = {0};
    struct outcome o;
    nest(&m, limits.depth);
    frame(&a, 0, pb_str(&m));
    compare_under(&plain_rules, pb_str(&a), pb_str(&a), &o);
    assert_int_equal(o.r, 0);
    limits.depth--;
    assert_not_compared(&limits, pb_str(&a));
    pb_release(&m);
    pb_release(&a);

    limits = (struct compare_limits)COMPARE_LIMITS_DEFAULT;
    limits.nodes = 10;
    const struct compare_rules rules = {.limits = limits};
    for (int i = 0; i < 10; i++)
        pb_uint(&m, 1, 1);
    frame(&a, 0, pb_str(&m));
    compare_under(&rules, pb_str(&a), pb_str(&a), &o);
    assert_int_equal(o.r, 0);
    frame(&a, 0, STR("\x08\x01")); /* of all messages together */
    assert_not_compared(&limits, pb_str(&a));
    pb_release(&m);
    pb_release(&a);
    for (int i = 0; i < 11; i++) /* even those that hold nothing */
        frame(&a, 0, STR(""));
    assert_not_compared(&limits, pb_str(&a));
    pb_release(&a);
}

static void unpacked_bytes_have_a_limit(void **state)
{
    (void)state;
    static char zeros[20000];
    char packed[512];
    struct compare_limits limits = COMPARE_LIMITS_DEFAULT;
    struct pb_out m = {0}, a = {0};
    struct outcome o;
    pb_bytes(&m, 1, str_of(zeros, sizeof(zeros)));
    struct str p = deflated(31, pb_str(&m), packed, sizeof(packed));
    frame(&a, 1, p);
    frame(&a, 1, p); /* both together */
    limits.inflated_bytes = (uint32_t)(2 * m.n);
    const struct compare_rules rules = {.limits = limits};
    compare_under(&rules, pb_str(&a), pb_str(&a), &o);
    assert_int_equal(o.r, 0);
    limits.inflated_bytes--;
    assert_not_compared(&limits, pb_str(&a));
    pb_release(&m);
    pb_release(&a);
}

/* ---- memory ---- */

static void every_allocation_may_fail(void **state)
{
    (void)state;
    static char noise[30000];
    char packed[200];
    struct pb_out a = {0}, b = {0}, m = {0};
    for (int i = 0; i < 300; i++) {
        pb_uint(&m, 1, (uint64_t)i);
        fixed64(&m, 2, bits_of(1.5 * i));
    }
    pb_bytes(&m, 3, str_of(noise, sizeof(noise)));
    frame(&a, 1, deflated(31, STR("\x08\x05"), packed, sizeof(packed)));
    frame(&a, 0, pb_str(&m));
    pb_uint(&m, 1, 4);
    frame(&b, 0, STR("\x08\x06\x1a\x02\x08\x01"));
    frame(&b, 0, pb_str(&m));
    struct outcome whole, o;
    compare_under(&plain_rules, pb_str(&a), pb_str(&b), &whole);
    assert_string_equal(whole.text, "body.message[].1 value \"5\" \"6\"\n"
                                    "body.message[].3 extra shape \"\" \"{1 fields}\"\n"
                                    "body.message[].1 length shape \"300\" \"301\"");
    size_t live = mem_live();
    unsigned long n = 1;
    for (;; n++) {
        mem_fail_nth(n);
        compare_under(&plain_rules, pb_str(&a), pb_str(&b), &o);
        bool all = mem_count() < n;
        mem_fail_nth(0);
        assert_int_equal(mem_live(), live);
        if (all)
            break;
        assert_true(o.failed == -ENOMEM);
    }
    assert_true(n > 6);
    assert_string_equal(o.text, whole.text);
    pb_release(&a);
    pb_release(&b);
    pb_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_bodies_have_no_difference),
        cmocka_unit_test(values_are_told_by_number),
        cmocka_unit_test(what_only_one_has_is_missing_or_extra),
        cmocka_unit_test(another_wire_type_is_another_type),
        cmocka_unit_test(text_that_parses_as_a_message_stays_text),
        cmocka_unit_test(a_message_of_one_string_is_a_message),
        cmocka_unit_test(a_message_and_bytes_are_compared_as_bytes),
        cmocka_unit_test(numbers_without_a_schema_are_guessed),
        cmocka_unit_test(lists_differ_by_length_order_and_values),
        cmocka_unit_test(many_equal_values_are_cheap),
        cmocka_unit_test(messages_are_compared_in_turn),
        cmocka_unit_test(packed_messages_are_unpacked),
        cmocka_unit_test(messages_of_an_unknown_coding_are_bytes),
        cmocka_unit_test(what_is_not_framed_is_refused),
        cmocka_unit_test(limits_are_exact),
        cmocka_unit_test(unpacked_bytes_have_a_limit),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return unit_run(tests);
}
