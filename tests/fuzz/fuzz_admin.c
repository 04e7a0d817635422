/* Arbitrary bytes as a client of the admin server. The first byte says over which listener they
 * come and in how large pieces; the server must neither crash, hang nor stop serving. */
#include "lib/base/log.h"
#include "lib/net/adminhttp.h"
#include "lib/net/sock.h"
#include "tests/fuzz/fuzz.h"
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Gives everything back that the request holds. */
static void on_echo(struct admin_request *r, void *arg)
{
    struct text t = {0};
    const char *v;
    (void)arg;
    for (size_t i = 0; (v = admin_param_at(r, "a", i)); i++)
        text_json(&t, str_c(v));
    text_json(&t, str_c(admin_rest(r)));
    text_json(&t, admin_body(r));
    admin_reply(r, 200, NULL, &t);
}

static void on_fail(struct admin_request *r, void *arg)
{
    (void)arg;
    admin_error(r, 409, "no: %s", admin_rest(r));
}

static struct admin_request *held;

/* One reply comes late: with the next request of its kind, or at the end. */
static void answer_held(void)
{
    struct text t = {0};
    if (!held)
        return;
    text_add(&t, STR("at last"));
    admin_reply(held, 200, NULL, &t);
    held = NULL;
}

static void on_later(struct admin_request *r, void *arg)
{
    (void)arg;
    answer_held();
    held = r;
}

static const struct admin_route routes[] = {
    {"/echo", ADMIN_PUBLIC, on_echo, "echo"},
    {"/echo", ADMIN_POST, on_echo, "echo"},
    {"/env/", ADMIN_PREFIX, on_echo, "rest"},
    {"/fail/", ADMIN_PREFIX | ADMIN_PUBLIC, on_fail, "error"},
    {"/later", ADMIN_PUBLIC, on_later, "later"},
};

struct target {
    struct event_base *base;
    struct admin_server *s;
    struct addr at[2];
    char path[64];
};

static struct target target;

static void finish(void)
{
    admin_free(target.s); /* unlinks the socket */
    event_base_free(target.base);
}

static void start(struct target *t)
{
    struct addr any;
    snprintf(t->path, sizeof(t->path), "/tmp/offshoot-fuzz-admin-%d", (int)getpid());
    signal(SIGPIPE, SIG_IGN);
    log_to(open("/dev/null", O_WRONLY | O_CLOEXEC), false);
    event_set_log_callback(NULL);
    t->base = event_base_new();
    t->s = admin_new(t->base, routes, sizeof(routes) / sizeof(routes[0]), NULL, NULL);
    demand(t->s && admin_listen_unix(t->s, t->path, NULL, NULL) == 0);
    demand(addr_parse(STR("127.0.0.1:0"), true, &any, NULL) == 0);
    demand(admin_listen_tcp(t->s, &any, &t->at[1], NULL) == 0);
    atexit(finish);
    t->at[0] = (struct addr){.kind = ADDR_UNIX, .name = str_c(t->path)};
}

static void turn(struct target *t)
{
    event_base_loop(t->base, EVLOOP_NONBLOCK);
}

static void drain(int fd)
{
    char buf[65536];
    while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
        ;
}

static void send_all(struct target *t, int fd, const uint8_t *p, size_t n, size_t piece)
{
    while (n) {
        ssize_t sent = send(fd, p, n < piece ? n : piece, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN)
            return; /* the server closed: it has heard enough */
        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        }
        turn(t);
        drain(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct target *t = &target;
    static const size_t pieces[] = {SIZE_MAX, 1, 7, 64};
    static const char check[] = "GET /echo?a=alive HTTP/1.0\r\n\r\n";
    bool pending;
    char reply[4096] = "";
    size_t n = 0;
    if (size < 1 || size > 32768)
        return 0;
    if (!t->s)
        start(t);
    int fd = sock_connect(&t->at[data[0] & 1], &pending);
    demand(fd >= 0);
    turn(t);
    send_all(t, fd, data + 1, size - 1, pieces[data[0] >> 1 & 3]);
    if (data[0] & 8)
        answer_held();
    turn(t);
    drain(fd);
    close(fd);
    turn(t);
    answer_held();
    turn(t);

    fd = sock_connect(&t->at[0], &pending);
    demand(fd >= 0 && send(fd, check, sizeof(check) - 1, MSG_NOSIGNAL) == sizeof(check) - 1);
    for (int i = 0; i < 1000 && !strstr(reply, "alive"); i++) {
        turn(t);
        ssize_t got = recv(fd, reply + n, sizeof(reply) - 1 - n, MSG_DONTWAIT);
        n += got > 0 ? (size_t)got : 0;
    }
    demand(strstr(reply, "alive") != NULL);
    close(fd);
    turn(t);
    return 0;
}
