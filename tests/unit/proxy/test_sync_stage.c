/* Stages of an agent: joined in one order only, judged before they count, each answered once. */
#include "lib/graph/codec.h"
#include "proxy/sync_stage.h"
#include "tests/unit/graph/graph_text.h"
#include <errno.h>
#include <stdlib.h>

#define REASON(word) OFFSHOOT__V1__NACK_REASON__##word
#define LARGE        (256ull << 20)

static unsigned char ours[HISTORY_ID] = "history-of-ours", other[HISTORY_ID] = "another-history";

#define HEAD                                                                                       \
    "kind: Service\nmetadata: {name: cart}\n---\nkind: Gateway\nmetadata: {name: edge}\nspec: "    \
    "{defaultEnvironment: main, routes: [{path: /, service: cart}]}\n---\n"
#define MAIN                                                                                       \
    "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers: {cart: "         \
    "{endpoints: ['10.0.0.1:80', 'a.b:8080']}}}\n---\n"
#define FEAT(address)                                                                              \
    "kind: Environment\nmetadata: {name: feat}\nspec:\n  mode: overlay\n  parent: main\n"          \
    "  providers:\n    cart: {endpoints: ['10.0.0.2:80', '" address "']}\n---\n"

/* Epochs 1, 2, 3 of one chain: main; feat as well; feat elsewhere. */
static struct snapshot *chain[4];
static struct pb_out whole2, from1to2, from2to3;

static struct pb_out encoded(const struct snapshot *base, const struct snapshot *s)
{
    struct pb_out o = {0};
    assert_int_equal(codec_encode(base, s, &o, NULL), 0);
    return o;
}

static int make_chain(void **state)
{
    (void)state;
    chain[1] = graph_on(NULL, HEAD MAIN, 1, NULL);
    chain[2] = graph_on(chain[1], HEAD MAIN FEAT("10.0.0.3:80"), 2, NULL);
    chain[3] = graph_on(chain[2], HEAD MAIN FEAT("169.254.0.1:80"), 3, NULL);
    whole2 = encoded(NULL, chain[2]);
    from1to2 = encoded(chain[1], chain[2]);
    from2to3 = encoded(chain[2], chain[3]);
    return 0;
}

static int drop_chain(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 3; i++)
        snapshot_unref(chain[i]);
    pb_release(&whole2);
    pb_release(&from1to2);
    pb_release(&from2to3);
    return 0;
}

/* Nothing held; limits wide. */
static struct stage_view empty_view(void)
{
    return (struct stage_view){.limit = LARGE};
}

/* Epoch 1 of our history is held. */
static struct stage_view view_of_1(void)
{
    return (struct stage_view){
        .history = ours, .held = {chain[1]}, .nheld = 1, .newest = 1, .limit = LARGE};
}

static char *feature_graph[] = {(char *)(uintptr_t) "graph.1"};

static Offshoot__V1__Stage message(
    const struct pb_out *bytes, uint64_t base, const struct snapshot *s)
{
    Offshoot__V1__Stage m = OFFSHOOT__V1__STAGE__INIT;
    m.nonce = 7;
    m.history = (ProtobufCBinaryData){HISTORY_ID, ours};
    m.base_epoch = base;
    m.epoch = snapshot_epoch(s);
    m.digest = (ProtobufCBinaryData){32, (uint8_t *)(uintptr_t)snapshot_digest(s)};
    m.n_features = 1;
    m.features = feature_graph;
    m.chunks = 1;
    m.payload = (ProtobufCBinaryData){bytes->n, bytes->p};
    return m;
}

/* The i-th of n parts of about equal size. */
static void set_part(Offshoot__V1__Stage *m, const struct pb_out *bytes, uint32_t i, uint32_t n)
{
    size_t size = (bytes->n + n - 1) / n, from = size * i < bytes->n ? size * i : bytes->n;
    m->chunk = i;
    m->chunks = n;
    m->payload.data = bytes->p + from;
    m->payload.len = bytes->n - from < size ? bytes->n - from : size;
}

static struct stage_answer taken(
    struct stage_in *in, const Offshoot__V1__Stage *m, const struct stage_view *v)
{
    struct stage_answer a;
    stage_take(in, m, v, &a);
    assert_int_equal(a.nonce, m->nonce);
    assert_int_equal(a.epoch, m->epoch);
    assert_true((a.result == STAGE_REFUSED) == (a.text[0] != '\0'));
    assert_true((a.result == STAGE_READY) == (a.snapshot != NULL));
    return a;
}

static void assert_refused(
    const struct stage_answer *a, Offshoot__V1__NackReason reason, const char *words)
{
    assert_int_equal(a->result, STAGE_REFUSED);
    if (a->reason != reason || !strstr(a->text, words))
        fail_msg("%s: %s; wanted %s: %s", nack_word(a->reason), a->text, nack_word(reason), words);
}

static void assert_ready(const struct stage_answer *a, const struct snapshot *s)
{
    if (a->result != STAGE_READY)
        fail_msg("not ready (%u): %s", a->result, a->text);
    assert_memory_equal(snapshot_digest(a->snapshot), snapshot_digest(s), 32);
    assert_memory_equal(snapshot_root(a->snapshot), snapshot_root(s), 32);
    snapshot_unref(a->snapshot);
}

/* ---- joining ---- */

static void wholes_and_differences_arrive_in_any_number_of_chunks(void **state)
{
    struct stage_in *in = stage_new();
    struct stage_view none = empty_view(), one = view_of_1();
    (void)state;
    for (uint32_t n = 1; n <= 40; n++) {
        for (unsigned difference = 0; difference < 2; difference++) {
            const struct pb_out *bytes = difference ? &from1to2 : &whole2;
            const struct stage_view *v = difference ? &one : &none;
            Offshoot__V1__Stage m = message(bytes, difference, chain[2]);
            struct stage_answer a;
            for (uint32_t i = 0; i < n; i++) {
                set_part(&m, bytes, i, n);
                if (m.payload.len == 0 && i + 1 < n)
                    goto next; /* too small for so many */
                a = taken(in, &m, v);
                assert_int_equal(a.result, i + 1 < n ? STAGE_MORE : STAGE_READY);
            }
            assert_int_equal(a.new_history, !difference);
            assert_memory_equal(a.history, ours, HISTORY_ID);
            assert_ready(&a, chain[2]);
            assert_int_equal(stage_bytes(in), 0);
        next:
            stage_reset(in);
        }
    }
    stage_free(in);
}

/* Every sequence of four of the chunks 0 to 3, repetitions included: it is taken when, and only
 * when, its last four are 0 1 2 3 (a chunk 0 begins anew); every Stage that fails is told once. */
static void every_wrong_order_of_chunks(void **state)
{
    struct stage_view v = empty_view();
    unsigned good = 0;
    (void)state;
    for (unsigned code = 0; code < 4 * 4 * 4 * 4; code++) {
        struct stage_in *in = stage_new();
        Offshoot__V1__Stage m = message(&whole2, 0, chain[2]);
        bool in_order = true;
        unsigned expected = 0, refusals = 0;
        for (unsigned i = 0; i < 4; i++) {
            unsigned chunk = code >> (6 - 2 * i) & 3;
            in_order = in_order && chunk == i;
            set_part(&m, &whole2, chunk, 4);
            struct stage_answer a = taken(in, &m, &v);
            if (chunk != 0 && chunk != expected && a.result == STAGE_REFUSED) {
                char words[64];
                snprintf(
                    words, sizeof words, "chunk %u came, chunk %u was expected", chunk, expected);
                assert_refused(&a, REASON(BAD_DIGEST), words);
                refusals++;
                expected = 0;
            } else if (chunk == 0 || chunk == expected) {
                expected = chunk + 1;
            }
            if (a.result == STAGE_READY) {
                good++;
                assert_true(in_order);
                assert_ready(&a, chain[2]);
            }
        }
        assert_true(in_order || refusals > 0 || expected > 0);
        stage_free(in);
    }
    assert_int_equal(good, 1);
}

static void a_refused_stage_is_told_once(void **state)
{
    struct stage_in *in = stage_new();
    struct stage_view v = empty_view();
    Offshoot__V1__Stage m = message(&whole2, 0, chain[2]);
    (void)state;
    set_part(&m, &whole2, 3, 5);
    struct stage_answer a = taken(in, &m, &v);
    assert_refused(&a, REASON(BAD_DIGEST), "chunk 3 came, chunk 0 was expected");
    set_part(&m, &whole2, 4, 5);
    assert_int_equal(taken(in, &m, &v).result, STAGE_MORE);
    m.nonce++; /* another one */
    assert_int_equal(taken(in, &m, &v).result, STAGE_REFUSED);
    set_part(&m, &whole2, 0, 1); /* chunk 0 is always heard */
    a = taken(in, &m, &v);
    assert_ready(&a, chain[2]);
    stage_free(in);
}

static void chunk_0_begins_anew(void **state)
{
    struct stage_in *in = stage_new();
    struct stage_view v = empty_view();
    Offshoot__V1__Stage m = message(&whole2, 0, chain[2]);
    (void)state;
    for (uint32_t upto = 1; upto < 5; upto++) {
        for (uint32_t i = 0; i < upto; i++) {
            set_part(&m, &whole2, i, 5);
            assert_int_equal(taken(in, &m, &v).result, STAGE_MORE);
        }
        m.nonce++;
    }
    for (uint32_t i = 0; i < 5; i++) {
        set_part(&m, &whole2, i, 5);
        struct stage_answer a = taken(in, &m, &v);
        if (i == 4)
            assert_ready(&a, chain[2]);
    }
    stage_free(in);
}

static void chunks_agree_in_every_field(void **state)
{
    static const char *const fields[] = {"nonce", "history", "follows", "base_epoch", "epoch",
        "digest", "features", "chunks", "follows"};
    struct stage_view v = view_of_1();
    uint8_t digest[32] = {0};
    (void)state;
    v.held[v.nheld++] = chain[2];
    v.newest = 2;
    for (unsigned f = 0; f < 9; f++) {
        struct stage_in *in = stage_new();
        Offshoot__V1__Follows follows = OFFSHOOT__V1__FOLLOWS__INIT;
        Offshoot__V1__Stage m = message(&from2to3, 2, chain[3]);
        follows.history = (ProtobufCBinaryData){HISTORY_ID, other};
        if (f == 8)
            m.follows = &follows;
        set_part(&m, &from2to3, 0, 2);
        assert_int_equal(taken(in, &m, &v).result, STAGE_MORE);
        set_part(&m, &from2to3, 1, 2);
        m.nonce += f == 0;
        m.history.data = f == 1 ? other : ours;
        m.follows = f == 2 || f == 8 ? &follows : NULL;
        follows.epoch = f == 8;
        m.base_epoch -= f == 3;
        m.epoch += f == 4;
        m.digest.data = f == 5 ? digest : m.digest.data;
        m.n_features = f != 6;
        m.chunks += f == 7;
        struct stage_answer a = taken(in, &m, &v);
        char words[64];
        snprintf(words, sizeof words, "chunk 1 and chunk 0 differ in %s", fields[f]);
        assert_refused(&a, REASON(BAD_DIGEST), words);
        stage_free(in);
    }
}

static void stages_of_impossible_form_are_refused(void **state)
{
    struct stage_in *in = stage_new();
    struct stage_view v = empty_view();
    Offshoot__V1__Follows follows = OFFSHOOT__V1__FOLLOWS__INIT;
    uint8_t *large = mem_zalloc(STAGE_PAYLOAD_MAX + 1);
    (void)state;
    assert_non_null(large);
    for (unsigned f = 0; f < 12; f++) {
        Offshoot__V1__Stage m = message(&whole2, 0, chain[2]);
        char *many[STAGE_FEATURES_MAX + 1];
        for (unsigned i = 0; i <= STAGE_FEATURES_MAX; i++)
            many[i] = feature_graph[0];
        m.nonce = f;
        m.history.len -= f == 1;
        m.follows = f == 2 ? &follows : NULL;
        m.digest.len -= f == 3;
        m.epoch = f == 4 ? 0 : f == 5 ? 2 : m.epoch;
        m.base_epoch = f == 5 ? 2 : 0;
        m.chunks = f == 6 ? 0 : f == 7 ? STAGE_CHUNKS_MAX + 1 : f == 8 ? 2 : 1;
        m.chunk = f == 9 ? 1 : 0;
        m.payload.len = f == 8 ? 0 : m.payload.len;
        if (f == 10)
            m.payload = (ProtobufCBinaryData){STAGE_PAYLOAD_MAX + 1, large};
        if (f == 11) {
            m.features = many;
            m.n_features = STAGE_FEATURES_MAX + 1;
        }
        struct stage_answer a = taken(in, &m, &v);
        assert_refused(&a, REASON(BAD_DIGEST), "");
    }
    mem_free(large);
    stage_free(in);
}

/* ---- is it for us? ---- */

static struct stage_answer asked(const Offshoot__V1__Stage *m, const struct stage_view *v)
{
    struct stage_in *in = stage_new();
    assert_non_null(in);
    struct stage_answer a = taken(in, m, v);
    stage_free(in);
    return a;
}

static void epochs_of_our_history_only_rise(void **state)
{
    struct stage_view v = view_of_1();
    Offshoot__V1__Stage m = message(&from1to2, 1, chain[2]);
    (void)state;
    struct stage_answer a = asked(&m, &v);
    assert_false(a.new_history);
    assert_ready(&a, chain[2]);
    v.newest = 2; /* held once, gone since */
    a = asked(&m, &v);
    assert_refused(&a, REASON(STALE), "epoch 2 is not above epoch 2, which was held");
    v.newest = UINT64_MAX;
    a = asked(&m, &v);
    assert_refused(&a, REASON(STALE), "epoch 18446744073709551615");
}

static void an_epoch_that_is_held_is_acknowledged_again(void **state)
{
    struct stage_view v = view_of_1();
    Offshoot__V1__Stage m = message(&from1to2, 1, chain[2]);
    uint8_t digest[32] = {1};
    (void)state;
    v.held[v.nheld++] = chain[2];
    v.newest = 2;
    struct stage_in *in = stage_new();
    set_part(&m, &from1to2, 0, 2);
    assert_int_equal(taken(in, &m, &v).result, STAGE_HELD);
    set_part(&m, &from1to2, 1, 2);
    assert_int_equal(taken(in, &m, &v).result, STAGE_MORE); /* no second answer */
    stage_free(in);
    m.chunk = 0;
    m.digest.data = digest;
    struct stage_answer a = asked(&m, &v);
    assert_refused(&a, REASON(STALE), "epoch 2 is held with another digest");
}

static void a_base_must_be_held(void **state)
{
    struct stage_view v = view_of_1(), none = empty_view();
    Offshoot__V1__Stage m = message(&from2to3, 2, chain[3]);
    (void)state;
    struct stage_answer a = asked(&m, &v);
    assert_refused(&a, REASON(BASE_UNKNOWN), "epoch 2, which epoch 3 builds on, is not held");
    a = asked(&m, &none);
    assert_refused(&a, REASON(BASE_UNKNOWN), "is not held");
    /* gone between its first and last chunk */
    struct stage_in *in = stage_new();
    m = message(&from1to2, 1, chain[2]);
    set_part(&m, &from1to2, 0, 2);
    assert_int_equal(taken(in, &m, &v).result, STAGE_MORE);
    set_part(&m, &from1to2, 1, 2);
    v.nheld = 0;
    a = taken(in, &m, &v);
    assert_refused(&a, REASON(BASE_UNKNOWN), "epoch 1 is not held any more");
    stage_free(in);
}

static void another_history_needs_a_reason(void **state)
{
    struct stage_view v = view_of_1();
    Offshoot__V1__Follows follows = OFFSHOOT__V1__FOLLOWS__INIT;
    Offshoot__V1__Stage m = message(&whole2, 0, chain[2]);
    (void)state;
    v.history = other;
    v.newest = 9; /* numbers of another history do not count */
    struct stage_answer a = asked(&m, &v);
    assert_refused(&a, REASON(STALE), "offshootctl proxy adopt 686973746f72792d6f662d6f75727300");
    follows.history = (ProtobufCBinaryData){HISTORY_ID, ours};
    follows.epoch = 9;
    m.follows = &follows;
    a = asked(&m, &v);
    assert_refused(&a, REASON(STALE), "this proxy holds history 616e6f74686572");
    follows.history.data = other;
    follows.epoch = 8;
    a = asked(&m, &v);
    assert_refused(&a, REASON(STALE), "follows epoch 8, but this proxy holds epoch 9");
    follows.epoch = 9;
    a = asked(&m, &v);
    assert_true(a.new_history);
    assert_ready(&a, chain[2]);
    m.follows = NULL;
    v.adopted = ours;
    a = asked(&m, &v);
    assert_true(a.new_history);
    assert_ready(&a, chain[2]);
    v.adopted = other; /* not this one */
    a = asked(&m, &v);
    assert_refused(&a, REASON(STALE), "");
}

static void a_difference_of_another_history_has_no_base_here(void **state)
{
    struct stage_view v = view_of_1();
    Offshoot__V1__Stage m = message(&from1to2, 1, chain[2]);
    (void)state;
    v.history = other;
    v.adopted = ours;
    struct stage_answer a = asked(&m, &v);
    assert_refused(&a, REASON(BASE_UNKNOWN), "is not held");
}

static void unknown_features_are_named(void **state)
{
    struct stage_view v = empty_view();
    Offshoot__V1__Stage m = message(&whole2, 0, chain[2]);
    char strange[] = "later\x80.2\n", *features[] = {feature_graph[0], strange};
    (void)state;
    m.features = features;
    m.n_features = 2;
    struct stage_answer a = asked(&m, &v);
    assert_refused(&a, REASON(UNSUPPORTED), "unknown feature 'later?.2?'");
    m.n_features = 0;
    a = asked(&m, &v);
    assert_ready(&a, chain[2]);
}

/* ---- bounds ---- */

static void a_difference_is_bounded_before_memory_is_taken(void **state)
{
    struct stage_view v = empty_view();
    Offshoot__V1__Stage m = message(&whole2, 0, chain[2]);
    (void)state;
    v.limit = snapshot_bytes(chain[2]) * 2;
    struct stage_answer a = asked(&m, &v);
    assert_ready(&a, chain[2]);
    for (uint32_t n = 1; n <= 8; n++) {
        struct stage_in *in = stage_new();
        v.limit = whole2.n - 1;
        for (uint32_t i = 0; i < n; i++) {
            set_part(&m, &whole2, i, n);
            a = taken(in, &m, &v);
            assert_true(stage_bytes(in) <= v.limit);
            assert_int_equal(a.result, i + 1 < n ? STAGE_MORE : STAGE_REFUSED);
        }
        assert_refused(&a, REASON(TOO_BIG), "the difference is above limits.snapshotBytes (");
        stage_free(in);
    }
    v.limit = whole2.n; /* the bytes would do, but not what they lead to */
    m = message(&whole2, 0, chain[2]);
    a = asked(&m, &v);
    assert_refused(&a, REASON(TOO_BIG), "bytes of memory, above limits.snapshotBytes");
}

/* ---- judging ---- */

static void stage_and_difference_agree(void **state)
{
    struct stage_view v = view_of_1();
    uint8_t digest[32] = {2};
    Offshoot__V1__Stage m = message(&whole2, 1, chain[2]);
    (void)state;
    struct stage_answer a = asked(&m, &v);
    assert_refused(&a, REASON(BAD_DIGEST), "stage and difference differ in base_epoch");
    m = message(&from1to2, 1, chain[3]);
    a = asked(&m, &v);
    assert_refused(&a, REASON(BAD_DIGEST), "stage and difference differ in epoch");
    m = message(&from1to2, 1, chain[2]);
    m.digest.data = digest;
    a = asked(&m, &v);
    assert_refused(&a, REASON(BAD_DIGEST), "the digest of stage and difference differ");
}

static int no_gateway(void *arg, const struct snapshot *s, struct err *e)
{
    assert_ptr_equal(arg, chain);
    assert_non_null(s);
    return err_set(e, -EINVAL, "the graph has no Gateway named 'x'");
}

static void what_may_not_be_served_here_is_refused_with_its_place(void **state)
{
    static const struct endpoint_rules rules = {0}; /* no link-local addresses */
    struct stage_view v = view_of_1();
    Offshoot__V1__Stage m = message(&from2to3, 2, chain[3]);
    (void)state;
    v.held[0] = chain[2];
    v.newest = 2;
    v.rules = &rules;
    struct stage_answer a = asked(&m, &v);
    assert_refused(&a, REASON(INVALID_GRAPH),
        "environment 'feat', service 'cart', endpoint '169.254.0.1:80' at 0.yaml:18: ");
    v.rules = NULL;
    v.judge = no_gateway;
    v.arg = chain;
    a = asked(&m, &v);
    assert_refused(&a, REASON(INVALID_GRAPH), "no Gateway named 'x'");
    v.judge = NULL;
    a = asked(&m, &v);
    assert_ready(&a, chain[3]);
}

/* ---- mutations ---- */

static uint32_t rng_state;
static uint32_t rng(uint32_t below)
{
    rng_state = rng_state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(rng_state >> 4) * below >> 28);
}

/* One or two faults: mostly a bit or a byte, also bytes gone, bytes twice, an end cut off. */
static size_t mutate(uint8_t *p, size_t n)
{
    for (uint32_t faults = 1 + rng(2); faults > 0 && n > 1; faults--) {
        size_t at = rng((uint32_t)n), len = 1 + rng(8);
        len = len < n - at ? len : n - at;
        switch (rng(16)) {
        default:
            p[at] ^= (uint8_t)(1u << rng(8));
            break;
        case 1:
        case 4:
        case 5:
        case 6:
        case 7:
            p[at] = (uint8_t)rng(256);
            break;
        case 2:
            memmove(p + at, p + at + len, n - at - len);
            n -= len;
            break;
        case 3:
            memmove(p + at + len, p + at, n - at);
            n += len;
            break;
        case 0:
            n = at ? at : n;
        }
    }
    return n;
}

/* Whatever is let in has the digest that the Stage states; what was held stays as it was. */
static void mutated(const struct pb_out *bytes, uint64_t base, const struct snapshot *s,
    const struct stage_view *v, unsigned times, unsigned *ret_valid)
{
    uint8_t *p = mem_alloc(bytes->n + 64), before[32];
    struct stage_in *in = stage_new();
    assert_non_null(p);
    memcpy(before, snapshot_digest(chain[1]), 32);
    for (unsigned i = 0; i < times; i++) {
        Offshoot__V1__Stage m = message(bytes, base, s);
        memcpy(p, bytes->p, bytes->n);
        m.payload = (ProtobufCBinaryData){mutate(p, bytes->n), p};
        struct stage_answer a = taken(in, &m, v);
        if (a.result == STAGE_READY) {
            assert_ready(&a, s);
            ++*ret_valid;
        } else {
            assert_int_equal(a.result, STAGE_REFUSED);
            assert_true(a.reason == REASON(BAD_DIGEST) || a.reason == REASON(BASE_UNKNOWN));
            assert_true(strlen(a.text) > 10);
        }
    }
    assert_memory_equal(snapshot_digest(chain[1]), before, 32);
    Offshoot__V1__Stage m = message(bytes, base, s);
    struct stage_answer a = taken(in, &m, v); /* names that a refused one brought are gone */
    assert_ready(&a, s);
    stage_free(in);
    mem_free(p);
}

static void mutated_graphs_are_refused(void **state)
{
    struct stage_view none = empty_view(), one = view_of_1();
    unsigned valid = 0;
    (void)state;
    rng_state = 20;
    mutated(&whole2, 0, chain[2], &none, 8000, &valid);
    mutated(&from1to2, 1, chain[2], &one, 8000, &valid);
    assert_true(valid < 1600); /* places are in no digest */
}

static void every_allocation_may_fail(void **state)
{
    struct stage_view v = view_of_1();
    (void)state;
    for (unsigned long nth = 1;; nth++) {
        size_t live = mem_live();
        bool ready = false;
        mem_fail_nth(nth);
        struct stage_in *in = stage_new();
        for (uint32_t i = 0; in && i < 3; i++) {
            struct stage_answer a;
            Offshoot__V1__Stage m = message(&from1to2, 1, chain[2]);
            set_part(&m, &from1to2, i, 3);
            stage_take(in, &m, &v, &a);
            if (a.result == STAGE_REFUSED)
                assert_refused(&a, REASON(TOO_BIG), "out of memory");
            ready = a.result == STAGE_READY;
            if (ready)
                snapshot_unref(a.snapshot);
        }
        bool reached = mem_count() >= nth;
        mem_fail_nth(0);
        stage_free(in);
        assert_int_equal(mem_live(), live);
        if (!reached) {
            assert_true(ready);
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wholes_and_differences_arrive_in_any_number_of_chunks),
        cmocka_unit_test(every_wrong_order_of_chunks),
        cmocka_unit_test(a_refused_stage_is_told_once),
        cmocka_unit_test(chunk_0_begins_anew),
        cmocka_unit_test(chunks_agree_in_every_field),
        cmocka_unit_test(stages_of_impossible_form_are_refused),
        cmocka_unit_test(epochs_of_our_history_only_rise),
        cmocka_unit_test(an_epoch_that_is_held_is_acknowledged_again),
        cmocka_unit_test(a_base_must_be_held),
        cmocka_unit_test(another_history_needs_a_reason),
        cmocka_unit_test(a_difference_of_another_history_has_no_base_here),
        cmocka_unit_test(unknown_features_are_named),
        cmocka_unit_test(a_difference_is_bounded_before_memory_is_taken),
        cmocka_unit_test(stage_and_difference_agree),
        cmocka_unit_test(what_may_not_be_served_here_is_refused_with_its_place),
        cmocka_unit_test(mutated_graphs_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return unit_end(cmocka_run_group_tests(tests, make_chain, drop_chain));
}
