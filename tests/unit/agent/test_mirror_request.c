/* What goes with a dark request and what is taken out; what a reply counts as. */
#include "lib/graph/context.h"
#include "tests/unit/agent/mirror_fixture.h"

static struct mirror_roles plain_roles(void)
{
    return (struct mirror_roles){.secondary_env = STR("main"), .candidate_env = STR("fix")};
}

static struct dark_request build(
    const struct captured *c, const struct mirror_roles *roles, bool candidate)
{
    struct dark_request ret;
    const struct dark_source source = dark_source_of(&c->x);
    struct dark_part part = {.candidate = candidate,
        .forward_credentials = roles->forward_credentials,
        .set = roles->set,
        .nset = roles->nset,
        .trace_id = {0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        .span_id = {1, 0, 0, 0, 0, 0, 0, 0xff},
        .token = STR("v1m.fix.0.0b")};
    assert_int_equal(dark_request_build(&ret, &source, &part), 0);
    return ret;
}

#define assert_sent(r, name, want) assert_str(sent(r, name), want)

static void trace_ids_follow_the_rule_that_proxies_know(void **state)
{
    /* Calculated apart from libxxhash, by the text of its specification. */
    static const unsigned char key[16] = KEY, random[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const unsigned char want[16] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0xed,
        0x57, 0xb0, 0x07, 0xd9, 0x73, 0x1e, 0xe7};
    unsigned char got[16];
    (void)state;
    dark_trace_id(key, random, got);
    assert_memory_equal(got, want, 16);
}

static void the_users_fields_go_in_their_order(void **state)
{
    struct captured c;
    struct mirror_roles roles = plain_roles();
    (void)state;
    captured_init(&c);
    captured_add(&c, "accept", "text/html");
    captured_add(&c, "accept-encoding", "gzip, br");
    captured_add(&c, "x-shop", "1");
    captured_add(&c, "x-shop", "2");
    captured_add(&c, "via", "1.1 a");
    struct dark_request r = build(&c, &roles, true);
    static const char *const names[] = {"accept", "accept-encoding", "x-shop", "x-shop", "via"};
    for (int i = 0; i < 5; i++) {
        assert_str(r.fields[i].name, names[i]);
        assert_true(str_eq(r.fields[i].value, c.fields[i].value));
    }
    assert_sent(&r, "traceparent", "00-ab0102030405060708090a0b0c0d0e0f-01000000000000ff-01");
    assert_sent(&r, "x-request-id", "ab0102030405060708090a0b0c0d0e0f");
    assert_sent(&r, "x-offshoot-context", "v1m.fix.0.0b");
    assert_sent(&r, "baggage", "offshoot=v1m.fix.0.0b");
    assert_int_equal(r.nfields, 9);
    assert_false(r.has_body);
    dark_request_release(&r);
}

static void what_belongs_to_the_users_request_stays_behind(void **state)
{
    static const char *const gone[] = {"connection", "keep-alive", "proxy-connection",
        "transfer-encoding", "upgrade", "http2-settings", "te", "trailer", "expect", "host",
        "tracestate", "uberctx-offshoot", "ot-baggage-offshoot", "x-offshoot-explain",
        "x_offshoot_context", "x-offshoot-anything", "x-listed"};
    struct captured c;
    struct mirror_roles roles = plain_roles();
    (void)state;
    captured_init(&c);
    for (size_t i = 0; i < sizeof(gone) / sizeof(*gone); i++)
        captured_add(&c, gone[i], "close, X-Listed");
    captured_add(&c, "traceparent", "00-11111111111111111111111111111111-2222222222222222-00");
    captured_add(&c, "x-request-id", "users");
    captured_add(&c, "x-offshoot-context", "v1m.other.0.00");
    struct dark_request r = build(&c, &roles, true);
    for (size_t i = 0; i < sizeof(gone) / sizeof(*gone); i++)
        assert_sent(&r, gone[i], "(none)");
    assert_sent(&r, "traceparent", "00-ab0102030405060708090a0b0c0d0e0f-01000000000000ff-01");
    assert_sent(&r, "x-request-id", "ab0102030405060708090a0b0c0d0e0f");
    assert_sent(&r, "x-offshoot-context", "v1m.fix.0.0b");
    dark_request_release(&r);
}

static void credentials_go_to_the_candidate_only_when_told(void **state)
{
    static const char *const names[] = {"authorization", "cookie", "proxy-authorization"};
    struct captured c;
    struct mirror_roles roles = plain_roles();
    (void)state;
    captured_init(&c);
    for (int i = 0; i < 3; i++)
        captured_add(&c, names[i], "secret");
    for (int forward = 0; forward < 2; forward++) {
        roles.forward_credentials = forward;
        struct dark_request s = build(&c, &roles, false), d = build(&c, &roles, true);
        for (int i = 0; i < 3; i++) {
            assert_sent(&s, names[i], "secret");
            assert_sent(&d, names[i], forward ? "secret" : "(none)");
        }
        dark_request_release(&s);
        dark_request_release(&d);
    }
}

static void fields_of_the_session_stand_in_for_the_users(void **state)
{
    static const struct reply_field set[] = {
        {STR("authorization"), STR("Bearer of-session")}, {STR("x-new"), STR("1")}};
    struct captured c;
    struct mirror_roles roles = plain_roles();
    (void)state;
    roles.set = set;
    roles.nset = 2;
    captured_init(&c);
    captured_add(&c, "authorization", "Bearer of-user");
    for (int candidate = 0; candidate < 2; candidate++) {
        struct dark_request r = build(&c, &roles, candidate);
        assert_sent(&r, "authorization", "Bearer of-session");
        assert_sent(&r, "x-new", "1");
        dark_request_release(&r);
    }
}

static void an_idempotency_key_is_the_roles_own(void **state)
{
    struct captured c;
    struct mirror_roles roles = plain_roles();
    (void)state;
    captured_init(&c);
    captured_add(&c, "idempotency-key", "k-1");
    struct dark_request s = build(&c, &roles, false), d = build(&c, &roles, true);
    assert_sent(&s, "idempotency-key", "k-1-secondary");
    assert_sent(&d, "idempotency-key", "k-1-candidate");
    dark_request_release(&s);
    dark_request_release(&d);
    captured_init(&c);
    for (int i = 0; i < USERS_MAX; i++)
        captured_add(&c, "idempotency-key", "");
    d = build(&c, &roles, true);
    assert_str(d.fields[USERS_MAX - 1].value, "-candidate");
    dark_request_release(&d);
}

static void who_asked_is_said_as_by_the_gateway_that_the_client_came_to(void **state)
{
    static const char *const hearsay[] = {"x-forwarded-for", "x-forwarded-proto",
        "x-forwarded-host", "x-forwarded-port", "forwarded"};
    struct captured c;
    struct mirror_roles roles = plain_roles();
    (void)state;
    captured_init(&c);
    for (int i = 0; i < 5; i++)
        captured_add(&c, hearsay[i], "said");
    struct dark_request r = build(&c, &roles, true); /* it came to a trusted listener */
    for (int i = 0; i < 5; i++)
        assert_sent(&r, hearsay[i], "said");
    dark_request_release(&r);
    c.x.client = STR("192.0.2.7");
    c.x.https = true;
    r = build(&c, &roles, true);
    assert_sent(&r, "x-forwarded-for", "192.0.2.7");
    assert_sent(&r, "x-forwarded-proto", "https");
    assert_sent(&r, "x-forwarded-host", "shop.test");
    assert_sent(&r, "x-forwarded-port", "(none)");
    assert_sent(&r, "forwarded", "(none)");
    dark_request_release(&r);
    c.x.https = false;
    r = build(&c, &roles, true);
    assert_sent(&r, "x-forwarded-proto", "http");
    dark_request_release(&r);
}

static void the_length_is_that_of_the_body_and_te_that_of_grpc(void **state)
{
    struct captured c;
    struct mirror_roles roles = plain_roles();
    (void)state;
    captured_init(&c);
    c.x.body = STR("12345");
    struct dark_request r = build(&c, &roles, true);
    assert_true(r.has_body);
    assert_sent(&r, "content-length", "(none)"); /* it was chunked */
    assert_sent(&r, "te", "(none)");
    dark_request_release(&r);
    captured_add(&c, "content-length", "99");
    captured_add(&c, "te", "gzip");
    c.x.grpc = true;
    r = build(&c, &roles, true);
    assert_sent(&r, "content-length", "5");
    assert_sent(&r, "te", "trailers");
    dark_request_release(&r);
    c.x.body = STR("");
    r = build(&c, &roles, true);
    assert_sent(&r, "content-length", "0");
    assert_false(r.has_body);
    dark_request_release(&r);
}

static void baggage_of_others_stays_in_its_order_and_ours_comes_last(void **state)
{
    struct captured c;
    struct mirror_roles roles = plain_roles();
    (void)state;
    captured_init(&c);
    captured_add(&c, "baggage", "a=1;p=q, offshoot=v1m.other.0.00 ,b=2");
    captured_add(&c, "baggage", "Offshoot=v1m.forged.0.00,c=3");
    struct dark_request r = build(&c, &roles, true);
    assert_sent(&r, "baggage", "a=1;p=q,b=2,c=3,offshoot=v1m.fix.0.0b");
    dark_request_release(&r);
}

static void baggage_that_is_full_stays_and_the_other_carrier_has_the_token(void **state)
{
    static char members[64 * 4], large[BAGGAGE_BYTES_MAX + 1];
    struct captured c;
    struct mirror_roles roles = plain_roles();
    (void)state;
    for (int i = 0; i < 64; i++)
        strcat(members, i ? ",a=1" : "a=1");
    captured_init(&c);
    captured_add(&c, "baggage", members);
    struct dark_request r = build(&c, &roles, true);
    assert_sent(&r, "baggage", members);
    assert_sent(&r, "x-offshoot-context", "v1m.fix.0.0b");
    dark_request_release(&r);
    memset(large, 'v', BAGGAGE_BYTES_MAX);
    memcpy(large, "k=", 2);
    c.fields[0].value = str_of(large, BAGGAGE_BYTES_MAX);
    r = build(&c, &roles, true);
    assert_int_equal(sent(&r, "baggage").n, BAGGAGE_BYTES_MAX);
    assert_sent(&r, "x-offshoot-context", "v1m.fix.0.0b");
    dark_request_release(&r);
}

static void no_memory_is_told(void **state)
{
    struct captured c;
    const struct dark_part part = {.candidate = true};
    struct dark_request r;
    (void)state;
    captured_init(&c);
    const struct dark_source source = dark_source_of(&c.x);
    mem_fail_nth(1);
    assert_int_equal(dark_request_build(&r, &source, &part), -12);
    mem_fail_nth(0);
    dark_request_release(&r);
}

/* ---- replies ---- */

static void assert_counts(enum h2call_end end, uint32_t reset, const char *word,
    const char *dropped, enum reply_outcome want)
{
    struct field f = {.name = "x-offshoot-error",
        .name_len = 16,
        .value = word,
        .value_len = word ? (uint32_t)strlen(word) : 0,
        .id = FIELD_X_OFFSHOOT_ERROR};
    struct h2reply r = {
        .end = end, .reset = reset, .status = 502, .fields = &f, .nfields = word ? 1 : 0};
    enum reply_outcome got = REPLY_WHOLE;
    const char *why = dark_outcome(&r, &got);
    if (!dropped) {
        assert_null(why);
        assert_int_equal(got, want);
    } else {
        assert_non_null(why);
        assert_string_equal(why, dropped);
        assert_ptr_not_equal(why, word); /* it outlives the reply */
    }
}

static void what_a_provider_did_is_data_and_what_became_of_the_way_is_not(void **state)
{
    static const char *const lost[] = {"dark-blocked", "context", "unknown-environment",
        "forbidden", "loop", "overload", "rate-limited", "too-large", "removed", "expired"};
    (void)state;
    assert_counts(H2CALL_WHOLE, 0, NULL, NULL, REPLY_WHOLE);
    assert_counts(H2CALL_WHOLE, 0, "connect", NULL, REPLY_TRANSPORT);
    assert_counts(H2CALL_WHOLE, 0, "bad-reply", NULL, REPLY_TRANSPORT);
    assert_counts(H2CALL_WHOLE, 0, "unhealthy", NULL, REPLY_TRANSPORT);
    assert_counts(H2CALL_WHOLE, 0, "timeout", NULL, REPLY_TIMEOUT);
    for (size_t i = 0; i < sizeof(lost) / sizeof(*lost); i++) {
        char copy[32];
        strcpy(copy, lost[i]);
        assert_counts(H2CALL_WHOLE, 0, copy, lost[i], REPLY_WHOLE);
    }
    assert_counts(H2CALL_WHOLE, 0, "of-a-later-version", "refused", REPLY_WHOLE);
    assert_counts(H2CALL_TIMEOUT, 0, NULL, NULL, REPLY_TIMEOUT);
    assert_counts(H2CALL_RESET, 2, NULL, NULL, REPLY_TRANSPORT);
    assert_counts(H2CALL_BROKEN, 0, NULL, NULL, REPLY_TRANSPORT);
    assert_counts(H2CALL_RESET, 7, NULL, "connection", REPLY_WHOLE);
    assert_counts(H2CALL_LOST, 0, NULL, "connection", REPLY_WHOLE);
    assert_counts(H2CALL_TOO_LARGE, 0, NULL, "too-large", REPLY_WHOLE);
    assert_counts(H2CALL_MEMORY, 0, NULL, "memory", REPLY_WHOLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trace_ids_follow_the_rule_that_proxies_know),
        cmocka_unit_test(the_users_fields_go_in_their_order),
        cmocka_unit_test(what_belongs_to_the_users_request_stays_behind),
        cmocka_unit_test(credentials_go_to_the_candidate_only_when_told),
        cmocka_unit_test(fields_of_the_session_stand_in_for_the_users),
        cmocka_unit_test(an_idempotency_key_is_the_roles_own),
        cmocka_unit_test(who_asked_is_said_as_by_the_gateway_that_the_client_came_to),
        cmocka_unit_test(the_length_is_that_of_the_body_and_te_that_of_grpc),
        cmocka_unit_test(baggage_of_others_stays_in_its_order_and_ours_comes_last),
        cmocka_unit_test(baggage_that_is_full_stays_and_the_other_carrier_has_the_token),
        cmocka_unit_test(no_memory_is_told),
        cmocka_unit_test(what_a_provider_did_is_data_and_what_became_of_the_way_is_not),
    };
    return unit_run(tests);
}
