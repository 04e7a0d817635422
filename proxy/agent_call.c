#include "proxy/agent_call.h"
#include "proxy/settings.h"
#include <stdio.h>

struct grpc_client_options agent_options(
    const struct settings *set, struct grpc_tls *tls, struct grpc_limits limits)
{
    return (struct grpc_client_options){.limits = limits,
        .tls = tls,
        .insecure = set->agent_insecure,
        .tls_name = set->agent_name,
        .connect_ms = (uint32_t)set->timeout_agent_connect,
        .backoff_ms = (uint32_t)set->agent_backoff,
        .backoff_max_ms = (uint32_t)set->agent_backoff_max,
        .ping_ms = (uint32_t)set->timeout_agent_ping};
}

struct str agent_authority(const struct settings *set)
{
    struct str authority = str_c(set->agent_name ? set->agent_name : set->agent);
    return str_starts(authority, STR("unix:")) ? STR("localhost") : authority;
}

void agent_backoff(const struct settings *set, struct backoff *ret)
{
    backoff_init(ret, (uint32_t)set->agent_backoff, (uint32_t)set->agent_backoff_max);
}

void agent_why(const char *why, char *out, size_t n)
{
    snprintf(out, n, "%s", why);
    for (char *c = out; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
}

void agent_end_text(unsigned status, struct str text, char *out, size_t n)
{
    char words[256];
    snprintf(words, sizeof words, "%s%s%.*s", grpc_status_word(status), text.n ? ": " : "",
        STR_ARG(text));
    agent_why(words, out, n);
}
