/* The list of proxies, as JSON and as text. */
#include "agent/push_int.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include <errno.h>
#include <stdlib.h>

static const char *const nack_words[] = {
    "UNKNOWN", "BAD_DIGEST", "BASE_UNKNOWN", "INVALID_GRAPH", "TOO_BIG", "STALE", "UNSUPPORTED"};

static const char *nack_word(unsigned reason)
{
    return nack_words[reason < sizeof nack_words / sizeof nack_words[0] ? reason : 0];
}

static uint64_t newest_of(const struct push *p)
{
    return p->newest ? snapshot_epoch(p->newest) : 0;
}

/* Of our history: the newest that it holds. */
static uint64_t staged_of(const struct push_proxy *x)
{
    return x->nheld ? x->held[x->nheld - 1].epoch : 0;
}

static uint64_t lag_of(const struct push_proxy *x)
{
    return newest_of(x->push) - push_active(x);
}

/* Wall clock of a time on the caller's clock. */
static void wall(uint64_t at_ms, uint64_t now_ms, char *out)
{
    format_rfc3339(clock_wall_s() - (int64_t)((now_ms - at_ms) / 1000), out);
}

static void add(struct text *t, const char *key, const char *value)
{
    text_fmt(t, ",\"%s\":\"", key);
    text_json(t, str_c(value));
    text_add(t, STR("\""));
}

static void nack_json(const struct push_proxy *x, uint64_t now_ms, struct text *t)
{
    char time[24];
    if (!x->nacked) {
        text_add(t, STR(",\"last_nack\":null"));
        return;
    }
    wall(x->nack_ms, now_ms, time);
    text_fmt(t, ",\"last_nack\":{\"reason\":\"%s\"", nack_word(x->nack_reason));
    add(t, "text", x->nack_text);
    text_fmt(t, ",\"epoch\":%llu,\"time\":\"%s\"}", (unsigned long long)x->nack_epoch, time);
}

static const char *yes_no(bool b)
{
    return b ? "true" : "false";
}

static void proxy_json(const struct push_proxy *x, uint64_t now_ms, struct text *t)
{
    char since[24];
    wall(x->since_ms, now_ms, since);
    text_add(t, STR("{\"node\":\""));
    text_json(t, str_c(x->node));
    text_fmt(t, "\",\"role\":\"%s\"", x->sidecar ? "sidecar" : "gateway");
    add(t, "version", x->version);
    add(t, "region", x->region);
    add(t, "gateway", x->gateway);
    if (x->sidecar) {
        add(t, "service", x->service);
        add(t, "environment", x->environment);
    }
    add(t, "peer", x->peer);
    text_fmt(t, ",\"connected\":%s,\"since\":\"%s\",\"active\":%llu,\"staged\":%llu,\"lag\":%llu",
        yes_no(x->stream), since, (unsigned long long)x->active, (unsigned long long)staged_of(x),
        (unsigned long long)lag_of(x));
    text_fmt(t, ",\"behind\":%s,\"late\":%s,\"stale\":%s", yes_no(lag_of(x) != 0), yes_no(x->late),
        yes_no(x->stale));
    if (x->ack_ms)
        text_fmt(t, ",\"last_ack_seconds\":%.3f", (double)(now_ms - x->ack_ms) / 1e3);
    else
        text_add(t, STR(",\"last_ack_seconds\":null"));
    text_fmt(t, ",\"stage_ms\":%.3f,\"activate_ms\":%.3f", (double)x->stage_ns / 1e6,
        (double)x->activate_ns / 1e6);
    nack_json(x, now_ms, t);
    text_add(t, STR("}"));
}

static const char *state_word(const struct push_proxy *x)
{
    if (!x->stream)
        return "gone";
    if (x->stale)
        return "STALE";
    if (x->failed == newest_of(x->push) && x->failed)
        return "REFUSED";
    if (x->late)
        return "late";
    return lag_of(x) ? "behind" : "current";
}

static void proxy_text(const struct push_proxy *x, int width, uint64_t now_ms, struct text *t)
{
    char since[24];
    wall(x->since_ms, now_ms, since);
    text_fmt(t, "%-*s  %-7s  %8llu  %8llu  %5llu  %-8s %-20s  %s\n", width, x->node,
        x->sidecar ? "sidecar" : "gateway", (unsigned long long)x->active,
        (unsigned long long)staged_of(x), (unsigned long long)lag_of(x), state_word(x), since,
        x->peer);
    if (x->nacked) {
        text_fmt(t, "%*s  refused epoch %llu: %s: ", width, "", (unsigned long long)x->nack_epoch,
            nack_word(x->nack_reason));
        text_plain(t, str_c(x->nack_text));
        text_add(t, STR("\n"));
    }
}

static int by_node(const void *a, const void *b)
{
    const struct push_proxy *const *x = a, *const *y = b;
    return strcmp((*x)->node, (*y)->node);
}

/* Sorted; new. NULL: no memory. */
static const struct push_proxy **sorted(const struct push *p, bool behind, size_t *ret_n)
{
    const struct push_proxy **all = mem_array((size_t)p->nlive + p->ngone + 1, sizeof *all);
    const struct list *from[] = {&p->live, &p->gone};
    size_t n = 0;
    if (!all)
        return NULL;
    for (int i = 0; i < 2; i++) {
        list_for_each (it, from[i]) {
            const struct push_proxy *x = list_entry(it, struct push_proxy, link);
            if (!behind || lag_of(x))
                all[n++] = x;
        }
    }
    qsort((void *)all, n, sizeof *all, by_node);
    *ret_n = n;
    return all;
}

static void list_json(const struct push *p, const struct push_proxy **all, size_t n,
    uint64_t now_ms, struct text *out)
{
    const unsigned char *id = history_id(p->history);
    text_add(out, STR("{\"history\":\""));
    for (unsigned i = 0; i < HISTORY_ID; i++)
        text_fmt(out, "%02x", id[i]);
    text_fmt(out, "\",\"epoch\":%llu,\"proxies\":[", (unsigned long long)newest_of(p));
    for (size_t i = 0; i < n; i++) {
        text_add(out, i ? STR(",") : STR(""));
        proxy_json(all[i], now_ms, out);
    }
    text_add(out, STR("]}\n"));
}

static void list_text(const struct push *p, const struct push_proxy **all, size_t n, bool behind,
    uint64_t now_ms, struct text *out)
{
    struct push_counts c = push_counts(p);
    int width = 4;
    text_fmt(out, "%u %s connected, %u behind epoch %llu", c.live,
        c.live == 1 ? "proxy" : "proxies", c.behind, (unsigned long long)newest_of(p));
    text_fmt(out, c.stale ? ", %u stale\n" : "\n", c.stale);
    for (size_t i = 0; i < n; i++)
        width = (int)strlen(all[i]->node) > width ? (int)strlen(all[i]->node) : width;
    if (n)
        text_fmt(out, "%-*s  %-7s  %8s  %8s  %5s  %-8s %-20s  %s\n", width, "node", "role",
            "active", "staged", "lag", "state", "since", "peer");
    else if (behind)
        text_add(out, STR("none is behind\n"));
    for (size_t i = 0; i < n; i++)
        proxy_text(all[i], width, now_ms, out);
}

void push_list(const struct push *p, bool json, bool behind, uint64_t now_ms, struct text *out)
{
    size_t n = 0;
    const struct push_proxy **all = sorted(p, behind, &n);
    if (!all) {
        out->failed = -ENOMEM;
        return;
    }
    if (json)
        list_json(p, all, n, now_ms, out);
    else
        list_text(p, all, n, behind, now_ms, out);
    mem_free((void *)all);
}

void push_names_behind(const struct push *p, uint64_t epoch, bool json, struct text *out)
{
    bool first = true;
    list_for_each (it, &p->live) {
        const struct push_proxy *x = list_entry(it, struct push_proxy, link);
        if (push_active(x) >= epoch)
            continue;
        if (json) {
            text_add(out, first ? STR("\"") : STR(",\""));
            text_json(out, str_c(x->node));
            text_add(out, STR("\""));
        } else {
            text_fmt(out, "%s\n", x->node);
        }
        first = false;
    }
}
