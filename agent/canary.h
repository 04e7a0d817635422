/* Does the context go along? Hops that proxies tell of one session's traces, judged. Pure: no I/O,
 * the time is the caller's.
 *
 *   hop of the user's request  → services that it reaches
 *   hop of a dark request      → services that the secondary reaches
 *   hop that lost its context  → LOST, at once, for good
 *
 * An attempt is a secondary that was answered. Its wait_ms later its hops are compared with
 * those of the user's request, where that came from a client (of one that a service made we cannot
 * tell what lies behind it). A service that users reach in CANARY_ATTEMPTS attempts and that no
 * dark request reached is LOST too. PROVED: CANARY_PROOF attempts, and each service that they
 * should reach was reached. Bounded: the oldest traces are forgotten, those of attempts last; an
 * attempt whose dark request was forgotten holds nothing against a service. */
#ifndef OFFSHOOT_AGENT_CANARY_H
#define OFFSHOOT_AGENT_CANARY_H

#include "agent/exchange.h"

#define CANARY_SERVICES 64u /* further ones are not judged */
#define CANARY_TRACES   512u
#define CANARY_PENDING  64u /* answered attempts that wait for their hops */
#define CANARY_ATTEMPTS 5u
#define CANARY_PROOF    3u

enum canary_state { CANARY_UNPROVED, CANARY_PROVED, CANARY_LOST };
const char *canary_word(enum canary_state s); /* "unproved" "proved" "lost" */

struct canary;
struct canary *canary_new(void); /* NULL when memory is out */
void canary_free(struct canary *c);
/* A new run: everything is forgotten but the names of services. */
void canary_reset(struct canary *c);

/* ours: of a sampled trace: the session samples it. */
void canary_hop(struct canary *c, const struct hop *h, bool ours);

struct canary_attempt {
    const unsigned char *primary, *dark; /* trace-ids */
    struct str service;
    bool entry;       /* the user's request came from a client */
    uint32_t wait_ms; /* for the hops of other proxies, and for calls behind the reply */
};
/* The secondary of an exchange was answered. */
void canary_answered(struct canary *c, const struct canary_attempt *a, uint64_t now_ms);
/* Another dark trace of the session that owns this canary (a candidate's): what it loses counts. */
void canary_claim(struct canary *c, const unsigned char dark[TRACE_BYTES]);
/* Judges the attempts that are due. */
enum canary_state canary_judge(struct canary *c, uint64_t now_ms);

const char *canary_why(const struct canary *c); /* LOST: where; else "" */
uint64_t canary_attempts(const struct canary *c);
uint64_t canary_blocked(const struct canary *c); /* dark requests answered dark-blocked */
/* Services by first hop. */
struct canary_service {
    struct str name;
    uint64_t sampled, dark, lost; /* hops */
};
size_t canary_services(const struct canary *c);
struct canary_service canary_service(const struct canary *c, size_t i);

#endif
