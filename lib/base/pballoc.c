#include "lib/base/pballoc.h"

#include "lib/base/mem.h"
#include <assert.h>
#include <stdint.h>

#define BUDGET_MAGIC 0x50424201u

struct budget {
    uint32_t magic;
    size_t left; /* never given back: protobuf-c does not say how large a freed block was */
};

static void *take(void *data, size_t size)
{
    (void)data;
    return size > PB_BLOCK_MAX ? NULL : mem_alloc(size);
}

static void *take_within(void *data, size_t size)
{
    struct budget *b = data;
    assert(b->magic == BUDGET_MAGIC);
    if (size > b->left)
        return NULL;
    b->left -= size;
    return mem_alloc(size);
}

static void give_back(void *data, void *p)
{
    (void)data;
    mem_free(p);
}

ProtobufCAllocator pb_allocator = {.alloc = take, .free = give_back};

ProtobufCMessage *pb_unpack(const ProtobufCMessageDescriptor *d, struct str bytes, size_t budget)
{
    struct budget b = {BUDGET_MAGIC, budget};
    ProtobufCAllocator within = {.alloc = take_within, .free = give_back, .allocator_data = &b};
    /* protobuf-c takes NULL for no message at all, not for an empty one. */
    const uint8_t *p = bytes.n ? (const uint8_t *)bytes.p : (const uint8_t *)"";
    return protobuf_c_message_unpack(d, &within, bytes.n, p);
}

void pb_free(ProtobufCMessage *m)
{
    if (m)
        protobuf_c_message_free_unpacked(m, &pb_allocator);
}
