/* What every gRPC connection to the agent has in common: that of sync.c and that of
 * capture_link.c. */
#ifndef OFFSHOOT_PROXY_AGENT_CALL_H
#define OFFSHOOT_PROXY_AGENT_CALL_H

#include "lib/net/grpc.h"

struct settings;

/* By the settings, with these limits; tls (borrowed): NULL: plain. */
struct grpc_client_options agent_options(
    const struct settings *set, struct grpc_tls *tls, struct grpc_limits limits);
/* The :authority of calls; borrows the settings. */
struct str agent_authority(const struct settings *set);
/* Milliseconds until a call that ended is made again, half of them at random: *again_ms, which is
 * then doubled up to agentBackoff.max. */
uint64_t agent_wait(const struct settings *set, uint64_t *again_ms);
/* Writes "STATUS: text" of a call's end into out[n], printable ASCII alone. */
void agent_end_text(unsigned status, struct str text, char *out, size_t n);
/* The same for other words. */
void agent_why(const char *why, char *out, size_t n);

#endif
