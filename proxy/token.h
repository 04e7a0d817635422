/* The token that a request carries to its provider. */
#ifndef OFFSHOOT_PROXY_TOKEN_H
#define OFFSHOOT_PROXY_TOKEN_H

#include "proxy/request.h"

/* Writes it into r->token and returns its length. What came is passed on as it is while env,
 * r->pin and flags are what it says; else a token is made, with the exp of the one that came if
 * there was one: no hop makes a context live longer. */
size_t request_token(struct request *r, struct str env, uint8_t flags);

#endif
