/* What the files of the proxy's admin socket share: admin.c, admin_endpoints.c, admin_live.c,
 * admin_top.c. */
#ifndef OFFSHOOT_PROXY_ADMIN_IMPL_H
#define OFFSHOOT_PROXY_ADMIN_IMPL_H

#include "proxy/control.h"

/* A counter over the control thread and all workers. cell: enum proxy_stat. */
uint64_t admin_sum(const struct control *c, unsigned cell);
/* "serving", "draining" or "waiting for a graph". */
const char *admin_state_word(const struct control *c);
/* What each worker counts by name: its environments; then, from nworkers on, its services. New,
 * mem_free gives it back. NULL when memory is out. */
struct usage **admin_usage(const struct control *c);

#endif
