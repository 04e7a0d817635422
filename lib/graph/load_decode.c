#include "lib/base/parse.h"
#include "lib/graph/gateway.h"
#include "lib/graph/hint.h"
#include "lib/graph/load_internal.h"
#include <stdalign.h>
#include <stdio.h>

#define NOWHERE UINT32_MAX

/* ---- memory -------------------------------------------------------------------------------- */

static void *take(struct decode *d, size_t size, size_t align)
{
    struct arena *a = d->arena;
    size_t at = (a->n + align - 1) & ~(align - 1);
    if (a->full || at > a->size || a->size - at < size) {
        a->full = true;
        return NULL;
    }
    a->n = at + size;
    return a->p + at;
}

void *decode_alloc(struct decode *d, size_t n, size_t size)
{
    if (!n)
        return NULL;
    if (n > SIZE_MAX / 2 / size) {
        d->arena->full = true;
        return NULL;
    }
    void *p = take(d, n * size, alignof(max_align_t) < 8 ? alignof(max_align_t) : 8);
    return p ? memset(p, 0, n * size) : NULL;
}

struct str decode_copy(struct decode *d, struct str s)
{
    char *p = take(d, s.n + 1, 1);
    if (!p)
        return (struct str){NULL, 0};
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return (struct str){p, s.n};
}

struct str decode_lower(struct decode *d, struct str token)
{
    char small[TOKEN_BYTES_MAX];
    for (size_t i = 0; i < token.n; i++)
        small[i] = ascii_lower(token.p[i]);
    return decode_copy(d, str_of(small, token.n));
}

/* ---- walking ------------------------------------------------------------------------------- */

struct place node_place(const struct decode *d, uint32_t node)
{
    const struct node *n = &d->tree->nodes[node];
    return (struct place){d->file, n->line, n->column};
}

static struct str text_of(const struct decode *d, uint32_t node)
{
    return node_text(d->tree, node);
}

uint32_t decode_find(const struct decode *d, uint32_t map, const char *key)
{
    const struct node *nodes = d->tree->nodes;
    if (map == NOWHERE || nodes[map].type != NODE_MAP)
        return NOWHERE;
    for (uint32_t k = map + 1; k < nodes[map].next; k = nodes[k + 1].next)
        if (str_eq(text_of(d, k), str_c(key)))
            return k + 1;
    return NOWHERE;
}

bool decode_item(const struct decode *d, uint32_t list, uint32_t *at, uint32_t *ret_value)
{
    const struct node *nodes = d->tree->nodes;
    uint32_t item = *at ? nodes[*at].next : list + 1;
    if (item >= nodes[list].next)
        return false;
    *at = *ret_value = item;
    return true;
}

/* Where a key stands first in its map. */
static struct place first_place(const struct decode *d, uint32_t map, uint32_t key)
{
    const struct node *nodes = d->tree->nodes;
    uint32_t k = map + 1;
    while (k < key && !str_eq(text_of(d, k), text_of(d, key)))
        k = nodes[k + 1].next;
    return node_place(d, k);
}

bool decode_pair(struct decode *d, uint32_t map, uint32_t *at, uint32_t *ret_value)
{
    const struct node *nodes = d->tree->nodes;
    uint32_t key = *at ? nodes[*at].next : map + 1;
    for (; key < nodes[map].next; key = nodes[key + 1].next) {
        if (!nodes[key].again) {
            *at = *ret_value = key + 1;
            return true;
        }
        struct place first = {0};
        if (d->found->n < d->found->limit)
            first = first_place(d, map, key);
        findings_add(d->found, F_DUPLICATE, node_place(d, key), &first,
            "'%.*s' stands here twice; remove one", STR_ARG(shown(text_of(d, key))));
    }
    return false;
}

/* ---- values -------------------------------------------------------------------------------- */

void decode_wrong(struct decode *d, uint32_t value, const char *expected)
{
    const struct node *n = &d->tree->nodes[value];
    struct place at = node_place(d, value);
    if (n->type == NODE_MAP)
        findings_add(d->found, F_TYPE, at, NULL, "a mapping; write %s", expected);
    else if (n->type == NODE_LIST)
        findings_add(d->found, F_TYPE, at, NULL, "a list; write %s", expected);
    else if (n->plain && !n->n)
        findings_add(d->found, F_TYPE, at, NULL, "nothing is written; write %s", expected);
    else
        findings_add(d->found, F_TYPE, at, NULL, "'%.*s'; write %s",
            STR_ARG(shown(text_of(d, value))), expected);
}

bool decode_is(struct decode *d, uint32_t value, enum node_type type)
{
    static const char *const expected[] = {
        [NODE_TEXT] = "text", [NODE_LIST] = "a list", [NODE_MAP] = "a mapping"};
    if (d->tree->nodes[value].type == type)
        return true;
    decode_wrong(d, value, expected[type]);
    return false;
}

bool decode_text(struct decode *d, uint32_t value, struct mtext *ret)
{
    const struct node *n = &d->tree->nodes[value];
    if (n->type != NODE_TEXT || (n->plain && !n->n)) {
        decode_wrong(d, value, "text");
        return false;
    }
    struct str copy = decode_copy(d, text_of(d, value));
    if (!copy.p)
        return false;
    *ret = (struct mtext){.s = copy, .at = node_place(d, value)};
    return true;
}

bool decode_name(struct decode *d, uint32_t value, struct mtext *ret)
{
    if (!decode_text(d, value, ret))
        return false;
    if (name_valid(ret->s))
        return true;
    findings_add(d->found, F_NAME, ret->at, NULL,
        "'%.*s' is no name; write 1 to 63 of a-z, 0-9 and '-', no '-' at the ends",
        STR_ARG(shown(ret->s)));
    return false;
}

/* A value without quotes, as numbers and booleans are. */
static bool is_unquoted(struct decode *d, uint32_t value, const char *expected)
{
    const struct node *n = &d->tree->nodes[value];
    if (n->type == NODE_TEXT && n->plain)
        return true;
    if (n->type == NODE_TEXT)
        findings_add(d->found, F_TYPE, node_place(d, value), NULL,
            "'%.*s' in quotes is text; write %s without quotes", STR_ARG(shown(text_of(d, value))),
            expected);
    else
        decode_wrong(d, value, expected);
    return false;
}

bool decode_bool(struct decode *d, uint32_t value, bool *ret)
{
    if (!is_unquoted(d, value, "true or false"))
        return false;
    struct str s = text_of(d, value);
    bool yes = str_eq(s, STR("true"));
    if (!yes && !str_eq(s, STR("false"))) {
        decode_wrong(d, value, "true or false");
        return false;
    }
    *ret = yes;
    return true;
}

bool decode_number(struct decode *d, uint32_t value, int64_t min, int64_t max, int64_t *ret)
{
    char expected[80];
    int64_t n;
    snprintf(expected, sizeof(expected), "a whole number from %lld to %lld", (long long)min,
        (long long)max);
    if (!is_unquoted(d, value, expected))
        return false;
    if (parse_i64(text_of(d, value), &n) < 0 || n < min || n > max) {
        decode_wrong(d, value, expected);
        return false;
    }
    *ret = n;
    return true;
}

bool decode_u32(struct decode *d, uint32_t value, uint32_t min, uint32_t max, uint32_t *ret)
{
    int64_t n;
    if (!decode_number(d, value, min, max, &n))
        return false;
    *ret = (uint32_t)n;
    return true;
}

void read_port(struct decode *d, uint32_t value, void *into)
{
    uint32_t port;
    if (decode_u32(d, value, 1, 65535, &port))
        *(uint16_t *)into = (uint16_t)port;
}

/* "a, b or c", and the nearest of them. */
static void wrong_choice(struct decode *d, uint32_t value, const char *const *words)
{
    char expected[256];
    size_t n = 0;
    struct hint h = hint_for(text_of(d, value));
    for (size_t i = 0; words[i]; i++) {
        const char *before = i == 0 ? "" : words[i + 1] ? ", " : " or ";
        n += (size_t)snprintf(expected + n, sizeof(expected) - n, "%s%s", before, words[i]);
        hint_offer(&h, str_c(words[i]));
    }
    if (h.best.n)
        findings_add(d->found, F_TYPE, node_place(d, value), NULL,
            "'%.*s'; did you mean '%.*s'? write %s", STR_ARG(shown(h.word)), STR_ARG(h.best),
            expected);
    else
        decode_wrong(d, value, expected);
}

bool decode_choice(struct decode *d, uint32_t value, const char *const *words, uint8_t *ret)
{
    if (!decode_is(d, value, NODE_TEXT))
        return false;
    for (size_t i = 0; words[i]; i++) {
        if (str_eq(text_of(d, value), str_c(words[i]))) {
            *ret = (uint8_t)i;
            return true;
        }
    }
    wrong_choice(d, value, words);
    return false;
}

bool decode_duration(struct decode *d, uint32_t value, uint32_t *ret_ms)
{
    uint64_t ms;
    if (!decode_is(d, value, NODE_TEXT))
        return false;
    if (parse_duration_ms(text_of(d, value), &ms) < 0 || ms == 0 || ms > 86400000) {
        decode_wrong(d, value, "a duration from 1ms to 24h, such as 250ms, 15s or 5m");
        return false;
    }
    *ret_ms = (uint32_t)ms;
    return true;
}

void read_duration(struct decode *d, uint32_t value, void *into)
{
    decode_duration(d, value, into);
}

bool decode_token(struct decode *d, uint32_t value, const char *what, struct mtext *ret)
{
    if (!decode_text(d, value, ret))
        return false;
    if (token_valid(ret->s))
        return true;
    findings_add(d->found, F_NAME, ret->at, NULL,
        "'%.*s' cannot be %s; write letters, digits, '-' or '_'", STR_ARG(shown(ret->s)), what);
    return false;
}

void decode_texts(struct decode *d, uint32_t list, struct mtext **ret, uint32_t *ret_n)
{
    if (!decode_is(d, list, NODE_LIST))
        return;
    struct mtext *texts = decode_alloc(d, d->tree->nodes[list].n, sizeof(*texts));
    if (!texts)
        return;
    uint32_t n = 0;
    for (uint32_t at = 0, item; decode_item(d, list, &at, &item);)
        n += decode_text(d, item, &texts[n]);
    *ret = texts;
    *ret_n = n;
}

/* ---- hosts --------------------------------------------------------------------------------- */

static bool is_port(struct str s)
{
    uint32_t port;
    return parse_u32(s, 1, 65535, &port) == 0;
}

static bool is_literal(struct str s)
{
    size_t close = str_find(s, ']');
    for (size_t i = 1; i < close; i++)
        if (!strchr("0123456789abcdefABCDEF:.", s.p[i]))
            return false;
    if (close < 3 || close == s.n)
        return false;
    return close + 1 == s.n || (s.p[close + 1] == ':' && is_port(str_from(s, close + 2)));
}

static bool is_host_char(char c)
{
    c = ascii_lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

static bool is_host(struct str s, bool suffix)
{
    if (suffix)
        s = str_from(s, 2);
    if (s.n && s.p[0] == '[')
        return !suffix && is_literal(s);
    size_t colon = str_find(s, ':');
    if (colon < s.n && !is_port(str_from(s, colon + 1)))
        return false;
    if (colon && s.p[colon - 1] == '.')
        colon--;
    if (colon == 0 || colon > 253 || s.p[0] == '.' || s.p[colon - 1] == '.')
        return false;
    for (size_t i = 0; i < colon; i++)
        if (!is_host_char(s.p[i]) || (s.p[i] == '.' && s.p[i + 1] == '.'))
            return false;
    return true;
}

bool decode_host(struct decode *d, uint32_t value, enum host_form form, struct mtext *ret)
{
    static const char *const expected[] = {
        [HOST_EXACT] = "a host name, such as shop.example.com",
        [HOST_EXACT_OR_SUFFIX] = "a host name or a suffix, such as *.example.com",
        [HOST_SUFFIX] = "'*.' and a host name, such as *.preview.example.com",
    };
    struct mtext text;
    char key[HOST_KEY_MAX];
    if (!decode_text(d, value, &text))
        return false;
    bool suffix = str_starts(text.s, STR("*."));
    bool good = suffix ? form != HOST_EXACT : form != HOST_SUFFIX;
    if (!good || !is_host(text.s, suffix)) {
        findings_add(d->found, F_NAME, text.at, NULL, "'%.*s' is no host here; write %s",
            STR_ARG(shown(text.s)), expected[form]);
        return false;
    }
    struct str host = authority_host(text.s, key);
    if (!host.n) {
        findings_add(d->found, F_NAME, text.at, NULL, "a host of more than 255 bytes");
        return false;
    }
    text.s = decode_copy(d, host);
    *ret = text;
    return text.s.p != NULL;
}

bool decode_bare_host(struct decode *d, uint32_t value, struct mtext *ret)
{
    struct mtext host, written;
    if (!decode_host(d, value, HOST_EXACT, &host) || !decode_text(d, value, &written))
        return false;
    if (host.s.n != written.s.n) {
        decode_wrong(d, value, "a host name without port and dot at the end");
        return false;
    }
    *ret = host;
    return true;
}

/* ---- maps by table ------------------------------------------------------------------------- */

static const struct known_field *find_field(
    struct str key, const struct known_field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(key, str_c(fields[i].name)))
            return &fields[i];
    return NULL;
}

static void unknown_field(struct decode *d, uint32_t key, const char *what,
    const struct known_field *fields, size_t nfields)
{
    struct hint h = hint_for(text_of(d, key));
    char known[256] = "";
    size_t n = 0;
    for (size_t i = 0; i < nfields; i++) {
        hint_offer(&h, str_c(fields[i].name));
        if (n < sizeof(known))
            n += (size_t)snprintf(
                known + n, sizeof(known) - n, "%s%s", i ? ", " : "", fields[i].name);
    }
    if (h.best.n)
        findings_add(d->found, F_UNKNOWN_FIELD, node_place(d, key), NULL,
            "unknown field '%.*s' in %s; did you mean '%.*s'?", STR_ARG(shown(h.word)), what,
            STR_ARG(h.best));
    else
        findings_add(d->found, F_UNKNOWN_FIELD, node_place(d, key), NULL,
            "unknown field '%.*s' in %s; known are: %s", STR_ARG(shown(h.word)), what, known);
}

static bool missing_fields(struct decode *d, uint32_t map, const char *what,
    const struct known_field *fields, size_t nfields)
{
    bool missing = false;
    for (size_t i = 0; i < nfields; i++) {
        if (!fields[i].required || decode_find(d, map, fields[i].name) != NOWHERE)
            continue;
        findings_add(d->found, F_MISSING_FIELD, node_place(d, map), NULL,
            "'%s' is missing in %s; add it", fields[i].name, what);
        missing = true;
    }
    return missing;
}

unsigned decode_map(struct decode *d, uint32_t map, const char *what,
    const struct known_field *fields, size_t nfields, void *into)
{
    if (!decode_is(d, map, NODE_MAP))
        return MAP_NOT_ONE;
    unsigned fault = 0, pairs = 0;
    for (uint32_t at = 0, value; decode_pair(d, map, &at, &value); pairs++) {
        const struct known_field *f = find_field(text_of(d, key_of(value)), fields, nfields);
        if (f) {
            f->read(d, value, (char *)into + f->offset);
            continue;
        }
        unknown_field(d, key_of(value), what, fields, nfields);
        fault |= MAP_UNKNOWN_FIELD;
    }
    if (pairs < d->tree->nodes[map].n)
        fault |= MAP_TWICE;
    if (!(fault & MAP_UNKNOWN_FIELD) && missing_fields(d, map, what, fields, nfields))
        fault |= MAP_MISSING_FIELD;
    return fault;
}

void decode_exclude(
    struct decode *d, uint32_t map, const char *a, const char *b, const char *advice)
{
    uint32_t first = decode_find(d, map, a), second = decode_find(d, map, b);
    if (first == NOWHERE || second == NOWHERE)
        return;
    uint32_t early = first < second ? first : second, late = first < second ? second : first;
    struct place related = node_place(d, key_of(early));
    findings_add(d->found, F_CONTRADICTION, node_place(d, key_of(late)), &related,
        "'%s' and '%s' together; %s", a, b, advice);
}

void read_text(struct decode *d, uint32_t value, void *into)
{
    decode_text(d, value, into);
}

void read_str(struct decode *d, uint32_t value, void *into)
{
    struct mtext text;
    if (decode_text(d, value, &text))
        *(struct str *)into = text.s;
}

void read_bool(struct decode *d, uint32_t value, void *into)
{
    decode_bool(d, value, into);
}
