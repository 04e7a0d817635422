#include "lib/base/files.h"
#include "tests/unit/unit.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OLD_S 1700000000 /* an mtime long past: such files are settled */

static const struct file_limits plenty = FILE_LIMITS_DEFAULT;
static char root[64]; /* a folder of its own for each test */

static int start(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/offshoot-files-XXXXXX");
    mem_fail_nth(0);
    return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int finish(void **state)
{
    (void)state;
    mem_fail_nth(0);
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Valid until the next four calls. */
static const char *at(const char *name)
{
    static char paths[4][256];
    static int next;
    next = (next + 1) % 4;
    snprintf(paths[next], sizeof(paths[next]), "%s%s%s", root, *name ? "/" : "", name);
    return paths[next];
}

static void set_age(const char *name, time_t mtime)
{
    const struct timespec times[2] = {{mtime, 0}, {mtime, 0}};
    assert_int_equal(utimensat(AT_FDCWD, at(name), times, 0), 0);
}

/* Writes a file whose mtime is long past, in place. */
static void put(const char *name, const char *text)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    set_age(name, OLD_S);
}

/* Writes until the file's ctime is another one: its clock has ticks of some milliseconds. */
static void put_later(const char *name, const char *text)
{
    struct stat before, after;
    assert_int_equal(stat(at(name), &before), 0);
    do {
        put(name, text);
        assert_int_equal(stat(at(name), &after), 0);
    } while (before.st_ctim.tv_sec == after.st_ctim.tv_sec &&
             before.st_ctim.tv_nsec == after.st_ctim.tv_nsec);
}

static struct files *watch(const char *name, const struct file_limits *limits)
{
    const char *path = at(name);
    struct files *f = files_new(&path, 1, limits);
    assert_non_null(f);
    return f;
}

static void expect_text(const struct files *f, size_t i, const char *name, const char *text)
{
    const struct file *file = files_at(f, i);
    assert_non_null(file);
    assert_string_equal(file->name, at(name));
    assert_int_equal(file->error.code, 0);
    assert_str(file->bytes, text);
}

static void expect_error(
    const struct files *f, size_t i, const char *name, int code, const char *words)
{
    const struct file *file = files_at(f, i);
    assert_non_null(file);
    assert_string_equal(file->name, at(name));
    assert_int_equal(file->error.code, code);
    assert_int_equal(file->bytes.n, 0);
    if (!strstr(file->error.text, words) || !strstr(file->error.text, at(name)))
        fail_msg("'%s' does not say '%s' and '%s'", file->error.text, words, at(name));
}

static void a_file_is_read_whole_and_once(void **state)
{
    (void)state;
    put("a.yaml", "hello");
    struct files *f = watch("a.yaml", &plenty);
    assert_int_equal(files_count(f), 0);
    assert_null(files_at(f, 0));
    assert_int_equal(files_read(f), 1);
    assert_int_equal(files_count(f), 1);
    assert_null(files_at(f, 1));
    expect_text(f, 0, "a.yaml", "hello");
    uint64_t generation = files_at(f, 0)->generation;
    assert_true(generation > 0);
    assert_true(files_generation(f) == generation);
    assert_int_equal(files_read(f), 0);
    assert_true(files_at(f, 0)->generation == generation);
    expect_text(f, 0, "a.yaml", "hello");
    files_free(f);
    files_free(NULL);
}

static void an_empty_file_is_not_an_error(void **state)
{
    (void)state;
    put("a.yaml", "");
    struct files *f = watch("a.yaml", &plenty);
    assert_int_equal(files_read(f), 1);
    expect_text(f, 0, "a.yaml", "");
    assert_int_equal(files_read(f), 0);
    files_free(f);
}

static void a_file_of_ours_is_put_in_place_whole(void **state)
{
    (void)state;
    struct stat st;
    char *got = NULL;
    int folder = open(root, O_RDONLY | O_DIRECTORY);
    assert_int_equal(file_get(folder, "key", 3, &got), -ENOENT);
    assert_int_equal(file_put(folder, "key", STR("abc")), 0);
    assert_int_equal(stat(at("key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(at("key.new"), &st), -1);
    assert_int_equal(file_get(folder, "key", 3, &got), 0);
    assert_memory_equal(got, "abc", 3);
    mem_free(got);
    assert_int_equal(file_get(folder, "key", 4, &got), -EBADMSG);
    assert_int_equal(file_put(folder, "key", STR("four")), 0);
    assert_int_equal(file_get(folder, "key", 3, &got), -EBADMSG);
    assert_int_equal(symlinkat("key", folder, "link"), 0);
    assert_int_equal(file_get(folder, "link", 4, &got), -ELOOP);
    assert_int_equal(mkdirat(folder, "key2", 0700), 0);
    assert_int_equal(file_put(folder, "key2", STR("x")), -EISDIR); /* it stays what it was */
    assert_int_equal(stat(at("key2.new"), &st), -1);
    mem_fail_nth(1);
    assert_int_equal(file_get(folder, "key", 4, &got), -ENOMEM);
    close(folder);
}

static void no_paths_are_no_files(void **state)
{
    (void)state;
    struct files *f = files_new(NULL, 0, &plenty);
    assert_non_null(f);
    assert_int_equal(files_read(f), 0);
    assert_int_equal(files_count(f), 0);
    files_free(f);
}

static void a_direct_path_may_have_any_name(void **state)
{
    (void)state;
    put(".graph", "x");
    struct files *f = watch(".graph", &plenty);
    assert_int_equal(files_read(f), 1);
    expect_text(f, 0, ".graph", "x");
    files_free(f);
}

static void a_missing_path_is_an_error_until_it_comes(void **state)
{
    (void)state;
    struct files *f = watch("a.yaml", &plenty);
    assert_int_equal(files_read(f), 0);
    expect_error(f, 0, "a.yaml", -ENOENT, "cannot read");
    uint64_t generation = files_at(f, 0)->generation;
    assert_int_equal(files_read(f), 0);
    assert_true(files_at(f, 0)->generation == generation);
    put("a.yaml", "now");
    assert_int_equal(files_read(f), 1);
    expect_text(f, 0, "a.yaml", "now");
    assert_true(files_at(f, 0)->generation > generation);
    generation = files_generation(f);
    assert_int_equal(unlink(at("a.yaml")), 0);
    assert_int_equal(files_read(f), 0);
    expect_error(f, 0, "a.yaml", -ENOENT, "cannot read");
    assert_true(files_at(f, 0)->generation > generation);
    files_free(f);
}

static void a_folder_gives_its_graph_files_in_byte_order(void **state)
{
    (void)state;
    put("b.yaml", "1");
    put("B.yml", "2");
    put("a.json", "3");
    put("a-.json", "4");
    put(".hidden.yaml", "no");
    put("a.yaml~", "no");
    put("yaml", "no");
    put("a.YAML", "no");
    put(".yaml", "no");
    put("note.txt", "no");
    assert_int_equal(mkdir(at("sub"), 0755), 0);
    put("sub/deep.yaml", "no");
    struct files *f = watch("", &plenty);
    assert_int_equal(files_read(f), 4);
    assert_int_equal(files_count(f), 4);
    expect_text(f, 0, "B.yml", "2");
    expect_text(f, 1, "a-.json", "4");
    expect_text(f, 2, "a.json", "3");
    expect_text(f, 3, "b.yaml", "1");
    files_free(f);
}

static void a_slash_behind_a_folder_is_not_doubled(void **state)
{
    (void)state;
    char path[80];
    const char *paths[] = {path};
    put("a.yaml", "x");
    snprintf(path, sizeof(path), "%s/", root);
    struct files *f = files_new(paths, 1, &plenty);
    assert_non_null(f);
    assert_int_equal(files_read(f), 1);
    expect_text(f, 0, "a.yaml", "x");
    files_free(f);
}

static void an_empty_folder_is_not_an_error(void **state)
{
    (void)state;
    struct files *f = watch("", &plenty);
    assert_int_equal(files_read(f), 0);
    assert_int_equal(files_count(f), 0);
    put("a.yaml", "x");
    assert_int_equal(files_read(f), 1);
    assert_int_equal(files_count(f), 1);
    files_free(f);
}

static void paths_keep_their_order(void **state)
{
    (void)state;
    char path[3][128];
    const char *paths[] = {path[0], path[1], path[2]};
    put("z.yaml", "z");
    assert_int_equal(mkdir(at("d"), 0755), 0);
    put("d/2.yaml", "2");
    put("d/1.yaml", "1");
    put("a.yaml", "a");
    snprintf(path[0], sizeof(path[0]), "%s", at("z.yaml"));
    snprintf(path[1], sizeof(path[1]), "%s", at("d"));
    snprintf(path[2], sizeof(path[2]), "%s", at("a.yaml"));
    struct files *f = files_new(paths, 3, &plenty);
    assert_non_null(f);
    memset(path, 'x', sizeof(path)); /* the paths were copied */
    assert_int_equal(files_read(f), 4);
    expect_text(f, 0, "z.yaml", "z");
    expect_text(f, 1, "d/1.yaml", "1");
    expect_text(f, 2, "d/2.yaml", "2");
    expect_text(f, 3, "a.yaml", "a");
    files_free(f);
}

static void what_is_no_regular_file_is_an_error_and_does_not_hang(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("a.yaml"), 0755), 0);
    assert_int_equal(mkfifo(at("b.yaml"), 0644), 0);
    assert_int_equal(symlink("nowhere", at("c.yaml")), 0);
    assert_int_equal(symlink("/dev/zero", at("d.yaml")), 0);
    put("e.yaml", "good");
    struct files *f = watch("", &plenty);
    assert_int_equal(files_read(f), 1);
    assert_int_equal(files_count(f), 5);
    expect_error(f, 0, "a.yaml", -EISDIR, "folder");
    expect_error(f, 1, "b.yaml", -EINVAL, "not a regular file");
    expect_error(f, 2, "c.yaml", -ENOENT, "cannot read");
    expect_error(f, 3, "d.yaml", -EINVAL, "not a regular file");
    expect_text(f, 4, "e.yaml", "good");
    files_free(f);
    f = watch("b.yaml", &plenty);
    assert_int_equal(files_read(f), 0);
    expect_error(f, 0, "b.yaml", -EINVAL, "not a regular file");
    files_free(f);
}

static void content_that_belies_its_stat_is_an_error(void **state)
{
    (void)state;
    const char *path = "/proc/self/status"; /* size 0 and yet bytes: as if it grew all the time */
    struct files *f = files_new(&path, 1, &plenty);
    assert_non_null(f);
    assert_int_equal(files_read(f), 0);
    assert_int_equal(files_at(f, 0)->error.code, -EAGAIN);
    assert_non_null(strstr(files_at(f, 0)->error.text, "keeps changing"));
    assert_int_equal(files_at(f, 0)->bytes.n, 0);
    files_free(f);
}

static void an_unreadable_file_is_an_error(void **state)
{
    (void)state;
    if (geteuid() == 0)
        skip();
    put("a.yaml", "x");
    assert_int_equal(chmod(at("a.yaml"), 0), 0);
    struct files *f = watch("", &plenty);
    assert_int_equal(files_read(f), 0);
    expect_error(f, 0, "a.yaml", -EACCES, "cannot read");
    files_free(f);
}

static void symbolic_links_are_followed(void **state)
{
    (void)state;
    put("real.txt", "one");
    assert_int_equal(symlink("real.txt", at("a.yaml")), 0);
    struct files *f = watch("", &plenty);
    assert_int_equal(files_read(f), 1);
    expect_text(f, 0, "a.yaml", "one");
    put("other.txt", "two");
    assert_int_equal(symlink("other.txt", at("new")), 0);
    assert_int_equal(rename(at("new"), at("a.yaml")), 0);
    assert_int_equal(files_read(f), 1);
    expect_text(f, 0, "a.yaml", "two");
    files_free(f);
}

static void changed_content_of_the_same_size_is_seen(void **state)
{
    (void)state;
    put("a.yaml", "one");
    struct files *f = watch("a.yaml", &plenty);
    assert_int_equal(files_read(f), 1);
    uint64_t generation = files_at(f, 0)->generation;
    put_later("a.yaml", "two"); /* the same size and mtime: its ctime tells */
    assert_int_equal(files_read(f), 1);
    expect_text(f, 0, "a.yaml", "two");
    assert_true(files_at(f, 0)->generation > generation);
    files_free(f);
}

static void a_file_replaced_by_rename_is_seen(void **state)
{
    (void)state;
    put("a.yaml", "one");
    put("b.tmp", "two");
    struct files *f = watch("a.yaml", &plenty);
    assert_int_equal(files_read(f), 1);
    uint64_t generation = files_at(f, 0)->generation;
    assert_int_equal(rename(at("b.tmp"), at("a.yaml")), 0);
    assert_int_equal(files_read(f), 1);
    expect_text(f, 0, "a.yaml", "two");
    assert_true(files_at(f, 0)->generation > generation);
    files_free(f);
}

static void a_touched_file_is_read_but_keeps_its_generation(void **state)
{
    (void)state;
    put("a.yaml", "one");
    struct files *f = watch("a.yaml", &plenty);
    assert_int_equal(files_read(f), 1);
    uint64_t generation = files_at(f, 0)->generation;
    set_age("a.yaml", OLD_S + 1);
    assert_int_equal(files_read(f), 1);
    assert_true(files_at(f, 0)->generation == generation);
    assert_true(files_generation(f) == generation);
    assert_int_equal(files_read(f), 0);
    files_free(f);
}

static void a_young_file_is_always_read_again(void **state)
{
    (void)state;
    put("a.yaml", "one");
    set_age("a.yaml", time(NULL));
    struct files *f = watch("a.yaml", &plenty);
    assert_int_equal(files_read(f), 1);
    uint64_t generation = files_at(f, 0)->generation;
    set_age("a.yaml", time(NULL) + 100); /* the same for a clock that is behind */
    assert_int_equal(files_read(f), 1);
    assert_int_equal(files_read(f), 1);
    assert_int_equal(files_read(f), 1);
    assert_true(files_at(f, 0)->generation == generation);
    set_age("a.yaml", OLD_S);
    assert_int_equal(files_read(f), 1);
    assert_int_equal(files_read(f), 0);
    files_free(f);
}

static void a_removed_file_is_forgotten(void **state)
{
    (void)state;
    put("a.yaml", "a");
    put("b.yaml", "b");
    put("c.yaml", "c");
    struct files *f = watch("", &plenty);
    assert_int_equal(files_read(f), 3);
    uint64_t generation = files_generation(f);
    uint64_t of_c = files_at(f, 2)->generation;
    assert_int_equal(unlink(at("b.yaml")), 0);
    assert_int_equal(files_read(f), 0);
    assert_int_equal(files_count(f), 2);
    expect_text(f, 0, "a.yaml", "a");
    expect_text(f, 1, "c.yaml", "c");
    assert_true(files_at(f, 1)->generation == of_c);
    assert_true(files_generation(f) > generation);
    files_free(f);
}

static void a_path_may_turn_from_file_to_folder_and_back(void **state)
{
    (void)state;
    put("p", "file");
    struct files *f = watch("p", &plenty);
    assert_int_equal(files_read(f), 1);
    assert_int_equal(unlink(at("p")), 0);
    assert_int_equal(mkdir(at("p"), 0755), 0);
    put("p/a.yaml", "inside");
    assert_int_equal(files_read(f), 1);
    assert_int_equal(files_count(f), 1);
    expect_text(f, 0, "p/a.yaml", "inside");
    assert_int_equal(unlink(at("p/a.yaml")), 0);
    assert_int_equal(rmdir(at("p")), 0);
    assert_int_equal(files_read(f), 0);
    expect_error(f, 0, "p", -ENOENT, "cannot read");
    files_free(f);
}

static void of_a_thousand_files_only_the_changed_one_is_read_again(void **state)
{
    (void)state;
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "%04d.yaml", i);
        put(name, name);
    }
    struct files *f = watch("", &plenty);
    assert_int_equal(files_read(f), 1000);
    assert_int_equal(files_count(f), 1000);
    assert_int_equal(files_read(f), 0);
    put_later("0517.yaml", "0517.yamX");
    assert_int_equal(files_read(f), 1);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "%04d.yaml", i);
        expect_text(f, (size_t)i, name, i == 517 ? "0517.yamX" : name);
    }
    put("0517a.yaml", "new");
    assert_int_equal(files_read(f), 1);
    expect_text(f, 518, "0517a.yaml", "new");
    files_free(f);
}

static void a_file_over_its_limit_is_an_error(void **state)
{
    (void)state;
    const struct file_limits limits = {4, 100, 10};
    put("a.yaml", "1234");
    put("b.yaml", "12345");
    struct files *f = watch("", &limits);
    assert_int_equal(files_read(f), 1);
    expect_text(f, 0, "a.yaml", "1234");
    expect_error(f, 1, "b.yaml", -EFBIG, "larger than 4 bytes");
    put("b.yaml", "123");
    put("a.yaml", "12345");
    assert_int_equal(files_read(f), 1);
    expect_error(f, 0, "a.yaml", -EFBIG, "larger than 4 bytes");
    expect_text(f, 1, "b.yaml", "123");
    files_free(f);
}

static void no_memory_is_taken_for_a_file_over_its_limit(void **state)
{
    (void)state;
    const struct file_limits limits = {1 << 20, 1 << 20, 10};
    put("a.yaml", "");
    assert_int_equal(truncate(at("a.yaml"), (off_t)1 << 40), 0);
    struct files *f = watch("a.yaml", &limits);
    mem_fail_nth(0);
    assert_int_equal(files_read(f), 0);
    unsigned long with_error = mem_count();
    expect_error(f, 0, "a.yaml", -EFBIG, "larger than");
    files_free(f);
    put("a.yaml", "x");
    f = watch("a.yaml", &limits);
    mem_fail_nth(0);
    assert_int_equal(files_read(f), 1);
    assert_int_equal(mem_count(), with_error + 1);
    files_free(f);
}

static void all_files_together_keep_a_limit(void **state)
{
    (void)state;
    const struct file_limits limits = {10, 10, 10};
    put("a.yaml", "1234");
    put("b.yaml", "123456");
    put("c.yaml", "1");
    put("d.yaml", "");
    struct files *f = watch("", &limits);
    assert_int_equal(files_read(f), 3);
    expect_text(f, 1, "b.yaml", "123456"); /* 10 bytes so far */
    expect_error(f, 2, "c.yaml", -EFBIG, "together larger than 10 bytes");
    expect_text(f, 3, "d.yaml", "");
    put("a.yaml", "12345"); /* now b, itself unchanged, is over */
    assert_int_equal(files_read(f), 2);
    expect_text(f, 0, "a.yaml", "12345");
    expect_error(f, 1, "b.yaml", -EFBIG, "together larger than 10 bytes");
    expect_text(f, 2, "c.yaml", "1");
    put("a.yaml", "123");
    assert_int_equal(files_read(f), 2);
    expect_text(f, 1, "b.yaml", "123456");
    expect_text(f, 2, "c.yaml", "1");
    files_free(f);
}

static void a_folder_with_too_many_files_is_one_error(void **state)
{
    (void)state;
    const struct file_limits limits = {100, 100, 3};
    put("a.yaml", "a");
    put("b.yaml", "b");
    put("c.yaml", "c");
    put("d.txt", "not counted");
    struct files *f = watch("", &limits);
    assert_int_equal(files_read(f), 3);
    put("d.yaml", "d");
    assert_int_equal(files_read(f), 0);
    assert_int_equal(files_count(f), 1);
    expect_error(f, 0, "", -E2BIG, "more than 3 files");
    assert_int_equal(unlink(at("a.yaml")), 0);
    assert_int_equal(files_read(f), 3);
    expect_text(f, 2, "d.yaml", "d");
    files_free(f);
}

static void paths_beyond_the_number_of_files_are_errors(void **state)
{
    (void)state;
    const struct file_limits limits = {100, 100, 1};
    char path[2][128];
    const char *paths[] = {path[0], path[1]};
    put("a", "a");
    put("b", "b");
    snprintf(path[0], sizeof(path[0]), "%s", at("a"));
    snprintf(path[1], sizeof(path[1]), "%s", at("b"));
    struct files *f = files_new(paths, 2, &limits);
    assert_non_null(f);
    assert_int_equal(files_read(f), 1);
    expect_text(f, 0, "a", "a");
    expect_error(f, 1, "b", -E2BIG, "more than 1 files");
    files_free(f);
}

static int open_descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void no_descriptor_stays_open(void **state)
{
    (void)state;
    int before = open_descriptors();
    put("a.yaml", "a");
    assert_int_equal(mkdir(at("b.yaml"), 0755), 0);
    struct files *f = watch("", &plenty);
    assert_int_equal(files_read(f), 1);
    assert_int_equal(open_descriptors(), before);
    files_free(f);
}

/* The first N at which everything succeeds ends the loop. */
static void failed_memory_is_survived_at_every_place(void **state)
{
    (void)state;
    const char *path = root;
    bool done = false;
    put("a.yaml", "a");
    put("b.yaml", "b");
    for (unsigned long n = 1; !done; n++) {
        assert_true(n < 100);
        mem_fail_nth(n);
        struct files *f = files_new(&path, 1, &plenty);
        int rc = f ? files_read(f) : -ENOMEM;
        done = mem_count() < n;
        mem_fail_nth(0);
        assert_int_equal(rc, done ? 2 : -ENOMEM);
        if (f) { /* and the next read makes good what failed */
            assert_true(files_read(f) >= 0);
            assert_int_equal(files_count(f), 2);
            expect_text(f, 0, "a.yaml", "a");
            expect_text(f, 1, "b.yaml", "b");
        }
        files_free(f);
        assert_int_equal(mem_live(), 0);
    }
}

static void failed_memory_during_a_change_is_survived(void **state)
{
    (void)state;
    bool done = false;
    for (unsigned long n = 1; !done; n++) {
        assert_true(n < 100);
        put("a.yaml", "a");
        put("b.yaml", "b");
        unlink(at("aa.yaml"));
        struct files *f = watch("", &plenty);
        assert_int_equal(files_read(f), 2);
        put("aa.yaml", "new");
        put("b.yaml", "changed");
        assert_int_equal(unlink(at("a.yaml")), 0);
        mem_fail_nth(n);
        int rc = files_read(f);
        done = mem_count() < n;
        mem_fail_nth(0);
        assert_int_equal(rc, done ? 2 : -ENOMEM);
        assert_true(files_read(f) >= 0);
        assert_int_equal(files_count(f), 2);
        expect_text(f, 0, "aa.yaml", "new");
        expect_text(f, 1, "b.yaml", "changed");
        files_free(f);
        assert_int_equal(mem_live(), 0);
    }
}

#define FILES_TEST(fn) cmocka_unit_test_setup_teardown(fn, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILES_TEST(a_file_is_read_whole_and_once),
        FILES_TEST(an_empty_file_is_not_an_error),
        FILES_TEST(a_file_of_ours_is_put_in_place_whole),
        FILES_TEST(no_paths_are_no_files),
        FILES_TEST(a_direct_path_may_have_any_name),
        FILES_TEST(a_missing_path_is_an_error_until_it_comes),
        FILES_TEST(a_folder_gives_its_graph_files_in_byte_order),
        FILES_TEST(a_slash_behind_a_folder_is_not_doubled),
        FILES_TEST(an_empty_folder_is_not_an_error),
        FILES_TEST(paths_keep_their_order),
        FILES_TEST(what_is_no_regular_file_is_an_error_and_does_not_hang),
        FILES_TEST(content_that_belies_its_stat_is_an_error),
        FILES_TEST(an_unreadable_file_is_an_error),
        FILES_TEST(symbolic_links_are_followed),
        FILES_TEST(changed_content_of_the_same_size_is_seen),
        FILES_TEST(a_file_replaced_by_rename_is_seen),
        FILES_TEST(a_touched_file_is_read_but_keeps_its_generation),
        FILES_TEST(a_young_file_is_always_read_again),
        FILES_TEST(a_removed_file_is_forgotten),
        FILES_TEST(a_path_may_turn_from_file_to_folder_and_back),
        FILES_TEST(of_a_thousand_files_only_the_changed_one_is_read_again),
        FILES_TEST(a_file_over_its_limit_is_an_error),
        FILES_TEST(no_memory_is_taken_for_a_file_over_its_limit),
        FILES_TEST(all_files_together_keep_a_limit),
        FILES_TEST(a_folder_with_too_many_files_is_one_error),
        FILES_TEST(paths_beyond_the_number_of_files_are_errors),
        FILES_TEST(no_descriptor_stays_open),
        FILES_TEST(failed_memory_is_survived_at_every_place),
        FILES_TEST(failed_memory_during_a_change_is_survived),
    };
    return unit_run(tests);
}
