#include "ctl/saved_reply.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/compare/descriptors.h"
#include "lib/compare/inflate.h"
#include "lib/graph/hint.h"
#include <errno.h>
#include <stdio.h>

#define BLOCK 65536

int saved_read(const char *path, struct text *ret, struct err *e)
{
    char block[BLOCK];
    FILE *f = fopen(path, "rb");
    int rc = f ? 0 : -errno;
    size_t n;
    while (rc == 0 && (n = fread(block, 1, sizeof(block), f)) > 0) {
        text_add(ret, str_of(block, n));
        rc = ret->failed ? ret->failed : ret->n > SAVED_REPLY_MAX ? -EFBIG : 0;
    }
    if (rc == 0 && ferror(f))
        rc = errno ? -errno : -EIO;
    if (f)
        (void)fclose(f);
    if (rc)
        err_set(e, rc, "cannot read '%.*s': %s", STR_ARG(shown(str_c(path))), strerror(-rc));
    return rc;
}

struct descriptors *saved_descriptors(const char *path, struct err *e)
{
    struct text bytes = {0};
    struct descriptors *d = NULL;
    if (saved_read(path, &bytes, e) == 0) {
        d = descriptors_parse(str_of(bytes.p, bytes.n), e);
        if (!d)
            err_prefix(e, "%.*s", STR_ARG(shown(str_c(path))));
    }
    text_release(&bytes);
    return d;
}

/* What is read line by line. */
struct lines {
    const char *path;
    struct str rest;
    unsigned at; /* number of the line that was taken last */
};

static struct str take_line(struct lines *l)
{
    size_t end = str_find(l->rest, '\n');
    struct str line = str_of(l->rest.p, end);
    l->rest = str_from(l->rest, end < l->rest.n ? end + 1 : end);
    l->at++;
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    return line;
}

static int bad_line(const struct lines *l, const char *what, struct str line, struct err *e)
{
    return err_set(e, -EINVAL, "%.*s:%u: %s '%.*s'", STR_ARG(shown(str_c(l->path))), l->at, what,
        STR_ARG(shown(line)));
}

static int take_status(struct lines *l, uint32_t *ret, struct err *e)
{
    struct str line = take_line(l);
    struct str code = str_from(line, str_find(line, ' '));
    code = str_trim(code);
    code.n = str_find(code, ' ');
    if (parse_u32(code, 100, 599, ret))
        return bad_line(l, "no status line of a reply", line, e);
    return 0;
}

/* A field; its name becomes lower case where it stands. */
static int take_field(struct saved_reply *r, const struct lines *l, struct str line, struct err *e)
{
    size_t colon = str_find(line, ':');
    if (colon == 0 || colon == line.n)
        return bad_line(l, "no header field", line, e);
    if (r->reply.nfields == SAVED_REPLY_FIELDS)
        return bad_line(l, "more than 1000 header fields, at", line, e);
    char *name = r->bytes.p + (line.p - r->bytes.p);
    for (size_t i = 0; i < colon; i++)
        name[i] = ascii_lower(name[i]);
    r->field[r->reply.nfields++] =
        (struct reply_field){str_of(name, colon), str_trim(str_from(line, colon + 1))};
    return 0;
}

static int take_head(struct saved_reply *r, struct lines *l, struct err *e)
{
    int rc = take_status(l, &r->reply.status, e);
    r->reply.nfields = 0;
    while (rc == 0 && l->rest.n) {
        struct str line = take_line(l);
        if (line.n == 0)
            return 0;
        rc = take_field(r, l, line, e);
    }
    return rc;
}

/* With --compressed curl leaves the field and undoes the coding: what is text is packed no more. */
static int drop_undone_coding(struct saved_reply *r)
{
    struct str coding =
        reply_field_value(r->reply.fields, r->reply.nfields, STR("content-encoding"));
    struct str plain;
    char *owned = NULL;
    if (coding.n == 0 || utf8_check(r->reply.body) < r->reply.body.n)
        return 0;
    int rc = body_inflate(coding, r->reply.body, SAVED_REPLY_MAX, &plain, &owned);
    mem_free(owned);
    if (rc == -ENOMEM)
        return rc;
    size_t n = 0;
    for (size_t i = 0; rc && i < r->reply.nfields; i++)
        if (!str_eq(r->field[i].name, STR("content-encoding")))
            r->field[n++] = r->field[i];
    if (rc)
        r->reply.nfields = n;
    return 0;
}

static int read_whole(struct saved_reply *r, const char *path, struct err *e)
{
    struct lines l = {.path = path, .rest = {r->bytes.p, r->bytes.n}};
    if (!str_starts(l.rest, STR("HTTP/")))
        return err_set(e, -EINVAL,
            "no status line in '%.*s': save it with curl -i, or say --type MEDIA for a bare body",
            STR_ARG(shown(str_c(path))));
    do {
        int rc = take_head(r, &l, e);
        if (rc)
            return rc;
    } while (str_starts(l.rest, STR("HTTP/")));
    r->reply.body = l.rest;
    if (drop_undone_coding(r))
        return err_set(e, -ENOMEM, "out of memory");
    return 0;
}

int saved_reply_read(struct saved_reply *r, const char *path, const char *type, struct err *e)
{
    *r = (struct saved_reply){0};
    int rc = saved_read(path, &r->bytes, e);
    if (rc)
        return rc;
    r->field = mem_array(SAVED_REPLY_FIELDS, sizeof(*r->field));
    if (!r->field)
        return err_set(e, -ENOMEM, "out of memory");
    r->reply = (struct reply){.status = 200, .fields = r->field, .latency_us = 0};
    if (!type)
        return read_whole(r, path, e);
    r->field[r->reply.nfields++] = (struct reply_field){STR("content-type"), str_c(type)};
    r->reply.body = str_of(r->bytes.p, r->bytes.n);
    return 0;
}

void saved_reply_release(struct saved_reply *r)
{
    text_release(&r->bytes);
    mem_free(r->field);
}
