/* Proxies on gRPC: the service offshoot.v1.Control (proto/offshoot/v1/control.proto) over push.
 *
 *   grpc on_call ─→ stream_new            nothing is sent before Hello
 *   on_message  ─→ Hello  → hello_judge → push_join
 *                  Ack    → push_on_ack       Nack → push_on_nack
 *   push        ─→ stage  → one chunk after the other, as the stream takes them
 *                  activate, retire, drop
 *
 * What push tells is queued at once and written at the end of the turn, so that a round costs one
 * write a proxy. One thread. */
#ifndef OFFSHOOT_AGENT_SYNC_H
#define OFFSHOOT_AGENT_SYNC_H

#include "agent/push.h"
#include "agent/stats.h"
#include "lib/base/addr.h"
#include "lib/base/conf.h"

struct event_base;
struct grpc_method;
struct grpc_stream;
struct grpc_tls;
struct sync;

struct sync_options {
    struct event_base *base;
    struct history *history;
    uint32_t stage_ms, retire_ms, heartbeat_ms;
    uint32_t proxies, connections, message_bytes;
    const struct conf_list *allow; /* names; borrowed */
    counter_cell *stats;           /* STAT_COUNT of them, borrowed */
    /* Of other services on the same listeners, each with its own arg and limits; borrowed. */
    const struct grpc_method *methods;
    size_t nmethods;
    uint32_t methods_bytes; /* largest message that they take */
    void *arg;
    /* At the end of a turn in which proxies came, went or answered. */
    void (*progress)(void *arg);
};

/* NULL with e. Options are copied. */
struct sync *sync_new(const struct sync_options *o, struct err *e);
/* As grpc_server_listen. */
int sync_listen(struct sync *s, const struct addr *a, struct grpc_tls *tls, bool insecure,
    struct addr *ret_bound, struct err *e);
/* A new epoch is on disk. */
void sync_commit(struct sync *s, struct snapshot *newest);
/* Driven with clock_mono_ms. */
struct push *sync_push(struct sync *s);
/* From the commit of an epoch to the last Ack of each kind until now, and how many came. */
struct sync_times {
    uint64_t staged_us, active_us;
    uint32_t staged, active;
};
/* False: it was not committed by this process, or is not among the newest SYNC_WAYS. */
#define SYNC_WAYS 64
bool sync_times(const struct sync *s, uint64_t epoch, struct sync_times *ret);
/* A call on another service by a proxy that says it is `node`: 0 when its name is allowed, its
 * certificate (with TLS) has it, and a proxy of that name said Hello and is connected. Else -EPERM
 * or -ENOENT with e. */
int sync_known(
    const struct sync *s, const struct grpc_stream *call, struct str node, struct err *e);
/* A packed AgentMessage with CaptureRules: for every proxy with the feature that is connected, and
 * for each that comes. Empty: those that come are told nothing. Copied. 0 or -ENOMEM. */
int sync_capture_rules(struct sync *s, struct str message);
/* Copies what push and the server count into the cells. */
void sync_count(struct sync *s);
/* Ends every stream, closes all. */
void sync_free(struct sync *s);

#endif
