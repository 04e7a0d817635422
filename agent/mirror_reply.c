/* What came of a dark request. A reply of the proxy's own is one of two things: what the role's
 * provider did (it broke, it was late), which is data; or what became of the way to it, which says
 * nothing of the candidate. */
#include "agent/mirror_impl.h"
#include "lib/graph/snapshot.h"
#include "lib/wire/h2.h"

static struct str refusal_of(const struct h2reply *r)
{
    for (unsigned i = 0; i < r->nfields; i++)
        if (r->fields[i].id == FIELD_X_OFFSHOOT_ERROR)
            return field_value(&r->fields[i]);
    return (struct str){0};
}

static const char *refused(struct str word, enum reply_outcome *ret)
{
    enum refusal r = REFUSAL_NONE;
    while (r < REFUSAL_COUNT && !str_eq(str_c(refusal_word(r)), word))
        r++;
    switch (r) {
    case REFUSAL_NONE: /* the provider's own reply */
        *ret = REPLY_WHOLE;
        return NULL;
    case REFUSAL_CONNECT:
    case REFUSAL_BAD_REPLY:
    case REFUSAL_UNHEALTHY:
        *ret = REPLY_TRANSPORT;
        return NULL;
    case REFUSAL_TIMEOUT:
        *ret = REPLY_TIMEOUT;
        return NULL;
    case REFUSAL_COUNT:
        return "refused"; /* a word of another version */
    default:
        return refusal_word(r);
    }
}

const char *mirrored_outcome(const struct h2reply *r, enum reply_outcome *ret)
{
    switch (r->end) {
    case H2CALL_WHOLE:
        return refused(refusal_of(r), ret);
    case H2CALL_TIMEOUT:
        *ret = REPLY_TIMEOUT;
        return NULL;
    case H2CALL_RESET:
        if (r->reset == H2_REFUSED_STREAM) /* the proxy did nothing with it */
            return "connection";
        *ret = REPLY_TRANSPORT;
        return NULL;
    case H2CALL_BROKEN:
        *ret = REPLY_TRANSPORT;
        return NULL;
    case H2CALL_TOO_LARGE:
        return "too-large";
    case H2CALL_MEMORY:
        return "memory";
    default:
        return "connection";
    }
}

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
