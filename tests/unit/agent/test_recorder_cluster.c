/* The recorder and a cluster of three real nodes: the slot is found, and followed while it moves.
 */
#include "tests/unit/agent/recorder.h"

#define NODES 3
#define SLOTS 16384

static struct server node[NODES];
static struct writer writer;

static void start_node(struct server *s)
{
    static const char *const more[] = {"--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
        "--cluster-require-full-coverage", "no", NULL};
    memcpy(s->more, more, sizeof(more));
    do /* its bus has that port and 10,000 */
        s->port = free_port();
    while (s->port > 55000);
    server_run_in_new_folder(s);
}

static bool all_slots_known(struct server *s)
{
    redisReply *r = ask(s, "CLUSTER INFO");
    bool ok = strstr(r->str, "cluster_state:ok") && strstr(r->str, "cluster_slots_ok:16384") &&
              strstr(r->str, "cluster_known_nodes:3");
    freeReplyObject(r);
    return ok;
}

static void make_cluster(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        unsigned from = i * SLOTS / NODES, to = (i + 1) * SLOTS / NODES - 1;
        start_node(&node[i]);
        freeReplyObject(ask(&node[i], "CLUSTER ADDSLOTSRANGE %u %u", from, to));
        freeReplyObject(ask(&node[i], "CLUSTER SET-CONFIG-EPOCH %u", i + 1));
    }
    for (unsigned i = 1; i < NODES; i++)
        freeReplyObject(ask(&node[0], "CLUSTER MEET 127.0.0.1 %u", node[i].port));
    uint64_t until = clock_mono_ms() + WAIT_MS;
    for (unsigned i = 0; i < NODES;) {
        if (all_slots_known(&node[i])) {
            i++;
            continue;
        }
        if (clock_mono_ms() > until)
            fail_msg("no cluster");
        usleep(20000);
    }
}

static unsigned slot(void)
{
    return (unsigned)number(&node[0], "CLUSTER KEYSLOT offshoot:{" NAME "}:sums");
}

static unsigned owner(void)
{
    unsigned i = 0;
    while ((i + 1) * SLOTS / NODES - 1 < slot())
        i++;
    return i;
}

static char *id_of(struct server *s)
{
    static char id[2][64];
    static unsigned which;
    char *to = id[which++ % 2];
    redisReply *r = ask(s, "CLUSTER MYID");
    snprintf(to, sizeof(id[0]), "%s", r->str);
    freeReplyObject(r);
    return to;
}

static void the_node_of_the_slot_is_found_from_any_other(void **state)
{
    (void)state;
    make_cluster();
    unsigned at = owner();
    writer_open(&writer, "agent-1", url_of(&node[(at + 1) % NODES]));
    write_samples(&writer, 50);
    assert_level(&node[at], &writer);
    struct recorder_status st;
    recorder_status(writer.r, &st);
    assert_true(st.redirects > 0);
    /* The one that we know it from may go. */
    server_kill(&node[(at + 1) % NODES]);
    write_samples(&writer, 50);
    assert_level(&node[at], &writer);
}

static void begin_move(struct server *from, struct server *to)
{
    unsigned n = slot();
    freeReplyObject(ask(to, "CLUSTER SETSLOT %u IMPORTING %s", n, id_of(from)));
    freeReplyObject(ask(from, "CLUSTER SETSLOT %u MIGRATING %s", n, id_of(to)));
}

static void move_key(struct server *from, struct server *to, const char *name)
{
    redisReply *r = ask(from, "MIGRATE 127.0.0.1 %u offshoot:{" NAME "}:%s 0 5000", to->port, name);
    if (r->type == REDIS_REPLY_ERROR)
        fail_msg("%s", r->str);
    freeReplyObject(r);
}

static void end_move(struct server *from, struct server *to)
{
    unsigned n = slot();
    char *id = id_of(to);
    struct server *in_order[] = {to, from};
    for (unsigned i = 0; i < 2; i++)
        freeReplyObject(ask(in_order[i], "CLUSTER SETSLOT %u NODE %s", n, id));
}

/* A sum at a node to which the slot is on its way. */
static long long asking_sum(struct server *s, const char *field)
{
    freeReplyObject(ask(s, "ASKING"));
    return sum(s, "agent-1", field);
}

static void wait_for_asked(struct server *s, const char *field, long long want)
{
    uint64_t until = clock_mono_ms() + WAIT_MS;
    while (asking_sum(s, field) != want) {
        event_base_loop(base, EVLOOP_ONCE);
        if (clock_mono_ms() > until)
            fail_msg("%s is %lld, not %lld", field, asking_sum(s, field), want);
    }
}

static void the_slot_is_followed_while_it_moves_and_afterwards(void **state)
{
    (void)state;
    make_cluster();
    unsigned at = owner();
    struct server *from = &node[at], *to = &node[(at + 1) % NODES];
    writer_open(&writer, "agent-1", url_of(from));
    write_samples(&writer, 50);
    assert_level(from, &writer);
    begin_move(from, to);
    move_key(from, to, "sums"); /* the others stay: scripts over all of them must wait */
    write_samples(&writer, 50);
    wait_for_asked(to, "samples", 100);
    (void)assert_state(&writer, "moving");
    move_key(from, to, "samples");
    move_key(from, to, "examples");
    wait_for_asked(to, "sent", 99);
    write_samples(&writer, 50);
    wait_for_asked(to, "sent", 150);
    end_move(from, to);
    write_samples(&writer, 50);
    assert_level(to, &writer);
    assert_int_equal(writer.s->node != 0, true);
    begin_move(to, from); /* and back, without a pause */
    write_samples(&writer, 10);
    move_key(to, from, "samples");
    move_key(to, from, "sums");
    write_samples(&writer, 10);
    move_key(to, from, "examples");
    end_move(to, from);
    write_samples(&writer, 10);
    assert_level(from, &writer);
}

static int set_up(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    journal_options = (struct journal_options){.messages = true};
    recorder_options = (struct recorder_options){0};
    memset(node, 0, sizeof(node));
    writer = (struct writer){0};
    base = event_base_new();
    return make_dir(state);
}

static int tear_down(void **state)
{
    if (writer.r)
        writer_close(&writer);
    for (unsigned i = 0; i < NODES; i++)
        server_kill(&node[i]);
    event_base_free(base);
    return remove_dir(state);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(the_node_of_the_slot_is_found_from_any_other),
        TEST(the_slot_is_followed_while_it_moves_and_afterwards)};
    return unit_run(tests);
}
