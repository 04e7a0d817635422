/* Between session_html.c (the sections of a report), session_plot.c (its plots) and
 * session_style.c (how it looks). */
#ifndef OFFSHOOT_CTL_SESSION_PAGE_H
#define OFFSHOOT_CTL_SESSION_PAGE_H

#include "ctl/markup.h"
#include "ctl/object.h"

extern const char session_style[]; /* CSS, for light and dark, wide and narrow */

/* Distributions and quantiles of `latency`, as SVG and a table. */
void session_plot(const json_t *latency, struct text *t);

#endif
