/* Addresses as text and as bytes: endpoints of the graph, listeners, CIDR blocks.
 *
 * Forms: "a.b.c.d:port" (four plain decimals), "[IPv6]:port", "dns-name:port", "unix:/path" (at
 * most 107 bytes of path), "tunnel:NAME" (reserved). A port is 1-65535 (0 only where the caller
 * allows it) and always required except for unix: and tunnel:.
 *
 * An IPv4-mapped IPv6 address is read as the IPv4 address that it reaches. A DNS name whose last
 * label is a number ("127.1", "0x7f.1") is refused, because resolvers read it as an address. */
#ifndef OFFSHOOT_BASE_ADDR_H
#define OFFSHOOT_BASE_ADDR_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include <stdint.h>
#include <sys/socket.h>

enum addr_kind { ADDR_NONE, ADDR_IP4, ADDR_IP6, ADDR_DNS, ADDR_UNIX, ADDR_TUNNEL };

#define ADDR_TEXT_MAX 280 /* longest text form with its NUL */

struct addr {
    uint8_t kind;    /* enum addr_kind */
    uint8_t ip[16];  /* network order; IP4 uses the first four bytes, the rest is zero */
    uint16_t port;   /* host order */
    struct str name; /* DNS name as given, unix path or tunnel name; borrowed */
};

/* text must outlive *ret (name points into it). Error text says what is wrong with it. */
int addr_parse(struct str text, bool allow_port_0, struct addr *ret, struct err *e);
/* NUL-terminated into out[ADDR_TEXT_MAX]; returns the length. */
size_t addr_format(const struct addr *a, char *out);
/* DNS names are compared without regard to case; addr_hash agrees. */
bool addr_eq(const struct addr *a, const struct addr *b);
uint64_t addr_hash(const struct addr *a);
/* For IP4, IP6 and UNIX. Returns the length, 0 for other kinds. */
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ss);
/* From what accept or getsockname gave; a unix name is not kept (kind ADDR_UNIX, empty name).
 * An IPv4-mapped IPv6 address becomes IP4. */
void addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct addr *ret);

struct cidr {
    uint8_t kind; /* ADDR_IP4 or ADDR_IP6 */
    uint8_t bits;
    uint8_t ip[16];
};
/* "10.0.0.0/8", "fd00::/8", or a single address. Host bits must be zero. */
int cidr_parse(struct str text, struct cidr *ret, struct err *e);
bool cidr_has(const struct cidr *c, const struct addr *a);
bool addr_is_loopback(const struct addr *a); /* unix counts as loopback */
/* 169.254/16, fe80::/10, 224/4, ff00::/8, 0.0.0.0/8, ::, 255.255.255.255 */
bool addr_is_linklocal_or_multicast(const struct addr *a);

/* Where a graph may point its endpoints: the programs' key `endpoints`. All arrays borrowed. */
struct endpoint_rules {
    const struct cidr *allow; /* n_allow == 0: everything but link-local and multicast */
    size_t n_allow;
    const struct str *unix_dirs; /* a unix: path must lie below one of these */
    size_t n_unix_dirs;
    const struct addr *own; /* our listeners and admin addresses: never allowed */
    size_t n_own;
};
/* Judges IP and unix addresses; DNS and tunnel names pass (judged after look-up). A unix path with
 * a ".." segment never passes. A wildcard address in `own` stands for every loopback address and
 * itself, on that port. On refusal *ret_why (static text) says which rule. */
bool endpoint_allowed(const struct endpoint_rules *r, const struct addr *a, const char **ret_why);

#endif
