/* Decisions as JSON and as text. The text answers in this order: what, why, what else was there. */
#include "lib/graph/explain.h"
#include "lib/base/parse.h"
#include "lib/graph/explain_route.h"
#include "lib/graph/pinned.h"
#include "lib/graph/rejected.h"
#include "lib/graph/words.h"
#include <inttypes.h>

static const struct str none = {NULL, 0};

static struct str word_or_null(const char *word)
{
    return word[0] ? str_c(word) : none;
}

/* The line that decided; also of a refusal that a statement or a date caused. */
static void find_origin(const struct snapshot *s, const struct decision *d, struct origin *ret)
{
    *ret = (struct origin){.line = 0};
    if (d->refusal != REFUSAL_UNSUPPORTED)
        snapshot_origin(s, d, ret);
}

/* ---- JSON ---- */

/* The keys of decision_json, without the brace that ends the object. */
static void json_decision(struct text *out, const struct snapshot *s, const struct decision *d,
    struct str env, struct str service, uint64_t epoch)
{
    bool refused = d->refusal != REFUSAL_NONE, moved = !refused && d->cls == CLASS_NONE;
    struct origin origin;
    find_origin(s, d, &origin);
    text_add(out, STR("{\"environment\":"));
    json_str(out, env);
    text_add(out, STR(",\"service\":"));
    json_str(out, service);
    text_fmt(out, ",\"outcome\":\"%s\",\"class\":",
        refused ? "refused"
        : moved ? "redirect"
                : "provider");
    json_str(out, refused ? none : word_or_null(decision_class_word(d->cls)));
    text_add(out, STR(",\"provider\":"));
    json_str(out, refused ? none : snapshot_env_name(s, d->provider));
    if (refused || moved)
        text_add(out, STR(",\"distance\":null,\"origin\":"));
    else
        text_fmt(out, ",\"distance\":%d,\"origin\":", d->distance);
    json_origin(out, &origin);
    text_fmt(out, ",\"epoch\":%" PRIu64 ",\"endpoints\":", epoch);
    json_endpoints(out, refused ? NULL : d->endpoints);
    text_add(out, STR(",\"refusal\":"));
    json_str(out, word_or_null(refusal_word(d->refusal)));
    if (refused)
        text_fmt(out, ",\"status\":%u", refusal_status(d->refusal));
    else
        text_add(out, STR(",\"status\":null"));
}

void decision_json(struct text *out, const struct snapshot *s, const struct decision *d,
    struct str env, struct str service, uint64_t epoch)
{
    json_decision(out, s, d, env, service, epoch);
    text_add(out, STR("}"));
}

/* "header:x-env"; a selector is told by its kind and key, and by the cookie that a share link left
 * for it. */
static void selector_words(struct text *out, const struct ask *a, const struct context *c)
{
    static const char *const kinds[] = {[SELECT_HOST] = "host",
        [SELECT_HEADER] = "header",
        [SELECT_BAGGAGE] = "baggage",
        [SELECT_TRACESTATE] = "tracestate",
        [SELECT_COOKIE] = "cookie",
        [SELECT_QUERY] = "query"};
    const struct model_selector *m = gateway_selector(a->gateway, (uint32_t)c->selector);
    text_fmt(out, "%s:", kinds[m->kind]);
    text_json(out, m->key.s);
    if (c->by_cookie)
        text_add(out, STR(" by its cookie"));
}

static bool has_selector(const struct ask *a, const struct context *c)
{
    return a->gateway && c->selector >= 0;
}

/* The environment asked for, if it may be told: never a value that is no name. */
static struct str asked_env(const struct context *c)
{
    return name_valid(c->env) ? c->env : none;
}

static void json_context(struct text *out, const struct ask *a, const struct context *c)
{
    text_add(out, STR(",\"context\":{\"rule\":"));
    json_str(out, word_or_null(context_rule_word(c->rule)));
    text_add(out, STR(",\"source\":"));
    json_str(out, word_or_null(context_source_word(c->source)));
    text_add(out, STR(",\"environment\":"));
    json_str(out, asked_env(c));
    text_fmt(out, ",\"pin\":%" PRIu64 ",\"flags\":%u,\"selector\":", c->pin, (unsigned)c->flags);
    if (has_selector(a, c)) {
        text_add(out, STR("\""));
        selector_words(out, a, c);
        text_add(out, STR("\""));
    } else {
        text_add(out, STR("null"));
    }
    text_add(out, STR(",\"fault\":"));
    json_str(out, word_or_null(context_fault_word(c->fault)));
    text_fmt(out, ",\"foreign\":%u}", (unsigned)c->foreign);
}

/* The host that matched: a route's as written, or the authority that a service claims. */
static struct str matched_host(const struct ask *a, const struct route *r)
{
    if (r->by == ROUTE_SERVICE_HOST)
        return a->authority;
    return r->by == ROUTE_GATEWAY && r->host.n ? r->host : none;
}

static struct str service_name(const struct snapshot *s, uint32_t service)
{
    return service == NUMBER_NONE ? none : snapshot_service_name(s, service);
}

static void json_route(
    struct text *out, const struct snapshot *s, const struct ask *a, const struct route *r)
{
    text_add(out, STR(",\"route\":{\"host\":"));
    json_str(out, matched_host(a, r));
    text_add(out, STR(",\"path\":"));
    json_str(out, r->by == ROUTE_GATEWAY ? r->path : none);
    text_add(out, STR(",\"service\":"));
    json_str(out, service_name(s, r->service));
    text_add(out, STR("}"));
}

struct listing {
    struct text *out;
    uint32_t n;
};

static void json_rejected(void *arg, const struct rejected *r)
{
    struct listing *l = arg;
    text_add(l->out, l->n++ ? STR(",{\"environment\":") : STR("{\"environment\":"));
    json_str(l->out, r->environment);
    text_add(l->out, STR(",\"class\":"));
    json_str(l->out, word_or_null(decision_class_word(r->cls)));
    text_add(l->out, STR(",\"reason\":"));
    json_str(l->out, str_c(r->reason));
    text_add(l->out, STR(",\"origin\":"));
    json_origin(l->out, &r->at);
    text_add(l->out, STR("}"));
}

void explain_json(struct text *out, const struct snapshot *s, const struct ask *a,
    const struct answer *r, uint64_t epoch)
{
    struct listing l = {.out = out};
    json_decision(
        out, s, &r->decision, asked_env(&r->context), service_name(s, r->route.service), epoch);
    json_context(out, a, &r->context);
    json_route(out, s, a, &r->route);
    if (r->moved) {
        text_add(out, STR(",\"redirect\":"));
        explain_moved_json(out, a, r);
    }
    explain_actions_json(out, a, r);
    text_add(out, STR(",\"skew\":"));
    json_str(out, word_or_null(skew_word(r->skew)));
    text_add(out, STR(",\"rejected\":["));
    uint32_t omitted = rejected_each(s, &r->decision, json_rejected, &l);
    text_add(out, STR("]"));
    if (omitted)
        text_fmt(out, ",\"omitted\":%u", omitted);
    text_add(out, STR("}"));
}

/* ---- text ---- */

static void text_name(struct text *out, struct str name)
{
    text_json(out, name);
}

static void headline(struct text *out, const struct snapshot *s, const struct decision *d,
    struct str env, struct str service)
{
    text_name(out, service.p ? service : STR("(no service)"));
    text_add(out, STR(" in "));
    text_name(out, env.p ? env : STR("(no environment)"));
    if (d->refusal != REFUSAL_NONE) {
        text_fmt(out, ": refused: %s (status %u)\n", refusal_word(d->refusal),
            refusal_status(d->refusal));
        return;
    }
    text_add(out, STR(": provided by "));
    text_name(out, snapshot_env_name(s, d->provider));
    text_fmt(out, " (class %s", decision_class_word(d->cls));
    if (d->distance >= 0)
        text_fmt(out, ", distance %d", d->distance);
    text_add(out, STR(")\n"));
}

static void text_lineage(struct text *out, const struct snapshot *s, uint32_t env)
{
    struct env_info info;
    if (env == NUMBER_NONE || !snapshot_env(s, env, &info))
        return;
    text_add(out, STR("  lineage: "));
    for (uint32_t i = 0; i < info.nlineage; i++) {
        text_add(out, i ? STR(" > ") : none);
        text_name(out, snapshot_env_name(s, info.lineage[i]));
    }
    text_add(out, STR("\n"));
}

static void why_expired(struct text *out, const struct snapshot *s, const struct decision *d)
{
    struct env_info info;
    char date[24];
    if (d->cause_env == NUMBER_NONE || !snapshot_env(s, d->cause_env, &info))
        return;
    text_name(out, info.name);
    if (!d->cause_is_expires) {
        text_add(out, STR(" uses the provider of an environment that has expired"));
        return;
    }
    format_rfc3339(info.expires, date);
    text_fmt(out, " expired at %s", date);
}

static void why_used(struct text *out, const struct snapshot *s, const struct decision *d)
{
    struct statement_info st;
    text_name(out, snapshot_env_name(s, d->cause_env));
    if (snapshot_find_statement(s, d->cause_env, d->service, &st) && st.kind == STATEMENT_USE) {
        text_add(out, STR(" says `use: "));
        text_name(out, snapshot_env_name(s, st.use));
        text_add(out, STR("`"));
    }
}

static void why_near(struct text *out, const char *word, struct str hint)
{
    text_fmt(out, "there is no such %s", word);
    if (hint.n) {
        text_add(out, STR("; did you mean '"));
        text_name(out, hint);
        text_add(out, STR("'?"));
    }
}

static void why_provided(struct text *out, const struct snapshot *s, const struct decision *d)
{
    if (d->cls == CLASS_EXPLICIT) {
        why_used(out, s, d);
        return;
    }
    text_name(out, snapshot_env_name(s, d->provider));
    if (d->cls == CLASS_LOCAL)
        text_add(out, STR(" itself provides it"));
    else if (d->cls == CLASS_SHARED)
        text_add(
            out, STR(" is the pool for it, and nothing in the lineage says anything about it"));
    else
        text_add(out, STR(" is the nearest of the lineage that says anything about it"));
}

/* Refusals that resolving gives; the others say so by their word. */
static void why_refused(struct text *out, const struct snapshot *s, const struct decision *d,
    struct str env, struct str service)
{
    switch (d->refusal) {
    case REFUSAL_UNKNOWN_ENVIRONMENT:
        why_near(out, "environment", snapshot_nearest_env(s, env));
        break;
    case REFUSAL_NO_SERVICE:
        why_near(out, "service", snapshot_nearest_service(s, service));
        break;
    case REFUSAL_EXPIRED:
        why_expired(out, s, d);
        break;
    case REFUSAL_REMOVED:
        text_name(out, snapshot_env_name(s, d->cause_env));
        text_add(out, STR(" removes it"));
        break;
    case REFUSAL_NO_PROVIDER:
        text_add(out, STR("neither the lineage nor a pool provides it"));
        break;
    case REFUSAL_FORBIDDEN:
        text_add(out, STR("the access of its lineage, or of the one it uses, asks for more"));
        break;
    case REFUSAL_NO_ENVIRONMENT:
        text_add(out, STR("no carrier, no selector and no default names an environment"));
        break;
    case REFUSAL_CONTEXT:
        text_add(out, STR("a carrier is present but unusable"));
        break;
    case REFUSAL_NO_ROUTE:
        text_add(out, STR("no route of the gateway matches host and path"));
        break;
    case REFUSAL_UNSUPPORTED:
        text_add(out, STR("the service speaks tcp, which no HTTP request can reach"));
        break;
    case REFUSAL_LOOP:
        text_fmt(out, "the request passed more than %d proxies", VIA_OURS_MAX);
        break;
    case REFUSAL_BAD_REQUEST:
        text_add(out, STR("the path does not start at the root, or climbs above it"));
        break;
    default:
        text_fmt(out, "%s", refusal_word(d->refusal));
        break;
    }
}

static void text_why(struct text *out, const struct snapshot *s, const struct decision *d,
    struct str env, struct str service)
{
    struct origin origin;
    find_origin(s, d, &origin);
    text_add(out, STR("  why: "));
    if (d->refusal == REFUSAL_NONE)
        why_provided(out, s, d);
    else
        why_refused(out, s, d, env, service);
    text_origin(out, &origin);
    text_add(out, STR("\n"));
}

static void text_rejected(void *arg, const struct rejected *r)
{
    struct listing *l = arg;
    if (l->n++ == 0)
        text_add(l->out, STR("rejected:\n"));
    text_add(l->out, STR("  "));
    text_name(l->out, r->environment);
    text_add(l->out, STR(": "));
    text_json(l->out, str_c(r->reason));
    if (r->cls != CLASS_NONE)
        text_fmt(l->out, "; would be class %s", decision_class_word(r->cls));
    text_origin(l->out, &r->at);
    text_add(l->out, STR("\n"));
}

static void text_alternatives(struct text *out, const struct snapshot *s, const struct decision *d)
{
    struct listing l = {.out = out};
    uint32_t omitted = rejected_each(s, d, text_rejected, &l);
    if (omitted)
        text_fmt(out, "  and %u more\n", omitted);
}

static void text_facts(
    struct text *out, const struct snapshot *s, const struct decision *d, uint64_t epoch)
{
    if (d->endpoints) {
        text_add(out, STR("  endpoints: "));
        text_endpoints(out, d->endpoints);
        text_add(out, STR("\n"));
    }
    text_lineage(out, s, d->env);
    text_fmt(out, "  epoch: %" PRIu64 "\n", epoch);
}

static void text_expiry(
    struct text *out, const struct snapshot *s, const struct decision *d, int64_t now)
{
    struct env_info info;
    char date[24];
    if (d->env == NUMBER_NONE || !snapshot_env(s, d->env, &info) || !info.has_expires ||
        info.expires <= now)
        return;
    format_rfc3339(info.expires, date);
    text_fmt(out, "  expires: %s\n", date);
}

void decision_text(struct text *out, const struct snapshot *s, const struct decision *d,
    struct str env, struct str service, uint64_t epoch, int64_t now)
{
    headline(out, s, d, env, service);
    text_why(out, s, d, env, service);
    text_facts(out, s, d, epoch);
    text_expiry(out, s, d, now);
    text_alternatives(out, s, d);
}

static void text_context(struct text *out, const struct ask *a, const struct context *c)
{
    char date[16];
    text_add(out, STR("  context: "));
    if (c->fault != FAULT_NONE)
        text_fmt(out, "fault %s in ", context_fault_word(c->fault));
    else if (c->rule != RULE_NONE)
        text_fmt(out, "rule %s, from ", context_rule_word(c->rule));
    if (has_selector(a, c))
        selector_words(out, a, c);
    else
        text_fmt(out, "%s", c->source ? context_source_word(c->source) : "none");
    if (c->pin)
        text_fmt(out, ", pin %.*s", (int)format_base36(c->pin, date), date);
    if (c->flags)
        text_fmt(out, ", flags %02x", (unsigned)c->flags);
    if (c->foreign)
        text_fmt(out, "; %u foreign removed", (unsigned)c->foreign);
    text_add(out, STR("\n"));
}

static void text_route(struct text *out, const struct ask *a, const struct route *r)
{
    if (r->by == ROUTE_NONE)
        return;
    struct str host = matched_host(a, r);
    text_add(out,
        r->by == ROUTE_SERVICE_HOST ? STR("  route: host of the service, ") : STR("  route: "));
    text_name(out, host.p ? host : STR("any host"));
    if (r->by == ROUTE_GATEWAY) {
        text_add(out, STR(" "));
        text_json(out, r->path);
    }
    text_add(out, STR("\n"));
}

static void text_moved(struct text *out, const struct snapshot *s, const struct ask *a,
    const struct answer *r, uint64_t epoch)
{
    text_add(out, STR("redirected: "));
    explain_moved_text(out, a, r);
    text_add(out, r->moved == MOVED_HTTPS
                      ? STR("\n  why: the route requires https, and the request came without\n")
                      : STR("\n  why: the route redirects; no environment is asked for\n"));
    text_context(out, a, &r->context);
    text_route(out, a, &r->route);
    explain_actions_text(out, a, r);
    text_facts(out, s, &r->decision, epoch);
}

void explain_text(struct text *out, const struct snapshot *s, const struct ask *a,
    const struct answer *r, uint64_t epoch)
{
    struct str env = asked_env(&r->context);
    struct str service = service_name(s, r->route.service);
    if (r->moved) {
        text_moved(out, s, a, r, epoch);
        return;
    }
    headline(out, s, &r->decision, env, service);
    text_why(out, s, &r->decision, env, service);
    text_context(out, a, &r->context);
    text_route(out, a, &r->route);
    explain_actions_text(out, a, r);
    if (r->skew)
        text_fmt(out, "  skew: %s: the epoch that the pin asks for is not held here\n",
            skew_word(r->skew));
    text_facts(out, s, &r->decision, epoch);
    text_alternatives(out, s, &r->decision);
}
