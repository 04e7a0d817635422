/* Non-blocking sockets. All descriptors are close-on-exec. 0 or a descriptor, or negative errno. */
#ifndef OFFSHOOT_NET_SOCK_H
#define OFFSHOOT_NET_SOCK_H

#include "lib/base/addr.h"
#include "lib/base/err.h"

/* Binds and listens. reuseport: several sockets of this process share the address. For unix the
 * caller gives mode (0600, 0660); a stale socket file nobody listens on is removed, a live one is
 * -EADDRINUSE. e names the address. */
int sock_listen(const struct addr *a, bool reuseport, int backlog, unsigned mode, struct err *e);
/* The two halves of it for TCP, always with SO_REUSEPORT: an address that is bound and does not
 * listen yet gets no connections. */
int sock_bind(const struct addr *a, struct err *e);
int sock_start(int fd, int backlog);
/* Binds once without SO_REUSEPORT and closes: tells whether another process has the address. */
int sock_probe(const struct addr *a, struct err *e);
/* Starts a connect (IP4, IP6, UNIX), TCP_NODELAY set. The descriptor, connected or in progress
 * (*ret_pending), or negative errno. */
int sock_connect(const struct addr *a, bool *ret_pending);
/* accept4 with non-blocking; peer filled. Descriptor or negative errno. Sets TCP_NODELAY. */
int sock_accept(int listener, struct addr *ret_peer);
/* The address a socket is bound to. */
int sock_name(int fd, struct addr *ret);
/* Error of a finished connect: 0 or negative errno. */
int sock_error(int fd);
/* uid and gid of a unix peer. */
int sock_peer_ids(int fd, unsigned *ret_uid, unsigned *ret_gid);
/* Raises the soft limit of descriptors to the hard one; returns the new limit. */
unsigned long sock_raise_fd_limit(void);

#endif
