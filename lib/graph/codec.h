/* Snapshots as bytes: the difference between two snapshots of one chain, or a whole one, as one
 * protobuf message `Difference` (proto/offshoot/v1/graph.proto).
 *
 * Environment and service numbers are part of the message: who applies it gives its environments
 * the same numbers as the sender. Places travel, but no hash covers them. */
#ifndef OFFSHOOT_GRAPH_CODEC_H
#define OFFSHOOT_GRAPH_CODEC_H

#include "lib/graph/pb.h"
#include "lib/graph/snapshot.h"

/* Appends what turns base into s; base NULL: the whole of s. base and s are of one chain. For the
 * thread that builds. 0, -ENOMEM, or -EINVAL when they are of different chains. */
int codec_encode(
    const struct snapshot *base, const struct snapshot *s, struct pb_out *out, struct err *e);

/* Makes the snapshot that the bytes lead to from base; base stays as it is, also on failure. A
 * message for base epoch 0 is a whole: base is then ignored and the result starts a chain of its
 * own. The digest is computed from the result and compared. ret_changes may be NULL.
 *
 *   0          *ret is new, with one reference
 *   -EBADMSG   malformed, or the digest differs; e says what is wrong
 *   -ESTALE    it is for another base epoch than base's (or base is NULL)
 *   -ENOMEM
 *
 * Takes memory in proportion to the bytes (at most some 13 KiB for each environment, when their
 * numbers are spread thin). For the thread that builds. */
int codec_apply(const struct snapshot *base, struct str bytes, struct snapshot **ret,
    struct snapshot_changes *ret_changes, struct err *e);

/* Makes a snapshot on base's chain with epoch `epoch` and the content of a whole message, whatever
 * numbers and epochs that one has: names keep the numbers they have in base, what is equal is
 * shared and keeps the epoch of its last change, what differs gets `epoch`. This is how an older
 * epoch, or another agent's graph, is put on top of a newer one. Returns as codec_apply does, and
 * -EALREADY when base has this content (*ret untouched). */
int codec_rebase(const struct snapshot *base, struct str whole, uint64_t epoch,
    struct snapshot **ret, struct snapshot_changes *ret_changes, struct err *e);

/* The same content on the same chain as epoch `epoch`, above base's. No record gets a new epoch of
 * change. 0, -ENOMEM, -EINVAL. */
int codec_renumber(
    const struct snapshot *base, uint64_t epoch, struct snapshot **ret, struct err *e);

#endif
