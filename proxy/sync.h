/* A proxy fed by an agent: one gRPC stream on the control thread (proto/offshoot/v1/control.proto).
 *
 *   dial → Hello → Stage… → apply, compare, judge → epochs_stage → Ack STAGED
 *                  Activate → epochs_activate → every worker → lastgood_save → Ack ACTIVE
 *                  Retire   → epochs_retire → Ack RETIRED
 *
 * What is refused is answered with a Nack and changes nothing. An agent that goes away changes
 * nothing for requests: the last good graph is served, `snapshot_stale` is raised after `ttl`. */
#ifndef OFFSHOOT_PROXY_SYNC_H
#define OFFSHOOT_PROXY_SYNC_H

#include "lib/base/counters.h"
#include "lib/base/err.h"
#include "proxy/lastgood.h"
#include <stdbool.h>

struct control;
struct grpc_tls;
struct sync;

/* Opens the last good graph (when there is a state folder) and stages and activates it; starts to
 * dial. Puts itself into c->sync, also on failure: sync_free it. 0 or negative errno with e. */
int sync_start(struct control *c, struct err *e);
void sync_free(struct sync *s);
/* Something is served: from the last good graph or from the agent. */
bool sync_has_graph(const struct sync *s);
/* POST /adopt: takes a graph of this history although another one is held; asks the agent again. */
int sync_adopt(struct sync *s, const unsigned char *history, struct err *e);
/* Part of /status: `"agent":{...}` without a comma, or lines of text. */
void sync_status(const struct sync *s, bool json, struct text *out);
/* Reads the keys of its TLS again; on failure everything stays as it was. */
int sync_reload(struct sync *s, struct err *e);
/* For a binary upgrade, in this order: leaves the agent, which knows one stream a node; true once
 * what the workers use is saved, or cannot be; closes the last good file, so that the new process
 * can open it. */
void sync_suspend(struct sync *s);
bool sync_settled(const struct sync *s);
void sync_let_go(struct sync *s);
/* There was no upgrade: takes all of that back. 0 or negative errno with e. */
int sync_resume(struct sync *s, struct err *e);
/* For the other connections to the agent: certificates, NULL: plain; and our name. Borrowed. */
struct grpc_tls *sync_tls(const struct sync *s);
const char *sync_node(const struct sync *s);
/* Each second: heartbeats, staleness. */
void sync_second(struct sync *s);

#endif
