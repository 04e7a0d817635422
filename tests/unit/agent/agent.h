/* A folder with graph files and a state folder, and a core over them, for the tests of the agent.
 */
#ifndef OFFSHOOT_TESTS_UNIT_AGENT_H
#define OFFSHOOT_TESTS_UNIT_AGENT_H

#include "tests/unit/unit.h"

#include "agent/core.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static int64_t the_time = 1790000000; /* 2026-09-21T14:13:20Z */

static inline int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/offshoot-agent-XXXXXX");
    the_time = 1790000000;
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

static inline void write_bytes(const char *name, const void *p, size_t n)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    close(fd);
}

static inline void write_text(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

/* Returns new. */
static inline char *read_bytes(const char *name, size_t *ret_n)
{
    struct stat st;
    int fd = open(path_of(name), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    char *p = malloc((size_t)st.st_size + 1);
    assert_non_null(p);
    assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_n = (size_t)st.st_size;
    return p;
}

#define SHOP                                                                                       \
    "apiVersion: offshoot.dev/v1\nkind: Service\nmetadata: {name: cart}\nspec: {}\n---\n"          \
    "apiVersion: offshoot.dev/v1\nkind: Service\nmetadata: {name: pricing}\nspec: {}\n---\n"       \
    "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: main}\n"                     \
    "spec:\n  mode: baseline\n  providers:\n"                                                      \
    "    cart: {endpoints: [\"10.1.0.5:80\"]}\n    pricing: {endpoints: [\"10.1.0.6:80\"]}\n"
#define TEAM                                                                                       \
    "---\napiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: team}\n"                \
    "spec:\n  mode: overlay\n  parent: main\n"                                                     \
    "  providers: {cart: {endpoints: [\"10.1.7.5:80\"]}}\n"

static inline int64_t test_now(void *arg)
{
    (void)arg;
    return the_time;
}

static struct {
    unsigned n;
    uint64_t epoch;
    uint8_t kind;
    bool held;
} told;

static inline void on_told(void *arg, struct snapshot *s, const struct epoch_info *info)
{
    (void)arg;
    told.n++;
    told.epoch = snapshot_epoch(s);
    told.kind = info->kind;
    told.held = info->held;
    assert_int_equal(info->epoch, told.epoch);
}

static inline struct core_options core_options_of(const char **paths)
{
    static char graph[80];
    snprintf(graph, sizeof(graph), "%s/graph.yaml", dir);
    paths[0] = graph;
    return (struct core_options){.graph = {.paths = paths,
                                     .npaths = 1,
                                     .files = FILE_LIMITS_DEFAULT,
                                     .load = LOAD_LIMITS_DEFAULT},
        .history = {.dir = dir},
        .now = test_now,
        .on_commit = on_told};
}

static inline struct core *core_open(void)
{
    const char *paths[1];
    struct err e = {0};
    struct core_options o = core_options_of(paths);
    struct core *c = core_new(&o, &e);
    if (!c)
        fail_msg("%s", e.text);
    return c;
}

/* The addresses that an environment's service resolves to, with commas; or the refusal's word. */
static inline const char *where(const struct snapshot *s, const char *env, const char *service)
{
    static char text[1024];
    struct decision d;
    struct endpoint ep;
    size_t n = 0;
    snapshot_resolve(s, snapshot_find_env(s, str_c(env)), snapshot_find_service(s, str_c(service)),
        the_time, &d);
    if (d.refusal) {
        snprintf(text, sizeof(text), "%s", refusal_word((enum refusal)d.refusal));
        return text;
    }
    for (uint32_t i = 0; i < endpoint_set_count(d.endpoints); i++) {
        endpoint_set_at(d.endpoints, i, &ep);
        text[n] = ',';
        n += i > 0;
        n += addr_format(&ep.addr, text + n);
    }
    return text;
}

#endif
