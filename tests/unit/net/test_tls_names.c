#include "lib/net/tls_names.h"

#include "tests/unit/unit.h"
#include <errno.h>

#define NONE TLS_NO_CERT

static void add(struct tls_names *t, const char *name, enum tls_kind kind, uint32_t cert)
{
    assert_int_equal(tls_names_add(t, str_c(name), kind, cert), 0);
}

static void expect(const struct tls_names *t, const char *name, uint32_t rsa, uint32_t ecdsa)
{
    uint32_t found[TLS_KINDS];
    bool any = tls_names_find(t, str_c(name), found);
    if (found[TLS_RSA] != rsa || found[TLS_ECDSA] != ecdsa || found[TLS_ED25519] != NONE)
        fail_msg("%s: %u %u", name, found[TLS_RSA], found[TLS_ECDSA]);
    assert_int_equal(any, rsa != NONE || ecdsa != NONE);
}

static void exact_names_go_before_wildcards_and_kinds_stand_side_by_side(void **state)
{
    struct tls_names t = {0};
    (void)state;
    add(&t, "a.example", TLS_RSA, 0);
    add(&t, "A.EXAMPLE.", TLS_ECDSA, 1);
    add(&t, "*.example", TLS_RSA, 2);
    add(&t, "*.example", TLS_ECDSA, 3);
    add(&t, "b.example", TLS_ECDSA, 4);
    add(&t, "deep.b.example", TLS_RSA, 5);
    tls_names_sort(&t);
    expect(&t, "a.example", 0, 1);
    expect(&t, "a.Example.", 0, 1);
    expect(&t, "c.example", 2, 3);
    expect(&t, "b.example", 2, 4); /* the wildcard's RSA, for those who speak nothing else */
    expect(&t, "deep.b.example", 5, NONE);
    expect(&t, "x.y.example", NONE, NONE); /* one label only */
    expect(&t, "example", NONE, NONE);
    expect(&t, ".example", NONE, NONE);
    expect(&t, "*.example", NONE, NONE);
    expect(&t, "", NONE, NONE);
    tls_names_release(&t);
}

static void the_first_one_under_a_name_stays(void **state)
{
    struct tls_names t = {0};
    (void)state;
    for (uint32_t i = 0; i < 100; i++)
        add(&t, "same.example", TLS_RSA, 7 + i);
    tls_names_sort(&t);
    expect(&t, "same.example", 7, NONE);
    tls_names_release(&t);
}

static void what_no_client_can_ask_for_is_refused(void **state)
{
    static const char *const bad[] = {"", ".", "*", "*.", "a..b", ".a", "f*.example", "*.*.example",
        "a b", "a/b", "\xc3\xa4.example"};
    struct tls_names t = {0};
    char longest[TLS_NAME_MAX + 2];
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (tls_names_add(&t, str_c(bad[i]), TLS_RSA, 0) != -EINVAL)
            fail_msg("'%s' was taken", bad[i]);
    memset(longest, 'a', sizeof(longest));
    assert_int_equal(tls_names_add(&t, str_of(longest, TLS_NAME_MAX + 1), TLS_RSA, 0), -EINVAL);
    assert_int_equal(tls_names_add(&t, str_of(longest, TLS_NAME_MAX), TLS_RSA, 3), 0);
    tls_names_sort(&t);
    uint32_t found[TLS_KINDS];
    assert_true(tls_names_find(&t, str_of(longest, TLS_NAME_MAX), found));
    assert_false(tls_names_find(&t, str_of(longest, TLS_NAME_MAX + 2), found));
    tls_names_release(&t);
}

/* A name with a NUL byte in it is another name than the part before it. */
static void a_nul_byte_ends_no_name(void **state)
{
    struct tls_names t = {0};
    uint32_t found[TLS_KINDS];
    (void)state;
    assert_int_equal(tls_names_add(&t, STR("a.example\0.evil"), TLS_RSA, 0), -EINVAL);
    add(&t, "a.example", TLS_RSA, 1);
    tls_names_sort(&t);
    assert_false(tls_names_find(&t, STR("a.example\0"), found));
    tls_names_release(&t);
}

static void without_memory_nothing_is_half_there(void **state)
{
    (void)state;
    for (unsigned long n = 1;; n++) {
        struct tls_names t = {0};
        mem_fail_nth(n);
        int rc = 0;
        for (uint32_t i = 0; i < 40 && rc == 0; i++)
            rc = tls_names_add(&t, STR("x.example"), TLS_RSA, i);
        mem_fail_nth(0);
        tls_names_sort(&t);
        tls_names_release(&t);
        if (rc == 0)
            return;
        assert_int_equal(rc, -ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_names_go_before_wildcards_and_kinds_stand_side_by_side),
        cmocka_unit_test(the_first_one_under_a_name_stays),
        cmocka_unit_test(what_no_client_can_ask_for_is_refused),
        cmocka_unit_test(a_nul_byte_ends_no_name),
        cmocka_unit_test(without_memory_nothing_is_half_there),
    };
    return unit_run(tests);
}
