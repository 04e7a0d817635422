/* The commands of `shadow`: does a candidate behave like its baseline? */
#include "ctl/command.h"

#define BIT(o) OPTION_BIT(OPT_##o)

const struct command shadow_commands[] = {
    {"shadow compare", "A B",
        "In which fields two saved replies differ: files as curl -i has them.",
        "0 in none; 2 in some", 2, 2,
        BIT(JSON) | BIT(IGNORE) | BIT(TYPE) | BIT(GRPC_METHOD) | BIT(DESCRIPTORS) | BIT(NO_REDACT) |
            COMMAND_ALONE,
        0, shadow_compare_command, NULL},
    {"shadow evidence", "--pairs N --candidate-only N --secondary-only N",
        "What counted pairs say: evidence, verdict, and how many pairs are still needed.",
        "0 calculated", 0, 0,
        BIT(JSON) | BIT(PAIRS) | BIT(CANDIDATE_ONLY) | BIT(SECONDARY_ONLY) | BIT(EPSILON) |
            BIT(SLOT) | COMMAND_ALONE,
        0, shadow_evidence_command, NULL},
    {.name = NULL},
};
