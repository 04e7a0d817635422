#include "tests/unit/graph/judged.h"

/* Makes any graph complete, so that only the fault under test is found: put it last. */
#define MAIN       "---\nkind: Environment\nmetadata: {name: main}\nspec: {mode: baseline}\n"
#define ENV        "kind: Environment\nmetadata: {name: main}\nspec:\n  mode: baseline\n" /* 4 lines */
#define CART       "---\nkind: Service\nmetadata: {name: cart}\n"
#define GATE       "kind: Gateway\nmetadata: {name: edge}\nspec:\n" /* 3 lines */
#define SERV       "kind: Service\nmetadata: {name: cart}\nspec:\n" /* 3 lines */
#define UNPROVIDED "unprovided-service 2:18"
/* What a service without any provider is warned of, beside its fault. */
#define SERV_FOUND(what) "unprovided-service 2:18; " what

static const char whole[] =
    "apiVersion: offshoot.dev/v1\n"
    "kind: Service\n"
    "metadata: {name: cart, labels: {tier: 1}}\n"
    "spec:\n"
    "  protocol: grpc\n"
    "  port: 8080\n"
    "  hosts: [Cart, \"cart.shop.svc.cluster.local:80\"]\n"
    "  propagates: true\n"
    "  dependsOn: [pricing]\n"
    "  pinned: true\n"
    "  state: isolated\n"
    "  shadow: safe\n"
    "  policy: {balance: least-request, timeout: 15s, connectTimeout: 1s,\n"
    "    health: {path: /healthz, interval: 250ms}, retries: {max: 1, budget: 20%}}\n"
    "---\n"
    "kind: Service\n"
    "metadata: {name: pricing}\n"
    "---\n"
    "kind: Environment\n"
    "metadata: {name: main, labels: {team: platform, \"no\": yes}}\n"
    "spec:\n"
    "  mode: baseline\n"
    "  owner: no\n"
    "  providers:\n"
    "    cart: {endpoints: [\"10.1.0.5:8080\", \"cart.main.svc:8080\"],\n"
    "      artifact: \"registry/cart@sha256:aa\", region: eu-west-1}\n"
    "    pricing: {endpoints: [{address: \"[fd00::1]:80\", weight: 1000}, \"unix:/run/p\"]}\n"
    "---\n"
    "kind: Environment\n"
    "metadata: {name: feat-42}\n"
    "spec:\n"
    "  mode: overlay\n"
    "  parents: [main]\n"
    "  use: {pricing: main}\n"
    "  remove: []\n"
    "  expires: 2026-12-01T00:00:00Z\n"
    "  priority: -3\n"
    "  strict: true\n"
    "  access: {subjects: [\"spiffe://a/b\"]}\n"
    "---\n"
    "kind: Gateway\n"
    "metadata: {name: edge}\n"
    "spec:\n"
    "  defaultEnvironment: main\n"
    "  overlayAccess: public\n"
    "  pinHosts: [Shop.example.com.]\n"
    "  select:\n"
    "    - {host: \"*.Preview.example.com\"}\n"
    "    - {header: X-Offshoot-Env, forward: true}\n"
    "    - {tracestate: t@sys}\n"
    "  routes:\n"
    "    - {host: \"*.Example.com:443\", path: /api/cart, service: cart}\n"
    "    - {path: /, service: pricing}\n";

/* ---- what is read -------------------------------------------------------------------------- */

static void reads_every_field_of_a_service(void **state)
{
    (void)state;
    struct judged j;
    judge(&j, whole);
    assert_int_equal(j.findings.n, 0);
    assert_int_equal(j.model->nservices, 2);
    const struct model_service *s = j.model->services[0];
    assert_str(s->name.s, "cart");
    assert_int_equal(s->protocol, PROTOCOL_GRPC);
    assert_int_equal(s->port, 8080);
    assert_int_equal(s->nhosts, 2);
    assert_str(s->hosts[0].s, "Cart");
    assert_str(s->hosts[1].s, "cart.shop.svc.cluster.local:80");
    assert_int_equal(s->propagates, PROPAGATES_TRUE);
    assert_int_equal(s->ndepends_on, 1);
    assert_true(s->pinned);
    assert_int_equal(s->state, STATE_ISOLATED);
    assert_int_equal(s->shadow, SHADOW_SAFE);
    assert_int_equal(s->policy.balance, BALANCE_LEAST_REQUEST);
    assert_int_equal(s->policy.timeout_ms, 15000);
    assert_int_equal(s->policy.connect_timeout_ms, 1000);
    assert_int_equal(s->policy.health.interval_ms, 250);
    assert_str(s->policy.health.path, "/healthz");
    assert_int_equal(s->policy.retries_max, 1);
    assert_int_equal(s->policy.retries_budget_percent, 20);
    judged_release(&j);
}

static void a_service_has_defaults(void **state)
{
    (void)state;
    struct judged j;
    judge(&j, whole);
    const struct model_service *s = j.model->services[1];
    assert_int_equal(s->protocol, PROTOCOL_HTTP);
    assert_int_equal(s->port, 0);
    assert_int_equal(s->nhosts, 0);
    assert_int_equal(s->propagates, PROPAGATES_UNKNOWN);
    assert_false(s->pinned);
    assert_int_equal(s->state, STATE_SHARED);
    assert_int_equal(s->shadow, SHADOW_DENY);
    assert_int_equal(s->policy.balance, BALANCE_ROUND_ROBIN);
    assert_int_equal(s->policy.health.interval_ms, 0);
    assert_int_equal(s->policy.retries_max, UINT32_MAX);
    assert_int_equal(s->policy.retries_budget_percent, UINT32_MAX);
    judged_release(&j);
}

static void reads_every_field_of_an_environment(void **state)
{
    (void)state;
    struct judged j;
    judge(&j, whole);
    assert_int_equal(j.model->nenvs, 2);
    const struct model_env *e = j.model->envs[0];
    assert_int_equal(e->mode, MODE_BASELINE);
    assert_str(e->owner, "no");
    assert_int_equal(e->nlabels, 2);
    assert_str(e->labels[0].s, "no"); /* sorted by key */
    assert_str(e->labels[1].s, "yes");
    assert_str(e->labels[2].s, "team");
    assert_int_equal(e->nstatements, 2);
    assert_int_equal(e->statements[0].nendpoints, 2);
    assert_int_equal(e->statements[0].endpoints[0].addr.kind, ADDR_IP4);
    assert_int_equal(e->statements[0].endpoints[0].weight, 1);
    assert_str(e->statements[0].endpoints[1].addr.name, "cart.main.svc");
    assert_str(e->statements[0].artifact, "registry/cart@sha256:aa");
    assert_str(e->statements[0].region, "eu-west-1");
    assert_int_equal(e->statements[1].endpoints[0].weight, 1000);
    assert_str(e->statements[1].endpoints[1].addr.name, "/run/p");
    assert_false(e->has_expires);

    e = j.model->envs[1];
    assert_int_equal(e->mode, MODE_OVERLAY);
    assert_int_equal(e->nparents, 1);
    assert_str(e->parents[0].s, "main");
    assert_int_equal(e->nstatements, 1);
    assert_int_equal(e->statements[0].kind, STATEMENT_USE);
    assert_str(e->statements[0].use.s, "main");
    assert_true(e->has_expires);
    assert_int_equal(e->expires, 1796083200);
    assert_int_equal(e->priority, -3);
    assert_true(e->strict);
    assert_int_equal(e->access, ACCESS_SUBJECTS);
    assert_int_equal(e->nsubjects, 1);
    judged_release(&j);
}

static void reads_every_field_of_a_gateway(void **state)
{
    (void)state;
    struct judged j;
    judge(&j, whole);
    assert_int_equal(j.model->ngateways, 1);
    const struct model_gateway *g = j.model->gateways[0];
    assert_str(g->default_environment.s, "main");
    assert_true(g->overlay_access_public);
    assert_int_equal(g->npin_hosts, 1);
    assert_str(g->pin_hosts[0].s, "shop.example.com");
    assert_int_equal(g->nselectors, 3);
    assert_int_equal(g->selectors[0].kind, SELECT_HOST);
    assert_str(g->selectors[0].key.s, "*.preview.example.com");
    assert_false(g->selectors[0].forward);
    assert_str(g->selectors[1].key.s, "x-offshoot-env");
    assert_true(g->selectors[1].forward);
    assert_str(g->selectors[2].key.s, "t@sys");
    assert_int_equal(g->nroutes, 2);
    assert_str(g->routes[0].host.s, "*.example.com");
    assert_str(g->routes[0].path.s, "/api/cart");
    assert_str(g->routes[0].service.s, "cart");
    assert_int_equal(g->routes[1].host.s.n, 0);
    judged_release(&j);
}

static void keeps_the_place_of_every_value(void **state)
{
    (void)state;
    struct judged j;
    judge(&j, whole);
    const struct model_env *e = j.model->envs[1];
    assert_int_equal(e->name.at.line, 30);
    assert_int_equal(e->name.at.column, 18);
    assert_int_equal(e->spec_at.line, 32);
    assert_int_equal(e->parents_at.line, 33);
    assert_int_equal(e->parents_at.column, 3);
    assert_int_equal(e->parents_value_at.column, 12);
    assert_int_equal(e->parents[0].at.column, 13);
    assert_int_equal(e->statements[0].service.at.column, 9);
    assert_int_equal(e->statements[0].use.at.column, 18);
    assert_int_equal(e->expires_at.line, 36);
    assert_int_equal(j.model->envs[0]->statements[1].endpoints[0].at.column, 37);
    assert_int_equal(j.model->envs[0]->statements[1].endpoints[1].at.line, 27);
    judged_release(&j);
}

static void json_is_read_too(void **state)
{
    (void)state;
    assert_found(
        "{\"kind\":\"Environment\",\"metadata\":{\"name\":\"main\"},\n"
        "\t\"spec\":{\"mode\":\"baseline\",\"strict\":true,\"priority\":3,\"providers\":{}}}",
        "");
    assert_found("{\"kind\":\"Environment\",\"metadata\":{\"name\":\"main\"},\n"
                 "\"spec\":{\"mode\":\"baseline\",\"strict\":\"true\",\"priority\":\"3\"}}",
        "type 2:36; type 2:54");
}

static void text_is_taken_as_written(void **state)
{
    (void)state;
    struct judged j;
    judge(&j, "kind: Environment\nmetadata: {name: no}\nspec: {mode: baseline, owner: 0x10}\n"
              "---\nkind: Environment\nmetadata: {name: 1e3}\nspec: {mode: baseline, owner: ~}\n");
    assert_int_equal(j.result, 0);
    assert_str(j.model->envs[0]->name.s, "no");
    assert_str(j.model->envs[0]->owner, "0x10");
    assert_str(j.model->envs[1]->name.s, "1e3");
    assert_str(j.model->envs[1]->owner, "~");
    judged_release(&j);
}

static void empty_documents_and_comments_are_nothing(void **state)
{
    (void)state;
    assert_found("---\n---\n# only this\n---\n" ENV "...\n# after\n...\n---\n", "");
    assert_found("# first\n%YAML 1.1\n# second\n---\n" ENV "...\n%YAML 1.2\n---\n# nothing\n", "");
    assert_found("\xef\xbb\xbf" ENV, "");
    assert_found(
        "kind: Environment\r\nmetadata: {name: main}\r\nspec: {mode: baselin}\r\n", "type 3:14");
    assert_found(
        "kind: Environment\rmetadata: {name: main}\rspec: {mode: baselin}\r---\r", "type 3:14");
}

/* ---- syntax -------------------------------------------------------------------------------- */

static void refuses_what_graph_files_do_not_use_of_yaml(void **state)
{
    (void)state;
    assert_found(ENV "  owner: &a x\n", "syntax 5:10");
    assert_found(ENV "  providers: &a {}\n", "syntax 5:14");
    assert_found(ENV "  parents: &a []\n", "syntax 5:12");
    assert_found(ENV "  owner: *a\n", "syntax 5:10");
    assert_found(ENV "  <<: {owner: x}\n", "syntax 5:3");
    assert_found(ENV "  owner: !!str x\n", "syntax 5:10");
    assert_found(ENV "  providers: !x {}\n", "syntax 5:14");
    assert_found(ENV "  ? [a]\n  : b\n", "syntax 5:5");
    assert_found(ENV "  ? {a: b}\n  : b\n", "syntax 5:5");
    assert_found("%TAG ! tag:x,2000:\n---\n" ENV, "syntax 1:1");
    assert_found("%YAML 2.0\n---\n" ENV, "syntax 1:1");
    assert_found(ENV "  owner: \"a\\0b\"\n", "syntax 5:10");
}

static void says_where_text_is_not_yaml(void **state)
{
    (void)state;
    assert_found(ENV "\tx: y\n", "syntax 5:1");
    assert_found(ENV "  owner: [a\n---\n" MAIN, "syntax 6:1");
    assert_found(ENV "  owner: 'a\n", "syntax 6:1");
    assert_found(ENV " owner: a\n", "syntax 5:2");
    assert_found("a: b\n c: d\n", "syntax 2:3");
    assert_found("{} {}\n", "syntax 1:4");
}

static void refuses_bytes_that_are_no_text(void **state)
{
    (void)state;
    assert_found(ENV "  owner: a\xff\n", "syntax 5:11");
    assert_found(ENV "  owner: \xc3\xa9\xed\xa0\x80\n", "syntax 5:12");
    assert_found(ENV "# \xef\xbb\xbf\n", "syntax 5:3");
    assert_found("---\n\xef\xbb\xbf" ENV, "syntax 2:1");
    assert_found("\xff\xfe" ENV, "syntax 1:1");
    assert_found(ENV "  owner: \x01\n", "syntax 5:10");
    assert_found(ENV "  owner: \x7f\n", "syntax 5:10");
    assert_found(ENV "  owner: a\xe2\x80\xa8 b\n", "syntax 5:11");
    assert_found(ENV "  owner: a\xc2\x85 b\n", "syntax 5:11");

    struct judged j;
    struct load_source s = {.name = "a", .bytes = STR("kind: Environment\nm\0: {}\n")};
    judge_sources(&j, &s, 1, NULL);
    assert_int_equal(j.findings.n, 1);
    assert_int_equal(j.findings.list[0].code, F_SYNTAX);
    assert_int_equal(j.findings.list[0].at.line, 2);
    assert_int_equal(j.findings.list[0].at.column, 2);
    judged_release(&j);
}

static void columns_count_bytes(void **state)
{
    (void)state;
    assert_found(ENV
        "  owner: \"\xc3\xa9\xe2\x82\xac\" # \xc3\xa9\n"
        "  \"\xc3\xa9\": {\xc3\xa9: 1}\n  providers: {\"\xc3\xa9\": {endpoints: []}}\n",
        "unknown-field 6:3; unknown-service 7:15; type 7:33");
}

static void an_unreadable_file_is_a_finding(void **state)
{
    (void)state;
    struct judged j;
    struct load_source s[2] = {source_of("a", ENV), {.name = "b", .error_text = "no such file"}};
    judge_sources(&j, s, 2, NULL);
    assert_int_equal(j.findings.n, 1);
    assert_int_equal(j.findings.list[0].code, F_SYNTAX);
    assert_int_equal(j.findings.list[0].at.file, 1);
    assert_int_equal(j.findings.list[0].at.line, 1);
    assert_string_equal(j.findings.list[0].message, "no such file");
    judged_release(&j);
}

static void a_fault_in_one_document_leaves_the_others(void **state)
{
    (void)state;
    struct judged j;
    judge(&j, "a: [\n" MAIN "---\n}\n");
    assert_int_equal(j.findings.errors, 2);
    assert_int_equal(j.model->nenvs, 1);
    judged_release(&j);
}

static void nesting_has_a_limit(void **state)
{
    (void)state;
    char text[600];
    for (int depth = 32; depth <= 33; depth++) {
        /* the document is the first level */
        size_t n = (size_t)snprintf(text, sizeof(text), "x: ");
        for (int i = 1; i < depth; i++)
            text[n++] = '[';
        for (int i = 1; i < depth; i++)
            text[n++] = ']';
        snprintf(text + n, sizeof(text) - n, "\n" MAIN);
        assert_found(text, depth == 32 ? "unknown-field 1:1" : "syntax 1:35");
    }
}

static void a_hundred_thousand_brackets_are_refused_early(void **state)
{
    (void)state;
    static char text[100001];
    memset(text, '[', sizeof(text) - 1);
    assert_found(text, "syntax 1:33");
    for (size_t i = 0; i + 2 < sizeof(text); i += 2)
        memcpy(text + i, "- ", 2);
    assert_found(text, "syntax 1:65");
    memset(text, '{', sizeof(text) - 1);
    assert_found(text, "syntax 1:2"); /* a mapping as a key */
}

static void documents_have_a_limit(void **state)
{
    (void)state;
    struct load_limits limits = {32, 3};
    for (int n = 3; n <= 4; n++) {
        struct loader *l = loader_new(&limits);
        const struct model *m;
        struct findings f;
        findings_init(&f);
        struct load_source s[2] = {source_of("a", ENV "---\n"), source_of("b", "---\n---\n")};
        s[1].bytes.n = n == 3 ? 4 : 8;
        assert_int_equal(loader_load(l, s, 2, &f, &m), 0);
        assert_int_equal(f.errors, n == 3 ? 0 : 1);
        if (n == 4) {
            assert_int_equal(f.list[0].code, F_SYNTAX);
            assert_int_equal(f.list[0].at.file, 1);
            assert_int_equal(f.list[0].at.line, 2);
            assert_non_null(strstr(f.list[0].message, "more than 3 documents"));
        }
        findings_release(&f);
        loader_free(l);
    }
}

/* `count` short texts in one list, and the findings of that. */
static void judge_list(struct judged *j, const char *head, int count, bool distinct)
{
    size_t size = 200 + (size_t)count * 8;
    char *text = mem_alloc(size);
    assert_non_null(text);
    size_t n = (size_t)snprintf(text, size, "%s", head);
    for (int i = 0; i < count; i++)
        n += (size_t)snprintf(text + n, size - n, distinct ? "%x," : "a,", (unsigned)i);
    snprintf(text + n, size - n, "]\n");
    judge(j, text);
    mem_free(text);
}

static void values_have_a_limit_by_the_size_of_the_document(void **state)
{
    (void)state;
    static const char head[] = ENV "  expires: [";
    for (int excess = 0; excess <= 1; excess++) {
        struct judged j;
        /* 13 nodes stand before the items, and there may be 43690 + bytes / 5 */
        int n = 0;
        while (13 + n <= 43690 + (int)(sizeof(head) + 1 + 2 * (size_t)n) / 5)
            n++;
        judge_list(&j, head, n - 1 + excess, false);
        assert_int_equal(j.findings.n, 1);
        assert_int_equal(j.findings.list[0].code, excess ? F_SYNTAX : F_TYPE);
        judged_release(&j);
    }
}

static void memory_has_a_limit_by_the_size_of_the_input(void **state)
{
    (void)state;
    struct judged j;
    judge_list(&j, ENV "  remove: [", 30000, true);
    assert_int_equal(j.findings.by_code[F_UNKNOWN_SERVICE], 30000);
    judged_release(&j);
    judge_list(&j, ENV "  remove: [", 200000, true);
    assert_int_equal(j.findings.n, 1);
    assert_int_equal(j.findings.list[0].code, F_SYNTAX);
    assert_non_null(strstr(j.findings.list[0].message, "more memory"));
    judged_release(&j);
}

/* ---- fields -------------------------------------------------------------------------------- */

static void unknown_fields_are_named_with_the_nearest(void **state)
{
    (void)state;
    assert_found("kid: Environment\nmetadata: {name: main}\nspec: {mode: baseline}\n" MAIN,
        "unknown-field 1:1");
    assert_found("apiversion: offshoot.dev/v1\n" ENV, "unknown-field 1:1");
    assert_found("kind: Environment\nmetadata: {name: main, labls: {}}\nspec: {mode: baseline}\n",
        "unknown-field 2:24");
    assert_found(ENV "  provders: {}\n", "unknown-field 5:3");
    assert_found(ENV "  moed: overlay\n", "unknown-field 5:3");
    assert_found(ENV "  access: {subject: [a]}\n", "unknown-field 5:12");
    assert_found(ENV "  providers: {cart: {endpoint: []}}\n" CART, "unknown-field 5:22");
    assert_found(
        ENV "  providers: {cart: {endpoints: [{adress: \"a:1\"}]}}\n" CART, "unknown-field 5:35");
    assert_found(GATE "  selct: []\n" MAIN, "unknown-field 4:3");
    assert_found(GATE "  select: [{heder: a}]\n" MAIN, "unknown-field 4:13");
    assert_found(GATE "  routes: [{path: /, servce: cart}]\n" MAIN, "unknown-field 4:22");
    assert_found(SERV "  prot: 1\n" MAIN, SERV_FOUND("unknown-field 4:3"));
    assert_found(SERV "  policy: {tmeout: 1s}\n" MAIN, SERV_FOUND("unknown-field 4:12"));
    assert_found(SERV "  policy: {health: {pth: /}}\n" MAIN, SERV_FOUND("unknown-field 4:21"));
    assert_found(SERV "  policy: {retries: {mx: 1}}\n" MAIN, SERV_FOUND("unknown-field 4:22"));
    assert_says(ENV "  provders: {}\n", "did you mean 'providers'?");
    assert_says(ENV "  x: {}\n", "known are: mode, owner, parent,");
}

static void missing_fields_are_found_at_the_mapping_that_lacks_them(void **state)
{
    (void)state;
    assert_found("metadata: {name: main}\nspec: {mode: baseline}\n" MAIN, "missing-field 1:1");
    assert_found("kind: Environment\nspec: {mode: baseline}\n" MAIN, "missing-field 1:1");
    assert_found("kind: Environment\nmetadata: {labels: {}}\nspec: {mode: baseline}\n" MAIN,
        "missing-field 2:11");
    assert_found("kind: Environment\nmetadata: {name: feat}\n" MAIN, "missing-field 1:1");
    assert_found("kind: Environment\nmetadata: {name: feat}\nspec: {}\n" MAIN, "missing-field 3:7");
    assert_found(ENV "  providers: {cart: {}}\n" CART, "missing-field 5:21");
    assert_found(
        ENV "  providers: {cart: {endpoints: [{weight: 1}]}}\n" CART, "missing-field 5:34");
    assert_found(ENV "  access: {}\n", "missing-field 5:11");
    assert_found(
        SERV "  policy: {health: {interval: 1s}}\n" MAIN, SERV_FOUND("missing-field 4:20"));
    assert_found(GATE "  select: [{}]\n" MAIN, "missing-field 4:12");
    assert_found(GATE "  select: [{forward: true}]\n" MAIN, "missing-field 4:12");
    assert_found(GATE "  routes: [{path: /}]\n" MAIN, "missing-field 4:12");
    assert_found(GATE "  routes: [{service: cart}]\n" MAIN CART,
        "missing-field 4:12; unprovided-service 11:18");
}

static void names_follow_the_grammar(void **state)
{
    (void)state;
#define NAMED(name) "kind: Environment\nmetadata: {name: " name "}\nspec: {mode: baseline}\n"
#define X31         "abcdefghijklmnopqrstuvwxyz01234"
    assert_found(NAMED("a"), "");
    assert_found(NAMED("a-b"), "");
    assert_found(NAMED("0"), "");
    assert_found(NAMED(X31 "-" X31), "");
    assert_found(NAMED(X31 "--" X31), "name 2:18");
    assert_found(NAMED("Main"), "name 2:18");
    assert_found(NAMED("a_b"), "name 2:18");
    assert_found(NAMED("-a"), "name 2:18");
    assert_found(NAMED("a-"), "name 2:18");
    assert_found(NAMED("\"\""), "name 2:18");
    assert_found(NAMED("~"), "name 2:18");
    /* what refers to it is not judged again */
    assert_found(NAMED("Main") "---\nkind: Environment\nmetadata: {name: feat}\n"
                               "spec: {mode: overlay, parent: Main}\n",
        "name 2:18");
    assert_found("kind: Service\nmetadata: {name: a.b}\n" MAIN, "name 2:18");
}

static void types_are_judged_at_the_value(void **state)
{
    (void)state;
    assert_found("a\n" MAIN, "type 1:1");
    assert_found("[]\n" MAIN, "type 1:1");
    assert_found("''\n" MAIN, "type 1:1");
    assert_found("apiVersion: offshoot.dev/v2\n" ENV, "type 1:13");
    assert_found("kind: Enviroment\nmetadata: {name: main}\n" MAIN, "type 1:7");
    assert_found("kind: Environment\nmetadata: []\nspec: {mode: baseline}\n" MAIN, "type 2:11");
    assert_found(
        "kind: Environment\nmetadata: {name: [a]}\nspec: {mode: baseline}\n" MAIN, "type 2:18");
    assert_found(
        "kind: Environment\nmetadata: {name: }\nspec: {mode: baseline}\n" MAIN, "type 2:18");
    assert_found("kind: Environment\nmetadata: {name: main, labels: {a: []}}\n"
                 "spec: {mode: baseline}\n",
        "type 2:36");
    assert_found("kind: Environment\nmetadata: {name: main}\nspec:\n", "type 3:6");
    assert_found("kind: Environment\nmetadata: {name: main}\nspec: {mode: base}\n", "type 3:14");
    assert_found(ENV "  providers: []\n", "type 5:14");
    assert_found(ENV "  providers:\n", "type 5:13");
    assert_found(ENV "  use: main\n", "type 5:8");
    assert_found(ENV "  remove: cart\n", "type 5:11");
    assert_found(ENV "  remove: [[]]\n", "type 5:12");
    assert_found(ENV "  strict: yes\n", "type 5:11");
    assert_found(ENV "  strict: \"true\"\n", "type 5:11");
    assert_found(ENV "  priority: \"1\"\n", "type 5:13");
    assert_found(ENV "  priority: 0x1\n", "type 5:13");
    assert_found(ENV "  priority: 1.0\n", "type 5:13");
    assert_found(ENV "  priority: 2147483648\n", "type 5:13");
    assert_found(ENV "  access: private\n", "type 5:11");
    assert_found(ENV "  access: []\n", "type 5:11");
    assert_found(ENV "  access: {subjects: []}\n", "type 5:22");
    assert_found(ENV "  access: {subjects: a}\n", "type 5:22");
    assert_found(ENV "  expires: []\n", "type 5:12");
    assert_found(ENV "  providers: {cart: {endpoints: []}}\n" CART, "type 5:33");
    assert_found(ENV "  providers: {cart: {endpoints: \"a:1\"}}\n" CART, "type 5:33");
    assert_found(ENV "  providers: {cart: {endpoints: [[]]}}\n" CART, "type 5:34");
    assert_found(ENV "  providers: {cart: []}\n" CART, "type 5:21");
    assert_says(ENV "  strict: \"true\"\n", "'true' in quotes is text");
    assert_says("kind: Enviroment\nmetadata: {name: main}\n" MAIN, "did you mean 'Environment'?");
}

static void types_of_services_and_gateways(void **state)
{
    (void)state;
    assert_found(SERV "  protocol: htp\n" MAIN, SERV_FOUND("type 4:13"));
    assert_found(SERV "  port: 65535\n" MAIN, UNPROVIDED);
    assert_found(SERV "  port: 65536\n" MAIN, SERV_FOUND("type 4:9"));
    assert_found(SERV "  port: 1\n" MAIN, UNPROVIDED);
    assert_found(SERV "  port: 0\n" MAIN, SERV_FOUND("type 4:9"));
    assert_found(SERV "  port: 080\n" MAIN, SERV_FOUND("type 4:9"));
    assert_found(SERV "  port: \"80\"\n" MAIN, SERV_FOUND("type 4:9"));
    assert_found(SERV "  propagates: \"true\"\n" MAIN, SERV_FOUND("type 4:15"));
    assert_found(SERV "  propagates: \"unknown\"\n" MAIN, UNPROVIDED);
    assert_found(SERV "  pinned: True\n" MAIN, SERV_FOUND("type 4:11"));
    assert_found(SERV "  state: x\n" MAIN, SERV_FOUND("type 4:10"));
    assert_found(SERV "  shadow: x\n" MAIN, SERV_FOUND("type 4:11"));
    assert_found(SERV "  hosts: cart\n" MAIN, SERV_FOUND("type 4:10"));
    assert_found(SERV "  hosts: [a b]\n" MAIN, SERV_FOUND("name 4:11"));
    assert_found(SERV "  dependsOn: cart\n" MAIN, SERV_FOUND("type 4:14"));
    assert_found(SERV "  policy: {timeout: 15}\n" MAIN, SERV_FOUND("type 4:21"));
    assert_found(SERV "  policy: {timeout: 0}\n" MAIN, SERV_FOUND("type 4:21"));
    assert_found(SERV "  policy: {timeout: 25h}\n" MAIN, SERV_FOUND("type 4:21"));
    assert_found(SERV "  policy: {balance: random}\n" MAIN, SERV_FOUND("type 4:21"));
    assert_found(SERV "  policy: {retries: {max: 11}}\n" MAIN, SERV_FOUND("type 4:27"));
    assert_found(SERV "  policy: {retries: {budget: 101%}}\n" MAIN, SERV_FOUND("type 4:30"));
    assert_found(SERV "  policy: {retries: {budget: 20}}\n" MAIN, SERV_FOUND("type 4:30"));
    assert_found(SERV "  policy: {health: {path: x}}\n" MAIN, SERV_FOUND("type 4:27"));
    assert_found(GATE "  overlayAccess: none\n" MAIN, "type 4:18");
    assert_found(GATE "  select: [{header: a, cookie: b}]\n" MAIN, "type 4:24 4:21");
    assert_found(GATE "  select: [{header: a, forward: \"true\"}]\n" MAIN, "type 4:33");
    assert_found(GATE "  select: [{header: \"a b\"}]\n" MAIN, "name 4:21");
    assert_found(GATE "  select: [{host: a.example.com}]\n" MAIN, "name 4:19");
    assert_found(GATE "  pinHosts: [\"*.a\"]\n" MAIN, "name 4:14");
    assert_found(GATE "  routes: [{path: a, service: cart}]\n" MAIN CART,
        "type 4:19; unprovided-service 11:18");
    assert_found(GATE "  routes: [{path: /.., service: cart}]\n" MAIN CART,
        "type 4:19; unprovided-service 11:18");
    assert_found(GATE "  routes: [{path: /a?b, service: cart}]\n" MAIN CART,
        "type 4:19; unprovided-service 11:18");
    assert_found(GATE "  routes: [{host: \"a..b\", path: /, service: cart}]\n" MAIN CART,
        "name 4:19; unprovided-service 11:18");
}

static void addresses_are_judged_at_the_value(void **state)
{
    (void)state;
#define AT(address) ENV "  providers: {cart: {endpoints: [" address "]}}\n" CART
    assert_found(AT("\"10.0.0.1:80\""), "");
    assert_found(AT("a:80"), "");
    assert_found(AT("10.0.0.1"), "address 5:34");
    assert_found(AT("\"10.0.0.256:80\""), "address 5:34");
    assert_found(AT("\"10.0.0.01:80\""), "address 5:34");
    assert_found(AT("\"a:0\""), "address 5:34");
    assert_found(AT("\"a:65536\""), "address 5:34");
    assert_found(AT("\"[::1]\""), "address 5:34");
    assert_found(AT("\"\""), "address 5:34");
    assert_found(AT("\"tunnel:x\""), "address 5:34");
    assert_found(AT("{address: a}"), "address 5:44");
    assert_found(AT("{address: a:1, weight: 1}"), "");
    assert_found(AT("{address: a:1, weight: 0}"), "type 5:57");
    assert_found(AT("{address: a:1, weight: 1001}"), "type 5:57");
    assert_found(AT("a:80, b, c:80, d"), "address 5:40; address 5:49");
}

static void dates_are_judged_at_the_value(void **state)
{
    (void)state;
    assert_found(ENV "  expires: 2026-12-01T00:00:00Z\n", "baseline-expires 5:12");
    assert_found(ENV "  expires: \"2026-12-01T00:00:00+01:00\"\n", "baseline-expires 5:12");
    assert_found(ENV "  expires: 2026-12-01T00:00:00\n", "date 5:12");
    assert_found(ENV "  expires: 2026-12-01\n", "date 5:12");
    assert_found(ENV "  expires: 2026-02-30T00:00:00Z\n", "date 5:12");
    assert_found(ENV "  expires: soon\n", "date 5:12");
}

static void a_key_that_stands_twice_is_a_duplicate(void **state)
{
    (void)state;
    assert_found(ENV "  mode: overlay\n", "duplicate 5:3 4:3");
    assert_found(ENV "  providers: {cart: {endpoints: [a:1]}, cart: {endpoints: [x]}}\n" CART,
        "duplicate 5:41 5:15");
    assert_found("kind: Environment\nmetadata: {name: main}\nmetadata: {name: b}\n"
                 "spec: {mode: baseline}\n",
        "duplicate 3:1 2:1");
    /* among many keys, where they are hashed */
    assert_found("kind: Environment\nmetadata:\n  name: main\n  labels: {a: 1, b: 1, c: 1, d: 1, "
                 "e: 1, f: 1, g: 1, h: 1, i: 1, j: 1, k: 1, l: 1, m: 1, c: 1, \"c\": 1}\n"
                 "spec: {mode: baseline}\n",
        "duplicate 4:90 4:24; duplicate 4:96 4:24");
}

static void a_name_that_stands_twice_is_a_duplicate(void **state)
{
    (void)state;
    assert_found(ENV MAIN, "duplicate 7:18 2:18");
    assert_found("kind: Service\nmetadata: {name: main}\n" CART CART MAIN,
        "unprovided-service 2:18; unprovided-service 5:18; duplicate 8:18 5:18");
    assert_found(GATE "---\n" GATE MAIN, "type 3:6; duplicate 6:18 2:18; type 7:6");
}

static void nothing_at_all_is_an_error(void **state)
{
    (void)state;
    assert_found("", "empty 1:1");
    assert_found("# nothing\n---\n", "empty 1:1");
    assert_found("kind: Service\nmetadata: {name: cart}\n", "empty 1:1");
    assert_found("kind: Environment\n  x: y\n", "syntax 2:4");
    struct judged j;
    judge_sources(&j, NULL, 0, NULL);
    assert_int_equal(j.findings.n, 1);
    assert_int_equal(j.findings.list[0].code, F_EMPTY);
    struct text out = {0};
    findings_text(&j.findings, j.model->files, &out);
    assert_non_null(strstr(out.p, "(no file):1:1: error: empty: "));
    text_release(&out);
    judged_release(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field_of_a_service),
        cmocka_unit_test(a_service_has_defaults),
        cmocka_unit_test(reads_every_field_of_an_environment),
        cmocka_unit_test(reads_every_field_of_a_gateway),
        cmocka_unit_test(keeps_the_place_of_every_value),
        cmocka_unit_test(json_is_read_too),
        cmocka_unit_test(text_is_taken_as_written),
        cmocka_unit_test(empty_documents_and_comments_are_nothing),
        cmocka_unit_test(refuses_what_graph_files_do_not_use_of_yaml),
        cmocka_unit_test(says_where_text_is_not_yaml),
        cmocka_unit_test(refuses_bytes_that_are_no_text),
        cmocka_unit_test(columns_count_bytes),
        cmocka_unit_test(an_unreadable_file_is_a_finding),
        cmocka_unit_test(a_fault_in_one_document_leaves_the_others),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(a_hundred_thousand_brackets_are_refused_early),
        cmocka_unit_test(documents_have_a_limit),
        cmocka_unit_test(values_have_a_limit_by_the_size_of_the_document),
        cmocka_unit_test(memory_has_a_limit_by_the_size_of_the_input),
        cmocka_unit_test(unknown_fields_are_named_with_the_nearest),
        cmocka_unit_test(missing_fields_are_found_at_the_mapping_that_lacks_them),
        cmocka_unit_test(names_follow_the_grammar),
        cmocka_unit_test(types_are_judged_at_the_value),
        cmocka_unit_test(types_of_services_and_gateways),
        cmocka_unit_test(addresses_are_judged_at_the_value),
        cmocka_unit_test(dates_are_judged_at_the_value),
        cmocka_unit_test(a_key_that_stands_twice_is_a_duplicate),
        cmocka_unit_test(a_name_that_stands_twice_is_a_duplicate),
        cmocka_unit_test(nothing_at_all_is_an_error),
    };
    return unit_run(tests);
}
