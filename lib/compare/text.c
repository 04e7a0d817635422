/* Bodies that have no fields: as one text, or as bytes of which only length and digest are told. */
#include "lib/base/parse.h"
#include "lib/compare/compare_int.h"
#include "lib/compare/redact_int.h"
#include "lib/graph/sha.h"
#include <errno.h>
#include <stdio.h>

#define BEFORE 40 /* bytes that are shown before the first difference */

static size_t common(struct str a, struct str b)
{
    size_t n = 0;
    while (n < a.n && n < b.n && a.p[n] == b.p[n])
        n++;
    return n;
}

/* From shortly before the first difference on. */
static struct str excerpt(struct str s, size_t first)
{
    if (first <= COMPARE_TEXT_MAX / 2 || first > s.n)
        return s;
    size_t from = first - BEFORE;
    while (from > 0 && ((unsigned char)s.p[from] & 0xc0) == 0x80)
        from--;
    return str_from(s, from);
}

static void show_texts(struct differ *d, struct difference *x, struct str a, struct str b)
{
    struct text ta = {0}, tb = {0};
    redact_text(d->rules->redact, a, &ta);
    redact_text(d->rules->redact, b, &tb);
    if (ta.failed || tb.failed) {
        d->failed = -ENOMEM;
    } else {
        struct str ra = {ta.p, ta.n}, rb = {tb.p, tb.n};
        size_t first = common(ra, rb);
        x->a = differ_shown(d, excerpt(ra, first));
        x->b = differ_shown(d, excerpt(rb, first));
    }
    text_release(&ta);
    text_release(&tb);
}

void text_compare(struct differ *d, struct str a, struct str b)
{
    if (utf8_check(a) != a.n || utf8_check(b) != b.n) {
        bytes_compare(d, a, b);
        return;
    }
    if (str_eq(a, b))
        return;
    struct path_mark m = differ_push(d, STR(".text"));
    struct difference *x = differ_new(d, DIFF_VALUE, !shape_same_text(a, b));
    if (x)
        show_texts(d, x, a, b);
    differ_pop(d, m);
}

static struct str digest_text(struct differ *d, struct sha *sha, struct str s)
{
    unsigned char digest[SHA_SIZE];
    char hex[2 * 8 + 1];
    if (sha_of(sha, s.p, s.n, digest))
        d->failed = -ENOMEM;
    else
        for (size_t i = 0; i < 8; i++)
            snprintf(hex + 2 * i, 3, "%02x", (unsigned)digest[i]);
    struct str ret = {NULL, 0};
    if (!d->failed)
        ret = pool_fmt(d->pool, "%zu bytes, sha256 %s...", s.n, hex);
    if (!ret.p)
        d->failed = -ENOMEM;
    return ret;
}

static void show_digests(struct differ *d, struct difference *x, struct str a, struct str b)
{
    struct sha *sha = sha_new();
    if (sha) {
        x->a = digest_text(d, sha, a);
        x->b = digest_text(d, sha, b);
    } else {
        d->failed = -ENOMEM;
    }
    sha_free(sha);
}

void bytes_compare(struct differ *d, struct str a, struct str b)
{
    if (str_eq(a, b))
        return;
    struct path_mark m = differ_push(d, STR(".bytes"));
    if (a.n != b.n)
        differ_add_numbers(d, DIFF_LENGTH, a.n, b.n);
    struct difference *x = differ_new(d, DIFF_VALUE, !shape_same_length(a.n, b.n));
    if (x)
        show_digests(d, x, a, b);
    differ_pop(d, m);
}
