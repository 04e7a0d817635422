#include "agent/settings.h"
#include "agent/redis_url.h"
#include "lib/base/conf_rules.h"
#include "lib/base/parse.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#define AT(member) offsetof(struct settings, member)

#define KIB    1024u
#define MIB    (1024u * KIB)
#define GIB    (1024ull * MIB)
#define SECOND 1000ull
#define HOUR   (3600u * SECOND)
#define DAY    (24u * HOUR)

/* clang-format off */
const struct conf_key settings_keys[] = {
    { "graph", "graph", "PATH", CONF_LIST, AT(graph), NULL, 0, 0, NULL,
      "Graph files, or folders whose *.yaml, *.yml and *.json are read. They are never written. May be repeated." },
    { "listen", "listen", "ADDRESS[,tls][,insecure]", CONF_LIST, AT(listen), NULL, 0, 0, NULL,
      "Where proxies connect: unix:/path or IP:port; port 0 picks a free one. `tls` asks for client certificates; a plain TCP address that is not on loopback must say `insecure`. May be repeated." },
    { "tls.cert", "tls-cert", "FILE", CONF_TEXT, AT(tls_cert), NULL, 0, 0, NULL,
      "PEM file with the agent's certificate and its chain, read again on SIGHUP." },
    { "tls.key", "tls-key", "FILE", CONF_TEXT, AT(tls_key), NULL, 0, 0, NULL,
      "PEM file with the certificate's key. Others than its owner must not be able to read it." },
    { "tls.ca", "tls-ca", "FILE", CONF_TEXT, AT(tls_ca), NULL, 0, 0, NULL,
      "PEM file with the authorities that proxies' certificates must come from." },
    { "proxies.allow", "allow", "NAME", CONF_LIST, AT(proxies_allow), NULL, 0, 0, NULL,
      "Names of proxies that are served; one `*` in a name stands for any text. Needed with `tls`. Empty without it: every proxy. May be repeated." },
    { "admin", "admin", "SOCKET", CONF_TEXT, AT(admin), NULL, 0, 0, NULL,
      "Path of the Unix socket for status, commands and questions. Its owner and root may change things." },
    { "adminGroup", "admin-group", "GROUP", CONF_TEXT, AT(admin_group), NULL, 0, 0, NULL,
      "Members of this group may read from the admin socket." },
    { "metrics", "metrics", "ADDRESS", CONF_TEXT, AT(metrics), NULL, 0, 0, NULL,
      "TCP address that serves only /metrics, /live and /ready." },
    { "state", "state", "DIR", CONF_TEXT, AT(state), NULL, 0, 0, NULL,
      "Folder for the history of the graph and the environments made by command. It is locked while the agent runs, so that two agents never share one. Keep a copy of it." },
    { "endpoints.allow", NULL, NULL, CONF_LIST, AT(endpoints_allow), NULL, 0, 0, NULL,
      "CIDR blocks that endpoints of the graph may lie in. Empty: everything but link-local and multicast. Our own addresses are never allowed. Proxies judge by their own rules besides." },
    { "endpoints.unix", NULL, NULL, CONF_LIST, AT(endpoints_unix), NULL, 0, 0, NULL,
      "Folders below which unix: endpoints may lie. Empty: nowhere." },
    { "retain.epochs", NULL, NULL, CONF_U32, AT(retain_epochs), "1000", 1, 1000000, NULL,
      "Epochs kept in the history, for rollback, differences and questions about the past." },
    { "retain.bytes", NULL, NULL, CONF_BYTES, AT(retain_bytes), "1GiB", 1 * MIB, 1024 * GIB, NULL,
      "Size of the history on disk. Fewer epochs are kept when they need more." },
    { "stage.timeout", "stage-timeout", "TIME", CONF_MS, AT(stage_timeout), "2s", 10, 60 * SECOND, NULL,
      "How long a new epoch waits for proxies to hold it. Then it is activated; who is late is named and not waited for until it has caught up." },
    { "retire.after", "retire-after", "TIME", CONF_MS, AT(retire_after), "60s", 10, DAY, NULL,
      "How long older epochs are kept by the proxies once all are active on a newer one: the longest life of a request." },
    { "heartbeat", "heartbeat", "TIME", CONF_MS, AT(heartbeat), "5s", 50, 60 * SECOND, NULL,
      "How often each side tells the other that it lives. A proxy that was silent for three of these is dropped." },
    { "own.max", NULL, NULL, CONF_U32, AT(own_max), "10000", 0, 1000000, NULL,
      "Environments made by command at a time." },
    { "own.maxLife", NULL, NULL, CONF_MS, AT(own_max_life), "90d", 1 * SECOND, 3650 * DAY, NULL,
      "Longest life that a command may give an environment." },
    { "own.keep", NULL, NULL, CONF_MS, AT(own_keep), "1h", 0, 365 * DAY, NULL,
      "How long an environment made by command is kept after it expired (answering `expired`), before it is taken away." },
    { "limits.proxies", NULL, NULL, CONF_U32, AT(limit_proxies), "10000", 1, 1000000, NULL,
      "Proxies connected at a time. Above: RESOURCE_EXHAUSTED." },
    { "limits.connections", NULL, NULL, CONF_U32, AT(limit_connections), "10100", 1, 1000000, NULL,
      "Connections to all listeners at a time. Above: closed at once." },
    { "limits.messageBytes", NULL, NULL, CONF_BYTES, AT(limit_message), "64k", 4096, 16 * MIB, NULL,
      "Largest message taken from a proxy." },
    { "limits.graphFileBytes", NULL, NULL, CONF_BYTES, AT(limit_graph_file), "64MiB", 1024, 4 * GIB, NULL,
      "Size of one graph file." },
    { "limits.graphBytes", NULL, NULL, CONF_BYTES, AT(limit_graph_total), "1GiB", 1024, 16 * GIB, NULL,
      "Size of all graph files together." },
    { "limits.graphDocuments", NULL, NULL, CONF_U32, AT(limit_graph_documents), "1000000", 1, 10000000, NULL,
      "Documents in all graph files together." },
    { "limits.graphNesting", NULL, NULL, CONF_U32, AT(limit_graph_nesting), "32", 8, 256, NULL,
      "Nesting of a graph document." },
    { "newHistory", "new-history", NULL, CONF_BOOL, AT(new_history), "false", 0, 0, NULL,
      "Begin a new history at this start. It follows the one in the state folder, which is kept beside it. For one start only: take it away again." },
    { "follows", "follows", "HISTORY:EPOCH", CONF_TEXT, AT(follows), NULL, 0, 0, NULL,
      "With newHistory, when the state folder was lost: the history that proxies hold and the highest epoch of it that they may leave behind, as their /status tells." },
    { "node", "node", "NAME", CONF_TEXT, AT(node), NULL, 0, 0, NULL,
      "Name of this agent beside others that write into one Redis: 1 to 64 of letters, digits and . _ -. Empty: the host's name." },
    { "keys", "keys", "FILE", CONF_TEXT, AT(keys), NULL, 0, 0, NULL,
      "Keys that sign the contexts of dark requests: the same file as the proxies have, one `KID SECRET` a line, the signing one first. Others must not be able to read it; read again on SIGHUP. Empty: contexts are unsigned." },
    { "trustDomain", "trust-domain", "NAME", CONF_TEXT, AT(trust_domain), "offshoot", 0, 0, NULL,
      "What the proxies that trust each other's contexts have in common; part of every signature. 1 to 63 of a-z 0-9 . _ -" },
    { "shadow.through", "shadow-through", "ADDRESS", CONF_TEXT, AT(shadow_through), NULL, 0, 0, NULL,
      "Trusted listener of a proxy that dark requests enter by: IP:port, name:port or unix:/path. A session may name another one. Empty: every session must name one." },
    { "shadow.sessions", NULL, NULL, CONF_U32, AT(shadow_sessions), "16", 0, 16, NULL,
      "Sessions of mirroring that run at a time. 0: none may be started." },
    { "shadow.inFlight", NULL, NULL, CONF_U32, AT(shadow_in_flight), "64", 1, 100000, NULL,
      "Samples on their way at a time through one listener. Above: dropped and counted." },
    { "shadow.bytes", NULL, NULL, CONF_BYTES, AT(shadow_bytes), "64MiB", 1 * MIB, 16 * GIB, NULL,
      "Memory of samples on their way through one listener, replies included; as much again for captured exchanges that are not whole yet. Above: dropped and counted." },
    { "shadow.bodyBytes", NULL, NULL, CONF_BYTES, AT(shadow_body), "1MiB", 1024, 64 * MIB, NULL,
      "Largest body of a captured request or of a reply. Above: dropped and counted." },
    { "shadow.timeout", NULL, NULL, CONF_MS, AT(shadow_timeout), "10s", 10, HOUR, NULL,
      "Deadline of a dark request." },
    { "shadow.hopWait", "shadow-hop-wait", "TIME", CONF_MS, AT(shadow_hop_wait), "1s", 50, 60 * SECOND, NULL,
      "How long after the reply of a canary its hops are waited for: what other proxies tell, and calls that a service makes behind its reply." },
    { "shadow.linger", "shadow-linger", "TIME", CONF_MS, AT(shadow_linger), "30s", 0, HOUR, NULL,
      "How long proxies go on knowing the dark requests of a session that has ended, once none is on its way: what a service whose context was lost does late still changes nothing." },
    { "shadow.segmentBytes", NULL, NULL, CONF_BYTES, AT(shadow_segment_bytes), "64MiB", 1 * MIB, 16 * GIB, NULL,
      "Size at which a session's journal goes on in a new segment." },
    { "shadow.segments", NULL, NULL, CONF_U32, AT(shadow_segments), "15", 1, 10000, NULL,
      "Segments of a session's journal that are kept besides the newest. Sums survive the older ones." },
    { "shadow.messageBytes", NULL, NULL, CONF_BYTES, AT(shadow_message), "64KiB", 0, 16 * MIB, NULL,
      "A body above this is left out of the journal; it is compared all the same." },
    { "shadow.messages", NULL, NULL, CONF_BOOL, AT(shadow_messages), "true", 0, 0, NULL,
      "Whether journals hold requests and replies. Without: differences and sums only, and no replay." },
    { "redis", "redis", "URL", CONF_TEXT, AT(redis), NULL, 0, 0, NULL,
      "Where sums, examples and verdicts are recorded besides the journals: redis://HOST:PORT[/DB] or unix:/path. Never with a password in it. Empty: nowhere." },
    { "redisUser", "redis-user", "NAME", CONF_TEXT, AT(redis_user), NULL, 0, 0, NULL,
      "User of Redis (ACL). Empty: the default one." },
    { "redisPasswordFile", "redis-password-file", "FILE", CONF_TEXT, AT(redis_password_file), NULL, 0, 0, NULL,
      "File whose first line is that user's password. Others than its owner must not be able to read it; read again at each connect." },
    { "redisConnectTimeout", NULL, NULL, CONF_MS, AT(redis_connect), "2s", 10, 60 * SECOND, NULL,
      "To reach Redis: name look-up, connect and log-in together." },
    { "redisCommandTimeout", NULL, NULL, CONF_MS, AT(redis_command), "1s", 10, 60 * SECOND, NULL,
      "How long a command of Redis may stay without an answer. Then the connection is made anew; nothing is lost." },
    { "log.level", "log-level", "LEVEL", CONF_CHOICE, AT(log_level), "info", 0, 0, "error|warn|info|debug",
      "The program's log on standard error: how much of it." },
    { "log.format", "log-format", "WHAT", CONF_CHOICE, AT(log_format), "text", 0, 0, "text|json",
      "The program's log: text or JSON lines." },
};
/* clang-format on */
const size_t settings_keys_count = sizeof settings_keys / sizeof settings_keys[0];

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int finish_follows(struct settings *s, const struct conf *c, struct err *e)
{
    struct str text = str_c(s->follows);
    if (!s->follows)
        return 0;
    bool good = s->new_history && text.n > 2 * HISTORY_ID && text.p[2 * HISTORY_ID] == ':';
    for (size_t i = 0; good && i < HISTORY_ID; i++) {
        int high = hex_digit(text.p[2 * i]), low = hex_digit(text.p[2 * i + 1]);
        good = high >= 0 && low >= 0;
        s->follows_history[i] = (unsigned char)(high * 16 + low);
    }
    good = good && parse_u64(str_from(text, 2 * HISTORY_ID + 1), &s->follows_epoch) == 0 &&
           s->follows_epoch > 0;
    if (good)
        return 0;
    return err_set(e, -EINVAL, "%s: follows: %s '%s'", conf_origin(c, "follows"),
        s->new_history ? "want HISTORY:EPOCH (32 hexadecimal digits, a number), not"
                       : "only together with newHistory:",
        s->follows);
}

static int finish_allow(const struct settings *s, const struct conf *c, struct err *e)
{
    for (size_t i = 0; i < s->proxies_allow.n; i++) {
        const char *star = strchr(s->proxies_allow.item[i], '*');
        if (!*s->proxies_allow.item[i] || (star && strchr(star + 1, '*')))
            return err_set(e, -EINVAL, "%s: proxies.allow: want a name with at most one *: '%s'",
                conf_origin(c, "proxies.allow"), s->proxies_allow.item[i]);
    }
    return 0;
}

static bool node_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("._-", c));
}

static int finish_node(const struct settings *s, const struct conf *c, struct err *e)
{
    size_t n = s->node ? strlen(s->node) : 1, i = 0;
    while (s->node && i < n && node_char(s->node[i]))
        i++;
    if (n > 0 && n < SETTINGS_NODE_MAX && (!s->node || i == n))
        return 0;
    return err_set(e, -EINVAL, "%s: node: not 1 to %d of letters, digits and . _ - '%s'",
        conf_origin(c, "node"), SETTINGS_NODE_MAX - 1, s->node);
}

static int finish_shadow(const struct settings *s, const struct conf *c, struct err *e)
{
    struct addr at;
    if (s->shadow_through && addr_parse(str_c(s->shadow_through), false, &at, e) != 0)
        return err_prefix(e, "%s: shadow.through", conf_origin(c, "shadow.through"));
    if (s->shadow_through && at.kind == ADDR_TUNNEL)
        return err_set(e, -EINVAL, "%s: shadow.through: not an address to connect to '%s'",
            conf_origin(c, "shadow.through"), s->shadow_through);
    if (s->shadow_bytes < 2 * s->shadow_body)
        return err_set(e, -EINVAL, "%s: shadow.bytes is below two bodies of shadow.bodyBytes",
            conf_origin(c, "shadow.bytes"));
    return 0;
}

/* A password in the URL would be seen in the list of processes, in the log and in the
 * configuration. */
static int finish_redis(const struct settings *s, const struct conf *c, struct err *e)
{
    struct redis_url url;
    if (s->redis && redis_url_parse(str_c(s->redis), &url, e) != 0)
        return err_prefix(e, "%s: redis", conf_origin(c, "redis"));
    if (!s->redis && (s->redis_user || s->redis_password_file))
        return err_set(e, -EINVAL, "%s: %s: there is no redis",
            conf_origin(c, s->redis_user ? "redisUser" : "redisPasswordFile"),
            s->redis_user ? "redisUser" : "redisPasswordFile");
    return 0;
}

void settings_node(const struct settings *set, char out[SETTINGS_NODE_MAX])
{
    char host[SETTINGS_NODE_MAX] = "";
    if (!set->node && gethostname(host, sizeof host - 1) != 0)
        snprintf(host, sizeof host, "agent");
    snprintf(out, SETTINGS_NODE_MAX, "%s", set->node ? set->node : *host ? host : "agent");
    for (char *at = out; *at; at++)
        if (!node_char(*at))
            *at = '-';
}

int settings_finish(struct settings *s, const struct conf *c, struct err *e)
{
    int rc = finish_allow(s, c, e);
    rc = rc ? rc : finish_follows(s, c, e);
    rc = rc ? rc : finish_node(s, c, e);
    rc = rc ? rc : finish_shadow(s, c, e);
    rc = rc ? rc : finish_redis(s, c, e);
    return rc ? rc : conf_rules(c, &s->endpoints_allow, &s->endpoints_unix, &s->endpoint_rules, e);
}

void settings_release(struct settings *s)
{
    conf_rules_release(&s->endpoint_rules);
}

static int needed_tls(const struct settings *s, struct err *e)
{
    if (!s->tls_cert || !s->tls_key || !s->tls_ca)
        return err_set(e, -EINVAL,
            "a listener with tls needs --tls-cert, --tls-key and --tls-ca (client certificates)");
    if (s->proxies_allow.n == 0)
        return err_set(e, -EINVAL,
            "a listener with tls needs the names of the proxies that are served: --allow NAME");
    return 0;
}

int settings_needed(const struct settings *s, struct err *e)
{
    if (s->graph.n == 0)
        return err_set(e, -EINVAL, "no graph: say where it is with --graph PATH");
    if (s->listen.n == 0)
        return err_set(e, -EINVAL, "nowhere to listen: say --listen ADDRESS");
    if (!s->state)
        return err_set(e, -EINVAL, "no state folder: say --state DIR");
    for (size_t i = 0; i < s->listen.n; i++) {
        struct listen_spec spec;
        int rc = listen_parse(s->listen.item[i], &spec, e);
        if (rc == 0 && spec.tls)
            rc = needed_tls(s, e);
        if (rc != 0)
            return rc;
    }
    return 0;
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

struct history_options settings_history(const struct settings *set)
{
    return (struct history_options){.dir = set->state,
        .retain_epochs = set->retain_epochs,
        .retain_bytes = set->retain_bytes,
        .start_new = set->new_history,
        .follows_history = set->follows_epoch ? set->follows_history : NULL,
        .follows_epoch = set->follows_epoch};
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
        struct str word = str_of(rest.p, comma);
        if (str_eq(word, STR("tls")))
            l.tls = true;
        else if (str_eq(word, STR("insecure")))
            l.insecure = true;
        else
            return err_set(e, -EINVAL, "listen '%s': unknown option '%.*s' (known: tls, insecure)",
                text, STR_ARG(word));
    }
    if (l.tls && l.insecure)
        return err_set(e, -EINVAL, "listen '%s': tls and insecure exclude each other", text);
    if (!l.tls && !l.insecure && !addr_is_loopback(&l.addr))
        return err_set(e, -EINVAL,
            "listen '%s': an address that is not on loopback needs tls (or, where nobody else can "
            "reach it, insecure)",
            text);
    *ret = l;
    return 0;
}

bool name_matches(const char *pattern, const char *name)
{
    const char *star = strchr(pattern, '*');
    if (!star)
        return strcmp(pattern, name) == 0;
    struct str n = str_c(name), before = str_of(pattern, (size_t)(star - pattern));
    struct str after = str_c(star + 1);
    return n.n >= before.n + after.n && str_starts(n, before) && str_ends(n, after);
}
