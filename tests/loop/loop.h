/* A real worker without a thread: clients and providers are socket pairs, the clock is virtual.
 *
 * The other end of each pair belongs to the test. Nothing here parses HTTP: tests compare bytes. */
#ifndef OFFSHOOT_TESTS_LOOP_H
#define OFFSHOOT_TESTS_LOOP_H

#include "proxy/request.h"
#include "proxy/worker.h"
#include "tests/unit/unit.h"

#define LOOP_PROVIDERS 64

struct loop {
    struct settings set;
    struct conf *conf;
    struct shared shared;
    struct worker w;
    struct slot_writer slots;
    struct slot_reader *reader[1];
    struct listener *edge, *trusted; /* untrusted and trusted */
    struct addr peer;
    size_t mem_before;

    /* what the worker's next connects come to */
    int connect_error;             /* negative errno: the connect fails at once */
    bool connect_pending;          /* never becomes writable (a hole that swallows SYNs) */
    int provider[LOOP_PROVIDERS];  /* our ends, in the order of the connects; -1: closed */
    uint16_t port[LOOP_PROVIDERS]; /* that they were to go to */
    unsigned nproviders;
    char in[1 << 20]; /* what loop_recv read last, NUL-terminated */
};

/* graph: YAML documents, or NULL for loop_graph. sets: "key=value" pairs ended by NULL. */
void loop_start(struct loop *l, const char *graph, const char *const *sets);
/* Ends everything; fails the test unless every object and descriptor went. */
void loop_stop(struct loop *l);
extern const char loop_graph[];

/* Documents of a graph, to be written one after the other. */
#define LOOP_DOCUMENT(kind, name, spec)                                                            \
    "---\napiVersion: offshoot.dev/v1\nkind: " kind "\nmetadata: {name: " name "}\n"               \
    "spec: {" spec "}\n"
#define LOOP_SERVICE(name, spec) LOOP_DOCUMENT("Service", name, spec)
#define LOOP_MAIN(providers)                                                                       \
    LOOP_DOCUMENT("Environment", "main", "mode: baseline, providers: {" providers "}")
#define LOOP_OVERLAY(name, more)                                                                   \
    LOOP_DOCUMENT("Environment", name, "mode: overlay, parent: main" more)
#define LOOP_GATEWAY(more)                                                                         \
    LOOP_DOCUMENT(                                                                                 \
        "Gateway", "edge", "defaultEnvironment: main" more ", routes: [{path: /, service: cart}]")
#define LOOP_CART(endpoints) LOOP_MAIN("cart: {endpoints: [" endpoints "]}")
#define LOOP_CART_AND_DB                                                                           \
    LOOP_SERVICE("cart", "")                                                                       \
    LOOP_SERVICE("db", "protocol: tcp")                                                            \
    LOOP_MAIN("cart: {endpoints: [\"127.0.0.1:9001\"]}, db: {endpoints: [\"127.0.0.1:9002\"]}")

/* Compiles a valid graph on top of base (may be NULL); returns new. */
struct snapshot *loop_compile(const char *graph, const struct snapshot *base, uint64_t epoch);
/* One more epoch in the hands of the worker, on top of the newest; the first one is active. */
void loop_stage(struct loop *l, const char *graph, uint64_t epoch);
/* The worker takes the table of l->slots as it is now. */
void loop_publish(struct loop *l);

/* A new client connection; returns our end (non-blocking). */
int loop_client(struct loop *l, struct listener *on);
/* Turns until nothing happens any more. */
void loop_turns(struct loop *l);
/* Moves the clock and turns. */
void loop_advance(struct loop *l, uint64_t ms);
/* Writes all of text to our end, then turns. */
void loop_send(struct loop *l, int fd, const char *text);
/* Everything that is there to read, NUL-terminated ("" when nothing). Turns first. */
const char *loop_recv(struct loop *l, int fd);
/* True when our end sees EOF or a reset (after what loop_recv left). */
bool loop_closed(struct loop *l, int fd);
/* Closes our end so that the worker sees a reset: with unread bytes in its direction. */
void loop_close(struct loop *l, int *fd);
void loop_shutdown(struct loop *l, int fd);
/* Starts with the defaults and one client at the trusted listener that sends text; its end. */
int loop_begin(struct loop *l, const char *text);
/* Closes our end (unless -1), then loop_stop. */
void loop_end(struct loop *l, int fd);
/* The next bytes are a refusal with this status and word. */
void loop_assert_refused(struct loop *l, int fd, const char *status, const char *word);
uint64_t loop_count(const struct loop *l, enum proxy_stat which);

#endif
