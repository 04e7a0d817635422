/* Between tls_conn.c, which moves bytes, and tls_handshake.c, which comes before them. */
#ifndef OFFSHOOT_PROXY_TLS_CONN_IMPL_H
#define OFFSHOOT_PROXY_TLS_CONN_IMPL_H

#include "proxy/tls_conn.h"
#include "proxy/worker.h"
#include <assert.h>
#include <openssl/ssl.h>

#define RECORD_MAX  16384u
#define RECORD_MORE 256u /* header, tag and padding of a record, and of one that OpenSSL adds */

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

static inline struct tls_conn *tls_conn_of(const struct conn *c)
{
    struct tls_conn *t = c->transport;
    assert(t->c == c);
    return t;
}

/* Gives t->ssl the raw blocks. */
bool tls_conn_attach(struct tls_conn *t);
/* One recv. IO_OK: there is something in raw_in. */
enum io tls_conn_fill(struct tls_conn *t);
/* Sends raw_out. IO_OK: it is empty. */
enum io tls_conn_flush(struct tls_conn *t);
/* It is done with its handshake, or with waiting for one. */
void tls_conn_leave_slot(struct tls_conn *t);

#endif
