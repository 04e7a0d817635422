/* Replies: what an accepted head says, and every way to break one, which a proxy must judge as
 * strictly as requests. */
#include "tests/unit/unit.h"
#include "tests/unit/wire/h1_run.h"

static struct run r = RUN_INIT(true);
static char bytes[4096];

static void run_message(const char *message, size_t n, enum h1_method asked)
{
    assert_true(n <= sizeof(bytes));
    memcpy(bytes, message, n);
    r.request_method = asked;
    run_whole(&r, bytes, (uint32_t)n);
}

static const struct h1_head *take_for(const char *message, enum h1_method asked)
{
    run_message(message, strlen(message), asked);
    if (!r.head_done)
        fail_msg("no head: %s", r.text);
    return &r.head;
}

static const struct h1_head *take(const char *message)
{
    return take_for(message, H1_GET);
}

static void a_whole_head_is_taken_apart(void **state)
{
    (void)state;
    const struct h1_head *h = take("HTTP/1.1 404 Not Found, sorry\r\nServer: x\r\n"
                                   "Content-Length: 5\r\nKeep-Alive: timeout=5\r\n\r\nhello");
    assert_int_equal(h->status, 404);
    assert_str(h->reason, "Not Found, sorry");
    assert_int_equal(h->minor, 1);
    assert_int_equal(h->framing, H1_LENGTH);
    assert_int_equal(h->length, 5);
    assert_int_equal(h->nfields, 3);
    assert_int_equal(h->fields[2].flags, FIELD_HOP);
    assert_true(h->keep_alive);
    assert_false(h->upgrade);
    assert_int_equal(r.status, H1_DONE);
    assert_int_equal(r.content, 5);
}

static void the_reason_may_be_missing_or_any_text(void **state)
{
    (void)state;
    assert_str(take("HTTP/1.1 200\r\n\r\n")->reason, "");
    assert_str(take("HTTP/1.1 200 \r\n\r\n")->reason, "");
    assert_str(take("HTTP/1.1 200  \r\n\r\n")->reason, " ");
    assert_str(take("HTTP/1.1 200 a\tb \xc3\xa4\r\n\r\n")->reason, "a\tb \xc3\xa4");
}

static void statuses_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(take("HTTP/1.1 100 \r\n\r\n")->status, 100);
    assert_int_equal(take("HTTP/1.0 599 \r\n\r\n")->status, 599);
    run_message("HTTP/1.1 099 \r\n\r\n", 17, H1_GET);
    assert_int_equal(r.error, H1_E_STATUS_LINE);
    run_message("HTTP/1.1 600 \r\n\r\n", 17, H1_GET);
    assert_int_equal(r.error, H1_E_STATUS_LINE);
}

static void the_framing_follows_status_request_and_fields(void **state)
{
    (void)state;
#define LEN "Content-Length: 5\r\n\r\n"
#define CHU "Transfer-Encoding: chunked\r\n\r\n"
    static const struct {
        const char *message;
        enum h1_method asked;
        enum h1_framing framing;
        bool keep_alive;
    } replies[] = {
        {"HTTP/1.1 200 OK\r\n" LEN, H1_GET, H1_LENGTH, true},
        {"HTTP/1.1 200 OK\r\n" CHU, H1_GET, H1_CHUNKED, true},
        {"HTTP/1.1 200 OK\r\n\r\n", H1_GET, H1_UNTIL_CLOSE, false},
        {"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", H1_GET, H1_UNTIL_CLOSE, false},
        {"HTTP/1.0 200 OK\r\n" LEN, H1_GET, H1_LENGTH, false},
        {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" LEN, H1_GET, H1_LENGTH, true},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n" LEN, H1_GET, H1_LENGTH, false},
        {"HTTP/1.1 200 OK\r\n" LEN, H1_HEAD, H1_NO_BODY, true},
        {"HTTP/1.1 200 OK\r\n" CHU, H1_HEAD, H1_NO_BODY, true},
        {"HTTP/1.1 200 OK\r\n\r\n", H1_HEAD, H1_NO_BODY, true},
        {"HTTP/1.1 500 Oh\r\n" LEN, H1_HEAD, H1_NO_BODY, true},
        {"HTTP/1.1 304 Not Modified\r\n" LEN, H1_GET, H1_NO_BODY, true},
        {"HTTP/1.1 304 Not Modified\r\n" CHU, H1_GET, H1_NO_BODY, true},
        {"HTTP/1.1 304 Not Modified\r\n\r\n", H1_GET, H1_NO_BODY, true},
        {"HTTP/1.1 204 No Content\r\n\r\n", H1_GET, H1_NO_BODY, true},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", H1_GET, H1_NO_BODY, true},
        {"HTTP/1.1 100 Continue\r\n\r\n", H1_POST, H1_NO_BODY, true},
        {"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n", H1_GET, H1_NO_BODY, true},
        {"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", H1_GET, H1_LENGTH, true},
        {"HTTP/1.1 200 OK\r\n\r\n", H1_CONNECT, H1_NO_BODY, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", H1_CONNECT, H1_NO_BODY, true},
        {"HTTP/1.1 407 No\r\n" LEN, H1_CONNECT, H1_LENGTH, true},
        {"HTTP/1.1 302 Found\r\n\r\n", H1_CONNECT, H1_UNTIL_CLOSE, false},
    };
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        const struct h1_head *h = take_for(replies[i].message, replies[i].asked);
        assert_int_equal(h->framing, replies[i].framing);
        assert_int_equal(h->keep_alive, replies[i].keep_alive);
        assert_int_equal(h->has_length, strstr(replies[i].message, "Content-Length") != NULL);
    }
}

static void a_head_reply_tells_the_declared_length(void **state)
{
    (void)state;
    const struct h1_head *h = take_for("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", H1_HEAD);
    assert_true(h->has_length);
    assert_int_equal(h->length, 1234);
    assert_int_equal(r.status, H1_DONE);
    h = take("HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n");
    assert_int_equal(h->length, 1234);
    assert_int_equal(r.status, H1_DONE);
}

static void switching_protocols_is_an_upgrade(void **state)
{
    (void)state;
    const struct h1_head *h = take("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                   "Connection: Upgrade\r\n\r\n\x81\x01x");
    assert_true(h->upgrade);
    assert_int_equal(h->framing, H1_NO_BODY);
    assert_int_equal(r.rest, 3);
    assert_false(take("HTTP/1.1 200 OK\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")->upgrade);
}

static void fields_of_requests_mean_nothing_in_replies(void **state)
{
    (void)state;
    assert_int_equal(take("HTTP/1.1 200 OK\r\nHost: a b\r\nHost: c\r\n\r\n")->nfields, 2);
}

static void an_interim_reply_is_a_head_of_its_own(void **state)
{
    (void)state;
    const char *final = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    char both[256];
    snprintf(both, sizeof(both), "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n%s", final);
    assert_int_equal(take(both)->status, 103);
    assert_int_equal(r.status, H1_DONE);
    assert_int_equal(r.rest, strlen(final));
}

static void only_the_end_ends_a_body_until_close(void **state)
{
    (void)state;
    take("HTTP/1.1 200 OK\r\n\r\nhello");
    assert_int_equal(r.status, H1_MORE);
    assert_int_equal(r.content, 5);
    assert_true(r.eof_ends);
    take("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell");
    assert_int_equal(r.status, H1_MORE);
    assert_false(r.eof_ends);
}

static void known_statuses_have_a_reason(void **state)
{
    (void)state;
    assert_str(h1_reason(200), "OK");
    assert_str(h1_reason(503), "Service Unavailable");
    assert_str(h1_reason(418), "");
    assert_str(h1_reason(599), "");
    assert_str(h1_reason(600), "");
    assert_str(h1_reason(0), "");
    assert_str(h1_reason(UINT32_MAX), "");
}

#define RAW(s)    s, sizeof(s) - 1
#define LINE(s)   RAW(s "\r\nContent-Length: 0\r\n\r\n")
#define WITH(s)   RAW("HTTP/1.1 200 OK\r\n" s "\r\n\r\n")
#define CHUNKS(s) RAW("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" s)
#define FIRST(s)  CHUNKS(s "\r\nhello\r\n0\r\n\r\n")

static const struct {
    const char *bytes;
    size_t n;
    enum h1_error error;
} broken[] = {
    {LINE("HTTP/1.1  200 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 20 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 2000 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 200OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 200\tOK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1\t200 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 2x0 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 +20 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 -20 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 0x1 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 \xd9\xa2\xd9\xa0 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 000 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 999 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1 "), H1_E_STATUS_LINE},
    {LINE("HTTP/1.1"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.10 200 OK"), H1_E_STATUS_LINE},
    {LINE(" HTTP/1.1 200 OK"), H1_E_STATUS_LINE},
    {LINE("http/1.1 200 OK"), H1_E_STATUS_LINE},
    {LINE("ICY 200 OK"), H1_E_STATUS_LINE},
    {LINE("200 OK"), H1_E_STATUS_LINE},
    {LINE("GET / HTTP/1.1"), H1_E_STATUS_LINE},
    {LINE("SSH-2.0-OpenSSH_9.2"), H1_E_STATUS_LINE},
    {LINE(""), H1_E_STATUS_LINE},
    {LINE("\r\nHTTP/1.1 200 OK"), H1_E_STATUS_LINE},
    {LINE("HTTP/1.2 200 OK"), H1_E_VERSION},
    {LINE("HTTP/2.0 200 OK"), H1_E_VERSION},
    {LINE("HTTP/2 200 OK"), H1_E_VERSION},
    {LINE("HTTP/0.9 200 OK"), H1_E_VERSION},
    {LINE("HTTP/01.1 200 OK"), H1_E_VERSION},
    {LINE("HTTP/1 200 OK"), H1_E_VERSION},
    {LINE("HTTP/ 200 OK"), H1_E_VERSION},
    {LINE("HTTP/"), H1_E_VERSION},
    {LINE("HTTP/1.1 200 O\0K"), H1_E_CONTROL},
    {LINE("HTTP/1.1 200 O\x7fK"), H1_E_CONTROL},
    {LINE("HTTP/1.1 200 OK\rX"), H1_E_BARE_CR},
    {LINE("HTTP/1.1 200 OK\r"), H1_E_BARE_CR},
    {RAW("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"), H1_E_BARE_LF},
    {RAW("\nHTTP/1.1 200 OK\r\n\r\n"), H1_E_BARE_LF},
    {RAW("HTTP/1.1 200 OK\r\n Content-Length: 0\r\n\r\n"), H1_E_OBS_FOLD},
    {WITH("X: a\r\n b"), H1_E_OBS_FOLD},
    {WITH("X: a\nY: b"), H1_E_BARE_LF},
    {WITH("X: a\rY: b"), H1_E_BARE_CR},
    {WITH("X: a\0b"), H1_E_CONTROL},
    {WITH("X : a"), H1_E_FIELD_NAME},
    {WITH(": a"), H1_E_FIELD_NAME},
    {WITH("X"), H1_E_FIELD_NAME},
    {WITH("X y: a"), H1_E_FIELD_NAME},
    {WITH("Content-Length : 5"), H1_E_FIELD_NAME},
    {WITH("Transfer-Encoding : chunked"), H1_E_FIELD_NAME},
    {WITH("Connection: a b"), H1_E_FIELD_VALUE},
    {WITH("Content-Length: 5\r\nContent-Length: 5"), H1_E_LENGTH_TWICE},
    {WITH("Content-Length: 5, 5"), H1_E_LENGTH_TWICE},
    {WITH("Content-Length: +5"), H1_E_LENGTH},
    {WITH("Content-Length: -1"), H1_E_LENGTH},
    {WITH("Content-Length: 0x5"), H1_E_LENGTH},
    {WITH("Content-Length:"), H1_E_LENGTH},
    {WITH("Content-Length: 5 "
          "x"),
        H1_E_LENGTH},
    {WITH("Content-Length: 9223372036854775808"), H1_E_LENGTH},
    {WITH("Content-Length: 5\r\nTransfer-Encoding: chunked"), H1_E_BOTH_FRAMINGS},
    {WITH("Transfer-Encoding: chunked\r\nContent-Length: 0"), H1_E_BOTH_FRAMINGS},
    {WITH("Transfer-Encoding: gzip, chunked"), H1_E_CODING},
    {WITH("Transfer-Encoding: gzip"), H1_E_CODING},
    {WITH("Transfer-Encoding: identity"), H1_E_CODING},
    {WITH("Transfer-Encoding: chunked, chunked"), H1_E_CODING},
    {WITH("Transfer-Encoding: xchunked"), H1_E_CODING},
    {WITH("Transfer-Encoding: chunked;x=y"), H1_E_CODING},
    {WITH("Transfer-Encoding:"), H1_E_CODING},
    {WITH("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), H1_E_CODING},
    {WITH("Transfer-Encoding: \x0b"
          "chunked"),
        H1_E_CONTROL},
    {WITH("Transfer-Encoding: chunked\0"), H1_E_CONTROL},
    {RAW("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_E_CODING},
    {RAW("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello"), H1_E_BODY_FORBIDDEN},
    {RAW("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_E_BODY_FORBIDDEN},
    {RAW("HTTP/1.1 100 Go\r\nContent-Length: 5\r\n\r\n"), H1_E_BODY_FORBIDDEN},
    {RAW("HTTP/1.1 101 Go\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_E_BODY_FORBIDDEN},
    {RAW("HTTP/1.1 304 No\r\nContent-Length: x\r\n\r\n"), H1_E_LENGTH},
    {FIRST("0x5"), H1_E_CHUNK_SIZE},
    {FIRST("+5"), H1_E_CHUNK_SIZE},
    {FIRST("5 "), H1_E_CHUNK_SIZE},
    {FIRST(" 5"), H1_E_CHUNK_SIZE},
    {FIRST(""), H1_E_CHUNK_SIZE},
    {FIRST("00000000000000005"), H1_E_CHUNK_SIZE},
    {FIRST("ffffffffffffffff"), H1_E_CHUNK_SIZE},
    {FIRST("5; a"), H1_E_CHUNK_EXT},
    {FIRST("5;a=\"\x01\""), H1_E_CHUNK_EXT},
    {CHUNKS("5\nhello\r\n0\r\n\r\n"), H1_E_BARE_LF},
    {CHUNKS("5\rhello\r\n0\r\n\r\n"), H1_E_BARE_CR},
    {CHUNKS("5\r\nhello0\r\n\r\n"), H1_E_CHUNK_END},
    {CHUNKS("4\r\nhello\r\n0\r\n\r\n"), H1_E_CHUNK_END},
    {CHUNKS("0\r\nContent-Length: 5\r\n\r\n"), H1_E_TRAILER},
    {CHUNKS("0\r\nX: y\n\r\n"), H1_E_TRAILER},
    {CHUNKS("0\r\nHTTP/1.1 200 OK\r\n\r\n"), H1_E_TRAILER},
};

static void each_broken_reply_has_its_one_verdict(void **state)
{
    (void)state;
    uint32_t cuts[sizeof(bytes)];
    unsigned wrong = 0;
    for (uint32_t c = 0; c < sizeof(bytes); c++)
        cuts[c] = c;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        run_message(broken[i].bytes, broken[i].n, H1_GET);
        enum h1_error whole = r.error;
        memcpy(bytes, broken[i].bytes, broken[i].n);
        run_cuts(&r, bytes, (uint32_t)broken[i].n, cuts, (unsigned)broken[i].n);
        if (whole == broken[i].error && r.error == broken[i].error)
            continue;
        print_error(
            "broken[%zu]: %s, byte by byte %s\n", i, h1_error_word(whole), h1_error_word(r.error));
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

static void a_tunnel_reply_may_not_declare_a_body(void **state)
{
    (void)state;
    const char *length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    const char *coding = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    run_message(length, strlen(length), H1_CONNECT);
    assert_int_equal(r.error, H1_E_BODY_FORBIDDEN);
    run_message(coding, strlen(coding), H1_CONNECT);
    assert_int_equal(r.error, H1_E_BODY_FORBIDDEN);
}

static void head_and_fields_may_fill_their_limits_and_no_more(void **state)
{
    (void)state;
    const char *reply = "HTTP/1.1 204 No Content\r\nA: 1\r\nB: 2\r\n\r\n";
    const uint32_t n = (uint32_t)strlen(reply);
    r.limits.head_bytes = n;
    r.limits.fields = 2;
    assert_int_equal(take(reply)->nfields, 2);
    r.limits.head_bytes = n - 1;
    run_message(reply, n, H1_GET);
    assert_int_equal(r.error, H1_E_HEAD_TOO_LARGE);
    r.limits.head_bytes = n;
    r.limits.fields = 1;
    run_message(reply, n, H1_GET);
    assert_int_equal(r.error, H1_E_TOO_MANY_FIELDS);
    r.limits = (struct h1_limits)H1_LIMITS_DEFAULT;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_head_is_taken_apart),
        cmocka_unit_test(the_reason_may_be_missing_or_any_text),
        cmocka_unit_test(statuses_are_bounded),
        cmocka_unit_test(the_framing_follows_status_request_and_fields),
        cmocka_unit_test(a_head_reply_tells_the_declared_length),
        cmocka_unit_test(switching_protocols_is_an_upgrade),
        cmocka_unit_test(fields_of_requests_mean_nothing_in_replies),
        cmocka_unit_test(an_interim_reply_is_a_head_of_its_own),
        cmocka_unit_test(only_the_end_ends_a_body_until_close),
        cmocka_unit_test(known_statuses_have_a_reason),
        cmocka_unit_test(each_broken_reply_has_its_one_verdict),
        cmocka_unit_test(a_tunnel_reply_may_not_declare_a_body),
        cmocka_unit_test(head_and_fields_may_fill_their_limits_and_no_more),
    };
    return unit_run(tests);
}
