/* Heap allocation that can be counted and made to fail.
 *
 * Every allocation of ours goes through here (libraries use their own). Not for the hot path: a
 * request takes its objects from free lists and pools. Thread-safe. */
#ifndef OFFSHOOT_BASE_MEM_H
#define OFFSHOOT_BASE_MEM_H

#include <stddef.h>

/* NULL when memory is out (or a test asked for it); the caller must handle it. */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
/* n * size is checked for overflow (NULL then). */
void *mem_array(size_t n, size_t size);
void *mem_realloc(void *p, size_t size);
/* Returns a new NUL-terminated copy of n bytes. */
char *mem_dup(const char *p, size_t n);
void mem_free(void *p);

/* For programs that take and free some hundred KiB for each thing they do: up to so many bytes that
 * were freed stay with the process, which else gives them back and faults them in again each time.
 * Once, at the start. */
void mem_keep_freed(size_t bytes);

/* Blocks given out and not freed. Zero at the end of a clean run. */
size_t mem_live(void);
/* Test hook: the nth allocation from now on (1 = the next) fails once; 0 switches it off. */
void mem_fail_nth(unsigned long n);
/* Allocations made since mem_fail_nth was last called. */
unsigned long mem_count(void);

#endif
