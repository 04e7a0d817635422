/* Clients of the admin server in its own thread: they send and receive as the loop turns. */
#ifndef OFFSHOOT_TESTS_ADMIN_CLIENT_H
#define OFFSHOOT_TESTS_ADMIN_CLIENT_H

#include "tests/unit/net/admin_fixture.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline int client(const struct addr *a)
{
    bool pending;
    int fd = sock_connect(a, &pending);
    assert_true(fd >= 0);
    return fd;
}

static inline void turn(struct fixture *f, int n)
{
    for (int i = 0; i < n; i++)
        event_base_loop(f->base, EVLOOP_NONBLOCK);
}

/* All of it, the server taking what it takes meanwhile. */
static inline void send_bytes(struct fixture *f, int fd, struct str bytes)
{
    while (bytes.n) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return; /* it has heard enough */
        assert_true(n > 0 || errno == EAGAIN || errno == ENOTCONN);
        if (n > 0)
            bytes = str_from(bytes, (size_t)n);
        turn(f, 1);
    }
}

struct reply {
    char *p; /* everything received */
    size_t n;
    int status;
    const char *body;
    size_t nbody;
    bool closed;
};

static inline bool is_whole(struct reply *r, bool head)
{
    const char *end = r->n ? memmem(r->p, r->n, "\r\n\r\n", 4) : NULL;
    const char *length = end ? strcasestr(r->p, "\r\nContent-Length: ") : NULL;
    if (!end)
        return false;
    r->body = end + 4;
    r->nbody = r->n - (size_t)(r->body - r->p);
    r->status = (int)strtol(r->p + 9, NULL, 10);
    return head || (length && length < end && r->nbody >= strtoul(length + 18, NULL, 10));
}

static inline double seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Until a whole reply is there or the server closes. */
static inline struct reply receive(struct fixture *f, int fd, bool head)
{
    struct reply r = {.p = calloc(1, 4 << 20)};
    double end = seconds() + 10;
    assert_non_null(r.p);
    while (!is_whole(&r, head) && !r.closed) {
        turn(f, 1);
        ssize_t n = recv(fd, r.p + r.n, (4u << 20) - 1 - r.n, MSG_DONTWAIT);
        if (n > 0)
            r.n += (size_t)n;
        else if (n == 0 || errno == ECONNRESET)
            r.closed = true;
        else
            assert_true(errno == EAGAIN || errno == ENOTCONN);
        assert_true(seconds() < end);
    }
    return r;
}

static inline struct reply ask(struct fixture *f, int fd, const char *request)
{
    send_bytes(f, fd, str_c(request));
    return receive(f, fd, strncmp(request, "HEAD", 4) == 0);
}

#define REQUEST(line) line " HTTP/1.1\r\nHost: x\r\n\r\n"

static inline void answers_at(
    struct fixture *f, const struct addr *a, const char *request, int status, const char *body)
{
    int fd = client(a);
    struct reply r = ask(f, fd, request);
    if (r.status != status ||
        (body && (r.nbody != strlen(body) || memcmp(r.body, body, r.nbody) != 0)))
        fail_msg("to '%s': %s", request, r.p);
    free(r.p);
    close(fd);
    turn(f, 2);
}

static inline void answers(struct fixture *f, const char *request, int status, const char *body)
{
    answers_at(f, &f->unix_addr, request, status, body);
}

#endif
