#include "lib/graph/diff_fields.h"
#include "lib/graph/pb.h"
#include <inttypes.h>

/* What one field of a nested message is called; its values when it is an enumeration. */
struct part {
    const char *name; /* NULL: not shown. "": the value alone */
    const char *const *words;
    const struct message *inner;
    uint8_t nwords;
};

struct message {
    const struct part *parts; /* by number, from 1 */
    uint32_t n;               /* numbers are below it */
    const char *empty;        /* shown when there is nothing in it; NULL: nothing is */
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define MESSAGE(parts_)                                                                            \
    {                                                                                              \
        parts_, COUNT(parts_), NULL                                                                \
    }
#define SWITCH(parts_)                                                                             \
    {                                                                                              \
        parts_, COUNT(parts_), "on"                                                                \
    }
#define WORDS(words_) words_, NULL, COUNT(words_)

static const char *const balance_words[] = {"round-robin", "least-request", "consistent-hash"};
static const char *const selector_words[] = {
    "host", "header", "baggage", "tracestate", "cookie", "query"};
static const char *const forward_words[] = {"", "forward"};
static const char *const affinity_words[] = {"none", "context", "source", "cookie"};
static const char *const health_words[] = {"http", "tcp", "grpc"};
static const char *const scheme_words[] = {"same", "http", "https"};
static const char *const yes_words[] = {"no", "yes"};

static const struct part label_parts[] = {{0}, {"", NULL, NULL, 0}, {"= ", NULL, NULL, 0}};
const struct message label_message = MESSAGE(label_parts);

static const struct part affinity_parts[] = {{0}, {"", WORDS(affinity_words)}, {"", NULL, NULL, 0}};
static const struct message affinity_message = MESSAGE(affinity_parts);

static const struct part ejection_parts[] = {{0}, {"consecutiveFailures ", NULL, NULL, 0},
    {"time ms ", NULL, NULL, 0}, {"maxEjected % ", NULL, NULL, 0}};
static const struct message ejection_message = SWITCH(ejection_parts);

static const struct part health_parts[] = {{0}, {"kind ", WORDS(health_words)},
    {"service ", NULL, NULL, 0}, {"timeout ms ", NULL, NULL, 0}, {"healthyAfter ", NULL, NULL, 0},
    {"unhealthyAfter ", NULL, NULL, 0}, {"status from ", NULL, NULL, 0},
    {"status to ", NULL, NULL, 0}};
static const struct message health_message = MESSAGE(health_parts);

static const struct part policy_parts[] = {{0}, {"balance ", WORDS(balance_words)},
    {"timeout ms ", NULL, NULL, 0}, {"connectTimeout ms ", NULL, NULL, 0},
    {"retries max ", NULL, NULL, 0}, {"retries budget % ", NULL, NULL, 0},
    {"health interval ms ", NULL, NULL, 0}, {"health path ", NULL, NULL, 0},
    {"hash ", NULL, &affinity_message, 0}, {"idleTimeout ms ", NULL, NULL, 0},
    {"retries perTryTimeout ms ", NULL, NULL, 0}, {"maxConnections ", NULL, NULL, 0},
    {"maxPending ", NULL, NULL, 0}, {"maxRequests ", NULL, NULL, 0},
    {"slowStart ms ", NULL, NULL, 0}, {"ejection ", NULL, &ejection_message, 0},
    {"health ", NULL, &health_message, 0}};
static const struct message policy_message = MESSAGE(policy_parts);

static const struct part tls_parts[] = {
    {0}, {"name ", NULL, NULL, 0}, {"ca ", NULL, NULL, 0}, {"insecure ", WORDS(yes_words)}};
static const struct message tls_message = SWITCH(tls_parts);

static const struct part selector_parts[] = {
    {0}, {"", WORDS(selector_words)}, {"", WORDS(forward_words)}, {"", NULL, NULL, 0}};
static const struct message selector_message = MESSAGE(selector_parts);

static const struct part edits_parts[] = {
    {0}, {"set ", NULL, &label_message, 0}, {"remove ", NULL, NULL, 0}};
static const struct message edits_message = MESSAGE(edits_parts);

static const struct part redirect_parts[] = {{0}, {"", NULL, NULL, 0}, {"location ", NULL, NULL, 0},
    {"scheme ", WORDS(scheme_words)}, {"host ", NULL, NULL, 0}, {"port ", NULL, NULL, 0},
    {"path ", NULL, NULL, 0}};
static const struct message redirect_message = MESSAGE(redirect_parts);

static const struct part action_parts[] = {{0}, {"stripPrefix ", WORDS(yes_words)},
    {"replacePrefix ", NULL, NULL, 0}, {"rewriteHost ", NULL, NULL, 0},
    {"requestHeaders ", NULL, &edits_message, 0}, {"replyHeaders ", NULL, &edits_message, 0},
    {"maxBody ", NULL, NULL, 0}, {"timeout ms ", NULL, NULL, 0}, {"idleTimeout ms ", NULL, NULL, 0},
    {"affinity ", NULL, &affinity_message, 0}, {"redirect ", NULL, &redirect_message, 0},
    {"no upgrade ", WORDS(yes_words)}, {"requireHttps ", WORDS(yes_words)}};
static const struct message action_message = MESSAGE(action_parts);

static const struct part route_parts[] = {{0}, {"", NULL, NULL, 0}, {"", NULL, NULL, 0},
    {"-> ", NULL, NULL, 0}, {"", NULL, &action_message, 0}};
static const struct message route_message = MESSAGE(route_parts);

static const struct part limit_parts[] = {{0}, {"requestsPerSecond ", NULL, NULL, 0},
    {"burst ", NULL, NULL, 0}, {"at a time ", NULL, NULL, 0}};
static const struct message limit_message = MESSAGE(limit_parts);
static const struct part limits_parts[] = {
    {0}, {"perSource ", NULL, &limit_message, 0}, {"perEnvironment ", NULL, &limit_message, 0}};
static const struct message limits_message = MESSAGE(limits_parts);

/* ---- rows ---- */

static const char *const protocol_words[] = {"http", "grpc", "tcp"};
static const char *const propagates_words[] = {"unknown", "true", "false"};
static const char *const state_words[] = {"shared", "isolated", "none"};
static const char *const shadow_words[] = {"deny", "safe"};
static const char *const bool_words[] = {"false", "true"};
static const char *const overlay_words[] = {"token", "public"};
static const char *const provider_words[] = {"as the protocol", "http1", "http2"};

const struct number_row service_fields[] = {
    {"port", 2, NULL, NULL},
    {"protocol", 3, NULL, protocol_words},
    {"propagates", 4, NULL, propagates_words},
    {"state", 5, NULL, state_words},
    {"shadow", 6, NULL, shadow_words},
    {"pinned", 7, NULL, bool_words},
    {"hosts", 8, NULL, NULL},
    {"dependsOn", 9, NULL, NULL},
    {"policy", 10, &policy_message, NULL},
    {"providerProtocol", 11, NULL, provider_words},
    {"tls", 12, &tls_message, NULL},
    {NULL, 0, NULL, NULL},
};
const struct number_row gateway_fields[] = {
    {"defaultEnvironment", 2, NULL, NULL},
    {"pinHosts", 3, NULL, NULL},
    {"select", 4, &selector_message, NULL},
    {"routes", 5, &route_message, NULL},
    {"overlayAccess", 6, NULL, overlay_words},
    {"limits", 7, &limits_message, NULL},
    {NULL, 0, NULL, NULL},
};

/* ---- text ---- */

static void message_text(struct text *out, struct str bytes, const struct message *m);

static void part_text(struct text *out, const struct pb_field *f, const struct part *p)
{
    text_fmt(out, "%s", p->name);
    if (p->inner) {
        text_add(out, STR("("));
        message_text(out, f->bytes, p->inner);
        text_add(out, STR(")"));
    } else if (f->wire == PB_BYTES) {
        text_add(out, f->bytes);
    } else if (p->words && f->value < p->nwords) {
        text_fmt(out, "%s", p->words[f->value]);
    } else {
        text_fmt(out, "%" PRIu64, f->value);
    }
}

/* The parts of a nested message in their order; a number without words in decimal. Messages lie in
 * each other as deep as the tables above do. */
static void message_text(struct text *out, struct str bytes, const struct message *m)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    const char *join = "";
    if (bytes.n == 0 && m->empty)
        text_fmt(out, "%s", m->empty);
    while (pb_next(&in, &f) > 0) {
        if (f.number >= m->n || !m->parts[f.number].name)
            continue;
        text_fmt(out, "%s", join);
        join = " ";
        part_text(out, &f, &m->parts[f.number]);
    }
}

void field_text(struct text *out, struct str bytes, uint32_t field, const struct message *inner)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    const char *join = "";
    while (pb_next(&in, &f) > 0) {
        if (f.number != field)
            continue;
        text_fmt(out, "%s", join);
        join = ", ";
        if (f.wire != PB_BYTES)
            text_fmt(out, "%" PRIu64, f.value);
        else if (inner)
            message_text(out, f.bytes, inner);
        else
            text_add(out, f.bytes);
    }
}

void number_field(struct text *out, struct str bytes, const struct number_row *row)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    if (!row->words) {
        field_text(out, bytes, row->number, row->inner);
        return;
    }
    uint64_t value = 0; /* a default is not written */
    while (pb_next(&in, &f) > 0)
        if (f.number == row->number)
            value = f.value;
    text_fmt(out, "%s", row->words[value]);
}
