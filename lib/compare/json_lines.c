/* Bodies of one JSON text a line (NDJSON, JSON Lines): compared as the array of them, so that lines
 * find each other as elements do. Empty lines are none. */
#include "lib/compare/compare_int.h"
#include "lib/compare/json.h"
#include <errno.h>

#define CHUNK (4u << 10)

/* Each line is JSON by itself: "1,2" would else be two elements. pool: for this line only. */
static int check_line(struct pool *pool, const struct compare_limits *l, struct str line)
{
    struct json j;
    pool_clear(pool);
    return json_read(&j, pool, line, l->depth, l->nodes);
}

/* "[line,line]" in memory of the differ's pool. */
static int array_of(struct differ *d, struct pool *scratch, struct str body, struct str *ret)
{
    char *p = pool_alloc(d->pool, body.n + 3);
    size_t n = 0;
    int rc = p ? 0 : -ENOMEM;
    while (rc == 0 && body.n) {
        size_t end = str_find(body, '\n');
        struct str line = str_trim(str_of(body.p, end));
        body = str_from(body, end < body.n ? end + 1 : end);
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (line.n == 0)
            continue;
        rc = check_line(scratch, &d->rules->limits, line);
        p[n] = n ? ',' : '[';
        memcpy(p + n + 1, line.p, line.n);
        n += 1 + line.n;
    }
    if (rc)
        return rc;
    if (n == 0)
        p[n++] = '[';
    p[n++] = ']';
    *ret = str_of(p, n);
    return 0;
}

int json_lines_compare(struct differ *d, struct str a, struct str b)
{
    struct str x, y;
    struct pool *scratch = pool_new(CHUNK);
    int rc = scratch ? array_of(d, scratch, a, &x) : -ENOMEM;
    rc = rc ? rc : array_of(d, scratch, b, &y);
    pool_free(scratch);
    if (rc == 0) {
        struct path_mark m = differ_push(d, STR(".lines"));
        rc = json_compare(d, x, y);
        differ_pop(d, m);
    }
    if (rc == -ENOMEM)
        d->failed = rc;
    return rc;
}
