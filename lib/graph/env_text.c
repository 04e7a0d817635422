/* Environments in words: list, show, tree, and the nearest name to a wrong one. */
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/check.h"
#include "lib/graph/explain.h"
#include "lib/graph/words.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define NAME_COLUMN_MAX 40

static const char *mode_word(uint8_t mode)
{
    static const char *const words[] = {"baseline", "overlay", "shared"};
    return words[mode];
}

static struct str access_word(uint8_t access)
{
    static const char *const words[] = {NULL, "public", "token", "subjects"};
    return str_c(words[access]);
}

static const char *statement_word(uint8_t kind)
{
    static const char *const words[] = {"nothing", "provides", "use", "remove"};
    return words[kind];
}

static bool has_expired(const struct env_info *e, int64_t now)
{
    return e->has_expires && now >= e->expires;
}

/* ---- all environments in some order ---- */

struct node {
    struct str name;
    struct str under; /* name of the first parent; empty for a root */
    uint32_t env;
};

struct nodes {
    struct node *list;
    uint32_t n;
};

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct node *)a)->name, ((const struct node *)b)->name);
}

static int by_parent(const void *a, const void *b)
{
    int c = str_cmp(((const struct node *)a)->under, ((const struct node *)b)->under);
    return c ? c : by_name(a, b);
}

static int nodes_read(
    struct nodes *nodes, const struct snapshot *s, int (*order)(const void *, const void *))
{
    uint32_t limit = snapshot_env_limit(s);
    *nodes = (struct nodes){.list = mem_array((size_t)limit + 1, sizeof(*nodes->list))};
    if (!nodes->list)
        return -ENOMEM;
    for (uint32_t i = 0; i < limit; i++) {
        struct env_info info;
        if (!snapshot_env(s, i, &info))
            continue;
        struct str under = {NULL, 0};
        if (info.nparents)
            under = snapshot_env_name(s, info.parents[0]);
        nodes->list[nodes->n++] = (struct node){info.name, under, i};
    }
    qsort(nodes->list, nodes->n, sizeof(*nodes->list), order);
    return 0;
}

/* ---- one environment ---- */

static void json_names(struct text *out, const struct snapshot *s, const uint32_t *envs, uint32_t n)
{
    text_add(out, STR("["));
    for (uint32_t i = 0; i < n; i++) {
        text_add(out, i ? STR(",") : str_of("", 0));
        json_str(out, snapshot_env_name(s, envs[i]));
    }
    text_add(out, STR("]"));
}

static void text_names(
    struct text *out, const struct snapshot *s, const uint32_t *envs, uint32_t n, const char *join)
{
    for (uint32_t i = 0; i < n; i++) {
        text_fmt(out, "%s", i ? join : "");
        text_json(out, snapshot_env_name(s, envs[i]));
    }
}

/* The keys that list, show and tree have in common, without the closing brace. */
static void json_env(
    struct text *out, const struct snapshot *s, uint32_t env, const struct env_info *e, int64_t now)
{
    struct origin origin = {.line = 0};
    char date[24];
    text_add(out, STR("{\"environment\":"));
    json_str(out, e->name);
    text_fmt(out, ",\"mode\":\"%s\",\"parents\":", mode_word(e->mode));
    json_names(out, s, e->parents, e->nparents);
    text_add(out, STR(",\"owner\":"));
    json_str(out, e->owner.n ? e->owner : str_c(NULL));
    text_add(out, STR(",\"expires\":"));
    if (e->has_expires)
        format_rfc3339(e->expires, date);
    json_str(out, e->has_expires ? str_c(date) : str_c(NULL));
    text_fmt(out, ",\"expired\":%s,\"statements\":%u,\"changed\":%" PRIu64 ",\"origin\":",
        has_expired(e, now) ? "true" : "false", e->nstatements, e->changed);
    snapshot_place(s, env, NUMBER_NONE, &origin);
    json_origin(out, &origin);
}

static void text_env_row(struct text *out, const struct snapshot *s, const struct env_info *e,
    unsigned width, int64_t now)
{
    char date[24];
    text_json(out, e->name);
    text_fmt(out, "%*s  %-8s  %10u  ", e->name.n < width ? (int)(width - e->name.n) : 0, "",
        mode_word(e->mode), e->nstatements);
    text_names(out, s, e->parents, e->nparents, ",");
    text_add(out, e->nparents ? str_of("", 0) : STR("-"));
    if (e->has_expires) {
        format_rfc3339(e->expires, date);
        text_fmt(out, "  %s %s", has_expired(e, now) ? "expired" : "expires", date);
    }
    text_add(out, STR("\n"));
}

void env_list(struct text *out, const struct snapshot *s, bool json, int64_t now)
{
    struct nodes nodes;
    size_t width = sizeof("NAME") - 1;
    if (nodes_read(&nodes, s, by_name)) {
        out->failed = -ENOMEM;
        return;
    }
    for (uint32_t i = 0; i < nodes.n; i++)
        width = nodes.list[i].name.n > width ? nodes.list[i].name.n : width;
    width = width > NAME_COLUMN_MAX ? NAME_COLUMN_MAX : width;
    if (json)
        text_add(out, STR("{\"environments\":["));
    else
        text_fmt(
            out, "%-*s  %-8s  %10s  %s\n", (int)width, "NAME", "MODE", "STATEMENTS", "PARENTS");
    for (uint32_t i = 0; i < nodes.n; i++) {
        struct env_info info;
        if (!snapshot_env(s, nodes.list[i].env, &info))
            continue;
        if (!json) {
            text_env_row(out, s, &info, (unsigned)width, now);
            continue;
        }
        text_add(out, i ? STR(",") : str_of("", 0));
        json_env(out, s, nodes.list[i].env, &info, now);
        text_add(out, STR("}"));
    }
    if (json)
        text_add(out, STR("]}"));
    mem_free(nodes.list);
}

/* ---- show ---- */

static void json_statement(
    struct text *out, const struct snapshot *s, uint32_t env, const struct statement_info *st)
{
    struct origin origin = {.line = 0};
    text_add(out, STR("{\"service\":"));
    json_str(out, snapshot_service_name(s, st->service));
    text_fmt(out, ",\"statement\":\"%s\"", statement_word(st->kind));
    if (st->kind == STATEMENT_USE) {
        text_add(out, STR(",\"use\":"));
        json_str(out, snapshot_env_name(s, st->use));
    }
    if (st->kind == STATEMENT_PROVIDES) {
        text_add(out, STR(",\"endpoints\":"));
        json_endpoints(out, st->endpoints);
        text_add(out, STR(",\"artifact\":"));
        json_str(out, st->artifact.n ? st->artifact : str_c(NULL));
        text_add(out, STR(",\"region\":"));
        json_str(out, st->region.n ? st->region : str_c(NULL));
    }
    snapshot_place(s, env, st->service, &origin);
    text_add(out, STR(",\"origin\":"));
    json_origin(out, &origin);
    text_add(out, STR("}"));
}

static void json_show(
    struct text *out, const struct snapshot *s, uint32_t env, const struct env_info *e, int64_t now)
{
    struct statement_info st;
    json_env(out, s, env, e, now);
    text_fmt(out, ",\"priority\":%d,\"strict\":%s,\"access\":", (int)e->priority,
        e->strict ? "true" : "false");
    json_str(out, access_word(e->access));
    text_add(out, STR(",\"lineage\":"));
    json_names(out, s, e->lineage, e->nlineage);
    text_add(out, STR(",\"says\":["));
    for (uint32_t i = 0; i < e->nstatements && snapshot_statement(s, env, i, &st); i++) {
        text_add(out, i ? STR(",") : str_of("", 0));
        json_statement(out, s, env, &st);
    }
    text_add(out, STR("]}"));
}

static void text_statement(
    struct text *out, const struct snapshot *s, uint32_t env, const struct statement_info *st)
{
    struct origin origin = {.line = 0};
    text_fmt(out, "  %-8s ", statement_word(st->kind));
    text_json(out, snapshot_service_name(s, st->service));
    if (st->kind == STATEMENT_USE) {
        text_add(out, STR(" of "));
        text_json(out, snapshot_env_name(s, st->use));
    } else if (st->kind == STATEMENT_PROVIDES) {
        text_add(out, STR(" at "));
        text_endpoints(out, st->endpoints);
    }
    snapshot_place(s, env, st->service, &origin);
    text_origin(out, &origin);
    text_add(out, STR("\n"));
}

static void text_show(
    struct text *out, const struct snapshot *s, uint32_t env, const struct env_info *e, int64_t now)
{
    struct statement_info st;
    struct origin origin = {.line = 0};
    struct str access = access_word(e->access);
    char date[24];
    snapshot_place(s, env, NUMBER_NONE, &origin);
    text_json(out, e->name);
    text_fmt(out, ": %s%s", mode_word(e->mode), has_expired(e, now) ? ", expired" : "");
    text_origin(out, &origin);
    text_add(out, STR("\n  lineage: "));
    text_names(out, s, e->lineage, e->nlineage, " > ");
    if (e->owner.n) {
        text_add(out, STR("\n  owner: "));
        text_json(out, e->owner);
    }
    if (e->has_expires) {
        format_rfc3339(e->expires, date);
        text_fmt(out, "\n  expires: %s", date);
    }
    if (e->mode == MODE_SHARED)
        text_fmt(out, "\n  priority: %d", (int)e->priority);
    if (e->strict)
        text_add(out, STR("\n  strict"));
    if (access.n)
        text_fmt(out, "\n  access: %.*s", STR_ARG(access));
    text_fmt(out, "\n  changed in epoch: %" PRIu64 "\nsays:\n", e->changed);
    for (uint32_t i = 0; i < e->nstatements && snapshot_statement(s, env, i, &st); i++)
        text_statement(out, s, env, &st);
    if (e->nstatements == 0)
        text_add(out, STR("  nothing\n"));
}

int env_show(struct text *out, const struct snapshot *s, struct str name, bool json, int64_t now)
{
    struct env_info info;
    uint32_t env = snapshot_find_env(s, name);
    if (env == NUMBER_NONE || !snapshot_env(s, env, &info))
        return -ENOENT;
    if (json)
        json_show(out, s, env, &info, now);
    else
        text_show(out, s, env, &info, now);
    return 0;
}

/* ---- tree ---- */

/* First node whose `under` is not before the name. */
static uint32_t first_under(const struct nodes *nodes, struct str name)
{
    uint32_t low = 0, high = nodes->n;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (str_cmp(nodes->list[mid].under, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void tree_line(struct text *out, const struct snapshot *s, uint32_t env, unsigned depth,
    bool json, int64_t now)
{
    struct env_info info;
    if (!snapshot_env(s, env, &info))
        return;
    if (json) {
        json_env(out, s, env, &info, now);
        text_fmt(out, ",\"depth\":%u}", depth);
        return;
    }
    text_fmt(out, "%*s", (int)(2 * depth), "");
    text_json(out, info.name);
    if (info.mode != MODE_OVERLAY)
        text_fmt(out, " (%s)", info.mode == MODE_SHARED ? "pool" : mode_word(info.mode));
    if (info.nparents > 1) {
        text_add(out, STR(" also under "));
        text_names(out, s, info.parents + 1, info.nparents - 1, ", ");
    }
    text_fmt(out, "%s\n", has_expired(&info, now) ? " expired" : "");
}

void env_tree(struct text *out, const struct snapshot *s, bool json, int64_t now)
{
    /* Where each depth stands in the nodes, which are sorted by parent. No lineage is deeper. */
    struct level {
        uint32_t next;
        struct str under;
    } levels[LINEAGE_MAX] = {{0}};
    struct nodes nodes;
    unsigned depth = 0;
    bool first = true;
    if (nodes_read(&nodes, s, by_parent)) {
        out->failed = -ENOMEM;
        return;
    }
    text_add(out, json ? STR("{\"environments\":[") : str_of("", 0));
    for (;;) {
        struct level *l = &levels[depth];
        if (l->next == nodes.n || !str_eq(nodes.list[l->next].under, l->under)) {
            if (depth-- == 0)
                break;
            continue;
        }
        const struct node *node = &nodes.list[l->next++];
        text_add(out, json && !first ? STR(",") : str_of("", 0));
        first = false;
        tree_line(out, s, node->env, depth, json, now);
        if (depth + 1 < LINEAGE_MAX)
            levels[++depth] = (struct level){first_under(&nodes, node->name), node->name};
    }
    text_add(out, json ? STR("]}") : str_of("", 0));
    mem_free(nodes.list);
}

/* ---- nearest names ---- */

/* Keeps the nearest candidate; of equally near ones the first in byte order. */
struct nearest {
    struct str name; /* looked for */
    struct str best;
    unsigned distance;
};

static void nearest_init(struct nearest *n, struct str name)
{
    unsigned cap = name.n <= 3 ? 1 : name.n <= 6 ? 2 : 3;
    *n = (struct nearest){.name = name, .distance = cap};
}

static void nearest_try(struct nearest *n, struct str candidate)
{
    unsigned distance = str_distance(n->name, candidate, n->distance);
    if (distance > n->distance ||
        (distance == n->distance && n->best.n && str_cmp(n->best, candidate) <= 0))
        return;
    n->best = candidate;
    n->distance = distance;
}

struct str snapshot_nearest_env(const struct snapshot *s, struct str name)
{
    struct nearest n;
    nearest_init(&n, name);
    uint32_t limit = snapshot_env_limit(s);
    for (uint32_t i = 0; i < limit; i++) {
        struct env_info info;
        if (snapshot_env(s, i, &info))
            nearest_try(&n, info.name);
    }
    return n.best;
}

struct str snapshot_nearest_service(const struct snapshot *s, struct str name)
{
    struct nearest n;
    nearest_init(&n, name);
    uint32_t limit = snapshot_service_limit(s);
    for (uint32_t i = 0; i < limit; i++) {
        const struct service_info *service = snapshot_service(s, i);
        if (service)
            nearest_try(&n, service->name);
    }
    return n.best;
}
