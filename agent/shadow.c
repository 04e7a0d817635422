#include "agent/shadow.h"
#include "agent/recorder.h"
#include "lib/base/clock.h"
#include "lib/base/files.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/graph/keyring.h"
#include "lib/net/dns.h"
#include "proto/offshoot/v1/control.pb-c.h"
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <unistd.h>

#define SHADOW_MAGIC   0x53484457u
#define TICK_MS        250u
#define DNS_MS         5000u
#define DARK_KEY_BYTES 16u
#define DARK_KEY       "dark.key" /* in the state folder */

/* What proxies are told of a session. Of one that has ended: its dark requests may still be on
 * their way somewhere, and what they lost their context with may still come to a provider. So
 * proxies go on knowing them for a while; they are told of nothing else any more. */
enum known { KNOWN_NOT, KNOWN_ENDED, KNOWN_ENDING, KNOWN_RUNS, KNOWN };

/* The way to one trusted listener. */
struct way {
    struct list link;
    struct mirror *mirror;
    char target[];
};

struct shadow {
    uint32_t magic;
    struct shadow_options o;
    struct session_host host;
    struct capture *capture;
    struct dns *dns;
    struct keyring *keys; /* NULL: contexts are unsigned */
    struct signer *signer;
    struct recorder *recorder; /* NULL: no Redis */
    struct event *tick;
    struct list ways;
    struct session *session[SHADOW_KEPT];
    size_t nsessions;
    uint64_t busy_ms[SHADOW_KEPT]; /* when the session last ran or had something on its way */
    size_t told[KNOWN];            /* how many of each kind are in the rules told last */
    uint64_t version;              /* of these */
    unsigned char dark_key[DARK_KEY_BYTES];
    char node[SETTINGS_NODE_MAX], dir[PATH_MAX];
};

static struct shadow *shadow_of(void *arg)
{
    struct shadow *sh = arg;
    assert(sh->magic == SHADOW_MAGIC);
    return sh;
}

static bool runs(const struct session *s)
{
    return session_state(s) != SESSION_ENDED;
}

static size_t running(const struct shadow *sh)
{
    size_t n = 0;
    for (size_t i = 0; i < sh->nsessions; i++)
        n += runs(sh->session[i]);
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
            used = used || (runs(sh->session[i]) && target && strcmp(target, w->target) == 0);
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

/* ---- rules ---- */

static enum known known_as(struct shadow *sh, size_t i)
{
    const struct session *s = sh->session[i];
    uint64_t now = clock_mono_ms();
    if (runs(s) || session_in_flight(s) > 0) {
        sh->busy_ms[i] = now;
        return runs(s) ? KNOWN_RUNS : KNOWN_ENDING;
    }
    bool late = !sh->busy_ms[i] || now - sh->busy_ms[i] >= sh->o.set->shadow_linger;
    return late ? KNOWN_NOT : KNOWN_ENDED;
}

/* One session's part; the texts are borrowed. */
static void rule_of(const struct session *s, enum known known, Offshoot__V1__CaptureSession *ret)
{
    const struct session_spec *p = session_spec(s);
    offshoot__v1__capture_session__init(ret);
    ret->id = session_id(s);
    ret->baseline = (char *)(uintptr_t)p->baseline;
    ret->services = (char **)(uintptr_t)p->services.item;
    ret->n_services = p->services.n;
    ret->paths = (char **)(uintptr_t)p->paths.item;
    ret->n_paths = p->paths.n;
    ret->rate_ppm = known == KNOWN_RUNS ? p->rate_ppm : 0;
    ret->sample_seed = session_seed(s);
    ret->unsafe_methods = p->secondary != NULL;
    ret->refuse_missing = p->strict && known != KNOWN_ENDED;
}

static int tell(struct shadow *sh, Offshoot__V1__CaptureRules *rules)
{
    Offshoot__V1__AgentMessage m = OFFSHOOT__V1__AGENT_MESSAGE__INIT;
    m.message_case = OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_CAPTURE_RULES;
    m.capture_rules = rules;
    size_t n = offshoot__v1__agent_message__get_packed_size(&m);
    uint8_t *p = mem_alloc(n + 1);
    if (!p)
        return -ENOMEM;
    offshoot__v1__agent_message__pack(&m, p);
    int rc = sh->o.rules(sh->o.arg, str_of((const char *)p, n));
    mem_free(p);
    return rc;
}

/* Proxies that come later hear nothing when there is nothing to capture. */
static void on_changed(void *arg)
{
    struct shadow *sh = shadow_of(arg);
    Offshoot__V1__CaptureRules rules = OFFSHOOT__V1__CAPTURE_RULES__INIT;
    Offshoot__V1__CaptureSession one[SHADOW_KEPT], *list[SHADOW_KEPT];
    for (enum known k = KNOWN_RUNS; k > KNOWN_NOT; k--) {
        sh->told[k] = 0;
        for (size_t i = 0; i < sh->nsessions; i++) {
            if (known_as(sh, i) != k)
                continue;
            sh->told[k]++;
            if (rules.n_sessions == EXCHANGE_SESSIONS)
                continue;
            list[rules.n_sessions] = &one[rules.n_sessions];
            rule_of(sh->session[i], k, &one[rules.n_sessions++]);
        }
    }
    rules.version = ++sh->version;
    rules.sessions = list;
    rules.dark_key.data = sh->dark_key;
    rules.dark_key.len = sizeof sh->dark_key;
    int rc = tell(sh, &rules);
    if (rc == 0 && rules.n_sessions == 0)
        rc = sh->o.rules(sh->o.arg, STR(""));
    if (rc != 0)
        log_error("out of memory: proxies are not told what to capture");
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

/* Sessions that have ended are known less and less. */
static void forget_ended(struct shadow *sh)
{
    size_t now[KNOWN] = {0};
    for (size_t i = 0; i < sh->nsessions; i++)
        now[known_as(sh, i)]++;
    if (now[KNOWN_ENDING] != sh->told[KNOWN_ENDING] || now[KNOWN_ENDED] != sh->told[KNOWN_ENDED])
        on_changed(sh);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct shadow *sh = shadow_of(arg);
    (void)fd;
    (void)what;
    for (size_t i = 0; i < sh->nsessions; i++)
        session_tick(sh->session[i]);
    forget_ended(sh);
    free_ways(sh, false);
    plan_tick(sh);
}

void shadow_commit(struct shadow *sh)
{
    for (size_t i = 0; i < sh->nsessions; i++)
        session_commit(sh->session[i]);
}

/* ---- making it ---- */

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
    if (running(sh))
        on_changed(sh);
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
    if (running(sh) < sh->o.set->shadow_sessions)
        return 0;
    return err_set(e, -ENOSPC, "%zu sessions run, as many as shadow.sessions allows", running(sh));
}

static int may_start(struct shadow *sh, const struct session_spec *spec, struct err *e)
{
    const struct session *old = find(sh, spec->name);
    if (old)
        return err_set(e, -EEXIST, "name: there is a session '%s'%s", spec->name,
            runs(old) ? "" : ", which has ended: restart it, or take another name");
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
    on_changed(sh); /* now it is among those that run */
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
    int rc = runs(s) ? 0 : room(sh, e);
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

void shadow_count(struct shadow *sh)
{
    counter_cell *c = sh->o.stats;
    uint64_t in_flight = 0, down = 0;
    struct recorder_status r = {.state = ""};
    for (size_t i = 0; i < sh->nsessions; i++)
        in_flight += session_in_flight(sh->session[i]);
    list_for_each (it, &sh->ways)
        down += !mirror_up(list_entry(it, struct way, link)->mirror);
    if (sh->recorder)
        recorder_status(sh->recorder, &r);
    counter_set(&c[STAT_CAPTURE_STREAMS], capture_streams(sh->capture));
    counter_set(&c[STAT_CAPTURE_BYTES], capture_bytes(sh->capture));
    counter_set(&c[STAT_SHADOW_SESSIONS], running(sh));
    counter_set(&c[STAT_SHADOW_IN_FLIGHT], in_flight);
    counter_set(&c[STAT_SHADOW_MIRRORS_DOWN], down);
    counter_set(&c[STAT_SHADOW_REDIS_UP], strcmp(r.state, "up") == 0);
    counter_set(&c[STAT_SHADOW_REDIS_BEHIND], r.behind);
    counter_set(&c[STAT_REDIS_COMMANDS], r.commands);
    counter_set(&c[STAT_REDIS_ERRORS], r.errors);
    counter_set(&c[STAT_REDIS_TIMEOUTS], r.timeouts);
    counter_set(&c[STAT_REDIS_REDIRECTS], r.redirects);
    counter_set(&c[STAT_REDIS_RECONNECTS], r.reconnects);
}

static void status_json(const struct shadow *sh, const struct recorder_status *r, struct text *t)
{
    const char *comma = "";
    text_fmt(t, "{\"sessions\":%zu,\"running\":%zu,\"capture_streams\":%" PRIu32 ",\"mirrors\":[",
        sh->nsessions, running(sh), capture_streams(sh->capture));
    list_for_each (it, &sh->ways) {
        const struct way *w = list_entry(it, struct way, link);
        text_fmt(t, "%s{\"through\":\"", comma);
        text_json(t, str_c(w->target));
        text_fmt(t, "\",\"up\":%s,\"in_flight\":%" PRIu32 ",\"why\":\"",
            mirror_up(w->mirror) ? "true" : "false", mirror_in_flight(w->mirror));
        text_json(t, str_c(mirror_why(w->mirror)));
        text_add(t, STR("\"}"));
        comma = ",";
    }
    text_fmt(t, "],\"redis\":{\"state\":\"%s\",\"why\":\"", r->state);
    text_json(t, str_c(r->why));
    text_fmt(t, "\",\"behind\":%" PRIu64 "}}", r->behind);
}

static void status_text(const struct shadow *sh, const struct recorder_status *r, struct text *t)
{
    text_fmt(t, "shadow        %zu sessions, %zu running; %" PRIu32 " capture streams\n",
        sh->nsessions, running(sh), capture_streams(sh->capture));
    list_for_each (it, &sh->ways) {
        const struct way *w = list_entry(it, struct way, link);
        bool up = mirror_up(w->mirror);
        text_fmt(t, "mirror        through %s: %s%s, %" PRIu32 " on their way\n", w->target,
            up ? "up" : "down: ", up ? "" : mirror_why(w->mirror), mirror_in_flight(w->mirror));
    }
    if (sh->recorder)
        text_fmt(t, "redis         %s%s%s, %" PRIu64 " behind\n", r->state, *r->why ? ": " : "",
            r->why, r->behind);
}

void shadow_status(const struct shadow *sh, bool json, struct text *out)
{
    struct recorder_status r = {.state = "off", .why = ""};
    if (sh->recorder)
        recorder_status(sh->recorder, &r);
    if (json)
        status_json(sh, &r, out);
    else
        status_text(sh, &r, out);
}
