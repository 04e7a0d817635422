/* The context of a request: one pass over its fields by number, then a verdict.
 *
 *   fields -> pick_field -> own carriers: pick_own, pick_baggage (baggage.c)
 *          -> judge_own | pick_selected (select.c) | the gateway's default
 *          -> pick_remove_selectors (select.c)
 *
 * A carrier of ours that is present but unusable makes a fault, never an absence. */
#include "lib/graph/context.h"
#include "lib/graph/carrier.h"
#include "lib/graph/gateway.h"
#include "lib/graph/keyring.h"

const char *context_rule_word(enum context_rule r)
{
    static const char *const words[] = {"", "explicit", "selector", "default"};
    return words[r];
}

const char *context_source_word(enum context_source s)
{
    static const char *const words[] = {"", "baggage", "x-offshoot-context", "uberctx-offshoot",
        "ot-baggage-offshoot", "selector", "default"};
    return words[s];
}

const char *context_fault_word(enum context_fault f)
{
    static const char *const words[CONTEXT_FAULT_COUNT] = {"", "malformed", "two-values",
        "edge-token", "unknown-key", "too-long", "selector-two-values", "selector-value", "bad-mac",
        "past-exp", "unsigned"};
    return words[f];
}

void pick_foreign(struct pick *p)
{
    if (p->out->foreign < UINT8_MAX)
        p->out->foreign++;
}

/* Only an edge token with a kid of ours is worth a mac. After the first fault, or two different
 * tokens, the request is refused whatever else comes: no more macs are made for it. */
bool pick_is_edge_token(const struct pick *p, struct str value, struct token *ret)
{
    return token_parse(value, ret) == 0 && ret->use == 'e' && ret->is_signed &&
           signer_knows(p->signer, ret->kid);
}

static void pick_edge(struct pick *p, enum context_source source, struct str value)
{
    struct token t;
    if (p->own && !p->fault && str_eq(p->token, value)) {
        p->own = (uint8_t)(source < p->own ? source : p->own);
        return;
    }
    if (!pick_is_edge_token(p, value, &t)) {
        pick_foreign(p);
        return;
    }
    if (p->fault || p->two_tokens)
        return;
    p->fault = (uint8_t)signer_verify(p->signer, value, &t, p->now);
    p->two_tokens = !p->fault && p->own;
    p->own = (uint8_t)source;
    p->token = value;
}

void pick_own(struct pick *p, enum context_source source, struct str value)
{
    if (!p->trusted) {
        pick_edge(p, source, value);
        return;
    }
    if (p->own == SOURCE_NONE) {
        p->token = value;
        p->own = (uint8_t)source;
        return;
    }
    if (!str_eq(p->token, value))
        p->two_tokens = true;
    if (source < p->own)
        p->own = (uint8_t)source;
}

void pick_edge_token(struct pick *p, const struct token *t)
{
    struct context *out = p->out;
    out->env = t->env;
    out->by_token = true;
    out->explain = out->explain || (t->flags & CONTEXT_EXPLAIN);
}

static void pick_field(struct pick *p, struct field *f)
{
    switch (f->id) {
    case FIELD_BAGGAGE:
        pick_baggage(p, f);
        return;
    case FIELD_X_OFFSHOOT_CONTEXT:
        pick_own(p, SOURCE_X_OFFSHOOT_CONTEXT, field_value(f));
        break;
    case FIELD_UBERCTX_OFFSHOOT:
        pick_own(p, SOURCE_UBERCTX, field_value(f));
        break;
    case FIELD_OT_BAGGAGE_OFFSHOOT:
        pick_own(p, SOURCE_OT_BAGGAGE, field_value(f));
        break;
    case FIELD_X_OFFSHOOT_EXPLAIN:
        if (p->trusted && str_eq(field_value(f), STR("1")))
            p->out->explain = true;
        break;
    default: /* x-offshoot-*, whatever it is */
        break;
    }
    f->flags |= FIELD_DROP;
}

static enum context_fault judge_mesh(struct pick *p, const struct token *t)
{
    if (t->use != 'm')
        return FAULT_EDGE_TOKEN;
    if (t->is_signed)
        return signer_verify(p->signer, p->token, t, p->now);
    return signer_signs(p->signer) ? FAULT_UNSIGNED : FAULT_NONE;
}

static enum context_fault judge_token(struct pick *p, struct token *t)
{
    if (p->fault)
        return p->fault;
    if (p->two_tokens)
        return FAULT_TWO_VALUES;
    if (p->token.n > TOKEN_MAX - (sizeof("offshoot=") - 1))
        return FAULT_TOO_LONG;
    if (token_parse(p->token, t))
        return FAULT_MALFORMED;
    return p->trusted ? judge_mesh(p, t) : FAULT_NONE; /* pick_edge verified it */
}

/* An own carrier is present that this listener believes: it decides, or the request is refused. */
static void judge_own(struct pick *p)
{
    struct context *out = p->out;
    struct token t;
    out->source = p->own;
    out->rule = RULE_EXPLICIT;
    out->fault = (uint8_t)judge_token(p, &t);
    if (out->fault)
        return;
    if (!p->trusted) {
        pick_edge_token(p, &t);
        return;
    }
    out->env = t.env;
    out->pin = t.pin;
    out->flags = t.flags;
    out->explain = out->explain || (t.flags & CONTEXT_EXPLAIN);
    if (t.is_signed) {
        out->exp = t.exp;
        out->token = p->token;
    }
}

static void take_default(struct context *out, const struct gateway *g)
{
    if (!g || !g->default_environment.p)
        return;
    out->env = g->default_environment;
    out->source = SOURCE_DEFAULT;
    out->rule = RULE_DEFAULT;
}

void context_pick(struct context *ret, const struct carried *from)
{
    /* Fields that mean something to us. */
    const uint64_t ours = FIELD_BIT(FIELD_BAGGAGE) | FIELD_BIT(FIELD_X_OFFSHOOT_CONTEXT) |
                          FIELD_BIT(FIELD_UBERCTX_OFFSHOOT) | FIELD_BIT(FIELD_OT_BAGGAGE_OFFSHOOT) |
                          FIELD_BIT(FIELD_X_OFFSHOOT_EXPLAIN) | FIELD_BIT(FIELD_X_OFFSHOOT_ERROR) |
                          FIELD_BIT(FIELD_X_OFFSHOOT_ROUTE) | FIELD_BIT(FIELD_X_OFFSHOOT_OTHER);
    const struct gateway *g = from->gateway;
    struct pick p = {.out = ret,
        .fields = from->fields,
        .nfields = from->nfields,
        .trusted = from->trusted,
        .secure = from->secure,
        .gateway = g,
        .authority = from->authority,
        .path = from->path,
        .scratch = from->scratch,
        .signer = from->signer,
        .now = from->now};
    *ret = (struct context){.selector = -1};

    for (struct field *f = p.fields, *end = f + p.nfields; f < end; f++) {
        uint64_t bit = FIELD_BIT(f->id);
        p.seen |= bit;
        if (bit & ours)
            pick_field(&p, f);
    }
    ret->seen = p.seen;
    if (p.own != SOURCE_NONE)
        judge_own(&p);
    else if (!g || g->nselectors == 0 || !pick_selected(&p))
        take_default(ret, g);
    /* At trusted listeners only the query and the names kept for us are ever touched. */
    if (g && g->nselectors &&
        (!p.trusted || (g->kinds >> SELECT_QUERY & 1) || (p.seen >> FIELD_X_OFFSHOOT_OTHER & 1)))
        pick_remove_selectors(&p);
    if (ret->fault != FAULT_NONE) {
        ret->env = (struct str){NULL, 0};
        ret->by_token = false;
    }
}
