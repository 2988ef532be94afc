#include <inttypes.h>
#include <stdio.h>
#include <syslog.h>

#include "kafka_internal.h"

static void log_line(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    const struct kafka_client *c = rd_kafka_opaque(rk);
    if (c->log != NULL) {
        c->log(c->log_ctx, level, facility, text);
    }
}

/* Client-wide events. Brokers that are away mend by themselves; only the fatal one stays. */
static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct kafka_client *c = opaque;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        char text[KAFKA_ERROR_TEXT_MAX];
        code = (int)rd_kafka_fatal_error(rk, text, sizeof text);
        atomic_store(&c->fatal, code);
        log_line(rk, LOG_CRIT, "FATAL", text);
        return;
    }
    log_line(rk, LOG_WARNING, rd_kafka_err2name(code), reason);
}

void kafka_set(struct kafka_settings *s, const char *name, const char *value)
{
    char text[KAFKA_ERROR_TEXT_MAX];
    if (s->e == ERR_OK &&
        rd_kafka_conf_set(s->conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK) {
        s->e = fault_set(s->fault, ERR_INVALID, "kafka_setting", name, "%s", text);
    }
}

void kafka_set_int(struct kafka_settings *s, const char *name, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    kafka_set(s, name, text);
}

static void set_tls(struct kafka_settings *s, const struct kafka_config *config)
{
    if (config->tls_ca_file == NULL) {
        return;
    }
    kafka_set(s, "security.protocol", "ssl");
    kafka_set(s, "ssl.ca.location", config->tls_ca_file);
    kafka_set(s, "ssl.endpoint.identification.algorithm", "https");
    if (config->tls_certificate_file != NULL) {
        kafka_set(s, "ssl.certificate.location", config->tls_certificate_file);
        kafka_set(s, "ssl.key.location", config->tls_key_file);
    }
}

struct kafka_settings kafka_settings_begin(const struct kafka_config *config, struct fault *fault)
{
    struct kafka_settings s = {.conf = rd_kafka_conf_new(), .fault = fault};
    kafka_set(&s, "bootstrap.servers", config->brokers);
    kafka_set(&s, "client.id", config->client_id);
    /* off by default before 2.10; a small request then waits for the acknowledgement of another */
    kafka_set(&s, "socket.nagle.disable", "true");
    kafka_set(&s, "socket.keepalive.enable", "true");
    kafka_set(&s, "allow.auto.create.topics", "false");
    kafka_set(&s, "reconnect.backoff.ms", "50");
    kafka_set(&s, "reconnect.backoff.max.ms", "2000");
    /* planned closings of idle connections are no news */
    kafka_set(&s, "log.connection.close", "false");
    set_tls(&s, config);
    return s;
}

err_t kafka_client_start(struct kafka_client *c, struct kafka_settings *s, rd_kafka_type_t type,
                         const struct kafka_config *config)
{
    for (size_t i = 0; i < config->extra_count; i++) {
        kafka_set(s, config->extra[i].name, config->extra[i].value);
    }
    CLEANUP(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = TAKE(s->conf);
    if (s->e != ERR_OK) {
        return s->e;
    }
    c->log = config->log;
    c->log_ctx = config->log_ctx;
    rd_kafka_conf_set_opaque(conf, c);
    rd_kafka_conf_set_log_cb(conf, log_line);
    rd_kafka_conf_set_error_cb(conf, on_error);
    char text[KAFKA_ERROR_TEXT_MAX];
    c->rk = rd_kafka_new(type, conf, text, sizeof text);
    if (c->rk == NULL) {
        err_t e =
            rd_kafka_last_error() == RD_KAFKA_RESP_ERR__INVALID_ARG ? ERR_INVALID : ERR_INTERNAL;
        return fault_set(s->fault, e, "kafka_client", "", "%s", text);
    }
    (void)TAKE(conf); /* the client owns it now */
    return ERR_OK;
}

void kafka_client_stop(struct kafka_client *c, int flags)
{
    if (c->rk == NULL) {
        return;
    }
    for (size_t i = 0; i < c->topics_count; i++) {
        rd_kafka_topic_destroy(c->topics[i]);
    }
    c->topics_count = 0;
    rd_kafka_destroy_flags(c->rk, flags);
    c->rk = NULL;
}

rd_kafka_topic_t *kafka_client_topic(struct kafka_client *c, const char *name)
{
    for (size_t i = 0; i < c->topics_count; i++) {
        if (strcmp(rd_kafka_topic_name(c->topics[i]), name) == 0) {
            return c->topics[i];
        }
    }
    if (c->topics_count == KAFKA_TOPICS_MAX) {
        return NULL;
    }
    rd_kafka_topic_t *topic = rd_kafka_topic_new(c->rk, name, NULL);
    if (topic != NULL) {
        c->topics[c->topics_count++] = topic;
    }
    return topic;
}

rd_kafka_resp_err_t kafka_client_count(struct kafka_client *c, const char *topic, int timeout_ms,
                                       int32_t *ret_count, int32_t *ret_led)
{
    rd_kafka_topic_t *handle = kafka_client_topic(c, topic);
    if (handle == NULL) {
        return RD_KAFKA_RESP_ERR__INVALID_ARG;
    }
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(c->rk, 0, handle, &metadata, timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return code;
    }
    code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (metadata->topic_cnt == 1) {
        const rd_kafka_metadata_topic_t *t = &metadata->topics[0];
        code = t->err;
        *ret_count = t->partition_cnt;
        *ret_led = 0;
        for (int i = 0; i < t->partition_cnt; i++) {
            *ret_led += t->partitions[i].leader >= 0;
        }
    }
    rd_kafka_metadata_destroy(metadata);
    return code;
}

err_t kafka_client_partition_count(struct kafka_client *c, const char *topic, int timeout_ms,
                                   int32_t *ret_count)
{
    int32_t count = 0;
    int32_t led = 0;
    err_t e = kafka_translate(kafka_client_count(c, topic, timeout_ms, &count, &led));
    if (e == ERR_OK) {
        *ret_count = count;
    }
    return e;
}

err_t kafka_client_error(struct kafka_client *c, err_t e, const char *what, const char *text)
{
    (void)snprintf(c->error, sizeof c->error, "%s: %s", what, text);
    return e;
}

static err_t topic_known(struct kafka_client *c, const char *name, int timeout_ms)
{
    rd_kafka_topic_t *topic = kafka_client_topic(c, name);
    if (topic == NULL) {
        return kafka_client_error(c, ERR_INVALID, name, "not a topic name, or too many topics");
    }
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(c->rk, 0, topic, &metadata, timeout_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = metadata->topic_cnt == 1 ? metadata->topics[0].err
                                        : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        rd_kafka_metadata_destroy(metadata);
    }
    err_t e = kafka_translate(code);
    return e == ERR_OK ? ERR_OK : kafka_client_error(c, e, name, rd_kafka_err2str(code));
}

err_t kafka_client_warm_up(struct kafka_client *c, const char *const *topics, size_t count,
                           int timeout_ms)
{
    int64_t deadline = kafka_deadline(timeout_ms);
    for (size_t i = 0; i < count; i++) {
        err_t e = topic_known(c, topics[i], kafka_remaining_ms(deadline));
        if (e != ERR_OK) {
            return e == ERR_TIMEOUT ? ERR_UNAVAILABLE : e;
        }
    }
    return ERR_OK;
}

static rd_kafka_headers_t *copy_headers(const struct kafka_record *record)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->headers_count);
    for (size_t i = 0; i < record->headers_count; i++) {
        const struct kafka_header *h = &record->headers[i];
        (void)rd_kafka_header_add(headers, h->name, -1, h->value.ptr, (ssize_t)h->value.len);
    }
    return headers;
}

rd_kafka_resp_err_t kafka_client_send(struct kafka_client *c, const struct kafka_record *record,
                                      void *opaque)
{
    if (record->headers_count > KAFKA_HEADERS_MAX) {
        return RD_KAFKA_RESP_ERR__INVALID_ARG;
    }
    rd_kafka_topic_t *topic = kafka_client_topic(c, record->topic);
    if (topic == NULL) {
        return RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    }
    CLEANUP(rd_kafka_headers_destroy) rd_kafka_headers_t *headers = copy_headers(record);
    /* producev, not produceva: the latter frees the headers twice when the partition is unknown.
     * Its macros are statement expressions, hence __extension__. */
    rd_kafka_resp_err_t code = __extension__ rd_kafka_producev(
        c->rk, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(record->partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(record->key.ptr, record->key.len),
        RD_KAFKA_V_VALUE((void *)record->value.ptr, record->value.len), RD_KAFKA_V_HEADERS(headers),
        RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)TAKE(headers); /* handed over on success only */
    }
    return code;
}
