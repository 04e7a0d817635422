/* Refusals, retirement, limits, answers that make no sense, and memory that is out. */
#include "tests/unit/agent/push_fixture.h"

static void refused_difference_is_followed_by_the_whole_once(void **state)
{
    static const enum push_nack of_base[] = {
        PUSH_BASE_UNKNOWN, PUSH_BAD_DIGEST, PUSH_INVALID_GRAPH};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct fixture f;
        struct peer *a = &f.peers[0];
        begin(&f, 1);
        join_current(&f, a);
        commit(&f);
        expect("stage a 2<-1\n");
        nack_stage(&f, a, of_base[i]);
        expect("stage a 2<-0\n");
        nack_stage(&f, a, of_base[i]); /* for good, until the next epoch */
        expect("");
        assert_int_equal(push_activated(f.push), 2); /* nobody waits for it */
        pass(&f, 100000);
        expect("");
        commit(&f);
        expect("stage a 3<-1\n");
        staged(&f, a);
        expect("activate a 3\n");
        assert_int_equal(push_counts(f.push).nacks, 2);
        end(&f);
    }
}

static void whole_after_a_refused_difference_brings_it_back(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    commit(&f);
    nack_stage(&f, a, PUSH_BASE_UNKNOWN);
    staged(&f, a);
    expect("stage a 2<-1\nstage a 2<-0\nactivate a 2\n");
    active(&f, a);
    commit(&f);
    expect("stage a 3<-2\n");
    end(&f);
}

static void refused_whole_is_marked_and_not_tried_again(void **state)
{
    static const enum push_nack reasons[] = {
        PUSH_TOO_BIG, PUSH_UNSUPPORTED, PUSH_INVALID_GRAPH, PUSH_BAD_DIGEST, (enum push_nack)0};
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct fixture f;
        struct peer *a = &f.peers[0];
        struct text list = {0};
        begin(&f, 1);
        join(&f, a);
        expect("stage a 1<-0\n");
        nack_stage(&f, a, reasons[i]);
        pass(&f, 10000);
        expect("");
        push_list(f.push, true, false, f.now, &list);
        assert_non_null(strstr(list.p, "\"text\":\"not this one\",\"epoch\":1"));
        text_release(&list);
        commit(&f);
        expect("stage a 2<-0\n");
        end(&f);
    }
}

static void stale_is_seen_and_tried_again_with_the_next_epoch(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0];
    unsigned char other[HISTORY_ID] = "another history";
    (void)state;
    begin(&f, 1);
    holds(&f, a, 1, 1);
    a->hello.history = other;
    join(&f, a);
    expect("stage a 1<-0\n");
    nack_stage(&f, a, PUSH_STALE);
    expect("");
    assert_int_equal(push_counts(f.push).stale, 1);
    commit(&f);
    expect("stage a 2<-0\n");
    staged(&f, a); /* an operator told it to adopt ours */
    expect("activate a 2\n");
    active(&f, a);
    assert_int_equal(push_counts(f.push).stale, 0);
    assert_int_equal(push_slowest(f.push), 2);
    end(&f);
}

static void refused_difference_as_stale_is_not_sent_whole(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    commit(&f);
    nack_stage(&f, a, PUSH_STALE);
    expect("stage a 2<-1\n");
    assert_int_equal(push_counts(f.push).stale, 1);
    end(&f);
}

static void refused_activation_stages_the_whole_once(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    commit(&f);
    staged(&f, a);
    expect("stage a 2<-1\nactivate a 2\n");
    push_on_nack(a->x, a->activate.nonce, 2, PUSH_BASE_UNKNOWN, STR("2 is not held"), f.now);
    expect("stage a 2<-0\n");
    staged(&f, a);
    expect("activate a 2\n");
    push_on_nack(a->x, a->activate.nonce, 2, PUSH_BASE_UNKNOWN, STR("2 is not held"), f.now);
    expect("");
    commit(&f);
    expect("stage a 3<-1\n");
    end(&f);
}

static void older_epochs_are_retired_a_minute_after_all_are_active(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0], *b = &f.peers[1];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    join_current(&f, b);
    commit(&f);
    staged(&f, a);
    staged(&f, b);
    active(&f, a);
    pass(&f, 1500);
    text_release(&f.log);
    active(&f, b); /* from here the time runs */
    pass(&f, 59999);
    expect("");
    pass(&f, 1);
    expect("retire a 1\nretire b 1\n");
    retired(&f, a);
    retired(&f, b);
    pass(&f, 600000);
    expect("");
    end(&f);
}

static void each_epoch_has_its_own_minute(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    for (int i = 0; i < 3; i++) {
        commit(&f);
        staged(&f, a);
        active(&f, a);
        pass(&f, 20000);
    }
    expect("stage a 2<-1\nactivate a 2\nstage a 3<-2\nactivate a 3\nstage a 4<-3\nactivate a 4\n"
           "retire a 1\n"); /* 60 s after 2 was active; 3 has 40 s, 4 has 20 s */
    retired(&f, a);
    pass(&f, 20000);
    expect("retire a 2\n");
    pass(&f, 20000);
    expect("retire a 3\n");
    end(&f);
}

static void active_epoch_of_a_late_proxy_is_never_retired(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0], *late = &f.peers[1];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    join_current(&f, late);
    commit(&f);
    staged(&f, a);
    pass(&f, 2000);
    active(&f, a);
    expect("stage a 2<-1\nstage b 2<-1\nactivate a 2\n");
    pass(&f, 60000);
    expect("retire a 1\n");
    staged(&f, late);
    active(&f, late); /* now it may go there too */
    expect("activate b 2\nretire b 1\n");
    end(&f);
}

static void ninth_epoch_makes_room_first(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    for (int i = 0; i < 7; i++) {
        commit(&f);
        staged(&f, a);
        active(&f, a);
    }
    text_release(&f.log);
    commit(&f); /* 1 to 8 are held */
    expect("retire a 1\nstage a 9<-8\n");
    staged(&f, a);
    active(&f, a);
    expect("activate a 9\n");
    commit(&f);
    expect("retire a 2\nstage a 10<-9\n");
    end(&f);
}

static void ninth_epoch_spares_the_active_one(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0];
    (void)state;
    begin(&f, 10);
    holds(&f, a, 3, 10);
    a->hello.active = 3;
    join(&f, a);
    pass(&f, 2000);
    expect("activate a 10\n");
    commit(&f); /* 3 is still the active one, 10 is the base */
    expect("retire a 4\nstage a 11<-10\n");
    end(&f);
}

static void second_hello_of_a_node_ends_the_first_stream(void **state)
{
    struct fixture f;
    struct peer *first = &f.peers[0], *second = &f.peers[1];
    (void)state;
    begin(&f, 1);
    join_current(&f, first);
    holds(&f, second, 1, 1);
    second->hello.node = first->node;
    join(&f, second);
    expect("drop a\n");
    assert_null(first->x);
    assert_int_equal(push_counts(f.push).live, 1);
    commit(&f);
    expect("stage b 2<-1\n"); /* the stream's name in the log is the fixture's */
    end(&f);
}

static void limit_of_proxies_refuses_one_more_but_not_one_that_comes_again(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 1);
    push_free(f.push);
    f.options.proxies_max = 2;
    f.push = push_new(&f.options, &f.history);
    join_current(&f, &f.peers[0]);
    join_current(&f, &f.peers[1]);
    assert_null(push_join(f.push, &f.peers[2].hello, &f.peers[2], f.now));
    f.peers[3].hello.node = "a";
    join(&f, &f.peers[3]);
    leave(&f, &f.peers[3]);
    join(&f, &f.peers[2]);
    end(&f);
}

static void gone_proxies_are_listed_for_an_hour_and_not_too_many(void **state)
{
    struct fixture f;
    struct text list = {0};
    (void)state;
    begin(&f, 1);
    push_free(f.push);
    f.options.remembered_max = 2;
    f.push = push_new(&f.options, &f.history);
    for (int i = 0; i < 3; i++) {
        join_current(&f, &f.peers[i]);
        leave(&f, &f.peers[i]);
        pass(&f, 1000);
    }
    assert_int_equal(push_slowest(f.push), UINT64_MAX);
    push_list(f.push, true, false, f.now, &list);
    assert_null(strstr(list.p, "\"node\":\"a\""));
    assert_non_null(strstr(list.p, "\"node\":\"b\""));
    assert_non_null(strstr(list.p, "\"connected\":false"));
    text_release(&list);
    pass(&f, 3600000);
    push_list(f.push, false, false, f.now, &list);
    assert_string_equal(list.p, "0 proxies connected, 0 behind epoch 1\n");
    text_release(&list);
    end(&f);
}

static void answers_that_make_no_sense_change_nothing(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0];
    (void)state;
    begin(&f, 1);
    join_current(&f, a);
    commit(&f);
    expect("stage a 2<-1\n");
    push_on_ack(a->x, a->stage.nonce + 1, 2, PUSH_STAGED, 0, f.now);
    push_on_ack(a->x, a->stage.nonce, 3, PUSH_STAGED, 0, f.now);
    push_on_ack(a->x, 0, 2, PUSH_STAGED, 0, f.now);
    push_on_ack(a->x, a->stage.nonce, 2, PUSH_ACTIVE, 0, f.now); /* never told to */
    push_on_ack(a->x, a->stage.nonce, 1, PUSH_RETIRED, 0, f.now);
    push_on_ack(a->x, 0, 1, PUSH_RETIRED, 0, f.now);
    push_on_ack(a->x, a->stage.nonce, 2, (enum push_ack)77, 0, f.now);
    push_on_nack(a->x, a->stage.nonce + 9, 2, PUSH_STALE, STR("?"), f.now);
    push_on_nack(a->x, 0, 2, PUSH_STALE, STR("?"), f.now);
    expect("");
    assert_int_equal(push_counts(f.push).stale, 0);
    assert_int_equal(push_slowest(f.push), 1);
    staged(&f, a);
    staged(&f, a); /* twice */
    expect("activate a 2\n");
    active(&f, a);
    active(&f, a);
    push_on_nack(a->x, a->activate.nonce, 2, PUSH_STALE, STR("after all"), f.now);
    assert_int_equal(push_slowest(f.push), 2);
    expect("");
    end(&f);
}

/* Fails each allocation in turn; nothing may be lost for good. */
static void memory_that_is_out_delays_and_loses_nothing(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth < 40; nth++) {
        struct fixture f;
        struct peer *a = &f.peers[0], *b = &f.peers[1];
        begin(&f, 1);
        join_current(&f, a);
        struct snapshot *s = history_add(&f.history);
        mem_fail_nth(nth);
        push_commit(f.push, s, f.now);
        b->x = push_join(f.push, &b->hello, b, f.now);
        mem_fail_nth(0);
        if (!b->x)
            join(&f, b);
        pass(&f, 1000);
        assert_int_equal(a->stage.epoch, 2);
        assert_int_equal(b->stage.epoch, 2);
        staged(&f, a);
        staged(&f, b);
        active(&f, a);
        active(&f, b);
        assert_int_equal(push_slowest(f.push), 2);
        end(&f);
    }
}

static void list_has_every_text_escaped(void **state)
{
    struct fixture f;
    struct peer *a = &f.peers[0];
    struct text list = {0};
    (void)state;
    begin(&f, 1);
    a->hello.region = "eu \"west\"";
    a->hello.sidecar = true;
    a->hello.service = "cart";
    a->hello.environment = "main";
    join(&f, a);
    push_on_nack(a->x, a->stage.nonce, 1, PUSH_INVALID_GRAPH, STR("line 1\n\"two\""), f.now);
    push_list(f.push, true, false, f.now, &list);
    assert_non_null(strstr(list.p, "\"region\":\"eu \\\"west\\\"\""));
    assert_non_null(strstr(list.p, "\"role\":\"sidecar\""));
    assert_non_null(strstr(list.p, "\"service\":\"cart\",\"environment\":\"main\""));
    assert_non_null(
        strstr(list.p, "\"reason\":\"INVALID_GRAPH\",\"text\":\"line 1\\n\\\"two\\\"\""));
    text_release(&list);
    push_list(f.push, false, false, f.now, &list);
    assert_non_null(strstr(list.p, "refused epoch 1: INVALID_GRAPH: line 1?\"two\"\n"));
    text_release(&list);
    push_names_behind(f.push, 1, true, &list);
    assert_string_equal(list.p, "\"a\"");
    text_release(&list);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_difference_is_followed_by_the_whole_once),
        cmocka_unit_test(whole_after_a_refused_difference_brings_it_back),
        cmocka_unit_test(refused_whole_is_marked_and_not_tried_again),
        cmocka_unit_test(stale_is_seen_and_tried_again_with_the_next_epoch),
        cmocka_unit_test(refused_difference_as_stale_is_not_sent_whole),
        cmocka_unit_test(refused_activation_stages_the_whole_once),
        cmocka_unit_test(older_epochs_are_retired_a_minute_after_all_are_active),
        cmocka_unit_test(each_epoch_has_its_own_minute),
        cmocka_unit_test(active_epoch_of_a_late_proxy_is_never_retired),
        cmocka_unit_test(ninth_epoch_makes_room_first),
        cmocka_unit_test(ninth_epoch_spares_the_active_one),
        cmocka_unit_test(second_hello_of_a_node_ends_the_first_stream),
        cmocka_unit_test(limit_of_proxies_refuses_one_more_but_not_one_that_comes_again),
        cmocka_unit_test(gone_proxies_are_listed_for_an_hour_and_not_too_many),
        cmocka_unit_test(answers_that_make_no_sense_change_nothing),
        cmocka_unit_test(memory_that_is_out_delays_and_loses_nothing),
        cmocka_unit_test(list_has_every_text_escaped),
    };
    return unit_run(tests);
}
