#include "tests/unit/graph/request.h"

#include "lib/graph/snapshot.h"
#include <errno.h>

/* The path as it is compared, or "climbs". */
static const char *normal(const char *path)
{
    static char out[512];
    long n = path_normalise(str_c(path), out);
    if (n < 0)
        return "climbs";
    assert_in_range(n, 0, strlen(path));
    out[n] = '\0';
    return out;
}

static void decodes_unreserved_characters_only(void **state)
{
    (void)state;
    assert_string_equal(normal("/%61%2d%2E%5f%7E%30%5A"), "/a-._~0Z");
    assert_string_equal(normal("/a%2fb%2F"), "/a%2Fb%2F");
    assert_string_equal(normal("/%e4%C3%00%20%25"), "/%E4%C3%00%20%25");
    assert_string_equal(normal("/%"), "/%");
    assert_string_equal(normal("/%4"), "/%4");
    assert_string_equal(normal("/%zz%4g"), "/%zz%4g");
    assert_string_equal(normal("/%2561"), "/%2561");
    /* a broken escape leaves its segment alone, and no other */
    assert_string_equal(normal("/%%3461/%61"), "/%%3461/a");
    assert_string_equal(normal("/%61%/%2e%2e/%61"), "/a");
}

static void removes_dot_segments(void **state)
{
    (void)state;
    assert_string_equal(normal("/a/./b"), "/a/b");
    assert_string_equal(normal("/a/../b"), "/b");
    assert_string_equal(normal("/a/b/../../c"), "/c");
    assert_string_equal(normal("/a/."), "/a/");
    assert_string_equal(normal("/a/.."), "/");
    assert_string_equal(normal("/a/b/.."), "/a/");
    assert_string_equal(normal("/."), "/");
    assert_string_equal(normal("/a/%2e%2E/b"), "/b");
    assert_string_equal(normal("/a/.%2e"), "/");
    assert_string_equal(normal("/..a/...//b."), "/..a/...//b.");
    assert_string_equal(normal("/a%2F../b"), "/a%2F../b");
}

static void keeps_duplicate_slashes(void **state)
{
    (void)state;
    assert_string_equal(normal("//a///b//"), "//a///b//");
    assert_string_equal(normal("/a//../b"), "/a/b");
}

static void says_when_the_path_climbs_above_the_root(void **state)
{
    (void)state;
    assert_string_equal(normal("/.."), "climbs");
    assert_string_equal(normal("/../a"), "climbs");
    assert_string_equal(normal("/a/../.."), "climbs");
    assert_string_equal(normal("/%2e%2e/a"), "climbs");
    assert_string_equal(normal("/a/./../../b"), "climbs");
}

static void cuts_query_and_fragment_first(void **state)
{
    (void)state;
    assert_string_equal(normal("/a?/../.."), "/a");
    assert_string_equal(normal("/a#/../.."), "/a");
    assert_string_equal(normal("/a#b?c"), "/a");
    assert_string_equal(normal("*"), "*");
    assert_string_equal(normal(""), "");
}

/* ---- routes ---- */

/* Number of the service, or a negative errno. */
static int picked(const struct gateway *g, const char *authority, const char *path)
{
    struct route r = {.service = 999};
    int failed = route_pick(g, NULL, str_c(authority), str_c(path), &r);
    if (failed) {
        assert_int_equal(r.service, 999);
        return failed;
    }
    assert_int_equal(r.by, ROUTE_GATEWAY);
    return (int)r.service;
}

static void the_longest_prefix_on_whole_segments_wins(void **state)
{
    (void)state;
    struct gateway_text t;
    gateway_text_init(&t, NULL);
    gateway_route(&t, "", "/api", "s1");
    gateway_route(&t, "", "/api/cart/", "s2");
    gateway_route(&t, "", "/", "s3");
    struct gateway *g = gateway_build(&t);
    assert_int_equal(picked(g, "x", "/api"), 1);
    assert_int_equal(picked(g, "x", "/api/"), 1);
    assert_int_equal(picked(g, "x", "/api?x=/api/cart"), 1);
    assert_int_equal(picked(g, "x", "/api/x/y/z"), 1);
    assert_int_equal(picked(g, "x", "/apix"), 3);
    assert_int_equal(picked(g, "x", "/api/cart"), 2);
    assert_int_equal(picked(g, "x", "/api/cart/1"), 2);
    assert_int_equal(picked(g, "x", "/api/carts"), 1);
    assert_int_equal(picked(g, "x", "//api"), 3);
    assert_int_equal(picked(g, "x", "/"), 3);
    assert_int_equal(picked(g, "", "/"), 3);
    gateway_unref(g);
}

static void compares_the_normal_form(void **state)
{
    (void)state;
    struct gateway_text t;
    gateway_text_init(&t, NULL);
    gateway_route(&t, "", "/api/ca%72t", "s1");
    gateway_route(&t, "", "/a%2fb", "s2");
    struct gateway *g = gateway_build(&t);
    assert_int_equal(picked(g, "x", "/api/cart"), 1);
    assert_int_equal(picked(g, "x", "/x/../api/./c%61rt/y"), 1);
    assert_int_equal(picked(g, "x", "/a%2Fb"), 2);
    assert_int_equal(picked(g, "x", "/a/b"), -ENOENT);
    assert_int_equal(picked(g, "x", "/api/cart/.."), -ENOENT);
    gateway_unref(g);
}

static void an_exact_host_beats_a_suffix_beats_none(void **state)
{
    (void)state;
    struct gateway_text t;
    gateway_text_init(&t, NULL);
    gateway_route(&t, "", "/api/deep/er", "s1");
    gateway_route(&t, "*.example.com", "/api/deep", "s2");
    gateway_route(&t, "*.shop.example.com", "/api", "s3");
    gateway_route(&t, "a.shop.example.com", "/", "s4");
    struct gateway *g = gateway_build(&t);
    const char *deep = "/api/deep/er";
    assert_int_equal(picked(g, "a.shop.example.com", deep), 4);
    assert_int_equal(picked(g, "b.shop.example.com", deep), 3);
    assert_int_equal(picked(g, "c.b.shop.example.com", deep), 3);
    assert_int_equal(picked(g, "b.example.com", deep), 2);
    assert_int_equal(picked(g, "shop.example.com", deep), 2);
    assert_int_equal(picked(g, "example.com", deep), 1);
    assert_int_equal(picked(g, "xexample.com", deep), 1);
    assert_int_equal(picked(g, ".example.com", deep), 1);
    gateway_unref(g);
}

static void a_host_without_a_fitting_path_leaves_it_to_the_next(void **state)
{
    (void)state;
    struct gateway_text t;
    gateway_text_init(&t, NULL);
    gateway_route(&t, "a.shop.example.com", "/a", "s1");
    gateway_route(&t, "*.shop.example.com", "/b", "s2");
    gateway_route(&t, "*.example.com", "/c", "s3");
    gateway_route(&t, "", "/d", "s4");
    struct gateway *g = gateway_build(&t);
    assert_int_equal(picked(g, "a.shop.example.com", "/a"), 1);
    assert_int_equal(picked(g, "a.shop.example.com", "/b"), 2);
    assert_int_equal(picked(g, "a.shop.example.com", "/c"), 3);
    assert_int_equal(picked(g, "a.shop.example.com", "/d"), 4);
    assert_int_equal(picked(g, "a.shop.example.com", "/e"), -ENOENT);
    gateway_unref(g);
}

static void compares_hosts_without_case_port_and_one_trailing_dot(void **state)
{
    (void)state;
    struct gateway_text t;
    gateway_text_init(&t, NULL);
    gateway_route(&t, "shop.example.com", "/", "s1");
    gateway_route(&t, "[2001:db8::a]", "/", "s2");
    gateway_route(&t, "*.preview.example.com", "/", "s3");
    struct gateway *g = gateway_build(&t);
    assert_int_equal(picked(g, "SHOP.Example.COM", "/"), 1);
    assert_int_equal(picked(g, "shop.example.com.", "/"), 1);
    assert_int_equal(picked(g, "shop.example.com:8080", "/"), 1);
    assert_int_equal(picked(g, "shop.example.com.:8080", "/"), 1);
    assert_int_equal(picked(g, "shop.example.com..", "/"), -ENOENT);
    assert_int_equal(picked(g, "[2001:DB8::A]", "/"), 2);
    assert_int_equal(picked(g, "[2001:db8::a]:443", "/"), 2);
    assert_int_equal(picked(g, "[2001:db8::b]:443", "/"), -ENOENT);
    assert_int_equal(picked(g, "X.Preview.example.com.:1", "/"), 3);
    assert_int_equal(picked(g, "shop@example.com", "/"), -ENOENT);
    gateway_unref(g);
}

static void lowers_letters_and_nothing_else(void **state)
{
    (void)state;
    struct gateway_text t;
    gateway_text_init(&t, NULL);
    gateway_route(&t, "az-09_.az", "/", "s1");
    struct gateway *g = gateway_build(&t);
    assert_int_equal(picked(g, "AZ-09_.AZ", "/"), 1);
    /* the neighbours of 'A' and 'Z', and bytes above 127, are not letters */
    assert_int_equal(picked(g, "az-09\x7f.az", "/"), -ENOENT);
    assert_int_equal(picked(g, "`z-09_.az", "/"), -ENOENT);
    assert_int_equal(picked(g, "\xc1z-09_.az", "/"), -ENOENT);
    gateway_unref(g);
}

static void a_host_of_255_bytes_is_compared_and_a_longer_one_equals_none(void **state)
{
    (void)state;
    char host[300];
    memset(host, 'a', sizeof(host));
    host[255] = '\0';
    struct gateway_text t;
    gateway_text_init(&t, NULL);
    gateway_route(&t, host, "/", "s1");
    struct gateway *g = gateway_build(&t);
    assert_int_equal(picked(g, host, "/"), 1);
    host[255] = 'a';
    host[256] = '\0';
    assert_int_equal(picked(g, host, "/"), -ENOENT);
    gateway_unref(g);
}

static void refuses_paths_that_climb_or_do_not_start_at_the_root(void **state)
{
    (void)state;
    struct gateway_text t;
    gateway_text_init(&t, NULL);
    gateway_route(&t, "", "/", "s1");
    gateway_route(&t, "", "/a", "s2");
    struct gateway *g = gateway_build(&t);
    assert_int_equal(picked(g, "x", "/../a"), -EINVAL);
    assert_int_equal(picked(g, "x", "/a/%2e%2e/../b"), -EINVAL);
    assert_int_equal(picked(g, "x", "a"), -EINVAL);
    assert_int_equal(picked(g, "x", ""), -EINVAL);
    assert_int_equal(picked(g, "x", "?q"), -EINVAL);
    assert_int_equal(picked(g, "x", "*"), 1);
    assert_int_equal(picked(g, "x", "/a?/../../.."), 2);
    gateway_unref(g);
}

static void a_path_of_64_kib_is_normalised_and_a_longer_one_is_refused(void **state)
{
    (void)state;
    enum { BOUND = 65536 };
    struct gateway_text t;
    gateway_text_init(&t, NULL);
    gateway_route(&t, "", "/a", "s1");
    struct gateway *g = gateway_build(&t);
    char *path = mem_alloc(BOUND + 1);
    assert_non_null(path);
    memset(path, 'x', BOUND + 1);
    memcpy(path, "/b/../a/", 8);
    struct route r;
    assert_int_equal(route_pick(g, NULL, STR("x"), str_of(path, BOUND), &r), 0);
    assert_int_equal(r.service, 1);
    assert_int_equal(route_pick(g, NULL, STR("x"), str_of(path, BOUND + 1), &r), -EINVAL);
    mem_free(path);
    gateway_unref(g);
}

static void says_which_route_matched_as_it_was_written(void **state)
{
    (void)state;
    struct gateway_text t;
    gateway_text_init(&t, "main");
    gateway_route(&t, "*.example.com", "/api/c%61rt/", "s7");
    struct gateway *g = gateway_build(&t);
    struct route r;
    assert_int_equal(route_pick(g, NULL, STR("a.example.com"), STR("/api/cart/1"), &r), 0);
    assert_str(r.host, "*.example.com");
    assert_str(r.path, "/api/c%61rt/");
    assert_str(gateway_name(g), "edge");
    assert_str(gateway_default_environment(g), "main");
    assert_true(gateway_bytes(g) > 0);
    gateway_unref(g);
}

static void without_gateway_or_routes_there_is_no_route(void **state)
{
    (void)state;
    struct route r;
    assert_int_equal(route_pick(NULL, NULL, STR("x"), STR("/"), &r), -ENOENT);
    struct gateway_text t;
    gateway_text_init(&t, NULL);
    struct gateway *g = gateway_build(&t);
    assert_int_equal(picked(g, "x", "/"), -ENOENT);
    assert_null(gateway_default_environment(g).p);
    gateway_unref(g);
}

static void finds_each_of_a_thousand_routes(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct gateway_text t;
    gateway_text_init(&t, NULL);
    struct model_route *routes = mem_array(N, sizeof(*routes));
    char(*names)[3][32] = mem_array(N, sizeof(*names));
    assert_non_null(routes);
    assert_non_null(names);
    t.routes = t.m.routes = routes;
    for (int i = 0; i < N; i++) {
        snprintf(names[i][0], 32, "%sh%d.example.com", i % 3 ? "" : "*.", i % 50);
        snprintf(names[i][1], 32, "/p%d/x", i);
        snprintf(names[i][2], 32, "s%d", i);
        gateway_route(&t, names[i][0], names[i][1], names[i][2]);
    }
    struct gateway *g = gateway_build(&t);
    for (int i = 0; i < N; i++) {
        char host[40], path[40];
        snprintf(host, sizeof(host), "%sh%d.example.com", i % 3 ? "" : "q.", i % 50);
        snprintf(path, sizeof(path), "/p%d/x/y", i);
        assert_int_equal(picked(g, host, path), i);
        assert_int_equal(picked(g, "other.example.com", path), -ENOENT);
    }
    gateway_unref(g);
    mem_free(names);
    mem_free(routes);
}

/* ---- hosts of services ---- */

struct services {
    struct model m;
    struct model_service *list[3];
    struct model_service a, b, c;
    struct mtext hosts[3];
};

static void services_init(struct services *s)
{
    *s = (struct services){
        .a.name.s = STR("s1"),
        .b.name.s = STR("s2"),
        .c.name.s = STR("s3"),
        .hosts = {{.s = STR("Cart.Shop.svc:80")}, {.s = STR("cart")}, {.s = STR("cart")}},
    };
    s->b.hosts = s->hosts;
    s->b.nhosts = 2;
    s->c.hosts = s->hosts + 2;
    s->c.nhosts = 1;
    s->list[0] = &s->a;
    s->list[1] = &s->b;
    s->list[2] = &s->c;
    s->m.services = s->list;
    s->m.nservices = 3;
}

static void a_services_host_comes_before_routes(void **state)
{
    (void)state;
    struct services s;
    services_init(&s);
    struct hosts *h = hosts_new(&s.m, number_by_digits, NULL);
    assert_non_null(h);
    struct gateway_text t;
    gateway_text_init(&t, NULL);
    gateway_route(&t, "cart", "/", "s9");
    gateway_route(&t, "", "/", "s8");
    struct gateway *g = gateway_build(&t);
    struct route r;
    assert_int_equal(route_pick(g, h, STR("CART:1"), STR("/"), &r), 0);
    assert_int_equal(r.by, ROUTE_SERVICE_HOST);
    assert_int_equal(r.service, 2);
    assert_int_equal(r.path.n, 0);
    assert_int_equal(route_pick(NULL, h, STR("cart.shop.svc."), STR("/a/../b"), &r), 0);
    assert_int_equal(r.service, 2);
    /* the name is a host only where none is written */
    assert_int_equal(route_pick(g, h, STR("s1"), STR("*"), &r), 0);
    assert_int_equal(r.service, 1);
    assert_int_equal(route_pick(g, h, STR("s2"), STR("/"), &r), 0);
    assert_int_equal(r.service, 8);
    /* untrusted listeners know no hosts of services */
    assert_int_equal(route_pick(g, NULL, STR("cart"), STR("/"), &r), 0);
    assert_int_equal(r.service, 9);
    assert_int_equal(route_pick(NULL, h, STR("other"), STR("/"), &r), -ENOENT);
    assert_true(hosts_bytes(h) > 0);
    gateway_unref(g);
    hosts_ref(h);
    hosts_unref(h);
    hosts_unref(h);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    struct services s;
    services_init(&s);
    struct gateway_text t;
    gateway_text_init(&t, "main");
    gateway_select(&t, SELECT_HEADER, "x-env", false);
    gateway_route(&t, "a", "/b", "s1");
    unsigned long n = 1;
    for (bool failed = true; failed; n++) {
        mem_fail_nth(n);
        struct gateway *g = gateway_new(&t.m, number_by_digits, NULL);
        failed = !g;
        gateway_unref(g);
    }
    assert_in_range(n, 4, 20);
    n = 1;
    for (bool failed = true; failed; n++) {
        mem_fail_nth(n);
        struct hosts *h = hosts_new(&s.m, number_by_digits, NULL);
        failed = !h;
        hosts_unref(h);
    }
    assert_in_range(n, 4, 20);
    mem_fail_nth(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_unreserved_characters_only),
        cmocka_unit_test(removes_dot_segments),
        cmocka_unit_test(keeps_duplicate_slashes),
        cmocka_unit_test(says_when_the_path_climbs_above_the_root),
        cmocka_unit_test(cuts_query_and_fragment_first),
        cmocka_unit_test(the_longest_prefix_on_whole_segments_wins),
        cmocka_unit_test(compares_the_normal_form),
        cmocka_unit_test(an_exact_host_beats_a_suffix_beats_none),
        cmocka_unit_test(a_host_without_a_fitting_path_leaves_it_to_the_next),
        cmocka_unit_test(compares_hosts_without_case_port_and_one_trailing_dot),
        cmocka_unit_test(lowers_letters_and_nothing_else),
        cmocka_unit_test(a_host_of_255_bytes_is_compared_and_a_longer_one_equals_none),
        cmocka_unit_test(refuses_paths_that_climb_or_do_not_start_at_the_root),
        cmocka_unit_test(a_path_of_64_kib_is_normalised_and_a_longer_one_is_refused),
        cmocka_unit_test(says_which_route_matched_as_it_was_written),
        cmocka_unit_test(without_gateway_or_routes_there_is_no_route),
        cmocka_unit_test(finds_each_of_a_thousand_routes),
        cmocka_unit_test(a_services_host_comes_before_routes),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
