#include "device/storage.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage_cut.h"
#include "test_support.h"

static char *temp_dir(void)
{
    char *path = xstrdup("/tmp/fleetseal-storage-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

static void remove_dir(const char *path)
{
    static const char *const names[] = {"state", "state.new", "link"};
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)unlinkat(fd, names[i], 0);
    }
    assert_int_equal(close(fd), 0);
    assert_int_equal(rmdir(path), 0);
}

static void expect(struct storage *s, const char *name, const char *text)
{
    CLEANUP_BUF struct buf b = BUF_INIT(STORAGE_FILE_MAX);
    if (text == NULL) {
        assert_err(storage_read(s, name, &b), ERR_ABSENT);
    } else {
        assert_ok(storage_read(s, name, &b));
        assert_span(buf_span(&b), text);
    }
}

/* What every storage must do. */
static void check_contract(struct storage *s)
{
    char long_name[STORAGE_NAME_MAX + 2];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    assert_err(storage_replace(s, long_name, span_str("x")), ERR_INVALID);
    uint8_t *big = xcalloc(STORAGE_FILE_MAX + 1, 1);
    assert_err(storage_replace(s, "state", span_of(big, STORAGE_FILE_MAX + 1)), ERR_TOO_LARGE);
    free(big);
    expect(s, "state", NULL);
    assert_ok(storage_remove(s, "state"));
    assert_int_not_equal(s->ops->rename(s, "state", "other"), ERR_OK);

    assert_ok(storage_replace(s, "state", span_str("one")));
    assert_ok(storage_replace(s, "state", span_str("second")));
    expect(s, "state", "second");
    expect(s, "state.new", NULL);
    CLEANUP_BUF struct buf small = BUF_INIT(5);
    assert_err(storage_read(s, "state", &small), ERR_TOO_LARGE);
    assert_ok(storage_replace(s, "state", span_of(NULL, 0)));
    expect(s, "state", "");
    assert_ok(storage_remove(s, "state"));
    expect(s, "state", NULL);
}

static void test_memory(void **state)
{
    (void)state;
    CLEANUP(storage_free) struct storage *s = storage_new_memory();
    check_contract(s);
    assert_ok(storage_replace(s, "a", span_str("alpha")));
    assert_ok(storage_replace(s, "b", span_of(NULL, 0)));
    CLEANUP_BUF struct buf image = BUF_INIT(1024);
    assert_ok(storage_export_memory(s, &image));
    CLEANUP(storage_free) struct storage *again = storage_new_memory();
    assert_ok(storage_import_memory(again, buf_span(&image)));
    expect(again, "a", "alpha");
    expect(again, "b", "");
    for (size_t cut = 1; cut < image.len; cut++) {
        CLEANUP(storage_free) struct storage *part = storage_new_memory();
        err_t err = storage_import_memory(part, span_of(image.ptr, cut));
        assert_true(err == ERR_CORRUPT || cut == 1 + 1 + 4 || cut == 1 + 1 + 4 + 5);
    }
}

static void test_directory(void **state)
{
    (void)state;
    CLEANUP_FREE char *path = temp_dir();
    {
        CLEANUP(storage_free) struct storage *s = NULL;
        assert_ok(storage_open_directory(path, &s, NULL));
        check_contract(s);
        assert_ok(storage_replace(s, "state", span_str("secret")));
    }
    CLEANUP_FREE char *file = xasprintf("%s/state", path);
    struct stat info;
    assert_int_equal(stat(file, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    CLEANUP(storage_free) struct storage *s = NULL;
    assert_ok(storage_open_directory(path, &s, NULL));
    expect(s, "state", "secret");
    remove_dir(path);
}

static void test_directory_refused(void **state)
{
    (void)state;
    struct fault fault;
    CLEANUP(storage_free) struct storage *s = NULL;
    assert_err(storage_open_directory("/proc/self/none/at/all", &s, &fault), ERR_ABSENT);
    assert_non_null(strstr(fault.text, "/proc/self/none/at/all"));
    CLEANUP_FREE char *path = temp_dir();
    assert_int_equal(chmod(path, 0770), 0);
    assert_err(storage_open_directory(path, &s, &fault), ERR_FORBIDDEN);
    assert_int_equal(chmod(path, 0700), 0);
    CLEANUP_FREE char *link = xasprintf("%s/link", path);
    assert_int_equal(symlink("/etc/hostname", link), 0);
    assert_ok(storage_open_directory(path, &s, &fault));
    CLEANUP_BUF struct buf b = BUF_INIT(1024);
    assert_int_not_equal(storage_read(s, "link", &b), ERR_OK);
    remove_dir(path);
}

/* The bytes of a file after a cut at every step of a replacement and every damage: the old ones or
 * the new ones. `replace` is also run without its sync to prove that this test can fail. */
static bool survives(err_t (*replace)(struct storage *s, const char *name, struct span bytes))
{
    bool good = true;
    for (int cut = 0; cut < 5; cut++) {
        for (unsigned damage = 0; damage < CUT_DAMAGE_COUNT; damage++) {
            struct cut_disk *disk = cut_disk_new();
            CLEANUP(storage_free) struct storage *s = cut_open(disk);
            assert_ok(storage_replace(s, "f", span_str("old content")));
            disk->cut_at = disk->steps + cut;
            err_t err = replace(s, "f", span_str("new"));
            cut_reboot(disk, damage);
            CLEANUP_BUF struct buf b = BUF_INIT(64);
            bool there = storage_read(s, "f", &b) == ERR_OK;
            bool is_old = there && span_eq(buf_span(&b), span_str("old content"));
            bool is_new = there && span_eq(buf_span(&b), span_str("new"));
            good = good && (is_new || (is_old && err != ERR_OK));
            cut_disk_free(disk);
        }
    }
    return good;
}

static err_t careless_replace(struct storage *s, const char *name, struct span bytes)
{
    err_t err = s->ops->write(s, "aside", bytes);
    if (err == ERR_OK) {
        err = s->ops->rename(s, "aside", name);
    }
    return err == ERR_OK ? s->ops->sync_names(s) : err;
}

static err_t in_place_replace(struct storage *s, const char *name, struct span bytes)
{
    err_t err = s->ops->write(s, name, bytes);
    return err == ERR_OK ? s->ops->sync(s, name) : err;
}

static void test_replace_survives_power_cuts(void **state)
{
    (void)state;
    assert_true(survives(storage_replace));
    assert_false(survives(careless_replace));
    assert_false(survives(in_place_replace));
    struct cut_disk *disk = cut_disk_new();
    CLEANUP(storage_free) struct storage *s = cut_open(disk);
    check_contract(s);
    cut_disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_directory_refused),
        cmocka_unit_test(test_replace_survives_power_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
