/* Redaction of JSON that was read already. Private to lib/compare. */
#ifndef OFFSHOOT_COMPARE_REDACT_JSON_H
#define OFFSHOOT_COMPARE_REDACT_JSON_H

#include "lib/compare/json.h"
#include "lib/compare/redact_int.h"

/* The text of a value as it stands, but values below secret names ("secret": all of it) and
 * strings, keys and numbers that look like secrets redacted; stops soon after max bytes. True:
 * something was taken out. */
bool redact_nodes(const struct redact *r, const struct json *j, const struct json_node *top,
    bool secret, size_t max, struct text *out);

#endif
