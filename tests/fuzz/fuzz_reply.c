/* HTTP/1 replies, head and body. The first byte chooses the request that is answered. */
#include "tests/fuzz/h1_agree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run r = RUN_INIT(true);
    static const enum h1_method methods[] = {H1_GET, H1_HEAD, H1_CONNECT, H1_POST};
    char *bytes;
    if (size < 1 || size > AGREE_BYTES)
        return 0;
    r.request_method = methods[data[0] & 3];
    agree_run(&r, data + 1, (uint32_t)size - 1, &bytes);
    if (r.head_done) {
        const struct h1_head *h = &r.head;
        demand(h->status >= 100 && h->status <= 599);
        demand(h->upgrade == (h->status == 101));
        if (h->status < 200 || h->status == 204 || h->status == 304 ||
            methods[data[0] & 3] == H1_HEAD)
            demand(h->framing == H1_NO_BODY);
        agree_head(h);
        agree_again(&r);
    }
    free(bytes);
    return 0;
}
