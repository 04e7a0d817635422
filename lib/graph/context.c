/* The context of a request: one pass over its fields by number, then a verdict.
 *
 *   fields -> pick_field -> own carriers: pick_own, pick_baggage (baggage.c)
 *          -> judge_own (trusted listeners) | pick_selected (select.c) | the gateway's default
 *          -> pick_remove_selectors (select.c)
 *
 * A carrier of ours that is present but unusable makes a fault, never an absence. */
#include "lib/graph/context.h"
#include "lib/graph/carrier.h"
#include "lib/graph/gateway.h"

_Static_assert(FIELD_ID_COUNT <= 32, "a bit of pick.seen for every field number");

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

void pick_own(struct pick *p, enum context_source source, struct str value)
{
    if (!p->trusted) {
        pick_foreign(p);
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

/* Some own carrier is present at a trusted listener: it decides, or the request is refused. */
static void judge_own(struct pick *p)
{
    struct context *out = p->out;
    struct token t;
    out->source = p->own;
    out->rule = RULE_EXPLICIT;
    if (p->two_tokens) {
        out->fault = FAULT_TWO_VALUES;
    } else if (p->token.n > TOKEN_MAX - (sizeof("offshoot=") - 1)) {
        out->fault = FAULT_TOO_LONG;
    } else if (token_parse(p->token, &t)) {
        out->fault = FAULT_MALFORMED;
    } else if (t.use != 'm') {
        out->fault = FAULT_EDGE_TOKEN;
    } else if (t.is_signed) {
        out->fault = FAULT_UNKNOWN_KEY;
    } else {
        out->env = t.env;
        out->pin = t.pin;
        out->flags = t.flags;
        out->explain = out->explain || (t.flags & CONTEXT_EXPLAIN);
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

void context_pick(struct context *ret, struct field *fields, unsigned nfields, bool trusted,
    const struct gateway *g, struct str authority, struct str *path, struct scratch *scratch)
{
    /* Fields that mean something to us. */
    const uint32_t ours = 1u << FIELD_BAGGAGE | 1u << FIELD_X_OFFSHOOT_CONTEXT |
                          1u << FIELD_UBERCTX_OFFSHOOT | 1u << FIELD_OT_BAGGAGE_OFFSHOOT |
                          1u << FIELD_X_OFFSHOOT_EXPLAIN | 1u << FIELD_X_OFFSHOOT_ERROR |
                          1u << FIELD_X_OFFSHOOT_ROUTE | 1u << FIELD_X_OFFSHOOT_OTHER;
    struct pick p = {.out = ret,
        .fields = fields,
        .nfields = nfields,
        .trusted = trusted,
        .gateway = g,
        .authority = authority,
        .path = path,
        .scratch = scratch};
    *ret = (struct context){.selector = -1};

    for (struct field *f = fields, *end = f + nfields; f < end; f++) {
        uint32_t bit = 1u << f->id;
        p.seen |= bit;
        if (bit & ours)
            pick_field(&p, f);
    }
    if (p.own != SOURCE_NONE)
        judge_own(&p);
    else if (!g || g->nselectors == 0 || !pick_selected(&p))
        take_default(ret, g);
    /* At trusted listeners only the query and the names kept for us are ever touched. */
    if (g && g->nselectors &&
        (!trusted || (g->kinds >> SELECT_QUERY & 1) || (p.seen >> FIELD_X_OFFSHOOT_OTHER & 1)))
        pick_remove_selectors(&p);
    if (ret->fault != FAULT_NONE)
        ret->env = (struct str){NULL, 0};
}
