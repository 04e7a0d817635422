/* What an operator can say about TLS. */
#include "lib/base/mem.h"
#include "proxy/tls.h"
#include <errno.h>
#include <stdio.h>

static int alpn_option(struct str words, struct listen_spec *l, struct err *e)
{
    static const struct {
        struct str words, wire;
    } known[] = {
        {{"h2+http/1.1", 11}, {"\x02h2\x08http/1.1\x08http/1.0", 21}},
        {{"http/1.1+h2", 11}, {"\x08http/1.1\x02h2\x08http/1.0", 21}},
        {{"http/1.1", 8}, {"\x08http/1.1\x08http/1.0", 18}},
        {{"h2", 2}, {"\x02h2", 3}},
        {{"none", 4}, {"", 0}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!str_eq(words, known[i].words))
            continue;
        l->alpn = known[i].wire;
        l->alpn_said = true;
        return 0;
    }
    return err_set(e, -EINVAL, "alpn= takes h2+http/1.1, http/1.1+h2, h2, http/1.1 or none");
}

static int client_cert_option(struct str word, struct listen_spec *l, struct err *e)
{
    if (str_eq(word, STR("optional")))
        l->client_cert = TLS_CLIENT_OPTIONAL;
    else if (str_eq(word, STR("required")))
        l->client_cert = TLS_CLIENT_REQUIRED;
    else
        return err_set(e, -EINVAL, "client-cert= takes optional or required");
    return 0;
}

static int certificate_option(struct str source, struct listen_spec *l, struct err *e)
{
    size_t plus = str_find(source, '+');
    if (source.n == 0 || plus == 0 || plus + 1 == source.n)
        return err_set(e, -EINVAL, "tls= takes CERT+KEY, a FILE with both, or a DIR");
    if (l->ntls == sizeof l->tls / sizeof l->tls[0])
        return err_set(e, -EINVAL, "more than %u tls= options: use a folder", l->ntls);
    l->tls[l->ntls++] = source;
    return 0;
}

int tls_listen_option(struct str word, struct listen_spec *l, struct err *e)
{
    if (str_starts(word, STR("tls=")))
        return certificate_option(str_from(word, 4), l, e);
    if (str_starts(word, STR("client-ca="))) {
        l->client_ca = str_from(word, 10);
        return l->client_ca.n ? 0 : err_set(e, -EINVAL, "client-ca= takes a FILE");
    }
    if (str_starts(word, STR("client-cert=")))
        return client_cert_option(str_from(word, 12), l, e);
    if (str_starts(word, STR("alpn=")))
        return alpn_option(str_from(word, 5), l, e);
    if (str_eq(word, STR("sni=strict"))) {
        l->sni_strict = true;
        return 0;
    }
    return 1;
}

int tls_listen_together(const struct listen_spec *l, struct err *e)
{
    bool said =
        l->client_ca.n || l->client_cert != TLS_CLIENT_NONE || l->sni_strict || l->alpn_said;
    if (said && l->ntls == 0)
        return err_set(e, -EINVAL, "client-ca, client-cert, sni=strict and alpn need tls=");
    if (l->client_cert != TLS_CLIENT_NONE && l->client_ca.n == 0)
        return err_set(e, -EINVAL, "client-cert needs client-ca=FILE");
    if (l->ntls && l->tcp.n)
        return err_set(e, -EINVAL, "tcp= passes TLS on as it is: it cannot have tls=");
    return 0;
}

void tls_settings(const struct settings *set, struct tls_rules *ret)
{
    *ret = (struct tls_rules){.min_version = set->tls_min_version == TLS_MIN_13 ? 0x0304 : 0x0303,
        .ciphers = set->tls_ciphers,
        .certs_max = set->limit_certificates,
        .ticket_s = (uint32_t)(set->tls_ticket_rotation / 1000)};
}

static int check_listener(const struct listen_spec *l, const struct tls_rules *rules, struct err *e)
{
    struct tls_tickets none = {0};
    struct tls_want want = settings_tls_want(l);
    struct tls_files *f = tls_files_read(&want, rules, e);
    struct tls_server *s = f ? tls_server_new(f, rules, &none, e) : NULL;
    int rc = s ? 0 : -EINVAL;
    tls_server_unref(s);
    tls_files_free(f);
    return rc;
}

int tls_check(const struct settings *set, struct err *e)
{
    struct tls_rules rules;
    tls_settings(set, &rules);
    for (size_t i = 0; i < set->listen.n; i++) {
        struct listen_spec l;
        if (listen_parse(set->listen.item[i], &l, e) != 0 ||
            (l.ntls && check_listener(&l, &rules, e) != 0))
            return -EINVAL;
    }
    struct tls_client *c = tls_client_new(
        set->provider_tls_ca, set->provider_tls_cert, set->provider_tls_key, &rules, e);
    int rc = c ? 0 : -EINVAL;
    tls_client_free(c);
    return rc;
}

struct tls_want settings_tls_want(const struct listen_spec *l)
{
    return (struct tls_want){.sources = l->tls,
        .nsources = l->ntls,
        .client_ca = l->client_ca,
        .client_cert = l->client_ca.n && l->client_cert == TLS_CLIENT_NONE ? TLS_CLIENT_REQUIRED
                                                                           : l->client_cert,
        .strict = l->sni_strict,
        .alpn = l->alpn_said ? l->alpn : STR("\x02h2\x08http/1.1\x08http/1.0")};
}
