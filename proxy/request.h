/* One request and its way: the state table of the data plane. Read request.c first.
 *
 * A request object is taken from the worker's free list when the first byte of a head arrives and
 * given back when the reply is sent. It owns the block that holds its head: every view (fields,
 * path, authority) points there. The client connection keeps the bytes behind the head. */
#ifndef OFFSHOOT_PROXY_REQUEST_H
#define OFFSHOOT_PROXY_REQUEST_H

#include "lib/base/wheel.h"
#include "lib/graph/decide.h"
#include "lib/wire/h1.h"
#include "lib/wire/h2_head.h"
#include "lib/wire/upgrade.h"
#include "proxy/affinity.h"
#include "proxy/balance.h"
#include "proxy/client.h"
#include "proxy/flow.h"
#include "proxy/provider.h"
#include "proxy/trace.h"

#define REQUEST_MAGIC 0x52455155u
#define TRACE_ID_LEN  32

/* The steps, in order. Names in step_words (request.c). */
enum step {
    STEP_HEAD,    /* collecting the head */
    STEP_DECIDE,  /* context, route, resolve */
    STEP_NAME,    /* choosing an endpoint; waiting for a look-up */
    STEP_CONNECT, /* getting a connection; waiting for one */
    STEP_SEND,    /* head and body to the provider */
    STEP_REPLY,   /* waiting for the reply's head */
    STEP_RELAY,   /* reply body to the client */
    STEP_TUNNEL,  /* two raw flows (tunnel.h) */
    STEP_OWN,     /* a reply of our own to the client */
    STEP_DONE,
    STEP_COUNT,
    STEP_WAIT = STEP_COUNT, /* returned by a step: an event will bring us back */
    STEP_GONE               /* returned by a step: the request is no more */
};
const char *step_word(enum step s);

/* What a request asks for besides an ordinary reply; see tunnel.h. */
enum tunnel { TUNNEL_NONE, TUNNEL_UPGRADE, TUNNEL_CONNECT, TUNNEL_TCP };

struct request {
    uint32_t magic;
    uint8_t step; /* enum step */
    bool holding; /* counts in its snapshot's slot */
    uint8_t slot;
    bool waiting_name, waiting_conn; /* which list `wait` is in */
    bool replied;                    /* the reply's head was made (sent or not) */
    bool keep;                       /* the client connection may go on afterwards */
    bool fresh;                      /* this try must not reuse a connection */
    bool half_closed;                /* the client ended its side after a whole request */
    bool send_failed;                /* the provider takes no more of the request */
    bool trace_made;                 /* no valid traceparent came: we wrote one */
    bool is_explain, is_dark; /* dark: mirrored, kept out of what is counted of users' requests */
    bool http2;               /* spoken to the provider */
    bool is_call;             /* gRPC (grpc_call.h) */
    bool connect_failed;      /* the connection that it waited for could not be made */
    uint8_t bad_head;         /* enum h2_error: an HTTP/2 head was refused */
    bool is_private;    /* a carrier chose the environment: no shared cache may keep the reply */
    uint8_t share;      /* enum share (share.h): answered as a share link */
    uint8_t tunnel;     /* enum tunnel: what it becomes if all goes well */
    bool in_tunnel;     /* it has become one, counted in its gauge */
    bool down_lost;     /* tunnel: the client takes no more */
    bool is_websocket;  /* tunnel: of that protocol */
    bool clean;         /* tunnel: nothing is lost by closing the provider connection */
    uint8_t tunnel_end; /* enum tunnel_end */
    uint8_t offer_len;  /* bytes of offer */
    uint8_t tries;
    uint8_t interim;        /* 1xx passed on */
    uint8_t pace_side;      /* minrate.c: who is measured since pace_ms */
    uint8_t refusal;        /* enum refusal of a reply of our own */
    uint8_t provider_fault; /* enum provider_error + 1 of the last failed try */
    uint8_t client_fault;   /* enum client_close + 1 */
    uint16_t status;        /* sent to the client; 0: none yet */
    uint16_t token_len, hop_len;
    struct client *client;
    struct pconn *pconn;
    struct captured *captured; /* its exchange is told to the agent (capture.h); NULL: not */
    struct provider *provider;
    struct list wait;
    struct timer timer; /* name, connect, reply and stream time-outs */
    uint64_t deadline_ms;
    uint64_t pace_ms, pace_moved, pace_offered;
    uint64_t call_deadline_us; /* of a gRPC call: not later, whatever deadline_ms says; 0: none */
    uint64_t epoch;
    uint64_t pin;         /* stamped on what is sent to the provider; 0: none */
    uint64_t trace_order; /* own place among the trace's records; 0: it had no room */
    /* Worker's clock, us; 0: not reached. t_accept: of the connection, for its first request. */
    uint64_t t_accept, t_start, t_head, t_decided, t_connected, t_reply, t_own;
    const struct snapshot *snapshot; /* valid while `holding` */
    uint32_t tried[BALANCE_TRIED];   /* addresses, by hash */
    uint8_t ntried;
    uint8_t balance; /* enum balance */
    bool budgeted;   /* counts in the requests of its endpoint's budget */
    struct affinity_pick affinity;
    uint64_t name_hash; /* of the name that the endpoint is; 0: it is an address */
    uint64_t try_ms;    /* when this try began */
    uint64_t ends_ms;   /* its environment is gone: not later than this (removed.h); 0: it is not */
    uint32_t try_timeout_ms, retry_after_s;
    uint32_t reply_timeout_ms, connect_timeout_ms, retries_max, retry_percent;
    uint32_t stream_timeout_ms; /* while bodies flow: without a byte moved */
    uint32_t tunnel_timeout_ms; /* the same of a tunnel */
    uint32_t limit_place;       /* where its environment is counted (ratelimit.h); 0: nowhere */
    struct addr endpoint;       /* chosen; name points into the snapshot */
    struct str service;         /* names in the snapshot; copied to `names` when it is let go */
    struct str provider_env;
    struct str vary;          /* the gateway's, at an untrusted listener; in the snapshot */
    struct str allow_headers; /* names taken out of a preflight; in scratch */
    struct buf head_block;    /* owns the head's bytes; scratch behind them */
    struct str request_id;    /* passed or made; empty: none */
    struct buf replay;        /* raw request body kept for a retry */
    char *kept;               /* tunnel: owns the words of the head once its block is given back */
    struct answer answer;
    struct flow down; /* provider to client */

    /* From here on nothing is cleared for a new request: each is written before it is read. */
    struct worker *w;
    struct request *next_free;
    struct flow up; /* client to provider; set up with the head */
    struct scratch scratch;
    struct h1_parser parser, reply_parser;
    struct h1_head head; /* size 0: not parsed yet */
    struct h1_head reply;
    struct ask ask;
    char trace_id[TRACE_ID_LEN];
    char made_id[32];
    char token[TOKEN_MAX];
    char hop[TRACE_RECORD_MAX];    /* own hop record, when is_explain */
    char offer[UPGRADE_OFFER_MAX]; /* protocols of an upgrade that are passed on */
    char names[3 * 64];   /* service, environment and provider names once the snapshot is gone */
    struct field *fields; /* limits.fields of the request; owned, NULL in a tunnel */
    struct field *reply_fields; /* for reply heads and trailers: as many, and ACTION_HEADERS_MAX */
    struct field *trailer_fields; /* as many, for the request's trailers */
};

/* NULL when memory is out. */
struct request *request_new(struct client *c);
/* Of an HTTP/2 stream whose head was refused, instead of request_run. */
void request_run_bad(struct request *r, enum h2_error why);
/* Takes steps until one must wait. The request may be gone afterwards. */
void request_run(struct request *r);
/* The client connection breaks or is shut: gives everything back, the provider connection is
 * closed. Does not touch the client. */
void request_abandon(struct request *r);
/* Lets the snapshot go, names copied first. Idempotent. */
void request_drop_snapshot(struct request *r);
/* The head is of no use any more. Idempotent. */
void request_drop_head(struct request *r);
/* Free list at the end of a worker. */
void requests_release(struct worker *w);

/* Something happened on the client's socket while the request is past its head and whole: notices
 * a reset (the request and the client are then gone: false) and a half-close. */
bool request_client_alive(struct request *r);

/* The hop record of this passage, kept for `trace` and for the reply's x-offshoot-route
 * (trace_hop.c). */
void trace_hop(struct request *r);

/* Used by the step functions' files. */
/* The try at the provider failed so: counted, and told in the log and the refusal. */
void request_provider_fault(struct request *r, enum provider_error why);
/* The reply's head is about to be made: under overload the client connection ends behind it. */
void request_spare_keep_alive(struct request *r);
/* Each of these makes the next step. */
enum step request_refuse(struct request *r, enum refusal why);
/* Closes the connection; the next endpoint if retries allow, else the refusal `word`. */
enum step request_try_failed(struct request *r, enum provider_error why, enum refusal word);
/* The provider had closed the connection that was reused: a new one, to another endpoint in case it
 * is going down; where requests are bound to their endpoint, to the same. */
enum step request_stale(struct request *r);
/* Nothing was processed, and the request's body is as it came: tries another endpoint. STEP_COUNT:
 * the retries or their budget are used up. */
enum step request_say_again(struct request *r);
/* The client connection is closed so that nobody takes what was sent for a whole reply. */
enum step request_abort(struct request *r, enum client_close why);
/* Timer of the request, lazily: moved later without touching the wheel. */
void request_deadline(struct request *r, uint64_t deadline_ms);

/* A connection of the client that carries no HTTP: begins with STEP_DECIDE. name: what it gave as
 * the server's, copied; may be empty. NULL when memory is out. */
struct request *request_new_tcp(struct client *c, struct str name);

/* The steps towards the provider (request_send.c) and back (request_reply.c). */
enum step request_step_name(struct request *r);
enum step request_step_connect(struct request *r);
enum step request_step_send(struct request *r);
enum step request_step_reply(struct request *r);
enum step request_step_relay(struct request *r);
/* The request's body from its start; trailers pass when they are declared and TE allows. */
void request_init_up(struct request *r);
/* One pump of the request's body; STEP_COUNT: go on, else the step that follows a fault. */
enum step request_pump_up(struct request *r);
/* What a time-out means in the current step. */
void request_on_timer(struct timer *t);

#endif
