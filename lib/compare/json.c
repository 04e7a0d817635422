/* parse: text → nodes, with a stack of open containers instead of recursion
 * → link: children of each container, members sorted, of equal keys the last
 * → hash: from the last node to the first, so that children come before what holds them */
#define XXH_INLINE_ALL
#include "lib/compare/json.h"
#include "lib/compare/letters.h"
#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#define NODES_FIRST 64
#define NODE_BYTES  16 /* of the text, about, for each node */

struct reader {
    struct json *j;
    struct pool *pool;
    struct str s;
    size_t at;
    uint32_t room, nodes, depth; /* room in j->node; limits */
    uint32_t *parent;            /* of each node */
    uint32_t open[JSON_DEPTH_MAX];
    uint32_t nopen;
};

/* Mostly enough: growing copies. */
static uint32_t first_room(const struct reader *r)
{
    size_t n = r->s.n / NODE_BYTES;
    n = n < r->nodes ? n : r->nodes;
    return n > NODES_FIRST ? (uint32_t)n : NODES_FIRST;
}

static int grow(struct reader *r)
{
    uint32_t room = r->room ? 2 * r->room : first_room(r);
    struct json_node *node = pool_alloc(r->pool, room * sizeof(*node));
    uint32_t *parent = pool_alloc(r->pool, room * sizeof(*parent));
    if (!node || !parent)
        return -ENOMEM;
    if (r->room) {
        memcpy(node, r->j->node, r->room * sizeof(*node));
        memcpy(parent, r->parent, r->room * sizeof(*parent));
    }
    r->j->node = node;
    r->parent = parent;
    r->room = room;
    return 0;
}

static void skip_space(struct reader *r)
{
    while (r->at < r->s.n && (r->s.p[r->at] == ' ' || r->s.p[r->at] == '\n' ||
                                 r->s.p[r->at] == '\r' || r->s.p[r->at] == '\t'))
        r->at++;
}

static bool take(struct reader *r, char c)
{
    skip_space(r);
    if (r->at >= r->s.n || r->s.p[r->at] != c)
        return false;
    r->at++;
    return true;
}

/* ---- strings ---- */

static int hex4(struct str s, size_t at, uint32_t *ret)
{
    uint32_t v = 0;
    if (s.n - at < 4)
        return -EBADMSG;
    for (size_t i = at; i < at + 4; i++) {
        int d = hex_value(s.p[i]);
        if (d < 0)
            return -EBADMSG;
        v = v << 4 | (uint32_t)d;
    }
    *ret = v;
    return 0;
}

static char *put_char(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

/* Behind "\u": one character, from two escapes where they are a pair. */
static int take_unicode(struct str s, size_t *at, char **to)
{
    uint32_t c, low;
    if (hex4(s, *at, &c))
        return -EBADMSG;
    *at += 4;
    if (c >= 0xd800 && c < 0xdc00 && s.n - *at >= 6 && s.p[*at] == '\\' && s.p[*at + 1] == 'u' &&
        hex4(s, *at + 2, &low) == 0 && low >= 0xdc00 && low < 0xe000) {
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        *at += 6;
    }
    *to = put_char(*to, c);
    return 0;
}

/* s: between the quotes. Decoded text is never longer. */
static int decode(struct pool *pool, struct str s, struct str *ret)
{
    static const char from[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char *room = pool_alloc(pool, s.n), *to = room;
    if (!room)
        return -ENOMEM;
    for (size_t i = 0; i < s.n;) {
        if (s.p[i] != '\\') {
            *to++ = s.p[i++];
            continue;
        }
        char c = s.p[i + 1]; /* a backslash is never the last */
        const char *known = c ? strchr(from, c) : NULL;
        i += 2;
        if (known)
            *to++ = meant[known - from];
        else if (c != 'u' || take_unicode(s, &i, &to))
            return -EBADMSG;
    }
    *ret = str_of(room, (size_t)(to - room));
    return 0;
}

static int take_string(struct reader *r, struct str *ret, struct str *ret_raw)
{
    size_t start = r->at + 1, i = start;
    const char *p = r->s.p;
    bool escaped = false;
    if (r->at >= r->s.n || p[r->at] != '"')
        return -EBADMSG;
    for (; i < r->s.n && p[i] != '"'; i++) {
        if ((unsigned char)p[i] < 0x20)
            return -EBADMSG;
        if (p[i] == '\\') {
            escaped = true;
            i++;
        }
    }
    if (i >= r->s.n)
        return -EBADMSG;
    *ret_raw = str_of(p + start - 1, i + 2 - start);
    r->at = i + 1;
    *ret = str_of(p + start, i - start);
    return escaped ? decode(r->pool, *ret, ret) : 0;
}

/* ---- values ---- */

static size_t digits(struct str s, size_t at)
{
    size_t n = 0;
    while (at + n < s.n && is_digit(s.p[at + n]))
        n++;
    return n;
}

/* The length of a number at `at`; 0: there is none. */
static size_t number_length(struct str s, size_t at)
{
    size_t i = at, n;
    i += i < s.n && s.p[i] == '-';
    n = digits(s, i);
    if (n == 0 || (n > 1 && s.p[i] == '0'))
        return 0;
    i += n;
    if (i < s.n && s.p[i] == '.') {
        n = digits(s, i + 1);
        if (n == 0)
            return 0;
        i += 1 + n;
    }
    if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E')) {
        i++;
        i += i < s.n && (s.p[i] == '+' || s.p[i] == '-');
        n = digits(s, i);
        if (n == 0)
            return 0;
        i += n;
    }
    return i - at;
}

static int take_word(struct reader *r, struct json_node *v, struct str word, enum json_type type)
{
    if (!str_starts(str_from(r->s, r->at), word))
        return -EBADMSG;
    v->type = type;
    v->text = v->raw = str_of(r->s.p + r->at, word.n);
    r->at += word.n;
    return 0;
}

static int take_number(struct reader *r, struct json_node *v)
{
    size_t n = number_length(r->s, r->at);
    v->type = JSON_NUMBER;
    v->text = v->raw = str_of(r->s.p + r->at, n);
    r->at += n;
    return n ? 0 : -EBADMSG;
}

static int open_container(struct reader *r, struct json_node *v, uint32_t index)
{
    if (r->nopen >= r->depth)
        return -E2BIG;
    v->type = r->s.p[r->at] == '[' ? JSON_ARRAY : JSON_OBJECT;
    v->raw = v->text = str_of(r->s.p + r->at, 0); /* its end comes later */
    r->at++;
    r->open[r->nopen++] = index;
    return 0;
}

/* One value, or the start of a container; with its key when it is a member. */
static int take_value(struct reader *r, bool member)
{
    uint32_t index = r->j->nnodes;
    if (index >= r->nodes)
        return -E2BIG;
    if (index == r->room && grow(r))
        return -ENOMEM;
    struct json_node *v = &r->j->node[index];
    *v = (struct json_node){.type = JSON_NULL};
    r->parent[index] = r->nopen ? r->open[r->nopen - 1] : 0;
    skip_space(r);
    int rc = member ? take_string(r, &v->key, &v->raw_key) : 0;
    if (rc)
        return rc;
    if (member && !take(r, ':'))
        return -EBADMSG;
    skip_space(r);
    if (r->at >= r->s.n)
        return -EBADMSG;
    r->j->nnodes++;
    switch (r->s.p[r->at]) {
    case '{':
    case '[':
        return open_container(r, v, index);
    case '"':
        v->type = JSON_STRING;
        return take_string(r, &v->text, &v->raw);
    case 'n':
        return take_word(r, v, STR("null"), JSON_NULL);
    case 't':
        return take_word(r, v, STR("true"), JSON_BOOL);
    case 'f':
        return take_word(r, v, STR("false"), JSON_BOOL);
    default:
        return take_number(r, v);
    }
}

static struct json_node *innermost(struct reader *r)
{
    return &r->j->node[r->open[r->nopen - 1]];
}

static char closing(const struct json_node *v)
{
    return v->type == JSON_ARRAY ? ']' : '}';
}

/* Closes as many containers as end here. */
static void close_all(struct reader *r)
{
    while (r->nopen && take(r, closing(innermost(r)))) {
        struct json_node *v = innermost(r);
        v->raw.n = v->text.n = (size_t)(r->s.p + r->at - v->raw.p);
        r->nopen--;
    }
}

static int read_all(struct reader *r)
{
    int rc = take_value(r, false);
    bool is_first = rc == 0 && r->nopen; /* a container was just opened */
    while (rc == 0 && r->nopen) {
        uint32_t before = r->nopen;
        close_all(r);
        if (r->nopen == 0)
            break;
        if (before != r->nopen)
            is_first = false;
        if (!is_first && !take(r, ','))
            return -EBADMSG;
        before = r->nopen;
        rc = take_value(r, innermost(r)->type == JSON_OBJECT);
        is_first = r->nopen > before;
    }
    skip_space(r);
    return rc ? rc : r->at == r->s.n ? 0 : -EBADMSG;
}

/* ---- children ---- */

static bool is_container(const struct json_node *v)
{
    return v->type == JSON_ARRAY || v->type == JSON_OBJECT;
}

static int by_key(const void *a, const void *b, void *nodes)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const struct json_node *node = nodes;
    int c = str_cmp(node[x].key, node[y].key);
    return c ? c : (x > y) - (x < y);
}

static void sort_members(struct json *j, struct json_node *v)
{
    uint32_t *child = j->child + v->first, n = 0;
    bool sorted = true;
    for (uint32_t i = 1; i < v->n && sorted; i++)
        sorted = str_cmp(j->node[child[i - 1]].key, j->node[child[i]].key) < 0;
    if (sorted)
        return;
    qsort_r(child, v->n, sizeof(*child), by_key, j->node);
    for (uint32_t i = 0; i < v->n; i++)
        if (i + 1 == v->n || !str_eq(j->node[child[i]].key, j->node[child[i + 1]].key))
            child[n++] = child[i];
    v->n = n;
}

static int link_children(struct reader *r)
{
    struct json *j = r->j;
    uint32_t at = 0;
    j->child = pool_alloc(r->pool, (j->nnodes + 1) * sizeof(*j->child));
    if (!j->child)
        return -ENOMEM;
    for (uint32_t i = 1; i < j->nnodes; i++)
        j->node[r->parent[i]].n++;
    for (uint32_t i = 0; i < j->nnodes; i++) {
        j->node[i].first = at;
        at += j->node[i].n;
        j->node[i].n = 0;
    }
    for (uint32_t i = 1; i < j->nnodes; i++) {
        struct json_node *p = &j->node[r->parent[i]];
        j->child[p->first + p->n++] = i;
    }
    for (uint32_t i = 0; i < j->nnodes; i++)
        if (j->node[i].type == JSON_OBJECT && j->node[i].n > 1)
            sort_members(j, &j->node[i]);
    return 0;
}

/* ---- hashes ---- */

static uint64_t hash_pair(uint64_t a, uint64_t b)
{
    uint64_t pair[2] = {a, b};
    return XXH3_64bits(pair, sizeof(pair));
}

static uint64_t hash_container(const struct json *j, const struct json_node *v)
{
    uint64_t h = v->n;
    for (uint32_t i = 0; i < v->n; i++) {
        const struct json_node *c = json_child(j, v, i);
        uint64_t one =
            v->type == JSON_OBJECT ? hash_pair(XXH3_64bits(c->key.p, c->key.n), c->hash) : c->hash;
        h = hash_pair(h, one); /* members are sorted by now */
    }
    return hash_pair(h, v->type);
}

static void hash_all(struct json *j)
{
    for (uint32_t i = j->nnodes; i-- > 0;) {
        struct json_node *v = &j->node[i];
        if (is_container(v))
            v->hash = hash_container(j, v);
        else if (v->type == JSON_NUMBER)
            v->hash = hash_pair(json_number_hash(v->text), v->type);
        else
            v->hash = XXH3_64bits_withSeed(v->text.p, v->text.n, v->type);
    }
}

static int read_text(struct reader *r, uint32_t depth)
{
    *r->j = (struct json){0};
    r->depth = depth < JSON_DEPTH_MAX ? depth : JSON_DEPTH_MAX;
    if (str_starts(r->s, STR("\xef\xbb\xbf"))) /* a byte order mark, RFC 8259 section 8.1 */
        r->at = 3;
    return read_all(r);
}

int json_read(struct json *j, struct pool *pool, struct str text, uint32_t depth, uint32_t nodes)
{
    struct reader r = {.j = j, .pool = pool, .s = text, .nodes = nodes};
    return read_text(&r, depth);
}

int json_parse(struct json *j, struct pool *pool, struct str text, uint32_t depth, uint32_t nodes)
{
    struct reader r = {.j = j, .pool = pool, .s = text, .nodes = nodes};
    int rc = read_text(&r, depth);
    if (rc == 0)
        rc = link_children(&r);
    if (rc == 0)
        hash_all(j);
    return rc;
}
