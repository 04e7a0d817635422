/* Routes of a gateway: what they match, and what they do. */
#include "lib/base/parse.h"
#include "lib/graph/hint.h"
#include "lib/graph/load_internal.h"
#include "lib/graph/path.h"
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* A route while it is read: its actions are kept when there are some. */
struct draft {
    struct model_route route;
    struct route_actions actions;
};

/* ---- what is matched ----------------------------------------------------------------------- */

static void read_route_host(struct decode *d, uint32_t value, void *into)
{
    decode_host(d, value, HOST_EXACT_OR_SUFFIX, into);
}

static bool decode_path(struct decode *d, uint32_t value, const char *expected, struct mtext *ret)
{
    struct mtext path;
    if (!decode_text(d, value, &path))
        return false;
    if (!route_path_valid(path.s)) {
        decode_wrong(d, value, expected);
        return false;
    }
    *ret = path;
    return true;
}

static void read_path(struct decode *d, uint32_t value, void *into)
{
    decode_path(d, value, "a path prefix: '/' first, no query, at most 1,024 bytes", into);
}

/* A path that is sent: no second slash at its start, which would make the next word a host. */
static bool decode_sent_path(struct decode *d, uint32_t value, struct str *ret)
{
    static const char expected[] = "a path: one '/' first, no query, at most 1,024 bytes";
    struct mtext path;
    if (!decode_path(d, value, expected, &path))
        return false;
    bool good = sent_path_valid(path.s);
    if (good)
        *ret = path.s;
    else
        decode_wrong(d, value, expected);
    return good;
}

/* ---- paths, times, sizes ------------------------------------------------------------------- */

static void read_sent_path(struct decode *d, uint32_t value, void *into)
{
    decode_sent_path(d, value, into);
}

static void read_rewrite_host(struct decode *d, uint32_t value, void *into)
{
    struct mtext compared, written;
    if (decode_host(d, value, HOST_EXACT, &compared) && decode_text(d, value, &written))
        *(struct str *)into = written.s;
}

static void read_max_body(struct decode *d, uint32_t value, void *into)
{
    uint64_t bytes;
    if (!decode_is(d, value, NODE_TEXT))
        return;
    if (parse_size(node_text(d->tree, value), &bytes) == 0)
        *(uint64_t *)into = bytes;
    else
        decode_wrong(d, value, "a size such as 4096, 64KiB or 10MiB");
}

static void read_upgrade(struct decode *d, uint32_t value, void *into)
{
    bool allowed = true;
    if (decode_bool(d, value, &allowed))
        *(bool *)into = !allowed;
}

/* ---- headers ------------------------------------------------------------------------------- */

/* The name of a header that a route may touch, in lower case. */
static bool decode_header(struct decode *d, uint32_t node, struct field *ret)
{
    const char *why;
    struct mtext name;
    if (!decode_token(d, node, "the name of a header", &name))
        return false;
    struct str copy = decode_lower(d, name.s);
    if (!copy.p)
        return false;
    if (!actions_may_edit(copy, &why)) {
        findings_add(d->found, F_NAME, name.at, NULL, "'%.*s' is %s; no route may set or remove it",
            STR_ARG(shown(copy)), why);
        return false;
    }
    *ret = actions_field(copy);
    return true;
}

static bool decode_header_value(struct decode *d, uint32_t value, struct field *f)
{
    struct mtext text;
    if (!decode_text(d, value, &text))
        return false;
    if (!header_value_valid(text.s)) {
        decode_wrong(d, value,
            "the value of a header: no control characters, no space at its ends, at most 4,096 "
            "bytes");
        return false;
    }
    f->value = text.s.p;
    f->value_len = (uint32_t)text.s.n;
    return true;
}

static const struct field *find_edit(const struct field *list, uint32_t n, const struct field *f)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_eq(field_name(&list[i]), field_name(f)))
            return &list[i];
    return NULL;
}

/* Where a header is named first in a list, or in the keys of a map. */
static struct place header_place(const struct decode *d, uint32_t in, const struct field *f)
{
    const struct node *nodes = d->tree->nodes;
    uint32_t k = in + 1;
    while (!str_ieq(node_text(d->tree, k), field_name(f)))
        k = nodes[in].type == NODE_MAP ? nodes[k + 1].next : nodes[k].next;
    return node_place(d, k);
}

/* The map or list that is being read, and the edits it fills. */
struct editing {
    uint32_t in;
    struct field *list;
    uint32_t *n;
};

static void add_edit(
    struct decode *d, const struct editing *to, uint32_t node, const struct field *f)
{
    if (!find_edit(to->list, *to->n, f)) {
        to->list[(*to->n)++] = *f;
        return;
    }
    struct place first = header_place(d, to->in, f);
    findings_add(d->found, F_DUPLICATE, node_place(d, node), &first,
        "header '%.*s' stands here twice; remove one", STR_ARG(shown(field_name(f))));
}

/* Room for the edits of a list or map, or NULL. */
static struct field *edits_room(struct decode *d, uint32_t value)
{
    uint32_t n = d->tree->nodes[value].n;
    if (n <= ACTION_HEADERS_MAX)
        return decode_alloc(d, n, sizeof(struct field));
    findings_add(d->found, F_TYPE, node_place(d, value), NULL, "%u headers; write %u at the most",
        (unsigned)n, (unsigned)ACTION_HEADERS_MAX);
    return NULL;
}

static void read_set(struct decode *d, uint32_t value, void *into)
{
    struct header_edits *e = into;
    size_t bytes = 0;
    if (!decode_is(d, value, NODE_MAP))
        return;
    e->set = edits_room(d, value);
    struct editing to = {value, e->set, &e->nset};
    for (uint32_t at = 0, item; e->set && decode_pair(d, value, &at, &item);) {
        struct field f;
        if (!decode_header(d, key_of(item), &f) || !decode_header_value(d, item, &f))
            continue;
        bytes += f.name_len + (size_t)f.value_len;
        add_edit(d, &to, key_of(item), &f);
    }
    if (bytes > ACTION_BYTES_MAX)
        findings_add(d->found, F_TYPE, node_place(d, value), NULL,
            "%zu bytes of headers; write %u at the most", bytes, (unsigned)ACTION_BYTES_MAX);
}

static void read_remove(struct decode *d, uint32_t value, void *into)
{
    struct header_edits *e = into;
    if (!decode_is(d, value, NODE_LIST))
        return;
    e->remove = edits_room(d, value);
    struct editing to = {value, e->remove, &e->nremove};
    for (uint32_t at = 0, item; e->remove && decode_item(d, value, &at, &item);) {
        struct field f;
        if (decode_header(d, item, &f))
            add_edit(d, &to, item, &f);
    }
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(field_name(a), field_name(b));
}

/* A header that is set is replaced anyway. */
static void judge_edits(struct decode *d, uint32_t map, const struct header_edits *e)
{
    uint32_t set = decode_find(d, map, "set"), remove = decode_find(d, map, "remove");
    for (uint32_t i = 0; i < e->nset; i++) {
        if (!find_edit(e->remove, e->nremove, &e->set[i]))
            continue;
        struct place in_set = header_place(d, set, &e->set[i]);
        struct place in_remove = header_place(d, remove, &e->set[i]);
        bool later = set > remove;
        findings_add(d->found, F_CONTRADICTION, later ? in_set : in_remove,
            later ? &in_remove : &in_set,
            "header '%.*s' is set and removed; keep it in one of them",
            STR_ARG(shown(field_name(&e->set[i]))));
    }
}

static void read_edits(struct decode *d, uint32_t value, const char *what, struct header_edits *e)
{
    static const struct known_field fields[] = {
        {"set", read_set, 0, false},
        {"remove", read_remove, 0, false},
    };
    decode_map(d, value, what, fields, COUNT(fields), e);
    judge_edits(d, value, e);
    /* Sorted, so that the order in a file means nothing. */
    if (e->nset)
        qsort(e->set, e->nset, sizeof(*e->set), by_name);
    if (e->nremove)
        qsort(e->remove, e->nremove, sizeof(*e->remove), by_name);
}

static void read_request_headers(struct decode *d, uint32_t value, void *into)
{
    read_edits(d, value, "requestHeaders", into);
}

static void read_reply_headers(struct decode *d, uint32_t value, void *into)
{
    read_edits(d, value, "replyHeaders", into);
}

/* ---- redirects ----------------------------------------------------------------------------- */

static void read_redirect_status(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"301", "302", "303", "307", "308", NULL};
    static const uint16_t statuses[] = {301, 302, 303, 307, 308};
    uint8_t word;
    if (decode_choice(d, value, words, &word))
        *(uint16_t *)into = statuses[word];
}

static void read_location(struct decode *d, uint32_t value, void *into)
{
    struct mtext text;
    if (!decode_text(d, value, &text))
        return;
    if (location_valid(text.s))
        *(struct str *)into = text.s;
    else
        decode_wrong(d, value,
            "a URL with http:// or https://, or a path with one '/' first, of at most 2,048 "
            "bytes");
}

static void read_scheme(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"http", "https", NULL};
    uint8_t word;
    if (decode_choice(d, value, words, &word))
        *(uint8_t *)into = word ? REDIRECT_HTTPS : REDIRECT_HTTP;
}

static void read_redirect_host(struct decode *d, uint32_t value, void *into)
{
    struct mtext host;
    if (decode_bare_host(d, value, &host))
        *(struct str *)into = host.s;
}

static void read_redirect(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"status", read_redirect_status, offsetof(struct redirect, status), false},
        {"location", read_location, offsetof(struct redirect, location), false},
        {"scheme", read_scheme, offsetof(struct redirect, scheme), false},
        {"host", read_redirect_host, offsetof(struct redirect, host), false},
        {"port", read_port, offsetof(struct redirect, port), false},
        {"path", read_sent_path, offsetof(struct redirect, path), false},
    };
    static const char *const parts[] = {"scheme", "host", "port", "path"};
    struct redirect *r = into;
    r->status = 302;
    decode_map(d, value, "a redirect", fields, COUNT(fields), r);
    for (size_t i = 0; i < COUNT(parts); i++)
        decode_exclude(d, value, "location", parts[i],
            "write the whole URL as 'location', or the parts that change");
}

/* ---- what does not go together ------------------------------------------------------------- */

static void judge_redirect(struct decode *d, uint32_t map, const struct redirect *r)
{
    static const char *const others[] = {"service", "rewriteHost", "requestHeaders", "maxBody",
        "timeout", "idleTimeout", "affinity", "upgrade", "requireHttps"};
    for (size_t i = 0; i < COUNT(others); i++)
        decode_exclude(d, map, "redirect", others[i],
            "a redirect is answered here and reaches no service; keep one of them");
    bool rewrites = decode_find(d, map, "stripPrefix") != UINT32_MAX ||
                    decode_find(d, map, "replacePrefix") != UINT32_MAX;
    if (rewrites && (r->location.n || r->path.n)) {
        const char *other =
            decode_find(d, map, "stripPrefix") != UINT32_MAX ? "stripPrefix" : "replacePrefix";
        decode_exclude(d, map, "redirect", other, "the redirect says the path already; keep one");
    } else if (!rewrites && !r->location.n && !r->path.n && !r->host.n && !r->port &&
               r->scheme == REDIRECT_SAME_SCHEME) {
        findings_add(d->found, F_MISSING_FIELD, node_place(d, decode_find(d, map, "redirect")),
            NULL,
            "a redirect to where the request was; add 'location', or one of 'scheme', 'host', "
            "'port' and 'path'");
    }
}

static void judge_route(struct decode *d, uint32_t map, const struct route_actions *a, bool sound)
{
    bool redirects = decode_find(d, map, "redirect") != UINT32_MAX;
    if (!redirects && decode_find(d, map, "service") == UINT32_MAX)
        findings_add(d->found, F_MISSING_FIELD, node_place(d, map), NULL,
            "'service' is missing in a route; add it, or 'redirect'");
    if (!sound)
        return;
    if (a->strip_prefix && a->replace_prefix.p)
        decode_exclude(d, map, "stripPrefix", "replacePrefix",
            "stripping is replacing by nothing; keep one of them");
    if (redirects)
        judge_redirect(d, map, &a->redirect);
}

/* ---- routes -------------------------------------------------------------------------------- */

#define ROUTE(part)  offsetof(struct draft, route.part)
#define ACTION(part) offsetof(struct draft, actions.part)

static void read_route(struct decode *d, uint32_t item, struct model_route *ret)
{
    static const struct known_field fields[] = {
        {"host", read_route_host, ROUTE(host), false},
        {"path", read_path, ROUTE(path), true},
        {"service", read_text, ROUTE(service), false},
        {"redirect", read_redirect, ACTION(redirect), false},
        {"stripPrefix", read_bool, ACTION(strip_prefix), false},
        {"replacePrefix", read_sent_path, ACTION(replace_prefix), false},
        {"rewriteHost", read_rewrite_host, ACTION(host), false},
        {"requestHeaders", read_request_headers, ACTION(request), false},
        {"replyHeaders", read_reply_headers, ACTION(reply), false},
        {"maxBody", read_max_body, ACTION(max_body), false},
        {"timeout", read_duration, ACTION(timeout_ms), false},
        {"idleTimeout", read_duration, ACTION(idle_timeout_ms), false},
        {"affinity", read_affinity, ACTION(affinity), false},
        {"upgrade", read_upgrade, ACTION(no_upgrade), false},
        {"requireHttps", read_bool, ACTION(require_https), false},
    };
    struct draft draft = {.actions = actions_none()};
    size_t before = d->found->errors;
    unsigned fault = decode_map(d, item, "a route", fields, COUNT(fields), &draft);
    if (!(fault & (MAP_NOT_ONE | MAP_UNKNOWN_FIELD)))
        judge_route(d, item, &draft.actions, d->found->errors == before);
    if (!actions_are_none(&draft.actions)) {
        draft.route.actions = decode_alloc(d, 1, sizeof(draft.actions));
        if (draft.route.actions)
            *draft.route.actions = draft.actions;
    }
    if (d->found->errors != before)
        draft.route.path = (struct mtext){0}; /* nothing is compared with it */
    *ret = draft.route;
}

void read_routes(struct decode *d, uint32_t value, void *into)
{
    struct model_gateway *g = into;
    if (!decode_is(d, value, NODE_LIST))
        return;
    g->routes = decode_alloc(d, d->tree->nodes[value].n, sizeof(*g->routes));
    for (uint32_t at = 0, item; g->routes && decode_item(d, value, &at, &item);) {
        read_route(d, item, &g->routes[g->nroutes]);
        g->nroutes++;
    }
}
