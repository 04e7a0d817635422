#include "lib/compare/redact.h"
#include "tests/unit/compare/replies.h"

static void status_and_grpc_status_are_exact(void **state)
{
    (void)state;
    struct made a, b;
    make_reply(&a, 200, "", STR("x"), "grpc-status: 0");
    make_reply(&b, 201, "", STR("x"), "grpc-status: 5\ngrpc-message: no");
    assert_replies(&a, &b, default_rules(),
        "!status value 200|201\n!grpc-status value 0|5\ntrailer.grpc-message extra |no\n");
    make_reply(&b, 200, "grpc-status: 0", STR("x"), "");
    assert_replies(&a, &b, default_rules(), "");
    make_reply(&b, 200, "", STR("x"), "");
    assert_replies(&a, &b, default_rules(), "grpc-status missing 0|\n");
}

static void fields_are_told_by_their_names(void **state)
{
    (void)state;
    assert_heads("etag: \"a\"\nx-a: 1", "x-b: 1\netag: \"b\"",
        "header.etag value \"a\"|\"b\"\nheader.x-a missing 1|\nheader.x-b extra |1\n");
    assert_heads("x-a: 1\nx-b: 2", "x-b: 2\nx-a: 1", "");
}

static void values_of_one_field_are_a_list(void **state)
{
    (void)state;
    assert_heads("vary: a\nvary: b", "vary: b\nvary: a", "header.vary order a|b\n");
    assert_heads("vary: a\nvary: b", "vary: a", "header.vary length 2|1\n");
    assert_heads("vary: a\nvary: b", "vary: a\nvary: c", "header.vary value b|c\n");
}

static void what_says_nothing_of_the_provider_is_left_out(void **state)
{
    (void)state;
    const char *names[] = {"date", "age", "server", "via", "alt-svc", "server-timing", "connection",
        "keep-alive", "transfer-encoding", "trailer", "upgrade", "te", "proxy-connection",
        "proxy-authenticate", "x-request-id", "x-correlation-id", "traceparent", "tracestate",
        "baggage", "x-b3-traceid", "x-offshoot-route", "x-amzn-trace-id", "content-length",
        "content-encoding"};
    struct compare_rules all = {.limits = COMPARE_LIMITS_DEFAULT, .keep_default = true};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        bool coding = strcmp(names[i], "content-encoding") == 0;
        char a[64], b[64], want[128];
        struct made x, y;
        snprintf(a, sizeof(a), "%s: %s", names[i], coding ? "identity" : "1");
        snprintf(b, sizeof(b), "%s: %s", names[i], coding ? "identity, identity" : "2");
        snprintf(want, sizeof(want), "%sheader.%s value %s|%s\n", coding ? "!" : "", names[i],
            strchr(a, ' ') + 1, strchr(b, ' ') + 1);
        assert_heads(a, b, "");
        make_reply(&x, 200, a, STR("x"), "");
        make_reply(&y, 200, b, STR("x"), "");
        assert_replies(&x, &y, &all, want);
    }
}

/* As of a reply to HEAD. */
static void without_bodies_content_length_counts(void **state)
{
    (void)state;
    struct made a, b;
    make_reply(&a, 200, "content-length: 10", STR(""), "");
    make_reply(&b, 200, "content-length: 12", STR(""), "");
    assert_replies(&a, &b, default_rules(), "header.content-length value 10|12\n");
}

static void cookies_are_taken_apart(void **state)
{
    (void)state;
    assert_heads("set-cookie: s=aaaa; Path=/; Secure", "set-cookie: s=bbbb; path=/; secure",
        "header.set-cookie.s.value value aaaa|bbbb\n");
    assert_heads("set-cookie: s=a; Path=/; Secure; HttpOnly",
        "set-cookie: s=a; Path=/x; SameSite=Lax; HttpOnly",
        "!header.set-cookie.s.path value /|/x\nheader.set-cookie.s.samesite extra |Lax\n"
        "header.set-cookie.s.secure missing |\n");
    assert_heads("set-cookie: s=a\nset-cookie: t=b", "set-cookie: t=c",
        "header.set-cookie.s missing a|\nheader.set-cookie.t.value value b|c\n");
    assert_heads("set-cookie: s=a\nset-cookie: t=b", "set-cookie: t=b\nset-cookie: s=a", "");
    assert_heads("set-cookie: s=a; Path=/a\nset-cookie: s=b; Path=/b",
        "set-cookie: s=a; Path=/a\nset-cookie: s=c; Path=/b",
        "header.set-cookie.s.value value b|c\n");
    assert_heads("set-cookie: odd", "set-cookie: odd; ;=; max-age",
        "header.set-cookie.odd.max-age extra |\n");
}

static void urls_are_taken_apart(void **state)
{
    (void)state;
    assert_heads("location: https://a.example/login?state=aaaa&next=/cart",
        "location: https://a.example/login?next=/cart&state=bbbb",
        "header.location.?state value aaaa|bbbb\n");
    assert_heads("location: https://a.example/login?state=aaaa",
        "location: https://a.example/logout?state=bbbb",
        "header.location value https://a.example/login|https://a.example/logout\n"
        "header.location.?state value aaaa|bbbb\n");
    assert_heads("content-location: /x?a=1&b=2&e%20f=1", "content-location: /x?b=2&c=3&e+f=2",
        "header.content-location.?a missing 1|\n"
        "header.content-location.?c extra |3\n"
        "header.content-location.[\"?e f\"] value 1|2\n");
    assert_heads("location: /x?a=1&a=2", "location: /x?a=2&a=1", "header.location.?a order 1|2\n");
    assert_heads(
        "location: /x?a=1#top", "location: /x?a=1#end", "header.location.# value top|end\n");
    assert_heads("location: /x#a?b=1", "location: /x", "header.location.# missing a?b=1|\n");
    assert_heads("location: /x", "location: /x#", "header.location.# extra |\n");
    assert_heads(
        "location: /x?a=1", "etag: 1", "header.etag extra |1\nheader.location missing /x?a=1|\n");
    assert_heads("location: /x?a=1\nlocation: /y", "location: /x?a=2\nlocation: /y",
        "header.location value /x?a=1|/x?a=2\n");
    assert_heads("x-next: /x?a=1", "x-next: /x?a=2", "header.x-next value /x?a=1|/x?a=2\n");
}

/* Above the limit of values it is one. */
static void query_with_too_many_parameters_is_a_value(void **state)
{
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT};
    struct made a, b;
    (void)state;
    rules.limits.nodes = 2;
    make_reply(&a, 200, "location: /x?a=1&b=2&c=3", STR("x"), "");
    make_reply(&b, 200, "location: /x?a=1&b=2&c=4", STR("x"), "");
    assert_replies(&a, &a, &rules, "");
    assert_replies(&a, &b, &rules, "header.location.? value a=1&b=2&c=3|a=1&b=2&c=4\n");
}

static void secrets_of_urls_are_taken_out(void **state)
{
    struct redact_options o = {.key = "0123456789abcde"};
    struct err e = {0};
    struct redact *r = redact_new(&o, &e);
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT, .redact = r};
    struct differences d;
    struct text t = {0};
    struct made a, b;
    (void)state;
    assert_non_null(r);
    make_reply(&a, 200,
        "location: https://u:canary@h/x?token=canary&canary@a.example=1#access_token=canary",
        STR("x"), "");
    make_reply(&b, 200, "location: //h/y?token=canary2&to=canary@a.example#access_token=canary2",
        STR("x"), "");
    assert_int_equal(replies_compare(&a.reply, &b.reply, &rules, &d), 0);
    describe(&d, &t);
    assert_int_equal(d.n, 5);
    if (strstr(t.p, "canary"))
        fail_msg("%s", t.p);
    assert_non_null(strstr(t.p, "header.location.?token value [redacted:"));
    assert_non_null(strstr(t.p, "header.location.[\"?[redacted:"));
    text_release(&t);
    differences_release(&d);
    redact_free(r);
}

static void trailers_are_compared_like_fields(void **state)
{
    (void)state;
    struct made a, b;
    make_reply(&a, 200, "", STR("x"), "x-sum: 1\ndate: 1");
    make_reply(&b, 200, "", STR("x"), "x-sum: 2\ndate: 2");
    assert_replies(&a, &b, default_rules(), "trailer.x-sum value 1|2\n");
}

static void fields_of_a_reply_are_found(void **state)
{
    (void)state;
    struct made a;
    make_reply(&a, 200, "x-a: 1\nx-a: 2\ngrpc-status: 7", STR(""), "");
    assert_str(reply_field_value(a.reply.fields, a.reply.nfields, STR("x-a")), "1");
    assert_int_equal(reply_field_value(a.reply.fields, a.reply.nfields, STR("x")).n, 0);
    assert_int_equal(reply_grpc_status(&a.reply), 7);
    make_reply(&a, 200, "", STR(""), "grpc-status: 17");
    assert_int_equal(reply_grpc_status(&a.reply), -1);
    make_reply(&a, 200, "", STR(""), "grpc-status: 16");
    assert_int_equal(reply_grpc_status(&a.reply), 16);
    assert_string_equal(reply_outcome_word(REPLY_WHOLE), "whole");
    assert_string_equal(reply_outcome_word(REPLY_TRANSPORT), "transport-error");
    assert_string_equal(reply_outcome_word(REPLY_TIMEOUT), "timeout");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_and_grpc_status_are_exact),
        cmocka_unit_test(fields_are_told_by_their_names),
        cmocka_unit_test(values_of_one_field_are_a_list),
        cmocka_unit_test(what_says_nothing_of_the_provider_is_left_out),
        cmocka_unit_test(without_bodies_content_length_counts),
        cmocka_unit_test(cookies_are_taken_apart),
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(query_with_too_many_parameters_is_a_value),
        cmocka_unit_test(secrets_of_urls_are_taken_out),
        cmocka_unit_test(trailers_are_compared_like_fields),
        cmocka_unit_test(fields_of_a_reply_are_found),
    };
    return unit_run(tests);
}
