/* Known ways to make two HTTP/1 readers disagree, each with the reason it is refused for, and the
 * odd-looking forms that are accepted on purpose. Requests; test_h1_reply.c has replies.
 */
#include "tests/unit/unit.h"
#include "tests/unit/wire/h1_run.h"

struct variant {
    const char *bytes;
    uint32_t n;
    enum h1_error error; /* H1_OK: accepted as one whole message */
    uint32_t rest;       /* accepted: bytes that belong to the next message */
};

#define RAW(s)    s, sizeof(s) - 1
#define GET(s)    RAW("GET / HTTP/1.1\r\nHost: a\r\n" s "\r\n\r\n")
#define POST(s)   RAW("POST / HTTP/1.1\r\nHost: a\r\n" s)
#define LINE(s)   RAW(s "\r\nHost: a\r\n\r\n")
#define HOST(s)   RAW("GET / HTTP/1.1\r\nHost: " s "\r\n\r\n")
#define CHUNKS(s) RAW("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" s)
#define FIRST(s)  CHUNKS(s "\r\nhello\r\n0\r\n\r\n")
#define TRAIL(s)  CHUNKS("5\r\nhello\r\n0\r\n" s "\r\n\r\n")
#define CODING(s) POST("Transfer-Encoding:" s "\r\n\r\n0\r\n\r\n")
#define LENGTH(s) POST("Content-Length:" s "\r\n\r\nhello")

static const struct variant framing[] = {
    /* Both framings, in either order and disguise. */
    {POST("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"), H1_E_BOTH_FRAMINGS,
        0},
    {POST("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n"), H1_E_BOTH_FRAMINGS, 0},
    {POST("content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n"), H1_E_BOTH_FRAMINGS, 0},
    {POST("Content-Length: 5\r\nX: y\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n"), H1_E_BOTH_FRAMINGS,
        0},
    {POST("Transfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n"), H1_E_BOTH_FRAMINGS, 0},
    {POST("Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello"), H1_E_CODING, 0},
    {POST("Content-Length: 5\r\nTransfer-Encoding: x\r\n\r\nhello"), H1_E_CODING, 0},
    {POST("Content-Length: 5\r\nTransfer-Encoding:\r\n\r\nhello"), H1_E_CODING, 0},
    {POST("Content-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n"), H1_E_FIELD_NAME, 0},
    {POST("Content-Length: 5\r\n Transfer-Encoding: chunked\r\n\r\n"), H1_E_OBS_FOLD, 0},
    {POST("Content-Length: 5\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n"), H1_E_BARE_LF, 0},
    {POST("Content-Length: 5\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n"), H1_E_BARE_CR, 0},
    {GET("Transfer-Encoding: chunked\r\nContent-Length: 5"), H1_E_BOTH_FRAMINGS, 0},
    /* Transfer codings that are not one final chunked. */
    {CODING(" xchunked"), H1_E_CODING, 0},
    {CODING(" chunkedx"), H1_E_CODING, 0},
    {CODING(" chunked, chunked"), H1_E_CODING, 0},
    {CODING(" chunked,chunked"), H1_E_CODING, 0},
    {CODING(" chunked,"), H1_E_CODING, 0},
    {CODING(" ,chunked"), H1_E_CODING, 0},
    {CODING(" , chunked"), H1_E_CODING, 0},
    {CODING(" chunked, identity"), H1_E_CODING, 0},
    {CODING(" identity, chunked"), H1_E_CODING, 0},
    {CODING(" identity"), H1_E_CODING, 0},
    {CODING(" gzip, chunked"), H1_E_CODING, 0},
    {CODING(" gzip"), H1_E_CODING, 0},
    {CODING(" chunked, gzip"), H1_E_CODING, 0},
    {CODING(" cow, chunked"), H1_E_CODING, 0},
    {CODING(" chunked;q=1"), H1_E_CODING, 0},
    {CODING(" chunked; a=b"), H1_E_CODING, 0},
    {CODING(" chunked;"), H1_E_CODING, 0},
    {CODING(" \"chunked\""), H1_E_CODING, 0},
    {CODING(" 'chunked'"), H1_E_CODING, 0},
    {CODING(" chun ked"), H1_E_CODING, 0},
    {CODING(" chunk"), H1_E_CODING, 0},
    {CODING(" chunke"), H1_E_CODING, 0},
    {CODING(" chunked chunked"), H1_E_CODING, 0},
    {CODING(" : chunked"), H1_E_CODING, 0},
    {CODING(": chunked"), H1_E_CODING, 0},
    {CODING(""), H1_E_CODING, 0},
    {CODING(" "), H1_E_CODING, 0},
    {CODING(" \x0b"
            "chunked"),
        H1_E_CONTROL, 0},
    {CODING("\x0b"
            "chunked"),
        H1_E_CONTROL, 0},
    {CODING(" chunked\x0b"), H1_E_CONTROL, 0},
    {CODING(" \x0c"
            "chunked"),
        H1_E_CONTROL, 0},
    {CODING(" chunked\0"), H1_E_CONTROL, 0},
    {CODING(" \0chunked"), H1_E_CONTROL, 0},
    {CODING(" chunked\x01"), H1_E_CONTROL, 0},
    {CODING(" chunked\x7f"), H1_E_CONTROL, 0},
    {CODING(" chunked\x1f"), H1_E_CONTROL, 0},
    {CODING(" chunked\x08"), H1_E_CONTROL, 0},
    {CODING(" chunked\xa0"), H1_E_CODING, 0},
    {CODING(" \xa0"
            "chunked"),
        H1_E_CODING, 0},
    {CODING(" chunked\xff"), H1_E_CODING, 0},
    {CODING(" chunKed\xc2\xa0"), H1_E_CODING, 0},
    {CODING(" c\xe2\x84\xaa"
            "hunked"),
        H1_E_CODING, 0},
    {CODING(" chun\xe2\x84\xaa"
            "ed"),
        H1_E_CODING, 0}, /* KELVIN SIGN lowers to k */
    {CODING("\r\n chunked"), H1_E_CODING, 0},
    {CODING(" chunked\r\n "), H1_E_OBS_FOLD, 0},
    {CODING(" chunked\r\n , identity"), H1_E_OBS_FOLD, 0},
    {CODING("\n chunked"), H1_E_BARE_LF, 0},
    {CODING(" chunked\n"), H1_E_BARE_LF, 0},
    {CODING(" chunked\r"), H1_E_BARE_CR, 0},
    {CODING(" \rchunked"), H1_E_BARE_CR, 0},
    {CODING(" chunked\r\nTransfer-Encoding: chunked"), H1_E_CODING, 0},
    {CODING(" chunked\r\nTransfer-Encoding: identity"), H1_E_CODING, 0},
    {CODING(" identity\r\nTransfer-Encoding: chunked"), H1_E_CODING, 0},
    {CODING(" chunked\r\ntransfer-encoding:"), H1_E_CODING, 0},
    {POST("Transfer-Encoding : chunked\r\n\r\n"), H1_E_FIELD_NAME, 0},
    {POST("Transfer-Encoding\t: chunked\r\n\r\n"), H1_E_FIELD_NAME, 0},
    {POST(" Transfer-Encoding: chunked\r\n\r\n"), H1_E_OBS_FOLD, 0},
    {POST("\tTransfer-Encoding: chunked\r\n\r\n"), H1_E_OBS_FOLD, 0},
    {POST("X:\r\n Transfer-Encoding: chunked\r\n\r\n"), H1_E_OBS_FOLD, 0},
    {POST("Transfer-Encoding\r\n: chunked\r\n\r\n"), H1_E_FIELD_NAME, 0},
    {POST("Transfer-Encoding\x0b: chunked\r\n\r\n"), H1_E_CONTROL, 0},
    {POST("Transfer-Encoding\0: chunked\r\n\r\n"), H1_E_CONTROL, 0},
    {POST("\x0bTransfer-Encoding: chunked\r\n\r\n"), H1_E_CONTROL, 0},
    {POST("Transfer Encoding: chunked\r\n\r\n"), H1_E_FIELD_NAME, 0},
    {POST("Transfer-Encoding\xc2\xa0: chunked\r\n\r\n"), H1_E_FIELD_NAME, 0},
    {POST("\xef\xbb\xbfTransfer-Encoding: chunked\r\n\r\n"), H1_E_FIELD_NAME, 0},
    {POST("\"Transfer-Encoding\": chunked\r\n\r\n"), H1_E_FIELD_NAME, 0},
    {POST("Transfer-Encoding=chunked\r\n\r\n"), H1_E_FIELD_NAME, 0},
    {POST("Transfer-Encoding; chunked\r\n\r\n"), H1_E_FIELD_NAME, 0},
    {POST("X: y\r\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_E_BARE_CR, 0},
    {RAW("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), H1_E_CODING, 0},
    {RAW("POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), H1_E_CODING,
        0},
    /* Lengths. */
    {LENGTH(" 5\r\nContent-Length: 5"), H1_E_LENGTH_TWICE, 0},
    {LENGTH(" 5\r\nContent-Length: 6"), H1_E_LENGTH_TWICE, 0},
    {LENGTH(" 5\r\nX: y\r\ncontent-length: 0"), H1_E_LENGTH_TWICE, 0},
    {LENGTH(" 5\r\nContent-Length:"), H1_E_LENGTH_TWICE, 0},
    {LENGTH(" 5, 5"), H1_E_LENGTH_TWICE, 0},
    {LENGTH(" 5,5"), H1_E_LENGTH_TWICE, 0},
    {LENGTH(" 5,6"), H1_E_LENGTH_TWICE, 0},
    {LENGTH(" 5,"), H1_E_LENGTH_TWICE, 0},
    {LENGTH(" ,5"), H1_E_LENGTH_TWICE, 0},
    {LENGTH(" +5"), H1_E_LENGTH, 0},
    {LENGTH(" -5"), H1_E_LENGTH, 0},
    {LENGTH(" -0"), H1_E_LENGTH, 0},
    {LENGTH(" 0x5"), H1_E_LENGTH, 0},
    {LENGTH(" 5h"), H1_E_LENGTH, 0},
    {LENGTH(" 5 5"), H1_E_LENGTH, 0},
    {LENGTH(" 5;"), H1_E_LENGTH, 0},
    {LENGTH(" 5.0"), H1_E_LENGTH, 0},
    {LENGTH(" 5e0"), H1_E_LENGTH, 0},
    {LENGTH(" \"5\""), H1_E_LENGTH, 0},
    {LENGTH(" 5_0"), H1_E_LENGTH, 0},
    {LENGTH(" five"), H1_E_LENGTH, 0},
    {LENGTH(" #5"), H1_E_LENGTH, 0},
    {LENGTH(": 5"), H1_E_LENGTH, 0},
    {LENGTH(""), H1_E_LENGTH, 0},
    {LENGTH(" \t "), H1_E_LENGTH, 0},
    {LENGTH(" \xd9\xa5"), H1_E_LENGTH, 0}, /* ARABIC-INDIC DIGIT FIVE */
    {LENGTH(" 5\xa0"), H1_E_LENGTH, 0},
    {LENGTH(" 5\x0b"), H1_E_CONTROL, 0},
    {LENGTH(" \x0b"
            "5"),
        H1_E_CONTROL, 0},
    {LENGTH(" 5\0"), H1_E_CONTROL, 0},
    {LENGTH(" 5\x0c"), H1_E_CONTROL, 0},
    {LENGTH(" 5\r\n 5"), H1_E_OBS_FOLD, 0},
    {LENGTH("\r\n 5"), H1_E_LENGTH, 0},
    {LENGTH(" 9223372036854775808"), H1_E_LENGTH, 0},  /* 2^63 */
    {LENGTH(" 18446744073709551616"), H1_E_LENGTH, 0}, /* 2^64 */
    {LENGTH(" 18446744073709551621"), H1_E_LENGTH, 0}, /* 2^64 + 5 */
    {LENGTH(" 99999999999999999999"), H1_E_LENGTH, 0},
    {LENGTH(" 00000000000000000005"), H1_E_LENGTH, 0}, /* 20 digits */
    {POST("Content-Length : 5\r\n\r\nhello"), H1_E_FIELD_NAME, 0},
    {POST(" Content-Length: 5\r\n\r\nhello"), H1_E_OBS_FOLD, 0},
    {POST("Content-Length\t: 5\r\n\r\nhello"), H1_E_FIELD_NAME, 0},
    {POST("Content-Length\0: 5\r\n\r\nhello"), H1_E_CONTROL, 0},
    {POST("Content Length: 5\r\n\r\nhello"), H1_E_FIELD_NAME, 0},
    /* A body where none may be. */
    {RAW("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello"),
        H1_E_BODY_FORBIDDEN, 0},
    {RAW("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\n\r\n"),
        H1_E_BODY_FORBIDDEN, 0},
};

static const struct variant lines[] = {
    /* Request lines. */
    {LINE("GET\t/ HTTP/1.1"), H1_E_METHOD, 0},
    {LINE("GET /\tHTTP/1.1"), H1_E_REQUEST_LINE, 0},
    {LINE("GET  / HTTP/1.1"), H1_E_REQUEST_LINE, 0},
    {LINE("GET /  HTTP/1.1"), H1_E_REQUEST_LINE, 0},
    {LINE("GET / HTTP/1.1 "), H1_E_REQUEST_LINE, 0},
    {LINE(" GET / HTTP/1.1"), H1_E_REQUEST_LINE, 0},
    {LINE("\tGET / HTTP/1.1"), H1_E_METHOD, 0},
    {LINE("GET / HTTP/1.1\t"), H1_E_VERSION, 0},
    {LINE("GET / a HTTP/1.1"), H1_E_REQUEST_LINE, 0},
    {LINE("GET /a b c HTTP/1.1"), H1_E_REQUEST_LINE, 0},
    {LINE("GET /a b/with/a/long/tail/behind HTTP/1.1"), H1_E_REQUEST_LINE, 0},
    {LINE("GET / HTTP/1.1 HTTP/1.1"), H1_E_REQUEST_LINE, 0},
    {LINE("GET / HTTP/1.1 x"), H1_E_REQUEST_LINE, 0},
    {LINE("GET HTTP/1.1"), H1_E_REQUEST_LINE, 0},
    {LINE("GET  HTTP/1.1"), H1_E_REQUEST_LINE, 0},
    {LINE("GET /"), H1_E_REQUEST_LINE, 0},
    {LINE("GET"), H1_E_REQUEST_LINE, 0},
    {LINE("GET "), H1_E_REQUEST_LINE, 0},
    {LINE("GET / "), H1_E_REQUEST_LINE, 0},
    {LINE("/ HTTP/1.1"), H1_E_METHOD, 0},
    {LINE("G(T / HTTP/1.1"), H1_E_METHOD, 0},
    {LINE("GET: / HTTP/1.1"), H1_E_METHOD, 0},
    {LINE("G\xc3\x8bT / HTTP/1.1"), H1_E_METHOD, 0},
    {LINE("\xef\xbb\xbfGET / HTTP/1.1"), H1_E_METHOD, 0},
    {LINE("\"GET\" / HTTP/1.1"), H1_E_METHOD, 0},
    {LINE("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1"), H1_E_METHOD, 0}, /* 33 bytes */
    {LINE("GET / http/1.1"), H1_E_VERSION, 0},
    {LINE("GET / HTTP/1.2"), H1_E_VERSION, 0},
    {LINE("GET / HTTP/2.0"), H1_E_VERSION, 0},
    {LINE("GET / HTTP/2"), H1_E_VERSION, 0},
    {LINE("GET / HTTP/0.9"), H1_E_VERSION, 0},
    {LINE("GET / HTTP/1"), H1_E_VERSION, 0},
    {LINE("GET / HTTP/1."), H1_E_VERSION, 0},
    {LINE("GET / HTTP/1.10"), H1_E_VERSION, 0},
    {LINE("GET / HTTP/1.01"), H1_E_VERSION, 0},
    {LINE("GET / HTTP/01.1"), H1_E_VERSION, 0},
    {LINE("GET / HTTP/11.1"), H1_E_VERSION, 0},
    {LINE("GET / HTTP/1,1"), H1_E_VERSION, 0},
    {LINE("GET / HTTP\\1.1"), H1_E_VERSION, 0},
    {LINE("GET / HTTP/1.1x"), H1_E_VERSION, 0},
    {LINE("GET / HTTP/\xd9\xa1.1"), H1_E_VERSION, 0},
    {LINE("GET / HTTPS/1.1"), H1_E_VERSION, 0},
    {LINE("GET / TEAPOT/1.1"), H1_E_VERSION, 0},
    {LINE("GET / ICY"), H1_E_VERSION, 0},
    {RAW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), H1_E_VERSION, 0},
    {RAW("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), H1_E_REQUEST_LINE, 0},
    {RAW("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), H1_E_BARE_LF, 0},
    {RAW("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), H1_E_BARE_CR, 0},
    {RAW("\0GET / HTTP/1.1\r\nHost: a\r\n\r\n"), H1_E_CONTROL, 0},
    {RAW("\x16\x03\x01\x02\x00\x01\x00"), H1_E_CONTROL, 0}, /* a TLS hello */
    {RAW("GET / HTTP/1.1\nHost: a\r\n\r\n"), H1_E_BARE_LF, 0},
    {RAW("GET / HTTP/1.1\rHost: a\r\n\r\n"), H1_E_BARE_CR, 0},
    {RAW("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"), H1_E_BARE_CR, 0},
    {RAW("GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"), H1_E_BARE_CR, 0},
    {RAW("GET /\n HTTP/1.1\r\nHost: a\r\n\r\n"), H1_E_BARE_LF, 0},
    {RAW("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"), H1_E_CONTROL, 0},
    {RAW("G\0T / HTTP/1.1\r\nHost: a\r\n\r\n"), H1_E_CONTROL, 0},
    {RAW("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), H1_E_OBS_FOLD, 0},
    {RAW("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"), H1_E_OBS_FOLD, 0},
    {RAW("GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"), H1_E_OBS_FOLD, 0},
    /* Targets. */
    {LINE("GET a HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET a/b HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET ?x HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET * HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("OPTIONS ** HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("OPTIONS *?x HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /#x HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /a/very/long/path/indeed#fragment HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /a\\b HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET \\a HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /a\\b/with/a/long/tail/behind HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /a#b/with/a/long/tail/behind HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /a\tb/with/a/long/tail/behind HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /%4/with/a/long/tail/behind HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /\xff/with/a/long/tail/behind HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /a/very/long/path/to\\somewhere HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /\xc3\xa4 HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /a/very/long/path/to/\xc3\xa4 HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /\x7f HTTP/1.1"), H1_E_CONTROL, 0},
    {LINE("GET /a\tb HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /% HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /%2 HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /%zz HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /%2g HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /%%20 HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /%u0041 HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET /a/very/long/path/with/%4 HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http:/ HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http:// HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http:///x HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http:a/x HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET ftp://a/ HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET ws://a/ HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET file:///etc/passwd HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http://u@a/ HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http://u:p@a/ HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http://a?x=1 HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http://a#x HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http://a:/ HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http://a:x/ HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http://a:65536/ HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http://%61/ HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http://a,b/ HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET http://[::1/ HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("GET a:80 HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("CONNECT a HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("CONNECT / HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("CONNECT * HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("CONNECT http://a:80 HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("CONNECT a:80/ HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("CONNECT u@a:80 HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("CONNECT :80 HTTP/1.1"), H1_E_TARGET, 0},
    {LINE("CONNECT a:0 HTTP/1.1"), H1_E_TARGET, 0},
    /* Hosts. */
    {RAW("GET / HTTP/1.1\r\n\r\n"), H1_E_HOST_MISSING, 0},
    {RAW("GET http://a/ HTTP/1.1\r\n\r\n"), H1_E_HOST_MISSING, 0},
    {RAW("GET / HTTP/1.1\r\nX-Host: a\r\n\r\n"), H1_E_HOST_MISSING, 0},
    {HOST("a\r\nHost: a"), H1_E_HOST_TWICE, 0},
    {HOST("a\r\nhost: b"), H1_E_HOST_TWICE, 0},
    {HOST("a\r\nHost:"), H1_E_HOST_TWICE, 0},
    {RAW("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), H1_E_HOST_TWICE, 0},
    {HOST("a\r\n Host: b"), H1_E_OBS_FOLD, 0},
    {HOST("a\r\nHost : b"), H1_E_FIELD_NAME, 0},
    {RAW("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), H1_E_FIELD_NAME, 0},
    {HOST(""), H1_E_HOST, 0},
    {HOST("a, b"), H1_E_HOST, 0},
    {HOST("a,b"), H1_E_HOST, 0},
    {HOST("a b"), H1_E_HOST, 0},
    {HOST("a\tb"), H1_E_HOST, 0},
    {HOST("u@a"), H1_E_HOST, 0},
    {HOST("a@b:80"), H1_E_HOST, 0},
    {HOST("http://a"), H1_E_HOST, 0},
    {HOST("a/"), H1_E_HOST, 0},
    {HOST("a/b"), H1_E_HOST, 0},
    {HOST("a?b"), H1_E_HOST, 0},
    {HOST("a#b"), H1_E_HOST, 0},
    {HOST("a\\b"), H1_E_HOST, 0},
    {HOST("a;b"), H1_E_HOST, 0},
    {HOST("a'b"), H1_E_HOST, 0},
    {HOST("a%00"), H1_E_HOST, 0},
    {HOST("%61"), H1_E_HOST, 0},
    {HOST("a\xc3\xa4"), H1_E_HOST, 0},
    {HOST(":80"), H1_E_HOST, 0},
    {HOST("a:"), H1_E_HOST, 0},
    {HOST("a:0"), H1_E_HOST, 0},
    {HOST("a:080"), H1_E_HOST, 0},
    {HOST("a:80:80"), H1_E_HOST, 0},
    {HOST("a:+80"), H1_E_HOST, 0},
    {HOST("a: 80"), H1_E_HOST, 0},
    {HOST("a:8o"), H1_E_HOST, 0},
    {HOST("a:65536"), H1_E_HOST, 0},
    {HOST("a:100000"), H1_E_HOST, 0},
    {HOST("a:4294967376"), H1_E_HOST, 0}, /* 2^32 + 80 */
    {HOST("::1"), H1_E_HOST, 0},
    {HOST("[]"), H1_E_HOST, 0},
    {HOST("[::1"), H1_E_HOST, 0},
    {HOST("[::1]x"), H1_E_HOST, 0},
    {HOST("[::1]]"), H1_E_HOST, 0},
    {HOST("[::1%25eth0]"), H1_E_HOST, 0},
    {HOST("[::1%eth0]"), H1_E_HOST, 0},
    {HOST("[127.0.0.1]"), H1_E_HOST, 0},
    {HOST("[v1.x]"), H1_E_HOST, 0},
    {HOST("[1:2:3:4:5:6:7:8:9]"), H1_E_HOST, 0},
    {HOST("[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]"), H1_E_HOST, 0},
    {HOST("[::1]:"), H1_E_HOST, 0},
    {LINE("GET http://b/ HTTP/1.1"), H1_E_HOST, 0},
    {LINE("GET http://a:80/ HTTP/1.1"), H1_E_HOST, 0},
    {LINE("GET http://a.evil/ HTTP/1.1"), H1_E_HOST, 0},
    {LINE("CONNECT b:80 HTTP/1.1"), H1_E_HOST, 0},
    {LINE("CONNECT a:80 HTTP/1.1"), H1_E_HOST, 0},
    {RAW("GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n"), H1_E_HOST, 0},
    {RAW("GET http://a/ HTTP/1.0\r\nHost: b\r\n\r\n"), H1_E_HOST, 0},
    /* Field lines. */
    {GET(": x"), H1_E_FIELD_NAME, 0},
    {GET(":"), H1_E_FIELD_NAME, 0},
    {GET("X"), H1_E_FIELD_NAME, 0},
    {GET("X y: z"), H1_E_FIELD_NAME, 0},
    {GET("X(: z"), H1_E_FIELD_NAME, 0},
    {GET("X{}: z"), H1_E_FIELD_NAME, 0},
    {GET("X@: z"), H1_E_FIELD_NAME, 0},
    {GET("X,Y: z"), H1_E_FIELD_NAME, 0},
    {GET("X/Y: z"), H1_E_FIELD_NAME, 0},
    {GET("X\\: z"), H1_E_FIELD_NAME, 0},
    {GET("\xc3\xa4: z"), H1_E_FIELD_NAME, 0},
    {GET("X-A-Rather-Long-Field-Name-With-\xc3\xa4: z"), H1_E_FIELD_NAME, 0},
    {GET("X: a\r\n b"), H1_E_OBS_FOLD, 0},
    {GET("X: a\r\n\tb"), H1_E_OBS_FOLD, 0},
    {GET("X: a\r\n "), H1_E_OBS_FOLD, 0},
    {GET("X: a\0b"), H1_E_CONTROL, 0},
    {GET("X: a\x01"), H1_E_CONTROL, 0},
    {GET("X: a\x1b[2J"), H1_E_CONTROL, 0},
    {GET("X: a\x7f"), H1_E_CONTROL, 0},
    {GET("X: a long enough value, and then \x0b"), H1_E_CONTROL, 0},
    {GET("X: a\nEvil: b"), H1_E_BARE_LF, 0},
    {GET("X: a\rEvil: b"), H1_E_BARE_CR, 0},
    {GET("X: a\n\nGET /evil HTTP/1.1"), H1_E_BARE_LF, 0},
    {GET("X: a\r\r\n"), H1_E_BARE_CR, 0},
    {RAW("GET / HTTP/1.1\r\nHost: a\r\n\n"), H1_E_BARE_LF, 0},
    {RAW("GET / HTTP/1.1\r\nHost: a\n\r\n"), H1_E_BARE_LF, 0},
    {RAW("GET / HTTP/1.1\r\nHost: a\r\n\rX"), H1_E_BARE_CR, 0},
    {GET("Connection: a b"), H1_E_FIELD_VALUE, 0},
    {GET("Connection: \"close\""), H1_E_FIELD_VALUE, 0},
    {GET("Connection: close;x"), H1_E_FIELD_VALUE, 0},
    {GET("Connection: clos\xc3\xa9"), H1_E_FIELD_VALUE, 0},
};

static const struct variant chunks[] = {
    /* Chunk sizes. */
    {FIRST("0x5"), H1_E_CHUNK_SIZE, 0},
    {FIRST("+5"), H1_E_CHUNK_SIZE, 0},
    {FIRST("-5"), H1_E_CHUNK_SIZE, 0},
    {FIRST("5 "), H1_E_CHUNK_SIZE, 0},
    {FIRST(" 5"), H1_E_CHUNK_SIZE, 0},
    {FIRST("\t5"), H1_E_CHUNK_SIZE, 0},
    {FIRST("5\t"), H1_E_CHUNK_SIZE, 0},
    {FIRST(""), H1_E_CHUNK_SIZE, 0},
    {FIRST("g"), H1_E_CHUNK_SIZE, 0},
    {FIRST("5g"), H1_E_CHUNK_SIZE, 0},
    {FIRST("5h"), H1_E_CHUNK_SIZE, 0},
    {FIRST("5_"), H1_E_CHUNK_SIZE, 0},
    {FIRST("\"5\""), H1_E_CHUNK_SIZE, 0},
    {FIRST("5,5"), H1_E_CHUNK_SIZE, 0},
    {FIRST("5.0"), H1_E_CHUNK_SIZE, 0},
    {FIRST("5\0"), H1_E_CHUNK_SIZE, 0},
    {FIRST("\0005"), H1_E_CHUNK_SIZE, 0},
    {FIRST("5\x0b"), H1_E_CHUNK_SIZE, 0},
    {FIRST("\xd9\xa5"), H1_E_CHUNK_SIZE, 0},
    {FIRST("00000000000000005"), H1_E_CHUNK_SIZE, 0}, /* 17 digits */
    {FIRST("8000000000000000"), H1_E_CHUNK_SIZE, 0},  /* 2^63 */
    {FIRST("ffffffffffffffff"), H1_E_CHUNK_SIZE, 0},
    {FIRST("fffffffffffffffb"), H1_E_CHUNK_SIZE, 0},  /* -5 */
    {FIRST("10000000000000005"), H1_E_CHUNK_SIZE, 0}, /* 2^64 + 5 */
    {FIRST("100000000"
           "00000000000000005"),
        H1_E_CHUNK_SIZE, 0},
    {FIRST(";a"), H1_E_CHUNK_SIZE, 0},
    {CHUNKS("5\nhello\r\n0\r\n\r\n"), H1_E_BARE_LF, 0},
    {CHUNKS("5\rhello\r\n0\r\n\r\n"), H1_E_BARE_CR, 0},
    {CHUNKS("5\r\r\nhello\r\n0\r\n\r\n"), H1_E_BARE_CR, 0},
    {CHUNKS("\n5\r\nhello\r\n0\r\n\r\n"), H1_E_CHUNK_SIZE, 0},
    {CHUNKS("\r\n5\r\nhello\r\n0\r\n\r\n"), H1_E_CHUNK_SIZE, 0},
    {CHUNKS("5\r\nhello\r\n0\n\r\n"), H1_E_BARE_LF, 0},
    {CHUNKS("5\r\nhello\r\n0\n\n"), H1_E_BARE_LF, 0},
    {CHUNKS("5\r\nhello\r\n\r\n\r\n"), H1_E_CHUNK_SIZE, 0},
    {CHUNKS("5\r\nhello\r\n-0\r\n\r\n"), H1_E_CHUNK_SIZE, 0},
    {CHUNKS("5\r\nhello\r\n0 \r\n\r\n"), H1_E_CHUNK_SIZE, 0},
    {CHUNKS("5\r\nhello\r\n0x0\r\n\r\n"), H1_E_CHUNK_SIZE, 0},
    /* The end of a chunk. */
    {CHUNKS("5\r\nhello0\r\n\r\n"), H1_E_CHUNK_END, 0},
    {CHUNKS("5\r\nhello\n0\r\n\r\n"), H1_E_CHUNK_END, 0},
    {CHUNKS("5\r\nhello\r0\r\n\r\n"), H1_E_CHUNK_END, 0},
    {CHUNKS("5\r\nhello\r\r\n0\r\n\r\n"), H1_E_CHUNK_END, 0},
    {CHUNKS("5\r\nhello \r\n0\r\n\r\n"), H1_E_CHUNK_END, 0},
    {CHUNKS("5\r\nhello!\r\n0\r\n\r\n"), H1_E_CHUNK_END, 0},
    {CHUNKS("5\r\nhello!\n0\r\n\r\n"), H1_E_CHUNK_END, 0},
    {CHUNKS("5\r\nhello\n\n0\r\n\r\n"), H1_E_CHUNK_END, 0},
    {CHUNKS("4\r\nhello\r\n0\r\n\r\n"), H1_E_CHUNK_END, 0},
    {CHUNKS("6\r\nhello\r\n0\r\n\r\n"), H1_E_CHUNK_END, 0},
    {CHUNKS("5\r\nhello\r\n\r\n0\r\n\r\n"), H1_E_CHUNK_SIZE, 0},
    /* Extensions. */
    {FIRST("5;"), H1_E_CHUNK_EXT, 0},
    {FIRST("5;;a"), H1_E_CHUNK_EXT, 0},
    {FIRST("5; a"), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a "), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a ;b"), H1_E_CHUNK_EXT, 0},
    {FIRST("5 ;a"), H1_E_CHUNK_SIZE, 0},
    {FIRST("5;a=b "), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a =b"), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a= b"), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a="), H1_E_CHUNK_EXT, 0},
    {FIRST("5;=b"), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a==b"), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a=b=c"), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a,b"), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a=\"b"), H1_E_BARE_CR, 0}, /* the quote goes on over the line end */
    {FIRST("5;a=\"b\"c"), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a=\"b\" "), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a=\"b\"\""), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a=\"\\"), H1_E_BARE_CR, 0},
    {FIRST("5;a=b\"c\""), H1_E_CHUNK_EXT, 0},
    {FIRST("5;\"a\""), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a\0"), H1_E_CHUNK_EXT, 0},
    {FIRST("5;\0"), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a=\"\0\""), H1_E_CHUNK_EXT, 0},
    {FIRST("5;a=\"\x7f\""), H1_E_CHUNK_EXT, 0},
    {FIRST("5;\xff"), H1_E_CHUNK_EXT, 0},
    {CHUNKS("5;\nhello\r\n0\r\n\r\n"), H1_E_BARE_LF, 0},
    {CHUNKS("5;a\nhello\r\n0\r\n\r\n"), H1_E_BARE_LF, 0},
    {CHUNKS("5;a=\nhello\r\n0\r\n\r\n"), H1_E_BARE_LF, 0},
    {CHUNKS("5;a=b\nhello\r\n0\r\n\r\n"), H1_E_BARE_LF, 0},
    {CHUNKS("5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"), H1_E_BARE_LF, 0},
    {CHUNKS("5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n"), H1_E_BARE_CR, 0},
    {CHUNKS("5;a=\"\\\n\"\r\nhello\r\n0\r\n\r\n"), H1_E_BARE_LF, 0},
    {CHUNKS("5;a=\"b\"\nhello\r\n0\r\n\r\n"), H1_E_BARE_LF, 0},
    {CHUNKS("5;a\rX\r\nhello\r\n0\r\n\r\n"), H1_E_BARE_CR, 0},
    {CHUNKS("5;a\r\r\nhello\r\n0\r\n\r\n"), H1_E_BARE_CR, 0},
    {CHUNKS("2;\nxx\r\n4c\r\n0\r\n\r\n"), H1_E_BARE_LF, 0},
    {CHUNKS("5\r\nhello\r\n0;\n\r\n"), H1_E_BARE_LF, 0},
    /* Trailers. */
    {TRAIL("Content-Length: 5"), H1_E_TRAILER, 0},
    {TRAIL("content-length: 0"), H1_E_TRAILER, 0},
    {TRAIL("Transfer-Encoding: chunked"), H1_E_TRAILER, 0},
    {TRAIL("Host: b"), H1_E_TRAILER, 0},
    {TRAIL("X : y"), H1_E_TRAILER, 0},
    {TRAIL(": y"), H1_E_TRAILER, 0},
    {TRAIL("X"), H1_E_TRAILER, 0},
    {TRAIL("GET / HTTP/1.1\r\nHost: a"), H1_E_TRAILER, 0},
    {TRAIL(" X: y"), H1_E_TRAILER, 0},
    {TRAIL("X: y\r\n z"), H1_E_TRAILER, 0},
    {TRAIL("X: y\nZ: a"), H1_E_TRAILER, 0},
    {TRAIL("X: y\rZ: a"), H1_E_TRAILER, 0},
    {TRAIL("X: \0"), H1_E_TRAILER, 0},
    {TRAIL("\0"), H1_E_TRAILER, 0},
    {CHUNKS("0\r\n\n"), H1_E_TRAILER, 0},
    {CHUNKS("0\r\n\r\r\n"), H1_E_TRAILER, 0},
    {CHUNKS("0\r\nX: y\n\n"), H1_E_TRAILER, 0},
    {CHUNKS("0\r\nX: y\r\n\n"), H1_E_TRAILER, 0},
};

/* What looks odd and has one reading all the same. */
static const struct variant accepted[] = {
    {CODING(" chunked"), H1_OK, 0},
    {CODING("chunked"), H1_OK, 0},
    {CODING(" CHUNKED"), H1_OK, 0},
    {CODING(" ChUnKeD"), H1_OK, 0},
    {CODING("\tchunked \t"), H1_OK, 0},
    {POST("TRANSFER-ENCODING: chunked\r\n\r\n0\r\n\r\n"), H1_OK, 0},
    {POST("Transfer_Encoding: chunked\r\n\r\n"), H1_OK, 0}, /* another field, no framing */
    {POST("Content_Length: 5\r\n\r\nhello"), H1_OK, 5},
    {POST("X-Transfer-Encoding: chunked\r\n\r\n"), H1_OK, 0},
    {POST("Transfer-Encodings: chunked\r\n\r\n"), H1_OK, 0},
    {POST("Content-Length: 5\r\nContent_Length: 7\r\n\r\nhello"), H1_OK, 0},
    {LENGTH("5"), H1_OK, 0},
    {LENGTH(" \t5\t "), H1_OK, 0},
    {LENGTH(" 05"), H1_OK, 0},
    {LENGTH(" 0000000000000000005"), H1_OK, 0}, /* 19 digits */
    {POST("Content-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), H1_OK, 18},
    {POST("\r\nhello"), H1_OK, 5}, /* no length, no body */
    {POST("Content-Length: 5\r\n\r\nhello\r\n"), H1_OK, 2},
    {GET("Content-Length: 0"), H1_OK, 0},
    {RAW("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"), H1_OK, 0},
    {RAW("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello"), H1_OK, 0},
    {RAW("GET / HTTP/1.0\r\n\r\n"), H1_OK, 0},
    {RAW("GET http://a/x HTTP/1.0\r\n\r\n"), H1_OK, 0},
    {RAW("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), H1_OK, 0},
    {RAW("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 0\r\n\r\n"), H1_OK, 0},
    {RAW("CONNECT a:80 HTTP/1.1\r\nHost: A:80\r\n\r\n\x16\x03"), H1_OK, 2},
    {RAW("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), H1_OK, 0},
    {RAW("GET http://a HTTP/1.1\r\nHost: A\r\n\r\n"), H1_OK, 0},
    {RAW("GET HTTP://A:80/?x HTTP/1.1\r\nHost: a:80\r\n\r\n"), H1_OK, 0},
    {RAW("GET https://[::1]:8443/ HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n"), H1_OK, 0},
    {LINE("get / HTTP/1.1"), H1_OK, 0}, /* a method of its own: OTHER */
    {LINE("M-SEARCH / HTTP/1.1"), H1_OK, 0},
    {LINE("!#$%&'*+-.^_`|~ / HTTP/1.1"), H1_OK, 0},
    {LINE("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1"), H1_OK, 0}, /* 32 bytes */
    {LINE("GET //evil/x HTTP/1.1"), H1_OK, 0},
    {LINE("GET /../../etc/passwd HTTP/1.1"), H1_OK, 0},
    {LINE("GET /%2e%2E/%00 HTTP/1.1"), H1_OK, 0},
    {LINE("GET /a|b\"<>^`{}'()[]@!$&*+,;=:?? HTTP/1.1"), H1_OK, 0},
    {LINE("GET /?u=http://b/?q HTTP/1.1"), H1_OK, 0},
    {HOST("a_b.svc"), H1_OK, 0},
    {HOST("a."), H1_OK, 0},
    {HOST("~"), H1_OK, 0},
    {HOST("127.0.0.1:65535"), H1_OK, 0},
    {HOST("[::ffff:127.0.0.1]:1"), H1_OK, 0},
    {HOST("[::]"), H1_OK, 0},
    {HOST(" \t a \t "), H1_OK, 0},
    {GET("X:"), H1_OK, 0},
    {GET("X: \t "), H1_OK, 0},
    {GET("X: a\tb \xc3\xa4\xff"), H1_OK, 0},
    {GET("X:: y"), H1_OK, 0},
    {GET("!#$%&'*+-.^_`|~09: y"), H1_OK, 0},
    {GET("Connection: , close,, keep-alive ,"), H1_OK, 0},
    {GET("Connection:"), H1_OK, 0},
    {FIRST("5"), H1_OK, 0},
    {FIRST("0000000000000005"), H1_OK, 0}, /* 16 digits */
    {FIRST("5;a"), H1_OK, 0},
    {FIRST("5;a=b;c=\"d;\\\" \t\xff\";e"), H1_OK, 0},
    {FIRST("5;a=\"\""), H1_OK, 0},
    {CHUNKS("0005\r\nhello\r\n000;last\r\n\r\n"), H1_OK, 0},
    {CHUNKS("A\r\n0123456789\r\n0\r\n\r\nGET"), H1_OK, 3},
    {CHUNKS("a\r\n\r\n0\r\n\r\n\r\nx\r\n0\r\n\r\n"), H1_OK, 0}, /* line ends are content */
    {TRAIL("X-Checksum: abc\r\nContent_Length: 5"), H1_OK, 0},
    {TRAIL("Connection: close\r\nTrailer: x\r\nX-Offshoot-Context: y"), H1_OK, 0},
};

#define TABLE(t)                                                                                   \
    {                                                                                              \
#t, t, sizeof(t) / sizeof(t[0])                                                            \
    }

static const struct table {
    const char *name;
    const struct variant *variants;
    size_t count;
} tables[] = {
    TABLE(framing),
    TABLE(lines),
    TABLE(chunks),
    TABLE(accepted),
};

static struct run r = RUN_INIT(false);
static char copy[4096];

/* Prints what is wrong and returns false. */
static bool judged_rightly(const char *table, size_t i, const struct variant *v)
{
    bool right = r.error == v->error &&
                 (v->error || (r.status == H1_DONE && r.rest == v->rest && r.eof_ends));
    if (!right)
        print_error("%s[%zu] expected %s, rest %u; came: %s\n", table, i, h1_error_word(v->error),
            v->rest, r.text);
    return right;
}

static void each_variant_has_its_one_verdict(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        for (size_t i = 0; i < tables[t].count; i++) {
            const struct variant *v = &tables[t].variants[i];
            memcpy(copy, v->bytes, v->n);
            run_whole(&r, copy, v->n);
            wrong += !judged_rightly(tables[t].name, i, v);
        }
    }
    assert_int_equal(wrong, 0);
}

static void the_verdict_does_not_depend_on_the_packets(void **state)
{
    (void)state;
    unsigned wrong = 0;
    uint32_t cuts[sizeof(copy)];
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        for (size_t i = 0; i < tables[t].count; i++) {
            const struct variant *v = &tables[t].variants[i];
            for (uint32_t c = 0; c < v->n; c++)
                cuts[c] = c;
            memcpy(copy, v->bytes, v->n);
            run_cuts(&r, copy, v->n, cuts, v->n);
            wrong += !judged_rightly(tables[t].name, i, v);
        }
    }
    assert_int_equal(wrong, 0);
}

/* A bare CR, bare LF, NUL or other control byte is refused in any place of a head, put over a byte
 * or between two. */
static void a_stray_control_byte_is_refused_anywhere(void **state)
{
    (void)state;
    static const char head[] = "GET /some/path?query HTTP/1.1\r\nHost: example.org\r\n"
                               "Accept-Language: en-GB, en;q=0.9\r\nX: y\r\n\r\n";
    static const char strays[] = "\r\n\0\x01\x08\x0b\x0c\x1f\x7f";
    const uint32_t n = sizeof(head) - 1;
    for (uint32_t at = 0; at < n; at++) {
        for (size_t s = 0; s < sizeof(strays) - 1; s++) {
            if (head[at] != strays[s]) {
                memcpy(copy, head, n);
                copy[at] = strays[s];
                run_whole(&r, copy, n);
                assert_int_equal(r.status, H1_ERROR);
            }
            if (at == n - 1 && strays[s] == '\n')
                continue; /* only doubles the head's last byte: left for the next message */
            memcpy(copy, head, at);
            copy[at] = strays[s];
            memcpy(copy + at + 1, head + at, n - at);
            run_whole(&r, copy, n + 1);
            assert_int_equal(r.status, H1_ERROR);
        }
    }
}

static void there_are_enough_variants(void **state)
{
    (void)state;
    size_t count = 0;
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
        count += tables[t].count;
    assert_true(count >= 250);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_variant_has_its_one_verdict),
        cmocka_unit_test(the_verdict_does_not_depend_on_the_packets),
        cmocka_unit_test(a_stray_control_byte_is_refused_anywhere),
        cmocka_unit_test(there_are_enough_variants),
    };
    return unit_run(tests);
}
