/* Command documents by name. A table is replaced as a whole, so that a change that fails later has
 * changed nothing; what both tables have is one block. */
#include "agent/history_int.h"
#include "lib/base/mem.h"
#include <errno.h>

/* Position of the name, or where it would stand. */
static size_t place_of(const struct documents *d, const char *name, bool *ret_found)
{
    size_t from = 0, to = d->n;
    *ret_found = false;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        int c = strcmp(d->list[mid].name, name);
        if (c == 0) {
            *ret_found = true;
            return mid;
        }
        if (c < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

static void free_block(const struct own_document *d)
{
    mem_free((void *)(uintptr_t)d->name);
}

static bool has_block(const struct documents *d, const struct own_document *of)
{
    bool found;
    size_t at = place_of(d, of->name, &found);
    return found && d->list[at].name == of->name;
}

static int make_block(const struct own_document *from, struct own_document *ret)
{
    size_t n = strlen(from->name) + 1;
    char *block = mem_alloc(n + from->yaml.n + 1);
    if (!block)
        return -ENOMEM;
    memcpy(block, from->name, n);
    memcpy(block + n, from->yaml.p, from->yaml.n);
    block[n + from->yaml.n] = '\0';
    *ret = (struct own_document){block, str_of(block + n, from->yaml.n)};
    return 0;
}

static int put(const struct documents *old, struct documents *d, const struct own_document *change)
{
    bool found;
    size_t at = place_of(d, change->name, &found);
    struct own_document made = {0}, was = found ? d->list[at] : made;
    if (change->yaml.n && make_block(change, &made) < 0)
        return -ENOMEM;
    if (made.name && !found) {
        memmove(d->list + at + 1, d->list + at, (d->n - at) * sizeof(*d->list));
        d->n++;
    } else if (!made.name && found) {
        d->n--;
        memmove(d->list + at, d->list + at + 1, (d->n - at) * sizeof(*d->list));
    }
    if (made.name)
        d->list[at] = made;
    if (was.name && !has_block(old, &was)) /* twice among the changes */
        free_block(&was);
    return 0;
}

int docs_merge(const struct documents *old, const struct own_document *changes, size_t n,
    struct documents *ret)
{
    struct documents d = {mem_array(old->n + n + 1, sizeof(*d.list)), old->n};
    if (!d.list)
        return -ENOMEM;
    if (old->n)
        memcpy(d.list, old->list, old->n * sizeof(*d.list));
    for (size_t i = 0; i < n; i++)
        if (put(old, &d, &changes[i]) < 0) {
            docs_settle(old, &d);
            return -ENOMEM;
        }
    *ret = d;
    return 0;
}

void docs_settle(const struct documents *keep, struct documents *other)
{
    for (size_t i = 0; i < other->n; i++)
        if (!has_block(keep, &other->list[i]))
            free_block(&other->list[i]);
    mem_free(other->list);
    *other = (struct documents){0};
}

void docs_release(struct documents *d)
{
    static const struct documents none = {0};
    docs_settle(&none, d);
}
