#include "lib/base/bytes.h"
#include "tests/unit/unit.h"

enum { LONGEST = 70, MARGIN = 16 };

static void fill(char *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 + seed);
}

static void copies_every_length_and_nothing_around_it(void **state)
{
    (void)state;
    char from[LONGEST + 2 * MARGIN], to[LONGEST + 2 * MARGIN], want[LONGEST + 2 * MARGIN];
    for (size_t n = 0; n <= LONGEST; n++) {
        fill(from, sizeof from, 1);
        fill(to, sizeof to, 128);
        memcpy(want, to, sizeof to);
        memcpy(want + MARGIN, from + MARGIN, n);
        bytes_copy(to + MARGIN, from + MARGIN, n);
        assert_memory_equal(to, want, sizeof to);
    }
}

static void tells_any_one_byte_apart(void **state)
{
    (void)state;
    char a[LONGEST], b[LONGEST];
    for (size_t n = 0; n <= LONGEST; n++) {
        fill(a, sizeof a, 3);
        fill(b, sizeof b, 3);
        memset(b + n, 'x', sizeof b - n); /* what follows does not count */
        assert_true(bytes_eq(a, b, n));
        for (size_t i = 0; i < n; i++) {
            b[i] ^= 0x40;
            assert_false(bytes_eq(a, b, n));
            b[i] ^= 0x40;
        }
    }
}

/* Blocks of exactly the length: a sanitizer sees a step too far. */
static void touches_nothing_beyond(void **state)
{
    (void)state;
    for (size_t n = 1; n <= LONGEST; n++) {
        char *a = mem_alloc(n), *b = mem_alloc(n);
        assert_non_null(a);
        assert_non_null(b);
        fill(a, n, 5);
        bytes_copy(b, a, n);
        assert_true(bytes_eq(a, b, n));
        mem_free(a);
        mem_free(b);
    }
}

static void two_differences_do_not_cancel_out(void **state)
{
    (void)state;
    char a[24] = {0}, b[24] = {0};
    for (size_t i = 0; i < sizeof a; i++) {
        for (size_t j = i + 1; j < sizeof a; j++) {
            b[i] = b[j] = 1;
            assert_false(bytes_eq(a, b, sizeof a));
            b[i] = b[j] = 0;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_every_length_and_nothing_around_it),
        cmocka_unit_test(tells_any_one_byte_apart),
        cmocka_unit_test(touches_nothing_beyond),
        cmocka_unit_test(two_differences_do_not_cancel_out),
    };
    return unit_run(tests);
}
