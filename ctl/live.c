#include "ctl/live.h"
#include "lib/base/parse.h"
#include "lib/base/str.h"
#include "lib/graph/hint.h"
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>

#define SINK_MAGIC      0x73696e6bu
#define CONNECT_SECONDS 5L
#define ANSWER_SECONDS  60L

/* ---- the target ---- */

static void encode(struct text *t, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("-._~", c));
        if (plain)
            text_add(t, str_of(s.p + i, 1));
        else
            text_fmt(t, "%%%02X", c);
    }
}

void target_start(struct target *t, const char *path, const char *name)
{
    *t = (struct target){0};
    text_add(&t->text, str_c(path));
    encode(&t->text, str_c(name));
}

void target_param(struct target *t, const char *name, const char *value)
{
    text_fmt(&t->text, "%c%s=", t->has_query ? '&' : '?', name);
    encode(&t->text, str_c(value));
    t->has_query = true;
}

/* ---- one request ---- */

struct sink {
    unsigned magic;
    struct text *body;
    bool full;
    CURL *curl;
    struct str post;                         /* what a POST carries */
    bool (*fn)(struct str piece, void *arg); /* NULL: all goes to body */
    void *arg;
};

/* Pieces of an answer without an end, unless it is a refusal. */
static bool goes_to_fn(const struct sink *sink)
{
    long status = 0;
    if (sink->fn)
        curl_easy_getinfo(sink->curl, CURLINFO_RESPONSE_CODE, &status);
    return status == 200;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct sink *sink = arg;
    assert(sink->magic == SINK_MAGIC);
    if (goes_to_fn(sink))
        return sink->fn(str_of(p, size * n), sink->arg) ? size * n : 0;
    sink->full = sink->body->n + size * n > LIVE_REPLY_MAX;
    if (sink->full)
        return 0;
    text_add(sink->body, str_of(p, size * n));
    return sink->body->failed ? 0 : size * n;
}

/* Curl takes options of many types: one function that remembers the first failure. */
#define SET(curl, rc, option, value)                                                               \
    do {                                                                                           \
        if ((rc) == CURLE_OK)                                                                      \
            (rc) = curl_easy_setopt(curl, option, value);                                          \
    } while (0)

static CURLcode describe(CURL *curl, const char *socket, enum live_method m, const char *url,
    long seconds, struct curl_slist *headers, struct sink *sink)
{
    CURLcode rc = CURLE_OK;
    SET(curl, rc, CURLOPT_UNIX_SOCKET_PATH, socket);
    SET(curl, rc, CURLOPT_URL, url);
    SET(curl, rc, CURLOPT_PROXY, "");
    SET(curl, rc, CURLOPT_PATH_AS_IS, 1L);
    SET(curl, rc, CURLOPT_NOSIGNAL, 1L);
    SET(curl, rc, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    if (!sink->fn)
        SET(curl, rc, CURLOPT_TIMEOUT, seconds ? seconds : ANSWER_SECONDS);
    SET(curl, rc, CURLOPT_HTTPHEADER, headers);
    SET(curl, rc, CURLOPT_WRITEFUNCTION, on_body);
    SET(curl, rc, CURLOPT_WRITEDATA, sink);
    if (m == LIVE_POST) {
        SET(curl, rc, CURLOPT_POST, 1L);
        SET(curl, rc, CURLOPT_POSTFIELDSIZE, (long)sink->post.n);
        SET(curl, rc, CURLOPT_POSTFIELDS, sink->post.n ? sink->post.p : "");
    }
    return rc;
}

static int failed(
    CURL *curl, CURLcode rc, const struct call *c, const struct sink *sink, struct err *e)
{
    long os = 0;
    if (sink->full)
        return err_set(e, -EMSGSIZE, "the answer is larger than %u bytes", LIVE_REPLY_MAX);
    if (rc == CURLE_OUT_OF_MEMORY || sink->body->failed)
        return err_set(e, -ENOMEM, "out of memory");
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os);
    if (rc == CURLE_COULDNT_CONNECT)
        return err_set(e, os ? -(int)os : -ECONNREFUSED, "cannot reach '%s': %s", c->socket,
            os ? strerror((int)os) : curl_easy_strerror(rc));
    return err_set(e, -EIO, "no answer from '%s': %s", c->socket, curl_easy_strerror(rc));
}

static int perform(CURL *curl, const struct call *c, enum live_method m, const char *url,
    long seconds, struct curl_slist *headers, struct sink *sink, long *ret_status, struct err *e)
{
    sink->curl = curl;
    CURLcode rc = describe(curl, c->socket, m, url, seconds, headers, sink);
    if (rc == CURLE_OK)
        rc = curl_easy_perform(curl);
    if (rc != CURLE_OK)
        return failed(curl, rc, c, sink, e);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
    return 0;
}

static int ask(const struct call *c, enum live_method m, struct target *t, bool json,
    struct sink *sink, struct live_reply *ret, struct err *e)
{
    *ret = (struct live_reply){0};
    sink->magic = SINK_MAGIC;
    sink->body = &ret->body;
    struct text url = {0};
    text_fmt(&url, "http://localhost%s", t->text.failed ? "" : t->text.p);
    url.failed |= t->text.failed;
    text_release(&t->text);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers =
        curl_slist_append(NULL, json ? "Accept: application/json" : "Accept: text/plain");
    int rc = url.failed || !curl || !headers
                 ? err_set(e, -ENOMEM, "out of memory")
                 : perform(curl, c, m, url.p, t->seconds, headers, sink, &ret->status, e);
    if (rc)
        text_release(&ret->body);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    text_release(&url);
    return rc;
}

int live_ask(const struct call *c, enum live_method m, struct target *t, bool json,
    struct live_reply *ret, struct err *e)
{
    struct sink sink = {.post = t->body};
    return ask(c, m, t, json, &sink, ret, e);
}

int live_stream(const struct call *c, struct target *t, bool (*fn)(struct str piece, void *arg),
    void *arg, struct live_reply *ret, struct err *e)
{
    struct sink sink = {.fn = fn, .arg = arg};
    return ask(c, LIVE_GET, t, c->json, &sink, ret, e);
}

/* ---- epochs ---- */

int live_epoch(const char *what, const char *value, struct err *e)
{
    uint64_t epoch;
    if (parse_u64(str_c(value), &epoch) == 0 && epoch > 0)
        return 0;
    return err_set(
        e, -EINVAL, "%s is the number of an epoch, not '%.*s'", what, STR_ARG(shown(str_c(value))));
}

int live_at(const struct call *c, struct target *t, struct err *e)
{
    if (!args_have(c->args, OPT_AT))
        return 0;
    const char *epoch = c->args->value[OPT_AT];
    int rc = live_epoch("--at", epoch, e);
    if (rc == 0)
        target_param(t, "epoch", epoch);
    return rc;
}

/* ---- what answers say ---- */

/* Fills e from {"error":"text"}, or from a text. */
static void take_error(const struct text *body, int code, struct err *e)
{
    json_t *j = json_loadb(body->n ? body->p : "", body->n, 0, NULL);
    const char *text = json_string_value(json_object_get(j, "error"));
    struct str line = {body->p, body->n};
    line.n = str_find(line, '\n');
    if (text)
        err_set(e, code, "%s", text);
    else
        err_set(e, code, "%.*s", STR_ARG(line));
    json_decref(j);
}

enum status live_refused(const struct live_reply *r, struct err *e)
{
    bool told = r->body.n > 0 && r->body.p[0] != '<'; /* evhttp's own errors are HTML */
    int code = r->status == 404 ? -ENOENT : -EIO;
    if (told)
        take_error(&r->body, code, e);
    else
        err_set(e, code, "the program answers with HTTP status %ld", r->status);
    if (r->status == 404)
        return STATUS_NOT_FOUND;
    return r->status == 409 ? STATUS_NO : STATUS_ERROR;
}

struct str live_refusal_json(const struct text *body, char room[32])
{
    struct str ret = {NULL, 0};
    json_t *j = json_loadb(body->n ? body->p : "", body->n, 0, NULL);
    const json_t *refusal = json_object_get(j, "refusal");
    const char *word = json_is_null(refusal) ? "" : json_string_value(refusal);
    if (word && strlen(word) < 32) {
        ret.n = strlen(word);
        ret.p = room;
        memcpy(room, word, ret.n + 1);
    }
    json_decref(j);
    return ret;
}

/* The first line ends in ": refused: WORD (status N)" or " (class WORD...)". Read from its end:
 * what stands before may be any name that was asked for. */
struct str live_refusal_text(const struct text *body)
{
    const struct str none = {NULL, 0}, before = STR(": refused: "), after = STR(" (status ");
    struct str line = {body->p, body->n};
    line.n = str_find(line, '\n');
    size_t open = line.n;
    while (open && line.p[open - 1] != '(')
        open--;
    if (open == 0)
        return none;
    open--;
    if (str_starts(str_from(line, open), STR("(class ")))
        return STR("");
    if (open == 0 || !str_starts(str_from(line, open - 1), after))
        return none;
    size_t word = open - 1;
    while (word && line.p[word - 1] != ' ')
        word--;
    if (!str_ends(str_of(line.p, word), before))
        return none;
    return str_of(line.p + word, open - 1 - word);
}
