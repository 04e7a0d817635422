/* Lines of an HTTP/1 head: where they end, and field lines into struct field.
 *
 * A line is first scanned for its CRLF, sixteen bytes at a time. The same scan refuses control
 * bytes, so that a field value needs no second look and an attack with a bare LF or NUL ends at
 * that byte. Only a whole line is taken apart. p->scan remembers the scan between calls. */
#include "lib/wire/h1_internal.h"

enum { AT_START, AT_FIELDS, AT_END };

void h1_parser_reset(struct h1_parser *p, const struct h1_limits *limits, struct field *fields)
{
    *p = (struct h1_parser){.limits = limits, .fields = fields};
}

enum h1_status h1_fail(struct h1_parser *p, enum h1_error e)
{
    p->error = (uint8_t)e;
    return H1_ERROR;
}

#if defined(__SSE2__)
/* Lowers the letters and hyphens that s[0..16) starts with: how many there are. A hyphen has the
 * bit that makes a letter lower case, so one OR does. */
static inline unsigned lower_sixteen(char *s)
{
    static const uint8_t bits_then_zeros[32] = {
        32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32};
    const __m128i bit = _mm_set1_epi8(0x20);
    const __m128i span = _mm_set1_epi8('z' - 'a');
    __m128i x = _mm_loadu_si128((const __m128i *)s);
    __m128i from_a = _mm_sub_epi8(_mm_or_si128(x, bit), _mm_set1_epi8('a'));
    __m128i letter = _mm_cmpeq_epi8(_mm_min_epu8(from_a, span), from_a);
    __m128i plain = _mm_or_si128(letter, _mm_cmpeq_epi8(x, _mm_set1_epi8('-')));
    unsigned k = (unsigned)__builtin_ctz(~(unsigned)_mm_movemask_epi8(plain));
    const void *mask = bits_then_zeros + 16 - k;
    _mm_storeu_si128((__m128i *)s, _mm_or_si128(x, _mm_loadu_si128(mask)));
    return k;
}
#endif

/* Lowers the token at `at`, byte by byte: where it ends, at the line's CR at the latest. */
static char *lower_token(char *at)
{
    uint8_t lower;
    while ((lower = h1_token_lower[(uint8_t)*at]) != 0)
        *at++ = (char)lower;
    return at;
}

/* The same, with line[0..room) to read and most names in one step. */
static inline char *lower_name(char *line, size_t room)
{
    char *at = line;
#if defined(__SSE2__)
    if (room >= 16)
        at += lower_sixteen(line);
#else
    (void)room;
#endif
    return *at == ':' ? at : lower_token(at);
}

/* SP or HTAB, or the CR that ends the line: nothing else so low gets through the line scan. */
static inline bool is_blank(char c)
{
    return (uint8_t)c <= ' ';
}

/* Inlined into its two callers by force: a call a field is a tenth of a head's cost. */
__attribute__((always_inline)) static inline enum h1_error field_parse(
    struct field *f, char *line, size_t len, size_t room)
{
    const char *at = lower_name(line, room);
    const size_t name_len = (size_t)(at - line);
    if (*at != ':' || name_len - 1 >= UINT16_MAX)
        return is_blank(line[0]) ? H1_E_OBS_FOLD : H1_E_FIELD_NAME;

    const char *from = at + 1, *to = line + len;
    if (*from == ' ') /* the usual one */
        from++;
    while (is_blank(*from) && from < to)
        from++;
    while (to > from && is_blank(to[-1]))
        to--;
    f->name = line;
    f->value = from;
    f->value_len = (uint32_t)(to - from);
    f->name_len = (uint16_t)name_len;
    f->flags = 0;
    f->id = (uint8_t)field_id(line, name_len);
    return H1_OK;
}

enum h1_error h1_field_parse(struct field *f, char *line, size_t len, size_t room)
{
    return field_parse(f, line, len, room);
}

static inline bool crlf_at(const char *data, size_t at, size_t top)
{
    return at + 2 <= top && memcmp(data + at, "\r\n", 2) == 0;
}

/* The line from p->pos on does not end in a CRLF at `at`, where the scan stopped. More bytes than
 * the limit and still no end is too large; else it is early. */
static enum h1_status line_open(
    struct h1_parser *p, const char *data, size_t at, uint32_t top, uint32_t n)
{
    if (at < top && (data[at] != '\r' || at + 1 < top))
        return h1_fail(p, h1_control_error(data[at]));
    p->scan = (uint32_t)at;
    return n > top ? h1_fail(p, H1_E_HEAD_TOO_LARGE) : H1_MORE;
}

/* The start line, after one empty line at most before a request. */
static enum h1_status first_line(
    struct h1_parser *p, char *data, uint32_t top, uint32_t n, h1_start_line *start_line)
{
    while (p->state == AT_START) {
        size_t end = h1_scan_control(data, p->scan, top);
        if (!crlf_at(data, end, top))
            return line_open(p, data, end, top, n);
        if (end == 0 && !(p->seen & H1_SEEN_REPLY)) {
            p->skip = 1;
        } else {
            enum h1_error e = start_line(p, data, (uint32_t)end);
            if (e)
                return h1_fail(p, e);
            p->state = AT_FIELDS;
        }
        p->pos = p->scan = (uint32_t)end + 2;
    }
    return H1_DONE;
}

static enum h1_status field_lines(struct h1_parser *p, char *data, uint32_t top, uint32_t n)
{
    enum h1_status status;
    size_t pos = p->pos, scan = p->scan;
    struct field *f = p->fields + p->nfields;
    const struct field *const full = p->fields + p->limits->fields;
    for (;; f++) {
        size_t end = h1_scan_control(data, scan, top);
        if (!crlf_at(data, end, top)) {
            status = line_open(p, data, end, top, n);
            break;
        }
        scan = end + 2;
        if (end == pos) {
            pos = scan;
            p->state = AT_END;
            status = H1_DONE;
            break;
        }
        if (f == full)
            return h1_fail(p, H1_E_TOO_MANY_FIELDS);
        enum h1_error e = field_parse(f, data + pos, end - pos, top - pos);
        if (!e && (H1_MEANING_IDS >> f->id & 1))
            e = h1_field_meaning(p, data, f);
        if (e)
            return h1_fail(p, e);
        pos = scan;
    }
    p->pos = (uint32_t)pos;
    p->nfields = (uint16_t)(f - p->fields);
    return status;
}

enum h1_status h1_head_lines(struct h1_parser *p, char *data, uint32_t n, h1_start_line *start_line)
{
    if (p->error)
        return H1_ERROR;
    const uint32_t top = n < p->limits->head_bytes ? n : p->limits->head_bytes;
    enum h1_status status = first_line(p, data, top, n, start_line);
    if (status == H1_DONE && p->state == AT_FIELDS)
        status = field_lines(p, data, top, n);
    return status;
}

void h1_head_common(struct h1_parser *p, struct h1_head *head)
{
    const unsigned seen = p->seen;
    if (seen & H1_SEEN_NAMES)
        h1_mark_hop_by_hop(p);
    *head = (struct h1_head){
        .fields = p->fields,
        .nfields = p->nfields,
        .minor = p->minor,
        .framing = H1_NO_BODY,
        .keep_alive = !(seen & H1_SEEN_CLOSE) && (p->minor > 0 || (seen & H1_SEEN_KEEP_ALIVE)),
        .length = p->length,
        .has_length = (seen & H1_SEEN_LENGTH) != 0,
        .size = p->pos,
    };
}
