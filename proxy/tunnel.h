/* Tunnels: a request that became two raw flows (STEP_TUNNEL).
 *
 *   upgrade   the provider answered 101 with a protocol that the client had offered
 *   connect   CONNECT, at a listener that allows it, to a tcp service of the graph
 *   tcp       a connection to a tcp listener (client_tcp.c)
 *
 * Bytes pass as they come, with back-pressure; memory is the two buffers, none while nothing
 * flows. An end of one side is passed on as an end, the other direction goes on; a reset is passed
 * on as a reset. A tunnel holds neither a snapshot nor the block of its head, counts in its own
 * gauge, and ends when no byte passed for timeouts.tunnel. docs/internals/close-table.md, rows T,
 * says what happens when.
 *
 * On HTTP/2 an upgrade is an extended CONNECT (RFC 8441), and both forms meet in the middle as the
 * HTTP/1 one: the key of a WebSocket handshake is made or its answer computed where one side has
 * none. A stream's END_STREAM is the end of that side. */
#ifndef OFFSHOOT_PROXY_TUNNEL_H
#define OFFSHOOT_PROXY_TUNNEL_H

#include "proxy/request.h"

/* The head is whole and asks for a tunnel, or seems to: judges it. STEP_COUNT: go on (r->tunnel
 * says as what), else the step that follows a refusal. */
enum step tunnel_judge(struct request *r);
/* The head of an upgrade is about to be sent on a stream of HTTP/2, where the provider must have
 * said that it takes such (RFC 8441). False: *ret_next is the next step. */
bool tunnel_may_ask(struct request *r, enum step *ret_next);
/* What is offered to this provider: a list, on HTTP/2 the first of it alone. */
struct str tunnel_offer(const struct request *r);
/* The connection to the provider stands (CONNECT, tcp): no head is sent. */
enum step tunnel_connected(struct request *r);
/* The provider answered 101, or 2xx on a stream: a tunnel if it took what was offered, else a bad
 * reply. */
enum step tunnel_switched(struct request *r);
enum step request_step_tunnel(struct request *r);
/* No byte for timeouts.tunnel. */
enum step tunnel_idle(struct request *r);
/* Part of giving a request back, whether or not it became a tunnel. */
void tunnel_release(struct request *r);
/* The client's connection is closed before the tunnel has ended: the provider shall not take that
 * for an end. */
void tunnel_abandon(struct request *r);

const char *tunnel_word(enum tunnel t); /* "upgrade" "connect" "tcp" */

#endif
