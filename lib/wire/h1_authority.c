/* host[:port] as Host, an absolute target and CONNECT carry it (RFC 3986 section 3.2). */
#include "lib/wire/h1_internal.h"
#include <arpa/inet.h>

enum { NAME_MAX_BYTES = 255, PORT_DIGITS = 5 };

/* The length of "[v6 address]" at the start of s, 0 when it is none. Zone identifiers and
 * IPvFuture are refused: nobody sends them and readers differ. Apart, for names are what comes. */
__attribute__((noinline)) static size_t ip_literal(struct str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;
    size_t close = str_find(s, ']');
    if (close == s.n || close - 1 >= sizeof(text))
        return 0;
    memcpy(text, s.p + 1, close - 1);
    text[close - 1] = '\0';
    return inet_pton(AF_INET6, text, &addr) == 1 ? close + 1 : 0;
}

static bool port_valid(struct str s)
{
    unsigned port = 0;
    if (s.n == 0 || s.n > PORT_DIGITS || s.p[0] == '0')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!h1_is(s.p[i], H1_C_DIGIT))
            return false;
        port = port * 10 + (unsigned)(s.p[i] - '0');
    }
    return port <= UINT16_MAX;
}

bool h1_authority_valid(struct str s, bool port_required)
{
    if (s.n == 0)
        return false;
    const char *p = s.p, *end = s.p + s.n;
    while (p < end && h1_is(*p, H1_C_HOST))
        p++;
    size_t i = s.p[0] == '[' ? ip_literal(s) : (size_t)(p - s.p);
    if (i == 0 || i > NAME_MAX_BYTES)
        return false;
    if (i == s.n)
        return !port_required;
    return s.p[i] == ':' && port_valid(str_from(s, i + 1));
}
