#include "proxy/announce.h"
#include "lib/base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATH_ROOM 4096

/* One datagram; a name that begins with '@' is of the abstract kind. */
static void notify(const char *text)
{
    const char *to = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = to ? strlen(to) : 0;
    if (n < 2 || n >= sizeof a.sun_path || (to[0] != '/' && to[0] != '@'))
        return;
    memcpy(a.sun_path, to, n);
    if (to[0] == '@')
        a.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&a, len) < 0)
        log_warn("cannot notify '%s': %s", to, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static int write_number(const char *path, long pid)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%ld\n", pid);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int rc = write(fd, text, (size_t)n) == n ? 0 : errno ? -errno : -EIO;
    close(fd);
    return rc;
}

/* Whoever reads it sees the old number or the new one, never half of one. */
static void write_pid_file(const char *path)
{
    char fresh[PATH_ROOM];
    int n = snprintf(fresh, sizeof fresh, "%s.%ld", path, (long)getpid());
    int rc =
        n > 0 && (size_t)n < sizeof fresh ? write_number(fresh, (long)getpid()) : -ENAMETOOLONG;
    if (rc == 0 && rename(fresh, path) != 0)
        rc = -errno;
    if (rc == 0)
        return;
    log_warn("cannot write the process number to '%s': %s", path, strerror(-rc));
    unlink(fresh);
}

void announce_ready(const char *pid_file)
{
    char text[64];
    snprintf(text, sizeof text, "READY=1\nMAINPID=%ld\n", (long)getpid());
    notify(text);
    if (pid_file)
        write_pid_file(pid_file);
}

void announce_stopping(void)
{
    notify("STOPPING=1\n");
}

void announce_successor(long pid)
{
    char text[64];
    snprintf(text, sizeof text, "MAINPID=%ld\n", pid);
    notify(text);
}

void announce_gone(const char *pid_file)
{
    char text[24] = "";
    int fd = pid_file ? open(pid_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0)
        return;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n > 0 && strtol(text, NULL, 10) == (long)getpid())
        unlink(pid_file);
}
