#include "ctl/save.h"
#include "ctl/output.h"
#include "lib/base/files.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM 4096

/* Opens, writes and closes. 0 or negative errno. */
static int write_to(const char *path, int flags, struct str s)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0666);
    if (fd < 0)
        return -errno;
    int rc = file_write(fd, s);
    if (close(fd) != 0 && rc == 0)
        rc = -errno;
    return rc;
}

static int replace(const char *path, struct str s)
{
    char beside[PATH_ROOM];
    int n = snprintf(beside, sizeof(beside), "%s.%ld.new", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof(beside))
        return -ENAMETOOLONG;
    int rc = write_to(beside, O_CREAT | O_EXCL, s);
    if (rc == 0 && rename(beside, path) != 0)
        rc = -errno;
    if (rc && rc != -EEXIST)
        unlink(beside);
    return rc;
}

int save_text(const char *path, struct text *t, struct err *e)
{
    struct stat st;
    struct str s = {t->p, t->n};
    int rc = t->failed;
    if (rc == 0 && strcmp(path, "-") == 0) {
        out_plain(t, STATUS_YES, e);
        return 0;
    }
    if (rc == 0)
        rc = stat(path, &st) == 0 && !S_ISREG(st.st_mode) ? write_to(path, 0, s) : replace(path, s);
    text_release(t);
    return rc ? err_set(e, rc, "cannot write '%s': %s", path, strerror(-rc)) : 0;
}
