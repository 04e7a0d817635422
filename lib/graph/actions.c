#include "lib/graph/actions.h"
#include "lib/graph/gateway.h"
#include "lib/graph/path.h"
#include <stdio.h>

struct route_actions actions_none(void)
{
    return (struct route_actions){.max_body = BODY_ANY};
}

bool actions_are_none(const struct route_actions *a)
{
    return !actions_rewrite_path(a) && !a->no_upgrade && !a->require_https && !a->host.n &&
           !a->request.nset && !a->request.nremove && !a->reply.nset && !a->reply.nremove &&
           a->max_body == BODY_ANY && !a->timeout_ms && !a->idle_timeout_ms &&
           a->affinity.kind == AFFINITY_NONE && !a->redirect.status;
}

/* ---- writing into a bounded place ---- */

struct sink {
    char *p;
    size_t n, size;
    bool full;
};

static void put(struct sink *s, struct str text)
{
    if (s->full || text.n > s->size - s->n) {
        s->full = true;
        return;
    }
    if (text.n)
        memcpy(s->p + s->n, text.p, text.n);
    s->n += text.n;
}

static struct str sunk(const struct sink *s)
{
    return s->full ? (struct str){NULL, 0} : str_of(s->p, s->n);
}

/* ---- paths ---- */

static struct str without_slash(struct str s)
{
    return s.n && s.p[s.n - 1] == '/' ? str_of(s.p, s.n - 1) : s;
}

struct str actions_path(const struct route_actions *a, struct str path, char *out, size_t size)
{
    if (!actions_rewrite_path(a) || path.n == 0 || path.p[0] != '/')
        return path;
    struct sink s = {.size = size};
    s.p = out;
    struct str bare = path_bare(path);
    put(&s, without_slash(a->replace_prefix));
    if (s.full || bare.n > s.size - s.n)
        return (struct str){NULL, 0};
    /* In place: what stays is moved over the prefix. */
    char *normal = s.p + s.n;
    long n = path_normalise(bare, normal);
    size_t cut = a->prefix_len;
    if (n < 0 || (size_t)n < cut)
        return (struct str){NULL, 0};
    memmove(normal, normal + cut, (size_t)n - cut);
    s.n += (size_t)n - cut;
    if (s.n == 0)
        put(&s, STR("/"));
    put(&s, path_query(path));
    return sunk(&s);
}

/* ---- redirects ---- */

static void put_authority(struct sink *s, const struct redirect *r, struct str authority)
{
    char port[8];
    bool moved = r->scheme != REDIRECT_SAME_SCHEME || r->host.n;
    put(s, r->host.n ? r->host : moved || r->port ? authority_bare(authority) : authority);
    if (r->port) {
        int n = snprintf(port, sizeof port, ":%u", (unsigned)r->port);
        put(s, str_of(port, (size_t)n));
    }
}

struct str actions_location(const struct route_actions *a, bool https, struct str authority,
    struct str path, char *out, size_t size)
{
    const struct redirect *r = &a->redirect;
    struct sink s = {.size = size};
    s.p = out;
    if (r->location.n)
        return r->location;
    bool secure = r->scheme == REDIRECT_SAME_SCHEME ? https : r->scheme == REDIRECT_HTTPS;
    bool absolute = authority.n || r->host.n;
    if (!absolute && (r->port || r->scheme != REDIRECT_SAME_SCHEME))
        return (struct str){NULL, 0};
    if (absolute) {
        put(&s, secure ? STR("https://") : STR("http://"));
        put_authority(&s, r, authority);
    }
    struct str query = path_query(path);
    struct str target = r->path.n ? r->path : path_bare(path);
    /* Without a host two slashes at the start would name one. */
    while (!absolute && target.n > 1 && target.p[0] == '/' &&
           (target.p[1] == '/' || target.p[1] == '\\'))
        target = str_from(target, 1);
    put(&s, target.n && target.p[0] == '/' ? target : STR("/"));
    put(&s, query);
    return sunk(&s);
}

unsigned actions_moved(const struct route_actions *a, bool to_https, bool https,
    struct str authority, struct str path, struct str *ret_location, char *out, size_t size)
{
    struct route_actions own = actions_none();
    if (to_https) {
        own.redirect = (struct redirect){.status = 308, .scheme = REDIRECT_HTTPS};
        a = &own;
    }
    /* The rewritten path is made where the Location ends, and so moves towards its start. */
    struct str to = path;
    if (actions_rewrite_path(a)) {
        size_t room = path.n + a->replace_prefix.n + 1;
        *ret_location = (struct str){NULL, 0};
        if (room > size)
            return a->redirect.status;
        to = actions_path(a, path, out + size - room, room);
        size -= room;
    }
    *ret_location = actions_location(a, https, authority, to, out, size);
    return a->redirect.status;
}

/* ---- headers ---- */

bool actions_may_edit(struct str name, const char **ret_why)
{
    switch (field_id(name.p, name.n)) {
    case FIELD_HOST:
        *ret_why = "set by 'rewriteHost'";
        return false;
    case FIELD_CONTENT_LENGTH:
    case FIELD_TRANSFER_ENCODING:
        *ret_why = "about where the content ends";
        return false;
    case FIELD_CONNECTION:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_UPGRADE:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_HTTP2_SETTINGS:
    case FIELD_EXPECT:
        *ret_why = "between two neighbours";
        return false;
    case FIELD_VIA:
    case FIELD_X_FORWARDED_FOR:
    case FIELD_X_FORWARDED_PROTO:
    case FIELD_X_FORWARDED_HOST:
    case FIELD_FORWARDED:
    case FIELD_X_FORWARDED_PORT:
    case FIELD_X_REQUEST_ID:
        *ret_why = "written by the proxy";
        return false;
    case FIELD_BAGGAGE:
    case FIELD_TRACEPARENT:
    case FIELD_TRACESTATE:
    case FIELD_X_OFFSHOOT_CONTEXT:
    case FIELD_UBERCTX_OFFSHOOT:
    case FIELD_OT_BAGGAGE_OFFSHOOT:
    case FIELD_X_OFFSHOOT_EXPLAIN:
    case FIELD_X_OFFSHOOT_ERROR:
    case FIELD_X_OFFSHOOT_ROUTE:
    case FIELD_X_OFFSHOOT_OTHER:
        *ret_why = "a carrier of the context";
        return false;
    default:
        *ret_why = "written by the proxy";
        return !str_eq(name, STR("grpc-timeout"));
    }
}

struct field actions_field(struct str name)
{
    return (struct field){.name = name.p,
        .value = name.p + name.n,
        .name_len = (uint16_t)name.n,
        .id = (uint8_t)field_id(name.p, name.n)};
}

/* ---- texts ---- */

#define HEADER_VALUE_MAX 4096
#define ROUTE_PATH_MAX   1024
#define LOCATION_MAX     2048
#define HOST_TEXT_MAX    261

static bool is_alnum(char c)
{
    c = ascii_lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool token_char(char c)
{
    return is_alnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool token_valid(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!token_char(s.p[i]))
            return false;
    return s.n > 0 && s.n <= TOKEN_BYTES_MAX;
}

bool header_value_valid(struct str value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        bool space = c == ' ' || c == '\t';
        if (space && (i == 0 || i + 1 == value.n))
            return false;
        if (!space && (c < 0x21 || c == 0x7f))
            return false;
    }
    return value.n <= HEADER_VALUE_MAX;
}

bool route_path_valid(struct str path)
{
    char out[ROUTE_PATH_MAX];
    if (path.n == 0 || path.n > sizeof(out) || path.p[0] != '/')
        return false;
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        if (c <= ' ' || c == 0x7f || c == '?' || c == '#')
            return false;
    }
    return path_normalise(path, out) > 0;
}

static bool is_url_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] == 0x7f || strchr("\\\"<>^`{|}", s.p[i]))
            return false;
    return true;
}

bool sent_path_valid(struct str path)
{
    return route_path_valid(path) && is_url_text(path) && (path.n < 2 || path.p[1] != '/');
}

bool location_valid(struct str location)
{
    struct str s = location;
    struct str rest = str_starts(s, STR("https://"))  ? str_from(s, 8)
                      : str_starts(s, STR("http://")) ? str_from(s, 7)
                                                      : (struct str){NULL, 0};
    bool relative = s.n && s.p[0] == '/' && (s.n == 1 || s.p[1] != '/');
    bool absolute = rest.n && rest.p[0] != '/';
    return s.n <= LOCATION_MAX && (relative || absolute) && is_url_text(s);
}

bool host_text_valid(struct str host)
{
    for (size_t i = 0; i < host.n; i++)
        if (!is_alnum(host.p[i]) && (host.p[i] == '\0' || !strchr("-_.:[]", host.p[i])))
            return false;
    return host.n > 0 && host.n <= HOST_TEXT_MAX;
}

bool redirect_status_valid(uint32_t status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* ---- copies ---- */

static void edits_size(const struct header_edits *e, size_t *fields, size_t *text)
{
    *fields += e->nset + (size_t)e->nremove;
    for (uint32_t i = 0; i < e->nset; i++)
        *text += e->set[i].name_len + (size_t)e->set[i].value_len;
    for (uint32_t i = 0; i < e->nremove; i++)
        *text += e->remove[i].name_len;
}

void actions_size(const struct route_actions *from, size_t *fields, size_t *text)
{
    edits_size(&from->request, fields, text);
    edits_size(&from->reply, fields, text);
    *text += from->replace_prefix.n + from->host.n + from->affinity.cookie.n;
    *text += from->redirect.location.n + from->redirect.host.n + from->redirect.path.n;
}

static void copy_str(struct str *s, char **text)
{
    if (s->p)
        *s = str_put(text, *s);
}

static struct field *copy_fields(
    const struct field *from, uint32_t n, struct field **fields, char **text)
{
    struct field *to = *fields;
    for (uint32_t i = 0; i < n; i++) {
        to[i] = from[i];
        to[i].name = str_put(text, field_name(&from[i])).p;
        to[i].value = str_put(text, field_value(&from[i])).p;
    }
    *fields += n;
    return to;
}

static void copy_edits(struct header_edits *e, struct field **fields, char **text)
{
    e->set = copy_fields(e->set, e->nset, fields, text);
    e->remove = copy_fields(e->remove, e->nremove, fields, text);
}

void actions_copy(
    struct route_actions *to, const struct route_actions *from, struct field **fields, char **text)
{
    *to = *from;
    copy_edits(&to->request, fields, text);
    copy_edits(&to->reply, fields, text);
    copy_str(&to->replace_prefix, text);
    copy_str(&to->host, text);
    copy_str(&to->affinity.cookie, text);
    copy_str(&to->redirect.location, text);
    copy_str(&to->redirect.host, text);
    copy_str(&to->redirect.path, text);
}
