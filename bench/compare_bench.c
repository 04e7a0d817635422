/* What comparing replies costs. Prints one JSON object.
 *
 *     compare_bench [SECONDS]
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

#define DEFAULT_SECONDS 1.0

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
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
    const struct compare_rules *rules, double seconds)
{
    double start = now_s(), end = start;
    unsigned long n = 0;
    for (; end < start + seconds; end = now_s()) {
        for (int i = 0; i < 20; i++, n++) {
            compare(p, s, rules);
            compare(p, c, rules);
        }
    }
    return (double)n / (end - start);
}

static double redactions_a_second(const struct redact *r, const struct reply *p, double seconds)
{
    double start = now_s(), end = start;
    unsigned long n = 0;
    for (; end < start + seconds; end = now_s()) {
        for (int i = 0; i < 20; i++, n++) {
            struct text out = {0};
            redact_body(r, p->fields[0].value, p->body, &out);
            text_release(&out);
        }
    }
    return (double)n / (end - start);
}

static void measure(size_t size, const struct redact *r, double seconds, const char *before)
{
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT, .redact = r};
    struct reply_field type = {STR("content-type"), STR("application/json")};
    struct text primary = make_body(size, 1, 3), secondary = make_body(size, 2, 3);
    struct text candidate = make_body(size, 3, 4), same = make_body(size, 1, 3);
    text_add(&same, STR(" ")); /* not the same bytes: both are read */
    struct reply p = reply_of(&type, &primary), s = reply_of(&type, &secondary);
    struct reply c = reply_of(&type, &candidate), e = reply_of(&type, &same);
    printf("%s\"%zu\":{\"pairs\":%.0f,\"equal\":%.0f,\"redactions\":%.0f}", before, primary.n,
        pairs_a_second(&p, &s, &c, &rules, seconds), pairs_a_second(&p, &e, &e, &rules, seconds),
        redactions_a_second(r, &p, seconds));
    text_release(&primary);
    text_release(&secondary);
    text_release(&candidate);
    text_release(&same);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : DEFAULT_SECONDS;
    struct redact_options o = {.key = "0123456789abcde"};
    struct err e;
    struct redact *r = redact_new(&o, &e);
    if (!r)
        return 1;
    printf("{");
    measure(512, r, seconds, "");
    measure(2048, r, seconds, ",");
    measure(16384, r, seconds, ",");
    measure(131072, r, seconds, ",");
    printf("}\n");
    redact_free(r);
    return 0;
}
