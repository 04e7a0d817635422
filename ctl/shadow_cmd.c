/* The commands of `shadow`: does a candidate behave like its baseline? */
#include "ctl/command.h"

const struct command shadow_commands[] = {
    {.name = NULL},
};
