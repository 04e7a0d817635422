#include "proxy/inherit.h"
#include "lib/base/addr.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/sock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct item {
    enum handover_kind kind;
    uint32_t number;
    char *key; /* owned, NUL-terminated */
    int fd;    /* -1: taken */
};

struct inherit {
    int channel;
    uint64_t timeout_ms;
    uint32_t generation, from;
    struct item *items;
    size_t nitems, room;
    int lock, tickets, errors; /* -1: none */
    bool has_state;
    char text[HANDOVER_MESSAGE_MAX + 1];
};

/* ---- messages ---- */

/* Waits until the channel is ready for `what`, the deadline at the latest. */
static int await(const struct inherit *i, short what, uint64_t deadline_ms, struct err *e)
{
    struct pollfd p = {.fd = i->channel, .events = what};
    for (;;) {
        uint64_t now = clock_mono_ms();
        if (now >= deadline_ms)
            return err_set(e, -ETIMEDOUT, "hand-over: the old process does not answer");
        int n = poll(&p, 1, (int)(deadline_ms - now));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_set(e, -errno, "hand-over: cannot wait: %s", strerror(errno));
    }
}

static int say(const struct inherit *i, const struct handover *m, struct err *e)
{
    uint64_t deadline = clock_mono_ms() + i->timeout_ms;
    int rc = handover_send(i->channel, m, -1);
    while (rc == -EAGAIN) {
        rc = await(i, POLLOUT, deadline, e);
        if (rc != 0)
            return rc;
        rc = handover_send(i->channel, m, -1);
    }
    return rc ? err_set(
                    e, rc, "hand-over: cannot say '%s': %s", handover_word(m->kind), strerror(-rc))
              : 0;
}

static int hear(struct inherit *i, struct handover *ret, int *ret_fd, struct err *e)
{
    uint64_t deadline = clock_mono_ms() + i->timeout_ms;
    for (;;) {
        int rc = handover_receive(i->channel, i->text, ret, ret_fd, e);
        if (rc == -EAGAIN) {
            rc = await(i, POLLIN, deadline, e);
            if (rc == 0)
                continue;
        }
        if (rc == -ENOTCONN)
            return err_set(e, rc, "hand-over: the old process is gone");
        if (rc != 0 && rc != -EPROTO && rc != -ETIMEDOUT)
            return err_set(e, rc, "hand-over: cannot hear the old process: %s", strerror(-rc));
        return rc;
    }
}

/* A message without a descriptor, of one kind. */
static int expect(struct inherit *i, enum handover_kind kind, struct handover *ret, struct err *e)
{
    int fd = -1;
    int rc = hear(i, ret, &fd, e);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && ret->kind != kind)
        rc = err_set(e, -EPROTO, "hand-over: '%s' where '%s' was due", handover_word(ret->kind),
            handover_word(kind));
    return rc;
}

/* ---- what is handed over ---- */

/* A stream socket that listens, at the address it is said to be for. */
static int judge_socket(const struct handover *m, int fd, struct err *e)
{
    int listens = 0, type = 0;
    socklen_t len = sizeof listens, type_len = sizeof type;
    struct addr want, have;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || !listens ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) != 0 || type != SOCK_STREAM)
        return err_set(
            e, -EPROTO, "hand-over: '%s' is not a listening socket", handover_word(m->kind));
    if (m->kind == HANDOVER_ADMIN)
        return 0;
    if (addr_parse(m->key, true, &want, NULL) != 0 || sock_name(fd, &have) != 0 ||
        want.kind != have.kind)
        return err_set(e, -EPROTO, "hand-over: '%s' is not of '%.*s'", handover_word(m->kind),
            STR_ARG(m->key));
    if (want.kind == ADDR_UNIX)
        return 0;
    if (want.port == 0)
        want.port = have.port;
    return addr_eq(&want, &have) ? 0
                                 : err_set(e, -EPROTO, "hand-over: '%s' is not at '%.*s'",
                                       handover_word(m->kind), STR_ARG(m->key));
}

static int grow(struct inherit *i)
{
    size_t room = i->room ? i->room * 2 : 16;
    struct item *more = mem_realloc(i->items, room * sizeof *more);
    if (!more)
        return -ENOMEM;
    i->items = more;
    i->room = room;
    return 0;
}

/* Takes fd. */
static int keep(struct inherit *i, const struct handover *m, int fd, struct err *e)
{
    int rc = m->kind == HANDOVER_ENDPOINT ? 0 : judge_socket(m, fd, e);
    if (rc == 0 && (i->nitems == HANDOVER_SOCKETS_MAX || m->number >= HANDOVER_ORDERS_MAX))
        rc = err_set(e, -EPROTO, "hand-over: too many sockets");
    if (rc == 0 && i->nitems == i->room && grow(i) != 0)
        rc = err_set(e, -ENOMEM, "out of memory");
    char *key = rc == 0 ? mem_dup(m->key.p, m->key.n) : NULL;
    if (rc == 0 && !key)
        rc = err_set(e, -ENOMEM, "out of memory");
    if (rc != 0) {
        if (fd >= 0)
            close(fd);
        return rc;
    }
    i->items[i->nitems++] = (struct item){m->kind, m->number, key, fd};
    return 0;
}

/* Takes fd. */
static int keep_one(int *to, int fd, const struct handover *m, struct err *e)
{
    if (*to >= 0) {
        close(fd);
        return err_set(e, -EPROTO, "hand-over: '%s' twice", handover_word(m->kind));
    }
    *to = fd;
    return 0;
}

static int collect(struct inherit *i, struct err *e)
{
    for (;;) {
        struct handover m;
        int fd = -1;
        int rc = hear(i, &m, &fd, e);
        if (rc != 0)
            return rc;
        switch (m.kind) {
        case HANDOVER_LISTEN:
        case HANDOVER_ENDPOINT:
        case HANDOVER_ADMIN:
        case HANDOVER_METRICS:
            rc = keep(i, &m, fd, e);
            break;
        case HANDOVER_LOCK:
            rc = keep_one(&i->lock, fd, &m, e);
            break;
        case HANDOVER_TICKETS:
            rc = keep_one(&i->tickets, fd, &m, e);
            break;
        case HANDOVER_ERRORS:
            rc = keep_one(&i->errors, fd, &m, e);
            break;
        case HANDOVER_END:
            return 0;
        default:
            rc = err_set(e, -EPROTO, "hand-over: '%s' among the sockets", handover_word(m.kind));
        }
        if (rc != 0)
            return rc;
    }
}

static int greet(struct inherit *i, struct err *e)
{
    struct handover m = {
        .kind = HANDOVER_HELLO, .version = HANDOVER_VERSION, .pid = (uint32_t)getpid()};
    int rc = say(i, &m, e);
    rc = rc ? rc : expect(i, HANDOVER_HELLO, &m, e);
    if (rc != 0)
        return rc;
    if (m.version != HANDOVER_VERSION)
        return err_set(e, -EPROTO, "hand-over: the old process speaks version %u, this one %u",
            m.version, HANDOVER_VERSION);
    i->generation = m.generation;
    i->from = m.pid;
    return 0;
}

/* ---- life ---- */

/* Ours alone: what was started must not be taken for an upgrade again. */
static int channel_of(const char *text, struct err *e)
{
    int type = 0, domain = 0;
    socklen_t len = sizeof type, domain_len = sizeof domain;
    char *end = NULL;
    errno = 0;
    long fd = strtol(text, &end, 10);
    if (errno || *end || end == text || fd < 0 || fd > 65535 ||
        getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_SEQPACKET ||
        getsockopt((int)fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) != 0 || domain != AF_UNIX)
        return err_set(
            e, -EINVAL, HANDOVER_ENV " is for upgrades alone, and names no socket of one");
    fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    return (int)fd;
}

int inherit_take(struct inherit **ret, uint64_t timeout_ms, struct err *e)
{
    const char *text = getenv(HANDOVER_ENV);
    *ret = NULL;
    if (!text)
        return 0;
    int channel = channel_of(text, e);
    unsetenv(HANDOVER_ENV);
    if (channel < 0)
        return channel;
    struct inherit *i = mem_zalloc(sizeof *i);
    if (!i) {
        close(channel);
        return err_set(e, -ENOMEM, "out of memory");
    }
    i->channel = channel;
    i->timeout_ms = timeout_ms;
    i->lock = i->tickets = i->errors = -1;
    int rc = greet(i, e);
    rc = rc ? rc : collect(i, e);
    if (rc != 0) {
        inherit_free(i);
        return rc;
    }
    *ret = i;
    return 0;
}

void inherit_free(struct inherit *i)
{
    if (!i)
        return;
    for (size_t k = 0; k < i->nitems; k++) {
        if (i->items[k].fd >= 0)
            close(i->items[k].fd);
        mem_free(i->items[k].key);
    }
    mem_free(i->items);
    if (i->lock >= 0)
        close(i->lock);
    if (i->tickets >= 0)
        close(i->tickets);
    if (i->errors >= 0)
        close(i->errors);
    if (i->channel >= 0)
        close(i->channel);
    mem_free(i);
}

uint32_t inherit_generation(const struct inherit *i)
{
    return i->generation;
}

uint32_t inherit_from(const struct inherit *i)
{
    return i->from;
}

static bool is_for(const struct item *it, enum handover_kind kind, uint32_t number, struct str key)
{
    return it->fd >= 0 && it->kind == kind && it->number == number && str_eq(str_c(it->key), key);
}

size_t inherit_count(
    const struct inherit *i, enum handover_kind kind, uint32_t number, struct str key)
{
    size_t n = 0;
    for (size_t k = 0; i && k < i->nitems; k++)
        n += is_for(&i->items[k], kind, number, key);
    return n;
}

int inherit_socket(struct inherit *i, enum handover_kind kind, uint32_t number, struct str key)
{
    for (size_t k = 0; i && k < i->nitems; k++) {
        if (!is_for(&i->items[k], kind, number, key))
            continue;
        int fd = i->items[k].fd;
        i->items[k].fd = -1;
        return fd;
    }
    return -1;
}

bool inherit_order(const struct inherit *i, size_t n, uint32_t *ret_number, struct str *ret_key)
{
    for (size_t k = 0; i && k < i->nitems; k++) {
        if (i->items[k].kind != HANDOVER_ENDPOINT || n-- > 0)
            continue;
        *ret_number = i->items[k].number;
        *ret_key = str_c(i->items[k].key);
        return true;
    }
    return false;
}

int inherit_lock(struct inherit *i, int like)
{
    struct stat a, b;
    if (!i || i->lock < 0 || fstat(i->lock, &a) != 0 || fstat(like, &b) != 0 ||
        a.st_dev != b.st_dev || a.st_ino != b.st_ino)
        return -1;
    int fd = i->lock;
    i->lock = -1;
    return fd;
}

int inherit_tickets(struct inherit *i)
{
    int fd = i ? i->tickets : -1;
    if (i)
        i->tickets = -1;
    return fd;
}

int inherit_state(struct inherit *i, struct err *e)
{
    struct handover m = {.kind = HANDOVER_STATE};
    if (i->has_state)
        return 0;
    int rc = say(i, &m, e);
    rc = rc ? rc : expect(i, HANDOVER_STATE, &m, e);
    i->has_state = rc == 0;
    return rc;
}

int inherit_ready(struct inherit *i, bool admin_taken, struct err *e)
{
    struct handover m = {.kind = HANDOVER_READY, .number = admin_taken};
    if (i->errors >= 0 && dup2(i->errors, STDERR_FILENO) < 0)
        return err_set(e, -errno, "hand-over: cannot take standard error: %s", strerror(errno));
    int rc = say(i, &m, e);
    rc = rc ? rc : expect(i, HANDOVER_GO, &m, e);
    if (rc != -ENOTCONN && rc != -EPIPE && rc != -ECONNRESET)
        return rc;
    e->code = 0;
    log_warn("the old process %u is gone: serving in its place", i->from);
    close(i->channel);
    i->channel = -1;
    return 0;
}

void inherit_serving(struct inherit *i)
{
    struct handover m = {.kind = HANDOVER_SERVING};
    struct err e = {0};
    if (i->channel >= 0 && say(i, &m, &e) != 0)
        log_warn("%s", e.text);
}
