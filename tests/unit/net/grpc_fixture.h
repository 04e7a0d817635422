/* A server and a client on one loop, for the tests of lib/net/grpc.h. */
#ifndef OFFSHOOT_TESTS_GRPC_FIXTURE_H
#define OFFSHOOT_TESTS_GRPC_FIXTURE_H

#include "tests/unit/net/grpc_methods.h"
#include <signal.h>

/* ---- the loop -------------------------------------------------------------------------------- */

static inline uint64_t clock_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static inline void wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

/* One turn, at most 20 ms long. */
static inline void turn(struct fixture *f)
{
    static const struct timeval tv = {0, 20000};
    event_base_once(f->base, -1, EV_TIMEOUT, wake, NULL, &tv);
    event_base_loop(f->base, EVLOOP_ONCE);
}

/* Turns the loop until it holds; a minute is only for what never comes. */
#define until(f, condition)                                                                        \
    do {                                                                                           \
        uint64_t deadline = clock_ms() + 60000;                                                    \
        while (!(condition)) {                                                                     \
            if (clock_ms() > deadline)                                                             \
                fail_msg("never came: %s (why: %s)", #condition, (f)->why);                        \
            turn(f);                                                                               \
        }                                                                                          \
    } while (0)

/* ---- life ------------------------------------------------------------------------------------ */

static inline struct addr addr_of(const char *text)
{
    struct addr a;
    struct err e = {0};
    if (addr_parse(str_c(text), true, &a, &e))
        fail_msg("%s", e.text);
    return a;
}

/* A base and a folder; nothing runs yet. */
static inline void set_up(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    signal(SIGPIPE, SIG_IGN);
    strcpy(f->dir, "/tmp/offshoot-grpc-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/socket", f->dir);
    snprintf(f->target, sizeof(f->target), "unix:%s", f->path);
    assert_int_equal(pipe2(f->log, O_NONBLOCK | O_CLOEXEC), 0);
    log_to(f->log[1], false);
    f->base = event_base_new();
    assert_non_null(f->base);
    f->client_options.backoff_ms = 2;
    f->client_options.backoff_max_ms = 8;
    f->call = "/test.Echo/Each";
}

static inline int try_server(struct fixture *f, const char *at, struct grpc_tls *tls, struct err *e)
{
    struct addr a = addr_of(at ? at : f->target);
    f->server = grpc_server_new(f->base, &f->server_options, methods, NMETHODS, f, e);
    if (!f->server)
        return e->code;
    int rc = grpc_server_listen(f->server, &a, tls, false, &f->bound, e);
    if (at && !rc)
        addr_format(&f->bound, f->target);
    return rc;
}

/* at: NULL for the unix socket. */
static inline void start_server(struct fixture *f, const char *at, struct grpc_tls *tls)
{
    struct err e = {0};
    if (try_server(f, at, tls, &e))
        fail_msg("%s", e.text);
}

static inline void start_client(struct fixture *f)
{
    struct err e = {0};
    f->client =
        grpc_client_new(f->base, NULL, f->target, &f->client_options, &client_events, f, &e);
    if (!f->client)
        fail_msg("%s", e.text);
}

static inline const char *log_text(struct fixture *f)
{
    static char text[8192];
    ssize_t n = read(f->log[0], text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static inline void tear_down(struct fixture *f)
{
    char command[128];
    grpc_client_free(f->client);
    grpc_server_free(f->server);
    assert_null(f->st);
    assert_null(f->server_st);
    assert_int_equal(access(f->path, F_OK), -1);
    event_base_free(f->base);
    log_to(STDERR_FILENO, false);
    close(f->log[0]);
    close(f->log[1]);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
}

#endif
