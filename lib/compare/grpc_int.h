/* gRPC bodies taken apart: frames, and messages as trees. Private to lib/compare.
 *
 *   body → frames (compression undone) → one tree a message → compared (grpc_body.c)
 *                                      → written anew       (grpc_redact.c)
 *
 * Without descriptors nobody says whether a length-delimited value is a message, a string or bytes.
 * It is taken for a message when it parses wholly as one and is no plain text: valid UTF-8 without
 * control characters, except tab, line feed and carriage return behind the first byte. (A message
 * whose first field is a string begins with a line feed; "error" parses as a message, and "hi".)
 * Two values are compared as messages only when both are messages, or one is and one is empty. */
#ifndef OFFSHOOT_COMPARE_GRPC_INT_H
#define OFFSHOOT_COMPARE_GRPC_INT_H

#include "lib/base/pool.h"
#include "lib/compare/descriptors.h"
#include "lib/graph/pb.h"

struct grpc_frame {
    struct str message;
    bool opaque; /* packed by a coding other than gzip and deflate, or broken: as it came */
};
struct grpc_frames {
    struct grpc_frame *item;
    size_t n;
};
/* Views of body, or memory of the pool. At most max_frames, and max_bytes of unpacked messages.
 * The coding of packed messages is told by their first bytes. 0, -ENOMEM, or -EBADMSG: not framed
 * as gRPC (flag and length, as the protocol over HTTP/2 has it), or above a limit. */
int grpc_frames_split(struct pool *pool, struct str body, uint32_t max_frames, uint32_t max_bytes,
    struct grpc_frames *ret);

/* Whole fields from end to end; true for the empty one. */
bool wire_is_message(struct str bytes);
bool wire_is_text(struct str bytes);

/* A value as it stood in a message; children of messages lie in one array, by number, and those of
 * one number as they came. What says the same is made the same: the last one of a singular number
 * or text counts, zeros of fields without presence are left out, packed lists are values one by
 * one, entries of maps are by key, and each key is there once. */
struct pb_node {
    uint32_t number, order;
    enum pb_wire wire;
    bool message;                         /* children are what it is; else `bytes` */
    const struct descriptor_field *field; /* NULL: unknown, or its wire type is another */
    uint64_t value;                       /* VARINT cut to the width of its type; FIXED* */
    struct str bytes;                     /* inside the input */
    struct pb_node *child;
    size_t nchildren;
    uint64_t hash; /* of all that it says */
};

struct pb_tree_limits {
    uint32_t depth, nodes;
};
/* The root of a message; nodes are taken off limits->nodes. type may be NULL. The root is no
 * message when the bytes are none. 0, -ENOMEM, or -EBADMSG: above a limit. */
int pb_tree_parse(struct pool *pool, struct str bytes, const struct descriptor_message *type,
    struct pb_tree_limits *limits, struct pb_node *ret);

/* How keys of a map are ordered. */
int pb_node_order(const struct pb_node *a, const struct pb_node *b);
/* They say the same; numbers with a fraction up to a relative difference of 1e-9. */
bool pb_node_equal(const struct pb_node *a, const struct pb_node *b);
/* It is a number with a fraction, or looks like one. */
bool pb_node_is_fraction(const struct pb_node *n);
/* For people, before redaction: strings and bytes as they are. Memory of the pool, or a view. */
struct str pb_node_text(struct pool *pool, const struct pb_node *n);

#endif
