#include "ctl/live.h"
#include "tests/unit/unit.h"
#include <errno.h>

static void assert_refusal_text(const char *answer, const char *want)
{
    struct text body = {0};
    text_add(&body, str_c(answer));
    struct str have = live_refusal_text(&body);
    if (want)
        assert_non_null(have.p);
    else
        assert_null(have.p);
    assert_str(have, want ? want : "");
    text_release(&body);
}

static void assert_refusal_json(const char *answer, const char *want)
{
    struct text body = {0};
    char room[32];
    text_add(&body, str_c(answer));
    struct str have = live_refusal_json(&body, room);
    if (want)
        assert_non_null(have.p);
    else
        assert_null(have.p);
    assert_str(have, want ? want : "");
    text_release(&body);
}

static void reads_the_outcome_off_the_first_line(void **state)
{
    (void)state;
    assert_refusal_text("cart in a: provided by a (class local, distance 0)\n  why: x\n", "");
    assert_refusal_text("cart in a: provided by tools (class shared)\n", "");
    assert_refusal_text("cart in a: refused: removed (status 404)\n  why: (class x)\n", "removed");
    assert_refusal_text("cart in a: refused: no-service (status 404)", "no-service");
}

static void names_that_look_like_outcomes_do_not_mislead(void **state)
{
    (void)state;
    assert_refusal_text("x in a (class local): refused: expired (status 410)\n", "expired");
    assert_refusal_text("x: refused: expired (status 410) in a: provided by a (class local)\n", "");
}

static void text_that_is_no_decision_has_no_outcome(void **state)
{
    (void)state;
    assert_refusal_text("", NULL);
    assert_refusal_text("\n", NULL);
    assert_refusal_text("(", NULL);
    assert_refusal_text(" (status 404)\n", NULL);
    assert_refusal_text("refused: removed (status 404)\n", NULL);
    assert_refusal_text("hello\ncart in a: refused: removed (status 404)\n", NULL);
}

static void reads_the_outcome_of_json(void **state)
{
    (void)state;
    assert_refusal_json("{\"refusal\":null,\"status\":null}\n", "");
    assert_refusal_json("{\"refusal\":\"removed\"}", "removed");
    assert_refusal_json(
        "{\"refusal\":\"0123456789012345678901234567890\"}", "0123456789012345678901234567890");
    assert_refusal_json("{\"refusal\":\"01234567890123456789012345678901\"}", NULL);
    assert_refusal_json("{\"refusal\":7}", NULL);
    assert_refusal_json("{}", NULL);
    assert_refusal_json("[]", NULL);
    assert_refusal_json("", NULL);
    assert_refusal_json("{\"refusal\":null", NULL);
}

static void targets_encode_what_they_carry(void **state)
{
    (void)state;
    struct target t;
    target_start(&t, "/environments/", "a/../b?c");
    target_param(&t, "header", "x: a+b&c=%d\n\xff");
    target_param(&t, "trusted", "1");
    assert_str(str_of(t.text.p, t.text.n),
        "/environments/a%2F..%2Fb%3Fc?header=x%3A%20a%2Bb%26c%3D%25d%0A%FF&trusted=1");
    text_release(&t.text);
    target_start(&t, "/status", NULL);
    assert_str(str_of(t.text.p, t.text.n), "/status");
    text_release(&t.text);
}

static void epochs_are_plain_positive_numbers(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(live_epoch("--at", "1", &e), 0);
    assert_int_equal(live_epoch("--at", "9223372036854775807", &e), 0);
    static const char *const wrong[] = {"", "0", "-1", "+1", "1 ", "0x1", "017", "one", "1.0",
        "9223372036854775808", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(live_epoch("--at", wrong[i], &e), -EINVAL);
    assert_string_equal(e.text, "--at is the number of an epoch, not '99999999999999999999'");
}

static void assert_refused(long status, const char *body, enum status want, const char *why)
{
    struct live_reply r = {.status = status};
    struct err e = {0};
    text_add(&r.body, str_c(body));
    assert_int_equal(live_refused(&r, &e), want);
    assert_string_equal(e.text, why);
    assert_true(e.code < 0);
    text_release(&r.body);
}

static void refusals_of_the_socket_become_statuses(void **state)
{
    (void)state;
    assert_refused(404, "no such thing\n", STATUS_NOT_FOUND, "no such thing");
    assert_refused(404, "{\"error\":\"nothing\"}\n", STATUS_NOT_FOUND, "nothing");
    assert_refused(409, "not valid\nmore\n", STATUS_NO, "not valid");
    assert_refused(403, "{\"error\":\"not yours\"}", STATUS_ERROR, "not yours");
    assert_refused(500, "<HTML>", STATUS_ERROR, "the program answers with HTTP status 500");
    assert_refused(503, "", STATUS_ERROR, "the program answers with HTTP status 503");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_outcome_off_the_first_line),
        cmocka_unit_test(names_that_look_like_outcomes_do_not_mislead),
        cmocka_unit_test(text_that_is_no_decision_has_no_outcome),
        cmocka_unit_test(reads_the_outcome_of_json),
        cmocka_unit_test(targets_encode_what_they_carry),
        cmocka_unit_test(epochs_are_plain_positive_numbers),
        cmocka_unit_test(refusals_of_the_socket_become_statuses),
    };
    return unit_run(tests);
}
