/* Routes of a gateway and hosts of services, each a hash table probed from the longest key down.
 *
 * Routes are grouped by host: group 0 has the routes without one, every other group one exact host
 * or one suffix (kept with its leading dot, which no exact host has). A look-up goes through the
 * groups that may hold the authority, best first, and inside a group through the path's segment
 * boundaries, longest first. A group knows which lengths its prefixes have (modulo 64), so that
 * almost every boundary that cannot match costs one shift, and a long path costs no more than the
 * longest prefix. A stored prefix has no trailing slash: "/" is the empty one. */
#define XXH_INLINE_ALL
#include "lib/graph/route.h"
#include "lib/base/field.h"
#include "lib/base/mem.h"
#include "lib/graph/gateway.h"
#include "lib/graph/snapshot.h"
#include <errno.h>
#include <xxhash.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Longest path that is normalised by copying; no codec of ours accepts a longer head. */
#define PATH_COPY_MAX 65536

#define ONES 0x0101010101010101u /* times a byte: that byte eight times */

/* Open addressing over positions in an array; at most half full. */
struct table {
    uint32_t *slots; /* position + 1; 0: free */
    uint32_t mask;
};

struct group {
    struct str host; /* "", exact, or ".suffix" */
    uint32_t hash;
    uint32_t longest; /* prefix, in bytes */
    uint64_t lengths; /* 1 << (length % 64) of every prefix */
};

struct entry {
    struct str prefix;
    uint32_t hash;
    uint32_t group;
    uint32_t service;
    struct str host, path;               /* as written */
    const struct route_actions *actions; /* NULL: none */
};

struct routes {
    struct group *groups;
    struct entry *entries;
    uint32_t ngroups, nentries;
    struct table by_host, by_path;
    uint64_t suffix_lengths; /* 1 << (length % 64) of every suffix */
    uint32_t longest_suffix;
    struct route_actions *actions; /* of the entries that have some */
    uint32_t nactions;
    struct field *fields; /* of their edits */
};

struct hosts {
    unsigned refs;
    size_t bytes;
    struct claim {
        struct str host;
        uint32_t hash;
        uint32_t service;
    } * claims;
    uint32_t nclaims;
    struct table by_host;
    char *text;
};

/* ---- small parts ---- */

static uint32_t hash_host(struct str host)
{
    return (uint32_t)XXH3_64bits(host.p, host.n);
}

static uint32_t hash_path(uint32_t group, struct str prefix)
{
    return (uint32_t)XXH3_64bits_withSeed(prefix.p, prefix.n, group);
}

static int table_init(struct table *t, uint32_t n, size_t *bytes)
{
    uint32_t size = 4;
    while (size < 2 * (uint64_t)n && size < 1u << 31)
        size *= 2;
    t->slots = mem_zalloc(size * sizeof(*t->slots));
    if (!t->slots)
        return -ENOMEM;
    t->mask = size - 1;
    *bytes += size * sizeof(*t->slots);
    return 0;
}

static void table_put(struct table *t, uint32_t hash, uint32_t position)
{
    uint32_t i = hash & t->mask;
    while (t->slots[i])
        i = (i + 1) & t->mask;
    t->slots[i] = position + 1;
}

/* Eight bytes at once: ASCII letters to lower case, other bytes as they are. */
static void lower_word(const char *from, char *to)
{
    uint64_t x;
    memcpy(&x, from, sizeof(x));
    uint64_t low = x & 0x7f * ONES;
    uint64_t from_a = low + (0x80 - 'A') * ONES;
    uint64_t past_z = low + (0x7f - 'Z') * ONES;
    uint64_t upper = ~x & (from_a ^ past_z) & 0x80 * ONES;
    x |= upper >> 2;
    memcpy(to, &x, sizeof(x));
}

struct str authority_bare(struct str authority)
{
    if (authority.n && authority.p[0] == '[') {
        size_t close = str_find(authority, ']');
        return close < authority.n ? str_of(authority.p, close + 1) : authority;
    }
    return str_of(authority.p, str_find(authority, ':'));
}

struct str authority_host(struct str authority, char *out)
{
    struct str host = authority_bare(authority);
    if (host.n && host.p[host.n - 1] == '.')
        host.n--;
    if (host.n == 0 || host.n >= HOST_KEY_MAX)
        return (struct str){out, 0};
    size_t i = 0;
    for (; i + 8 <= host.n; i += 8)
        lower_word(host.p + i, out + i);
    for (; i < host.n; i++)
        out[i] = ascii_lower(host.p[i]);
    return (struct str){out, host.n};
}

/* ---- paths ---- */

#if defined(__SSE2__)
/* True when none of p[0..16) is '?', '#', '%' or '.'. */
static inline bool plain_sixteen(const char *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    __m128i odd = _mm_cmpeq_epi8(x, _mm_set1_epi8('?'));
    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(x, _mm_set1_epi8('#')));
    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(x, _mm_set1_epi8('%')));
    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(x, _mm_set1_epi8('.')));
    return _mm_movemask_epi8(odd) == 0;
}
#endif

/* How many bytes at the start of the path are none of those four, as far as sixteens tell. */
static inline size_t plain_path_bytes(struct str path)
{
    size_t i = 0;
#if defined(__SSE2__)
    if (path.n < 16)
        return 0;
    for (; i + 16 <= path.n; i += 16)
        if (!plain_sixteen(path.p + i))
            return i;
    if (plain_sixteen(path.p + path.n - 16))
        return path.n;
#else
    (void)path;
#endif
    return i;
}

/* Cuts query and fragment off. True when what is left may differ from its normal form. */
static bool scan_path(struct str *path)
{
    static const bool special[256] = {['?'] = true, ['#'] = true, ['%'] = true, ['.'] = true};
    const char *p = path->p;
    bool odd = false;
    for (size_t i = plain_path_bytes(*path); i < path->n; i++) {
        if (!special[(unsigned char)p[i]])
            continue;
        if (p[i] == '?' || p[i] == '#') {
            path->n = i;
            break;
        }
        odd = odd || p[i] == '%' || (i && p[i - 1] == '/');
    }
    return odd;
}

/* ---- picking ---- */

static const struct entry *find_entry(const struct routes *r, uint32_t group, struct str prefix)
{
    uint32_t hash = hash_path(group, prefix);
    for (uint32_t i = hash & r->by_path.mask; r->by_path.slots[i]; i = (i + 1) & r->by_path.mask) {
        const struct entry *e = &r->entries[r->by_path.slots[i] - 1];
        if (e->hash == hash && e->group == group && str_eq(e->prefix, prefix))
            return e;
    }
    return NULL;
}

/* Longest prefix on whole segments; path is normalised. */
static const struct entry *pick_in_group(const struct routes *r, uint32_t group, struct str path)
{
    const struct group *g = &r->groups[group];
    size_t at = path.n < g->longest ? path.n : g->longest;
    for (;; at--) {
        if ((g->lengths >> (at % 64) & 1) && (at == path.n || path.p[at] == '/' || at == 0)) {
            const struct entry *e = find_entry(r, group, str_of(path.p, at));
            if (e)
                return e;
        }
        if (at == 0)
            return NULL;
    }
}

/* Position of the group, or 0. */
static uint32_t find_group(const struct routes *r, struct str host, uint32_t hash)
{
    for (uint32_t i = hash & r->by_host.mask; r->by_host.slots[i]; i = (i + 1) & r->by_host.mask) {
        const struct group *g = &r->groups[r->by_host.slots[i] - 1];
        if (g->hash == hash && str_eq(g->host, host))
            return r->by_host.slots[i] - 1;
    }
    return 0;
}

static const struct entry *pick_by_suffix(const struct routes *r, struct str host, struct str path)
{
    size_t at = host.n > r->longest_suffix ? host.n - r->longest_suffix : 1;
    for (; at < host.n; at++) {
        struct str suffix = str_from(host, at);
        if (suffix.p[0] != '.' || !(r->suffix_lengths >> (suffix.n % 64) & 1))
            continue;
        uint32_t group = find_group(r, suffix, hash_host(suffix));
        const struct entry *e = group ? pick_in_group(r, group, path) : NULL;
        if (e)
            return e;
    }
    return NULL;
}

static const struct entry *pick_entry(
    const struct routes *r, struct str host, uint32_t hash, struct str path)
{
    const struct entry *e = NULL;
    if (r->ngroups > 1 && host.n && host.p[0] != '.') {
        uint32_t group = find_group(r, host, hash);
        if (group)
            e = pick_in_group(r, group, path);
        if (!e && r->longest_suffix)
            e = pick_by_suffix(r, host, path);
    }
    return e ? e : pick_in_group(r, 0, path);
}

static uint32_t find_claim(const struct hosts *h, struct str host, uint32_t hash)
{
    for (uint32_t i = hash & h->by_host.mask; h->by_host.slots[i]; i = (i + 1) & h->by_host.mask) {
        const struct claim *c = &h->claims[h->by_host.slots[i] - 1];
        if (c->hash == hash && str_eq(c->host, host))
            return c->service;
    }
    return NUMBER_NONE;
}

static int pick_normal(const struct gateway *g, const struct hosts *h, struct str authority,
    struct str path, struct route *ret)
{
    char key[HOST_KEY_MAX];
    struct str host = authority_host(authority, key);
    uint32_t hash = hash_host(host);
    uint32_t service = h && host.n ? find_claim(h, host, hash) : NUMBER_NONE;
    if (service != NUMBER_NONE) {
        *ret = (struct route){.service = service, .by = ROUTE_SERVICE_HOST};
        return 0;
    }
    const struct entry *e = g ? pick_entry(g->routes, host, hash, path) : NULL;
    if (!e)
        return -ENOENT;
    *ret = (struct route){.service = e->service,
        .by = ROUTE_GATEWAY,
        .host = e->host,
        .path = e->path,
        .actions = e->actions};
    return 0;
}

/* Apart from route_pick, so that only paths that need it pay for the stack. */
__attribute__((noinline)) static int pick_copied(const struct gateway *g, const struct hosts *h,
    struct str authority, struct str path, struct route *ret)
{
    char copy[PATH_COPY_MAX];
    if (path.n > sizeof(copy))
        return -EINVAL;
    long n = path_normalise(path, copy);
    if (n < 0)
        return -EINVAL;
    return pick_normal(g, h, authority, str_of(copy, (size_t)n), ret);
}

int route_pick(const struct gateway *g, const struct hosts *h, struct str authority,
    struct str path, struct route *ret)
{
    bool odd = scan_path(&path);
    if (path.n == 0 || path.p[0] != '/') {
        if (!str_eq(path, STR("*")))
            return -EINVAL;
        path.n = 0;
    }
    if (odd)
        return pick_copied(g, h, authority, path, ret);
    return pick_normal(g, h, authority, path, ret);
}

/* ---- building a gateway ---- */

/* "*.suffix" as it is compared: ".suffix". */
static struct str host_pattern(struct str host)
{
    return host.n > 1 && host.p[0] == '*' ? str_from(host, 1) : host;
}

static size_t gateway_text_size(const struct model_gateway *m)
{
    size_t n = m->name.s.n + m->default_environment.s.n + 1 + gateway_edge_size(m);
    for (uint32_t i = 0; i < m->nselectors; i++)
        n += m->selectors[i].key.s.n;
    for (uint32_t i = 0; i < m->nroutes; i++) {
        size_t fields = 0;
        n += m->routes[i].host.s.n + 2 * m->routes[i].path.s.n;
        if (m->routes[i].actions)
            actions_size(m->routes[i].actions, &fields, &n);
    }
    return n;
}

static void add_selectors(struct gateway *g, const struct model_gateway *m, char **at)
{
    for (uint32_t i = 0; i < m->nselectors; i++) {
        struct selector *s = &g->selectors[i];
        s->as_written = m->selectors[i];
        s->as_written.key.s = str_put(at, m->selectors[i].key.s);
        if (s->as_written.kind == SELECT_HEADER)
            s->field = (uint8_t)field_id(s->as_written.key.s.p, s->as_written.key.s.n);
        g->kinds |= 1u << s->as_written.kind;
    }
    g->nselectors = m->nselectors;
}

static uint32_t add_group(struct routes *r, struct str written)
{
    struct str host = host_pattern(written);
    uint32_t found = host.n ? find_group(r, host, hash_host(host)) : 0;
    if (found || host.n == 0)
        return found;
    struct group *g = &r->groups[r->ngroups];
    *g = (struct group){.host = host, .hash = hash_host(host)};
    table_put(&r->by_host, g->hash, r->ngroups);
    if (host.p[0] == '.') {
        r->suffix_lengths |= 1ull << (host.n % 64);
        if (host.n > r->longest_suffix)
            r->longest_suffix = (uint32_t)host.n;
    }
    return r->ngroups++;
}

/* Where the next copies go. */
struct room {
    char *text;
    struct field *fields;
};

static const struct route_actions *add_actions(
    struct routes *r, const struct model_route *m, struct str prefix, struct room *room)
{
    if (!m->actions)
        return NULL;
    struct route_actions *a = &r->actions[r->nactions++];
    actions_copy(a, m->actions, &room->fields, &room->text);
    a->prefix_len = (uint16_t)prefix.n;
    return a;
}

static void add_route(
    struct routes *r, const struct model_route *m, uint32_t service, struct room *room)
{
    char **at = &room->text;
    struct str host = str_put(at, m->host.s);
    struct str path = str_put(at, m->path.s);
    long n = path_normalise(path, *at);
    /* A path that climbs is refused when the graph is read. */
    struct str prefix = {*at, n > 0 ? (size_t)n : 0};
    if (prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    *at += prefix.n;
    uint32_t group = add_group(r, host);
    if (find_entry(r, group, prefix))
        return; /* two equal routes: the check refuses them, here the first one counts */
    struct entry *e = &r->entries[r->nentries];
    *e = (struct entry){prefix, hash_path(group, prefix), group, service, host, path,
        add_actions(r, m, prefix, room)};
    table_put(&r->by_path, e->hash, r->nentries++);
    struct group *g = &r->groups[group];
    g->lengths |= 1ull << (prefix.n % 64);
    if (prefix.n > g->longest)
        g->longest = (uint32_t)prefix.n;
}

static void routes_free(struct routes *r)
{
    if (!r)
        return;
    mem_free(r->groups);
    mem_free(r->entries);
    mem_free(r->by_host.slots);
    mem_free(r->by_path.slots);
    mem_free(r->actions);
    mem_free(r->fields);
    mem_free(r);
}

/* Room for the routes of a gateway, their groups and actions. */
static struct routes *routes_new(const struct model_gateway *m, size_t *bytes)
{
    struct routes *r = mem_zalloc(sizeof(*r));
    if (!r)
        return NULL;
    uint32_t n = m->nroutes;
    size_t nactions = 0, nfields = 0, text = 0;
    for (uint32_t i = 0; i < n; i++)
        if (m->routes[i].actions) {
            nactions++;
            actions_size(m->routes[i].actions, &nfields, &text);
        }
    r->actions = nactions ? mem_array(nactions, sizeof(*r->actions)) : NULL;
    r->fields = nfields ? mem_array(nfields, sizeof(*r->fields)) : NULL;
    bool no_room = (nactions && !r->actions) || (nfields && !r->fields);
    r->groups = mem_array((size_t)n + 1, sizeof(*r->groups));
    r->entries = mem_array((size_t)n + 1, sizeof(*r->entries));
    if (no_room || !r->groups || !r->entries || table_init(&r->by_host, n, bytes) ||
        table_init(&r->by_path, n, bytes)) {
        routes_free(r);
        return NULL;
    }
    r->groups[0] = (struct group){0};
    r->ngroups = 1;
    *bytes += sizeof(*r) + ((size_t)n + 1) * (sizeof(*r->groups) + sizeof(*r->entries));
    *bytes += nactions * sizeof(*r->actions) + nfields * sizeof(*r->fields);
    return r;
}

static void gateway_free(struct gateway *g)
{
    routes_free(g->routes);
    mem_free(g->selectors);
    mem_free(g->pins);
    mem_free(g->text);
    mem_free(g);
}

struct gateway *gateway_new(const struct model_gateway *m, service_number_fn *number, void *arg)
{
    struct gateway *g = mem_zalloc(sizeof(*g));
    if (!g)
        return NULL;
    size_t text = gateway_text_size(m);
    g->bytes = sizeof(*g) + text + (m->nselectors + 1) * sizeof(*g->selectors);
    g->text = mem_alloc(text);
    g->selectors = mem_zalloc((m->nselectors + 1) * sizeof(*g->selectors));
    g->routes = routes_new(m, &g->bytes);
    if (!g->text || !g->selectors || !g->routes) {
        gateway_free(g);
        return NULL;
    }
    char *at = g->text;
    g->refs = 1;
    g->name = str_put(&at, m->name.s);
    if (m->default_environment.s.p)
        g->default_environment = str_put(&at, m->default_environment.s);
    g->overlay_access = m->overlay_access_public ? ACCESS_PUBLIC : ACCESS_TOKEN;
    add_selectors(g, m, &at);
    struct room room = {at, g->routes->fields};
    for (uint32_t i = 0; i < m->nroutes; i++) {
        struct str service = m->routes[i].service.s;
        add_route(g->routes, &m->routes[i], service.n ? number(arg, service) : NUMBER_NONE, &room);
    }
    at = room.text;
    g->limits = m->limits;
    if (!gateway_edge_init(g, m, &at)) {
        gateway_free(g);
        return NULL;
    }
    return g;
}

void gateway_ref(struct gateway *g)
{
    g->refs++;
}

void gateway_unref(struct gateway *g)
{
    if (g && --g->refs == 0)
        gateway_free(g);
}

size_t gateway_bytes(const struct gateway *g)
{
    return g->bytes;
}

struct str gateway_name(const struct gateway *g)
{
    return g->name;
}

struct str gateway_default_environment(const struct gateway *g)
{
    return g->default_environment;
}

const struct gateway_limits *gateway_limits(const struct gateway *g)
{
    return limits_any(&g->limits) ? &g->limits : NULL;
}

uint32_t gateway_selector_count(const struct gateway *g)
{
    return g->nselectors;
}

const struct model_selector *gateway_selector(const struct gateway *g, uint32_t i)
{
    return &g->selectors[i].as_written;
}

/* ---- building the hosts ---- */

static void hosts_size(const struct model *m, uint32_t *ret_n, size_t *ret_text)
{
    for (uint32_t i = 0; i < m->nservices; i++) {
        const struct model_service *s = m->services[i];
        *ret_n += s->nhosts ? s->nhosts : 1;
        *ret_text += s->nhosts ? 0 : s->name.s.n;
        for (uint32_t j = 0; j < s->nhosts; j++)
            *ret_text += s->hosts[j].s.n;
    }
}

static void add_claim(struct hosts *h, struct str written, uint32_t service, char **at)
{
    char key[HOST_KEY_MAX];
    struct str host = authority_host(written, key);
    if (host.n == 0 || find_claim(h, host, hash_host(host)) != NUMBER_NONE)
        return;
    struct claim *c = &h->claims[h->nclaims];
    *c = (struct claim){str_put(at, host), hash_host(host), service};
    table_put(&h->by_host, c->hash, h->nclaims++);
}

static void hosts_free(struct hosts *h)
{
    mem_free(h->claims);
    mem_free(h->by_host.slots);
    mem_free(h->text);
    mem_free(h);
}

struct hosts *hosts_new(const struct model *m, service_number_fn *number, void *arg)
{
    uint32_t n = 0;
    size_t text = 1;
    hosts_size(m, &n, &text);
    struct hosts *h = mem_zalloc(sizeof(*h));
    if (!h)
        return NULL;
    h->refs = 1;
    h->bytes = sizeof(*h) + text + (n + 1) * sizeof(*h->claims);
    h->claims = mem_array((size_t)n + 1, sizeof(*h->claims));
    h->text = mem_alloc(text);
    if (!h->claims || !h->text || table_init(&h->by_host, n, &h->bytes)) {
        hosts_free(h);
        return NULL;
    }
    char *at = h->text;
    for (uint32_t i = 0; i < m->nservices; i++) {
        const struct model_service *s = m->services[i];
        uint32_t service = number(arg, s->name.s);
        for (uint32_t j = 0; j < s->nhosts; j++)
            add_claim(h, s->hosts[j].s, service, &at);
        if (s->nhosts == 0)
            add_claim(h, s->name.s, service, &at);
    }
    return h;
}

void hosts_ref(struct hosts *h)
{
    h->refs++;
}

void hosts_unref(struct hosts *h)
{
    if (h && --h->refs == 0)
        hosts_free(h);
}

size_t hosts_bytes(const struct hosts *h)
{
    return h->bytes;
}
