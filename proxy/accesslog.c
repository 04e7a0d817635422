#include "proxy/accesslog.h"
#include "lib/base/parse.h"
#include "lib/graph/pinned.h"
#include "proxy/request.h"
#include "proxy/share.h"
#include "proxy/worker.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_PATH_MAX 2048 /* bytes of a path that are logged */

struct line {
    char time[32], peer[ADDR_TEXT_MAX];
    struct str method, path, host, service, env, provider;
    const char *cls, *rule, *refusal, *fault;
    int64_t connect_us, first_us, total_us;
};

static int64_t since(const struct request *r, uint64_t at)
{
    return at ? (int64_t)(at - r->t_start) : -1;
}

static struct str cut(struct str s, size_t max)
{
    return str_of(s.p, s.n < max ? s.n : max);
}

/* A link may say a token that is not ours and counts elsewhere; or one that counts here, with the
 * dot behind it that ended somebody's sentence. */
static bool holds_token(struct str asked)
{
    for (size_t i = 0; i + 4 <= asked.n; i++)
        if (asked.p[i] == 'v' && asked.p[i + 1] == '1' && asked.p[i + 3] == '.')
            return true;
    return false;
}

/* Without the parameter of a share link: it may be a token. When a request was refused before that
 * was looked for, without any parameter. */
static struct str path_told(const struct request *r)
{
    const struct answer *a = &r->answer;
    if (a->path.p && a->refusal != REFUSAL_LOOP)
        return a->path;
    return str_of(r->head.path.p, str_find(r->head.path, '?'));
}

static void gather(const struct request *r, struct line *l)
{
    const struct answer *a = &r->answer;
    struct addr peer;
    client_peer(r->client, &peer);
    size_t n = addr_format(&peer, l->peer);
    while (n > 0 && l->peer[n - 1] != ':') /* the port is not kept */
        n--;
    if (n > 0)
        l->peer[n - 1] = '\0';
    format_rfc3339(r->w->now_s, l->time);
    bool parsed = r->head.size > 0;
    l->method = parsed ? cut(r->head.method, 32) : STR("-");
    l->path = parsed ? cut(path_told(r), LINE_PATH_MAX) : STR("-");
    l->host = parsed ? cut(r->head.authority, 255) : STR("-");
    l->service = r->service.n ? r->service : STR("-");
    struct str env = a->context.env;
    l->env = env.n && !holds_token(env) ? cut(env, 64) : STR("-");
    l->provider = r->provider_env.n ? r->provider_env : STR("-");
    l->cls = r->share          ? share_word(r->share)
             : a->decision.cls ? decision_class_word(a->decision.cls)
                               : "-";
    l->rule = a->context.rule ? context_rule_word(a->context.rule) : "-";
    l->refusal = r->refusal ? refusal_word(r->refusal) : "-";
    l->fault = r->provider_fault               ? provider_error_word(r->provider_fault - 1)
               : r->client_fault               ? client_close_word(r->client_fault - 1)
               : r->refusal == REFUSAL_CONTEXT ? context_fault_word(a->context.fault)
                                               : "-";
    l->connect_us = since(r, r->t_connected);
    l->first_us = since(r, r->t_reply);
    l->total_us = since(r, r->w->now_us);
}

/* A word of a text line: quoted when it could be mistaken. */
static void word(struct text *t, struct str s)
{
    text_add(t, STR("\""));
    text_json(t, s);
    text_add(t, STR("\""));
}

static void key(struct text *t, const char *name, struct str value)
{
    text_fmt(t, ",\"%s\":", name);
    if (str_eq(value, STR("-")))
        text_add(t, STR("null"));
    else
        word(t, value);
}

static void add_json(struct text *t, const struct request *r, const struct line *l)
{
    text_fmt(t, "{\"time\":\"%s\",\"client\":\"%s\",\"status\":%u", l->time, l->peer, r->status);
    key(t, "method", l->method);
    key(t, "host", l->host);
    key(t, "path", l->path);
    key(t, "environment", l->env);
    key(t, "service", l->service);
    key(t, "provider", l->provider);
    key(t, "class", str_c(l->cls));
    key(t, "rule", str_c(l->rule));
    key(t, "refusal", str_c(l->refusal));
    key(t, "fault", str_c(l->fault));
    key(t, "skew", str_c(r->answer.skew ? skew_word(r->answer.skew) : "-"));
    text_fmt(t,
        ",\"epoch\":%llu,\"trace\":\"%.*s\",\"tries\":%u,\"body_in\":%llu,\"body_out\":%llu,"
        "\"connect_us\":%lld,\"first_byte_us\":%lld,\"total_us\":%lld}\n",
        (unsigned long long)r->epoch, r->t_decided ? TRACE_ID_LEN : 0, r->trace_id, r->tries + 1u,
        (unsigned long long)r->up.sent, (unsigned long long)r->down.sent, (long long)l->connect_us,
        (long long)l->first_us, (long long)l->total_us);
}

static void add_text(struct text *t, const struct request *r, const struct line *l)
{
    text_fmt(t, "%s %s %u ", l->time, l->peer, r->status);
    word(t, l->method);
    text_add(t, STR(" "));
    word(t, l->host);
    text_add(t, STR(" "));
    word(t, l->path);
    text_add(t, STR(" env="));
    word(t, l->env);
    text_fmt(t,
        " service=%.*s provider=%.*s class=%s rule=%s refusal=%s fault=%s skew=%s epoch=%llu",
        STR_ARG(l->service), STR_ARG(l->provider), l->cls, l->rule, l->refusal, l->fault,
        r->answer.skew ? skew_word(r->answer.skew) : "-", (unsigned long long)r->epoch);
    text_fmt(t,
        " trace=%.*s tries=%u in=%llu out=%llu connect_us=%lld first_byte_us=%lld total_us=%lld\n",
        r->t_decided ? TRACE_ID_LEN : 1, r->t_decided ? r->trace_id : "-", r->tries + 1u,
        (unsigned long long)r->up.sent, (unsigned long long)r->down.sent, (long long)l->connect_us,
        (long long)l->first_us, (long long)l->total_us);
}

void accesslog_add(struct worker *w, const struct request *r)
{
    struct line l;
    bool fault =
        r->refusal || r->provider_fault || r->client_fault || r->status >= 500 || r->status == 0;
    if (w->set->access_log_errors && !fault)
        return;
    gather(r, &l);
    size_t before = w->log.lines.n;
    if (w->log.json)
        add_json(&w->log.lines, r, &l);
    else
        add_text(&w->log.lines, r, &l);
    if (w->log.lines.failed) { /* memory is out: this line is lost, the earlier ones are not */
        w->log.lines.failed = 0;
        w->log.lines.n = before;
        counter_inc(&w->stats[STAT_LOG_LOST]);
        return;
    }
    w->log.nlines++;
}

static uint32_t count_lines(const char *p, size_t n)
{
    uint32_t lines = 0;
    for (const char *end = p + n; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++)
        lines++;
    return lines;
}

/* A short write ends within a line: the rest of that one goes first next time, later ones are lost
 * and counted. */
static void keep_torn(struct worker *w, size_t written)
{
    struct accesslog *l = &w->log;
    char *rest = l->lines.p + written;
    size_t n = l->lines.n - written, kept = 0;
    if (written < l->torn) {
        kept = l->torn - written;
    } else if (written > 0 && rest[-1] != '\n') {
        const char *end = memchr(rest, '\n', n);
        kept = end ? (size_t)(end - rest) + 1 : n;
    }
    counter_add(&w->stats[STAT_LOG_LOST], count_lines(rest + kept, n - kept));
    counter_add(&w->stats[STAT_LOG_LINES], count_lines(l->lines.p, written));
    memmove(l->lines.p, rest, kept);
    l->lines.n = l->torn = kept;
    l->nlines = kept > 0;
}

void accesslog_flush(struct worker *w)
{
    struct accesslog *l = &w->log;
    ssize_t n;
    do
        n = l->fd >= 0 ? write(l->fd, l->lines.p, l->lines.n) : -1;
    while (n < 0 && errno == EINTR);
    keep_torn(w, n > 0 ? (size_t)n : 0);
}

void accesslog_release(struct accesslog *l)
{
    text_release(&l->lines);
}
