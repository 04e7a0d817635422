/* What a sample costs the agent once its replies are there. Prints one JSON object.
 *
 *     compare_bench [MILLISECONDS]
 *
 * For replies of 256 bytes, 2 KiB, 16 KiB and 256 KiB of JSON, and of 2 KiB of gRPC ("grpc-2048"),
 * so many a second of CPU time:
 * comparisons  primary with candidate; an id and a time are noise, one value is wrong; texts are
 *              redacted
 * equal        the same where nothing differs but the spelling
 * redactions   bodies redacted, as the journal needs it
 * records      a sample as bytes of the journal: a request, three redacted replies, differences
 * samples      all of it: two comparisons, counted, the record made */
#include "agent/journal_int.h"
#include "lib/base/counters.h"
#include "lib/base/mem.h"
#include "lib/compare/redact.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DEFAULT_MS 1000u
#define KEPT_FREED (8u << 20) /* as the agent does */

struct bench {
    struct reply primary, secondary, candidate, same;
    struct exchange exchange;
    struct compare_rules rules;
    struct journal_options journal;
    struct tally *tally;
    struct pb_out out;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "compare_bench: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- bodies of about `size` bytes, with what changes from reply to reply ---- */

static struct str json_body(size_t size, unsigned noise, unsigned price, bool space)
{
    struct text t = {0};
    text_fmt(&t,
        "{\"requestId\":\"2f1e4fc0-81fd-4da0-8b1c-%012u\",\"servedAt\":\"2026-12-01T10:00:%02uZ\","
        "\"items\":[",
        noise, noise % 60);
    for (unsigned i = 0; i == 0 || t.n + 120 < size; i++)
        text_fmt(&t,
            "%s{\"sku\":\"article-%u\",\"title\":\"Something to buy, number %u\",\"price\":%u.95,"
            "\"stock\":%u,\"tags\":[\"new\",\"blue\"],\"size\":null}",
            i ? "," : "", i, i, i == 0 ? price : i + 1, i * 3);
    text_add(&t, space ? STR("] }") : STR("]}"));
    return str_of(t.p, t.n);
}

static void put_item(struct pb_out *o, unsigned i, unsigned price)
{
    char title[64];
    snprintf(title, sizeof title, "Something to buy, number %u", i);
    size_t at = pb_begin(o, 3);
    pb_bytes(o, 1, str_c(title));
    pb_uint(o, 2, i == 0 ? price : i + 1);
    pb_uint(o, 3, i * 3);
    pb_end(o, at);
}

static struct str grpc_body(size_t size, unsigned noise, unsigned price)
{
    struct pb_out o = {0};
    char id[64];
    snprintf(id, sizeof id, "2f1e4fc0-81fd-4da0-8b1c-%012u", noise);
    pb_raw(&o, "\0\0\0\0\0", 5);
    pb_bytes(&o, 1, str_c(id));
    pb_uint(&o, 2, 1795700000 + noise);
    for (unsigned i = 0; i == 0 || o.n + 40 < size; i++)
        put_item(&o, i, price);
    for (unsigned i = 0; i < 4 && !o.failed; i++)
        o.p[1 + i] = (uint8_t)((o.n - 5) >> 8 * (3 - i));
    return pb_str(&o);
}

/* ---- what is measured ---- */

static void compare(struct bench *b, const struct reply *other, struct differences *ret)
{
    if (replies_compare(&b->primary, other, &b->rules, ret))
        die("out of memory");
}

static void comparison(struct bench *b)
{
    struct differences d;
    compare(b, &b->candidate, &d);
    differences_release(&d);
}

static void equal(struct bench *b)
{
    struct differences d;
    compare(b, &b->same, &d);
    if (d.n)
        die("what is equal differs");
    differences_release(&d);
}

static void redaction(struct bench *b)
{
    struct text out = {0};
    redact_body(b->rules.redact, b->primary.fields[0].value, NULL, b->primary.body, &out);
    text_release(&out);
}

static void put_record(struct bench *b, const struct tally_added *added)
{
    struct journal_sample s = {.sample = 1,
        .endpoint = STR("cart GET /cart"),
        .exchange = &b->exchange,
        .secondary = &b->secondary,
        .candidate = &b->candidate,
        .secondary_trace = b->exchange.trace_id,
        .candidate_trace = b->exchange.trace_id,
        .added = added,
        .redact = b->rules.redact};
    b->out.n = 0;
    if (journal_put_sample(&b->out, &s, &b->journal))
        die("out of memory");
}

static void record(struct bench *b)
{
    struct tally_added none = {0};
    put_record(b, &none);
}

static void sample(struct bench *b)
{
    struct differences secondary, candidate;
    struct tally_added added;
    compare(b, &b->secondary, &secondary);
    compare(b, &b->candidate, &candidate);
    struct tally_sample t = {.endpoint = STR("cart GET /cart"),
        .primary = &b->primary,
        .secondary = &b->secondary,
        .candidate = &b->candidate,
        .secondary_differs = &secondary,
        .candidate_differs = &candidate};
    if (tally_add(b->tally, &t, &added))
        die("out of memory");
    put_record(b, &added);
    mem_free(added.differences);
    differences_release(&secondary);
    differences_release(&candidate);
}

static double a_second(void (*one)(struct bench *b), struct bench *b, uint64_t ns)
{
    uint64_t start = now_ns();
    unsigned long n = 0;
    while (now_ns() < start + ns) {
        for (int i = 0; i < 20; i++, n++)
            one(b);
    }
    return (double)n * 1e9 / (double)(now_ns() - start);
}

/* ---- rows ---- */

static struct reply reply_of(const struct reply_field *fields, size_t n, struct str body)
{
    return (struct reply){
        .status = 200, .fields = fields, .nfields = n, .body = body, .latency_us = 1000};
}

static struct bench bench_of(const struct redact *r, const struct str body[4], struct str type)
{
    static struct reply_field reply[] = {{STR("content-type"), {0}}, {STR("server"), STR("nginx")},
        {STR("date"), STR("Tue, 01 Dec 2026 10:00:00 GMT")}};
    static const struct reply_field request[] = {{STR("accept"), STR("*/*")},
        {STR("user-agent"), STR("bench/1.0")}, {STR("cookie"), STR("session=0f8fad5b-d9cb-469f")},
        {STR("baggage"), STR("tenant=acme")}};
    reply[0].value = type;
    struct bench b = {.rules = {.limits = COMPARE_LIMITS_DEFAULT, .redact = r},
        .journal = {.messages = true, .message_bytes = 1u << 20},
        .primary = reply_of(reply, 3, body[0]),
        .secondary = reply_of(reply, 3, body[1]),
        .candidate = reply_of(reply, 3, body[2]),
        .same = reply_of(reply, 3, body[3]),
        .exchange = {.method = STR("GET"),
            .authority = STR("cart"),
            .path = STR("/cart?page=2"),
            .fields = request,
            .nfields = 4,
            .service = STR("cart"),
            .environment = STR("main")}};
    b.exchange.primary = b.primary;
    b.tally = tally_new(0.01);
    return b;
}

static void measure(
    const char *name, const struct redact *r, struct str body[4], struct str type, uint64_t ns)
{
    static const struct {
        const char *name;
        void (*one)(struct bench *b);
    } each[] = {{"comparisons", comparison}, {"equal", equal}, {"redactions", redaction},
        {"records", record}, {"samples", sample}};
    struct bench b = bench_of(r, body, type);
    if (!b.tally || !body[0].n || !body[3].n)
        die("out of memory");
    printf("\"%s\":{\"bytes\":%zu", name, body[0].n);
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++)
        printf(",\"%s\":%.0f", each[i].name, a_second(each[i].one, &b, ns));
    printf("}");
    tally_free(b.tally);
    pb_release(&b.out);
    for (unsigned i = 0; i < 4; i++)
        mem_free((void *)(uintptr_t)body[i].p);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {256, 2048, 16384, 262144};
    uint64_t ns = (argc > 1 ? strtoul(argv[1], NULL, 10) : DEFAULT_MS) * UINT64_C(1000000);
    struct redact_options o = {.key = "0123456789abcde"};
    struct err e;
    mem_keep_freed(KEPT_FREED);
    struct redact *r = redact_new(&o, &e);
    if (!r)
        die(e.text);
    printf("{");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char name[24];
        size_t n = sizes[i];
        struct str body[] = {json_body(n, 1, 3, false), json_body(n, 2, 3, false),
            json_body(n, 3, 4, false), json_body(n, 1, 3, true)};
        snprintf(name, sizeof name, "json-%zu", n);
        measure(name, r, body, STR("application/json"), ns);
        printf(",");
    }
    struct str body[] = {
        grpc_body(2048, 1, 3), grpc_body(2048, 2, 3), grpc_body(2048, 3, 4), grpc_body(2048, 1, 3)};
    measure("grpc-2048", r, body, STR("application/grpc"), ns);
    printf("}\n");
    redact_free(r);
    return 0;
}
