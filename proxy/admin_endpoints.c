#include "proxy/admin_endpoints.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/net/admingraph.h"
#include "proxy/admin_impl.h"
#include "proxy/endpoints.h"
#include <errno.h>
#include <stdlib.h>

/* ---- the list ---- */

/* A copy: entries may go once their shard is unlocked. */
struct row {
    struct endpoint_view v; /* entry is not followed */
    int64_t changed_s, checked_s;
    char addr[ADDR_TEXT_MAX], reason[ENDPOINT_TEXT_MAX], error[ENDPOINT_TEXT_MAX];
};

struct rows {
    struct row *row;
    size_t n, room;
    const char *state; /* NULL: all */
    bool failed;
};

static void add_row(const struct endpoint_view *v, void *arg)
{
    struct rows *rows = arg;
    const struct endpoint_entry *e = v->entry;
    if (rows->failed || (rows->state && strcmp(rows->state, endpoint_view_word(v)) != 0))
        return;
    if (rows->n == rows->room) {
        size_t room = rows->room ? 2 * rows->room : 64;
        struct row *more = mem_realloc(rows->row, room * sizeof *more);
        rows->failed = !more;
        if (!more)
            return;
        rows->row = more;
        rows->room = room;
    }
    struct row *r = &rows->row[rows->n++];
    r->v = *v;
    r->changed_s = e->changed_s;
    r->checked_s = e->checked_s;
    addr_format(&e->addr, r->addr);
    memcpy(r->reason, e->reason, sizeof r->reason);
    memcpy(r->error, e->error, sizeof r->error);
}

static int by_address(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return strcmp(x->addr, y->addr);
}

static const char *health_word(uint32_t state)
{
    if (!(state & ENDPOINT_CHECKED))
        return "unchecked";
    return state & ENDPOINT_UNHEALTHY ? "unhealthy" : "healthy";
}

/* "" for a time that has not come. */
static const char *time_word(int64_t s, char out[24])
{
    out[0] = '\0';
    if (s)
        format_rfc3339(s, out);
    return out;
}

static void put_text(struct text *t, const char *key, const char *value)
{
    text_fmt(t, ",\"%s\":\"", key);
    text_json(t, str_c(value));
    text_add(t, STR("\""));
}

static int64_t until_s(const struct row *r, uint64_t now_ms)
{
    return r->v.ejected ? clock_wall_s() + (int64_t)(r->v.ejected_until_ms - now_ms + 999) / 1000
                        : 0;
}

static void row_json(const struct row *r, uint64_t now_ms, struct text *t)
{
    char at[24];
    text_add(t, STR("{\"address\":\""));
    text_json(t, str_c(r->addr));
    text_fmt(t, "\",\"state\":\"%s\"", endpoint_view_word(&r->v));
    put_text(t, "since", time_word(r->changed_s, at));
    put_text(t, "reason", r->reason);
    text_fmt(t,
        ",\"connections\":%u,\"idle\":%u,\"inflight\":%u,\"waiting\":%u,\"workers\":%u"
        ",\"ejected_workers\":%u",
        r->v.connections, r->v.idle, r->v.inflight, r->v.waiting, r->v.workers, r->v.ejected);
    put_text(t, "ejected_until", time_word(until_s(r, now_ms), at));
    put_text(t, "health", health_word(r->v.state));
    put_text(t, "checked", time_word(r->checked_s, at));
    put_text(t, "error", r->error);
    text_add(t, STR("}"));
}

static void row_text(const struct row *r, uint64_t now_ms, int width, struct text *t)
{
    char at[24];
    text_fmt(t, "%-*s  %-9s  %11u  %8u  %7u", width, r->addr, endpoint_view_word(&r->v),
        r->v.connections, r->v.inflight, r->v.waiting);
    if (r->v.ejected)
        text_fmt(t, "  ejected by %u of %u workers until %s", r->v.ejected, r->v.workers,
            time_word(until_s(r, now_ms), at));
    if (r->changed_s)
        text_fmt(t, "  since %s", time_word(r->changed_s, at));
    if (r->reason[0]) {
        text_add(t, STR("  "));
        text_plain(t, str_c(r->reason));
    }
    if (r->error[0])
        text_fmt(t, "  check: %s", r->error);
    text_add(t, STR("\n"));
}

static void list_text(const struct rows *rows, uint64_t now_ms, struct text *t)
{
    int width = (int)strlen("ADDRESS");
    for (size_t i = 0; i < rows->n; i++) {
        int n = (int)strlen(rows->row[i].addr);
        width = n > width ? n : width;
    }
    text_fmt(t, "%zu endpoint%s\n", rows->n, rows->n == 1 ? "" : "s");
    if (rows->n)
        text_fmt(t, "%-*s  %-9s  %11s  %8s  %7s\n", width, "ADDRESS", "STATE", "CONNECTIONS",
            "REQUESTS", "WAITING");
    for (size_t i = 0; i < rows->n; i++)
        row_text(&rows->row[i], now_ms, width, t);
}

static void list_json(const struct rows *rows, uint64_t now_ms, struct text *t)
{
    text_add(t, STR("{\"providers\":["));
    for (size_t i = 0; i < rows->n; i++) {
        if (i)
            text_add(t, STR(","));
        row_json(&rows->row[i], now_ms, t);
    }
    text_add(t, STR("]}\n"));
}

void admin_providers(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    struct rows rows = {.state = admin_param(r, "state")};
    struct text t = {0};
    uint64_t now_ms = clock_mono_ms();
    endpoint_table_each(c->shared.endpoints, now_ms, add_row, &rows);
    if (rows.failed) {
        mem_free(rows.row);
        admin_error(r, 503, "out of memory");
        return;
    }
    if (rows.n)
        qsort(rows.row, rows.n, sizeof *rows.row, by_address);
    if (admin_wants_json(r))
        list_json(&rows, now_ms, &t);
    else
        list_text(&rows, now_ms, &t);
    mem_free(rows.row);
    admin_reply_text(r, &t);
}

/* ---- orders ---- */

static void answer(
    struct admin_request *r, const char *addr, enum endpoint_order o, bool changed, bool used)
{
    static const char *const words[] = {"drained", "disabled", "enabled"};
    struct text t = {0};
    if (admin_wants_json(r)) {
        text_add(&t, STR("{\"address\":\""));
        text_json(&t, str_c(addr));
        text_fmt(&t, "\",\"state\":\"%s\",\"changed\":%s,\"used\":%s}\n", words[o],
            changed ? "true" : "false", used ? "true" : "false");
    } else {
        text_fmt(&t, "%s is %s%s%s\n", addr, words[o], changed ? "" : " already",
            used ? "" : " (nothing goes there now)");
    }
    admin_reply_text(r, &t);
}

/* Parameters of the query. False: answered already. */
static bool read_order(struct admin_request *r, struct addr *a, enum endpoint_order *o)
{
    const char *address = admin_param(r, "address"), *action = admin_param(r, "action");
    struct err e = {0};
    if (!address || !action || !endpoint_order_parse(action, o)) {
        admin_error(r, 400, "want /endpoint?address=ADDRESS&action=drain|disable|enable[&reason=]");
        return false;
    }
    if (addr_parse(str_c(address), false, a, &e) != 0 || a->kind == ADDR_TUNNEL) {
        admin_error(r, 400, "address: %s", e.text[0] ? e.text : "a tunnel is no endpoint yet");
        return false;
    }
    return true;
}

void admin_endpoint(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    struct addr a;
    enum endpoint_order o;
    char at[ADDR_TEXT_MAX];
    if (!read_order(r, &a, &o))
        return;
    const char *reason = admin_param(r, "reason");
    reason = reason ? reason : "";
    bool used;
    int rc =
        endpoint_order(c->shared.endpoints, &a, o, reason, clock_mono_ms(), clock_wall_s(), &used);
    if (rc == -ENOBUFS) {
        admin_error(r, 409, "%u endpoints are drained or disabled already: enable some first",
            ENDPOINT_ORDERS_MAX);
        return;
    }
    if (rc == -ENOMEM) {
        admin_error(r, 503, "out of memory");
        return;
    }
    addr_format(&a, at);
    if (rc == 0) {
        struct text why = {0};
        counter_inc(&c->stats[STAT_ENDPOINT_ORDERS]);
        text_plain(&why, str_c(reason));
        log_info("endpoint %s: %s by user %u%s%s", at, endpoint_order_word(o), admin_peer_uid(r),
            why.n ? ": " : "", why.n ? why.p : "");
        text_release(&why);
    }
    answer(r, at, o, rc == 0, used);
}
