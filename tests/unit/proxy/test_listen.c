/* What `--listen` takes, and what it refuses. */
#include "proxy/settings.h"
#include "tests/unit/unit.h"

static struct listen_spec parsed(const char *text)
{
    struct listen_spec l;
    struct err e = {0};
    if (listen_parse(text, &l, &e) != 0)
        fail_msg("%s", e.text);
    return l;
}

static void refused(const char *text, const char *says)
{
    struct listen_spec l;
    struct err e = {0};
    assert_int_not_equal(listen_parse(text, &l, &e), 0);
    if (!strstr(e.text, says) || !strstr(e.text, text))
        fail_msg("'%s': want '%s', have '%s'", text, says, e.text);
}

static void options_are_read(void **state)
{
    (void)state;
    struct listen_spec l = parsed("127.0.0.1:80");
    assert_false(l.trusted || l.proxy_protocol || l.connect || l.sni_required);
    assert_int_equal(l.tcp.n + l.env.n + l.nfrom, 0);
    l = parsed("127.0.0.1:80,trusted,proxy-protocol,connect");
    assert_true(l.trusted && l.proxy_protocol && l.connect);
    l = parsed("0.0.0.0:80,proxy-protocol,from=10.0.0.0/8,from=fd00::/8");
    assert_int_equal(l.nfrom, 2);
    l = parsed("0.0.0.0:5432,tcp=db,sni=required");
    assert_str(l.tcp, "db");
    assert_true(l.sni_required);
    l = parsed("unix:/run/db,proxy-protocol,tcp=db,env=feat-42");
    assert_str(l.env, "feat-42");
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    refused("0.0.0.0:80,trusted", "needs from=CIDR");
    refused("0.0.0.0:80,proxy-protocol", "needs from=CIDR");
    refused("[::]:80,proxy-protocol", "needs from=CIDR");
    refused("127.0.0.1:80,env=main", "tcp=SERVICE");
    refused("127.0.0.1:80,sni=required", "tcp=SERVICE");
    refused("127.0.0.1:80,tcp=db,connect", "connect is for HTTP");
    refused("127.0.0.1:80,tcp=db,env=main,sni=required", "sni=required");
    refused("127.0.0.1:80,tcp=Db", "name of a service 'Db'");
    refused("127.0.0.1:80,tcp=", "name of a service ''");
    refused("127.0.0.1:80,tcp=db,env=a_b", "name of an environment 'a_b'");
    refused("127.0.0.1:80,sni=optional", "unknown option");
    refused("127.0.0.1:80,proxy_protocol", "unknown option");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_read),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return unit_run(tests);
}
