#include "ctl/conf.h"
#include <errno.h>

static const struct conf_key keys[] = {
    {"graph", "graph", "PATH", CONF_LIST, offsetof(struct ctl_conf, graph), NULL, 0, 0, NULL,
        "Graph files, or folders whose *.yaml, *.yml and *.json are read."},
    {"socket", "socket", "PATH", CONF_TEXT, offsetof(struct ctl_conf, socket), NULL, 0, 0, NULL,
        "The admin socket of a running proxy or agent. Where both are said, this is asked."},
};

int ctl_conf_init(struct ctl_conf *c, const struct args *a, struct err *e)
{
    *c = (struct ctl_conf){0};
    c->conf = conf_new(keys, sizeof(keys) / sizeof(keys[0]), c, e);
    if (!c->conf)
        return e && e->code ? e->code : err_set(e, -ENOMEM, "out of memory");
    return args_have(a, OPT_CONFIG) ? conf_read_file(c->conf, a->value[OPT_CONFIG], e) : 0;
}

int ctl_conf_override(struct ctl_conf *c, const struct args *a, const char *socket, struct err *e)
{
    int rc = socket ? conf_set(c->conf, "socket", socket, e) : 0;
    for (size_t i = 0; rc == 0 && i < a->graph.n; i++)
        rc = conf_set(c->conf, "graph", a->graph.item[i], e);
    return rc;
}

void ctl_conf_release(struct ctl_conf *c)
{
    conf_free(c->conf);
    *c = (struct ctl_conf){0};
}
