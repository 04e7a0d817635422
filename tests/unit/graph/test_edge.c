#include "tests/unit/graph/request.h"

#include "lib/graph/edge.h"

/* One test's request and gateway. */
struct fixture {
    struct request r;
    struct gateway_text text;
    struct mtext pins[4];
    struct gateway *g;
};

static int setup(void **state)
{
    static struct fixture f;
    f.g = NULL;
    request_init(&f.r, "shop.example.com", "/");
    gateway_text_init(&f.text, "main");
    f.text.m.pin_hosts = f.pins;
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    gateway_unref(f->g);
    return 0;
}

static void pin(struct fixture *f, const char *host)
{
    f->pins[f->text.m.npin_hosts++].s = str_c(host);
}

static const struct context *untrusted(struct fixture *f)
{
    if (!f->g)
        f->g = gateway_build(&f->text);
    return request_pick(&f->r, false, f->g);
}

/* ---- the cookie of a share link ---- */

static void the_cookie_is_read_at_the_place_of_the_query_selector(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HEADER, "x-env", false);
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    gateway_select(&f->text, SELECT_COOKIE, "later", false);
    request_add(&f->r, "cookie", "later=main; offshoot=feat-42");
    const struct context *c = untrusted(f);
    assert_str(c->env, "feat-42");
    assert_int_equal(c->selector, 1);
    assert_true(c->by_cookie);
    assert_false(c->by_query);
    assert_true(request_dropped(&f->r, 0));

    request_init(&f->r, "x", "/");
    request_add(&f->r, "cookie", "offshoot=feat-42");
    request_add(&f->r, "x-env", "main");
    c = untrusted(f);
    assert_int_equal(c->selector, 0);
    assert_false(c->by_cookie);
    assert_true(request_dropped(&f->r, 0));
}

static void the_parameter_of_any_query_selector_beats_the_cookie(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_QUERY, "a", false);
    gateway_select(&f->text, SELECT_QUERY, "b", false);
    static const char *const paths[] = {"/x?a=feat-1", "/x?b=feat-1", "/x?b=feat%2D1&b=feat-1"};
    for (size_t i = 0; i < 3; i++) {
        request_init(&f->r, "x", paths[i]);
        request_add(&f->r, "cookie", "offshoot=feat-42; offshoot=other");
        const struct context *c = untrusted(f);
        assert_int_equal(c->fault, FAULT_NONE);
        assert_str(c->env, "feat-1");
        assert_str(c->said, "feat-1");
        assert_true(c->by_query);
        assert_false(c->by_cookie);
        assert_str(f->r.path, "/x");
    }
    request_init(&f->r, "x", "/x");
    request_add(&f->r, "cookie", "offshoot=feat-42");
    assert_int_equal(untrusted(f)->selector, 1);
}

static void two_cookies_of_different_values_are_a_fault_of_the_cookie(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    request_add(&f->r, "cookie", "offshoot=feat-42");
    request_add(&f->r, "cookie", "a=b; offshoot=main");
    const struct context *c = untrusted(f);
    assert_int_equal(c->fault, FAULT_SELECTOR_TWO_VALUES);
    assert_true(c->by_cookie);
    assert_int_equal(c->env.n, 0);
    request_init(&f->r, "x", "/");
    request_add(&f->r, "cookie", "offshoot=feat-42;offshoot=feat-42");
    assert_str(untrusted(f)->env, "feat-42");
}

static void an_empty_cookie_is_present_and_no_name(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    request_add(&f->r, "cookie", "offshoot=");
    const struct context *c = untrusted(f);
    assert_int_equal(c->rule, RULE_SELECTOR);
    assert_true(c->by_cookie);
    assert_int_equal(c->env.n, 0);
}

static void both_names_are_removed_and_only_the_plain_one_is_read(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    request_add(&f->r, "cookie", "a=1; __Host-offshoot=feat-42; offshoot2=x; b=2");
    const struct context *c = untrusted(f);
    assert_int_equal(c->source, SOURCE_DEFAULT);
    assert_str(field_value(&f->r.fields[0]), "a=1; offshoot2=x; b=2");
}

static void a_gateway_without_a_query_selector_knows_no_cookie(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HEADER, "x-env", false);
    request_add(&f->r, "cookie", "offshoot=feat-42");
    assert_int_equal(untrusted(f)->source, SOURCE_DEFAULT);
    assert_str(field_value(&f->r.fields[0]), "offshoot=feat-42");
}

static void a_trusted_listener_leaves_the_cookie_alone(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    request_add(&f->r, "cookie", "offshoot=feat-42");
    f->g = gateway_build(&f->text);
    assert_int_equal(request_pick(&f->r, true, f->g)->source, SOURCE_DEFAULT);
    assert_false(request_dropped(&f->r, 0));
    assert_str(field_value(&f->r.fields[0]), "offshoot=feat-42");
}

static void a_parameter_that_cannot_be_taken_out_takes_the_query_along(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    request_init(&f->r, "x", "/x?a=1&env=secret&b=2");
    f->r.scratch.size = 2;
    const struct context *c = untrusted(f);
    assert_int_equal(c->fault, FAULT_SELECTOR_VALUE);
    assert_str(f->r.path, "/x");
}

/* ---- hosts that pin ---- */

static void pin_hosts_are_compared_as_hosts(void **state)
{
    struct fixture *f = *state;
    pin(f, "shop.example.com");
    pin(f, "[::1]");
    f->g = gateway_build(&f->text);
    static const char *const pinned[] = {"shop.example.com", "SHOP.Example.com:8080",
        "shop.example.com.", "shop.example.com.:1", "[::1]", "[::1]:80"};
    for (size_t i = 0; i < sizeof(pinned) / sizeof(pinned[0]); i++)
        assert_true(gateway_pins(f->g, str_c(pinned[i])));
    static const char *const others[] = {
        "", "shop.example", "a.shop.example.com", "shop.example.com.evil", ".", ":80"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(gateway_pins(f->g, str_c(others[i])));
}

static void without_pin_hosts_nothing_pins(void **state)
{
    struct fixture *f = *state;
    f->g = gateway_build(&f->text);
    assert_false(gateway_pins(f->g, STR("")));
    assert_false(gateway_pins(f->g, STR("shop.example.com")));
}

/* ---- Vary ---- */

static void vary_names_each_header_once_in_order(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HOST, "*.preview.example.com", false);
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    gateway_select(&f->text, SELECT_HEADER, "x-env", false);
    gateway_select(&f->text, SELECT_COOKIE, "env", false);
    gateway_select(&f->text, SELECT_BAGGAGE, "sd", false);
    gateway_select(&f->text, SELECT_TRACESTATE, "sd", true);
    gateway_select(&f->text, SELECT_HEADER, "x-env", true);
    f->g = gateway_build(&f->text);
    assert_str(gateway_vary(f->g, false), "cookie, x-env, baggage, tracestate");
    assert_str(gateway_vary(f->g, true), "cookie, x-env, baggage, tracestate, x-offshoot-context, "
                                         "uberctx-offshoot, ot-baggage-offshoot");
}

static void a_gateway_that_only_hosts_decide_needs_no_vary(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HOST, "*.preview.example.com", false);
    f->g = gateway_build(&f->text);
    assert_str(gateway_vary(f->g, false), "");
    assert_str(gateway_vary(f->g, true),
        "baggage, x-offshoot-context, uberctx-offshoot, ot-baggage-offshoot");
}

static void what_a_carrier_chose_is_private(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HOST, "*.preview.example.com", false);
    gateway_select(&f->text, SELECT_HEADER, "x-env", false);
    f->g = gateway_build(&f->text);
    struct context c = {.rule = RULE_DEFAULT, .selector = -1};
    assert_false(context_is_private(&c, f->g));
    c = (struct context){.rule = RULE_SELECTOR, .selector = 0};
    assert_false(context_is_private(&c, f->g));
    c.selector = 1;
    assert_true(context_is_private(&c, f->g));
    c = (struct context){.rule = RULE_EXPLICIT, .selector = -1};
    assert_true(context_is_private(&c, f->g));
}

static void a_star_in_vary_is_found_among_names(void **state)
{
    (void)state;
    assert_true(vary_is_any(STR("*")));
    assert_true(vary_is_any(STR("accept,\t* , origin")));
    assert_false(vary_is_any(STR("accept, x-*")));
    assert_false(vary_is_any(STR("")));
}

/* ---- Cache-Control ---- */

static void directives_are_split_outside_quotes(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "public", "private=\"a, b\\\", c\"", "max-age=60", "x", "\"open, to the end"};
    struct str rest = STR(" public ,, private=\"a, b\\\", c\",max-age=60 ,x,\"open, to the end"), d;
    for (size_t i = 0; i < 5; i++) {
        assert_true(cache_control_next(&rest, &d));
        assert_str(d, expected[i]);
    }
    assert_false(cache_control_next(&rest, &d));
    rest = STR("\"\\");
    assert_true(cache_control_next(&rest, &d));
    assert_false(cache_control_next(&rest, &d));
}

static void directives_mean_what_they_say(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum cache_directive is;
    } rows[] = {
        {"private", CACHE_PRIVATE},
        {"Private", CACHE_PRIVATE},
        {"private=\"set-cookie\"", CACHE_OTHER},
        {"no-store", CACHE_NO_STORE},
        {"must-understand", CACHE_MUST_UNDERSTAND},
        {"PUBLIC", CACHE_SHARED},
        {"s-maxage=60", CACHE_SHARED},
        {"s-maxage = 60", CACHE_SHARED},
        {"max-age=60", CACHE_OTHER},
        {"publicity", CACHE_OTHER},
        {"", CACHE_OTHER},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(cache_directive_of(str_c(rows[i].text)), rows[i].is);
    assert_true(cache_field_targeted(STR("cdn-cache-control")));
    assert_true(cache_field_targeted(STR("cloudflare-cdn-cache-control")));
    assert_true(cache_field_targeted(STR("surrogate-control")));
    assert_false(cache_field_targeted(STR("cache-control")));
}

/* ---- CORS ---- */

#define ASKED "access-control-request-headers"

static struct str taken(struct fixture *f, bool own)
{
    if (!f->g)
        f->g = gateway_build(&f->text);
    return cors_take_names(f->r.fields, f->r.n, f->g, own, &f->r.scratch);
}

static void preflight(struct fixture *f, const char *asked)
{
    request_init(&f->r, "shop.example.com", "/");
    request_add(&f->r, "origin", "http://app.example.com");
    request_add(&f->r, "access-control-request-method", "GET");
    request_add(&f->r, ASKED, asked);
}

static void names_of_selectors_leave_a_preflight(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HEADER, "x-env", false);
    gateway_select(&f->text, SELECT_TRACESTATE, "sd", false);
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    preflight(f, "authorization,X-Env , x-offshoot-context,tracestate,cookie");
    assert_str(taken(f, false), "X-Env, tracestate");
    assert_str(field_value(&f->r.fields[2]), "authorization, x-offshoot-context, cookie");
}

static void own_carriers_leave_it_where_tokens_are_believed(void **state)
{
    struct fixture *f = *state;
    preflight(f, "x-offshoot-context,baggage, uberctx_offshoot,X-Offshoot-Explain,OT-Baggage-"
                 "Offshoot");
    assert_str(taken(f, false), "");
    assert_str(
        taken(f, true), "x-offshoot-context, baggage, uberctx_offshoot, OT-Baggage-Offshoot");
    assert_str(field_value(&f->r.fields[2]), "X-Offshoot-Explain");
}

static void a_preflight_that_asked_for_nothing_else_loses_the_field(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HEADER, "x-env", false);
    preflight(f, "x-env");
    request_add(&f->r, ASKED, "x-env,a");
    assert_str(taken(f, false), "x-env, x-env");
    assert_true(request_dropped(&f->r, 2));
    assert_str(field_value(&f->r.fields[3]), "a");
}

static void what_is_no_preflight_stays_as_it_is(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HEADER, "x-env", false);
    preflight(f, "a, b");
    assert_str(taken(f, false), "");
    assert_str(field_value(&f->r.fields[2]), "a, b");
    for (unsigned missing = 0; missing < 3; missing++) {
        preflight(f, "x-env, b");
        f->r.fields[missing] = f->r.fields[2];
        f->r.n = missing == 2 ? 2 : 3;
        assert_str(taken(f, false), "");
    }
    preflight(f, "x-env, b");
    f->r.scratch.size = 12;
    assert_str(taken(f, false), "");
    assert_str(field_value(&f->r.fields[2]), "x-env, b");
}

static void memory_that_runs_out_gives_no_gateway(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    pin(f, "shop.example.com");
    for (unsigned long n = 1;; n++) {
        mem_fail_nth(n);
        f->g = gateway_new(&f->text.m, number_by_digits, NULL);
        mem_fail_nth(0);
        if (f->g)
            break;
        assert_int_equal(mem_live(), 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_cookie_is_read_at_the_place_of_the_query_selector),
        TEST(the_parameter_of_any_query_selector_beats_the_cookie),
        TEST(two_cookies_of_different_values_are_a_fault_of_the_cookie),
        TEST(an_empty_cookie_is_present_and_no_name),
        TEST(both_names_are_removed_and_only_the_plain_one_is_read),
        TEST(a_gateway_without_a_query_selector_knows_no_cookie),
        TEST(a_trusted_listener_leaves_the_cookie_alone),
        TEST(a_parameter_that_cannot_be_taken_out_takes_the_query_along),
        TEST(pin_hosts_are_compared_as_hosts),
        TEST(without_pin_hosts_nothing_pins),
        TEST(vary_names_each_header_once_in_order),
        TEST(a_gateway_that_only_hosts_decide_needs_no_vary),
        TEST(what_a_carrier_chose_is_private),
        TEST(a_star_in_vary_is_found_among_names),
        TEST(directives_are_split_outside_quotes),
        TEST(directives_mean_what_they_say),
        TEST(names_of_selectors_leave_a_preflight),
        TEST(own_carriers_leave_it_where_tokens_are_believed),
        TEST(a_preflight_that_asked_for_nothing_else_loses_the_field),
        TEST(what_is_no_preflight_stays_as_it_is),
        TEST(memory_that_runs_out_gives_no_gateway),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
