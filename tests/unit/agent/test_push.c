/* Rounds: who is staged what, when it is activated, who is waited for and who is not. */
#include "tests/unit/agent/push_fixture.h"

static void first_epoch_is_activated_at_once_and_a_newcomer_gets_the_whole(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0];
    (void)state;
    begin(&f, 0);
    join(&f, a);
    expect("");
    commit(&f);
    expect("stage a 1<-0\n");
    staged(&f, a);
    expect("activate a 1\n");
    assert_int_equal(push_slowest(f.push), 0);
    active(&f, a);
    assert_int_equal(push_slowest(f.push), 1);
    join(&f, &f.peers[1]);
    expect("stage b 1<-0\n");
    staged(&f, &f.peers[1]);
    expect("activate b 1\n");
    end(&f);
}

static void nobody_is_activated_before_everybody_has_it(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0], *b = &f.peers[1], *c = &f.peers[2];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    join_current(&f, b);
    join_current(&f, c);
    commit(&f);
    expect("stage a 2<-1\nstage b 2<-1\nstage c 2<-1\n");
    staged(&f, b);
    staged(&f, a);
    expect("");
    assert_int_equal(push_activated(f.push), 1);
    staged(&f, c);
    expect("activate a 2\nactivate b 2\nactivate c 2\n");
    assert_int_equal(push_activated(f.push), 2);
    active(&f, a);
    active(&f, b);
    assert_int_equal(push_slowest(f.push), 1);
    active(&f, c);
    assert_int_equal(push_slowest(f.push), 2);
    end(&f);
}

static void difference_is_encoded_once_for_all(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 1);
    for (unsigned i = 0; i < PEERS_MAX; i++)
        join_current(&f, &f.peers[i]);
    commit(&f);
    for (unsigned i = 1; i < PEERS_MAX; i++)
        assert_ptr_equal(f.peers[i].stage.bytes, f.peers[0].stage.bytes);
    assert_int_equal(push_counts(f.push).stages, PEERS_MAX);
    assert_int_equal(push_counts(f.push).stage_bytes,
        PEERS_MAX * (unsigned long long)f.peers[0].stage.bytes->bytes.n);
    end(&f);
}

static void late_proxy_is_named_and_not_waited_for_until_it_caught_up(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0], *b = &f.peers[1];
    struct text list = {0};
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    join_current(&f, b);
    commit(&f);
    expect("stage a 2<-1\nstage b 2<-1\n");
    staged(&f, a);
    pass(&f, 1999);
    expect("");
    pass(&f, 1);
    expect("activate a 2\n");
    active(&f, a);
    assert_int_equal(push_counts(f.push).late, 1);
    push_list(f.push, true, true, f.now, &list);
    assert_non_null(strstr(list.p, "{\"node\":\"b\""));
    assert_non_null(strstr(list.p, "\"late\":true"));
    assert_null(strstr(list.p, "{\"node\":\"a\""));
    text_release(&list);

    commit(&f); /* b has not answered for 2: nothing more is sent to it, nobody waits */
    expect("stage a 3<-2\n");
    staged(&f, a);
    expect("activate a 3\n");
    active(&f, a);
    assert_int_equal(push_counts(f.push).late, 1);

    staged(&f, b); /* it has 2 now: that one at once, and on to 3 */
    expect("activate b 2\nstage b 3<-2\n");
    active(&f, b);
    staged(&f, b);
    expect("activate b 3\n");
    active(&f, b);
    assert_int_equal(push_slowest(f.push), 3);

    commit(&f); /* and is waited for again */
    expect("stage a 4<-3\nstage b 4<-3\n");
    staged(&f, a);
    expect("");
    staged(&f, b);
    expect("activate a 4\nactivate b 4\n");
    end(&f);
}

static void proxy_that_never_acknowledges_holds_nobody_up(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0], *mute = &f.peers[1];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    join(&f, mute);
    expect("stage b 1<-0\n");
    pass(&f, 10000);
    assert_int_equal(push_counts(f.push).late, 1);
    for (uint64_t e = 2; e < 20; e++) {
        commit(&f);
        staged(&f, a);
        active(&f, a);
        assert_int_equal(push_activated(f.push), e);
    }
    assert_null(strstr(f.log.p, " b ")); /* its one Stage is all that was sent to it */
    text_release(&f.log);
    assert_int_equal(push_slowest(f.push), 0);
    end(&f);
}

static void missing_answer_to_activate_makes_late_too(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    commit(&f);
    staged(&f, a);
    expect("stage a 2<-1\nactivate a 2\n");
    pass(&f, 2000);
    assert_int_equal(push_counts(f.push).late, 1);
    active(&f, a);
    commit(&f);
    expect("stage a 3<-2\n");
    assert_int_equal(push_activated(f.push), 2); /* waited for again */
    end(&f);
}

static void commits_during_a_round_join_into_one(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0], *b = &f.peers[1];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    join_current(&f, b);
    commit(&f);
    expect("stage a 2<-1\nstage b 2<-1\n");
    for (int i = 0; i < 5; i++)
        commit(&f);
    staged(&f, a);
    expect("");
    staged(&f, b);
    expect("activate a 2\nactivate b 2\nstage a 7<-2\nstage b 7<-2\n");
    active(&f, b);
    active(&f, a);
    staged(&f, a);
    staged(&f, b);
    expect("activate a 7\nactivate b 7\n");
    end(&f);
}

static void newcomer_in_a_round_is_waited_for_and_one_that_leaves_is_not(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0], *b = &f.peers[1], *c = &f.peers[2];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    join_current(&f, b);
    commit(&f);
    expect("stage a 2<-1\nstage b 2<-1\n");
    join(&f, c);
    expect("stage c 2<-0\n");
    staged(&f, a);
    staged(&f, b);
    expect("");
    leave(&f, c);
    expect("activate a 2\nactivate b 2\n");
    end(&f);
}

static void joins_with_what_it_holds(void **state)
{
    struct fixture f;
    unsigned char other[HISTORY_ID] = "another history";
    (void)state;
    begin(&f, 1);
    for (int i = 0; i < 4; i++)
        commit(&f);
    assert_int_equal(push_activated(f.push), 5);

    holds(&f, &f.peers[0], 3, 5); /* all it needs */
    join(&f, &f.peers[0]);
    expect("");
    holds(&f, &f.peers[1], 4, 5); /* held, not active */
    f.peers[1].hello.active = 4;
    join(&f, &f.peers[1]);
    expect("activate b 5\n");
    holds(&f, &f.peers[2], 2, 3); /* the newest that it has is the base */
    join(&f, &f.peers[2]);
    expect("stage c 5<-3\n");
    holds(&f, &f.peers[3], 5, 5); /* another history's epoch 5 is not ours */
    f.peers[3].hello.history = other;
    join(&f, &f.peers[3]);
    expect("stage d 5<-0\n");
    holds(&f, &f.peers[4], 5, 5); /* above what we have: ours was restored from a copy */
    f.peers[4].hello.held[0].epoch = f.peers[4].hello.active = 9;
    join(&f, &f.peers[4]);
    expect("stage e 5<-0\n");
    holds(&f, &f.peers[5], 4, 5); /* another content under our number */
    f.peers[5].hello.held[1].digest[7] ^= 1;
    join(&f, &f.peers[5]);
    expect("stage f 5<-0\n");
    assert_int_equal(push_slowest(f.push), 0);
    assert_int_equal(push_counts(f.push).behind, 5);
    end(&f);
}

static void base_is_only_what_history_has_in_memory(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 20);
    holds(&f, &f.peers[0], 20, 20);
    join(&f, &f.peers[0]); /* it was activated before the restart */
    holds(&f, &f.peers[1], 4, 4);
    join(&f, &f.peers[1]);
    holds(&f, &f.peers[2], 5, 5);
    join(&f, &f.peers[2]);
    expect("stage b 20<-0\nstage c 20<-5\n");
    end(&f);
}

static void after_a_restart_the_newest_epoch_waits_for_proxies_to_come_back(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 3);
    assert_int_equal(push_activated(f.push), 0);
    push_tick(f.push, f.now);
    holds(&f, &f.peers[0], 2, 2);
    join(&f, &f.peers[0]);
    staged(&f, &f.peers[0]);
    expect("stage a 3<-2\n");
    pass(&f, 1000);
    holds(&f, &f.peers[1], 2, 2);
    join(&f, &f.peers[1]);
    staged(&f, &f.peers[1]);
    expect("stage b 3<-2\n");
    pass(&f, 999);
    expect("");
    pass(&f, 1);
    expect("activate a 3\nactivate b 3\n");
    end(&f);
}

static void after_a_restart_one_that_is_active_tells_that_it_was_activated(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 3);
    holds(&f, &f.peers[0], 2, 2);
    join(&f, &f.peers[0]);
    staged(&f, &f.peers[0]);
    expect("stage a 3<-2\n");
    holds(&f, &f.peers[1], 3, 3);
    join(&f, &f.peers[1]);
    expect("activate a 3\n");
    end(&f);
}

static void files_changed_while_down_go_out_in_one_round(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 3);
    commit(&f); /* before anybody is there */
    holds(&f, &f.peers[0], 3, 3);
    join(&f, &f.peers[0]);
    staged(&f, &f.peers[0]);
    expect("stage a 4<-3\n");
    pass(&f, 2000);
    expect("activate a 4\n");
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_epoch_is_activated_at_once_and_a_newcomer_gets_the_whole),
        cmocka_unit_test(nobody_is_activated_before_everybody_has_it),
        cmocka_unit_test(difference_is_encoded_once_for_all),
        cmocka_unit_test(late_proxy_is_named_and_not_waited_for_until_it_caught_up),
        cmocka_unit_test(proxy_that_never_acknowledges_holds_nobody_up),
        cmocka_unit_test(missing_answer_to_activate_makes_late_too),
        cmocka_unit_test(commits_during_a_round_join_into_one),
        cmocka_unit_test(newcomer_in_a_round_is_waited_for_and_one_that_leaves_is_not),
        cmocka_unit_test(joins_with_what_it_holds),
        cmocka_unit_test(base_is_only_what_history_has_in_memory),
        cmocka_unit_test(after_a_restart_the_newest_epoch_waits_for_proxies_to_come_back),
        cmocka_unit_test(after_a_restart_one_that_is_active_tells_that_it_was_activated),
        cmocka_unit_test(files_changed_while_down_go_out_in_one_round),
    };
    return unit_run(tests);
}
