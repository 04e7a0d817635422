/* Whole exchanges, and the whole start of the proxy, with the nth allocation failing, for every n:
 * nothing crashes or stays behind, each client gets a whole reply or sees its connection end, and
 * what others do goes on. */
#include "lib/base/log.h"
#include "lib/graph/keyring.h"
#include "proxy/control.h"
#include "proxy/keys.h"
#include "tests/loop/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop l;

#define GET "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

/* ---- exchanges ---- */

struct exchange {
    const char *graph;       /* NULL: loop_graph, and somebody else has a request running */
    const char *head, *body; /* sent one after the other */
    const char *reply;       /* of the provider */
    bool access_log;         /* into /dev/null */
    bool stale;              /* the provider closes the used connection that the request gets */
};

static void answer(unsigned i, const char *reply)
{
    if (i < l.nproviders && *loop_recv(&l, l.provider[i]))
        loop_send(&l, l.provider[i], reply);
}

/* A client that is in the middle of something while memory fails for others. */
static int bystander(void)
{
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, GET);
    assert_int_equal(l.nproviders, 1);
    assert_non_null(strstr(loop_recv(&l, l.provider[0]), "GET / "));
    return c;
}

static void bystander_goes_on(int c)
{
    for (int i = 0; i < 2; i++) {
        loop_send(&l, l.provider[0], OK);
        assert_non_null(strstr(loop_recv(&l, c), "\r\n\r\nhi"));
        loop_send(&l, c, GET);
        assert_non_null(strstr(loop_recv(&l, l.provider[0]), "GET / "));
    }
}

/* A reply, or an end; nothing that only looks like a reply. */
static void assert_told_or_closed(int c)
{
    char got[4096];
    snprintf(got, sizeof got, "%s", loop_recv(&l, c));
    if (!*got) {
        assert_true(loop_closed(&l, c));
        return;
    }
    assert_memory_equal(got, "HTTP/1.1 ", 9);
    char *end = strstr(got, "\r\n\r\n");
    assert_non_null(end);
    assert_null(strstr(end, "HTTP/1.1 "));
    char *length = strstr(got, "\r\ncontent-length: ");
    if (length && length < end)
        assert_int_equal(strtoul(length + 18, NULL, 10), strlen(end + 4));
    else if (!strstr(end, "\r\n0\r\n\r\n")) /* cut short: it must not look whole */
        assert_true(loop_closed(&l, c));
}

/* True: the nth allocation was asked for. */
static bool exchange_with_failure(const struct exchange *x, unsigned long n)
{
    loop_start(&l, x->graph, NULL);
    l.w.bufs.keep = 0; /* each buffer is an allocation */
    if (x->access_log)
        accesslog_open(&l.w.log, open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_FORMAT_TEXT);
    int other = x->graph ? -1 : bystander();
    unsigned first = l.nproviders;
    int before = x->stale ? loop_client(&l, l.trusted) : -1;
    if (before >= 0) {
        loop_send(&l, before, GET);
        answer(first, OK);
        assert_non_null(strstr(loop_recv(&l, before), "\r\n\r\nhi"));
    }
    mem_fail_nth(n);
    int c = before >= 0 ? before : loop_client(&l, l.trusted);
    loop_send(&l, c, x->head);
    if (x->body)
        loop_send(&l, c, x->body);
    if (x->stale)
        loop_shutdown(&l, l.provider[first]);
    for (unsigned i = first; i < l.nproviders; i++)
        answer(i, x->reply);
    loop_turns(&l);
    bool asked = mem_count() >= n;
    mem_fail_nth(0);
    assert_told_or_closed(c);
    if (other >= 0) {
        bystander_goes_on(other);
        close(other);
    }
    close(c);
    loop_advance(&l, 2000);
    if (l.w.log.fd >= 0)
        close(l.w.log.fd);
    l.w.log.fd = -1;
    loop_stop(&l);
    return asked;
}

static void every_failure_of(const struct exchange *x)
{
    unsigned long n = 1;
    while (exchange_with_failure(x, n))
        n++;
    assert_true(n > 2); /* there was something to fail */
}

static void a_request_without_a_body(void **state)
{
    (void)state;
    every_failure_of(&(struct exchange){.head = GET, .reply = OK, .access_log = true});
}

static void a_request_with_a_body(void **state)
{
    (void)state;
    every_failure_of(&(struct exchange){
        .head = "PUT / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n",
        .body = "5\r\nhello\r\n0\r\n\r\n",
        .reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"});
}

static void a_request_on_a_stale_connection(void **state)
{
    (void)state;
    every_failure_of(
        &(struct exchange){.head = "PUT / HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\n",
            .body = "hello",
            .reply = OK,
            .stale = true});
}

static void a_refusal(void **state)
{
    (void)state;
    every_failure_of(&(struct exchange){.head = "GET / HTTP/1.1\r\nHost: shop\r\n"
                                                "Accept: application/json\r\n"
                                                "baggage: offshoot=v1m.nowhere.0.00\r\n\r\n",
        .reply = OK,
        .access_log = true});
}

static void a_request_that_is_not_http(void **state)
{
    (void)state;
    every_failure_of(&(struct exchange){.head = "GET / HTTP/9\r\n\r\n", .reply = OK});
}

static void an_explained_request(void **state)
{
    (void)state;
    every_failure_of(&(struct exchange){
        .head = "GET / HTTP/1.1\r\nHost: shop\r\nx-offshoot-explain: 1\r\n"
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
        .reply = OK});
}

static void a_provider_that_is_chosen_by_load(void **state)
{
    (void)state;
    static const char graph[] = LOOP_SERVICE("cart", "policy: {balance: least-request}")
        LOOP_CART("\"127.0.0.1:1\", \"127.0.0.1:2\"") LOOP_GATEWAY("");
    every_failure_of(&(struct exchange){.graph = graph, .head = GET, .reply = OK});
}

/* ---- names ---- */

static const char named[] =
    LOOP_SERVICE("cart", "") LOOP_CART("\"cart.test:9001\"") LOOP_GATEWAY("");

static void drop_answer(struct message *m)
{
    mem_free(list_entry(m, struct name_answer, message));
}

/* What the control thread would do with a question: here everything is at 127.0.0.1. */
static void answer_questions(struct mailbox *box)
{
    while (!list_empty(&box->queue)) {
        struct list *first = box->queue.next;
        list_remove(first);
        struct name_question *q =
            list_entry(list_entry(first, struct message, link), struct name_question, message);
        mem_fail_nth(0); /* the worker's failures are tested here */
        struct name_answer *a = mem_zalloc(sizeof *a + sizeof(struct addr));
        assert_non_null(a);
        a->message.run = name_answer_run;
        a->message.drop = drop_answer;
        a->ttl_s = 60;
        a->naddrs = 1;
        a->addrs[0] = (struct addr){.kind = ADDR_IP4, .ip = {127, 0, 0, 1}};
        a->len = q->len;
        memcpy(a->text, q->text, q->len);
        mailbox_post(&l.w.mailbox, &a->message);
        mem_free(q);
    }
}

static bool name_with_failure(unsigned long n)
{
    struct mailbox box;
    struct err e = {0};
    struct event_base *base = event_base_new();
    assert_non_null(base);
    assert_int_equal(mailbox_init(&box, base, NULL, &e), 0);
    loop_start(&l, named, NULL);
    l.shared.control = &box;
    mem_fail_nth(n);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, GET);
    unsigned long count = mem_count();
    bool asked = count >= n;
    answer_questions(&box);
    if (!asked) /* the rest of the failures, after the answer */
        mem_fail_nth(n - count);
    loop_turns(&l);
    for (unsigned i = 0; i < l.nproviders; i++)
        answer(i, OK);
    asked |= mem_count() >= n - count;
    mem_fail_nth(0);
    assert_told_or_closed(c);
    close(c);

    c = loop_client(&l, l.trusted); /* memory is back: the name works */
    loop_advance(&l, 2000);
    loop_send(&l, c, GET);
    answer_questions(&box);
    loop_turns(&l);
    answer(l.nproviders - 1, OK);
    assert_non_null(strstr(loop_recv(&l, c), "\r\n\r\nhi"));
    close(c);
    loop_stop(&l);
    mailbox_close(&box);
    mailbox_release(&box);
    event_base_free(base);
    return asked;
}

static void a_name_that_must_be_looked_up(void **state)
{
    (void)state;
    unsigned long n = 1;
    while (name_with_failure(n))
        n++;
    assert_true(n > 5);
}

/* ---- start and reload ---- */

struct started {
    struct settings set;
    struct conf *conf;
    char folder[64], graph[128], admin[128], keys[128];
};

static void put_graph(const struct started *s, const char *more)
{
    char next[160];
    snprintf(next, sizeof next, "%s.next", s->graph);
    FILE *f = fopen(next, "w");
    assert_non_null(f);
    fprintf(f, "%s%s", loop_graph, more);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(next, s->graph), 0);
}

#define KEY(kid) kid " AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"

static void put_keys(const struct started *s, const char *text)
{
    int fd = open(s->keys, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void prepare(struct started *s)
{
    struct err e = {0};
    memset(s, 0, sizeof *s);
    snprintf(s->folder, sizeof s->folder, "/tmp/offshoot-memory-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->graph, sizeof s->graph, "%s/graph.yaml", s->folder);
    snprintf(s->admin, sizeof s->admin, "%s/admin.sock", s->folder);
    snprintf(s->keys, sizeof s->keys, "%s/keys", s->folder);
    put_graph(s, "");
    put_keys(s, KEY("k1"));
    s->conf = conf_new(settings_keys, settings_keys_count, &s->set, &e);
    assert_non_null(s->conf);
    const char *const sets[][2] = {{"graph", s->graph}, {"listen", "127.0.0.1:0"},
        {"listen", "127.0.0.1:0,trusted"}, {"admin", s->admin}, {"metrics", "127.0.0.1:0"},
        {"workers", "2"}, {"dns.servers", "127.0.0.1:9"}, {"keys", s->keys}};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        if (conf_set(s->conf, sets[i][0], sets[i][1], &e) != 0)
            fail_msg("%s", e.text);
    assert_int_equal(settings_finish(&s->set, s->conf, &e), 0);
}

static void clean_up(struct started *s)
{
    settings_release(&s->set);
    conf_free(s->conf);
    assert_int_equal(unlink(s->graph), 0);
    assert_int_equal(unlink(s->keys), 0);
    assert_int_equal(rmdir(s->folder), 0); /* the admin socket is gone too */
}

static void a_start_fails_cleanly_or_serves(void **state)
{
    (void)state;
    static struct control c;
    struct started s;
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_to(quiet, false);
    prepare(&s);
    size_t before = mem_live();
    int rc = -1;
    for (unsigned long n = 1; rc != 0; n++) {
        struct err e = {0};
        mem_fail_nth(n);
        rc = control_init(&c, &s.set, s.conf, NULL, &e);
        bool asked = mem_count() >= n;
        mem_fail_nth(0);
        assert_true(asked || rc == 0);
        if (rc != 0)
            assert_true(e.text[0] != '\0'); /* whoever started us is told why */
        else
            control_drain(&c);
        if (rc == 0)
            control_run(&c);
        control_release(&c);
        assert_int_equal(mem_live(), before);
        if (rc == 0 && asked) /* it did without: go on */
            rc = -1;
    }
    clean_up(&s);
    log_to(STDERR_FILENO, false);
    close(quiet);
}

static void a_reload_fails_cleanly_or_is_published(void **state)
{
    (void)state;
    static struct control c;
    struct started s;
    struct err e = {0};
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_to(quiet, false);
    prepare(&s);
    size_t before = mem_live();
    if (control_init(&c, &s.set, s.conf, NULL, &e) != 0)
        fail_msg("%s", e.text);
    bool asked = true;
    for (unsigned long n = 1; asked; n++) {
        char more[128];
        snprintf(more, sizeof more,
            "---\napiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: o%lu}\n"
            "spec: {mode: overlay, parent: main}\n",
            n);
        put_graph(&s, more);
        uint64_t epoch = c.epoch;
        mem_fail_nth(n);
        int rc = control_reload(&c);
        asked = mem_count() >= n;
        mem_fail_nth(0);
        assert_true(rc == 0 || (asked && rc == -ENOMEM));
        assert_int_equal(c.epoch, epoch + (rc == 0));
        if (rc != 0)
            assert_int_equal(control_reload(&c), 0); /* memory is back */
        char name[32];
        snprintf(name, sizeof name, "o%lu", n);
        if (!c.delayed)
            assert_int_not_equal(snapshot_find_env(c.active, str_c(name)), NUMBER_NONE);
    }
    control_drain(&c);
    control_run(&c);
    control_release(&c);
    assert_int_equal(mem_live(), before);
    clean_up(&s);
    log_to(STDERR_FILENO, false);
    close(quiet);
}

static void new_keys_reach_every_worker_or_the_old_ones_stay(void **state)
{
    (void)state;
    static struct control c;
    struct started s;
    struct err e = {0};
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_to(quiet, false);
    prepare(&s);
    size_t before = mem_live();
    if (control_init(&c, &s.set, s.conf, NULL, &e) != 0)
        fail_msg("%s", e.text);
    put_keys(&s, KEY("k2") KEY("k1"));
    int rc = -1;
    for (unsigned long n = 1; rc != 0; n++) {
        mem_fail_nth(n);
        rc = keys_load(&c, &e);
        bool asked = mem_count() >= n;
        mem_fail_nth(0);
        assert_int_equal(rc != 0, asked);
        assert_int_equal(counter_get(&c.stats[STAT_KEYS_REFUSED]), rc ? n : n - 1);
        assert_int_equal(keyring_count(c.keys), rc ? 1 : 2);
        assert_int_equal(signer_knows(c.signer, STR("k2")), rc == 0);
    }
    control_drain(&c);
    control_run(&c);
    for (unsigned i = 0; i < c.nworkers; i++)
        assert_true(signer_knows(c.workers[i].signer, STR("k2")));
    control_release(&c);
    assert_int_equal(mem_live(), before);
    clean_up(&s);
    log_to(STDERR_FILENO, false);
    close(quiet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_without_a_body),
        cmocka_unit_test(a_request_with_a_body),
        cmocka_unit_test(a_request_on_a_stale_connection),
        cmocka_unit_test(a_refusal),
        cmocka_unit_test(a_request_that_is_not_http),
        cmocka_unit_test(an_explained_request),
        cmocka_unit_test(a_provider_that_is_chosen_by_load),
        cmocka_unit_test(a_name_that_must_be_looked_up),
        cmocka_unit_test(a_start_fails_cleanly_or_serves),
        cmocka_unit_test(a_reload_fails_cleanly_or_is_published),
        cmocka_unit_test(new_keys_reach_every_worker_or_the_old_ones_stay),
    };
    return unit_run(tests);
}
