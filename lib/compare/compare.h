/* In which fields do two replies differ? Pure: no I/O, no globals; bounded in memory and depth.
 *
 * Whatever differs is told as a difference: where (a path) and how (a kind). Paths, without array
 * indices so that the same field of many elements is one:
 *   status                          grpc-status
 *   header.content-type             header.set-cookie.session (.value, .path, .secure ...)
 *   trailer.x-checksum              header.location (.?state, .#)
 *   body.items[].price              JSON; keys that are no plain words: body.["a b"]
 *   body.prices{*}.amount           keys that are ids (json_diff.c says which are)
 *   body.lines[].price              one JSON text a line
 *   body.message[].2.1              gRPC: message fields by number, or by name with descriptors
 *   body.form.user                  forms (urlencoded, multipart)
 *   body.text  body.bytes           anything else
 *
 * The texts of a difference are redacted (redact.h) and cut; nothing else keeps a value. */
#ifndef OFFSHOOT_COMPARE_COMPARE_H
#define OFFSHOOT_COMPARE_COMPARE_H

#include "lib/base/err.h"
#include "lib/compare/reply.h"

struct redact;
struct descriptors;

#define COMPARE_TEXT_MAX 256 /* bytes of a difference's text */
#define COMPARE_PATH_MAX 512 /* longer paths end in "~" and 16 hex digits of their hash */

enum diff_kind { DIFF_VALUE, DIFF_TYPE, DIFF_MISSING, DIFF_EXTRA, DIFF_LENGTH, DIFF_ORDER };
const char *diff_kind_word(enum diff_kind k); /* "value" "type" "missing" ... */

struct difference {
    struct str path;
    enum diff_kind kind;
    /* VALUE only: the two are of another type or class too (uuid, time, number ...): what is still
     * a difference once the field counts as noisy. True for the other kinds. */
    bool shape;
    /* Redacted texts; empty for one that is missing. Texts and numbers as they are; what has
     * another type, and what only one of them has, as JSON. */
    struct str a, b;
};

struct compare_limits {
    uint32_t depth; /* of JSON (at most 256) and of gRPC messages; default 64; above: as bytes */
    uint32_t nodes; /* values of a body; default 20,000; above: compared as bytes */
    uint32_t differences;    /* told of one pair; default 1,000; above: `cut` */
    uint32_t inflated_bytes; /* of a body once unpacked; default 8 MiB; above: compared as bytes */
    uint32_t lcs; /* elements of arrays that are compared by LCS; default 256, at most 1,024 */
};
#define COMPARE_LIMITS_DEFAULT                                                                     \
    {                                                                                              \
        64, 20000, 1000, 8u << 20, 256                                                             \
    }

/* What is not compared: patterns of whole paths. "*" stands for any text without "." and brackets,
 * "**" for any text. A pattern without kind means all kinds; "header.etag",
 * "body.items[].id:value", "body.meta.**". A word behind the last colon that is no kind is an
 * error. Matching takes time by the length of the pattern times that of the path. */
struct ignore;
/* NULL with e naming the pattern. n may be 0. At most 1,000 of at most 512 bytes. */
struct ignore *ignore_new(const char *const *patterns, size_t n, struct err *e);
void ignore_free(struct ignore *i);
bool ignore_matches(const struct ignore *i, struct str path, enum diff_kind kind);

struct compare_rules {
    struct compare_limits limits;
    const struct ignore *ignore;           /* or NULL */
    const struct redact *redact;           /* or NULL: nothing is redacted */
    const struct descriptors *descriptors; /* or NULL: gRPC fields by number */
    struct str grpc_method; /* "/package.Service/Method": which message it is; may be empty */
    bool keep_default;      /* headers that are left out by default are compared too */
};

/* Owned; texts and paths live as long as it does. */
struct differences {
    struct difference *item; /* each path and kind once, by the order of the first one */
    size_t n;
    bool cut; /* there were more */
    void *memory;
};

/* Differences of b from a; both whole (others are for the caller to judge). 0 or -ENOMEM (nothing
 * to release). Never fails for what the replies contain. */
int replies_compare(const struct reply *a, const struct reply *b, const struct compare_rules *rules,
    struct differences *ret);
void differences_release(struct differences *d);

#endif
