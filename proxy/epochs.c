#include "proxy/epochs.h"
#include "lib/base/mem.h"
#include "proxy/control.h"
#include <errno.h>

/* ---- messages: made before anything changes, so that either every worker is told or none ---- */

static void publication_back(struct message *m, void *control)
{
    struct control *c = control_of(control);
    message_free(m);
    epochs_collect(c);
}

static void drop_all(struct publication **p, unsigned n)
{
    while (n > 0)
        mem_free(p[--n]);
    mem_free(p);
}

static struct publication **prepare(struct control *c)
{
    struct publication **p = mem_array(c->nworkers, sizeof *p);
    for (unsigned i = 0; p && i < c->nworkers; i++) {
        p[i] = mem_zalloc(sizeof **p);
        if (!p[i]) {
            drop_all(p, i);
            return NULL;
        }
    }
    return p;
}

/* Sends the table as it is now; takes the messages. */
static uint64_t tell(struct control *c, struct publication **p)
{
    struct slot_writer *w = &c->epochs.slots;
    uint64_t serial = slots_commit(w);
    for (unsigned i = 0; i < c->nworkers; i++) {
        *p[i] = (struct publication){.message = {.run = publication_run, .drop = message_free},
            .table = w->table,
            .serial = serial,
            .back = c->nstarted ? publication_back : NULL};
        if (c->nstarted)
            mailbox_post(&c->workers[i].mailbox, &p[i]->message);
        else
            publication_run(&p[i]->message, &c->workers[i]);
    }
    mem_free(p);
    return serial;
}

/* ---- the table ---- */

static bool is_of_history(const struct control *c, const struct held *h)
{
    return h->id >= c->epochs.first_id;
}

/* Position in the table; n when it is not held. */
static uint32_t position(const struct control *c, uint64_t epoch)
{
    const struct slot_table *t = &c->epochs.slots.table;
    uint32_t i = 0;
    while (i < t->n &&
           !(snapshot_epoch(t->held[i].snapshot) == epoch && is_of_history(c, &t->held[i])))
        i++;
    return i;
}

/* With all places taken the oldest goes early, unless it is the active one. */
static void make_room(struct control *c)
{
    struct slot_writer *w = &c->epochs.slots;
    uint32_t last = w->table.n - 1;
    if (w->table.n < EPOCHS_HELD)
        return;
    slots_retire(w, last == w->table.active ? last - 1 : last);
    counter_inc(&c->stats[STAT_EPOCHS_RETIRED_EARLY]);
}

static void note_active(struct control *c)
{
    const struct slot_table *t = &c->epochs.slots.table;
    struct snapshot *s = c->epochs.slots.slot[t->held[t->active].slot].snapshot;
    c->active = s;
    counter_set(&c->stats[STAT_GRAPH_EPOCH], snapshot_epoch(s));
    counter_set(&c->stats[STAT_GRAPH_ENVIRONMENTS], snapshot_env_count(s));
    counter_set(&c->stats[STAT_GRAPH_SERVICES], snapshot_service_count(s));
    counter_set(&c->stats[STAT_GRAPH_BYTES], snapshot_bytes(s));
    counter_inc(&c->stats[STAT_GRAPH_LOADS]);
}

/* Reserves a slot and the messages. */
static int begin_stage(struct control *c, const struct snapshot *s, const struct gateway **ret_g,
    struct publication ***ret_p, struct err *e)
{
    *ret_g = settings_gateway(c->set, s, e);
    if (!*ret_g)
        return -EINVAL;
    int slot = slots_reserve(&c->epochs.slots, c->readers, c->nworkers);
    if (slot < 0)
        return -EBUSY;
    *ret_p = prepare(c);
    return *ret_p ? slot : -ENOMEM;
}

int epochs_publish(struct control *c, struct snapshot *s, struct err *e)
{
    struct slot_writer *w = &c->epochs.slots;
    const struct gateway *g = NULL;
    struct publication **p = NULL;
    int slot = begin_stage(c, s, &g, &p, e);
    if (slot < 0)
        return slot;
    slots_stage(w, slot, s, g);
    slots_activate(w, 0);
    while (w->table.n > 1)
        slots_retire(w, w->table.n - 1);
    tell(c, p);
    note_active(c);
    counter_set(&c->stats[STAT_EPOCHS_HELD], w->table.n);
    return 0;
}

int epochs_stage(struct control *c, struct snapshot *s, struct err *e)
{
    struct slot_writer *w = &c->epochs.slots;
    const struct gateway *g = NULL;
    struct publication **p = NULL;
    int slot = begin_stage(c, s, &g, &p, e);
    if (slot < 0)
        return slot;
    make_room(c);
    slots_stage(w, slot, s, g);
    if (w->table.n == 1) /* nobody may use it yet, but for its pins: it is all there is */
        c->active = NULL;
    tell(c, p);
    counter_set(&c->stats[STAT_EPOCHS_HELD], w->table.n);
    return 0;
}

bool epochs_joins(const struct control *c)
{
    return c->epochs.npending == EPOCHS_HELD;
}

int epochs_activate(struct control *c, uint64_t epoch, epoch_done_fn *done, void *arg)
{
    struct epochs *h = &c->epochs;
    struct slot_writer *w = &h->slots;
    uint32_t at = position(c, epoch);
    if (at == w->table.n)
        return -ENOENT;
    const struct held *now = &w->table.held[w->table.active];
    if (c->active && is_of_history(c, now) && snapshot_epoch(now->snapshot) >= epoch)
        return -ESTALE;
    struct publication **p = prepare(c);
    if (!p)
        return -ENOMEM;
    slots_activate(w, at);
    for (uint32_t i = w->table.n; i-- > 0;)
        if (!is_of_history(c, &w->table.held[i]) && i != w->table.active)
            slots_retire(w, i);
    uint64_t serial = tell(c, p);
    note_active(c);
    counter_set(&c->stats[STAT_EPOCHS_HELD], w->table.n);
    h->npending -= epochs_joins(c);
    h->pending[h->npending++] = (struct activation){serial, epoch, done, arg};
    epochs_collect(c);
    return 0;
}

int epochs_retire(struct control *c, uint64_t epoch)
{
    struct slot_writer *w = &c->epochs.slots;
    uint32_t at = position(c, epoch);
    if (at == w->table.n)
        return -ENOENT;
    if (at == w->table.active)
        return -EBUSY;
    struct publication **p = prepare(c);
    if (!p)
        return -ENOMEM;
    slots_retire(w, at);
    tell(c, p);
    counter_set(&c->stats[STAT_EPOCHS_HELD], w->table.n);
    return 0;
}

void epochs_new_history(struct control *c)
{
    c->epochs.first_id = c->epochs.slots.next_id + 1;
}

unsigned epochs_held(const struct control *c, struct snapshot *ret[EPOCHS_HELD])
{
    const struct slot_writer *w = &c->epochs.slots;
    unsigned n = 0;
    for (uint32_t i = w->table.n; i-- > 0;)
        if (is_of_history(c, &w->table.held[i]))
            ret[n++] = w->slot[w->table.held[i].slot].snapshot;
    return n;
}

static const struct snapshot *view_snapshot(const void *table, uint32_t at)
{
    return ((const struct slot_table *)table)->held[at].snapshot;
}

static const struct gateway *view_gateway(const void *table, uint32_t at)
{
    return ((const struct slot_table *)table)->held[at].gateway;
}

static uint64_t view_revision(const void *table, uint32_t at, uint32_t env)
{
    return snapshot_revision(view_snapshot(table, at), env);
}

bool epochs_view(const struct control *c, struct epoch_view *ret)
{
    const struct slot_table *t = &c->epochs.slots.table;
    *ret = (struct epoch_view){.n = t->n,
        .active = t->active,
        .arg = t,
        .snapshot = view_snapshot,
        .gateway = view_gateway,
        .revision = view_revision};
    return t->n > 0;
}

struct snapshot *epochs_find(const struct control *c, uint64_t epoch)
{
    const struct slot_writer *w = &c->epochs.slots;
    uint32_t at = position(c, epoch);
    return at < w->table.n ? w->slot[w->table.held[at].slot].snapshot : NULL;
}

bool epochs_collect(struct control *c)
{
    struct epochs *h = &c->epochs;
    while (
        h->npending && slots_acked(c->readers, c->nworkers, h->pending[0].serial) == c->nworkers) {
        struct activation a = h->pending[0];
        memmove(h->pending, h->pending + 1, --h->npending * sizeof a);
        if (a.done)
            a.done(a.arg, a.epoch);
    }
    return slots_reserve(&h->slots, c->readers, c->nworkers) >= 0;
}

unsigned epochs_current(const struct control *c)
{
    return slots_acked(c->readers, c->nworkers, c->epochs.slots.serial);
}
