/* Texts that others wrote, inside HTML and XML: as element content or a quoted attribute. */
#ifndef OFFSHOOT_CTL_MARKUP_H
#define OFFSHOOT_CTL_MARKUP_H

#include "lib/base/counters.h"

/* Appends s escaped; what no reader may get (control characters, those that turn the direction of
 * writing, and code points that XML does not have) becomes '?'. s is UTF-8. */
void text_markup(struct text *t, struct str s);

#endif
