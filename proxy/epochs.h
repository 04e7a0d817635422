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
#include "lib/graph/snapshot.h"
#include <stdbool.h>

struct control;

#define EPOCHS_HELD 8

/* Takes the caller's reference on s when 0 is returned. -EINVAL: no gateway of it can rule here,
 * with e. -EBUSY: every slot is in use (a request holds each): try again later. -ENOMEM. */
int epochs_stage(struct control *c, struct snapshot *s, struct err *e);
/* done(arg) runs on the control thread when every worker uses it. -ENOENT: not held. -ESTALE: it is
 * not above the active one. -ENOMEM. */
int epochs_activate(
    struct control *c, uint64_t epoch, void (*done)(void *arg, uint64_t epoch), void *arg);
/* -ENOENT, -EBUSY (active), -ENOMEM. Done at once for new requests. */
int epochs_retire(struct control *c, uint64_t epoch);
/* A new history: what is held of the old one is retired when the first of the new is activated, and
 * its numbers are not compared. */
void epochs_new_history(struct control *c);
/* Held now, oldest first; returns their number (at most EPOCHS_HELD). Borrowed. */
unsigned epochs_held(const struct control *c, struct snapshot *ret[EPOCHS_HELD]);
/* The held one with this number, else NULL. Borrowed. */
struct snapshot *epochs_find(const struct control *c, uint64_t epoch);

#endif
