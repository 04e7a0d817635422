/* The hash of sums: ours out, others' in.
 *
 *   begin     a script: another id or run of ours is taken away whole, ours is set
 *   HSET      what changed since it was acknowledged, in commands of a few hundred fields
 *   HGETALL   every few ticks: others' sums → tally_set_others; ours as they should be? If not (the
 *             server was flushed, or went back to older data): begin again, everything is sent */
#include "agent/recorder_int.h"

#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/base/pool.h"
#include <errno.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <xxhash.h>

/* KEYS: sums. ARGV: agent, id, run, decisions. */
static const char begin_script[] =
    "local p = ARGV[1]..'|'\n"
    "local had = redis.call('HMGET', KEYS[1], p..'id', p..'run', p..'decisions')\n"
    "local id = had[1]\n"
    "if id == ARGV[2] and had[2] == ARGV[3] and had[3] == ARGV[4] then return 0 end\n"
    "for _, f in ipairs(redis.call('HKEYS', KEYS[1])) do\n"
    "  if string.sub(f, 1, #p) == p and not (f == p..'sent' and id == ARGV[2]) then\n"
    "    redis.call('HDEL', KEYS[1], f)\n"
    "  end\n"
    "end\n"
    "redis.call('HSET', KEYS[1], p..'id', ARGV[2], p..'run', ARGV[3], p..'decisions', ARGV[4])\n"
    "return 1\n";

/* ---- items: fields of the hash by number ---- */

enum {
    ITEM_SAMPLES,
    ITEM_OVERFLOW,
    ITEM_HEADLINES,
    ITEM_FIXED = ITEM_HEADLINES + 3 * HEADLINE_COUNT
};

static size_t count_items(const struct recorded *s)
{
    return ITEM_FIXED + tally_fields(s->tally) + TALLY_ENDPOINTS + 1 + SHADOW_REASONS;
}

static void put_escaped(struct text *t, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '%' || s.p[i] == '|')
            text_fmt(t, "%%%02X", (unsigned)s.p[i]);
        else
            text_add(t, str_of(s.p + i, 1));
}

static void put_count(struct text *value, const struct tally_count *c, bool shape)
{
    text_fmt(value, "%llu %llu %llu %llu %d", (unsigned long long)c->pairs,
        (unsigned long long)c->candidate_only, (unsigned long long)c->secondary_only,
        (unsigned long long)c->both, shape);
}

static void headline_item(const struct recorded *s, size_t i, struct text *name, struct text *value)
{
    enum headline h = (enum headline)(i / 3);
    struct tally_count c = tally_headline(s->tally, h);
    uint64_t v = i % 3 == 0 ? c.pairs : i % 3 == 1 ? c.candidate_only : c.secondary_only;
    text_fmt(name, "|h|%s|%c", headline_word(h), "nbc"[i % 3]);
    text_fmt(value, "%llu", (unsigned long long)v);
}

static void field_item(const struct recorded *s, size_t i, struct text *name, struct text *value)
{
    struct tally_field f = tally_field(s->tally, i);
    text_add(name, STR("|f|"));
    put_escaped(name, f.endpoint);
    text_add(name, STR("|"));
    put_escaped(name, f.path);
    text_fmt(name, "|%s", diff_kind_word(f.kind));
    put_count(value, &f.count, f.shape);
}

/* After the fixed ones: endpoints and drops, whose number of places is fixed, then fields, which
 * become more. False: there is none of that number yet. */
static bool later_item(const struct recorded *s, size_t i, struct text *name, struct text *value)
{
    uint64_t n;
    if (i <= TALLY_ENDPOINTS) {
        if (i >= tally_endpoints(s->tally))
            return false;
        struct str endpoint = tally_endpoint(s->tally, i, &n);
        text_add(name, STR("|e|"));
        put_escaped(name, endpoint);
    } else if (i - TALLY_ENDPOINTS - 1 < SHADOW_REASONS) {
        i -= TALLY_ENDPOINTS + 1;
        if (i >= s->drops->n)
            return false;
        text_fmt(name, "|d|%s", s->drops->reason[i]);
        n = s->drops->count[i];
    } else {
        field_item(s, i - TALLY_ENDPOINTS - 1 - SHADOW_REASONS, name, value);
        return true;
    }
    text_fmt(value, "%llu", (unsigned long long)n);
    return true;
}

/* Name and value, both appended. */
static bool item(const struct recorded *s, size_t i, struct text *name, struct text *value)
{
    text_add(name, str_c(s->r->agent));
    if (i >= ITEM_FIXED)
        return later_item(s, i - ITEM_FIXED, name, value);
    if (i >= ITEM_HEADLINES) {
        headline_item(s, i - ITEM_HEADLINES, name, value);
    } else if (i == ITEM_SAMPLES) {
        text_add(name, STR("|samples"));
        text_fmt(value, "%llu", (unsigned long long)tally_samples(s->tally));
    } else {
        struct tally_count c = tally_overflow(s->tally);
        text_add(name, STR("|o"));
        put_count(value, &c, false);
    }
    return true;
}

/* Never 0. */
static uint64_t hash_of(struct str name, struct str value)
{
    return XXH3_64bits_withSeed(value.p, value.n, XXH3_64bits(name.p, name.n)) | 1;
}

static bool room_for_items(struct recorded *s)
{
    size_t n = count_items(s);
    if (n <= s->nitems)
        return true;
    size_t room = n + 64;
    struct item *more = mem_realloc(s->items, room * sizeof(*more));
    if (!more)
        return false;
    memset(more + s->nitems, 0, (room - s->nitems) * sizeof(*more));
    s->items = more;
    s->nitems = room;
    return true;
}

/* ---- out ---- */

static void on_begun(struct recorded *s, const struct redisReply *reply)
{
    (void)reply;
    s->begun = true;
    sums_pump(s);
}

static void send_begin(struct recorded *s)
{
    struct args *a = &s->r->args;
    char id[24], run[16];
    snprintf(id, sizeof(id), "%llu", (unsigned long long)s->id);
    snprintf(run, sizeof(run), "%u", s->run);
    const char *words[] = {
        "EVAL", begin_script, "1", s->key[0], s->r->agent, id, run, s->decisions};
    a->n = 0;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        args_word(a, words[i]);
    (void)lane_send(s, LANE_SUMS, a, on_begun);
}

static void on_sums_sent(struct recorded *s, const struct redisReply *reply)
{
    (void)reply;
    if (s->begun) /* else everything goes again */
        for (size_t i = 0; i < s->nitems; i++)
            if (s->items[i].pending)
                s->items[i].acked = s->items[i].pending;
    for (size_t i = 0; i < s->nitems; i++)
        s->items[i].pending = 0;
    sums_pump(s);
}

/* Names and values that changed, NUL-terminated one behind the other: how many. */
static unsigned collect(struct recorded *s, struct text *out)
{
    struct text name = {0}, value = {0};
    size_t n = count_items(s);
    unsigned found = 0;
    for (size_t i = 0; i < n && found < RECORDER_ARGS / 2 - 2; i++) {
        name.n = value.n = 0;
        s->items[i].pending = 0;
        if (!item(s, i, &name, &value) || name.failed || value.failed)
            continue;
        uint64_t hash = hash_of(str_of(name.p, name.n), str_of(value.p, value.n));
        if (hash == s->items[i].acked)
            continue;
        text_add(out, str_of(name.p, name.n + 1)); /* with its NUL */
        text_add(out, str_of(value.p, value.n + 1));
        s->items[i].pending = hash;
        found++;
    }
    if (name.failed || value.failed)
        out->failed = -ENOMEM;
    text_release(&name);
    text_release(&value);
    return found;
}

void sums_pump(struct recorded *s)
{
    struct args *a = &s->r->args;
    struct text t = {0};
    if (s->lane[LANE_SUMS].busy || !room_for_items(s))
        return;
    if (!s->begun) {
        send_begin(s);
        return;
    }
    unsigned n = collect(s, &t);
    if (n && !t.failed) {
        a->n = 0;
        args_word(a, "HSET");
        args_word(a, s->key[0]);
        const char *at = t.p;
        for (unsigned i = 0; i < 2 * n; i++, at += strlen(at) + 1)
            args_word(a, at);
        s->version++;
        (void)lane_send(s, LANE_SUMS, a, on_sums_sent);
    }
    text_release(&t);
}

void sums_again(struct recorded *s)
{
    s->begun = false;
    s->probe = true;
    s->version++;
    for (size_t i = 0; i < s->nitems; i++)
        s->items[i] = (struct item){0};
}

/* ---- in ---- */

/* Others' sums while they are read. */
struct reading {
    struct recorded *s;
    struct tally_totals totals;
    struct tally_field *fields;
    size_t room;
    struct pool *names; /* of fields, unescaped */
    uint64_t own;       /* sum of the hashes of our own fields */
    uint64_t hash;      /* sum of the hashes of the others' */
    bool own_id;
    struct str agents[OTHERS_MAX]; /* those that compare what we compare */
    unsigned nagents;
    int failed;
};

static bool is_added(const struct reading *r, struct str agent)
{
    for (unsigned i = 0; i < r->nagents; i++)
        if (str_eq(r->agents[i], agent))
            return true;
    return false;
}

/* Which agents are to be added. */
static void read_decisions(struct reading *r, struct str name, struct str value)
{
    struct recorded *s = r->s;
    size_t bar = str_find(name, '|');
    struct str agent = str_of(name.p, bar);
    if (bar == name.n || !str_eq(str_from(name, bar + 1), STR("decisions")) ||
        str_eq(agent, str_c(s->r->agent)))
        return;
    if (!str_eq(value, str_c(s->decisions)))
        snprintf(s->others_why, sizeof(s->others_why),
            "session '%.64s': agent '%.*s' compares something else, its sums are not added",
            s->name, agent.n > 64 ? 64 : (int)agent.n, agent.p);
    else if (r->nagents < OTHERS_MAX)
        r->agents[r->nagents++] = agent;
    else
        snprintf(s->others_why, sizeof(s->others_why),
            "session '%.64s': sums of more than %d other agents are not added", s->name,
            OTHERS_MAX);
}

static bool read_numbers(struct str s, uint64_t *ret, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        size_t space = str_find(s, ' ');
        if (parse_u64(str_of(s.p, space), &ret[i]))
            return false;
        s = space < s.n ? str_from(s, space + 1) : str_of(s.p, 0);
    }
    return s.n == 0;
}

static void add_count(struct tally_count *to, const uint64_t v[static 4])
{
    to->pairs += v[0];
    to->candidate_only += v[1];
    to->secondary_only += v[2];
    to->both += v[3];
}

static void read_headline(struct reading *r, struct str rest, struct str value)
{
    uint64_t v;
    size_t bar = str_find(rest, '|');
    if (bar + 2 != rest.n || parse_u64(value, &v))
        return;
    for (unsigned h = 0; h < HEADLINE_COUNT; h++) {
        struct tally_count *c = &r->totals.headline[h];
        if (!str_eq(str_of(rest.p, bar), str_c(headline_word((enum headline)h))))
            continue;
        c->pairs += rest.p[bar + 1] == 'n' ? v : 0;
        c->candidate_only += rest.p[bar + 1] == 'b' ? v : 0;
        c->secondary_only += rest.p[bar + 1] == 'c' ? v : 0;
    }
}

/* Takes one part up to '|' off rest, unescaped. */
static struct str take_part(struct reading *r, struct str *rest)
{
    struct str part = str_of(rest->p, str_find(*rest, '|'));
    *rest = part.n < rest->n ? str_from(*rest, part.n + 1) : str_of(rest->p, 0);
    char *copy = r->names ? pool_alloc(r->names, part.n + 1) : NULL;
    size_t n = 0;
    if (!copy) {
        r->failed = -ENOMEM;
        return (struct str){0};
    }
    for (size_t i = 0; i < part.n; i++) {
        char c = part.p[i];
        if (c == '%' && i + 2 < part.n && hex_value(part.p[i + 1]) >= 0 &&
            hex_value(part.p[i + 2]) >= 0) {
            c = (char)(hex_value(part.p[i + 1]) << 4 | hex_value(part.p[i + 2]));
            i += 2;
        }
        copy[n++] = c;
    }
    return str_of(copy, n);
}

static bool kind_of(struct str word, enum diff_kind *ret)
{
    for (unsigned k = 0; k <= DIFF_ORDER; k++)
        if (str_eq(word, str_c(diff_kind_word((enum diff_kind)k)))) {
            *ret = (enum diff_kind)k;
            return true;
        }
    return false;
}

static void read_field(struct reading *r, struct str rest, struct str value)
{
    uint64_t v[5];
    struct tally_field f = {0};
    if (!read_numbers(value, v, 5) || v[1] + v[2] + v[3] > v[0])
        return;
    if (r->totals.nfields == r->room) {
        size_t room = r->room ? 2 * r->room : 64;
        struct tally_field *more = mem_realloc(r->fields, room * sizeof(*more));
        if (!more) {
            r->failed = -ENOMEM;
            return;
        }
        r->fields = more;
        r->room = room;
    }
    f.endpoint = take_part(r, &rest);
    f.path = take_part(r, &rest);
    f.shape = v[4] != 0;
    add_count(&f.count, v);
    if (kind_of(rest, &f.kind))
        r->fields[r->totals.nfields++] = f;
}

static void read_other(struct reading *r, struct str rest, struct str value)
{
    uint64_t v[5];
    if (str_eq(rest, STR("samples")) && parse_u64(value, v) == 0)
        r->totals.samples += v[0];
    else if (str_starts(rest, STR("h|")))
        read_headline(r, str_from(rest, 2), value);
    else if (str_starts(rest, STR("f|")))
        read_field(r, str_from(rest, 2), value);
    else if (str_eq(rest, STR("o")) && read_numbers(value, v, 5))
        add_count(&r->totals.overflow, v);
}

static void read_pair(struct reading *r, struct str name, struct str value)
{
    size_t bar = str_find(name, '|');
    if (bar == name.n)
        return;
    struct str rest = str_from(name, bar + 1);
    struct str agent = str_of(name.p, bar);
    bool control = str_eq(rest, STR("id")) || str_eq(rest, STR("run")) ||
                   str_eq(rest, STR("sent")) || str_eq(rest, STR("decisions"));
    if (!str_eq(agent, str_c(r->s->r->agent))) {
        if (!control && is_added(r, agent)) {
            r->hash += hash_of(name, value);
            read_other(r, rest, value);
        }
        return;
    }
    if (!control)
        r->own += hash_of(name, value);
    r->own_id |= str_eq(rest, STR("id"));
}

static void set_others(struct reading *r)
{
    struct recorded *s = r->s;
    r->totals.fields = r->fields;
    int rc = tally_set_others(s->tally, &r->totals);
    if (rc) {
        lane_fault(s, LANE_OTHERS, "error",
            rc == -EINVAL ? "sums of other agents that cannot be" : "out of memory");
        return;
    }
    s->others_hash = r->hash;
    s->others_changed = true;
    event_active(&s->r->others, EV_TIMEOUT, 0);
}

/* Are ours what was acknowledged? Only to be judged when nothing was sent meanwhile. */
static bool own_sums_hold(const struct recorded *s, const struct reading *r)
{
    uint64_t want = 0;
    if (!s->begun || s->version != s->others_version || s->lane[LANE_SUMS].busy)
        return true;
    for (size_t i = 0; i < s->nitems; i++)
        want += s->items[i].acked;
    return r->own_id && want == r->own;
}

static void each_pair(struct reading *r, const struct redisReply *reply,
    void (*fn)(struct reading *r, struct str name, struct str value))
{
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        const redisReply *name = reply->element[i], *value = reply->element[i + 1];
        if (name->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING)
            fn(r, str_of(name->str, name->len), str_of(value->str, value->len));
    }
}

static void on_others(struct recorded *s, const struct redisReply *reply)
{
    struct reading r = {.s = s, .names = pool_new(4096)};
    s->others_why[0] = '\0';
    each_pair(&r, reply, read_decisions);
    each_pair(&r, reply, read_pair);
    if (r.failed)
        lane_fault(s, LANE_OTHERS, "error", "out of memory");
    else if (r.hash != s->others_hash)
        set_others(&r);
    if (!own_sums_hold(s, &r)) {
        sums_again(s);
        s->verdict_due = s->verdict[0] != '\0';
        sums_pump(s);
    }
    pool_free(r.names);
    mem_free(r.fields);
}

static void on_length(struct recorded *s, const struct redisReply *reply)
{
    struct args *a = &s->r->args;
    if (reply->type != REDIS_REPLY_INTEGER || reply->integer > OTHERS_FIELDS_MAX) {
        lane_fault(s, LANE_OTHERS, "error", "the hash of sums has too many fields to be read");
        return;
    }
    a->n = 0;
    args_word(a, "HGETALL");
    args_word(a, s->key[0]);
    s->others_version = s->version;
    (void)lane_send(s, LANE_OTHERS, a, on_others);
}

void others_pump(struct recorded *s)
{
    struct args *a = &s->r->args;
    if (s->lane[LANE_OTHERS].busy || s->lane[LANE_SUMS].busy)
        return;
    a->n = 0;
    args_word(a, "HLEN");
    args_word(a, s->key[0]);
    (void)lane_send(s, LANE_OTHERS, a, on_length);
}
