#include "lib/base/mem.h"
#include <limits.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_size_t live;
static atomic_ulong count;
static atomic_ulong fail_at;

/* Counts one allocation; true when it is the one that a test wants to fail. */
static bool must_fail(void)
{
    unsigned long n = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed) + 1;
    return n == atomic_load_explicit(&fail_at, memory_order_relaxed);
}

static void *counted(void *p)
{
    if (p)
        atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return p;
}

/* malloc(0) may give NULL, which would read as a failure. */
static size_t at_least_1(size_t size)
{
    return size ? size : 1;
}

void *mem_alloc(size_t size)
{
    return must_fail() ? NULL : counted(malloc(at_least_1(size)));
}

void *mem_zalloc(size_t size)
{
    return must_fail() ? NULL : counted(calloc(1, at_least_1(size)));
}

void *mem_array(size_t n, size_t size)
{
    return size && n > SIZE_MAX / size ? NULL : mem_alloc(n * size);
}

void *mem_realloc(void *p, size_t size)
{
    if (!p)
        return mem_alloc(size);
    return must_fail() ? NULL : realloc(p, at_least_1(size));
}

char *mem_dup(const char *p, size_t n)
{
    char *copy = n < SIZE_MAX ? mem_alloc(n + 1) : NULL;
    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

void mem_free(void *p)
{
    if (!p)
        return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(p);
}

void mem_keep_freed(size_t bytes)
{
    int most = bytes < INT_MAX ? (int)bytes : INT_MAX;
    mallopt(M_TRIM_THRESHOLD, most);
    mallopt(M_MMAP_THRESHOLD, most / 2); /* larger blocks go back at once */
}

size_t mem_live(void)
{
    return atomic_load_explicit(&live, memory_order_relaxed);
}

void mem_fail_nth(unsigned long n)
{
    atomic_store_explicit(&fail_at, n, memory_order_relaxed);
    atomic_store_explicit(&count, 0, memory_order_relaxed);
}

unsigned long mem_count(void)
{
    return atomic_load_explicit(&count, memory_order_relaxed);
}
