#include "proxy/tls_conn.h"
#include "lib/base/mem.h"
#include "proxy/worker.h"
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#define RECORD_MAX  16384u
#define RECORD_MORE 256u  /* header, tag and padding of a record, and of one that OpenSSL adds */
#define PIECE_MIN   4096u /* less room than this: what is here goes out first */
#define TURN_US     2000u /* of handshakes, in one turn */
#define STALLED_MS  1000u /* after which a handshake makes room for others */
#define WAITING_MAX 16u   /* times limits.handshakes that may wait */
#define HELLO_HEAD  5     /* of the first record */
#define ODD_MAX     64u   /* handshake messages on an open connection */

struct tls_worker {
    BIO_METHOD *bio;
    struct tls_tickets tickets;
    struct list running, waiting; /* of tls_conn.slot */
    uint32_t nrunning, nwaiting;
    uint64_t turn;     /* of spent_us */
    uint64_t spent_us; /* on handshakes */
};

enum slot { SLOT_NONE, SLOT_WAITING, SLOT_RUNNING };

struct tls_conn {
    struct conn *c;
    SSL *ssl;                  /* NULL: the first record is not here yet */
    struct tls_server *server; /* NULL: we are the client */
    struct tls_subjects *subjects;
    struct buf raw_in, raw_out;
    struct list slot;
    uint64_t slot_ms; /* since when it is in its list */
    uint8_t in_slot;  /* enum slot */
    uint8_t odd;      /* handshake messages since it is open */
    bool starved;     /* OpenSSL wanted more than there is */
    bool open;        /* the handshake is done */
    bool evicted;
    bool broken;
    bool late; /* an end or a fault was met behind bytes: the next read tells it */
};

static struct tls_conn *of(const struct conn *c)
{
    struct tls_conn *t = c->transport;
    assert(t->c == c);
    return t;
}

/* ---- the BIO ---- */

static int bio_read(BIO *b, char *to, int n)
{
    struct tls_conn *t = BIO_get_data(b);
    uint32_t have = buf_len(&t->raw_in);
    BIO_clear_retry_flags(b);
    if (have == 0) {
        t->starved = true;
        BIO_set_retry_read(b);
        return -1;
    }
    if ((uint32_t)n > have)
        n = (int)have;
    memcpy(to, buf_head(&t->raw_in), (size_t)n);
    buf_consume(&t->raw_in, (uint32_t)n);
    return n;
}

static int bio_write(BIO *b, const char *from, int n)
{
    struct tls_conn *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (buf_hold(&t->raw_out, &t->c->w->bufs) != 0)
        return -1;
    uint32_t room = buf_space(&t->raw_out);
    if (room == 0) {
        BIO_set_retry_write(b);
        return -1;
    }
    if ((uint32_t)n > room)
        n = (int)room;
    buf_put(&t->raw_out, from, (size_t)n);
    return n;
}

static long bio_ctrl(BIO *b, int what, long n, void *p)
{
    (void)b;
    (void)n;
    (void)p;
    return what == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

struct tls_worker *tls_worker_new(void)
{
    struct tls_worker *t = mem_zalloc(sizeof *t);
    if (!t)
        return NULL;
    list_init(&t->running);
    list_init(&t->waiting);
    t->bio = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "connection");
    if (t->bio && BIO_meth_set_read(t->bio, bio_read) == 1 &&
        BIO_meth_set_write(t->bio, bio_write) == 1 && BIO_meth_set_ctrl(t->bio, bio_ctrl) == 1 &&
        BIO_meth_set_create(t->bio, bio_create) == 1)
        return t;
    tls_worker_free(t);
    return NULL;
}

void tls_worker_free(struct tls_worker *t)
{
    if (!t)
        return;
    BIO_meth_free(t->bio);
    OPENSSL_cleanse(&t->tickets, sizeof t->tickets);
    mem_free(t);
}

struct tls_tickets *tls_worker_tickets(struct tls_worker *t)
{
    return &t->tickets;
}

static bool attach(struct tls_conn *t)
{
    BIO *b = BIO_new(t->c->w->tls->bio);
    if (!b)
        return false;
    BIO_set_data(b, t);
    SSL_set_bio(t->ssl, b, b); /* takes it; one reference for both */
    return true;
}

/* ---- the raw blocks ---- */

/* One recv. IO_OK: there is something in raw_in. */
static enum io fill(struct tls_conn *t)
{
    struct conn *c = t->c;
    struct worker *w = c->w;
    if (!conn_may_read(c))
        return IO_AGAIN;
    if (buf_hold(&t->raw_in, &w->bufs) != 0) {
        counter_inc(&w->stats[STAT_BUFFERS_REFUSED]);
        return IO_NO_MEMORY;
    }
    uint32_t space = buf_space(&t->raw_in);
    ssize_t n;
    do
        n = recv(c->fd, buf_tail(&t->raw_in), space, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        t->raw_in.end += (uint32_t)n;
        c->received += (uint64_t)n;
        counter_add(
            &w->stats[c->magic == CLIENT_MAGIC ? STAT_CLIENT_BYTES_IN : STAT_PROVIDER_BYTES_IN],
            (uint64_t)n);
        if ((uint32_t)n < space && !c->hup) {
            c->readable = false;
            c->unsure = true;
        }
        return IO_OK;
    }
    c->readable = c->unsure = false;
    buf_drop(&t->raw_in, &w->bufs);
    if (n == 0)
        return IO_EOF;
    return errno == EAGAIN || errno == EWOULDBLOCK ? IO_AGAIN : IO_ERROR;
}

/* Sends raw_out. IO_OK: it is empty. */
static enum io flush(struct tls_conn *t)
{
    struct conn *c = t->c;
    while (buf_len(&t->raw_out)) {
        if (!c->writable)
            return IO_AGAIN;
        uint32_t all = buf_len(&t->raw_out);
        ssize_t n = send(c->fd, buf_head(&t->raw_out), all, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            c->writable = false;
            return errno == EAGAIN || errno == EWOULDBLOCK ? IO_AGAIN : IO_ERROR;
        }
        counter_add(&c->w->stats[c->magic == CLIENT_MAGIC ? STAT_CLIENT_BYTES_OUT
                                                          : STAT_PROVIDER_BYTES_OUT],
            (uint64_t)n);
        c->sent += (uint64_t)n;
        buf_consume(&t->raw_out, (uint32_t)n);
        c->unsure = false;
        if ((uint32_t)n < all)
            c->writable = false;
    }
    buf_drop(&t->raw_out, &c->w->bufs);
    return IO_OK;
}

/* ---- reading ---- */

static enum io break_off(struct tls_conn *t, enum tls_failure why)
{
    struct worker *w = t->c->w;
    t->broken = true;
    t->c->readable = t->c->unsure = false;
    if (why != TLS_FAIL_CLOSED) /* which the one that reads counts, if it matters */
        counter_inc(&w->stats[(t->server ? STAT_TLS_FAILURES : STAT_PROVIDER_TLS_FAILURES) + why]);
    ERR_clear_error();
    flush(t); /* the alert */
    return IO_ERROR;
}

/* SSL_read gave nothing: IO_OK: try again. */
static enum io nothing_read(struct tls_conn *t)
{
    struct conn *c = t->c;
    if (SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN) {
        c->eof = true;
        c->readable = c->unsure = false;
        return IO_EOF;
    }
    if (!SSL_want_read(t->ssl))
        return break_off(t, tls_why(t->ssl, ERR_peek_error(), NULL));
    if (t->starved) {
        enum io io = fill(t);
        if (io == IO_EOF) /* without close_notify */
            return break_off(t, TLS_FAIL_CLOSED);
        return io;
    }
    /* A message of the handshake: a ticket, new keys, a wish to begin anew. */
    return ++t->odd > ODD_MAX ? break_off(t, TLS_FAIL_FLOOD) : IO_OK;
}

static enum io decrypt(struct tls_conn *t)
{
    struct conn *c = t->c;
    uint32_t before = buf_len(&c->in);
    for (;;) {
        uint32_t space = buf_space(&c->in);
        if (space == 0)
            break;
        if (c->read_max && space > c->read_max)
            space = c->read_max;
        t->starved = false;
        int n = SSL_read(t->ssl, buf_tail(&c->in), (int)space);
        if (n > 0) {
            c->in.end += (uint32_t)n;
            if (((uint32_t)n < space && buf_len(&t->raw_in) == 0) || c->read_max)
                break;
            continue;
        }
        bool got = buf_len(&c->in) > before;
        if (got && SSL_want_read(t->ssl) && t->starved)
            break; /* half a record */
        if (got && !SSL_want_read(t->ssl)) {
            c->readable = t->late = true; /* the end or the fault is told next time */
            return IO_OK;
        }
        enum io io = nothing_read(t);
        if (io != IO_OK)
            return io;
    }
    if (buf_len(&t->raw_in) || SSL_pending(t->ssl) > 0)
        c->readable = true;
    return IO_OK;
}

static enum io tls_read(struct conn *c)
{
    struct tls_conn *t = of(c);
    struct bufpool *pool = &c->w->bufs;
    if (c->eof)
        return IO_EOF;
    if (t->broken || (buf_len(&t->raw_out) && flush(t) == IO_ERROR))
        return IO_ERROR;
    if (!conn_may_read(c))
        return IO_AGAIN;
    if (buf_hold(&c->in, pool) != 0) {
        counter_inc(&c->w->stats[STAT_BUFFERS_REFUSED]);
        return IO_NO_MEMORY;
    }
    if (buf_space(&c->in) == 0)
        return IO_FULL;
    /* Otherwise OpenSSL would take a buffer only to find nothing for it. */
    enum io io = buf_len(&t->raw_in) || SSL_pending(t->ssl) > 0 || t->late ? IO_OK : fill(t);
    if (io == IO_EOF)
        io = break_off(t, TLS_FAIL_CLOSED);
    if (io == IO_OK)
        io = decrypt(t);
    if (buf_len(&t->raw_in) == 0)
        buf_drop(&t->raw_in, pool);
    if (buf_len(&t->raw_out) && io != IO_ERROR)
        flush(t); /* an answer to what was read */
    if (buf_len(&c->in) == 0)
        buf_drop(&c->in, pool);
    return io;
}

/* ---- writing ---- */

/* One record of what waits, and as much of the span behind it as fits. */
static bool encrypt(struct tls_conn *t, struct str *span, uint32_t room)
{
    struct conn *c = t->c;
    uint32_t most = room < RECORD_MAX ? room : RECORD_MAX, have = buf_len(&c->out);
    if (have && have < most && span->n) {
        uint32_t more = most - have;
        if (more > buf_space(&c->out))
            more = buf_space(&c->out);
        if (more > span->n)
            more = (uint32_t)span->n;
        buf_put(&c->out, span->p, more);
        *span = str_from(*span, more);
        have += more;
    }
    const char *from = have ? buf_head(&c->out) : span->p;
    uint32_t n = have ? have : span->n > most ? most : (uint32_t)span->n;
    int sent = SSL_write(t->ssl, from, (int)(n > most ? most : n));
    if (sent <= 0)
        return false;
    if (have)
        buf_consume(&c->out, (uint32_t)sent);
    else
        *span = str_from(*span, (size_t)sent);
    return true;
}

static uint32_t room_in(const struct tls_conn *t)
{
    uint32_t space = t->raw_out.data ? buf_space(&t->raw_out) : BLOCK_BYTES;
    return space > RECORD_MORE ? space - RECORD_MORE : 0;
}

static enum io tls_write(struct conn *c, struct str *span)
{
    struct tls_conn *t = of(c);
    struct str none = {0};
    if (t->broken)
        return IO_ERROR;
    if (!span)
        span = &none;
    for (;;) {
        while (c->writable && (buf_len(&c->out) || span->n)) {
            size_t all = buf_len(&c->out) + span->n;
            uint32_t room = room_in(t);
            if (room < PIECE_MIN && room < all)
                break;
            if (buf_hold(&t->raw_out, &c->w->bufs) != 0)
                return IO_NO_MEMORY;
            if (!encrypt(t, span, room))
                return break_off(t, TLS_FAIL_PROTOCOL);
        }
        enum io io = flush(t);
        if (io != IO_OK)
            return io;
        if (buf_len(&c->out) == 0 && span->n == 0) {
            buf_drop(&c->out, &c->w->bufs);
            return IO_OK;
        }
        if (!c->writable)
            return IO_AGAIN;
    }
}

/* ---- handshake: whose turn it is ---- */

static void wake_waiting(struct worker *w)
{
    struct tls_worker *tw = w->tls;
    if (!list_empty(&tw->waiting) && tw->nrunning < w->set->limit_handshakes)
        conn_resume_later(list_entry(tw->waiting.next, struct tls_conn, slot)->c);
}

static void leave_slot(struct tls_conn *t)
{
    struct worker *w = t->c->w;
    struct tls_worker *tw = w->tls;
    if (t->in_slot == SLOT_NONE)
        return;
    list_remove(&t->slot);
    if (t->in_slot == SLOT_WAITING) {
        tw->nwaiting--;
    } else {
        tw->nrunning--;
        counter_sub(&w->stats[STAT_TLS_HANDSHAKES_NOW], 1);
    }
    t->in_slot = SLOT_NONE;
    wake_waiting(w);
}

static void run_slot(struct tls_conn *t)
{
    struct worker *w = t->c->w;
    struct tls_worker *tw = w->tls;
    if (t->in_slot == SLOT_WAITING) {
        list_remove(&t->slot);
        tw->nwaiting--;
    }
    t->in_slot = SLOT_RUNNING;
    t->slot_ms = w->now_ms;
    list_append(&tw->running, &t->slot);
    tw->nrunning++;
    counter_inc(&w->stats[STAT_TLS_HANDSHAKES_NOW]);
    wake_waiting(w);
}

/* The one that has been under way longest makes room if it has stalled. */
static void evict_stalled(struct worker *w)
{
    struct tls_conn *oldest = list_entry(w->tls->running.next, struct tls_conn, slot);
    if (oldest->evicted || oldest->slot_ms + STALLED_MS > w->now_ms)
        return;
    oldest->evicted = true;
    conn_resume_later(oldest->c);
}

/* IO_OK: it may go on. IO_ERROR: too many wait already. */
static enum io take_slot(struct tls_conn *t)
{
    struct worker *w = t->c->w;
    struct tls_worker *tw = w->tls;
    uint32_t limit = w->set->limit_handshakes;
    if (t->in_slot == SLOT_RUNNING)
        return IO_OK;
    bool first = list_empty(&tw->waiting) || tw->waiting.next == &t->slot;
    if (tw->nrunning < limit && first) {
        run_slot(t);
        return IO_OK;
    }
    if (!list_empty(&tw->running))
        evict_stalled(w);
    if (t->in_slot == SLOT_WAITING)
        return IO_AGAIN;
    if (tw->nwaiting >= WAITING_MAX * limit)
        return IO_ERROR;
    t->in_slot = SLOT_WAITING;
    list_append(&tw->waiting, &t->slot);
    tw->nwaiting++;
    return IO_AGAIN;
}

/* ---- handshake: the steps ---- */

static enum io failed(struct tls_conn *t, enum tls_failure why, enum tls_failure *ret,
    struct err *text, const char *words)
{
    if (words)
        err_set(text, -EPROTO, "%s", words);
    *ret = why;
    t->broken = true;
    leave_slot(t);
    return IO_ERROR;
}

/* The first bytes, left where they are: nothing is kept of a client that sent no whole record.
 * IO_OK: there is one. */
static enum io peek_hello(struct tls_conn *t, enum tls_failure *why, struct err *text)
{
    struct conn *c = t->c;
    unsigned char head[HELLO_HEAD];
    if (buf_len(&t->raw_in)) /* it came with what was before it */
        return IO_OK;
    if (!conn_may_read(c))
        return IO_AGAIN;
    ssize_t n = recv(c->fd, head, sizeof head, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        c->readable = c->unsure = false;
        return IO_AGAIN;
    }
    if (n <= 0)
        return failed(t, TLS_FAIL_CLOSED, why, text, "the client closed the connection");
    if (head[0] >= 'A' && head[0] <= 'Z')
        return failed(t, TLS_FAIL_HTTP, why, text, "a plain HTTP request");
    if (head[0] != 0x16 || (n > 1 && head[1] != 3))
        return failed(t, TLS_FAIL_NOT_TLS, why, text, "not a TLS handshake");
    int here = 0;
    int size = n == HELLO_HEAD ? head[3] << 8 | head[4] : 0;
    if (size > (int)(RECORD_MAX + RECORD_MORE))
        return failed(t, TLS_FAIL_NOT_TLS, why, text, "not a TLS handshake");
    bool whole = n == HELLO_HEAD && ioctl(c->fd, FIONREAD, &here) == 0 && here >= HELLO_HEAD + size;
    if (whole)
        return IO_OK;
    if (c->hup)
        return failed(t, TLS_FAIL_CLOSED, why, text, "the client closed the connection");
    c->readable = c->unsure = false;
    return IO_AGAIN;
}

static bool open_server(struct tls_conn *t)
{
    t->ssl = tls_server_open(t->server);
    return t->ssl && attach(t);
}

static uint64_t clock_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* One call, on the turn's account. */
static int step(struct tls_conn *t)
{
    struct tls_worker *tw = t->c->w->tls;
    uint64_t before = clock_us();
    t->starved = false;
    ERR_clear_error();
    int rc = SSL_do_handshake(t->ssl);
    tw->spent_us += clock_us() - before;
    return rc;
}

static bool turn_is_over(const struct worker *w)
{
    struct tls_worker *tw = w->tls;
    if (tw->turn != w->turn) {
        tw->turn = w->turn;
        tw->spent_us = 0;
    }
    return tw->spent_us >= TURN_US;
}

static enum io finished(struct tls_conn *t, enum tls_failure *why, struct err *text)
{
    t->open = true;
    leave_slot(t);
    if (t->server) {
        tls_server_opened(t->ssl);
        int rc = tls_subjects_of(t->ssl, &t->subjects);
        if (rc == -EACCES)
            return failed(t, TLS_FAIL_EXPIRED, why, text, "the client's certificate has expired");
        if (rc)
            return failed(t, TLS_FAIL_NO_MEMORY, why, text, "out of memory");
    }
    if (buf_len(&t->raw_in))
        t->c->readable = true;
    return IO_OK;
}

static enum io run(struct tls_conn *t, enum tls_failure *why, struct err *text)
{
    struct conn *c = t->c;
    for (;;) {
        if (turn_is_over(c->w)) {
            conn_resume_later(c);
            return IO_AGAIN;
        }
        int rc = step(t);
        enum io io = flush(t);
        if (rc == 1)
            return finished(t, why, text);
        bool reading = SSL_want_read(t->ssl), writing = SSL_want_write(t->ssl);
        if (!reading && !writing) {
            enum tls_failure f = tls_why(t->ssl, ERR_peek_error(), text);
            ERR_clear_error();
            return failed(t, f, why, text, NULL);
        }
        if (io == IO_OK && reading && t->starved)
            io = fill(t);
        if (io == IO_AGAIN)
            return io;
        if (io == IO_NO_MEMORY)
            return failed(t, TLS_FAIL_NO_MEMORY, why, text, "out of memory");
        if (io != IO_OK)
            return failed(t, tls_why(t->ssl, 0, text), why, text, NULL);
    }
}

enum io tls_conn_handshake(struct conn *c, enum tls_failure *why, struct err *text)
{
    struct tls_conn *t = of(c);
    if (t->evicted)
        return failed(t, TLS_FAIL_BUSY, why, text, "stalled while others wait");
    if (t->server && !t->ssl) {
        enum io io = peek_hello(t, why, text);
        if (io == IO_OK)
            io = take_slot(t);
        else
            return io;
        if (io == IO_ERROR)
            return failed(t, TLS_FAIL_BUSY, why, text, "limits.handshakes is reached");
        if (io != IO_OK)
            return io;
        if (!open_server(t))
            return failed(t, TLS_FAIL_NO_MEMORY, why, text, "out of memory");
    }
    enum io io = run(t, why, text);
    if (buf_len(&t->raw_in) == 0)
        buf_drop(&t->raw_in, &c->w->bufs);
    return io;
}

/* ---- life ---- */

void tls_conn_shut(struct conn *c)
{
    struct tls_conn *t = of(c);
    if (!t->open || t->broken || buf_len(&t->raw_out) || buf_len(&c->out) ||
        (SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN))
        return;
    SSL_shutdown(t->ssl);
    ERR_clear_error();
    flush(t);
}

static void detach(struct tls_conn *t)
{
    struct bufpool *pool = &t->c->w->bufs;
    leave_slot(t);
    buf_drop(&t->raw_in, pool);
    buf_drop(&t->raw_out, pool);
    SSL_free(t->ssl);
    tls_server_unref(t->server);
    mem_free(t->subjects);
    t->c->ops = NULL;
    t->c->transport = NULL;
    mem_free(t);
}

static void tls_close(struct conn *c, bool reset)
{
    if (!reset)
        tls_conn_shut(c);
    detach(of(c));
}

static const struct conn_ops tls_ops = {tls_read, tls_write, tls_close, false};

static struct tls_conn *new_conn(struct conn *c)
{
    struct tls_conn *t = mem_zalloc(sizeof *t);
    if (!t)
        return NULL;
    t->c = c;
    list_init(&t->slot);
    t->raw_in = c->in;
    c->in = (struct buf){0};
    c->ops = &tls_ops;
    c->transport = t;
    return t;
}

int tls_conn_accept(struct conn *c, struct tls_server *server)
{
    struct tls_conn *t = new_conn(c);
    if (!t)
        return -ENOMEM;
    t->server = tls_server_ref(server);
    return 0;
}

int tls_conn_connect(struct conn *c, SSL *ssl)
{
    struct tls_conn *t = new_conn(c);
    if (!t) {
        SSL_free(ssl);
        return -ENOMEM;
    }
    t->ssl = ssl;
    return attach(t) ? 0 : -ENOMEM;
}

void tls_conn_forget(struct conn *c)
{
    struct tls_conn *t = of(c);
    assert(!t->ssl);
    detach(t);
    c->readable = true;
}

bool tls_conn_is(const struct conn *c)
{
    return c->ops == &tls_ops;
}

bool tls_conn_h2(const struct conn *c)
{
    return tls_speaks_h2(of(c)->ssl);
}

bool tls_conn_resumed(const struct conn *c)
{
    return SSL_session_reused(of(c)->ssl);
}

const SSL *tls_conn_ssl(const struct conn *c)
{
    return of(c)->ssl;
}

const struct tls_subjects *tls_conn_subjects(const struct conn *c)
{
    return tls_conn_is(c) ? of(c)->subjects : NULL;
}
