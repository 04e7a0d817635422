/* The context a request carries: tokens and carriers as bytes (docs/context.md).
 *
 * Token, unsigned: v1<use>.<env>.<pin>.<flags>; <use> e (edge) or m (mesh); pin base 36; flags two
 * lower-case hex digits. Signed: .<exp>.<kid>.<mac> follow (keyring.h). At most 256 bytes with the
 * "offshoot=" of its baggage member. */
#ifndef OFFSHOOT_GRAPH_CONTEXT_H
#define OFFSHOOT_GRAPH_CONTEXT_H

#include "lib/base/field.h"
#include "lib/base/str.h"
#include "lib/graph/route.h"
#include <stdbool.h>
#include <stdint.h>

struct signer;

#define TOKEN_MAX           256
#define BAGGAGE_MEMBERS_MAX 64
#define BAGGAGE_BYTES_MAX   8192

enum context_flag {
    CONTEXT_DARK = 0x01,
    CONTEXT_CANDIDATE = 0x02,
    CONTEXT_SECONDARY = 0x04,
    CONTEXT_NO_EFFECTS = 0x08,
    CONTEXT_EXPLAIN = 0x10
};

struct token {
    char use; /* 'e' or 'm' */
    uint8_t flags;
    uint64_t pin;
    struct str env;      /* inside the parsed bytes */
    bool is_signed;      /* has exp, kid and mac; they are not verified here */
    uint64_t exp;        /* Unix seconds; signed only */
    struct str kid, mac; /* signed only */
};
/* Strict. 0 or -EINVAL. */
int token_parse(struct str s, struct token *ret);
/* Unsigned mesh token into out (TOKEN_MAX bytes); returns its length. */
size_t token_write(struct str env, uint64_t pin, uint8_t flags, char *out);

/* Which carrier gave the context. */
enum context_source {
    SOURCE_NONE,
    SOURCE_BAGGAGE,
    SOURCE_X_OFFSHOOT_CONTEXT,
    SOURCE_UBERCTX,
    SOURCE_OT_BAGGAGE,
    SOURCE_SELECTOR, /* context.selector says which */
    SOURCE_DEFAULT
};
/* "baggage" "x-offshoot-context" ... "selector" "default", "" for NONE */
const char *context_source_word(enum context_source s);
enum context_rule { RULE_NONE, RULE_EXPLICIT, RULE_SELECTOR, RULE_DEFAULT };
const char *context_rule_word(enum context_rule r); /* "explicit" "selector" "default" */

/* Why a carrier made the request refused with `context`. */
enum context_fault {
    FAULT_NONE,
    FAULT_MALFORMED,
    FAULT_TWO_VALUES,
    FAULT_EDGE_TOKEN,
    FAULT_UNKNOWN_KEY,
    FAULT_TOO_LONG, /* own carrier longer than a token may be */
    FAULT_SELECTOR_TWO_VALUES,
    FAULT_SELECTOR_VALUE, /* broken percent-encoding */
    FAULT_BAD_MAC,        /* forged, of another trust domain, or changed on its way */
    FAULT_PAST_EXP,
    FAULT_UNSIGNED, /* keys are configured, and an unsigned mesh token came */
    CONTEXT_FAULT_COUNT
};
const char *context_fault_word(enum context_fault f);

struct context {
    struct str env; /* name asked for; may be no valid name when it came from a selector */
    uint64_t pin;
    uint8_t flags;    /* enum context_flag */
    uint8_t source;   /* enum context_source */
    uint8_t rule;     /* enum context_rule */
    uint8_t fault;    /* enum context_fault; not NONE: refuse */
    int16_t selector; /* index into the gateway's selectors, -1 */
    bool by_token;    /* a signed edge token named the environment: what `access: token` asks for */
    bool by_subject;  /* a name in the client's certificate opened it (access.h) */
    bool by_query;    /* the parameter of a query selector decided, or made the fault */
    bool by_cookie;   /* likewise the cookie that stands for it (edge.h); untrusted listeners */
    uint8_t foreign;  /* own carriers removed without being believed (untrusted listeners) */
    bool baggage_cut; /* baggage beyond the limits was not scanned and is not passed on */
    uint64_t seen;    /* 1 << enum field_id of every field there was, ours included */
    bool explain;     /* asked for by flag 10, or by x-offshoot-explain: 1 on a trusted listener */
    /* Of a signed mesh token that decided; else 0 and empty. Whoever passes the context on keeps
     * the exp; the text may be passed on as it is while env, pin and flags stay the same. */
    uint64_t exp;
    struct str token; /* in the bytes that it was read from */
    struct str said;  /* by_query, no fault: the parameter's value, decoded */
};

/* Bump area for rewritten values; the caller gives memory at least as large as the head. */
struct scratch {
    char *p;
    size_t n, size;
};

/* What a context is read from. */
struct carried {
    struct field *fields; /* edited */
    unsigned nfields;
    bool trusted;                  /* the listener */
    bool secure;                   /* it has TLS: share links have another cookie (edge.h) */
    const struct gateway *gateway; /* may be NULL */
    struct str authority;
    struct str *path; /* moved into scratch when a parameter goes */
    struct scratch *scratch;
    struct signer *signer; /* keyring.h; NULL: no keys */
    int64_t now;           /* Unix seconds, for the exp of tokens */
};

/* Reads the context and edits the fields so that what is left may be forwarded: own carriers get
 * FIELD_DROP (all spellings, every occurrence; the baggage member is cut out of its value, baggage
 * that was not scanned is cut off), x-offshoot-* requests fields too; at untrusted listeners the
 * carriers of all selectors are removed unless `forward`, a query selector's parameter always
 * (*path then points into scratch). Edited values point into scratch. Never fails: a fault is in
 * the context. */
void context_pick(struct context *ret, const struct carried *from);

/* Writes one baggage value into out[0..size): the members left in the fields, in order, then
 * "offshoot=<token>" last. *ret_ours is false when ours would break the limits of 64 members or
 * 8,192 bytes (then it was left out). token empty: only the others. Returns the length (0: no
 * baggage field needed). size must be at least BAGGAGE_BYTES_MAX. The caller leaves the baggage
 * fields themselves out. */
size_t context_write_baggage(const struct field *fields, unsigned nfields, struct str token,
    char *out, size_t size, bool *ret_ours);

/* W3C trace context: true when version-traceid-parentid-flags is well formed (version 00 strictly;
 * higher versions at least that prefix). *ret_trace_id: the 32 hex digits inside value. */
bool traceparent_valid(struct str value, struct str *ret_trace_id);

#endif
