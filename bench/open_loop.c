/* Requests at a fixed rate, whatever the replies do: a reply's time counts from when its request
 * was due, so that what waits behind a stall is counted too.
 *
 *     open_loop PORT RATE SECONDS REQUEST-FILE EXPECTED-BODY WINDOW-MS
 *
 * 64 keep-alive connections to 127.0.0.1; one that the server closes while it is idle is made anew.
 * Prints {"sent", "good", "lost", "closed", "windows": [[number, requests, p50, p99, p99.9,
 * most]]}: microseconds of the requests that were due in a window; its number is the monotonic
 * clock, divided by its length. */
#include "lib/base/parse.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 64u
#define REPLY_MAX   4096u
#define DRAIN_NS    2000000000u

struct connection {
    int fd;
    bool busy;
    uint64_t due; /* of the request on it */
    size_t n;
    char reply[REPLY_MAX + 1];
};

struct sample {
    uint64_t window, ns;
};

struct run {
    struct connection all[CONNECTIONS];
    unsigned idle[CONNECTIONS], nidle;
    int epoll;
    struct sockaddr_in to;
    char request[4096];
    size_t nrequest;
    const char *expected;
    uint64_t begun, interval, total; /* nanoseconds; requests */
    uint64_t due, started, ended;    /* requests that were due, were sent, have an end */
    uint64_t good, lost, closed;
    uint64_t window;        /* nanoseconds */
    struct sample *samples; /* of those that have an end */
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "open_loop: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void dial(struct run *r, unsigned i)
{
    struct connection *c = &r->all[i];
    struct epoll_event e = {.events = EPOLLIN, .data = {.u32 = i}};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&r->to, sizeof r->to) != 0)
        die("cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, c->fd, &e))
        die("cannot wait for a connection");
    c->n = 0;
    c->busy = false;
    r->idle[r->nidle++] = i;
}

/* Sends what is due, as long as a connection is idle. */
static void send_due(struct run *r, uint64_t now)
{
    while (r->due < r->total && r->begun + r->due * r->interval <= now)
        r->due++;
    while (r->started < r->due && r->nidle) {
        struct connection *c = &r->all[r->idle[--r->nidle]];
        c->busy = true;
        c->due = r->begun + r->started++ * r->interval;
        c->n = 0;
        (void)!send(c->fd, r->request, r->nrequest, MSG_NOSIGNAL); /* an error shows on reading */
    }
}

static void note(struct run *r, const struct connection *c)
{
    r->samples[r->ended++] = (struct sample){c->due / r->window, now_ns() - c->due};
}

static void redial(struct run *r, unsigned i)
{
    struct connection *c = &r->all[i];
    if (c->busy) {
        r->lost++;
        note(r, c);
    } else { /* it stands among the idle ones */
        unsigned at = 0;
        while (r->idle[at] != i)
            at++;
        r->idle[at] = r->idle[--r->nidle];
        r->closed++;
    }
    close(c->fd);
    dial(r, i);
}

/* Where the reply ends; 0: not there yet. */
static size_t reply_end(const char *reply)
{
    const char *body = strstr(reply, "\r\n\r\n"),
               *length = strcasestr(reply, "\r\ncontent-length:");
    if (!body || !length)
        return 0;
    return (size_t)(body + 4 - reply) + strtoul(length + 17, NULL, 10);
}

static bool is_expected(const struct run *r, const struct connection *c)
{
    size_t n = strlen(r->expected);
    return strncmp(c->reply, "HTTP/1.1 200", 12) == 0 && c->n > n &&
           memcmp(c->reply + c->n - n, r->expected, n) == 0;
}

static void take(struct run *r, unsigned i)
{
    struct connection *c = &r->all[i];
    ssize_t n = recv(c->fd, c->reply + c->n, REPLY_MAX - c->n, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || !c->busy) {
        redial(r, i);
        return;
    }
    c->n += (size_t)n;
    c->reply[c->n] = '\0';
    size_t end = reply_end(c->reply);
    if (!end || c->n < end)
        return;
    note(r, c);
    r->good += is_expected(r, c);
    r->lost += !is_expected(r, c);
    bool last = strcasestr(c->reply, "\r\nconnection: close") != NULL;
    c->busy = false;
    r->idle[r->nidle++] = i;
    if (last)
        redial(r, i);
}

static void loop(struct run *r)
{
    struct epoll_event ready[CONNECTIONS];
    uint64_t end = r->begun + r->total * r->interval + DRAIN_NS, now = now_ns();
    while (r->ended < r->total && now < end) {
        uint64_t next = r->due < r->total ? r->begun + r->due * r->interval : now + 1000000;
        uint64_t wait = next > now ? next - now : 0;
        struct timespec t = {(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
        int n = epoll_pwait2(r->epoll, ready, CONNECTIONS, &t, NULL);
        for (int k = 0; k < n; k++)
            take(r, ready[k].data.u32);
        now = now_ns();
        send_due(r, now);
    }
}

static int by_window(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    if (x->window != y->window)
        return x->window < y->window ? -1 : 1;
    return (x->ns > y->ns) - (x->ns < y->ns);
}

/* Of n samples in order. */
static double at(const struct sample *s, uint64_t n, double share)
{
    uint64_t i = (uint64_t)((double)n * share);
    return (double)s[i < n ? i : n - 1].ns / 1e3;
}

static void print(struct run *r)
{
    qsort(r->samples, r->ended, sizeof *r->samples, by_window);
    printf("{\"sent\":%llu,\"good\":%llu,\"lost\":%llu,\"closed\":%llu,\"windows\":[",
        (unsigned long long)r->started, (unsigned long long)r->good, (unsigned long long)r->lost,
        (unsigned long long)r->closed);
    for (uint64_t i = 0, n; i < r->ended; i += n) {
        const struct sample *s = &r->samples[i];
        for (n = 1; i + n < r->ended && s[n].window == s->window; n++)
            ;
        printf("%s[%llu,%llu,%.1f,%.1f,%.1f,%.1f]", i ? "," : "", (unsigned long long)s->window,
            (unsigned long long)n, at(s, n, 0.5), at(s, n, 0.99), at(s, n, 0.999), at(s, n, 1));
    }
    puts("]}");
}

static void read_request(struct run *r, const char *path)
{
    FILE *f = fopen(path, "rb");
    r->nrequest = f ? fread(r->request, 1, sizeof r->request, f) : 0;
    if (!r->nrequest)
        die(path);
    fclose(f);
}

/* 1 to a million. */
static int number(const char *text, uint64_t *ret)
{
    int rc = parse_u64(str_c(text), ret);
    return rc != 0 || *ret < 1 || *ret > 1000000 ? -1 : 0;
}

int main(int argc, char **argv)
{
    static struct run r;
    uint64_t port, rate, seconds, window;
    if (argc != 7 || number(argv[1], &port) != 0 || number(argv[2], &rate) != 0 ||
        number(argv[3], &seconds) != 0 || number(argv[6], &window) != 0)
        die("want PORT RATE SECONDS REQUEST-FILE EXPECTED-BODY WINDOW-MS");
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
    r.to = (struct sockaddr_in){.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    r.interval = 1000000000u / rate;
    r.total = seconds * rate;
    r.window = window * 1000000u;
    r.samples = calloc(r.total, sizeof *r.samples);
    r.expected = argv[5];
    r.epoll = epoll_create1(EPOLL_CLOEXEC);
    read_request(&r, argv[4]);
    if (!r.samples || r.epoll < 0)
        die("cannot begin");
    for (unsigned i = 0; i < CONNECTIONS; i++)
        dial(&r, i);
    r.begun = now_ns();
    loop(&r);
    r.lost += r.total - r.ended;
    print(&r);
    return 0;
}
