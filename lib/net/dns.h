/* Names to addresses with their time to live, by c-ares on a libevent base.
 *
 * One thread. Reads /etc/hosts and resolv.conf as c-ares does, all A and AAAA records, falls back
 * to TCP for long answers. */
#ifndef OFFSHOOT_NET_DNS_H
#define OFFSHOOT_NET_DNS_H

#include "lib/base/addr.h"
#include "lib/base/err.h"
#include <stdint.h>

struct dns;
struct event_base;

#define DNS_ADDRS_MAX 256 /* addresses of one name that are used; more are counted and left out */

struct dns_answer {
    int error; /* 0, -ENOENT (no such name or no address), -ETIMEDOUT, -ENOMEM or -EIO */
    const struct addr *addrs; /* IP4 and IP6, port 0; valid during the callback; sorted by bytes */
    uint32_t naddrs;
    uint32_t left_out; /* addresses beyond DNS_ADDRS_MAX */
    uint32_t ttl_s;    /* smallest of the records; at least 1; 0 TTL counts as 1 */
    const char *text;  /* for a log line when error is set */
};
typedef void dns_fn(void *arg, const struct dns_answer *a);

/* servers: "IP:port,IP:port" to use instead of resolv.conf (tests), or NULL. timeout_ms is for a
 * whole look-up, all tries of it. */
struct dns *dns_new(
    struct event_base *base, const char *servers, uint32_t timeout_ms, struct err *e);
/* Outstanding queries get no callback. */
void dns_free(struct dns *d);
/* name is copied. fn runs exactly once, from the event loop, never inside this call. 0 or -ENOMEM.
 */
int dns_resolve(struct dns *d, struct str name, dns_fn *fn, void *arg);
/* Queries with this fn and arg get no callback any more. */
void dns_forget(struct dns *d, dns_fn *fn, void *arg);

#endif
