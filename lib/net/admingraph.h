/* Admin answers that proxy and agent have in common: the graph, counters, configuration.
 *
 * Each function answers its request. Where a graph is asked, the program says how to find the
 * snapshot of an epoch (`&epoch=N`), and what a described request (`/explain`) must know of it. */
#ifndef OFFSHOOT_NET_ADMINGRAPH_H
#define OFFSHOOT_NET_ADMINGRAPH_H

#include "lib/base/conf.h"
#include "lib/graph/pinned.h"
#include "lib/net/adminhttp.h"

struct admin_graph {
    void *arg;
    /* One more reference on the graph of an epoch; 0: the active one. NULL with e: answered 404,
     * or 503 for -ENOMEM and -EIO. */
    struct snapshot *(*snapshot_of)(void *arg, uint64_t epoch, struct err *e);
    /* Fills what the request's words do not say: gateway (name as asked for with `&gateway=`, NULL:
     * not said), whether a missing context is refused, and the like. A negative errno with e:
     * answered 400. */
    int (*ask)(
        void *arg, const struct snapshot *s, const char *gateway, struct ask *a, struct err *e);
    /* The held epochs, for requests with a pin; NULL: pins choose nothing. Called where no epoch
     * was asked for. False: nothing is held. */
    bool (*held)(void *arg, struct epoch_view *ret);
};

/* ?env=&service=[&now=][&epoch=] */
void admin_resolve(struct admin_request *r, const struct admin_graph *g);
/* ?host=&path=[&header=…][&trusted=1][&subject=][&gateway=][&now=][&epoch=] */
void admin_explain(struct admin_request *r, const struct admin_graph *g);
/* [?tree=1][&epoch=] */
void admin_environments(struct admin_request *r, const struct admin_graph *g);
/* The name is the rest of the path. [?epoch=] */
void admin_environment(struct admin_request *r, const struct admin_graph *g);

/* Sums of `nsets` arrays of n cells. Text: only those that are not zero. */
void admin_counters(struct admin_request *r, const struct counter_desc *table, size_t n,
    const counter_cell *const *sets, size_t nsets);
void admin_config(struct admin_request *r, const struct conf *c);
/* ?level= */
void admin_log_level(struct admin_request *r);
void admin_live(struct admin_request *r);

/* 200 with the text, or 503 when its memory ran out. Takes *t. */
void admin_reply_text(struct admin_request *r, struct text *t);
/* A parameter that is a number: 0 with *ret (fallback when not given), or -EINVAL, answered 400. */
int admin_number(struct admin_request *r, const char *name, uint64_t fallback, uint64_t *ret);
bool admin_is_true(struct admin_request *r, const char *name);
void text_hex(struct text *t, const unsigned char *p, size_t n);

#endif
