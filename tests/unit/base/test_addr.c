#include "lib/base/addr.h"
#include "tests/unit/unit.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/un.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct addr parsed(const char *text)
{
    struct addr a = {0};
    struct err e = {0};
    if (addr_parse(str_c(text), true, &a, &e) != 0)
        fail_msg("'%s' refused: %s", text, e.text);
    return a;
}

static void refuse(struct str text, const char *why)
{
    struct addr a = {.kind = 99};
    struct err e = {0};
    if (addr_parse(text, false, &a, &e) != -EINVAL)
        fail_msg("took '%.*s'", STR_ARG(text));
    assert_int_equal(a.kind, 99);
    assert_int_equal(e.code, -EINVAL);
    if (!strstr(e.text, why))
        fail_msg("'%s' does not say '%s'", e.text, why);
}

static void every_form_reads_and_writes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum addr_kind kind;
        int port;
    } good[] = {
        {"10.1.0.5:8080", ADDR_IP4, 8080},
        {"0.0.0.0:0", ADDR_IP4, 0},
        {"255.255.255.255:65535", ADDR_IP4, 65535},
        {"[::1]:80", ADDR_IP6, 80},
        {"[fd00::1:2]:443", ADDR_IP6, 443},
        {"[::]:1", ADDR_IP6, 1},
        {"cart.main.svc:8080", ADDR_DNS, 8080},
        {"Cart_1.Example:1", ADDR_DNS, 1},
        {"localhost:1", ADDR_DNS, 1},
        {"1a:1", ADDR_DNS, 1},
        {"10.0.0.1x:1", ADDR_DNS, 1},
        {"1.2.3.4.com:1", ADDR_DNS, 1},
        {"unix:/run/cart.sock", ADDR_UNIX, 0},
        {"unix:/a b:c", ADDR_UNIX, 0},
        {"tunnel:feat-42", ADDR_TUNNEL, 0},
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        char out[ADDR_TEXT_MAX];
        struct addr a = parsed(good[i].text);
        assert_int_equal(a.kind, good[i].kind);
        assert_int_equal(a.port, good[i].port);
        assert_int_equal(addr_format(&a, out), strlen(good[i].text));
        assert_string_equal(out, good[i].text);
    }
}

static void bytes_are_in_network_order(void **state)
{
    (void)state;
    static const uint8_t ip4[16] = {10, 1, 0, 5};
    static const uint8_t ip6[16] = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34};
    struct addr a = parsed("10.1.0.5:1");
    assert_memory_equal(a.ip, ip4, 16);
    a = parsed("[fd00::1234]:1");
    assert_memory_equal(a.ip, ip6, 16);
}

static void a_mapped_address_is_ipv4(void **state)
{
    (void)state;
    struct addr a = parsed("[::ffff:169.254.169.254]:80");
    struct addr b = parsed("169.254.169.254:80");
    assert_int_equal(a.kind, ADDR_IP4);
    assert_true(addr_eq(&a, &b));
    a = parsed("[::ffff:a9fe:a9fe]:80");
    assert_true(addr_eq(&a, &b));
    a = parsed("[::fffe:a9fe:a9fe]:80");
    assert_int_equal(a.kind, ADDR_IP6);
}

static void what_looks_like_ipv4_must_be_ipv4(void **state)
{
    (void)state;
    static const char *const bad[] = {"1.2.3:80", "1.2.3.4.5:80", "256.1.1.1:80", "1.1.1.256:80",
        "01.2.3.4:80", "1.2.3.04:80", "1:80", "127.1:80", "2130706433:80", "0x7f000001:80",
        "0x7f.0.0.1:80", "0x7f.0x1:80", "0:80", "00.0.0.0:80", "cart.123:80", "cart.0x:80",
        "1.2.3.400:80"};
    for (size_t i = 0; i < COUNT(bad); i++)
        refuse(str_c(bad[i]), "invalid IPv4 address");
    refuse(STR("1..2.3:80"), "invalid host name");
    refuse(STR(".1.2.3.4:80"), "invalid host name");
    refuse(STR("1.2.3.4.:80"), "invalid host name");
    refuse(STR("1.2.3.-4:80"), "invalid host name");
}

static void ipv6_needs_brackets_and_no_zone(void **state)
{
    (void)state;
    refuse(STR("::1:80"), "brackets");
    refuse(STR("fe80::1:80"), "brackets");
    refuse(STR("a:80:80"), "brackets");
    refuse(STR("[fe80::1%eth0]:80"), "invalid IPv6");
    refuse(STR("[]:80"), "invalid IPv6");
    refuse(STR("[:80"), "invalid IPv6");
    refuse(STR("[::1:80"), "invalid IPv6");
    refuse(STR("[1.2.3.4]:80"), "invalid IPv6");
    refuse(STR("[::1]x:80"), "invalid IPv6");
    refuse(STR("[::1\0]:80"), "invalid IPv6");
    refuse(STR("[0000:0000:0000:0000:0000:0000:255.255.255.2555]:80"), "invalid IPv6");
    refuse(STR("[::1]"), "no port");
    refuse(STR("]:80"), "invalid host name");
}

static void a_port_is_required_and_plain(void **state)
{
    (void)state;
    struct addr a;
    struct err e;
    refuse(STR(""), "no port");
    refuse(STR("cart"), "no port");
    refuse(STR("1.2.3.4"), "no port");
    refuse(STR("cart:"), "invalid port");
    refuse(STR("cart:0"), "invalid port");
    refuse(STR("cart:65536"), "invalid port");
    refuse(STR("cart:080"), "invalid port");
    refuse(STR("cart:+80"), "invalid port");
    refuse(STR("cart:8 "), "invalid port");
    refuse(STR("cart:http"), "invalid port");
    refuse(STR(":80"), "no host");
    assert_int_equal(addr_parse(STR("cart:0"), true, &a, &e), 0);
    assert_int_equal(a.port, 0);
    assert_int_equal(addr_parse(STR("cart:00"), true, &a, &e), -EINVAL);
    assert_int_equal(addr_parse(STR("cart:0"), false, &a, NULL), -EINVAL);
}

static void host_names_keep_the_limits_of_dns(void **state)
{
    (void)state;
    char text[300];
    struct addr a;
    struct err e;

    memset(text, 'a', sizeof(text));
    memcpy(text + 63, ":80", 3);
    assert_int_equal(addr_parse(str_of(text, 66), false, &a, &e), 0);
    text[63] = 'a';
    memcpy(text + 64, ":80", 3);
    refuse(str_of(text, 67), "invalid host name");

    for (size_t i = 0; i < 254; i++)
        text[i] = i % 50 == 49 ? '.' : 'a';
    memcpy(text + 253, ":80", 3);
    assert_int_equal(addr_parse(str_of(text, 256), false, &a, &e), 0);
    assert_int_equal(a.name.n, 253);
    char out[ADDR_TEXT_MAX];
    assert_int_equal(addr_format(&a, out), 256);
    memcpy(text + 253, "a:80", 4);
    refuse(str_of(text, 257), "longer than 253");

    static const char *const bad[] = {"cart.:80", ".cart:80", "a..b:80", "-a:80", "a-:80",
        "a.-b:80", "a.b-:80", "a b:80", "a/b:80", "a@b:80", "\xc3\xa4:80", "*.a:80", "a%b:80",
        "http//a:80"};
    for (size_t i = 0; i < COUNT(bad); i++)
        refuse(str_c(bad[i]), "invalid host name");
    refuse(STR("a\0b:80"), "invalid host name");
    refuse(STR("http://a:80"), "brackets");
}

static void unix_paths_are_absolute_and_bounded(void **state)
{
    (void)state;
    char text[120] = "unix:/";
    struct addr a;
    struct err e;

    memset(text + 6, 'a', sizeof(text) - 6);
    assert_int_equal(addr_parse(str_of(text, 5 + 107), false, &a, &e), 0);
    struct sockaddr_storage ss;
    assert_int_equal(addr_to_sockaddr(&a, &ss), sizeof(struct sockaddr_un));
    refuse(str_of(text, 5 + 108), "longer than 107");
    refuse(STR("unix:"), "not absolute");
    refuse(STR("unix:/"), "not absolute");
    refuse(STR("unix:run/x"), "not absolute");
    refuse(STR("unix:8080"), "not absolute");
    refuse(STR("unix:/run/"), "ends in '/'");
    refuse(STR("unix:/a\0b"), "control byte");
    refuse(STR("unix:/a\nb"), "control byte");
    refuse(STR("unix:/a\x7f"), "control byte");
}

static void tunnel_names_are_names_of_the_graph(void **state)
{
    (void)state;
    refuse(STR("tunnel:"), "tunnel name");
    refuse(STR("tunnel:A"), "tunnel name");
    refuse(STR("tunnel:a:80"), "tunnel name");
}

static void long_texts_are_cut_in_the_error(void **state)
{
    (void)state;
    char text[4000];
    memset(text, 'a', sizeof(text));
    refuse(str_of(text, sizeof(text)), "aaaa'");
}

static void equality_and_hash_agree(void **state)
{
    (void)state;
    static const char *const texts[] = {"10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "[::1]:80",
        "[a00:1::]:80", "cart:80", "cart:81", "carts:80", "unix:/a", "unix:/A", "unix:/b",
        "tunnel:a", "tunnel:b"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        for (size_t j = 0; j < COUNT(texts); j++) {
            struct addr a = parsed(texts[i]), b = parsed(texts[j]);
            assert_int_equal(addr_eq(&a, &b), i == j);
            assert_int_equal(addr_hash(&a) == addr_hash(&b), i == j);
        }
    }
    struct addr a = parsed("Cart.Example:80"), b = parsed("cART.eXAMPLE:80");
    assert_true(addr_eq(&a, &b));
    assert_true(addr_hash(&a) == addr_hash(&b));
}

static void sockaddrs_round_trip(void **state)
{
    (void)state;
    static const char *const texts[] = {"10.0.0.1:80", "[fd00::1]:65535"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct sockaddr_storage ss;
        struct addr a = parsed(texts[i]), b;
        socklen_t n = addr_to_sockaddr(&a, &ss);
        assert_true(n > 0);
        addr_from_sockaddr((struct sockaddr *)&ss, n, &b);
        assert_true(addr_eq(&a, &b));
        addr_from_sockaddr((struct sockaddr *)&ss, n - 1, &b);
        assert_int_equal(b.kind, ADDR_NONE);
    }
}

static void sockaddrs_of_other_kinds(void **state)
{
    (void)state;
    struct sockaddr_storage ss;
    struct addr a = parsed("unix:/run/x"), b;
    socklen_t n = addr_to_sockaddr(&a, &ss);
    assert_int_equal(n, offsetof(struct sockaddr_un, sun_path) + 7);
    assert_string_equal(((struct sockaddr_un *)&ss)->sun_path, "/run/x");
    addr_from_sockaddr((struct sockaddr *)&ss, n, &b);
    assert_int_equal(b.kind, ADDR_UNIX);
    assert_int_equal(b.name.n, 0);
    addr_from_sockaddr((struct sockaddr *)&ss, sizeof(sa_family_t), &b); /* an unnamed peer */
    assert_int_equal(b.kind, ADDR_UNIX);
    assert_int_equal(addr_to_sockaddr(&b, &ss), 0);
    addr_from_sockaddr((struct sockaddr *)&ss, 0, &b);
    assert_int_equal(b.kind, ADDR_NONE);
    a = parsed("cart:1");
    assert_int_equal(addr_to_sockaddr(&a, &ss), 0);
    a = parsed("tunnel:x");
    assert_int_equal(addr_to_sockaddr(&a, &ss), 0);

    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    assert_int_equal(inet_pton(AF_INET6, "::ffff:10.0.0.1", &in6.sin6_addr), 1);
    addr_from_sockaddr((struct sockaddr *)&in6, sizeof(in6), &b);
    a = parsed("10.0.0.1:80");
    assert_true(addr_eq(&a, &b));
}

static struct cidr block(const char *text)
{
    struct cidr c;
    struct err e = {0};
    if (cidr_parse(str_c(text), &c, &e) != 0)
        fail_msg("'%s' refused: %s", text, e.text);
    return c;
}

static bool in_block(const char *cidr, const char *addr)
{
    struct cidr c = block(cidr);
    struct addr a = parsed(addr);
    return cidr_has(&c, &a);
}

static void blocks_hold_their_addresses(void **state)
{
    (void)state;
    assert_true(in_block("10.0.0.0/8", "10.255.255.255:1"));
    assert_false(in_block("10.0.0.0/8", "11.0.0.0:1"));
    assert_true(in_block("10.1.128.0/17", "10.1.255.1:1"));
    assert_false(in_block("10.1.128.0/17", "10.1.127.255:1"));
    assert_true(in_block("0.0.0.0/0", "255.1.2.3:1"));
    assert_true(in_block("1.2.3.4", "1.2.3.4:1"));
    assert_false(in_block("1.2.3.4", "1.2.3.5:1"));
    assert_true(in_block("1.2.3.4/31", "1.2.3.5:1"));
    assert_true(in_block("fd00::/8", "[fdff::1]:1"));
    assert_false(in_block("fd00::/8", "[fe00::1]:1"));
    assert_true(in_block("::/0", "[::1]:1"));
    assert_true(in_block("::1", "[::1]:1"));
    assert_false(in_block("::1/128", "[::2]:1"));
    assert_true(in_block("2001:db8:8000::/33", "[2001:db8:ffff::]:1"));
    assert_false(in_block("2001:db8:8000::/33", "[2001:db8:7fff::]:1"));
}

static void blocks_of_one_kind_hold_no_other(void **state)
{
    (void)state;
    assert_false(in_block("::/0", "10.0.0.1:1"));
    assert_false(in_block("0.0.0.0/0", "[::1]:1"));
    assert_false(in_block("0.0.0.0/0", "cart:1"));
    assert_false(in_block("::/0", "unix:/x"));
    assert_true(in_block("::ffff:10.0.0.0/104", "10.9.9.9:1"));
    assert_true(in_block("10.0.0.0/8", "[::ffff:10.9.9.9]:1"));
    struct cidr c = block("169.254.0.0/16");
    struct addr raw = {.kind = ADDR_IP6, .ip = {[10] = 0xff, 0xff, 169, 254, 1, 1}};
    assert_true(cidr_has(&c, &raw)); /* not from addr_parse, but from a name's look-up */
}

static void bad_blocks_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08",
        "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0/8", "10.0.0.1/8", "10.0.0.0/8 ", "cart/8",
        "fd00::/129", "fd00::1/64", "fe80::1%lo/128", "[::1]/128", "0.0.0.1/31", "128.0.0.0/0"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct cidr c = {.bits = 77};
        struct err e = {0};
        if (cidr_parse(str_c(bad[i]), &c, &e) != -EINVAL)
            fail_msg("took '%s'", bad[i]);
        assert_int_equal(c.bits, 77);
        assert_non_null(strstr(e.text, "address block"));
    }
}

static void loopback_and_link_local_are_known(void **state)
{
    (void)state;
    static const char *const loop[] = {
        "127.0.0.1:1", "127.255.255.255:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/x"};
    static const char *const local[] = {"169.254.0.0:1", "169.254.255.255:1", "224.0.0.0:1",
        "239.255.255.255:1", "0.0.0.0:1", "0.255.0.0:1", "255.255.255.255:1", "[fe80::1]:1",
        "[febf::1]:1", "[ff00::]:1", "[ff02::1]:1", "[::]:1", "[::ffff:169.254.1.1]:1"};
    static const char *const plain[] = {"126.255.255.255:1", "128.0.0.1:1", "169.253.255.255:1",
        "169.255.0.0:1", "223.255.255.255:1", "240.0.0.0:1", "1.0.0.0:1", "255.255.255.254:1",
        "[fec0::1]:1", "[fe7f::1]:1", "[feff::]:1", "[::2]:1", "cart:1", "tunnel:x"};
    for (size_t i = 0; i < COUNT(loop); i++) {
        struct addr a = parsed(loop[i]);
        assert_true(addr_is_loopback(&a));
        assert_false(addr_is_linklocal_or_multicast(&a));
    }
    for (size_t i = 0; i < COUNT(local); i++) {
        struct addr a = parsed(local[i]);
        assert_true(addr_is_linklocal_or_multicast(&a));
        assert_false(addr_is_loopback(&a));
    }
    for (size_t i = 0; i < COUNT(plain); i++) {
        struct addr a = parsed(plain[i]);
        assert_false(addr_is_linklocal_or_multicast(&a));
        assert_false(addr_is_loopback(&a));
    }
}

static bool allowed(const struct endpoint_rules *r, const char *text)
{
    const char *why = NULL;
    struct addr a = parsed(text);
    bool ok = endpoint_allowed(r, &a, &why);
    assert_int_equal(ok, why == NULL);
    return ok;
}

static void by_default_link_local_is_refused(void **state)
{
    (void)state;
    struct endpoint_rules r = {0};
    assert_true(allowed(&r, "10.0.0.1:80"));
    assert_true(allowed(&r, "127.0.0.1:80"));
    assert_true(allowed(&r, "[fd00::1]:80"));
    assert_true(allowed(&r, "cart:80"));
    assert_true(allowed(&r, "tunnel:x"));
    assert_false(allowed(&r, "169.254.169.254:80"));
    assert_false(allowed(&r, "[::ffff:169.254.169.254]:80"));
    assert_false(allowed(&r, "[fe80::1]:80"));
    assert_false(allowed(&r, "0.0.0.0:80"));
    assert_false(allowed(&r, "[::]:80"));
    assert_false(allowed(&r, "unix:/run/x"));
    const char *why = NULL;
    struct addr none = {0};
    assert_false(endpoint_allowed(&r, &none, &why));
    struct addr raw = {.kind = ADDR_IP6, .ip = {[10] = 0xff, 0xff, 169, 254, 1, 1}};
    assert_false(endpoint_allowed(&r, &raw, &why));
}

static void a_list_allows_what_it_holds_and_no_more(void **state)
{
    (void)state;
    const struct cidr allow[] = {block("10.0.0.0/8"), block("fd00::/8"), block("169.254.7.0/24")};
    struct endpoint_rules r = {.allow = allow, .n_allow = COUNT(allow)};
    assert_true(allowed(&r, "10.0.0.1:80"));
    assert_true(allowed(&r, "[fd00::1]:80"));
    assert_true(allowed(&r, "169.254.7.1:80")); /* asked for by name */
    assert_false(allowed(&r, "169.254.8.1:80"));
    assert_false(allowed(&r, "11.0.0.1:80"));
    assert_false(allowed(&r, "127.0.0.1:80"));
    assert_false(allowed(&r, "[fc00::1]:80"));
    assert_true(allowed(&r, "cart:80"));
}

static void own_addresses_are_never_allowed(void **state)
{
    (void)state;
    const struct cidr all[] = {block("0.0.0.0/0"), block("::/0")};
    const struct str dirs[] = {STR("/run")};
    const struct addr own[] = {
        parsed("10.0.0.1:8080"), parsed("127.0.0.1:9901"), parsed("unix:/run/admin.sock")};
    struct endpoint_rules r = {all, COUNT(all), dirs, 1, own, COUNT(own)};
    assert_false(allowed(&r, "10.0.0.1:8080"));
    assert_true(allowed(&r, "10.0.0.1:8081"));
    assert_false(allowed(&r, "127.0.0.1:9901"));
    assert_true(allowed(&r, "127.0.0.2:9901"));
    assert_true(allowed(&r, "[::1]:9901"));
    assert_false(allowed(&r, "0.0.0.0:9901")); /* gets to 127.0.0.1 */
    assert_false(allowed(&r, "[::]:9901"));
    assert_true(allowed(&r, "0.0.0.0:8080"));
    assert_false(allowed(&r, "unix:/run/admin.sock"));
    assert_false(allowed(&r, "unix:/run//./admin.sock"));
    assert_false(allowed(&r, "unix://run/admin.sock/."));
    assert_true(allowed(&r, "unix:/run/admin.sock2"));
}

static void a_wildcard_listener_stands_for_every_loopback(void **state)
{
    (void)state;
    const struct cidr all[] = {block("0.0.0.0/0"), block("::/0")};
    static const char *const wild[] = {"0.0.0.0:8080", "[::]:8080"};
    for (size_t i = 0; i < COUNT(wild); i++) {
        const struct addr own[] = {parsed(wild[i])};
        struct endpoint_rules r = {.allow = all, .n_allow = 2, .own = own, .n_own = 1};
        assert_false(allowed(&r, "127.0.0.1:8080"));
        assert_false(allowed(&r, "127.9.9.9:8080"));
        assert_false(allowed(&r, "[::1]:8080"));
        assert_false(allowed(&r, "[::ffff:127.0.0.1]:8080"));
        assert_false(allowed(&r, "0.0.0.0:8080"));
        assert_false(allowed(&r, "[::]:8080"));
        assert_true(allowed(&r, "127.0.0.1:8081"));
        assert_true(allowed(&r, "10.0.0.1:8080"));
    }
}

static void unix_paths_lie_below_an_allowed_folder(void **state)
{
    (void)state;
    const struct str dirs[] = {STR("/run/offshoot/"), STR("/srv")};
    struct endpoint_rules r = {.unix_dirs = dirs, .n_unix_dirs = COUNT(dirs)};
    assert_true(allowed(&r, "unix:/run/offshoot/cart.sock"));
    assert_true(allowed(&r, "unix:/run//offshoot/./a/b"));
    assert_true(allowed(&r, "unix:/srv/x"));
    assert_true(allowed(&r, "unix:/srv/..x"));
    assert_false(allowed(&r, "unix:/run/offshoot"));
    assert_false(allowed(&r, "unix:/run/offshoot/."));
    assert_false(allowed(&r, "unix:/run/offshoot2/x"));
    assert_false(allowed(&r, "unix:/run/x"));
    assert_false(allowed(&r, "unix:/srv2"));
    assert_false(allowed(&r, "unix:/srv/../etc/x"));
    assert_false(allowed(&r, "unix:/srv/a/../b"));
    assert_false(allowed(&r, "unix:/srv/a/.."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_reads_and_writes),
        cmocka_unit_test(bytes_are_in_network_order),
        cmocka_unit_test(a_mapped_address_is_ipv4),
        cmocka_unit_test(what_looks_like_ipv4_must_be_ipv4),
        cmocka_unit_test(ipv6_needs_brackets_and_no_zone),
        cmocka_unit_test(a_port_is_required_and_plain),
        cmocka_unit_test(host_names_keep_the_limits_of_dns),
        cmocka_unit_test(unix_paths_are_absolute_and_bounded),
        cmocka_unit_test(tunnel_names_are_names_of_the_graph),
        cmocka_unit_test(long_texts_are_cut_in_the_error),
        cmocka_unit_test(equality_and_hash_agree),
        cmocka_unit_test(sockaddrs_round_trip),
        cmocka_unit_test(sockaddrs_of_other_kinds),
        cmocka_unit_test(blocks_hold_their_addresses),
        cmocka_unit_test(blocks_of_one_kind_hold_no_other),
        cmocka_unit_test(bad_blocks_are_refused),
        cmocka_unit_test(loopback_and_link_local_are_known),
        cmocka_unit_test(by_default_link_local_is_refused),
        cmocka_unit_test(a_list_allows_what_it_holds_and_no_more),
        cmocka_unit_test(own_addresses_are_never_allowed),
        cmocka_unit_test(a_wildcard_listener_stands_for_every_loopback),
        cmocka_unit_test(unix_paths_lie_below_an_allowed_folder),
    };
    return unit_run(tests);
}
