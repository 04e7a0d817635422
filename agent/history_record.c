/* LogEntry (proto/offshoot/v1/log.proto) as bytes, both ways.
 *
 * By hand, like the graph's own records: a difference of many megabytes is written in place and
 * read as a view, and every allocation can fail and be told. */
#include "agent/history_int.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include <errno.h>

enum { ENTRY_BEGIN = 1, ENTRY_EPOCH };
enum { B_VERSION = 1, B_HISTORY, B_CREATED, B_FOLLOWS, B_FOLLOWS_EPOCH };
enum {
    E_EPOCH = 1,
    E_TIME,
    E_KIND,
    E_WHO,
    E_WHY,
    E_WHAT,
    E_HELD,
    E_DIFFERENCE,
    E_WHOLE,
    E_DOCUMENTS,
    E_ADDED,
    E_REMOVED,
    E_CHANGED,
    E_SERVICES,
    E_GATEWAYS,
    E_ORIGINS
};
enum { O_NAME = 1, O_YAML };

static const char *const kind_words[CHANGE_KINDS] = {[CHANGE_FILES] = "files",
    [CHANGE_CREATE] = "create",
    [CHANGE_SET] = "set",
    [CHANGE_EXTEND] = "extend",
    [CHANGE_DELETE] = "delete",
    [CHANGE_EXPIRY] = "expiry",
    [CHANGE_ROLLBACK] = "rollback",
    [CHANGE_RESUME] = "resume"};

const char *change_kind_word(enum change_kind k)
{
    return kind_words[k];
}

/* ---- writing ---- */

static void put_text(struct pb_out *o, uint32_t field, const char *s)
{
    if (*s)
        pb_bytes(o, field, str_c(s));
}

void entry_write_begin(struct pb_out *o, const struct log_begin *b)
{
    size_t at = pb_begin(o, ENTRY_BEGIN);
    pb_opt_uint(o, B_VERSION, b->version);
    pb_bytes(o, B_HISTORY, b->history);
    pb_opt_uint(o, B_CREATED, (uint64_t)b->created);
    if (b->follows.n)
        pb_bytes(o, B_FOLLOWS, b->follows);
    pb_opt_uint(o, B_FOLLOWS_EPOCH, b->follows_epoch);
    pb_end(o, at);
}

void entry_write_head(struct pb_out *o, const struct epoch_info *info, size_t *ret_at)
{
    *ret_at = pb_begin(o, ENTRY_EPOCH);
    pb_opt_uint(o, E_EPOCH, info->epoch);
    pb_opt_uint(o, E_TIME, (uint64_t)info->time);
    put_text(o, E_KIND, kind_words[info->kind]);
    put_text(o, E_WHO, info->who);
    put_text(o, E_WHY, info->why);
    put_text(o, E_WHAT, info->what);
    pb_opt_uint(o, E_HELD, info->held);
}

void entry_write_rest(
    struct pb_out *o, const struct epoch_info *info, const struct own_document *docs, size_t ndocs)
{
    const struct snapshot_changes *c = &info->changes;
    pb_opt_uint(o, E_WHOLE, info->whole);
    for (size_t i = 0; i < ndocs; i++) {
        size_t at = pb_begin(o, E_DOCUMENTS);
        put_text(o, O_NAME, docs[i].name);
        if (docs[i].yaml.n)
            pb_bytes(o, O_YAML, docs[i].yaml);
        pb_end(o, at);
    }
    pb_opt_uint(o, E_ADDED, c->envs_added);
    pb_opt_uint(o, E_REMOVED, c->envs_removed);
    pb_opt_uint(o, E_CHANGED, c->envs_changed);
    pb_opt_uint(o, E_SERVICES, c->services_changed);
    pb_opt_uint(o, E_GATEWAYS, c->gateways_changed);
    pb_opt_uint(o, E_ORIGINS, c->origins_only);
}

/* ---- reading: fields that are not known are passed over ---- */

static int malformed(struct err *e, const char *what)
{
    return err_set(e, -EBADMSG, "malformed %s", what);
}

static int read_begin(struct str bytes, struct log_begin *b, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        if (f.number == B_VERSION && f.wire == PB_VARINT)
            b->version = f.value;
        else if (f.number == B_HISTORY && f.wire == PB_BYTES)
            b->history = f.bytes;
        else if (f.number == B_CREATED && f.wire == PB_VARINT)
            b->created = (int64_t)f.value;
        else if (f.number == B_FOLLOWS && f.wire == PB_BYTES)
            b->follows = f.bytes;
        else if (f.number == B_FOLLOWS_EPOCH && f.wire == PB_VARINT)
            b->follows_epoch = f.value;
    }
    if (r < 0)
        return malformed(e, "begin of a history");
    if (b->version != HISTORY_VERSION)
        return err_set(e, -ENOTSUP, "version %llu of the history is not known, only %u",
            (unsigned long long)b->version, HISTORY_VERSION);
    if (b->history.n != HISTORY_ID || (b->follows.n && b->follows.n != HISTORY_ID))
        return malformed(e, "begin of a history");
    return 0;
}

static uint32_t number_of(const struct pb_field *f)
{
    return f->value > UINT32_MAX ? UINT32_MAX : (uint32_t)f->value;
}

static void epoch_number(struct epoch_info *i, const struct pb_field *f)
{
    switch (f->number) {
    case E_EPOCH:
        i->epoch = f->value;
        break;
    case E_TIME:
        i->time = (int64_t)f->value;
        break;
    case E_HELD:
        i->held = f->value != 0;
        break;
    case E_WHOLE:
        i->whole = f->value != 0;
        break;
    case E_ADDED:
        i->changes.envs_added = number_of(f);
        break;
    case E_REMOVED:
        i->changes.envs_removed = number_of(f);
        break;
    case E_CHANGED:
        i->changes.envs_changed = number_of(f);
        break;
    case E_SERVICES:
        i->changes.services_changed = number_of(f);
        break;
    case E_GATEWAYS:
        i->changes.gateways_changed = number_of(f);
        break;
    case E_ORIGINS:
        i->changes.origins_only = f->value != 0;
        break;
    default:
        break;
    }
}

static void epoch_text(struct log_epoch *ep, const struct pb_field *f)
{
    switch (f->number) {
    case E_KIND:
        ep->kind = f->bytes;
        break;
    case E_WHO:
        ep->who = f->bytes;
        break;
    case E_WHY:
        ep->why = f->bytes;
        break;
    case E_WHAT:
        ep->what = f->bytes;
        break;
    case E_DIFFERENCE:
        ep->difference = f->bytes;
        break;
    default:
        break;
    }
}

static bool text_sound(struct str s, size_t max)
{
    return s.n <= max && utf8_check(s) == s.n && str_find(s, '\0') == s.n;
}

static int read_epoch(struct str bytes, struct log_epoch *ep, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    ep->bytes = bytes;
    while ((r = pb_next(&in, &f)) > 0) {
        if (f.wire == PB_VARINT)
            epoch_number(&ep->info, &f);
        else if (f.wire == PB_BYTES)
            epoch_text(ep, &f);
    }
    if (r < 0 || !ep->info.epoch || !ep->difference.n || ep->difference.n > UINT32_MAX ||
        !text_sound(ep->who, HISTORY_WHO_MAX) || !text_sound(ep->why, HISTORY_WHY_MAX) ||
        !text_sound(ep->what, HISTORY_WHAT_MAX))
        return malformed(e, "entry of an epoch");
    ep->info.bytes = (uint32_t)ep->difference.n;
    for (unsigned k = 0; k < CHANGE_KINDS; k++)
        if (str_eq(ep->kind, str_c(kind_words[k]))) {
            ep->info.kind = (uint8_t)k;
            return 0;
        }
    return err_set(e, -ENOTSUP, "a kind of change that is not known");
}

int entry_read(struct str payload, struct log_entry *ret, struct err *e)
{
    struct pb_in in = pb_in_of(payload);
    struct pb_field f;
    *ret = (struct log_entry){0};
    int r = pb_next(&in, &f);
    if (r <= 0 || f.wire != PB_BYTES)
        return malformed(e, "entry");
    if (f.number == ENTRY_BEGIN) {
        ret->is_begin = true;
        return read_begin(f.bytes, &ret->begin, e);
    }
    if (f.number == ENTRY_EPOCH)
        return read_epoch(f.bytes, &ret->epoch, e);
    return err_set(e, -ENOTSUP, "an entry of a newer version");
}

static int read_document(struct str bytes, document_fn *fn, void *arg, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    struct str name = {0};
    struct own_document d = {0};
    char text[64];
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        if (f.number == O_NAME && f.wire == PB_BYTES)
            name = f.bytes;
        else if (f.number == O_YAML && f.wire == PB_BYTES)
            d.yaml = f.bytes;
    }
    if (r < 0 || !name.p || !name_valid(name) || name.n >= sizeof(text))
        return malformed(e, "document");
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    d.name = text;
    return fn(arg, &d);
}

int entry_documents(const struct log_epoch *ep, document_fn *fn, void *arg, struct err *e)
{
    struct pb_in in = pb_in_of(ep->bytes);
    struct pb_field f;
    int r = 0;
    while (r == 0 && pb_next(&in, &f) > 0)
        if (f.number == E_DOCUMENTS)
            r = f.wire == PB_BYTES ? read_document(f.bytes, fn, arg, e) : malformed(e, "document");
    return r;
}

/* ---- records to entries ---- */

static int add_part(struct joining *j, struct str payload)
{
    pb_raw(&j->parts, payload.p, payload.n);
    return j->parts.failed ? err_set(j->e, -ENOMEM, "out of memory") : 0;
}

static int join_done(struct joining *j, struct str payload)
{
    j->open = false;
    int r = j->fn(j->arg, j->number, payload, j->bytes);
    j->number++;
    return r;
}

int join_record(void *arg, uint32_t type, struct str payload)
{
    struct joining *j = arg;
    bool first = type == RECORD_ENTRY || type == RECORD_FIRST;
    if (type == 0 || type >= RECORD_TYPES)
        return err_set(j->e, -ENOTSUP, "record of unknown type %u after entry %llu", type,
            (unsigned long long)j->number);
    if (first) {
        j->parts.n = 0;
        j->bytes = 0;
    } else if (!j->open) {
        return err_set(j->e, -EBADMSG, "part without its beginning after entry %llu",
            (unsigned long long)j->number);
    }
    j->bytes += payload.n + 12;
    if (type == RECORD_ENTRY)
        return join_done(j, payload);
    j->open = true;
    int r = add_part(j, payload);
    return r || type != RECORD_LAST ? r : join_done(j, pb_str(&j->parts));
}
