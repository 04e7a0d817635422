/* PROXY protocol headers, whole, in pieces, and malformed. */
#include "lib/wire/proxyproto.h"
#include "tests/unit/unit.h"
#include <stdlib.h>
#include <string.h>

#define LIMIT 512u
#define SIG   "\r\n\r\n\0\r\nQUIT\n"
/* 192.0.2.1:4711 to 198.51.100.7:443 */
#define IP4 "\xc0\x00\x02\x01\xc6\x33\x64\x07\x12\x67\x01\xbb"

static struct proxyproto got;
static enum proxyproto_error why;

static enum proxyproto_status read_n(const char *bytes, size_t n)
{
    /* of exactly its size, so that a sanitizer sees a look past the end */
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    got = (struct proxyproto){0};
    why = PROXYPROTO_OK;
    enum proxyproto_status s = proxyproto_read(copy, (uint32_t)n, LIMIT, &got, &why);
    free(copy);
    return s;
}

/* Every proper prefix needs more, the whole is done, and what follows changes nothing. */
static void accept_n(const char *bytes, size_t n, const char *source, const char *destination)
{
    char text[ADDR_TEXT_MAX], more[1024];
    for (size_t i = 0; i < n; i++)
        if (read_n(bytes, i) != PROXYPROTO_MORE)
            fail_msg("decided after %zu of %zu bytes: %s", i, n, proxyproto_error_word(why));
    memcpy(more, bytes, n);
    memcpy(more + n, "\r\n\r\nGET", 8);
    for (size_t i = n; i < n + 8; i++) {
        assert_int_equal(read_n(more, i), PROXYPROTO_DONE);
        assert_int_equal(got.size, n);
        assert_int_equal(got.has_addresses, source != NULL);
        if (!source) {
            assert_int_equal(got.source.kind, ADDR_NONE);
            continue;
        }
        addr_format(&got.source, text);
        assert_string_equal(text, source);
        addr_format(&got.destination, text);
        assert_string_equal(text, destination);
    }
}

#define ACCEPT(literal, source, destination)                                                       \
    accept_n("" literal, sizeof(literal) - 1, source, destination)

/* Refused for this reason, at this byte and ever after. */
static void refuse_n(const char *bytes, size_t n, size_t at, enum proxyproto_error reason)
{
    for (size_t i = 0; i <= n; i++) {
        enum proxyproto_status s = read_n(bytes, i);
        if (s != (i < at ? PROXYPROTO_MORE : PROXYPROTO_ERROR))
            fail_msg("status %d after %zu of %zu bytes", s, i, n);
        if (i >= at)
            assert_string_equal(proxyproto_error_word(why), proxyproto_error_word(reason));
    }
}

#define REFUSE(literal, reason)                                                                    \
    refuse_n("" literal, sizeof(literal) - 1, sizeof(literal) - 1, reason)
#define REFUSE_AT(at, literal, reason) refuse_n("" literal, sizeof(literal) - 1, at, reason)

static void version_1_names_both_ends(void **state)
{
    (void)state;
    ACCEPT("PROXY TCP4 192.0.2.1 198.51.100.7 4711 443\r\n", "192.0.2.1:4711", "198.51.100.7:443");
    ACCEPT("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", "[2001:db8::1]:65535", "[::1]:0");
    ACCEPT("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1", "[::1]:2");
    assert_int_equal(got.version, 1);
}

static void version_1_unknown_names_nobody(void **state)
{
    (void)state;
    ACCEPT("PROXY UNKNOWN\r\n", NULL, NULL);
    ACCEPT("PROXY UNKNOWN whatever  it says\r\n", NULL, NULL);
}

static void version_1_has_107_bytes_at_the_most(void **state)
{
    (void)state;
    char line[160];
    int n = snprintf(line, sizeof line, "PROXY UNKNOWN %*s\r\n", 91, "x");
    assert_int_equal(n, 107);
    accept_n(line, 107, NULL, NULL);
    n = snprintf(line, sizeof line, "PROXY UNKNOWN %*s\r\n", 92, "x");
    refuse_n(line, (size_t)n, 107, PROXYPROTO_E_TOO_LONG);
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY ", 6);
    refuse_n(line, sizeof line, 107, PROXYPROTO_E_TOO_LONG);
}

static void version_1_is_read_one_way_only(void **state)
{
    (void)state;
    REFUSE("PROXY TCP4 192.0.2.1 198.51.100.7 4711\r\n", PROXYPROTO_E_MALFORMED);
    REFUSE("PROXY TCP4 192.0.2.1 198.51.100.7 4711 443 1\r\n", PROXYPROTO_E_MALFORMED);
    REFUSE("PROXY TCP4 192.0.2.1 198.51.100.7 4711 443 \r\n", PROXYPROTO_E_MALFORMED);
    REFUSE("PROXY TCP4\r\n", PROXYPROTO_E_MALFORMED);
    REFUSE("PROXY TCP4  192.0.2.1 198.51.100.7 4711\r\n", PROXYPROTO_E_ADDRESS);
    REFUSE("PROXY TCP4 192.0.2.1 198.51.100.7 4711 443\n", PROXYPROTO_E_MALFORMED);
    REFUSE("PROXY TCP4 192.0.2.1 198.51.100.7 4711 443\rx", PROXYPROTO_E_MALFORMED);
    REFUSE_AT(21, "PROXY TCP4 192.0.2.1\0 198.51.100.7 4711 443\r\n", PROXYPROTO_E_MALFORMED);
    REFUSE("PROXY \r\n", PROXYPROTO_E_FAMILY);
    REFUSE("PROXY TCP5 192.0.2.1 198.51.100.7 4711 443\r\n", PROXYPROTO_E_FAMILY);
    REFUSE("PROXY tcp4 192.0.2.1 198.51.100.7 4711 443\r\n", PROXYPROTO_E_FAMILY);
    REFUSE("PROXY UNKNOWNS\r\n", PROXYPROTO_E_FAMILY);
    REFUSE("PROXY  TCP4 192.0.2.1 198.51.100.7 4711 443\r\n", PROXYPROTO_E_FAMILY);
}

static void version_1_addresses_are_of_their_family(void **state)
{
    (void)state;
    REFUSE("PROXY TCP4 ::1 198.51.100.7 4711 443\r\n", PROXYPROTO_E_ADDRESS);
    REFUSE("PROXY TCP6 ::1 198.51.100.7 4711 443\r\n", PROXYPROTO_E_ADDRESS);
    REFUSE("PROXY TCP4 192.0.2.256 198.51.100.7 4711 443\r\n", PROXYPROTO_E_ADDRESS);
    REFUSE("PROXY TCP4 192.0.2.01 198.51.100.7 4711 443\r\n", PROXYPROTO_E_ADDRESS);
    REFUSE("PROXY TCP4 0x7f.1 198.51.100.7 4711 443\r\n", PROXYPROTO_E_ADDRESS);
    REFUSE("PROXY TCP4 192.0.2.1 localhost 4711 443\r\n", PROXYPROTO_E_ADDRESS);
    REFUSE("PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n", PROXYPROTO_E_ADDRESS);
}

static void version_1_ports_are_plain_numbers(void **state)
{
    (void)state;
    REFUSE("PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n", PROXYPROTO_E_PORT);
    REFUSE("PROXY TCP4 192.0.2.1 198.51.100.7 04711 443\r\n", PROXYPROTO_E_PORT);
    REFUSE("PROXY TCP4 192.0.2.1 198.51.100.7 -1 443\r\n", PROXYPROTO_E_PORT);
    REFUSE("PROXY TCP4 192.0.2.1 198.51.100.7 4711 +443\r\n", PROXYPROTO_E_PORT);
    REFUSE("PROXY TCP4 192.0.2.1 198.51.100.7 4711 0x1bb\r\n", PROXYPROTO_E_PORT);
}

static void other_protocols_are_known_at_the_byte_that_differs(void **state)
{
    (void)state;
    REFUSE_AT(1, "GET / HTTP/1.1\r\n", PROXYPROTO_E_NO_HEADER);
    REFUSE_AT(2, "POST / HTTP/1.1\r\n", PROXYPROTO_E_NO_HEADER);
    REFUSE_AT(3, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", PROXYPROTO_E_NO_HEADER);
    REFUSE_AT(6, "PROXYTCP4 192.0.2.1", PROXYPROTO_E_NO_HEADER);
    REFUSE_AT(1, "\x16\x03\x01\x02\x00\x01", PROXYPROTO_E_NO_HEADER);
    REFUSE_AT(3, "\r\nGET / HTTP/1.1\r\n", PROXYPROTO_E_NO_HEADER);
    REFUSE_AT(12, "\r\n\r\n\0\r\nQUIT\r", PROXYPROTO_E_NO_HEADER);
    REFUSE_AT(1, " PROXY TCP4", PROXYPROTO_E_NO_HEADER);
}

static void version_2_names_both_ends(void **state)
{
    (void)state;
    ACCEPT(SIG "\x21\x11\x00\x0c" IP4, "192.0.2.1:4711", "198.51.100.7:443");
    ACCEPT(SIG "\x21\x12\x00\x0c" IP4, "192.0.2.1:4711", "198.51.100.7:443");
    ACCEPT(SIG "\x21\x21\x00\x24"
               "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
               "\x12\x67\x01\xbb",
        "[2001:db8::1]:4711", "[::1]:443");
    assert_int_equal(got.version, 2);
}

static void version_2_of_a_unix_socket(void **state)
{
    (void)state;
    char header[16 + 216] = SIG "\x21\x31\x00\xd8/run/a";
    accept_n(header, sizeof header, "unix:", "unix:");
    assert_int_equal(got.source.kind, ADDR_UNIX);
    header[15] = (char)0xd7;
    refuse_n(header, sizeof header, 16 + 215, PROXYPROTO_E_LENGTH);
}

static void version_2_local_and_unspec_name_nobody(void **state)
{
    (void)state;
    ACCEPT(SIG "\x20\x00\x00\x00", NULL, NULL);
    ACCEPT(SIG "\x20\x11\x00\x0c" IP4, NULL, NULL);
    ACCEPT(SIG "\x20\x11\x00\x02xx", NULL, NULL); /* what it holds means nothing */
    ACCEPT(SIG "\x20\x99\x00\x03xyz", NULL, NULL);
    ACCEPT(SIG "\x21\x00\x00\x00", NULL, NULL);
    ACCEPT(SIG "\x21\x00\x00\x06\x04\x00\x03xyz", NULL, NULL);
}

static void version_2_of_another_kind_is_refused_early(void **state)
{
    (void)state;
    REFUSE_AT(13, SIG "\x11\x11\x00\x0c" IP4, PROXYPROTO_E_VERSION);
    REFUSE_AT(13, SIG "\x31\x11\x00\x0c" IP4, PROXYPROTO_E_VERSION);
    REFUSE_AT(13, SIG "\x22\x11\x00\x0c" IP4, PROXYPROTO_E_COMMAND);
    REFUSE_AT(14, SIG "\x21\x13\x00\x0c" IP4, PROXYPROTO_E_FAMILY);
    REFUSE_AT(14, SIG "\x21\x10\x00\x0c" IP4, PROXYPROTO_E_FAMILY);
    REFUSE_AT(14, SIG "\x21\x01\x00\x0c" IP4, PROXYPROTO_E_FAMILY);
    REFUSE_AT(14, SIG "\x21\x41\x00\x0c" IP4, PROXYPROTO_E_FAMILY);
    REFUSE(SIG "\x21\x11\x00\x0b\xc0\x00\x02\x01\xc6\x33\x64\x07\x12\x67\x01", PROXYPROTO_E_LENGTH);
    REFUSE(SIG "\x21\x21\x00\x0c" IP4, PROXYPROTO_E_LENGTH);
}

static void version_2_has_a_limit(void **state)
{
    (void)state;
    char header[LIMIT + 2] = SIG "\x21\x11\x01\xf0" IP4 "\x04\x01\xe1";
    accept_n(header, LIMIT, "192.0.2.1:4711", "198.51.100.7:443");
    header[15] = (char)0xf1;
    refuse_n(header, sizeof header, 16, PROXYPROTO_E_TOO_LONG);
    REFUSE_AT(16, SIG "\x20\x00\xff\xff", PROXYPROTO_E_TOO_LONG);
}

static void tlvs_fill_the_rest_exactly(void **state)
{
    (void)state;
    const char *from = "192.0.2.1:4711", *to = "198.51.100.7:443";
    ACCEPT(SIG "\x21\x11\x00\x0f" IP4 "\x04\x00\x00", from, to);
    ACCEPT(SIG "\x21\x11\x00\x19" IP4 "\x01\x00\x02h2\x02\x00\x05"
               "a.org",
        from, to);
    /* SSL with a nested value that is nonsense: not looked at */
    ACCEPT(SIG "\x21\x11\x00\x14" IP4 "\x20\x00\x05\xff\xff\xff\xff\xff", from, to);
    REFUSE(SIG "\x21\x11\x00\x0d" IP4 "\x04", PROXYPROTO_E_TLV);
    REFUSE(SIG "\x21\x11\x00\x0e" IP4 "\x04\x00", PROXYPROTO_E_TLV);
    REFUSE(SIG "\x21\x11\x00\x0f" IP4 "\x04\x00\x01", PROXYPROTO_E_TLV);
    REFUSE(SIG "\x21\x11\x00\x11" IP4 "\x04\xff\xff\x00\x00", PROXYPROTO_E_TLV);
}

/* A header with authority, SSL, ALPN and checksum; the checksum (0xf18d8361) was computed by a
 * bitwise program of its own. */
#define SUMMED                                                                                     \
    SIG "\x21\x11\x00\x2e" IP4 "\x02\x00\x0b"                                                      \
        "example.com\x20\x00\x05\x01\x00\x00\x00\x00\x01\x00\x02h2\x03\x00\x04"

static void a_checksum_is_checked(void **state)
{
    (void)state;
    ACCEPT(SUMMED "\xf1\x8d\x83\x61", "192.0.2.1:4711", "198.51.100.7:443");
    char bad[] = SUMMED "\xf1\x8d\x83\x61";
    size_t n = sizeof bad - 1;
    for (size_t i = 16; i < 28; i++) {
        bad[i] ^= 1;
        refuse_n(bad, n, n, PROXYPROTO_E_CHECKSUM);
        bad[i] ^= 1;
    }
    for (size_t i = n - 4; i < n; i++) {
        bad[i] ^= (char)0x80;
        refuse_n(bad, n, n, PROXYPROTO_E_CHECKSUM);
        bad[i] ^= (char)0x80;
    }
    bad[12] = 0x20; /* of LOCAL too */
    refuse_n(bad, n, n, PROXYPROTO_E_CHECKSUM);
    REFUSE(SIG "\x21\x00\x00\x06\x03\x00\x03\x00\x00\x00", PROXYPROTO_E_TLV);
    REFUSE(SIG "\x21\x00\x00\x08\x03\x00\x05\x00\x00\x00\x00\x00", PROXYPROTO_E_TLV);
}

static void every_reason_has_a_word_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PROXYPROTO_ERROR_COUNT; i++)
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(proxyproto_error_word(i), proxyproto_error_word(k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_names_both_ends),
        cmocka_unit_test(version_1_unknown_names_nobody),
        cmocka_unit_test(version_1_has_107_bytes_at_the_most),
        cmocka_unit_test(version_1_is_read_one_way_only),
        cmocka_unit_test(version_1_addresses_are_of_their_family),
        cmocka_unit_test(version_1_ports_are_plain_numbers),
        cmocka_unit_test(other_protocols_are_known_at_the_byte_that_differs),
        cmocka_unit_test(version_2_names_both_ends),
        cmocka_unit_test(version_2_of_a_unix_socket),
        cmocka_unit_test(version_2_local_and_unspec_name_nobody),
        cmocka_unit_test(version_2_of_another_kind_is_refused_early),
        cmocka_unit_test(version_2_has_a_limit),
        cmocka_unit_test(tlvs_fill_the_rest_exactly),
        cmocka_unit_test(a_checksum_is_checked),
        cmocka_unit_test(every_reason_has_a_word_of_its_own),
    };
    return unit_run(tests);
}
