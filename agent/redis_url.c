#include "agent/redis_url.h"

#include "lib/base/parse.h"
#include <errno.h>
#include <stdio.h>

static const char form[] = "want redis://HOST[:PORT][/DB] or unix:/PATH";

static int bad(struct err *e, const char *what)
{
    return err_set(e, -EINVAL, "%s", what);
}

/* HOST, HOST:PORT, [IPv6], [IPv6]:PORT. */
static int parse_host(struct str s, struct redis_url *ret, struct err *e)
{
    struct addr a;
    bool v6 = s.n && s.p[0] == '[';
    bool has_port = v6 ? s.p[s.n - 1] != ']' : str_find(s, ':') < s.n;
    int n = snprintf(
        ret->target, sizeof(ret->target), has_port ? "%.*s" : "%.*s:%u", STR_ARG(s), REDIS_PORT);
    if (s.n == 0 || n >= (int)sizeof(ret->target))
        return bad(e, form);
    if (addr_parse(str_c(ret->target), false, &a, e))
        return -EINVAL;
    if (a.kind == ADDR_IP4 || a.kind == ADDR_IP6 || a.kind == ADDR_DNS)
        return 0;
    return bad(e, form);
}

static int parse_user(struct str s, struct redis_url *ret, struct err *e)
{
    if (str_find(s, ':') < s.n)
        return bad(e, "a password does not belong into the URL: say --redis-password-file FILE");
    if (s.n == 0 || s.n > REDIS_USER_MAX || str_find(s, ' ') < s.n)
        return bad(e, "the user's name is empty, too long or has a space");
    memcpy(ret->user, s.p, s.n);
    ret->user[s.n] = '\0';
    return 0;
}

static int parse_unix(struct str url, struct redis_url *ret, struct err *e)
{
    struct addr a;
    struct str path = str_from(url, 5);
    if (str_starts(path, STR("///")))
        path = str_from(path, 2);
    int n = snprintf(ret->target, sizeof(ret->target), "unix:%.*s", STR_ARG(path));
    if (n >= (int)sizeof(ret->target))
        return bad(e, "the path of the socket is too long");
    return addr_parse(str_c(ret->target), false, &a, e);
}

int redis_url_parse(struct str url, struct redis_url *ret, struct err *e)
{
    struct redis_url u = {.db = 0};
    int rc = 0;
    if (str_starts(url, STR("rediss:")))
        return bad(e, "TLS (rediss:) is not supported; use a tunnel or a Unix socket");
    if (str_starts(url, STR("unix:"))) {
        rc = parse_unix(url, &u, e);
    } else if (str_starts(url, STR("redis://"))) {
        struct str rest = str_from(url, 8);
        size_t at = rest.n; /* the last @ */
        while (at > 0 && rest.p[at - 1] != '@')
            at--;
        if (at)
            rc = parse_user(str_of(rest.p, at - 1), &u, e);
        rest = str_from(rest, at);
        size_t slash = str_find(rest, '/');
        if (rc == 0 && slash + 1 < rest.n &&
            parse_u32(str_from(rest, slash + 1), 0, REDIS_DB_MAX, &u.db))
            rc = bad(e, "the database behind '/' is no number up to 65535");
        if (rc == 0)
            rc = parse_host(str_of(rest.p, slash), &u, e);
    } else {
        rc = bad(e, form);
    }
    if (rc == 0)
        *ret = u;
    return rc;
}

/* The host of "HOST:PORT", with the brackets of IPv6. */
static struct str host_of(const char *target)
{
    size_t n = strlen(target);
    while (n && target[n - 1] != ':')
        n--;
    return str_of(target, n ? n - 1 : 0);
}

int redis_redirect_parse(struct str error, const char *teller, char ret[static ADDR_TEXT_MAX])
{
    size_t space = str_find(error, ' ');
    if (space == error.n)
        return -EBADMSG;
    struct str rest = str_from(error, space + 1);
    space = str_find(rest, ' ');
    if (space == rest.n)
        return -EBADMSG;
    struct str where = str_from(rest, space + 1);
    where.n = str_find(where, ' '); /* later versions may tell more */
    size_t colon = where.n;
    while (colon > 0 && where.p[colon - 1] != ':')
        colon--;
    uint32_t port;
    if (colon == 0 || parse_u32(str_from(where, colon), 1, 65535, &port))
        return -EBADMSG;
    struct str host = str_of(where.p, colon - 1);
    if (host.n == 0 || str_eq(host, STR("?")))
        host = host_of(teller);
    bool bare_v6 = str_find(host, ':') < host.n && host.p[0] != '[';
    char text[ADDR_TEXT_MAX];
    struct addr a;
    int n = snprintf(
        text, sizeof(text), bare_v6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(host), (unsigned)port);
    if (n >= (int)sizeof(text) || addr_parse(str_c(text), false, &a, NULL))
        return -EBADMSG;
    if (a.kind != ADDR_IP4 && a.kind != ADDR_IP6 && a.kind != ADDR_DNS)
        return -EBADMSG;
    memcpy(ret, text, (size_t)n + 1);
    return 0;
}
