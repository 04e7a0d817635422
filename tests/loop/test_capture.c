/* Which requests are told to the agent, how much of them, and what dark requests may not do. */
#include "lib/base/histogram.h"
#include "lib/base/mem.h"
#include "proto/offshoot/v1/capture.pb-c.h"
#include "tests/loop/loop.h"
#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define DARK  0x0101010101010101u /* seed, and what is added: any */
#define ADDED 0x2222222222222222u
#define OK    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Reply: r\r\n\r\nok"

static struct loop l;
static struct event_base *elsewhere;
static struct mailbox control;

static const struct str cart[] = {{"cart", 4}}, other[] = {{"other", 5}}, items[] = {{"/items", 6}};

/* One rule that samples every trace of main. */
static struct capture_rules *rules_new(void)
{
    struct capture_rules *r = mem_zalloc(sizeof *r);
    assert_non_null(r);
    atomic_init(&r->refs, 1);
    r->dark_seed = DARK;
    r->dark_xor = ADDED;
    r->nrules = 1;
    r->rule[0] = (struct capture_rule){.id = 7, .rate_ppm = 1000000, .baseline = STR("main")};
    return r;
}

static const char graph[] = LOOP_SERVICE("cart", "") LOOP_SERVICE("safe", "shadow: safe")
    LOOP_MAIN("cart: {endpoints: [\"127.0.0.1:9001\"]}, safe: {endpoints: [\"127.0.0.1:9002\"]}")
        LOOP_OVERLAY("feat", ", providers: {cart: {endpoints: [\"127.0.0.1:9003\"]}}")
            LOOP_OVERLAY("bare", "") LOOP_DOCUMENT("Gateway", "edge",
                "defaultEnvironment: main, routes: [{path: /safe, service: safe}, "
                "{path: /, service: cart}]");

static void begin(struct capture_rules *rules, const char *const *sets)
{
    struct err e = {0};
    loop_start(&l, graph, sets);
    l.mem_before -= rules != NULL; /* the worker frees them */
    elsewhere = event_base_new();
    assert_int_equal(mailbox_init(&control, elsewhere, NULL, &e), 0);
    l.shared.control = &control;
    capture_set_rules(&l.w, rules);
    capture_set_up(&l.w, true);
}

static void end(int client)
{
    if (client >= 0)
        close(client);
    loop_turns(&l);
    mailbox_close(&control);
    loop_stop(&l);
    mailbox_release(&control);
    event_base_free(elsewhere);
}

/* All events so far: of the chunks that were posted, and of the one being filled. */
static Offshoot__V1__CaptureChunk *told(void)
{
    static unsigned char bytes[4 << 20];
    size_t n = 0;
    list_for_each (it, &control.queue) {
        struct capture_chunk *k =
            list_entry(list_entry(it, struct message, link), struct capture_chunk, message);
        memcpy(bytes + n, k->data, k->n);
        n += k->n;
    }
    if (l.w.capture.chunk) {
        memcpy(bytes + n, l.w.capture.chunk->data, l.w.capture.chunk->n);
        n += l.w.capture.chunk->n;
    }
    Offshoot__V1__CaptureChunk *c = offshoot__v1__capture_chunk__unpack(NULL, n, bytes);
    assert_non_null(c);
    return c;
}

static void forget(Offshoot__V1__CaptureChunk *c)
{
    offshoot__v1__capture_chunk__free_unpacked(c, NULL);
}

static unsigned count(const Offshoot__V1__CaptureChunk *c, int kind)
{
    unsigned n = 0;
    for (size_t i = 0; i < c->n_events; i++)
        n += c->events[i]->event_case == (unsigned)kind;
    return n;
}

/* The only one of its kind. */
static const Offshoot__V1__CaptureEvent *only(const Offshoot__V1__CaptureChunk *c, int kind)
{
    assert_int_equal(count(c, kind), 1);
    for (size_t i = 0;; i++)
        if (c->events[i]->event_case == (unsigned)kind)
            return c->events[i];
}

#define BEGIN OFFSHOOT__V1__CAPTURE_EVENT__EVENT_BEGIN
#define REPLY OFFSHOOT__V1__CAPTURE_EVENT__EVENT_REPLY
#define END   OFFSHOOT__V1__CAPTURE_EVENT__EVENT_END
#define HOP   OFFSHOOT__V1__CAPTURE_EVENT__EVENT_HOP

/* What was told of one direction's body, joined. */
static size_t body(const Offshoot__V1__CaptureChunk *c, bool reply, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_events; i++) {
        const Offshoot__V1__CaptureEvent *e = c->events[i];
        if (e->event_case != OFFSHOOT__V1__CAPTURE_EVENT__EVENT_BODY || e->body->reply != reply)
            continue;
        memcpy(out + n, e->body->data.data, e->body->data.len);
        n += e->body->data.len;
    }
    return n;
}

static const char *field(Offshoot__V1__CaptureField *const *fields, size_t n, const char *name)
{
    static char value[256];
    for (size_t i = 0; i < n; i++) {
        if (strcmp(fields[i]->name, name) != 0)
            continue;
        snprintf(value, sizeof value, "%.*s", (int)fields[i]->value.len, fields[i]->value.data);
        return value;
    }
    return NULL;
}

static uint64_t dropped(enum capture_drop why)
{
    return loop_count(&l, STAT_CAPTURE_DROPPED + why - 1);
}

/* A request at the trusted listener, answered with OK by whoever it went to last. */
static int serve(const char *request)
{
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, request);
    assert_true(l.nproviders > 0);
    loop_recv(&l, l.provider[l.nproviders - 1]);
    loop_send(&l, l.provider[l.nproviders - 1], OK);
    assert_non_null(strstr(loop_recv(&l, c), "200 OK"));
    return c;
}

/* ---- what is told ---- */

static void an_exchange_is_told_whole(void **state)
{
    (void)state;
    char got[64];
    begin(rules_new(), NULL);
    int c = serve("OPTIONS /items?id=3 HTTP/1.1\r\nHost: shop.example\r\nX-Own: v\r\n"
                  "Connection: x-hop\r\nX-Hop: 1\r\nbaggage: a=b, offshoot=v1m.main.0.00\r\n"
                  "traceparent: 00-" TRACE "-00f067aa0ba902b7-01\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    Offshoot__V1__CaptureChunk *k = told();
    const Offshoot__V1__ExchangeBegin *b = only(k, BEGIN)->begin;
    assert_int_equal(b->n_sessions, 1);
    assert_int_equal(b->sessions[0], 7);
    assert_string_equal(b->method, "OPTIONS");
    assert_string_equal(b->authority, "shop.example");
    assert_string_equal(b->path, "/items?id=3");
    assert_string_equal(b->environment, "main");
    assert_string_equal(b->service, "cart");
    assert_int_equal(b->epoch, 1);
    assert_false(b->https || b->grpc);
    assert_string_equal(field(b->fields, b->n_fields, "x-own"), "v");
    assert_string_equal(field(b->fields, b->n_fields, "baggage"), "a=b");
    assert_null(field(b->fields, b->n_fields, "x-hop"));
    assert_null(field(b->fields, b->n_fields, "connection"));
    assert_null(field(b->fields, b->n_fields, "transfer-encoding"));
    assert_null(field(b->fields, b->n_fields, "host"));
    assert_memory_equal(b->trace_id.data, "\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6", 8);
    assert_int_equal(body(k, false, got), 5);
    assert_memory_equal(got, "abcde", 5);
    const Offshoot__V1__ExchangeReply *r = only(k, REPLY)->reply;
    assert_int_equal(r->status, 200);
    assert_string_equal(field(r->fields, r->n_fields, "x-reply"), "r");
    assert_string_equal(r->refusal, "");
    assert_int_equal(body(k, true, got), 2);
    assert_memory_equal(got, "ok", 2);
    assert_int_equal(only(k, END)->end->dropped, OFFSHOOT__V1__CAPTURE_DROP__KEPT);
    assert_int_equal(only(k, HOP)->hop->kind, OFFSHOOT__V1__HOP_KIND__HOP_SAMPLED);
    assert_string_equal(only(k, HOP)->hop->provider, "main");
    assert_int_equal(loop_count(&l, STAT_CAPTURE_EXCHANGES), 1);
    assert_int_equal(l.w.capture.in_flight, 0);
    forget(k);
    end(c);
}

static void large_bodies_are_told_in_order(void **state)
{
    (void)state;
    enum { LARGE = 300000 };
    static char sent[LARGE + 1], got[LARGE];
    char head[128];
    begin(rules_new(), NULL);
    for (size_t i = 0; i < LARGE; i++)
        sent[i] = (char)('a' + i * 7 % 26);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LARGE);
    loop_send(&l, l.provider[0], head);
    size_t taken = 0;
    for (size_t at = 0; at < LARGE; at += 20000) {
        assert_int_equal(send(l.provider[0], sent + at, 20000, MSG_NOSIGNAL), 20000);
        taken += strlen(loop_recv(&l, c));
    }
    taken += strlen(loop_recv(&l, c));
    assert_true(taken > LARGE);
    Offshoot__V1__CaptureChunk *k = told();
    assert_int_equal(body(k, true, got), LARGE);
    assert_memory_equal(got, sent, LARGE);
    assert_int_equal(only(k, END)->end->dropped, OFFSHOOT__V1__CAPTURE_DROP__KEPT);
    assert_true(loop_count(&l, STAT_CAPTURE_CHUNKS) >= LARGE / CHUNK_BYTES);
    forget(k);
    end(c);
}

static void trailers_are_told_with_the_end(void **state)
{
    (void)state;
    begin(rules_new(), NULL);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0],
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-sum: 9\r\n\r\n");
    loop_recv(&l, c);
    Offshoot__V1__CaptureChunk *k = told();
    const Offshoot__V1__ExchangeEnd *e = only(k, END)->end;
    assert_string_equal(field(e->trailers, e->n_trailers, "x-sum"), "9");
    forget(k);
    end(c);
}

static void a_reply_of_our_own_is_told_by_its_word(void **state)
{
    (void)state;
    begin(rules_new(), NULL);
    l.connect_error = -ECONNREFUSED;
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_non_null(strstr(loop_recv(&l, c), "x-offshoot-error: connect"));
    Offshoot__V1__CaptureChunk *k = told();
    assert_string_equal(only(k, REPLY)->reply->refusal, "connect");
    assert_int_equal(only(k, REPLY)->reply->status, 502);
    assert_int_equal(only(k, END)->end->dropped, OFFSHOOT__V1__CAPTURE_DROP__KEPT);
    forget(k);
    end(c);
}

/* ---- what is not ---- */

static void expect_sampled(struct capture_rules *rules, const char *request, unsigned n)
{
    begin(rules, NULL);
    int c = serve(request);
    Offshoot__V1__CaptureChunk *k = told();
    assert_int_equal(count(k, BEGIN), n);
    assert_int_equal(count(k, END), n);
    forget(k);
    end(c);
}

#define GET(path, more) "GET " path " HTTP/1.1\r\nHost: a\r\n" more "\r\n"
#define POST(path)      "POST " path " HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
#define IN(env)         "baggage: offshoot=v1m." env ".0.00\r\n"

static void only_what_the_rules_name_is_sampled(void **state)
{
    (void)state;
    struct capture_rules *r;
    expect_sampled(rules_new(), GET("/", IN("feat")), 0); /* another environment */
    expect_sampled(rules_new(), POST("/"), 0);
    expect_sampled(rules_new(), POST("/safe"), 1);
    (r = rules_new())->rule[0].unsafe_methods = true;
    expect_sampled(r, POST("/"), 1);
    r = rules_new();
    r->rule[0].services = cart, r->rule[0].nservices = 1;
    expect_sampled(r, GET("/", ""), 1);
    r = rules_new();
    r->rule[0].services = other, r->rule[0].nservices = 1;
    expect_sampled(r, GET("/", ""), 0);
    r = rules_new();
    r->rule[0].paths = items, r->rule[0].npaths = 1;
    expect_sampled(r, GET("/items/3", ""), 1);
    r = rules_new();
    r->rule[0].paths = items, r->rule[0].npaths = 1;
    expect_sampled(r, GET("/item", ""), 0);
    (r = rules_new())->rule[0].rate_ppm = 0;
    expect_sampled(r, GET("/", ""), 0);
    (r = rules_new())->rule[0].hops_only = true;
    expect_sampled(r, GET("/", ""), 0);
}

static void a_trace_is_sampled_by_its_hash(void **state)
{
    (void)state;
    unsigned sampled = 0;
    struct capture_rules *r = rules_new();
    r->rule[0].rate_ppm = 300000;
    r->rule[0].sample_seed = 77;
    begin(r, NULL);
    int c = loop_client(&l, l.trusted);
    for (unsigned i = 1; i <= 200; i++) {
        unsigned char id[16] = {0};
        char text[200];
        id[15] = (unsigned char)i;
        snprintf(text, sizeof text,
            GET("/", "traceparent: 00-000000000000000000000000000000%02x-00f067aa0ba902b7-01\r\n"),
            i);
        loop_send(&l, c, text);
        loop_recv(&l, l.provider[0]);
        loop_send(&l, l.provider[0], OK);
        loop_recv(&l, c);
        sampled += XXH3_64bits_withSeed(id, 16, 77) % 1000000 < 300000;
        assert_int_equal(loop_count(&l, STAT_CAPTURE_EXCHANGES), sampled);
    }
    assert_true(sampled > 30 && sampled < 90);
    end(c);
}

static void a_bound_that_is_reached_drops_and_counts(void **state)
{
    (void)state;
    static const char *const sets[] = {"capture.inFlight", "1", "capture.bodyBytes", "4", NULL};
    begin(rules_new(), sets);
    int first = loop_client(&l, l.trusted), second = loop_client(&l, l.trusted);
    loop_send(&l, first, GET("/", ""));
    loop_send(&l, second, GET("/", ""));
    assert_int_equal(dropped(CAPTURE_DROP_IN_FLIGHT), 1);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nxxxxx");
    assert_non_null(strstr(loop_recv(&l, first), "xxxxx"));
    assert_int_equal(dropped(CAPTURE_DROP_BODY), 1);
    loop_recv(&l, l.provider[1]);
    loop_send(&l, l.provider[1], OK);
    assert_non_null(strstr(loop_recv(&l, second), "ok"));
    Offshoot__V1__CaptureChunk *k = told();
    assert_int_equal(only(k, END)->end->dropped, OFFSHOOT__V1__CAPTURE_DROP__BODY);
    forget(k);
    loop_send(&l, second, GET("/", "")); /* there is room again */
    loop_recv(&l, l.provider[1]);
    loop_send(&l, l.provider[1], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nxxxx");
    loop_recv(&l, second);
    assert_int_equal(loop_count(&l, STAT_CAPTURE_EXCHANGES), 1);
    close(first);
    end(second);
}

static void a_side_that_breaks_drops_the_exchange(void **state)
{
    (void)state;
    begin(rules_new(), NULL);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, GET("/", ""));
    loop_recv(&l, l.provider[0]);
    loop_close(&l, &c);
    loop_send(&l, l.provider[0], OK);
    assert_int_equal(dropped(CAPTURE_DROP_ABORTED), 1);
    assert_int_equal(l.w.capture.in_flight, 0);
    c = loop_client(&l, l.trusted);
    loop_send(&l, c, GET("/", ""));
    loop_recv(&l, l.provider[1]);
    loop_send(&l, l.provider[1], "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    close(l.provider[1]);
    l.provider[1] = -1;
    loop_turns(&l);
    assert_int_equal(dropped(CAPTURE_DROP_ABORTED), 2);
    assert_int_equal(loop_count(&l, STAT_CAPTURE_EXCHANGES), 0);
    end(c);
}

static void sums_of_drops_are_told_however_full_a_chunk_is(void **state)
{
    (void)state;
    static const char *const sets[] = {"capture.bodyBytes", "1", NULL};
    static char text[20000], pad[17000];
    begin(rules_new(), sets);
    int c = loop_client(&l, l.trusted);
    for (unsigned i = 1; i <= 400; i++) { /* hop and begin of the exchange nearly fill a chunk */
        memset(pad, 'p', 15900 + i);
        pad[15900 + i] = 0;
        snprintf(text, sizeof text, GET("/", "x-pad: %s\r\n"), pad);
        loop_send(&l, c, text);
        loop_recv(&l, l.provider[0]);
        loop_send(&l, l.provider[0], OK);
        loop_recv(&l, c);
        assert_int_equal(dropped(CAPTURE_DROP_BODY), i);
        event_active(l.w.capture.flush, EV_TIMEOUT, 1);
        loop_turns(&l);
        assert_null(l.w.capture.chunk);
        assert_false(l.w.capture.drops_changed);
    }
    end(c);
}

static void an_exchange_does_not_outlive_its_stream(void **state)
{
    (void)state;
    begin(rules_new(), NULL);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, GET("/", ""));
    loop_recv(&l, l.provider[0]);
    capture_set_up(&l.w, false);
    capture_set_up(&l.w, true);
    loop_send(&l, l.provider[0], OK);
    loop_recv(&l, c);
    assert_int_equal(dropped(CAPTURE_DROP_DISCONNECTED), 1);
    Offshoot__V1__CaptureChunk *k = told();
    assert_int_equal(count(k, REPLY) + count(k, END), 0);
    forget(k);
    capture_set_up(&l.w, false);
    loop_send(&l, c, GET("/", ""));
    assert_int_equal(dropped(CAPTURE_DROP_DISCONNECTED), 2);
    end(c);
}

static void without_rules_nothing_is_told(void **state)
{
    (void)state;
    begin(NULL, NULL);
    int c = serve(GET("/", ""));
    Offshoot__V1__CaptureChunk *k = told();
    assert_int_equal(k->n_events, 0);
    forget(k);
    end(c);
}

/* ---- dark requests ---- */

/* The traceparent of a dark trace. */
static const char *dark_trace(void)
{
    static char text[80];
    const unsigned char half[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint64_t mark = XXH3_64bits_withSeed(half, 8, DARK) ^ ADDED;
    int n = snprintf(text, sizeof text, "traceparent: 00-0102030405060708");
    for (unsigned i = 0; i < 8; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%02x", (unsigned)(mark >> 8 * i & 255));
    snprintf(text + n, sizeof text - (size_t)n, "-00f067aa0ba902b7-01\r\n");
    return text;
}

#define AS(env, flags) "baggage: offshoot=v1m." env ".0." flags "\r\n"

/* A request with these fields: forwarded or answered dark-blocked, and told as a hop of kind. */
static void expect_hop(const char *method, const char *path, const char *fields, bool blocked,
    struct capture_rules *rules, int kind)
{
    char text[400];
    begin(rules, NULL);
    int c = loop_client(&l, l.trusted);
    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: a\r\n%s%s\r\n", method, path,
        kind == OFFSHOOT__V1__HOP_KIND__HOP_LOST ? dark_trace() : "", fields);
    loop_send(&l, c, text);
    if (blocked) {
        assert_int_equal(l.nproviders, 0);
        assert_non_null(strstr(loop_recv(&l, c), "HTTP/1.1 409 "));
        assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_DARK_BLOCKED), 1);
    } else {
        assert_int_equal(l.nproviders, 1);
        loop_recv(&l, l.provider[0]);
        loop_send(&l, l.provider[0], OK);
        assert_non_null(strstr(loop_recv(&l, c), "200 OK"));
    }
    Offshoot__V1__CaptureChunk *k = told();
    assert_int_equal(count(k, BEGIN), 0); /* a dark request is never mirrored */
    if (rules) {
        const Offshoot__V1__Hop *h = only(k, HOP)->hop;
        assert_int_equal(h->kind, kind);
        assert_string_equal(h->method, method);
        assert_string_equal(h->refusal, blocked ? "dark-blocked" : "");
    }
    forget(k);
    end(c);
}

#define HOP_OF(kind) OFFSHOOT__V1__HOP_KIND__HOP_##kind

static void a_dark_request_changes_nothing_outside_its_environment(void **state)
{
    (void)state;
    expect_hop("GET", "/", AS("bare", "03"), false, rules_new(), HOP_OF(DARK));
    expect_hop("POST", "/", AS("bare", "03"), true, rules_new(), HOP_OF(BLOCKED));
    expect_hop("DELETE", "/", AS("feat", "03"), false, rules_new(), HOP_OF(DARK)); /* its own */
    expect_hop("POST", "/safe", AS("feat", "05"), false, rules_new(), HOP_OF(DARK));
    /* The secondary's is the users' own, also where an overlay is the baseline. */
    expect_hop("POST", "/", AS("main", "0d"), true, rules_new(), HOP_OF(BLOCKED));
    expect_hop("POST", "/safe", AS("main", "0d"), false, rules_new(), HOP_OF(DARK));
    struct capture_rules *r = rules_new();
    r->rule[0].baseline = STR("feat");
    expect_hop("POST", "/", AS("feat", "0d"), true, r, HOP_OF(BLOCKED));
    expect_hop("TRACE", "/", AS("bare", "03"), true, rules_new(), HOP_OF(BLOCKED));
    expect_hop("PURGE", "/", AS("bare", "05"), true, rules_new(), HOP_OF(BLOCKED));
}

static void a_dark_request_is_not_counted_among_those_of_users(void **state)
{
    (void)state;
    begin(rules_new(), NULL);
    int c = serve("GET / HTTP/1.1\r\nHost: a\r\n" AS("feat", "03") "\r\n");
    assert_int_equal(loop_count(&l, STAT_DARK_REQUESTS), 1);
    for (unsigned i = 0; i <= CLASS_SHARED; i++)
        assert_int_equal(loop_count(&l, STAT_REQUESTS + i), 0);
    assert_int_equal(loop_count(&l, STAT_REPLIES + 1), 0);
    assert_int_equal(loop_count(&l, STAT_RULES + RULE_EXPLICIT), 0);
    for (unsigned i = 0; i < 6 * HISTOGRAM_CELLS; i++)
        assert_int_equal(loop_count(&l, STAT_REQUEST_SECONDS + i), 0);
    loop_send(&l, c, GET("/", ""));
    loop_recv(&l, l.provider[0]);
    assert_int_equal(loop_count(&l, STAT_DARK_REQUESTS), 1);
    assert_int_equal(loop_count(&l, STAT_RULES + RULE_DEFAULT), 1);
    end(c);
}

static void a_dark_request_is_blocked_without_any_session(void **state)
{
    (void)state;
    expect_hop("POST", "/", AS("bare", "03"), true, NULL, HOP_OF(BLOCKED));
    expect_hop("GET", "/", AS("bare", "03"), false, NULL, HOP_OF(DARK));
}

static void a_dark_trace_without_its_token_is_told_and_may_not_change_anything(void **state)
{
    (void)state;
    expect_hop("GET", "/", "", false, rules_new(), HOP_OF(LOST));
    expect_hop("POST", "/", "", true, rules_new(), HOP_OF(LOST));
    expect_hop("POST", "/", AS("feat", "00"), true, rules_new(), HOP_OF(LOST)); /* not dark */
}

/* Where contexts from outside are taken away, too: sampled, it would be sent again and again. */
static void a_dark_trace_at_the_edge_is_lost_and_not_sampled(void **state)
{
    char text[200];
    (void)state;
    begin(rules_new(), NULL);
    int c = loop_client(&l, l.edge);
    snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", dark_trace());
    loop_send(&l, c, text);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], OK);
    assert_non_null(strstr(loop_recv(&l, c), "200 OK"));
    Offshoot__V1__CaptureChunk *k = told();
    assert_int_equal(count(k, BEGIN), 0);
    assert_int_equal(only(k, HOP)->hop->kind, HOP_OF(LOST));
    forget(k);
    end(c);
}

static void a_session_may_ask_that_requests_without_context_are_refused(void **state)
{
    (void)state;
    struct capture_rules *r = rules_new();
    r->refuse_missing = true;
    begin(r, NULL);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, GET("/", ""));
    loop_assert_refused(&l, c, "404", "no-environment");
    capture_set_rules(&l.w, NULL);
    loop_send(&l, c, GET("/", ""));
    assert_int_equal(l.nproviders, 1);
    end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exchange_is_told_whole),
        cmocka_unit_test(large_bodies_are_told_in_order),
        cmocka_unit_test(trailers_are_told_with_the_end),
        cmocka_unit_test(a_reply_of_our_own_is_told_by_its_word),
        cmocka_unit_test(only_what_the_rules_name_is_sampled),
        cmocka_unit_test(a_trace_is_sampled_by_its_hash),
        cmocka_unit_test(a_bound_that_is_reached_drops_and_counts),
        cmocka_unit_test(a_side_that_breaks_drops_the_exchange),
        cmocka_unit_test(sums_of_drops_are_told_however_full_a_chunk_is),
        cmocka_unit_test(an_exchange_does_not_outlive_its_stream),
        cmocka_unit_test(without_rules_nothing_is_told),
        cmocka_unit_test(a_dark_request_changes_nothing_outside_its_environment),
        cmocka_unit_test(a_dark_request_is_not_counted_among_those_of_users),
        cmocka_unit_test(a_dark_request_is_blocked_without_any_session),
        cmocka_unit_test(a_dark_trace_without_its_token_is_told_and_may_not_change_anything),
        cmocka_unit_test(a_dark_trace_at_the_edge_is_lost_and_not_sampled),
        cmocka_unit_test(a_session_may_ask_that_requests_without_context_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
