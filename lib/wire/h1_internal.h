/* What the files of the HTTP/1 codec share: byte classes, the two scans of the hot path, and the
 * steps of a head. Private to lib/wire.
 *
 *   h1_request / h1_reply → h1_head_lines { start line, then per field: h1_field_parse,
 *   h1_field_meaning } → h1_head_common and framing → *head */
#ifndef OFFSHOOT_WIRE_H1_INTERNAL_H
#define OFFSHOOT_WIRE_H1_INTERNAL_H

#include "lib/wire/h1.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum h1_class {
    H1_C_TOKEN = 1,   /* tchar, RFC 9110 section 5.6.2 */
    H1_C_CONTROL = 2, /* 0x00-0x1f without HTAB, and DEL */
    H1_C_TARGET = 4,  /* may stand in a request target, '%' apart */
    H1_C_HOST = 8,    /* unreserved, RFC 3986 section 2.3 */
    H1_C_HEX = 16,
    H1_C_DIGIT = 32,
};
extern const uint8_t h1_class[256];
/* The lower-case form of a token byte, 0 for every other byte. */
extern const uint8_t h1_token_lower[256];

static inline bool h1_is(char c, enum h1_class wanted)
{
    return (h1_class[(uint8_t)c] & wanted) != 0;
}

/* Bits of h1_parser.seen. */
enum h1_seen {
    H1_SEEN_REPLY = 1, /* the head is a reply's */
    H1_SEEN_HOST = 2,
    H1_SEEN_LENGTH = 4,
    H1_SEEN_CODING = 8, /* Transfer-Encoding: chunked */
    H1_SEEN_CLOSE = 16,
    H1_SEEN_KEEP_ALIVE = 32,
    H1_SEEN_OPT_UPGRADE = 64, /* Connection lists upgrade */
    H1_SEEN_UPGRADE = 128,    /* an Upgrade field is there */
    H1_SEEN_NAMES = 256,      /* Connection lists names other than those three */
    H1_SEEN_EXPECT_100 = 512,
    H1_SEEN_EXPECT_OTHER = 1024,
    H1_SEEN_TE_TRAILERS = 2048,
};

/* Bytes from data[i] on that are no control byte: the position of the first that is, or top.
 * A line that passes is made of HTAB, SP, visible ASCII and obs-text alone.
 *
 * Sixteen bytes are judged by one comparison: plus one, what is allowed in ASCII is 0x21-0x7f,
 * greater than 0x20 as signed bytes. From the first HTAB or obs-text on, one by one. */
static inline size_t h1_scan_control(const char *data, size_t i, size_t top)
{
#if defined(__SSE2__)
    const __m128i one = _mm_set1_epi8(1);
    const __m128i space = _mm_set1_epi8(' ');
    for (; i + 16 <= top; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(data + i));
        int plain = _mm_movemask_epi8(_mm_cmpgt_epi8(_mm_add_epi8(x, one), space));
        if (plain != 0xffff) {
            i += (unsigned)__builtin_ctz(~(unsigned)plain);
            if (data[i] == '\r')
                return i;
            break;
        }
    }
#endif
    while (i < top && !h1_is(data[i], H1_C_CONTROL))
        i++;
    return i;
}

/* What a control byte outside a CRLF is refused with. */
static inline enum h1_error h1_control_error(char c)
{
    return c == '\r' ? H1_E_BARE_CR : c == '\n' ? H1_E_BARE_LF : H1_E_CONTROL;
}

/* A start line, data[p->pos..end), data[end] being its CR. */
typedef enum h1_error h1_start_line(struct h1_parser *p, const char *data, uint32_t end);

/* Runs over whole lines. H1_DONE: all lines are in p and p->fields, p->pos bytes used. */
enum h1_status h1_head_lines(
    struct h1_parser *p, char *data, uint32_t n, h1_start_line *start_line);
/* Notes the error and returns H1_ERROR. */
enum h1_status h1_fail(struct h1_parser *p, enum h1_error e);

/* One field line, line[0..len) with its CR at line[len]; line[0..room) may be read. Fills *f (no
 * flags), lowers the name. H1_E_OBS_FOLD, H1_E_FIELD_NAME. */
enum h1_error h1_field_parse(struct field *f, char *line, size_t len, size_t room);
/* Names that h1_field_meaning knows, a bit for each number. */
#define H1_MEANING_IDS                                                                             \
    (FIELD_BIT(FIELD_HOST) | FIELD_BIT(FIELD_CONNECTION) | FIELD_BIT(FIELD_CONTENT_LENGTH) |       \
        FIELD_BIT(FIELD_TRANSFER_ENCODING) | FIELD_BIT(FIELD_TE) | FIELD_BIT(FIELD_UPGRADE) |      \
        FIELD_BIT(FIELD_KEEP_ALIVE) | FIELD_BIT(FIELD_PROXY_CONNECTION) |                          \
        FIELD_BIT(FIELD_EXPECT) | FIELD_BIT(FIELD_HTTP2_SETTINGS))
/* What a known field says for the message: into p->seen, p->length, f->flags. */
enum h1_error h1_field_meaning(struct h1_parser *p, const char *data, struct field *f);
bool h1_is_token(struct str s);
/* Gives FIELD_HOP to the fields that Connection lists. */
void h1_mark_hop_by_hop(struct h1_parser *p);
/* The parts of a whole head that requests and replies have in common, all but framing. */
void h1_head_common(struct h1_parser *p, struct h1_head *head);

/* host[:port], strict: a name of unreserved characters (no percent-encoding, no sub-delims, no
 * userinfo) of at most 255 bytes or an IPv6 address in brackets; a port of 1-65535 without
 * leading zeros. */
bool h1_authority_valid(struct str s, bool port_required);

#endif
