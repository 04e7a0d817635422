/* Writing heads: the request as the provider gets it, the reply as the client gets it, and replies
 * of our own. Into conn->out, which has a block; -ENOBUFS when a head does not fit. */
#ifndef OFFSHOOT_PROXY_HEADS_H
#define OFFSHOOT_PROXY_HEADS_H

#include "proxy/out.h"
#include "proxy/request.h"

/* Fills r->trace_id from the request's traceparent, or makes one. Marks what must not pass. */
void heads_trace(struct request *r);
int heads_request(struct request *r, struct buf *b);
/* An interim reply (1xx). */
int heads_interim(const struct request *r, struct buf *b);
/* The 101 by which a tunnel begins. protocol: which of those offered; accept: a
 * sec-websocket-accept that the reply lacks, or empty. */
int heads_switching(const struct request *r, struct str protocol, struct str accept, struct buf *b);
/* The final reply's head; *ret_framing: how the body is written. */
int heads_reply(struct request *r, struct buf *b, uint8_t *ret_framing);
/* A whole reply of our own: the refusal's statuses, x-offshoot-error, a body by Accept. */
int heads_refusal(struct request *r, struct buf *b);

/* A refusal as the client may know it: to outsiders a forbidden environment does not exist. */
enum refusal heads_told(const struct request *r, enum refusal why);

/* Parts of a reply's head, for share.c. reason empty: the standard one. */
void heads_put_status(struct out *o, unsigned status, struct str reason);
void heads_put_connection(const struct request *r, struct out *o);

#endif
