#include "lib/base/addr.h"
#include "lib/base/parse.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/un.h>
#include <xxhash.h>

#define UNIX_PATH_MAX 107
#define DNS_NAME_MAX  253
#define DNS_LABEL_MAX 63
#define TEXT_IN_ERROR 300 /* longer texts are cut in messages */

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static int bad(struct err *e, const char *what, struct str text)
{
    int n = (int)(text.n < TEXT_IN_ERROR ? text.n : TEXT_IN_ERROR);
    return err_set(e, -EINVAL, "%s in address '%.*s'", what, n, n ? text.p : "");
}

/* Turns an IPv4-mapped IPv6 address into the IPv4 address that the kernel would use for it, so
 * that no rule can be passed by under another spelling. */
static bool unmap(uint8_t ip[16])
{
    if (memcmp(ip, mapped_prefix, sizeof(mapped_prefix)) != 0)
        return false;
    memmove(ip, ip + 12, 4);
    memset(ip + 4, 0, 12);
    return true;
}

static struct addr canonical(const struct addr *a)
{
    struct addr c = *a;
    if (c.kind == ADDR_IP6 && unmap(c.ip))
        c.kind = ADDR_IP4;
    return c;
}

/* ---- text to address -------------------------------------------------------------------- */

static bool parse_ip4(struct str s, uint8_t ip[16])
{
    uint8_t out[16] = {0};

    for (int i = 0; i < 4; i++) {
        size_t dot = str_find(s, '.');
        uint32_t v;
        if ((dot == s.n) != (i == 3) || parse_u32(str_of(s.p, dot), 0, 255, &v))
            return false;
        out[i] = (uint8_t)v;
        s = str_from(s, dot < s.n ? dot + 1 : dot);
    }
    memcpy(ip, out, sizeof(out));
    return true;
}

/* No zone, and as inet_pton has it otherwise. */
static bool parse_ip6(struct str s, uint8_t ip[16])
{
    char text[INET6_ADDRSTRLEN];

    if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(AF_INET6, text, ip) == 1;
}

static bool is_label(struct str s)
{
    if (s.n == 0 || s.n > DNS_LABEL_MAX || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '-')
            return false;
    }
    return true;
}

/* Resolvers read "1", "0x7f.1" and the like as IPv4 addresses: a last label that is a number
 * makes the whole one (https://url.spec.whatwg.org/#ends-in-a-number-checker). */
static bool is_number(struct str label)
{
    const char *digits = "0123456789";

    if (label.n >= 2 && label.p[0] == '0' && ascii_lower(label.p[1]) == 'x') {
        label = str_from(label, 2);
        digits = "0123456789abcdefABCDEF";
    }
    for (size_t i = 0; i < label.n; i++) {
        if (!strchr(digits, label.p[i]))
            return false;
    }
    return true;
}

/* NULL when s is a DNS name, else what is wrong. */
static const char *judge_dns_name(struct str s)
{
    struct str last;

    if (s.n > DNS_NAME_MAX)
        return "name longer than 253 bytes";
    for (struct str rest = s;;) {
        size_t dot = str_find(rest, '.');
        last = str_of(rest.p, dot);
        if (!is_label(last))
            return "invalid host name";
        if (dot == rest.n)
            break;
        rest = str_from(rest, dot + 1);
    }
    return is_number(last) ? "invalid IPv4 address" : NULL;
}

static int parse_host(struct str host, struct str text, struct addr *a, struct err *e)
{
    if (host.n == 0)
        return bad(e, "no host", text);
    if (host.p[0] == '[') {
        if (host.p[host.n - 1] != ']' || !parse_ip6(str_of(host.p + 1, host.n - 2), a->ip))
            return bad(e, "invalid IPv6 address", text);
        a->kind = unmap(a->ip) ? ADDR_IP4 : ADDR_IP6;
        return 0;
    }
    if (str_find(host, ':') < host.n)
        return bad(e, "IPv6 without brackets, or more than one port", text);
    if (parse_ip4(host, a->ip)) {
        a->kind = ADDR_IP4;
        return 0;
    }
    const char *fault = judge_dns_name(host);
    if (fault)
        return bad(e, fault, text);
    a->kind = ADDR_DNS;
    a->name = host;
    return 0;
}

static int parse_unix(struct str path, struct str text, struct addr *a, struct err *e)
{
    if (path.n < 2 || path.p[0] != '/')
        return bad(e, "path that is not absolute", text);
    if (path.n > UNIX_PATH_MAX)
        return bad(e, "path longer than 107 bytes", text);
    if (path.p[path.n - 1] == '/')
        return bad(e, "path that ends in '/'", text);
    for (size_t i = 0; i < path.n; i++) {
        if ((unsigned char)path.p[i] < 0x20 || path.p[i] == 0x7f)
            return bad(e, "control byte", text);
    }
    a->kind = ADDR_UNIX;
    a->name = path;
    return 0;
}

/* Position of the last ':', or s.n. */
static size_t last_colon(struct str s)
{
    const char *at = s.n ? memrchr(s.p, ':', s.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

int addr_parse(struct str text, bool allow_port_0, struct addr *ret, struct err *e)
{
    struct addr a = {.kind = ADDR_NONE};
    uint32_t port;
    int rc;

    if (str_starts(text, STR("unix:"))) {
        rc = parse_unix(str_from(text, 5), text, &a, e);
    } else if (str_starts(text, STR("tunnel:"))) {
        a.kind = ADDR_TUNNEL;
        a.name = str_from(text, 7);
        rc = name_valid(a.name) ? 0 : bad(e, "invalid tunnel name", text);
    } else {
        size_t colon = last_colon(text);
        if (colon == text.n || text.p[text.n - 1] == ']')
            return bad(e, "no port", text);
        rc = parse_host(str_of(text.p, colon), text, &a, e);
        if (rc == 0 && parse_u32(str_from(text, colon + 1), allow_port_0 ? 0 : 1, 65535, &port))
            rc = bad(e, "invalid port", text);
        else if (rc == 0)
            a.port = (uint16_t)port;
    }
    if (rc == 0)
        *ret = a;
    return rc;
}

/* ---- address to text, comparison ---------------------------------------------------------- */

size_t addr_format(const struct addr *a, char *out)
{
    char ip[INET6_ADDRSTRLEN];
    int n = 0;

    out[0] = '\0';
    switch (a->kind) {
    case ADDR_IP4:
        n = snprintf(
            out, ADDR_TEXT_MAX, "%u.%u.%u.%u:%u", a->ip[0], a->ip[1], a->ip[2], a->ip[3], a->port);
        break;
    case ADDR_IP6:
        inet_ntop(AF_INET6, a->ip, ip, sizeof(ip));
        n = snprintf(out, ADDR_TEXT_MAX, "[%s]:%u", ip, a->port);
        break;
    case ADDR_DNS:
        n = snprintf(out, ADDR_TEXT_MAX, "%.*s:%u", STR_ARG(a->name), a->port);
        break;
    case ADDR_UNIX:
    case ADDR_TUNNEL:
        n = snprintf(out, ADDR_TEXT_MAX, "%s:%.*s", a->kind == ADDR_UNIX ? "unix" : "tunnel",
            STR_ARG(a->name));
        break;
    }
    return n < 0 ? 0 : n < ADDR_TEXT_MAX ? (size_t)n : ADDR_TEXT_MAX - 1;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    if (a->kind != b->kind || a->port != b->port)
        return false;
    switch (a->kind) {
    case ADDR_IP4:
    case ADDR_IP6:
        return memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
    case ADDR_DNS:
        return str_ieq(a->name, b->name);
    case ADDR_UNIX:
    case ADDR_TUNNEL:
        return str_eq(a->name, b->name);
    }
    return true;
}

uint64_t addr_hash(const struct addr *a)
{
    uint64_t seed = (uint64_t)a->kind << 16 | a->port;
    char lower[DNS_NAME_MAX];

    if (a->kind == ADDR_IP4 || a->kind == ADDR_IP6)
        return XXH3_64bits_withSeed(a->ip, sizeof(a->ip), seed);
    if (a->kind != ADDR_DNS)
        return XXH3_64bits_withSeed(a->name.n ? a->name.p : "", a->name.n, seed);
    size_t n = a->name.n < sizeof(lower) ? a->name.n : sizeof(lower);
    for (size_t i = 0; i < n; i++)
        lower[i] = ascii_lower(a->name.p[i]);
    return XXH3_64bits_withSeed(lower, n, seed);
}

static socklen_t to_sockaddr_un(const struct addr *a, struct sockaddr_storage *ss)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (a->name.n == 0 || a->name.n > UNIX_PATH_MAX)
        return 0;
    memcpy(un.sun_path, a->name.p, a->name.n);
    memcpy(ss, &un, sizeof(un));
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + a->name.n + 1);
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ss)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};

    memset(ss, 0, sizeof(*ss));
    switch (a->kind) {
    case ADDR_IP4:
        memcpy(&in.sin_addr, a->ip, 4);
        memcpy(ss, &in, sizeof(in));
        return sizeof(in);
    case ADDR_IP6:
        memcpy(&in6.sin6_addr, a->ip, 16);
        memcpy(ss, &in6, sizeof(in6));
        return sizeof(in6);
    case ADDR_UNIX:
        return to_sockaddr_un(a, ss);
    }
    return 0;
}

void addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct addr *ret)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    sa_family_t family = AF_UNSPEC;

    *ret = (struct addr){.kind = ADDR_NONE};
    if (len >= offsetof(struct sockaddr, sa_family) + sizeof(family))
        memcpy(&family, &sa->sa_family, sizeof(family));
    if (family == AF_INET && len >= sizeof(in)) {
        memcpy(&in, sa, sizeof(in));
        ret->kind = ADDR_IP4;
        ret->port = ntohs(in.sin_port);
        memcpy(ret->ip, &in.sin_addr, 4);
    } else if (family == AF_INET6 && len >= sizeof(in6)) {
        memcpy(&in6, sa, sizeof(in6));
        ret->port = ntohs(in6.sin6_port);
        memcpy(ret->ip, &in6.sin6_addr, 16);
        ret->kind = unmap(ret->ip) ? ADDR_IP4 : ADDR_IP6;
    } else if (family == AF_UNIX) {
        ret->kind = ADDR_UNIX;
    }
}

/* ---- blocks --------------------------------------------------------------------------------- */

/* The first `bits` bits of both are equal. */
static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned rest = bits % 8;

    if (memcmp(a, b, bits / 8) != 0)
        return false;
    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

static bool host_bits_zero(const struct cidr *c, unsigned width)
{
    for (unsigned bit = c->bits; bit < width; bit++) {
        if (c->ip[bit / 8] & (0x80 >> bit % 8))
            return false;
    }
    return true;
}

static int bad_block(struct err *e, const char *what, struct str text)
{
    int n = (int)(text.n < TEXT_IN_ERROR ? text.n : TEXT_IN_ERROR);
    return err_set(e, -EINVAL, "%s: address block '%.*s'", what, n, n ? text.p : "");
}

int cidr_parse(struct str text, struct cidr *ret, struct err *e)
{
    struct cidr c = {.kind = ADDR_IP4};
    size_t slash = str_find(text, '/');
    struct str ip = str_of(text.p, slash);
    uint32_t width = 32;
    uint32_t bits;

    if (!parse_ip4(ip, c.ip)) {
        if (!parse_ip6(ip, c.ip))
            return bad_block(e, "neither an IPv4 nor an IPv6 address", text);
        c.kind = ADDR_IP6;
        width = 128;
    }
    bits = width;
    if (slash < text.n && parse_u32(str_from(text, slash + 1), 0, width, &bits))
        return bad_block(e, "invalid prefix length", text);
    c.bits = (uint8_t)bits;
    if (!host_bits_zero(&c, width))
        return bad_block(e, "bits set behind the prefix", text);
    if (c.kind == ADDR_IP6 && bits >= 96 && unmap(c.ip)) {
        c.kind = ADDR_IP4;
        c.bits = (uint8_t)(bits - 96);
    }
    *ret = c;
    return 0;
}

bool cidr_has(const struct cidr *c, const struct addr *a)
{
    struct addr plain = canonical(a);
    return plain.kind == c->kind && same_bits(plain.ip, c->ip, c->bits);
}

static const struct cidr loopback[] = {
    {ADDR_IP4, 8, {127}},
    {ADDR_IP6, 128, {[15] = 1}},
};
static const struct cidr wildcard[] = {
    {ADDR_IP4, 32, {0}},
    {ADDR_IP6, 128, {0}},
};
static const struct cidr local_or_multicast[] = {
    {ADDR_IP4, 16, {169, 254}},
    {ADDR_IP4, 4, {224}},
    {ADDR_IP4, 8, {0}},
    {ADDR_IP4, 32, {255, 255, 255, 255}},
    {ADDR_IP6, 10, {0xfe, 0x80}},
    {ADDR_IP6, 8, {0xff}},
    {ADDR_IP6, 128, {0}},
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool any_has(const struct cidr *c, size_t n, const struct addr *a)
{
    for (size_t i = 0; i < n; i++) {
        if (cidr_has(&c[i], a))
            return true;
    }
    return false;
}

bool addr_is_loopback(const struct addr *a)
{
    return a->kind == ADDR_UNIX || any_has(loopback, COUNT(loopback), a);
}

bool addr_is_linklocal_or_multicast(const struct addr *a)
{
    return any_has(local_or_multicast, COUNT(local_or_multicast), a);
}

/* ---- where endpoints may point ----------------------------------------------------------------
 */

/* Takes the next segment of a path off *rest; empty ones and "." say nothing and are skipped.
 * Empty at the end. */
static struct str next_segment(struct str *rest)
{
    struct str segment;

    do {
        while (rest->n && rest->p[0] == '/')
            *rest = str_from(*rest, 1);
        segment = str_of(rest->p, str_find(*rest, '/'));
        *rest = str_from(*rest, segment.n);
    } while (str_eq(segment, STR(".")));
    return segment;
}

static bool has_dotdot(struct str path)
{
    for (struct str s = next_segment(&path); s.n; s = next_segment(&path)) {
        if (str_eq(s, STR("..")))
            return true;
    }
    return false;
}

enum relation { PATH_ELSEWHERE, PATH_SAME, PATH_BELOW };

/* How a path lies to a folder. */
static enum relation path_relation(struct str path, struct str folder)
{
    for (;;) {
        struct str want = next_segment(&folder);
        struct str have = next_segment(&path);
        if (want.n == 0)
            return have.n ? PATH_BELOW : PATH_SAME;
        if (!str_eq(want, have))
            return PATH_ELSEWHERE;
    }
}

/* A connection to the wildcard address goes to the host itself, as one to a loopback address. */
static bool reaches_host(const struct addr *a)
{
    return any_has(loopback, COUNT(loopback), a) || any_has(wildcard, COUNT(wildcard), a);
}

static bool is_own(const struct addr *own, const struct addr *a)
{
    struct addr o = canonical(own);

    if (o.kind == ADDR_UNIX || a->kind == ADDR_UNIX)
        return o.kind == a->kind && path_relation(a->name, o.name) == PATH_SAME;
    if (addr_eq(&o, a))
        return true;
    bool either_wild =
        any_has(wildcard, COUNT(wildcard), &o) || any_has(wildcard, COUNT(wildcard), a);
    return o.port == a->port && either_wild && reaches_host(&o) && reaches_host(a);
}

static const char *judge_unix(const struct endpoint_rules *r, const struct addr *a)
{
    if (has_dotdot(a->name))
        return "a unix path may not have a '..' segment";
    for (size_t i = 0; i < r->n_unix_dirs; i++) {
        if (path_relation(a->name, r->unix_dirs[i]) == PATH_BELOW)
            return NULL;
    }
    return "a unix path must lie below one of the allowed folders";
}

static const char *judge_ip(const struct endpoint_rules *r, const struct addr *a)
{
    if (r->n_allow == 0)
        return addr_is_linklocal_or_multicast(a)
                   ? "link-local, multicast and unspecified addresses are not allowed"
                   : NULL;
    return any_has(r->allow, r->n_allow, a) ? NULL : "outside the allowed address blocks";
}

bool endpoint_allowed(const struct endpoint_rules *r, const struct addr *a, const char **ret_why)
{
    struct addr plain = canonical(a);
    const char *why = NULL;

    if (plain.kind == ADDR_DNS || plain.kind == ADDR_TUNNEL)
        return true;
    for (size_t i = 0; i < r->n_own && !why; i++) {
        if (is_own(&r->own[i], &plain))
            why = "an address of this program itself";
    }
    if (!why)
        why = plain.kind == ADDR_NONE   ? "no address"
              : plain.kind == ADDR_UNIX ? judge_unix(r, &plain)
                                        : judge_ip(r, &plain);
    if (why)
        *ret_why = why;
    return !why;
}
