/* Redis servers of our own and an event loop, for the tests of agent/recorder.h. */
#ifndef OFFSHOOT_TESTS_UNIT_AGENT_REDIS_H
#define OFFSHOOT_TESTS_UNIT_AGENT_REDIS_H

#include "tests/unit/agent/agent.h"

#include "lib/base/clock.h"
#include <arpa/inet.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define WAIT_MS 20000 /* for anything */

/* ---- servers ---- */

struct server {
    pid_t pid;
    uint16_t port;
    char port_text[8], folder[100];
    const char *more[8]; /* arguments, NULL at the end */
    redisContext *c;
};

static inline uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static inline void server_exec(struct server *s)
{
    const char *argv[24] = {"redis-server", "--port", s->port_text, "--bind", "127.0.0.1", "--dir",
        s->folder, "--save", "", "--loglevel", "warning", "--logfile", "log"};
    unsigned n = 13;
    for (unsigned i = 0; s->more[i]; i++)
        argv[n++] = s->more[i];
    execvp(argv[0], (char **)(uintptr_t)argv);
    _exit(127);
}

static inline redisContext *connect_to(const struct server *s)
{
    uint64_t until = clock_mono_ms() + WAIT_MS;
    for (;;) {
        redisContext *c = redisConnect("127.0.0.1", s->port);
        assert_non_null(c);
        if (!c->err) {
            redisReply *r = redisCommand(c, "PING");
            bool ready = r && (r->type == REDIS_REPLY_STATUS || strstr(r->str, "NOAUTH"));
            if (r)
                freeReplyObject(r);
            if (ready)
                return c;
        }
        redisFree(c);
        if (clock_mono_ms() > until)
            fail_msg("redis-server on port %u does not answer; is it installed?", s->port);
        usleep(5000);
    }
}

/* Starts it; s->more is set. */
static inline void server_run(struct server *s)
{
    fflush(NULL);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0)
        server_exec(s);
    s->c = connect_to(s);
}

/* The same in a folder of its own, which is made; s->port is set, too. */
static inline void server_run_in_new_folder(struct server *s)
{
    snprintf(s->port_text, sizeof(s->port_text), "%u", s->port);
    snprintf(s->folder, sizeof(s->folder), "%s/redis-%u", dir, s->port);
    assert_int_equal(mkdir(s->folder, 0700), 0);
    server_run(s);
}

static inline void server_start(struct server *s)
{
    s->port = free_port();
    server_run_in_new_folder(s);
}

/* Of the server asked for last. */
static inline char *url_of(const struct server *s)
{
    static char url[64];
    snprintf(url, sizeof(url), "redis://127.0.0.1:%u", s->port);
    return url;
}

static inline void server_kill(struct server *s)
{
    int status;
    if (s->pid <= 0)
        return;
    redisFree(s->c);
    s->c = NULL;
    kill(s->pid, SIGKILL);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    s->pid = 0;
}

/* New; never NULL. */
static inline redisReply *ask(struct server *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline redisReply *ask(struct server *s, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    redisReply *r = redisvCommand(s->c, format, ap);
    va_end(ap);
    if (!r)
        fail_msg("%s: %s", format, s->c->errstr);
    return r;
}

static inline void tell(struct server *s, const char *command)
{
    redisReply *r = redisCommand(s->c, command);
    assert_non_null(r);
    if (r->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", command, r->str);
    freeReplyObject(r);
}

static inline long long number(struct server *s, const char *command)
{
    redisReply *r = redisCommand(s->c, command);
    assert_non_null(r);
    long long n = r->type == REDIS_REPLY_INTEGER  ? r->integer
                  : r->type == REDIS_REPLY_STRING ? strtoll(r->str, NULL, 10)
                                                  : -1;
    freeReplyObject(r);
    return n;
}

/* ---- the loop ---- */

static struct event_base *base;

static inline void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static inline bool run_while(bool (*cond)(void *arg), void *arg)
{
    uint64_t until = clock_mono_ms() + WAIT_MS;
    struct timeval tv = clock_timeval(5);
    struct event *wake = event_new(base, -1, EV_PERSIST, on_wake, NULL);
    event_add(wake, &tv);
    while (cond(arg) && clock_mono_ms() < until)
        event_base_loop(base, EVLOOP_ONCE);
    event_free(wake);
    return !cond(arg);
}

#endif
