/* Key files, and the macs of tokens. The signed tokens here were made by Python's hmac module. */
#include "lib/graph/keyring.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes 0 to 31, and bytes 64 to 127. */
#define SECRET_1 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define SECRET_2                                                                                   \
    "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl9gYWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+fw=="
#define KEY_1  "k1 " SECRET_1 "\n"
#define KEY_2  "k2 " SECRET_2 "\n"
#define EXP    INT64_C(1800000000) /* base 36: tro8w0 */
#define MESH   "v1m.feat-42.0.00.tro8w0.k1.sEUp-G2p2eZrAoR4XTPiHA"
#define EDGE   "v1e.feat-42.0.10.tro8w0.k2.QJ93g0tt_NAay3nrfO6kAA"
#define PINNED "v1m.feat-42.z.08.tro8w0.k1.vxS7sgK6KemNcECJdv1ZLw"
#define ELSE   "v1m.feat-42.0.00.tro8w0.k1.9i1vWX6AEanEUc4jOxZJlg" /* trust domain "other" */
#define LATER  "v1m.main.0.00.tro8xo.k2.uWhAUwhvRJQIO8K0mewgdQ"    /* "a.example", EXP + 60 */

static struct keyring *parse(const char *text)
{
    struct err e = {0};
    struct keyring *k = keyring_parse(str_c(text), "keys", "offshoot", &e);
    if (!k)
        fail_msg("%s", e.text);
    return k;
}

static struct signer *signer_of(const char *text, const char *domain)
{
    struct err e = {0};
    struct keyring *k = keyring_parse(str_c(text), "keys", domain, &e);
    struct signer *s = signer_new(k);
    assert_non_null(k);
    assert_non_null(s);
    keyring_unref(k);
    return s;
}

static enum context_fault verify_n(struct signer *s, struct str text, int64_t now)
{
    struct token t;
    return token_parse(text, &t) || !t.is_signed ? FAULT_MALFORMED
                                                 : signer_verify(s, text, &t, now);
}

static enum context_fault verify(struct signer *s, const char *text, int64_t now)
{
    return verify_n(s, str_c(text), now);
}

static void assert_minted(struct signer *s, char use, const char *env, uint64_t pin, uint8_t flags,
    uint64_t exp, int64_t now, const char *want)
{
    char out[TOKEN_MAX];
    for (int i = 0; i < 2; i++) /* made, then remembered */
        assert_str(str_of(out, signer_mint(s, use, str_c(env), pin, flags, exp, now, out)), want);
}

/* ---- key files ---- */

static void a_key_file_lists_its_keys_in_order(void **state)
{
    (void)state;
    struct keyring *k = parse("# ours\n\n  " KEY_1 "\t\r\nk2\t" SECRET_2 "\r\n#" KEY_1
                              "A-_9zZ00 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
    assert_int_equal(keyring_count(k), 3);
    assert_str(keyring_kid(k, 0), "k1");
    assert_str(keyring_kid(k, 1), "k2");
    assert_str(keyring_kid(k, 2), "A-_9zZ00");
    assert_ptr_equal(keyring_ref(k), k);
    keyring_unref(k);
    keyring_unref(k);
    keyring_unref(NULL);
    assert_int_equal(keyring_count(NULL), 0);
}

static void a_bad_line_is_told_by_its_place_and_never_by_its_secret(void **state)
{
    static const struct {
        const char *text, *want;
    } bad[] = {
        {"", "keys: no key in it"},
        {"# nothing\n", "keys: no key in it"},
        {KEY_1 SECRET_2 "\n", "keys:2: not a key"},
        {"\n\nlonger-than-8 " SECRET_1, "keys:3: not a key"},
        {"k.1 " SECRET_1, "keys:1: not a key"},
        {"k1", "keys:1: the secret of key 'k1' is not base64"},
        {"k1 " SECRET_1 " more", "keys:1: the secret of key 'k1' is not base64"},
        {"k1 " SECRET_1 SECRET_1, "keys:1: the secret of key 'k1' is not base64"},
        {"k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", "keys:1: the secret of key 'k1'"},
        {"k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8==", "keys:1: the secret of key 'k1'"},
        {"k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", "keys:1: the secret of key 'k1'"},
        {"k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdH-8=", "keys:1: the secret of key 'k1'"},
        {"k1 QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl9gYWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+"
         "f4A",
            "keys:1: the secret of key 'k1'"},
        {KEY_1 KEY_2 "k1 " SECRET_2, "keys:3: duplicate key 'k1'"},
        {"a " SECRET_1 "\nb " SECRET_1 "\nc " SECRET_1 "\nd " SECRET_1 "\ne " SECRET_1
         "\nf " SECRET_1 "\ng " SECRET_1 "\nh " SECRET_1 "\ni " SECRET_1,
            "keys:9: more than 8 keys"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err e = {0};
        assert_null(keyring_parse(str_c(bad[i].text), "keys", "offshoot", &e));
        if (strncmp(e.text, bad[i].want, strlen(bad[i].want)) != 0)
            fail_msg("have \"%s\", want \"%s...\"", e.text, bad[i].want);
        assert_null(strstr(e.text, "AAEC"));
        assert_null(strstr(e.text, "QEFC"));
        assert_int_equal(e.code, -EINVAL);
    }
}

static void a_trust_domain_has_a_form(void **state)
{
    static const char longest[] = "a23456789012345678901234567890123456789012345678901234567890123";
    struct err e = {0};
    (void)state;
    assert_null(keyring_parse(STR(KEY_1), "keys", "", &e));
    assert_null(keyring_parse(STR(KEY_1), "keys", "a|b", &e));
    assert_null(keyring_parse(STR(KEY_1), "keys", "A", &e));
    assert_int_equal(strlen(longest), TRUST_DOMAIN_MAX);
    struct keyring *k = keyring_parse(STR(KEY_1), "keys", longest, &e);
    assert_non_null(k);
    keyring_unref(k);
    char longer[TRUST_DOMAIN_MAX + 2] = "b";
    strcat(longer, longest);
    assert_null(keyring_parse(STR(KEY_1), "keys", longer, &e));
}

/* ---- files ---- */

static void write_file(const char *path, const char *text, size_t n, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void refuses_file(const char *path, int code, const char *word)
{
    struct err e = {0};
    assert_null(keyring_read(path, "offshoot", &e));
    assert_int_equal(e.code, code);
    assert_non_null(strstr(e.text, word));
    assert_null(strstr(e.text, "AAEC"));
}

static void a_key_file_that_others_may_use_is_refused(void **state)
{
    char folder[] = "/tmp/test_keyring.XXXXXX", path[64];
    static char large[65537];
    struct err e = {0};
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/keys", folder);
    refuses_file(path, -ENOENT, "cannot open key file");
    refuses_file(folder, -EINVAL, "not a regular file");
    write_file(path, KEY_1 KEY_2, strlen(KEY_1 KEY_2), 0640);
    refuses_file(path, -EPERM, "mode 640");
    write_file(path, KEY_1, strlen(KEY_1), 0602);
    refuses_file(path, -EPERM, "may be used by others");
    write_file(path, KEY_1 "x", strlen(KEY_1 "x"), 0600);
    refuses_file(path, -EINVAL, "keys:2: ");
    memset(large, '\n', sizeof large);
    write_file(path, large, sizeof large, 0600);
    refuses_file(path, -EFBIG, "larger than 65536");
    memcpy(large, KEY_1, strlen(KEY_1));
    write_file(path, large, sizeof large - 1, 0400);
    struct keyring *k = keyring_read(path, "offshoot", &e);
    assert_int_equal(keyring_count(k), 1);
    keyring_unref(k);
    unlink(path);
    rmdir(folder);
}

/* ---- verifying ---- */

static void verifies_what_others_signed(void **state)
{
    struct signer *s = signer_of(KEY_1 KEY_2, "offshoot");
    struct signer *other = signer_of(KEY_1, "other");
    struct signer *example = signer_of(KEY_2, "a.example");
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(verify(s, MESH, EXP), FAULT_NONE);
        assert_int_equal(verify(s, EDGE, EXP), FAULT_NONE);
        assert_int_equal(verify(s, PINNED, EXP), FAULT_NONE);
        assert_int_equal(verify(s, ELSE, EXP), FAULT_BAD_MAC);
        assert_int_equal(verify(other, ELSE, EXP), FAULT_NONE);
        assert_int_equal(verify(other, MESH, EXP), FAULT_BAD_MAC);
        assert_int_equal(verify(other, EDGE, EXP), FAULT_UNKNOWN_KEY);
        assert_int_equal(verify(example, LATER, EXP), FAULT_NONE);
    }
    signer_free(s);
    signer_free(other);
    signer_free(example);
}

static void without_keys_nothing_is_known_and_tokens_are_unsigned(void **state)
{
    struct signer *s = signer_new(NULL);
    (void)state;
    for (int i = 0; i < 2; i++, signer_free(s), s = NULL) { /* no signer is no keys either */
        assert_false(signer_signs(s));
        assert_false(signer_knows(s, STR("k1")));
        assert_int_equal(verify(s, MESH, EXP), FAULT_UNKNOWN_KEY);
        assert_minted(s, 'm', "feat-42", 35, 8, 0, EXP, "v1m.feat-42.z.08");
        assert_minted(s, 'e', "feat-42", 0, 0, EXP, EXP, "v1e.feat-42.0.00");
    }
}

static void a_token_counts_for_the_skew_and_not_a_second_longer(void **state)
{
    struct signer *s = signer_of(KEY_1, "offshoot");
    (void)state;
    for (int i = 0; i < 2; i++) { /* the second time round it is remembered */
        assert_int_equal(verify(s, MESH, EXP + TOKEN_SKEW_S + 1), FAULT_PAST_EXP);
        assert_int_equal(verify(s, MESH, EXP + TOKEN_SKEW_S), FAULT_NONE);
        assert_int_equal(verify(s, MESH, 0), FAULT_NONE);
        assert_int_equal(verify(s, MESH, -5), FAULT_NONE);
        assert_int_equal(verify(s, MESH, INT64_MAX), FAULT_PAST_EXP);
    }
    signer_free(s);
}

static void every_flipped_bit_and_every_cut_is_refused(void **state)
{
    struct signer *s = signer_of(KEY_1 KEY_2, "offshoot");
    static const char *const tokens[] = {MESH, EDGE, PINNED};
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        char text[TOKEN_MAX];
        size_t n = strlen(tokens[k]);
        assert_int_equal(verify(s, tokens[k], EXP), FAULT_NONE);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            memcpy(text, tokens[k], n);
            text[bit / 8] ^= (char)(1 << bit % 8);
            assert_int_not_equal(verify_n(s, str_of(text, n), EXP), FAULT_NONE);
        }
        for (size_t cut = 0; cut < n; cut++)
            assert_int_not_equal(verify_n(s, str_of(tokens[k], cut), EXP), FAULT_NONE);
        memcpy(text, tokens[k], n);
        text[2] = text[2] == 'm' ? 'e' : 'm'; /* replayed as the other use */
        enum context_fault f = verify_n(s, str_of(text, n), EXP);
        assert_true(f == FAULT_BAD_MAC || f == FAULT_MALFORMED);
    }
    signer_free(s);
}

static void more_tokens_than_are_remembered_still_verify(void **state)
{
    struct signer *s = signer_of(KEY_1, "offshoot");
    (void)state;
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 3000; i++) {
            char out[TOKEN_MAX];
            size_t n = signer_mint(s, 'm', STR("feat-42"), i, 0, EXP, EXP, out);
            assert_int_equal(verify_n(s, str_of(out, n), EXP), FAULT_NONE);
            out[n - 1] = out[n - 1] == 'A' ? 'Q' : 'A';
            assert_int_equal(verify_n(s, str_of(out, n), EXP), FAULT_BAD_MAC);
        }
    }
    signer_free(s);
}

/* ---- minting ---- */

static void mints_what_others_would(void **state)
{
    struct signer *s = signer_of(KEY_1 KEY_2, "offshoot");
    struct signer *moved = signer_of(KEY_2 KEY_1, "offshoot");
    struct signer *example = signer_of(KEY_2, "a.example");
    (void)state;
    assert_minted(s, 'm', "feat-42", 0, 0, EXP, 1, MESH);
    assert_minted(s, 'm', "feat-42", 35, 8, EXP, 1, PINNED);
    assert_minted(moved, 'e', "feat-42", 0, CONTEXT_EXPLAIN, EXP, 1, EDGE);
    assert_minted(example, 'm', "main", 0, 0, EXP + 60, 1, LATER);
    signer_free(s);
    signer_free(moved);
    signer_free(example);
}

static uint64_t minted_exp(struct signer *s, int64_t now)
{
    char out[TOKEN_MAX];
    struct token t;
    size_t n = signer_mint(s, 'm', STR("feat-42"), 0, 0, 0, now, out);
    assert_int_equal(token_parse(str_of(out, n), &t), 0);
    assert_int_equal(signer_verify(s, str_of(out, n), &t, now), FAULT_NONE);
    return t.exp;
}

static void a_minted_token_lives_to_the_end_of_a_minute_whatever_the_clock_did(void **state)
{
    struct signer *s = signer_of(KEY_1, "offshoot");
    (void)state;
    assert_int_equal(EXP % 60, 0);
    assert_int_equal(minted_exp(s, EXP - MESH_LIFE_S), EXP);
    assert_int_equal(minted_exp(s, EXP - MESH_LIFE_S + 1), EXP + 60);
    assert_int_equal(minted_exp(s, EXP - MESH_LIFE_S + 60), EXP + 60);
    assert_int_equal(minted_exp(s, EXP + 86400 - MESH_LIFE_S), EXP + 86400);
    assert_int_equal(minted_exp(s, EXP - 86400 - MESH_LIFE_S), EXP - 86400); /* the clock jumped */
    assert_int_equal(minted_exp(s, -1), MESH_LIFE_S);
    signer_free(s);
}

static void each_part_makes_a_token_of_its_own(void **state)
{
    struct signer *s = signer_of(KEY_1, "offshoot");
    char name[64], out[TOKEN_MAX];
    (void)state;
    memset(name, 'a', sizeof name);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 1; i <= 63; i++) {
            for (unsigned part = 0; part < 5; part++) {
                struct token t;
                uint64_t pin = part == 1 ? UINT64_MAX >> i : 0, exp = EXP + (part == 2 ? i : 0);
                uint8_t flags = part == 3 ? i & CONTEXT_EXPLAIN : 0;
                char use = part == 4 ? 'e' : 'm';
                size_t n = signer_mint(s, use, str_of(name, i), pin, flags, exp, EXP, out);
                assert_int_equal(token_parse(str_of(out, n), &t), 0);
                assert_int_equal(t.use, use);
                assert_int_equal(t.env.n, i);
                assert_int_equal(t.pin, pin);
                assert_int_equal(t.exp, exp);
                assert_int_equal(t.flags, flags);
                assert_int_equal(signer_verify(s, str_of(out, n), &t, EXP), FAULT_NONE);
            }
        }
    }
    signer_free(s);
}

/* ---- rotation, memory ---- */

static void a_rotation_by_two_keys_refuses_nothing_on_its_way(void **state)
{
    static const char *const files[] = {KEY_1, KEY_1 KEY_2, KEY_2 KEY_1, KEY_2};
    char out[TOKEN_MAX];
    (void)state;
    for (unsigned i = 1; i < 4; i++) { /* two neighbours of the rotation at any time */
        struct signer *before = signer_of(files[i - 1], "offshoot");
        struct signer *after = signer_of(files[i], "offshoot");
        size_t n = signer_mint(before, 'm', STR("main"), 0, 0, 0, EXP, out);
        assert_int_equal(verify_n(after, str_of(out, n), EXP), FAULT_NONE);
        n = signer_mint(after, 'm', STR("main"), 0, 0, 0, EXP, out);
        assert_int_equal(verify_n(before, str_of(out, n), EXP), FAULT_NONE);
        signer_free(before);
        signer_free(after);
    }
    struct signer *last = signer_of(KEY_2, "offshoot");
    assert_int_equal(verify(last, MESH, EXP), FAULT_UNKNOWN_KEY);
    signer_free(last);
}

static void out_of_memory_is_an_error_and_leaves_nothing(void **state)
{
    (void)state;
    for (unsigned long n = 1;; n++) {
        struct err e = {0};
        mem_fail_nth(n);
        struct keyring *k = keyring_parse(STR(KEY_1), "keys", "offshoot", &e);
        struct signer *s = k ? signer_new(k) : NULL;
        bool failed = mem_count() >= n;
        mem_fail_nth(0);
        assert_int_equal(!k, failed && n == 1);
        assert_int_equal(!s, failed);
        if (!k)
            assert_int_equal(e.code, -ENOMEM);
        signer_free(s);
        keyring_unref(k);
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_file_lists_its_keys_in_order),
        cmocka_unit_test(a_bad_line_is_told_by_its_place_and_never_by_its_secret),
        cmocka_unit_test(a_trust_domain_has_a_form),
        cmocka_unit_test(a_key_file_that_others_may_use_is_refused),
        cmocka_unit_test(verifies_what_others_signed),
        cmocka_unit_test(without_keys_nothing_is_known_and_tokens_are_unsigned),
        cmocka_unit_test(a_token_counts_for_the_skew_and_not_a_second_longer),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_refused),
        cmocka_unit_test(more_tokens_than_are_remembered_still_verify),
        cmocka_unit_test(mints_what_others_would),
        cmocka_unit_test(a_minted_token_lives_to_the_end_of_a_minute_whatever_the_clock_did),
        cmocka_unit_test(each_part_makes_a_token_of_its_own),
        cmocka_unit_test(a_rotation_by_two_keys_refuses_nothing_on_its_way),
        cmocka_unit_test(out_of_memory_is_an_error_and_leaves_nothing),
    };
    return unit_run(tests);
}
