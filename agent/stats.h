/* The agent's counters: an enum of cells and the table that describes each (stats.c). */
#ifndef OFFSHOOT_AGENT_STATS_H
#define OFFSHOOT_AGENT_STATS_H

#include "agent/history.h"
#include "lib/base/counters.h"

/* Why a proxy's stream was refused or ended by us. */
enum sync_refusal {
    SYNC_MALFORMED,   /* bytes that are no message of ours */
    SYNC_NO_HELLO,    /* another message came first, or none in time */
    SYNC_HELLO_TWICE, /* a second one on the same stream */
    SYNC_BAD_HELLO,   /* a node that is no name, too many epochs, a digest of wrong size */
    SYNC_CERTIFICATE, /* the node is none of its names */
    SYNC_NOT_ALLOWED, /* not in proxies.allow */
    SYNC_LIMIT,       /* limits.proxies */
    SYNC_REPLACED,    /* another stream of the same node */
    SYNC_SILENT,      /* nothing for three heartbeats */
    SYNC_STUCK,       /* does not read */
    SYNC_REFUSAL_COUNT
};

/* Why a stream of Capture was refused or ended by us. */
enum capture_refusal {
    CAPTURE_MALFORMED, /* bytes that are no chunk, or break the order */
    CAPTURE_NOT_KNOWN, /* its proxy is not connected, not allowed, or another than it says */
    CAPTURE_LIMIT,     /* too many streams */
    CAPTURE_REFUSAL_COUNT
};
#define CAPTURE_DROPS 10u /* CaptureDrop, and one for those of a later version */
#define CAPTURE_HOPS  4u  /* HopKind */

#define NACK_REASONS 7 /* NackReason: 0 is one that we do not know */

enum agent_stat {
    STAT_COMMITS,                                      /* + enum change_kind */
    STAT_REFUSALS = STAT_COMMITS + CHANGE_KINDS,       /* + enum sync_refusal */
    STAT_NACKS = STAT_REFUSALS + SYNC_REFUSAL_COUNT,   /* + NackReason */
    STAT_CAPTURE_REFUSALS = STAT_NACKS + NACK_REASONS, /* + enum capture_refusal */
    STAT_CAPTURE_DROPPED = STAT_CAPTURE_REFUSALS + CAPTURE_REFUSAL_COUNT, /* + CaptureDrop */
    STAT_CAPTURE_HOPS = STAT_CAPTURE_DROPPED + CAPTURE_DROPS,             /* + enum hop_kind */
    STAT_GRAPH_REFUSED = STAT_CAPTURE_HOPS + CAPTURE_HOPS,
    STAT_CAPTURE_EXCHANGES,
    STAT_SHADOW_SAMPLES,
    STAT_SHADOW_UNTYPED,
    STAT_SHADOW_DROPPED,
    STAT_SHADOW_CONTEXT_LOST,
    STAT_SHADOW_JOURNAL_ERRORS,
    STAT_CHANGES_REFUSED,
    STAT_HELLOS,
    STAT_ACKS,
    STAT_STAGES,
    STAT_STAGE_WHOLES,
    STAT_STAGE_BYTES,
    STAT_ACTIVATIONS,
    STAT_LATE,
    STAT_HEARTBEATS,
    STAT_UNKNOWN_MESSAGES,
    STAT_ACCEPTS,
    STAT_CONNECTIONS_REFUSED,
    STAT_HANDSHAKES_FAILED,
    STAT_CONNECTIONS_TIMED_OUT,
    STAT_CALLS,
    STAT_ADMIN_SHED,
    STAT_WAITS_REFUSED,
    STAT_REDIS_COMMANDS, /* of the recorder, which counts by itself */
    STAT_REDIS_ERRORS,
    STAT_REDIS_TIMEOUTS,
    STAT_REDIS_REDIRECTS,
    STAT_REDIS_RECONNECTS,
    /* gauges */
    STAT_CONNECTIONS,
    STAT_PROXIES,
    STAT_PROXIES_BEHIND,
    STAT_PROXIES_STALE,
    STAT_SLOWEST_EPOCH,
    STAT_WAITS,
    STAT_GRAPH_EPOCH,
    STAT_GRAPH_ENVIRONMENTS,
    STAT_GRAPH_SERVICES,
    STAT_GRAPH_BYTES,
    STAT_GRAPH_INVALID,
    STAT_HELD,
    STAT_OWN_ENVIRONMENTS,
    STAT_OWN_STUCK,
    STAT_HISTORY_EPOCHS,
    STAT_HISTORY_BYTES,
    STAT_CAPTURE_STREAMS,
    STAT_CAPTURE_BYTES,
    STAT_SHADOW_SESSIONS,
    STAT_SHADOW_IN_FLIGHT,
    STAT_SHADOW_MIRRORS_DOWN,
    STAT_SHADOW_REDIS_UP,
    STAT_SHADOW_REDIS_BEHIND,
    STAT_COUNT
};

/* The description of every cell, in order. Built once; freed by counters_table_free. NULL when
 * memory is out. */
const struct counter_desc *stats_table(void);

#endif
