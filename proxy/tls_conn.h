/* TLS as the transport of a connection, between its socket and everything else (conn_ops).
 *
 *   socket ─ recv → raw_in ─ SSL_read → conn.in        one recv for as many records as are here
 *   socket ← send ─ raw_out ← SSL_write ─ conn.out, span   one send for all records of a write
 *
 * OpenSSL reads and writes the two raw blocks, never the socket. They are held only while they have
 * something in them, as conn.in and conn.out are, and OpenSSL gives its own buffers back as well:
 * an idle connection keeps nothing but its keys. What was decrypted or may be decrypted without a
 * recv keeps the connection `readable`, so that no event is waited for that never comes.
 *
 * The end: close_notify is IO_EOF; an end of the socket without it is IO_ERROR, since anybody on
 * the way can make one (RFC 8446 section 6.1). conn_close without reset says close_notify.
 *
 * Handshakes: limits.handshakes of a worker are under way at a time, the others wait in their order
 * (and cost no more than an idle connection: their bytes stay in the socket). One of them that has
 * been under way for a second is given up when others wait. In one turn of the worker handshakes
 * take some 2 ms at the most: the others go on in the next one, after everybody else's events. */
#ifndef OFFSHOOT_PROXY_TLS_CONN_H
#define OFFSHOOT_PROXY_TLS_CONN_H

#include "lib/base/err.h"
#include "lib/net/tls.h"
#include "proxy/conn.h"

/* Of a worker: what its TLS connections share. NULL when memory is out. */
struct tls_worker;
struct tls_worker *tls_worker_new(void);
/* Every connection is closed by then. */
void tls_worker_free(struct tls_worker *t);
/* What tickets are made with; tls_server_new borrows it. */
struct tls_tickets *tls_worker_tickets(struct tls_worker *t);

/* Makes an open connection a TLS one, of which the handshake comes first; what is in c->in already
 * belongs to it. It takes a reference on server. 0 or -ENOMEM. */
int tls_conn_accept(struct conn *c, struct tls_server *server);
/* Towards a provider. Takes ssl (of tls_client_open), also on failure. */
int tls_conn_connect(struct conn *c, SSL *ssl);
/* Goes on with the handshake. IO_OK: done. IO_AGAIN: on_ready will be called again. IO_ERROR: *why,
 * and text for the log; alerts are sent by then. */
enum io tls_conn_handshake(struct conn *c, enum tls_failure *why, struct err *text);
/* After TLS_FAIL_HTTP: a plain connection again, nothing of which was read. */
void tls_conn_forget(struct conn *c);

bool tls_conn_is(const struct conn *c);
/* After the handshake. */
bool tls_conn_h2(const struct conn *c);
bool tls_conn_resumed(const struct conn *c);
/* The other side's verified names, or NULL; valid while c is open. */
const struct tls_subjects *tls_conn_subjects(const struct conn *c);

#endif
