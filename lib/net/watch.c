/* Watching paths by inotify, joined over a quiet time.
 *
 * A path is looked up as the kernel does it, part by part, through symbolic links. Every folder on
 * the way is watched for the one name that is looked up in it; a folder at the end for every name.
 * So a change of any link, a rename over the file, and a path that comes into being are all seen,
 * and other files beside it are not. A folder is watched before its entry is looked at: whatever
 * happens in between is an event. After every event that concerns us the ways are walked again. */
#include "lib/net/watch.h"
#include "lib/base/clock.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define WATCH_MAGIC  0x57415401u
#define LINKS_MAX    40     /* symbolic links on one way, as the kernel has it */
#define STATIONS_MAX 200000 /* folders and names watched together */
#define POLL_SECONDS 2
#define LATEST       10 /* fn runs at most so many quiet times after the first change */

#define WAY_EVENTS                                                                                 \
    (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF)
#define END_EVENTS (WAY_EVENTS | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB)

/* One folder on the way to a path, and the name looked up there. */
struct station {
    int wd;
    char *name; /* owned; NULL: every name */
};

struct stations {
    struct station *p;
    size_t n, size;
};

struct watch {
    uint32_t magic;
    char **paths; /* owned copies */
    size_t npaths;
    uint32_t quiet_ms;
    void (*fn)(void *arg);
    void *arg;
    int fd; /* inotify, -1: polling */
    struct event on_inotify;
    struct event on_quiet;
    struct event on_poll;
    struct stations stations;
    uint64_t first_ms;    /* of the change that fn is still to be told; 0: none */
    uint64_t fingerprint; /* when polling */
};

/* ---- telling -------------------------------------------------------------------------------- */

static void on_quiet(evutil_socket_t fd, short what, void *arg)
{
    struct watch *w = arg;
    (void)fd;
    (void)what;
    if (w->magic != WATCH_MAGIC)
        return;
    w->first_ms = 0;
    w->fn(w->arg); /* may free w */
}

/* Something changed: fn runs when it has been quiet for a while, or it took too long. */
static void note_change(struct watch *w)
{
    uint64_t now = clock_mono_ms();
    if (!w->first_ms)
        w->first_ms = now;
    uint64_t latest = w->first_ms + (uint64_t)w->quiet_ms * LATEST;
    uint64_t at = now + w->quiet_ms < latest ? now + w->quiet_ms : latest;
    uint64_t wait = at > now ? at - now : 0;
    struct timeval tv = clock_timeval(wait);
    event_add(&w->on_quiet, &tv);
}

/* ---- polling -------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

static uint64_t mix_stat(uint64_t h, const struct stat *st)
{
    h = mix(mix(h, st->st_dev), st->st_ino);
    h = mix(mix(h, (uint64_t)st->st_size), st->st_mode);
    h = mix(mix(h, (uint64_t)st->st_mtim.tv_sec), (uint64_t)st->st_mtim.tv_nsec);
    return mix(mix(h, (uint64_t)st->st_ctim.tv_sec), (uint64_t)st->st_ctim.tv_nsec);
}

/* The entries of a folder in any order. */
static uint64_t folder_print(const char *path)
{
    uint64_t sum = 0;
    DIR *d = opendir(path);
    const struct dirent *entry;
    while (d && (entry = readdir(d))) {
        struct stat st;
        uint64_t h = 0;
        for (const char *c = entry->d_name; *c; c++)
            h = mix(h, (unsigned char)*c);
        if (fstatat(dirfd(d), entry->d_name, &st, 0) == 0 && !S_ISDIR(st.st_mode))
            sum += mix_stat(h, &st);
    }
    if (d)
        closedir(d);
    return sum;
}

static uint64_t fingerprint(const struct watch *w)
{
    uint64_t h = 0;
    for (size_t i = 0; i < w->npaths; i++) {
        struct stat st;
        if (stat(w->paths[i], &st) < 0) {
            h = mix(h, 1);
            continue;
        }
        h = mix_stat(h, &st);
        if (S_ISDIR(st.st_mode))
            h = mix(h, folder_print(w->paths[i]));
    }
    return h;
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
    struct watch *w = arg;
    (void)fd;
    (void)what;
    if (w->magic != WATCH_MAGIC)
        return;
    uint64_t now = fingerprint(w);
    if (now != w->fingerprint)
        note_change(w);
    w->fingerprint = now;
}

/* ---- walking -------------------------------------------------------------------------------- */

static void stations_clear(struct stations *s)
{
    for (size_t i = 0; i < s->n; i++)
        mem_free(s->p[i].name);
    mem_free(s->p);
    *s = (struct stations){0};
}

/* Takes name. */
static int stations_add(struct stations *s, int wd, char *name)
{
    if (s->n == STATIONS_MAX) {
        mem_free(name);
        return -ENOSPC;
    }
    if (s->n == s->size) {
        size_t size = s->size ? s->size * 2 : 16;
        struct station *p = mem_realloc(s->p, size * sizeof(*p));
        if (!p) {
            mem_free(name);
            return -ENOMEM;
        }
        s->p = p;
        s->size = size;
    }
    s->p[s->n++] = (struct station){wd, name};
    return 0;
}

/* One way being walked. Texts that do not fit end it: such a path cannot be opened either. */
struct walk {
    char at[PATH_MAX];   /* a folder without links in its path */
    char rest[PATH_MAX]; /* still to be looked up there */
    unsigned links;
};

/* Watches the folder the walk is at. name NULL: for every name. */
static int watch_here(
    struct watch *w, struct stations *s, const struct walk *walk, const char *name, bool last)
{
    uint32_t mask = (last ? END_EVENTS : WAY_EVENTS) | IN_ONLYDIR | IN_MASK_ADD;
    int wd = inotify_add_watch(w->fd, walk->at, mask);
    /* A folder on the way that we may pass but not list cannot be watched; what happens in it
     * rarely matters. */
    if (wd < 0 && !last && errno == EACCES)
        return 0;
    if (wd < 0)
        return -errno;
    char *copy = name ? mem_dup(name, strlen(name)) : NULL;
    if (name && !copy)
        return -ENOMEM;
    return stations_add(s, wd, copy);
}

/* Takes the first part off the rest. False at the end. */
static bool next_part(struct walk *walk, char part[static NAME_MAX + 1], bool *ret_last)
{
    const char *from = walk->rest + strspn(walk->rest, "/");
    size_t n = strcspn(from, "/");
    if (n == 0 || n > NAME_MAX)
        return false;
    memcpy(part, from, n);
    part[n] = '\0';
    from += n;
    from += strspn(from, "/");
    *ret_last = *from == '\0';
    memmove(walk->rest, from, strlen(from) + 1);
    return true;
}

/* Goes on at a link's target. False when it leads nowhere. */
static bool follow(struct walk *walk, const char *link)
{
    char target[PATH_MAX], rest[PATH_MAX];
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    if (n <= 0 || ++walk->links > LINKS_MAX)
        return false;
    target[n] = '\0';
    size_t left = strlen(walk->rest);
    if ((size_t)n + 1 + left >= sizeof(rest))
        return false;
    memcpy(rest, walk->rest, left + 1);
    memcpy(walk->rest, target, (size_t)n);
    walk->rest[n] = '/';
    memcpy(walk->rest + n + 1, rest, left + 1);
    if (target[0] == '/')
        memcpy(walk->at, "/", 2);
    return true;
}

/* Looks one part up, of which the folder is watched by now. 1: walk on, 0: the way ends here. */
static int step(struct walk *walk, const char *part)
{
    char next[PATH_MAX];
    struct stat st;
    size_t at = strlen(walk->at), n = strlen(part);
    if (at + 1 + n >= sizeof(next))
        return 0;
    memcpy(next, walk->at, at);
    if (at == 0 || walk->at[at - 1] != '/')
        next[at++] = '/';
    memcpy(next + at, part, n + 1);
    if (lstat(next, &st) < 0)
        return 0;
    if (S_ISLNK(st.st_mode))
        return follow(walk, next);
    if (!S_ISDIR(st.st_mode))
        return 0;
    memcpy(walk->at, next, at + n + 1);
    return 1;
}

static int walk_path(struct watch *w, struct stations *s, const char *path)
{
    struct walk walk = {.links = 0};
    char part[NAME_MAX + 1];
    bool last = false;
    size_t n = strlen(path);
    if (n >= sizeof(walk.rest))
        return 0;
    memcpy(walk.rest, path, n + 1);
    memcpy(walk.at, path[0] == '/' ? "/" : ".", 2);
    while (next_part(&walk, part, &last)) {
        bool dots = strcmp(part, ".") == 0 || strcmp(part, "..") == 0;
        int rc = dots ? 0 : watch_here(w, s, &walk, part, last);
        if (rc == -ENOENT || rc == -ENOTDIR)
            return 0; /* gone meanwhile: its parent tells */
        if (rc)
            return rc;
        if (!step(&walk, part))
            return 0;
    }
    int rc = watch_here(w, s, &walk, NULL, true);
    return rc == -ENOENT || rc == -ENOTDIR ? 0 : rc;
}

static int by_wd(const void *a, const void *b)
{
    const struct station *x = a, *y = b;
    return (x->wd > y->wd) - (x->wd < y->wd);
}

/* The stations of one folder are neighbours: index of its first, n when there is none. */
static size_t first_of(const struct stations *s, int wd)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->p[mid].wd < wd)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->n && s->p[low].wd == wd ? low : s->n;
}

/* Walks every way afresh. */
static int walk_all(struct watch *w)
{
    struct stations fresh = {0};
    for (size_t i = 0; i < w->npaths; i++) {
        int rc = walk_path(w, &fresh, w->paths[i]);
        if (rc) {
            stations_clear(&fresh);
            return rc;
        }
    }
    if (fresh.n)
        qsort(fresh.p, fresh.n, sizeof(*fresh.p), by_wd);
    for (size_t i = 0; i < w->stations.n; i++) {
        int wd = w->stations.p[i].wd;
        if ((i == 0 || w->stations.p[i - 1].wd != wd) && first_of(&fresh, wd) == fresh.n)
            inotify_rm_watch(w->fd, wd);
    }
    stations_clear(&w->stations);
    w->stations = fresh;
    return 0;
}

/* ---- events --------------------------------------------------------------------------------- */

static void start_polling(struct watch *w, int why)
{
    struct timeval every = {POLL_SECONDS, 0};
    log_warn("cannot watch the graph's files: %s; looking at them every %d s instead",
        strerror(-why), POLL_SECONDS);
    if (w->fd >= 0) {
        event_del(&w->on_inotify);
        close(w->fd);
        w->fd = -1;
    }
    stations_clear(&w->stations);
    w->fingerprint = fingerprint(w);
    event_add(&w->on_poll, &every);
}

static bool concerns_us(const struct watch *w, const struct inotify_event *ev)
{
    if (ev->mask & IN_Q_OVERFLOW)
        return true;
    bool itself = ev->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED);
    for (size_t i = first_of(&w->stations, ev->wd); i < w->stations.n; i++) {
        const struct station *s = &w->stations.p[i];
        if (s->wd != ev->wd)
            break;
        if (itself || !s->name || (ev->len && strcmp(s->name, ev->name) == 0))
            return true;
    }
    return false;
}

static void on_inotify(evutil_socket_t fd, short what, void *arg)
{
    struct watch *w = arg;
    _Alignas(struct inotify_event) char buf[16384];
    bool changed = false;
    (void)what;
    if (w->magic != WATCH_MAGIC)
        return;
    /* One read a turn: a storm of events does not keep the loop from its other work. */
    ssize_t n = read(fd, buf, sizeof(buf));
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *ev = (const void *)(buf + at);
        changed = changed || concerns_us(w, ev);
        at += (ssize_t)(sizeof(*ev) + ev->len);
    }
    if (!changed)
        return;
    note_change(w);
    int rc = walk_all(w);
    if (rc)
        start_polling(w, rc);
}

/* ---- life ----------------------------------------------------------------------------------- */

static int copy_paths(struct watch *w, const char *const *paths, size_t n)
{
    w->paths = mem_array(n ? n : 1, sizeof(*w->paths));
    if (!w->paths)
        return -ENOMEM;
    for (; w->npaths < n; w->npaths++) {
        const char *path = paths[w->npaths];
        w->paths[w->npaths] = mem_dup(path, strlen(path));
        if (!w->paths[w->npaths])
            return -ENOMEM;
    }
    return 0;
}

struct watch *watch_new(struct event_base *base, const char *const *paths, size_t n,
    uint32_t quiet_ms, void (*fn)(void *arg), void *arg, struct err *e)
{
    struct watch *w = mem_zalloc(sizeof(*w));
    if (!w) {
        err_set(e, -ENOMEM, "out of memory to watch files");
        return NULL;
    }
    *w = (struct watch){.magic = WATCH_MAGIC, .quiet_ms = quiet_ms, .fn = fn, .arg = arg, .fd = -1};
    evtimer_assign(&w->on_quiet, base, on_quiet, w);
    event_assign(&w->on_poll, base, -1, EV_PERSIST, on_poll, w);
    int rc = copy_paths(w, paths, n);
    if (rc) {
        err_set(e, rc, "out of memory to watch files");
        watch_free(w);
        return NULL;
    }
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    rc = w->fd < 0 ? -errno : 0;
    event_assign(&w->on_inotify, base, w->fd, EV_READ | EV_PERSIST, on_inotify, w);
    if (!rc)
        rc = walk_all(w);
    if (!rc && event_add(&w->on_inotify, NULL))
        rc = -ENOMEM;
    if (rc)
        start_polling(w, rc);
    return w;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    if (w->fd >= 0) {
        event_del(&w->on_inotify);
        close(w->fd);
    }
    event_del(&w->on_quiet);
    event_del(&w->on_poll);
    stations_clear(&w->stations);
    for (size_t i = 0; i < w->npaths; i++)
        mem_free(w->paths[i]);
    mem_free(w->paths);
    w->magic = 0;
    mem_free(w);
}
