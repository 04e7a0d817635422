/* Tells when graph files may have changed: inotify on their folders, joined over a short quiet
 * time; where inotify is refused (limits), a stat poll every 2 s, said once in the log. */
#ifndef OFFSHOOT_NET_WATCH_H
#define OFFSHOOT_NET_WATCH_H

#include "lib/base/err.h"
#include <stddef.h>
#include <stdint.h>

struct watch;
struct event_base;

/* fn runs once after the last change followed by quiet_ms without one, at most 10 * quiet_ms after
 * the first. paths: files or folders, copied; a file is watched through its folder, so that a
 * rename over it, and symlink swaps as Kubernetes does them (..data), are seen; a path that does
 * not exist yet is watched for too. */
struct watch *watch_new(struct event_base *base, const char *const *paths, size_t n,
    uint32_t quiet_ms, void (*fn)(void *arg), void *arg, struct err *e);
void watch_free(struct watch *w);

#endif
