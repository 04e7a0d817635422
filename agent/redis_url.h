/* Where Redis is: "redis://[USER@]HOST[:PORT][/DB]", "unix:/PATH". Pure. */
#ifndef OFFSHOOT_AGENT_REDIS_URL_H
#define OFFSHOOT_AGENT_REDIS_URL_H

#include "lib/base/addr.h"
#include "lib/base/err.h"

#define REDIS_PORT     6379
#define REDIS_USER_MAX 128
#define REDIS_DB_MAX   65535

struct redis_url {
    char target[ADDR_TEXT_MAX]; /* "HOST:PORT" or "unix:/PATH" */
    char user[REDIS_USER_MAX + 1];
    uint32_t db;
};
/* 0 or -EINVAL with e. A password in it is refused (and not told): it belongs into a file. */
int redis_url_parse(struct str url, struct redis_url *ret, struct err *e);

/* "HOST:PORT" of a MOVED or ASK error ("MOVED 3999 10.0.0.1:6381"); `teller` stands in for an empty
 * host. IPv6 comes without brackets there. 0 or -EBADMSG. */
int redis_redirect_parse(struct str error, const char *teller, char ret[static ADDR_TEXT_MAX]);

#endif
