/* What the known fields of a head mean: Host, the framings, Connection, Upgrade, Expect, TE. */
#include "lib/base/bytes.h"
#include "lib/wire/h1_internal.h"

/* Naming these in Connection does not remove them: framing, routing and who asked must arrive, and
 * nobody may make the proxy lose a context. */
static const uint64_t kept_ids =
    FIELD_BIT(FIELD_CONTENT_LENGTH) | FIELD_BIT(FIELD_HOST) | FIELD_BIT(FIELD_VIA) |
    FIELD_BIT(FIELD_BAGGAGE) | FIELD_BIT(FIELD_X_FORWARDED_FOR) |
    FIELD_BIT(FIELD_X_FORWARDED_PROTO) | FIELD_BIT(FIELD_X_FORWARDED_HOST) |
    FIELD_BIT(FIELD_X_FORWARDED_PORT) | FIELD_BIT(FIELD_FORWARDED) | FIELD_BIT(FIELD_X_REQUEST_ID) |
    FIELD_BIT(FIELD_TRACEPARENT) | FIELD_BIT(FIELD_TRACESTATE) |
    FIELD_BIT(FIELD_X_OFFSHOOT_CONTEXT) | FIELD_BIT(FIELD_UBERCTX_OFFSHOOT) |
    FIELD_BIT(FIELD_OT_BAGGAGE_OFFSHOOT) | FIELD_BIT(FIELD_X_OFFSHOOT_EXPLAIN) |
    FIELD_BIT(FIELD_X_OFFSHOOT_ERROR) | FIELD_BIT(FIELD_X_OFFSHOOT_ROUTE) |
    FIELD_BIT(FIELD_X_OFFSHOOT_OTHER);

/* Not inlined: a head without such a field shall not save registers for it. */
#define RARE       __attribute__((noinline))
#define KEEP_ALIVE STR("keep-alive")

enum {
    LENGTH_DIGITS = 19, /* as many as 2^63-1 has */
    CONNECTION_OPTIONS = 255,
};

bool h1_is_token(struct str s)
{
    size_t i = 0;
    while (i < s.n && h1_is(s.p[i], H1_C_TOKEN))
        i++;
    return i == s.n && i > 0;
}

/* s is the word, given in lower case, in any spelling. */
static bool is_word(struct str s, struct str word)
{
    if (s.n != word.n)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (h1_token_lower[(uint8_t)s.p[i]] != (uint8_t)word.p[i])
            return false;
    return true;
}

static enum h1_error content_length(struct h1_parser *p, struct str value)
{
    if (p->seen & H1_SEEN_LENGTH)
        return H1_E_LENGTH_TWICE;
    if (p->seen & H1_SEEN_CODING)
        return H1_E_BOTH_FRAMINGS;
    uint64_t length = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (!h1_is(value.p[i], H1_C_DIGIT))
            return str_find(value, ',') < value.n ? H1_E_LENGTH_TWICE : H1_E_LENGTH;
        if (i == LENGTH_DIGITS)
            return H1_E_LENGTH;
        length = length * 10 + (uint64_t)(value.p[i] - '0');
    }
    if (value.n == 0 || length > INT64_MAX)
        return H1_E_LENGTH;
    p->length = length;
    p->seen |= H1_SEEN_LENGTH;
    return H1_OK;
}

RARE static enum h1_error transfer_encoding(struct h1_parser *p, struct str value)
{
    if (p->seen & H1_SEEN_CODING || p->minor == 0 || !is_word(value, STR("chunked")))
        return H1_E_CODING;
    if (p->seen & H1_SEEN_LENGTH)
        return H1_E_BOTH_FRAMINGS;
    p->seen |= H1_SEEN_CODING;
    return H1_OK;
}

static enum h1_error host(struct h1_parser *p, const char *data, const struct field *f)
{
    if (p->seen & H1_SEEN_REPLY)
        return H1_OK;
    if (p->seen & H1_SEEN_HOST)
        return H1_E_HOST_TWICE;
    struct str value = field_value(f);
    if (p->authority_len && !str_ieq(value, str_of(data + p->authority_pos, p->authority_len)))
        return H1_E_HOST;
    if (!p->authority_len && !h1_authority_valid(value, false))
        return H1_E_HOST;
    p->host = (uint16_t)(f - p->fields);
    p->seen |= H1_SEEN_HOST;
    return H1_OK;
}

static enum h1_seen connection_option(struct str option)
{
    if (is_word(option, STR("keep-alive")))
        return H1_SEEN_KEEP_ALIVE;
    if (is_word(option, STR("close")))
        return H1_SEEN_CLOSE;
    return is_word(option, STR("upgrade")) ? H1_SEEN_OPT_UPGRADE : H1_SEEN_NAMES;
}

/* The number of options is limited, so that marking what they name costs a bounded time. */
RARE static enum h1_error connection(struct h1_parser *p, struct str value)
{
    struct str option;
    while (field_next_element(&value, &option)) {
        if (!h1_is_token(option) || p->options == CONNECTION_OPTIONS)
            return H1_E_FIELD_VALUE;
        p->options++;
        p->seen |= (uint16_t)connection_option(option);
    }
    return H1_OK;
}

RARE static void expect(struct h1_parser *p, struct str value)
{
    struct str element;
    while (field_next_element(&value, &element))
        p->seen |=
            is_word(element, STR("100-continue")) ? H1_SEEN_EXPECT_100 : H1_SEEN_EXPECT_OTHER;
}

/* A list with quoted parameters is not looked into: a client that has such can do without. */
RARE static void te(struct h1_parser *p, struct str value)
{
    struct str element;
    if (str_find(value, '"') < value.n)
        return;
    while (field_next_element(&value, &element))
        if (is_word(element, STR("trailers")))
            p->seen |= H1_SEEN_TE_TRAILERS;
}

enum h1_error h1_field_meaning(struct h1_parser *p, const char *data, struct field *f)
{
    struct str value = field_value(f);
    switch (f->id) {
    case FIELD_HOST:
        return host(p, data, f);
    case FIELD_CONTENT_LENGTH:
        return content_length(p, value);
    case FIELD_TRANSFER_ENCODING:
        f->flags = FIELD_HOP;
        return transfer_encoding(p, value);
    case FIELD_CONNECTION:
        f->flags = FIELD_HOP;
        if (value.n != KEEP_ALIVE.n || !bytes_eq(value.p, KEEP_ALIVE.p, KEEP_ALIVE.n))
            return connection(p, value);
        p->seen |= H1_SEEN_KEEP_ALIVE; /* nearly all there are */
        return H1_OK;
    case FIELD_EXPECT:
        expect(p, value);
        return H1_OK;
    case FIELD_TE:
        te(p, value);
        break;
    case FIELD_UPGRADE:
        p->seen |= H1_SEEN_UPGRADE;
        break;
    default:
        break;
    }
    f->flags = FIELD_HOP;
    return H1_OK;
}

static void mark_named(struct h1_parser *p, struct str option)
{
    for (unsigned i = 0; i < p->nfields; i++) {
        struct field *f = &p->fields[i];
        if (f->name_len == option.n && !(kept_ids >> f->id & 1) && str_ieq(field_name(f), option))
            f->flags |= FIELD_HOP;
    }
}

void h1_mark_hop_by_hop(struct h1_parser *p)
{
    for (unsigned i = 0; i < p->nfields; i++) {
        if (p->fields[i].id != FIELD_CONNECTION)
            continue;
        struct str rest = field_value(&p->fields[i]), option;
        while (field_next_element(&rest, &option))
            mark_named(p, option);
    }
}
