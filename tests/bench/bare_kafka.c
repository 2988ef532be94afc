/*
 * bench-bare-kafka: what librdkafka and the broker do without us, as a reference.
 *
 *   bench-bare-kafka transactions --brokers B --topic T --count N --spacing MS
 *       N transactions of one record, begun MS apart (not sooner than the last one's end):
 *       {"p50_ms","p99_ms"} of begin to committed
 *   bench-bare-kafka read --brokers B --topic T
 *       every committed record of the topic, once: {"records","seconds"}
 */
#include <getopt.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "keys.h"

#define TIMEOUT_MS 30000

struct bare {
    const char *brokers, *topic;
    int count, spacing_ms;
};

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];
    bench_demand(rd_kafka_conf_set(conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK, name);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char why[256];
    rd_kafka_t *k = rd_kafka_new(type, conf, why, sizeof why);
    bench_demand(k != NULL, "client");
    return k;
}

static void check(rd_kafka_error_t *error, const char *what)
{
    if (error != NULL) {
        (void)fprintf(stderr, "bench-bare-kafka: %s\n", rd_kafka_error_string(error));
        bench_demand(false, what);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void transactions(const struct bare *o)
{
    static char value[400];
    memset(value, 'x', sizeof value);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", o->brokers);
    set(conf, "transactional.id", "bench-bare");
    set(conf, "retry.backoff.ms", "2"); /* as our owners have it */
    set(conf, "linger.ms", "0");
    rd_kafka_t *k = client(RD_KAFKA_PRODUCER, conf);
    CLEANUP_FREE double *took = xcalloc((size_t)o->count, sizeof *took);
    check(rd_kafka_init_transactions(k, TIMEOUT_MS), "init");
    double next = now_ms();
    for (int i = 0; i < o->count; i++) {
        double wait = next - now_ms();
        if (wait > 0) {
            (void)nanosleep(&(struct timespec){.tv_nsec = (long)(wait * 1e6)}, NULL);
        }
        double start = now_ms();
        check(rd_kafka_begin_transaction(k), "begin");
        bench_demand(rd_kafka_producev(k, RD_KAFKA_V_TOPIC(o->topic),
                                       RD_KAFKA_V_VALUE(value, sizeof value),
                                       RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR,
                     "produce");
        check(rd_kafka_commit_transaction(k, TIMEOUT_MS), "commit");
        took[i] = now_ms() - start;
        next = start + o->spacing_ms;
    }
    qsort(took, (size_t)o->count, sizeof *took, by_value);
    (void)printf("{\"p50_ms\":%.2f,\"p99_ms\":%.2f}\n", took[o->count / 2],
                 took[o->count * 99 / 100]);
    rd_kafka_destroy(k);
}

static int assign_all(rd_kafka_t *k, const char *topic)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *t = rd_kafka_topic_new(k, topic, NULL);
    bench_demand(rd_kafka_metadata(k, 0, t, &metadata, TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR &&
                     metadata->topic_cnt == 1,
                 "metadata");
    int count = metadata->topics[0].partition_cnt;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int i = 0; i < count; i++) {
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    bench_demand(rd_kafka_assign(k, list) == RD_KAFKA_RESP_ERR_NO_ERROR, "assign");
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(t);
    return count;
}

static void read_topic(const struct bare *o)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", o->brokers);
    set(conf, "group.id", "bench-bare");
    set(conf, "enable.partition.eof", "true");
    set(conf, "enable.auto.commit", "false");
    rd_kafka_t *k = client(RD_KAFKA_CONSUMER, conf);
    bench_demand(rd_kafka_poll_set_consumer(k) == RD_KAFKA_RESP_ERR_NO_ERROR, "queue");
    int open = assign_all(k, o->topic);
    double start = now_ms();
    unsigned long records = 0;
    while (open > 0) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(k, TIMEOUT_MS);
        bench_demand(m != NULL, "read");
        open -= m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        records += m->err == RD_KAFKA_RESP_ERR_NO_ERROR;
        rd_kafka_message_destroy(m);
    }
    (void)printf("{\"records\":%lu,\"seconds\":%.4f}\n", records, (now_ms() - start) / 1e3);
    (void)rd_kafka_consumer_close(k);
    rd_kafka_destroy(k);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"brokers", required_argument, NULL, 'b'},
                                            {"topic", required_argument, NULL, 't'},
                                            {"count", required_argument, NULL, 'n'},
                                            {"spacing", required_argument, NULL, 's'},
                                            {NULL, 0, NULL, 0}};
    struct bare o = {.count = 100, .spacing_ms = 20};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'b':
            o.brokers = optarg;
            break;
        case 't':
            o.topic = optarg;
            break;
        case 'n':
            o.count = (int)strtol(optarg, NULL, 10);
            break;
        case 's':
            o.spacing_ms = (int)strtol(optarg, NULL, 10);
            break;
        default:
            return 64;
        }
    }
    if (optind != argc - 1 || o.brokers == NULL || o.topic == NULL || o.count <= 0) {
        (void)fputs("usage: bench-bare-kafka transactions|read --brokers B --topic T "
                    "[--count N] [--spacing MS]\n",
                    stderr);
        return 64;
    }
    if (strcmp(argv[optind], "transactions") == 0) {
        transactions(&o);
    } else {
        read_topic(&o);
    }
    return 0;
}
