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
 * Torn or damaged: the torn end of a write that was never acknowledged is cut; anything else that
 * is not sound is damage (reclog_peek tells them apart), told with its place before anything is
 * cut. DONE is why a wrong length of the last graph does not look torn: a whole record follows. It
 * needs no sync itself, for without it the graph in front is still read. */
#include "proxy/lastgood.h"
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "lib/base/reclog.h"
#include "lib/graph/codec.h"
#include <errno.h>
#include <stdio.h>
#include <time.h>

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

static void head_write(unsigned char out[static HEAD_BYTES], const struct graph_head *h)
{
    memcpy(out, h->history, HISTORY_ID);
    memcpy(out + HISTORY_ID, h->digest, HASH);
    unsigned char *p = out + HISTORY_ID + HASH;
    bytes_put_le64(p, h->base);
    bytes_put_le64(p + 8, h->epoch);
    bytes_put_le64(p + 16, h->saved_s);
    bytes_put_le64(p + 24, h->length);
}

static void head_read(struct str payload, struct graph_head *ret)
{
    memcpy(ret->history, payload.p, HISTORY_ID);
    memcpy(ret->digest, payload.p + HISTORY_ID, HASH);
    const char *p = payload.p + HISTORY_ID + HASH;
    ret->base = bytes_get_le64(p);
    ret->epoch = bytes_get_le64(p + 8);
    ret->saved_s = bytes_get_le64(p + 16);
    ret->length = bytes_get_le64(p + 24);
}

/* ---- damage --------------------------------------------------------------------------------- */

static int damaged(const struct lastgood *l, uint64_t at, const char *what, struct err *e)
{
    return err_set(
        e, -EBADMSG, "damaged at byte %llu of '%s': %s", (unsigned long long)at, l->path, what);
}

/* Before the record log cuts anything. A file that is not there is no fault. */
static int judge_file(const struct lastgood *l, const char *dir, struct err *e)
{
    struct reclog_peek p;
    int rc = reclog_peek(dir, NAME, KIND, ADOPT + 1, NULL, NULL, &p, e);
    if (rc == -ENOENT)
        return 0;
    if (rc == -EINVAL) /* a head that is not one */
        return e->code = -EBADMSG;
    if (rc == 0 && p.end < FILE_HEAD)
        return damaged(l, p.size, "cut short", e);
    if (rc == 0 && p.damaged)
        return damaged(l, p.end, "what stood there may have been acknowledged", e);
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
        bytes_get_le64(payload.p + HISTORY_ID) != snapshot_epoch(l->saved))
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
    int rc = judge_file(l, dir, e);
    if (rc != 0)
        return rc;
    l->log = reclog_open(dir, NAME, &o, &recovered, e);
    if (!l->log)
        return e->code;
    struct reading r = {.l = l, .at = FILE_HEAD, .limit = reclog_bytes(l->log), .e = e};
    rc = reclog_read(l->log, on_record, &r, e);
    pb_release(&r.bytes);
    if (rc == 0)
        *ret = (struct lastgood_found){
            .saved_s = (int64_t)r.saved_s, .cut_bytes = recovered.cut_bytes};
    if (rc == -ENOMEM)
        err_set(e, rc, "out of memory while reading '%s'", l->path);
    if (rc == 0 && r.joining) /* never torn: a log with parts is renamed whole into its place */
        rc = damaged(l, r.at, "a graph without its last part", e);
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
    bytes_put_le64(done + HISTORY_ID, snapshot_epoch(w->s));
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
    if (!follows || codec_encode(l->saved, w->s, &out, NULL) != 0) {
        pb_release(&out);
        return replace_all(w);
    }
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
    if (l->has_adopted && !l->replace && memcmp(l->adopted, history, HISTORY_ID) == 0)
        return 0;
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
