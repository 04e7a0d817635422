/* An admin server with routes of every kind, for the tests of lib/net/adminhttp.h. */
#ifndef OFFSHOOT_TESTS_ADMIN_FIXTURE_H
#define OFFSHOOT_TESTS_ADMIN_FIXTURE_H

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/adminhttp.h"
#include "lib/net/sock.h"
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[100];

struct fixture {
    struct event_base *base;
    struct admin_server *s;
    struct addr unix_addr, tcp_addr;
    struct admin_request *held[200]; /* by /later, to be answered by the test */
    size_t nheld;
    unsigned posts;
    int log[2];
};

/* ---- routes --------------------------------------------------------------------------------- */

static inline void reply_text(struct admin_request *r, const char *text)
{
    struct text t = {0};
    text_add(&t, str_c(text));
    admin_reply(r, 200, NULL, &t);
}

static inline void on_status(struct admin_request *r, void *arg)
{
    (void)arg;
    reply_text(r, admin_wants_json(r) ? "{\"ok\":true}\n" : "all is well\n");
}

static inline void on_echo(struct admin_request *r, void *arg)
{
    struct text t = {0};
    const char *a = admin_param(r, "a");
    (void)arg;
    text_fmt(&t, "a=%s", a ? a : "(none)");
    for (size_t i = 1; (a = admin_param_at(r, "a", i)); i++)
        text_fmt(&t, ",%s", a);
    text_fmt(&t, " uid=%u", admin_peer_uid(r));
    admin_reply(r, 200, "text/x-echo", &t);
}

static inline void on_post(struct admin_request *r, void *arg)
{
    struct fixture *f = arg;
    struct text t = {0};
    struct str body = admin_body(r);
    f->posts++;
    text_fmt(&t, "posted %zu:", body.n);
    text_add(&t, str_of(body.p, body.n < 20 ? body.n : 20));
    admin_reply(r, 200, NULL, &t);
}

static inline void on_later(struct admin_request *r, void *arg)
{
    struct fixture *f = arg;
    assert_true(f->nheld < sizeof(f->held) / sizeof(f->held[0]));
    f->held[f->nheld++] = r;
}

static inline void on_environment(struct admin_request *r, void *arg)
{
    (void)arg;
    reply_text(r, admin_rest(r));
}

static inline void on_special(struct admin_request *r, void *arg)
{
    (void)arg;
    reply_text(r, "special");
}

static inline void on_large(struct admin_request *r, void *arg)
{
    struct text t = {0};
    (void)arg;
    for (int i = 0; i < 200000; i++)
        text_add(&t, STR("0123456789"));
    admin_reply(r, 200, NULL, &t);
}

static inline void on_fail(struct admin_request *r, void *arg)
{
    (void)arg;
    admin_error(r, 409, "cannot do \"%s\"", "that");
}

static const struct admin_route routes[] = {
    {"/status", ADMIN_PUBLIC, on_status, "How it is."},
    {"/echo", 0, on_echo, "Gives parameters back."},
    {"/both", 0, on_status, "Reads."},
    {"/both", ADMIN_POST, on_post, "Writes."},
    {"/drain", ADMIN_POST, on_post, "Writes \"only\"."},
    {"/upload", ADMIN_POST | ADMIN_LARGE, on_post, "Takes much."},
    {"/later", ADMIN_PUBLIC, on_later, "Takes its time."},
    {"/env/", ADMIN_PREFIX, on_environment, "One environment."},
    {"/env/special", 0, on_special, "Closer than the prefix."},
    {"/large", ADMIN_PUBLIC, on_large, "2 MB."},
    {"/fail", 0, on_fail, "Refuses."},
    {"/public-post", ADMIN_POST | ADMIN_PUBLIC, on_post, "Still not on TCP."},
};
#define NROUTES (sizeof(routes) / sizeof(routes[0]))

/* ---- the server ------------------------------------------------------------------------------ */

static inline int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/offshoot-admin-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/admin", dir);
    return 0;
}

static inline int remove_dir(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static inline struct fixture *start(void)
{
    static struct fixture f;
    struct err e = {0};
    struct addr any;
    memset(&f, 0, sizeof(f));
    assert_int_equal(pipe2(f.log, O_NONBLOCK | O_CLOEXEC), 0);
    log_to(f.log[1], false);
    f.base = event_base_new();
    f.s = admin_new(f.base, routes, NROUTES, &f, &e);
    assert_non_null(f.s);
    if (admin_listen_unix(f.s, path, NULL, &e))
        fail_msg("%s", e.text);
    assert_int_equal(addr_parse(STR("127.0.0.1:0"), true, &any, NULL), 0);
    if (admin_listen_tcp(f.s, &any, &f.tcp_addr, &e))
        fail_msg("%s", e.text);
    f.unix_addr = (struct addr){.kind = ADDR_UNIX, .name = str_c(path)};
    return &f;
}

static inline void stop(struct fixture *f)
{
    admin_free(f->s);
    event_base_free(f->base);
    log_to(STDERR_FILENO, false);
    close(f->log[0]);
    close(f->log[1]);
}

static inline const char *log_text(struct fixture *f)
{
    static char text[4096];
    ssize_t n = read(f->log[0], text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static inline int nothing_lives(void **state)
{
    (void)state;
    return mem_live() == 0 ? 0 : -1;
}

#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

#endif
