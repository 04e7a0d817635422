/* Which requests are compared as one: a path with its ids taken out. */
#include "lib/base/parse.h"
#include "lib/compare/letters.h"
#include "lib/compare/tally.h"
#include <xxhash.h>

#define LONG_HEX   8  /* hex digits of an id, digits and letters both */
#define LONG_MIXED 16 /* bytes of an id */
#define CHANGES    3  /* from digit to letter and back in an id; words with a number have fewer */

/* What a segment is made of. */
struct made_of {
    size_t digits, letters, hex, dashes, marks, others; /* dashes: '-'; marks: "_.:,+=~" */
    size_t changes;                                     /* digit next to letter */
};

static struct made_of look(struct str s)
{
    struct made_of m = {0};
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        m.digits += is_digit(c);
        m.letters += is_letter(c);
        m.hex += is_hex(c);
        m.dashes += c == '-';
        m.marks += c && strchr("_.:,+=~", c);
        m.others += !is_alnum(c) && c != '-' && !(c && strchr("_.:,+=~", c));
        if (i > 0)
            m.changes +=
                (is_digit(s.p[i - 1]) && is_letter(c)) || (is_letter(s.p[i - 1]) && is_digit(c));
    }
    return m;
}

static bool is_id(struct str s)
{
    struct made_of m = look(s);
    if (!s.n || m.others)
        return false;
    if (!m.letters) /* numbers, dates, versions: 17, 2026-12-01, 1.2.3 */
        return m.digits > 0;
    if (is_uuid(s))
        return true;
    if (m.hex == s.n)
        return s.n >= LONG_HEX && m.digits;
    return s.n >= LONG_MIXED && m.changes >= CHANGES;
}

static void add_segments(struct text *out, struct str path)
{
    while (path.n) {
        size_t slash = str_find(path, '/');
        struct str segment = str_of(path.p, slash);
        text_plain(out, is_id(segment) ? STR("{}") : segment);
        path = str_from(path, slash);
        if (path.n) {
            text_add(out, STR("/"));
            path = str_from(path, 1);
        }
    }
}

/* Leaves what begins at `from` within TALLY_ENDPOINT_MAX bytes, in whole characters. */
static void cut(struct text *out, size_t from)
{
    char hex[16];
    size_t keep = TALLY_ENDPOINT_MAX - 1 - sizeof hex;
    if (out->failed || out->n - from <= TALLY_ENDPOINT_MAX)
        return;
    format_hex64(XXH3_64bits(out->p + from, out->n - from), hex);
    while (keep && ((unsigned char)out->p[from + keep] & 0xc0) == 0x80)
        keep--;
    out->n = from + keep;
    text_add(out, STR("~"));
    text_add(out, str_of(hex, sizeof hex));
}

void endpoint_of(
    struct str service, struct str method, struct str path, bool grpc, struct text *out)
{
    size_t from = out->n;
    path.n = str_find(path, '?');
    if (service.n) {
        text_plain(out, service);
        text_add(out, STR(" "));
    }
    text_plain(out, method);
    text_add(out, STR(" "));
    if (grpc)
        text_plain(out, path);
    else
        add_segments(out, path);
    cut(out, from);
}
