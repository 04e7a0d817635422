/* What is on its way.
 *
 *   mirror_send → dark_request_build ×2 → h2client_request ×2, in random order
 *   on_reply    → dark_outcome → copy; both here, or one of no use → fn
 *
 * Every byte counts in `held`: the exchange, what the client holds of both calls (it counts in the
 * same sum), and the copies of replies. */
#include "agent/mirror.h"
#include "agent/mirror_impl.h"
#include "lib/base/clock.h"
#include "lib/base/list.h"
#include "lib/base/mem.h"
#include "lib/graph/context.h"
#include "lib/graph/keyring.h"
#include <assert.h>
#include <errno.h>
#include <sys/random.h>

#define MIRROR_MAGIC 0x6d697201u

enum { SECONDARY, CANDIDATE, ROLES };

struct pair;
struct leg {
    struct pair *pair;
    struct h2call *call; /* NULL: not sent, or ended */
    struct mirrored out;
    void *memory;
    size_t size;
};

struct pair {
    struct list link;
    struct mirror *m;
    struct exchange *x; /* a reference */
    mirror_fn *fn;
    void *arg;
    bool candidate_first;
    struct leg leg[ROLES];
};

struct mirror {
    uint32_t magic;
    struct mirror_options o;
    struct h2client *client;
    struct list pairs;
    uint32_t npairs;
    uint64_t held;
};

/* What one exchange draws. */
struct dice {
    unsigned char trace[ROLES][8], span[ROLES][8], order;
};

/* ---- the end of a pair ---- */

static void free_pair(struct pair *p)
{
    struct mirror *m = p->m;
    for (int i = 0; i < ROLES; i++) {
        if (p->leg[i].call)
            h2call_cancel(p->leg[i].call);
        m->held -= p->leg[i].size;
        mem_free(p->leg[i].memory);
    }
    m->held -= p->x->bytes;
    m->npairs--;
    list_remove(&p->link);
    exchange_unref(p->x);
    mem_free(p);
}

/* dropped: the sample is of no use; what is still on its way is given up first. */
static void finish(struct pair *p, const char *dropped)
{
    struct mirror_result r = {.dropped = dropped, .candidate_first = p->candidate_first};
    for (int i = 0; i < ROLES; i++) {
        if (p->leg[i].call)
            h2call_cancel(p->leg[i].call);
        p->leg[i].call = NULL;
    }
    if (!dropped) {
        r.secondary = p->leg[SECONDARY].out;
        r.candidate = p->leg[CANDIDATE].out;
    }
    list_remove(&p->link);
    p->fn(p->arg, p->x, &r);
    free_pair(p);
}

static const char *keep_reply(struct leg *leg, const struct h2reply *r)
{
    struct mirror *m = leg->pair->m;
    enum reply_outcome outcome = REPLY_WHOLE;
    const char *dropped = dark_outcome(r, &outcome);
    if (dropped)
        return dropped;
    size_t size = mirrored_size(r);
    if (m->held > m->o.bytes || size > m->o.bytes - m->held)
        return "memory";
    leg->memory = mem_alloc(size + 1);
    if (!leg->memory)
        return "memory";
    leg->size = size;
    m->held += size;
    mirrored_copy(&leg->out, r, outcome, leg->memory);
    return NULL;
}

static void on_reply(void *arg, const struct h2reply *r)
{
    struct leg *leg = arg;
    struct pair *p = leg->pair;
    leg->call = NULL;
    const char *dropped = keep_reply(leg, r);
    if (dropped || (!p->leg[SECONDARY].call && !p->leg[CANDIDATE].call))
        finish(p, dropped);
}

/* ---- sending ---- */

static size_t write_token(
    const struct mirror *m, const struct mirror_roles *roles, bool candidate, char *out)
{
    uint8_t flags =
        CONTEXT_DARK | CONTEXT_NO_EFFECTS | (candidate ? CONTEXT_CANDIDATE : CONTEXT_SECONDARY);
    struct str env = candidate ? roles->candidate_env : roles->secondary_env;
    return signer_mint(m->o.signer, 'm', env, 0, flags, 0, clock_wall_s(), out);
}

static int send_one(
    struct pair *p, const struct mirror_roles *roles, int role, const struct dice *dice)
{
    struct mirror *m = p->m;
    struct leg *leg = &p->leg[role];
    const struct dark_source source = dark_source_of(p->x);
    struct dark_part part = {.candidate = role == CANDIDATE,
        .forward_credentials = roles->forward_credentials,
        .set = roles->set,
        .nset = roles->nset};
    struct dark_request built;
    char token[TOKEN_MAX];
    dark_trace_id(m->o.dark_key, dice->trace[role], part.trace_id);
    memcpy(leg->out.trace_id, part.trace_id, TRACE_BYTES);
    memcpy(part.span_id, dice->span[role], sizeof(part.span_id));
    part.span_id[0] |= 1; /* zero is none */
    part.token = str_of(token, write_token(m, roles, part.candidate, token));
    if (dark_request_build(&built, &source, &part) == 0) {
        const struct h2request r = {.method = p->x->method,
            .scheme = STR("http"), /* of this connection; x-forwarded-proto has the client's */
            .authority = p->x->authority,
            .path = p->x->path,
            .fields = built.fields,
            .nfields = built.nfields,
            .body = p->x->body,
            .has_body = built.has_body,
            .timeout_ms = m->o.timeout_ms};
        leg->call = h2client_request(m->client, &r, on_reply, leg);
    }
    dark_request_release(&built);
    return leg->call ? 0 : -ENOMEM;
}

static int send_both(struct pair *p, const struct mirror_roles *roles, const struct dice *dice)
{
    int first = p->candidate_first ? CANDIDATE : SECONDARY;
    int rc = send_one(p, roles, roles->only_secondary ? SECONDARY : first, dice);
    if (rc == 0 && !roles->only_secondary)
        rc = send_one(p, roles, ROLES - 1 - first, dice);
    return rc;
}

const char *mirror_send(struct mirror *m, struct exchange *x, const struct mirror_roles *roles,
    mirror_fn *fn, void *arg)
{
    struct dice dice;
    assert(m->magic == MIRROR_MAGIC);
    if (h2client_down(m->client))
        return "connection";
    if (m->npairs >= m->o.in_flight)
        return "in-flight";
    if (m->held > m->o.bytes || x->bytes > m->o.bytes - m->held)
        return "memory";
    struct pair *p = mem_zalloc(sizeof(*p));
    if (!p || getrandom(&dice, sizeof(dice), 0) != (ssize_t)sizeof(dice)) {
        mem_free(p);
        return "memory";
    }
    p->m = m;
    p->x = exchange_ref(x);
    p->fn = fn;
    p->arg = arg;
    p->candidate_first = !roles->only_secondary && !roles->candidate_last && (dice.order & 1);
    p->leg[SECONDARY].pair = p->leg[CANDIDATE].pair = p;
    m->held += x->bytes;
    m->npairs++;
    list_append(&m->pairs, &p->link);
    if (send_both(p, roles, &dice) == 0)
        return NULL;
    free_pair(p);
    return "memory";
}

/* ---- the mirror ---- */

static void set_defaults(struct mirror_options *o)
{
    o->in_flight = o->in_flight ? o->in_flight : 64;
    o->bytes = o->bytes ? o->bytes : 64u << 20;
    o->body_bytes = o->body_bytes ? o->body_bytes : 1u << 20;
    o->timeout_ms = o->timeout_ms ? o->timeout_ms : 10000;
}

struct mirror *mirror_new(const struct mirror_options *o, struct err *e)
{
    struct mirror *m = mem_zalloc(sizeof(*m));
    if (!m) {
        err_set(e, -ENOMEM, "out of memory for dark requests");
        return NULL;
    }
    m->magic = MIRROR_MAGIC;
    m->o = *o;
    set_defaults(&m->o);
    list_init(&m->pairs);
    const struct h2client_options client = {.calls = ROLES * m->o.in_flight,
        .body_bytes = m->o.body_bytes,
        .bytes = m->o.bytes,
        .held = &m->held};
    m->client = h2client_new(m->o.base, m->o.dns, m->o.target, &client, e);
    m->o.target = NULL; /* the client has a copy */
    if (!m->client) {
        mem_free(m);
        return NULL;
    }
    return m;
}

bool mirror_up(const struct mirror *m)
{
    return !h2client_down(m->client);
}

const char *mirror_why(const struct mirror *m)
{
    return h2client_why(m->client);
}

uint32_t mirror_in_flight(const struct mirror *m)
{
    return m->npairs;
}

void mirror_free(struct mirror *m)
{
    if (!m)
        return;
    assert(m->magic == MIRROR_MAGIC);
    m->o.in_flight = 0; /* nothing new begins in an fn */
    while (!list_empty(&m->pairs))
        finish(list_entry(m->pairs.next, struct pair, link), "stopped");
    h2client_free(m->client);
    assert(m->held == 0);
    m->magic = 0;
    mem_free(m);
}
