/* A record log in a folder of its own, for the tests of lib/base/reclog.h. */
#ifndef OFFSHOOT_TESTS_RECLOG_FIXTURE_H
#define OFFSHOOT_TESTS_RECLOG_FIXTURE_H

#include "lib/base/counters.h"
#include "lib/base/mem.h"
#include "lib/base/reclog.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KIND 7

static char dir[64];

static inline int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/offshoot-reclog-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static inline int remove_dir(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static inline const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static inline bool exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static inline off_t size_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(path_of(name), &st), 0);
    return st.st_size;
}

static inline struct reclog *open_with(struct reclog_options o, struct reclog_recovery *r)
{
    struct err e = {0};
    struct reclog *l = reclog_open(dir, "log", &o, r, &e);
    if (!l)
        fail_msg("%s", e.text);
    return l;
}

static inline struct reclog *open_log(struct reclog_recovery *r)
{
    return open_with((struct reclog_options){.kind = KIND}, r);
}

static inline void put(struct reclog *l, uint32_t type, const char *payload)
{
    struct err e = {0};
    if (reclog_append(l, type, str_c(payload), &e))
        fail_msg("%s", e.text);
}

/* Everything in the log as "1:one,2:two,". */
static inline int add_to_text(void *arg, uint32_t type, struct str payload)
{
    text_fmt(arg, "%u:", type);
    text_add(arg, payload);
    text_add(arg, STR(","));
    return 0;
}

static inline void holds(struct reclog *l, const char *expected)
{
    struct text t = {0};
    struct err e = {0};
    text_add(&t, STR(""));
    if (reclog_read(l, add_to_text, &t, &e))
        fail_msg("%s", e.text);
    assert_string_equal(t.p, expected);
    text_release(&t);
}

static inline void write_file(const char *name, struct str bytes)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.p, bytes.n), (ssize_t)bytes.n);
    close(fd);
}

static inline size_t read_file(const char *name, char *buf, size_t size)
{
    int fd = open(path_of(name), O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, buf, size);
    assert_true(n >= 0 && (size_t)n < size);
    close(fd);
    return (size_t)n;
}

/* The disk is full at `bytes`; RLIM_INFINITY: no more. */
static inline void disk_ends_at(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static inline int nothing_lives(void **state)
{
    (void)state;
    return mem_live() == 0 ? 0 : -1;
}

#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

#endif
