/* The main of a fuzz target in an ordinary build: every file of the folders and files named on the
 * command line goes through the target, whole and as its two halves.
 *
 * Input lies in a block of exactly its size, so that a sanitizer sees a read past the end. A target
 * that keeps something from input to input frees it by atexit: nothing may be left after that. */
#include "lib/base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX  (16u << 20)
#define PATH_SIZE 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A target may set something up once, as libFuzzer allows. */
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static int run_one(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return -ENOMEM;
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 0;
}

static int run_parts(const uint8_t *data, size_t size)
{
    int r = run_one(data, size);
    if (r == 0)
        r = run_one(data, size / 2);
    if (r == 0)
        r = run_one(data + size / 2, size - size / 2);
    return r;
}

static int run_file(const char *path, size_t size)
{
    if (size > FILE_MAX)
        return -EFBIG;
    FILE *f = fopen(path, "rb");
    if (!f)
        return -errno;
    uint8_t *data = malloc(size ? size : 1);
    int r = data ? 0 : -ENOMEM;
    if (r == 0 && fread(data, 1, size, f) != size)
        r = -EIO;
    if (r == 0)
        r = run_parts(data, size);
    free(data);
    (void)fclose(f);
    return r;
}

/* 0, or negative errno after saying on standard error which file it was. */
static int run_counted(const char *path, size_t size, size_t *count)
{
    int r = run_file(path, size);
    if (r < 0)
        (void)fprintf(stderr, "cannot replay '%s': %s\n", path, strerror(-r));
    else
        *count += 1;
    return r;
}

/* The files of a folder, one level. */
static int run_folder(const char *path, size_t *count)
{
    DIR *dir = opendir(path);
    if (!dir)
        return -errno;
    int r = 0;
    const struct dirent *entry = NULL;
    while (r == 0 && (entry = readdir(dir))) {
        char name[PATH_SIZE];
        struct stat st;
        int n = snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof(name))
            r = -ENAMETOOLONG;
        else if (stat(name, &st) < 0)
            r = -errno;
        else if (S_ISREG(st.st_mode))
            r = run_counted(name, (size_t)st.st_size, count);
    }
    (void)closedir(dir);
    return r;
}

static int run_path(const char *path, size_t *count)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return run_folder(path, count);
    return run_counted(path, (size_t)st.st_size, count);
}

/* Registered first, so that it runs after what a target registers. */
static void judge_live(void)
{
    if (mem_live() == 0)
        return;
    (void)fprintf(stderr, "%zu blocks still allocated\n", mem_live());
    (void)fflush(NULL);
    _exit(1);
}

int main(int argc, char **argv)
{
    size_t count = 0;

    if (atexit(judge_live) != 0)
        return 1;
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        if (run_path(argv[i], &count) < 0) {
            (void)fprintf(stderr, "replay of '%s' stopped\n", argv[i]);
            return 1;
        }
    }
    printf("replayed %zu files\n", count);
    return count > 0 ? 0 : 1;
}
