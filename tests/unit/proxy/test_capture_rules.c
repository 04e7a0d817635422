/* What an agent may ask to be told of traffic: what is taken over, and every limit by one more. */
#include "proto/offshoot/v1/control.pb-c.h"
#include "proxy/capture.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <string.h>

#define SERVICES_MAX 256
#define PATHS_MAX    64
#define PATH_LEN     1024

typedef Offshoot__V1__CaptureRules pb_rules;
typedef Offshoot__V1__CaptureSession pb_session;

static uint8_t key[17] = {0x08, 7, 6, 5, 4, 3, 2, 0x01, 0x18, 0, 0, 0, 0, 0, 0, 0x11};
static char in_main[] = "main", in_trunk[] = "trunk", cart[] = "cart", shop[] = "shop",
            root[] = "/";
static pb_session sessions[CAPTURE_SESSIONS + 1], *list[CAPTURE_SESSIONS + 1];
static pb_rules rules;
static struct err e;

/* n good sessions of the baseline `main`, with ids from 1. */
static void set_up(unsigned n)
{
    offshoot__v1__capture_rules__init(&rules);
    rules.version = 5;
    rules.sessions = list;
    rules.n_sessions = n;
    rules.dark_key = (ProtobufCBinaryData){16, key};
    for (unsigned i = 0; i <= CAPTURE_SESSIONS; i++) {
        offshoot__v1__capture_session__init(&sessions[i]);
        list[i] = &sessions[i];
        sessions[i].id = i + 1;
        sessions[i].baseline = in_main;
        sessions[i].rate_ppm = 1000;
    }
    e = (struct err){0};
}

static struct capture_rules *parsed(void)
{
    size_t n = offshoot__v1__capture_rules__get_packed_size(&rules);
    uint8_t *bytes = mem_alloc(n + 1);
    assert_non_null(bytes);
    offshoot__v1__capture_rules__pack(&rules, bytes);
    struct capture_rules *r = capture_rules_parse(str_of((const char *)bytes, n), &e);
    mem_free(bytes);
    return r;
}

static void taken(void)
{
    struct capture_rules *r = parsed();
    if (!r)
        fail_msg("refused: %s", e.text);
    capture_rules_unref(r);
}

static void refused(const char *words)
{
    struct capture_rules *r = parsed();
    if (r)
        fail_msg("taken, although: %s", words);
    assert_true(e.code < 0);
    if (!strstr(e.text, words))
        fail_msg("\"%s\" does not say \"%s\"", e.text, words);
}

static void all_that_is_said_is_taken_over(void **state)
{
    (void)state;
    char api[] = "/api", *services[] = {cart, shop}, *paths[] = {api, root};
    set_up(2);
    sessions[0].services = services;
    sessions[0].n_services = 2;
    sessions[0].paths = paths;
    sessions[0].n_paths = 2;
    sessions[0].sample_seed = UINT64_MAX;
    sessions[0].unsafe_methods = 1;
    sessions[1].id = UINT64_MAX;
    sessions[1].baseline = in_trunk;
    sessions[1].rate_ppm = 1000000;
    sessions[1].refuse_missing = sessions[1].hops_only = 1;
    struct capture_rules *r = parsed();
    assert_non_null(r);
    assert_int_equal(r->version, 5);
    assert_int_equal(r->nrules, 2);
    assert_true(r->dark_seed == 0x0102030405060708u);
    assert_true(r->dark_xor == 0x1100000000000018u);
    assert_true(r->refuse_missing);
    const struct capture_rule *a = &r->rule[0], *b = &r->rule[1];
    assert_int_equal(a->id, 1);
    assert_str(a->baseline, "main");
    assert_int_equal(a->rate_ppm, 1000);
    assert_true(a->sample_seed == UINT64_MAX);
    assert_true(a->unsafe_methods && !a->refuse_missing && !a->hops_only);
    assert_int_equal(a->nservices, 2);
    assert_str(a->services[0], "cart");
    assert_str(a->services[1], "shop");
    assert_int_equal(a->npaths, 2);
    assert_str(a->paths[0], "/api");
    assert_str(a->paths[1], "/");
    assert_true(b->id == UINT64_MAX);
    assert_str(b->baseline, "trunk");
    assert_int_equal(b->rate_ppm, 1000000);
    assert_true(!b->unsafe_methods && b->refuse_missing && b->hops_only);
    assert_int_equal(b->nservices + b->npaths, 0);
    capture_rules_unref(r);
}

static void without_sessions_nothing_else_is_needed(void **state)
{
    (void)state;
    struct capture_rules *r = capture_rules_parse(str_of(NULL, 0), &e);
    assert_non_null(r);
    assert_int_equal(r->nrules, 0);
    assert_false(r->refuse_missing);
    capture_rules_unref(r);
    capture_rules_unref(NULL);
}

static void every_reference_keeps_them(void **state)
{
    (void)state;
    set_up(1);
    struct capture_rules *r = parsed();
    assert_non_null(r);
    r->refs++;
    capture_rules_unref(r);
    assert_str(r->rule[0].baseline, "main");
    capture_rules_unref(r);
    assert_int_equal(mem_live(), 0);
}

static void sessions_are_counted_and_told_apart(void **state)
{
    (void)state;
    set_up(CAPTURE_SESSIONS);
    taken();
    set_up(CAPTURE_SESSIONS + 1);
    refused("17 sessions, 16 may be told at a time");
    set_up(3);
    sessions[2].id = 1;
    refused("session 3: id 1 is that of session 1");
    set_up(2);
    sessions[1].id = 0;
    refused("session 2: id: 0 is none");
}

static void names_are_those_of_a_graph(void **state)
{
    (void)state;
    char large[] = "Cart", none[] = "", line[] = "main\n", *services[] = {shop, large};
    set_up(1);
    sessions[0].baseline = none;
    refused("session 1: baseline: not a name: ''");
    sessions[0].baseline = line;
    refused("session 1: baseline: not a name: 'main?'");
    set_up(2);
    sessions[1].services = services;
    sessions[1].n_services = 2;
    refused("session 2: service 2: not a name: 'Cart'");
}

static void rates_end_at_all(void **state)
{
    (void)state;
    set_up(1);
    sessions[0].rate_ppm = 1000001;
    refused("session 1: rate_ppm: 1000001 is above 1000000");
    sessions[0].rate_ppm = 0;
    taken();
}

static void the_dark_key_has_sixteen_bytes(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 17; n++) {
        set_up(1);
        rules.dark_key.len = n;
        if (n == 16)
            taken();
        else
            refused("dark_key: ");
    }
    assert_non_null(strstr(e.text, "17 bytes, not 16"));
}

static void lists_end_at_their_limits(void **state)
{
    (void)state;
    char *many[SERVICES_MAX + 1];
    set_up(1);
    for (size_t i = 0; i <= SERVICES_MAX; i++)
        many[i] = cart;
    sessions[0].services = many;
    sessions[0].n_services = SERVICES_MAX;
    taken();
    sessions[0].n_services++;
    refused("session 1: 257 services, 256 may be named");
    set_up(1);
    for (size_t i = 0; i <= PATHS_MAX; i++)
        many[i] = root;
    sessions[0].paths = many;
    sessions[0].n_paths = PATHS_MAX;
    taken();
    sessions[0].n_paths++;
    refused("session 1: 65 paths, 64 may be named");
}

static void paths_are_paths(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "api", "/a b", "/a\t", "/a?b", "/a#b", "/\x7f", "*"};
    char longest[PATH_LEN + 2], *path = longest;
    set_up(1);
    sessions[0].paths = &path;
    sessions[0].n_paths = 1;
    memset(longest, 'a', sizeof longest);
    longest[0] = '/';
    longest[PATH_LEN] = '\0';
    taken();
    longest[PATH_LEN] = 'a';
    longest[PATH_LEN + 1] = '\0';
    refused("session 1: path 1: 1025 bytes, 1024 are allowed");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(longest, sizeof longest, "%s", bad[i]);
        refused("session 1: path 1: not a path: '");
    }
}

static void bytes_that_are_no_message_are_refused(void **state)
{
    (void)state;
    e = (struct err){0};
    assert_null(capture_rules_parse(STR("\x12\x05\x08"), &e));
    assert_int_equal(e.code, -EBADMSG);
}

static void the_whole_ends_at_its_limit(void **state)
{
    (void)state;
    char *bytes = mem_zalloc(262145);
    assert_non_null(bytes);
    memcpy(bytes, "\x7a\xfc\xff\x0f", 4); /* field 15, unknown, with the 262,140 bytes behind */
    struct capture_rules *r = capture_rules_parse(str_of(bytes, 262144), &e);
    if (!r)
        fail_msg("refused: %s", e.text);
    capture_rules_unref(r);
    assert_null(capture_rules_parse(str_of(bytes, 262145), &e));
    assert_non_null(strstr(e.text, "262145 bytes, 262144 are allowed"));
    mem_free(bytes);
}

static void without_memory_nothing_is_taken_and_nothing_stays(void **state)
{
    (void)state;
    struct capture_rules *r = NULL;
    char *services[] = {cart};
    for (unsigned long n = 1; !r; n++) {
        set_up(2);
        sessions[1].services = services;
        sessions[1].n_services = 1;
        size_t size = offshoot__v1__capture_rules__get_packed_size(&rules);
        uint8_t bytes[256];
        assert_true(size < sizeof bytes);
        offshoot__v1__capture_rules__pack(&rules, bytes);
        mem_fail_nth(n);
        r = capture_rules_parse(str_of((const char *)bytes, size), &e);
        mem_fail_nth(0);
        if (!r)
            assert_int_equal(mem_live(), 0);
        assert_true(n < 100);
    }
    capture_rules_unref(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_is_said_is_taken_over),
        cmocka_unit_test(without_sessions_nothing_else_is_needed),
        cmocka_unit_test(every_reference_keeps_them),
        cmocka_unit_test(sessions_are_counted_and_told_apart),
        cmocka_unit_test(names_are_those_of_a_graph),
        cmocka_unit_test(rates_end_at_all),
        cmocka_unit_test(the_dark_key_has_sixteen_bytes),
        cmocka_unit_test(lists_end_at_their_limits),
        cmocka_unit_test(paths_are_paths),
        cmocka_unit_test(bytes_that_are_no_message_are_refused),
        cmocka_unit_test(the_whole_ends_at_its_limit),
        cmocka_unit_test(without_memory_nothing_is_taken_and_nothing_stays),
    };
    return unit_run(tests);
}
