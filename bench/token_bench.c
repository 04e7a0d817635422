/* What a signed context costs a request. Prints one JSON object, nanoseconds of CPU time.
 *
 *     token_bench
 *
 * verify_hit_ns    a token of 500 that are in use; parsing is not counted
 * verify_miss_ns   one that was not seen before: a mac is made
 * mint_hit_ns      one of 500 environments
 * mint_miss_ns     one that was not asked for before
 * request_ns       both at once, found: what a request of a mesh pays at most */
#include "lib/graph/keyring.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Of several readings the lowest counts: the others had more of the machine's other work in them.
 */
#define READINGS 8u
#define IN_USE   500u
#define HITS     500000u
#define MISSES   20000u
#define NOW      1800000000

static const char key[] = "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

struct made {
    struct token token; /* its parts point into text */
    char text[TOKEN_MAX];
    size_t n;
};

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "token_bench: %s\n", what);
    exit(1);
}

static struct signer *new_signer(void)
{
    struct err e = {0};
    struct keyring *k = keyring_parse(str_c(key), "key", "offshoot", &e);
    struct signer *s = k ? signer_new(k) : NULL;
    if (!s)
        die("no signer");
    keyring_unref(k);
    return s;
}

/* Environments as make_graph.py names them. */
static size_t name_of(unsigned i, char *out)
{
    return (size_t)sprintf(out, "feat-%u", 10000 + i);
}

static struct made *make(struct signer *s, unsigned n)
{
    struct made *all = calloc(n, sizeof *all);
    char name[32];
    for (unsigned i = 0; all && i < n; i++) {
        struct made *m = &all[i];
        m->n = signer_mint(s, 'm', str_of(name, name_of(i, name)), 0, 0, 0, NOW, m->text);
        if (token_parse(str_of(m->text, m->n), &m->token) != 0)
            die("a token does not parse");
    }
    if (!all)
        die("out of memory");
    return all;
}

static double verify_ns(struct signer *s, const struct made *all, unsigned n, unsigned rounds)
{
    double from = now_ns();
    for (unsigned i = 0; i < rounds; i++) {
        const struct made *m = &all[i * 7919u % n];
        if (signer_verify(s, str_of(m->text, m->n), &m->token, NOW) != FAULT_NONE)
            die("a token does not verify");
    }
    return (now_ns() - from) / rounds;
}

static double mint_ns(struct signer *s, const struct made *all, unsigned n, unsigned rounds)
{
    char out[TOKEN_MAX];
    size_t sum = 0;
    double from = now_ns();
    for (unsigned i = 0; i < rounds; i++)
        sum += signer_mint(s, 'm', all[i * 7919u % n].token.env, 0, 0, 0, NOW, out);
    double ns = (now_ns() - from) / rounds;
    return sum ? ns : 0;
}

static void keep_least(double *best, double ns)
{
    if (*best == 0 || ns < *best)
        *best = ns;
}

int main(void)
{
    double verify_hit = 0, verify_miss = 0, mint_hit = 0, mint_miss = 0;
    struct signer *maker = new_signer();
    struct made *used = make(maker, IN_USE), *fresh = make(maker, MISSES);
    for (unsigned i = 0; i < READINGS; i++) {
        struct signer *s = new_signer();
        keep_least(&verify_miss, verify_ns(s, fresh, MISSES, MISSES));
        keep_least(&mint_miss, mint_ns(s, fresh, MISSES, MISSES));
        signer_free(s);
        s = new_signer();
        verify_ns(s, used, IN_USE, IN_USE);
        mint_ns(s, used, IN_USE, IN_USE);
        keep_least(&verify_hit, verify_ns(s, used, IN_USE, HITS));
        keep_least(&mint_hit, mint_ns(s, used, IN_USE, HITS));
        signer_free(s);
    }
    printf("{\"verify_hit_ns\":%.1f,\"verify_miss_ns\":%.1f,\"mint_hit_ns\":%.1f,"
           "\"mint_miss_ns\":%.1f,\"request_ns\":%.1f}\n",
        verify_hit, verify_miss, mint_hit, mint_miss, verify_hit + mint_hit);
    free(used);
    free(fresh);
    signer_free(maker);
    return 0;
}
