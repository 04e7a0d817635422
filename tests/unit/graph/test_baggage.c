#include "tests/unit/graph/request.h"

#define TOKEN "v1m.feat-42.0.00"

static const struct context *pick(struct request *r)
{
    return request_pick(r, true, NULL);
}

/* The value of one baggage field after it was picked; "(dropped)" when nothing of it is left. */
static const char *left_of(const char *value)
{
    static char out[16384];
    struct request r;
    request_init(&r, "x", "/");
    request_add(&r, "baggage", value);
    pick(&r);
    if (request_dropped(&r, 0))
        return "(dropped)";
    memcpy(out, r.fields[0].value, r.fields[0].value_len);
    out[r.fields[0].value_len] = '\0';
    return out;
}

static void takes_our_member_out_wherever_it_stands(void **state)
{
    (void)state;
    assert_string_equal(left_of("offshoot=" TOKEN), "(dropped)");
    assert_string_equal(left_of("a=1,b=2,offshoot=" TOKEN), "a=1,b=2");
    assert_string_equal(left_of("offshoot=" TOKEN ",a=1,b=2"), "a=1,b=2");
    assert_string_equal(left_of("a=1,offshoot=" TOKEN ",b=2"), "a=1,b=2");
    assert_string_equal(left_of("offshoot=x,a=1,offshoot=y,b=2,offshoot=z"), "a=1,b=2");
    assert_string_equal(left_of(" a=1 , offshoot = " TOKEN " ;p=1 ,b = 2;q "), "a=1 ,b = 2;q");
}

static void others_keep_their_bytes_and_order(void **state)
{
    (void)state;
    assert_string_equal(
        left_of("b=%20%2C;p=\"x\",a,=,;;,a=2 , c"), "b=%20%2C;p=\"x\",a,=,;;,a=2 , c");
    assert_string_equal(left_of("offshoot2=1,xoffshoot=1,off=1,x-offshoot=1"),
        "offshoot2=1,xoffshoot=1,off=1,x-offshoot=1");
    assert_string_equal(left_of(""), "");
    assert_string_equal(left_of(",,"), ",,");
}

static void no_spelling_of_our_member_survives(void **state)
{
    (void)state;
    assert_string_equal(left_of("a=1,OFFSHOOT=x"), "a=1");
    assert_string_equal(left_of("Offshoot;p=1,a=1"), "a=1");
    assert_string_equal(left_of("a=1,offshoot"), "a=1");
    assert_string_equal(left_of("a=1,\xa0offshoot=x"), "a=1");
    assert_string_equal(left_of("a=1,\"offshoot\"=x"), "a=1");
}

static void reads_the_value_without_its_properties(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "x", "/");
    request_add(&r, "baggage", "a=1, offshoot = " TOKEN " ; ttl=3;x");
    const struct context *c = pick(&r);
    assert_int_equal(c->fault, FAULT_NONE);
    assert_int_equal(c->source, SOURCE_BAGGAGE);
    assert_str(c->env, "feat-42");
}

static enum context_fault fault_of(const char *value)
{
    struct request r;
    request_init(&r, "x", "/");
    request_add(&r, "baggage", value);
    return pick(&r)->fault;
}

static void our_member_without_a_usable_value_is_a_fault(void **state)
{
    (void)state;
    assert_int_equal(fault_of("offshoot"), FAULT_MALFORMED);
    assert_int_equal(fault_of("offshoot="), FAULT_MALFORMED);
    assert_int_equal(fault_of("offshoot=;p=1"), FAULT_MALFORMED);
    assert_int_equal(fault_of("offshoot;p=" TOKEN), FAULT_MALFORMED);
    assert_int_equal(fault_of("offshoot=v1m%2Efeat-42.0.00"), FAULT_MALFORMED);
    assert_int_equal(fault_of("offshoot=" TOKEN ",offshoot=" TOKEN), FAULT_NONE);
    assert_int_equal(fault_of("offshoot=" TOKEN ",offshoot=v1m.main.0.00"), FAULT_TWO_VALUES);
    assert_int_equal(fault_of("offshoot=" TOKEN ",offshoot=junk"), FAULT_TWO_VALUES);
    /* another spelling is no carrier of ours: removed, counted, not believed */
    assert_int_equal(fault_of("OffShoot=junk"), FAULT_NONE);
}

/* n members "kNNN=v", then the text. */
static void members(char *out, size_t size, int n, const char *then)
{
    size_t used = 0;
    for (int i = 0; i < n; i++)
        used += (size_t)snprintf(out + used, size - used, "%sk%03d=v", i ? "," : "", i);
    snprintf(out + used, size - used, "%s", then);
}

static void scans_64_members_and_cuts_the_rest_off(void **state)
{
    (void)state;
    char value[2048];
    struct request r;
    members(value, sizeof(value), 63, ",offshoot=" TOKEN);
    request_init(&r, "x", "/");
    request_add(&r, "baggage", value);
    assert_int_equal(pick(&r)->source, SOURCE_BAGGAGE);
    assert_false(r.context.baggage_cut);

    members(value, sizeof(value), 64, ",offshoot=" TOKEN ",z=1");
    request_init(&r, "x", "/");
    request_add(&r, "baggage", value);
    request_add(&r, "baggage", "more=1");
    assert_int_equal(pick(&r)->source, SOURCE_NONE);
    assert_true(r.context.baggage_cut);
    assert_int_equal(r.context.fault, FAULT_NONE);
    members(value, sizeof(value), 64, "");
    assert_str(field_value(&r.fields[0]), value);
    assert_true(request_dropped(&r, 1));
}

static void members_count_over_all_fields(void **state)
{
    (void)state;
    char first[2048];
    struct request r;
    members(first, sizeof(first), 60, "");
    request_init(&r, "x", "/");
    request_add(&r, "baggage", first);
    request_add(&r, "baggage", "a=1,,b=2, ,c=3,d=4,e=5");
    request_add(&r, "baggage", "f=6");
    pick(&r);
    assert_true(r.context.baggage_cut);
    assert_str(field_value(&r.fields[1]), "a=1,,b=2, ,c=3,d=4");
    assert_false(request_dropped(&r, 1));
    assert_true(request_dropped(&r, 2));
}

static void scans_8192_bytes_and_cuts_the_rest_off(void **state)
{
    (void)state;
    static char value[BAGGAGE_BYTES_MAX + 64];
    struct request r;
    for (int over = 0; over < 2; over++) {
        /* "a=xxx...x,offshoot=TOKEN" of exactly the limit, or one byte more */
        size_t n = BAGGAGE_BYTES_MAX - strlen(",offshoot=" TOKEN) + (size_t)over;
        memset(value, 'x', n);
        memcpy(value, "a=", 2);
        memcpy(value + n, ",offshoot=" TOKEN, sizeof(",offshoot=" TOKEN));
        request_init(&r, "x", "/");
        request_add(&r, "baggage", value);
        pick(&r);
        assert_int_equal(r.context.source, over ? SOURCE_NONE : SOURCE_BAGGAGE);
        assert_int_equal(r.context.baggage_cut, over);
        assert_int_equal(r.fields[0].value_len, n);
    }
}

static void bytes_count_over_all_fields_with_the_commas_between(void **state)
{
    (void)state;
    static char value[BAGGAGE_BYTES_MAX];
    struct request r;
    for (int over = 0; over < 2; over++) {
        size_t n = BAGGAGE_BYTES_MAX - strlen(",b=1") + (size_t)over;
        memset(value, 'x', n);
        memcpy(value, "a=", 2);
        value[n] = '\0';
        request_init(&r, "x", "/");
        request_add(&r, "baggage", value);
        request_add(&r, "baggage", "b=1");
        pick(&r);
        assert_int_equal(r.context.baggage_cut, over);
        assert_int_equal(request_dropped(&r, 1), over);
    }
}

static void a_field_is_dropped_when_there_is_no_room_to_edit_it(void **state)
{
    (void)state;
    struct request r;
    request_init(&r, "x", "/");
    r.scratch.size = 6;
    request_add(&r, "baggage", "a=1,offshoot=" TOKEN ",b=2");
    pick(&r);
    assert_true(request_dropped(&r, 0));
    request_init(&r, "x", "/");
    r.scratch.size = 7;
    request_add(&r, "baggage", "a=1,offshoot=" TOKEN ",b=2");
    pick(&r);
    assert_str(field_value(&r.fields[0]), "a=1,b=2");
}

/* ---- writing ---- */

static const char *written(struct request *r, const char *token, bool *ret_ours)
{
    static char out[BAGGAGE_BYTES_MAX + 1], again[BAGGAGE_BYTES_MAX];
    bool ours;
    size_t n =
        context_write_baggage(r->fields, r->n, str_c(token), out, BAGGAGE_BYTES_MAX, ret_ours);
    out[n] = '\0';
    /* A retry writes the same once more. */
    assert_int_equal(
        context_write_baggage(r->fields, r->n, str_c(token), again, BAGGAGE_BYTES_MAX, &ours), n);
    assert_memory_equal(out, again, n);
    assert_int_equal(ours, *ret_ours);
    return out;
}

static void writes_what_is_left_and_ours_last(void **state)
{
    (void)state;
    struct request r;
    bool ours = false;
    request_init(&r, "x", "/");
    request_add(&r, "baggage", "b=2;p, offshoot=" TOKEN ",a=1");
    request_add(&r, "accept", "*/*");
    request_add(&r, "baggage", "offshoot=" TOKEN);
    request_add(&r, "baggage", "c=3 , ,d");
    pick(&r);
    assert_string_equal(written(&r, TOKEN, &ours), "b=2;p,a=1,c=3,d,offshoot=" TOKEN);
    assert_true(ours);
}

static void writes_the_others_alone_without_a_token(void **state)
{
    (void)state;
    struct request r;
    bool ours = true;
    request_init(&r, "x", "/");
    request_add(&r, "baggage", "a=1");
    assert_string_equal(written(&r, "", &ours), "a=1");
    assert_false(ours);
    request_init(&r, "x", "/");
    assert_string_equal(written(&r, "", &ours), "");
    assert_string_equal(written(&r, TOKEN, &ours), "offshoot=" TOKEN);
    assert_true(ours);
}

static void leaves_ours_out_when_it_would_be_the_65th_member(void **state)
{
    (void)state;
    char value[2048], expected[2048];
    struct request r;
    bool ours = false;
    members(value, sizeof(value), 63, "");
    members(expected, sizeof(expected), 63, ",offshoot=" TOKEN);
    request_init(&r, "x", "/");
    request_add(&r, "baggage", value);
    assert_string_equal(written(&r, TOKEN, &ours), expected);
    assert_true(ours);

    members(value, sizeof(value), 64, "");
    request_init(&r, "x", "/");
    request_add(&r, "baggage", value);
    assert_string_equal(written(&r, TOKEN, &ours), value);
    assert_false(ours);
}

static void leaves_ours_out_when_it_would_pass_8192_bytes(void **state)
{
    (void)state;
    static char value[BAGGAGE_BYTES_MAX + 1];
    for (int over = 0; over < 2; over++) {
        struct request r;
        bool ours = false;
        size_t n = BAGGAGE_BYTES_MAX - strlen(",offshoot=" TOKEN) + (size_t)over;
        memset(value, 'x', n);
        value[n] = '\0';
        request_init(&r, "x", "/");
        request_add(&r, "baggage", value);
        assert_int_equal(strlen(written(&r, TOKEN, &ours)), over ? n : BAGGAGE_BYTES_MAX);
        assert_int_equal(ours, !over);
    }
}

static void never_writes_more_than_the_limits_even_unpicked(void **state)
{
    (void)state;
    static char value[3 * BAGGAGE_BYTES_MAX];
    struct request r;
    bool ours = true;
    memset(value, 'x', sizeof(value) - 1);
    for (size_t i = 100; i < sizeof(value); i += 300)
        value[i] = ',';
    request_init(&r, "x", "/");
    request_add(&r, "baggage", value);
    request_add(&r, "baggage", "b=1");
    const char *out = written(&r, TOKEN, &ours);
    assert_in_range(strlen(out), BAGGAGE_BYTES_MAX - 301, BAGGAGE_BYTES_MAX);
    assert_memory_equal(out, value, strlen(out));
    assert_false(ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_our_member_out_wherever_it_stands),
        cmocka_unit_test(others_keep_their_bytes_and_order),
        cmocka_unit_test(no_spelling_of_our_member_survives),
        cmocka_unit_test(reads_the_value_without_its_properties),
        cmocka_unit_test(our_member_without_a_usable_value_is_a_fault),
        cmocka_unit_test(scans_64_members_and_cuts_the_rest_off),
        cmocka_unit_test(members_count_over_all_fields),
        cmocka_unit_test(scans_8192_bytes_and_cuts_the_rest_off),
        cmocka_unit_test(bytes_count_over_all_fields_with_the_commas_between),
        cmocka_unit_test(a_field_is_dropped_when_there_is_no_room_to_edit_it),
        cmocka_unit_test(writes_what_is_left_and_ours_last),
        cmocka_unit_test(writes_the_others_alone_without_a_token),
        cmocka_unit_test(leaves_ours_out_when_it_would_be_the_65th_member),
        cmocka_unit_test(leaves_ours_out_when_it_would_pass_8192_bytes),
        cmocka_unit_test(never_writes_more_than_the_limits_even_unpicked),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
