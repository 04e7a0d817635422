/* Recorded requests on their way to the candidate, at a rate. */
#include "ctl/replay.h"
#include "lib/base/clock.h"
#include "lib/base/list.h"
#include "lib/base/mem.h"
#include "lib/base/pballoc.h"
#include "lib/graph/context.h"
#include "lib/graph/keyring.h"
#include "lib/net/dark.h"
#include "lib/net/dns.h"
#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <sys/random.h>

#define IN_FLIGHT  64u
#define TIMEOUT_MS 10000u
#define DNS_MS     5000u
#define LATE_US    100000u  /* what was missed by more is not made up for */
#define LOST_US    5000000u /* nothing but lost connections for so long: the way is broken */
#define LOST_FIRST 3u       /* so many of them, when nothing ever came back */
#define BODY_MAX   (8u << 20)

struct sender {
    struct replay *r;
    struct event_base *base;
    struct dns *dns;
    struct h2client *client;
    struct event *tick;
    struct signer *signer;
    bool begun, forward; /* the first sample was seen; credentials: forward */
    bool typed;          /* the session knew the types of gRPC messages: secrets by their names */
    bool ended;          /* nothing more to send */
    struct list flights;
    unsigned in_flight, lost;
    uint64_t next_us, sent, lost_us; /* lost_us: when the first of `lost` was */
    int rc;
    struct err *e;
};

struct flight {
    struct list link;
    struct sender *s;
    recorded *record; /* of its sample */
};

static void free_flight(struct flight *f)
{
    list_remove(&f->link);
    pb_free(&f->record->base);
    mem_free(f);
}

static void end_run(struct sender *s, int rc)
{
    s->rc = s->rc ? s->rc : rc;
    s->ended = true;
    event_base_loopbreak(s->base);
}

/* ---- replies ---- */

static void view_fields(struct reply_field *to, const struct field *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        to[i] = (struct reply_field){field_name(&f[i]), field_value(&f[i])};
}

static int score_reply(struct sender *s, const recorded_sample *sample, const struct h2reply *h,
    enum reply_outcome outcome)
{
    struct reply_field *fields = mem_array(h->nfields + h->ntrailers + 1u, sizeof(*fields));
    if (!fields)
        return -ENOMEM;
    view_fields(fields, h->fields, h->nfields);
    view_fields(fields + h->nfields, h->trailers, h->ntrailers);
    const struct reply reply = {.outcome = outcome,
        .status = h->status,
        .fields = fields,
        .trailers = fields + h->nfields,
        .nfields = h->nfields,
        .ntrailers = h->ntrailers,
        .body = h->body,
        .latency_us = h->total_us};
    int rc = score_add(&s->r->score, sample, &reply);
    mem_free(fields);
    return rc;
}

static void on_lost(struct sender *s, const char *why)
{
    uint64_t now = clock_mono_us();
    score_count(s->r->score.dropped, why);
    if (strcmp(why, "connection") != 0)
        return;
    s->lost_us = s->lost++ ? s->lost_us : now;
    bool never = s->r->score.compared == 0 && s->lost >= LOST_FIRST;
    if (!never && now - s->lost_us < LOST_US)
        return;
    const char *text = h2client_why(s->client);
    end_run(s, err_set(s->e, -ECONNREFUSED, "cannot send through '%s': %s", s->r->through,
                   *text ? text : "the connection breaks again and again"));
}

static void on_reply(void *arg, const struct h2reply *h)
{
    struct flight *f = arg;
    struct sender *s = f->s;
    enum reply_outcome outcome = REPLY_WHOLE;
    const char *dropped = dark_outcome(h, &outcome);
    s->in_flight--;
    if (dropped) {
        on_lost(s, dropped);
    } else {
        s->lost = 0;
        if (score_reply(s, f->record->sample, h, outcome))
            end_run(s, err_set(s->e, -ENOMEM, "out of memory"));
    }
    free_flight(f);
    if (s->ended && s->in_flight == 0)
        event_base_loopbreak(s->base);
}

/* ---- requests ---- */

/* The body is plain by now, whatever the user sent. */
static size_t request_fields(const recorded_request *r, struct reply_field *to)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_fields; i++) {
        struct str name = str_c(r->fields[i]->name);
        if (str_eq(name, STR("content-encoding")))
            continue;
        to[n++] = (struct reply_field){
            name, str_of((const char *)r->fields[i]->value.data, r->fields[i]->value.len)};
    }
    return n;
}

static size_t write_token(const struct sender *s, char *out)
{
    const uint8_t flags = CONTEXT_DARK | CONTEXT_NO_EFFECTS | CONTEXT_CANDIDATE;
    return signer_mint(s->signer, 'm', str_c(s->r->candidate), 0, flags, 0, clock_wall_s(), out);
}

static int send_built(
    struct sender *s, const recorded_request *r, const struct dark_request *built, struct flight *f)
{
    const struct h2request request = {.method = str_c(r->method),
        .scheme = STR("http"),
        .authority = str_c(r->authority),
        .path = str_c(r->path),
        .fields = built->fields,
        .nfields = built->nfields,
        .body = str_of((const char *)r->body.data, r->body.len),
        .has_body = built->has_body,
        .timeout_ms = TIMEOUT_MS};
    return h2client_request(s->client, &request, on_reply, f) ? 0 : -ENOMEM;
}

static int send_request(struct sender *s, struct flight *f)
{
    const recorded_request *r = f->record->sample->request;
    char token[TOKEN_MAX];
    struct dark_request built = {.memory = NULL};
    struct reply_field *fields = mem_array(r->n_fields + 1, sizeof(*fields));
    struct dark_part part = {.candidate = true,
        .forward_credentials = s->forward,
        .set = s->r->set.item,
        .nset = s->r->set.n};
    if (!fields || getrandom(part.trace_id, sizeof(part.trace_id), 0) < 0 ||
        getrandom(part.span_id, sizeof(part.span_id), 0) < 0) {
        mem_free(fields);
        return -ENOMEM;
    }
    part.trace_id[0] |= 1; /* zero is none */
    part.span_id[0] |= 1;
    part.token = str_of(token, write_token(s, token));
    const struct dark_source source = {.authority = str_c(r->authority),
        .fields = fields,
        .nfields = request_fields(r, fields),
        .body_bytes = r->body.len,
        .https = r->https,
        .grpc = r->grpc};
    int rc = dark_request_build(&built, &source, &part);
    if (rc == 0)
        rc = send_built(s, r, &built, f);
    dark_request_release(&built);
    mem_free(fields);
    return rc;
}

/* The sample that the tape gave last. */
static int send_sample(struct sender *s)
{
    struct flight *f = mem_zalloc(sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->s = s;
    list_append(&s->flights, &f->link);
    f->record = tape_take(s->r->tape);
    if (send_request(s, f) == 0) {
        s->in_flight++;
        s->sent++;
        return 0;
    }
    free_flight(f);
    return -ENOMEM;
}

/* ---- the pace ---- */

static int begin_score(struct sender *s)
{
    json_t *spec = json_loads(tape_spec(s->r->tape), 0, NULL);
    const char *word = json_string_value(json_object_get(spec, "credentials"));
    s->forward = word && strcmp(word, "forward") == 0;
    s->typed = json_is_integer(json_object_get(spec, "descriptors"));
    json_decref(spec);
    s->begun = true;
    return score_begin(&s->r->score, tape_spec(s->r->tape), s->r->ignore, s->e);
}

/* The next one that can be sent. 1: sent; 0: there is none; negative with e. */
static int send_next(struct sender *s)
{
    const recorded_sample *sample;
    for (;;) {
        int rc = s->sent < s->r->limit ? tape_next(s->r->tape, &sample, s->e) : 0;
        if (rc <= 0)
            return rc;
        if (!s->begun && begin_score(s))
            return s->e->code;
        s->r->score.requests++;
        const char *why = recorded_obstacle(sample, &s->r->set, s->r->unsafe, s->forward);
        if (!why && sample->request->grpc && s->typed && !s->r->score.descriptors)
            why = "descriptors";
        if (!why)
            return send_sample(s) ? err_set(s->e, -ENOMEM, "out of memory") : 1;
        score_count(s->r->score.obstacle, why);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct sender *s = arg;
    uint64_t now = clock_mono_us(), pause = (uint64_t)(1e6 / s->r->rate) + 1;
    (void)fd;
    (void)what;
    if (s->next_us + LATE_US < now)
        s->next_us = now;
    while (
        !s->ended && s->next_us <= now && s->in_flight < IN_FLIGHT && !h2client_down(s->client)) {
        int rc = send_next(s);
        s->ended = rc <= 0;
        if (rc < 0)
            end_run(s, rc);
        s->next_us += pause;
    }
    if (s->ended && s->in_flight == 0)
        event_base_loopbreak(s->base);
}

/* ---- the run ---- */

static int open_sender(struct sender *s)
{
    const struct h2client_options o = {.calls = IN_FLIGHT, .body_bytes = BODY_MAX};
    const struct timeval tick = {0, 1000};
    s->signer = signer_new(s->r->keys);
    s->base = event_base_new();
    if (!s->signer || !s->base)
        return err_set(s->e, -ENOMEM, "out of memory");
    s->dns = dns_new(s->base, NULL, DNS_MS, s->e);
    if (!s->dns)
        return s->e->code;
    s->client = h2client_new(s->base, s->dns, s->r->through, &o, s->e);
    if (!s->client)
        return err_prefix(s->e, "--through");
    s->tick = event_new(s->base, -1, EV_PERSIST, on_tick, s);
    if (!s->tick || event_add(s->tick, &tick) != 0)
        return err_set(s->e, -ENOMEM, "out of memory");
    return 0;
}

static void close_sender(struct sender *s)
{
    if (s->tick)
        event_free(s->tick);
    if (s->client)
        h2client_free(s->client);
    if (s->dns)
        dns_free(s->dns);
    if (s->base)
        event_base_free(s->base);
    signer_free(s->signer);
    while (!list_empty(&s->flights))
        free_flight(list_entry(s->flights.next, struct flight, link));
}

int replay_run(struct replay *r, struct err *e)
{
    struct sender s = {.r = r, .e = e, .next_us = clock_mono_us()};
    list_init(&s.flights);
    int rc = open_sender(&s);
    if (rc == 0 && event_base_dispatch(s.base) < 0)
        rc = err_set(e, -EIO, "the event loop failed");
    close_sender(&s);
    return rc ? rc : s.rc;
}
