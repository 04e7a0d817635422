/* The access log: one line a request, collected a turn long, written in one call; and told to those
 * who look (logtail.h).
 *
 * What a line says: logline.h. Which requests have one: logwhen.h. */
#ifndef OFFSHOOT_PROXY_ACCESSLOG_H
#define OFFSHOOT_PROXY_ACCESSLOG_H

#include "lib/base/counters.h"
#include "lib/base/list.h"
#include <stdbool.h>

struct request;
struct worker;

struct accesslog {
    int fd;            /* -1: off; borrowed (the control thread opens and reopens it) */
    bool wanted;       /* accesslog_add has something to do: there is a file, or somebody looks */
    bool dirty;        /* accesslog_flush has */
    uint32_t format;   /* enum log_format, of the file */
    struct list tails; /* of struct logtail_pipe */
    struct text lines;
    uint32_t nlines;
    size_t torn; /* bytes at the start that end a line already begun in the file */
};

void accesslog_init(struct accesslog *l);
/* Where lines go from now on; before the worker runs. */
void accesslog_open(struct accesslog *l, int fd, uint32_t format);
/* A request is over. Called when `wanted`. */
void accesslog_add(struct worker *w, const struct request *r);
/* At the end of a turn, when `dirty`. */
void accesslog_flush(struct worker *w);
void accesslog_release(struct accesslog *l);

#endif
