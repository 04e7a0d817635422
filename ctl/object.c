#include "ctl/object.h"
#include "ctl/output.h"
#include <errno.h>
#include <stdlib.h>

enum status object_ask(
    const struct call *c, enum live_method m, struct target *t, struct object *ret, struct err *e)
{
    *ret = (struct object){0};
    if (live_ask(c, m, t, true, &ret->reply, e))
        return STATUS_ERROR;
    const struct text *body = &ret->reply.body;
    ret->json = json_loadb(body->n ? body->p : "", body->n, 0, NULL);
    if (!json_is_object(ret->json)) {
        json_decref(ret->json);
        ret->json = NULL;
    }
    if (ret->reply.status != 200)
        return live_refused(&ret->reply, e);
    if (ret->json)
        return STATUS_YES;
    err_set(e, -EPROTO, "the answer from '%s' is not understood", c->socket);
    return STATUS_ERROR;
}

void object_release(struct object *o)
{
    json_decref(o->json);
    text_release(&o->reply.body);
    *o = (struct object){0};
}

enum status object_print(struct object *o, enum status s, struct err *e)
{
    struct text *body = &o->reply.body;
    if (body->n && body->p[body->n - 1] != '\n')
        text_add(body, STR("\n"));
    return out_plain(body, s, e);
}

enum status object_print_changed(const struct object *o, enum status s, struct err *e)
{
    struct text t = {0};
    char *line = json_dumps(o->json, JSON_COMPACT);
    if (!line) {
        err_set(e, -ENOMEM, "out of memory");
        return STATUS_ERROR;
    }
    text_add(&t, str_c(line));
    text_add(&t, STR("\n"));
    free(line); /* jansson's own */
    return out_plain(&t, s, e);
}

const char *object_text(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

uint64_t object_number(const json_t *o, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(o, key));
    return n > 0 ? (uint64_t)n : 0;
}

double object_real(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

bool object_true(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

/* How many bytes from the start of s a terminal must not get; 0: the first byte is harmless. */
static size_t unwanted(struct str s)
{
    unsigned char a = (unsigned char)s.p[0];
    unsigned char b = s.n > 1 ? (unsigned char)s.p[1] : 0, c = s.n > 2 ? (unsigned char)s.p[2] : 0;
    if (a < 0x20 || a == 0x7f)
        return 1;
    if (a == 0xc2 && b >= 0x80 && b < 0xa0) /* U+0080 to U+009F */
        return 2;
    if (a != 0xe2)
        return 0;
    bool line_end = b == 0x80 && (c == 0xa8 || c == 0xa9); /* U+2028, U+2029 */
    bool embedding = b == 0x80 && c >= 0xaa && c <= 0xae;  /* U+202A to U+202E */
    bool isolate = b == 0x81 && c >= 0xa6 && c <= 0xa9;    /* U+2066 to U+2069 */
    return line_end || embedding || isolate ? 3 : 0;
}

void text_clean(struct text *t, struct str s)
{
    size_t done = 0;
    for (size_t i = 0; i < s.n;) {
        size_t n = unwanted(str_from(s, i));
        if (n) {
            text_add(t, str_of(s.p + done, i - done));
            text_add(t, STR("?"));
            done = i + n;
        }
        i += n ? n : 1;
    }
    text_add(t, str_from(s, done));
}
