/* Lists in field values (baggage, cookie, tracestate), read and edited member by member, and our
 * own member of baggage (W3C Baggage, RFC 9110 section 5.6.1). */
#include "lib/graph/carrier.h"

#define OWN_KEY STR("offshoot")

/* ---- reading and editing lists ---- */

struct member member_split(struct str text)
{
    size_t equals = str_find(text, '=');
    struct member m = {.key = ows_trim(str_of(text.p, equals))};
    if (equals < text.n)
        m.value = ows_trim(str_from(text, equals + 1));
    return m;
}

void list_edit_init(struct list_edit *e, struct str value, char separator, struct scratch *scratch)
{
    *e = (struct list_edit){
        .rest = value, .separator = separator, .join = separator, .scratch = scratch};
    if (value.n == 0)
        e->rest.p = NULL;
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
static inline bool is_tchar(char c)
{
    static const bool tchar[256] = {['a' ... 'z'] = true,
        ['A' ... 'Z'] = true,
        ['0' ... '9'] = true,
        ['!'] = true,
        ['#' ... '\''] = true,
        ['*'] = true,
        ['+'] = true,
        ['-'] = true,
        ['.'] = true,
        ['^' ... '`'] = true,
        ['|'] = true,
        ['~'] = true};
    return tchar[(uint8_t)c];
}

/* True when some reader might take the key for ours: in any case, or with bytes around it that no
 * key may have. Such a member is never passed on. */
static bool looks_own(struct str key)
{
    while (key.n && !is_tchar(key.p[0]))
        key = str_from(key, 1);
    while (key.n && !is_tchar(key.p[key.n - 1]))
        key.n--;
    return str_ieq(key, OWN_KEY);
}

/* Takes the member if it is ours. False: it is somebody else's. */
static bool take_own(struct pick *p, struct str text)
{
    /* As every proxy writes it. */
    if (str_starts(text, STR("offshoot=v")) && str_find(text, ';') == text.n) {
        pick_own(p, SOURCE_BAGGAGE, str_from(text, sizeof("offshoot=") - 1));
        return true;
    }
    struct member m = member_split(text);
    struct str key = ows_trim(str_of(m.key.p, str_find(m.key, ';')));
    if (str_eq(key, OWN_KEY)) {
        /* Properties after the value mean nothing to us; before the '=' they leave no value. */
        bool no_value = key.n < m.key.n;
        struct str value = str_of(m.value.p, no_value ? 0 : str_find(m.value, ';'));
        pick_own(p, SOURCE_BAGGAGE, ows_trim(value));
        return true;
    }
    if (!looks_own(key))
        return false;
    pick_foreign(p);
    return true;
}

/* Rules most foreign members out by their first byte: an own one starts with an 'o', or with a
 * byte that no key may have. */
static bool may_be_own(struct str text)
{
    return text.n >= OWN_KEY.n && ((text.p[0] | 0x20) == 'o' || !is_tchar(text.p[0]));
}

void pick_baggage(struct pick *p, struct field *f)
{
    if (p->out->baggage_cut) {
        f->flags |= FIELD_DROP;
        return;
    }
    struct list_edit e;
    struct str text;
    list_edit_init(&e, field_value(f), ',', p->scratch);
    if (p->bytes)
        p->bytes++; /* the comma that joins two fields */
    while (list_edit_next(&e, &text)) {
        size_t end = p->bytes + (size_t)(e.to - f->value);
        if (end > BAGGAGE_BYTES_MAX || (text.n && ++p->members > BAGGAGE_MEMBERS_MAX)) {
            p->out->baggage_cut = true;
            list_edit_cut(&e);
            break;
        }
        if (may_be_own(text) && take_own(p, text))
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

size_t context_write_baggage(const struct field *fields, unsigned nfields, struct str token,
    char *out, size_t size, bool *ret_ours)
{
    struct writer w = {.size = size < BAGGAGE_BYTES_MAX ? size : BAGGAGE_BYTES_MAX};
    w.out = out;
    bool room = true;
    for (unsigned i = 0; i < nfields; i++) {
        const struct field *f = &fields[i];
        if (f->id == FIELD_BAGGAGE && room && !(f->flags & FIELD_DROP))
            room = write_field(&w, field_value(f));
    }
    *ret_ours = room && token.n && write_member(&w, STR("offshoot="), token);
    return w.n;
}
