/* Runs whole messages through the HTTP/1 codec as a connection would, in pieces of any size, and
 * renders what came out as text, so that two ways of feeding are compared with one strcmp. */
#ifndef OFFSHOOT_TESTS_H1_RUN_H
#define OFFSHOOT_TESTS_H1_RUN_H

#include "lib/wire/h1.h"
#include <stdarg.h>
#include <stdio.h>

enum { RUN_FIELDS = 100, RUN_TEXT = 65536 };

struct run {
    /* Set by the caller. */
    bool reply;
    enum h1_method request_method; /* what a reply answers */
    struct h1_limits limits;
    /* Results. */
    enum h1_status status; /* H1_DONE: head and body were complete; H1_MORE: they were not */
    enum h1_error error;
    struct h1_head head; /* when head_done */
    bool head_done;
    bool eof_ends; /* what h1_body_eof said at the end of the bytes */
    uint32_t rest; /* bytes after the message */
    uint64_t content;
    struct field fields[RUN_FIELDS];
    struct field trailers[RUN_FIELDS];
    uint16_t ntrailers;
    size_t text_len;
    char text[RUN_TEXT];
};

#define RUN_INIT(is_reply)                                                                         \
    {                                                                                              \
        .reply = (is_reply), .request_method = H1_GET, .limits = H1_LIMITS_DEFAULT                 \
    }

__attribute__((format(printf, 2, 3))) static inline void run_say(
    struct run *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(r->text + r->text_len, sizeof(r->text) - r->text_len, fmt, ap);
    va_end(ap);
    if (n > 0)
        r->text_len += (size_t)n;
    if (r->text_len >= sizeof(r->text))
        r->text_len = sizeof(r->text) - 1;
}

static inline void run_say_bytes(struct run *r, const char *p, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n && r->text_len + 5 < sizeof(r->text); i++) {
        unsigned char c = (unsigned char)p[i];
        if (c >= ' ' && c < 0x7f) {
            r->text[r->text_len++] = (char)c;
        } else {
            const char escaped[] = {'\\', 'x', hex[c >> 4], hex[c & 15]};
            memcpy(r->text + r->text_len, escaped, sizeof(escaped));
            r->text_len += sizeof(escaped);
        }
    }
    r->text[r->text_len] = '\0';
}

static inline void run_say_str(struct run *r, const char *label, struct str s)
{
    run_say(r, " %s=", label);
    run_say_bytes(r, s.p, s.n);
}

static inline void run_say_fields(struct run *r, const struct field *f, unsigned n)
{
    for (; n > 0; n--, f++) {
        run_say(r, "\n  %u/%u ", f->id, f->flags);
        run_say_bytes(r, f->name, f->name_len);
        run_say(r, ": ");
        run_say_bytes(r, f->value, f->value_len);
    }
}

static inline void run_say_head(struct run *r)
{
    const struct h1_head *h = &r->head;
    run_say(r, "1.%u framing=%u length=%llu/%d keep=%d upgrade=%d expect=%d/%d te=%d", h->minor,
        h->framing, (unsigned long long)h->length, h->has_length, h->keep_alive, h->upgrade,
        h->expect_continue, h->expect_other, h->te_trailers);
    run_say(r, " size=%u status=%u id=%u form=%u", h->size, h->status, h->method_id, h->form);
    run_say_str(r, "method", h->method);
    run_say_str(r, "target", h->target);
    run_say_str(r, "path", h->path);
    run_say_str(r, "authority", h->authority);
    run_say_str(r, "reason", h->reason);
    run_say_fields(r, h->fields, h->nfields);
    run_say(r, "\ncontent: ");
}

static inline void run_fail(struct run *r, unsigned error)
{
    r->status = H1_ERROR;
    r->error = (enum h1_error)error;
    run_say(r, "\nerror %s", h1_error_word(r->error));
}

/* data[0..have) has arrived, *at of it is used. False: the message is over, well or not. */
static inline bool run_body(
    struct run *r, struct h1_body *b, char *data, uint32_t have, uint32_t *at)
{
    for (;;) {
        uint32_t used = 0;
        struct str span = {NULL, 0};
        r->status =
            h1_body_feed(b, data + *at, have - *at, &used, &span, r->trailers, &r->ntrailers);
        if (r->status == H1_ERROR) {
            run_fail(r, b->error);
            return false;
        }
        *at += used;
        if (r->status == H1_DATA) {
            run_say_bytes(r, span.p, span.n);
            r->content += span.n;
        }
        if (r->status == H1_DONE) {
            run_say_fields(r, r->trailers, r->ntrailers);
            return false;
        }
        if (r->status == H1_MORE)
            return true;
    }
}

/* data[0..n) arrives up to each of cuts[0..ncuts) (ascending), then as a whole. data is changed
 * (names are lowered), fields of r point into it. */
static inline void run_cuts(
    struct run *r, char *data, uint32_t n, const uint32_t *cuts, unsigned ncuts)
{
    struct h1_parser p;
    struct h1_body b = {0};
    uint32_t at = 0;
    bool going = true;
    r->text_len = 0;
    r->content = 0;
    r->head_done = false;
    r->error = H1_OK;
    r->ntrailers = 0;
    h1_parser_reset(&p, &r->limits, r->fields);
    for (unsigned i = 0; i <= ncuts && going; i++) {
        uint32_t have = i < ncuts ? cuts[i] : n;
        if (!r->head_done) {
            r->status = r->reply ? h1_reply(&p, data, have, r->request_method, &r->head)
                                 : h1_request(&p, data, have, &r->head);
            if (r->status == H1_ERROR) {
                run_fail(r, p.error);
                return;
            }
            if (r->status == H1_MORE)
                continue;
            r->head_done = true;
            at = r->head.size;
            h1_body_init(&b, &r->head, &r->limits);
            run_say_head(r);
        }
        going = run_body(r, &b, data, have, &at);
    }
    if (r->status == H1_ERROR)
        return;
    r->rest = n - at;
    r->eof_ends = r->head_done && h1_body_eof(&b);
    run_say(r, "\n%s eof=%d rest=%u", r->status == H1_DONE ? "done" : "more", r->eof_ends, r->rest);
}

static inline void run_whole(struct run *r, char *data, uint32_t n)
{
    run_cuts(r, data, n, &n, 0);
}

#endif
