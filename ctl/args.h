/* The command line of offshootctl, taken apart: options before, between and after the words.
 *
 * "--FLAG VALUE", "--FLAG=VALUE", "-H VALUE"; "--" ends the options. An option is given once at the
 * most, unless args_list gives a list for it. */
#ifndef OFFSHOOT_CTL_ARGS_H
#define OFFSHOOT_CTL_ARGS_H

#include "lib/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option {
    OPT_GRAPH,
    OPT_SOCKET,
    OPT_JSON,
    OPT_NOW,
    OPT_BATCH,
    OPT_HOST,
    OPT_PATH,
    OPT_HEADER,
    OPT_TRUSTED,
    OPT_SUBJECT,
    OPT_GATEWAY,
    OPT_AT,
    OPT_FROM,
    OPT_TO,
    OPT_PARENT,
    OPT_SET,
    OPT_USE,
    OPT_REMOVE,
    OPT_DROP,
    OPT_FOR,
    OPT_PUBLIC,
    OPT_TOKEN,
    OPT_STRICT,
    OPT_OWNER,
    OPT_REASON,
    OPT_WHILE_HELD,
    OPT_WAIT,
    OPT_TIMEOUT,
    OPT_LIMIT,
    OPT_BEHIND,
    OPT_LIVE,
    OPT_ENV,
    OPT_SERVICE,
    OPT_STATE,
    OPT_OLDER,
    OPT_SIDE,
    OPT_WHEN,
    OPT_FORMAT,
    OPT_ONCE,
    OPT_INTERVAL,
    OPT_KEYS,
    OPT_TRUST_DOMAIN,
    OPT_EXPLAIN,
    OPT_URL,
    OPT_PARAM,
    OPT_PAIRS,
    OPT_CANDIDATE_ONLY,
    OPT_SECONDARY_ONLY,
    OPT_EPSILON,
    OPT_SLOT,
    OPT_IGNORE,
    OPT_TYPE,
    OPT_GRPC_METHOD,
    OPT_DESCRIPTORS,
    OPT_NO_REDACT,
    OPT_BASELINE,
    OPT_CANDIDATE,
    OPT_SECONDARY,
    OPT_RATE,
    OPT_SAMPLES,
    OPT_CREDENTIALS,
    OPT_REDACT,
    OPT_REDACT_OFF,
    OPT_THROUGH,
    OPT_UNTIL,
    OPT_JUNIT,
    OPT_OUTPUT,
    OPT_UNSAFE,
    OPT_CONFIG,
    OPT_CHECK_CONFIG,
    OPT_PRINT_CONFIG,
    OPT_HELP,
    OPT_VERSION,
    OPT_COUNT
};
typedef unsigned __int128 option_set; /* bits of enum option */
#define OPTION_BIT(o) ((option_set)1 << (o))

struct option_desc {
    const char *flag; /* without "--" */
    const char *arg;  /* what it takes, NULL: nothing */
    char letter;      /* "-H", 0: none */
    const char *help; /* one sentence */
};
extern const struct option_desc options[OPT_COUNT];

/* Values given once or often. All texts belong to argv, or to the configuration file. */
struct values {
    const char **item;
    size_t n;
};

struct args {
    option_set given; /* OPTION_BIT of every option that was there */
    const char *value[OPT_COUNT];
    struct values words, graph, header, parent, set, use, remove, drop, when, ignore, service, path,
        redact;
    const char **room; /* of all the lists */
};

static inline bool args_have(const struct args *a, enum option o)
{
    return (a->given & OPTION_BIT(o)) != 0;
}

/* What an option says, *ret as it is where it is not given: a number above 0; a duration in
 * milliseconds. 0, or -EINVAL with e. */
int args_number(const struct args *a, enum option o, uint64_t *ret, struct err *e);
int args_duration(const struct args *a, enum option o, uint64_t *ret_ms, struct err *e);

/* The list of an option that may be repeated; NULL for one that is given once. */
struct values *args_list(struct args *a, enum option o);

/* 0, -EINVAL with e (unknown options with the nearest one), or -ENOMEM. Release in any case. */
int args_parse(struct args *a, int argc, char **argv, struct err *e);
void args_release(struct args *a);

#endif
