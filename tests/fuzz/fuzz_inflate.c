/* First byte: which coding and how small the limit. The limit holds, a failure hands out nothing,
 * and a larger limit gives the same bytes. */
#include "lib/base/mem.h"
#include "lib/compare/inflate.h"
#include "tests/fuzz/fuzz.h"
#include <errno.h>

#define LARGE (1u << 20)

static const char *const codings[] = {"gzip", "deflate", "x-gzip, deflate", "gzip, gzip",
    "identity", "deflate,deflate,gzip", "br", ""};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str coding = str_c(codings[data[0] & 7]);
    struct str body = str_of((const char *)data + 1, size - 1), small = {0}, large = {0};
    uint32_t max = 1u << (data[0] >> 4);
    char *small_owned = NULL, *large_owned = NULL;
    int a = body_inflate(coding, body, max, &small, &small_owned);
    int b = body_inflate(coding, body, LARGE, &large, &large_owned);
    demand(a == 0 || a == -ENOTSUP || a == -EBADMSG || a == -E2BIG);
    demand((a == -ENOTSUP) == (b == -ENOTSUP));
    demand(a != 0 || small.n <= max);
    demand(b != 0 || large.n <= LARGE);
    demand(a != 0 || (b == 0 && str_eq(small, large)));
    demand(a != -E2BIG || b != 0 || large.n > max || str_find(coding, ',') < coding.n);
    demand(a != -EBADMSG || b == -EBADMSG);
    mem_free(small_owned);
    mem_free(large_owned);
    return 0;
}
