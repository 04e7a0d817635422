/* Everything an operator can set, as one struct filled from the described table in settings.c. */
#ifndef OFFSHOOT_PROXY_SETTINGS_H
#define OFFSHOOT_PROXY_SETTINGS_H

#include "lib/base/addr.h"
#include "lib/base/conf.h"
#include "lib/graph/snapshot.h"
#include "lib/net/graphsrc.h"
#include "lib/net/tls.h"
#include "lib/wire/h1.h"
#include "proxy/logwhen.h"

enum on_missing { ON_MISSING_DEFAULT, ON_MISSING_REFUSE };
enum tls_min_version { TLS_MIN_12, TLS_MIN_13 };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_OTEL };

#define PROXY_HEADER_BYTES_MAX 16384 /* of limits.proxyHeaderBytes */

struct settings {
    struct conf_list graph, listen;
    const char *keys, *trust_domain; /* keys NULL: contexts are unsigned */
    const char *gateway, *admin, *admin_group, *metrics, *state;
    const char *agent, *agent_cert, *agent_key, *agent_ca, *agent_name; /* agent NULL: static */
    const char *node, *region; /* node NULL: see settings_node */
    const char *pid_file;      /* NULL: none */
    uint32_t workers;          /* 0: one a processor */
    uint32_t on_missing;       /* enum on_missing */
    struct conf_list inject;
    struct conf_list endpoints_allow, endpoints_unix;
    bool agent_insecure, histograms, forwarded;
    bool access_log_errors;   /* only refusals, faults and 5xx */
    uint32_t tls_min_version; /* enum tls_min_version */
    const char *access_log;   /* "off", "-" (standard output) or a path */
    uint32_t access_log_format, log_level, log_format;
    struct conf_list access_log_when;
    const char *dns_servers;
    uint64_t dns_timeout;

    uint32_t limit_connections, limit_fields, limit_interim;
    uint64_t limit_head, limit_chunk_ext, limit_trailer, limit_retry, limit_proxy_header;
    uint32_t limit_provider_connections, limit_provider_pending, limit_provider_idle;
    uint32_t h2_streams, h2_streams_trusted, h2_provider_streams, h2_odd, h2_odd_refill;
    uint64_t h2_window, h2_hold;
    uint32_t limit_rate_entries;
    uint32_t limit_buffers, limit_traces, limit_busiest;
    uint32_t limit_health_targets, limit_health_checks;
    uint64_t limit_graph_file, limit_graph_total;
    uint32_t limit_graph_documents, limit_graph_nesting;
    uint64_t limit_snapshot;

    uint64_t timeout_head, timeout_idle, timeout_connect, timeout_reply, timeout_stream;
    uint64_t timeout_provider_idle, timeout_linger, timeout_removed;
    uint64_t timeout_drain, timeout_drain_delay, timeout_drain_idle, timeout_upgrade;
    uint64_t timeout_min_rate, limit_memory; /* memory 0: not judged */
    uint32_t limit_min_rate;                 /* bytes a second; 0: off */
    uint32_t overload_keep_alive, overload_streams, overload_connections; /* percent */
    uint64_t timeout_proxy_header, timeout_client_hello, timeout_tunnel;
    uint64_t timeout_agent_connect, timeout_agent_ping;
    uint64_t agent_backoff, agent_backoff_max, snapshot_ttl;
    uint32_t capture_in_flight; /* of one worker, like bytes */
    uint64_t capture_bytes, capture_body_bytes, capture_grace;

    const char *tls_ciphers;
    uint64_t tls_ticket_rotation, timeout_handshake;
    uint32_t limit_certificates, limit_handshakes;
    const char *provider_tls_ca, *provider_tls_cert, *provider_tls_key;

    /* Made from the above by settings_finish. */
    struct h1_limits h1;
    bool inject_baggage, inject_x_offshoot_context, inject_uberctx, inject_ot_baggage;
    struct log_when log_when;             /* of access_log_when and access_log_errors */
    struct endpoint_rules endpoint_rules; /* without `own`: the control thread adds those */
};

extern const struct conf_key settings_keys[];
extern const size_t settings_keys_count;

/* Judges what the table cannot (lists, combinations) and fills the derived part; settings_release
 * gives that back. 0, or -EINVAL with e naming the key and where it was written. */
int settings_finish(struct settings *s, const struct conf *c, struct err *e);
void settings_release(struct settings *s);

/* The gateway that rules: the one the settings name, or the only one. NULL with e when there is
 * none to take. */
const struct gateway *settings_gateway(
    const struct settings *set, const struct snapshot *s, struct err *e);
/* The name this proxy has for its agent: `node`, or HOSTNAME:LISTEN made of the host's name and
 * the first listener as the settings write it (what cannot stand in a name becomes '-'), so that it
 * stays the same across restarts. Up to SETTINGS_NODE_MAX bytes with the NUL. */
#define SETTINGS_NODE_MAX 254
void settings_node(const struct settings *set, char out[SETTINGS_NODE_MAX]);
/* Where the graph comes from; borrows the settings. */
struct graphsrc_options settings_graph(const struct settings *set);

/* One `--listen ADDRESS[,trusted][,from=CIDR]...`. */
struct listen_spec {
    struct addr addr; /* borrowed from the text */
    bool trusted;
    bool proxy_protocol; /* each connection begins with a PROXY header */
    bool connect;        /* CONNECT is allowed, to tcp services of the graph */
    bool sni_required;   /* tcp: a connection without a server name is refused */
    struct str tcp;      /* service that connections are relayed to; empty: HTTP */
    struct str env;      /* tcp: of this environment, whatever the client says; empty: by SNI */
    struct cidr from[8]; /* who may connect: the peer itself, not whom a PROXY header names */
    unsigned nfrom;      /* 0: anybody */
    struct str tls[8];   /* certificates, as struct tls_want has them */
    unsigned ntls;       /* 0: no TLS */
    struct str client_ca, alpn;
    uint8_t client_cert; /* enum tls_client_cert; NONE with client_ca: required */
    bool sni_strict, alpn_said;
};
/* What its certificates are read by; borrows l. */
struct tls_want settings_tls_want(const struct listen_spec *l);
/* -EINVAL with e, also for `trusted` or `proxy-protocol` off loopback without from=. tcp and env
 * are borrowed from the text. */
int listen_parse(const char *text, struct listen_spec *ret, struct err *e);

#endif
