#include "lib/graph/explain_route.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/words.h"
#include <inttypes.h>

/* ---- where it goes ---- */

/* Room for a path or a Location made of the request; NULL: memory is out. */
static char *room_for(const struct ask *a, const struct route_actions *actions, size_t *ret_size)
{
    const struct redirect *r = &actions->redirect;
    *ret_size =
        2 * (a->path.n + actions->replace_prefix.n) + a->authority.n + r->host.n + r->path.n + 64;
    return mem_alloc(*ret_size);
}

typedef void show_fn(struct text *out, unsigned status, struct str location);

static void moved(struct text *out, const struct ask *a, const struct answer *r, show_fn *show)
{
    size_t size;
    struct str location = {NULL, 0};
    char *room = room_for(a, r->route.actions, &size);
    unsigned status = 0;
    if (room)
        status = actions_moved(r->route.actions, r->moved == MOVED_HTTPS, ask_https(a),
            a->authority, a->path, &location, room, size);
    if (room)
        show(out, status, location.p ? location : STR("(nowhere: the request names no host)"));
    else
        out->failed = true;
    mem_free(room);
}

static void show_json(struct text *out, unsigned status, struct str location)
{
    text_fmt(out, "{\"status\":%u,\"location\":", status);
    json_str(out, location);
    text_add(out, STR("}"));
}

static void show_text(struct text *out, unsigned status, struct str location)
{
    text_fmt(out, "%u to ", status);
    text_json(out, location);
}

void explain_moved_json(struct text *out, const struct ask *a, const struct answer *r)
{
    moved(out, a, r, show_json);
}

void explain_moved_text(struct text *out, const struct ask *a, const struct answer *r)
{
    moved(out, a, r, show_text);
}

/* The path as it is forwarded: JSON with quotes, text without. */
static void put_path(struct text *out, const struct ask *a, const struct answer *r, bool json)
{
    size_t size;
    char *room = room_for(a, r->route.actions, &size);
    struct str path = {NULL, 0};
    if (room)
        path = actions_path(r->route.actions, r->path, room, size);
    if (!path.p)
        out->failed = true;
    else if (json)
        json_str(out, path);
    else
        text_json(out, path);
    mem_free(room);
}

static struct str forwarded_host(const struct ask *a, const struct answer *r)
{
    return r->route.actions->host.n ? r->route.actions->host : a->authority;
}

/* ---- actions as JSON ---- */

struct object {
    struct text *out;
    unsigned n;
};

static void key(struct object *o, const char *name)
{
    text_fmt(o->out, "%s\"%s\":", o->n++ ? "," : "", name);
}

static void json_text(struct object *o, const char *name, struct str value)
{
    if (!value.n)
        return;
    key(o, name);
    json_str(o->out, value);
}

static void json_flag(struct object *o, const char *name, bool said, bool value)
{
    if (!said)
        return;
    key(o, name);
    text_fmt(o->out, "%s", value ? "true" : "false");
}

static void json_duration(struct object *o, const char *name, uint32_t ms)
{
    char text[24];
    if (ms)
        json_text(o, name, str_of(text, format_duration_ms(ms, text)));
}

static void json_edits(struct object *o, const char *name, const struct header_edits *e)
{
    if (!e->nset && !e->nremove)
        return;
    key(o, name);
    text_add(o->out, STR("{\"set\":{"));
    for (uint32_t i = 0; i < e->nset; i++) {
        text_add(o->out, i ? STR(",") : STR(""));
        json_str(o->out, field_name(&e->set[i]));
        text_add(o->out, STR(":"));
        json_str(o->out, field_value(&e->set[i]));
    }
    text_add(o->out, STR("},\"remove\":["));
    for (uint32_t i = 0; i < e->nremove; i++) {
        text_add(o->out, i ? STR(",") : STR(""));
        json_str(o->out, field_name(&e->remove[i]));
    }
    text_add(o->out, STR("]}"));
}

static const char *affinity_word(const struct affinity *a)
{
    static const char *const words[] = {"", "context", "source", "cookie"};
    return words[a->kind];
}

static void json_affinity(struct object *o, const struct affinity *a)
{
    if (a->kind == AFFINITY_NONE)
        return;
    key(o, "affinity");
    if (a->kind == AFFINITY_COOKIE) {
        text_add(o->out, STR("{\"cookie\":"));
        json_str(o->out, a->cookie);
        text_add(o->out, STR("}"));
    } else {
        json_str(o->out, str_c(affinity_word(a)));
    }
}

void explain_actions_json(struct text *out, const struct ask *a, const struct answer *r)
{
    const struct route_actions *x = r->route.actions;
    struct object o = {out, 0};
    if (!x)
        return;
    if (!r->moved) {
        text_add(out, STR(",\"forward\":{\"path\":"));
        put_path(out, a, r, true);
        text_add(out, STR(",\"host\":"));
        json_str(out, forwarded_host(a, r));
        text_add(out, STR("}"));
    }
    text_add(out, STR(",\"actions\":{"));
    json_flag(&o, "stripPrefix", x->strip_prefix, true);
    json_text(&o, "replacePrefix", x->replace_prefix);
    json_text(&o, "rewriteHost", x->host);
    json_edits(&o, "requestHeaders", &x->request);
    json_edits(&o, "replyHeaders", &x->reply);
    if (x->max_body != BODY_ANY) {
        key(&o, "maxBody");
        text_fmt(out, "%" PRIu64, x->max_body);
    }
    json_duration(&o, "timeout", x->timeout_ms);
    json_duration(&o, "idleTimeout", x->idle_timeout_ms);
    json_affinity(&o, &x->affinity);
    json_flag(&o, "upgrade", x->no_upgrade, false);
    json_flag(&o, "requireHttps", x->require_https, true);
    json_flag(&o, "redirect", x->redirect.status, true);
    text_add(out, STR("}"));
}

/* ---- actions as text ---- */

static void text_line(struct text *out, const char *name, struct str value)
{
    if (!value.n)
        return;
    text_fmt(out, "  %s: ", name);
    text_json(out, value);
    text_add(out, STR("\n"));
}

static void text_names(struct text *out, const char *verb, const struct field *f, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        text_fmt(out, "%s", i ? ", " : verb);
        text_json(out, field_name(&f[i]));
    }
}

static void text_edits(struct text *out, const char *name, const struct header_edits *e)
{
    if (!e->nset && !e->nremove)
        return;
    text_fmt(out, "  %s: ", name);
    text_names(out, "set ", e->set, e->nset);
    if (e->nset && e->nremove)
        text_add(out, STR("; "));
    text_names(out, "remove ", e->remove, e->nremove);
    text_add(out, STR("\n"));
}

static void text_duration(struct text *out, const char *name, uint32_t ms)
{
    char text[24];
    if (ms)
        text_line(out, name, str_of(text, format_duration_ms(ms, text)));
}

void explain_actions_text(struct text *out, const struct ask *a, const struct answer *r)
{
    const struct route_actions *x = r->route.actions;
    if (!x)
        return;
    if (!r->moved) {
        text_add(out, STR("  forwarded: "));
        put_path(out, a, r, false);
        text_add(out, STR(" to host "));
        text_json(out, forwarded_host(a, r).n ? forwarded_host(a, r) : STR("(the service's name)"));
        text_add(out, STR("\n"));
    }
    text_line(out, "stripPrefix", x->strip_prefix ? STR("true") : STR(""));
    text_line(out, "replacePrefix", x->replace_prefix);
    text_edits(out, "requestHeaders", &x->request);
    text_edits(out, "replyHeaders", &x->reply);
    if (x->max_body != BODY_ANY)
        text_fmt(out, "  maxBody: %" PRIu64 " bytes\n", x->max_body);
    text_duration(out, "timeout", x->timeout_ms);
    text_duration(out, "idleTimeout", x->idle_timeout_ms);
    if (x->affinity.kind == AFFINITY_COOKIE) {
        text_add(out, STR("  affinity: cookie "));
        text_json(out, x->affinity.cookie);
        text_add(out, STR("\n"));
    } else {
        text_line(out, "affinity", str_c(affinity_word(&x->affinity)));
    }
    text_line(out, "upgrade", x->no_upgrade ? STR("false") : STR(""));
    text_line(out, "requireHttps", x->require_https ? STR("true") : STR(""));
}
