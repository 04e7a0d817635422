/* Requests and replies on their way into the journal: redacted, bodies plain, cut by whole bodies.
 *
 * A body is unpacked first, because a secret in a gzip stream is as readable as any other. What
 * cannot be unpacked is left out: nothing can be taken out of it. */
#include "agent/journal_int.h"
#include "lib/base/mem.h"
#include "lib/compare/inflate.h"
#include "lib/compare/redact.h"
#include <errno.h>
#include <xxhash.h>

/* What became of a body. */
struct kept {
    struct str body; /* borrowed from the message, owned or text */
    char *owned;
    struct text text;
    bool redacted, cut;
};

static void kept_release(struct kept *k)
{
    mem_free(k->owned);
    text_release(&k->text);
}

static int keep_body(struct str body, const struct reply_field *fields, size_t nfields,
    const struct journal_keep *k, struct kept *ret)
{
    uint64_t max = k->max;
    struct str coding = reply_field_value(fields, nfields, STR("content-encoding"));
    struct str type = reply_field_value(fields, nfields, STR("content-type"));
    *ret = (struct kept){0};
    uint32_t most = max > UINT32_MAX ? UINT32_MAX : (uint32_t)max;
    int rc = body.n > max ? -E2BIG : body_inflate(coding, body, most, &ret->body, &ret->owned);
    if (rc == -ENOMEM)
        return rc;
    if (rc) {
        ret->cut = true;
        ret->body = (struct str){0};
        return 0;
    }
    if (!k->redact || !ret->body.n)
        return 0;
    ret->redacted = redact_body(k->redact, type, k->messages, ret->body, &ret->text);
    ret->body = str_of(ret->text.p, ret->text.n);
    return ret->text.failed;
}

/* Appends a text that was redacted, as it came without rules. */
typedef bool redacting(const struct redact *r, struct str name, struct str value, struct text *out);

static bool path_only(const struct redact *r, struct str name, struct str value, struct text *out)
{
    (void)name;
    return redact_path(r, value, out);
}

static int redacted(redacting *fn, const struct redact *r, struct str name, struct str value,
    struct text *out, bool *ret_redacted)
{
    out->n = 0;
    bool taken = r ? fn(r, name, value, out) : (text_add(out, value), false);
    *ret_redacted |= taken;
    return out->failed;
}

static int put_text(struct pb_out *o, uint32_t field, redacting *fn, const struct redact *r,
    struct str value, bool *ret_redacted)
{
    struct text t = {0};
    int rc = redacted(fn, r, (struct str){0}, value, &t, ret_redacted);
    if (rc == 0)
        journal_put_text(o, field, str_of(t.p, t.n));
    text_release(&t);
    return rc;
}

static bool is_credential(const struct redact *r, struct str name)
{
    return str_eq(name, STR("authorization")) || str_eq(name, STR("cookie")) ||
           redact_name(r, name);
}

/* ret_credentials (may be NULL): one that proves who asks lost its value. */
static int put_fields(struct pb_out *o, uint32_t field, const struct reply_field *f, size_t n,
    const struct redact *r, bool *ret_redacted, bool *ret_credentials)
{
    struct text t = {0};
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        bool taken = false;
        rc = redacted(redact_field, r, f[i].name, f[i].value, &t, &taken);
        size_t at = pb_begin(o, field);
        journal_put_text(o, 1, f[i].name);
        if (t.n)
            pb_bytes(o, 2, str_of(t.p, t.n));
        pb_end(o, at);
        *ret_redacted |= taken;
        if (taken && ret_credentials)
            *ret_credentials |= is_credential(r, f[i].name);
    }
    text_release(&t);
    return rc;
}

static void put_body(struct pb_out *o, uint32_t field, const struct kept *k)
{
    if (k->body.n)
        pb_bytes(o, field, k->body);
}

/* Of the body as it came. */
static void put_body_facts(struct pb_out *o, uint32_t hash, uint32_t bytes, struct str body)
{
    if (!body.n)
        return;
    pb_fixed64(o, hash, XXH3_64bits(body.p, body.n));
    pb_opt_uint(o, bytes, body.n);
}

static int put_request(
    struct pb_out *o, const struct exchange *x, const struct redact *r, const struct kept *body)
{
    bool taken = body->redacted, credentials = false;
    journal_put_text(o, 1, x->method);
    int rc = put_text(o, 2, redact_value, r, x->authority, &taken);
    if (rc == 0)
        rc = put_text(o, 3, path_only, r, x->path, &taken);
    if (rc == 0)
        rc = put_fields(o, 4, x->fields, x->nfields, r, &taken, &credentials);
    if (rc)
        return rc;
    put_body(o, 5, body);
    pb_opt_uint(o, 6, taken);
    pb_opt_uint(o, 7, x->https);
    pb_opt_uint(o, 8, x->grpc);
    journal_put_text(o, 9, x->environment);
    journal_put_text(o, 10, x->service);
    pb_opt_uint(o, 11, credentials);
    pb_opt_uint(o, 12, body->cut);
    put_body_facts(o, 13, 14, x->body);
    return 0;
}

int journal_put_request(
    struct pb_out *o, uint32_t field, const struct exchange *x, const struct journal_keep *k)
{
    struct kept body;
    int rc = keep_body(x->body, x->fields, x->nfields, k, &body);
    if (rc == 0) {
        size_t at = pb_begin(o, field);
        rc = put_request(o, x, k->redact, &body);
        pb_end(o, at);
    }
    kept_release(&body);
    return rc;
}

static int put_reply(
    struct pb_out *o, const struct reply *reply, const struct redact *r, const struct kept *body)
{
    bool taken = body->redacted;
    pb_opt_uint(o, 1, reply->outcome);
    pb_opt_uint(o, 2, reply->status);
    int rc = put_fields(o, 3, reply->fields, reply->nfields, r, &taken, NULL);
    if (rc == 0)
        rc = put_fields(o, 4, reply->trailers, reply->ntrailers, r, &taken, NULL);
    if (rc)
        return rc;
    put_body(o, 5, body);
    pb_opt_uint(o, 6, reply->latency_us);
    pb_opt_uint(o, 7, taken);
    pb_opt_uint(o, 8, body->cut);
    put_body_facts(o, 9, 10, reply->body);
    return 0;
}

int journal_put_reply(
    struct pb_out *o, uint32_t field, const struct reply *reply, const struct journal_keep *k)
{
    struct kept body;
    int rc = keep_body(reply->body, reply->fields, reply->nfields, k, &body);
    if (rc == 0) {
        size_t at = pb_begin(o, field);
        rc = put_reply(o, reply, k->redact, &body);
        pb_end(o, at);
    }
    kept_release(&body);
    return rc;
}
