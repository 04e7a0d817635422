/* Text of any kind, in one pass: patterns (redact_pattern.c), values of secret names that are
 * written down as such, and both behind percent-encoding or the escapes of JSON.
 *
 *   password=hunter2&x=1    "password": "hunter2"    \"password\":\"hunter2\"
 *   <password>hunter2</     https://user:hunter2@    a%40b.example    a\u0040b.example */
#include "lib/base/mem.h"
#include "lib/compare/letters.h"
#include "lib/compare/redact_int.h"

#define NAME_LOOK_BACK 64
#define LEVELS         3 /* of encoding that are undone */

/* Takes what was found out; out may be NULL: only whether there is something. */
struct scan {
    const struct redact *r;
    struct str s;
    struct text *out;
    size_t from;   /* bytes before it were written */
    size_t no_jwt; /* none begins before it: each run of letters is gone through once */
    bool any;
};

static void take(struct scan *x, size_t start, size_t n)
{
    x->any = true;
    if (x->out) {
        text_add(x->out, str_of(x->s.p + x->from, start - x->from));
        redact_mark(x->r, str_of(x->s.p + start, n), x->out);
    }
    x->from = start + n;
}

/* ---- where to look ---- */

enum { NOWHERE, ANYWHERE, FIRST_LETTER, FIRST_DIGIT };

/* Where something may begin, by the byte there: what pattern_at knows, what stands before a value,
 * an encoded byte. Most of a text is none of these. */
static const unsigned char looks[256] = {
    ['@'] = ANYWHERE,
    ['-'] = ANYWHERE,
    ['='] = ANYWHERE,
    [':'] = ANYWHERE,
    ['>'] = ANYWHERE,
    ['%'] = ANYWHERE,
    ['\\'] = ANYWHERE,
    ['2'] = FIRST_DIGIT,
    ['3'] = FIRST_DIGIT,
    ['4'] = FIRST_DIGIT,
    ['5'] = FIRST_DIGIT,
    ['6'] = FIRST_DIGIT,
    ['b'] = FIRST_LETTER,
    ['B'] = FIRST_LETTER,
    ['e'] = FIRST_LETTER,
    ['A'] = FIRST_LETTER,
    ['g'] = FIRST_LETTER,
    ['h'] = FIRST_LETTER,
    ['x'] = FIRST_LETTER,
    ['s'] = FIRST_LETTER,
    ['r'] = FIRST_LETTER,
    ['n'] = FIRST_LETTER,
    ['S'] = FIRST_LETTER,
};

/* The next place of such, at or behind `at`; end: none before it. */
static size_t next_look(struct str s, size_t at, size_t end)
{
    for (; at < end; at++) {
        unsigned char how = looks[(unsigned char)s.p[at]];
        if (how == NOWHERE || (at && how == FIRST_LETTER && is_alnum(s.p[at - 1])) ||
            (at && how == FIRST_DIGIT && is_digit(s.p[at - 1])))
            continue;
        break;
    }
    return at;
}

/* ---- values of names ---- */

static bool is_name(char c)
{
    return is_alnum(c) || c == '_' || c == '-' || c == '.' || (unsigned char)c >= 0x80;
}

static bool is_quote(char c)
{
    return c == '"' || c == '\'';
}

/* The name that ends before `at`, behind white space, quotes and brackets. */
static struct str name_before(const struct scan *x, size_t at)
{
    const char *p = x->s.p;
    size_t end = at;
    while (end > x->from &&
           (p[end - 1] == ' ' || p[end - 1] == ']' || p[end - 1] == '\\' || is_quote(p[end - 1])))
        end--;
    size_t start = end;
    while (start > x->from && end - start < NAME_LOOK_BACK && is_name(p[start - 1]))
        start--;
    return str_of(p + start, end - start);
}

static bool ends_value(char c)
{
    return c == '&' || c == ';' || c == ',' || c == ')' || c == '}' || c == ']' || c == '<' ||
           is_quote(c) || (unsigned char)c <= ' ';
}

/* These take all of the line: they have several words. */
static bool is_long_value(struct str name)
{
    return str_ends(name, STR("ookie")) || str_ends(name, STR("uthorization"));
}

/* The value that begins at `at`, behind white space and quotes; its end. */
static size_t value_end(struct str s, struct str name, size_t *at)
{
    size_t i = *at;
    while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\t' || s.p[i] == '\\'))
        i++;
    char quote = i < s.n && is_quote(s.p[i]) ? s.p[i++] : '\0';
    *at = i;
    if (quote) {
        /* quotes that are escaped close a text whose first was escaped too */
        bool nested = i >= 2 && s.p[i - 2] == '\\';
        for (; i < s.n && s.p[i] != quote; i++)
            if (s.p[i] == '\\' && i + 1 < s.n && !(nested && s.p[i + 1] == quote))
                i++;
        return i > *at && nested && i < s.n && s.p[i - 1] == '\\' ? i - 1 : i;
    }
    if (i < s.n && (s.p[i] == '{' || s.p[i] == '['))
        return i; /* what is in it has names of its own */
    if (is_long_value(name)) {
        while (i < s.n && s.p[i] != '\n' && s.p[i] != '\r' && !is_quote(s.p[i]))
            i++;
    } else {
        while (i < s.n && !ends_value(s.p[i]))
            i++;
    }
    return i;
}

static bool says_nothing(struct str value)
{
    return value.n == 0 || str_eq(value, STR("null")) || str_eq(value, STR("true")) ||
           str_eq(value, STR("false"));
}

/* At "://": the password of user:password@host. */
static void take_userinfo(struct scan *x, size_t at)
{
    struct str s = x->s;
    size_t i = at + 3, colon = 0;
    for (; i < s.n && i < at + 256 && !strchr("/?# \"'<>", s.p[i]); i++) {
        if (s.p[i] == ':' && !colon)
            colon = i;
        if (s.p[i] == '@' && colon && i > colon + 1) {
            take(x, colon + 1, i - colon - 1);
            return;
        }
    }
}

/* At '=', ':' or '>': the value behind it, when the name before it is secret. */
static void take_assigned(struct scan *x, size_t at)
{
    struct str s = x->s;
    if (s.p[at] == ':' && str_starts(str_from(s, at), STR("://"))) {
        take_userinfo(x, at);
        return;
    }
    struct str name = name_before(x, at);
    if (name.n == 0 || !redact_name(x->r, name))
        return;
    size_t start = at + 1, end;
    if (s.p[at] == '>')
        end = start + str_find(str_from(s, start), '<');
    else
        end = value_end(s, name, &start);
    if (!says_nothing(str_of(s.p + start, end - start)))
        take(x, start, end - start);
}

static void scan_plain(struct scan *x, size_t at, size_t end)
{
    struct secret found;
    while ((at = next_look(x->s, at, end)) < end) {
        char c = x->s.p[at];
        bool known = c == 'e' && at < x->no_jwt;
        if (!known && pattern_at(x->s, x->from, at, &found))
            take(x, found.start, found.n);
        else if (!known && c == 'e')
            x->no_jwt = found.start;
        else if (c == '=' || c == ':' || c == '>')
            take_assigned(x, at);
        at = x->from > at ? x->from : at + 1;
    }
}

/* ---- behind an encoding ---- */

static bool is_run(char c)
{
    return (unsigned char)c > ' ' && !is_quote(c) && c != '<' && c != '>' && c != '&' && c != '?' &&
           c != ';' && c != ',' && c != '=';
}

static bool is_hex_run(struct str s, size_t at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (at + i >= s.n || !is_hex(s.p[at + i]))
            return false;
    return true;
}

static bool is_encoded(struct str s, size_t at)
{
    if (s.p[at] == '%')
        return is_hex_run(s, at + 1, 2);
    return s.p[at] == '\\' && at + 1 < s.n && s.p[at + 1] == 'u' && is_hex_run(s, at + 2, 4);
}

/* In place, one level. False: there was nothing to decode. Of \uXXXX only ASCII is of interest. */
static bool decode(char *p, size_t *n)
{
    struct str s = {p, *n};
    size_t to = 0;
    bool any = false;
    for (size_t i = 0; i < s.n; i++) {
        char c = p[i];
        if (is_encoded(s, i)) {
            size_t last = c == '%' ? i + 2 : i + 5;
            c = (char)(hex_value(p[last - 1]) * 16 + hex_value(p[last]));
            i = last;
            any = true;
        }
        p[to++] = c;
    }
    *n = to;
    return any;
}

static bool finds_decoded(const struct redact *r, struct str run)
{
    char *p = mem_dup(run.p, run.n);
    size_t n = run.n;
    bool found = !p; /* what cannot be looked at is taken out */
    for (int level = 0; p && level < LEVELS && !found && decode(p, &n); level++) {
        struct scan x = {.r = r, .s = {p, n}};
        scan_plain(&x, 0, n);
        found = x.any;
    }
    mem_free(p);
    return found;
}

/* The run around an encoded byte at `at`: taken out whole when something is behind it. Where to go
 * on. */
static size_t scan_run(struct scan *x, size_t at)
{
    size_t start = at, end = at;
    while (start > x->from && is_run(x->s.p[start - 1]))
        start--;
    while (end < x->s.n && is_run(x->s.p[end]))
        end++;
    if (finds_decoded(x->r, str_of(x->s.p + start, end - start)))
        take(x, start, end - start);
    else
        scan_plain(x, at, end);
    return end;
}

static bool scan(const struct redact *r, struct str s, struct text *out)
{
    struct scan x = {.r = r, .s = s, .out = out};
    size_t at = 0;
    while ((at = next_look(s, at, s.n)) < s.n) {
        if (is_encoded(s, at)) {
            at = scan_run(&x, at);
            at = x.from > at ? x.from : at;
        } else {
            scan_plain(&x, at, at + 1);
            at = x.from > at ? x.from : at + 1;
        }
    }
    if (out && x.from < s.n)
        text_add(out, str_of(s.p + x.from, s.n - x.from));
    return x.any;
}

bool redact_text(const struct redact *r, struct str value, struct text *out)
{
    if (value.n && !redact_is_off(r))
        return scan(r, value, out);
    text_add(out, value);
    return false;
}

bool redact_finds(const struct redact *r, struct str value)
{
    return value.n && !redact_is_off(r) && scan(r, value, NULL);
}
