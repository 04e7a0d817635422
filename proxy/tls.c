#include "proxy/tls.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "proxy/control.h"
#include "proxy/inherit.h"
#include "proxy/listener.h"
#include "proxy/provider_tls.h"
#include "proxy/tls_conn.h"
#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define QUIET_MS      200 /* after a file change: a certificate and its key come one by one */
#define SOON_EXPIRES  (14 * 86400)
#define TLS_MAGIC_NUM 0x544c5343u

struct tls_listener {
    struct listen_spec spec; /* ntls 0: a listener without */
    struct tls_files *files;
};

struct tls_control {
    uint32_t magic;
    struct control *c;
    struct tls_rules rules;
    struct tls_listener *listener; /* as many as the settings have */
    size_t n;
    struct tls_tickets tickets;
    struct watch *watch;
    struct event *rotate;
    int64_t loaded_s;
    bool invalid; /* the files are not what is in use */
};

/* ---- messages to workers ---- */

/* Contexts on their way to the worker that they are for. */
struct renewal {
    struct message message;
    struct tls_server *server;
    size_t index;
};

static void renewal_drop(struct message *m)
{
    struct renewal *h = list_entry(m, struct renewal, message);
    tls_server_unref(h->server);
    mem_free(h);
}

/* Connections that began with the old ones hold them. */
static void renewal_run(struct message *m, void *worker)
{
    struct renewal *h = list_entry(m, struct renewal, message);
    struct worker *w = worker;
    assert(w->magic == WORKER_MAGIC);
    list_for_each (it, &w->listeners) {
        struct listener *l = list_entry(it, struct listener, link);
        if (!l->tls || l->index != h->index)
            continue;
        tls_server_unref(l->tls);
        l->tls = tls_server_ref(h->server);
    }
    renewal_drop(m);
}

static struct renewal *renewal_new(struct tls_control *t, struct worker *w, size_t index,
    const struct tls_files *files, struct err *e)
{
    struct renewal *h = mem_zalloc(sizeof *h);
    if (!h) {
        err_set(e, -ENOMEM, "out of memory for TLS");
        return NULL;
    }
    h->message = (struct message){.run = renewal_run, .drop = renewal_drop};
    h->index = index;
    h->server = tls_server_new(files, &t->rules, tls_worker_tickets(w->tls), e);
    if (h->server)
        return h;
    mem_free(h);
    return NULL;
}

struct rekey {
    struct message message;
    struct tls_tickets tickets;
};

static void rekey_drop(struct message *m)
{
    struct rekey *k = list_entry(m, struct rekey, message);
    OPENSSL_cleanse(&k->tickets, sizeof k->tickets);
    mem_free(k);
}

static void rekey_run(struct message *m, void *worker)
{
    struct rekey *k = list_entry(m, struct rekey, message);
    struct worker *w = worker;
    assert(w->magic == WORKER_MAGIC);
    *tls_worker_tickets(w->tls) = k->tickets;
    rekey_drop(m);
}

static void on_rotate(evutil_socket_t fd, short what, void *arg)
{
    struct tls_control *t = arg;
    (void)fd;
    (void)what;
    assert(t->magic == TLS_MAGIC_NUM);
    if (tls_tickets_rotate(&t->tickets) != 0) {
        log_error("no randomness: the keys of session tickets stay");
        return;
    }
    counter_inc(&t->c->stats[STAT_TLS_ROTATIONS]);
    for (unsigned i = 0; i < t->c->nworkers; i++) {
        struct rekey *k = mem_zalloc(sizeof *k);
        if (!k) {
            log_error("out of memory: worker %u keeps its keys of session tickets", i);
            continue;
        }
        k->message = (struct message){.run = rekey_run, .drop = rekey_drop};
        k->tickets = t->tickets;
        mailbox_post(&t->c->workers[i].mailbox, &k->message);
    }
}

/* ---- reading ---- */

static void tell_expiry(const struct tls_files *f)
{
    struct tls_cert_info i;
    char at[24];
    int64_t now = time(NULL);
    for (size_t n = 0; tls_files_at(f, n, &i); n++) {
        if (i.not_after > now + SOON_EXPIRES)
            continue;
        format_rfc3339(i.not_after, at);
        log_warn(
            "certificate '%s' %s at %s", i.path, i.not_after <= now ? "expired" : "expires", at);
    }
}

static size_t count_of(const struct tls_files *f)
{
    struct tls_cert_info i;
    size_t n = 0;
    while (tls_files_at(f, n, &i))
        n++;
    return n;
}

static void tell_loaded(const struct tls_listener *l)
{
    char at[ADDR_TEXT_MAX];
    addr_format(&l->spec.addr, at);
    log_info("listener %s: %zu certificates", at, count_of(l->files));
    if (tls_files_skipped(l->files))
        log_info("listener %s: %u files left out, since they have no key", at,
            tls_files_skipped(l->files));
    tell_expiry(l->files);
}

/* The first one to expire, of all listeners. */
static void set_gauge(struct tls_control *t)
{
    int64_t first = 0;
    for (size_t n = 0; n < t->n; n++) {
        struct tls_cert_info i;
        for (size_t k = 0; t->listener[n].files && tls_files_at(t->listener[n].files, k, &i); k++)
            if (first == 0 || i.not_after < first)
                first = i.not_after;
    }
    counter_set(&t->c->stats[STAT_TLS_EXPIRES], first > 0 ? (uint64_t)first : 0);
}

/* All workers' contexts are made before the first is sent. */
static int hand_over(struct tls_control *t, size_t index, const struct tls_files *f, struct err *e)
{
    struct control *c = t->c;
    struct renewal **all = mem_array(c->nworkers + 1, sizeof(struct renewal *));
    unsigned made = 0;
    if (!all)
        return err_set(e, -ENOMEM, "out of memory for TLS");
    while (made < c->nworkers && (all[made] = renewal_new(t, &c->workers[made], index, f, e)))
        made++;
    int rc = made == c->nworkers ? 0 : -EINVAL;
    for (unsigned i = 0; i < made; i++) {
        if (rc == 0)
            mailbox_post(&c->workers[i].mailbox, &all[i]->message);
        else
            renewal_drop(&all[i]->message);
    }
    mem_free((void *)all);
    return rc;
}

static int reload_one(struct tls_control *t, size_t index, struct err *e)
{
    struct tls_listener *l = &t->listener[index];
    struct tls_want want = settings_tls_want(&l->spec);
    struct tls_files *f = tls_files_read(&want, &t->rules, e);
    int rc = f ? hand_over(t, index, f, e) : -EINVAL;
    if (rc) {
        tls_files_free(f);
        return rc;
    }
    tls_files_free(l->files);
    l->files = f;
    tell_loaded(l);
    return 0;
}

/* Authorities of providers are read when they are next needed. */
static void forget_cas_run(struct message *m, void *worker)
{
    struct worker *w = worker;
    assert(w->magic == WORKER_MAGIC);
    provider_cas_release(w);
    mem_free(m);
}

static void forget_cas(struct control *c)
{
    for (unsigned i = 0; i < c->nworkers; i++) {
        struct message *m = mem_zalloc(sizeof *m);
        if (!m) {
            log_error("out of memory: worker %u keeps its CA certificates", i);
            continue;
        }
        m->run = forget_cas_run;
        m->drop = message_free;
        mailbox_post(&c->workers[i].mailbox, m);
    }
}

int tls_reload(struct control *c, struct err *e)
{
    struct tls_control *t = c->tls;
    int rc = 0;
    if (!t)
        return 0;
    forget_cas(c);
    for (size_t i = 0; i < t->n; i++) {
        struct err own = {0};
        int one = t->listener[i].spec.ntls ? reload_one(t, i, &own) : 0;
        if (one && rc == 0)
            rc = err_set(e, one, "%s", own.text);
        else if (one)
            log_error("%s", own.text);
    }
    counter_inc(&c->stats[rc ? STAT_TLS_LOADS_REFUSED : STAT_TLS_LOADS]);
    t->invalid = rc != 0;
    if (rc == 0)
        t->loaded_s = time(NULL);
    set_gauge(t);
    return rc;
}

static void on_change(void *arg)
{
    struct tls_control *t = arg;
    struct err e = {0};
    assert(t->magic == TLS_MAGIC_NUM);
    if (tls_reload(t->c, &e) != 0)
        log_error("%s: the old certificates stay in use", e.text);
}

/* ---- start ---- */

static int parse_listeners(struct tls_control *t, struct err *e)
{
    const struct conf_list *l = &t->c->set->listen;
    t->listener = mem_array(l->n + 1, sizeof *t->listener);
    if (!t->listener)
        return err_set(e, -ENOMEM, "out of memory for TLS");
    memset(t->listener, 0, (l->n + 1) * sizeof *t->listener);
    for (; t->n < l->n; t->n++) {
        int rc = listen_parse(l->item[t->n], &t->listener[t->n].spec, e);
        if (rc)
            return rc;
    }
    return 0;
}

static int read_first(struct tls_control *t, struct err *e)
{
    for (size_t i = 0; i < t->n; i++) {
        struct tls_listener *l = &t->listener[i];
        struct tls_want want = settings_tls_want(&l->spec);
        if (l->spec.ntls == 0)
            continue;
        l->files = tls_files_read(&want, &t->rules, e);
        if (!l->files)
            return -EINVAL;
        tell_loaded(l);
    }
    t->loaded_s = time(NULL);
    set_gauge(t);
    return 0;
}

static int watch_files(struct tls_control *t, struct err *e)
{
    const char **all = NULL;
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        size_t some;
        const char *const *paths =
            t->listener[i].files ? tls_files_paths(t->listener[i].files, &some) : NULL;
        for (size_t k = 0; paths && k < some; k++) {
            const char **more = mem_realloc((void *)all, (n + 1) * sizeof *all);
            if (!more) {
                mem_free((void *)all);
                return err_set(e, -ENOMEM, "out of memory for TLS");
            }
            all = more;
            all[n++] = paths[k];
        }
    }
    if (n)
        t->watch = watch_new(t->c->base, all, n, QUIET_MS, on_change, t, e);
    mem_free((void *)all);
    return n == 0 || t->watch ? 0 : -ENOMEM;
}

int tls_tickets_share(const struct control *c)
{
    const struct tls_tickets *t = &c->tls->tickets;
    int fd = memfd_create("tickets", MFD_CLOEXEC);
    if (fd >= 0 && pwrite(fd, t, sizeof *t, 0) == (ssize_t)sizeof *t)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Those of the process before us, so that its clients need no full handshake. Another version's may
 * have another size: then we begin with our own. */
static void inherit_keys(struct tls_control *t)
{
    struct tls_tickets theirs;
    char more;
    int fd = inherit_tickets(t->c->inherit);
    if (fd < 0)
        return;
    if (pread(fd, &theirs, sizeof theirs, 0) == (ssize_t)sizeof theirs &&
        pread(fd, &more, 1, sizeof theirs) == 0)
        t->tickets = theirs;
    else
        log_warn("the keys of session tickets are not of this version: they begin anew");
    OPENSSL_cleanse(&theirs, sizeof theirs);
    close(fd);
}

static int give_workers(struct tls_control *t, struct err *e)
{
    struct control *c = t->c;
    if (tls_tickets_init(&t->tickets) != 0)
        return err_set(e, -EIO, "no randomness for the keys of session tickets");
    inherit_keys(t);
    for (unsigned i = 0; i < c->nworkers; i++) {
        struct worker *w = &c->workers[i];
        w->tls = tls_worker_new();
        if (!w->tls)
            return err_set(e, -ENOMEM, "out of memory for TLS");
        *tls_worker_tickets(w->tls) = t->tickets;
    }
    return 0;
}

static int start_rotation(struct tls_control *t, struct err *e)
{
    uint64_t ms = t->c->set->tls_ticket_rotation;
    struct timeval every = clock_timeval(ms);
    t->rotate = event_new(t->c->base, -1, EV_PERSIST, on_rotate, t);
    if (!t->rotate || event_add(t->rotate, &every) != 0)
        return err_set(e, -ENOMEM, "cannot make a timer");
    return 0;
}

int tls_start(struct control *c, struct err *e)
{
    struct tls_control *t = mem_zalloc(sizeof *t);
    if (!t)
        return err_set(e, -ENOMEM, "out of memory for TLS");
    c->tls = t;
    t->magic = TLS_MAGIC_NUM;
    t->c = c;
    tls_settings(c->set, &t->rules);
    int rc = give_workers(t, e);
    rc = rc ? rc : parse_listeners(t, e);
    rc = rc ? rc : read_first(t, e);
    rc = rc ? rc : watch_files(t, e);
    return rc ? rc : start_rotation(t, e);
}

int tls_listener(
    struct control *c, size_t index, struct worker *w, struct listener *l, struct err *e)
{
    struct tls_control *t = c->tls;
    if (!t->listener[index].files)
        return 0;
    l->tls = tls_server_new(t->listener[index].files, &t->rules, tls_worker_tickets(w->tls), e);
    return l->tls ? 0 : -EINVAL;
}

void tls_release(struct control *c)
{
    struct tls_control *t = c->tls;
    if (!t)
        return;
    if (t->watch)
        watch_free(t->watch);
    if (t->rotate)
        event_free(t->rotate);
    for (size_t i = 0; i < t->n; i++)
        tls_files_free(t->listener[i].files);
    mem_free(t->listener);
    OPENSSL_cleanse(&t->tickets, sizeof t->tickets);
    t->magic = 0;
    mem_free(t);
    c->tls = NULL;
}

/* ---- status ---- */

static void status_cert(const struct tls_cert_info *i, bool json, bool first, struct text *t)
{
    char at[24];
    format_rfc3339(i->not_after, at);
    if (json) {
        text_fmt(t, "%s{\"file\":\"", first ? "" : ",");
        text_json(t, str_c(i->path));
        text_fmt(t, "\",\"key\":\"%s\",\"names\":\"", i->kind);
        text_json(t, str_c(i->names));
        text_fmt(t, "\",\"expires\":\"%s\"}", at);
    } else {
        text_fmt(t, "              %s, %s, until %s: %s\n", i->path, i->kind, at, i->names);
    }
}

static void status_listener(const struct tls_listener *l, bool json, bool first, struct text *t)
{
    char at[ADDR_TEXT_MAX];
    struct tls_cert_info i;
    addr_format(&l->spec.addr, at);
    text_fmt(t, json ? "%s{\"listen\":\"%s\",\"certificates\":[" : "%sTLS           %s\n",
        json && !first ? "," : "", at);
    for (size_t n = 0; tls_files_at(l->files, n, &i); n++)
        status_cert(&i, json, n == 0, t);
    if (json)
        text_add(t, STR("]}"));
}

void tls_status(const struct control *c, bool json, struct text *t)
{
    const struct tls_control *tls = c->tls;
    char at[24];
    bool first = true;
    format_rfc3339(tls->loaded_s, at);
    if (json)
        text_fmt(t, "\"tls\":{\"loaded\":\"%s\",\"invalid\":%s,\"listeners\":[", at,
            tls->invalid ? "true" : "false");
    for (size_t i = 0; i < tls->n; i++) {
        if (!tls->listener[i].files)
            continue;
        status_listener(&tls->listener[i], json, first, t);
        first = false;
    }
    if (json)
        text_add(t, STR("]}"));
    else if (tls->invalid)
        text_add(t, STR("              the files are not valid: older certificates are in use\n"));
}
