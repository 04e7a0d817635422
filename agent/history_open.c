/* Opening a history: first a look at the log without touching it, which lists its epochs and says
 * whether its end is torn or damaged; then the snapshots from the last whole on. */
#include "agent/history_int.h"
#include "lib/base/mem.h"
#include "lib/graph/codec.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE 4096

struct reclog *history_log_open(struct history *h, struct reclog_recovery *ret, struct err *e)
{
    static const struct reclog_options options = {.kind = HISTORY_KIND};
    return reclog_open(h->dir, HISTORY_LOG, &options, ret, e);
}

/* ---- the list of epochs ---- */

struct listing {
    struct history *h;
    struct err *e;
};

static int list_begin(struct history *h, const struct log_begin *b, uint64_t number, struct err *e)
{
    if (number != 0)
        return err_set(e, -EBADMSG, "a second beginning");
    memcpy(h->id, b->history.p, HISTORY_ID);
    h->has_id = true;
    h->has_follows = b->follows.n == HISTORY_ID;
    if (h->has_follows)
        memcpy(h->follows, b->follows.p, HISTORY_ID);
    h->follows_epoch = b->follows_epoch;
    return 0;
}

/* A NUL-terminated copy of a text that fits. */
static const char *text_in(char *buffer, struct str s)
{
    if (s.n)
        memcpy(buffer, s.p, s.n);
    buffer[s.n] = '\0';
    return buffer;
}

static int list_epoch(struct history *h, const struct log_epoch *ep, uint64_t bytes, struct err *e)
{
    char who[HISTORY_WHO_MAX + 1], why[HISTORY_WHY_MAX + 1], what[HISTORY_WHAT_MAX + 1];
    struct epoch_info info = ep->info;
    if (!h->has_id)
        return err_set(e, -EBADMSG, "an epoch before the beginning");
    if (info.epoch <= history_epoch(h) || (h->n == 0 && !info.whole))
        return err_set(e, -EBADMSG, "epoch %llu out of its order", (unsigned long long)info.epoch);
    info.who = text_in(who, ep->who);
    info.why = text_in(why, ep->why);
    info.what = text_in(what, ep->what);
    struct entry *en = history_room(h) < 0 ? NULL : entry_new(&info, bytes);
    if (!en)
        return err_set(e, -ENOMEM, "out of memory");
    history_add(h, en);
    return 0;
}

static int list_entry(void *arg, uint64_t number, struct str payload, uint64_t bytes)
{
    struct listing *l = arg;
    struct log_entry entry;
    int r = entry_read(payload, &entry, l->e);
    if (r == 0)
        r = entry.is_begin ? list_begin(l->h, &entry.begin, number, l->e)
                           : list_epoch(l->h, &entry.epoch, bytes, l->e);
    if (r < 0)
        err_prefix(
            l->e, "record %llu of '%s/%s'", (unsigned long long)number + 1, l->h->dir, HISTORY_LOG);
    return r;
}

static int list_epochs(struct history *h, struct reclog_peek *ret, struct err *e)
{
    struct listing l = {h, e};
    struct joining j = {.fn = list_entry, .arg = &l, .e = e};
    int r = reclog_peek(h->dir, HISTORY_LOG, HISTORY_KIND, RECORD_TYPES, join_record, &j, ret, e);
    pb_release(&j.parts);
    return r;
}

static int damaged(const struct history *h, const struct reclog_peek *p, struct err *e)
{
    return err_set(e, -EBADMSG,
        "damaged record %llu at byte %llu of '%s/%s', after epoch %llu: what follows it was "
        "acknowledged and is not cut off; put a copy of the file back, or begin a new history",
        (unsigned long long)p->records + 1, (unsigned long long)p->end, h->dir, HISTORY_LOG,
        (unsigned long long)history_epoch(h));
}

/* ---- the snapshots ---- */

struct reviving {
    struct history *h;
    size_t from; /* position of the last whole */
    struct err *e;
};

static int revive_document(void *arg, const struct own_document *d)
{
    struct history *h = arg;
    struct documents next;
    if (docs_merge(&h->docs, d, 1, &next) < 0)
        return -ENOMEM;
    docs_settle(&next, &h->docs);
    h->docs = next;
    return 0;
}

static int revive(struct reviving *v, size_t at, const struct log_epoch *ep)
{
    struct history *h = v->h;
    struct snapshot *next;
    if (at == v->from) /* all of them come now */
        docs_release(&h->docs);
    int r = codec_apply(history_newest(h), ep->difference, &next, NULL, v->e);
    if (r < 0)
        return r;
    if (snapshot_epoch(next) != ep->info.epoch) {
        snapshot_unref(next);
        return err_set(v->e, -EBADMSG, "a difference that leads elsewhere");
    }
    history_recent(h, next);
    r = entry_documents(ep, revive_document, h, v->e);
    return r == -ENOMEM ? err_set(v->e, r, "out of memory") : r;
}

static int revive_entry(void *arg, uint64_t number, struct str payload, uint64_t bytes)
{
    struct reviving *v = arg;
    struct log_entry entry;
    (void)bytes;
    if (number < v->from + 1)
        return 0;
    int r = entry_read(payload, &entry, v->e);
    if (r == 0)
        r = revive(v, (size_t)number - 1, &entry.epoch);
    if (r < 0) {
        err_prefix(v->e, "record %llu (epoch %llu) of '%s/%s'", (unsigned long long)number + 1,
            (unsigned long long)entry.epoch.info.epoch, v->h->dir, HISTORY_LOG);
        r = r == -ENOMEM || r == -ENOTSUP ? r : -EBADMSG;
    }
    return r;
}

/* Through the owned log, or without one by looking at it. */
static int revive_all(struct history *h, struct err *e)
{
    struct reviving v = {.h = h, .e = e};
    struct joining j = {.fn = revive_entry, .arg = &v, .e = e};
    struct reclog_peek peek;
    for (size_t i = 0; i < h->n; i++)
        if (h->list[i]->info.whole)
            v.from = i;
    int r = h->log ? reclog_read(h->log, join_record, &j, e)
                   : reclog_peek(h->dir, HISTORY_LOG, HISTORY_KIND, RECORD_TYPES, join_record, &j,
                         &peek, e);
    pb_release(&j.parts);
    return r;
}

/* ---- a new history ---- */

static int random_id(unsigned char *id, struct err *e)
{
    ssize_t n = getrandom(id, HISTORY_ID, 0);
    return n == HISTORY_ID ? 0 : err_set(e, -EIO, "cannot get %d random bytes", HISTORY_ID);
}

static int write_begin(struct history *h, struct err *e)
{
    struct pb_out o = {0};
    if (!h->has_id) {
        int r = random_id(h->id, e);
        if (r < 0)
            return r;
    }
    struct log_begin b = {.version = HISTORY_VERSION,
        .history = str_of((const char *)h->id, HISTORY_ID),
        .created = (int64_t)time(NULL),
        .follows = str_of((const char *)h->follows, h->has_follows ? HISTORY_ID : 0),
        .follows_epoch = h->has_follows ? h->follows_epoch : 0};
    entry_write_begin(&o, &b);
    int r = o.failed ? err_set(e, -ENOMEM, "out of memory") : history_write(h, pb_str(&o), e);
    pb_release(&o);
    h->has_id = r == 0;
    return r;
}

static int create(struct history *h, struct history_recovery *ret, struct err *e)
{
    struct reclog_recovery recovery;
    h->log = history_log_open(h, &recovery, e);
    if (!h->log)
        return -EIO;
    if (recovery.records)
        return err_set(e, -EBUSY, "another agent uses '%s/%s'", h->dir, HISTORY_LOG);
    h->end = reclog_bytes(h->log);
    ret->created = true;
    return write_begin(h, e);
}

static void follow_as_told(struct history *h)
{
    if (!h->o.follows_history)
        return;
    memcpy(h->follows, h->o.follows_history, HISTORY_ID);
    h->follows_epoch = h->o.follows_epoch;
    h->has_follows = true;
}

/* ---- the one that is there ---- */

static int open_existing(struct history *h, struct history_recovery *ret, struct err *e)
{
    struct reclog_recovery recovery;
    struct reclog_peek peek;
    int r = list_epochs(h, &peek, e);
    if (r < 0 && r != -ENOENT)
        return r;
    if (r == 0 && peek.damaged)
        return damaged(h, &peek, e);
    if (r == -ENOENT || peek.records == 0) {
        follow_as_told(h);
        ret->cut_bytes = r == 0 && peek.end ? peek.size - peek.end : 0;
        return create(h, ret, e);
    }
    h->log = history_log_open(h, &recovery, e);
    if (!h->log)
        return -EIO;
    if (recovery.records != peek.records)
        return err_set(e, -EBUSY, "another agent uses '%s/%s'", h->dir, HISTORY_LOG);
    h->end = reclog_bytes(h->log);
    ret->cut_bytes = recovery.cut_bytes;
    ret->records = peek.records;
    return revive_all(h, e);
}

/* ---- another one in its place ---- */

static void old_name(const struct history *h, unsigned attempt, char out[static PATH_SIZE])
{
    char id[2 * HISTORY_ID + 1] = "unknown", more[16] = "";
    for (size_t i = 0; h->has_id && i < HISTORY_ID; i++)
        snprintf(id + 2 * i, 3, "%02x", h->id[i]);
    if (attempt)
        snprintf(more, sizeof(more), ".%u", attempt);
    snprintf(out, PATH_SIZE, "%s/%s.old-%s%s", h->dir, HISTORY_LOG, id, more);
}

/* Renames the old log, which nobody may own and which is not changed, not even a torn end. */
static int put_aside(const struct history *h, struct err *e)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    int r = -EEXIST;
    snprintf(from, sizeof(from), "%s/%s", h->dir, HISTORY_LOG);
    int fd = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, -errno, "cannot open '%s': %s", from, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return err_set(e, -EBUSY, "another agent uses '%s'", from);
    }
    for (unsigned i = 0; r == -EEXIST && i < 1000; i++) {
        old_name(h, i, to);
        r = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0 ? -errno : 0;
    }
    close(fd);
    return r ? err_set(e, r, "cannot rename '%s': %s", from, strerror(-r)) : 0;
}

static void forget(struct history *h)
{
    for (size_t i = 0; i < h->n; i++)
        mem_free(h->list[i]);
    for (size_t i = 0; i < h->nrecent; i++)
        snapshot_unref(h->recent[i]);
    h->n = h->nrecent = 0;
    h->since_whole = 0;
    h->bytes_since_whole = 0;
}

/* The content of the old one as the first epoch of the new one. */
static int carry_over(struct history *h, struct snapshot *s, struct documents *docs, bool held,
    int64_t at, struct err *e)
{
    struct snapshot *first;
    uint64_t epoch = snapshot_epoch(s) + 1;
    struct epoch_info info = {.epoch = epoch,
        .time = at,
        .kind = held ? CHANGE_ROLLBACK : CHANGE_FILES,
        .held = held,
        .who = "agent",
        .why = "a new history",
        .what = "as the last epoch of the history before"};
    int r = codec_renumber(s, epoch, &first, e);
    if (r < 0)
        return r;
    r = history_append(h, first, &info, docs->list, docs->n, e);
    snapshot_unref(first);
    return r;
}

static int begin_new(struct history *h, struct history_recovery *ret, struct err *e)
{
    struct reclog_peek peek = {0};
    struct err why = {0}; /* what cannot be read of the old one is no hindrance */
    int r = list_epochs(h, &peek, &why);
    if (r == -ENOENT) {
        follow_as_told(h);
        return create(h, ret, e);
    }
    if (r == -ENOMEM || (h->n && revive_all(h, &why) == -ENOMEM))
        return err_set(e, -ENOMEM, "out of memory");
    r = put_aside(h, e);
    if (r < 0)
        return r;
    h->has_follows = h->has_id && h->n;
    h->follows_epoch = history_epoch(h);
    if (h->has_follows)
        memcpy(h->follows, h->id, HISTORY_ID);
    follow_as_told(h);
    bool held = history_held(h);
    int64_t at = h->n ? h->list[h->n - 1]->info.time : 0;
    struct snapshot *s = history_newest(h);
    struct documents docs = h->docs;
    if (s)
        snapshot_ref(s);
    h->docs = (struct documents){0};
    h->has_id = false;
    forget(h);
    r = create(h, ret, e);
    if (r == 0 && s)
        r = carry_over(h, s, &docs, held, at, e);
    docs_release(&docs);
    if (s)
        snapshot_unref(s);
    return r;
}

/* ---- both ---- */

static struct history *new_history(const struct history_options *o)
{
    struct history *h = mem_zalloc(sizeof(*h));
    if (!h)
        return NULL;
    h->o = *o;
    h->dir = mem_dup(o->dir, strlen(o->dir));
    if (!h->o.retain_epochs)
        h->o.retain_epochs = 1000;
    if (!h->o.retain_bytes)
        h->o.retain_bytes = 1ull << 30;
    if (!h->o.part_bytes || h->o.part_bytes > RECLOG_RECORD_MAX)
        h->o.part_bytes = HISTORY_PART;
    if (h->dir)
        return h;
    mem_free(h);
    return NULL;
}

struct history *history_open(
    const struct history_options *o, struct history_recovery *ret, struct err *e)
{
    struct history_recovery recovery = {0};
    struct err local = {0};
    struct history *h = new_history(o);
    if (!h) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    int r = o->start_new ? begin_new(h, &recovery, &local) : open_existing(h, &recovery, &local);
    h->o.follows_history = NULL; /* borrowed for the call */
    if (r < 0) {
        history_close(h);
        if (e)
            *e = local;
        return NULL;
    }
    if (ret)
        *ret = recovery;
    return h;
}

void history_close(struct history *h)
{
    if (!h)
        return;
    forget(h);
    docs_release(&h->docs);
    reclog_close(h->log);
    mem_free(h->list);
    mem_free(h->dir);
    mem_free(h);
}
