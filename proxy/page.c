#include "proxy/page.h"
#include "lib/base/parse.h"

static const struct words {
    const char *sentence, *heading, *advice;
} words[REFUSAL_COUNT] = {
    [REFUSAL_NO_ENVIRONMENT] = {"the request names no environment and there is no default",
        "Which environment?", "Use the link that you were given, whole and unchanged."},
    [REFUSAL_UNKNOWN_ENVIRONMENT] = {"there is no such environment", "No such environment",
        "Check the spelling. It may have been deleted, or not be open to you: then ask whoever "
        "gave "
        "you the link for a new one."},
    [REFUSAL_EXPIRED] = {"the environment has expired", "This environment has expired",
        "Ask its owner to extend it, or to give you a link to another one."},
    [REFUSAL_NO_ROUTE] = {"no route leads to a service for this host and path", "Nothing here",
        "Check the address."},
    [REFUSAL_NO_SERVICE] = {"there is no such service", "Nothing here", "Check the address."},
    [REFUSAL_REMOVED] = {"the service is removed in this environment",
        "Not part of this environment", "This part was taken out here on purpose."},
    [REFUSAL_NO_PROVIDER] = {"no environment provides the service", "Not running",
        "Nothing provides this part yet. Ask the owner of the environment."},
    [REFUSAL_FORBIDDEN] = {"the environment may not be reached from here", "Not from here",
        "Ask the owner of the environment for a link."},
    [REFUSAL_CONTEXT] = {"the request carries a context that cannot be used",
        "This link is no good",
        "It is damaged, has run out, or was mixed with another. Ask for a new one."},
    [REFUSAL_EPOCH] = {"the graph needed for this request is not here yet", "Not here yet",
        "Try again in a moment."},
    [REFUSAL_RESIDENCY] = {"the provider lies where this request may not go", "Not from here",
        "The rules of this environment do not allow it."},
    [REFUSAL_UNHEALTHY] = {"the provider is unhealthy", "Out of order", "Try again in a moment."},
    [REFUSAL_CONNECT] = {"the provider cannot be reached", "Not reachable",
        "It may be starting. Try again in a moment."},
    [REFUSAL_BAD_REPLY] = {"the provider's reply is not valid", "Broken answer",
        "Try again, and tell the owner if it stays."},
    [REFUSAL_TIMEOUT] = {"the provider did not answer in time", "No answer in time",
        "Try again in a moment."},
    [REFUSAL_OVERLOAD] = {"the proxy is at a limit", "Too busy", "Try again in a moment."},
    [REFUSAL_TOO_LARGE] = {"the request is too large", "Too large",
        "Send less, or fewer and shorter cookies."},
    [REFUSAL_LOOP] = {"the request passed here too often", "Going in circles",
        "Tell whoever runs this address."},
    [REFUSAL_DARK_BLOCKED] = {"a mirrored request may not change anything here", "Not allowed", ""},
    [REFUSAL_BAD_REQUEST] = {"the request is not valid HTTP", "Not understood",
        "Check the address."},
    [REFUSAL_REQUEST_TIMEOUT] = {"the request did not arrive in time", "Too slow", "Try again."},
    [REFUSAL_UNSUPPORTED] =
        {"upgrades, tunnels and services that do not speak HTTP are not supported", "Not supported",
            ""},
    [REFUSAL_EXPECTATION] = {"the expectation is not known", "Not supported", ""},
    [REFUSAL_RATE_LIMITED] = {"too many requests", "Too many requests", "Try again in a moment."},
};

const char *page_sentence(enum refusal r)
{
    return words[r].sentence;
}

static void add(struct text *t, const char *html)
{
    text_add(t, str_c(html));
}

static void add_escaped(struct text *t, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '&':
            add(t, "&amp;");
            break;
        case '<':
            add(t, "&lt;");
            break;
        case '>':
            add(t, "&gt;");
            break;
        case '"':
            add(t, "&quot;");
            break;
        case '\'':
            add(t, "&#39;");
            break;
        default:
            text_add(t, str_of(s.p + i, 1));
        }
    }
}

static void add_in(struct text *t, const char *before, struct str value, const char *after)
{
    add(t, before);
    add_escaped(t, value);
    add(t, after);
}

/* For the name of a parameter in a link: letters and digits stay, all else is in hex. */
static void add_parameter(struct text *t, struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = ascii_lower(name.p[i]);
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
            text_add(t, str_of(name.p + i, 1));
        else
            text_fmt(t, "%%%02X", (unsigned char)c);
    }
}

static void add_selector(struct text *t, const struct page *p)
{
    static const struct {
        const char *before, *after;
    } kinds[] = {
        [SELECT_HOST] = {"the host's name, ", ""},
        [SELECT_HEADER] = {"the header ", ""},
        [SELECT_BAGGAGE] = {"the member ", " of baggage"},
        [SELECT_TRACESTATE] = {"the member ", " of tracestate"},
        [SELECT_COOKIE] = {"the cookie ", ""},
        [SELECT_QUERY] = {"the parameter ", " of the link"},
    };
    unsigned kind = p->selector->kind;
    add(t, kinds[kind].before);
    add_in(t, "<code>", p->selector->key.s, "</code>");
    add(t, kinds[kind].after);
}

static void add_chosen_by(struct text *t, const struct page *p)
{
    add(t, ", named by ");
    if (p->by_cookie)
        add(t, "a share link that you opened before (its cookie)");
    else if (p->source == SOURCE_SELECTOR && p->selector)
        add_selector(t, p);
    else if (p->source == SOURCE_DEFAULT)
        add(t, "nothing in the request: it is the default here");
    else
        add(t, "a token in the request");
    add(t, ".</p>\n");
}

static void add_story(struct text *t, const struct page *p)
{
    text_fmt(t, "<p>The request was not answered: %s", page_sentence(p->refusal));
    if (p->expired_at) {
        char when[32];
        format_rfc3339(p->expired_at, when);
        text_fmt(t, ", on <time>%s</time>", when);
    }
    if (p->detail[0])
        add_in(t, " (", str_c(p->detail), ")");
    add(t, ".</p>\n");
    if (name_valid(p->environment)) {
        add_in(t, "<p>The environment asked for is <b>", p->environment, "</b>");
        add_chosen_by(t, p);
    }
    if (p->service.n)
        add_in(t, "<p>The service is <b>", p->service, "</b>.</p>\n");
}

static void add_advice(struct text *t, const struct page *p)
{
    if (words[p->refusal].advice[0])
        add_in(t, "<p>", str_c(words[p->refusal].advice), "</p>\n");
    if (p->by_cookie && p->can_leave && p->selector) {
        add(t, "<p><a href=\"/?");
        add_parameter(t, p->selector->key.s);
        add(t, "=\">Leave the preview</a></p>\n");
    }
}

void page_write(struct text *t, const struct page *p)
{
    const char *word = refusal_word(p->refusal), *heading = words[p->refusal].heading;
    add(t, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta name=\"viewport\" content=\"width=device-width\">\n");
    add_in(t, "<title>", str_c(heading), "</title>\n");
    add(t, "<style>body{font-family:sans-serif;line-height:1.5;max-width:40em;"
           "margin:4em auto;padding:0 1em}footer{color:#666;font-size:.85em}</style>\n"
           "</head>\n<body>\n");
    add_in(t, "<h1>", str_c(heading), "</h1>\n");
    add_story(t, p);
    add_advice(t, p);
    text_fmt(t, "<footer>%u <code>%s</code>", p->status, word);
    if (p->trace_id.n)
        add_in(t, " &middot; for support: <code>", p->trace_id, "</code>");
    add(t, "</footer>\n</body>\n</html>\n");
}
