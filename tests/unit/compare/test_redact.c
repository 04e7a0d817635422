/* A canary secret planted wherever one can stand: it must be gone, and what is beside it must be
 * there. */
#include "lib/base/counters.h"
#include "lib/compare/redact.h"
#include "lib/compare/redact_int.h"
#include "tests/unit/unit.h"

#define MARK "[redacted:"

static struct redact *make(const char *const *names, size_t n, bool off)
{
    struct redact_options o = {.names = names, .nnames = n, .off = off, .key = "0123456789abcde"};
    struct err e = {0};
    struct redact *r = redact_new(&o, &e);
    assert_non_null(r);
    return r;
}

static int set_up(void **state)
{
    *state = make(NULL, 0, false);
    return 0;
}

static int tear_down(void **state)
{
    redact_free(*state);
    return 0;
}

/* The redacted text with each mark as "#". */
static const char *plain(struct text *t)
{
    static char room[4096];
    struct str rest = {t->p, t->n};
    char *to = room;
    while (rest.n) {
        assert_true(to < room + sizeof(room) - 1);
        if (str_starts(rest, STR(MARK))) {
            *to++ = '#';
            rest = str_from(rest, sizeof(MARK) - 1 + 8 + 1);
            assert_int_equal(rest.p[-1], ']');
        } else {
            *to++ = rest.p[0];
            rest = str_from(rest, 1);
        }
    }
    *to = '\0';
    return room;
}

/* want: NULL: stays as it is. */
static void judge(struct text *t, bool said, const char *in, const char *want)
{
    assert_int_equal(t->failed, 0);
    if (strcmp(plain(t), want ? want : in) != 0)
        fail_msg("of '%s' have '%s', want '%s'", in, plain(t), want ? want : in);
    assert_int_equal(said, want != NULL);
    text_release(t);
}

static void text(const struct redact *r, const char *in, const char *want)
{
    struct text t = {0};
    bool found = redact_finds(r, str_c(in));
    assert_int_equal(found, want != NULL);
    judge(&t, redact_text(r, str_c(in), &t), in, want);
}

static void body(const struct redact *r, const char *type, const char *in, const char *want)
{
    struct text t = {0};
    judge(&t, redact_body(r, str_c(type), NULL, str_c(in), &t), in, want);
}

static void field(const struct redact *r, const char *name, const char *in, const char *want)
{
    struct text t = {0};
    judge(&t, redact_field(r, str_c(name), str_c(in), &t), in, want);
}

static void path(const struct redact *r, const char *in, const char *want)
{
    struct text t = {0};
    judge(&t, redact_path(r, str_c(in), &t), in, want);
}

#define JWT "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"

static void names_of_secrets_are_known_in_any_spelling(void **state)
{
    const struct redact *r = *state;
    const char *secret[] = {"password", "Password", "user_password", "userPassword", "passwd",
        "db-passwd", "client_secret", "access_token", "accessToken", "X-Auth-Token",
        "authorization", "Cookie", "set-cookie", "api_key", "apiKey", "X-API-Key", "session",
        "sessionId", "PHPSESSID", "card_number", "cardNumber", "credit-card", "cvv", "cvc", "pin",
        "userPin", "ssn", "iban", "csrf_token", "private.key", "jwt", "auth", "otp", "pwd",
        "credentials", "passphrase"};
    const char *open[] = {"", "id", "name", "price", "author", "shipping", "pinned", "opinion",
        "passenger", "compass", "status", "body", "header", "value", "form", "message", "text",
        "bytes", "items", "spin", "auth0r", "company", "panel", "resident"};
    for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++)
        if (!redact_name(r, str_c(secret[i])))
            fail_msg("'%s' is a secret", secret[i]);
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
        if (redact_name(r, str_c(open[i])))
            fail_msg("'%s' is none", open[i]);
}

static void names_of_the_session_count_too(void **state)
{
    (void)state;
    const char *names[] = {"Loyalty-Number", "\xc3\xa4pfel"};
    struct redact *r = make(names, 2, false);
    assert_true(redact_name(r, STR("loyalty_number")));
    assert_true(redact_name(r, STR("myLoyaltyNumber")));
    assert_true(redact_name(r, STR("\xc3\xa4pfel")));
    assert_false(redact_name(r, STR("loyalty")));
    redact_free(r);
}

static void bad_names_are_refused(void **state)
{
    (void)state;
    struct err e = {0};
    const char *names[] = {"--"};
    struct redact_options o = {.names = names, .nnames = 1};
    assert_null(redact_new(&o, &e));
    assert_string_equal(e.text, "no letter or digit in the name to redact '--'");
    char longest[130];
    memset(longest, 'x', 129);
    longest[129] = '\0';
    names[0] = longest;
    assert_null(redact_new(&o, &e));
    assert_non_null(strstr(e.text, "more than 128 bytes in the name"));
    const char *many[1001];
    for (size_t i = 0; i < 1001; i++)
        many[i] = "x";
    o = (struct redact_options){.names = many, .nnames = 1001};
    assert_null(redact_new(&o, &e));
    for (unsigned long n = 1; n <= 4; n++) {
        o.nnames = 2;
        mem_fail_nth(n);
        assert_null(redact_new(&o, &e));
        mem_fail_nth(0);
        assert_int_equal(e.code, -12);
    }
}

static void equal_secrets_look_equal_by_one_key(void **state)
{
    const struct redact *r = *state;
    struct redact_options o = {.key = "another key...."};
    struct err e;
    struct redact *other = redact_new(&o, &e);
    struct text a = {0}, b = {0}, c = {0}, d = {0};
    redact_value(r, STR("token"), STR("canary"), &a);
    redact_value(r, STR("password"), STR("canary"), &b);
    redact_value(r, STR("token"), STR("canarz"), &c);
    redact_value(other, STR("token"), STR("canary"), &d);
    assert_string_equal(a.p, b.p);
    assert_string_not_equal(a.p, c.p);
    assert_string_not_equal(a.p, d.p);
    /* SHA-256 of key and secret, by another program */
    assert_string_equal(a.p, "[redacted:50e62c8d]");
    text_release(&a);
    text_release(&b);
    text_release(&c);
    text_release(&d);
    redact_free(other);
}

static void patterns_are_found_anywhere(void **state)
{
    const struct redact *r = *state;
    text(r, "see " JWT ", please", "see #, please");
    text(r, "eyJ-eyJhbGciOiJ and id-" JWT " eyJ." JWT, "eyJ-eyJhbGciOiJ and id-# eyJ.#");
    text(r, "Bearer abcdef123456", "Bearer #");
    text(r, "it says bearer  AbCdEfGhIjKlMnOpQrStUv and", "it says bearer  # and");
    text(r, "Basic dXNlcjpwYXNz", "Basic #");
    text(r, "Basic information and bearer share", NULL);
    text(r, "joe.doe+x@mail.example.com.", "#.");
    text(r, "a@b", NULL);
    text(r, "@example.com", NULL);
    text(r, "pay 4111 1111 1111 1111 now", "pay # now");
    text(r, "4111-1111-1111-1111", "#");
    text(r, "x5500005555555559", "x#");
    text(r, "4111111111111112", NULL);
    text(r, "41111111111111111111", NULL);
    text(r, "1700000000000000", NULL);
    text(r, "-----BEGIN RSA PRIVATE KEY-----\nMIIC\n-----END RSA PRIVATE KEY-----\nx", "#\nx");
    text(r, "a -----BEGIN EC PRIVATE KEY-----\nMIIC", "a #");
    text(r, "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----", NULL);
    text(r, "AKIAIOSFODNN7EXAMPLE", "#");
    text(r, "ghp_0123456789abcdefghij0123", "#");
    text(r, "sk_live_0123456789ab", "#");
    text(r, "-- dashes --- and ---- more -----", NULL);
    text(r, "", NULL);
}

static void values_of_secret_names_are_found_in_text(void **state)
{
    const struct redact *r = *state;
    text(r, "login password=canary&x=1", "login password=#&x=1");
    text(r, "password: canary, x: 1", "password: #, x: 1");
    text(r, "{\"password\": \"can ary\", \"x\": 1", "{\"password\": \"#\", \"x\": 1");
    text(r, "{\\\"token\\\":\\\"canary\\\",\\\"x\\\":1}", "{\\\"token\\\":\\\"#\\\",\\\"x\\\":1}");
    text(r, "<password>canary</password><x>1</x>", "<password>#</password><x>1</x>");
    text(r, "<a token=\"canary\" x='1'>", "<a token=\"#\" x='1'>");
    text(r, "user[password]=canary&x=1", "user[password]=#&x=1");
    text(r, "https://joe:canary@host/x?y=1", "https://joe:#@host/x?y=1");
    text(r, "https://host:80/x@y", NULL);
    text(r, "Cookie: a=canary; b=canary\r\nX: 1", "Cookie: #\r\nX: 1");
    text(r, "Authorization: Digest a=canary, b\nX: 1", "Authorization: #\nX: 1");
    text(r, "\"pin\":1234,\"x\":12", "\"pin\":#,\"x\":12");
    text(r, "password: null, token: \"\", secret: {\"x\":1}", NULL);
    text(r, "\"password\":{\"pin\":1,\"x\":2}", "\"password\":{\"pin\":#,\"x\":2}");
}

static void secrets_behind_an_encoding_are_found(void **state)
{
    const struct redact *r = *state;
    text(r, "go to /x?m=joe%40example.com&y=1", "go to /x?m=#&y=1");
    text(r, "joe%2540example.com", "#");
    text(r, "joe%252540example.com x", "# x");
    text(r, "joe\\u0040example.com x", "# x");
    text(r, "x%26token%3Dcanary y", "# y");
    text(r, "100%25 and 5%, %zz", NULL);
    text(r, "4111%201111%201111%201111", "#");
}

static void json_by_names_at_any_depth_and_by_patterns(void **state)
{
    const struct redact *r = *state;
    const char *type = "application/json";
    body(r, type, "{ \"password\" : \"canary\" , \"x\" : [1, 2.50 ] }",
        "{ \"password\" : \"#\" , \"x\" : [1, 2.50 ] }");
    body(r, type, "{\"a\":[{\"b\":{\"token\":\"canary\",\"x\":1}}]}",
        "{\"a\":[{\"b\":{\"token\":\"#\",\"x\":1}}]}");
    body(r, type, "{\"tokens\":[\"canary\",{\"x\":12,\"y\":null,\"z\":\"\"}],\"x\":\"y\"}",
        "{\"tokens\":[\"#\",{\"x\":\"#\",\"y\":null,\"z\":\"\"}],\"x\":\"y\"}");
    body(r, type, "{\"pass\\u0077ord\":\"canary\"}", "{\"pass\\u0077ord\":\"#\"}");
    body(r, type, "{\"x\":\"joe\\u0040example.com\"}", "{\"x\":\"#\"}");
    body(r, type, "{\"joe@example.com\":1}", "{\"#\":1}");
    body(r, type, "{\"x\":4111111111111111}", "{\"x\":\"#\"}");
    body(r, type, "{\"x\":\"a \\\"token\\\":\\\"canary\\\"\"}",
        "{\"x\":\"a \\\"token\\\":\\\"#\\\"\"}");
    body(r, type, "{\"x\":1,\"password\":\"canary\",\"password\":\"canary\"}",
        "{\"x\":1,\"password\":\"#\",\"password\":\"#\"}");
    body(r, type, "[\"" JWT "\"]\n", "[\"#\"]\n");
    body(r, type, "{\"x\":\"\\ud83d\\ude00\",\"y\":[]}", NULL);
    /* what is no JSON is text */
    body(r, type, "{\"password\":\"canary\"", "{\"password\":\"#\"");
    body(r, "text/plain", "{\"password\":{\"x\":\"canary\"}}", "{\"password\":{\"x\":\"#\"}}");
    body(r, "application/x-ndjson", "{\"pin\":[1]}\n{\"x\":1}\njoe@example.com\n",
        "{\"pin\":[\"#\"]}\n{\"x\":1}\n#\n");
}

static void json_that_is_too_deep_is_text(void **state)
{
    const struct redact *r = *state;
    char deep[700];
    memset(deep, '[', 300);
    strcpy(deep + 300, "{\"password\":\"canary\"}");
    struct text t = {0};
    assert_true(redact_body(r, STR("application/json"), NULL, str_c(deep), &t));
    assert_null(strstr(t.p, "canary"));
    assert_non_null(strstr(t.p, "\"password\":\"[redacted:"));
    text_release(&t);
}

static void forms_by_their_decoded_names(void **state)
{
    const struct redact *r = *state;
    const char *type = "application/x-www-form-urlencoded";
    body(r, type, "a=1&password=canary&b=2", "a=1&password=#&b=2");
    body(r, type, "pass%77ord=can%61ry&b", "pass%77ord=#&b");
    body(r, type, "user%5Bpassword%5D=canary", "user%5Bpassword%5D=#");
    body(r, type, "m=joe%40example.com+x", "m=#+x");
    body(r, type, "joe%40example.com=1", "#=1");
    body(r, type, "j=%7B%22token%22%3A%22canary%22%7D", "j={%22token%22:%22#%22}");
    body(r, type, "a=1&&b=&token=", NULL);
    body(r, type, "a=1&&", NULL);
}

static void multipart_by_the_names_of_its_parts(void **state)
{
    const struct redact *r = *state;
#define HEAD(name) "--XX\r\nContent-Disposition: form-data; name=\"" name "\"\r\n"
    body(r, "multipart/form-data; boundary=XX",
        HEAD("a") "\r\n1\r\n" HEAD("password") "\r\ncanary\r\n" HEAD(
            "j") "Content-Type: application/json\r\n\r\n{\"token\":\"canary\"}\r\n--XX--\r\n",
        HEAD("a") "\r\n1\r\n" HEAD("password") "\r\n#\r\n" HEAD(
            "j") "Content-Type: application/json\r\n\r\n{\"token\":\"#\"}\r\n--XX--\r\n");
    /* cut, or without its boundary: all of it goes */
    body(r, "multipart/form-data", "x=1", "#");
    body(r, "multipart/form-data; boundary=XX", HEAD("password") "\r\ncanary", "#");
}

static void fields_keep_what_is_no_secret(void **state)
{
    const struct redact *r = *state;
    field(r, "authorization", "Bearer canary", "Bearer #");
    field(r, "Authorization", "canary", "#");
    field(r, "proxy-authorization", "Basic canary", "Basic #");
    field(r, "cookie", "a=canary; b=canary;c", "a=#; b=#; #");
    field(r, "set-cookie", "a=canary; Path=/; HttpOnly", "a=#; Path=/; HttpOnly");
    field(r, "set-cookie", "a=; Path=/", NULL);
    field(r, "x-api-key", "canary", "#");
    field(r, "location", "/x?token=canary&y=1", "/x?token=#&y=1");
    field(r, "etag", "\"abc\"", NULL);
}

static void paths_keep_their_shape(void **state)
{
    const struct redact *r = *state;
    path(r, "/a/b?x=1&token=canary#top", "/a/b?x=1&token=##top");
    path(r, "/users/joe@example.com/x", "/users/#/x");
    path(r, "/users/joe%40example.com", "#");
    path(r, "/a;jsessionid=canary?x", "/a;jsessionid=#?x");
    path(r, "/x?a=%74&acc%65ss_token=c%61nary", "/x?a=%74&acc%65ss_token=#");
    path(r, "/a?b#c?d", NULL);
    path(r, "", NULL);
}

static void bytes_are_dropped_whole_when_there_is_something(void **state)
{
    const struct redact *r = *state;
    body(r, "application/octet-stream", "\xff token=canary", "#");
    body(r, "application/octet-stream", "\xff\x01 nothing", NULL);
}

static void off_leaves_everything(void **state)
{
    (void)state;
    struct redact *r = make(NULL, 0, true);
    assert_false(redact_name(r, STR("password")));
    field(r, "authorization", "Bearer canary", NULL);
    body(r, "application/json", "{\"password\":\"canary\"}", NULL);
    path(r, "/?token=canary", NULL);
    text(r, JWT, NULL);
    redact_free(r);
    field(NULL, "cookie", "a=canary", NULL);
}

static void memory_that_runs_out_lets_nothing_through(void **state)
{
    const struct redact *r = *state;
    static const struct {
        const char *type, *body;
    } bodies[] = {{"application/json", "{\"password\":\"canary\",\"x\":\"joe@example.com\"}"},
        {"application/x-www-form-urlencoded", "p%61ssword=canary&m=joe%40canary.example"},
        {"text/plain", "joe%40canary.example and password=canary"}};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        int failed = 0;
        for (unsigned long n = 1; n < 50; n++) {
            struct text t = {0};
            mem_fail_nth(n);
            redact_body(r, str_c(bodies[i].type), NULL, str_c(bodies[i].body), &t);
            unsigned long made = mem_count();
            mem_fail_nth(0);
            failed += t.failed != 0;
            assert_true(t.failed || !t.p || !strstr(t.p, "canary"));
            text_release(&t);
            if (made < n)
                break;
            assert_true(n < 49);
        }
        assert_true(failed > 0);
    }
}

#define with_redact(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_redact(names_of_secrets_are_known_in_any_spelling),
        cmocka_unit_test(names_of_the_session_count_too),
        cmocka_unit_test(bad_names_are_refused),
        with_redact(equal_secrets_look_equal_by_one_key),
        with_redact(patterns_are_found_anywhere),
        with_redact(values_of_secret_names_are_found_in_text),
        with_redact(secrets_behind_an_encoding_are_found),
        with_redact(json_by_names_at_any_depth_and_by_patterns),
        with_redact(json_that_is_too_deep_is_text),
        with_redact(forms_by_their_decoded_names),
        with_redact(multipart_by_the_names_of_its_parts),
        with_redact(fields_keep_what_is_no_secret),
        with_redact(paths_keep_their_shape),
        with_redact(bytes_are_dropped_whole_when_there_is_something),
        cmocka_unit_test(off_leaves_everything),
        with_redact(memory_that_runs_out_lets_nothing_through),
    };
    return unit_run(tests);
}
