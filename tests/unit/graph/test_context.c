#include "tests/unit/graph/request.h"

#define TOKEN "v1m.feat-42.z.08"
#define OTHER "v1m.main.0.00"

/* One test's request and gateway. */
struct fixture {
    struct request r;
    struct gateway_text text;
    struct gateway *g;
};

static int setup(void **state)
{
    static struct fixture f;
    f.g = NULL;
    request_init(&f.r, "shop.example.com", "/");
    gateway_text_init(&f.text, "main");
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    gateway_unref(f->g);
    return 0;
}

static const struct context *pick(struct fixture *f, bool trusted)
{
    if (!f->g)
        f->g = gateway_build(&f->text);
    return request_pick(&f->r, trusted, f->g);
}

static const struct context *trusted(struct fixture *f)
{
    return pick(f, true);
}

static const struct context *untrusted(struct fixture *f)
{
    return pick(f, false);
}

/* ---- own carriers at trusted listeners ---- */

static void each_carrier_gives_the_context(void **state)
{
    static const struct {
        const char *name, *value;
        enum context_source source;
    } carriers[] = {
        {"baggage", "a=1,offshoot=" TOKEN, SOURCE_BAGGAGE},
        {"x-offshoot-context", TOKEN, SOURCE_X_OFFSHOOT_CONTEXT},
        {"uberctx-offshoot", TOKEN, SOURCE_UBERCTX},
        {"ot-baggage-offshoot", TOKEN, SOURCE_OT_BAGGAGE},
        {"X_Offshoot_Context", TOKEN, SOURCE_X_OFFSHOOT_CONTEXT},
        {"UberCtx_Offshoot", TOKEN, SOURCE_UBERCTX},
        {"ot_baggage-OFFSHOOT", TOKEN, SOURCE_OT_BAGGAGE},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(carriers) / sizeof(carriers[0]); i++) {
        request_init(&f->r, "x", "/");
        request_add(&f->r, carriers[i].name, carriers[i].value);
        const struct context *c = trusted(f);
        assert_int_equal(c->fault, FAULT_NONE);
        assert_int_equal(c->source, carriers[i].source);
        assert_int_equal(c->rule, RULE_EXPLICIT);
        assert_int_equal(c->selector, -1);
        assert_str(c->env, "feat-42");
        assert_int_equal(c->pin, 35);
        assert_int_equal(c->flags, CONTEXT_NO_EFFECTS);
        assert_int_equal(request_dropped(&f->r, 0), i > 0);
    }
}

static void the_first_carrier_in_order_is_named_and_equal_ones_agree(void **state)
{
    struct fixture *f = *state;
    request_add(&f->r, "ot-baggage-offshoot", TOKEN);
    request_add(&f->r, "uberctx-offshoot", TOKEN);
    request_add(&f->r, "x-offshoot-context", TOKEN);
    request_add(&f->r, "x-offshoot-context", TOKEN);
    assert_int_equal(trusted(f)->source, SOURCE_X_OFFSHOOT_CONTEXT);
    assert_int_equal(f->r.context.fault, FAULT_NONE);
    request_add(&f->r, "baggage", "offshoot=" TOKEN);
    assert_int_equal(trusted(f)->source, SOURCE_BAGGAGE);
    for (unsigned i = 0; i < f->r.n; i++)
        assert_true(request_dropped(&f->r, i));
}

static void two_different_values_are_a_fault(void **state)
{
    static const char *const names[] = {
        "x-offshoot-context", "uberctx-offshoot", "ot-baggage-offshoot", "x_offshoot_context"};
    struct fixture *f = *state;
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 4; j++) {
            request_init(&f->r, "x", "/");
            request_add(&f->r, names[i], TOKEN);
            request_add(&f->r, names[j], OTHER);
            assert_int_equal(trusted(f)->fault, FAULT_TWO_VALUES);
            assert_int_equal(f->r.context.env.n, 0);
        }
    }
    request_init(&f->r, "x", "/");
    request_add(&f->r, "x-offshoot-context", TOKEN);
    request_add(&f->r, "baggage", "offshoot=" OTHER);
    assert_int_equal(trusted(f)->fault, FAULT_TWO_VALUES);
}

static enum context_fault fault_of(struct fixture *f, const char *value)
{
    request_init(&f->r, "x", "/");
    request_add(&f->r, "x-offshoot-context", value);
    enum context_fault fault = trusted(f)->fault;
    assert_int_equal(f->r.context.env.n == 0, fault != FAULT_NONE);
    assert_int_equal(f->r.context.rule, RULE_EXPLICIT);
    assert_true(request_dropped(&f->r, 0));
    return fault;
}

static void what_is_present_but_unusable_is_a_fault_and_never_missing(void **state)
{
    struct fixture *f = *state;
    char longest[TOKEN_MAX + 1];
    assert_int_equal(fault_of(f, ""), FAULT_MALFORMED);
    assert_int_equal(fault_of(f, "feat-42"), FAULT_MALFORMED);
    assert_int_equal(fault_of(f, TOKEN ", " TOKEN), FAULT_MALFORMED);
    assert_int_equal(fault_of(f, "v1e.feat-42.0.00"), FAULT_EDGE_TOKEN);
    assert_int_equal(fault_of(f, "v1m.feat-42.0.00.1.k.AAAAAAAAAAAAAAAAAAAAAA"), FAULT_UNKNOWN_KEY);
    assert_int_equal(fault_of(f, "v1e.feat-42.0.00.1.k.AAAAAAAAAAAAAAAAAAAAAA"), FAULT_EDGE_TOKEN);
    memset(longest, 'a', sizeof(longest));
    longest[TOKEN_MAX - strlen("offshoot=")] = '\0';
    assert_int_equal(fault_of(f, longest), FAULT_MALFORMED);
    longest[TOKEN_MAX - strlen("offshoot=")] = 'a';
    longest[TOKEN_MAX - strlen("offshoot=") + 1] = '\0';
    assert_int_equal(fault_of(f, longest), FAULT_TOO_LONG);
    assert_int_equal(fault_of(f, TOKEN), FAULT_NONE);
}

static void own_carriers_come_before_selectors_at_trusted_listeners(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HEADER, "x-env", false);
    request_add(&f->r, "x-env", "feat-1");
    request_add(&f->r, "baggage", "offshoot=" TOKEN);
    assert_str(trusted(f)->env, "feat-42");
    assert_false(request_dropped(&f->r, 0));
}

/* ---- untrusted listeners ---- */

static void untrusted_carriers_are_removed_counted_and_not_believed(void **state)
{
    struct fixture *f = *state;
    request_add(&f->r, "baggage", "offshoot=" TOKEN ",a=1,OFFSHOOT=x");
    request_add(&f->r, "x-offshoot-context", TOKEN);
    request_add(&f->r, "x_offshoot_context", "junk");
    request_add(&f->r, "uberctx-offshoot", "v1e.feat-42.0.00");
    request_add(&f->r, "ot-baggage-offshoot", OTHER);
    request_add(&f->r, "x-offshoot-explain", "1");
    request_add(&f->r, "x-offshoot-anything", "1");
    request_add(&f->r, "accept", "*/*");
    const struct context *c = untrusted(f);
    assert_int_equal(c->fault, FAULT_NONE);
    assert_int_equal(c->foreign, 6);
    assert_int_equal(c->source, SOURCE_DEFAULT);
    assert_int_equal(c->rule, RULE_DEFAULT);
    assert_str(c->env, "main");
    assert_false(c->explain);
    assert_int_equal(c->pin, 0);
    assert_str(field_value(&f->r.fields[0]), "a=1");
    for (unsigned i = 1; i < 7; i++)
        assert_true(request_dropped(&f->r, i));
    assert_false(request_dropped(&f->r, 7));
}

static void the_count_of_foreign_carriers_stops_at_its_bound(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 255; i++)
        request_add(&f->r, "x-offshoot-context", TOKEN);
    assert_int_equal(untrusted(f)->foreign, 255);
    request_add(&f->r, "x-offshoot-context", TOKEN);
    assert_int_equal(untrusted(f)->foreign, 255);
    assert_true(request_dropped(&f->r, 255));
}

static void explain_is_heard_at_trusted_listeners_only_and_always_removed(void **state)
{
    struct fixture *f = *state;
    request_add(&f->r, "x-offshoot-explain", "1");
    assert_true(trusted(f)->explain);
    assert_true(request_dropped(&f->r, 0));
    request_init(&f->r, "x", "/");
    request_add(&f->r, "x-offshoot-explain", "1");
    assert_false(untrusted(f)->explain);
    assert_true(request_dropped(&f->r, 0));
    request_init(&f->r, "x", "/");
    request_add(&f->r, "x-offshoot-explain", "yes");
    assert_false(trusted(f)->explain);
    request_init(&f->r, "x", "/");
    request_add(&f->r, "x-offshoot-context", "v1m.a.0.10");
    assert_true(trusted(f)->explain);
}

/* ---- default ---- */

static void without_any_carrier_the_default_environment_is_meant(void **state)
{
    struct fixture *f = *state;
    request_add(&f->r, "accept", "*/*");
    assert_str(trusted(f)->env, "main");
    assert_int_equal(f->r.context.source, SOURCE_DEFAULT);
    assert_str(untrusted(f)->env, "main");
}

static void without_a_default_there_is_none(void **state)
{
    struct fixture *f = *state;
    gateway_text_init(&f->text, NULL);
    assert_int_equal(trusted(f)->source, SOURCE_NONE);
    assert_int_equal(f->r.context.rule, RULE_NONE);
    assert_int_equal(f->r.context.env.n, 0);
    assert_int_equal(request_pick(&f->r, true, NULL)->source, SOURCE_NONE);
}

/* ---- selectors ---- */

static void the_first_present_selector_gives_the_name(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HOST, "*.preview.example.com", false);
    gateway_select(&f->text, SELECT_HEADER, "x-env", false);
    gateway_select(&f->text, SELECT_BAGGAGE, "sd-routing-key", false);
    gateway_select(&f->text, SELECT_TRACESTATE, "env", false);
    gateway_select(&f->text, SELECT_COOKIE, "env", false);
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    f->r.path = STR("/?env=six");
    assert_str(untrusted(f)->env, "six");
    assert_int_equal(f->r.context.selector, 5);
    assert_int_equal(f->r.context.source, SOURCE_SELECTOR);
    assert_int_equal(f->r.context.rule, RULE_SELECTOR);

    static const struct {
        const char *name, *value, *env;
    } fields[] = {
        {"cookie", "a=b; env=five", "five"},
        {"tracestate", "v=1,env=four", "four"},
        {"baggage", "sd-routing-key=three;p", "three"},
        {"x-env", "two", "two"},
    };
    for (int i = 0; i < 4; i++) {
        request_init(&f->r, "x", "/?env=six");
        for (int j = 0; j <= i; j++)
            request_add(&f->r, fields[j].name, fields[j].value);
        assert_str(untrusted(f)->env, fields[i].env);
        assert_int_equal(f->r.context.selector, 4 - i);
    }
    f->r.authority = STR("one.preview.example.com:80");
    request_init(&f->r, "one.preview.example.com:80", "/");
    request_add(&f->r, "x-env", "two");
    assert_str(untrusted(f)->env, "one");
    assert_int_equal(f->r.context.selector, 0);
}

static void a_present_selector_decides_even_with_no_name(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HEADER, "x-env", false);
    gateway_select(&f->text, SELECT_COOKIE, "env", false);
    request_add(&f->r, "x-env", "");
    request_add(&f->r, "cookie", "env=feat-1");
    const struct context *c = untrusted(f);
    assert_int_equal(c->source, SOURCE_SELECTOR);
    assert_int_equal(c->selector, 0);
    assert_int_equal(c->env.n, 0);
    request_init(&f->r, "x", "/");
    request_add(&f->r, "x-env", "No Name!");
    assert_str(untrusted(f)->env, "No Name!");
}

static void the_host_selector_takes_exactly_one_label(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HOST, "*.preview.example.com", false);
    static const struct {
        const char *authority, *env;
    } hosts[] = {
        {"feat-1.preview.example.com", "feat-1"},
        {"Feat-1.PREVIEW.example.com.:8080", "feat-1"},
        {"a_b.preview.example.com", "a_b"},
        {"a.b.preview.example.com", "main"},
        {".preview.example.com", "main"},
        {"preview.example.com", "main"},
        {"xpreview.example.com", "main"},
        {"", "main"},
    };
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        request_init(&f->r, hosts[i].authority, "/");
        assert_str(untrusted(f)->env, hosts[i].env);
    }
}

static void two_values_of_one_selector_are_a_fault(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HEADER, "x-env", false);
    gateway_select(&f->text, SELECT_COOKIE, "env", false);
    gateway_select(&f->text, SELECT_BAGGAGE, "key", false);
    gateway_select(&f->text, SELECT_TRACESTATE, "key", false);
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    static const struct {
        const char *name, *one, *two;
    } pairs[] = {
        {"x-env", "a", "b"},
        {"cookie", "env=a", "env=b"},
        {"baggage", "key=a", "x=1,key=b"},
        {"tracestate", "key=a", "key=b"},
    };
    for (int i = 0; i < 4; i++) {
        for (int differ = 0; differ < 2; differ++) {
            request_init(&f->r, "x", "/");
            request_add(&f->r, pairs[i].name, pairs[i].one);
            request_add(&f->r, pairs[i].name, differ ? pairs[i].two : pairs[i].one);
            const struct context *c = untrusted(f);
            assert_int_equal(c->fault, differ ? FAULT_SELECTOR_TWO_VALUES : FAULT_NONE);
            assert_int_equal(c->selector, i);
            assert_str(c->env, differ ? "" : "a");
        }
    }
    request_init(&f->r, "x", "/?env=a&env=b");
    assert_int_equal(untrusted(f)->fault, FAULT_SELECTOR_TWO_VALUES);
    request_init(&f->r, "x", "/?env=a&env=%61");
    assert_int_equal(untrusted(f)->fault, FAULT_NONE);
    request_init(&f->r, "x", "/");
    request_add(&f->r, "cookie", "env=a; env=b");
    assert_int_equal(untrusted(f)->fault, FAULT_SELECTOR_TWO_VALUES);
}

static void broken_percent_encoding_is_a_fault(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_BAGGAGE, "key", false);
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    static const char *const bad[] = {"/?env=%", "/?env=a%2", "/?env=%zz"};
    for (int i = 0; i < 3; i++) {
        request_init(&f->r, "x", bad[i]);
        assert_int_equal(untrusted(f)->fault, FAULT_SELECTOR_VALUE);
    }
    request_init(&f->r, "x", "/");
    request_add(&f->r, "baggage", "key=a%2");
    assert_int_equal(untrusted(f)->fault, FAULT_SELECTOR_VALUE);
    request_init(&f->r, "x", "/");
    request_add(&f->r, "baggage", "key=feat%2D1;p=%");
    assert_str(untrusted(f)->env, "feat-1");
}

/* ---- what is removed ---- */

static void untrusted_listeners_remove_the_carriers_of_all_selectors(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HEADER, "x-env", false);
    gateway_select(&f->text, SELECT_COOKIE, "env", false);
    gateway_select(&f->text, SELECT_BAGGAGE, "key", false);
    gateway_select(&f->text, SELECT_TRACESTATE, "key", false);
    for (int is_trusted = 0; is_trusted < 2; is_trusted++) {
        static const struct {
            const char *name, *value, *left;
        } fields[] = {
            {"x-env", "a", NULL},
            {"cookie", "a=1; env=a;b=2; env=a", "a=1;b=2"},
            {"cookie", "env=a", NULL},
            {"baggage", "key=a, b=2,offshoot=x,c=3,key=a", "b=2,c=3"},
            {"tracestate", "key=a", NULL},
            {"tracestate", "x=1,key=a,y=2", "x=1,y=2"},
            {"x_env", "a", "a"},
        };
        request_init(&f->r, "x", "/");
        for (int i = 0; i < 7; i++) {
            bool ours = i == 3 && is_trusted;
            request_add(&f->r, fields[i].name, ours ? "key=a, b=2,c=3" : fields[i].value);
        }
        assert_str(pick(f, is_trusted)->env, "a");
        for (unsigned i = 0; i < 7; i++) {
            const struct field *field = &f->r.fields[i];
            assert_int_equal(request_dropped(&f->r, i), !is_trusted && !fields[i].left);
            if (!is_trusted && fields[i].left)
                assert_str(field_value(field), fields[i].left);
            else if (is_trusted && i != 3)
                assert_str(field_value(field), fields[i].value);
        }
    }
}

static void a_name_read_from_an_edited_value_stays_whole(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_BAGGAGE, "key", false);
    request_add(&f->r, "baggage", "a=1,offshoot=x,key=feat-1,b=2,offshoot=y,c=3");
    assert_str(untrusted(f)->env, "feat-1");
    assert_str(field_value(&f->r.fields[0]), "a=1,b=2,c=3");
}

static void forward_lets_a_carrier_pass(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HEADER, "x-env", true);
    gateway_select(&f->text, SELECT_COOKIE, "env", true);
    gateway_select(&f->text, SELECT_HEADER, "x-offshoot-env", true);
    gateway_select(&f->text, SELECT_HEADER, "x-offshoot-other", false);
    request_add(&f->r, "x-env", "a");
    request_add(&f->r, "cookie", "env=a");
    request_add(&f->r, "x-offshoot-env", "a");
    request_add(&f->r, "x-offshoot-other", "a");
    request_add(&f->r, "x_offshoot_env", "a");
    for (int is_trusted = 0; is_trusted < 2; is_trusted++) {
        pick(f, is_trusted);
        assert_false(request_dropped(&f->r, 0));
        assert_false(request_dropped(&f->r, 1));
        assert_false(request_dropped(&f->r, 2));
        assert_true(request_dropped(&f->r, 3));
        assert_true(request_dropped(&f->r, 4));
        assert_str(field_value(&f->r.fields[1]), "env=a");
    }
}

static void own_carriers_and_framing_are_out_of_reach_of_selectors(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_HEADER, "x-offshoot-context", true);
    gateway_select(&f->text, SELECT_BAGGAGE, "offshoot", true);
    gateway_select(&f->text, SELECT_HEADER, "content-length", false);
    request_add(&f->r, "x-offshoot-context", "feat-1");
    request_add(&f->r, "baggage", "offshoot=feat-1");
    request_add(&f->r, "content-length", "10");
    assert_str(untrusted(f)->env, "10");
    assert_true(request_dropped(&f->r, 0));
    assert_true(request_dropped(&f->r, 1));
    assert_false(request_dropped(&f->r, 2));
}

static void the_query_parameter_is_always_taken_out_of_the_path(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_QUERY, "env", true);
    gateway_select(&f->text, SELECT_QUERY, "e2", false);
    static const struct {
        const char *path, *env, *left;
    } paths[] = {
        {"/", "main", "/"},
        {"/a?", "main", "/a?"},
        {"/a?x=1&y", "main", "/a?x=1&y"},
        {"/a?env=f", "f", "/a"},
        {"/a?env", "", "/a"},
        {"/a?env=f&x=1", "f", "/a?x=1"},
        {"/a?x=1&env=f", "f", "/a?x=1"},
        {"/a?x=1&env=f&y=2", "f", "/a?x=1&y=2"},
        {"/a?env=f&x=%20+&e2=g&y=2&env=f&z", "f", "/a?x=%20+&y=2&z"},
        {"/a?%65n%76=feat%2d1&x=1", "feat-1", "/a?x=1"},
        {"/a?e2=a+b", "a+b", "/a"},
        {"/a?envy=f&xenv=f", "main", "/a?envy=f&xenv=f"},
        {"/a?x=1#?env=f", "main", "/a?x=1#?env=f"},
        {"/a?x=a?env=f", "main", "/a?x=a?env=f"},
        {"/a?&&env=f&&x=1", "f", "/a?&&&x=1"},
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        for (int is_trusted = 0; is_trusted < 2; is_trusted++) {
            request_init(&f->r, "x", paths[i].path);
            assert_str(pick(f, is_trusted)->env, paths[i].env);
            assert_str(f->r.path, paths[i].left);
        }
    }
    request_init(&f->r, "x", "/a?env=f&x=1");
    request_add(&f->r, "x-offshoot-context", TOKEN);
    assert_str(trusted(f)->env, "feat-42");
    assert_str(f->r.path, "/a?x=1");
}

static void a_parameter_that_cannot_be_taken_out_is_a_fault(void **state)
{
    struct fixture *f = *state;
    gateway_select(&f->text, SELECT_QUERY, "env", false);
    request_init(&f->r, "x", "/a?env=f&x=1");
    f->r.scratch.size = 5;
    assert_int_equal(untrusted(f)->fault, FAULT_SELECTOR_VALUE);
    request_init(&f->r, "x", "/a?env=f&x=1");
    f->r.scratch.size = 6;
    assert_int_equal(untrusted(f)->fault, FAULT_NONE);
    assert_str(f->r.path, "/a?x=1");
}

static void every_rule_and_fault_has_its_word(void **state)
{
    (void)state;
    assert_string_equal(context_rule_word(RULE_NONE), "");
    assert_string_equal(context_rule_word(RULE_DEFAULT), "default");
    assert_string_equal(context_fault_word(FAULT_NONE), "");
    for (int i = 1; i < CONTEXT_FAULT_COUNT; i++)
        assert_true(strlen(context_fault_word((enum context_fault)i)) > 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_carrier_gives_the_context),
        TEST(the_first_carrier_in_order_is_named_and_equal_ones_agree),
        TEST(two_different_values_are_a_fault),
        TEST(what_is_present_but_unusable_is_a_fault_and_never_missing),
        TEST(own_carriers_come_before_selectors_at_trusted_listeners),
        TEST(untrusted_carriers_are_removed_counted_and_not_believed),
        TEST(the_count_of_foreign_carriers_stops_at_its_bound),
        TEST(explain_is_heard_at_trusted_listeners_only_and_always_removed),
        TEST(without_any_carrier_the_default_environment_is_meant),
        TEST(without_a_default_there_is_none),
        TEST(the_first_present_selector_gives_the_name),
        TEST(a_present_selector_decides_even_with_no_name),
        TEST(the_host_selector_takes_exactly_one_label),
        TEST(two_values_of_one_selector_are_a_fault),
        TEST(broken_percent_encoding_is_a_fault),
        TEST(untrusted_listeners_remove_the_carriers_of_all_selectors),
        TEST(a_name_read_from_an_edited_value_stays_whole),
        TEST(forward_lets_a_carrier_pass),
        TEST(own_carriers_and_framing_are_out_of_reach_of_selectors),
        TEST(the_query_parameter_is_always_taken_out_of_the_path),
        TEST(a_parameter_that_cannot_be_taken_out_is_a_fault),
        TEST(every_rule_and_fault_has_its_word),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
