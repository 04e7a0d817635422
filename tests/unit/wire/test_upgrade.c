/* Offers of Upgrade, what a 101 takes of them, and the WebSocket handshake's proof. */
#include "lib/wire/upgrade.h"
#include "tests/unit/unit.h"
#include <errno.h>

static struct field fields[4];
static char offer[UPGRADE_OFFER_MAX];

static struct field field(const char *name, const char *value)
{
    return (struct field){.name = name,
        .name_len = (uint16_t)strlen(name),
        .value = value,
        .value_len = (uint32_t)strlen(value),
        .id = (uint8_t)field_id(name, strlen(name))};
}

static void assert_offer(const char *first, const char *second, const char *want)
{
    fields[0] = field("upgrade", first);
    fields[1] = field("x-upgrade", "other");
    fields[2] = field("upgrade", second);
    int n = upgrade_offer(fields, 3, offer);
    if (!want)
        assert_int_equal(n, -EINVAL);
    else
        assert_str(str_of(offer, (size_t)n), want);
}

static void all_fields_are_one_list(void **state)
{
    (void)state;
    assert_offer("websocket", "", "websocket");
    assert_offer("WebSocket ,, foo/2", "SPDY/3.1", "WebSocket, foo/2, SPDY/3.1");
    assert_offer("", " , ", "");
}

static void what_would_be_http_again_is_no_offer(void **state)
{
    (void)state;
    assert_offer("h2c", "", "");
    assert_offer("H2C", "h2", "");
    assert_offer("HTTP/2.0", "TLS/1.0, h2c/1", "");
    assert_offer("h2c, websocket", "h3", "websocket");
    assert_offer("h2cx", "", "h2cx");
}

static void what_is_no_list_of_tokens_is_refused(void **state)
{
    (void)state;
    assert_offer("web socket", "", NULL);
    assert_offer("websocket;q=1", "", NULL);
    assert_offer("websocket/", "", NULL);
    assert_offer("/1", "", NULL);
    assert_offer("a/b/c", "", NULL);
    assert_offer("\"websocket\"", "", NULL);
    assert_offer("websocket", "h2c\x0b", NULL);
}

static void an_offer_is_bounded(void **state)
{
    (void)state;
    char name[UPGRADE_OFFER_MAX];
    memset(name, 'a', sizeof name);
    name[UPGRADE_OFFER_MAX - 2] = '\0';
    assert_offer(name, "", name);
    assert_offer(name, "b", NULL);
    name[UPGRADE_OFFER_MAX - 2] = 'a';
    name[UPGRADE_OFFER_MAX - 1] = '\0';
    assert_offer(name, "", NULL);
}

static struct str taken(const char *of, const char *first, const char *second)
{
    fields[0] = field("upgrade", first);
    fields[1] = field("upgrade", second ? second : "");
    return upgrade_taken(str_c(of), fields, second ? 2 : 1);
}

static void a_101_takes_one_protocol_that_was_offered(void **state)
{
    (void)state;
    assert_str(taken("websocket", "websocket", NULL), "websocket");
    assert_str(taken("foo/2, websocket", "WebSocket", NULL), "WebSocket");
    assert_str(taken("foo/2, websocket", "foo/2", NULL), "foo/2");
    assert_str(taken("foo/2, websocket", "foo", NULL), "");
    assert_str(taken("websocket", "h2c", NULL), "");
    assert_str(taken("websocket", "", NULL), "");
    assert_str(taken("websocket, foo", "websocket, foo", NULL), "");
    assert_str(taken("websocket", "websocket", "websocket"), "");
    assert_str(upgrade_taken(STR("websocket"), fields, 0), "");
}

static void the_example_of_rfc_6455(void **state)
{
    (void)state;
    char out[WEBSOCKET_ACCEPT_LEN], key[WEBSOCKET_KEY_BYTES];
    assert_true(websocket_accept(STR("dGhlIHNhbXBsZSBub25jZQ=="), out));
    assert_str(str_of(out, sizeof out), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_false(websocket_accept(STR(""), out));
    websocket_key((const unsigned char *)"the sample nonce", key);
    assert_str(str_of(key, sizeof key), "dGhlIHNhbXBsZSBub25jZQ==");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_fields_are_one_list),
        cmocka_unit_test(what_would_be_http_again_is_no_offer),
        cmocka_unit_test(what_is_no_list_of_tokens_is_refused),
        cmocka_unit_test(an_offer_is_bounded),
        cmocka_unit_test(a_101_takes_one_protocol_that_was_offered),
        cmocka_unit_test(the_example_of_rfc_6455),
    };
    return unit_run(tests);
}
