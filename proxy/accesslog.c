#include "proxy/accesslog.h"
#include "proxy/logline.h"
#include "proxy/logtail.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include <errno.h>
#include <unistd.h>

void accesslog_init(struct accesslog *l)
{
    *l = (struct accesslog){.fd = -1};
    list_init(&l->tails);
}

void accesslog_open(struct accesslog *l, int fd, uint32_t format)
{
    l->fd = fd;
    l->format = format;
    l->wanted = fd >= 0;
}

static void add_to_file(struct worker *w, const struct request *r)
{
    struct logline l;
    size_t before = w->log.lines.n;
    logline_gather(r, &l);
    logline_add(&l, w->log.format, &w->log.lines);
    if (w->log.lines.failed) { /* memory is out: this line is lost, the earlier ones are not */
        w->log.lines.failed = 0;
        w->log.lines.n = before;
        counter_inc(&w->stats[STAT_LOG_LOST]);
        return;
    }
    w->log.nlines++;
    w->log.dirty = true;
}

void accesslog_add(struct worker *w, const struct request *r)
{
    struct log_facts f;
    logline_facts(r, &f);
    if (w->log.fd >= 0 && log_when_fits(&w->set->log_when, &f))
        add_to_file(w, r);
    if (!list_empty(&w->log.tails))
        logtail_add(w, r, &f);
}

static uint32_t count_lines(const char *p, size_t n)
{
    uint32_t lines = 0;
    for (const char *end = p + n; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++)
        lines++;
    return lines;
}

/* A short write ends within a line: the rest of that one goes first next time, later ones are lost
 * and counted. */
static void keep_torn(struct worker *w, size_t written)
{
    struct accesslog *l = &w->log;
    char *rest = l->lines.p + written;
    size_t n = l->lines.n - written, kept = 0;
    if (written < l->torn) {
        kept = l->torn - written;
    } else if (written > 0 && rest[-1] != '\n') {
        const char *end = memchr(rest, '\n', n);
        kept = end ? (size_t)(end - rest) + 1 : n;
    }
    counter_add(&w->stats[STAT_LOG_LOST], count_lines(rest + kept, n - kept));
    counter_add(&w->stats[STAT_LOG_LINES], count_lines(l->lines.p, written));
    memmove(l->lines.p, rest, kept);
    l->lines.n = l->torn = kept;
    l->nlines = kept > 0;
}

static void flush_file(struct worker *w)
{
    struct accesslog *l = &w->log;
    ssize_t n;
    do
        n = l->fd >= 0 ? write(l->fd, l->lines.p, l->lines.n) : -1;
    while (n < 0 && errno == EINTR);
    keep_torn(w, n > 0 ? (size_t)n : 0);
}

void accesslog_flush(struct worker *w)
{
    w->log.dirty = false;
    if (w->log.nlines)
        flush_file(w);
    logtail_flush(w);
    w->log.dirty |= w->log.nlines > 0; /* the rest of a torn line goes with the next turn */
}

void accesslog_release(struct accesslog *l)
{
    text_release(&l->lines);
}
