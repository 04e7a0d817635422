/* Tokens and trace parents: what is accepted is well formed and has one spelling. */
#include "lib/base/parse.h"
#include "lib/graph/context.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static bool inside(struct str part, struct str whole)
{
    return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

static void try_token(struct str s)
{
    struct token t = {.use = '?'};
    char out[TOKEN_MAX];
    if (token_parse(s, &t)) {
        demand(t.use == '?');
        return;
    }
    demand(s.n + sizeof("offshoot=") - 1 <= TOKEN_MAX);
    demand(t.use == 'e' || t.use == 'm');
    demand(name_valid(t.env) && inside(t.env, s));
    demand(t.use == 'm' || (t.pin == 0 && (t.flags & ~CONTEXT_EXPLAIN) == 0));
    if (t.is_signed) {
        demand(inside(t.kid, s) && inside(t.mac, s) && t.mac.n == 22);
        return;
    }
    /* Written again it is the same text, but for the letter of the edge form. */
    size_t n = token_write(t.env, t.pin, t.flags, out);
    out[2] = t.use;
    demand(str_eq(str_of(out, n), s));
}

static void try_traceparent(struct str s)
{
    struct str id = {NULL, 0};
    if (!traceparent_valid(s, &id)) {
        demand(id.p == NULL);
        return;
    }
    demand(s.n >= 55 && id.p == s.p + 3 && id.n == 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = {(const char *)data, size};
    try_token(s);
    try_traceparent(s);
    return 0;
}
