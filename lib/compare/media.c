#include "lib/compare/media.h"
#include <errno.h>

#define BOUNDARY_MAX 70 /* RFC 2046 section 5.1.1 */

static struct str essence(struct str type)
{
    return str_trim(str_of(type.p, str_find(type, ';')));
}

static bool iends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_ieq(str_from(s, s.n - suffix.n), suffix);
}

static bool istarts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_ieq(str_of(s.p, prefix.n), prefix);
}

enum media media_of(struct str type)
{
    static const struct {
        const char *type;
        enum media media;
    } known[] = {
        {"application/json", MEDIA_JSON},
        {"text/json", MEDIA_JSON},
        {"application/x-www-form-urlencoded", MEDIA_FORM},
        {"application/grpc", MEDIA_GRPC},
        {"application/grpc+proto", MEDIA_GRPC},
        {"application/xml", MEDIA_TEXT},
        {"application/javascript", MEDIA_TEXT},
        {"application/x-ndjson", MEDIA_LINES},
        {"application/ndjson", MEDIA_LINES},
        {"application/jsonl", MEDIA_LINES},
        {"application/yaml", MEDIA_TEXT},
        {"application/graphql", MEDIA_TEXT},
    };
    struct str s = essence(type);
    if (s.n == 0)
        return MEDIA_NONE;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (str_ieq(s, str_c(known[i].type)))
            return known[i].media;
    if (iends(s, STR("+json")) && !istarts(s, STR("application/grpc")))
        return MEDIA_JSON;
    if (istarts(s, STR("multipart/")))
        return MEDIA_MULTIPART;
    return istarts(s, STR("text/")) || iends(s, STR("+xml")) ? MEDIA_TEXT : MEDIA_OTHER;
}

bool media_looks_like_json(struct str body)
{
    size_t i = 0;
    while (i < body.n && strchr(" \t\r\n", body.p[i]) && body.p[i])
        i++;
    return i < body.n && (body.p[i] == '{' || body.p[i] == '[');
}

/* The end of a quoted text that begins at `at`: behind its last quote. */
static size_t quoted_end(struct str s, size_t at)
{
    size_t i = at + 1;
    while (i < s.n && s.p[i] != '"')
        i += s.p[i] == '\\' && i + 1 < s.n ? 2 : 1;
    return i < s.n ? i + 1 : s.n;
}

struct str media_parameter(struct str value, struct str name)
{
    struct str rest = value;
    if (rest.n)
        rest = str_from(rest, str_find(rest, ';'));
    while (rest.n) {
        size_t end = 1;
        while (end < rest.n && rest.p[end] != ';')
            end = rest.p[end] == '"' ? quoted_end(rest, end) : end + 1;
        struct str part = str_trim(str_of(rest.p + 1, end - 1));
        rest = str_from(rest, end);
        size_t eq = str_find(part, '=');
        if (eq == part.n || !str_ieq(str_trim(str_of(part.p, eq)), name))
            continue;
        struct str v = str_trim(str_from(part, eq + 1));
        if (v.n >= 2 && v.p[0] == '"' && v.p[v.n - 1] == '"')
            v = str_of(v.p + 1, v.n - 2);
        return v;
    }
    return str_of(NULL, 0);
}

/* ---- forms ---- */

struct str form_decode(struct str s, char *room)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && i + 2 < s.n && hex_value(s.p[i + 1]) >= 0 &&
                   hex_value(s.p[i + 2]) >= 0) {
            c = (char)(hex_value(s.p[i + 1]) * 16 + hex_value(s.p[i + 2]));
            i += 2;
        }
        room[n++] = c;
    }
    return str_of(room, n);
}

bool form_next(struct str *rest, struct str *ret_name, struct str *ret_value, bool *ret_sign)
{
    if (rest->n == 0)
        return false;
    struct str part = str_of(rest->p, str_find(*rest, '&'));
    *rest = str_from(*rest, part.n < rest->n ? part.n + 1 : part.n);
    size_t eq = str_find(part, '=');
    *ret_sign = eq < part.n;
    *ret_name = str_of(part.p, eq);
    *ret_value = *ret_sign ? str_from(part, eq + 1) : str_from(part, part.n);
    return true;
}

/* ---- multipart ---- */

static bool at_line_start(struct str s, size_t at)
{
    return at == 0 || s.p[at - 1] == '\n';
}

/* Position of the next line that begins with "--" and the boundary, from `from` on; s.n: none. */
static size_t find_delimiter(struct str s, struct str boundary, size_t from)
{
    while (from < s.n) {
        const char *at = memmem(s.p + from, s.n - from, boundary.p, boundary.n);
        if (!at)
            break;
        size_t i = (size_t)(at - s.p);
        if (i >= 2 && s.p[i - 1] == '-' && s.p[i - 2] == '-' && at_line_start(s, i - 2))
            return i - 2;
        from = i + 1;
    }
    return s.n;
}

bool multipart_start(struct multipart *m, struct str type, struct str body)
{
    m->boundary = media_parameter(type, STR("boundary"));
    if (body.n == 0 || m->boundary.n == 0 || m->boundary.n > BOUNDARY_MAX)
        return false;
    size_t at = find_delimiter(body, m->boundary, 0);
    m->rest = str_from(body, at);
    return at < body.n;
}

static size_t line_end(struct str s, size_t at)
{
    size_t n = str_find(str_from(s, at), '\n');
    return at + n < s.n ? at + n + 1 : s.n;
}

static void read_line(struct part *p, struct str line)
{
    size_t colon = str_find(line, ':');
    struct str name = str_trim(str_of(line.p, colon));
    struct str value = colon < line.n ? str_trim(str_from(line, colon + 1)) : str_of(NULL, 0);
    if (str_ieq(name, STR("content-disposition")))
        p->name = media_parameter(value, STR("name"));
    if (str_ieq(name, STR("content-type")))
        p->type = value;
}

/* The head of a part, up to the empty line; where its body begins, 0: there is no end of it. */
static size_t read_head(struct part *p, struct str s, size_t at)
{
    while (at < s.n) {
        size_t end = line_end(s, at);
        struct str line = str_of(s.p + at, end - at);
        while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
            line.n--;
        if (line.n == 0)
            return end;
        read_line(p, line);
        at = end;
    }
    return 0;
}

int multipart_next(struct multipart *m, struct part *ret)
{
    struct str s = m->rest;
    size_t behind = 2 + m->boundary.n;
    *ret = (struct part){0};
    if (str_starts(str_from(s, behind), STR("--")))
        return 0;
    size_t body = read_head(ret, s, line_end(s, behind));
    if (body == 0)
        return -EBADMSG;
    size_t next = find_delimiter(s, m->boundary, body), end = next;
    if (next == s.n)
        return -EBADMSG;
    end -= end > body && s.p[end - 1] == '\n';
    end -= end > body && s.p[end - 1] == '\r';
    ret->before = str_of(s.p, body);
    ret->body = str_of(s.p + body, end - body);
    m->rest = str_from(s, next);
    return 1;
}
