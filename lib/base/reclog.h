/* The append-only record log: one file format for every journal of the product.
 *
 * File: 16-byte header ("OFFSHOOT" , u32 version 1, u32 kind), then records:
 *   u32 length | u32 CRC32C(length, type, payload) | u32 type | payload (length bytes)
 * all little endian. Recovery reads to the last whole record and cuts what follows, saying how
 * many bytes. Rotation at a size: the full segment is renamed to NAME.NNNNNN. Compaction writes a
 * new segment beside, fsyncs, renames over, fsyncs the folder, then removes the full segments; its
 * first record, of the reserved type RECLOG_REPLACES, tells up to which number (u32), so that a
 * crash in between brings nothing back. A failed append (disk full, short write) cuts the file back
 * to the last whole record, so that later appends are sound. After a failed sync nobody knows what
 * is on the disk: the log refuses to go on until it is compacted or opened again.
 *
 * One owner at a time: an open log is locked, and a second reclog_open gives -EBUSY. */
#ifndef OFFSHOOT_BASE_RECLOG_H
#define OFFSHOOT_BASE_RECLOG_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define RECLOG_RECORD_MAX (64u << 20) /* bytes of payload */
#define RECLOG_REPLACES   0xffffffffu /* a record type that is the log's own */

struct reclog;

struct reclog_options {
    uint32_t kind;          /* of the log; a file of another kind is refused */
    uint64_t rotate_bytes;  /* 0: never */
    uint32_t keep_segments; /* full segments kept, oldest dropped first; 0: all */
};

struct reclog_recovery {
    uint64_t records;   /* whole records in the newest segment, the only one that can be torn */
    uint64_t cut_bytes; /* torn tail removed */
};

typedef int reclog_fn(void *arg, uint32_t type, struct str payload);

/* Opens or creates dir/name, recovers it. NULL on failure with e filled (names the path). */
struct reclog *reclog_open(const char *dir, const char *name, const struct reclog_options *o,
    struct reclog_recovery *ret_recovery, struct err *e);
void reclog_close(struct reclog *l);
int reclog_append(struct reclog *l, uint32_t type, struct str payload, struct err *e);
/* fdatasync: after it returns 0, what was appended survives kill -9 and power loss. */
int reclog_sync(struct reclog *l, struct err *e);
/* Takes back what was appended since reclog_bytes said `bytes`, unless a rotation lies between
 * (-EINVAL). When it cannot be cut off now, the next append does it first. */
int reclog_take_back(struct reclog *l, uint64_t bytes, struct err *e);
/* Calls fn for every record, oldest segment first; stops at its first non-zero and returns it.
 * A full segment that is damaged is -EBADMSG, after the records before the damage.
 * fn may not append to l. */
int reclog_read(struct reclog *l, reclog_fn *fn, void *arg, struct err *e);
/* Replaces everything by the records that `write` appends to the new log given to it. When it
 * returns non-zero, or one of its appends failed, everything stays as it was; what it returned is
 * returned and e is its own to fill. */
int reclog_compact(
    struct reclog *l, int (*write)(void *arg, struct reclog *fresh), void *arg, struct err *e);
/* Puts the newest segment aside now, whatever its size. The new one begins with what `write`
 * appends to the log given to it: it is on the disk before the new segment is in its place, so that
 * none is ever without it. Failures leave everything as it was. write may be NULL. */
int reclog_rotate(
    struct reclog *l, int (*write)(void *arg, struct reclog *fresh), void *arg, struct err *e);
/* Bytes of all segments, and of the newest alone. */
uint64_t reclog_bytes(const struct reclog *l);
uint64_t reclog_newest_bytes(const struct reclog *l);
/* A descriptor of the newest segment, for an fdatasync in another thread; the caller closes it. Or
 * negative errno. */
int reclog_sync_fd(const struct reclog *l);
/* CRC32C (Castagnoli, RFC 3720 appendix B.4) of p, continuing from crc (0 to start). */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* How a segment ends. */
struct reclog_peek {
    uint64_t records, end; /* whole records, and the offset just past the last one */
    uint64_t size;         /* of the file */
    bool damaged;          /* what is behind `end` is no torn write: something whole was hit */
};
/* Reads the newest segment of a log without locking or changing it, and judges what is behind the
 * last whole record: reclog_open would cut it, also when it is the damage of what was acknowledged.
 * types: record types of this log are below it. fn may be NULL. 0, what fn returned, or negative
 * errno with e (-ENOENT: there is none). */
int reclog_peek(const char *dir, const char *name, uint32_t kind, uint32_t types, reclog_fn *fn,
    void *arg, struct reclog_peek *ret, struct err *e);

/* Follows a log that another writes, from its oldest record on, without locking or changing it. It
 * survives rotation; segments that were dropped before they were read are passed over. */
struct reclog_cursor;
/* Returns new; NULL with e (memory, a path too long). The log need not be there yet. */
struct reclog_cursor *reclog_cursor_new(
    const char *dir, const char *name, uint32_t kind, struct err *e);
void reclog_cursor_free(struct reclog_cursor *c);
/* The next records, until about `bytes` of them were read. When fn returns non-zero it stops and
 * returns that; the next call goes on behind that record. Else 1: there may be more now; 0: all
 * that is whole was read (none there counts as that); negative errno with e: -EBADMSG for a damaged
 * full segment, which the next call passes over. */
int reclog_cursor_read(
    struct reclog_cursor *c, uint64_t bytes, reclog_fn *fn, void *arg, struct err *e);

/* Pure decoder for fuzzing and recovery: the records in one segment's bytes after the header.
 * Returns the offset just past the last whole record, or past the one at which fn returned
 * non-zero. */
size_t reclog_scan(struct str bytes, reclog_fn *fn, void *arg);

#endif
