#include "proxy/tls_conn.h"
#include "lib/base/mem.h"
#include "proxy/tls_conn_impl.h"
#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

#define PIECE_MIN 4096u /* less room than this: what is here goes out first */
#define ODD_MAX   64u   /* handshake messages on an open connection */

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

bool tls_conn_attach(struct tls_conn *t)
{
    BIO *b = BIO_new(t->c->w->tls->bio);
    if (!b)
        return false;
    BIO_set_data(b, t);
    SSL_set_bio(t->ssl, b, b); /* takes it; one reference for both */
    return true;
}

/* ---- the raw blocks ---- */

enum io tls_conn_fill(struct tls_conn *t)
{
    struct conn *c = t->c;
    struct worker *w = c->w;
    if (!conn_may_read(c))
        return IO_AGAIN;
    if (buf_hold(&t->raw_in, &w->bufs) != 0) {
        counter_inc(&w->stats[STAT_BUFFERS_REFUSED]);
        return IO_NO_MEMORY;
    }
    enum io io = conn_recv(c, &t->raw_in, buf_space(&t->raw_in));
    if (io != IO_OK)
        buf_drop(&t->raw_in, &w->bufs);
    return io;
}

enum io tls_conn_flush(struct tls_conn *t)
{
    struct conn *c = t->c;
    while (buf_len(&t->raw_out)) {
        if (!c->writable)
            return IO_AGAIN;
        uint32_t all = buf_len(&t->raw_out);
        ssize_t n = send(c->fd, buf_head(&t->raw_out), all, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        enum io io = conn_sent(c, n, all);
        if (io != IO_OK)
            return io;
        buf_consume(&t->raw_out, (uint32_t)n);
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
    tls_conn_flush(t); /* the alert */
    return IO_ERROR;
}

/* SSL_read gave n, nothing. IO_OK: try again. */
static enum io nothing_read(struct tls_conn *t, int n)
{
    struct conn *c = t->c;
    if (t->starved) {
        enum io io = tls_conn_fill(t);
        if (io == IO_EOF) /* without close_notify */
            return break_off(t, TLS_FAIL_CLOSED);
        return io;
    }
    if (SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN) {
        c->eof = true;
        c->readable = c->unsure = false;
        return IO_EOF;
    }
    if (SSL_get_error(t->ssl, n) != SSL_ERROR_WANT_READ)
        return break_off(t, tls_why(t->ssl, ERR_peek_error(), NULL));
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
        t->starved = false;
        int n = SSL_read(t->ssl, buf_tail(&c->in), (int)space);
        if (n > 0) {
            c->in.end += (uint32_t)n;
            if ((uint32_t)n < space && buf_len(&t->raw_in) == 0)
                break;
            continue;
        }
        bool got = buf_len(&c->in) > before;
        if (got && t->starved)
            break; /* half a record */
        if (got && SSL_get_error(t->ssl, n) != SSL_ERROR_WANT_READ) {
            c->readable = t->late = true; /* the end or the fault is told next time */
            return IO_OK;
        }
        enum io io = nothing_read(t, n);
        if (io != IO_OK)
            return io;
    }
    if (buf_len(&t->raw_in) || SSL_pending(t->ssl) > 0)
        c->readable = true;
    return IO_OK;
}

static enum io tls_read(struct conn *c)
{
    struct tls_conn *t = tls_conn_of(c);
    struct bufpool *pool = &c->w->bufs;
    if (c->eof)
        return IO_EOF;
    if (t->broken || (buf_len(&t->raw_out) && tls_conn_flush(t) == IO_ERROR))
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
    enum io io =
        buf_len(&t->raw_in) || SSL_pending(t->ssl) > 0 || t->late ? IO_OK : tls_conn_fill(t);
    if (io == IO_EOF)
        io = break_off(t, TLS_FAIL_CLOSED);
    if (io == IO_OK)
        io = decrypt(t);
    if (buf_len(&t->raw_in) == 0)
        buf_drop(&t->raw_in, pool);
    if (buf_len(&t->raw_out) && io != IO_ERROR)
        tls_conn_flush(t); /* an answer to what was read */
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
    struct tls_conn *t = tls_conn_of(c);
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
            if (buf_hold(&t->raw_out, &c->w->bufs) != 0) {
                counter_inc(&c->w->stats[STAT_BUFFERS_REFUSED]);
                return break_off(t, TLS_FAIL_NO_MEMORY); /* who writes expects no such thing */
            }
            if (!encrypt(t, span, room))
                return break_off(t, TLS_FAIL_PROTOCOL);
        }
        enum io io = tls_conn_flush(t);
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

/* ---- life ---- */

/* close_notify, once everything before it has left. */
static void tls_end(struct conn *c)
{
    struct tls_conn *t = tls_conn_of(c);
    if (!t->open || t->broken || buf_len(&t->raw_out) || buf_len(&c->out) ||
        (SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN))
        return;
    SSL_shutdown(t->ssl);
    ERR_clear_error();
    tls_conn_flush(t);
}

static void detach(struct tls_conn *t)
{
    struct bufpool *pool = &t->c->w->bufs;
    tls_conn_leave_slot(t);
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
        tls_end(c);
    detach(tls_conn_of(c));
}

static const struct conn_ops tls_ops = {tls_read, tls_write, tls_close, tls_end, false};

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
    return tls_conn_attach(t) ? 0 : -ENOMEM;
}

void tls_conn_forget(struct conn *c)
{
    struct tls_conn *t = tls_conn_of(c);
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
    return tls_speaks_h2(tls_conn_of(c)->ssl);
}

bool tls_conn_resumed(const struct conn *c)
{
    return SSL_session_reused(tls_conn_of(c)->ssl);
}

const struct tls_subjects *tls_conn_subjects(const struct conn *c)
{
    return tls_conn_is(c) ? tls_conn_of(c)->subjects : NULL;
}
