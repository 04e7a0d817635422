/* The admin server's listeners, connections and routes, on evhttp.
 *
 *   on_request → admin_request_new → dispatch { find the route, may the peer? } → route->fn */
#include "lib/net/adminhttp.h"

#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/adminhttp_impl.h"
#include "lib/net/sock.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORT_MAGIC     0x41444d02u
#define BACKLOG        64
#define PATH_LIMIT     107   /* bytes of a unix socket's path */
#define GROUPS_MAX     65536 /* of one user, as the kernel has it */
#define ENTRY_SIZE     16384 /* of the user and group data bases */
#define ENTRY_SIZE_MAX (ENTRY_SIZE * 64)

/* ---- connections ---------------------------------------------------------------------------- */

static void forget(struct admin_port *p, struct admin_connection *c)
{
    if (c->request)
        c->request->of = NULL;
    list_remove(&c->link);
    p->nconnections--;
    bufferevent_decref(c->bev);
    mem_free(c);
}

static bool is_dropped(const struct admin_connection *c)
{
    bufferevent_data_cb read = NULL, write = NULL;
    bufferevent_event_cb event = NULL;
    void *arg = NULL;
    bufferevent_getcb(c->bev, &read, &write, &event, &arg);
    return !read && !write && !event && !arg;
}

static void sweep(struct admin_port *p)
{
    list_for_each (it, &p->connections) {
        struct admin_connection *c = list_entry(it, struct admin_connection, link);
        if (is_dropped(c))
            forget(p, c);
    }
}

/* Ends the connection that was longest without a request, rather one that waits for nothing: slow
 * and idle clients cannot keep others out. evhttp finds it closed and drops it. */
static void shed(struct admin_port *p)
{
    struct admin_connection *victim = NULL;
    list_for_each (it, &p->connections) {
        struct admin_connection *c = list_entry(it, struct admin_connection, link);
        if (c->shed || (victim && c->request))
            continue;
        victim = c;
        if (!c->request)
            break;
    }
    if (!victim)
        return; /* all are being shed already */
    victim->shed = true;
    p->server->shed++;
    shutdown(bufferevent_getfd(victim->bev), SHUT_RDWR);
}

/* A connection that was shut down while its request is being answered stays until the reply is
 * written. Should a second 64 wait like that, nobody is accepted any more. */
static bool is_full(const struct admin_port *p)
{
    return p->nconnections >= 2 * ADMIN_CONNECTIONS;
}

/* evhttp has accepted a connection and wants a bufferevent for it. */
static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
    struct admin_port *p = arg;
    if (p->magic != PORT_MAGIC)
        return NULL;
    sweep(p);
    if (p->nconnections >= ADMIN_CONNECTIONS)
        shed(p);
    struct admin_connection *c = mem_zalloc(sizeof(*c));
    struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (!c || !bev) {
        mem_free(c);
        return bev;
    }
    bufferevent_incref(bev);
    c->bev = bev;
    list_append(&p->connections, &c->link);
    p->nconnections++;
    if (p->listener && is_full(p))
        evconnlistener_disable(p->listener);
    return bev;
}

static struct admin_connection *connection_of(struct admin_port *p, const struct admin_request *r)
{
    struct bufferevent *bev = evhttp_connection_get_bufferevent(r->connection);
    list_for_each (it, &p->connections) {
        struct admin_connection *c = list_entry(it, struct admin_connection, link);
        if (c->bev == bev)
            return c;
    }
    return NULL;
}

/* ---- who may -------------------------------------------------------------------------------- */

static bool in_groups(const char *name, gid_t own, gid_t wanted)
{
    gid_t *groups = NULL;
    int room = 64;
    bool found = false;
    for (int n = -1; n < 0 && room <= GROUPS_MAX;) {
        mem_free(groups);
        groups = mem_array((size_t)room, sizeof(*groups));
        if (!groups)
            return false;
        int got = room;
        n = getgrouplist(name, own, groups, &got);
        for (int i = 0; n >= 0 && i < got; i++)
            found = found || groups[i] == wanted;
        room *= 2;
    }
    mem_free(groups);
    return found;
}

static bool is_member(unsigned uid, gid_t group)
{
    struct passwd entry, *found = NULL;
    char *buf = mem_alloc(ENTRY_SIZE);
    bool member = buf && getpwuid_r(uid, &entry, buf, ENTRY_SIZE, &found) == 0 && found &&
                  in_groups(found->pw_name, found->pw_gid, group);
    mem_free(buf);
    return member;
}

static bool is_owner(unsigned uid)
{
    return uid == 0 || uid == geteuid();
}

static bool may_read(const struct admin_port *p, const struct admin_request *r)
{
    if (!p->is_unix || is_owner(r->uid))
        return true;
    return p->has_group && (r->gid == p->gid || is_member(r->uid, p->gid));
}

static bool may_write(const struct admin_port *p, const struct admin_request *r)
{
    return p->is_unix && is_owner(r->uid);
}

/* Who is at the other end; nobody on TCP. */
static int learn_peer(const struct admin_port *p, struct admin_request *r)
{
    r->uid = r->gid = (unsigned)-1;
    if (!p->is_unix)
        return 0;
    int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(r->connection));
    return sock_peer_ids(fd, &r->uid, &r->gid);
}

/* ---- routes --------------------------------------------------------------------------------- */

static bool is_visible(const struct admin_port *p, const struct admin_route *route)
{
    return p->is_unix || route->flags & ADMIN_PUBLIC;
}

/* Bytes of path that the route takes; 0: it is another's. */
static size_t match(const struct admin_route *route, const char *path)
{
    size_t n = strlen(route->path);
    if (route->flags & ADMIN_PREFIX)
        return strncmp(path, route->path, n) == 0 ? n : 0;
    return strcmp(path, route->path) == 0 ? n + 1 : 0; /* beats a prefix as long as it */
}

struct found {
    const struct admin_route *get, *post; /* the closest */
    size_t length;
};

static struct found find(const struct admin_port *p, const char *path)
{
    struct found f = {0};
    for (size_t i = 0; i < p->server->nroutes; i++) {
        const struct admin_route *route = &p->server->routes[i];
        size_t n = is_visible(p, route) ? match(route, path) : 0;
        if (n == 0 || n < f.length)
            continue;
        if (n > f.length)
            f = (struct found){.length = n};
        *(route->flags & ADMIN_POST ? &f.post : &f.get) = route;
    }
    return f;
}

static void refuse_path(const struct admin_port *p, struct admin_request *r)
{
    const char **paths = mem_array(p->server->nroutes + 1, sizeof(*paths));
    const char *near = NULL;
    size_t n = 0;
    for (size_t i = 0; paths && i < p->server->nroutes; i++) {
        if (is_visible(p, &p->server->routes[i]))
            paths[n++] = p->server->routes[i].path;
    }
    if (paths)
        near = conf_nearest(r->path, paths, n);
    if (near)
        admin_error(r, 404, "unknown path '%.200s', did you mean '%s'?", r->path, near);
    else
        admin_error(r, 404, "unknown path '%.200s', '/' lists what there is", r->path);
    mem_free(paths);
}

static void refuse_method(struct admin_request *r, const struct found *f)
{
    const char *allow = f->get && f->post ? "GET, HEAD, POST" : f->get ? "GET, HEAD" : "POST";
    evhttp_add_header(evhttp_request_get_output_headers(r->http), "Allow", allow);
    admin_error(r, 405, "'%.200s' answers %s only", r->path, allow);
}

/* What "/" shows where no route has taken it. */
static void list_routes(const struct admin_port *p, struct admin_request *r)
{
    struct text t = {0};
    bool first = true;
    if (r->json)
        text_add(&t, STR("{\"paths\":["));
    for (size_t i = 0; i < p->server->nroutes; i++) {
        const struct admin_route *route = &p->server->routes[i];
        const char *method = route->flags & ADMIN_POST ? "POST" : "GET";
        if (!is_visible(p, route))
            continue;
        if (r->json) {
            text_fmt(&t, "%s{\"method\":\"%s\",\"path\":\"%s\",\"help\":\"", first ? "" : ",",
                method, route->path);
            text_json(&t, str_c(route->help));
            text_add(&t, STR("\"}"));
        } else {
            text_fmt(&t, "%-4s %-20s %s\n", method, route->path, route->help ? route->help : "");
        }
        first = false;
    }
    if (r->json)
        text_add(&t, STR("]}\n"));
    admin_reply(r, 200, NULL, &t);
}

static void run_post(const struct admin_port *p, struct admin_request *r, const struct found *f)
{
    if (!may_write(p, r)) {
        if (p->is_unix)
            log_warn("admin: POST %s by uid %u refused", r->path, r->uid);
        admin_error(r, 403, "POST '%.200s' needs the owner or root at the unix socket", r->path);
        return;
    }
    size_t most = f->post->flags & ADMIN_LARGE ? ADMIN_BODY_LARGE : ADMIN_BODY;
    if (r->body.n > most) {
        admin_error(r, 413, "'%.200s' takes a body of at most %zu bytes", r->path, most);
        return;
    }
    log_info("admin: POST %s by uid %u", r->path, r->uid);
    f->post->fn(r, p->server->arg);
}

static void dispatch(const struct admin_port *p, struct admin_request *r)
{
    enum evhttp_cmd_type method = evhttp_request_get_command(r->http);
    struct found f = find(p, r->path);
    const struct admin_route *any = f.get ? f.get : f.post;
    bool is_get = method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD;
    if (learn_peer(p, r) || !may_read(p, r)) {
        admin_error(r, 403, "uid %u may not read here", r->uid);
        return;
    }
    if (any && any->flags & ADMIN_PREFIX)
        r->rest = r->path + strlen(any->path);
    if (!any && is_get && strcmp(r->path, "/") == 0)
        list_routes(p, r);
    else if (!any)
        refuse_path(p, r);
    else if (f.get && is_get)
        f.get->fn(r, p->server->arg);
    else if (f.post && method == EVHTTP_REQ_POST)
        run_post(p, r, &f);
    else
        refuse_method(r, &f);
}

static void on_request(struct evhttp_request *http, void *arg)
{
    struct admin_port *p = arg;
    if (p->magic != PORT_MAGIC)
        return;
    if (p->server->handed_over)
        evhttp_add_header(evhttp_request_get_output_headers(http), "Connection", "close");
    struct admin_request *r = admin_request_new(http);
    if (!r)
        return;
    list_append(&p->server->requests, &r->link);
    r->of = connection_of(p, r);
    if (r->of) {
        r->of->request = r;
        list_remove(&r->of->link);
        list_append(&p->connections, &r->of->link);
    }
    dispatch(p, r);
}

/* ---- listeners ------------------------------------------------------------------------------ */

/* Once a second: what evhttp dropped meanwhile is forgotten, and a listener that was stopped for
 * want of room or descriptors tries again. */
static void on_second(evutil_socket_t fd, short what, void *arg)
{
    struct admin_port *p = arg;
    (void)fd;
    (void)what;
    if (p->magic != PORT_MAGIC)
        return;
    sweep(p);
    if (p->listener && !is_full(p))
        evconnlistener_enable(p->listener);
}

/* Out of descriptors, most likely: trying again at once would spin. arg is evhttp's. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    (void)arg;
    log_warn("admin: accept failed: %s", strerror(errno));
    evconnlistener_disable(listener);
}

/* The file of the unix socket, if it is still ours. */
static void drop_path(struct admin_port *p)
{
    struct stat st;
    if (p->path && lstat(p->path, &st) == 0 && st.st_dev == p->dev && st.st_ino == p->ino)
        unlink(p->path);
    mem_free(p->path);
    p->path = NULL;
}

static void port_free(struct admin_port *p)
{
    list_remove(&p->link);
    event_del(&p->every_second);
    if (p->http)
        evhttp_free(p->http); /* with its listener and connections */
    list_for_each (it, &p->connections)
        forget(p, list_entry(it, struct admin_connection, link));
    drop_path(p);
    p->magic = 0;
    mem_free(p);
}

/* Takes fd. */
static int start_listener(struct admin_port *p, int fd)
{
    static const struct timeval second = {1, 0};
    struct evconnlistener *l = evconnlistener_new(
        p->server->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!l) {
        close(fd);
        return -ENOMEM;
    }
    p->bound = evhttp_bind_listener(p->http, l);
    if (!p->bound) {
        evconnlistener_free(l);
        return -ENOMEM;
    }
    p->listener = l; /* evhttp's now */
    evconnlistener_set_error_cb(l, on_accept_error);
    return event_add(&p->every_second, &second) ? -ENOMEM : 0;
}

/* Takes fd, which listens. */
static int start_http(struct admin_port *p, int fd)
{
    p->http = evhttp_new(p->server->base);
    if (!p->http) {
        close(fd);
        return -ENOMEM;
    }
    /* Methods that no route has come through too, to be told what would do. */
    evhttp_set_allowed_methods(p->http,
        EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
            EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH);
    evhttp_set_max_headers_size(p->http, ADMIN_HEADERS);
    evhttp_set_max_body_size(p->http, p->is_unix ? ADMIN_BODY_LARGE : ADMIN_BODY);
    evhttp_set_timeout(p->http, ADMIN_IDLE_S);
    evhttp_set_bevcb(p->http, on_connection, p);
    evhttp_set_gencb(p->http, on_request, p);
    return start_listener(p, fd);
}

/* Takes fd, which listens. */
static struct admin_port *port_new(
    struct admin_server *s, int fd, bool is_unix, const struct addr *a, struct err *e)
{
    char text[ADDR_TEXT_MAX];
    struct admin_port *p = mem_zalloc(sizeof(*p));
    addr_format(a, text);
    if (!p) {
        close(fd);
        err_set(e, -ENOMEM, "cannot listen on '%s': out of memory", text);
        return NULL;
    }
    *p = (struct admin_port){.magic = PORT_MAGIC, .server = s, .is_unix = is_unix};
    list_init(&p->connections);
    list_append(&s->ports, &p->link);
    event_assign(&p->every_second, s->base, -1, EV_PERSIST, on_second, p);
    if (start_http(p, fd)) {
        port_free(p);
        err_set(e, -ENOMEM, "cannot listen on '%s': out of memory", text);
        return NULL;
    }
    return p;
}

/* 0, -ENOENT, or another negative errno of the look-up. A group's members can take much room. */
static int find_group(const char *name, gid_t *ret_gid)
{
    struct group entry, *found = NULL;
    int rc = ERANGE;
    for (size_t size = ENTRY_SIZE; rc == ERANGE && size <= ENTRY_SIZE_MAX; size *= 4) {
        char *buf = mem_alloc(size);
        if (!buf)
            return -ENOMEM;
        rc = getgrnam_r(name, &entry, buf, size, &found);
        if (!rc && found)
            *ret_gid = entry.gr_gid;
        mem_free(buf);
    }
    return rc ? -rc : found ? 0 : -ENOENT;
}

static int give_to_group(const char *path, const char *group, gid_t *ret_gid, struct err *e)
{
    gid_t gid = 0;
    int rc = find_group(group, &gid);
    if (rc == -ENOENT)
        return err_set(e, rc, "unknown admin group '%s'", group);
    if (rc)
        return err_set(e, rc, "cannot look up admin group '%s': %s", group, strerror(-rc));
    if (chown(path, (uid_t)-1, gid) < 0 || chmod(path, 0660) < 0)
        return err_set(e, -errno, "cannot give admin socket '%s' to group '%s': %s", path, group,
            strerror(errno));
    *ret_gid = gid;
    return 0;
}

/* Takes fd, which listens at path. On failure the file stays. */
static int add_unix(
    struct admin_server *s, int fd, const char *path, const char *group, struct err *e)
{
    struct addr a = {.kind = ADDR_UNIX, .name = str_c(path)};
    struct stat st = {0};
    gid_t gid = 0;
    int rc = group ? give_to_group(path, group, &gid, e) : 0;
    char *copy = rc ? NULL : mem_dup(path, a.name.n);
    if (!rc && (!copy || lstat(path, &st) < 0))
        rc = err_set(e, copy ? -errno : -ENOMEM, "cannot listen on 'unix:%s'", path);
    if (rc) {
        mem_free(copy);
        close(fd);
        return rc;
    }
    struct admin_port *p = port_new(s, fd, true, &a, e);
    if (!p) {
        mem_free(copy);
        return -ENOMEM;
    }
    p->path = copy;
    p->dev = st.st_dev;
    p->ino = st.st_ino;
    p->has_group = group != NULL;
    p->gid = gid;
    return 0;
}

int admin_listen_unix(struct admin_server *s, const char *path, const char *group, struct err *e)
{
    struct addr a = {.kind = ADDR_UNIX, .name = str_c(path)};
    if (a.name.n == 0 || a.name.n > PATH_LIMIT)
        return err_set(
            e, -EINVAL, "admin socket path is empty or over %d bytes: '%s'", PATH_LIMIT, path);
    int fd = sock_listen(&a, false, BACKLOG, 0600, e);
    int rc = fd < 0 ? fd : add_unix(s, fd, path, group, e);
    if (fd >= 0 && rc != 0)
        unlink(path);
    return rc;
}

int admin_listen_tcp(
    struct admin_server *s, const struct addr *a, struct addr *ret_bound, struct err *e)
{
    struct addr bound;
    char text[ADDR_TEXT_MAX];
    addr_format(a, text);
    if (a->kind != ADDR_IP4 && a->kind != ADDR_IP6)
        return err_set(e, -EINVAL, "metrics address is not an IP address: '%s'", text);
    int fd = sock_listen(a, false, BACKLOG, 0, e);
    if (fd < 0)
        return fd;
    int rc = sock_name(fd, &bound);
    if (rc) {
        close(fd);
        return err_set(e, rc, "cannot listen on '%s': %s", text, strerror(-rc));
    }
    if (!port_new(s, fd, false, a, e))
        return -ENOMEM;
    if (ret_bound)
        *ret_bound = bound;
    return 0;
}

/* ---- from one process to the next ----------------------------------------------------------- */

int admin_listening(const struct admin_server *s, bool is_unix)
{
    list_for_each (it, &s->ports) {
        const struct admin_port *p = list_entry(it, struct admin_port, link);
        if (p->is_unix == is_unix && p->listener)
            return evconnlistener_get_fd(p->listener);
    }
    return -1;
}

int admin_adopt(struct admin_server *s, int fd, const char *path, const char *group, struct err *e)
{
    struct addr a = {0};
    if (!path) {
        int rc = sock_name(fd, &a);
        if (rc == 0)
            return port_new(s, fd, false, &a, e) ? 0 : -ENOMEM;
        close(fd);
        return err_set(e, rc, "cannot take a metrics socket: %s", strerror(-rc));
    }
    if (!group && chmod(path, 0600) < 0) { /* it may have had one */
        int rc = err_set(e, -errno, "cannot take 'unix:%s': %s", path, strerror(errno));
        close(fd);
        return rc;
    }
    return add_unix(s, fd, path, group, e);
}

void admin_hand_over(struct admin_server *s, bool path_taken)
{
    s->handed_over = true;
    list_for_each (it, &s->ports) {
        struct admin_port *p = list_entry(it, struct admin_port, link);
        if (p->bound)
            evhttp_del_accept_socket(p->http, p->bound);
        p->bound = NULL;
        p->listener = NULL;
        if (path_taken) {
            mem_free(p->path);
            p->path = NULL;
        }
        drop_path(p);
    }
}

bool admin_is_alone(struct admin_server *s)
{
    unsigned n = 0;
    list_for_each (it, &s->ports) {
        struct admin_port *p = list_entry(it, struct admin_port, link);
        sweep(p);
        n += p->nconnections;
    }
    return n == 0;
}

static bool is_quiet(const struct admin_port *p)
{
    list_for_each (it, &p->connections) {
        const struct admin_connection *c = list_entry(it, struct admin_connection, link);
        if (c->request || evbuffer_get_length(bufferevent_get_output(c->bev)) > 0)
            return false;
    }
    return true;
}

bool admin_is_quiet(struct admin_server *s)
{
    list_for_each (it, &s->ports) {
        struct admin_port *p = list_entry(it, struct admin_port, link);
        sweep(p);
        if (!is_quiet(p))
            return false;
    }
    return true;
}

/* ---- the server ----------------------------------------------------------------------------- */

struct admin_server *admin_new(struct event_base *base, const struct admin_route *routes,
    size_t nroutes, void *arg, struct err *e)
{
    struct admin_server *s = mem_zalloc(sizeof(*s));
    if (!s) {
        err_set(e, -ENOMEM, "out of memory for the admin server");
        return NULL;
    }
    s->base = base;
    s->routes = routes;
    s->nroutes = nroutes;
    s->arg = arg;
    list_init(&s->ports);
    list_init(&s->requests);
    return s;
}

int admin_listen(struct admin_server *s, const char *socket, const char *group, const char *metrics,
    char *metrics_text, struct err *e)
{
    struct addr a, bound;
    int rc = socket ? admin_listen_unix(s, socket, group, e) : 0;
    if (rc != 0 || !metrics)
        return rc;
    rc = addr_parse(str_c(metrics), true, &a, e);
    if (rc == 0)
        rc = admin_listen_tcp(s, &a, &bound, e);
    if (rc == 0)
        addr_format(&bound, metrics_text);
    return rc;
}

void admin_free(struct admin_server *s)
{
    if (!s)
        return;
    list_for_each (it, &s->ports)
        port_free(list_entry(it, struct admin_port, link));
    /* Their connections have gone, so they are detached; each is freed by its reply. */
    list_for_each (it, &s->requests)
        list_remove(it);
    mem_free(s);
}

uint64_t admin_shed(const struct admin_server *s)
{
    return s->shed;
}
