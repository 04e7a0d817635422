/* Described configuration written out: YAML, --help, the reference page. */
#include "lib/base/conf_impl.h"
#include "lib/base/parse.h"
#include <inttypes.h>
#include <string.h>

#define WIDTH       96 /* columns of comments and help */
#define HELP_INDENT 30 /* where the text of --help starts */

/* ---- pieces -------------------------------------------------------------------------------- */

/* Words of s in lines of at most WIDTH columns, each line but the first after `indent`. column:
 * where the first one starts. */
static void add_wrapped(struct text *out, const char *s, size_t column, struct str indent)
{
    struct str rest = str_c(s);
    bool fresh = true;
    while (rest.n) {
        size_t len = str_find(rest, ' ');
        if (!fresh && column + 1 + len > WIDTH) {
            text_add(out, STR("\n"));
            text_add(out, indent);
            column = indent.n;
            fresh = true;
        }
        if (len) {
            text_add(out, fresh ? STR("") : STR(" "));
            text_add(out, str_of(rest.p, len));
            column += len + !fresh;
            fresh = false;
        }
        rest = str_from(rest, len < rest.n ? len + 1 : len);
    }
}

static void add_size(struct text *out, uint64_t bytes)
{
    static const char *const unit[] = {"", "KiB", "MiB", "GiB"};
    size_t i = 0;
    while (bytes && bytes % 1024 == 0 && i + 1 < sizeof(unit) / sizeof(unit[0])) {
        bytes /= 1024;
        i++;
    }
    text_fmt(out, "%" PRIu64 "%s", bytes, unit[i]);
}

static void add_duration(struct text *out, uint64_t ms)
{
    char buf[32];
    text_add(out, str_of(buf, format_duration_ms(ms, buf)));
}

static void add_bound(const struct conf_key *k, uint64_t v, struct text *out)
{
    if (k->kind == CONF_MS)
        add_duration(out, v);
    else if (k->kind == CONF_BYTES)
        add_size(out, v);
    else
        text_fmt(out, "%" PRIu64, v);
}

static void add_bounds(const struct conf_key *k, struct text *out)
{
    if (k->max) {
        text_add(out, STR(", "));
        add_bound(k, k->min, out);
        text_add(out, STR(" to "));
        add_bound(k, k->max, out);
    } else if (k->min) {
        text_add(out, STR(", at least "));
        add_bound(k, k->min, out);
    }
}

static void add_choices(const char *choices, struct text *out)
{
    struct str rest = str_c(choices);
    for (bool first = true;; first = false) {
        size_t bar = str_find(rest, '|');
        text_add(out, first ? STR("") : bar == rest.n ? STR(" or ") : STR(", "));
        text_add(out, str_of(rest.p, bar));
        if (bar == rest.n)
            return;
        rest = str_from(rest, bar + 1);
    }
}

void conf_describe_value(const struct conf_key *k, struct text *out)
{
    switch (k->kind) {
    case CONF_TEXT:
        text_add(out, STR("a text"));
        break;
    case CONF_LIST:
        text_add(out, STR("a text or a list of texts"));
        break;
    case CONF_BOOL:
        text_add(out, STR("true or false"));
        break;
    case CONF_CHOICE:
        add_choices(k->choices, out);
        break;
    case CONF_U32:
        text_add(out, STR("a whole number"));
        add_bounds(k, out);
        break;
    case CONF_MS:
        text_add(out, STR("a duration (250ms, 15s, 5m, 4h, 7d)"));
        add_bounds(k, out);
        break;
    case CONF_BYTES:
        text_add(out, STR("a size (4096, 64KiB, 16MiB, 1GiB)"));
        add_bounds(k, out);
        break;
    }
}

void conf_describe_flag(const struct conf_key *k, struct text *out)
{
    text_fmt(out, "--%s", k->flag);
    if (k->kind != CONF_BOOL)
        text_fmt(out, " %s", k->flag_arg ? k->flag_arg : "VALUE");
}

static void add_quoted(struct text *out, struct str s)
{
    text_add(out, STR("\""));
    text_json(out, s);
    text_add(out, STR("\""));
}

/* ---- YAML ---------------------------------------------------------------------------------- */

static void add_items(struct text *out, const char *const *item, size_t n)
{
    if (n == 0)
        text_add(out, STR(" []"));
    for (size_t i = 0; i < n; i++) {
        text_add(out, STR("\n  - "));
        add_quoted(out, str_c(item[i]));
    }
}

static void add_choice(struct text *out, const char *choices, uint32_t index)
{
    struct str rest = str_c(choices);
    for (size_t bar; index > 0 && (bar = str_find(rest, '|')) < rest.n; index--)
        rest = str_from(rest, bar + 1);
    text_add(out, str_of(rest.p, str_find(rest, '|')));
}

/* The value in the settings, after the colon. */
static void add_current(const struct conf_key *k, const void *at, struct text *out)
{
    const struct conf_list *l = at;
    if (k->kind != CONF_LIST)
        text_add(out, STR(" "));
    switch (k->kind) {
    case CONF_TEXT:
        add_quoted(out, str_c(*(const char *const *)at));
        break;
    case CONF_LIST:
        add_items(out, l->item, l->n);
        break;
    case CONF_BOOL:
        text_add(out, *(const bool *)at ? STR("true") : STR("false"));
        break;
    case CONF_CHOICE:
        add_choice(out, k->choices, *(const uint32_t *)at);
        break;
    case CONF_U32:
        text_fmt(out, "%" PRIu32, *(const uint32_t *)at);
        break;
    case CONF_MS:
        add_duration(out, *(const uint64_t *)at);
        break;
    case CONF_BYTES:
        add_size(out, *(const uint64_t *)at);
        break;
    }
}

static void add_default(const struct conf_key *k, struct text *out)
{
    if (k->kind == CONF_LIST)
        add_items(out, &k->fallback, k->fallback ? 1 : 0);
    else if (k->kind == CONF_TEXT) {
        text_add(out, STR(" "));
        add_quoted(out, str_c(k->fallback));
    } else if (k->kind == CONF_CHOICE && !k->fallback) {
        text_add(out, STR(" "));
        add_choice(out, k->choices, 0);
    } else
        text_fmt(out, " %s", k->fallback ? k->fallback : "false");
}

/* There is no text for "unset": such a key is shown commented out. */
static bool has_no_default(const struct conf_key *k)
{
    return !k->fallback && k->kind != CONF_LIST && k->kind != CONF_BOOL && k->kind != CONF_CHOICE;
}

void conf_print(const struct conf *c, bool effective, struct text *out)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct conf_key *k = &c->keys[i];
        bool is_default = !effective || c->slots[i].from == CONF_FROM_DEFAULT;
        text_add(out, i ? STR("\n# ") : STR("# "));
        add_wrapped(out, k->help, 2, STR("# "));
        text_add(out, STR("\n# Takes "));
        conf_describe_value(k, out);
        text_add(out, STR(".\n"));
        if (is_default && has_no_default(k)) {
            text_fmt(out, "#%s:", k->name);
        } else {
            text_fmt(out, "%s:", k->name);
            if (effective)
                add_current(k, c->settings + k->offset, out);
            else
                add_default(k, out);
        }
        text_add(out, STR("\n"));
    }
}

/* ---- --help -------------------------------------------------------------------------------- */

static void add_help(struct text *out, struct text *flag, const char *help, const char *fallback)
{
    static const char spaces[] = "                              ";
    struct str indent = str_of(spaces, HELP_INDENT);
    struct str words = str_of(flag->p, flag->n);
    text_add(out, STR("  "));
    text_add(out, words);
    if (2 + words.n + 2 > HELP_INDENT) {
        text_add(out, STR("\n"));
        text_add(out, indent);
    } else {
        text_add(out, str_from(indent, 2 + words.n));
    }
    add_wrapped(out, help, HELP_INDENT, indent);
    if (fallback)
        text_fmt(out, " [%s]", fallback);
    text_add(out, STR("\n"));
    if (flag->failed)
        out->failed = flag->failed;
    text_release(flag);
}

void conf_help(const struct conf_key *keys, size_t n, struct text *out)
{
    for (size_t i = 0; i < n; i++) {
        struct text flag = {0};
        if (!keys[i].flag)
            continue;
        conf_describe_flag(&keys[i], &flag);
        add_help(out, &flag, keys[i].help, keys[i].fallback);
    }
    for (size_t i = 0; i < conf_nbuiltins; i++) {
        const struct conf_builtin *b = &conf_builtins[i];
        struct text flag = {0};
        text_fmt(&flag, "--%s%s%s", b->flag, b->arg ? " " : "", b->arg ? b->arg : "");
        add_help(out, &flag, b->help, NULL);
    }
}

/* ---- the reference page -------------------------------------------------------------------- */

/* The inside of a table cell: a bar would end it. */
static void add_cell(struct text *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        text_add(out, s.p[i] == '|' ? STR("\\|") : str_of(s.p + i, 1));
}

void conf_markdown(const struct conf_key *keys, size_t n, struct text *out)
{
    text_add(out, STR("| Key | Flag | Takes | Default | Meaning |\n|---|---|---|---|---|\n"));
    for (size_t i = 0; i < n; i++) {
        const struct conf_key *k = &keys[i];
        text_fmt(out, "| `%s` | ", k->name);
        if (k->flag) {
            struct text flag = {0};
            conf_describe_flag(k, &flag);
            text_add(out, STR("`"));
            add_cell(out, str_of(flag.p, flag.n));
            text_add(out, STR("` "));
            if (flag.failed)
                out->failed = flag.failed;
            text_release(&flag);
        }
        text_add(out, STR("| "));
        conf_describe_value(k, out);
        text_add(out, STR(" | "));
        if (k->fallback) {
            text_add(out, STR("`"));
            add_cell(out, str_c(k->fallback));
            text_add(out, STR("` "));
        }
        text_add(out, STR("| "));
        add_cell(out, str_c(k->help));
        text_add(out, STR(" |\n"));
    }
}
