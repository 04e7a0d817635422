/* Any bytes as CaptureRules: what is taken is within every limit that workers rely on, and what is
 * refused says why in one line. */
#include "lib/base/parse.h"
#include "proxy/capture.h"
#include "tests/fuzz/fuzz.h"

static void judge(const struct capture_rules *r)
{
    bool refuse = false;
    demand(r->refs == 1 && r->nrules <= CAPTURE_SESSIONS);
    for (unsigned i = 0; i < r->nrules; i++) {
        const struct capture_rule *u = &r->rule[i];
        demand(u->id != 0 && u->rate_ppm <= 1000000 && name_valid(u->baseline));
        demand(u->nservices <= 256 && u->npaths <= 64);
        for (unsigned k = 0; k < u->nservices; k++)
            demand(name_valid(u->services[k]));
        for (unsigned k = 0; k < u->npaths; k++)
            demand(u->paths[k].n > 0 && u->paths[k].n <= 1024 && u->paths[k].p[0] == '/');
        for (unsigned k = 0; k < i; k++)
            demand(r->rule[k].id != u->id);
        refuse |= u->refuse_missing;
    }
    demand(refuse == r->refuse_missing);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct capture_rules *r = capture_rules_parse(str_of((const char *)data, size), &e);
    demand((r != NULL) == (e.code == 0));
    if (r)
        judge(r);
    else
        demand(e.code < 0 && e.text[0]);
    for (const char *c = e.text; *c; c++)
        demand((unsigned char)*c >= 0x20 && *c != 0x7f);
    capture_rules_unref(r);
    return 0;
}
