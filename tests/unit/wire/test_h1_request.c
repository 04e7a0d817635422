/* Requests: what an accepted head says, and the bounds. Refusals are in test_h1_smuggling.c. */
#include "tests/unit/unit.h"
#include "tests/unit/wire/h1_run.h"

static struct run r = RUN_INIT(false);
static char bytes[4096];

/* Takes "..." as one message; the views in r stay valid until the next call. */
static const struct h1_head *take(const char *message)
{
    size_t n = strlen(message);
    assert_true(n <= sizeof(bytes));
    memcpy(bytes, message, n);
    run_whole(&r, bytes, (uint32_t)n);
    if (!r.head_done)
        fail_msg("no head: %s", r.text);
    return &r.head;
}

static const struct h1_head *take_line(const char *line)
{
    char message[512];
    snprintf(message, sizeof(message), "%s\r\nHost: a:1\r\n\r\n", line);
    return take(message);
}

static const struct h1_head *take_fields(const char *fields)
{
    char message[2048];
    snprintf(message, sizeof(message), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
    return take(message);
}

static enum h1_error refused(const char *message)
{
    size_t n = strlen(message);
    memcpy(bytes, message, n);
    run_whole(&r, bytes, (uint32_t)n);
    return r.error;
}

static const struct field *field_of(const struct h1_head *h, const char *name)
{
    for (unsigned i = 0; i < h->nfields; i++)
        if (str_eq(field_name(&h->fields[i]), str_c(name)))
            return &h->fields[i];
    fail_msg("no field %s", name);
    return NULL;
}

static void a_whole_head_is_taken_apart(void **state)
{
    (void)state;
    const char *message = "GET /a/b?c=d HTTP/1.1\r\nHost: Shop.example:8080\r\n"
                          "X-Some-Quite-Long-Field-Name-1_2: v\r\nBaggage:\t a=b \t\r\n"
                          "Empty:\r\n\r\n";
    const struct h1_head *h = take(message);
    assert_int_equal(h->size, strlen(message));
    assert_int_equal(h->method_id, H1_GET);
    assert_str(h->method, "GET");
    assert_str(h->target, "/a/b?c=d");
    assert_str(h->path, "/a/b?c=d");
    assert_str(h->authority, "Shop.example:8080");
    assert_int_equal(h->form, H1_ORIGIN);
    assert_int_equal(h->minor, 1);
    assert_int_equal(h->framing, H1_NO_BODY);
    assert_true(h->keep_alive);
    assert_false(h->has_length);
    assert_int_equal(h->nfields, 4);
    assert_str(field_name(&h->fields[0]), "host");
    assert_int_equal(h->fields[0].id, FIELD_HOST);
    assert_str(field_name(&h->fields[1]), "x-some-quite-long-field-name-1_2");
    assert_int_equal(h->fields[1].id, FIELD_OTHER);
    assert_int_equal(h->fields[2].id, FIELD_BAGGAGE);
    assert_str(field_value(&h->fields[2]), "a=b");
    assert_str(field_value(&h->fields[3]), "");
}

/* For each length of name around the sixteen bytes that are lowered at once, with a byte at each
 * place that is no letter, and at each distance from the end of the buffer. */
static void names_are_lowered_and_values_left_alone(void **state)
{
    (void)state;
    for (unsigned len = 1; len <= 40; len++) {
        for (unsigned odd = 0; odd <= len; odd++) {
            char fields[128], name[64];
            for (unsigned i = 0; i < len; i++)
                name[i] = i == odd ? '_' : (char)('A' + i % 26);
            name[len] = '\0';
            snprintf(fields, sizeof(fields), "%s:ABCXYZ[@`{\r\n", name);
            const struct h1_head *h = take_fields(fields);
            for (unsigned i = 0; i < len; i++)
                name[i] = ascii_lower(name[i]);
            assert_str(field_name(&h->fields[1]), name);
            assert_str(field_value(&h->fields[1]), "ABCXYZ[@`{");
        }
    }
}

static void methods_are_known_by_their_exact_case(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum h1_method id;
        bool safe, idempotent;
    } methods[] = {
        {"GET", H1_GET, true, true},
        {"HEAD", H1_HEAD, true, true},
        {"POST", H1_POST, false, false},
        {"PUT", H1_PUT, false, true},
        {"DELETE", H1_DELETE, false, true},
        {"OPTIONS", H1_OPTIONS, true, true},
        {"PATCH", H1_PATCH, false, false},
        {"TRACE", H1_TRACE, true, true},
        {"get", H1_METHOD_OTHER, false, false},
        {"GETS", H1_METHOD_OTHER, false, false},
        {"PROPFIND", H1_METHOD_OTHER, false, false},
        {"DELETF", H1_METHOD_OTHER, false, false},
        {"P", H1_METHOD_OTHER, false, false},
    };
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "%s / HTTP/1.1", methods[i].name);
        const struct h1_head *h = take_line(line);
        assert_int_equal(h->method_id, methods[i].id);
        assert_str(h->method, methods[i].name);
        assert_int_equal(h1_method_safe(methods[i].id), methods[i].safe);
        assert_int_equal(h1_method_idempotent(methods[i].id), methods[i].idempotent);
    }
    assert_false(h1_method_safe(H1_CONNECT));
    assert_false(h1_method_idempotent(H1_CONNECT));
}

static void each_target_form_gives_path_and_authority(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum h1_form form;
        const char *target, *path, *authority;
    } forms[] = {
        {"GET /x?y HTTP/1.1", H1_ORIGIN, "/x?y", "/x?y", "a:1"},
        {"GET http://a:1 HTTP/1.1", H1_ABSOLUTE, "http://a:1", "/", "a:1"},
        {"GET http://A:1/ HTTP/1.1", H1_ABSOLUTE, "http://A:1/", "/", "A:1"},
        {"GET HTTPS://a:1/p?q HTTP/1.1", H1_ABSOLUTE, "HTTPS://a:1/p?q", "/p?q", "a:1"},
        {"OPTIONS * HTTP/1.1", H1_ASTERISK, "*", "*", "a:1"},
        {"OPTIONS http://a:1 HTTP/1.1", H1_ABSOLUTE, "http://a:1", "*", "a:1"},
        {"OPTIONS http://a:1/ HTTP/1.1", H1_ABSOLUTE, "http://a:1/", "/", "a:1"},
        {"CONNECT a:1 HTTP/1.1", H1_AUTHORITY, "a:1", "", "a:1"},
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        const struct h1_head *h = take_line(forms[i].line);
        assert_int_equal(h->form, forms[i].form);
        assert_str(h->target, forms[i].target);
        assert_str(h->path, forms[i].path);
        assert_str(h->authority, forms[i].authority);
    }
}

static void without_a_host_1_0_has_no_authority(void **state)
{
    (void)state;
    const struct h1_head *h = take("GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(h->minor, 0);
    assert_str(h->authority, "");
    h = take("GET http://b/ HTTP/1.0\r\n\r\n");
    assert_str(h->authority, "b");
}

static void headers_alone_decide_the_framing(void **state)
{
    (void)state;
    const struct h1_head *h = take_fields("Content-Length: 9223372036854775807\r\n");
    assert_int_equal(h->framing, H1_LENGTH);
    assert_true(h->has_length);
    assert_true(h->length == INT64_MAX);
    h = take_fields("Content-Length: 0\r\n");
    assert_int_equal(h->framing, H1_LENGTH);
    assert_true(h1_body_empty(h));
    h = take_fields("Transfer-Encoding: chunked\r\n");
    assert_int_equal(h->framing, H1_CHUNKED);
    assert_false(h->has_length);
    assert_false(h1_body_empty(h));
    h = take_fields("");
    assert_int_equal(h->framing, H1_NO_BODY);
    assert_true(h1_body_empty(h));
    h = take("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(h->framing, H1_NO_BODY);
}

static void persistence_follows_version_and_connection(void **state)
{
    (void)state;
    assert_true(take_fields("")->keep_alive);
    assert_true(take_fields("Connection: keep-alive\r\n")->keep_alive);
    assert_false(take_fields("Connection: close\r\n")->keep_alive);
    assert_false(take_fields("Connection: Keep-Alive, CLOSE\r\n")->keep_alive);
    assert_false(take_fields("Connection: x\r\nConnection: close\r\n")->keep_alive);
    assert_true(take_fields("Connection: closed\r\nKeep-Alive: close\r\n")->keep_alive);
    assert_true(take_fields("Proxy-Connection: close\r\n")->keep_alive);
    assert_false(take("GET / HTTP/1.0\r\n\r\n")->keep_alive);
    assert_true(take("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")->keep_alive);
    assert_false(
        take("GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n")->keep_alive);
}

static void an_upgrade_needs_both_fields_and_1_1(void **state)
{
    (void)state;
    assert_true(take_fields("Connection: Upgrade\r\nUpgrade: websocket\r\n")->upgrade);
    assert_true(take_fields("Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n")->upgrade);
    assert_false(take_fields("Upgrade: websocket\r\n")->upgrade);
    assert_false(take_fields("Connection: upgrade\r\n")->upgrade);
    assert_false(take("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")->upgrade);
    const struct h1_head *h =
        take_fields("Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n");
    assert_true(h->upgrade);
    assert_int_equal(h->framing, H1_LENGTH);
}

static void expectations_are_told_apart(void **state)
{
    (void)state;
    const struct h1_head *h = take_fields("Expect: 100-Continue\r\n");
    assert_true(h->expect_continue);
    assert_false(h->expect_other);
    h = take_fields("Expect: 200-ok\r\n");
    assert_false(h->expect_continue);
    assert_true(h->expect_other);
    h = take_fields("Expect: 100-continue, x=y\r\n");
    assert_true(h->expect_continue);
    assert_true(h->expect_other);
    h = take_fields("Expect: 100-continued\r\n");
    assert_false(h->expect_continue);
    assert_true(h->expect_other);
    h = take("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n");
    assert_false(h->expect_continue);
    assert_false(h->expect_other);
}

static void te_is_asked_for_trailers_only(void **state)
{
    (void)state;
    assert_true(take_fields("TE: trailers\r\n")->te_trailers);
    assert_true(take_fields("TE: deflate;q=0.5, Trailers\r\n")->te_trailers);
    assert_true(take_fields("TE: gzip\r\nTE: trailers\r\n")->te_trailers);
    assert_false(take_fields("TE: deflate\r\n")->te_trailers);
    assert_false(take_fields("TE: x-trailers\r\n")->te_trailers);
    assert_false(take_fields("TE: a;b=\"c, trailers, d\"\r\n")->te_trailers);
}

static void fields_of_one_hop_are_marked(void **state)
{
    (void)state;
    static const char *const hop[] = {"connection", "keep-alive", "proxy-connection", "te",
        "transfer-encoding", "upgrade", "http2-settings", "x-named", "early", "cookie"};
    static const char *const kept[] = {"host", "via", "baggage", "traceparent", "tracestate",
        "x-offshoot-context", "x_offshoot_route", "x-offshoot-new", "uberctx-offshoot",
        "ot-baggage-offshoot", "trailer", "x-other", "x-name"};
    const struct h1_head *h = take_fields(
        "Early: 1\r\nConnection: X-Named, early, Host, Via, Baggage, Traceparent, Tracestate\r\n"
        "Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: x\r\nTransfer-Encoding: chunked\r\n"
        "Upgrade: x\r\nHTTP2-Settings: x\r\nx-named: 1\r\nX-Name: 1\r\nVia: x\r\nBaggage: x\r\n"
        "Connection: x-offshoot-context, x_offshoot_route, uberctx-offshoot, x-offshoot-new\r\n"
        "Connection: ot-baggage-offshoot, COOKIE\r\nCookie: x\r\nTraceparent: x\r\n"
        "Tracestate: x\r\nX-Offshoot-Context: x\r\nX_Offshoot_Route: x\r\nX-Offshoot-New: x\r\n"
        "Uberctx-Offshoot: x\r\nOt-Baggage-Offshoot: x\r\nTrailer: x\r\nX-Other: x\r\n");
    for (size_t i = 0; i < sizeof(hop) / sizeof(hop[0]); i++)
        assert_int_equal(field_of(h, hop[i])->flags, FIELD_HOP);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        assert_int_equal(field_of(h, kept[i])->flags, 0);
    h = take_fields("Connection: content-length\r\nContent-Length: 5\r\n");
    assert_int_equal(field_of(h, "content-length")->flags, 0);
    assert_int_equal(h->length, 5);
    assert_int_equal(
        field_of(take_fields("Trailer: x\r\nConnection: trailer\r\n"), "trailer")->flags,
        FIELD_HOP);
}

static void one_empty_line_before_the_head_is_skipped(void **state)
{
    (void)state;
    const struct h1_head *h = take("\r\nPUT /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_str(h->method, "PUT");
    assert_str(h->path, "/x");
    assert_int_equal(h->size, strlen("\r\nPUT /x HTTP/1.1\r\nHost: a\r\n\r\n"));
    h = take("\r\nGET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_str(h->authority, "a");
    assert_str(h->path, "/x");
}

static void the_head_may_fill_its_limit_and_no_more(void **state)
{
    (void)state;
    const char *head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const uint32_t n = (uint32_t)strlen(head);
    r.limits.head_bytes = n;
    assert_int_equal(take(head)->size, n);
    r.limits.head_bytes = n - 1;
    assert_int_equal(refused(head), H1_E_HEAD_TOO_LARGE);
    assert_int_equal(refused("GET / HTTP/1.1\r\nHost: aaaaa"), H1_E_HEAD_TOO_LARGE);
    assert_int_equal(refused("GET / HTTP/1.1\r\nHost: aaaa"), H1_OK);
    assert_int_equal(r.status, H1_MORE);
    assert_int_equal(refused("GET / HTTP/1.1\r\nHost: aaa\n"), H1_E_BARE_LF);
    assert_int_equal(refused("GET / HTTP/1.1\r\nHost: aaaa\n"), H1_E_HEAD_TOO_LARGE);
    r.limits = (struct h1_limits)H1_LIMITS_DEFAULT;
}

static void pipelined_bytes_do_not_count_for_the_head(void **state)
{
    (void)state;
    const char *head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    r.limits.head_bytes = (uint32_t)strlen(head);
    take("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(r.rest, strlen(head));
    r.limits = (struct h1_limits)H1_LIMITS_DEFAULT;
}

static void the_fields_may_fill_their_limit_and_no_more(void **state)
{
    (void)state;
    r.limits.fields = 3;
    assert_int_equal(take_fields("A: 1\r\nB: 2\r\n")->nfields, 3);
    assert_int_equal(
        refused("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n"), H1_E_TOO_MANY_FIELDS);
    r.limits = (struct h1_limits)H1_LIMITS_DEFAULT;
}

static void connection_may_list_255_options_and_no_more(void **state)
{
    (void)state;
    char fields[1024] = "Connection: ";
    for (unsigned i = 0; i < 255; i++)
        strcat(fields, "a,");
    strcat(fields, "\r\n");
    take_fields(fields);
    char more[1100];
    snprintf(more, sizeof(more), "GET / HTTP/1.1\r\n%sConnection: a\r\n", fields);
    assert_int_equal(refused(more), H1_E_FIELD_VALUE);
}

static void a_host_name_may_have_255_bytes_and_no_more(void **state)
{
    (void)state;
    char message[512];
    snprintf(message, sizeof(message), "GET / HTTP/1.1\r\nHost: %0255d:80\r\n\r\n", 0);
    assert_int_equal(take(message)->authority.n, 258);
    snprintf(message, sizeof(message), "GET / HTTP/1.1\r\nHost: %0256d:80\r\n\r\n", 0);
    assert_int_equal(refused(message), H1_E_HOST);
}

/* A field name's length has 16 bits; the head limit may be larger. */
static void a_field_name_may_have_65535_bytes_and_no_more(void **state)
{
    (void)state;
    static char big[70000];
    for (uint32_t len = UINT16_MAX; len <= UINT16_MAX + 1; len++) {
        int n = snprintf(big, sizeof(big), "GET / HTTP/1.1\r\nHost: a\r\n");
        memset(big + n, 'X', len);
        strcpy(big + n + len, ": y\r\n\r\n");
        struct h1_limits limits = {sizeof(big), 256, 8192, 100};
        struct h1_parser p;
        struct h1_head h;
        h1_parser_reset(&p, &limits, r.fields);
        enum h1_status status = h1_request(&p, big, (uint32_t)strlen(big), &h);
        assert_int_equal(status, len == UINT16_MAX ? H1_DONE : H1_ERROR);
        if (status == H1_DONE)
            assert_int_equal(h.fields[1].name_len, UINT16_MAX);
        else
            assert_int_equal(p.error, H1_E_FIELD_NAME);
    }
}

/* The error comes with the byte, or with the end of the line, that makes it certain. */
static void a_fault_is_told_early(void **state)
{
    (void)state;
    static const struct {
        const char *message; /* its last byte is the one that tells */
        enum h1_error error;
    } faults[] = {
        {"\n", H1_E_BARE_LF},
        {"GET /\n", H1_E_BARE_LF},
        {"GET /\rx", H1_E_BARE_CR},
        {"GET / HTTP/1.1\r\nX\x01", H1_E_CONTROL},
        {"GET / HTTP/2.0\r\n", H1_E_VERSION},
        {"G@T / HTTP/1.1\r\n", H1_E_METHOD},
        {"GET / HTTP/1.1\r\n x\r\n", H1_E_OBS_FOLD},
        {"GET / HTTP/1.1\r\nContent-Length: x\r\n", H1_E_LENGTH},
        {"GET / HTTP/1.1\r\nTransfer-Encoding: x\r\n", H1_E_CODING},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", H1_E_HOST_TWICE},
    };
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct h1_parser p;
        struct h1_head h;
        uint32_t n = (uint32_t)strlen(faults[i].message);
        memcpy(bytes, faults[i].message, n);
        h1_parser_reset(&p, &r.limits, r.fields);
        assert_int_equal(h1_request(&p, bytes, n - 1, &h), H1_MORE);
        assert_int_equal(h1_request(&p, bytes, n, &h), H1_ERROR);
        assert_int_equal(p.error, faults[i].error);
        assert_int_equal(h1_request(&p, bytes, n, &h), H1_ERROR); /* and stays */
    }
}

static void the_head_is_untouched_until_it_is_done(void **state)
{
    (void)state;
    struct h1_parser p;
    struct h1_head h, before;
    memset(&h, 0x5a, sizeof(h));
    memcpy(&before, &h, sizeof(h));
    const char *message = "GET / HTTP/1.1\r\nX: y\r\n\r\n";
    uint32_t n = (uint32_t)strlen(message);
    memcpy(bytes, message, n);
    h1_parser_reset(&p, &r.limits, r.fields);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(h1_request(&p, bytes, i, &h), H1_MORE);
    assert_int_equal(h1_request(&p, bytes, n, &h), H1_ERROR);
    assert_int_equal(p.error, H1_E_HOST_MISSING);
    assert_memory_equal(&h, &before, sizeof(h));
}

static void every_error_has_a_word_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < H1_ERROR_COUNT; i++) {
        const char *word = h1_error_word((enum h1_error)i);
        assert_true(strlen(word) > 0 && strlen(h1_error_text((enum h1_error)i)) > 10);
        assert_int_equal(strspn(word, "abcdefghijklmnopqrstuvwxyz-"), strlen(word));
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(word, h1_error_word((enum h1_error)j));
    }
    assert_string_equal(h1_error_word(H1_E_BARE_LF), "bare-lf");
    assert_string_equal(h1_error_word(H1_ERROR_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_head_is_taken_apart),
        cmocka_unit_test(names_are_lowered_and_values_left_alone),
        cmocka_unit_test(methods_are_known_by_their_exact_case),
        cmocka_unit_test(each_target_form_gives_path_and_authority),
        cmocka_unit_test(without_a_host_1_0_has_no_authority),
        cmocka_unit_test(headers_alone_decide_the_framing),
        cmocka_unit_test(persistence_follows_version_and_connection),
        cmocka_unit_test(an_upgrade_needs_both_fields_and_1_1),
        cmocka_unit_test(expectations_are_told_apart),
        cmocka_unit_test(te_is_asked_for_trailers_only),
        cmocka_unit_test(fields_of_one_hop_are_marked),
        cmocka_unit_test(one_empty_line_before_the_head_is_skipped),
        cmocka_unit_test(the_head_may_fill_its_limit_and_no_more),
        cmocka_unit_test(pipelined_bytes_do_not_count_for_the_head),
        cmocka_unit_test(the_fields_may_fill_their_limit_and_no_more),
        cmocka_unit_test(connection_may_list_255_options_and_no_more),
        cmocka_unit_test(a_host_name_may_have_255_bytes_and_no_more),
        cmocka_unit_test(a_field_name_may_have_65535_bytes_and_no_more),
        cmocka_unit_test(a_fault_is_told_early),
        cmocka_unit_test(the_head_is_untouched_until_it_is_done),
        cmocka_unit_test(every_error_has_a_word_of_its_own),
    };
    return unit_run(tests);
}
