/* A reply in a file, as `curl -i` saves it: status line, fields, an empty line, the body. */
#ifndef OFFSHOOT_CTL_SAVED_REPLY_H
#define OFFSHOOT_CTL_SAVED_REPLY_H

#include "lib/base/counters.h"
#include "lib/base/err.h"
#include "lib/compare/reply.h"

#define SAVED_REPLY_MAX    (64u << 20) /* bytes of a file */
#define SAVED_REPLY_FIELDS 1000

struct descriptors;

struct saved_reply {
    struct text bytes; /* of the file */
    struct reply_field *field;
    struct reply reply; /* views of bytes */
};

/* A whole file, or a pipe. 0, or e->code. Release the text in any case. */
int saved_read(const char *path, struct text *ret, struct err *e);
/* The descriptors in a file; e names it. NULL with e. */
struct descriptors *saved_descriptors(const char *path, struct err *e);
/* type: the file is a bare body of this media type; NULL: there is a status line. Replies before
 * the last one (100 Continue, a CONNECT's) are passed over; a content coding that curl has undone
 * is not undone again. 0, or e->code with the file and line. Release in any case. */
int saved_reply_read(struct saved_reply *r, const char *path, const char *type, struct err *e);
void saved_reply_release(struct saved_reply *r);

#endif
