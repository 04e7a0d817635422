/* Status line, and a reply's head as a whole (RFC 9112 sections 4 and 6.3). */
#include "lib/wire/h1_internal.h"

enum {
    VERSION_BYTES = 8,              /* HTTP/1.x */
    STATUS_END = VERSION_BYTES + 4, /* HTTP/1.x 200 */
};

/* A line too short for its status, or that does not begin with HTTP/1.0 or HTTP/1.1 and SP. */
static enum h1_error line_error(struct str line)
{
    struct str http = STR("HTTP/");
    if (!str_starts(line, http))
        return H1_E_STATUS_LINE;
    struct str version = str_from(line, http.n);
    bool known = str_starts(version, STR("1.0")) || str_starts(version, STR("1.1"));
    return known ? H1_E_STATUS_LINE : H1_E_VERSION;
}

/* HTTP/1.x SP 3DIGIT [SP reason]; the reason's bytes were judged by the line scan. */
static enum h1_error status_line(struct h1_parser *p, const char *data, uint32_t end)
{
    const char *line = data + p->pos;
    const uint32_t len = end - p->pos;
    if (len < STATUS_END || memcmp(line, "HTTP/1.", VERSION_BYTES - 1) != 0 ||
        (line[VERSION_BYTES - 1] & ~1) != '0' || line[VERSION_BYTES] != ' ')
        return line_error(str_of(line, len));
    unsigned status = 0;
    for (unsigned i = VERSION_BYTES + 1; i < STATUS_END; i++) {
        if (!h1_is(line[i], H1_C_DIGIT))
            return H1_E_STATUS_LINE;
        status = status * 10 + (unsigned)(line[i] - '0');
    }
    if (status < 100 || status > 599)
        return H1_E_STATUS_LINE;
    if (len > STATUS_END) {
        if (line[STATUS_END] != ' ')
            return H1_E_STATUS_LINE;
        p->target_len = len - STATUS_END - 1;
    }
    p->minor = (uint8_t)(line[VERSION_BYTES - 1] - '0');
    p->status = (uint16_t)status;
    return H1_OK;
}

/* No body whatever is declared, and nothing but "0" may be declared. */
static bool body_forbidden(const struct h1_parser *p, enum h1_method request_method)
{
    return p->status < 200 || p->status == 204 || (request_method == H1_CONNECT && p->status < 300);
}

static enum h1_framing framing(const struct h1_parser *p, enum h1_method request_method)
{
    if (request_method == H1_HEAD || p->status == 304 || body_forbidden(p, request_method))
        return H1_NO_BODY;
    if (p->seen & H1_SEEN_CODING)
        return H1_CHUNKED;
    return p->seen & H1_SEEN_LENGTH ? H1_LENGTH : H1_UNTIL_CLOSE;
}

enum h1_status h1_reply(struct h1_parser *p, char *data, uint32_t n, enum h1_method request_method,
    struct h1_head *head)
{
    p->seen |= H1_SEEN_REPLY;
    enum h1_status status = h1_head_lines(p, data, n, status_line);
    if (status != H1_DONE)
        return status;
    if (body_forbidden(p, request_method) && (p->seen & H1_SEEN_CODING || p->length > 0))
        return h1_fail(p, H1_E_BODY_FORBIDDEN);
    h1_head_common(p, head);
    head->status = p->status;
    head->upgrade = p->status == 101;
    head->framing = (uint8_t)framing(p, request_method);
    if (head->framing == H1_UNTIL_CLOSE)
        head->keep_alive = false;
    if (p->target_len)
        head->reason = str_of(data + STATUS_END + 1, p->target_len);
    return H1_DONE;
}
