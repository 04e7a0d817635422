/* The fields of Service and Gateway records in words, for diff.c. By the numbers of
 * proto/offshoot/v1/graph.proto. */
#ifndef OFFSHOOT_GRAPH_DIFF_FIELDS_H
#define OFFSHOOT_GRAPH_DIFF_FIELDS_H

#include "lib/base/counters.h"
#include "lib/base/str.h"
#include <stdint.h>

struct message;

/* One field of a record. */
struct number_row {
    const char *name; /* NULL: the end of the table */
    uint8_t number;
    const struct message *inner; /* of a nested message */
    const char *const *words;    /* of an enumeration: said also when it has its default */
};
extern const struct number_row service_fields[], gateway_fields[];
extern const struct message label_message;

/* Every occurrence of a field, joined by commas; inner: of a nested message, else NULL. A number
 * that has no name here is left out. */
void field_text(struct text *out, struct str bytes, uint32_t field, const struct message *inner);
void number_field(struct text *out, struct str bytes, const struct number_row *row);

#endif
