/* Two ends of gRPC back to back, each with a log of what it was told. */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_GRPC_PAIR_H
#define OFFSHOOT_TESTS_UNIT_WIRE_GRPC_PAIR_H

#include "lib/wire/grpc.h"
#include "tests/unit/unit.h"
#include <errno.h>

#define END_MAGIC 0x456e6421u

/* One end. The log is text: "call /s/M; message hello; half; end OK 'text'; ". */
struct end {
    uint32_t magic;
    struct grpc_session *s;
    struct grpc_stream *last; /* the call seen or made last; NULL once it ended */
    char log[4096];
    size_t log_n;
    unsigned owed, ended, messages, drained;
    unsigned refuse; /* on_call answers this */
    const char *refuse_text;
    bool echo;        /* messages go back */
    bool cancel_next; /* on_message cancels */
    bool finish_half; /* on_half_close finishes with OK */
    size_t largest;   /* message */
};

static inline struct end *end_of(void *arg)
{
    struct end *x = arg;
    assert_int_equal(x->magic, END_MAGIC);
    return x;
}

__attribute__((format(printf, 2, 3))) static inline void note(struct end *x, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(x->log + x->log_n, sizeof(x->log) - x->log_n, fmt, ap);
    va_end(ap);
    if (n > 0 && x->log_n + (size_t)n < sizeof(x->log))
        x->log_n += (size_t)n;
}

static inline unsigned pair_on_call(
    struct grpc_stream *st, struct str path, const char **ret_text, void *arg)
{
    struct end *x = end_of(arg);
    note(x, "call %.*s; ", STR_ARG(path));
    if (x->refuse_text)
        *ret_text = x->refuse_text;
    if (x->refuse == GRPC_OK) {
        x->owed++;
        x->last = st;
    }
    return x->refuse;
}

static inline void pair_on_message(struct grpc_stream *st, struct str message, void *arg)
{
    struct end *x = end_of(arg);
    x->messages++;
    if (message.n > x->largest)
        x->largest = message.n;
    if (message.n <= 64)
        note(x, "message %.*s; ", STR_ARG(message));
    else
        note(x, "message of %zu; ", message.n);
    if (x->cancel_next)
        grpc_cancel(st);
    else if (x->echo)
        grpc_send(st, message);
}

static inline void pair_on_half_close(struct grpc_stream *st, void *arg)
{
    struct end *x = end_of(arg);
    note(x, "half; ");
    if (x->finish_half)
        grpc_finish(st, GRPC_OK, STR(""));
}

static inline void pair_on_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    struct end *x = end_of(arg);
    x->ended++;
    if (x->last == st)
        x->last = NULL;
    note(x, "end %s '%.*s'; ", grpc_status_word(status), STR_ARG(text));
    assert_int_equal(grpc_send(st, STR("late")), -EPIPE);
    grpc_cancel(st);
}

static inline void pair_on_drained(struct grpc_stream *st, void *arg)
{
    (void)st;
    end_of(arg)->drained++;
}

static inline struct end end_new(bool server, const struct grpc_limits *limits, struct end *at)
{
    static const struct grpc_limits usual = GRPC_LIMITS_DEFAULT;
    static const struct grpc_events events = {
        pair_on_call, pair_on_message, pair_on_half_close, pair_on_end, pair_on_drained};
    return (struct end){
        .magic = END_MAGIC, .s = grpc_session_new(server, limits ? limits : &usual, &events, at)};
}

/* Frees; every call must have ended once. */
static inline void end_free(struct end *x)
{
    grpc_session_free(x->s);
    x->s = NULL;
    assert_int_equal(x->ended, x->owed);
}

/* Everything that one end has to say, to the other. piece: bytes at a time, 0: as they come.
 * Returns the bytes moved. */
static inline size_t move(struct end *from, struct end *to, size_t piece)
{
    const uint8_t *p;
    ssize_t n;
    size_t moved = 0;
    while ((n = grpc_session_produce(from->s, &p)) > 0) {
        moved += (size_t)n;
        for (size_t at = 0, some; at < (size_t)n; at += some) {
            some = piece && piece < (size_t)n - at ? piece : (size_t)n - at;
            grpc_session_feed(to->s, str_of((const char *)p + at, some), NULL);
        }
    }
    return moved;
}

struct pair {
    struct end client, server;
};

static inline void pair_open(struct pair *p, const struct grpc_limits *limits)
{
    p->client = end_new(false, limits, &p->client);
    p->server = end_new(true, limits, &p->server);
}

static inline void pair_run_by(struct pair *p, size_t piece)
{
    while (move(&p->client, &p->server, piece) + move(&p->server, &p->client, piece))
        ;
}

static inline void pair_run(struct pair *p)
{
    pair_run_by(p, 0);
}

static inline void pair_close(struct pair *p)
{
    end_free(&p->client);
    end_free(&p->server);
}

static inline struct grpc_stream *end_call(struct end *x)
{
    x->last = grpc_call(x->s, STR("localhost"), STR("/test.Echo/Say"));
    if (x->last)
        x->owed++;
    return x->last;
}

/* The log so far, which begins anew. */
static inline void assert_log(struct end *x, const char *want)
{
    assert_str(str_of(x->log, x->log_n), want);
    x->log_n = 0;
}

#endif
