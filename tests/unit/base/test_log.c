#include "lib/base/log.h"
#include "lib/base/parse.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int ends[2]; /* of the pipe that the log goes to */
static char seen[65536];

static int start(void **state)
{
    (void)state;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return -1;
    log_init("unit");
    log_set_level(LOG_LEVEL_INFO);
    log_to(ends[1], false);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    log_to(STDERR_FILENO, false);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* One read: what one write wrote, as long as nothing else is in the pipe. */
static const char *take(void)
{
    ssize_t n = read(ends[0], seen, sizeof(seen) - 1);
    seen[n < 0 ? 0 : n] = '\0';
    return seen;
}

/* The text behind "time level program: ", and that those are right. */
static const char *take_message(const char *level)
{
    char head[64];
    int64_t when;
    const char *line = take();

    assert_true(strlen(line) > 24);
    assert_int_equal(line[19], '.');
    assert_int_equal(line[23], 'Z');
    assert_int_equal(parse_rfc3339(str_of(line, 24), &when), 0);
    assert_in_range(when, time(NULL) - 60, time(NULL) + 1);
    snprintf(head, sizeof(head), " %s unit: ", level);
    assert_int_equal(strncmp(line + 24, head, strlen(head)), 0);
    return line + 24 + strlen(head);
}

static void a_line_has_time_level_program_and_message(void **state)
{
    (void)state;
    log_error("a %d", 1);
    assert_string_equal(take_message("error"), "a 1\n");
    log_warn("b");
    assert_string_equal(take_message("warn"), "b\n");
    log_info("%s", "");
    assert_string_equal(take_message("info"), "\n");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("d");
    assert_string_equal(take_message("debug"), "d\n");
}

static void levels_above_what_is_asked_stay_silent(void **state)
{
    (void)state;
    uint64_t before = log_written();
    log_debug("x");
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("x");
    log_info("x");
    assert_string_equal(take(), "");
    assert_true(log_written() == before);
    log_error("y");
    assert_string_equal(take_message("error"), "y\n");
    assert_true(log_written() == before + 1);
}

static void nothing_from_outside_can_forge_a_line(void **state)
{
    (void)state;
    log_info("%s", "a\nb\rc\td\"e\\f\x1b[0m\x7f\x01z");
    assert_string_equal(take_message("info"), "a\\nb\\rc\\td\\\"e\\\\f\\x1b[0m\\x7f\\x01z\n");
    log_info("%s", "\xc3\xa4\xc2\xa0\xf0\x9f\x8c\xb1");
    assert_string_equal(take_message("info"), "\xc3\xa4\xc2\xa0\xf0\x9f\x8c\xb1\n");
    log_info("%s", "\xc2\x85|\xff|\xc3|\xe2\x82");
    assert_string_equal(take_message("info"), "\\x85|\\xff|\\xc3|\\xe2\\x82\n");
}

static void json_lines_are_json(void **state)
{
    (void)state;
    log_to(ends[1], true);
    log_warn("%s", "a\nb\"c\\d\x1b\xc2\x85\xc3\xa4\xff");
    const char *line = take();
    json_error_t fault;
    json_t *root = json_loads(line, 0, &fault);
    assert_non_null(root);
    assert_int_equal(line[strlen(line) - 1], '\n');
    assert_int_equal(json_object_size(root), 4);
    assert_int_equal(strlen(json_string_value(json_object_get(root, "ts"))), 24);
    assert_string_equal(json_string_value(json_object_get(root, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(root, "program")), "unit");
    assert_string_equal(json_string_value(json_object_get(root, "message")),
        "a\nb\"c\\d\x1b\xc2\x85\xc3\xa4\xef\xbf\xbd");
    assert_null(strchr(line, 0x1b));
    json_decref(root);
}

static void long_messages_are_cut_and_still_one_line(void **state)
{
    (void)state;
    char big[5000];
    memset(big, '\x01', sizeof(big) - 1); /* the longest escape there is */
    big[sizeof(big) - 1] = '\0';
    log_to(ends[1], true);
    log_info("%s", big);
    const char *line = take();
    json_t *root = json_loads(line, 0, NULL);
    assert_non_null(root);
    assert_int_equal(json_string_length(json_object_get(root, "message")), 2047);
    json_decref(root);
    assert_string_equal(take(), "");
}

static void refused_lines_are_counted(void **state)
{
    (void)state;
    uint64_t lost = log_lost(), written = log_written();
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    log_to(full, false);
    errno = EDOM;
    log_info("x");
    assert_int_equal(errno, EDOM);
    assert_true(log_lost() == lost + 1);
    assert_true(log_written() == written);
    close(full);
    log_to(ends[1], false);
    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    log_info("x");
    assert_true(log_lost() == lost + 2);
}

static void level_names_round_trip(void **state)
{
    (void)state;
    enum log_level level = LOG_LEVEL_WARN;
    for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
        assert_int_equal(log_level_parse(log_level_name((enum log_level)i), &level), 0);
        assert_int_equal(level, i);
    }
    assert_int_equal(log_level_parse("Info", &level), -EINVAL);
    assert_int_equal(log_level_parse("", &level), -EINVAL);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
}

#define THREADS 4
#define LINES   50

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++)
        log_info("%s", (const char *)arg);
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    static char text[THREADS][101];
    pthread_t thread[THREADS];
    int lines = 0;

    for (int i = 0; i < THREADS; i++) {
        memset(text[i], 'a' + i, 100);
        assert_int_equal(pthread_create(&thread[i], NULL, write_lines, text[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    char *rest = NULL;
    take();
    for (char *l = strtok_r(seen, "\n", &rest); l; l = strtok_r(NULL, "\n", &rest)) {
        const char *message = strstr(l, "unit: ");
        assert_non_null(message);
        message += 6;
        assert_int_equal(strspn(message, (char[]){message[0], '\0'}), 100);
        assert_int_equal(strlen(message), 100);
        lines++;
    }
    assert_int_equal(lines, THREADS * LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_time_level_program_and_message, start, finish),
        cmocka_unit_test_setup_teardown(levels_above_what_is_asked_stay_silent, start, finish),
        cmocka_unit_test_setup_teardown(nothing_from_outside_can_forge_a_line, start, finish),
        cmocka_unit_test_setup_teardown(json_lines_are_json, start, finish),
        cmocka_unit_test_setup_teardown(long_messages_are_cut_and_still_one_line, start, finish),
        cmocka_unit_test_setup_teardown(refused_lines_are_counted, start, finish),
        cmocka_unit_test_setup_teardown(lines_of_threads_do_not_mix, start, finish),
        cmocka_unit_test(level_names_round_trip),
    };
    return unit_run(tests);
}
