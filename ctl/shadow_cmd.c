/* The commands of `shadow`: does a candidate behave like its baseline? */
#include "ctl/command.h"

#define BIT(o) OPTION_BIT(OPT_##o)

const struct command shadow_commands[] = {
    {"shadow evidence", "--pairs N --candidate-only N --secondary-only N",
        "What counted pairs say: evidence, verdict, and how many pairs are still needed.",
        "0 calculated", 0, 0,
        BIT(JSON) | BIT(PAIRS) | BIT(CANDIDATE_ONLY) | BIT(SECONDARY_ONLY) | BIT(EPSILON) |
            BIT(SLOT) | COMMAND_ALONE,
        0, shadow_evidence_command, NULL},
    {.name = NULL},
};
