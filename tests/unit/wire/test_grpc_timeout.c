#include "lib/wire/grpc_timeout.h"
#include "tests/unit/unit.h"

static void each_unit_is_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t us;
    } cases[] = {{"1H", 3600000000}, {"2M", 120000000}, {"3S", 3000000}, {"100m", 100000},
        {"7u", 7}, {"1n", 1}, {"1001n", 2}, {"99999999H", 99999999ull * 3600000000ull}, {"0S", 0},
        {"00000001S", 1000000}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t us = 12345;
        assert_true(grpc_timeout_parse(str_c(cases[i].text), &us));
        assert_int_equal(us, cases[i].us);
    }
}

static void anything_else_is_refused(void **state)
{
    static const char *const cases[] = {
        "", "S", "1", "1s", "-1S", "+1S", "1.5S", " 1S", "1S ", "123456789S", "1 S", "0x1S", "1SS"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t us = 12345;
        assert_false(grpc_timeout_parse(str_c(cases[i]), &us));
        assert_int_equal(us, 12345);
    }
}

static void what_is_written_is_never_longer_and_reads_back(void **state)
{
    char text[GRPC_TIMEOUT_TEXT];
    (void)state;
    for (uint64_t us = 0; us < UINT64_C(1) << 48; us = us * 3 + 1) {
        uint64_t back = 0;
        size_t n = grpc_timeout_format(us, text);
        assert_true(n < sizeof text && grpc_timeout_parse(str_of(text, n), &back));
        assert_true(back <= (us ? us : 1));
        assert_true(back > 0 && back >= us - us / 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_unit_is_read),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(what_is_written_is_never_longer_and_reads_back)};
    return unit_run(tests);
}
