/* Picking by turn, by chance, by load and by key: shares, weights, what moves when one goes. */
#include "proxy/pick.h"
#include "tests/unit/unit.h"

#define MANY 64

struct things {
    uint32_t weight[MANY], load[MANY], share[MANY];
    uint64_t hash[MANY];
    bool out[MANY];
    unsigned looks;
};

static uint32_t weight_at(const struct pick *p, uint32_t i)
{
    const struct things *t = p->arg;
    return t->weight[i];
}

static uint64_t hash_at(const struct pick *p, uint32_t i, uint32_t *ret_weight)
{
    const struct things *t = p->arg;
    *ret_weight = t->weight[i];
    return t->hash[i];
}

static void look_at(const struct pick *p, uint32_t i, struct pick_look *ret)
{
    struct things *t = p->arg;
    t->looks++;
    *ret = (struct pick_look){!t->out[i], t->load[i], t->share[i]};
}

static struct pick of(struct things *t, uint32_t n)
{
    memset(t, 0, sizeof *t);
    for (uint32_t i = 0; i < n; i++) {
        t->weight[i] = 1;
        t->share[i] = PICK_WHOLE;
        t->hash[i] = (uint64_t)(0x0a000001 + i) << 16 | 8080; /* as addresses are: close by */
    }
    return (struct pick){n, weight_at, hash_at, look_at, t};
}

static uint64_t random_at(uint64_t i)
{
    return pick_mix(i * 0x9E3779B97F4A7C15u + 1);
}

static void assert_near(uint32_t have, double want, double slack)
{
    if (have < want * (1 - slack) || have > want * (1 + slack))
        fail_msg("have %u, want %.0f within %.0f %%", have, want, slack * 100);
}

static void turns_go_round(void **state)
{
    (void)state;
    struct things t;
    struct pick p = of(&t, 5);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(pick_turn(&p, i), i % 5);
    assert_int_equal(t.looks, 0);
}

static void turns_follow_the_weights_and_are_spread(void **state)
{
    (void)state;
    struct things t;
    struct pick p = of(&t, 3);
    uint32_t got[3] = {0}, in_a_row = 0, longest = 0, last = 99;
    t.weight[0] = 1;
    t.weight[1] = 3;
    t.weight[2] = 6;
    for (uint32_t i = 0; i < 10000; i++) {
        uint32_t x = pick_turn(&p, i);
        in_a_row = x == last ? in_a_row + 1 : 1;
        longest = in_a_row > longest ? in_a_row : longest;
        last = x;
        got[x]++;
    }
    assert_near(got[0], 1000, 0.01);
    assert_near(got[1], 3000, 0.01);
    assert_near(got[2], 6000, 0.01);
    assert_true(longest <= 3); /* not six of the heavy one together */
}

static void chance_leaves_out_what_is_out(void **state)
{
    (void)state;
    struct things t;
    struct pick p = of(&t, 4);
    uint32_t got[4] = {0};
    t.weight[3] = 2;
    t.out[1] = true;
    for (uint32_t i = 0; i < 40000; i++)
        got[pick_usable(&p, random_at(i))]++;
    assert_int_equal(got[1], 0);
    assert_near(got[0], 10000, 0.05);
    assert_near(got[2], 10000, 0.05);
    assert_near(got[3], 20000, 0.05);
    t.out[0] = t.out[2] = t.out[3] = true;
    assert_int_equal(pick_usable(&p, 1), PICK_NONE);
}

static void a_slow_starter_gets_its_share_only(void **state)
{
    (void)state;
    struct things t;
    struct pick p = of(&t, 2);
    uint32_t slow = 0;
    t.share[0] = PICK_WHOLE / 4;
    for (uint32_t i = 0; i < 40000; i++)
        slow += pick_usable(&p, random_at(i)) == 0;
    assert_near(slow, 8000, 0.05); /* a quarter to a whole: one in five */
    assert_int_equal(pick_share(0, 10000), PICK_WHOLE / 10);
    assert_int_equal(pick_share(5000, 10000), PICK_WHOLE / 2);
    assert_int_equal(pick_share(10000, 10000), PICK_WHOLE);
    assert_int_equal(pick_share(0, 0), PICK_WHOLE);
}

static void least_takes_the_less_loaded_of_two(void **state)
{
    (void)state;
    struct things t;
    struct pick p = of(&t, 2);
    uint32_t got[2] = {0};
    t.load[0] = 10;
    t.load[1] = 2;
    for (uint32_t i = 0; i < 1000; i++)
        got[pick_least(&p, random_at(i), false)]++;
    /* the loaded one only when both draws fall on it, and the third does too */
    assert_near(got[0], 125, 0.35);
    t.weight[0] = 10; /* now it can bear more: one request each per unit of weight */
    t.load[0] = 10;
    t.load[1] = 3;
    memset(got, 0, sizeof got);
    for (uint32_t i = 0; i < 1000; i++)
        got[pick_least(&p, random_at(i), false)]++;
    assert_true(got[0] > 950);
}

static void least_spreads_by_weight_when_all_are_idle(void **state)
{
    (void)state;
    struct things t;
    struct pick p = of(&t, 3);
    uint32_t got[3] = {0};
    t.weight[2] = 2;
    for (uint32_t i = 0; i < 40000; i++)
        got[pick_least(&p, random_at(i), false)]++;
    assert_near(got[0], 10000, 0.05);
    assert_near(got[1], 10000, 0.05);
    assert_near(got[2], 20000, 0.05);
}

static void least_passes_over_what_is_out(void **state)
{
    (void)state;
    struct things t;
    struct pick p = of(&t, 3);
    t.out[0] = t.out[1] = true;
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t x = pick_least(&p, random_at(i), false);
        assert_true(x == 2 || x == PICK_NONE);
        assert_int_equal(pick_least(&p, random_at(i), true), 2);
    }
    t.out[2] = true;
    assert_int_equal(pick_least(&p, 7, true), PICK_NONE);
}

/* Where each of many keys goes. */
static void all_keys(const struct pick *p, bool usable, uint32_t to[static 20000])
{
    for (uint32_t k = 0; k < 20000; k++)
        to[k] = pick_hash(p, random_at(k), usable);
}

static void a_key_stays_where_it_is(void **state)
{
    (void)state;
    static uint32_t before[20000], after[20000];
    struct things t;
    struct pick p = of(&t, 10);
    uint32_t got[10] = {0};
    all_keys(&p, false, before);
    for (uint32_t k = 0; k < 20000; k++)
        got[before[k]]++;
    for (uint32_t i = 0; i < 10; i++)
        assert_near(got[i], 2000, 0.1);
    /* in another order: the same hash gets the same key */
    uint64_t first = t.hash[0];
    t.hash[0] = t.hash[9];
    t.hash[9] = first;
    all_keys(&p, false, after);
    for (uint32_t k = 0; k < 20000; k++)
        assert_int_equal(after[k], before[k] == 0 ? 9 : before[k] == 9 ? 0 : before[k]);
}

static void only_the_keys_of_the_lost_one_move(void **state)
{
    (void)state;
    static uint32_t before[20000], after[20000];
    struct things t;
    struct pick p = of(&t, 10);
    uint32_t moved[10] = {0};
    all_keys(&p, true, before);
    t.out[4] = true;
    all_keys(&p, true, after);
    for (uint32_t k = 0; k < 20000; k++) {
        assert_int_not_equal(after[k], 4);
        if (before[k] != 4)
            assert_int_equal(after[k], before[k]);
        else
            moved[after[k]]++;
    }
    for (uint32_t i = 0; i < 10; i++)
        if (i != 4)
            assert_near(moved[i], 2000 / 9.0, 0.3); /* evenly to all others */
    t.out[4] = false;
    all_keys(&p, true, after);
    assert_memory_equal(after, before, sizeof before);
}

static void one_more_takes_its_share_from_all(void **state)
{
    (void)state;
    static uint32_t before[20000], after[20000];
    struct things t;
    struct pick p = of(&t, 11);
    uint32_t taken = 0;
    p.n = 10;
    all_keys(&p, false, before);
    p.n = 11;
    all_keys(&p, false, after);
    for (uint32_t k = 0; k < 20000; k++) {
        assert_true(after[k] == before[k] || after[k] == 10);
        taken += after[k] == 10;
    }
    assert_near(taken, 20000 / 11.0, 0.1);
}

static void weights_share_the_keys_and_move_few(void **state)
{
    (void)state;
    static uint32_t before[20000], after[20000];
    struct things t;
    struct pick p = of(&t, 3);
    uint32_t got[3] = {0};
    all_keys(&p, false, before);
    t.weight[2] = 2;
    all_keys(&p, false, after);
    for (uint32_t k = 0; k < 20000; k++) {
        got[after[k]]++;
        assert_true(after[k] == before[k] || after[k] == 2); /* only towards the heavier one */
    }
    assert_near(got[0], 5000, 0.06);
    assert_near(got[1], 5000, 0.06);
    assert_near(got[2], 10000, 0.06);
    t.weight[0] = t.weight[1] = t.weight[2] = 7; /* equal again, whatever the number */
    all_keys(&p, false, after);
    assert_memory_equal(after, before, sizeof before);
}

static void without_any_usable_one_there_is_none(void **state)
{
    (void)state;
    struct things t;
    struct pick p = of(&t, 3);
    t.out[0] = t.out[1] = t.out[2] = true;
    assert_int_equal(pick_hash(&p, 5, true), PICK_NONE);
    t.weight[1] = 2;
    assert_int_equal(pick_hash(&p, 5, true), PICK_NONE);
    assert_true(pick_hash(&p, 5, false) < 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_go_round),
        cmocka_unit_test(turns_follow_the_weights_and_are_spread),
        cmocka_unit_test(chance_leaves_out_what_is_out),
        cmocka_unit_test(a_slow_starter_gets_its_share_only),
        cmocka_unit_test(least_takes_the_less_loaded_of_two),
        cmocka_unit_test(least_spreads_by_weight_when_all_are_idle),
        cmocka_unit_test(least_passes_over_what_is_out),
        cmocka_unit_test(a_key_stays_where_it_is),
        cmocka_unit_test(only_the_keys_of_the_lost_one_move),
        cmocka_unit_test(one_more_takes_its_share_from_all),
        cmocka_unit_test(weights_share_the_keys_and_move_few),
        cmocka_unit_test(without_any_usable_one_there_is_none),
    };
    return unit_run(tests);
}
