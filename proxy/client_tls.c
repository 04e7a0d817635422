/* A client's TLS handshake, which comes before its first request. */
#include "lib/base/log.h"
#include "proxy/client.h"
#include "proxy/stages.h"
#include "proxy/tls.h"
#include "proxy/tls_conn.h"
#include "proxy/worker.h"

#define LINES_A_SECOND 10u
#define LOOK_MS        1000u /* whether one that waits for its turn may go on */

void tls_log(struct worker *w, const char *who, enum tls_failure why, const struct err *text)
{
    if (w->tls_log.second != w->now_s) {
        if (w->tls_log.unsaid)
            log_info("TLS: %u more failures were not logged", w->tls_log.unsaid);
        w->tls_log.second = w->now_s;
        w->tls_log.said = w->tls_log.unsaid = 0;
    }
    enum log_level level = why == TLS_FAIL_CLOSED ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
    if (log_get_level() < level)
        return;
    if (w->tls_log.said >= LINES_A_SECOND) {
        w->tls_log.unsaid++;
        return;
    }
    w->tls_log.said++;
    log_msg(level, "TLS with %s failed (%s): %s", who, tls_failure_word(why), text->text);
}

static void failed(struct client *c, enum tls_failure why, const struct err *text)
{
    struct worker *w = c->conn.w;
    struct addr peer;
    char who[ADDR_TEXT_MAX];
    client_peer(c, &peer);
    peer.port = c->peer_port;
    addr_format(&peer, who);
    counter_inc(&w->stats[STAT_TLS_FAILURES + why]);
    tls_log(w, who, why, text);
}

/* At the end of its time, and now and then before. */
static void look_later(struct client *c)
{
    struct worker *w = c->conn.w;
    uint64_t end = c->since_ms + w->set->timeout_handshake, look = w->now_ms + LOOK_MS;
    worker_timer(w, &c->timer, end < look ? end : look);
}

bool client_tls_begin(struct client *c)
{
    struct worker *w = c->conn.w;
    c->tls = true;
    c->phase = CLIENT_TLS;
    if (tls_conn_accept(&c->conn, c->listener->tls) != 0) {
        client_close(c, CLIENT_CLOSE_NO_MEMORY, false);
        return false;
    }
    c->since_ms = w->now_ms;
    look_later(c);
    return true;
}

/* Whoever speaks HTTP here meant well: they are told, in the protocol that they speak. */
static void answer_plain(struct client *c)
{
    tls_conn_forget(&c->conn);
    c->tls = false;
    c->refuse = c->plain = true;
    c->phase = CLIENT_NEW;
    client_on_ready(&c->conn);
}

static void open_for_requests(struct client *c)
{
    struct worker *w = c->conn.w;
    counter_inc(&w->stats[tls_conn_resumed(&c->conn) ? STAT_TLS_RESUMED : STAT_TLS_HANDSHAKES]);
    c->tls_us = (uint32_t)(w->now_us - c->conn.opened_us) | 1;
    stages_count_tls(w, c->tls_us);
    c->subjects = tls_conn_subjects(&c->conn);
    c->agreed_h2 = tls_conn_h2(&c->conn);
    c->phase = CLIENT_NEW;
    c->since_ms = w->now_ms;
    worker_timer(w, &c->timer, w->now_ms + w->set->timeout_idle);
    client_on_ready(&c->conn); /* when draining too: its first request is on its way */
}

void client_tls_ready(struct client *c)
{
    enum tls_failure why = TLS_FAIL_CLOSED;
    struct err text = {0};
    enum io io = tls_conn_handshake(&c->conn, &why, &text);
    if (io == IO_AGAIN)
        return;
    if (io == IO_OK) {
        open_for_requests(c);
        return;
    }
    failed(c, why, &text);
    if (why == TLS_FAIL_HTTP)
        answer_plain(c);
    else
        client_linger(c, CLIENT_CLOSE_TLS); /* so that the alert arrives */
}

void client_tls_timer(struct client *c)
{
    struct worker *w = c->conn.w;
    uint64_t end = c->since_ms + w->set->timeout_handshake;
    if (end > w->now_ms) {
        conn_resume_later(&c->conn);
        look_later(c);
        return;
    }
    struct err text = {.text = "the handshake took too long"};
    failed(c, TLS_FAIL_TIMEOUT, &text);
    client_close(c, CLIENT_CLOSE_TLS, false);
}
