#include "lib/graph/words.h"

void json_str(struct text *out, struct str s)
{
    if (!s.p) {
        text_add(out, STR("null"));
        return;
    }
    text_add(out, STR("\""));
    text_json(out, s);
    text_add(out, STR("\""));
}

void json_origin(struct text *out, const struct origin *o)
{
    if (o->line == 0) {
        text_add(out, STR("null"));
        return;
    }
    text_add(out, STR("\""));
    text_json(out, o->file);
    text_fmt(out, ":%u\"", o->line);
}

void json_endpoints(struct text *out, const struct endpoint_set *set)
{
    uint32_t n = set ? endpoint_set_count(set) : 0;
    text_add(out, STR("["));
    for (uint32_t i = 0; i < n; i++) {
        struct endpoint e;
        char address[ADDR_TEXT_MAX];
        endpoint_set_at(set, i, &e);
        if (i)
            text_add(out, STR(","));
        json_str(out, str_of(address, addr_format(&e.addr, address)));
    }
    text_add(out, STR("]"));
}

void text_origin(struct text *out, const struct origin *o)
{
    if (o->line == 0)
        return;
    text_add(out, STR(" ("));
    text_json(out, o->file);
    text_fmt(out, ":%u)", o->line);
}

void text_endpoints(struct text *out, const struct endpoint_set *set)
{
    uint32_t n = set ? endpoint_set_count(set) : 0;
    for (uint32_t i = 0; i < n; i++) {
        struct endpoint e;
        char address[ADDR_TEXT_MAX];
        endpoint_set_at(set, i, &e);
        if (i)
            text_add(out, STR(", "));
        text_json(out, str_of(address, addr_format(&e.addr, address)));
        if (e.weight != 1)
            text_fmt(out, " weight %u", e.weight);
    }
}
