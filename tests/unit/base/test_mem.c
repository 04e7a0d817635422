#include "lib/base/mem.h"
#include "tests/unit/unit.h"
#include <pthread.h>

static void live_counts_blocks(void **state)
{
    (void)state;
    void *a = mem_alloc(1);
    void *b = mem_zalloc(100);
    char *c = mem_dup("abc", 2);
    assert_int_equal(mem_live(), 3);
    assert_string_equal(c, "ab");
    assert_int_equal(((char *)b)[99], 0);
    a = mem_realloc(a, 1000);
    assert_int_equal(mem_live(), 3);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(NULL);
    assert_int_equal(mem_live(), 0);
}

static void nothing_is_a_block_too(void **state)
{
    (void)state;
    void *blocks[] = {mem_alloc(0), mem_zalloc(0), mem_array(0, 8), mem_array(8, 0),
        mem_realloc(NULL, 0), mem_dup(NULL, 0), mem_realloc(mem_alloc(4), 0)};
    const size_t n = sizeof(blocks) / sizeof(blocks[0]);

    assert_int_equal(mem_live(), n);
    for (size_t i = 0; i < n; i++) {
        assert_non_null(blocks[i]);
        mem_free(blocks[i]);
    }
}

static void array_refuses_an_overflow(void **state)
{
    (void)state;
    size_t half = SIZE_MAX / 2;
    assert_null(mem_array(half, 3));
    assert_null(mem_array(3, half));
    assert_null(mem_dup("", SIZE_MAX));
    assert_int_equal(mem_live(), 0);
    void *p = mem_array(3, 5);
    assert_non_null(p);
    memset(p, 1, 15);
    mem_free(p);
}

static void exactly_the_nth_allocation_fails(void **state)
{
    (void)state;
    mem_fail_nth(3);
    void *a = mem_alloc(1);
    void *b = mem_zalloc(1);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(mem_array(1, 1));
    char *c = mem_dup("x", 1);
    assert_non_null(c);
    assert_int_equal(mem_count(), 4);
    mem_fail_nth(1);
    assert_null(mem_realloc(a, 10)); /* a stays as it was */
    assert_int_equal(mem_count(), 1);
    mem_fail_nth(1);
    assert_null(mem_realloc(NULL, 10));
    mem_fail_nth(1);
    assert_null(mem_zalloc(1));
    mem_fail_nth(1);
    assert_null(mem_dup("x", 1));
    mem_fail_nth(0);
    void *d = mem_alloc(1);
    assert_non_null(d);
    assert_int_equal(mem_live(), 4);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
}

#define THREADS 4
#define ROUNDS  2000

static void *allocate_much(void *arg)
{
    size_t *failed = arg;
    for (int i = 0; i < ROUNDS; i++) {
        void *p = mem_alloc(16);
        *failed += !p;
        mem_free(p);
    }
    return NULL;
}

static void threads_share_the_counts(void **state)
{
    (void)state;
    pthread_t thread[THREADS];
    size_t failed[THREADS] = {0};
    size_t all = 0;

    mem_fail_nth(THREADS * ROUNDS / 2);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, allocate_much, &failed[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        all += failed[i];
    }
    assert_int_equal(mem_count(), THREADS * ROUNDS);
    assert_int_equal(all, 1);
    assert_int_equal(mem_live(), 0);
    mem_fail_nth(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_counts_blocks),
        cmocka_unit_test(nothing_is_a_block_too),
        cmocka_unit_test(array_refuses_an_overflow),
        cmocka_unit_test(exactly_the_nth_allocation_fails),
        cmocka_unit_test(threads_share_the_counts),
    };
    return unit_run(tests);
}
