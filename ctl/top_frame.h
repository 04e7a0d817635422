/* The arithmetic of `top`: two readings of a proxy's /top become one frame, an object that is
 * printed as it is with --json, and drawn otherwise (top_draw.c). */
#ifndef OFFSHOOT_CTL_TOP_FRAME_H
#define OFFSHOOT_CTL_TOP_FRAME_H

#include "lib/base/counters.h"
#include <jansson.h>
#include <stddef.h>

/* before: the reading before this one, or NULL. When it is NULL or of another process (the proxy
 * was started anew) the frame is about all the time since the start, and says so ("since_start":
 * true). most: environments, services and providers that are told. New; NULL when memory is out or
 * `now` is no reading. */
json_t *top_frame(const json_t *before, const json_t *now, size_t most);

/* Appends the frame as lines of at most `width` characters, at most `height` lines; 0: no bound. */
void top_draw(struct text *out, const json_t *frame, unsigned width, unsigned height);

#endif
