#include "ctl/args.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/base/str.h"
#include "lib/graph/hint.h"
#include <errno.h>

const struct option_desc options[OPT_COUNT] = {
    [OPT_GRAPH] = {"graph", "PATH", 0,
        "A graph file, or a folder whose *.yaml, *.yml and *.json are read. May be repeated."},
    [OPT_SOCKET] = {"socket", "PATH", 0,
        "The admin socket of a running proxy or agent. Default: the variable OFFSHOOT_ADMIN."},
    [OPT_JSON] = {"json", NULL, 0, "Answer as JSON, one object a line."},
    [OPT_NOW] = {"now", "TIME", 0,
        "Judge what has expired as of TIME (RFC 3339 with a zone) instead of now."},
    [OPT_BATCH] = {"batch", NULL, 0,
        "Read lines ENVIRONMENT SERVICE from standard input, answer each with one line."},
    [OPT_HOST] = {"host", "HOST", 0, "The authority of the request: its Host or :authority."},
    [OPT_PATH] = {"path", "PATH", 0,
        "The path of the request, with its query. Default: /. Of a session: only paths that begin "
        "so; may be repeated."},
    [OPT_HEADER] = {"header", "'NAME: VALUE'", 'H',
        "A header of the request; also -H. May be repeated. Of a session: in place of the user's."},
    [OPT_TRUSTED] = {"trusted", NULL, 0,
        "The request comes in at a trusted listener. Default: at an untrusted one."},
    [OPT_SUBJECT] = {"subject", "NAME", 0,
        "The client has a verified certificate with this name in it: spiffe://shop/tester."},
    [OPT_GATEWAY] = {"gateway", "NAME", 0,
        "The Gateway that rules. Not needed when the graph has exactly one."},
    [OPT_AT] = {"at", "EPOCH", 0, "Answer as of this epoch instead of the active one."},
    [OPT_FROM] = {"from", "EPOCH", 0, "The epoch before."},
    [OPT_TO] = {"to", "EPOCH", 0, "The epoch after. Default: the active one."},
    [OPT_PARENT] = {"parent", "ENVIRONMENT", 0,
        "Inherit from this environment. May be repeated. Default: the only baseline."},
    [OPT_SET] = {"set", "SERVICE=ADDRESS", 0,
        "Provide the service at this address, or at several: ADDRESS,ADDRESS. May be repeated."},
    [OPT_USE] = {"use", "SERVICE=ENV", 0,
        "Use the provider that the service has in another environment. May be repeated."},
    [OPT_REMOVE] = {"remove", "SERVICE", 0,
        "The service does not exist here, although an ancestor has it. May be repeated."},
    [OPT_DROP] = {"drop", "SERVICE", 0,
        "Say nothing of the service any more: it is inherited again. May be repeated."},
    [OPT_FOR] = {"for", "DURATION", 0,
        "How long it lives from now: 30m, 4h, 7d. Of an environment: default as the agent says."},
    [OPT_PUBLIC] = {"public", NULL, 0, "Anyone may enter it by its name, at any gateway."},
    [OPT_TOKEN] = {"token", NULL, 0, "Only a signed token enters it from outside."},
    [OPT_STRICT] = {"strict", NULL, 0,
        "Guessed contexts and skewed epochs are refused in it. Of a session: trusted listeners "
        "refuse requests without context."},
    [OPT_OWNER] = {"owner", "TEXT", 0, "Who is responsible for it."},
    [OPT_REASON] = {"reason", "TEXT", 0, "Why: kept in the log with who did it."},
    [OPT_WHILE_HELD] = {"while-held", NULL, 0,
        "After a rollback: note the change now, for `graph resume` to publish."},
    [OPT_WAIT] = {"wait", NULL, 0,
        "Return when every live proxy is active on the new epoch; when a session has proved its "
        "context; when a verdict is reached."},
    [OPT_TIMEOUT] = {"timeout", "DURATION", 0,
        "How long --wait waits at the most, up to 5m. Default: 30s; for a verdict as long as the "
        "session."},
    [OPT_LIMIT] = {"limit", "N", 0, "So many at the most."},
    [OPT_KEYS] = {"keys", "FILE", 0, "The key file, as the proxies have it."},
    [OPT_TRUST_DOMAIN] = {"trust-domain", "NAME", 0,
        "The trust domain of the proxies. Default: offshoot."},
    [OPT_EXPLAIN] = {"explain", NULL, 0, "Replies tell which way the request went."},
    [OPT_URL] = {"url", "URL", 0, "Also make a link: this URL with the token in a parameter."},
    [OPT_PARAM] = {"param", "NAME", 0, "That parameter: the key of a query selector."},
    [OPT_BEHIND] = {"behind", NULL, 0, "Only those that are not on the newest epoch."},
    [OPT_LIVE] = {"live", NULL, 0, "Those that are being done now."},
    [OPT_ENV] = {"env", "ENVIRONMENT", 0, "Only requests to this environment."},
    [OPT_SERVICE] = {"service", "SERVICE", 0,
        "Only requests to this service. Of a session: may be repeated."},
    [OPT_STATE] = {"state", "WORD", 0, "Only those in this state, as the list names it."},
    [OPT_OLDER] = {"older", "DURATION", 0, "Only those at least as old, as 500ms."},
    [OPT_SIDE] = {"side", "SIDE", 0, "Only connections of this side: client or provider."},
    [OPT_WHEN] = {"when", "RULE", 0,
        "Only requests that the rule fits, as in accessLog.when: 'status=5xx env=main'. May be "
        "repeated: any of the rules."},
    [OPT_FORMAT] = {"format", "WORD", 0, "Lines as text, json or otel. Default: text."},
    [OPT_ONCE] = {"once", NULL, 0, "Measure one interval, print it, and exit."},
    [OPT_INTERVAL] = {"interval", "DURATION", 0,
        "Time between two readings. Default: 2s; with --once 1s."},
    [OPT_PAIRS] = {"pairs", "N", 0, "How many pairs were compared."},
    [OPT_CANDIDATE_ONLY] = {"candidate-only", "N", 0,
        "In how many of them only the candidate differs from the primary."},
    [OPT_SECONDARY_ONLY] = {"secondary-only", "N", 0,
        "In how many of them only the secondary differs from the primary."},
    [OPT_EPSILON] = {"epsilon", "RATE", 0,
        "PASS means that the excess rate is below this one. Default: 0.01."},
    [OPT_SLOT] = {"slot", "KIND", 0,
        "What was counted: a headline (fails at 320) or a field (163,840). Default: headline."},
    [OPT_IGNORE] = {"ignore", "PATTERN", 0,
        "Leave out fields whose path fits: 'header.etag', 'body.**.id:value'. May be repeated."},
    [OPT_TYPE] = {"type", "MEDIA", 0,
        "The files are bodies of this media type, without status and headers."},
    [OPT_GRPC_METHOD] = {"grpc-method", "METHOD", 0,
        "/package.Service/Method: what the reply is a message of. Wants --descriptors."},
    [OPT_DESCRIPTORS] = {"descriptors", "FILE", 0,
        "A FileDescriptorSet, as protoc --include_imports --descriptor_set_out=FILE makes it."},
    [OPT_NO_REDACT] = {"no-redact", NULL, 0, "Show secrets as they are."},
    [OPT_BASELINE] = {"baseline", "ENVIRONMENT", 0, "Whose traffic is sampled: what is."},
    [OPT_CANDIDATE] = {"candidate", "ENVIRONMENT", 0, "What is judged: what shall be."},
    [OPT_SECONDARY] = {"secondary", "ENVIRONMENT", 0,
        "An overlay of the baseline with state of its own: gets the second call, and unsafe "
        "methods."},
    [OPT_RATE] = {"rate", "PERCENT", 0,
        "So many of the traces are sampled; default: 100. Of a replay: requests a second; default: "
        "50."},
    [OPT_SAMPLES] = {"samples", "N", 0, "The session ends after so many."},
    [OPT_CREDENTIALS] = {"credentials", "WORD", 0,
        "forward: the candidate gets the users' authorization and cookies. Default: strip."},
    [OPT_REDACT] = {"redact", "WORD", 0,
        "What has this word in its name is a secret, too. May be repeated."},
    [OPT_REDACT_OFF] = {"redact-off", NULL, 0, "Secrets are stored and shown as they are."},
    [OPT_THROUGH] = {"through", "ADDRESS", 0,
        "A trusted listener of a proxy: requests go in there. Default: as the agent says."},
    [OPT_UNTIL] = {"until", "WORD", 0,
        "decision: the session ends with a PASS or FAIL; limit: by time or samples. Default: "
        "decision."},
    [OPT_JUNIT] = {"junit", "FILE", 0,
        "Also write the verdict as JUnit XML; - is standard output."},
    [OPT_OUTPUT] = {"output", "FILE", 'o', "Write to FILE; also -o FILE; - is standard output."},
    [OPT_UNSAFE] = {"unsafe", NULL, 0, "Also send methods that may change something."},
    [OPT_CONFIG] = {"config", "FILE", 'c',
        "Read `graph` and `socket` from the configuration file FILE; also -c FILE."},
    [OPT_CHECK_CONFIG] = {"check-config", NULL, 0, "Check the configuration file, and exit."},
    [OPT_PRINT_CONFIG] = {"print-config", NULL, 0,
        "Print the configuration in effect as YAML, and exit."},
    [OPT_HELP] = {"help", NULL, 'h', "Print help, for a command when one is given, and exit."},
    [OPT_VERSION] = {"version", NULL, 0, "Print the version, and exit."},
};

static int unknown_option(const char *word, struct str name, struct err *e)
{
    struct hint h = hint_for(name);
    for (size_t i = 0; i < OPT_COUNT; i++)
        hint_offer(&h, str_c(options[i].flag));
    if (word[1] == '-' && h.best.n)
        return err_set(e, -EINVAL, "unknown option '--%.*s', did you mean '--%.*s'?",
            STR_ARG(shown(name)), STR_ARG(h.best));
    return err_set(e, -EINVAL, "unknown option '%.*s'", STR_ARG(shown(str_c(word))));
}

/* Which option a word names; OPT_COUNT: none. *ret_value: what stands after '=', or NULL. */
static enum option find_option(const char *word, struct str *ret_name, const char **ret_value)
{
    bool is_long = word[1] == '-';
    struct str name = str_c(word + (is_long ? 2 : 1));
    size_t eq = str_find(name, '=');
    *ret_value = NULL;
    if (is_long && eq < name.n) {
        *ret_value = name.p + eq + 1;
        name.n = eq;
    }
    *ret_name = name;
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const struct option_desc *o = &options[i];
        if (is_long ? str_eq(name, str_c(o->flag)) : name.n == 1 && o->letter == name.p[0])
            return (enum option)i;
    }
    return OPT_COUNT;
}

int args_number(const struct args *a, enum option o, uint64_t *ret, struct err *e)
{
    struct str value = str_c(a->value[o]);
    uint64_t n = 0;
    if (!a->value[o])
        return 0;
    if (parse_u64(value, &n) || n == 0)
        return err_set(
            e, -EINVAL, "--%s wants a number, not '%.*s'", options[o].flag, STR_ARG(shown(value)));
    *ret = n;
    return 0;
}

int args_duration(const struct args *a, enum option o, uint64_t *ret_ms, struct err *e)
{
    struct str value = str_c(a->value[o]);
    if (!a->value[o] || parse_duration_ms(value, ret_ms) == 0)
        return 0;
    return err_set(e, -EINVAL, "--%s wants a duration as 30s or 2h, not '%.*s'", options[o].flag,
        STR_ARG(shown(value)));
}

struct values *args_list(struct args *a, enum option o)
{
    switch (o) {
    case OPT_GRAPH:
        return &a->graph;
    case OPT_HEADER:
        return &a->header;
    case OPT_PARENT:
        return &a->parent;
    case OPT_SET:
        return &a->set;
    case OPT_USE:
        return &a->use;
    case OPT_REMOVE:
        return &a->remove;
    case OPT_DROP:
        return &a->drop;
    case OPT_WHEN:
        return &a->when;
    case OPT_IGNORE:
        return &a->ignore;
    case OPT_SERVICE:
        return &a->service;
    case OPT_PATH:
        return &a->path;
    case OPT_REDACT:
        return &a->redact;
    default:
        return NULL;
    }
}

/* Each list has room for every word there is. */
static int make_lists(struct args *a, size_t room)
{
    struct values *lists[] = {&a->words, &a->graph, &a->header, &a->parent, &a->set, &a->use,
        &a->remove, &a->drop, &a->when, &a->ignore, &a->service, &a->path, &a->redact};
    size_t n = sizeof(lists) / sizeof(lists[0]);
    a->room = mem_array(room, n * sizeof(*a->room));
    if (!a->room)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        lists[i]->item = a->room + i * room;
    return 0;
}

static int keep_option(struct args *a, enum option o, const char *value, struct err *e)
{
    struct values *list = args_list(a, o);
    if (options[o].arg && !list && args_have(a, o))
        return err_set(e, -EINVAL, "option --%s is given twice", options[o].flag);
    a->given |= OPTION_BIT(o);
    a->value[o] = value;
    if (list)
        list->item[list->n++] = value;
    return 0;
}

/* The option at argv[*i]; moves *i to its last word. */
static int take_option(struct args *a, int argc, char **argv, int *i, struct err *e)
{
    const char *value;
    struct str name;
    enum option o = find_option(argv[*i], &name, &value);
    if (o == OPT_COUNT)
        return unknown_option(argv[*i], name, e);
    if (!options[o].arg && value)
        return err_set(e, -EINVAL, "option --%s takes no value", options[o].flag);
    if (options[o].arg && !value) {
        if (*i + 1 >= argc)
            return err_set(
                e, -EINVAL, "option --%s needs a value: %s", options[o].flag, options[o].arg);
        value = argv[++*i];
    }
    return keep_option(a, o, value, e);
}

int args_parse(struct args *a, int argc, char **argv, struct err *e)
{
    size_t room = argc > 0 ? (size_t)argc : 1;
    bool ended = false;
    *a = (struct args){0};
    if (make_lists(a, room))
        return err_set(e, -ENOMEM, "out of memory");
    for (int i = 1; i < argc; i++) {
        bool is_option = !ended && argv[i][0] == '-' && argv[i][1];
        if (is_option && strcmp(argv[i], "--") == 0) {
            ended = true;
        } else if (is_option) {
            int rc = take_option(a, argc, argv, &i, e);
            if (rc)
                return rc;
        } else {
            a->words.item[a->words.n++] = argv[i];
        }
    }
    return 0;
}

void args_release(struct args *a)
{
    mem_free(a->room);
    *a = (struct args){0};
}
