#include "lib/wire/clienthello.h"
#include <string.h>

#define RECORD_HEADER    5u
#define RECORD_MAX       16384u
#define RECORD_HANDSHAKE 22
#define MESSAGE_HEADER   4u
#define CLIENT_HELLO     1
#define RANDOM_BYTES     32u
#define EXT_SERVER_NAME  0
#define EXT_ALPN         16
#define NAME_HOST        0

const char *clienthello_error_word(enum clienthello_error e)
{
    static const char *const words[CLIENTHELLO_ERROR_COUNT] = {"none", "not-tls", "record",
        "not-hello", "too-long", "length", "twice", "names", "name", "cut", "slow"};
    return words[e];
}

bool clienthello_offers(const struct clienthello *h, struct str protocol)
{
    for (uint32_t i = 0; i < h->alpn_len; i += 1u + (unsigned char)h->alpn[i])
        if (str_eq(str_of(h->alpn + i + 1, (unsigned char)h->alpn[i]), protocol))
            return true;
    return false;
}

/* ---- records ---- */

/* The records from the start, as far as they reach. */
struct records {
    const char *data;
    uint32_t n;
    uint32_t pos;  /* of the record looked at */
    uint32_t have; /* bytes of the message in the records before it */
    unsigned char header[MESSAGE_HEADER];
};

static uint32_t message_size(const struct records *r)
{
    return MESSAGE_HEADER +
           ((uint32_t)r->header[1] << 16 | (uint32_t)r->header[2] << 8 | r->header[3]);
}

static enum clienthello_error judge_record_header(const struct records *r)
{
    const unsigned char *h = (const unsigned char *)r->data + r->pos;
    uint32_t n = r->n - r->pos;
    bool first = r->pos == 0;
    if ((n >= 1 && h[0] != RECORD_HANDSHAKE) || (n >= 2 && h[1] != 3))
        return first ? CLIENTHELLO_E_NOT_TLS : CLIENTHELLO_E_RECORD;
    if (n >= 3 && h[2] > 4)
        return CLIENTHELLO_E_RECORD;
    uint32_t len = n >= RECORD_HEADER ? (uint32_t)h[3] << 8 | h[4] : 1;
    return len == 0 || len > RECORD_MAX ? CLIENTHELLO_E_RECORD : CLIENTHELLO_OK;
}

/* Looks at the bytes of one record: what they say of the message's header. */
static enum clienthello_error judge_message_header(struct records *r, uint32_t len)
{
    for (uint32_t i = 0; i < len && r->have + i < MESSAGE_HEADER; i++)
        r->header[r->have + i] = (unsigned char)r->data[r->pos + RECORD_HEADER + i];
    if (r->have + len > 0 && r->header[0] != CLIENT_HELLO)
        return CLIENTHELLO_E_NOT_HELLO;
    bool known = r->have + len >= MESSAGE_HEADER;
    return known && message_size(r) > CLIENTHELLO_MAX - RECORD_HEADER ? CLIENTHELLO_E_TOO_LONG
                                                                      : CLIENTHELLO_OK;
}

/* Walks the records. CLIENTHELLO_DONE: the message ends within the record at r->pos, and r->have
 * is what lies before that one. */
static enum clienthello_status walk(struct records *r, enum clienthello_error *ret_error)
{
    for (;;) {
        *ret_error = judge_record_header(r);
        if (*ret_error != CLIENTHELLO_OK)
            return CLIENTHELLO_ERROR;
        if (r->n - r->pos < RECORD_HEADER)
            break;
        const unsigned char *h = (const unsigned char *)r->data + r->pos;
        uint32_t len = (uint32_t)h[3] << 8 | h[4], here = r->n - r->pos - RECORD_HEADER;
        here = here < len ? here : len;
        *ret_error = judge_message_header(r, here);
        if (*ret_error != CLIENTHELLO_OK)
            return CLIENTHELLO_ERROR;
        if (r->have + here >= MESSAGE_HEADER && r->have + here >= message_size(r)) {
            uint32_t end = r->pos + RECORD_HEADER + message_size(r) - r->have;
            if (end <= CLIENTHELLO_MAX)
                return CLIENTHELLO_DONE;
            break;
        }
        if (here < len)
            break;
        r->have += len;
        r->pos += RECORD_HEADER + len;
    }
    if (r->n < CLIENTHELLO_MAX)
        return CLIENTHELLO_MORE;
    *ret_error = CLIENTHELLO_E_TOO_LONG;
    return CLIENTHELLO_ERROR;
}

/* The message that walk found whole, without record headers: in place when it lies in one record,
 * else joined in room. */
static struct str join(const struct records *r, char room[static CLIENTHELLO_MAX])
{
    uint32_t size = message_size(r), have = 0;
    if (r->have == 0)
        return str_of(r->data + r->pos + RECORD_HEADER, size);
    for (uint32_t pos = 0; have < size;) {
        const unsigned char *h = (const unsigned char *)r->data + pos;
        uint32_t len = (uint32_t)h[3] << 8 | h[4];
        uint32_t take = len < size - have ? len : size - have;
        memcpy(room + have, r->data + pos + RECORD_HEADER, take);
        have += take;
        pos += RECORD_HEADER + len;
    }
    return str_of(room, size);
}

/* ---- the message ---- */

/* Takes a number of `bytes` bytes off the front. */
static bool take_number(struct str *s, unsigned bytes, uint32_t *ret)
{
    uint32_t v = 0;
    if (s->n < bytes)
        return false;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | (unsigned char)s->p[i];
    *s = str_from(*s, bytes);
    *ret = v;
    return true;
}

static bool take(struct str *s, uint32_t n, struct str *ret)
{
    if (s->n < n)
        return false;
    *ret = str_of(s->p, n);
    *s = str_from(*s, n);
    return true;
}

/* A vector with a length of `bytes` bytes before it, min to max long. */
static bool take_vector(struct str *s, unsigned bytes, uint32_t min, uint32_t max, struct str *ret)
{
    uint32_t n;
    return take_number(s, bytes, &n) && n >= min && n <= max && take(s, n, ret);
}

static bool host_char(char c)
{
    c = ascii_lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

static enum clienthello_error read_name(struct str ext, struct clienthello *ret)
{
    struct str list, name;
    uint32_t type;
    if (!take_vector(&ext, 2, 0, UINT16_MAX, &list) || ext.n)
        return CLIENTHELLO_E_LENGTH;
    if (list.n == 0)
        return CLIENTHELLO_E_NAMES;
    if (!take_number(&list, 1, &type) || !take_vector(&list, 2, 0, UINT16_MAX, &name))
        return CLIENTHELLO_E_LENGTH;
    if (type != NAME_HOST || list.n)
        return CLIENTHELLO_E_NAMES;
    if (name.n == 0 || name.n > CLIENTHELLO_NAME_MAX)
        return CLIENTHELLO_E_NAME;
    for (size_t i = 0; i < name.n; i++)
        if (!host_char(name.p[i]))
            return CLIENTHELLO_E_NAME;
    memcpy(ret->name, name.p, name.n);
    ret->name_len = (uint8_t)name.n;
    return CLIENTHELLO_OK;
}

static enum clienthello_error read_alpn(struct str ext, struct clienthello *ret)
{
    struct str list, protocol;
    if (!take_vector(&ext, 2, 2, UINT16_MAX, &list) || ext.n)
        return CLIENTHELLO_E_LENGTH;
    ret->has_alpn = true;
    while (list.n) {
        if (!take_vector(&list, 1, 1, UINT8_MAX, &protocol))
            return CLIENTHELLO_E_LENGTH;
        if (ret->alpn_cut || ret->alpn_len + 1 + protocol.n > sizeof ret->alpn) {
            ret->alpn_cut = true;
            continue;
        }
        ret->alpn[ret->alpn_len] = (char)protocol.n;
        memcpy(ret->alpn + ret->alpn_len + 1, protocol.p, protocol.n);
        ret->alpn_len = (uint8_t)(ret->alpn_len + 1 + protocol.n);
    }
    return CLIENTHELLO_OK;
}

static enum clienthello_error read_extensions(struct str all, struct clienthello *ret)
{
    bool name_seen = false;
    while (all.n) {
        uint32_t type;
        struct str ext;
        enum clienthello_error e = CLIENTHELLO_OK;
        if (!take_number(&all, 2, &type) || !take_vector(&all, 2, 0, UINT16_MAX, &ext))
            return CLIENTHELLO_E_LENGTH;
        if ((type == EXT_SERVER_NAME && name_seen) || (type == EXT_ALPN && ret->has_alpn))
            return CLIENTHELLO_E_TWICE;
        if (type == EXT_SERVER_NAME) {
            name_seen = true;
            e = read_name(ext, ret);
        } else if (type == EXT_ALPN) {
            e = read_alpn(ext, ret);
        }
        if (e != CLIENTHELLO_OK)
            return e;
    }
    return CLIENTHELLO_OK;
}

/* RFC 8446 section 4.1.2, which is that of RFC 5246 too: extensions may be missing there. */
static enum clienthello_error read_message(struct str m, struct clienthello *ret)
{
    struct str part;
    bool ok = take(&m, MESSAGE_HEADER + 2 + RANDOM_BYTES, &part) &&
              take_vector(&m, 1, 0, 32, &part) &&                       /* session */
              take_vector(&m, 2, 2, 65534, &part) && part.n % 2 == 0 && /* cipher suites */
              take_vector(&m, 1, 1, UINT8_MAX, &part);                  /* compression */
    if (!ok)
        return CLIENTHELLO_E_LENGTH;
    if (m.n == 0)
        return CLIENTHELLO_OK;
    if (!take_vector(&m, 2, 0, UINT16_MAX, &part) || m.n)
        return CLIENTHELLO_E_LENGTH;
    return read_extensions(part, ret);
}

enum clienthello_status clienthello_read(
    const char *data, uint32_t n, struct clienthello *ret, enum clienthello_error *ret_error)
{
    struct records r = {.data = data, .n = n};
    char room[CLIENTHELLO_MAX];
    enum clienthello_error e = CLIENTHELLO_OK;
    enum clienthello_status s = walk(&r, &e);
    struct clienthello got = {.name_len = 0};
    if (s == CLIENTHELLO_DONE) {
        e = read_message(join(&r, room), &got);
        s = e == CLIENTHELLO_OK ? CLIENTHELLO_DONE : CLIENTHELLO_ERROR;
    }
    if (s == CLIENTHELLO_DONE)
        *ret = got;
    else if (s == CLIENTHELLO_ERROR)
        *ret_error = e;
    return s;
}
