/* Server reflection, v1 and v1alpha, which differ in name only
 * (proto/grpc/reflection/v1/reflection.proto).
 *
 * What is told is read out of grpc_descriptors, a google.protobuf.FileDescriptorSet, whenever
 * somebody asks. A file comes with all files that it imports. Field numbers: descriptor.proto. */
#include "lib/graph/pb.h"
#include "lib/net/grpc_impl.h"
#include <errno.h>

#define FILES_MAX 64 /* of the program; more are not told */
#define HOST_MAX  256

enum request_field {
    ASK_HOST = 1,
    ASK_FILE = 3,
    ASK_SYMBOL = 4,
    ASK_EXTENSION = 5,
    ASK_EXTENSION_NUMBERS = 6,
    ASK_SERVICES = 7,
};
enum response_field {
    TELL_HOST = 1,
    TELL_REQUEST = 2,
    TELL_FILES = 4,
    TELL_EXTENSION_NUMBERS = 5,
    TELL_SERVICES = 6,
    TELL_ERROR = 7,
};
enum file_field { FILE_NAME = 1, FILE_PACKAGE = 2, FILE_DEPENDENCY = 3 };

static const char *const own_services[] = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
};

/* ---- descriptors ---- */

/* The first bytes field of that number, empty when there is none. */
static struct str part_of(struct str message, uint32_t number)
{
    struct pb_in in = pb_in_of(message);
    struct pb_field f;
    while (pb_next(&in, &f) == 1) {
        if (f.number == number && f.wire == PB_BYTES)
            return f.bytes;
    }
    return (struct str){0};
}

static unsigned all_files(struct str files[static FILES_MAX])
{
    struct pb_in in = pb_in_of(grpc_descriptors);
    struct pb_field f;
    unsigned n = 0;
    while (n < FILES_MAX && pb_next(&in, &f) == 1) {
        if (f.number == 1 && f.wire == PB_BYTES)
            files[n++] = f.bytes;
    }
    return n;
}

/* What a descriptor has inside that has a name of its own. */
enum kind { KIND_FILE, KIND_MESSAGE, KIND_ENUM, KIND_SERVICE, KIND_LEAF };
static const struct {
    enum kind in;
    uint32_t number;
    enum kind is;
} members[] = {
    {KIND_FILE, 4, KIND_MESSAGE},
    {KIND_FILE, 5, KIND_ENUM},
    {KIND_FILE, 6, KIND_SERVICE},
    {KIND_FILE, 7, KIND_LEAF}, /* extension */
    {KIND_MESSAGE, 2, KIND_LEAF},
    {KIND_MESSAGE, 3, KIND_MESSAGE},
    {KIND_MESSAGE, 4, KIND_ENUM},
    {KIND_MESSAGE, 6, KIND_LEAF}, /* extension */
    {KIND_MESSAGE, 8, KIND_LEAF}, /* oneof */
    {KIND_ENUM, 2, KIND_LEAF},
    {KIND_SERVICE, 2, KIND_LEAF},
};

/* The kind of the member that a field is; KIND_FILE for none. */
static enum kind member_kind(enum kind in, const struct pb_field *f)
{
    for (size_t i = 0; f->wire == PB_BYTES && i < sizeof(members) / sizeof(members[0]); i++) {
        if (members[i].in == in && members[i].number == f->number)
            return members[i].is;
    }
    return KIND_FILE;
}

static bool has_symbol(struct str of, enum kind kind, struct str symbol);

static bool member_has(struct str member, enum kind kind, struct str symbol)
{
    struct str name = part_of(member, 1);
    if (str_eq(name, symbol))
        return true;
    if (kind == KIND_ENUM) /* its values have their names beside it, not in it */
        return has_symbol(member, kind, symbol);
    return str_starts(symbol, name) && symbol.p[name.n] == '.' &&
           has_symbol(member, kind, str_from(symbol, name.n + 1));
}

/* symbol: below the name of `of`. As deep as our own protos are. */
static bool has_symbol(struct str of, enum kind kind, struct str symbol)
{
    struct pb_in in = pb_in_of(of);
    struct pb_field f;
    while (pb_next(&in, &f) == 1) {
        enum kind is = member_kind(kind, &f);
        if (is != KIND_FILE && member_has(f.bytes, is, symbol))
            return true;
    }
    return false;
}

static bool file_has_symbol(struct str file, struct str symbol)
{
    struct str package = part_of(file, FILE_PACKAGE);
    if (package.n == 0)
        return has_symbol(file, KIND_FILE, symbol);
    return symbol.n > package.n + 1 && str_starts(symbol, package) && symbol.p[package.n] == '.' &&
           has_symbol(file, KIND_FILE, str_from(symbol, package.n + 1));
}

static bool file_has_name(struct str file, struct str name)
{
    return str_eq(part_of(file, FILE_NAME), name);
}

/* ---- answers ---- */

static void tell_error(struct pb_out *o, enum grpc_status status, struct str text)
{
    size_t at = pb_begin(o, TELL_ERROR);
    pb_uint(o, 1, status);
    pb_bytes(o, 2, text);
    pb_end(o, at);
}

static bool wants(
    struct str files[static FILES_MAX], unsigned n, uint64_t told, struct str name, unsigned *ret)
{
    for (unsigned i = 0; i < n; i++) {
        if (!(told >> i & 1) && file_has_name(files[i], name)) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* The file and all that it needs, each once. */
static void tell_file(
    struct pb_out *o, struct str files[static FILES_MAX], unsigned n, unsigned first)
{
    unsigned queue[FILES_MAX] = {first}, queued = 1;
    uint64_t told = (uint64_t)1 << first;
    size_t at = pb_begin(o, TELL_FILES);
    for (unsigned i = 0; i < queued; i++) {
        struct pb_in in = pb_in_of(files[queue[i]]);
        struct pb_field f;
        unsigned found;
        pb_bytes(o, 1, files[queue[i]]);
        while (pb_next(&in, &f) == 1) {
            if (f.number != FILE_DEPENDENCY || !wants(files, n, told, f.bytes, &found))
                continue;
            told |= (uint64_t)1 << found;
            queue[queued++] = found;
        }
    }
    pb_end(o, at);
}

static void tell_matching(
    struct pb_out *o, bool (*matches)(struct str file, struct str wanted), struct str wanted)
{
    struct str files[FILES_MAX];
    unsigned n = all_files(files);
    for (unsigned i = 0; i < n; i++) {
        if (matches(files[i], wanted)) {
            tell_file(o, files, n, i);
            return;
        }
    }
    tell_error(o, GRPC_NOT_FOUND, STR("not found"));
}

/* There are no extensions; what type is asked about must exist all the same. */
static void tell_extension_numbers(struct pb_out *o, struct str type)
{
    struct str files[FILES_MAX];
    unsigned n = all_files(files);
    for (unsigned i = 0; i < n; i++) {
        if (file_has_symbol(files[i], type)) {
            size_t at = pb_begin(o, TELL_EXTENSION_NUMBERS);
            pb_bytes(o, 1, type);
            pb_end(o, at);
            return;
        }
    }
    tell_error(o, GRPC_NOT_FOUND, STR("not found"));
}

static void tell_service(struct pb_out *o, const char *name)
{
    size_t at = pb_begin(o, 1);
    pb_bytes(o, 1, str_c(name));
    pb_end(o, at);
}

static void tell_services(struct pb_out *o, const struct grpc_server *s)
{
    size_t at = pb_begin(o, TELL_SERVICES);
    for (const char *const *name = s->o.services; name && *name; name++)
        tell_service(o, *name);
    for (size_t i = 0; i < sizeof(own_services) / sizeof(own_services[0]); i++)
        tell_service(o, own_services[i]);
    pb_end(o, at);
}

/* The last of a oneof counts. False when the bytes are no request. */
static bool read_request(struct str message, struct str *ret_host, struct pb_field *ret_asked)
{
    struct pb_in in = pb_in_of(message);
    struct pb_field f;
    int rc;
    *ret_host = (struct str){0};
    *ret_asked = (struct pb_field){0};
    while ((rc = pb_next(&in, &f)) == 1) {
        if (f.wire != PB_BYTES)
            continue;
        if (f.number == ASK_HOST)
            *ret_host = f.bytes;
        else if (f.number >= ASK_FILE && f.number <= ASK_SERVICES)
            *ret_asked = f;
    }
    return rc == 0 && ret_host->n <= HOST_MAX;
}

static void answer(struct pb_out *o, const struct grpc_server *s, const struct pb_field *asked)
{
    switch (asked->number) {
    case ASK_FILE:
        tell_matching(o, file_has_name, asked->bytes);
        break;
    case ASK_SYMBOL:
        tell_matching(o, file_has_symbol, asked->bytes);
        break;
    case ASK_EXTENSION:
        tell_error(o, GRPC_NOT_FOUND, STR("there are no extensions"));
        break;
    case ASK_EXTENSION_NUMBERS:
        tell_extension_numbers(o, asked->bytes);
        break;
    case ASK_SERVICES:
        tell_services(o, s);
        break;
    default:
        tell_error(o, GRPC_INVALID_ARGUMENT, STR("nothing is asked"));
    }
}

/* ---- the call ---- */

static void on_message(struct grpc_stream *st, struct str message, void *arg)
{
    struct pb_out o = {0};
    struct pb_field asked;
    struct str host;
    if (!read_request(message, &host, &asked)) {
        grpc_finish(st, GRPC_INVALID_ARGUMENT, STR("not a ServerReflectionRequest"));
        return;
    }
    pb_bytes(&o, TELL_HOST, host);
    pb_bytes(&o, TELL_REQUEST, message);
    answer(&o, arg, &asked);
    int rc = o.failed ? -ENOMEM : grpc_send(st, pb_str(&o));
    pb_release(&o);
    if (rc == -ENOBUFS)
        grpc_finish(st, GRPC_RESOURCE_EXHAUSTED, STR("the answers are not read"));
    else if (rc)
        grpc_finish(st, GRPC_RESOURCE_EXHAUSTED, STR("out of memory"));
}

static void on_half_close(struct grpc_stream *st, void *arg)
{
    (void)arg;
    grpc_finish(st, GRPC_OK, (struct str){0});
}

static void on_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    (void)st;
    (void)status;
    (void)text;
    (void)arg;
}

static const struct grpc_events events = {
    .on_message = on_message, .on_half_close = on_half_close, .on_end = on_end};

const struct grpc_method grpc_reflect_methods[] = {
    {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &events, NULL},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &events, NULL},
};
const size_t grpc_nreflect_methods = sizeof(grpc_reflect_methods) / sizeof(grpc_reflect_methods[0]);
