/* Following a record log from its oldest record on, beside the one who writes it.
 *
 * The cursor holds the segment that it reads open. At its end it looks whether that segment still
 * is NAME: then more may come. If not, it was put aside, and the next one is the segment of the
 * next number, or NAME. Between the look and the last read more may have been appended, so the end
 * is looked for once more before it moves on. */
#include "lib/base/mem.h"
#include "lib/base/reclog_impl.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4096

struct reclog_cursor {
    uint32_t kind;
    int fd;           /* -1: none is open */
    uint64_t at;      /* where the next record begins; 0: its header was not read yet */
    uint32_t number;  /* of the last segment that is known to have been full; 0: none */
    char *dir, *name; /* of the log */
};

struct reclog_cursor *reclog_cursor_new(
    const char *dir, const char *name, uint32_t kind, struct err *e)
{
    struct reclog_cursor *c = mem_zalloc(sizeof(*c));
    if (!c || strlen(dir) + strlen(name) + 16 > PATH_SIZE) {
        err_set(e, c ? -ENAMETOOLONG : -ENOMEM, "cannot follow '%s/%s': %s", dir, name,
            strerror(c ? ENAMETOOLONG : ENOMEM));
        mem_free(c);
        return NULL;
    }
    *c = (struct reclog_cursor){.kind = kind,
        .fd = -1,
        .dir = mem_dup(dir, strlen(dir)),
        .name = mem_dup(name, strlen(name))};
    if (c->dir && c->name)
        return c;
    reclog_cursor_free(c);
    err_set(e, -ENOMEM, "cannot follow '%s/%s': %s", dir, name, strerror(ENOMEM));
    return NULL;
}

void reclog_cursor_free(struct reclog_cursor *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        close(c->fd);
    mem_free(c->dir);
    mem_free(c->name);
    mem_free(c);
}

static int failed(const struct reclog_cursor *c, int code, const char *what, struct err *e)
{
    return err_set(e, code, "cannot %s '%s/%s': %s", what, c->dir, c->name, strerror(-code));
}

/* number 0: NAME itself. */
static void path_of(const struct reclog_cursor *c, uint32_t number, char out[static PATH_SIZE])
{
    if (number)
        snprintf(out, PATH_SIZE, "%s/%s.%06u", c->dir, c->name, number);
    else
        snprintf(out, PATH_SIZE, "%s/%s", c->dir, c->name);
}

/* The lowest number above `above` that is there; 0: none. */
static int next_number(const struct reclog_cursor *c, uint32_t above, uint32_t *ret, struct err *e)
{
    DIR *d = opendir(c->dir);
    *ret = 0;
    if (!d)
        return errno == ENOENT ? 0 : failed(c, -errno, "list the segments of", e);
    for (const struct dirent *entry; (entry = readdir(d));) {
        uint32_t number = reclog_segment_number(c->name, entry->d_name);
        if (number > above && (!*ret || number < *ret))
            *ret = number;
    }
    closedir(d);
    return 0;
}

/* The number under which the open segment was put aside; 0: it was not, or is gone. */
static int number_of_open(
    const struct reclog_cursor *c, const struct stat *open, uint32_t *ret, struct err *e)
{
    uint32_t number = c->number;
    for (;;) {
        char path[PATH_SIZE];
        struct stat st;
        int rc = next_number(c, number, &number, e);
        *ret = number;
        if (rc || !number)
            return rc;
        path_of(c, number, path);
        if (stat(path, &st) == 0 && st.st_ino == open->st_ino && st.st_dev == open->st_dev)
            return 0;
    }
}

/* Opens the first segment behind number. 0, also when there is none (fd stays -1). */
static int open_next(struct reclog_cursor *c, struct err *e)
{
    char path[PATH_SIZE];
    uint32_t number;
    for (int again = 0; again < 1000 && c->fd < 0; again++) {
        /* NAME first, then the list: what is put aside in between is found in the list. */
        path_of(c, 0, path);
        int newest = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (newest < 0 && errno != ENOENT)
            return failed(c, -errno, "open", e);
        int rc = next_number(c, c->number, &number, e);
        if (rc || !number) {
            c->fd = newest;
            c->at = 0;
            return rc;
        }
        if (newest >= 0)
            close(newest);
        path_of(c, number, path);
        c->fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        c->at = 0;
        if (c->fd < 0 && errno != ENOENT)
            return failed(c, -errno, "open a segment of", e);
        if (c->fd >= 0)
            c->number = number - 1; /* found again by number_of_open */
    }
    return 0;
}

static void leave(struct reclog_cursor *c, uint32_t number)
{
    close(c->fd);
    c->fd = -1;
    c->number = number;
}

struct passing {
    reclog_fn *fn;
    void *arg;
    uint64_t left; /* bytes of this call */
    int rc;        /* what fn returned */
    bool full;     /* left is used up */
};

static int on_record(void *arg, uint32_t type, struct str payload)
{
    struct passing *p = arg;
    uint64_t bytes = RECLOG_FRAME + payload.n;
    if (type != RECLOG_REPLACES)
        p->rc = p->fn(p->arg, type, payload);
    p->left -= bytes < p->left ? bytes : p->left;
    p->full = p->left == 0;
    return p->rc ? p->rc : p->full;
}

/* Reads on in the open segment. *ret_rest: bytes behind the last whole record. */
static int read_on(struct reclog_cursor *c, struct passing *p, uint64_t *ret_rest, struct err *e)
{
    char path[PATH_SIZE];
    struct stat st;
    bool torn = false;
    uint64_t end = c->at;
    *ret_rest = 0;
    if (fstat(c->fd, &st) < 0)
        return failed(c, -errno, "examine", e);
    uint64_t size = (uint64_t)st.st_size;
    if (c->at == 0) {
        path_of(c, 0, path);
        int rc = reclog_check_header(c->fd, size, c->kind, path, &torn, e);
        if (rc || torn)
            return rc;
        c->at = end = RECLOG_HEADER;
    }
    if (size < c->at) { /* what was read was taken back */
        c->at = size;
        return 0;
    }
    int rc = reclog_scan_from(c->fd, c->at, size, on_record, p, &end);
    c->at = end;
    *ret_rest = size - end;
    if (rc == 0 || p->rc || p->full)
        return 0;
    return rc == -EIO ? 0 : failed(c, rc, "read", e); /* cut back meanwhile: the next call sees */
}

/* Is the open segment still NAME? */
static bool is_newest(const struct reclog_cursor *c, struct stat *ret_open)
{
    char path[PATH_SIZE];
    struct stat st;
    path_of(c, 0, path);
    return fstat(c->fd, ret_open) < 0 ||
           (stat(path, &st) == 0 && st.st_ino == ret_open->st_ino && st.st_dev == ret_open->st_dev);
}

/* At the end of the open segment, with `rest` bytes that are no record. 1: look again; 0: all. */
static int move_on(struct reclog_cursor *c, struct passing *p, struct err *e)
{
    struct stat open;
    uint64_t rest;
    uint32_t number;
    if (is_newest(c, &open))
        return 0;
    int rc = read_on(c, p, &rest, e); /* what came before it was put aside */
    if (rc || p->rc || p->full)
        return rc ? rc : 1;
    rc = number_of_open(c, &open, &number, e);
    if (rc)
        return rc;
    leave(c, number ? number : c->number);
    return rest ? err_set(e, -EBADMSG, "damaged record at byte %llu of '%s/%s.%06u'",
                      (unsigned long long)c->at, c->dir, c->name, number)
                : 1;
}

int reclog_cursor_read(
    struct reclog_cursor *c, uint64_t bytes, reclog_fn *fn, void *arg, struct err *e)
{
    struct passing p = {.fn = fn, .arg = arg, .left = bytes};
    for (;;) {
        uint64_t rest;
        int rc = c->fd < 0 ? open_next(c, e) : 0;
        if (rc || c->fd < 0)
            return rc;
        rc = read_on(c, &p, &rest, e);
        if (rc || p.rc || p.full)
            return rc ? rc : p.rc ? p.rc : 1;
        rc = move_on(c, &p, e);
        if (rc <= 0 || p.rc || p.full)
            return rc <= 0 ? rc : p.rc ? p.rc : 1;
    }
}
