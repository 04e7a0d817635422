/* gRPC bodies redacted with descriptors at hand: by the names of their fields. */
#include "lib/compare/redact_int.h"
#include "tests/unit/compare/grpc_bodies.h"
#include "tests/unit/compare/shop.h"

#define TYPE "application/grpc"

struct play {
    struct redact *r;
    struct descriptors *shop;
    const struct descriptor_message *reply;
};

static struct play begin(const char *const *names, size_t nnames)
{
    const struct redact_options o = {.key = "0123456789abcde", .names = names, .nnames = nnames};
    struct pb_out set = {0};
    struct err e = {0};
    shop_write(&set, "proto3");
    struct play p = {.r = redact_new(&o, &e), .shop = descriptors_parse(pb_str(&set), &e)};
    if (!p.r || !p.shop)
        fail_msg("%s", e.text);
    p.reply = descriptors_reply(p.shop, STR("/shop.Shop/List"));
    assert_non_null(p.reply);
    pb_release(&set);
    return p;
}

static void end(struct play *p)
{
    redact_free(p->r);
    descriptors_free(p->shop);
}

static void put_mark(const struct play *p, struct pb_out *o, uint32_t field, const char *secret)
{
    struct text mark = {0};
    redact_mark(p->r, str_c(secret), &mark);
    pb_bytes(o, field, str_of(mark.p, mark.n));
    text_release(&mark);
}

/* One message in a frame becomes that one; releases both. */
static void assert_becomes(const struct play *p, struct pb_out *m, struct pb_out *want)
{
    struct pb_out body = {0}, want_body = {0};
    struct text out = {0};
    bool changed = !str_eq(pb_str(m), pb_str(want));
    frame(&body, 0, pb_str(m));
    frame(&want_body, 0, pb_str(want));
    bool any = redact_body(p->r, STR(TYPE), p->reply, pb_str(&body), &out);
    assert_int_equal(any, changed);
    assert_int_equal(out.n, want_body.n);
    assert_memory_equal(out.p, want_body.p, out.n);
    text_release(&out);
    pb_release(&body);
    pb_release(&want_body);
    pb_release(m);
    pb_release(want);
}

static void put_item(struct pb_out *o, const char *name)
{
    size_t at = pb_begin(o, 1);
    pb_bytes(o, 1, str_c(name));
    pb_uint(o, 3, 1);
    pb_end(o, at);
}

static void put_money(struct pb_out *o, uint32_t field)
{
    size_t at = pb_begin(o, field);
    pb_bytes(o, 1, STR("EUR"));
    pb_uint(o, 2, 120);
    pb_end(o, at);
}

static void a_secret_by_its_name_becomes_a_mark(void **state)
{
    (void)state;
    struct play p = begin(NULL, 0);
    struct pb_out m = {0}, want = {0};
    put_item(&m, "plain");
    pb_bytes(&m, 5, STR("hunter2"));
    pb_uint(&m, 6, 7);
    put_item(&want, "plain");
    put_mark(&p, &want, 5, "hunter2");
    pb_uint(&want, 6, 7);
    assert_becomes(&p, &m, &want);
    end(&p);
}

static void what_has_no_secret_name_stays(void **state)
{
    (void)state;
    struct play p = begin(NULL, 0);
    struct pb_out m = {0}, want = {0};
    struct pb_out *both[] = {&m, &want};
    for (int i = 0; i < 2; i++) {
        put_item(both[i], "hi"); /* it would parse as a message */
        pb_bytes(both[i], 2, STR("\x01\x02\x03"));
        put_money(both[i], 4);
        pb_bytes(both[i], 5, STR(""));
        pb_bytes(both[i], 99, STR("hunter2"));
    }
    assert_becomes(&p, &m, &want);
    end(&p);
}

/* Without the type nothing tells that it is one. */
static void without_descriptors_only_patterns_count(void **state)
{
    (void)state;
    struct play p = begin(NULL, 0);
    struct pb_out m = {0}, want = {0};
    p.reply = NULL;
    pb_bytes(&m, 5, STR("hunter2"));
    pb_bytes(&want, 5, STR("hunter2"));
    assert_becomes(&p, &m, &want);
    end(&p);
}

static void below_a_secret_name_texts_become_marks_and_numbers_go(void **state)
{
    (void)state;
    const char *names[] = {"total", "numbers", "count"};
    struct play p = begin(names, 3);
    struct pb_out m = {0}, want = {0};
    put_money(&m, 4);
    pb_bytes(&m, 2, STR("\x01\x02\x03"));
    pb_uint(&m, 2, 5); /* the same list, unpacked */
    pb_uint(&m, 6, 7);
    pb_bytes(&m, 7, STR("12345678"));
    size_t at = pb_begin(&want, 4);
    put_mark(&p, &want, 1, "EUR");
    pb_end(&want, at);
    pb_bytes(&want, 7, STR("12345678"));
    assert_becomes(&p, &m, &want);
    end(&p);
}

static void an_entry_of_a_map_is_secret_by_its_key(void **state)
{
    (void)state;
    const char *names[] = {"value"}; /* names no field of an entry */
    struct play p = begin(names, 1);
    struct pb_out m = {0}, want = {0};
    size_t at = pb_begin(&m, 3);
    pb_bytes(&m, 1, STR("api_token"));
    put_money(&m, 2);
    pb_end(&m, at);
    at = pb_begin(&want, 3);
    pb_bytes(&want, 1, STR("api_token"));
    size_t value = pb_begin(&want, 2);
    put_mark(&p, &want, 1, "EUR");
    pb_end(&want, value);
    pb_end(&want, at);
    for (int i = 0; i < 2; i++) {
        struct pb_out *o = i ? &want : &m;
        at = pb_begin(o, 3);
        pb_bytes(o, 1, STR("book"));
        put_money(o, 2);
        pb_end(o, at);
    }
    assert_becomes(&p, &m, &want);
    end(&p);
}

static void what_is_no_message_of_its_type_goes_whole(void **state)
{
    (void)state;
    struct play p = begin(NULL, 0);
    struct pb_out m = {0}, want = {0};
    struct text out = {0}, mark = {0};
    pb_bytes(&m, 4, STR("\x0ahunter2")); /* Money, which ends too early */
    put_mark(&p, &want, 4, "\x0ahunter2");
    assert_becomes(&p, &m, &want);
    struct str cut = STR("\0\0\0\0\x20\x2a\x07hunter2"); /* a frame, likewise */
    assert_true(redact_body(p.r, STR(TYPE), p.reply, cut, &out));
    redact_mark(p.r, cut, &mark);
    assert_string_equal(out.p, mark.p);
    text_release(&out);
    text_release(&mark);
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_by_its_name_becomes_a_mark),
        cmocka_unit_test(what_has_no_secret_name_stays),
        cmocka_unit_test(without_descriptors_only_patterns_count),
        cmocka_unit_test(below_a_secret_name_texts_become_marks_and_numbers_go),
        cmocka_unit_test(an_entry_of_a_map_is_secret_by_its_key),
        cmocka_unit_test(what_is_no_message_of_its_type_goes_whole),
    };
    return unit_run(tests);
}
