/* Handshakes: whose turn it is, and the steps of one. */
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "proxy/tls_conn_impl.h"
#include <errno.h>
#include <openssl/err.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define TURN_US     2000u /* of handshakes, in one turn */
#define STALLED_MS  1000u /* after which a handshake makes room for others */
#define WAITING_MAX 16u   /* times limits.handshakes that may wait */
#define HELLO_HEAD  5     /* of the first record */

/* ---- whose turn it is ---- */

static void wake_waiting(struct worker *w)
{
    struct tls_worker *tw = w->tls;
    if (!list_empty(&tw->waiting) && tw->nrunning < w->set->limit_handshakes)
        conn_resume_later(list_entry(tw->waiting.next, struct tls_conn, slot)->c);
}

void tls_conn_leave_slot(struct tls_conn *t)
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

/* Those that have been under way longest make room if they have stalled: one for each that waits.
 */
static void evict_stalled(struct worker *w)
{
    uint32_t wanted = w->tls->nwaiting + 1;
    list_for_each (it, &w->tls->running) {
        struct tls_conn *t = list_entry(it, struct tls_conn, slot);
        if (wanted-- == 0 || t->slot_ms + STALLED_MS > w->now_ms)
            return;
        if (!t->evicted)
            conn_resume_later(t->c);
        t->evicted = true;
    }
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

/* ---- the steps ---- */

static enum io failed(struct tls_conn *t, enum tls_failure why, enum tls_failure *ret,
    struct err *text, const char *words)
{
    if (words)
        err_set(text, -EPROTO, "%s", words);
    *ret = why;
    t->broken = true;
    tls_conn_leave_slot(t);
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
    return t->ssl && tls_conn_attach(t);
}

/* One call, on the turn's account. */
static int step(struct tls_conn *t)
{
    struct tls_worker *tw = t->c->w->tls;
    uint64_t before = clock_mono_us();
    t->starved = false;
    ERR_clear_error();
    int rc = SSL_do_handshake(t->ssl);
    tw->spent_us += clock_mono_us() - before;
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
    tls_conn_leave_slot(t);
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
        enum io io = tls_conn_flush(t);
        if (rc == 1)
            return finished(t, why, text);
        /* Not SSL_want: that says reading after a fatal alert too. */
        int error = SSL_get_error(t->ssl, rc);
        bool reading = error == SSL_ERROR_WANT_READ;
        if (!reading && error != SSL_ERROR_WANT_WRITE) {
            enum tls_failure f = tls_why(t->ssl, ERR_peek_error(), text);
            ERR_clear_error();
            return failed(t, f, why, text, NULL);
        }
        if (io == IO_OK && reading && t->starved)
            io = tls_conn_fill(t);
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
    struct tls_conn *t = tls_conn_of(c);
    if (t->evicted)
        return failed(t, TLS_FAIL_BUSY, why, text, "stalled while others wait");
    if (t->server && !t->ssl) {
        enum io io = peek_hello(t, why, text);
        if (io != IO_OK)
            return io;
        io = take_slot(t);
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
