/* Arbitrary bytes for gRPC. The first byte chooses who reads them: 0 the joining of messages and
 * the decoding of texts, 1 a server, 2 a client with two calls; plus 4: the opening of the
 * connection is said for the peer, 8: a byte at a time, 16: what the session says is taken after
 * each piece, 32: little limits, 64: the session is shut down midway, 128: one allocation fails,
 * the byte after this one says which.
 *
 * Every call ends once, nothing above a limit is told, all memory comes back. The first byte of a
 * message says what its receiver does. */
#include "lib/base/mem.h"
#include "lib/wire/grpc.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX 65536
#define END_MAGIC 0x66757a7au

/* ---- a session ---- */

struct end {
    uint32_t magic;
    struct grpc_session *s;
    struct grpc_limits limits;
    unsigned owed, ended;
    uint8_t mode;
};

static struct end *end_of(void *arg)
{
    struct end *x = arg;
    demand(x->magic == END_MAGIC);
    return x;
}

static unsigned on_call(struct grpc_stream *st, struct str path, const char **ret_text, void *arg)
{
    struct end *x = end_of(arg);
    demand(path.n >= 4 && path.p[0] == '/');
    demand(grpc_stream_get(st) == NULL);
    if (path.p[1] == 'r') {
        *ret_text = "refused";
        return GRPC_PERMISSION_DENIED;
    }
    x->owed++;
    grpc_stream_set(st, x);
    return GRPC_OK;
}

static void act(struct grpc_stream *st, struct str message)
{
    switch (message.n ? message.p[0] : 0) {
    case 'c':
        grpc_cancel(st);
        break;
    case 'f':
        grpc_finish(st, GRPC_ABORTED, message);
        break;
    case 'h':
        grpc_half_close(st);
        break;
    case 's':
        grpc_session_shutdown(grpc_stream_session(st));
        break;
    case 'p':
        grpc_session_ping(grpc_stream_session(st));
        break;
    default:
        grpc_send(st, message);
    }
}

static void on_message(struct grpc_stream *st, struct str message, void *arg)
{
    struct end *x = end_of(arg);
    demand(grpc_stream_get(st) == x);
    demand(message.n <= x->limits.message_bytes);
    act(st, message);
    demand(grpc_queued(st) <= x->limits.queue_bytes + 5 + message.n);
}

static void on_half_close(struct grpc_stream *st, void *arg)
{
    demand(grpc_stream_get(st) == end_of(arg));
    if (grpc_queued(st) % 2 == 0)
        grpc_finish(st, GRPC_OK, STR(""));
}

static void on_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    struct end *x = end_of(arg);
    demand(grpc_stream_get(st) == x);
    demand(status <= GRPC_UNAUTHENTICATED);
    demand(text.n <= 1024);
    demand(grpc_send(st, text) < 0);
    grpc_stream_set(st, NULL); /* a second on_end would stop above */
    x->ended++;
}

static void on_drained(struct grpc_stream *st, void *arg)
{
    demand(grpc_stream_get(st) == end_of(arg));
    act(st, STR("drained"));
}

/* False when memory was out. */
static bool begin(struct end *x, bool server, uint8_t mode)
{
    static const struct grpc_limits usual = GRPC_LIMITS_DEFAULT, little = {2, 16, 24};
    static const struct grpc_events events = {
        on_call, on_message, on_half_close, on_end, on_drained};
    *x = (struct end){.magic = END_MAGIC, .limits = mode & 32 ? little : usual, .mode = mode};
    x->s = grpc_session_new(server, &x->limits, &events, x);
    demand(x->s || mode & 128);
    return x->s != NULL;
}

static void make_call(struct end *x, struct str message)
{
    struct grpc_stream *st = grpc_call(x->s, STR("localhost"), STR("/fuzz.Echo/Say"));
    if (!st)
        return;
    x->owed++;
    grpc_stream_set(st, x);
    grpc_send(st, message);
}

static void take_all(struct end *x)
{
    const uint8_t *p;
    while (grpc_session_produce(x->s, &p) > 0)
        ;
}

static void feed(struct end *x, struct str bytes)
{
    size_t piece = x->mode & 8 ? 1 : bytes.n;
    for (size_t at = 0; at < bytes.n; at += piece) {
        struct err e = {0};
        int rc = grpc_session_feed(x->s, str_of(bytes.p + at, piece), &e);
        demand(rc == 0 || e.text[0]);
        if (x->mode & 16)
            take_all(x);
        if (x->mode & 64 && at >= bytes.n / 2)
            grpc_session_shutdown(x->s);
    }
}

static void finish(struct end *x)
{
    take_all(x);
    grpc_session_free(x->s);
    demand(x->owed == x->ended);
}

static void run_server(uint8_t mode, struct str bytes)
{
    struct end x;
    if (!begin(&x, true, mode))
        return;
    if (mode & 4)
        feed(&x, str_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33));
    feed(&x, bytes);
    finish(&x);
}

static void run_client(uint8_t mode, struct str bytes)
{
    struct end x;
    if (!begin(&x, false, mode))
        return;
    make_call(&x, STR("one"));
    take_all(&x);
    make_call(&x, STR("two"));
    if (mode & 4)
        feed(&x, str_of("\0\0\0\4\0\0\0\0\0", 9));
    feed(&x, bytes);
    make_call(&x, STR("three"));
    finish(&x);
}

/* ---- messages and texts ---- */

struct joined {
    char bytes[INPUT_MAX];
    size_t n, messages;
    uint32_t max;
};

static int on_frame(void *arg, struct str message)
{
    struct joined *j = arg;
    demand(message.n <= j->max);
    if (message.n)
        memcpy(j->bytes + j->n, message.p, message.n);
    j->n += message.n;
    j->messages++;
    return j->messages == 1000 ? 1 : 0;
}

/* In two pieces as in one: the same messages, the same end. */
static void run_frames(struct str bytes)
{
    static struct joined whole, parts;
    struct grpc_frames f = {.max = 4096}, g = {.max = 4096};
    size_t cut = bytes.n ? (unsigned char)bytes.p[bytes.n - 1] % bytes.n : 0;
    whole.n = whole.messages = parts.n = parts.messages = 0;
    whole.max = parts.max = 4096;
    int rc = grpc_frames_feed(&f, bytes, on_frame, &whole);
    int in_parts = grpc_frames_feed(&g, str_of(bytes.p, cut), on_frame, &parts);
    if (in_parts == 0)
        in_parts = grpc_frames_feed(&g, str_from(bytes, cut), on_frame, &parts);
    demand(rc == in_parts && whole.messages == parts.messages && whole.n == parts.n);
    demand(memcmp(whole.bytes, parts.bytes, whole.n) == 0);
    demand(rc != 0 || grpc_frames_partial(&f) == grpc_frames_partial(&g));
    grpc_frames_release(&f);
    grpc_frames_release(&g);
}

static void run_text(struct str text)
{
    static char encoded[3 * INPUT_MAX], decoded[3 * INPUT_MAX];
    demand(grpc_text_decode(text, decoded) <= text.n);
    size_t n = grpc_text_encode(text, encoded);
    demand(n <= 3 * text.n);
    for (size_t i = 0; i < n; i++)
        demand(encoded[i] >= ' ' && encoded[i] <= '~');
    demand(grpc_text_decode(str_of(encoded, n), decoded) == text.n);
    demand(text.n == 0 || memcmp(decoded, text.p, text.n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > INPUT_MAX)
        return 0;
    struct str bytes = {(const char *)data + 1, size - 1};
    if (data[0] & 128 && bytes.n) {
        mem_fail_nth(1ul + (uint8_t)bytes.p[0]);
        bytes = str_from(bytes, 1);
    }
    switch (data[0] & 3) {
    case 1:
        run_server(data[0], bytes);
        break;
    case 2:
        run_client(data[0], bytes);
        break;
    default:
        mem_fail_nth(0);
        run_frames(bytes);
        run_text(bytes);
    }
    mem_fail_nth(0);
    demand(mem_live() == 0);
    return 0;
}
