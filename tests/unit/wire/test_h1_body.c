/* Bodies: spans, ends, trailers and the bounds of chunks. Malformed ones are in
 * test_h1_smuggling.c and test_h1_reply.c. */
#include "tests/unit/unit.h"
#include "tests/unit/wire/h1_run.h"

static struct h1_limits limits = H1_LIMITS_DEFAULT;
static struct field fields[100];

struct fed {
    enum h1_status status;
    uint32_t used;
    struct str data;
    uint16_t trailers;
};

static struct h1_body begin(enum h1_framing framing, uint64_t length)
{
    struct h1_head head = {.framing = (uint8_t)framing, .length = length};
    struct h1_body b;
    h1_body_init(&b, &head, &limits);
    return b;
}

static struct fed feed(struct h1_body *b, char *data, size_t n)
{
    struct fed f = {H1_ERROR, 0, {NULL, 0}, 0};
    f.status = h1_body_feed(b, data, (uint32_t)n, &f.used, &f.data, fields, &f.trailers);
    return f;
}

/* Feeds a whole chunked body. H1_DONE or what came instead. */
static enum h1_status decode(struct h1_body *b, const char *body, struct fed *ret_last)
{
    static char copy[8192];
    size_t n = strlen(body), at = 0;
    assert_true(n <= sizeof(copy));
    memcpy(copy, body, n);
    *b = begin(H1_CHUNKED, 0);
    do {
        *ret_last = feed(b, copy + at, n - at);
        at += ret_last->used;
    } while (ret_last->status == H1_DATA);
    return ret_last->status;
}

static void no_body_is_done_at_once(void **state)
{
    (void)state;
    char next[] = "GET";
    struct h1_body b = begin(H1_NO_BODY, 77);
    struct fed f = feed(&b, next, 3);
    assert_int_equal(f.status, H1_DONE);
    assert_int_equal(f.used, 0);
    assert_true(h1_body_eof(&b));
    b = begin(H1_LENGTH, 0);
    assert_int_equal(feed(&b, next, 0).status, H1_DONE);
}

static void a_length_ends_exactly(void **state)
{
    (void)state;
    char bytes[] = "helloGET";
    struct h1_body b = begin(H1_LENGTH, 5);
    struct fed f = feed(&b, bytes, 2);
    assert_int_equal(f.status, H1_DATA);
    assert_str(f.data, "he");
    f = feed(&b, bytes + 2, 0);
    assert_int_equal(f.status, H1_MORE);
    assert_false(h1_body_eof(&b));
    f = feed(&b, bytes + 2, 6);
    assert_int_equal(f.status, H1_DATA);
    assert_int_equal(f.used, 3);
    assert_str(f.data, "llo");
    assert_ptr_equal(f.data.p, bytes + 2); /* in place */
    assert_true(h1_body_eof(&b));
    f = feed(&b, bytes + 5, 3);
    assert_int_equal(f.status, H1_DONE);
    assert_int_equal(f.used, 0);
    assert_int_equal(b.total, 5);
}

static void until_close_everything_is_content(void **state)
{
    (void)state;
    char bytes[] = "5\r\nhello";
    struct h1_body b = begin(H1_UNTIL_CLOSE, 0);
    assert_int_equal(feed(&b, bytes, 0).status, H1_MORE);
    struct fed f = feed(&b, bytes, 8);
    assert_int_equal(f.status, H1_DATA);
    assert_int_equal(f.data.n, 8);
    assert_int_equal(feed(&b, bytes, 0).status, H1_MORE);
    assert_true(h1_body_eof(&b));
    assert_int_equal(b.total, 8);
}

static void chunks_give_spans_in_place(void **state)
{
    (void)state;
    char bytes[] = "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\n\r\nNEXT";
    struct h1_body b = begin(H1_CHUNKED, 0);
    struct fed f = feed(&b, bytes, sizeof(bytes) - 1);
    assert_int_equal(f.status, H1_DATA);
    assert_str(f.data, "hello");
    assert_ptr_equal(f.data.p, bytes + 7);
    assert_int_equal(f.used, 12);
    f = feed(&b, bytes + 12, sizeof(bytes) - 1 - 12);
    assert_str(f.data, " world");
    size_t at = 12 + f.used;
    f = feed(&b, bytes + at, sizeof(bytes) - 1 - at);
    assert_int_equal(f.status, H1_DONE);
    assert_int_equal(f.trailers, 0);
    assert_string_equal(bytes + at + f.used, "NEXT");
    assert_int_equal(b.total, 11);
    assert_true(h1_body_eof(&b));
    assert_int_equal(feed(&b, bytes, 5).status, H1_DONE); /* and stays */
}

static void the_end_of_the_peer_ends_no_chunked_body(void **state)
{
    (void)state;
    static const char whole[] = "5\r\nhello\r\n0\r\nX: y\r\n\r\n";
    for (size_t cut = 0; cut < sizeof(whole) - 1; cut++) {
        char part[sizeof(whole)];
        struct h1_body b;
        struct fed last;
        snprintf(part, sizeof(part), "%.*s", (int)cut, whole);
        assert_int_equal(decode(&b, part, &last), H1_MORE);
        assert_false(h1_body_eof(&b));
    }
}

static void trailers_stay_unconsumed_until_whole(void **state)
{
    (void)state;
    char bytes[] =
        "0\r\nX-Sum: 1\r\nConnection: x\r\nBaggage: a=b\r\nX_Offshoot_Context: c\r\n\r\nN";
    const size_t end = sizeof(bytes) - 2;
    struct h1_body b = begin(H1_CHUNKED, 0);
    struct fed f = feed(&b, bytes, 8);
    assert_int_equal(f.status, H1_MORE);
    assert_int_equal(f.used, 3);
    for (size_t n = 5; n < end - 3; n++) {
        f = feed(&b, bytes + 3, n);
        assert_int_equal(f.status, H1_MORE);
        assert_int_equal(f.used, 0);
    }
    f = feed(&b, bytes + 3, end - 3 + 1);
    assert_int_equal(f.status, H1_DONE);
    assert_int_equal(f.used, end - 3);
    assert_int_equal(f.trailers, 4);
    assert_str(field_name(&fields[0]), "x-sum");
    assert_str(field_value(&fields[0]), "1");
    assert_int_equal(fields[0].flags, 0);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(fields[i].flags, FIELD_HOP);
    assert_int_equal(fields[3].id, FIELD_X_OFFSHOOT_CONTEXT);
}

static void the_section_may_move_between_calls(void **state)
{
    (void)state;
    char first[] = "0\r\nX: y\r\nZ: ", moved[] = "X: y\r\nZ: w\r\n\r\n";
    struct h1_body b = begin(H1_CHUNKED, 0);
    assert_int_equal(feed(&b, first, sizeof(first) - 1).used, 3);
    struct fed f = feed(&b, moved, sizeof(moved) - 1);
    assert_int_equal(f.status, H1_DONE);
    assert_int_equal(f.trailers, 2);
    assert_ptr_equal(fields[0].name, moved);
    assert_str(field_value(&fields[1]), "w");
}

static void sizes_are_bounded_by_digits_and_63_bits(void **state)
{
    (void)state;
    struct h1_body b;
    struct fed last;
    assert_int_equal(
        decode(&b, "0000000000000001\r\nx\r\n0000000000000000\r\n\r\n", &last), H1_DONE);
    assert_int_equal(decode(&b, "00000000000000001\r\nx", &last), H1_ERROR);
    assert_int_equal(b.error, H1_E_CHUNK_SIZE);
    assert_int_equal(decode(&b, "0\r\n\r\n", &last), H1_DONE);
    assert_int_equal(decode(&b, "00000000000000000\r\n\r\n", &last), H1_ERROR);
    assert_int_equal(decode(&b, "7fffffffffffffff\r\n", &last), H1_MORE);
    assert_true(b.left == INT64_MAX);
    assert_int_equal(decode(&b, "7FFFFFFFFFFFFFFF\r\nx", &last), H1_MORE);
    assert_true(b.left == INT64_MAX - 1);
    assert_int_equal(decode(&b, "8000000000000000\r\n", &last), H1_ERROR);
    assert_int_equal(decode(&b, "1\r\nx\r\n7ffffffffffffffe\r\n", &last), H1_MORE);
    assert_int_equal(decode(&b, "1\r\nx\r\n7fffffffffffffff\r\n", &last), H1_ERROR); /* the sum */
    assert_int_equal(b.error, H1_E_CHUNK_SIZE);
}

static void an_extension_may_fill_its_limit_and_no_more(void **state)
{
    (void)state;
    struct h1_body b;
    struct fed last;
    limits.chunk_ext_bytes = 8;
    assert_int_equal(decode(&b, "1;a=bcdef\r\nx\r\n0\r\n\r\n", &last), H1_DONE);
    assert_int_equal(decode(&b, "1;a=bcdefg\r\nx\r\n0\r\n\r\n", &last), H1_ERROR);
    assert_int_equal(b.error, H1_E_CHUNK_EXT);
    assert_int_equal(decode(&b, "1;a=\"b\";\"", &last), H1_ERROR);
    assert_int_equal(decode(&b, "0;a=bcdef\r\n\r\n", &last), H1_DONE);
    assert_int_equal(decode(&b, "0;a=bcdefg\r\n\r\n", &last), H1_ERROR);
    limits.chunk_ext_bytes = 0;
    assert_int_equal(decode(&b, "1;a\r\nx\r\n0\r\n\r\n", &last), H1_ERROR);
    limits = (struct h1_limits)H1_LIMITS_DEFAULT;
}

static void extensions_of_a_body_may_fill_16_limits_and_no_more(void **state)
{
    (void)state;
    struct h1_body b;
    struct fed last;
    char body[1024] = "";
    limits.chunk_ext_bytes = 8;
    for (unsigned i = 0; i < 16; i++)
        strcat(body, "1;a=bcdef\r\nx\r\n");
    size_t full = strlen(body);
    strcat(body, "0\r\n\r\n");
    assert_int_equal(decode(&b, body, &last), H1_DONE);
    strcpy(body + full, "1;a\r\nx\r\n0\r\n\r\n");
    assert_int_equal(decode(&b, body, &last), H1_ERROR);
    assert_int_equal(b.error, H1_E_CHUNK_EXT);
    limits = (struct h1_limits)H1_LIMITS_DEFAULT;
}

static void trailers_may_fill_their_limits_and_no_more(void **state)
{
    (void)state;
    struct h1_body b;
    struct fed last;
    limits.trailer_bytes = 12;
    assert_int_equal(decode(&b, "0\r\nX: y\r\nZ: w\r\n\r\n", &last), H1_DONE);
    assert_int_equal(last.trailers, 2);
    assert_int_equal(decode(&b, "0\r\nX: y\r\nZ: ww\r\n\r\n", &last), H1_ERROR);
    assert_int_equal(b.error, H1_E_TRAILER);
    assert_int_equal(decode(&b, "0\r\nX: yyyyyyyyyyy", &last), H1_MORE); /* 14: a CRLF may come */
    assert_int_equal(decode(&b, "0\r\nX: yyyyyyyyyyyy", &last), H1_ERROR);
    limits.trailer_bytes = 0;
    assert_int_equal(decode(&b, "0\r\n\r\n", &last), H1_DONE);
    assert_int_equal(decode(&b, "0\r\nX: y\r\n\r\n", &last), H1_ERROR);
    limits = (struct h1_limits)H1_LIMITS_DEFAULT;
    limits.fields = 1;
    assert_int_equal(decode(&b, "0\r\nX: y\r\n\r\n", &last), H1_DONE);
    assert_int_equal(decode(&b, "0\r\nX: y\r\nZ: w\r\n\r\n", &last), H1_ERROR);
    limits = (struct h1_limits)H1_LIMITS_DEFAULT;
}

static void an_error_stays(void **state)
{
    (void)state;
    struct h1_body b;
    struct fed last;
    char good[] = "0\r\n\r\n";
    assert_int_equal(decode(&b, "x", &last), H1_ERROR);
    assert_int_equal(feed(&b, good, 5).status, H1_ERROR);
    assert_false(h1_body_eof(&b));
}

static void chunk_heads_are_read_as_they_were_written(void **state)
{
    (void)state;
    char out[18];
    assert_int_equal(h1_put_chunk_head(out, 1), 3);
    assert_memory_equal(out, "1\r\n", 3);
    assert_int_equal(h1_put_chunk_head(out, 0x1a2b), 6);
    assert_memory_equal(out, "1a2b\r\n", 6);
    assert_int_equal(h1_put_chunk_head(out, UINT64_MAX), 18);
    assert_memory_equal(out, "ffffffffffffffff\r\n", 18);
    for (unsigned bit = 0; bit < 63; bit++) {
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t size = (UINT64_C(1) << bit) + (uint64_t)delta;
            if (size == 0)
                continue;
            struct h1_body b = begin(H1_CHUNKED, 0);
            uint32_t n = h1_put_chunk_head(out, size);
            assert_int_equal(feed(&b, out, n).status, H1_MORE);
            assert_true(b.left == size);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_body_is_done_at_once),
        cmocka_unit_test(a_length_ends_exactly),
        cmocka_unit_test(until_close_everything_is_content),
        cmocka_unit_test(chunks_give_spans_in_place),
        cmocka_unit_test(the_end_of_the_peer_ends_no_chunked_body),
        cmocka_unit_test(trailers_stay_unconsumed_until_whole),
        cmocka_unit_test(the_section_may_move_between_calls),
        cmocka_unit_test(sizes_are_bounded_by_digits_and_63_bits),
        cmocka_unit_test(an_extension_may_fill_its_limit_and_no_more),
        cmocka_unit_test(extensions_of_a_body_may_fill_16_limits_and_no_more),
        cmocka_unit_test(trailers_may_fill_their_limits_and_no_more),
        cmocka_unit_test(an_error_stays),
        cmocka_unit_test(chunk_heads_are_read_as_they_were_written),
    };
    return unit_run(tests);
}
