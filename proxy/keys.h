/* The keys that sign and verify contexts: read at the start and again on SIGHUP and POST /reload,
 * handed to every worker. */
#ifndef OFFSHOOT_PROXY_KEYS_H
#define OFFSHOOT_PROXY_KEYS_H

#include "lib/base/err.h"
#include "lib/graph/words.h"

struct control;

/* Reads the key file of the settings, if there is one; every worker gets a signer with its keys, or
 * none does. 0, or negative errno with e: then the old keys stay. Counted either way. */
int keys_load(struct control *c, struct err *e);
/* What /status says: the kids, never a secret. The key "keys" with its value, or a line. */
void keys_status(const struct control *c, bool json, struct text *t);
void keys_release(struct control *c);

#endif
