#include "proxy/token.h"
#include "lib/base/bytes.h"
#include "lib/graph/keyring.h"
#include "proxy/worker.h"

size_t request_token(struct request *r, struct str env, uint8_t flags)
{
    const struct context *c = &r->answer.context;
    if (c->token.n && c->pin == r->pin && c->flags == flags && str_eq(c->env, env)) {
        bytes_copy(r->token, c->token.p, c->token.n);
        return c->token.n;
    }
    return signer_mint(r->w->signer, 'm', env, r->pin, flags, c->exp, r->w->now_s, r->token);
}
