/* Dark requests on their way to a proxy, which is a server by hand here. */
#include "lib/graph/keyring.h"
#include "tests/unit/agent/mirror_fixture.h"
#include "tests/unit/net/h2_server_life.h"

struct result { /* what fn was told, copied */
    unsigned told;
    const char *dropped;
    bool candidate_first;
    struct mirrored secondary, candidate;
    char s_body[64], c_body[64], c_trailer[64], refusal[32];
    struct exchange *x;
};

static void on_result(void *arg, struct exchange *x, const struct mirror_result *r)
{
    struct result *g = arg;
    g->told++;
    g->x = x;
    g->dropped = r->dropped;
    g->candidate_first = r->candidate_first;
    g->secondary = r->secondary;
    g->candidate = r->candidate;
    snprintf(g->s_body, sizeof(g->s_body), "%.*s", STR_ARG(r->secondary.reply.body));
    snprintf(g->c_body, sizeof(g->c_body), "%.*s", STR_ARG(r->candidate.reply.body));
    snprintf(g->refusal, sizeof(g->refusal), "%.*s", STR_ARG(r->candidate.refusal));
    if (r->candidate.reply.ntrailers)
        snprintf(g->c_trailer, sizeof(g->c_trailer), "%.*s=%.*s",
            STR_ARG(r->candidate.reply.trailers[0].name),
            STR_ARG(r->candidate.reply.trailers[0].value));
}

struct fix {
    struct server *s;
    struct mirror *m;
    struct captured c;
    struct mirror_roles roles;
    struct result got;
};

static void set_up(struct fix *f, struct mirror_options o)
{
    static const unsigned char key[16] = KEY;
    struct err e = {0};
    *f = (struct fix){.s = server_new()};
    server_listen(f->s);
    captured_init(&f->c);
    f->roles = (struct mirror_roles){.secondary_env = STR("main"), .candidate_env = STR("fix")};
    o.base = f->s->base;
    o.target = f->s->target;
    memcpy(o.dark_key, key, 16);
    f->m = mirror_new(&o, &e);
    if (!f->m)
        fail_msg("%s", e.text);
}
static const char *send_dark(struct fix *f)
{
    return mirror_send(f->m, &f->c.x, &f->roles, on_result, &f->got);
}
static void tear_down(struct fix *f)
{
    mirror_free(f->m);
    assert_int_equal(f->c.x.refs, 1);
    server_free(f->s);
}

/* Which role a request says it is of. */
static bool is_candidate(const struct asked *a)
{
    return strstr(a->fields, "\nx-offshoot-context: v1m.fix.0.0b");
}
static struct asked *of_role(struct fix *f, bool candidate)
{
    for (unsigned i = 0; i < f->s->nasked; i++)
        if (is_candidate(&f->s->asked[i]) == candidate)
            return &f->s->asked[i];
    fail_msg("no request of the %s", candidate ? "candidate" : "secondary");
    return NULL;
}

static void answer_none(struct server *s, struct asked *a)
{
    (void)s;
    (void)a;
}
static void answer_by_role(struct server *s, struct asked *a)
{
    if (!is_candidate(a)) {
        server_answer(s, a, "of-secondary");
        return;
    }
    server_head(s, a->id, ":status: 201\ncontent-type: application/grpc\n", false);
    server_frame(s, T_DATA, 0, a->id, STR("of-candidate"));
    server_head(s, a->id, "grpc-status: 5\n", true);
}

static void both_roles_get_the_same_request_with_tokens_of_their_own(void **state)
{
    struct fix f;
    (void)state;
    set_up(&f, (struct mirror_options){0});
    f.s->on_request = answer_by_role;
    f.c.x.method = STR("POST");
    f.c.x.body = STR("the body");
    f.c.x.grpc = true;
    captured_add(&f.c, "cookie", "secret");
    captured_add(&f.c, "content-length", "8");
    assert_null(send_dark(&f));
    assert_int_equal(mirror_in_flight(f.m), 1);
    assert_int_equal(f.got.told, 0);
    until(f.s, f.got.told);
    assert_null(f.got.dropped);
    assert_ptr_equal(f.got.x, &f.c.x);
    assert_int_equal(mirror_in_flight(f.m), 0);
    assert_int_equal(f.s->nasked, 2);
    for (int i = 0; i < 2; i++) {
        struct asked *a = of_role(&f, i);
        assert_non_null(strstr(a->fields, ":method: POST\n"));
        assert_non_null(strstr(a->fields, ":authority: shop.test\n"));
        assert_non_null(strstr(a->fields, ":path: /items?q=1\n"));
        assert_non_null(strstr(a->fields, "\nte: trailers\n"));
        assert_non_null(strstr(a->fields, "\ncontent-length: 8\n"));
        assert_int_equal(a->body_n, 8);
        assert_memory_equal(a->body, "the body", 8);
    }
    struct asked *s = of_role(&f, false), *c = of_role(&f, true);
    assert_non_null(strstr(s->fields, "\nbaggage: offshoot=v1m.main.0.0d\n"));
    assert_non_null(strstr(c->fields, "\nbaggage: offshoot=v1m.fix.0.0b\n"));
    assert_non_null(strstr(s->fields, "\ncookie: secret\n"));
    assert_null(strstr(c->fields, "cookie"));
    assert_string_equal(f.got.s_body, "of-secondary");
    assert_string_equal(f.got.c_body, "of-candidate");
    assert_int_equal(f.got.secondary.reply.status, 200);
    assert_int_equal(f.got.candidate.reply.status, 201);
    assert_string_equal(f.got.c_trailer, "grpc-status=5");
    tear_down(&f);
}

/* The 32 hex digits behind "traceparent: 00-". */
static void trace_of(const struct asked *a, unsigned char ret[16])
{
    const char *at = strstr(a->fields, "\ntraceparent: 00-");
    assert_non_null(at);
    for (int i = 0; i < 16; i++)
        ret[i] = (unsigned char)(hex_value(at[17 + 2 * i]) << 4 | hex_value(at[18 + 2 * i]));
}

/* Whether proxies take it for a dark one. */
static bool is_dark(const unsigned char trace[16])
{
    static const unsigned char key[16] = KEY;
    unsigned char want[16];
    dark_trace_id(key, trace, want);
    return memcmp(want, trace, 16) == 0;
}

static void each_trace_is_dark_new_and_told(void **state)
{
    struct fix f;
    unsigned char s[16], c[16];
    (void)state;
    set_up(&f, (struct mirror_options){0});
    send_dark(&f);
    until(f.s, f.got.told);
    trace_of(of_role(&f, false), s);
    trace_of(of_role(&f, true), c);
    assert_memory_equal(s, f.got.secondary.trace_id, 16);
    assert_memory_equal(c, f.got.candidate.trace_id, 16);
    assert_memory_not_equal(s, c, 8);
    assert_true(is_dark(s) && is_dark(c));
    s[0] ^= 1;
    assert_false(is_dark(s));
    tear_down(&f);
}

static void tokens_are_signed_when_there_are_keys(void **state)
{
    static const char keys[] = "k1 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";
    struct err e = {0};
    struct keyring *ring = keyring_parse(str_c(keys), "keys", "cluster.test", &e);
    struct signer *signer = signer_new(ring);
    struct fix f;
    struct token t;
    (void)state;
    set_up(&f, (struct mirror_options){.signer = signer});
    send_dark(&f);
    until(f.s, f.got.told);
    for (unsigned i = 0; i < 2; i++) {
        const char *at = strstr(f.s->asked[i].fields, "\nx-offshoot-context: ") + 21;
        struct str text = str_of(at, strcspn(at, "\n"));
        assert_int_equal(token_parse(text, &t), 0);
        assert_true(t.is_signed && t.use == 'm' && t.pin == 0);
        assert_int_equal(t.flags, str_eq(t.env, STR("fix")) ? 0x0b : 0x0d);
        assert_int_equal(signer_verify(signer, text, &t, (int64_t)time(NULL)), FAULT_NONE);
    }
    tear_down(&f);
    signer_free(signer);
    keyring_unref(ring);
}

static void the_order_is_random_unless_told_otherwise(void **state)
{
    struct fix f;
    unsigned first = 0;
    (void)state;
    set_up(&f, (struct mirror_options){0});
    for (unsigned i = 1; i <= 60; i++) {
        f.roles.candidate_last = i > 30;
        assert_null(send_dark(&f));
        f.s->nasked = 0;
        until(f.s, f.got.told == i);
        assert_int_equal(is_candidate(&f.s->asked[0]), f.got.candidate_first);
        assert_int_equal(is_candidate(&f.s->asked[1]), !f.got.candidate_first);
        first += f.got.candidate_first;
        assert_false(i > 30 && f.got.candidate_first);
        for (int k = 0; k < 2; k++)
            free(f.s->asked[k].body);
    }
    assert_true(first > 0 && first < 30); /* else once in 2^29 */
    f.s->nasked = 0;
    tear_down(&f);
}

static void hang_candidate(struct server *s, struct asked *a)
{
    if (!is_candidate(a))
        server_answer(s, a, "in time");
}

static void a_role_that_is_late_is_data(void **state)
{
    struct fix f;
    (void)state;
    set_up(&f, (struct mirror_options){.timeout_ms = 50});
    f.s->on_request = hang_candidate;
    send_dark(&f);
    until(f.s, f.got.told);
    assert_null(f.got.dropped);
    assert_int_equal(f.got.secondary.reply.outcome, REPLY_WHOLE);
    assert_int_equal(f.got.candidate.reply.outcome, REPLY_TIMEOUT);
    assert_true(f.got.candidate.reply.latency_us > f.got.secondary.reply.latency_us);
    until(f.s, of_role(&f, true)->reset); /* it is given up, not tried again */
    assert_int_equal(f.s->nasked, 2);
    tear_down(&f);
}

static void latency_is_the_whole_time_of_each(void **state)
{
    struct fix f;
    (void)state;
    set_up(&f, (struct mirror_options){0});
    f.s->on_request = hang_candidate;
    send_dark(&f);
    until(f.s, f.s->nended == 2);
    server_head(f.s, of_role(&f, true)->id, ":status: 200\n", false);
    server_flush(f.s);
    uint64_t from = clock_mono_ms();
    until(f.s, clock_mono_ms() > from + 30);
    server_frame(f.s, T_DATA, F_END_STREAM, of_role(&f, true)->id, STR("x"));
    server_flush(f.s);
    until(f.s, f.got.told);
    assert_true(f.got.candidate.reply.latency_us >= 30000);
    assert_true(f.got.candidate.reply.latency_us >= f.got.secondary.reply.latency_us);
    tear_down(&f);
}

static void reset_candidate(struct server *s, struct asked *a)
{
    if (is_candidate(a))
        server_numbers(s, T_RST, a->id, 1, 2, 0);
    else
        server_answer(s, a, "fine");
}
static void refuse_candidate(struct server *s, struct asked *a)
{
    if (is_candidate(a))
        server_head(s, a->id, ":status: 502\nx-offshoot-error: connect\n", true);
    else
        server_answer(s, a, "fine");
}

static void a_provider_that_fails_is_data(void **state)
{
    struct fix f;
    (void)state;
    set_up(&f, (struct mirror_options){0});
    f.s->on_request = reset_candidate;
    send_dark(&f);
    until(f.s, f.got.told == 1);
    assert_null(f.got.dropped);
    assert_int_equal(f.got.candidate.reply.outcome, REPLY_TRANSPORT);
    assert_string_equal(f.got.refusal, "");
    f.s->on_request = refuse_candidate;
    send_dark(&f);
    until(f.s, f.got.told == 2);
    assert_null(f.got.dropped);
    assert_int_equal(f.got.candidate.reply.outcome, REPLY_TRANSPORT);
    assert_string_equal(f.got.refusal, "connect");
    assert_int_equal(f.got.secondary.reply.outcome, REPLY_WHOLE);
    tear_down(&f);
}

static void block_candidate(struct server *s, struct asked *a)
{
    if (is_candidate(a))
        server_head(s, a->id, ":status: 409\nx-offshoot-error: dark-blocked\n", true);
}

static void a_refusal_drops_the_sample_and_gives_the_other_up(void **state)
{
    struct fix f;
    (void)state;
    set_up(&f, (struct mirror_options){0});
    f.s->on_request = block_candidate;
    send_dark(&f);
    until(f.s, f.got.told && of_role(&f, false)->reset);
    assert_string_equal(f.got.dropped, "dark-blocked");
    assert_int_equal(f.got.told, 1);
    assert_int_equal(mirror_in_flight(f.m), 0);
    tear_down(&f);
}

static void a_lost_connection_drops_and_more_is_refused_until_the_wait_is_over(void **state)
{
    struct fix f;
    (void)state;
    set_up(&f, (struct mirror_options){0});
    f.s->on_request = answer_none;
    send_dark(&f);
    until(f.s, f.s->nended == 2);
    server_hang_up(f.s);
    until(f.s, f.got.told);
    assert_string_equal(f.got.dropped, "connection");
    assert_int_equal(f.got.told, 1);
    assert_false(mirror_up(f.m));
    assert_non_null(strstr(mirror_why(f.m), "closed"));
    assert_string_equal(send_dark(&f), "connection");
    f.s->on_request = NULL;
    until(f.s, mirror_up(f.m));
    assert_null(send_dark(&f));
    until(f.s, f.got.told == 2);
    assert_null(f.got.dropped);
    assert_string_equal(mirror_why(f.m), "");
    tear_down(&f);
}

static void the_limits_hold(void **state)
{
    struct fix f;
    (void)state;
    set_up(&f, (struct mirror_options){.in_flight = 2, .bytes = 20000, .body_bytes = 12});
    f.s->on_request = answer_by_role;
    f.c.x.bytes = 20001;
    assert_string_equal(send_dark(&f), "memory");
    f.c.x.bytes = 9000;
    assert_null(send_dark(&f));
    assert_null(send_dark(&f));
    assert_string_equal(send_dark(&f), "in-flight");
    assert_int_equal(f.c.x.refs, 3);
    until(f.s, f.got.told == 2);
    assert_null(f.got.dropped); /* twelve bytes fit */
    f.c.x.bytes = 19500;
    assert_null(send_dark(&f));
    until(f.s, f.got.told == 3);
    assert_string_equal(f.got.dropped, "memory");
    f.c.x.bytes = 19900;
    assert_string_equal(send_dark(&f), "memory");
    tear_down(&f);
    set_up(&f, (struct mirror_options){.body_bytes = 4});
    assert_null(send_dark(&f));
    until(f.s, f.got.told);
    assert_string_equal(f.got.dropped, "too-large");
    tear_down(&f);
}

static void a_canary_goes_to_the_secondary_alone(void **state)
{
    struct fix f;
    (void)state;
    set_up(&f, (struct mirror_options){0});
    f.roles.only_secondary = true;
    for (unsigned i = 1; i < 9; i++) {
        assert_null(send_dark(&f));
        until(f.s, f.got.told == i);
        assert_null(f.got.dropped);
        assert_false(f.got.candidate_first);
    }
    assert_int_equal(f.s->nasked, 8);
    for (int i = 0; i < 8; i++)
        assert_false(is_candidate(&f.s->asked[i]));
    assert_string_equal(f.got.s_body, "hello");
    assert_int_equal(f.got.candidate.reply.status, 0);
    tear_down(&f);
}

static void send_again(void *arg, struct exchange *x, const struct mirror_result *r)
{
    struct fix *f = arg;
    on_result(&f->got, x, r);
    assert_string_equal(send_dark(f), "in-flight");
}

static void freeing_stops_what_is_on_its_way(void **state)
{
    struct fix f;
    (void)state;
    set_up(&f, (struct mirror_options){0});
    f.s->on_request = answer_none;
    assert_null(send_dark(&f));
    until(f.s, f.s->nended == 2);
    assert_null(mirror_send(f.m, &f.c.x, &f.roles, send_again, &f));
    mirror_free(f.m);
    f.m = NULL;
    assert_int_equal(f.got.told, 2);
    assert_string_equal(f.got.dropped, "stopped");
    tear_down(&f);
}

/* A whole life with the nth allocation refused. */
static bool life(unsigned long nth)
{
    struct fix f;
    struct err e = {0};
    set_up(&f, (struct mirror_options){0});
    mirror_free(f.m);
    mem_fail_nth(nth);
    f.m = mirror_new(&(struct mirror_options){.base = f.s->base, .target = f.s->target}, &e);
    bool sent = f.m && !send_dark(&f);
    until(f.s, f.got.told == sent);
    bool failed = mem_count() >= nth;
    mem_fail_nth(0);
    if (!failed)
        assert_true(sent && !f.got.dropped);
    tear_down(&f);
    return failed;
}

static void any_allocation_may_fail(void **state)
{
    unsigned long nth = 1;
    (void)state;
    while (life(nth))
        nth++;
    assert_true(nth > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_roles_get_the_same_request_with_tokens_of_their_own),
        cmocka_unit_test(each_trace_is_dark_new_and_told),
        cmocka_unit_test(tokens_are_signed_when_there_are_keys),
        cmocka_unit_test(the_order_is_random_unless_told_otherwise),
        cmocka_unit_test(a_role_that_is_late_is_data),
        cmocka_unit_test(latency_is_the_whole_time_of_each),
        cmocka_unit_test(a_provider_that_fails_is_data),
        cmocka_unit_test(a_refusal_drops_the_sample_and_gives_the_other_up),
        cmocka_unit_test(a_lost_connection_drops_and_more_is_refused_until_the_wait_is_over),
        cmocka_unit_test(the_limits_hold),
        cmocka_unit_test(a_canary_goes_to_the_secondary_alone),
        cmocka_unit_test(freeing_stops_what_is_on_its_way),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return unit_run(tests);
}
