/* Described configuration: the table, its values and where they came from.
 *
 *   conf.c        the table checked, one value parsed and set
 *   conf_yaml.c   a file read
 *   conf_args.c   flags
 *   conf_print.c  everything written out: YAML, --help, the reference page */
#include "lib/base/conf.h"

#include "lib/base/conf_impl.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define CONF_NEAR 3 /* edits a word may be away and still be suggested */

/* ---- finding keys -------------------------------------------------------------------------- */

size_t conf_find(const struct conf *c, struct str path)
{
    for (size_t i = 0; i < c->n; i++) {
        if (str_eq(str_c(c->keys[i].name), path))
            return i;
    }
    return CONF_NONE;
}

static bool is_below(struct str key, struct str section)
{
    return key.n > section.n && str_starts(key, section) && key.p[section.n] == '.';
}

bool conf_is_section(const struct conf *c, struct str path)
{
    for (size_t i = 0; path.n && i < c->n; i++) {
        if (is_below(str_c(c->keys[i].name), path))
            return true;
    }
    return false;
}

/* Takes candidate as the best guess if it is nearer than what is there. A word that shares nothing
 * with a short one is within three edits of it and yet no help: those do not count. */
static void offer(struct str candidate, struct str word, struct str *best, unsigned *best_distance)
{
    unsigned d = str_distance(candidate, word, CONF_NEAR);
    size_t longer = candidate.n > word.n ? candidate.n : word.n;
    if (d < *best_distance && d < longer) {
        *best = candidate;
        *best_distance = d;
    }
}

struct str conf_near(const struct conf *c, struct str path)
{
    struct str best = {0};
    unsigned distance = CONF_NEAR + 1;
    for (size_t i = 0; i < c->n; i++) {
        struct str name = str_c(c->keys[i].name);
        for (size_t at = 0; at < name.n; at++) {
            if (name.p[at] == '.')
                offer(str_of(name.p, at), path, &best, &distance);
        }
        offer(name, path, &best, &distance);
    }
    return best;
}

const char *conf_nearest(const char *word, const char *const *words, size_t n)
{
    struct str best = {0};
    unsigned distance = CONF_NEAR + 1;
    for (size_t i = 0; i < n; i++)
        offer(str_c(words[i]), str_c(word), &best, &distance);
    return best.n ? best.p : NULL;
}

/* ---- one value ----------------------------------------------------------------------------- */

struct value {
    uint64_t number; /* every kind but text and list */
    char *text;      /* CONF_TEXT, owned */
    char **items;    /* CONF_LIST, owned */
    size_t nitems;
};

static void items_free(char **items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(items[i]);
    mem_free(items);
}

static int choice_index(const char *choices, struct str word, uint64_t *ret)
{
    struct str rest = str_c(choices);
    for (uint64_t i = 0; word.n && rest.n; i++) {
        size_t bar = str_find(rest, '|');
        if (str_eq(str_of(rest.p, bar), word)) {
            *ret = i;
            return 0;
        }
        if (bar == rest.n)
            break;
        rest = str_from(rest, bar + 1);
    }
    return -EINVAL;
}

static uint64_t upper_bound(const struct conf_key *k)
{
    if (k->max)
        return k->max;
    return k->kind == CONF_U32 ? UINT32_MAX : UINT64_MAX;
}

static int parse_number(const struct conf_key *k, struct str s, uint64_t *ret)
{
    uint64_t v = 0;
    int rc;
    switch (k->kind) {
    case CONF_BOOL:
        if (!str_eq(s, STR("true")) && !str_eq(s, STR("false")))
            return -EINVAL;
        *ret = s.n == 4;
        return 0;
    case CONF_CHOICE:
        return choice_index(k->choices, s, ret);
    case CONF_MS:
        rc = parse_duration_ms(s, &v);
        break;
    case CONF_BYTES:
        rc = parse_size(s, &v);
        break;
    default:
        rc = parse_u64(s, &v);
    }
    if (rc)
        return rc;
    if (v < k->min || v > upper_bound(k))
        return -ERANGE;
    *ret = v;
    return 0;
}

/* "expects whole number, 1 to 64, not 'x'" */
static int refuse(const struct conf_key *k, struct str got, struct err *e)
{
    struct text what = {0};
    conf_describe_value(k, &what);
    int rc = what.failed ? err_set(e, -ENOMEM, "out of memory")
                         : err_set(e, -EINVAL, "expects %s, not '%.*s'", what.p,
                               (int)(got.n < 100 ? got.n : 100), got.n ? got.p : "");
    text_release(&what);
    return rc;
}

static int check_text(struct str s, struct err *e)
{
    if (s.n && memchr(s.p, '\0', s.n))
        return err_set(e, -EINVAL, "holds a NUL character");
    if (utf8_check(s) != s.n)
        return err_set(e, -EINVAL, "is not valid UTF-8");
    return 0;
}

static int parse_items(const struct str *items, size_t n, struct value *ret, struct err *e)
{
    char **copy = mem_array(n ? n : 1, sizeof(*copy));
    if (!copy)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        int rc = check_text(items[i], e);
        if (!rc) {
            copy[i] = mem_dup(items[i].p, items[i].n);
            if (!copy[i])
                rc = err_set(e, -ENOMEM, "out of memory");
        }
        if (rc) {
            items_free(copy, i);
            return rc;
        }
    }
    ret->items = copy;
    ret->nitems = n;
    return 0;
}

static int parse_value(const struct conf_key *k, const struct str *items, size_t nitems,
    struct value *ret, struct err *e)
{
    if (k->kind == CONF_LIST)
        return parse_items(items, nitems, ret, e);
    if (k->kind == CONF_TEXT) {
        int rc = check_text(items[0], e);
        if (rc)
            return rc;
        ret->text = mem_dup(items[0].p, items[0].n);
        return ret->text ? 0 : err_set(e, -ENOMEM, "out of memory");
    }
    return parse_number(k, items[0], &ret->number) ? refuse(k, items[0], e) : 0;
}

/* ---- setting ------------------------------------------------------------------------------- */

static void put_number(const struct conf_key *k, void *at, uint64_t v)
{
    switch (k->kind) {
    case CONF_BOOL:
        *(bool *)at = v != 0;
        break;
    case CONF_U32:
    case CONF_CHOICE:
        *(uint32_t *)at = (uint32_t)v;
        break;
    default:
        *(uint64_t *)at = v;
    }
}

static void put_list(struct conf *c, size_t i, char **items, size_t n)
{
    struct conf_list *l = (void *)(c->settings + c->keys[i].offset);
    c->slots[i].items = items;
    c->slots[i].nitems = n;
    l->item = (const char **)items;
    l->n = n;
}

/* Joins what the list holds with the new items; takes v's texts on success. */
static int append_list(struct conf *c, size_t i, struct value *v)
{
    struct conf_slot *s = &c->slots[i];
    if (v->nitems > SIZE_MAX - s->nitems)
        return -ENOMEM;
    size_t n = s->nitems + v->nitems;
    char **items = mem_array(n ? n : 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    if (s->nitems)
        memcpy(items, s->items, s->nitems * sizeof(*items));
    if (v->nitems)
        memcpy(items + s->nitems, v->items, v->nitems * sizeof(*items));
    mem_free(s->items);
    mem_free(v->items);
    put_list(c, i, items, n);
    return 0;
}

static int store(struct conf *c, size_t i, struct value *v, bool add)
{
    const struct conf_key *k = &c->keys[i];
    struct conf_slot *s = &c->slots[i];
    void *at = c->settings + k->offset;
    if (k->kind == CONF_LIST) {
        if (add)
            return append_list(c, i, v);
        items_free(s->items, s->nitems);
        put_list(c, i, v->items, v->nitems);
    } else if (k->kind == CONF_TEXT) {
        mem_free(s->text);
        s->text = v->text;
        *(const char **)at = v->text;
    } else {
        put_number(k, at, v->number);
    }
    return 0;
}

int conf_assign(struct conf *c, size_t i, const struct str *items, size_t nitems,
    const struct conf_set_how *how, struct err *e)
{
    struct value v = {0};
    int rc = parse_value(&c->keys[i], items, nitems, &v, e);
    if (rc)
        return rc;
    char *origin = how->origin ? mem_dup(how->origin, strlen(how->origin)) : NULL;
    if ((how->origin && !origin) || store(c, i, &v, how->add)) {
        mem_free(origin);
        mem_free(v.text);
        items_free(v.items, v.nitems);
        return err_set(e, -ENOMEM, "out of memory");
    }
    mem_free(c->slots[i].origin);
    c->slots[i].origin = origin;
    c->slots[i].from = how->from;
    return 0;
}

/* ---- the table ----------------------------------------------------------------------------- */

static bool is_builtin(const char *flag)
{
    for (size_t i = 0; i < conf_nbuiltins; i++) {
        if (strcmp(conf_builtins[i].flag, flag) == 0)
            return true;
    }
    return false;
}

/* A mistake here is the program's own, found by whatever starts it first. */
static int check_key(const struct conf *c, size_t i, struct err *e)
{
    const struct conf_key *k = &c->keys[i];
    if (!k->name || !*k->name || !k->help)
        return err_set(e, -EINVAL, "key %zu of the table has no name or no help", i);
    if (conf_find(c, str_c(k->name)) != i || conf_is_section(c, str_c(k->name)))
        return err_set(e, -EINVAL, "key '%s' of the table is there twice", k->name);
    if (k->kind == CONF_CHOICE && !k->choices)
        return err_set(e, -EINVAL, "key '%s' of the table has no choices", k->name);
    if (k->kind == CONF_U32 && k->max > UINT32_MAX)
        return err_set(e, -EINVAL, "key '%s' of the table has too large a bound", k->name);
    for (size_t j = 0; k->flag && j < i; j++) {
        if (c->keys[j].flag && strcmp(c->keys[j].flag, k->flag) == 0)
            return err_set(e, -EINVAL, "flag '--%s' of the table is there twice", k->flag);
    }
    if (k->flag && is_builtin(k->flag))
        return err_set(e, -EINVAL, "flag '--%s' of the table is every program's", k->flag);
    return 0;
}

static int set_default(struct conf *c, size_t i, struct err *e)
{
    static const struct conf_set_how how = {CONF_FROM_DEFAULT, NULL, false};
    if (!c->keys[i].fallback)
        return 0;
    struct str text = str_c(c->keys[i].fallback);
    if (conf_assign(c, i, &text, 1, &how, e))
        return err_prefix(e, "default of key '%s'", c->keys[i].name);
    return 0;
}

struct conf *conf_new(const struct conf_key *keys, size_t n, void *settings, struct err *e)
{
    struct conf *c = mem_zalloc(sizeof(*c));
    if (!c)
        goto nomem;
    c->keys = keys;
    c->n = n;
    c->settings = settings;
    size_t bytes = 0;
    if (__builtin_mul_overflow(n ? n : 1, sizeof(*c->slots), &bytes))
        goto nomem;
    c->slots = mem_zalloc(bytes);
    if (!c->slots)
        goto nomem;
    for (size_t i = 0; i < n; i++) {
        if (check_key(c, i, e) || set_default(c, i, e)) {
            conf_free(c);
            return NULL;
        }
    }
    return c;
nomem:
    err_set(e, -ENOMEM, "out of memory for the configuration");
    mem_free(c);
    return NULL;
}

void conf_free(struct conf *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++) {
        mem_free(c->slots[i].origin);
        mem_free(c->slots[i].text);
        items_free(c->slots[i].items, c->slots[i].nitems);
    }
    mem_free(c->slots);
    mem_free(c);
}

const char *conf_origin(const struct conf *c, const char *key)
{
    size_t i = conf_find(c, str_c(key));
    return i != CONF_NONE && c->slots[i].origin ? c->slots[i].origin : "default";
}
