#include "proxy/successor.h"
#include "lib/base/mem.h"
#include "proxy/handover.h"
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHANNEL_FD 3 /* of the new process */

int successor_path(const char *name, char *out, size_t size, struct err *e)
{
    size_t n = 0;
    if (name && strchr(name, '/')) {
        if (name[0] != '/' && !getcwd(out, size))
            return err_set(e, -errno, "cannot tell the working folder: %s", strerror(errno));
        if (name[0] != '/')
            n = strlen(out);
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? "/" : "", name);
    } else {
        ssize_t got = readlink("/proc/self/exe", out, size - 1);
        n = got > 0 ? (size_t)got : 0;
        out[n] = 0;
    }
    return n && n < size ? 0 : err_set(e, -ENAMETOOLONG, "cannot tell the path of this program");
}

/* New; the texts are borrowed. */
static char **make_argv(const char *binary, char *const *argv)
{
    size_t n = 0;
    while (argv[n])
        n++;
    char **v = mem_array(n + 2, sizeof *v);
    if (!v)
        return NULL;
    v[0] = (char *)(uintptr_t)binary;
    for (size_t i = 1; i < n; i++)
        v[i] = argv[i];
    v[n ? n : 1] = NULL;
    return v;
}

/* New; the texts are borrowed. */
static char **make_environ(char *own)
{
    size_t n = 0, to = 0;
    while (environ[n])
        n++;
    char **v = mem_array(n + 2, sizeof *v);
    if (!v)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], HANDOVER_ENV "=", sizeof HANDOVER_ENV) != 0)
            v[to++] = environ[i];
    v[to] = own;
    v[to + 1] = NULL;
    return v;
}

static int add_files(posix_spawn_file_actions_t *files, int channel, int errors)
{
    int rc = posix_spawn_file_actions_adddup2(files, errors, STDERR_FILENO);
    rc = rc ? rc : posix_spawn_file_actions_adddup2(files, channel, CHANNEL_FD);
    return rc ? rc : posix_spawn_file_actions_addclosefrom_np(files, CHANNEL_FD + 1);
}

static int reset_signals(posix_spawnattr_t *attr)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    rc = rc ? rc : posix_spawnattr_setsigdefault(attr, &all);
    return rc ? rc : posix_spawnattr_setsigmask(attr, &none);
}

int successor_spawn(const char *binary, char *const *argv, int channel, int errors, pid_t *ret_pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    char own[sizeof HANDOVER_ENV + 12];
    pid_t pid = 0;
    snprintf(own, sizeof own, HANDOVER_ENV "=%d", CHANNEL_FD);
    char **v = make_argv(binary, argv), **env = make_environ(own);
    int rc = v && env ? posix_spawn_file_actions_init(&files) : ENOMEM;
    if (rc == 0) {
        posix_spawnattr_init(&attr);
        rc = add_files(&files, channel, errors);
        rc = rc ? rc : reset_signals(&attr);
        rc = rc ? rc : posix_spawn(&pid, binary, &files, &attr, v, env);
        posix_spawnattr_destroy(&attr);
        posix_spawn_file_actions_destroy(&files);
    }
    mem_free((void *)v);
    mem_free((void *)env);
    if (rc == 0)
        *ret_pid = pid;
    return rc;
}
