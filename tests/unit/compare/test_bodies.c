#include "tests/unit/compare/replies.h"
#include <zlib.h>

static void forms_by_the_names_of_their_fields(void **state)
{
    (void)state;
    const char *type = "application/x-www-form-urlencoded";
    assert_bodies_by(
        type, STR("a=1&b=2"), STR("b=3&a=1"), default_rules(), "body.form.b value 2|3\n");
    assert_bodies_by(type, STR("a=x+y%21"), STR("a=x%20y!"), default_rules(), "");
    assert_bodies_by(type, STR("a=1&a=2&b"), STR("a=2&a=1&c="), default_rules(),
        "body.form.a order 1|2\nbody.form.b missing |\nbody.form.c extra |\n");
    assert_bodies_by(type, STR("a=%zz&b=%"), STR("a=%zy&b=%4"), default_rules(),
        "body.form.a value %zz|%zy\n!body.form.b value %|%4\n");
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT};
    rules.limits.nodes = 2;
    assert_bodies_by(type, STR("a=1&b=2&c=3"), STR("a=1&b=2&c=4"), &rules,
        "body.bytes value 11 bytes, sha256 140533f5d7e20d4b...|11 bytes, sha256 "
        "54c084db1eeb1e82...\n");
}

#define PART(name, more, body)                                                                     \
    "--XX\r\nContent-Disposition: form-data; name=\"" name "\"\r\n" more "\r\n" body "\r\n"

#define END "--XX--\r\n"

static void multipart_by_the_names_of_its_parts(void **state)
{
    (void)state;
    struct str a = STR(PART("a", "", "1") PART("f", "Content-Type: text/plain\r\n", "x\r\ny") END);
    struct str b = STR("preamble\r\n" PART("a", "", "2") PART("g", "", "x") "--XX--");
    assert_bodies_by("multipart/form-data; boundary=XX", a, a, default_rules(), "");
    assert_bodies_by("multipart/form-data; boundary=\"XX\"", a, b, default_rules(),
        "body.form.a value 1|2\nbody.form.f missing x\r\ny|\nbody.form.g extra |x\n");
    struct made x, y;
    make_reply(&x, 200, "content-type: multipart/form-data; boundary=XX", a, "");
    make_reply(&y, 200, "content-type: multipart/form-data; boundary=Y",
        STR("--Y\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n--Y--"), "");
    assert_replies(&x, &y, default_rules(), "body.form.f missing x\r\ny|\n");
    /* cut */
    assert_bodies_by("multipart/form-data; boundary=XX", a, str_of(a.p, a.n - 8), default_rules(),
        "body.bytes length 143|135\nbody.bytes value 143 bytes, sha256 "
        "24bfa04d1dca80ad...|135 bytes, sha256 36af6a33cc1548b5...\n");
}

static void lines_of_json_are_an_array_of_them(void **state)
{
    (void)state;
    const char *type = "application/x-ndjson; charset=utf-8";
    struct str a = STR("{\"id\":1,\"n\":1}\n{\"id\":2,\"n\":2}\n");
    assert_bodies_by(
        type, a, STR("\n{\"n\":1, \"id\":1}\r\n{\"n\":2,\"id\":2}"), default_rules(), "");
    assert_bodies_by(type, a, STR("{\"id\":1,\"n\":1}\n{\"id\":2,\"n\":3}\n"), default_rules(),
        "body.lines[].n value 2|3\n");
    assert_bodies_by("application/jsonl", STR("1\n2\n"), STR("2\n1\n"), default_rules(),
        "body.lines[] order [1,2]|[2,1]\n");
    assert_bodies_by("application/jsonl", STR("1\n"), STR("1,2\n"), default_rules(),
        "!body.text value 1\n|1,2\n\n");
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT};
    rules.limits.nodes = 2;
    assert_bodies_by(type, STR("1\n2\n"), STR("1\n3\n"), &rules,
        "body.bytes value 4 bytes, sha256 a6e2b7a040683432...|4 bytes, sha256 "
        "8391e9ff91c3c640...\n");
}

static void text_is_shown_where_it_differs(void **state)
{
    (void)state;
    assert_bodies_by("text/plain; charset=utf-8", STR("hello"), STR("hallo"), default_rules(),
        "body.text value hello|hallo\n");
    assert_bodies_by(
        "text/plain", STR("a"), STR("abcdefgh"), default_rules(), "!body.text value a|abcdefgh\n");
    char a[1001], b[1001];
    memset(a, '.', 1000);
    memset(b, '.', 1000);
    memcpy(a + 900, "here", 4);
    memcpy(b + 900, "HERE", 4);
    struct made x, y;
    struct differences d;
    make_reply(&x, 200, "content-type: text/html", str_of(a, 1000), "");
    make_reply(&y, 200, "content-type: text/html", str_of(b, 1000), "");
    assert_int_equal(replies_compare(&x.reply, &y.reply, default_rules(), &d), 0);
    assert_int_equal(d.n, 1);
    assert_non_null(memmem(d.item[0].a.p, d.item[0].a.n, "here", 4));
    assert_non_null(memmem(d.item[0].b.p, d.item[0].b.n, "HERE", 4));
    differences_release(&d);
}

static void json_is_known_without_its_type(void **state)
{
    (void)state;
    assert_bodies_by(
        "text/plain", STR(" {\"a\":1}"), STR("{\"a\":2}"), default_rules(), "body.a value 1|2\n");
    assert_bodies_by("application/problem+json; charset=utf-8", STR("[1]"), STR("[2]"),
        default_rules(), "body[] value 1|2\n");
}

static void anything_else_is_length_and_digest(void **state)
{
    (void)state;
    assert_bodies_by("image/png", STR("\x89PNG"), STR("\x89PNQ"), default_rules(),
        "body.bytes value 4 bytes, sha256 0f4636c78f65d363...|4 bytes, sha256 "
        "844af29af70b9681...\n");
    assert_bodies_by("image/png", STR("\x89PNG"), STR("\x89PNG"), default_rules(), "");
}

static void a_body_that_is_not_there_is_missing(void **state)
{
    (void)state;
    assert_bodies_by(
        "application/json", STR("[1]"), STR(""), default_rules(), "body missing JSON|\n");
    assert_bodies_by("text/plain", STR(""), STR("x"), default_rules(), "body extra |text\n");
    struct made a, b;
    make_reply(&a, 200, "content-type: application/json", STR("{\"a\":1}"), "");
    make_reply(&b, 500, "content-type: text/html", STR("<p>oops"), "");
    assert_replies(&a, &b, default_rules(),
        "!status value 200|500\n"
        "!header.content-type value application/json|text/html\nbody type JSON|text\n");
}

static struct str packed(struct str plain, int bits, char *room, size_t size)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)plain.p;
    z.avail_in = (unsigned)plain.n;
    z.next_out = (unsigned char *)room;
    z.avail_out = (unsigned)size;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t n = size - z.avail_out;
    deflateEnd(&z);
    return str_of(room, n);
}

static void content_codings_are_undone(void **state)
{
    (void)state;
    char room_a[256], room_b[256];
    struct str gzip = packed(STR("{\"a\":1}"), 31, room_a, sizeof(room_a));
    struct str deflated = packed(STR("{\"a\":2}"), 15, room_b, sizeof(room_b));
    struct made a, b;
    make_reply(&a, 200, "content-type: application/json\ncontent-encoding: gzip", gzip, "");
    make_reply(&b, 200, "content-type: application/json\ncontent-encoding: deflate", deflated, "");
    assert_replies(&a, &b, default_rules(), "body.a value 1|2\n");
    make_reply(&b, 200, "content-type: application/json", STR("{\"a\":1}"), "");
    assert_replies(&a, &b, default_rules(), "");
}

static void a_coding_that_cannot_be_undone_is_said(void **state)
{
    (void)state;
    char room[256];
    struct str gzip = packed(STR("{\"a\":1}"), 31, room, sizeof(room));
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT};
    struct made a, b;
    make_reply(&a, 200, "content-encoding: gzip", gzip, "");
    make_reply(&b, 200, "content-encoding: gzip", str_of(gzip.p, gzip.n - 1), "");
    struct differences d;
    assert_int_equal(replies_compare(&a.reply, &b.reply, &rules, &d), 0);
    assert_int_equal(d.n, 3);
    assert_str(d.item[0].path, "body.encoding");
    assert_str(d.item[0].a, "decoded");
    assert_str(d.item[0].b, "broken");
    assert_str(d.item[1].path, "body.bytes");
    assert_int_equal(d.item[1].kind, DIFF_LENGTH);
    differences_release(&d);
    rules.limits.inflated_bytes = 7;
    assert_replies(&a, &a, &rules, "");
    rules.limits.inflated_bytes = 6;
    assert_replies(&a, &a, &rules, "");
    make_reply(&b, 200, "", STR("{\"a\":1}"), "");
    assert_int_equal(replies_compare(&a.reply, &b.reply, &rules, &d), 0);
    assert_str(d.item[0].path, "header.content-encoding");
    assert_str(d.item[1].path, "body.encoding");
    assert_str(d.item[1].a, "too large");
    differences_release(&d);
    make_reply(&a, 200, "content-encoding: br", STR("abc"), "");
    make_reply(&b, 200, "content-encoding: br", STR("abd"), "");
    assert_replies(&a, &b, &rules,
        "body.bytes value 3 bytes, sha256 ba7816bf8f01cfea...|3 bytes, sha256 "
        "a52d159f262b2c6d...\n");
}

static void shapes_are_types_and_classes(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } pairs[] = {
        {"\"2f1e4fc0-81fd-4da0-8b1c-0242ac130003\"", "\"aaaaaaaa-81FD-4da0-8b1c-0242ac130003\"",
            true},
        {"\"2f1e4fc0-81fd-4da0-8b1c-0242ac130003\"", "\"2f1e4fc0-81fd-4da0-8b1c-0242ac13000\"",
            false},
        {"\"2026-12-01T00:00:00Z\"", "\"2027-01-31T10:00:00.123+01:00\"", true},
        {"\"2026-12-01 00:00:00\"", "\"2027-01-31 10:00:00\"", true},
        {"\"2026-12-01T00:00:00Z\"", "\"2026-12-01T00:00:00X\"", false},
        {"\"2026-12-01T00:00:00Z\"", "\"\"", false},
        {"\"Sun, 06 Nov 1994 08:49:37 GMT\"", "\"Mon, 07 Nov 1994 08:49:37 GMT\"", true},
        {"\"1700000000\"", "\"1700000001\"", true},
        {"1700000000", "1700000001", true},
        {"1700000000", "1700000000123", false},
        {"1700000000", "17", false},
        {"12", "99999", true},
        {"12", "12.5", false},
        {"1.25", "-7.5e-3", true},
        {"\"deadbeef\"", "\"12345678\"", true},
        {"\"deadbeefdeadbeef\"", "\"deadbeef\"", false},
        {"\"12\"", "\"1345\"", true},
        {"\"12\"", "\"ab\"", false},
        {"\"YWJjZGVmZ2hpams=\"", "\"eHl6eHl6eHl6eHl6\"", true},
        {"\"YWJjZGVmZ2hpams=\"", "\"not base64 at al\"", false},
        {"\"a@b.example\"", "\"someone.else@example.org\"", true},
        {"\"a@b.example\"", "\"a at b.exam\"", false},
        {"\"abcd\"", "\"wxyzwx\"", true},
        {"\"abc\"", "\"wxyz\"", false},
        {"true", "false", true},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct made a, b;
        struct differences d;
        make_reply(&a, 200, "content-type: application/json", str_c(pairs[i].a), "");
        make_reply(&b, 200, "content-type: application/json", str_c(pairs[i].b), "");
        for (int turn = 0; turn < 2; turn++) {
            assert_int_equal(replies_compare(turn ? &b.reply : &a.reply, turn ? &a.reply : &b.reply,
                                 default_rules(), &d),
                0);
            assert_int_equal(d.n, 1);
            if (d.item[0].shape == pairs[i].same)
                fail_msg("%s and %s", pairs[i].a, pairs[i].b);
            differences_release(&d);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_by_the_names_of_their_fields),
        cmocka_unit_test(multipart_by_the_names_of_its_parts),
        cmocka_unit_test(lines_of_json_are_an_array_of_them),
        cmocka_unit_test(text_is_shown_where_it_differs),
        cmocka_unit_test(json_is_known_without_its_type),
        cmocka_unit_test(anything_else_is_length_and_digest),
        cmocka_unit_test(a_body_that_is_not_there_is_missing),
        cmocka_unit_test(content_codings_are_undone),
        cmocka_unit_test(a_coding_that_cannot_be_undone_is_said),
        cmocka_unit_test(shapes_are_types_and_classes),
    };
    return unit_run(tests);
}
