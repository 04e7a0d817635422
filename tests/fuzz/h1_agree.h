/* Shared by the HTTP/1 fuzz targets: a message fed whole and fed in pieces, with cuts drawn from
 * its own bytes, must come to the same; and what was accepted is read the same way again when it
 * is written out from its parsed form, as the proxy does. */
#ifndef OFFSHOOT_TESTS_FUZZ_H1_AGREE_H
#define OFFSHOOT_TESTS_FUZZ_H1_AGREE_H

#include "tests/fuzz/fuzz.h"
#include "tests/unit/wire/h1_run.h"
#include <stdlib.h>

enum { AGREE_BYTES = 16384, AGREE_CUTS = 64 };

static inline uint64_t agree_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Ascending cuts in [0, n], many small steps near each other. */
static inline unsigned agree_cuts(const uint8_t *data, uint32_t n, uint32_t cuts[AGREE_CUTS])
{
    uint64_t seed = UINT64_C(0x9e3779b97f4a7c15) + n;
    for (uint32_t i = 0; i < n; i++)
        seed = (seed ^ data[i]) * UINT64_C(0x100000001b3);
    seed |= 1;
    unsigned ncuts = 0;
    for (uint32_t at = 0; ncuts < AGREE_CUTS && at < n; ncuts++) {
        uint64_t draw = agree_next(&seed);
        at += (uint32_t)(draw & 3 ? draw >> 8 & 7 : draw >> 8 & 127);
        cuts[ncuts] = at < n ? at : n;
    }
    return ncuts;
}

/* Runs data whole into *whole (views into memory that the caller frees through *ret_bytes) and in
 * pieces. */
static inline void agree_run(struct run *whole, const uint8_t *data, uint32_t n, char **ret_bytes)
{
    static struct run cut;
    uint32_t cuts[AGREE_CUTS] = {0};
    char *a = malloc(n ? n : 1), *b = malloc(n ? n : 1);
    demand(a && b);
    memcpy(a, data, n);
    memcpy(b, data, n);
    run_whole(whole, a, n);
    cut.reply = whole->reply;
    cut.request_method = whole->request_method;
    cut.limits = whole->limits;
    run_cuts(&cut, b, n, cuts, agree_cuts(data, n, cuts));
    demand(strcmp(whole->text, cut.text) == 0);
    demand(memcmp(a, b, n) == 0);
    free(b);
    *ret_bytes = a;
}

static inline void agree_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        demand(((unsigned char)s.p[i] >= ' ' || s.p[i] == '\t') && s.p[i] != 0x7f);
}

/* What holds for every accepted head. */
static inline void agree_head(const struct h1_head *h)
{
    unsigned hosts = 0, lengths = 0, codings = 0;
    for (unsigned i = 0; i < h->nfields; i++) {
        const struct field *f = &h->fields[i];
        agree_plain(field_name(f));
        agree_plain(field_value(f));
        demand(f->name_len > 0 && !memchr(f->name, ' ', f->name_len));
        demand(f->id == field_id(f->name, f->name_len));
        hosts += str_ieq(field_name(f), STR("host"));
        lengths += str_ieq(field_name(f), STR("content-length"));
        codings += str_ieq(field_name(f), STR("transfer-encoding"));
    }
    demand(lengths + codings <= 1);
    demand(h->has_length == (lengths == 1));
    if (h->status == 0)
        demand(hosts == 1 || (hosts == 0 && h->minor == 0));
    agree_plain(h->method);
    agree_plain(h->path);
    agree_plain(h->authority);
    agree_plain(h->reason);
    demand(str_find(h->path, ' ') == h->path.n);
}

/* Writes the head out again and reads it: all but its size is the same. */
static inline void agree_again(const struct run *r)
{
    static char out[2 * AGREE_BYTES];
    static struct run again;
    const struct h1_head *h = &r->head;
    size_t n;
    if (r->reply)
        n = (size_t)sprintf(out, "HTTP/1.%u %03u ", h->minor, h->status);
    else
        n = (size_t)sprintf(out, "%.*s ", STR_ARG(h->method));
    struct str rest = r->reply ? h->reason : h->target;
    memcpy(out + n, rest.p ? rest.p : "", rest.n);
    n += rest.n;
    n += (size_t)sprintf(out + n, r->reply ? "\r\n" : " HTTP/1.%u\r\n", h->minor);
    for (unsigned i = 0; i < h->nfields; i++) {
        struct str name = field_name(&h->fields[i]), value = field_value(&h->fields[i]);
        memcpy(out + n, name.p, name.n);
        memcpy(out + n + name.n, ": ", 2);
        memcpy(out + n + name.n + 2, value.p, value.n);
        n += name.n + 2 + value.n;
        memcpy(out + n, "\r\n", 2);
        n += 2;
    }
    memcpy(out + n, "\r\n", 2);
    again.reply = r->reply;
    again.request_method = r->request_method;
    again.limits = r->limits;
    again.limits.head_bytes = sizeof(out);
    run_whole(&again, out, (uint32_t)n + 2);
    demand(again.head_done && again.head.size == n + 2);
    const struct h1_head *g = &again.head;
    demand(g->framing == h->framing && g->length == h->length);
    demand(g->keep_alive == h->keep_alive && g->upgrade == h->upgrade);
    demand(g->nfields == h->nfields && g->minor == h->minor && g->form == h->form);
    demand(str_eq(g->path, h->path) && str_eq(g->authority, h->authority));
    demand(str_eq(g->reason, h->reason) && g->method_id == h->method_id);
    for (unsigned i = 0; i < h->nfields; i++) {
        demand(str_eq(field_name(&g->fields[i]), field_name(&h->fields[i])));
        demand(str_eq(field_value(&g->fields[i]), field_value(&h->fields[i])));
        demand(g->fields[i].flags == h->fields[i].flags);
    }
}

#endif
