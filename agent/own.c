#include "agent/own.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/base/pool.h"
#include "lib/graph/check.h"
#include "lib/graph/hint.h"
#include "lib/graph/load.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* An environment between two texts. Strings belong to the pool. */
struct own_statement {
    struct str service;
    struct str value; /* addresses with commas between, or an environment */
    uint8_t kind;     /* enum statement_kind; NONE: dropped */
};
struct own_env {
    struct pool *pool;
    struct str name, owner;
    struct str parents[LINEAGE_MAX];
    size_t nparents;
    struct own_statement *statements; /* sorted by service when written */
    size_t nstatements;
    bool has_expires, strict;
    int64_t expires;
    uint8_t access; /* enum access_kind */
};

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "out of memory");
}

/* ---- the form of a command ---- */

static int judge_name(const char *what, struct str name, struct err *e)
{
    if (name_valid(name))
        return 0;
    return err_set(e, -EINVAL,
        "bad name of %s: '%.*s' (lower case letters, digits and '-', at most 63)", what,
        STR_ARG(shown(name)));
}

/* "service=value" in its two parts; the service is valid. */
static int split(
    const char *text, const char *form, struct str *service, struct str *value, struct err *e)
{
    struct str s = str_c(text);
    size_t at = str_find(s, '=');
    if (at == s.n)
        return err_set(e, -EINVAL, "'%.*s' is not %s", STR_ARG(shown(s)), form);
    *service = str_of(s.p, at);
    *value = str_from(s, at + 1);
    return judge_name("a service", *service, e);
}

/* Takes the text before the next comma off. False: there is none. */
static bool next_address(struct str *rest, struct str *ret)
{
    if (!rest->p)
        return false;
    size_t at = str_find(*rest, ',');
    *ret = str_of(rest->p, at);
    *rest = at < rest->n ? str_from(*rest, at + 1) : (struct str){0};
    return true;
}

/* UTF-8 without control characters. */
static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return utf8_check(s) == s.n;
}

static int parse_address(struct str text, struct addr *a, struct err *e)
{
    struct err why = {0};
    if (!is_plain(text))
        return err_set(e, -EINVAL, "bad address '%.*s'", STR_ARG(shown(text)));
    if (addr_parse(text, false, a, &why) < 0)
        return err_set(e, -EINVAL, "bad address '%.*s': %s", STR_ARG(shown(text)), why.text);
    if (a->kind == ADDR_TUNNEL)
        return err_set(e, -EINVAL, "bad address '%.*s': tunnels are reserved for a later version",
            STR_ARG(shown(text)));
    return 0;
}

static int judge_provides(const char *text, struct str *service, struct err *e)
{
    struct str rest, one;
    struct addr a;
    size_t n = 0;
    int r = split(text, "SERVICE=ADDRESS[,ADDRESS...]", service, &rest, e);
    while (r == 0 && next_address(&rest, &one)) {
        r = parse_address(one, &a, e);
        if (r == 0 && ++n > OWN_ADDRESSES_MAX)
            r = err_set(e, -EINVAL, "more than %d addresses of service '%.*s'", OWN_ADDRESSES_MAX,
                STR_ARG(*service));
    }
    return r;
}

static int judge_uses(const char *text, struct str *service, struct err *e)
{
    struct str value;
    int r = split(text, "SERVICE=ENVIRONMENT", service, &value, e);
    return r < 0 ? r : judge_name("an environment", value, e);
}

static int judge_service(const char *text, struct str *service, struct err *e)
{
    *service = str_c(text);
    return judge_name("a service", *service, e);
}

typedef int judge_fn(const char *text, struct str *service, struct err *e);

static const struct statement_list {
    judge_fn *judge;
    size_t list, count; /* offsets in struct change */
    enum statement_kind kind;
} statement_lists[] = {
    {judge_provides, offsetof(struct change, provides), offsetof(struct change, nprovides),
        STATEMENT_PROVIDES},
    {judge_uses, offsetof(struct change, uses), offsetof(struct change, nuses), STATEMENT_USE},
    {judge_service, offsetof(struct change, removes), offsetof(struct change, nremoves),
        STATEMENT_REMOVE},
    {judge_service, offsetof(struct change, drops), offsetof(struct change, ndrops),
        STATEMENT_NONE},
};
#define STATEMENT_LISTS (sizeof(statement_lists) / sizeof(*statement_lists))

static const char *const *list_of(
    const struct change *ch, const struct statement_list *l, size_t *ret_n)
{
    const char *base = (const char *)ch;
    *ret_n = *(const size_t *)(const void *)(base + l->count);
    return *(const char *const *const *)(const void *)(base + l->list);
}

static size_t statements_said(const struct change *ch)
{
    return ch->nprovides + ch->nuses + ch->nremoves + ch->ndrops;
}

/* Calls fn for each statement of the command; its form has been judged when judge is false. */
static int each_statement(const struct change *ch,
    int (*fn)(void *arg, enum statement_kind kind, const char *text, struct err *e), void *arg,
    struct err *e)
{
    int r = 0;
    for (size_t i = 0; i < STATEMENT_LISTS; i++) {
        size_t n;
        const char *const *list = list_of(ch, &statement_lists[i], &n);
        for (size_t j = 0; r == 0 && j < n; j++)
            r = fn(arg, statement_lists[i].kind, list[j], e);
    }
    return r;
}

static int by_text(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    return str_cmp(*x, *y);
}

/* Each statement well formed, and one about a service. */
static int judge_statements(const struct change *ch, struct err *e)
{
    size_t most = statements_said(ch), n = 0;
    struct str *services = mem_array(most + 1, sizeof(*services));
    int r = services ? 0 : no_memory(e);
    for (size_t i = 0; i < STATEMENT_LISTS; i++) {
        size_t count;
        const char *const *list = list_of(ch, &statement_lists[i], &count);
        for (size_t j = 0; r == 0 && j < count; j++)
            r = statement_lists[i].judge(list[j], &services[n++], e);
    }
    if (r == 0 && n)
        qsort(services, n, sizeof(*services), by_text);
    for (size_t i = 1; r == 0 && i < n; i++)
        if (str_eq(services[i - 1], services[i]))
            r = err_set(e, -EINVAL, "two statements about service '%.*s' in one command",
                STR_ARG(services[i]));
    mem_free(services);
    return r;
}

static int judge_rest(const struct change *ch, const struct own_rules *r, struct err *e)
{
    struct str owner = str_c(ch->owner);
    if (ch->is_public && ch->is_token)
        return err_set(e, -EINVAL, "access is either public or by token");
    if (owner.n > OWN_OWNER_MAX || !is_plain(owner))
        return err_set(
            e, -EINVAL, "bad owner: at most %d bytes without control characters", OWN_OWNER_MAX);
    if (ch->life_s > r->life_s)
        return err_set(e, -EINVAL, "a life of %llu s is over the limit of %llu s",
            (unsigned long long)ch->life_s, (unsigned long long)r->life_s);
    return 0;
}

static bool says_more(const struct change *ch)
{
    return statements_said(ch) || ch->is_public || ch->is_token || ch->strict ||
           (ch->owner && *ch->owner);
}

/* What a command may not say. */
static int judge_kind(const struct change *ch, struct err *e)
{
    const char *wrong = NULL;
    if (ch->kind != CHANGE_CREATE && ch->nparents)
        wrong = "parents are given to a new environment only";
    else if (ch->kind != CHANGE_CREATE && ch->kind != CHANGE_EXTEND && ch->life_s)
        wrong = "a life is given to a new environment or by extend only";
    else if (ch->kind == CHANGE_CREATE && ch->ndrops)
        wrong = "a new environment has no statement to drop";
    else if (ch->kind == CHANGE_SET && !says_more(ch))
        wrong = "nothing to set";
    else if (ch->kind == CHANGE_EXTEND && !ch->life_s)
        wrong = "extend needs a life";
    else if ((ch->kind == CHANGE_EXTEND || ch->kind == CHANGE_DELETE) && says_more(ch))
        wrong = "extend and delete take no statements";
    else if (ch->nparents >= LINEAGE_MAX)
        wrong = "too many parents";
    return wrong ? err_set(e, -EINVAL, "%s", wrong) : 0;
}

int own_judge(const struct change *ch, const struct own_rules *r, struct err *e)
{
    int rc = judge_name("an environment", str_c(ch->name), e);
    for (size_t i = 0; rc == 0 && i < ch->nparents; i++)
        rc = judge_name("a parent", str_c(ch->parents[i]), e);
    rc = rc < 0 ? rc : judge_kind(ch, e);
    rc = rc < 0 ? rc : judge_rest(ch, r, e);
    return rc < 0 ? rc : judge_statements(ch, e);
}

/* ---- from a text ---- */

static struct str join_addresses(struct pool *p, const struct model_statement *s)
{
    struct text t = {0};
    char text[ADDR_TEXT_MAX];
    for (uint32_t i = 0; i < s->nendpoints; i++) {
        size_t n = addr_format(&s->endpoints[i].addr, text);
        text_add(&t, i ? STR(",") : STR(""));
        text_add(&t, str_of(text, n));
    }
    struct str r = {0};
    if (!t.failed)
        r = pool_str(p, str_of(t.p, t.n));
    text_release(&t);
    return r;
}

static bool take_statement(struct own_env *o, const struct model_statement *s)
{
    struct own_statement *to = &o->statements[o->nstatements++];
    to->kind = s->kind;
    to->service = pool_str(o->pool, s->service.s);
    if (s->kind == STATEMENT_PROVIDES)
        to->value = join_addresses(o->pool, s);
    else if (s->kind == STATEMENT_USE)
        to->value = pool_str(o->pool, s->use.s);
    return to->service.p && (s->kind == STATEMENT_REMOVE || to->value.p);
}

static int take_model(struct own_env *o, const struct model_env *m, struct err *e)
{
    bool fine = true;
    o->name = pool_str(o->pool, m->name.s);
    o->owner = pool_str(o->pool, m->owner);
    for (; o->nparents < m->nparents && o->nparents < LINEAGE_MAX; o->nparents++) {
        o->parents[o->nparents] = pool_str(o->pool, m->parents[o->nparents].s);
        fine = fine && o->parents[o->nparents].p;
    }
    for (uint32_t i = 0; fine && i < m->nstatements; i++)
        fine = take_statement(o, &m->statements[i]);
    o->has_expires = m->has_expires;
    o->expires = m->expires;
    o->strict = m->strict;
    o->access = m->access;
    return fine && o->name.p && o->owner.p ? 0 : no_memory(e);
}

/* Room for `more` statements beyond those of the text. */
static int read_text(struct own_env *o, struct str yaml, size_t more, struct err *e)
{
    struct load_source source = {.name = "command", .bytes = yaml};
    struct findings found;
    const struct model *m = NULL;
    findings_init(&found);
    struct loader *l = loader_new(NULL);
    int r = 0;
    if (!l || loader_load(l, &source, 1, &found, &m) != 0 || !m || found.no_memory) {
        r = no_memory(e);
    } else if (found.errors || m->nenvs != 1) {
        r = err_set(e, -EBADMSG, "the environment's document cannot be read");
    } else {
        o->statements =
            pool_zalloc(o->pool, (m->envs[0]->nstatements + more + 1) * sizeof(*o->statements));
        r = o->statements ? take_model(o, m->envs[0], e) : no_memory(e);
    }
    findings_release(&found);
    if (l)
        loader_free(l);
    return r;
}

/* ---- the command applied ---- */

static struct own_statement *find_statement(struct own_env *o, struct str service)
{
    for (size_t i = 0; i < o->nstatements; i++)
        if (str_eq(o->statements[i].service, service))
            return &o->statements[i];
    return NULL;
}

/* Addresses as addr_format writes them, so that one address has one text. */
static int canonical_addresses(struct pool *p, struct str list, struct str *ret, struct err *e)
{
    struct text t = {0};
    struct str one;
    struct addr a;
    char text[ADDR_TEXT_MAX];
    int r = 0;
    while (r == 0 && next_address(&list, &one)) {
        r = parse_address(one, &a, e);
        if (r == 0) {
            text_fmt(&t, "%s", t.n ? "," : "");
            text_add(&t, str_of(text, addr_format(&a, text)));
        }
    }
    if (r == 0 && !t.failed)
        *ret = pool_str(p, str_of(t.p, t.n));
    if (r == 0 && (t.failed || !ret->p))
        r = no_memory(e);
    text_release(&t);
    return r;
}

static int put_statement(void *arg, enum statement_kind kind, const char *text, struct err *e)
{
    struct own_env *o = arg;
    struct str service = str_c(text), value = {0};
    if (kind == STATEMENT_PROVIDES || kind == STATEMENT_USE) {
        int r = split(text, "", &service, &value, e);
        if (r < 0)
            return r;
    }
    if (kind == STATEMENT_PROVIDES) {
        int r = canonical_addresses(o->pool, value, &value, e);
        if (r < 0)
            return r;
    }
    struct own_statement *s = find_statement(o, service);
    if (kind == STATEMENT_NONE && (!s || s->kind == STATEMENT_NONE))
        return err_set(e, -EINVAL, "environment '%.*s' says nothing about service '%.*s'",
            STR_ARG(o->name), STR_ARG(service));
    if (!s)
        s = &o->statements[o->nstatements++];
    *s = (struct own_statement){service, value, (uint8_t)kind};
    return 0;
}

static int put_command(struct own_env *o, const struct change *ch, const struct own_rules *r,
    uint64_t life, struct err *e)
{
    if (ch->is_public || ch->is_token)
        o->access = ch->is_public ? ACCESS_PUBLIC : ACCESS_TOKEN;
    o->strict |= ch->strict;
    if (ch->owner && *ch->owner)
        o->owner = str_c(ch->owner);
    if (life) {
        o->has_expires = true;
        o->expires = r->now + (int64_t)life;
    }
    return each_statement(ch, put_statement, o, e);
}

/* ---- to a text ---- */

/* In double quotes; everything beyond ASCII as a number. The text is sound UTF-8. */
static void put_quoted(struct text *t, struct str s)
{
    text_add(t, STR("\""));
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        unsigned n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        uint32_t point = n == 1 ? c : c & (0xffu >> (n + 1));
        for (unsigned k = 1; k < n; k++)
            point = point << 6 | ((unsigned char)s.p[i + k] & 0x3f);
        if (n > 1)
            text_fmt(t, "\\U%08x", (unsigned)point);
        else
            text_fmt(t, c == '"' || c == '\\' ? "\\%c" : "%c", c);
        i += n;
    }
    text_add(t, STR("\""));
}

static int by_service(const void *a, const void *b)
{
    const struct own_statement *x = a, *y = b;
    return str_cmp(x->service, y->service);
}

static size_t count_kind(const struct own_env *o, enum statement_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < o->nstatements; i++)
        n += o->statements[i].kind == kind;
    return n;
}

static void put_provider(struct text *t, const struct own_statement *s)
{
    struct str rest = s->value, one;
    const char *between = "";
    text_fmt(t, "    %.*s: {endpoints: [", STR_ARG(s->service));
    while (next_address(&rest, &one)) {
        text_fmt(t, "%s", between);
        put_quoted(t, one);
        between = ", ";
    }
    text_add(t, STR("]}\n"));
}

static void put_kind(struct text *t, const struct own_env *o, enum statement_kind kind)
{
    const char *between = "";
    if (!count_kind(o, kind))
        return;
    text_fmt(t, "  %s:%s",
        kind == STATEMENT_PROVIDES ? "providers"
        : kind == STATEMENT_USE    ? "use"
                                   : "remove",
        kind == STATEMENT_REMOVE ? " [" : "\n");
    for (size_t i = 0; i < o->nstatements; i++) {
        const struct own_statement *s = &o->statements[i];
        if (s->kind != kind)
            continue;
        if (kind == STATEMENT_PROVIDES)
            put_provider(t, s);
        else if (kind == STATEMENT_USE)
            text_fmt(t, "    %.*s: %.*s\n", STR_ARG(s->service), STR_ARG(s->value));
        else
            text_fmt(t, "%s%.*s", between, STR_ARG(s->service));
        between = ", ";
    }
    if (kind == STATEMENT_REMOVE)
        text_add(t, STR("]\n"));
}

static int write_text(struct own_env *o, struct text *t, struct err *e)
{
    char time[24];
    if (o->nstatements)
        qsort(o->statements, o->nstatements, sizeof(*o->statements), by_service);
    text_fmt(t,
        "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: %.*s}\nspec:\n"
        "  mode: overlay\n  parents: [",
        STR_ARG(o->name));
    for (size_t i = 0; i < o->nparents; i++)
        text_fmt(t, "%s%.*s", i ? ", " : "", STR_ARG(o->parents[i]));
    text_add(t, STR("]\n"));
    if (o->owner.n) {
        text_add(t, STR("  owner: "));
        put_quoted(t, o->owner);
        text_add(t, STR("\n"));
    }
    if (o->has_expires) {
        format_rfc3339(o->expires, time);
        text_fmt(t, "  expires: %s\n", time);
    }
    if (o->strict)
        text_add(t, STR("  strict: true\n"));
    if (o->access == ACCESS_PUBLIC || o->access == ACCESS_TOKEN)
        text_fmt(t, "  access: %s\n", o->access == ACCESS_PUBLIC ? "public" : "token");
    put_kind(t, o, STATEMENT_PROVIDES);
    put_kind(t, o, STATEMENT_USE);
    put_kind(t, o, STATEMENT_REMOVE);
    return t->failed ? no_memory(e) : 0;
}

/* ---- the two ways to a text ---- */

/* Takes over the time of the old text: does it then say the same? */
static int same_but_time(struct own_env *o, struct str old, bool *ret, struct err *e)
{
    struct own_env was = {.pool = o->pool};
    struct text a = {0}, b = {0};
    int r = read_text(&was, old, 0, e);
    *ret = false;
    if (r == 0 && was.has_expires == o->has_expires) {
        was.expires = o->expires;
        r = write_text(&was, &a, e);
        r = r < 0 ? r : write_text(o, &b, e);
        *ret = r == 0 && str_eq(str_of(a.p, a.n), str_of(b.p, b.n));
    }
    text_release(&a);
    text_release(&b);
    return r;
}

static int create(struct own_env *o, const struct change *ch, const struct own_rules *r,
    struct str parent, struct str old, struct text *ret, struct err *e)
{
    bool same = false;
    o->statements = pool_zalloc(o->pool, (statements_said(ch) + 1) * sizeof(*o->statements));
    if (!o->statements)
        return no_memory(e);
    o->name = str_c(ch->name);
    for (; o->nparents < ch->nparents; o->nparents++)
        o->parents[o->nparents] = str_c(ch->parents[o->nparents]);
    if (!o->nparents)
        o->parents[o->nparents++] = parent;
    int rc = put_command(o, ch, r, ch->life_s ? ch->life_s : r->default_s, e);
    if (rc == 0 && old.n)
        rc = same_but_time(o, old, &same, e);
    if (rc < 0 || !same)
        return rc < 0 ? rc : write_text(o, ret, e);
    text_add(ret, old);
    return ret->failed ? no_memory(e) : 0;
}

int own_create(const struct change *ch, const struct own_rules *r, struct str parent,
    struct str old, struct text *ret, struct err *e)
{
    struct own_env o = {.pool = pool_new(4096)};
    int rc = o.pool ? create(&o, ch, r, parent, old, ret, e) : no_memory(e);
    pool_free(o.pool);
    return rc;
}

int own_edit(const struct change *ch, const struct own_rules *r, struct str old, struct text *ret,
    struct err *e)
{
    struct own_env o = {.pool = pool_new(4096)};
    int rc = o.pool ? read_text(&o, old, statements_said(ch), e) : no_memory(e);
    rc = rc < 0 ? rc : put_command(&o, ch, r, ch->life_s, e);
    rc = rc < 0 ? rc : write_text(&o, ret, e);
    pool_free(o.pool);
    return rc;
}

/* ---- in words ---- */

static int say_statement(void *arg, enum statement_kind kind, const char *text, struct err *e)
{
    static const char *const forms[] = {[STATEMENT_NONE] = "%s inherited",
        [STATEMENT_PROVIDES] = "%s",
        [STATEMENT_USE] = "use %s",
        [STATEMENT_REMOVE] = "without %s"};
    struct text *t = arg;
    (void)e;
    text_add(t, t->p[t->n - 1] == ':' ? STR(" ") : STR(", "));
    const char *form = forms[kind], *at = strstr(form, "%s");
    text_add(t, str_of(form, (size_t)(at - form)));
    text_add(t, str_c(text));
    text_add(t, str_c(at + 2));
    return t->failed;
}

void own_what(const struct change *ch, const struct own_rules *r, char *out, size_t size)
{
    struct text t = {0};
    uint64_t life = ch->life_s ? ch->life_s : ch->kind == CHANGE_CREATE ? r->default_s : 0;
    char time[24];
    text_fmt(&t, "%s", ch->name);
    if (ch->kind != CHANGE_DELETE)
        text_add(&t, STR(":"));
    if (!t.failed)
        each_statement(ch, say_statement, &t, NULL);
    const char *between = !t.failed && t.p[t.n - 1] == ':' ? " " : ", ";
    if (life) {
        format_rfc3339(r->now + (int64_t)life, time);
        text_fmt(&t, "%suntil %s", between, time);
        between = ", ";
    }
    if (ch->is_public || ch->is_token)
        text_fmt(&t, "%s%s", between, ch->is_public ? "public" : "by token");
    if (ch->strict)
        text_fmt(&t, "%sstrict", ch->is_public || ch->is_token ? ", " : between);
    if (!t.failed && t.p[t.n - 1] == ':')
        t.n--;
    snprintf(out, size, "%.*s", (int)t.n, t.failed ? "" : t.p);
    text_release(&t);
}
