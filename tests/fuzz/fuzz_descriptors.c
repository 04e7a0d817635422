/* Any bytes as descriptors: refused with a text, or all that is there can be looked up again. */
#include "lib/compare/descriptors.h"
#include "tests/fuzz/fuzz.h"

#define DEPTH 6

static void check_enum(const struct descriptor_enum *e)
{
    static const int32_t numbers[] = {INT32_MIN, -2, 0, 1, 2, INT32_MAX};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct str name = descriptor_enum_name(e, numbers[i]);
        demand(name.n == 0 || name.p);
    }
}

static void check_message(const struct descriptor_message *m, unsigned depth)
{
    const struct descriptor_field *all;
    size_t n = descriptor_fields(m, &all);
    for (size_t i = 0; i < n; i++) {
        const struct descriptor_field *f = &all[i];
        demand(f->number > 0 && f->number < 1u << 29 && f->name.n > 0);
        demand(i == 0 || all[i - 1].number < f->number);
        demand(descriptor_field(m, f->number) == f);
        demand(!f->map || (f->repeated && descriptor_field(f->message, 1)));
        demand(!f->message || f->type == DESCRIPTOR_MESSAGE);
        demand(!f->presence || !f->repeated);
        if (f->enumeration)
            check_enum(f->enumeration);
        if (f->message && depth)
            check_message(f->message, depth - 1);
        if (i == 8)
            break; /* the tree of all of them has no end */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"shop.Reply", "shop.Item", "M", "a.B.C"};
    struct err e = {0};
    struct descriptors *d = descriptors_parse(str_of((const char *)data, size), &e);
    demand(d || (e.code < 0 && e.text[0]));
    if (!d)
        return 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct descriptor_message *m = descriptors_message(d, str_c(names[i]));
        if (m)
            check_message(m, DEPTH);
    }
    const struct descriptor_message *reply = descriptors_reply(d, STR("/shop.Shop/List"));
    if (reply)
        check_message(reply, DEPTH);
    descriptors_free(d);
    return 0;
}
