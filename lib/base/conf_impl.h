/* What the files of the described configuration (conf*.c) share. Nobody else includes it. */
#ifndef OFFSHOOT_BASE_CONF_IMPL_H
#define OFFSHOOT_BASE_CONF_IMPL_H

#include "lib/base/conf.h"

enum conf_from { CONF_FROM_DEFAULT, CONF_FROM_FILE, CONF_FROM_FLAG };

/* What the configuration knows about one key beside the value in the settings. */
struct conf_slot {
    enum conf_from from;
    uint32_t read; /* number of the conf_read that met the key last: finds duplicates */
    char *origin;  /* owned; NULL: "default" */
    char *text;    /* CONF_TEXT: owned, what the settings point to */
    char **items;  /* CONF_LIST: owned array of owned texts, ditto */
    size_t nitems;
};

struct conf {
    const struct conf_key *keys;
    size_t n;
    char *settings;          /* the program's struct */
    struct conf_slot *slots; /* one a key */
    uint32_t reads;          /* conf_read calls so far */
};

#define CONF_NONE SIZE_MAX

/* Index of a key by its dotted path, CONF_NONE when there is none. */
size_t conf_find(const struct conf *c, struct str path);
/* Whether some key lies below this path. */
bool conf_is_section(const struct conf *c, struct str path);
/* The key or section whose path is nearest to a mistyped one; n == 0: none is near. */
struct str conf_near(const struct conf *c, struct str path);

/* Sets key i from text: one item, or for lists any number. `add` keeps what a list holds. The
 * value stays as it was on failure. Error text has no place in it: the caller puts it before. */
struct conf_set_how {
    enum conf_from from;
    const char *origin; /* copied; NULL for a default */
    bool add;
};
int conf_assign(struct conf *c, size_t i, const struct str *items, size_t nitems,
    const struct conf_set_how *how, struct err *e);

/* The flag's words, "--workers N", without leading spaces; and what the values of a key may be:
 * "whole number, 1 to 64". */
void conf_describe_flag(const struct conf_key *k, struct text *out);
void conf_describe_value(const struct conf_key *k, struct text *out);

/* The flags that every program has. */
struct conf_builtin {
    const char *flag;
    const char *arg;
    enum conf_action action; /* CONF_RUN: a file to read */
    const char *help;
};
extern const struct conf_builtin conf_builtins[];
extern const size_t conf_nbuiltins;

#endif
