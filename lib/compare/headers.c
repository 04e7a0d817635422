/* Fields of the head and of the trailers; those that say nothing of the provider's behaviour are
 * left out. Cookies that are set are taken apart: their values are one thing, attributes another.
 */
#include "lib/compare/compare_int.h"
#include "lib/compare/media.h"
#include "lib/compare/redact_int.h"
#include "lib/graph/path.h"
#include <errno.h>
#include <stdio.h>

/* Left out by default: made by whoever is on the way, or new for each reply. */
static const char *const left_out[] = {"date", "age", "server", "via", "alt-svc", "server-timing",
    /* hop-by-hop: RFC 9110 section 7.6.1 */
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "te", "trailer",
    "transfer-encoding", "upgrade",
    /* ids of requests and traces */
    "x-request-id", "request-id", "x-correlation-id", "correlation-id", "traceparent", "tracestate",
    "traceresponse", "baggage", "b3", "x-trace-id", "x-span-id", "trace-id", "x-amzn-trace-id",
    "x-amzn-requestid", "x-amz-request-id", "x-cloud-trace-context", "uber-trace-id"};
static const char *const left_out_prefix[] = {"x-offshoot-", "x-b3-", "x-datadog-", "ot-tracer-"};

static bool is_left_out(struct str name)
{
    for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++)
        if (str_eq(name, str_c(left_out[i])))
            return true;
    for (size_t i = 0; i < sizeof(left_out_prefix) / sizeof(left_out_prefix[0]); i++)
        if (str_starts(name, str_c(left_out_prefix[i])))
            return true;
    return false;
}

static bool is_compared(const struct differ *d, struct str name)
{
    if (str_eq(name, STR("set-cookie")) || str_eq(name, STR("grpc-status")))
        return false; /* by rules of their own */
    if (str_eq(name, STR("content-length")))
        return d->rules->keep_default || d->bodiless;
    if (str_eq(name, STR("content-encoding")))
        return d->rules->keep_default || !d->decoded;
    return d->rules->keep_default || !is_left_out(name);
}

/* The boundary of a multipart body is new each time. */
static struct str compared_value(const struct reply_field *f)
{
    bool parts = str_eq(f->name, STR("content-type")) && media_of(f->value) == MEDIA_MULTIPART;
    return str_trim(parts ? str_of(f->value.p, str_find(f->value, ';')) : f->value);
}

static struct pair *pairs_of(struct differ *d, const struct reply_field *f, size_t n, size_t *ret_n)
{
    struct pair *p = pool_alloc(d->pool, (n + 1) * sizeof(*p));
    *ret_n = 0;
    if (!p)
        d->failed = -ENOMEM;
    for (size_t i = 0; p && i < n; i++)
        if (is_compared(d, f[i].name))
            p[(*ret_n)++] = (struct pair){f[i].name, compared_value(&f[i]), i};
    return p;
}

/* Redacted as fields are: authorization keeps its scheme. */
static struct str field_text(struct differ *d, struct str name, struct str value)
{
    struct text t = {0};
    if (!d->rules->redact)
        return differ_shown(d, value);
    redact_field(d->rules->redact, name, value, &t);
    return differ_taken(d, &t);
}

static void add_field(
    struct differ *d, struct str name, enum diff_kind kind, bool shape, struct str a, struct str b)
{
    struct difference *x = differ_new(d, kind, shape);
    if (!x)
        return;
    x->a = field_text(d, name, a);
    x->b = field_text(d, name, b);
}

/* ---- URLs ---- */

struct urls {
    struct str name, a, b;
};
#define URL_FIELDS 2

/* The pair of that name; NULL: none, or more than one. */
static struct pair *only_one(struct pair *p, size_t n, struct str name)
{
    struct pair *ret = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!str_eq(p[i].name, name))
            continue;
        if (ret)
            return NULL;
        ret = &p[i];
    }
    return ret;
}

/* Leaves to the comparison of values what is before the queries, where both have one such field. */
static size_t urls_cut(struct pair *a, size_t na, struct pair *b, size_t nb, struct urls *ret)
{
    size_t n = 0;
    for (size_t i = 0; i < na && n < URL_FIELDS; i++) {
        struct pair *x = url_is_field(a[i].name) ? only_one(a, na, a[i].name) : NULL;
        struct pair *y = x ? only_one(b, nb, a[i].name) : NULL;
        if (!y)
            continue;
        ret[n++] = (struct urls){x->name, x->value, y->value};
        x->value = path_bare(x->value);
        y->value = path_bare(y->value);
    }
    return n;
}

static void urls_compare(struct differ *d, const struct urls *u, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct path_mark m = differ_push_key(d, u[i].name);
        url_compare(d, u[i].a, u[i].b);
        differ_pop(d, m);
    }
}

static void fields_compare(struct differ *d, struct str piece, const struct reply_field *a,
    size_t na, const struct reply_field *b, size_t nb)
{
    static const struct pair_rules rules = {differ_push_key, add_field};
    struct path_mark m = differ_push(d, piece);
    size_t npa, npb;
    struct pair *pa = pairs_of(d, a, na, &npa), *pb = pairs_of(d, b, nb, &npb);
    if (!d->failed) {
        struct urls urls[URL_FIELDS];
        size_t n = urls_cut(pa, npa, pb, npb, urls);
        pairs_compare(d, &rules, pa, npa, pb, npb);
        urls_compare(d, urls, n);
    }
    differ_pop(d, m);
}

/* ---- set-cookie ---- */

static struct pair *cookies_of(
    struct differ *d, const struct reply_field *f, size_t n, size_t *ret_n)
{
    struct pair *p = pool_alloc(d->pool, (n + 1) * sizeof(*p));
    *ret_n = 0;
    if (!p)
        d->failed = -ENOMEM;
    for (size_t i = 0; p && i < n; i++) {
        if (!str_eq(f[i].name, STR("set-cookie")))
            continue;
        struct str first = str_of(f[i].value.p, str_find(f[i].value, ';'));
        struct str name = str_trim(str_of(first.p, str_find(first, '=')));
        p[(*ret_n)++] = (struct pair){name, f[i].value, i};
    }
    return p;
}

/* Its attributes by their names in lower case; the value of the cookie itself is not among them. */
static struct pair *attributes_of(struct differ *d, struct str cookie, size_t *ret_n)
{
    size_t n = 0;
    for (size_t i = 0; i < cookie.n; i++)
        n += cookie.p[i] == ';';
    struct pair *p = pool_alloc(d->pool, (n + 1) * sizeof(*p));
    char *names = pool_alloc(d->pool, cookie.n);
    *ret_n = 0;
    if (!p || !names) {
        d->failed = -ENOMEM;
        return NULL;
    }
    size_t end = str_find(cookie, ';');
    for (size_t i = end; i < cookie.n; i = end) {
        struct str rest = str_from(cookie, i + 1);
        struct str part = str_of(rest.p, str_find(rest, ';'));
        end = i + 1 + part.n;
        size_t eq = str_find(part, '=');
        struct str name = str_trim(str_of(part.p, eq));
        struct str value = eq < part.n ? str_trim(str_from(part, eq + 1)) : str_of(part.p, 0);
        for (size_t k = 0; k < name.n; k++)
            names[k] = ascii_lower(name.p[k]);
        if (name.n)
            p[(*ret_n)++] = (struct pair){str_of(names, name.n), value, i};
        names += name.n;
    }
    return p;
}

static struct str cookie_value(struct str cookie)
{
    struct str first = str_of(cookie.p, str_find(cookie, ';'));
    size_t eq = str_find(first, '=');
    return eq < first.n ? str_trim(str_from(first, eq + 1)) : str_of(first.p, 0);
}

/* Attributes are no secrets, though "cookie" is in their path. */
static void add_attribute(
    struct differ *d, struct str name, enum diff_kind kind, bool shape, struct str a, struct str b)
{
    (void)name;
    struct difference *x = differ_new(d, kind, shape);
    if (!x)
        return;
    x->a = differ_plain(d, a);
    x->b = differ_plain(d, b);
}

static void cookie_compare(struct differ *d, struct str a, struct str b)
{
    static const struct pair_rules rules = {differ_push_key, add_attribute};
    struct str va = cookie_value(a), vb = cookie_value(b);
    if (!str_eq(va, vb)) {
        struct path_mark m = differ_push(d, STR(".value"));
        differ_add(d, DIFF_VALUE, !shape_same_text(va, vb), va, vb);
        differ_pop(d, m);
    }
    size_t na, nb;
    struct pair *pa = attributes_of(d, a, &na), *pb = attributes_of(d, b, &nb);
    if (pa && pb)
        pairs_compare(d, &rules, pa, na, pb, nb);
}

static void cookies_compare(struct differ *d, const struct reply *a, const struct reply *b)
{
    size_t na, nb;
    struct pair *pa = cookies_of(d, a->fields, a->nfields, &na);
    struct pair *pb = cookies_of(d, b->fields, b->nfields, &nb);
    if (d->failed)
        return;
    pairs_sort(pa, na);
    pairs_sort(pb, nb);
    struct path_mark outer = differ_push(d, STR("header.set-cookie"));
    for (size_t i = 0, k = 0; i < na || k < nb;) {
        int c = i == na ? 1 : k == nb ? -1 : str_cmp(pa[i].name, pb[k].name);
        struct path_mark m = differ_push_key(d, c > 0 ? pb[k].name : pa[i].name);
        if (c == 0)
            cookie_compare(d, pa[i].value, pb[k].value);
        else
            differ_add(d, c < 0 ? DIFF_MISSING : DIFF_EXTRA, true,
                c < 0 ? cookie_value(pa[i].value) : str_of(NULL, 0),
                c > 0 ? cookie_value(pb[k].value) : str_of(NULL, 0));
        differ_pop(d, m);
        i += c <= 0;
        k += c >= 0;
    }
    differ_pop(d, outer);
}

/* ---- all of it ---- */

static void grpc_status_compare(struct differ *d, const struct reply *a, const struct reply *b)
{
    int x = reply_grpc_status(a), y = reply_grpc_status(b);
    char tx[16], ty[16];
    if (x == y)
        return;
    snprintf(tx, sizeof(tx), "%d", x);
    snprintf(ty, sizeof(ty), "%d", y);
    struct path_mark m = differ_push(d, STR("grpc-status"));
    differ_add(d,
        y < 0   ? DIFF_MISSING
        : x < 0 ? DIFF_EXTRA
                : DIFF_VALUE,
        true, x < 0 ? str_of(NULL, 0) : str_c(tx), y < 0 ? str_of(NULL, 0) : str_c(ty));
    differ_pop(d, m);
}

void headers_compare(struct differ *d, const struct reply *a, const struct reply *b)
{
    grpc_status_compare(d, a, b);
    fields_compare(d, STR("header"), a->fields, a->nfields, b->fields, b->nfields);
    cookies_compare(d, a, b);
    fields_compare(d, STR("trailer"), a->trailers, a->ntrailers, b->trailers, b->ntrailers);
}
