/* Where a comparison is, and what it has found. */
#include "lib/base/parse.h"
#include "lib/compare/compare_int.h"
#include "lib/compare/letters.h"
#include "lib/compare/redact_int.h"
#include <errno.h>
#include <xxhash.h>

#define POOL_CHUNK    8192
#define SEEN_FIRST    64  /* slots; a power of two */
#define KEY_PLAIN_MAX 128 /* longer keys are quoted and cut */
#define SECRET_MIN    6   /* a@b.cd; shorter keys are no secrets */
#define HASH_TEXT     17  /* "~" and 16 hex digits */
#define CUT           "..."

/* A path and kind that was met, told or not. */
struct differ_seen {
    uint64_t hash; /* 0: the slot is free */
    size_t item;   /* NOT_TOLD: ignored, or above the limit */
};
#define NOT_TOLD SIZE_MAX

int differ_init(struct differ *d, const struct compare_rules *rules)
{
    *d = (struct differ){.rules = rules, .pool = pool_new(POOL_CHUNK)};
    if (!d->pool)
        return -ENOMEM;
    d->seen = pool_zalloc(d->pool, SEEN_FIRST * sizeof(*d->seen));
    d->nslots = SEEN_FIRST;
    if (d->seen)
        return 0;
    differ_release(d);
    return -ENOMEM;
}

void differ_release(struct differ *d)
{
    text_release(&d->scratch);
    pool_free(d->pool);
    *d = (struct differ){0};
}

/* ---- where we are ---- */

struct path_mark differ_push(struct differ *d, struct str piece)
{
    struct path_mark m = {d->path_n, d->over};
    if (!d->over && piece.n <= sizeof(d->path) - d->path_n) {
        if (piece.n)
            memcpy(d->path + d->path_n, piece.p, piece.n);
        d->path_n += piece.n;
    } else {
        d->over = XXH3_64bits_withSeed(piece.p, piece.n, d->over) | 1;
    }
    return m;
}

void differ_pop(struct differ *d, struct path_mark m)
{
    d->path_n = m.n;
    d->over = m.over;
}

static bool is_plain(struct str key)
{
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        if (!is_alnum(c) && c != '_' && c != '-')
            return false;
    }
    return key.n > 0 && key.n <= KEY_PLAIN_MAX;
}

/* The key itself is one: an address, the number of a card. */
static bool is_secret_key(const struct differ *d, struct str key)
{
    return d->rules->redact && key.n >= SECRET_MIN && redact_finds(d->rules->redact, key);
}

/* Of a quoted key: long ones are cut and end in their hash. */
static void add_quoted(struct differ *d, struct str mark, struct str key, struct text *t)
{
    struct str head = key;
    text_add(t, STR(".[\""));
    text_add(t, mark);
    if (is_secret_key(d, key)) {
        redact_mark(d->rules->redact, key, t);
        head.n = 0;
    } else if (key.n > KEY_PLAIN_MAX) {
        head.n = KEY_PLAIN_MAX;
    }
    text_json(t, head);
    if (head.n && head.n < key.n)
        text_fmt(t, "~%016llx", (unsigned long long)XXH3_64bits(key.p, key.n));
    text_add(t, STR("\"]"));
}

struct path_mark differ_push_marked(struct differ *d, struct str mark, struct str key)
{
    struct path_mark m = {d->path_n, d->over};
    if (is_plain(key) && !is_secret_key(d, key)) {
        differ_push(d, STR("."));
        differ_push(d, mark);
        differ_push(d, key);
        return m;
    }
    struct text t = d->scratch;
    t.n = 0;
    add_quoted(d, mark, key, &t);
    if (t.failed)
        d->failed = t.failed;
    else
        differ_push(d, str_of(t.p, t.n));
    t.failed = 0;
    d->scratch = t;
    return m;
}

struct path_mark differ_push_key(struct differ *d, struct str key)
{
    return differ_push_marked(d, str_of(NULL, 0), key);
}

/* The path as a text; room: COMPARE_PATH_MAX bytes. Only the start of one that is too long is kept,
 * with the hash of all of it. */
static struct str path_text(const struct differ *d, char *room)
{
    if (!d->over)
        return str_of(d->path, d->path_n);
    size_t n = d->path_n < COMPARE_PATH_MAX - HASH_TEXT ? d->path_n : COMPARE_PATH_MAX - HASH_TEXT;
    memcpy(room, d->path, n);
    room[n] = '~';
    format_hex64(XXH3_64bits_withSeed(d->path, d->path_n, d->over), room + n + 1);
    return str_of(room, n + HASH_TEXT);
}

/* The next name in a path: what stands between dots and brackets, or in quotes. */
static bool next_name(struct str *rest, struct str *ret)
{
    while (rest->n && strchr(".[]{}\"*", rest->p[0]) && !str_starts(*rest, STR("[\"")))
        *rest = str_from(*rest, 1);
    if (rest->n == 0)
        return false;
    size_t end = 0;
    if (str_starts(*rest, STR("[\""))) {
        *rest = str_from(*rest, 2);
        while (end < rest->n && rest->p[end] != '"')
            end += rest->p[end] == '\\' && end + 1 < rest->n ? 2 : 1;
    } else {
        while (end < rest->n && !strchr(".[{", rest->p[end]))
            end++;
    }
    *ret = str_of(rest->p, end);
    *rest = str_from(*rest, end);
    return true;
}

bool differ_is_secret(const struct differ *d)
{
    const struct redact *r = d->rules->redact;
    struct str rest = {d->path, d->path_n}, name;
    if (!r)
        return false;
    if (d->over && !redact_is_off(r))
        return true; /* what names there were is not known any more */
    while (next_name(&rest, &name))
        if (redact_name(r, name))
            return true;
    return false;
}

/* ---- what was found ---- */

static struct differ_seen *slot_of(const struct differ *d, uint64_t hash)
{
    size_t i = hash & (d->nslots - 1);
    while (d->seen[i].hash && d->seen[i].hash != hash)
        i = (i + 1) & (d->nslots - 1);
    return &d->seen[i];
}

static int grow_seen(struct differ *d)
{
    const struct differ_seen *old = d->seen;
    size_t n = d->nslots;
    struct differ_seen *more = pool_zalloc(d->pool, 2 * n * sizeof(*more));
    if (!more)
        return -ENOMEM;
    d->seen = more;
    d->nslots = 2 * n;
    for (size_t i = 0; i < n; i++)
        if (old[i].hash)
            *slot_of(d, old[i].hash) = old[i];
    return 0;
}

static int grow_items(struct differ *d)
{
    size_t room = d->room ? 2 * d->room : 16;
    struct difference *more = pool_alloc(d->pool, room * sizeof(*more));
    if (!more)
        return -ENOMEM;
    if (d->n)
        memcpy(more, d->item, d->n * sizeof(*more));
    d->item = more;
    d->room = room;
    return 0;
}

static struct difference *append(
    struct differ *d, struct differ_seen *s, struct str path, enum diff_kind kind)
{
    if (d->n == d->room && grow_items(d))
        return NULL;
    struct difference *x = &d->item[d->n];
    *x = (struct difference){.path = pool_str(d->pool, path), .kind = kind};
    if (!x->path.p)
        return NULL;
    s->item = d->n++;
    return x;
}

/* The slot of this path and kind. *ret_new: it was not known. */
static struct differ_seen *look_up(
    struct differ *d, struct str path, enum diff_kind kind, bool *ret_new)
{
    uint64_t hash = XXH3_64bits_withSeed(path.p, path.n, (uint64_t)kind + 1) | 1;
    if (2 * (d->nseen + 1) > d->nslots && grow_seen(d))
        return NULL;
    struct differ_seen *s = slot_of(d, hash);
    *ret_new = s->hash == 0;
    if (*ret_new) {
        *s = (struct differ_seen){hash, NOT_TOLD};
        d->nseen++;
    }
    return s;
}

struct difference *differ_new(struct differ *d, enum diff_kind kind, bool shape)
{
    char room[COMPARE_PATH_MAX];
    struct str path = path_text(d, room);
    bool is_new;
    shape |= kind != DIFF_VALUE;
    if (d->failed)
        return NULL;
    struct differ_seen *s = look_up(d, path, kind, &is_new);
    struct difference *x = NULL;
    if (!s) {
        d->failed = -ENOMEM;
    } else if (!is_new) {
        if (s->item != NOT_TOLD)
            d->item[s->item].shape |= shape;
    } else if (ignore_matches(d->rules->ignore, path, kind)) {
        return NULL;
    } else if (d->n >= d->rules->limits.differences) {
        d->cut = true;
    } else {
        x = append(d, s, path, kind);
        if (x)
            x->shape = shape;
        else
            d->failed = -ENOMEM;
    }
    return x;
}

/* ---- texts ---- */

/* Up to max bytes of s, whole characters; what is no UTF-8 as \xNN. False: there is more. */
static bool add_shown(struct text *t, struct str s, size_t max)
{
    size_t from = t->n;
    while (s.n && t->n - from < max && !t->failed) {
        size_t room = max - (t->n - from), good;
        struct str head = str_of(s.p, s.n < room ? s.n : room);
        good = utf8_check(head);
        text_add(t, str_of(s.p, good));
        if (good < head.n) {
            /* a character that the cut went through is no error */
            if (head.n < s.n && head.n - good < 4 && utf8_check(str_from(s, good)) > 0)
                break;
            text_fmt(t, "\\x%02x", (unsigned)(unsigned char)s.p[good]);
            good++;
        }
        s = str_from(s, good);
    }
    return s.n == 0;
}

struct str differ_shown(struct differ *d, struct str redacted)
{
    char room[COMPARE_TEXT_MAX + 8];
    struct text t = d->scratch;
    t.n = 0;
    bool whole = add_shown(&t, redacted, COMPARE_TEXT_MAX);
    struct str ret = {NULL, 0};
    if (!t.failed) {
        size_t n = t.n;
        memcpy(room, t.p ? t.p : "", n < sizeof(room) ? n : sizeof(room));
        if (!whole || n > COMPARE_TEXT_MAX) {
            n = n < COMPARE_TEXT_MAX - (sizeof(CUT) - 1) ? n : COMPARE_TEXT_MAX - (sizeof(CUT) - 1);
            n = utf8_check(str_of(room, n));
            memcpy(room + n, CUT, sizeof(CUT) - 1);
            n += sizeof(CUT) - 1;
        }
        ret = pool_str(d->pool, str_of(room, n));
    }
    if (!ret.p)
        d->failed = -ENOMEM;
    t.failed = 0;
    d->scratch = t;
    return ret;
}

struct str differ_taken(struct differ *d, struct text *redacted)
{
    struct str ret = {NULL, 0};
    if (redacted->failed)
        d->failed = redacted->failed;
    else
        ret = differ_shown(d, str_of(redacted->p, redacted->n));
    text_release(redacted);
    return ret;
}

/* Redacts into a text of its own, as what is shown is made in the scratch. */
static struct str shown_of(struct differ *d, struct str raw, bool secret)
{
    const struct redact *r = d->rules->redact;
    struct text t = {0};
    if (!r)
        return differ_shown(d, raw);
    if (secret && raw.n)
        redact_mark(r, raw, &t);
    else
        redact_text(r, raw, &t);
    return differ_taken(d, &t);
}

struct str differ_plain(struct differ *d, struct str raw)
{
    return shown_of(d, raw, false);
}

void differ_add(struct differ *d, enum diff_kind kind, bool shape, struct str a, struct str b)
{
    struct difference *x = differ_new(d, kind, shape);
    if (!x)
        return;
    bool secret = differ_is_secret(d);
    x->a = shown_of(d, a, secret);
    x->b = shown_of(d, b, secret);
}

void differ_add_numbers(struct differ *d, enum diff_kind kind, uint64_t a, uint64_t b)
{
    struct difference *x = differ_new(d, kind, true);
    if (!x)
        return;
    x->a = pool_fmt(d->pool, "%llu", (unsigned long long)a);
    x->b = pool_fmt(d->pool, "%llu", (unsigned long long)b);
    if (!x->a.p || !x->b.p)
        d->failed = -ENOMEM;
}
