/* Upgrade in HTTP/1.1 (RFC 9110 section 7.8): what a client offers, what a provider's 101 takes,
 * and the two fields that prove a WebSocket handshake (RFC 6455 section 4.2.2). Without I/O. */
#ifndef OFFSHOOT_WIRE_UPGRADE_H
#define OFFSHOOT_WIRE_UPGRADE_H

#include "lib/base/field.h"
#include <stdbool.h>

#define UPGRADE_OFFER_MAX    128 /* bytes of an offer that is passed on */
#define WEBSOCKET_KEY_BYTES  24
#define WEBSOCKET_ACCEPT_LEN 28

/* The protocols of all Upgrade fields as one list ("websocket, foo/2") into out. Those under which
 * requests would go on that nobody judges are left out, as a server may (h2c, h2, h3, HTTP, TLS,
 * any version): then, and without any, 0. Else the length. -EINVAL: not a list of tokens, or longer
 * than UPGRADE_OFFER_MAX. */
int upgrade_offer(const struct field *fields, unsigned n, char out[UPGRADE_OFFER_MAX]);
/* The list holds this protocol (without regard to case). */
bool upgrade_has(struct str offer, struct str protocol);
/* The one protocol that the Upgrade of a 101 names, if it is in the offer; else empty. */
struct str upgrade_taken(struct str offer, const struct field *fields, unsigned n);

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key. False when the digest cannot be made. */
bool websocket_accept(struct str key, char out[WEBSOCKET_ACCEPT_LEN]);
/* A Sec-WebSocket-Key of 16 random bytes. */
void websocket_key(const unsigned char random[16], char out[WEBSOCKET_KEY_BYTES]);

#endif
