/* Offers of Upgrade: what is passed on is a list of tokens, holds nothing under which HTTP would go
 * on, and is what a 101 is measured by. Input: a line for each Upgrade field, then an empty line
 * and the field of the reply. */
#include "lib/wire/upgrade.h"
#include "tests/fuzz/fuzz.h"
#include <string.h>

#define FIELDS_MAX 20

static struct field upgrade(struct str value)
{
    return (struct field){.name = "upgrade",
        .name_len = 7,
        .value = value.p,
        .value_len = (uint32_t)value.n,
        .id = FIELD_UPGRADE};
}

static void judge(struct str offer)
{
    demand(offer.n <= UPGRADE_OFFER_MAX);
    demand(!upgrade_has(offer, STR("h2c")) && !upgrade_has(offer, STR("H2")));
    demand(!upgrade_has(offer, STR("HTTP/2.0")) && !upgrade_has(offer, STR("tls/1.2")));
    for (size_t i = 0; i < offer.n; i++)
        demand(offer.p[i] >= ' ' && offer.p[i] < 0x7f && offer.p[i] != ';');
    /* said again it is the same */
    char again[UPGRADE_OFFER_MAX];
    struct field f = upgrade(offer);
    int n = upgrade_offer(&f, 1, again);
    demand(n == (int)offer.n && memcmp(again, offer.p, offer.n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_of((const char *)data, size);
    struct field fields[FIELDS_MAX];
    char offer[UPGRADE_OFFER_MAX], proof[WEBSOCKET_ACCEPT_LEN];
    unsigned n = 0;
    while (rest.n && *rest.p != '\n' && n < FIELDS_MAX) {
        struct str line = {rest.p, str_find(rest, '\n')};
        rest = str_from(rest, line.n < rest.n ? line.n + 1 : line.n);
        fields[n++] = upgrade(line);
    }
    rest = rest.n ? str_from(rest, 1) : rest;
    int len = upgrade_offer(fields, n, offer);
    if (len < 0)
        return 0;
    judge(str_of(offer, (size_t)len));
    struct field reply = upgrade(str_of(rest.p, str_find(rest, '\n')));
    struct str taken = upgrade_taken(str_of(offer, (size_t)len), &reply, 1);
    demand(taken.n == 0 || (taken.p == reply.value && str_find(taken, ',') == taken.n));
    websocket_accept(rest, proof);
    return 0;
}
