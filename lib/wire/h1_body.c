/* Bodies by length, chunked and until close (RFC 9112 sections 6 and 7).
 *
 * The bytes of a chunk's line go one by one through a small automaton, content is given out in
 * spans. What follows the last chunk stays with the caller until the empty line is there, since
 * trailer fields are views into one piece of memory; b->trailer_scan remembers the scan.
 *
 *   SIZE → [EXT_* →] LINE_LF → DATA → DATA_CR → DATA_LF → SIZE ...
 *                            → TRAILERS → ENDED          (size 0) */
#include "lib/wire/h1_internal.h"

enum state {
    SIZE,     /* hex digits */
    EXT_NAME, /* after ';', its first byte is due */
    EXT_NAME_MORE,
    EXT_VALUE, /* after '=', its first byte is due */
    EXT_TOKEN,
    EXT_QUOTED,
    EXT_ESCAPED, /* after a backslash in a quoted value */
    EXT_CLOSED,  /* after the closing quote */
    LINE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILERS,
    ENDED,
};

enum {
    SIZE_DIGITS = 16,
    EXT_TOTAL_TIMES = 16, /* extensions of a whole body, in limits of one chunk */
};

/* Fields that would change framing or routing after the fact. */
static bool trailer_forbidden(enum field_id id)
{
    return id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING || id == FIELD_HOST;
}

/* Fields about a connection, a request's way, or what the body is (RFC 9110 section 6.5.1): behind
 * the body they come too late, and are never forwarded. */
static bool trailer_hop(enum field_id id)
{
    switch (id) {
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_UPGRADE:
    case FIELD_HTTP2_SETTINGS:
    case FIELD_EXPECT:
    case FIELD_VIA:
    case FIELD_COOKIE:
    case FIELD_CONTENT_TYPE:
    case FIELD_X_FORWARDED_FOR:
    case FIELD_X_FORWARDED_PROTO:
    case FIELD_X_FORWARDED_HOST:
    case FIELD_X_FORWARDED_PORT:
    case FIELD_FORWARDED:
    case FIELD_X_REQUEST_ID:
    case FIELD_BAGGAGE:
    case FIELD_TRACEPARENT:
    case FIELD_TRACESTATE:
        return true;
    default:
        return id >= FIELD_X_OFFSHOOT_CONTEXT;
    }
}

void h1_body_init(struct h1_body *b, const struct h1_head *head, const struct h1_limits *limits)
{
    *b = (struct h1_body){.limits = limits, .framing = head->framing};
    if (head->framing == H1_LENGTH)
        b->left = head->length;
    b->state = head->framing == H1_CHUNKED ? SIZE : h1_body_empty(head) ? ENDED : DATA;
}

/* Leaves the size, or an extension where it may end, by byte c. */
static enum h1_error line_next(struct h1_body *b, char c, enum h1_error otherwise)
{
    if (c == ';')
        b->state = EXT_NAME;
    else if (c == '\r')
        b->state = LINE_LF;
    else
        return c == '\n' ? H1_E_BARE_LF : otherwise;
    return H1_OK;
}

static enum h1_error size_byte(struct h1_body *b, char c)
{
    int v = hex_value(c);
    if (v < 0)
        return b->digits == 0 ? H1_E_CHUNK_SIZE : line_next(b, c, H1_E_CHUNK_SIZE);
    if (b->digits == SIZE_DIGITS)
        return H1_E_CHUNK_SIZE;
    b->digits++;
    b->left = b->left << 4 | (uint64_t)v;
    return H1_OK;
}

/* A byte that may stand in a quoted string, bare or escaped (qdtext or what '\' may precede). */
static bool quotable(char c)
{
    return !h1_is(c, H1_C_CONTROL);
}

static enum h1_error quoted_byte(struct h1_body *b, char c)
{
    if (!quotable(c))
        return c == '\n' ? H1_E_BARE_LF : c == '\r' ? H1_E_BARE_CR : H1_E_CHUNK_EXT;
    if (b->state == EXT_ESCAPED)
        b->state = EXT_QUOTED;
    else if (c == '\\')
        b->state = EXT_ESCAPED;
    else if (c == '"')
        b->state = EXT_CLOSED;
    return H1_OK;
}

/* *( ";" name [ "=" ( token / quoted-string ) ] ), without the white space that RFC 9112 section
 * 7.1.1 calls bad. */
static enum h1_error ext_byte(struct h1_body *b, char c)
{
    bool token = h1_is(c, H1_C_TOKEN);
    switch (b->state) {
    case EXT_NAME:
    case EXT_VALUE:
        if (b->state == EXT_VALUE && c == '"')
            b->state = EXT_QUOTED;
        else if (token)
            b->state = b->state == EXT_NAME ? EXT_NAME_MORE : EXT_TOKEN;
        else
            return c == '\n' ? H1_E_BARE_LF : H1_E_CHUNK_EXT;
        return H1_OK;
    case EXT_NAME_MORE:
        if (c == '=') {
            b->state = EXT_VALUE;
            return H1_OK;
        }
        return token ? H1_OK : line_next(b, c, H1_E_CHUNK_EXT);
    case EXT_TOKEN:
        return token ? H1_OK : line_next(b, c, H1_E_CHUNK_EXT);
    case EXT_CLOSED:
        return line_next(b, c, H1_E_CHUNK_EXT);
    default:
        return quoted_byte(b, c);
    }
}

/* Extension bytes from the first ';' to before the CR. */
static enum h1_error count_ext(struct h1_body *b)
{
    if (b->state == LINE_LF || b->state == SIZE)
        return H1_OK;
    uint64_t total = (uint64_t)b->limits->chunk_ext_bytes * EXT_TOTAL_TIMES;
    if (++b->ext > b->limits->chunk_ext_bytes || ++b->ext_total > total)
        return H1_E_CHUNK_EXT;
    return H1_OK;
}

/* Sixteen digits fit; the size may still be over 63 bits, alone or with what came before. */
static enum h1_error line_ended(struct h1_body *b)
{
    if (b->left > INT64_MAX - b->total)
        return H1_E_CHUNK_SIZE;
    b->state = b->left ? DATA : TRAILERS;
    return H1_OK;
}

static enum h1_error chunk_byte(struct h1_body *b, char c)
{
    enum h1_error e;
    switch (b->state) {
    case SIZE:
        e = size_byte(b, c);
        return e ? e : count_ext(b);
    case LINE_LF:
        return c == '\n' ? line_ended(b) : H1_E_BARE_CR;
    case DATA_CR:
        b->state = DATA_LF;
        return c == '\r' ? H1_OK : H1_E_CHUNK_END;
    case DATA_LF:
        b->state = SIZE;
        b->digits = 0;
        b->ext = 0;
        return c == '\n' ? H1_OK : H1_E_CHUNK_END;
    default:
        e = ext_byte(b, c);
        return e ? e : count_ext(b);
    }
}

static enum h1_status fail(struct h1_body *b, enum h1_error e)
{
    b->error = (uint8_t)e;
    return H1_ERROR;
}

/* The span of content at data[from..n). */
static enum h1_status give(struct h1_body *b, char *data, uint32_t from, uint32_t n,
    uint32_t *ret_used, struct str *ret_data)
{
    uint32_t span = n - from;
    if (b->framing != H1_UNTIL_CLOSE) {
        if (span > b->left)
            span = (uint32_t)b->left;
        b->left -= span;
        if (b->left == 0)
            b->state = b->framing == H1_CHUNKED ? DATA_CR : ENDED;
    }
    b->total += span;
    *ret_used = from + span;
    *ret_data = str_of(data + from, span);
    return H1_DATA;
}

/* The trailer lines in data[0..size), each with a CRLF that the scan has seen. */
static enum h1_error parse_trailers(const struct h1_body *b, char *data, uint32_t size,
    struct field *fields, uint16_t *ret_trailers)
{
    uint16_t count = 0;
    for (uint32_t pos = 0; pos < size;) {
        uint32_t end = (uint32_t)h1_scan_control(data, pos, size);
        if (count == b->limits->fields)
            return H1_E_TRAILER;
        struct field *f = &fields[count];
        if (h1_field_parse(f, data + pos, end - pos, size - pos) || trailer_forbidden(f->id))
            return H1_E_TRAILER;
        if (trailer_hop(f->id))
            f->flags = FIELD_HOP;
        count++;
        pos = end + 2;
    }
    *ret_trailers = count;
    return H1_OK;
}

/* The trailer section at data[from..n): H1_DONE when its empty line is there. The limit counts
 * the fields, not that line. */
static enum h1_status trailers(struct h1_body *b, char *data, uint32_t from, uint32_t n,
    uint32_t *ret_used, struct field *fields, uint16_t *ret_trailers)
{
    char *section = data + from;
    const uint64_t limit = (uint64_t)b->limits->trailer_bytes + 2;
    const uint32_t top = n - from < limit ? n - from : (uint32_t)limit;
    for (uint32_t i = b->trailer_scan;;) {
        i = b->trailer_scan = (uint32_t)h1_scan_control(section, i, top);
        if (i == top || (section[i] == '\r' && i + 1 == top))
            break;
        if (section[i] != '\r' || section[i + 1] != '\n')
            return fail(b, H1_E_TRAILER);
        if (i > 0 && section[i - 1] != '\n') {
            i += 2;
            continue;
        }
        enum h1_error e = parse_trailers(b, section, i, fields, ret_trailers);
        if (e)
            return fail(b, e);
        b->state = ENDED;
        *ret_used = from + i + 2;
        return H1_DONE;
    }
    if (n - from > limit)
        return fail(b, H1_E_TRAILER);
    *ret_used = from;
    return H1_MORE;
}

static enum h1_status chunked(struct h1_body *b, char *data, uint32_t n, uint32_t *ret_used,
    struct str *ret_data, struct field *fields, uint16_t *ret_trailers)
{
    uint32_t i = 0;
    for (; i < n && b->state != DATA && b->state != TRAILERS; i++) {
        enum h1_error e = chunk_byte(b, data[i]);
        if (e)
            return fail(b, e);
    }
    if (b->state == TRAILERS)
        return trailers(b, data, i, n, ret_used, fields, ret_trailers);
    if (i < n)
        return give(b, data, i, n, ret_used, ret_data);
    *ret_used = i;
    return H1_MORE;
}

enum h1_status h1_body_feed(struct h1_body *b, char *data, uint32_t n, uint32_t *ret_used,
    struct str *ret_data, struct field *fields, uint16_t *ret_trailers)
{
    if (b->error)
        return H1_ERROR;
    if (b->state == ENDED) {
        *ret_used = 0;
        *ret_trailers = 0;
        return H1_DONE;
    }
    if (b->framing == H1_CHUNKED)
        return chunked(b, data, n, ret_used, ret_data, fields, ret_trailers);
    if (n > 0)
        return give(b, data, 0, n, ret_used, ret_data);
    *ret_used = 0;
    return H1_MORE;
}

bool h1_body_eof(const struct h1_body *b)
{
    return b->state == ENDED || b->framing == H1_UNTIL_CLOSE;
}

uint32_t h1_put_chunk_head(char *out, uint64_t n)
{
    static const char hex[] = "0123456789abcdef";
    uint32_t digits = (uint32_t)(67 - __builtin_clzll(n | 1)) / 4;
    for (uint32_t i = digits; i > 0; n >>= 4)
        out[--i] = hex[n & 15];
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}
