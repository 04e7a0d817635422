/* What the parts of the comparison share. Private to lib/compare.
 *
 * A differ walks two replies at once. It knows where it is (a path, made by pushing pieces and
 * popping them again), and collects what differs there: each path and kind once.
 *
 *     struct path_mark m = differ_push_key(d, key);      ".key" or .["a key"]
 *     ...
 *     differ_value(d, DIFF_VALUE, shape, text_a, text_b);
 *     differ_pop(d, m);
 *
 * Memory that runs out is kept in `failed` and told once at the end; functions that add do nothing
 * from then on. */
#ifndef OFFSHOOT_COMPARE_COMPARE_INT_H
#define OFFSHOOT_COMPARE_COMPARE_INT_H

#include "lib/base/counters.h"
#include "lib/base/pool.h"
#include "lib/compare/compare.h"
#include <stdint.h>

struct differ_seen; /* a path and kind that was met: table of differ.c */

/* A body as the comparison takes it. */
struct body_side {
    struct str type, coding, raw;
    struct str body; /* plain, or raw when its coding cannot be undone */
    int undone;      /* 0, or why not */
};

struct differ {
    const struct compare_rules *rules;
    struct pool *pool; /* of everything: paths, texts, scratch of the walks */
    struct difference *item;
    size_t n, room;
    bool cut;
    int failed; /* 0 or -ENOMEM */
    struct body_side a, b;
    bool bodiless; /* neither has a body: content-length tells how long it would be */
    bool decoded;  /* content codings were undone, or there is none */
    struct differ_seen *seen;
    size_t nseen, nslots; /* slots: a power of two */
    struct text scratch;
    char path[COMPARE_PATH_MAX];
    size_t path_n;
    uint64_t over; /* hash of the pieces that did not fit; 0: all did */
};

/* 0 or -ENOMEM. rules are borrowed. */
int differ_init(struct differ *d, const struct compare_rules *rules);
void differ_release(struct differ *d);

/* ---- where we are ---- */

struct path_mark {
    size_t n;
    uint64_t over;
};
/* Appends a piece as it is: "[]", "{*}", "body". */
struct path_mark differ_push(struct differ *d, struct str piece);
/* Appends "." and the key; a key that is not only [A-Za-z0-9_-] (or is empty, or long) as
 * .["key"], with quotes, backslashes and control characters escaped as in JSON. */
struct path_mark differ_push_key(struct differ *d, struct str key);
/* The same with a mark before the key, inside of the quotes: ".?key" or .["?a key"]. */
struct path_mark differ_push_marked(struct differ *d, struct str mark, struct str key);
void differ_pop(struct differ *d, struct path_mark m);

/* ---- what differs here ---- */

/* Whether the caller should make the texts of a difference of that kind: not ignored, not known,
 * not above the limit. The new one, with empty texts, which the caller fills with text of the pool
 * that is redacted; NULL: nothing to do (shape was noted). The pointer is good until the next call.
 */
struct difference *differ_new(struct differ *d, enum diff_kind kind, bool shape);
/* A copy of a text that is redacted already, cut to COMPARE_TEXT_MAX; bytes that are no UTF-8 as
 * \xNN. */
struct str differ_shown(struct differ *d, struct str redacted);
/* The same of a text that redaction made, which is released; its failure is the differ's. */
struct str differ_taken(struct differ *d, struct text *redacted);
/* A copy of raw bytes, cut in the same way, from which only patterns are taken out, without regard
 * to names. */
struct str differ_plain(struct differ *d, struct str raw);
/* A new one with its texts: raw ones, redacted as values of this path (by the names in it and by
 * patterns); pass an empty one for what is missing. */
void differ_add(struct differ *d, enum diff_kind kind, bool shape, struct str a, struct str b);
/* The same with numbers as texts: lengths, counts. */
void differ_add_numbers(struct differ *d, enum diff_kind kind, uint64_t a, uint64_t b);
/* A part of the path tells that values here are secret. */
bool differ_is_secret(const struct differ *d);

/* ---- shapes: type and class ---- */

/* Two texts are of one class: both a UUID, an RFC 3339 time, an epoch in seconds (or ms), hex,
 * base64, an e-mail address, a number; or neither is anything of that, and their lengths have the
 * same power of two. */
bool shape_same_text(struct str a, struct str b);
/* The same for numbers as JSON spells them: whole or not, epoch seconds, milliseconds. */
bool shape_same_number(struct str a, struct str b);
/* Lengths have the same power of two. */
bool shape_same_length(size_t a, size_t b);

/* ---- values that have names ---- */

struct pair {
    struct str name, value;
    size_t at; /* its position: values of one name keep their order */
};
/* Names that only one of them has are missing or extra; values of one name are an ordered list:
 * value, order (the same ones) or length. Sorts both. push: where a name is. add: how a difference
 * is told; its texts are raw. */
struct pair_rules {
    struct path_mark (*push)(struct differ *d, struct str name);
    void (*add)(struct differ *d, struct str name, enum diff_kind kind, bool shape, struct str a,
        struct str b);
};
void pairs_compare(struct differ *d, const struct pair_rules *rules, struct pair *a, size_t na,
    struct pair *b, size_t nb);
void pairs_sort(struct pair *p, size_t n);
/* An `add` for values that have nothing of their own: differ_add. */
void pairs_add(
    struct differ *d, struct str name, enum diff_kind kind, bool shape, struct str a, struct str b);

/* ---- the parts: each compares below the present path and adds what differs ---- */

void headers_compare(struct differ *d, const struct reply *a, const struct reply *b);
/* A field, by its name in lower case, whose value is a URL; and what is behind the path in it
 * (path_bare), below the field's path: parameters by name in any order, the fragment. */
bool url_is_field(struct str name);
void url_compare(struct differ *d, struct str a, struct str b);
/* Undoes the content codings; before all others. */
void body_open(struct differ *d, const struct reply *a, const struct reply *b);
/* The whole bodies, by media type. */
void body_compare(struct differ *d);
/* 0; else nothing was added: -EBADMSG: neither is JSON; -EPROTOTYPE: only one of them is; -E2BIG:
 * one of them is above the limits; -ENOMEM. */
int json_compare(struct differ *d, struct str a, struct str b);
/* One JSON text a line, below ".lines[]". 0; else nothing was added: -EBADMSG: not all lines are
 * JSON; -E2BIG; -ENOMEM. */
int json_lines_compare(struct differ *d, struct str a, struct str b);
/* NAME=VALUE, decoded, in the pool. False: above the limits, or memory is out (d->failed). */
bool form_pairs(struct differ *d, struct str form, struct pair **ret, size_t *ret_n);
/* False: above the limits; nothing was added. */
bool form_compare(struct differ *d, struct str a, struct str b);
/* False: one of them is not made like that; nothing was added. */
bool multipart_compare(
    struct differ *d, struct str type_a, struct str type_b, struct str a, struct str b);
/* At the path .text or .bytes. */
void text_compare(struct differ *d, struct str a, struct str b);
void bytes_compare(struct differ *d, struct str a, struct str b);
/* Messages of a gRPC body, below ".message[]"; by number, or by name where rules->descriptors know
 * rules->grpc_method (type of the reply). 0; -EBADMSG: one of them is not framed as gRPC, or above
 * the limits: nothing was added, the caller compares bytes. */
int grpc_body_compare(struct differ *d, struct str a, struct str b);

#endif
