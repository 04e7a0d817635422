/* Heads between HTTP/2 and HTTP/1, without I/O (RFC 9113 section 8).
 *
 * Coming in: the fields of one block are laid down as the text of an HTTP/1 head, which the strict
 * HTTP/1 parser then reads like any other. So both protocols have one reading and one set of rules;
 * here is judged only what the text cannot tell any more. A request's text begins with its request
 * line and `host`, a reply's with its status line; cookie fields are joined with "; ".
 *
 * Going out: the text of an HTTP/1 head that the proxy wrote itself becomes a list of fields: what
 * speaks about the connection is left out, `host` becomes :authority. */
#ifndef OFFSHOOT_WIRE_H2_HEAD_H
#define OFFSHOOT_WIRE_H2_HEAD_H

#include "lib/base/buf.h"
#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* Why a block was refused. h2_error_word gives the stable word; it is a counter's label. */
enum h2_error {
    H2_OK,
    H2_E_PSEUDO_MISSING, /* :method, :scheme or :path; :status */
    H2_E_PSEUDO_TWICE,
    H2_E_PSEUDO_LATE,    /* behind an ordinary field */
    H2_E_PSEUDO_UNKNOWN, /* also one of the other kind of message, or in trailers */
    H2_E_METHOD,         /* not a token, or CONNECT with :path or :scheme but no :protocol */
    H2_E_SCHEME,         /* neither http nor https */
    H2_E_PATH,        /* does not begin with '/' (and is not * of OPTIONS); control bytes, space */
    H2_E_AUTHORITY,   /* no authority at all, or `host` says otherwise */
    H2_E_PROTOCOL,    /* :protocol where extended CONNECT is not offered, or without CONNECT */
    H2_E_STATUS,      /* not three digits from 100 to 599, or 101 */
    H2_E_FIELD_NAME,  /* empty, not a token, or with upper case */
    H2_E_FIELD_VALUE, /* control byte (HTAB passes), or white space at an end */
    H2_E_CONNECTION,  /* connection, keep-alive, proxy-connection, transfer-encoding, upgrade */
    H2_E_TE,          /* anything but trailers */
    H2_E_HOST_TWICE,
    H2_E_LENGTH,    /* content-length: not plain digits within 63 bits, twice, or no place for it */
    H2_E_TOO_LARGE, /* over limits.head_bytes, or the block given */
    H2_E_TOO_MANY,  /* over limits.fields */
    H2_E_MESSAGE,   /* content-length against DATA, order of frames, or refused by nghttp2 */
    H2_ERROR_COUNT
};
const char *h2_error_word(enum h2_error e);
/* One sentence for a person. */
const char *h2_error_text(enum h2_error e);

enum h2_kind { H2_REQUEST, H2_REPLY, H2_TRAILERS };

/* A block being collected. The text goes behind what b already holds (b has a block of its pool);
 * after an error b is as it was before. */
struct h2_text {
    struct buf *b;
    uint32_t mark;      /* b->end at the beginning */
    uint32_t max_bytes; /* of the text */
    uint16_t max_fields, nfields;
    uint8_t kind;  /* enum h2_kind */
    uint8_t error; /* enum h2_error */
    bool extended; /* extended CONNECT is offered (RFC 8441) */
    bool begun;    /* the first line stands */
    uint16_t seen; /* which pseudo-fields came, and what else counts */
    uint16_t status;
    int64_t length; /* content-length, -1: none came */
    /* Pseudo-fields until the first line can be written: behind the text, at the block's end. */
    struct str method, path, authority, protocol;
    /* The joined cookie line, from its name to behind its value; cookie_end 0: none yet. */
    uint32_t cookie_at, cookie_end;
    uint32_t tail; /* bytes kept at the block's end */
};

void h2_text_init(struct h2_text *t, enum h2_kind kind, struct buf *b, uint32_t max_bytes,
    uint16_t max_fields, bool extended);
/* One field in its order. After an error further ones are ignored. A cookie behind other fields
 * moves the whole cookie line to the end; all else keeps its order. */
void h2_text_field(struct h2_text *t, struct str name, struct str value);
/* The block is whole: writes what is missing and the empty line (trailers: also). H2_OK or why
 * not. An extended CONNECT is laid down as the HTTP/1 upgrade that means the same: GET, `upgrade`
 * with :protocol, `connection: upgrade`; for websocket also `sec-websocket-key` (key24: 24
 * characters of base64 given by the caller) and nothing else is added. Plain CONNECT has
 * authority-form. `end`: END_STREAM came with the block: a request of POST, PUT or PATCH without
 * content-length gets `content-length: 0`. */
enum h2_error h2_text_end(struct h2_text *t, bool end, const char *key24);

/* One field going out. Views into the text, or static. */
struct h2_field {
    struct str name, value;
    bool secret; /* never into the compression table: authorization, cookies, our carriers */
};

struct h2_out_head {
    uint32_t used;    /* bytes of the text, with its empty line */
    uint16_t n;       /* fields */
    uint16_t status;  /* replies */
    bool interim;     /* a 1xx */
    bool head_method; /* request: HEAD */
    bool extended;    /* request: an extended CONNECT came of it */
};

/* text[0..n) begins with a whole head that we wrote; field names are lowered in place. scheme:
 * "http" or "https" (requests). room: entries in out; limits.fields + 8 are enough. 0; -EAGAIN when
 * no whole head is there; -EINVAL when it is none; -ENOBUFS. 101 (Switching Protocols) becomes 200,
 * `upgrade` and sec-websocket-accept are left out; a request with `upgrade` becomes an extended
 * CONNECT, sec-websocket-key left out. */
int h2_from_request(char *text, uint32_t n, struct str scheme, struct h2_field *out, uint16_t room,
    struct h2_out_head *ret);
int h2_from_reply(
    char *text, uint32_t n, struct h2_field *out, uint16_t room, struct h2_out_head *ret);
/* Trailer lines ("name: value" CRLF ...) as h2_trailers takes them: entries, or as above. */
int h2_from_trailers(char *text, uint32_t n, struct h2_field *out, uint16_t room);

#endif
