/* What a keyring is made of. Private to lib/graph: keyring.c, signer.c. */
#ifndef OFFSHOOT_GRAPH_KEYRING_INT_H
#define OFFSHOOT_GRAPH_KEYRING_INT_H

#include "lib/graph/keyring.h"
#include <stdatomic.h>

#define KID_MAX        8
#define SECRET_MIN     32
#define SECRET_MAX     64
#define MAC_PREFIX_MAX (sizeof("offshoot1|") + TRUST_DOMAIN_MAX)

struct key {
    char kid[KID_MAX];
    uint8_t kid_len;
    uint8_t secret_len;
    unsigned char secret[SECRET_MAX];
};

struct keyring {
    _Atomic unsigned refs;
    unsigned count;
    char prefix[MAC_PREFIX_MAX]; /* "offshoot1|" trust-domain "|": what every mac starts with */
    size_t prefix_len;
    struct key keys[KEYS_MAX];
};

#endif
