/* Snapshots as bytes: what is sent arrives, and nothing else is let in. */
#include "lib/graph/codec.h"
#include "lib/graph/snapshot_int.h"
#include "proto/offshoot/v1/graph.pb-c.h"
#include "tests/unit/graph/graph_text.h"
#include <errno.h>

#define SERVICES                                                                                   \
    "kind: Service\nmetadata: {name: cart}\nspec: {port: 8080, hosts: [c, d], pinned: false, "     \
    "dependsOn: [pay], policy: {timeout: 3s, retries: {max: 0}, health: {path: /h}}}\n---\n"       \
    "kind: Service\nmetadata: {name: pay}\nspec: {protocol: grpc, state: none}\n---\n"
#define GATEWAY                                                                                    \
    "kind: Gateway\nmetadata: {name: edge}\nspec: {defaultEnvironment: main, overlayAccess: "      \
    "public, pinHosts: [x.y], select: [{header: x-env}, {query: e}], routes: [{path: /, service: " \
    "cart}, {host: '*.a.b', path: /p, service: pay}]}\n---\n"
#define MAIN                                                                                       \
    "kind: Environment\nmetadata: {name: main, labels: {a: b, c: ''}}\nspec: {mode: baseline, "    \
    "owner: me, providers: {pay: {endpoints: ['10.0.0.1:80', {address: '[fd00::1]:1', weight: "    \
    "9}], artifact: i, region: r}, cart: {endpoints: ['b.c:2', 'unix:/s']}}}\n---\n"
#define FEAT(port)                                                                                 \
    "kind: Environment\nmetadata: {name: feat}\nspec:\n  mode: overlay\n  parent: main\n"          \
    "  expires: 2030-01-01T00:00:00Z\n  strict: true\n  access: {subjects: ['spiffe://a/b']}\n"    \
    "  providers:\n    pay: {endpoints: ['10.0.0.3:" port "']}\n  remove:\n  - cart\n---\n"
#define POOL                                                                                       \
    "kind: Environment\nmetadata: {name: pool}\nspec: {mode: shared, priority: -3, providers: "    \
    "{pay: {endpoints: ['10.9.9.9:9']}}}\n---\n"
#define USER                                                                                       \
    "kind: Environment\nmetadata: {name: user}\nspec: {mode: overlay, parent: main, use: "         \
    "{pay: feat}}\n---\n"

static const char whole[] = SERVICES GATEWAY MAIN FEAT("1") POOL USER;

static struct pb_out encoded(const struct snapshot *base, const struct snapshot *s)
{
    struct pb_out o = {0};
    struct err e = {0};
    if (codec_encode(base, s, &o, &e) < 0)
        fail_msg("%s", e.text);
    return o;
}

static struct snapshot *applied(const struct snapshot *base, const struct pb_out *o)
{
    struct snapshot *s = NULL;
    struct err e = {0};
    if (codec_apply(base, pb_str(o), &s, NULL, &e) < 0)
        fail_msg("%s", e.text);
    return s;
}

static void assert_same(const struct snapshot *a, const struct snapshot *b)
{
    assert_int_equal(snapshot_epoch(a), snapshot_epoch(b));
    assert_memory_equal(snapshot_digest(a), snapshot_digest(b), 32);
    assert_memory_equal(snapshot_root(a), snapshot_root(b), 32);
    assert_int_equal(snapshot_env_count(a), snapshot_env_count(b));
    for (uint32_t env = 0; env < snapshot_env_limit(a); env++) {
        assert_true(str_eq(snapshot_env_name(a, env), snapshot_env_name(b, env)));
        assert_int_equal(snapshot_revision(a, env), snapshot_revision(b, env));
        for (uint32_t service = 0; service < snapshot_service_limit(a); service++) {
            struct origin x, y;
            struct decision d, f;
            snapshot_resolve(a, env, service, 0, &d);
            snapshot_resolve(b, env, service, 0, &f);
            assert_int_equal(d.provider, f.provider);
            assert_int_equal(d.refusal, f.refusal);
            snapshot_origin(a, &d, &x);
            snapshot_origin(b, &f, &y);
            assert_int_equal(x.line, y.line);
            assert_true(str_eq(x.file, y.file));
        }
    }
}

static void whole_graph_arrives(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(whole);
    struct pb_out o = encoded(NULL, s);
    struct snapshot *t = applied(NULL, &o);
    assert_same(s, t);
    assert_ptr_not_equal(s->chain, t->chain);
    /* What arrived is sent on as the same bytes. */
    struct pb_out again = encoded(NULL, t);
    assert_int_equal(o.n, again.n);
    assert_memory_equal(o.p, again.p, o.n);
    pb_release(&o);
    pb_release(&again);
    snapshot_unref(s);
    snapshot_unref(t);
}

static void encoding_is_what_the_proto_file_says(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(whole);
    struct pb_out o = encoded(NULL, s);
    Offshoot__V1__Difference *m = offshoot__v1__difference__unpack(NULL, o.n, o.p);
    assert_non_null(m);
    assert_int_equal(m->base_epoch, 0);
    assert_int_equal(m->epoch, 1);
    assert_int_equal(m->n_services, 2);
    assert_string_equal(m->services[0]->record->name, "cart");
    assert_int_equal(m->services[0]->record->policy->timeout_ms, 3000);
    assert_int_equal(
        m->services[0]->record->policy->retries_case, OFFSHOOT__V1__POLICY__RETRIES_RETRIES_MAX);
    assert_int_equal(
        m->services[0]->record->policy->budget_case, OFFSHOOT__V1__POLICY__BUDGET__NOT_SET);
    assert_int_equal(m->n_environments, 4);
    const Offshoot__V1__Environment *main_ = m->environments[0]->record;
    assert_string_equal(main_->name, "main");
    assert_string_equal(main_->owner, "me");
    assert_int_equal(main_->n_labels, 2);
    assert_int_equal(main_->n_statements, 2);
    assert_string_equal(main_->statements[0]->service, "cart");
    assert_int_equal(main_->statements[1]->provides->endpoints[0]->ip4, 0x0a000001);
    assert_int_equal(main_->statements[1]->provides->endpoints[1]->weight, 9);
    const Offshoot__V1__Environment *feat = m->environments[1]->record;
    assert_int_equal(feat->expires, 1893456000);
    assert_int_equal(feat->statements[0]->what_case, OFFSHOOT__V1__STATEMENT__WHAT_REMOVE);
    assert_int_equal(m->environments[2]->record->priority, -3);
    assert_string_equal(m->environments[3]->record->statements[0]->use, "feat");
    assert_int_equal(m->n_gateways, 1);
    assert_int_equal(m->gateways[0]->record->n_routes, 2);
    assert_string_equal(m->files[0], "0.yaml");
    assert_int_equal(m->environments[1]->n_lines, 4);
    /* Generated code writes the same bytes: nothing is out of order or written needlessly. */
    uint8_t *packed = mem_alloc(offshoot__v1__difference__get_packed_size(m));
    assert_int_equal(offshoot__v1__difference__pack(m, packed), o.n);
    assert_memory_equal(packed, o.p, o.n);
    mem_free(packed);
    offshoot__v1__difference__free_unpacked(m, NULL);
    pb_release(&o);
    snapshot_unref(s);
}

/* Goes from the first text to the second on both sides, the receiver by a difference. */
static void check_step(const char *from, const char *to)
{
    struct snapshot *a = graph_of(from), *b = graph_on(a, to, 2, NULL);
    struct pb_out o = encoded(NULL, a);
    struct snapshot *c = applied(NULL, &o);
    pb_release(&o);
    o = encoded(a, b);
    struct snapshot *d = applied(c, &o);
    assert_same(b, d);
    assert_same(a, c); /* the base is untouched */
    assert_ptr_equal(c->chain, d->chain);
    pb_release(&o);
    snapshot_unref(a);
    snapshot_unref(b);
    snapshot_unref(c);
    snapshot_unref(d);
}

static void differences_of_every_kind_arrive(void **state)
{
    (void)state;
    check_step(whole, whole);
    check_step(whole, SERVICES GATEWAY MAIN FEAT("2") POOL USER);
    check_step(whole, SERVICES GATEWAY MAIN FEAT("1") USER);
    check_step(SERVICES GATEWAY MAIN FEAT("1") USER, whole);
    check_step(whole, SERVICES MAIN);
    check_step(SERVICES MAIN, whole);
    check_step(whole, "# moved by a line\n" SERVICES GATEWAY MAIN FEAT("1") POOL USER);
    check_step(whole,
        "kind: Service\nmetadata: {name: pay}\nspec: {}\n---\n"
        "kind: Service\nmetadata: {name: new}\nspec: {}\n---\n"
        "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers: {new: "
        "{endpoints: ['a:1']}, pay: {endpoints: ['b:1']}}}\n");
    /* A line moves inside a document; parents change above an environment that does not. */
    check_step(SERVICES MAIN FEAT("1"), SERVICES MAIN
        "kind: Environment\nmetadata: {name: feat}\nspec:\n  mode: overlay\n  parent: main\n"
        "  expires: 2030-01-01T00:00:00Z\n  strict: true\n  access: {subjects: ['spiffe://a/b']}\n"
        "  providers:\n\n\n    pay: {endpoints: ['10.0.0.3:1']}\n  remove:\n  - cart\n---\n");
#define ON(name, parent)                                                                           \
    "kind: Environment\nmetadata: {name: " name "}\nspec: {mode: overlay, parent: " parent         \
    "}\n---\n"
    check_step(SERVICES MAIN FEAT("1") ON("x", "main") ON("y", "x") ON("z", "y"),
        SERVICES MAIN FEAT("1") ON("x", "feat") ON("y", "x") ON("z", "y"));
}

/* Two epochs in one step: what changed to and fro has other epochs though it says the same. */
static void difference_over_several_epochs_arrives(void **state)
{
    (void)state;
    struct snapshot *a = graph_of(whole);
    struct snapshot *b = graph_on(a, SERVICES GATEWAY MAIN FEAT("2") USER, 2, NULL);
    struct snapshot *c = graph_on(b, whole, 3, NULL);
    struct pb_out o = encoded(NULL, a);
    struct snapshot *x = applied(NULL, &o);
    pb_release(&o);
    o = encoded(a, c);
    struct snapshot *y = applied(x, &o);
    assert_same(c, y);
    assert_int_equal(snapshot_revision(y, env_number(y, "main")), 3);
    pb_release(&o);
    snapshot_unref(a);
    snapshot_unref(b);
    snapshot_unref(c);
    snapshot_unref(x);
    snapshot_unref(y);
}

static int refused(const struct snapshot *base, const void *p, size_t n, struct err *e)
{
    struct snapshot *s = NULL;
    *e = (struct err){0};
    int r = codec_apply(base, str_of(p, n), &s, NULL, e);
    if (r == 0)
        snapshot_unref(s);
    else
        assert_true(s == NULL && e->text[0] && e->code == r);
    return r;
}

static void other_bases_are_stale(void **state)
{
    (void)state;
    struct snapshot *a = graph_of(whole), *b = graph_on(a, SERVICES MAIN, 2, NULL);
    struct pb_out o = encoded(a, b);
    struct err e;
    assert_int_equal(refused(NULL, o.p, o.n, &e), -ESTALE);
    assert_int_equal(refused(b, o.p, o.n, &e), -ESTALE);
    assert_non_null(strstr(e.text, "epoch 1"));
    struct snapshot *elsewhere = graph_of(whole);
    struct pb_out none = {0};
    assert_int_equal(codec_encode(elsewhere, b, &none, &e), -EINVAL);
    pb_release(&o);
    snapshot_unref(a);
    snapshot_unref(b);
    snapshot_unref(elsewhere);
}

static void every_cut_is_refused(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(whole);
    struct pb_out o = encoded(NULL, s);
    struct err e;
    for (size_t n = 0; n < o.n; n++)
        assert_int_equal(refused(NULL, o.p, n, &e), -EBADMSG);
    pb_release(&o);
    snapshot_unref(s);
}

/* A flipped bit is refused, or it was in what no hash covers: places and the order of fields. */
static void every_flipped_bit_is_refused_or_changes_no_content(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(whole);
    struct pb_out o = encoded(NULL, s);
    unsigned accepted = 0;
    for (size_t bit = 0; bit < o.n * 8; bit++) {
        struct snapshot *t = NULL;
        struct err e = {0};
        o.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int r = codec_apply(NULL, pb_str(&o), &t, NULL, &e);
        o.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (r == 0) {
            assert_memory_equal(snapshot_digest(s), snapshot_digest(t), 32);
            snapshot_unref(t);
            accepted++;
        } else {
            assert_int_equal(r, -EBADMSG);
        }
    }
    assert_true(accepted < o.n * 2);
    pb_release(&o);
    snapshot_unref(s);
}

static void says_what_is_wrong_with_the_digest(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(whole);
    struct pb_out o = encoded(NULL, s);
    struct err e;
    o.p[6] ^= 1; /* inside the digest: field 2 takes two bytes, the tag and length of 3 two */
    assert_int_equal(refused(NULL, o.p, o.n, &e), -EBADMSG);
    assert_non_null(strstr(e.text, "digest"));
    pb_release(&o);
    snapshot_unref(s);
}

/* A refused difference must not leave its names behind, or the right one would not fit later. */
static void refused_differences_take_no_numbers(void **state)
{
    (void)state;
    struct snapshot *a = graph_of(SERVICES MAIN);
    struct snapshot *wrong = graph_on(a, SERVICES MAIN ON("wrong", "main"), 2, NULL);
    struct pb_out o = encoded(NULL, a), bad = encoded(a, wrong);
    struct snapshot *x = applied(NULL, &o);
    struct err e;
    snapshot_unref(wrong);
    snapshot_unref(a);
    a = graph_of(SERVICES MAIN);
    struct snapshot *right = graph_on(a, SERVICES MAIN ON("right", "main"), 2, NULL);
    struct pb_out good = encoded(a, right);
    bad.p[10] ^= 1; /* in the digest */
    assert_int_equal(refused(x, bad.p, bad.n, &e), -EBADMSG);
    struct snapshot *y = applied(x, &good);
    assert_int_equal(env_number(y, "right"), env_number(right, "right"));
    assert_int_equal(env_number(y, "wrong"), NUMBER_NONE);
    pb_release(&o);
    pb_release(&bad);
    pb_release(&good);
    snapshot_unref(a);
    snapshot_unref(right);
    snapshot_unref(x);
    snapshot_unref(y);
}

/* A difference with one environment, written by hand. */
static int hand_made(const struct snapshot *base, uint64_t number, struct str record, struct err *e)
{
    static const unsigned char digest[32];
    struct pb_out o = {0};
    pb_uint(&o, 1, base->epoch);
    pb_uint(&o, 2, base->epoch + 1);
    pb_bytes(&o, 3, str_of((const char *)digest, 32));
    size_t at = pb_begin(&o, 11);
    pb_uint(&o, 1, number);
    pb_uint(&o, 2, base->epoch + 1);
    pb_bytes(&o, 3, record);
    pb_end(&o, at);
    int r = refused(base, o.p, o.n, e);
    pb_release(&o);
    return r;
}

static void malformed_records_are_refused_by_name(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(SERVICES MAIN);
    struct err e;
    /* Fields: 1 name, 2 mode, 3 parent, 4 statement {1 service, 2 provider, 3 use, 4 remove}. */
    static const struct {
        struct str record;
        const char *text;
        uint64_t number;
    } cases[] = {
        {{"\x0a\x01x", 3}, "digest", 9},
        {{"\x0a\x01x", 3}, "taken", 0},
        {{"\x0a\x04main", 6}, "taken", 9},
        {{"\x0a\x01x", 3}, "too large", 1u << 22},
        {{"\x0a\x02X!", 4}, "valid name", 9},
        {{"", 0}, "valid name", 9},
        {{"\x0a\x01x\x10\x03", 5}, "malformed field", 9},
        {{"\x0a\x01x\x1a\x02yy", 7}, "unknown parent", 9},
        {{"\x0a\x01x\x1a\x04main\x1a\x04main", 15}, "named twice", 9},
        {{"\x0a\x01x\x1a\x01x", 6}, "cycle", 9},
        {{"\x0a\x01x\x22\x07\x0a\x03pax\x20\x01", 12}, "unknown service", 9},
        {{"\x0a\x01x\x22\x05\x0a\x03pay", 10}, "malformed statement", 9},
        {{"\x0a\x01x\x22\x08\x0a\x03pay\x1a\x01y", 13}, "unknown environment", 9},
        {{"\x0a\x01x\x22\x07\x0a\x03pay\x12\x00", 12}, "without endpoints", 9},
        {{"\x0a\x01x\x22\x09\x0a\x03pay\x12\x02\x0a\x00", 14}, "malformed endpoint", 9},
        {{"\x0a\x01x\x22\x07\x0a\x03pay\x20\x01\x22\x07\x0a\x03pay\x20\x01", 21}, "two statements",
            9},
        {{"\x0a\x01x\x30\x02", 5}, "priority", 9},
        {{"\x0a\x01x\x78\x01", 5}, "malformed field", 9},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(hand_made(s, cases[i].number, cases[i].record, &e), -EBADMSG);
        if (!strstr(e.text, cases[i].text))
            fail_msg("case %zu: '%s' lacks '%s'", i, e.text, cases[i].text);
    }
    snapshot_unref(s);
}

static void removal_of_what_others_need_is_refused(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(SERVICES MAIN FEAT("1") USER);
    static const unsigned char digest[32];
    static const char *const text[] = {"removed ancestor", "unknown environment", "digest"};
    for (uint32_t env = 0; env < 3; env++) {
        struct pb_out o = {0};
        struct err e;
        pb_uint(&o, 1, 1);
        pb_uint(&o, 2, 2);
        pb_bytes(&o, 3, str_of((const char *)digest, 32));
        pb_uint(&o, 4, 1);
        pb_bytes(&o, 12, str_of((const char *)&(unsigned char){(unsigned char)env}, 1));
        assert_int_equal(refused(s, o.p, o.n, &e), -EBADMSG);
        if (!strstr(e.text, text[env]))
            fail_msg("'%s' lacks '%s'", e.text, text[env]);
        pb_release(&o);
    }
    snapshot_unref(s);
}

static void every_failed_allocation_leaves_the_base_as_it_was(void **state)
{
    (void)state;
    struct snapshot *a = graph_of(whole);
    struct snapshot *b = graph_on(a,
        SERVICES "kind: Service\nmetadata: {name: new}\nspec: {}\n---\n" MAIN FEAT("2")
            POOL USER ON("n", "feat"),
        2, NULL);
    struct pb_out first = encoded(NULL, a), second = encoded(a, b);
    struct err e;
    struct snapshot *x = NULL, *y = NULL;
    int r = -ENOMEM;
    for (unsigned long nth = 1; r != 0; nth++) {
        mem_fail_nth(nth);
        r = codec_apply(NULL, pb_str(&first), &x, NULL, &e);
        mem_fail_nth(0);
        assert_true(r == 0 || r == -ENOMEM);
    }
    r = -ENOMEM;
    for (unsigned long nth = 1; r != 0; nth++) {
        mem_fail_nth(nth);
        r = codec_apply(x, pb_str(&second), &y, NULL, &e);
        mem_fail_nth(0);
        assert_true(r == 0 || r == -ENOMEM);
    }
    assert_same(a, x);
    assert_same(b, y);
    r = -ENOMEM;
    for (unsigned long nth = 1; r != 0; nth++) {
        struct pb_out o = {0};
        mem_fail_nth(nth);
        r = codec_encode(a, b, &o, &e);
        mem_fail_nth(0);
        assert_true(r == 0 || (r == -ENOMEM && o.n == 0));
        pb_release(&o);
    }
    pb_release(&first);
    pb_release(&second);
    snapshot_unref(a);
    snapshot_unref(b);
    snapshot_unref(x);
    snapshot_unref(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_graph_arrives),
        cmocka_unit_test(encoding_is_what_the_proto_file_says),
        cmocka_unit_test(differences_of_every_kind_arrive),
        cmocka_unit_test(difference_over_several_epochs_arrives),
        cmocka_unit_test(other_bases_are_stale),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(every_flipped_bit_is_refused_or_changes_no_content),
        cmocka_unit_test(says_what_is_wrong_with_the_digest),
        cmocka_unit_test(refused_differences_take_no_numbers),
        cmocka_unit_test(malformed_records_are_refused_by_name),
        cmocka_unit_test(removal_of_what_others_need_is_refused),
        cmocka_unit_test(every_failed_allocation_leaves_the_base_as_it_was),
    };
    return unit_run(tests);
}
