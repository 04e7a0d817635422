/* What a proxy process and its successor say to each other during a binary upgrade.
 *
 *   old                                        new
 *                                          ←   hello VERSION 0 PID
 *   hello VERSION GENERATION PID           →
 *   listen N ADDRESS + descriptor …        →
 *   endpoint N ADDRESS [REASON] …          →
 *   admin PATH + descriptor                →
 *   metrics ADDRESS + descriptor           →
 *   lock + descriptor                      →
 *   tickets + descriptor                   →
 *   errors + descriptor                    →
 *   end                                    →   reads its configuration, makes its workers
 *                                          ←   state
 *   (leaves the agent and the state folder)
 *   state                                  →   takes the last good graph, or the agent's
 *                                          ←   ready ADMIN
 *   go                                     →   accepts
 *                                          ←   serving
 *   (stops accepting, drains)
 *
 * One message is one packet of a SOCK_SEQPACKET pair: text of at most HANDOVER_MESSAGE_MAX bytes,
 * words separated by one space, with one descriptor or none as its kind demands. Anything else is
 * refused with an error that names it. `metrics`, `admin` and `lock` are left out where there is
 * none. Both ends are processes of one user, started by the other: nothing here is for strangers.
 */
#ifndef OFFSHOOT_PROXY_HANDOVER_H
#define OFFSHOOT_PROXY_HANDOVER_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define HANDOVER_VERSION     1
#define HANDOVER_ENV         "OFFSHOOT_UPGRADE" /* number of the new one's end of the pair */
#define HANDOVER_MESSAGE_MAX 384u
#define HANDOVER_KEY_MAX     300u
#define HANDOVER_ORDERS_MAX  1024u /* listeners of a configuration */
#define HANDOVER_SOCKETS_MAX 65536u

enum handover_kind {
    HANDOVER_HELLO,
    HANDOVER_LISTEN,   /* key: the address as configured, port 0 as 0; number: which listener */
    HANDOVER_ENDPOINT, /* an order: number 0: drained, 1: disabled; key: address, reason */
    HANDOVER_ADMIN,    /* key: path of the unix socket */
    HANDOVER_METRICS,  /* key: the address as configured */
    HANDOVER_LOCK,     /* of the state folder: the open file that holds the lock */
    HANDOVER_TICKETS,  /* keys of session tickets, in memory: struct tls_tickets as it is */
    HANDOVER_ERRORS,   /* standard error; until `ready` the new one has a pipe there */
    HANDOVER_END,
    HANDOVER_STATE,
    HANDOVER_READY, /* number: 1 when the admin socket was taken, 0 when its path is given up */
    HANDOVER_GO,
    HANDOVER_SERVING,
    HANDOVER_KINDS
};

struct handover {
    enum handover_kind kind;
    uint32_t version, generation, pid; /* of hello */
    uint32_t number;
    struct str key; /* borrowed from what was parsed */
};

const char *handover_word(enum handover_kind kind);
/* Whether a descriptor comes with it. */
bool handover_carries(enum handover_kind kind);
/* 0, or -EPROTO with e. */
int handover_parse(struct str text, struct handover *ret, struct err *e);
/* Returns the length; 0 when it does not fit or the key cannot stand in a message. */
size_t handover_format(const struct handover *m, char out[static HANDOVER_MESSAGE_MAX]);

/* fd is borrowed, -1 for none. 0, -EAGAIN, -EMSGSIZE, or another negative errno. */
int handover_send(int channel, const struct handover *m, int fd);
/* The next message; *ret_fd is the caller's then (-1: none). room gets the text. 0; -EAGAIN: none
 * yet; -ENOTCONN: the other side is gone; -EPROTO with e: not a message, or the wrong number of
 * descriptors (they are closed). Interrupted: goes on. */
int handover_receive(int channel, char room[static HANDOVER_MESSAGE_MAX + 1], struct handover *ret,
    int *ret_fd, struct err *e);

#endif
