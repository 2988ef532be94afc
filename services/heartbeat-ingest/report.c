/*
 * What a heartbeat shows and the device's owner has to know. Nobody waits for it; its id follows
 * from the heartbeat, so that a report that comes twice counts once.
 */
#include <inttypes.h>
#include <stdio.h>

#include "beat.h"
#include "common/id.h"
#include "common/json.h"
#include "common/log.h"
#include "door.h"
#include "proto/device_request.h"
#include "proto/envelope.h"
#include "proto/topics.h"

#define REPORT_BYTES 2048

/* Takes `body`. */
static void report(struct door *door, const struct identity *who, const char *type,
                   const struct uuid *id, cJSON *body)
{
    CLEANUP_JSON cJSON *owned = body;
    CLEANUP_BUF struct buf value = BUF_INIT(REPORT_BYTES);
    struct envelope envelope = {.time_ms = clock_now_ms(door->clock), .actor_kind = "device"};
    uuid_format(id, envelope.id);
    (void)snprintf(envelope.type, sizeof envelope.type, "%s", type);
    (void)snprintf(envelope.actor_id, sizeof envelope.actor_id, "%s", who->uid_text);
    err_t e = envelope_encode(&envelope, owned, &value);
    const struct kafka_record record = {.topic = TOPIC_DEVICE_REQUESTS,
                                        .partition = door_partition(door, who),
                                        .key = span_str(who->uid_text),
                                        .value = buf_span(&value)};
    if (e == ERR_OK) {
        e = kafka_producer_produce(door->records, &record);
    }
    if (e != ERR_OK) {
        log_limited(LOG_LEVEL_WARN, &(struct log_context){.device = who->uid_text}, "not_reported",
                    LOG_STR("type", type), LOG_ERR("error", e));
    }
}

/* Lost when it cannot be written: its work is offered again, and what fails again is said again. */
void door_report_failure(struct door *door, const struct identity *who, int64_t sequence,
                         const struct beat_result *result)
{
    char operation[UUID_TEXT_SIZE];
    char number[24];
    uuid_format(&result->operation, operation);
    (void)snprintf(number, sizeof number, "%" PRId64, sequence);
    struct uuid id =
        UUID_V5(span_str(who->uid_text), span_str("failed"), span_str(operation), span_str(number));
    cJSON *body = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(body, "operation", operation);
    (void)cJSON_AddStringToObject(body, "reason", result->reason);
    report(door, who, DEVICE_REQUEST_FAILED, &id, body);
}

/* Lost when it cannot be written: whichever of the two calls next off the line shows it again. */
void door_report_fork(struct door *door, const struct identity *who, int64_t sequence,
                      bool has_token)
{
    char number[24];
    (void)snprintf(number, sizeof number, "%" PRId64, sequence);
    struct uuid id = UUID_V5(span_str(who->uid_text), span_str("fork"), span_str(number));
    cJSON *body = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(body, "sequence", number);
    (void)cJSON_AddStringToObject(
        body, "token",
        codec_name_of(device_fork_token_names,
                      has_token ? DEVICE_FORK_OTHER_TOKEN : DEVICE_FORK_NO_TOKEN));
    report(door, who, DEVICE_REQUEST_FORK, &id, body);
}
