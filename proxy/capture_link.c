/* How a link lives: capture_link_rules only notes what is wanted and wakes on_step, which makes and
 * frees the client (neither is possible in every callback).
 *
 * A worker hears of rules and of its stream in a `tell`, of which there is one, on its way or at
 * home: what changed meanwhile goes with the next. It comes back behind the chunks that the worker
 * posted before, so that once the loss of a stream was taken nothing of that stream is on its way
 * any more, and only then is a new one opened. */
#include "proxy/capture_link.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/graph/pb.h"
#include "proxy/agent_call.h"
#include "proxy/control.h"
#include "proxy/sync.h"
#include <errno.h>
#include <event2/event.h>

#define LINK_MAGIC     0x43415054u /* "CAPT" */
#define EXCHANGES_PATH "/offshoot.v1.Capture/Exchanges"
#define MESSAGE_MAX    4096u      /* a CaptureEnd, and fields we do not know */
#define QUEUE_MAX      (1u << 20) /* of a stream */
#define PARTING_MS     5000u      /* from half-closed streams to the end of the connection */
#define LIVED_MS       10000u     /* a stream that lasted so long resets the wait */
#define NODE_FIELD     1u         /* of CaptureChunk */
#define WORKER_FIELD   2u

typedef unsigned long long ull;

/* What a worker is told. */
struct tell {
    struct message message;
    struct feed *feed;
    struct capture_rules *rules; /* a reference, of has_rules; NULL: none */
    bool has_rules, up;
};

/* The link's part for one worker. */
struct feed {
    struct capture_link *link;
    struct worker *worker;
    struct grpc_stream *stream; /* NULL: none */
    bool said_all;              /* half-closed */
    struct list chunks;         /* of struct capture_chunk, waiting for the stream */
    struct tell *tell;          /* at home; NULL: on its way */
    uint64_t told;              /* serial of the rules */
    bool told_up;
};

struct capture_link {
    uint32_t magic;
    struct control *control;
    struct capture_rules *rules; /* NULL: nothing is captured */
    uint64_t serial;             /* of rules: counts changes */
    struct grpc_client *client;  /* NULL: none is needed, or it could not be made */
    struct event *step;          /* on_step is due: now, or to try again */
    struct event *grace;         /* the agent was lost */
    bool parting;                /* the client is to go: its streams are being ended */
    uint64_t part_ms;            /* at the latest then */
    uint64_t opened_ms;
    struct backoff backoff; /* until a stream that ended is opened again */
    bool complained;        /* of the loss that lasts */
    char why[160];          /* the last loss; "": none yet */
    unsigned nfeeds;
    struct feed feeds[];
};

static struct capture_link *link_of(void *arg)
{
    struct capture_link *l = arg;
    assert(l->magic == LINK_MAGIC);
    return l;
}

static void step_in(struct capture_link *l, uint64_t ms)
{
    struct timeval t = clock_timeval(ms);
    event_add(l->step, &t);
}

static uint64_t queued_bytes(const struct control *c)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < c->nworkers; i++)
        n += atomic_load_explicit(&c->workers[i].capture.queued, memory_order_relaxed);
    return n;
}

static unsigned streams_up(const struct capture_link *l)
{
    unsigned n = 0;
    for (unsigned i = 0; i < l->nfeeds; i++)
        n += l->feeds[i].stream != NULL;
    return n;
}

static void set_gauges(struct capture_link *l)
{
    counter_cell *stats = l->control->stats;
    counter_set(&stats[STAT_CAPTURE_SESSIONS], l->rules ? l->rules->nrules : 0);
    counter_set(&stats[STAT_CAPTURE_UP], streams_up(l));
    counter_set(&stats[STAT_CAPTURE_QUEUED], queued_bytes(l->control));
}

/* ---- chunks --------------------------------------------------------------------------------- */

static void take_chunk(struct capture_chunk *k)
{
    atomic_fetch_sub_explicit(
        &k->worker->capture.queued, capture_chunk_bytes(k), memory_order_relaxed);
    list_remove(&k->link);
    mem_free(k);
}

static void drop_chunks(struct feed *f)
{
    while (!list_empty(&f->chunks)) {
        counter_inc(&f->link->control->stats[STAT_CAPTURE_CHUNKS_DROPPED]);
        take_chunk(list_entry(f->chunks.next, struct capture_chunk, link));
    }
}

/* What the stream's queue has room for: the rest waits for on_drained. */
static void send_chunks(struct feed *f)
{
    while (f->stream && !list_empty(&f->chunks)) {
        struct capture_chunk *k = list_entry(f->chunks.next, struct capture_chunk, link);
        int rc = grpc_send(f->stream, str_of((const char *)k->data, k->n));
        if (rc == -ENOBUFS)
            return;
        if (rc != 0) { /* a stream with a hole is of no use */
            grpc_cancel(f->stream);
            return;
        }
        take_chunk(k);
    }
}

/* ---- what the workers are told -------------------------------------------------------------- */

static void go_on(struct feed *f);

static struct capture_rules *rules_ref(struct capture_rules *r)
{
    if (r)
        atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

static bool wants_up(const struct feed *f)
{
    return f->stream && !f->link->parting;
}

static void tell_drop(struct message *m)
{
    struct tell *t = list_entry(m, struct tell, message);
    capture_rules_unref(t->rules);
    mem_free(t);
}

/* On the control thread, again. */
static void tell_back(struct message *m, void *control)
{
    struct tell *t = list_entry(m, struct tell, message);
    (void)control_of(control);
    t->feed->tell = t;
    go_on(t->feed);
}

/* On the worker's thread. */
static void tell_run(struct message *m, void *worker)
{
    struct tell *t = list_entry(m, struct tell, message);
    struct worker *w = worker;
    assert(w->magic == WORKER_MAGIC);
    if (t->has_rules)
        capture_set_rules(w, t->rules);
    t->rules = NULL;
    if (t->up != w->capture.up)
        capture_set_up(w, t->up);
    m->run = tell_back;
    mailbox_post(w->shared->control, m);
}

/* Tells the worker what it does not know. True: it knows all. */
static bool tell(struct feed *f)
{
    struct capture_link *l = f->link;
    struct tell *t = f->tell;
    if (!t)
        return false; /* more when it comes back */
    t->has_rules = f->told != l->serial;
    if (!t->has_rules && f->told_up == wants_up(f))
        return true;
    t->rules = t->has_rules ? rules_ref(l->rules) : NULL;
    t->up = wants_up(f);
    f->told = l->serial;
    f->told_up = t->up;
    f->tell = NULL;
    t->message.run = tell_run;
    mailbox_post(&f->worker->mailbox, &t->message);
    return false;
}

/* ---- streams -------------------------------------------------------------------------------- */

/* Who we are, before all chunks. */
static int introduce(struct feed *f)
{
    struct pb_out o = {0};
    pb_bytes(&o, NODE_FIELD, str_c(sync_node(f->link->control->sync)));
    if (f->worker->id)
        pb_uint(&o, WORKER_FIELD, f->worker->id);
    int rc = o.failed ? -ENOMEM : grpc_send(f->stream, pb_str(&o));
    pb_release(&o);
    return rc;
}

static void open_stream(struct feed *f)
{
    struct capture_link *l = f->link;
    struct grpc_session *session = l->client ? grpc_client_session(l->client) : NULL;
    if (!session || f->stream || l->parting || !l->rules)
        return;
    f->said_all = false;
    f->stream = grpc_call(session, agent_authority(l->control->set), STR(EXCHANGES_PATH));
    if (!f->stream) {
        grpc_client_again(l->client);
        return;
    }
    grpc_stream_set(f->stream, f);
    l->opened_ms = clock_mono_ms();
    if (introduce(f) != 0)
        grpc_cancel(f->stream);
    else
        tell(f);
}

/* The last chunks of a worker that was told that it is over. */
static void say_all(struct feed *f)
{
    send_chunks(f);
    if (!f->stream || f->said_all || !list_empty(&f->chunks))
        return;
    f->said_all = true;
    grpc_half_close(f->stream);
}

/* The next step of a worker's feed, if there is one. */
static void go_on(struct feed *f)
{
    struct capture_link *l = f->link;
    if (!tell(f))
        return;
    if (l->parting)
        say_all(f);
    else if (!event_pending(l->step, EV_TIMEOUT, NULL)) /* it opens them all */
        open_stream(f);
    if (l->client)
        grpc_client_flush(l->client);
    set_gauges(l);
}

static void lost(struct capture_link *l, const char *what)
{
    counter_inc(&l->control->stats[STAT_CAPTURE_LOSSES]);
    if (!l->complained)
        log_warn("%s (%s): what is captured meanwhile is dropped", what, l->why);
    l->complained = true;
}

static void on_message(struct grpc_stream *st, struct str bytes, void *arg)
{
    (void)link_of(arg); /* a CaptureEnd says nothing; the end of the stream follows */
    (void)st;
    (void)bytes;
}

static void on_drained(struct grpc_stream *st, void *arg)
{
    (void)link_of(arg);
    struct feed *f = grpc_stream_get(st);
    send_chunks(f);
    go_on(f);
}

static void on_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    struct capture_link *l = link_of(arg);
    struct feed *f = grpc_stream_get(st);
    f->stream = NULL;
    drop_chunks(f);
    tell(f);
    set_gauges(l);
    if (l->parting) {
        if (streams_up(l) == 0)
            step_in(l, 0);
        return;
    }
    if (!grpc_client_session(l->client))
        return; /* on_down tells */
    if (clock_mono_ms() - l->opened_ms >= LIVED_MS) {
        l->opened_ms = clock_mono_ms(); /* the others that end now are the same loss */
        backoff_reset(&l->backoff);
        l->complained = false;
    }
    agent_end_text(status, text, l->why, sizeof l->why);
    lost(l, "the agent ended a stream of captured traffic");
    if (!event_pending(l->step, EV_TIMEOUT, NULL))
        step_in(l, backoff_next(&l->backoff));
}

static void on_up(struct grpc_client *client, void *arg)
{
    struct capture_link *l = link_of(arg);
    l->client = client; /* also when grpc_client_new has not returned yet */
    l->complained = false;
    for (unsigned i = 0; i < l->nfeeds; i++)
        go_on(&l->feeds[i]);
}

static void on_down(struct grpc_client *client, const char *why, uint32_t retry_ms, void *arg)
{
    struct capture_link *l = link_of(arg);
    (void)client;
    (void)retry_ms;
    if (l->parting) {
        step_in(l, 0);
        return;
    }
    event_del(l->step); /* on_up opens them */
    agent_why(why, l->why, sizeof l->why);
    lost(l, "no connection to the agent for captured traffic");
}

/* ---- the client ----------------------------------------------------------------------------- */

static void dial(struct capture_link *l)
{
    static const struct grpc_client_events events = {
        .call = {.on_message = on_message, .on_end = on_end, .on_drained = on_drained},
        .on_up = on_up,
        .on_down = on_down};
    struct control *c = l->control;
    struct grpc_limits limits = {
        .streams = l->nfeeds, .message_bytes = MESSAGE_MAX, .queue_bytes = QUEUE_MAX};
    struct grpc_client_options o = agent_options(c->set, sync_tls(c->sync), limits);
    struct err e = {0};
    agent_backoff(c->set, &l->backoff);
    l->client = grpc_client_new(c->base, c->dns, c->set->agent, &o, &events, l, &e);
    if (l->client)
        return;
    agent_why(e.text, l->why, sizeof l->why);
    lost(l, "no connection to the agent for captured traffic");
    step_in(l, c->set->agent_backoff_max);
}

static void hang_up(struct capture_link *l)
{
    struct grpc_client *client = l->client;
    l->parting = true; /* for on_end */
    l->client = NULL;
    if (client)
        grpc_client_free(client);
    event_del(l->step);
    l->parting = false;
    for (unsigned i = 0; i < l->nfeeds; i++)
        drop_chunks(&l->feeds[i]);
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
    struct capture_link *l = link_of(arg);
    (void)fd;
    (void)what;
    if (l->parting && (streams_up(l) == 0 || l->rules || clock_mono_ms() >= l->part_ms))
        hang_up(l);
    if (l->rules && !l->client)
        dial(l);
    for (unsigned i = 0; i < l->nfeeds; i++)
        go_on(&l->feeds[i]);
    if (l->parting)
        step_in(l, l->part_ms - clock_mono_ms());
}

/* ---- rules ---------------------------------------------------------------------------------- */

/* One for the process's life. */
static struct capture_link *link_new(struct control *c)
{
    struct capture_link *l = mem_zalloc(sizeof *l + c->nworkers * sizeof(struct feed));
    if (!l)
        return NULL;
    l->magic = LINK_MAGIC;
    l->control = c;
    c->capture = l;
    return l;
}

static void on_grace(evutil_socket_t fd, short what, void *arg);

static int link_init(struct capture_link *l)
{
    l->step = evtimer_new(l->control->base, on_step, l);
    l->grace = evtimer_new(l->control->base, on_grace, l);
    if (!l->step || !l->grace)
        return -ENOMEM;
    for (; l->nfeeds < l->control->nworkers; l->nfeeds++) {
        struct feed *f = &l->feeds[l->nfeeds];
        f->link = l;
        f->worker = &l->control->workers[l->nfeeds];
        list_init(&f->chunks);
        f->tell = mem_zalloc(sizeof *f->tell);
        if (!f->tell)
            return -ENOMEM;
        f->tell->feed = f;
        f->tell->message.drop = tell_drop;
    }
    return 0;
}

/* Takes rules. */
static void use_rules(struct capture_link *l, struct capture_rules *rules)
{
    capture_rules_unref(l->rules);
    l->rules = rules;
    l->serial++;
    event_del(l->grace);
    if (!rules && l->client && !l->parting) {
        l->parting = true;
        l->part_ms = clock_mono_ms() + PARTING_MS;
    }
    set_gauges(l);
    step_in(l, 0);
}

int capture_link_rules(struct control *c, struct str packed, struct err *e)
{
    struct capture_rules *rules = capture_rules_parse(packed, e);
    if (!rules)
        return e->code;
    if (rules->nrules == 0) {
        capture_rules_unref(rules);
        rules = NULL;
    }
    if (!c->capture && !rules)
        return 0;
    if (!c->capture && (!link_new(c) || link_init(c->capture) != 0)) {
        capture_link_release(c);
        capture_rules_unref(rules);
        return err_set(e, -ENOMEM, "out of memory");
    }
    if (!rules != !c->capture->rules)
        log_info(rules ? "the agent asks for captured traffic" : "nothing is captured any more");
    use_rules(c->capture, rules);
    return 0;
}

void capture_link_lost(struct control *c)
{
    struct capture_link *l = c->capture;
    if (!l || !l->rules || event_pending(l->grace, EV_TIMEOUT, NULL))
        return;
    struct timeval t = clock_timeval(c->set->capture_grace);
    event_add(l->grace, &t);
}

static void on_grace(evutil_socket_t fd, short what, void *arg)
{
    struct capture_link *l = link_of(arg);
    (void)fd;
    (void)what;
    log_warn("the agent has not told of its sessions again: nothing is captured any more");
    use_rules(l, NULL);
}

/* ---- the rest ------------------------------------------------------------------------------- */

void capture_chunk_run(struct message *m, void *control)
{
    struct capture_chunk *k = list_entry(m, struct capture_chunk, message);
    struct control *c = control_of(control);
    struct capture_link *l = c->capture;
    struct feed *f = &l->feeds[k->worker->id];
    list_append(&f->chunks, &k->link);
    if (f->stream)
        send_chunks(f);
    else
        drop_chunks(f);
    if (l->client)
        grpc_client_flush(l->client);
    set_gauges(l);
}

void capture_link_second(struct control *c)
{
    if (c->capture)
        set_gauges(c->capture);
}

static uint64_t sum(const struct control *c, unsigned first, unsigned n)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < c->nworkers; i++)
        for (unsigned k = 0; k < n; k++)
            all += counter_get(&c->workers[i].stats[first + k]);
    return all;
}

void capture_link_status(const struct control *c, bool json, struct text *out)
{
    const struct capture_link *l = c->capture;
    unsigned sessions = l && l->rules ? l->rules->nrules : 0, up = l ? streams_up(l) : 0;
    uint64_t queued = queued_bytes(c);
    uint64_t told = sum(c, STAT_CAPTURE_EXCHANGES, 1);
    uint64_t dropped = sum(c, STAT_CAPTURE_DROPPED, CAPTURE_REASONS);
    if (json) {
        text_fmt(out,
            "\"capture\":{\"sessions\":%u,\"version\":%llu,\"up\":%u,\"queued\":%llu,"
            "\"exchanges\":%llu,\"dropped\":%llu,\"last_loss\":\"",
            sessions, sessions ? (ull)l->rules->version : 0, up, (ull)queued, (ull)told,
            (ull)dropped);
        text_json(out, str_c(l ? l->why : ""));
        text_add(out, STR("\"}"));
        return;
    }
    if (sessions)
        text_fmt(out,
            "capture       %u session%s, %u of %u workers connected, %llu bytes wait; "
            "%llu requests told, %llu dropped\n",
            sessions, sessions == 1 ? "" : "s", up, c->nworkers, (ull)queued, (ull)told,
            (ull)dropped);
    if (sessions && up < c->nworkers && l->why[0])
        text_fmt(out, "              %s\n", l->why);
}

void capture_link_release(struct control *c)
{
    struct capture_link *l = c->capture;
    if (!l)
        return;
    if (l->step && l->grace)
        hang_up(l);
    for (unsigned i = 0; i < l->nfeeds; i++)
        if (l->feeds[i].tell) /* what is on its way is dropped where it is */
            tell_drop(&l->feeds[i].tell->message);
    if (l->step)
        event_free(l->step);
    if (l->grace)
        event_free(l->grace);
    capture_rules_unref(l->rules);
    c->capture = NULL;
    l->magic = 0;
    mem_free(l);
}
