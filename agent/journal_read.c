/* Journals read without being owned: beside the agent that writes them, or without one. */
#include "agent/journal_int.h"
#include "lib/base/parse.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct reading {
    journal_fn *fn;
    void *arg;
    uint64_t records;
    bool stopped;
};

static int on_record(void *arg, uint32_t type, struct str payload)
{
    struct reading *r = arg;
    if (type != JOURNAL_RECORD)
        return 0;
    r->records++;
    int rc = r->fn(r->arg, payload);
    r->stopped = rc != 0;
    return rc;
}

int journal_read(const char *dir, const char *session, journal_fn *fn, void *arg, struct err *e)
{
    char path[JOURNAL_PATH];
    struct reading r = {.fn = fn, .arg = arg};
    if (!name_valid(str_c(session)))
        return err_set(e, -EINVAL, "a session cannot have the name '%s'", session);
    if (snprintf(path, sizeof(path), "%s/%s", dir, session) >= (int)sizeof(path))
        return err_set(e, -ENAMETOOLONG, "path too long: '%s/%s'", dir, session);
    struct reclog_cursor *c = reclog_cursor_new(path, JOURNAL_LOG, JOURNAL_KIND, e);
    if (!c)
        return -ENOMEM;
    int rc;
    do
        rc = reclog_cursor_read(c, UINT64_MAX, on_record, &r, e);
    while (rc > 0 && !r.stopped);
    reclog_cursor_free(c);
    if (rc == 0 && r.records == 0)
        rc = err_set(e, -ENOENT, "there is no journal in '%s'", path);
    return rc;
}

int journal_sessions(
    const char *dir, void (*fn)(void *arg, const char *session), void *arg, struct err *e)
{
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT
                   ? 0
                   : err_set(e, -errno, "cannot list the folder '%s': %s", dir, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(d));) {
        char path[JOURNAL_PATH];
        if (!name_valid(str_c(entry->d_name)))
            continue;
        int n = snprintf(path, sizeof(path), "%s/%s/%s", dir, entry->d_name, JOURNAL_LOG);
        if (n < (int)sizeof(path) && access(path, F_OK) == 0)
            fn(arg, entry->d_name);
    }
    closedir(d);
    return 0;
}
