/* Forms, by the names of their fields: body.form.NAME. */
#include "lib/compare/compare_int.h"
#include "lib/compare/media.h"
#include <errno.h>

static const struct pair_rules rules = {differ_push_key, pairs_add};

static void compare(struct differ *d, struct pair *a, size_t na, struct pair *b, size_t nb)
{
    struct path_mark m = differ_push(d, STR(".form"));
    pairs_compare(d, &rules, a, na, b, nb);
    differ_pop(d, m);
}

bool form_pairs(struct differ *d, struct str body, struct pair **ret, size_t *ret_n)
{
    size_t room = 1, n = 0;
    bool sign;
    for (size_t i = 0; i < body.n; i++)
        room += body.p[i] == '&';
    if (room > d->rules->limits.nodes)
        return false;
    char *bytes = pool_alloc(d->pool, body.n);
    struct pair *p = pool_alloc(d->pool, room * sizeof(*p));
    if (!bytes || !p) {
        d->failed = -ENOMEM;
        return false;
    }
    struct str name, value;
    for (size_t i = 0; form_next(&body, &name, &value, &sign); i++) {
        if (name.n == 0 && value.n == 0)
            continue;
        name = form_decode(name, bytes);
        bytes += name.n;
        value = form_decode(value, bytes);
        bytes += value.n;
        p[n++] = (struct pair){name, value, i};
    }
    *ret = p;
    *ret_n = n;
    return true;
}

bool form_compare(struct differ *d, struct str a, struct str b)
{
    struct pair *pa, *pb;
    size_t na, nb;
    if (!form_pairs(d, a, &pa, &na) || !form_pairs(d, b, &pb, &nb))
        return false;
    compare(d, pa, na, pb, nb);
    return true;
}

static bool read_parts(
    struct differ *d, struct str type, struct str body, struct pair **ret, size_t *ret_n)
{
    struct multipart m, again;
    struct part part;
    size_t n = 0, i = 0;
    int rc;
    if (!multipart_start(&m, type, body))
        return false;
    again = m;
    while ((rc = multipart_next(&m, &part)) == 1 && n <= d->rules->limits.nodes)
        n++;
    if (rc != 0)
        return false;
    struct pair *p = pool_alloc(d->pool, (n + 1) * sizeof(*p));
    if (!p) {
        d->failed = -ENOMEM;
        return false;
    }
    for (; multipart_next(&again, &part) == 1; i++)
        p[i] = (struct pair){part.name, part.body, i};
    *ret = p;
    *ret_n = n;
    return true;
}

bool multipart_compare(
    struct differ *d, struct str type_a, struct str type_b, struct str a, struct str b)
{
    struct pair *pa, *pb;
    size_t na, nb;
    if (!read_parts(d, type_a, a, &pa, &na) || !read_parts(d, type_b, b, &pb, &nb))
        return false;
    compare(d, pa, na, pb, nb);
    return true;
}
