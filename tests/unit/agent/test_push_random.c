/* Proxies that come, go, answer, refuse and forget at random: whatever the order, push never asks
 * for what a proxy does not hold, and when all are good again all end on the newest epoch. */
#include "tests/unit/agent/push_fixture.h"

/* What a proxy really holds. */
struct real {
    uint64_t held[PUSH_HELD_MAX + 1];
    unsigned n;
    uint64_t active;
};
static struct real reals[PEERS_MAX];

static unsigned pick(unsigned n)
{
    static uint64_t x = 0x9e3779b97f4a7c15u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (unsigned)((x >> 20) % n);
}

static bool has(const struct real *r, uint64_t epoch)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->held[i] == epoch)
            return true;
    return false;
}

static void forget(struct real *r, uint64_t epoch)
{
    unsigned n = 0;
    for (unsigned i = 0; i < r->n; i++)
        if (r->held[i] != epoch)
            r->held[n++] = r->held[i];
    r->n = n;
}

/* Holds one more; with all places taken the oldest that is not active goes. */
static void take(struct real *r, uint64_t epoch)
{
    forget(r, epoch);
    if (r->n == PUSH_HELD_MAX)
        forget(r, r->held[r->held[0] == r->active]);
    assert_true(r->n < PUSH_HELD_MAX);
    r->held[r->n++] = epoch;
}

static void come(struct fixture *f, unsigned i)
{
    struct peer *p = &f->peers[i];
    const struct real *r = &reals[i];
    p->stage.nonce = p->activate.nonce = p->retire.nonce = 0;
    p->hello.history = r->n ? f->history.id : NULL;
    p->hello.nheld = r->n;
    p->hello.active = r->active;
    for (unsigned k = 0; k < r->n; k++) {
        p->hello.held[k].epoch = r->held[k];
        memcpy(p->hello.held[k].digest, digest_of(&f->history, r->held[k]), 32);
    }
    join(f, p);
}

static void answer_stage(struct fixture *f, unsigned i, bool good)
{
    struct peer *p = &f->peers[i];
    uint64_t nonce = p->stage.nonce;
    p->stage.nonce = 0;
    if (!good && pick(4) == 0) {
        push_on_nack(p->x, nonce, p->stage.epoch, PUSH_BAD_DIGEST, STR("at random"), f->now);
        return;
    }
    if (p->stage.base && !has(&reals[i], p->stage.base)) {
        push_on_nack(p->x, nonce, p->stage.epoch, PUSH_BASE_UNKNOWN, STR("not held"), f->now);
        return;
    }
    take(&reals[i], p->stage.epoch);
    push_on_ack(p->x, nonce, p->stage.epoch, PUSH_STAGED, 0, f->now);
}

static void answer_activate(struct fixture *f, unsigned i)
{
    struct peer *p = &f->peers[i];
    uint64_t nonce = p->activate.nonce;
    p->activate.nonce = 0;
    if (!has(&reals[i], p->activate.epoch))
        fail_msg("%s does not hold %llu", p->node, (unsigned long long)p->activate.epoch);
    assert_true(p->activate.epoch > reals[i].active);
    reals[i].active = p->activate.epoch;
    push_on_ack(p->x, nonce, p->activate.epoch, PUSH_ACTIVE, 0, f->now);
}

/* Retires are told apart by their epoch: the last one told is the one that is answered. */
static void answer_retire(struct fixture *f, unsigned i)
{
    struct peer *p = &f->peers[i];
    uint64_t nonce = p->retire.nonce;
    p->retire.nonce = 0;
    assert_true(p->retire.epoch != reals[i].active);
    forget(&reals[i], p->retire.epoch);
    push_on_ack(p->x, nonce, p->retire.epoch, PUSH_RETIRED, 0, f->now);
}

static void step(struct fixture *f, unsigned i, bool good)
{
    struct peer *p = &f->peers[i];
    if (!p->x)
        come(f, i);
    else if (p->stage.nonce)
        answer_stage(f, i, good);
    else if (p->activate.nonce)
        answer_activate(f, i);
    else if (p->retire.nonce)
        answer_retire(f, i);
    else if (!good && pick(10) == 0)
        leave(f, p);
    text_release(&f->log);
}

static void settle(struct fixture *f)
{
    for (unsigned turn = 0; turn < 100; turn++)
        for (unsigned i = 0; i < PEERS_MAX; i++)
            step(f, i, true);
    history_add(&f->history); /* those that refused are tried again */
    push_commit(f->push, history_newest(&f->history), f->now);
    for (unsigned turn = 0; turn < 100; turn++)
        for (unsigned i = 0; i < PEERS_MAX; i++)
            step(f, i, true);
    pass(f, 10000);
}

static void any_order_ends_with_all_on_the_newest(void **state)
{
    (void)state;
    for (unsigned run = 0; run < 60; run++) {
        struct fixture f;
        memset(reals, 0, sizeof reals);
        begin(&f, pick(3));
        for (unsigned n = 0; n < 3000; n++) {
            unsigned what = pick(100);
            if (what == 0 && f.history.n < EPOCHS_MAX - 1)
                commit(&f);
            else if (what < 4)
                pass(&f, pick(4000));
            else
                step(&f, pick(PEERS_MAX), false);
            text_release(&f.log);
        }
        settle(&f);
        assert_int_equal(push_slowest(f.push), f.history.n);
        assert_int_equal(push_counts(f.push).behind, 0);
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_ends_with_all_on_the_newest),
    };
    return unit_run(tests);
}
