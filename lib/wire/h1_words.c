/* Words and sentences for errors, reason phrases for status codes. */
#include "lib/wire/h1.h"

static const struct {
    const char *word;
    const char *text;
} errors[H1_ERROR_COUNT] = {
    [H1_OK] = {"ok", "nothing is wrong"},
    [H1_E_BARE_CR] = {"bare-cr", "a carriage return is not followed by a line feed"},
    [H1_E_BARE_LF] = {"bare-lf", "a line ends without a carriage return"},
    [H1_E_CONTROL] = {"control-byte", "the head holds a NUL or another control byte"},
    [H1_E_REQUEST_LINE] = {"request-line", "the request line is not method, target, version"},
    [H1_E_METHOD] = {"method", "the method is not a token of at most 32 bytes"},
    [H1_E_TARGET] = {"target", "the request target has none of the four forms"},
    [H1_E_VERSION] = {"version", "the version is neither HTTP/1.0 nor HTTP/1.1"},
    [H1_E_STATUS_LINE] = {"status-line", "the status line is not version, status 100-599, reason"},
    [H1_E_FIELD_NAME] = {"field-name", "a field name is empty, not a token or not before a colon"},
    [H1_E_OBS_FOLD] = {"obs-fold", "a field line starts with white space"},
    [H1_E_FIELD_VALUE] = {"field-value", "Connection is no list of at most 255 tokens"},
    [H1_E_HEAD_TOO_LARGE] = {"head-too-large", "the head is larger than the limit"},
    [H1_E_TOO_MANY_FIELDS] = {"too-many-fields", "the head has more fields than the limit"},
    [H1_E_HOST_MISSING] = {"host-missing", "an HTTP/1.1 request has no Host"},
    [H1_E_HOST_TWICE] = {"host-twice", "there is more than one Host"},
    [H1_E_HOST] = {"host", "Host is no authority or disagrees with the target"},
    [H1_E_LENGTH] = {"content-length", "Content-Length is not plain digits within 63 bits"},
    [H1_E_LENGTH_TWICE] = {"content-length-twice", "there is more than one Content-Length"},
    [H1_E_BOTH_FRAMINGS] = {"both-framings", "both Content-Length and Transfer-Encoding are given"},
    [H1_E_CODING] = {"transfer-coding", "the transfer coding is not one final chunked"},
    [H1_E_CHUNK_SIZE] = {"chunk-size", "a chunk size is not 1 to 16 hex digits within 63 bits"},
    [H1_E_CHUNK_EXT] = {"chunk-extension", "a chunk extension is malformed or too long"},
    [H1_E_CHUNK_END] = {"chunk-end", "a chunk's data is not followed by CRLF"},
    [H1_E_TRAILER] = {"trailer", "the trailers are malformed, too large or change the framing"},
    [H1_E_BODY_FORBIDDEN] = {"body-forbidden", "a body is declared where none may be"},
};

const char *h1_error_word(enum h1_error e)
{
    return (unsigned)e < H1_ERROR_COUNT ? errors[e].word : "unknown";
}

const char *h1_error_text(enum h1_error e)
{
    return (unsigned)e < H1_ERROR_COUNT ? errors[e].text : "unknown error";
}

/* RFC 9110 section 15 and the registry's 102, 103, 207, 208, 226, 421-431, 451, 506-511. */
static const char *const reasons[600] = {
    [100] = "Continue",
    [101] = "Switching Protocols",
    [102] = "Processing",
    [103] = "Early Hints",
    [200] = "OK",
    [201] = "Created",
    [202] = "Accepted",
    [203] = "Non-Authoritative Information",
    [204] = "No Content",
    [205] = "Reset Content",
    [206] = "Partial Content",
    [207] = "Multi-Status",
    [208] = "Already Reported",
    [226] = "IM Used",
    [300] = "Multiple Choices",
    [301] = "Moved Permanently",
    [302] = "Found",
    [303] = "See Other",
    [304] = "Not Modified",
    [305] = "Use Proxy",
    [307] = "Temporary Redirect",
    [308] = "Permanent Redirect",
    [400] = "Bad Request",
    [401] = "Unauthorized",
    [402] = "Payment Required",
    [403] = "Forbidden",
    [404] = "Not Found",
    [405] = "Method Not Allowed",
    [406] = "Not Acceptable",
    [407] = "Proxy Authentication Required",
    [408] = "Request Timeout",
    [409] = "Conflict",
    [410] = "Gone",
    [411] = "Length Required",
    [412] = "Precondition Failed",
    [413] = "Content Too Large",
    [414] = "URI Too Long",
    [415] = "Unsupported Media Type",
    [416] = "Range Not Satisfiable",
    [417] = "Expectation Failed",
    [421] = "Misdirected Request",
    [422] = "Unprocessable Content",
    [423] = "Locked",
    [424] = "Failed Dependency",
    [425] = "Too Early",
    [426] = "Upgrade Required",
    [428] = "Precondition Required",
    [429] = "Too Many Requests",
    [431] = "Request Header Fields Too Large",
    [451] = "Unavailable For Legal Reasons",
    [500] = "Internal Server Error",
    [501] = "Not Implemented",
    [502] = "Bad Gateway",
    [503] = "Service Unavailable",
    [504] = "Gateway Timeout",
    [505] = "HTTP Version Not Supported",
    [506] = "Variant Also Negotiates",
    [507] = "Insufficient Storage",
    [508] = "Loop Detected",
    [510] = "Not Extended",
    [511] = "Network Authentication Required",
};

struct str h1_reason(unsigned status)
{
    return status < sizeof(reasons) / sizeof(reasons[0]) ? str_c(reasons[status]) : STR("");
}
