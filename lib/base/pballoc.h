/* Memory for protobuf-c: from lib/base/mem.h, and never more of it than a message may take.
 *
 * Messages from outside are read by pb_unpack alone: two bytes on the wire can ask for a hundred in
 * memory, so the bound is on what is taken, not on what came in. */
#ifndef OFFSHOOT_BASE_PBALLOC_H
#define OFFSHOOT_BASE_PBALLOC_H

#include "lib/base/str.h"
#include <protobuf-c/protobuf-c.h>

/* For protobuf_c_message_free_unpacked and the *__free_unpacked of generated code, whatever took
 * the memory. Gives single blocks up to PB_BLOCK_MAX. Never written to; not const because
 * protobuf-c's functions do not say so. */
extern ProtobufCAllocator pb_allocator;
#define PB_BLOCK_MAX (64u << 20)

/* Memory that reading n bytes of a message may take when the caller knows nothing better. */
static inline size_t pb_budget(size_t n)
{
    return n * 32 + 65536;
}

/* Reads one message. budget: bytes of memory that it may take, what reading needs in between
 * included. Returns new, to be freed with &pb_allocator; NULL when the bytes are no such message,
 * it would take more, or memory is out. */
ProtobufCMessage *pb_unpack(const ProtobufCMessageDescriptor *d, struct str bytes, size_t budget);
/* Frees what pb_unpack gave; NULL is nothing. */
void pb_free(ProtobufCMessage *m);

#endif
