/* Names of gRPC: the FileDescriptorSet that a session was given, kept in
 * STATE/shadow/NAME/descriptors for as long as the session is, and the methods that it lacks. */
#include "agent/session_int.h"
#include "lib/base/files.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/compare/descriptors.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define FILE_NAME "descriptors"

/* ---- what it says ---- */

static int parse(struct session *s, struct str set, struct err *e)
{
    struct descriptors *d = descriptors_parse(set, e);
    if (!d && e->code == -ENOMEM)
        return -ENOMEM;
    if (d && descriptors_methods(d) == 0) {
        descriptors_free(d);
        d = NULL;
        err_set(e, -EINVAL, "no method of a service is in it");
    }
    if (!d) {
        e->code = -EINVAL; /* whatever is wrong with it, the command is */
        return err_prefix(e, "descriptors");
    }
    s->descriptors = d;
    return 0;
}

int session_descriptors_take(struct session *s, struct err *e)
{
    struct str set = s->spec.descriptors;
    s->spec.descriptors = (struct str){0};
    s->spec.descriptor_bytes = set.n;
    if (set.n == 0)
        return 0;
    if (set.n > SPEC_DESCRIPTORS_MAX)
        return err_set(e, -EINVAL, "descriptors: more than %u bytes", SPEC_DESCRIPTORS_MAX);
    return parse(s, set, e);
}

/* ---- on disk ---- */

static int fault(struct err *e, const struct session *s, const char *what, int rc)
{
    return err_set(e, rc, "descriptors: cannot %s '%s/%s/%s': %s", what, s->host->journal.dir,
        s->spec.name, FILE_NAME, strerror(-rc));
}

/* The session's folder, or negative errno. */
static int open_folder(const struct session *s)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", s->host->journal.dir, s->spec.name);
    if (n < 0 || (size_t)n >= sizeof path)
        return -ENAMETOOLONG;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return fd;
}

int session_descriptors_keep(const struct session *s, struct str set, struct err *e)
{
    int folder = open_folder(s), rc = folder < 0 ? folder : 0;
    if (rc == 0 && set.n)
        rc = file_put(folder, FILE_NAME, set);
    else if (rc == 0 && unlinkat(folder, FILE_NAME, 0) != 0 && errno != ENOENT)
        rc = -errno; /* of one that did not begin */
    if (folder >= 0)
        close(folder);
    return rc ? fault(e, s, "write", rc) : 0;
}

int session_descriptors_read(struct session *s, struct err *e)
{
    uint64_t n = s->spec.descriptor_bytes;
    char *p = NULL;
    if (n == 0 || s->descriptors)
        return 0;
    int folder = open_folder(s);
    int rc = folder < 0                 ? folder
             : n > SPEC_DESCRIPTORS_MAX ? -EBADMSG
                                        : file_get(folder, FILE_NAME, n, &p);
    if (folder >= 0)
        close(folder);
    if (rc)
        return fault(e, s, "read", rc);
    rc = parse(s, str_of(p, n), e);
    mem_free(p);
    return rc;
}

void session_descriptors_drop(struct session *s)
{
    descriptors_free(s->descriptors);
    s->descriptors = NULL;
}

/* ---- of one exchange ---- */

struct str session_grpc_method(struct str path)
{
    path.n = str_find(path, '?');
    return path;
}

struct session_types session_types(const struct session *s, bool grpc, struct str path)
{
    struct session_types t = {0};
    struct str method = session_grpc_method(path);
    if (!s->descriptors || !grpc)
        return t;
    t.request = descriptors_request(s->descriptors, method);
    t.reply = descriptors_reply(s->descriptors, method);
    t.untyped = !t.request || !t.reply;
    return t;
}

void session_untyped(struct session *s, struct str path)
{
    struct untyped *u = &s->untyped;
    struct str method = session_grpc_method(path);
    unsigned i = 0;
    if (method.n >= sizeof u->item[0].method)
        method.n = sizeof u->item[0].method - 1;
    u->samples++;
    while (i < u->n && !str_eq(str_c(u->item[i].method), method))
        i++;
    if (i == UNTYPED_METHODS)
        return;
    if (i == u->n) {
        memcpy(u->item[u->n].method, method.p, method.n);
        u->item[u->n++].method[method.n] = 0;
        log_warn("session '%s': no message type for %s: fields by number", s->spec.name,
            u->item[i].method);
    }
    u->item[i].samples++;
}

/* ---- shown ---- */

void session_descriptors_json(const struct session *s, struct text *t)
{
    const struct untyped *u = &s->untyped;
    if (s->spec.descriptor_bytes == 0) {
        text_add(t, STR("\"descriptors\":null,"));
        return;
    }
    text_fmt(t, "\"descriptors\":{\"bytes\":%llu,\"untyped_samples\":%llu,\"untyped\":[",
        (unsigned long long)s->spec.descriptor_bytes, (unsigned long long)u->samples);
    for (unsigned i = 0; i < u->n; i++) {
        text_add(t, i ? STR(",{\"method\":\"") : STR("{\"method\":\""));
        text_json(t, str_c(u->item[i].method));
        text_fmt(t, "\",\"samples\":%llu}", (unsigned long long)u->item[i].samples);
    }
    text_add(t, STR("]},"));
}

void session_descriptors_text(const struct session *s, struct text *t)
{
    const struct untyped *u = &s->untyped;
    if (s->spec.descriptor_bytes == 0)
        return;
    text_fmt(t, "descriptors   %llu bytes\n", (unsigned long long)s->spec.descriptor_bytes);
    for (unsigned i = 0; i < u->n; i++) {
        text_add(t, STR("  no message type for "));
        text_plain(t, str_c(u->item[i].method));
        text_fmt(t, ": fields by number, %llu samples\n", (unsigned long long)u->item[i].samples);
    }
}
