#include "lib/base/parse.h"
#include "lib/graph/load_internal.h"

void cut_init(struct cut *c, struct str bytes)
{
    if (str_starts(bytes, STR("\xef\xbb\xbf")))
        bytes = str_from(bytes, 3);
    *c = (struct cut){.bytes = bytes, .line = 1};
    c->has_cr = bytes.n && memchr(bytes.p, '\r', bytes.n);
}

/* Behind the end of the line that starts at `at`. */
static size_t line_end(const struct cut *c, size_t at)
{
    struct str rest = str_from(c->bytes, at);
    size_t feed = str_find(rest, '\n');
    if (c->has_cr) {
        size_t cr = str_find(str_of(rest.p, feed), '\r');
        if (cr < feed)
            return at + cr + (cr + 1 == feed && feed < rest.n ? 2 : 1);
    }
    return at + feed + (feed < rest.n);
}

enum line_kind { LINE_OTHER, LINE_BLANK, LINE_DIRECTIVE, LINE_START, LINE_END };

static bool is_marker(struct str line, char c)
{
    if (line.n < 3 || line.p[0] != c || line.p[1] != c || line.p[2] != c)
        return false;
    return line.n == 3 || line.p[3] == ' ' || line.p[3] == '\t' || line.p[3] == '\n' ||
           line.p[3] == '\r';
}

/* Nothing but white space and a comment. */
static bool is_blank(struct str s)
{
    size_t i = 0;
    while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\t'))
        i++;
    return i == s.n || s.p[i] == '#' || s.p[i] == '\n' || s.p[i] == '\r';
}

static enum line_kind line_kind(struct str line)
{
    switch (line.p[0]) {
    case '-':
        return is_marker(line, '-') ? LINE_START : LINE_OTHER;
    case '.':
        return is_marker(line, '.') ? LINE_END : LINE_OTHER;
    case '%':
        return LINE_DIRECTIVE;
    case ' ':
    case '\t':
    case '#':
    case '\n':
    case '\r':
        return is_blank(line) ? LINE_BLANK : LINE_OTHER;
    default:
        return LINE_OTHER;
    }
}

/* Finds the end of the piece that starts at c->at and goes there. Returns the end of its bytes: a
 * "..." that ends nothing is none of them, for libyaml would stumble over it. */
static size_t piece_end(struct cut *c)
{
    size_t from = c->at;
    bool preamble = true; /* nothing but comments and directives so far */
    bool directives = false;

    while (c->at < c->bytes.n) {
        size_t start = c->at, end = line_end(c, start);
        struct str line = str_of(c->bytes.p + start, end - start);
        enum line_kind kind = line_kind(line);
        if (kind == LINE_START && start > from && !(preamble && directives))
            return start;
        c->at = end;
        c->line++;
        if (kind == LINE_END)
            return preamble && !directives && is_blank(str_from(line, 3)) ? start : end;
        directives = directives || (preamble && kind == LINE_DIRECTIVE);
        preamble = preamble && (kind == LINE_BLANK || kind == LINE_DIRECTIVE);
    }
    return c->at;
}

bool cut_next(struct cut *c, struct str *ret, uint32_t *ret_line)
{
    while (c->at < c->bytes.n) {
        size_t from = c->at;
        *ret_line = c->line;
        *ret = str_of(c->bytes.p + from, piece_end(c) - from);
        if (ret->n)
            return true;
    }
    return false;
}

/* ---- bytes --------------------------------------------------------------------------------- */

static bool is_ascii(struct str s)
{
    unsigned char all = 0;
    for (size_t i = 0; i < s.n; i++)
        all |= (unsigned char)s.p[i];
    return all < 0x80;
}

/* What is wrong with the character that starts with this byte. */
static const char *wide_character_fault(struct str s)
{
    if (str_starts(s, STR("\xef\xbb\xbf")))
        return "a second byte-order mark; remove it";
    /* libyaml ends a line there and nobody else does */
    if (str_starts(s, STR("\xc2\x85")) || str_starts(s, STR("\xe2\x80\xa8")) ||
        str_starts(s, STR("\xe2\x80\xa9")))
        return "a line break of Unicode (NEL, LS or PS); write an ordinary one, or its escape";
    return NULL;
}

static const char *wide_fault(struct str bytes, size_t *ret_at)
{
    size_t good = utf8_check(bytes);
    for (size_t i = 0; i < good; i++) {
        if ((unsigned char)bytes.p[i] < 0xc2)
            continue;
        const char *fault = wide_character_fault(str_of(bytes.p + i, good - i));
        if (fault) {
            *ret_at = i;
            return fault;
        }
    }
    *ret_at = good;
    return good < bytes.n ? "bytes that are not UTF-8; save the file as UTF-8" : NULL;
}

const char *bytes_fault(struct str bytes, size_t *ret_at, bool *ret_ascii)
{
    size_t nul = str_find(bytes, '\0');
    *ret_ascii = is_ascii(bytes);
    const char *wide = *ret_ascii ? NULL : wide_fault(str_of(bytes.p, nul), ret_at);
    if (wide || nul == bytes.n)
        return wide;
    *ret_at = nul;
    return "a NUL byte; graph files are UTF-8 text";
}

void bytes_place(struct str bytes, size_t at, struct place *place)
{
    size_t start = 0;
    for (size_t i = 0; i < at && i < bytes.n; i++) {
        bool crlf = bytes.p[i] == '\r' && i + 1 < bytes.n && bytes.p[i + 1] == '\n';
        if (bytes.p[i] == '\n' || (bytes.p[i] == '\r' && !crlf)) {
            place->line++;
            start = i + 1;
        }
    }
    place->column = (uint32_t)(at - start) + 1;
}
