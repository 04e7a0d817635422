/* The last good graph on disk.
 *
 * Records of the log, numbers lowest byte first:
 *
 *   GRAPH  history 16 | digest 32 | base epoch 8 | epoch 8 | saved at 8 | length 8 | first bytes
 *   PART   more bytes of the GRAPH before it; only a whole one has any
 *   DONE   history 16 | epoch 8: that GRAPH was synced, so it may have been acknowledged
 *   ADOPT  history 16
 *
 * What a GRAPH and its PARTs hold is one Difference (proto/offshoot/v1/graph.proto); base epoch 0
 * is a whole one, which only the first of a log is. The log is replaced (reclog_compact) by one
 * whole when it is new, of another history or chain, grown, or when a sync failed.
 *
 * Torn or damaged: a record that is not sound, with nothing sound behind it, is the torn end of a
 * write that was never acknowledged, and is cut. A DONE behind it says that something acknowledged
 * stood there: that is damage, told with its place, before anything is cut. The DONE itself needs
 * no sync: without it the graph in front is still read. */
#include "proxy/lastgood.h"
#include "lib/base/mem.h"
#include "lib/base/reclog.h"
#include "lib/graph/codec.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME       "last-good"
#define KIND       0x4c474431u /* "LGD1" */
#define PART_BYTES (16u << 20)
#define GROWN_MIN  (1u << 20) /* differences together, before the log is replaced */
#define HASH       32u
#define FILE_HEAD  16u /* bytes before the first record of a record log */
#define FRAME      12u /* bytes before a record's payload */

enum record_type { GRAPH = 1, PART, DONE, ADOPT };

struct graph_head {
    unsigned char history[HISTORY_ID], digest[HASH];
    uint64_t base, epoch, saved_s, length;
};
#define HEAD_BYTES (HISTORY_ID + HASH + 4 * 8)
#define DONE_BYTES (HISTORY_ID + 8)

struct lastgood {
    struct reclog *log;
    struct snapshot *saved; /* a reference; NULL: none */
    unsigned char history[HISTORY_ID], adopted[HISTORY_ID];
    bool has_adopted;
    bool replace;                /* appending is not sound any more */
    uint64_t whole_bytes, grown; /* of the whole, and of the differences behind it */
    char *path;
};

static void put_u64(unsigned char *p, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t get_u64(const char *at)
{
    const unsigned char *p = (const unsigned char *)at;
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static void head_write(unsigned char out[static HEAD_BYTES], const struct graph_head *h)
{
    memcpy(out, h->history, HISTORY_ID);
    memcpy(out + HISTORY_ID, h->digest, HASH);
    unsigned char *p = out + HISTORY_ID + HASH;
    put_u64(p, h->base);
    put_u64(p + 8, h->epoch);
    put_u64(p + 16, h->saved_s);
    put_u64(p + 24, h->length);
}

static void head_read(struct str payload, struct graph_head *ret)
{
    memcpy(ret->history, payload.p, HISTORY_ID);
    memcpy(ret->digest, payload.p + HISTORY_ID, HASH);
    const char *p = payload.p + HISTORY_ID + HASH;
    ret->base = get_u64(p);
    ret->epoch = get_u64(p + 8);
    ret->saved_s = get_u64(p + 16);
    ret->length = get_u64(p + 24);
}

/* ---- damage --------------------------------------------------------------------------------- */

/* A sound DONE starts at some byte of the tail. */
static bool done_within(struct str tail)
{
    const char frame[] = {DONE_BYTES, 0, 0, 0};
    for (size_t at = 1; at + FRAME + DONE_BYTES <= tail.n; at++) {
        const char *p = tail.p + at;
        if (memcmp(p, frame, sizeof frame) == 0 && p[8] == DONE && p[9] == 0 &&
            reclog_scan(str_of(p, FRAME + DONE_BYTES), NULL, NULL) > 0)
            return true;
    }
    return false;
}

static int damaged(const struct lastgood *l, uint64_t at, const char *what, struct err *e)
{
    return err_set(
        e, -EBADMSG, "damaged at byte %llu of '%s': %s", (unsigned long long)at, l->path, what);
}

static int judge_bytes(const struct lastgood *l, struct str file, struct err *e)
{
    if (file.n < FILE_HEAD)
        return damaged(l, file.n, "cut short", e);
    struct str records = str_from(file, FILE_HEAD);
    size_t end = reclog_scan(records, NULL, NULL);
    if (done_within(str_from(records, end)))
        return damaged(l, FILE_HEAD + end, "what stood there was acknowledged", e);
    return 0;
}

/* Before the record log cuts anything. A file that is not there is no fault. */
static int judge_file(const struct lastgood *l, struct err *e)
{
    struct stat st;
    int fd = open(l->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT
                   ? 0
                   : err_set(e, -errno, "cannot open '%s': %s", l->path, strerror(errno));
    int rc = 0;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        rc = err_set(e, -EINVAL, "not a regular file: '%s'", l->path);
    } else if (st.st_size == 0) {
        rc = damaged(l, 0, "cut short", e);
    } else {
        size_t n = (size_t)st.st_size;
        void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            rc = err_set(e, -errno, "cannot read '%s': %s", l->path, strerror(errno));
        } else {
            rc = judge_bytes(l, str_of(p, n), e);
            munmap(p, n);
        }
    }
    close(fd);
    return rc;
}

/* ---- reading -------------------------------------------------------------------------------- */

struct reading {
    struct lastgood *l;
    struct graph_head head;
    struct pb_out bytes; /* of the graph that is being joined */
    bool joining;
    uint64_t at, saved_s, limit; /* offset of this record; of the last graph; bytes of the log */
    struct err *e;
};

/* The bytes of a graph are complete. */
static int read_whole(struct reading *r, struct str bytes)
{
    struct lastgood *l = r->l;
    struct snapshot *s = NULL;
    struct err why = {0};
    int rc = codec_apply(l->saved, bytes, &s, NULL, &why);
    if (rc == -ENOMEM)
        return err_set(r->e, rc, "out of memory while reading '%s'", l->path);
    if (rc != 0)
        return damaged(l, r->at, why.text, r->e);
    bool same =
        snapshot_epoch(s) == r->head.epoch && memcmp(snapshot_digest(s), r->head.digest, HASH) == 0;
    if (!same) {
        snapshot_unref(s);
        return damaged(l, r->at, "the graph is not the one that its record names", r->e);
    }
    if (l->saved)
        snapshot_unref(l->saved);
    l->saved = s;
    memcpy(l->history, r->head.history, HISTORY_ID);
    if (l->has_adopted && memcmp(l->adopted, l->history, HISTORY_ID) == 0)
        l->has_adopted = false;
    if (r->head.base == 0)
        l->whole_bytes = bytes.n;
    else
        l->grown += bytes.n;
    r->saved_s = r->head.saved_s;
    return 0;
}

static int read_graph(struct reading *r, struct str payload)
{
    struct lastgood *l = r->l;
    if (payload.n < HEAD_BYTES)
        return damaged(l, r->at, "a graph without its head", r->e);
    head_read(payload, &r->head);
    struct str first = str_from(payload, HEAD_BYTES);
    const struct graph_head *h = &r->head;
    if (h->length > r->limit || first.n > h->length)
        return damaged(l, r->at, "a graph of an impossible length", r->e);
    if (h->base && (!l->saved || memcmp(h->history, l->history, HISTORY_ID) != 0))
        return damaged(l, r->at, "a difference without what it builds on", r->e);
    r->joining = first.n < h->length;
    if (!r->joining)
        return read_whole(r, first);
    r->bytes.n = 0;
    pb_raw(&r->bytes, first.p, first.n);
    return r->bytes.failed ? -ENOMEM : 0;
}

static int read_part(struct reading *r, struct str payload)
{
    if (!r->joining || payload.n > r->head.length - r->bytes.n)
        return damaged(r->l, r->at, "a part without its graph", r->e);
    pb_raw(&r->bytes, payload.p, payload.n);
    if (r->bytes.failed)
        return err_set(r->e, -ENOMEM, "out of memory while reading '%s'", r->l->path);
    if (r->bytes.n < r->head.length)
        return 0;
    r->joining = false;
    int rc = read_whole(r, pb_str(&r->bytes));
    pb_release(&r->bytes);
    return rc;
}

static int read_done(struct reading *r, struct str payload)
{
    const struct lastgood *l = r->l;
    if (payload.n != DONE_BYTES || !l->saved || memcmp(payload.p, l->history, HISTORY_ID) != 0 ||
        get_u64(payload.p + HISTORY_ID) != snapshot_epoch(l->saved))
        return damaged(l, r->at, "the graph that was acknowledged is not there", r->e);
    return 0;
}

static int on_record(void *arg, uint32_t type, struct str payload)
{
    struct reading *r = arg;
    int rc;
    if (type == GRAPH)
        rc = read_graph(r, payload);
    else if (type == PART)
        rc = read_part(r, payload);
    else if (type == DONE)
        rc = read_done(r, payload);
    else if (type == ADOPT && payload.n == HISTORY_ID) {
        memcpy(r->l->adopted, payload.p, HISTORY_ID);
        r->l->has_adopted = true;
        rc = 0;
    } else
        rc = damaged(r->l, r->at, "a record of an unknown type", r->e);
    r->at += FRAME + payload.n;
    return rc;
}

static int open_log(struct lastgood *l, const char *dir, struct lastgood_found *ret, struct err *e)
{
    struct reclog_options o = {.kind = KIND};
    struct reclog_recovery recovered = {0};
    int rc = judge_file(l, e);
    if (rc != 0)
        return rc;
    l->log = reclog_open(dir, NAME, &o, &recovered, e);
    if (!l->log) /* a head that is not one: damaged, too */
        return e->code == -EINVAL ? (e->code = -EBADMSG) : e->code;
    struct reading r = {.l = l, .at = FILE_HEAD, .limit = reclog_bytes(l->log), .e = e};
    rc = reclog_read(l->log, on_record, &r, e);
    pb_release(&r.bytes);
    if (rc == 0)
        *ret = (struct lastgood_found){
            .saved_s = (int64_t)r.saved_s, .cut_bytes = recovered.cut_bytes};
    if (rc == -ENOMEM)
        err_set(e, rc, "out of memory while reading '%s'", l->path);
    l->replace = r.joining; /* parts without an end stand there */
    return rc;
}

struct lastgood *lastgood_open(const char *dir, struct lastgood_found *ret, struct err *e)
{
    struct lastgood_found found = {0};
    struct err mine = {0};
    if (!e)
        e = &mine;
    struct lastgood *l = mem_zalloc(sizeof *l);
    size_t n = strlen(dir) + sizeof "/" NAME;
    if (l)
        l->path = mem_alloc(n);
    if (!l || !l->path) {
        mem_free(l);
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    snprintf(l->path, n, "%s/%s", dir, NAME);
    if (open_log(l, dir, &found, e) != 0) {
        lastgood_close(l);
        return NULL;
    }
    if (l->saved) {
        snapshot_ref(l->saved);
        found.snapshot = l->saved;
        memcpy(found.history, l->history, HISTORY_ID);
    }
    *ret = found;
    return l;
}

void lastgood_close(struct lastgood *l)
{
    if (!l)
        return;
    if (l->saved)
        snapshot_unref(l->saved);
    reclog_close(l->log);
    mem_free(l->path);
    mem_free(l);
}

/* ---- writing -------------------------------------------------------------------------------- */

/* One graph on its way to the log. */
struct writing {
    struct lastgood *l;
    const unsigned char *history;
    const struct snapshot *s;
    struct str bytes; /* a Difference */
    uint64_t base;
    struct err *e;
};

static int write_graph(const struct writing *w, struct reclog *log)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct graph_head h = {.base = w->base,
        .epoch = snapshot_epoch(w->s),
        .saved_s = (uint64_t)now.tv_sec,
        .length = w->bytes.n};
    memcpy(h.history, w->history, HISTORY_ID);
    memcpy(h.digest, snapshot_digest(w->s), HASH);
    size_t n = w->bytes.n < PART_BYTES ? w->bytes.n : PART_BYTES;
    unsigned char *record = mem_alloc(HEAD_BYTES + n);
    if (!record)
        return err_set(w->e, -ENOMEM, "out of memory");
    head_write(record, &h);
    memcpy(record + HEAD_BYTES, w->bytes.p, n);
    int rc = reclog_append(log, GRAPH, str_of((char *)record, HEAD_BYTES + n), w->e);
    mem_free(record);
    for (size_t at = n; rc == 0 && at < w->bytes.n; at += n) {
        n = w->bytes.n - at < PART_BYTES ? w->bytes.n - at : PART_BYTES;
        rc = reclog_append(log, PART, str_of(w->bytes.p + at, n), w->e);
    }
    return rc;
}

static int write_done(const struct writing *w, struct reclog *log, struct err *e)
{
    unsigned char done[DONE_BYTES];
    memcpy(done, w->history, HISTORY_ID);
    put_u64(done + HISTORY_ID, snapshot_epoch(w->s));
    return reclog_append(log, DONE, str_of((char *)done, sizeof done), e);
}

/* For reclog_compact. What an operator adopted outlives a graph of another history. */
static int write_all(void *arg, struct reclog *fresh)
{
    const struct writing *w = arg;
    const struct lastgood *l = w->l;
    int rc = write_graph(w, fresh);
    rc = rc ? rc : write_done(w, fresh, w->e);
    if (rc == 0 && l->has_adopted && memcmp(l->adopted, w->history, HISTORY_ID) != 0)
        rc = reclog_append(fresh, ADOPT, str_of((const char *)l->adopted, HISTORY_ID), w->e);
    return rc;
}

static int replace_all(struct writing *w)
{
    struct pb_out out = {0};
    int rc = codec_encode(NULL, w->s, &out, w->e);
    if (rc == 0) {
        w->bytes = pb_str(&out);
        w->base = 0;
        rc = reclog_compact(w->l->log, write_all, w, w->e);
    }
    if (rc == 0) {
        w->l->whole_bytes = out.n;
        w->l->grown = 0;
        w->l->replace = false;
    }
    pb_release(&out);
    return rc;
}

static int append_difference(struct writing *w, struct str bytes)
{
    struct lastgood *l = w->l;
    w->bytes = bytes;
    w->base = snapshot_epoch(l->saved);
    int rc = write_graph(w, l->log);
    if (rc != 0)
        return rc;
    rc = reclog_sync(l->log, w->e);
    if (rc != 0) {
        l->replace = true;
        return rc;
    }
    /* Only helps to tell damage from a torn end: what counts is on the disk. */
    struct err unused;
    (void)write_done(w, l->log, &unused);
    l->grown += bytes.n;
    return 0;
}

static bool grown(const struct lastgood *l, size_t more)
{
    uint64_t n = l->grown + more;
    return n > GROWN_MIN && n > 2 * l->whole_bytes;
}

/* A difference behind what is there, or everything anew. */
static int write_next(struct writing *w)
{
    struct lastgood *l = w->l;
    struct pb_out out = {0};
    bool follows = l->saved && !l->replace && memcmp(l->history, w->history, HISTORY_ID) == 0;
    if (!follows || codec_encode(l->saved, w->s, &out, NULL) != 0)
        return replace_all(w);
    int rc = -ENOSPC;
    bool fits = out.n <= PART_BYTES;
    if (!fits || grown(l, out.n))
        rc = replace_all(w);
    if (rc != 0 && fits && !l->replace) /* no room for a second copy, perhaps */
        rc = append_difference(w, pb_str(&out));
    pb_release(&out);
    return rc;
}

int lastgood_save(
    struct lastgood *l, const unsigned char *history, struct snapshot *s, struct err *e)
{
    struct err mine = {0};
    struct writing w = {l, history, s, {0}, 0, e ? e : &mine};
    bool same = l->saved && memcmp(l->history, history, HISTORY_ID) == 0;
    if (same && !l->replace && snapshot_epoch(s) == snapshot_epoch(l->saved) &&
        memcmp(snapshot_digest(s), snapshot_digest(l->saved), HASH) == 0)
        return 0;
    if (same && snapshot_epoch(s) < snapshot_epoch(l->saved))
        return err_set(e, -EINVAL, "epoch %llu is kept already, not saving epoch %llu",
            (unsigned long long)snapshot_epoch(l->saved), (unsigned long long)snapshot_epoch(s));
    int rc = write_next(&w);
    if (rc != 0)
        return rc;
    snapshot_ref(s);
    if (l->saved)
        snapshot_unref(l->saved);
    l->saved = s;
    memcpy(l->history, history, HISTORY_ID);
    if (l->has_adopted && memcmp(l->adopted, history, HISTORY_ID) == 0)
        l->has_adopted = false;
    return 0;
}

int lastgood_adopt(struct lastgood *l, const unsigned char *history, struct err *e)
{
    int rc = reclog_append(l->log, ADOPT, str_of((const char *)history, HISTORY_ID), e);
    if (rc != 0)
        return rc;
    rc = reclog_sync(l->log, e);
    if (rc != 0) {
        l->replace = true;
        return rc;
    }
    memcpy(l->adopted, history, HISTORY_ID);
    l->has_adopted = true;
    return 0;
}

const unsigned char *lastgood_adopted(const struct lastgood *l)
{
    return l->has_adopted ? l->adopted : NULL;
}
