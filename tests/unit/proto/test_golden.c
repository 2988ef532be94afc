/*
 * Golden messages against the tables that read and write them. What would break a user: a field
 * renamed in a table and not in the contract, a message that is read and written back as another
 * one, a malformed message that is let in, or refused without saying why. The same files are held
 * against the JSON Schemas by tests/integration/test_contract.py.
 */
#include "test_support.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "proto/ca.h"
#include "proto/certificate.h"
#include "proto/device.h"
#include "proto/device_request.h"
#include "proto/envelope.h"
#include "proto/heartbeat.h"
#include "proto/ledger.h"
#include "proto/order.h"
#include "proto/registry.h"
#include "proto/webhook.h"

#define GOLDEN    "proto/golden"
#define FILE_MAX  ((size_t)256 * 1024)
#define PATH_MAX_ 512

static const struct json_limits limits = {FILE_MAX, 16, 16384};

/* A record is the table's object; a request is an envelope around it. */
enum form { RECORD, REQUEST };

static const struct row {
    const char *type;
    const struct codec_table *table;
    enum form form;
    const char *unread; /* a field that the owner has no use for and passes over; NULL for none */
} rows[] = {
    {"device.v1", &device_table, RECORD, NULL},
    {"certificate.v1", &certificate_record_table, RECORD, NULL},
    {"certificate-status.v1", &certificate_status_table, RECORD, NULL},
    {"ca.v1", &ca_table, RECORD, NULL},
    {"ca-key.v1", &ca_key_table, RECORD, NULL},
    {"domain.v1", &registry_domain_table, RECORD, NULL},
    {"access-key.v1", &registry_access_key_table, RECORD, NULL},
    {"profile.v1", &registry_profile_table, RECORD, NULL},
    {"whitelist.v1", &registry_whitelist_table, RECORD, NULL},
    {"webhook.v1", &registry_webhook_table, RECORD, NULL},
    {"ca-seat.v1", &registry_seat_table, RECORD, NULL},
    {"request.v1", &registry_result_table, RECORD, NULL},
    {"order.v1", &order_table, RECORD, NULL},
    {"order-chunk.v1", &order_chunk_table, RECORD, NULL},
    {"charge.v1", &charge_record_table, RECORD, NULL},
    {"usage.v1", &usage_record_table, RECORD, NULL},
    {"heartbeat.v1", &heartbeat_table, RECORD, NULL},
    {WEBHOOK_DELIVERY_TYPE, &webhook_delivery_table, RECORD, NULL},
    {WEBHOOK_ATTEMPT_TYPE, &webhook_attempt_table, RECORD, NULL},
    {"device-payload.bootstrap.v1", &device_bootstrap_payload_table, RECORD, "time"},
    {"device-payload.pickup.v1", &device_pickup_payload_table, RECORD, NULL},
    {"device-payload.confirm.v1", &device_confirm_payload_table, RECORD, "time"},
    {DEVICE_REQUEST_BOOTSTRAP, &device_signed_body_table, REQUEST, NULL},
    {DEVICE_REQUEST_PICKUP, &device_signed_body_table, REQUEST, NULL},
    {DEVICE_REQUEST_CONFIRM, &device_signed_body_table, REQUEST, NULL},
    {DEVICE_REQUEST_FAILED, &device_failed_body_table, REQUEST, NULL},
    {DEVICE_REQUEST_FORK, &device_fork_body_table, REQUEST, NULL},
    {DEVICE_REQUEST_RENEW, &device_renew_body_table, REQUEST, NULL},
    {DEVICE_REQUEST_UNBLOCK, &device_unblock_body_table, REQUEST, NULL},
    {DEVICE_REQUEST_SETTINGS, &device_settings_body_table, REQUEST, NULL},
    {CA_REQUEST_CREATE, &ca_create_table, REQUEST, NULL},
    {CA_REQUEST_UPDATE, &ca_update_table, REQUEST, NULL},
    {REGISTRY_REQUEST_DOMAIN_CREATE, &registry_domain_create_table, REQUEST, NULL},
    {REGISTRY_REQUEST_KEY_CREATE, &registry_key_create_table, REQUEST, NULL},
    {REGISTRY_REQUEST_KEY_REVOKE, &registry_target_table, REQUEST, NULL},
    {REGISTRY_REQUEST_PROFILE_CREATE, &registry_profile_create_table, REQUEST, NULL},
    {REGISTRY_REQUEST_PROFILE_UPDATE, &registry_profile_update_table, REQUEST, NULL},
    {REGISTRY_REQUEST_WHITELIST_ADD, &registry_whitelist_change_table, REQUEST, NULL},
    {REGISTRY_REQUEST_WHITELIST_REMOVE, &registry_whitelist_change_table, REQUEST, NULL},
    {REGISTRY_REQUEST_WEBHOOK_CREATE, &registry_webhook_create_table, REQUEST, NULL},
    {REGISTRY_REQUEST_WEBHOOK_DELETE, &registry_target_table, REQUEST, NULL},
    {REGISTRY_REQUEST_WEBHOOK_DISABLE, &registry_target_table, REQUEST, NULL},
    {REGISTRY_REQUEST_CA_CREATE, &ca_create_table, REQUEST, NULL},
    {REGISTRY_REQUEST_CA_RELEASE, &registry_target_table, REQUEST, NULL},
    {REGISTRY_REQUEST_EXPIRE, &registry_expire_table, REQUEST, NULL},
    {ORDER_REQUEST_CREATE, &order_create_table, REQUEST, NULL},
    {ORDER_REQUEST_PROGRESS, &order_progress_table, REQUEST, NULL},
    {LEDGER_INSTALL_TYPE, &ledger_install_table, REQUEST, NULL},
};

/* Written by C and read by other people's programs, or by none of ours through a table. */
static bool has_no_table(const char *type)
{
    return strncmp(type, "io.fleetseal.", 13) == 0 || strcmp(type, "log-id.v1") == 0 ||
           strcmp(type, "reply.v1") == 0;
}

static const struct row *row_of(const char *type)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].type, type) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static unsigned files;
static unsigned failures;

static void complain(const char *path, const char *what, const char *detail)
{
    print_error("%s: %s %s\n", path, what, detail);
    failures++;
}

static cJSON *read_json(const char *path)
{
    CLEANUP_BUF struct buf text = BUF_INIT(FILE_MAX);
    cJSON *json = NULL;
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    text.len = fread(buf_reserve(&text, FILE_MAX - 1), 1, FILE_MAX - 1, file);
    (void)fclose(file);
    if (json_decode(buf_span(&text), &limits, &json, NULL) != ERR_OK) {
        complain(path, "is not JSON", "");
    }
    files++;
    return json;
}

/* Calls `visit` with every *.json directly in the folder; a folder that is not there has none. */
static void each_file(const char *folder, void (*visit)(const char *path, const struct row *row),
                      const struct row *row)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[PATH_MAX_];
        if (strstr(entry->d_name, ".json") != NULL) {
            (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            visit(path, row);
        }
    }
    (void)closedir(dir);
}

/* `below` is "" for the valid messages, "/invalid" for the others. */
static void each_type(const char *below, void (*visit)(const char *path, const struct row *row))
{
    DIR *dir = opendir(GOLDEN);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char folder[PATH_MAX_];
        const struct row *row = row_of(entry->d_name);
        if (row == NULL) {
            if (entry->d_name[0] != '.' && !has_no_table(entry->d_name)) {
                complain(entry->d_name, "has no row in this test", "");
            }
            continue;
        }
        (void)snprintf(folder, sizeof folder, "%s/%s%s", GOLDEN, entry->d_name, below);
        each_file(folder, visit, row);
    }
    (void)closedir(dir);
}

/* ---- decoding, as the owner of the message does ---- */

static err_t decode(const struct row *row, const cJSON *message, struct envelope *envelope,
                    void *out, struct fault *fault)
{
    const cJSON *object = message;
    if (row->form == REQUEST) {
        CLEANUP_BUF struct buf text = BUF_INIT(FILE_MAX);
        assert_int_equal(json_encode(message, &text), ERR_OK);
        err_t e = envelope_decode(buf_span(&text), envelope, fault);
        if (e != ERR_OK) {
            return e;
        }
        object = envelope->body;
    }
    return codec_decode(row->table, CODEC_KEEP, object, out, fault);
}

static void encode(const struct row *row, const struct envelope *envelope, const void *in,
                   cJSON **ret)
{
    CLEANUP_BUF struct buf text = BUF_INIT(FILE_MAX);
    assert_int_equal(codec_encode(row->table, in, &text), ERR_OK);
    assert_int_equal(json_decode(buf_span(&text), &limits, ret, NULL), ERR_OK);
    if (row->form == REQUEST) {
        CLEANUP_JSON cJSON *body = *ret;
        buf_clear(&text);
        *ret = NULL;
        assert_int_equal(envelope_encode(envelope, body, &text), ERR_OK);
        assert_int_equal(json_decode(buf_span(&text), &limits, ret, NULL), ERR_OK);
    }
}

static void check_valid(const char *path, const struct row *row)
{
    struct fault fault = {0};
    CLEANUP(envelope_deinit) struct envelope envelope = {0};
    CLEANUP_JSON cJSON *message = read_json(path);
    CLEANUP_JSON cJSON *again = NULL;
    CLEANUP_FREE void *object = xcalloc(1, row->table->size);
    if (decode(row, message, &envelope, object, &fault) != ERR_OK) {
        complain(path, fault.field, fault.text);
        return;
    }
    encode(row, &envelope, object, &again);
    codec_free(row->table, object);
    if (row->unread != NULL) {
        cJSON_DeleteItemFromObjectCaseSensitive(message, row->unread);
    }
    if (!cJSON_Compare(message, again, true)) {
        char *text = cJSON_PrintUnformatted(again);
        complain(path, "is written back as", text);
        cJSON_free(text);
    }
}

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);
    assert_true(cJSON_IsString(value));
    return value->valuestring;
}

static void check_invalid(const char *path, const struct row *row)
{
    struct fault fault = {0};
    CLEANUP(envelope_deinit) struct envelope envelope = {0};
    CLEANUP_JSON cJSON *file = read_json(path);
    CLEANUP_FREE void *object = xcalloc(1, row->table->size);
    const cJSON *message = cJSON_GetObjectItemCaseSensitive(file, "message");
    if (decode(row, message, &envelope, object, &fault) == ERR_OK) {
        codec_free(row->table, object);
        complain(path, "was taken", "");
    } else if (strcmp(fault.code, text_of(file, "code")) != 0 ||
               strcmp(fault.field, text_of(file, "field")) != 0) {
        complain(path, fault.code, fault.field);
    } else if (fault.text[0] == 0) {
        complain(path, "was refused without a text", "");
    }
}

static void test_valid_messages(void **state)
{
    (void)state;
    files = failures = 0;
    each_type("", check_valid);
    assert_int_equal(failures, 0);
    assert_true(files >= sizeof rows / sizeof rows[0]);
}

static void test_invalid_messages(void **state)
{
    (void)state;
    files = failures = 0;
    each_type("/invalid", check_invalid);
    assert_int_equal(failures, 0);
    assert_true(files >= sizeof rows / sizeof rows[0]);
}

/* A row whose folder is gone would test nothing. */
static void test_every_table_has_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char folder[PATH_MAX_];
        (void)snprintf(folder, sizeof folder, "%s/%s", GOLDEN, rows[i].type);
        DIR *dir = opendir(folder);
        if (dir == NULL) {
            fail_msg("%s: is not there", folder);
            return;
        }
        (void)closedir(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_messages),
        cmocka_unit_test(test_invalid_messages),
        cmocka_unit_test(test_every_table_has_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
