/* Selectors of a gateway: how the keys of other systems name an environment.
 *
 * They are tried in order; the first whose carrier is present decides, whatever it says. Reading
 * comes first, removing after it, because removing moves values. */
#include "lib/graph/carrier.h"
#include "lib/graph/edge.h"
#include "lib/graph/gateway.h"
#include "lib/graph/keyring.h"

static void read_value(struct reading *r, struct str value)
{
    if (!r->present)
        r->value = value;
    else if (!str_eq(r->value, value))
        r->two = true;
    r->present = true;
}

/* ---- percent-encoding ---- */

/* Takes one byte, decoded, off the front of *s: 0-255, or -1 when the escape is broken. */
static int next_byte(struct str *s)
{
    int c = (unsigned char)s->p[0];
    size_t used = 1;
    if (c == '%') {
        int high = s->n >= 3 ? hex_value(s->p[1]) : -1;
        int low = s->n >= 3 ? hex_value(s->p[2]) : -1;
        if (high < 0 || low < 0)
            return -1;
        c = high << 4 | low;
        used = 3;
    }
    *s = str_from(*s, used);
    return c;
}

static bool decodes_to(struct str encoded, struct str plain)
{
    size_t i = 0;
    for (; i < plain.n && encoded.n; i++) {
        if (next_byte(&encoded) != (unsigned char)plain.p[i])
            return false;
    }
    return i == plain.n && encoded.n == 0;
}

static void read_encoded(struct reading *r, struct str value, struct scratch *scratch)
{
    if (str_find(value, '%') == value.n) {
        read_value(r, value);
        return;
    }
    struct str decoded = {scratch->p + scratch->n, 0};
    while (value.n && scratch->n < scratch->size) {
        int c = next_byte(&value);
        if (c < 0)
            break;
        scratch->p[scratch->n++] = (char)c;
        decoded.n++;
    }
    if (value.n)
        r->broken = true;
    read_value(r, decoded);
}

/* ---- reading, by kind ---- */

static bool has_key(const struct selector *s, const struct member *m)
{
    struct str key = s->as_written.key.s;
    return s->as_written.kind == SELECT_QUERY ? decodes_to(m->key, key) : str_eq(m->key, key);
}

static void read_member(
    struct reading *r, const struct selector *s, const struct member *m, struct scratch *scratch)
{
    struct str value = m->value;
    switch (s->as_written.kind) {
    case SELECT_BAGGAGE:
        value.n = str_find(value, ';');
        read_encoded(r, ows_trim(value), scratch);
        break;
    case SELECT_QUERY:
        read_encoded(r, value, scratch);
        break;
    default:
        read_value(r, value);
        break;
    }
}

static void read_list(
    struct pick *p, const struct selector *s, struct str list, char separator, struct reading *r)
{
    struct list_edit e;
    struct str text;
    list_edit_init(&e, list, separator, p->scratch);
    while (list_edit_next(&e, &text)) {
        struct member m = member_split(text);
        if (text.n && has_key(s, &m))
            read_member(r, s, &m, p->scratch);
    }
}

/* Kinds whose carrier is a list in a field. */
static const struct list_kind {
    uint8_t kind;
    uint8_t id;
    char separator;
} list_kinds[] = {
    {SELECT_BAGGAGE, FIELD_BAGGAGE, ','},
    {SELECT_TRACESTATE, FIELD_TRACESTATE, ','},
    {SELECT_COOKIE, FIELD_COOKIE, ';'},
};
#define LIST_KINDS (sizeof(list_kinds) / sizeof(list_kinds[0]))

static void read_list_fields(struct pick *p, const struct selector *s, struct reading *r)
{
    for (size_t k = 0; k < LIST_KINDS; k++) {
        const struct list_kind *l = &list_kinds[k];
        if (l->kind != s->as_written.kind || !(p->seen >> l->id & 1))
            continue;
        for (unsigned i = 0; i < p->nfields; i++) {
            const struct field *f = &p->fields[i];
            if (f->id == l->id && !(f->flags & FIELD_DROP))
                read_list(p, s, field_value(f), l->separator, r);
        }
    }
}

static bool is_own(uint8_t id)
{
    return id >= FIELD_X_OFFSHOOT_CONTEXT && id <= FIELD_X_OFFSHOOT_ROUTE;
}

static inline bool is_selected(const struct selector *s, const struct field *f)
{
    if (f->id != s->field)
        return false;
    if (f->id == FIELD_OTHER || f->id == FIELD_X_OFFSHOOT_OTHER)
        return f->name_len == s->as_written.key.s.n && str_eq(field_name(f), s->as_written.key.s);
    return !is_own(f->id);
}

static void read_header(struct pick *p, const struct selector *s, struct reading *r)
{
    if (!(p->seen >> s->field & 1))
        return;
    for (unsigned i = 0; i < p->nfields; i++) {
        if (is_selected(s, &p->fields[i]))
            read_value(r, field_value(&p->fields[i]));
    }
}

/* The label under the star, in lower case. */
static void read_host(struct pick *p, const struct selector *s, struct reading *r)
{
    char key[HOST_KEY_MAX];
    struct str host = authority_host(p->authority, key);
    struct str suffix = str_from(s->as_written.key.s, 1);
    if (s->as_written.key.s.n < 2 || host.n <= suffix.n || !str_ends(host, suffix))
        return;
    struct str label = {host.p, host.n - suffix.n};
    if (str_find(label, '.') < label.n)
        return;
    struct str written = {p->authority.p, label.n};
    struct scratch *scratch = p->scratch;
    if (str_eq(label, written)) {
        read_value(r, written);
        return;
    }
    if (label.n > scratch->size - scratch->n) {
        r->present = r->broken = true;
        return;
    }
    memcpy(scratch->p + scratch->n, label.p, label.n);
    read_value(r, str_of(scratch->p + scratch->n, label.n));
    scratch->n += label.n;
}

/* Between '?' and '#'; p NULL when there is no query. */
static struct str query_of(struct str path)
{
    path.n = str_find(path, '#');
    size_t mark = str_find(path, '?');
    return mark < path.n ? str_from(path, mark + 1) : (struct str){NULL, 0};
}

/* The cookie that a share link left. */
static void read_share_cookie(struct pick *p, struct reading *r)
{
    static const struct selector plain = {
        .as_written = {.kind = SELECT_COOKIE, .key.s = {SHARE_COOKIE, sizeof(SHARE_COOKIE) - 1}}};
    static const struct selector secure = {
        .as_written = {.kind = SELECT_COOKIE,
            .key.s = {SHARE_COOKIE_SECURE, sizeof(SHARE_COOKIE_SECURE) - 1}}};
    read_list_fields(p, p->secure ? &secure : &plain, r);
    p->out->by_cookie = r->present;
}

/* The parameter beats the cookie that stands for it, whichever query selector it belongs to. */
static void read_query(struct pick *p, const struct selector *s, struct reading *r)
{
    const struct gateway *g = p->gateway;
    read_list(p, s, query_of(*p->path), '&', r);
    p->out->by_query = r->present;
    if (!r->present && !p->trusted && s == &g->selectors[g->share_at])
        read_share_cookie(p, r);
}

static void read_selector(struct pick *p, const struct selector *s, struct reading *r)
{
    switch (s->as_written.kind) {
    case SELECT_HOST:
        read_host(p, s, r);
        break;
    case SELECT_HEADER:
        read_header(p, s, r);
        break;
    case SELECT_QUERY:
        read_query(p, s, r);
        break;
    default:
        read_list_fields(p, s, r);
        break;
    }
}

void pick_edge_value(struct pick *p, const struct reading *r)
{
    struct token t;
    if (!pick_is_edge_token(p, r->value, &t)) {
        p->out->env = r->value;
        return;
    }
    p->out->fault = (uint8_t)signer_verify(p->signer, r->value, &t, p->now);
    if (p->out->fault == FAULT_NONE)
        pick_edge_token(p, &t);
}

/* Kinds that a link or a browser can carry: their value may be an edge token. */
static bool may_be_token(const struct selector *s)
{
    return s->as_written.kind == SELECT_QUERY || s->as_written.kind == SELECT_COOKIE;
}

bool pick_selected(struct pick *p)
{
    const struct gateway *g = p->gateway;
    for (uint32_t i = 0; i < g->nselectors; i++) {
        struct reading r = {0};
        read_selector(p, &g->selectors[i], &r);
        if (!r.present)
            continue;
        p->out->source = SOURCE_SELECTOR;
        p->out->rule = RULE_SELECTOR;
        p->out->selector = (int16_t)i;
        if (p->out->by_query && !r.two && !r.broken)
            p->out->said = r.value;
        if (r.two)
            p->out->fault = FAULT_SELECTOR_TWO_VALUES;
        else if (r.broken)
            p->out->fault = FAULT_SELECTOR_VALUE;
        else if (may_be_token(&g->selectors[i]))
            pick_edge_value(p, &r);
        else
            p->out->env = r.value;
        return true;
    }
    return false;
}

/* ---- removing ---- */

/* True when some selector of this kind reads the member and does not let it pass; the share cookie
 * never passes. */
static bool goes(const struct gateway *g, uint8_t kind, const struct member *m)
{
    if (kind == SELECT_COOKIE && g->share_at >= 0 && share_cookie_named(m->key))
        return true;
    for (uint32_t i = 0; i < g->nselectors; i++) {
        const struct selector *s = &g->selectors[i];
        bool stays = s->as_written.forward && kind != SELECT_QUERY;
        if (s->as_written.kind == kind && !stays && has_key(s, m))
            return true;
    }
    return false;
}

static void edit_list(const struct gateway *g, uint8_t kind, struct list_edit *e)
{
    struct str text;
    while (list_edit_next(e, &text)) {
        struct member m = member_split(text);
        if (text.n && goes(g, kind, &m))
            list_edit_cut(e);
        else
            list_edit_keep(e);
    }
}

static void remove_members(struct pick *p, const struct list_kind *l)
{
    for (unsigned i = 0; i < p->nfields; i++) {
        struct field *f = &p->fields[i];
        if (f->id != l->id || (f->flags & FIELD_DROP))
            continue;
        struct list_edit e;
        list_edit_init(&e, field_value(f), l->separator, p->scratch);
        edit_list(p->gateway, l->kind, &e);
        list_edit_finish(&e, f);
    }
}

/* The query is edited as a list that begins with what stands before it. */
static void remove_parameters(struct pick *p)
{
    struct str path = *p->path;
    struct str query = query_of(path);
    if (query.n == 0)
        return;
    struct list_edit e;
    list_edit_init(&e, query, '&', p->scratch);
    e.kept = str_of(path.p, (size_t)(query.p - path.p) - 1);
    e.join = '?';
    edit_list(p->gateway, SELECT_QUERY, &e);
    if (!e.cut)
        return;
    if (!e.no_room) {
        *p->path = e.kept;
        return;
    }
    *p->path = str_of(path.p, (size_t)(query.p - path.p) - 1);
    if (p->out->fault == FAULT_NONE)
        p->out->fault = FAULT_SELECTOR_VALUE;
}

/* Fields that frame the message stay, whatever a selector says. */
static bool is_framing(uint8_t id)
{
    return id >= FIELD_HOST && id <= FIELD_VIA;
}

static void remove_headers(struct pick *p)
{
    const struct gateway *g = p->gateway;
    for (uint32_t i = 0; i < g->nselectors; i++) {
        const struct selector *s = &g->selectors[i];
        if (s->as_written.kind != SELECT_HEADER || !(p->seen >> s->field & 1))
            continue;
        for (unsigned j = 0; j < p->nfields; j++) {
            struct field *f = &p->fields[j];
            if (!is_selected(s, f) || is_framing(f->id))
                continue;
            if (s->as_written.forward && f->id == FIELD_X_OFFSHOOT_OTHER)
                f->flags &= (uint8_t)~FIELD_DROP; /* the one way for such a name to pass */
            else if (!s->as_written.forward && !p->trusted)
                f->flags |= FIELD_DROP;
        }
    }
}

void pick_remove_selectors(struct pick *p)
{
    const struct gateway *g = p->gateway;
    if (g->kinds >> SELECT_QUERY & 1)
        remove_parameters(p);
    if (g->kinds >> SELECT_HEADER & 1)
        remove_headers(p);
    for (size_t k = 0; k < LIST_KINDS && !p->trusted; k++) {
        bool read = g->kinds >> list_kinds[k].kind & 1;
        if (list_kinds[k].kind == SELECT_COOKIE)
            read = read || g->share_at >= 0;
        if (read && (p->seen >> list_kinds[k].id & 1))
            remove_members(p, &list_kinds[k]);
    }
}
