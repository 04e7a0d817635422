/* Frames that get nobody anywhere: seen by their headers before nghttp2 reads them, because it
 * passes over some of them without a word. */
#include "lib/wire/h2_internal.h"

enum {

    FREE_MAX = 65536,          /* PING and WINDOW_UPDATE that wait to be allowed */
    GOAWAYS = 4,               /* a notice, the last stream, and some more */
    SMALL_CONTINUATION = 4096, /* one below this that is not the last pays */
    PRIORITY_UPDATE = 0x10,    /* RFC 9218 section 7.1 */
    LAST_KNOWN = NGHTTP2_CONTINUATION,
};

const char *h2_odd_word(enum h2_odd o)
{
    static const char *const words[H2_ODD_COUNT] = {
        [H2_ODD_RESET] = "reset",
        [H2_ODD_OWN_RESET] = "own-reset",
        [H2_ODD_REFUSED] = "refused",
        [H2_ODD_PING] = "ping",
        [H2_ODD_SETTINGS] = "settings",
        [H2_ODD_PRIORITY] = "priority",
        [H2_ODD_WINDOW] = "window",
        [H2_ODD_EMPTY_DATA] = "empty-data",
        [H2_ODD_CONTINUATION] = "continuation",
        [H2_ODD_UNKNOWN] = "unknown",
        [H2_ODD_HEAD] = "head",
    };
    return (unsigned)o < H2_ODD_COUNT ? words[o] : "none";
}

static void fill(struct h2 *h, uint64_t by)
{
    uint64_t sum = h->odd + by;
    h->odd = sum < h->limits.odd ? (uint32_t)sum : h->limits.odd;
}

void h2_spend(struct h2 *h, enum h2_odd kind)
{
    h->ev->odd(h, kind);
    if (h->odd == 0) {
        uint64_t by = (h->now_ms - h->filled_ms) * h->limits.odd_refill / 1000;
        fill(h, by);
        if (by)
            h->filled_ms = h->now_ms;
    }
    if (h->odd)
        h->odd--;
    else
        h2_fault(
            h, H2_ENHANCE_YOUR_CALM, "too many odd frames, the last of kind", h2_odd_word(kind));
}

void h2_earn(struct h2 *h)
{
    fill(h, 1);
}

void h2_earn_data(struct h2 *h, size_t n)
{
    if (h->free_pings < FREE_MAX)
        h->free_pings += 2;
    if (h->free_windows < FREE_MAX)
        h->free_windows += 2 + (uint32_t)(n / 1024);
}

static void spend_above(struct h2 *h, uint32_t *allowed, enum h2_odd kind)
{
    if (*allowed)
        --*allowed;
    else
        h2_spend(h, kind);
}

static uint32_t number(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void note_ended(struct h2_watch *w, uint32_t id)
{
    w->ended[w->ended_at++ % H2_REMEMBERED] = id;
}

/* RFC 9113 section 5.1: DATA and HEADERS of a stream that the peer itself had ended. */
static void on_message_frame(struct h2 *h, uint32_t id, bool end)
{
    struct h2_watch *w = &h->watch;
    for (unsigned i = 0; i < H2_REMEMBERED; i++)
        if (w->ended[i] == id && id)
            h2_fault(h, H2_STREAM_CLOSED, "DATA or HEADERS of a stream that was", "ended");
    if (end)
        note_ended(w, id);
}

/* Section 5.1.1: a new stream has a higher number than all before. */
static void on_headers(struct h2 *h, uint32_t id)
{
    struct h2_watch *w = &h->watch;
    w->continuations = 0;
    if (!h->server || id % 2 == 0) /* nghttp2 says what is wrong with that */
        return;
    if (id > w->highest) {
        if (id > w->highest + 2) {
            w->passed_from[w->passed_at % H2_REMEMBERED] = w->highest + 1;
            w->passed_to[w->passed_at++ % H2_REMEMBERED] = id - 1;
        }
        w->highest = id;
        return;
    }
    for (unsigned i = 0; i < H2_REMEMBERED; i++)
        if (w->passed_from[i] <= id && id <= w->passed_to[i])
            h2_fault(h, H2_PROTOCOL_ERROR, "HEADERS of a stream that was", "passed over");
}

static void on_settings(struct h2 *h, bool ack)
{
    if (h->watch.settings && !ack)
        h2_spend(h, H2_ODD_SETTINGS);
    h->watch.settings = true;
}

static void on_continuation(struct h2 *h, uint32_t len, uint8_t flags)
{
    if (h->watch.continuations++ >= H2_CONTINUATIONS) {
        h->ev->odd(h, H2_ODD_CONTINUATION);
        h2_fault(h, H2_ENHANCE_YOUR_CALM, "too many frames of kind", "continuation");
    } else if (len == 0 || (len < SMALL_CONTINUATION && !(flags & NGHTTP2_FLAG_END_HEADERS))) {
        h2_spend(h, H2_ODD_CONTINUATION);
    }
}

/* RFC 7540 section 5.3.1; nghttp2 does not look when priorities are switched off. */
static void on_priority(struct h2 *h, uint32_t id, uint32_t depends)
{
    if (id == 0 || (depends & INT32_MAX) == id)
        h2_fault(h, H2_PROTOCOL_ERROR, "PRIORITY of stream 0, or of a stream on", "itself");
    else
        h2_spend(h, H2_ODD_PRIORITY);
}

/* DATA of streams that are over here: what the peer had sent before it knew is no fault. nghttp2
 * tells of DATA of living streams; what it was given besides is that. */
void h2_late_data(struct h2 *h)
{
    uint64_t bytes = h->data_bytes - h->told_bytes;
    uint32_t frames = h->data_frames - h->told_frames;
    h->told_bytes = h->data_bytes;
    h->told_frames = h->data_frames;
    if (bytes <= h->late) {
        h->late -= (uint32_t)bytes;
        return;
    }
    while (frames-- && !h->fault)
        h2_spend(h, H2_ODD_EMPTY_DATA);
}

void h2_allow_late(struct h2 *h)
{
    if (h->late < UINT32_MAX / 2)
        h->late += h->limits.window;
}

static void on_frame(struct h2 *h)
{
    const uint8_t *b = h->watch.bytes;
    uint32_t len = number(b) >> 8;
    uint32_t id = number(b + 5) & INT32_MAX;
    uint8_t type = b[3], flags = b[4];
    bool ack = flags & NGHTTP2_FLAG_ACK, end = flags & NGHTTP2_FLAG_END_STREAM;
    switch (type) {
    case NGHTTP2_DATA:
        on_message_frame(h, id, end);
        if (len == 0 && !end)
            h2_spend(h, H2_ODD_EMPTY_DATA);
        break;
    case NGHTTP2_GOAWAY:
        if (h->goaways++ >= GOAWAYS)
            h2_spend(h, H2_ODD_UNKNOWN);
        break;
    case NGHTTP2_HEADERS:
        on_headers(h, id);
        on_message_frame(h, id, end);
        break;
    case NGHTTP2_RST_STREAM:
        note_ended(&h->watch, id);
        break;
    case NGHTTP2_PRIORITY:
        if (len == 5)
            on_priority(h, id, number(b + H2_FRAME_HEAD));
        break;
    case NGHTTP2_SETTINGS:
        on_settings(h, ack);
        break;
    case NGHTTP2_PUSH_PROMISE: /* our SETTINGS came before the request that it would belong to */
        h2_fault(h, H2_PROTOCOL_ERROR, "nobody may send", "PUSH_PROMISE");
        break;
    case NGHTTP2_PING:
        spend_above(h, ack ? &h->pongs : &h->free_pings, H2_ODD_PING);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        spend_above(h, &h->free_windows, H2_ODD_WINDOW);
        break;
    case NGHTTP2_CONTINUATION:
        on_continuation(h, len, flags);
        break;
    case PRIORITY_UPDATE:
        h2_spend(h, H2_ODD_PRIORITY);
        break;
    default:
        if (type > LAST_KNOWN)
            h2_spend(h, H2_ODD_UNKNOWN);
    }
}

/* Takes bytes of the frame's header from p[0..n): how many. */
static size_t collect(struct h2_watch *w, const char *p, size_t n)
{
    size_t take = (size_t)(w->need - w->have);
    if (take > n)
        take = n;
    memcpy(w->bytes + w->have, p, take);
    w->have = (uint8_t)(w->have + take);
    if (w->have == H2_FRAME_HEAD && w->need == H2_FRAME_HEAD) {
        w->skip = number(w->bytes) >> 8;
        if (w->bytes[3] == NGHTTP2_PRIORITY && w->skip == 5)
            w->need += 4;
    } else if (w->have == w->need && w->need > H2_FRAME_HEAD) {
        w->skip -= 4;
    }
    return take;
}

size_t h2_watch(struct h2 *h, const char *p, size_t n)
{
    struct h2_watch *w = &h->watch;
    size_t at = w->preface < n ? w->preface : n;
    w->preface = (uint8_t)(w->preface - at);
    while (at < n && !h->fault) {
        if (w->have < w->need) {
            at += collect(w, p + at, n - at);
            if (w->have < w->need)
                continue;
            on_frame(h);
        }
        size_t skip = w->skip < n - at ? w->skip : n - at;
        at += skip;
        w->skip -= (uint32_t)skip;
        if (w->skip == 0) {
            if (w->bytes[3] == NGHTTP2_DATA) {
                h->data_bytes += number(w->bytes) >> 8;
                h->data_frames++;
            }
            w->have = 0;
            w->need = H2_FRAME_HEAD;
        }
    }
    return at;
}
