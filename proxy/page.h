/* The page that a person sees instead of a reply: one template, every value escaped. */
#ifndef OFFSHOOT_PROXY_PAGE_H
#define OFFSHOOT_PROXY_PAGE_H

#include "lib/base/counters.h"
#include "lib/graph/context.h"
#include "lib/graph/snapshot.h"

/* Sent with it: nothing is loaded, nothing runs. */
#define PAGE_POLICY "default-src 'none'; style-src 'unsafe-inline'"

struct page {
    enum refusal refusal; /* as the caller may know it */
    unsigned status;
    const char *detail;     /* one word more, or "" */
    struct str environment; /* asked for; shown when it is a name, else left out */
    struct str service;     /* or empty */
    struct str trace_id;    /* for support; or empty */
    int64_t expired_at;     /* Unix seconds; 0: not to be shown */
    /* What chose the environment. */
    uint8_t source;                        /* enum context_source */
    bool by_cookie;                        /* of a share link */
    const struct model_selector *selector; /* or NULL */
    bool can_leave; /* an empty parameter takes the cookie away at this host */
};

/* What a refusal means, in one sentence without a full stop. */
const char *page_sentence(enum refusal r);
void page_write(struct text *t, const struct page *p);

#endif
