/* A disk whose syncs fail and that is full, for the tests of what the agent writes. */
#ifndef OFFSHOOT_TESTS_UNIT_AGENT_DISK_H
#define OFFSHOOT_TESTS_UNIT_AGENT_DISK_H

#include "tests/unit/agent/agent.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* These stand before the C library's: the disk's slowness is not what is tested. Syncs succeed at
 * once, or fail when they are asked to. */
static _Atomic unsigned syncs_to_fail;

int fake_fdatasync(int fd) __asm__("fdatasync");
int fake_fdatasync(int fd)
{
    (void)fd;
    if (!syncs_to_fail)
        return 0;
    syncs_to_fail--;
    errno = EIO;
    return -1;
}

int fsync(int fd)
{
    (void)fd;
    return 0;
}

static inline void limit_file(rlim_t bytes)
{
    struct rlimit l = {bytes, RLIM_INFINITY};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* In a child, whose end tells whether it held. */
#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                             \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* Its limits end with it, and it may leave nothing. */
static inline void in_child(void (*fn)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        fn();
        _exit(mem_live() == 0 ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
