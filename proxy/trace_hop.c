/* The hop records of requests that ask to be explained. */
#include "lib/graph/pinned.h"
#include "proxy/heads.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include <stdio.h>

/* The hop record of this passage, kept for `trace` and for the reply's x-offshoot-route. */
void trace_hop(struct request *r)
{
    const struct answer *a = &r->answer;
    struct str env = r->provider_env;
    const char *word = a->refusal ? refusal_word(heads_told(r, a->refusal))
                       : a->moved ? "redirect"
                                  : decision_class_word(a->decision.cls);
    int n = snprintf(r->hop, sizeof r->hop, "%.*s@%.*s;%s=%s;rule=%s;epoch=%llu%s%s",
        STR_ARG(r->service.n ? r->service : STR("-")), STR_ARG(env.n ? env : STR("-")),
        a->refusal ? "refused" : "class", word, context_rule_word(a->context.rule),
        (unsigned long long)r->epoch, r->answer.skew ? ";skew=" : "", skew_word(r->answer.skew));
    r->hop_len = (uint16_t)n;
    r->trace_order = traces_add(r->w->shared->traces, str_of(r->trace_id, TRACE_ID_LEN),
        str_of(r->hop, r->hop_len), r->w->now_ms);
    counter_inc(&r->w->stats[r->trace_order ? STAT_TRACE_RECORDS : STAT_TRACE_LOST]);
}
