/* How fast is this machine just now? Two numbers that need nothing of Offshoot, to be held beside
 * times that have no peer to be compared with. Prints one line of JSON:
 *
 *   yardstick [MEGABYTES]
 *
 * read_ns     one read at a random place of so much memory (40), each waiting for the one before:
 *             what a miss of the nearer caches costs
 * work_ns     a thousand dependent multiplications: what plain arithmetic costs */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define READS 4000000u
#define WORK  200000u

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t next_random(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

/* One cycle through all places (Sattolo's shuffle), a cache line each. */
static void link_places(uint32_t (*at)[16], uint32_t n)
{
    uint64_t state = 88172645463325252u;
    for (uint32_t i = 0; i < n; i++)
        at[i][0] = i;
    for (uint32_t i = n - 1; i > 0; i--) {
        state = next_random(state);
        uint32_t j = (uint32_t)(state % i), t = at[i][0];
        at[i][0] = at[j][0];
        at[j][0] = t;
    }
}

static double read_ns(uint32_t (*at)[16], uint32_t *place)
{
    double from = now_ns();
    for (uint32_t i = 0; i < READS; i++)
        *place = at[*place][0];
    return (now_ns() - from) / READS;
}

static double work_ns(uint64_t *x)
{
    double from = now_ns();
    for (uint32_t i = 0; i < WORK; i++)
        for (uint32_t k = 0; k < 1000; k++)
            *x = *x * 0x2545f4914f6cdd1du + k;
    return (now_ns() - from) / WORK;
}

int main(int argc, char **argv)
{
    unsigned long megabytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 40;
    if (megabytes == 0 || megabytes > 4096) {
        fprintf(stderr, "yardstick: 1 to 4096 megabytes\n");
        return 1;
    }
    uint32_t n = (uint32_t)(megabytes * 1000000 / 64), place = 0;
    uint32_t(*at)[16] = malloc(n * sizeof *at);
    if (!at) {
        fprintf(stderr, "yardstick: out of memory\n");
        return 1;
    }
    link_places(at, n);
    uint64_t x = 1;
    double r = read_ns(at, &place), w = work_ns(&x);
    /* The sums are looked at, so that the compiler keeps what makes them. */
    printf("{\"read_ns\":%.1f,\"work_ns\":%.1f,\"kept\":%u}\n", r, w, (unsigned)(place ^ x) & 1u);
    free(at);
    return 0;
}
