/* The arithmetic and the screen of top: what is made of two readings. */
#include "ctl/top_frame.h"
#include "tests/unit/unit.h"
#include <stdlib.h>

/* Cells of a histogram: n requests in the bucket with this number, and their sum. */
static const char *cells(char *room, unsigned bucket, unsigned n)
{
    char *p = room;
    for (unsigned i = 0; i < 24; i++)
        p += sprintf(p, "%s%u", i ? "," : "[", i == bucket ? n : 0);
    sprintf(p, "]");
    return room;
}

struct numbers {
    long pid, started, time_us, ok, bad, removed, main_, old, slow, cpu, requests, errors;
};

static json_t *reading(const struct numbers *n)
{
    char total[256], connect[256], text[4096];
    snprintf(text, sizeof text,
        "{\"version\":\"9\",\"pid\":%ld,\"started\":%ld,\"uptime_seconds\":100,\"time_us\":%ld,"
        "\"start_us\":1000000,\"state\":\"serving\",\"epoch\":7,\"memory_bytes\":2097152,"
        "\"clients\":3,\"requests_now\":2,\"codes\":{\"2xx\":%ld,\"5xx\":%ld},"
        "\"classes\":{\"local\":%ld},\"protocols\":{\"http1\":%ld,\"http2\":0},"
        "\"refusals\":{\"removed\":%ld},\"errors\":{},\"total\":%s,"
        "\"stages\":{\"connect\":%s,\"first_byte\":[]},"
        "\"workers\":[{\"requests\":%ld,\"clients\":1,\"cpu_us\":%ld},"
        "{\"requests\":0,\"clients\":2,\"cpu_us\":0}],"
        "\"environments\":[{\"name\":\"main\",\"requests\":%ld},{\"name\":\"old\",\"requests\":%ld}"
        "],"
        "\"services\":[],\"providers\":[{\"name\":\"10.0.0.7:80\",\"state\":\"healthy\","
        "\"requests\":%ld,\"errors\":%ld,\"inflight\":4,\"waiting\":1,\"connections\":5,"
        "\"idle\":0}]}",
        n->pid, n->started, n->time_us, n->ok, n->bad, n->ok + n->bad, n->ok + n->bad, n->removed,
        cells(total, 4, (unsigned)n->slow), cells(connect, 0, (unsigned)n->slow), n->ok + n->bad,
        n->cpu, n->main_, n->old, n->requests, n->errors);
    json_error_t e;
    json_t *j = json_loads(text, 0, &e);
    if (!j)
        fail_msg("%s at %d: %s", e.text, e.position, text);
    return j;
}

static const struct numbers first = {.pid = 1,
    .started = 5,
    .time_us = 11000000,
    .ok = 100,
    .bad = 10,
    .removed = 1,
    .main_ = 50,
    .old = 60,
    .slow = 110,
    .cpu = 5000000,
    .requests = 100,
    .errors = 10};
static const struct numbers second = {.pid = 1,
    .started = 5,
    .time_us = 13000000,
    .ok = 300,
    .bad = 10,
    .removed = 4,
    .main_ = 250,
    .old = 60,
    .slow = 310,
    .cpu = 6000000,
    .requests = 300,
    .errors = 13};

static json_t *frame_of(const struct numbers *a, const struct numbers *b)
{
    json_t *before = a ? reading(a) : NULL, *now = reading(b);
    json_t *f = top_frame(before, now, 10);
    json_decref(before);
    json_decref(now);
    assert_non_null(f);
    return f;
}

/* The number at the end of a way of keys and places, as "workers.0.cpu". */
static double at(const json_t *f, const char *way)
{
    char key[32];
    while (*way) {
        size_t n = strcspn(way, ".");
        memcpy(key, way, n);
        key[n] = '\0';
        f = json_is_array(f) ? json_array_get(f, strtoul(key, NULL, 10)) : json_object_get(f, key);
        way += n + (way[n] == '.');
    }
    return json_is_number(f) ? json_number_value(f) : -1;
}

static void near(const json_t *f, const char *way, double want)
{
    double have = at(f, way);
    if (have < want - 0.001 || have > want + 0.001)
        fail_msg("%s is %f, not %f", way, have, want);
}

static void a_frame_is_about_what_happened_in_between(void **state)
{
    (void)state;
    json_t *f = frame_of(&first, &second);
    assert_true(json_is_false(json_object_get(f, "since_start")));
    near(f, "seconds", 2);
    near(f, "per_second", 100);
    near(f, "codes.2xx", 100);
    near(f, "codes.5xx", -1); /* stood still */
    near(f, "refusals.removed", 1.5);
    near(f, "latency_us.count", 200);
    near(f, "latency_us.p50", 768); /* the middle of 512 to 1024 us */
    near(f, "stages_us.connect.p99", 63);
    near(f, "stages_us.first_byte.count", 0);
    near(f, "workers.0.per_second", 100);
    near(f, "workers.0.cpu", 0.5);
    near(f, "workers.1.per_second", 0);
    near(f, "providers.0.per_second", 100);
    near(f, "providers.0.errors_per_second", 1.5);
    near(f, "providers.0.inflight", 4);
    near(f, "providers.0.requests", -1);
    assert_int_equal(json_array_size(json_object_get(f, "environments")), 1);
    near(f, "environments.0.per_second", 100);
    near(f, "memory_bytes", 2097152);
    json_decref(f);
}

static void without_a_reading_before_it_is_about_all_the_time(void **state)
{
    (void)state;
    struct numbers anew = second;
    anew.pid = 2; /* another process, whose counters begin at nothing */
    json_t *frames[] = {frame_of(NULL, &second), frame_of(&first, &anew)};
    for (size_t i = 0; i < 2; i++) {
        json_t *f = frames[i];
        assert_true(json_is_true(json_object_get(f, "since_start")));
        near(f, "seconds", 12);
        near(f, "codes.2xx", 25);
        near(f, "latency_us.count", 310);
        /* the busiest first */
        assert_string_equal("main",
            json_string_value(
                json_object_get(json_array_get(json_object_get(f, "environments"), 0), "name")));
        near(f, "environments.1.per_second", 5);
        json_decref(f);
    }
}

static void a_counter_that_seems_to_go_back_stands_still(void **state)
{
    (void)state;
    struct numbers less = second;
    less.ok = 50;
    less.main_ = 0;
    json_t *f = frame_of(&first, &less);
    near(f, "codes.2xx", -1);
    near(f, "per_second", 0);
    json_decref(f);
}

static void what_is_no_reading_gives_no_frame(void **state)
{
    (void)state;
    json_t *j = json_pack("{s:s}", "hello", "world");
    assert_null(top_frame(NULL, j, 10));
    json_decref(j);
}

static void the_most_are_told_and_no_more(void **state)
{
    (void)state;
    json_t *now = reading(&second);
    json_t *f = top_frame(NULL, now, 1);
    assert_int_equal(json_array_size(json_object_get(f, "environments")), 1);
    assert_int_equal(json_array_size(json_object_get(f, "providers")), 1);
    json_decref(f);
    json_decref(now);
}

static void memory_may_be_out(void **state)
{
    (void)state;
    json_t *before = reading(&first), *now = reading(&second);
    for (unsigned long nth = 1; nth <= 3; nth++) {
        mem_fail_nth(nth);
        assert_null(top_frame(before, now, 10));
        mem_fail_nth(0);
    }
    json_decref(before);
    json_decref(now);
}

static void the_screen_has_every_part(void **state)
{
    (void)state;
    json_t *f = frame_of(&first, &second);
    struct text t = {0};
    top_draw(&t, f, 0, 0);
    static const char *const parts[] = {
        "offshoot-proxy 9  process 1  serving  epoch 7  up 100 s  (last 2.0 s)\n",
        "\nrequests   100/s   2xx 100.0 %\n", "\nclasses    local 100/s\n",
        "\nprotocols  http1 100/s\n", "\nrefusals   removed 1.5/s\n", "\nerrors     none\n",
        "\nlatency    p50 768 us   p90 972 us   p99 1.0 ms\n", "\n  connect  p50 32 us",
        "\n  reply    -\n",
        "\nworkers    0: 100 % of requests, cpu 50 %   1: 0 % of requests, cpu 0 %\n",
        "\nnow        3 clients   2 requests   2.0 MiB\n", "\nENVIRONMENT ", "\nmain ",
        "\nPROVIDER ", "\n10.0.0.7:80 "};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (!strstr(t.p, parts[i]))
            fail_msg("no \"%s\" in\n%s", parts[i], t.p);
    assert_null(strstr(t.p, " \n"));
    text_release(&t);
    json_decref(f);
}

static void the_screen_keeps_to_its_size(void **state)
{
    (void)state;
    json_t *f = frame_of(&first, &second);
    for (unsigned width = 1; width < 60; width += 7) {
        struct text t = {0};
        unsigned lines = 0;
        top_draw(&t, f, width, 5);
        for (const char *p = t.p; *p; lines++) {
            size_t n = strcspn(p, "\n");
            assert_true(n <= width);
            p += n + 1;
        }
        assert_int_equal(lines, 5);
        text_release(&t);
    }
    json_decref(f);
}

static void names_cannot_move_the_cursor(void **state)
{
    (void)state;
    json_t *f = frame_of(&first, &second);
    json_t *p = json_array_get(json_object_get(f, "providers"), 0);
    struct text t = {0};
    json_object_set_new(p, "name", json_string("\033[2Jevil\xc2\x9b"));
    json_object_set_new(f, "version", json_string("\033]0;x\007"));
    top_draw(&t, f, 0, 0);
    assert_null(strchr(t.p, '\033'));
    assert_null(strstr(t.p, "\xc2\x9b"));
    assert_non_null(strstr(t.p, "?[2Jevil?"));
    text_release(&t);
    json_decref(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_about_what_happened_in_between),
        cmocka_unit_test(without_a_reading_before_it_is_about_all_the_time),
        cmocka_unit_test(a_counter_that_seems_to_go_back_stands_still),
        cmocka_unit_test(what_is_no_reading_gives_no_frame),
        cmocka_unit_test(the_most_are_told_and_no_more),
        cmocka_unit_test(memory_may_be_out),
        cmocka_unit_test(the_screen_has_every_part),
        cmocka_unit_test(the_screen_keeps_to_its_size),
        cmocka_unit_test(names_cannot_move_the_cursor),
    };
    return unit_run(tests);
}
