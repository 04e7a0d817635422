/* The record log's owner: opening and recovery, appending, rotation, compaction.
 *
 * Files of a log NAME: NAME (newest), NAME.000001 ... (full, older), NAME.new (being made; a
 * leftover is removed at opening). Every file is made as NAME.new with its header, synced, and
 * renamed, so a NAME without a whole header comes only from a damaged disk.
 *
 * Invariants: bytes [0, size) of the newest segment are whole records; what is behind them, if
 * anything (torn), is cut before the next append. A full segment was synced before its rename. */
#include "lib/base/reclog.h"

#include "lib/base/mem.h"
#include "lib/base/reclog_impl.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define NAME_SIZE   256 /* longest file name with its NUL */
#define MAX_SEGMENT 999999999u

struct segment {
    uint32_t number;
    uint64_t bytes;
};

struct reclog {
    char *path;       /* dir/name, for messages */
    const char *name; /* its last part */
    int dirfd;
    int fd; /* the newest segment, locked */
    struct reclog_options o;
    uint64_t size;            /* of the newest segment, whole records only */
    bool torn;                /* bytes beyond size may be there */
    bool append_failed;       /* some append failed (compaction asks) */
    bool sync_failed;         /* what is on the disk is not known */
    struct segment *segments; /* full ones, by number */
    size_t nsegments;
    size_t nstale;        /* of them, from the first: replaced by a compaction, not yet removed */
    uint32_t last_number; /* highest ever used */
};

/* ---- names and small steps ------------------------------------------------------------------ */

static void segment_name(const struct reclog *l, uint32_t number, char out[static NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%s.%06u", l->name, number);
}

static void new_name(const struct reclog *l, char out[static NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%s.new", l->name);
}

static int fail(const struct reclog *l, int code, const char *what, struct err *e)
{
    return err_set(e, code, "cannot %s '%s': %s", what, l->path, strerror(-code));
}

static int sync_folder(struct reclog *l, struct err *e)
{
    if (fsync(l->dirfd) == 0)
        return 0;
    l->sync_failed = true;
    return fail(l, -errno, "sync the folder of", e);
}

static int write_all(int fd, struct iovec *iov, int n, uint64_t offset)
{
    while (n) {
        ssize_t done = pwritev(fd, iov, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        if (done == 0 && iov->iov_len)
            return -EIO;
        offset += (uint64_t)done;
        for (; n && (size_t)done >= iov->iov_len; iov++, n--)
            done -= (ssize_t)iov->iov_len;
        if (n) {
            iov->iov_base = (char *)iov->iov_base + done;
            iov->iov_len -= (size_t)done;
        }
    }
    return 0;
}

static int write_header(int fd, uint32_t kind)
{
    unsigned char header[RECLOG_HEADER];
    reclog_put_header(header, kind);
    struct iovec iov = {header, sizeof(header)};
    int rc = write_all(fd, &iov, 1, 0);
    return rc ? rc : fsync(fd) < 0 ? -errno : 0;
}

/* NAME.new with a synced header, locked. Returns its descriptor. */
static int create_new(const struct reclog *l)
{
    char name[NAME_SIZE];
    new_name(l, name);
    int fd = openat(l->dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) { /* another owner is about to rename it */
        close(fd);
        return -EBUSY;
    }
    int rc = ftruncate(fd, 0) < 0 ? -errno : write_header(fd, l->o.kind);
    if (rc) {
        close(fd);
        unlinkat(l->dirfd, name, 0);
        return rc;
    }
    return fd;
}

static void discard_new(const struct reclog *l)
{
    char name[NAME_SIZE];
    new_name(l, name);
    unlinkat(l->dirfd, name, 0);
}

static int rename_new(const struct reclog *l)
{
    char name[NAME_SIZE];
    new_name(l, name);
    return renameat(l->dirfd, name, l->dirfd, l->name) < 0 ? -errno : 0;
}

/* ---- full segments -------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static int add_segment(struct reclog *l, uint32_t number, uint64_t bytes)
{
    struct segment *more = mem_realloc(l->segments, (l->nsegments + 1) * sizeof(*more));
    if (!more)
        return -ENOMEM;
    l->segments = more;
    l->segments[l->nsegments++] = (struct segment){number, bytes};
    if (number > l->last_number)
        l->last_number = number;
    return 0;
}

static int list_segments(struct reclog *l)
{
    int fd = openat(l->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    int rc = 0;
    if (!d) {
        rc = -errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    while (!rc) {
        errno = 0;
        const struct dirent *entry = readdir(d);
        if (!entry) {
            rc = -errno;
            break;
        }
        uint32_t number = reclog_segment_number(l->name, entry->d_name);
        struct stat st;
        if (number && fstatat(l->dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode))
            rc = add_segment(l, number, (uint64_t)st.st_size);
    }
    closedir(d);
    if (l->nsegments)
        qsort(l->segments, l->nsegments, sizeof(*l->segments), by_number);
    return rc;
}

/* Removes the first n full segments, as far as the folder allows. */
static int remove_segments(struct reclog *l, size_t n)
{
    int rc = 0;
    size_t done = 0;
    for (; done < n; done++) {
        char name[NAME_SIZE];
        segment_name(l, l->segments[done].number, name);
        if (unlinkat(l->dirfd, name, 0) < 0 && errno != ENOENT) {
            rc = -errno;
            break;
        }
    }
    l->nsegments -= done;
    l->nstale -= done < l->nstale ? done : l->nstale;
    if (done && l->nsegments)
        memmove(l->segments, l->segments + done, l->nsegments * sizeof(*l->segments));
    return rc;
}

/* ---- opening -------------------------------------------------------------------------------- */

struct recovering {
    struct reclog *l;
    uint64_t records;
};

static void mark_replaced(struct reclog *l, struct str payload)
{
    if (payload.n != 4)
        return;
    uint32_t upto = get_le32(payload.p);
    while (l->nstale < l->nsegments && l->segments[l->nstale].number <= upto)
        l->nstale++;
    if (upto > l->last_number && upto <= MAX_SEGMENT)
        l->last_number = upto;
}

static int on_recovered(void *arg, uint32_t type, struct str payload)
{
    struct recovering *r = arg;
    if (type == RECLOG_REPLACES)
        mark_replaced(r->l, payload);
    else
        r->records++;
    return 0;
}

/* Cuts what is behind the last whole record. */
static int cut(struct reclog *l)
{
    if (ftruncate(l->fd, (off_t)l->size) < 0)
        return -errno;
    l->torn = false;
    return 0;
}

/* Makes the file behind l->fd sound and finds its end. */
static int recover(struct reclog *l, struct reclog_recovery *ret, struct err *e)
{
    struct stat st;
    struct recovering r = {l, 0};
    bool torn = false;
    if (fstat(l->fd, &st) < 0)
        return fail(l, -errno, "examine", e);
    uint64_t size = (uint64_t)st.st_size;
    int rc = reclog_check_header(l->fd, size, l->o.kind, l->path, &torn, e);
    if (rc)
        return rc;
    if (torn) {
        rc = write_header(l->fd, l->o.kind);
        if (rc)
            return fail(l, rc, "write", e);
        l->size = RECLOG_HEADER;
        *ret = (struct reclog_recovery){0, size};
        return 0;
    }
    rc = reclog_scan_file(l->fd, size, on_recovered, &r, &l->size);
    if (rc)
        return fail(l, rc, "read", e);
    if (l->size < size) {
        rc = cut(l);
        if (!rc && fsync(l->fd) < 0)
            rc = -errno;
        if (rc)
            return fail(l, rc, "cut the torn end of", e);
    }
    *ret = (struct reclog_recovery){r.records, size - l->size};
    return 0;
}

/* Opens NAME, or makes it. */
static int open_newest(struct reclog *l, struct err *e)
{
    struct stat st, now;
    l->fd = openat(l->dirfd, l->name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (l->fd < 0 && errno == ENOENT) {
        int fd = create_new(l);
        if (fd < 0)
            return fail(l, fd, "create", e);
        l->fd = fd;
        int rc = rename_new(l);
        if (rc) {
            discard_new(l);
            return fail(l, rc, "create", e);
        }
        return sync_folder(l, e);
    }
    if (l->fd < 0)
        return fail(l, -errno, "open", e);
    if (flock(l->fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? err_set(e, -EBUSY, "record log is in use by another process: '%s'", l->path)
                   : fail(l, -errno, "lock", e);
    if (fstat(l->fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, "not a regular file: '%s'", l->path);
    /* Its last owner may have rotated between our open and our lock. */
    if (fstatat(l->dirfd, l->name, &now, AT_SYMLINK_NOFOLLOW) < 0 || now.st_ino != st.st_ino ||
        now.st_dev != st.st_dev)
        return err_set(e, -EBUSY, "record log is in use by another process: '%s'", l->path);
    discard_new(l);
    return 0;
}

static int open_log(struct reclog *l, const char *dir, struct reclog_recovery *ret, struct err *e)
{
    l->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->dirfd < 0)
        return err_set(e, -errno, "cannot open the folder of '%s': %s", l->path, strerror(errno));
    int rc = open_newest(l, e);
    if (rc)
        return rc;
    rc = list_segments(l);
    if (rc)
        return fail(l, rc, "list the segments of", e);
    rc = recover(l, ret, e);
    if (rc)
        return rc;
    rc = remove_segments(l, l->nstale);
    return rc ? fail(l, rc, "remove a replaced segment of", e) : 0;
}

struct reclog *reclog_open(const char *dir, const char *name, const struct reclog_options *o,
    struct reclog_recovery *ret_recovery, struct err *e)
{
    struct reclog_recovery found = {0};
    size_t ndir = strlen(dir), nname = strlen(name);
    if (nname == 0 || nname > NAME_SIZE - 16 || memchr(name, '/', nname)) {
        err_set(e, -EINVAL, "record log cannot have the name '%s'", name);
        return NULL;
    }
    struct reclog *l = mem_zalloc(sizeof(*l));
    char *path = mem_alloc(ndir + nname + 2);
    if (!l || !path) {
        mem_free(l);
        mem_free(path);
        err_set(e, -ENOMEM, "out of memory for record log '%s/%s'", dir, name);
        return NULL;
    }
    snprintf(path, ndir + nname + 2, "%s/%s", dir, name);
    *l = (struct reclog){.path = path, .name = path + ndir + 1, .dirfd = -1, .fd = -1, .o = *o};
    if (open_log(l, dir, &found, e)) {
        reclog_close(l);
        return NULL;
    }
    if (ret_recovery)
        *ret_recovery = found;
    return l;
}

void reclog_close(struct reclog *l)
{
    if (!l)
        return;
    if (l->fd >= 0)
        close(l->fd);
    if (l->dirfd >= 0)
        close(l->dirfd);
    mem_free(l->segments);
    mem_free(l->path);
    mem_free(l);
}

/* ---- appending ------------------------------------------------------------------------------ */

/* Puts NAME aside and NAME.new in its place. The number is taken whatever happens. */
static int swap_in(struct reclog *l, uint32_t number)
{
    char full[NAME_SIZE];
    segment_name(l, number, full);
    if (renameat(l->dirfd, l->name, l->dirfd, full) < 0)
        return -errno;
    int rc = rename_new(l);
    if (rc && renameat(l->dirfd, full, l->dirfd, l->name) < 0)
        l->sync_failed = true; /* the next opening sees NAME missing and starts a new one */
    return rc;
}

/* What the new segment begins with: written by `write` into fresh, whose descriptor it is. */
static int fill_first(struct reclog *l, struct reclog *fresh,
    int (*write)(void *arg, struct reclog *fresh), void *arg, struct err *e)
{
    int rc = write ? write(arg, fresh) : 0;
    if (rc)
        return rc;
    if (fresh->append_failed)
        return err_set(e, -EIO, "cannot rotate '%s': an append to the new log failed", l->path);
    return write && fdatasync(fresh->fd) < 0 ? fail(l, -errno, "rotate", e) : 0;
}

/* Makes the new segment and puts it in the place of the full one, whose entry is the last. */
static int replace_full(struct reclog *l, struct reclog *fresh,
    int (*write)(void *arg, struct reclog *fresh), void *arg, struct err *e)
{
    fresh->fd = create_new(l);
    if (fresh->fd < 0)
        return fail(l, fresh->fd, "rotate", e);
    int rc = fill_first(l, fresh, write, arg, e);
    if (!rc) {
        rc = swap_in(l, l->last_number);
        if (rc)
            fail(l, rc, "rotate", e);
    }
    if (rc) {
        close(fresh->fd);
        discard_new(l);
    }
    return rc;
}

/* write: what the new segment begins with; NULL: nothing. */
static int rotate(
    struct reclog *l, int (*write)(void *arg, struct reclog *fresh), void *arg, struct err *e)
{
    struct reclog fresh = {.path = l->path, .name = l->name, .dirfd = l->dirfd, .fd = -1};
    fresh.o.kind = l->o.kind;
    fresh.size = RECLOG_HEADER;
    int rc = remove_segments(l, l->nstale);
    if (rc)
        return fail(l, rc, "remove a replaced segment of", e);
    if (l->last_number >= MAX_SEGMENT)
        return fail(l, -EOVERFLOW, "rotate", e);
    rc = reclog_sync(l, e);
    if (rc)
        return rc;
    rc = add_segment(l, l->last_number + 1, l->size);
    if (rc)
        return fail(l, rc, "rotate", e);
    rc = replace_full(l, &fresh, write, arg, e);
    if (rc) {
        l->nsegments--;
        return rc;
    }
    close(l->fd);
    l->fd = fresh.fd;
    l->size = fresh.size;
    l->torn = fresh.torn;
    /* A segment that cannot be dropped now is tried again at the next rotation. */
    if (l->o.keep_segments && l->nsegments > l->o.keep_segments)
        (void)remove_segments(l, l->nsegments - l->o.keep_segments);
    return sync_folder(l, e);
}

static int append(struct reclog *l, uint32_t type, struct str payload, struct err *e)
{
    unsigned char frame[RECLOG_FRAME];
    uint64_t bytes = RECLOG_FRAME + payload.n;
    int rc;
    if (l->sync_failed)
        return err_set(e, -EIO, "cannot append to '%s': an earlier sync failed", l->path);
    if (l->torn) {
        rc = cut(l);
        if (rc)
            return fail(l, rc, "cut the torn end of", e);
    }
    if (l->o.rotate_bytes && l->size > RECLOG_HEADER && l->size + bytes > l->o.rotate_bytes) {
        rc = rotate(l, NULL, NULL, e);
        if (rc)
            return rc;
    }
    reclog_put_frame(frame, type, payload);
    struct iovec iov[2] = {{frame, sizeof(frame)}, {(void *)payload.p, payload.n}};
    rc = write_all(l->fd, iov, payload.n ? 2 : 1, l->size);
    if (rc) {
        l->torn = true;
        (void)cut(l); /* if even that fails, the next append tries it first */
        return fail(l, rc, "append to", e);
    }
    l->size += bytes;
    return 0;
}

int reclog_append(struct reclog *l, uint32_t type, struct str payload, struct err *e)
{
    int rc;
    if (payload.n > RECLOG_RECORD_MAX)
        rc = err_set(e, -EMSGSIZE, "cannot append to '%s': a record of %zu bytes is over %u",
            l->path, payload.n, RECLOG_RECORD_MAX);
    else if (type == RECLOG_REPLACES)
        rc = err_set(e, -EINVAL, "cannot append to '%s': type %u is reserved", l->path, type);
    else
        rc = append(l, type, payload, e);
    if (rc)
        l->append_failed = true;
    return rc;
}

int reclog_rotate(
    struct reclog *l, int (*write)(void *arg, struct reclog *fresh), void *arg, struct err *e)
{
    int rc = l->torn ? cut(l) : 0;
    return rc ? fail(l, rc, "cut the torn end of", e) : rotate(l, write, arg, e);
}

uint64_t reclog_newest_bytes(const struct reclog *l)
{
    return l->size;
}

int reclog_sync_fd(const struct reclog *l)
{
    int fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int reclog_sync(struct reclog *l, struct err *e)
{
    if (l->sync_failed)
        return err_set(e, -EIO, "cannot sync '%s': an earlier sync failed", l->path);
    if (fdatasync(l->fd) == 0)
        return 0;
    l->sync_failed = true;
    return fail(l, -errno, "sync", e);
}

int reclog_take_back(struct reclog *l, uint64_t bytes, struct err *e)
{
    uint64_t now = reclog_bytes(l);
    if (bytes > now || now - bytes > l->size - RECLOG_HEADER)
        return err_set(e, -EINVAL, "cannot take records of '%s' back", l->path);
    l->size -= now - bytes;
    l->torn = true;
    int rc = cut(l);
    return rc ? fail(l, rc, "cut the end of", e) : 0;
}

uint64_t reclog_bytes(const struct reclog *l)
{
    uint64_t bytes = l->size;
    for (size_t i = l->nstale; i < l->nsegments; i++)
        bytes += l->segments[i].bytes;
    return bytes;
}

/* ---- reading -------------------------------------------------------------------------------- */

struct reader {
    reclog_fn *fn;
    void *arg;
    bool stopped; /* by fn: its result is no error of ours */
};

static int on_read(void *arg, uint32_t type, struct str payload)
{
    struct reader *r = arg;
    int rc = type == RECLOG_REPLACES ? 0 : r->fn(r->arg, type, payload);
    r->stopped = rc != 0;
    return rc;
}

/* bytes: what must be whole records. number 0: the newest segment. */
static int read_segment(
    struct reclog *l, int fd, uint64_t bytes, uint32_t number, struct reader *r, struct err *e)
{
    uint64_t end = 0;
    char suffix[16] = "";
    if (number)
        snprintf(suffix, sizeof(suffix), ".%06u", number);
    int rc = reclog_scan_file(fd, bytes, on_read, r, &end);
    if (r->stopped)
        return rc;
    if (rc)
        return err_set(e, rc, "cannot read '%s%s': %s", l->path, suffix, strerror(-rc));
    if (end < bytes)
        return err_set(e, -EBADMSG, "damaged record at byte %llu of '%s%s'",
            (unsigned long long)end, l->path, suffix);
    return 0;
}

static int read_full(struct reclog *l, const struct segment *s, struct reader *r, struct err *e)
{
    char name[NAME_SIZE], path[512];
    bool torn = false;
    segment_name(l, s->number, name);
    snprintf(path, sizeof(path), "%s.%06u", l->path, s->number);
    int fd = openat(l->dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, -errno, "cannot open '%s': %s", path, strerror(errno));
    int rc = reclog_check_header(fd, s->bytes, l->o.kind, path, &torn, e);
    if (!rc && torn)
        rc = err_set(e, -EBADMSG, "damaged record at byte 0 of '%s'", path);
    if (!rc)
        rc = read_segment(l, fd, s->bytes, s->number, r, e);
    close(fd);
    return rc;
}

int reclog_read(struct reclog *l, reclog_fn *fn, void *arg, struct err *e)
{
    struct reader r = {fn, arg, false};
    for (size_t i = l->nstale; i < l->nsegments; i++) {
        int rc = read_full(l, &l->segments[i], &r, e);
        if (rc)
            return rc;
    }
    return read_segment(l, l->fd, l->size, 0, &r, e);
}

/* ---- compaction ----------------------------------------------------------------------------- */

/* Fills the new segment. 0, or why it cannot be used. */
static int fill(struct reclog *l, struct reclog *fresh, int (*write)(void *, struct reclog *),
    void *arg, struct err *e)
{
    if (l->nsegments) {
        unsigned char number[4];
        put_le32(number, l->segments[l->nsegments - 1].number);
        int rc = append(fresh, RECLOG_REPLACES, str_of((char *)number, sizeof(number)), e);
        if (rc)
            return rc;
    }
    int rc = write(arg, fresh);
    if (rc)
        return rc;
    if (fresh->append_failed)
        return err_set(e, -EIO, "cannot compact '%s': an append to the new log failed", l->path);
    return fsync(fresh->fd) < 0 ? fail(l, -errno, "compact", e) : 0;
}

int reclog_compact(
    struct reclog *l, int (*write)(void *arg, struct reclog *fresh), void *arg, struct err *e)
{
    struct reclog fresh = {.path = l->path, .name = l->name, .dirfd = l->dirfd};
    fresh.o.kind = l->o.kind;
    fresh.size = RECLOG_HEADER;
    fresh.fd = create_new(l);
    if (fresh.fd < 0)
        return fail(l, fresh.fd, "compact", e);
    int rc = fill(l, &fresh, write, arg, e);
    if (!rc) {
        rc = rename_new(l);
        if (rc)
            fail(l, rc, "compact", e);
    }
    if (rc) {
        close(fresh.fd);
        discard_new(l);
        return rc;
    }
    close(l->fd);
    l->fd = fresh.fd;
    l->size = fresh.size;
    l->torn = fresh.torn;
    l->sync_failed = false;
    l->nstale = l->nsegments;
    rc = sync_folder(l, e);
    /* The first record already says that they are replaced: a failure here is made good by the
     * next rotation or opening. Not before the folder is synced: they could be all there is. */
    if (!rc)
        (void)remove_segments(l, l->nstale);
    return rc;
}
