/* What came of a dark request, kept until both of them are here. */
#include "agent/mirror_impl.h"

static size_t text_bytes(const struct field *f, unsigned n)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < n; i++)
        bytes += (size_t)f[i].name_len + f[i].value_len;
    return bytes;
}

size_t mirrored_size(const struct h2reply *r)
{
    return ((size_t)r->nfields + r->ntrailers) * sizeof(struct reply_field) +
           text_bytes(r->fields, r->nfields) + text_bytes(r->trailers, r->ntrailers) + r->body.n;
}

static void copy_fields(struct reply_field *to, const struct field *f, unsigned n, char **at)
{
    for (unsigned i = 0; i < n; i++) {
        to[i].name = str_put(at, field_name(&f[i]));
        to[i].value = str_put(at, field_value(&f[i]));
    }
}

void mirrored_copy(
    struct mirrored *to, const struct h2reply *r, enum reply_outcome outcome, void *memory)
{
    struct reply_field *fields = memory, *trailers = fields + r->nfields;
    char *at = (char *)(trailers + r->ntrailers);
    copy_fields(fields, r->fields, r->nfields, &at);
    copy_fields(trailers, r->trailers, r->ntrailers, &at);
    to->reply = (struct reply){.outcome = outcome,
        .status = r->status,
        .fields = fields,
        .trailers = trailers,
        .nfields = r->nfields,
        .ntrailers = r->ntrailers,
        .body = str_put(&at, r->body),
        .latency_us = r->total_us};
    to->refusal = reply_field_value(fields, r->nfields, STR("x-offshoot-error"));
}
