/* Listening sockets: every worker has one for every address of the settings. They are opened last,
 * so that nobody is accepted who cannot be served yet. */
#include "lib/base/mem.h"
#include "lib/net/sock.h"
#include "proxy/control.h"
#include "proxy/listener.h"
#include "proxy/tls.h"
#include <errno.h>
#include <unistd.h>

#define BACKLOG 4096

/* A unix socket cannot be bound twice: the workers share it. */
static int open_unix(struct control *c, const struct listen_spec *spec, struct err *e)
{
    int fd = sock_listen(&spec->addr, false, BACKLOG, 0660, e);
    if (fd < 0)
        return fd;
    for (unsigned i = 0; i < c->nworkers; i++) {
        int own = i + 1 == c->nworkers ? fd : dup(fd);
        if (own < 0 || !listener_new(&c->workers[i], own, spec)) {
            if (own != fd)
                close(fd);
            return err_set(e, -ENOMEM, "cannot share a listening socket");
        }
    }
    return 0;
}

static int open_tcp(struct control *c, struct listen_spec *spec, struct err *e)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < c->nworkers; i++) {
        int fd = sock_listen(&spec->addr, true, BACKLOG, 0, e);
        if (fd < 0)
            return fd;
        if (spec->addr.port == 0)
            rc = sock_name(fd, &spec->addr); /* the others take the same */
        if (!listener_new(&c->workers[i], fd, spec))
            return err_set(e, -ENOMEM, "out of memory");
    }
    return rc;
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
        if (rc == 0 && spec.addr.kind != ADDR_UNIX && spec.addr.port)
            rc = sock_probe(&spec.addr, e);
        if (rc != 0)
            return rc;
        c->bound[c->nbound++] = spec.addr;
    }
    return 0;
}

/* The one that a worker got last is the index-th of the settings. */
static int name_listener(struct control *c, struct worker *w, size_t index, struct err *e)
{
    struct listener *l = list_entry(w->listeners.prev, struct listener, link);
    l->index = index;
    return tls_listener(c, index, w, l, e);
}

int control_listen(struct control *c, struct err *e)
{
    for (size_t i = 0; i < c->nbound; i++) {
        struct listen_spec spec;
        int rc = listen_parse(c->set->listen.item[i], &spec, e);
        if (rc == 0)
            rc = spec.addr.kind == ADDR_UNIX ? open_unix(c, &spec, e) : open_tcp(c, &spec, e);
        if (rc != 0)
            return rc;
        for (unsigned k = 0; rc == 0 && k < c->nworkers; k++)
            rc = name_listener(c, &c->workers[k], i, e);
        if (rc != 0)
            return rc;
        c->bound[i] = spec.addr;
    }
    return 0;
}
