/* Which of several held epochs serves a request that carries a pin.
 *
 * The pin is the revision of the environment at the gateway that stamped it. Any held epoch in
 * which the environment has exactly this revision decides alike, so unrelated changes never matter.
 * When none has it the newest one serves, and the answer says that it is skewed: the graph here is
 * behind, or what was pinned is no longer held. A strict environment is refused instead (`epoch`).
 * A request with a pin may come PINNED_GRACE_S after its environment has expired. */
#ifndef OFFSHOOT_GRAPH_PINNED_H
#define OFFSHOOT_GRAPH_PINNED_H

#include "lib/graph/decide.h"

#define PINNED_GRACE_S 30

enum skew { SKEW_NONE, SKEW_BEHIND, SKEW_EXPIRED };
const char *skew_word(enum skew s); /* "" "behind" "expired" */

/* The held epochs, newest first; `active` is the position that requests without a pin use. */
struct epoch_view {
    uint32_t n, active;
    const void *arg;
    const struct snapshot *(*snapshot)(const void *arg, uint32_t at);
    const struct gateway *(*gateway)(const void *arg, uint32_t at);
    /* snapshot_revision, perhaps remembered. */
    uint64_t (*revision)(const void *arg, uint32_t at, uint32_t env);
};

/* ret is what decide answered in the active epoch, with a pin in its context. Changes it (and the
 * gateway of a) to what the pin asks for. Returns the position of the epoch that decided. */
uint32_t decide_pinned(const struct epoch_view *v, struct ask *a, struct answer *ret);

#endif
