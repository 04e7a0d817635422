/* Any bytes as an agent's log of epochs. The first byte says what they are: a whole file, or a
 * sequence of payloads (a length of two bytes before each) that is framed soundly here, so that
 * what stands behind the checksum is reached. Whatever is opened must answer for every epoch that
 * it lists, and open again as the same. */
#include "agent/history.h"
#include "lib/base/mem.h"
#include "lib/base/reclog.h"
#include "tests/fuzz/fuzz.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[128];

static void clean(void)
{
    unlink(path);
    rmdir(dir);
}

__attribute__((constructor)) static void make_folder(void)
{
    snprintf(dir, sizeof(dir), "%s/offshoot-fuzz-XXXXXX",
        access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(dir) || atexit(clean))
        abort();
    snprintf(path, sizeof(path), "%s/graph.log", dir);
}

static void put(int fd, const void *p, size_t n)
{
    if (n && write(fd, p, n) != (ssize_t)n)
        abort();
}

static void put_record(int fd, uint32_t type, const uint8_t *p, uint32_t n)
{
    uint32_t frame[3] = {n, 0, type};
    frame[1] = crc32c(crc32c(crc32c(0, &frame[0], 4), &frame[2], 4), p, n);
    put(fd, frame, sizeof(frame));
    put(fd, p, n);
}

/* type, length (two bytes, low first), payload; again and again. */
static void put_framed(int fd, const uint8_t *p, size_t n)
{
    static const unsigned char header[16] = "OFFSHOOT\1\0\0\0\1\0\0";
    put(fd, header, sizeof(header));
    while (n >= 3) {
        size_t len = (size_t)p[1] | (size_t)p[2] << 8;
        if (len > n - 3)
            len = n - 3;
        put_record(fd, p[0], p + 3, (uint32_t)len);
        p += 3 + len;
        n -= 3 + len;
    }
}

static void ask(struct history *h)
{
    const struct own_document *docs;
    size_t n = history_documents(h, &docs), total = 0;
    for (size_t i = 0; i < n; i++)
        total += strlen(docs[i].name) + docs[i].yaml.n;
    for (size_t i = 0; i < history_count(h); i++) {
        const struct epoch_info *info = history_at(h, i);
        struct err e;
        total += strlen(info->who) + strlen(info->why) + strlen(info->what);
        if (history_find(h, info->epoch) != info)
            abort();
        struct snapshot *s = history_snapshot(h, info->epoch, &e);
        if (s)
            snapshot_unref(s);
    }
    if ((history_epoch(h) != 0) != (history_newest(h) != NULL) || total > 1u << 30)
        abort();
    if (history_newest(h) && snapshot_epoch(history_newest(h)) != history_epoch(h))
        abort();
}

static void open_and_ask(void)
{
    struct history_options o = {.dir = dir};
    struct err e;
    uint64_t epoch = 0;
    for (int again = 0; again < 2; again++) {
        struct history *h = history_open(&o, NULL, &e);
        if (!h && again)
            abort();
        if (!h)
            return;
        ask(h);
        if (again && history_epoch(h) != epoch)
            abort();
        epoch = history_epoch(h);
        history_close(h);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        abort();
    if (data[0] & 1)
        put(fd, data + 1, size - 1);
    else
        put_framed(fd, data + 1, size - 1);
    close(fd);
    open_and_ask();
    if (mem_live())
        abort();
    return 0;
}
