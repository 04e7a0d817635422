/* A gRPC server and a gRPC client on lib/net/grpc.h, for tests against other implementations.
 *
 *   grpc_echo serve ADDRESS [CERT KEY CA]      prints "ready listen=ADDRESS"; SIGUSR1 turns health
 *   grpc_echo call TARGET PATH N [CERT KEY CA] sends N messages "message 0" ..., prints what comes
 *                                              back and "status CODE TEXT"
 *
 * The server's /test.Echo/Each answers each message by itself; its service is offshoot.v1.Control
 * for reflection and health. The client ends after its call, or with 1 when it cannot connect. */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/dns.h"
#include "lib/net/grpc.h"
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct program {
    struct event_base *base;
    struct dns *dns;
    struct grpc_tls *tls;
    struct grpc_server *server;
    struct grpc_client *client;
    const char *path;
    unsigned n;
    bool serving;
    int status;
};

static int give_up(const struct err *e)
{
    fprintf(stderr, "grpc_echo: %s\n", e->text);
    return 1;
}

/* ---- server ---- */

static void echo(struct grpc_stream *st, struct str message, void *arg)
{
    (void)arg;
    if (grpc_send(st, message))
        grpc_finish(st, GRPC_RESOURCE_EXHAUSTED, STR("the answers are not read"));
}

static void finish(struct grpc_stream *st, void *arg)
{
    char text[2048] = "";
    const struct grpc_peer *peer = grpc_peer(st);
    (void)arg;
    for (unsigned i = 0; i < peer->nnames; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", peer->names[i]);
    grpc_finish(st, GRPC_OK, str_c(text));
}

static void server_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    (void)st;
    (void)arg;
    printf("end %s %.*s\n", grpc_status_word(status), STR_ARG(text));
}

static const struct grpc_events echo_events = {
    .on_message = echo, .on_half_close = finish, .on_end = server_end};
static const struct grpc_method methods[] = {{"/test.Echo/Each", &echo_events, NULL}};
static const char *const services[] = {"offshoot.v1.Control", NULL};

static void on_turn(evutil_socket_t number, short what, void *arg)
{
    struct program *p = arg;
    (void)number;
    (void)what;
    p->serving = !p->serving;
    grpc_server_set_serving(p->server, p->serving);
}

static int serve(struct program *p, const char *at)
{
    char text[ADDR_TEXT_MAX];
    struct err e = {0};
    struct addr a, bound;
    struct grpc_server_options o = {.limits = {16, 4u << 20, 16u << 20}, .services = services};
    struct event *turn = evsignal_new(p->base, SIGUSR1, on_turn, p);
    event_add(turn, NULL);
    p->server = grpc_server_new(p->base, &o, methods, 1, p, &e);
    if (!p->server || addr_parse(str_c(at), true, &a, &e) ||
        grpc_server_listen(p->server, &a, p->tls, false, &bound, &e))
        return give_up(&e);
    p->serving = true;
    grpc_server_set_serving(p->server, true);
    addr_format(&bound, text);
    printf("ready listen=%s\n", text);
    event_base_dispatch(p->base);
    event_free(turn);
    return 0;
}

/* ---- client ---- */

static void client_message(struct grpc_stream *st, struct str message, void *arg)
{
    struct program *p = arg;
    printf("%.*s\n", STR_ARG(message));
    if (--p->n == 0)
        grpc_half_close(st);
}

static void client_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    struct program *p = arg;
    (void)st;
    printf("status %u %.*s\n", status, STR_ARG(text));
    event_base_loopexit(p->base, NULL);
}

static void on_up(struct grpc_client *c, void *arg)
{
    struct program *p = arg;
    struct grpc_stream *st = grpc_call(grpc_client_session(c), STR("localhost"), str_c(p->path));
    for (unsigned i = 0; st && i < p->n; i++) {
        char text[32];
        int n = snprintf(text, sizeof(text), "message %u", i);
        if (grpc_send(st, str_of(text, (size_t)n)))
            abort();
    }
}

static void on_down(struct grpc_client *c, const char *why, uint32_t retry_ms, void *arg)
{
    struct program *p = arg;
    (void)c;
    printf("down, again in %" PRIu32 " ms: %s\n", retry_ms, why);
    p->status = 1;
    event_base_loopexit(p->base, NULL);
}

static const struct grpc_client_events client_events = {
    .call = {.on_message = client_message, .on_end = client_end},
    .on_up = on_up,
    .on_down = on_down};

static int call(struct program *p, const char *target, const char *path, const char *n)
{
    struct err e = {0};
    struct grpc_client_options o = {.tls = p->tls};
    p->path = path;
    p->n = (unsigned)strtoul(n, NULL, 10);
    p->dns = dns_new(p->base, NULL, 5000, &e);
    if (p->dns)
        p->client = grpc_client_new(p->base, p->dns, target, &o, &client_events, p, &e);
    if (!p->client)
        return give_up(&e);
    event_base_dispatch(p->base);
    return p->status;
}

/* ---- both ---- */

static void on_term(evutil_socket_t number, short what, void *arg)
{
    (void)number;
    (void)what;
    event_base_loopexit(arg, NULL);
}

static int run(struct program *p, int argc, char **argv)
{
    bool server = argc > 1 && strcmp(argv[1], "serve") == 0;
    int fixed = server ? 3 : 5;
    struct err e = {0};
    if (argc != fixed && argc != fixed + 3) {
        fprintf(stderr, "usage: grpc_echo serve|call ... (see its head)\n");
        return 2;
    }
    if (argc > fixed) {
        p->tls = grpc_tls_new(argv[fixed], argv[fixed + 1], argv[fixed + 2], server, &e);
        if (!p->tls)
            return give_up(&e);
    }
    return server ? serve(p, argv[2]) : call(p, argv[2], argv[3], argv[4]);
}

int main(int argc, char **argv)
{
    struct program p = {.base = event_base_new()};
    struct event *term = evsignal_new(p.base, SIGTERM, on_term, p.base);
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    log_init("grpc_echo");
    event_add(term, NULL);
    int rc = run(&p, argc, argv);
    grpc_client_free(p.client);
    grpc_server_free(p.server);
    dns_free(p.dns);
    grpc_tls_free(p.tls);
    event_free(term);
    event_base_free(p.base);
    fprintf(stderr, "live objects %zu\n", mem_live());
    return rc;
}
