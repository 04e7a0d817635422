/* The last good graph: what was saved comes back, and no damage leads silently to an older one. */
#include "lib/base/counters.h"
#include "proxy/lastgood.h"
#include "tests/unit/graph/graph_text.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define EPOCHS 4u

static const unsigned char ours[HISTORY_ID] = "history-of-ours",
                           other[HISTORY_ID] = "another-history";

static char dir[64], path[96];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/offshoot-lastgood-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/last-good", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* ---- graphs: main, and as many overlays as the epoch has ---------------------------------------
 */

static struct snapshot *graph_next(struct snapshot *base, uint64_t epoch, unsigned pad)
{
    struct text t = {0};
    text_add(&t, STR("kind: Service\nmetadata: {name: cart}\n---\n"
                     "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, "
                     "providers: {cart: {endpoints: ['10.0.0.1:80']}}}\n"));
    for (uint64_t i = 2; i <= epoch; i++) {
        text_fmt(&t,
            "---\nkind: Environment\nmetadata: {name: env-%llu}\nspec: {mode: overlay, parent: "
            "main, owner: 'o",
            (unsigned long long)i);
        for (unsigned k = 0; k < pad; k++)
            text_fmt(&t, "%c", 'a' + (char)((i + epoch + k) % 26));
        text_add(&t, STR("'}\n"));
    }
    assert_int_equal(t.failed, 0);
    struct snapshot *s = graph_on(base, t.p, epoch, NULL);
    text_release(&t);
    return s;
}

/* One chain, epochs 1 to EPOCHS at [1..]. */
static void make_chain(struct snapshot *chain[EPOCHS + 1])
{
    chain[0] = NULL;
    for (unsigned i = 1; i <= EPOCHS; i++)
        chain[i] = graph_next(chain[i - 1], i, 1);
}

static void drop_chain(struct snapshot *chain[EPOCHS + 1])
{
    for (unsigned i = 1; i <= EPOCHS; i++)
        snapshot_unref(chain[i]);
}

/* ---- the file ---- */

static struct lastgood *opened(struct lastgood_found *found)
{
    struct err e = {0};
    struct lastgood_found unused = {0};
    struct lastgood *l = lastgood_open(dir, found ? found : &unused, &e);
    if (!l)
        fail_msg("%s", e.text);
    if (unused.snapshot)
        snapshot_unref(unused.snapshot);
    return l;
}

static void saved(struct lastgood *l, const unsigned char *history, struct snapshot *s)
{
    struct err e = {0};
    if (lastgood_save(l, history, s, &e) != 0)
        fail_msg("%s", e.text);
}

/* What a new opening finds is s, of that history; NULL: nothing. */
static void assert_kept(const unsigned char *history, const struct snapshot *s)
{
    struct lastgood_found found = {0};
    struct lastgood *l = opened(&found);
    if (!s) {
        assert_null(found.snapshot);
    } else {
        assert_non_null(found.snapshot);
        assert_memory_equal(found.history, history, HISTORY_ID);
        assert_int_equal(snapshot_epoch(found.snapshot), snapshot_epoch(s));
        assert_memory_equal(snapshot_digest(found.snapshot), snapshot_digest(s), 32);
        assert_memory_equal(snapshot_root(found.snapshot), snapshot_root(s), 32);
        assert_true(found.saved_s > 1000000000);
        snapshot_unref(found.snapshot);
    }
    lastgood_close(l);
}

static char *file_read(size_t *ret_n)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *ret_n = (size_t)ftell(f);
    rewind(f);
    char *p = mem_alloc(*ret_n + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, *ret_n, f), *ret_n);
    fclose(f);
    return p;
}

static void file_write(const char *p, size_t n)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static size_t file_size(void)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (size_t)st.st_size;
}

/* Saves the whole chain; sizes[i]: of the file with epoch i. */
static void save_chain(struct snapshot *chain[EPOCHS + 1], size_t sizes[EPOCHS + 1])
{
    struct lastgood *l = opened(NULL);
    sizes[0] = file_size();
    for (unsigned i = 1; i <= EPOCHS; i++) {
        saved(l, ours, chain[i]);
        sizes[i] = file_size();
    }
    lastgood_close(l);
}

/* ---- tests ---- */

static void nothing_is_kept_at_first(void **state)
{
    (void)state;
    assert_kept(NULL, NULL);
    assert_kept(NULL, NULL);
}

static void what_was_saved_comes_back(void **state)
{
    struct snapshot *chain[EPOCHS + 1];
    struct lastgood_found found;
    (void)state;
    make_chain(chain);
    struct lastgood *l = opened(NULL);
    for (unsigned i = 1; i <= EPOCHS; i++) {
        saved(l, ours, chain[i]);
        lastgood_close(l);
        assert_kept(ours, chain[i]);
        l = opened(&found);
        snapshot_unref(found.snapshot); /* l goes on from what it read: a chain of its own */
    }
    lastgood_close(l);
    drop_chain(chain);
}

static void a_chain_that_was_read_takes_differences(void **state)
{
    struct snapshot *chain[EPOCHS + 1];
    struct lastgood_found found;
    (void)state;
    make_chain(chain);
    struct lastgood *l = opened(NULL);
    saved(l, ours, chain[1]);
    lastgood_close(l);
    l = opened(&found);
    size_t before = file_size();
    struct snapshot *next = graph_next(found.snapshot, 2, 1);
    saved(l, ours, next);
    assert_true(file_size() > before); /* appended, not made anew */
    assert_true(file_size() < 2 * before);
    lastgood_close(l);
    assert_kept(ours, next);
    snapshot_unref(next);
    snapshot_unref(found.snapshot);
    drop_chain(chain);
}

static void the_same_epoch_writes_nothing_and_a_lower_one_is_refused(void **state)
{
    struct snapshot *chain[EPOCHS + 1];
    struct err e = {0};
    (void)state;
    make_chain(chain);
    struct lastgood *l = opened(NULL);
    saved(l, ours, chain[3]);
    size_t n = file_size();
    saved(l, ours, chain[3]);
    assert_int_equal(file_size(), n);
    assert_int_equal(lastgood_save(l, ours, chain[2], &e), -EINVAL);
    assert_string_equal(e.text, "epoch 3 is kept already, not saving epoch 2");
    saved(l, other, chain[2]); /* another history: numbers are not compared */
    lastgood_close(l);
    assert_kept(other, chain[2]);
    drop_chain(chain);
}

/* A torn end is cut back to what was whole; in the head it is damage. */
static void every_prefix(void **state)
{
    struct snapshot *chain[EPOCHS + 1];
    size_t sizes[EPOCHS + 1], n;
    (void)state;
    make_chain(chain);
    save_chain(chain, sizes);
    char *bytes = file_read(&n);
    assert_int_equal(n, sizes[EPOCHS]);
    for (size_t cut = 0; cut <= n; cut++) {
        struct lastgood_found found = {0};
        struct err e = {0};
        file_write(bytes, cut);
        struct lastgood *l = lastgood_open(dir, &found, &e);
        if (cut < sizes[0]) {
            assert_null(l);
            assert_int_equal(e.code, -EBADMSG);
            assert_non_null(strstr(e.text, path));
            continue;
        }
        assert_non_null(l);
        uint64_t least = 0; /* the last epoch that was on the disk with all of its records */
        while (least < EPOCHS && sizes[least + 1] <= cut)
            least++;
        uint64_t epoch = found.snapshot ? snapshot_epoch(found.snapshot) : 0;
        assert_true(epoch == least || epoch == least + 1); /* a DONE alone may be lost */
        if (epoch)
            assert_memory_equal(snapshot_digest(found.snapshot), snapshot_digest(chain[epoch]), 32);
        if (epoch < EPOCHS)
            saved(l, ours, chain[EPOCHS]); /* and it goes on from there */
        if (found.snapshot)
            snapshot_unref(found.snapshot);
        lastgood_close(l);
        assert_kept(ours, chain[EPOCHS]);
    }
    mem_free(bytes);
    drop_chain(chain);
}

/* Damage is told and nothing changed, or the newest is there all the same. */
static void every_bit(void **state)
{
    struct snapshot *chain[EPOCHS + 1];
    size_t sizes[EPOCHS + 1], n, told = 0;
    (void)state;
    make_chain(chain);
    save_chain(chain, sizes);
    char *bytes = file_read(&n);
    for (size_t bit = 0; bit < n * 8; bit++) {
        struct lastgood_found found = {0};
        struct err e = {0};
        size_t after;
        bytes[bit / 8] ^= (char)(1u << bit % 8);
        file_write(bytes, n);
        struct lastgood *l = lastgood_open(dir, &found, &e);
        if (l) {
            assert_int_equal(snapshot_epoch(found.snapshot), EPOCHS);
            assert_memory_equal(
                snapshot_digest(found.snapshot), snapshot_digest(chain[EPOCHS]), 32);
            snapshot_unref(found.snapshot);
            lastgood_close(l);
        } else {
            told++;
            assert_int_equal(e.code, -EBADMSG);
            assert_non_null(strstr(e.text, path));
            assert_null(found.snapshot);
            char *now = file_read(&after);
            assert_int_equal(after, n);
            assert_memory_equal(now, bytes, n);
            mem_free(now);
        }
        bytes[bit / 8] ^= (char)(1u << bit % 8);
    }
    assert_true(told > n * 8 * 9 / 10);
    mem_free(bytes);
    drop_chain(chain);
}

static void set_file_limit(rlim_t bytes)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* What was kept stays, whatever of the write found room; with room again it goes on. */
static void a_full_disk(void **state)
{
    struct snapshot *chain[EPOCHS + 1];
    struct err e = {0};
    (void)state;
    make_chain(chain);
    signal(SIGXFSZ, SIG_IGN);
    for (size_t room = 0; room < 400; room += 7) {
        struct lastgood *l = opened(NULL);
        saved(l, ours, chain[1]);
        size_t n = file_size();
        set_file_limit(n + room);
        int rc = lastgood_save(l, ours, chain[2], &e);
        set_file_limit(RLIM_INFINITY);
        if (rc != 0) {
            assert_non_null(strstr(e.text, path));
            assert_int_equal(file_size(), n);
            lastgood_close(l);
            assert_kept(ours, chain[1]);
        } else {
            lastgood_close(l);
            assert_kept(ours, chain[2]);
        }
        assert_int_equal(unlink(path), 0);
    }
    drop_chain(chain);
}

static void saving_goes_on_when_there_is_room_again(void **state)
{
    struct snapshot *chain[EPOCHS + 1];
    struct err e = {0};
    (void)state;
    make_chain(chain);
    signal(SIGXFSZ, SIG_IGN);
    struct lastgood *l = opened(NULL);
    saved(l, ours, chain[1]);
    for (unsigned i = 2; i <= EPOCHS; i++) {
        set_file_limit(file_size() + 20);
        for (unsigned again = 0; again < 3; again++)
            assert_int_equal(lastgood_save(l, ours, chain[i], &e), -EFBIG);
        set_file_limit(RLIM_INFINITY);
        saved(l, ours, chain[i]);
    }
    set_file_limit(100); /* no room for another history's whole */
    assert_int_equal(lastgood_save(l, other, chain[1], &e), -EFBIG);
    set_file_limit(RLIM_INFINITY);
    lastgood_close(l);
    assert_kept(ours, chain[EPOCHS]);
    drop_chain(chain);
}

static void the_log_is_replaced_when_differences_outgrow_the_whole(void **state)
{
    struct lastgood *l = opened(NULL);
    struct snapshot *s = NULL;
    size_t largest = 0, replaced = 0, before = 0;
    (void)state;
    for (unsigned epoch = 1; epoch <= 60; epoch++) {
        struct snapshot *next = graph_next(s, epoch, 2000); /* every owner changes */
        saved(l, ours, next);
        if (s)
            snapshot_unref(s);
        s = next;
        size_t n = file_size();
        largest = n > largest ? n : largest;
        replaced += n < before;
        before = n;
    }
    lastgood_close(l);
    assert_true(replaced > 0 && replaced < 20);
    assert_true(largest < 2u << 20);
    assert_kept(ours, s);
    snapshot_unref(s);
}

static void a_large_whole_comes_in_parts(void **state)
{
    struct snapshot *s = graph_next(NULL, 300, 60000);
    struct lastgood_found found = {0};
    struct err e = {0};
    size_t n;
    (void)state;
    struct lastgood *l = opened(NULL);
    saved(l, ours, s);
    lastgood_close(l);
    assert_true(file_size() > 17u << 20);
    assert_kept(ours, s);
    char *bytes = file_read(&n);
    file_write(bytes, n - 1000000); /* such a file was whole once: it is no torn end */
    mem_free(bytes);
    for (unsigned again = 0; again < 2; again++) {
        assert_null(lastgood_open(dir, &found, &e));
        assert_int_equal(e.code, -EBADMSG);
    }
    snapshot_unref(s);
}

static void assert_adopted(struct lastgood *l, const unsigned char *history)
{
    const unsigned char *have = lastgood_adopted(l);
    if (!history)
        assert_null(have);
    else
        assert_memory_equal(have, history, HISTORY_ID);
}

static void what_was_adopted_is_kept_until_a_graph_of_it_is_saved(void **state)
{
    struct snapshot *chain[EPOCHS + 1];
    struct lastgood_found found;
    static const unsigned char third[HISTORY_ID] = "a-third-history";
    (void)state;
    make_chain(chain);
    struct lastgood *l = opened(NULL);
    assert_adopted(l, NULL);
    assert_int_equal(lastgood_adopt(l, third, NULL), 0);
    assert_int_equal(lastgood_adopt(l, other, NULL), 0); /* the last one counts */
    saved(l, ours, chain[1]); /* of another history: the log is made anew */
    assert_adopted(l, other);
    saved(l, ours, chain[2]);
    lastgood_close(l);
    l = opened(&found);
    snapshot_unref(found.snapshot);
    assert_adopted(l, other);
    size_t size = file_size();
    assert_int_equal(lastgood_adopt(l, other, NULL), 0); /* again: nothing to write */
    assert_int_equal(file_size(), size);
    saved(l, other, chain[1]);
    assert_adopted(l, NULL);
    lastgood_close(l);
    l = opened(&found);
    snapshot_unref(found.snapshot);
    assert_adopted(l, NULL);
    lastgood_close(l);
    drop_chain(chain);
}

static void two_owners_exclude_each_other(void **state)
{
    struct lastgood_found found = {0};
    struct err e = {0};
    (void)state;
    struct lastgood *l = opened(NULL);
    assert_null(lastgood_open(dir, &found, &e));
    assert_int_equal(e.code, -EBUSY);
    lastgood_close(l);
}

static void a_file_of_something_else_is_refused(void **state)
{
    struct lastgood_found found = {0};
    struct err e = {0};
    (void)state;
    file_write("this is no log at all", 21);
    assert_null(lastgood_open(dir, &found, &e));
    assert_int_equal(e.code, -EBADMSG);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_null(lastgood_open(dir, &found, &e));
    assert_null(lastgood_open("/nonexistent/folder", &found, &e));
    assert_int_equal(e.code, -ENOENT);
}

static void every_allocation_may_fail(void **state)
{
    struct snapshot *chain[EPOCHS + 1];
    struct lastgood_found found = {0};
    struct err e = {0};
    (void)state;
    make_chain(chain);
    for (unsigned long nth = 1;; nth++) { /* saving: a whole, a difference, a new history */
        size_t live = mem_live();
        struct lastgood *l = opened(NULL);
        mem_fail_nth(nth);
        int rc = lastgood_save(l, ours, chain[1], &e);
        rc = rc ? rc : lastgood_save(l, ours, chain[2], &e);
        rc = rc ? rc : lastgood_save(l, other, chain[3], &e);
        bool reached = mem_count() >= nth;
        mem_fail_nth(0);
        if (rc != 0)
            assert_true(e.text[0] != '\0');
        saved(l, other, chain[4]); /* memory is there again */
        lastgood_close(l);
        assert_kept(other, chain[4]);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mem_live(), live);
        if (!reached)
            break;
    }
    size_t sizes[EPOCHS + 1];
    save_chain(chain, sizes);
    for (unsigned long nth = 1;; nth++) { /* opening */
        mem_fail_nth(nth);
        struct lastgood *l = lastgood_open(dir, &found, &e);
        bool reached = mem_count() >= nth;
        mem_fail_nth(0);
        if (l) {
            assert_int_equal(snapshot_epoch(found.snapshot), EPOCHS);
            snapshot_unref(found.snapshot);
            lastgood_close(l);
        } else {
            assert_int_equal(e.code, -ENOMEM);
        }
        if (!reached)
            break;
    }
    assert_kept(ours, chain[EPOCHS]);
    drop_chain(chain);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_kept_at_first),
        TEST(what_was_saved_comes_back),
        TEST(a_chain_that_was_read_takes_differences),
        TEST(the_same_epoch_writes_nothing_and_a_lower_one_is_refused),
        TEST(every_prefix),
        TEST(every_bit),
        TEST(a_full_disk),
        TEST(saving_goes_on_when_there_is_room_again),
        TEST(the_log_is_replaced_when_differences_outgrow_the_whole),
        TEST(a_large_whole_comes_in_parts),
        TEST(what_was_adopted_is_kept_until_a_graph_of_it_is_saved),
        TEST(two_owners_exclude_each_other),
        TEST(a_file_of_something_else_is_refused),
        TEST(every_allocation_may_fail),
    };
    return unit_run(tests);
}
