#include <stdio.h>

#include "common/id.h"
#include "device/json.h"
#include "device/wire.h"

#define SECONDS_MAX (INT64_C(10) * 366 * 24 * 3600)

/* One answer being read: the first thing wrong with it is what counts. */
struct answer {
    struct device_json doc;
    const struct device_json_value *root;
    err_t err;
    struct fault *fault;
};

static void wrong(struct answer *a, const char *field, const char *expected)
{
    if (a->err == ERR_OK) {
        a->err =
            fault_set(a->fault, ERR_INVALID, "bad_answer", field,
                      "the server's answer is not understood: \"%s\" must be %s", field, expected);
    }
}

static bool start(struct answer *a, struct span body, struct fault *fault)
{
    a->err = device_json_parse(&a->doc, body);
    a->fault = fault;
    a->root = &a->doc.values[0];
    if (a->err == ERR_OK && a->root->type != DEVICE_JSON_OBJECT) {
        a->err = ERR_INVALID;
    }
    if (a->err != ERR_OK) {
        a->err = fault_set(fault, ERR_INVALID, "bad_answer", "",
                           "the server's answer is not a JSON object");
    }
    return a->err == ERR_OK;
}

static const struct device_json_value *member(const struct answer *a, const char *name)
{
    return device_json_member(&a->doc, a->root, name);
}

static void read_text(struct answer *a, const struct device_json_value *v, const char *name,
                      char *out, size_t size, bool required)
{
    if (v == NULL) {
        out[0] = 0;
        if (required) {
            wrong(a, name, "there");
        }
    } else if (device_json_text(v, out, size) != ERR_OK) {
        wrong(a, name, "a text within its limit");
    }
}

/* More than `most` counts as that: no answer sends a device to sleep for years. */
static int64_t read_seconds(struct answer *a, const struct device_json_value *v, const char *name,
                            int64_t most)
{
    int64_t value = -1;
    if (v != NULL && device_json_integer(v, 0, SECONDS_MAX, &value) != ERR_OK) {
        wrong(a, name, "a number of seconds");
    }
    return value < most ? value : most;
}

static void read_settings(struct answer *a, struct device_settings *ret)
{
    const struct device_json_value *s = member(a, "settings");
    if (s != NULL && s->type != DEVICE_JSON_OBJECT) {
        wrong(a, "settings", "an object");
    }
    ret->heartbeat_interval_s =
        read_seconds(a, device_json_member(&a->doc, s, "heartbeat_interval_s"),
                     "heartbeat_interval_s", DEVICE_HEARTBEAT_INTERVAL_MAX_S);
    ret->flood_interval_s = read_seconds(a, device_json_member(&a->doc, s, "flood_interval_s"),
                                         "flood_interval_s", DEVICE_FLOOD_INTERVAL_MAX_S);
    ret->next_heartbeat_s = read_seconds(a, member(a, "next_heartbeat_s"), "next_heartbeat_s",
                                         DEVICE_HEARTBEAT_INTERVAL_MAX_S);
    read_text(a, member(a, "token"), "token", ret->token, sizeof ret->token, false);
}

static void read_base64(struct answer *a, const struct device_json_value *v, const char *name,
                        struct buf *to)
{
    CLEANUP_BUF struct buf text = BUF_INIT(BASE64_LEN(DEVICE_CERT_MAX));
    size_t len = 0;
    uint8_t *room = NULL;
    if (device_json_string(v, &text) == ERR_OK && text.len > 0) {
        room = buf_reserve(to, text.len / 4 * 3);
    }
    if (room == NULL ||
        base64_decode(buf_span(&text), BASE64_STANDARD, room, text.len / 4 * 3, &len) != ERR_OK) {
        wrong(a, name, "a certificate in base64");
        return;
    }
    to->len += len;
}

void device_delivery_deinit(struct device_delivery *x)
{
    buf_deinit(&x->certificate);
    for (size_t i = 0; i < DEVICE_CHAIN_MAX; i++) {
        buf_deinit(&x->links[i]);
    }
    x->chain_count = 0;
}

static bool hex_text(const char *text)
{
    return text[0] != 0 && text[strspn(text, "0123456789abcdef")] == 0;
}

static void read_delivery(struct answer *a, struct device_delivery *ret)
{
    struct uuid id;
    read_text(a, member(a, "operation"), "operation", ret->operation, sizeof ret->operation, true);
    read_text(a, member(a, "serial"), "serial", ret->serial, sizeof ret->serial, true);
    if (uuid_parse(span_str(ret->operation), &id) != ERR_OK) {
        wrong(a, "operation", "a UUID");
    }
    if (!hex_text(ret->serial)) {
        wrong(a, "serial", "lower-case hex");
    }
    ret->certificate = BUF_INIT(DEVICE_CERT_MAX + 2);
    read_base64(a, member(a, "certificate"), "certificate", &ret->certificate);
    const struct device_json_value *chain = member(a, "chain");
    if (chain == NULL || chain->type != DEVICE_JSON_ARRAY || chain->children == 0 ||
        chain->children > DEVICE_CHAIN_MAX) {
        wrong(a, "chain", "1 to 8 certificates");
        return;
    }
    for (unsigned i = 0; i < chain->children && a->err == ERR_OK; i++) {
        ret->links[i] = BUF_INIT(DEVICE_CERT_MAX + 2);
        read_base64(a, device_json_element(&a->doc, chain, i), "chain", &ret->links[i]);
        ret->chain[i] = buf_span(&ret->links[i]);
        ret->chain_count = i + 1;
    }
}

void device_bootstrap_answer_deinit(struct device_bootstrap_answer *a)
{
    buf_deinit(&a->server_ca);
    device_delivery_deinit(&a->delivery);
}

static void read_standing(struct answer *a, enum device_standing *ret)
{
    char word[DEVICE_WORD_MAX] = "";
    read_text(a, member(a, "state"), "state", word, sizeof word, true);
    if (!device_standing_find(span_str(word), ret) || *ret == DEVICE_STANDING_NEW) {
        wrong(a, "state", "a known state");
    }
}

err_t device_read_bootstrap(struct span body, struct device_bootstrap_answer *ret,
                            struct fault *fault)
{
    struct answer a;
    struct device_bootstrap_answer r = {.server_ca = BUF_INIT(DEVICE_SERVER_CA_MAX)};
    if (!start(&a, body, fault)) {
        return a.err;
    }
    read_standing(&a, &r.standing);
    read_text(&a, member(&a, "reason"), "reason", r.reason, sizeof r.reason, false);
    read_text(&a, member(&a, "domain"), "domain", r.domain, sizeof r.domain, false);
    read_settings(&a, &r.settings);
    const struct device_json_value *ca = member(&a, "server_ca");
    if (ca != NULL && device_json_string(ca, &r.server_ca) != ERR_OK) {
        wrong(&a, "server_ca", "PEM text");
    }
    r.delivered = member(&a, "certificate") != NULL;
    if (r.delivered) {
        read_delivery(&a, &r.delivery);
    }
    if (a.err != ERR_OK) {
        device_bootstrap_answer_deinit(&r);
        return a.err;
    }
    *ret = r;
    return ERR_OK;
}

err_t device_read_heartbeat(struct span body, struct device_heartbeat_answer *ret,
                            struct fault *fault)
{
    struct answer a;
    struct device_heartbeat_answer r = {.work = false};
    if (!start(&a, body, fault)) {
        return a.err;
    }
    read_settings(&a, &r.settings);
    const struct device_json_value *work = member(&a, "work");
    if (work != NULL) {
        const struct device_json_value *key = device_json_member(&a.doc, work, "new_key");
        struct uuid id;
        r.work = true;
        read_text(&a, device_json_member(&a.doc, work, "operation"), "operation", r.operation,
                  sizeof r.operation, true);
        read_text(&a, device_json_member(&a.doc, work, "kind"), "kind", r.kind, sizeof r.kind,
                  true);
        if (uuid_parse(span_str(r.operation), &id) != ERR_OK) {
            wrong(&a, "operation", "a UUID");
        }
        r.new_key = key != NULL && key->type == DEVICE_JSON_TRUE;
        if (key != NULL && key->type != DEVICE_JSON_TRUE && key->type != DEVICE_JSON_FALSE) {
            wrong(&a, "new_key", "true or false");
        }
    }
    if (a.err == ERR_OK) {
        *ret = r;
    }
    return a.err;
}

err_t device_read_pickup(struct span body, struct device_delivery *ret, struct fault *fault)
{
    struct answer a;
    struct device_delivery r = {.chain_count = 0};
    if (!start(&a, body, fault)) {
        return a.err;
    }
    read_delivery(&a, &r);
    if (a.err != ERR_OK) {
        device_delivery_deinit(&r);
        return a.err;
    }
    *ret = r;
    return ERR_OK;
}

err_t device_read_confirm(struct span body, const char *operation, const char *serial,
                          struct fault *fault)
{
    struct answer a;
    char found_operation[DEVICE_OPERATION_SIZE] = "";
    char found_serial[DEVICE_CERT_SERIAL_MAX + 1] = "";
    char status[DEVICE_WORD_MAX] = "";
    if (!start(&a, body, fault)) {
        return a.err;
    }
    read_text(&a, member(&a, "operation"), "operation", found_operation, sizeof found_operation,
              true);
    read_text(&a, member(&a, "serial"), "serial", found_serial, sizeof found_serial, true);
    read_text(&a, member(&a, "status"), "status", status, sizeof status, true);
    if (strcmp(found_operation, operation) != 0) {
        wrong(&a, "operation", "the one that was confirmed");
    }
    if (strcmp(found_serial, serial) != 0) {
        wrong(&a, "serial", "the one that was confirmed");
    }
    if (strcmp(status, "installed") != 0) {
        wrong(&a, "status", "\"installed\"");
    }
    return a.err;
}

void device_read_error(int status, struct span body, struct fault *fault)
{
    struct answer a;
    char type[FAULT_CODE_MAX] = "";
    char message[FAULT_TEXT_MAX] = "";
    if (start(&a, body, NULL)) {
        read_text(&a, member(&a, "type"), "type", type, sizeof type, false);
        read_text(&a, member(&a, "message"), "message", message, sizeof message, false);
    }
    (void)fault_set(fault, ERR_OK, type, "", "HTTP %d%s%s", status, message[0] != 0 ? ": " : "",
                    message);
}
