/* What a command costs the agent. Prints one JSON object.
 *
 *     commit_bench STATE PATH...     STATE: an empty folder on the disk that counts;
 *                                    PATH: a graph file or folder, e.g. from bench/make_graph.py
 *
 * Wall-clock medians of one-environment commands, in milliseconds:
 * start_ms     first load of the files, whole record written and synced
 * command_ms   env create to its answer: load, check, compile, append, fdatasync
 * load_ms      of that: the same load with nothing to find (core_reload, nothing changed)
 * append_ms    of that: history_append of the same difference alone
 * rollback_ms  graph rollback by one epoch
 * restart_ms   opening the log with all of it
 * log_bytes    of the log in the end */
#include "agent/core.h"
#include "lib/graph/codec.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COMMANDS 31

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int64_t unix_now(void *arg)
{
    (void)arg;
    return (int64_t)time(NULL);
}

static void must(int r, const struct err *e)
{
    if (r == 0)
        return;
    fprintf(stderr, "commit_bench: %s\n", e->text);
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *values)
{
    qsort(values, COMMANDS, sizeof(*values), by_value);
    return values[COMMANDS / 2];
}

static double command(struct core *c, struct change ch)
{
    struct err e = {0};
    uint64_t epoch;
    double from = now_ms();
    ch.who = "bench";
    must(core_change(c, &ch, &epoch, &e), &e);
    return now_ms() - from;
}

static double commands(struct core *c)
{
    double ms[COMMANDS];
    for (unsigned i = 0; i < COMMANDS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "bench-%u", i);
        struct change ch = {.kind = CHANGE_CREATE, .name = name, .life_s = 3600};
        ms[i] = command(c, ch);
    }
    return median(ms);
}

static double loads(struct core *c)
{
    double ms[COMMANDS];
    struct err e = {0};
    for (unsigned i = 0; i < COMMANDS; i++) {
        double from = now_ms();
        if (core_reload(c, "bench", &e) != -EALREADY)
            must(-1, &e);
        ms[i] = now_ms() - from;
    }
    return median(ms);
}

static double appends(struct core *c)
{
    double ms[COMMANDS];
    struct err e = {0};
    struct history *h = core_history(c);
    for (unsigned i = 0; i < COMMANDS; i++) {
        struct snapshot *s;
        uint64_t epoch = history_epoch(h) + 1;
        struct epoch_info info = {.epoch = epoch, .who = "bench", .why = "", .what = ""};
        must(codec_renumber(history_newest(h), epoch, &s, &e), &e);
        double from = now_ms();
        must(history_append(h, s, &info, NULL, 0, &e), &e);
        ms[i] = now_ms() - from;
        snapshot_unref(s);
    }
    return median(ms);
}

int main(int argc, char **argv)
{
    struct err e = {0};
    if (argc < 3) {
        fprintf(stderr, "usage: commit_bench STATE PATH...\n");
        return 1;
    }
    struct core_options o = {.graph = {.paths = (const char *const *)(argv + 2),
                                 .npaths = (size_t)argc - 2,
                                 .files = FILE_LIMITS_DEFAULT,
                                 .load = LOAD_LIMITS_DEFAULT},
        .history = {.dir = argv[1]},
        .now = unix_now};
    struct core *c = core_new(&o, &e);
    must(c ? 0 : -1, &e);
    double from = now_ms();
    must(core_reload(c, "bench", &e), &e);
    double start = now_ms() - from, each = commands(c), load = loads(c), append = appends(c);
    double back = command(
        c, (struct change){.kind = CHANGE_ROLLBACK, .epoch = history_epoch(core_history(c)) - 40});
    command(c, (struct change){.kind = CHANGE_RESUME});
    uint64_t bytes = history_bytes(core_history(c));
    core_free(c);
    from = now_ms();
    c = core_new(&o, &e);
    must(c ? 0 : -1, &e);
    double restart = now_ms() - from;
    printf("{\"environments\":%u,\"start_ms\":%.1f,\"command_ms\":%.2f,\"load_ms\":%.2f,"
           "\"append_ms\":%.2f,\"rollback_ms\":%.1f,\"restart_ms\":%.1f,\"log_bytes\":%llu}\n",
        snapshot_env_count(core_active(c)), start, each, load, append, back, restart,
        (unsigned long long)bytes);
    core_free(c);
    return 0;
}
