/* Opening a journal: what it says, in two readings of its newest segment.
 *
 * The first finds the state, the samples that are open, and the record from which the sums count:
 * the last totals, or the session record of a new run. The second adds the sums up from there. Only
 * when the newest segment does not begin with totals (the agent was killed between the renames of
 * a rotation, or it is the only one) all segments are read.
 *
 * What was begun and never done went with the agent: dropped, reason "restart", and written down so
 * that the next opening does not count it again. */
#include "agent/journal_int.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct replay {
    struct journal *j;
    struct err *e;
    uint64_t at;   /* number of the record at hand, from 1 */
    uint64_t base; /* from which the sums count; 0: none */
    bool begins_with_totals;
    bool whole; /* of all segments, through the open log */
};

/* ---- first reading: the state ---- */

static int state_of_totals(struct replay *r, const struct journal_record *rec)
{
    struct journal *j = r->j;
    struct journal_sums sums;
    int rc = journal_sums_read(&rec->totals, &sums, r->e);
    if (rc)
        return rc;
    j->nopen = 0;
    for (size_t i = 0; i < sums.nopen && rc == 0; i++)
        rc = journal_open_add(j, sums.open[i]);
    journal_sums_release(&sums);
    if (rec->totals.next_sample > j->state.next_sample)
        j->state.next_sample = rec->totals.next_sample;
    if (rec->totals.run && j->state.run == 0)
        j->state.run = (uint32_t)rec->totals.run;
    r->base = r->at;
    r->begins_with_totals |= r->at == 1;
    return rc ? err_set(r->e, rc, "out of memory") : 0;
}

static int state_of_session(struct replay *r, const struct journal_record *rec)
{
    struct journal *j = r->j;
    if (rec->session.run != j->state.run) {
        r->base = r->at;
        j->nopen = 0;
    }
    return journal_set_session(j, &rec->session) ? err_set(r->e, -ENOMEM, "out of memory") : 0;
}

static int state_of_begun(struct replay *r, uint64_t sample)
{
    struct journal *j = r->j;
    if (sample >= j->state.next_sample && sample < INT64_MAX)
        j->state.next_sample = sample + 1;
    return journal_open_add(j, sample) == -ENOMEM ? err_set(r->e, -ENOMEM, "out of memory") : 0;
}

static int on_state(struct replay *r, const struct journal_record *rec)
{
    switch (rec->kind) {
    case JOURNAL_TOTALS:
        return state_of_totals(r, rec);
    case JOURNAL_SESSION:
        return state_of_session(r, rec);
    case JOURNAL_BEGUN:
        return state_of_begun(r, rec->begun);
    case JOURNAL_SAMPLE:
        journal_open_remove(r->j, rec->sample.sample);
        return 0;
    case JOURNAL_DROP:
        journal_open_remove(r->j, rec->drop.sample);
        return 0;
    case JOURNAL_END:
        return journal_set_end(r->j, rec->end.verdict, rec->end.why, rec->end.time_unix)
                   ? err_set(r->e, -ENOMEM, "out of memory")
                   : 0;
    case JOURNAL_NONE:
        break;
    }
    return 0;
}

/* ---- second reading: the sums ---- */

static void add_drop(struct journal *j, const struct read_drop *d)
{
    const char *reason = journal_reason(d->reason);
    shadow_drops_add(j->drops, reason ? reason : "other", d->count);
}

static int restore(struct replay *r, const struct journal_record *rec)
{
    struct journal_sums sums;
    int rc = journal_sums_read(&rec->totals, &sums, r->e);
    if (rc)
        return rc;
    rc = tally_restore(r->j->tally, &sums.tally);
    for (unsigned i = 0; i < sums.ndrops; i++)
        add_drop(r->j, &sums.drops[i]);
    journal_sums_release(&sums);
    return rc ? err_set(r->e, rc, "%s", rc == -ENOMEM ? "out of memory" : "sums that cannot be")
              : 0;
}

struct differences_again {
    struct tally_again_difference *d;
    size_t n, room;
};

static int again(void *arg, const struct read_difference *d)
{
    struct differences_again *a = arg;
    if (a->n == a->room) {
        size_t room = a->room ? 2 * a->room : 16;
        struct tally_again_difference *more = mem_realloc(a->d, room * sizeof(*more));
        if (!more)
            return -ENOMEM;
        a->d = more;
        a->room = room;
    }
    a->d[a->n++] = (struct tally_again_difference){
        d->path, (enum diff_kind)d->kind, d->by_candidate, d->by_secondary};
    return 0;
}

static int add_sample(struct replay *r, const struct read_sample *s)
{
    struct differences_again a = {0};
    int rc = journal_differences(s, again, &a);
    if (rc == 0)
        rc = tally_again(r->j->tally, s->endpoint, s->pairs, s->candidate, s->secondary, a.d, a.n,
            s->secondary_latency_us);
    mem_free(a.d);
    return rc ? err_set(r->e, rc, "%s", rc == -ENOMEM ? "out of memory" : "a sample that cannot be")
              : 0;
}

static int on_sums(struct replay *r, const struct journal_record *rec)
{
    if (r->at < r->base)
        return 0;
    if (rec->kind == JOURNAL_TOTALS)
        return restore(r, rec);
    if (rec->kind == JOURNAL_SAMPLE)
        return add_sample(r, &rec->sample);
    if (rec->kind == JOURNAL_DROP)
        add_drop(r->j, &rec->drop);
    return 0;
}

/* ---- reading ---- */

struct reading {
    struct replay *r;
    int (*fn)(struct replay *r, const struct journal_record *rec);
};

static int on_record(void *arg, uint32_t type, struct str payload)
{
    struct reading *d = arg;
    struct journal_record rec;
    if (type != JOURNAL_RECORD)
        return 0;
    d->r->at++;
    int rc = journal_parse(payload, &rec, d->r->e);
    if (rc == 0)
        rc = d->fn(d->r, &rec);
    if (rc < 0 && rc != -ENOMEM)
        err_prefix(d->r->e, "record %llu of '%s/%s'", (unsigned long long)d->r->at, d->r->j->dir,
            JOURNAL_LOG);
    return rc;
}

static int read_all(struct replay *r, int (*fn)(struct replay *r, const struct journal_record *rec))
{
    struct reading d = {r, fn};
    struct reclog_peek peek;
    r->at = 0;
    if (r->whole)
        return reclog_read(r->j->log, on_record, &d, r->e);
    return reclog_peek(
        r->j->dir, JOURNAL_LOG, JOURNAL_KIND, JOURNAL_TYPES, on_record, &d, &peek, r->e);
}

static int damaged(const struct journal *j, const struct reclog_peek *p, struct err *e)
{
    return err_set(e, -EBADMSG,
        "damaged record %llu at byte %llu of '%s/%s': what follows it was whole once and is not "
        "cut off; move the folder away to begin anew",
        (unsigned long long)p->records + 1, (unsigned long long)p->end, j->dir, JOURNAL_LOG);
}

/* Nothing was changed yet: damage is told and the file stays. */
static int look(const struct journal *j, struct err *e)
{
    struct reclog_peek peek;
    int rc = reclog_peek(j->dir, JOURNAL_LOG, JOURNAL_KIND, JOURNAL_TYPES, NULL, NULL, &peek, e);
    if (rc == -ENOENT)
        return 0;
    return rc ? rc : peek.damaged ? damaged(j, &peek, e) : 0;
}

static int open_log(struct journal *j, struct err *e)
{
    struct err local = {0};
    struct reclog_options o = {.kind = JOURNAL_KIND, .keep_segments = j->o.segments};
    j->log = reclog_open(j->dir, JOURNAL_LOG, &o, NULL, &local);
    if (j->log)
        return 0;
    if (e)
        *e = local;
    return local.code;
}

static void forget_state(struct journal *j)
{
    j->state = (struct journal_state){.next_sample = 1};
    j->nopen = 0;
}

/* Samples that went with the agent. In memory they count in any case. */
static void drop_open(struct journal *j)
{
    j->state.lost = j->nopen;
    if (j->nopen)
        shadow_drops_add(j->drops, "restart", j->nopen);
    for (size_t i = 0; i < j->nopen && !j->behind; i++) {
        journal_put_drop(&j->out, "restart", 1, j->open[i]);
        j->behind = journal_append(j, NULL) != 0;
    }
    j->nopen = 0;
}

int journal_recover(struct journal *j, struct err *e)
{
    struct replay r = {.j = j, .e = e};
    forget_state(j);
    int rc = read_all(&r, on_state);
    if (rc == 0 && !r.begins_with_totals && reclog_bytes(j->log) > reclog_newest_bytes(j->log)) {
        r = (struct replay){.j = j, .e = e, .whole = true};
        forget_state(j);
        rc = read_all(&r, on_state);
        j->behind = true;
    }
    if (rc == 0)
        rc = read_all(&r, on_sums);
    if (rc)
        return rc;
    drop_open(j);
    if (j->behind && journal_checkpoint(j, j->log, NULL) == 0)
        j->behind = false;
    return 0;
}

/* ---- opening ---- */

static int make_folder(const char *path, struct err *e)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    return err_set(e, -errno, "cannot make the folder '%s': %s", path, strerror(errno));
}

static struct journal *new_journal(const struct journal_options *o, const char *session)
{
    size_t n = strlen(o->dir) + strlen(session) + 2;
    struct journal *j = mem_zalloc(sizeof(*j));
    if (!j)
        return NULL;
    j->o = *o;
    j->o.dir = NULL; /* borrowed for the call */
    if (!j->o.segment_bytes)
        j->o.segment_bytes = 64u << 20;
    if (!j->o.segments)
        j->o.segments = 15;
    if (!j->o.message_bytes)
        j->o.message_bytes = 64u << 10;
    j->name = mem_dup(session, strlen(session));
    j->dir = mem_alloc(n);
    j->sync = journal_sync_new();
    if (j->dir && j->name && j->sync) {
        snprintf(j->dir, n, "%s/%s", o->dir, session);
        return j;
    }
    journal_close(j);
    return NULL;
}

struct journal *journal_open(const struct journal_options *o, const char *session,
    struct tally *tally, struct shadow_drops *drops, struct err *e)
{
    if (!name_valid(str_c(session))) {
        err_set(e, -EINVAL, "a session cannot have the name '%s'", session);
        return NULL;
    }
    struct journal *j = new_journal(o, session);
    if (!j) {
        err_set(e, -ENOMEM, "cannot open the journal of '%s': out of memory", session);
        return NULL;
    }
    j->tally = tally;
    j->drops = drops;
    int rc = make_folder(o->dir, e);
    if (rc == 0)
        rc = make_folder(j->dir, e);
    if (rc == 0)
        rc = look(j, e);
    if (rc == 0)
        rc = open_log(j, e);
    if (rc == 0)
        rc = journal_recover(j, e);
    if (rc == 0)
        return j;
    j->behind = false; /* nothing of it is written */
    journal_close(j);
    return NULL;
}
