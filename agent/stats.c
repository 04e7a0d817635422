#include "agent/stats.h"
#include "agent/exchange.h"

static const char *const refusal_words[SYNC_REFUSAL_COUNT] = {"malformed", "no-hello",
    "hello-twice", "bad-hello", "certificate", "not-allowed", "limit", "replaced", "silent",
    "stuck"};
static const char *const nack_words[NACK_REASONS] = {
    "unknown", "bad-digest", "base-unknown", "invalid-graph", "too-big", "stale", "unsupported"};

static const char *const capture_words[CAPTURE_REFUSAL_COUNT] = {"malformed", "not-known", "limit"};
static const char *const hop_words[CAPTURE_HOPS] = {"sampled", "dark", "lost", "blocked"};

static const char *kind_label(unsigned i)
{
    return change_kind_word((enum change_kind)i);
}
static const char *refusal_label(unsigned i)
{
    return refusal_words[i];
}
static const char *nack_label(unsigned i)
{
    return nack_words[i];
}

static const char *capture_label(unsigned i)
{
    return capture_words[i];
}
static const char *hop_label(unsigned i)
{
    return hop_words[i];
}

static const struct counter_family families[] = {
    {STAT_COMMITS, CHANGE_KINDS, "offshoot_agent_commits_total", "kind", kind_label,
        "Epochs made, by what made them."},
    {STAT_REFUSALS, SYNC_REFUSAL_COUNT, "offshoot_agent_streams_refused_total", "reason",
        refusal_label, "Streams of proxies that were refused or ended by the agent, by reason."},
    {STAT_NACKS, NACK_REASONS, "offshoot_agent_nacks_total", "reason", nack_label,
        "Epochs that a proxy refused, by its reason."},
    {STAT_CAPTURE_REFUSALS, CAPTURE_REFUSAL_COUNT, "offshoot_capture_streams_refused_total",
        "reason", capture_label,
        "Streams of captured traffic that were refused or ended by the agent, by reason."},
    {STAT_CAPTURE_DROPPED, CAPTURE_DROPS, "offshoot_capture_dropped_total", "reason",
        exchange_drop_word,
        "Sampled exchanges that did not arrive whole, dropped by a proxy or here, by reason."},
    {STAT_CAPTURE_HOPS, CAPTURE_HOPS, "offshoot_capture_hops_total", "kind", hop_label,
        "Requests of sampled or dark traces that proxies told of, by what became of their "
        "context."},
};

static const struct counter_single singles[] = {
    {STAT_GRAPH_REFUSED, {"offshoot_graph_refused_total", "",
                             "Reads of the graph files that were not valid; the last good epoch "
                             "stayed active.",
                             0}},
    {STAT_CHANGES_REFUSED, {"offshoot_agent_changes_refused_total", "",
                               "Commands that were refused and changed nothing.", 0}},
    {STAT_HELLOS, {"offshoot_agent_hellos_total", "", "Proxies that were taken.", 0}},
    {STAT_ACKS, {"offshoot_agent_acks_total", "", "Acks of proxies.", 0}},
    {STAT_STAGES,
        {"offshoot_agent_stages_total", "", "Epochs sent to a proxy, in differences or whole.", 0}},
    {STAT_STAGE_WHOLES,
        {"offshoot_agent_stage_wholes_total", "", "Epochs sent to a proxy as a whole.", 0}},
    {STAT_STAGE_BYTES,
        {"offshoot_agent_stage_bytes_total", "", "Bytes of graph in what was sent to proxies.", 0}},
    {STAT_ACTIVATIONS, {"offshoot_agent_activations_total", "", "Epochs that were activated.", 0}},
    {STAT_LATE, {"offshoot_agent_late_total", "",
                    "Times that a proxy did not answer within stage.timeout.", 0}},
    {STAT_HEARTBEATS, {"offshoot_agent_heartbeats_total", "", "Heartbeats of proxies.", 0}},
    {STAT_UNKNOWN_MESSAGES, {"offshoot_agent_unknown_messages_total", "",
                                "Messages of a kind that this version does not know, ignored.", 0}},
    {STAT_ACCEPTS, {"offshoot_agent_accepts_total", "", "Connections accepted.", 0}},
    {STAT_CONNECTIONS_REFUSED, {"offshoot_agent_connections_refused_total", "",
                                   "Connections over limits.connections, closed at once.", 0}},
    {STAT_HANDSHAKES_FAILED, {"offshoot_agent_handshakes_failed_total", "",
                                 "Connections whose TLS handshake failed.", 0}},
    {STAT_CONNECTIONS_TIMED_OUT,
        {"offshoot_agent_connections_timed_out_total", "",
            "Connections closed because no call came in time, or a ping had no answer.", 0}},
    {STAT_CALLS, {"offshoot_agent_calls_total", "", "gRPC calls taken.", 0}},
    {STAT_CAPTURE_EXCHANGES,
        {"offshoot_capture_exchanges_total", "", "Sampled exchanges that arrived whole.", 0}},
    {STAT_SHADOW_SAMPLES, {"offshoot_shadow_samples_total", "", "Samples compared.", 0}},
    {STAT_SHADOW_UNTYPED, {"offshoot_shadow_untyped_total", "",
                              "Samples of gRPC methods that the session's descriptors have no "
                              "message type for: fields by number.",
                              0}},
    {STAT_SHADOW_DROPPED, {"offshoot_shadow_dropped_total", "",
                              "Samples of sessions that were dropped; each session tells the "
                              "reasons.",
                              0}},
    {STAT_SHADOW_CONTEXT_LOST, {"offshoot_shadow_context_lost_total", "",
                                   "Sessions that ended because a hop lost the context.", 0}},
    {STAT_SHADOW_JOURNAL_ERRORS, {"offshoot_shadow_journal_errors_total", "",
                                     "Records that could not be written to a journal.", 0}},
    {STAT_ADMIN_SHED, {"offshoot_agent_admin_shed_total", "",
                          "Admin connections shut down to make room for others.", 0}},
    {STAT_WAITS_REFUSED, {"offshoot_agent_waits_refused_total", "",
                             "Questions to /wait refused because 64 were waiting.", 0}},
    {STAT_REDIS_COMMANDS, {"offshoot_redis_commands_total", "", "Commands sent to Redis.", 0}},
    {STAT_REDIS_ERRORS, {"offshoot_redis_errors_total", "",
                            "Errors that Redis answered, redirections included.", 0}},
    {STAT_REDIS_TIMEOUTS, {"offshoot_redis_timeouts_total", "",
                              "Connections to Redis given up because no answer came in time.", 0}},
    {STAT_REDIS_REDIRECTS, {"offshoot_redis_redirects_total", "",
                               "Times that a node of a cluster named another one.", 0}},
    {STAT_REDIS_RECONNECTS, {"offshoot_redis_reconnects_total", "",
                                "Connections to Redis that came back after they were lost.", 0}},
    {STAT_CONNECTIONS, {"offshoot_agent_connections", "", "Connections now.", 1}},
    {STAT_PROXIES, {"offshoot_agent_proxies", "", "Proxies connected now.", 1}},
    {STAT_PROXIES_BEHIND, {"offshoot_agent_proxies_behind", "",
                              "Connected proxies that are not active on the newest epoch.", 1}},
    {STAT_PROXIES_STALE, {"offshoot_agent_proxies_stale", "",
                             "Connected proxies that hold another history, or a later epoch.", 1}},
    {STAT_SLOWEST_EPOCH, {"offshoot_agent_slowest_epoch", "",
                             "Epoch that every connected proxy is active on, at least; the newest "
                             "one when none is connected.",
                             1}},
    {STAT_WAITS, {"offshoot_agent_waits", "", "Questions to /wait that wait now.", 1}},
    {STAT_GRAPH_EPOCH, {"offshoot_graph_epoch", "", "The newest epoch.", 1}},
    {STAT_GRAPH_ENVIRONMENTS, {"offshoot_graph_environments", "", "Environments in it.", 1}},
    {STAT_GRAPH_SERVICES, {"offshoot_graph_services", "", "Services in it.", 1}},
    {STAT_GRAPH_BYTES, {"offshoot_graph_bytes", "", "Memory of its compiled graph.", 1}},
    {STAT_GRAPH_INVALID,
        {"offshoot_graph_invalid", "",
            "1 while the graph files are not valid and the last good epoch stays active.", 1}},
    {STAT_HELD, {"offshoot_agent_held", "",
                    "1 after a rollback, until resume: changes are checked, not published.", 1}},
    {STAT_OWN_ENVIRONMENTS,
        {"offshoot_agent_own_environments", "", "Environments made by command.", 1}},
    {STAT_OWN_STUCK,
        {"offshoot_agent_own_stuck", "",
            "Expired environments that cannot be taken away, since others stand on them.", 1}},
    {STAT_HISTORY_EPOCHS, {"offshoot_agent_history_epochs", "", "Epochs kept.", 1}},
    {STAT_HISTORY_BYTES, {"offshoot_agent_history_bytes", "", "Size of the history on disk.", 1}},
    {STAT_CAPTURE_STREAMS, {"offshoot_capture_streams", "", "Streams of captured traffic now.", 1}},
    {STAT_CAPTURE_BYTES,
        {"offshoot_capture_bytes", "", "Memory of captured exchanges that are not whole yet.", 1}},
    {STAT_SHADOW_SESSIONS, {"offshoot_shadow_sessions", "", "Sessions that have not ended.", 1}},
    {STAT_SHADOW_IN_FLIGHT,
        {"offshoot_shadow_in_flight", "", "Samples whose dark requests are on their way.", 1}},
    {STAT_SHADOW_MIRRORS_DOWN,
        {"offshoot_shadow_mirrors_down", "",
            "Listeners for dark requests of running sessions that cannot be reached.", 1}},
    {STAT_SHADOW_REDIS_UP,
        {"offshoot_shadow_redis_up", "", "1 while Redis is configured and answers.", 1}},
    {STAT_SHADOW_REDIS_BEHIND, {"offshoot_shadow_redis_behind", "",
                                   "Differing samples in journals that Redis does not have.", 1}},
};

const struct counter_desc *stats_table(void)
{
    static const struct counter_parts parts = {.families = families,
        .nfamilies = sizeof families / sizeof families[0],
        .singles = singles,
        .nsingles = sizeof singles / sizeof singles[0]};
    return counters_table(&parts, STAT_COUNT);
}
