/* What a graph costs: compile, compile again, resolve, memory. Prints one JSON object.
 *
 *     resolve_bench PATH...     PATH: a graph file or folder, e.g. from bench/make_graph.py
 *
 * resolve_ns       mean of a resolve, uniform random environment and service, from numbers
 * from_bytes_ns    the same from a token and an authority as bytes
 * compile_ms       model to snapshot, from nothing
 * recompile_ms     on the first one, the model with one changed environment
 * apply_us         a difference of one environment, as bytes, applied to a snapshot
 * apply_bytes      memory that this took */
#include "lib/base/files.h"
#include "lib/base/mem.h"
#include "lib/graph/codec.h"
#include "lib/graph/context.h"
#include "lib/graph/load.h"
#include "lib/graph/snapshot.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Of several readings the lowest counts: the others had more of the machine's other work in them.
 */
#define READINGS 8u
#define ROUNDS   500000u /* questions of one reading */
#define APPLIES  2000u

/* CPU time: other work on the machine should not count. */
static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* xorshift64*: enough for indices, and cheap beside what is measured. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1du;
}

static uint32_t below(uint64_t *state, uint32_t n)
{
    return (uint32_t)((next_random(state) >> 32) * n >> 32);
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "resolve_bench: %s\n", what);
    exit(1);
}

static struct load_source *sources_of(struct files *f, size_t *ret_n)
{
    if (files_read(f) < 0)
        die("cannot read the graph");
    struct load_source *s = calloc(files_count(f) + 1, sizeof(*s));
    for (size_t i = 0; s && i < files_count(f); i++) {
        const struct file *file = files_at(f, i);
        s[i] = (struct load_source){
            file->name, file->bytes, file->generation, file->error.code ? file->error.text : NULL};
    }
    if (!s)
        die("out of memory");
    *ret_n = files_count(f);
    return s;
}

/* One reading: nanoseconds a question. `empty` does all but resolve. */
static double resolve_reading(const struct snapshot *s, uint64_t *state, bool empty)
{
    uint64_t sum = 0;
    uint32_t envs = snapshot_env_limit(s), services = snapshot_service_limit(s);
    double from = now_ns();
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct decision d = {0};
        uint32_t env = below(state, envs), service = below(state, services);
        if (!empty)
            snapshot_resolve(s, env, service, 1700000000, &d);
        sum += d.provider + env + service;
    }
    double ns = (now_ns() - from) / ROUNDS;
    return sum == 0 ? 0 : ns;
}

static double resolve_ns(const struct snapshot *s, bool empty)
{
    uint64_t state = 88172645463325252u;
    double best = 1e9;
    for (unsigned i = 0; i < READINGS; i++) {
        double ns = resolve_reading(s, &state, empty);
        best = ns < best ? ns : best;
    }
    return best;
}

#define PROBES 65536u
struct probe {
    uint8_t token_len, host_len;
    char token[78], host[48];
};

static struct probe *probes_of(const struct snapshot *s)
{
    uint64_t state = 123456789;
    char token[TOKEN_MAX];
    struct probe *p = calloc(PROBES, sizeof(*p));
    if (!p)
        die("out of memory");
    for (unsigned i = 0; i < PROBES; i++) {
        struct str env = snapshot_env_name(s, below(&state, snapshot_env_limit(s)));
        struct str service = snapshot_service_name(s, below(&state, snapshot_service_limit(s)));
        size_t n = token_write(env, 1, 0, token);
        if (n > sizeof(p[i].token))
            die("names are too long for this bench");
        memcpy(p[i].token, token, n);
        p[i].token_len = (uint8_t)n;
        int h = snprintf(p[i].host, sizeof(p[i].host), "%.*s:8080", STR_ARG(service));
        if (h < 0 || (size_t)h >= sizeof(p[i].host))
            die("names are too long for this bench");
        p[i].host_len = (uint8_t)h;
    }
    return p;
}

/* The probes are read in a row, as bytes that just came from a socket are at hand. */
static double from_bytes_reading(const struct snapshot *s, const struct probe *probes, unsigned at)
{
    uint64_t sum = 0;
    double from = now_ns();
    for (unsigned i = 0; i < ROUNDS; i++) {
        const struct probe *p = &probes[(at + i) % PROBES];
        struct token t;
        struct route r;
        struct decision d;
        if (token_parse(str_of(p->token, p->token_len), &t) < 0 ||
            route_pick(NULL, snapshot_hosts(s), str_of(p->host, p->host_len), STR("/x"), &r) < 0)
            die("a probe does not parse");
        snapshot_resolve(s, snapshot_find_env(s, t.env), r.service, 1700000000, &d);
        sum += d.provider;
    }
    double ns = (now_ns() - from) / ROUNDS;
    return sum == 0 ? 0 : ns;
}

static double from_bytes_ns(const struct snapshot *s, const struct probe *probes)
{
    double best = 1e9;
    for (unsigned i = 0; i < READINGS; i++) {
        double ns = from_bytes_reading(s, probes, i * ROUNDS);
        best = ns < best ? ns : best;
    }
    return best;
}

/* Changes one overlay's endpoints in the model, as an edit of its document would. */
static void edit_one(const struct model *m, uint32_t *seed)
{
    struct model_env *e = m->envs[m->nenvs / 2 + *seed % 1000];
    *seed += 1;
    for (uint32_t i = 0; i < e->nstatements; i++)
        if (e->statements[i].kind == STATEMENT_PROVIDES) {
            e->statements[i].endpoints[0].addr.port ^= (uint16_t)(1 + *seed % 512);
            break;
        }
    e->fingerprint += 1 + *seed;
}

struct applied {
    double us;
    size_t memory, wire;
};

static struct applied measure_apply(const struct snapshot *old, const struct snapshot *newer)
{
    struct applied r = {0};
    struct pb_out bytes = {0};
    struct err e;
    struct snapshot *whole = NULL, *next = NULL;
    /* A receiver of its own: it has the whole, then gets the difference. */
    if (codec_encode(NULL, old, &bytes, &e) < 0 ||
        codec_apply(NULL, pb_str(&bytes), &whole, NULL, &e) < 0)
        die(e.text);
    bytes.n = 0;
    if (codec_encode(old, newer, &bytes, &e) < 0)
        die(e.text);
    r.wire = bytes.n;
    double from = now_ns();
    for (unsigned i = 0; i < APPLIES; i++) {
        if (codec_apply(whole, pb_str(&bytes), &next, NULL, &e) < 0)
            die(e.text);
        snapshot_unref(next);
    }
    r.us = (now_ns() - from) / APPLIES / 1000;
    if (codec_apply(whole, pb_str(&bytes), &next, NULL, &e) < 0)
        die(e.text);
    r.memory = snapshot_own_bytes(next);
    snapshot_unref(next);
    snapshot_unref(whole);
    pb_release(&bytes);
    return r;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        die("usage: resolve_bench PATH...");
    struct file_limits limits = FILE_LIMITS_DEFAULT;
    struct files *files = files_new((const char *const *)argv + 1, (size_t)argc - 1, &limits);
    struct loader *loader = loader_new(NULL);
    struct findings findings;
    const struct model *m;
    struct snapshot *s = NULL, *next = NULL;
    struct err e;
    size_t n;
    if (!files || !loader)
        die("out of memory");
    findings_init(&findings);
    struct load_source *sources = sources_of(files, &n);
    double t0 = now_ns();
    if (loader_load(loader, sources, n, &findings, &m) < 0 || findings.errors)
        die("the graph is not valid");
    double t1 = now_ns();
    if (snapshot_compile(&s, NULL, m, 1, NULL, &e) < 0)
        die(e.text);
    double t2 = now_ns();
    uint32_t seed = 1;
    edit_one(m, &seed);
    double t3 = now_ns();
    if (snapshot_compile(&next, s, m, 2, NULL, &e) < 0)
        die(e.text);
    double t4 = now_ns();
    const unsigned char *root = snapshot_root(s);
    double t5 = now_ns();
    struct probe *probes = probes_of(s);
    double net = resolve_ns(s, false) - resolve_ns(s, true);
    double bytes_ns = from_bytes_ns(s, probes);
    struct applied a = measure_apply(s, next);
    printf("{\"environments\":%u,\"services\":%u,\"load_ms\":%.1f,\"compile_ms\":%.1f,"
           "\"recompile_ms\":%.2f,\"root_ms\":%.1f,\"snapshot_bytes\":%zu,\"resolve_ns\":%.1f,"
           "\"from_bytes_ns\":%.1f,\"apply_us\":%.1f,\"apply_bytes\":%zu,\"wire_bytes\":%zu}\n",
        snapshot_env_count(s), snapshot_service_count(s), (t1 - t0) / 1e6, (t2 - t1) / 1e6,
        (t4 - t3) / 1e6, root ? (t5 - t4) / 1e6 : -1, snapshot_bytes(s), net, bytes_ns, a.us,
        a.memory, a.wire);
    free(probes);
    snapshot_unref(next);
    snapshot_unref(s);
    free(sources);
    findings_release(&findings);
    loader_free(loader);
    files_free(files);
    return 0;
}
