/* Media types (RFC 9110 section 8.3.1) and the bodies that are made of parts. Private to
 * lib/compare. All views are of what was given. */
#ifndef OFFSHOOT_COMPARE_MEDIA_H
#define OFFSHOOT_COMPARE_MEDIA_H

#include "lib/base/str.h"
#include <stdbool.h>
#include <stddef.h>

enum media {
    MEDIA_NONE, /* not said */
    MEDIA_JSON, /* application/json, +json */
    MEDIA_FORM, /* application/x-www-form-urlencoded */
    MEDIA_MULTIPART,
    MEDIA_GRPC,  /* application/grpc, +proto */
    MEDIA_LINES, /* of JSON each: NDJSON, JSON Lines */
    MEDIA_TEXT,  /* text, XML, JavaScript */
    MEDIA_OTHER
};
enum media media_of(struct str type);
/* Of what is not said, or said to be text: starts as JSON does. */
bool media_looks_like_json(struct str body);
/* A parameter of a media type, or of a field like it, without quotes; empty: none. */
struct str media_parameter(struct str value, struct str name);

/* The inside of a percent-encoded text, '+' as a space, into room of at least s.n bytes. A broken
 * escape stays as it is. */
struct str form_decode(struct str s, char *room);
/* The next NAME=VALUE of a form, still encoded; false at the end. *ret_sign: there was a "=". */
bool form_next(struct str *rest, struct str *ret_name, struct str *ret_value, bool *ret_sign);

/* RFC 2046 section 5.1.1. */
struct multipart {
    struct str boundary, rest; /* rest: from a delimiter on */
};
struct part {
    struct str name;   /* of its content-disposition; empty: none */
    struct str type;   /* its content-type; empty: none */
    struct str before; /* the delimiter and the head, as they stand */
    struct str body;
};
/* False: no boundary, or it does not occur. */
bool multipart_start(struct multipart *m, struct str type, struct str body);
/* 1; 0 at the end (rest: the last delimiter and what is behind it); -EBADMSG: it is cut. */
int multipart_next(struct multipart *m, struct part *ret);

#endif
