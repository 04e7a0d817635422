#include "proxy/usage.h"
#include "lib/base/mem.h"
#include <stdlib.h>

void usage_add(struct usage *u, uint32_t number)
{
    uint32_t at = number / USAGE_PAGE;
    counter_cell *page = NULL;
    if (at < USAGE_PAGES) {
        page = atomic_load_explicit(&u->page[at], memory_order_relaxed);
        if (!page) {
            page = mem_zalloc(USAGE_PAGE * sizeof(*page));
            /* release: whoever sees the pointer sees the zeros */
            atomic_store_explicit(&u->page[at], page, memory_order_release);
        }
    }
    counter_inc(page ? &page[number % USAGE_PAGE] : &u->other);
}

void usage_release(struct usage *u)
{
    for (uint32_t i = 0; i < USAGE_PAGES; i++)
        mem_free(atomic_load_explicit(&u->page[i], memory_order_relaxed));
}

static uint64_t of_number(struct usage *const *tables, unsigned n, uint32_t number)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++) {
        const counter_cell *page =
            atomic_load_explicit(&tables[i]->page[number / USAGE_PAGE], memory_order_acquire);
        if (page)
            sum += counter_get(&page[number % USAGE_PAGE]);
    }
    return sum;
}

struct busy {
    uint64_t requests;
    uint32_t number;
};

static int by_requests(const void *a, const void *b)
{
    const struct busy *x = a, *y = b;
    if (x->requests != y->requests)
        return x->requests < y->requests ? 1 : -1;
    return (x->number > y->number) - (x->number < y->number);
}

/* What is counted beyond the names that are told: also of names that exist no more. */
static uint64_t all_requests(struct usage *const *tables, unsigned n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++) {
        sum += counter_get(&tables[i]->other);
        for (uint32_t p = 0; p < USAGE_PAGES; p++) {
            const counter_cell *page =
                atomic_load_explicit(&tables[i]->page[p], memory_order_acquire);
            for (uint32_t k = 0; page && k < USAGE_PAGE; k++)
                sum += counter_get(&page[k]);
        }
    }
    return sum;
}

struct family {
    const char *name, *label, *help;
    struct str (*name_of)(const struct snapshot *s, uint32_t number);
    uint32_t (*limit)(const struct snapshot *s); /* numbers are below */
};
static const struct family families[] = {
    [USAGE_ENVIRONMENTS] = {"offshoot_environment_requests_total", "environment",
        "Requests that were forwarded, by the environment asked for: the busiest ones.",
        snapshot_env_name, snapshot_env_limit},
    [USAGE_SERVICES] = {"offshoot_service_requests_total", "service",
        "Requests that were forwarded, by service: the busiest ones.", snapshot_service_name,
        snapshot_service_limit},
};

/* New list of all that were used, the busiest first; NULL when memory is out. */
static struct busy *rank(const struct snapshot *s, const struct family *f,
    struct usage *const *tables, unsigned nworkers, size_t *ret_n)
{
    uint32_t limit = f->limit(s), most = USAGE_PAGE * USAGE_PAGES;
    limit = limit < most ? limit : most;
    struct busy *list = mem_array(limit + 1, sizeof(*list));
    size_t n = 0;
    for (uint32_t i = 0; list && i < limit; i++) {
        uint64_t requests = of_number(tables, nworkers, i);
        struct str name = f->name_of(s, i);
        /* One that is called "other" goes with the rest: a sample must not stand twice. */
        if (requests && name.n && !str_eq(name, STR("other")))
            list[n++] = (struct busy){requests, i};
    }
    if (list)
        qsort(list, n, sizeof(*list), by_requests);
    *ret_n = n;
    return list;
}

size_t usage_busiest(const struct snapshot *s, enum usage_kind kind, struct usage *const *tables,
    unsigned nworkers, size_t most, struct usage_name *ret)
{
    size_t n;
    struct busy *list = rank(s, &families[kind], tables, nworkers, &n);
    n = list && n > most ? most : list ? n : 0;
    for (size_t i = 0; i < n; i++)
        ret[i] = (struct usage_name){families[kind].name_of(s, list[i].number), list[i].requests};
    mem_free(list);
    return n;
}

static void family_text(struct text *out, const struct snapshot *s, const struct family *f,
    struct usage *const *tables, unsigned nworkers, uint32_t most)
{
    size_t n;
    uint64_t told = 0;
    struct busy *list = rank(s, f, tables, nworkers, &n);
    if (!list) {
        out->failed = -1;
        return;
    }
    text_fmt(out, "# HELP %s %s\n# TYPE %s counter\n", f->name, f->help, f->name);
    for (size_t i = 0; i < n && i < most; i++) {
        struct str name = f->name_of(s, list[i].number);
        text_fmt(out, "%s{%s=\"%.*s\"} %llu\n", f->name, f->label, STR_ARG(name),
            (unsigned long long)list[i].requests);
        told += list[i].requests;
    }
    uint64_t rest = all_requests(tables, nworkers);
    text_fmt(out, "%s{%s=\"other\"} %llu\n", f->name, f->label,
        (unsigned long long)(rest > told ? rest - told : 0));
    mem_free(list);
}

void usage_prometheus(struct text *out, const struct snapshot *s, struct usage *const *envs,
    struct usage *const *services, unsigned nworkers, uint32_t most)
{
    family_text(out, s, &families[USAGE_ENVIRONMENTS], envs, nworkers, most);
    family_text(out, s, &families[USAGE_SERVICES], services, nworkers, most);
}
