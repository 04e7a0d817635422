/* HTTP/1 requests, head and body. */
#include "tests/fuzz/h1_agree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run r = RUN_INIT(false);
    char *bytes;
    if (size > AGREE_BYTES)
        return 0;
    agree_run(&r, data, (uint32_t)size, &bytes);
    if (r.head_done) {
        demand(r.head.method.n > 0 && r.head.method.n <= 32);
        demand(r.head.framing != H1_UNTIL_CLOSE);
        agree_head(&r.head);
        agree_again(&r);
    }
    free(bytes);
    return 0;
}
