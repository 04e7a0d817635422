/* Pins: a request is decided in the held epoch that has the revision it carries. */
#include "lib/graph/pinned.h"
#include "tests/loop/loop.h"
#include <unistd.h>

static struct loop l;

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

/* main provides cart and pay; `feat` is an overlay that says `feat_says`, with `feat_more` beside;
 * `other` is one that says `other_says`. */
static void graph(
    char *to, size_t size, const char *feat_says, const char *feat_more, const char *other_says)
{
    snprintf(to, size,
        LOOP_SERVICE("cart", "") LOOP_CART("\"127.0.0.1:9001\"") LOOP_OVERLAY("feat", "%s%s")
            LOOP_OVERLAY("other", "%s") LOOP_GATEWAY(""),
        feat_says, feat_more, other_says);
}

#define CART(port) ", providers: {cart: {endpoints: [\"127.0.0.1:" port "\"]}}"

static void stage(const char *feat_says, const char *feat_more, const char *other, uint64_t epoch)
{
    char text[2048];
    graph(text, sizeof text, feat_says, feat_more, other);
    loop_stage(&l, text, epoch);
}

/* Epoch 1: feat inherits. */
static void start(const char *feat_more)
{
    char text[2048];
    graph(text, sizeof text, "", feat_more, "");
    loop_start(&l, text, NULL);
    l.shared.pins = true;
}

/* Sends a request with this token to the trusted listener; `want` is what the hop record says. */
static void assert_hop(const char *token, const char *want)
{
    char request[256];
    unsigned before = l.nproviders;
    int c = loop_client(&l, l.trusted);
    snprintf(request, sizeof request,
        "GET / HTTP/1.1\r\nHost: cart\r\nx-offshoot-context: %s\r\n\r\n", token);
    loop_send(&l, c, request);
    if (l.nproviders > before) {
        const char *seen = loop_recv(&l, l.provider[before]);
        char passed[128];
        snprintf(passed, sizeof passed, "x-offshoot-context: %s\r\n", token);
        if (!strstr(token, ".0.") && !strstr(seen, passed)) /* a pin travels on as it came */
            fail_msg("'%s' was not passed on in '%s'", token, seen);
        loop_send(&l, l.provider[before],
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    const char *got = loop_recv(&l, c);
    if (!strstr(got, want))
        fail_msg("'%s' is not in '%s'", want, got);
    close(c);
    loop_turns(&l);
}

static void a_pin_is_served_by_the_epoch_that_has_this_revision(void **state)
{
    (void)state;
    start("");
    stage(CART("9002"), "", "", 2);
    slots_activate(&l.slots, 0);
    loop_publish(&l);
    assert_hop("v1m.feat.2.10", "cart@feat;class=local;rule=explicit;epoch=2\r\n");
    assert_hop("v1m.feat.1.10", "cart@main;class=baseline;rule=explicit;epoch=1\r\n");
    assert_int_equal(loop_count(&l, STAT_PINS_FOLLOWED), 1);
    assert_int_equal(loop_count(&l, STAT_SKEW), 0);
    loop_stop(&l);
}

static void an_epoch_that_is_staged_serves_pins_before_it_is_active(void **state)
{
    (void)state;
    start("");
    stage(CART("9002"), "", "", 2);
    assert_hop("v1m.feat.2.10", "cart@feat;class=local;rule=explicit;epoch=2\r\n");
    assert_hop("v1m.feat.0.10", "cart@main;class=baseline;rule=explicit;epoch=1\r\n");
    loop_stop(&l);
}

static void changes_of_other_environments_skew_nothing(void **state)
{
    (void)state;
    start("");
    stage("", "", CART("9003"), 2);
    slots_activate(&l.slots, 0);
    slots_retire(&l.slots, 1);
    loop_publish(&l);
    assert_hop("v1m.feat.1.10", "cart@main;class=baseline;rule=explicit;epoch=2\r\n");
    assert_int_equal(loop_count(&l, STAT_SKEW) + loop_count(&l, STAT_SKEW_LAST), 0);
    loop_stop(&l);
}

static void a_pin_of_a_later_epoch_is_behind_and_said_so(void **state)
{
    (void)state;
    start("");
    assert_hop("v1m.feat.7.10", ";epoch=1;skew=behind\r\n");
    assert_int_equal(loop_count(&l, STAT_SKEW), 1);
    loop_stop(&l);
}

static void a_pin_of_a_retired_epoch_is_expired_and_said_so(void **state)
{
    (void)state;
    start("");
    stage(CART("9002"), "", "", 2);
    slots_activate(&l.slots, 0);
    slots_retire(&l.slots, 1);
    loop_publish(&l);
    assert_hop("v1m.feat.1.10", "cart@feat;class=local;rule=explicit;epoch=2;skew=expired\r\n");
    assert_int_equal(loop_count(&l, STAT_SKEW_LAST), 1);
    loop_stop(&l);
}

static void a_strict_environment_refuses_a_skewed_pin(void **state)
{
    (void)state;
    start(", strict: true");
    assert_hop("v1m.feat.1.10", "cart@main;class=baseline;rule=explicit;epoch=1\r\n");
    assert_hop("v1m.feat.7.00", "x-offshoot-error: epoch\r\n");
    assert_hop("v1m.feat.7.00", "HTTP/1.1 503 ");
    loop_stop(&l);
}

static void a_pinned_request_may_come_half_a_minute_after_the_expiry(void **state)
{
    (void)state;
    start(", expires: 2030-01-01T00:00:00Z");
    l.w.now_s = 1893456000 + 29;
    assert_hop("v1m.feat.1.10", "cart@main;class=baseline;rule=explicit;epoch=1\r\n");
    assert_hop("v1m.feat.0.00", "x-offshoot-error: expired\r\n");
    l.w.now_s = 1893456000 + 31;
    assert_hop("v1m.feat.1.00", "x-offshoot-error: expired\r\n");
    loop_stop(&l);
}

static void an_environment_known_only_to_a_staged_epoch_is_found_by_its_pin(void **state)
{
    (void)state;
    static const char later[] = LOOP_SERVICE("cart", "") LOOP_CART("\"127.0.0.1:9001\"")
        LOOP_OVERLAY("fresh", "") LOOP_GATEWAY("");
    start("");
    loop_stage(&l, later, 2);
    assert_hop("v1m.fresh.2.10", "cart@main;class=baseline;rule=explicit;epoch=2\r\n");
    assert_hop("v1m.fresh.0.00", "x-offshoot-error: unknown-environment\r\n");
    loop_stop(&l);
}

static void a_request_without_a_pin_gets_the_revision_of_the_active_epoch(void **state)
{
    (void)state;
    start("");
    stage("", "", CART("9003"), 2);
    stage(CART("9002"), "", CART("9003"), 3);
    slots_activate(&l.slots, 0);
    loop_publish(&l);
    int c = loop_client(&l, l.edge);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
    assert_non_null(strstr(loop_recv(&l, l.provider[0]), "x-offshoot-context: v1m.main.1.00\r\n"));
    close(c);
    c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: cart\r\nx-offshoot-context: v1m.feat.0.00\r\n\r\n");
    assert_non_null(strstr(loop_recv(&l, l.provider[1]), "x-offshoot-context: v1m.feat.3.00\r\n"));
    close(c);
    loop_stop(&l);
}

static void without_an_agent_pins_are_ignored_and_none_is_stamped(void **state)
{
    (void)state;
    start("");
    l.shared.pins = false;
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: cart\r\nx-offshoot-context: v1m.feat.7.00\r\n\r\n");
    assert_non_null(strstr(loop_recv(&l, l.provider[0]), "x-offshoot-context: v1m.feat.0.00\r\n"));
    assert_int_equal(loop_count(&l, STAT_PINS_IGNORED), 1);
    assert_int_equal(loop_count(&l, STAT_SKEW), 0);
    close(c);
    loop_stop(&l);
}

static void a_slot_is_free_only_when_the_table_and_every_request_have_left_it(void **state)
{
    (void)state;
    start("");
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: cart\r\nx-offshoot-context: v1m.feat.1.00\r\n\r\n");
    stage(CART("9002"), "", "", 2);
    slots_activate(&l.slots, 0);
    slots_retire(&l.slots, 1);
    slots_reserve(&l.slots, l.reader, 1);
    assert_int_equal(slots_used(&l.slots), 2); /* not published yet */
    loop_publish(&l);
    slots_reserve(&l.slots, l.reader, 1);
    assert_int_equal(slots_used(&l.slots), 2); /* the request waits for its reply */
    loop_send(&l, l.provider[0], OK);
    slots_reserve(&l.slots, l.reader, 1);
    assert_int_equal(slots_used(&l.slots), 1);
    close(c);
    loop_stop(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pin_is_served_by_the_epoch_that_has_this_revision),
        cmocka_unit_test(an_epoch_that_is_staged_serves_pins_before_it_is_active),
        cmocka_unit_test(changes_of_other_environments_skew_nothing),
        cmocka_unit_test(a_pin_of_a_later_epoch_is_behind_and_said_so),
        cmocka_unit_test(a_pin_of_a_retired_epoch_is_expired_and_said_so),
        cmocka_unit_test(a_strict_environment_refuses_a_skewed_pin),
        cmocka_unit_test(a_pinned_request_may_come_half_a_minute_after_the_expiry),
        cmocka_unit_test(an_environment_known_only_to_a_staged_epoch_is_found_by_its_pin),
        cmocka_unit_test(a_request_without_a_pin_gets_the_revision_of_the_active_epoch),
        cmocka_unit_test(without_an_agent_pins_are_ignored_and_none_is_stamped),
        cmocka_unit_test(a_slot_is_free_only_when_the_table_and_every_request_have_left_it),
    };
    return unit_run(tests);
}
