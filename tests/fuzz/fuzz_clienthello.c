/* ClientHellos: the answer to a prefix never changes when more bytes come, also when it was read
 * over other records. */
#include "lib/wire/clienthello.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

#define STEPS 2048u /* of longer inputs only these prefixes are run */

struct seen {
    enum clienthello_status status;
    enum clienthello_error error;
    struct clienthello hello;
};

static void run(const uint8_t *data, uint32_t n, struct seen *s)
{
    char *copy = malloc(n ? n : 1);
    demand(copy != NULL);
    if (n)
        memcpy(copy, data, n);
    memset(s, 0, sizeof *s);
    s->status = clienthello_read(copy, n, &s->hello, &s->error);
    free(copy);
    demand((s->status == CLIENTHELLO_ERROR) == (s->error != CLIENTHELLO_OK));
    demand(s->hello.alpn_len == 0 || s->hello.has_alpn);
    for (uint32_t i = 0; i < s->hello.name_len; i++)
        demand(s->hello.name[i] > ' ' && s->hello.name[i] != ':' && s->hello.name[i] != '/');
}

static bool same(const struct seen *a, const struct seen *b)
{
    return a->status == b->status && a->error == b->error &&
           a->hello.name_len == b->hello.name_len && a->hello.alpn_len == b->hello.alpn_len &&
           memcmp(a->hello.name, b->hello.name, a->hello.name_len) == 0 &&
           memcmp(a->hello.alpn, b->hello.alpn, a->hello.alpn_len) == 0;
}

/* The first record's content, if it lies there whole, in records of a few bytes. */
static void in_small_records(const uint8_t *data, uint32_t n, const struct seen *whole)
{
    static uint8_t bytes[CLIENTHELLO_MAX];
    uint32_t len = n >= 5 ? (uint32_t)data[3] << 8 | data[4] : 0, at = 0;
    if (whole->status != CLIENTHELLO_DONE || len == 0 || len + 5 > n || len > CLIENTHELLO_MAX / 2)
        return;
    for (uint32_t i = 0, size = 5 + data[10] % 60u; i < len; i += size) {
        uint32_t piece = len - i < size ? len - i : size;
        memcpy(bytes + at, data, 3);
        bytes[at + 3] = 0;
        bytes[at + 4] = (uint8_t)piece;
        memcpy(bytes + at + 5, data + 5 + i, piece);
        at += 5 + piece;
    }
    struct seen again;
    run(bytes, at, &again);
    demand(same(whole, &again) || n > len + 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seen last, now;
    uint32_t n = size < 2 * CLIENTHELLO_MAX ? (uint32_t)size : 2 * CLIENTHELLO_MAX;
    last.status = CLIENTHELLO_MORE;
    for (uint32_t i = 0; i <= n; i = i < STEPS || i == n ? i + 1 : n) {
        run(data, i, &now);
        demand(last.status == CLIENTHELLO_MORE || same(&last, &now));
        last = now;
    }
    in_small_records(data, n, &last);
    return 0;
}
