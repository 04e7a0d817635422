/* PROXY protocol headers: the answer to a prefix never changes when more bytes come, and nothing
 * behind the header is looked at. */
#include "lib/wire/proxyproto.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

#define LIMIT 1024u
#define STEPS 2048u /* longer inputs are cut: each prefix is a run */

struct seen {
    enum proxyproto_status status;
    enum proxyproto_error error;
    struct proxyproto header;
};

static struct seen run(const uint8_t *data, uint32_t n)
{
    struct seen s = {.error = PROXYPROTO_OK};
    char *copy = malloc(n ? n : 1);
    demand(copy != NULL);
    if (n)
        memcpy(copy, data, n);
    s.status = proxyproto_read(copy, n, LIMIT, &s.header, &s.error);
    free(copy);
    return s;
}

static void judge(const struct seen *s, uint32_t n)
{
    demand((s->status == PROXYPROTO_ERROR) == (s->error != PROXYPROTO_OK));
    if (s->status != PROXYPROTO_DONE)
        return;
    const struct proxyproto *h = &s->header;
    demand(h->size <= n && (h->version == 1 || h->version == 2));
    demand(h->size <= (h->version == 1 ? PROXYPROTO_V1_MAX : LIMIT));
    demand(h->has_addresses == (h->source.kind != ADDR_NONE));
    demand(h->has_addresses == (h->destination.kind != ADDR_NONE));
}

static bool same(const struct seen *a, const struct seen *b)
{
    return a->status == b->status && a->error == b->error && a->header.size == b->header.size &&
           addr_eq(&a->header.source, &b->header.source) &&
           addr_eq(&a->header.destination, &b->header.destination);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t n = size < STEPS ? (uint32_t)size : STEPS;
    struct seen last = {.status = PROXYPROTO_MORE};
    for (uint32_t i = 0; i <= n; i++) {
        struct seen now = run(data, i);
        judge(&now, i);
        demand(last.status == PROXYPROTO_MORE || same(&last, &now));
        last = now;
    }
    return 0;
}
