/* Two replies compared, and redacted: a reply does not differ from itself; whether two differ does
 * not depend on which is first, or on redaction; texts are short and well-formed; what was JSON is
 * JSON after redaction.
 *
 * Input: a byte of mode (low bits: the media type, 0x10: gzip, 0x40: URLs too), two bytes with the
 * length of the first body (little-endian, within the rest), the first body, the second. */
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/compare/compare.h"
#include "lib/compare/json.h"
#include "lib/compare/redact.h"
#include "tests/fuzz/fuzz.h"

static const char *const types[] = {"application/json", "", "text/plain",
    "application/x-www-form-urlencoded", "multipart/form-data; boundary=X", "application/grpc",
    "application/octet-stream", "application/x-ndjson"};

static const struct compare_limits limits = {
    .depth = 32, .nodes = 2000, .differences = 50, .inflated_bytes = 65536, .lcs = 16};

struct two {
    struct reply_field field[2][3];
    struct reply reply[2];
};

static void make(struct two *t, unsigned mode, struct str a, struct str b)
{
    for (int i = 0; i < 2; i++) {
        t->field[i][0] = (struct reply_field){STR("content-type"), str_c(types[mode % 8])};
        t->field[i][1] = (struct reply_field){STR("content-encoding"), STR("gzip")};
        t->reply[i] = (struct reply){.status = 200,
            .fields = t->field[i],
            .nfields = mode & 0x10 ? 2 : 1,
            .body = i ? b : a};
        if (mode & 0x40) /* both are URLs, too */
            t->field[i][t->reply[i].nfields++] = (struct reply_field){STR("location"), i ? b : a};
    }
}

static void check_texts(const struct differences *d)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct difference *x = &d->item[i];
        demand(x->path.n > 0 && x->path.n <= COMPARE_PATH_MAX);
        demand(x->a.n <= COMPARE_TEXT_MAX && x->b.n <= COMPARE_TEXT_MAX);
        demand(utf8_check(x->a) == x->a.n && utf8_check(x->b) == x->b.n);
        demand(x->kind != DIFF_MISSING || x->b.n == 0);
        demand(x->kind != DIFF_EXTRA || x->a.n == 0);
        demand(x->kind == DIFF_VALUE || x->shape);
        for (size_t k = 0; k < i; k++)
            demand(x->kind != d->item[k].kind || !str_eq(x->path, d->item[k].path));
    }
}

static size_t differences(
    const struct reply *a, const struct reply *b, const struct redact *r, const struct ignore *i)
{
    struct compare_rules rules = {.limits = limits, .redact = r, .ignore = i};
    struct differences d;
    demand(replies_compare(a, b, &rules, &d) == 0);
    check_texts(&d);
    demand(d.n <= limits.differences && (!d.cut || d.n == limits.differences));
    size_t n = d.n;
    differences_release(&d);
    return n;
}

static bool is_json(struct str s)
{
    struct json j;
    struct pool *pool = pool_new(4096);
    demand(pool);
    int rc = json_parse(&j, pool, s, JSON_DEPTH_MAX, 100000);
    pool_free(pool);
    return rc == 0;
}

static void check_redaction(const struct redact *r, const char *type, struct str body)
{
    struct text out = {0};
    bool any = redact_body(r, str_c(type), NULL, body, &out);
    struct str redacted = {out.p, out.n};
    demand(!out.failed);
    demand(any || str_eq(redacted, body));
    if (strcmp(type, "application/json") == 0 && is_json(body))
        demand(is_json(redacted));
    text_release(&out);
    (void)redact_path(r, body, &out);
    (void)redact_field(r, STR("cookie"), body, &out);
    (void)redact_field(r, STR("set-cookie"), body, &out);
    demand(!out.failed);
    text_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *all = "**";
    struct redact_options o = {.key = "0123456789abcde"};
    struct two t;
    if (size < 3 || size > 1u << 16)
        return 0;
    struct str rest = {(const char *)data + 3, size - 3};
    size_t n = (size_t)(data[1] | data[2] << 8) % (rest.n + 1);
    struct str a = {rest.p, n}, b = str_from(rest, n);
    struct redact *r = redact_new(&o, NULL);
    struct ignore *i = ignore_new(&all, 1, NULL);
    demand(r && i);
    make(&t, data[0], a, b);
    demand(differences(&t.reply[0], &t.reply[0], r, NULL) == 0);
    demand(differences(&t.reply[1], &t.reply[1], NULL, NULL) == 0);
    size_t there = differences(&t.reply[0], &t.reply[1], NULL, NULL);
    size_t back = differences(&t.reply[1], &t.reply[0], NULL, NULL);
    demand(!there == !back);
    demand(!differences(&t.reply[0], &t.reply[1], r, NULL) == !there);
    demand(differences(&t.reply[0], &t.reply[1], NULL, i) == 0);
    check_redaction(r, types[data[0] % 8], a);
    redact_free(r);
    ignore_free(i);
    demand(mem_live() == 0);
    return 0;
}
