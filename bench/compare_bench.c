/* What comparing replies costs. Prints one JSON object.
 *
 *     compare_bench [MILLISECONDS]
 *
 * For JSON replies of 512 bytes, 2 KiB, 16 KiB and 128 KiB, a second of CPU time:
 * pairs       samples, each two comparisons (primary with secondary and with candidate), of replies
 *             with a noisy id and time and one wrong value; texts are redacted
 * equal       the same where nothing differs but the spelling
 * redactions  bodies redacted, as the journal needs it */
#include "lib/base/counters.h"
#include "lib/compare/compare.h"
#include "lib/compare/redact.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DEFAULT_MS 1000u

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double a_second(unsigned long n, uint64_t start)
{
    return (double)n * 1e9 / (double)(now_ns() - start);
}

/* About `size` bytes: a list of articles, with what changes from reply to reply. */
static struct text make_body(size_t size, unsigned noise, unsigned price)
{
    struct text t = {0};
    text_fmt(&t,
        "{\"requestId\":\"2f1e4fc0-81fd-4da0-8b1c-%012u\",\"servedAt\":\"2026-12-01T10:00:%02uZ\","
        "\"items\":[",
        noise, noise % 60);
    for (unsigned i = 0; t.n + 3 < size; i++)
        text_fmt(&t,
            "%s{\"sku\":\"article-%u\",\"title\":\"Something to buy, number %u\",\"price\":%u.95,"
            "\"stock\":%u,\"tags\":[\"new\",\"blue\"],\"size\":null}",
            i ? "," : "", i, i, i == 3 ? price : i + 1, i * 3);
    text_add(&t, STR("]}"));
    return t;
}

static struct reply reply_of(const struct reply_field *type, const struct text *body)
{
    return (struct reply){
        .status = 200, .fields = type, .nfields = 1, .body = str_of(body->p, body->n)};
}

static void compare(const struct reply *a, const struct reply *b, const struct compare_rules *rules)
{
    struct differences d;
    if (replies_compare(a, b, rules, &d))
        exit(1);
    differences_release(&d);
}

static double pairs_a_second(const struct reply *p, const struct reply *s, const struct reply *c,
    const struct compare_rules *rules, uint64_t ns)
{
    uint64_t start = now_ns();
    unsigned long n = 0;
    while (now_ns() < start + ns) {
        for (int i = 0; i < 20; i++, n++) {
            compare(p, s, rules);
            compare(p, c, rules);
        }
    }
    return a_second(n, start);
}

static double redactions_a_second(const struct redact *r, const struct reply *p, uint64_t ns)
{
    uint64_t start = now_ns();
    unsigned long n = 0;
    while (now_ns() < start + ns) {
        for (int i = 0; i < 20; i++, n++) {
            struct text out = {0};
            redact_body(r, p->fields[0].value, NULL, p->body, &out);
            text_release(&out);
        }
    }
    return a_second(n, start);
}

static void measure(size_t size, const struct redact *r, uint64_t ns, const char *before)
{
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT, .redact = r};
    struct reply_field type = {STR("content-type"), STR("application/json")};
    struct text primary = make_body(size, 1, 3), secondary = make_body(size, 2, 3);
    struct text candidate = make_body(size, 3, 4), same = make_body(size, 1, 3);
    text_add(&same, STR(" ")); /* not the same bytes: both are read */
    struct reply p = reply_of(&type, &primary), s = reply_of(&type, &secondary);
    struct reply c = reply_of(&type, &candidate), e = reply_of(&type, &same);
    printf("%s\"%zu\":{\"pairs\":%.0f,\"equal\":%.0f,\"redactions\":%.0f}", before, primary.n,
        pairs_a_second(&p, &s, &c, &rules, ns), pairs_a_second(&p, &e, &e, &rules, ns),
        redactions_a_second(r, &p, ns));
    text_release(&primary);
    text_release(&secondary);
    text_release(&candidate);
    text_release(&same);
}

int main(int argc, char **argv)
{
    uint64_t ns = (argc > 1 ? strtoul(argv[1], NULL, 10) : DEFAULT_MS) * UINT64_C(1000000);
    struct redact_options o = {.key = "0123456789abcde"};
    struct err e;
    struct redact *r = redact_new(&o, &e);
    if (!r)
        return 1;
    printf("{");
    measure(512, r, ns, "");
    measure(2048, r, ns, ",");
    measure(16384, r, ns, ",");
    measure(131072, r, ns, ",");
    printf("}\n");
    redact_free(r);
    return 0;
}
