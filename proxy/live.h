/* Listings of what is going on: connections and requests of all workers (GET /connections, GET
 * /requests).
 *
 *   control: live_ask ── a part to each worker's mailbox ─→ worker: walks in slices, one a turn
 *            ←── the part comes back with its rows ────────          joined, answered
 *
 * A worker looks at LIVE_SLICE connections a turn at the most, so that a listing of many thousands
 * delays no request noticeably; in between they come and go, so a listing is no snapshot of one
 * moment. Rows are copies: no pointer into a worker leaves it. At most LIVE_ASKS listings at a
 * time; one that is not complete after LIVE_MS is answered with what has come, and says so.
 *
 * Ownership: a question and its parts belong to the control thread; a part is the worker's while
 * its message is under way there. */
#ifndef OFFSHOOT_PROXY_LIVE_H
#define OFFSHOOT_PROXY_LIVE_H

#include "lib/base/addr.h"
#include "proxy/mailbox.h"
#include <stdint.h>

#define LIVE_ASKS      8u
#define LIVE_MS        2000u
#define LIVE_SLICE     256u  /* connections that are looked at in a turn */
#define LIVE_ROWS      64u   /* rows that are made in a turn */
#define LIVE_LIMIT     1000u /* rows of a listing, unless ?limit= says otherwise */
#define LIVE_LIMIT_MAX 10000u
#define LIVE_PATH      128u /* bytes of a path that are told */
#define LIVE_ADDRESS   112u

struct client;
struct control;
struct pconn;
struct request;
struct worker;

enum live_what { LIVE_CONNECTIONS, LIVE_REQUESTS };
enum live_side { LIVE_CLIENT, LIVE_PROVIDER };

/* A connection or a request. Texts are NUL-terminated; "": nothing. */
struct live_row {
    uint64_t age_us;              /* of the connection; of the request since its first byte */
    uint64_t state_us;            /* in this state */
    uint64_t bytes_in, bytes_out; /* of the connection; of the request's and the reply's body */
    uint64_t requests;            /* of the connection so far; 0 for a request */
    uint32_t stream;              /* of HTTP/2; 0: none */
    uint16_t worker;
    uint8_t side; /* enum live_side */
    bool tls, trusted;
    const char *protocol; /* static words */
    const char *state;
    const char *cls;
    char address[LIVE_ADDRESS];  /* of the peer */
    char listener[LIVE_ADDRESS]; /* where a client came in */
    char environment[65], service[65], provider[65];
    char method[17];
    char host[65];
    char path[LIVE_PATH + 1]; /* without the query */
};

/* What is asked for; read by workers, does not change. */
struct live_question {
    uint8_t what;      /* enum live_what */
    uint32_t limit;    /* rows */
    uint64_t older_us; /* only those at least as old */
    char environment[65], service[65], state[17];
    uint8_t sides; /* bits 1 << enum live_side */
};

/* A worker's walk through its connections. */
struct live_walk {
    struct list queue; /* of live_part.link: the first one is being walked */
    struct list *next; /* in worker->clients: where to go on; NULL: at the providers */
    uint32_t bucket;   /* of the providers */
};
void live_walk_init(struct live_walk *l);
/* A client's link leaves worker->clients. */
static inline void live_walk_skip(struct live_walk *l, const struct list *link)
{
    if (l->next == link)
        l->next = link->next;
}

struct live_ask;
struct live_part {
    struct message message;
    struct list link; /* in live_walk.queue */
    struct live_ask *ask;
    const struct live_question *question;
    void (*back)(struct message *m, void *control); /* where the message's way ends */
    struct worker *w;
    struct live_row *row; /* room for `size`: the oldest that were seen */
    uint32_t *order;      /* likewise: places of rows, as a heap with the youngest on top */
    uint32_t n, size;
    uint64_t total;        /* that fit the question, also those without a row */
    uint32_t budget, rows; /* left in this turn */
    bool home;             /* back at the control thread */
};
/* Worker: begins the walk, or queues it. When it is done, `back` gets the message. */
void live_part_run(struct message *m, void *worker);

/* A state of connections that is no step of a request. */
bool live_is_state(const char *word);
/* Worker: one row for a connection or a request, when it fits the question (live_rows.c). */
void live_add_client(struct live_part *p, struct client *c);
void live_add_pconn(struct live_part *p, const struct pconn *c);

#endif
