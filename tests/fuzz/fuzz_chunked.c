/* Chunked bodies with their trailers. The first two bytes choose the limits. */
#include "tests/fuzz/h1_agree.h"

/* What holds for every whole body. */
static void check_accepted(const struct run *r)
{
    demand(r->eof_ends);
    demand(r->ntrailers <= r->limits.fields);
    for (unsigned i = 0; i < r->ntrailers; i++) {
        const struct field *f = &r->trailers[i];
        agree_plain(field_name(f));
        agree_plain(field_value(f));
        demand(f->id != FIELD_HOST && f->id != FIELD_CONTENT_LENGTH);
        demand(f->id != FIELD_TRANSFER_ENCODING);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    static struct run r = RUN_INIT(false);
    static uint8_t message[sizeof(head) + AGREE_BYTES];
    char *bytes;
    if (size < 2 || size > AGREE_BYTES)
        return 0;
    r.limits.chunk_ext_bytes = data[0];
    r.limits.trailer_bytes = 16u * (data[1] >> 4) + 8;
    r.limits.fields = 2 + (data[1] & 15);
    memcpy(message, head, sizeof(head) - 1);
    memcpy(message + sizeof(head) - 1, data + 2, size - 2);
    agree_run(&r, message, (uint32_t)(sizeof(head) - 1 + size - 2), &bytes);
    demand(r.head_done);
    if (r.status == H1_DONE)
        check_accepted(&r);
    free(bytes);
    return 0;
}
