/* Answers of an admin socket as JSON objects: asked for, read, and cleaned for a terminal. */
#ifndef OFFSHOOT_CTL_OBJECT_H
#define OFFSHOOT_CTL_OBJECT_H

#include "ctl/live.h"
#include <jansson.h>

struct object {
    struct live_reply reply;
    json_t *json; /* NULL: the answer was no object */
};
/* Asks for JSON (and releases the target). STATUS_YES: an object with HTTP status 200. Otherwise e
 * is filled as live_refused does; *ret may still hold an object then. Release in any case. */
enum status object_ask(
    const struct call *c, enum live_method m, struct target *t, struct object *ret, struct err *e);
void object_release(struct object *o);
/* Prints the answer as it came. Gives `s`, or an error with e. */
enum status object_print(struct object *o, enum status s, struct err *e);
/* Prints the object as it is by now, on one line. */
enum status object_print_changed(const struct object *o, enum status s, struct err *e);

/* What stands under a key; "", 0 and false when nothing of that type does. */
const char *object_text(const json_t *o, const char *key);
uint64_t object_number(const json_t *o, const char *key);
double object_real(const json_t *o, const char *key); /* whole or not */
bool object_true(const json_t *o, const char *key);

/* Appends a text that others wrote: what a terminal would obey (control characters, and those that
 * turn the direction of writing) becomes '?'. */
void text_clean(struct text *t, struct str s);

#endif
