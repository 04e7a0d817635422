#include "lib/net/watch.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include <event2/event.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define QUIET_MS 20

static char dir[64];

struct fixture {
    struct event_base *base;
    struct watch *w;
    unsigned calls;
    bool free_in_fn;
    struct event *writer;
};

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/offshoot-watch-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

/* dir/name, in one of four buffers. */
static const char *in(const char *name)
{
    static char path[4][256];
    static unsigned i;
    i = (i + 1) % 4;
    snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
    return path[i];
}

static void write_to(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void on_change(void *arg)
{
    struct fixture *f = arg;
    f->calls++;
    if (f->free_in_fn) {
        watch_free(f->w);
        f->w = NULL;
    }
    event_base_loopbreak(f->base);
}

static void start_many(struct fixture *f, const char *const *paths, size_t n)
{
    struct err e = {0};
    *f = (struct fixture){.base = event_base_new()};
    f->w = watch_new(f->base, paths, n, QUIET_MS, on_change, f, &e);
    if (!f->w)
        fail_msg("%s", e.text);
}

static void start(struct fixture *f, const char *path)
{
    start_many(f, &path, 1);
}

static void stop(struct fixture *f)
{
    watch_free(f->w);
    event_base_free(f->base);
}

static void on_too_late(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

/* What was done until now leads to one call. */
static void told_within(struct fixture *f, int seconds)
{
    unsigned before = f->calls;
    struct timeval tv = {seconds, 0};
    struct event *guard = evtimer_new(f->base, on_too_late, f->base);
    event_add(guard, &tv);
    event_base_dispatch(f->base);
    event_free(guard);
    assert_int_equal(f->calls, before + 1);
}

static void told(struct fixture *f)
{
    told_within(f, 10);
}

/* What was done until now leads to no call: the kernel's events are there at once, and after they
 * are read no timer runs. */
static void not_told(struct fixture *f)
{
    unsigned before = f->calls;
    for (int i = 0; i < 3; i++)
        event_base_loop(f->base, EVLOOP_NONBLOCK);
    assert_int_equal(f->calls, before);
    assert_int_equal(event_base_get_num_events(f->base, EVENT_BASE_COUNT_ADDED), 1);
}

static void tells_of_a_file_written_removed_and_made_again(void **state)
{
    struct fixture f;
    (void)state;
    write_to(in("g.yaml"), "1");
    start(&f, in("g.yaml"));
    not_told(&f);
    write_to(in("g.yaml"), "2");
    told(&f);
    not_told(&f);
    unlink(in("g.yaml"));
    told(&f);
    write_to(in("g.yaml"), "3");
    told(&f);
    assert_int_equal(chmod(in("g.yaml"), 0400), 0);
    told(&f);
    stop(&f);
}

static void tells_of_a_rename_over_the_file(void **state)
{
    struct fixture f;
    (void)state;
    write_to(in("g.yaml"), "1");
    start(&f, in("g.yaml"));
    write_to(in(".g.yaml.tmp"), "2");
    not_told(&f); /* another name in the folder */
    assert_int_equal(rename(in(".g.yaml.tmp"), in("g.yaml")), 0);
    told(&f);
    write_to(in("g.yaml"), "3"); /* the new file is watched as the old one was */
    told(&f);
    stop(&f);
}

static void other_files_do_not_matter(void **state)
{
    struct fixture f;
    (void)state;
    write_to(in("g.yaml"), "1");
    start(&f, in("g.yaml"));
    write_to(in("other"), "1");
    write_to(in("other"), "2");
    unlink(in("other"));
    assert_int_equal(mkdir(in("folder"), 0700), 0);
    not_told(&f);
    int fd = open(in("g.yaml"), O_RDONLY); /* reading is no change */
    char c;
    assert_int_equal(read(fd, &c, 1), 1);
    close(fd);
    not_told(&f);
    stop(&f);
}

static void every_file_of_a_folder_matters(void **state)
{
    struct fixture f;
    (void)state;
    assert_int_equal(mkdir(in("d"), 0700), 0);
    start(&f, in("d"));
    write_to(in("d/a.yaml"), "1");
    told(&f);
    write_to(in("d/a.yaml"), "2");
    told(&f);
    assert_int_equal(rename(in("d/a.yaml"), in("d/b.yaml")), 0);
    told(&f);
    unlink(in("d/b.yaml"));
    told(&f);
    write_to(in("beside"), "1");
    not_told(&f);
    stop(&f);
}

static void a_path_that_does_not_exist_yet_is_waited_for(void **state)
{
    struct fixture f;
    (void)state;
    start(&f, in("a/b/g.yaml"));
    write_to(in("x"), "1");
    not_told(&f);
    assert_int_equal(mkdir(in("a"), 0700), 0);
    told(&f);
    assert_int_equal(mkdir(in("a/b"), 0700), 0);
    told(&f);
    write_to(in("a/b/g.yaml"), "1");
    told(&f);
    /* and away again, from above */
    assert_int_equal(rename(in("a"), in("c")), 0);
    told(&f);
    write_to(in("c/b/g.yaml"), "2");
    not_told(&f);
    assert_int_equal(rename(in("c"), in("a")), 0);
    told(&f);
    write_to(in("a/b/g.yaml"), "3");
    told(&f);
    stop(&f);
}

/* As Kubernetes mounts a ConfigMap: g.yaml -> ..data/g.yaml, ..data -> ..1. */
static void links_swapped_as_kubernetes_does_are_seen(void **state)
{
    struct fixture f;
    (void)state;
    assert_int_equal(mkdir(in("..1"), 0700), 0);
    write_to(in("..1/g.yaml"), "1");
    assert_int_equal(symlink("..1", in("..data")), 0);
    assert_int_equal(symlink("..data/g.yaml", in("g.yaml")), 0);
    start(&f, in("g.yaml"));
    not_told(&f);
    for (int i = 0; i < 2; i++) {
        const char *next = i ? "..3" : "..2", *file = i ? "..3/g.yaml" : "..2/g.yaml";
        assert_int_equal(mkdir(in(next), 0700), 0);
        write_to(in(file), "2");
        assert_int_equal(symlink(next, in("..data_tmp")), 0);
        not_told(&f);
        assert_int_equal(rename(in("..data_tmp"), in("..data")), 0);
        told(&f);
        not_told(&f);
    }
    write_to(in("..3/g.yaml"), "3"); /* where the links lead now */
    told(&f);
    write_to(in("..1/g.yaml"), "4"); /* where they led */
    not_told(&f);
    stop(&f);
}

static void the_same_swap_is_seen_for_a_folder(void **state)
{
    struct fixture f;
    (void)state;
    assert_int_equal(mkdir(in("..1"), 0700), 0);
    assert_int_equal(mkdir(in("..2"), 0700), 0);
    assert_int_equal(symlink("..1", in("..data")), 0);
    start(&f, dir);
    assert_int_equal(symlink("..2", in("..data_tmp")), 0);
    assert_int_equal(rename(in("..data_tmp"), in("..data")), 0);
    told(&f);
    stop(&f);
}

static void absolute_links_and_loops_end(void **state)
{
    struct fixture f;
    (void)state;
    assert_int_equal(mkdir(in("d"), 0700), 0);
    write_to(in("d/g.yaml"), "1");
    assert_int_equal(symlink(in("d"), in("link")), 0);
    assert_int_equal(symlink("loop", in("loop")), 0);
    const char *paths[] = {in("link/../link/./g.yaml"), in("loop/g.yaml")};
    start_many(&f, paths, 2);
    not_told(&f);
    write_to(in("d/g.yaml"), "2");
    told(&f);
    unlink(in("loop"));
    told(&f);
    stop(&f);
}

static void relative_paths_start_here(void **state)
{
    struct fixture f;
    char cwd[256];
    (void)state;
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    assert_int_equal(chdir(dir), 0);
    start(&f, "g.yaml");
    write_to("g.yaml", "1");
    told(&f);
    stop(&f);
    assert_int_equal(chdir(cwd), 0);
}

static void changes_close_together_are_told_once(void **state)
{
    struct fixture f;
    (void)state;
    start(&f, dir);
    for (int i = 0; i < 50; i++)
        write_to(in("g.yaml"), "x");
    told(&f);
    not_told(&f);
    stop(&f);
}

static void on_writer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    write_to(in("g.yaml"), "again");
}

static void changes_without_end_are_told_all_the_same(void **state)
{
    struct fixture f;
    struct timeval often = {0, QUIET_MS * 1000 / 10};
    (void)state;
    start(&f, dir);
    f.writer = event_new(f.base, -1, EV_PERSIST, on_writer, NULL);
    event_add(f.writer, &often);
    told(&f);
    told(&f);
    event_free(f.writer);
    stop(&f);
}

static void the_callback_may_end_the_watch(void **state)
{
    struct fixture f;
    (void)state;
    start(&f, dir);
    f.free_in_fn = true;
    write_to(in("g.yaml"), "1");
    told(&f);
    assert_int_equal(event_base_get_num_events(f.base, EVENT_BASE_COUNT_ADDED), 0);
    stop(&f);
}

static void without_inotify_files_are_looked_at(void **state)
{
    struct fixture f;
    (void)state;
    char log[512] = "";
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    log_to(ends[1], false);
    assert_int_equal(mkdir(in("d"), 0700), 0);
    const char *paths[] = {in("d"), in("g.yaml")};
    mem_fail_nth(5); /* the first folder on the way */
    start_many(&f, paths, 2);
    mem_fail_nth(0);
    log_to(STDERR_FILENO, false);
    assert_true(read(ends[0], log, sizeof(log) - 1) > 0);
    assert_non_null(strstr(log, "looking at them every 2 s"));
    not_told(&f); /* one event: the poll */
    write_to(in("g.yaml"), "1");
    told(&f);
    write_to(in("d/a.yaml"), "1");
    told(&f);
    stop(&f);
    close(ends[0]);
    close(ends[1]);
}

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    unsigned failures = 0;
    const char *paths[] = {in("a/g.yaml"), in("g.yaml")};
    int null = open("/dev/null", O_WRONLY);
    log_to(null, false);
    for (unsigned long i = 1;; i++) {
        struct fixture f = {.base = event_base_new()};
        struct err e = {0};
        mem_fail_nth(i);
        f.w = watch_new(f.base, paths, 2, QUIET_MS, on_change, &f, &e);
        unsigned long n = mem_count();
        mem_fail_nth(0);
        if (!f.w)
            assert_string_equal(e.text, "out of memory to watch files");
        stop(&f);
        if (n < i)
            break;
        failures++;
    }
    log_to(STDERR_FILENO, false);
    close(null);
    assert_true(failures > 6);
}

static int nothing_lives(void **state)
{
    (void)state;
    return mem_live() == 0 ? 0 : -1;
}

#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(tells_of_a_file_written_removed_and_made_again),
        IN_DIR(tells_of_a_rename_over_the_file),
        IN_DIR(other_files_do_not_matter),
        IN_DIR(every_file_of_a_folder_matters),
        IN_DIR(a_path_that_does_not_exist_yet_is_waited_for),
        IN_DIR(links_swapped_as_kubernetes_does_are_seen),
        IN_DIR(the_same_swap_is_seen_for_a_folder),
        IN_DIR(absolute_links_and_loops_end),
        IN_DIR(relative_paths_start_here),
        IN_DIR(changes_close_together_are_told_once),
        IN_DIR(changes_without_end_are_told_all_the_same),
        IN_DIR(the_callback_may_end_the_watch),
        IN_DIR(without_inotify_files_are_looked_at),
        IN_DIR(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
