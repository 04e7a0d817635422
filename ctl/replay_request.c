/* Which recorded requests can be sent again. */
#include "ctl/replay.h"
#include "lib/base/mem.h"
#include "lib/net/dark.h"
#include <errno.h>

#define FIELDS_MAX 64u

/* ---- fields of the command line ---- */

static int take_field(struct fields *f, const char *given, char *at)
{
    size_t n = strlen(given), colon = str_find(str_of(given, n), ':');
    if (colon == 0 || colon == n)
        return -EINVAL;
    memcpy(at, given, n);
    for (size_t i = 0; i < colon; i++)
        at[i] = ascii_lower(at[i]);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)at[i] < ' ' || at[i] == 0x7f || (i < colon && at[i] == ' '))
            return -EINVAL;
    f->item[f->n++] =
        (struct reply_field){str_of(at, colon), str_trim(str_of(at + colon + 1, n - colon - 1))};
    return 0;
}

int fields_read(struct fields *f, const struct values *given, struct err *e)
{
    size_t bytes = 1;
    *f = (struct fields){0};
    if (given->n > FIELDS_MAX)
        return err_set(e, -EINVAL, "--header: more than %u of them", FIELDS_MAX);
    for (size_t i = 0; i < given->n; i++)
        bytes += strlen(given->item[i]);
    f->item = mem_array(given->n + 1, sizeof(*f->item));
    f->memory = mem_alloc(bytes);
    if (!f->item || !f->memory)
        return err_set(e, -ENOMEM, "out of memory");
    char *at = f->memory;
    for (size_t i = 0; i < given->n; i++) {
        if (take_field(f, given->item[i], at))
            return err_set(e, -EINVAL, "--header wants 'NAME: VALUE'; number %zu is none", i + 1);
        at += strlen(given->item[i]);
    }
    return 0;
}

void fields_release(struct fields *f)
{
    mem_free(f->item);
    mem_free(f->memory);
    *f = (struct fields){0};
}

static bool is_given(const struct fields *f, struct str name)
{
    for (size_t i = 0; i < f->n; i++)
        if (str_eq(f->item[i].name, name))
            return true;
    return false;
}

/* ---- obstacles ---- */

static bool is_safe(const char *method)
{
    static const char *const safe[] = {"GET", "HEAD", "OPTIONS", "TRACE"};
    for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
        if (strcmp(method, safe[i]) == 0)
            return true;
    return false;
}

static bool is_redacted(const void *p, size_t n)
{
    return n && memmem(p, n, "[redacted:", 10);
}

/* Something in a field is not known any more, or not for the candidate, and is not given. */
static const char *field_obstacle(
    const recorded_request *r, const struct fields *given, bool forward)
{
    for (size_t i = 0; i < r->n_fields; i++) {
        const Offshoot__V1__JournalField *f = r->fields[i];
        struct str name = str_c(f->name);
        if (is_given(given, name))
            continue;
        if (dark_is_credential(name) && !forward)
            return "credentials";
        if (r->redacted && is_redacted(f->value.data, f->value.len))
            return r->needs_credentials ? "credentials" : "redacted";
    }
    return NULL;
}

const char *recorded_obstacle(
    const recorded_sample *s, const struct fields *given, bool unsafe, bool forward)
{
    const recorded_request *r = s->request;
    if (!r)
        return "no-request";
    if (!s->primary || s->primary->outcome != REPLY_WHOLE)
        return "no-primary";
    if (!unsafe && !is_safe(r->method))
        return "unsafe";
    if (r->cut)
        return "cut";
    if (r->redacted &&
        (is_redacted(r->path, strlen(r->path)) || is_redacted(r->authority, strlen(r->authority)) ||
            is_redacted(r->body.data, r->body.len)))
        return "redacted";
    return field_obstacle(r, given, forward);
}
