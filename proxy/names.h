/* Provider names to addresses, a worker's half: a table of what the control thread answered.
 *
 * An address list is used until its time to live is over; then it is still used while a new
 * look-up runs (a failing name server does not stop traffic; counted). */
#ifndef OFFSHOOT_PROXY_NAMES_H
#define OFFSHOOT_PROXY_NAMES_H

#include "lib/base/addr.h"
#include "lib/base/list.h"
#include "proxy/mailbox.h"
#include <stdint.h>

struct worker;
struct request;

#define NAME_BUCKETS 256

struct name {
    struct name *next;
    uint64_t hash;
    char *text; /* owned */
    size_t len;
    struct addr *addrs; /* owned; port 0 */
    uint32_t naddrs;
    uint32_t turn; /* round robin */
    uint64_t expires_ms, used_ms, asked_ms;
    struct list waiting; /* of request.wait */
    bool asked;          /* a look-up runs */
    int error;           /* of the last look-up */
};

struct names {
    struct name *bucket[NAME_BUCKETS];
    uint32_t count;
};

/* 0: *ret is the name with its addresses, at least one; valid in this turn. -EINPROGRESS: r waits
 * and will be run when the answer is here. -ENOENT: no such name. -ENOMEM. The rules have not
 * judged the addresses with a's port yet. */
int names_list(struct worker *w, const struct addr *a, struct request *r, struct name **ret);
/* What is known now, without asking. NULL: nothing. */
const struct name *names_known(struct worker *w, struct str text);
void names_unwait(struct request *r);
/* Forgets names without use for ten minutes. */
void names_sweep(struct worker *w);
void names_release(struct worker *w);

/* Worker to control thread: look `text` up; the answer goes to the worker's mailbox. */
struct name_question {
    struct message message;
    struct worker *worker; /* whose mailbox gets the answer */
    size_t len;
    char text[256];
};
/* Control thread to worker; owns addrs. */
struct name_answer {
    struct message message;
    int error;
    uint32_t ttl_s, naddrs, nforbidden;
    size_t len;
    char text[256];
    struct addr addrs[];
};
/* What a name_question's run does is the control thread's matter (control_names.c). */
void name_question_run(struct message *m, void *control);
void name_answer_run(struct message *m, void *worker);

#endif
