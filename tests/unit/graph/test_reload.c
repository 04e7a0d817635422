/* What a loader keeps from one load to the next. */
#include "tests/unit/graph/judged.h"
#include "tests/unit/graph/routed.h"

#define MAIN "kind: Environment\nmetadata: {name: main}\nspec:\n  mode: baseline\n"
#define FEAT "---\nkind: Environment\nmetadata: {name: feat}\nspec: {mode: overlay, parent: main}\n"
#define GATE                                                                                       \
    "---\nkind: Gateway\nmetadata: {name: edge}\nspec:\n  defaultEnvironment: main\n"              \
    "  pinHosts: [a.b]\n  select: [{header: x-env}]\n"                                             \
    "  routes:\n  - {host: a.b, path: /, service: cart}\n" ROUTED_ROUTES
#define CART                                                                                       \
    "---\nkind: Service\nmetadata: {name: cart}\n"                                                 \
    "spec: {hosts: [c], dependsOn: [cart], tls: {name: n, ca: /c}, policy: {health: {path: "       \
    "/h}, hash: {cookie: k}}}\n---\n"                                                              \
    "kind: Service\nmetadata: {name: pay}\nspec: {policy: {health: {service: s}}}\n"
#define RICH                                                                                       \
    "---\nkind: Environment\nmetadata: {name: rich, labels: {a: b}}\nspec:\n  mode: overlay\n"     \
    "  owner: x\n  parents: [main]\n  expires: 2030-01-01T00:00:00Z\n  priority: 1\n"              \
    "  access: {subjects: [s]}\n"                                                                  \
    "  providers: {cart: {endpoints: [a:1, \"unix:/x\"], artifact: y, region: z}}\n"

/* Everything that a loader gives, in words with places. */
static void place_in_words(struct text *out, const struct place *at)
{
    text_fmt(out, "@%u:%u:%u ", at->file, at->line, at->column);
}

static void text_in_words(struct text *out, const struct mtext *t)
{
    text_fmt(out, "%.*s", STR_ARG(t->s));
    place_in_words(out, &t->at);
}

static void texts_in_words(struct text *out, const struct mtext *t, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        text_in_words(out, &t[i]);
}

static void env_in_words(struct text *out, const struct model_env *e)
{
    text_in_words(out, &e->name);
    place_in_words(out, &e->spec_at);
    texts_in_words(out, e->parents, e->nparents);
    place_in_words(out, &e->parents_at);
    place_in_words(out, &e->parents_value_at);
    texts_in_words(out, e->subjects, e->nsubjects);
    texts_in_words(out, e->labels, 2 * e->nlabels);
    text_add(out, e->owner);
    place_in_words(out, &e->expires_at);
    place_in_words(out, &e->priority_at);
    for (uint32_t i = 0; i < e->nstatements; i++) {
        const struct model_statement *s = &e->statements[i];
        text_in_words(out, &s->service);
        text_in_words(out, &s->use);
        text_fmt(out, "%.*s %.*s ", STR_ARG(s->artifact), STR_ARG(s->region));
        for (uint32_t k = 0; k < s->nendpoints; k++) {
            text_add(out, s->endpoints[k].addr.name);
            place_in_words(out, &s->endpoints[k].at);
        }
    }
    text_add(out, STR("\n"));
}

static void service_in_words(struct text *out, const struct model_service *s)
{
    text_in_words(out, &s->name);
    texts_in_words(out, s->hosts, s->nhosts);
    texts_in_words(out, s->depends_on, s->ndepends_on);
    text_add(out, s->policy.health.path);
    text_add(out, s->policy.health.service);
    text_add(out, s->policy.hash.cookie);
    text_add(out, s->tls.name);
    text_add(out, s->tls.ca);
    text_add(out, STR("\n"));
}

static void fields_in_words(struct text *out, const struct field *f, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        text_fmt(out, "%.*s=%.*s ", STR_ARG(field_name(&f[i])), STR_ARG(field_value(&f[i])));
}

static void actions_in_words(struct text *out, const struct route_actions *a)
{
    if (!a)
        return;
    fields_in_words(out, a->request.set, a->request.nset);
    fields_in_words(out, a->request.remove, a->request.nremove);
    fields_in_words(out, a->reply.set, a->reply.nset);
    fields_in_words(out, a->reply.remove, a->reply.nremove);
    const struct str texts[] = {a->replace_prefix, a->host, a->affinity.cookie,
        a->redirect.location, a->redirect.host, a->redirect.path};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        text_fmt(out, "%.*s,", STR_ARG(texts[i]));
}

static void gateway_in_words(struct text *out, const struct model_gateway *g)
{
    text_in_words(out, &g->name);
    text_in_words(out, &g->default_environment);
    texts_in_words(out, g->pin_hosts, g->npin_hosts);
    for (uint32_t i = 0; i < g->nselectors; i++)
        text_in_words(out, &g->selectors[i].key);
    for (uint32_t i = 0; i < g->nroutes; i++) {
        text_in_words(out, &g->routes[i].host);
        text_in_words(out, &g->routes[i].path);
        text_in_words(out, &g->routes[i].service);
        actions_in_words(out, g->routes[i].actions);
    }
    text_add(out, STR("\n"));
}

static void model_in_words(struct text *out, const struct model *m)
{
    for (uint32_t i = 0; i < m->nfiles; i++)
        text_fmt(out, "%s\n", m->files[i]);
    for (uint32_t i = 0; i < m->nservices; i++)
        service_in_words(out, m->services[i]);
    for (uint32_t i = 0; i < m->nenvs; i++)
        env_in_words(out, m->envs[i]);
    for (uint32_t i = 0; i < m->ngateways; i++)
        gateway_in_words(out, m->gateways[i]);
}

static const struct model *load(
    struct loader *l, struct findings *f, const struct load_source *s, size_t n)
{
    const struct model *m;
    findings_release(f);
    assert_int_equal(loader_load(l, s, n, f, &m), 0);
    model_check(m, NULL, f);
    return m;
}

/* Loads the sources with a loader that has seen others, and with a new one: both say the same. */
static void assert_same_as_new(struct loader *used, const struct load_source *s, size_t n)
{
    struct loader *fresh = loader_new(NULL);
    struct findings a, b;
    struct text ta = {0}, tb = {0};
    findings_init(&a);
    findings_init(&b);
    const struct model *ma = load(used, &a, s, n), *mb = load(fresh, &b, s, n);
    model_in_words(&ta, ma);
    model_in_words(&tb, mb);
    findings_text(&a, ma->files, &ta);
    findings_text(&b, mb->files, &tb);
    assert_string_equal(ta.p, tb.p);
    for (uint32_t i = 0; i < ma->nenvs; i++)
        assert_true(ma->envs[i]->fingerprint == mb->envs[i]->fingerprint);
    text_release(&ta);
    text_release(&tb);
    findings_release(&a);
    findings_release(&b);
    loader_free(fresh);
}

static void any_sequence_of_edits_gives_what_a_new_loader_gives(void **state)
{
    (void)state;
    static const char *const texts[] = {
        MAIN FEAT GATE CART RICH,
        "# a line more\n" MAIN FEAT GATE CART RICH,
        MAIN RICH CART GATE FEAT,
        MAIN FEAT FEAT GATE CART RICH,
        MAIN CART RICH,
        MAIN FEAT "---\nkind: [\n" GATE CART RICH,
        "# a line more\n" MAIN FEAT "---\nkind: [\n" GATE CART RICH,
        "\xef\xbb\xbf" MAIN FEAT GATE "...\n" CART "...\n# x\n" RICH,
        "",
        MAIN FEAT "---\nkind: Service\nmetadata: {nam: x}\n" GATE CART RICH,
    };
    const size_t count = sizeof(texts) / sizeof(*texts);
    struct loader *l = loader_new(NULL);
    for (size_t a = 0; a < count; a++) {
        for (size_t b = 0; b < count; b++) {
            struct load_source s[2] = {source_of("1", texts[a]), source_of("2", texts[b])};
            struct load_source swapped[2] = {s[1], s[0]};
            struct load_source same_name[2] = {s[0], source_of("1", texts[b])};
            assert_same_as_new(l, s, 2);
            assert_same_as_new(l, swapped, 2);
            assert_same_as_new(l, &s[1], 1);
            assert_same_as_new(l, same_name, 2);
        }
    }
    loader_free(l);
}

static void unchanged_documents_stay_where_they_are(void **state)
{
    (void)state;
    struct loader *l = loader_new(NULL);
    struct findings f;
    findings_init(&f);
    struct load_source s = source_of("a", MAIN FEAT RICH CART);
    const struct model *m = load(l, &f, &s, 1);
    const struct model_env *feat = m->envs[1], *rich = m->envs[2];
    uint64_t fingerprint = rich->fingerprint;
    assert_int_equal(rich->name.at.line, 11);

    s = source_of("a", MAIN "  owner: me\n" FEAT RICH CART);
    m = load(l, &f, &s, 1);
    assert_ptr_equal(m->envs[1], feat);
    assert_ptr_equal(m->envs[2], rich);
    assert_int_equal(rich->name.at.line, 12);
    assert_true(rich->fingerprint != fingerprint);

    s = source_of("a", MAIN FEAT RICH CART);
    m = load(l, &f, &s, 1);
    assert_ptr_equal(m->envs[2], rich);
    assert_true(rich->fingerprint == fingerprint);
    findings_release(&f);
    loader_free(l);
}

static void an_equal_generation_means_the_same_bytes(void **state)
{
    (void)state;
    struct loader *l = loader_new(NULL);
    struct findings f;
    findings_init(&f);
    char text[] = MAIN FEAT;
    struct load_source s = {.name = "a", .bytes = str_c(text), .generation = 5};
    const struct model *m = load(l, &f, &s, 1);
    assert_int_equal(m->nenvs, 2);
    memcpy(strstr(text, "feat"), "taef", 4);
    m = load(l, &f, &s, 1);
    assert_str(m->envs[1]->name.s, "feat"); /* it was told that nothing changed */
    s.generation = 6;
    m = load(l, &f, &s, 1);
    assert_str(m->envs[1]->name.s, "taef");
    s.generation = 0; /* not known: looks */
    m = load(l, &f, &s, 1);
    memcpy(strstr(text, "taef"), "xxxx", 4);
    m = load(l, &f, &s, 1);
    assert_str(m->envs[1]->name.s, "xxxx");
    findings_release(&f);
    loader_free(l);
}

static void findings_of_unchanged_documents_are_repeated(void **state)
{
    (void)state;
    struct loader *l = loader_new(NULL);
    struct findings f;
    findings_init(&f);
    struct load_source s = {.name = "a", .generation = 1};
    s.bytes = STR(MAIN "  strict: maybe\n" FEAT "---\na: [\n");
    for (int i = 0; i < 3; i++) {
        load(l, &f, &s, 1);
        assert_int_equal(f.errors, 2);
        assert_int_equal(f.list[0].at.line, 5);
        assert_int_equal(f.list[1].at.line, 12);
    }
    findings_release(&f);
    loader_free(l);
}

static void a_file_that_becomes_unreadable_and_comes_back(void **state)
{
    (void)state;
    struct loader *l = loader_new(NULL);
    struct findings f;
    findings_init(&f);
    struct load_source good = {.name = "a", .bytes = STR(MAIN), .generation = 1};
    struct load_source bad = {.name = "a", .error_text = "permission denied", .generation = 1};
    assert_int_equal(load(l, &f, &good, 1)->nenvs, 1);
    assert_int_equal(load(l, &f, &bad, 1)->nenvs, 0);
    assert_int_equal(f.errors, 1);
    assert_int_equal(load(l, &f, &good, 1)->nenvs, 1);
    assert_int_equal(f.errors, 0);
    findings_release(&f);
    loader_free(l);
}

static void names_of_the_past_are_forgotten(void **state)
{
    (void)state;
    struct loader *l = loader_new(NULL);
    struct findings f;
    findings_init(&f);
    enum { LABELS = 4000 };
    static char text[LABELS * 20 + 200];
    for (int round = 0; round < 60; round++) {
        size_t n = (size_t)snprintf(text, sizeof(text), MAIN "  remove:\n");
        for (int i = 0; i < LABELS; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "  - s%d\n", round * LABELS + i);
        struct load_source s = source_of("a", text);
        const struct model *m = load(l, &f, &s, 1);
        assert_int_equal(m->envs[0]->nstatements, LABELS);
        assert_int_equal(f.by_code[F_UNKNOWN_SERVICE], LABELS);
        assert_int_equal(f.by_code[F_SYNTAX], 0);
    }
    findings_release(&f);
    loader_free(l);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    struct load_source first = source_of("a", MAIN FEAT RICH CART);
    struct load_source second = source_of("a", MAIN GATE FEAT CART "---\na: [\n");
    for (unsigned long nth = 1;; nth++) {
        struct findings f;
        const struct model *m;
        findings_init(&f);
        mem_fail_nth(nth);
        struct loader *l = loader_new(NULL);
        int r = l ? loader_load(l, &first, 1, &f, &m) : -ENOMEM;
        if (r == 0)
            r = loader_load(l, &second, 1, &f, &m);
        bool done = mem_count() < nth;
        mem_fail_nth(0);
        assert_true(r == 0 || r == -ENOMEM);
        assert_true(r == 0 || !done);
        /* a loader that ran out of memory can be used again */
        if (l)
            assert_same_as_new(l, &second, 1);
        findings_release(&f);
        loader_free(l);
        if (done)
            break;
        assert_in_range(nth, 1, 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_sequence_of_edits_gives_what_a_new_loader_gives),
        cmocka_unit_test(unchanged_documents_stay_where_they_are),
        cmocka_unit_test(an_equal_generation_means_the_same_bytes),
        cmocka_unit_test(findings_of_unchanged_documents_are_repeated),
        cmocka_unit_test(a_file_that_becomes_unreadable_and_comes_back),
        cmocka_unit_test(names_of_the_past_are_forgotten),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return unit_run(tests);
}
