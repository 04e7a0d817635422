/* Live copies of the access log, for readers at the admin socket (GET /log).
 *
 *   worker: accesslog_add → logtail_add ── end of turn: logtail_flush ─→ control: the reader's
 * reply (at most one piece on its way; lines behind it wait, up to LOGTAIL_BYTES)
 *
 * A reader that is too slow loses lines, never delays a request: what a worker cannot hold, or the
 * reader's connection does not take, is dropped and counted, and the reader is told how many.
 *
 * Ownership: a tail and its pipes (one a worker) belong to the control thread and are freed when
 * each worker has let its pipe go, or at the end. A worker's list holds pipes from subscribe_run to
 * unsubscribe_run. What a worker reads of a tail (rules, format) does not change. */
#ifndef OFFSHOOT_PROXY_LOGTAIL_H
#define OFFSHOOT_PROXY_LOGTAIL_H

#include "lib/base/counters.h"
#include "proxy/logwhen.h"
#include "proxy/mailbox.h"

#define LOGTAIL_READERS 8u       /* at a time */
#define LOGTAIL_BYTES   65536u   /* a worker's lines for one reader that wait for their turn */
#define LOGTAIL_BEHIND  1048576u /* bytes a reader has not taken yet; above, lines are dropped */

struct control;
struct request;
struct worker;
struct admin_request;
struct logtail;

struct logtail_pipe {
    struct message message; /* with lines to the control thread, and back */
    struct message leave;   /* to the worker: let it go */
    struct list link;       /* in worker->log.tails */
    struct logtail *tail;
    struct worker *w;
    struct text filling, sent;
    uint32_t nfilling, nsent; /* lines */
    uint32_t lost;            /* lines since the last piece that was sent */
    uint32_t nlost;           /* of the piece that is under way */
    bool away;                /* a piece is under way */
    bool left;                /* unsubscribed */
};

/* Worker: one finished request for each reader whose rules it fits. */
void logtail_add(struct worker *w, const struct request *r, const struct log_facts *f);
/* Worker, at the end of a turn in which lines were added. */
void logtail_flush(struct worker *w);

/* Control thread: GET /log?when=RULE[&when=...][&format=text|json|otel]. Answers it, until the
 * reader leaves. */
void logtail_open(struct control *c, struct admin_request *r);
/* Once a second: lets go of readers who left. */
void logtail_second(struct control *c);
/* After every worker and the mailboxes have ended. */
void logtail_release(struct control *c);

#endif
