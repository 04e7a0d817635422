#include "lib/base/log.h"
#include "lib/base/files.h"
#include "lib/base/parse.h"
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 2048 /* bytes of a message before escapes; longer ones are cut */
#define LINE_BYTES  (MESSAGE_MAX * 6 + 256) /* \u001b: six bytes for one */

static _Atomic(const char *) program = "offshoot";
static atomic_int level_now = LOG_LEVEL_INFO;
static atomic_int log_fd = STDERR_FILENO;
static atomic_bool as_json;
static _Atomic uint64_t written, lost;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

struct line {
    char p[LINE_BYTES];
    size_t n;
};

void log_init(const char *name)
{
    atomic_store_explicit(&program, name, memory_order_relaxed);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_to(int fd, bool json)
{
    atomic_store_explicit(&log_fd, fd, memory_order_relaxed);
    atomic_store_explicit(&as_json, json, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
    for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

static void __attribute__((format(printf, 2, 3))) put(struct line *l, const char *fmt, ...)
{
    size_t room = sizeof(l->p) - l->n;
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(l->p + l->n, room, fmt, ap);
    va_end(ap);
    if (n > 0)
        l->n += (size_t)n < room ? (size_t)n : room - 1;
}

static void put_bytes(struct line *l, const char *p, size_t n)
{
    size_t room = sizeof(l->p) - l->n;

    n = n < room ? n : room;
    memcpy(l->p + l->n, p, n);
    l->n += n;
}

/* Control characters, also those of U+0080 to U+009F, and what would end a quoted text. */
static bool is_plain(const char *p, size_t len)
{
    unsigned char c = (unsigned char)p[0];
    if (len == 1)
        return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
    return c != 0xc2 || (unsigned char)p[1] >= 0xa0;
}

static size_t sequence_length(char lead)
{
    unsigned char c = (unsigned char)lead;
    return c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
}

static void put_escaped(struct line *l, const char *p, size_t len, bool json)
{
    unsigned char c = (unsigned char)p[len - 1]; /* of U+0080 to U+009F: the second byte */

    if (len == 1 && (c == '"' || c == '\\'))
        put(l, "\\%c", c);
    else if (c == '\n' || c == '\t' || c == '\r')
        put(l, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
    else
        put(l, json ? "\\u%04x" : "\\x%02x", c);
}

static void put_message(struct line *l, struct str s, bool json)
{
    size_t good = utf8_check(s); /* bytes up to here are well formed */

    for (size_t i = 0; i < s.n;) {
        if (i == good) {
            put(l, json ? "\\ufffd" : "\\x%02x", (unsigned char)s.p[i]);
            i++;
            good = i + utf8_check(str_from(s, i));
            continue;
        }
        size_t len = sequence_length(s.p[i]);
        if (is_plain(s.p + i, len))
            put_bytes(l, s.p + i, len);
        else
            put_escaped(l, s.p + i, len, json);
        i += len;
    }
}

/* "2026-11-26T15:30:00.123Z" */
static void put_now(struct line *l)
{
    struct timespec now;
    char text[21];

    clock_gettime(CLOCK_REALTIME, &now);
    format_rfc3339(now.tv_sec, text);
    put(l, "%.19s.%03dZ", text, (int)(now.tv_nsec / 1000000));
}

/* One write; more only when the descriptor took a part. */
static void write_line(const struct line *l)
{
    int fd = atomic_load_explicit(&log_fd, memory_order_relaxed);
    int rc = file_write(fd, str_of(l->p, l->n));
    atomic_fetch_add_explicit(rc ? &lost : &written, 1, memory_order_relaxed);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
    if (level > log_get_level())
        return;
    int saved = errno;
    char message[MESSAGE_MAX];
    struct line l;
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    struct str s = str_of(message, n < 0 ? 0 : n < MESSAGE_MAX ? (size_t)n : MESSAGE_MAX - 1);

    const char *who = atomic_load_explicit(&program, memory_order_relaxed);
    bool json = atomic_load_explicit(&as_json, memory_order_relaxed);
    l.n = 0;
    if (json)
        put(&l, "{\"ts\":\"");
    put_now(&l);
    put(&l, json ? "\",\"level\":\"%s\",\"program\":\"%.64s\",\"message\":\"" : " %s %.64s: ",
        level_names[level], who);
    put_message(&l, s, json);
    put(&l, json ? "\"}\n" : "\n");
    write_line(&l);
    errno = saved;
}

uint64_t log_written(void)
{
    return atomic_load_explicit(&written, memory_order_relaxed);
}

uint64_t log_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}
