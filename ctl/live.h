/* A running program's admin socket, asked over HTTP. */
#ifndef OFFSHOOT_CTL_LIVE_H
#define OFFSHOOT_CTL_LIVE_H

#include "ctl/command.h"
#include "lib/base/counters.h"
#include "lib/base/str.h"

#define LIVE_REPLY_MAX (256u << 20) /* bytes of an answer */

/* A request's target, put together piece by piece; values are percent-encoded. */
struct target {
    struct text text;
    bool has_query;
    long seconds;    /* how long the answer may take; 0: a minute */
    struct str body; /* of a POST; borrowed until it is answered */
};
/* Takes a copy of the path; the name after it (may be NULL) becomes its last segment. */
void target_start(struct target *t, const char *path, const char *name);
void target_param(struct target *t, const char *name, const char *value);

enum live_method { LIVE_GET, LIVE_POST };

struct live_reply {
    long status; /* HTTP */
    struct text body;
};
/* Sends the request (and releases the target) and waits for the answer. 0 with any
 * HTTP status; else an error with e. The caller releases ret->body. */
int live_ask(const struct call *c, enum live_method m, struct target *t, bool json,
    struct live_reply *ret, struct err *e);
/* The same for an answer without an end: each piece is given to fn as it comes; what fn does not
 * want (false) ends it. ret has the status, and the body when that is not 200. */
int live_stream(const struct call *c, struct target *t, bool (*fn)(struct str piece, void *arg),
    void *arg, struct live_reply *ret, struct err *e);
/* Sends the request (and releases the target) and prints the answer as it comes, its last line
 * ended. A status other than 200 becomes e, as live_refused tells. */
enum status live_print(const struct call *c, enum live_method m, struct target *t, struct err *e);
/* What a status other than 200 says: 404 not found, 409 no, else an error; e gets the body's text.
 */
enum status live_refused(const struct live_reply *r, struct err *e);

/* The number of an epoch as an option or a word gives it: 0, or -EINVAL with e. */
int live_epoch(const char *what, const char *value, struct err *e);
/* Adds &epoch= when there is --at. 0, or -EINVAL with e. */
int live_at(const struct call *c, struct target *t, struct err *e);

/* The refusal that an answer of /resolve or /explain tells: "" for a provider. NULL: it is no such
 * answer. The word is valid as long as the body. */
struct str live_refusal_json(const struct text *body, char room[32]);
struct str live_refusal_text(const struct text *body);

#endif
