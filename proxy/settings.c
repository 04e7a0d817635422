#include "proxy/settings.h"
#include "lib/base/conf_rules.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "proxy/tls.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#define AT(member) offsetof(struct settings, member)

#define KIB    1024u
#define MIB    (1024u * KIB)
#define GIB    (1024ull * MIB)
#define SECOND 1000u
#define MINUTE (60u * SECOND)
#define HOUR   (3600u * SECOND)

/* clang-format off */
const struct conf_key settings_keys[] = {
    { "graph", "graph", "PATH", CONF_LIST, AT(graph), NULL, 0, 0, NULL,
      "Graph files, or folders whose *.yaml, *.yml and *.json are read. May be repeated." },
    { "listen", "listen", "ADDRESS[,OPTION]...", CONF_LIST, AT(listen), NULL, 0, 0, NULL,
      "Where requests are accepted. A listener is untrusted unless it says `trusted`; one with `trusted` or `proxy-protocol` that is not on loopback needs from=CIDR. All options: docs/listeners.md. Port 0 picks a free one. May be repeated." },
    { "agent", "agent", "ADDRESS", CONF_TEXT, AT(agent), NULL, 0, 0, NULL,
      "The agent that feeds this proxy: unix:PATH, IP:port or name:port. Instead of `graph`." },
    { "agentTls.cert", "agent-cert", "FILE", CONF_TEXT, AT(agent_cert), NULL, 0, 0, NULL,
      "Certificate (PEM, with its chain) that this proxy shows to the agent. With `agentTls.key` and `agentTls.ca` the connection is TLS; read again on SIGHUP." },
    { "agentTls.key", "agent-key", "FILE", CONF_TEXT, AT(agent_key), NULL, 0, 0, NULL,
      "Key of that certificate (PEM). Others must not be able to read it." },
    { "agentTls.ca", "agent-ca", "FILE", CONF_TEXT, AT(agent_ca), NULL, 0, 0, NULL,
      "Certificates (PEM) of those who may sign the agent's." },
    { "agentTls.name", "agent-name", "NAME", CONF_TEXT, AT(agent_name), NULL, 0, 0, NULL,
      "Name that the agent's certificate must have. Empty: the host of the address." },
    { "agentInsecure", "agent-insecure", NULL, CONF_BOOL, AT(agent_insecure), "false", 0, 0, NULL,
      "Allow plain TCP to an agent that is not on loopback." },
    { "agentBackoff.first", NULL, NULL, CONF_MS, AT(agent_backoff), "200ms", 10, HOUR, NULL,
      "First wait before the agent is dialled again, doubled each time, jittered by half." },
    { "agentBackoff.max", NULL, NULL, CONF_MS, AT(agent_backoff_max), "5s", 10, HOUR, NULL,
      "Longest such wait." },
    { "node", "node", "NAME", CONF_TEXT, AT(node), NULL, 0, 0, NULL,
      "Name of this proxy for its agent: 1 to 253 of letters, digits and . _ : / -, one of its own for each proxy. Empty: the host's name, a colon and the first listener." },
    { "region", "region", "NAME", CONF_TEXT, AT(region), NULL, 0, 0, NULL,
      "Region that this proxy stands in, told to the agent; at most 63 bytes." },
    { "snapshotTtl", "snapshot-ttl", "TIME", CONF_MS, AT(snapshot_ttl), "1h", SECOND, 720 * (uint64_t)HOUR, NULL,
      "With nothing heard from the agent for this long the graph counts as stale: it is served on, `offshoot_snapshot_stale` is 1." },
    { "keys", "keys", "FILE", CONF_TEXT, AT(keys), NULL, 0, 0, NULL,
      "Keys that sign and verify contexts, one `KID SECRET` a line, the signing one first. Others must not be able to read it; read again on SIGHUP and reload. Empty: contexts are unsigned." },
    { "trustDomain", "trust-domain", "NAME", CONF_TEXT, AT(trust_domain), "offshoot", 0, 0, NULL,
      "What the proxies that trust each other's contexts have in common; part of every signature. 1 to 63 of a-z 0-9 . _ -" },
    { "gateway", "gateway", "NAME", CONF_TEXT, AT(gateway), NULL, 0, 0, NULL,
      "The Gateway document that rules this proxy. Not needed when the graph has exactly one." },
    { "admin", "admin", "SOCKET", CONF_TEXT, AT(admin), NULL, 0, 0, NULL,
      "Path of the Unix socket for status, resolve, explain and the like. Its owner and root may change things." },
    { "adminGroup", "admin-group", "GROUP", CONF_TEXT, AT(admin_group), NULL, 0, 0, NULL,
      "Members of this group may read from the admin socket." },
    { "metrics", "metrics", "ADDRESS", CONF_TEXT, AT(metrics), NULL, 0, 0, NULL,
      "TCP address that serves only /metrics, /live and /ready." },
    { "workers", "workers", "N", CONF_U32, AT(workers), "0", 0, 256, NULL,
      "Worker threads. 0: one for each processor." },
    { "state", "state", "DIR", CONF_TEXT, AT(state), NULL, 0, 0, NULL,
      "Folder for the proxy's own files. It is locked while the proxy runs, so that two proxies never share one." },
    { "pidFile", "pid-file", "PATH", CONF_TEXT, AT(pid_file), NULL, 0, 0, NULL,
      "File with the number of the process that serves, written when it is ready; after an upgrade that of the new one." },
    { "onMissing", "on-missing", "WHAT", CONF_CHOICE, AT(on_missing), "default", 0, 0, "default|refuse",
      "What a trusted listener does with a request without any context: use the gateway's defaultEnvironment, or refuse it (no-environment)." },
    { "inject", "inject", "CARRIER", CONF_LIST, AT(inject), NULL, 0, 0, NULL,
      "Headers in which the context is passed on: baggage, x-offshoot-context, uberctx-offshoot, ot-baggage-offshoot. Empty: the first two." },
    { "endpoints.allow", NULL, NULL, CONF_LIST, AT(endpoints_allow), NULL, 0, 0, NULL,
      "CIDR blocks that endpoints of the graph may lie in, judged when the graph is loaded and after each name look-up. Empty: everything but link-local and multicast. Our own listeners and admin addresses are never allowed." },
    { "endpoints.unix", NULL, NULL, CONF_LIST, AT(endpoints_unix), NULL, 0, 0, NULL,
      "Folders below which unix: endpoints may lie. Empty: nowhere." },
    { "accessLog.to", "access-log", "PATH", CONF_TEXT, AT(access_log), "off", 0, 0, NULL,
      "Where the access log goes: off, - for standard output, or a file (appended, opened again on SIGHUP)." },
    { "accessLog.format", "access-log-format", "WHAT", CONF_CHOICE, AT(access_log_format), "text", 0, 0, "text|json|otel",
      "One line a request: as text, as a JSON object, or as a JSON object with the attribute names of OpenTelemetry." },
    { "accessLog.when", NULL, NULL, CONF_LIST, AT(access_log_when), NULL, 0, 0, NULL,
      "Log only requests that one of these rules fits. A rule is one or more conditions with spaces between, which must all hold: errors, slower=500ms, status=5xx|404, class=local|refused, env=NAME, service=NAME, refusal=WORD, protocol=http1|http2|tcp, listener=trusted|untrusted, sample=1%. Empty: every request." },
    { "accessLog.errorsOnly", NULL, NULL, CONF_BOOL, AT(access_log_errors), "false", 0, 0, NULL,
      "Log only requests that were refused, failed on either side, or answered 5xx: the same as the rule `errors` in accessLog.when." },
    { "forwarded", NULL, NULL, CONF_BOOL, AT(forwarded), "false", 0, 0, NULL,
      "At untrusted listeners tell providers who asked in `forwarded` (RFC 7239) too, besides the x-forwarded-* fields." },
    { "histograms", NULL, NULL, CONF_BOOL, AT(histograms), "true", 0, 0, NULL,
      "Count how long requests and their stages take (offshoot_request_seconds, offshoot_request_stage_seconds)." },
    { "log.level", "log-level", "LEVEL", CONF_CHOICE, AT(log_level), "info", 0, 0, "error|warn|info|debug",
      "The program's own log on standard error: how much of it." },
    { "log.format", "log-format", "WHAT", CONF_CHOICE, AT(log_format), "text", 0, 0, "text|json",
      "The program's own log: text or JSON lines." },
    { "tls.minVersion", "tls-min-version", "VERSION", CONF_CHOICE, AT(tls_min_version), "1.2", 0, 0, "1.2|1.3",
      "Lowest version of TLS, at listeners and towards providers." },
    { "tls.ciphers", NULL, NULL, CONF_TEXT, AT(tls_ciphers), "ECDHE+AESGCM:ECDHE+CHACHA20:+AES256", 0, 0, NULL,
      "Ciphers for TLS 1.2, as `openssl ciphers` takes them. Those of TLS 1.3 are fixed: AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305." },
    { "tls.ticketRotation", NULL, NULL, CONF_MS, AT(tls_ticket_rotation), "12h", MINUTE, 168 * (uint64_t)HOUR, NULL,
      "How often the keys of session tickets change. A ticket is good for as long as this, made under the present key or the one before." },
    { "providerTls.ca", "provider-ca", "PATH", CONF_TEXT, AT(provider_tls_ca), NULL, 0, 0, NULL,
      "Certificates (PEM) of those who may sign providers', for services with `tls` that name no `ca`: a file, or a folder as `openssl rehash` leaves it. Empty: those of the system." },
    { "providerTls.cert", "provider-cert", "FILE", CONF_TEXT, AT(provider_tls_cert), NULL, 0, 0, NULL,
      "Certificate (PEM, with its chain) shown to providers that ask for one." },
    { "providerTls.key", "provider-key", "FILE", CONF_TEXT, AT(provider_tls_key), NULL, 0, 0, NULL,
      "Key of that certificate (PEM). Others must not be able to read it." },
    { "dns.servers", NULL, NULL, CONF_TEXT, AT(dns_servers), NULL, 0, 0, NULL,
      "Name servers as IP:port,IP:port instead of those of resolv.conf." },
    { "dns.timeout", NULL, NULL, CONF_MS, AT(dns_timeout), "2s", 10, 60 * SECOND, NULL,
      "How long one try of a name look-up may take." },

    { "limits.connections", NULL, NULL, CONF_U32, AT(limit_connections), "20000", 1, 1000000, NULL,
      "Client connections at a time, over all workers. Above: answered 503 overload." },
    { "limits.handshakes", NULL, NULL, CONF_U32, AT(limit_handshakes), "512", 1, 65535, NULL,
      "TLS handshakes of clients that one worker has under way at a time. Sixteen times as many wait for their turn; above: closed." },
    { "limits.certificates", NULL, NULL, CONF_U32, AT(limit_certificates), "1000", 1, 100000, NULL,
      "Certificates of one listener." },
    { "limits.headBytes", NULL, NULL, CONF_BYTES, AT(limit_head), "32k", 1024, 32 * KIB, NULL,
      "Size of a request's or reply's head. Above: 431 for a request, 502 bad-reply for a reply." },
    { "limits.fields", NULL, NULL, CONF_U32, AT(limit_fields), "100", 8, 1000, NULL,
      "Header fields in a head, or in a trailer section." },
    { "limits.chunkExtensionBytes", NULL, NULL, CONF_BYTES, AT(limit_chunk_ext), "256", 0, 4096, NULL,
      "Extensions of one chunk; and sixteen times that over a body." },
    { "limits.trailerBytes", NULL, NULL, CONF_BYTES, AT(limit_trailer), "8k", 256, 32 * KIB, NULL,
      "Size of a trailer section." },
    { "limits.retryBytes", NULL, NULL, CONF_BYTES, AT(limit_retry), "64k", 0, 64 * KIB, NULL,
      "Largest request body that is kept so that the request can be tried again." },
    { "limits.proxyHeaderBytes", NULL, NULL, CONF_BYTES, AT(limit_proxy_header), "4k", 256, PROXY_HEADER_BYTES_MAX, NULL,
      "Size of a PROXY header of version 2 with all it holds. Above: the connection is closed." },
    { "limits.interim", NULL, NULL, CONF_U32, AT(limit_interim), "16", 0, 1000, NULL,
      "Interim (1xx) replies passed on for one request." },
    { "limits.providerConnections", NULL, NULL, CONF_U32, AT(limit_provider_connections), "1024", 1, 65535, NULL,
      "Connections of one worker to one endpoint. Above: requests wait." },
    { "limits.providerPending", NULL, NULL, CONF_U32, AT(limit_provider_pending), "1024", 0, 65535, NULL,
      "Requests of one worker that may wait for a connection to one endpoint. Above: 503 overload." },
    { "limits.providerIdle", NULL, NULL, CONF_U32, AT(limit_provider_idle), "256", 0, 65535, NULL,
      "Unused connections of one worker kept to one endpoint." },
    { "limits.healthTargets", NULL, NULL, CONF_U32, AT(limit_health_targets), "10000", 0, 100000, NULL,
      "Endpoints that are checked at a time, of those used in the last five minutes. Above: not checked, counted as healthy." },
    { "limits.healthChecks", NULL, NULL, CONF_U32, AT(limit_health_checks), "256", 1, 10000, NULL,
      "Health checks that run at the same time. Above: they wait." },
    { "limits.buffers", NULL, NULL, CONF_U32, AT(limit_buffers), "16384", 64, 1000000, NULL,
      "Buffers of 64 KiB in use by one worker. Above: 503 overload." },
    { "limits.rateEntries", NULL, NULL, CONF_U32, AT(limit_rate_entries), "65536", 8, 4194304, NULL,
      "Sources, and environments, that a gateway's limits remember. Above: those not seen for longest are forgotten." },
    { "limits.memory", NULL, NULL, CONF_BYTES, AT(limit_memory), "0", 0, 1024 * GIB, NULL,
      "Resident memory of the process that the steps of `overload` are measured by. 0: they are not." },
    { "limits.minRate", NULL, NULL, CONF_U32, AT(limit_min_rate), "100", 0, 1000000000, NULL,
      "Bytes a second that must come of a request's head and body, and that a client must take of a reply, over timeouts.minRateWindow, while it is the client that is waited for. Below: 408 request-timeout, or the connection is closed. 0: any." },
    { "overload.keepAlive", NULL, NULL, CONF_U32, AT(overload_keep_alive), "90", 1, 100, NULL,
      "Percent of limits.connections, limits.buffers or limits.memory above which replies end their connections, and connections without a request end after a second." },
    { "overload.streams", NULL, NULL, CONF_U32, AT(overload_streams), "100", 1, 100, NULL,
      "Percent above which new requests are refused: 503 overload." },
    { "overload.connections", NULL, NULL, CONF_U32, AT(overload_connections), "100", 1, 100, NULL,
      "Percent above which new connections are refused: answered 503 overload and ended." },
    { "limits.traces", NULL, NULL, CONF_U32, AT(limit_traces), "4096", 16, 1000000, NULL,
      "Traces whose hop records are remembered (64 records each, 30 s)." },
    { "limits.busiest", NULL, NULL, CONF_U32, AT(limit_busiest), "100", 0, 10000, NULL,
      "Environments, and services, with a line of their own in /metrics: the busiest ones; the rest is `other`." },
    { "limits.graphFileBytes", NULL, NULL, CONF_BYTES, AT(limit_graph_file), "64MiB", 1024, 4 * GIB, NULL,
      "Size of one graph file." },
    { "limits.graphBytes", NULL, NULL, CONF_BYTES, AT(limit_graph_total), "1GiB", 1024, 16 * GIB, NULL,
      "Size of all graph files together." },
    { "limits.graphDocuments", NULL, NULL, CONF_U32, AT(limit_graph_documents), "1000000", 1, 10000000, NULL,
      "Documents in all graph files together." },
    { "limits.graphNesting", NULL, NULL, CONF_U32, AT(limit_graph_nesting), "32", 8, 256, NULL,
      "Nesting of a graph document." },
    { "limits.snapshotBytes", NULL, NULL, CONF_BYTES, AT(limit_snapshot), "256MiB", 64 * KIB, 16 * GIB, NULL,
      "Size of one graph or difference from the agent, and memory of a compiled graph. Above: refused as TOO_BIG." },

    { "capture.inFlight", NULL, NULL, CONF_U32, AT(capture_in_flight), "64", 1, 65535, NULL,
      "Sampled requests that one worker tells the agent of at a time, for its sessions (docs/shadow.md). Above: not told, counted as `in-flight`." },
    { "capture.bytes", NULL, NULL, CONF_BYTES, AT(capture_bytes), "64MiB", 64 * KIB, 16 * GIB, NULL,
      "Memory of captured traffic of one worker that may wait for the agent. Above: not told, counted as `memory`." },
    { "capture.bodyBytes", NULL, NULL, CONF_BYTES, AT(capture_body_bytes), "1MiB", 0, GIB, NULL,
      "Largest body of a sampled request, and of its reply. Above: not told, counted as `body`." },
    { "capture.grace", NULL, NULL, CONF_MS, AT(capture_grace), "30s", 10, HOUR, NULL,
      "How long the sessions that an agent told of stay in force once its stream has ended, unless it tells of them again." },

    { "http2.streams", NULL, NULL, CONF_U32, AT(h2_streams), "256", 1, 65535, NULL,
      "Requests at a time on one HTTP/2 connection of an untrusted listener, as told to the client." },
    { "http2.trustedStreams", NULL, NULL, CONF_U32, AT(h2_streams_trusted), "1024", 1, 65535, NULL,
      "The same for trusted listeners." },
    { "http2.providerStreams", NULL, NULL, CONF_U32, AT(h2_provider_streams), "100", 1, 65535, NULL,
      "Requests at a time on one HTTP/2 connection to a provider, if the provider allows as many. Above: another connection." },
    { "http2.window", NULL, NULL, CONF_BYTES, AT(h2_window), "65535", 1024, 65535, NULL,
      "Bytes of one stream's body that may have come and wait to be passed on." },
    { "http2.connectionHold", NULL, NULL, CONF_BYTES, AT(h2_hold), "4MiB", 64 * KIB, GIB, NULL,
      "The same for all streams of one connection together." },
    { "http2.oddFrames", NULL, NULL, CONF_U32, AT(h2_odd), "1000", 10, 1000000, NULL,
      "Frames that get nobody anywhere (resets before the reply, PING, SETTINGS, empty DATA and the like) which one connection may send at once. Above: closed with ENHANCE_YOUR_CALM." },
    { "http2.oddFramesPerSecond", NULL, NULL, CONF_U32, AT(h2_odd_refill), "33", 0, 1000000, NULL,
      "How many such frames a second that budget earns back. Each request served earns back one more." },

    { "timeouts.head", NULL, NULL, CONF_MS, AT(timeout_head), "10s", 1, HOUR, NULL,
      "From the first byte of a request to the end of its head." },
    { "timeouts.handshake", NULL, NULL, CONF_MS, AT(timeout_handshake), "10s", 1, HOUR, NULL,
      "From the start of a client's connection to the end of its TLS handshake." },
    { "timeouts.idle", NULL, NULL, CONF_MS, AT(timeout_idle), "75s", 1, 24 * HOUR, NULL,
      "How long a client connection may wait for its next request." },
    { "timeouts.connect", NULL, NULL, CONF_MS, AT(timeout_connect), "1s", 1, HOUR, NULL,
      "To get a connection to a provider, unless the service's policy says otherwise." },
    { "timeouts.reply", NULL, NULL, CONF_MS, AT(timeout_reply), "15s", 1, 24 * HOUR, NULL,
      "From the request sent to the reply's head, unless the service's policy says otherwise." },
    { "timeouts.stream", NULL, NULL, CONF_MS, AT(timeout_stream), "60s", 1, 24 * HOUR, NULL,
      "Longest pause in a body, on either side." },
    { "timeouts.providerIdle", NULL, NULL, CONF_MS, AT(timeout_provider_idle), "60s", 1, 24 * HOUR, NULL,
      "How long an unused provider connection is kept." },
    { "timeouts.linger", NULL, NULL, CONF_MS, AT(timeout_linger), "1s", 1, 60 * SECOND, NULL,
      "How long a closing connection is still read, so that the reply arrives. Begins anew while the client takes what is left of it." },
    { "timeouts.minRateWindow", NULL, NULL, CONF_MS, AT(timeout_min_rate), "10s", 100, HOUR, NULL,
      "Time over which limits.minRate is measured." },
    { "timeouts.proxyHeader", NULL, NULL, CONF_MS, AT(timeout_proxy_header), "5s", 1, HOUR, NULL,
      "From the accept to the end of the PROXY header, at listeners with `proxy-protocol`." },
    { "timeouts.clientHello", NULL, NULL, CONF_MS, AT(timeout_client_hello), "3s", 1, HOUR, NULL,
      "How long a `tcp` listener waits for the first bytes that may hold a server name. A client that says nothing is then relayed without one; one that has begun is closed." },
    { "timeouts.tunnel", NULL, NULL, CONF_MS, AT(timeout_tunnel), "1h", 1, 720 * (uint64_t)HOUR, NULL,
      "Longest time without a byte either way in a tunnel (WebSocket, another upgrade, CONNECT, TCP)." },
    { "timeouts.drain", NULL, NULL, CONF_MS, AT(timeout_drain), "30s", 1, 24 * HOUR, NULL,
      "When draining: how long running requests may take, from the moment at which nothing is accepted any more." },
    { "timeouts.drainDelay", NULL, NULL, CONF_MS, AT(timeout_drain_delay), "0s", 0, HOUR, NULL,
      "On SIGTERM: how long new connections are still accepted while `/ready` says 503 and replies end their connections, so that whoever balances load can look elsewhere." },
    { "timeouts.drainIdle", NULL, NULL, CONF_MS, AT(timeout_drain_idle), "2s", 0, HOUR, NULL,
      "When draining: a connection without a request ends once it has been idle for this long. Until then it may have one more, answered with `Connection: close`." },
    { "timeouts.upgrade", NULL, NULL, CONF_MS, AT(timeout_upgrade), "30s", 100, HOUR, NULL,
      "How long the new process of an upgrade may take until it serves. After that it is ended, and the old one goes on." },
    { "timeouts.removed", NULL, NULL, CONF_MS, AT(timeout_removed), "30s", 1, 24 * HOUR, NULL,
      "How long requests and streams may go on whose environment was removed, or whose endpoint was disabled." },
    { "timeouts.agentConnect", NULL, NULL, CONF_MS, AT(timeout_agent_connect), "5s", 10, HOUR, NULL,
      "To reach the agent: name look-up, connect and TLS together." },
    { "timeouts.agentPing", NULL, NULL, CONF_MS, AT(timeout_agent_ping), "20s", 100, HOUR, NULL,
      "The agent's connection is probed when it was silent for this long, and given up when that stays without an answer for as long again." },
};
/* clang-format on */
const size_t settings_keys_count = sizeof settings_keys / sizeof settings_keys[0];

static int finish_inject(struct settings *s, const struct conf *c, struct err *e)
{
    static const char *const words[] = {
        "baggage", "x-offshoot-context", "uberctx-offshoot", "ot-baggage-offshoot"};
    bool *const flags[] = {&s->inject_baggage, &s->inject_x_offshoot_context, &s->inject_uberctx,
        &s->inject_ot_baggage};
    s->inject_baggage = s->inject_x_offshoot_context = s->inject.n == 0;
    for (size_t i = 0; i < s->inject.n; i++) {
        size_t k = 0;
        while (k < 4 && strcmp(words[k], s->inject.item[i]) != 0)
            k++;
        if (k == 4) {
            const char *near = conf_nearest(s->inject.item[i], words, 4);
            return err_set(e, -EINVAL, "%s: inject: unknown carrier '%s'%s%s%s",
                conf_origin(c, "inject"), s->inject.item[i], near ? ", did you mean '" : "",
                near ? near : "", near ? "'?" : "");
        }
        *flags[k] = true;
    }
    return 0;
}

static bool node_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("._:/-", c));
}

void settings_node(const struct settings *set, char out[SETTINGS_NODE_MAX])
{
    char host[65] = "";
    if (set->node) {
        snprintf(out, SETTINGS_NODE_MAX, "%s", set->node);
        return;
    }
    if (gethostname(host, sizeof host - 1) != 0 || !*host)
        snprintf(host, sizeof host, "proxy");
    struct str listen = str_c(set->listen.n ? set->listen.item[0] : "");
    listen.n = str_find(listen, ',');
    snprintf(out, SETTINGS_NODE_MAX, "%s:%.*s", host, STR_ARG(listen));
    for (char *c = out; *c; c++)
        if (!node_char(*c))
            *c = '-';
}

static int finish_agent(const struct settings *s, const struct conf *c, struct err *e)
{
    size_t n = s->node ? strlen(s->node) : 1, i = 0;
    while (s->node && i < n && node_char(s->node[i]))
        i++;
    if (n == 0 || n >= SETTINGS_NODE_MAX || (s->node && i < n))
        return err_set(e, -EINVAL, "%s: node: not 1 to 253 of letters, digits and . _ : / - '%s'",
            conf_origin(c, "node"), s->node);
    if (s->region && (strlen(s->region) > 63 || utf8_check(str_c(s->region)) != strlen(s->region)))
        return err_set(e, -EINVAL, "%s: region: not UTF-8 of at most 63 bytes '%s'",
            conf_origin(c, "region"), s->region);
    if (s->agent_backoff_max < s->agent_backoff)
        return err_set(e, -EINVAL, "%s: agentBackoff.max is below agentBackoff.first",
            conf_origin(c, "agentBackoff.max"));
    unsigned files = !!s->agent_cert + !!s->agent_key + !!s->agent_ca;
    if (files != 0 && files != 3)
        return err_set(e, -EINVAL, "agentTls: cert, key and ca belong together");
    if (!s->provider_tls_cert != !s->provider_tls_key)
        return err_set(e, -EINVAL, "providerTls: cert and key belong together");
    return 0;
}

/* errorsOnly is one rule more. */
static int finish_log(struct settings *s, const struct conf *c, struct err *e)
{
    size_t n = s->access_log_when.n;
    const char **rules = mem_array(n + 1, sizeof *rules);
    if (!rules)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        rules[i] = s->access_log_when.item[i];
    if (s->access_log_errors)
        rules[n++] = "errors";
    int rc = log_when_parse(&s->log_when, rules, n, e);
    mem_free(rules);
    return rc ? err_prefix(e, "%s: accessLog.when", conf_origin(c, "accessLog.when")) : 0;
}

int settings_finish(struct settings *s, const struct conf *c, struct err *e)
{
    s->h1 = (struct h1_limits){.head_bytes = (uint32_t)s->limit_head,
        .chunk_ext_bytes = (uint32_t)s->limit_chunk_ext,
        .trailer_bytes = (uint32_t)s->limit_trailer,
        .fields = (uint16_t)s->limit_fields};
    int rc = finish_inject(s, c, e);
    rc = rc ? rc : finish_agent(s, c, e);
    rc = rc ? rc : finish_log(s, c, e);
    return rc ? rc : conf_rules(c, &s->endpoints_allow, &s->endpoints_unix, &s->endpoint_rules, e);
}

void settings_release(struct settings *s)
{
    conf_rules_release(&s->endpoint_rules);
    log_when_release(&s->log_when);
}

const struct gateway *settings_gateway(
    const struct settings *set, const struct snapshot *s, struct err *e)
{
    const struct gateway *g =
        set->gateway ? snapshot_gateway(s, str_c(set->gateway)) : snapshot_only_gateway(s);
    if (!g && set->gateway)
        err_set(e, -EINVAL, "the graph has no Gateway named '%s'", set->gateway);
    else if (!g)
        err_set(e, -EINVAL,
            "the graph has no Gateway, or several: name the one that rules here with --gateway");
    return g;
}

struct graphsrc_options settings_graph(const struct settings *set)
{
    struct graphsrc_options o = {.paths = set->graph.item,
        .npaths = set->graph.n,
        .files = FILE_LIMITS_DEFAULT,
        .load = {set->limit_graph_nesting, set->limit_graph_documents}};
    o.files.file_bytes = set->limit_graph_file;
    o.files.total_bytes = set->limit_graph_total;
    return o;
}

static int listen_name(
    struct str word, size_t from, const char *what, struct str *ret, struct err *e)
{
    struct str name = str_from(word, from);
    if (!name_valid(name))
        return err_set(e, -EINVAL, "not the name of a%s %s '%.*s'", *what == 'e' ? "n" : "", what,
            STR_ARG(name));
    *ret = name;
    return 0;
}

static int listen_option(struct str word, struct listen_spec *l, struct err *e)
{
    if (str_eq(word, STR("trusted"))) {
        l->trusted = true;
        return 0;
    }
    if (str_starts(word, STR("from="))) {
        if (l->nfrom == sizeof l->from / sizeof l->from[0])
            return err_set(e, -EINVAL, "more than %u from= blocks", l->nfrom);
        int rc = cidr_parse(str_from(word, 5), &l->from[l->nfrom], e);
        l->nfrom += rc == 0;
        return rc;
    }
    if (str_eq(word, STR("proxy-protocol"))) {
        l->proxy_protocol = true;
        return 0;
    }
    if (str_eq(word, STR("connect"))) {
        l->connect = true;
        return 0;
    }
    if (str_eq(word, STR("sni=required"))) {
        l->sni_required = true;
        return 0;
    }
    if (str_starts(word, STR("tcp=")))
        return listen_name(word, 4, "service", &l->tcp, e);
    if (str_starts(word, STR("env=")))
        return listen_name(word, 4, "environment", &l->env, e);
    int rc = tls_listen_option(word, l, e);
    if (rc <= 0)
        return rc;
    return err_set(e, -EINVAL,
        "unknown option '%.*s' (known: trusted, from=CIDR, proxy-protocol, connect, tcp=SERVICE, "
        "env=NAME, sni=required, " TLS_LISTEN_OPTIONS ")",
        STR_ARG(word));
}

static int listen_together(const struct listen_spec *l, struct err *e)
{
    bool off_loopback = !addr_is_loopback(&l->addr) && l->nfrom == 0;
    bool known_by_cert = settings_tls_want(l).client_cert == TLS_CLIENT_REQUIRED;
    if (tls_listen_together(l, e) != 0)
        return -EINVAL;
    if (off_loopback && l->trusted && !known_by_cert)
        return err_set(e, -EINVAL,
            "a trusted listener that is not on loopback needs from=CIDR, or client certificates "
            "(client-ca=)");
    if (off_loopback && l->proxy_protocol)
        return err_set(
            e, -EINVAL, "proxy-protocol on a listener that is not on loopback needs from=CIDR");
    if (l->tcp.n == 0 && (l->env.n || l->sni_required))
        return err_set(e, -EINVAL, "env= and sni=required belong to tcp=SERVICE");
    if (l->tcp.n && l->connect)
        return err_set(e, -EINVAL, "connect is for HTTP, tcp= is not");
    if (l->env.n && l->sni_required)
        return err_set(
            e, -EINVAL, "with env= no server name is looked for: leave sni=required out");
    return 0;
}

int listen_parse(const char *text, struct listen_spec *ret, struct err *e)
{
    struct listen_spec l = {0};
    struct str rest = str_c(text);
    size_t comma = str_find(rest, ',');
    if (addr_parse(str_of(rest.p, comma), true, &l.addr, e) != 0)
        return err_prefix(e, "listen '%s'", text);
    if (l.addr.kind != ADDR_IP4 && l.addr.kind != ADDR_IP6 && l.addr.kind != ADDR_UNIX)
        return err_set(e, -EINVAL, "listen '%s': not an IP address or unix: path", text);
    while (comma < rest.n) {
        rest = str_from(rest, comma + 1);
        comma = str_find(rest, ',');
        if (listen_option(str_of(rest.p, comma), &l, e) != 0)
            return err_prefix(e, "listen '%s'", text);
    }
    if (listen_together(&l, e) != 0)
        return err_prefix(e, "listen '%s'", text);
    *ret = l;
    return 0;
}
