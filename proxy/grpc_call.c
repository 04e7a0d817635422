#include "proxy/grpc_call.h"
#include "proxy/worker.h"

/* Below any real time to wait, but no sum with the clock overflows. */
#define NEVER_MS (UINT32_MAX / 2)

bool grpc_call_type(struct str type)
{
    return str_starts(type, STR("application/grpc")) &&
           !str_starts(type, STR("application/grpc-web"));
}

bool grpc_call_begin(struct request *r)
{
    struct field *timeout = NULL;
    bool call = false;
    if (r->head.method_id != H1_POST)
        return true;
    for (struct field *f = r->fields, *end = f + r->head.nfields; f < end; f++) {
        if (f->id == FIELD_CONTENT_TYPE)
            call = grpc_call_type(field_value(f));
        else if (f->id == FIELD_OTHER && str_eq(field_name(f), STR("grpc-timeout")))
            timeout = f;
    }
    if (!call)
        return true;
    r->is_call = true;
    r->reply_timeout_ms = NEVER_MS;
    if (!timeout)
        return true;
    uint64_t us;
    if (!grpc_timeout_parse(field_value(timeout), &us))
        return false;
    timeout->flags |= FIELD_DROP;
    uint64_t most = (uint64_t)NEVER_MS * 1000;
    r->call_deadline_us = r->t_start + (us < most ? us : most);
    return true;
}

struct str grpc_call_left(const struct request *r, char out[GRPC_TIMEOUT_TEXT])
{
    if (r->call_deadline_us == 0)
        return (struct str){0};
    uint64_t now = r->w->now_us;
    uint64_t left = r->call_deadline_us > now ? r->call_deadline_us - now : 1;
    return str_of(out, grpc_timeout_format(left, out));
}

bool grpc_call_late(const struct request *r)
{
    return r->call_deadline_us && r->call_deadline_us <= r->w->now_us;
}
