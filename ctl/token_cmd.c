/* Tokens, made and explained from a key file alone: no graph, no running program. */
#include "ctl/offline.h"
#include "ctl/output.h"
#include "lib/base/parse.h"
#include "lib/graph/edge.h"
#include "lib/graph/hint.h"
#include "lib/graph/keyring.h"
#include "lib/graph/words.h"
#include <errno.h>

#define SHOWN(s) STR_ARG(shown(s))

/* The keys of --keys and --trust-domain. NULL with e. */
static struct keyring *read_keys(const struct args *a, struct err *e)
{
    const char *domain = a->value[OPT_TRUST_DOMAIN];
    return keyring_read(a->value[OPT_KEYS], domain ? domain : "offshoot", e);
}

static enum status failed(struct err *e, int code, const char *text)
{
    err_set(e, code, "%s", text);
    return STATUS_ERROR;
}

static void add_date(struct text *t, uint64_t unix_s)
{
    char date[24];
    if (unix_s > 253402300799u) { /* the last second of the year 9999 */
        text_fmt(t, "%llu", (unsigned long long)unix_s);
        return;
    }
    format_rfc3339((int64_t)unix_s, date);
    text_add(t, str_c(date));
}

/* In the largest unit of which there are at least two. */
static void add_distance(struct text *t, uint64_t exp, int64_t now)
{
    static const struct {
        uint64_t seconds;
        char letter;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    uint64_t at = now > 0 ? (uint64_t)now : 0, far = exp > at ? exp - at : at - exp;
    size_t u = 0;
    while (u < 3 && far < 2 * units[u].seconds)
        u++;
    text_fmt(t, exp > at ? " (in %llu%c)" : " (%llu%c ago)",
        (unsigned long long)(far / units[u].seconds), units[u].letter);
}

/* ---- issue ---- */

struct issue {
    struct str env, token, kid;
    const char *domain;
    uint64_t exp;
    int64_t now;
    const char *url, *param; /* NULL: no link */
};

static bool is_param(const char *s)
{
    for (size_t i = 0; s[i]; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
                (s[i] >= '0' && s[i] <= '9') || strchr("-._~", s[i])))
            return false;
    return *s;
}

static bool is_url(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    return (str_starts(s, STR("http://")) && s.n > 7) ||
           (str_starts(s, STR("https://")) && s.n > 8);
}

/* The URL with one parameter more, before its fragment. */
static void add_link(struct text *t, const struct issue *i)
{
    struct str url = str_c(i->url);
    size_t end = str_find(url, '#');
    bool has_query = str_find(str_of(url.p, end), '?') < end;
    size_t host = str_find(url, ':') + 3;
    bool bare = str_find(str_from(url, host), '/') == url.n - host && !has_query;
    text_add(t, str_of(url.p, end));
    text_fmt(t, "%s%c%s=%.*s", bare ? "/" : "", has_query ? '&' : '?', i->param, STR_ARG(i->token));
    text_add(t, str_from(url, end));
}

static void issue_json(struct text *t, const struct issue *i)
{
    text_fmt(t, "{\"token\":\"%.*s\",\"use\":\"edge\",\"environment\":\"%.*s\",\"expires\":\"",
        STR_ARG(i->token), STR_ARG(i->env));
    add_date(t, i->exp);
    text_fmt(t,
        "\",\"kid\":\"%.*s\",\"trust_domain\":\"%s\",\"headers\":[\"x-offshoot-context: "
        "%.*s\",\"baggage: offshoot=%.*s\"],\"cookie\":\"" SHARE_COOKIE "=%.*s\",\"link\":",
        STR_ARG(i->kid), i->domain, STR_ARG(i->token), STR_ARG(i->token), STR_ARG(i->token));
    if (i->url) {
        struct text link = {0};
        add_link(&link, i);
        json_str(t, str_of(link.p, link.n));
        t->failed |= link.failed;
        text_release(&link);
    } else {
        text_add(t, STR("null"));
    }
    text_add(t, STR("}\n"));
}

static void issue_text(struct text *t, const struct issue *i)
{
    text_fmt(t, "token    %.*s\nexpires  ", STR_ARG(i->token));
    add_date(t, i->exp);
    add_distance(t, i->exp, i->now);
    text_fmt(t, "\nkey      %.*s, trust domain %s\n", STR_ARG(i->kid), i->domain);
    text_fmt(t, "header   x-offshoot-context: %.*s\n", STR_ARG(i->token));
    text_fmt(t, "header   baggage: offshoot=%.*s\n", STR_ARG(i->token));
    text_fmt(t, "cookie   " SHARE_COOKIE "=%.*s\n", STR_ARG(i->token));
    if (i->url) {
        text_add(t, STR("link     "));
        add_link(t, i);
        text_add(t, STR("\n"));
    }
}

/* What of the command line the token is made of; the token itself is still to be made. */
static int read_issue(const struct call *c, struct issue *i, struct err *e)
{
    const struct args *a = c->args;
    uint64_t life_ms;
    *i = (struct issue){.env = str_c(c->words[0]),
        .domain = a->value[OPT_TRUST_DOMAIN] ? a->value[OPT_TRUST_DOMAIN] : "offshoot",
        .url = a->value[OPT_URL],
        .param = a->value[OPT_PARAM]};
    if (!name_valid(i->env))
        return err_set(e, -EINVAL, "not the name of an environment '%.*s'", SHOWN(i->env));
    if (!args_have(a, OPT_FOR) || !args_have(a, OPT_KEYS))
        return err_set(e, -EINVAL, "want token issue ENVIRONMENT --for DURATION --keys FILE");
    if (parse_duration_ms(str_c(a->value[OPT_FOR]), &life_ms) != 0 || life_ms < 1000)
        return err_set(e, -EINVAL, "option --for wants a duration like 30m, 2h or 7d, not '%.*s'",
            SHOWN(str_c(a->value[OPT_FOR])));
    if (!i->url != !i->param)
        return err_set(e, -EINVAL, "a link wants both, --url URL and --param NAME");
    if (i->url && !is_url(str_c(i->url)))
        return err_set(e, -EINVAL, "not an http or https URL '%.*s'", SHOWN(str_c(i->url)));
    if (i->param && !is_param(i->param))
        return err_set(e, -EINVAL, "not a parameter '%.*s' (want A-Z a-z 0-9 - . _ ~)",
            SHOWN(str_c(i->param)));
    if (offline_now(a, &i->now, e) != 0)
        return e->code;
    if (i->now < 0)
        return err_set(e, -EINVAL, "tokens of before 1970 cannot be made");
    i->exp = (uint64_t)i->now + life_ms / 1000;
    return 0;
}

enum status token_issue_command(const struct call *c, struct err *e)
{
    struct issue i;
    struct text t = {0};
    char token[TOKEN_MAX];
    uint8_t flags = args_have(c->args, OPT_EXPLAIN) ? CONTEXT_EXPLAIN : 0;
    if (read_issue(c, &i, e) != 0)
        return STATUS_ERROR;
    struct keyring *keys = read_keys(c->args, e);
    if (!keys)
        return STATUS_ERROR;
    struct signer *s = signer_new(keys);
    enum status rc = s ? STATUS_YES : failed(e, -ENOMEM, "out of memory");
    if (s) {
        i.token = str_of(token, signer_mint(s, 'e', i.env, 0, flags, i.exp, i.now, token));
        i.kid = keyring_kid(keys, 0);
        (c->json ? issue_json : issue_text)(&t, &i);
        rc = out_plain(&t, STATUS_YES, e);
    }
    signer_free(s);
    keyring_unref(keys);
    return rc;
}

/* ---- show ---- */

enum verdict { VALID, MALFORMED, UNSIGNED, NOT_VERIFIED, UNKNOWN_KEY, BAD_MAC, PAST_EXP };

static const struct {
    const char *word, *sentence;
} verdicts[] = {
    [VALID] = {"valid", "valid"},
    [MALFORMED] = {"malformed", "malformed: this is no token"},
    [UNSIGNED] = {"unsigned", "unsigned: worth nothing where keys are configured"},
    [NOT_VERIFIED] = {"not-verified", "signed, but not verified: say --keys FILE"},
    [UNKNOWN_KEY] = {"unknown-key", "signed by a key that is not in the file"},
    [BAD_MAC] = {"bad-mac", "bad mac: forged, changed, or of another trust domain"},
    [PAST_EXP] = {"past-exp", "expired"},
};

static enum verdict judge(struct signer *s, struct str text, const struct token *t, int64_t now)
{
    if (!t->is_signed)
        return UNSIGNED;
    if (!s)
        return NOT_VERIFIED;
    switch (signer_verify(s, text, t, now)) {
    case FAULT_NONE:
        return VALID;
    case FAULT_UNKNOWN_KEY:
        return UNKNOWN_KEY;
    case FAULT_PAST_EXP:
        return PAST_EXP;
    default:
        return BAD_MAC;
    }
}

static void add_flags(struct text *t, uint8_t flags)
{
    static const struct {
        uint8_t flag;
        const char *word;
    } words[] = {{CONTEXT_DARK, "dark"}, {CONTEXT_CANDIDATE, "candidate"},
        {CONTEXT_SECONDARY, "secondary"}, {CONTEXT_NO_EFFECTS, "no side effects"},
        {CONTEXT_EXPLAIN, "explain"}};
    const char *before = " (";
    text_fmt(t, "%02x", (unsigned)flags);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!(flags & words[i].flag))
            continue;
        text_fmt(t, "%s%s", before, words[i].word);
        before = ", ";
    }
    if (flags)
        text_add(t, STR(")"));
}

static void show_json(struct text *t, const struct token *k, enum verdict v)
{
    text_fmt(t, "{\"verdict\":\"%s\"", verdicts[v].word);
    if (v != MALFORMED)
        text_fmt(t, ",\"use\":\"%s\",\"environment\":\"%.*s\",\"pin\":%llu,\"flags\":%u",
            k->use == 'e' ? "edge" : "mesh", STR_ARG(k->env), (unsigned long long)k->pin,
            (unsigned)k->flags);
    if (v != MALFORMED && k->is_signed) {
        text_add(t, STR(",\"expires\":\""));
        add_date(t, k->exp);
        text_fmt(t, "\",\"kid\":\"%.*s\"", STR_ARG(k->kid));
    }
    text_add(t, STR("}\n"));
}

static void show_text(struct text *t, const struct token *k, enum verdict v, int64_t now)
{
    text_fmt(t, "%s\n", verdicts[v].sentence);
    if (v == MALFORMED)
        return;
    text_fmt(t, "  use          %s\n",
        k->use == 'e' ? "edge: for people and CI, at untrusted listeners"
                      : "mesh: made by a proxy, at trusted listeners only");
    text_fmt(t, "  environment  %.*s\n", STR_ARG(k->env));
    if (k->pin)
        text_fmt(t, "  pin          %llu\n", (unsigned long long)k->pin);
    text_add(t, STR("  flags        "));
    add_flags(t, k->flags);
    if (k->is_signed) {
        text_add(t, STR("\n  expires      "));
        add_date(t, k->exp);
        add_distance(t, k->exp, now);
        text_fmt(t, "\n  key          %.*s", STR_ARG(k->kid));
    }
    text_add(t, STR("\n"));
}

enum status token_show_command(const struct call *c, struct err *e)
{
    struct str text = str_trim(str_c(c->words[0]));
    struct token k;
    struct text t = {0};
    struct signer *s = NULL;
    int64_t now;
    if (offline_now(c->args, &now, e) != 0)
        return STATUS_ERROR;
    if (args_have(c->args, OPT_KEYS)) {
        struct keyring *keys = read_keys(c->args, e);
        if (!keys)
            return STATUS_ERROR;
        s = signer_new(keys);
        keyring_unref(keys);
        if (!s)
            return failed(e, -ENOMEM, "out of memory");
    }
    if (str_starts(text, STR("offshoot="))) /* as a baggage member */
        text = str_from(text, 9);
    enum verdict v = token_parse(text, &k) != 0 ? MALFORMED : judge(s, text, &k, now);
    if (c->json)
        show_json(&t, &k, v);
    else
        show_text(&t, &k, v, now);
    signer_free(s);
    enum status rc = v == VALID ? STATUS_YES : STATUS_NO;
    return c->json ? out_plain(&t, rc, e) : out_answer(&t, rc, e);
}
