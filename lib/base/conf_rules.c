#include "lib/base/conf_rules.h"
#include "lib/base/mem.h"
#include <errno.h>

int conf_rules(const struct conf *c, const struct conf_list *allow,
    const struct conf_list *unix_dirs, struct endpoint_rules *ret, struct err *e)
{
    struct cidr *blocks = mem_array(allow->n + 1, sizeof *blocks);
    struct str *dirs = mem_array(unix_dirs->n + 1, sizeof *dirs);
    ret->allow = blocks;
    ret->unix_dirs = dirs;
    if (!blocks || !dirs)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < allow->n; i++)
        if (cidr_parse(str_c(allow->item[i]), &blocks[i], e) != 0)
            return err_prefix(e, "%s: endpoints.allow", conf_origin(c, "endpoints.allow"));
    for (size_t i = 0; i < unix_dirs->n; i++) {
        dirs[i] = str_c(unix_dirs->item[i]);
        if (dirs[i].n == 0 || dirs[i].p[0] != '/')
            return err_set(e, -EINVAL, "%s: endpoints.unix: not an absolute folder '%s'",
                conf_origin(c, "endpoints.unix"), unix_dirs->item[i]);
    }
    ret->n_allow = allow->n;
    ret->n_unix_dirs = unix_dirs->n;
    return 0;
}

void conf_rules_release(struct endpoint_rules *r)
{
    mem_free((void *)(uintptr_t)r->allow);
    mem_free((void *)(uintptr_t)r->unix_dirs);
    *r = (struct endpoint_rules){0};
}
