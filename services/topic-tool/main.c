/*
 * fleetseal-topics: makes the topics of proto/topics.json, says where those that exist differ, and
 * gives every partition of a state topic its log id. Run before the services, by a person, by
 * deploy/up or by a job; as often as one likes.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "arguments.h"
#include "catalog.h"
#include "cluster.h"
#include "log_id.h"

static void close_file(FILE *file)
{
    (void)fclose(file); /* only read from */
}
CLEANUP_DEFINE(FILE *, close_file);

static err_t read_catalog(const char *path, struct catalog *ret, struct fault *f)
{
    CLEANUP(close_file) FILE *file = fopen(path, "re");
    CLEANUP_BUF struct buf text = BUF_INIT(CATALOG_MAX_BYTES + 1);
    if (!file) {
        return fault_set(f, ERR_INVALID, "validation_error", "--topics", "cannot open %s: %s", path,
                         strerror(errno));
    }
    uint8_t *to = buf_reserve(&text, CATALOG_MAX_BYTES + 1);
    text.len += fread(to, 1, CATALOG_MAX_BYTES + 1, file);
    if (ferror(file)) {
        return fault_set(f, ERR_INVALID, "validation_error", "--topics", "cannot read %s", path);
    }
    return catalog_parse(buf_span(&text), ret, f);
}

static int report_missing(const struct catalog *catalog, const int *counts, const char *word)
{
    int missing = 0;
    for (size_t i = 0; i < catalog->topics_count; i++) {
        if (counts[i] == 0) {
            missing++;
            (void)printf("%s  %s\n", word, catalog->topics[i].name);
        }
    }
    return missing;
}

static err_t write_log_ids(struct cluster *c, const struct catalog *catalog, const int *counts,
                           int timeout_ms, int *ret_written, struct fault *f)
{
    *ret_written = 0;
    for (size_t i = 0; i < catalog->topics_count; i++) {
        int written = 0;
        err_t e = catalog->topics[i].state
                      ? log_id_write_missing(cluster_client(c), catalog->topics[i].name, counts[i],
                                             timeout_ms, &written, f)
                      : ERR_OK;
        if (e) {
            return e;
        }
        *ret_written += written;
    }
    return ERR_OK;
}

/* Creates what is missing and gives it its log ids. */
static err_t change(struct cluster *c, const struct arguments *a, const struct catalog *catalog,
                    int *counts, struct fault *f)
{
    int written = 0;
    err_t e = cluster_create_missing(c, catalog, counts, f);
    if (!e) {
        (void)report_missing(catalog, counts, "created ");
        e = cluster_partition_counts(c, catalog, counts, f);
    }
    if (!e) {
        e = write_log_ids(c, catalog, counts, a->cluster.timeout_ms, &written, f);
    }
    if (!e) {
        (void)printf("%d log ids written\n", written);
    }
    return e;
}

static err_t run(const struct arguments *a, struct fault *f)
{
    CLEANUP(catalog_deinit) struct catalog catalog = {0};
    CLEANUP(cluster_close) struct cluster *c = NULL;
    err_t e = read_catalog(a->topics_file, &catalog, f);
    if (e) {
        return e;
    }
    struct cluster_options options = a->cluster;
    options.partitions = a->partitions ? a->partitions : catalog.partitions;
    e = cluster_open(&options, &c, f);
    if (e) {
        return e;
    }
    CLEANUP_FREE int *counts = xcalloc(catalog.topics_count, sizeof(*counts));
    int differences = 0;
    e = cluster_partition_counts(c, &catalog, counts, f);
    if (!e && !a->check_only) {
        e = change(c, a, &catalog, counts, f);
    }
    if (!e) {
        e = cluster_compare(c, &catalog, counts, stdout, &differences, f);
    }
    if (e) {
        return e;
    }
    differences += report_missing(&catalog, counts, "missing ");
    (void)printf("%zu topics, %d differences\n", catalog.topics_count, differences);
    return differences ? fault_set(f, ERR_CONFLICT, "conflict", "",
                                   "the cluster is not as the catalogue says")
                       : ERR_OK;
}

int main(int argc, char **argv)
{
    struct fault f = {0};
    struct arguments a;
    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail for a valid signal */
    err_t e = arguments_parse(argc, argv, &a, &f);
    if (!e && a.help) {
        (void)fputs(arguments_help, stdout); /* a closed stdout is the reader's choice */
    } else if (!e && a.version) {
        (void)printf("fleetseal-topics %s, librdkafka %s\n", FLEETSEAL_VERSION,
                     rd_kafka_version_str());
    } else if (!e) {
        e = run(&a, &f);
    }
    if (e) {
        (void)fprintf(stderr, "fleetseal-topics: %s%s%s\n", f.field, f.field[0] ? ": " : "",
                      f.text);
    }
    return err_exit_status(e);
}
