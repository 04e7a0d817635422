/* Names and types of gRPC messages, out of a FileDescriptorSet as protoc writes it:
 *     protoc --include_imports --descriptor_set_out=FILE ...
 * Read by the field numbers of google/protobuf/descriptor.proto; what is not needed is skipped.
 *
 * A type that the set does not have (without --include_imports) leaves its fields without message
 * and enumeration: they are then treated as without descriptors. Read-only once made: any number of
 * threads may look things up. */
#ifndef OFFSHOOT_COMPARE_DESCRIPTORS_H
#define OFFSHOOT_COMPARE_DESCRIPTORS_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define DESCRIPTORS_BYTES_MAX (16u << 20)
#define DESCRIPTORS_NAMES_MAX 65536 /* of messages, of enumerations, and of methods */
#define DESCRIPTORS_NAME_MAX  512   /* bytes of a full name: package.Outer.Inner */
#define DESCRIPTORS_DEPTH_MAX 32    /* messages declared within messages */

/* FieldDescriptorProto.Type */
enum descriptor_type {
    DESCRIPTOR_DOUBLE = 1,
    DESCRIPTOR_FLOAT = 2,
    DESCRIPTOR_INT64 = 3,
    DESCRIPTOR_UINT64 = 4,
    DESCRIPTOR_INT32 = 5,
    DESCRIPTOR_FIXED64 = 6,
    DESCRIPTOR_FIXED32 = 7,
    DESCRIPTOR_BOOL = 8,
    DESCRIPTOR_STRING = 9,
    DESCRIPTOR_GROUP = 10,
    DESCRIPTOR_MESSAGE = 11,
    DESCRIPTOR_BYTES = 12,
    DESCRIPTOR_UINT32 = 13,
    DESCRIPTOR_ENUM = 14,
    DESCRIPTOR_SFIXED32 = 15,
    DESCRIPTOR_SFIXED64 = 16,
    DESCRIPTOR_SINT32 = 17,
    DESCRIPTOR_SINT64 = 18
};

struct descriptor_enum;
struct descriptor_message;

struct descriptor_field {
    struct str name;
    uint32_t number;
    enum descriptor_type type;
    bool repeated; /* maps too */
    bool presence; /* absent is something else than zero; false for repeated ones */
    bool map;      /* `message` is the entry: key 1, value 2 */
    const struct descriptor_message *message;  /* MESSAGE: or NULL when the set lacks it */
    const struct descriptor_enum *enumeration; /* ENUM: likewise */
};

struct descriptors;
/* Copies what it needs of bytes. NULL with e: broken, above a limit, a name twice, or memory. */
struct descriptors *descriptors_parse(struct str bytes, struct err *e);
void descriptors_free(struct descriptors *d); /* NULL is allowed */

/* What a method, "/package.Service/Method", takes and answers; NULL: there is no such method, or
 * the set lacks its type. Lives as long as d. */
const struct descriptor_message *descriptors_request(
    const struct descriptors *d, struct str method);
const struct descriptor_message *descriptors_reply(const struct descriptors *d, struct str method);
/* How many methods there are. */
size_t descriptors_methods(const struct descriptors *d);
/* "package.Message"; NULL: none. */
const struct descriptor_message *descriptors_message(const struct descriptors *d, struct str name);

size_t descriptor_fields(const struct descriptor_message *m, const struct descriptor_field **ret);
/* NULL: it has no field of that number. */
const struct descriptor_field *descriptor_field(
    const struct descriptor_message *m, uint32_t number);
/* Empty: no such value. */
struct str descriptor_enum_name(const struct descriptor_enum *e, int32_t number);

#endif
