/* Whether the context goes along, by the hops of users' and of dark requests. */
#include "agent/canary.h"
#include "tests/unit/unit.h"

#define WAIT_MS 1000u

static unsigned char traces[64][2][TRACE_BYTES]; /* of users, of secondaries */

static int make_traces(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        memset(traces[i][0], (int)(i + 1), TRACE_BYTES);
        memset(traces[i][1], (int)(i + 101), TRACE_BYTES);
    }
    return 0;
}

static void hop(
    struct canary *c, const unsigned char *trace, const char *service, enum hop_kind kind)
{
    struct hop h = {
        .node = STR("gw-1"), .service = str_c(service), .environment = STR("main"), .kind = kind};
    memcpy(h.trace_id, trace, TRACE_BYTES);
    canary_hop(c, &h, true);
}

static void answered(struct canary *c, unsigned i, bool entry, uint64_t now)
{
    struct canary_attempt a = {.primary = traces[i][0],
        .dark = traces[i][1],
        .service = STR("shop"),
        .entry = entry,
        .wait_ms = WAIT_MS};
    canary_answered(c, &a, now);
}

static void trace_without_inner_hops_proves_it_after_three_attempts(void **state)
{
    struct canary *c = canary_new();
    (void)state;
    for (unsigned i = 0; i < CANARY_PROOF; i++) {
        assert_int_equal(canary_judge(c, 1000 * i), CANARY_UNPROVED);
        hop(c, traces[i][0], "shop", HOP_OF_SAMPLED);
        hop(c, traces[i][1], "shop", HOP_OF_DARK);
        answered(c, i, true, 1000 * i);
    }
    assert_int_equal(canary_judge(c, 2000 + WAIT_MS - 1), CANARY_UNPROVED);
    assert_int_equal(canary_judge(c, 2000 + WAIT_MS), CANARY_PROVED);
    assert_int_equal(canary_attempts(c), 3);
    assert_int_equal(canary_services(c), 1);
    assert_int_equal(canary_service(c, 0).sampled, 3);
    assert_int_equal(canary_service(c, 0).dark, 3);
    assert_string_equal(canary_why(c), "");
    canary_free(c);
}

/* Hops may come before and after the reply. */
static void inner_service_must_be_reached_before_it_is_proved(void **state)
{
    struct canary *c = canary_new();
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        hop(c, traces[i][0], "shop", HOP_OF_SAMPLED);
        hop(c, traces[i][0], "cart", HOP_OF_SAMPLED);
        hop(c, traces[i][1], "shop", HOP_OF_DARK);
        answered(c, i, true, 0);
        if (i == 3)
            hop(c, traces[i][1], "cart", HOP_OF_DARK);
        assert_int_equal(canary_judge(c, WAIT_MS), i == 3 ? CANARY_PROVED : CANARY_UNPROVED);
    }
    assert_int_equal(canary_service(c, 1).dark, 1);
    canary_free(c);
}

static void service_that_no_dark_request_reaches_ends_it_named(void **state)
{
    struct canary *c = canary_new();
    (void)state;
    for (unsigned i = 0; i < CANARY_ATTEMPTS; i++) {
        hop(c, traces[i][0], "cart", HOP_OF_SAMPLED);
        hop(c, traces[i][1], "shop", HOP_OF_DARK);
        answered(c, i, true, 0);
        enum canary_state want = i + 1 == CANARY_ATTEMPTS ? CANARY_LOST : CANARY_UNPROVED;
        assert_int_equal(canary_judge(c, WAIT_MS), want);
    }
    assert_non_null(strstr(canary_why(c), "service 'cart' in 5 attempts"));
    canary_free(c);
}

/* Of a request that a service made, what lies before it is in the same trace. */
static void trace_of_an_inner_exchange_is_not_judged_by_services_before_it(void **state)
{
    struct canary *c = canary_new();
    (void)state;
    for (unsigned i = 0; i < CANARY_ATTEMPTS + 1; i++) {
        hop(c, traces[i][0], "front", HOP_OF_SAMPLED);
        hop(c, traces[i][0], "shop", HOP_OF_SAMPLED);
        hop(c, traces[i][1], "shop", HOP_OF_DARK);
        answered(c, i, false, 0);
    }
    assert_int_equal(canary_judge(c, WAIT_MS), CANARY_PROVED);
    canary_free(c);
}

static void lost_context_counts_whenever_it_is_told(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 3; order++) {
        struct canary *c = canary_new();
        if (order == 0) /* before the reply */
            hop(c, traces[0][1], "stock", HOP_OF_LOST);
        assert_int_equal(canary_judge(c, 0), CANARY_UNPROVED);
        if (order < 2)
            answered(c, 0, true, 0);
        else
            canary_claim(c, traces[0][1]);
        if (order)
            hop(c, traces[0][1], "stock", HOP_OF_LOST);
        assert_int_equal(canary_judge(c, 0), CANARY_LOST);
        assert_non_null(strstr(canary_why(c), "service 'stock' at proxy 'gw-1'"));
        assert_non_null(strstr(canary_why(c), "environment 'main'"));
        assert_int_equal(canary_service(c, order == 1).lost, 1);
        canary_free(c);
    }
}

static void lost_context_of_another_session_does_not_count(void **state)
{
    struct canary *c = canary_new();
    (void)state;
    hop(c, traces[9][1], "stock", HOP_OF_LOST);
    answered(c, 0, true, 0);
    assert_int_equal(canary_judge(c, WAIT_MS), CANARY_UNPROVED);
    canary_free(c);
}

static void lost_stays_lost_and_ends_a_proof(void **state)
{
    struct canary *c = canary_new();
    (void)state;
    for (unsigned i = 0; i < CANARY_PROOF; i++)
        answered(c, i, true, 0);
    assert_int_equal(canary_judge(c, WAIT_MS), CANARY_PROVED);
    hop(c, traces[0][1], "stock", HOP_OF_LOST);
    assert_int_equal(canary_judge(c, WAIT_MS), CANARY_LOST);
    for (unsigned i = 0; i < CANARY_PROOF; i++)
        answered(c, i + 10, true, 2000);
    assert_int_equal(canary_judge(c, 9000), CANARY_LOST);
    canary_reset(c);
    assert_int_equal(canary_judge(c, 9000), CANARY_UNPROVED);
    assert_string_equal(canary_why(c), "");
    canary_free(c);
}

static void sampled_traces_of_other_sessions_are_left_alone(void **state)
{
    struct canary *c = canary_new();
    struct hop h = {.service = STR("cart"), .kind = HOP_OF_SAMPLED};
    (void)state;
    canary_hop(c, &h, false);
    assert_int_equal(canary_services(c), 0);
    canary_free(c);
}

static void blocked_requests_are_counted_once(void **state)
{
    struct canary *c = canary_new();
    (void)state;
    hop(c, traces[0][1], "cart", HOP_OF_BLOCKED);
    assert_int_equal(canary_blocked(c), 0);
    canary_claim(c, traces[0][1]);
    canary_claim(c, traces[0][1]);
    assert_int_equal(canary_blocked(c), 1);
    hop(c, traces[0][1], "cart", HOP_OF_BLOCKED);
    assert_int_equal(canary_blocked(c), 2);
    canary_free(c);
}

/* The users' traces that come meanwhile would take the places of those that are waited for. */
static void service_that_is_not_reached_is_found_under_any_traffic(void **state)
{
    struct canary *c = canary_new();
    unsigned char other[TRACE_BYTES] = {0};
    (void)state;
    for (unsigned i = 0; i < CANARY_ATTEMPTS; i++) {
        hop(c, traces[i][0], "shop", HOP_OF_SAMPLED);
        hop(c, traces[i][0], "cart", HOP_OF_SAMPLED);
        hop(c, traces[i][1], "shop", HOP_OF_DARK);
        answered(c, i, true, 0);
    }
    for (unsigned i = 0; i < 3 * CANARY_TRACES; i++) {
        other[0] = (unsigned char)i;
        memcpy(other + 1, &i, sizeof i);
        hop(c, other, "shop", HOP_OF_SAMPLED);
    }
    assert_int_equal(canary_judge(c, WAIT_MS), CANARY_LOST);
    assert_non_null(strstr(canary_why(c), "service 'cart' in 5 attempts"));
    canary_free(c);
}

/* What is not known of a dark request is not held against its services. */
static void dark_trace_whose_first_hop_is_unknown_says_nothing(void **state)
{
    struct canary *c = canary_new();
    (void)state;
    for (unsigned i = 0; i < CANARY_ATTEMPTS; i++) {
        hop(c, traces[i][0], "shop", HOP_OF_SAMPLED);
        hop(c, traces[i][0], "cart", HOP_OF_SAMPLED);
        answered(c, i, true, 0);
    }
    assert_int_equal(canary_judge(c, WAIT_MS), CANARY_PROVED);
    canary_free(c);
}

static void many_traces_services_and_attempts_stay_bounded(void **state)
{
    struct canary *c = canary_new();
    (void)state;
    for (unsigned i = 0; i < 3 * CANARY_TRACES; i++) {
        unsigned char trace[TRACE_BYTES] = {(unsigned char)i, (unsigned char)(i >> 8), 1};
        char name[16];
        snprintf(name, sizeof name, "s%u", i % (2 * CANARY_SERVICES));
        hop(c, trace, name, HOP_OF_DARK);
        struct canary_attempt a = {trace, trace, STR("shop"), true, WAIT_MS};
        canary_answered(c, &a, 0);
    }
    assert_int_equal(canary_services(c), CANARY_SERVICES);
    canary_judge(c, WAIT_MS);
    assert_int_equal(canary_attempts(c), CANARY_PENDING);
    canary_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trace_without_inner_hops_proves_it_after_three_attempts),
        cmocka_unit_test(inner_service_must_be_reached_before_it_is_proved),
        cmocka_unit_test(service_that_no_dark_request_reaches_ends_it_named),
        cmocka_unit_test(trace_of_an_inner_exchange_is_not_judged_by_services_before_it),
        cmocka_unit_test(lost_context_counts_whenever_it_is_told),
        cmocka_unit_test(lost_context_of_another_session_does_not_count),
        cmocka_unit_test(lost_stays_lost_and_ends_a_proof),
        cmocka_unit_test(sampled_traces_of_other_sessions_are_left_alone),
        cmocka_unit_test(blocked_requests_are_counted_once),
        cmocka_unit_test(service_that_is_not_reached_is_found_under_any_traffic),
        cmocka_unit_test(dark_trace_whose_first_hop_is_unknown_says_nothing),
        cmocka_unit_test(many_traces_services_and_attempts_stay_bounded),
    };
    return unit_end(cmocka_run_group_tests(tests, make_traces, NULL));
}
