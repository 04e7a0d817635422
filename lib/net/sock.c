#include "lib/net/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(const struct addr *a, int code, const char *what, struct err *e)
{
    char text[ADDR_TEXT_MAX];
    addr_format(a, text);
    return err_set(e, code, "cannot %s '%s': %s", what, text, strerror(-code));
}

static int set_on(int fd, int level, int option)
{
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof(on)) < 0 ? -errno : 0;
}

/* A stream socket for the address; *ret_len is that of its sockaddr. */
static int open_socket(const struct addr *a, struct sockaddr_storage *ss, socklen_t *ret_len)
{
    socklen_t len = addr_to_sockaddr(a, ss);
    if (len == 0)
        return -EAFNOSUPPORT;
    int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    *ret_len = len;
    return fd;
}

/* ---- listening ----------------------------------------------------------------------------- */

/* IPv6 listeners take no IPv4, so that 0.0.0.0 and [::] can stand side by side. */
static int bind_tcp(int fd, const struct sockaddr_storage *ss, socklen_t len, bool reuseport)
{
    int rc = set_on(fd, SOL_SOCKET, SO_REUSEADDR);
    if (!rc && reuseport)
        rc = set_on(fd, SOL_SOCKET, SO_REUSEPORT);
    if (!rc && ss->ss_family == AF_INET6)
        rc = set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (rc)
        return rc;
    return bind(fd, (const struct sockaddr *)ss, len) < 0 ? -errno : 0;
}

/* Whether somebody listens on a unix socket; a full backlog counts. */
static bool is_live(const struct sockaddr_storage *ss, socklen_t len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true; /* not known: touch nothing */
    bool live = connect(fd, (const struct sockaddr *)ss, len) == 0 ||
                (errno != ECONNREFUSED && errno != ENOENT);
    close(fd);
    return live;
}

static int bind_unix(int fd, const struct sockaddr_storage *ss, socklen_t len, unsigned mode)
{
    const char *path = ((const struct sockaddr_un *)ss)->sun_path;
    struct stat st;
    /* The file takes the socket's mode (less the umask) when it is made: there is no moment at
     * which it is wider than asked for. */
    if (fchmod(fd, mode) < 0)
        return -errno;
    int rc = bind(fd, (const struct sockaddr *)ss, len) < 0 ? -errno : 0;
    if (rc == -EADDRINUSE && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && !is_live(ss, len)) {
        if (unlink(path) < 0 && errno != ENOENT)
            return -errno;
        rc = bind(fd, (const struct sockaddr *)ss, len) < 0 ? -errno : 0;
    }
    if (!rc && chmod(path, mode) < 0) {
        rc = -errno;
        unlink(path);
    }
    return rc;
}

/* A bound socket, or negative errno. */
static int bound(const struct addr *a, bool reuseport, unsigned mode)
{
    struct sockaddr_storage ss;
    socklen_t len = 0;
    int fd = open_socket(a, &ss, &len);
    if (fd < 0)
        return fd;
    int rc =
        a->kind == ADDR_UNIX ? bind_unix(fd, &ss, len, mode) : bind_tcp(fd, &ss, len, reuseport);
    if (!rc)
        return fd;
    close(fd);
    return rc;
}

int sock_listen(const struct addr *a, bool reuseport, int backlog, unsigned mode, struct err *e)
{
    int fd = bound(a, reuseport, mode);
    int rc = fd < 0 ? fd : sock_start(fd, backlog);
    if (!rc)
        return fd;
    if (fd >= 0)
        close(fd);
    return fail(a, rc, "listen on", e);
}

int sock_bind(const struct addr *a, struct err *e)
{
    int fd = a->kind == ADDR_UNIX ? -EAFNOSUPPORT : bound(a, true, 0);
    return fd < 0 ? fail(a, fd, "listen on", e) : fd;
}

int sock_start(int fd, int backlog)
{
    return listen(fd, backlog) < 0 ? -errno : 0;
}

int sock_probe(const struct addr *a, struct err *e)
{
    struct sockaddr_storage ss;
    socklen_t len = 0;
    int fd = open_socket(a, &ss, &len);
    if (fd < 0)
        return fail(a, fd, "listen on", e);
    int rc;
    if (a->kind == ADDR_UNIX)
        rc = is_live(&ss, len) ? -EADDRINUSE : 0;
    else
        rc = bind_tcp(fd, &ss, len, false);
    close(fd);
    return rc ? fail(a, rc, "listen on", e) : 0;
}

/* ---- connections ---------------------------------------------------------------------------- */

int sock_connect(const struct addr *a, bool *ret_pending)
{
    struct sockaddr_storage ss;
    socklen_t len = 0;
    int fd = open_socket(a, &ss, &len);
    if (fd < 0)
        return fd;
    int rc = a->kind == ADDR_UNIX ? 0 : set_on(fd, IPPROTO_TCP, TCP_NODELAY);
    bool pending = false;
    if (!rc && connect(fd, (const struct sockaddr *)&ss, len) < 0) {
        /* Interrupted, a connect goes on by itself. */
        pending = errno == EINPROGRESS || errno == EINTR;
        rc = pending ? 0 : -errno;
    }
    if (rc) {
        close(fd);
        return rc;
    }
    *ret_pending = pending;
    return fd;
}

int sock_accept(int listener, struct addr *ret_peer)
{
    struct sockaddr_storage ss = {0};
    socklen_t len;
    int fd;
    do {
        len = sizeof(ss);
        fd = accept4(listener, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    /* A connection that is dead already refuses the option: its reader will find out. */
    if (ss.ss_family != AF_UNIX)
        (void)set_on(fd, IPPROTO_TCP, TCP_NODELAY);
    addr_from_sockaddr((const struct sockaddr *)&ss, len, ret_peer);
    return fd;
}

int sock_name(int fd, struct addr *ret)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
        return -errno;
    addr_from_sockaddr((const struct sockaddr *)&ss, len, ret);
    return 0;
}

int sock_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        return -errno;
    return -error;
}

int sock_peer_ids(int fd, unsigned *ret_uid, unsigned *ret_gid)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return -errno;
    if (cred.pid == 0) /* no unix peer: the kernel answers with nobody */
        return -ENOTCONN;
    *ret_uid = cred.uid;
    *ret_gid = cred.gid;
    return 0;
}

unsigned long sock_raise_fd_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t soft = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            limit.rlim_cur = soft;
    }
    return limit.rlim_cur;
}
