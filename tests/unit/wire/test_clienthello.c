/* Server name and protocols of a ClientHello: whole, in pieces, over records, and malformed. */
#include "lib/wire/clienthello.h"
#include "tests/unit/unit.h"
#include <stdlib.h>
#include <string.h>

/* What openssl s_client 3.0 sends with a server name and two protocols. */
static const char real_hex[] =
    "160301015a010001560303dbe5f9d7acbb6460a1d985c77fe4f579b16f074919e7e0480795073d98f1723b2007"
    "fc1a28da75c09e40bea1fe5417b631d30e5f2d358fbc63071babbcebde8907003e130213031301c02cc030009f"
    "cca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039c009c0130033009d009c003d003c00"
    "35002f00ff010000cf00000020001e00001b666561742d34322e707265766965772e6578616d706c652e636f6d"
    "000b000403000102000a00160014001d0017001e0019001801000101010201030104002300000010000e000c02"
    "683208687474702f312e310016000000170000000d002a0028040305030603080708080809080a080b08040805"
    "0806040105010601030303010302040205020602002b0009080304030303020301002d00020101003300260024"
    "001d002083c6c8360935d40cbd8d82ec279dbcdd1fcb27fb8b0aa7ebaf7452627fe84b7e";
static unsigned char real[351];
#define REAL_NAME "feat-42.preview.example.com"

static int read_hex(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof real; i++) {
        char byte[3] = {real_hex[2 * i], real_hex[2 * i + 1], '\0'};
        real[i] = (unsigned char)strtoul(byte, NULL, 16);
    }
    return 0;
}

static struct clienthello got;
static enum clienthello_error why;

static enum clienthello_status read_n(const void *bytes, size_t n)
{
    /* of exactly its size, so that a sanitizer sees a look past the end */
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    got = (struct clienthello){.name_len = 0};
    why = CLIENTHELLO_OK;
    enum clienthello_status s = clienthello_read(copy, (uint32_t)n, &got, &why);
    free(copy);
    return s;
}

/* ---- messages made here ---- */

static unsigned char made[70000];
static size_t made_len;

static void put(const void *p, size_t n)
{
    assert_true(made_len + n <= sizeof made);
    memcpy(made + made_len, p, n);
    made_len += n;
}

static void put_number(uint32_t v, unsigned bytes)
{
    for (unsigned i = bytes; i > 0; i--) {
        unsigned char b = (unsigned char)(v >> 8 * (i - 1));
        put(&b, 1);
    }
}

static void put_extension(uint32_t type, const void *p, size_t n)
{
    put_number(type, 2);
    put_number((uint32_t)n, 2);
    put(p, n);
}

static void put_name(const char *name)
{
    size_t n = strlen(name);
    put_number(0, 2);
    put_number((uint32_t)n + 5, 2);
    put_number((uint32_t)n + 3, 2);
    put_number(0, 1);
    put_number((uint32_t)n, 2);
    put(name, n);
}

static void set_number(size_t at, size_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        made[at + i] = (unsigned char)(v >> 8 * (bytes - 1 - i));
}

/* The least message; end_hello fills its lengths in. */
static void begin_hello(void)
{
    static const char zeros[32];
    made_len = 0;
    put("\x16\x03\x01\0\0\x01\0\0\0\x03\x03", 11);
    put(zeros, 32);
    put("\0\0\x02\x13\x01\x01\0\0\0", 9); /* session, one suite, one compression, extensions */
}

static void end_hello(void)
{
    set_number(3, made_len - 5, 2);
    set_number(6, made_len - 9, 3);
    set_number(50, made_len - 52, 2);
}

static void assert_made(enum clienthello_error want)
{
    enum clienthello_status s = read_n(made, made_len);
    assert_string_equal(clienthello_error_word(why), clienthello_error_word(want));
    assert_int_equal(s, want == CLIENTHELLO_OK ? CLIENTHELLO_DONE : CLIENTHELLO_ERROR);
}

/* The message of `real` in records of at most `size` bytes. */
static size_t in_records(size_t size, unsigned char *to)
{
    size_t n = 0;
    for (size_t i = 5; i < sizeof real; i += size) {
        size_t piece = sizeof real - i < size ? sizeof real - i : size;
        memcpy(to + n, "\x16\x03\x01", 3);
        to[n + 3] = (unsigned char)(piece >> 8);
        to[n + 4] = (unsigned char)piece;
        memcpy(to + n + 5, real + i, piece);
        n += 5 + piece;
    }
    return n;
}

/* ---- what is read ---- */

static void a_real_one_at_every_split_point(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof real; i++)
        assert_int_equal(read_n(real, i), CLIENTHELLO_MORE);
    assert_int_equal(read_n(real, sizeof real), CLIENTHELLO_DONE);
    assert_str(str_of(got.name, got.name_len), REAL_NAME);
    assert_true(clienthello_offers(&got, STR("h2")));
    assert_true(clienthello_offers(&got, STR("http/1.1")));
    assert_false(clienthello_offers(&got, STR("http/1")));
    assert_false(clienthello_offers(&got, STR("")));
    assert_false(got.alpn_cut);
}

static void what_follows_is_not_looked_at(void **state)
{
    (void)state;
    unsigned char more[sizeof real + 32];
    memcpy(more, real, sizeof real);
    memset(more + sizeof real, 0xee, 32);
    assert_int_equal(read_n(more, sizeof more), CLIENTHELLO_DONE);
    assert_int_equal(got.name_len, strlen(REAL_NAME));
}

static void over_records_of_every_size(void **state)
{
    (void)state;
    static unsigned char bytes[6 * sizeof real];
    for (size_t size = 1; size <= sizeof real - 5; size++) {
        size_t n = in_records(size, bytes);
        assert_int_equal(read_n(bytes, n - 1), CLIENTHELLO_MORE);
        assert_int_equal(read_n(bytes, n), CLIENTHELLO_DONE);
        assert_str(str_of(got.name, got.name_len), REAL_NAME);
        assert_true(clienthello_offers(&got, STR("h2")));
    }
    for (size_t i = 0, n = in_records(3, bytes); i < n; i++)
        assert_int_equal(read_n(bytes, i), CLIENTHELLO_MORE);
}

static void without_a_name_or_without_extensions(void **state)
{
    (void)state;
    begin_hello();
    put_extension(10, "\0\x02\0\x1d", 4);
    end_hello();
    assert_made(CLIENTHELLO_OK);
    assert_int_equal(got.name_len, 0);
    assert_false(got.has_alpn);
    begin_hello();
    end_hello();
    made_len = 50; /* no list of extensions at all, as TLS 1.0 allowed */
    set_number(3, made_len - 5, 2);
    set_number(6, made_len - 9, 3);
    assert_made(CLIENTHELLO_OK);
    assert_int_equal(got.name_len, 0);
}

static void a_name_has_255_bytes_at_the_most(void **state)
{
    (void)state;
    char name[257];
    memset(name, 'a', sizeof name);
    name[255] = '\0';
    begin_hello();
    put_name(name);
    end_hello();
    assert_made(CLIENTHELLO_OK);
    assert_int_equal(got.name_len, 255);
    name[255] = 'a';
    name[256] = '\0';
    begin_hello();
    put_name(name);
    end_hello();
    assert_made(CLIENTHELLO_E_NAME);
}

static void more_protocols_than_there_is_room_for(void **state)
{
    (void)state;
    unsigned char alpn[2 + 100 * 4];
    for (size_t i = 2; i < sizeof alpn; i += 4)
        memcpy(alpn + i, "\x03xyz", 4);
    memcpy(alpn + 2, "\x03one", 4);
    alpn[0] = 400 >> 8;
    alpn[1] = 400 & 255;
    begin_hello();
    put_extension(16, alpn, sizeof alpn);
    put_name("a.b");
    end_hello();
    assert_made(CLIENTHELLO_OK);
    assert_true(got.alpn_cut);
    assert_true(clienthello_offers(&got, STR("one")));
    assert_str(str_of(got.name, got.name_len), "a.b");
}

/* ---- what is refused ---- */

static void names_that_are_none(void **state)
{
    (void)state;
    const char *const bad[] = {"", "a b", "a/b", "a:443", "a\x80", "[::1]", "a\r\nb", "*.a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        begin_hello();
        put_name(bad[i]);
        end_hello();
        assert_made(CLIENTHELLO_E_NAME);
    }
    begin_hello(); /* a NUL within */
    put_extension(0,
        "\0\x06\0\0\x03"
        "a\0b",
        8);
    end_hello();
    assert_made(CLIENTHELLO_E_NAME);
}

static void exactly_one_name(void **state)
{
    (void)state;
    begin_hello();
    put_extension(0, "\0\0", 2);
    end_hello();
    assert_made(CLIENTHELLO_E_NAMES);
    begin_hello();
    put_extension(0,
        "\0\x08\0\0\x01"
        "a\0\0\x01"
        "b",
        10);
    end_hello();
    assert_made(CLIENTHELLO_E_NAMES);
    begin_hello(); /* a type of name that is not a host's */
    put_extension(0,
        "\0\x04\x01\0\x01"
        "a",
        6);
    end_hello();
    assert_made(CLIENTHELLO_E_NAMES);
    begin_hello();
    put_name("a.b");
    put_name("a.b");
    end_hello();
    assert_made(CLIENTHELLO_E_TWICE);
    begin_hello();
    put_extension(16, "\0\x03\x02h2", 5);
    put_extension(16, "\0\x03\x02h2", 5);
    end_hello();
    assert_made(CLIENTHELLO_E_TWICE);
}

static void extensions_whose_lengths_are_off(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        const char *bytes;
        size_t n;
    } bad[] = {
        {0, "", 0}, {0, "\0", 1},
        {0,
            "\0\x04\0\0\x02"
            "a",
            6}, /* the name reaches past its list */
        {0,
            "\0\x05\0\0\x01"
            "a",
            6}, /* the list past its extension */
        {0,
            "\0\x04\0\0\x01"
            "ab",
            7},                                           /* bytes behind the list */
        {0, "\0\x01\0", 3}, {16, "", 0}, {16, "\0\0", 2}, /* no protocol */
        {16, "\0\x01\0", 3}, {16, "\0\x03\x03h2", 5}, {16, "\0\x02\x02h2", 5},
        {16, "\0\x04\x02h2\0", 6}, /* an empty protocol */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        begin_hello();
        put_extension(bad[i].type, bad[i].bytes, bad[i].n);
        end_hello();
        assert_made(CLIENTHELLO_E_LENGTH);
    }
}

/* Each vector of the message itself, one too long and one too short. */
static void vectors_that_do_not_fit(void **state)
{
    (void)state;
    static const size_t lengths[] = {43, 45, 48, 51};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (int by = -1; by <= 1; by += 2) {
            begin_hello();
            put_name("a.b");
            end_hello();
            made[lengths[i]] = (unsigned char)(made[lengths[i]] + by);
            if (read_n(made, made_len) != CLIENTHELLO_ERROR)
                fail_msg("length at %zu changed by %d: accepted", lengths[i], by);
            assert_string_equal(clienthello_error_word(why), "length");
        }
    unsigned char bytes[sizeof real];
    memcpy(bytes, real, sizeof real);
    bytes[8]--; /* of the message: it ends within its last extension */
    assert_int_equal(read_n(bytes, sizeof bytes), CLIENTHELLO_ERROR);
    assert_string_equal(clienthello_error_word(why), "length");
}

struct early {
    const char *bytes;
    size_t at, n; /* refused from the at-th byte on */
    enum clienthello_error why;
};

static void what_is_no_hello_is_known_early(void **state)
{
    (void)state;
    static const struct early cases[] = {
        {"GET / HTTP/1.1", 1, 14, CLIENTHELLO_E_NOT_TLS},
        {"SSH-2.0-x", 1, 9, CLIENTHELLO_E_NOT_TLS},
        {"\x80\x2e\x01\x03\x01", 1, 5, CLIENTHELLO_E_NOT_TLS}, /* SSL 2.0's form */
        {"\x17\x03\x03\0\x01x", 1, 6, CLIENTHELLO_E_NOT_TLS},
        {"\x16\x02\0", 2, 3, CLIENTHELLO_E_NOT_TLS},
        {"\x16\x03\x05\0\x10", 3, 5, CLIENTHELLO_E_RECORD},
        {"\x16\x03\x01\0\0", 5, 5, CLIENTHELLO_E_RECORD},
        {"\x16\x03\x01\x40\x01", 5, 5, CLIENTHELLO_E_RECORD},
        {"\x16\x03\x01\0\x05\x02\0\0\0", 6, 9, CLIENTHELLO_E_NOT_HELLO},
        {"\x16\x03\x01\0\x01\x01\x15\x03\x01", 7, 9, CLIENTHELLO_E_RECORD},
        {"\x16\x03\x01\0\x01\x01\x16\x03\x01\0\0", 11, 11, CLIENTHELLO_E_RECORD},
        {"\x16\x03\x01\x40\0\x01\x01\0\0", 9, 9, CLIENTHELLO_E_TOO_LONG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t n = 0; n <= cases[i].n; n++) {
            enum clienthello_status s = read_n(cases[i].bytes, n);
            if (s != (n < cases[i].at ? CLIENTHELLO_MORE : CLIENTHELLO_ERROR))
                fail_msg("case %zu: status %d after %zu bytes", i, s, n);
            if (n >= cases[i].at)
                assert_int_equal(why, cases[i].why);
        }
}

static void the_whole_is_bounded(void **state)
{
    (void)state;
    static const char zeros[CLIENTHELLO_MAX];
    begin_hello();
    put_extension(21, zeros, CLIENTHELLO_MAX - 52 - 4 - 12); /* padding */
    put_name("a.b");
    end_hello();
    assert_int_equal(made_len, CLIENTHELLO_MAX);
    assert_made(CLIENTHELLO_OK);
    assert_int_equal(got.name_len, 3);
    begin_hello();
    put_extension(21, zeros, CLIENTHELLO_MAX - 52 - 4 - 12 + 1);
    put_name("a.b");
    end_hello();
    assert_made(CLIENTHELLO_E_TOO_LONG);
    /* many tiny records: their headers count too */
    made_len = 0;
    put("\x16\x03\x01\0\x04\x01\0\x20\0", 9);
    while (made_len + 6 <= CLIENTHELLO_MAX)
        put("\x16\x03\x01\0\x01x", 6);
    assert_int_equal(read_n(made, made_len), CLIENTHELLO_MORE);
    put("\x16\x03\x01\0\x01x", 6);
    assert_made(CLIENTHELLO_E_TOO_LONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_real_one_at_every_split_point),
        cmocka_unit_test(what_follows_is_not_looked_at),
        cmocka_unit_test(over_records_of_every_size),
        cmocka_unit_test(without_a_name_or_without_extensions),
        cmocka_unit_test(a_name_has_255_bytes_at_the_most),
        cmocka_unit_test(more_protocols_than_there_is_room_for),
        cmocka_unit_test(names_that_are_none),
        cmocka_unit_test(exactly_one_name),
        cmocka_unit_test(extensions_whose_lengths_are_off),
        cmocka_unit_test(vectors_that_do_not_fit),
        cmocka_unit_test(what_is_no_hello_is_known_early),
        cmocka_unit_test(the_whole_is_bounded),
    };
    return unit_end(cmocka_run_group_tests(tests, read_hex, NULL));
}
