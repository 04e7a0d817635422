/* Conditions of the access log: what is read, what is refused, which requests fit. */
#include "proxy/logwhen.h"
#include "tests/unit/unit.h"
#include <errno.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct log_facts plain = {.status = 200,
    .total_us = 1500,
    .env = {"feat-1", 6},
    .service = {"cart", 4},
    .trace = {"4bf92f3577b34da6a3ce929d0e0e4736", 32},
    .cls = "local",
    .refusal = "",
    .protocol = "http1",
    .listener = "untrusted"};

static bool fits(const struct log_facts *f, const char *a, const char *b)
{
    const char *rules[] = {a, b};
    struct log_when w;
    struct err e = {0};
    if (log_when_parse(&w, rules, a ? b ? 2 : 1 : 0, &e) != 0)
        fail_msg("%s", e.text);
    bool yes = log_when_fits(&w, f);
    log_when_release(&w);
    return yes;
}

static void no_rule_fits_everything(void **state)
{
    (void)state;
    assert_true(fits(&plain, NULL, NULL));
}

static void each_condition_decides(void **state)
{
    (void)state;
    static const struct {
        const char *yes, *no;
    } cases[] = {
        {"slower=1ms", "slower=2ms"},
        {"status=200", "status=201"},
        {"status=2xx", "status=5xx"},
        {"status=404|2xx", "status=404|5xx|none"},
        {"class=local", "class=ancestor|baseline|shared|explicit|refused|share-link|share-leave"},
        {"env=feat-1", "env=feat-10"},
        {"env=main|feat-1", "env=feat"},
        {"service=cart", "service=car|carts"},
        {"protocol=http1", "protocol=http2|tcp"},
        {"listener=untrusted", "listener=trusted"},
        {"sample=100%", "sample=0.000001%"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_true(fits(&plain, cases[i].yes, NULL));
        if (fits(&plain, cases[i].no, NULL))
            fail_msg("%s fits", cases[i].no);
    }
    struct log_facts f = plain;
    assert_false(fits(&f, "errors", NULL));
    f.error = true;
    assert_true(fits(&f, "errors", NULL));
    f.status = 0;
    assert_true(fits(&f, "status=none", NULL));
    assert_false(fits(&f, "status=5xx", NULL));
    f.refusal = "connect";
    assert_true(fits(&f, "refusal=removed|connect", NULL));
    assert_false(fits(&f, "refusal=removed", NULL));
}

static void all_of_a_rule_and_any_of_the_rules(void **state)
{
    (void)state;
    assert_true(fits(&plain, "status=2xx env=feat-1", NULL));
    assert_true(fits(&plain, "  status=2xx   env=feat-1 ", NULL));
    assert_false(fits(&plain, "status=2xx env=main", NULL));
    assert_false(fits(&plain, "env=main status=2xx", NULL));
    assert_true(fits(&plain, "env=main status=2xx", "service=cart"));
    assert_true(fits(&plain, "service=cart", "env=main status=2xx"));
    assert_false(fits(&plain, "env=main status=2xx", "service=cart errors"));
}

static void a_sample_takes_its_share_of_the_traces_and_always_the_same(void **state)
{
    (void)state;
    unsigned taken = 0;
    struct log_facts f = plain;
    char trace[33];
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(trace, sizeof trace, "%032x", i);
        f.trace = str_of(trace, 32);
        bool first = fits(&f, "sample=10%", NULL);
        assert_int_equal(first, fits(&f, "sample=10.0%", NULL));
        taken += first;
        if (first) /* a larger share holds the smaller one */
            assert_true(fits(&f, "sample=20%", NULL));
    }
    assert_true(taken > 1800 && taken < 2200);
    f.trace = (struct str){0};
    assert_true(fits(&f, "sample=0.1%", NULL));
}

static void refused(const char *rule, const char *why)
{
    struct log_when w;
    struct err e = {0};
    assert_int_equal(log_when_parse(&w, &rule, 1, &e), -EINVAL);
    if (!strstr(e.text, why))
        fail_msg("%s: %s", rule, e.text);
    assert_null(w.terms);
}

static void what_makes_no_sense_is_refused_by_name(void **state)
{
    (void)state;
    refused("", "empty condition");
    refused("   ", "empty condition");
    refused("error", "did you mean 'errors'?");
    refused("colour=red", "unknown condition 'colour'");
    refused("errors=1", "takes no value");
    refused("slower", "want slower=");
    refused("slower=", "want slower=");
    refused("slower=fast", "not 'fast'");
    refused("status=6xx", "unknown word '6xx'");
    refused("status=20", "unknown word '20'");
    refused("status=5xx|", "nothing after");
    refused("status=|5xx", "unknown word ''");
    refused("class=lokal", "unknown word 'lokal'");
    refused("env=No_Name", "unknown word 'No_Name'");
    refused("refusal=maybe", "unknown word 'maybe'");
    refused("protocol=http3", "unknown word 'http3'");
    refused("listener=open", "unknown word 'open'");
    refused("sample=1", "want sample=");
    refused("sample=0%", "want sample=");
    refused("sample=101%", "want sample=");
    refused("sample=1.%", "want sample=");
    refused("sample=1.2345678%", "want sample=");
    refused("sample=-1%", "want sample=");
    char many[80 * 7 + 1] = "";
    for (int i = 0; i < 80; i++)
        strcat(many, "errors ");
    refused(many, "more than 64 conditions");
    static char large[5000];
    memset(large, 'x', sizeof large - 1);
    refused(large, "more than 4096 bytes");
}

static void memory_may_be_out(void **state)
{
    (void)state;
    const char *rule = "errors";
    for (unsigned long nth = 1; nth <= 2; nth++) {
        struct log_when w;
        struct err e = {0};
        mem_fail_nth(nth);
        assert_int_equal(log_when_parse(&w, &rule, 1, &e), -ENOMEM);
        mem_fail_nth(0);
        assert_null(w.terms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_rule_fits_everything),
        cmocka_unit_test(each_condition_decides),
        cmocka_unit_test(all_of_a_rule_and_any_of_the_rules),
        cmocka_unit_test(a_sample_takes_its_share_of_the_traces_and_always_the_same),
        cmocka_unit_test(what_makes_no_sense_is_refused_by_name),
        cmocka_unit_test(memory_may_be_out),
    };
    return unit_run(tests);
}
