/* What came of a dark request. A reply of the proxy's own is one of two things: what the role's
 * provider did (it broke, it was late), which is data; or what became of the way to it, which says
 * nothing of the candidate. */
#include "lib/graph/snapshot.h"
#include "lib/net/dark.h"
#include "lib/wire/h2.h"

static struct str refusal_of(const struct h2reply *r)
{
    for (unsigned i = 0; i < r->nfields; i++)
        if (r->fields[i].id == FIELD_X_OFFSHOOT_ERROR)
            return field_value(&r->fields[i]);
    return (struct str){0};
}

static const char *refused(struct str word, enum reply_outcome *ret)
{
    enum refusal r = REFUSAL_NONE;
    while (r < REFUSAL_COUNT && !str_eq(str_c(refusal_word(r)), word))
        r++;
    switch (r) {
    case REFUSAL_NONE: /* the provider's own reply */
        *ret = REPLY_WHOLE;
        return NULL;
    case REFUSAL_CONNECT:
    case REFUSAL_BAD_REPLY:
    case REFUSAL_UNHEALTHY:
        *ret = REPLY_TRANSPORT;
        return NULL;
    case REFUSAL_TIMEOUT:
        *ret = REPLY_TIMEOUT;
        return NULL;
    case REFUSAL_COUNT:
        return "refused"; /* a word of another version */
    default:
        return refusal_word(r);
    }
}

const char *dark_outcome(const struct h2reply *r, enum reply_outcome *ret)
{
    switch (r->end) {
    case H2CALL_WHOLE:
        return refused(refusal_of(r), ret);
    case H2CALL_TIMEOUT:
        *ret = REPLY_TIMEOUT;
        return NULL;
    case H2CALL_RESET:
        if (r->reset == H2_REFUSED_STREAM) /* the proxy did nothing with it */
            return "connection";
        *ret = REPLY_TRANSPORT;
        return NULL;
    case H2CALL_BROKEN:
        *ret = REPLY_TRANSPORT;
        return NULL;
    case H2CALL_TOO_LARGE:
        return "too-large";
    case H2CALL_MEMORY:
        return "memory";
    default:
        return "connection";
    }
}
