/* Tells whoever runs this process what it is at: a service manager (sd_notify(3): the socket that
 * NOTIFY_SOCKET names), and a file with the process number. Nothing here is needed to serve: what
 * fails is told in the log. */
#ifndef OFFSHOOT_PROXY_ANNOUNCE_H
#define OFFSHOOT_PROXY_ANNOUNCE_H

#include "lib/base/err.h"

/* It serves: READY=1 and MAINPID; the file is replaced in one step. pid_file may be NULL. */
void announce_ready(const char *pid_file);
void announce_stopping(void);
/* Another process serves in our place. */
void announce_successor(long pid);
/* Takes the file away, if it still has our number. */
void announce_gone(const char *pid_file);

#endif
