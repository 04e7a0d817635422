#include "lib/graph/sha.h"

#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>

struct sha {
    EVP_MD *md;
    EVP_MD_CTX *ctx;
    bool failed;
};

struct sha *sha_new(void)
{
    struct sha *s = mem_zalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    s->ctx = EVP_MD_CTX_new();
    if (!s->md || !s->ctx || !EVP_DigestInit_ex2(s->ctx, s->md, NULL)) {
        sha_free(s);
        return NULL;
    }
    return s;
}

void sha_free(struct sha *s)
{
    if (!s)
        return;
    EVP_MD_CTX_free(s->ctx);
    EVP_MD_free(s->md);
    mem_free(s);
}

void sha_start(struct sha *s)
{
    s->failed = !EVP_DigestInit_ex2(s->ctx, NULL, NULL);
}

void sha_update(struct sha *s, const void *p, size_t n)
{
    if (n && !s->failed)
        s->failed = !EVP_DigestUpdate(s->ctx, p, n);
}

void sha_u64(struct sha *s, uint64_t v)
{
    unsigned char b[8];
    bytes_put_le64(b, v);
    sha_update(s, b, sizeof(b));
}

void sha_str(struct sha *s, struct str v)
{
    sha_u64(s, v.n);
    sha_update(s, v.p, v.n);
}

int sha_finish(struct sha *s, unsigned char out[SHA_SIZE])
{
    unsigned char hash[SHA_SIZE];
    if (s->failed || !EVP_DigestFinal_ex(s->ctx, hash, NULL))
        return -ENOMEM;
    memcpy(out, hash, sizeof(hash));
    return 0;
}

int sha_of(struct sha *s, const void *p, size_t n, unsigned char out[SHA_SIZE])
{
    sha_start(s);
    sha_update(s, p, n);
    return sha_finish(s, out);
}
