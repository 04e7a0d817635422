/* Blocks and handles: every size comes back for the same size, no handle moves. */
#include "lib/graph/slab.h"
#include "tests/unit/unit.h"

static void blocks_of_every_size_do_not_overlap(void **state)
{
    (void)state;
    enum { N = 600 };
    struct slab s = {0};
    unsigned char *blocks[N];
    uint32_t handles[N];
    for (unsigned i = 0; i < N; i++) {
        blocks[i] = slab_alloc(&s, i * 16 + 1, &handles[i]);
        assert_non_null(blocks[i]);
        assert_true(handles[i] != 0);
        assert_ptr_equal(slab_at(&s, handles[i]), blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 8, 0);
        memset(blocks[i], (int)(i % 251), i * 16 + 1);
    }
    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < i * 16 + 1; j++)
            assert_int_equal(blocks[i][j], i % 251);
    for (unsigned i = 0; i < N; i++)
        slab_free_block(&s, blocks[i], i * 16 + 1, handles[i]);
    slab_release(&s);
}

static void freed_blocks_serve_the_same_size_again(void **state)
{
    (void)state;
    struct slab s = {0};
    uint32_t first, second;
    void *block = slab_alloc(&s, 100, &first);
    assert_non_null(slab_alloc(&s, 100, NULL));
    size_t bytes = s.bytes;
    slab_free_block(&s, block, 100, first);
    assert_ptr_equal(slab_alloc(&s, 97, &second), block);
    assert_int_equal(first, second);
    for (unsigned i = 0; i < 100000; i++)
        slab_free_block(&s, slab_alloc(&s, 100, &first), 100, first);
    assert_int_equal(s.bytes, bytes);
    slab_release(&s);
}

static void large_blocks_go_back_to_the_heap_and_their_handles_are_used_again(void **state)
{
    (void)state;
    struct slab s = {0};
    uint32_t a, b, c;
    void *x = slab_alloc(&s, SLAB_SMALL + 1, &a), *y = slab_alloc(&s, 1000000, &b);
    size_t bytes = s.bytes;
    assert_ptr_equal(slab_at(&s, a), x);
    slab_free_block(&s, y, 1000000, b);
    assert_int_equal(s.bytes, bytes - 1000000);
    y = slab_alloc(&s, 500000, &c);
    assert_int_equal(b, c);
    assert_ptr_equal(slab_at(&s, c), y);
    slab_free_block(&s, y, 500000, c);
    y = slab_alloc(&s, 500000, NULL); /* by address only: no handle is taken */
    slab_free_block(&s, y, 500000, 0);
    slab_free_block(&s, x, SLAB_SMALL + 1, a);
    slab_release(&s);
}

static void failed_allocation_leaves_it_usable(void **state)
{
    (void)state;
    struct slab s = {0};
    uint32_t handle;
    for (unsigned nth = 1; nth <= 2; nth++) {
        mem_fail_nth(nth);
        assert_null(slab_alloc(&s, 10, &handle));
        mem_fail_nth(0);
    }
    assert_non_null(slab_alloc(&s, 10, &handle));
    mem_fail_nth(1);
    assert_null(slab_alloc(&s, SLAB_SMALL + 1, &handle));
    mem_fail_nth(0);
    slab_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_every_size_do_not_overlap),
        cmocka_unit_test(freed_blocks_serve_the_same_size_again),
        cmocka_unit_test(large_blocks_go_back_to_the_heap_and_their_handles_are_used_again),
        cmocka_unit_test(failed_allocation_leaves_it_usable),
    };
    return unit_run(tests);
}
