/* What a session is told to do: read from a command's parameters, or back from its journal; judged
 * against the graph. Pure.
 *
 * Parameters (docs/agent-admin.md, /shadow/start): name baseline candidate service… path… rate
 * samples for epsilon secondary credentials strict ignore… redact… redactOff header… through until.
 * Values of headers are secrets: they are in no text that is made here. */
#ifndef OFFSHOOT_AGENT_SESSION_SPEC_H
#define OFFSHOOT_AGENT_SESSION_SPEC_H

#include "lib/base/counters.h"
#include "lib/base/err.h"
#include "lib/compare/reply.h"
#include "lib/graph/snapshot.h"

#define SPEC_LIST_MAX        64u /* values of one parameter */
#define SPEC_SAMPLES_MAX     1000000000u
#define SPEC_FOR_DEFAULT     (24u * 3600u)
#define SPEC_FOR_MAX         (30u * 24u * 3600u)
#define SPEC_TEXT_MAX        512u
#define SPEC_PATHS_MAX       8192u /* bytes; proxies take 256 KiB of rules for all sessions */
#define SPEC_PPM             1000000u
#define SPEC_EPSILON         0.01 /* when none is given */
#define SPEC_DECISIONS       32u
#define SPEC_DESCRIPTORS_MAX (4u << 20)

enum session_until {
    UNTIL_DECISION, /* it ends with the first PASS or FAIL */
    UNTIL_LIMIT     /* it goes on to its time or number of samples */
};

struct spec_list {
    const char **item;
    size_t n;
};

struct session_spec {
    struct pool *pool; /* of all texts */
    const char *name, *baseline, *candidate;
    const char *secondary; /* NULL: the baseline itself, safe methods only */
    const char *through;   /* NULL: the agent's own */
    struct spec_list services, paths, ignore, redact;
    struct reply_field *headers; /* set in place of what the user sent; lower case */
    size_t nheaders;
    bool headers_lost; /* read from a journal: the values are not known any more */
    uint32_t rate_ppm;
    uint64_t samples; /* 0: no limit */
    uint64_t for_s;
    double epsilon;
    bool forward_credentials, strict, redact_off;
    /* A FileDescriptorSet that names the fields of gRPC. Set by the caller of shadow_start,
     * borrowed until it returns; later only its size is known here, 0: none. */
    struct str descriptors;
    uint64_t descriptor_bytes;
    enum session_until until;
};

/* The i-th value of a parameter, NULL past the last; lives as long as the call. */
typedef const char *spec_param_fn(void *arg, const char *name, size_t i);
/* 0; -EINVAL (e begins with the parameter's name) or -ENOMEM: nothing to release. */
int spec_parse(struct session_spec *ret, spec_param_fn *param, void *arg, struct err *e);
int spec_from_json(struct session_spec *ret, const char *name, const char *json, struct err *e);
void spec_release(struct session_spec *s);
/* The object that `shadow show` has under "spec". */
void spec_json(const struct session_spec *s, struct text *out);

/* Whether the graph allows it now: environments and services exist, a secondary is an overlay of
 * the baseline in which each stateful service has a provider of its own (calls are not in the graph
 * of a running agent: each service counts as reachable). -ENOENT or -EINVAL with e. */
int spec_judge(const struct session_spec *s, const struct snapshot *g, int64_t now, struct err *e);
/* Only what may change while it runs: the environments are there and have not expired. */
int spec_alive(const struct session_spec *s, const struct snapshot *g, int64_t now, struct err *e);
/* SHA-256 of what every service resolves to in the session's environments: provider, endpoints,
 * artifact, or the refusal. 0 or -ENOMEM. */
int spec_decisions(const struct session_spec *s, const struct snapshot *g, int64_t now,
    unsigned char ret[SPEC_DECISIONS]);
/* GET, HEAD, OPTIONS; or any of a service that says `shadow: safe`. */
bool spec_is_safe(const struct snapshot *g, struct str service, struct str method);

#endif
