/* The epochs that this proxy holds: staged, active, retired. The control thread's side of slots.h.
 *
 *   epochs_stage     workers hold it for requests that carry a pin of it
 *   epochs_activate  requests without a pin use it from now on, gateways stamp its revisions
 *   epochs_retire    no new request takes it; its slot is free once no request uses it
 *
 * In static mode a publication is all of the three at once: the one before is retired. At most
 * EPOCHS_HELD are held; one more retires the oldest that is not active. */
#ifndef OFFSHOOT_PROXY_EPOCHS_H
#define OFFSHOOT_PROXY_EPOCHS_H

#include "lib/base/err.h"
#include "lib/graph/pinned.h"
#include "proxy/slots.h"
#include <stdbool.h>

struct control;

#define EPOCHS_HELD SLOTS_HELD

typedef void epoch_done_fn(void *arg, uint64_t epoch);

/* An activation that some worker has not taken yet. */
struct activation {
    uint64_t serial, epoch;
    epoch_done_fn *done;
    void *arg;
};

/* Part of struct control. */
struct epochs {
    struct slot_writer slots;
    struct activation pending[EPOCHS_HELD];
    unsigned npending;
    uint32_t first_id; /* of the newest history; what was staged before is of an older one */
};

/* Static mode: stages, activates, and retires what was there. Takes the caller's reference when 0
 * is returned. -EBUSY: every slot is in use. -EINVAL with e, -ENOMEM. */
int epochs_publish(struct control *c, struct snapshot *s, struct err *e);

/* Takes the caller's reference on s when 0 is returned. -EINVAL: no gateway of it can rule here,
 * with e. -EBUSY: every slot is in use (a request holds each): try again later. -ENOMEM. */
int epochs_stage(struct control *c, struct snapshot *s, struct err *e);
/* done(arg) runs on the control thread when every worker uses it. When EPOCHS_HELD wait for workers
 * already (epochs_joins), the last of them is overtaken: its done never runs, this one's speaks for
 * it. -ENOENT: not held. -ESTALE: it is not above the active one. -ENOMEM. */
int epochs_activate(struct control *c, uint64_t epoch, epoch_done_fn *done, void *arg);
/* Whether the next activation overtakes the last that waits. */
bool epochs_joins(const struct control *c);
/* -ENOENT, -EBUSY (active), -ENOMEM. Done at once for new requests. */
int epochs_retire(struct control *c, uint64_t epoch);
/* A new history: what is held of the old one is retired when the first of the new is activated, and
 * its numbers are not compared. */
void epochs_new_history(struct control *c);
/* Held now, oldest first; returns their number (at most EPOCHS_HELD). Borrowed. */
unsigned epochs_held(const struct control *c, struct snapshot *ret[EPOCHS_HELD]);
/* All of them as decide_pinned takes them; valid until the next change. False: nothing is held. */
bool epochs_view(const struct control *c, struct epoch_view *ret);
/* The held one with this number, else NULL. Borrowed. */
struct snapshot *epochs_find(const struct control *c, uint64_t epoch);
/* Gives back slots that no request uses any more; tells activations that are done. True when a slot
 * is free. */
bool epochs_collect(struct control *c);
/* Workers that use what was published last. */
unsigned epochs_current(const struct control *c);

#endif
