/* The cookie that binds a client to an endpoint is found as browsers write it. */
#include "proxy/affinity.h"
#include "tests/unit/unit.h"

static struct field cookie(const char *value)
{
    return (struct field){.name = "cookie",
        .name_len = 6,
        .value = value,
        .value_len = (uint32_t)strlen(value),
        .id = FIELD_COOKIE};
}

static void finds(const char *line, const char *want)
{
    struct field f = cookie(line);
    struct str got = affinity_find(&f, 1, STR("stick"));
    if (want)
        assert_str(got, want);
    else
        assert_null(got.p);
}

static void one_of_many(void **state)
{
    (void)state;
    finds("stick=a", "a");
    finds("x=1; stick=abc; y=2", "abc");
    finds("x=1;stick=abc;y=2", "abc");
    finds(" \tstick = abc \t; y=2", "abc");
    finds("stick=a=b==", "a=b==");
    finds("stick=\"q\"", "\"q\"");
    finds("stick=first; stick=second", "first");
    finds("a; ;; =; stick=z", "z");
}

static void none_of_that_name(void **state)
{
    (void)state;
    finds("", NULL);
    finds("stick", NULL);
    finds("xstick=a; stickx=b; Stick=c", NULL);
    finds(";;;", NULL);
    finds("stick=", "");
}

static void lines_are_looked_at_in_their_order(void **state)
{
    (void)state;
    struct field f[] = {cookie("a=1"), cookie("stick=2"), cookie("stick=3")};
    f[0].id = FIELD_OTHER; /* no cookie line */
    f[0].value = "stick=0";
    f[0].value_len = 7;
    assert_str(affinity_find(f, 3, STR("stick")), "2");
    assert_null(affinity_find(f, 1, STR("stick")).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_many),
        cmocka_unit_test(none_of_that_name),
        cmocka_unit_test(lines_are_looked_at_in_their_order),
    };
    return unit_run(tests);
}
