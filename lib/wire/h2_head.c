/* Fields of HTTP/2 laid down as the text of an HTTP/1 head.
 *
 *   h2_text_field → pseudo            :method ... wait behind the text, at the block's end
 *                   ordinary → first_line (once), then a line for each field; cookies joined
 *   h2_text_end   → first_line if no ordinary field came, what is missing, the empty line
 *
 * The text ends where t->b ends at any time; on an error b->end goes back to t->mark. */
#include "lib/wire/h2_head.h"
#include "lib/base/field.h"
#include "lib/wire/h1_internal.h"

enum { LENGTH_DIGITS = 19 };

enum seen {
    SEEN_METHOD = 1,
    SEEN_SCHEME = 2,
    SEEN_PATH = 4,
    SEEN_AUTHORITY = 8,
    SEEN_PROTOCOL = 16,
    SEEN_STATUS = 32,
    SEEN_HOST = 64,  /* the field */
    SEEN_BODY = 128, /* a method that has a body */
    SEEN_TUNNEL = 256,
};

static const struct {
    const char *word, *text;
} errors[H2_ERROR_COUNT] = {
    [H2_OK] = {"ok", "nothing is wrong"},
    [H2_E_PSEUDO_MISSING] = {"pseudo-missing", "a pseudo-field that must be there is missing"},
    [H2_E_PSEUDO_TWICE] = {"pseudo-twice", "a pseudo-field is given twice"},
    [H2_E_PSEUDO_LATE] = {"pseudo-late", "a pseudo-field follows an ordinary field"},
    [H2_E_PSEUDO_UNKNOWN] = {"pseudo-unknown", "a pseudo-field is unknown or has no place here"},
    [H2_E_METHOD] = {"method", "the method is no token, or CONNECT is given a path or a scheme"},
    [H2_E_SCHEME] = {"scheme", "the scheme is neither http nor https"},
    [H2_E_PATH] = {"path", "the path does not begin with '/' or holds a space or control byte"},
    [H2_E_AUTHORITY] = {"authority", "there is no authority, or host says otherwise"},
    [H2_E_PROTOCOL] = {"protocol", ":protocol is given where it is not offered or has no place"},
    [H2_E_STATUS] = {"status", "the status is not three digits from 100 to 599, or is 101"},
    [H2_E_FIELD_NAME] = {"field-name", "a field name is empty, no token or has upper case"},
    [H2_E_FIELD_VALUE] = {"field-value",
        "a field value holds a control byte or begins or ends with white space"},
    [H2_E_CONNECTION] = {"connection", "a field speaks about the connection"},
    [H2_E_TE] = {"te", "te is anything but trailers"},
    [H2_E_HOST_TWICE] = {"host-twice", "there is more than one host"},
    [H2_E_LENGTH] = {"content-length", "content-length is no plain number, or given twice"},
    [H2_E_TOO_LARGE] = {"head-too-large", "the head is larger than the limit"},
    [H2_E_TOO_MANY] = {"too-many-fields", "the head has more fields than the limit"},
    [H2_E_MESSAGE] = {"message", "the frames do not make a message, or its length is not as told"},
};

const char *h2_error_word(enum h2_error e)
{
    return (unsigned)e < H2_ERROR_COUNT ? errors[e].word : "unknown";
}

const char *h2_error_text(enum h2_error e)
{
    return (unsigned)e < H2_ERROR_COUNT ? errors[e].text : "unknown error";
}

void h2_text_init(struct h2_text *t, enum h2_kind kind, struct buf *b, uint32_t max_bytes,
    uint16_t max_fields, bool extended)
{
    *t = (struct h2_text){.b = b,
        .mark = b->end,
        .max_bytes = max_bytes,
        .max_fields = max_fields,
        .kind = (uint8_t)kind,
        .extended = extended,
        .length = -1,
        .begun = kind == H2_TRAILERS};
}

static void fail(struct h2_text *t, enum h2_error e)
{
    t->error = (uint8_t)e;
    t->b->end = t->mark;
}

/* ---- bytes ---- */

/* Room for n more bytes of text, or the error. */
static bool room(struct h2_text *t, size_t n)
{
    const struct buf *b = t->b;
    if (n <= buf_space(b) - t->tail && n <= t->max_bytes - (b->end - t->mark))
        return true;
    fail(t, H2_E_TOO_LARGE);
    return false;
}

/* Where room is certain. */
static void put(struct h2_text *t, struct str s)
{
    bytes_copy(buf_tail(t->b), s.p, s.n);
    t->b->end += (uint32_t)s.n;
}

static void line(struct h2_text *t, struct str name, struct str value)
{
    if (!room(t, name.n + value.n + 4))
        return;
    char *p = buf_tail(t->b);
    bytes_copy(p, name.p, name.n);
    p += name.n;
    *p++ = ':';
    *p++ = ' ';
    bytes_copy(p, value.p, value.n);
    p += value.n;
    *p++ = '\r';
    *p++ = '\n';
    t->b->end += (uint32_t)(name.n + value.n + 4);
}

/* A copy at the block's end, until the first line is written. */
static struct str keep(struct h2_text *t, struct str s)
{
    if (!room(t, s.n))
        return (struct str){0};
    t->tail += (uint32_t)s.n;
    char *p = t->b->data + t->b->size - t->tail;
    bytes_copy(p, s.p, s.n);
    return str_of(p, s.n);
}

/* Bytes of a lower-case token at the start of s[0..n); s[0..room) may be read. */
static size_t token_bytes(const char *s, size_t n, size_t room)
{
    size_t i = 0;
#if defined(__SSE2__)
    if (room >= 16) { /* most names are letters and hyphens, and short */
        const __m128i span = _mm_set1_epi8('z' - 'a');
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)s);
        __m128i from_a = _mm_sub_epi8(x, _mm_set1_epi8('a'));
        __m128i letter = _mm_cmpeq_epi8(_mm_min_epu8(from_a, span), from_a);
        __m128i plain = _mm_or_si128(letter, _mm_cmpeq_epi8(x, _mm_set1_epi8('-')));
        i = (unsigned)__builtin_ctz(~(unsigned)_mm_movemask_epi8(plain));
    }
#else
    (void)room;
#endif
    while (i < n && s[i] != '\0' && h1_token_lower[(uint8_t)s[i]] == (uint8_t)s[i])
        i++;
    return i < n ? i : n;
}

static bool all(struct str s, enum h1_class wanted)
{
    for (size_t i = 0; i < s.n; i++)
        if (!h1_is(s.p[i], wanted))
            return false;
    return true;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

/* ---- pseudo-fields ---- */

static void once(struct h2_text *t, enum seen bit, struct str value, struct str *ret)
{
    if (t->seen & bit) {
        fail(t, H2_E_PSEUDO_TWICE);
        return;
    }
    t->seen |= bit;
    *ret = keep(t, value);
}

#if defined(__SSE2__)
static bool sixteen_visible(const char *p)
{
    const __m128i space = _mm_set1_epi8(' ');
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i odd = _mm_cmpeq_epi8(_mm_min_epu8(x, space), x);
    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f)));
    return _mm_movemask_epi8(odd) == 0;
}
#endif

/* No control byte and no space. */
static bool visible(struct str s)
{
    size_t i = 0;
#if defined(__SSE2__)
    for (; i + 16 <= s.n; i += 16)
        if (!sixteen_visible(s.p + i))
            return false;
    if (i && i < s.n)
        return sixteen_visible(s.p + s.n - 16);
#endif
    for (; i < s.n; i++)
        if ((uint8_t)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    return s.n > 0;
}

static bool protocol_bytes(struct str s)
{
    size_t slash = str_find(s, '/');
    struct str version = slash < s.n ? str_from(s, slash + 1) : STR("1");
    return slash > 0 && all(str_of(s.p, slash), H1_C_TOKEN) && version.n > 0 &&
           all(version, H1_C_TOKEN);
}

#define IS(s, literal)                                                                             \
    ((s).n == sizeof(literal) - 1 && bytes_eq((s).p, literal, sizeof(literal) - 1))

static void request_pseudo(struct h2_text *t, struct str name, struct str value)
{
    if (IS(name, ":method")) {
        once(t, SEEN_METHOD, value, &t->method);
        if (!t->error && (value.n == 0 || !all(value, H1_C_TOKEN)))
            fail(t, H2_E_METHOD);
    } else if (IS(name, ":path")) {
        once(t, SEEN_PATH, value, &t->path);
        if (!t->error && !visible(value))
            fail(t, H2_E_PATH);
    } else if (IS(name, ":scheme")) {
        if (t->seen & SEEN_SCHEME)
            fail(t, H2_E_PSEUDO_TWICE);
        else if (!IS(value, "https") && !IS(value, "http") && !str_ieq(value, STR("https")) &&
                 !str_ieq(value, STR("http")))
            fail(t, H2_E_SCHEME);
        t->seen |= SEEN_SCHEME;
    } else if (IS(name, ":authority")) {
        once(t, SEEN_AUTHORITY, value, &t->authority);
        if (!t->error && !visible(value))
            fail(t, H2_E_AUTHORITY);
    } else if (IS(name, ":protocol")) {
        once(t, SEEN_PROTOCOL, value, &t->protocol);
        if (!t->error && (!t->extended || !protocol_bytes(value)))
            fail(t, H2_E_PROTOCOL);
    } else {
        fail(t, H2_E_PSEUDO_UNKNOWN);
    }
}

static void reply_pseudo(struct h2_text *t, struct str name, struct str value)
{
    if (!IS(name, ":status")) {
        fail(t, H2_E_PSEUDO_UNKNOWN);
        return;
    }
    if (t->seen & SEEN_STATUS) {
        fail(t, H2_E_PSEUDO_TWICE);
        return;
    }
    t->seen |= SEEN_STATUS;
    if (value.n == 3 && all(value, H1_C_DIGIT))
        t->status =
            (uint16_t)((value.p[0] - '0') * 100 + (value.p[1] - '0') * 10 + (value.p[2] - '0'));
    if (t->status < 100 || t->status > 599 || t->status == 101)
        fail(t, H2_E_STATUS);
}

/* ---- the first line ---- */

static bool plain_connect(const struct h2_text *t)
{
    return IS(t->method, "CONNECT") && !(t->seen & SEEN_PROTOCOL);
}

static enum h2_error judge_request(const struct h2_text *t)
{
    const uint8_t needed = SEEN_METHOD | SEEN_SCHEME | SEEN_PATH;
    if (!(t->seen & SEEN_METHOD))
        return H2_E_PSEUDO_MISSING;
    if (plain_connect(t)) {
        if (t->seen & (SEEN_SCHEME | SEEN_PATH))
            return H2_E_METHOD;
        return t->seen & SEEN_AUTHORITY ? H2_OK : H2_E_AUTHORITY;
    }
    if ((t->seen & needed) != needed)
        return H2_E_PSEUDO_MISSING;
    if (t->seen & SEEN_PROTOCOL) {
        if (!IS(t->method, "CONNECT"))
            return H2_E_PROTOCOL;
        if (!(t->seen & SEEN_AUTHORITY))
            return H2_E_AUTHORITY;
    }
    if (t->path.p[0] != '/' && !(IS(t->path, "*") && IS(t->method, "OPTIONS")))
        return H2_E_PATH;
    return H2_OK;
}

/* The kept pseudo-fields give way to the line; of the authority its copy in `host` stays. */
static void request_line(struct h2_text *t)
{
    const struct str version = STR(" HTTP/1.1\r\n"), host = STR("host: "), end = STR("\r\n");
    enum h2_error e = judge_request(t);
    if (e) {
        fail(t, e);
        return;
    }
    struct str method = t->seen & SEEN_PROTOCOL ? STR("GET") : t->method;
    struct str target = plain_connect(t) ? t->authority : t->path;
    if (!room(t, method.n + 1 + target.n + version.n + host.n + t->authority.n + end.n))
        return;
    put(t, method);
    put(t, STR(" "));
    put(t, target);
    put(t, version);
    if (t->seen & SEEN_AUTHORITY) {
        put(t, host);
        const char *copy = buf_tail(t->b);
        put(t, t->authority);
        put(t, end);
        t->authority.p = copy;
    }
    if (IS(t->method, "POST") || IS(t->method, "PUT") || IS(t->method, "PATCH"))
        t->seen |= SEEN_BODY;
    if (IS(t->method, "CONNECT"))
        t->seen |= SEEN_TUNNEL;
    if (!(t->seen & SEEN_PROTOCOL)) /* else :protocol waits for the end */
        t->tail = 0;
}

static void status_line(struct h2_text *t)
{
    const struct str sample = STR("HTTP/1.1 000 \r\n");
    char *p = buf_tail(t->b);
    if (!(t->seen & SEEN_STATUS)) {
        fail(t, H2_E_PSEUDO_MISSING);
    } else if (room(t, sample.n)) {
        put(t, sample);
        p[9] = (char)('0' + t->status / 100);
        p[10] = (char)('0' + t->status / 10 % 10);
        p[11] = (char)('0' + t->status % 10);
    }
}

static void first_line(struct h2_text *t)
{
    t->begun = true;
    if (t->kind == H2_REQUEST)
        request_line(t);
    else
        status_line(t);
}

/* ---- ordinary fields ---- */

static void reverse(char *p, char *end)
{
    while (p + 1 < end) {
        char c = *p;
        *p++ = *--end;
        *end = c;
    }
}

/* The cookie line goes behind the lines that follow it. Each time costs a field, so a head can ask
 * for it no more often than it may have fields. */
static void move_cookie_last(struct h2_text *t)
{
    char *from = t->b->data + t->cookie_at, *mid = t->b->data + t->cookie_end + 2;
    char *end = buf_tail(t->b);
    reverse(from, mid);
    reverse(mid, end);
    reverse(from, end);
    uint32_t n = t->cookie_end + 2 - t->cookie_at;
    t->cookie_at = t->b->end - n;
    t->cookie_end = t->b->end - 2;
}

/* An empty value adds nothing: "a=1; " would end in white space. */
static void cookie(struct h2_text *t, struct str name, struct str value)
{
    const struct str end = STR("\r\n");
    if (!t->cookie_end) {
        t->cookie_at = t->b->end;
        line(t, name, value);
    } else if (value.n) {
        uint32_t empty = t->cookie_at + (uint32_t)name.n + 2;
        struct str between = t->cookie_end > empty ? STR("; ") : STR("");
        if (!room(t, between.n + value.n))
            return;
        if (t->cookie_end + end.n != t->b->end)
            move_cookie_last(t);
        t->b->end = t->cookie_end;
        put(t, between);
        put(t, value);
        put(t, end);
    } else {
        return;
    }
    t->cookie_end = t->b->end - (uint32_t)end.n;
}

static void host(struct h2_text *t, struct str name, struct str value)
{
    if (t->seen & SEEN_HOST)
        fail(t, H2_E_HOST_TWICE);
    else if (!(t->seen & SEEN_AUTHORITY))
        line(t, name, value);
    else if (!str_ieq(value, t->authority))
        fail(t, H2_E_AUTHORITY);
    t->seen |= SEEN_HOST;
}

static bool value_valid(struct str value)
{
    return h1_scan_control(value.p, 0, value.n) == value.n &&
           (value.n == 0 || !(blank(value.p[0]) || blank(value.p[value.n - 1])));
}

/* A tunnel has none, and behind the body it is too late. */
static void content_length(struct h2_text *t, struct str value)
{
    uint64_t length = 0;
    bool fine = value.n > 0 && value.n <= LENGTH_DIGITS && all(value, H1_C_DIGIT);
    for (size_t i = 0; fine && i < value.n; i++)
        length = length * 10 + (uint64_t)(value.p[i] - '0');
    if (!fine || length > INT64_MAX || t->length >= 0 || t->seen & SEEN_TUNNEL ||
        t->kind == H2_TRAILERS)
        fail(t, H2_E_LENGTH);
    else
        t->length = (int64_t)length;
}

#define SPECIAL_IDS                                                                                \
    (FIELD_BIT(FIELD_CONNECTION) | FIELD_BIT(FIELD_KEEP_ALIVE) |                                   \
        FIELD_BIT(FIELD_PROXY_CONNECTION) | FIELD_BIT(FIELD_TRANSFER_ENCODING) |                   \
        FIELD_BIT(FIELD_UPGRADE) | FIELD_BIT(FIELD_TE) | FIELD_BIT(FIELD_HOST) |                   \
        FIELD_BIT(FIELD_COOKIE) | FIELD_BIT(FIELD_CONTENT_LENGTH))

/* The known fields that are more than a line. True when the field was dealt with. */
static bool special(struct h2_text *t, enum field_id id, struct str name, struct str value)
{
    switch (id) {
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE:
        fail(t, H2_E_CONNECTION);
        return true;
    case FIELD_TE:
        if (!str_ieq(value, STR("trailers")))
            fail(t, H2_E_TE);
        return t->error != H2_OK;
    case FIELD_HOST:
        if (t->kind != H2_REQUEST)
            return false;
        host(t, name, value);
        return true;
    case FIELD_COOKIE:
        if (t->kind != H2_REQUEST)
            return false;
        cookie(t, name, value);
        return true;
    case FIELD_CONTENT_LENGTH:
        content_length(t, value);
        return t->error != H2_OK;
    default:
        return t->seen & SEEN_PROTOCOL && str_eq(name, STR("sec-websocket-key"));
    }
}

/* A line whose name and value are judged where they stand then, sixteen bytes at a time: the scan
 * of the value must end at the CR behind it. */
static void judged_line(struct h2_text *t, struct str name, struct str value)
{
    const struct buf *b = t->b;
    uint32_t at = b->end;
    line(t, name, value);
    if (t->error)
        return;
    size_t from = at + name.n + 2, to = from + value.n;
    const char *data = b->data;
    if (name.n == 0 || name.n > UINT16_MAX ||
        token_bytes(data + at, name.n, b->size - at) != name.n)
        fail(t, H2_E_FIELD_NAME);
    else if (h1_scan_control(data, from, b->size) != to ||
             (value.n && (blank(data[from]) || blank(data[to - 1]))))
        fail(t, H2_E_FIELD_VALUE);
}

static void ordinary(struct h2_text *t, struct str name, struct str value)
{
    if (!t->begun)
        first_line(t);
    if (t->error)
        return;
    enum field_id id = field_id(name.p, name.n);
    bool crumb = id == FIELD_COOKIE && t->cookie_end && t->cookie_end + 2 == t->b->end;
    if (SPECIAL_IDS >> id & 1 && !value_valid(value)) /* their names are valid */
        fail(t, H2_E_FIELD_VALUE);
    else if (!crumb && t->nfields++ >= t->max_fields)
        fail(t, H2_E_TOO_MANY);
    else if (!(SPECIAL_IDS >> id & 1 || t->seen & SEEN_PROTOCOL) || !special(t, id, name, value))
        judged_line(t, name, value);
}

void h2_text_field(struct h2_text *t, struct str name, struct str value)
{
    if (t->error)
        return;
    if (name.n == 0 || name.p[0] != ':')
        ordinary(t, name, value);
    else if (t->kind == H2_TRAILERS)
        fail(t, H2_E_PSEUDO_UNKNOWN);
    else if (t->begun)
        fail(t, H2_E_PSEUDO_LATE);
    else if (t->kind == H2_REQUEST)
        request_pseudo(t, name, value);
    else
        reply_pseudo(t, name, value);
}

/* ---- the end ---- */

/* RFC 8441 section 5, backwards. */
static void tunnel(struct h2_text *t, const char *key24)
{
    line(t, STR("connection"), STR("upgrade"));
    if (!t->error)
        line(t, STR("upgrade"), t->protocol);
    if (!t->error && str_ieq(t->protocol, STR("websocket")))
        line(t, STR("sec-websocket-key"), str_of(key24, 24));
}

static void request_end(struct h2_text *t, bool end, const char *key24)
{
    if (!(t->seen & (SEEN_AUTHORITY | SEEN_HOST)))
        fail(t, H2_E_AUTHORITY);
    else if (t->seen & SEEN_PROTOCOL)
        tunnel(t, key24);
    else if (end && t->seen & SEEN_BODY && t->length < 0)
        line(t, STR("content-length"), STR("0"));
}

enum h2_error h2_text_end(struct h2_text *t, bool end, const char *key24)
{
    if (!t->error && !t->begun)
        first_line(t);
    if (!t->error && t->kind == H2_REQUEST)
        request_end(t, end, key24);
    if (!t->error && room(t, 2))
        put(t, STR("\r\n"));
    t->tail = 0;
    return (enum h2_error)t->error;
}
