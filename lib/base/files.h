/* The graph's source files: paths expanded, read whole, watched for change by their stat.
 *
 * A PATH that is a folder means its *.yaml, *.yml and *.json, sorted by name, not deeper. Reads
 * are bounded before memory is taken. Hidden files are left out, symbolic links are followed. Not
 * thread-safe; owned by whoever loads graphs. */
#ifndef OFFSHOOT_BASE_FILES_H
#define OFFSHOOT_BASE_FILES_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct file_limits {
    uint64_t file_bytes;  /* one file, default 64 MiB */
    uint64_t total_bytes; /* together, default 1 GiB */
    uint32_t files;       /* default 100,000 */
};
#define FILE_LIMITS_DEFAULT                                                                        \
    {                                                                                              \
        64u << 20, 1u << 30, 100000                                                                \
    }

struct file {
    char *name;          /* as the user would write it: PATH, or PATH/entry for a folder */
    struct str bytes;    /* whole content; valid until the next files_read or files_free */
    uint64_t generation; /* grows when content or error changed since the last read */
    struct err error;    /* code != 0: this file could not be read; bytes is empty */
};

struct files;

/* Returns new; paths are copied. NULL when memory is out. */
struct files *files_new(const char *const *paths, size_t n, const struct file_limits *limits);
void files_free(struct files *f);
/* Reads what is new or changed (device, inode, size, mtime or ctime differ; a file whose mtime is
 * within the last two seconds of its read is always read again), forgets what is gone. Errors of
 * single files go into file.error: a missing PATH, a special file, an unreadable or too large one,
 * a folder that cannot be listed or has too many files. What failed is tried again each time.
 * A folder without such files is not an error. Returns the number of files read, or -ENOMEM: then
 * the list is as it was, or the files concerned carry that error and are read again next time. */
int files_read(struct files *f);
size_t files_count(const struct files *f);
/* NULL past the end. */
const struct file *files_at(const struct files *f, size_t i);
/* Grows whenever a file's generation does, and when a file is gone. */
uint64_t files_generation(const struct files *f);

/* Small files of our own in a folder that is open, mode 0600; 0 or negative errno.
 * put: in its place whole and on the disk, or as it was before. NAME.new stands beside meanwhile.
 * get: *ret is new (mem_free). -ENOENT; -EBADMSG: it is no plain file of exactly n bytes. */
int file_put(int folder, const char *name, struct str bytes);
int file_get(int folder, const char *name, uint64_t n, char **ret);

/* write until all of it is written: 0 or negative errno. */
int file_write(int fd, struct str bytes);
/* pread until n bytes are there or the file ends: their number, or negative errno. */
ssize_t file_read_at(int fd, void *p, size_t n, uint64_t offset);

#endif
