/* A look at a TLS ClientHello, without ending TLS: the server name (SNI, RFC 6066 section 3) and
 * the application protocols (ALPN, RFC 7301) that the client asks for. Without I/O.
 *
 * The caller collects bytes from the start of the connection, keeps them (they belong to whoever
 * ends TLS), and calls clienthello_read each time more arrive. The message may lie in any number
 * of records (RFC 8446 section 5.1); it is bounded by CLIENTHELLO_MAX bytes, record headers
 * included. What is accepted is what a server would accept, as far as it is looked at: lengths fit
 * exactly, each of the two extensions comes once, a name is one host name. Nothing is verified, and
 * with an encrypted ClientHello the name is the outer one. */
#ifndef OFFSHOOT_WIRE_CLIENTHELLO_H
#define OFFSHOOT_WIRE_CLIENTHELLO_H

#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define CLIENTHELLO_MAX      16384 /* bytes from the first record's header to the message's end */
#define CLIENTHELLO_NAME_MAX 255

enum clienthello_status {
    CLIENTHELLO_ERROR = -1,
    CLIENTHELLO_MORE = 0, /* needs more bytes */
    CLIENTHELLO_DONE = 1
};

/* Why nothing could be read. clienthello_error_word gives the stable word, a counter label. */
enum clienthello_error {
    CLIENTHELLO_OK,
    CLIENTHELLO_E_NOT_TLS,   /* the first bytes are no handshake record */
    CLIENTHELLO_E_RECORD,    /* a record that is empty, too long, or of another type or version */
    CLIENTHELLO_E_NOT_HELLO, /* another handshake message */
    CLIENTHELLO_E_TOO_LONG,
    CLIENTHELLO_E_LENGTH, /* a length that does not fit what holds it */
    CLIENTHELLO_E_TWICE,  /* one of the two extensions twice */
    CLIENTHELLO_E_NAMES,  /* a server name list without exactly one host name */
    CLIENTHELLO_E_NAME,   /* not a host name: letters, digits, '-', '_' and '.' */
    CLIENTHELLO_E_CUT,    /* for the caller: the peer ended within the message */
    CLIENTHELLO_E_SLOW,   /* for the caller: it did not come in time */
    CLIENTHELLO_ERROR_COUNT
};
const char *clienthello_error_word(enum clienthello_error e);

struct clienthello {
    uint8_t name_len;                /* 0: no server name */
    uint8_t alpn_len;                /* bytes of alpn */
    bool has_alpn;                   /* the extension is there */
    bool alpn_cut;                   /* more protocols than alpn has room for: the first ones */
    char name[CLIENTHELLO_NAME_MAX]; /* as sent, without NUL */
    char alpn[255];                  /* as on the wire: length byte, protocol, length byte, ... */
};

/* data[0..n) is everything received so far. *ret is filled with CLIENTHELLO_DONE, *ret_error with
 * CLIENTHELLO_ERROR. Nothing is consumed. */
enum clienthello_status clienthello_read(
    const char *data, uint32_t n, struct clienthello *ret, enum clienthello_error *ret_error);
/* The list holds this protocol. */
bool clienthello_offers(const struct clienthello *h, struct str protocol);

#endif
