/* The text of an HTTP/1 head that we wrote as the fields of HTTP/2 (RFC 9113 section 8.2 and 8.3).
 */
#include "lib/base/field.h"
#include "lib/wire/h1_internal.h"
#include "lib/wire/h2_head.h"
#include <errno.h>

/* The fields so far; the first `pseudo` entries are left free until all is known. */
struct list_out {
    struct h2_field *out;
    uint16_t n, room, pseudo;
    struct str host, upgrade;
    bool websocket_reply; /* 101: sec-websocket-accept goes */
    bool request;
};

#define SECRET_IDS                                                                                 \
    (FIELD_BIT(FIELD_COOKIE) | FIELD_BIT(FIELD_BAGGAGE) | FIELD_BIT(FIELD_TRACEPARENT) |           \
        FIELD_BIT(FIELD_X_OFFSHOOT_CONTEXT) | FIELD_BIT(FIELD_UBERCTX_OFFSHOOT) |                  \
        FIELD_BIT(FIELD_OT_BAGGAGE_OFFSHOOT))
#define DROPPED_IDS                                                                                \
    (FIELD_BIT(FIELD_CONNECTION) | FIELD_BIT(FIELD_KEEP_ALIVE) |                                   \
        FIELD_BIT(FIELD_PROXY_CONNECTION) | FIELD_BIT(FIELD_TRANSFER_ENCODING) |                   \
        FIELD_BIT(FIELD_HTTP2_SETTINGS))

/* Values that nobody may guess by watching sizes, or that never come twice. */
static bool secret(const struct field *f)
{
    if (f->id != FIELD_OTHER)
        return SECRET_IDS >> f->id & 1;
    struct str name = field_name(f);
    return str_eq(name, STR("authorization")) || str_eq(name, STR("set-cookie")) ||
           str_eq(name, STR("proxy-authorization")) || str_eq(name, STR("x-request-id"));
}

/* True when the field is for this connection only, or is said otherwise in HTTP/2. */
static bool left_out(struct list_out *l, const struct field *f)
{
    switch (f->id) {
    case FIELD_HOST:
        if (!l->request)
            return false;
        l->host = field_value(f);
        return true;
    case FIELD_UPGRADE:
        l->upgrade = field_value(f);
        return true;
    case FIELD_TE:
        return !str_ieq(field_value(f), STR("trailers"));
    case FIELD_OTHER:
        return l->websocket_reply && str_eq(field_name(f), STR("sec-websocket-accept"));
    default:
        return DROPPED_IDS >> f->id & 1;
    }
}

static int add(struct list_out *l, const struct field *f)
{
    if (left_out(l, f))
        return 0;
    if (l->n == l->room)
        return -ENOBUFS;
    l->out[l->n++] = (struct h2_field){field_name(f), field_value(f), secret(f)};
    return 0;
}

/* The lines from *pos on, to the empty one (or to the end: trailers). */
static int lines(struct list_out *l, char *text, uint32_t n, uint32_t *pos, bool to_end)
{
    while (!to_end || *pos < n) {
        struct field f;
        size_t end = h1_scan_control(text, *pos, n);
        if (end + 2 > n)
            return to_end ? -EINVAL : -EAGAIN;
        if (memcmp(text + end, "\r\n", 2) != 0)
            return -EINVAL;
        if (end == *pos) {
            *pos += 2;
            return to_end ? -EINVAL : 0;
        }
        if (h1_field_parse(&f, text + *pos, end - *pos, n - *pos) != H1_OK)
            return -EINVAL;
        int rc = add(l, &f);
        if (rc < 0)
            return rc;
        *pos = (uint32_t)end + 2;
    }
    return 0;
}

/* The first line, without its CRLF. */
static int first_line(char *text, uint32_t n, struct str *ret, uint32_t *ret_pos)
{
    size_t end = h1_scan_control(text, 0, n);
    if (end + 2 > n)
        return end < n && text[end] != '\r' ? -EINVAL : -EAGAIN;
    if (memcmp(text + end, "\r\n", 2) != 0)
        return -EINVAL;
    *ret = str_of(text, end);
    *ret_pos = (uint32_t)end + 2;
    return 0;
}

static bool word(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] <= ' ')
            return false;
    return s.n > 0;
}

/* METHOD SP target SP HTTP/1.x */
static bool split(struct str line, struct str *ret_method, struct str *ret_target)
{
    size_t space = str_find(line, ' ');
    if (space == line.n)
        return false;
    *ret_method = str_of(line.p, space);
    struct str rest = str_from(line, space + 1);
    space = str_find(rest, ' ');
    *ret_target = str_of(rest.p, space);
    return word(*ret_method) && word(*ret_target) && space < rest.n &&
           str_starts(str_from(rest, space), STR(" HTTP/1.")) && rest.n == space + 9;
}

static struct h2_field plain(struct str name, struct str value)
{
    return (struct h2_field){name, value, false};
}

static void drop_websocket_key(struct list_out *l)
{
    uint16_t to = l->pseudo;
    for (uint16_t i = l->pseudo; i < l->n; i++)
        if (!str_eq(l->out[i].name, STR("sec-websocket-key")))
            l->out[to++] = l->out[i];
    l->n = to;
}

/* Four pseudo-fields have their place; a fifth, or only two, move the others. */
static int request_pseudo(
    struct list_out *l, struct str method, struct str target, struct str scheme)
{
    struct h2_field *out = l->out;
    bool extended = l->upgrade.n > 0;
    if (extended) {
        drop_websocket_key(l);
        if (l->n == l->room)
            return -ENOBUFS;
        memmove(out + 5, out + 4, (l->n - 4u) * sizeof(*out));
        out[4] = plain(STR(":protocol"), l->upgrade);
        l->n++;
    } else if (str_eq(method, STR("CONNECT"))) {
        memmove(out + 2, out + 4, (l->n - 4u) * sizeof(*out));
        l->n -= 2;
        out[0] = plain(STR(":method"), method);
        out[1] = plain(STR(":authority"), target);
        return 0;
    }
    if (target.p[0] != '/' && !str_eq(target, STR("*")))
        return -EINVAL;
    out[0] = plain(STR(":method"), extended ? STR("CONNECT") : method);
    out[1] = plain(STR(":scheme"), scheme);
    out[2] = plain(STR(":authority"), l->host);
    out[3] = plain(STR(":path"), target);
    return 0;
}

int h2_from_request(char *text, uint32_t n, struct str scheme, struct h2_field *out, uint16_t room,
    struct h2_out_head *ret)
{
    struct list_out l = {.out = out, .n = 4, .room = room, .pseudo = 4, .request = true};
    struct str line, method, target;
    uint32_t pos;
    if (room < 5)
        return -ENOBUFS;
    int rc = first_line(text, n, &line, &pos);
    if (rc < 0)
        return rc;
    if (!split(line, &method, &target))
        return -EINVAL;
    rc = lines(&l, text, n, &pos, false);
    if (rc < 0)
        return rc;
    if (l.host.n == 0)
        return -EINVAL;
    rc = request_pseudo(&l, method, target, scheme);
    if (rc < 0)
        return rc;
    *ret = (struct h2_out_head){.used = pos,
        .n = l.n,
        .head_method = str_eq(method, STR("HEAD")),
        .extended = l.upgrade.n > 0};
    return 0;
}

/* HTTP/1.x SP 3DIGIT [SP reason]: the digits' place, NULL when it is none. */
static const char *status_digits(struct str line)
{
    if (line.n < 12 || !str_starts(line, STR("HTTP/1.")) || line.p[8] != ' ' ||
        (line.n > 12 && line.p[12] != ' '))
        return NULL;
    for (int i = 9; i < 12; i++)
        if (!h1_is(line.p[i], H1_C_DIGIT))
            return NULL;
    return line.p[9] >= '1' && line.p[9] <= '5' ? line.p + 9 : NULL;
}

int h2_from_reply(
    char *text, uint32_t n, struct h2_field *out, uint16_t room, struct h2_out_head *ret)
{
    struct list_out l = {.out = out, .n = 1, .room = room, .pseudo = 1};
    struct str line;
    uint32_t pos;
    if (room < 1)
        return -ENOBUFS;
    int rc = first_line(text, n, &line, &pos);
    if (rc < 0)
        return rc;
    const char *digits = status_digits(line);
    if (!digits)
        return -EINVAL;
    struct str status = str_of(digits, 3);
    if (str_eq(status, STR("101"))) {
        status = STR("200");
        l.websocket_reply = true;
    }
    rc = lines(&l, text, n, &pos, false);
    if (rc < 0)
        return rc;
    out[0] = plain(STR(":status"), status);
    *ret = (struct h2_out_head){.used = pos,
        .n = l.n,
        .status =
            (uint16_t)((status.p[0] - '0') * 100 + (status.p[1] - '0') * 10 + (status.p[2] - '0')),
        .interim = status.p[0] == '1'};
    return 0;
}

int h2_from_trailers(char *text, uint32_t n, struct h2_field *out, uint16_t room)
{
    struct list_out l = {.out = out, .room = room};
    uint32_t pos = 0;
    int rc = lines(&l, text, n, &pos, true);
    return rc < 0 ? rc : l.n;
}
