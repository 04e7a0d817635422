#include "agent/history.h"

#include "agent/history_int.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/codec.h"
#include <errno.h>

#define COMPACT_RETRY 16 /* epochs after a compaction that failed */

/* ---- reading ---- */

const unsigned char *history_id(const struct history *h)
{
    return h->id;
}

const unsigned char *history_follows(const struct history *h, uint64_t *ret_epoch)
{
    *ret_epoch = h->has_follows ? h->follows_epoch : 0;
    return h->has_follows ? h->follows : NULL;
}

size_t history_count(const struct history *h)
{
    return h->n;
}

const struct epoch_info *history_at(const struct history *h, size_t i)
{
    return i < h->n ? &h->list[i]->info : NULL;
}

static size_t find(const struct history *h, uint64_t epoch)
{
    size_t from = 0, to = h->n;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (h->list[mid]->info.epoch < epoch)
            from = mid + 1;
        else
            to = mid;
    }
    return from < h->n && h->list[from]->info.epoch == epoch ? from : h->n;
}

const struct epoch_info *history_find(const struct history *h, uint64_t epoch)
{
    return history_at(h, find(h, epoch));
}

uint64_t history_epoch(const struct history *h)
{
    return h->n ? h->list[h->n - 1]->info.epoch : 0;
}

bool history_held(const struct history *h)
{
    return h->n && h->list[h->n - 1]->info.held;
}

struct snapshot *history_newest(const struct history *h)
{
    return h->nrecent ? h->recent[h->nrecent - 1] : NULL;
}

size_t history_documents(const struct history *h, const struct own_document **ret)
{
    *ret = h->docs.list;
    return h->docs.n;
}

uint64_t history_bytes(const struct history *h)
{
    return h->end;
}

/* ---- entries in memory ---- */

/* A copy that is sound text of at most max bytes: what is not becomes '?'. Returns its end. */
static char *copy_text(char *to, const char *from, size_t max)
{
    struct str s = str_c(from);
    if (s.n > max) {
        s.n = max;
        while (s.n && ((unsigned char)s.p[s.n] & 0xc0) == 0x80)
            s.n--;
    }
    while (s.n) {
        size_t good = utf8_check(s);
        memcpy(to, s.p, good);
        to += good;
        s = str_from(s, good);
        if (s.n) {
            *to++ = '?';
            s = str_from(s, 1);
        }
    }
    *to++ = '\0';
    return to;
}

struct entry *entry_new(const struct epoch_info *info, uint64_t bytes)
{
    size_t n = HISTORY_WHO_MAX + HISTORY_WHY_MAX + HISTORY_WHAT_MAX + 3;
    const char *who = info->who ? info->who : "", *why = info->why ? info->why : "",
               *what = info->what ? info->what : "";
    size_t need = strlen(who) + strlen(why) + strlen(what) + 3;
    struct entry *en = mem_alloc(sizeof(*en) + (need < n ? need : n));
    if (!en)
        return NULL;
    en->info = *info;
    en->bytes = bytes;
    char *at = en->text;
    en->info.who = at;
    at = copy_text(at, who, HISTORY_WHO_MAX);
    en->info.why = at;
    at = copy_text(at, why, HISTORY_WHY_MAX);
    en->info.what = at;
    copy_text(at, what, HISTORY_WHAT_MAX);
    return en;
}

int history_room(struct history *h)
{
    if (h->n < h->size)
        return 0;
    size_t size = h->size + h->size / 2 + 64;
    struct entry **p = mem_realloc(h->list, size * sizeof(struct entry *));
    if (!p)
        return -ENOMEM;
    h->list = p;
    h->size = size;
    return 0;
}

void history_add(struct history *h, struct entry *en)
{
    h->list[h->n++] = en;
    h->since_whole = en->info.whole ? 0 : h->since_whole + 1;
    h->bytes_since_whole = en->info.whole ? 0 : h->bytes_since_whole + en->bytes;
}

void history_recent(struct history *h, struct snapshot *s)
{
    if (h->nrecent == HISTORY_RECENT) {
        snapshot_unref(h->recent[0]);
        memmove(h->recent, h->recent + 1, (HISTORY_RECENT - 1) * sizeof(struct snapshot *));
        h->nrecent--;
    }
    h->recent[h->nrecent++] = s;
}

/* ---- writing ---- */

/* Opens the log again after a failed sync and makes sure that it ends where it should: what was
 * synced before is on the disk, what was not has not been acknowledged and goes. */
static int restore(struct history *h, struct err *e)
{
    struct reclog_recovery recovery;
    if (!h->suspect)
        return 0;
    reclog_close(h->log);
    h->log = history_log_open(h, &recovery, e);
    if (!h->log)
        return e && e->code ? e->code : -EIO;
    uint64_t bytes = reclog_bytes(h->log);
    if (bytes < h->end)
        return err_set(
            e, -EIO, "cannot append to '%s/%s': the log lost its end", h->dir, HISTORY_LOG);
    int r = bytes > h->end ? reclog_take_back(h->log, h->end, e) : 0;
    h->suspect = r < 0;
    return r;
}

static int append_synced(struct history *h, uint32_t type, struct str part, struct err *e)
{
    int r = reclog_append(h->log, type, part, e);
    if (r < 0)
        return r;
    r = reclog_sync(h->log, e);
    h->suspect |= r < 0;
    return r;
}

/* Each part is synced before the next, so that only the last record of a log can be torn. */
static int append_parts(struct history *h, struct str payload, struct err *e)
{
    size_t most = h->o.part_bytes;
    if (payload.n <= most)
        return append_synced(h, RECORD_ENTRY, payload, e);
    uint32_t type = RECORD_FIRST;
    int r = 0;
    while (r == 0 && payload.n) {
        size_t n = payload.n < most ? payload.n : most;
        r = append_synced(h, n == payload.n ? RECORD_LAST : type, str_of(payload.p, n), e);
        payload = str_from(payload, n);
        type = RECORD_NEXT;
    }
    return r;
}

int history_write(struct history *h, struct str payload, struct err *e)
{
    int r = restore(h, e);
    if (r < 0)
        return r;
    r = append_parts(h, payload, e);
    if (r < 0) {
        if (reclog_bytes(h->log) > h->end && reclog_take_back(h->log, h->end, NULL) < 0)
            h->suspect = true;
        return r;
    }
    h->end = reclog_bytes(h->log);
    return 0;
}

/* What an append needs, all of it made before anything is written. */
struct appending {
    struct entry *entry;
    struct documents docs;
    struct pb_out bytes;
};

static bool whole_is_due(const struct history *h)
{
    return !h->nrecent || h->since_whole + 1 >= HISTORY_WHOLE ||
           h->bytes_since_whole > h->o.retain_bytes / 4;
}

static int put_difference(struct history *h, struct appending *a, struct snapshot *s,
    const struct own_document *docs, size_t ndocs, struct err *e)
{
    struct pb_out *o = &a->bytes;
    struct epoch_info *info = &a->entry->info;
    struct snapshot *base = whole_is_due(h) ? NULL : history_newest(h);
    size_t at;
    o->n = 0;
    entry_write_head(o, info, &at);
    size_t from = pb_begin(o, 8); /* LogEpoch.difference */
    int r = codec_encode(base, s, o, e);
    if (r == -EINVAL && base) { /* of another chain */
        base = NULL;
        r = codec_encode(NULL, s, o, e);
    }
    if (r < 0)
        return r;
    if (o->n - from > UINT32_MAX)
        return err_set(e, -EMSGSIZE, "the graph is larger than 4 GiB");
    info->bytes = (uint32_t)(o->n - from);
    info->whole = base == NULL;
    pb_end(o, from);
    entry_write_rest(o, info, info->whole ? a->docs.list : docs, info->whole ? a->docs.n : ndocs);
    pb_end(o, at);
    return o->failed ? err_set(e, -ENOMEM, "out of memory") : 0;
}

static int prepare(struct history *h, struct appending *a, struct snapshot *s,
    const struct epoch_info *info, const struct own_document *docs, size_t ndocs, struct err *e)
{
    if (docs_merge(&h->docs, docs, ndocs, &a->docs) < 0 || history_room(h) < 0)
        return err_set(e, -ENOMEM, "out of memory");
    a->entry = entry_new(info, 0);
    if (!a->entry)
        return err_set(e, -ENOMEM, "out of memory");
    return put_difference(h, a, s, docs, ndocs, e);
}

/* ---- retention ---- */

/* The entry that the log should begin with: a whole one. 0: all stay. */
static size_t first_to_keep(const struct history *h)
{
    uint64_t bytes = 0;
    size_t by_count = 0, by_bytes = 0;
    if (h->n <= h->o.retain_epochs + h->o.retain_epochs / 4u &&
        h->end <= h->o.retain_bytes + h->o.retain_bytes / 4)
        return 0;
    for (size_t i = h->n; i-- > 0;) {
        bytes += h->list[i]->bytes;
        if (!h->list[i]->info.whole)
            continue;
        if (by_bytes == 0 || bytes <= h->o.retain_bytes)
            by_bytes = i;
        if (by_count == 0 && h->n - i >= h->o.retain_epochs)
            by_count = i;
    }
    return by_bytes > by_count ? by_bytes : by_count;
}

struct copying {
    struct reclog *fresh;
    uint64_t from; /* entry number; the begin (0) is always copied */
    struct joining join;
    struct err *e;
};

static int pass(void *arg, uint64_t number, struct str payload, uint64_t bytes)
{
    (void)arg;
    (void)number;
    (void)payload;
    (void)bytes;
    return 0;
}

static int copy_record(void *arg, uint32_t type, struct str payload)
{
    struct copying *c = arg;
    uint64_t number = c->join.number;
    if (number == 0 || number >= c->from) {
        int r = reclog_append(c->fresh, type, payload, c->e);
        if (r < 0)
            return r;
    }
    if (type == RECORD_ENTRY || type == RECORD_LAST)
        c->join.number++;
    return 0;
}

struct compacting {
    struct history *h;
    size_t from;
    struct err *e;
};

static int write_compacted(void *arg, struct reclog *fresh)
{
    struct compacting *c = arg;
    struct copying copy = {.fresh = fresh, .from = c->from + 1, .join = {.fn = pass}, .e = c->e};
    return reclog_read(c->h->log, copy_record, &copy, c->e);
}

static void drop_first(struct history *h, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(h->list[i]);
    h->n -= n;
    memmove(h->list, h->list + n, h->n * sizeof(struct entry *));
}

/* A failure here changes nothing of what is kept: it is told and tried again later. */
static void retain(struct history *h)
{
    struct err e = {0};
    size_t from = h->n >= h->compact_after ? first_to_keep(h) : 0;
    if (from == 0)
        return;
    struct compacting c = {h, from, &e};
    uint64_t before = h->end;
    int r = reclog_compact(h->log, write_compacted, &c, &e);
    if (r == 0 || reclog_bytes(h->log) != before) {
        h->end = reclog_bytes(h->log);
        drop_first(h, from);
        h->suspect |= r < 0; /* the new log is in place, but perhaps not on the disk */
    }
    h->compact_after = r < 0 ? h->n + COMPACT_RETRY : 0;
    if (r < 0)
        log_warn("cannot shorten the log of epochs: %s", e.text);
}

int history_append(struct history *h, struct snapshot *s, const struct epoch_info *info,
    const struct own_document *docs, size_t ndocs, struct err *e)
{
    struct appending a = {0};
    if (info->epoch != snapshot_epoch(s) || info->epoch <= history_epoch(h))
        return err_set(e, -EINVAL, "epoch %llu does not come after %llu",
            (unsigned long long)info->epoch, (unsigned long long)history_epoch(h));
    uint64_t before = h->end;
    int r = prepare(h, &a, s, info, docs, ndocs, e);
    r = r < 0 ? r : history_write(h, pb_str(&a.bytes), e);
    pb_release(&a.bytes);
    if (r < 0) {
        mem_free(a.entry);
        docs_settle(&h->docs, &a.docs);
        return r;
    }
    a.entry->bytes = h->end - before;
    history_add(h, a.entry);
    snapshot_ref(s);
    history_recent(h, s);
    docs_settle(&a.docs, &h->docs);
    h->docs = a.docs;
    retain(h);
    return 0;
}

/* ---- older epochs ---- */

struct replay {
    size_t from, to; /* positions among the epochs kept; entry numbers are one more */
    struct snapshot *at;
    struct err *e;
};

#define REPLAY_DONE 1

static int replay_entry(void *arg, uint64_t number, struct str payload, uint64_t bytes)
{
    struct replay *rp = arg;
    struct log_entry entry;
    struct snapshot *next;
    (void)bytes;
    if (number < rp->from + 1)
        return 0;
    int r = entry_read(payload, &entry, rp->e);
    if (r == 0 && entry.is_begin)
        r = err_set(rp->e, -EBADMSG, "a second beginning");
    r = r < 0 ? r : codec_apply(rp->at, entry.epoch.difference, &next, NULL, rp->e);
    if (r < 0)
        return r == -ENOMEM ? r : -EBADMSG;
    if (rp->at)
        snapshot_unref(rp->at);
    rp->at = next;
    return number == rp->to + 1 ? REPLAY_DONE : 0;
}

static struct snapshot *replay(struct history *h, size_t to, struct err *e)
{
    struct replay rp = {.from = to, .to = to, .e = e};
    struct joining j = {.fn = replay_entry, .arg = &rp, .e = e};
    while (rp.from && !h->list[rp.from]->info.whole)
        rp.from--;
    int r = h->log ? reclog_read(h->log, join_record, &j, e)
                   : err_set(e, -EIO, "the log of epochs is not open");
    pb_release(&j.parts);
    if (r == REPLAY_DONE)
        return rp.at;
    if (rp.at)
        snapshot_unref(rp.at);
    if (r == 0)
        err_set(e, -EBADMSG, "it is not in the log");
    err_prefix(e, "epoch %llu", (unsigned long long)h->list[to]->info.epoch);
    return NULL;
}

struct snapshot *history_snapshot(struct history *h, uint64_t epoch, struct err *e)
{
    for (size_t i = 0; i < h->nrecent; i++)
        if (snapshot_epoch(h->recent[i]) == epoch) {
            snapshot_ref(h->recent[i]);
            return h->recent[i];
        }
    size_t at = find(h, epoch);
    if (at < h->n)
        return replay(h, at, e);
    if (h->n)
        err_set(e, -ENOENT, "epoch %llu is not kept: kept are %llu to %llu",
            (unsigned long long)epoch, (unsigned long long)h->list[0]->info.epoch,
            (unsigned long long)history_epoch(h));
    else
        err_set(e, -ENOENT, "epoch %llu is not kept: there is none", (unsigned long long)epoch);
    return NULL;
}
