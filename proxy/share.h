/* Share links, at untrusted listeners: `/?env=NAME` on one of the gateway's pinHosts is answered by
 * a redirect to the same URL without the parameter, and a cookie that stands for it from then on.
 * An empty parameter takes the cookie away. docs/edge.md is the reference. */
#ifndef OFFSHOOT_PROXY_SHARE_H
#define OFFSHOOT_PROXY_SHARE_H

#include "proxy/heads.h"

enum share { SHARE_NONE, SHARE_SET, SHARE_CLEAR, SHARE_COUNT };
/* "" "share-link" "share-leave" */
const char *share_word(enum share s);

/* Asked once the decision is made. True: the request is a link that we answer ourselves; r->share
 * says how. */
bool share_decide(struct request *r);
/* The whole reply to a link; -ENOBUFS when it does not fit. */
int share_reply(struct request *r, struct buf *b);
/* In the head of a refusal: expires the cookie when it was the cookie that caused it, so that
 * nobody is locked out by a preview that is gone. */
void share_put_expired(struct request *r, struct out *o);

#endif
