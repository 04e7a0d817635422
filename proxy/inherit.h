/* The new process of a binary upgrade: what it takes over from the one that started it.
 *
 *   inherit_take    greets, receives the sockets
 *   inherit_socket  … each where one would be opened otherwise
 *   inherit_state   the old process leaves its agent and its state folder
 *   inherit_ready   everything works; returns when the old one says go
 *   inherit_serving accepts: the old process stops accepting and drains
 *   inherit_free
 *
 * On the main thread, blocking, each wait bounded. An old process that dies once we are ready does
 * not stop us: somebody must serve. proxy/handover.h has the messages. */
#ifndef OFFSHOOT_PROXY_INHERIT_H
#define OFFSHOOT_PROXY_INHERIT_H

#include "proxy/handover.h"
#include <stddef.h>

struct inherit;

/* *ret is NULL when no upgrade started this process (HANDOVER_ENV is not set; it is taken out of
 * the environment). Each wait of this and of inherit_state and inherit_ready takes timeout_ms at
 * the most. 0 or negative errno with e. */
int inherit_take(struct inherit **ret, uint64_t timeout_ms, struct err *e);
/* Closes what nobody took. NULL is fine. */
void inherit_free(struct inherit *i);

uint32_t inherit_generation(const struct inherit *i); /* upgrades before us, and this one */
uint32_t inherit_from(const struct inherit *i);       /* process number of the old one */

/* How many sockets there are of this kind for the key. number: which of the listeners that are
 * configured with the same address, from 0. NULL has none. */
size_t inherit_count(
    const struct inherit *i, enum handover_kind kind, uint32_t number, struct str key);
/* Takes the next of them: the caller's then. -1: there is none (left). */
int inherit_socket(struct inherit *i, enum handover_kind kind, uint32_t number, struct str key);
/* The n-th order about an endpoint, see HANDOVER_ENDPOINT; the key lives as long as i. False past
 * the end. */
bool inherit_order(const struct inherit *i, size_t n, uint32_t *ret_number, struct str *ret_key);
/* The lock of the state folder, if it is that of the open file `like`; -1: none. The caller's. */
int inherit_lock(struct inherit *i, int like);
/* Where the keys of session tickets are; -1: none. The caller's. */
int inherit_tickets(struct inherit *i);

/* Idempotent. 0 or negative errno with e. */
int inherit_state(struct inherit *i, struct err *e);
int inherit_ready(struct inherit *i, bool admin_taken, struct err *e);
void inherit_serving(struct inherit *i);

#endif
