/* How the proxy treats a service's providers: the part of a Service document that the data plane
 * reads. Defaults are those of policy_default, which is today's plain behaviour: no checks, no
 * ejection, no budgets but the proxy's own. All times are milliseconds.
 *
 * Strings belong to whoever holds the struct (a model, or a snapshot). */
#ifndef OFFSHOOT_GRAPH_POLICY_H
#define OFFSHOOT_GRAPH_POLICY_H

#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define POLICY_DEFAULT UINT32_MAX /* retries: the proxy's default */

enum balance { BALANCE_ROUND_ROBIN, BALANCE_LEAST_REQUEST, BALANCE_CONSISTENT_HASH };
enum health_kind { HEALTH_HTTP, HEALTH_TCP, HEALTH_GRPC };
enum provider_protocol { PROVIDER_DEFAULT, PROVIDER_HTTP1, PROVIDER_HTTP2 };

/* What keeps requests of one kind on one endpoint. */
enum affinity_kind {
    AFFINITY_NONE,
    AFFINITY_CONTEXT, /* the environment asked for */
    AFFINITY_SOURCE,  /* the client's address */
    AFFINITY_COOKIE   /* the value of a cookie, which clients without it get; not HTTP: as SOURCE */
};
struct affinity {
    uint8_t kind;      /* enum affinity_kind */
    struct str cookie; /* COOKIE: its name */
};

/* Active checks; off unless interval_ms. */
struct health_policy {
    uint8_t kind;       /* enum health_kind */
    struct str path;    /* HTTP: asked with GET */
    struct str service; /* GRPC: of grpc.health.v1.HealthCheckRequest; empty: the whole server */
    uint32_t interval_ms, timeout_ms;
    uint32_t healthy_after, unhealthy_after; /* checks in a row, at least 1 */
    uint16_t status_min, status_max;         /* HTTP: replies that are well, both included */
};

/* Passive ejection; off unless failures. Never changes the provider class. */
struct ejection_policy {
    uint32_t failures; /* in a row; 0: never ejected */
    uint32_t time_ms;
    uint32_t percent; /* of the endpoints of one set, at most; one may go always */
};

struct policy {
    uint8_t balance;                 /* enum balance; default round robin */
    struct affinity hash;            /* CONSISTENT_HASH: never NONE then */
    uint32_t timeout_ms;             /* until the reply's head; 0: the proxy's default */
    uint32_t connect_timeout_ms;     /* 0: the proxy's default */
    uint32_t idle_timeout_ms;        /* nothing moves after the reply's head; 0: the proxy's */
    uint32_t try_timeout_ms;         /* until the reply's head, of one try; 0: none of its own */
    uint32_t retries_max;            /* POLICY_DEFAULT: the proxy's default */
    uint32_t retries_budget_percent; /* POLICY_DEFAULT: the proxy's default */
    /* To one address, by process; 0: the proxy's limit alone. */
    uint32_t max_connections, max_pending, max_requests;
    uint32_t slow_start_ms; /* a new or recovered endpoint's weight grows over it; 0: at once */
    struct ejection_policy ejection;
    struct health_policy health;
};

/* TLS towards the providers of a service. */
struct service_tls {
    bool on;
    bool insecure;   /* no certificate is verified */
    struct str name; /* SNI and the name verified; empty: the endpoint's DNS name */
    struct str ca;   /* PEM file on the proxy, absolute path; empty: the system's */
};

struct policy policy_default(void);
/* What is meant when `health` says only that there is a check. */
struct health_policy health_default(void);
/* What is meant by `ejection: {}`. */
struct ejection_policy ejection_default(void);

#endif
