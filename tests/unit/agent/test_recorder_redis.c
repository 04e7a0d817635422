/* The recorder against real servers that are absent, killed, flushed, full, slow, read-only,
 * locked, or hold something else: afterwards all sums and all samples are there, each once, as a
 * recount of the journal has them. */
#include "tests/unit/agent/recorder.h"

static struct server server;
static struct writer writer;

/* A server, and a writer on it that is level. */
static void begin(void)
{
    server_start(&server);
    writer_open(&writer, "agent-1", url_of(&server));
    write_samples(&writer, 40);
    assert_level(&server, &writer);
}

static void sums_samples_examples_and_verdict_arrive(void **state)
{
    (void)state;
    begin();
    assert_int_equal(sum(&server, "agent-1", "run"), 1);
    assert_int_equal(sum(&server, "agent-1", "id"), 77);
    assert_int_equal(sum(&server, "agent-1", "e|cart GET /items"), 32);
    shadow_drops_add(&writer.o.drops, "in-flight", 5);
    recorder_verdict(writer.s, "fail", "body.price", 40);
    write_samples(&writer, 1);
    assert_level(&server, &writer);
    assert_int_equal(sum(&server, "agent-1", "d|in-flight"), 5);
    redisReply *r = ask(&server, "HMGET offshoot:{" NAME "}:verdict verdict why samples agent");
    assert_string_equal(r->element[0]->str, "fail");
    assert_string_equal(r->element[1]->str, "body.price");
    assert_string_equal(r->element[2]->str, "40");
    assert_string_equal(r->element[3]->str, "agent-1");
    freeReplyObject(r);
    r = ask(&server, "LINDEX offshoot:{" NAME "}:examples 0");
    assert_non_null(strstr(r->str, "\"sample\":39,"));
    assert_non_null(strstr(r->str, "\"path\":\"body.price\""));
    assert_non_null(strstr(r->str, "\"candidate_text\":\"2\""));
    freeReplyObject(r);
}

static void lists_stay_short(void **state)
{
    (void)state;
    recorder_options.stream_max = 20;
    recorder_options.examples_max = 7;
    server_start(&server);
    writer_open(&writer, "agent-1", url_of(&server));
    write_samples(&writer, 3000);
    struct recorder_status st;
    do {
        event_base_loop(base, EVLOOP_ONCE);
        recorder_status(writer.r, &st);
    } while (st.behind || sum(&server, "agent-1", "sent") != 2999 - 2);
    assert_int_equal(number(&server, "LLEN offshoot:{" NAME "}:examples"), 7);
    assert_in_range(number(&server, "XLEN offshoot:{" NAME "}:samples"), 20, 200);
}

static void a_server_that_is_absent_at_start_gets_everything_later(void **state)
{
    (void)state;
    server.port = free_port();
    writer_open(&writer, "agent-1", url_of(&server));
    write_samples(&writer, 100);
    struct recorder_status st = assert_state(&writer, "down");
    assert_int_equal(st.behind, 25);
    assert_non_null(strstr(st.why, "refused"));
    snprintf(server.port_text, sizeof(server.port_text), "%u", server.port);
    snprintf(server.folder, sizeof(server.folder), "%s/redis", dir);
    assert_int_equal(mkdir(server.folder, 0700), 0);
    server_run(&server);
    assert_level(&server, &writer);
}

static void killed_and_back_without_its_data(void **state)
{
    (void)state;
    begin();
    server_kill(&server);
    write_samples(&writer, 30);
    (void)assert_state(&writer, "down");
    server_run(&server);
    assert_level(&server, &writer);
}

static bool not_back(void *arg)
{
    struct recorder_status st;
    recorder_status(writer.r, &st);
    return st.reconnects < *(uint64_t *)arg;
}

static void killed_and_back_with_its_data(void **state)
{
    (void)state;
    server.more[0] = "--appendonly";
    server.more[1] = "yes";
    server.more[2] = "--appendfsync";
    server.more[3] = "no";
    begin();
    for (unsigned i = 0; i < 5; i++) { /* also with commands on their way */
        write_samples(&writer, 60);
        for (unsigned k = 0; k < i; k++)
            event_base_loop(base, EVLOOP_ONCE);
        server_kill(&server);
        write_samples(&writer, 10);
        server_run(&server);
        assert_true(run_while(not_back, &(uint64_t){i + 1}));
    }
    assert_level(&server, &writer);
}

static void flushed_while_it_is_up(void **state)
{
    (void)state;
    begin();
    tell(&server, "FLUSHALL"); /* and no sample comes any more */
    assert_true(sum(&server, "agent-1", "samples") == -1);
    tell(&server, "FLUSHALL");
    write_samples(&writer, 1);
    write_samples(&writer, 3);
    assert_level(&server, &writer);
}

static void flushed_without_another_sample_everything_comes_back(void **state)
{
    (void)state;
    begin();
    recorder_verdict(writer.s, "pass", "", 40);
    write_samples(&writer, 1);
    assert_level(&server, &writer);
    tell(&server, "FLUSHALL");
    struct recorder_status st;
    uint64_t until = clock_mono_ms() + WAIT_MS;
    while (!same_sums(&server, &writer) && clock_mono_ms() < until)
        event_base_loop(base, EVLOOP_ONCE);
    assert_true(same_sums(&server, &writer));
    recorder_status(writer.r, &st);
    assert_string_equal(st.state, "up");
    assert_level(&server, &writer); /* and the samples */
}

static void a_full_server_is_told_and_catches_up(void **state)
{
    (void)state;
    begin();
    tell(&server, "CONFIG SET maxmemory 1");
    write_samples(&writer, 50);
    struct recorder_status st = assert_state(&writer, "full");
    assert_non_null(strstr(st.why, "OOM"));
    assert_true(st.behind > 0);
    tell(&server, "CONFIG SET maxmemory 0");
    assert_level(&server, &writer);
}

static void a_read_only_replica_is_told_and_catches_up(void **state)
{
    (void)state;
    begin();
    tell(&server, "REPLICAOF 127.0.0.1 1");
    write_samples(&writer, 50);
    (void)assert_state(&writer, "read-only");
    tell(&server, "REPLICAOF NO ONE");
    assert_level(&server, &writer);
}

static void a_wrong_password_is_told_and_read_anew(void **state)
{
    (void)state;
    static char file[100];
    server_start(&server);
    tell(&server, "ACL SETUSER shadow on >right ~offshoot:* +@all");
    tell(&server, "ACL SETUSER default resetpass >hidden");
    tell(&server, "AUTH hidden");
    snprintf(file, sizeof(file), "%s/password", dir);
    write_text("password", "wrong-one\n");
    recorder_options.user = "shadow";
    recorder_options.password_file = file;
    writer_open(&writer, "agent-1", url_of(&server));
    write_samples(&writer, 20);
    struct recorder_status st = assert_state(&writer, "refused");
    assert_non_null(strstr(st.why, "WRONGPASS"));
    assert_null(strstr(st.why, "wrong-one"));
    assert_int_equal(chmod(file, 0644), 0);
    write_text("password", "right\n");
    do
        event_base_loop(base, EVLOOP_ONCE);
    while ((recorder_status(writer.r, &st), !strstr(st.why, "mode 644")));
    assert_int_equal(chmod(file, 0600), 0);
    assert_level(&server, &writer);
    assert_true(number(&server, "ACL DELUSER shadow") == 1); /* which ends the connection */
    (void)assert_state(&writer, "refused");
    tell(&server, "ACL SETUSER shadow on >right ~offshoot:* +@all");
    write_samples(&writer, 20);
    assert_level(&server, &writer);
}

static void without_a_password_the_refusal_is_told(void **state)
{
    (void)state;
    server_start(&server);
    tell(&server, "CONFIG SET requirepass hidden");
    writer_open(&writer, "agent-1", url_of(&server));
    struct recorder_status st = assert_state(&writer, "refused");
    assert_non_null(strstr(st.why, "NOAUTH"));
}

static void a_key_of_another_type_stops_its_own_writes_only(void **state)
{
    (void)state;
    begin();
    tell(&server, "DEL offshoot:{" NAME "}:samples");
    tell(&server, "SET offshoot:{" NAME "}:samples text");
    write_samples(&writer, 50);
    struct recorder_status st = assert_state(&writer, "wrong-type");
    assert_non_null(strstr(st.why, ":samples"));
    uint64_t until = clock_mono_ms() + WAIT_MS;
    while (!same_sums(&server, &writer) && clock_mono_ms() < until)
        event_base_loop(base, EVLOOP_ONCE);
    assert_true(same_sums(&server, &writer));
    assert_int_equal(sum(&server, "agent-1", "sent"), 39);
    tell(&server, "DEL offshoot:{" NAME "}:samples");
    tell(&server, "HDEL offshoot:{" NAME "}:sums agent-1|sent"); /* from the first one again */
    assert_level(&server, &writer);
    /* The examples are of no weight for the rest. */
    tell(&server, "SET offshoot:{" NAME "}:examples text");
    write_samples(&writer, 3);
    st = assert_state(&writer, "wrong-type");
    assert_non_null(strstr(st.why, ":examples"));
    assert_true(same_stream(&server, &writer));
    tell(&server, "DEL offshoot:{" NAME "}:examples"); /* and no sample comes */
    assert_level(&server, &writer);
}

static void sums_of_another_type_are_told_and_come_back(void **state)
{
    (void)state;
    begin();
    tell(&server, "DEL offshoot:{" NAME "}:sums");
    tell(&server, "DEL offshoot:{" NAME "}:samples");
    tell(&server, "SET offshoot:{" NAME "}:sums text");
    write_samples(&writer, 20);
    struct recorder_status st = assert_state(&writer, "wrong-type");
    assert_non_null(strstr(st.why, ":sums"));
    assert_int_equal(number(&server, "EXISTS offshoot:{" NAME "}:samples"), 0);
    tell(&server, "DEL offshoot:{" NAME "}:sums");
    assert_level(&server, &writer);
}

static void a_server_that_hangs_longer_than_the_deadline(void **state)
{
    (void)state;
    recorder_options.command_ms = 100;
    recorder_options.connect_ms = 200;
    begin();
    kill(server.pid, SIGSTOP);
    write_samples(&writer, 50);
    struct recorder_status st;
    do {
        event_base_loop(base, EVLOOP_ONCE);
        recorder_status(writer.r, &st);
    } while (st.timeouts < 3); /* also while it is being introduced */
    write_samples(&writer, 50);
    kill(server.pid, SIGCONT);
    assert_level(&server, &writer);
}

static void a_new_run_replaces_what_was_there(void **state)
{
    (void)state;
    begin();
    recorder_forget(writer.s);
    begin_session(&writer.o, 2);
    writer.s =
        recorder_session(writer.r, NAME, writer.o.tally, &writer.o.drops, on_others_came, &writer);
    recorder_run(writer.s, 2, (const unsigned char[32]){9});
    uint64_t until = clock_mono_ms() + WAIT_MS;
    while (sum(&server, "agent-1", "run") != 2 || sum(&server, "agent-1", "samples") != 0) {
        event_base_loop(base, EVLOOP_ONCE);
        assert_true(clock_mono_ms() < until);
    }
    assert_int_equal(sum(&server, "agent-1", "e|cart GET /items"), -1);
    assert_int_equal(sum(&server, "agent-1", "sent"), 39);
    assert_true(same_stream(&server, &writer)); /* numbers go on */
}

static void an_agent_that_restarts_sends_only_what_is_missing(void **state)
{
    (void)state;
    begin();
    writer_close(&writer);
    writer_open(&writer, "agent-1", url_of(&server));
    write_samples(&writer, 10);
    assert_level(&server, &writer);
}

static void write_one(uint64_t n)
{
    struct err e = {0};
    if (whole_sample(&writer.o, n, &e))
        fail_msg("%s", e.text);
    recorder_sample(writer.s, n);
}

static void wait_for_stream(long long length, long long sent)
{
    uint64_t until = clock_mono_ms() + WAIT_MS;
    while (number(&server, "XLEN offshoot:{" NAME "}:samples") != length ||
           sum(&server, "agent-1", "sent") != sent) {
        event_base_loop(base, EVLOOP_ONCE);
        assert_true(clock_mono_ms() < until);
    }
}

static void a_sample_that_took_longer_than_later_ones_is_not_left_out(void **state)
{
    (void)state;
    begin();
    long long before = number(&server, "XLEN offshoot:{" NAME "}:samples");
    write_one(45);
    wait_for_stream(before + 1, 45);
    write_one(42);
    wait_for_stream(before + 2, 42);
    writer_close(&writer); /* also not by one who begins anew, and not twice */
    writer_open(&writer, "agent-1", url_of(&server));
    write_one(51);
    wait_for_stream(before + 3, 51);
    tell(&server, "FLUSHALL");
    wait_for_stream(before + 3, 51);
}

struct both {
    struct writer *a, *b;
    uint64_t want;
};

static bool not_joined(void *arg)
{
    struct both *x = arg;
    struct tally_verdict va, vb;
    tally_verdict(x->a->o.tally, &va);
    tally_verdict(x->b->o.tally, &vb);
    return va.samples != x->want || vb.samples != x->want;
}

static void two_agents_add_up_and_one_that_is_gone_still_counts(void **state)
{
    (void)state;
    struct writer second;
    begin();
    writer_open(&second, "agent-2", url_of(&server));
    write_samples(&second, 30);
    write_samples(&writer, 10);
    struct both x = {&writer, &second, 80};
    assert_true(run_while(not_joined, &x));
    assert_level(&server, &writer);
    assert_level(&server, &second);
    assert_true(writer.others > 0 && second.others > 0);
    struct tally_verdict v;
    writer_close(&second);
    for (unsigned i = 0; i < 100; i++)
        event_base_loop(base, EVLOOP_ONCE);
    tally_verdict(writer.o.tally, &v);
    assert_int_equal(v.samples, 80);
    assert_int_equal(tally_samples(writer.o.tally), 50);
}

static bool second_is_added(void *arg)
{
    struct tally_verdict v;
    (void)arg;
    tally_verdict(writer.o.tally, &v);
    return v.samples == tally_samples(writer.o.tally) + 30;
}

static bool second_is_not_told(void *arg)
{
    struct recorder_status st;
    (void)arg;
    recorder_status(writer.r, &st);
    return second_is_added(NULL) || !strstr(st.why, "agent 'agent-2' compares something else");
}

static bool second_is_not_added(void *arg)
{
    return !second_is_added(arg);
}

static void sums_of_an_agent_that_compares_something_else_are_not_added(void **state)
{
    (void)state;
    struct writer second;
    struct recorder_status st;
    begin();
    writer_open(&second, "agent-2", url_of(&server));
    write_samples(&second, 30);
    assert_true(run_while(second_is_not_added, NULL));
    recorder_run(second.s, 2, (const unsigned char[32]){9});
    assert_true(run_while(second_is_not_told, NULL));
    recorder_status(writer.r, &st);
    assert_string_equal(st.state, "up");
    recorder_run(writer.s, 2, (const unsigned char[32]){9});
    assert_true(run_while(second_is_not_added, NULL));
    assert_level(&server, &writer);
    assert_level(&server, &second);
    recorder_status(writer.r, &st);
    assert_string_equal(st.why, "");
    writer_close(&second);
}

static void a_unix_socket_and_a_database_of_its_own(void **state)
{
    (void)state;
    static char path[120], url[140];
    snprintf(path, sizeof(path), "%s/redis.sock", dir);
    snprintf(url, sizeof(url), "unix:%s", path);
    server.more[0] = "--unixsocket";
    server.more[1] = path;
    server_start(&server);
    writer_open(&writer, "agent-1", url);
    write_samples(&writer, 20);
    assert_level(&server, &writer);
    writer_close(&writer);
    snprintf(url, sizeof(url), "redis://localhost:%u/5", server.port);
    writer_open(&writer, "agent-1", url);
    tell(&server, "SELECT 5");
    assert_level(&server, &writer);
}

/* Says the same to whoever comes, again and again. */
static int chatter_fd;
static const char *chatter;

static void on_visitor(evutil_socket_t fd, short what, void *arg)
{
    int *visitors = arg;
    (void)what;
    int c = accept(fd, NULL, NULL);
    if (c < 0)
        return;
    ssize_t n = send(c, chatter, strlen(chatter), MSG_NOSIGNAL);
    assert_true(n > 0);
    close(c);
    ++*visitors;
}

static void a_server_that_talks_nonsense_or_breaks_off_is_only_tried_again(void **state)
{
    static const char *const says[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "+PONG\r\n*3\r\n$",
        "+PONG\r\n:1\r\n*-7\r\n", "$99999999999\r\n", "+PONG\r\n*2\r\n:5\r\n:5\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int visitors = 0;
    (void)state;
    recorder_options.command_ms = 100;
    chatter_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(chatter_fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(chatter_fd, (struct sockaddr *)&a, &n), 0);
    assert_int_equal(listen(chatter_fd, 8), 0);
    server.port = ntohs(a.sin_port);
    chatter = says[0];
    struct event *ev = event_new(base, chatter_fd, EV_READ | EV_PERSIST, on_visitor, &visitors);
    event_add(ev, NULL);
    writer_open(&writer, "agent-1", url_of(&server));
    write_samples(&writer, 30);
    for (size_t i = 0; i < sizeof(says) / sizeof(*says); i++) {
        int seen = visitors;
        chatter = says[i];
        while (visitors == seen)
            event_base_loop(base, EVLOOP_ONCE);
    }
    struct recorder_status st;
    recorder_status(writer.r, &st);
    assert_string_not_equal(st.why, "");
    event_free(ev);
    close(chatter_fd);
}

static void bad_options_are_refused(void **state)
{
    struct err e = {0};
    struct recorder_options o = {
        .base = base, .journal_dir = dir, .agent = "a b", .url = "unix:/x"};
    (void)state;
    assert_null(recorder_new(&o, &e));
    assert_non_null(strstr(e.text, "'a b'"));
    o.agent = "a";
    o.url = "http://x";
    assert_null(recorder_new(&o, &e));
    assert_int_equal(e.code, -EINVAL);
}

static int set_up(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    journal_options = (struct journal_options){.messages = true};
    recorder_options = (struct recorder_options){0};
    server = (struct server){0};
    writer = (struct writer){0};
    base = event_base_new();
    return make_dir(state);
}

static int tear_down(void **state)
{
    if (writer.r)
        writer_close(&writer);
    if (server.pid > 0)
        kill(server.pid, SIGCONT);
    server_kill(&server);
    event_base_free(base);
    return remove_dir(state);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(sums_samples_examples_and_verdict_arrive),
        TEST(lists_stay_short), TEST(a_server_that_is_absent_at_start_gets_everything_later),
        TEST(killed_and_back_without_its_data), TEST(killed_and_back_with_its_data),
        TEST(flushed_while_it_is_up), TEST(flushed_without_another_sample_everything_comes_back),
        TEST(a_full_server_is_told_and_catches_up),
        TEST(a_read_only_replica_is_told_and_catches_up),
        TEST(a_wrong_password_is_told_and_read_anew), TEST(without_a_password_the_refusal_is_told),
        TEST(a_key_of_another_type_stops_its_own_writes_only),
        TEST(sums_of_another_type_are_told_and_come_back),
        TEST(a_server_that_hangs_longer_than_the_deadline), TEST(a_new_run_replaces_what_was_there),
        TEST(an_agent_that_restarts_sends_only_what_is_missing),
        TEST(a_sample_that_took_longer_than_later_ones_is_not_left_out),
        TEST(two_agents_add_up_and_one_that_is_gone_still_counts),
        TEST(sums_of_an_agent_that_compares_something_else_are_not_added),
        TEST(a_unix_socket_and_a_database_of_its_own),
        TEST(a_server_that_talks_nonsense_or_breaks_off_is_only_tried_again),
        TEST(bad_options_are_refused)};
    return unit_run(tests);
}
