/* Dark requests: secondary and candidate of one exchange, sent together through a proxy's trusted
 * listener, in random order, with one deadline and no retries.
 *
 * Each carries a mesh token with the dark flag and its role's, no pin, and a trace-id of its own
 * that proxies know as dark (CaptureRules.dark_key). Authority and path stay as they were; which
 * fields go and which are taken out: docs/internals/mirror.md. One thread. */
#ifndef OFFSHOOT_AGENT_MIRROR_H
#define OFFSHOOT_AGENT_MIRROR_H

#include "agent/exchange.h"
#include "lib/base/counters.h"

struct event_base;
struct dns;
struct signer;
struct mirror;

struct mirror_options {
    struct event_base *base;
    struct dns *dns;
    const char *target;    /* of the trusted listener */
    struct signer *signer; /* borrowed; may be NULL: unsigned tokens */
    unsigned char dark_key[16];
    uint32_t in_flight;  /* exchanges at a time; default 64 */
    uint64_t bytes;      /* held by them, replies included; default 64 MiB */
    uint32_t body_bytes; /* of a reply; default 1 MiB */
    uint32_t timeout_ms; /* default 10 s */
};

/* One role's reply. Views into memory of the mirror, valid during the callback. */
struct mirrored {
    struct reply reply;
    unsigned char trace_id[TRACE_BYTES];
    struct str refusal; /* x-offshoot-error of a reply that a proxy made itself; else empty. Only
                         * such that are data: "connect", "bad-reply", "unhealthy", "timeout" */
};
struct mirror_result {
    /* NULL: both are here, in one of enum reply_outcome. Else the whole sample is of no use; a
     * static word for mirror_dropped: "connection" (ours broke), "memory", "too-large", "stopped",
     * "refused" (by a word unknown here), or the word of the proxy's refusal, as "dark-blocked" or
     * "overload". What was still on its way has been given up. */
    const char *dropped;
    struct mirrored secondary, candidate;
    bool candidate_first;
};
/* May call everything here but mirror_free. */
typedef void mirror_fn(void *arg, struct exchange *x, const struct mirror_result *r);

struct mirror_roles {
    struct str secondary_env, candidate_env;
    bool forward_credentials;
    bool candidate_last; /* tests only: the unfair order */
    bool only_secondary; /* the canary: candidate is not sent, result.candidate is empty */
    /* Fields that are set instead of what the user sent (credentials of the session). */
    const struct reply_field *set;
    size_t nset;
};

struct mirror *mirror_new(const struct mirror_options *o, struct err *e);
/* NULL: fn is called once, later. Else a static word why not: "in-flight", "memory", "connection"
 * (down, until the wait after a failure is over). Takes a reference on x; roles are copied. */
const char *mirror_send(struct mirror *m, struct exchange *x, const struct mirror_roles *roles,
    mirror_fn *fn, void *arg);
/* False while mirror_send would answer "connection". The first exchange connects. */
bool mirror_up(const struct mirror *m);
/* The last failure, until there is a connection; or "". */
const char *mirror_why(const struct mirror *m);
uint32_t mirror_in_flight(const struct mirror *m);
/* What is on its way ends as dropped "stopped", within this call. */
void mirror_free(struct mirror *m);

#endif
