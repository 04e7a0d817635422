/* Graph files without a proxy: read, loaded, checked, compiled. */
#ifndef OFFSHOOT_CTL_OFFLINE_H
#define OFFSHOOT_CTL_OFFLINE_H

#include "ctl/command.h"
#include "lib/base/counters.h"
#include "lib/graph/findings.h"
#include "lib/graph/model.h"
#include "lib/graph/snapshot.h"

struct files;
struct loader;

struct offline {
    struct files *files;
    struct loader *loader;
    const char **names; /* of the files; one at least */
    struct findings findings;
    const struct model *model;
    struct snapshot *snapshot; /* NULL until offline_compile */
};

/* Reads and checks. 0; -EINVAL when the graph is not valid (findings say why, e is not filled);
 * other errors with e. Release in any case. */
int offline_check(struct offline *o, const struct values *paths, struct err *e);
/* After offline_check gave 0: compiles as epoch 0. */
int offline_compile(struct offline *o, struct err *e);
void offline_release(struct offline *o);

/* Both steps for a command. STATUS_YES, or STATUS_ERROR: findings are printed (on standard output
 * as JSON when that was asked for, else on standard error) and e is filled. */
enum status offline_open(struct offline *o, const struct values *paths, bool json, struct err *e);
/* The findings as they were asked for. */
void offline_findings(const struct offline *o, bool json, struct text *out);

/* The instant of --now, else the clock's. -EINVAL with e when it is no time. */
int offline_now(const struct args *a, int64_t *ret, struct err *e);

#endif
