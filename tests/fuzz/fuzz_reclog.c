/* The record log's recovery: arbitrary bytes, and sound logs that were cut or changed.
 *
 * Input: one byte of mode, then the bytes after a file's header (mode even), or two bytes of
 * position, one to change there, and the payloads of records, each after a byte of length. */
#include "lib/base/reclog_impl.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct seen {
    uint64_t records, bytes;
    uint32_t crc; /* over everything */
};

static int on_record(void *arg, uint32_t type, struct str payload)
{
    struct seen *s = arg;
    s->records++;
    s->bytes += RECLOG_FRAME + payload.n;
    s->crc = crc32c(crc32c(s->crc, &type, sizeof(type)), payload.p, payload.n);
    return 0;
}

/* Memory and file give the same records, and what they took is itself a sound log. */
static uint64_t check(struct str bytes)
{
    struct seen memory = {0}, again = {0}, file = {0};
    uint64_t end = 0;
    char header[RECLOG_HEADER] = {0};
    size_t used = reclog_scan(bytes, on_record, &memory);
    demand(used <= bytes.n && used == memory.bytes);
    demand(reclog_scan(str_of(bytes.p, used), on_record, &again) == used);
    demand(again.records == memory.records && again.crc == memory.crc);
    int fd = memfd_create("log", MFD_CLOEXEC);
    demand(fd >= 0 && write(fd, header, sizeof(header)) == (ssize_t)sizeof(header));
    demand(bytes.n == 0 || write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n);
    demand(reclog_scan_file(fd, RECLOG_HEADER + bytes.n, on_record, &file, &end) == 0);
    demand(end == RECLOG_HEADER + used && file.records == memory.records);
    demand(file.crc == memory.crc);
    close(fd);
    return memory.records;
}

/* A log of what the input says, changed at one place: all records before it are found. */
static void check_changed(const uint8_t *data, size_t size)
{
    if (size < 3)
        return;
    size_t at = (size_t)data[0] << 8 | data[1], n = 0, before = 0;
    uint8_t change = data[2];
    char *log = malloc(size * (RECLOG_FRAME + 1));
    demand(log != NULL);
    for (size_t i = 3; i < size;) {
        size_t len = data[i++];
        if (len > size - i)
            len = size - i;
        struct str payload = str_of((const char *)data + i, len);
        reclog_put_frame((unsigned char *)log + n, data[i - 1], payload);
        memcpy(log + n + RECLOG_FRAME, payload.p, len);
        n += RECLOG_FRAME + len;
        i += len;
        before += n <= at;
    }
    if (change == 0 && at < n) {
        demand(check(str_of(log, at)) == before);
    } else if (at < n) {
        log[at] = (char)(log[at] ^ change);
        demand(check(str_of(log, n)) == before);
    } else {
        check(str_of(log, n));
    }
    free(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size && data[0] % 2 == 0)
        check(str_of((const char *)data + 1, size - 1));
    else if (size)
        check_changed(data + 1, size - 1);
    return 0;
}
