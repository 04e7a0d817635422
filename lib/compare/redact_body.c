/* Bodies, by their media type. */
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/compare/media.h"
#include "lib/compare/redact_int.h"
#include <errno.h>

#define NAME_ROOM 512 /* bytes of an encoded name that is looked at; longer ones are secret */

/* ---- forms ---- */

/* As the inside of a form again; the brackets of a mark stay readable. */
static void form_encode(struct text *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == ' ')
            text_add(out, STR("+"));
        else if (c < ' ' || c >= 0x7f || strchr("%&+=#?\"<>", c))
            text_fmt(out, "%%%02X", (unsigned)c);
        else
            text_add(out, str_of(s.p + i, 1));
    }
}

static bool secret_name(const struct redact *r, struct str name)
{
    char room[NAME_ROOM];
    return name.n > sizeof(room) || redact_name(r, form_decode(name, room));
}

/* A name, or a value whose name is none of a secret. */
static bool redact_encoded(const struct redact *r, struct str s, struct text *out)
{
    struct text part = {0};
    char *room = mem_alloc(s.n ? s.n : 1);
    bool found = false;
    if (room)
        found = redact_text(r, form_decode(s, room), &part);
    if (!room || part.failed)
        out->failed = -ENOMEM;
    if (found)
        form_encode(out, str_of(part.p, part.n));
    else
        found = redact_text(r, s, out); /* as it stands: a value need not be encoded */
    text_release(&part);
    mem_free(room);
    return found;
}

/* The decoded value, so that it has the mark that it has elsewhere. */
static void mark_encoded(const struct redact *r, struct str s, struct text *out)
{
    char *room = mem_alloc(s.n);
    if (room)
        redact_mark(r, form_decode(s, room), out);
    else
        out->failed = -ENOMEM;
    mem_free(room);
}

bool redact_form(const struct redact *r, struct str body, struct text *out, bool *ret_any)
{
    struct str name, value;
    bool sign, any = false, open = body.n && body.p[body.n - 1] == '&';
    for (bool first = true; form_next(&body, &name, &value, &sign); first = false) {
        if (!first)
            text_add(out, STR("&"));
        any |= redact_encoded(r, name, out);
        if (!sign)
            continue;
        text_add(out, STR("="));
        if (value.n && secret_name(r, name)) {
            mark_encoded(r, value, out);
            any = true;
        } else {
            any |= redact_encoded(r, value, out);
        }
    }
    if (open)
        text_add(out, STR("&"));
    *ret_any = any;
    return true;
}

/* ---- multipart ---- */

/* What a body that is made of no parts is. */
struct plain {
    enum media media;
    const struct descriptor_message *messages; /* of gRPC, NULL: not known */
};
static bool plain_body(
    const struct redact *r, struct plain is, struct str body, struct text *out, bool *ret_any);

static bool redact_part(const struct redact *r, const struct part *p, struct text *out)
{
    bool any = redact_text(r, p->before, out), in_body = true;
    if (p->body.n == 0)
        return any;
    if (redact_name(r, p->name))
        redact_mark(r, p->body, out);
    else if (!plain_body(r, (struct plain){media_of(p->type), NULL}, p->body, out, &in_body))
        in_body = redact_text(r, p->body, out);
    return any || in_body;
}

bool redact_multipart(
    const struct redact *r, struct str type, struct str body, struct text *out, bool *ret_any)
{
    struct multipart m, check;
    struct part p;
    int rc;
    if (!multipart_start(&m, type, body))
        return false;
    check = m;
    while ((rc = multipart_next(&check, &p)) == 1)
        ;
    if (rc != 0)
        return false;
    *ret_any = redact_text(r, str_of(body.p, (size_t)(m.rest.p - body.p)), out);
    const char *at = m.rest.p;
    while (multipart_next(&m, &p) == 1) {
        text_add(out, str_of(at, (size_t)(p.before.p - at)));
        *ret_any |= redact_part(r, &p, out);
        at = p.body.p + p.body.n;
    }
    *ret_any |= redact_text(r, str_of(at, (size_t)(body.p + body.n - at)), out);
    return true;
}

/* ---- all of them ---- */

/* Messages are written anew, and packed ones unpacked: only where something is taken out. */
static bool redact_messages(const struct redact *r, const struct descriptor_message *type,
    struct str body, struct text *out, bool *ret_any)
{
    size_t from = out->n;
    if (!grpc_body_redact(r, type, body, out, ret_any)) {
        if (!type)
            return false;
        redact_mark(r, body, out); /* no frames: nobody knows where its fields are */
        *ret_any = true;
        return true;
    }
    if (!*ret_any) {
        out->n = from;
        text_add(out, body);
    }
    return true;
}

/* What is made of no parts. False: it is not made like that. */
static bool plain_body(
    const struct redact *r, struct plain is, struct str body, struct text *out, bool *ret_any)
{
    switch (is.media) {
    case MEDIA_JSON:
        return redact_json(r, body, out, ret_any);
    case MEDIA_FORM:
        return redact_form(r, body, out, ret_any);
    case MEDIA_GRPC:
        return redact_messages(r, is.messages, body, out, ret_any);
    default:
        return media_looks_like_json(body) && redact_json(r, body, out, ret_any);
    }
}

/* Lines that are JSON each, as JSON; the others as text. */
static bool redact_lines(const struct redact *r, struct str body, struct text *out)
{
    bool any = false, one;
    while (body.n) {
        size_t end = str_find(body, '\n');
        end += end < body.n;
        struct str line = str_of(body.p, end);
        if (media_looks_like_json(line) && redact_json(r, line, out, &one))
            any |= one;
        else
            any |= redact_text(r, line, out);
        body = str_from(body, end);
    }
    return any;
}

static bool is_lines(enum media m, struct str type)
{
    struct str s = str_trim(str_of(type.p, str_find(type, ';')));
    return m == MEDIA_LINES || str_ieq(s, STR("text/event-stream"));
}

bool redact_body(const struct redact *r, struct str media_type,
    const struct descriptor_message *messages, struct str body, struct text *out)
{
    bool any = false;
    if (redact_is_off(r)) {
        text_add(out, body);
        return false;
    }
    enum media m = media_of(media_type);
    if (is_lines(m, media_type))
        return redact_lines(r, body, out);
    if (m == MEDIA_MULTIPART ? redact_multipart(r, media_type, body, out, &any)
                             : plain_body(r, (struct plain){m, messages}, body, out, &any))
        return any;
    /* of a part that is cut nobody knows where its value ends */
    if (m != MEDIA_MULTIPART && utf8_check(body) == body.n)
        return redact_text(r, body, out);
    if (m != MEDIA_MULTIPART && !redact_finds(r, body)) {
        text_add(out, body);
        return false;
    }
    redact_mark(r, body, out);
    return true;
}
