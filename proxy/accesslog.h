/* The access log: one line a request, collected a turn long, written in one call.
 *
 * Values from outside are escaped; tokens, cookies and authorization are never written. */
#ifndef OFFSHOOT_PROXY_ACCESSLOG_H
#define OFFSHOOT_PROXY_ACCESSLOG_H

#include "lib/base/counters.h"
#include <stdbool.h>

struct request;
struct worker;

struct accesslog {
    int fd; /* -1: off; borrowed (the control thread opens and reopens it) */
    bool json;
    struct text lines;
    uint32_t nlines;
    size_t torn; /* bytes at the start that end a line already begun in the file */
};

void accesslog_add(struct worker *w, const struct request *r);
/* At the end of a turn. */
void accesslog_flush(struct worker *w);
void accesslog_release(struct accesslog *l);

#endif
