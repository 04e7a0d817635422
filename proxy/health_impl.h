/* Inside the health checks: what the scheduler, the connection and the exchanges share. */
#ifndef OFFSHOOT_PROXY_HEALTH_IMPL_H
#define OFFSHOOT_PROXY_HEALTH_IMPL_H

#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/net/tls.h"
#include "lib/wire/h1.h"
#include "lib/wire/h2.h"
#include "proxy/health.h"
#include <event2/bufferevent.h>
#include <event2/event.h>

#define HEALTH_CHECK_MAGIC 0x68436b31u
#define HEALTH_PROBE_MAGIC 0x68507231u
#define HEALTH_REPLY_MAX   16384u /* bytes read of one reply */
#define HEALTH_FIELDS      100u

/* TLS contexts of this thread, one for each file of certificates. */
#define HEALTH_CONTEXTS 64
struct health_context {
    char *ca; /* NULL: the system's */
    struct tls_client *client;
};

struct health {
    struct health_options o;
    struct list checks; /* of health_check.link */
    struct list due;    /* of health_check.turn: they wait because o.checks are running */
    uint32_t nchecks, nrunning;
    uint64_t random;
    struct bufpool bufs; /* of HTTP/2 */
    struct health_context context[HEALTH_CONTEXTS];
    unsigned ncontexts;
};

struct health_check {
    uint32_t magic;
    struct list link, turn;
    struct health *h;
    struct endpoint_entry *entry; /* held */
    struct health_spec *spec;
    struct event *timer; /* the next check */
    struct health_probe *probe;
    uint32_t good, bad; /* in a row */
};

enum probe_state { PROBE_CONNECT, PROBE_HANDSHAKE, PROBE_EXCHANGE };

struct health_probe {
    uint32_t magic;
    uint8_t state; /* enum probe_state */
    struct health *h;
    const struct health_spec *spec;
    struct addr addr;
    health_done_fn *done;
    void *arg;
    int fd; /* until bev has it; -1 then */
    struct event *connecting, *deadline;
    struct bufferevent *bev;       /* NULL before the connection is up */
    SSL *ssl;                      /* of bev; NULL: plain */
    char early[ENDPOINT_TEXT_MAX]; /* failed at once: told by `deadline` */
    /* HTTP */
    struct h1_parser parser;
    struct field fields[HEALTH_FIELDS];
    uint32_t used; /* of interim replies */
    /* HTTP/2 */
    struct h2 *h2;
    struct h2_stream stream;
    struct buf in, out;
    uint16_t status;
    /* gRPC */
    struct grpc_session *session;
    bool heard;    /* its message came */
    bool answered; /* the call is over, `verdict` holds */
    char verdict[ENDPOINT_TEXT_MAX];
};

/* Says how it came out and frees the probe. */
void probe_done(struct health_probe *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void probe_well(struct health_probe *p);
/* Either, by the status of an HTTP reply. */
void probe_status(struct health_probe *p, unsigned status);

/* The connection is up (and encrypted): say what is asked; then for what came. The probe may be
 * gone afterwards. closed: the other side ended it. */
void health_http_begin(struct health_probe *p);
void health_http_input(struct health_probe *p, bool closed);
void health_grpc_begin(struct health_probe *p);
void health_grpc_input(struct health_probe *p, bool closed);
void health_grpc_free(struct health_probe *p);
void health_h2_begin(struct health_probe *p);
void health_h2_input(struct health_probe *p, bool closed);
void health_h2_free(struct health_probe *p);

/* The context for these certificates, made when missing. NULL with e. */
struct tls_client *health_tls(struct health *h, struct str ca, struct err *e);

#endif
