/* The samples of a journal, one by one. */
#include "ctl/replay.h"
#include "lib/base/mem.h"
#include "lib/base/pballoc.h"
#include "lib/base/reclog.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define JOURNAL_KIND   2u /* of the record log (docs/internals/journal.md) */
#define JOURNAL_RECORD 1u
#define PATH_ROOM      4096
enum { STOP = 2 };

struct tape {
    struct reclog_cursor *cursor;
    recorded *record; /* of the last sample */
    struct text spec;
    unsigned damaged;
};

struct tape *tape_open(const char *dir, struct err *e)
{
    char path[PATH_ROOM];
    int n = snprintf(path, sizeof(path), "%s/journal", dir);
    if (n < 0 || (size_t)n >= sizeof(path) || access(path, R_OK) != 0) {
        err_set(e, errno ? -errno : -ENAMETOOLONG,
            "no journal in '%s': want the folder STATE/shadow/NAME of an agent", dir);
        return NULL;
    }
    struct tape *t = mem_zalloc(sizeof(*t));
    if (!t) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    text_add(&t->spec, STR("{}"));
    t->cursor = reclog_cursor_new(dir, "journal", JOURNAL_KIND, e);
    if (t->cursor)
        return t;
    tape_close(t);
    return NULL;
}

void tape_close(struct tape *t)
{
    if (!t)
        return;
    if (t->record)
        pb_free(&t->record->base);
    reclog_cursor_free(t->cursor);
    text_release(&t->spec);
    mem_free(t);
}

static int on_record(void *arg, uint32_t type, struct str payload)
{
    struct tape *t = arg;
    if (type != JOURNAL_RECORD)
        return 0;
    recorded *r = (recorded *)(void *)pb_unpack(
        &offshoot__v1__journal_record__descriptor, payload, pb_budget(payload.n));
    if (!r)
        return -EBADMSG;
    if (r->record_case == OFFSHOOT__V1__JOURNAL_RECORD__RECORD_SAMPLE) {
        t->record = r;
        return STOP;
    }
    if (r->record_case == OFFSHOOT__V1__JOURNAL_RECORD__RECORD_SESSION) {
        t->spec.n = 0;
        text_add(&t->spec, str_c(r->session->spec_json));
    }
    pb_free(&r->base);
    return t->spec.failed;
}

int tape_next(struct tape *t, const recorded_sample **ret, struct err *e)
{
    int rc;
    if (t->record)
        pb_free(&t->record->base);
    t->record = NULL;
    do {
        rc = reclog_cursor_read(t->cursor, UINT64_MAX, on_record, t, e);
        t->damaged += rc == -EBADMSG;
    } while (rc == 1 || rc == -EBADMSG);
    if (rc < 0)
        return e->code ? rc : err_set(e, rc, "cannot read the journal: %s", strerror(-rc));
    *ret = rc == STOP ? t->record->sample : NULL;
    return rc == STOP;
}

recorded *tape_take(struct tape *t)
{
    recorded *ret = t->record;
    t->record = NULL;
    return ret;
}

const char *tape_spec(const struct tape *t)
{
    return t->spec.p;
}

unsigned tape_damaged(const struct tape *t)
{
    return t->damaged;
}
