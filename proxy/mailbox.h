/* A mailbox: messages from any thread to the one that owns an event base, woken by an eventfd.
 *
 * Not for the request path: publications, names, questions. Order of one sender is kept. A message
 * that is posted while others run is run in the owner's next turn: work in slices posts itself. */
#ifndef OFFSHOOT_PROXY_MAILBOX_H
#define OFFSHOOT_PROXY_MAILBOX_H

#include "lib/base/err.h"
#include "lib/base/list.h"
#include <pthread.h>
#include <stdbool.h>

struct event;
struct event_base;

/* Embedded in what is sent. run executes on the owner's thread and takes the message. drop (may be
 * NULL) takes it instead when the mailbox is closed before it was read. */
struct message {
    struct list link;
    void (*run)(struct message *m, void *owner);
    void (*drop)(struct message *m);
};

/* A drop for one that stands first in its block and owns nothing else. */
void message_free(struct message *m);

struct mailbox {
    pthread_mutex_t lock;
    struct list queue; /* of struct message, under lock */
    bool closed;       /* under lock */
    int wake;          /* eventfd */
    struct event *event;
    void *owner;
};

/* owner is given to each message's run. */
int mailbox_init(struct mailbox *m, struct event_base *base, void *owner, struct err *e);
/* Drops what was not read; later posts are dropped at once. Called on the owner's thread. */
void mailbox_close(struct mailbox *m);
/* After every possible sender has ended. */
void mailbox_release(struct mailbox *m);
/* Makes the owner's loop turn once. Any thread; needs no memory. */
void mailbox_wake(struct mailbox *m);
/* Takes msg. Any thread. */
void mailbox_post(struct mailbox *m, struct message *msg);

#endif
