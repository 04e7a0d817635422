#include "lib/base/pool.h"
#include "tests/unit/unit.h"
#include <errno.h>

static int order[16];
static int norder;

static void note(void *arg)
{
    order[norder++] = *(const int *)arg;
}

static void pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    struct pool *p = pool_new(512);
    assert_non_null(p);
    unsigned char *piece[200];
    for (int i = 0; i < 200; i++) {
        piece[i] = pool_alloc(p, (size_t)i);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % 16, 0);
        memset(piece[i], i, (size_t)i);
    }
    for (int i = 0; i < 200; i++) {
        for (int j = 0; j < i; j++)
            assert_int_equal(piece[i][j], i);
    }
    pool_free(p);
    pool_free(NULL);
}

static void large_pieces_do_not_waste_the_block(void **state)
{
    (void)state;
    struct pool *p = pool_new(4096);
    assert_non_null(p);
    char *before = pool_alloc(p, 16);
    size_t bytes = pool_bytes(p);
    char *large = pool_alloc(p, 1 << 20);
    assert_non_null(large);
    memset(large, 1, 1 << 20);
    assert_in_range(pool_bytes(p), bytes + (1 << 20), bytes + (1 << 20) + 64);
    assert_ptr_equal(pool_alloc(p, 16), before + 16);
    pool_free(p);
}

static void absurd_sizes_fail(void **state)
{
    (void)state;
    struct pool *p = pool_new(0);
    assert_non_null(p);
    assert_int_equal(pool_bytes(p), 512);
    assert_null(pool_alloc(p, SIZE_MAX));
    assert_null(pool_alloc(p, SIZE_MAX - 20));
    assert_null(pool_zalloc(p, SIZE_MAX / 2 + 1));
    assert_null(pool_str(p, str_of("", SIZE_MAX)).p);
    assert_non_null(pool_alloc(p, 1));
    pool_free(p);
    assert_null(pool_new(SIZE_MAX));
}

static void zalloc_clears_used_memory(void **state)
{
    (void)state;
    struct pool *p = pool_new(512);
    assert_non_null(p);
    memset(pool_alloc(p, 300), 0xff, 300);
    pool_clear(p);
    unsigned char *z = pool_zalloc(p, 300);
    for (int i = 0; i < 300; i++)
        assert_int_equal(z[i], 0);
    pool_free(p);
}

static void clear_keeps_the_first_block_only(void **state)
{
    (void)state;
    struct pool *p = pool_new(1024);
    assert_non_null(p);
    char *first = pool_alloc(p, 10);
    for (int i = 0; i < 100; i++)
        assert_non_null(pool_alloc(p, 100));
    assert_non_null(pool_alloc(p, 100000));
    assert_true(mem_live() > 10);
    pool_clear(p);
    assert_int_equal(mem_live(), 1);
    assert_int_equal(pool_bytes(p), 1024);
    assert_ptr_equal(pool_alloc(p, 10), first);
    pool_free(p);
}

static void destructors_run_in_reverse_and_once(void **state)
{
    (void)state;
    int n[] = {1, 2, 3};
    struct pool *p = pool_new(512);
    assert_non_null(p);
    norder = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pool_defer(p, note, &n[i]), 0);
    assert_int_equal(norder, 0);
    pool_clear(p);
    assert_int_equal(norder, 3);
    assert_int_equal(order[0], 3);
    assert_int_equal(order[1], 2);
    assert_int_equal(order[2], 1);
    pool_clear(p);
    assert_int_equal(norder, 3);
    assert_int_equal(pool_defer(p, note, &n[0]), 0);
    pool_free(p);
    assert_int_equal(norder, 4);
    assert_int_equal(order[3], 1);
}

struct chain {
    struct pool *pool;
    int n;
};

static void defer_again(void *arg)
{
    struct chain *c = arg;
    order[norder++] = c->n;
    if (--c->n > 0)
        assert_int_equal(pool_defer(c->pool, defer_again, c), 0);
}

static void a_destructor_may_register_another(void **state)
{
    (void)state;
    struct chain c = {pool_new(512), 3};
    assert_non_null(c.pool);
    norder = 0;
    assert_int_equal(pool_defer(c.pool, defer_again, &c), 0);
    pool_free(c.pool);
    assert_int_equal(norder, 3);
    assert_int_equal(order[2], 1);
}

static void strings_are_copied_and_terminated(void **state)
{
    (void)state;
    struct pool *p = pool_new(512);
    assert_non_null(p);
    struct str s = pool_str(p, str_of("abcdef", 3));
    assert_str(s, "abc");
    assert_int_equal(s.p[3], 0);
    s = pool_str(p, str_of(NULL, 0));
    assert_non_null(s.p);
    assert_int_equal(s.n, 0);
    assert_int_equal(s.p[0], 0);
    pool_free(p);
}

static void formats_of_any_length_fit(void **state)
{
    (void)state;
    struct pool *p = pool_new(512);
    assert_non_null(p);
    for (int width = 0; width < 1500; width += 7) {
        struct str s = pool_fmt(p, "%*s|", width, "");
        assert_non_null(s.p);
        assert_int_equal(s.n, width + 1);
        assert_int_equal(strlen(s.p), s.n);
        assert_int_equal(s.p[width], '|');
    }
    struct str a = pool_fmt(p, "%d-%s", 7, "x");
    struct str b = pool_fmt(p, "%s", a.p);
    assert_str(a, "7-x");
    assert_str(b, "7-x");
    pool_free(p);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    int one = 1;
    mem_fail_nth(1);
    assert_null(pool_new(512));
    struct pool *p = pool_new(512);
    assert_non_null(p);
    while (pool_bytes(p) == 512) /* until the block is full, and one further */
        assert_non_null(pool_alloc(p, 64));
    size_t bytes = pool_bytes(p);
    for (int i = 0; i < 4; i++) {
        mem_fail_nth(1);
        assert_null(pool_alloc(p, 600));
        mem_fail_nth(1);
        assert_null(pool_zalloc(p, 600));
        mem_fail_nth(1);
        assert_null(pool_fmt(p, "%600s", "").p);
    }
    assert_int_equal(pool_bytes(p), bytes);
    norder = 0;
    int registered = 0;
    for (int i = 0; i < 100; i++) { /* fails whenever a new block is due, and then succeeds */
        mem_fail_nth(1);
        int rc = pool_defer(p, note, &one);
        mem_fail_nth(0);
        if (rc == 0) {
            registered++;
            continue;
        }
        assert_int_equal(rc, -ENOMEM);
        break;
    }
    assert_true(registered < 16); /* the block has room for fewer */
    pool_free(p);
    assert_int_equal(norder, registered);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_apart),
        cmocka_unit_test(large_pieces_do_not_waste_the_block),
        cmocka_unit_test(absurd_sizes_fail),
        cmocka_unit_test(zalloc_clears_used_memory),
        cmocka_unit_test(clear_keeps_the_first_block_only),
        cmocka_unit_test(destructors_run_in_reverse_and_once),
        cmocka_unit_test(a_destructor_may_register_another),
        cmocka_unit_test(strings_are_copied_and_terminated),
        cmocka_unit_test(formats_of_any_length_fit),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return unit_run(tests);
}
