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
/* Lowers letters in place, sixteen bytes at a time, until something else than a letter or '-'
 * comes: its position. '-' has the bit that makes a letter lower case, so one OR does. */
static inline uint32_t lower_letters(char *s, uint32_t room)
{
    static const uint8_t ones_then_zeros[32] = {
        32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32};
    const __m128i bit = _mm_set1_epi8(0x20);
    const __m128i first = _mm_set1_epi8('a');
    const __m128i span = _mm_set1_epi8('z' - 'a');
    const __m128i hyphen = _mm_set1_epi8('-');
    uint32_t i = 0;
    while (room - i >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(s + i));
        __m128i from_a = _mm_sub_epi8(_mm_or_si128(x, bit), first);
        __m128i letter = _mm_cmpeq_epi8(_mm_min_epu8(from_a, span), from_a);
        __m128i plain = _mm_or_si128(letter, _mm_cmpeq_epi8(x, hyphen));
        unsigned other = ~(unsigned)_mm_movemask_epi8(plain) | 0x10000;
        uint32_t k = (uint32_t)__builtin_ctz(other);
        const void *mask = ones_then_zeros + 16 - k;
        _mm_storeu_si128((__m128i *)(s + i), _mm_or_si128(x, _mm_loadu_si128(mask)));
        i += k;
        if (k < 16)
            break;
    }
    return i;
}
#else
static inline uint32_t lower_letters(char *s, uint32_t room)
{
    (void)s;
    (void)room;
    return 0;
}
#endif

static inline enum h1_error field_parse(struct field *f, char *line, uint32_t len, uint32_t room)
{
    uint32_t i = lower_letters(line, room);
    uint8_t lower;
    while ((lower = h1_token_lower[(uint8_t)line[i]]) != 0)
        line[i++] = (char)lower;
    if (line[i] != ':' || i == 0 || i > UINT16_MAX)
        return line[0] == ' ' || line[0] == '\t' ? H1_E_OBS_FOLD : H1_E_FIELD_NAME;

    uint32_t from = i + 1, to = len;
    while (from < to && (line[from] == ' ' || line[from] == '\t'))
        from++;
    while (to > from && (line[to - 1] == ' ' || line[to - 1] == '\t'))
        to--;
    f->name = line;
    f->value = line + from;
    f->value_len = to - from;
    f->name_len = (uint16_t)i;
    f->id = (uint8_t)field_id(line, i);
    f->flags = 0;
    return H1_OK;
}

enum h1_error h1_field_parse(struct field *f, char *line, uint32_t len, uint32_t room)
{
    return field_parse(f, line, len, room);
}

static inline enum h1_error field_line(
    struct h1_parser *p, char *data, uint32_t start, uint32_t end, uint32_t top)
{
    if (p->nfields >= p->limits->fields)
        return H1_E_TOO_MANY_FIELDS;
    struct field *f = &p->fields[p->nfields];
    enum h1_error e = field_parse(f, data + start, end - start, top - start);
    if (!e && h1_field_means(f->id))
        e = h1_field_meaning(p, data, f);
    p->nfields++;
    return e;
}

/* More bytes than the limit and still no end is too large; else it is early. */
static enum h1_status line_open(struct h1_parser *p, uint32_t scan, uint32_t n)
{
    p->scan = scan;
    return n > p->limits->head_bytes ? h1_fail(p, H1_E_HEAD_TOO_LARGE) : H1_MORE;
}

enum h1_status h1_head_lines(struct h1_parser *p, char *data, uint32_t n, h1_start_line *start_line)
{
    if (p->error)
        return H1_ERROR;
    const uint32_t top = n < p->limits->head_bytes ? n : p->limits->head_bytes;
    while (p->state != AT_END) {
        uint32_t end = h1_scan_control(data, p->scan, top);
        if (end == top || (data[end] == '\r' && end + 1 == top))
            return line_open(p, end, n);
        if (data[end] != '\r' || data[end + 1] != '\n')
            return h1_fail(p, h1_control_error(data[end]));

        enum h1_error e = H1_OK;
        if (p->state == AT_FIELDS && end == p->pos) {
            p->state = AT_END;
        } else if (p->state == AT_FIELDS) {
            e = field_line(p, data, p->pos, end, top);
        } else if (end == 0 && !(p->seen & H1_SEEN_REPLY)) {
            p->skip = 1;
        } else {
            p->state = AT_FIELDS;
            e = start_line(p, data, end);
        }
        if (e)
            return h1_fail(p, e);
        p->pos = p->scan = end + 2;
    }
    return H1_DONE;
}

void h1_head_common(const struct h1_parser *p, struct h1_head *head)
{
    const unsigned seen = p->seen;
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
