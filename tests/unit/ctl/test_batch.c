#include "ctl/batch.h"
#include "ctl/offline.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const char graph[] = "apiVersion: offshoot.dev/v1\n"
                            "kind: Service\n"
                            "metadata: {name: cart}\n"
                            "---\n"
                            "apiVersion: offshoot.dev/v1\n"
                            "kind: Environment\n"
                            "metadata: {name: main}\n"
                            "spec:\n"
                            "  mode: baseline\n"
                            "  providers: {cart: {endpoints: ['10.0.0.1:80', '[::1]:81']}}\n";

static char path[] = "/tmp/offshoot-batch-XXXXXX";

static int file_of(const char *bytes, size_t n)
{
    char name[] = "/tmp/offshoot-batch-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static char *content_of(int fd)
{
    off_t n = lseek(fd, 0, SEEK_END);
    char *ret = mem_zalloc((size_t)n + 1);
    assert_non_null(ret);
    assert_int_equal(pread(fd, ret, (size_t)n, 0), n);
    close(fd);
    return ret;
}

static enum status open_graph(struct offline *o, struct err *e)
{
    const char *item[] = {path};
    struct values paths = {item, 1};
    return offline_open(o, &paths, false, e);
}

/* Runs the lines and compares the result, answers and complaints. */
static void assert_batch_n(
    const char *lines, size_t n, bool json, int result, const char *answers, const char *complaints)
{
    struct offline o;
    struct err e = {0};
    assert_int_equal(open_graph(&o, &e), STATUS_YES);
    struct batch b = {.snapshot = o.snapshot,
        .json = json,
        .in = file_of(lines, n),
        .out = file_of("", 0),
        .complaints = file_of("", 0)};
    assert_int_equal(batch_run(&b, &e), result);
    close(b.in);
    char *out = content_of(b.out), *err = content_of(b.complaints);
    assert_string_equal(out, answers);
    assert_string_equal(err, complaints);
    mem_free(out);
    mem_free(err);
    offline_release(&o);
}

static void assert_batch(const char *lines, int result, const char *answers, const char *complaints)
{
    assert_batch_n(lines, strlen(lines), false, result, answers, complaints);
}

#define PROVIDED "main cart provider main local 0 10.0.0.1:80,[::1]:81\n"

static void answers_each_line_with_one(void **state)
{
    (void)state;
    assert_batch("main cart\nnone cart\nmain none\n", 0,
        PROVIDED "none cart refused unknown-environment 404\n"
                 "main none refused no-service 404\n",
        "");
    assert_batch("", 0, "", "");
}

static void spaces_and_ends_of_lines_do_not_matter(void **state)
{
    (void)state;
    assert_batch("main cart\r\n \tmain\t  cart \nmain cart", 0, PROVIDED PROVIDED PROVIDED, "");
}

static void malformed_lines_are_told_by_number_and_others_answered(void **state)
{
    (void)state;
    assert_batch("main\n\nmain cart\na b c\nmain", 1, PROVIDED,
        "offshootctl: line 1: want ENVIRONMENT SERVICE\n"
        "offshootctl: line 2: want ENVIRONMENT SERVICE\n"
        "offshootctl: line 4: want ENVIRONMENT SERVICE\n"
        "offshootctl: line 5: want ENVIRONMENT SERVICE\n");
}

static void names_are_shown_escaped(void **state)
{
    (void)state;
    const char lines[] = "a\0\"b \xff\x1b[1m\n";
    assert_batch_n(lines, sizeof(lines) - 1, false, 0,
        "a\\u0000\\\"b \xef\xbf\xbd\\u001b[1m refused unknown-environment 404\n", "");
}

static void json_is_one_object_a_line(void **state)
{
    (void)state;
    char want[1024];
    snprintf(want, sizeof(want),
        "{\"environment\":\"main\",\"service\":\"cart\",\"outcome\":\"provider\",\"class\":"
        "\"local\",\"provider\":\"main\",\"distance\":0,\"origin\":\"%s:10\",\"epoch\":0,"
        "\"endpoints\":[\"10.0.0.1:80\",\"[::1]:81\"],\"refusal\":null,\"status\":null}\n"
        "{\"environment\":\"x\",\"service\":\"cart\",\"outcome\":\"refused\",\"class\":null,"
        "\"provider\":null,\"distance\":null,\"origin\":null,\"epoch\":0,\"endpoints\":[],"
        "\"refusal\":\"unknown-environment\",\"status\":404}\n",
        path);
    assert_batch_n("main cart\nx cart\n", 17, true, 0, want, "");
}

/* A first line of n bytes before its line feed, then an ordinary one. */
static void assert_long_line(size_t n, bool fits)
{
    static char lines[2 * BATCH_LINE_MAX + 32];
    assert_true(n + 16 < sizeof(lines));
    memset(lines, ' ', n);
    memcpy(lines, "main", 4);
    memcpy(lines + n - 4, "cart", 4);
    memcpy(lines + n, "\nmain cart\n", 11);
    assert_batch_n(lines, n + 11, false, fits ? 0 : 1, fits ? PROVIDED PROVIDED : PROVIDED,
        fits ? "" : "offshootctl: line 1: too long\n");
}

static void lines_have_a_bound(void **state)
{
    (void)state;
    assert_long_line(BATCH_LINE_MAX - 1, true);
    assert_long_line(BATCH_LINE_MAX, false);
    assert_long_line(BATCH_LINE_MAX + 1, false);
    assert_long_line(2 * BATCH_LINE_MAX, false);
}

static void a_long_line_that_never_ends_is_told_once(void **state)
{
    (void)state;
    static char line[3 * BATCH_LINE_MAX];
    memset(line, 'x', sizeof(line));
    assert_batch_n(line, sizeof(line), false, 1, "", "offshootctl: line 1: too long\n");
}

static void lines_cut_between_reads_are_whole(void **state)
{
    (void)state;
    enum { LINES = 20000 };
    const char line[] = "main cart\n";
    size_t n = sizeof(line) - 1, m = sizeof(PROVIDED) - 1;
    char *in = mem_alloc(LINES * n), *want = mem_zalloc(LINES * m + 1);
    assert_true(in && want);
    for (size_t i = 0; i < LINES; i++) {
        memcpy(in + i * n, line, n);
        memcpy(want + i * m, PROVIDED, m);
    }
    assert_batch_n(in, LINES * n, false, 0, want, "");
    mem_free(in);
    mem_free(want);
}

static void answers_before_it_waits_for_more(void **state)
{
    (void)state;
    struct offline o;
    struct err e = {0};
    int in[2], out[2];
    char answer[128] = {0};
    assert_int_equal(open_graph(&o, &e), STATUS_YES);
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct batch b = {.snapshot = o.snapshot, .in = in[0], .out = out[1], .complaints = 2};
        close(in[1]);
        _exit(batch_run(&b, &e));
    }
    close(in[0]);
    close(out[1]);
    assert_int_equal(write(in[1], "main cart\n", 10), 10); /* and the pipe stays open */
    assert_int_equal(read(out[0], answer, sizeof(answer) - 1), sizeof(PROVIDED) - 1);
    assert_string_equal(answer, PROVIDED);
    close(in[1]);
    assert_int_equal(read(out[0], answer, 1), 0);
    close(out[0]);
    offline_release(&o);
}

static void failures_to_read_and_write_are_told(void **state)
{
    (void)state;
    struct offline o;
    struct err e = {0};
    assert_int_equal(open_graph(&o, &e), STATUS_YES);
    struct batch b = {.snapshot = o.snapshot, .in = -1, .out = -1, .complaints = -1};
    assert_int_equal(batch_run(&b, &e), -EBADF);
    assert_string_equal(e.text, "cannot read standard input: Bad file descriptor");
    b.in = file_of("main cart\n", 10);
    assert_int_equal(batch_run(&b, &e), -EBADF);
    assert_string_equal(e.text, "cannot write the answers: Bad file descriptor");
    close(b.in);
    offline_release(&o);
}

static void running_out_of_memory_is_an_error_and_leaves_nothing(void **state)
{
    (void)state;
    int rc = -ENOMEM;
    for (unsigned long n = 1; rc == -ENOMEM; n++) {
        struct offline o;
        struct err e = {0};
        assert_true(n < 10000);
        mem_fail_nth(n);
        rc = open_graph(&o, &e) == STATUS_YES ? 0 : e.code;
        if (rc == 0) {
            struct batch b = {.snapshot = o.snapshot,
                .in = file_of("main cart\n", 10),
                .out = file_of("", 0),
                .complaints = 2};
            rc = batch_run(&b, &e);
            close(b.in);
            close(b.out);
        }
        mem_fail_nth(0);
        offline_release(&o);
        assert_int_equal(mem_live(), 0);
    }
    assert_int_equal(rc, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_each_line_with_one),
        cmocka_unit_test(spaces_and_ends_of_lines_do_not_matter),
        cmocka_unit_test(malformed_lines_are_told_by_number_and_others_answered),
        cmocka_unit_test(names_are_shown_escaped),
        cmocka_unit_test(json_is_one_object_a_line),
        cmocka_unit_test(lines_have_a_bound),
        cmocka_unit_test(a_long_line_that_never_ends_is_told_once),
        cmocka_unit_test(lines_cut_between_reads_are_whole),
        cmocka_unit_test(answers_before_it_waits_for_more),
        cmocka_unit_test(failures_to_read_and_write_are_told),
        cmocka_unit_test(running_out_of_memory_is_an_error_and_leaves_nothing),
    };
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, graph, sizeof(graph) - 1) < 0)
        return 1;
    close(fd);
    int failed = unit_run(tests);
    unlink(path);
    return failed;
}
