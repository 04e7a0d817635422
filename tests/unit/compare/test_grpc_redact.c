#include "lib/compare/redact_int.h"

#include "lib/graph/pb.h"
#include "tests/unit/compare/deflated.h"
#include "tests/unit/unit.h"

static const char card[] = "4111111111111111";
static const char mail[] = "anna.berg@example.org";

static struct redact *rules(void)
{
    struct err e = {0};
    const struct redact_options o = {.key = "0123456789abcde"};
    struct redact *r = redact_new(&o, &e);
    if (!r)
        fail_msg("%s", e.text);
    return r;
}

static void frame(struct pb_out *body, uint8_t flag, struct str message)
{
    const uint8_t head[] = {flag, (uint8_t)(message.n >> 24), (uint8_t)(message.n >> 16),
        (uint8_t)(message.n >> 8), (uint8_t)message.n};
    pb_raw(body, head, sizeof(head));
    pb_raw(body, message.p, message.n);
}

static bool holds(struct str s, const char *secret)
{
    return memmem(s.p, s.n, secret, strlen(secret)) != NULL;
}

/* The mark of a secret, as the rules write it. */
static struct str mark_of(const struct redact *r, const char *secret, struct text *out)
{
    redact_mark(r, str_c(secret), out);
    return str_of(out->p, out->n);
}

/* Frames of body, each message redacted to what stands at the same place in want. */
static void assert_redacts(struct pb_out *body, struct pb_out *want)
{
    struct redact *r = rules();
    struct text out = {0};
    bool any = false, changed = !str_eq(pb_str(body), pb_str(want));
    assert_true(grpc_body_redact(r, NULL, pb_str(body), &out, &any));
    assert_int_equal(any, changed);
    assert_int_equal(out.n, want->n);
    assert_memory_equal(out.p, want->p, want->n);
    text_release(&out);
    redact_free(r);
    pb_release(body);
    pb_release(want);
}

static void what_has_no_secret_stays(void **state)
{
    (void)state;
    struct pb_out body = {0}, want = {0};
    static const char message[] = "\x08\x96\x01\x12\x05hello\x1a\x02\x08\x01\x25\x01\x02\x03\x04"
                                  "\x29\x01\x02\x03\x04\x05\x06\x07\x08\x32\x02\xff\x00";
    frame(&body, 0, STR(message));
    frame(&body, 0, STR(""));
    frame(&want, 0, STR(message));
    frame(&want, 0, STR(""));
    assert_redacts(&body, &want);
}

/* m { 1: "x", 2 { 3: secret, 4: 7 }, 5: 9 } */
static void put_nested(struct pb_out *o, struct str secret)
{
    pb_bytes(o, 1, STR("x"));
    size_t at = pb_begin(o, 2);
    pb_bytes(o, 3, secret);
    pb_uint(o, 4, 7);
    pb_end(o, at);
    pb_uint(o, 5, 9);
}

static void a_nested_secret_goes_and_lengths_are_right(void **state)
{
    (void)state;
    struct redact *r = rules();
    struct text mark = {0};
    struct pb_out m = {0}, body = {0}, want = {0};
    put_nested(&m, STR(card));
    frame(&body, 0, pb_str(&m));
    frame(&body, 0, STR("\x08\x01"));
    pb_release(&m);
    put_nested(&m, mark_of(r, card, &mark));
    frame(&want, 0, pb_str(&m));
    frame(&want, 0, STR("\x08\x01"));
    pb_release(&m);
    assert_redacts(&body, &want);
    text_release(&mark);
    redact_free(r);
}

/* Whatever stands around it, nothing of the secret is left, and the frames are whole. */
static void assert_gone(uint8_t flag, struct str message, const char *secret)
{
    struct redact *r = rules();
    struct pb_out body = {0};
    struct text out = {0}, again = {0};
    bool any = false;
    frame(&body, flag, message);
    frame(&body, 0, STR("\x08\x01"));
    assert_true(grpc_body_redact(r, NULL, pb_str(&body), &out, &any));
    assert_true(any);
    assert_false(holds(str_of(out.p, out.n), secret));
    assert_true(out.n > 7);
    assert_memory_equal(out.p + out.n - 7, "\0\0\0\0\x02\x08\x01", 7);
    assert_true(grpc_body_redact(r, NULL, str_of(out.p, out.n), &again, &any));
    assert_true(str_eq(str_of(again.p, again.n), str_of(out.p, out.n)));
    text_release(&out);
    text_release(&again);
    pb_release(&body);
    redact_free(r);
}

static void secrets_go_wherever_they_stand(void **state)
{
    (void)state;
    struct pb_out m = {0};
    char text[128], packed[256];
    snprintf(text, sizeof(text), "write to %s, please", mail);
    pb_bytes(&m, 1, str_c(text)); /* within a text */
    assert_gone(0, pb_str(&m), mail);
    assert_gone(1, deflated(31, pb_str(&m), packed, sizeof(packed)), mail);
    assert_gone(1, deflated(15, pb_str(&m), packed, sizeof(packed)), mail);
    pb_release(&m);
    int n = snprintf(text, sizeof(text), "\xff\xfe %s", mail); /* within bytes */
    pb_bytes(&m, 1, str_of(text, (size_t)n));
    assert_gone(0, pb_str(&m), mail);
    pb_release(&m);
    assert_gone(0, str_c(text), mail); /* in what is no message */
    n = snprintf(text, sizeof(text), "{\"mail\": \"%s\"}", mail);
    assert_gone(0, str_of(text, (size_t)n), mail);
    assert_gone(1, str_of(text, (size_t)n), mail); /* said to be packed, and is not */
}

static void nest(struct pb_out *o, unsigned depth, struct str secret)
{
    if (depth == 0) {
        pb_uint(o, 1, 300); /* no text, so that all around it are messages */
        pb_bytes(o, 2, secret);
        return;
    }
    size_t at = pb_begin(o, 1);
    nest(o, depth - 1, secret);
    pb_end(o, at);
}

static void depth_hides_nothing(void **state)
{
    (void)state;
    for (unsigned depth = 1; depth < 200; depth += 9) {
        struct pb_out m = {0};
        nest(&m, depth, STR(mail));
        assert_gone(0, pb_str(&m), mail);
        pb_release(&m);
    }
}

/* A text may parse as a message whose "fields" cut the secret in two: field 1 of 10 bytes, then "m"
 * and 4 bytes, then "p" and one; field 1 of 7 bytes, then "1" and 8 bytes. */
static void a_secret_across_two_fields_goes(void **state)
{
    (void)state;
    struct pb_out m = {0};
    pb_bytes(&m, 1,
        STR("\n\x0a"
            "anna.berg@mops.pl"));
    assert_gone(0, pb_str(&m), "berg@mops");
    pb_release(&m);
    pb_bytes(&m, 1,
        STR("\n\x07"
            "4111111111111111"));
    assert_gone(0, pb_str(&m), card);
    pb_release(&m);
}

static void what_is_not_framed_is_told(void **state)
{
    (void)state;
    struct redact *r = rules();
    static const char *const bad[] = {"x", "{\"a\": 1}", "\x02...."};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct text out = {0};
        bool any = false;
        assert_false(grpc_body_redact(r, NULL, str_c(bad[i]), &out, &any));
        assert_int_equal(out.n, 0);
        text_release(&out);
    }
    redact_free(r);
}

static void memory_that_runs_out_is_told(void **state)
{
    (void)state;
    struct redact *r = rules();
    struct pb_out m = {0}, body = {0};
    put_nested(&m, STR(card));
    frame(&body, 0, pb_str(&m));
    pb_release(&m);
    struct text whole = {0};
    bool any;
    assert_true(grpc_body_redact(r, NULL, pb_str(&body), &whole, &any));
    unsigned long n = 1;
    for (;; n++) {
        struct text out = {0};
        mem_fail_nth(n);
        bool made = grpc_body_redact(r, NULL, pb_str(&body), &out, &any);
        bool all = mem_count() < n;
        mem_fail_nth(0);
        assert_true(made);
        assert_true(all ? str_eq(str_of(out.p, out.n), str_of(whole.p, whole.n)) : out.failed != 0);
        text_release(&out);
        if (all)
            break;
    }
    assert_true(n > 3);
    text_release(&whole);
    pb_release(&body);
    redact_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_no_secret_stays),
        cmocka_unit_test(a_nested_secret_goes_and_lengths_are_right),
        cmocka_unit_test(secrets_go_wherever_they_stand),
        cmocka_unit_test(depth_hides_nothing),
        cmocka_unit_test(a_secret_across_two_fields_goes),
        cmocka_unit_test(what_is_not_framed_is_told),
        cmocka_unit_test(memory_that_runs_out_is_told),
    };
    return unit_run(tests);
}
