/* Push with a history in memory, a virtual clock, and proxies that do what a test says. What push
 * sends stands in a log of short lines: "stage a 2<-1", "activate a 2", "retire a 1", "drop a". */
#ifndef OFFSHOOT_TESTS_AGENT_PUSH_FIXTURE_H
#define OFFSHOOT_TESTS_AGENT_PUSH_FIXTURE_H

#include "agent/push.h"
#include "tests/unit/agent/push_history.h"

#define PEERS_MAX 8

struct told {
    uint64_t nonce, epoch;
};

struct peer {
    const char *node;
    struct push_proxy *x; /* NULL: not connected */
    struct {
        uint64_t nonce, epoch, base;
        unsigned char digest[32];
        struct push_bytes *bytes; /* for looking at, not ours */
    } stage;
    struct told activate, retire;
    struct push_hello hello;
};

struct fixture {
    struct history history;
    struct push *push;
    struct push_options options;
    struct peer peers[PEERS_MAX];
    struct text log;
    uint64_t now;
};

static struct fixture *fixture; /* of the test that runs */

static inline void on_stage(void *arg, void *stream, uint64_t nonce, uint64_t base, uint64_t epoch,
    const unsigned char *digest, struct push_bytes *bytes)
{
    struct fixture *f = arg;
    struct peer *p = stream;
    p->stage.nonce = nonce;
    p->stage.epoch = epoch;
    p->stage.base = base;
    p->stage.bytes = bytes;
    memcpy(p->stage.digest, digest, 32);
    assert_memory_equal(digest, digest_of(&f->history, epoch), 32);
    assert_true(nonce != 0 && bytes->bytes.n > 0);
    text_fmt(&f->log, "stage %s %llu<-%llu\n", p->node, (unsigned long long)epoch,
        (unsigned long long)base);
}

static inline void told(
    struct fixture *f, const char *what, struct peer *p, struct told *t, struct told value)
{
    *t = value;
    text_fmt(&f->log, "%s %s %llu\n", what, p->node, (unsigned long long)value.epoch);
}

static inline void on_activate(void *arg, void *stream, uint64_t nonce, uint64_t epoch)
{
    struct peer *p = stream;
    told(arg, "activate", p, &p->activate, (struct told){nonce, epoch});
}

static inline void on_retire(void *arg, void *stream, uint64_t nonce, uint64_t epoch)
{
    struct peer *p = stream;
    told(arg, "retire", p, &p->retire, (struct told){nonce, epoch});
}

static inline void on_drop(void *arg, void *stream, const char *text)
{
    struct fixture *f = arg;
    struct peer *p = stream;
    assert_true(*text);
    p->x = NULL;
    text_fmt(&f->log, "drop %s\n", p->node);
}

/* epochs: how many the history has when push begins. */
static inline void begin(struct fixture *f, unsigned epochs)
{
    static const char *const nodes[PEERS_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    *f = (struct fixture){.now = 1000000};
    memcpy(f->history.id, "our own history.", HISTORY_ID);
    for (unsigned i = 0; i < epochs; i++)
        history_add(&f->history);
    for (unsigned i = 0; i < PEERS_MAX; i++)
        f->peers[i].node = f->peers[i].hello.node = nodes[i];
    f->options = (struct push_options){.stage_ms = 2000,
        .retire_ms = 60000,
        .proxies_max = 100,
        .remembered_max = 100,
        .remember_ms = 3600000,
        .arg = f,
        .stage = on_stage,
        .activate = on_activate,
        .retire = on_retire,
        .drop = on_drop};
    f->push = push_new(&f->options, &f->history);
    assert_non_null(f->push);
    fixture = f;
}

static inline void end(struct fixture *f)
{
    push_free(f->push);
    for (size_t i = 0; i < f->history.n; i++)
        snapshot_unref(f->history.snapshots[i]);
    text_release(&f->log);
}

/* What push sent since the last look. */
static inline void expect(const char *want)
{
    const char *have = fixture->log.p ? fixture->log.p : "";
    if (strcmp(have, want) != 0)
        fail_msg("push sent:\n%swanted:\n%s", have, want);
    text_release(&fixture->log);
}

static inline void commit(struct fixture *f)
{
    push_commit(f->push, history_add(&f->history), f->now);
}

static inline void join(struct fixture *f, struct peer *p)
{
    p->x = push_join(f->push, &p->hello, p, f->now);
    assert_non_null(p->x);
}

/* It says that it holds these, the last one active. */
static inline void holds(struct fixture *f, struct peer *p, uint64_t from, uint64_t to)
{
    p->hello.history = f->history.id;
    p->hello.nheld = 0;
    for (uint64_t e = from; e <= to; e++) {
        p->hello.held[p->hello.nheld].epoch = e;
        memcpy(p->hello.held[p->hello.nheld++].digest, digest_of(&f->history, e), 32);
    }
    p->hello.active = to;
}

static inline void leave(struct fixture *f, struct peer *p)
{
    struct push_proxy *x = p->x;
    p->x = NULL;
    push_leave(x, f->now);
}

static inline void staged(struct fixture *f, struct peer *p)
{
    push_on_ack(p->x, p->stage.nonce, p->stage.epoch, PUSH_STAGED, 1000000, f->now);
}

static inline void active(struct fixture *f, struct peer *p)
{
    push_on_ack(p->x, p->activate.nonce, p->activate.epoch, PUSH_ACTIVE, 2000000, f->now);
}

static inline void retired(struct fixture *f, struct peer *p)
{
    push_on_ack(p->x, p->retire.nonce, p->retire.epoch, PUSH_RETIRED, 0, f->now);
}

static inline void nack_stage(struct fixture *f, struct peer *p, enum push_nack reason)
{
    push_on_nack(p->x, p->stage.nonce, p->stage.epoch, reason, STR("not this one"), f->now);
}

/* Time goes on, with every tick that push asks for. */
static inline void pass(struct fixture *f, uint64_t ms)
{
    uint64_t until = f->now + ms;
    for (unsigned turns = 0;; turns++) {
        uint64_t wait = push_tick(f->push, f->now);
        assert_true(turns < 10000);
        if (f->now + wait > until)
            break;
        assert_true(wait > 0);
        f->now += wait;
    }
    f->now = until;
    push_tick(f->push, f->now);
}

/* A proxy that is on the newest epoch. */
static inline void join_current(struct fixture *f, struct peer *p)
{
    holds(f, p, f->history.n, f->history.n);
    join(f, p);
    expect("");
    assert_int_equal(push_slowest(f->push), f->history.n);
}

#endif
