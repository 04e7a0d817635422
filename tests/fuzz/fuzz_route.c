/* Routes against a naive reading of the rules: every route is compared with the request.
 *
 * Input: lines. The first is "AUTHORITY PATH" of the request, each further one "HOST PATH" of a
 * route (an empty host: none). */
#include "lib/base/mem.h"
#include "lib/graph/route.h"
#include "lib/graph/snapshot.h"
#include "tests/fuzz/fuzz.h"
#include <errno.h>

#define ROUTES_MAX 32
#define LINE_MAX_  400

struct line {
    struct str host, path;
};

static struct line next_line(struct str *rest)
{
    struct str all = {rest->p, str_find(*rest, '\n')};
    *rest = all.n < rest->n ? str_from(*rest, all.n + 1) : str_of(rest->p, 0);
    if (all.n > LINE_MAX_)
        all.n = LINE_MAX_;
    struct line l = {.host = {all.p, str_find(all, ' ')}};
    l.path = l.host.n < all.n ? str_from(all, l.host.n + 1) : str_of(all.p, 0);
    return l;
}

/* ---- paths ---- */

static void check_normal(struct str path)
{
    char once[LINE_MAX_], twice[LINE_MAX_];
    long n = path_normalise(path, once);
    if (n < 0 || path.n == 0 || path.p[0] != '/')
        return;
    demand((size_t)n <= path.n && n > 0 && once[0] == '/');
    struct str normal = {once, (size_t)n};
    demand(path_normalise(normal, twice) == n && memcmp(once, twice, normal.n) == 0);
    for (struct str rest = normal; rest.n;) {
        rest = str_from(rest, 1);
        struct str segment = {rest.p, str_find(rest, '/')};
        demand(!str_eq(segment, STR(".")) && !str_eq(segment, STR("..")));
        rest = str_from(rest, segment.n);
    }
}

static struct str normal_of(struct str path, char *out)
{
    long n = path_normalise(path, out);
    return str_of(out, n < 0 ? 0 : (size_t)n);
}

static bool covers(struct str prefix, struct str path)
{
    return str_starts(path, prefix) && (path.n == prefix.n || path.p[prefix.n] == '/');
}

/* ---- hosts ---- */

static struct str plain_host(struct str authority, char *out)
{
    size_t n = 0;
    bool literal = authority.n && authority.p[0] == '[';
    size_t close = str_find(authority, ']');
    size_t end = !literal ? str_find(authority, ':') : close < authority.n ? close + 1 : close;
    for (; n < end; n++)
        out[n] = ascii_lower(authority.p[n]);
    if (n && out[n - 1] == '.')
        n--;
    return str_of(out, n < 256 ? n : 0);
}

/* 0: the route does not mean the host; more is better. */
static size_t host_rank(struct str pattern, struct str host)
{
    if (pattern.n == 0)
        return 1;
    if (pattern.n > 1 && pattern.p[0] == '*') {
        struct str suffix = str_from(pattern, 1);
        bool fits = host.n > suffix.n && host.p[0] != '.' && str_ends(host, suffix);
        return fits ? 1 + suffix.n : 0;
    }
    return host.n && str_eq(pattern, host) ? 1000 : 0;
}

/* ---- the whole ---- */

static uint32_t best_route(const struct model_gateway *m, struct str host, struct str path)
{
    uint32_t best = NUMBER_NONE;
    size_t best_rank = 0, best_len = 0;
    for (uint32_t i = 0; i < m->nroutes; i++) {
        char copy[LINE_MAX_];
        struct str prefix = normal_of(m->routes[i].path.s, copy);
        if (prefix.n && prefix.p[prefix.n - 1] == '/')
            prefix.n--;
        size_t rank = host_rank(m->routes[i].host.s, host);
        if (!rank || !covers(prefix, path))
            continue;
        if (rank > best_rank || (rank == best_rank && prefix.n > best_len)) {
            best = i;
            best_rank = rank;
            best_len = prefix.n;
        }
    }
    return best;
}

static uint32_t number(void *arg, struct str name)
{
    const struct model_gateway *m = arg;
    for (uint32_t i = 0; i < m->nroutes; i++) {
        if (m->routes[i].service.s.p == name.p)
            return i;
    }
    return NUMBER_NONE;
}

static void compare(const struct model_gateway *m, const struct gateway *g, struct line request)
{
    char path_copy[LINE_MAX_], host_copy[LINE_MAX_];
    struct route r = {.service = NUMBER_NONE};
    int got = route_pick(g, NULL, request.host, request.path, &r);
    struct str path = request.path;
    path.n = str_find(path, '#');
    path.n = str_find(path, '?');
    bool star = str_eq(path, STR("*"));
    if (!star && (path.n == 0 || path.p[0] != '/' || path_normalise(path, path_copy) < 0)) {
        demand(got == -EINVAL);
        return;
    }
    path = star ? str_of(path.p, 0) : normal_of(path, path_copy);
    uint32_t expected = best_route(m, plain_host(request.host, host_copy), path);
    demand(got == (expected == NUMBER_NONE ? -ENOENT : 0));
    demand(r.service == expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char names[ROUTES_MAX] = {0};
    struct model_route routes[ROUTES_MAX];
    struct model_gateway m = {.routes = routes};
    struct str rest = {(const char *)data, size};
    struct line request = next_line(&rest);
    check_normal(request.path);
    while (rest.n && m.nroutes < ROUTES_MAX) {
        struct line l = next_line(&rest);
        char copy[LINE_MAX_];
        /* Routes that the loader would refuse are left out. */
        if (l.path.n == 0 || l.path.p[0] != '/' || path_normalise(l.path, copy) < 0)
            continue;
        if (l.host.n > 255 || (l.host.n && l.host.p[0] == '.'))
            continue;
        if (l.host.n && l.host.p[0] == '*' && (l.host.n < 3 || l.host.p[1] != '.'))
            continue;
        routes[m.nroutes] = (struct model_route){
            .host.s = l.host, .path.s = l.path, .service.s = {&names[m.nroutes], 1}};
        m.nroutes++;
    }
    struct gateway *g = gateway_new(&m, number, &m);
    demand(g != NULL);
    compare(&m, g, request);
    gateway_unref(g);
    demand(mem_live() == 0);
    return 0;
}
