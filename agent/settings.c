#include "agent/settings.h"
#include "lib/base/conf_rules.h"
#include "lib/base/parse.h"
#include <errno.h>
#include <stddef.h>

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

int settings_finish(struct settings *s, const struct conf *c, struct err *e)
{
    int rc = finish_allow(s, c, e);
    if (rc == 0)
        rc = finish_follows(s, c, e);
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
