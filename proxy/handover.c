#include "proxy/handover.h"
#include "lib/base/parse.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DESCRIPTORS_ROOM 8 /* received at the most, so that surplus ones are seen and closed */

/* What stands behind the word. */
enum shape { BARE, NUMBER, NUMBER_KEY, KEY, THREE_NUMBERS };

static const struct {
    const char *word;
    enum shape shape;
    bool carries;
} kinds[HANDOVER_KINDS] = {
    [HANDOVER_HELLO] = {"hello", THREE_NUMBERS, false},
    [HANDOVER_LISTEN] = {"listen", NUMBER_KEY, true},
    [HANDOVER_ENDPOINT] = {"endpoint", NUMBER_KEY, false},
    [HANDOVER_ADMIN] = {"admin", KEY, true},
    [HANDOVER_METRICS] = {"metrics", KEY, true},
    [HANDOVER_LOCK] = {"lock", BARE, true},
    [HANDOVER_TICKETS] = {"tickets", BARE, true},
    [HANDOVER_ERRORS] = {"errors", BARE, true},
    [HANDOVER_END] = {"end", BARE, false},
    [HANDOVER_STATE] = {"state", BARE, false},
    [HANDOVER_READY] = {"ready", NUMBER, false},
    [HANDOVER_GO] = {"go", BARE, false},
    [HANDOVER_SERVING] = {"serving", BARE, false},
};

const char *handover_word(enum handover_kind kind)
{
    return kinds[kind].word;
}

bool handover_carries(enum handover_kind kind)
{
    return kinds[kind].carries;
}

/* ---- text ---- */

static bool key_valid(struct str key)
{
    if (key.n == 0 || key.n > HANDOVER_KEY_MAX)
        return false;
    for (size_t i = 0; i < key.n; i++)
        if ((unsigned char)key.p[i] < ' ' || key.p[i] == 127)
            return false;
    return true;
}

/* Digits up to a space or the end, which are taken off *rest. Plain: no sign, no zero in front. */
static bool take_number(struct str *rest, uint32_t *ret)
{
    size_t n = str_find(*rest, ' ');
    uint64_t v = 0;
    if (n == 0 || n > 10 || (rest->p[0] == '0' && n > 1))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (rest->p[i] < '0' || rest->p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(rest->p[i] - '0');
    }
    if (v > UINT32_MAX || n + 1 == rest->n)
        return false;
    *ret = (uint32_t)v;
    *rest = n < rest->n ? str_from(*rest, n + 1) : str_of(NULL, 0);
    return true;
}

static bool take_rest(struct handover *m, struct str rest)
{
    switch (kinds[m->kind].shape) {
    case BARE:
        return rest.n == 0;
    case NUMBER:
        return take_number(&rest, &m->number) && rest.n == 0;
    case NUMBER_KEY:
        m->key = rest;
        return take_number(&m->key, &m->number) && key_valid(m->key);
    case KEY:
        m->key = rest;
        return key_valid(rest);
    case THREE_NUMBERS:
        return take_number(&rest, &m->version) && rest.n && take_number(&rest, &m->generation) &&
               rest.n && take_number(&rest, &m->pid) && rest.n == 0;
    }
    return false;
}

int handover_parse(struct str text, struct handover *ret, struct err *e)
{
    struct handover m = {0};
    size_t n = str_find(text, ' '), kind = 0;
    struct str word = str_of(text.p, n);
    while (kind < HANDOVER_KINDS && !str_eq(word, str_c(kinds[kind].word)))
        kind++;
    if (text.n > HANDOVER_MESSAGE_MAX)
        return err_set(e, -EPROTO, "hand-over: a message of %zu bytes", text.n);
    if (kind == HANDOVER_KINDS)
        return err_set(e, -EPROTO, "hand-over: unknown message '%.*s'", (int)(n > 40 ? 40 : n),
            text.n ? text.p : "");
    m.kind = (enum handover_kind)kind;
    struct str rest = n < text.n ? str_from(text, n + 1) : str_of(NULL, 0);
    if (n + 1 == text.n || !take_rest(&m, rest))
        return err_set(e, -EPROTO, "hand-over: '%s' with '%.*s'", kinds[kind].word,
            (int)(rest.n > 200 ? 200 : rest.n), rest.n ? rest.p : "");
    *ret = m;
    return 0;
}

size_t handover_format(const struct handover *m, char out[static HANDOVER_MESSAGE_MAX])
{
    const char *word = kinds[m->kind].word;
    int n = 0;
    bool with_key = kinds[m->kind].shape == KEY || kinds[m->kind].shape == NUMBER_KEY;
    if (with_key && !key_valid(m->key))
        return 0;
    switch (kinds[m->kind].shape) {
    case BARE:
        n = snprintf(out, HANDOVER_MESSAGE_MAX, "%s", word);
        break;
    case NUMBER:
        n = snprintf(out, HANDOVER_MESSAGE_MAX, "%s %u", word, m->number);
        break;
    case NUMBER_KEY:
        n = snprintf(out, HANDOVER_MESSAGE_MAX, "%s %u %.*s", word, m->number, STR_ARG(m->key));
        break;
    case KEY:
        n = snprintf(out, HANDOVER_MESSAGE_MAX, "%s %.*s", word, STR_ARG(m->key));
        break;
    case THREE_NUMBERS:
        n = snprintf(
            out, HANDOVER_MESSAGE_MAX, "%s %u %u %u", word, m->version, m->generation, m->pid);
        break;
    }
    return n > 0 && (unsigned)n < HANDOVER_MESSAGE_MAX ? (size_t)n : 0;
}

/* ---- packets ---- */

int handover_send(int channel, const struct handover *m, int fd)
{
    char text[HANDOVER_MESSAGE_MAX];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec v = {text, handover_format(m, text)};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
    if (v.iov_len == 0)
        return -EMSGSIZE;
    if (fd >= 0) {
        h.msg_control = control.bytes;
        h.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t n;
    do
        n = sendmsg(channel, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? (errno == EWOULDBLOCK ? -EAGAIN : -errno) : 0;
}

/* Those that came with a packet: their number. */
static unsigned descriptors(struct msghdr *h, int fds[static DESCRIPTORS_ROOM])
{
    unsigned n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = c->cmsg_len - CMSG_LEN(0);
        for (size_t at = 0; at + sizeof(int) <= bytes && n < DESCRIPTORS_ROOM; at += sizeof(int))
            memcpy(&fds[n++], CMSG_DATA(c) + at, sizeof(int));
    }
    return n;
}

int handover_receive(int channel, char room[static HANDOVER_MESSAGE_MAX + 1], struct handover *ret,
    int *ret_fd, struct err *e)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(DESCRIPTORS_ROOM * sizeof(int))];
    } control;
    struct iovec v = {room, HANDOVER_MESSAGE_MAX + 1};
    struct msghdr h = {.msg_iov = &v,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes};
    int fds[DESCRIPTORS_ROOM];
    ssize_t n;
    do
        n = recvmsg(channel, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? -EAGAIN
               : errno == ECONNRESET                   ? -ENOTCONN
                                                       : -errno;
    unsigned nfds = descriptors(&h, fds);
    if (n == 0 && nfds == 0)
        return -ENOTCONN;
    int rc = 0;
    if (h.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        rc = err_set(e, -EPROTO, "hand-over: a message that is too large");
    rc = rc ? rc : handover_parse(str_of(room, (size_t)n), ret, e);
    if (rc == 0 && nfds != (kinds[ret->kind].carries ? 1u : 0u))
        rc =
            err_set(e, -EPROTO, "hand-over: '%s' with %u descriptors", kinds[ret->kind].word, nfds);
    if (rc == 0) {
        *ret_fd = nfds ? fds[0] : -1;
        return 0;
    }
    for (unsigned i = 0; i < nfds; i++)
        close(fds[i]);
    return rc;
}
