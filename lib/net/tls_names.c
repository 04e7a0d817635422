#include "lib/net/tls_names.h"
#include "lib/base/mem.h"
#include <errno.h>
#include <stdlib.h>

struct tls_name {
    char *text; /* lower case, without "*." and without a dot at its end */
    uint16_t n;
    bool wild;
    uint8_t kind;
    uint32_t cert;
    uint32_t order; /* of the adds: the first one stays */
};

const char *tls_kind_word(enum tls_kind k)
{
    static const char *const words[TLS_KINDS] = {"rsa", "ecdsa", "ed25519"};
    return words[k];
}

static bool host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Lower case, without the dot at its end. False: not a host name. */
static bool normal(struct str s, char out[TLS_NAME_MAX], struct str *ret)
{
    if (s.n && s.p[s.n - 1] == '.')
        s.n--;
    if (s.n == 0 || s.n > TLS_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        out[i] = ascii_lower(s.p[i]);
        if (!host_char(out[i]) || (out[i] == '.' && (i == 0 || out[i - 1] == '.')))
            return false;
    }
    *ret = str_of(out, s.n);
    return true;
}

static int compare_names(struct str a, bool a_wild, struct str b, bool b_wild)
{
    int c = str_cmp(a, b);
    return c ? c : (int)a_wild - (int)b_wild;
}

static int compare(const void *x, const void *y)
{
    const struct tls_name *a = x, *b = y;
    int c = compare_names(str_of(a->text, a->n), a->wild, str_of(b->text, b->n), b->wild);
    if (c == 0)
        c = (a->kind > b->kind) - (a->kind < b->kind);
    return c ? c : (a->order > b->order) - (a->order < b->order);
}

static int grow(struct tls_names *t)
{
    if (t->n < t->room)
        return 0;
    size_t room = t->room ? 2 * t->room : 16;
    struct tls_name *all = mem_realloc(t->all, room * sizeof *all);
    if (!all)
        return -ENOMEM;
    t->all = all;
    t->room = room;
    return 0;
}

int tls_names_add(struct tls_names *t, struct str name, enum tls_kind kind, uint32_t cert)
{
    char text[TLS_NAME_MAX];
    struct str plain;
    bool wild = str_starts(name, STR("*."));
    if (!normal(wild ? str_from(name, 2) : name, text, &plain))
        return -EINVAL;
    char *copy = grow(t) == 0 ? mem_dup(plain.p, plain.n) : NULL;
    if (!copy)
        return -ENOMEM;
    t->all[t->n] = (struct tls_name){.text = copy,
        .n = (uint16_t)plain.n,
        .wild = wild,
        .kind = (uint8_t)kind,
        .cert = cert,
        .order = (uint32_t)t->n};
    t->n++;
    t->sorted = false;
    return 0;
}

void tls_names_sort(struct tls_names *t)
{
    if (t->n)
        qsort(t->all, t->n, sizeof *t->all, compare);
    t->sorted = true;
}

/* The first entry that is not before this one. */
static size_t lower_bound(const struct tls_names *t, struct str name, bool wild)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct tls_name *m = &t->all[mid];
        if (compare_names(str_of(m->text, m->n), m->wild, name, wild) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool fill(const struct tls_names *t, struct str name, bool wild, uint32_t ret[TLS_KINDS])
{
    bool any = false;
    for (size_t i = lower_bound(t, name, wild); i < t->n; i++) {
        const struct tls_name *m = &t->all[i];
        if (m->wild != wild || !str_eq(str_of(m->text, m->n), name))
            break;
        any = true;
        if (ret[m->kind] == TLS_NO_CERT)
            ret[m->kind] = m->cert;
    }
    return any;
}

bool tls_names_find(const struct tls_names *t, struct str name, uint32_t ret[TLS_KINDS])
{
    char text[TLS_NAME_MAX];
    struct str plain;
    for (unsigned k = 0; k < TLS_KINDS; k++)
        ret[k] = TLS_NO_CERT;
    if (!t->sorted || !normal(name, text, &plain))
        return false;
    bool any = fill(t, plain, false, ret);
    size_t dot = str_find(plain, '.');
    if (dot > 0 && dot < plain.n)
        any |= fill(t, str_from(plain, dot + 1), true, ret);
    return any;
}

void tls_names_release(struct tls_names *t)
{
    for (size_t i = 0; i < t->n; i++)
        mem_free(t->all[i].text);
    mem_free(t->all);
    *t = (struct tls_names){0};
}
