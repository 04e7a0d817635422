#include "proxy/stats.h"
#include "proxy/overload.h"

static const char *const client_close_words[CLIENT_CLOSE_COUNT] = {"client", "idle",
    "client-in-head", "head-timeout", "bad-request", "half-close", "client-reset", "client-in-body",
    "body-timeout", "stalled", "early-reply", "done", "refused", "provider", "deadline", "drain",
    "no-memory", "proxy-header", "too-large", "tls", "removed", "too-slow", "overload"};
static const char *const provider_error_words[PROVIDER_ERROR_COUNT] = {"refused", "connect-timeout",
    "name", "pending-timeout", "pending-full", "closed", "closed-in-head", "closed-in-body",
    "malformed", "reply-timeout", "stalled", "extra-bytes", "tls"};
static const char *const provider_close_words[PROVIDER_CLOSE_COUNT] = {
    "idle-readable", "idle", "full", "done", "abort", "drain"};
static const char *const spoken_words[SPOKEN_COUNT] = {"http1", "http2", "tcp"};
static const char *const stage_words[STAGE_COUNT] = {
    "accept", "tls", "head", "connect", "first_byte"};
static const char *const reply_words[5] = {"1xx", "2xx", "3xx", "4xx", "5xx"};

const char *spoken_word(enum spoken s)
{
    return spoken_words[s];
}

const char *stage_word(enum stage s)
{
    return stage_words[s];
}

const char *client_close_word(enum client_close c)
{
    return client_close_words[c];
}

const char *provider_error_word(enum provider_error p)
{
    return provider_error_words[p];
}

static const char *class_word(unsigned i)
{
    return i ? decision_class_word(i) : "refused";
}
static const char *rule_word(unsigned i)
{
    return i ? context_rule_word(i) : "none";
}
static const char *refusal_label(unsigned i)
{
    return i ? refusal_word(i) : "none";
}
static const char *fault_label(unsigned i)
{
    return i ? context_fault_word(i) : "none";
}
static const char *h1_label(unsigned i)
{
    return i ? h1_error_word(i) : "none";
}
static const char *h2_label(unsigned i)
{
    return i ? h2_error_word(i) : "none";
}
static const char *h2_odd_label(unsigned i)
{
    return h2_odd_word(i);
}
static const char *reply_label(unsigned i)
{
    return reply_words[i];
}
static const char *code_label(unsigned i)
{
    return i ? reply_words[i - 1] : "none";
}
static const char *stage_label(unsigned i)
{
    return stage_words[i];
}
static const char *client_close_label(unsigned i)
{
    return client_close_words[i];
}
static const char *provider_error_label(unsigned i)
{
    return provider_error_words[i];
}
static const char *provider_close_label(unsigned i)
{
    return provider_close_words[i];
}

static const char *nack_label(unsigned i)
{
    static const char *const words[NACK_REASONS] = {
        "bad-digest", "base-unknown", "invalid-graph", "too-big", "stale", "unsupported"};
    return words[i];
}

static const char *capture_drop_label(unsigned i)
{
    static const char *const words[CAPTURE_REASONS] = {
        "in-flight", "memory", "body", "aborted", "retried", "tunnel", "head", "disconnected"};
    return words[i];
}
static const char *hop_label(unsigned i)
{
    static const char *const words[CAPTURE_HOP_KINDS] = {"sampled", "dark", "lost", "blocked"};
    return words[i];
}

static const char *proxy_header_label(unsigned i)
{
    return i ? proxyproto_error_word(i) : "ok";
}
static const char *server_name_label(unsigned i)
{
    return i ? clienthello_error_word(i) : "ok";
}
static const char *tunnel_label(unsigned i)
{
    static const char *const words[TUNNEL_KINDS] = {"upgrade", "connect", "tcp"};
    return words[i];
}
static const char *tunnel_end_label(unsigned i)
{
    static const char *const words[TUNNEL_END_COUNT] = {
        "aborted", "closed", "idle", "client-reset", "provider-reset", "no-memory"};
    return words[i];
}

static const char *limited_label(unsigned i)
{
    static const char *const words[LIMITED_COUNT] = {
        "source-rate", "source-connections", "environment-rate", "environment-concurrent"};
    return words[i];
}

static const char *tls_label(unsigned i)
{
    return tls_failure_word(i);
}

static const char *overload_label(unsigned i)
{
    return overload_step_word(i + 1);
}

static const char *dribble_label(unsigned i)
{
    static const char *const words[] = {"head", "request", "reply"};
    return words[i];
}

static const struct counter_family families[] = {
    {STAT_OVERLOAD_ENTERED, OVERLOAD_STEPS, "offshoot_overload_steps_total", "step", overload_label,
        "Times that a worker took a step of overload."},
    {STAT_OVERLOAD_REFUSED, OVERLOAD_STEPS, "offshoot_overload_refused_total", "step",
        overload_label,
        "What overload was paid with: replies that ended their connections, requests refused, "
        "connections refused."},
    {STAT_DRIBBLED_HEADS, 3, "offshoot_dribbles_total", "direction", dribble_label,
        "Clients cut because they were below limits.minRate."},
    {STAT_TLS_FAILURES, TLS_FAIL_COUNT, "offshoot_tls_failures_total", "reason", tls_label,
        "TLS connections of clients that failed, by reason."},
    {STAT_PROVIDER_TLS_FAILURES, TLS_FAIL_COUNT, "offshoot_provider_tls_failures_total", "reason",
        tls_label, "TLS connections to providers that failed, by reason."},
    {STAT_REQUESTS, CLASS_SHARED + 1, "offshoot_requests_total", "class", class_word,
        "Requests by the class of their decision; dark ones are not among them."},
    {STAT_RULES, RULE_DEFAULT + 1, "offshoot_context_rules_total", "rule", rule_word,
        "Requests by how their context was found."},
    {STAT_REFUSALS, REFUSAL_COUNT, "offshoot_refusals_total", "reason", refusal_label,
        "Requests refused, by the word of the refusal."},
    {STAT_FAULTS, CONTEXT_FAULT_COUNT, "offshoot_context_faults_total", "reason", fault_label,
        "Requests whose context was present but unusable."},
    {STAT_BAD_REQUESTS, H1_ERROR_COUNT, "offshoot_bad_requests_total", "reason", h1_label,
        "Requests refused as not being HTTP as we read it."},
    {STAT_BAD_REPLIES, H1_ERROR_COUNT, "offshoot_bad_replies_total", "reason", h1_label,
        "Provider replies refused as not being HTTP as we read it."},
    {STAT_REPLIES, 5, "offshoot_replies_total", "code", reply_label,
        "Replies sent to clients, by class of status."},
    {STAT_CLIENT_CLOSES, CLIENT_CLOSE_COUNT, "offshoot_client_closes_total", "reason",
        client_close_label, "Client connections closed, by reason."},
    {STAT_PROVIDER_ERRORS, PROVIDER_ERROR_COUNT, "offshoot_provider_errors_total", "reason",
        provider_error_label, "Tries at providers that failed, by reason."},
    {STAT_PROVIDER_CLOSES, PROVIDER_CLOSE_COUNT, "offshoot_provider_closes_total", "reason",
        provider_close_label, "Provider connections closed, by reason."},
    {STAT_LIMITED, LIMITED_COUNT, "offshoot_limited_total", "limit", limited_label,
        "Connections and requests over a limit of the gateway."},
    {STAT_NACKS, NACK_REASONS, "offshoot_nacks_total", "reason", nack_label,
        "What the agent sent and this proxy refused, by reason."},
    {STAT_BAD_H2_REQUESTS, H2_ERROR_COUNT, "offshoot_bad_http2_requests_total", "reason", h2_label,
        "HTTP/2 requests refused as not being HTTP as we read it."},
    {STAT_BAD_H2_REPLIES, H2_ERROR_COUNT, "offshoot_bad_http2_replies_total", "reason", h2_label,
        "HTTP/2 replies of providers refused as not being HTTP as we read it."},
    {STAT_H2_ODD, H2_ODD_COUNT, "offshoot_http2_odd_frames_total", "kind", h2_odd_label,
        "Frames of HTTP/2 clients that are paid from the budget http2.oddFrames."},
    {STAT_H2_PROVIDER_ODD, H2_ODD_COUNT, "offshoot_http2_provider_odd_frames_total", "kind",
        h2_odd_label, "Frames of HTTP/2 providers that are paid from the budget http2.oddFrames."},
    {STAT_STREAM_CLOSES, CLIENT_CLOSE_COUNT, "offshoot_stream_closes_total", "reason",
        client_close_label, "HTTP/2 streams of clients ended, by reason."},
    {STAT_PROXY_HEADERS, PROXYPROTO_ERROR_COUNT, "offshoot_proxy_headers_total", "result",
        proxy_header_label, "PROXY headers read, and connections closed for want of a right one."},
    {STAT_SERVER_NAMES, CLIENTHELLO_ERROR_COUNT, "offshoot_server_names_total", "result",
        server_name_label,
        "Looks at the first bytes of connections to tcp listeners: a ClientHello, no TLS "
        "(not-tls), "
        "or why the connection was closed."},
    {STAT_TUNNELS, TUNNEL_KINDS, "offshoot_tunnels_total", "kind", tunnel_label,
        "Tunnels begun, by what they came from."},
    {STAT_TUNNEL_ENDS, TUNNEL_END_COUNT, "offshoot_tunnel_ends_total", "reason", tunnel_end_label,
        "Tunnels ended, by reason."},
    {STAT_CAPTURE_DROPPED, CAPTURE_REASONS, "offshoot_capture_dropped_total", "reason",
        capture_drop_label, "Sampled requests that the agent was not told of whole, by reason."},
    {STAT_CAPTURE_HOPS, CAPTURE_HOP_KINDS, "offshoot_capture_hops_total", "kind", hop_label,
        "Requests of sampled and of dark traces that passed, by kind."},
};

static const struct counter_family histograms[] = {
    {STAT_REQUEST_SECONDS, 6, "offshoot_request_seconds", "code", code_label,
        "How long requests took in all, by class of status; none: nothing was sent."},
    {STAT_STAGE_SECONDS, STAGE_COUNT, "offshoot_request_stage_seconds", "stage", stage_label,
        "How long the stages of requests took; accept and tls: once a connection."},
};

static const struct counter_single singles[] = {
    {STAT_TLS_HANDSHAKES,
        {"offshoot_tls_handshakes_total", "", "Full TLS handshakes of clients.", 0}},
    {STAT_TLS_RESUMED,
        {"offshoot_tls_resumed_total", "", "TLS handshakes of clients by a session ticket.", 0}},
    {STAT_PROVIDER_TLS_HANDSHAKES,
        {"offshoot_provider_tls_handshakes_total", "", "TLS handshakes with providers.", 0}},
    {STAT_TLS_LOADS,
        {"offshoot_tls_loads_total", "", "Times that all certificates were read again.", 0}},
    {STAT_TLS_LOADS_REFUSED, {"offshoot_tls_loads_refused_total", "",
                                 "Times that certificates were read again and some were bad; those "
                                 "listeners kept theirs.",
                                 0}},
    {STAT_TLS_ROTATIONS, {"offshoot_tls_ticket_rotations_total", "",
                             "Times that the keys of session tickets changed.", 0}},
    {STAT_TLS_HANDSHAKES_NOW,
        {"offshoot_tls_handshakes", "", "TLS handshakes of clients under way now.", 1}},
    {STAT_TLS_EXPIRES,
        {"offshoot_tls_certificate_expiry_seconds", "",
            "When the first of the listeners' certificates expires, in Unix seconds; 0: there are "
            "none.",
            1}},
    {STAT_PROTOCOL_REQUESTS + 0,
        {"offshoot_protocol_requests_total", "protocol=\"http1\",listener=\"untrusted\"",
            "Requests begun, by the protocol of the client and the kind of listener.", 0}},
    {STAT_PROTOCOL_REQUESTS + 1,
        {"offshoot_protocol_requests_total", "protocol=\"http1\",listener=\"trusted\"",
            "Requests begun, by the protocol of the client and the kind of listener.", 0}},
    {STAT_PROTOCOL_REQUESTS + 2,
        {"offshoot_protocol_requests_total", "protocol=\"http2\",listener=\"untrusted\"",
            "Requests begun, by the protocol of the client and the kind of listener.", 0}},
    {STAT_PROTOCOL_REQUESTS + 3,
        {"offshoot_protocol_requests_total", "protocol=\"http2\",listener=\"trusted\"",
            "Requests begun, by the protocol of the client and the kind of listener.", 0}},
    {STAT_PROTOCOL_REQUESTS + 4,
        {"offshoot_protocol_requests_total", "protocol=\"tcp\",listener=\"untrusted\"",
            "Requests begun, by the protocol of the client and the kind of listener.", 0}},
    {STAT_PROTOCOL_REQUESTS + 5,
        {"offshoot_protocol_requests_total", "protocol=\"tcp\",listener=\"trusted\"",
            "Requests begun, by the protocol of the client and the kind of listener.", 0}},
    {STAT_CONTEXT_FOREIGN,
        {"offshoot_context_foreign_total", "",
            "Context carriers removed without being believed, at untrusted listeners.", 0}},
    {STAT_STREAMS, {"offshoot_streams_total", "", "HTTP/2 streams opened by clients.", 0}},
    {STAT_PINS_IGNORED,
        {"offshoot_pins_ignored_total", "",
            "Contexts with a pin: a proxy without an agent holds one graph and ignores pins.", 0}},
    {STAT_PINS_FOLLOWED,
        {"offshoot_pins_followed_total", "",
            "Requests decided in the epoch that their pin asks for, which is not the active one.",
            0}},
    {STAT_SKEW,
        {"offshoot_skew_total", "skew=\"behind\"",
            "Requests whose pinned epoch is not held: this proxy is behind, or it was retired.",
            0}},
    {STAT_SKEW_LAST,
        {"offshoot_skew_total", "skew=\"expired\"",
            "Requests whose pinned epoch is not held: this proxy is behind, or it was retired.",
            0}},
    {STAT_MOVED, {"offshoot_redirects_total", "by=\"route\"",
                     "Requests answered with a redirect that their route asks for.", 0}},
    {STAT_MOVED_HTTPS, {"offshoot_redirects_total", "by=\"https\"",
                           "Requests answered with a redirect that their route asks for.", 0}},
    {STAT_LIMITS_FORGOTTEN,
        {"offshoot_limits_forgotten_total", "",
            "Sources or environments that were forgotten although they were near their rate: "
            "limits.rateEntries is too low.",
            0}},
    {STAT_LIMITS_UNCOUNTED,
        {"offshoot_limits_uncounted_total", "",
            "Connections or requests that no limit could count: limits.rateEntries is too low.",
            0}},
    {STAT_SHARE_LINKS,
        {"offshoot_share_links_total", "answer=\"link\"",
            "Share links answered by a redirect that sets the cookie, or takes it away (leave).",
            0}},
    {STAT_SHARE_LEFT,
        {"offshoot_share_links_total", "answer=\"leave\"",
            "Share links answered by a redirect that sets the cookie, or takes it away (leave).",
            0}},
    {STAT_SHARE_EXPIRED, {"offshoot_share_cookies_expired_total", "",
                             "Cookies of share links expired because they led to a refusal.", 0}},
    {STAT_BAGGAGE_FULL, {"offshoot_baggage_full_total", "",
                            "Requests whose baggage had no room for the context.", 0}},
    {STAT_BAGGAGE_CUT,
        {"offshoot_baggage_cut_total", "",
            "Requests whose baggage was beyond the limits: the rest was not passed on.", 0}},
    {STAT_RETRIES, {"offshoot_retries_total", "", "Requests sent again on another connection.", 0}},
    {STAT_RETRIES_DENIED,
        {"offshoot_retries_denied_total", "",
            "Retries after a failed connect that the retry budget did not allow.", 0}},
    {STAT_BUDGET_CONNECTIONS,
        {"offshoot_budget_reached_total", "budget=\"connections\"",
            "Times that a budget of a service's policy was reached at an endpoint.", 0}},
    {STAT_BUDGET_PENDING,
        {"offshoot_budget_reached_total", "budget=\"pending\"",
            "Times that a budget of a service's policy was reached at an endpoint.", 0}},
    {STAT_BUDGET_REQUESTS,
        {"offshoot_budget_reached_total", "budget=\"requests\"",
            "Times that a budget of a service's policy was reached at an endpoint.", 0}},
    {STAT_EJECTIONS,
        {"offshoot_ejections_total", "", "Endpoints that a worker ejected after failures.", 0}},
    {STAT_EJECTIONS_SPARED,
        {"offshoot_ejections_spared_total", "",
            "Ejections that were due and not made: too many are out already, or it is the last.",
            0}},
    {STAT_AFFINITY_COOKIES, {"offshoot_affinity_cookies_total", "",
                                "Cookies set that keep a client on an endpoint.", 0}},
    {STAT_REMOVED, {"offshoot_removed_ended_total", "",
                       "Requests and streams ended because their environment was removed.", 0}},
    {STAT_DISABLED_ENDED,
        {"offshoot_disabled_ended_total", "",
            "Requests and streams ended because their endpoint was disabled.", 0}},
    {STAT_HEALTH_WELL,
        {"offshoot_health_checks_total", "result=\"well\"", "Health checks made, by result.", 0}},
    {STAT_HEALTH_FAILED,
        {"offshoot_health_checks_total", "result=\"failed\"", "Health checks made, by result.", 0}},
    {STAT_HEALTH_LOST, {"offshoot_health_changes_total", "to=\"unhealthy\"",
                           "Endpoints whose health changed by their checks.", 0}},
    {STAT_HEALTH_RECOVERED, {"offshoot_health_changes_total", "to=\"healthy\"",
                                "Endpoints whose health changed by their checks.", 0}},
    {STAT_HEALTH_LATE,
        {"offshoot_health_late_total", "",
            "Health checks that had to wait because limits.healthChecks were running.", 0}},
    {STAT_HEALTH_LEFT_OUT,
        {"offshoot_health_left_out_total", "",
            "Endpoints that are not checked because limits.healthTargets are.", 0}},
    {STAT_ENDPOINT_ORDERS,
        {"offshoot_endpoint_orders_total", "",
            "Orders of an operator to drain, disable or enable an endpoint that changed something.",
            0}},
    {STAT_ACCEPTS, {"offshoot_accepts_total", "", "Client connections accepted.", 0}},
    {STAT_ACCEPT_ERRORS,
        {"offshoot_accept_errors_total", "",
            "Failed accepts (descriptors exhausted); accepting pauses after each.", 0}},
    {STAT_ACCEPT_FOREIGN,
        {"offshoot_accepts_foreign_total", "",
            "Connections closed because they came from outside the listener's from= blocks.", 0}},
    {STAT_CONNECTIONS_REFUSED, {"offshoot_connections_refused_total", "",
                                   "Connections over limits.connections, answered 503.", 0}},
    {STAT_CONNECTIONS_DROPPED,
        {"offshoot_connections_dropped_total", "",
            "Connections more than a quarter over limits.connections, closed at once.", 0}},
    {STAT_PROVIDER_CONNECTS,
        {"offshoot_provider_connects_total", "", "Connections opened to providers.", 0}},
    {STAT_PROVIDER_REUSES, {"offshoot_provider_reuses_total", "",
                               "Requests sent on a provider connection used before.", 0}},
    {STAT_BUFFERS_REFUSED,
        {"offshoot_buffers_refused_total", "", "Times that limits.buffers was reached.", 0}},
    {STAT_CLIENT_BYTES_IN,
        {"offshoot_client_received_bytes_total", "", "Bytes received from clients.", 0}},
    {STAT_CLIENT_BYTES_OUT, {"offshoot_client_sent_bytes_total", "", "Bytes sent to clients.", 0}},
    {STAT_PROVIDER_BYTES_IN,
        {"offshoot_provider_received_bytes_total", "", "Bytes received from providers.", 0}},
    {STAT_PROVIDER_BYTES_OUT,
        {"offshoot_provider_sent_bytes_total", "", "Bytes sent to providers.", 0}},
    {STAT_TUNNEL_BYTES_UP,
        {"offshoot_tunnel_sent_bytes_total", "",
            "Bytes passed from clients to providers by tunnels that have ended.", 0}},
    {STAT_TUNNEL_BYTES_DOWN,
        {"offshoot_tunnel_received_bytes_total", "",
            "Bytes passed from providers to clients by tunnels that have ended.", 0}},
    {STAT_LOG_LINES, {"offshoot_access_log_lines_total", "", "Access log lines written.", 0}},
    {STAT_LOG_LOST, {"offshoot_access_log_lost_total", "",
                        "Access log lines lost because the file or pipe refused them.", 0}},
    {STAT_LOG_READER_LOST,
        {"offshoot_log_reader_lost_total", "",
            "Lines lost for readers of /log at the admin socket because they were too slow.", 0}},
    {STAT_LIVE_REFUSED,
        {"offshoot_live_refused_total", "",
            "Listings (/connections, /requests) refused because too many were under way.", 0}},
    {STAT_GIVEN_BACK,
        {"offshoot_memory_given_back_total", "",
            "Times that freed memory was given back to the system, after a great many connections "
            "or requests had gone.",
            0}},
    {STAT_NAME_LOOKUPS, {"offshoot_name_lookups_total", "", "Look-ups of provider names.", 0}},
    {STAT_NAME_FAILURES,
        {"offshoot_name_failures_total", "", "Look-ups of provider names that failed.", 0}},
    {STAT_NAME_FORBIDDEN,
        {"offshoot_name_forbidden_total", "",
            "Addresses left out after a look-up because the endpoint rules forbid them.", 0}},
    {STAT_TRACE_RECORDS,
        {"offshoot_trace_records_total", "", "Hop records kept for explained requests.", 0}},
    {STAT_TRACE_LOST,
        {"offshoot_trace_lost_total", "",
            "Hop records not kept: more than 64 in a trace, or limits.traces reached.", 0}},
    {STAT_KEYS_LOADS, {"offshoot_keys_loads_total", "", "Key files that were taken.", 0}},
    {STAT_KEYS_REFUSED, {"offshoot_keys_refused_total", "",
                            "Key files that were refused; the old keys stayed in use.", 0}},
    {STAT_GRAPH_LOADS, {"offshoot_graph_loads_total", "", "Graphs that became active.", 0}},
    {STAT_GRAPH_REFUSED, {"offshoot_graph_refused_total", "",
                             "Graphs that were refused; the last good one stayed active.", 0}},
    {STAT_GRAPH_DELAYED,
        {"offshoot_graph_delayed_total", "",
            "Graphs that had to wait because all sixteen snapshot slots were in use.", 0}},
    {STAT_EPOCHS_RETIRED_EARLY,
        {"offshoot_epochs_retired_early_total", "",
            "Epochs let go to make room for a newer one, before the agent retired them.", 0}},
    {STAT_AGENT_CONNECTS, {"offshoot_agent_connects_total", "", "Streams opened to the agent.", 0}},
    {STAT_AGENT_LOSSES,
        {"offshoot_agent_losses_total", "",
            "Streams and connections to the agent that ended or could not be made.", 0}},
    {STAT_AGENT_UNREADABLE,
        {"offshoot_agent_unreadable_total", "",
            "Messages of the agent that are none we know, or cannot be read.", 0}},
    {STAT_AGENT_UNSENT,
        {"offshoot_agent_unsent_total", "",
            "Messages to the agent that could not be queued; the stream is ended then.", 0}},
    {STAT_STAGE_CHUNKS,
        {"offshoot_stage_chunks_total", "", "Parts of epochs that came from the agent.", 0}},
    {STAT_STAGES, {"offshoot_stages_total", "", "Epochs of the agent that were staged.", 0}},
    {STAT_ACTIVATIONS, {"offshoot_activations_total", "",
                           "Epochs of the agent that every worker uses and that are saved.", 0}},
    {STAT_RETIREMENTS, {"offshoot_retirements_total", "", "Epochs that the agent retired.", 0}},
    {STAT_SAVES, {"offshoot_snapshot_saves_total", "", "Graphs saved as the last good one.", 0}},
    {STAT_SAVES_FAILED,
        {"offshoot_snapshot_saves_failed_total", "",
            "Tries to save the last good graph that failed; each is made again.", 0}},
    {STAT_UPGRADES_FAILED, {"offshoot_upgrades_failed_total", "",
                               "Upgrades that came to nothing: this process went on.", 0}},
    {STAT_CAPTURE_EXCHANGES,
        {"offshoot_capture_exchanges_total", "",
            "Sampled requests told to the agent whole, with their replies.", 0}},
    {STAT_CAPTURE_CHUNKS,
        {"offshoot_capture_chunks_total", "",
            "Chunks of captured traffic that workers handed on for the agent.", 0}},
    {STAT_CAPTURE_CHUNKS_DROPPED,
        {"offshoot_capture_chunks_dropped_total", "",
            "Chunks of captured traffic thrown away: their stream to the agent had ended.", 0}},
    {STAT_CAPTURE_HOPS_DROPPED,
        {"offshoot_capture_hops_dropped_total", "",
            "Such requests that the agent was not told of: there was no stream, or too much waits "
            "for it.",
            0}},
    {STAT_CAPTURE_RULES_REFUSED,
        {"offshoot_capture_rules_refused_total", "",
            "Capture rules of the agent that were refused; those before stayed in use.", 0}},
    {STAT_CAPTURE_LOSSES,
        {"offshoot_capture_losses_total", "",
            "Streams and connections for captured traffic that ended or could not be made.", 0}},
    {STAT_DARK_REQUESTS, {"offshoot_dark_requests_total", "", "Requests with a dark token.", 0}},
    {STAT_CONTEXT_LOST, {"offshoot_context_lost_total", "",
                            "Requests of a dark trace whose token was lost on the way.", 0}},
    {STAT_AGENT_CONNECTED,
        {"offshoot_agent_connected", "", "1 while there is a stream to the agent.", 1}},
    {STAT_SNAPSHOT_STALE,
        {"offshoot_snapshot_stale", "",
            "1 when nothing was heard from the agent for snapshotTtl; the graph is served on.", 1}},
    {STAT_SNAPSHOT_UNSAVED,
        {"offshoot_snapshot_unsaved", "",
            "1 while the active graph could not be saved, so that it is not acknowledged.", 1}},
    {STAT_CAPTURE_SESSIONS,
        {"offshoot_capture_sessions", "", "Sessions in the capture rules in use.", 1}},
    {STAT_CAPTURE_UP, {"offshoot_capture_up", "",
                          "Workers that have a stream to the agent for captured traffic.", 1}},
    {STAT_CAPTURE_QUEUED, {"offshoot_capture_queued_bytes", "",
                              "Memory of captured traffic that waits for the agent, in bytes.", 1}},
    {STAT_CLIENTS, {"offshoot_clients", "", "Client connections now.", 1}},
    {STAT_H2_CLIENTS,
        {"offshoot_http2_clients", "", "Client connections that speak HTTP/2 now.", 1}},
    {STAT_REQUESTS_NOW, {"offshoot_requests", "", "Requests in work now, tunnels included.", 1}},
    {STAT_TUNNELS_NOW, {"offshoot_tunnels", "", "Tunnels now.", 1}},
    {STAT_PROVIDER_CONNECTIONS,
        {"offshoot_provider_connections", "", "Provider connections now.", 1}},
    {STAT_PROVIDER_IDLE,
        {"offshoot_provider_idle_connections", "", "Unused provider connections now.", 1}},
    {STAT_BUFFERS, {"offshoot_buffers", "", "Buffers of 64 KiB in use now.", 1}},
    {STAT_LOG_READERS, {"offshoot_log_readers", "", "Readers of /log at the admin socket now.", 1}},
    {STAT_GRAPH_EPOCH, {"offshoot_graph_epoch", "", "Epoch of the active graph.", 1}},
    {STAT_GRAPH_ENVIRONMENTS,
        {"offshoot_graph_environments", "", "Environments in the active graph.", 1}},
    {STAT_GRAPH_SERVICES, {"offshoot_graph_services", "", "Services in the active graph.", 1}},
    {STAT_GRAPH_BYTES, {"offshoot_graph_bytes", "", "Memory of the active compiled graph.", 1}},
    {STAT_GRAPH_INVALID,
        {"offshoot_graph_invalid", "",
            "1 while the graph files are invalid and the last good graph is served.", 1}},
    {STAT_EPOCHS_HELD,
        {"offshoot_epochs_held", "",
            "Epochs that requests can be decided in: the active one and others.", 1}},
    {STAT_KEYS, {"offshoot_keys", "", "Keys that verify contexts; 0: contexts are unsigned.", 1}},
    {STAT_WORKERS, {"offshoot_workers", "", "Worker threads.", 1}},
    {STAT_HEALTH_TARGETS, {"offshoot_health_targets", "", "Endpoints with a health check now.", 1}},
    {STAT_HEALTH_UNHEALTHY,
        {"offshoot_endpoints_unhealthy", "", "Endpoints that are unhealthy by their check.", 1}},
    {STAT_OVERLOAD_NOW, {"offshoot_overload_workers", "step=\"keep-alive\"",
                            "Workers that are at this step of overload, or above it.", 1}},
    {STAT_OVERLOAD_NOW + 1, {"offshoot_overload_workers", "step=\"streams\"",
                                "Workers that are at this step of overload, or above it.", 1}},
    {STAT_OVERLOAD_NOW + 2, {"offshoot_overload_workers", "step=\"connections\"",
                                "Workers that are at this step of overload, or above it.", 1}},
    {STAT_RESIDENT, {"offshoot_resident_bytes", "", "Resident memory of the process.", 1}},
    {STAT_GENERATION,
        {"offshoot_generation", "", "Upgrades that led to this process; 0: started anew.", 1}},
    {STAT_DRAINING, {"offshoot_draining", "", "1 while this process drains.", 1}},
};

const struct counter_desc *stats_table(void)
{
    static const struct counter_parts parts = {.families = families,
        .nfamilies = sizeof families / sizeof families[0],
        .singles = singles,
        .nsingles = sizeof singles / sizeof singles[0],
        .histograms = histograms,
        .nhistograms = sizeof histograms / sizeof histograms[0]};
    return counters_table(&parts, STAT_COUNT);
}
