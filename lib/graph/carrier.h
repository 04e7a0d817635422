/* What the parts of context_pick share. Private to lib/graph: context.c, baggage.c, select.c. */
#ifndef OFFSHOOT_GRAPH_CARRIER_H
#define OFFSHOOT_GRAPH_CARRIER_H

#include "lib/base/field.h"
#include "lib/graph/context.h"

/* One call of context_pick. */
struct pick {
    struct context *out;
    struct field *fields;
    unsigned nfields;
    bool trusted, secure;
    const struct gateway *gateway; /* may be NULL */
    struct str authority;
    struct str *path;
    struct scratch *scratch;
    struct signer *signer;
    int64_t now;

    uint64_t seen;    /* 1 << enum field_id of every field */
    struct str token; /* of the own carriers; valid when `own` is not SOURCE_NONE */
    uint8_t own;      /* enum context_source: the first carrier that is present */
    bool two_tokens;  /* own carriers disagree */
    uint8_t fault;    /* enum context_fault of an edge token that ours signed, or seems to have */
    unsigned members; /* of baggage, scanned so far over all fields */
    size_t bytes;     /* likewise, with the commas that would join the fields */
};

/* An own carrier was found. Trusted listeners: keeps its value for judgement. Untrusted ones: keeps
 * it when it is an edge token that verifies, keeps its fault when it only claims to be one (kid
 * known), else counts it as foreign. */
void pick_own(struct pick *p, enum context_source source, struct str value);

/* The context is what a verified edge token says. */
void pick_edge_token(struct pick *p, const struct token *t);
/* A signed edge token with a kid of ours; its mac is still to be judged. */
bool pick_is_edge_token(const struct pick *p, struct str value, struct token *ret);

/* Counts a carrier that is removed without being believed; the count stops at its largest value. */
void pick_foreign(struct pick *p);

/* baggage.c: scans one baggage field, takes our member and what is beyond the limits out of it. */
void pick_baggage(struct pick *p, struct field *f);

/* What one selector found. */
struct reading {
    bool present;
    bool two;    /* different values */
    bool broken; /* not to be decoded */
    struct str value;
};
/* select.c: takes what a query or cookie selector, or the cookie of a share link, found. A signed
 * edge token whose kid is known stands for its environment (or makes a fault); any other value is
 * the name itself. r has one value, not broken. */
void pick_edge_value(struct pick *p, const struct reading *r);

/* select.c: what the gateway's selectors say. False when no selector's carrier is present. */
bool pick_selected(struct pick *p);
/* select.c: removes the carriers of selectors, as the kind of listener asks for. */
void pick_remove_selectors(struct pick *p);

/* White space (RFC 9110 section 5.6.3) off both ends; mostly there is none. */
static inline struct str ows_trim(struct str s)
{
    if (s.n && (unsigned char)s.p[0] > ' ' && (unsigned char)s.p[s.n - 1] > ' ')
        return s;
    return str_trim(s);
}

/* A member of a list: "key" OWS "=" OWS "value" and, in baggage, ";properties". */
struct member {
    struct str key;
    struct str value; /* p NULL: there is no '=' */
};
struct member member_split(struct str text);

/* Reads a list value and edits it by leaving members out. What stays is the same bytes in the same
 * order; only if it is not one piece any more is it copied to scratch. */
struct list_edit {
    struct str rest; /* p NULL: all read */
    char separator;
    char join;             /* goes before the member kept next, once there is a copy */
    const char *from, *to; /* the member read last, with the white space around it */
    struct str kept;       /* what stays so far; p NULL: nothing */
    struct scratch *scratch;
    bool copied;  /* kept is at the end of scratch */
    bool cut;     /* something was left out */
    bool no_room; /* scratch is full: nothing can be kept */
};

void list_edit_init(struct list_edit *e, struct str value, char separator, struct scratch *scratch);
/* *ret: the member without white space around it; empty for an empty element. False at the end. */
static inline bool list_edit_next(struct list_edit *e, struct str *ret)
{
    if (!e->rest.p)
        return false;
    struct str raw = {e->rest.p, str_find(e->rest, e->separator)};
    bool last = raw.n == e->rest.n;
    e->from = raw.p;
    e->to = raw.p + raw.n;
    e->rest = last ? (struct str){NULL, 0} : str_from(e->rest, raw.n + 1);
    *ret = ows_trim(raw);
    return true;
}
/* One of these for each member: it stays, or it goes. */
void list_edit_keep(struct list_edit *e);
void list_edit_cut(struct list_edit *e);
/* Puts the result into the field: untouched when nothing was cut, dropped when nothing is left. */
void list_edit_finish(struct list_edit *e, struct field *f);

#endif
