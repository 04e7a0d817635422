/* The configuration file of offshootctl: where to look when neither flag nor variable says so. */
#ifndef OFFSHOOT_CTL_CONF_H
#define OFFSHOOT_CTL_CONF_H

#include "ctl/args.h"
#include "lib/base/conf.h"

struct ctl_conf {
    struct conf *conf; /* owns the texts */
    struct conf_list graph;
    const char *socket;
};

/* Defaults, then the file of --config. 0, or an error with e. Release in any case. */
int ctl_conf_init(struct ctl_conf *c, const struct args *a, struct err *e);
/* Takes over what flags and the environment say, for --print-config. */
int ctl_conf_override(struct ctl_conf *c, const struct args *a, const char *socket, struct err *e);
void ctl_conf_release(struct ctl_conf *c);

#endif
