/* What is staged, active and saved, and when each is acknowledged.
 *
 *   Stage     → stage_take → waiting (no slot: tried again) → epochs_stage      → Ack STAGED
 *   Activate  → wanted → epochs_activate → every worker → taken → lastgood_save → Ack ACTIVE
 *   Retire    → epochs_retire                                                   → Ack RETIRED
 *
 * Only what a new start would serve is acknowledged as ACTIVE: when saving fails, it is served, and
 * the answer waits until saving went well. docs/internals/sync.md has the table of states. */
#include "lib/base/log.h"
#include "lib/base/parse.h"
#include "lib/graph/allowed.h"
#include "proxy/sync_impl.h"
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>

#define RETRY_FIRST_MS 10u
#define RETRY_MAX_MS   1000u

#define REASON(word) OFFSHOOT__V1__NACK_REASON__##word
#define STATE(word)  OFFSHOOT__V1__ACK_STATE__##word

typedef unsigned long long ull;

static bool same_history(const unsigned char *a, const unsigned char *b)
{
    return memcmp(a, b, HISTORY_ID) == 0;
}

const unsigned char *sync_adopted(const struct sync *s)
{
    if (s->lastgood)
        return lastgood_adopted(s->lastgood);
    return s->has_adopted ? s->adopted : NULL;
}

/* ---- staging -------------------------------------------------------------------------------- */

static int judge_gateway(void *arg, const struct snapshot *snapshot, struct err *e)
{
    const struct sync *s = arg;
    assert(s->magic == SYNC_MAGIC);
    return settings_gateway(s->control->set, snapshot, e) ? 0 : -EINVAL;
}

static void view_of(struct sync *s, struct stage_view *v)
{
    const struct control *c = s->control;
    const struct waiting *w = &s->waiting;
    *v = (struct stage_view){.history = s->has_history ? s->history : NULL,
        .adopted = sync_adopted(s),
        .newest = s->newest,
        .limit = c->set->limit_snapshot,
        .rules = &c->rules,
        .judge = judge_gateway,
        .arg = s};
    if (c->active && snapshot_epoch(c->active) == s->active) {
        v->served = c->active;
        v->served_history = s->active_history;
    }
    if (w->snapshot && w->new_history)
        v->history = w->history;
    else
        v->nheld = epochs_held(c, v->held);
    if (!w->snapshot)
        return;
    v->held[v->nheld++] = w->snapshot;
    v->newest = snapshot_epoch(w->snapshot);
}

static void drop_waiting(struct sync *s)
{
    struct waiting *w = &s->waiting;
    if (w->snapshot)
        snapshot_unref(w->snapshot);
    w->snapshot = NULL;
    if (w->retry)
        event_del(w->retry);
}

static void staged(struct sync *s)
{
    struct waiting *w = &s->waiting;
    s->newest = snapshot_epoch(w->snapshot);
    w->snapshot = NULL; /* the slots have it */
    event_del(w->retry);
    sync_count(s, STAT_STAGES);
    log_debug("epoch %llu is staged", (ull)s->newest);
    s->way.epoch = s->newest;
    s->way.since_ns = w->since_ns;
    sync_ack(s, w->nonce, s->newest, STATE(STAGED), w->since_ns);
}

static void wait_for_slot(struct sync *s)
{
    struct waiting *w = &s->waiting;
    struct timeval t = {w->retry_ms / 1000, (suseconds_t)(w->retry_ms % 1000) * 1000};
    event_add(w->retry, &t);
    w->retry_ms = w->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : w->retry_ms * 2;
}

/* Gives what waits to the workers, if a slot is free. */
static void stage_waiting(struct sync *s)
{
    struct waiting *w = &s->waiting;
    struct control *c = s->control;
    struct err e = {0};
    int rc = -EBUSY;
    bool room = epochs_collect(c);
    if (!w->snapshot) /* an activation that was done just now dropped it */
        return;
    if (room && w->new_history) {
        epochs_new_history(c);
        w->new_history = false;
        memcpy(s->history, w->history, HISTORY_ID);
        s->has_history = true;
        s->newest = 0;
    }
    if (room)
        rc = epochs_stage(c, w->snapshot, &e);
    if (rc == 0) {
        staged(s);
    } else if (rc == -EINVAL) {
        sync_nack(s, w->nonce, snapshot_epoch(w->snapshot), REASON(INVALID_GRAPH), e.text);
        drop_waiting(s);
    } else {
        wait_for_slot(s);
    }
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct sync *s = arg;
    (void)fd;
    (void)what;
    assert(s->magic == SYNC_MAGIC);
    stage_waiting(s);
    sync_flush(s);
}

static void ready(struct sync *s, const struct stage_answer *a, uint64_t since_ns)
{
    struct waiting *w = &s->waiting;
    if (w->snapshot)
        sync_nack(s, w->nonce, snapshot_epoch(w->snapshot), REASON(STALE),
            "a newer epoch came before a slot was free");
    drop_waiting(s);
    w->snapshot = a->snapshot;
    w->nonce = a->nonce;
    w->since_ns = since_ns;
    w->new_history = a->new_history;
    w->retry_ms = RETRY_FIRST_MS;
    memcpy(w->history, a->history, HISTORY_ID);
    stage_waiting(s);
    if (w->snapshot) {
        sync_count(s, STAT_GRAPH_DELAYED);
        log_warn("every snapshot slot is in use: epoch %llu waits", (ull)a->epoch);
    }
}

void sync_on_stage(struct sync *s, const Offshoot__V1__Stage *m)
{
    struct stage_view v;
    struct stage_answer a;
    uint64_t now = sync_now_ns();
    sync_count(s, STAT_STAGE_CHUNKS);
    view_of(s, &v);
    stage_take(s->in, m, &v, &a);
    switch (a.result) {
    case STAGE_MORE:
        break;
    case STAGE_HELD:
        if (s->waiting.snapshot && snapshot_epoch(s->waiting.snapshot) == a.epoch)
            s->waiting.nonce = a.nonce; /* the answer comes with the slot */
        else
            sync_ack(s, a.nonce, a.epoch, STATE(STAGED), now);
        break;
    case STAGE_READY:
        ready(s, &a, now);
        break;
    case STAGE_REFUSED:
        sync_nack(s, a.nonce, a.epoch, a.reason, a.text);
        break;
    }
}

/* ---- saving --------------------------------------------------------------------------------- */

/* The newest that every worker has taken; NULL: none. */
static const struct wanted *newest_taken(const struct sync *s)
{
    for (unsigned i = s->nwanted; i-- > 0;)
        if (s->wanted[i].taken)
            return &s->wanted[i];
    return NULL;
}

static struct snapshot *snapshot_of(const struct sync *s, const struct wanted *w)
{
    const struct control *c = s->control;
    const struct wanted *last = &s->wanted[s->nwanted - 1]; /* what is active, taken or not yet */
    if (c->active && snapshot_epoch(c->active) == w->epoch &&
        same_history(last->history, w->history))
        return c->active;
    return same_history(w->history, s->history) ? epochs_find(c, w->epoch) : NULL;
}

/* Everything up to the newest taken one is safe: on disk, or an epoch above it is. */
static void acknowledge(struct sync *s)
{
    const struct wanted *last = newest_taken(s);
    unsigned n = (unsigned)(last - s->wanted) + 1;
    s->saved = last->epoch;
    memcpy(s->saved_history, last->history, HISTORY_ID);
    if (s->has_adopted && same_history(s->adopted, s->saved_history))
        s->has_adopted = false;
    for (unsigned i = 0; i < n; i++) {
        sync_count(s, STAT_ACTIVATIONS);
        sync_ack(s, s->wanted[i].nonce, s->wanted[i].epoch, STATE(ACTIVE), s->wanted[i].since_ns);
    }
    s->nwanted -= n;
    memmove(s->wanted, s->wanted + n, s->nwanted * sizeof s->wanted[0]);
}

static void save(struct sync *s)
{
    const struct wanted *w = newest_taken(s);
    struct err e = {0};
    if (!w || s->let_go)
        return;
    if (s->lastgood) {
        struct snapshot *snapshot = snapshot_of(s, w);
        if (!snapshot) /* gone already: the one that is active is about to be saved */
            return;
        int rc = lastgood_save(s->lastgood, w->history, snapshot, &e);
        sync_count(s, rc ? STAT_SAVES_FAILED : STAT_SAVES);
        if (rc != 0 && !s->save_error.code)
            log_error("epoch %llu is active but not saved, so it is not acknowledged: %s; trying "
                      "again each second",
                (ull)w->epoch, e.text);
        if (rc == 0 && s->save_error.code)
            log_info("epoch %llu is saved now", (ull)w->epoch);
        s->save_error = e;
        s->save_error.code = rc;
        sync_gauge(s, STAT_SNAPSHOT_UNSAVED, rc != 0);
        if (rc != 0)
            return;
    }
    acknowledge(s);
}

void sync_epochs_second(struct sync *s)
{
    if (s->save_error.code)
        save(s);
}

/* ---- activating ----------------------------------------------------------------------------- */

static struct wanted *find_wanted(struct sync *s, uint64_t epoch)
{
    for (unsigned i = 0; i < s->nwanted; i++)
        if (s->wanted[i].epoch == epoch && same_history(s->wanted[i].history, s->history))
            return &s->wanted[i];
    return NULL;
}

/* Every worker uses it. Activations end in the order in which they were asked for. */
static void on_taken(void *arg, uint64_t epoch)
{
    struct sync *s = arg;
    struct control *c = s->control;
    assert(s->magic == SYNC_MAGIC);
    unsigned i = 0;
    while (i < s->nwanted && (s->wanted[i].taken || s->wanted[i].epoch != epoch))
        i++;
    if (i == s->nwanted)
        return;
    struct wanted *w = &s->wanted[i];
    w->taken = true;
    s->active = epoch;
    memcpy(s->active_history, w->history, HISTORY_ID);
    log_info("epoch %llu is active: %u environments, %u services", (ull)epoch,
        snapshot_env_count(c->active), snapshot_service_count(c->active));
    uint64_t taken_ns = sync_now_ns();
    save(s);
    if (s->way.epoch == epoch) {
        s->way.active = epoch;
        s->way.workers_ns = taken_ns - s->way.since_ns;
        s->way.save_ns = sync_now_ns() - taken_ns;
    }
    sync_flush(s);
    control_graph_active(c, epoch);
}

static void refuse_activation(struct sync *s, const Offshoot__V1__Activate *m, int rc)
{
    char text[128];
    switch (rc) {
    case -ENOENT:
        snprintf(text, sizeof text, "epoch %llu is not held", (ull)m->epoch);
        sync_nack(s, m->nonce, m->epoch, REASON(BASE_UNKNOWN), text);
        break;
    case -ESTALE:
        snprintf(text, sizeof text, "epoch %llu is not above epoch %llu, which is active",
            (ull)m->epoch, (ull)(s->control->active ? snapshot_epoch(s->control->active) : 0));
        sync_nack(s, m->nonce, m->epoch, REASON(STALE), text);
        break;
    default:
        sync_nack(s, m->nonce, m->epoch, REASON(TOO_BIG), "out of memory");
    }
}

/* While nothing can be saved, more activations come than are remembered: of those that every worker
 * has taken only the newest will be saved, and its Ack speaks for the others. While workers are
 * busy, more come than may wait for them: the new one overtakes the last. */
static void make_room(struct sync *s)
{
    const struct wanted *last = newest_taken(s);
    if (s->nwanted < WANTED_MAX || !last || last == s->wanted)
        return;
    unsigned n = (unsigned)(last - s->wanted);
    s->nwanted -= n;
    memmove(s->wanted, last, s->nwanted * sizeof s->wanted[0]);
}

void sync_on_activate(struct sync *s, const Offshoot__V1__Activate *m)
{
    struct wanted *w = find_wanted(s, m->epoch);
    uint64_t now = sync_now_ns();
    if (w) { /* asked for again: on a new stream, perhaps */
        w->nonce = m->nonce;
        return;
    }
    if (s->saved == m->epoch && s->active == m->epoch && s->has_history &&
        same_history(s->saved_history, s->history)) {
        sync_ack(s, m->nonce, m->epoch, STATE(ACTIVE), now);
        return;
    }
    make_room(s);
    struct wanted overtaken = {0};
    bool joins = epochs_joins(s->control);
    if (joins)
        overtaken = s->wanted[--s->nwanted];
    assert(s->nwanted < WANTED_MAX);
    s->wanted[s->nwanted] = (struct wanted){.epoch = m->epoch, .nonce = m->nonce, .since_ns = now};
    memcpy(s->wanted[s->nwanted].history, s->history, HISTORY_ID);
    unsigned before = ++s->nwanted;
    int rc = epochs_activate(s->control, m->epoch, on_taken, s); /* may have called on_taken */
    if (rc == 0)
        return;
    assert(s->nwanted == before);
    s->nwanted--;
    if (joins)
        s->wanted[s->nwanted++] = overtaken;
    refuse_activation(s, m, rc);
}

/* ---- retiring ------------------------------------------------------------------------------- */

void sync_on_retire(struct sync *s, const Offshoot__V1__Retire *m)
{
    struct waiting *w = &s->waiting;
    uint64_t now = sync_now_ns();
    int rc = 0;
    if (w->snapshot && snapshot_epoch(w->snapshot) == m->epoch) {
        sync_nack(s, w->nonce, m->epoch, REASON(STALE), "retired before a slot was free");
        drop_waiting(s);
    } else {
        rc = epochs_retire(s->control, m->epoch);
    }
    if (rc == -EBUSY) {
        sync_nack(s, m->nonce, m->epoch, REASON(STALE), "the active epoch cannot be retired");
    } else if (rc == -ENOMEM) {
        sync_nack(s, m->nonce, m->epoch, REASON(TOO_BIG), "out of memory");
    } else { /* -ENOENT: it is not held, as wanted */
        if (rc == 0)
            sync_count(s, STAT_RETIREMENTS);
        sync_ack(s, m->nonce, m->epoch, STATE(RETIRED), now);
    }
}

/* ---- start and end -------------------------------------------------------------------------- */

void sync_forget_stream(struct sync *s)
{
    stage_reset(s->in);
    s->waiting.nonce = 0;
    for (unsigned i = 0; i < s->nwanted; i++)
        s->wanted[i].nonce = 0;
}

int sync_epochs_init(struct sync *s, struct err *e)
{
    s->in = stage_new();
    s->waiting.retry = event_new(s->control->base, -1, 0, on_retry, s);
    return s->in && s->waiting.retry ? 0 : err_set(e, -ENOMEM, "out of memory");
}

void sync_epochs_release(struct sync *s)
{
    drop_waiting(s);
    if (s->waiting.retry)
        event_free(s->waiting.retry);
    stage_free(s->in);
    lastgood_close(s->lastgood);
}

bool sync_settled(const struct sync *s)
{
    return s->nwanted == 0 || s->save_error.code != 0;
}

void sync_let_go(struct sync *s)
{
    s->let_go = true;
    lastgood_close(s->lastgood);
    s->lastgood = NULL;
}

int sync_epochs_resume(struct sync *s, struct err *e)
{
    struct lastgood_found found = {0};
    const char *dir = s->control->set->state;
    if (s->let_go && dir) {
        s->lastgood = lastgood_open(dir, &found, e);
        if (!s->lastgood)
            return e->code ? e->code : -EIO;
        if (found.snapshot)
            snapshot_unref(found.snapshot);
    }
    s->let_go = false;
    save(s);
    return 0;
}

/* Takes the reference. */
static int serve_found(struct sync *s, struct snapshot *snapshot, struct err *e)
{
    struct control *c = s->control;
    uint64_t epoch = snapshot_epoch(snapshot);
    int rc = settings_gateway(c->set, snapshot, e) ? 0 : -EINVAL;
    rc = rc ? rc : snapshot_allowed(snapshot, NULL, &c->rules, e);
    if (rc != 0) {
        err_prefix(e, "the last good graph (epoch %llu in '%s') cannot be served", (ull)epoch,
            c->set->state);
        snapshot_unref(snapshot);
        return rc;
    }
    rc = epochs_stage(c, snapshot, e);
    if (rc != 0) {
        snapshot_unref(snapshot);
        return err_set(e, rc, "cannot serve the last good graph: out of memory");
    }
    s->newest = s->active = s->saved = epoch;
    s->has_history = true;
    memcpy(s->active_history, s->history, HISTORY_ID);
    memcpy(s->saved_history, s->history, HISTORY_ID);
    rc = epochs_activate(c, epoch, NULL, NULL);
    return rc ? err_set(e, rc, "cannot serve the last good graph: out of memory") : 0;
}

int sync_epochs_load(struct sync *s, struct err *e)
{
    struct control *c = s->control;
    struct lastgood_found found = {0};
    char when[24];
    if (!c->set->state)
        return 0;
    s->lastgood = lastgood_open(c->set->state, &found, e);
    if (!s->lastgood)
        return e->code ? e->code : -EIO;
    if (found.cut_bytes)
        log_warn("the last good graph's file ended in the middle of a record that was never "
                 "acknowledged: %llu bytes cut",
            (ull)found.cut_bytes);
    if (!found.snapshot)
        return 0;
    memcpy(s->history, found.history, HISTORY_ID);
    uint64_t epoch = snapshot_epoch(found.snapshot);
    int rc = serve_found(s, found.snapshot, e);
    if (rc != 0)
        return rc;
    format_rfc3339(found.saved_s, when);
    log_info("epoch %llu, saved at %s, is served until the agent says otherwise", (ull)epoch, when);
    c->loaded_s = c->tried_s = found.saved_s;
    c->epoch = epoch;
    return 0;
}
