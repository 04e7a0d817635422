/* What the agent asks to be told of traffic, judged and compiled: one block of memory for all
 * texts and lists, immutable afterwards. */
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/base/pballoc.h"
#include "proto/offshoot/v1/control.pb-c.h"
#include "proxy/capture.h"
#include <errno.h>

#define SERVICES_MAX 256u
#define PATHS_MAX    64u
#define PATH_MAX_LEN 1024u
#define RATE_MAX     1000000u
#define PACKED_MAX   262144u
#define KEY_BYTES    16u

typedef Offshoot__V1__CaptureRules pb_rules;
typedef Offshoot__V1__CaptureSession pb_session;
typedef unsigned long long ull;

static int judge_services(const pb_session *m, struct err *e)
{
    if (m->n_services > SERVICES_MAX)
        return err_set(e, -E2BIG, "%zu services, %u may be named", m->n_services, SERVICES_MAX);
    for (size_t i = 0; i < m->n_services; i++)
        if (!name_valid(str_c(m->services[i])))
            return err_set(e, -EINVAL, "service %zu: not a name: '%s'", i + 1, m->services[i]);
    return 0;
}

/* Compared with the path of requests, without a query. */
static bool path_valid(struct str path)
{
    if (!str_starts(path, STR("/")))
        return false;
    for (size_t i = 0; i < path.n; i++)
        if ((unsigned char)path.p[i] <= ' ' || path.p[i] == 0x7f || path.p[i] == '?' ||
            path.p[i] == '#')
            return false;
    return true;
}

static int judge_paths(const pb_session *m, struct err *e)
{
    if (m->n_paths > PATHS_MAX)
        return err_set(e, -E2BIG, "%zu paths, %u may be named", m->n_paths, PATHS_MAX);
    for (size_t i = 0; i < m->n_paths; i++) {
        struct str path = str_c(m->paths[i]);
        if (path.n > PATH_MAX_LEN)
            return err_set(
                e, -E2BIG, "path %zu: %zu bytes, %u are allowed", i + 1, path.n, PATH_MAX_LEN);
        if (!path_valid(path))
            return err_set(e, -EINVAL, "path %zu: not a path: '%s'", i + 1, path.p);
    }
    return 0;
}

static int judge_session(const pb_session *m, struct err *e)
{
    if (m->id == 0)
        return err_set(e, -EINVAL, "id: 0 is none");
    if (!name_valid(str_c(m->baseline)))
        return err_set(e, -EINVAL, "baseline: not a name: '%s'", m->baseline);
    if (m->rate_ppm > RATE_MAX)
        return err_set(e, -ERANGE, "rate_ppm: %u is above %u", m->rate_ppm, RATE_MAX);
    int rc = judge_services(m, e);
    return rc ? rc : judge_paths(m, e);
}

static int judge(const pb_rules *m, struct err *e)
{
    if (m->n_sessions > CAPTURE_SESSIONS)
        return err_set(
            e, -E2BIG, "%zu sessions, %u may be told at a time", m->n_sessions, CAPTURE_SESSIONS);
    if (m->n_sessions && m->dark_key.len != KEY_BYTES)
        return err_set(e, -EINVAL, "dark_key: %zu bytes, not %u", m->dark_key.len, KEY_BYTES);
    for (size_t i = 0; i < m->n_sessions; i++) {
        if (judge_session(m->sessions[i], e) != 0)
            return err_prefix(e, "session %zu", i + 1);
        for (size_t k = 0; k < i; k++)
            if (m->sessions[k]->id == m->sessions[i]->id)
                return err_set(e, -EEXIST, "session %zu: id %llu is that of session %zu", i + 1,
                    (ull)m->sessions[i]->id, k + 1);
    }
    return 0;
}

/* Bytes for the lists, then for the texts. */
static void measure(const pb_rules *m, size_t *ret_lists, size_t *ret_texts)
{
    size_t lists = 0, texts = 0;
    for (size_t i = 0; i < m->n_sessions; i++) {
        const pb_session *s = m->sessions[i];
        lists += (s->n_services + s->n_paths) * sizeof(struct str);
        texts += strlen(s->baseline);
        for (size_t k = 0; k < s->n_services; k++)
            texts += strlen(s->services[k]);
        for (size_t k = 0; k < s->n_paths; k++)
            texts += strlen(s->paths[k]);
    }
    *ret_lists = lists;
    *ret_texts = texts;
}

static struct str *put_list(struct str **list, char **text, char *const *items, size_t n)
{
    struct str *first = *list;
    for (size_t i = 0; i < n; i++)
        *(*list)++ = str_put(text, str_c(items[i]));
    return first;
}

static void compile(struct capture_rule *r, const pb_session *m, struct str **list, char **text)
{
    r->id = m->id;
    r->sample_seed = m->sample_seed;
    r->rate_ppm = m->rate_ppm;
    r->unsafe_methods = m->unsafe_methods;
    r->refuse_missing = m->refuse_missing;
    r->hops_only = m->hops_only;
    r->baseline = str_put(text, str_c(m->baseline));
    r->nservices = (unsigned)m->n_services;
    r->services = put_list(list, text, m->services, m->n_services);
    r->npaths = (unsigned)m->n_paths;
    r->paths = put_list(list, text, m->paths, m->n_paths);
}

static struct capture_rules *rules_new(const pb_rules *m)
{
    size_t lists, texts;
    measure(m, &lists, &texts);
    struct capture_rules *r = mem_zalloc(sizeof *r);
    char *memory = mem_alloc(lists + texts + 1);
    if (!r || !memory) {
        mem_free(r);
        mem_free(memory);
        return NULL;
    }
    struct str *list = (struct str *)(void *)memory;
    char *text = memory + lists;
    r->memory = memory;
    r->refs = 1;
    r->version = m->version;
    if (m->dark_key.len == KEY_BYTES) {
        r->dark_seed = bytes_get_le64(m->dark_key.data);
        r->dark_xor = bytes_get_le64(m->dark_key.data + 8);
    }
    for (; r->nrules < m->n_sessions; r->nrules++) {
        compile(&r->rule[r->nrules], m->sessions[r->nrules], &list, &text);
        r->refuse_missing |= r->rule[r->nrules].refuse_missing;
    }
    return r;
}

struct capture_rules *capture_rules_parse(struct str packed, struct err *e)
{
    if (packed.n > PACKED_MAX) {
        err_set(e, -E2BIG, "%zu bytes, %u are allowed", packed.n, PACKED_MAX);
        return NULL;
    }
    pb_rules *m = (pb_rules *)pb_unpack(
        &offshoot__v1__capture_rules__descriptor, packed, pb_budget(packed.n));
    if (!m) {
        err_set(e, -EBADMSG, "not to be read as CaptureRules");
        return NULL;
    }
    struct capture_rules *r = NULL;
    if (judge(m, e) == 0) {
        r = rules_new(m);
        if (!r)
            err_set(e, -ENOMEM, "out of memory");
    }
    pb_free((ProtobufCMessage *)m);
    return r;
}

void capture_rules_unref(struct capture_rules *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    mem_free(r->memory);
    mem_free(r);
}
