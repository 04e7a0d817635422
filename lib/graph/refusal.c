/* The words and statuses of classes and refusals: one table each. */
#include "lib/graph/snapshot.h"

static const char *const class_words[] = {
    [CLASS_NONE] = "",
    [CLASS_LOCAL] = "local",
    [CLASS_EXPLICIT] = "explicit",
    [CLASS_ANCESTOR] = "ancestor",
    [CLASS_BASELINE] = "baseline",
    [CLASS_SHARED] = "shared",
};

static const struct {
    const char *word;
    uint16_t http;
    uint8_t grpc;
} refusals[REFUSAL_COUNT] = {
    [REFUSAL_NONE] = {"", 0, 0},
    [REFUSAL_NO_ENVIRONMENT] = {"no-environment", 404, 9},
    [REFUSAL_UNKNOWN_ENVIRONMENT] = {"unknown-environment", 404, 9},
    [REFUSAL_EXPIRED] = {"expired", 410, 9},
    [REFUSAL_NO_ROUTE] = {"no-route", 404, 12},
    [REFUSAL_NO_SERVICE] = {"no-service", 404, 12},
    [REFUSAL_REMOVED] = {"removed", 404, 9},
    [REFUSAL_NO_PROVIDER] = {"no-provider", 503, 9},
    [REFUSAL_FORBIDDEN] = {"forbidden", 403, 7},
    [REFUSAL_CONTEXT] = {"context", 400, 3},
    [REFUSAL_EPOCH] = {"epoch", 503, 14},
    [REFUSAL_RESIDENCY] = {"residency", 451, 7},
    [REFUSAL_UNHEALTHY] = {"unhealthy", 503, 14},
    [REFUSAL_CONNECT] = {"connect", 502, 14},
    [REFUSAL_BAD_REPLY] = {"bad-reply", 502, 13},
    [REFUSAL_TIMEOUT] = {"timeout", 504, 4},
    [REFUSAL_OVERLOAD] = {"overload", 503, 8},
    [REFUSAL_TOO_LARGE] = {"too-large", 413, 8},
    [REFUSAL_LOOP] = {"loop", 508, 9},
    [REFUSAL_DARK_BLOCKED] = {"dark-blocked", 409, 9},
    [REFUSAL_BAD_REQUEST] = {"bad-request", 400, 3},
    [REFUSAL_REQUEST_TIMEOUT] = {"request-timeout", 408, 4},
    [REFUSAL_UNSUPPORTED] = {"unsupported", 501, 12},
    [REFUSAL_EXPECTATION] = {"expectation", 417, 3},
    [REFUSAL_RATE_LIMITED] = {"rate-limited", 429, 8},
};

const char *decision_class_word(enum decision_class c)
{
    return (unsigned)c < sizeof(class_words) / sizeof(*class_words) ? class_words[c] : "";
}

const char *refusal_word(enum refusal r)
{
    return (unsigned)r < REFUSAL_COUNT ? refusals[r].word : "";
}

unsigned refusal_status(enum refusal r)
{
    return (unsigned)r < REFUSAL_COUNT ? refusals[r].http : 0;
}

unsigned refusal_grpc(enum refusal r)
{
    return (unsigned)r < REFUSAL_COUNT ? refusals[r].grpc : 0;
}
