#include "lib/compare/inflate.h"

#include "tests/unit/compare/deflated.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdlib.h>

enum { GZIP = 31, ZLIB = 15, RAW = -15, LONG = 300000 };

static const char plain[] = "{\"items\":[{\"price\":12},{\"price\":12},{\"price\":13}]}";

static struct str coding_name(int window)
{
    return window == GZIP ? STR("gzip") : STR("deflate");
}

/* 0 and the text given, or an error that leaves both outputs alone. */
static void assert_inflates(struct str coding, struct str body, const char *want)
{
    struct str got = {0};
    char *owned = NULL;
    assert_int_equal(body_inflate(coding, body, 4096, &got, &owned), 0);
    assert_str(got, want);
    mem_free(owned);
}

static void assert_fails(struct str coding, struct str body, uint32_t max, int want)
{
    struct str got = STR("before");
    char untouched, *owned = &untouched;
    assert_int_equal(body_inflate(coding, body, max, &got, &owned), want);
    assert_str(got, "before");
    assert_ptr_equal(owned, &untouched);
}

static void what_was_packed_comes_back(void **state)
{
    (void)state;
    static const int windows[] = {GZIP, ZLIB, RAW};
    char packed[256];
    for (size_t i = 0; i < 3; i++) {
        struct str p = deflated(windows[i], STR(plain), packed, sizeof(packed));
        assert_inflates(coding_name(windows[i]), p, plain);
    }
    struct str p = deflated(GZIP, STR(plain), packed, sizeof(packed));
    assert_inflates(STR("X-GZip"), p, plain);
    p = deflated(GZIP, STR(""), packed, sizeof(packed));
    assert_inflates(STR("gzip"), p, "");
}

/* Small windows have other heads (RFC 1950 2.2): they are zlib all the same. */
static void any_window_of_zlib_is_known(void **state)
{
    (void)state;
    char packed[256];
    for (int window = 9; window <= 15; window++)
        assert_inflates(
            STR("deflate"), deflated(window, STR(plain), packed, sizeof(packed)), plain);
}

static void identity_borrows(void **state)
{
    (void)state;
    static const char *const names[] = {"", "identity", " Identity ,, identity", ","};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct str got;
        char *owned;
        assert_int_equal(body_inflate(str_c(names[i]), STR(plain), 4096, &got, &owned), 0);
        assert_ptr_equal(got.p, plain);
        assert_null(owned);
    }
    assert_fails(STR("identity"), STR(plain), sizeof(plain) - 2, -E2BIG);
}

static void an_empty_body_stays_empty(void **state)
{
    (void)state;
    assert_inflates(STR("gzip"), STR(""), "");
    assert_inflates(STR("deflate, gzip"), str_of(NULL, 0), "");
}

static void codings_are_undone_last_first(void **state)
{
    (void)state;
    char inner[256], outer[256];
    struct str p = deflated(ZLIB, STR(plain), inner, sizeof(inner));
    p = deflated(GZIP, p, outer, sizeof(outer));
    assert_inflates(STR("deflate, identity,gzip"), p, plain);
    assert_fails(STR("gzip, deflate"), p, 4096, -EBADMSG);
}

static void four_codings_and_no_more(void **state)
{
    (void)state;
    char a[512], b[512];
    struct str p = STR(plain);
    for (int i = 0; i < 4; i++)
        p = deflated(GZIP, p, i % 2 ? a : b, 512);
    assert_inflates(STR("gzip,gzip,gzip,gzip"), p, plain);
    assert_fails(STR("gzip,gzip,gzip,gzip,gzip"), p, 4096, -ENOTSUP);
    assert_fails(STR("identity,identity,identity,identity,identity"), p, 4096, -ENOTSUP);
}

static void other_codings_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"br", "zstd", "compress", "gzip, br", "gzip2", "gzip;q=1"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_fails(str_c(names[i]), STR(plain), 4096, -ENOTSUP);
}

static void cut_at_any_byte_is_broken(void **state)
{
    (void)state;
    static const int windows[] = {GZIP, ZLIB, RAW};
    char packed[256];
    for (size_t i = 0; i < 3; i++) {
        struct str p = deflated(windows[i], STR(plain), packed, sizeof(packed));
        for (size_t n = 1; n < p.n; n++) {
            char *exact = mem_dup(p.p, n); /* a sanitizer sees reads past the cut */
            assert_fails(coding_name(windows[i]), str_of(exact, n), 4096, -EBADMSG);
            mem_free(exact);
        }
    }
}

static void what_follows_is_broken(void **state)
{
    (void)state;
    static const int windows[] = {GZIP, ZLIB, RAW};
    char packed[256];
    for (size_t i = 0; i < 3; i++) {
        struct str p = deflated(windows[i], STR(plain), packed, sizeof(packed));
        for (int byte = 0; byte < 256; byte++) {
            packed[p.n] = (char)byte;
            assert_fails(coding_name(windows[i]), str_of(p.p, p.n + 1), 4096, -EBADMSG);
        }
    }
}

static void a_wrong_checksum_is_broken(void **state)
{
    (void)state;
    char packed[256];
    struct str p = deflated(GZIP, STR(plain), packed, sizeof(packed));
    for (size_t back = 1; back <= 8; back++) {
        packed[p.n - back] ^= 1;
        assert_fails(STR("gzip"), p, 4096, -EBADMSG);
        packed[p.n - back] ^= 1;
    }
    p = deflated(ZLIB, STR(plain), packed, sizeof(packed));
    packed[p.n - 1] ^= 1;
    assert_fails(STR("deflate"), p, 4096, -EBADMSG);
}

static void a_wanted_dictionary_is_broken(void **state)
{
    (void)state;
    assert_fails(STR("deflate"), STR("\x78\xbb\x00\x00\x00\x01\x03\x00"), 4096, -EBADMSG);
}

static void gzip_members_are_joined(void **state)
{
    (void)state;
    char packed[512];
    struct str a = deflated(GZIP, STR("one "), packed, sizeof(packed));
    struct str b = deflated(GZIP, STR("two"), packed + a.n, sizeof(packed) - a.n);
    assert_inflates(STR("gzip"), str_of(packed, a.n + b.n), "one two");
    for (size_t n = a.n + 1; n < a.n + b.n; n++)
        assert_fails(STR("gzip"), str_of(packed, n), 4096, -EBADMSG);
    a = deflated(ZLIB, STR("one "), packed, sizeof(packed));
    b = deflated(ZLIB, STR("two"), packed + a.n, sizeof(packed) - a.n);
    assert_fails(STR("deflate"), str_of(packed, a.n + b.n), 4096, -EBADMSG);
}

static void the_limit_is_exact(void **state)
{
    (void)state;
    static char bomb[LONG], packed[LONG];
    static const uint32_t sizes[] = {1, 4095, 4096, 4097, 8192, 65536, LONG};
    memset(bomb, 'a', LONG);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct str p = deflated(GZIP, str_of(bomb, sizes[i]), packed, sizeof(packed));
        struct str got;
        char *owned;
        assert_int_equal(body_inflate(STR("gzip"), p, sizes[i], &got, &owned), 0);
        assert_int_equal(got.n, sizes[i]);
        assert_memory_equal(got.p, bomb, sizes[i]);
        mem_free(owned);
        assert_fails(STR("gzip"), p, sizes[i] - 1, -E2BIG);
    }
    assert_fails(STR("gzip"), deflated(GZIP, STR("a"), packed, sizeof(packed)), 0, -E2BIG);
}

/* A small stream of a stream of many bytes: the limit holds for what is between too. */
static void a_bomb_in_a_bomb_is_stopped(void **state)
{
    (void)state;
    static char bomb[LONG], inner[LONG], outer[LONG];
    memset(bomb, 0, LONG);
    struct str p = deflated(GZIP, str_of(bomb, LONG), inner, LONG);
    p = deflated(GZIP, p, outer, LONG);
    assert_fails(STR("gzip, gzip"), p, LONG - 1, -E2BIG);
    assert_fails(STR("gzip, gzip"), p, 64, -E2BIG);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    static char text[LONG], packed[LONG];
    for (size_t i = 0; i < LONG; i++)
        text[i] = (char)(i * i >> 7);
    struct str p = deflated(GZIP, str_of(text, 20000), packed, LONG);
    struct str got;
    char *owned;
    unsigned long n = 1;
    for (;; n++) {
        mem_fail_nth(n);
        int r = body_inflate(STR("gzip"), p, 1 << 20, &got, &owned);
        bool all = mem_count() < n;
        mem_fail_nth(0);
        if (r == 0) {
            mem_free(owned);
            assert_true(all);
            break;
        }
        assert_int_equal(r, -ENOMEM);
        assert_int_equal(mem_live(), 0);
    }
    assert_true(n > 4); /* zlib's state and window, and the output growing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_packed_comes_back),
        cmocka_unit_test(any_window_of_zlib_is_known),
        cmocka_unit_test(identity_borrows),
        cmocka_unit_test(an_empty_body_stays_empty),
        cmocka_unit_test(codings_are_undone_last_first),
        cmocka_unit_test(four_codings_and_no_more),
        cmocka_unit_test(other_codings_are_refused),
        cmocka_unit_test(cut_at_any_byte_is_broken),
        cmocka_unit_test(what_follows_is_broken),
        cmocka_unit_test(a_wrong_checksum_is_broken),
        cmocka_unit_test(a_wanted_dictionary_is_broken),
        cmocka_unit_test(gzip_members_are_joined),
        cmocka_unit_test(the_limit_is_exact),
        cmocka_unit_test(a_bomb_in_a_bomb_is_stopped),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return unit_run(tests);
}
