/* Two steps. First every file is walked and its messages, enumerations and methods are listed by
 * full name, with the types of fields as the text that stands there; then the lists are sorted and
 * the texts looked up in them. All lies in one pool, with one copy of the input for the names. */
#include "lib/compare/descriptors.h"

#include "lib/base/mem.h"
#include "lib/base/pool.h"
#include "lib/graph/pb.h"
#include <errno.h>
#include <stdlib.h>

#define CHUNK          4096
#define LABEL_REPEATED 3
#define NO_ONEOF       UINT64_MAX

/* Field numbers of descriptor.proto. */
enum { SET_FILE = 1 };
enum { FILE_PACKAGE = 2, FILE_MESSAGE = 4, FILE_ENUM = 5, FILE_SERVICE = 6, FILE_OPTIONS = 8 };
enum { FILE_SYNTAX = 12 };
enum { ANY_NAME = 1 };
enum { MESSAGE_FIELD = 2, MESSAGE_NESTED = 3, MESSAGE_ENUM = 4, MESSAGE_OPTIONS = 7 };
enum { MESSAGE_OPTIONS_MAP_ENTRY = 7 };
enum { FIELD_NUMBER = 3, FIELD_LABEL = 4, FIELD_TYPE = 5, FIELD_TYPE_NAME = 6, FIELD_OPTIONS = 8 };
enum { FIELD_ONEOF = 9, FIELD_OPTIONAL = 17 };
enum { ENUM_VALUE = 2, VALUE_NUMBER = 2 };
enum { SERVICE_METHOD = 2, METHOD_INPUT = 2, METHOD_OUTPUT = 3 };
enum { FILE_FEATURES = 50, FIELD_FEATURES = 21, FEATURES_PRESENCE = 1 };
enum { PRESENCE_UNKNOWN = 0, PRESENCE_IMPLICIT = 2 }; /* FeatureSet.FieldPresence */

/* What has a full name; first in each struct, so that all are sorted and found alike. */
struct named {
    struct str name;
    struct named *next; /* while they are collected */
};

struct declared_field {
    struct descriptor_field pub;
    struct str type_name; /* ".package.Type" */
};

struct descriptor_message {
    struct named named;
    struct descriptor_field *field; /* by number */
    struct str *type_name;          /* one a field */
    size_t nfields;
    bool map_entry;
};

struct enum_value {
    struct str name;
    int32_t number;
};

struct descriptor_enum {
    struct named named;
    struct enum_value *value; /* by number, the first of several names first */
    size_t nvalues;
};

struct method {
    struct named named; /* "/package.Service/Method" */
    struct str input, output;
    const struct descriptor_message *request, *reply;
};

struct names {
    struct named *first;
    struct named **sorted;
    size_t n;
};

struct descriptors {
    struct pool *pool;
    struct names messages, enums, methods;
};

/* Of the file that is being read. */
struct reading {
    struct descriptors *d;
    struct err *e;
    bool presence; /* of its scalar fields, if they say nothing else */
};

/* ---- pieces ---- */

static int no_memory(struct reading *r)
{
    return err_set(r->e, -ENOMEM, "out of memory for descriptors");
}

static int broken(struct reading *r, struct str where)
{
    return err_set(r->e, -EBADMSG, "broken descriptors in '%.*s'", STR_ARG(where));
}

/* The last of a field of bytes, as protobuf has it; empty: none. The bytes were checked before. */
static struct str bytes_of(struct str message, uint32_t number)
{
    struct pb_in in = pb_in_of(message);
    struct pb_field f;
    struct str last = {0};
    while (pb_next(&in, &f) == 1)
        if (f.number == number && f.wire == PB_BYTES)
            last = f.bytes;
    return last;
}

/* The last number of a field, or `none`. */
static uint64_t number_or(struct str message, uint32_t number, uint64_t none)
{
    struct pb_in in = pb_in_of(message);
    struct pb_field f;
    while (pb_next(&in, &f) == 1)
        if (f.number == number && f.wire == PB_VARINT)
            none = f.value;
    return none;
}

/* Whole fields up to the end; how many of `number` are among them. */
static int count_of(struct str message, uint32_t number, size_t *ret)
{
    struct pb_in in = pb_in_of(message);
    struct pb_field f;
    size_t n = 0;
    int r;
    while ((r = pb_next(&in, &f)) == 1)
        n += f.number == number && f.wire == PB_BYTES;
    *ret = n;
    return r;
}

/* A new full name: scope, separator and the declared name. */
static int full_name(
    struct reading *r, struct str scope, const char *separator, struct str name, struct str *ret)
{
    if (name.n == 0)
        return broken(r, scope);
    if (scope.n + 1 + name.n > DESCRIPTORS_NAME_MAX)
        return err_set(r->e, -E2BIG, "a name in '%.*s' is longer than %d bytes", STR_ARG(scope),
            DESCRIPTORS_NAME_MAX);
    *ret =
        pool_fmt(r->d->pool, "%.*s%s%.*s", STR_ARG(scope), scope.n ? separator : "", STR_ARG(name));
    return ret->p ? 0 : no_memory(r);
}

static int keep(struct reading *r, struct names *list, struct named *one, struct str name)
{
    if (list->n == DESCRIPTORS_NAMES_MAX)
        return err_set(r->e, -E2BIG,
            "descriptors of more than %d messages, enumerations or methods", DESCRIPTORS_NAMES_MAX);
    one->name = name;
    one->next = list->first;
    list->first = one;
    list->n++;
    return 0;
}

/* ---- declarations ---- */

/* proto3 says it by oneof and optional, editions by features; proto2 has presence always. */
static bool field_presence(const struct reading *r, struct str field, bool repeated, bool message)
{
    struct str features = bytes_of(bytes_of(field, FIELD_OPTIONS), FIELD_FEATURES);
    uint64_t presence = number_or(features, FEATURES_PRESENCE, PRESENCE_UNKNOWN);
    if (repeated)
        return false;
    if (message || number_or(field, FIELD_ONEOF, NO_ONEOF) != NO_ONEOF ||
        number_or(field, FIELD_OPTIONAL, 0))
        return true;
    return presence == PRESENCE_UNKNOWN ? r->presence : presence != PRESENCE_IMPLICIT;
}

static int read_field(
    struct reading *r, struct str in, struct str scope, struct declared_field *ret)
{
    size_t unused;
    uint64_t number = number_or(in, FIELD_NUMBER, 0);
    uint64_t type = number_or(in, FIELD_TYPE, 0), label = number_or(in, FIELD_LABEL, 0);
    struct str name = bytes_of(in, ANY_NAME);
    if (count_of(in, 0, &unused) < 0 || name.n == 0 || number == 0 || number >= 1u << 29)
        return broken(r, scope);
    if (type < DESCRIPTOR_DOUBLE || type > DESCRIPTOR_SINT64)
        return broken(r, scope);
    bool message = type == DESCRIPTOR_MESSAGE || type == DESCRIPTOR_GROUP;
    bool repeated = label == LABEL_REPEATED;
    ret->type_name = bytes_of(in, FIELD_TYPE_NAME);
    ret->pub = (struct descriptor_field){.name = name,
        .number = (uint32_t)number,
        .type = (enum descriptor_type)type,
        .repeated = repeated,
        .presence = field_presence(r, in, repeated, message)};
    return 0;
}

/* Of descriptor_field, which a declared_field begins with. */
static int by_number(const void *a, const void *b)
{
    const struct descriptor_field *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

/* Fields with their types' texts beside them, both by number. */
static int keep_fields(
    struct reading *r, struct descriptor_message *m, struct declared_field *f, size_t n)
{
    qsort(f, n, sizeof(*f), by_number);
    m->field = pool_zalloc(r->d->pool, (n ? n : 1) * sizeof(*m->field));
    m->type_name = pool_zalloc(r->d->pool, (n ? n : 1) * sizeof(*m->type_name));
    if (!m->field || !m->type_name)
        return no_memory(r);
    for (size_t i = 0; i < n; i++) {
        if (i && f[i].pub.number == f[i - 1].pub.number)
            return err_set(r->e, -EINVAL, "field %u is there twice in '%.*s'", f[i].pub.number,
                STR_ARG(m->named.name));
        m->field[i] = f[i].pub;
        m->field[i].presence &= !m->map_entry; /* what an entry leaves out is zero */
        m->type_name[i] = f[i].type_name;
    }
    m->nfields = n;
    return 0;
}

static int read_fields(struct reading *r, struct str in, struct descriptor_message *m)
{
    size_t n, i = 0;
    if (count_of(in, MESSAGE_FIELD, &n) < 0)
        return broken(r, m->named.name);
    struct declared_field *fields = mem_array(n ? n : 1, sizeof(*fields));
    if (!fields)
        return no_memory(r);
    struct pb_in at = pb_in_of(in);
    struct pb_field f;
    int rc = 0;
    while (rc == 0 && pb_next(&at, &f) == 1)
        if (f.number == MESSAGE_FIELD && f.wire == PB_BYTES)
            rc = read_field(r, f.bytes, m->named.name, &fields[i++]);
    if (rc == 0)
        rc = keep_fields(r, m, fields, n);
    mem_free(fields);
    return rc;
}

static int value_order(const void *a, const void *b)
{
    const struct enum_value *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->name.p < y->name.p ? -1 : x->name.p > y->name.p; /* aliases as declared */
}

static int read_enum(struct reading *r, struct str in, struct str scope)
{
    struct str name = {0};
    size_t n, i = 0;
    int rc = count_of(in, ENUM_VALUE, &n) < 0
                 ? broken(r, scope)
                 : full_name(r, scope, ".", bytes_of(in, ANY_NAME), &name);
    if (rc < 0)
        return rc;
    struct descriptor_enum *e = pool_zalloc(r->d->pool, sizeof(*e));
    struct enum_value *values = pool_zalloc(r->d->pool, (n ? n : 1) * sizeof(*values));
    if (!e || !values)
        return no_memory(r);
    struct pb_in at = pb_in_of(in);
    struct pb_field f;
    while (pb_next(&at, &f) == 1)
        if (f.number == ENUM_VALUE && f.wire == PB_BYTES) {
            uint64_t number = number_or(f.bytes, VALUE_NUMBER, 0);
            values[i++] =
                (struct enum_value){bytes_of(f.bytes, ANY_NAME), (int32_t)(uint32_t)number};
        }
    qsort(values, n, sizeof(*values), value_order);
    e->value = values;
    e->nvalues = n;
    return keep(r, &r->d->enums, &e->named, name);
}

static int read_message(struct reading *r, struct str in, struct str scope, unsigned depth)
{
    struct str name = {0};
    int rc = full_name(r, scope, ".", bytes_of(in, ANY_NAME), &name);
    if (rc < 0)
        return rc;
    if (depth > DESCRIPTORS_DEPTH_MAX)
        return err_set(r->e, -E2BIG, "messages within messages too deep at '%.*s'", STR_ARG(name));
    struct descriptor_message *m = pool_zalloc(r->d->pool, sizeof(*m));
    if (!m)
        return no_memory(r);
    m->map_entry = number_or(bytes_of(in, MESSAGE_OPTIONS), MESSAGE_OPTIONS_MAP_ENTRY, 0) != 0;
    rc = keep(r, &r->d->messages, &m->named, name);
    if (rc == 0)
        rc = read_fields(r, in, m);
    struct pb_in at = pb_in_of(in);
    struct pb_field f;
    while (rc == 0 && pb_next(&at, &f) == 1) {
        if (f.wire == PB_BYTES && f.number == MESSAGE_NESTED)
            rc = read_message(r, f.bytes, name, depth + 1);
        else if (f.wire == PB_BYTES && f.number == MESSAGE_ENUM)
            rc = read_enum(r, f.bytes, name);
    }
    return rc;
}

static int read_method(struct reading *r, struct str in, struct str service)
{
    struct method *m = pool_zalloc(r->d->pool, sizeof(*m));
    struct str name = {0};
    size_t unused;
    if (!m)
        return no_memory(r);
    if (count_of(in, 0, &unused) < 0)
        return broken(r, service);
    int rc = full_name(r, service, "/", bytes_of(in, ANY_NAME), &name);
    if (rc < 0)
        return rc;
    m->input = bytes_of(in, METHOD_INPUT);
    m->output = bytes_of(in, METHOD_OUTPUT);
    return keep(r, &r->d->methods, &m->named, name);
}

static int read_service(struct reading *r, struct str in, struct str scope)
{
    struct str name = {0}, path;
    size_t unused;
    int rc = count_of(in, 0, &unused) < 0 ? broken(r, scope)
                                          : full_name(r, scope, ".", bytes_of(in, ANY_NAME), &name);
    if (rc < 0)
        return rc;
    path = pool_fmt(r->d->pool, "/%.*s", STR_ARG(name));
    if (!path.p)
        return no_memory(r);
    struct pb_in at = pb_in_of(in);
    struct pb_field f;
    while (rc == 0 && pb_next(&at, &f) == 1)
        if (f.number == SERVICE_METHOD && f.wire == PB_BYTES)
            rc = read_method(r, f.bytes, path);
    return rc;
}

static int read_file(struct reading *r, struct str in)
{
    size_t unused;
    struct str package = bytes_of(in, FILE_PACKAGE), syntax = bytes_of(in, FILE_SYNTAX);
    if (count_of(in, 0, &unused) < 0)
        return broken(r, bytes_of(in, ANY_NAME));
    if (package.n > DESCRIPTORS_NAME_MAX)
        return err_set(
            r->e, -E2BIG, "a package's name is longer than %d bytes", DESCRIPTORS_NAME_MAX);
    struct str features = bytes_of(bytes_of(in, FILE_OPTIONS), FILE_FEATURES);
    uint64_t presence = number_or(features, FEATURES_PRESENCE, PRESENCE_UNKNOWN);
    r->presence = presence == PRESENCE_UNKNOWN ? !str_eq(syntax, STR("proto3"))
                                               : presence != PRESENCE_IMPLICIT;
    struct pb_in at = pb_in_of(in);
    struct pb_field f;
    int rc = 0;
    while (rc == 0 && pb_next(&at, &f) == 1) {
        if (f.wire != PB_BYTES)
            continue;
        if (f.number == FILE_MESSAGE)
            rc = read_message(r, f.bytes, package, 1);
        else if (f.number == FILE_ENUM)
            rc = read_enum(r, f.bytes, package);
        else if (f.number == FILE_SERVICE)
            rc = read_service(r, f.bytes, package);
    }
    return rc;
}

/* ---- names ---- */

static int name_order(const void *a, const void *b)
{
    return str_cmp((*(struct named *const *)a)->name, (*(struct named *const *)b)->name);
}

static int sort_names(struct reading *r, struct names *list)
{
    size_t i = 0;
    list->sorted = pool_alloc(r->d->pool, (list->n ? list->n : 1) * sizeof(struct named *));
    if (!list->sorted)
        return no_memory(r);
    for (struct named *one = list->first; one; one = one->next)
        list->sorted[i++] = one;
    qsort(list->sorted, list->n, sizeof(struct named *), name_order);
    for (i = 1; i < list->n; i++)
        if (str_eq(list->sorted[i - 1]->name, list->sorted[i]->name))
            return err_set(
                r->e, -EEXIST, "descriptors have '%.*s' twice", STR_ARG(list->sorted[i]->name));
    return 0;
}

static struct named *find_name(const struct names *list, struct str name)
{
    struct named key = {.name = name}, *key_at = &key;
    struct named **at = bsearch(&key_at, list->sorted, list->n, sizeof(struct named *), name_order);
    return at ? *at : NULL;
}

/* A type as fields and methods name it: ".package.Type". */
static struct named *find_type(const struct names *list, struct str type)
{
    return type.n && type.p[0] == '.' ? find_name(list, str_from(type, 1)) : NULL;
}

static void resolve(struct descriptors *d)
{
    for (struct named *one = d->messages.first; one; one = one->next) {
        struct descriptor_message *m = (struct descriptor_message *)one;
        for (size_t i = 0; i < m->nfields; i++) {
            struct descriptor_field *f = &m->field[i];
            if (f->type == DESCRIPTOR_MESSAGE)
                f->message = (void *)find_type(&d->messages, m->type_name[i]);
            else if (f->type == DESCRIPTOR_ENUM)
                f->enumeration = (void *)find_type(&d->enums, m->type_name[i]);
            f->map = f->repeated && f->message && f->message->map_entry &&
                     descriptor_field(f->message, 1) && descriptor_field(f->message, 2);
        }
    }
    for (struct named *one = d->methods.first; one; one = one->next) {
        struct method *m = (struct method *)one;
        m->request = (void *)find_type(&d->messages, m->input);
        m->reply = (void *)find_type(&d->messages, m->output);
    }
}

static int read_set(struct reading *r, struct str in)
{
    struct pb_in at = pb_in_of(in);
    struct pb_field f;
    int rc;
    while ((rc = pb_next(&at, &f)) == 1) {
        if (f.number != SET_FILE || f.wire != PB_BYTES)
            continue;
        if ((rc = read_file(r, f.bytes)) < 0)
            return rc;
    }
    if (rc < 0)
        return err_set(r->e, rc, "no FileDescriptorSet, or not all of one");
    if ((rc = sort_names(r, &r->d->messages)) < 0 || (rc = sort_names(r, &r->d->enums)) < 0)
        return rc;
    return sort_names(r, &r->d->methods);
}

/* ---- the interface ---- */

struct descriptors *descriptors_parse(struct str bytes, struct err *e)
{
    if (bytes.n > DESCRIPTORS_BYTES_MAX) {
        err_set(e, -E2BIG, "descriptors of more than %u bytes", DESCRIPTORS_BYTES_MAX);
        return NULL;
    }
    struct pool *pool = pool_new(CHUNK);
    struct descriptors *d = pool ? pool_zalloc(pool, sizeof(*d)) : NULL;
    struct str copy = d ? pool_str(pool, bytes) : (struct str){0};
    if (!copy.p) {
        pool_free(pool);
        err_set(e, -ENOMEM, "out of memory for descriptors");
        return NULL;
    }
    d->pool = pool;
    struct reading r = {.d = d, .e = e};
    if (read_set(&r, copy) < 0) {
        pool_free(pool);
        return NULL;
    }
    resolve(d);
    return d;
}

void descriptors_free(struct descriptors *d)
{
    if (d)
        pool_free(d->pool);
}

const struct descriptor_message *descriptors_request(const struct descriptors *d, struct str method)
{
    const struct method *m = (const void *)find_name(&d->methods, method);
    return m ? m->request : NULL;
}

const struct descriptor_message *descriptors_reply(const struct descriptors *d, struct str method)
{
    const struct method *m = (const void *)find_name(&d->methods, method);
    return m ? m->reply : NULL;
}

size_t descriptors_methods(const struct descriptors *d)
{
    return d->methods.n;
}

const struct descriptor_message *descriptors_message(const struct descriptors *d, struct str name)
{
    return (const void *)find_name(&d->messages, name);
}

size_t descriptor_fields(const struct descriptor_message *m, const struct descriptor_field **ret)
{
    *ret = m->field;
    return m->nfields;
}

const struct descriptor_field *descriptor_field(const struct descriptor_message *m, uint32_t number)
{
    const struct descriptor_field key = {.number = number};
    return bsearch(&key, m->field, m->nfields, sizeof(key), by_number);
}

struct str descriptor_enum_name(const struct descriptor_enum *e, int32_t number)
{
    size_t low = 0, high = e->nvalues;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (e->value[mid].number < number)
            low = mid + 1;
        else
            high = mid;
    }
    return low < e->nvalues && e->value[low].number == number ? e->value[low].name
                                                              : (struct str){0};
}
