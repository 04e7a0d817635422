/* Whole replies made at random: equal ones never differ, whatever is done that means nothing; one
 * change that means something is always found. And memory that runs out at every place. */
#include "lib/compare/redact.h"
#include "tests/unit/compare/replies.h"

#define ROUNDS 400

static uint64_t seed = 0x5eed;

static unsigned random_below(unsigned n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % n;
}

/* ---- random values; each leaf says something of its own ---- */

struct value {
    unsigned kind; /* 0 number, 1 text, 2 null, 3 array, 4 object */
    unsigned says, n;
    struct value *child[4];
};

#define VALUES_MAX 400
static struct value values[VALUES_MAX];
static unsigned nvalues;

static struct value *make_value(unsigned depth)
{
    assert_true(nvalues < VALUES_MAX);
    struct value *v = &values[nvalues++];
    *v = (struct value){.kind = random_below(depth ? 5 : 3), .says = nvalues};
    v->n = v->kind >= 3 ? 1 + random_below(4) : 0;
    for (unsigned i = 0; i < v->n; i++)
        v->child[i] = make_value(depth - 1);
    return v;
}

/* Spelled in one of the ways that mean the same when `loose`. */
static void spell(struct text *t, const struct value *v, bool loose)
{
    const char *space = loose && random_below(2) ? " \n" : "";
    unsigned first = loose && v->kind == 4 ? random_below(v->n) : 0;
    switch (v->kind) {
    case 0:
        text_fmt(t, loose && random_below(2) ? "%u.0" : "%u", v->says * 7);
        return;
    case 1:
        text_fmt(t, loose && random_below(2) ? "\"\\u0074ext-%u\"" : "\"text-%u\"", v->says);
        return;
    case 2:
        text_add(t, STR("null"));
        return;
    default:
        text_add(t, v->kind == 3 ? STR("[") : STR("{"));
        for (unsigned i = 0; i < v->n; i++) {
            unsigned at = (first + i) % v->n;
            text_fmt(t, "%s%s", i ? "," : "", space);
            if (v->kind == 4)
                text_fmt(t, "\"key%c\"%s:", (char)('a' + at), space);
            spell(t, v->child[at], loose);
        }
        text_fmt(t, "%s%s", space, v->kind == 3 ? "]" : "}");
    }
}

/* One change: a leaf says something else, or a child is gone. */
static void change(void)
{
    struct value *v = &values[random_below(nvalues)];
    if (v->n > 1 && random_below(2)) {
        v->n--;
    } else if (v->kind == 2) {
        v->kind = random_below(2);
    } else if (v->kind < 2 && random_below(4) == 0) {
        v->kind = 1 - v->kind;
    } else {
        v->says += 1000;
        if (v->kind >= 3) { /* a container says nothing itself */
            v->kind = 0;
            v->n = 0;
        }
    }
}

static size_t differences_of(struct str a, struct str b)
{
    struct made x, y;
    struct differences d;
    make_reply(&x, 200, "content-type: application/json", a, "");
    make_reply(&y, 200, "content-type: application/json", b, "");
    assert_int_equal(replies_compare(&x.reply, &y.reply, default_rules(), &d), 0);
    size_t n = d.n;
    differences_release(&d);
    return n;
}

static void what_means_the_same_is_equal_and_a_change_is_found(void **state)
{
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct text a = {0}, b = {0}, c = {0};
        nvalues = 0;
        const struct value *v = make_value(4);
        spell(&a, v, false);
        spell(&b, v, true);
        change();
        spell(&c, v, true);
        if (differences_of(str_of(a.p, a.n), str_of(b.p, b.n)))
            fail_msg("round %u: %s and %s", round, a.p, b.p);
        if (!differences_of(str_of(a.p, a.n), str_of(c.p, c.n)))
            fail_msg("round %u: %s and %s", round, a.p, c.p);
        if (!differences_of(str_of(c.p, c.n), str_of(b.p, b.n)))
            fail_msg("round %u: %s and %s", round, c.p, b.p);
        text_release(&a);
        text_release(&b);
        text_release(&c);
    }
}

/* ---- memory ---- */

static const char fields_a[] = "content-type: application/json\netag: 1\nvary: a\nvary: b\n"
                               "set-cookie: s=a; Path=/\nlocation: /?token=canary";
static const char fields_b[] = "content-type: application/json\netag: 2\nvary: b\nvary: a\n"
                               "set-cookie: s=b; Path=/x\nlocation: /?b%20c=1#x";

static void every_allocation_may_fail(const char *a_fields, const char *b_fields, struct str a,
    struct str b, const struct compare_rules *rules)
{
    struct made x, y;
    unsigned long n = 1;
    make_reply(&x, 200, a_fields, a, "grpc-status: 0");
    make_reply(&y, 404, b_fields, b, "grpc-status: 5\nx: 1");
    for (;; n++) {
        struct differences d;
        size_t live = mem_live();
        mem_fail_nth(n);
        int rc = replies_compare(&x.reply, &y.reply, rules, &d);
        unsigned long made = mem_count();
        mem_fail_nth(0);
        if (made < n) {
            assert_int_equal(rc, 0);
            differences_release(&d);
            assert_int_equal(mem_live(), live);
            break;
        }
        /* a text that could not be made is no reason to tell less */
        assert_int_equal(rc, -12);
        assert_int_equal(mem_live(), live);
    }
    assert_true(n > 2);
}

static void memory_that_runs_out_is_told_and_nothing_stays(void **state)
{
    (void)state;
    struct redact_options o = {.key = "0123456789abcde"};
    struct err e;
    struct redact *r = redact_new(&o, &e);
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT, .redact = r};
    struct text big = {0}, other = {0};
    for (unsigned i = 0; i < 300; i++) {
        text_fmt(&big, "%s{\"k%u\":%u,\"odd key\":\"%u@x.example\"}", i ? "," : "[", i, i, i);
        text_fmt(&other, "%s{\"k%u\":%u,\"odd key\":\"%u@y.example\"}", i ? "," : "[", i, i + 7, i);
    }
    text_add(&big, STR("]"));
    text_add(&other, STR("]"));
    every_allocation_may_fail(
        fields_a, fields_b, str_of(big.p, big.n), str_of(other.p, other.n), &rules);
    every_allocation_may_fail("content-type: application/x-www-form-urlencoded",
        "content-type: application/x-www-form-urlencoded", STR("a=1&b=%20&c=1"), STR("a=2&b=3&a=4"),
        &rules);
    every_allocation_may_fail("content-type: multipart/form-data; boundary=X",
        "content-type: multipart/form-data; boundary=X",
        STR("--X\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--X--"),
        STR("--X\r\nContent-Disposition: form-data; name=b\r\n\r\n1\r\n--X--"), &rules);
    every_allocation_may_fail(
        "content-type: text/plain", "content-type: text/plain", STR("abc"), STR("abd"), &rules);
    every_allocation_may_fail(
        "content-type: image/png", "content-type: image/png", STR("\xff"), STR("\xfe"), &rules);
    text_release(&big);
    text_release(&other);
    redact_free(r);
}

/* How many there are; no text and no path of them has the secret in it. */
static size_t differences_without(const char *secret, const struct made *a, const struct made *b,
    const struct compare_rules *rules)
{
    struct differences d;
    struct text t = {0};
    assert_int_equal(replies_compare(&a->reply, &b->reply, rules, &d), 0);
    describe(&d, &t);
    if (strstr(t.p, secret))
        fail_msg("%s", t.p);
    size_t n = d.n;
    differences_release(&d);
    text_release(&t);
    return n;
}

static void differences_are_redacted(void **state)
{
    (void)state;
    struct redact_options o = {.key = "0123456789abcde"};
    struct err e;
    struct redact *r = redact_new(&o, &e);
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT, .redact = r};
    struct made a, b;
    make_reply(&a, 200,
        "content-type: application/json\nset-cookie: s=canary; Path=/\nlocation: /?token=canary\n"
        "authorization: Bearer canary\nx-api-key: canary",
        STR("{\"password\":\"canary\",\"o\":{\"token\":{\"x\":\"canary\"}},\"t\":[\"pin=canary\"],"
            "\"tokens\":[{\"x y\":\"canary\"}],\"canary@x.example\":1,\"a canary@x.example\":{},"
            "\"secret\":{\"a\":[\"canary\"]},\"gone\":{\"password\":\"canary\"}}"),
        "x-token: canary");
    make_reply(&b, 200, "content-type: application/json",
        STR("{\"password\":1,\"o\":{\"token\":{\"x\":\"none\"}},\"t\":[\"pin=other\"],"
            "\"tokens\":[{\"x y\":\"other\"}],\"secret\":{\"a\":[]}}"),
        "");
    assert_true(differences_without("canary", &a, &b, &rules) >= 12);
    make_reply(&a, 200, "content-type: application/x-www-form-urlencoded",
        STR("password=canary&j=m%40canary.example"), "");
    make_reply(
        &b, 200, "content-type: application/x-www-form-urlencoded", STR("password=x&j=y"), "");
    assert_int_equal(differences_without("canary", &a, &b, &rules), 2);
    /* long subtrees, of which only the start is shown; and keys that are secrets */
    make_reply(&a, 200, "content-type: application/json",
        STR("{\"a\":[{\"long\":\"..............................................................."
            "................................................................................"
            "................................................................................"
            "................................................................................"
            "................................................................................"
            "................................................................................"
            "..............................\"},{\"password\":\"canary\"},\"canary@x.example\"]}"),
        "");
    make_reply(&b, 200, "content-type: application/json", STR("{\"a\":1}"), "");
    assert_int_equal(differences_without("canary", &a, &b, &rules), 1);
    make_reply(&a, 200, "content-type: application/x-www-form-urlencoded",
        STR("4111111111111111=1&x=1"), "");
    make_reply(&b, 200, "content-type: application/x-www-form-urlencoded", STR("x=1"), "");
    assert_int_equal(differences_without("4111", &a, &b, &rules), 1);
    redact_free(r);
}

/* What does not fit into the path may have been the name of a secret. */
static void values_below_paths_that_are_cut_are_redacted(void **state)
{
    (void)state;
    struct redact_options o = {.key = "0123456789abcde"};
    struct err e;
    struct redact *r = redact_new(&o, &e);
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT, .redact = r};
    struct text a = {0}, b = {0};
    char key[101];
    memset(key, 'k', 100);
    key[100] = '\0';
    for (int i = 0; i < 6; i++) {
        text_fmt(&a, "{\"%s\":", key);
        text_fmt(&b, "{\"%s\":", key);
    }
    text_add(&a, STR("{\"password\":\"canary\"}}}}}}}"));
    text_add(&b, STR("{\"password\":\"other\"}}}}}}}"));
    struct made x, y;
    make_reply(&x, 200, "content-type: application/json", str_of(a.p, a.n), "");
    make_reply(&y, 200, "content-type: application/json", str_of(b.p, b.n), "");
    assert_int_equal(differences_without("canary", &x, &y, &rules), 1);
    text_release(&a);
    text_release(&b);
    redact_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_means_the_same_is_equal_and_a_change_is_found),
        cmocka_unit_test(memory_that_runs_out_is_told_and_nothing_stays),
        cmocka_unit_test(differences_are_redacted),
        cmocka_unit_test(values_below_paths_that_are_cut_are_redacted),
    };
    return unit_run(tests);
}
