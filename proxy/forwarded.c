#include "proxy/forwarded.h"
#include "lib/base/parse.h"
#include "proxy/worker.h"

#define ID_MAX 128
#define HEARSAY                                                                                    \
    (FIELD_BIT(FIELD_X_FORWARDED_FOR) | FIELD_BIT(FIELD_X_FORWARDED_PROTO) |                       \
        FIELD_BIT(FIELD_X_FORWARDED_HOST) | FIELD_BIT(FIELD_X_FORWARDED_PORT) |                    \
        FIELD_BIT(FIELD_FORWARDED))

static bool came(const struct request *r, enum field_id id)
{
    return r->answer.context.seen >> id & 1;
}

/* ---- the id ---- */

static bool id_valid(struct str id)
{
    if (id.n == 0 || id.n > ID_MAX)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = ascii_lower(id.p[i]);
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain && !memchr("._:/+=@-", c, 8))
            return false;
    }
    return true;
}

static struct str made_id(struct request *r)
{
    for (unsigned i = 0; i < sizeof r->made_id; i += 16)
        format_hex64(worker_random(r->w), r->made_id + i);
    return str_of(r->made_id, sizeof r->made_id);
}

void forwarded_decide(struct request *r)
{
    unsigned n = 0;
    for (unsigned i = 0; came(r, FIELD_X_REQUEST_ID) && i < r->head.nfields; i++)
        if (r->fields[i].id == FIELD_X_REQUEST_ID && n++ == 0)
            r->request_id = field_value(&r->fields[i]);
    if (r->ask.trusted || (n == 1 && id_valid(r->request_id)))
        return;
    r->request_id = made_id(r);
}

/* ---- addresses ---- */

/* Most clients have such: without the detour over a port that is cut off again. */
static struct str ip4_text(const uint8_t ip[4], char *text)
{
    char *p = text;
    for (unsigned i = 0; i < 4; i++) {
        if (i)
            *p++ = '.';
        if (ip[i] >= 100)
            *p++ = (char)('0' + ip[i] / 100);
        if (ip[i] >= 10)
            *p++ = (char)('0' + ip[i] / 10 % 10);
        *p++ = (char)('0' + ip[i] % 10);
    }
    return str_of(text, (size_t)(p - text));
}

/* The address of a peer that has one, without port and brackets. */
static struct str peer_ip(const struct request *r, char text[ADDR_TEXT_MAX])
{
    struct addr peer;
    client_peer(r->client, &peer);
    if (peer.kind == ADDR_IP4)
        return ip4_text(peer.ip, text);
    if (peer.kind != ADDR_IP6)
        return (struct str){0};
    size_t n = addr_format(&peer, text);
    while (n > 0 && text[n - 1] != ':')
        n--;
    return str_of(text + 1, n - 3);
}

/* RFC 7239 section 6: an IPv6 address in brackets and quotes. */
static void put_node(struct out *o, struct str ip)
{
    PUT(o, "for=");
    if (ip.n == 0) {
        PUT(o, "unknown");
    } else if (str_find(ip, ':') < ip.n) {
        PUT(o, "\"[");
        put_str(o, ip);
        PUT(o, "]\"");
    } else {
        put_str(o, ip);
    }
}

/* The values that came, in their order, as one list that another member can follow. */
static void put_list(const struct request *r, struct out *o, enum field_id id)
{
    for (unsigned i = 0; i < r->head.nfields; i++)
        if (r->fields[i].id == id && r->fields[i].value_len) {
            put_str(o, field_value(&r->fields[i]));
            PUT(o, ", ");
        }
}

/* ---- the fields ---- */

uint64_t forwarded_kept_back(const struct request *r)
{
    if (!r->ask.trusted)
        return HEARSAY | (r->request_id.p == r->made_id ? FIELD_BIT(FIELD_X_REQUEST_ID) : 0);
    bool appends = r->client->peer_kind != ADDR_UNIX;
    return appends ? FIELD_BIT(FIELD_X_FORWARDED_FOR) | FIELD_BIT(FIELD_FORWARDED) : 0;
}

static void append(const struct request *r, struct out *o)
{
    char text[ADDR_TEXT_MAX];
    if (r->client->peer_kind == ADDR_UNIX)
        return;
    struct str ip = peer_ip(r, text);
    if (came(r, FIELD_X_FORWARDED_FOR)) {
        PUT(o, "x-forwarded-for: ");
        put_list(r, o, FIELD_X_FORWARDED_FOR);
        put_str(o, ip);
        PUT(o, "\r\n");
    }
    if (came(r, FIELD_FORWARDED)) {
        PUT(o, "forwarded: ");
        put_list(r, o, FIELD_FORWARDED);
        put_node(o, ip);
        PUT(o, "\r\n");
    }
}

static void say_rfc7239(const struct request *r, struct out *o, struct str ip)
{
    PUT(o, "forwarded: ");
    put_node(o, ip);
    if (r->head.authority.n) {
        PUT(o, ";host=\"");
        put_str(o, r->head.authority);
        PUT(o, "\"");
    }
    if (r->client->tls)
        PUT(o, ";proto=https\r\n");
    else
        PUT(o, ";proto=http\r\n");
}

static void say(const struct request *r, struct out *o)
{
    char text[ADDR_TEXT_MAX];
    struct str ip = peer_ip(r, text);
    if (ip.n) {
        PUT(o, "x-forwarded-for: ");
        put_str(o, ip);
        PUT(o, "\r\n");
    }
    if (r->client->tls)
        PUT(o, "x-forwarded-proto: https\r\n");
    else
        PUT(o, "x-forwarded-proto: http\r\n");
    if (r->head.authority.n) {
        PUT(o, "x-forwarded-host: ");
        put_str(o, r->head.authority);
        PUT(o, "\r\n");
    }
    if (r->client->local_port) {
        PUT(o, "x-forwarded-port: ");
        put_u64(o, r->client->local_port);
        PUT(o, "\r\n");
    }
    if (r->w->set->forwarded)
        say_rfc7239(r, o, ip);
    if (r->request_id.p == r->made_id) {
        PUT(o, "x-request-id: ");
        put_str(o, r->request_id);
        PUT(o, "\r\n");
    }
}

void forwarded_put(const struct request *r, struct out *o)
{
    if (!r->ask.trusted)
        say(r, o);
    else if (came(r, FIELD_X_FORWARDED_FOR) || came(r, FIELD_FORWARDED))
        append(r, o);
}
