/* `shadow replay`: what is said of it, and what it tells. */
#include "ctl/output.h"
#include "ctl/replay.h"
#include "ctl/saved_reply.h"
#include "lib/base/addr.h"
#include "lib/base/parse.h"
#include "lib/graph/hint.h"
#include "lib/graph/keyring.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define RATE_DEFAULT 50
#define RATE_MAX     10000
#define FIELDS_TOLD  50u

/* ---- the command line ---- */

static int read_rate(const char *value, double *ret, struct err *e)
{
    char *end = NULL;
    if (!value)
        return 0;
    double rate = strspn(value, "0123456789.") == strlen(value) ? strtod(value, &end) : 0;
    if (!end || *end || !(rate > 0) || rate > RATE_MAX)
        return err_set(e, -EINVAL, "--rate wants requests a second, up to %d, not '%.*s'", RATE_MAX,
            STR_ARG(shown(str_c(value))));
    *ret = rate;
    return 0;
}

static int read_words(const struct args *a, struct replay *r, struct err *e)
{
    struct addr at;
    r->candidate = a->value[OPT_CANDIDATE];
    r->through = a->value[OPT_THROUGH];
    if (!r->candidate || !r->through)
        return err_set(e, -EINVAL,
            "want shadow replay JOURNAL --candidate ENVIRONMENT --through "
            "ADDRESS");
    if (!name_valid(str_c(r->candidate)))
        return err_set(e, -EINVAL, "--candidate wants ENVIRONMENT, not '%.*s'",
            STR_ARG(shown(str_c(r->candidate))));
    if (addr_parse(str_c(r->through), false, &at, e))
        return err_prefix(e, "--through");
    if (args_number(a, OPT_LIMIT, &r->limit, e))
        return e->code;
    return read_rate(a->value[OPT_RATE], &r->rate, e);
}

static int read_keys(const struct args *a, struct replay *r, struct err *e)
{
    const char *domain = a->value[OPT_TRUST_DOMAIN];
    if (!a->value[OPT_KEYS])
        return domain ? err_set(e, -EINVAL, "--trust-domain is for --keys, which is not said") : 0;
    r->keys = keyring_read(a->value[OPT_KEYS], domain ? domain : "offshoot", e);
    return r->keys ? 0 : e->code;
}

/* Those of the command line, else those that the session keeps beside its journal. */
static int read_descriptors(const struct call *c, struct replay *r, struct err *e)
{
    const char *given = c->args->value[OPT_DESCRIPTORS];
    struct text beside = {0};
    text_fmt(&beside, "%s/descriptors", c->words[0]);
    const char *path = given ? given : beside.failed ? "" : beside.p;
    int rc = 0;
    if (given || access(path, F_OK) == 0) {
        r->score.descriptors = saved_descriptors(path, e);
        rc = r->score.descriptors ? 0 : e->code;
    }
    text_release(&beside);
    return rc;
}

/* ---- as JSON ---- */

static void json_member(struct text *t, const char *name, struct str s)
{
    text_fmt(t, "\"%s\":\"", name);
    text_json(t, s);
    text_add(t, STR("\""));
}

static void json_words(struct text *t, const char *name, const struct score_word *w)
{
    text_fmt(t, ",\"%s\":{", name);
    for (size_t i = 0; i < SCORE_WORDS && w[i].word; i++)
        text_fmt(t, "%s\"%s\":%llu", i ? "," : "", w[i].word, (unsigned long long)w[i].count);
    text_add(t, STR("}"));
}

static void json_field(struct text *t, const struct score_field *f)
{
    text_add(t, STR("{"));
    json_member(t, "endpoint", str_c(f->endpoint));
    text_add(t, STR(","));
    json_member(t, "path", str_c(f->path));
    text_fmt(t, ",\"kind\":\"%s\",\"differ\":%llu,\"examples\":[", diff_kind_word(f->kind),
        (unsigned long long)f->count);
    for (unsigned i = 0; i < f->nexamples; i++) {
        text_fmt(t, "%s{\"sample\":%llu,", i ? "," : "", (unsigned long long)f->example[i].sample);
        json_member(t, "recorded", str_c(f->example[i].recorded));
        text_add(t, STR(","));
        json_member(t, "candidate", str_c(f->example[i].candidate));
        text_add(t, STR("}"));
    }
    text_add(t, STR("]}"));
}

static void tell_json(const struct replay *r, struct text *t)
{
    const struct score *s = &r->score;
    text_fmt(t,
        "{\"equal\":%s,\"requests\":%llu,\"compared\":%llu,\"differ\":%llu,"
        "\"transport_errors\":%llu,\"timeouts\":%llu,\"without_body\":%llu,"
        "\"damaged_segments\":%u",
        s->differ ? "false" : "true", (unsigned long long)s->requests,
        (unsigned long long)s->compared, (unsigned long long)s->differ,
        (unsigned long long)s->transport, (unsigned long long)s->timeout,
        (unsigned long long)s->without_body, tape_damaged(r->tape));
    json_words(t, "not_replayable", s->obstacle);
    json_words(t, "dropped", s->dropped);
    text_add(t, STR(",\"fields\":["));
    for (size_t i = 0; i < s->nfields; i++) {
        text_add(t, i ? STR(",") : STR(""));
        json_field(t, &s->field[i]);
    }
    text_fmt(t, "],\"more_fields\":%llu}\n", (unsigned long long)s->more);
}

/* ---- in words ---- */

static void tell_words(struct text *t, const char *name, const struct score_word *w)
{
    if (!w[0].word)
        return;
    text_fmt(t, "  %-14s  ", name);
    for (size_t i = 0; i < SCORE_WORDS && w[i].word; i++)
        text_fmt(t, "%s%s %llu", i ? ", " : "", w[i].word, (unsigned long long)w[i].count);
    text_add(t, STR("\n"));
}

static void tell_number(struct text *t, const char *name, uint64_t n, const char *more)
{
    if (n)
        text_fmt(t, "  %-14s  %llu%s\n", name, (unsigned long long)n, more);
}

static void tell_field(struct text *t, const struct score_field *f, uint64_t of)
{
    text_add(t, STR("  "));
    text_plain(t, str_c(f->path));
    text_fmt(t, " (%s) of ", diff_kind_word(f->kind));
    text_plain(t, str_c(f->endpoint));
    text_fmt(t, ": %llu of %llu\n", (unsigned long long)f->count, (unsigned long long)of);
    for (unsigned i = 0; i < f->nexamples; i++) {
        text_fmt(t, "    sample %llu\n      recorded   ", (unsigned long long)f->example[i].sample);
        text_plain(t, str_c(f->example[i].recorded));
        text_add(t, STR("\n      candidate  "));
        text_plain(t, str_c(f->example[i].candidate));
        text_add(t, STR("\n"));
    }
}

static void tell_fields(struct text *t, const struct score *s)
{
    for (size_t i = 0; i < s->nfields && i < FIELDS_TOLD; i++)
        tell_field(t, &s->field[i], s->compared);
    if (s->nfields > FIELDS_TOLD)
        text_fmt(t, "  and %zu more fields: --json has them\n", s->nfields - FIELDS_TOLD);
    if (s->differ)
        text_add(t, STR("  noise is not known: nothing was asked twice. What differs each time may "
                        "be a time or an id: leave it out with --ignore\n"));
}

static void tell_text(const struct replay *r, struct text *t)
{
    const struct score *s = &r->score;
    if (s->differ)
        text_fmt(t, "%llu of %llu replies differ from the recorded ones\n",
            (unsigned long long)s->differ, (unsigned long long)s->compared);
    else if (s->compared)
        text_fmt(t, "%llu replies are as recorded\n", (unsigned long long)s->compared);
    else
        text_add(t, STR("nothing was compared\n"));
    text_fmt(t, "  recorded        %llu requests\n", (unsigned long long)s->requests);
    tell_words(t, "not replayable", s->obstacle);
    tell_words(t, "dropped", s->dropped);
    tell_number(t, "no reply", s->transport, " broke or were refused");
    tell_number(t, "timeouts", s->timeout, "");
    tell_number(t, "without body", s->without_body, ": the journal left theirs out");
    tell_number(
        t, "damaged", tape_damaged(r->tape), " segments of the journal, in part passed over");
    tell_fields(t, s);
}

/* ---- all of it ---- */

static enum status tell(const struct call *c, struct replay *r, struct err *e)
{
    struct text t = {0};
    enum status s = r->score.differ ? STATUS_NO : STATUS_YES;
    if (r->score.compared == 0)
        s = STATUS_ERROR;
    score_sort(&r->score);
    (c->json ? tell_json : tell_text)(r, &t);
    s = c->json ? out_plain(&t, s, e) : out_answer(&t, s, e);
    if (r->score.compared == 0 && e->code == 0)
        err_set(e, -ENODATA, "no reply could be compared");
    return s;
}

static enum status replay(const struct call *c, struct replay *r, struct err *e)
{
    const struct args *a = c->args;
    if (read_words(a, r, e) || fields_read(&r->set, &a->header, e) || read_keys(a, r, e))
        return STATUS_ERROR;
    r->tape = tape_open(c->words[0], e);
    if (!r->tape)
        return e->code == -ENOENT || e->code == -ENOTDIR ? STATUS_NOT_FOUND : STATUS_ERROR;
    if (read_descriptors(c, r, e))
        return STATUS_ERROR;
    return replay_run(r, e) ? STATUS_ERROR : tell(c, r, e);
}

enum status shadow_replay_command(const struct call *c, struct err *e)
{
    struct replay r = {.rate = RATE_DEFAULT,
        .limit = UINT64_MAX,
        .unsafe = args_have(c->args, OPT_UNSAFE),
        .ignore = &c->args->ignore};
    enum status s = replay(c, &r, e);
    score_release(&r.score);
    tape_close(r.tape);
    fields_release(&r.set);
    keyring_unref(r.keys);
    return s;
}
