#include "lib/graph/path.h"

static bool is_unreserved(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* The byte that the escape at the start of s stands for, or -1. */
static int escaped_byte(struct str s)
{
    int high = s.n >= 3 ? hex_value(s.p[1]) : -1;
    int low = s.n >= 3 ? hex_value(s.p[2]) : -1;
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Writes one segment with unreserved characters decoded, other escapes in upper-case hex. One with
 * a broken escape stays as it is: decoding around it could make an escape that was none. */
static size_t decode_segment(struct str segment, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;
    for (size_t i = 0; i < segment.n; i++) {
        if (segment.p[i] != '%') {
            out[n++] = segment.p[i];
            continue;
        }
        int c = escaped_byte(str_from(segment, i));
        if (c < 0) {
            memcpy(out, segment.p, segment.n);
            return segment.n;
        }
        i += 2;
        if (is_unreserved(c)) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '%';
        out[n++] = digits[c >> 4];
        out[n++] = digits[c & 15];
    }
    return n;
}

long path_normalise(struct str path, char *out)
{
    path = path_bare(path);
    size_t n = 0;
    size_t at = 0;
    if (path.n == 0 || path.p[0] != '/') {
        if (path.n)
            memcpy(out, path.p, path.n);
        return (long)path.n;
    }
    while (at < path.n) {
        /* A segment with the slash before it. RFC 3986 section 5.2.4, but a climb is refused. */
        struct str rest = str_from(path, at + 1);
        struct str segment = {rest.p, str_find(rest, '/')};
        at += 1 + segment.n;
        bool last = at == path.n;
        out[n] = '/';
        size_t len = decode_segment(segment, out + n + 1);
        bool one = len == 1 && out[n + 1] == '.';
        bool two = len == 2 && out[n + 1] == '.' && out[n + 2] == '.';
        if (!one && !two) {
            n += 1 + len;
            continue;
        }
        if (two) {
            if (n == 0)
                return -1;
            do
                n--;
            while (out[n] != '/');
        }
        if (last)
            out[n++] = '/';
    }
    return (long)n;
}
