/* Reading a spec, and writing it down. */
#include "agent/session_spec.h"
#include "lib/base/parse.h"
#include "lib/base/pool.h"
#include "lib/graph/actions.h"
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#define POOL_CHUNK 2048u

/* Where values come from, and where they go. */
struct reading {
    struct session_spec *s;
    spec_param_fn *param;
    void *arg;
    struct err *e;
};

static const char *value_of(const struct reading *r, const char *name)
{
    return r->param(r->arg, name, 0);
}

static int bad(const struct reading *r, const char *name, const char *want, const char *have)
{
    return err_set(r->e, -EINVAL, "%s: want %s, not '%s'", name, want, have);
}

static int no_memory(const struct reading *r)
{
    return err_set(r->e, -ENOMEM, "out of memory");
}

static int keep(const struct reading *r, const char *value, const char **ret)
{
    *ret = pool_str(r->s->pool, str_c(value)).p;
    return *ret ? 0 : no_memory(r);
}

static int take_name(const struct reading *r, const char *name, bool needed, const char **ret)
{
    const char *value = value_of(r, name);
    if (!value && needed)
        return err_set(r->e, -EINVAL, "%s: say %s=NAME", name, name);
    if (!value)
        return 0;
    if (!name_valid(str_c(value)))
        return bad(r, name, "a name of a-z, 0-9 and -, at most 63 bytes", value);
    return keep(r, value, ret);
}

static int take_list(const struct reading *r, const char *name, struct spec_list *ret)
{
    size_t n = 0;
    while (r->param(r->arg, name, n))
        n++;
    if (n > SPEC_LIST_MAX)
        return err_set(r->e, -EINVAL, "%s: more than %u of them", name, SPEC_LIST_MAX);
    ret->item = pool_alloc(r->s->pool, (n + 1) * sizeof *ret->item);
    if (!ret->item)
        return no_memory(r);
    for (; ret->n < n; ret->n++) {
        const char *value = r->param(r->arg, name, ret->n);
        if (!*value || strlen(value) > SPEC_TEXT_MAX || utf8_check(str_c(value)) != strlen(value))
            return bad(r, name, "UTF-8 of 1 to 512 bytes", value);
        if (keep(r, value, &ret->item[ret->n]) != 0)
            return -ENOMEM;
    }
    return 0;
}

/* Plain decimals: digits with at most one point. */
static int take_real(
    const struct reading *r, const char *name, double max, const char *want, double *ret)
{
    const char *value = value_of(r, name);
    size_t n = value ? strspn(value, "0123456789.") : 0;
    char *end = NULL;
    if (!value)
        return 0;
    double v = n && n < 24 && !value[n] ? strtod(value, &end) : -1;
    if (!end || *end || v <= 0 || v > max)
        return bad(r, name, want, value);
    *ret = v;
    return 0;
}

static int take_numbers(const struct reading *r)
{
    struct session_spec *s = r->s;
    const char *samples = value_of(r, "samples"), *life = value_of(r, "for");
    double percent = 100;
    uint64_t ms;
    s->epsilon = SPEC_EPSILON;
    s->for_s = SPEC_FOR_DEFAULT;
    if (take_real(r, "rate", 100, "a percentage above 0, at most 100", &percent) != 0 ||
        take_real(r, "epsilon", 0.5, "a number above 0, at most 0.5", &s->epsilon) != 0)
        return -EINVAL;
    s->rate_ppm = (uint32_t)lround(percent * 10000);
    if (s->rate_ppm == 0)
        return bad(r, "rate", "at least 0.0001 %", value_of(r, "rate"));
    if (samples && (parse_u64(str_c(samples), &s->samples) != 0 || s->samples == 0 ||
                       s->samples > SPEC_SAMPLES_MAX))
        return bad(r, "samples", "a number from 1 to 1000000000", samples);
    if (!life)
        return 0;
    if (parse_duration_ms(str_c(life), &ms) != 0 || ms < 1000 || ms / 1000 > SPEC_FOR_MAX)
        return bad(r, "for", "a time from 1 s to 30 days, as in 30m or 4h", life);
    s->for_s = ms / 1000;
    return 0;
}

static int take_word(
    const struct reading *r, const char *name, const char *no, const char *yes, bool *ret)
{
    const char *value = value_of(r, name);
    char want[64];
    if (!value || strcmp(value, no) == 0)
        return 0;
    snprintf(want, sizeof want, "%s or %s", no, yes);
    *ret = strcmp(value, yes) == 0;
    return *ret ? 0 : bad(r, name, want, value);
}

static int take_words(const struct reading *r)
{
    struct session_spec *s = r->s;
    bool limit = false;
    int rc = take_word(r, "strict", "0", "1", &s->strict);
    rc = rc ? rc : take_word(r, "redactOff", "0", "1", &s->redact_off);
    rc = rc ? rc : take_word(r, "credentials", "strip", "forward", &s->forward_credentials);
    rc = rc ? rc : take_word(r, "until", "decision", "limit", &limit);
    s->until = limit ? UNTIL_LIMIT : UNTIL_DECISION;
    return rc;
}

/* ---- headers ---- */

static bool header_allowed(struct str name)
{
    static const char *const ours[] = {"connection", "content-length", "host", "te", "trailer",
        "transfer-encoding", "upgrade", "baggage", "traceparent", "tracestate", "keep-alive"};
    if (name.n == 0 || name.n > 256 || str_starts(name, STR("x-offshoot-")))
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!token_char(name.p[i]))
            return false;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (str_eq(name, str_c(ours[i])))
            return false;
    return true;
}

/* The value is in no message: it is a secret. */
static int take_header(const struct reading *r, const char *text)
{
    struct session_spec *s = r->s;
    struct str all = pool_str(s->pool, str_c(text));
    if (!all.p)
        return no_memory(r);
    size_t colon = str_find(all, ':');
    char *name = (char *)(uintptr_t)all.p;
    for (size_t i = 0; i < colon; i++)
        name[i] = ascii_lower(name[i]);
    struct reply_field f = {str_of(all.p, colon), {0}};
    if (colon < all.n)
        f.value = str_trim(str_from(all, colon + 1));
    bool good = colon < all.n && header_allowed(f.name) && all.n <= 8192;
    for (size_t i = 0; good && i < f.value.n; i++)
        good = (unsigned char)f.value.p[i] >= ' ' && f.value.p[i] != 127;
    if (!good)
        return bad(r, "header", "NAME:VALUE, and none that belongs to the connection or to us",
            colon < all.n ? pool_fmt(s->pool, "%.*s:…", STR_ARG(f.name)).p : "(no colon)");
    s->headers[s->nheaders++] = f;
    return 0;
}

static int take_headers(const struct reading *r)
{
    struct session_spec *s = r->s;
    const char *text;
    s->headers = pool_alloc(s->pool, SPEC_LIST_MAX * sizeof *s->headers);
    if (!s->headers)
        return no_memory(r);
    while ((text = r->param(r->arg, "header", s->nheaders))) {
        if (s->nheaders == SPEC_LIST_MAX)
            return err_set(r->e, -EINVAL, "header: more than %u of them", SPEC_LIST_MAX);
        int rc = take_header(r, text);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- all of it ---- */

/* What a request line can hold: proxies refuse the rules of all sessions when one is not so. */
static bool path_valid(const char *path)
{
    bool good = *path == '/';
    for (; *path && good; path++)
        good = (unsigned char)*path > ' ' && *path != 127 && *path != '?' && *path != '#';
    return good;
}

static int judge_paths(const struct reading *r)
{
    const struct spec_list *l = &r->s->paths;
    size_t bytes = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (!path_valid(l->item[i]))
            return bad(r, "path", "a prefix that begins with / and has no query, fragment or space",
                l->item[i]);
        bytes += strlen(l->item[i]);
    }
    return bytes <= SPEC_PATHS_MAX
               ? 0
               : err_set(r->e, -EINVAL, "path: more than %u bytes together", SPEC_PATHS_MAX);
}

static int together(const struct reading *r)
{
    struct session_spec *s = r->s;
    struct addr at;
    if (judge_paths(r) != 0)
        return -EINVAL;
    for (size_t i = 0; i < s->services.n; i++)
        if (!name_valid(str_c(s->services.item[i])))
            return bad(r, "service", "the name of a service", s->services.item[i]);
    if (s->secondary && strcmp(s->secondary, s->baseline) == 0)
        return err_set(r->e, -EINVAL,
            "secondary: the baseline itself is what it is without; name an overlay of it");
    if (s->secondary && strcmp(s->secondary, s->candidate) == 0)
        return err_set(r->e, -EINVAL,
            "secondary: '%s' is the candidate: compared with itself it differs in nothing",
            s->secondary);
    if (s->through && (addr_parse(str_c(s->through), false, &at, r->e) != 0))
        return err_prefix(r->e, "through");
    return 0;
}

static int take_all(const struct reading *r)
{
    struct session_spec *s = r->s;
    const char *through = value_of(r, "through");
    int rc = take_name(r, "name", true, &s->name);
    rc = rc ? rc : take_name(r, "baseline", true, &s->baseline);
    rc = rc ? rc : take_name(r, "candidate", true, &s->candidate);
    rc = rc ? rc : take_name(r, "secondary", false, &s->secondary);
    rc = rc ? rc : take_list(r, "service", &s->services);
    rc = rc ? rc : take_list(r, "path", &s->paths);
    rc = rc ? rc : take_list(r, "ignore", &s->ignore);
    rc = rc ? rc : take_list(r, "redact", &s->redact);
    rc = rc ? rc : take_numbers(r);
    rc = rc ? rc : take_words(r);
    rc = rc ? rc : take_headers(r);
    if (rc == 0 && through)
        rc = keep(r, through, &s->through);
    return rc ? rc : together(r);
}

int spec_parse(struct session_spec *ret, spec_param_fn *param, void *arg, struct err *e)
{
    struct session_spec s = {.pool = pool_new(POOL_CHUNK)};
    struct reading r = {&s, param, arg, e};
    if (!s.pool)
        return no_memory(&r);
    int rc = take_all(&r);
    if (rc == 0)
        *ret = s;
    else
        pool_free(s.pool);
    return rc;
}

void spec_release(struct session_spec *s)
{
    pool_free(s->pool);
    *s = (struct session_spec){0};
}

/* ---- as JSON ---- */

static void add_text(struct text *out, const char *key, const char *value)
{
    text_fmt(out, "\"%s\":", key);
    text_add(out, value ? STR("\"") : STR("null"));
    text_json(out, str_c(value));
    text_add(out, value ? STR("\",") : STR(","));
}

static void add_list(struct text *out, const char *key, const struct spec_list *l)
{
    text_fmt(out, "\"%s\":[", key);
    for (size_t i = 0; i < l->n; i++) {
        text_add(out, i ? STR(",\"") : STR("\""));
        text_json(out, str_c(l->item[i]));
        text_add(out, STR("\""));
    }
    text_add(out, STR("],"));
}

void spec_json(const struct session_spec *s, struct text *out)
{
    char life[24];
    format_duration_ms(s->for_s * 1000, life);
    text_add(out, STR("{"));
    add_text(out, "baseline", s->baseline);
    add_text(out, "candidate", s->candidate);
    add_text(out, "secondary", s->secondary);
    add_list(out, "services", &s->services);
    add_list(out, "paths", &s->paths);
    text_fmt(out, "\"rate\":%.10g,\"samples\":", s->rate_ppm / 10000.0);
    text_fmt(out, s->samples ? "%llu" : "null", (unsigned long long)s->samples);
    text_fmt(out, ",\"for\":\"%s\",\"epsilon\":%.10g,\"credentials\":\"%s\",\"strict\":%s,", life,
        s->epsilon, s->forward_credentials ? "forward" : "strip", s->strict ? "true" : "false");
    add_list(out, "ignore", &s->ignore);
    add_list(out, "redact", &s->redact);
    text_fmt(out, "\"redact_off\":%s,\"headers\":[", s->redact_off ? "true" : "false");
    for (size_t i = 0; i < s->nheaders; i++) {
        text_add(out, i ? STR(",\"") : STR("\""));
        text_json(out, s->headers[i].name);
        text_add(out, STR("\""));
    }
    text_add(out, STR("],"));
    add_text(out, "through", s->through);
    text_fmt(out, s->descriptor_bytes ? "\"descriptors\":%llu," : "\"descriptors\":null,",
        (unsigned long long)s->descriptor_bytes);
    text_fmt(out, "\"until\":\"%s\"}", s->until == UNTIL_LIMIT ? "limit" : "decision");
}

/* The parameters that a written spec stands for. */
struct written {
    const char *name;
    json_t *o;
    char number[8][32]; /* of the numbers given as texts, each in turn */
    unsigned turn;
};

static const char *written_number(struct written *w, json_t *v)
{
    char *out = w->number[w->turn++ % 8];
    if (json_is_integer(v))
        snprintf(out, sizeof w->number[0], "%lld", (long long)json_integer_value(v));
    else
        snprintf(out, sizeof w->number[0], "%.10f", json_real_value(v));
    return out;
}

static const char *written_param(void *arg, const char *name, size_t i)
{
    static const char *const other[][2] = {{"service", "services"}, {"path", "paths"},
        {"redactOff", "redact_off"}, {"header", "headers"}};
    struct written *w = arg;
    const char *key = name;
    if (strcmp(name, "name") == 0)
        return i ? NULL : w->name;
    for (size_t k = 0; k < sizeof other / sizeof *other; k++)
        if (strcmp(name, other[k][0]) == 0)
            key = other[k][1];
    json_t *v = json_object_get(w->o, key);
    if (json_is_array(v))
        return json_string_value(json_array_get(v, i));
    if (i > 0 || !v || json_is_null(v))
        return NULL;
    if (json_is_boolean(v))
        return json_is_true(v) ? "1" : "0";
    return json_is_number(v) ? written_number(w, v) : json_string_value(v);
}

/* Names of headers stand for headers without a value. */
static const char *written_without_headers(void *arg, const char *name, size_t i)
{
    return strcmp(name, "header") == 0 ? NULL : written_param(arg, name, i);
}

static int keep_header_names(struct session_spec *s, struct written *w)
{
    const char *name;
    while (s->nheaders < SPEC_LIST_MAX && (name = written_param(w, "header", s->nheaders))) {
        struct str copy = pool_str(s->pool, str_c(name));
        if (!copy.p)
            return -ENOMEM;
        s->headers[s->nheaders++] = (struct reply_field){copy, {0}};
    }
    s->headers_lost = s->nheaders > 0;
    return 0;
}

int spec_from_json(struct session_spec *ret, const char *name, const char *json, struct err *e)
{
    json_error_t fault;
    struct written w = {.name = name, .o = json_loads(json, JSON_REJECT_DUPLICATES, &fault)};
    if (!json_is_object(w.o)) {
        json_decref(w.o);
        return err_set(e, -EINVAL, "session '%s': its journal has no readable spec", name);
    }
    int rc = spec_parse(ret, written_without_headers, &w, e);
    if (rc == 0)
        ret->descriptor_bytes = (uint64_t)json_integer_value(json_object_get(w.o, "descriptors"));
    if (rc == 0 && keep_header_names(ret, &w) != 0) {
        spec_release(ret);
        rc = err_set(e, -ENOMEM, "out of memory");
    }
    json_decref(w.o);
    return rc == 0 || rc == -ENOMEM ? rc : err_prefix(e, "session '%s': its journal", name);
}
