/* The PROXY protocol, versions 1 and 2, on the receiving side, without I/O: what a balancer in
 * front says about a connection before its first byte (HAProxy, doc/proxy-protocol.txt).
 *
 * The caller collects bytes from the start of the connection and calls proxyproto_read each time
 * more arrive. A header is judged at the first byte that cannot belong to one, so that a peer
 * which speaks something else is known at once. There is one reading of what is accepted:
 *   version 1  one space between the parts, addresses of the stated family, ports 0 to 65535
 *              without leading zeros, CRLF within 107 bytes; UNKNOWN may be followed by anything
 *              without CR, LF and NUL
 *   version 2  LOCAL or PROXY; family and transport as section 2.2 lists them; at least the bytes
 *              of its addresses; TLVs that fill the rest exactly. A checksum (CRC32C) must be
 *              right where there is one; what other TLVs say is not looked at
 * LOCAL, UNKNOWN and UNSPEC name no addresses: the connection speaks for itself. */
#ifndef OFFSHOOT_WIRE_PROXYPROTO_H
#define OFFSHOOT_WIRE_PROXYPROTO_H

#include "lib/base/addr.h"
#include <stdbool.h>
#include <stdint.h>

#define PROXYPROTO_V1_MAX 107 /* bytes with CRLF */
#define PROXYPROTO_V2_MIN 16  /* bytes before the addresses */

enum proxyproto_status {
    PROXYPROTO_ERROR = -1,
    PROXYPROTO_MORE = 0, /* needs more bytes */
    PROXYPROTO_DONE = 1
};

/* Why a header was refused. proxyproto_error_word gives the stable word, a counter label. */
enum proxyproto_error {
    PROXYPROTO_OK,
    PROXYPROTO_E_NO_HEADER, /* the first bytes are of neither version */
    PROXYPROTO_E_TOO_LONG,  /* version 1: over 107 bytes; version 2: over the limit */
    PROXYPROTO_E_MALFORMED, /* version 1: parts missing or too many, a bare CR or LF */
    PROXYPROTO_E_ADDRESS,   /* version 1: not an address of the family */
    PROXYPROTO_E_PORT,      /* version 1 */
    PROXYPROTO_E_VERSION,   /* the signature of version 2 with another version */
    PROXYPROTO_E_COMMAND,   /* neither LOCAL nor PROXY */
    PROXYPROTO_E_FAMILY,    /* version 1: neither TCP4, TCP6 nor UNKNOWN; version 2: unlisted */
    PROXYPROTO_E_LENGTH,    /* shorter than the addresses of its family */
    PROXYPROTO_E_TLV,       /* does not end where the header ends; a checksum of odd size */
    PROXYPROTO_E_CHECKSUM,
    PROXYPROTO_E_CUT,  /* for the caller: the peer ended within the header */
    PROXYPROTO_E_SLOW, /* for the caller: it did not come in time */
    PROXYPROTO_ERROR_COUNT
};
const char *proxyproto_error_word(enum proxyproto_error e);

struct proxyproto {
    uint32_t size;      /* bytes of the header */
    uint8_t version;    /* 1 or 2 */
    bool has_addresses; /* else source and destination are ADDR_NONE */
    /* IP4, IP6 (an IPv4-mapped one is IP4), or UNIX without a name. */
    struct addr source, destination;
};

/* data[0..n) is everything received so far. limit: bytes of a version 2 header, addresses and TLVs
 * included. *ret_error is set with PROXYPROTO_ERROR, *ret filled with PROXYPROTO_DONE; what follows
 * data[0..ret->size) is the connection's own. */
enum proxyproto_status proxyproto_read(const char *data, uint32_t n, uint32_t limit,
    struct proxyproto *ret, enum proxyproto_error *ret_error);

#endif
