#include "lib/graph/described.h"
#include "lib/base/mem.h"
#include "lib/graph/actions.h"
#include <errno.h>

static bool value_char(char c)
{
    return (unsigned char)c >= 0x20 ? c != 0x7f : c == '\t';
}

static int put_header(struct described *d, char **at, const char *header, struct err *e)
{
    struct str text = str_c(header);
    size_t colon = str_find(text, ':');
    struct str value = colon < text.n ? str_trim(str_from(text, colon + 1)) : (struct str){0};
    char *name = *at;
    bool good = colon > 0 && colon < text.n && colon <= UINT16_MAX;
    for (size_t i = 0; good && i < colon; i++) {
        name[i] = ascii_lower(text.p[i]);
        good = token_char(name[i]);
    }
    for (size_t i = 0; good && i < value.n; i++)
        good = value_char(value.p[i]);
    if (!good)
        return err_set(e, -EINVAL, "not a header '%.100s' (want 'Name: value')", header);
    char *copy = name + colon;
    if (value.n)
        memcpy(copy, value.p, value.n);
    *at = copy + value.n;
    enum field_id id = field_id(name, colon);
    if (id == FIELD_HOST)
        return 0; /* the authority is said by `host` */
    d->fields[d->ask.nfields++] = (struct field){.name = name,
        .value = copy,
        .name_len = (uint16_t)colon,
        .value_len = (uint32_t)value.n,
        .id = (uint8_t)id};
    return 0;
}

int described_init(struct described *d, struct str host, struct str path, bool trusted,
    const char *const *headers, size_t nheaders, struct err *e)
{
    memset(d, 0, sizeof *d);
    bool https = str_starts(host, STR("https://"));
    if (https)
        host = str_from(host, 8);
    size_t bytes = host.n + path.n + 1;
    for (size_t i = 0; i < nheaders; i++)
        bytes += strlen(headers[i]);
    if (nheaders > DESCRIBED_HEADERS_MAX || bytes > DESCRIBED_BYTES_MAX)
        return err_set(e, -EINVAL, "the described request is larger than %u headers or %u bytes",
            DESCRIBED_HEADERS_MAX, DESCRIBED_BYTES_MAX);
    size_t array = (nheaders + 1) * sizeof(struct field);
    d->memory = mem_alloc(array + 2 * bytes);
    if (!d->memory)
        return err_set(e, -ENOMEM, "out of memory");
    d->fields = d->memory;
    char *at = (char *)d->memory + array;
    d->scratch = (struct scratch){at + bytes, 0, bytes};
    d->ask.fields = d->fields;
    d->ask.trusted = trusted;
    d->ask.https = https;
    d->ask.scratch = &d->scratch;
    for (size_t i = 0; i < nheaders; i++)
        if (put_header(d, &at, headers[i], e) != 0) {
            described_release(d);
            return e ? e->code : -EINVAL;
        }
    if (host.n)
        memcpy(at, host.p, host.n);
    d->ask.authority = str_of(at, host.n);
    at += host.n;
    if (path.n == 0)
        path = STR("/");
    memcpy(at, path.p, path.n);
    d->ask.path = str_of(at, path.n);
    return 0;
}

void described_release(struct described *d)
{
    mem_free(d->memory);
    memset(d, 0, sizeof *d);
}
