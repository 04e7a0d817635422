/* Arbitrary bytes for an HTTP/2 session. The bits of the first byte: 1 a client with two requests
 * (else a server), 2 the opening of the connection is said for the peer, 4 a byte at a time, 8 what
 * the session says is taken after each piece, 16 little limits, 32 nghttp2 judges messages too,
 * 64 a pool, rests, and heads that become frames at once, 128 one allocation fails, the byte after
 * this one says which.
 *
 * The owner answers what it is told: the first byte of a path says how. Events come in their order,
 * each stream ends once, nothing goes over a limit, every head is a head for the HTTP/1 parser,
 * all memory comes back. */
#include "lib/base/mem.h"
#include "lib/wire/h1.h"
#include "lib/wire/h2.h"
#include "tests/fuzz/fuzz.h"
#include <errno.h>

#define INPUT_MAX 65536
#define BLOCK     65536u
#define STREAMS   40

/* What a stream's owner was told. */
struct told {
    struct h2_stream st;
    struct buf in;
    bool used, head, ended, over, collecting;
    char how; /* the path's second byte */
    unsigned unread;
};

static struct told streams[STREAMS];
static struct bufpool bufs;
static struct buf out;
static struct h2_limits limits;
static bool busy; /* an event may come */

static struct told *told_of(struct h2_stream *st)
{
    struct told *t = (struct told *)(void *)((char *)st - offsetof(struct told, st));
    demand(t >= streams && t < streams + STREAMS && t->used);
    return t;
}

static struct told *take(void)
{
    for (unsigned i = 0; i < STREAMS; i++)
        if (!streams[i].used) {
            streams[i] = (struct told){.used = true};
            return &streams[i];
        }
    return NULL;
}

static struct h2_stream *on_open(struct h2 *h, void *owner)
{
    demand(busy && owner == &limits && h2_owner(h) == owner);
    struct told *t = take();
    return t ? &t->st : NULL;
}

static struct buf *on_block(struct h2_stream *st, enum h2_kind kind)
{
    struct told *t = told_of(st);
    demand(busy && !t->over && !t->ended && kind <= H2_TRAILERS);
    demand((kind == H2_TRAILERS) == t->head);
    t->collecting = true;
    return buf_hold(&t->in, &bufs) == 0 ? &t->in : NULL;
}

/* The parser reads the text to its end, or refuses it. */
static void read_text(struct told *t, enum h2_kind kind)
{
    static struct field fields[300];
    static const struct h1_limits wide = {1 << 20, 256, 1 << 20, 300};
    struct h1_parser p;
    struct h1_head head;
    enum h1_status s = H1_ERROR;
    char *text = buf_head(&t->in);
    uint32_t n = buf_len(&t->in);
    demand(n >= 2 && memcmp(text + n - 2, "\r\n", 2) == 0);
    demand(n <= limits.head_bytes);
    h1_parser_reset(&p, &wide, fields);
    if (kind == H2_REQUEST)
        s = h1_request(&p, text, n, &head);
    else if (kind == H2_REPLY)
        s = h1_reply(&p, text, n, H1_GET, &head);
    demand(s != H1_MORE);
    if (s == H1_DONE) {
        demand(head.size == n);
        t->how = kind == H2_REQUEST && head.path.n > 1 ? head.path.p[1] : 0;
    }
}

static void on_head(struct h2_stream *st, enum h2_kind kind, bool end)
{
    struct told *t = told_of(st);
    demand(busy && t->collecting && !t->over && !t->ended);
    demand(kind != H2_TRAILERS || end);
    t->collecting = false;
    read_text(t, kind);
    buf_consume(&t->in, buf_len(&t->in));
    t->head |= kind != H2_TRAILERS && !(kind == H2_REPLY && st->text.status < 200);
    t->ended = end && kind != H2_TRAILERS;
    demand(st->end_in == end);
}

static bool on_bad_head(struct h2_stream *st, enum h2_kind kind, enum h2_error error)
{
    struct told *t = told_of(st);
    /* between blocks, for a body that is not what its head told */
    demand(busy && !t->over && (t->collecting || (error == H2_E_MESSAGE && kind != H2_TRAILERS)));
    demand(error > H2_OK && error < H2_ERROR_COUNT && kind <= H2_TRAILERS);
    t->collecting = false;
    demand(buf_len(&t->in) == 0);
    t->head = true;
    return error % 2;
}

static void on_data(struct h2_stream *st, const char *p, size_t n)
{
    struct told *t = told_of(st);
    demand(busy && t->head && !t->ended && !t->over && p);
    t->unread += (unsigned)n;
    demand(t->unread == st->unread && t->unread <= H2_WINDOW_MAX);
}

static void on_end(struct h2_stream *st)
{
    struct told *t = told_of(st);
    demand(busy && t->head && !t->ended && !t->over && st->end_in);
    t->ended = true;
}

static void on_close(struct h2_stream *st, uint32_t code, bool unprocessed)
{
    struct told *t = told_of(st);
    demand(busy && !t->over && !st->h && unprocessed == (code == H2_REFUSED_STREAM));
    t->over = true;
}

static void on_wake(struct h2 *h, struct h2_stream *st)
{
    demand(busy && h);
    if (st)
        demand(!told_of(st)->over);
}

static void on_odd(struct h2 *h, enum h2_odd kind)
{
    demand(busy && h && kind < H2_ODD_COUNT);
}

static void on_goaway(struct h2 *h, int32_t last, uint32_t code)
{
    (void)code;
    demand(busy && h && last >= 0);
}

static const struct h2_events events = {
    on_open, on_block, on_head, on_bad_head, on_data, on_end, on_close, on_wake, on_odd, on_goaway};

/* ---- the owner acts ---- */

static void drop(struct told *t)
{
    buf_drop(&t->in, &bufs);
    t->used = false;
}

static void send_body(struct told *t, size_t n)
{
    static char body[50000];
    struct buf text = {0};
    struct str span = str_of(body, n);
    if (buf_hold(&out, &bufs) != 0)
        return;
    int rc = h2_send(&t->st, &out, &text, &span, true);
    demand(rc == 0 || rc == 1 || rc == -EPIPE || rc == -ENOMEM);
    demand(rc != 0 || span.n == 0);
}

static void reply(struct told *t)
{
    const char *head = "HTTP/1.1 200 OK\r\nx: y\r\n\r\n";
    struct buf text = {0};
    if (t->st.head_out || buf_hold(&text, &bufs) != 0)
        return;
    buf_put(&text, head, strlen(head));
    buf_hold(&out, &bufs);
    int rc = h2_reply(&t->st, &text, t->how == 'l');
    demand(rc == 0 || rc == -EPIPE || rc == -ENOMEM);
    buf_drop(&text, &bufs);
}

static void act(struct told *t, bool server)
{
    h2_credit(&t->st, t->unread / 2 + 1);
    t->unread = t->st.unread;
    if (!t->st.h || !t->head)
        return;
    switch (t->how) {
    case 'r':
        h2_reset(&t->st, H2_CANCEL);
        break;
    case 'd':
        h2_done(&t->st);
        break;
    case 't':
        h2_trailers(&t->st, STR("a: b\r\n"));
        /* fall through */
    default:
        if (server)
            reply(t);
        if (t->st.h && !t->st.end_out)
            send_body(t, t->how == 'b' ? 50000 : 5);
    }
    if (!t->st.h && !t->over)
        drop(t);
}

static void act_all(bool server)
{
    busy = true; /* functions that make frames tell, too */
    for (unsigned i = 0; i < STREAMS; i++) {
        if (streams[i].used && !streams[i].over)
            act(&streams[i], server);
        if (streams[i].used && streams[i].over)
            drop(&streams[i]);
    }
    busy = false;
}

static void take_output(struct h2 *h)
{
    busy = true;
    for (int i = 0; i < 8 && buf_hold(&out, &bufs) == 0; i++) {
        int rc = h2_output(h, &out);
        buf_consume(&out, buf_len(&out));
        if (rc <= 0)
            break;
    }
    busy = false;
}

static void ask(struct h2 *h, const char *head, bool last)
{
    struct told *t = take();
    struct buf text = {0};
    if (!t || buf_hold(&text, &bufs) != 0)
        return;
    buf_put(&text, head, strlen(head));
    busy = true;
    int rc = h2_request(h, &t->st, &text, STR("https"), last);
    busy = false;
    demand(rc == 0 || rc == -ENOMEM || rc == -EAGAIN);
    if (rc != 0 && !t->over)
        drop(t);
    buf_drop(&text, &bufs);
}

static void run(struct h2 *h, uint8_t mode, const uint8_t *data, size_t size)
{
    static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    bool server = !(mode & 1);
    size_t by = mode & 4 ? 1 : 4096, skip = server ? 0 : 24;
    int rc = 0;
    if (mode & 64)
        h2_attach(h, &out);
    if (!server) {
        ask(h, "GET /a HTTP/1.1\r\nhost: a\r\n\r\n", true);
        ask(h, "POST /b HTTP/1.1\r\nhost: a\r\ncookie: c\r\n\r\n", false);
        take_output(h);
    }
    busy = true;
    if (mode & 2)
        rc = h2_input(h, hello + skip, sizeof(hello) - 1 - skip, 1);
    busy = false;
    for (size_t at = 0; at < size && rc == 0; at += by) {
        busy = true;
        rc = h2_input(h, (const char *)data + at, size - at < by ? size - at : by, at);
        busy = false;
        act_all(server);
        if (mode & 8)
            take_output(h);
        if (mode & 64)
            h2_rest(h);
        demand(h2_streams(h) <= limits.streams + limits.odd + 1);
    }
    demand(rc == 0 || rc == -EPROTO || rc == -ENOMEM);
    if (rc == -EPROTO)
        demand(h2_reason(h)[0] != '\0');
    act_all(server);
    take_output(h);
    (void)h2_room(h);
    (void)h2_waiting(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct h2_limits usual = {16, 65535, 200000, 16384, 50, 50, 10, true, false, NULL};
    static const struct h2_limits little = {2, 1024, 1024, 300, 5, 5, 1, true, false, NULL};
    if (size < 2 || size > INPUT_MAX)
        return 0;
    uint8_t mode = data[0];
    limits = mode & 16 ? little : usual;
    limits.checked_once = !(mode & 32);
    bufpool_init(&bufs, BLOCK, 64, 200);
    limits.pool = mode & 64 ? h2_pool_new() : NULL;
    if (mode & 128)
        mem_fail_nth(data[1] + 1u);
    struct h2 *h = h2_new(!(mode & 1), &limits, &events, &limits);
    h2_pool_free(limits.pool);
    demand(h || mode & 128);
    if (h)
        run(h, mode, data + 1 + (mode >> 7), size - 1 - (mode >> 7));
    h2_free(h);
    for (unsigned i = 0; i < STREAMS; i++) {
        demand(!streams[i].st.h);
        if (streams[i].used)
            drop(&streams[i]);
        streams[i] = (struct told){0};
    }
    mem_fail_nth(0);
    buf_drop(&out, &bufs);
    bufpool_release(&bufs);
    demand(mem_live() == 0);
    return 0;
}
