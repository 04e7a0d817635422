/* Any bytes as a session's journal. The first byte says what they are: a whole file, or a sequence
 * of payloads (a length of two bytes before each) that is framed soundly here, so that what stands
 * behind the checksum is reached. What is opened must open again as the same: the same sums, and
 * nothing more that was lost. */
#include "agent/journal_int.h"
#include "lib/base/mem.h"
#include "tests/fuzz/fuzz.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "x"

static char dir[64], folder[80], path[100];

static void clean(void)
{
    unlink(path);
    rmdir(folder);
    rmdir(dir);
}

__attribute__((constructor)) static void make_folder(void)
{
    snprintf(dir, sizeof(dir), "%s/offshoot-fuzz-XXXXXX",
        access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    demand(mkdtemp(dir) && atexit(clean) == 0);
    snprintf(folder, sizeof(folder), "%s/" NAME, dir);
    snprintf(path, sizeof(path), "%s/journal", folder);
    demand(mkdir(folder, 0700) == 0);
}

static void put(int fd, const void *p, size_t n)
{
    demand(n == 0 || write(fd, p, n) == (ssize_t)n);
}

static void put_framed(int fd, const uint8_t *p, size_t n)
{
    static const unsigned char header[16] = "OFFSHOOT\1\0\0\0\2\0\0";
    put(fd, header, sizeof(header));
    while (n >= 2) {
        uint32_t len = (uint32_t)p[0] | (uint32_t)p[1] << 8;
        p += 2;
        n -= 2;
        if (len > n)
            len = (uint32_t)n;
        uint32_t frame[3] = {len, 0, JOURNAL_RECORD};
        frame[1] = crc32c(crc32c(crc32c(0, &frame[0], 4), &frame[2], 4), p, len);
        put(fd, frame, sizeof(frame));
        put(fd, p, len);
        p += len;
        n -= len;
    }
}

static int on_difference(void *arg, const struct read_difference *d)
{
    *(size_t *)arg += d->path.n + d->primary.n + d->secondary.n + d->candidate.n;
    return 0;
}

static int on_record(void *arg, struct str bytes)
{
    struct journal_record r;
    if (journal_parse(bytes, &r, NULL) == 0 && r.kind == JOURNAL_SAMPLE)
        (void)journal_differences(&r.sample, on_difference, arg);
    return 0;
}

struct sums {
    uint64_t samples, pairs, restarts, next;
    size_t fields, endpoints;
};

/* False: it cannot be opened. */
static bool open_once(struct sums *ret)
{
    struct journal_options o = {.dir = dir};
    struct shadow_drops drops = {0};
    struct err e;
    struct tally *t = tally_new(0.01);
    demand(t);
    struct journal *j = journal_open(&o, NAME, t, &drops, &e);
    *ret = (struct sums){.samples = tally_samples(t),
        .pairs = tally_headline(t, HEADLINE_STATUS).pairs,
        .fields = tally_fields(t),
        .endpoints = tally_endpoints(t)};
    for (unsigned i = 0; i < drops.n; i++)
        if (strcmp(drops.reason[i], "restart") == 0)
            ret->restarts = drops.count[i];
    if (j)
        ret->next = journal_state(j)->next_sample;
    journal_close(j);
    tally_free(t);
    return j != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sums first, again;
    size_t n = 0;
    if (!size)
        return 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    demand(fd >= 0);
    if (data[0] & 1)
        put(fd, data + 1, size - 1);
    else
        put_framed(fd, data + 1, size - 1);
    close(fd);
    (void)journal_read(dir, NAME, on_record, &n, NULL);
    if (open_once(&first)) {
        demand(open_once(&again));
        demand(first.samples == again.samples && first.pairs == again.pairs);
        demand(first.fields == again.fields && first.endpoints == again.endpoints);
        demand(first.restarts == again.restarts && first.next == again.next);
    }
    demand(mem_live() == 0);
    return 0;
}
