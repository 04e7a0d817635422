#include "lib/net/adminhttp.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
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

static void reply_text(struct admin_request *r, const char *text)
{
    struct text t = {0};
    text_add(&t, str_c(text));
    admin_reply(r, 200, NULL, &t);
}

static void on_status(struct admin_request *r, void *arg)
{
    (void)arg;
    reply_text(r, admin_wants_json(r) ? "{\"ok\":true}\n" : "all is well\n");
}

static void on_echo(struct admin_request *r, void *arg)
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

static void on_post(struct admin_request *r, void *arg)
{
    struct fixture *f = arg;
    struct text t = {0};
    struct str body = admin_body(r);
    f->posts++;
    text_fmt(&t, "posted %zu:", body.n);
    text_add(&t, str_of(body.p, body.n < 20 ? body.n : 20));
    admin_reply(r, 200, NULL, &t);
}

static void on_later(struct admin_request *r, void *arg)
{
    struct fixture *f = arg;
    assert_true(f->nheld < sizeof(f->held) / sizeof(f->held[0]));
    f->held[f->nheld++] = r;
}

static void on_environment(struct admin_request *r, void *arg)
{
    (void)arg;
    reply_text(r, admin_rest(r));
}

static void on_special(struct admin_request *r, void *arg)
{
    (void)arg;
    reply_text(r, "special");
}

static void on_large(struct admin_request *r, void *arg)
{
    struct text t = {0};
    (void)arg;
    for (int i = 0; i < 200000; i++)
        text_add(&t, STR("0123456789"));
    admin_reply(r, 200, NULL, &t);
}

static void on_fail(struct admin_request *r, void *arg)
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
    {"/later", ADMIN_PUBLIC, on_later, "Takes its time."},
    {"/env/", ADMIN_PREFIX, on_environment, "One environment."},
    {"/env/special", 0, on_special, "Closer than the prefix."},
    {"/large", ADMIN_PUBLIC, on_large, "2 MB."},
    {"/fail", 0, on_fail, "Refuses."},
    {"/public-post", ADMIN_POST | ADMIN_PUBLIC, on_post, "Still not on TCP."},
};
#define NROUTES (sizeof(routes) / sizeof(routes[0]))

/* ---- server and clients in one thread ---------------------------------------------------------
 */

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/offshoot-admin-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/admin", dir);
    return 0;
}

static int remove_dir(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static struct fixture *start(void)
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

static void stop(struct fixture *f)
{
    admin_free(f->s);
    event_base_free(f->base);
    log_to(STDERR_FILENO, false);
    close(f->log[0]);
    close(f->log[1]);
}

static const char *log_text(struct fixture *f)
{
    static char text[4096];
    ssize_t n = read(f->log[0], text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static int client(const struct addr *a)
{
    bool pending;
    int fd = sock_connect(a, &pending);
    assert_true(fd >= 0);
    return fd;
}

static void turn(struct fixture *f, int n)
{
    for (int i = 0; i < n; i++)
        event_base_loop(f->base, EVLOOP_NONBLOCK);
}

/* All of it, the server taking what it takes meanwhile. */
static void send_bytes(struct fixture *f, int fd, struct str bytes)
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

static bool is_whole(struct reply *r, bool head)
{
    const char *end = r->n ? memmem(r->p, r->n, "\r\n\r\n", 4) : NULL;
    const char *length = end ? strcasestr(r->p, "\r\nContent-Length: ") : NULL;
    if (!end)
        return false;
    r->body = end + 4;
    r->nbody = r->n - (size_t)(r->body - r->p);
    r->status = atoi(r->p + 9);
    return head || (length && length < end && r->nbody >= strtoul(length + 18, NULL, 10));
}

static double seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Until a whole reply is there or the server closes. */
static struct reply receive(struct fixture *f, int fd, bool head)
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

static struct reply ask(struct fixture *f, int fd, const char *request)
{
    send_bytes(f, fd, str_c(request));
    return receive(f, fd, strncmp(request, "HEAD", 4) == 0);
}

#define REQUEST(line) line " HTTP/1.1\r\nHost: x\r\n\r\n"

static void answers_at(
    struct fixture *f, const struct addr *a, const char *request, int status, const char *body)
{
    int fd = client(a);
    struct reply r = ask(f, fd, request);
    if (r.status != status || (body && (r.nbody != strlen(body) || memcmp(r.body, body, r.nbody))))
        fail_msg("to '%s': %s", request, r.p);
    free(r.p);
    close(fd);
    turn(f, 2);
}

static void answers(struct fixture *f, const char *request, int status, const char *body)
{
    answers_at(f, &f->unix_addr, request, status, body);
}

/* ---- what is answered -------------------------------------------------------------------------
 */

static void routes_answer_over_the_unix_socket(void **state)
{
    struct fixture *f = start();
    char expected[100];
    (void)state;
    answers(f, REQUEST("GET /status"), 200, "all is well\n");
    answers(f, REQUEST("GET /%73tatus?x"), 200, "all is well\n");
    answers(f, REQUEST("GET http://any/status"), 200, "all is well\n");
    answers(f, REQUEST("GET /env/a%2Fb"), 200, "a/b");
    answers(f, REQUEST("GET /env/"), 200, "");
    answers(f, REQUEST("GET /env/special"), 200, "special");
    answers(f, REQUEST("GET /env/special2"), 200, "special2");
    snprintf(expected, sizeof(expected), "a=1 2,,&= uid=%u", geteuid());
    answers(f, REQUEST("GET /echo?b=0&a=1+2&&a&a=%26%3d&c"), 200, expected);
    snprintf(expected, sizeof(expected), "a=(none) uid=%u", geteuid());
    answers(f, REQUEST("GET /echo"), 200, expected);
    answers(f, REQUEST("GET /fail"), 409, "cannot do \"that\"\n");
    stop(f);
}

static void json_is_given_to_who_asks_for_it(void **state)
{
    struct fixture *f = start();
    (void)state;
    answers(f, "GET /status HTTP/1.1\r\nAccept: text/html, application/json;q=0.9\r\n\r\n", 200,
        "{\"ok\":true}\n");
    answers(f, "GET /fail HTTP/1.1\r\nAccept: application/json\r\n\r\n", 409,
        "{\"error\":\"cannot do \\\"that\\\"\"}\n");
    int fd = client(&f->unix_addr);
    struct reply r = ask(f, fd, "GET /status HTTP/1.1\r\nAccept: application/json\r\n\r\n");
    assert_non_null(strstr(r.p, "\r\nContent-Type: application/json\r\n"));
    free(r.p);
    r = ask(f, fd, REQUEST("GET /status"));
    assert_non_null(strstr(r.p, "\r\nContent-Type: text/plain; charset=utf-8\r\n"));
    free(r.p);
    r = ask(f, fd, REQUEST("GET /echo"));
    assert_non_null(strstr(r.p, "\r\nContent-Type: text/x-echo\r\n"));
    free(r.p);
    close(fd);
    stop(f);
}

static void the_root_lists_what_there_is(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    struct reply r = ask(f, fd, REQUEST("GET /"));
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body, "GET  /status              How it is.\n"));
    assert_non_null(strstr(r.body, "POST /drain               Writes \"only\".\n"));
    free(r.p);
    r = ask(f, fd, "GET / HTTP/1.1\r\nAccept: application/json\r\n\r\n");
    assert_non_null(strstr(
        r.body, "{\"method\":\"POST\",\"path\":\"/drain\",\"help\":\"Writes \\\"only\\\".\"}"));
    free(r.p);
    close(fd);
    fd = client(&f->tcp_addr);
    r = ask(f, fd, REQUEST("GET /"));
    assert_non_null(strstr(r.body, "/status"));
    assert_null(strstr(r.body, "/echo"));
    free(r.p);
    close(fd);
    stop(f);
}

static void wrong_paths_are_told_the_nearest(void **state)
{
    struct fixture *f = start();
    (void)state;
    answers(f, REQUEST("GET /stauts"), 404, "unknown path '/stauts', did you mean '/status'?\n");
    answers(
        f, REQUEST("GET /elsewhere"), 404, "unknown path '/elsewhere', '/' lists what there is\n");
    answers(f, REQUEST("GET /env"), 404, "unknown path '/env', did you mean '/env/'?\n");
    answers(f, REQUEST("POST /"), 404, "unknown path '/', '/' lists what there is\n");
    stop(f);
}

static void allows(struct fixture *f, const char *request, const char *allow)
{
    int fd = client(&f->unix_addr);
    struct reply r = ask(f, fd, request);
    assert_int_equal(r.status, 405);
    assert_non_null(strstr(r.p, allow));
    free(r.p);
    close(fd);
}

static void wrong_methods_are_told_the_right_ones(void **state)
{
    struct fixture *f = start();
    (void)state;
    allows(f, "POST /status HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "\r\nAllow: GET, HEAD\r\n");
    allows(f, REQUEST("GET /drain"), "\r\nAllow: POST\r\n");
    allows(f, REQUEST("DELETE /both"), "\r\nAllow: GET, HEAD, POST\r\n");
    allows(f, REQUEST("OPTIONS /status"), "\r\nAllow: GET, HEAD\r\n");
    assert_int_equal(f->posts, 0);
    stop(f);
}

static void head_is_get_without_the_body(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    struct reply r = ask(f, fd, REQUEST("HEAD /status"));
    assert_int_equal(r.status, 200);
    assert_int_equal(r.nbody, 0);
    assert_non_null(strstr(r.p, "\r\nContent-Length: 12\r\n"));
    free(r.p);
    r = ask(f, fd, REQUEST("GET /status")); /* the connection is in step */
    assert_int_equal(r.status, 200);
    assert_int_equal(r.nbody, 12);
    free(r.p);
    close(fd);
    stop(f);
}

static void malformed_requests_are_refused(void **state)
{
    struct fixture *f = start();
    char many[1024] = "GET /echo?a";
    (void)state;
    answers(f, REQUEST("GET /env/%4"), 400, "malformed escape in the path or a parameter\n");
    answers(f, REQUEST("GET /env/%00"), 400, "malformed escape in the path or a parameter\n");
    answers(f, REQUEST("GET /echo?a=%zz"), 400, "malformed escape in the path or a parameter\n");
    answers(f, REQUEST("BREW /status"), 501, NULL);
    answers(f, "nonsense\r\n\r\n", 400, NULL);
    for (int i = 1; i < 64; i++)
        strcat(many, "&b");
    size_t n = strlen(many);
    strcat(many, " HTTP/1.1\r\n\r\n");
    answers(f, many, 200, NULL);
    strcpy(many + n, "&b HTTP/1.1\r\n\r\n");
    answers(f, many, 400, "more than 64 parameters\n");
    stop(f);
}

static void a_get_takes_no_body(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    struct reply r = ask(f, fd,
        "GET /status HTTP/1.1\r\nContent-Length: 30\r\n\r\nPOST /drain HTTP/1.1\r\n\r\n......");
    assert_int_equal(r.status, 400);
    assert_non_null(strstr(r.p, "only POST takes a body"));
    free(r.p);
    r = receive(f, fd, false);
    assert_true(r.closed);
    assert_int_equal(f->posts, 0);
    free(r.p);
    close(fd);
    stop(f);
}

/* ---- POST -------------------------------------------------------------------------------------
 */

static void posts_are_logged_with_the_uid(void **state)
{
    struct fixture *f = start();
    char expected[100];
    (void)state;
    answers(f, "POST /drain HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 200, "posted 5:hello");
    snprintf(expected, sizeof(expected), "admin: POST /drain by uid %u", geteuid());
    assert_non_null(strstr(log_text(f), expected));
    answers(f,
        "POST /both HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        200, "posted 5:abcde");
    answers(f, REQUEST("GET /both"), 200, "all is well\n");
    assert_int_equal(f->posts, 2);
    (void)log_text(f);
    answers(f, REQUEST("GET /status"), 200, NULL);
    assert_string_equal(log_text(f), "");
    stop(f);
}

static void post_body(struct fixture *f, size_t n, int status)
{
    int fd = client(&f->unix_addr);
    char head[100], *body = malloc(n);
    assert_non_null(body);
    memset(body, 'x', n);
    snprintf(head, sizeof(head), "POST /drain HTTP/1.1\r\nContent-Length: %zu\r\n\r\n", n);
    send_bytes(f, fd, str_c(head));
    send_bytes(f, fd, str_of(body, n));
    struct reply r = receive(f, fd, false);
    assert_int_equal(r.status, status);
    free(r.p);
    free(body);
    close(fd);
}

static void bodies_have_a_largest_size(void **state)
{
    struct fixture *f = start();
    (void)state;
    post_body(f, 1 << 20, 200);
    post_body(f, (1 << 20) + 1, 413);
    assert_int_equal(f->posts, 1);
    stop(f);
}

static void headers_have_a_largest_size(void **state)
{
    struct fixture *f = start();
    static char request[40000];
    (void)state;
    for (size_t n = 15000; n <= 17000; n += 2000) {
        strcpy(request, "GET /status HTTP/1.1\r\nX: ");
        size_t at = strlen(request);
        memset(request + at, 'x', n);
        strcpy(request + at + n, "\r\n\r\n");
        int fd = client(&f->unix_addr);
        struct reply r = ask(f, fd, request);
        if (n == 15000)
            assert_int_equal(r.status, 200);
        else
            assert_true(r.status >= 400 || (r.closed && r.n == 0));
        free(r.p);
        close(fd);
    }
    answers(f, REQUEST("GET /status"), 200, NULL);
    stop(f);
}

/* ---- who may ----------------------------------------------------------------------------------
 */

static void tcp_has_the_public_routes_only(void **state)
{
    struct fixture *f = start();
    (void)state;
    answers_at(f, &f->tcp_addr, REQUEST("GET /status"), 200, "all is well\n");
    answers_at(f, &f->tcp_addr, REQUEST("GET /echo"), 404, NULL);
    answers_at(f, &f->tcp_addr, "POST /drain HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 404, NULL);
    answers_at(f, &f->tcp_addr, "POST /public-post HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 403,
        "POST '/public-post' needs the owner or root at the unix socket\n");
    assert_int_equal(f->posts, 0);
    stop(f);
}

static void the_socket_is_the_owners_alone(void **state)
{
    struct fixture *f = start();
    struct stat st;
    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    stop(f);
    assert_int_equal(access(path, F_OK), -1); /* and goes with the server */
}

static void a_successors_socket_is_not_unlinked(void **state)
{
    struct fixture *f = start();
    (void)state;
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    stop(f);
    assert_int_equal(access(path, F_OK), 0);
}

/* Sends one request as another user (root only) and gives what came back. */
static void ask_as(
    struct fixture *f, uid_t uid, gid_t gid, const char *request, char *out, size_t size)
{
    int ends[2];
    size_t n = 0;
    double end = seconds() + 10;
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        bool pending;
        char buf[4096];
        if (setgroups(0, NULL) || setgid(gid) || setuid(uid))
            _exit(1);
        int fd = sock_connect(&f->unix_addr, &pending);
        if (fd < 0) {
            dprintf(ends[1], "connect: %s", strerror(-fd));
            _exit(0);
        }
        fcntl(fd, F_SETFL, 0);
        ssize_t got = write(fd, request, strlen(request));
        got = got > 0 ? read(fd, buf, sizeof(buf)) : 0;
        _exit(got > 0 && write(ends[1], buf, (size_t)got) == got ? 0 : 1);
    }
    close(ends[1]);
    for (;;) {
        turn(f, 1);
        ssize_t got = read(ends[0], out + n, size - 1 - n);
        if (got == 0)
            break;
        if (got > 0)
            n += (size_t)got;
        assert_true(seconds() < end);
    }
    out[n] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void others_may_do_nothing_and_the_group_may_read(void **state)
{
    char out[4096];
    struct err e = {0};
    (void)state;
    if (geteuid() != 0)
        skip();
    const struct group *g = getgrnam("daemon");
    if (!g)
        skip();
    gid_t daemon = g->gr_gid;
    struct fixture *f = start();
    assert_int_equal(chmod(dir, 0755), 0);
    ask_as(f, 1234, 1234, REQUEST("GET /status"), out, sizeof(out));
    assert_string_equal(out, "connect: Permission denied");
    assert_int_equal(chmod(path, 0666), 0); /* even if somebody widens it */
    ask_as(f, 1234, 1234, REQUEST("GET /status"), out, sizeof(out));
    assert_non_null(strstr(out, "403"));
    assert_non_null(strstr(out, "uid 1234 may not read here\n"));
    stop(f);

    f = start();
    char second[120];
    snprintf(second, sizeof(second), "%s/group", dir);
    assert_int_equal(admin_listen_unix(f->s, second, "daemon", &e), 0);
    struct stat st;
    assert_int_equal(stat(second, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(st.st_gid, daemon);
    f->unix_addr.name = str_c(second);
    ask_as(f, 1234, daemon, REQUEST("GET /status"), out, sizeof(out));
    assert_non_null(strstr(out, "all is well"));
    ask_as(f, 1234, daemon, "POST /drain HTTP/1.1\r\nContent-Length: 0\r\n\r\n", out, sizeof(out));
    assert_non_null(strstr(out, "403"));
    assert_non_null(strstr(log_text(f), "admin: POST /drain by uid 1234 refused"));
    assert_int_equal(chmod(second, 0666), 0);
    ask_as(f, 1234, 1234, REQUEST("GET /status"), out, sizeof(out));
    assert_non_null(strstr(out, "403"));
    assert_int_equal(f->posts, 0);
    stop(f);
}

static void listeners_that_cannot_be_are_named(void **state)
{
    struct fixture *f = start();
    struct err e = {0};
    char expected[200], longest[200];
    struct addr a;
    (void)state;
    assert_int_equal(admin_listen_unix(f->s, path, NULL, &e), -EADDRINUSE);
    snprintf(
        expected, sizeof(expected), "cannot listen on 'unix:%s': Address already in use", path);
    assert_string_equal(e.text, expected);
    assert_int_equal(admin_listen_tcp(f->s, &f->tcp_addr, &a, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, "cannot listen on '127.0.0.1:"));
    assert_int_equal(admin_listen_tcp(f->s, &f->unix_addr, &a, &e), -EINVAL);
    assert_non_null(strstr(e.text, path));
    memset(longest, 'x', sizeof(longest));
    longest[108] = '\0';
    assert_int_equal(admin_listen_unix(f->s, longest, NULL, &e), -EINVAL);
    assert_non_null(strstr(e.text, longest));
    snprintf(longest, sizeof(longest), "%s/second", dir);
    assert_int_equal(admin_listen_unix(f->s, longest, "no-such-group", &e), -ENOENT);
    assert_string_equal(e.text, "unknown admin group 'no-such-group'");
    assert_int_equal(access(longest, F_OK), -1);
    answers(f, REQUEST("GET /status"), 200, NULL);
    stop(f);
}

/* ---- connections ------------------------------------------------------------------------------
 */

static void one_connection_takes_many_requests(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    for (int i = 0; i < 200; i++) {
        struct reply r = ask(f, fd, REQUEST("GET /status"));
        assert_int_equal(r.status, 200);
        free(r.p);
    }
    send_bytes(f, fd, STR(REQUEST("GET /status") REQUEST("GET /env/two")));
    struct reply r = receive(f, fd, false);
    while (!memmem(r.p, r.n, "two", 3)) {
        struct reply more = receive(f, fd, false);
        assert_true(more.n > 0);
        free(r.p);
        r = more;
    }
    free(r.p);
    close(fd);
    stop(f);
}

static void requests_may_come_byte_by_byte_and_hold_up_nobody(void **state)
{
    struct fixture *f = start();
    static const char request[] = REQUEST("GET /status");
    (void)state;
    int slow = client(&f->unix_addr);
    for (size_t i = 0; i + 1 < sizeof(request); i++) {
        send_bytes(f, slow, str_of(request + i, 1));
        if (i % 8 == 0)
            answers(f, REQUEST("GET /status"), 200, NULL);
    }
    struct reply r = receive(f, slow, false);
    assert_int_equal(r.status, 200);
    free(r.p);
    close(slow);
    stop(f);
}

static void a_client_that_does_not_read_holds_up_nobody(void **state)
{
    struct fixture *f = start();
    (void)state;
    int slow = client(&f->unix_addr);
    send_bytes(f, slow, STR(REQUEST("GET /large")));
    turn(f, 10);
    answers(f, REQUEST("GET /status"), 200, NULL);
    struct reply r = receive(f, slow, false);
    assert_int_equal(r.nbody, 2000000);
    free(r.p);
    send_bytes(f, slow, STR(REQUEST("GET /large")));
    turn(f, 10);
    close(slow); /* with most of it unsent */
    turn(f, 10);
    answers(f, REQUEST("GET /status"), 200, NULL);
    stop(f);
}

static void the_idlest_connection_makes_room_for_the_65th(void **state)
{
    struct fixture *f = start();
    int fd[64];
    (void)state;
    for (int i = 0; i < 64; i++) {
        fd[i] = client(&f->tcp_addr);
        turn(f, 2);
    }
    for (int i = 0; i < 3; i++) {
        struct reply r = ask(f, fd[0], REQUEST("GET /status")); /* no longer the idlest */
        assert_int_equal(r.status, 200);
        free(r.p);
    }
    send_bytes(f, fd[1], STR(REQUEST("GET /later"))); /* being answered */
    turn(f, 3);
    assert_int_equal(f->nheld, 1);
    assert_int_equal(admin_shed(f->s), 0);
    answers(f, REQUEST("GET /status"), 200, NULL); /* the other listener has its own 64 */
    assert_int_equal(admin_shed(f->s), 0);
    int last = client(&f->tcp_addr);
    turn(f, 3);
    assert_int_equal(admin_shed(f->s), 1);
    struct reply r = receive(f, fd[2], false);
    assert_true(r.closed);
    free(r.p);
    r = ask(f, last, REQUEST("GET /status"));
    assert_int_equal(r.status, 200);
    free(r.p);
    r = ask(f, fd[0], REQUEST("GET /status"));
    assert_int_equal(r.status, 200);
    free(r.p);
    reply_text(f->held[0], "at last");
    r = receive(f, fd[1], false);
    assert_int_equal(r.status, 200);
    free(r.p);
    close(fd[2]);
    turn(f, 3);
    fd[2] = client(&f->tcp_addr); /* 65 again: 64 are live */
    turn(f, 3);
    assert_int_equal(admin_shed(f->s), 2);
    for (int i = 0; i < 64; i++)
        close(fd[i]);
    close(last);
    stop(f);
}

static void closed_connections_give_their_room_back(void **state)
{
    struct fixture *f = start();
    (void)state;
    for (int i = 0; i < 200; i++)
        answers(f, REQUEST("GET /status"), 200, NULL);
    assert_int_equal(admin_shed(f->s), 0);
    stop(f);
}

/* ---- replies that come later -------------------------------------------------------------------
 */

static void a_reply_may_come_later(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    send_bytes(f, fd, STR(REQUEST("GET /later?a=x")));
    turn(f, 5);
    assert_int_equal(f->nheld, 1);
    answers(f, REQUEST("GET /status"), 200, NULL);
    assert_string_equal(admin_param(f->held[0], "a"), "x");
    reply_text(f->held[0], "at last");
    struct reply r = receive(f, fd, false);
    assert_int_equal(r.status, 200);
    assert_memory_equal(r.body, "at last", 7);
    free(r.p);
    r = ask(f, fd, REQUEST("GET /status"));
    assert_int_equal(r.status, 200);
    free(r.p);
    close(fd);
    stop(f);
}

static void a_client_may_go_before_its_reply(void **state)
{
    struct fixture *f = start();
    (void)state;
    for (int how = 0; how < 4; how++) {
        const struct addr *a = how % 2 ? &f->tcp_addr : &f->unix_addr;
        int fd = client(a);
        f->nheld = 0;
        send_bytes(f, fd, STR(REQUEST("GET /later?a=x")));
        turn(f, 5);
        assert_int_equal(f->nheld, 1);
        if (how >= 2) { /* with bytes behind: a reset */
            struct linger hard = {1, 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
            send_bytes(f, fd, STR("GET /sta"));
        }
        close(fd);
        turn(f, 5);
        assert_string_equal(admin_param(f->held[0], "a"), "x"); /* its parts are still there */
        reply_text(f->held[0], "to nobody");
        turn(f, 5);
        answers(f, REQUEST("GET /status"), 200, NULL);
    }
    stop(f);
}

static void a_reply_that_is_not_read_goes_with_its_client(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd = client(&f->unix_addr);
    send_bytes(f, fd, STR(REQUEST("GET /later")));
    turn(f, 5);
    reply_text(f->held[0], "never read");
    close(fd);
    turn(f, 5);
    answers(f, REQUEST("GET /status"), 200, NULL);
    stop(f);
}

static void a_reply_may_come_after_the_server(void **state)
{
    struct fixture *f = start();
    (void)state;
    int fd[3];
    for (int i = 0; i < 3; i++) {
        fd[i] = client(i ? &f->unix_addr : &f->tcp_addr);
        send_bytes(f, fd[i], STR(REQUEST("GET /later?a=x")));
        turn(f, 5);
    }
    assert_int_equal(f->nheld, 3);
    close(fd[2]);
    turn(f, 5);
    admin_free(f->s);
    f->s = NULL;
    for (int i = 0; i < 3; i++) {
        assert_string_equal(admin_param(f->held[i], "a"), "x");
        if (i == 1)
            admin_error(f->held[i], 500, "nobody hears %d", i);
        else
            reply_text(f->held[i], "nobody hears");
    }
    turn(f, 5);
    close(fd[0]);
    close(fd[1]);
    stop(f);
}

static void a_waiting_request_may_be_shed(void **state)
{
    struct fixture *f = start();
    int fd[65];
    (void)state;
    for (int i = 0; i < 65; i++) {
        fd[i] = client(&f->tcp_addr);
        send_bytes(f, fd[i], STR(REQUEST("GET /later")));
        turn(f, 3);
    }
    assert_int_equal(admin_shed(f->s), 1);
    for (size_t i = 0; i < f->nheld; i++)
        reply_text(f->held[i], "at last");
    struct reply r = receive(f, fd[64], false);
    assert_int_equal(r.status, 200);
    free(r.p);
    for (int i = 0; i < 65; i++)
        close(fd[i]);
    stop(f);
}

static void requests_that_wait_are_bounded(void **state)
{
    struct fixture *f = start();
    int fd[140];
    (void)state;
    for (int i = 0; i < 140; i++) {
        fd[i] = client(&f->tcp_addr);
        send_bytes(f, fd[i], STR(REQUEST("GET /later")));
    }
    turn(f, 20);
    assert_int_equal(f->nheld, 128);
    for (size_t i = 0; i < 128; i++)
        reply_text(f->held[i], "at last");
    double end = seconds() + 10; /* room is looked for once a second */
    while (f->nheld < 140) {
        turn(f, 1);
        assert_true(seconds() < end);
    }
    for (size_t i = 128; i < 140; i++)
        reply_text(f->held[i], "at last");
    struct reply r = receive(f, fd[139], false);
    assert_int_equal(r.status, 200);
    free(r.p);
    for (int i = 0; i < 140; i++)
        close(fd[i]);
    stop(f);
}

/* ---- memory ------------------------------------------------------------------------------------
 */

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (unsigned long i = 1;; i++) {
        struct fixture *f = start();
        int fd = client(&f->unix_addr);
        mem_fail_nth(i);
        struct reply r = ask(f, fd, REQUEST("GET /echo?a=1"));
        unsigned long n = mem_count();
        mem_fail_nth(0);
        if (n >= i)
            failures++;
        assert_true(r.status == 200 || r.status == 503);
        free(r.p);
        answers(f, REQUEST("GET /status"), 200, NULL);
        close(fd);
        stop(f);
        assert_int_equal(mem_live(), 0);
        if (n < i)
            break;
    }
    assert_true(failures >= 4);
}

static void a_server_that_cannot_start_leaves_nothing(void **state)
{
    struct event_base *base = event_base_new();
    struct err e = {0};
    (void)state;
    for (unsigned long i = 1;; i++) {
        mem_fail_nth(i);
        struct admin_server *s = admin_new(base, routes, NROUTES, NULL, &e);
        int rc = s ? admin_listen_unix(s, path, NULL, &e) : e.code;
        mem_fail_nth(0);
        admin_free(s);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(mem_live(), 0);
        if (!rc)
            break;
        assert_int_equal(rc, -ENOMEM);
    }
    event_base_free(base);
}

static int nothing_lives(void **state)
{
    (void)state;
    return mem_live() == 0 ? 0 : -1;
}

#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        IN_DIR(routes_answer_over_the_unix_socket),
        IN_DIR(json_is_given_to_who_asks_for_it),
        IN_DIR(the_root_lists_what_there_is),
        IN_DIR(wrong_paths_are_told_the_nearest),
        IN_DIR(wrong_methods_are_told_the_right_ones),
        IN_DIR(head_is_get_without_the_body),
        IN_DIR(malformed_requests_are_refused),
        IN_DIR(a_get_takes_no_body),
        IN_DIR(posts_are_logged_with_the_uid),
        IN_DIR(bodies_have_a_largest_size),
        IN_DIR(headers_have_a_largest_size),
        IN_DIR(tcp_has_the_public_routes_only),
        IN_DIR(the_socket_is_the_owners_alone),
        IN_DIR(a_successors_socket_is_not_unlinked),
        IN_DIR(others_may_do_nothing_and_the_group_may_read),
        IN_DIR(listeners_that_cannot_be_are_named),
        IN_DIR(one_connection_takes_many_requests),
        IN_DIR(requests_may_come_byte_by_byte_and_hold_up_nobody),
        IN_DIR(a_client_that_does_not_read_holds_up_nobody),
        IN_DIR(the_idlest_connection_makes_room_for_the_65th),
        IN_DIR(closed_connections_give_their_room_back),
        IN_DIR(a_reply_may_come_later),
        IN_DIR(a_client_may_go_before_its_reply),
        IN_DIR(a_reply_that_is_not_read_goes_with_its_client),
        IN_DIR(a_reply_may_come_after_the_server),
        IN_DIR(a_waiting_request_may_be_shed),
        IN_DIR(requests_that_wait_are_bounded),
        IN_DIR(every_failed_allocation_is_survived),
        IN_DIR(a_server_that_cannot_start_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
