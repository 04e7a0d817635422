/* The proxy's counters: an enum of cells and the table that describes each (stats.c).
 *
 * One set a worker and one for the control thread; /metrics adds them up. */
#ifndef OFFSHOOT_PROXY_STATS_H
#define OFFSHOOT_PROXY_STATS_H

#include "lib/base/histogram.h"
#include "lib/graph/context.h"
#include "lib/graph/snapshot.h"
#include "lib/net/tls.h"
#include "lib/wire/clienthello.h"
#include "lib/wire/h1.h"
#include "lib/wire/h2.h"
#include "lib/wire/proxyproto.h"
#include "proxy/reasons.h"

#define NACK_REASONS      6 /* of control.proto, without NACK_UNKNOWN */
#define CAPTURE_REASONS   8 /* of capture.proto: CaptureDrop without KEPT */
#define CAPTURE_HOP_KINDS 4 /* HopKind */

enum proxy_stat {
    STAT_REQUESTS, /* by decision class: STAT_REQUESTS + enum decision_class (NONE: refused) */
    STAT_RULES = STAT_REQUESTS + CLASS_SHARED + 1,                      /* + enum context_rule */
    STAT_REFUSALS = STAT_RULES + RULE_DEFAULT + 1,                      /* + enum refusal */
    STAT_FAULTS = STAT_REFUSALS + REFUSAL_COUNT,                        /* + enum context_fault */
    STAT_BAD_REQUESTS = STAT_FAULTS + CONTEXT_FAULT_COUNT,              /* + enum h1_error */
    STAT_BAD_REPLIES = STAT_BAD_REQUESTS + H1_ERROR_COUNT,              /* + enum h1_error */
    STAT_REPLIES = STAT_BAD_REPLIES + H1_ERROR_COUNT,                   /* + status / 100 - 1 */
    STAT_CLIENT_CLOSES = STAT_REPLIES + 5,                              /* + enum client_close */
    STAT_PROVIDER_ERRORS = STAT_CLIENT_CLOSES + CLIENT_CLOSE_COUNT,     /* + enum provider_error */
    STAT_PROVIDER_CLOSES = STAT_PROVIDER_ERRORS + PROVIDER_ERROR_COUNT, /* + enum provider_close */
    STAT_NACKS = STAT_PROVIDER_CLOSES + PROVIDER_CLOSE_COUNT,    /* + reason of control.proto - 1 */
    STAT_BAD_H2_REQUESTS = STAT_NACKS + NACK_REASONS,            /* + enum h2_error */
    STAT_BAD_H2_REPLIES = STAT_BAD_H2_REQUESTS + H2_ERROR_COUNT, /* + enum h2_error */
    STAT_H2_ODD = STAT_BAD_H2_REPLIES + H2_ERROR_COUNT,          /* + enum h2_odd */
    STAT_H2_PROVIDER_ODD = STAT_H2_ODD + H2_ODD_COUNT,           /* + enum h2_odd */
    STAT_STREAM_CLOSES = STAT_H2_PROVIDER_ODD + H2_ODD_COUNT,    /* + enum client_close */
    /* + 2 * enum spoken + 1 at a trusted listener */
    STAT_PROTOCOL_REQUESTS = STAT_STREAM_CLOSES + CLIENT_CLOSE_COUNT,
    /* histograms: + HISTOGRAM_CELLS * (0: nothing was sent, else status / 100) */
    STAT_REQUEST_SECONDS = STAT_PROTOCOL_REQUESTS + 2 * SPOKEN_COUNT,
    /* + HISTOGRAM_CELLS * enum stage */
    STAT_STAGE_SECONDS = STAT_REQUEST_SECONDS + 6 * HISTOGRAM_CELLS,
    /* + enum proxyproto_error */
    STAT_PROXY_HEADERS = STAT_STAGE_SECONDS + STAGE_COUNT * HISTOGRAM_CELLS,
    STAT_SERVER_NAMES = STAT_PROXY_HEADERS + PROXYPROTO_ERROR_COUNT, /* + enum clienthello_error */
    STAT_TUNNELS = STAT_SERVER_NAMES + CLIENTHELLO_ERROR_COUNT,      /* + enum tunnel - 1 */
    STAT_TUNNEL_ENDS = STAT_TUNNELS + TUNNEL_KINDS,                  /* + enum tunnel_end */
    STAT_CAPTURE_DROPPED = STAT_TUNNEL_ENDS + TUNNEL_END_COUNT, /* + reason of capture.proto - 1 */
    STAT_CAPTURE_HOPS = STAT_CAPTURE_DROPPED + CAPTURE_REASONS, /* + kind of capture.proto */
    STAT_CONTEXT_FOREIGN = STAT_CAPTURE_HOPS + CAPTURE_HOP_KINDS,
    STAT_STREAMS,
    STAT_PINS_IGNORED,
    STAT_PINS_FOLLOWED, /* decided in a held epoch that is not the active one */
    STAT_SKEW,          /* + enum skew - 1 */
    STAT_SKEW_LAST = STAT_SKEW + 1,
    STAT_MOVED, /* + enum moved - 1 */
    STAT_MOVED_HTTPS,
    STAT_LIMITED, /* + enum limited */
    STAT_LIMITS_FORGOTTEN = STAT_LIMITED + LIMITED_COUNT,
    STAT_LIMITS_UNCOUNTED,
    STAT_SHARE_LINKS, /* + enum share - 1 */
    STAT_SHARE_LEFT,
    STAT_SHARE_EXPIRED,
    STAT_BAGGAGE_FULL,
    STAT_BAGGAGE_CUT,
    STAT_RETRIES,
    STAT_RETRIES_DENIED,
    STAT_BUDGET_CONNECTIONS, /* of a service's policy, over the process */
    STAT_BUDGET_PENDING,
    STAT_BUDGET_REQUESTS,
    STAT_EJECTIONS,
    STAT_EJECTIONS_SPARED, /* due, but maxEjected or the last usable one */
    STAT_AFFINITY_COOKIES,
    STAT_REMOVED, /* requests and streams ended because their environment is gone */
    STAT_DISABLED_ENDED,
    STAT_HEALTH_WELL,
    STAT_HEALTH_FAILED,
    STAT_HEALTH_LOST,
    STAT_HEALTH_RECOVERED,
    STAT_HEALTH_LATE,
    STAT_HEALTH_LEFT_OUT,
    STAT_ENDPOINT_ORDERS,
    STAT_DRIBBLED_HEADS, /* limits.minRate, by direction */
    STAT_DRIBBLED_REQUESTS,
    STAT_DRIBBLED_REPLIES,
    STAT_OVERLOAD_ENTERED,                             /* + enum overload_step - 1 */
    STAT_OVERLOAD_REFUSED = STAT_OVERLOAD_ENTERED + 3, /* likewise */
    STAT_ACCEPTS = STAT_OVERLOAD_REFUSED + 3,
    STAT_ACCEPT_ERRORS,
    STAT_ACCEPT_FOREIGN,      /* from outside from=CIDR */
    STAT_CONNECTIONS_REFUSED, /* over limits.connections, answered */
    STAT_CONNECTIONS_DROPPED, /* far over, closed at once */
    STAT_PROVIDER_CONNECTS,
    STAT_PROVIDER_REUSES,
    STAT_BUFFERS_REFUSED, /* limits.buffers reached */
    STAT_CLIENT_BYTES_IN,
    STAT_CLIENT_BYTES_OUT,
    STAT_PROVIDER_BYTES_IN,
    STAT_PROVIDER_BYTES_OUT,
    STAT_TUNNEL_BYTES_UP,
    STAT_TUNNEL_BYTES_DOWN,
    STAT_LOG_LINES,
    STAT_LOG_LOST,
    STAT_LOG_READER_LOST,
    STAT_LIVE_REFUSED,
    STAT_GIVEN_BACK,
    STAT_NAME_LOOKUPS,
    STAT_NAME_FAILURES,
    STAT_NAME_FORBIDDEN,
    STAT_TRACE_RECORDS,
    STAT_TRACE_LOST,
    STAT_KEYS_LOADS,
    STAT_KEYS_REFUSED,
    STAT_GRAPH_LOADS,
    STAT_GRAPH_REFUSED,
    STAT_GRAPH_DELAYED,
    STAT_EPOCHS_RETIRED_EARLY,
    STAT_AGENT_CONNECTS,
    STAT_AGENT_LOSSES,
    STAT_AGENT_UNREADABLE,
    STAT_AGENT_UNSENT,
    STAT_STAGE_CHUNKS,
    STAT_STAGES,
    STAT_ACTIVATIONS,
    STAT_RETIREMENTS,
    STAT_SAVES,
    STAT_SAVES_FAILED,
    STAT_UPGRADES_FAILED,
    STAT_CAPTURE_EXCHANGES, /* of workers, like the next */
    STAT_CAPTURE_CHUNKS,
    STAT_CAPTURE_CHUNKS_DROPPED,
    STAT_CAPTURE_HOPS_DROPPED,
    STAT_CAPTURE_RULES_REFUSED,
    STAT_CAPTURE_LOSSES,
    STAT_DARK_REQUESTS,
    STAT_CONTEXT_LOST,
    STAT_TLS_FAILURES,                                               /* + enum tls_failure */
    STAT_PROVIDER_TLS_FAILURES = STAT_TLS_FAILURES + TLS_FAIL_COUNT, /* + enum tls_failure */
    STAT_TLS_HANDSHAKES = STAT_PROVIDER_TLS_FAILURES + TLS_FAIL_COUNT,
    STAT_TLS_RESUMED,
    STAT_PROVIDER_TLS_HANDSHAKES,
    STAT_TLS_LOADS,
    STAT_TLS_LOADS_REFUSED,
    STAT_TLS_ROTATIONS,
    /* gauges */
    STAT_TLS_HANDSHAKES_NOW,
    STAT_TLS_EXPIRES,
    STAT_AGENT_CONNECTED,
    STAT_SNAPSHOT_STALE,
    STAT_SNAPSHOT_UNSAVED,
    STAT_CAPTURE_SESSIONS,
    STAT_CAPTURE_UP,
    STAT_CAPTURE_QUEUED,
    STAT_CLIENTS,
    STAT_H2_CLIENTS,
    STAT_REQUESTS_NOW,
    STAT_TUNNELS_NOW,
    STAT_PROVIDER_CONNECTIONS,
    STAT_PROVIDER_IDLE,
    STAT_BUFFERS,
    STAT_LOG_READERS,
    STAT_GRAPH_EPOCH,
    STAT_GRAPH_ENVIRONMENTS,
    STAT_GRAPH_SERVICES,
    STAT_GRAPH_BYTES,
    STAT_GRAPH_INVALID,
    STAT_EPOCHS_HELD,
    STAT_KEYS,
    STAT_WORKERS,
    STAT_HEALTH_TARGETS,
    STAT_HEALTH_UNHEALTHY,
    STAT_OVERLOAD_NOW, /* + enum overload_step - 1 */
    STAT_RESIDENT = STAT_OVERLOAD_NOW + 3,
    STAT_GENERATION,
    STAT_DRAINING,
    STAT_COUNT
};

/* The description of every cell, in order. Built once from the word tables of the enums; freed by
 * counters_table_free. NULL when memory is out. */
const struct counter_desc *stats_table(void);

#endif
