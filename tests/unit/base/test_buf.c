#include "lib/base/buf.h"
#include "tests/unit/unit.h"
#include <errno.h>

static void an_empty_buffer_holds_nothing(void **state)
{
    (void)state;
    struct bufpool bp;
    struct buf b = {0};
    bufpool_init(&bp, 64, 2, 4);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(buf_space(&b), 0);
    assert_true(buf_put(&b, NULL, 0));
    assert_false(buf_put(&b, "x", 1));
    buf_drop(&b, &bp);
    assert_int_equal(bp.nused, 0);
    assert_int_equal(mem_live(), 0);
    bufpool_release(&bp);
}

static void a_block_is_the_bound(void **state)
{
    (void)state;
    struct bufpool bp;
    struct buf b = {0};
    char bytes[65];
    memset(bytes, 'x', sizeof(bytes));
    bufpool_init(&bp, 64, 2, 4);
    assert_int_equal(buf_hold(&b, &bp), 0);
    assert_false(buf_put(&b, bytes, 65));
    assert_int_equal(buf_len(&b), 0);
    assert_true(buf_put(&b, bytes, 64));
    assert_int_equal(buf_len(&b), 64);
    assert_int_equal(buf_space(&b), 0);
    assert_false(buf_put(&b, bytes, 1));
    buf_drop(&b, &bp);
    bufpool_release(&bp);
}

static void holding_twice_keeps_the_bytes(void **state)
{
    (void)state;
    struct bufpool bp;
    struct buf b = {0};
    bufpool_init(&bp, 64, 2, 4);
    assert_int_equal(buf_hold(&b, &bp), 0);
    assert_true(buf_put(&b, "abc", 3));
    assert_int_equal(buf_hold(&b, &bp), 0);
    assert_int_equal(bp.nused, 1);
    assert_str(str_of(buf_head(&b), buf_len(&b)), "abc");
    buf_drop(&b, &bp);
    assert_null(b.data);
    assert_int_equal(buf_len(&b), 0);
    bufpool_release(&bp);
}

static void consume_and_compact_make_room(void **state)
{
    (void)state;
    struct bufpool bp;
    struct buf b = {0};
    bufpool_init(&bp, 16, 2, 4);
    assert_int_equal(buf_hold(&b, &bp), 0);
    assert_true(buf_put(&b, "0123456789abcdef", 16));
    buf_consume(&b, 6);
    assert_int_equal(buf_space(&b), 0);
    buf_compact(&b);
    assert_int_equal(buf_space(&b), 6);
    assert_str(str_of(buf_head(&b), buf_len(&b)), "6789abcdef");
    buf_compact(&b);
    assert_str(str_of(buf_head(&b), buf_len(&b)), "6789abcdef");
    buf_consume(&b, 10);
    assert_int_equal(buf_space(&b), 16); /* an emptied buffer starts again by itself */
    buf_drop(&b, &bp);
    bufpool_release(&bp);
}

static void the_limit_is_on_blocks_out(void **state)
{
    (void)state;
    struct bufpool bp;
    struct buf b[4] = {{0}};
    bufpool_init(&bp, 32, 1, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(buf_hold(&b[i], &bp), 0);
    assert_int_equal(buf_hold(&b[3], &bp), -ENOBUFS);
    assert_null(b[3].data);
    buf_drop(&b[0], &bp);
    assert_int_equal(buf_hold(&b[3], &bp), 0);
    for (int i = 1; i < 4; i++)
        buf_drop(&b[i], &bp);
    assert_int_equal(bp.nused, 0);
    assert_int_equal(bp.nfree, 3); /* as many as were out */
    bufpool_trim(&bp);
    assert_int_equal(bp.nfree, 3); /* they were needed since the last time */
    bufpool_trim(&bp);
    assert_int_equal(bp.nfree, 1);
    assert_int_equal(mem_live(), 1); /* keep = 1: the others went back to the heap */
    bufpool_release(&bp);
    assert_int_equal(mem_live(), 0);
}

static void free_blocks_are_used_again(void **state)
{
    (void)state;
    struct bufpool bp;
    struct buf a = {0}, b = {0};
    bufpool_init(&bp, 32, 2, 2);
    assert_int_equal(buf_hold(&a, &bp), 0);
    assert_int_equal(buf_hold(&b, &bp), 0);
    const char *pa = a.data, *pb = b.data;
    buf_drop(&a, &bp);
    buf_drop(&b, &bp);
    mem_fail_nth(1); /* no allocation is needed */
    assert_int_equal(buf_hold(&a, &bp), 0);
    assert_int_equal(buf_hold(&b, &bp), 0);
    mem_fail_nth(0);
    assert_ptr_equal(a.data, pb);
    assert_ptr_equal(b.data, pa);
    buf_drop(&a, &bp);
    buf_drop(&b, &bp);
    bufpool_release(&bp);
}

static void failed_memory_leaves_the_buffer_empty(void **state)
{
    (void)state;
    struct bufpool bp;
    struct buf b = {0};
    bufpool_init(&bp, 32, 2, 2);
    mem_fail_nth(1);
    assert_int_equal(buf_hold(&b, &bp), -ENOMEM);
    mem_fail_nth(0);
    assert_null(b.data);
    assert_int_equal(bp.nused, 0);
    assert_int_equal(buf_hold(&b, &bp), 0);
    buf_drop(&b, &bp);
    bufpool_release(&bp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_holds_nothing),
        cmocka_unit_test(a_block_is_the_bound),
        cmocka_unit_test(holding_twice_keeps_the_bytes),
        cmocka_unit_test(consume_and_compact_make_room),
        cmocka_unit_test(the_limit_is_on_blocks_out),
        cmocka_unit_test(free_blocks_are_used_again),
        cmocka_unit_test(failed_memory_leaves_the_buffer_empty),
    };
    return unit_run(tests);
}
