/* What routes make of paths, against a naive reading of the rules; and where redirects lead.
 *
 * Input: lines. AUTHORITY PATH of the request; PATH of the route; what replaces its prefix ("":
 * nothing); HOST and PATH of a redirect; one byte: 1 https, 2 a scheme, 4 a port. */
#include "lib/base/mem.h"
#include "lib/graph/actions.h"
#include "lib/graph/path.h"
#include "tests/fuzz/fuzz.h"

#define LINE_BYTES 600

static struct str next(struct str *rest, char until)
{
    struct str line = {rest->p, str_find(*rest, until)};
    *rest = line.n < rest->n ? str_from(*rest, line.n + 1) : str_of(rest->p, 0);
    return str_of(line.p, line.n < LINE_BYTES ? line.n : LINE_BYTES);
}

static struct str without_slash(struct str s)
{
    return s.n && s.p[s.n - 1] == '/' ? str_of(s.p, s.n - 1) : s;
}

/* In memory of exactly the size, so that one byte too far is seen. */
static struct str rewritten(const struct route_actions *a, struct str path, size_t size, char **at)
{
    *at = mem_alloc(size + !size);
    demand(*at != NULL);
    return actions_path(a, path, *at, size);
}

static void check_path(const struct route_actions *a, struct str prefix, struct str path)
{
    char normal[LINE_BYTES], *out, *small;
    long n = path_normalise(path, normal);
    struct str bare = {normal, n < 0 ? 0 : (size_t)n};
    if (n < 0 || path.n == 0 || path.p[0] != '/' || !str_starts(bare, prefix) ||
        (bare.n > prefix.n && bare.p[prefix.n] != '/'))
        return; /* no route of this prefix is asked */
    struct str want = str_from(bare, prefix.n), query = path_query(path);
    struct str got = rewritten(a, path, path.n + a->replace_prefix.n + 1, &out);
    struct str first = without_slash(a->replace_prefix);
    demand(got.p && got.n && got.p[0] == '/');
    size_t expected = first.n + want.n + (first.n + want.n == 0) + query.n;
    demand(got.n == expected);
    demand(str_starts(got, first) && str_ends(got, query));
    if (want.n)
        demand(str_eq(str_of(got.p + first.n, want.n), want));
    demand(!rewritten(a, path, got.n - 1, &small).p);
    mem_free(small);
    mem_free(out);
}

static void check_location(
    const struct route_actions *a, bool https, struct str authority, struct str path)
{
    char out[4 * LINE_BYTES];
    struct str to;
    unsigned status = actions_moved(a, false, https, authority, path, &to, out, sizeof out);
    demand(status == a->redirect.status);
    bool nowhere = !authority.n && !a->redirect.host.n;
    if (nowhere && (a->redirect.port || a->redirect.scheme != REDIRECT_SAME_SCHEME))
        demand(!to.p);
    if (!to.p)
        return;
    if (!authority.n && !a->redirect.host.n) {
        demand(to.p[0] == '/' && (to.n == 1 || (to.p[1] != '/' && to.p[1] != '\\')));
        return;
    }
    demand(str_starts(to, STR("https://")) || str_starts(to, STR("http://")));
    size_t scheme = to.p[4] == 's' ? 8 : 7;
    if (a->redirect.host.n)
        demand(str_starts(str_from(to, scheme), a->redirect.host));
    if (!authority.n)
        return;
    demand(actions_moved(a, true, https, authority, path, &to, out, sizeof out) == 308);
    demand(!to.p || str_starts(to, STR("https://")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size};
    struct str authority = next(&rest, ' '), path = next(&rest, '\n');
    struct str route = next(&rest, '\n'), replace = next(&rest, '\n');
    struct str host = next(&rest, ' '), moved = next(&rest, '\n');
    unsigned flags = rest.n ? (unsigned char)rest.p[0] : 0;
    char normal[LINE_BYTES];
    struct route_actions a = actions_none();
    a.redirect = (struct redirect){.status = 302, .host = host, .path = moved};
    a.redirect.scheme = flags & 2 ? REDIRECT_HTTPS : REDIRECT_SAME_SCHEME;
    a.redirect.port = flags & 4 ? 8443 : 0;
    if ((host.n && !host_text_valid(host)) || (moved.n && !sent_path_valid(moved)) ||
        (replace.n && !sent_path_valid(replace)) || !route_path_valid(route))
        return 0; /* what the loader refuses */
    long n = path_normalise(route, normal);
    struct str prefix = without_slash(str_of(normal, (size_t)n));
    a.prefix_len = (uint16_t)prefix.n;
    check_location(&a, flags & 1, authority, path);
    a.strip_prefix = !replace.n;
    a.replace_prefix = replace.n ? replace : (struct str){NULL, 0};
    check_path(&a, prefix, path);
    check_location(&a, flags & 1, authority, path);
    return 0;
}
