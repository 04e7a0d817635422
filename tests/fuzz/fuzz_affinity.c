/* Any bytes as the value of Cookie: what is found is a part of it, without white space around. */
#include "proxy/affinity.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct field f[2] = {
        {.value = (const char *)data, .value_len = (uint32_t)(size / 2), .id = FIELD_COOKIE},
        {.value = (const char *)data + size / 2,
            .value_len = (uint32_t)(size - size / 2),
            .id = FIELD_COOKIE}};
    struct str got = affinity_find(f, 2, STR("id"));
    const char *begin = (const char *)data;
    if (!got.p)
        return 0;
    if (got.p < begin || got.p + got.n > begin + size)
        abort();
    if (got.n && (blank(got.p[0]) || blank(got.p[got.n - 1])))
        abort();
    for (size_t i = 0; i < got.n; i++)
        if (got.p[i] == ';')
            abort();
    return 0;
}
