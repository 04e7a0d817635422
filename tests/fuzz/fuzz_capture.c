/* Arbitrary bytes for the chunks of captured traffic. The first byte chooses: 1 little limits, 2
 * one allocation fails, the byte after this one says which. The rest is chunks, each after two
 * bytes of its length, lowest first.
 *
 * Whatever comes: exchanges that are told are whole, what is open stays within its bounds, all
 * memory comes back. */
#include "agent/exchange.h"
#include "lib/base/mem.h"
#include "tests/fuzz/fuzz.h"

#define SMALL_OPEN  2u
#define SMALL_BODY  8u
#define SMALL_BYTES 8192u

static int on_node(void *arg, struct str node, struct err *e)
{
    (void)arg;
    (void)e;
    demand(node.n >= 1 && node.n <= 253);
    return 0;
}

static void on_exchange(void *arg, struct exchange *x)
{
    const bool *small = arg;
    demand(x->refs == 1 && x->nsessions >= 1 && x->nsessions <= EXCHANGE_SESSIONS);
    demand(x->method.n && x->path.n);
    demand(x->primary.outcome == REPLY_WHOLE);
    demand(x->primary.status >= 200 && x->primary.status <= 599);
    demand(!*small || (x->body.n <= SMALL_BODY && x->primary.body.n <= SMALL_BODY));
    for (size_t i = 0; i < x->nfields; i++)
        demand(x->fields[i].name.p && x->fields[i].value.p);
}

static void on_hop(void *arg, const struct hop *h)
{
    (void)arg;
    demand(h->node.n && (unsigned)h->kind <= HOP_OF_BLOCKED);
}

static void on_dropped(void *arg, struct str node, const char *reason, uint64_t n)
{
    (void)arg;
    demand(node.n && *reason && n);
}

static struct str next_chunk(struct str *rest)
{
    size_t n = (unsigned char)rest->p[0] | (size_t)(unsigned char)rest->p[1] << 8;
    *rest = str_from(*rest, 2);
    struct str chunk = {rest->p, n < rest->n ? n : rest->n};
    *rest = str_from(*rest, chunk.n);
    return chunk;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct exchange_events events = {
        .on_node = on_node, .on_exchange = on_exchange, .on_hop = on_hop, .on_dropped = on_dropped};
    if (size < 2)
        return 0;
    bool small = data[0] & 1;
    struct assembly_limits limits = {0};
    if (small)
        limits = (struct assembly_limits){SMALL_OPEN, SMALL_BODY, SMALL_BYTES};
    size_t live = mem_live();
    struct str rest = {(const char *)data + 2, size - 2};
    if (data[0] & 2)
        mem_fail_nth(data[1] + 1u);
    struct assembly *a = assembly_new(&limits, &events, &small);
    while (a && rest.n >= 2) {
        if (assembly_feed(a, next_chunk(&rest), NULL) != 0)
            break;
        demand(!small || (assembly_open(a) <= SMALL_OPEN && assembly_bytes(a) <= SMALL_BYTES));
        demand(assembly_open(a) || assembly_bytes(a) == 0);
    }
    assembly_free(a);
    mem_fail_nth(0);
    demand(mem_live() == live);
    return 0;
}
