/* Key files: what is accepted can sign and verify; what is refused is told without its secrets. */
#include "lib/graph/keyring.h"
#include "tests/fuzz/fuzz.h"

#define NOW INT64_C(1800000000)

/* No long word of the input stands in the message. */
static void demand_silent(struct str input, const char *message)
{
    struct str text = str_c(message);
    size_t n = 0;
    for (size_t i = 0; i <= input.n; i++) {
        bool space = i == input.n || input.p[i] == ' ' || input.p[i] == '\t' || input.p[i] == '\n';
        if (!space) {
            n++;
            continue;
        }
        demand(n < 20 || !memmem(text.p, text.n, input.p + i - n, n));
        n = 0;
    }
}

static void demand_sound(struct keyring *k)
{
    char out[TOKEN_MAX];
    struct token t;
    unsigned n = keyring_count(k);
    demand(n >= 1 && n <= KEYS_MAX);
    for (unsigned i = 0; i < n; i++) {
        demand(keyring_kid(k, i).n >= 1 && keyring_kid(k, i).n <= 8);
        for (unsigned j = 0; j < i; j++)
            demand(!str_eq(keyring_kid(k, i), keyring_kid(k, j)));
    }
    struct signer *s = signer_new(k);
    demand(s && signer_signs(s));
    size_t len = signer_mint(s, 'm', STR("main"), 7, 0, 0, NOW, out);
    demand(token_parse(str_of(out, len), &t) == 0 && str_eq(t.kid, keyring_kid(k, 0)));
    demand(signer_verify(s, str_of(out, len), &t, NOW) == FAULT_NONE);
    signer_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct err e = {0};
    struct keyring *k = keyring_parse(text, "keys", "offshoot", &e);
    if (k)
        demand_sound(k);
    else
        demand_silent(text, e.text);
    demand(!k == (e.code != 0));
    keyring_unref(k);
    return 0;
}
