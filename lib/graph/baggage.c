/* Lists in field values (baggage, cookie, tracestate), read and edited member by member, and our
 * own member of baggage (W3C Baggage, RFC 9110 section 5.6.1). */
#include "lib/graph/carrier.h"

static const char own_key[] = "offshoot";
#define OWN_KEY_LEN (sizeof(own_key) - 1)

/* ---- reading and editing lists ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

struct str ows_trim(struct str s)
{
    while (s.n && is_space(s.p[0]))
        s = str_from(s, 1);
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

void list_edit_init(struct list_edit *e, struct str value, char separator, struct scratch *scratch)
{
    *e = (struct list_edit){
        .rest = value, .separator = separator, .join = separator, .scratch = scratch};
    if (value.n == 0)
        e->rest.p = NULL;
}

bool list_edit_next(struct list_edit *e, struct member *ret)
{
    if (!e->rest.p)
        return false;
    struct str raw = {e->rest.p, str_find(e->rest, e->separator)};
    bool last = raw.n == e->rest.n;
    e->from = raw.p;
    e->to = raw.p + raw.n;
    e->rest = last ? (struct str){NULL, 0} : str_from(e->rest, raw.n + 1);

    ret->whole = ows_trim(raw);
    size_t equals = str_find(ret->whole, '=');
    ret->key = ows_trim(str_of(ret->whole.p, equals));
    ret->value = (struct str){NULL, 0};
    if (equals < ret->whole.n)
        ret->value = ows_trim(str_from(ret->whole, equals + 1));
    return true;
}

/* Appends to the copy of what is kept. */
static void keep_copied(struct list_edit *e, const char *p, size_t n)
{
    struct scratch *s = e->scratch;
    if (n > s->size - s->n) {
        e->no_room = true;
        return;
    }
    if (n)
        memcpy(s->p + s->n, p, n);
    s->n += n;
    e->kept.n += n;
}

void list_edit_keep(struct list_edit *e)
{
    size_t n = (size_t)(e->to - e->from);
    char join = e->join;
    e->join = e->separator;
    if (!e->kept.p) {
        e->kept = str_of(e->from, n);
        return;
    }
    if (!e->copied) {
        if (e->kept.p + e->kept.n + 1 == e->from) {
            e->kept.n += 1 + n;
            return;
        }
        struct str piece = e->kept;
        e->kept = str_of(e->scratch->p + e->scratch->n, 0);
        e->copied = true;
        keep_copied(e, piece.p, piece.n);
    }
    keep_copied(e, &join, 1);
    keep_copied(e, e->from, n);
}

void list_edit_cut(struct list_edit *e)
{
    e->cut = true;
}

void list_edit_finish(struct list_edit *e, struct field *f)
{
    if (!e->cut)
        return;
    struct str left = ows_trim(e->kept);
    if (left.n == 0 || e->no_room) {
        f->flags |= FIELD_DROP;
        return;
    }
    f->value = left.p;
    f->value_len = (uint32_t)left.n;
}

/* ---- our member ---- */

/* RFC 9110 section 5.6.2. */
static bool is_tchar(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* The key of a member that may have no '='. */
static struct str bare_key(const struct member *m)
{
    return ows_trim(str_of(m->key.p, str_find(m->key, ';')));
}

/* True when some reader might take the key for ours: in any case, or with bytes around it that no
 * key may have. Such a member is never passed on. */
static bool looks_own(struct str key)
{
    while (key.n && !is_tchar(key.p[0]))
        key = str_from(key, 1);
    while (key.n && !is_tchar(key.p[key.n - 1]))
        key.n--;
    return key.n == OWN_KEY_LEN && str_ieq(key, str_of(own_key, OWN_KEY_LEN));
}

/* Takes the member if it is ours. False: it is somebody else's. */
static bool take_own(struct pick *p, const struct member *m)
{
    if (m->key.n < OWN_KEY_LEN)
        return false;
    struct str key = bare_key(m);
    if (str_eq(key, str_of(own_key, OWN_KEY_LEN))) {
        /* Properties after the value mean nothing to us; before the '=' they leave no value. */
        bool no_value = key.n < m->key.n;
        struct str value = str_of(m->value.p, no_value ? 0 : str_find(m->value, ';'));
        pick_own(p, SOURCE_BAGGAGE, ows_trim(value));
        return true;
    }
    if (!looks_own(key))
        return false;
    pick_foreign(p);
    return true;
}

void pick_baggage(struct pick *p, struct field *f)
{
    if (p->out->baggage_cut) {
        f->flags |= FIELD_DROP;
        return;
    }
    struct list_edit e;
    struct member m;
    list_edit_init(&e, field_value(f), ',', p->scratch);
    if (p->bytes)
        p->bytes++; /* the comma that joins two fields */
    while (list_edit_next(&e, &m)) {
        size_t end = p->bytes + (size_t)(e.to - f->value);
        if (end > BAGGAGE_BYTES_MAX || (m.whole.n && ++p->members > BAGGAGE_MEMBERS_MAX)) {
            p->out->baggage_cut = true;
            list_edit_cut(&e);
            break;
        }
        if (m.whole.n && take_own(p, &m))
            list_edit_cut(&e);
        else
            list_edit_keep(&e);
    }
    p->bytes += f->value_len;
    list_edit_finish(&e, f);
}

/* ---- writing ---- */

struct writer {
    char *out;
    size_t n, size;
    unsigned members;
};

/* Appends a member if it fits in `size` and `members` allows it. */
static bool write_member(struct writer *w, struct str prefix, struct str text)
{
    size_t need = (w->n ? 1 : 0) + prefix.n + text.n;
    if (w->members >= BAGGAGE_MEMBERS_MAX || need > w->size - w->n)
        return false;
    if (w->n)
        w->out[w->n++] = ',';
    if (prefix.n)
        memcpy(w->out + w->n, prefix.p, prefix.n);
    w->n += prefix.n;
    memcpy(w->out + w->n, text.p, text.n);
    w->n += text.n;
    w->members++;
    return true;
}

/* Appends the members of a field, as written. False when the limits are reached. */
static bool write_field(struct writer *w, struct str rest)
{
    while (rest.n) {
        struct str raw = {rest.p, str_find(rest, ',')};
        rest = raw.n < rest.n ? str_from(rest, raw.n + 1) : (struct str){NULL, 0};
        raw = ows_trim(raw);
        if (raw.n && !write_member(w, (struct str){NULL, 0}, raw))
            return false;
    }
    return true;
}

size_t context_write_baggage(struct field *fields, unsigned nfields, struct str token, char *out,
    size_t size, bool *ret_ours)
{
    struct writer w = {.out = out, .size = size < BAGGAGE_BYTES_MAX ? size : BAGGAGE_BYTES_MAX};
    bool room = true;
    for (unsigned i = 0; i < nfields; i++) {
        struct field *f = &fields[i];
        if (f->id != FIELD_BAGGAGE)
            continue;
        if (room && !(f->flags & FIELD_DROP))
            room = write_field(&w, field_value(f));
        f->flags |= FIELD_DROP;
    }
    *ret_ours = room && token.n && write_member(&w, STR("offshoot="), token);
    return w.n;
}
