/* Peers that make work without getting anywhere: a counter that names the kind, GOAWAY with
 * ENHANCE_YOUR_CALM within 2,000 frames, memory within bounds. What a busy honest peer does
 * passes. */
#include "tests/unit/wire/h2_raw.h"

static const struct h2_limits limits = H2_LIMITS_TEST;

typedef void one_fn(struct raw *r, unsigned i);

static uint32_t id_of(unsigned i)
{
    return 2 * i + 1;
}

static void one_rapid_reset(struct raw *r, unsigned i)
{
    raw_get(r, id_of(i));
    raw_frame(r, T_RST, 0, id_of(i), STR("\0\0\0\x8"));
}

static void one_reset_of_a_closed_stream(struct raw *r, unsigned i)
{
    if (i == 0)
        raw_get(r, 1);
    raw_frame(r, T_RST, 0, 1, STR("\0\0\0\x8"));
}

/* The peer makes us reset the stream: a window that overflows. */
static void one_made_reset(struct raw *r, unsigned i)
{
    raw_headers(r, F_END_HEADERS, id_of(i), RAW_POST);
    raw_window(r, id_of(i), 0x7fffffff);
}

static void one_made_reset_by_length(struct raw *r, unsigned i)
{
    raw_headers(r, F_END_HEADERS, id_of(i), RAW_POST "content-length: 1\n");
    raw_frame(r, T_DATA, F_END_STREAM, id_of(i), STR("ab"));
}

static void one_refused(struct raw *r, unsigned i)
{
    raw_headers(r, F_END_HEADERS, id_of(i), RAW_POST);
}

static void one_ping(struct raw *r, unsigned i)
{
    (void)i;
    raw_frame(r, T_PING, 0, 0, STR("12345678"));
}

static void one_pong(struct raw *r, unsigned i)
{
    (void)i;
    raw_frame(r, T_PING, F_ACK, 0, STR("12345678"));
}

static void one_settings(struct raw *r, unsigned i)
{
    raw_setting(r, 4, 65535 - i % 2);
}

static void one_priority(struct raw *r, unsigned i)
{
    (void)i;
    raw_frame(r, T_PRIORITY, 0, 7, STR("\0\0\0\x3\x10"));
}

static void one_priority_update(struct raw *r, unsigned i)
{
    (void)i;
    raw_frame(r, 0x10, 0, 0, STR("\0\0\0\x3u=1"));
}

static void one_window(struct raw *r, unsigned i)
{
    (void)i;
    raw_window(r, 0, 1);
}

static void one_empty_data(struct raw *r, unsigned i)
{
    if (i == 0)
        raw_headers(r, F_END_HEADERS, 1, RAW_POST);
    raw_frame(r, T_DATA, 0, 1, STR(""));
}

static void one_padding(struct raw *r, unsigned i)
{
    if (i == 0)
        raw_headers(r, F_END_HEADERS, 1, RAW_POST);
    raw_frame(r, T_DATA, F_PADDED, 1, str_of("\3\0\0\0", 4));
}

/* To a stream that we reset, where nghttp2 says nothing of it. */
static void one_empty_data_behind_a_reset(struct raw *r, unsigned i)
{
    if (i == 0) {
        raw_headers(r, F_END_HEADERS, 1, RAW_POST);
        raw_headers(r, F_END_HEADERS, 1, "x: y\n");
    }
    raw_frame(r, T_DATA, 0, 1, STR(""));
}

/* Bodies without end for a stream that we reset: more than was on its way then. */
static void one_late_data(struct raw *r, unsigned i)
{
    static const char body[1000];
    if (i == 0) {
        raw_headers(r, F_END_HEADERS, 1, RAW_POST);
        raw_headers(r, F_END_HEADERS, 1, "x: y\n");
    }
    raw_frame(r, T_DATA, 0, 1, str_of(body, sizeof(body)));
}

static void one_goaway(struct raw *r, unsigned i)
{
    if (i == 0)
        raw_headers(r, F_END_HEADERS, 1, RAW_POST);
    raw_frame(r, T_GOAWAY, 0, 0, STR("\0\0\0\0\0\0\0\0"));
}

static void one_continuation(struct raw *r, unsigned i)
{
    if (i == 0)
        raw_frame(r, T_HEADERS, F_END_STREAM, 1, STR(""));
    raw_frame(r, T_CONTINUATION, 0, 1, STR(""));
}

/* Whole heads, each in many pieces. */
static void one_crumbled_head(struct raw *r, unsigned i)
{
    static struct raw block;
    block.n = 0;
    raw_fields(&block, RAW_GET);
    raw_frame(r, T_HEADERS, F_END_STREAM, id_of(i), str_of(block.bytes, 1));
    for (unsigned k = 1; k < 7; k++)
        raw_frame(r, T_CONTINUATION, 0, id_of(i), str_of(block.bytes + k, 1));
    raw_frame(r, T_CONTINUATION, F_END_HEADERS, id_of(i), str_of(block.bytes + 7, block.n - 7));
}

static void one_unknown(struct raw *r, unsigned i)
{
    raw_frame(r, 0x20 + i % 100, 0, 0, STR("x"));
}

static void one_bad_head(struct raw *r, unsigned i)
{
    raw_headers(r, F_END_HEADERS | F_END_STREAM, id_of(i), RAW_GET "connection: close\n");
}

static void one_bad_head_of_ours(struct raw *r, unsigned i)
{
    raw_headers(r, F_END_HEADERS | F_END_STREAM, id_of(i), RAW_GET "host: other\n");
}

/* One field of 4,000 bytes into the table, then a block of indices to it. */
static void one_bomb(struct raw *r, unsigned i)
{
    static struct raw block;
    static char value[4000];
    memset(value, 'v', sizeof(value));
    block.n = 0;
    raw_fields(&block, RAW_GET);
    raw_u(&block, 0x40, 1); /* literal with indexing, new name */
    raw_number(&block, 1);
    raw_add(&block, "x", 1);
    raw_number(&block, sizeof(value));
    raw_add(&block, value, sizeof(value));
    for (int k = 0; k < 10000; k++)
        raw_u(&block, 0x80 | 62, 1);
    raw_frame(r, T_HEADERS, F_END_STREAM | F_END_HEADERS, id_of(i), str_of(block.bytes, block.n));
}

static const struct {
    const char *name;
    one_fn *one;
    enum h2_odd kind;
    bool unread; /* the peer reads nothing */
} floods[] = {
    {"rapid reset", one_rapid_reset, H2_ODD_RESET, false},
    {"rapid reset, unread", one_rapid_reset, H2_ODD_RESET, true},
    {"resets of a closed stream", one_reset_of_a_closed_stream, H2_ODD_RESET, false},
    {"made resets", one_made_reset, H2_ODD_OWN_RESET, false},
    {"made resets by length", one_made_reset_by_length, H2_ODD_OWN_RESET, false},
    {"made resets, unread", one_made_reset, H2_ODD_REFUSED, true},
    {"refused", one_refused, H2_ODD_REFUSED, false},
    {"ping", one_ping, H2_ODD_PING, false},
    {"ping, unread", one_ping, H2_ODD_PING, true},
    {"pong", one_pong, H2_ODD_PING, false},
    {"settings", one_settings, H2_ODD_SETTINGS, false},
    {"settings, unread", one_settings, H2_ODD_SETTINGS, true},
    {"priority", one_priority, H2_ODD_PRIORITY, false},
    {"priority update", one_priority_update, H2_ODD_PRIORITY, false},
    {"window", one_window, H2_ODD_WINDOW, false},
    {"empty data", one_empty_data, H2_ODD_EMPTY_DATA, false},
    {"padding", one_padding, H2_ODD_EMPTY_DATA, false},
    {"empty data behind a reset", one_empty_data_behind_a_reset, H2_ODD_EMPTY_DATA, false},
    {"late data", one_late_data, H2_ODD_EMPTY_DATA, false},
    {"goaway", one_goaway, H2_ODD_UNKNOWN, false},
    {"continuation", one_continuation, H2_ODD_CONTINUATION, false},
    {"crumbled heads", one_crumbled_head, H2_ODD_CONTINUATION, false},
    {"unknown", one_unknown, H2_ODD_UNKNOWN, false},
    {"bad heads", one_bad_head, H2_ODD_HEAD, false},
    {"bad heads of ours", one_bad_head_of_ours, H2_ODD_HEAD, false},
    {"bomb", one_bomb, H2_ODD_HEAD, false},
};

/* Frames until the session says no. */
static unsigned frames_until_cut(unsigned which, size_t *ret_blocks)
{
    struct raw_peer *v = peer_new(true, &limits);
    unsigned frames = 0, i = 0;
    int rc = 0;
    peer_feed(v);
    size_t blocks = mem_live();
    *ret_blocks = 0;
    for (; rc == 0 && frames < 2500; i++) {
        floods[which].one(&v->in, i);
        frames++;
        if (floods[which].unread) {
            rc = h2_input(v->s.h, v->in.bytes, v->in.n, v->s.now);
            v->in.n = 0;
        } else {
            rc = peer_feed(v);
        }
        if (mem_live() - blocks > *ret_blocks)
            *ret_blocks = mem_live() - blocks;
        for (unsigned k = 0; k < PAIR_STREAMS; k++)
            if (v->s.seen[k].used && !v->s.seen[k].st.h && v->s.seen[k].closes)
                v->s.seen[k].used = false;
    }
    peer_take(v);
    if (rc != -EPROTO || !v->said.goaway || v->said.goaway_code != H2_ENHANCE_YOUR_CALM)
        fail_msg("%s: %d after %u, goaway %d code %u (%s)", floods[which].name, rc, frames,
            v->said.goaway, v->said.goaway_code, h2_reason(v->s.h));
    if (v->s.odd[floods[which].kind] == 0)
        fail_msg("%s: no counter", floods[which].name);
    assert_true(strlen(h2_reason(v->s.h)) > 10);
    assert_true(h2_over(v->s.h));
    peer_free(v);
    return frames;
}

static void floods_are_cut(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
        size_t blocks;
        unsigned frames = frames_until_cut(i, &blocks);
        if (frames > 2000 || blocks > 2500)
            fail_msg("%s: %u frames, %zu blocks", floods[i].name, frames, blocks);
    }
}

/* Streams whose replies nobody reads cannot pile up: above the advertised number they are refused,
 * whether their owner has let go of them or not. */
static void replies_that_nobody_reads(void **state)
{
    struct raw_peer *v = peer_new(true, &limits);
    int rc = 0;
    (void)state;
    peer_feed(v);
    for (unsigned i = 0; rc == 0 && i < 2500; i++) {
        raw_get(&v->in, id_of(i));
        rc = h2_input(v->s.h, v->in.bytes, v->in.n, v->s.now);
        v->in.n = 0;
        for (unsigned k = 0; k < PAIR_STREAMS; k++) {
            struct seen *n = &v->s.seen[k];
            if (n->used && n->st.h && n->heads) {
                side_reply(&v->s, n, "HTTP/1.1 404 Not Found\r\n\r\n", true);
                h2_done(&n->st);
                n->used = false;
            }
        }
        assert_true(h2_streams(v->s.h) <= 33 + limits.odd);
    }
    assert_int_equal(rc, -EPROTO);
    assert_int_equal(v->s.opened, 32);
    peer_free(v);
}

/* ---- honest peers ---- */

/* 10,000 requests, one in three cancelled; the others' replies bring DATA, for which the peer says
 * two WINDOW_UPDATEs and a PING. */
static void a_busy_peer_is_never_cut(void **state)
{
    struct raw_peer *v = peer_new(true, &limits);
    unsigned done = 0, resets = 0;
    (void)state;
    peer_feed(v);
    v->answer = false;
    for (unsigned i = 0; i < 10000; i++) {
        raw_get(&v->in, id_of(i));
        if (i % 3 == 2) {
            raw_frame(&v->in, T_RST, 0, id_of(i), STR("\0\0\0\x8"));
            resets++;
        }
        assert_int_equal(peer_feed(v), 0);
        for (unsigned k = 0; k < PAIR_STREAMS; k++) {
            struct seen *n = &v->s.seen[k];
            if (!n->used)
                continue;
            if (n->st.h) {
                struct str body = STR("hello");
                assert_int_equal(side_reply(&v->s, n, "HTTP/1.1 200 OK\r\n\r\n", false), 0);
                assert_int_equal(side_send(&v->s, n, &body, true), 0);
                peer_take(v);
                raw_window(&v->in, 0, 5);
                raw_window(&v->in, 0, 5);
                raw_frame(&v->in, T_PING, 0, 0, STR("12345678"));
                done++;
            }
            n->used = false;
        }
        assert_int_equal(peer_feed(v), 0);
    }
    assert_int_equal(done + resets, 10000);
    assert_int_equal(v->s.odd[H2_ODD_RESET], resets);
    assert_int_equal(v->s.odd[H2_ODD_PING], 0);
    assert_int_equal(v->s.odd[H2_ODD_WINDOW], 0);
    assert_false(v->said.goaway);
    peer_free(v);
}

/* A reader that gives back each KiB of a large body with an update of both windows. */
static void many_small_window_updates(void **state)
{
    static char body[60000];
    struct raw_peer *v = peer_new(true, &limits);
    (void)state;
    peer_feed(v);
    v->answer = false;
    for (unsigned i = 0; i < 100; i++) {
        struct str rest = str_of(body, sizeof(body));
        raw_get(&v->in, id_of(i));
        assert_int_equal(peer_feed(v), 0);
        struct seen *n = &v->s.seen[0];
        assert_int_equal(side_reply(&v->s, n, "HTTP/1.1 200 OK\r\n\r\n", false), 0);
        while (side_send(&v->s, n, &rest, true) == 1)
            peer_take(v);
        peer_take(v);
        for (unsigned k = 0; k < 59; k++)
            raw_window(&v->in, 0, 1024);
        assert_int_equal(peer_feed(v), 0);
        n->used = false;
    }
    assert_int_equal(v->s.odd[H2_ODD_WINDOW], 0);
    peer_free(v);
}

/* Whole uploads, head and body in one read; and what was under way when their stream was reset. */
static void uploads_in_one_piece(void **state)
{
    static const char body[16000];
    struct raw_peer *v = peer_new(true, &limits);
    (void)state;
    peer_feed(v);
    for (unsigned i = 0; i < 500; i++) {
        raw_headers(&v->in, F_END_HEADERS, id_of(i), RAW_POST);
        for (unsigned k = 0; k < 4; k++)
            raw_frame(
                &v->in, T_DATA, k == 3 ? F_END_STREAM : 0, id_of(i), str_of(body, sizeof(body)));
        assert_int_equal(peer_feed(v), 0);
    }
    assert_int_equal(v->s.odd[H2_ODD_EMPTY_DATA], 0);
    v->answer = false;
    for (unsigned i = 500; i < 600; i++) {
        raw_headers(&v->in, F_END_HEADERS, id_of(i), RAW_POST);
        assert_int_equal(peer_feed(v), 0);
        for (unsigned k = 0; k < PAIR_STREAMS; k++)
            if (v->s.seen[k].st.h) {
                h2_reset(&v->s.seen[k].st, H2_CANCEL);
                v->s.seen[k].used = false;
            }
        peer_take(v);
        for (unsigned k = 0; k < 4; k++)
            raw_frame(&v->in, T_DATA, 0, id_of(i), str_of(body, sizeof(body)));
        raw_frame(&v->in, T_RST, 0, id_of(i), STR("\0\0\0\x8"));
        v->s.now += 100;
        assert_int_equal(peer_feed(v), 0);
    }
    assert_int_equal(v->s.odd[H2_ODD_EMPTY_DATA], 0);
    peer_free(v);
}

/* Tokens come back with time and with work. */
static void the_bucket_fills_up_again(void **state)
{
    struct raw_peer *v = peer_new(true, &limits);
    (void)state;
    peer_feed(v);
    for (unsigned i = 0; i < 200; i++)
        one_unknown(&v->in, i);
    assert_int_equal(peer_feed(v), 0);
    v->s.now += 1000;
    for (unsigned i = 0; i < 10; i++)
        one_unknown(&v->in, i);
    assert_int_equal(peer_feed(v), 0);
    raw_get(&v->in, 1);
    assert_int_equal(peer_feed(v), 0);
    one_unknown(&v->in, 0);
    assert_int_equal(peer_feed(v), 0);
    one_unknown(&v->in, 0);
    assert_int_equal(peer_feed(v), -EPROTO);
    peer_free(v);
}

/* What nghttp does first: PRIORITY of five idle streams, all in one piece with its request. */
static void a_tree_of_priorities(void **state)
{
    struct raw_peer *v = peer_new(true, &limits);
    (void)state;
    for (uint32_t id = 3; id <= 11; id += 2)
        raw_frame(&v->in, T_PRIORITY, 0, id, STR("\0\0\0\0\x10"));
    raw_get(&v->in, 13);
    assert_int_equal(peer_feed(v), 0);
    assert_int_equal(v->said.ended[13], 1);
    assert_int_equal(v->s.odd[H2_ODD_PRIORITY], 5);
    peer_free(v);
}

/* Before our RST_STREAM leaves: the owner must not take for whole what it was given until then. The
 * reset counts, even when the owner lets go of the stream first. */
static void what_is_no_message_is_known_at_once(void **state)
{
    (void)state;
    struct h2_limits ours = limits;
    ours.checked_once = true;
    for (unsigned i = 0; i < 3; i++) {
        struct raw_peer *v = peer_new(true, &ours);
        v->answer = false;
        assert_int_equal(peer_feed(v), 0);
        raw_headers(&v->in, F_END_HEADERS, 1,
            i == 2 ? RAW_POST "content-length: 2\n" : RAW_POST "content-length: 0\n");
        raw_frame(&v->in, T_DATA, i == 0 ? F_END_STREAM : 0, 1, STR("ab"));
        if (i == 2)
            raw_headers(&v->in, F_END_HEADERS | F_END_STREAM, 1, ":path: /\n");
        assert_int_equal(h2_input(v->s.h, v->in.bytes, v->in.n, v->s.now), 0);
        assert_true(v->s.seen[0].st.broken);
        h2_reset(&v->s.seen[0].st, H2_CANCEL);
        v->in.n = 0;
        peer_take(v);
        assert_int_equal(v->said.frames[T_RST], 1);
        assert_int_equal(v->said.rst_code, H2_PROTOCOL_ERROR);
        assert_int_equal(v->s.odd[i == 2 ? H2_ODD_HEAD : H2_ODD_OWN_RESET], 1);
        peer_free(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floods_are_cut),
        cmocka_unit_test(replies_that_nobody_reads),
        cmocka_unit_test(a_busy_peer_is_never_cut),
        cmocka_unit_test(many_small_window_updates),
        cmocka_unit_test(uploads_in_one_piece),
        cmocka_unit_test(the_bucket_fills_up_again),
        cmocka_unit_test(a_tree_of_priorities),
        cmocka_unit_test(what_is_no_message_is_known_at_once),
    };
    return unit_run(tests);
}
