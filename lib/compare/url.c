/* Fields that hold one URL (RFC 9110 sections 8.7 and 10.2.2), taken apart: what is before the
 * query is the value of the field, parameters of the query have paths of their own, so that a
 * random one is noise and the others are not.
 *
 *   location: https://a.example/login?state=x1&next=/cart#top
 *     header.location          https://a.example/login
 *     header.location.?state   x1
 *     header.location.?next    /cart
 *     header.location.#        top */
#include "lib/compare/compare_int.h"

bool url_is_field(struct str name)
{
    return str_eq(name, STR("location")) || str_eq(name, STR("content-location"));
}

static struct str query_of(struct str url)
{
    struct str whole = str_of(url.p, str_find(url, '#'));
    size_t mark = str_find(whole, '?');
    return mark < whole.n ? str_from(whole, mark + 1) : str_of(NULL, 0);
}

/* With its "#", which an empty one has too. */
static struct str fragment_of(struct str url)
{
    return str_from(url, str_find(url, '#'));
}

static struct path_mark push_parameter(struct differ *d, struct str name)
{
    return differ_push_marked(d, STR("?"), name);
}

/* One that has too many parameters is a value. */
static void query_compare(struct differ *d, struct str a, struct str b)
{
    static const struct pair_rules rules = {push_parameter, pairs_add};
    struct pair *pa, *pb;
    size_t na, nb;
    if (form_pairs(d, a, &pa, &na) && form_pairs(d, b, &pb, &nb)) {
        pairs_compare(d, &rules, pa, na, pb, nb);
    } else if (!d->failed && !str_eq(a, b)) {
        struct path_mark m = differ_push(d, STR(".?"));
        differ_add(d, DIFF_VALUE, !shape_same_text(a, b), a, b);
        differ_pop(d, m);
    }
}

static void fragment_compare(struct differ *d, struct str a, struct str b)
{
    if (str_eq(a, b))
        return;
    struct path_mark m = differ_push(d, STR(".#"));
    struct str x = str_from(a, a.n > 0), y = str_from(b, b.n > 0);
    if (a.n && b.n)
        differ_add(d, DIFF_VALUE, !shape_same_text(x, y), x, y);
    else
        differ_add(d, a.n ? DIFF_MISSING : DIFF_EXTRA, true, x, y);
    differ_pop(d, m);
}

void url_compare(struct differ *d, struct str a, struct str b)
{
    query_compare(d, query_of(a), query_of(b));
    fragment_compare(d, fragment_of(a), fragment_of(b));
}
