#include "agent/shadow.h"
#include "agent/shadow_int.h"
#include "lib/base/clock.h"
#include "lib/base/files.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/graph/keyring.h"
#include "lib/net/dns.h"
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <unistd.h>

#define TICK_MS  250u
#define DNS_MS   5000u
#define DARK_KEY "dark.key" /* in the state folder */

static struct shadow *shadow_of(void *arg)
{
    struct shadow *sh = arg;
    assert(sh->magic == SHADOW_MAGIC);
    return sh;
}

size_t shadow_running(const struct shadow *sh)
{
    size_t n = 0;
    for (size_t i = 0; i < sh->nsessions; i++)
        n += shadow_runs(sh->session[i]);
    return n;
}

/* ---- mirrors ---- */

static struct mirror *make_mirror(struct shadow *sh, const char *target, struct err *e)
{
    const struct settings *set = sh->o.set;
    struct mirror_options o = {.base = sh->o.base,
        .dns = sh->dns,
        .target = target,
        .signer = sh->signer,
        .in_flight = set->shadow_in_flight,
        .bytes = set->shadow_bytes,
        .body_bytes = (uint32_t)set->shadow_body,
        .timeout_ms = (uint32_t)set->shadow_timeout};
    memcpy(o.dark_key, sh->dark_key, sizeof o.dark_key);
    return mirror_new(&o, e);
}

static const char *target_of(const struct shadow *sh, const char *through)
{
    return through ? through : sh->o.set->shadow_through;
}

/* NULL with e. */
static struct way *way_to(struct shadow *sh, const char *through, struct err *e)
{
    const char *target = target_of(sh, through);
    if (!target) {
        err_set(e, -EINVAL,
            "through: say through=ADDRESS of a proxy's trusted listener: the agent has no "
            "shadow.through");
        return NULL;
    }
    list_for_each (it, &sh->ways) {
        struct way *w = list_entry(it, struct way, link);
        if (strcmp(w->target, target) == 0)
            return w;
    }
    struct way *w = mem_zalloc(sizeof *w + strlen(target) + 1);
    if (!w) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    memcpy(w->target, target, strlen(target) + 1);
    w->mirror = make_mirror(sh, target, e);
    if (!w->mirror) {
        mem_free(w);
        err_prefix(e, "through");
        return NULL;
    }
    list_append(&sh->ways, &w->link);
    return w;
}

static void way_free(struct way *w)
{
    list_remove(&w->link);
    mirror_free(w->mirror);
    mem_free(w);
}

/* Those that no session uses. */
static void free_ways(struct shadow *sh, bool all)
{
    list_for_each (it, &sh->ways) {
        struct way *w = list_entry(it, struct way, link);
        bool used = false;
        for (size_t i = 0; i < sh->nsessions && !all; i++) {
            const char *target = target_of(sh, session_spec(sh->session[i])->through);
            used =
                used || (shadow_runs(sh->session[i]) && target && strcmp(target, w->target) == 0);
        }
        if (!used && (all || mirror_in_flight(w->mirror) == 0))
            way_free(w);
    }
}

static const char *on_send(void *arg, const char *through, struct exchange *x,
    const struct mirror_roles *roles, mirror_fn *fn, void *fn_arg)
{
    struct way *w = way_to(shadow_of(arg), through, NULL);
    return w ? mirror_send(w->mirror, x, roles, fn, fn_arg) : "connection";
}

/* ---- what proxies tell ---- */

static void on_exchange(void *arg, struct exchange *x)
{
    struct shadow *sh = shadow_of(arg);
    for (size_t i = 0; i < sh->nsessions; i++)
        session_exchange(sh->session[i], x);
}

static void on_hop(void *arg, const struct hop *h)
{
    struct shadow *sh = shadow_of(arg);
    for (size_t i = 0; i < sh->nsessions; i++)
        session_hop(sh->session[i], h);
}

/* A proxy does not say which session lost it: it counts for each. */
static void on_dropped(void *arg, struct str node, const char *reason, uint64_t n)
{
    struct shadow *sh = shadow_of(arg);
    (void)node;
    for (size_t i = 0; i < sh->nsessions; i++)
        session_dropped(sh->session[i], reason, n);
}

static int on_known(void *arg, const struct grpc_stream *call, struct str node, struct err *e)
{
    struct shadow *sh = shadow_of(arg);
    return sh->o.known(sh->o.arg, call, node, e);
}

/* ---- time ---- */

static void plan_tick(struct shadow *sh)
{
    struct timeval next = clock_timeval(TICK_MS);
    if (sh->nsessions)
        event_add(sh->tick, &next);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct shadow *sh = shadow_of(arg);
    (void)fd;
    (void)what;
    for (size_t i = 0; i < sh->nsessions; i++)
        session_tick(sh->session[i]);
    shadow_forget_ended(sh);
    free_ways(sh, false);
    plan_tick(sh);
}

void shadow_commit(struct shadow *sh)
{
    for (size_t i = 0; i < sh->nsessions; i++)
        session_commit(sh->session[i]);
}

/* ---- making it ---- */

static void on_changed(void *arg)
{
    shadow_tell(shadow_of(arg));
}

static const struct snapshot *on_snapshot(void *arg)
{
    struct shadow *sh = shadow_of(arg);
    return sh->o.snapshot(sh->o.arg);
}

static int64_t on_now(void *arg)
{
    (void)arg;
    return clock_wall_s();
}

static uint64_t on_ms(void *arg)
{
    (void)arg;
    return clock_mono_ms();
}

static int take_keys(struct shadow *sh, struct err *e)
{
    const struct settings *set = sh->o.set;
    struct keyring *keys = set->keys ? keyring_read(set->keys, set->trust_domain, e) : NULL;
    if (set->keys && !keys)
        return -EINVAL;
    struct signer *signer = signer_new(keys);
    if (!signer) {
        keyring_unref(keys);
        return err_set(e, -ENOMEM, "out of memory");
    }
    free_ways(sh, true); /* they borrow the signer from before */
    if (sh->signer)
        signer_free(sh->signer);
    keyring_unref(sh->keys);
    sh->keys = keys;
    sh->signer = signer;
    return 0;
}

int shadow_reload(struct shadow *sh, struct err *e)
{
    return sh->o.set->keys ? take_keys(sh, e) : 0;
}

static int make_recorder(struct shadow *sh, struct err *e)
{
    const struct settings *set = sh->o.set;
    struct recorder_options o = {.base = sh->o.base,
        .url = set->redis,
        .user = set->redis_user,
        .password_file = set->redis_password_file,
        .agent = sh->node,
        .journal_dir = sh->dir,
        .connect_ms = (uint32_t)set->redis_connect,
        .command_ms = (uint32_t)set->redis_command};
    if (!set->redis)
        return 0;
    sh->recorder = recorder_new(&o, e);
    return sh->recorder ? 0 : err_prefix(e, "redis");
}

static int make_capture(struct shadow *sh, struct err *e)
{
    const struct settings *set = sh->o.set;
    struct capture_options o = {.body_bytes = (uint32_t)set->shadow_body,
        .bytes = set->shadow_bytes,
        .stats = sh->o.stats,
        .arg = sh,
        .events = {.on_exchange = on_exchange, .on_hop = on_hop, .on_dropped = on_dropped},
        .known = on_known};
    sh->capture = capture_new(&o);
    return sh->capture ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static void make_host(struct shadow *sh)
{
    const struct settings *set = sh->o.set;
    sh->host = (struct session_host){.arg = sh,
        .send = on_send,
        .snapshot = on_snapshot,
        .changed = on_changed,
        .now = on_now,
        .ms = on_ms,
        .recorder = sh->recorder,
        .hop_wait_ms = (uint32_t)set->shadow_hop_wait,
        .journal = {.dir = sh->dir,
            .segment_bytes = set->shadow_segment_bytes,
            .segments = set->shadow_segments,
            .message_bytes = set->shadow_message,
            .messages = set->shadow_messages},
        .stats = sh->o.stats};
}

/* The same in every life of the agent: proxies know the dark requests of the one before, which may
 * still be on their way. */
static int take_dark_key(struct shadow *sh, struct err *e)
{
    char *key = NULL;
    int folder = open(sh->o.set->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = folder < 0 ? -errno : file_get(folder, DARK_KEY, sizeof sh->dark_key, &key);
    if (rc == 0 && key)
        memcpy(sh->dark_key, key, sizeof sh->dark_key);
    mem_free(key);
    if (rc == -ENOENT || rc == -EBADMSG) {
        rc = RAND_bytes(sh->dark_key, sizeof sh->dark_key) == 1 ? 0 : -EIO;
        struct str bytes = str_of((const char *)sh->dark_key, sizeof sh->dark_key);
        rc = rc ? rc : file_put(folder, DARK_KEY, bytes);
    }
    if (folder >= 0)
        close(folder);
    return rc ? err_set(e, rc, "the key of dark requests, '%s/" DARK_KEY "': %s", sh->o.set->state,
                    strerror(-rc))
              : 0;
}

static int make(struct shadow *sh, struct err *e)
{
    settings_node(sh->o.set, sh->node);
    snprintf(sh->dir, sizeof sh->dir, "%s/shadow", sh->o.set->state);
    if (take_dark_key(sh, e) != 0)
        return -EIO;
    sh->tick = event_new(sh->o.base, -1, 0, on_tick, sh);
    if (!sh->tick)
        return err_set(e, -ENOMEM, "out of memory");
    sh->dns = dns_new(sh->o.base, NULL, DNS_MS, e);
    if (!sh->dns)
        return -ENOMEM;
    int rc = take_keys(sh, e);
    rc = rc ? rc : make_recorder(sh, e);
    rc = rc ? rc : make_capture(sh, e);
    if (rc == 0)
        make_host(sh);
    return rc;
}

struct shadow *shadow_new(const struct shadow_options *o, struct err *e)
{
    struct shadow *sh = mem_zalloc(sizeof *sh);
    if (!sh) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    sh->magic = SHADOW_MAGIC;
    sh->o = *o;
    list_init(&sh->ways);
    if (make(sh, e) == 0)
        return sh;
    shadow_free(sh);
    return NULL;
}

const struct grpc_method *shadow_method(const struct shadow *sh)
{
    return capture_method(sh->capture);
}

static void on_journal(void *arg, const char *name)
{
    struct shadow *sh = shadow_of(arg);
    struct err e = {0};
    if (sh->nsessions == SHADOW_KEPT) {
        log_warn("session '%s' is left out: there are %u journals already", name, SHADOW_KEPT);
        return;
    }
    struct session *s = session_resume(&sh->host, name, &e);
    if (s)
        sh->session[sh->nsessions++] = s;
    else
        log_error("session '%s' cannot go on: %s", name, e.text);
}

void shadow_begin(struct shadow *sh)
{
    struct err e = {0};
    int rc = journal_sessions(sh->dir, on_journal, sh, &e);
    if (rc != 0 && rc != -ENOENT)
        log_error("%s: sessions from before are not known", e.text);
    if (shadow_running(sh))
        shadow_tell(sh);
    plan_tick(sh);
}

void shadow_free(struct shadow *sh)
{
    if (!sh)
        return;
    assert(sh->magic == SHADOW_MAGIC);
    free_ways(sh, true);
    for (size_t i = 0; i < sh->nsessions; i++)
        session_free(sh->session[i]);
    if (sh->recorder)
        recorder_free(sh->recorder);
    capture_free(sh->capture);
    if (sh->signer)
        signer_free(sh->signer);
    keyring_unref(sh->keys);
    if (sh->dns)
        dns_free(sh->dns);
    if (sh->tick)
        event_free(sh->tick);
    mem_free(sh);
}

/* ---- commands ---- */

static struct session *find(const struct shadow *sh, const char *name)
{
    for (size_t i = 0; i < sh->nsessions; i++)
        if (strcmp(session_name(sh->session[i]), name) == 0)
            return sh->session[i];
    return NULL;
}

static struct session *find_or(const struct shadow *sh, const char *name, struct err *e)
{
    const char *names[SHADOW_KEPT];
    struct session *s = find(sh, name);
    if (s)
        return s;
    for (size_t i = 0; i < sh->nsessions; i++)
        names[i] = session_name(sh->session[i]);
    const char *near = conf_nearest(name, names, sh->nsessions);
    err_set(e, -ENOENT, "there is no session '%s'%s%s%s", name, near ? ", did you mean '" : "",
        near ? near : "", near ? "'?" : "");
    return NULL;
}

/* Whether one more may run; itself not counted. */
static int room(const struct shadow *sh, struct err *e)
{
    if (shadow_running(sh) < sh->o.set->shadow_sessions)
        return 0;
    return err_set(
        e, -ENOSPC, "%zu sessions run, as many as shadow.sessions allows", shadow_running(sh));
}

static int may_start(struct shadow *sh, const struct session_spec *spec, struct err *e)
{
    const struct session *old = find(sh, spec->name);
    if (old)
        return err_set(e, -EEXIST, "name: there is a session '%s'%s", spec->name,
            shadow_runs(old) ? "" : ", which has ended: restart it, or take another name");
    if (sh->nsessions == SHADOW_KEPT)
        return err_set(
            e, -ENOSPC, "%u sessions are kept, those that have ended included", SHADOW_KEPT);
    int rc = room(sh, e);
    rc = rc ? rc : spec_judge(spec, sh->o.snapshot(sh->o.arg), clock_wall_s(), e);
    return rc || way_to(sh, spec->through, e) ? rc : e->code;
}

static void reason_of(char out[HISTORY_WHY_MAX], const char *who, const char *why)
{
    snprintf(out, HISTORY_WHY_MAX, "%s%s%s", who, *why ? ": " : "", why);
}

int shadow_start(
    struct shadow *sh, struct session_spec *spec, const char *who, const char *why, struct err *e)
{
    char reason[HISTORY_WHY_MAX], text[HISTORY_WHY_MAX + 16];
    int rc = may_start(sh, spec, e);
    if (rc != 0) {
        spec_release(spec);
        return rc;
    }
    reason_of(reason, who, why);
    snprintf(text, sizeof text, "start: %s", reason);
    struct session *s = session_start(&sh->host, spec, text, e);
    if (!s)
        return e->code;
    sh->session[sh->nsessions++] = s;
    shadow_tell(sh); /* now it is among those that run */
    plan_tick(sh);
    return 0;
}

int shadow_stop(
    struct shadow *sh, const char *name, const char *who, const char *why, struct err *e)
{
    char reason[HISTORY_WHY_MAX];
    struct session *s = find_or(sh, name, e);
    reason_of(reason, who, why);
    return s ? session_stop(s, reason, e) : -ENOENT;
}

int shadow_restart(
    struct shadow *sh, const char *name, const char *who, const char *why, struct err *e)
{
    char reason[HISTORY_WHY_MAX];
    struct session *s = find_or(sh, name, e);
    if (!s)
        return -ENOENT;
    reason_of(reason, who, why);
    int rc = shadow_runs(s) ? 0 : room(sh, e);
    if (rc == 0 && !way_to(sh, session_spec(s)->through, e))
        rc = e->code;
    return rc ? rc : session_restart(s, reason, e);
}

/* ---- what others ask ---- */

const struct session *shadow_find(const struct shadow *sh, const char *name, struct err *e)
{
    return find_or(sh, name, e);
}

size_t shadow_sessions(const struct shadow *sh)
{
    return sh->nsessions;
}

const struct session *shadow_session(const struct shadow *sh, size_t i)
{
    return sh->session[i];
}
