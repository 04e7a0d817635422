/* Patterns of paths, matched by following all places of the pattern at once: the time is bounded
 * by the length of the pattern times that of the path, whatever stars there are. */
#include "lib/base/conf.h"
#include "lib/base/mem.h"
#include "lib/compare/compare.h"
#include "lib/compare/letters.h"
#include "lib/graph/hint.h"
#include <errno.h>

#define PATTERNS_MAX 1000
#define PATTERN_MAX  512
#define ANY_KIND     (-1)

struct pattern {
    struct str text; /* without kind; copied */
    int kind;        /* enum diff_kind or ANY_KIND */
    size_t plain;    /* bytes before the first star */
};

struct ignore {
    size_t n;
    struct pattern *pattern;
    char *bytes;
};

const char *diff_kind_word(enum diff_kind k)
{
    static const char *const words[] = {
        [DIFF_VALUE] = "value",
        [DIFF_TYPE] = "type",
        [DIFF_MISSING] = "missing",
        [DIFF_EXTRA] = "extra",
        [DIFF_LENGTH] = "length",
        [DIFF_ORDER] = "order",
    };
    return words[k];
}

/* Takes ":kind" off the end of a pattern. */
static int take_kind(struct str *text)
{
    for (int k = DIFF_VALUE; k <= DIFF_ORDER; k++) {
        struct str word = str_c(diff_kind_word((enum diff_kind)k));
        if (text->n > word.n + 1 && str_ends(*text, word) && text->p[text->n - word.n - 1] == ':') {
            text->n -= word.n + 1;
            return k;
        }
    }
    return ANY_KIND;
}

/* What stands behind the last colon, if it is a word as kinds are. In a quoted name it is none: a
 * quote and a bracket follow. */
static struct str word_behind_colon(struct str s)
{
    size_t n = 0;
    while (n < s.n && is_letter(s.p[s.n - n - 1]))
        n++;
    bool colon = n && n < s.n && s.p[s.n - n - 1] == ':';
    return colon ? str_from(s, s.n - n) : str_of(s.p, 0);
}

/* A kind that was mistyped would be a name that nothing has. The word ends where the text does. */
static int check_kind(const char *text, struct err *e)
{
    const char *words[DIFF_ORDER + 1];
    struct str word = word_behind_colon(str_c(text));
    if (word.n == 0)
        return 0;
    for (int k = DIFF_VALUE; k <= DIFF_ORDER; k++) {
        words[k] = diff_kind_word((enum diff_kind)k);
        if (str_eq(word, str_c(words[k])))
            return 0;
    }
    const char *near = conf_nearest(word.p, words, DIFF_ORDER + 1);
    return err_set(e, -EINVAL,
        "no kind '%.*s' in the pattern '%.*s'%s%s%s (value, type, missing, extra, length, order)",
        STR_ARG(shown(word)), STR_ARG(shown(str_c(text))), near ? ", did you mean '" : "",
        near ? near : "", near ? "'?" : "");
}

static int check_pattern(const char *text, struct err *e)
{
    struct str s = str_c(text);
    if (s.n == 0)
        return err_set(e, -EINVAL, "a pattern of a path is empty");
    if (s.n > PATTERN_MAX)
        return err_set(
            e, -EINVAL, "more than %d bytes in the pattern '%.*s'", PATTERN_MAX, STR_ARG(shown(s)));
    return check_kind(text, e);
}

static int check_patterns(const char *const *patterns, size_t n, size_t *ret_bytes, struct err *e)
{
    if (n > PATTERNS_MAX)
        return err_set(e, -EINVAL, "more than %d patterns of paths", PATTERNS_MAX);
    *ret_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (check_pattern(patterns[i], e))
            return -EINVAL;
        *ret_bytes += strlen(patterns[i]);
    }
    return 0;
}

struct ignore *ignore_new(const char *const *patterns, size_t n, struct err *e)
{
    size_t bytes = 0;
    if (check_patterns(patterns, n, &bytes, e))
        return NULL;
    struct ignore *i = mem_zalloc(sizeof(*i));
    if (i) {
        i->pattern = mem_array(n ? n : 1, sizeof(*i->pattern));
        i->bytes = mem_alloc(bytes ? bytes : 1);
    }
    if (!i || !i->pattern || !i->bytes) {
        ignore_free(i);
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    char *at = i->bytes;
    for (; i->n < n; i->n++) {
        struct str text = str_put(&at, str_c(patterns[i->n]));
        int kind = take_kind(&text);
        i->pattern[i->n] = (struct pattern){text, kind, str_find(text, '*')};
    }
    return i;
}

void ignore_free(struct ignore *i)
{
    if (!i)
        return;
    mem_free(i->pattern);
    mem_free(i->bytes);
    mem_free(i);
}

static bool ends_star(char c)
{
    return c == '.' || c == '[' || c == ']' || c == '{' || c == '}';
}

static bool is_double(struct str p, size_t i)
{
    return p.p[i] == '*' && i + 1 < p.n && p.p[i + 1] == '*';
}

/* at[i]: what was read of the text so far is matched by the first i bytes of the pattern. Stars
 * may be passed over without reading anything. */
static void pass_stars(struct str p, bool *at)
{
    for (size_t i = 0; i < p.n; i++) {
        if (!at[i] || p.p[i] != '*')
            continue;
        at[i + (is_double(p, i) ? 2 : 1)] = true;
    }
}

/* The places after one byte more. The second star of "**" is never a place of its own. */
static void step(struct str p, const bool *at, bool *next, char c)
{
    memset(next, 0, p.n + 1);
    for (size_t i = 0; i < p.n; i++) {
        if (!at[i])
            continue;
        if (p.p[i] != '*')
            next[i + 1] |= p.p[i] == c;
        else if (is_double(p, i) || !ends_star(c))
            next[i] = true;
    }
    pass_stars(p, next);
}

static bool matches(struct str p, struct str text)
{
    bool places[2][PATTERN_MAX + 1] = {{false}};
    places[0][0] = true;
    pass_stars(p, places[0]);
    for (size_t i = 0; i < text.n; i++)
        step(p, places[i % 2], places[(i + 1) % 2], text.p[i]);
    return places[text.n % 2][p.n];
}

bool ignore_matches(const struct ignore *i, struct str path, enum diff_kind kind)
{
    for (size_t k = 0; i && k < i->n; k++) {
        const struct pattern *p = &i->pattern[k];
        if (p->kind != ANY_KIND && p->kind != (int)kind)
            continue;
        if (!str_starts(path, str_of(p->text.p, p->plain)))
            continue;
        if (matches(str_from(p->text, p->plain), str_from(path, p->plain)))
            return true;
    }
    return false;
}
