#include "proxy/provider_tls.h"
#include "lib/base/mem.h"
#include "proxy/tls.h"
#include "proxy/tls_conn.h"
#include "proxy/worker.h"
#include <errno.h>
#include <openssl/ssl.h>
#include <xxhash.h>

#define AGAIN_MS 1000u /* after authorities that could not be read */

struct provider_tls {
    struct str name, ca; /* NUL-terminated; name empty: nothing to verify */
    struct str said;     /* the name before an address took its place, for comparing */
    bool insecure;
};

static struct str said_name(const struct provider_way *way)
{
    return way->tls->name.n ? way->tls->name : way->host;
}

uint64_t provider_tls_hash(const struct provider_way *way)
{
    if (!way->tls)
        return 0;
    struct str name = said_name(way), ca = way->tls->ca;
    uint64_t h = XXH64(name.p, name.n, 1 + way->tls->insecure);
    return XXH64(ca.p, ca.n, h) | 1;
}

bool provider_tls_same(const struct provider_tls *t, const struct provider_way *way)
{
    if (!t || !way->tls)
        return !t && !way->tls;
    return t->insecure == way->tls->insecure && str_eq(t->said, said_name(way)) &&
           str_eq(t->ca, way->tls->ca);
}

static struct str put(char **at, struct str s)
{
    struct str copy = {*at, s.n};
    if (s.n)
        memcpy(*at, s.p, s.n);
    (*at)[s.n] = '\0';
    *at += s.n + 1;
    return copy;
}

/* An address as a certificate has it: without port and brackets. */
static struct str plain_address(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    struct str s = {out, addr_format(a, out)};
    if (a->kind != ADDR_IP4 && a->kind != ADDR_IP6)
        return (struct str){0};
    while (s.n && s.p[s.n - 1] != ':')
        s.n--;
    return a->kind == ADDR_IP6 ? str_of(s.p + 1, s.n - 3) : str_of(s.p, s.n - 1);
}

struct provider_tls *provider_tls_new(const struct provider_way *way, const struct addr *a)
{
    char text[ADDR_TEXT_MAX];
    struct str said = said_name(way), name = said.n ? said : plain_address(a, text);
    struct provider_tls *t = mem_alloc(sizeof *t + said.n + name.n + way->tls->ca.n + 3);
    if (!t)
        return NULL;
    char *at = (char *)(t + 1);
    t->said = put(&at, said);
    t->name = put(&at, name);
    t->ca = put(&at, way->tls->ca);
    t->insecure = way->tls->insecure;
    return t;
}

/* ---- authorities ---- */

struct provider_cas {
    struct provider_cas *next;
    struct tls_client *client; /* NULL: they could not be read */
    uint64_t tried_ms;
    struct err why;
    char path[]; /* "": the proxy's own */
};

static void read_cas(struct worker *w, struct provider_cas *a)
{
    const struct settings *set = w->set;
    struct tls_rules rules;
    tls_settings(set, &rules);
    a->tried_ms = w->now_ms;
    a->client = tls_client_new(*a->path ? a->path : set->provider_tls_ca, set->provider_tls_cert,
        set->provider_tls_key, &rules, &a->why);
}

static struct provider_cas *find_cas(struct worker *w, struct str path)
{
    uint32_t n = 0;
    for (struct provider_cas *a = w->cas; a; a = a->next, n++) {
        if (!str_eq(str_c(a->path), path))
            continue;
        if (!a->client && a->tried_ms + AGAIN_MS <= w->now_ms)
            read_cas(w, a);
        return a;
    }
    struct provider_cas *a =
        n < w->set->limit_certificates ? mem_zalloc(sizeof *a + path.n + 1) : NULL;
    if (!a)
        return NULL;
    memcpy(a->path, path.p, path.n);
    read_cas(w, a);
    a->next = w->cas;
    w->cas = a;
    return a;
}

void provider_cas_release(struct worker *w)
{
    while (w->cas) {
        struct provider_cas *a = w->cas;
        w->cas = a->next;
        tls_client_free(a->client);
        mem_free(a);
    }
}

/* ---- connections ---- */

static int failed(struct pconn *c, enum tls_failure why, const struct err *text)
{
    struct worker *w = c->conn.w;
    const struct provider *p = c->provider;
    char at[ADDR_TEXT_MAX + 300], address[ADDR_TEXT_MAX];
    addr_format(&p->addr, address);
    snprintf(at, sizeof at, "provider %s (%.*s)", address, STR_ARG(p->tls->name));
    counter_inc(&w->stats[STAT_PROVIDER_TLS_FAILURES + why]);
    tls_log(w, at, why, text);
    return -EACCES;
}

int provider_tls_begin(struct worker *w, struct pconn *c)
{
    const struct provider_tls *t = c->provider->tls;
    struct err none = {.text = "nothing to verify its certificate by: say `name`"};
    struct provider_cas *a = find_cas(w, t->ca);
    if (!a)
        return -ENOMEM;
    if (!a->client)
        return failed(c, TLS_FAIL_UNKNOWN_CA, &a->why);
    if (t->name.n == 0 && !t->insecure)
        return failed(c, TLS_FAIL_WRONG_NAME, &none);
    SSL *ssl =
        tls_client_open(a->client, t->name.n ? t->name.p : NULL, t->insecure, c->provider->http2);
    if (!ssl)
        return -ENOMEM;
    int rc = tls_conn_connect(&c->conn, ssl);
    c->pending = c->pending || rc == 0;
    return rc;
}

int provider_tls_handshake(struct pconn *c)
{
    enum tls_failure why = TLS_FAIL_CLOSED;
    struct err text = {0};
    switch (tls_conn_handshake(&c->conn, &why, &text)) {
    case IO_OK:
        break;
    case IO_AGAIN:
        return -EINPROGRESS;
    default:
        return failed(c, why, &text);
    }
    if (c->provider->http2 && !tls_conn_h2(&c->conn)) {
        err_set(&text, -EPROTO, "it does not speak HTTP/2");
        return failed(c, TLS_FAIL_ALPN, &text);
    }
    counter_inc(&c->conn.w->stats[STAT_PROVIDER_TLS_HANDSHAKES]);
    return 0;
}
