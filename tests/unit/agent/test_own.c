/* Command documents: from commands to text and back, and what is not let in. */
#include "tests/unit/unit.h"

#include "agent/own.h"
#include "lib/graph/check.h"
#include "lib/graph/load.h"
#include <errno.h>

static const struct own_rules rules = {1790000000, 1000000, 0};

#define LIST(...)                                                                                  \
    (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

/* The text of a new environment; the caller frees. */
static struct text made(const struct change *ch, const char *old)
{
    struct text t = {0};
    struct err e = {0};
    if (own_judge(ch, &rules, &e) < 0 ||
        own_create(ch, &rules, STR("main"), str_c(old), &t, &e) < 0)
        fail_msg("%s", e.text);
    return t;
}

static struct text edited(const struct change *ch, const struct text *old)
{
    struct text t = {0};
    struct err e = {0};
    if (own_judge(ch, &rules, &e) < 0 || own_edit(ch, &rules, str_of(old->p, old->n), &t, &e) < 0)
        fail_msg("%s", e.text);
    return t;
}

static const struct change everything = {.kind = CHANGE_CREATE,
    .name = "feat-42",
    .parents = (const char *const[]){"team", "other"},
    .nparents = 2,
    .provides = (const char *const[]){"web=10.0.0.1:80,[fd00::1]:81,web.svc:8080",
        "cart=unix:/run/a \"b\"\\c.sock"},
    .nprovides = 2,
    .uses = (const char *const[]){"pricing=feat-17"},
    .nuses = 1,
    .removes = (const char *const[]){"promo", "ads"},
    .nremoves = 2,
    .life_s = 3600,
    .is_public = true,
    .strict = true,
    .owner = "J\xc3\xb6rg \"the\" \\ \xe2\x80\xa8 \xf0\x9f\x9a\x80"};

static void a_text_says_what_the_command_said(void **state)
{
    (void)state;
    struct text t = made(&everything, "");
    assert_string_equal(t.p, "apiVersion: offshoot.dev/v1\n"
                             "kind: Environment\n"
                             "metadata: {name: feat-42}\n"
                             "spec:\n"
                             "  mode: overlay\n"
                             "  parents: [team, other]\n"
                             "  owner: \"J\\U000000f6rg \\\"the\\\" \\\\ \\U00002028 "
                             "\\U0001f680\"\n"
                             "  expires: 2026-09-21T15:13:20Z\n"
                             "  strict: true\n"
                             "  access: public\n"
                             "  providers:\n"
                             "    cart: {endpoints: [\"unix:/run/a \\\"b\\\"\\\\c.sock\"]}\n"
                             "    web: {endpoints: [\"10.0.0.1:80\", \"[fd00::1]:81\", "
                             "\"web.svc:8080\"]}\n"
                             "  use:\n"
                             "    pricing: feat-17\n"
                             "  remove: [ads, promo]\n");
    struct load_source source = {.name = "command:feat-42", .bytes = str_of(t.p, t.n)};
    struct findings found;
    const struct model *m;
    findings_init(&found);
    struct loader *l = loader_new(NULL);
    assert_int_equal(loader_load(l, &source, 1, &found, &m), 0);
    assert_int_equal(found.errors, 0);
    assert_str(m->envs[0]->owner, everything.owner);
    assert_str(m->envs[0]->statements[0].endpoints[0].addr.name, "/run/a \"b\"\\c.sock");
    assert_int_equal(m->envs[0]->statements[1].nendpoints, 3);
    loader_free(l);
    findings_release(&found);
    text_release(&t);
}

static void an_edit_that_changes_nothing_gives_the_same_text(void **state)
{
    (void)state;
    struct text t = made(&everything, "");
    struct change set = {.kind = CHANGE_SET, .name = "feat-42", .strict = true};
    struct text u = edited(&set, &t);
    assert_string_equal(t.p, u.p);
    text_release(&u);
    set = (struct change){.kind = CHANGE_EXTEND, .name = "feat-42", .life_s = 3600};
    u = edited(&set, &t);
    assert_string_equal(t.p, u.p);
    text_release(&u);
    text_release(&t);
}

static void set_replaces_one_services_statement_and_drops_others(void **state)
{
    (void)state;
    struct text t = made(&everything, "");
    struct change set = {.kind = CHANGE_SET,
        .name = "feat-42",
        .provides = (const char *const[]){"ads=10.9.9.9:9"},
        .nprovides = 1,
        .uses = (const char *const[]){"web=main"},
        .nuses = 1,
        .removes = (const char *const[]){"pricing"},
        .nremoves = 1,
        .drops = (const char *const[]){"cart", "promo"},
        .ndrops = 2,
        .is_token = true,
        .owner = "me"};
    struct text u = edited(&set, &t);
    assert_string_equal(u.p, "apiVersion: offshoot.dev/v1\n"
                             "kind: Environment\n"
                             "metadata: {name: feat-42}\n"
                             "spec:\n"
                             "  mode: overlay\n"
                             "  parents: [team, other]\n"
                             "  owner: \"me\"\n"
                             "  expires: 2026-09-21T15:13:20Z\n"
                             "  strict: true\n"
                             "  access: token\n"
                             "  providers:\n"
                             "    ads: {endpoints: [\"10.9.9.9:9\"]}\n"
                             "  use:\n"
                             "    web: main\n"
                             "  remove: [pricing]\n");
    text_release(&u);
    struct err e = {0};
    set = (struct change){.kind = CHANGE_SET, .name = "feat-42", .drops = LIST("nothing")};
    assert_int_equal(own_edit(&set, &rules, str_of(t.p, t.n), &u, &e), -EINVAL);
    assert_non_null(strstr(e.text, "says nothing about service 'nothing'"));
    text_release(&u);
    text_release(&t);
}

static void a_repeated_create_differs_only_when_more_than_the_time_does(void **state)
{
    (void)state;
    struct own_rules later = rules;
    struct change ch = everything;
    struct text t = made(&ch, ""), u = {0};
    struct err e = {0};
    later.now += 77;
    assert_int_equal(own_create(&ch, &later, STR("main"), str_of(t.p, t.n), &u, &e), 0);
    assert_string_equal(u.p, t.p);
    text_release(&u);
    ch.life_s = 0; /* for good is another content */
    assert_int_equal(own_create(&ch, &later, STR("main"), str_of(t.p, t.n), &u, &e), 0);
    assert_null(strstr(u.p, "expires"));
    text_release(&u);
    ch = everything;
    ch.strict = false;
    assert_int_equal(own_create(&ch, &later, STR("main"), str_of(t.p, t.n), &u, &e), 0);
    assert_string_not_equal(u.p, t.p);
    text_release(&u);
    text_release(&t);
}

static void a_command_without_parent_or_life_takes_the_defaults(void **state)
{
    (void)state;
    struct own_rules r = rules;
    struct change ch = {.kind = CHANGE_CREATE, .name = "a"};
    struct text t = made(&ch, "");
    struct err e = {0};
    assert_non_null(strstr(t.p, "parents: [main]\n"));
    assert_null(strstr(t.p, "expires"));
    text_release(&t);
    r.default_s = 60;
    assert_int_equal(own_create(&ch, &r, STR("main"), str_of(NULL, 0), &t, &e), 0);
    assert_non_null(strstr(t.p, "expires: 2026-09-21T14:14:20Z\n"));
    text_release(&t);
}

static void what_is_malformed_is_refused_with_its_reason(void **state)
{
    const struct {
        struct change ch;
        const char *text;
    } bad[] = {
        {{.kind = CHANGE_CREATE}, "bad name of an environment: ''"},
        {{.kind = CHANGE_CREATE, .name = "A"}, "bad name of an environment: 'A'"},
        {{.kind = CHANGE_CREATE, .name = "a}\nb"}, "bad name of an environment"},
        {{.kind = CHANGE_CREATE, .name = "a", .parents = LIST("x y")}, "bad name of a parent"},
        {{.kind = CHANGE_CREATE, .name = "a", .provides = LIST("cart")},
            "'cart' is not SERVICE=ADDRESS"},
        {{.kind = CHANGE_CREATE, .name = "a", .provides = LIST("=10.0.0.1:80")},
            "bad name of a service: ''"},
        {{.kind = CHANGE_CREATE, .name = "a", .provides = LIST("cart=")}, "bad address ''"},
        {{.kind = CHANGE_CREATE, .name = "a", .provides = LIST("cart=10.0.0.1")},
            "bad address '10.0.0.1': "},
        {{.kind = CHANGE_CREATE, .name = "a", .provides = LIST("cart=10.0.0.1:80,")},
            "bad address ''"},
        {{.kind = CHANGE_CREATE, .name = "a", .provides = LIST("cart=tunnel:x")}, "reserved"},
        {{.kind = CHANGE_CREATE, .name = "a", .provides = LIST("cart=unix:/a\nb")}, "bad address"},
        {{.kind = CHANGE_CREATE, .name = "a", .uses = LIST("cart")},
            "'cart' is not SERVICE=ENVIRONMENT"},
        {{.kind = CHANGE_CREATE, .name = "a", .uses = LIST("cart=B")},
            "bad name of an environment: 'B'"},
        {{.kind = CHANGE_CREATE, .name = "a", .removes = LIST("c,d")},
            "bad name of a service: 'c,d'"},
        {{.kind = CHANGE_CREATE, .name = "a", .removes = LIST("c"), .uses = LIST("c=main")},
            "two statements about service 'c'"},
        {{.kind = CHANGE_CREATE, .name = "a", .drops = LIST("c")}, "no statement to drop"},
        {{.kind = CHANGE_CREATE, .name = "a", .is_public = true, .is_token = true},
            "either public or by token"},
        {{.kind = CHANGE_CREATE, .name = "a", .owner = "a\nb"}, "bad owner"},
        {{.kind = CHANGE_CREATE, .name = "a", .owner = "\xff"}, "bad owner"},
        {{.kind = CHANGE_CREATE, .name = "a", .life_s = 1000001}, "over the limit of 1000000 s"},
        {{.kind = CHANGE_SET, .name = "a"}, "nothing to set"},
        {{.kind = CHANGE_SET, .name = "a", .life_s = 1, .strict = true}, "by extend only"},
        {{.kind = CHANGE_SET, .name = "a", .parents = LIST("b"), .strict = true}, "parents"},
        {{.kind = CHANGE_EXTEND, .name = "a"}, "extend needs a life"},
        {{.kind = CHANGE_EXTEND, .name = "a", .life_s = 1, .strict = true}, "no statements"},
        {{.kind = CHANGE_DELETE, .name = "a", .removes = LIST("c")}, "no statements"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct err e = {0};
        assert_int_equal(own_judge(&bad[i].ch, &rules, &e), -EINVAL);
        if (!strstr(e.text, bad[i].text))
            fail_msg("%zu: '%s' lacks '%s'", i, e.text, bad[i].text);
    }
}

static void a_command_is_told_in_one_line_of_bounded_size(void **state)
{
    char out[257], little[20];
    (void)state;
    own_what(&everything, &rules, out, sizeof(out));
    assert_string_equal(out,
        "feat-42: web=10.0.0.1:80,[fd00::1]:81,web.svc:8080, cart=unix:/run/a \"b\"\\c.sock, use "
        "pricing=feat-17, without promo, without ads, until 2026-09-21T15:13:20Z, public, strict");
    own_what(&everything, &rules, little, sizeof(little));
    assert_string_equal(little, "feat-42: web=10.0.0");
    struct change ch = {.kind = CHANGE_DELETE, .name = "a"};
    own_what(&ch, &rules, out, sizeof(out));
    assert_string_equal(out, "a");
    ch = (struct change){.kind = CHANGE_EXTEND, .name = "a", .life_s = 60};
    own_what(&ch, &rules, out, sizeof(out));
    assert_string_equal(out, "a: until 2026-09-21T14:14:20Z");
    ch = (struct change){.kind = CHANGE_SET, .name = "a", .drops = LIST("c"), .is_token = true};
    own_what(&ch, &rules, out, sizeof(out));
    assert_string_equal(out, "a: c inherited, by token");
}

static void every_failed_allocation_is_told(void **state)
{
    struct text t = made(&everything, ""), u = {0};
    struct err e;
    struct change set = {.kind = CHANGE_SET, .name = "feat-42", .drops = LIST("cart")};
    (void)state;
    int r = -ENOMEM;
    for (unsigned long nth = 1; r; nth++) {
        mem_fail_nth(nth);
        r = own_create(&everything, &rules, STR("main"), str_of(t.p, t.n), &u, &e);
        mem_fail_nth(0);
        assert_true(r == 0 || r == -ENOMEM);
        text_release(&u);
    }
    r = -ENOMEM;
    for (unsigned long nth = 1; r; nth++) {
        mem_fail_nth(nth);
        r = own_judge(&set, &rules, &e);
        r = r < 0 ? r : own_edit(&set, &rules, str_of(t.p, t.n), &u, &e);
        mem_fail_nth(0);
        assert_true(r == 0 || r == -ENOMEM);
        text_release(&u);
    }
    text_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_says_what_the_command_said),
        cmocka_unit_test(an_edit_that_changes_nothing_gives_the_same_text),
        cmocka_unit_test(set_replaces_one_services_statement_and_drops_others),
        cmocka_unit_test(a_repeated_create_differs_only_when_more_than_the_time_does),
        cmocka_unit_test(a_command_without_parent_or_life_takes_the_defaults),
        cmocka_unit_test(what_is_malformed_is_refused_with_its_reason),
        cmocka_unit_test(a_command_is_told_in_one_line_of_bounded_size),
        cmocka_unit_test(every_failed_allocation_is_told),
    };
    return unit_run(tests);
}
