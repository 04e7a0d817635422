/* Strict text to value, and back. All reject what they do not know: no sign, no white space, no
 * leading '+', nothing after the value. 0, or -EINVAL / -ERANGE with *ret untouched. */
#ifndef OFFSHOOT_BASE_PARSE_H
#define OFFSHOOT_BASE_PARSE_H

#include "lib/base/str.h"
#include <stddef.h>
#include <stdint.h>

/* Plain decimal digits, at most 63 bits, no leading zero unless it is "0". */
int parse_u64(struct str s, uint64_t *ret);
/* The same with bounds, both included. */
int parse_u32(struct str s, uint32_t min, uint32_t max, uint32_t *ret);
/* Decimal with optional leading '-'; "-0" is refused. */
int parse_i64(struct str s, int64_t *ret);
/* Base 36, lower case digits, at most 63 bits. */
int parse_base36(struct str s, uint64_t *ret);
/* Writes base 36 into out (at least 13 bytes, no NUL); returns the length. */
size_t format_base36(uint64_t v, char *out);
/* All sixteen lower-case hex digits; no NUL. */
void format_hex64(uint64_t v, char out[16]);
/* "250ms" "15s" "5m" "4h" "7d" or a bare "0"; result in milliseconds, at most 10 years. */
int parse_duration_ms(struct str s, uint64_t *ret_ms);
/* Shortest text that parse_duration_ms reads back. out: at least 24 bytes, NUL-terminated. */
size_t format_duration_ms(uint64_t ms, char *out);
/* "4096", "64k" "16MiB" "1GiB" (k, KiB, M, MiB, G, GiB: powers of 1024). */
int parse_size(struct str s, uint64_t *ret_bytes);
/* RFC 3339 with a zone ("2026-12-01T00:00:00Z", "...+01:00", fraction allowed and cut): Unix
 * seconds. Leap second :60 is refused, dates are checked (30 February is not one). */
int parse_rfc3339(struct str s, int64_t *ret_unix);
/* Unix seconds as "YYYY-MM-DDTHH:MM:SSZ". out: at least 21 bytes, NUL-terminated. */
void format_rfc3339(int64_t unix_s, char *out);
/* A name of the graph: [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])? */
bool name_valid(struct str s);
/* Well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF). Returns the offset of
 * the first bad byte, or s.n. */
size_t utf8_check(struct str s);

#endif
