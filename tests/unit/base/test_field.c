#include "lib/base/field.h"
#include "tests/unit/unit.h"

static enum field_id id_of(const char *name)
{
    return field_id(name, strlen(name));
}

static void every_known_name_has_its_number(void **state)
{
    (void)state;
    int named = 0;
    for (int id = FIELD_OTHER + 1; id < FIELD_X_OFFSHOOT_OTHER; id++) {
        struct str name = field_id_name((enum field_id)id);
        assert_true(name.n > 0);
        assert_int_equal(field_id(name.p, name.n), id);
        named++;
    }
    assert_int_equal(named, FIELD_ID_COUNT - 2);
    assert_str(field_id_name(FIELD_OTHER), "");
    assert_str(field_id_name(FIELD_X_OFFSHOOT_OTHER), "");
}

static void numbers_stand_for_the_right_names(void **state)
{
    (void)state;
    assert_int_equal(id_of("host"), FIELD_HOST);
    assert_int_equal(id_of("content-length"), FIELD_CONTENT_LENGTH);
    assert_int_equal(id_of("transfer-encoding"), FIELD_TRANSFER_ENCODING);
    assert_int_equal(id_of("te"), FIELD_TE);
    assert_int_equal(id_of("http2-settings"), FIELD_HTTP2_SETTINGS);
    assert_int_equal(id_of("baggage"), FIELD_BAGGAGE);
    assert_int_equal(id_of("x-offshoot-context"), FIELD_X_OFFSHOOT_CONTEXT);
    assert_int_equal(id_of("ot-baggage-offshoot"), FIELD_OT_BAGGAGE_OFFSHOOT);
}

static void one_byte_more_less_or_other_is_another_name(void **state)
{
    (void)state;
    for (int id = FIELD_OTHER + 1; id < FIELD_X_OFFSHOOT_OTHER; id++) {
        struct str name = field_id_name((enum field_id)id);
        bool prefixed = str_starts(name, STR("x-offshoot-"));
        char text[32];
        memcpy(text, name.p, name.n);
        text[name.n] = 'q';
        assert_int_not_equal(field_id(text, name.n + 1), id);
        assert_int_not_equal(field_id(text, name.n - 1), id);
        for (size_t i = 0; i < name.n; i++) {
            memcpy(text, name.p, name.n);
            text[i] = '~';
            enum field_id got = field_id(text, name.n);
            enum field_id want = prefixed && i >= 11 ? FIELD_X_OFFSHOOT_OTHER : FIELD_OTHER;
            assert_int_equal(got, want);
        }
    }
}

static void our_names_take_underscores_others_do_not(void **state)
{
    (void)state;
    for (int id = FIELD_OTHER + 1; id < FIELD_X_OFFSHOOT_OTHER; id++) {
        struct str name = field_id_name((enum field_id)id);
        bool ours = id >= FIELD_X_OFFSHOOT_CONTEXT;
        for (size_t i = 0; i < name.n; i++) {
            char text[32];
            memcpy(text, name.p, name.n);
            if (text[i] != '-')
                continue;
            text[i] = '_';
            assert_int_equal(field_id(text, name.n), ours ? (enum field_id)id : FIELD_OTHER);
        }
    }
    assert_int_equal(id_of("x_offshoot_context"), FIELD_X_OFFSHOOT_CONTEXT);
    assert_int_equal(id_of("ot_baggage_offshoot"), FIELD_OT_BAGGAGE_OFFSHOOT);
    assert_int_equal(id_of("uberctx_offshoot"), FIELD_UBERCTX_OFFSHOOT);
    assert_int_equal(id_of("content_length"), FIELD_OTHER);
    assert_int_equal(id_of("transfer_encoding"), FIELD_OTHER);
}

static void anything_else_with_our_prefix_is_ours(void **state)
{
    (void)state;
    assert_int_equal(id_of("x-offshoot-a"), FIELD_X_OFFSHOOT_OTHER);
    assert_int_equal(id_of("x_offshoot_env"), FIELD_X_OFFSHOOT_OTHER);
    assert_int_equal(id_of("x-offshoot_context-2"), FIELD_X_OFFSHOOT_OTHER);
    assert_int_equal(id_of("x-offshoot--"), FIELD_X_OFFSHOOT_OTHER);
    assert_int_equal(id_of("x-offshoot-"), FIELD_X_OFFSHOOT_OTHER);
    assert_int_equal(id_of("x-offshoot"), FIELD_OTHER);
    assert_int_equal(id_of("x-offshoots-a"), FIELD_OTHER);
    assert_int_equal(id_of("y-offshoot-a"), FIELD_OTHER);
    assert_int_equal(id_of("x"), FIELD_OTHER);
}

static void a_stray_dash_does_not_match_an_underscore(void **state)
{
    (void)state;
    /* '-' in the name given stands only for itself. */
    assert_int_equal(id_of("x-off-hoot-context"), FIELD_OTHER);
    assert_int_equal(id_of("uberctx+offshoot"), FIELD_OTHER);
}

static void odd_lengths_are_other(void **state)
{
    (void)state;
    static char big[65536 + 32];
    assert_int_equal(field_id("", 0), FIELD_OTHER);
    assert_int_equal(field_id(NULL, 0), FIELD_OTHER);
    /* A length that is equal to a known one in its low 16 bits. */
    memset(big, 'h', sizeof(big));
    big[65536 + 3] = 't';
    assert_int_equal(field_id(big, 65536 + 4), FIELD_OTHER);
    memcpy(big, "host", 4);
    assert_int_equal(field_id(big, 65536 + 4), FIELD_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_known_name_has_its_number),
        cmocka_unit_test(numbers_stand_for_the_right_names),
        cmocka_unit_test(one_byte_more_less_or_other_is_another_name),
        cmocka_unit_test(our_names_take_underscores_others_do_not),
        cmocka_unit_test(anything_else_with_our_prefix_is_ours),
        cmocka_unit_test(a_stray_dash_does_not_match_an_underscore),
        cmocka_unit_test(odd_lengths_are_other),
    };
    return unit_run(tests);
}
