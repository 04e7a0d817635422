/* Rules of the access log: whatever is read is judged as a naive reading of its text says.
 *
 * Input: a rule a line. */
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "proxy/logwhen.h"
#include "tests/fuzz/fuzz.h"

#define RULES_MAX 32

static bool is_status(struct str word, unsigned status)
{
    if (str_eq(word, STR("none")))
        return status == 0;
    unsigned first = (unsigned)(word.p[0] - '0');
    if (word.p[1] == 'x')
        return status / 100 == first;
    return status == first * 100 + (unsigned)(word.p[1] - '0') * 10 + (unsigned)(word.p[2] - '0');
}

/* The values of a term, one of which must be the fact. */
static bool one_fits(struct str name, struct str values, const struct log_facts *f)
{
    while (values.n) {
        struct str word = next_part(&values, '|');
        if ((str_eq(name, STR("status")) && is_status(word, f->status)) ||
            (str_eq(name, STR("class")) && str_eq(word, str_c(f->cls))) ||
            (str_eq(name, STR("env")) && str_eq(word, f->env)) ||
            (str_eq(name, STR("service")) && str_eq(word, f->service)) ||
            (str_eq(name, STR("refusal")) && str_eq(word, str_c(f->refusal))) ||
            (str_eq(name, STR("protocol")) && str_eq(word, str_c(f->protocol))) ||
            (str_eq(name, STR("listener")) && str_eq(word, str_c(f->listener))))
            return true;
    }
    return false;
}

static bool term_fits(struct str term, const struct log_facts *f)
{
    struct str name = next_part(&term, '=');
    uint64_t ms = 0;
    if (str_eq(name, STR("errors")))
        return f->error;
    if (str_eq(name, STR("sample")))
        return true; /* there is no trace: it is in every sample */
    if (!str_eq(name, STR("slower")))
        return one_fits(name, term, f);
    demand(parse_duration_ms(term, &ms) == 0);
    return f->total_us > ms * 1000;
}

static bool rule_fits(struct str rule, const struct log_facts *f)
{
    bool all = true;
    while (rule.n) {
        struct str term = next_part(&rule, ' ');
        if (term.n)
            all = all && term_fits(term, f);
    }
    return all;
}

static void compare(const struct log_when *w, const char *const *rules, size_t n)
{
    static const struct log_facts facts[] = {
        {.status = 200,
            .total_us = 1000,
            .cls = "local",
            .env = {"main", 4},
            .service = {"cart", 4},
            .refusal = "",
            .protocol = "http1",
            .listener = "trusted"},
        {.status = 502,
            .total_us = 1000001,
            .cls = "refused",
            .refusal = "connect",
            .protocol = "http2",
            .listener = "untrusted",
            .error = true},
        {.status = 0,
            .total_us = 0,
            .cls = "-",
            .refusal = "",
            .protocol = "tcp",
            .listener = "untrusted",
            .error = true},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        bool any = n == 0;
        for (size_t k = 0; k < n; k++)
            any = any || rule_fits(str_c(rules[k]), &facts[i]);
        demand(log_when_fits(w, &facts[i]) == any);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_dup((const char *)data, size);
    const char *rules[RULES_MAX];
    size_t n = 0;
    struct log_when w;
    struct err e = {0};
    demand(text != NULL);
    for (char *at = text, *end; n < RULES_MAX && at < text + size; at = end + 1) {
        end = strchr(at, '\n');
        rules[n++] = at;
        if (!end)
            break;
        *end = '\0';
    }
    if (log_when_parse(&w, rules, n, &e) == 0)
        compare(&w, rules, n);
    else
        demand(e.code != 0 && w.nterms == 0);
    log_when_release(&w);
    mem_free(text);
    demand(mem_live() == 0);
    return 0;
}
