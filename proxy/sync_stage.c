#include "proxy/sync_stage.h"
#include "lib/base/mem.h"
#include "lib/graph/allowed.h"
#include "lib/graph/codec.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define HASH       32u
#define FIRST_SIZE (64u << 10) /* bytes taken for the first chunk of several */

/* Fields of Difference (graph.proto) that Stage repeats. */
enum { FIELD_BASE = 1, FIELD_EPOCH = 2 };

const char *const stage_features[] = {"graph.1", "routes.1", NULL};

struct stage_in {
    bool joining;
    uint64_t dropped; /* nonce whose further chunks are left alone; 0: none */
    uint64_t nonce, base, epoch, follows_epoch;
    unsigned char history[HISTORY_ID], follows[HISTORY_ID], digest[HASH];
    bool has_follows;
    uint32_t next, chunks;
    size_t nfeatures;
    uint8_t *bytes;
    size_t n, size;
};

const char *nack_word(unsigned reason)
{
    static const char *const words[] = {"UNKNOWN", "BAD_DIGEST", "BASE_UNKNOWN", "INVALID_GRAPH",
        "TOO_BIG", "STALE", "UNSUPPORTED"};
    return reason < sizeof words / sizeof words[0] ? words[reason] : words[0];
}

struct stage_in *stage_new(void)
{
    return mem_zalloc(sizeof(struct stage_in));
}

void stage_free(struct stage_in *in)
{
    if (in)
        mem_free(in->bytes);
    mem_free(in);
}

void stage_reset(struct stage_in *in)
{
    mem_free(in->bytes);
    *in = (struct stage_in){0};
}

size_t stage_bytes(const struct stage_in *in)
{
    return in->n;
}

/* ---- answers -------------------------------------------------------------------------------- */

static void answer(struct stage_in *in, struct stage_answer *a, enum stage_result result)
{
    uint64_t nonce = a->nonce;
    stage_reset(in);
    in->dropped = nonce;
    a->result = result;
}

/* text may name what the agent sent: everything that is not plain ASCII becomes '?'. */
static void refuse(struct stage_in *in, struct stage_answer *a, Offshoot__V1__NackReason reason,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void refuse(struct stage_in *in, struct stage_answer *a, Offshoot__V1__NackReason reason,
    const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(a->text, sizeof a->text, fmt, args);
    va_end(args);
    for (char *c = a->text; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    a->reason = reason;
    answer(in, a, STAGE_REFUSED);
}

#define REASON(word) OFFSHOOT__V1__NACK_REASON__##word

static void to_hex(const unsigned char *p, char out[static 2 * HISTORY_ID + 1])
{
    for (unsigned i = 0; i < HISTORY_ID; i++)
        snprintf(out + 2 * i, 3, "%02x", p[i]);
}

/* ---- one message ---------------------------------------------------------------------------- */

/* What is wrong with its form; NULL: nothing. */
static const char *malformed(const Offshoot__V1__Stage *m)
{
    if (m->nonce == 0)
        return "a stage without a nonce";
    if (m->history.len != HISTORY_ID)
        return "a history that is not 16 bytes";
    if (m->follows && m->follows->history.len != HISTORY_ID)
        return "a history to follow that is not 16 bytes";
    if (m->digest.len != HASH)
        return "a digest that is not 32 bytes";
    if (m->epoch <= m->base_epoch)
        return "an epoch that is not above its base";
    if (m->chunks == 0 || m->chunks > STAGE_CHUNKS_MAX || m->chunk >= m->chunks)
        return "a chunk that is not one of 1 to 65536";
    if (m->payload.len > STAGE_PAYLOAD_MAX)
        return "a payload above 262144 bytes";
    if (m->payload.len == 0 && m->chunk + 1 < m->chunks)
        return "an empty payload before the last chunk";
    if (m->n_features > STAGE_FEATURES_MAX)
        return "more than 64 features";
    return NULL;
}

static bool same_bytes(const ProtobufCBinaryData *a, const unsigned char *b, size_t n)
{
    return a->len == n && memcmp(a->data, b, n) == 0;
}

/* Which field differs from what chunk 0 said; NULL: none. (Features were all known there, so their
 * number is enough.) */
static const char *differs(const struct stage_in *in, const Offshoot__V1__Stage *m)
{
    if (m->nonce != in->nonce)
        return "nonce";
    if (!same_bytes(&m->history, in->history, HISTORY_ID))
        return "history";
    if (!m->follows != !in->has_follows)
        return "follows";
    if (m->follows && (m->follows->epoch != in->follows_epoch ||
                          !same_bytes(&m->follows->history, in->follows, HISTORY_ID)))
        return "follows";
    if (m->base_epoch != in->base)
        return "base_epoch";
    if (m->epoch != in->epoch)
        return "epoch";
    if (!same_bytes(&m->digest, in->digest, HASH))
        return "digest";
    if (m->n_features != in->nfeatures)
        return "features";
    return m->chunks != in->chunks ? "chunks" : NULL;
}

static void note_first(struct stage_in *in, const Offshoot__V1__Stage *m)
{
    in->joining = true;
    in->nonce = m->nonce;
    in->base = m->base_epoch;
    in->epoch = m->epoch;
    in->chunks = m->chunks;
    in->nfeatures = m->n_features;
    memcpy(in->history, m->history.data, HISTORY_ID);
    memcpy(in->digest, m->digest.data, HASH);
    in->has_follows = m->follows != NULL;
    if (m->follows) {
        in->follows_epoch = m->follows->epoch;
        memcpy(in->follows, m->follows->history.data, HISTORY_ID);
    }
}

/* ---- is it for us? -------------------------------------------------------------------------- */

static struct snapshot *held(const struct stage_view *v, uint64_t epoch)
{
    for (unsigned i = 0; i < v->nheld; i++)
        if (snapshot_epoch(v->held[i]) == epoch)
            return v->held[i];
    return NULL;
}

static bool is_ours(const struct stage_view *v, const unsigned char *history)
{
    return v->history && memcmp(v->history, history, HISTORY_ID) == 0;
}

/* Back to the history of what is served: never behind it, for that would never be saved. */
static int judge_served(struct stage_in *in, const Offshoot__V1__Stage *m,
    const struct stage_view *v, struct stage_answer *a)
{
    if (!v->served || !same_bytes(&m->history, v->served_history, HISTORY_ID))
        return 0;
    uint64_t epoch = snapshot_epoch(v->served);
    if (m->epoch > epoch ||
        (m->epoch == epoch && same_bytes(&m->digest, snapshot_digest(v->served), HASH)))
        return 0;
    refuse(in, a, REASON(STALE),
        "epoch %llu is not above epoch %llu of its history, which is served",
        (unsigned long long)m->epoch, (unsigned long long)epoch);
    return -ESTALE;
}

/* A history that is not ours: 0, or refused. */
static int judge_history(struct stage_in *in, const Offshoot__V1__Stage *m,
    const struct stage_view *v, struct stage_answer *a)
{
    char ours[2 * HISTORY_ID + 1], theirs[2 * HISTORY_ID + 1];
    if (!v->history || (v->adopted && same_bytes(&m->history, v->adopted, HISTORY_ID)))
        return judge_served(in, m, v, a);
    to_hex(v->history, ours);
    to_hex(m->history.data, theirs);
    if (!m->follows || !same_bytes(&m->follows->history, v->history, HISTORY_ID)) {
        refuse(in, a, REASON(STALE),
            "this proxy holds history %s, not %s; if that is meant: offshootctl proxy adopt %s",
            ours, theirs, theirs);
        return -ESTALE;
    }
    if (v->newest > m->follows->epoch) {
        refuse(in, a, REASON(STALE),
            "history %s follows epoch %llu, but this proxy holds epoch %llu of %s", theirs,
            (unsigned long long)m->follows->epoch, (unsigned long long)v->newest, ours);
        return -ESTALE;
    }
    return judge_served(in, m, v, a);
}

/* An epoch of our history. */
static int judge_epoch(struct stage_in *in, const Offshoot__V1__Stage *m,
    const struct stage_view *v, struct stage_answer *a)
{
    const struct snapshot *same = held(v, m->epoch);
    if (same && same_bytes(&m->digest, snapshot_digest(same), HASH)) {
        answer(in, a, STAGE_HELD);
        return -EALREADY;
    }
    if (same)
        refuse(in, a, REASON(STALE), "epoch %llu is held with another digest",
            (unsigned long long)m->epoch);
    else if (m->epoch <= v->newest)
        refuse(in, a, REASON(STALE), "epoch %llu is not above epoch %llu, which was held",
            (unsigned long long)m->epoch, (unsigned long long)v->newest);
    else
        return 0;
    return -ESTALE;
}

static bool known_feature(const char *word)
{
    size_t i = 0;
    while (stage_features[i] && strcmp(stage_features[i], word) != 0)
        i++;
    return stage_features[i] != NULL;
}

static int judge_first(struct stage_in *in, const Offshoot__V1__Stage *m,
    const struct stage_view *v, struct stage_answer *a)
{
    for (size_t i = 0; i < m->n_features; i++) {
        if (!known_feature(m->features[i])) {
            refuse(in, a, REASON(UNSUPPORTED), "unknown feature '%.64s'", m->features[i]);
            return -ENOTSUP;
        }
    }
    bool ours = is_ours(v, m->history.data);
    int rc = ours ? judge_epoch(in, m, v, a) : judge_history(in, m, v, a);
    if (rc != 0)
        return rc;
    if (m->base_epoch && !(ours && held(v, m->base_epoch))) {
        refuse(in, a, REASON(BASE_UNKNOWN), "epoch %llu, which epoch %llu builds on, is not held",
            (unsigned long long)m->base_epoch, (unsigned long long)m->epoch);
        return -ENOENT;
    }
    return 0;
}

/* ---- joining -------------------------------------------------------------------------------- */

static int join(struct stage_in *in, const ProtobufCBinaryData *payload, uint64_t limit)
{
    if (payload->len > limit || in->n > limit - payload->len)
        return -EFBIG;
    size_t need = in->n + payload->len;
    if (need > in->size) {
        size_t size = in->size ? in->size * 2 : in->chunks > 1 ? FIRST_SIZE : need;
        while (size < need)
            size *= 2;
        uint8_t *p = mem_realloc(in->bytes, size > limit ? limit : size);
        if (!p)
            return -ENOMEM;
        in->bytes = p;
        in->size = size > limit ? limit : size;
    }
    if (payload->len)
        memcpy(in->bytes + in->n, payload->data, payload->len);
    in->n = need;
    return 0;
}

/* ---- applying ------------------------------------------------------------------------------- */

/* The difference speaks of the same epochs as the Stage. */
static const char *disagrees(const struct stage_in *in)
{
    struct pb_in bytes = pb_in_of(str_of((const char *)in->bytes, in->n));
    struct pb_field f;
    uint64_t base = 0, epoch = 0;
    while (pb_next(&bytes, &f) > 0) { /* codec_apply tells what is malformed */
        if (f.number == FIELD_BASE)
            base = f.value;
        else if (f.number == FIELD_EPOCH)
            epoch = f.value;
    }
    if (base != in->base)
        return "base_epoch";
    return epoch != in->epoch ? "epoch" : NULL;
}

static void applied(struct stage_in *in, const struct stage_view *v, const struct snapshot *base,
    struct snapshot *s, struct stage_answer *a)
{
    struct err e = {0};
    if (memcmp(snapshot_digest(s), in->digest, HASH) != 0)
        refuse(in, a, REASON(BAD_DIGEST), "the digest of stage and difference differ");
    else if (snapshot_bytes(s) > v->limit)
        refuse(in, a, REASON(TOO_BIG),
            "the graph takes %zu bytes of memory, above limits.snapshotBytes (%llu)",
            snapshot_bytes(s), (unsigned long long)v->limit);
    else if ((v->judge && v->judge(v->arg, s, &e) != 0) ||
             (v->rules && snapshot_allowed(s, base, v->rules, &e) != 0))
        refuse(in, a, REASON(INVALID_GRAPH), "%s", e.text);
    else {
        memcpy(a->history, in->history, HISTORY_ID);
        a->new_history = !is_ours(v, in->history);
        a->snapshot = s;
        answer(in, a, STAGE_READY);
        return;
    }
    snapshot_unref(s);
}

static void apply(struct stage_in *in, const struct stage_view *v, struct stage_answer *a)
{
    struct snapshot *s = NULL, *base = in->base ? held(v, in->base) : NULL;
    struct err e = {0};
    const char *field = disagrees(in);
    if (in->base && !base) { /* it was held when chunk 0 came */
        refuse(in, a, REASON(BASE_UNKNOWN), "epoch %llu is not held any more",
            (unsigned long long)in->base);
        return;
    }
    if (field) {
        refuse(in, a, REASON(BAD_DIGEST), "stage and difference differ in %s", field);
        return;
    }
    int rc = codec_apply(base, str_of((const char *)in->bytes, in->n), &s, &a->changes, &e);
    if (rc == -ENOMEM)
        refuse(in, a, REASON(TOO_BIG), "out of memory");
    else if (rc == -ESTALE)
        refuse(in, a, REASON(BASE_UNKNOWN), "%s", e.text);
    else if (rc != 0)
        refuse(in, a, REASON(BAD_DIGEST), "%s", e.text);
    else
        applied(in, v, base, s, a);
}

/* ---- all ------------------------------------------------------------------------------------ */

/* 0: the chunk is the one that is to come. */
static int take_head(struct stage_in *in, const Offshoot__V1__Stage *m, const struct stage_view *v,
    struct stage_answer *a)
{
    if (m->chunk == 0) {
        stage_reset(in);
        int rc = judge_first(in, m, v, a);
        if (rc == 0)
            note_first(in, m);
        return rc;
    }
    if (!in->joining || m->chunk != in->next) {
        refuse(in, a, REASON(BAD_DIGEST), "chunk %u came, chunk %u was expected", m->chunk,
            in->joining ? in->next : 0);
        return -EBADMSG;
    }
    const char *field = differs(in, m);
    if (field) {
        refuse(in, a, REASON(BAD_DIGEST), "chunk %u and chunk 0 differ in %s", m->chunk, field);
        return -EBADMSG;
    }
    return 0;
}

void stage_take(struct stage_in *in, const Offshoot__V1__Stage *m, const struct stage_view *v,
    struct stage_answer *ret)
{
    *ret = (struct stage_answer){.nonce = m->nonce, .epoch = m->epoch};
    if (m->chunk > 0 && m->nonce && m->nonce == in->dropped)
        return; /* of one that has its answer */
    const char *what = malformed(m);
    if (what) {
        refuse(in, ret, REASON(BAD_DIGEST), "%s", what);
        return;
    }
    if (take_head(in, m, v, ret) != 0)
        return;
    int rc = join(in, &m->payload, v->limit);
    if (rc != 0) {
        if (rc == -ENOMEM)
            refuse(in, ret, REASON(TOO_BIG), "out of memory");
        else
            refuse(in, ret, REASON(TOO_BIG), "the difference is above limits.snapshotBytes (%llu)",
                (unsigned long long)v->limit);
        return;
    }
    in->next = m->chunk + 1;
    if (in->next == m->chunks)
        apply(in, v, ret);
}
