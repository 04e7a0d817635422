/* Rows of listings: what is told of a connection, and of a request. */
#include "lib/base/list.h"
#include "proxy/live.h"
#include "proxy/logline.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include <stdio.h>

/* ---- room for rows ---- */

/* Places of rows as a heap, the youngest on top: it is the first to give way. */
static bool younger(const struct live_part *p, uint32_t a, uint32_t b)
{
    return p->row[p->order[a]].age_us < p->row[p->order[b]].age_us;
}

static void swap(struct live_part *p, uint32_t a, uint32_t b)
{
    uint32_t t = p->order[a];
    p->order[a] = p->order[b];
    p->order[b] = t;
}

static void sift_down(struct live_part *p)
{
    for (uint32_t at = 0;;) {
        uint32_t child = 2 * at + 1;
        if (child >= p->n)
            return;
        if (child + 1 < p->n && younger(p, child + 1, child))
            child++;
        if (!younger(p, child, at))
            return;
        swap(p, child, at);
        at = child;
    }
}

static void sift_up(struct live_part *p, uint32_t at)
{
    while (at > 0 && younger(p, at, (at - 1) / 2)) {
        swap(p, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

/* Whether a row of this age has room: the oldest are kept. */
static bool has_room(const struct live_part *p, uint64_t age_us)
{
    return p->n < p->size || (p->size > 0 && age_us > p->row[p->order[0]].age_us);
}

static void keep(struct live_part *p, const struct live_row *row)
{
    if (p->rows)
        p->rows--;
    if (p->n < p->size) {
        p->row[p->n] = *row;
        p->order[p->n] = p->n;
        sift_up(p, p->n++);
    } else {
        p->row[p->order[0]] = *row;
        sift_down(p);
    }
}

/* ---- texts ---- */

static void put(char *to, size_t size, struct str s)
{
    size_t n = s.n < size ? s.n : size - 1;
    if (n)
        memcpy(to, s.p, n);
    to[n] = '\0';
}
#define PUT(to, s) put(to, sizeof(to), s)

static void put_addr(char to[static LIVE_ADDRESS], const struct addr *a)
{
    char text[ADDR_TEXT_MAX];
    size_t n = addr_format(a, text);
    put(to, LIVE_ADDRESS, str_of(text, n));
}

/* With the port that it comes from. */
static void put_peer(struct live_row *row, const struct client *c)
{
    struct addr peer;
    client_peer(c, &peer);
    peer.port = c->peer_port;
    put_addr(row->address, &peer);
}

static bool wanted(const char *word, struct str s)
{
    return !*word || str_eq(str_c(word), s);
}

/* ---- requests ---- */

/* Since when the request is in its step, by the times that it notes anyway. */
static uint64_t step_since(const struct request *r)
{
    switch ((enum step)r->step) {
    case STEP_NAME:
    case STEP_CONNECT:
        return r->t_decided;
    case STEP_SEND:
    case STEP_REPLY:
        return r->t_connected;
    case STEP_RELAY:
    case STEP_TUNNEL:
        return r->t_reply;
    case STEP_OWN:
        return r->t_own;
    default:
        return r->t_start;
    }
}

static void fill_request(const struct request *r, struct live_row *row)
{
    struct str path = logline_path(r);
    path.n = str_find(path, '?');
    put_peer(row, r->client);
    put_addr(row->listener, &r->client->listener->spec.addr);
    row->cls = logline_class(r);
    row->bytes_in = r->up.sent;
    row->bytes_out = r->down.sent;
    row->state_us = r->w->now_us - step_since(r);
    struct str env = logline_env(r);
    if (!str_eq(env, STR("-")))
        PUT(row->environment, env);
    if (r->client->phase == CLIENT_STREAM)
        row->stream = client_h2_id(r->client);
    PUT(row->service, r->service);
    PUT(row->provider, r->provider_env);
    if (r->head.size == 0)
        return;
    PUT(row->method, r->head.method);
    PUT(row->host, r->head.authority);
    PUT(row->path, path);
}

static void add_request(struct live_part *p, const struct request *r)
{
    const struct live_question *q = p->question;
    struct live_row row;
    uint64_t age = r->w->now_us - r->t_start;
    struct str state = str_c(step_word(r->step)), env = logline_env(r);
    if (age < q->older_us || !wanted(q->state, state) || !wanted(q->environment, env) ||
        !wanted(q->service, r->service))
        return;
    p->total++;
    if (!has_room(p, age))
        return;
    memset(&row, 0, sizeof row);
    row.age_us = age;
    row.worker = (uint16_t)r->w->id;
    row.trusted = r->client->listener->spec.trusted;
    row.tls = r->client->tls;
    row.protocol = logline_protocol(r);
    row.state = state.p;
    fill_request(r, &row);
    keep(p, &row);
}

/* ---- connections ---- */

static const char *client_state(const struct client *c)
{
    if (c->lingering)
        return "lingering";
    if (c->phase == CLIENT_HTTP2)
        return client_h2_busy(c) ? "streams" : "idle";
    if (c->req)
        return step_word(c->req->step);
    return c->phase == CLIENT_PROXY ? "proxy-header"
           : c->phase == CLIENT_TLS ? "handshake"
           : c->phase == CLIENT_TCP ? "server-name"
                                    : "idle";
}

static const char *pconn_state(const struct pconn *c)
{
    if (c->pending)
        return "connect";
    if (c->kind == PCONN_SESSION)
        return provider_h2_busy(c) ? "streams" : "idle";
    return c->req ? step_word(c->req->step) : "idle";
}

bool live_is_state(const char *word)
{
    static const char *const words[] = {
        "proxy-header", "handshake", "server-name", "idle", "streams", "lingering"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

static void take_counts(struct live_row *row, const struct conn *c)
{
    row->age_us = c->w->now_us - c->opened_us;
    row->requests = c->requests;
    row->bytes_in = c->received;
    row->bytes_out = c->sent;
}

static void add_connection(struct live_part *p, struct live_row *row)
{
    const struct live_question *q = p->question;
    if (row->age_us < q->older_us || !wanted(q->state, str_c(row->state)))
        return;
    p->total++;
    if (has_room(p, row->age_us))
        keep(p, row);
}

static void client_row(struct live_part *p, const struct client *c)
{
    struct worker *w = c->conn.w;
    struct live_row row;
    memset(&row, 0, sizeof row);
    put_peer(&row, c);
    put_addr(row.listener, &c->listener->spec.addr);
    row.side = LIVE_CLIENT;
    row.worker = (uint16_t)w->id;
    row.trusted = c->listener->spec.trusted;
    row.tls = c->tls;
    row.protocol = spoken_word(c->phase == CLIENT_HTTP2 ? SPOKEN_HTTP2
                               : c->phase == CLIENT_TCP ? SPOKEN_TCP
                                                        : SPOKEN_HTTP1);
    row.state = client_state(c);
    take_counts(&row, &c->conn);
    row.state_us = c->req ? w->now_us - step_since(c->req) : (w->now_ms - c->since_ms) * 1000;
    add_connection(p, &row);
}

void live_add_pconn(struct live_part *p, const struct pconn *c)
{
    struct worker *w = c->conn.w;
    struct live_row row;
    memset(&row, 0, sizeof row);
    put_addr(row.address, &c->provider->addr);
    row.side = LIVE_PROVIDER;
    row.tls = c->conn.ops != NULL; /* the only other transport of a connection */
    row.worker = (uint16_t)w->id;
    row.protocol = spoken_word(c->kind == PCONN_SESSION ? SPOKEN_HTTP2 : SPOKEN_HTTP1);
    row.state = pconn_state(c);
    take_counts(&row, &c->conn);
    row.state_us = c->req       ? w->now_us - step_since(c->req)
                   : c->idle_ms ? (w->now_ms - c->idle_ms) * 1000
                                : row.age_us;
    add_connection(p, &row);
}

static void add_stream(struct client *stream, void *part)
{
    if (stream->req)
        add_request(part, stream->req);
}

/* Connections in use are in no list of their provider's, but those of HTTP/2. */
static void add_pconn_of(struct client *c, void *part)
{
    if (c->req && c->req->pconn && c->req->pconn->kind == PCONN_HTTP1)
        live_add_pconn(part, c->req->pconn);
}

static void add_pconn_in_use(struct live_part *p, struct client *c)
{
    add_pconn_of(c, p);
    if (c->phase == CLIENT_HTTP2)
        client_h2_each(c, add_pconn_of, p);
}

void live_add_client(struct live_part *p, struct client *c)
{
    const struct live_question *q = p->question;
    if (q->what == LIVE_REQUESTS) {
        if (c->req)
            add_request(p, c->req);
        if (c->phase == CLIENT_HTTP2)
            client_h2_each(c, add_stream, p);
        return;
    }
    if (q->sides & 1u << LIVE_CLIENT)
        client_row(p, c);
    if (q->sides & 1u << LIVE_PROVIDER)
        add_pconn_in_use(p, c);
}
