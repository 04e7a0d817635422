#include "lib/wire/proxyproto.h"
#include "lib/base/parse.h"
#include "lib/base/reclog.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define SIGNATURE_1     "PROXY "
#define SIGNATURE_2     "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_1_LEN 6u
#define SIGNATURE_2_LEN 12u
#define UNIX_BYTES      216u /* two paths of 108 bytes */
#define TLV_HEADER      3u
#define TLV_CRC32C      0x03

const char *proxyproto_error_word(enum proxyproto_error e)
{
    static const char *const words[PROXYPROTO_ERROR_COUNT] = {"none", "no-header", "too-long",
        "malformed", "address", "port", "version", "command", "family", "length", "tlv", "checksum",
        "cut", "slow"};
    return words[e];
}

static enum proxyproto_status fail(enum proxyproto_error *ret_error, enum proxyproto_error e)
{
    *ret_error = e;
    return PROXYPROTO_ERROR;
}

static void ip_addr(int family, const void *ip, uint16_t port, struct addr *ret)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (family == AF_INET) {
        memcpy(&in.sin_addr, ip, sizeof in.sin_addr);
        addr_from_sockaddr((const struct sockaddr *)(const void *)&in, sizeof in, ret);
    } else {
        memcpy(&in6.sin6_addr, ip, sizeof in6.sin6_addr);
        addr_from_sockaddr((const struct sockaddr *)(const void *)&in6, sizeof in6, ret);
    }
}

/* ---- version 1 ---- */

/* The part up to the next space; *rest goes behind it. Empty when there is none. */
static struct str next_part(struct str *rest)
{
    size_t n = str_find(*rest, ' ');
    struct str part = {rest->p, n};
    *rest = str_from(*rest, n < rest->n ? n + 1 : n);
    return part;
}

static bool read_ip(struct str text, int family, unsigned char ip[16])
{
    char z[INET6_ADDRSTRLEN];
    if (text.n == 0 || text.n >= sizeof z)
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    return strlen(z) == text.n && inet_pton(family, z, ip) == 1;
}

/* line: what stands between "PROXY " and CRLF. */
static enum proxyproto_error read_line(struct str line, struct proxyproto *ret)
{
    struct str rest = line, family_word = next_part(&rest);
    if (str_eq(family_word, STR("UNKNOWN")))
        return PROXYPROTO_OK;
    int family = str_eq(family_word, STR("TCP4"))   ? AF_INET
                 : str_eq(family_word, STR("TCP6")) ? AF_INET6
                                                    : AF_UNSPEC;
    if (family == AF_UNSPEC)
        return PROXYPROTO_E_FAMILY;
    size_t spaces = 0;
    for (size_t i = 0; i < line.n; i++)
        spaces += line.p[i] == ' ';
    if (spaces != 4)
        return PROXYPROTO_E_MALFORMED;
    unsigned char ip[2][16];
    uint32_t port[2];
    for (unsigned i = 0; i < 2; i++)
        if (!read_ip(next_part(&rest), family, ip[i]))
            return PROXYPROTO_E_ADDRESS;
    for (unsigned i = 0; i < 2; i++)
        if (parse_u32(next_part(&rest), 0, 65535, &port[i]) != 0)
            return PROXYPROTO_E_PORT;
    ip_addr(family, ip[0], (uint16_t)port[0], &ret->source);
    ip_addr(family, ip[1], (uint16_t)port[1], &ret->destination);
    ret->has_addresses = true;
    return PROXYPROTO_OK;
}

static enum proxyproto_status read_v1(
    const char *data, uint32_t n, struct proxyproto *ret, enum proxyproto_error *ret_error)
{
    uint32_t seen = n < PROXYPROTO_V1_MAX ? n : PROXYPROTO_V1_MAX, i = SIGNATURE_1_LEN;
    while (i < seen && data[i] != '\r' && data[i] != '\n' && data[i] != '\0')
        i++;
    if (i + 1 >= seen && (i == seen || data[i] == '\r'))
        return n < PROXYPROTO_V1_MAX ? PROXYPROTO_MORE : fail(ret_error, PROXYPROTO_E_TOO_LONG);
    if (data[i] != '\r' || data[i + 1] != '\n')
        return fail(ret_error, PROXYPROTO_E_MALFORMED);
    struct proxyproto got = {.size = i + 2, .version = 1};
    enum proxyproto_error e = read_line(str_of(data + SIGNATURE_1_LEN, i - SIGNATURE_1_LEN), &got);
    if (e != PROXYPROTO_OK)
        return fail(ret_error, e);
    *ret = got;
    return PROXYPROTO_DONE;
}

/* ---- version 2 ---- */

static uint16_t get_be16(const char *p)
{
    return (uint16_t)((unsigned char)p[0] << 8 | (unsigned char)p[1]);
}

static uint32_t get_be32(const char *p)
{
    return (uint32_t)get_be16(p) << 16 | get_be16(p + 2);
}

/* Bytes of the addresses by family and transport, or -1 for a pair that is not listed. */
static int address_bytes(unsigned char pair)
{
    switch (pair) {
    case 0x00: /* UNSPEC */
        return 0;
    case 0x11: /* TCP, UDP over IPv4 */
    case 0x12:
        return 12;
    case 0x21: /* over IPv6 */
    case 0x22:
        return 36;
    case 0x31: /* UNIX stream, datagram */
    case 0x32:
        return (int)UNIX_BYTES;
    default:
        return -1;
    }
}

/* CRC32C of the whole header with the checksum's own four bytes, at `at`, as zeros. */
static bool checksum_right(const char *data, uint32_t size, uint32_t at)
{
    static const char zeros[4] = {0};
    uint32_t crc = crc32c(0, data, at);
    crc = crc32c(crc, zeros, sizeof zeros);
    crc = crc32c(crc, data + at + 4, size - at - 4);
    return crc == get_be32(data + at);
}

/* The TLVs in data[from..size). */
static enum proxyproto_error read_tlvs(const char *data, uint32_t from, uint32_t size)
{
    unsigned checksums = 0;
    while (from < size) {
        if (size - from < TLV_HEADER)
            return PROXYPROTO_E_TLV;
        char type = data[from];
        uint32_t len = get_be16(data + from + 1);
        from += TLV_HEADER;
        if (len > size - from)
            return PROXYPROTO_E_TLV;
        if (type == TLV_CRC32C) {
            if (len != 4 || checksums++ > 0)
                return PROXYPROTO_E_TLV;
            if (!checksum_right(data, size, from))
                return PROXYPROTO_E_CHECKSUM;
        }
        from += len;
    }
    return PROXYPROTO_OK;
}

static void read_addresses(const char *p, unsigned char pair, struct proxyproto *ret)
{
    switch (pair >> 4) {
    case 1:
        ip_addr(AF_INET, p, get_be16(p + 8), &ret->source);
        ip_addr(AF_INET, p + 4, get_be16(p + 10), &ret->destination);
        break;
    case 2:
        ip_addr(AF_INET6, p, get_be16(p + 32), &ret->source);
        ip_addr(AF_INET6, p + 16, get_be16(p + 34), &ret->destination);
        break;
    case 3:
        ret->source.kind = ret->destination.kind = ADDR_UNIX;
        break;
    default:
        return;
    }
    ret->has_addresses = true;
}

/* A whole header. LOCAL is about nobody: its family and addresses mean nothing (section 2.2), but
 * a checksum that can be found must be right. */
static enum proxyproto_error read_block(const char *data, bool local, struct proxyproto *ret)
{
    unsigned char pair = (unsigned char)data[13];
    int addresses = address_bytes(pair);
    uint32_t have = ret->size - PROXYPROTO_V2_MIN;
    if (addresses < 0)
        return local ? PROXYPROTO_OK : PROXYPROTO_E_FAMILY;
    if (have < (uint32_t)addresses)
        return local ? PROXYPROTO_OK : PROXYPROTO_E_LENGTH;
    enum proxyproto_error e = read_tlvs(data, PROXYPROTO_V2_MIN + (uint32_t)addresses, ret->size);
    if (local)
        return e == PROXYPROTO_E_CHECKSUM ? e : PROXYPROTO_OK;
    if (e == PROXYPROTO_OK)
        read_addresses(data + PROXYPROTO_V2_MIN, pair, ret);
    return e;
}

static enum proxyproto_status read_v2(const char *data, uint32_t n, uint32_t limit,
    struct proxyproto *ret, enum proxyproto_error *ret_error)
{
    if (n > 12 && (data[12] & 0xf0) != 0x20)
        return fail(ret_error, PROXYPROTO_E_VERSION);
    if (n > 12 && (data[12] & 0x0f) > 1)
        return fail(ret_error, PROXYPROTO_E_COMMAND);
    bool local = n > 12 && (data[12] & 0x0f) == 0;
    if (n > 13 && !local && address_bytes((unsigned char)data[13]) < 0)
        return fail(ret_error, PROXYPROTO_E_FAMILY);
    if (n < PROXYPROTO_V2_MIN)
        return PROXYPROTO_MORE;
    struct proxyproto got = {.size = PROXYPROTO_V2_MIN + get_be16(data + 14), .version = 2};
    if (got.size > limit)
        return fail(ret_error, PROXYPROTO_E_TOO_LONG);
    if (n < got.size)
        return PROXYPROTO_MORE;
    enum proxyproto_error e = read_block(data, local, &got);
    if (e != PROXYPROTO_OK)
        return fail(ret_error, e);
    *ret = got;
    return PROXYPROTO_DONE;
}

static bool begins(const char *data, uint32_t n, const char *signature, uint32_t len)
{
    return memcmp(data, signature, n < len ? n : len) == 0;
}

enum proxyproto_status proxyproto_read(const char *data, uint32_t n, uint32_t limit,
    struct proxyproto *ret, enum proxyproto_error *ret_error)
{
    if (n == 0)
        return PROXYPROTO_MORE;
    if (begins(data, n, SIGNATURE_1, SIGNATURE_1_LEN))
        return n < SIGNATURE_1_LEN ? PROXYPROTO_MORE : read_v1(data, n, ret, ret_error);
    if (begins(data, n, SIGNATURE_2, SIGNATURE_2_LEN))
        return n < SIGNATURE_2_LEN ? PROXYPROTO_MORE : read_v2(data, n, limit, ret, ret_error);
    return fail(ret_error, PROXYPROTO_E_NO_HEADER);
}
