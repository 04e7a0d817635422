#include "proxy/logwhen.h"
#include "lib/base/conf.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/snapshot.h"
#include <errno.h>
#include <xxhash.h>

static const char *const term_words[TERM_KINDS] = {"errors", "slower", "status", "class", "env",
    "service", "refusal", "protocol", "listener", "sample"};
static const char *const class_words[] = {"local", "explicit", "ancestor", "baseline", "shared",
    "refused", "redirect", "share-link", "share-leave", NULL};
static const char *const protocol_words[] = {"http1", "http2", "tcp", NULL};
static const char *const listener_words[] = {"trusted", "untrusted", NULL};

/* Takes the next of the alternatives off. */
static struct str next_word(struct str *rest)
{
    size_t bar = str_find(*rest, '|');
    struct str word = str_of(rest->p, bar);
    *rest = str_from(*rest, bar < rest->n ? bar + 1 : bar);
    return word;
}

/* ---- reading ---- */

static bool status_valid(struct str s)
{
    if (str_eq(s, STR("none")))
        return true;
    if (s.n != 3 || s.p[0] < '1' || s.p[0] > '5')
        return false;
    bool digits = s.p[1] >= '0' && s.p[1] <= '9' && s.p[2] >= '0' && s.p[2] <= '9';
    return digits || (s.p[1] == 'x' && s.p[2] == 'x');
}

static bool one_of(struct str s, const char *const *words)
{
    while (*words && !str_eq(s, str_c(*words)))
        words++;
    return *words;
}

static bool refusal_valid(struct str s)
{
    for (unsigned i = 1; i < REFUSAL_COUNT; i++)
        if (str_eq(s, str_c(refusal_word(i))))
            return true;
    return false;
}

static bool word_valid(enum log_term_kind kind, struct str s)
{
    switch (kind) {
    case TERM_STATUS:
        return status_valid(s);
    case TERM_CLASS:
        return one_of(s, class_words);
    case TERM_PROTOCOL:
        return one_of(s, protocol_words);
    case TERM_LISTENER:
        return one_of(s, listener_words);
    case TERM_REFUSAL:
        return refusal_valid(s);
    default:
        return name_valid(s);
    }
}

/* "1%", "0.05%": of 2^32. */
static int read_share(struct str s, uint64_t *ret)
{
    uint64_t whole = 0, part = 0, scale = 1;
    if (s.n < 2 || s.p[s.n - 1] != '%')
        return -EINVAL;
    s.n--;
    size_t dot = str_find(s, '.');
    if (parse_u64(str_of(s.p, dot), &whole) != 0 || whole > 100)
        return -EINVAL;
    if (dot + 1 == s.n || s.n > dot + 7)
        return -EINVAL;
    for (size_t i = dot + 1; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -EINVAL;
        part = part * 10 + (uint64_t)(s.p[i] - '0');
        scale *= 10;
    }
    uint64_t share = ((whole * scale + part) << 32) / (100 * scale);
    if (share == 0 || share > UINT64_C(1) << 32)
        return -EINVAL;
    *ret = share;
    return 0;
}

static int read_value(struct log_term *t, struct str value, struct err *e)
{
    struct str rest = value;
    switch (t->kind) {
    case TERM_SLOWER:
        if (parse_duration_ms(value, &t->number) != 0)
            return err_set(
                e, -EINVAL, "want slower=DURATION, as 500ms, not '%.*s'", STR_ARG(value));
        t->number *= 1000;
        return 0;
    case TERM_SAMPLE:
        if (read_share(value, &t->number) != 0)
            return err_set(e, -EINVAL, "want sample=SHARE, as 1%%, not '%.*s'", STR_ARG(value));
        return 0;
    default:
        break;
    }
    do {
        struct str word = next_word(&rest);
        if (!word_valid(t->kind, word))
            return err_set(
                e, -EINVAL, "%s: unknown word '%.*s'", term_words[t->kind], STR_ARG(word));
    } while (rest.n);
    if (value.p[value.n - 1] == '|')
        return err_set(e, -EINVAL, "%s: nothing after '|'", term_words[t->kind]);
    t->words = value;
    return 0;
}

static int unknown_term(struct str name, struct err *e)
{
    char word[64];
    if (name.n < sizeof word) {
        memcpy(word, name.p, name.n);
        word[name.n] = '\0';
        const char *near = conf_nearest(word, term_words, TERM_KINDS);
        if (near)
            return err_set(e, -EINVAL, "unknown condition '%s', did you mean '%s'?", word, near);
    }
    return err_set(e, -EINVAL,
        "unknown condition '%.*s' (known: errors, slower, status, class, env, service, refusal, "
        "protocol, listener, sample)",
        STR_ARG(name));
}

static int read_term(struct log_term *t, struct str text, struct err *e)
{
    size_t eq = str_find(text, '='), kind = 0;
    struct str name = str_of(text.p, eq), value = str_from(text, eq < text.n ? eq + 1 : eq);
    while (kind < TERM_KINDS && !str_eq(name, str_c(term_words[kind])))
        kind++;
    if (kind == TERM_KINDS)
        return unknown_term(name, e);
    *t = (struct log_term){.kind = (uint8_t)kind};
    if (kind == TERM_ERRORS && eq < text.n)
        return err_set(e, -EINVAL, "errors takes no value");
    if (kind == TERM_ERRORS)
        return 0;
    if (value.n == 0)
        return err_set(e, -EINVAL, "want %s=...", term_words[kind]);
    return read_value(t, value, e);
}

static int read_rule(struct log_when *w, struct str rule, struct err *e)
{
    size_t before = w->nterms;
    for (struct str rest = rule; rest.n;) {
        size_t end = str_find(rest, ' ');
        if (end) {
            if (w->nterms == LOG_TERMS_MAX)
                return err_set(e, -EINVAL, "more than %u conditions", LOG_TERMS_MAX);
            int rc = read_term(&w->terms[w->nterms], str_of(rest.p, end), e);
            if (rc != 0)
                return rc;
            w->nterms++;
        }
        rest = str_from(rest, end < rest.n ? end + 1 : end);
    }
    if (w->nterms == before)
        return err_set(e, -EINVAL, "an empty condition");
    w->terms[w->nterms - 1].ends = true;
    return 0;
}

int log_when_parse(struct log_when *ret, const char *const *rules, size_t n, struct err *e)
{
    size_t size = 0, at = 0;
    *ret = (struct log_when){0};
    for (size_t i = 0; i < n; i++)
        size += strlen(rules[i]) + 1;
    if (n == 0)
        return 0;
    if (size > LOG_TEXT_MAX)
        return err_set(e, -EINVAL, "conditions of more than %u bytes", LOG_TEXT_MAX);
    struct log_when w = {mem_array(LOG_TERMS_MAX, sizeof *w.terms), 0, mem_alloc(size)};
    int rc = w.terms && w.text ? 0 : err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; w.text && i < n && rc == 0; i++) {
        struct str rule = {w.text + at, strlen(rules[i])};
        memcpy(w.text + at, rules[i], rule.n + 1);
        at += rule.n + 1;
        rc = read_rule(&w, rule, e);
    }
    if (rc == 0)
        *ret = w;
    else
        log_when_release(&w);
    return rc;
}

void log_when_release(struct log_when *w)
{
    mem_free(w->terms);
    mem_free(w->text);
    *w = (struct log_when){0};
}

/* ---- judging ---- */

static bool has_word(struct str words, struct str word)
{
    while (words.n)
        if (str_eq(next_word(&words), word))
            return true;
    return false;
}

static bool has_status(struct str words, unsigned status)
{
    char exact[4] = {(char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10),
        (char)('0' + status % 10), '\0'};
    char family[4] = {exact[0], 'x', 'x', '\0'};
    if (status == 0)
        return has_word(words, STR("none"));
    return has_word(words, str_of(exact, 3)) || has_word(words, str_of(family, 3));
}

/* A request without a trace-id was refused before it got one: it is in every sample. */
static bool in_sample(struct str trace, uint64_t below)
{
    return trace.n == 0 || XXH64(trace.p, trace.n, 0) >> 32 < below;
}

static bool holds(const struct log_term *t, const struct log_facts *f)
{
    switch ((enum log_term_kind)t->kind) {
    case TERM_ERRORS:
        return f->error;
    case TERM_SLOWER:
        return f->total_us > t->number;
    case TERM_STATUS:
        return has_status(t->words, f->status);
    case TERM_CLASS:
        return has_word(t->words, str_c(f->cls));
    case TERM_ENV:
        return has_word(t->words, f->env);
    case TERM_SERVICE:
        return has_word(t->words, f->service);
    case TERM_REFUSAL:
        return has_word(t->words, str_c(f->refusal));
    case TERM_PROTOCOL:
        return has_word(t->words, str_c(f->protocol));
    case TERM_LISTENER:
        return has_word(t->words, str_c(f->listener));
    case TERM_SAMPLE:
        return in_sample(f->trace, t->number);
    case TERM_KINDS:
        break;
    }
    return false;
}

bool log_when_fits(const struct log_when *w, const struct log_facts *f)
{
    bool all = true;
    for (size_t i = 0; i < w->nterms; i++) {
        all = all && holds(&w->terms[i], f);
        if (w->terms[i].ends && all)
            return true;
        all = all || w->terms[i].ends;
    }
    return w->nterms == 0;
}
