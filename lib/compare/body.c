/* Bodies, by what they are: undone content codings first, then by media type. */
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/compare/compare_int.h"
#include "lib/compare/inflate.h"
#include "lib/compare/media.h"
#include <errno.h>

static struct body_side side_of(const struct reply *r)
{
    return (struct body_side){.type = reply_field_value(r->fields, r->nfields, STR("content-type")),
        .coding = reply_field_value(r->fields, r->nfields, STR("content-encoding")),
        .raw = r->body,
        .body = r->body};
}

static void undo(struct differ *d, struct body_side *s)
{
    char *owned = NULL;
    if (s->coding.n == 0)
        return;
    s->undone = body_inflate(s->coding, s->raw, d->rules->limits.inflated_bytes, &s->body, &owned);
    if (s->undone)
        s->body = s->raw;
    if (s->undone == -ENOMEM || (owned && pool_defer(d->pool, mem_free, owned))) {
        mem_free(owned);
        d->failed = -ENOMEM;
    }
}

static const char *undone_word(int undone)
{
    switch (undone) {
    case 0:
        return "decoded";
    case -E2BIG:
        return "too large";
    case -ENOTSUP:
        return "unknown";
    default:
        return "broken";
    }
}

/* A coding that could not be undone: said, and then the bytes are compared as they are. */
static void compare_coded(struct differ *d, const struct body_side *a, const struct body_side *b)
{
    if (a->undone != b->undone) {
        struct path_mark m = differ_push(d, STR(".encoding"));
        differ_add(
            d, DIFF_VALUE, true, str_c(undone_word(a->undone)), str_c(undone_word(b->undone)));
        differ_pop(d, m);
    }
    bytes_compare(d, a->raw, b->raw);
}

static enum media media_here(const struct body_side *s)
{
    enum media m = media_of(s->type);
    bool may_be = m == MEDIA_NONE || m == MEDIA_TEXT;
    if (may_be && media_looks_like_json(s->body))
        return MEDIA_JSON;
    return m == MEDIA_NONE && utf8_check(s->body) == s->body.n ? MEDIA_TEXT : m;
}

static const char *media_word(enum media m)
{
    static const char *const words[] = {
        [MEDIA_NONE] = "bytes",
        [MEDIA_JSON] = "JSON",
        [MEDIA_FORM] = "form",
        [MEDIA_MULTIPART] = "multipart",
        [MEDIA_GRPC] = "gRPC",
        [MEDIA_LINES] = "lines of JSON",
        [MEDIA_TEXT] = "text",
        [MEDIA_OTHER] = "bytes",
    };
    return words[m];
}

static void tell_type(struct differ *d, enum media a, enum media b)
{
    differ_add(d, DIFF_TYPE, true, str_c(media_word(a)), str_c(media_word(b)));
}

static void compare_json(struct differ *d, const struct body_side *a, const struct body_side *b)
{
    switch (json_compare(d, a->body, b->body)) {
    case 0:
    case -ENOMEM:
        return;
    case -E2BIG:
        bytes_compare(d, a->body, b->body);
        return;
    case -EPROTOTYPE:
        differ_add(d, DIFF_TYPE, true, a->body, b->body);
        return;
    default:
        text_compare(d, a->body, b->body);
    }
}

static void compare_lines(struct differ *d, struct str a, struct str b)
{
    int rc = json_lines_compare(d, a, b);
    if (rc == -E2BIG)
        bytes_compare(d, a, b);
    else if (rc == -EBADMSG)
        text_compare(d, a, b);
}

static void compare_as(
    struct differ *d, enum media m, const struct body_side *a, const struct body_side *b)
{
    bool done = true;
    switch (m) {
    case MEDIA_JSON:
        compare_json(d, a, b);
        break;
    case MEDIA_FORM:
        done = form_compare(d, a->body, b->body);
        break;
    case MEDIA_MULTIPART:
        done = multipart_compare(d, a->type, b->type, a->body, b->body);
        break;
    case MEDIA_GRPC:
        done = grpc_body_compare(d, a->body, b->body) != -EBADMSG;
        break;
    case MEDIA_LINES:
        compare_lines(d, a->body, b->body);
        break;
    case MEDIA_TEXT:
        text_compare(d, a->body, b->body);
        break;
    default:
        done = false;
    }
    if (!done && !d->failed)
        bytes_compare(d, a->body, b->body);
}

static void compare_plain(struct differ *d, const struct body_side *a, const struct body_side *b)
{
    enum media x = media_here(a), y = media_here(b);
    if (a->body.n == 0 || b->body.n == 0)
        differ_add(d, b->body.n == 0 ? DIFF_MISSING : DIFF_EXTRA, true,
            a->body.n ? str_c(media_word(x)) : str_of(NULL, 0),
            b->body.n ? str_c(media_word(y)) : str_of(NULL, 0));
    else if (x == y)
        compare_as(d, x, a, b);
    else
        tell_type(d, x, y);
}

void body_open(struct differ *d, const struct reply *a, const struct reply *b)
{
    d->a = side_of(a);
    d->b = side_of(b);
    undo(d, &d->a);
    undo(d, &d->b);
    d->bodiless = a->body.n == 0 && b->body.n == 0;
    d->decoded = !d->a.undone && !d->b.undone;
}

void body_compare(struct differ *d)
{
    struct path_mark m = differ_push(d, STR("body"));
    if (!d->decoded)
        compare_coded(d, &d->a, &d->b);
    else if (!str_eq(d->a.body, d->b.body))
        compare_plain(d, &d->a, &d->b);
    differ_pop(d, m);
}
