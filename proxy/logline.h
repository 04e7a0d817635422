/* One line of the access log: what it says of a finished request, in three formats.
 *
 * Values from outside are escaped. Tokens, cookies and authorization are never in it; the query is,
 * but for the parameter of a share link. docs/observability.md is the reference. */
#ifndef OFFSHOOT_PROXY_LOGLINE_H
#define OFFSHOOT_PROXY_LOGLINE_H

#include "lib/base/addr.h"
#include "lib/base/counters.h"
#include "proxy/logwhen.h"
#include "proxy/stages.h"

struct request;

/* Views are into the request; "-": nothing. */
struct logline {
    char time[24], peer[ADDR_TEXT_MAX], endpoint[ADDR_TEXT_MAX];
    struct str method, path, host, service, env, provider, trace;
    struct str request_id;
    const char *protocol, *version, *listener, *cls, *rule, *refusal, *fault, *skew;
    unsigned status, tries;
    uint64_t epoch, body_in, body_out;
    struct stages took;
};

void logline_gather(const struct request *r, struct logline *l);
/* What its conditions are judged by; costs little. */
void logline_facts(const struct request *r, struct log_facts *ret);
/* Appends the line with its line feed. format: enum log_format. */
void logline_add(const struct logline *l, unsigned format, struct text *t);

/* The environment asked for as it may be told: "-" when there is none, or it may hold a token. */
struct str logline_env(const struct request *r);
/* The path without the parameter of a share link, and without any query when the request was
 * refused before that was looked for. Empty when there is no head yet. */
struct str logline_path(const struct request *r);
const char *logline_class(const struct request *r);
const char *logline_protocol(const struct request *r);

#endif
