#include "lib/net/grpc.h"

#include "tests/unit/net/grpc_fixture.h"

static void a_call_goes_there_and_back(void **state)
{
    struct fixture f;
    struct stat st;
    (void)state;
    set_up(&f);
    start_server(&f, NULL, NULL);
    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    start_client(&f);
    until(&f, f.messages == 1);
    assert_int_equal(f.ups, 1);
    assert_string_equal(f.last, "hello");
    assert_false(f.peer_tls);
    grpc_half_close(f.st);
    grpc_client_flush(f.client);
    until(&f, f.ends == 1 && f.server_ends == 1);
    assert_int_equal(f.status, GRPC_OK);
    assert_string_equal(f.text, "100 % \"done\"");
    assert_int_equal(f.server_status, GRPC_OK);
    assert_int_equal(grpc_server_counts(f.server).calls, 1);
    assert_int_equal(grpc_server_counts(f.server).connections_now, 1);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_goes_there_and_back),
    };
    return unit_run(tests);
}
