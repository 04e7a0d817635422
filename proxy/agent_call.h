/* What every gRPC connection to the agent has in common: that of sync.c and that of
 * capture_link.c. */
#ifndef OFFSHOOT_PROXY_AGENT_CALL_H
#define OFFSHOOT_PROXY_AGENT_CALL_H

#include "lib/net/grpc.h"
#include "lib/net/reach.h"

struct settings;

/* By the settings, with these limits; tls (borrowed): NULL: plain. */
struct grpc_client_options agent_options(
    const struct settings *set, struct grpc_tls *tls, struct grpc_limits limits);
/* The :authority of calls; borrows the settings. */
struct str agent_authority(const struct settings *set);
/* The waits, by the settings, until a call that ended is made again. */
void agent_backoff(const struct settings *set, struct backoff *ret);
/* Writes "STATUS: text" of a call's end into out[n], printable ASCII alone. */
void agent_end_text(unsigned status, struct str text, char *out, size_t n);
/* The same for other words. */
void agent_why(const char *why, char *out, size_t n);

#endif
