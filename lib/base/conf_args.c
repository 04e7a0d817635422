/* Described configuration: flags, and single values set by key. */
#include "lib/base/conf_impl.h"
#include "lib/base/mem.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

const struct conf_builtin conf_builtins[] = {
    {"config", "FILE", CONF_RUN, "Read the configuration file FILE; also -c FILE."},
    {"check-config", NULL, CONF_CHECK, "Check the configuration, say what is wrong, and exit."},
    {"print-config", NULL, CONF_PRINT, "Print the configuration in effect as YAML and exit."},
    {"help", NULL, CONF_HELP, "Print this text and exit."},
    {"version", NULL, CONF_VERSION, "Print the version and exit."},
};
const size_t conf_nbuiltins = sizeof(conf_builtins) / sizeof(conf_builtins[0]);

/* Sets key i as a flag would. */
static int set_by_flag(struct conf *c, size_t i, const char *value, struct err *e)
{
    const struct conf_key *k = &c->keys[i];
    char origin[128];
    snprintf(
        origin, sizeof(origin), "%s%s", k->flag ? "flag --" : "key ", k->flag ? k->flag : k->name);
    struct conf_set_how how = {CONF_FROM_FLAG, origin, c->slots[i].from == CONF_FROM_FLAG};
    struct str text = str_c(value);
    if (conf_assign(c, i, &text, 1, &how, e))
        return err_prefix(e, "%s", origin);
    return 0;
}

int conf_set(struct conf *c, const char *key, const char *value, struct err *e)
{
    size_t i = conf_find(c, str_c(key));
    if (i != CONF_NONE)
        return set_by_flag(c, i, value, e);
    struct str near = conf_near(c, str_c(key));
    if (near.n)
        return err_set(e, -EINVAL, "unknown key '%s', did you mean '%.*s'?", key, STR_ARG(near));
    return err_set(e, -EINVAL, "unknown key '%s'", key);
}

/* ---- the command line, word by word --------------------------------------------------------- */

/* One flag of the command line, taken apart. */
struct arg {
    struct str name;                    /* without "--" */
    const char *value;                  /* after '=' or the next word; NULL: none */
    const struct conf_builtin *builtin; /* or */
    size_t key;                         /* index in the table */
};

static size_t find_flag(const struct conf *c, struct str name)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->keys[i].flag && str_eq(str_c(c->keys[i].flag), name))
            return i;
    }
    return CONF_NONE;
}

static const struct conf_builtin *find_builtin(struct str name)
{
    for (size_t i = 0; i < conf_nbuiltins; i++) {
        if (str_eq(str_c(conf_builtins[i].flag), name))
            return &conf_builtins[i];
    }
    return NULL;
}

static int unknown_flag(const struct conf *c, const char *word, struct str name, struct err *e)
{
    const char *near = NULL;
    const char **words = mem_array(c->n + conf_nbuiltins, sizeof(*words));
    char *copy = mem_dup(name.p, name.n);
    if (words && copy && word[1] == '-') {
        size_t n = 0;
        for (size_t i = 0; i < c->n; i++) {
            if (c->keys[i].flag)
                words[n++] = c->keys[i].flag;
        }
        for (size_t i = 0; i < conf_nbuiltins; i++)
            words[n++] = conf_builtins[i].flag;
        near = conf_nearest(copy, words, n);
    }
    int rc = near ? err_set(e, -EINVAL, "unknown flag '--%s', did you mean '--%s'?", copy, near)
                  : err_set(e, -EINVAL, "unknown flag '%.*s'", (int)(name.p + name.n - word), word);
    mem_free(copy);
    mem_free(words);
    return rc;
}

/* Reads the flag at argv[*i] and moves *i to its last word. */
static int take_flag(
    const struct conf *c, int argc, char **argv, int *i, struct arg *ret, struct err *e)
{
    const char *word = argv[*i];
    bool is_c = strcmp(word, "-c") == 0;
    struct arg a = {.key = CONF_NONE};
    a.name = is_c ? STR("config") : str_from(str_c(word), word[1] == '-' ? 2 : 1);
    size_t eq = str_find(a.name, '=');
    if (eq < a.name.n) {
        a.value = a.name.p + eq + 1;
        a.name.n = eq;
    }
    if (is_c || word[1] == '-') {
        a.builtin = find_builtin(a.name);
        a.key = find_flag(c, a.name);
    }
    if (!a.builtin && a.key == CONF_NONE)
        return unknown_flag(c, word, a.name, e);
    bool no_value = a.builtin ? !a.builtin->arg : c->keys[a.key].kind == CONF_BOOL;
    if (a.builtin && no_value && a.value)
        return err_set(e, -EINVAL, "flag --%s takes no value", a.builtin->flag);
    if (no_value && !a.value)
        a.value = "true";
    if (!a.value) {
        const char *what = a.builtin ? a.builtin->arg : c->keys[a.key].flag_arg;
        if (*i + 1 >= argc)
            return err_set(e, -EINVAL, "flag %s needs a value: %s", word, what ? what : "VALUE");
        a.value = argv[++*i];
    }
    *ret = a;
    return 0;
}

typedef int each_flag(struct conf *c, const struct arg *a, void *arg, struct err *e);

/* Calls fn for every flag; words that are no flags go to rest when it is given. */
static int walk(struct conf *c, int argc, char **argv, each_flag *fn, void *arg, const char **rest,
    size_t *nrest, struct err *e)
{
    bool flags = true;
    for (int i = 1; i < argc; i++) {
        if (flags && strcmp(argv[i], "--") == 0) {
            flags = false;
        } else if (flags && argv[i][0] == '-' && argv[i][1]) {
            struct arg a;
            int rc = take_flag(c, argc, argv, &i, &a, e);
            if (!rc)
                rc = fn(c, &a, arg, e);
            if (rc)
                return rc;
        } else if (rest) {
            rest[(*nrest)++] = argv[i];
        }
    }
    return 0;
}

/* First round: what to do. --help and --version need no file and win over everything after. */
static int note_action(struct conf *c, const struct arg *a, void *arg, struct err *e)
{
    enum conf_action *action = arg;
    (void)c;
    (void)e;
    bool decided = *action == CONF_HELP || *action == CONF_VERSION;
    if (a->builtin && a->builtin->action != CONF_RUN && !decided)
        *action = a->builtin->action;
    return 0;
}

static int read_config(struct conf *c, const struct arg *a, void *arg, struct err *e)
{
    (void)arg;
    return a->builtin && a->builtin->action == CONF_RUN ? conf_read_file(c, a->value, e) : 0;
}

static int set_flag(struct conf *c, const struct arg *a, void *arg, struct err *e)
{
    (void)arg;
    return a->builtin ? 0 : set_by_flag(c, a->key, a->value, e);
}

int conf_args(struct conf *c, int argc, char **argv, enum conf_action *ret_action,
    const char **rest, size_t *ret_nrest, struct err *e)
{
    enum conf_action action = CONF_RUN;
    size_t nrest = 0;
    int rc = walk(c, argc, argv, note_action, &action, NULL, NULL, e);
    if (!rc && action != CONF_HELP && action != CONF_VERSION) {
        rc = walk(c, argc, argv, read_config, NULL, NULL, NULL, e);
        if (!rc)
            rc = walk(c, argc, argv, set_flag, NULL, rest, &nrest, e);
    }
    if (rc)
        return rc;
    *ret_action = action;
    *ret_nrest = nrest;
    return 0;
}
