/* A text into a file: whole, or not at all. */
#ifndef OFFSHOOT_CTL_SAVE_H
#define OFFSHOOT_CTL_SAVE_H

#include "lib/base/counters.h"
#include "lib/base/err.h"

/* Beside it first, then renamed over it; "-" is standard output; what is there and no regular file
 * is written to as it is. Releases the text. 0, or e->code. */
int save_text(const char *path, struct text *t, struct err *e);

#endif
