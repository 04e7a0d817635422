/* Request line, and a request's head as a whole (RFC 9112 sections 3 and 6). */
#include "lib/wire/h1_internal.h"

enum {
    METHOD_BYTES = 32,
    VERSION_BYTES = 8, /* HTTP/1.x */
};

static enum h1_method method_id(struct str m)
{
    switch (m.n) {
    case 3:
        return str_eq(m, STR("GET")) ? H1_GET : str_eq(m, STR("PUT")) ? H1_PUT : H1_METHOD_OTHER;
    case 4:
        return str_eq(m, STR("POST"))   ? H1_POST
               : str_eq(m, STR("HEAD")) ? H1_HEAD
                                        : H1_METHOD_OTHER;
    case 5:
        return str_eq(m, STR("PATCH"))   ? H1_PATCH
               : str_eq(m, STR("TRACE")) ? H1_TRACE
                                         : H1_METHOD_OTHER;
    case 6:
        return str_eq(m, STR("DELETE")) ? H1_DELETE : H1_METHOD_OTHER;
    case 7:
        return str_eq(m, STR("OPTIONS"))   ? H1_OPTIONS
               : str_eq(m, STR("CONNECT")) ? H1_CONNECT
                                           : H1_METHOD_OTHER;
    default:
        return H1_METHOD_OTHER;
    }
}

bool h1_method_safe(enum h1_method m)
{
    return m == H1_GET || m == H1_HEAD || m == H1_OPTIONS || m == H1_TRACE;
}

bool h1_method_idempotent(enum h1_method m)
{
    return h1_method_safe(m) || m == H1_PUT || m == H1_DELETE;
}

/* The rest of a request line after "METHOD SP" does not end in " HTTP/1.0" or " HTTP/1.1": a
 * wrong version when it has the two parts, else no request line. */
static enum h1_error version_error(struct str rest)
{
    struct str version = str_from(rest, str_find(rest, ' '));
    bool two_parts =
        version.n > 1 && version.n < rest.n && str_find(str_from(version, 1), ' ') == version.n - 1;
    return two_parts ? H1_E_VERSION : H1_E_REQUEST_LINE;
}

#if defined(__SSE2__)
/* True when p[0..16) are without white space, obs-text, '#', '%' and '\\'. */
static inline bool target_sixteen(const char *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    /* bytes from 0x80 on are negative */
    __m128i odd = _mm_cmplt_epi8(x, _mm_set1_epi8(' ' + 1));
    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(x, _mm_set1_epi8('#')));
    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(x, _mm_set1_epi8('%')));
    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));
    return _mm_movemask_epi8(odd) == 0;
}
#endif

/* How many bytes at the start of t are allowed, as far as sixteens tell. The line holds no control
 * bytes any more. */
static inline size_t plain_target_bytes(struct str t)
{
    size_t i = 0;
#if defined(__SSE2__)
    if (t.n < 16)
        return 0;
    for (; i + 16 <= t.n; i += 16)
        if (!target_sixteen(t.p + i))
            return i;
    if (target_sixteen(t.p + t.n - 16))
        return t.n;
#else
    (void)t;
#endif
    return i;
}

static enum h1_error target_bytes(struct str t)
{
    for (size_t i = plain_target_bytes(t); i < t.n; i++) {
        if (h1_is(t.p[i], H1_C_TARGET))
            continue;
        if (t.p[i] == ' ')
            return H1_E_REQUEST_LINE;
        if (t.p[i] != '%' || t.n - i < 3 || !h1_is(t.p[i + 1], H1_C_HEX) ||
            !h1_is(t.p[i + 2], H1_C_HEX))
            return H1_E_TARGET;
    }
    return H1_OK;
}

/* scheme://authority[/...]. The authority's place within t. A query right after the authority is
 * refused: its path could only be forwarded as "/?...", which stands nowhere in the bytes. */
static bool absolute_form(struct str t, uint32_t *ret_pos, uint32_t *ret_len)
{
    struct str http = STR("http://"), https = STR("https://"), scheme;
    if (t.n > http.n && str_ieq(str_of(t.p, http.n), http))
        scheme = http;
    else if (t.n > https.n && str_ieq(str_of(t.p, https.n), https))
        scheme = https;
    else
        return false;
    struct str rest = str_from(t, scheme.n);
    struct str authority = str_of(rest.p, str_find(rest, '/'));
    if (!h1_authority_valid(authority, false))
        return false;
    *ret_pos = (uint32_t)scheme.n;
    *ret_len = (uint32_t)authority.n;
    return true;
}

static enum h1_error target_form(struct h1_parser *p, struct str t, uint32_t pos)
{
    p->target_len = (uint32_t)t.n;
    if (p->method_id == H1_CONNECT) {
        p->form = H1_AUTHORITY;
        p->authority_pos = pos;
        p->authority_len = (uint32_t)t.n;
        return h1_authority_valid(t, true) ? H1_OK : H1_E_TARGET;
    }
    if (t.p[0] == '/') {
        p->form = H1_ORIGIN;
        return H1_OK;
    }
    if (str_eq(t, STR("*"))) {
        p->form = H1_ASTERISK;
        return p->method_id == H1_OPTIONS ? H1_OK : H1_E_TARGET;
    }
    p->form = H1_ABSOLUTE;
    if (!absolute_form(t, &p->authority_pos, &p->authority_len))
        return H1_E_TARGET;
    p->authority_pos += pos;
    return H1_OK;
}

/* METHOD SP target SP HTTP/1.x */
static enum h1_error request_line(struct h1_parser *p, const char *data, uint32_t end)
{
    const char *line = data + p->pos;
    const uint32_t len = end - p->pos;
    uint32_t m = 0;
    while (h1_is(line[m], H1_C_TOKEN)) /* ends at the CR at the latest */
        m++;
    if (m == len || line[0] == ' ')
        return H1_E_REQUEST_LINE;
    if (m == 0 || m > METHOD_BYTES || line[m] != ' ')
        return H1_E_METHOD;
    p->method_len = (uint8_t)m;
    p->method_id = (uint8_t)method_id(str_of(line, m));

    struct str rest = str_of(line + m + 1, len - m - 1);
    if (rest.n <= VERSION_BYTES + 1)
        return version_error(rest);
    struct str target = str_of(rest.p, rest.n - VERSION_BYTES - 1);
    const char *version = target.p + target.n;
    if (memcmp(version, " HTTP/1.", VERSION_BYTES) != 0 || (version[VERSION_BYTES] & ~1) != '0')
        return version_error(rest);
    p->minor = (uint8_t)(version[VERSION_BYTES] - '0');
    enum h1_error e = target_bytes(target);
    return e ? e : target_form(p, target, p->pos + m + 1);
}

static enum h1_error judge(const struct h1_parser *p)
{
    if (p->minor > 0 && !(p->seen & H1_SEEN_HOST))
        return H1_E_HOST_MISSING;
    if (p->method_id == H1_CONNECT && (p->seen & H1_SEEN_CODING || p->length > 0))
        return H1_E_BODY_FORBIDDEN;
    return H1_OK;
}

/* The path to forward (RFC 9112 section 3.2.4 for OPTIONS on a whole server). */
static struct str forward_path(const struct h1_parser *p, const char *data, struct str target)
{
    if (p->form == H1_AUTHORITY)
        return STR("");
    if (p->form != H1_ABSOLUTE)
        return target;
    uint32_t from = p->authority_pos + p->authority_len;
    const char *end = target.p + target.n;
    if (data + from < end)
        return str_of(data + from, (size_t)(end - (data + from)));
    return p->method_id == H1_OPTIONS ? STR("*") : STR("/");
}

static void finish(struct h1_parser *p, const char *data, struct h1_head *head)
{
    const unsigned seen = p->seen;
    const uint32_t start = p->skip ? 2 : 0;
    h1_head_common(p, head);
    if (seen & H1_SEEN_CODING)
        head->framing = H1_CHUNKED;
    else if (seen & H1_SEEN_LENGTH && p->method_id != H1_CONNECT)
        head->framing = H1_LENGTH;
    head->upgrade = p->minor > 0 && (seen & H1_SEEN_UPGRADE) && (seen & H1_SEEN_OPT_UPGRADE);
    head->expect_continue = p->minor > 0 && (seen & H1_SEEN_EXPECT_100);
    head->expect_other = (seen & H1_SEEN_EXPECT_OTHER) != 0;
    head->te_trailers = (seen & H1_SEEN_TE_TRAILERS) != 0;
    head->method_id = p->method_id;
    head->form = p->form;
    head->method = str_of(data + start, p->method_len);
    head->target = str_of(data + start + p->method_len + 1, p->target_len);
    head->path = forward_path(p, data, head->target);
    if (p->authority_len)
        head->authority = str_of(data + p->authority_pos, p->authority_len);
    else if (seen & H1_SEEN_HOST)
        head->authority = field_value(&p->fields[p->host]);
}

enum h1_status h1_request(struct h1_parser *p, char *data, uint32_t n, struct h1_head *head)
{
    enum h1_status status = h1_head_lines(p, data, n, request_line);
    if (status != H1_DONE)
        return status;
    enum h1_error e = judge(p);
    if (e)
        return h1_fail(p, e);
    finish(p, data, head);
    return H1_DONE;
}
