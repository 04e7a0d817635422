/* One error with its text, passed down as `struct err *` and filled by the function that fails.
 *
 * Text in git's manner: lower case, no full stop, what failed, then the 'subject'. A function
 * either returns an error or logs it, never both. */
#ifndef OFFSHOOT_BASE_ERR_H
#define OFFSHOOT_BASE_ERR_H

#include <stdarg.h>

struct err {
    int code;       /* negative errno, 0 when nothing failed */
    char text[480]; /* NUL-terminated, cut at the end if longer */
};

/* Fills *e (when not NULL) and returns code, so that `return err_set(e, -EINVAL, ...)` reads well.
 * Control characters in the resulting text are replaced by '?', so it is safe in a log line. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " before the text that *e already has. Returns e->code (-EINVAL without e). */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
