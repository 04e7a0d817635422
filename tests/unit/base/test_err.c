#include "lib/base/err.h"
#include "tests/unit/unit.h"
#include <errno.h>

static void set_fills_and_returns_the_code(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, -EINVAL, "invalid name '%s'", "x"), -EINVAL);
    assert_int_equal(e.code, -EINVAL);
    assert_string_equal(e.text, "invalid name 'x'");
    assert_int_equal(err_set(NULL, -EIO, "nobody listens"), -EIO);
}

static void prefix_keeps_code_and_text(void **state)
{
    (void)state;
    struct err e = {0};
    err_set(&e, -ENOENT, "no such service 'cart'");
    assert_int_equal(err_prefix(&e, "%s:%d", "main.yaml", 7), -ENOENT);
    assert_string_equal(e.text, "main.yaml:7: no such service 'cart'");
    assert_int_equal(err_prefix(NULL, "x"), -EINVAL);
}

static void own_text_may_be_an_argument(void **state)
{
    (void)state;
    struct err e = {0};
    err_set(&e, -EIO, "inner");
    err_set(&e, -EIO, "outer (%s)", e.text);
    assert_string_equal(e.text, "outer (inner)");
    err_prefix(&e, "%s", e.text);
    assert_string_equal(e.text, "outer (inner): outer (inner)");
}

static void controls_become_question_marks(void **state)
{
    (void)state;
    struct err e = {0};
    err_set(&e, -EINVAL, "a%sb", "\n\x1b\x7f\xc2\x85\t");
    assert_string_equal(e.text, "a??????b");
    err_set(&e, -EINVAL, "%s", "\xc2\xa0\xc3\xa4");
    assert_string_equal(e.text, "\xc2\xa0\xc3\xa4");
    err_set(&e, -EINVAL, "x");
    err_prefix(&e, "%s", "p\rq");
    assert_string_equal(e.text, "p?q: x");
}

static void long_texts_are_cut_at_the_end(void **state)
{
    (void)state;
    struct err e = {0};
    char big[600];
    const size_t most = sizeof(e.text) - 1;

    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    err_set(&e, -EINVAL, "%.*s", (int)most, big);
    assert_int_equal(strlen(e.text), most);
    err_set(&e, -EINVAL, "%.*s", (int)most + 1, big);
    assert_int_equal(strlen(e.text), most);
    err_set(&e, -EINVAL, "tail");
    err_prefix(&e, "%s", big);
    assert_int_equal(strlen(e.text), most);
    err_set(&e, -EINVAL, "tail");
    err_prefix(&e, "%.*s", (int)most - 4, big); /* "aaa: ta" */
    assert_string_equal(e.text + most - 5, "a: ta");
}

static void a_cut_leaves_no_torn_character(void **state)
{
    (void)state;
    struct err e = {0};
    char big[600];
    const int most = (int)sizeof(e.text) - 1;

    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    for (int part = 1; part <= 3; part++) {
        err_set(&e, -EINVAL, "%.*s\xf0\x9f\x8c\xb1", most - part, big);
        assert_int_equal(strlen(e.text), most - part);
    }
    err_set(&e, -EINVAL, "%.*s\xf0\x9f\x8c\xb1zz", most - 4, big);
    assert_int_equal(strlen(e.text), most);
    assert_string_equal(e.text + most - 4, "\xf0\x9f\x8c\xb1");
    for (int i = 0; i < (int)sizeof(big) - 1; i++)
        big[i] = (char)0x80; /* no lead byte anywhere: cut plainly, not walked through */
    err_set(&e, -EINVAL, "%s", big);
    assert_int_equal(strlen(e.text), most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_fills_and_returns_the_code),
        cmocka_unit_test(prefix_keeps_code_and_text),
        cmocka_unit_test(own_text_may_be_an_argument),
        cmocka_unit_test(controls_become_question_marks),
        cmocka_unit_test(long_texts_are_cut_at_the_end),
        cmocka_unit_test(a_cut_leaves_no_torn_character),
    };
    return unit_run(tests);
}
