#include "lib/compare/compare.h"
#include "lib/compare/compare_int.h"
#include <errno.h>
#include <stdio.h>

static void status_compare(struct differ *d, const struct reply *a, const struct reply *b)
{
    char x[16], y[16];
    if (a->status == b->status)
        return;
    snprintf(x, sizeof(x), "%u", (unsigned)a->status);
    snprintf(y, sizeof(y), "%u", (unsigned)b->status);
    struct path_mark m = differ_push(d, STR("status"));
    differ_add(d, DIFF_VALUE, true, str_c(x), str_c(y));
    differ_pop(d, m);
}

int replies_compare(const struct reply *a, const struct reply *b, const struct compare_rules *rules,
    struct differences *ret)
{
    struct differ d;
    if (differ_init(&d, rules))
        return -ENOMEM;
    status_compare(&d, a, b);
    body_open(&d, a, b); /* whether codings were undone decides which headers are compared */
    headers_compare(&d, a, b);
    body_compare(&d);
    if (d.failed) {
        differ_release(&d);
        return -ENOMEM;
    }
    text_release(&d.scratch);
    *ret = (struct differences){.item = d.item, .n = d.n, .cut = d.cut, .memory = d.pool};
    return 0;
}

void differences_release(struct differences *d)
{
    pool_free(d->memory);
    *d = (struct differences){0};
}
