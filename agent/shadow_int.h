/* What the files of shadow.h share: shadow.c (its parts and its commands), shadow_rules.c (what
 * proxies are told) and shadow_status.c (what it shows and counts). Nobody else includes it. */
#ifndef OFFSHOOT_AGENT_SHADOW_INT_H
#define OFFSHOOT_AGENT_SHADOW_INT_H

#include "agent/recorder.h"
#include "agent/shadow.h"
#include "lib/base/list.h"
#include <limits.h>

#define SHADOW_MAGIC   0x53484457u
#define DARK_KEY_BYTES 16u

/* What proxies are told of a session. Of one that has ended: its dark requests may still be on
 * their way somewhere, and what they lost their context with may still come to a provider. So
 * proxies go on knowing them for a while; they are told of nothing else any more. */
enum known { KNOWN_NOT, KNOWN_ENDED, KNOWN_ENDING, KNOWN_RUNS, KNOWN };

/* The way to one trusted listener. */
struct way {
    struct list link;
    struct mirror *mirror;
    char target[];
};

struct shadow {
    uint32_t magic;
    struct shadow_options o;
    struct session_host host;
    struct capture *capture;
    struct dns *dns;
    struct keyring *keys; /* NULL: contexts are unsigned */
    struct signer *signer;
    struct recorder *recorder; /* NULL: no Redis */
    struct event *tick;
    struct list ways;
    struct session *session[SHADOW_KEPT];
    size_t nsessions;
    uint64_t busy_ms[SHADOW_KEPT]; /* when the session last ran or had something on its way */
    size_t told[KNOWN];            /* how many of each kind are in the rules told last */
    uint64_t version;              /* of these */
    unsigned char dark_key[DARK_KEY_BYTES];
    char node[SETTINGS_NODE_MAX], dir[PATH_MAX];
};

static inline bool shadow_runs(const struct session *s)
{
    return session_state(s) != SESSION_ENDED;
}
size_t shadow_running(const struct shadow *sh);

/* ---- shadow_rules.c ---- */
/* Tells all proxies what to capture. */
void shadow_tell(struct shadow *sh);
/* Sessions that have ended are known less and less. */
void shadow_forget_ended(struct shadow *sh);

#endif
