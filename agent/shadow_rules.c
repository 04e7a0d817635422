/* CaptureRules: what proxies are told of the sessions. */
#include "agent/shadow_int.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "proto/offshoot/v1/control.pb-c.h"
#include <errno.h>

static enum known known_as(struct shadow *sh, size_t i)
{
    const struct session *s = sh->session[i];
    uint64_t now = clock_mono_ms();
    if (shadow_runs(s) || session_in_flight(s) > 0) {
        sh->busy_ms[i] = now;
        return shadow_runs(s) ? KNOWN_RUNS : KNOWN_ENDING;
    }
    bool late = !sh->busy_ms[i] || now - sh->busy_ms[i] >= sh->o.set->shadow_linger;
    return late ? KNOWN_NOT : KNOWN_ENDED;
}

/* One session's part; the texts are borrowed. */
static void rule_of(const struct session *s, enum known known, Offshoot__V1__CaptureSession *ret)
{
    const struct session_spec *p = session_spec(s);
    offshoot__v1__capture_session__init(ret);
    ret->id = session_id(s);
    ret->baseline = (char *)(uintptr_t)p->baseline;
    ret->services = (char **)(uintptr_t)p->services.item;
    ret->n_services = p->services.n;
    ret->paths = (char **)(uintptr_t)p->paths.item;
    ret->n_paths = p->paths.n;
    ret->rate_ppm = known == KNOWN_RUNS ? p->rate_ppm : 0;
    ret->sample_seed = session_seed(s);
    ret->unsafe_methods = p->secondary != NULL;
    ret->refuse_missing = p->strict && known != KNOWN_ENDED;
}

static int tell(struct shadow *sh, Offshoot__V1__CaptureRules *rules)
{
    Offshoot__V1__AgentMessage m = OFFSHOOT__V1__AGENT_MESSAGE__INIT;
    m.message_case = OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_CAPTURE_RULES;
    m.capture_rules = rules;
    size_t n = offshoot__v1__agent_message__get_packed_size(&m);
    uint8_t *p = mem_alloc(n + 1);
    if (!p)
        return -ENOMEM;
    offshoot__v1__agent_message__pack(&m, p);
    int rc = sh->o.rules(sh->o.arg, str_of((const char *)p, n));
    mem_free(p);
    return rc;
}

/* Proxies that come later hear nothing when there is nothing to capture. */
void shadow_tell(struct shadow *sh)
{
    Offshoot__V1__CaptureRules rules = OFFSHOOT__V1__CAPTURE_RULES__INIT;
    Offshoot__V1__CaptureSession one[SHADOW_KEPT], *list[SHADOW_KEPT];
    for (enum known k = KNOWN_RUNS; k > KNOWN_NOT; k--) {
        sh->told[k] = 0;
        for (size_t i = 0; i < sh->nsessions; i++) {
            if (known_as(sh, i) != k)
                continue;
            sh->told[k]++;
            if (rules.n_sessions == EXCHANGE_SESSIONS)
                continue;
            list[rules.n_sessions] = &one[rules.n_sessions];
            rule_of(sh->session[i], k, &one[rules.n_sessions++]);
        }
    }
    rules.version = ++sh->version;
    rules.sessions = list;
    rules.dark_key.data = sh->dark_key;
    rules.dark_key.len = sizeof sh->dark_key;
    int rc = tell(sh, &rules);
    if (rc == 0 && rules.n_sessions == 0)
        rc = sh->o.rules(sh->o.arg, STR(""));
    if (rc != 0)
        log_error("out of memory: proxies are not told what to capture");
}

void shadow_forget_ended(struct shadow *sh)
{
    size_t now[KNOWN] = {0};
    for (size_t i = 0; i < sh->nsessions; i++)
        now[known_as(sh, i)]++;
    if (now[KNOWN_ENDING] != sh->told[KNOWN_ENDING] || now[KNOWN_ENDED] != sh->told[KNOWN_ENDED])
        shadow_tell(sh);
}
