#include "lib/graph/envrec.h"

#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/check.h"
#include <errno.h>
#include <stdlib.h>

/* Field numbers of proto/offshoot/v1/graph.proto. */
enum {
    E_NAME = 1,
    E_MODE,
    E_PARENTS,
    E_STATEMENTS,
    E_EXPIRES,
    E_PRIORITY,
    E_STRICT,
    E_ACCESS,
    E_OWNER,
    E_SUBJECTS,
    E_LABELS
};
enum { L_KEY = 1, L_VALUE };
enum { ST_SERVICE = 1, ST_PROVIDES, ST_USE, ST_REMOVE };
enum { PR_ENDPOINTS = 1, PR_ARTIFACT, PR_REGION };
enum { EP_IP4 = 1, EP_IP6, EP_DNS, EP_UNIX, EP_TUNNEL, EP_PORT, EP_WEIGHT };

#define WEIGHT_MAX    1000u
#define ORDER_ON_HAND 64u

/* ---- writing ---- */

static void write_endpoint(struct pb_out *o, const struct endpoint *ep)
{
    const struct addr *a = &ep->addr;
    size_t at = pb_begin(o, PR_ENDPOINTS);
    if (a->kind == ADDR_IP4)
        pb_fixed32(o, EP_IP4,
            (uint32_t)a->ip[0] << 24 | (uint32_t)a->ip[1] << 16 | (uint32_t)a->ip[2] << 8 |
                a->ip[3]);
    else if (a->kind == ADDR_IP6)
        pb_bytes(o, EP_IP6, str_of((const char *)a->ip, sizeof(a->ip)));
    else
        pb_bytes(o,
            a->kind == ADDR_DNS    ? EP_DNS
            : a->kind == ADDR_UNIX ? EP_UNIX
                                   : EP_TUNNEL,
            a->name);
    if (a->port)
        pb_uint(o, EP_PORT, a->port);
    if (ep->weight != 1)
        pb_uint(o, EP_WEIGHT, ep->weight);
    pb_end(o, at);
}

static void write_provider(struct pb_out *o, const struct endpoint_set *set)
{
    size_t at = pb_begin(o, ST_PROVIDES);
    struct str artifact = endpoint_set_artifact(set), region = endpoint_set_region(set);
    for (uint32_t i = 0; i < endpoint_set_count(set); i++) {
        struct endpoint ep;
        endpoint_set_at(set, i, &ep);
        write_endpoint(o, &ep);
    }
    if (artifact.n)
        pb_bytes(o, PR_ARTIFACT, artifact);
    if (region.n)
        pb_bytes(o, PR_REGION, region);
    pb_end(o, at);
}

static void write_statement(
    struct pb_out *o, const struct env_names *n, uint32_t service, uint32_t target)
{
    size_t at = pb_begin(o, E_STATEMENTS);
    pb_bytes(o, ST_SERVICE, intern_text(n->services, service));
    switch (target_kind(target)) {
    case STATEMENT_PROVIDES:
        write_provider(o, endpoints_at(n->sets, target & TARGET_MASK));
        break;
    case STATEMENT_USE:
        pb_bytes(o, ST_USE, intern_text(n->envs, target & TARGET_MASK));
        break;
    default:
        pb_uint(o, ST_REMOVE, 1);
    }
    pb_end(o, at);
}

struct order_ctx {
    const struct intern_view *services;
    const uint32_t *numbers;
};

static int by_name(const void *a, const void *b, void *arg)
{
    const struct order_ctx *c = arg;
    return str_cmp(intern_text(c->services, c->numbers[*(const uint32_t *)a]),
        intern_text(c->services, c->numbers[*(const uint32_t *)b]));
}

void env_order(const struct env_names *n, const struct env_record *r, uint32_t *order)
{
    struct order_ctx c = {n->services, record_services(r)};
    uint32_t count = r->nstatements;
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    if (count > ORDER_ON_HAND) {
        qsort_r(order, count, sizeof(*order), by_name, &c);
        return;
    }
    for (uint32_t i = 1; i < count; i++) {
        uint32_t v = order[i], j = i;
        for (; j > 0 && by_name(&order[j - 1], &v, &c) > 0; j--)
            order[j] = order[j - 1];
        order[j] = v;
    }
}

static void write_statements(
    struct pb_out *o, const struct env_names *n, const struct env_record *r)
{
    uint32_t on_hand[ORDER_ON_HAND];
    uint32_t *order =
        r->nstatements > ORDER_ON_HAND ? mem_array(r->nstatements, sizeof(*order)) : on_hand;
    if (!order) {
        o->failed = true;
        return;
    }
    env_order(n, r, order);
    for (uint32_t i = 0; i < r->nstatements; i++)
        write_statement(o, n, record_services(r)[order[i]], record_targets(r)[order[i]]);
    if (order != on_hand)
        mem_free(order);
}

void env_write(
    struct pb_out *o, const struct env_names *n, uint32_t env, const struct env_record *r)
{
    uint32_t nparents;
    const uint32_t *parents = record_parents(r, &nparents);
    pb_bytes(o, E_NAME, intern_text(n->envs, env));
    if (record_mode(r))
        pb_uint(o, E_MODE, record_mode(r));
    for (uint32_t i = 0; i < nparents; i++)
        pb_bytes(o, E_PARENTS, intern_text(n->envs, parents[i]));
    write_statements(o, n, r);
    if (r->flags & RECORD_EXPIRES)
        pb_sint(o, E_EXPIRES, record_expires(r));
    if (record_priority(r))
        pb_sint(o, E_PRIORITY, record_priority(r));
    if (r->flags & RECORD_STRICT)
        pb_uint(o, E_STRICT, 1);
    if (record_access(r))
        pb_uint(o, E_ACCESS, record_access(r));
    struct str extras = record_extras(r);
    pb_raw(o, extras.p, extras.n);
}

void env_extras_write(struct pb_out *o, const struct model_env *m)
{
    if (m->owner.n)
        pb_bytes(o, E_OWNER, m->owner);
    for (uint32_t i = 0; i < m->nsubjects; i++)
        pb_bytes(o, E_SUBJECTS, m->subjects[i].s);
    for (uint32_t i = 0; i < m->nlabels; i++) {
        size_t at = pb_begin(o, E_LABELS);
        if (m->labels[2 * i].s.n)
            pb_bytes(o, L_KEY, m->labels[2 * i].s);
        if (m->labels[2 * i + 1].s.n)
            pb_bytes(o, L_VALUE, m->labels[2 * i + 1].s);
        pb_end(o, at);
    }
}

struct str record_owner(const struct env_record *r)
{
    struct pb_in in = pb_in_of(record_extras(r));
    struct pb_field f;
    if (pb_next(&in, &f) > 0 && f.number == E_OWNER && f.wire == PB_BYTES)
        return f.bytes;
    return str_of(NULL, 0);
}

/* ---- reading ---- */

void env_reader_release(struct env_reader *er)
{
    mem_free(er->statements);
    mem_free(er->endpoints);
    mem_free(er->order);
    *er = (struct env_reader){0};
}

int env_reader_statements(struct env_reader *er, uint32_t n)
{
    if (n <= er->statements_size)
        return 0;
    uint32_t size = n < 16 ? 16 : n + n / 2;
    void *p = mem_realloc(er->statements, size * sizeof(*er->statements));
    if (!p)
        return -ENOMEM;
    er->statements = p;
    p = mem_realloc(er->order, size * sizeof(*er->order));
    if (!p)
        return -ENOMEM;
    er->order = p;
    er->statements_size = size;
    return 0;
}

int env_reader_endpoints(struct env_reader *er, uint32_t n)
{
    if (n <= er->endpoints_size)
        return 0;
    uint32_t size = n < 8 ? 8 : n + n / 2;
    void *p = mem_realloc(er->endpoints, size * sizeof(*er->endpoints));
    if (!p)
        return -ENOMEM;
    er->endpoints = p;
    er->endpoints_size = size;
    return 0;
}

/* What a reading function needs besides its bytes. */
struct reading {
    struct env_reader *er;
    struct chain *chain;
    struct str env; /* its name, for the text of errors */
    struct err *e;
};

static int bad(const struct reading *rd, const char *what)
{
    return err_set(rd->e, -EBADMSG, "%s in environment record '%.*s'", what, STR_ARG(rd->env));
}

static bool is_text(const struct pb_field *f)
{
    return f->wire == PB_BYTES && f->bytes.n && utf8_check(f->bytes) == f->bytes.n &&
           str_find(f->bytes, '\0') == f->bytes.n;
}

static bool read_addr_field(const struct pb_field *f, struct endpoint *ep)
{
    struct addr *a = &ep->addr;
    switch (f->number) {
    case EP_IP4:
        if (f->wire != PB_FIXED32 || a->kind)
            return false;
        a->kind = ADDR_IP4;
        for (unsigned i = 0; i < 4; i++)
            a->ip[i] = (uint8_t)(f->value >> (24 - 8 * i));
        return true;
    case EP_IP6:
        if (f->wire != PB_BYTES || f->bytes.n != sizeof(a->ip) || a->kind)
            return false;
        a->kind = ADDR_IP6;
        memcpy(a->ip, f->bytes.p, sizeof(a->ip));
        return true;
    case EP_DNS:
    case EP_UNIX:
    case EP_TUNNEL:
        if (!is_text(f) || a->kind)
            return false;
        a->kind = f->number == EP_DNS ? ADDR_DNS : f->number == EP_UNIX ? ADDR_UNIX : ADDR_TUNNEL;
        a->name = f->bytes;
        return true;
    case EP_PORT:
        a->port = (uint16_t)f->value;
        return f->wire == PB_VARINT && f->value > 0 && f->value <= UINT16_MAX;
    case EP_WEIGHT:
        ep->weight = (uint32_t)f->value;
        return f->wire == PB_VARINT && f->value > 0 && f->value <= WEIGHT_MAX;
    default:
        return false;
    }
}

/* An address is kept in the form that its text gives, so that a later reader meets nothing that
 * the files could not have said. */
static bool addr_is_sound(const struct addr *a)
{
    char text[ADDR_TEXT_MAX];
    struct addr again;
    if (a->kind == ADDR_IP4 || a->kind == ADDR_IP6)
        return a->port != 0;
    if (a->kind == ADDR_NONE || a->name.n > 253)
        return false;
    size_t n = addr_format(a, text);
    return addr_parse(str_of(text, n), false, &again, NULL) == 0 && addr_eq(a, &again);
}

static int read_endpoint(const struct reading *rd, struct str bytes, struct endpoint *ret)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    struct endpoint ep = {.weight = 1};
    int r;
    while ((r = pb_next(&in, &f)) > 0)
        if (!read_addr_field(&f, &ep))
            return bad(rd, "malformed endpoint");
    if (r < 0 || !addr_is_sound(&ep.addr))
        return bad(rd, "malformed endpoint");
    *ret = ep;
    return 0;
}

static int read_provider(const struct reading *rd, struct str bytes, uint32_t *ret_target)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    struct str artifact = {0}, region = {0};
    uint32_t n = 0, handle;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        if (f.number == PR_ENDPOINTS && f.wire == PB_BYTES && n < ENDPOINTS_MAX) {
            if (env_reader_endpoints(rd->er, n + 1) < 0)
                return err_set(rd->e, -ENOMEM, "out of memory");
            r = read_endpoint(rd, f.bytes, &rd->er->endpoints[n++]);
            if (r < 0)
                return r;
        } else if (f.number == PR_ARTIFACT && is_text(&f)) {
            artifact = f.bytes;
        } else if (f.number == PR_REGION && is_text(&f)) {
            region = f.bytes;
        } else {
            return bad(rd, "malformed provider");
        }
    }
    if (r < 0 || n == 0)
        return bad(rd, n ? "malformed provider" : "provider without endpoints");
    r = endpoints_intern(&rd->chain->sets, rd->er->endpoints, n, artifact, region, &handle);
    if (r < 0)
        return r == -ENOMEM ? err_set(rd->e, r, "out of memory") : bad(rd, "too large a provider");
    *ret_target = target_make(STATEMENT_PROVIDES, handle);
    return 0;
}

static int read_use(const struct reading *rd, const struct pb_field *f, uint32_t *ret_target)
{
    uint32_t x = f->wire == PB_BYTES ? intern_find(&rd->chain->envs, f->bytes) : INTERN_NONE;
    if (x == INTERN_NONE)
        return bad(rd, "'use' of an unknown environment");
    *ret_target = target_make(STATEMENT_USE, x);
    return 0;
}

static int read_statement(const struct reading *rd, struct str bytes, struct content_statement *ret)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    struct content_statement st = {.service = INTERN_NONE};
    int r, done = 0;
    while ((r = pb_next(&in, &f)) > 0) {
        if (f.number == ST_SERVICE && f.wire == PB_BYTES && st.service == INTERN_NONE)
            st.service = intern_find(&rd->chain->services, f.bytes);
        else if (f.number == ST_PROVIDES && f.wire == PB_BYTES && !st.target)
            done = read_provider(rd, f.bytes, &st.target);
        else if (f.number == ST_USE && !st.target)
            done = read_use(rd, &f, &st.target);
        else if (f.number == ST_REMOVE && f.wire == PB_VARINT && f.value == 1 && !st.target)
            st.target = target_make(STATEMENT_REMOVE, 0);
        else
            done = bad(rd, "malformed statement");
        if (done < 0)
            break;
    }
    if (done == 0 && (r < 0 || !st.target || st.service == INTERN_NONE))
        done = bad(rd, st.service == INTERN_NONE ? "statement about an unknown service"
                                                 : "malformed statement");
    if (done < 0 && target_kind(st.target) == STATEMENT_PROVIDES)
        endpoints_drop(&rd->chain->sets, st.target & TARGET_MASK);
    if (done == 0)
        *ret = st;
    return done;
}

static int read_parent(
    const struct reading *rd, const struct pb_field *f, uint32_t *parents, uint32_t *n)
{
    uint32_t number = f->wire == PB_BYTES ? intern_find(&rd->chain->envs, f->bytes) : INTERN_NONE;
    if (number == INTERN_NONE)
        return bad(rd, "unknown parent");
    if (*n == LINEAGE_MAX - 1)
        return bad(rd, "too many parents");
    for (uint32_t i = 0; i < *n; i++)
        if (parents[i] == number)
            return bad(rd, "a parent named twice");
    parents[(*n)++] = number;
    return 0;
}

int env_read_parents(struct str bytes, const struct chain *c, uint32_t *parents,
    uint32_t *ret_nparents, struct err *e)
{
    struct reading rd = {.chain = (struct chain *)(uintptr_t)c, .e = e};
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    uint32_t n = 0;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        if (f.number == E_NAME && f.wire == PB_BYTES)
            rd.env = f.bytes;
        int p = f.number == E_PARENTS ? read_parent(&rd, &f, parents, &n) : 0;
        if (p < 0)
            return p;
    }
    if (r < 0)
        return bad(&rd, "bytes that are no fields");
    *ret_nparents = n;
    return 0;
}

static bool read_small_field(const struct pb_field *f, struct env_content *c)
{
    bool varint = f->wire == PB_VARINT;
    int64_t sint = pb_zigzag(f->value);
    switch (f->number) {
    case E_MODE:
        c->mode = (uint8_t)f->value;
        return varint && f->value <= MODE_SHARED;
    case E_EXPIRES:
        c->has_expires = true;
        c->expires = sint;
        return varint;
    case E_PRIORITY:
        c->priority = (int32_t)sint;
        return varint && sint >= INT32_MIN && sint <= INT32_MAX;
    case E_STRICT:
        c->strict = f->value;
        return varint && f->value <= 1;
    case E_ACCESS:
        c->access = (uint8_t)f->value;
        return varint && f->value <= ACCESS_SUBJECTS;
    default:
        return false;
    }
}

static bool label_is_sound(struct str bytes)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0)
        if (f.number > L_VALUE || f.wire != PB_BYTES || utf8_check(f.bytes) != f.bytes.n)
            return false;
    return r == 0;
}

/* Owner, subjects and labels are kept as they come: they must be the end of the record. */
static bool read_extra(
    const struct pb_field *f, const uint8_t *from, const uint8_t *to, struct env_content *c)
{
    if (f->number < E_OWNER || f->number > E_LABELS)
        return false;
    if (f->number == E_LABELS ? f->wire != PB_BYTES || !label_is_sound(f->bytes) : !is_text(f))
        return false;
    if (c->extras.n && (const uint8_t *)c->extras.p + c->extras.n != from)
        return false;
    if (!c->extras.n)
        c->extras.p = (const char *)from;
    c->extras.n = (size_t)(to - (const uint8_t *)c->extras.p);
    return true;
}

static int read_fields(const struct reading *rd, struct str bytes, struct env_content *c)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    const uint8_t *from = in.p;
    while ((r = pb_next(&in, &f)) > 0) {
        int done = 0;
        if (f.number == E_PARENTS) {
            done = read_parent(rd, &f, rd->er->parents, &c->nparents);
        } else if (f.number == E_STATEMENTS && f.wire == PB_BYTES &&
                   c->nstatements < STATEMENTS_MAX) {
            if (env_reader_statements(rd->er, c->nstatements + 1) < 0)
                return err_set(rd->e, -ENOMEM, "out of memory");
            c->statements = rd->er->statements;
            done = read_statement(rd, f.bytes, &c->statements[c->nstatements]);
            c->nstatements += done == 0;
        } else if (f.number != E_NAME && !read_small_field(&f, c) &&
                   !read_extra(&f, from, in.p, c)) {
            done = bad(rd, "malformed field");
        }
        if (done < 0)
            return done;
        from = in.p;
    }
    if (r < 0)
        return bad(rd, "bytes that are no fields");
    if (c->priority && c->mode != MODE_SHARED)
        return bad(rd, "priority outside a pool");
    return 0;
}

static int by_service(const void *a, const void *b)
{
    const struct content_statement *x = a, *y = b;
    return (x->service > y->service) - (x->service < y->service);
}

/* Sorts by service number; remembers in order[] where each stood. */
static int sort_statements(const struct reading *rd, struct env_content *c)
{
    for (uint32_t i = 0; i < c->nstatements; i++)
        c->statements[i].line = i;
    qsort(c->statements, c->nstatements, sizeof(*c->statements), by_service);
    for (uint32_t i = 0; i < c->nstatements; i++) {
        if (i && c->statements[i].service == c->statements[i - 1].service)
            return bad(rd, "two statements about one service");
        rd->er->order[i] = c->statements[i].line;
        c->statements[i].line = 0;
    }
    return 0;
}

int env_read(struct env_reader *er, struct str bytes, struct chain *c, struct env_content *ret,
    struct err *e)
{
    struct reading rd = {er, c, str_of(NULL, 0), e};
    struct env_content content = {.parents = er->parents};
    if (record_name(bytes, &rd.env, e) < 0)
        return -EBADMSG;
    int r = read_fields(&rd, bytes, &content);
    if (r == 0 && content.nstatements)
        r = sort_statements(&rd, &content);
    if (r < 0) {
        content_drop(&content, &c->sets);
        return r;
    }
    *ret = content;
    return 0;
}
