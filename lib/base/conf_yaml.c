/* Described configuration: one YAML file read strictly, from libyaml's events straight into the
 * settings. A path is looked up as soon as its key is read, so nesting cannot go deeper than the
 * dots of the table's keys. */
#include "lib/base/conf_impl.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/base/pool.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#define CONF_FILE_MAX (1u << 20) /* bytes of a configuration file */
#define CONF_PATH_MAX 200        /* bytes of a key, or of one item of a message */

static const char bom[] = "\xef\xbb\xbf";

struct section {
    struct section *next;
    struct str path;
};

struct reading {
    struct conf *c;
    const char *name;
    struct str bytes;
    struct err *e;
    yaml_parser_t parser;
    struct pool *pool;        /* texts that live as long as the reading */
    struct section *sections; /* opened so far */
};

/* ---- faults and their place ---------------------------------------------------------------- */

struct place {
    size_t line, column; /* from 1 */
};

static struct place place_of(yaml_mark_t m)
{
    return (struct place){m.line + 1, m.column + 1};
}

/* Columns count characters, as libyaml's do. */
static struct place place_at(struct str bytes, size_t offset)
{
    struct place at = {1, 1};
    for (size_t i = 0; i < offset && i < bytes.n; i++) {
        if (bytes.p[i] == '\n')
            at = (struct place){at.line + 1, 1};
        else if (((unsigned char)bytes.p[i] & 0xc0) != 0x80)
            at.column++;
    }
    return at;
}

__attribute__((format(printf, 3, 4))) static int fault(
    struct reading *r, struct place at, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return err_set(r->e, -EINVAL, "%s:%zu:%zu: %s", r->name, at.line, at.column, text);
}

static int out_of_memory(struct reading *r)
{
    return err_set(r->e, -ENOMEM, "%s: out of memory", r->name);
}

/* For messages: long texts are cut. */
static struct str brief(struct str s)
{
    return str_of(s.p, s.n < CONF_PATH_MAX ? s.n : CONF_PATH_MAX);
}

/* ---- events -------------------------------------------------------------------------------- */

static int parser_fault(struct reading *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return out_of_memory(r);
    struct place at = p->error == YAML_READER_ERROR ? place_at(r->bytes, p->problem_offset)
                                                    : place_of(p->problem_mark);
    const char *problem = p->problem ? p->problem : "not understood";
    if (p->context)
        return fault(r, at, "yaml: %s %s", problem, p->context);
    return fault(r, at, "yaml: %s", problem);
}

static int check_plainness(struct reading *r, const yaml_event_t *ev)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (ev->type) {
    case YAML_ALIAS_EVENT:
        return fault(r, place_of(ev->start_mark), "alias '*%s' is not allowed",
            (const char *)ev->data.alias.anchor);
    case YAML_SCALAR_EVENT:
        anchor = ev->data.scalar.anchor;
        tag = ev->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = ev->data.sequence_start.anchor;
        tag = ev->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = ev->data.mapping_start.anchor;
        tag = ev->data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor)
        return fault(
            r, place_of(ev->start_mark), "anchor '&%s' is not allowed", (const char *)anchor);
    if (tag)
        return fault(r, place_of(ev->start_mark), "tag '%s' is not allowed", (const char *)tag);
    return 0;
}

/* On success the event is the caller's to delete. */
static int next_event(struct reading *r, yaml_event_t *ret)
{
    if (!yaml_parser_parse(&r->parser, ret))
        return parser_fault(r);
    int rc = check_plainness(r, ret);
    if (rc)
        yaml_event_delete(ret);
    return rc;
}

static struct str scalar_text(const yaml_event_t *ev)
{
    return str_of((const char *)ev->data.scalar.value, ev->data.scalar.length);
}

static bool is_absent(const yaml_event_t *ev)
{
    return ev->type == YAML_SCALAR_EVENT && ev->data.scalar.length == 0 &&
           ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* ---- values -------------------------------------------------------------------------------- */

/* Sets key i unless a flag did. at: the value's place. */
static int set_value(
    struct reading *r, size_t i, struct place at, const struct str *items, size_t n)
{
    struct conf_slot *slot = &r->c->slots[i];
    const char *key = r->c->keys[i].name;
    if (slot->from == CONF_FROM_FLAG)
        return 0;
    struct str origin = pool_fmt(r->pool, "%s:%zu:%zu", r->name, at.line, at.column);
    if (!origin.p)
        return out_of_memory(r);
    struct conf_set_how how = {CONF_FROM_FILE, origin.p, false};
    struct err why = {0};
    int rc = conf_assign(r->c, i, items, n, &how, &why);
    if (rc == -ENOMEM)
        return out_of_memory(r);
    return rc ? fault(r, at, "key '%s' %s", key, why.text) : 0;
}

/* Appends a copy of the scalar to the growing array. */
static int add_item(struct reading *r, struct str **items, size_t *n, struct str text)
{
    if ((*n & (*n - 1)) == 0) { /* 0, 1, 2, 4, 8 ...: full */
        struct str *more = mem_realloc(*items, (*n ? *n * 2 : 1) * sizeof(**items));
        if (!more)
            return out_of_memory(r);
        *items = more;
    }
    struct str copy = pool_str(r->pool, text);
    if (!copy.p)
        return out_of_memory(r);
    (*items)[(*n)++] = copy;
    return 0;
}

static int read_item(
    struct reading *r, const char *key, const yaml_event_t *ev, struct str **items, size_t *n)
{
    struct place at = place_of(ev->start_mark);
    if (ev->type != YAML_SCALAR_EVENT)
        return fault(r, at, "key '%s' expects texts in its list", key);
    if (is_absent(ev))
        return fault(r, at, "key '%s' has an item without a value", key);
    return add_item(r, items, n, scalar_text(ev));
}

static int read_list(struct reading *r, size_t i, struct place at)
{
    const char *key = r->c->keys[i].name;
    struct str *items = NULL;
    size_t n = 0;
    int rc;
    if (r->c->keys[i].kind != CONF_LIST)
        return fault(r, at, "key '%s' expects one value, not a list", key);
    for (;;) {
        yaml_event_t ev;
        rc = next_event(r, &ev);
        if (rc)
            break;
        bool end = ev.type == YAML_SEQUENCE_END_EVENT;
        if (!end)
            rc = read_item(r, key, &ev, &items, &n);
        yaml_event_delete(&ev);
        if (rc || end)
            break;
    }
    if (!rc)
        rc = set_value(r, i, at, items, n);
    mem_free(items);
    return rc;
}

static int read_value(struct reading *r, size_t i, const yaml_event_t *ev)
{
    struct place at = place_of(ev->start_mark);
    const char *key = r->c->keys[i].name;
    if (ev->type == YAML_SEQUENCE_START_EVENT)
        return read_list(r, i, at);
    if (ev->type != YAML_SCALAR_EVENT)
        return fault(r, at, "key '%s' expects a value, not a mapping", key);
    if (is_absent(ev))
        return fault(r, at, "key '%s' has no value", key);
    struct str text = scalar_text(ev);
    return set_value(r, i, at, &text, 1);
}

/* ---- keys ---------------------------------------------------------------------------------- */

static int unknown_key(struct reading *r, struct place at, struct str path)
{
    struct str near = conf_near(r->c, path), shown = brief(path);
    if (near.n)
        return fault(
            r, at, "unknown key '%.*s', did you mean '%.*s'?", STR_ARG(shown), STR_ARG(near));
    return fault(r, at, "unknown key '%.*s'", STR_ARG(shown));
}

/* A section may be opened once; its keys may also be written with dots elsewhere. */
static int open_section(struct reading *r, struct place at, struct str path)
{
    for (const struct section *s = r->sections; s; s = s->next) {
        if (str_eq(s->path, path))
            return fault(r, at, "duplicate key '%.*s'", STR_ARG(path));
    }
    struct section *s = pool_alloc(r->pool, sizeof(*s));
    if (!s)
        return out_of_memory(r);
    *s = (struct section){r->sections, path};
    r->sections = s;
    return 0;
}

static int note_key(struct reading *r, struct place at, size_t i)
{
    struct conf_slot *slot = &r->c->slots[i];
    if (slot->read == r->c->reads)
        return fault(r, at, "duplicate key '%s'", r->c->keys[i].name);
    slot->read = r->c->reads;
    return 0;
}

static int read_mapping(struct reading *r, struct str prefix);

static int read_entry(struct reading *r, struct place at, struct str path)
{
    size_t i = conf_find(r->c, path);
    bool section = i == CONF_NONE && conf_is_section(r->c, path);
    int rc;
    if (section)
        rc = open_section(r, at, path);
    else
        rc = i == CONF_NONE ? unknown_key(r, at, path) : note_key(r, at, i);
    yaml_event_t ev;
    if (!rc)
        rc = next_event(r, &ev);
    if (rc)
        return rc;
    if (!section)
        rc = read_value(r, i, &ev);
    else if (ev.type == YAML_MAPPING_START_EVENT)
        rc = read_mapping(r, path);
    else
        rc =
            fault(r, place_of(ev.start_mark), "key '%.*s' expects a mapping", STR_ARG(brief(path)));
    yaml_event_delete(&ev);
    return rc;
}

/* The entries of one mapping whose start was read. Recursion goes down one section of the table
 * at a time. */
static int read_mapping(struct reading *r, struct str prefix)
{
    for (;;) {
        yaml_event_t ev;
        int rc = next_event(r, &ev);
        if (rc)
            return rc;
        struct place at = place_of(ev.start_mark);
        bool end = ev.type == YAML_MAPPING_END_EVENT;
        struct str path = {0};
        if (!end && ev.type != YAML_SCALAR_EVENT)
            rc = fault(r, at, "a key must be a text");
        else if (!end && ev.data.scalar.length > CONF_PATH_MAX)
            rc = fault(r, at, "a key is longer than %d bytes", CONF_PATH_MAX);
        else if (!end)
            path = pool_fmt(r->pool, "%.*s%s%.*s", STR_ARG(prefix), prefix.n ? "." : "",
                STR_ARG(scalar_text(&ev)));
        yaml_event_delete(&ev);
        if (rc || end)
            return rc;
        rc = path.p ? read_entry(r, at, path) : out_of_memory(r);
        if (rc)
            return rc;
    }
}

/* ---- the file ------------------------------------------------------------------------------ */

static int read_document(struct reading *r)
{
    yaml_event_t ev;
    int rc = next_event(r, &ev);
    if (rc)
        return rc;
    if (ev.type == YAML_MAPPING_START_EVENT)
        rc = read_mapping(r, (struct str){0});
    else if (!is_absent(&ev))
        rc = fault(r, place_of(ev.start_mark), "a configuration is one mapping of keys");
    yaml_event_delete(&ev);
    return rc;
}

static int check_document_start(struct reading *r, const yaml_event_t *ev, unsigned documents)
{
    struct place at = place_of(ev->start_mark);
    if (documents)
        return fault(r, at, "a configuration is one document, here is a second one");
    if (ev->data.document_start.tag_directives.start != ev->data.document_start.tag_directives.end)
        return fault(r, at, "a tag directive is not allowed");
    return 0;
}

static int read_stream(struct reading *r)
{
    unsigned documents = 0;
    for (;;) {
        yaml_event_t ev;
        int rc = next_event(r, &ev);
        if (rc)
            return rc;
        bool end = ev.type == YAML_STREAM_END_EVENT;
        if (ev.type == YAML_DOCUMENT_START_EVENT) {
            rc = check_document_start(r, &ev, documents++);
            if (!rc)
                rc = read_document(r);
        }
        yaml_event_delete(&ev);
        if (rc || end)
            return rc;
    }
}

/* What libyaml would let pass or report without a place. */
static int check_bytes(struct reading *r)
{
    struct str b = r->bytes;
    if (b.n > CONF_FILE_MAX)
        return fault(r, (struct place){1, 1}, "larger than %u bytes", CONF_FILE_MAX);
    size_t bad = utf8_check(b);
    if (bad != b.n)
        return fault(r, place_at(b, bad), "not valid UTF-8");
    size_t nul = str_find(b, '\0');
    if (nul != b.n)
        return fault(r, place_at(b, nul), "a NUL character is not allowed");
    if (str_starts(b, STR(bom)))
        b = str_from(b, sizeof(bom) - 1);
    const char *second = b.n ? memmem(b.p, b.n, bom, sizeof(bom) - 1) : NULL;
    if (second)
        return fault(
            r, place_at(b, (size_t)(second - b.p)), "a second byte-order mark is not allowed");
    r->bytes = b;
    return 0;
}

int conf_read(struct conf *c, const char *name, struct str yaml, struct err *e)
{
    struct reading r = {.c = c, .name = name, .bytes = yaml, .e = e};
    int rc = check_bytes(&r);
    if (rc)
        return rc;
    r.pool = pool_new(4096);
    if (!r.pool)
        return out_of_memory(&r);
    if (!yaml_parser_initialize(&r.parser)) {
        pool_free(r.pool);
        return out_of_memory(&r);
    }
    c->reads++;
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(
        &r.parser, (const unsigned char *)(r.bytes.n ? r.bytes.p : ""), r.bytes.n);
    rc = read_stream(&r);
    yaml_parser_delete(&r.parser);
    pool_free(r.pool);
    return rc;
}

/* Any readable file but a folder: a pipe is as good. */
static int read_whole(int fd, struct text *ret)
{
    char chunk[8192];
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    while (ret->n <= CONF_FILE_MAX) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        text_add(ret, str_of(chunk, (size_t)n));
        if (ret->failed)
            return ret->failed;
    }
    return 0; /* too large: conf_read says so */
}

int conf_read_file(struct conf *c, const char *path, struct err *e)
{
    struct text bytes = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : read_whole(fd, &bytes);
    if (fd >= 0)
        close(fd);
    if (rc)
        rc = err_set(e, rc, "%s: cannot read the configuration: %s", path, strerror(-rc));
    else
        rc = conf_read(c, path, str_of(bytes.p, bytes.n), e);
    text_release(&bytes);
    return rc;
}
