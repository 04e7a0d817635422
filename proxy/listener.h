/* A worker's listening socket (SO_REUSEPORT: each worker has its own for each address). */
#ifndef OFFSHOOT_PROXY_LISTENER_H
#define OFFSHOOT_PROXY_LISTENER_H

#include "lib/base/list.h"
#include "lib/base/wheel.h"
#include "proxy/settings.h"

struct worker;
struct event;
struct tls_server;

#define LISTENER_MAGIC 0x4c495354u

struct listener {
    uint32_t magic;
    struct list link; /* in worker->listeners */
    struct worker *w;
    struct listen_spec spec; /* addr without a name */
    int fd;                  /* -1: stopped */
    struct event *event;
    struct timer pause;     /* after a failed accept */
    size_t index;           /* among those of the settings */
    struct tls_server *tls; /* NULL: no TLS; replaced by tls.c */
    uint64_t complained_ms; /* last line about that in the log */
    uint32_t untold;        /* failures since */
};

/* Takes fd (non-blocking; listening, at the latest when it is started), or -1 in tests. Accepts at
 * once unless the worker holds that back. NULL (fd closed) when memory is out. On the worker's
 * thread or before it runs. Freed with the worker. */
struct listener *listener_new(struct worker *w, int fd, const struct listen_spec *spec);
/* The worker does not hold it back any more. */
void listener_start(struct listener *l);
/* Accepts what waits: closing a listening socket resets that. */
void listener_empty(struct listener *l);
/* Stops accepting. */
void listener_stop(struct listener *l);
void listener_free(struct listener *l);
/* What accept does with a new connection; tests call it with an end of a socket pair. Takes fd. */
void listener_take(struct listener *l, int fd, const struct addr *peer);

#endif
