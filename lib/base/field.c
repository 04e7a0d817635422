/* A name is found by its length and its first and last byte: those three are different for every
 * name known here (but for x-forwarded-port, which look_closer finds beside x-forwarded-host), and
 * multiplied by MAGIC their top six bits are different too. So one table entry is looked at, and
 * mostly one comparison of a number says "other". Two names in one slot would be an initialiser
 * given twice, which does not compile; the unit test walks all names. */
#include "lib/base/field.h"
#include "lib/base/bytes.h"

#define MAGIC              0x36467839u
#define KEY(n, a, z)       ((uint32_t)(n) << 16 | (uint32_t)(uint8_t)(a) << 8 | (uint8_t)(z))
#define SLOT(key)          ((uint32_t)((key)*MAGIC) >> 26)
#define OURS(id)           ((id) >= FIELD_X_OFFSHOOT_CONTEXT)
#define ENTRY(n, a, z, id) [SLOT(KEY(n, a, z))] = {KEY(n, a, z), id}

static const struct str names[FIELD_ID_COUNT] = {
    [FIELD_HOST] = STR("host"),
    [FIELD_CONNECTION] = STR("connection"),
    [FIELD_CONTENT_LENGTH] = STR("content-length"),
    [FIELD_TRANSFER_ENCODING] = STR("transfer-encoding"),
    [FIELD_TE] = STR("te"),
    [FIELD_TRAILER] = STR("trailer"),
    [FIELD_UPGRADE] = STR("upgrade"),
    [FIELD_KEEP_ALIVE] = STR("keep-alive"),
    [FIELD_PROXY_CONNECTION] = STR("proxy-connection"),
    [FIELD_EXPECT] = STR("expect"),
    [FIELD_VIA] = STR("via"),
    [FIELD_DATE] = STR("date"),
    [FIELD_ACCEPT] = STR("accept"),
    [FIELD_COOKIE] = STR("cookie"),
    [FIELD_CONTENT_TYPE] = STR("content-type"),
    [FIELD_HTTP2_SETTINGS] = STR("http2-settings"),
    [FIELD_X_FORWARDED_FOR] = STR("x-forwarded-for"),
    [FIELD_X_FORWARDED_PROTO] = STR("x-forwarded-proto"),
    [FIELD_X_FORWARDED_HOST] = STR("x-forwarded-host"),
    [FIELD_FORWARDED] = STR("forwarded"),
    [FIELD_X_FORWARDED_PORT] = STR("x-forwarded-port"),
    [FIELD_X_REQUEST_ID] = STR("x-request-id"),
    [FIELD_BAGGAGE] = STR("baggage"),
    [FIELD_TRACEPARENT] = STR("traceparent"),
    [FIELD_TRACESTATE] = STR("tracestate"),
    [FIELD_X_OFFSHOOT_CONTEXT] = STR("x-offshoot-context"),
    [FIELD_UBERCTX_OFFSHOOT] = STR("uberctx-offshoot"),
    [FIELD_OT_BAGGAGE_OFFSHOOT] = STR("ot-baggage-offshoot"),
    [FIELD_X_OFFSHOOT_EXPLAIN] = STR("x-offshoot-explain"),
    [FIELD_X_OFFSHOOT_ERROR] = STR("x-offshoot-error"),
    [FIELD_X_OFFSHOOT_ROUTE] = STR("x-offshoot-route"),
};

static const struct entry {
    uint32_t key;
    uint32_t id;
} entries[64] = {
    ENTRY(4, 'h', 't', FIELD_HOST),
    ENTRY(10, 'c', 'n', FIELD_CONNECTION),
    ENTRY(14, 'c', 'h', FIELD_CONTENT_LENGTH),
    ENTRY(17, 't', 'g', FIELD_TRANSFER_ENCODING),
    ENTRY(2, 't', 'e', FIELD_TE),
    ENTRY(7, 't', 'r', FIELD_TRAILER),
    ENTRY(7, 'u', 'e', FIELD_UPGRADE),
    ENTRY(10, 'k', 'e', FIELD_KEEP_ALIVE),
    ENTRY(16, 'p', 'n', FIELD_PROXY_CONNECTION),
    ENTRY(6, 'e', 't', FIELD_EXPECT),
    ENTRY(3, 'v', 'a', FIELD_VIA),
    ENTRY(4, 'd', 'e', FIELD_DATE),
    ENTRY(6, 'a', 't', FIELD_ACCEPT),
    ENTRY(6, 'c', 'e', FIELD_COOKIE),
    ENTRY(12, 'c', 'e', FIELD_CONTENT_TYPE),
    ENTRY(14, 'h', 's', FIELD_HTTP2_SETTINGS),
    ENTRY(15, 'x', 'r', FIELD_X_FORWARDED_FOR),
    ENTRY(17, 'x', 'o', FIELD_X_FORWARDED_PROTO),
    ENTRY(16, 'x', 't', FIELD_X_FORWARDED_HOST),
    ENTRY(9, 'f', 'd', FIELD_FORWARDED),
    ENTRY(12, 'x', 'd', FIELD_X_REQUEST_ID),
    ENTRY(7, 'b', 'e', FIELD_BAGGAGE),
    ENTRY(11, 't', 't', FIELD_TRACEPARENT),
    ENTRY(10, 't', 'e', FIELD_TRACESTATE),
    ENTRY(18, 'x', 't', FIELD_X_OFFSHOOT_CONTEXT),
    ENTRY(16, 'u', 't', FIELD_UBERCTX_OFFSHOOT),
    ENTRY(19, 'o', 't', FIELD_OT_BAGGAGE_OFFSHOOT),
    ENTRY(18, 'x', 'n', FIELD_X_OFFSHOOT_EXPLAIN),
    ENTRY(16, 'x', 'r', FIELD_X_OFFSHOOT_ERROR),
    ENTRY(16, 'x', 'e', FIELD_X_OFFSHOOT_ROUTE),
};

/* name equals known, '_' in name standing for '-'. */
static bool same_loosely(const char *name, const char *known, size_t n)
{
    if (bytes_eq(name, known, n))
        return true;
    for (size_t i = 0; i < n; i++) {
        if (name[i] != known[i] && !(name[i] == '_' && known[i] == '-'))
            return false;
    }
    return true;
}

/* Names that may be ours in another spelling. Kept apart so that field_id saves no registers. */
static enum field_id __attribute__((noinline))
look_closer(const char *name, size_t len, enum field_id nearest)
{
    static const struct str prefix = STR("x-offshoot-");

    const struct str known = names[nearest];
    if (OURS(nearest) && known.n == len && same_loosely(name, known.p, len))
        return nearest;
    if (nearest == FIELD_X_FORWARDED_HOST) {
        const struct str port = names[FIELD_X_FORWARDED_PORT];
        return len == port.n && bytes_eq(name, port.p, len) ? FIELD_X_FORWARDED_PORT : FIELD_OTHER;
    }
    /* Two bytes turn away most other names before the walk. */
    if (len >= prefix.n && name[2] == 'o' && name[9] == 't' &&
        same_loosely(name, prefix.p, prefix.n))
        return FIELD_X_OFFSHOOT_OTHER;
    return FIELD_OTHER;
}

enum field_id field_id(const char *name, size_t len)
{
    if (len == 0)
        return FIELD_OTHER;
    uint32_t key = KEY(len, name[0], name[len - 1]);
    const struct entry *e = &entries[SLOT(key)];
    if (e->key == key) {
        struct str known = names[e->id];
        if (known.n == len && bytes_eq(name, known.p, len))
            return (enum field_id)e->id;
        return look_closer(name, len, (enum field_id)e->id);
    }
    return name[0] == 'x' ? look_closer(name, len, FIELD_OTHER) : FIELD_OTHER;
}

bool field_next_element(struct str *rest, struct str *ret_element)
{
    while (rest->n) {
        size_t comma = str_find(*rest, ',');
        struct str element = str_trim(str_of(rest->p, comma));
        *rest = str_from(*rest, comma < rest->n ? comma + 1 : comma);
        if (element.n) {
            *ret_element = element;
            return true;
        }
    }
    return false;
}

struct str field_id_name(enum field_id id)
{
    return names[id].p ? names[id] : STR("");
}
