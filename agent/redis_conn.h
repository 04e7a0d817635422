/* One connection to one Redis server, kept up: looked up, connected to, introduced (AUTH, SELECT,
 * PING), and again with a growing wait when it is lost. hiredis on a libevent base, with deadlines
 * of our own: a command that is not answered in time ends the connection, and with it every other
 * one on it. One thread. */
#ifndef OFFSHOOT_AGENT_REDIS_CONN_H
#define OFFSHOOT_AGENT_REDIS_CONN_H

#include "lib/base/err.h"
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct dns;
struct redisReply;
struct redis_conn;

enum redis_state {
    REDIS_DOWN,       /* waits for the next try */
    REDIS_CONNECTING, /* up to the answer to PING */
    REDIS_UP,
    REDIS_REFUSED, /* user or password; waits for the next try */
    REDIS_LOADING  /* it reads its data; waits for the next try */
};

struct redis_conn_counts {
    uint64_t commands, errors, timeouts, reconnects;
};

struct redis_conn_options { /* texts are borrowed */
    struct event_base *base;
    struct dns *dns;           /* for names; may be NULL when there are none */
    const char *user;          /* "" or NULL: none */
    const char *password_file; /* or NULL; read at each connect */
    uint32_t db;
    uint32_t connect_ms, command_ms;
    struct redis_conn_counts *counts; /* added to */
    void (*on_up)(void *arg);         /* commands may be sent now */
    void *arg;
};
/* Returns new and begins to connect; NULL when memory is out. target as in redis_url.h. */
struct redis_conn *redis_conn_new(const struct redis_conn_options *o, const char *target);
/* What is outstanding is answered with NULL, within this call. Not inside a callback. */
void redis_conn_free(struct redis_conn *c);
enum redis_state redis_conn_state(const struct redis_conn *c);
/* The same for people: while a lost one is tried again, what it was found to be last. */
enum redis_state redis_conn_told(const struct redis_conn *c);
const char *redis_conn_why(const struct redis_conn *c); /* the last fault, "" */
const char *redis_conn_target(const struct redis_conn *c);

/* fn runs exactly once, later: with the answer (which may be an error of Redis), valid during the
 * call, or with NULL: the connection was lost, whether or not the command was carried out. 0,
 * -ENOTCONN (not up) or -ENOMEM. */
typedef void redis_fn(void *arg, const struct redisReply *reply);
int redis_conn_send(struct redis_conn *c, int argc, const char **argv, const size_t *argvlen,
    redis_fn *fn, void *arg);
/* Ends the connection; the next try comes by itself. why is copied. */
void redis_conn_drop(struct redis_conn *c, enum redis_state s, const char *why);

#endif
