#include "lib/compare/redact_json.h"
#include <errno.h>

#define POOL_CHUNK 16384
#define NODES_MAX  200000 /* more than the comparison takes: what is not compared is kept, too */

/* What was written of the source so far. */
struct rewrite {
    const struct redact *r;
    struct text *out;
    struct text part;       /* of one string, redacted */
    const char *at;         /* source bytes before it were written */
    const char *secret_end; /* what is before it is below a secret name */
    bool any;
};

static const char *end_of(struct str s)
{
    return s.p + s.n;
}

static void copy_to(struct rewrite *w, const char *to)
{
    if (to > w->at)
        text_add(w->out, str_of(w->at, (size_t)(to - w->at)));
    w->at = to > w->at ? to : w->at;
}

/* In place of the source bytes `raw`: the part, as a JSON string. */
static void put_part(struct rewrite *w, struct str raw)
{
    copy_to(w, raw.p);
    text_add(w->out, STR("\""));
    text_json(w->out, str_of(w->part.p, w->part.n));
    text_add(w->out, STR("\""));
    w->at = end_of(raw);
    w->any = true;
}

static void redact_key(struct rewrite *w, const struct json_node *v)
{
    w->part.n = 0;
    if (redact_text(w->r, v->key, &w->part))
        put_part(w, v->raw_key);
    if (v->raw.p >= w->secret_end && redact_name(w->r, v->key))
        w->secret_end = end_of(v->raw);
}

static void redact_scalar(struct rewrite *w, const struct json_node *v)
{
    w->part.n = 0;
    if (v->raw.p < w->secret_end && v->text.n) {
        redact_mark(w->r, v->text, &w->part);
        put_part(w, v->raw);
    } else if (redact_text(w->r, v->text, &w->part)) {
        put_part(w, v->raw);
    }
}

bool redact_nodes(const struct redact *r, const struct json *j, const struct json_node *top,
    bool secret, size_t max, struct text *out)
{
    const char *end = end_of(top->raw);
    const struct json_node *last = j->node + j->nnodes;
    size_t from = out->n;
    struct rewrite w = {
        .r = r, .out = out, .at = top->raw.p, .secret_end = secret ? end : top->raw.p};
    const struct json_node *v = top;
    for (; v < last && v->raw.p < end; v++) {
        if (out->n - from + (size_t)(v->raw.p - w.at) >= max)
            break; /* what follows was not looked at */
        if (v != top && v->raw_key.n)
            redact_key(&w, v);
        if (v->type == JSON_STRING || v->type == JSON_NUMBER)
            redact_scalar(&w, v);
    }
    bool all = v == last || v->raw.p >= end;
    copy_to(&w, all ? end : v->raw_key.n ? v->raw_key.p : v->raw.p);
    if (w.part.failed)
        out->failed = w.part.failed;
    text_release(&w.part);
    return w.any;
}

bool redact_json(const struct redact *r, struct str body, struct text *out, bool *ret_any)
{
    struct json j;
    struct pool *pool = pool_new(POOL_CHUNK);
    int rc = pool ? json_read(&j, pool, body, JSON_DEPTH_MAX, NODES_MAX) : -ENOMEM;
    if (rc == -ENOMEM)
        out->failed = rc;
    if (rc == 0) {
        text_add(out, str_of(body.p, (size_t)(j.node[0].raw.p - body.p)));
        *ret_any = redact_nodes(r, &j, &j.node[0], false, SIZE_MAX, out);
        const char *end = end_of(j.node[0].raw);
        text_add(out, str_of(end, (size_t)(end_of(body) - end)));
    }
    pool_free(pool);
    return rc == 0;
}
