/*
 * Runs a fuzz target over the files of its corpus, over each of them cut off at every length, and
 * with every byte replaced by a few that matter to parsers. Fails by sanitizer or abort.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "fuzz.h"

#define INPUT_MAX 65536

/* A copy of its own size, so that reading one byte too far is noticed. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = xcalloc(size, 1);
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void feed_mutations(uint8_t *data, size_t size)
{
    static const uint8_t bytes[] = {0, '\n', '"', '\\', '0', '9', '-', '{', '[', ',', 0x80, 0xff};
    for (size_t at = 0; at <= size; at++) {
        feed(data, at);
    }
    for (size_t at = 0; at < size; at++) {
        uint8_t kept = data[at];
        for (size_t i = 0; i < sizeof bytes; i++) {
            data[at] = bytes[i];
            feed(data, size);
        }
        data[at] = kept;
    }
}

static int run_file(const char *folder, const char *name)
{
    static uint8_t data[INPUT_MAX];
    CLEANUP_FREE char *path = xasprintf("%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        (void)fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof data, file);
    (void)fclose(file);
    feed_mutations(data, size);
    return 0;
}

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (folder == NULL) {
        (void)fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 64;
    }
    int failed = 0;
    int count = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] != '.') {
            failed += run_file(argv[1], entry->d_name);
            count++;
        }
    }
    (void)closedir(folder);
    (void)printf("%d inputs and their mutations\n", count);
    return failed > 0 || count == 0 ? 1 : 0;
}
