/* Each PATH is a source. A read first expands every source to names and pairs them with the
 * entries already there (both sorted, so pairing is one walk); nothing of the old list is touched
 * before all memory for the new one is there. Then each entry whose stat differs is read. */
#include "lib/base/files.h"
#include "lib/base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SETTLE_S      2 /* younger files may change again within the clock's resolution */
#define READ_ATTEMPTS 3 /* for a file that changes while it is read */

/* What tells two states of a file apart without reading it. */
struct identity {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

struct entry {
    struct file file;
    char *text;           /* what file.bytes shows, NULL when there is none */
    struct identity seen; /* when it was read */
    bool settled;         /* read, and `seen` is trustworthy */
    bool adopted;         /* while lists are exchanged: stands in the old and the new list */
    int folder_fault; /* not a file: the source's folder could not be listed (errno, positive) */
};

struct entries {
    struct entry **item; /* sorted by name */
    size_t n;
};

struct source {
    char *path;
    struct entries entries;
};

struct files {
    struct source *sources;
    size_t nsources;
    struct file_limits limits;
    struct entry **flat; /* all entries in order */
    size_t nflat;
    uint64_t generation;
};

/* Names found in one folder, or the one name of a plain PATH. */
struct names {
    char **item;
    size_t n, room;
    int folder_fault;
};

/* ---- life ----------------------------------------------------------------------------------- */

static void drop_bytes(struct entry *x)
{
    mem_free(x->text);
    x->text = NULL;
    x->file.bytes = (struct str){NULL, 0};
}

static void entry_free(struct entry *x)
{
    if (!x)
        return;
    drop_bytes(x);
    mem_free(x->file.name);
    mem_free(x);
}

static void entries_free(struct entries *l)
{
    for (size_t i = 0; i < l->n; i++)
        entry_free(l->item[i]);
    mem_free(l->item);
    *l = (struct entries){0};
}

static void names_release(struct names *l)
{
    for (size_t i = 0; i < l->n; i++)
        mem_free(l->item[i]);
    mem_free(l->item);
    *l = (struct names){0};
}

struct files *files_new(const char *const *paths, size_t n, const struct file_limits *limits)
{
    struct files *f = mem_zalloc(sizeof(*f));
    if (!f)
        return NULL;
    f->limits = *limits;
    f->sources = mem_array(n, sizeof(*f->sources));
    if (!f->sources)
        goto fail;
    for (; f->nsources < n; f->nsources++) {
        struct source *s = &f->sources[f->nsources];
        *s = (struct source){.path = mem_dup(paths[f->nsources], strlen(paths[f->nsources]))};
        if (!s->path)
            goto fail;
    }
    return f;
fail:
    files_free(f);
    return NULL;
}

void files_free(struct files *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->nsources; i++) {
        entries_free(&f->sources[i].entries);
        mem_free(f->sources[i].path);
    }
    mem_free(f->sources);
    mem_free(f->flat);
    mem_free(f);
}

/* ---- from paths to names ----------------------------------------------------------------------
 */

/* Takes name. */
static int names_add(struct names *l, char *name)
{
    if (!name)
        return -ENOMEM;
    if (l->n == l->room) {
        size_t room = l->room ? l->room * 2 : 16;
        char **item = mem_realloc(l->item, room * sizeof(*item));
        if (!item) {
            mem_free(name);
            return -ENOMEM;
        }
        l->item = item;
        l->room = room;
    }
    l->item[l->n++] = name;
    return 0;
}

static bool is_graph_file(struct str name)
{
    return name.n && name.p[0] != '.' &&
           (str_ends(name, STR(".yaml")) || str_ends(name, STR(".yml")) ||
               str_ends(name, STR(".json")));
}

static char *join(struct str folder, struct str name)
{
    bool slash = !str_ends(folder, STR("/"));
    char *out = mem_alloc(folder.n + slash + name.n + 1);

    if (!out)
        return NULL;
    memcpy(out, folder.p, folder.n);
    if (slash)
        out[folder.n] = '/';
    memcpy(out + folder.n + slash, name.p, name.n + 1); /* with its NUL */
    return out;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* 0, -ENOMEM, or a positive errno for a folder that cannot be listed whole within `room`. */
static int list_folder(DIR *dir, const char *path, size_t room, struct names *out)
{
    for (;;) {
        errno = 0;
        struct dirent *d = readdir(dir);
        if (!d)
            return errno;
        if (!is_graph_file(str_c(d->d_name)))
            continue;
        if (out->n == room)
            return E2BIG;
        int rc = names_add(out, join(str_c(path), str_c(d->d_name)));
        if (rc)
            return rc;
    }
}

/* The names that a PATH stands for, at most `room`. A folder that cannot be listed whole becomes
 * one faulty name: some of its files would be an accident of their order. */
static int expand(const char *path, size_t room, struct names *out)
{
    DIR *dir = NULL;
    struct stat st;
    int rc = 0;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        dir = opendir(path);
        rc = dir ? list_folder(dir, path, room, out) : errno;
    } else if (room == 0) {
        rc = E2BIG;
    } else {
        rc = names_add(out, mem_dup(path, strlen(path)));
    }
    if (dir)
        closedir(dir);
    if (rc > 0) {
        names_release(out);
        out->folder_fault = rc;
        rc = names_add(out, mem_dup(path, strlen(path)));
    }
    if (rc == 0 && out->n)
        qsort(out->item, out->n, sizeof(*out->item), compare_names);
    return rc;
}

/* ---- from names to entries --------------------------------------------------------------------
 */

/* Takes *name, leaving NULL. */
static struct entry *entry_new(char **name)
{
    struct entry *x = mem_zalloc(sizeof(*x));
    if (!x)
        return NULL;
    x->file.name = *name;
    *name = NULL;
    return x;
}

/* Undoes pairing: what is new is freed, what was adopted stays with the old list. */
static void entries_abandon(struct entries *fresh)
{
    for (size_t i = 0; i < fresh->n; i++) {
        if (fresh->item[i]->adopted)
            fresh->item[i]->adopted = false;
        else
            entry_free(fresh->item[i]);
    }
    mem_free(fresh->item);
    *fresh = (struct entries){0};
}

/* Fills *fresh with an entry for each name: the old one when there is one, else a new one. */
static int pair(const struct entries *old, struct names *names, struct entries *fresh)
{
    size_t at = 0;

    fresh->item = mem_array(names->n, sizeof(struct entry *));
    if (!fresh->item)
        return -ENOMEM;
    for (; fresh->n < names->n; fresh->n++) {
        char **name = &names->item[fresh->n];
        while (at < old->n && strcmp(old->item[at]->file.name, *name) < 0)
            at++;
        struct entry *x;
        if (at < old->n && strcmp(old->item[at]->file.name, *name) == 0) {
            x = old->item[at++];
            x->adopted = true;
        } else {
            x = entry_new(name);
            if (!x)
                return -ENOMEM;
        }
        x->folder_fault = names->folder_fault;
        fresh->item[fresh->n] = x;
    }
    return 0;
}

static int renew_source(const struct source *s, size_t room, struct entries *fresh)
{
    struct names names = {0};
    int rc = expand(s->path, room, &names);

    if (rc == 0)
        rc = pair(&s->entries, &names, fresh);
    names_release(&names);
    if (rc)
        entries_abandon(fresh);
    return rc;
}

/* Puts the new list in the old one's place; entries that are gone are freed. */
static void adopt(struct files *f, struct source *s, struct entries *fresh)
{
    for (size_t i = 0; i < s->entries.n; i++) {
        struct entry *x = s->entries.item[i];
        if (x->adopted) {
            x->adopted = false;
            continue;
        }
        f->generation++;
        entry_free(x);
    }
    mem_free(s->entries.item);
    s->entries = *fresh;
}

static int exchange(struct files *f, struct entries *fresh)
{
    size_t n = 0;

    for (size_t i = 0; i < f->nsources; i++) {
        size_t room = n < f->limits.files ? f->limits.files - n : 0;
        int rc = renew_source(&f->sources[i], room, &fresh[i]);
        if (rc)
            return rc;
        n += fresh[i].n;
    }
    struct entry **flat = mem_array(n, sizeof(struct entry *));
    if (!flat)
        return -ENOMEM;
    mem_free(f->flat);
    f->flat = flat;
    f->nflat = 0;
    for (size_t i = 0; i < f->nsources; i++) {
        adopt(f, &f->sources[i], &fresh[i]);
        for (size_t j = 0; j < fresh[i].n; j++)
            f->flat[f->nflat++] = fresh[i].item[j];
    }
    return 0;
}

/* All or nothing: on -ENOMEM the list is as it was. */
static int renew_list(struct files *f)
{
    struct entries *fresh = mem_array(f->nsources, sizeof(*fresh));
    if (!fresh)
        return -ENOMEM;
    for (size_t i = 0; i < f->nsources; i++)
        fresh[i] = (struct entries){0};
    int rc = exchange(f, fresh);
    for (size_t i = 0; rc && i < f->nsources; i++)
        entries_abandon(&fresh[i]);
    mem_free(fresh);
    return rc;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static struct identity identity_of(const struct stat *st)
{
    return (struct identity){st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_identity(const struct identity *a, const struct identity *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime);
}

ssize_t file_read_at(int fd, void *p, size_t n, uint64_t offset)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got = pread(fd, (char *)p + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

/* One try at an open file of the size in *st: 0, -EAGAIN when it changed meanwhile, or an error.
 * On success *ret is a new text with a NUL behind it. */
static int read_once(int fd, const struct stat *st, char **ret)
{
    size_t size = (size_t)st->st_size;
    struct stat after;
    char *p = mem_alloc(size + 1);

    if (!p)
        return -ENOMEM;
    ssize_t n = file_read_at(fd, p, size + 1, 0); /* the byte more shows growth */
    int rc = n < 0 ? (int)n : 0;
    if (rc == 0 && fstat(fd, &after) != 0)
        rc = -errno;
    if (rc == 0) {
        struct identity was = identity_of(st), is = identity_of(&after);
        if ((size_t)n != size || !same_identity(&was, &is))
            rc = -EAGAIN;
    }
    if (rc) {
        mem_free(p);
        return rc;
    }
    p[size] = '\0';
    *ret = p;
    return 0;
}

/* Whether a file may be read at all, judged by its stat. */
static int judge(const struct stat *st, const struct file_limits *limits, uint64_t room,
    const char *name, struct err *e)
{
    if (S_ISDIR(st->st_mode))
        return err_set(e, -EISDIR, "cannot read a folder as a file: '%s'", name);
    if (!S_ISREG(st->st_mode))
        return err_set(e, -EINVAL, "not a regular file: '%s'", name);
    if ((uint64_t)st->st_size > limits->file_bytes)
        return err_set(e, -EFBIG, "file larger than %llu bytes: '%s'",
            (unsigned long long)limits->file_bytes, name);
    if ((uint64_t)st->st_size > room)
        return err_set(e, -EFBIG, "files together larger than %llu bytes, from '%s' on",
            (unsigned long long)limits->total_bytes, name);
    return 0;
}

static int fail_read(struct err *e, int code, const char *name)
{
    if (code == -EAGAIN)
        return err_set(e, code, "file keeps changing while it is read: '%s'", name);
    return err_set(e, code, "cannot read '%s': %s", name, strerror(-code));
}

static int read_open(int fd, const struct file_limits *limits, uint64_t room, const char *name,
    struct stat *ret_st, char **ret, struct err *e)
{
    int rc = -EAGAIN;

    for (int i = 0; i < READ_ATTEMPTS && rc == -EAGAIN; i++) {
        if (fstat(fd, ret_st) != 0)
            return fail_read(e, -errno, name);
        rc = judge(ret_st, limits, room, name, e);
        if (rc)
            return rc;
        rc = read_once(fd, ret_st, ret);
    }
    return rc ? fail_read(e, rc, name) : 0;
}

/* The stat was looked at before, so that no device is opened; O_NONBLOCK, because what is opened
 * may be a FIFO put there since. */
static int read_path(const char *name, const struct file_limits *limits, uint64_t room,
    struct stat *ret_st, char **ret, struct err *e)
{
    int fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail_read(e, -errno, name);
    int rc = read_open(fd, limits, room, name, ret_st, ret, e);
    close(fd);
    return rc;
}

static void set_error(struct files *f, struct entry *x, const struct err *e)
{
    bool same = x->file.error.code == e->code && strcmp(x->file.error.text, e->text) == 0;

    drop_bytes(x);
    x->settled = false;
    if (same)
        return;
    x->file.error = *e;
    x->file.generation = ++f->generation;
}

/* Takes text, as long as st says. */
static void set_text(struct files *f, struct entry *x, const struct stat *st, char *text)
{
    struct str bytes = str_of(text, (size_t)st->st_size);
    bool same = x->text && str_eq(x->file.bytes, bytes);
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    x->seen = identity_of(st);
    x->settled = st->st_mtim.tv_sec < now.tv_sec - SETTLE_S;
    drop_bytes(x);
    x->text = text;
    x->file.bytes = bytes;
    x->file.error = (struct err){0};
    if (!same)
        x->file.generation = ++f->generation;
}

static int folder_error(const struct files *f, const struct entry *x, struct err *e)
{
    if (x->folder_fault == E2BIG)
        return err_set(
            e, -E2BIG, "more than %u files, from '%s' on", f->limits.files, x->file.name);
    return err_set(
        e, -x->folder_fault, "cannot list '%s': %s", x->file.name, strerror(x->folder_fault));
}

/* Brings one entry up to date. 1 when it was read, 0 when not, or -ENOMEM. */
static int refresh(struct files *f, struct entry *x, uint64_t room)
{
    struct stat st;
    struct err e = {0};
    char *text = NULL;
    int rc;

    if (x->folder_fault) {
        rc = folder_error(f, x, &e);
    } else if (stat(x->file.name, &st) != 0) {
        rc = fail_read(&e, -errno, x->file.name);
    } else {
        struct identity is = identity_of(&st);
        rc = judge(&st, &f->limits, room, x->file.name, &e);
        if (rc == 0 && x->settled && same_identity(&x->seen, &is))
            return 0;
        if (rc == 0)
            rc = read_path(x->file.name, &f->limits, room, &st, &text, &e);
    }
    if (rc) {
        set_error(f, x, &e);
        return rc == -ENOMEM ? rc : 0;
    }
    set_text(f, x, &st, text);
    return 1;
}

int files_read(struct files *f)
{
    uint64_t room = f->limits.total_bytes;
    int nread = 0;
    bool no_memory = false;

    if (renew_list(f) != 0)
        return -ENOMEM;
    for (size_t i = 0; i < f->nflat; i++) {
        int rc = refresh(f, f->flat[i], room);
        if (rc < 0)
            no_memory = true;
        else
            nread += rc;
        room -= f->flat[i]->file.bytes.n;
    }
    return no_memory ? -ENOMEM : nread;
}

size_t files_count(const struct files *f)
{
    return f->nflat;
}

const struct file *files_at(const struct files *f, size_t i)
{
    return i < f->nflat ? &f->flat[i]->file : NULL;
}

uint64_t files_generation(const struct files *f)
{
    return f->generation;
}

/* ---- small files of our own ---- */

int file_write(int fd, struct str bytes)
{
    while (bytes.n) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO;
        bytes = str_from(bytes, (size_t)n);
    }
    return 0;
}

int file_put(int folder, const char *name, struct str bytes)
{
    char fresh[NAME_MAX + 1];
    int n = snprintf(fresh, sizeof fresh, "%s.new", name);
    if (n < 0 || (size_t)n >= sizeof fresh)
        return -ENAMETOOLONG;
    int fd = openat(folder, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int rc = file_write(fd, bytes);
    if (rc == 0 && fsync(fd) != 0)
        rc = -errno;
    if (close(fd) != 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && (renameat(folder, fresh, folder, name) != 0 || fsync(folder) != 0))
        rc = -errno;
    if (rc != 0)
        unlinkat(folder, fresh, 0);
    return rc;
}

int file_get(int folder, const char *name, uint64_t n, char **ret)
{
    struct stat st;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fstat(fd, &st) ? -errno : S_ISREG(st.st_mode) && st.st_size == (off_t)n ? 0 : -EBADMSG;
    char *p = rc ? NULL : mem_alloc(n + 1);
    ssize_t got = p ? file_read_at(fd, p, n, 0) : 0;
    if (rc == 0)
        rc = !p ? -ENOMEM : got < 0 ? (int)got : (uint64_t)got == n ? 0 : -EBADMSG;
    close(fd);
    if (rc)
        mem_free(p);
    else
        *ret = p;
    return rc;
}
