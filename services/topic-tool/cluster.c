#include "cluster.h"

#include <string.h>

#include "common/clock.h"

#define CLIENT_ID   "fleetseal-topics"
#define ERRSTR_SIZE 512
#define METADATA_MS 2000 /* one attempt; broker restarts are seen as several */
#define PAUSE_MS    50   /* between two attempts */
#define NUMBER_SIZE 12
#define MIN_IN_SYNC "min.insync.replicas"

struct cluster {
    rd_kafka_t *client;
    rd_kafka_queue_t *results; /* of admin requests */
    struct cluster_options options;
};

CLEANUP_DEFINE(rd_kafka_conf_t *, rd_kafka_conf_destroy);
CLEANUP_DEFINE(rd_kafka_event_t *, rd_kafka_event_destroy);
CLEANUP_DEFINE(rd_kafka_AdminOptions_t *, rd_kafka_AdminOptions_destroy);
CLEANUP_DEFINE(const struct rd_kafka_metadata *, rd_kafka_metadata_destroy);

err_t cluster_err(rd_kafka_resp_err_t e)
{
    switch (e) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return ERR_OK;
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
        return ERR_EXISTS;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return ERR_FORBIDDEN;
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_REQUEST:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
        return ERR_INVALID;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__WAIT_CACHE:
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        return ERR_UNAVAILABLE;
    default:
        return ERR_INTERNAL;
    }
}

static err_t fail(struct fault *f, rd_kafka_resp_err_t e, const char *what)
{
    return fault_set(f, cluster_err(e), "kafka_error", "", "%s: %s", what, rd_kafka_err2str(e));
}

/* The report of a record that log_id.c sent: its opaque is the count of those under way. */
static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *ctx)
{
    (void)client;
    (void)ctx;
    if (!message->err) {
        --*(int *)message->_private;
    }
}

/* What matters of librdkafka's log comes back as errors of our calls. */
static void drop_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    (void)client;
    (void)level;
    (void)facility;
    (void)text;
}

static err_t set_property(rd_kafka_conf_t *conf, const char *name, const char *value,
                          struct fault *f)
{
    char text[ERRSTR_SIZE];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK) {
        return fault_set(f, ERR_INVALID, "validation_error", name, "%s", text);
    }
    return ERR_OK;
}

/* "name=value" as an operator gives it. */
static err_t set_extra(rd_kafka_conf_t *conf, const char *property, struct fault *f)
{
    const char *equals = strchr(property, '=');
    if (!equals) {
        return fault_set(f, ERR_INVALID, "validation_error", "property",
                         "must be name=value, is '%s'", property);
    }
    CLEANUP_FREE char *name = xstrndup(property, (size_t)(equals - property));
    return set_property(conf, name, equals + 1, f);
}

static err_t make_conf(const struct cluster_options *o, rd_kafka_conf_t **ret, struct fault *f)
{
    const char *const fixed[][2] = {
        {"bootstrap.servers", o->brokers}, {"client.id", CLIENT_ID},
        {"enable.idempotence", "true"},    {"linger.ms", "5"},
        {"socket.nagle.disable", "true"},
    };
    CLEANUP(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, drop_log);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        err_t e = set_property(conf, fixed[i][0], fixed[i][1], f);
        if (e) {
            return e;
        }
    }
    for (size_t i = 0; i < o->properties_count; i++) {
        err_t e = set_extra(conf, o->properties[i], f);
        if (e) {
            return e;
        }
    }
    *ret = TAKE(conf);
    return ERR_OK;
}

/* All topics of the cluster, asked again until `deadline_ms` while no broker answers. */
static err_t get_metadata(struct cluster *c, int64_t deadline_ms,
                          const struct rd_kafka_metadata **ret, struct fault *f)
{
    for (;;) {
        rd_kafka_resp_err_t e = rd_kafka_metadata(c->client, 1, NULL, ret, METADATA_MS);
        if (!e) {
            return ERR_OK;
        }
        if (clock_mono_ms(&clock_system) >= deadline_ms) {
            return fault_set(f, ERR_UNAVAILABLE, "kafka_unavailable", "brokers",
                             "no answer from %s: %s", c->options.brokers, rd_kafka_err2str(e));
        }
        (void)rd_kafka_poll(c->client, PAUSE_MS); /* the number of events is of no interest */
    }
}

static int64_t deadline_of(const struct cluster *c)
{
    return clock_mono_ms(&clock_system) + c->options.timeout_ms;
}

err_t cluster_open(const struct cluster_options *options, struct cluster **ret, struct fault *f)
{
    char text[ERRSTR_SIZE];
    CLEANUP(cluster_close) struct cluster *c = xcalloc(1, sizeof(*c));
    CLEANUP(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = NULL;
    c->options = *options;
    err_t e = make_conf(options, &conf, f);
    if (e) {
        return e;
    }
    c->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (!c->client) {
        return fault_set(f, ERR_INVALID, "validation_error", "property", "%s", text);
    }
    (void)TAKE(conf); /* it is the client's now */
    c->results = rd_kafka_queue_new(c->client);
    CLEANUP(rd_kafka_metadata_destroy) const struct rd_kafka_metadata *metadata = NULL;
    e = get_metadata(c, deadline_of(c), &metadata, f);
    if (e) {
        return e;
    }
    *ret = TAKE(c);
    return ERR_OK;
}

void cluster_close(struct cluster *c)
{
    if (c->results) {
        rd_kafka_queue_destroy(c->results);
    }
    if (c->client) {
        rd_kafka_destroy(c->client);
    }
    free(c);
}

rd_kafka_t *cluster_client(struct cluster *c)
{
    return c->client;
}

static const struct rd_kafka_metadata_topic *find_topic(const struct rd_kafka_metadata *m,
                                                        const char *name)
{
    for (int i = 0; i < m->topic_cnt; i++) {
        if (strcmp(m->topics[i].topic, name) == 0) {
            return &m->topics[i];
        }
    }
    return NULL;
}

err_t cluster_partition_counts(struct cluster *c, const struct catalog *catalog, int *counts,
                               struct fault *f)
{
    CLEANUP(rd_kafka_metadata_destroy) const struct rd_kafka_metadata *metadata = NULL;
    err_t e = get_metadata(c, deadline_of(c), &metadata, f);
    if (e) {
        return e;
    }
    for (size_t i = 0; i < catalog->topics_count; i++) {
        const struct rd_kafka_metadata_topic *t = find_topic(metadata, catalog->topics[i].name);
        counts[i] = t ? t->partition_cnt : 0;
    }
    return ERR_OK;
}

static rd_kafka_AdminOptions_t *new_options(struct cluster *c, rd_kafka_admin_op_t op)
{
    char text[ERRSTR_SIZE];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(c->client, op);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, c->options.timeout_ms, text,
                                                    sizeof(text)); /* checked by main */
    return options;
}

/* Waits for the one answer to the admin request sent last. */
static err_t wait_result(struct cluster *c, const char *what, rd_kafka_event_t **ret,
                         struct fault *f)
{
    CLEANUP(rd_kafka_event_destroy)
    rd_kafka_event_t *event = rd_kafka_queue_poll(c->results, 2 * c->options.timeout_ms);
    if (!event) {
        return fail(f, RD_KAFKA_RESP_ERR__TIMED_OUT, what);
    }
    if (rd_kafka_event_error(event)) {
        return fault_set(f, cluster_err(rd_kafka_event_error(event)), "kafka_error", "", "%s: %s",
                         what, rd_kafka_event_error_string(event));
    }
    *ret = TAKE(event);
    return ERR_OK;
}

static err_t set_new_config(rd_kafka_NewTopic_t *topic, const char *name, const char *value,
                            struct fault *f)
{
    rd_kafka_resp_err_t e = rd_kafka_NewTopic_set_config(topic, name, value);
    return e ? fail(f, e, name) : ERR_OK;
}

static err_t new_topic(struct cluster *c, const struct catalog_topic *from,
                       rd_kafka_NewTopic_t **ret, struct fault *f)
{
    char text[ERRSTR_SIZE];
    const struct cluster_options *o = &c->options;
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(from->name, o->partitions, o->replication, text, sizeof(text));
    if (!topic) {
        return fault_set(f, ERR_INVALID, "validation_error", from->name, "%s", text);
    }
    *ret = topic; /* also on failure: the caller destroys what is in its list */
    for (size_t i = 0; i < from->settings->count; i++) {
        err_t e =
            set_new_config(topic, from->settings->list[i].name, from->settings->list[i].value, f);
        if (e) {
            return e;
        }
    }
    if (o->replication < 2) {
        return ERR_OK;
    }
    /* One replica may be away, two may not: then nothing is acknowledged. */
    char number[NUMBER_SIZE];
    (void)snprintf(number, sizeof(number), "%d", o->replication - 1); /* fits any int */
    return set_new_config(topic, MIN_IN_SYNC, number, f);
}

static err_t check_created(const rd_kafka_event_t *event, struct fault *f)
{
    size_t count = 0;
    const rd_kafka_CreateTopics_result_t *result =
        rd_kafka_event_CreateTopics_result((rd_kafka_event_t *)event);
    const rd_kafka_topic_result_t **topics = rd_kafka_CreateTopics_result_topics(result, &count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t e = rd_kafka_topic_result_error(topics[i]);
        if (e && e != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            const char *text = rd_kafka_topic_result_error_string(topics[i]);
            return fault_set(f, cluster_err(e), "kafka_error",
                             rd_kafka_topic_result_name(topics[i]), "cannot be created: %s",
                             text ? text : rd_kafka_err2str(e));
        }
    }
    return ERR_OK;
}

static err_t request_create(struct cluster *c, rd_kafka_NewTopic_t **topics, size_t count,
                            struct fault *f)
{
    CLEANUP(rd_kafka_AdminOptions_destroy)
    rd_kafka_AdminOptions_t *options = new_options(c, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    CLEANUP(rd_kafka_event_destroy) rd_kafka_event_t *event = NULL;
    rd_kafka_CreateTopics(c->client, topics, count, options, c->results);
    err_t e = wait_result(c, "creating topics", &event, f);
    return e ? e : check_created(event, f);
}

static bool has_leaders(const struct rd_kafka_metadata_topic *t)
{
    for (int p = 0; t && p < t->partition_cnt; p++) {
        if (t->partitions[p].leader < 0) {
            return false;
        }
    }
    return t && t->partition_cnt > 0;
}

/* A topic that was just created reaches the brokers' metadata a moment later. */
static err_t wait_for_leaders(struct cluster *c, const struct catalog *catalog, struct fault *f)
{
    const int64_t deadline = deadline_of(c);
    for (;;) {
        CLEANUP(rd_kafka_metadata_destroy) const struct rd_kafka_metadata *metadata = NULL;
        err_t e = get_metadata(c, deadline, &metadata, f);
        if (e) {
            return e;
        }
        size_t i = 0;
        while (i < catalog->topics_count &&
               has_leaders(find_topic(metadata, catalog->topics[i].name))) {
            i++;
        }
        if (i == catalog->topics_count) {
            return ERR_OK;
        }
        if (clock_mono_ms(&clock_system) >= deadline) {
            return fault_set(f, ERR_UNAVAILABLE, "kafka_unavailable", catalog->topics[i].name,
                             "has no leader for every partition");
        }
        (void)rd_kafka_poll(c->client, PAUSE_MS); /* the number of events is of no interest */
    }
}

err_t cluster_create_missing(struct cluster *c, const struct catalog *catalog, const int *counts,
                             struct fault *f)
{
    CLEANUP_FREE rd_kafka_NewTopic_t **topics = xcalloc(catalog->topics_count, sizeof(void *));
    size_t count = 0;
    err_t e = ERR_OK;
    for (size_t i = 0; !e && i < catalog->topics_count; i++) {
        if (counts[i] == 0) {
            e = new_topic(c, &catalog->topics[i], &topics[count], f);
            count += topics[count] != NULL;
        }
    }
    if (!e && count > 0) {
        e = request_create(c, topics, count, f);
    }
    rd_kafka_NewTopic_destroy_array(topics, count);
    return e ? e : wait_for_leaders(c, catalog, f);
}

static const char *config_value(const rd_kafka_ConfigResource_t *resource, const char *name)
{
    size_t count = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0) {
            return rd_kafka_ConfigEntry_value(entries[i]);
        }
    }
    return NULL;
}

static int compare_setting(const rd_kafka_ConfigResource_t *resource, const char *name,
                           const char *value, FILE *report)
{
    const char *is = config_value(resource, name);
    if (is && strcmp(is, value) == 0) {
        return 0;
    }
    (void)fprintf(report, "differs  %s: %s is %s, should be %s\n",
                  rd_kafka_ConfigResource_name(resource), name, is ? is : "unknown", value);
    return 1;
}

static int compare_settings(const rd_kafka_ConfigResource_t *resource,
                            const struct catalog_settings *wanted, int replication, FILE *report)
{
    int differences = 0;
    for (size_t i = 0; i < wanted->count; i++) {
        differences +=
            compare_setting(resource, wanted->list[i].name, wanted->list[i].value, report);
    }
    if (replication >= 2) {
        char number[NUMBER_SIZE];
        (void)snprintf(number, sizeof(number), "%d", replication - 1); /* fits any int */
        differences += compare_setting(resource, MIN_IN_SYNC, number, report);
    }
    return differences;
}

static err_t compare_described(const rd_kafka_event_t *event, const struct catalog *catalog,
                               int replication, FILE *report, int *differences, struct fault *f)
{
    size_t count = 0;
    const rd_kafka_DescribeConfigs_result_t *result =
        rd_kafka_event_DescribeConfigs_result((rd_kafka_event_t *)event);
    const rd_kafka_ConfigResource_t **resources =
        rd_kafka_DescribeConfigs_result_resources(result, &count);
    for (size_t i = 0; i < count; i++) {
        const char *name = rd_kafka_ConfigResource_name(resources[i]);
        rd_kafka_resp_err_t e = rd_kafka_ConfigResource_error(resources[i]);
        if (e) {
            return fail(f, e, name);
        }
        const struct catalog_topic *topic = catalog_topic(catalog, name);
        *differences +=
            topic ? compare_settings(resources[i], topic->settings, replication, report) : 0;
    }
    return ERR_OK;
}

static int fewest_replicas(const struct rd_kafka_metadata_topic *t)
{
    int fewest = t->partition_cnt > 0 ? t->partitions[0].replica_cnt : 0;
    for (int p = 1; p < t->partition_cnt; p++) {
        fewest = t->partitions[p].replica_cnt < fewest ? t->partitions[p].replica_cnt : fewest;
    }
    return fewest;
}

/* More copies than asked for lose nothing. */
static err_t compare_layout(struct cluster *c, const struct catalog *catalog, FILE *report,
                            int *differences, struct fault *f)
{
    CLEANUP(rd_kafka_metadata_destroy) const struct rd_kafka_metadata *metadata = NULL;
    err_t e = get_metadata(c, deadline_of(c), &metadata, f);
    for (size_t i = 0; !e && i < catalog->topics_count; i++) {
        const char *name = catalog->topics[i].name;
        const struct rd_kafka_metadata_topic *t = find_topic(metadata, name);
        if (!t || t->partition_cnt == 0) {
            continue;
        }
        if (t->partition_cnt != c->options.partitions) {
            ++*differences;
            (void)fprintf(report, "differs  %s: has %d partitions, should have %d\n", name,
                          t->partition_cnt, c->options.partitions);
        }
        if (fewest_replicas(t) < c->options.replication) {
            ++*differences;
            (void)fprintf(report, "differs  %s: has %d copies, should have %d\n", name,
                          fewest_replicas(t), c->options.replication);
        }
    }
    return e;
}

static err_t describe(struct cluster *c, rd_kafka_ConfigResource_t **resources, size_t count,
                      rd_kafka_event_t **ret, struct fault *f)
{
    CLEANUP(rd_kafka_AdminOptions_destroy)
    rd_kafka_AdminOptions_t *options = new_options(c, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_DescribeConfigs(c->client, resources, count, options, c->results);
    return wait_result(c, "reading the settings of topics", ret, f);
}

err_t cluster_compare(struct cluster *c, const struct catalog *catalog, const int *counts,
                      FILE *report, int *ret_differences, struct fault *f)
{
    CLEANUP_FREE rd_kafka_ConfigResource_t **resources =
        xcalloc(catalog->topics_count, sizeof(void *));
    CLEANUP(rd_kafka_event_destroy) rd_kafka_event_t *event = NULL;
    size_t count = 0;
    for (size_t i = 0; i < catalog->topics_count; i++) {
        if (counts[i] != 0) {
            resources[count++] =
                rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, catalog->topics[i].name);
        }
    }
    int differences = 0;
    err_t e = compare_layout(c, catalog, report, &differences, f);
    if (!e && count > 0) {
        e = describe(c, resources, count, &event, f);
    }
    rd_kafka_ConfigResource_destroy_array(resources, count);
    if (!e && event) {
        e = compare_described(event, catalog, c->options.replication, report, &differences, f);
    }
    if (!e) {
        *ret_differences = differences;
    }
    return e;
}
