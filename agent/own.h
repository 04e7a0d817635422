/* Command documents: an Environment as YAML text, made from a command or from an older text and a
 * command. One content has one text, so that two commands that say the same are seen to.
 *
 * Everything that comes from outside is validated here before it is written: names by name_valid,
 * addresses by addr_parse, other text is UTF-8 without control characters and stands in double
 * quotes with everything beyond ASCII escaped. */
#ifndef OFFSHOOT_AGENT_OWN_H
#define OFFSHOOT_AGENT_OWN_H

#include "agent/core.h"

#define OWN_OWNER_MAX     256  /* bytes */
#define OWN_ADDRESSES_MAX 4096 /* of one service */

struct own_rules {
    int64_t now;                /* Unix seconds */
    uint64_t life_s, default_s; /* longest life; life without one said, 0: for good */
};

/* Judges the form of a command on one environment. 0 or -EINVAL with e. */
int own_judge(const struct change *ch, const struct own_rules *r, struct err *e);
/* The text of a new environment. parent: used when the command names none. old: the text that is
 * there, or n 0; what expires at another time only is equal, and *ret is then a copy of old. 0,
 * -EINVAL or -ENOMEM. */
int own_create(const struct change *ch, const struct own_rules *r, struct str parent,
    struct str old, struct text *ret, struct err *e);
/* The text after `set` or `extend`. 0, -EINVAL, -EBADMSG (old is no document of ours), -ENOMEM. */
int own_edit(const struct change *ch, const struct own_rules *r, struct str old, struct text *ret,
    struct err *e);
/* What the command says in one line, cut to size; yaml: the text after it, for the time. */
void own_what(const struct change *ch, const struct own_rules *r, char *out, size_t size);

#endif
