/* The commands of `shadow`: does a candidate behave like its baseline? */
#include "ctl/command.h"

#define BIT(o) OPTION_BIT(OPT_##o)

#define SESSION_DONE "0 done; 2 refused; 3 there is no such session"

const struct command shadow_commands[] = {
    {"shadow start", "NAME --baseline ENVIRONMENT --candidate ENVIRONMENT",
        "Begin to compare a candidate with its baseline on live traffic.",
        "0 begun; 2 refused, or with --wait: the context was not proved", 1, 1,
        BIT(JSON) | BIT(BASELINE) | BIT(CANDIDATE) | BIT(SERVICE) | BIT(PATH) | BIT(RATE) |
            BIT(SAMPLES) | BIT(FOR) | BIT(EPSILON) | BIT(SECONDARY) | BIT(CREDENTIALS) |
            BIT(STRICT) | BIT(DESCRIPTORS) | BIT(IGNORE) | BIT(REDACT) | BIT(REDACT_OFF) |
            BIT(HEADER) | BIT(THROUGH) | BIT(UNTIL) | BIT(REASON) | BIT(WAIT) | BIT(TIMEOUT),
        0, NULL, live_shadow_start},
    {"shadow stop", "NAME", "End a session: what it has found stays.", SESSION_DONE, 1, 1,
        BIT(JSON) | BIT(REASON), 0, NULL, live_shadow_stop},
    {"shadow restart", "NAME", "Begin to count anew: for changes that the graph cannot see.",
        SESSION_DONE, 1, 1, BIT(JSON) | BIT(REASON), 0, NULL, live_shadow_restart},
    {"shadow list", "", "All sessions of an agent, in a line each.", "0", 0, 0, BIT(JSON), 0, NULL,
        live_shadow_list},
    {"shadow show", "NAME", "All that a session has found, the worst first.",
        "0; 3 there is no such session", 1, 1, BIT(JSON) | BIT(LIMIT), 0, NULL, live_shadow_show},
    {"shadow verdict", "NAME", "Does the candidate behave like its baseline? For people and CI.",
        "0 pass; 1 fail; 2 inconclusive; 3 there is no such session", 1, 1,
        BIT(JSON) | BIT(WAIT) | BIT(TIMEOUT) | BIT(JUNIT) | COMMAND_GATE, 0, NULL,
        live_shadow_verdict},
    {"shadow report", "NAME --output FILE",
        "All of a session as one HTML file that needs no network.",
        "0 written; 3 there is no such session", 1, 1, BIT(OUTPUT) | BIT(LIMIT), 0, NULL,
        live_shadow_report},
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
    {"shadow replay", "JOURNAL --candidate ENVIRONMENT --through ADDRESS",
        "Send the recorded requests of a session again, and compare with the recorded replies.",
        "0 all are as recorded; 2 some differ; 3 there is no journal", 1, 1,
        BIT(JSON) | BIT(CANDIDATE) | BIT(THROUGH) | BIT(RATE) | BIT(LIMIT) | BIT(HEADER) |
            BIT(IGNORE) | BIT(DESCRIPTORS) | BIT(UNSAFE) | BIT(KEYS) | BIT(TRUST_DOMAIN) |
            COMMAND_ALONE,
        0, shadow_replay_command, NULL},
    {.name = NULL},
};
