/* gRPC bodies compared with descriptors at hand. */
#include "lib/compare/redact_int.h"
#include "tests/unit/compare/grpc_bodies.h"
#include "tests/unit/compare/shop.h"

static void assert_shop_under(
    const struct redact *redact, struct pb_out *a, struct pb_out *b, const char *want)
{
    struct pb_out set = {0};
    struct err e = {0};
    shop_write(&set, "proto3");
    struct descriptors *d = descriptors_parse(pb_str(&set), &e);
    pb_release(&set);
    assert_non_null(d);
    const struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT,
        .descriptors = d,
        .redact = redact,
        .grpc_method = STR("/shop.Shop/List")};
    assert_under(&rules, a, b, want);
    descriptors_free(d);
}

static void assert_shop(struct pb_out *a, struct pb_out *b, const char *want)
{
    assert_shop_under(NULL, a, b, want);
}

static void put_money(struct pb_out *o, uint32_t field, int64_t units, int64_t cents)
{
    size_t at = pb_begin(o, field);
    pb_bytes(o, 1, STR("EUR"));
    pb_uint(o, 2, (uint64_t)units);
    pb_sint(o, 3, cents);
    pb_end(o, at);
}

static void put_price(struct pb_out *o, const char *key, int64_t units)
{
    size_t at = pb_begin(o, 3);
    pb_bytes(o, 1, str_c(key));
    put_money(o, 2, units, 0);
    pb_end(o, at);
}

static void names_and_types_are_those_of_the_schema(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    size_t at = pb_begin(&a, 1);
    pb_bytes(&a, 1, STR("error"));
    fixed64(&a, 2, bits_of(1.5));
    pb_uint(&a, 3, 1);
    pb_uint(&a, 4, (uint64_t)-1);
    pb_uint(&a, 7, 1);
    pb_fixed32(&a, 8, bits_of_float(0.1f));
    fixed64(&a, 9, bits_of(1.5)); /* a fixed64: no double, whatever it looks like */
    pb_fixed32(&a, 10, (uint32_t)-3);
    pb_end(&a, at);
    at = pb_begin(&b, 1);
    pb_bytes(&b, 1, STR("unity"));
    fixed64(&b, 2, bits_of(2.5));
    pb_uint(&b, 3, (uint64_t)-2);
    pb_uint(&b, 4, 5);
    pb_fixed32(&b, 8, bits_of_float(0.2f));
    fixed64(&b, 9, bits_of(1.5) + 1);
    pb_fixed32(&b, 10, (uint32_t)-4);
    pb_end(&b, at);
    assert_shop(&a, &b,
        "body.message[].items[].name value \"error\" \"unity\"\n"
        "body.message[].items[].price value \"1.5\" \"2.5\"\n"
        "body.message[].items[].kind value \"BOOK\" \"LOST\"\n"
        "body.message[].items[].stock value \"-1\" \"5\"\n"
        "body.message[].items[].hot value \"true\" \"false\"\n"
        "body.message[].items[].weight value \"0.1\" \"0.2\"\n"
        "body.message[].items[].id value \"4609434218613702656\" \"4609434218613702657\"\n"
        "body.message[].items[].shift value \"-3\" \"-4\"");
}

static void zigzag_is_shown_right(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    put_money(&a, 4, 3, -5);
    put_money(&b, 4, -3, 5);
    assert_shop(&a, &b,
        "body.message[].total.units value \"3\" \"-3\"\n"
        "body.message[].total.cents value \"-5\" \"5\"");
}

static void an_absent_zero_is_a_zero(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    pb_uint(&a, 6, 0);
    pb_bytes(&a, 5, STR(""));
    assert_shop(&a, &b, "");
    pb_uint(&a, 6, 12);
    assert_shop(&a, &b, "body.message[].count value \"12\" \"0\"");
    size_t at = pb_begin(&a, 1); /* optional, in a oneof: there or not is told */
    pb_uint(&a, 4, 0);
    pb_bytes(&a, 5, STR(""));
    pb_end(&a, at);
    at = pb_begin(&b, 1);
    pb_end(&b, at);
    assert_shop(&a, &b,
        "body.message[].items[].stock missing shape \"0\" \"\"\n"
        "body.message[].items[].note missing shape \"\" \"\"");
    pb_bytes(&b, 4, STR("")); /* a message that is empty is there */
    assert_shop(&a, &b, "body.message[].total extra shape \"\" \"{0 fields}\"");
}

static void the_last_of_a_singular_field_counts(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    pb_uint(&a, 6, 1);
    pb_uint(&a, 6, 2);
    pb_uint(&b, 6, 2);
    assert_shop(&a, &b, "");
    pb_uint(&a, 6, 1);
    pb_uint(&a, 6, 0);
    assert_shop(&a, &b, "");
}

static void numbers_are_cut_to_their_width(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    pb_uint(&a, 6, UINT64_C(0x100000007));
    pb_uint(&b, 6, 7);
    assert_shop(&a, &b, "");
}

static void fractions_are_near(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    fixed64(&a, 7, bits_of(1.0));
    fixed64(&b, 7, bits_of(1.0 + 9e-10));
    assert_shop(&a, &b, "");
    fixed64(&a, 7, bits_of(1.0));
    fixed64(&b, 7, bits_of(1.0 + 2e-9));
    assert_shop(&a, &b, "body.message[].rates[] value \"1\" \"1.000000002\"");
    fixed64(&a, 7, UINT64_C(0x7ff8000000000000));
    fixed64(&b, 7, UINT64_C(0xfff8000000000001)); /* another NaN */
    assert_shop(&a, &b, "");
    fixed64(&a, 7, UINT64_C(0x7ff0000000000000)); /* the two infinities */
    fixed64(&b, 7, UINT64_C(0xfff0000000000000));
    assert_shop(&a, &b, "body.message[].rates[] value \"inf\" \"-inf\"");
}

static void packed_numbers_are_values(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    pb_bytes(&a, 2, STR("\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
    pb_uint(&b, 2, 1); /* written one by one: the same */
    pb_uint(&b, 2, 2);
    pb_uint(&b, 2, (uint64_t)-1);
    assert_shop(&a, &b, "");
    pb_bytes(&a, 2, STR("\x01\x02\x03"));
    pb_bytes(&b, 2, STR("\x01\x04\x03"));
    assert_shop(&a, &b, "body.message[].numbers[] value \"2\" \"4\"");
    pb_bytes(&a, 2, STR("\x01\x02\x03"));
    assert_shop(&a, &b, "body.message[].numbers[] length shape \"3\" \"0\"");
    pb_bytes(&a, 2, STR("\x01\x80")); /* no list of varints: bytes */
    pb_bytes(&b, 2, STR("\x01\x81"));
    assert_shop(&a, &b, "body.message[].numbers value \"\x01\\x80\" \"\x01\\x81\"");
}

static void maps_are_compared_by_key(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    put_price(&a, "tea", 3);
    put_price(&a, "milk", 1);
    put_price(&b, "milk", 1);
    put_price(&b, "tea", 3);
    assert_shop(&a, &b, ""); /* maps have no order */
    put_price(&a, "tea", 3);
    put_price(&a, "milk", 1);
    put_price(&a, "rice", 2);
    put_price(&b, "milk", 1);
    put_price(&b, "tea", 4);
    put_price(&b, "salt", 2);
    assert_shop(&a, &b,
        "body.message[].prices{*} missing shape \"rice\" \"\"\n"
        "body.message[].prices{*} extra shape \"\" \"salt\"\n"
        "body.message[].prices{*}.units value \"3\" \"4\"");
    put_price(&a, "tea", 3); /* the last of a key counts */
    put_price(&a, "tea", 4);
    put_price(&b, "tea", 4);
    assert_shop(&a, &b, "");
    pb_bytes(&a, 8, STR("\x08\x05")); /* 5: 0, which was left out */
    pb_bytes(&b, 8, STR("\x08\x05\x10\x00"));
    assert_shop(&a, &b, "");
    pb_bytes(&a, 8, STR("\x08\x05"));
    pb_bytes(&b, 8, STR("\x08\x05\x10\x02"));
    assert_shop(&a, &b, "body.message[].stock{*} value \"0\" \"2\"");
}

static void fields_that_the_schema_lacks_go_by_number(void **state)
{
    (void)state;
    struct pb_out a = {0}, b = {0};
    pb_uint(&a, 99, 1);
    pb_uint(&b, 99, 2);
    pb_uint(&b, 5, 3); /* a string, by the schema */
    assert_shop(&a, &b,
        "body.message[].password extra shape \"\" \"3\"\n"
        "body.message[].99 value \"1\" \"2\"");
}

static void another_method_has_no_names(void **state)
{
    (void)state;
    struct pb_out set = {0}, a = {0}, b = {0};
    shop_write(&set, "proto3");
    struct descriptors *d = descriptors_parse(pb_str(&set), NULL);
    pb_release(&set);
    const struct compare_rules rules = {
        .limits = COMPARE_LIMITS_DEFAULT, .descriptors = d, .grpc_method = STR("/shop.Shop/Other")};
    pb_uint(&a, 6, 1);
    pb_uint(&b, 6, 2);
    assert_under(&rules, &a, &b, "body.message[].6 value \"1\" \"2\"");
    descriptors_free(d);
}

/* The name says it, whatever the value looks like; a pattern does anywhere. */
static void secrets_are_not_shown(void **state)
{
    (void)state;
    const struct redact_options o = {.key = "0123456789abcde"};
    struct err e = {0};
    struct redact *r = redact_new(&o, &e);
    struct pb_out a = {0}, b = {0};
    struct text a_mark = {0}, b_mark = {0}, mail = {0}, want = {0};
    assert_non_null(r);
    redact_mark(r, STR("one"), &a_mark);
    redact_mark(r, STR("two"), &b_mark);
    redact_mark(r, STR("anna@example.org"), &mail);
    pb_bytes(&a, 5, STR("one"));
    pb_bytes(&b, 5, STR("two"));
    pb_bytes(&a, 99, STR("anna@example.org"));
    pb_bytes(&b, 99, STR("nobody"));
    text_fmt(&want,
        "body.message[].password value \"%.*s\" \"%.*s\"\n"
        "body.message[].99 value shape \"%.*s\" \"nobody\"",
        (int)a_mark.n, a_mark.p, (int)b_mark.n, b_mark.p, (int)mail.n, mail.p);
    text_add(&want, str_of("", 1));
    assert_shop_under(r, &a, &b, want.p);
    text_release(&a_mark);
    text_release(&b_mark);
    text_release(&mail);
    text_release(&want);
    redact_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_types_are_those_of_the_schema),
        cmocka_unit_test(zigzag_is_shown_right),
        cmocka_unit_test(an_absent_zero_is_a_zero),
        cmocka_unit_test(the_last_of_a_singular_field_counts),
        cmocka_unit_test(numbers_are_cut_to_their_width),
        cmocka_unit_test(fractions_are_near),
        cmocka_unit_test(packed_numbers_are_values),
        cmocka_unit_test(maps_are_compared_by_key),
        cmocka_unit_test(fields_that_the_schema_lacks_go_by_number),
        cmocka_unit_test(another_method_has_no_names),
        cmocka_unit_test(secrets_are_not_shown),
    };
    return unit_run(tests);
}
