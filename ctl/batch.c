/* Reads a buffer, answers its lines into one text, writes that, reads on. Neither grows with the
 * number of lines, and a program that asks line by line gets its answers line by line. */
#include "ctl/batch.h"
#include "lib/base/counters.h"
#include "lib/base/files.h"
#include "lib/base/mem.h"
#include "lib/graph/explain.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define WRITE_AT (256u << 10) /* answers that are written before the buffer is through */

struct reader {
    const struct batch *batch;
    char *buffer;  /* BATCH_LINE_MAX */
    size_t n;      /* bytes in it: the start of a line */
    uint64_t line; /* number of the line that is read */
    bool overlong; /* the rest of this line is skipped */
    bool complained;
    struct text out;
};

/* ---- answers ---- */

static void endpoints(struct text *out, const struct endpoint_set *set)
{
    char at[ADDR_TEXT_MAX];
    for (uint32_t i = 0; i < endpoint_set_count(set); i++) {
        struct endpoint p;
        endpoint_set_at(set, i, &p);
        text_add(out, i ? STR(",") : STR(" "));
        text_add(out, str_of(at, addr_format(&p.addr, at)));
    }
}

void batch_line(struct text *out, const struct snapshot *s, const struct decision *d,
    struct str env, struct str service)
{
    text_json(out, env);
    text_add(out, STR(" "));
    text_json(out, service);
    if (d->refusal != REFUSAL_NONE) {
        text_fmt(out, " refused %s %u\n", refusal_word(d->refusal), refusal_status(d->refusal));
        return;
    }
    text_add(out, STR(" provider "));
    text_add(out, snapshot_env_name(s, d->provider));
    text_fmt(out, " %s %d", decision_class_word(d->cls), d->distance);
    endpoints(out, d->endpoints);
    text_add(out, STR("\n"));
}

static void answer(struct reader *r, struct str env, struct str service)
{
    const struct snapshot *s = r->batch->snapshot;
    struct decision d;
    snapshot_resolve(
        s, snapshot_find_env(s, env), snapshot_find_service(s, service), r->batch->now, &d);
    if (!r->batch->json) {
        batch_line(&r->out, s, &d, env, service);
        return;
    }
    decision_json(&r->out, s, &d, env, service, 0);
    text_add(&r->out, STR("\n"));
}

/* ---- lines ---- */

static int flush(struct reader *r, struct err *e)
{
    if (r->out.failed)
        return err_set(e, -ENOMEM, "out of memory");
    int rc = file_write(r->batch->out, str_of(r->out.p, r->out.n));
    r->out.n = 0;
    return rc ? err_set(e, rc, "cannot write the answers: %s", strerror(-rc)) : 0;
}

/* Takes the first word off. */
static struct str take_word(struct str *rest)
{
    size_t n = 0;
    *rest = str_trim(*rest);
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t')
        n++;
    struct str word = {rest->p, n};
    *rest = str_from(*rest, n);
    return word;
}

static void complain(struct reader *r, const char *what)
{
    char text[128];
    int n = snprintf(
        text, sizeof(text), "offshootctl: line %llu: %s\n", (unsigned long long)r->line, what);
    r->complained = true;
    /* The exit status tells, too. */
    (void)file_write(r->batch->complaints, str_of(text, (size_t)n));
}

static void take_line(struct reader *r, struct str line)
{
    r->line++;
    if (r->overlong) {
        r->overlong = false;
        complain(r, "too long");
        return;
    }
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    struct str env = take_word(&line), service = take_word(&line);
    if (!service.n || str_trim(line).n)
        complain(r, "want ENVIRONMENT SERVICE");
    else
        answer(r, env, service);
}

/* Answers every whole line of the buffer and moves the rest to its start. */
static int take_lines(struct reader *r, struct err *e)
{
    struct str rest = {r->buffer, r->n};
    for (;;) {
        size_t end = str_find(rest, '\n');
        if (end == rest.n)
            break;
        take_line(r, str_of(rest.p, end));
        rest = str_from(rest, end + 1);
        if (r->out.n >= WRITE_AT || r->out.failed) {
            int rc = flush(r, e);
            if (rc)
                return rc;
        }
    }
    if (rest.n == BATCH_LINE_MAX) {
        r->overlong = true;
        rest.n = 0;
    }
    memmove(r->buffer, rest.p, rest.n);
    r->n = rest.n;
    return flush(r, e);
}

static int run(struct reader *r, struct err *e)
{
    for (;;) {
        ssize_t n = read(r->batch->in, r->buffer + r->n, BATCH_LINE_MAX - r->n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(e, -errno, "cannot read standard input: %s", strerror(errno));
        if (n == 0)
            break;
        r->n += (size_t)n;
        int rc = take_lines(r, e);
        if (rc)
            return rc;
    }
    if (r->n || r->overlong)
        take_line(r, str_of(r->buffer, r->n));
    return flush(r, e);
}

int batch_run(const struct batch *b, struct err *e)
{
    struct reader r = {.batch = b, .buffer = mem_alloc(BATCH_LINE_MAX)};
    if (!r.buffer)
        return err_set(e, -ENOMEM, "out of memory");
    int rc = run(&r, e);
    text_release(&r.out);
    mem_free(r.buffer);
    return rc < 0 ? rc : r.complained;
}
