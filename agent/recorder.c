/* Sums, samples and verdicts on their way to Redis.
 *
 *   every tick, and when a connection is up: pump → each lane that is not busy and has something to
 *   send: lane_send → redis_conn_send → answered: on_answer
 *      MOVED, ASK        → the node it names, at once
 *      another error     → the lane's fault; tried again at the next tick
 *      lost              → tried again when the connection is up
 *      else              → the lane's own function, which pumps again */
#include "agent/recorder.h"

#include "agent/recorder_int.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/net/dns.h"
#include <ctype.h>
#include <errno.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

struct request {
    struct recorded *s; /* NULL: forgotten meanwhile */
    enum lane_kind lane;
    int node;
    lane_fn *fn;
};

static const char *const key_names[] = {"sums", "samples", "examples", "verdict"};

/* ---- nodes ---- */

static void on_up(void *arg);

static bool in_use(const struct recorder *r, unsigned node)
{
    list_for_each (it, &r->sessions) {
        const struct recorded *s = list_entry(it, struct recorded, link);
        if (s->node == (int)node)
            return true;
        for (unsigned k = 0; k < LANE_COUNT; k++)
            if (s->lane[k].ask == (int)node ||
                (s->lane[k].busy && s->lane[k].busy->node == (int)node))
                return true;
    }
    return false;
}

/* A place for another node: a new one, or that of one that is down and of no use; 0: none. */
static unsigned place_for_node(struct recorder *r)
{
    if (r->nnodes < r->o.nodes)
        return r->nnodes++;
    for (unsigned i = 1; i < r->nnodes; i++)
        if (redis_conn_state(r->node[i]) == REDIS_DOWN && !in_use(r, i)) {
            redis_conn_free(r->node[i]);
            return i;
        }
    return 0;
}

/* The node of that address; a new one; or the configured one when there are too many. */
static int node_of(struct recorder *r, const char *target)
{
    for (unsigned i = 0; i < r->nnodes; i++)
        if (strcmp(redis_conn_target(r->node[i]), target) == 0)
            return (int)i;
    struct redis_conn_options o = r->conn;
    o.db = 0; /* a cluster has one only */
    struct redis_conn *c = redis_conn_new(&o, target);
    if (!c)
        return 0;
    unsigned place = place_for_node(r);
    if (place)
        r->node[place] = c;
    else
        redis_conn_free(c);
    return (int)place;
}

/* The session's node is not up: any other that is knows where the slot went. */
static int usable_node(const struct recorded *s)
{
    const struct recorder *r = s->r;
    if (redis_conn_state(r->node[s->node]) == REDIS_UP)
        return s->node;
    for (unsigned i = 0; i < r->nnodes; i++)
        if (redis_conn_state(r->node[i]) == REDIS_UP)
            return (int)i;
    return -1;
}

/* ---- faults ---- */

void lane_fault(struct recorded *s, enum lane_kind k, const char *word, const char *why)
{
    struct err e;
    s->lane[k].fault = word;
    err_set(&e, -EIO, "%.*s", RECORDER_WHY - 1, why);
    snprintf(s->lane[k].why, sizeof(s->lane[k].why), "%.*s", RECORDER_WHY - 1, e.text);
}

static const char *word_of_error(const char *error)
{
    static const struct {
        const char *begins, *word;
    } words[] = {{"OOM", "full"}, {"READONLY", "read-only"}, {"WRONGTYPE", "wrong-type"},
        {"NOAUTH", "refused"}, {"NOPERM", "refused"}, {"WRONGPASS", "refused"},
        {"LOADING", "loading"}, {"CLUSTERDOWN", "cluster-down"}, {"TRYAGAIN", "moving"},
        {"MOVED", "moving"}, {"ASK", "moving"}, {"MASTERDOWN", "no-master"}, {"BUSY", "busy"},
        {"MISCONF", "full"}, {"NOREPLICAS", "no-replicas"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (str_starts(str_c(error), str_c(words[i].begins)))
            return words[i].word;
    return "error";
}

static const char *key_of_lane(const struct recorded *s, enum lane_kind k)
{
    return k == LANE_VERDICT ? s->key[3] : k == LANE_STREAM ? s->key[1] : s->key[0];
}

static void on_error(struct recorded *s, enum lane_kind k, int node, const redisReply *reply)
{
    char why[RECORDER_WHY];
    bool named = strstr(reply->str, s->key[0]) || strstr(reply->str, s->key[1]);
    snprintf(why, sizeof(why), "%.*s", RECORDER_WHY - 1, reply->str);
    if (!named && str_starts(str_c(reply->str), STR("WRONGTYPE")))
        snprintf(why, sizeof(why), "WRONGTYPE at %.150s", key_of_lane(s, k));
    lane_fault(s, k, word_of_error(reply->str), why);
    if (str_starts(str_c(reply->str), STR("NOAUTH")))
        redis_conn_drop(s->r->node[node], REDIS_REFUSED, reply->str);
}

static void pump_lane(struct recorded *s, enum lane_kind k);

/* True: it was one, and is followed. */
static bool redirected(struct recorded *s, enum lane_kind k, int node, const redisReply *reply)
{
    struct lane *l = &s->lane[k];
    char target[ADDR_TEXT_MAX];
    struct str error = str_of(reply->str, reply->len);
    bool moved = str_starts(error, STR("MOVED ")), ask = str_starts(error, STR("ASK "));
    if ((!moved && !ask) ||
        redis_redirect_parse(error, redis_conn_target(s->r->node[node]), target))
        return false;
    s->r->redirects++;
    if (++l->hops > RECORDER_HOPS)
        return false;
    if (ask) {
        l->ask = node_of(s->r, target);
    } else {
        s->node = node_of(s->r, target);
        sums_again(s); /* a replica that took over may lack the last writes */
    }
    pump_lane(s, k);
    return true;
}

/* ---- sending ---- */

static void on_answer(void *arg, const struct redisReply *reply)
{
    struct request *q = arg;
    struct recorded *s = q->s;
    struct request done = *q;
    mem_free(q);
    if (!s)
        return;
    struct lane *l = &s->lane[done.lane];
    l->busy = NULL;
    if (!reply)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        if (!redirected(s, done.lane, done.node, reply))
            on_error(s, done.lane, done.node, reply);
        return;
    }
    l->fault = NULL;
    l->hops = 0;
    done.fn(s, reply);
}

static void on_asking(void *arg, const struct redisReply *reply)
{
    (void)arg;
    (void)reply; /* what follows it tells */
}

bool lane_send(struct recorded *s, enum lane_kind k, const struct args *a, lane_fn *fn)
{
    struct lane *l = &s->lane[k];
    const char *asking = "ASKING";
    size_t asking_n = 6;
    int node = l->ask >= 0 ? l->ask : usable_node(s);
    if (node < 0 || redis_conn_state(s->r->node[node]) != REDIS_UP)
        return false; /* comes again with on_up */
    struct request *q = mem_alloc(sizeof(*q));
    if (!q)
        return false;
    *q = (struct request){s, k, node, fn};
    bool asks = l->ask >= 0;
    l->ask = -1;
    struct redis_conn *c = s->r->node[node];
    if ((asks && redis_conn_send(c, 1, &asking, &asking_n, on_asking, NULL)) ||
        redis_conn_send(c, a->n, (const char **)(uintptr_t)a->p, a->len, on_answer, q)) {
        mem_free(q);
        return false;
    }
    l->busy = q;
    return true;
}

/* ---- the verdict ---- */

static void on_verdict_sent(struct recorded *s, const struct redisReply *reply)
{
    (void)reply;
    if (s->verdict_due) /* another one came meanwhile */
        pump_lane(s, LANE_VERDICT);
}

static void verdict_pump(struct recorded *s)
{
    struct args *a = &s->r->args;
    char samples[24], at[24];
    if (s->lane[LANE_VERDICT].busy || !s->verdict_due)
        return;
    snprintf(samples, sizeof(samples), "%llu", (unsigned long long)s->verdict_samples);
    snprintf(at, sizeof(at), "%lld", (long long)clock_wall_s());
    const char *words[] = {"HSET", s->key[3], "verdict", s->verdict, "why", s->verdict_why,
        "samples", samples, "agent", s->r->agent, "at", at};
    a->n = 0;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        args_word(a, words[i]);
    s->verdict_due = !lane_send(s, LANE_VERDICT, a, on_verdict_sent);
}

/* ---- the turn ---- */

static void pump_lane(struct recorded *s, enum lane_kind k)
{
    switch (k) {
    case LANE_SUMS:
        sums_pump(s);
        break;
    case LANE_STREAM:
        stream_pump(s);
        break;
    case LANE_VERDICT:
        verdict_pump(s);
        break;
    default:
        others_pump(s);
    }
}

static void pump(struct recorded *s)
{
    sums_pump(s);
    stream_pump(s);
    verdict_pump(s);
}

/* What was on its way when a connection was lost: whether it was carried out is not known. */
static void on_up(void *arg)
{
    struct recorder *r = arg;
    list_for_each (it, &r->sessions) {
        struct recorded *s = list_entry(it, struct recorded, link);
        s->verdict_due = s->verdict[0] != '\0';
        sums_again(s);
        pump(s);
    }
}

/* More of the journal is to be read. */
static void on_more(evutil_socket_t fd, short what, void *arg)
{
    struct recorder *r = arg;
    (void)fd;
    (void)what;
    list_for_each (it, &r->sessions)
        stream_pump(list_entry(it, struct recorded, link));
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct recorder *r = arg;
    (void)fd;
    (void)what;
    r->tick++;
    list_for_each (it, &r->sessions) {
        struct recorded *s = list_entry(it, struct recorded, link);
        for (unsigned k = 0; k < LANE_COUNT; k++) {
            s->lane[k].hops = 0;
            if (!s->lane[k].busy)
                s->lane[k].ask = -1;
        }
        s->cursor_at_end = false;
        if (s->verdict[0] && s->lane[LANE_VERDICT].fault)
            s->verdict_due = true;
        if (s->lane[LANE_STREAM].fault || s->examples_why[0])
            s->probe = true;
        pump(s);
        if (r->tick % OTHERS_EVERY == 0)
            others_pump(s);
    }
}

/* Outside of every answer: the owner may forget its session in it. */
static void on_others_changed(evutil_socket_t fd, short what, void *arg)
{
    struct recorder *r = arg;
    (void)fd;
    (void)what;
    for (bool found = true; found;) {
        found = false;
        list_for_each (it, &r->sessions) {
            struct recorded *s = list_entry(it, struct recorded, link);
            if (!s->others_changed)
                continue;
            s->others_changed = false;
            found = true;
            if (s->on_others)
                s->on_others(s->arg);
            break; /* the list may be another now */
        }
    }
}

/* ---- sessions ---- */

static void session_free(struct recorded *s)
{
    for (unsigned k = 0; k < LANE_COUNT; k++)
        if (s->lane[k].busy)
            s->lane[k].busy->s = NULL;
    stream_release(s);
    for (unsigned i = 0; i < 4; i++)
        mem_free(s->key[i]);
    mem_free(s->items);
    mem_free(s->name);
    mem_free(s);
}

static bool make_keys(struct recorded *s)
{
    size_t room = strlen(s->name) + 32;
    for (unsigned i = 0; i < 4; i++) {
        s->key[i] = mem_alloc(room);
        if (!s->key[i])
            return false;
        snprintf(s->key[i], room, "offshoot:{%s}:%s", s->name, key_names[i]);
    }
    return true;
}

static void set_run(struct recorded *s, uint32_t run, const unsigned char *decisions)
{
    s->run = run;
    for (unsigned i = 0; i < DECISIONS_HEX / 2; i++)
        snprintf(s->decisions + 2 * i, 3, "%02x", decisions[i]);
}

static int find_session(void *arg, struct str bytes)
{
    struct journal_record rec;
    struct recorded *s = arg;
    if (journal_parse(bytes, &rec, NULL) || rec.kind != JOURNAL_SESSION)
        return 0;
    s->id = rec.session.id;
    set_run(s, (uint32_t)rec.session.run, (const unsigned char *)rec.session.decisions.p);
    return 1;
}

struct recorded *recorder_session(struct recorder *r, const char *name, struct tally *tally,
    const struct shadow_drops *drops, void (*on_others)(void *arg), void *arg)
{
    struct recorded *s = mem_zalloc(sizeof(*s));
    if (!s)
        return NULL;
    *s = (struct recorded){.r = r,
        .tally = tally,
        .drops = drops,
        .on_others = on_others,
        .arg = arg,
        .run = 1,
        .name = mem_dup(name, strlen(name))};
    for (unsigned k = 0; k < LANE_COUNT; k++)
        s->lane[k].ask = -1;
    if (!s->name || !make_keys(s)) {
        session_free(s);
        return NULL;
    }
    (void)journal_read(r->journal_dir, name, find_session, s, NULL);
    list_append(&r->sessions, &s->link);
    return s;
}

void recorder_forget(struct recorded *s)
{
    if (!s)
        return;
    list_remove(&s->link);
    session_free(s);
}

void recorder_sample(struct recorded *s, uint64_t sample)
{
    if (sample > s->told) {
        if (!s->told)
            s->told_from = sample;
        s->told = sample;
        if (sample > s->read)
            s->told_unread++;
    }
    s->cursor_at_end = false;
    stream_pump(s);
}

void recorder_run(struct recorded *s, uint32_t run, const unsigned char decisions[32])
{
    set_run(s, run, decisions);
    sums_again(s);
    sums_pump(s);
}

void recorder_verdict(struct recorded *s, const char *verdict, const char *why, uint64_t samples)
{
    snprintf(s->verdict, sizeof(s->verdict), "%s", verdict);
    snprintf(s->verdict_why, sizeof(s->verdict_why), "%s", why ? why : "");
    s->verdict_samples = samples;
    s->verdict_due = true;
    verdict_pump(s);
}

/* ---- state ---- */

static const char *state_word(enum redis_state s)
{
    static const char *const words[] = {[REDIS_DOWN] = "down",
        [REDIS_CONNECTING] = "connecting",
        [REDIS_UP] = "up",
        [REDIS_REFUSED] = "refused",
        [REDIS_LOADING] = "loading"};
    return words[s];
}

/* The first fault of a session. */
static bool fault_of(const struct recorded *s, struct recorder_status *ret)
{
    for (unsigned k = 0; k < LANE_COUNT; k++)
        if (s->lane[k].fault) {
            ret->state = s->lane[k].fault;
            ret->why = s->lane[k].why;
            return true;
        }
    if (!s->examples_why[0])
        return false;
    ret->state = "wrong-type";
    ret->why = s->examples_why;
    return true;
}

void recorder_status(const struct recorder *r, struct recorder_status *ret)
{
    bool up = false, faulty = false;
    *ret = (struct recorder_status){.state = state_word(redis_conn_told(r->node[0])),
        .why = redis_conn_why(r->node[0]),
        .commands = r->counts.commands,
        .errors = r->counts.errors,
        .timeouts = r->counts.timeouts,
        .reconnects = r->counts.reconnects,
        .redirects = r->redirects};
    for (unsigned i = 0; i < r->nnodes; i++)
        up |= redis_conn_state(r->node[i]) == REDIS_UP;
    if (up)
        ret->state = "up";
    list_for_each (it, &r->sessions) {
        const struct recorded *s = list_entry(it, struct recorded, link);
        ret->behind += s->told_unread + s->nbatch;
        faulty = faulty || (up && fault_of(s, ret));
        if (up && !faulty && s->others_why[0])
            ret->why = s->others_why;
    }
}

/* ---- life ---- */

static char *copy(const char *s)
{
    return mem_dup(s ? s : "", s ? strlen(s) : 0);
}

static bool agent_valid(const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("._-", s[i]))
            return false;
    return n >= 1 && n <= 64;
}

static int set_up(struct recorder *r, const struct recorder_options *o, struct err *e)
{
    struct addr at;
    r->o = *o;
    r->agent = copy(o->agent);
    r->journal_dir = copy(o->journal_dir);
    r->user = copy(o->user && *o->user ? o->user : r->url.user);
    r->password_file = o->password_file ? copy(o->password_file) : NULL;
    if (!r->o.nodes)
        r->o.nodes = 16;
    r->o.connect_ms = o->connect_ms ? o->connect_ms : 2000;
    r->o.command_ms = o->command_ms ? o->command_ms : 1000;
    r->o.every_ms = o->every_ms ? o->every_ms : 1000;
    r->o.stream_max = o->stream_max ? o->stream_max : 10000;
    r->o.examples_max = o->examples_max ? o->examples_max : 100;
    r->node = mem_array(r->o.nodes, sizeof(struct redis_conn *));
    if (!r->agent || !r->journal_dir || !r->user || !r->node ||
        (o->password_file && !r->password_file))
        return err_set(e, -ENOMEM, "out of memory");
    /* Nodes of a cluster are addresses, unless it was told to announce names. */
    if (addr_parse(str_c(r->url.target), false, &at, NULL) == 0 && at.kind != ADDR_UNIX) {
        r->dns = dns_new(o->base, NULL, r->o.connect_ms, e);
        if (!r->dns)
            return -EIO;
    }
    r->conn = (struct redis_conn_options){.base = o->base,
        .dns = r->dns,
        .user = r->user,
        .password_file = r->password_file,
        .db = r->url.db,
        .connect_ms = r->o.connect_ms,
        .command_ms = r->o.command_ms,
        .counts = &r->counts,
        .on_up = on_up,
        .arg = r};
    return 0;
}

static int set_going(struct recorder *r, struct err *e)
{
    struct timeval every = clock_timeval(r->o.every_ms);
    if (event_assign(&r->timer, r->o.base, -1, EV_PERSIST, on_tick, r) ||
        event_assign(&r->others, r->o.base, -1, 0, on_others_changed, r) ||
        event_assign(&r->more, r->o.base, -1, 0, on_more, r) || event_add(&r->timer, &every))
        return err_set(e, -ENOMEM, "out of memory");
    r->node[0] = redis_conn_new(&r->conn, r->url.target);
    if (!r->node[0]) {
        event_del(&r->timer);
        return err_set(e, -ENOMEM, "out of memory");
    }
    r->nnodes = 1;
    return 0;
}

static void release(struct recorder *r)
{
    for (unsigned i = 0; i < r->nnodes; i++)
        redis_conn_free(r->node[i]);
    if (r->dns)
        dns_free(r->dns);
    mem_free(r->node);
    mem_free(r->agent);
    mem_free(r->journal_dir);
    mem_free(r->user);
    mem_free(r->password_file);
    mem_free(r);
}

struct recorder *recorder_new(const struct recorder_options *o, struct err *e)
{
    struct redis_url url;
    if (redis_url_parse(str_c(o->url), &url, e))
        return NULL;
    if (!agent_valid(o->agent)) {
        err_set(e, -EINVAL, "an agent in Redis cannot have the name '%s'", o->agent);
        return NULL;
    }
    struct recorder *r = mem_zalloc(sizeof(*r));
    if (!r) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    r->url = url;
    list_init(&r->sessions);
    if (set_up(r, o, e) || set_going(r, e)) {
        release(r);
        return NULL;
    }
    return r;
}

void recorder_free(struct recorder *r)
{
    if (!r)
        return;
    event_del(&r->timer);
    event_del(&r->others);
    event_del(&r->more);
    list_for_each (it, &r->sessions)
        recorder_forget(list_entry(it, struct recorded, link));
    release(r);
}
