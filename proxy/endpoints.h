/* The endpoints in use, by address: what the workers of one process share about each of them.
 *
 * An entry is made when the first worker uses an address (or an operator names it) and goes when
 * nobody uses it any more, which is five minutes after its last request, unless an order of the
 * operator stands. A worker takes its entry once, when it makes its struct provider, under the lock
 * of one of 64 shards; after that it reads one atomic word, `state`. Only the control thread
 * changes the state. Counts that bound a process (budgets) are relaxed atomics, touched on connect
 * and close, on waiting, and, where a service sets maxRequests, on each request. */
#ifndef OFFSHOOT_PROXY_ENDPOINTS_H
#define OFFSHOOT_PROXY_ENDPOINTS_H

#include "lib/base/addr.h"
#include "lib/base/counters.h"
#include "lib/base/list.h"
#include <pthread.h>
#include <stdatomic.h>

struct health_check;

#define ENDPOINT_SHARDS     64
#define ENDPOINT_BUCKETS    64   /* of a shard */
#define ENDPOINT_ORDERS_MAX 4096 /* addresses with an order of the operator */
#define ENDPOINT_TEXT_MAX   128  /* a reason, or what a check found; with its NUL */

enum endpoint_state {
    ENDPOINT_UNHEALTHY = 1, /* its check says so */
    ENDPOINT_DRAINED = 2,   /* by the operator */
    ENDPOINT_DISABLED = 4,  /* likewise */
    ENDPOINT_CHECKED = 8,   /* there is a check, and it has an opinion */
    ENDPOINT_CLOSED = ENDPOINT_UNHEALTHY | ENDPOINT_DRAINED | ENDPOINT_DISABLED
};

struct endpoint_entry {
    struct endpoint_entry *next; /* in its bucket */
    uint64_t hash;
    struct addr addr; /* name is owned */
    _Atomic uint32_t state;
    _Atomic uint64_t open_ms; /* monotonic: since when requests may go there */
    _Atomic uint32_t connections, pending, requests; /* of the process, for budgets */

    /* under the shard's lock */
    struct list uses; /* of endpoint_use.link */
    uint32_t holds;   /* by the control thread */

    /* the control thread's alone */
    struct health_check *check;
    int64_t changed_s; /* Unix seconds of the last change of state; 0: none yet */
    int64_t checked_s; /* of the last check; 0: none */
    char reason[ENDPOINT_TEXT_MAX];
    char error[ENDPOINT_TEXT_MAX]; /* of the last check; "" when it was well */
};

/* One worker's part, in its struct provider. The worker alone writes, relaxed; others read under
 * the shard's lock. */
struct endpoint_use {
    struct list link; /* in entry->uses */
    struct endpoint_entry *entry;
    _Atomic uint32_t connections, idle, inflight, waiting;
    counter_cell requests, errors; /* totals; errors: tries that failed, and replies 502 to 504 */
    _Atomic uint64_t ejected_until_ms; /* monotonic; in the past: not ejected */
};

struct endpoint_shard {
    pthread_mutex_t lock;
    struct endpoint_entry *bucket[ENDPOINT_BUCKETS];
};
struct endpoint_table {
    uint32_t orders; /* the control thread's */
    struct endpoint_shard shard[ENDPOINT_SHARDS];
};

/* NULL when memory is out. */
struct endpoint_table *endpoint_table_new(void);
/* Every use and hold has ended; orders of the operator go with it. NULL is allowed. */
void endpoint_table_free(struct endpoint_table *t);

/* ---- workers ---- */

/* Finds or makes the entry and links u to it. 0 or -ENOMEM. hash: addr_hash(a). */
int endpoint_attach(struct endpoint_table *t, struct endpoint_use *u, const struct addr *a,
    uint64_t hash, uint64_t now_ms);
/* u may go away afterwards, and the entry with it. */
void endpoint_detach(struct endpoint_table *t, struct endpoint_use *u);

static inline uint32_t endpoint_state(const struct endpoint_use *u)
{
    return atomic_load_explicit(&u->entry->state, memory_order_relaxed);
}

/* Takes one of `max` of a process-wide count; false: it is used up. max 0: no bound, but it is
 * counted all the same. budget_give takes it back. */
static inline bool budget_take(_Atomic uint32_t *count, uint32_t max)
{
    uint32_t before = atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    if (max == 0 || before < max)
        return true;
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    return false;
}
static inline void budget_give(_Atomic uint32_t *count)
{
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
}

/* ---- control thread ---- */

/* One more hold on u's entry: it stays until endpoint_release. Any thread that has u. */
struct endpoint_entry *endpoint_hold(struct endpoint_table *t, struct endpoint_use *u);
void endpoint_release(struct endpoint_table *t, struct endpoint_entry *e);
/* Whether a worker uses it now. */
bool endpoint_used(struct endpoint_table *t, struct endpoint_entry *e);

/* What its check found; error "" when it was well. True when the state changed. */
bool endpoint_judge(
    struct endpoint_entry *e, bool healthy, const char *error, uint64_t now_ms, int64_t now_s);
/* There is no check any more: counts as healthy. */
void endpoint_unchecked(struct endpoint_entry *e, uint64_t now_ms);

enum endpoint_order { ENDPOINT_DRAIN, ENDPOINT_DISABLE, ENDPOINT_ENABLE, ENDPOINT_ORDER_COUNT };
const char *endpoint_order_word(enum endpoint_order o);
bool endpoint_order_parse(const char *word, enum endpoint_order *ret);
/* The address need not be in use yet. 0; -EALREADY: it was so; -ENOMEM; -ENOBUFS: too many
 * orders. reason is cut and may be empty. ret_used (may be NULL): whether a worker uses it now. */
int endpoint_order(struct endpoint_table *t, const struct addr *a, enum endpoint_order o,
    const char *reason, uint64_t now_ms, int64_t now_s, bool *ret_used);

/* Addresses with an order; the n-th of them in no certain order, as "ADDRESS REASON" (printable,
 * cut at size) with what was ordered. False past the end. */
size_t endpoint_orders(const struct endpoint_table *t);
bool endpoint_ordered_at(
    struct endpoint_table *t, size_t n, enum endpoint_order *ret, char *text, size_t size);
/* Such a text back into an order. 0 or as endpoint_order; -EINVAL. */
int endpoint_order_again(struct endpoint_table *t, struct str text, enum endpoint_order o,
    uint64_t now_ms, int64_t now_s);

/* What there is to tell of one, summed over the workers. Strings and the address point into the
 * entry and live as long as the call. */
struct endpoint_view {
    const struct endpoint_entry *entry;
    uint32_t state; /* enum endpoint_state */
    uint32_t connections, idle, inflight, waiting;
    uint64_t requests, errors; /* totals since each worker uses it */
    uint32_t workers, ejected; /* that use it, that have ejected it */
    uint64_t ejected_until_ms; /* the latest; 0: none */
};
/* Each entry once, a shard at a time under its lock. */
void endpoint_table_each(struct endpoint_table *t, uint64_t now_ms,
    void (*fn)(const struct endpoint_view *v, void *arg), void *arg);
/* "healthy", "unhealthy", "draining", "drained", "disabled", "ejected" or "open" (no check). */
const char *endpoint_view_word(const struct endpoint_view *v);

#endif
