/* The HTTP/2 client of lib/net/h2client.h, for tests against other programs.
 *
 *   h2_ask TARGET METHOD PATH N BYTES [NAME VALUE]...
 *
 * N requests begun in one turn, each with a body of BYTES bytes; then one more after they ended.
 * Prints a line for each: how it ended, "status", "bytes" and, if it is short, the body. */
#include "lib/net/dns.h"
#include "lib/net/h2client.h"
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIELDS_MAX = 16 };

struct program {
    struct event_base *base;
    struct h2client *client;
    struct h2request request;
    struct reply_field_view fields[FIELDS_MAX];
    unsigned waits;
    bool last;
};

static void on_reply(void *arg, const struct h2reply *r);

static void ask(struct program *p)
{
    p->waits++;
    if (!h2client_request(p->client, &p->request, on_reply, p)) {
        fprintf(stderr, "h2_ask: refused\n");
        exit(1);
    }
}

static void on_reply(void *arg, const struct h2reply *r)
{
    struct program *p = arg;
    struct str body = r->body.n <= 200 ? r->body : STR("");
    printf("%s status=%u bytes=%zu trailers=%u body=%.*s\n", h2call_end_word(r->end), r->status,
        r->body.n, r->ntrailers, STR_ARG(body));
    if (--p->waits)
        return;
    if (p->last)
        event_base_loopbreak(p->base);
    else
        ask(p);
    p->last = true;
}

static int run(struct program *p, const char *target, unsigned n)
{
    struct err e = {0};
    struct dns *dns = dns_new(p->base, NULL, 5000, &e);
    const struct h2client_options o = {.calls = n + 1, .body_bytes = 4u << 20, .bytes = 1u << 30};
    p->client = dns ? h2client_new(p->base, dns, target, &o, &e) : NULL;
    if (p->client) {
        for (unsigned i = 0; i < n; i++)
            ask(p);
        event_base_dispatch(p->base);
    } else {
        fprintf(stderr, "h2_ask: %s\n", e.text);
    }
    int rc = !p->client;
    h2client_free(p->client);
    dns_free(dns);
    return rc;
}

int main(int argc, char **argv)
{
    struct program p = {0};
    signal(SIGPIPE, SIG_IGN);
    if (argc < 6 || argc % 2 || (argc - 6) / 2 > FIELDS_MAX)
        return 2;
    size_t bytes = strtoul(argv[5], NULL, 10);
    char *body = malloc(bytes + 1);
    if (!body)
        return 1;
    memset(body, 'x', bytes);
    for (int i = 6; i < argc; i += 2)
        p.fields[p.request.nfields++] =
            (struct reply_field_view){str_c(argv[i]), str_c(argv[i + 1])};
    p.request.method = str_c(argv[2]);
    p.request.scheme = STR("http");
    p.request.authority = STR("localhost");
    p.request.path = str_c(argv[3]);
    p.request.fields = p.fields;
    p.request.body = str_of(body, bytes);
    p.request.has_body = bytes > 0;
    p.request.timeout_ms = 20000;
    p.base = event_base_new();
    int rc = run(&p, argv[1], (unsigned)strtoul(argv[4], NULL, 10));
    event_base_free(p.base);
    free(body);
    return rc;
}
