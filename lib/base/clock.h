/* What time it is, and times in milliseconds as libevent wants them. A worker has a clock of its
 * own, read once a turn (worker_clock). */
#ifndef OFFSHOOT_BASE_CLOCK_H
#define OFFSHOOT_BASE_CLOCK_H

#include <stdint.h>
#include <sys/time.h>
#include <time.h>

/* Monotonic, in microseconds. */
static inline uint64_t clock_mono_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}
/* The same in milliseconds. */
static inline uint64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}
/* Unix seconds. */
static inline int64_t clock_wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec;
}
/* The same in microseconds. */
static inline int64_t clock_wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
static inline struct timeval clock_timeval(uint64_t ms)
{
    return (struct timeval){(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
}

#endif
