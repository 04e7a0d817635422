/* Which certificates serve a name: exact names before wildcards of one label, for each kind of key
 * by itself, so that RSA and ECDSA certificates stand side by side for one name.
 *
 * A certificate of one kind under the exact name hides the wildcard's of that kind only. The first
 * one added under a name and kind stays. Source: RFC 6125 section 6.4.3, RFC 6066 section 3. */
#ifndef OFFSHOOT_NET_TLS_NAMES_H
#define OFFSHOOT_NET_TLS_NAMES_H

#include "lib/base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_NAME_MAX 253 /* bytes of a host name */

enum tls_kind { TLS_RSA, TLS_ECDSA, TLS_ED25519, TLS_KINDS };
const char *tls_kind_word(enum tls_kind k); /* "rsa" "ecdsa" "ed25519" */

#define TLS_NO_CERT UINT32_MAX

struct tls_names {
    struct tls_name *all;
    size_t n, room;
    bool sorted;
};

/* name: a host name, or "*." before one; any case, a dot at its end does not count. Not more than
 * TLS_NAME_MAX bytes. 0, -ENOMEM, or -EINVAL when it is none that a client could ask for. */
int tls_names_add(struct tls_names *t, struct str name, enum tls_kind kind, uint32_t cert);
/* After the last add, before the first find. */
void tls_names_sort(struct tls_names *t);
/* ret[kind]: the certificate, or TLS_NO_CERT. False, and all of ret TLS_NO_CERT, when nothing
 * serves the name. */
bool tls_names_find(const struct tls_names *t, struct str name, uint32_t ret[TLS_KINDS]);
void tls_names_release(struct tls_names *t);

#endif
