/* The files of a listener's certificates: found, read whole, judged. */
#include "lib/base/files.h"
#include "lib/base/mem.h"
#include "lib/net/tls_impl.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_BYTES_MAX (1u << 20)
#define NAMES_TOLD_MAX 512 /* bytes of a certificate's names in messages */

/* ---- one file ---- */

/* Of the file that is read, not of a path that may change in between. */
static int judge_secret(const struct stat *st, const char *path, struct err *e)
{
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return err_set(e, -EPERM, "key '%s' belongs to another user", path);
    if (st->st_mode & 077)
        return err_set(e, -EPERM, "key '%s' may be used by others (mode %03o, want 600)", path,
            (unsigned)st->st_mode & 0777);
    return 0;
}

static bool has_key(const char *bytes, size_t n)
{
    return memmem(bytes, n, "PRIVATE KEY-----", 16) != NULL;
}

static void wipe(char *bytes, size_t n)
{
    if (bytes)
        OPENSSL_cleanse(bytes, n);
    mem_free(bytes);
}

static int read_open(
    int fd, const char *what, const char *path, char **ret, size_t *ret_n, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_set(e, -errno, "cannot read %s '%s': %s", what, path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, "%s '%s' is not a regular file", what, path);
    if (st.st_size > FILE_BYTES_MAX)
        return err_set(e, -EFBIG, "%s '%s' is larger than %u bytes", what, path, FILE_BYTES_MAX);
    size_t size = (size_t)st.st_size;
    char *bytes = mem_alloc(size + 1);
    if (!bytes)
        return err_set(e, -ENOMEM, "out of memory for %s '%s'", what, path);
    ssize_t n = file_read_at(fd, bytes, size, 0);
    int rc =
        n < 0 ? err_set(e, (int)n, "cannot read %s '%s': %s", what, path, strerror((int)-n)) : 0;
    if (rc == 0 && has_key(bytes, (size_t)n))
        rc = judge_secret(&st, path, e);
    if (rc) {
        wipe(bytes, size);
        return rc;
    }
    *ret = bytes;
    *ret_n = (size_t)n;
    return 0;
}

static int read_file(const char *what, const char *path, char **ret, size_t *ret_n, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_set(e, -errno, "cannot read %s '%s': %s", what, path, strerror(errno));
    int rc = read_open(fd, what, path, ret, ret_n, e);
    close(fd);
    return rc;
}

/* ---- the set ---- */

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "out of memory for certificates");
}

static int grow(void **all, size_t n, size_t *room, size_t size)
{
    if (n < *room)
        return 0;
    size_t more = *room ? 2 * *room : 8;
    void *p = mem_realloc(*all, more * size);
    if (!p)
        return -ENOMEM;
    *all = p;
    *room = more;
    return 0;
}

static int watch_path(struct tls_files *f, const char *path, struct err *e)
{
    void *all = (void *)f->paths;
    int rc = grow(&all, f->npaths, &f->paths_room, sizeof(char *));
    f->paths = all;
    char *copy = rc == 0 ? mem_dup(path, strlen(path)) : NULL;
    if (!copy)
        return no_memory(e);
    f->paths[f->npaths++] = copy;
    return 0;
}

void tls_pair_release(struct tls_pair *p)
{
    wipe(p->cert, p->cert_n); /* may hold the key too */
    wipe(p->key, p->key_n);
    mem_free(p->cert_path);
    mem_free(p->key_path);
    mem_free(p->names);
}

struct name_list {
    char text[NAMES_TOLD_MAX];
    size_t n;
};

static int list_name(void *arg, struct str name)
{
    struct name_list *l = arg;
    size_t room = sizeof l->text - l->n;
    if (name.n + 2 > room)
        return 0;
    int n = snprintf(l->text + l->n, room, "%s%.*s", l->n ? " " : "", STR_ARG(name));
    l->n += (size_t)n;
    return 0;
}

static int64_t unix_time(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* What is told of a certificate; names hold no control characters afterwards. */
static int learn(struct tls_pair *p, struct err *e)
{
    struct tls_identity i;
    struct name_list l = {0};
    int rc = tls_identity_parse(p, &i, e);
    if (rc)
        return rc;
    p->kind = i.kind;
    p->not_after = unix_time(X509_get0_notAfter(i.leaf));
    tls_each_host(i.leaf, list_name, &l);
    tls_identity_release(&i);
    for (size_t at = 0; at < l.n; at++)
        if (l.text[at] < ' ' || l.text[at] > '~')
            l.text[at] = '?';
    p->names = mem_dup(l.text, l.n);
    return p->names ? 0 : no_memory(e);
}

int tls_pair_read(struct tls_pair *ret, const char *cert_path, const char *key_path, struct err *e)
{
    const char *key = key_path ? key_path : cert_path;
    *ret = (struct tls_pair){0};
    ret->cert_path = mem_dup(cert_path, strlen(cert_path));
    ret->key_path = mem_dup(key, strlen(key));
    int rc = ret->cert_path && ret->key_path ? 0 : no_memory(e);
    rc = rc ? rc : read_file("certificate", cert_path, &ret->cert, &ret->cert_n, e);
    if (rc == 0 && key_path)
        rc = read_file("key", key_path, &ret->key, &ret->key_n, e);
    if (rc)
        tls_pair_release(ret);
    return rc;
}

static int make_room(struct tls_files *f, const char *cert_path, struct err *e)
{
    void *all = f->pair;
    if (f->n == f->max)
        return err_set(e, -E2BIG, "certificate '%s' is one more than limits.certificates (%zu)",
            cert_path, f->max);
    int rc = grow(&all, f->n, &f->room, sizeof *f->pair);
    f->pair = all;
    return rc ? no_memory(e) : 0;
}

/* Takes p; there is room. */
static int add_read(struct tls_files *f, struct tls_pair *p, struct err *e)
{
    int rc = learn(p, e);
    if (rc)
        tls_pair_release(p);
    else
        f->pair[f->n++] = *p;
    return rc;
}

/* key_path NULL: in the same file. */
static int add_pair(struct tls_files *f, const char *cert_path, const char *key_path, struct err *e)
{
    struct tls_pair p;
    int rc = make_room(f, cert_path, e);
    rc = rc ? rc : tls_pair_read(&p, cert_path, key_path, e);
    return rc ? rc : add_read(f, &p, e);
}

/* ---- folders ---- */

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int add_if_whole(struct tls_files *f, const char *path, struct err *e)
{
    struct tls_pair p;
    int rc = tls_pair_read(&p, path, NULL, e);
    if (rc)
        return rc;
    bool whole = has_key(p.cert, p.cert_n);
    rc = whole ? make_room(f, path, e) : 0;
    if (rc == 0 && whole)
        return add_read(f, &p, e);
    f->skipped += !whole;
    tls_pair_release(&p);
    return rc;
}

/* NAME.pem or NAME.crt; the key beside it, or inside. */
static int add_entry(struct tls_files *f, const char *dir, const char *name, struct err *e)
{
    char cert[4096], key[4096];
    int n = snprintf(cert, sizeof cert, "%s/%s", dir, name);
    if (n < 5 || (size_t)n >= sizeof cert)
        return err_set(e, -ENAMETOOLONG, "the path of '%s' in '%s' is too long", name, dir);
    memcpy(key, cert, (size_t)n - 3);
    memcpy(key + n - 3, "key", 4);
    if (!is_file(cert))
        return 0;
    if (is_file(key))
        return add_pair(f, cert, key, e);
    return add_if_whole(f, cert, e);
}

static int wanted(const struct dirent *d)
{
    struct str s = str_c(d->d_name);
    return s.n > 4 && s.p[0] != '.' && (str_ends(s, STR(".pem")) || str_ends(s, STR(".crt")));
}

static int add_folder(struct tls_files *f, const char *dir, struct err *e)
{
    struct dirent **found = NULL;
    size_t before = f->n;
    int n = scandir(dir, &found, wanted, alphasort), rc = 0;
    if (n < 0)
        return err_set(e, -errno, "cannot read the folder '%s': %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            rc = add_entry(f, dir, found[i]->d_name, e);
        free(found[i]);
    }
    free((void *)found);
    if (rc == 0 && f->n == before)
        rc = err_set(e, -ENOENT,
            "no certificate with its key in the folder '%s' (NAME.pem, or NAME.crt with NAME.key)",
            dir);
    return rc;
}

static int add_source(struct tls_files *f, const char *source, struct err *e)
{
    struct stat st;
    size_t plus = str_find(str_c(source), '+');
    if (source[plus] == '+') {
        char *cert = mem_dup(source, plus);
        const char *key = source + plus + 1;
        int rc = cert ? watch_path(f, cert, e) : no_memory(e);
        rc = rc ? rc : watch_path(f, key, e);
        rc = rc ? rc : add_pair(f, cert, key, e);
        mem_free(cert);
        return rc;
    }
    int rc = watch_path(f, source, e);
    if (rc)
        return rc;
    if (stat(source, &st) != 0)
        return err_set(e, -errno, "cannot read certificate '%s': %s", source, strerror(errno));
    return S_ISDIR(st.st_mode) ? add_folder(f, source, e) : add_pair(f, source, NULL, e);
}

static int add_ca(struct tls_files *f, struct str path, struct err *e)
{
    f->ca_path = mem_dup(path.p, path.n);
    if (!f->ca_path)
        return no_memory(e);
    int rc = watch_path(f, f->ca_path, e);
    return rc ? rc : read_file("CA certificate", f->ca_path, &f->ca, &f->ca_n, e);
}

static int read_all(struct tls_files *f, const struct tls_want *want, struct err *e)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < want->nsources; i++) {
        char *source = mem_dup(want->sources[i].p, want->sources[i].n);
        rc = source ? add_source(f, source, e) : no_memory(e);
        mem_free(source);
    }
    if (rc == 0 && want->client_ca.n)
        rc = add_ca(f, want->client_ca, e);
    return rc;
}

struct tls_files *tls_files_read(
    const struct tls_want *want, const struct tls_rules *rules, struct err *e)
{
    struct tls_files *f = mem_zalloc(sizeof *f);
    if (!f) {
        no_memory(e);
        return NULL;
    }
    f->max = rules->certs_max;
    f->client_cert = want->client_cert;
    f->strict = want->strict;
    f->alpn = want->alpn;
    if (read_all(f, want, e) == 0)
        return f;
    tls_files_free(f);
    return NULL;
}

void tls_files_free(struct tls_files *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->n; i++)
        tls_pair_release(&f->pair[i]);
    for (size_t i = 0; i < f->npaths; i++)
        mem_free(f->paths[i]);
    mem_free(f->pair);
    mem_free((void *)f->paths);
    mem_free(f->ca_path);
    mem_free(f->ca);
    mem_free(f);
}

const char *const *tls_files_paths(const struct tls_files *f, size_t *ret_n)
{
    *ret_n = f->npaths;
    return (const char *const *)f->paths;
}

bool tls_files_at(const struct tls_files *f, size_t i, struct tls_cert_info *ret)
{
    if (i >= f->n)
        return false;
    const struct tls_pair *p = &f->pair[i];
    *ret = (struct tls_cert_info){p->cert_path, tls_kind_word(p->kind), p->names, p->not_after};
    return true;
}

unsigned tls_files_skipped(const struct tls_files *f)
{
    return f->skipped;
}
