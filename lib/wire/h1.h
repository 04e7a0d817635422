/* HTTP/1 heads and bodies, strict, without I/O: bytes in, a parsed form out (RFC 9110, 9112).
 *
 * Heads. The caller collects bytes in one contiguous buffer and calls h1_request or h1_reply each
 * time more arrive, always with the same start and the whole length so far. The parser remembers
 * how far it came; nothing is scanned twice. If the buffer moves, call h1_parser_reset and start
 * again. Field names are lowered in place. All views point into the caller's buffer.
 *
 * Bodies. h1_body takes bytes as they come and gives spans of content back, in place.
 *
 * Whatever is accepted has exactly one reading; everything else is refused with a reason that is
 * also a counter label. A fault in a line is told when the line is whole (a bare LF, NUL or control
 * byte when it comes), a fault of the head as a whole at its end. Where the RFCs leave room:
 *   target     visible ASCII without '#' and '\\'; '%' only before two hex digits; absolute-form
 *              only http and https, without userinfo, no query without a path
 *   authority  a name of letters, digits and -._~ (at most 255 bytes; no percent-encoding) or an
 *              IPv6 address in brackets; port 1-65535 without leading zeros. Never empty
 *   Host       equal, but for case, to the authority of an absolute-form target or of CONNECT
 *   numbers    Content-Length 1 to 19 digits, chunk sizes 1 to 16 */
#ifndef OFFSHOOT_WIRE_H1_H
#define OFFSHOOT_WIRE_H1_H

#include "lib/base/field.h"
#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum h1_status {
    H1_ERROR = -1,
    H1_MORE = 0, /* needs more bytes */
    H1_DONE = 1, /* head complete / body complete */
    H1_DATA = 2, /* body only: a span of content is in *ret_data */
};

/* Why something was refused. h1_error_word gives the stable word ("bare-lf"). */
enum h1_error {
    H1_OK,
    H1_E_BARE_CR, /* in the head or a chunk's line */
    H1_E_BARE_LF,
    H1_E_CONTROL, /* NUL, DEL or another control byte in the head */
    H1_E_REQUEST_LINE,
    H1_E_METHOD,
    H1_E_TARGET,
    H1_E_VERSION,     /* neither HTTP/1.0 nor HTTP/1.1 */
    H1_E_STATUS_LINE, /* also a status other than 100-599 */
    H1_E_FIELD_NAME,  /* not a token, empty, or white space before the colon */
    H1_E_OBS_FOLD,
    H1_E_FIELD_VALUE,    /* Connection is no list of at most 255 tokens */
    H1_E_HEAD_TOO_LARGE, /* more than limits.head_bytes */
    H1_E_TOO_MANY_FIELDS,
    H1_E_HOST_MISSING,
    H1_E_HOST_TWICE,
    H1_E_HOST,          /* not an authority, or disagrees with an absolute-form target */
    H1_E_LENGTH,        /* not plain digits within 63 bits */
    H1_E_LENGTH_TWICE,  /* several, also a list of equal ones */
    H1_E_BOTH_FRAMINGS, /* Content-Length and Transfer-Encoding */
    H1_E_CODING,        /* any transfer coding but one final `chunked`; any on HTTP/1.0 */
    H1_E_CHUNK_SIZE,
    H1_E_CHUNK_EXT,      /* over limits.chunk_ext_bytes, or not well formed */
    H1_E_CHUNK_END,      /* no CRLF after the chunk's data */
    H1_E_TRAILER,        /* malformed, over the limits, or a framing field in trailers */
    H1_E_BODY_FORBIDDEN, /* declared for CONNECT or its 2xx, 1xx, 204 (a length of 0 is none) */
    H1_ERROR_COUNT
};
const char *h1_error_word(enum h1_error e);
/* One sentence for a person. */
const char *h1_error_text(enum h1_error e);

struct h1_limits {
    uint32_t head_bytes;      /* request or status line and fields together, with the final CRLF */
    uint32_t chunk_ext_bytes; /* extensions of one chunk; and 16 times that over a body */
    uint32_t trailer_bytes;   /* the final CRLF not counted */
    uint16_t fields;          /* in a head; also in a trailer section */
};
#define H1_LIMITS_DEFAULT                                                                          \
    {                                                                                              \
        32768, 256, 8192, 100                                                                      \
    }

enum h1_method {
    H1_METHOD_OTHER,
    H1_GET,
    H1_HEAD,
    H1_POST,
    H1_PUT,
    H1_DELETE,
    H1_OPTIONS,
    H1_PATCH,
    H1_TRACE,
    H1_CONNECT
};
bool h1_method_idempotent(enum h1_method m); /* RFC 9110 section 9.2.2; OTHER is not */
bool h1_method_safe(enum h1_method m);       /* RFC 9110 section 9.2.1; OTHER is not */

enum h1_form { H1_ORIGIN, H1_ABSOLUTE, H1_AUTHORITY, H1_ASTERISK };

/* H1_LENGTH: exactly head.length bytes, may be 0. H1_UNTIL_CLOSE: replies only. */
enum h1_framing { H1_NO_BODY, H1_LENGTH, H1_CHUNKED, H1_UNTIL_CLOSE };

/* A complete head of either kind. */
struct h1_head {
    struct field *fields; /* the caller's array */
    uint16_t nfields;
    uint8_t minor;   /* HTTP/1.<minor>: 0 or 1 */
    uint8_t framing; /* enum h1_framing */
    bool keep_alive; /* by version and Connection, this message alone; never with UNTIL_CLOSE */
    bool upgrade;    /* request: 1.1 with Upgrade, named by Connection; reply: status 101 */
    bool expect_continue; /* request, 1.1 only. An Expect with anything else: expect_other */
    bool expect_other;
    bool te_trailers;  /* request: TE lists trailers */
    uint8_t method_id; /* request: enum h1_method */
    uint8_t form;      /* request: enum h1_form */
    uint16_t status;   /* reply: 100-599 */
    uint64_t length; /* with H1_LENGTH; if has_length also the declared one of a HEAD reply, 304 */
    bool has_length; /* a Content-Length was present */
    struct str method; /* request */
    struct str target; /* request: as received */
    struct str path;   /* request: as to be forwarded; "/" for an empty one, "*", "" for CONNECT */
    struct str authority; /* request: of the target if it has one, else Host; "" on 1.0 without */
    struct str reason;    /* reply; may be empty */
    uint32_t size;        /* bytes of the head, final CRLF included */
};

/* One head being parsed. Opaque but for error: positions are kept, not pointers. */
struct h1_parser {
    const struct h1_limits *limits;
    struct field *fields; /* room for limits->fields */
    uint32_t pos;         /* start of the line being collected */
    uint32_t scan;        /* bytes looked at for a line end */
    uint16_t nfields;
    uint8_t state;
    uint8_t error; /* enum h1_error once H1_ERROR was returned */
    uint8_t skip;  /* an empty line before the head was skipped (RFC 9112 section 2.2: one is) */
    /* What the lines so far said. */
    uint8_t minor, method_id, method_len, form;
    uint8_t options; /* elements of Connection */
    uint16_t status;
    uint16_t seen; /* enum h1_seen, in h1_internal.h */
    uint16_t host; /* index of the Host field, with its bit in seen */
    uint32_t target_len, authority_pos, authority_len; /* authority: the target's own, or 0 */
    uint64_t length;
};

/* limits and fields are borrowed for the life of the parser and the head. */
void h1_parser_reset(struct h1_parser *p, const struct h1_limits *limits, struct field *fields);

/* data[0..n) is everything received since the head began. H1_DONE: *head is filled, head->size
 * bytes are used. H1_ERROR: p->error. Connection-named and hop-by-hop fields carry FIELD_HOP
 * (Connection, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding, Upgrade, HTTP2-Settings and
 * what Connection lists, except Content-Length, Host, Via, Baggage, Traceparent, Tracestate,
 * Forwarded, X-Forwarded-*, X-Request-Id and our own, which naming does not remove). Trailer is
 * forwarded. */
enum h1_status h1_request(struct h1_parser *p, char *data, uint32_t n, struct h1_head *head);
/* request_method: what the reply answers, for its framing (HEAD; 2xx to CONNECT). Every 1xx is
 * returned as a head of its own with H1_NO_BODY; the caller resets and goes on. A bare "204" or
 * "304" or HEAD reply gives H1_NO_BODY whatever it declares; 204 and 1xx with Content-Length other
 * than 0 or Transfer-Encoding: H1_E_BODY_FORBIDDEN. */
enum h1_status h1_reply(struct h1_parser *p, char *data, uint32_t n, enum h1_method request_method,
    struct h1_head *head);

/* One body being decoded. */
struct h1_body {
    const struct h1_limits *limits;
    uint64_t left;           /* bytes left of the length or of the chunk */
    uint64_t total;          /* content bytes given out */
    uint32_t ext, ext_total; /* extension bytes of this chunk's line; of all */
    uint32_t trailer_scan;   /* bytes of the trailer section looked at */
    uint8_t framing;         /* enum h1_framing */
    uint8_t error;           /* enum h1_error */
    uint8_t state, digits;
};

void h1_body_init(struct h1_body *b, const struct h1_head *head, const struct h1_limits *limits);
/* Consumes from data[0..n): *ret_used bytes are done with (0 is possible). Call again with what
 * follows.
 *   H1_DATA  *ret_data is a span inside data[0..*ret_used), content to pass on
 *   H1_MORE  needs more bytes than data holds; trailers stay unconsumed until whole, so that the
 *            caller keeps them contiguous
 *   H1_DONE  the message ended; bytes after *ret_used belong to the next one. With trailers:
 *            *ret_trailers of them are in fields (room for limits->fields), views into data
 *   H1_ERROR b->error
 * Call until it says H1_MORE, H1_DONE or H1_ERROR, with n == 0 too: the end comes after the last
 * H1_DATA in a call of its own. For H1_UNTIL_CLOSE everything is H1_DATA and only h1_body_eof ends
 * it. fields is used for H1_CHUNKED only. Trailers: Content-Length, Transfer-Encoding and Host are
 * refused; those about the connection or the request's way, baggage and ours carry FIELD_HOP. */
enum h1_status h1_body_feed(struct h1_body *b, char *data, uint32_t n, uint32_t *ret_used,
    struct str *ret_data, struct field *fields, uint16_t *ret_trailers);
/* The peer closed its sending side here: true when that ends the message rightly. */
bool h1_body_eof(const struct h1_body *b);
static inline bool h1_body_empty(const struct h1_head *head)
{
    return head->framing == H1_NO_BODY || (head->framing == H1_LENGTH && head->length == 0);
}

/* Writes "1a2b\r\n" for a chunk of n bytes (n > 0): how many bytes, at most 18. */
uint32_t h1_put_chunk_head(char *out, uint64_t n);
/* The standard reason phrase, "" when unknown. */
struct str h1_reason(unsigned status);

#endif
