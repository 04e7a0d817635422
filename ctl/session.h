/* Sessions of an agent (`shadow ...`): asked for, waited for, and shown in several forms.
 *
 *   GET /sessions/NAME -> JSON -> session_text | session_junit | session_html
 *
 * The forms are pure functions of that object. What stands in it was seen in traffic: each form
 * takes out or escapes what its reader would obey. */
#ifndef OFFSHOOT_CTL_SESSION_H
#define OFFSHOOT_CTL_SESSION_H

#include "ctl/object.h"

/* Asks for one session with its worst `fields` fields. As object_ask. */
enum status session_ask(
    const struct call *c, const char *name, unsigned fields, struct object *ret, struct err *e);

struct session_wait {
    const char *name;
    unsigned fields;
    uint64_t timeout_ms;                 /* UINT64_MAX: none */
    bool (*over)(const json_t *session); /* what is waited for */
};
/* Asks until it is over or the time is; tells on standard error how far it is. An agent that starts
 * anew meanwhile is waited for, up to 30 s. STATUS_YES: over; STATUS_NO: the time was; ret holds
 * the last answer then. Else as object_ask. Release ret in any case. */
enum status session_wait(
    const struct call *c, const struct session_wait *w, struct object *ret, struct err *e);
/* "120 samples, some 367 more needed": one line without its end. */
void session_progress(const json_t *session, struct text *t);

/* What an example without a text says of a role. */
const char *session_nothing(const char *kind, const char *role);

/* STATUS_YES pass, STATUS_FAIL, STATUS_NO inconclusive; STATUS_ERROR: it says none of them. */
enum status session_verdict(const json_t *session);
void session_text(const json_t *session, struct text *t);
void session_junit(const json_t *session, struct text *t);
void session_html(const json_t *session, struct text *t);

#endif
