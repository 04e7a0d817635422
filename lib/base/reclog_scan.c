/* The record log's format: checksum, header, frames, and reading them back. */
#include "lib/base/files.h"
#include "lib/base/mem.h"
#include "lib/base/reclog_impl.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char magic[8] = "OFFSHOOT";
#define VERSION 1u

/* ---- CRC32C -------------------------------------------------------------------------------- */

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_hardware(
    uint32_t crc, const unsigned char *p, size_t n)
{
    uint64_t c = crc;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = __builtin_ia32_crc32di(c, word);
    }
    crc = (uint32_t)c;
    for (; n; p++, n--)
        crc = __builtin_ia32_crc32qi(crc, *p);
    return crc;
}
static bool has_hardware(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#else
static uint32_t crc_hardware(uint32_t crc, const unsigned char *p, size_t n)
{
    (void)p;
    (void)n;
    return crc;
}
static bool has_hardware(void)
{
    return false;
}
#endif

/* Four bits at a time; the reflected polynomial is 0x82f63b78. */
static uint32_t crc_portable(uint32_t crc, const unsigned char *p, size_t n)
{
    static const uint32_t table[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc,
        0x5125dad3, 0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    for (; n; p++, n--) {
        crc ^= *p;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc;
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    return ~(has_hardware() ? crc_hardware(~crc, p, n) : crc_portable(~crc, p, n));
}

/* ---- header and frames --------------------------------------------------------------------- */

void reclog_put_header(unsigned char out[static RECLOG_HEADER], uint32_t kind)
{
    memcpy(out, magic, sizeof(magic));
    put_le32(out + 8, VERSION);
    put_le32(out + 12, kind);
}

static uint32_t record_crc(const unsigned char *frame, struct str payload)
{
    uint32_t crc = crc32c(0, frame, 4);
    crc = crc32c(crc, frame + 8, 4);
    return crc32c(crc, payload.p, payload.n);
}

void reclog_put_frame(unsigned char out[static RECLOG_FRAME], uint32_t type, struct str payload)
{
    put_le32(out, (uint32_t)payload.n);
    put_le32(out + 8, type);
    put_le32(out + 4, record_crc(out, payload));
}

int reclog_check_header(
    int fd, uint64_t size, uint32_t kind, const char *path, bool *ret_torn, struct err *e)
{
    unsigned char got[RECLOG_HEADER], want[RECLOG_HEADER];
    size_t n = size < RECLOG_HEADER ? (size_t)size : RECLOG_HEADER;
    ssize_t rc = file_read_at(fd, got, n, 0);
    if (rc < 0)
        return err_set(e, (int)rc, "cannot read '%s': %s", path, strerror((int)-rc));
    if ((size_t)rc < n)
        return err_set(e, -EIO, "cannot read '%s': it became shorter", path);
    reclog_put_header(want, kind);
    if (n < RECLOG_HEADER && (n == 0 || memcmp(got, want, n) == 0)) {
        *ret_torn = true;
        return 0;
    }
    if (n < RECLOG_HEADER || memcmp(got, magic, sizeof(magic)) != 0)
        return err_set(e, -EINVAL, "not a record log: '%s'", path);
    if (get_le32(got + 8) != VERSION)
        return err_set(e, -EINVAL, "record log version %u is not known, only %u: '%s'",
            get_le32(got + 8), VERSION, path);
    if (get_le32(got + 12) != kind)
        return err_set(
            e, -EINVAL, "record log is of kind %u, not %u: '%s'", get_le32(got + 12), kind, path);
    *ret_torn = false;
    return 0;
}

uint32_t reclog_segment_number(const char *name, const char *file)
{
    size_t n = strlen(name);
    if (strncmp(file, name, n) != 0 || file[n] != '.')
        return 0;
    const char *digits = file + n + 1;
    size_t len = strspn(digits, "0123456789");
    if (len < 6 || len > 9 || digits[len] || (len > 6 && digits[0] == '0'))
        return 0;
    return (uint32_t)strtoul(digits, NULL, 10);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Length of the whole record at the start of bytes; 0: torn, damaged or not all there. */
static size_t whole_record(struct str bytes)
{
    if (bytes.n < RECLOG_FRAME)
        return 0;
    const unsigned char *frame = (const unsigned char *)bytes.p;
    uint32_t len = get_le32(frame);
    if (len > RECLOG_RECORD_MAX || len > bytes.n - RECLOG_FRAME)
        return 0;
    if (record_crc(frame, str_of(bytes.p + RECLOG_FRAME, len)) != get_le32(frame + 4))
        return 0;
    return RECLOG_FRAME + (size_t)len;
}

size_t reclog_scan(struct str bytes, reclog_fn *fn, void *arg)
{
    size_t at = 0;
    for (;;) {
        struct str rest = bytes.n ? str_from(bytes, at) : bytes;
        size_t n = whole_record(rest);
        if (n == 0)
            return at;
        at += n;
        struct str payload = str_of(rest.p + RECLOG_FRAME, n - RECLOG_FRAME);
        if (fn && fn(arg, get_le32(rest.p + 8), payload))
            return at;
    }
}

/* Keeps what fn returned, which reclog_scan only takes as a reason to stop. */
struct stoppable {
    reclog_fn *fn;
    void *arg;
    int rc;
};

static int on_record(void *arg, uint32_t type, struct str payload)
{
    struct stoppable *s = arg;
    s->rc = s->fn ? s->fn(s->arg, type, payload) : 0;
    return s->rc;
}

/* A window over the file that grows to the record in it, never beyond what the file can hold. */
struct window {
    int fd;
    char *p;
    size_t n, size;
    uint64_t at;  /* offset in the file of p[0] */
    uint64_t end; /* of the file */
};

static int window_fill(struct window *w)
{
    uint64_t left = w->end - w->at - w->n;
    size_t want = w->size - w->n;
    if (want > left)
        want = (size_t)left;
    ssize_t got = file_read_at(w->fd, w->p + w->n, want, w->at + w->n);
    if (got < 0)
        return (int)got;
    if ((size_t)got < want)
        return -EIO; /* became shorter under us */
    w->n += (size_t)got;
    return 0;
}

static void window_drop(struct window *w, size_t n)
{
    memmove(w->p, w->p + n, w->n - n);
    w->n -= n;
    w->at += n;
}

/* Makes room for the record that starts the window. 1: worth another look. 0: it is no record. */
static int window_grow(struct window *w)
{
    uint64_t need = RECLOG_FRAME;
    if (w->n >= RECLOG_FRAME)
        need += get_le32(w->p);
    if (need > RECLOG_FRAME + RECLOG_RECORD_MAX || need > w->end - w->at || need <= w->n)
        return 0;
    if (need > w->size) {
        char *p = mem_realloc(w->p, (size_t)need);
        if (!p)
            return -ENOMEM;
        w->p = p;
        w->size = (size_t)need;
    }
    return 1;
}

int reclog_scan_from(
    int fd, uint64_t from, uint64_t size, reclog_fn *fn, void *arg, uint64_t *ret_end)
{
    struct window w = {.fd = fd, .size = 64u << 10, .at = from, .end = size};
    struct stoppable s = {fn, arg, 0};
    int rc = 1;
    w.p = mem_alloc(w.size);
    if (!w.p)
        return -ENOMEM;
    while (rc > 0) {
        rc = window_fill(&w);
        if (rc)
            break;
        size_t used = reclog_scan(str_of(w.p, w.n), on_record, &s);
        window_drop(&w, used);
        if (s.rc)
            break;
        rc = used ? 1 : window_grow(&w);
    }
    mem_free(w.p);
    *ret_end = w.at;
    return s.rc ? s.rc : rc;
}

int reclog_scan_file(int fd, uint64_t size, reclog_fn *fn, void *arg, uint64_t *ret_end)
{
    uint64_t end;
    int rc = reclog_scan_from(fd, RECLOG_HEADER, size, fn, arg, &end);
    if (rc == 0)
        *ret_end = end;
    return rc;
}
