/* The service offshoot.v1.Capture (proto/offshoot/v1/capture.proto) on the listeners of sync.h:
 * streams of chunks in, exchanges, hops and drops out.
 *
 *   on_message → assembly_feed → on_exchange, on_hop, on_dropped of the owner
 *
 * A stream is taken from proxies that said Hello. One that breaks the contract is ended; what it
 * had open is gone. The memory of all streams together is bounded. One thread. */
#ifndef OFFSHOOT_AGENT_CAPTURE_H
#define OFFSHOOT_AGENT_CAPTURE_H

#include "agent/exchange.h"
#include "agent/stats.h"

struct capture;
struct grpc_method;
struct grpc_stream;

#define CAPTURE_MESSAGE (256u << 10) /* largest chunk: 16 KiB, or one head of up to 64 KiB */

struct capture_options {
    uint32_t streams;    /* at a time; default 4,096 */
    uint32_t body_bytes; /* each way of an exchange; default 1 MiB */
    uint64_t bytes;      /* of all exchanges that are open; default 64 MiB */
    counter_cell *stats; /* STAT_COUNT of them, borrowed */
    void *arg;
    struct exchange_events events; /* on_node is not used */
    /* Whether a stream may be of that node: as sync_known. */
    int (*known)(void *arg, const struct grpc_stream *call, struct str node, struct err *e);
};

/* NULL when memory is out. Options are copied. */
struct capture *capture_new(const struct capture_options *o);
/* The service's only method, for sync_options; lives as long as c. */
const struct grpc_method *capture_method(const struct capture *c);
uint32_t capture_streams(const struct capture *c);
uint64_t capture_bytes(const struct capture *c); /* of exchanges that are open */
/* After its streams have ended (sync_free). NULL is nothing. */
void capture_free(struct capture *c);

#endif
