/* The program's own log: one line a message to one descriptor. (The access log is another.)
 *
 * One of the two permitted globals. Thread-safe: a line is one write. Control bytes, quotes and
 * backslashes in the message are escaped, so that nothing from outside can forge a line. Never
 * pass a token, cookie or authorization value. */
#ifndef OFFSHOOT_BASE_LOG_H
#define OFFSHOOT_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* name is kept by pointer and must stay valid. Lines go to standard error until log_to. */
void log_init(const char *name);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* fd is borrowed. json: one object a line with ts, level, program, message. */
void log_to(int fd, bool json);
/* "error" "warn" "info" "debug": 0, or -EINVAL. */
int log_level_parse(const char *name, enum log_level *ret_level);
const char *log_level_name(enum log_level level);

void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_error(...) log_msg(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_get_level() >= LOG_LEVEL_DEBUG)                                                    \
            log_msg(LOG_LEVEL_DEBUG, __VA_ARGS__);                                                 \
    } while (0)

/* Lines written, and lines lost because the descriptor refused them (disk full, closed pipe). */
uint64_t log_written(void);
uint64_t log_lost(void);

#endif
