/* What people are told of the agent, and may tell about it. */
#include "lib/base/log.h"
#include "lib/base/parse.h"
#include "proxy/sync_impl.h"
#include <errno.h>
#include <stdio.h>

#define HEX_SIZE (2 * HISTORY_ID + 1)

typedef unsigned long long ull;

static const char *hex(const unsigned char *history, bool has, char out[static HEX_SIZE])
{
    out[0] = '\0';
    for (unsigned i = 0; has && i < HISTORY_ID; i++)
        snprintf(out + 2 * i, 3, "%02x", history[i]);
    return out;
}

static bool stale(const struct sync *s)
{
    return counter_get(&s->control->stats[STAT_SNAPSHOT_STALE]) != 0;
}

static void held_list(const struct sync *s, const char *between, struct text *out)
{
    struct snapshot *held[EPOCHS_HELD];
    unsigned n = epochs_held(s->control, held);
    for (unsigned i = 0; i < n; i++)
        text_fmt(out, "%s%llu", i ? between : "", (ull)snapshot_epoch(held[i]));
}

static void text_field(struct text *out, const char *name, const char *value)
{
    text_fmt(out, ",\"%s\":\"", name);
    text_json(out, str_c(value));
    text_add(out, STR("\""));
}

static void status_json(const struct sync *s, struct text *out)
{
    char history[HEX_SIZE], adopted[HEX_SIZE], since[24], at[24] = "";
    const unsigned char *other = sync_adopted(s);
    format_rfc3339(s->since_s, since);
    if (s->heard_s)
        format_rfc3339(s->heard_s, at);
    text_add(out, STR("\"agent\":{\"address\":\""));
    text_json(out, str_c(s->control->set->agent));
    text_add(out, STR("\""));
    text_field(out, "node", s->node);
    text_fmt(out, ",\"connected\":%s,\"since\":\"%s\",\"heard\":\"%s\",\"stale\":%s",
        s->stream ? "true" : "false", since, at, stale(s) ? "true" : "false");
    text_field(out, "last_loss", s->why);
    text_field(out, "history", hex(s->history, s->has_history, history));
    text_field(out, "adopted", hex(other, other != NULL, adopted));
    text_add(out, STR(",\"held\":["));
    held_list(s, ",", out);
    text_fmt(out, "],\"active\":%llu,\"acknowledged\":%llu,\"waiting\":%llu", (ull)s->active,
        (ull)s->saved, (ull)(s->waiting.snapshot ? snapshot_epoch(s->waiting.snapshot) : 0));
    if (s->way.active)
        text_fmt(out, ",\"last\":{\"epoch\":%llu,\"workers_us\":%llu,\"save_us\":%llu}",
            (ull)s->way.active, (ull)(s->way.workers_ns / 1000), (ull)(s->way.save_ns / 1000));
    text_field(out, "save_error", s->save_error.code ? s->save_error.text : "");
    text_add(out, STR("}"));
}

static void status_text(const struct sync *s, struct text *out)
{
    char history[HEX_SIZE], adopted[HEX_SIZE], since[24], at[24] = "never";
    const unsigned char *other = sync_adopted(s);
    format_rfc3339(s->since_s, since);
    if (s->heard_s)
        format_rfc3339(s->heard_s, at);
    text_fmt(out, "agent         %s, %s since %s, last heard %s%s\n", s->control->set->agent,
        s->stream ? "connected" : "NOT connected", since, at,
        stale(s) ? ": the graph is STALE" : "");
    if (!s->stream && s->why[0])
        text_fmt(out, "              %s\n", s->why);
    text_fmt(out, "node          %s\n", s->node);
    text_fmt(out, "history       %s\n", s->has_history ? hex(s->history, true, history) : "none");
    if (other)
        text_fmt(out, "adopted       %s\n", hex(other, true, adopted));
    text_add(out, STR("epochs        held "));
    held_list(s, " ", out);
    text_fmt(out, "; active %llu, acknowledged %llu\n", (ull)s->active, (ull)s->saved);
    if (s->way.active)
        text_fmt(out,
            "              epoch %llu: %.3f ms from Stage to every worker, %.3f ms to save\n",
            (ull)s->way.active, (double)s->way.workers_ns / 1e6, (double)s->way.save_ns / 1e6);
    if (s->waiting.snapshot)
        text_fmt(out, "              epoch %llu waits for a slot\n",
            (ull)snapshot_epoch(s->waiting.snapshot));
    if (s->save_error.code)
        text_fmt(out, "NOT SAVED     %s\n", s->save_error.text);
}

void sync_status(const struct sync *s, bool json, struct text *out)
{
    if (json)
        status_json(s, out);
    else
        status_text(s, out);
}

int sync_adopt(struct sync *s, const unsigned char *history, struct err *e)
{
    char text[HEX_SIZE];
    if (s->has_history && memcmp(s->history, history, HISTORY_ID) == 0)
        return 0;
    if (!s->client)
        return err_set(e, -EBUSY, "an upgrade is going on: this process has left its agent");
    int rc = s->lastgood ? lastgood_adopt(s->lastgood, history, e) : 0;
    if (rc != 0)
        return rc;
    if (!s->lastgood) {
        memcpy(s->adopted, history, HISTORY_ID);
        s->has_adopted = true;
    }
    log_info("a graph of history %s will be taken", hex(history, true, text));
    grpc_client_again(s->client);
    return 0;
}
