#include "lib/net/adminhttp.h"

#include "tests/unit/net/admin_client.h"

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

static void post_body(struct fixture *f, const char *route, size_t n, int status)
{
    int fd = client(&f->unix_addr);
    char head[100], *body = malloc(n);
    assert_non_null(body);
    memset(body, 'x', n);
    snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nContent-Length: %zu\r\n\r\n", route, n);
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
    post_body(f, "/drain", 1 << 20, 200);
    post_body(f, "/drain", (1 << 20) + 1, 413);
    post_body(f, "/upload", 4 << 20, 200);
    post_body(f, "/upload", (4 << 20) + 1, 413);
    assert_int_equal(f->posts, 2);
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
    struct group entry, *g = NULL;
    char buf[4096];
    if (getgrnam_r("daemon", &entry, buf, sizeof(buf), &g) || !g)
        skip();
    gid_t daemon = entry.gr_gid;
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
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
