/* Why things end and fail, and what a request is counted under: numbers that the counters, the
 * access log and the code that decides have in common. Words are in stats.c; they are stable. */
#ifndef OFFSHOOT_PROXY_REASONS_H
#define OFFSHOOT_PROXY_REASONS_H

enum client_close {
    CLIENT_CLOSE_CLIENT,
    CLIENT_CLOSE_IDLE,
    CLIENT_CLOSE_IN_HEAD,
    CLIENT_CLOSE_HEAD_TIMEOUT,
    CLIENT_CLOSE_BAD_REQUEST,
    CLIENT_CLOSE_HALF_CLOSE,
    CLIENT_CLOSE_RESET,
    CLIENT_CLOSE_IN_BODY,
    CLIENT_CLOSE_BODY_TIMEOUT,
    CLIENT_CLOSE_STALLED,
    CLIENT_CLOSE_EARLY_REPLY,
    CLIENT_CLOSE_DONE,
    CLIENT_CLOSE_REFUSED,
    CLIENT_CLOSE_PROVIDER,
    CLIENT_CLOSE_DEADLINE,
    CLIENT_CLOSE_DRAIN,
    CLIENT_CLOSE_NO_MEMORY,
    CLIENT_CLOSE_PROXY_HEADER,
    CLIENT_CLOSE_TOO_LARGE,
    CLIENT_CLOSE_TLS,
    CLIENT_CLOSE_REMOVED,  /* its environment is gone, or its endpoint disabled */
    CLIENT_CLOSE_TOO_SLOW, /* limits.minRate */
    CLIENT_CLOSE_OVERLOAD, /* without a request while room is scarce */
    CLIENT_CLOSE_COUNT
};
enum provider_error {
    PROVIDER_REFUSED,
    PROVIDER_CONNECT_TIMEOUT,
    PROVIDER_NAME,
    PROVIDER_PENDING_TIMEOUT,
    PROVIDER_PENDING_FULL,
    PROVIDER_CLOSED,
    PROVIDER_CLOSED_IN_HEAD,
    PROVIDER_CLOSED_IN_BODY,
    PROVIDER_MALFORMED,
    PROVIDER_REPLY_TIMEOUT,
    PROVIDER_STALLED,
    PROVIDER_EXTRA_BYTES,
    PROVIDER_TLS,
    PROVIDER_ERROR_COUNT
};
/* Which limit of a gateway was reached (ratelimit.h). */
enum limited {
    LIMITED_SOURCE,
    LIMITED_CONNECTIONS,
    LIMITED_ENV,
    LIMITED_CONCURRENT,
    LIMITED_COUNT
};
enum provider_close {
    PROVIDER_CLOSE_IDLE_READABLE,
    PROVIDER_CLOSE_IDLE,
    PROVIDER_CLOSE_FULL,
    PROVIDER_CLOSE_DONE,
    PROVIDER_CLOSE_ABORT,
    PROVIDER_CLOSE_DRAIN,
    PROVIDER_CLOSE_COUNT
};

/* What clients speak. */
enum spoken { SPOKEN_HTTP1, SPOKEN_HTTP2, SPOKEN_TCP, SPOKEN_COUNT };
/* Of a request, as far as they have a histogram; see stages.h. */
enum stage { STAGE_ACCEPT, STAGE_TLS, STAGE_HEAD, STAGE_CONNECT, STAGE_FIRST_BYTE, STAGE_COUNT };

enum tunnel_end {
    TUNNEL_END_ABORTED, /* by us: draining, its environment removed */
    TUNNEL_END_CLOSED,  /* both sides ended */
    TUNNEL_END_IDLE,
    TUNNEL_END_CLIENT_RESET,
    TUNNEL_END_PROVIDER_RESET,
    TUNNEL_END_NO_MEMORY,
    TUNNEL_END_COUNT
};
#define TUNNEL_KINDS 3 /* enum tunnel of request.h, without NONE */

const char *client_close_word(enum client_close c);
const char *provider_error_word(enum provider_error p);
const char *spoken_word(enum spoken s);
const char *stage_word(enum stage s);

#endif
