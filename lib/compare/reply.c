#include "lib/compare/reply.h"
#include "lib/base/parse.h"

const char *reply_outcome_word(enum reply_outcome o)
{
    switch (o) {
    case REPLY_TRANSPORT:
        return "transport-error";
    case REPLY_TIMEOUT:
        return "timeout";
    default:
        return "whole";
    }
}

struct str reply_field_value(const struct reply_field *f, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(f[i].name, name))
            return f[i].value;
    return str_of(NULL, 0);
}

int reply_grpc_status(const struct reply *r)
{
    struct str name = STR("grpc-status"), s = reply_field_value(r->trailers, r->ntrailers, name);
    uint32_t code;
    if (s.n == 0)
        s = reply_field_value(r->fields, r->nfields, name);
    return parse_u32(s, 0, 16, &code) ? -1 : (int)code;
}
