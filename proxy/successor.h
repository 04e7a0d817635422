/* How a program starts its successor: the same command line, another process, two descriptors. */
#ifndef OFFSHOOT_PROXY_SUCCESSOR_H
#define OFFSHOOT_PROXY_SUCCESSOR_H

#include "lib/base/err.h"
#include <stddef.h>
#include <sys/types.h>

/* The path by which this program was started, whole: what is installed there next will be found by
 * it (a symbolic link is not followed). name: argv[0]. 0 or negative errno with e. */
int successor_path(const char *name, char *out, size_t size, struct err *e);
/* Starts binary with the words of argv behind argv[0]. It has our standard input and output, errors
 * as standard error, the channel, whose number is in HANDOVER_ENV, and no other descriptor; signals
 * as they are by default. 0 with *ret_pid, or an errno (positive): also why it cannot run. */
int successor_spawn(const char *binary, char *const *argv, int channel, int errors, pid_t *ret_pid);

#endif
