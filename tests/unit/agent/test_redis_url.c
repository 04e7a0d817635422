/* Where Redis is, and where it sends us. */
#include "agent/redis_url.h"
#include "tests/unit/unit.h"
#include <errno.h>

static void addresses_are_taken_apart(void **state)
{
    static const struct {
        const char *text, *target, *user;
        uint32_t db;
    } good[] = {{"redis://10.0.0.1:7000", "10.0.0.1:7000", "", 0},
        {"redis://cache", "cache:6379", "", 0}, {"redis://cache/", "cache:6379", "", 0},
        {"redis://me@cache:1/3", "cache:1", "me", 3}, {"redis://[::1]/2", "[::1]:6379", "", 2},
        {"redis://a@b@[fd00::1]:5", "[fd00::1]:5", "a@b", 0},
        {"unix:/run/redis.sock", "unix:/run/redis.sock", "", 0},
        {"unix:///run/redis.sock", "unix:/run/redis.sock", "", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        struct redis_url u;
        struct err e = {0};
        if (redis_url_parse(str_c(good[i].text), &u, &e))
            fail_msg("%s: %s", good[i].text, e.text);
        assert_string_equal(u.target, good[i].target);
        assert_string_equal(u.user, good[i].user);
        assert_int_equal(u.db, good[i].db);
    }
}

static void what_is_wrong_is_told_and_a_password_never(void **state)
{
    static const char *const bad[][2] = {{"", "want redis://"}, {"http://x", "want redis://"},
        {"redis://", "want redis://"}, {"rediss://x", "TLS"}, {"redis://x:0", "port"},
        {"redis://x:99999", "port"}, {"redis://x/a", "database"}, {"redis://x/65536", "database"},
        {"redis://me:secret@x", "file"}, {"redis://:secret@x", "file"}, {"redis://@x", "user"},
        {"unix:relative", "path"}, {"unix:", "path"}, {"redis://127.1", "IPv4"}};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct redis_url u = {.db = 9};
        struct err e = {0};
        assert_int_equal(redis_url_parse(str_c(bad[i][0]), &u, &e), -EINVAL);
        if (!strstr(e.text, bad[i][1]))
            fail_msg("%s: '%s' lacks '%s'", bad[i][0], e.text, bad[i][1]);
        assert_null(strstr(e.text, "secret"));
        assert_int_equal(u.db, 9);
    }
}

static void redirections_are_taken_apart(void **state)
{
    static const char *const good[][2] = {{"MOVED 3999 10.0.0.2:6381", "10.0.0.2:6381"},
        {"ASK 3999 ::1:6381", "[::1]:6381"}, {"MOVED 1 :7001", "10.9.9.9:7001"},
        {"MOVED 1 ?:7001", "10.9.9.9:7001"}, {"MOVED 1 node-b:7001", "node-b:7001"},
        {"MOVED 1 10.0.0.2:7001 more", "10.0.0.2:7001"}};
    static const char *const bad[] = {"MOVED", "MOVED 1", "MOVED 1 ", "MOVED 1 x",
        "MOVED 1 x:", "MOVED 1 x:0", "MOVED 1 a b:1", "MOVED 1 unix:/x:1"};
    char target[ADDR_TEXT_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(redis_redirect_parse(str_c(good[i][0]), "10.9.9.9:7000", target), 0);
        assert_string_equal(target, good[i][1]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (redis_redirect_parse(str_c(bad[i]), "10.9.9.9:7000", target) == 0)
            fail_msg("%s: %s", bad[i], target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(what_is_wrong_is_told_and_a_password_never),
        cmocka_unit_test(redirections_are_taken_apart)};
    return unit_run(tests);
}
