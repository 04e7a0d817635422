/* Listings: each state of a request by its name, walks in slices while connections come and go; and
 * the histograms of stages. */
#include "proxy/client.h"
#include "proxy/live.h"
#include "tests/loop/loop.h"
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop l;
static struct event_base *elsewhere; /* of the control thread; never dispatched */
static struct mailbox control;
static struct live_part part;
static struct live_question question;

static void back(struct message *m, void *owner)
{
    (void)m;
    (void)owner;
}

static void begin(const char *graph)
{
    struct err e = {0};
    loop_start(&l, graph, NULL);
    elsewhere = event_base_new();
    assert_int_equal(mailbox_init(&control, elsewhere, NULL, &e), 0);
    l.shared.control = &control;
}

/* What the worker posted: ours is noticed, others' (questions for names) are freed. */
static bool came_back(void)
{
    bool ours = false;
    while (!list_empty(&control.queue)) {
        struct message *m = list_entry(control.queue.next, struct message, link);
        list_remove(&m->link);
        ours |= m->run == back;
        if (m->run != back)
            mem_free(list_entry(m, struct name_question, message));
    }
    return ours;
}

static void end(void)
{
    came_back();
    l.shared.control = NULL;
    loop_stop(&l);
    mailbox_close(&control);
    mailbox_release(&control);
    event_base_free(elsewhere);
}

static void start_walk(enum live_what what, uint32_t limit)
{
    question.what = (uint8_t)what;
    question.limit = limit;
    question.sides = question.sides ? question.sides : 3;
    part = (struct live_part){.question = &question, .back = back, .w = &l.w, .size = limit};
    part.message.run = live_part_run;
    list_init(&part.link);
    part.row = mem_array(limit + 1, sizeof *part.row);
    part.order = mem_array(limit + 1, sizeof *part.order);
    live_part_run(&part.message, &l.w);
}

static void listing(enum live_what what, uint32_t limit)
{
    start_walk(what, limit);
    for (int turns = 0; !came_back(); turns++) {
        assert_true(turns < 1000);
        worker_turn(&l.w, false);
    }
}

static void forget(void)
{
    mem_free(part.row);
    mem_free(part.order);
    part.row = NULL;
    question = (struct live_question){0};
}

/* The only request there is. */
static const struct live_row *only_request(void)
{
    listing(LIVE_REQUESTS, 10);
    if (part.n != 1 || part.total != 1)
        fail_msg("%u rows of %llu", part.n, (unsigned long long)part.total);
    return &part.row[0];
}

static void expect(const char *state, uint64_t state_ms)
{
    const struct live_row *r = only_request();
    assert_string_equal(r->state, state);
    assert_int_equal(r->state_us, state_ms * 1000);
    forget();
}

/* ---- states ---- */

static const char named[] =
    LOOP_SERVICE("cart", "") LOOP_CART("\"cart.test:9001\"") LOOP_GATEWAY("");

static void a_request_is_shown_in_each_state_that_it_can_wait_in(void **state)
{
    (void)state;
    begin(NULL);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET /cart/7?secret=1 HTTP/1.1\r\nHost: a");
    loop_advance(&l, 30);
    expect("head", 30);
    l.connect_pending = true;
    loop_send(&l, c, "\r\nauthorization: secret\r\n\r\n");
    loop_advance(&l, 40);
    expect("connect", 40);
    char junk[65536]; /* our end takes what fills it: the connect is done */
    while (recv(l.provider[0], junk, sizeof junk, MSG_DONTWAIT) > 0)
        ;
    loop_turns(&l);
    loop_recv(&l, l.provider[0]);
    loop_advance(&l, 50);
    expect("reply", 50);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc");
    loop_recv(&l, c);
    loop_advance(&l, 60);
    const struct live_row *r = only_request();
    assert_string_equal(r->state, "relay");
    assert_int_equal(r->state_us, 60000);
    assert_int_equal(r->age_us, 180000);
    assert_int_equal(r->bytes_out, 3);
    assert_string_equal(r->method, "GET");
    assert_string_equal(r->path, "/cart/7");
    assert_string_equal(r->host, "a");
    assert_string_equal(r->environment, "main");
    assert_string_equal(r->service, "cart");
    assert_string_equal(r->provider, "main");
    assert_string_equal(r->cls, "local");
    assert_string_equal(r->protocol, "http1");
    assert_string_equal(r->address, "192.0.2.7:4711");
    assert_true(r->trusted);
    forget();
    loop_send(&l, l.provider[0], "de");
    listing(LIVE_REQUESTS, 10);
    assert_int_equal(part.total, 0);
    forget();
    close(c);
    end();
}

static void a_request_that_waits_for_a_name_is_shown(void **state)
{
    (void)state;
    begin(named);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    came_back();
    loop_advance(&l, 20);
    expect("name", 20);
    close(c);
    end();
}

static void a_reply_of_our_own_that_nobody_takes_is_shown(void **state)
{
    (void)state;
    begin(NULL);
    int c = loop_client(&l, l.trusted), size = 1;
    struct client *client = list_entry(l.w.clients.next, struct client, link);
    setsockopt(client->conn.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    for (int i = 0; i < 100; i++)
        loop_send(&l, c, "GET / HTTP/1.1\r\nHost: a\r\nbaggage: offshoot=v1m.gone.0.00\r\n\r\n");
    loop_advance(&l, 70);
    expect("own", 70);
    loop_recv(&l, c);
    close(c);
    end();
}

/* Run from the root of the project. */
static void the_page_explains_every_state(void **state)
{
    (void)state;
    static char page[1 << 16];
    FILE *f = fopen("docs/observability.md", "r");
    assert_non_null(f);
    page[fread(page, 1, sizeof page - 1, f)] = '\0';
    fclose(f);
    char *from = strstr(page, "\n### States\n"), *end = from ? strstr(from, "\n### As JSON") : NULL;
    assert_non_null(end);
    *end = '\0';
    for (unsigned i = 0; i < STEP_COUNT; i++) {
        char word[32];
        snprintf(word, sizeof word, "`%s`", step_word(i));
        if (!strstr(from, word))
            fail_msg("no %s in docs/observability.md", word);
    }
}

/* ---- connections ---- */

static void connections_of_both_sides_are_shown(void **state)
{
    (void)state;
    begin(NULL);
    int c = loop_client(&l, l.edge);
    loop_advance(&l, 10);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    loop_advance(&l, 20);
    listing(LIVE_CONNECTIONS, 10);
    assert_int_equal(part.total, 2);
    const struct live_row *client = &part.row[part.row[0].side == LIVE_CLIENT ? 0 : 1],
                          *provider = &part.row[part.row[0].side == LIVE_CLIENT ? 1 : 0];
    assert_string_equal(client->state, "reply");
    assert_int_equal(client->age_us, 30000);
    assert_int_equal(client->requests, 1);
    assert_int_equal(client->bytes_in, 27);
    assert_false(client->trusted);
    assert_string_equal(client->listener, "127.0.0.1:80");
    assert_int_equal(provider->side, LIVE_PROVIDER);
    assert_string_equal(provider->address, "127.0.0.1:9001");
    assert_string_equal(provider->state, "reply");
    assert_int_equal(provider->age_us, 20000);
    assert_true(provider->bytes_out > 27);
    forget();
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    loop_recv(&l, c);
    loop_advance(&l, 5);
    listing(LIVE_CONNECTIONS, 10);
    assert_int_equal(part.total, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_string_equal(part.row[i].state, "idle");
        assert_int_equal(part.row[i].state_us, 5000);
        assert_int_equal(part.row[i].requests, 1);
    }
    forget();
    question.sides = 1u << LIVE_PROVIDER;
    listing(LIVE_CONNECTIONS, 10);
    assert_int_equal(part.total, 1);
    forget();
    close(c);
    end();
}

#define MANY (3 * LIVE_ROWS)

static void a_walk_goes_in_slices_while_connections_come_and_go(void **state)
{
    (void)state;
    int fd[MANY + 1];
    begin(NULL);
    for (unsigned i = 0; i < MANY; i++) {
        l.peer.port = (uint16_t)(1000 + i);
        fd[i] = loop_client(&l, l.edge);
    }
    start_walk(LIVE_CONNECTIONS, MANY + 10);
    assert_int_equal(part.n, LIVE_ROWS); /* no more in the first turn */
    assert_false(came_back());
    /* the next one goes, and one that was seen; one comes */
    client_close(list_entry(l.w.live.next, struct client, link), CLIENT_CLOSE_CLIENT, false);
    client_close(list_entry(l.w.clients.next, struct client, link), CLIENT_CLOSE_CLIENT, false);
    l.peer.port = 5000;
    fd[MANY] = loop_client(&l, l.edge);
    for (int turns = 0; !came_back(); turns++) {
        assert_true(turns < 100);
        worker_turn(&l.w, false);
    }
    bool seen[MANY] = {0}, late = false;
    for (unsigned i = 0; i < part.n; i++) {
        unsigned port = (unsigned)strtoul(strchr(part.row[i].address, ':') + 1, NULL, 10);
        late |= port == 5000;
        if (port == 5000)
            continue;
        assert_false(seen[port - 1000]); /* nobody twice */
        seen[port - 1000] = true;
    }
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(seen[i], i != LIVE_ROWS);
    assert_true(late);
    forget();
    for (unsigned i = 0; i <= MANY; i++)
        close(fd[i]);
    end();
}

static void two_walks_take_turns(void **state)
{
    (void)state;
    int fd[MANY];
    begin(NULL);
    for (unsigned i = 0; i < MANY; i++)
        fd[i] = loop_client(&l, l.edge);
    start_walk(LIVE_CONNECTIONS, MANY);
    struct live_part second = part;
    list_init(&second.link);
    second.message.run = live_part_run;
    second.row = mem_array(MANY, sizeof *second.row);
    second.order = mem_array(MANY, sizeof *second.order);
    second.n = 0;
    second.total = 0;
    live_part_run(&second.message, &l.w);
    for (int turns = 0; part.total < MANY || second.total < MANY; turns++) {
        assert_true(turns < 100);
        worker_turn(&l.w, false);
    }
    loop_turns(&l);
    assert_int_equal(part.n, MANY);
    assert_int_equal(second.n, MANY);
    assert_true(list_empty(&l.w.live.queue));
    came_back();
    mem_free(second.row);
    mem_free(second.order);
    forget();
    for (unsigned i = 0; i < MANY; i++)
        close(fd[i]);
    end();
}

static void of_too_many_the_oldest_are_kept_and_all_are_counted(void **state)
{
    (void)state;
    int fd[20];
    begin(NULL);
    for (unsigned i = 0; i < 20; i++) {
        unsigned odd = i * 7 % 20; /* begun in another order than accepted */
        fd[odd] = loop_client(&l, l.trusted);
        loop_send(&l, fd[odd], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        loop_advance(&l, 1);
    }
    question.older_us = 5000; /* the five youngest are not asked for */
    listing(LIVE_REQUESTS, 4);
    assert_int_equal(part.total, 16);
    assert_int_equal(part.n, 4);
    uint64_t sum = 0;
    for (unsigned i = 0; i < 4; i++)
        sum += part.row[i].age_us;
    assert_int_equal(sum, 20000 + 19000 + 18000 + 17000);
    forget();
    for (unsigned i = 0; i < 20; i++)
        close(fd[i]);
    end();
}

static void what_is_asked_for_is_shown_and_nothing_else(void **state)
{
    (void)state;
    begin(NULL);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    static const struct {
        const char *env, *service, *state;
        unsigned found;
    } cases[] = {{"main", "", "", 1}, {"mai", "", "", 0}, {"", "cart", "", 1}, {"", "cart2", "", 0},
        {"", "", "reply", 1}, {"", "", "relay", 0}, {"main", "cart", "reply", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(question.environment, sizeof question.environment, "%s", cases[i].env);
        snprintf(question.service, sizeof question.service, "%s", cases[i].service);
        snprintf(question.state, sizeof question.state, "%s", cases[i].state);
        listing(LIVE_REQUESTS, 4);
        assert_int_equal(part.total, cases[i].found);
        forget();
    }
    close(c);
    end();
}

/* ---- histograms ---- */

static uint64_t bucket(unsigned first, uint64_t us)
{
    return counter_get(&l.w.stats[first + histogram_bucket(us)]);
}

static void stages_are_counted_where_they_belong(void **state)
{
    (void)state;
    begin(NULL);
    int c = loop_client(&l, l.trusted);
    loop_advance(&l, 5);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: a");
    loop_advance(&l, 10);
    loop_send(&l, c, "\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    loop_advance(&l, 100);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n");
    loop_advance(&l, 1000);
    loop_send(&l, l.provider[0], "x");
    const unsigned stage = STAT_STAGE_SECONDS, cells = HISTOGRAM_CELLS;
    assert_int_equal(bucket(stage + STAGE_ACCEPT * cells, 5000), 1);
    assert_int_equal(bucket(stage + STAGE_HEAD * cells, 10000), 1);
    assert_int_equal(bucket(stage + STAGE_CONNECT * cells, 0), 1);
    assert_int_equal(bucket(stage + STAGE_FIRST_BYTE * cells, 100000), 1);
    assert_int_equal(bucket(STAT_REQUEST_SECONDS + 2 * cells, 1110000), 1);
    assert_int_equal(loop_count(&l, STAT_REQUEST_SECONDS + 2 * cells + HISTOGRAM_SUM), 1110000);
    assert_int_equal(loop_count(&l, STAT_PROTOCOL_REQUESTS + 1), 1); /* HTTP/1, trusted */
    /* the second request of the connection tells nothing of the accept */
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: a\r\nbaggage: offshoot=v1m.gone.0.00\r\n\r\n");
    assert_int_equal(bucket(STAT_REQUEST_SECONDS + 4 * cells, 0), 1);
    assert_int_equal(bucket(stage + STAGE_ACCEPT * cells, 0), 0);
    assert_int_equal(bucket(stage + STAGE_CONNECT * cells, 0), 1);
    /* one that the client gives up has no status */
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    loop_close(&l, &c);
    assert_int_equal(bucket(STAT_REQUEST_SECONDS, 0), 1);
    end();
}

static void histograms_can_be_switched_off(void **state)
{
    const char *sets[] = {"histograms", "false", NULL};
    (void)state;
    loop_start(&l, NULL, sets);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: a\r\nbaggage: offshoot=v1m.gone.0.00\r\n\r\n");
    for (unsigned i = STAT_REQUEST_SECONDS; i < STAT_CONTEXT_FOREIGN; i++)
        assert_int_equal(loop_count(&l, i), 0);
    close(c);
    loop_stop(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_shown_in_each_state_that_it_can_wait_in),
        cmocka_unit_test(a_request_that_waits_for_a_name_is_shown),
        cmocka_unit_test(a_reply_of_our_own_that_nobody_takes_is_shown),
        cmocka_unit_test(the_page_explains_every_state),
        cmocka_unit_test(connections_of_both_sides_are_shown),
        cmocka_unit_test(a_walk_goes_in_slices_while_connections_come_and_go),
        cmocka_unit_test(two_walks_take_turns),
        cmocka_unit_test(of_too_many_the_oldest_are_kept_and_all_are_counted),
        cmocka_unit_test(what_is_asked_for_is_shown_and_nothing_else),
        cmocka_unit_test(stages_are_counted_where_they_belong),
        cmocka_unit_test(histograms_can_be_switched_off),
    };
    return unit_run(tests);
}
