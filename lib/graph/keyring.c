/* Key files: parsed in one pass, line by line. What is told about a line never holds more of it
 * than its kid. */
#include "lib/graph/keyring.h"
#include "lib/base/files.h"
#include "lib/base/mem.h"
#include "lib/graph/keyring_int.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE_MAX 65536u

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Strict base64 (RFC 4648 section 4): padded or not, and the bits that are left over are zero. */
static bool decode_secret(struct str s, struct key *k)
{
    size_t padded = s.n, n = 0;
    uint32_t bits = 0, left = 0;
    while (s.n && s.p[s.n - 1] == '=')
        s.n--;
    if (padded - s.n > 2 || (padded > s.n && padded % 4) || s.n % 4 == 1)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        int digit = base64_digit(s.p[i]);
        if (digit < 0)
            return false;
        bits = (bits << 6 | (uint32_t)digit) & 0xffff;
        left += 6;
        if (left < 8)
            continue;
        left -= 8;
        if (n == SECRET_MAX)
            return false;
        k->secret[n++] = (unsigned char)(bits >> left);
    }
    k->secret_len = (uint8_t)n;
    return n >= SECRET_MIN && (bits & ((1u << left) - 1)) == 0;
}

static bool is_kid(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                c == '-' || c == '_'))
            return false;
    }
    return s.n > 0 && s.n <= KID_MAX;
}

static int parse_key(
    struct keyring *k, struct str line, const char *name, unsigned n, struct err *e)
{
    size_t end = 0;
    while (end < line.n && line.p[end] != ' ' && line.p[end] != '\t')
        end++;
    struct str kid = {line.p, end}, secret = str_trim(str_from(line, end));
    if (!is_kid(kid)) /* perhaps a secret without a kid: not shown */
        return err_set(e, -EINVAL,
            "%s:%u: not a key (want 'KID SECRET', KID 1 to 8 of A-Z a-z 0-9 _ -)", name, n);
    for (unsigned i = 0; i < k->count; i++)
        if (str_eq(keyring_kid(k, i), kid))
            return err_set(e, -EINVAL, "%s:%u: duplicate key '%.*s'", name, n, STR_ARG(kid));
    if (k->count == KEYS_MAX)
        return err_set(e, -EINVAL, "%s:%u: more than %d keys", name, n, KEYS_MAX);
    struct key *key = &k->keys[k->count];
    memcpy(key->kid, kid.p, kid.n);
    key->kid_len = (uint8_t)kid.n;
    if (!decode_secret(secret, key))
        return err_set(e, -EINVAL,
            "%s:%u: the secret of key '%.*s' is not base64 of %d to %d bytes", name, n,
            STR_ARG(kid), SECRET_MIN, SECRET_MAX);
    k->count++;
    return 0;
}

static int parse_lines(struct keyring *k, struct str text, const char *name, struct err *e)
{
    for (unsigned n = 1; text.n; n++) {
        size_t end = str_find(text, '\n');
        struct str line = {text.p, end};
        text = str_from(text, end < text.n ? end + 1 : end);
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        line = str_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        int r = parse_key(k, line, name, n, e);
        if (r)
            return r;
    }
    return k->count ? 0 : err_set(e, -EINVAL, "%s: no key in it", name);
}

static bool is_trust_domain(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_'))
            return false;
    }
    return s.n > 0 && s.n <= TRUST_DOMAIN_MAX;
}

struct keyring *keyring_parse(
    struct str text, const char *name, const char *trust_domain, struct err *e)
{
    struct str domain = str_c(trust_domain);
    if (!is_trust_domain(domain)) {
        err_set(e, -EINVAL, "not a trust domain '%.80s' (want 1 to %d of a-z 0-9 . _ -)",
            trust_domain, TRUST_DOMAIN_MAX);
        return NULL;
    }
    struct keyring *k = mem_zalloc(sizeof *k);
    if (!k) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    atomic_init(&k->refs, 1);
    memcpy(k->prefix, "offshoot1|", 10);
    memcpy(k->prefix + 10, domain.p, domain.n);
    k->prefix[10 + domain.n] = '|';
    k->prefix_len = 11 + domain.n;
    if (parse_lines(k, text, name, e) != 0) {
        keyring_unref(k);
        return NULL;
    }
    return k;
}

/* Secrets that others may read are none. */
static int judge_file(const struct stat *st, const char *path, struct err *e)
{
    if (!S_ISREG(st->st_mode))
        return err_set(e, -EINVAL, "not a regular file '%s'", path);
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return err_set(e, -EPERM, "key file '%s' belongs to another user", path);
    if (st->st_mode & 077)
        return err_set(e, -EPERM, "key file '%s' may be used by others (mode %03o, want 600)", path,
            (unsigned)st->st_mode & 0777);
    if (st->st_size > KEY_FILE_MAX)
        return err_set(e, -EFBIG, "key file '%s' is larger than %u bytes", path, KEY_FILE_MAX);
    return 0;
}

/* Reads into bytes[KEY_FILE_MAX + 1]: the length, or negative with e. */
static ssize_t read_keys(const char *path, char *bytes, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_set(e, -errno, "cannot open key file '%s': %s", path, strerror(errno));
    ssize_t n = fstat(fd, &st) == 0
                    ? judge_file(&st, path, e)
                    : err_set(e, -errno, "cannot stat '%s': %s", path, strerror(errno));
    if (n == 0) {
        n = file_read_at(fd, bytes, KEY_FILE_MAX + 1, 0);
        if (n < 0)
            err_set(e, (int)n, "cannot read key file '%s': %s", path, strerror((int)-n));
        else if (n > KEY_FILE_MAX) /* grew since */
            n = err_set(e, -EFBIG, "key file '%s' is larger than %u bytes", path, KEY_FILE_MAX);
    }
    close(fd);
    return n;
}

struct keyring *keyring_read(const char *path, const char *trust_domain, struct err *e)
{
    struct keyring *k = NULL;
    char *bytes = mem_alloc(KEY_FILE_MAX + 1);
    if (!bytes) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    ssize_t n = read_keys(path, bytes, e);
    if (n >= 0)
        k = keyring_parse(str_of(bytes, (size_t)n), path, trust_domain, e);
    OPENSSL_cleanse(bytes, KEY_FILE_MAX + 1);
    mem_free(bytes);
    return k;
}

struct keyring *keyring_ref(struct keyring *k)
{
    if (k)
        atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void keyring_unref(struct keyring *k)
{
    if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) > 1)
        return;
    OPENSSL_cleanse(k, sizeof *k);
    mem_free(k);
}

unsigned keyring_count(const struct keyring *k)
{
    return k ? k->count : 0;
}

struct str keyring_kid(const struct keyring *k, unsigned i)
{
    return str_of(k->keys[i].kid, k->keys[i].kid_len);
}
