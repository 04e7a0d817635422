/* All sessions together, counted and shown. */
#include "agent/shadow_int.h"
#include <inttypes.h>

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
    counter_set(&c[STAT_SHADOW_SESSIONS], shadow_running(sh));
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
        sh->nsessions, shadow_running(sh), capture_streams(sh->capture));
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
        sh->nsessions, shadow_running(sh), capture_streams(sh->capture));
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
