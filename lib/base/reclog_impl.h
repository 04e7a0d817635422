/* What the writer (reclog.c) and the reader (reclog_scan.c) of the record log share. */
#ifndef OFFSHOOT_BASE_RECLOG_IMPL_H
#define OFFSHOOT_BASE_RECLOG_IMPL_H

#include "lib/base/reclog.h"

#define RECLOG_HEADER 16 /* bytes of a file's header */
#define RECLOG_FRAME  12 /* bytes before a record's payload */

static inline void put_le32(unsigned char *p, uint32_t v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
    p[2] = (unsigned char)(v >> 16);
    p[3] = (unsigned char)(v >> 24);
}
static inline uint32_t get_le32(const void *at)
{
    const unsigned char *p = at;
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void reclog_put_header(unsigned char out[static RECLOG_HEADER], uint32_t kind);
void reclog_put_frame(unsigned char out[static RECLOG_FRAME], uint32_t type, struct str payload);

/* The number in "NAME.000012", 0 when it is another file. */
uint32_t reclog_segment_number(const char *name, const char *file);

/* Judges the start of a file of `size` bytes. *ret_torn: it holds less than a header, and what is
 * there is the beginning of one. e names path. */
int reclog_check_header(
    int fd, uint64_t size, uint32_t kind, const char *path, bool *ret_torn, struct err *e);

/* Reads the records in bytes [RECLOG_HEADER, size) of a file. *ret_end: the offset in the file
 * just past the last whole record. 0, negative errno of reading, or what fn returned. */
int reclog_scan_file(int fd, uint64_t size, reclog_fn *fn, void *arg, uint64_t *ret_end);
/* The same of bytes [from, size); from is where a record begins. *ret_end: behind the last record
 * that was told, whatever is returned (untouched when memory is out). */
int reclog_scan_from(
    int fd, uint64_t from, uint64_t size, reclog_fn *fn, void *arg, uint64_t *ret_end);

/* Is what stands behind the last whole record, at offset `at` of the file, a torn write? */
bool reclog_tail_torn(struct str tail, uint64_t at, uint32_t types);

#endif
