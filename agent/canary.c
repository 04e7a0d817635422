#include "agent/canary.h"
#include "lib/base/mem.h"
#include <errno.h>
#include <stdio.h>

#define WAYS        8u /* traces that share a place in the table */
#define SETS        (CANARY_TRACES / WAYS)
#define SERVICE_MAX 64u
#define WHY_MAX     400u

/* A trace of which hops were told. */
struct seen {
    unsigned char trace[TRACE_BYTES];
    uint64_t stamp;    /* 0: free; the least is the oldest */
    uint64_t services; /* bits */
    bool mine;         /* a dark one of the session that owns this canary */
    unsigned pins;     /* pending attempts that will look at it: it is kept */
    uint32_t blocked;  /* hops before it was known to be mine */
    char why[WHY_MAX]; /* not empty: it lost its context */
    unsigned lost_at;  /* the service, or CANARY_SERVICES */
};

struct service {
    char name[SERVICE_MAX];
    size_t n;
    uint64_t sampled, dark, lost;
    uint64_t expected, reached; /* attempts */
};

struct pending {
    unsigned char primary[TRACE_BYTES], dark[TRACE_BYTES];
    uint64_t due_ms, own; /* own: bit of the exchange's service */
    bool entry;
};

struct canary {
    enum canary_state state;
    char why[WHY_MAX];
    uint64_t stamp, attempts, blocked;
    size_t nservices;
    unsigned npending;
    struct service service[CANARY_SERVICES];
    struct pending pending[CANARY_PENDING]; /* the oldest first */
    struct seen seen[SETS][WAYS];
};

const char *canary_word(enum canary_state s)
{
    static const char *const words[] = {"unproved", "proved", "lost"};
    return words[s];
}

struct canary *canary_new(void)
{
    return mem_zalloc(sizeof(struct canary));
}

void canary_free(struct canary *c)
{
    mem_free(c);
}

void canary_reset(struct canary *c)
{
    c->state = CANARY_UNPROVED;
    c->why[0] = 0;
    c->attempts = c->blocked = c->npending = 0;
    memset(c->seen, 0, sizeof c->seen);
    for (size_t i = 0; i < c->nservices; i++) {
        struct service *s = &c->service[i];
        s->sampled = s->dark = s->lost = s->expected = s->reached = 0;
    }
}

/* ---- traces ---- */

static struct seen *set_of(struct canary *c, const unsigned char trace[TRACE_BYTES])
{
    /* Trace-ids are random; dark ones are so in their first half. */
    return c->seen[trace[0] % SETS];
}

/* NULL: not seen, or forgotten. */
static struct seen *find(struct canary *c, const unsigned char trace[TRACE_BYTES])
{
    struct seen *set = set_of(c, trace);
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].stamp && memcmp(set[i].trace, trace, TRACE_BYTES) == 0)
            return &set[i];
    return NULL;
}

/* In place of the oldest that no attempt waits for; of all, when attempts wait for each. */
static struct seen *lookup(struct canary *c, const unsigned char trace[TRACE_BYTES])
{
    struct seen *t = find(c, trace), *set = set_of(c, trace), *oldest = set;
    if (t)
        return t;
    for (unsigned i = 1; i < WAYS; i++)
        if (!set[i].pins == !oldest->pins ? set[i].stamp < oldest->stamp : !set[i].pins)
            oldest = &set[i];
    memset(oldest, 0, sizeof *oldest);
    memcpy(oldest->trace, trace, TRACE_BYTES);
    oldest->stamp = ++c->stamp;
    return oldest;
}

/* The services that a pending attempt's trace has met. */
static uint64_t unpin(struct canary *c, const unsigned char trace[TRACE_BYTES])
{
    struct seen *t = find(c, trace);
    if (t && t->pins)
        t->pins--;
    return t ? t->services : 0;
}

/* CANARY_SERVICES: it has no name, or there are too many. */
static unsigned service_of(struct canary *c, struct str name)
{
    unsigned i = 0;
    if (name.n == 0 || name.n > SERVICE_MAX)
        return CANARY_SERVICES;
    while (i < c->nservices && !str_eq(str_of(c->service[i].name, c->service[i].n), name))
        i++;
    if (i == c->nservices && i < CANARY_SERVICES) {
        memcpy(c->service[i].name, name.p, name.n);
        c->service[i].n = name.n;
        c->nservices++;
    }
    return i;
}

static uint64_t bit(unsigned service)
{
    return service < CANARY_SERVICES ? UINT64_C(1) << service : 0;
}

static void lose(struct canary *c, const char *why)
{
    if (c->state == CANARY_LOST)
        return;
    c->state = CANARY_LOST;
    snprintf(c->why, sizeof c->why, "%s", why);
}

/* What a dark trace met counts once it is known to belong to the session that owns the canary. */
static void settle_dark(struct canary *c, struct seen *t)
{
    for (unsigned i = 0; i < c->nservices; i++)
        c->service[i].dark += (t->services & bit(i)) != 0;
    c->blocked += t->blocked;
    t->blocked = 0;
    if (!t->why[0])
        return;
    if (t->lost_at < CANARY_SERVICES)
        c->service[t->lost_at].lost++;
    lose(c, t->why);
}

/* Of several hops of a trace the first is named: the others lie behind it. */
static void on_lost(struct canary *c, struct seen *t, const struct hop *h, unsigned service)
{
    struct str where = h->service.n ? h->service : STR("(none)");
    if (t->why[0])
        return;
    snprintf(t->why, sizeof t->why,
        "a dark request without its context came to service '%.*s' at proxy '%.*s' (environment "
        "'%.*s'): whoever called it does not pass the context on",
        STR_ARG(where), STR_ARG(h->node), STR_ARG(h->environment));
    t->lost_at = service;
    if (!t->mine)
        return;
    if (service < CANARY_SERVICES)
        c->service[service].lost++;
    lose(c, t->why);
}

void canary_hop(struct canary *c, const struct hop *h, bool ours)
{
    if (h->kind == HOP_OF_SAMPLED && !ours)
        return;
    unsigned service = service_of(c, h->service);
    struct seen *t = lookup(c, h->trace_id);
    switch (h->kind) {
    case HOP_OF_LOST:
        on_lost(c, t, h, service);
        return;
    case HOP_OF_BLOCKED:
        c->blocked += t->mine;
        t->blocked += !t->mine;
        break;
    case HOP_OF_SAMPLED:
        if (service < CANARY_SERVICES)
            c->service[service].sampled++;
        break;
    case HOP_OF_DARK:
        if (service < CANARY_SERVICES && t->mine)
            c->service[service].dark++;
    }
    t->services |= bit(service);
}

void canary_claim(struct canary *c, const unsigned char dark[TRACE_BYTES])
{
    struct seen *t = lookup(c, dark);
    if (t->mine)
        return;
    t->mine = true;
    settle_dark(c, t);
}

/* ---- attempts ---- */

void canary_answered(struct canary *c, const struct canary_attempt *a, uint64_t now_ms)
{
    canary_claim(c, a->dark);
    if (c->npending == CANARY_PENDING)
        return;
    struct pending *p = &c->pending[c->npending++];
    memcpy(p->primary, a->primary, TRACE_BYTES);
    memcpy(p->dark, a->dark, TRACE_BYTES);
    p->due_ms = now_ms + a->wait_ms;
    p->own = bit(service_of(c, a->service));
    p->entry = a->entry;
    lookup(c, a->primary)->pins++;
    lookup(c, a->dark)->pins++;
}

/* A dark trace whose first hop we have forgotten says nothing of those behind it. */
static void judge_attempt(struct canary *c, const struct pending *p)
{
    uint64_t users = unpin(c, p->primary), dark = unpin(c, p->dark);
    bool whole = p->entry && (dark & p->own) == p->own;
    char why[WHY_MAX];
    c->attempts++;
    for (unsigned i = 0; i < c->nservices && whole; i++) {
        struct service *s = &c->service[i];
        if (!(users & bit(i)) || (p->own & bit(i)))
            continue;
        s->expected++;
        s->reached += (dark & bit(i)) != 0;
        if (s->expected < CANARY_ATTEMPTS || s->reached)
            continue;
        snprintf(why, sizeof why,
            "no dark request came to service '%.*s' in %llu attempts, though the users' own "
            "requests do: their context is dropped on the way",
            (int)s->n, s->name, (unsigned long long)s->expected);
        lose(c, why);
    }
}

static bool all_reached(const struct canary *c)
{
    for (size_t i = 0; i < c->nservices; i++)
        if (c->service[i].expected && !c->service[i].reached)
            return false;
    return true;
}

enum canary_state canary_judge(struct canary *c, uint64_t now_ms)
{
    unsigned due = 0;
    while (due < c->npending && c->pending[due].due_ms <= now_ms)
        judge_attempt(c, &c->pending[due++]);
    c->npending -= due;
    memmove(c->pending, c->pending + due, c->npending * sizeof *c->pending);
    if (c->state == CANARY_UNPROVED && c->attempts >= CANARY_PROOF && all_reached(c))
        c->state = CANARY_PROVED;
    return c->state;
}

const char *canary_why(const struct canary *c)
{
    return c->why;
}

uint64_t canary_attempts(const struct canary *c)
{
    return c->attempts;
}

uint64_t canary_blocked(const struct canary *c)
{
    return c->blocked;
}

size_t canary_services(const struct canary *c)
{
    return c->nservices;
}

struct canary_service canary_service(const struct canary *c, size_t i)
{
    const struct service *s = &c->service[i];
    return (struct canary_service){str_of(s->name, s->n), s->sampled, s->dark, s->lost};
}
