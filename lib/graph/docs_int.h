/* What the files that write and read Service and Gateway records share: docs.c, docs_policy.c,
 * docs_route.c. Field numbers are those of proto/offshoot/v1/graph.proto. */
#ifndef OFFSHOOT_GRAPH_DOCS_INT_H
#define OFFSHOOT_GRAPH_DOCS_INT_H

#include "lib/graph/actions.h"
#include "lib/graph/pb.h"

/* Canonical: nothing is written that has its default value; where it is zero, see pb_opt_uint. */
void put_unless(struct pb_out *o, uint32_t field, uint64_t v, uint64_t usual);

/* Each false when the field has no such value; *ret is then untouched. */
bool get_uint(const struct pb_field *f, uint64_t max, uint64_t *ret);
bool get_u32(const struct pb_field *f, uint32_t *ret);
bool get_u16(const struct pb_field *f, uint16_t *ret);
bool get_u8(const struct pb_field *f, uint8_t max, uint8_t *ret);
bool get_bool(const struct pb_field *f, bool *ret);
bool get_str(const struct pb_field *f, struct str *ret); /* UTF-8 without NUL */
bool get_name(const struct pb_field *f, struct str *ret);
/* How often a field stands in a message. */
uint32_t count_field(struct str bytes, uint32_t field);

/* docs_policy.c. The read functions return false for what no model says. */
void policy_write(struct pb_out *o, uint32_t field, const struct policy *p);
bool policy_read(struct str bytes, struct policy *p); /* over policy_default */
/* True when a Policy record has a field that the first format did not have. */
bool policy_is_new(struct str bytes);
void tls_write(struct pb_out *o, uint32_t field, const struct service_tls *t);
bool tls_read(struct str bytes, struct service_tls *t);
void affinity_write(struct pb_out *o, uint32_t field, const struct affinity *a);
bool affinity_read(struct str bytes, struct affinity *a);

/* docs_route.c */
void actions_write(struct pb_out *o, uint32_t field, const struct route_actions *a);
/* Edits take their fields from *fields, which moves on. */
bool actions_read(struct str bytes, struct route_actions *a, struct field **fields);
/* How many fields the edits of a Route record need; garbled ones count as far as they go. */
uint32_t actions_count_fields(struct str route, uint32_t field);
void limits_write(struct pb_out *o, uint32_t field, const struct gateway_limits *l);
bool limits_read(struct str bytes, struct gateway_limits *l);

#endif
