/* The prefix of messages at every split point, its limits, and the percent-encoding of texts. */
#include "lib/wire/grpc.h"
#include "tests/unit/unit.h"
#include <errno.h>

struct got {
    char text[256];
    size_t n;
    size_t last; /* bytes of the last message */
    int stop;    /* what the function returns */
};

static int on_frame(void *arg, struct str message)
{
    struct got *g = arg;
    g->last = message.n;
    if (message.n < 64)
        g->n +=
            (size_t)snprintf(g->text + g->n, sizeof(g->text) - g->n, "<%.*s>", STR_ARG(message));
    return g->stop;
}

static struct str stream(void)
{
    return str_of("\0\0\0\0\3abc\0\0\0\0\0\0\0\0\0\1z", 19);
}

static void every_split_gives_the_same_messages(void **state)
{
    struct str all = stream();
    (void)state;
    for (size_t a = 0; a <= all.n; a++) {
        for (size_t b = a; b <= all.n; b++) {
            struct grpc_frames f = {.max = 3};
            struct got g = {.n = 0};
            assert_int_equal(grpc_frames_feed(&f, str_of(all.p, a), on_frame, &g), 0);
            assert_int_equal(grpc_frames_partial(&f), a != 0 && a != 8 && a != 13 && a != all.n);
            assert_int_equal(grpc_frames_feed(&f, str_of(all.p + a, b - a), on_frame, &g), 0);
            assert_int_equal(grpc_frames_feed(&f, str_from(all, b), on_frame, &g), 0);
            assert_str(str_of(g.text, g.n), "<abc><><z>");
            assert_false(grpc_frames_partial(&f));
            assert_null(f.body);
        }
    }
}

static void the_limit_is_a_limit(void **state)
{
    (void)state;
    struct grpc_frames f = {.max = 3};
    struct got g = {.n = 0};
    assert_int_equal(grpc_frames_feed(&f, str_of("\0\0\0\0\4abcd", 9), on_frame, &g), -EMSGSIZE);
    f = (struct grpc_frames){.max = UINT32_MAX};
    assert_int_equal(grpc_frames_feed(&f, str_of("\0\377\377\377\377abcd", 9), on_frame, &g), 0);
    assert_true(grpc_frames_partial(&f));
    grpc_frames_release(&f);
    assert_false(grpc_frames_partial(&f));
    f = (struct grpc_frames){.max = 3};
    assert_int_equal(grpc_frames_feed(&f, str_of("\1\0\0\0\0", 5), on_frame, &g), -ENOTSUP);
    f = (struct grpc_frames){.max = 0};
    assert_int_equal(grpc_frames_feed(&f, str_of("\0\0\0\0\0", 5), on_frame, &g), 0);
    assert_str(str_of(g.text, g.n), "<>");
}

static void the_function_stops_the_rest(void **state)
{
    struct grpc_frames f = {.max = 3};
    struct got g = {.stop = 7};
    (void)state;
    assert_int_equal(grpc_frames_feed(&f, stream(), on_frame, &g), 7);
    assert_str(str_of(g.text, g.n), "<abc>");
    grpc_frames_release(&f);
}

static void a_large_message_in_pieces_is_joined(void **state)
{
    static char bytes[5 + 100000];
    static const size_t pieces[] = {1, 4095, 4096, 4097, 65536, sizeof(bytes)};
    (void)state;
    memcpy(bytes, "\0\0\1\206\240", 5);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct grpc_frames f = {.max = 100000};
        struct got g = {.n = 0};
        for (size_t at = 0, n; at < sizeof(bytes); at += n) {
            n = sizeof(bytes) - at < pieces[i] ? sizeof(bytes) - at : pieces[i];
            assert_int_equal(grpc_frames_feed(&f, str_of(bytes + at, n), on_frame, &g), 0);
        }
        assert_int_equal(g.last, 100000);
        assert_null(f.body);
    }
}

static void memory_may_run_out_at_any_growth(void **state)
{
    static char bytes[5 + 10000];
    (void)state;
    memcpy(bytes, "\0\0\0\47\20", 5);
    for (unsigned long n = 1; n <= 3; n++) {
        struct grpc_frames f = {.max = 10000};
        struct got g = {.n = 0};
        int rc = 0;
        mem_fail_nth(n);
        for (size_t at = 0; rc == 0 && at < sizeof(bytes); at++)
            rc = grpc_frames_feed(&f, str_of(bytes + at, 1), on_frame, &g);
        assert_int_equal(rc, -ENOMEM);
        mem_fail_nth(0);
        grpc_frames_release(&f);
    }
}

static void round_trip(struct str text, const char *encoded)
{
    char out[3 * 256], back[3 * 256];
    size_t n = grpc_text_encode(text, out);
    if (encoded)
        assert_str(str_of(out, n), encoded);
    for (size_t i = 0; i < n; i++)
        assert_in_range(out[i], ' ', '~');
    assert_int_equal(grpc_text_decode(str_of(out, n), back), text.n);
    if (text.n)
        assert_memory_equal(back, text.p, text.n);
}

static void texts_survive_percent_encoding(void **state)
{
    char all[256];
    (void)state;
    round_trip(STR(""), "");
    round_trip(STR("plain, with blanks!"), "plain, with blanks!");
    round_trip(STR("100%"), "100%25");
    round_trip(STR("%41"), "%2541");
    round_trip(STR("a\r\nb\xc3\xa9"), "a%0D%0Ab%C3%A9");
    round_trip(STR(" edges "), "%20edges%20");
    round_trip(STR(" "), "%20");
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    round_trip(str_of(all, sizeof(all)), NULL);
}

static void broken_escapes_stay(void **state)
{
    static const char *const same[] = {"%", "%4", "%zz", "%4g", "a%", "%%"};
    char out[64];
    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        assert_str(str_of(out, grpc_text_decode(str_c(same[i]), out)), same[i]);
    assert_str(str_of(out, grpc_text_decode(STR("%41%4a%4A%%41"), out)), "AJJ%A");
}

static void statuses_have_words(void **state)
{
    (void)state;
    assert_string_equal(grpc_status_word(GRPC_OK), "OK");
    assert_string_equal(grpc_status_word(GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
    assert_string_equal(grpc_status_word(17), "UNKNOWN");
    for (unsigned i = 0; i <= 16; i++)
        assert_true(strlen(grpc_status_word(i)) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split_gives_the_same_messages),
        cmocka_unit_test(the_limit_is_a_limit),
        cmocka_unit_test(the_function_stops_the_rest),
        cmocka_unit_test(a_large_message_in_pieces_is_joined),
        cmocka_unit_test(memory_may_run_out_at_any_growth),
        cmocka_unit_test(texts_survive_percent_encoding),
        cmocka_unit_test(broken_escapes_stay),
        cmocka_unit_test(statuses_have_words),
    };
    return unit_run(tests);
}
