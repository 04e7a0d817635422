#include "tests/unit/compare/replies.h"

static void elements_with_an_id_belong_together(void **state)
{
    (void)state;
    assert_json("[{\"id\":1,\"p\":5},{\"id\":2,\"p\":6}]",
        "[{\"id\":1,\"p\":5},{\"id\":2,\"p\":7}]", "body[].p value 6|7\n");
    assert_json("{\"items\":[{\"id\":1,\"p\":5},{\"id\":2,\"p\":6}]}",
        "{\"items\":[{\"id\":2,\"p\":6}]}", "body.items[] missing {\"id\":1,\"p\":5}|\n");
    assert_json("[{\"sku\":\"a\"},{\"sku\":\"b\"}]",
        "[{\"sku\":\"b\"},{\"sku\":\"a\"},{\"sku\":\"c\"}]",
        "body[] extra |{\"sku\":\"c\"}\n"
        "body[] order [{\"sku\":\"a\"},{\"sku\":\"b\"}]|"
        "[{\"sku\":\"b\"},{\"sku\":\"a\"},{\"sku\":\"c\"}]\n");
}

static void an_id_must_be_there_once_in_every_element(void **state)
{
    (void)state;
    /* twice the same: compared in place */
    assert_json("[{\"id\":1,\"p\":1},{\"id\":1,\"p\":2}]",
        "[{\"id\":1,\"p\":1},{\"id\":1,\"p\":3}]", "body[].p value 2|3\n");
    /* one without: the id itself is what is missing */
    assert_json("[{\"id\":1,\"p\":1},{\"id\":2,\"p\":2}]", "[{\"id\":1,\"p\":1},{\"p\":2}]",
        "body[].id missing 2|\n");
    /* no id in common: they are noise */
    assert_json("[{\"id\":\"u1\",\"p\":1}]", "[{\"id\":\"u2\",\"p\":2}]",
        "body[].id value u1|u2\nbody[].p value 1|2\n");
    /* id is new each time, but the name is not */
    assert_json("[{\"id\":1,\"name\":\"x\",\"p\":1},{\"id\":2,\"name\":\"y\",\"p\":1}]",
        "[{\"id\":4,\"name\":\"y\",\"p\":1},{\"id\":3,\"name\":\"x\",\"p\":1}]",
        "body[].id value 1|3\n"
        "body[] order [{\"id\":1,\"name\":\"x\",\"p\":1},{\"id\":2,\"name\":\"y\",\"p\":1}]|"
        "[{\"id\":4,\"name\":\"y\",\"p\":1},{\"id\":3,\"name\":\"x\",\"p\":1}]\n");
}

static void the_same_elements_in_another_order_are_order(void **state)
{
    (void)state;
    assert_json("[1,2,3]", "[3,1,2]", "body[] order [1,2,3]|[3,1,2]\n");
    assert_json("[[1],[2],[2]]", "[[2],[1],[2]]", "body[] order [[1],[2],[2]]|[[2],[1],[2]]\n");
    assert_json("[{\"a\":1,\"b\":2},{}]", "[{},{\"b\":2.0,\"a\":1}]",
        "body[] order [{\"a\":1,\"b\":2},{}]|[{},{\"b\":2.0,\"a\":1}]\n");
    assert_json("[1,1,2]", "[1,2,2]", "body[] value 1|2\n");
}

static void what_is_put_in_or_taken_out_leaves_the_rest_equal(void **state)
{
    (void)state;
    assert_json("[\"a\",\"b\",\"c\"]", "[\"a\",\"c\"]", "body[] missing \"b\"|\n");
    assert_json("[\"a\",\"c\"]", "[\"x\",\"a\",\"c\"]", "body[] extra |\"x\"\n");
    assert_json("[]", "[1]", "body[] extra |1\n");
    assert_json("[1]", "[]", "body[] missing 1|\n");
    assert_json("[\"a\",\"b\",\"c\"]", "[\"a\",\"z\",\"c\"]", "body[] value b|z\n");
    assert_json("[\"a\",\"b\",\"c\",\"d\"]", "[\"d\",\"a\",\"b\",\"e\"]",
        "body[] order [\"a\",\"b\",\"c\",\"d\"]|[\"d\",\"a\",\"b\",\"e\"]\nbody[] value c|e\n");
    assert_json("[0.1,5,7]", "[0.10000000000000001,5,8]", "body[] value 7|8\n");
}

/* Numbers from first on, n of them, one replaced. */
static void numbers(struct text *t, unsigned first, unsigned n, unsigned at, const char *other)
{
    t->n = 0;
    text_add(t, STR("["));
    for (unsigned i = 0; i < n; i++)
        if (i == at)
            text_fmt(t, "%s%s", i ? "," : "", other);
        else
            text_fmt(t, "%s%u", i ? "," : "", first + i);
    text_add(t, STR("]"));
}

static void long_arrays_are_compared_at_their_first_difference(void **state)
{
    (void)state;
    struct text a = {0}, b = {0};
    numbers(&a, 0, 5000, 5000, "");
    numbers(&b, 0, 5000, 4321, "7777");
    assert_json(a.p, b.p, "body[] value 4321|7777\n");
    /* nothing in common, more than the limit, of different lengths */
    numbers(&b, 10000, 5001, 5001, "");
    assert_json(a.p, b.p, "body[] value 0|10000\nbody length 5000|5001\n");
    /* 256 are still compared whole, 257 not */
    numbers(&a, 0, 256, 256, "");
    numbers(&b, 1000, 255, 255, "");
    assert_json(a.p, b.p, "body[] value 0|1000\nbody[] missing 255|\n");
    numbers(&a, 0, 257, 257, "");
    assert_json(a.p, b.p, "body[] value 0|1000\nbody length 257|255\n");
    text_release(&a);
    text_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_with_an_id_belong_together),
        cmocka_unit_test(an_id_must_be_there_once_in_every_element),
        cmocka_unit_test(the_same_elements_in_another_order_are_order),
        cmocka_unit_test(what_is_put_in_or_taken_out_leaves_the_rest_equal),
        cmocka_unit_test(long_arrays_are_compared_at_their_first_difference),
    };
    return unit_run(tests);
}
