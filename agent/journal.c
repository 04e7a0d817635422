/* The open journal: appending, segments, totals.
 *
 *   journal_open      journal_open.c: what is there → sums, state; what was lost → drops
 *   journal_begun     segment full? → reclog_rotate(checkpoint) ; append
 *   journal_sample    journal_record.c → append
 *   journal_tick      sums that the disk lacks → checkpoint; what was appended → journal_sync.c
 *
 * Invariant: the sums in memory = those that the journal gives, unless `behind`; then a checkpoint
 * with totals is due, and until it is written the disk has less, never something wrong. */
#include "agent/journal.h"
#include "agent/journal_int.h"
#include "lib/base/mem.h"
#include "lib/graph/snapshot.h"
#include <errno.h>
#include <string.h>

/* ---- drops ---- */

static const char *const reasons[] = {"restart", "journal", "other", "in-flight", "memory", "body",
    "aborted", "retried", "tunnel", "head", "disconnected", "connection", "stopped", "method",
    "canary", "refused"};
_Static_assert(sizeof(reasons) / sizeof(*reasons) + REFUSAL_COUNT <= SHADOW_REASONS,
    "a count for each reason");

/* Ours, and the words of proxies' refusals. */
const char *journal_reason(struct str s)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
        if (str_eq(s, str_c(reasons[i])))
            return reasons[i];
    for (enum refusal r = REFUSAL_NONE + 1; r < REFUSAL_COUNT; r++)
        if (str_eq(s, str_c(refusal_word(r))))
            return refusal_word(r);
    return NULL;
}

void shadow_drops_add(struct shadow_drops *d, const char *reason, uint64_t n)
{
    unsigned i = 0;
    while (i < d->n && strcmp(d->reason[i], reason) != 0)
        i++;
    if (i == d->n) {
        if (d->n == SHADOW_REASONS)
            return shadow_drops_add(d, d->reason[SHADOW_REASONS - 1], n);
        d->reason[d->n] = reason;
        d->count[d->n++] = 0;
    }
    d->count[i] += n;
}

/* ---- what is open ---- */

int journal_open_add(struct journal *j, uint64_t sample)
{
    if (j->nopen == JOURNAL_OPEN)
        return -ENOBUFS;
    if (j->nopen == j->open_room) {
        size_t room = j->open_room ? 2 * j->open_room : 64;
        uint64_t *more = mem_realloc(j->open, room * sizeof(*more));
        if (!more)
            return -ENOMEM;
        j->open = more;
        j->open_room = room;
    }
    j->open[j->nopen++] = sample;
    return 0;
}

void journal_open_remove(struct journal *j, uint64_t sample)
{
    size_t i = 0;
    while (i < j->nopen && j->open[i] != sample)
        i++;
    if (i < j->nopen) {
        memmove(j->open + i, j->open + i + 1, (j->nopen - i - 1) * sizeof(*j->open));
        j->nopen--;
    }
}

/* ---- appending ---- */

static int append_to(struct journal *j, struct reclog *log, struct err *e)
{
    int rc = j->out.failed
                 ? err_set(e, -ENOMEM, "cannot write the journal of '%s': out of memory", j->name)
                 : reclog_append(log, JOURNAL_RECORD, pb_str(&j->out), e);
    if (j->out.failed)
        pb_release(&j->out);
    j->out.n = 0;
    if (rc == 0)
        j->unsynced = true;
    return rc;
}

int journal_append(struct journal *j, struct err *e)
{
    return append_to(j, j->log, e);
}

static struct journal_session session_of(const struct journal *j)
{
    struct journal_session s = {.name = j->name,
        .spec_json = j->state.spec_json,
        .why = j->why,
        .id = j->state.id,
        .started_unix = j->state.started_unix,
        .run = j->state.run};
    memcpy(s.decisions, j->state.decisions, sizeof(s.decisions));
    return s;
}

int journal_checkpoint(struct journal *j, struct reclog *log, struct err *e)
{
    struct journal_session session = session_of(j);
    struct journal_totals totals = {.run = j->state.run,
        .next_sample = j->state.next_sample,
        .tally = j->tally,
        .drops = j->drops,
        .open = j->open,
        .nopen = j->nopen};
    journal_put_totals(&j->out, &totals);
    int rc = append_to(j, log, e);
    if (rc == 0 && j->state.found) {
        journal_put_session(&j->out, &session);
        rc = append_to(j, log, e);
    }
    if (rc == 0 && j->state.ended) {
        journal_put_end(&j->out, j->state.end_verdict, j->state.end_why, j->state.ended_unix);
        rc = append_to(j, log, e);
    }
    return rc;
}

struct rotating {
    struct journal *j;
    struct err *e;
};

static int begin_segment(void *arg, struct reclog *fresh)
{
    struct rotating *r = arg;
    return journal_checkpoint(r->j, fresh, r->e);
}

static int new_segment(struct journal *j, struct err *e)
{
    struct rotating r = {j, e};
    int rc = reclog_rotate(j->log, begin_segment, &r, e);
    if (rc == 0)
        j->behind = j->suspect = false;
    return rc;
}

static bool segment_full(const struct journal *j)
{
    return reclog_newest_bytes(j->log) >= j->o.segment_bytes;
}

/* ---- records ---- */

static char *copy(struct str s)
{
    return mem_dup(s.n ? s.p : "", s.n);
}

static void replace(char **to, char *by)
{
    mem_free(*to);
    *to = by;
}

static int copy_texts(const struct read_session *s, char **ret_spec, char **ret_why)
{
    *ret_spec = copy(s->spec_json);
    *ret_why = copy(s->why);
    if (*ret_spec && *ret_why)
        return 0;
    mem_free(*ret_spec);
    mem_free(*ret_why);
    return -ENOMEM;
}

/* Owns the texts from here on. */
static void take_session(struct journal *j, const struct read_session *s, char *spec, char *why)
{
    replace(&j->spec_json, spec);
    replace(&j->why, why);
    j->state.found = true;
    j->state.spec_json = spec;
    j->state.id = s->id;
    j->state.run = (uint32_t)s->run;
    j->state.started_unix = s->started_unix;
    memcpy(j->state.decisions, s->decisions.p, sizeof(j->state.decisions));
    j->state.ended = false; /* it goes on */
}

int journal_set_session(struct journal *j, const struct read_session *s)
{
    char *spec, *why;
    if (copy_texts(s, &spec, &why) != 0)
        return -ENOMEM;
    take_session(j, s, spec, why);
    return 0;
}

int journal_set_end(struct journal *j, struct str verdict, struct str why, int64_t at)
{
    char *v = copy(verdict), *w = copy(why);
    if (!v || !w) {
        mem_free(v);
        mem_free(w);
        return -ENOMEM;
    }
    replace(&j->end_verdict, v);
    replace(&j->end_why, w);
    j->state.end_verdict = v;
    j->state.end_why = w;
    j->state.ended = true;
    j->state.ended_unix = at;
    return 0;
}

static int no_memory(const struct journal *j, struct err *e)
{
    return err_set(e, -ENOMEM, "cannot write the journal of '%s': out of memory", j->name);
}

int journal_session(struct journal *j, const struct journal_session *s, struct err *e)
{
    bool new_run = j->state.found && s->run != j->state.run;
    struct read_session as_read = {.version = JOURNAL_VERSION,
        .id = s->id,
        .run = s->run,
        .started_unix = s->started_unix,
        .spec_json = str_c(s->spec_json),
        .decisions = str_of((const char *)s->decisions, sizeof(s->decisions)),
        .why = str_c(s->why)};
    if (s->run == 0 || (new_run && (!s->tally || !s->drops)))
        return err_set(e, -EINVAL, "a new run of '%s' needs a number and sums of its own", j->name);
    /* All that can fail comes first: who is refused keeps the sums. */
    char *spec, *why;
    if (copy_texts(&as_read, &spec, &why) != 0)
        return no_memory(j, e);
    journal_put_session(&j->out, s);
    int rc = journal_append(j, e);
    if (rc) {
        mem_free(spec);
        mem_free(why);
        return rc;
    }
    if (s->tally)
        j->tally = s->tally;
    if (s->drops)
        j->drops = s->drops;
    if (new_run)
        j->nopen = 0;
    take_session(j, &as_read, spec, why);
    return 0;
}

int journal_begun(struct journal *j, uint64_t sample, struct err *e)
{
    if (segment_full(j)) /* when that fails, the present one goes on */
        (void)new_segment(j, NULL);
    if (journal_open_add(j, sample) == -ENOMEM)
        return no_memory(j, e);
    if (sample >= j->state.next_sample)
        j->state.next_sample = sample + 1;
    journal_put_begun(&j->out, sample);
    int rc = journal_append(j, e);
    if (rc)
        journal_open_remove(j, sample);
    return rc;
}

int journal_sample(struct journal *j, const struct journal_sample *s, struct err *e)
{
    int rc = journal_put_sample(&j->out, s, &j->o);
    if (rc) {
        j->out.n = 0;
        no_memory(j, e);
    } else {
        rc = journal_append(j, e);
    }
    j->behind |= rc != 0;
    journal_open_remove(j, s->sample);
    return rc;
}

int journal_dropped(
    struct journal *j, const char *reason, uint64_t n, uint64_t sample, struct err *e)
{
    journal_put_drop(&j->out, reason, n, sample);
    int rc = journal_append(j, e);
    j->behind |= rc != 0;
    if (sample)
        journal_open_remove(j, sample);
    return rc;
}

int journal_end(struct journal *j, const char *verdict, const char *why, int64_t now, struct err *e)
{
    journal_put_end(&j->out, verdict, why, now);
    int rc = journal_append(j, e);
    /* Told again by the next checkpoint when it could not be written. */
    j->behind |= rc != 0;
    if (journal_set_end(j, str_c(verdict), str_c(why), now))
        return rc ? rc : no_memory(j, e);
    return rc;
}

/* ---- once a second ---- */

static void start_sync(struct journal *j)
{
    if (!j->unsynced || journal_sync_busy(j->sync))
        return;
    int fd = reclog_sync_fd(j->log);
    if (fd >= 0 && journal_sync_start(j->sync, fd))
        j->unsynced = false;
}

int journal_tick(struct journal *j, struct err *e)
{
    int rc = journal_sync_result(j->sync);
    if (rc) {
        err_set(e, rc, "cannot sync the journal of '%s': %s", j->name, strerror(-rc));
        j->suspect = true;
    }
    if (j->suspect || segment_full(j)) {
        int r = new_segment(j, rc ? NULL : e);
        rc = rc ? rc : r;
    } else if (j->behind) {
        int r = journal_checkpoint(j, j->log, rc ? NULL : e);
        j->behind = r != 0;
        rc = rc ? rc : r;
    }
    start_sync(j);
    return rc;
}

const struct journal_state *journal_state(const struct journal *j)
{
    return &j->state;
}

uint64_t journal_bytes(const struct journal *j)
{
    return reclog_bytes(j->log);
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (j->log && j->state.found && j->behind)
        (void)journal_checkpoint(j, j->log, NULL);
    journal_sync_free(j->sync);
    if (j->log && j->unsynced)
        (void)reclog_sync(j->log, NULL);
    reclog_close(j->log);
    pb_release(&j->out);
    mem_free(j->open);
    mem_free(j->spec_json);
    mem_free(j->why);
    mem_free(j->end_verdict);
    mem_free(j->end_why);
    mem_free(j->dir);
    mem_free(j->name);
    mem_free(j);
}
