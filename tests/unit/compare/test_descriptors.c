#include "lib/compare/descriptors.h"

#include "lib/net/grpc_impl.h"
#include "tests/unit/compare/shop.h"
#include "tests/unit/unit.h"
#include <errno.h>

static struct descriptors *parsed(const struct pb_out *o)
{
    struct err e = {0};
    struct descriptors *d = descriptors_parse(pb_str(o), &e);
    if (!d)
        fail_msg("%s", e.text);
    return d;
}

static struct descriptors *shop(const char *syntax)
{
    struct pb_out o = {0};
    shop_write(&o, syntax);
    struct descriptors *d = parsed(&o);
    pb_release(&o);
    return d;
}

static void assert_refused(const struct pb_out *o, int code, const char *text)
{
    struct err e = {0};
    assert_null(descriptors_parse(pb_str(o), &e));
    assert_int_equal(e.code, code);
    assert_string_equal(e.text, text);
    assert_int_equal(mem_live(), o->p ? 1 : 0);
}

static void a_method_gives_its_messages(void **state)
{
    (void)state;
    struct descriptors *d = shop("proto3");
    const struct descriptor_message *reply = descriptors_reply(d, STR("/shop.Shop/List"));
    const struct descriptor_message *request = descriptors_request(d, STR("/shop.Shop/List"));
    assert_non_null(reply);
    assert_ptr_equal(reply, descriptors_message(d, STR("shop.Reply")));
    assert_ptr_equal(request, descriptors_message(d, STR("shop.Money")));
    static const char *const none[] = {"", "/", "shop.Shop/List", "/shop.Shop/Lis", "/shop.Shop",
        "/shop.Shop/List/", "/Shop/List"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_null(descriptors_reply(d, str_c(none[i])));
    assert_non_null(descriptors_message(d, STR("shop.Reply.PricesEntry")));
    assert_null(descriptors_message(d, STR("PricesEntry")));
    descriptors_free(d);
}

static void fields_are_found_by_number(void **state)
{
    (void)state;
    struct descriptors *d = shop("proto3");
    const struct descriptor_message *reply = descriptors_message(d, STR("shop.Reply"));
    const struct descriptor_message *item = descriptors_message(d, STR("shop.Item"));
    const struct descriptor_field *all;
    assert_int_equal(descriptor_fields(item, &all), 10);
    for (uint32_t i = 0; i < 10; i++)
        assert_ptr_equal(descriptor_field(item, i + 1), &all[i]);
    assert_null(descriptor_field(item, 0));
    assert_null(descriptor_field(item, 11));
    assert_str(all[1].name, "price");
    assert_int_equal(all[1].type, DESCRIPTOR_DOUBLE);
    const struct descriptor_field *items = descriptor_field(reply, 1);
    assert_true(items->repeated && !items->map && !items->presence);
    assert_ptr_equal(items->message, item);
    descriptors_free(d);
}

static void maps_are_told_from_lists(void **state)
{
    (void)state;
    struct descriptors *d = shop("proto3");
    const struct descriptor_message *reply = descriptors_message(d, STR("shop.Reply"));
    const struct descriptor_field *prices = descriptor_field(reply, 3);
    assert_true(prices->map && prices->repeated);
    const struct descriptor_field *value = descriptor_field(prices->message, 2);
    assert_ptr_equal(value->message, descriptors_message(d, STR("shop.Money")));
    descriptors_free(d);
}

static void enums_have_names(void **state)
{
    (void)state;
    struct descriptors *d = shop("proto3");
    const struct descriptor_field *kind =
        descriptor_field(descriptors_message(d, STR("shop.Item")), 3);
    assert_str(descriptor_enum_name(kind->enumeration, 0), "NONE");
    assert_str(descriptor_enum_name(kind->enumeration, 1), "BOOK");
    assert_str(descriptor_enum_name(kind->enumeration, -2), "LOST");
    assert_str(descriptor_enum_name(kind->enumeration, 2), "");
    descriptors_free(d);
}

static bool has_presence(const struct descriptors *d, const char *message, uint32_t number)
{
    return descriptor_field(descriptors_message(d, str_c(message)), number)->presence;
}

static void presence_is_as_the_syntax_says(void **state)
{
    (void)state;
    struct descriptors *d = shop("proto3");
    assert_false(has_presence(d, "shop.Item", 1));
    assert_true(has_presence(d, "shop.Item", 4));  /* optional */
    assert_true(has_presence(d, "shop.Item", 5));  /* in a oneof */
    assert_true(has_presence(d, "shop.Reply", 4)); /* a message */
    assert_false(has_presence(d, "shop.Reply", 1));
    descriptors_free(d);
    static const char *const explicit[] = {NULL, "proto2", "editions"};
    for (size_t i = 0; i < 3; i++) {
        d = shop(explicit[i]);
        assert_true(has_presence(d, "shop.Item", 1));
        assert_false(has_presence(d, "shop.Reply", 1));
        assert_false(has_presence(d, "shop.Reply.StockEntry", 2)); /* zero, if left out */
        descriptors_free(d);
    }
}

/* options { features { field_presence } } */
static void write_features(struct pb_out *o, uint32_t options, uint32_t features, uint64_t presence)
{
    size_t at = pb_begin(o, options), inner = pb_begin(o, features);
    pb_uint(o, 1, presence);
    pb_end(o, inner);
    pb_end(o, at);
}

static void write_editions_field(struct pb_out *o, const char *name, uint32_t number, int presence)
{
    size_t at = pb_begin(o, 2);
    pb_bytes(o, 1, str_c(name));
    pb_uint(o, 3, number);
    pb_uint(o, 5, DESCRIPTOR_INT32);
    if (presence)
        write_features(o, 8, 21, (uint64_t)presence);
    pb_end(o, at);
}

static void presence_is_as_features_say(void **state)
{
    (void)state;
    struct pb_out o = {0};
    size_t file = pb_begin(&o, 1);
    pb_bytes(&o, 12, STR("editions"));
    write_features(&o, 8, 50, 2); /* the file: implicit */
    size_t message = pb_begin(&o, 4);
    pb_bytes(&o, 1, STR("M"));
    write_editions_field(&o, "a", 1, 0);
    write_editions_field(&o, "b", 2, 1); /* explicit */
    write_editions_field(&o, "c", 3, 2);
    pb_end(&o, message);
    pb_end(&o, file);
    struct descriptors *d = parsed(&o);
    assert_false(has_presence(d, "M", 1));
    assert_true(has_presence(d, "M", 2));
    assert_false(has_presence(d, "M", 3));
    descriptors_free(d);
    pb_release(&o);
}

/* M { f: type, of type_name } in a file of its own. */
static void write_one(struct pb_out *o, const char *name, const struct shop_field *f, size_t n)
{
    size_t file = pb_begin(o, 1), message = pb_begin(o, 4);
    shop_write_fields(o, name, f, n);
    pb_end(o, message);
    pb_end(o, file);
}

static void a_type_that_is_not_there_is_unknown(void **state)
{
    (void)state;
    static const char *const names[] = {".other.Type", "M", "", "."};
    for (size_t i = 0; i < 4; i++) {
        struct pb_out o = {0};
        const struct shop_field f = {"f", 1, DESCRIPTOR_MESSAGE, names[i], 0, false, false};
        write_one(&o, "M", &f, 1);
        struct descriptors *d = parsed(&o);
        assert_null(descriptor_field(descriptors_message(d, STR("M")), 1)->message);
        descriptors_free(d);
        pb_release(&o);
    }
}

static void a_message_may_hold_itself(void **state)
{
    (void)state;
    struct pb_out o = {0};
    const struct shop_field f = {"m", 1, DESCRIPTOR_MESSAGE, ".M", 0, false, false};
    write_one(&o, "M", &f, 1);
    struct descriptors *d = parsed(&o);
    const struct descriptor_message *m = descriptors_message(d, STR("M"));
    assert_ptr_equal(descriptor_field(m, 1)->message, m);
    descriptors_free(d);
    pb_release(&o);
}

static void what_is_there_twice_is_refused(void **state)
{
    (void)state;
    struct pb_out o = {0};
    write_one(&o, "M", NULL, 0);
    write_one(&o, "M", NULL, 0);
    assert_refused(&o, -EEXIST, "descriptors have 'M' twice");
    pb_release(&o);
    const struct shop_field twice[] = {{.name = "a", .number = 3, .type = DESCRIPTOR_BOOL},
        {.name = "b", .number = 3, .type = DESCRIPTOR_BOOL}};
    write_one(&o, "M", twice, 2);
    assert_refused(&o, -EINVAL, "field 3 is there twice in 'M'");
    pb_release(&o);
}

static void fields_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct shop_field bad[] = {{.name = "f", .number = 0, .type = DESCRIPTOR_BOOL},
        {.name = "f", .number = 1u << 29, .type = DESCRIPTOR_BOOL},
        {.name = "", .number = 1, .type = DESCRIPTOR_BOOL},
        {.name = "f", .number = 1, .type = (enum descriptor_type)0},
        {.name = "f", .number = 1, .type = (enum descriptor_type)19}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pb_out o = {0};
        write_one(&o, "M", &bad[i], 1);
        assert_refused(&o, -EBADMSG, "broken descriptors in 'M'");
        pb_release(&o);
    }
}

static void write_nested(struct pb_out *o, uint32_t number, unsigned depth)
{
    size_t at = pb_begin(o, number);
    pb_bytes(o, 1, STR("m"));
    if (depth > 1)
        write_nested(o, 3, depth - 1);
    pb_end(o, at);
}

static void depth_and_names_have_limits(void **state)
{
    (void)state;
    static char name[DESCRIPTORS_NAME_MAX + 2];
    struct pb_out o = {0};
    memset(name, 'n', DESCRIPTORS_NAME_MAX - 1); /* and a separator is counted */
    write_one(&o, name, NULL, 0);
    struct descriptors *d = parsed(&o);
    assert_non_null(descriptors_message(d, str_c(name)));
    descriptors_free(d);
    pb_release(&o);
    memset(name, 'n', DESCRIPTORS_NAME_MAX + 1);
    write_one(&o, name, NULL, 0);
    assert_refused(&o, -E2BIG, "a name in '' is longer than 512 bytes");
    pb_release(&o);
    size_t file = pb_begin(&o, 1);
    write_nested(&o, 4, DESCRIPTORS_DEPTH_MAX);
    pb_end(&o, file);
    descriptors_free(parsed(&o));
    pb_release(&o);
    file = pb_begin(&o, 1);
    write_nested(&o, 4, DESCRIPTORS_DEPTH_MAX + 1);
    pb_end(&o, file);
    struct err e = {0};
    assert_null(descriptors_parse(pb_str(&o), &e));
    assert_int_equal(e.code, -E2BIG);
    pb_release(&o);
}

static void the_number_of_names_has_a_limit(void **state)
{
    (void)state;
    struct pb_out o = {0};
    size_t file = pb_begin(&o, 1);
    for (int i = 0; i <= DESCRIPTORS_NAMES_MAX; i++) {
        char name[16];
        size_t at = pb_begin(&o, 4);
        snprintf(name, sizeof(name), "m%d", i);
        pb_bytes(&o, 1, str_c(name));
        pb_end(&o, at);
    }
    pb_end(&o, file);
    assert_refused(&o, -E2BIG, "descriptors of more than 65536 messages, enumerations or methods");
    pb_release(&o);
}

/* Cut anywhere it is broken, or a shorter set; never a crash. Bytes lie in blocks of their own. */
static void cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct pb_out o = {0};
    shop_write(&o, "proto3");
    for (size_t n = 1; n < o.n; n++) {
        struct err e = {0};
        char *exact = mem_dup((const char *)o.p, n);
        assert_null(descriptors_parse(str_of(exact, n), &e));
        assert_int_equal(e.code, -EBADMSG);
        mem_free(exact);
    }
    pb_release(&o);
    struct err e;
    struct descriptors *empty = descriptors_parse(STR(""), &e);
    assert_non_null(empty);
    assert_null(descriptors_reply(empty, STR("/a/b")));
    descriptors_free(empty);
}

static void what_protoc_wrote_is_read(void **state)
{
    (void)state;
    struct err e = {0};
    struct descriptors *d = descriptors_parse(grpc_descriptors, &e);
    assert_non_null(d);
    const struct descriptor_message *m = descriptors_reply(d, STR("/grpc.health.v1.Health/Check"));
    assert_non_null(m);
    const struct descriptor_field *status = descriptor_field(m, 1);
    assert_str(status->name, "status");
    assert_str(descriptor_enum_name(status->enumeration, 1), "SERVING");
    assert_false(status->presence);
    descriptors_free(d);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct pb_out o = {0};
    shop_write(&o, "proto3");
    unsigned long n = 1;
    for (;; n++) {
        struct err e = {0};
        mem_fail_nth(n);
        struct descriptors *d = descriptors_parse(pb_str(&o), &e);
        mem_fail_nth(0);
        if (d) {
            descriptors_free(d);
            break;
        }
        assert_int_equal(e.code, -ENOMEM);
        assert_int_equal(mem_live(), 1);
    }
    assert_true(n > 6); /* the pool, the fields of five messages */
    pb_release(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_method_gives_its_messages),
        cmocka_unit_test(fields_are_found_by_number),
        cmocka_unit_test(maps_are_told_from_lists),
        cmocka_unit_test(enums_have_names),
        cmocka_unit_test(presence_is_as_the_syntax_says),
        cmocka_unit_test(presence_is_as_features_say),
        cmocka_unit_test(a_type_that_is_not_there_is_unknown),
        cmocka_unit_test(a_message_may_hold_itself),
        cmocka_unit_test(what_is_there_twice_is_refused),
        cmocka_unit_test(fields_that_cannot_be_are_refused),
        cmocka_unit_test(depth_and_names_have_limits),
        cmocka_unit_test(the_number_of_names_has_a_limit),
        cmocka_unit_test(cut_anywhere_is_refused),
        cmocka_unit_test(what_protoc_wrote_is_read),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return unit_run(tests);
}
