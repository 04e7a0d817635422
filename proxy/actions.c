#include "proxy/actions.h"
#include "proxy/heads.h"
#include "proxy/worker.h"

/* ---- the request ---- */

static bool names(const struct field *f, const struct field *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (list[i].id == f->id && str_eq(field_name(&list[i]), field_name(f)))
            return true;
    return false;
}

static bool is_edited(const struct field *f, const struct header_edits *e)
{
    return names(f, e->remove, e->nremove) || names(f, e->set, e->nset);
}

enum step actions_begin(struct request *r)
{
    const struct route_actions *a = request_actions(r);
    if (a->timeout_ms)
        r->reply_timeout_ms = a->timeout_ms;
    if (a->idle_timeout_ms)
        r->stream_timeout_ms = r->tunnel_timeout_ms = a->idle_timeout_ms;
    if (a->no_upgrade && r->tunnel == TUNNEL_UPGRADE)
        return request_refuse(r, REFUSAL_UNSUPPORTED);
    r->up.cap = a->max_body;
    if (r->head.has_length && r->head.length > a->max_body) {
        r->up.too_large = true;
        return request_refuse(r, REFUSAL_TOO_LARGE);
    }
    if (a->request.nset || a->request.nremove)
        for (struct field *f = r->fields, *end = f + r->head.nfields; f < end; f++)
            if (is_edited(f, &a->request))
                f->flags |= FIELD_DROP;
    return STEP_COUNT;
}

void actions_put_path(const struct request *r, struct out *o)
{
    const struct route_actions *a = request_actions(r);
    if (!actions_rewrite_path(a)) {
        put_str(o, r->answer.path);
        return;
    }
    size_t room = (size_t)(o->end - o->p);
    struct str path = actions_path(a, r->answer.path, o->p, room);
    if (!path.p)
        o->full = true;
    else if (path.p == o->p)
        o->p += path.n;
    else
        put_str(o, path);
}

static void put_set(struct out *o, const struct header_edits *e)
{
    for (uint32_t i = 0; i < e->nset; i++) {
        put_str(o, field_name(&e->set[i]));
        PUT(o, ": ");
        put_str(o, field_value(&e->set[i]));
        PUT(o, "\r\n");
    }
}

void actions_put_request(const struct request *r, struct out *o)
{
    put_set(o, &request_actions(r)->request);
}

/* ---- the reply ---- */

void actions_edit_reply(struct request *r)
{
    const struct header_edits *e = &request_actions(r)->reply;
    unsigned kept = 0;
    if (!e->nset && !e->nremove)
        return;
    for (unsigned i = 0; i < r->reply.nfields; i++)
        if (!is_edited(&r->reply_fields[i], e))
            r->reply_fields[kept++] = r->reply_fields[i];
    for (uint32_t i = 0; i < e->nset; i++)
        r->reply_fields[kept++] = e->set[i];
    r->reply.nfields = (uint16_t)kept;
}

int actions_moved_reply(struct request *r, struct buf *b)
{
    const struct route_actions *a = request_actions(r);
    struct out o = out_begin(b), location = o;
    struct str to;
    /* The Location is made behind the room of the lines that stand before it. */
    size_t before = 256, room = (size_t)(o.end - o.p);
    if (room <= before)
        return -ENOBUFS;
    location.p += before;
    r->status = (uint16_t)actions_moved(a, r->answer.moved == MOVED_HTTPS, ask_https(&r->ask),
        r->head.authority, r->head.path, &to, location.p, room - before);
    if (!to.p) {
        r->refusal = r->head.authority.n ? REFUSAL_TOO_LARGE : REFUSAL_BAD_REQUEST;
        counter_inc(&r->w->stats[STAT_REFUSALS + r->refusal]);
        return heads_refusal(r, b);
    }
    heads_put_status(&o, r->status, (struct str){0});
    PUT(&o, "location: ");
    if (to.n > (size_t)(o.end - o.p))
        return -ENOBUFS;
    memmove(o.p, to.p, to.n);
    o.p += to.n;
    PUT(&o, "\r\n");
    put_set(&o, &a->reply);
    PUT(&o, "content-length: 0\r\n");
    heads_put_connection(r, &o);
    PUT(&o, "\r\n");
    return out_end(&o, b);
}
