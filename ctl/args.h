/* The command line of offshootctl, taken apart: options before, between and after the words.
 *
 * "--FLAG VALUE", "--FLAG=VALUE", "-H VALUE"; "--" ends the options. Every option but --graph and
 * --header is given once at the most. */
#ifndef OFFSHOOT_CTL_ARGS_H
#define OFFSHOOT_CTL_ARGS_H

#include "lib/base/err.h"
#include <stdbool.h>
#include <stddef.h>

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
    OPT_GATEWAY,
    OPT_CONFIG,
    OPT_CHECK_CONFIG,
    OPT_PRINT_CONFIG,
    OPT_HELP,
    OPT_VERSION,
    OPT_COUNT
};
#define OPTION_BIT(o) (1u << (o))

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
    unsigned given; /* OPTION_BIT of every option that was there */
    const char *value[OPT_COUNT];
    struct values graph, header, words;
};

static inline bool args_have(const struct args *a, enum option o)
{
    return (a->given & OPTION_BIT(o)) != 0;
}

/* 0, -EINVAL with e (unknown options with the nearest one), or -ENOMEM. Release in any case. */
int args_parse(struct args *a, int argc, char **argv, struct err *e);
void args_release(struct args *a);

#endif
