#include "lib/base/pballoc.h"

#include "proto/offshoot/v1/control.pb-c.h"
#include "tests/unit/unit.h"

static struct str packed_hello(uint8_t out[static 512])
{
    char *features[] = {(char *)"graph.1", (char *)"graph.2"};
    Offshoot__V1__Hello hello = OFFSHOOT__V1__HELLO__INIT;
    Offshoot__V1__ProxyMessage m = OFFSHOOT__V1__PROXY_MESSAGE__INIT;
    hello.node = (char *)"node-1";
    hello.features = features;
    hello.n_features = 2;
    m.message_case = OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_HELLO;
    m.hello = &hello;
    return str_of((const char *)out, offshoot__v1__proxy_message__pack(&m, out));
}

static void a_message_is_read_and_leaves_nothing(void **state)
{
    uint8_t buf[512];
    struct str bytes = packed_hello(buf);
    (void)state;
    ProtobufCMessage *m =
        pb_unpack(&offshoot__v1__proxy_message__descriptor, bytes, pb_budget(bytes.n));
    assert_non_null(m);
    const Offshoot__V1__ProxyMessage *p = (const Offshoot__V1__ProxyMessage *)m;
    assert_int_equal(p->message_case, OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_HELLO);
    assert_string_equal(p->hello->node, "node-1");
    assert_int_equal(p->hello->n_features, 2);
    assert_true(mem_live() > 0);
    pb_free(m);
    pb_free(NULL);
}

static void no_bytes_are_an_empty_message(void **state)
{
    (void)state;
    ProtobufCMessage *m =
        pb_unpack(&offshoot__v1__proxy_message__descriptor, (struct str){0}, pb_budget(0));
    assert_non_null(m);
    assert_int_equal(((const Offshoot__V1__ProxyMessage *)m)->message_case, 0);
    pb_free(m);
}

static void broken_bytes_are_no_message(void **state)
{
    uint8_t buf[512];
    struct str bytes = packed_hello(buf);
    (void)state;
    for (size_t n = 1; n < bytes.n; n++)
        assert_null(pb_unpack(
            &offshoot__v1__proxy_message__descriptor, str_of(bytes.p, n), pb_budget(bytes.n)));
    assert_int_equal(mem_live(), 0);
}

static void a_message_takes_no_more_than_its_budget(void **state)
{
    uint8_t buf[512];
    struct str bytes = packed_hello(buf);
    size_t need = 0;
    (void)state;
    for (size_t budget = 0; need == 0; budget++) {
        ProtobufCMessage *m = pb_unpack(&offshoot__v1__proxy_message__descriptor, bytes, budget);
        if (m)
            need = budget;
        pb_free(m);
        assert_int_equal(mem_live(), 0);
    }
    assert_true(need >= sizeof(Offshoot__V1__ProxyMessage) + sizeof(Offshoot__V1__Hello));
}

static void a_failed_allocation_is_no_message(void **state)
{
    uint8_t buf[512];
    struct str bytes = packed_hello(buf);
    (void)state;
    for (unsigned long n = 1;; n++) {
        mem_fail_nth(n);
        ProtobufCMessage *m =
            pb_unpack(&offshoot__v1__proxy_message__descriptor, bytes, pb_budget(bytes.n));
        bool reached = mem_count() >= n;
        mem_fail_nth(0);
        if (!reached) {
            pb_free(m);
            break;
        }
        assert_null(m);
        assert_int_equal(mem_live(), 0);
    }
}

static void one_block_has_a_bound(void **state)
{
    (void)state;
    assert_null(pb_allocator.alloc(pb_allocator.allocator_data, (size_t)PB_BLOCK_MAX + 1));
    void *p = pb_allocator.alloc(pb_allocator.allocator_data, 100);
    assert_non_null(p);
    pb_allocator.free(pb_allocator.allocator_data, p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_read_and_leaves_nothing),
        cmocka_unit_test(no_bytes_are_an_empty_message),
        cmocka_unit_test(broken_bytes_are_no_message),
        cmocka_unit_test(a_message_takes_no_more_than_its_budget),
        cmocka_unit_test(a_failed_allocation_is_no_message),
        cmocka_unit_test(one_block_has_a_bound),
    };
    return unit_run(tests);
}
