/* Descriptors of a small shop, written field by field as protoc would write them:
 *
 *   package shop; syntax "proto3";
 *   enum Kind { NONE = 0; BOOK = 1; LOST = -2; }
 *   message Money { string currency = 1; int64 units = 2; sint32 cents = 3; }
 *   message Item {
 *     string name = 1; double price = 2; Kind kind = 3; optional int32 stock = 4;
 *     oneof more { string note = 5; } bytes sum = 6; bool hot = 7; float weight = 8;
 *     fixed64 id = 9; sfixed32 shift = 10;
 *   }
 *   message Reply {
 *     repeated Item items = 1; repeated int32 numbers = 2; map<string, Money> prices = 3;
 *     Money total = 4; string password = 5; uint32 count = 6; repeated double rates = 7;
 *     map<int32, uint32> stock = 8;
 *   }
 *   service Shop { rpc List(Money) returns (Reply); } */
#ifndef OFFSHOOT_TESTS_UNIT_COMPARE_SHOP_H
#define OFFSHOOT_TESTS_UNIT_COMPARE_SHOP_H

#include "lib/compare/descriptors.h"
#include "lib/graph/pb.h"

enum { SHOP_OPTIONAL = 1, SHOP_REPEATED = 3 };

struct shop_field {
    const char *name;
    uint32_t number;
    enum descriptor_type type;
    const char *type_name; /* or NULL */
    uint32_t label;
    bool proto3_optional, oneof;
};

static inline void shop_write_field(struct pb_out *o, const struct shop_field *f)
{
    size_t at = pb_begin(o, 2);
    pb_bytes(o, 1, str_c(f->name));
    pb_uint(o, 3, f->number);
    pb_uint(o, 4, f->label ? f->label : SHOP_OPTIONAL);
    pb_uint(o, 5, f->type);
    if (f->type_name)
        pb_bytes(o, 6, str_c(f->type_name));
    if (f->oneof || f->proto3_optional)
        pb_uint(o, 9, 0);
    if (f->proto3_optional)
        pb_uint(o, 17, 1);
    pb_end(o, at);
}

static inline void shop_write_fields(
    struct pb_out *o, const char *name, const struct shop_field *f, size_t n)
{
    pb_bytes(o, 1, str_c(name));
    for (size_t i = 0; i < n; i++)
        shop_write_field(o, &f[i]);
}

/* The entry of a map: a message within the message that has the map. */
static inline void shop_write_entry(
    struct pb_out *o, const char *name, enum descriptor_type key, struct shop_field value)
{
    const struct shop_field fields[] = {{.name = "key", .number = 1, .type = key}, value};
    size_t at = pb_begin(o, 3);
    shop_write_fields(o, name, fields, 2);
    size_t options = pb_begin(o, 7);
    pb_uint(o, 7, 1);
    pb_end(o, options);
    pb_end(o, at);
}

static inline void shop_write_enum(struct pb_out *o)
{
    static const struct {
        const char *name;
        int64_t number;
    } values[] = {{"NONE", 0}, {"BOOK", 1}, {"LOST", -2}};
    size_t at = pb_begin(o, 5);
    pb_bytes(o, 1, STR("Kind"));
    for (size_t i = 0; i < 3; i++) {
        size_t value = pb_begin(o, 2);
        pb_bytes(o, 1, str_c(values[i].name));
        pb_uint(o, 2, (uint64_t)values[i].number);
        pb_end(o, value);
    }
    pb_end(o, at);
}

static inline void shop_write_money(struct pb_out *o)
{
    static const struct shop_field fields[] = {
        {.name = "currency", .number = 1, .type = DESCRIPTOR_STRING},
        {.name = "units", .number = 2, .type = DESCRIPTOR_INT64},
        {.name = "cents", .number = 3, .type = DESCRIPTOR_SINT32}};
    size_t at = pb_begin(o, 4);
    shop_write_fields(o, "Money", fields, 3);
    pb_end(o, at);
}

static inline void shop_write_item(struct pb_out *o)
{
    static const struct shop_field fields[] = {
        {.name = "name", .number = 1, .type = DESCRIPTOR_STRING},
        {.name = "price", .number = 2, .type = DESCRIPTOR_DOUBLE},
        {.name = "kind", .number = 3, .type = DESCRIPTOR_ENUM, .type_name = ".shop.Kind"},
        {.name = "stock", .number = 4, .type = DESCRIPTOR_INT32, .proto3_optional = true},
        {.name = "note", .number = 5, .type = DESCRIPTOR_STRING, .oneof = true},
        {.name = "sum", .number = 6, .type = DESCRIPTOR_BYTES},
        {.name = "hot", .number = 7, .type = DESCRIPTOR_BOOL},
        {.name = "weight", .number = 8, .type = DESCRIPTOR_FLOAT},
        {.name = "id", .number = 9, .type = DESCRIPTOR_FIXED64},
        {.name = "shift", .number = 10, .type = DESCRIPTOR_SFIXED32}};
    size_t at = pb_begin(o, 4);
    shop_write_fields(o, "Item", fields, sizeof(fields) / sizeof(fields[0]));
    pb_end(o, at);
}

static inline void shop_write_reply(struct pb_out *o)
{
    static const struct shop_field fields[] = {
        {"items", 1, DESCRIPTOR_MESSAGE, ".shop.Item", SHOP_REPEATED, false, false},
        {"numbers", 2, DESCRIPTOR_INT32, NULL, SHOP_REPEATED, false, false},
        {"prices", 3, DESCRIPTOR_MESSAGE, ".shop.Reply.PricesEntry", SHOP_REPEATED, false, false},
        {"total", 4, DESCRIPTOR_MESSAGE, ".shop.Money", 0, false, false},
        {.name = "password", .number = 5, .type = DESCRIPTOR_STRING},
        {.name = "count", .number = 6, .type = DESCRIPTOR_UINT32},
        {"rates", 7, DESCRIPTOR_DOUBLE, NULL, SHOP_REPEATED, false, false},
        {"stock", 8, DESCRIPTOR_MESSAGE, ".shop.Reply.StockEntry", SHOP_REPEATED, false, false}};
    size_t at = pb_begin(o, 4);
    shop_write_fields(o, "Reply", fields, sizeof(fields) / sizeof(fields[0]));
    shop_write_entry(o, "PricesEntry", DESCRIPTOR_STRING,
        (struct shop_field){
            .name = "value", .number = 2, .type = DESCRIPTOR_MESSAGE, .type_name = ".shop.Money"});
    shop_write_entry(o, "StockEntry", DESCRIPTOR_INT32,
        (struct shop_field){.name = "value", .number = 2, .type = DESCRIPTOR_UINT32});
    pb_end(o, at);
}

static inline void shop_write_service(struct pb_out *o)
{
    size_t at = pb_begin(o, 6);
    pb_bytes(o, 1, STR("Shop"));
    size_t method = pb_begin(o, 2);
    pb_bytes(o, 1, STR("List"));
    pb_bytes(o, 2, STR(".shop.Money"));
    pb_bytes(o, 3, STR(".shop.Reply"));
    pb_end(o, method);
    pb_end(o, at);
}

/* A FileDescriptorSet of one file; syntax may be NULL (which is proto2). */
static inline void shop_write(struct pb_out *o, const char *syntax)
{
    size_t at = pb_begin(o, 1);
    pb_bytes(o, 1, STR("shop.proto"));
    pb_bytes(o, 2, STR("shop"));
    shop_write_money(o);
    shop_write_item(o);
    shop_write_reply(o);
    shop_write_enum(o);
    shop_write_service(o);
    if (syntax)
        pb_bytes(o, 12, str_c(syntax));
    pb_end(o, at);
}

#endif
