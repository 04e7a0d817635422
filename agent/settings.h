/* Everything an operator can set, as one struct filled from the described table in settings.c. */
#ifndef OFFSHOOT_AGENT_SETTINGS_H
#define OFFSHOOT_AGENT_SETTINGS_H

#include "agent/history.h"
#include "lib/base/addr.h"
#include "lib/base/conf.h"
#include "lib/net/graphsrc.h"

struct settings {
    struct conf_list graph, listen;
    const char *tls_cert, *tls_key, *tls_ca;
    struct conf_list proxies_allow;
    const char *admin, *admin_group, *metrics, *state;
    struct conf_list endpoints_allow, endpoints_unix;
    uint32_t retain_epochs;
    uint64_t retain_bytes;
    uint64_t stage_timeout, retire_after, heartbeat;
    uint32_t own_max;
    uint64_t own_max_life, own_keep;
    uint32_t limit_proxies, limit_connections;
    uint64_t limit_message;
    uint64_t limit_graph_file, limit_graph_total;
    uint32_t limit_graph_documents, limit_graph_nesting;
    bool new_history;
    const char *follows;
    uint32_t log_level, log_format;
    const char *node;                /* NULL: see settings_node */
    const char *keys, *trust_domain; /* keys NULL: contexts are unsigned */
    const char *shadow_through;      /* NULL: sessions name it */
    uint32_t shadow_sessions, shadow_in_flight, shadow_segments;
    uint64_t shadow_bytes, shadow_body, shadow_timeout, shadow_linger, shadow_hop_wait,
        shadow_segment_bytes, shadow_message;
    bool shadow_messages;
    const char *redis, *redis_user, *redis_password_file; /* redis NULL: journals only */
    uint64_t redis_connect, redis_command;

    /* Made from the above by settings_finish. */
    struct endpoint_rules endpoint_rules; /* without `own`: the control adds those */
    unsigned char follows_history[HISTORY_ID];
    uint64_t follows_epoch; /* 0: not said */
};
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

extern const struct conf_key settings_keys[];
extern const size_t settings_keys_count;

/* Judges what the table cannot (lists, combinations) and fills the derived part; settings_release
 * gives that back. 0, or -EINVAL with e naming the key and where it was written. */
int settings_finish(struct settings *s, const struct conf *c, struct err *e);
void settings_release(struct settings *s);
/* What serving needs besides: where to listen, where to keep the history. -EINVAL with e. */
int settings_needed(const struct settings *s, struct err *e);

/* The name this agent has beside others: `node`, or the host's name, with '-' for what cannot stand
 * in it. Up to SETTINGS_NODE_MAX bytes with the NUL. */
#define SETTINGS_NODE_MAX 65
void settings_node(const struct settings *set, char out[SETTINGS_NODE_MAX]);

/* Where the graph comes from; borrows the settings. */
struct graphsrc_options settings_graph(const struct settings *set);
struct history_options settings_history(const struct settings *set);

/* One `--listen ADDRESS[,tls][,insecure]`. */
struct listen_spec {
    struct addr addr; /* borrowed from the text */
    bool tls, insecure;
};
/* -EINVAL with e, also for a plain TCP address off loopback without `insecure`. */
int listen_parse(const char *text, struct listen_spec *ret, struct err *e);

/* A name, or a pattern in which one `*` stands for any text, also none. */
bool name_matches(const char *pattern, const char *name);

#endif
