/* Samples that differ, out of the journal into the stream.
 *
 * A cursor follows the journal. What differs is gathered into a batch, which one script puts into
 * the stream and the list of examples, and writes the number of the last one beside them: all of it
 * or nothing, and only if the number before the batch is the one that Redis has. So nothing comes
 * twice and nothing is left out, whatever happened to the answer, to the server or to its data:
 *   Redis' number is in the batch (an answer was lost)       → up to it they are there
 *   another one (flushed, restarted with older data, we are  → the journal is read again, and what
 *   new)                                                       stands up to that one is passed over
 * The order is the journal's: a sample that took longer stands behind those with higher numbers.
 * After each connect, and when our sums turned out to be gone, a batch of none asks which it is. */
#include "agent/recorder_int.h"

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/net/admingraph.h"
#include <errno.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

#define PER_SAMPLE 8 /* arguments */

/* KEYS: sums, samples, examples. ARGV: agent, id, number before, lengths of stream and list; then
 * of each sample: number, run, time, endpoint, headlines, trace, differences, JSON. Returns the
 * number that is in Redis now, and what is wrong with the examples. */
static const char stream_script[] =
    "local function bad(r, key)\n"
    "  if type(r) == 'table' and r.err then return redis.error_reply(r.err..' at '..key) end\n"
    "end\n"
    "local p = ARGV[1]..'|'\n"
    "local id = redis.pcall('HGET', KEYS[1], p..'id')\n"
    "local e = bad(id, KEYS[1]) if e then return e end\n"
    "local sent = '0'\n"
    "if id == ARGV[2] then sent = redis.call('HGET', KEYS[1], p..'sent') or '0' end\n"
    "if sent ~= ARGV[3] then return {tonumber(sent) or 0, ''} end\n"
    "local at, why = 6, ''\n"
    "while ARGV[at] do\n"
    "  e = bad(redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'agent', ARGV[1],\n"
    "    'run', ARGV[at + 1], 'sample', ARGV[at], 'time', ARGV[at + 2], 'endpoint', ARGV[at + 3],\n"
    "    'headlines', ARGV[at + 4], 'trace', ARGV[at + 5], 'differences', ARGV[at + 6]), KEYS[2])\n"
    "  if e then return e end\n"
    "  sent = ARGV[at]\n"
    "  redis.call('HSET', KEYS[1], p..'sent', sent, p..'id', ARGV[2])\n"
    "  if why == '' then\n"
    "    local r = bad(redis.pcall('LPUSH', KEYS[3], ARGV[at + 7]), KEYS[3])\n"
    "    if r then why = r.err end\n"
    "  end\n"
    "  at = at + 8\n"
    "end\n"
    "if why == '' then\n"
    "  local r = bad(redis.pcall('LTRIM', KEYS[3], 0, ARGV[5] - 1), KEYS[3])\n"
    "  if r then why = r.err end\n"
    "end\n"
    "return {tonumber(sent), why}\n";

/* ---- a sample as arguments ---- */

static void end_arg(struct text *t)
{
    text_add(t, str_of("", 1)); /* its NUL */
}

static void put_string(struct text *t, const char *name, struct str value)
{
    text_fmt(t, "\"%s\":\"", name);
    text_json(t, value);
    text_add(t, STR("\""));
}

struct differences_json {
    struct text *t;
    bool first;
};

static int put_difference(void *arg, const struct read_difference *d)
{
    struct differences_json *j = arg;
    text_add(j->t, j->first ? STR("{") : STR(",{"));
    j->first = false;
    put_string(j->t, "path", d->path);
    text_fmt(j->t, ",\"kind\":\"%s\",\"candidate\":%s,\"secondary\":%s,",
        diff_kind_word((enum diff_kind)d->kind), d->by_candidate ? "true" : "false",
        d->by_secondary ? "true" : "false");
    put_string(j->t, "primary_text", d->primary);
    text_add(j->t, STR(","));
    put_string(j->t, "secondary_text", d->secondary);
    text_add(j->t, STR(","));
    put_string(j->t, "candidate_text", d->candidate);
    text_add(j->t, STR("}"));
    return j->t->failed;
}

static void put_differences(struct text *t, const struct read_sample *s)
{
    struct differences_json j = {t, true};
    text_add(t, STR("["));
    (void)journal_differences(s, put_difference, &j);
    text_add(t, STR("]"));
}

/* Headlines at which only the candidate differs. */
static void put_headlines(struct text *t, uint32_t bits)
{
    const char *comma = "";
    for (unsigned h = 0; h < HEADLINE_COUNT; h++)
        if (bits >> h & 1) {
            text_fmt(t, "%s%s", comma, headline_word((enum headline)h));
            comma = ",";
        }
}

static void put_trace(struct text *t, const struct read_sample *r)
{
    text_hex(t, (const unsigned char *)r->primary_trace.p, r->primary_trace.n);
}

static void put_json(struct text *t, const struct recorded *s, const struct read_sample *r)
{
    text_add(t, STR("{"));
    put_string(t, "agent", str_c(s->r->agent));
    text_fmt(t, ",\"run\":%u,\"sample\":%llu,\"time_unix_us\":%lld,", s->run,
        (unsigned long long)r->sample, (long long)r->time_unix_us);
    put_string(t, "endpoint", r->endpoint);
    text_add(t, STR(",\"headlines\":\""));
    put_headlines(t, r->candidate);
    text_add(t, STR("\",\"trace\":\""));
    put_trace(t, r);
    text_add(t, STR("\",\"differences\":"));
    put_differences(t, r);
    text_add(t, STR("}"));
}

static int put_sample(struct recorded *s, const struct read_sample *r, uint32_t run)
{
    struct sample_out *out = &s->batch[s->nbatch];
    struct text *t = &out->args;
    t->n = 0;
    for (unsigned i = 0; i < PER_SAMPLE; i++) {
        out->at[i] = t->n;
        if (i == 0)
            text_fmt(t, "%llu", (unsigned long long)r->sample);
        else if (i == 1)
            text_fmt(t, "%u", run);
        else if (i == 2)
            text_fmt(t, "%lld", (long long)r->time_unix_us);
        else if (i == 3)
            text_json(t, r->endpoint);
        else if (i == 4)
            put_headlines(t, r->candidate);
        else if (i == 5)
            put_trace(t, r);
        else if (i == 6)
            put_differences(t, r);
        else
            put_json(t, s, r);
        end_arg(t);
    }
    if (t->failed) {
        text_release(t);
        return -ENOMEM;
    }
    out->number = r->sample;
    s->nbatch++;
    return 0;
}

/* ---- out of the journal ---- */

#define LATENCIES (1u << HEADLINE_LATENCY | 1u << HEADLINE_SLOW_P90 | 1u << HEADLINE_SLOW_P99)

static int is_candidates_alone(void *arg, const struct read_difference *d)
{
    (void)arg;
    return d->by_candidate && !d->by_secondary;
}

/* Something but a latency differs in the candidate alone. */
static bool differs(const struct read_sample *r)
{
    return (r->candidate & ~LATENCIES) || journal_differences(r, is_candidates_alone, NULL) == 1;
}

static size_t batch_bytes(const struct recorded *s)
{
    size_t n = 0;
    for (unsigned i = 0; i < s->nbatch; i++)
        n += s->batch[i].args.n;
    return n;
}

static void note_read(struct recorded *s, uint64_t sample)
{
    if (sample <= s->read)
        return;
    s->read = sample;
    if (s->told_unread && sample >= s->told_from && sample <= s->told)
        s->told_unread--;
}

static bool is_skipped(struct recorded *s, uint64_t sample)
{
    if (s->skip == SKIP_TO && sample == s->skip_number) {
        s->skip = SKIP_NONE;
        return true;
    }
    return s->skip == SKIP_TO || (s->skip == SKIP_UP_TO && sample <= s->skip_number);
}

/* 1: the batch is full. */
static int on_record(void *arg, uint32_t type, struct str payload)
{
    struct recorded *s = arg;
    struct journal_record rec;
    if (type != JOURNAL_RECORD || journal_parse(payload, &rec, NULL))
        return 0; /* what is damaged was told at the opening */
    s->ended = rec.kind == JOURNAL_END;
    if (rec.kind == JOURNAL_SESSION)
        s->read_run = (uint32_t)rec.session.run;
    if (rec.kind != JOURNAL_SAMPLE || !differs(&rec.sample))
        return 0;
    note_read(s, rec.sample.sample);
    if (is_skipped(s, rec.sample.sample))
        return 0;
    int rc = put_sample(s, &rec.sample, s->read_run ? s->read_run : s->run);
    return rc ? rc : s->nbatch == BATCH_SAMPLES || batch_bytes(s) >= BATCH_BYTES;
}

static void stream_rewind(struct recorded *s)
{
    reclog_cursor_free(s->cursor);
    s->cursor = NULL;
    s->cursor_at_end = s->read_whole = s->ended = false;
    s->nbatch = 0;
    s->read_run = 0;
}

/* Everything behind what Redis has is to be read. */
static void read_again(struct recorded *s)
{
    stream_rewind(s);
    s->skip = s->sent ? SKIP_TO : SKIP_NONE;
    s->skip_number = s->sent;
}

static void at_end(struct recorded *s)
{
    if (s->skip == SKIP_TO) {
        /* It does not stand there: too old, or it was lost with a machine. */
        stream_rewind(s);
        s->skip = SKIP_UP_TO;
        return;
    }
    s->skip = SKIP_NONE;
    s->told_unread = 0; /* samples are told once they stand in the journal */
    if (s->ended) {
        reclog_cursor_free(s->cursor);
        s->cursor = NULL;
        s->read_whole = true;
    }
}

/* Fills the batch as far as one turn may read. */
static void read_batch(struct recorded *s)
{
    char path[JOURNAL_PATH];
    if (s->read_whole) {
        s->cursor_at_end = true;
        return;
    }
    if (!s->cursor) {
        snprintf(path, sizeof(path), "%s/%s", s->r->journal_dir, s->name);
        s->cursor = reclog_cursor_new(path, JOURNAL_LOG, JOURNAL_KIND, NULL);
    }
    if (!s->cursor)
        return; /* memory: the next tick */
    int rc = reclog_cursor_read(s->cursor, READ_BYTES, on_record, s, NULL);
    s->cursor_at_end = rc == 0;
    if (rc == 0)
        at_end(s);
    if (rc == -ENOMEM) /* a sample was passed over */
        read_again(s);
}

void stream_release(struct recorded *s)
{
    stream_rewind(s);
    for (unsigned i = 0; i < BATCH_SAMPLES; i++)
        text_release(&s->batch[i].args);
}

/* ---- into the stream ---- */

static void drop_first(struct recorded *s, unsigned n)
{
    struct sample_out gone[BATCH_SAMPLES];
    memcpy(gone, s->batch, n * sizeof(*gone));
    memmove(s->batch, s->batch + n, (s->nbatch - n) * sizeof(*gone));
    s->nbatch -= n;
    memcpy(s->batch + s->nbatch, gone, n * sizeof(*gone)); /* their memory is used again */
}

static void on_stream_sent(struct recorded *s, const struct redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_INTEGER ||
        reply->element[1]->type != REDIS_REPLY_STRING) {
        lane_fault(s, LANE_STREAM, "error", "an answer that is none of the script's");
        return;
    }
    uint64_t now = (uint64_t)reply->element[0]->integer;
    snprintf(s->examples_why, sizeof(s->examples_why), "%s", reply->element[1]->str);
    if (now == s->sent) {
        if (s->nbatch)
            lane_fault(s, LANE_STREAM, "error", "the number of the last sample in Redis is none");
        return;
    }
    unsigned done = 0;
    while (done < s->nbatch && s->batch[done].number != now)
        done++;
    s->sent = now;
    if (done < s->nbatch)
        drop_first(s, done + 1);
    else
        read_again(s);
    stream_pump(s);
}

static void send_batch(struct recorded *s)
{
    struct args *a = &s->r->args;
    char id[24], before[24], stream_max[16], examples_max[16];
    snprintf(id, sizeof(id), "%llu", (unsigned long long)s->id);
    snprintf(before, sizeof(before), "%llu", (unsigned long long)s->sent);
    snprintf(stream_max, sizeof(stream_max), "%u", s->r->o.stream_max);
    snprintf(examples_max, sizeof(examples_max), "%u", s->r->o.examples_max);
    const char *words[] = {"EVAL", stream_script, "3", s->key[0], s->key[1], s->key[2], s->r->agent,
        id, before, stream_max, examples_max};
    a->n = 0;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        args_word(a, words[i]);
    for (unsigned i = 0; i < s->nbatch; i++)
        for (unsigned k = 0; k < PER_SAMPLE; k++)
            args_word(a, s->batch[i].args.p + s->batch[i].at[k]);
    if (lane_send(s, LANE_STREAM, a, on_stream_sent))
        s->probe = false;
}

/* One turn reads so much and no more; the next one comes with the answer, or with the tick. */
void stream_pump(struct recorded *s)
{
    if (s->lane[LANE_STREAM].busy)
        return;
    if (redis_conn_state(s->r->node[s->node]) != REDIS_UP && s->node == 0 && s->r->nnodes == 1)
        return; /* down: the journal is not read for nothing */
    if (s->nbatch < BATCH_SAMPLES && batch_bytes(s) < BATCH_BYTES && !s->cursor_at_end)
        read_batch(s);
    struct timeval pause = clock_timeval(READ_PAUSE_MS);
    if (s->nbatch || (s->probe && s->cursor_at_end))
        send_batch(s);
    else if (!s->cursor_at_end && !evtimer_pending(&s->r->more, NULL))
        event_add(&s->r->more, &pause);
}
