/* Routes of the admin socket about endpoints (admin_endpoints.c). docs/providers.md tells how they
 * are used. */
#ifndef OFFSHOOT_PROXY_ADMIN_ENDPOINTS_H
#define OFFSHOOT_PROXY_ADMIN_ENDPOINTS_H

#include "lib/net/adminhttp.h"

/* arg: struct control. GET /providers[?state=WORD]: every endpoint in use, and those with an order.
 * POST /endpoint?address=A&action=drain|disable|enable[&reason=TEXT]. */
void admin_providers(struct admin_request *r, void *arg);
void admin_endpoint(struct admin_request *r, void *arg);

#endif
