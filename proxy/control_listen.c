/* Listening sockets: every worker has one for every address of the settings. They are opened last,
 * so that nobody is accepted who cannot be served yet.
 *
 * After an upgrade the sockets are those of the process before, all of them: what waits in one that
 * is closed is reset. With more workers than sockets further ones are bound, and listen only once
 * the process before has let go; with fewer, some workers accept from several. */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/sock.h"
#include "proxy/control.h"
#include "proxy/inherit.h"
#include "proxy/listener.h"
#include "proxy/tls.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 4096

static void warn_of(const struct snapshot *s, const struct listen_spec *l, const char *listener)
{
    uint32_t service = snapshot_find_service(s, l->tcp);
    const char *what = "there is no such service in the graph";
    if (service != NUMBER_NONE) {
        if (snapshot_service(s, service)->protocol == PROTOCOL_TCP)
            return;
        what = "that service does not say `protocol: tcp`";
    }
    log_warn(
        "listener %s: tcp=%.*s: %s; its connections are closed", listener, STR_ARG(l->tcp), what);
}

void control_listen_judge(const struct control *c, const struct snapshot *s)
{
    const struct conf_list *list = &c->set->listen;
    char name[ADDR_TEXT_MAX];
    for (size_t i = 0; s && i < list->n; i++) {
        struct listen_spec l;
        if (listen_parse(list->item[i], &l, NULL) != 0 || l.tcp.n == 0)
            continue;
        addr_format(&l.addr, name);
        warn_of(s, &l, name);
    }
}

void control_listen_key(const struct settings *set, size_t order, char *key, uint32_t *ret_number)
{
    struct listen_spec own, other;
    *key = 0;
    *ret_number = 0;
    if (listen_parse(set->listen.item[order], &own, NULL) != 0)
        return;
    addr_format(&own.addr, key);
    for (size_t i = 0; i < order; i++)
        *ret_number +=
            listen_parse(set->listen.item[i], &other, NULL) == 0 && addr_eq(&own.addr, &other.addr);
}

static size_t inherited(const struct control *c, size_t order)
{
    char key[ADDR_TEXT_MAX];
    uint32_t number;
    control_listen_key(c->set, order, key, &number);
    return inherit_count(c->inherit, HANDOVER_LISTEN, number, str_c(key));
}

static int take_inherited(struct control *c, size_t order)
{
    char key[ADDR_TEXT_MAX];
    uint32_t number;
    control_listen_key(c->set, order, key, &number);
    return inherit_socket(c->inherit, HANDOVER_LISTEN, number, str_c(key));
}

static int note_socket(struct control *c, int fd, size_t order, bool waits)
{
    if (c->nsockets == c->room_sockets) {
        size_t room = c->room_sockets ? c->room_sockets * 2 : 16;
        struct bound_socket *more = mem_realloc(c->sockets, room * sizeof *more);
        if (!more)
            return -ENOMEM;
        c->sockets = more;
        c->room_sockets = room;
    }
    c->sockets[c->nsockets++] = (struct bound_socket){fd, (unsigned)order, waits};
    return 0;
}

/* Takes fd: the worker accepts there, as the order-th of the settings says. */
static int add_listener(struct control *c, struct worker *w, int fd, const struct listen_spec *spec,
    size_t order, struct err *e)
{
    struct listener *l = listener_new(w, fd, spec);
    if (!l)
        return err_set(e, -ENOMEM, "out of memory");
    l->index = order;
    return tls_listener(c, order, w, l, e);
}

/* A unix socket cannot be bound twice: the workers share it. */
static int open_unix(struct control *c, size_t order, const struct listen_spec *spec, struct err *e)
{
    int fd = take_inherited(c, order);
    if (fd < 0)
        fd = sock_listen(&spec->addr, false, BACKLOG, 0660, e);
    if (fd < 0)
        return fd;
    if (note_socket(c, fd, order, false) != 0) {
        close(fd);
        return err_set(e, -ENOMEM, "out of memory");
    }
    for (unsigned i = 0; i < c->nworkers; i++) {
        bool last = i + 1 == c->nworkers;
        int own = last ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0);
        int rc = own < 0
                     ? err_set(e, -errno, "cannot share a listening socket: %s", strerror(errno))
                     : add_listener(c, &c->workers[i], own, spec, order, e);
        if (rc != 0 && !last)
            close(fd);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int open_tcp(struct control *c, size_t order, struct listen_spec *spec, struct err *e)
{
    size_t have = inherited(c, order), n = have > c->nworkers ? have : c->nworkers;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        bool waits = i >= have && c->inherit;
        int fd = i < have ? take_inherited(c, order)
                 : waits  ? sock_bind(&spec->addr, e)
                          : sock_listen(&spec->addr, true, BACKLOG, 0, e);
        if (fd < 0)
            return fd;
        if (spec->addr.port == 0)
            rc = sock_name(fd, &spec->addr); /* the others take the same */
        if (rc == 0)
            rc = note_socket(c, fd, order, waits);
        if (rc != 0) {
            close(fd);
            return err_set(e, rc, "cannot listen: %s", strerror(-rc));
        }
        rc = add_listener(c, &c->workers[i % c->nworkers], fd, spec, order, e);
    }
    return rc;
}

void control_listen_start(struct control *c)
{
    for (size_t i = 0; i < c->nsockets; i++) {
        struct bound_socket *s = &c->sockets[i];
        int rc = s->waits ? sock_start(s->fd, BACKLOG) : 0;
        s->waits = false;
        if (rc != 0)
            log_error("cannot listen on one of the new sockets: %s", strerror(-rc));
    }
}

int control_probe(struct control *c, struct err *e)
{
    const struct conf_list *l = &c->set->listen;
    c->bound = mem_array(l->n + 1, sizeof *c->bound);
    if (!c->bound)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < l->n; i++) {
        struct listen_spec spec;
        int rc = listen_parse(l->item[i], &spec, e);
        bool probe = spec.addr.kind != ADDR_UNIX && spec.addr.port;
        if (rc == 0 && probe && inherited(c, i) == 0)
            rc = sock_probe(&spec.addr, e);
        if (rc != 0)
            return rc;
        c->bound[c->nbound++] = spec.addr;
    }
    return 0;
}

int control_listen(struct control *c, struct err *e)
{
    for (size_t i = 0; i < c->nbound; i++) {
        struct listen_spec spec;
        int rc = listen_parse(c->set->listen.item[i], &spec, e);
        if (rc == 0)
            rc = spec.addr.kind == ADDR_UNIX ? open_unix(c, i, &spec, e) : open_tcp(c, i, &spec, e);
        if (rc != 0)
            return rc;
        c->bound[i] = spec.addr;
    }
    return 0;
}
