/* TLS towards providers: what a service wants of it, and the authorities it names.
 *
 * The name that is verified (and sent as SNI) is the service's `name`, else the endpoint's host
 * name, else its address. It is part of what makes a struct provider, so that a connection which
 * was verified for one name never carries a request for another. Contexts are made when a service's
 * authorities are first needed, one for each file, and made anew after a reload. */
#ifndef OFFSHOOT_PROXY_PROVIDER_TLS_H
#define OFFSHOOT_PROXY_PROVIDER_TLS_H

#include "proxy/provider.h"

struct provider_cas;

/* 0 without TLS. */
uint64_t provider_tls_hash(const struct provider_way *way);
/* t: of a struct provider, NULL without TLS. */
bool provider_tls_same(const struct provider_tls *t, const struct provider_way *way);
/* A copy; NULL when memory is out. mem_free gives it back. */
struct provider_tls *provider_tls_new(const struct provider_way *way, const struct addr *a);
/* Makes a new connection one with TLS; what stands in the way is logged and counted. 0, -ENOMEM or
 * -EACCES. */
int provider_tls_begin(struct worker *w, struct pconn *c);
/* Goes on with its handshake: 0, -EINPROGRESS or -EACCES (logged and counted). */
int provider_tls_handshake(struct pconn *c);
/* Authorities are read again when they are next needed. */
void provider_cas_release(struct worker *w);

#endif
