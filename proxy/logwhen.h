/* Which requests are logged: accessLog.when, and the filters of the admin socket's /log.
 *
 * A list of rules; a request that any of them fits is logged, and every one when there is no rule.
 * A rule is one or more terms with spaces between, all of which must hold:
 *
 *   errors                refused, failed on either side, answered 5xx, or not answered at all
 *   slower=500ms          took longer than that in all
 *   status=5xx|404|none   the status sent to the client; none: nothing was sent
 *   class=local|refused   class of the decision, or refused, redirect, share-link, share-leave
 *   env=NAME|NAME         the environment asked for
 *   service=NAME|NAME
 *   refusal=WORD|WORD     why it was refused
 *   protocol=http1|http2|tcp
 *   listener=trusted|untrusted
 *   sample=1%             a share of the traces: by trace-id, so every proxy picks the same ones */
#ifndef OFFSHOOT_PROXY_LOGWHEN_H
#define OFFSHOOT_PROXY_LOGWHEN_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define LOG_TERMS_MAX 64u /* in all rules together */
#define LOG_TEXT_MAX  4096u

enum log_term_kind {
    TERM_ERRORS,
    TERM_SLOWER,
    TERM_STATUS,
    TERM_CLASS,
    TERM_ENV,
    TERM_SERVICE,
    TERM_REFUSAL,
    TERM_PROTOCOL,
    TERM_LISTENER,
    TERM_SAMPLE,
    TERM_KINDS
};
struct log_term {
    uint8_t kind;     /* enum log_term_kind */
    bool ends;        /* the last one of its rule */
    uint64_t number;  /* SLOWER: us; SAMPLE: below this of 2^32 */
    struct str words; /* alternatives, '|' between; in `text` */
};
struct log_when {
    struct log_term *terms; /* owned */
    size_t nterms;          /* 0: everything */
    char *text;             /* owned */
};

/* What is known of a finished request. */
struct log_facts {
    bool error;
    uint16_t status; /* 0: none */
    uint64_t total_us;
    struct str env, service, trace; /* empty: none */
    const char *cls;                /* never NULL */
    const char *refusal;            /* "" for none */
    const char *protocol, *listener;
};

/* Reads n rules. 0; -EINVAL with e, which says which rule; -ENOMEM. *ret is empty then. */
int log_when_parse(struct log_when *ret, const char *const *rules, size_t n, struct err *e);
void log_when_release(struct log_when *w);
bool log_when_fits(const struct log_when *w, const struct log_facts *f);

#endif
