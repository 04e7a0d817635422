/* Replies beside the recorded ones. What was recorded is redacted and its bodies are plain, so the
 * new reply is made so first, by the same rules. The hash in "[redacted:...]" is of another key:
 * all redacted places are equal. */
#include "ctl/replay.h"
#include "lib/base/mem.h"
#include "lib/compare/descriptors.h"
#include "lib/compare/inflate.h"
#include "lib/compare/redact.h"
#include "lib/compare/tally.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/random.h>

#define INFLATED_MAX (8u << 20)
#define PATTERNS_MAX 1000u

/* ---- the rules of the session ---- */

struct patterns {
    const char *item[PATTERNS_MAX];
    size_t n;
};

static void add_patterns(struct patterns *p, const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array) && p->n < PATTERNS_MAX; i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (text)
            p->item[p->n++] = text;
    }
}

static int begin(struct score *s, const json_t *spec, const struct values *ignore, struct err *e)
{
    struct patterns patterns = {.n = 0}, names = {.n = 0};
    struct redact_options o = {.names = names.item};
    add_patterns(&patterns, json_object_get(spec, "ignore"));
    for (size_t i = 0; i < ignore->n && patterns.n < PATTERNS_MAX; i++)
        patterns.item[patterns.n++] = ignore->item[i];
    s->ignore = ignore_new(patterns.item, patterns.n, e);
    if (!s->ignore)
        return e->code;
    if (json_is_true(json_object_get(spec, "redact_off")))
        return 0;
    add_patterns(&names, json_object_get(spec, "redact"));
    o.nnames = names.n;
    if (getrandom(o.key, sizeof(o.key), 0) != (ssize_t)sizeof(o.key))
        return err_set(e, -errno, "cannot make a random key: %s", strerror(errno));
    s->redact = redact_new(&o, e);
    return s->redact ? 0 : e->code;
}

int score_begin(struct score *s, const char *spec_json, const struct values *ignore, struct err *e)
{
    json_t *spec = json_loads(spec_json, 0, NULL);
    s->field = mem_array(SCORE_FIELDS, sizeof(*s->field));
    int rc = s->field ? begin(s, spec, ignore, e) : err_set(e, -ENOMEM, "out of memory");
    json_decref(spec);
    return rc;
}

static void field_release(struct score_field *f)
{
    for (unsigned i = 0; i < f->nexamples; i++) {
        mem_free(f->example[i].recorded);
        mem_free(f->example[i].candidate);
    }
    mem_free(f->endpoint);
    mem_free(f->path);
}

void score_release(struct score *s)
{
    for (size_t i = 0; i < s->nfields; i++)
        field_release(&s->field[i]);
    mem_free(s->field);
    ignore_free(s->ignore);
    redact_free(s->redact);
    descriptors_free(s->descriptors);
    s->nfields = 0;
}

void score_count(struct score_word *words, const char *word)
{
    size_t i = 0;
    while (i + 1 < SCORE_WORDS && words[i].word && strcmp(words[i].word, word) != 0)
        i++;
    if (!words[i].word)
        words[i].word = word;
    words[i].count++;
}

/* ---- both replies made alike ---- */

/* "[redacted:1a2b3c4d]": the digits become zeros. */
static void mask(void *bytes, size_t n)
{
    char *p = bytes, *end = p + n, *at;
    while ((size_t)(end - p) >= 19 && (at = memmem(p, (size_t)(end - p), "[redacted:", 10))) {
        p = at + 10;
        if (end - p >= 9 && p[8] == ']')
            memset(p, '0', 8);
    }
}

/* Fields whose meaning went with the recording: bodies are plain, or are not compared. */
static bool is_left_out(struct str name, bool cut)
{
    return str_eq(name, STR("content-encoding")) || (cut && str_eq(name, STR("content-length")));
}

struct alike {
    struct reply reply;
    struct reply_field *fields; /* and the trailers behind them */
    struct text *texts;         /* one for each field, and one for the body */
    size_t ntexts;
    char *inflated;
};

static int alike_begin(struct alike *a, size_t n)
{
    *a = (struct alike){.ntexts = n + 1};
    a->fields = mem_array(n + 1, sizeof(*a->fields));
    a->texts = mem_zalloc((n + 1) * sizeof(*a->texts));
    return a->fields && a->texts ? 0 : -ENOMEM;
}

static void alike_release(struct alike *a)
{
    for (size_t i = 0; a->texts && i < a->ntexts; i++)
        text_release(&a->texts[i]);
    mem_free(a->texts);
    mem_free(a->fields);
    mem_free(a->inflated);
}

static int redact_one(const struct redact *r, struct reply_field *f, struct text *t)
{
    if (!r)
        return 0;
    redact_field(r, f->name, f->value, t);
    if (t->n)
        mask(t->p, t->n);
    f->value = str_of(t->p, t->n);
    return t->failed;
}

/* "/package.Service/Method" of a gRPC call; else empty. */
static struct str method_of(const recorded_sample *s)
{
    struct str path = str_c(s->request->grpc ? s->request->path : "");
    return str_of(path.p, str_find(path, '?'));
}

static int alike_body(
    const struct score *s, struct str method, const struct reply *from, struct alike *a)
{
    struct str coding = reply_field_value(from->fields, from->nfields, STR("content-encoding"));
    struct str type = reply_field_value(from->fields, from->nfields, STR("content-type"));
    struct str body = from->body;
    struct text *t = &a->texts[a->ntexts - 1];
    int rc = body_inflate(coding, from->body, INFLATED_MAX, &body, &a->inflated);
    if (rc == -ENOMEM)
        return rc;
    if (rc)
        body = from->body; /* the recorded one could be undone: that is a difference */
    a->reply.body = body;
    if (!s->redact || !body.n)
        return 0;
    const struct descriptor_message *messages =
        s->descriptors && method.n ? descriptors_reply(s->descriptors, method) : NULL;
    redact_body(s->redact, type, messages, body, t);
    if (t->n)
        mask(t->p, t->n);
    a->reply.body = str_of(t->p, t->n);
    return t->failed;
}

static int alike_fields(const struct redact *r, const struct reply_field *from, size_t n, bool cut,
    struct alike *a, struct reply_field *to, size_t *ret_n)
{
    int rc = 0;
    struct text *t = &a->texts[to - a->fields];
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (is_left_out(from[i].name, cut))
            continue;
        to[*ret_n] = from[i];
        rc = redact_one(r, &to[*ret_n], &t[*ret_n]);
        ++*ret_n;
    }
    return rc;
}

static int alike_make(
    const struct score *s, const recorded_sample *sample, const struct reply *from, struct alike *a)
{
    bool cut = sample->primary->cut;
    int rc = alike_begin(a, from->nfields + from->ntrailers);
    if (rc)
        return rc;
    a->reply = *from;
    a->reply.body = (struct str){0};
    a->reply.nfields = a->reply.ntrailers = 0;
    a->reply.fields = a->fields;
    a->reply.trailers = a->fields + from->nfields;
    rc = alike_fields(s->redact, from->fields, from->nfields, cut, a, a->fields, &a->reply.nfields);
    if (rc == 0)
        rc = alike_fields(s->redact, from->trailers, from->ntrailers, cut, a,
            a->fields + from->nfields, &a->reply.ntrailers);
    if (rc == 0 && !cut)
        rc = alike_body(s, method_of(sample), from, a);
    return rc;
}

/* ---- the recorded one ---- */

static size_t recorded_fields(Offshoot__V1__JournalField *const *from, size_t n, bool cut,
    bool masked, struct reply_field *to)
{
    size_t ret = 0;
    for (size_t i = 0; i < n; i++) {
        struct str name = str_c(from[i]->name);
        if (is_left_out(name, cut))
            continue;
        if (masked)
            mask(from[i]->value.data, from[i]->value.len);
        to[ret++] = (struct reply_field){
            name, str_of((const char *)from[i]->value.data, from[i]->value.len)};
    }
    return ret;
}

static void recorded_make(
    const recorded_reply *from, bool masked, struct reply_field *room, struct reply *ret)
{
    *ret = (struct reply){.outcome = REPLY_WHOLE,
        .status = from->status,
        .fields = room,
        .trailers = room + from->n_fields,
        .latency_us = from->latency_us};
    ret->nfields = recorded_fields(from->fields, from->n_fields, from->cut, masked, room);
    ret->ntrailers =
        recorded_fields(from->trailers, from->n_trailers, from->cut, masked, room + from->n_fields);
    if (from->cut)
        return;
    if (masked && from->body.len)
        mask(from->body.data, from->body.len);
    ret->body = str_of((const char *)from->body.data, from->body.len);
}

/* ---- counting ---- */

static struct score_field *find_field(
    const struct score *s, const char *endpoint, const struct difference *d)
{
    for (size_t i = 0; i < s->nfields; i++) {
        struct score_field *f = &s->field[i];
        if (f->kind == d->kind && str_eq(str_c(f->path), d->path) &&
            strcmp(f->endpoint, endpoint) == 0)
            return f;
    }
    return NULL;
}

static int add_field(struct score *s, const char *endpoint, const struct difference *d)
{
    struct score_field *f = &s->field[s->nfields];
    *f = (struct score_field){.endpoint = mem_dup(endpoint, strlen(endpoint)),
        .path = mem_dup(d->path.p, d->path.n),
        .kind = d->kind};
    if (f->endpoint && f->path) {
        s->nfields++;
        return 0;
    }
    field_release(f);
    return -ENOMEM;
}

static int add_example(struct score_field *f, uint64_t sample, const struct difference *d)
{
    struct score_example *x = &f->example[f->nexamples];
    *x = (struct score_example){sample, mem_dup(d->a.p, d->a.n), mem_dup(d->b.p, d->b.n)};
    f->nexamples++;
    return x->recorded && x->candidate ? 0 : -ENOMEM;
}

static int count_one(struct score *s, const recorded_sample *from, const struct difference *d)
{
    struct score_field *f = find_field(s, from->endpoint, d);
    if (!f && s->nfields == SCORE_FIELDS) {
        s->more++;
        return 0;
    }
    if (!f && add_field(s, from->endpoint, d))
        return -ENOMEM;
    f = f ? f : &s->field[s->nfields - 1];
    f->count++;
    return f->nexamples < SCORE_EXAMPLES ? add_example(f, from->sample, d) : 0;
}

static int count(
    struct score *s, const recorded_sample *from, const struct reply *a, const struct reply *b)
{
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT, .ignore = s->ignore};
    struct differences d;
    rules.grpc_method = method_of(from);
    rules.descriptors = rules.grpc_method.n ? s->descriptors : NULL;
    int rc = replies_compare(a, b, &rules, &d);
    if (rc)
        return rc;
    s->differ += d.n > 0;
    for (size_t i = 0; i < d.n && rc == 0; i++)
        rc = count_one(s, from, &d.item[i]);
    differences_release(&d);
    return rc;
}

int score_add(struct score *s, const recorded_sample *from, const struct reply *reply)
{
    const recorded_reply *p = from->primary;
    struct reply primary;
    struct alike candidate = {.ntexts = 0};
    s->compared++;
    if (reply->outcome != REPLY_WHOLE) {
        s->differ++;
        *(reply->outcome == REPLY_TIMEOUT ? &s->timeout : &s->transport) += 1;
        return 0;
    }
    s->without_body += p->cut != 0;
    struct reply_field *room = mem_array(p->n_fields + p->n_trailers + 1, sizeof(*room));
    int rc = room ? alike_make(s, from, reply, &candidate) : -ENOMEM;
    if (rc == 0) {
        recorded_make(p, s->redact != NULL, room, &primary);
        rc = count(s, from, &primary, &candidate.reply);
    }
    alike_release(&candidate);
    mem_free(room);
    return rc;
}

static int by_count(const void *a, const void *b)
{
    const struct score_field *x = a, *y = b;
    return x->count < y->count ? 1 : x->count > y->count ? -1 : strcmp(x->path, y->path);
}

void score_sort(struct score *s)
{
    if (s->nfields)
        qsort(s->field, s->nfields, sizeof(*s->field), by_count);
}
