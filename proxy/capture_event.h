/* Events of capture as bytes: each a field `events` of a CaptureChunk. Into *o, which is emptied
 * first; o->failed when memory was out. */
#ifndef OFFSHOOT_PROXY_CAPTURE_EVENT_H
#define OFFSHOOT_PROXY_CAPTURE_EVENT_H

#include "lib/base/counters.h"
#include "lib/graph/pb.h"
#include "lib/graph/snapshot.h"
#include "proxy/capture.h"

#define CAPTURE_EVENT_MAX (192u << 10) /* bytes; what is larger is dropped */
#define CAPTURE_DROPS_MAX 128u         /* of the event that tells sums of drops */

struct field;
struct request;

void capture_event_begin(struct pb_out *o, const struct request *r, uint64_t id,
    struct str trace_id, const uint64_t *sessions, unsigned n);
void capture_event_reply(struct pb_out *o, const struct request *r, uint64_t id);
/* A reply of our own, by its word. */
void capture_event_own_reply(struct pb_out *o, const struct request *r, uint64_t id);
/* trailers: encoded fields 3 of ExchangeEnd. */
void capture_event_end(struct pb_out *o, const struct request *r, uint64_t id,
    enum capture_drop dropped, struct str trailers);
void capture_event_hop(struct pb_out *o, const struct request *r, struct str trace_id,
    enum capture_hop kind, enum refusal why);
/* stats: of the worker. */
void capture_event_drops(struct pb_out *o, const counter_cell *stats);

/* Straight to where it shall be: data and at most 64 bytes more. Returns the length. */
uint32_t capture_event_body(unsigned char *to, uint64_t id, bool reply, struct str data);

/* Appends fields as CaptureField, number `at`, but for hop-by-hop ones, dropped ones and those of
 * the set `back`. */
void capture_put_fields(
    struct pb_out *o, uint32_t at, const struct field *fields, unsigned n, uint64_t back);

#endif
