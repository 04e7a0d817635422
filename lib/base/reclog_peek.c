/* Reading a record log without owning it, and telling a torn end from damage.
 *
 * A torn end is what a write that was never acknowledged left: a prefix of one record (the process
 * was killed, the disk was full), or, after a power loss, a record some of whose pages never
 * reached the disk and read as zeros. Anything else behind the last whole record was whole once:
 *
 *   a whole record follows somewhere              -> damage
 *   all of it is one record but for its length    -> damage (the length was hit)
 *   a page of it, or what it has of one, is zeros -> torn
 *   its length says more than is there            -> torn
 *   else (all there, no page missing, wrong CRC)  -> damage
 *
 * So one wrong bit anywhere behind the header is damage, except where it makes the only byte of
 * its page zero. */
#include "lib/base/files.h"
#include "lib/base/mem.h"
#include "lib/base/reclog_impl.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE      4096u
#define WORK_MAX  (4ull << 30) /* bytes of checksums while looking for a whole record */
#define PATH_SIZE 4096

/* Does any whole record of a type below `types` start in (0, tail.n)? Gives up with "yes": then
 * nothing is cut. */
static bool record_follows(struct str tail, uint32_t types)
{
    uint64_t work = 0;
    for (size_t at = 1; at + RECLOG_FRAME <= tail.n; at++) {
        struct str rest = str_from(tail, at);
        uint32_t len = get_le32(rest.p), type = get_le32(rest.p + 8);
        if (type >= types || len > RECLOG_RECORD_MAX || len > rest.n - RECLOG_FRAME)
            continue;
        work += len;
        if (work > WORK_MAX || reclog_scan(str_of(rest.p, RECLOG_FRAME + (size_t)len), NULL, NULL))
            return true;
    }
    return false;
}

/* Is it one whole record when its length is taken to be what is there? */
static bool only_length_wrong(struct str tail)
{
    unsigned char frame[RECLOG_FRAME];
    struct str payload = str_from(tail, RECLOG_FRAME);
    if (payload.n > RECLOG_RECORD_MAX)
        return false;
    reclog_put_frame(frame, get_le32(tail.p + 8), payload);
    return get_le32(frame + 4) == get_le32(tail.p + 4);
}

static bool all_zero(const char *p, size_t n)
{
    while (n && *p == 0)
        p++, n--;
    return n == 0;
}

/* at: offset in the file of the tail. */
static bool lacks_page(struct str tail, uint64_t at)
{
    size_t from = 0;
    while (from < tail.n) {
        size_t n = PAGE - (size_t)((at + from) % PAGE);
        if (n > tail.n - from)
            n = tail.n - from;
        if (all_zero(tail.p + from, n))
            return true;
        from += n;
    }
    return false;
}

bool reclog_tail_torn(struct str tail, uint64_t at, uint32_t types)
{
    if (tail.n < RECLOG_FRAME)
        return true;
    if (record_follows(tail, types) || only_length_wrong(tail))
        return false;
    return lacks_page(tail, at) || get_le32(tail.p) > tail.n - RECLOG_FRAME;
}

static int judge_tail(int fd, uint32_t types, struct reclog_peek *ret)
{
    size_t n = (size_t)(ret->size - ret->end);
    char *tail = mem_alloc(n);
    if (!tail)
        return -ENOMEM;
    ssize_t got = file_read_at(fd, tail, n, ret->end);
    if (got == (ssize_t)n)
        ret->damaged = !reclog_tail_torn(str_of(tail, n), ret->end, types);
    mem_free(tail);
    return got < 0 ? (int)got : (size_t)got < n ? -EIO : 0;
}

/* Keeps what fn returned apart from what reading returned. */
struct peeking {
    reclog_fn *fn;
    void *arg;
    uint64_t records;
    bool stopped;
};

static int on_peeked(void *arg, uint32_t type, struct str payload)
{
    struct peeking *p = arg;
    if (type == RECLOG_REPLACES)
        return 0;
    p->records++;
    int rc = p->fn ? p->fn(p->arg, type, payload) : 0;
    p->stopped = rc != 0;
    return rc;
}

static int peek(int fd, uint32_t kind, uint32_t types, const char *path, struct peeking *p,
    struct reclog_peek *ret, struct err *e)
{
    struct stat st;
    bool torn = false;
    if (fstat(fd, &st) < 0)
        return err_set(e, -errno, "cannot examine '%s': %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, "not a regular file: '%s'", path);
    ret->size = (uint64_t)st.st_size;
    int rc = reclog_check_header(fd, ret->size, kind, path, &torn, e);
    if (rc || torn)
        return rc;
    rc = reclog_scan_file(fd, ret->size, on_peeked, p, &ret->end);
    if (p->stopped)
        return rc;
    ret->records = p->records;
    if (rc == 0 && ret->end < ret->size)
        rc = judge_tail(fd, types, ret);
    return rc ? err_set(e, rc, "cannot read '%s': %s", path, strerror(-rc)) : 0;
}

int reclog_peek(const char *dir, const char *name, uint32_t kind, uint32_t types, reclog_fn *fn,
    void *arg, struct reclog_peek *ret, struct err *e)
{
    char path[PATH_SIZE];
    struct peeking p = {.fn = fn, .arg = arg};
    *ret = (struct reclog_peek){0};
    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
        return err_set(e, -ENAMETOOLONG, "path too long: '%s/%s'", dir, name);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, -errno, "cannot open '%s': %s", path, strerror(errno));
    int rc = peek(fd, kind, types, path, &p, ret, e);
    close(fd);
    return rc;
}
