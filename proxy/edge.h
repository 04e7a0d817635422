/* What an untrusted listener adds for caches and browsers: Vary and Cache-Control: private on
 * replies that a carrier may change, and CORS preflights for the headers that are carriers.
 * docs/edge.md is the reference. */
#ifndef OFFSHOOT_PROXY_EDGE_H
#define OFFSHOOT_PROXY_EDGE_H

#include "proxy/heads.h"

/* Once the decision is made: fills r->vary and r->allow_headers, takes our names out of a
 * preflight. True: the request is a share link, answered by share_reply. */
bool edge_decided(struct request *r);

/* For a reply with r->vary: writes our lines, and marks the provider's that must not pass. Before
 * the provider's fields are written. */
void edge_put_reply(struct request *r, struct out *o);

#endif
