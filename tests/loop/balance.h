/* Requests over several endpoints, which are told apart by their ports: 9001, 9002, 9003. */
#ifndef OFFSHOOT_TESTS_LOOP_BALANCE_H
#define OFFSHOOT_TESTS_LOOP_BALANCE_H

#include "tests/loop/loop.h"

extern struct balance_test {
    struct loop *l; /* of balance_start */
    int (*pair)(struct worker *w, const struct addr *a, bool *ret_pending);
    uint16_t port_of[LOOP_PROVIDERS]; /* by connect */
    uint16_t dead;                    /* connects to it fail at once; 1: to all */
    unsigned refused;
} balance;

extern const char balance_get[], balance_ok[]; /* a request, and its reply */

/* A service with that policy and those endpoints (the inside of both YAML lists). */
void balance_start(
    struct loop *l, const char *policy, const char *endpoints, const char *const *sets);
/* The connect whose peer has a request to read, and takes it; -1: none. */
int balance_asked(void);
/* One request on c, answered with reply; returns the port that it went to, 0: to none. */
uint16_t balance_exchange(int c, const char *request, const char *reply);
/* Of balance_get, reading the reply too; the second with balance_ok, for an environment. */
uint16_t balance_ask(int c, const char *reply);
uint16_t balance_ask_env(int c, const char *env);
void balance_order(const char *address, enum endpoint_order o);

#endif
