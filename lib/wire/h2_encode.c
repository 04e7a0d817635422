/* HPACK of heads that become frames at once (RFC 7541): static and own dynamic table, no Huffman.
 *
 * nghttp2 encodes every literal in Huffman's code, which costs more than all else of a head. So
 * for such a head it is given one field, to have its frame and its stream's state right, and the
 * block in that frame is replaced by ours (h2_out.c). Heads and trailers that wait in its queue it
 * encodes itself, but never with its dynamic table: the table that the peer keeps is ours alone.
 * Only updates of the table's size may come in blocks of both; h2_encode_seen follows those.
 *
 * Kept are the last ENTRIES insertions, as far as they fit the peer's limit. The peer keeps at
 * least those, for it drops the oldest when they outgrow that limit, and no sooner. */
#include "lib/base/bytes.h"
#include "lib/wire/h2_internal.h"

enum {
    ENTRIES = 24,
    SLOTS = 64,
    STATIC_LAST = 61,
    OVERHEAD = 32,      /* of an entry, RFC 7541 section 4.1 */
    ENTRY_BYTES = 128,  /* name and value of what is worth keeping */
    TABLE_BYTES = 4096, /* until the peer says less */
};

struct entry {
    char *bytes; /* name, then value */
    uint32_t hash;
    uint16_t name_n, value_n;
};

struct h2_encoder {
    struct entry ring[ENTRIES]; /* the insertion i lies at i % ENTRIES */
    uint32_t inserted, oldest;  /* numbers of insertions; [oldest, inserted) are kept */
    uint32_t size;              /* of those, as the peer counts */
    uint32_t limit;             /* in force */
    uint32_t lowest, wanted;    /* that the peer asked for since the last block */
    uint8_t slot[SLOTS];        /* ring place + 1 by hash, 0: none */
};

/* Names of the static table that a head may have, by the first index each has there. */
static const struct {
    struct str name;
    uint8_t index;
} names[] = {
    {STR("age"), 21},
    {STR("via"), 60},
    {STR("date"), 33},
    {STR("etag"), 34},
    {STR("from"), 37},
    {STR("host"), 38},
    {STR("link"), 45},
    {STR("vary"), 59},
    {STR(":path"), 4},
    {STR("allow"), 22},
    {STR("range"), 50},
    {STR("accept"), 19},
    {STR("cookie"), 32},
    {STR("expect"), 35},
    {STR("server"), 54},
    {STR(":method"), 2},
    {STR(":scheme"), 6},
    {STR(":status"), 8},
    {STR("expires"), 36},
    {STR("referer"), 51},
    {STR("refresh"), 52},
    {STR("if-match"), 39},
    {STR("if-range"), 42},
    {STR("location"), 46},
    {STR(":authority"), 1},
    {STR("set-cookie"), 55},
    {STR("user-agent"), 58},
    {STR("retry-after"), 53},
    {STR("content-type"), 31},
    {STR("max-forwards"), 47},
    {STR("accept-ranges"), 18},
    {STR("authorization"), 23},
    {STR("cache-control"), 24},
    {STR("content-range"), 30},
    {STR("if-none-match"), 41},
    {STR("last-modified"), 44},
    {STR("accept-charset"), 15},
    {STR("content-length"), 28},
    {STR("accept-encoding"), 16},
    {STR("accept-language"), 17},
    {STR("content-encoding"), 26},
    {STR("content-language"), 27},
    {STR("content-location"), 29},
    {STR("www-authenticate"), 61},
    {STR("if-modified-since"), 40},
    {STR("transfer-encoding"), 57},
    {STR("proxy-authenticate"), 48},
    {STR("content-disposition"), 25},
    {STR("if-unmodified-since"), 43},
    {STR("proxy-authorization"), 49},
    {STR("strict-transport-security"), 56},
    {STR("access-control-allow-origin"), 20},
};

/* Where names of a length begin in that list. */
enum { LONGEST = 27 };
static const uint8_t first_of_length[LONGEST + 2] = {0, 0, 0, 0, 2, 8, 11, 15, 21, 24, 24, 27, 28,
    30, 36, 38, 40, 44, 46, 47, 50, 50, 50, 50, 50, 50, 51, 51, 52};

/* Pseudo-fields that stand there whole. */
static const struct {
    struct str value;
    uint8_t name, index;
} values[] = {
    {STR("GET"), 2, 2},
    {STR("POST"), 2, 3},
    {STR("/"), 4, 4},
    {STR("http"), 6, 6},
    {STR("https"), 6, 7},
    {STR("200"), 8, 8},
    {STR("204"), 8, 9},
    {STR("206"), 8, 10},
    {STR("304"), 8, 11},
    {STR("400"), 8, 12},
    {STR("404"), 8, 13},
    {STR("500"), 8, 14},
};

static inline bool same(struct str a, struct str b)
{
    return a.n == b.n && bytes_eq(a.p, b.p, a.n);
}

static unsigned pseudo_name(struct str name)
{
    switch (name.p[1]) {
    case 'm':
        return 2;
    case 's':
        return name.p[2] == 'c' ? 6 : 8;
    case 'a':
        return 1;
    default:
        return name.n == 5 ? 4 : 0; /* :path, :protocol */
    }
}

static unsigned static_name(struct str name)
{
    if (name.n > LONGEST)
        return 0;
    for (unsigned i = first_of_length[name.n]; i < first_of_length[name.n + 1]; i++) {
        const char *known = names[i].name.p;
        if (known[name.n - 1] == name.p[name.n - 1] && known[0] == name.p[0] &&
            bytes_eq(known, name.p, name.n))
            return names[i].index;
    }
    return 0;
}

/* The index of a pseudo-field that is there with its value, else 0. */
static unsigned static_pseudo(unsigned name, struct str value)
{
    if (name < 2 || name > 8)
        return 0;
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        if (values[i].name == name && same(value, values[i].value))
            return values[i].index;
    return 0;
}

/* ---- bytes ---- */

/* RFC 7541 section 5.1: a number behind the bits of `first`. */
static char *put_number(char *to, unsigned first, unsigned prefix_bits, uint32_t n)
{
    const uint32_t most = (1u << prefix_bits) - 1;
    if (n < most) {
        *to++ = (char)(first | n);
        return to;
    }
    *to++ = (char)(first | most);
    for (n -= most; n >= 128; n >>= 7)
        *to++ = (char)(128 | (n & 127));
    *to++ = (char)n;
    return to;
}

static char *put_string(char *to, struct str s)
{
    to = put_number(to, 0, 7, (uint32_t)s.n);
    bytes_copy(to, s.p, s.n);
    return to + s.n;
}

/* ---- the table ---- */

static uint64_t mix(struct str s)
{
    if (s.n >= 8)
        return bytes_load8(s.p) ^ (bytes_load8(s.p + s.n - 8) * 31);
    if (s.n >= 4)
        return bytes_load4(s.p) ^ ((uint64_t)bytes_load4(s.p + s.n - 4) << 24);
    return s.n ? (uint64_t)(uint8_t)s.p[0] << 16 | (uint64_t)(uint8_t)s.p[s.n / 2] << 8 |
                     (uint8_t)s.p[s.n - 1]
               : 0;
}

static uint32_t hash_of(struct str name, struct str value)
{
    uint64_t v = (mix(name) + name.n) * UINT64_C(0x9e3779b97f4a7c15);
    v = (v ^ (mix(value) + value.n)) * UINT64_C(0xff51afd7ed558ccd);
    return (uint32_t)(v >> 32);
}

static void drop_oldest(struct h2 *h)
{
    struct h2_encoder *e = h->encoder;
    uint32_t place = e->oldest % ENTRIES;
    struct entry *gone = &e->ring[place];
    nghttp2_mem mem = h2_mem(h);
    if (e->slot[gone->hash % SLOTS] == place + 1)
        e->slot[gone->hash % SLOTS] = 0;
    e->size -= (uint32_t)gone->name_n + gone->value_n + OVERHEAD;
    mem.free(gone->bytes, h);
    gone->bytes = NULL;
    e->oldest++;
}

static void shrink(struct h2 *h, uint32_t to)
{
    while (h->encoder->oldest < h->encoder->inserted && h->encoder->size > to)
        drop_oldest(h);
}

/* False when memory is out: then the field goes without an entry. */
static bool insert(struct h2 *h, struct str name, struct str value, uint32_t hash)
{
    struct h2_encoder *e = h->encoder;
    const uint32_t size = (uint32_t)(name.n + value.n) + OVERHEAD;
    nghttp2_mem mem = h2_mem(h);
    char *bytes = mem.malloc(name.n + value.n, h);
    if (!bytes)
        return false;
    shrink(h, e->limit - size);
    if (e->inserted - e->oldest == ENTRIES)
        drop_oldest(h);
    uint32_t place = e->inserted++ % ENTRIES;
    bytes_copy(bytes, name.p, name.n);
    bytes_copy(bytes + name.n, value.p, value.n);
    e->ring[place] = (struct entry){bytes, hash, (uint16_t)name.n, (uint16_t)value.n};
    e->slot[hash % SLOTS] = (uint8_t)(place + 1);
    e->size += size;
    return true;
}

/* The index of the field in the dynamic table, 0: it is not there. */
static uint32_t find(const struct h2_encoder *e, struct str name, struct str value, uint32_t hash)
{
    unsigned place = e->slot[hash % SLOTS];
    if (!place)
        return 0;
    const struct entry *at = &e->ring[--place];
    if (at->hash != hash || !same(name, str_of(at->bytes, at->name_n)) ||
        !same(value, str_of(at->bytes + at->name_n, at->value_n)))
        return 0;
    uint32_t newest = (e->inserted - 1) % ENTRIES;
    return STATIC_LAST + 1 + (newest + ENTRIES - place) % ENTRIES;
}

/* Values that hardly ever come twice push out those that do. */
static bool worth_keeping(const struct h2_encoder *e, const struct h2_field *f, unsigned index)
{
    switch (index) {
    case 21: /* age */
    case 28: /* content-length */
    case 30: /* content-range */
    case 34: /* etag */
    case 40: /* if-modified-since */
    case 41: /* if-none-match */
    case 44: /* last-modified */
    case 46: /* location */
        return false;
    default:
        return f->name.n + f->value.n <= ENTRY_BYTES &&
               f->name.n + f->value.n + OVERHEAD <= e->limit;
    }
}

/* ---- a block ---- */

static char *put_literal(
    char *to, unsigned first, unsigned prefix_bits, unsigned name, const struct h2_field *f)
{
    to = put_number(to, first, prefix_bits, name);
    if (!name)
        to = put_string(to, f->name);
    return put_string(to, f->value);
}

/* A field that may have an entry, or get one. name: its index in the static table. */
static char *put_known(struct h2 *h, char *to, const struct h2_field *f, unsigned name, bool look)
{
    struct h2_encoder *e = h->encoder;
    uint32_t hash = hash_of(f->name, f->value), index = find(e, f->name, f->value, hash);
    if (index)
        return put_number(to, 0x80, 7, index);
    if (look)
        name = static_name(f->name);
    if (worth_keeping(e, f, name) && insert(h, f->name, f->value, hash))
        return put_literal(to, 0x40, 6, name, f);
    return put_literal(to, 0, 4, name, f);
}

static char *put_field(struct h2 *h, char *to, const struct h2_field *f)
{
    if (f->secret)
        return put_literal(to, 0x10, 4, static_name(f->name), f);
    if (f->name.p[0] != ':')
        return put_known(h, to, f, 0, true);
    unsigned name = pseudo_name(f->name), whole = static_pseudo(name, f->value);
    if (whole)
        return put_number(to, 0x80, 7, whole);
    return name == 4 ? put_literal(to, 0, 4, name, f) : put_known(h, to, f, name, false);
}

size_t h2_encode(struct h2 *h, char *to, const struct h2_field *f, uint16_t n)
{
    struct h2_encoder *e = h->encoder;
    char *p = to;
    if (e->lowest < e->limit) {
        shrink(h, e->lowest);
        e->limit = e->lowest;
        p = put_number(p, 0x20, 5, e->limit);
    }
    if (e->wanted != e->limit) {
        e->limit = e->wanted;
        p = put_number(p, 0x20, 5, e->limit);
    }
    e->lowest = e->limit;
    for (uint16_t i = 0; i < n; i++)
        p = put_field(h, p, &f[i]);
    return (size_t)(p - to);
}

void h2_encode_limit(struct h2 *h, uint32_t bytes)
{
    struct h2_encoder *e = h->encoder;
    e->wanted = bytes < TABLE_BYTES ? bytes : TABLE_BYTES;
    if (e->wanted < e->lowest)
        e->lowest = e->wanted;
}

/* Updates stand at the beginning of a block: 001, then a number of 5 bits. */
void h2_encode_seen(struct h2 *h, const uint8_t *block, size_t n)
{
    struct h2_encoder *e = h->encoder;
    while (n && (*block & 0xe0) == 0x20) {
        uint32_t size = *block & 31;
        n--;
        if (*block++ == 0x3f)
            for (unsigned shift = 0; n && shift < 28; shift += 7) {
                uint8_t more = *block++;
                n--;
                size += (uint32_t)(more & 127) << shift;
                if (!(more & 128))
                    break;
            }
        shrink(h, size);
        e->limit = size;
    }
}

int h2_encoder_new(struct h2 *h)
{
    nghttp2_mem mem = h2_mem(h);
    h->encoder = mem.calloc(1, sizeof(*h->encoder), h);
    if (!h->encoder)
        return -1;
    h->encoder->limit = h->encoder->lowest = h->encoder->wanted = TABLE_BYTES;
    return 0;
}

void h2_encoder_free(struct h2 *h)
{
    nghttp2_mem mem = h2_mem(h);
    if (!h->encoder)
        return;
    shrink(h, 0);
    mem.free(h->encoder, h);
    h->encoder = NULL;
}
