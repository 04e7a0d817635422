/* Described configuration: one table of keys says name, kind, default, bounds and help; the YAML
 * reader, the flags, --print-config, --check-config and docs/configuration.md follow from it.
 *
 * Keys are dotted paths ("timeouts.head"). A file is one YAML mapping (nested or with dotted keys).
 * Unknown keys are errors with file:line:column and the nearest key. A flag wins over the file.
 * Same strictness as graph files: no anchors, aliases, tags, duplicate keys, NUL, bad UTF-8. */
#ifndef OFFSHOOT_BASE_CONF_H
#define OFFSHOOT_BASE_CONF_H

#include "lib/base/counters.h"
#include "lib/base/err.h"
#include "lib/base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_kind {
    CONF_TEXT,   /* const char *, NULL when unset */
    CONF_U32,    /* uint32_t within [min, max] */
    CONF_BOOL,   /* bool: true or false */
    CONF_MS,     /* uint64_t milliseconds within [min, max], written as a duration */
    CONF_BYTES,  /* uint64_t bytes within [min, max], written as a size */
    CONF_CHOICE, /* uint32_t index into the '|'-separated words of `choices` */
    CONF_LIST,   /* struct conf_list of texts; a single scalar in the file is a list of one */
};

struct conf_list {
    const char **item; /* NUL-terminated */
    size_t n;
};

struct conf_key {
    const char *name;     /* dotted path */
    const char *flag;     /* long flag without "--", or NULL when there is no flag */
    const char *flag_arg; /* what the flag takes, for --help: "PATH", NULL for a bool flag */
    enum conf_kind kind;
    size_t offset;        /* of the value in the program's settings struct */
    const char *fallback; /* default as text; NULL: unset (empty list, NULL text, zero) */
    uint64_t min, max;    /* both included; max 0: no upper bound */
    const char *choices;
    const char *help; /* one or two sentences, units included */
};

struct conf; /* owns every text of the settings it filled */

/* Fills `settings` (zeroed by the caller) with the defaults. The table must be valid: a bad
 * default fails here, so any test that starts the program checks the table. NULL on memory out. */
struct conf *conf_new(const struct conf_key *keys, size_t n, void *settings, struct err *e);
void conf_free(struct conf *c);
/* Reads a file. Every fault is reported through e, the first one; text starts with
 * file:line:column. */
int conf_read_file(struct conf *c, const char *path, struct err *e);
/* The same from memory, name for messages. */
int conf_read(struct conf *c, const char *name, struct str yaml, struct err *e);
/* One value by key, as a flag or test would set it. A first set of a list through a flag replaces
 * what the file said, further ones add. */
int conf_set(struct conf *c, const char *key, const char *value, struct err *e);

/* Handles argv: --FLAG VALUE, --FLAG=VALUE, bool flags; -c FILE and --config FILE are read first
 * wherever they stand. --help, --version, --print-config, --check-config set *ret_action. Other
 * words stay in order in rest[0..*ret_nrest). Unknown flags: -EINVAL with the nearest flag. */
enum conf_action { CONF_RUN, CONF_HELP, CONF_VERSION, CONF_PRINT, CONF_CHECK };
int conf_args(struct conf *c, int argc, char **argv, enum conf_action *ret_action,
    const char **rest, size_t *ret_nrest, struct err *e);

/* Where a value came from: "default", "flag --workers", or "FILE:LINE:COLUMN". */
const char *conf_origin(const struct conf *c, const char *key);
/* The whole configuration as YAML that conf_read accepts, each key with its help as a comment.
 * effective: current values; else the defaults. */
void conf_print(const struct conf *c, bool effective, struct text *out);
/* Lines for --help. */
void conf_help(const struct conf_key *keys, size_t n, struct text *out);
/* The reference page. */
void conf_markdown(const struct conf_key *keys, size_t n, struct text *out);
/* For "did you mean": nearest of n words within distance 3, or NULL. */
const char *conf_nearest(const char *word, const char *const *words, size_t n);

#endif
