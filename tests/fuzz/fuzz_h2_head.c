/* Fields of HTTP/2 to the text of HTTP/1 and back. The first byte says what the rest is: bits 0-1:
 * 0 fields of a request, 1 of a reply, 2 trailers, 3 the text of an HTTP/1 head (a reply's with bit
 * 2); bit 2 END_STREAM, bit 3 extended CONNECT is offered, bit 4 little limits. A field is two
 * lengths of one byte, then name and value.
 *
 * What h2_text accepts is either read by the HTTP/1 parser with the same method, path, authority
 * and fields in their order, or is refused by it; what comes of a head that the parser accepted
 * passes nghttp2's checks and comes back as it was. */
#include "lib/wire/h1.h"
#include "lib/wire/h2_head.h"
#include "tests/fuzz/fuzz.h"
#include <nghttp2/nghttp2.h>

#define INPUT_MAX  16384
#define FIELDS_MAX 256
#define KEY        "dGhlIHNhbXBsZSBub25jZQ=="

struct pair {
    struct str name, value;
};

/* What a block should come to, built apart from the code under test. */
struct model {
    struct pair fields[FIELDS_MAX + 8];
    unsigned n;
    struct str method, path, authority, protocol, host;
    bool has_authority, has_host, has_length;
    char cookie[INPUT_MAX * 2];
    size_t cookie_n;
};

static const struct h1_limits wide = {1 << 20, 256, 1 << 20, FIELDS_MAX + 8};
static struct field fields[FIELDS_MAX + 8];
static char memory[65536];

static void model_cookie(struct model *m, struct pair f)
{
    unsigned at = 0;
    while (at < m->n && !str_eq(m->fields[at].name, STR("cookie")))
        at++;
    if (at < m->n && f.value.n == 0)
        return;
    if (at < m->n) {
        memmove(m->fields + at, m->fields + at + 1, (m->n - at - 1) * sizeof(f));
        m->n--;
        memcpy(m->cookie + m->cookie_n, "; ", 2);
        m->cookie_n += m->cookie_n ? 2 : 0;
    }
    if (f.value.n)
        memcpy(m->cookie + m->cookie_n, f.value.p, f.value.n);
    m->cookie_n += f.value.n;
    m->fields[m->n++] = (struct pair){f.name, str_of(m->cookie, m->cookie_n)};
}

static void model_field(struct model *m, enum h2_kind kind, struct pair f)
{
    if (f.name.n && f.name.p[0] == ':') {
        if (str_eq(f.name, STR(":method")))
            m->method = f.value;
        else if (str_eq(f.name, STR(":path")))
            m->path = f.value;
        else if (str_eq(f.name, STR(":protocol")))
            m->protocol = f.value;
        else if (str_eq(f.name, STR(":authority"))) {
            m->authority = f.value;
            m->has_authority = true;
            m->fields[m->n++] = (struct pair){STR("host"), f.value};
        }
        return;
    }
    if (kind == H2_REQUEST && str_eq(f.name, STR("host"))) {
        m->host = f.value;
        m->has_host = true;
        if (m->has_authority)
            return;
    }
    if (kind == H2_REQUEST && str_eq(f.name, STR("cookie"))) {
        model_cookie(m, f);
        return;
    }
    if (m->protocol.n && str_eq(f.name, STR("sec-websocket-key")))
        return;
    m->has_length |= str_eq(f.name, STR("content-length"));
    m->fields[m->n++] = f;
}

static void model_end(struct model *m, enum h2_kind kind, bool end)
{
    bool body = str_eq(m->method, STR("POST")) || str_eq(m->method, STR("PUT")) ||
                str_eq(m->method, STR("PATCH"));
    if (kind != H2_REQUEST)
        return;
    if (m->protocol.n) {
        m->fields[m->n++] = (struct pair){STR("connection"), STR("upgrade")};
        m->fields[m->n++] = (struct pair){STR("upgrade"), m->protocol};
        if (str_ieq(m->protocol, STR("websocket")))
            m->fields[m->n++] = (struct pair){STR("sec-websocket-key"), STR(KEY)};
        m->method = STR("GET");
    } else if (end && body && !m->has_length) {
        m->fields[m->n++] = (struct pair){STR("content-length"), STR("0")};
    }
}

static void same_fields(const struct model *m, const struct field *f, unsigned n)
{
    demand(n == m->n);
    for (unsigned i = 0; i < n; i++) {
        demand(str_eq(field_name(&f[i]), m->fields[i].name));
        demand(str_eq(field_value(&f[i]), m->fields[i].value));
    }
}

static void read_request(const struct model *m, char *text, uint32_t n)
{
    struct h1_parser p;
    struct h1_head head;
    h1_parser_reset(&p, &wide, fields);
    enum h1_status s = h1_request(&p, text, n, &head);
    demand(s != H1_MORE);
    if (s == H1_ERROR)
        return;
    bool connect = str_eq(m->method, STR("CONNECT"));
    demand(head.size == n && head.minor == 1);
    demand(str_eq(head.method, m->method));
    demand(str_eq(head.target, connect ? m->authority : m->path));
    demand(str_ieq(head.authority, m->has_authority ? m->authority : m->host));
    demand(head.upgrade == (m->protocol.n > 0));
    demand(head.framing == H1_NO_BODY || head.framing == H1_LENGTH);
    same_fields(m, fields, head.nfields);
}

static void read_reply(const struct model *m, uint16_t status, char *text, uint32_t n)
{
    struct h1_parser p;
    struct h1_head head;
    h1_parser_reset(&p, &wide, fields);
    enum h1_status s = h1_reply(&p, text, n, H1_GET, &head);
    demand(s != H1_MORE);
    if (s == H1_ERROR)
        return;
    demand(head.size == n && head.minor == 1 && head.status == status && head.reason.n == 0);
    demand(head.framing != H1_CHUNKED && !head.upgrade);
    same_fields(m, fields, head.nfields);
}

static void read_trailers(const struct model *m, const char *text, uint32_t n)
{
    static char chunked[sizeof(memory) + 3];
    struct h1_head head = {.framing = H1_CHUNKED};
    struct h1_body body;
    struct str data;
    uint32_t used;
    uint16_t count = 0;
    memcpy(chunked, "0\r\n", 3);
    memcpy(chunked + 3, text, n);
    h1_body_init(&body, &head, &wide);
    enum h1_status s = h1_body_feed(&body, chunked, n + 3, &used, &data, fields, &count);
    demand(s == H1_DONE || s == H1_ERROR);
    if (s == H1_DONE) {
        demand(used == n + 3);
        same_fields(m, fields, count);
    }
}

static bool next_field(const uint8_t **p, const uint8_t *end, struct pair *ret)
{
    if (end - *p < 2)
        return false;
    size_t name = (*p)[0], value = (*p)[1], room = (size_t)(end - *p) - 2;
    if (name > room)
        name = room;
    if (value > room - name)
        value = room - name;
    ret->name = str_of((const char *)*p + 2, name);
    ret->value = str_of((const char *)*p + 2 + name, value);
    *p += 2 + name + value;
    return true;
}

static void from_fields(uint8_t mode, const uint8_t *p, const uint8_t *end)
{
    static struct model m;
    enum h2_kind kind = (enum h2_kind)(mode & 3);
    struct buf b = {.data = memory, .size = mode & 16 ? 300 : sizeof(memory), .end = 10};
    struct h2_text t;
    struct pair f;
    bool over = mode & 4;
    m.n = 0;
    m.cookie_n = 0;
    m.method = m.path = m.authority = m.protocol = m.host = (struct str){0};
    m.has_authority = m.has_host = m.has_length = false;
    memset(memory, '#', 10);
    h2_text_init(
        &t, kind, &b, mode & 16 ? 200 : sizeof(memory), mode & 16 ? 5 : FIELDS_MAX, mode & 8);
    for (unsigned i = 0; i < FIELDS_MAX && next_field(&p, end, &f); i++) {
        h2_text_field(&t, f.name, f.value);
        if (!t.error)
            model_field(&m, kind, f);
    }
    enum h2_error e = h2_text_end(&t, over, KEY);
    demand(memcmp(memory, "##########", 10) == 0 && b.start == 0);
    demand(e < H2_ERROR_COUNT && (e == H2_OK) == (b.end > 10));
    if (e)
        return;
    model_end(&m, kind, over);
    demand(b.end - 10 <= (mode & 16 ? 200 : sizeof(memory)));
    if (kind == H2_REQUEST)
        read_request(&m, memory + 10, b.end - 10);
    else if (kind == H2_REPLY)
        read_reply(&m, t.status, memory + 10, b.end - 10);
    else
        read_trailers(&m, memory + 10, b.end - 10);
}

/* ---- from a text ---- */

static bool passes(const struct h2_field *f)
{
    const uint8_t *name = (const uint8_t *)f->name.p, *value = (const uint8_t *)f->value.p;
    if (str_eq(f->name, STR(":method")))
        return nghttp2_check_method(value, f->value.n);
    if (str_eq(f->name, STR(":authority")))
        return nghttp2_check_authority(value, f->value.n);
    return nghttp2_check_header_name(name, f->name.n) &&
           nghttp2_check_header_value_rfc9113(value, f->value.n);
}

/* The fields come back as a text that the parser reads alike. */
static void and_back(
    const struct h2_field *out, unsigned n, const struct h1_head *was, bool reply, bool extended)
{
    static struct field again[FIELDS_MAX + 8];
    struct buf b = {.data = memory, .size = sizeof(memory)};
    struct h2_text t;
    struct h1_parser p;
    struct h1_head head;
    h2_text_init(&t, reply ? H2_REPLY : H2_REQUEST, &b, sizeof(memory), FIELDS_MAX, true);
    for (unsigned i = 0; i < n; i++)
        h2_text_field(&t, out[i].name, out[i].value);
    enum h2_error e = h2_text_end(&t, false, KEY);
    if (e == H2_E_LENGTH || e == H2_E_PROTOCOL) /* a length or an odd word of a tunnel */
        return;
    demand(e == H2_OK);
    h1_parser_reset(&p, &wide, again);
    if (reply) {
        demand(h1_reply(&p, memory, b.end, H1_GET, &head) == H1_DONE);
        demand(head.status == (was->status == 101 ? 200 : was->status));
        return;
    }
    demand(h1_request(&p, memory, b.end, &head) == H1_DONE);
    demand(str_eq(head.method, extended ? STR("GET") : was->method));
    demand(str_eq(head.target, was->target) && str_ieq(head.authority, was->authority));
    demand(head.has_length == was->has_length && head.length == was->length);
}

static void from_text(uint8_t mode, const uint8_t *data, size_t size)
{
    static char text[INPUT_MAX], copy[INPUT_MAX];
    static struct h2_field out[FIELDS_MAX + 16];
    struct h1_parser p;
    struct h1_head head;
    struct h2_out_head ret;
    bool reply = mode & 4;
    memcpy(text, data, size);
    memcpy(copy, data, size);
    h1_parser_reset(&p, &wide, fields);
    enum h1_status s = reply ? h1_reply(&p, text, (uint32_t)size, H1_GET, &head)
                             : h1_request(&p, text, (uint32_t)size, &head);
    uint16_t room = mode & 16 ? 6 : FIELDS_MAX + 16;
    int rc = reply ? h2_from_reply(copy, (uint32_t)size, out, room, &ret)
                   : h2_from_request(copy, (uint32_t)size, STR("https"), out, room, &ret);
    if (rc != 0)
        return;
    demand(ret.n <= room && ret.used <= size);
    for (unsigned i = 0; i < ret.n; i++)
        demand(out[i].name.n > 0);
    if (s != H1_DONE || p.skip)
        return;
    demand(ret.used == head.size);
    bool all = true;
    for (unsigned i = 0; i < ret.n; i++)
        all &= passes(&out[i]);
    demand(all);
    and_back(out, ret.n, &head, reply, ret.extended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > INPUT_MAX)
        return 0;
    if ((data[0] & 3) == 3)
        from_text(data[0], data + 1, size - 1);
    else
        from_fields(data[0], data + 1, data + size);
    return 0;
}
