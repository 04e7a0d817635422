#include "lib/wire/upgrade.h"
#include "lib/wire/h1_internal.h"
#include <errno.h>
#include <openssl/evp.h>

#define WEBSOCKET_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define KEY_MAX        64u /* a key has 24 bytes; a longer one is hashed as well, up to this */
#define SHA1_BYTES     20

/* protocol = name ["/" version], both tokens. */
static bool is_protocol(struct str s, struct str *ret_name)
{
    size_t slash = str_find(s, '/');
    *ret_name = str_of(s.p, slash);
    return h1_is_token(*ret_name) && (slash == s.n || h1_is_token(str_from(s, slash + 1)));
}

static bool is_ignored(struct str name)
{
    static const struct str ignored[] = {STR("h2c"), STR("h2"), STR("h3"), STR("http"), STR("tls")};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        if (str_ieq(name, ignored[i]))
            return true;
    return false;
}

static bool add(char out[UPGRADE_OFFER_MAX], size_t *n, struct str protocol)
{
    if (*n + 2 + protocol.n > UPGRADE_OFFER_MAX)
        return false;
    if (*n) {
        memcpy(out + *n, ", ", 2);
        *n += 2;
    }
    memcpy(out + *n, protocol.p, protocol.n);
    *n += protocol.n;
    return true;
}

int upgrade_offer(const struct field *fields, unsigned n, char out[UPGRADE_OFFER_MAX])
{
    size_t len = 0;
    for (unsigned i = 0; i < n; i++) {
        struct str rest = field_value(&fields[i]), protocol, name;
        if (fields[i].id != FIELD_UPGRADE)
            continue;
        while (field_next_element(&rest, &protocol)) {
            if (!is_protocol(protocol, &name))
                return -EINVAL;
            if (!is_ignored(name) && !add(out, &len, protocol))
                return -EINVAL;
        }
    }
    return (int)len;
}

bool upgrade_has(struct str offer, struct str protocol)
{
    struct str each;
    while (field_next_element(&offer, &each))
        if (str_ieq(each, protocol))
            return true;
    return false;
}

struct str upgrade_taken(struct str offer, const struct field *fields, unsigned n)
{
    struct str taken = {0};
    unsigned seen = 0;
    for (unsigned i = 0; i < n; i++)
        if (fields[i].id == FIELD_UPGRADE) {
            taken = field_value(&fields[i]);
            seen++;
        }
    return seen == 1 && upgrade_has(offer, taken) ? taken : (struct str){0};
}

bool websocket_accept(struct str key, char out[WEBSOCKET_ACCEPT_LEN])
{
    unsigned char text[KEY_MAX + sizeof WEBSOCKET_GUID], digest[EVP_MAX_MD_SIZE];
    unsigned char base64[WEBSOCKET_ACCEPT_LEN + 1];
    if (key.n == 0 || key.n > KEY_MAX)
        return false;
    memcpy(text, key.p, key.n);
    memcpy(text + key.n, WEBSOCKET_GUID, sizeof WEBSOCKET_GUID - 1);
    size_t n = key.n + sizeof WEBSOCKET_GUID - 1;
    if (EVP_Digest(text, n, digest, NULL, EVP_sha1(), NULL) != 1)
        return false;
    EVP_EncodeBlock(base64, digest, SHA1_BYTES);
    memcpy(out, base64, WEBSOCKET_ACCEPT_LEN);
    return true;
}

void websocket_key(const unsigned char random[16], char out[WEBSOCKET_KEY_BYTES])
{
    unsigned char base64[WEBSOCKET_KEY_BYTES + 1];
    EVP_EncodeBlock(base64, random, 16);
    memcpy(out, base64, WEBSOCKET_KEY_BYTES);
}
