/* The keys `endpoints.allow` and `endpoints.unix`, which bound where a graph may point. */
#ifndef OFFSHOOT_BASE_CONF_RULES_H
#define OFFSHOOT_BASE_CONF_RULES_H

#include "lib/base/addr.h"
#include "lib/base/conf.h"

/* Judges both lists and makes the rules of them, without own addresses; *ret borrows the texts and
 * is released in any case. -EINVAL with e naming the key and where it was written, or -ENOMEM. */
int conf_rules(const struct conf *c, const struct conf_list *allow,
    const struct conf_list *unix_dirs, struct endpoint_rules *ret, struct err *e);
void conf_rules_release(struct endpoint_rules *r);

#endif
